/* A log directory whose files are the input: segments, indexes, aborted
 * transactions, the checkpoint of leader epochs, producer snapshots.
 *
 * A byte of how, then files: a byte says which kind and whether its checksums
 * are to be put right, a byte the base offset, then a part.
 *
 * However it looks: it opens or says why not, what it holds can be read batch
 * by batch from start to end, it takes another batch, cuts itself, and the next
 * opening finds it whole. */
#include "tests/fuzz/kit.h"

#include "base/crc32c.h"
#include "broker/log/log.h"
#include "broker/replica/producers.h"
#include "proto/record/builder.h"
#include "tests/sim/env_mem.h"

#include <stdio.h>
#include <stdlib.h>

#define DIR "/d/t-0"

enum { FILES_MAX = 12, BATCHES_MAX = 4096 };

static struct codec *codec;

/* ---- files --------------------------------------------------------------- */

static void put_file(struct env *env, const char *name, struct slice bytes)
{
    char path[128];
    struct env_file *file;

    snprintf(path, sizeof path, DIR "/%s", name);
    if (env_file_open(env, path, ENV_CREATE, &file) != 0)
        return;
    ASSERT(env_file_truncate(file, 0) == 0);
    ASSERT(env_file_write(file, &bytes, 1, 0) == 0);
    ASSERT(env_file_sync(file) == 0);
    env_file_unref(file);
}

static void fix_snapshot(struct buf *b)
{
    if (b->len < 10)
        return;
    be16_put(b->data, 1);
    be32_put(b->data + 2, crc32c(0, b->data + 6, b->len - 6));
}

static void put_one(struct env *env, struct reader *r)
{
    static const char *const suffixes[] = {
        ".log", ".log", ".index", ".timeindex", ".snapshot", ".log.damaged",
    };
    uint8_t kind = read_u8(r), base = read_u8(r);
    struct slice part = take_part(r);
    struct buf bytes = BUF_INIT;
    char name[64];

    buf_put_slice(&bytes, part);
    switch (kind & 7) {
    case 6:
        snprintf(name, sizeof name, "leader-epoch-checkpoint");
        break;
    case 7:
        snprintf(name, sizeof name, "partition.metadata");
        break;
    default:
        snprintf(name, sizeof name, "%020d%s", base,
                 (kind & 39) == 34 ? ".txnindex" : suffixes[kind & 7]);
        if ((kind & 8) == 0 && (kind & 7) <= 1)
            fix_batches(bytes.data, bytes.len, (kind & 16) == 0);
        if ((kind & 8) == 0 && (kind & 7) == 4)
            fix_snapshot(&bytes);
    }
    put_file(env, name, buf_slice(&bytes));
    buf_free(&bytes);
}

/* ---- what must hold ------------------------------------------------------ */

static void put_batch(int64_t offset, int32_t epoch, struct buf *out)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    batch_builder_append(&b, 1000, SLICE("k"), SLICE("v"), NULL, 0);
    options.base_offset = offset;
    options.leader_epoch = epoch;
    batch_builder_finish(&b, &options, NULL, out);
    batch_builder_free(&b);
}

static void ask_aborted(struct log *log, int64_t at,
                        const struct log_range *range)
{
    struct buf list = BUF_INIT;

    if (log_aborted_in(log, at, range, &list) == ERR_NONE) {
        const struct log_aborted *a = (const void *)list.data;

        for (size_t i = 0; i < list.len / sizeof *a; i++)
            ASSERT(a[i].producer_id >= 0 &&
                   a[i].last_offset > a[i].first_offset);
    }
    buf_free(&list);
}

/* From one end to the other, by what log_read() says.  `checked`: recovery has
 * looked at everything; what it was told to trust may hold anything. */
static void read_all(struct log *log, bool checked)
{
    int64_t end = log_end_offset(log);
    int64_t at = log_start_offset(log);

    ASSERT(at <= end);
    for (int i = 0; i < BATCHES_MAX && at < end; i++) {
        struct log_range range;
        struct buf bytes = BUF_INIT;
        struct batch b;

        enum err err = log_read(log, at, end, 200, true, &range);
        ASSERT(err == ERR_NONE || !checked);
        if (err != ERR_NONE || (range.len == 0 && !checked))
            return;
        ASSERT(range.len != 0 && range.file != NULL);
        ASSERT(range.position + range.len <= env_file_size(range.file));
        ask_aborted(log, at, &range);
        ASSERT(env_file_read(range.file, buf_extend(&bytes, range.len),
                             range.len, range.position) == range.len);
        env_file_unref(range.file);
        bool whole = batch_parse(buf_slice(&bytes), &b) == ERR_NONE &&
                     batch_last_offset(&b) >= at;
        ASSERT(whole || !checked);
        ASSERT(!checked || (batch_crc_ok(buf_slice(&bytes), &b) &&
                            b.base_offset == range.base_offset &&
                            batch_last_offset(&b) < end));
        at = batch_last_offset(&b) + 1;
        buf_free(&bytes);
        if (!whole)
            return;
    }
}

static bool count(void *arg, const struct batch *b, struct slice bytes)
{
    ++*(int *)arg;
    return true;
}

static void ask(struct log *log)
{
    int64_t end = log_end_offset(log);
    struct log_timestamp_offset found;
    int32_t epoch = log_latest_epoch(log), found_epoch;
    int64_t offset, offsets[4];
    int batches = 0;

    log_offset_for_timestamp(log, codec, 1, end, &found);
    log_offset_for_timestamp(log, codec, INT64_MAX, end, &found);
    log_max_timestamp(log, codec, end, &found);
    log_offsets_before(log, 1000, end, offsets, 4);
    log_end_offset_for_epoch(log, epoch, &found_epoch, &offset);
    ASSERT(epoch == -1 || (found_epoch == epoch && offset == end));
    log_epoch_at(log, end / 2);
    log_visit(log, log_start_offset(log), end, count, &batches);
}

static void check_producers(struct env *env, struct log *log)
{
    struct producers *p = NULL;
    bool stale = false;

    if (producers_load(env, log, INT64_MAX, env_wall_ms(env), &p) == ERR_NONE &&
        producers_truncated(env, log, INT64_MAX, env_wall_ms(env), &p,
                            &stale) == ERR_NONE)
        producers_store(env, p, DIR, log_end_offset(log));
    producers_free(p);
}

static void append_one(struct env *env, struct log *log)
{
    struct log_append_info info;
    struct buf batch = BUF_INIT;
    int32_t epoch = log_latest_epoch(log);
    int64_t end = log_end_offset(log);

    put_batch(end, epoch < 0 ? 0 : epoch, &batch);
    enum err err = log_append(log, buf_slice(&batch), env_wall_ms(env), &info);
    if (err == ERR_NONE)
        ASSERT(log_end_offset(log) == end + 1);
    else
        ASSERT(log_end_offset(log) == end);
    buf_free(&batch);
}

static enum err open_log(struct env *env, int64_t recovery_point, bool clean,
                         int64_t start, int64_t unchanged_ms, struct log **log,
                         struct log_open_report *report)
{
    struct log_config config = {
        .segment_bytes = 400,
        .segment_ms = -1,
        .retention_ms = -1,
        .retention_bytes = -1,
        .file_delete_delay_ms = 1,
        .index_interval_bytes = 100,
        .segment_index_bytes = 1 << 10,
        .max_message_bytes = 1 << 20,
        .delete_policy = true,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
    };

    enum err err = log_open(env, DIR, UUID_ZERO, &config, recovery_point, start,
                            clean, unchanged_ms, log, report);
    free(report->message);
    return err;
}

static void use(struct env *env, uint8_t how, struct log *log, bool checked)
{
    read_all(log, checked);
    ask(log);
    check_producers(env, log);
    append_one(env, log);
    if ((how & 2) != 0)
        log_truncate(log, log_end_offset(log) / 3 * 2);
    if ((how & 4) != 0)
        log_raise_start(log,
                        log_start_offset(log) / 2 + log_end_offset(log) / 2);
    if ((how & 8) != 0)
        log_apply_retention(log, env_wall_ms(env), log_end_offset(log));
    /* A log that is cut where offsets are missing ends there, without batches
     * up to its end. */
    read_all(log, checked && (how & 2) == 0);
    check_producers(env, log);
    log_flush_now(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t how = read_u8(&r);
    struct env *env = env_mem_new(7);
    int64_t recovery_point = how >> 5, start = 0;
    bool checked = (how & 1) == 0 && recovery_point == 0;
    struct log_open_report report;
    struct log *log;

    if (recovery_point == 7) { /* a checkpoint store may say anything */
        recovery_point = read_i64(&r);
        start = read_i64(&r);
    }
    if (codec == NULL)
        codec = codec_new();
    env_mkdir(env, "/d");
    env_mkdir(env, DIR);
    for (int i = 0; i < FILES_MAX && reader_left(&r) != 0; i++)
        put_one(env, &r);
    env_sync_dir(env, DIR);

    /* As after a crash or a clean stop, changed meanwhile or not. */
    if (open_log(env, recovery_point, (how & 1) != 0, start,
                 (how & 16) != 0 ? 0 : env_wall_ms(env), &log,
                 &report) == ERR_NONE) {
        use(env, how, log, checked);
        int64_t end = log_end_offset(log);
        start = log_start_offset(log);
        bool failed = log_failed(log);
        log_close(log);
        env_mem_advance(env, 10);

        /* After a clean stop everything is as it was; a check of everything
         * does not end later. */
        if (!failed &&
            open_log(env, end, true, start, 0, &log, &report) == ERR_NONE) {
            ASSERT(!checked || (how & 2) != 0 || log_end_offset(log) == end);
            ASSERT(log_start_offset(log) <= log_end_offset(log));
            log_close(log);
            env_mem_advance(env, 10);
        }
        if (open_log(env, 0, false, start, 0, &log, &report) == ERR_NONE) {
            /* Segments that overlap are trusted, too; where the later one is
             * cut to nothing, the earlier one goes on. */
            ASSERT(failed || (!checked && (how & 2) != 0) ||
                   log_end_offset(log) <= end);
            read_all(log, true);
            log_close(log);
        }
    }
    env_mem_advance(env, 1000);
    ASSERT(env_mem_open_files(env) == 0);
    env_mem_free(env);
    return 0;
}
