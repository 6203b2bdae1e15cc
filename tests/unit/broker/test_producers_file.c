#include "base/prng.h"
#include "tests/unit/broker/log_fixture.h"
#include "tests/unit/broker/producers_kit.h"

#include <errno.h>

/* A log whose producers are kept as a replica keeps them. */
struct bench {
    struct fixture f;
    struct producers *producers;
    bool stale;
};

static void begin(struct bench *t)
{
    *t = (struct bench){0};
    fixture_begin(&t->f);
    fixture_open(&t->f, true, 0);
    t->producers = producers_new();
}

static void end(struct bench *t)
{
    producers_free(t->producers);
    fixture_end(&t->f);
}

static struct buf encode_batch(struct bench *t, struct sent s)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf bytes = BUF_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    for (int i = 0; i < (s.records != 0 ? s.records : 1); i++)
        batch_builder_append(&b, s.timestamp, SLICE_NULL, SLICE("value"), NULL,
                             0);
    options.base_offset = log_end_offset(t->f.log);
    options.leader_epoch = 0;
    options.producer_id = s.id;
    options.producer_epoch = s.epoch;
    options.base_sequence = s.sequence;
    options.attributes = (uint16_t)s.attributes;
    batch_builder_finish(&b, &options, t->f.codec, &bytes);
    batch_builder_free(&b);
    return bytes;
}

static void produce(struct bench *t, struct sent s)
{
    struct log_append_info info;
    struct buf bytes = encode_batch(t, s);
    int64_t active = log_active_base_offset(t->f.log);
    struct batch b;

    cr_assert_eq(log_append(t->f.log, buf_slice(&bytes), now_ms, &info),
                 ERR_NONE);
    cr_assert_eq(batch_parse(buf_slice(&bytes), &b), ERR_NONE);
    if (log_active_base_offset(t->f.log) != active)
        cr_assert_eq(producers_store(t->f.env, t->producers, LOG_PATH,
                                     log_active_base_offset(t->f.log)),
                     ERR_NONE);
    producers_apply(t->producers, &b, now_ms);
    buf_free(&bytes);
}

/* n batches of producers 1 to 3 in turn. */
static void produce_n(struct bench *t, int n)
{
    for (int i = 0; i < n; i++) {
        int at = (int)log_end_offset(t->f.log);
        produce(t, (struct sent){.id = 1 + at % 3, .sequence = at / 3});
    }
}

static enum err store(struct bench *t)
{
    return producers_store(t->f.env, t->producers, LOG_PATH,
                           log_end_offset(t->f.log));
}

static struct producers *load(struct bench *t)
{
    struct producers *p;

    cr_assert_eq(producers_load(t->f.env, t->f.log, log_end_offset(t->f.log),
                                now_ms, &p),
                 ERR_NONE);
    return p;
}

static void expect_loaded(struct bench *t, const char *when)
{
    struct producers *p = load(t);

    expect_same(p, t->producers, when);
    producers_free(p);
}

/* Offsets of the snapshots that are there. */
static const char *snapshots(struct bench *t)
{
    static char text[256];
    char **names;
    size_t len, at = 0;

    text[0] = '\0';
    cr_assert_eq(env_list_dir(t->f.env, LOG_PATH, &names, &len), 0);
    for (size_t i = 0; i < len; i++) {
        if (strstr(names[i], ".snapshot") != NULL)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%lld%s",
                                   at != 0 ? " " : "", atoll(names[i]),
                                   strchr(names[i], '.') + 9);
        free(names[i]);
    }
    free(names);
    return text;
}

static void expect_snapshots(struct bench *t, const char *wanted)
{
    cr_assert_str_eq(snapshots(t), wanted, "snapshots %s instead of %s",
                     snapshots(t), wanted);
}

/* Whoever reads the log now, fails. */
static void spoil_log(struct bench *t, int64_t base)
{
    struct buf *log = file(&t->f, base, ".log");

    log->data[log->len / 2] ^= 1;
}

Test(producers_file, a_snapshot_at_the_end_spares_reading_the_log)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 10);
    cr_assert_eq(store(&t), ERR_NONE);
    spoil_log(&t, 0);
    expect_loaded(&t, "behind a clean stop");
    end(&t);
}

Test(producers_file, without_a_snapshot_the_log_tells)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 10);
    expect_loaded(&t, "from the log");
    expect_snapshots(&t, "");
    end(&t);
}

Test(producers_file, an_empty_log_is_neither_read_nor_written)
{
    struct bench t;

    begin(&t);
    cr_assert_eq(store(&t), ERR_NONE);
    cr_assert_null(load(&t));
    expect_snapshots(&t, "");
    end(&t);
}

Test(producers_file, a_log_without_producers_is_not_read_at_every_start)
{
    struct bench t;

    begin(&t);
    append_n(&t.f, 10);
    producers_free(t.producers);
    t.producers = NULL;
    cr_assert_eq(store(&t), ERR_NONE);
    expect_snapshots(&t, "10");
    spoil_log(&t, 0);
    cr_assert_null(load(&t));
    end(&t);
}

Test(producers_file, behind_a_roll_only_the_active_segment_is_read)
{
    struct bench t;

    begin(&t);
    t.f.config.segment_bytes = 400;
    log_set_config(t.f.log, &t.f.config);
    while (log_segment_count(t.f.log) < 4)
        produce_n(&t, 1);
    produce_n(&t, 1);
    spoil_log(&t, 0);
    expect_loaded(&t, "after a crash");
    end(&t);
}

/* Gigabytes of a log that came from elsewhere. */
Test(producers_file, what_took_long_to_read_is_stored_for_the_next_time)
{
    struct bench t;

    begin(&t);
    for (int i = 0; i < 5; i++)
        append(&t.f, (struct batch_shape){.value_bytes = 1 << 20});
    produce_n(&t, 3);
    expect_loaded(&t, "from the log");
    expect_snapshots(&t, "8");
    spoil_log(&t, 0);
    expect_loaded(&t, "from the snapshot");
    end(&t);
}

Test(producers_file, the_newest_is_kept_and_two_at_segments)
{
    struct bench t;
    int64_t older = 0, newer = 0;
    char wanted[64];

    begin(&t);
    t.f.config.segment_bytes = 400;
    log_set_config(t.f.log, &t.f.config);
    produce_n(&t, 1);
    store(&t);
    expect_snapshots(&t, "1");
    while (log_segment_count(t.f.log) < 5) {
        produce_n(&t, 1);
        if (log_active_base_offset(t.f.log) != newer) {
            older = newer;
            newer = log_active_base_offset(t.f.log);
        }
    }
    snprintf(wanted, sizeof wanted, "%d %d", (int)older, (int)newer);
    expect_snapshots(&t, wanted);
    for (int i = 1; i < 3; i++) {
        produce_n(&t, 1);
        store(&t);
        snprintf(wanted, sizeof wanted, "%d %d %d", (int)older, (int)newer,
                 (int)log_end_offset(t.f.log));
        expect_snapshots(&t, wanted);
    }
    end(&t);
}

Test(producers_file, every_damaged_byte_is_noticed)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 4);
    cr_assert_eq(store(&t), ERR_NONE);
    struct buf good = BUF_INIT;
    buf_put_slice(&good, buf_slice(file(&t.f, 4, ".snapshot")));
    for (size_t i = 0; i < good.len; i++) {
        file(&t.f, 4, ".snapshot")->data[i] ^= (uint8_t)(1u << i % 8);
        expect_loaded(&t, "with a damaged snapshot");
        expect_snapshots(&t, "");
        cr_assert_eq(store(&t), ERR_NONE);
    }
    for (size_t len = 0; len < good.len; len++) {
        file(&t.f, 4, ".snapshot")->len = len;
        expect_loaded(&t, "with a torn snapshot");
        expect_snapshots(&t, "");
        cr_assert_eq(store(&t), ERR_NONE);
    }
    buf_free(&good);
    end(&t);
}

/* As ProducerStateManager.writeSnapshot() of Apache Kafka 4.3 writes it. */
Test(producers_file, the_bytes_are_kafkas)
{
    static const char wanted[] =
        "0001e6aec65d00000002"
        "0000000000000fa100020000000b000000000000000e00000004"
        "0000018bcfe5687bffffffffffffffffffffffff"
        "0000000000000fa2000000000000000000000000000f00000000"
        "0000018bcfe56be8ffffffff000000000000000f";
    struct producers *p = producers_new();
    struct buf bytes = BUF_INIT, hex = BUF_INIT;
    struct batch first =
        batch_of((struct sent){.id = 4001,
                               .epoch = 2,
                               .sequence = 7,
                               .records = 5,
                               .offset = 10,
                               .timestamp = 1700000000123,
                               .attributes = BATCH_LOG_APPEND_TIME});
    struct batch second =
        batch_of((struct sent){.id = 4002,
                               .offset = 15,
                               .timestamp = 1700000001000,
                               .attributes = BATCH_TRANSACTIONAL});

    producers_apply(p, &first, now_ms);
    producers_apply(p, &second, now_ms);
    producers_encode(p, &bytes);
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(&hex, "%02x", bytes.data[i]);
    cr_assert(slice_eq_str(buf_slice(&hex), wanted), "%.*s",
              SLICE_FMT(buf_slice(&hex)));
    buf_free(&hex);
    buf_free(&bytes);
    producers_free(p);
}

/* Right CRC, wrong contents: another version of somebody's software. */
Test(producers_file, an_entry_that_makes_no_sense_is_refused)
{
    static const struct producer good = {.producer_id = 9,
                                         .epoch = 1,
                                         .last_sequence = 5,
                                         .last_offset = 50,
                                         .offset_delta = 5,
                                         .timestamp = 5,
                                         .coordinator_epoch = -1,
                                         .txn_first_offset = 40};
    const char *why;

    for (int i = 0; i < 9; i++) {
        struct producer e = good;
        struct producers *p = producers_new();
        struct buf bytes = BUF_INIT;

        switch (i) {
        case 1:
            e.epoch = -2;
            break;
        case 2:
            e.last_sequence = -2;
            break;
        case 3:
            e.last_offset = 100;
            break;
        case 4:
            e.offset_delta = -1;
            break;
        case 5:
            e.offset_delta = 51;
            break;
        case 6:
            e.txn_first_offset = -2;
            break;
        case 7:
            e.txn_first_offset = 100;
            break;
        case 8:
            e.last_offset = INT64_MIN;
            break;
        }
        producers_restore(p, &e, now_ms);
        producers_encode(p, &bytes);
        /* restore() takes a negative offset as none */
        if (i == 8)
            cr_assert_eq(bytes.len, 56);
        struct producers *got =
            producers_decode(buf_slice(&bytes), 100, now_ms, &why);
        cr_assert_eq(got != NULL, i == 0 || i == 8, "case %d", i);
        producers_free(got);
        producers_free(p);
        buf_free(&bytes);
    }
}

/* The log lost its end in a power failure, the snapshot of it did not. */
Test(producers_file, a_snapshot_above_the_end_is_deleted)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 6);
    store(&t);
    cr_assert_eq(log_truncate(t.f.log, 4), ERR_NONE);
    struct producers *p = load(&t);
    cr_assert_eq(producers_count(p), 3);
    producers_free(p);
    expect_snapshots(&t, "");
    end(&t);
}

/* What the producer wrote between the snapshot and the start is not known, so
 * it must not be refused for going on behind that. */
Test(producers_file, a_snapshot_below_the_start_is_of_no_use)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 3);
    store(&t);
    produce_n(&t, 6);
    cr_assert_eq(log_raise_start(t.f.log, 8), ERR_NONE);
    struct producers *p = load(&t);
    cr_assert_eq(producers_count(p), 1);
    producers_free(p);
    expect_snapshots(&t, "");
    end(&t);
}

Test(producers_file, truncation_needs_no_log_as_long_as_batches_are_left)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 9);
    store(&t);
    cr_assert_eq(log_truncate(t.f.log, 5), ERR_NONE);
    spoil_log(&t, 0);
    cr_assert_eq(producers_truncated(t.f.env, t.f.log, INT64_MAX, now_ms,
                                     &t.producers, &t.stale),
                 ERR_NONE);
    cr_assert_eq(producers_count(t.producers), 3);
    expect_snapshots(&t, "");
    end(&t);
}

Test(producers_file, truncation_reads_the_log_for_what_was_forgotten)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 30);
    cr_assert_eq(log_truncate(t.f.log, 5), ERR_NONE);
    cr_assert_eq(producers_truncated(t.f.env, t.f.log, INT64_MAX, now_ms,
                                     &t.producers, &t.stale),
                 ERR_NONE);
    expect_loaded(&t, "truncated");
    cr_assert_eq(producers_count(t.producers), 3);
    end(&t);
}

Test(producers_file, a_log_that_starts_anew_knows_nobody)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 6);
    store(&t);
    cr_assert_eq(log_truncate_fully(t.f.log, 6), ERR_NONE);
    cr_assert_eq(producers_truncated(t.f.env, t.f.log, INT64_MAX, now_ms,
                                     &t.producers, &t.stale),
                 ERR_NONE);
    cr_assert_null(t.producers);
    expect_snapshots(&t, "");
    end(&t);
}

/* Retention emptied the log; its producers go on. */
Test(producers_file, a_snapshot_at_the_end_of_an_emptied_log_counts)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 6);
    store(&t);
    cr_assert_eq(log_raise_start(t.f.log, 6), ERR_NONE);
    expect_loaded(&t, "emptied");
    end(&t);
}

/* Ids that a client's old timestamps would have expired at once. */
Test(producers_file, a_restart_does_not_age_a_producer)
{
    struct bench t;

    begin(&t);
    produce(&t, (struct sent){.id = 1, .timestamp = 5000});
    produce(&t, (struct sent){.id = 2,
                              .timestamp = 5000,
                              .attributes = BATCH_LOG_APPEND_TIME});
    store(&t);
    struct producers *p = load(&t);
    producers_expire(p, now_ms + 5000, 6000);
    cr_assert_eq(producers_count(p), 1);
    producers_free(p);
    end(&t);
}

Test(producers_file, a_full_disk_costs_the_snapshot_only)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 6);
    env_mem_faults(t.f.env)->write_at = 1;
    env_mem_faults(t.f.env)->error = -ENOSPC;
    cr_assert_eq(store(&t), ERR_FULL);
    expect_snapshots(&t, "");
    expect_loaded(&t, "without it");
    end(&t);
}

static bool apply_all(void *arg, const struct batch *b, struct slice bytes)
{
    (void)bytes;
    producers_apply(arg, b, now_ms);
    return true;
}

/* What the log says, told without snapshots. */
static struct producers *replay(struct bench *t)
{
    struct producers *p = producers_new();

    cr_assert_eq(log_visit(t->f.log, 0, log_end_offset(t->f.log), apply_all, p),
                 ERR_NONE);
    return p;
}

/* Until it is in line with the log it is asked for again, and then knows
 * neither what was cut off nor less than is left. */
static void truncate_late(int n, int64_t end_offset)
{
    enum err err = ERR_EXHAUSTED;
    struct bench t;

    begin(&t);
    t.f.config.segment_bytes = 400;
    log_set_config(t.f.log, &t.f.config);
    produce_n(&t, 30);
    store(&t);
    cr_assert_eq(log_truncate(t.f.log, end_offset), ERR_NONE);
    env_mem_advance(t.f.env, 1000000);
    env_mem_faults(t.f.env)->no_more_at = n;
    for (int i = 0; i < 3 && err != ERR_NONE; i++) {
        err = producers_truncated(t.f.env, t.f.log, INT64_MAX, now_ms,
                                  &t.producers, &t.stale);
        cr_assert_eq(t.stale, err != ERR_NONE);
        env_mem_faults(t.f.env)->no_more_at = i == 0 ? 1 : 0;
    }
    cr_assert_eq(err, ERR_NONE);
    env_mem_faults(t.f.env)->no_more_at = 0;
    cr_assert_eq(log_end_offset(t.f.log), end_offset);
    for (const char *s = snapshots(&t); *s != '\0';
         s += strspn(s, " "), s += strcspn(s, " "))
        cr_assert_leq(atoll(s), end_offset, "%d: %s", n, snapshots(&t));
    expect_loaded(&t, "truncated late");
    end(&t);
}

Test(producers_file, truncation_that_fails_is_made_up_for)
{
    for (int n = 1; n < 8; n++) {
        truncate_late(n, 28);
        truncate_late(n, 5);
    }
}

/* Whatever has this name already, what is stored is what is known. */
Test(producers_file, a_snapshot_takes_the_place_of_an_older_one)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 6);
    store(&t);
    cr_assert_eq(log_truncate(t.f.log, 3), ERR_NONE);
    producers_free(t.producers);
    t.producers = replay(&t);
    for (int i = 0; i < 3; i++)
        produce(&t, (struct sent){.id = 7, .sequence = i});
    cr_assert(producers_is_stored(t.f.env, LOG_PATH, 6));
    store(&t);
    expect_loaded(&t, "stored again");
    end(&t);
}

/* It may be fine. */
Test(producers_file, without_descriptors_no_snapshot_is_deleted)
{
    struct producers *p;
    enum err err = ERR_EXHAUSTED;
    struct bench t;

    begin(&t);
    produce_n(&t, 6);
    store(&t);
    produce_n(&t, 2);
    for (int n = 1; err != ERR_NONE; n++) {
        env_mem_faults(t.f.env)->no_more_at = n;
        err = producers_load(t.f.env, t.f.log, log_end_offset(t.f.log), now_ms,
                             &p);
        env_mem_faults(t.f.env)->no_more_at = 0;
        cr_assert(err == ERR_NONE ? n > 2 : err == ERR_EXHAUSTED, "%d: %s", n,
                  err_name(err));
        expect_snapshots(&t, "6");
    }
    producers_free(p);
    expect_loaded(&t, "when there are descriptors again");
    end(&t);
}

/* ---- power failures
 * ------------------------------------------------------------ */

static void flushed(struct log_flush *flush) { free(flush); }

static void flush(struct bench *t)
{
    struct log_flush *x = xcalloc(1, sizeof *x);

    x->done = flushed;
    if (!log_flush_begin(t->f.log, x))
        free(x);
    env_mem_run(t->f.env);
}

static void truncate_some(struct bench *t, struct prng *prng)
{
    int64_t end = log_end_offset(t->f.log) - (int64_t)prng_below(prng, 8);

    cr_assert_eq(log_truncate(t->f.log, end < 0 ? 0 : end), ERR_NONE);
    cr_assert_eq(producers_truncated(t->f.env, t->f.log, INT64_MAX, now_ms,
                                     &t->producers, &t->stale),
                 ERR_NONE);
    if (t->producers == NULL)
        t->producers = producers_new();
}

static void work(struct bench *t, struct prng *prng)
{
    for (int i = 0; i < 30; i++) {
        switch (prng_below(prng, 8)) {
        case 0:
            flush(t);
            break;
        case 1:
            truncate_some(t, prng);
            break;
        case 2:
            store(t);
            break;
        default:
            produce_n(t, 1 + (int)prng_below(prng, 3));
        }
    }
}

static void lose_power(uint64_t seed)
{
    struct prng prng = {seed};
    struct bench t;

    begin(&t);
    t.f.config.segment_bytes = 1000;
    for (int life = 0; life < 4; life++) {
        log_set_config(t.f.log, &t.f.config);
        work(&t, &prng);
        fixture_crash(&t.f, ENV_MEM_POWER);
        cr_assert_eq(fixture_reopen(&t.f, 0, 0), ERR_NONE);
        free(t.f.report.message);
        producers_free(t.producers);
        t.producers = load(&t);
        struct producers *wanted = replay(&t);
        expect_same(t.producers, wanted, "after a power failure");
        producers_free(wanted);
        if (t.producers == NULL)
            t.producers = producers_new();
    }
    end(&t);
}

Test(producers_file, whatever_a_power_failure_leaves_the_state_is_the_logs)
{
    for (uint64_t seed = 1; seed <= 150; seed++)
        lose_power(seed);
}

/* It was deleted when the log was cut; if it came back it would be taken for
 * the state of other batches. */
static void delete_and_lose_power(int turns)
{
    struct bench t;

    begin(&t);
    while (turns-- > 0)
        env_random(t.f.env);
    produce_n(&t, 6);
    store(&t);
    flush(&t);
    cr_assert_eq(log_truncate(t.f.log, 3), ERR_NONE);
    cr_assert_eq(producers_truncated(t.f.env, t.f.log, INT64_MAX, now_ms,
                                     &t.producers, &t.stale),
                 ERR_NONE);
    for (int i = 0; i < 5; i++)
        produce(&t, (struct sent){.id = 9, .sequence = i});
    flush(&t);
    fixture_crash(&t.f, ENV_MEM_POWER);
    fixture_open(&t.f, false, 0);
    expect_loaded(&t, "after a power failure");
    end(&t);
}

Test(producers_file, a_deleted_snapshot_does_not_come_back)
{
    for (int turns = 0; turns < 20; turns++)
        delete_and_lose_power(turns);
}

/* What is checked after a crash may not be what they were written for. */
Test(producers_file, snapshots_of_what_is_read_anew_go)
{
    struct bench t;

    begin(&t);
    produce_n(&t, 6);
    store(&t);
    produce_n(&t, 2);
    flush(&t);
    fixture_crash(&t.f, ENV_MEM_KILL);
    fixture_open(&t.f, false, 0);
    expect_loaded(&t, "after a crash");
    expect_snapshots(&t, "");
    end(&t);
}
