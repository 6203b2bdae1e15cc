/* A log in a world in memory, with defaults, so that a test names only what
 * matters to it.  Include in one test program each. */
#ifndef TESTS_UNIT_BROKER_LOG_FIXTURE_H
#define TESTS_UNIT_BROKER_LOG_FIXTURE_H

#include "broker/log/log.h"
#include "proto/record/builder.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_DIR "/data"
#define LOG_PATH "/data/t-0"

struct fixture {
    struct env *env;
    struct log *log;
    struct log_config config;
    struct log_open_report report;
    struct codec *codec;
    struct uuid topic_id;
    int aside; /* directories that were taken for another topic's */
};

static inline void fixture_begin_seeded(struct fixture *f, uint64_t seed)
{
    *f = (struct fixture){
        .env = env_mem_new(seed),
        .codec = codec_new(),
        .topic_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
        .config = {
            .segment_bytes = 1 << 30,
            .segment_ms = -1,
            .retention_ms = -1,
            .retention_bytes = -1,
            .file_delete_delay_ms = 60000,
            .index_interval_bytes = 4096,
            .segment_index_bytes = 10 << 20,
            .max_message_bytes = 1 << 20,
            .delete_policy = true,
            .flush_messages = INT64_MAX,
            .flush_ms = INT64_MAX,
        }};
    env_mkdir(f->env, LOG_DIR);
    env_sync_dir(f->env, "/");
}

static inline void fixture_begin(struct fixture *f)
{
    fixture_begin_seeded(f, 7);
}

static inline enum err fixture_try_open(struct fixture *f, bool clean,
                                        int64_t recovery_point, int64_t start)
{
    return log_open(f->env, LOG_PATH, f->topic_id, &f->config, recovery_point,
                    start, clean, 0, &f->log, &f->report);
}

/* As a replica does: what a power loss left before anything was synced may not
 * say whose it is, and is put aside. */
static inline enum err fixture_reopen(struct fixture *f, int64_t recovery_point,
                                      int64_t start)
{
    enum err err = fixture_try_open(f, false, recovery_point, start);

    if (err != ERR_INCONSISTENT_TOPIC_ID)
        return err;
    char aside[64];
    snprintf(aside, sizeof aside, "%s.%d", LOG_PATH, f->aside++);
    cr_assert_eq(recovery_point, 0, "%s", f->report.message);
    cr_assert_eq(env_rename(f->env, LOG_PATH, aside), 0);
    free(f->report.message);
    return fixture_try_open(f, false, 0, start);
}

static inline void fixture_open(struct fixture *f, bool clean,
                                int64_t recovery_point)
{
    enum err err = fixture_try_open(f, clean, recovery_point, 0);

    cr_assert_eq(err, ERR_NONE, "open: %s: %s", err_name(err),
                 f->report.message);
    free(f->report.message);
    f->report.message = NULL;
}

static inline void fixture_close(struct fixture *f)
{
    log_close(f->log);
    f->log = NULL;
    env_mem_run(f->env);
}

static inline void fixture_end(struct fixture *f)
{
    if (f->log != NULL)
        fixture_close(f);
    env_mem_advance(f->env, 1000000);
    cr_assert_eq(env_mem_open_files(f->env), 0, "a file stayed open");
    codec_free(f->codec);
    env_mem_free(f->env);
}

/* The process dies; the log is gone, the disk is as the kind of crash has it.
 */
static inline void fixture_crash(struct fixture *f, enum env_mem_crash kind)
{
    env_mem_freeze(f->env);
    fixture_close(f);
    env_mem_crash(f->env, kind);
}

struct batch_shape {
    int64_t base_offset;
    int32_t epoch;
    int records;       /* 0: 1 */
    int64_t timestamp; /* of the first record */
    int64_t timestamp_step;
    size_t value_bytes; /* 0: 100 */
    enum compression compression;
};

static inline void put_batch(struct fixture *f, struct buf *out,
                             struct batch_shape shape)
{
    size_t value_bytes = shape.value_bytes != 0 ? shape.value_bytes : 100;
    int records = shape.records != 0 ? shape.records : 1;
    struct batch_options options = BATCH_OPTIONS_INIT;
    uint8_t *value = xcalloc(1, value_bytes);
    struct batch_builder b;

    memset(value, 'v', value_bytes);
    batch_builder_init(&b);
    for (int i = 0; i < records; i++)
        batch_builder_append(&b, shape.timestamp + i * shape.timestamp_step,
                             SLICE_NULL, slice_of(value, value_bytes), NULL, 0);
    options.base_offset = shape.base_offset;
    options.leader_epoch = shape.epoch;
    options.compression = shape.compression;
    batch_builder_finish(&b, &options, f->codec, out);
    batch_builder_free(&b);
    free(value);
}

/* Appends one batch at the end; base_offset is filled in. */
static inline enum err try_append(struct fixture *f, struct batch_shape shape)
{
    struct log_append_info info;
    struct buf bytes = BUF_INIT;

    shape.base_offset = log_end_offset(f->log);
    put_batch(f, &bytes, shape);
    enum err err =
        log_append(f->log, buf_slice(&bytes), env_wall_ms(f->env), &info);
    buf_free(&bytes);
    return err;
}

static inline void append(struct fixture *f, struct batch_shape shape)
{
    enum err err = try_append(f, shape);

    cr_assert_eq(err, ERR_NONE, "append: %s", err_name(err));
}

/* n batches of one record. */
static inline void append_n(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++)
        append(f, (struct batch_shape){.timestamp = 1000 + i});
}

static inline char *file_name(int64_t base, const char *suffix)
{
    static char names[4][256];
    static int turn;
    char *name = names[turn++ % 4];

    snprintf(name, 256, LOG_PATH "/%020lld%s", (long long)base, suffix);
    return name;
}

static inline struct buf *file(struct fixture *f, int64_t base,
                               const char *suffix)
{
    return env_mem_file(f->env, file_name(base, suffix));
}

/* Offsets of the first and behind the last record in a range; checks that it
 * holds whole batches. */
struct read_result {
    enum err err;
    int64_t first;
    int64_t end;
    int batches;
    uint32_t bytes;
};

static inline struct read_result read_at(struct fixture *f, int64_t offset,
                                         int64_t end_offset, uint32_t max_bytes)
{
    struct log_range range;
    struct read_result r = {.first = -1, .end = -1};

    r.err = log_read(f->log, offset, end_offset, max_bytes, true, &range);
    if (r.err != ERR_NONE || range.len == 0) {
        cr_assert_null(range.file);
        return r;
    }
    struct buf bytes = BUF_INIT;
    cr_assert_eq(env_file_read(range.file, buf_extend(&bytes, range.len),
                               range.len, range.position),
                 range.len);
    env_file_unref(range.file);
    r.bytes = range.len;
    for (struct slice rest = buf_slice(&bytes); rest.len != 0;) {
        struct batch b;
        cr_assert_eq(batch_parse(rest, &b), ERR_NONE,
                     "a range ends inside a batch");
        cr_assert(batch_crc_ok(rest, &b));
        if (r.first < 0) {
            r.first = b.base_offset;
            cr_assert_eq(r.first, range.base_offset);
        }
        r.end = batch_last_offset(&b) + 1;
        r.batches++;
        rest = slice_of(rest.data + b.size_bytes, rest.len - b.size_bytes);
    }
    buf_free(&bytes);
    return r;
}

/* Reads everything; returns how many batches there are, or -1 - error. */
static inline int count_batches(struct fixture *f)
{
    int64_t offset = log_start_offset(f->log);
    int n = 0;

    while (offset < log_end_offset(f->log)) {
        struct read_result r =
            read_at(f, offset, log_end_offset(f->log), 1 << 20);
        if (r.err != ERR_NONE)
            return -1 - (int)r.err;
        cr_assert(r.batches > 0, "nothing at offset %lld", (long long)offset);
        n += r.batches;
        offset = r.end;
    }
    return n;
}

#endif
