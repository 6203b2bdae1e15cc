/* The table of keys, and the sentences that clients see. */
#include "controller/config_defs.h"
#include "controller/share_reset.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void accepts_topic(const char *key, const char *value)
{
    char *why = NULL;

    cr_assert_eq(config_validate_topic(slice_str(key), slice_str(value), &why),
                 ERR_NONE, "%s", why);
}

static void refuses_topic(const char *key, const char *value,
                          const char *sentence)
{
    char *why = NULL;

    cr_assert_eq(config_validate_topic(slice_str(key), slice_str(value), &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(why, sentence);
    free(why);
}

static void every_default_is_valid(enum config_scope scope)
{
    for (size_t i = 0; i < config_count(scope); i++) {
        const struct config_def *def = config_at(scope, i);
        char *why = NULL;
        cr_assert_eq(config_check(def, slice_str(def->key),
                                  slice_str(def->fallback), &why),
                     ERR_NONE, "%s", why);
    }
}

Test(config_defs, every_key_is_found_documented_and_has_a_valid_default)
{
    const enum config_scope scopes[] = {CONFIG_TOPIC, CONFIG_BROKER,
                                        CONFIG_GROUP, CONFIG_CLIENT_METRICS};

    for (size_t s = 0; s < 4; s++) {
        every_default_is_valid(scopes[s]);
        for (size_t i = 0; i < config_count(scopes[s]); i++) {
            const struct config_def *def = config_at(scopes[s], i);
            cr_assert_eq(config_find(scopes[s], slice_str(def->key)), def,
                         "%s is not found: its table is not sorted, or an "
                         "earlier one has it too",
                         def->key);
            cr_assert_gt(strlen(def->doc), 0);
            cr_assert_eq(def->why == NULL, def->effect == CONFIG_USED, "%s",
                         def->key);
        }
    }
}

Test(config_defs, topic_keys_name_broker_keys_that_exist)
{
    for (size_t i = 0; i < config_count(CONFIG_TOPIC); i++) {
        const struct config_def *def = config_at(CONFIG_TOPIC, i);
        struct slice rest = slice_str(def->synonyms);
        struct slice key;
        while (config_list_next(&rest, &key)) {
            const uint8_t *space = memchr(key.data, ' ', key.len);
            if (space != NULL)
                key.len = (size_t)(space - key.data);
            cr_assert_not_null(config_find(CONFIG_BROKER, key), "%.*s",
                               SLICE_FMT(key));
        }
    }
}

Test(config_defs, an_unknown_key)
{
    cr_assert_null(config_find(CONFIG_TOPIC, SLICE("nosuch")));
    cr_assert_null(config_find(CONFIG_TOPIC, SLICE("")));
    cr_assert_null(config_find(CONFIG_BROKER, SLICE("listener.name.x")));
    refuses_topic("nosuch", "1", "Unknown topic config name: nosuch");
    refuses_topic("log.retention.ms", "1",
                  "Unknown topic config name: log.retention.ms");
}

Test(config_defs, listener_prefixes_are_seen_through)
{
    const struct config_def *def = config_find(
        CONFIG_BROKER, SLICE("listener.name.internal.ssl.keystore.location"));
    cr_assert_str_eq(def->key, "ssl.keystore.location");
    def = config_find(CONFIG_BROKER,
                      SLICE("listener.name.client.plain.sasl.jaas.config"));
    cr_assert_str_eq(def->key, "sasl.jaas.config");
}

Test(config_defs, limits_of_numbers)
{
    accepts_topic("retention.ms", "-1");
    accepts_topic("retention.ms", " 9223372036854775807 ");
    refuses_topic("retention.ms", "-2",
                  "Invalid value -2 for configuration retention.ms: Value must "
                  "be at least -1");
    refuses_topic("retention.ms", "9223372036854775808",
                  "Invalid value 9223372036854775808 for configuration "
                  "retention.ms: Not a number of type LONG");
    refuses_topic("retention.ms", "1h",
                  "Invalid value 1h for configuration retention.ms: Not a "
                  "number of type LONG");
    refuses_topic("max.message.bytes", "2147483648",
                  "Invalid value 2147483648 for configuration "
                  "max.message.bytes: Not a number of type INT");
    refuses_topic("segment.bytes", "1048575",
                  "Invalid value 1048575 for configuration segment.bytes: "
                  "Value must be at least 1048576");
    refuses_topic("min.cleanable.dirty.ratio", "1.5",
                  "Invalid value 1.5 for configuration "
                  "min.cleanable.dirty.ratio: Value must be no more than 1");
    refuses_topic("compression.gzip.level", "0",
                  "Invalid value 0 for configuration compression.gzip.level: "
                  "Value must be between 1 and 9 or equal to -1");
    accepts_topic("compression.gzip.level", "-1");
    refuses_topic("segment.ms", "",
                  "Invalid value  for configuration segment.ms: Not a number "
                  "of type LONG");
    refuses_topic("segment.ms", "-",
                  "Invalid value - for configuration segment.ms: Not a number "
                  "of type LONG");
}

Test(config_defs, words_and_lists)
{
    accepts_topic("cleanup.policy", "compact, delete");
    refuses_topic("cleanup.policy", "delete,archive",
                  "Invalid value archive for configuration cleanup.policy: "
                  "String must be one of: compact, delete");
    refuses_topic("compression.type", "brotli",
                  "Invalid value brotli for configuration compression.type: "
                  "String must be one of: uncompressed, zstd, lz4, snappy, "
                  "gzip, producer");
    refuses_topic("compression.type", "GZIP",
                  "Invalid value GZIP for configuration compression.type: "
                  "String must be one of: uncompressed, zstd, lz4, snappy, "
                  "gzip, producer");
    accepts_topic("leat.durability", "fsync");
    refuses_topic("leat.durability", "always",
                  "Invalid value always for configuration leat.durability: "
                  "String must be one of: replicated, fsync");
    accepts_topic("preallocate", "TRUE");
    refuses_topic("preallocate", "yes",
                  "Invalid value yes for configuration preallocate: Expected "
                  "value to be either true or false");
    accepts_topic("leader.replication.throttled.replicas", "*");
    accepts_topic("leader.replication.throttled.replicas", "0:1,12:3");
    refuses_topic("leader.replication.throttled.replicas", "0:x",
                  "Invalid value 0:x for configuration "
                  "leader.replication.throttled.replicas: "
                  "leader.replication.throttled.replicas must be the literal "
                  "'*' or a list of replicas in the following format: "
                  "[partitionId]:[brokerId],[partitionId]:[brokerId],...");
}

Test(config_defs, where_a_share_group_begins)
{
    const struct slice key = SLICE("share.auto.offset.reset");
    char *why = NULL;

    cr_assert_eq(config_validate_group(key, SLICE("by_duration:PT1H"), &why),
                 ERR_NONE);
    cr_assert_eq(config_validate_group(key, SLICE(" earliest"), &why),
                 ERR_NONE);
    cr_assert_eq(config_validate_group(key, SLICE("by_duration:1H"), &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(
        why, "Invalid value by_duration:1H for configuration "
             "share.auto.offset.reset: Invalid value `by_duration:1H` for "
             "configuration share.auto.offset.reset. The value must be either "
             "'earliest', 'latest' or of the format "
             "'by_duration:<PnDTnHnMn.nS.>'.");
    free(why);
}

Test(config_defs, what_we_cannot_do_is_refused_not_ignored)
{
    accepts_topic("remote.storage.enable", "false");
    refuses_topic("remote.storage.enable", "true",
                  "Invalid value true for configuration "
                  "remote.storage.enable: tiered storage is not in this "
                  "release");
}

Test(config_defs, null_means_no_value)
{
    char *why = NULL;

    cr_assert_eq(config_validate_topic(SLICE("retention.ms"), SLICE_NULL, &why),
                 ERR_INVALID_CONFIG);
    cr_assert_str_eq(why, "Invalid value null for configuration retention.ms: "
                          "Value must be non-null");
    free(why);
}

static void refuses_broker(const char *key, const char *value, bool per_broker,
                           const char *sentence)
{
    char *why = NULL;

    cr_assert_eq(config_validate_broker_dynamic(
                     slice_str(key), slice_str(value), per_broker, &why),
                 ERR_INVALID_REQUEST);
    cr_assert_str_eq(why, sentence);
    free(why);
}

Test(config_defs, brokers_take_some_changes_while_running)
{
    char *why = NULL;

    cr_assert_eq(config_validate_broker_dynamic(SLICE("log.retention.ms"),
                                                SLICE("1000"), false, &why),
                 ERR_NONE);
    cr_assert_eq(
        config_validate_broker_dynamic(SLICE("sasl.enabled.mechanisms"),
                                       SLICE("PLAIN"), true, &why),
        ERR_NONE);
    cr_assert_eq(config_validate_broker_dynamic(
                     SLICE("listener.name.external.ssl.keystore.type"),
                     SLICE("PEM"), true, &why),
                 ERR_NONE);
    cr_assert_eq(config_validate_broker_dynamic(SLICE("my.plugin.key"),
                                                SLICE("x"), false, &why),
                 ERR_NONE);
    refuses_broker("node.id", "4", true,
                   "Cannot update these configs dynamically: [node.id]");
    refuses_broker("listeners", "PLAINTEXT://:1", true,
                   "Cannot update these configs dynamically: [listeners]");
    refuses_broker("sasl.enabled.mechanisms", "PLAIN", false,
                   "Cannot update these configs at default cluster level, "
                   "broker id must be specified: [sasl.enabled.mechanisms]");
    refuses_broker("ssl.keystore.type", "PEM", true,
                   "These security configs can be dynamically updated only "
                   "per-listener using the listener prefix: "
                   "[ssl.keystore.type]");
    refuses_broker("min.insync.replicas", "0", false,
                   "Invalid value 0 for configuration min.insync.replicas: "
                   "Value must be at least 1");
}

Test(config_defs, passwords_are_sensitive)
{
    cr_assert(config_is_sensitive(
        config_find(CONFIG_BROKER, SLICE("listener.name.x.ssl.key.password"))));
    cr_assert_not(
        config_is_sensitive(config_find(CONFIG_BROKER, SLICE("node.id"))));
}

Test(config_defs, reading_lists)
{
    struct slice rest = SLICE(" a ,b,, c");
    struct slice item;
    const char *want[] = {"a", "b", "", "c"};

    for (int i = 0; i < 4; i++) {
        cr_assert(config_list_next(&rest, &item));
        cr_assert(slice_eq_str(item, want[i]));
    }
    cr_assert_not(config_list_next(&rest, &item));
    rest = SLICE("  ");
    cr_assert_not(config_list_next(&rest, &item));
    cr_assert(config_list_has(SLICE("compact,delete"), "delete"));
    cr_assert_not(config_list_has(SLICE("compact,delete"), "del"));
}

Test(config_defs, reading_numbers)
{
    int32_t i = 7;
    int64_t l = 7;
    double d = 7;

    cr_assert(config_parse_int32(SLICE("+5"), &i) && i == 5);
    cr_assert_not(config_parse_int32(SLICE("2147483648"), &i));
    cr_assert_not(config_parse_int32(SLICE("5 5"), &i));
    cr_assert_not(config_parse_int32(SLICE("0x10"), &i));
    cr_assert_eq(i, 5);
    cr_assert(config_parse_int64(SLICE("-9223372036854775808"), &l));
    cr_assert_eq(l, INT64_MIN);
    cr_assert_not(config_parse_int64(SLICE("99999999999999999999"), &l));
    cr_assert(config_parse_double(SLICE("1.7976931348623157E308"), &d));
    cr_assert_not(config_parse_double(SLICE("nan"), &d));
}

/* ---- share.auto.offset.reset ---------------------------------------------*/

Test(share_reset, texts)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t timestamp; /* at 10^9 ms */
    } rows[] = {
        {"latest", true, -1},
        {"earliest", true, -2},
        {"by_duration:PT1H", true, 1000000000 - 3600000},
        {"by_duration:P1DT2H3M4.5S", true, 1000000000 - 93784500},
        {"by_duration:PT0S", true, 1000000000},
        {"by_duration:P9D", true, 1000000000 - 777600000},
        {"by_duration:P999D", true, 0},
        {"by_duration:", false, 0},
        {"by_duration:P", false, 0},
        {"by_duration:PT", false, 0},
        {"by_duration:P1H", false, 0},
        {"by_duration:PT1M1H", false, 0},
        {"by_duration:PT1.5H", false, 0},
        {"by_duration:PT-1H", false, 0},
        {"by_duration:PT1", false, 0},
        {"by_duration:P99999999999999999999D", false, 0},
        {"by_duration:P999999999999999D", false, 0},
        {"none", false, 0},
        {"", false, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct share_reset reset;
        bool ok = share_reset_parse(slice_str(rows[i].text), &reset);

        cr_assert_eq(ok, rows[i].ok, "%s", rows[i].text);
        if (ok)
            cr_assert_eq(share_reset_timestamp(&reset, 1000000000),
                         rows[i].timestamp, "%s", rows[i].text);
    }
}
