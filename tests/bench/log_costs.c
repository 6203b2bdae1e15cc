/* What a log costs on the real file system: memory and time of idle logs, of
 * appends, reads, recovery.
 *
 *     log_costs DIR [LOGS]
 *
 * DIR must be an empty directory; LOGS defaults to 10000.  What it leaves there
 * is for looking at, with Kafka's dump tool for one. */
#include "base/env_libevent.h"
#include "broker/log/log.h"
#include "proto/record/builder.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static struct env *env;
static struct log_config config = {
    .segment_bytes = 1 << 30,
    .segment_ms = 604800000,
    .retention_ms = 604800000,
    .retention_bytes = -1,
    .file_delete_delay_ms = 60000,
    .index_interval_bytes = 4096,
    .segment_index_bytes = 10 << 20,
    .max_message_bytes = 1 << 20,
    .delete_policy = true,
    .flush_messages = INT64_MAX,
    .flush_ms = INT64_MAX,
};
static const struct uuid topic_id = {{7, 1}};

static struct log *must_open(const char *path, bool clean,
                             struct log_open_report *report)
{
    struct log *log;
    enum err err =
        log_open(env, path, topic_id, &config, 0, 0, clean, 0, &log,
                 report);

    if (err != ERR_NONE) {
        fprintf(stderr, "%s: %s\n", path, report->message);
        exit(1);
    }
    free(report->message);
    return log;
}

static void make_batch(struct buf *out, int records, size_t value_bytes,
                       enum compression compression)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    static struct codec *codec;
    struct batch_builder b;
    uint8_t *value = xcalloc(1, value_bytes);

    if (codec == NULL)
        codec = codec_new();
    batch_builder_init(&b);
    for (int i = 0; i < records; i++)
        batch_builder_append(&b, env_wall_ms(env), SLICE("key"),
                             slice_of(value, value_bytes), NULL, 0);
    options.compression = compression;
    batch_builder_finish(&b, &options, codec, out);
    batch_builder_free(&b);
    free(value);
}

static void append(struct log *log, const struct buf *batch)
{
    struct log_append_info info;

    batch_patch(batch->data, log_end_offset(log), 3);
    if (log_append(log, buf_slice(batch), env_wall_ms(env), &info) !=
        ERR_NONE) {
        fprintf(stderr, "append failed\n");
        exit(1);
    }
}

static void say(const char *what, int64_t since_us, int64_t n)
{
    int64_t us = env_now_us(env) - since_us;

    printf("%-44s %9.2f us each (%lld, %.3f s)\n", what, (double)us / (double)n,
           (long long)n, (double)us / 1e6);
}

static size_t heap_bytes(void) { return mallinfo2().uordblks; }

static void idle_logs(const char *dir, int n, bool with_record)
{
    struct log **logs = xcalloc((size_t)n, sizeof *logs);
    struct log_open_report report;
    struct buf batch = BUF_INIT;
    const char *kind = with_record ? "r" : "e";

    make_batch(&batch, 1, 100, COMPRESSION_NONE);
    for (int turn = 0; turn < 2; turn++) {
        size_t before = heap_bytes();
        int64_t from = env_now_us(env);
        for (int i = 0; i < n; i++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s-%d", dir, kind, i);
            logs[i] = must_open(path, turn == 1, &report);
        }
        if (turn == 0) {
            say("create an empty log", from, n);
        } else {
            say(with_record ? "open a clean log with one record"
                            : "open a clean empty log",
                from, n);
            printf("%-44s %9zu bytes each\n", "  memory",
                   (heap_bytes() - before) / (size_t)n);
        }
        if (turn == 0 && with_record) {
            from = env_now_us(env);
            for (int i = 0; i < n; i++)
                append(logs[i], &batch);
            say("first append", from, n);
        }
        for (int i = 0; i < n; i++)
            log_close(logs[i]);
    }
    buf_free(&batch);
    free(logs);
}

static void read_all(struct log *log, uint32_t max_bytes, const char *what)
{
    int64_t from = env_now_us(env), reads = 0;
    struct log_range range;

    for (int64_t at = 0; at < log_end_offset(log); reads++) {
        uint8_t last[BATCH_HEADER_BYTES];
        struct batch b;
        log_read(log, at, log_end_offset(log), max_bytes, true, &range);
        /* A client knows where it got to; here the last header tells. */
        int64_t position = range.position;
        while (position < range.position + range.len) {
            env_file_read(range.file, last, sizeof last, position);
            batch_parse(slice_of(last, sizeof last), &b);
            position += b.size_bytes;
        }
        at = batch_last_offset(&b) + 1;
        env_file_unref(range.file);
    }
    say(what, from, reads);
}

static void busy_log(const char *dir, const char *name, int records,
                     size_t value_bytes, int appends)
{
    struct log_open_report report;
    struct log_range range;
    struct buf batch = BUF_INIT;
    char path[4096];

    snprintf(path, sizeof path, "%s/%s-0", dir, name);
    printf("\n%s: batches of %d x %zu bytes\n", name, records, value_bytes);
    make_batch(&batch, records, value_bytes, COMPRESSION_NONE);
    struct log *log = must_open(path, false, &report);
    int64_t from = env_now_us(env);
    for (int i = 0; i < appends; i++)
        append(log, &batch);
    say("append", from, appends);

    from = env_now_us(env);
    for (int i = 0; i < 1000000; i++) {
        int64_t end = log_end_offset(log);
        log_read(log, end - (i % 20 + 1) * records, end, 1 << 20, true, &range);
        env_file_unref(range.file);
    }
    say("tail read", from, 1000000);
    from = env_now_us(env);
    for (int i = 0; i < 20000; i++) {
        int64_t end = log_end_offset(log);
        log_read(log, (int64_t)i * 7919 % end, end, 1 << 20, true, &range);
        env_file_unref(range.file);
    }
    say("random read of 1 MiB, resolved", from, 20000);
    read_all(log, 1 << 20, "sequential read of 1 MiB, headers walked");
    log_close(log);

    from = env_now_us(env);
    log = must_open(path, true, &report);
    say("open clean", from, 1);
    log_close(log);
    from = env_now_us(env);
    log = must_open(path, false, &report);
    say("open unclean, everything checked", from, 1);
    printf("%-44s %9.0f MB/s\n", "  which is",
           (double)report.scanned_bytes / (double)(env_now_us(env) - from));
    log_close(log);
    buf_free(&batch);
}

/* Small, varied, several segments: for the dump tool. */
static void varied_log(const char *dir)
{
    struct log_open_report report;
    char path[4096];

    snprintf(path, sizeof path, "%s/varied-0", dir);
    config.segment_bytes = 200000;
    struct log *log = must_open(path, false, &report);
    for (int i = 0; i < 400; i++) {
        struct buf batch = BUF_INIT;
        make_batch(&batch, i % 17 + 1, (size_t)(i * 37 % 600),
                   (enum compression)(i % 5));
        append(log, &batch);
        buf_free(&batch);
        if (i % 100 == 50) {
            log_close(log);
            log = must_open(path, i % 200 == 50, &report);
        }
        if (i % 120 == 90)
            log_truncate(log, log_end_offset(log) - 25);
    }
    log_flush_now(log);
    log_close(log);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: log_costs DIR [LOGS]\n");
        return 1;
    }
    int n = argc > 2 ? atoi(argv[2]) : 10000;
    env = env_create();
    idle_logs(argv[1], n, false);
    idle_logs(argv[1], n, true);
    busy_log(argv[1], "small", 1, 100, 200000);
    busy_log(argv[1], "medium", 16, 1024, 20000);
    busy_log(argv[1], "large", 900, 1024, 300);
    varied_log(argv[1]);
    env_free(env);
    return 0;
}
