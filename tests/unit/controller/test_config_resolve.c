/* Where a value comes from, in the cases people ask DescribeConfigs about. */
#include "controller/topic_config.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct map topic, broker, broker_default, file;
static struct arena arena;
static struct config_value got;

static void set(struct map *m, const char *key, const char *value)
{
    map_put(m, slice_str(key), (void *)(uintptr_t)value);
}

static struct config_layers layers(void)
{
    return (struct config_layers){
        config_layer_of_map(&topic), config_layer_of_map(&broker),
        config_layer_of_map(&broker_default), config_layer_of_map(&file)};
}

static void clear(void)
{
    map_free(&topic);
    map_free(&broker);
    map_free(&broker_default);
    map_free(&file);
    arena_free(&arena);
}

TestSuite(config_resolve, .fini = clear);

/* "value SOURCE [source:name=value ...]" */
static void expect(const char *want)
{
    struct buf b = BUF_INIT;

    buf_printf(&b, "%.*s %d [",
               SLICE_FMT(slice_is_null(got.value) ? SLICE("null") : got.value),
               got.source);
    for (size_t i = 0; i < got.synonyms_len; i++)
        buf_printf(&b, "%s%d:%s=%.*s", i == 0 ? "" : " ",
                   got.synonyms[i].source, got.synonyms[i].name,
                   SLICE_FMT(got.synonyms[i].value));
    buf_put(&b, "]", 2);
    cr_assert_str_eq((const char *)b.data, want);
    buf_free(&b);
}

static void expect_topic(const char *key, const char *want)
{
    struct config_layers l = layers();

    config_resolve_topic(config_find(CONFIG_TOPIC, slice_str(key)), &l, &arena,
                         &got);
    expect(want);
}

static void expect_broker(const char *key, const char *want)
{
    struct config_layers l = layers();

    config_resolve_broker(config_find(CONFIG_BROKER, slice_str(key)), &l,
                          &arena, &got);
    expect(want);
}

Test(config_resolve, defaults)
{
    expect_topic("segment.bytes",
                 "1073741824 5 [5:log.segment.bytes=1073741824]");
    expect_topic("min.insync.replicas", "1 5 [5:min.insync.replicas=1]");
    expect_topic("remote.storage.enable", "false 5 []");
}

Test(config_resolve, every_source_in_order)
{
    set(&file, "log.segment.bytes", "4000000");
    expect_topic("segment.bytes", "4000000 4 [4:log.segment.bytes=4000000 "
                                  "5:log.segment.bytes=1073741824]");
    set(&broker_default, "log.segment.bytes", "3000000");
    set(&broker, "log.segment.bytes", "2000000");
    set(&topic, "segment.bytes", "1500000");
    expect_topic("segment.bytes",
                 "1500000 1 [1:segment.bytes=1500000 "
                 "2:log.segment.bytes=2000000 3:log.segment.bytes=3000000 "
                 "4:log.segment.bytes=4000000 "
                 "5:log.segment.bytes=1073741824]");
}

Test(config_resolve, hours_and_minutes_become_milliseconds)
{
    expect_topic("retention.ms", "604800000 5 []");
    set(&file, "log.retention.hours", "24");
    expect_topic("retention.ms", "86400000 5 []");
    set(&file, "log.retention.minutes", "5");
    expect_topic("retention.ms", "300000 5 []");
    set(&file, "log.retention.ms", "77");
    expect_topic("retention.ms",
                 "77 4 [4:log.retention.ms=77 4:log.retention.minutes=5 "
                 "4:log.retention.hours=24 5:log.retention.hours=168]");
}

Test(config_resolve, forever_is_forever_in_any_unit)
{
    set(&file, "log.retention.hours", "-1");
    expect_topic("retention.ms", "-1 5 []");
    set(&file, "log.roll.hours", "2147483647");
    expect_topic("segment.ms", "7730941129200000 5 []");
}

Test(config_resolve, a_change_for_all_brokers_beats_the_file)
{
    set(&file, "log.retention.hours", "24");
    set(&broker_default, "log.retention.ms", "1000");
    expect_topic("retention.ms",
                 "1000 3 [3:log.retention.ms=1000 4:log.retention.hours=24 "
                 "5:log.retention.hours=168]");
}

Test(config_resolve, flush_ms_falls_back_to_the_scheduler)
{
    expect_topic("flush.ms", "9223372036854775807 5 []");
    set(&file, "log.flush.scheduler.interval.ms", "3000");
    expect_topic("flush.ms", "3000 5 []");
}

Test(config_resolve, of_a_broker)
{
    expect_broker("num.partitions", "1 5 [5:num.partitions=1]");
    set(&file, "num.partitions", "6");
    expect_broker("num.partitions",
                  "6 4 [4:num.partitions=6 5:num.partitions=1]");
    set(&broker, "log.retention.ms", "5");
    set(&file, "log.retention.hours", "24");
    expect_broker("log.retention.hours",
                  "24 4 [4:log.retention.hours=24 5:log.retention.hours=168]");
    expect_broker("broker.rack", "null 5 []");
}

Test(config_resolve, secrets_are_never_told)
{
    set(&file, "ssl.key.password", "hunter2");
    expect_broker("ssl.key.password", "null 4 [4:ssl.key.password=]");
}

Test(config_resolve, typed_fields)
{
    struct config_layers l = layers();
    struct topic_config c;

    topic_config_resolve(&l, &c);
    cr_assert(c.cleanup_delete);
    cr_assert_not(c.cleanup_compact);
    cr_assert_eq(c.compression, TOPIC_COMPRESSION_PRODUCER);
    cr_assert_eq(c.durability, DURABILITY_REPLICATED);
    cr_assert_eq(c.segment_bytes, 1073741824);
    cr_assert_eq(c.retention_ms, 604800000);
    cr_assert_eq(c.segment_ms, 604800000);
    cr_assert_eq(c.max_message_bytes, 1048588);

    set(&topic, "cleanup.policy", "compact,delete");
    set(&topic, "leat.durability", "fsync");
    set(&topic, "compression.type", "zstd");
    set(&topic, "internal.segment.bytes", "4096");
    set(&topic, "max.message.bytes", "nonsense");
    set(&broker_default, "min.insync.replicas", "2");
    topic_config_resolve(&l, &c);
    cr_assert(c.cleanup_delete);
    cr_assert(c.cleanup_compact);
    cr_assert_eq(c.compression, TOPIC_COMPRESSION_ZSTD);
    cr_assert_eq(c.durability, DURABILITY_FSYNC);
    cr_assert_eq(c.segment_bytes, 4096);
    cr_assert_eq(c.max_message_bytes, 1048588);
    cr_assert_eq(c.min_insync_replicas, 2);
}

Test(config_resolve, rules_between_keys)
{
    struct config_layers l = layers();
    struct topic_config c;
    char *why = NULL;

    set(&topic, "min.compaction.lag.ms", "11");
    set(&topic, "max.compaction.lag.ms", "10");
    topic_config_resolve(&l, &c);
    cr_assert_eq(topic_config_check(&c, &why), ERR_INVALID_CONFIG);
    cr_assert_str_eq(why, "conflict topic config setting min.compaction.lag.ms "
                          "(11) > max.compaction.lag.ms (10)");
    free(why);
    set(&topic, "max.compaction.lag.ms", "11");
    topic_config_resolve(&l, &c);
    cr_assert_eq(topic_config_check(&c, &why), ERR_NONE);
}

Test(config_resolve, values_as_kafka_shows_them)
{
    static const struct {
        const char *key, *given, *shown;
    } rows[] = {
        {"log.preallocate", " TRUE ", "true"},
        {"log.segment.bytes", "+2000000 ", "2000000"},
        {"log.cleaner.io.max.bytes.per.second", "5000000", "5000000.0"},
        {"log.cleaner.io.max.bytes.per.second", "50000000", "5.0E7"},
        {"log.cleaner.io.max.bytes.per.second", "123456789.5", "1.234567895E8"},
        {"log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308",
         "1.7976931348623157E308"},
        {"log.cleaner.min.cleanable.ratio", "0", "0.0"},
        {"log.cleaner.min.cleanable.ratio", "1", "1.0"},
        {"log.cleaner.min.cleanable.ratio", "0.10", "0.1"},
        {"log.cleaner.min.cleanable.ratio", "0.0001", "1.0E-4"},
        {"log.cleanup.policy", "compact , delete", "compact,delete"},
        {"log.cleanup.policy", "", ""},
    };
    struct arena a;

    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice shown =
            config_canonical(config_find(CONFIG_BROKER, slice_str(rows[i].key)),
                             slice_str(rows[i].given), &a);

        cr_assert(slice_eq_str(shown, rows[i].shown), "%s=%s: %.*s",
                  rows[i].key, rows[i].given, SLICE_FMT(shown));
    }
    arena_free(&a);
}

static void expect_listener(const char *key, const char *want)
{
    struct config_layers l = layers();

    config_resolve_listener(key, config_find(CONFIG_BROKER, slice_str(key)), &l,
                            &got);
    expect(want);
}

Test(config_resolve, of_a_listener)
{
    const char *own = "listener.name.a.max.connections";

    set(&file, own, "5");
    expect_listener(own, "5 4 [4:listener.name.a.max.connections=5 "
                         "5:max.connections=2147483647]");
    /* What is said of all counts less, wherever it is said. */
    set(&broker, "max.connections", "9");
    set(&file, "max.connections", "8");
    expect_listener(own, "5 4 [4:listener.name.a.max.connections=5 "
                         "4:max.connections=8 5:max.connections=2147483647]");
    set(&broker_default, own, "6");
    set(&broker, own, "7");
    expect_listener(
        own, "7 2 [2:listener.name.a.max.connections=7 2:max.connections=9 "
             "3:listener.name.a.max.connections=6 "
             "4:listener.name.a.max.connections=5 4:max.connections=8 "
             "5:max.connections=2147483647]");
    expect_broker("max.connections",
                  "9 2 [2:max.connections=9 4:max.connections=8 "
                  "5:max.connections=2147483647]");
}
