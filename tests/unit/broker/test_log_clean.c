/* Compaction of a log: what stays, what goes, and what a crash leaves. */
#include "broker/log/clean.h"
#include "broker/log/state.h"
#include "proto/record/control.h"
#include "proto/record/recompress.h"
#include "tests/unit/broker/log_fixture.h"

#include <errno.h>

enum { DAY_MS = 86400000 };

/* ---- writing --------------------------------------------------------------*/

struct kv {
    const char *key;   /* NULL: none */
    const char *value; /* NULL: a tombstone */
};

struct put {
    struct kv records[8]; /* up to the first with neither */
    int epoch;
    int64_t timestamp; /* 0: 1000 */
    enum compression compression;
    int64_t producer; /* 0: none */
    int32_t sequence;
    uint16_t attributes;
};

static struct slice text(const char *s)
{
    return s == NULL ? SLICE_NULL : slice_str(s);
}

static void put_kv(struct fixture *f, struct put p)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct record_header header = {SLICE("h"), SLICE("1")};
    struct log_append_info info;
    struct buf bytes = BUF_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    for (int i = 0; i < 8 && (i == 0 || p.records[i].key != NULL ||
                              p.records[i].value != NULL);
         i++)
        batch_builder_append(&b, (p.timestamp != 0 ? p.timestamp : 1000) + i,
                             text(p.records[i].key), text(p.records[i].value),
                             &header, 1);
    options.base_offset = log_end_offset(f->log);
    options.leader_epoch = p.epoch;
    options.compression = p.compression;
    options.attributes = p.attributes;
    if (p.producer != 0) {
        options.producer_id = p.producer;
        options.producer_epoch = 0;
        options.base_sequence = p.sequence;
    }
    batch_builder_finish(&b, &options, f->codec, &bytes);
    batch_builder_free(&b);
    cr_assert_eq(
        log_append(f->log, buf_slice(&bytes), env_wall_ms(f->env), &info),
        ERR_NONE);
    buf_free(&bytes);
}

/* One record a batch. */
static void put1(struct fixture *f, const char *key, const char *value)
{
    put_kv(f, (struct put){.records = {{key, value}}});
}

/* Returns its offset. */
static int64_t put_marker(struct fixture *f, int leader_epoch, int64_t producer,
                          bool commit)
{
    struct control_marker m = {producer, 0, 1, commit};
    int64_t offset = log_end_offset(f->log);
    struct log_append_info info;
    struct buf bytes = BUF_INIT;

    control_marker_encode(&m, 1000, &bytes);
    be64_put(bytes.data, (uint64_t)offset);
    be32_put(bytes.data + 12, (uint32_t)leader_epoch);
    cr_assert_eq(
        log_append(f->log, buf_slice(&bytes), env_wall_ms(f->env), &info),
        ERR_NONE);
    buf_free(&bytes);
    return offset;
}

/* What is there so far is in segments that may be cleaned. */
static void roll(struct fixture *f)
{
    if (log_active_base_offset(f->log) != log_end_offset(f->log))
        cr_assert_eq(log_roll(f->log, log_end_offset(f->log), 0), ERR_NONE);
    env_mem_run(f->env);
    cr_assert_eq(log_flush_now(f->log), ERR_NONE);
}

/* ---- cleaning -------------------------------------------------------------*/

struct round {
    int64_t now_ms;   /* 0: 2000 */
    int64_t from;     /* first dirty offset */
    size_t map_bytes; /* 0: enough */
    size_t io_bytes;  /* 0: small, so that there are many steps */
    struct clean_producer *producers;
    size_t producers_len;
    int64_t undecided; /* so much of the log's end is not stable */
    bool may_fail;
};

static enum log_clean_next run_steps(struct log_clean *c)
{
    enum log_clean_next next;

    while ((next = log_clean_step(c)) == LOG_CLEAN_STEP ||
           next == LOG_CLEAN_SWAP)
        if (next == LOG_CLEAN_SWAP)
            log_clean_swap(c);
    return next;
}

static struct log_clean *begin(struct fixture *f, struct round r)
{
    struct log_clean_options options = {
        .now_wall_ms = r.now_ms != 0 ? r.now_ms : 2000,
        .map_bytes = r.map_bytes != 0 ? r.map_bytes : 1 << 20,
        .map_load_factor = 0.9,
        .io_bytes = r.io_bytes != 0 ? r.io_bytes : 200,
        .producers = r.producers,
        .producers_len = r.producers_len,
    };
    struct log_dirt dirt;

    log_dirt(f->log, r.from, log_end_offset(f->log) - r.undecided,
             options.now_wall_ms, &dirt);
    return dirt.dirty_bytes > 0 ? log_clean_begin(f->log, &dirt, &options)
                                : NULL;
}

/* Returns the first dirty offset afterwards; -1 when it failed. */
static int64_t clean(struct fixture *f, struct round r)
{
    struct log_clean_result result;
    struct log_clean *c = begin(f, r);

    cr_assert_not_null(c, "nothing to clean");
    enum log_clean_next next = run_steps(c);
    cr_assert(next == LOG_CLEAN_DONE || r.may_fail);
    log_clean_end(c, &result);
    return next == LOG_CLEAN_DONE ? result.first_dirty : -1;
}

/* ---- reading --------------------------------------------------------------*/

struct seen {
    struct fixture *f;
    struct buf text;
    bool records_only;
};

static bool see_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct seen *s = arg;
    struct buf scratch = BUF_INIT;
    struct record_reader r;
    struct record record;

    cr_assert_eq(record_open(&r, s->f->codec, bytes, b, 1 << 20, &scratch),
                 ERR_NONE);
    if (!s->records_only)
        buf_printf(&s->text, "%s[%lld-%lld", s->text.len != 0 ? " " : "",
                   (long long)b->base_offset, (long long)batch_last_offset(b));
    struct control_marker m;
    if (control_marker_decode(bytes, b, &m)) {
        buf_printf(&s->text, " %lld:%s", (long long)b->base_offset,
                   m.commit ? "commit" : "abort");
        record_next(&r, &record);
    }
    while (record_next(&r, &record)) {
        cr_assert_eq(record.headers_count, 1);
        buf_printf(&s->text, "%s%lld:%.*s=%.*s", s->text.len != 0 ? " " : "",
                   (long long)record.offset, (int)record.key.len,
                   (const char *)record.key.data,
                   slice_is_null(record.value) ? 4 : (int)record.value.len,
                   slice_is_null(record.value)
                       ? "null"
                       : (const char *)record.value.data);
    }
    cr_assert_eq(r.err, ERR_NONE);
    if (!s->records_only)
        buf_printf(&s->text, "]");
    buf_free(&scratch);
    return true;
}

static const char *text_of(struct fixture *f, bool records_only)
{
    static char all[4][8192];
    static int turn;
    struct seen s = {f, BUF_INIT, records_only};
    char *out = all[turn++ % 4];

    cr_assert_eq(log_visit(f->log, log_start_offset(f->log),
                           log_end_offset(f->log), see_batch, &s),
                 ERR_NONE);
    snprintf(out, sizeof all[0], "%.*s", (int)s.text.len,
             (const char *)s.text.data);
    buf_free(&s.text);
    return out;
}

/* "[0-1 0:a=1 1:b=2] [2-2]": each batch, its offsets and its records. */
static const char *log_text(struct fixture *f) { return text_of(f, false); }

/* "0:a=1 1:b=2" */
static const char *records_text(struct fixture *f) { return text_of(f, true); }

#define IS(f, want) cr_assert_str_eq(log_text(f), want)

static bool first_batch(void *arg, const struct batch *b, struct slice bytes)
{
    (void)bytes;
    *(struct batch *)arg = *b;
    return false;
}

static struct batch batch_at(struct fixture *f, int64_t offset)
{
    struct batch b = {0};

    cr_assert_eq(log_visit(f->log, offset, offset + 1, first_batch, &b),
                 ERR_NONE);
    return b;
}

static void open_compacted(struct fixture *f)
{
    fixture_begin(f);
    f->config.compact_policy = true;
    f->config.delete_policy = false;
    f->config.delete_retention_ms = DAY_MS;
    f->config.max_compaction_lag_ms = INT64_MAX;
    f->config.min_cleanable_ratio = 0.5;
    f->config.index_interval_bytes = 0;
    fixture_open(f, true, 0);
}

/* Nothing is left behind that a reader of the directory would take for more
 * than it is. */
static void no_leftovers(struct fixture *f)
{
    char **names;
    size_t names_len;

    cr_assert_eq(env_list_dir(f->env, LOG_PATH, &names, &names_len), 0);
    for (size_t i = 0; i < names_len; i++) {
        cr_assert_null(strstr(names[i], ".cleaned"), "%s", names[i]);
        cr_assert_null(strstr(names[i], ".swap"), "%s", names[i]);
        free(names[i]);
    }
    free(names);
}

/* ---- keys -----------------------------------------------------------------*/

Test(log_clean, keeps_the_last_record_of_each_key)
{
    struct fixture f;

    open_compacted(&f);
    put1(&f, "a", "1");
    put1(&f, "b", "1");
    put1(&f, "a", "2");
    put1(&f, "c", "1");
    roll(&f);
    put1(&f, "c", "2"); /* the active segment is not looked at */
    cr_assert_eq(clean(&f, (struct round){0}), 4);
    IS(&f, "[0-0] [1-1 1:b=1] [2-2 2:a=2] [3-3 3:c=1] [4-4 4:c=2]");
    cr_assert_eq(log_end_offset(f.log), 5);
    no_leftovers(&f);
    fixture_end(&f);
}

Test(log_clean, rewrites_batches_in_place)
{
    struct fixture f;

    open_compacted(&f);
    put_kv(&f, (struct put){{{"a", "1"}, {"b", "1"}, {"a", "2"}}});
    put_kv(&f, (struct put){{{"c", "1"}, {"b", "2"}, {"d", "1"}}});
    put1(&f, "d", "2");
    roll(&f);
    clean(&f, (struct round){0});
    IS(&f, "[0-2 2:a=2] [3-5 3:c=1 4:b=2] [6-6 6:d=2]");
    struct batch b = batch_at(&f, 0);
    cr_assert_eq(b.records_count, 1);
    cr_assert_eq(b.max_timestamp, 1002);
    fixture_end(&f);
}

Test(log_clean, keeps_each_codec)
{
    static const enum compression codecs[] = {
        COMPRESSION_GZIP, COMPRESSION_SNAPPY, COMPRESSION_LZ4,
        COMPRESSION_ZSTD};

    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        struct fixture f;

        open_compacted(&f);
        put_kv(&f, (struct put){.records = {{"a", "1"}, {"b", "1"}},
                                .compression = codecs[i]});
        put_kv(&f, (struct put){.records = {{"a", "2"}, {"c", "1"}},
                                .compression = codecs[i]});
        put_kv(&f, (struct put){.records = {{"c", "2"}, {"a", "3"}},
                                .compression = codecs[i]});
        roll(&f);
        clean(&f, (struct round){0});
        IS(&f, "[0-1 1:b=1] [4-5 4:c=2 5:a=3]");
        cr_assert_eq(batch_compression(&(struct batch[]){batch_at(&f, 0)}[0]),
                     codecs[i]);
        fixture_end(&f);
    }
}

Test(log_clean, records_without_a_key_go)
{
    struct fixture f;

    open_compacted(&f);
    put1(&f, NULL, "1");
    put1(&f, NULL, "2");
    put1(&f, "a", "1");
    roll(&f);
    clean(&f, (struct round){0});
    IS(&f, "[0-0] [2-2 2:a=1]");
    fixture_end(&f);
}

Test(log_clean, what_was_cleaned_is_read_for_newer_keys_only)
{
    struct fixture f;

    open_compacted(&f);
    put1(&f, "a", "1");
    put1(&f, "b", "1");
    roll(&f);
    cr_assert_eq(clean(&f, (struct round){0}), 2);
    put1(&f, "a", "2");
    roll(&f);
    cr_assert_eq(clean(&f, (struct round){.from = 2}), 3);
    IS(&f, "[0-0] [1-1 1:b=1] [2-2 2:a=2]");
    fixture_end(&f);
}

Test(log_clean, a_full_map_ends_the_round_and_the_next_goes_on)
{
    struct fixture f;
    int64_t from = 0;
    int rounds = 0;

    open_compacted(&f);
    for (int i = 0; i < 12; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i % 6);
        put1(&f, key, i < 6 ? "1" : "2");
    }
    roll(&f);
    for (; from < 12; rounds++) {
        int64_t next =
            clean(&f, (struct round){.from = from, .map_bytes = 24 * 4});
        cr_assert_gt(next, from);
        from = next;
    }
    cr_assert_eq(rounds, 4); /* four slots at 0.9 are three keys */
    IS(&f, "[0-0] [6-6 6:k0=2] [7-7 7:k1=2] [8-8 8:k2=2] [9-9 9:k3=2] "
           "[10-10 10:k4=2] [11-11 11:k5=2]");
    fixture_end(&f);
}

Test(log_clean, a_batch_that_no_map_holds_is_no_loop)
{
    struct log_clean_result result;
    struct fixture f;
    const char *why;

    open_compacted(&f);
    put_kv(&f, (struct put){{{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}}});
    roll(&f);
    struct log_clean *c = begin(&f, (struct round){.map_bytes = 24 * 3});
    cr_assert_eq(run_steps(c), LOG_CLEAN_FAILED);
    cr_assert_eq(log_clean_error(c, &why), ERR_TOO_LARGE);
    log_clean_end(c, &result);
    IS(&f, "[0-3 0:a=1 1:b=1 2:c=1 3:d=1]");
    fixture_end(&f);
}

/* ---- tombstones -----------------------------------------------------------*/

Test(log_clean, tombstones_stay_until_their_horizon)
{
    struct fixture f;

    open_compacted(&f);
    put1(&f, "a", "1");
    put1(&f, "a", NULL);
    put1(&f, "b", "1");
    roll(&f);
    clean(&f, (struct round){.now_ms = 5000});
    IS(&f, "[0-0] [1-1 1:a=null] [2-2 2:b=1]");
    struct batch b = batch_at(&f, 1);
    cr_assert(b.attributes & BATCH_DELETE_HORIZON);
    cr_assert_eq(b.base_timestamp, 5000 + DAY_MS);
    cr_assert_eq(b.max_timestamp, 1000, "the record's time is as it was");

    /* A millisecond before, and then. */
    put1(&f, "c", "1");
    roll(&f);
    clean(&f, (struct round){.from = 3, .now_ms = 5000 + DAY_MS - 1});
    cr_assert_eq(batch_at(&f, 1).base_timestamp, 5000 + DAY_MS);
    IS(&f, "[0-0] [1-1 1:a=null] [2-2 2:b=1] [3-3 3:c=1]");
    put1(&f, "c", "2");
    roll(&f);
    clean(&f, (struct round){.from = 4, .now_ms = 5000 + DAY_MS});
    IS(&f, "[0-0] [2-2 2:b=1] [4-4 4:c=2]");
    fixture_end(&f);
}

/* The map ended before it: values that it deletes may still be there. */
Test(log_clean, a_horizon_begins_when_a_tombstone_is_clean)
{
    struct fixture f;

    open_compacted(&f);
    put1(&f, "a", "1");
    put1(&f, "b", "1");
    put1(&f, "c", "1");
    put1(&f, "a", NULL);
    put1(&f, "d", "1");
    roll(&f);
    cr_assert_eq(clean(&f, (struct round){.map_bytes = 24 * 4}), 4,
                 "a has its place in the map already");
    cr_assert(batch_at(&f, 3).attributes & BATCH_DELETE_HORIZON);
    fixture_end(&f);

    open_compacted(&f);
    put1(&f, "a", "1");
    put1(&f, "b", "1");
    put1(&f, "b", NULL);
    put1(&f, "c", "1");
    put1(&f, "d", NULL);
    roll(&f);
    cr_assert_eq(clean(&f, (struct round){.map_bytes = 24 * 4}), 4);
    cr_assert(batch_at(&f, 2).attributes & BATCH_DELETE_HORIZON);
    cr_assert_not(batch_at(&f, 4).attributes & BATCH_DELETE_HORIZON);
    fixture_end(&f);
}

static bool add_times(void *arg, const struct batch *b, struct slice bytes)
{
    struct seen *s = arg;
    struct buf scratch = BUF_INIT;
    struct record_reader r;
    struct record record;

    record_open(&r, s->f->codec, bytes, b, 1 << 20, &scratch);
    while (record_next(&r, &record))
        buf_printf(&s->text, "%lld@%lld ", (long long)record.offset,
                   (long long)record.timestamp);
    buf_free(&scratch);
    return true;
}

/* The base timestamp, from which they are counted, becomes another one. */
Test(log_clean, records_keep_their_times)
{
    struct fixture f;
    struct seen s = {&f, BUF_INIT, true};

    open_compacted(&f);
    put_kv(&f, (struct put){.records = {{"a", "1"}, {"b", NULL}, {"c", "1"}},
                            .timestamp = 700,
                            .compression = COMPRESSION_ZSTD});
    put_kv(&f,
           (struct put){.records = {{"a", "2"}, {"d", NULL}}, .timestamp = -1});
    put_kv(&f, (struct put){.records = {{"a", "3"}, {"e", NULL}, {"f", "1"}},
                            .timestamp = 800,
                            .attributes = BATCH_LOG_APPEND_TIME});
    roll(&f);
    clean(&f, (struct round){.now_ms = 5000});
    log_visit(f.log, 0, 8, add_times, &s);
    buf_put_u8(&s.text, 0);
    /* LogAppendTime's is the batch's. */
    cr_assert_str_eq((char *)s.text.data, "1@701 2@702 4@0 5@-1 6@-1 7@-1 ");
    for (int64_t at = 0; at < 8; at += 3)
        cr_assert(batch_at(&f, at).attributes & BATCH_DELETE_HORIZON);
    cr_assert_eq(batch_at(&f, 0).max_timestamp, 702);
    buf_free(&s.text);
    fixture_end(&f);
}

/* ---- what never changes ---------------------------------------------------*/

Test(log_clean, the_last_batch_of_a_producer_keeps_its_sequence)
{
    struct fixture f;
    struct clean_producer lasts[] = {{.id = 7, .last_offset = 1}};

    open_compacted(&f);
    put_kv(&f,
           (struct put){.records = {{"a", "1"}}, .producer = 7, .sequence = 4});
    put_kv(&f,
           (struct put){.records = {{"a", "2"}}, .producer = 7, .sequence = 5});
    put_kv(&f,
           (struct put){.records = {{"a", "3"}}, .producer = 8, .sequence = 0});
    put1(&f, "a", "4");
    roll(&f);
    clean(&f, (struct round){.producers = lasts, .producers_len = 1});
    IS(&f, "[0-0] [1-1] [3-3 3:a=4]");
    struct batch b = batch_at(&f, 1);
    cr_assert_eq(b.producer_id, 7);
    cr_assert_eq(b.base_sequence, 5);
    cr_assert_eq(b.records_count, 0);
    cr_assert_eq(b.max_timestamp, 1000);
    fixture_end(&f);
}

Test(log_clean, a_segment_ends_where_it_ended)
{
    struct fixture f;

    open_compacted(&f);
    f.config.segment_bytes = 1;
    log_set_config(f.log, &f.config); /* nothing is put together */
    put1(&f, "a", "1");
    put1(&f, "b", "1");
    put1(&f, "a", "2");
    put1(&f, "b", "2");
    put1(&f, "c", "1");
    roll(&f);
    cr_assert_eq(log_segment_count(f.log), 6);
    clean(&f, (struct round){0});
    IS(&f, "[0-0] [1-1] [2-2 2:a=2] [3-3 3:b=2] [4-4 4:c=1]");
    cr_assert_eq(log_segment_count(f.log), 6);
    /* Also for a log that is not compacted any more. */
    f.config.compact_policy = false;
    fixture_crash(&f, ENV_MEM_POWER);
    fixture_open(&f, false, 0);
    cr_assert_lt(f.report.damaged_at, 0);
    IS(&f, "[0-0] [1-1] [2-2 2:a=2] [3-3 3:b=2] [4-4 4:c=1]");
    fixture_end(&f);
}

Test(log_clean, small_neighbours_become_one)
{
    struct fixture f;

    open_compacted(&f);
    for (int i = 0; i < 4; i++) {
        put1(&f, "a", "1");
        put1(&f, "b", "1");
        roll(&f);
    }
    int64_t before = log_size_bytes(f.log);
    clean(&f, (struct round){0});
    IS(&f, "[0-0] [6-6 6:a=1] [7-7 7:b=1]");
    cr_assert_eq(log_segment_count(f.log), 2);
    cr_assert_lt(log_size_bytes(f.log), before);
    cr_assert_eq(log_size_bytes(f.log), (int64_t)file(&f, 0, ".log")->len);
    cr_assert_null(file(&f, 2, ".log"));
    cr_assert_not_null(file(&f, 2, ".log.deleted"));
    for (int64_t at = 0; at < 6; at++) /* a gap is read over */
        cr_assert_eq(read_at(&f, at, 8, 1000).err, ERR_NONE);
    cr_assert_eq(read_at(&f, 1, 8, 70).first, 6);
    fixture_end(&f);
}

/* A list of epochs that was lost is made again from the batches. */
Test(log_clean, leader_epochs_stay_where_they_began)
{
    struct fixture f;
    int32_t found;
    int64_t end;

    open_compacted(&f);
    put_kv(&f, (struct put){.records = {{"a", "1"}}, .epoch = 1});
    put_kv(&f, (struct put){.records = {{"a", "2"}}, .epoch = 1});
    put_kv(&f, (struct put){.records = {{"a", "3"}}, .epoch = 2});
    put_kv(&f, (struct put){.records = {{"a", "4"}}, .epoch = 2});
    put_kv(&f, (struct put){.records = {{"b", "1"}}, .epoch = 2});
    roll(&f);
    clean(&f, (struct round){0});
    IS(&f, "[0-0] [2-2] [3-3 3:a=4] [4-4 4:b=1]");
    fixture_close(&f);
    cr_assert_eq(env_unlink(f.env, LOG_PATH "/leader-epoch-checkpoint"), 0);
    fixture_open(&f, false, 0);
    log_end_offset_for_epoch(f.log, 1, &found, &end);
    cr_assert_eq(end, 2);
    fixture_end(&f);
}

/* ---- transactions ---------------------------------------------------------*/

static void put_txn(struct fixture *f, int64_t producer, const char *key,
                    const char *value)
{
    put_kv(f, (struct put){.records = {{key, value}},
                           .producer = producer,
                           .attributes = BATCH_TRANSACTIONAL});
}

/* What a reader from the start is told of aborted transactions. */
static size_t entries(struct fixture *f)
{
    struct buf list = BUF_INIT;

    cr_assert_eq(aborted_below(f->log, 0, log_end_offset(f->log), &list), 0);
    size_t n = list.len / sizeof(struct log_aborted);
    buf_free(&list);
    return n;
}

static bool has_horizon(struct fixture *f, int64_t offset)
{
    return (batch_at(f, offset).attributes & BATCH_DELETE_HORIZON) != 0;
}

Test(log_clean, what_was_committed_counts_and_what_was_aborted_goes)
{
    struct fixture f;

    open_compacted(&f);
    put1(&f, "z", "1");
    put1(&f, "a", "1");
    put1(&f, "b", "1");
    put_txn(&f, 7, "a", "2"); /* committed */
    put_txn(&f, 8, "b", "2"); /* aborted */
    put_txn(&f, 8, "c", "2");
    put_marker(&f, 0, 7, true);
    int64_t aborted = put_marker(&f, 0, 8, false);
    log_note_aborted(f.log, &(struct log_aborted){8, 4, aborted, aborted + 1});
    put_txn(&f, 8, "d", "1"); /* committed */
    put_marker(&f, 0, 8, true);
    put1(&f, "e", "1");
    roll(&f);
    clean(&f, (struct round){0});
    IS(&f, "[0-0 0:z=1] [2-2 2:b=1] [3-3 3:a=2] [6-6 6:commit] [7-7 7:abort] "
           "[8-8 8:d=1] [9-9 9:commit] [10-10 10:e=1]");
    cr_assert_eq(entries(&f), 1);
    fixture_end(&f);
}

/* Its transaction's last batch goes in the first round; in the second none is
 * found, and the horizon is set; when it has passed the marker goes. */
Test(log_clean, a_marker_outlives_its_records)
{
    struct fixture f;
    int64_t from;

    open_compacted(&f);
    put1(&f, "z", "1");
    put_txn(&f, 7, "a", "1");
    put_txn(&f, 8, "a", "2");
    put_marker(&f, 0, 7, true);
    int64_t aborted = put_marker(&f, 0, 8, false);
    log_note_aborted(f.log, &(struct log_aborted){8, 2, aborted, aborted + 1});
    put1(&f, "a", "3");
    roll(&f);
    from = clean(&f, (struct round){.now_ms = 2000});
    IS(&f, "[0-0 0:z=1] [3-3 3:commit] [4-4 4:abort] [5-5 5:a=3]");
    cr_assert(!has_horizon(&f, 3) && !has_horizon(&f, 4));
    cr_assert_eq(entries(&f), 1);

    put1(&f, "b", "1");
    roll(&f);
    from = clean(&f, (struct round){.now_ms = 3000, .from = from});
    cr_assert(has_horizon(&f, 3) && has_horizon(&f, 4));
    cr_assert_eq(entries(&f), 0);
    int64_t point = log_recovery_point(f.log);
    fixture_close(&f);
    fixture_open(&f, true, point);
    cr_assert_eq(entries(&f), 0);

    put1(&f, "c", "1");
    roll(&f);
    from = clean(&f, (struct round){.now_ms = 3000 + DAY_MS - 1, .from = from});
    cr_assert(has_horizon(&f, 3) && has_horizon(&f, 4));
    put1(&f, "d", "1");
    roll(&f);
    clean(&f, (struct round){.now_ms = 3000 + DAY_MS, .from = from});
    IS(&f, "[0-0 0:z=1] [5-5 5:a=3] [6-6 6:b=1] [7-7 7:c=1] [8-8 8:d=1]");
    fixture_end(&f);
}

/* The horizon is that of the first round without records, not of the marker. */
Test(log_clean, a_marker_stays_while_a_record_does)
{
    struct fixture f;
    int64_t from = 0;

    open_compacted(&f);
    put1(&f, "z", "1");
    put_txn(&f, 7, "a", "1");
    put_marker(&f, 0, 7, true);
    for (int i = 0; i < 3; i++) {
        put1(&f, "x", "1");
        roll(&f);
        from =
            clean(&f, (struct round){.now_ms = 2000 + 3 * i * (int64_t)DAY_MS,
                                     .from = from});
        cr_assert_not(has_horizon(&f, 2));
    }
    fixture_end(&f);
}

Test(log_clean, the_last_marker_of_a_producer_keeps_its_epoch)
{
    struct fixture f;
    struct clean_producer last[] = {{.id = 7, .epoch = 0, .last_offset = -1}};

    open_compacted(&f);
    put1(&f, "z", "1");
    put_marker(&f, 0, 7, true);
    put_marker(&f, 0, 8, true);
    for (int i = 0; i < 2; i++) {
        put1(&f, "x", "1");
        roll(&f);
        clean(&f, (struct round){.now_ms = 2000 + 3 * i * (int64_t)DAY_MS,
                                 .producers = last,
                                 .producers_len = 1});
    }
    IS(&f, "[0-0 0:z=1] [1-1 1:commit] [4-4 4:x=1]");
    fixture_end(&f);
}

/* The index of a damaged log would let what was aborted come back. */
Test(log_clean, a_damaged_index_of_aborted_transactions_ends_it)
{
    struct fixture f;
    char path[PATH_MAX];
    struct env_file *file;
    uint8_t bytes[ABORTED_BYTES] = {0xff};
    struct slice zeros = slice_of(bytes, sizeof bytes);

    open_compacted(&f);
    put_txn(&f, 8, "a", "2");
    int64_t aborted = put_marker(&f, 0, 8, false);
    log_note_aborted(f.log, &(struct log_aborted){8, 0, aborted, aborted + 1});
    put1(&f, "b", "1");
    roll(&f);
    cr_assert_eq(env_file_open(f.env,
                               log_file_path(f.log, 0, ".txnindex", path), 0,
                               &file),
                 0);
    cr_assert_eq(env_file_write(file, &zeros, 1, 0), 0);
    env_file_unref(file);
    cr_assert_eq(clean(&f, (struct round){.may_fail = true}), -1);
    fixture_end(&f);
}

/* ---- what may be cleaned --------------------------------------------------*/

static int64_t cleanable_to(struct fixture *f, int64_t high_watermark,
                            int64_t now_ms)
{
    struct log_dirt dirt;

    log_dirt(f->log, 0, high_watermark, now_ms, &dirt);
    return dirt.to;
}

Test(log_clean, only_what_is_committed_synced_and_old_enough)
{
    struct fixture f;

    open_compacted(&f);
    for (int i = 0; i < 3; i++) {
        put_kv(&f, (struct put){.records = {{"a", "1"}},
                                .timestamp = 1000 * (i + 1)});
        roll(&f);
    }
    cr_assert_eq(cleanable_to(&f, 3, 9000), 3);
    cr_assert_eq(cleanable_to(&f, 2, 9000), 2, "below the high watermark");
    f.config.min_compaction_lag_ms = 7000;
    log_set_config(f.log, &f.config);
    cr_assert_eq(cleanable_to(&f, 3, 9000), 2, "older than the lag");
    cr_assert_eq(cleanable_to(&f, 3, 8999), 1);
    f.config.min_compaction_lag_ms = 0;
    log_set_config(f.log, &f.config);
    put1(&f, "b", "1");
    cr_assert_eq(log_roll(f.log, 4, 0), ERR_NONE);
    cr_assert_eq(cleanable_to(&f, 4, 9000), 3, "it is not on disk yet");
    env_mem_run(f.env);
    cr_assert_eq(cleanable_to(&f, 4, 9000), 4);
    fixture_end(&f);
}

Test(log_clean, is_due_by_ratio_or_by_age)
{
    struct log_dirt dirt;
    struct fixture f;

    open_compacted(&f);
    for (int i = 0; i < 4; i++) {
        put1(&f, "a", "1");
        roll(&f);
    }
    log_dirt(f.log, 2, 4, 9000, &dirt);
    cr_assert_eq(dirt.clean_bytes, dirt.dirty_bytes);
    cr_assert_not(log_dirt_is_due(f.log, &dirt, 9000), "half is not more");
    log_dirt(f.log, 1, 4, 9000, &dirt);
    cr_assert(log_dirt_is_due(f.log, &dirt, 9000));
    f.config.max_compaction_lag_ms = 8000;
    log_set_config(f.log, &f.config);
    log_dirt(f.log, 3, 4, 9000, &dirt);
    cr_assert_not(log_dirt_is_due(f.log, &dirt, 9000));
    cr_assert(log_dirt_is_due(f.log, &dirt, 9001));
    fixture_end(&f);
}

/* ---- what happens meanwhile -----------------------------------------------*/

enum meanwhile { TRUNCATED, CUT, STARTED_LATER, CLOSED, DELETED, TOLD };

static void happen(struct fixture *f, struct log_clean *c, enum meanwhile what)
{
    switch (what) {
    case TRUNCATED:
        cr_assert_eq(log_truncate(f->log, 1), ERR_NONE);
        break;
    case CUT: /* no segment goes but the one that is appended to */
        cr_assert_eq(log_truncate(f->log, 5), ERR_NONE);
        break;
    case STARTED_LATER:
        cr_assert_eq(log_raise_start(f->log, 3), ERR_NONE);
        break;
    case CLOSED:
        log_close(f->log);
        f->log = NULL;
        break;
    case DELETED:
        log_delete(f->log);
        f->log = NULL;
        break;
    case TOLD:
        log_clean_abort(c);
        break;
    }
}

static void put_three_segments(struct fixture *f)
{
    f->config.segment_bytes = 200;
    log_set_config(f->log, &f->config);
    for (int i = 0; i < 3; i++) {
        put1(f, "a", "1");
        put1(f, "b", "1");
        roll(f);
    }
    put1(f, "c", "1");
    cr_assert_eq(log_flush_now(f->log), ERR_NONE);
}

/* The file is shorter before the truncation is over, or fails: whoever reads it
 * then is not to take that for damage. */
Test(log_clean, is_told_before_a_segment_is_cut)
{
    struct log_clean_result result;
    struct fixture f;

    open_compacted(&f);
    put_three_segments(&f);
    struct log_clean *c = begin(&f, (struct round){.io_bytes = 1});
    env_mem_faults(f.env)->sync_at = 1;
    cr_assert_eq(log_truncate(f.log, 5), ERR_IO);
    cr_assert(log_failed(f.log));
    cr_assert_eq(run_steps(c), LOG_CLEAN_ABORTED);
    log_clean_end(c, &result);
    fixture_end(&f);
}

/* After each number of steps; nothing is left and nothing is harmed. */
Test(log_clean, gives_up_when_the_log_changes)
{
    for (int what = TRUNCATED; what <= TOLD; what++)
        for (int steps = 0;; steps++) {
            enum log_clean_next next = LOG_CLEAN_STEP;
            struct log_clean_result result;
            struct fixture f;

            open_compacted(&f);
            put_three_segments(&f);
            struct log_clean *c = begin(&f, (struct round){.io_bytes = 1});
            for (int i = 0; i < steps && next < LOG_CLEAN_DONE; i++) {
                if (next == LOG_CLEAN_SWAP)
                    log_clean_swap(c);
                next = log_clean_step(c);
            }
            bool over = next >= LOG_CLEAN_DONE;
            happen(&f, c, over ? TOLD : (enum meanwhile)what);
            if (!over) {
                if (next == LOG_CLEAN_SWAP)
                    log_clean_swap(c);
                cr_assert_eq(run_steps(c), LOG_CLEAN_ABORTED);
            }
            log_clean_end(c, &result);
            env_mem_run(f.env);
            if (f.log == NULL && what == CLOSED)
                fixture_open(&f, true, 0);
            if (f.log != NULL) {
                no_leftovers(&f);
                cr_assert_gt(count_batches(&f), 0);
            }
            fixture_end(&f);
            if (over)
                break;
        }
}

Test(log_clean, old_readers_get_past_what_was_emptied)
{
    struct log_range range;
    struct fixture f;

    open_compacted(&f);
    put_three_segments(&f); /* the first is emptied whole */
    clean(&f, (struct round){0});
    cr_assert_eq(log_read(f.log, 0, 7, 100, true, &range), ERR_NONE);
    cr_assert_eq(range.base_offset, 0);
    env_file_unref(range.file);
    cr_assert_eq(log_read_records(f.log, 0, 7, 100, true, &range), ERR_NONE);
    cr_assert_eq(range.base_offset, 4);
    cr_assert_eq(range.position, 0);
    env_file_unref(range.file);
    /* Also where they do not end a range. */
    cr_assert_eq(log_read_records(f.log, 2, 7, 1000, true, &range), ERR_NONE);
    cr_assert_eq(range.base_offset, 4);
    cr_assert_eq(range.len, file(&f, 4, ".log")->len);
    env_file_unref(range.file);
    cr_assert_eq(log_read_records(f.log, 0, 4, 1000, true, &range), ERR_NONE);
    cr_assert_eq(range.len, 0);
    cr_assert_null(range.file);
    fixture_end(&f);
}

Test(log_clean, readers_keep_what_they_have)
{
    struct log_range range;
    struct fixture f;
    uint8_t bytes[64];

    open_compacted(&f);
    put1(&f, "a", "1");
    put1(&f, "a", "2");
    roll(&f);
    cr_assert_eq(log_read(f.log, 0, 2, 1000, true, &range), ERR_NONE);
    clean(&f, (struct round){0});
    env_mem_advance(f.env, 100000);
    cr_assert_eq(env_file_read(range.file, bytes, 64, range.position), 64);
    env_file_unref(range.file);
    fixture_end(&f);
}

/* Or a start after a crash would take it for changed by somebody else. */
Test(log_clean, a_cleaned_file_is_as_old_as_its_sources)
{
    struct env_file *cleaned;
    struct fixture f;

    open_compacted(&f);
    put1(&f, "a", "1");
    roll(&f);
    env_mem_advance(f.env, 5000);
    put1(&f, "a", "2");
    roll(&f);
    int64_t written_ms = env_wall_ms(f.env);
    env_mem_advance(f.env, 5000);
    clean(&f, (struct round){0});
    cr_assert_eq(env_file_open(f.env, file_name(0, ".log"), ENV_READ, &cleaned),
                 0);
    cr_assert_eq(env_file_changed_ms(cleaned), written_ms);
    env_file_unref(cleaned);
    fixture_end(&f);
}

Test(log_clean, damage_ends_it_and_changes_nothing)
{
    struct log_clean_result result;
    struct fixture f;
    const char *why;

    open_compacted(&f);
    put1(&f, "a", "1");
    put1(&f, "a", "2");
    roll(&f);
    file(&f, 0, ".log")->data[65] ^= 1;
    struct log_clean *c = begin(&f, (struct round){0});
    cr_assert_eq(run_steps(c), LOG_CLEAN_FAILED);
    cr_assert_eq(log_clean_error(c, &why), ERR_DAMAGED);
    log_clean_end(c, &result);
    no_leftovers(&f);
    cr_assert_eq(log_segment_count(f.log), 2);
    fixture_end(&f);
}

/* Appends two records of keys a and b, whose offset deltas are these. */
static void put_deltas(struct fixture *f, int8_t first, int8_t second,
                       enum compression compression)
{
    enum { LENGTH_AT, DELTA_AT = 3 }; /* of a record with short fields */
    struct log_append_info info;
    struct buf bytes = BUF_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    batch_builder_append(&b, 1000, SLICE("a"), SLICE("1"), NULL, 0);
    batch_builder_append(&b, 1000, SLICE("b"), SLICE("1"), NULL, 0);
    uint8_t *r = b.records.data;
    r[DELTA_AT] = (uint8_t)(first * 2 ^ -(first < 0));
    r += 1 + r[LENGTH_AT] / 2;
    r[DELTA_AT] = (uint8_t)(second * 2 ^ -(second < 0));
    struct batch header = {
        .base_offset = log_end_offset(f->log),
        .last_offset_delta = 1,
        .base_timestamp = 1000,
        .max_timestamp = 1000,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .records_count = 2,
    };
    batch_pack(f->codec, &header, buf_slice(&b.records), compression,
               CODEC_LEVEL_DEFAULT, &bytes);
    batch_builder_free(&b);
    cr_assert_eq(
        log_append(f->log, buf_slice(&bytes), env_wall_ms(f->env), &info),
        ERR_NONE);
    buf_free(&bytes);
}

static void cannot_be_cleaned(struct fixture *f, int64_t from)
{
    struct log_clean_result result;
    const char *why;
    struct log_clean *c = begin(f, (struct round){.from = from});

    cr_assert_eq(run_steps(c), LOG_CLEAN_FAILED);
    cr_assert_eq(log_clean_error(c, &why), ERR_DAMAGED);
    log_clean_end(c, &result);
    no_leftovers(f);
    cr_assert_not(log_failed(f->log));
}

/* Where the policy is not to compact nobody looks into a compressed batch that
 * is produced; the policy may change later. */
Test(log_clean, records_whose_offsets_do_not_rise_end_it)
{
    static const int8_t deltas[][2] = {{0, 0}, {1, 0}, {-1, 0}, {0, 2}};

    for (size_t i = 0; i < sizeof deltas / sizeof deltas[0]; i++) {
        struct fixture f;

        open_compacted(&f);
        put_deltas(&f, deltas[i][0], deltas[i][1], COMPRESSION_LZ4);
        put1(&f, "b", "2");
        roll(&f);
        put1(&f, "a", "2");
        roll(&f);
        cannot_be_cleaned(&f, 0);
        /* Also where they are only to be copied. */
        cannot_be_cleaned(&f, 3);
        cr_assert_eq(log_segment_count(f.log), 3);
        fixture_end(&f);
    }
}

/* What a flipped bit there says is not covered by the batch's CRC. */
Test(log_clean, batches_whose_offsets_do_not_belong_there_end_it)
{
    static const int64_t offsets[] = {0, 2, 3, 1LL << 40};

    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        for (int64_t from = 0; from <= 3; from += 3) {
            struct fixture f;
            struct batch b;

            open_compacted(&f);
            put1(&f, "a", "1");
            put1(&f, "a", "2");
            put1(&f, "a", "3");
            roll(&f);
            put1(&f, "a", "4");
            roll(&f);
            struct buf *bytes = file(&f, 0, ".log");
            cr_assert_eq(batch_parse(buf_slice(bytes), &b), ERR_NONE);
            be64_put(bytes->data + b.size_bytes, (uint64_t)offsets[i]);
            cannot_be_cleaned(&f, from);
            fixture_end(&f);
        }
}

/* Or the segments that were merged into one would stay inside of it. */
Test(log_clean, merged_segments_go_without_room_for_their_names)
{
    for (int stays = 0; stays < 2; stays++) {
        struct fixture f;

        open_compacted(&f);
        put_three_segments(&f);
        f.config.segment_bytes = 1 << 20;
        log_set_config(f.log, &f.config);
        int64_t second = f.log->segments[1].base_offset;
        *env_mem_faults(f.env) = (struct disk_faults){
            .rename_to = ".deleted",
            .unlink_of = stays ? strrchr(file_name(second, ".log"), '/') : NULL,
            .error = -ENOSPC,
        };
        clean(&f, (struct round){.may_fail = stays != 0});
        cr_assert_eq(log_failed(f.log), stays != 0);
        *env_mem_faults(f.env) = (struct disk_faults){0};
        fixture_close(&f);
        fixture_open(&f, true, 0);
        cr_assert_eq(log_segment_count(f.log), 2);
        cr_assert_null(file(&f, second, ".log"));
        cr_assert_str_eq(records_text(&f), "4:a=1 5:b=1 6:c=1");
        fixture_end(&f);
    }
}

Test(log_clean, a_full_disk_is_survived)
{
    for (int n = 1;; n++) {
        struct fixture f;

        open_compacted(&f);
        put_three_segments(&f);
        env_mem_faults(f.env)->error = -ENOSPC;
        env_mem_faults(f.env)->write_at = n;
        int64_t done =
            clean(&f, (struct round){.io_bytes = 1, .may_fail = true});
        *env_mem_faults(f.env) = (struct disk_faults){0};
        no_leftovers(&f);
        cr_assert_not(log_failed(f.log));
        cr_assert_eq(clean(&f, (struct round){0}), 6);
        cr_assert_str_eq(records_text(&f), "4:a=1 5:b=1 6:c=1");
        fixture_end(&f);
        if (done == 6)
            break;
        cr_assert_lt(n, 100);
    }
}

/* ---- crashes --------------------------------------------------------------*/

static const char before_clean[] = "0:a=1 1:b=1 2:a=1 3:b=1 4:a=1 5:b=1 6:c=1";

/* Each segment on its own is either as it was or cleaned; which records are the
 * last ones of their keys is the same everywhere. */
static void check_after_crash(struct fixture *f, int n)
{
    const char *now = records_text(f);

    cr_assert_not_null(strstr(now, "4:a=1 5:b=1 6:c=1"), "at %d: %s", n, now);
    cr_assert_leq(strlen(now), strlen(before_clean));
    cr_assert_eq(log_end_offset(f->log), 7, "at %d", n);
    cr_assert_lt(f->report.damaged_at, 0, "at %d: %s", n, now);
    no_leftovers(f);
    for (int64_t at = 0; at < 7; at++)
        cr_assert_eq(read_at(f, at, 7, 1000).err, ERR_NONE, "at %d", n);
}

/* As far as it gets before the disk takes nothing more. */
static bool clean_until_frozen(struct fixture *f, struct round r)
{
    struct log_clean_result result;
    struct log_clean *c = begin(f, r);

    bool done = run_steps(c) == LOG_CLEAN_DONE;
    log_clean_end(c, &result);
    return done;
}

static bool crash_at(int n, enum env_mem_crash kind, int64_t segment_bytes)
{
    struct fixture f;

    open_compacted(&f);
    put_three_segments(&f);
    f.config.segment_bytes = segment_bytes;
    log_set_config(f.log, &f.config);
    int64_t point = log_recovery_point(f.log);
    env_mem_faults(f.env)->freeze_at = n;
    bool done = clean_until_frozen(&f, (struct round){.io_bytes = 100});
    fixture_crash(&f, kind);
    fixture_open(&f, false, point);
    check_after_crash(&f, n);
    /* Once more, from the start: it ends as if nothing had happened. */
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(clean(&f, (struct round){0}), 6);
    cr_assert_str_eq(records_text(&f), "4:a=1 5:b=1 6:c=1");
    fixture_end(&f);
    return done;
}

Test(log_clean, a_crash_at_any_point_harms_nothing, .timeout = 120)
{
    static const enum env_mem_crash crashes[] = {ENV_MEM_KILL, ENV_MEM_POWER,
                                                 ENV_MEM_WORST};

    for (int kind = 0; kind < 3; kind++)
        for (int one = 0; one < 2; one++) {
            int n = 1;
            while (!crash_at(n, crashes[kind], one ? 1 << 20 : 200))
                n++;
            cr_assert_gt(n, 20);
        }
}

/* The opening is interrupted as well. */
Test(log_clean, a_crash_while_a_swap_is_finished_harms_nothing, .timeout = 120)
{
    int swaps = 0;

    for (int n = 1; n < 200; n++)
        for (int m = 1; m < 12; m++) {
            struct fixture f;

            open_compacted(&f);
            put_three_segments(&f);
            f.config.segment_bytes = 1 << 20;
            log_set_config(f.log, &f.config);
            int64_t point = log_recovery_point(f.log);
            env_mem_faults(f.env)->freeze_at = n;
            bool done = clean_until_frozen(&f, (struct round){.io_bytes = 999});
            fixture_crash(&f, ENV_MEM_KILL);
            if (done) {
                fixture_open(&f, false, point);
                fixture_end(&f);
                cr_assert_gt(swaps, 5);
                return;
            }
            if (file(&f, 0, ".log.swap") == NULL) {
                fixture_open(&f, false, point);
                fixture_end(&f);
                break;
            }
            swaps++;
            env_mem_faults(f.env)->freeze_at = m;
            if (fixture_try_open(&f, false, point, 0) == ERR_NONE)
                log_close(f.log);
            f.log = NULL;
            free(f.report.message);
            env_mem_freeze(f.env);
            env_mem_run(f.env);
            env_mem_crash(f.env, ENV_MEM_POWER);
            fixture_open(&f, false, point);
            check_after_crash(&f, n * 100 + m);
            cr_assert_str_eq(records_text(&f), "4:a=1 5:b=1 6:c=1");
            fixture_end(&f);
        }
    cr_assert_fail("it never ends");
}

/* Whoever writes down that it is clean can rely on it. */
Test(log_clean, a_finished_round_survives_a_power_loss)
{
    struct fixture f;

    open_compacted(&f);
    put_three_segments(&f);
    cr_assert_eq(clean(&f, (struct round){0}), 6);
    const char *cleaned = log_text(&f);
    fixture_crash(&f, ENV_MEM_WORST);
    fixture_open(&f, false, 6);
    cr_assert_str_eq(log_text(&f), cleaned);
    fixture_end(&f);
}

/* Each entry names a batch of the file. */
static void check_index(struct fixture *f)
{
    struct buf *index = file(f, 0, ".index"), *log = file(f, 0, ".log");
    struct batch b;

    for (size_t i = 0; index != NULL && i + 8 <= index->len; i += 8) {
        uint32_t position = be32_get(index->data + i + 4);
        cr_assert_lt(position, log->len);
        cr_assert_eq(
            batch_parse(slice_of(log->data + position, log->len - position),
                        &b),
            ERR_NONE);
        cr_assert_eq(batch_last_offset(&b), be32_get(index->data + i));
    }
}

/* As another program may leave it: without the indexes. */
Test(log_clean, indexes_of_what_was_replaced_are_not_taken)
{
    struct fixture f;

    open_compacted(&f);
    put_three_segments(&f);
    f.config.segment_bytes = 1 << 20;
    log_set_config(f.log, &f.config);
    struct log_clean *c = begin(&f, (struct round){.io_bytes = 1});
    while (log_clean_step(c) != LOG_CLEAN_SWAP)
        ;
    cr_assert_eq(env_rename(f.env, file_name(0, ".log.cleaned"),
                            file_name(0, ".log.swap")),
                 0);
    env_mem_freeze(f.env);
    log_clean_abort(c);
    log_clean_step(c);
    log_clean_end(c, &(struct log_clean_result){0});
    fixture_crash(&f, ENV_MEM_KILL);
    cr_assert_gt(file(&f, 0, ".index")->len, 0);
    fixture_open(&f, true, 0);
    check_index(&f);
    check_after_crash(&f, 0);
    fixture_end(&f);
}

/* ---- random histories -----------------------------------------------------*/

enum { KEYS = 12, STEPS = 150, SEEDS = 150, WRITERS = 3, FIRST_WRITER = 100 };

struct values {
    int64_t last[KEYS]; /* offset of the key's last record; -1 none */
    bool deleted[KEYS]; /* that is a tombstone */
};

struct model {
    struct fixture f;
    struct prng prng;
    uint64_t seed;
    struct values now;  /* of what is committed */
    struct buf aborted; /* of struct log_aborted: all there were */
    /* Producers with transactions; first -1: none is open. */
    struct {
        int64_t first;
        int64_t last_batch; /* -1 none */
        struct values values;
    } writers[WRITERS];
    int64_t first_dirty; /* as it was written down */
    int64_t now_ms;
    int cleanings, crashes, rounds, aborts;
};

static const struct values nothing = {
    {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, {false}};

static int64_t last_stable(const struct model *m)
{
    int64_t stable = log_end_offset(m->f.log);

    for (int i = 0; i < WRITERS; i++)
        if (m->writers[i].first >= 0 && m->writers[i].first < stable)
            stable = m->writers[i].first;
    return stable;
}

static int64_t below(struct model *m, int64_t n)
{
    return (int64_t)prng_below(&m->prng, (uint64_t)n);
}

static int model_epoch(const struct model *m)
{
    return m->seed % 3 == 0 ? 1 + (int)(m->now_ms / 90000) : 1;
}

/* writer -1: outside of transactions. */
static void model_put_by(struct model *m, int writer)
{
    static const enum compression codecs[] = {
        COMPRESSION_NONE, COMPRESSION_NONE, COMPRESSION_LZ4, COMPRESSION_ZSTD};
    static char keys[KEYS][4];
    struct put p = {.timestamp = m->now_ms,
                    .epoch = model_epoch(m),
                    .compression = codecs[below(m, 4)]};
    int n = 1 + (int)below(m, 5);
    struct values *to = &m->now;

    if (writer >= 0) {
        to = &m->writers[writer].values;
        p.producer = FIRST_WRITER + writer;
        p.attributes = BATCH_TRANSACTIONAL;
        if (m->writers[writer].first < 0) {
            m->writers[writer].first = log_end_offset(m->f.log);
            *to = nothing;
        }
        m->writers[writer].last_batch = log_end_offset(m->f.log) + n - 1;
    }

    for (int i = 0; i < n; i++) {
        int key = (int)below(m, KEYS);
        snprintf(keys[key], sizeof keys[key], "%d", key);
        to->last[key] = log_end_offset(m->f.log) + i;
        to->deleted[key] = below(m, 4) == 0;
        p.records[i] =
            (struct kv){keys[key], to->deleted[key] ? NULL : "some value"};
    }
    put_kv(&m->f, p);
}

static void model_put(struct model *m) { model_put_by(m, -1); }

static void model_end(struct model *m, int writer)
{
    int64_t first = m->writers[writer].first;
    const struct values *values = &m->writers[writer].values;
    bool commit = below(m, 2) == 0;
    int64_t marker =
        put_marker(&m->f, model_epoch(m), FIRST_WRITER + writer, commit);

    m->writers[writer].first = -1;
    if (below(m, 3) == 0)
        m->writers[writer].last_batch = -1; /* its epoch was bumped */
    if (first < 0)
        return;
    if (!commit) {
        struct log_aborted a = {FIRST_WRITER + writer, first, marker,
                                last_stable(m)};
        log_note_aborted(m->f.log, &a);
        buf_put(&m->aborted, &a, sizeof a);
        m->aborts++;
        return;
    }
    for (int i = 0; i < KEYS; i++)
        if (values->last[i] > m->now.last[i]) {
            m->now.last[i] = values->last[i];
            m->now.deleted[i] = values->deleted[i];
        }
}

static void model_txn(struct model *m)
{
    int writer = (int)below(m, WRITERS);

    if (below(m, 3) == 0)
        model_end(m, writer);
    else
        model_put_by(m, writer);
}

/* A reader of committed records, as Kafka's client does it: entries begin to
 * count at their first offset and stop at a marker of their producer. */
struct replayed {
    struct model *m;
    struct values values;
    int64_t next;
    struct buf aborted; /* of struct log_aborted, by first offset */
    size_t taken;
    bool hidden[WRITERS];
};

static void take_entries(struct replayed *r, int64_t offset)
{
    struct log_aborted a;

    for (; r->taken < r->aborted.len / sizeof a; r->taken++) {
        memcpy(&a, r->aborted.data + r->taken * sizeof a, sizeof a);
        if (a.first_offset > offset)
            return;
        r->hidden[a.producer_id - FIRST_WRITER] = true;
    }
}

static bool is_hidden(struct replayed *r, const struct batch *b,
                      struct slice bytes)
{
    struct control_marker m;

    if ((b->attributes & BATCH_TRANSACTIONAL) == 0)
        return false;
    if ((b->attributes & BATCH_CONTROL) == 0)
        return r->hidden[b->producer_id - FIRST_WRITER];
    if (control_marker_decode(bytes, b, &m) && !m.commit)
        r->hidden[b->producer_id - FIRST_WRITER] = false;
    return true;
}

static bool replay_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct replayed *r = arg;
    struct buf scratch = BUF_INIT;
    struct record_reader reader;
    struct record record;

    cr_assert_geq(b->base_offset, r->next, "seed %llu",
                  (unsigned long long)r->m->seed);
    r->next = batch_last_offset(b) + 1;
    take_entries(r, batch_last_offset(b));
    record_open(&reader, r->m->f.codec, bytes, b, 1 << 20, &scratch);
    if (!is_hidden(r, b, bytes))
        while (record_next(&reader, &record)) {
            int key = atoi((const char *)record.key.data);
            r->values.last[key] = record.offset;
            r->values.deleted[key] = slice_is_null(record.value);
        }
    cr_assert_eq(reader.err, ERR_NONE);
    buf_free(&scratch);
    return true;
}

static int entry_by_first(const void *a, const void *b)
{
    int64_t x = ((const struct log_aborted *)a)->first_offset;
    int64_t y = ((const struct log_aborted *)b)->first_offset;

    return x < y ? -1 : x > y;
}

/* With open transactions shown, to see them among the others. */
static void hide_open(struct replayed *r)
{
    for (int i = 0; i < WRITERS; i++)
        if (r->m->writers[i].first >= 0)
            buf_put(&r->aborted,
                    &(struct log_aborted){FIRST_WRITER + i,
                                          r->m->writers[i].first, INT64_MAX, 0},
                    sizeof(struct log_aborted));
}

/* A reader from the start ends with the values of the model; tombstones may
 * have gone, with all that they deleted. */
static void model_check(struct model *m)
{
    struct replayed r = {.m = m, .values = nothing};
    const struct values *is = &r.values, *want = &m->now;

    cr_assert_eq(
        aborted_below(m->f.log, 0, log_end_offset(m->f.log), &r.aborted), 0);
    hide_open(&r);
    if (r.aborted.len != 0)
        qsort(r.aborted.data, r.aborted.len / sizeof(struct log_aborted),
              sizeof(struct log_aborted), entry_by_first);
    cr_assert_eq(
        log_visit(m->f.log, 0, log_end_offset(m->f.log), replay_batch, &r),
        ERR_NONE);
    for (int i = 0; i < KEYS; i++) {
        bool gone =
            is->last[i] == -1 && (want->last[i] == -1 || want->deleted[i]);
        cr_assert(gone || (is->last[i] == want->last[i] &&
                           is->deleted[i] == want->deleted[i]),
                  "seed %llu: key %d is at %lld%s, not at %lld%s",
                  (unsigned long long)m->seed, i, (long long)is->last[i],
                  is->deleted[i] ? " (deleted)" : "", (long long)want->last[i],
                  want->deleted[i] ? " (deleted)" : "");
    }
    buf_free(&r.aborted);
}

struct digest {
    int64_t from;
    uint32_t sum;
};

static bool digest_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct digest *d = arg;

    (void)bytes;
    if (b->base_offset >= d->from)
        d->sum = d->sum * 31 + b->crc + (uint32_t)b->base_offset;
    return true;
}

/* Of all batches that begin at or behind an offset. */
static uint32_t digest(struct model *m, int64_t from)
{
    struct digest d = {from, 0};

    log_visit(m->f.log, 0, log_end_offset(m->f.log), digest_batch, &d);
    return d.sum;
}

/* As whoever opens a log does it, from its batches. */
static void note_again(struct model *m)
{
    struct log_aborted a;

    for (size_t i = 0; i < m->aborted.len; i += sizeof a) {
        memcpy(&a, m->aborted.data + i, sizeof a);
        if (a.last_offset >= log_aborted_known(m->f.log))
            log_note_aborted(m->f.log, &a);
    }
    log_aborted_all_known(m->f.log);
}

static void model_crash(struct model *m)
{
    enum env_mem_crash kind = (enum env_mem_crash)below(m, 3);
    int64_t point = log_recovery_point(m->f.log);
    int64_t end = log_end_offset(m->f.log);

    fixture_crash(&m->f, kind);
    fixture_open(&m->f, false, point);
    cr_assert_lt(m->f.report.damaged_at, 0, "seed %llu",
                 (unsigned long long)m->seed);
    cr_assert_eq(log_end_offset(m->f.log), end);
    note_again(m);
    m->crashes++;
}

static void model_clean(struct model *m)
{
    struct round r = {
        .now_ms = m->now_ms,
        .from = m->first_dirty,
        .map_bytes = below(m, 2) == 0 ? 24 * (size_t)(8 + below(m, 10)) : 0,
        .io_bytes = 1 + (size_t)below(m, 500),
        .may_fail = true,
        .undecided = log_end_offset(m->f.log) - last_stable(m),
        .producers_len = WRITERS,
    };
    struct clean_producer producers[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        producers[i] = (struct clean_producer){
            .id = FIRST_WRITER + i, .last_offset = m->writers[i].last_batch};
    r.producers = producers;
    int64_t end = log_end_offset(m->f.log);
    struct log_clean_result result;
    bool crash = below(m, 4) == 0;

    /* A power loss must find what the model has. */
    cr_assert_eq(log_flush_now(m->f.log), ERR_NONE);
    struct log_clean *c = begin(&m->f, r);
    if (c == NULL)
        return;
    struct log_dirt dirt;
    log_dirt(m->f.log, r.from, last_stable(m), r.now_ms, &dirt);
    uint32_t above = digest(m, dirt.to);
    if (crash)
        env_mem_faults(m->f.env)->freeze_at = 1 + (int)below(m, 60);
    bool done = run_steps(c) == LOG_CLEAN_DONE;
    log_clean_end(c, &result);
    if (done)
        m->first_dirty = result.first_dirty;
    m->rounds += done && result.first_dirty < dirt.to;
    m->cleanings += done;
    if (crash)
        model_crash(m);
    cr_assert_eq(log_end_offset(m->f.log), end);
    cr_assert_eq(digest(m, dirt.to), above, "seed %llu: above %lld",
                 (unsigned long long)m->seed, (long long)dirt.to);
    no_leftovers(&m->f);
}

static void model_step(struct model *m)
{
    m->now_ms += below(m, 4000);
    switch (below(m, 12)) {
    case 0:
    case 1:
        model_clean(m);
        break;
    case 2:
        roll(&m->f);
        model_put(m);
        break;
    case 3:
        if (below(m, 6) == 0)
            m->now_ms += 30000; /* horizons pass */
        break;
    case 4:
    case 5:
    case 6:
        if (m->seed % 4 != 0) {
            model_txn(m);
            break;
        }
        /* fall through */
    default:
        model_put(m);
    }
}

static void run_seed(uint64_t seed, struct model *totals)
{
    struct model m = {.seed = seed, .prng = {seed}, .now_ms = 1000};

    fixture_begin(&m.f);
    m.f.config.compact_policy = true;
    m.f.config.delete_policy = false;
    m.f.config.delete_retention_ms = 20000;
    m.f.config.max_compaction_lag_ms = INT64_MAX;
    m.f.config.segment_bytes = 400 + below(&m, 2000);
    m.f.config.index_interval_bytes = (int32_t)below(&m, 300);
    fixture_open(&m.f, true, 0);
    m.now = nothing;
    for (int i = 0; i < WRITERS; i++)
        m.writers[i].first = m.writers[i].last_batch = -1;
    for (int i = 0; i < STEPS; i++) {
        model_step(&m);
        model_check(&m);
    }
    fixture_end(&m.f);
    buf_free(&m.aborted);
    totals->cleanings += m.cleanings;
    totals->crashes += m.crashes;
    totals->rounds += m.rounds;
    totals->aborts += m.aborts;
}

/* LOG_CLEAN_SEED=n runs one seed alone, LOG_CLEAN_SEEDS=n runs 1..n. */
Test(log_clean, random_histories, .timeout = 240)
{
    struct model totals = {0};
    const char *one = getenv("LOG_CLEAN_SEED");
    const char *many = getenv("LOG_CLEAN_SEEDS");
    uint64_t seeds = many != NULL ? strtoull(many, NULL, 10) : SEEDS;

    if (one != NULL) {
        run_seed(strtoull(one, NULL, 10), &totals);
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_seed(seed, &totals);
    /* The histories are worth something. */
    cr_assert_gt(totals.cleanings, SEEDS);
    cr_assert_gt(totals.crashes, SEEDS);
    cr_assert_gt(totals.aborts, SEEDS);
    cr_assert_gt(totals.rounds, 10, "full maps: %d", totals.rounds);
}
