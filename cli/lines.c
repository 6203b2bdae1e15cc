/* Producing: lines are batched while more of them are there, and sent before
 * the reader would wait, so a pipe is fast and a person sees each line arrive.
 * Consuming: each arrival is written at once, past stdio, whose buffer might
 * hold records that were committed and fail to get rid of them. */
#include "cli/lines.h"

#include "cli/admin_topics.h"
#include "cli/input.h"
#include "cli/net.h"
#include "cli/ui.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- producing
 * -------------------------------------------------------------------------------
 */

static void on_failed(void *arg, const char *why, int32_t records)
{
    struct produce_job *job = arg;

    job->failed += records;
    fprintf(stderr,
            "[error] %d record%s for topic %s could not be written: %s\n",
            records, records == 1 ? "" : "s", job->topic, why);
}

/* The headers of the job and those of the line as one array. */
static void join_headers(const struct produce_job *job,
                         struct line_record *record, struct arena *a)
{
    struct record_header *all;
    size_t own = (size_t)record->headers_len;
    size_t given = (size_t)job->headers_len;

    if (given == 0)
        return;
    all = arena_array(a, given + own, sizeof *all);
    memcpy(all, job->headers, given * sizeof *all);
    if (own != 0)
        memcpy(all + given, record->headers, own * sizeof *all);
    record->headers = all;
    record->headers_len = (int32_t)(given + own);
}

static enum err produce_one(struct produce_job *job, struct producer *p,
                            struct slice line, int64_t number, char **why)
{
    struct line_record record;
    struct arena arena;
    enum err error = ERR_NONE;

    arena_init(&arena, 0);
    if (!line_format_parse(&job->format, line, number, &arena, &record, why)) {
        error = ERR_INVALID_RECORD;
    } else {
        join_headers(job, &record, &arena);
        if (slice_is_null(record.key))
            record.key = job->key;
        error = producer_add(p, job->partition, net_wall_ms(), record.key,
                             record.value, record.headers, record.headers_len);
        if (error != ERR_NONE)
            *why = xstrdup(client_why(job->client));
    }
    arena_free(&arena);
    return error;
}

enum err produce_lines(struct produce_job *job, char **why)
{
    struct input in;
    struct slice line;
    int64_t number = 0;
    enum err error = ERR_NONE;

    job->options.failed = on_failed;
    job->options.arg = job;
    struct producer *p = producer_new(job->client, job->topic, &job->options);
    input_init(&in, 0);
    interrupt_install();
    bool prompt = job->prompt && input_is_terminal(&in);
    for (;;) {
        if (!input_ready(&in))
            producer_flush(p);
        if (prompt) {
            fputs(">", stdout);
            fflush(stdout);
        }
        if (!input_line(&in, &line))
            break;
        error = produce_one(job, p, line, ++number, why);
        if (error != ERR_NONE)
            break;
        if (job->sync)
            producer_flush(p);
    }
    producer_flush(p);
    job->produced = producer_acknowledged(p);
    if (error == ERR_NONE && in.error != 0) {
        error = ERR_IO;
        *why =
            xasprintf("standard input cannot be read: %s", strerror(in.error));
    }
    input_free(&in);
    producer_free(p);
    return error;
}

/* ---- consuming
 * --------------------------------------------------------------------------------
 */

struct printing {
    struct consume_job *job;
    struct buf out;
};

static json_t *headers_json(const struct record *record)
{
    struct slice rest = record->headers;
    struct record_header header;
    json_t *list = json_array();

    while (record_header_next(&rest, &header)) {
        json_t *one = json_object();
        json_object_set_new(one, "key", json_slice(header.key));
        json_object_set_new(one, "value", json_slice(header.value));
        json_array_append_new(list, one);
    }
    return list;
}

static void print_json(const struct consumed *one, struct buf *out)
{
    json_t *o = json_object();

    json_object_set_new(o, "topic", json_slice(one->topic));
    json_object_set_new(o, "partition", json_integer(one->partition));
    json_object_set_new(o, "offset", json_integer(one->record->offset));
    json_object_set_new(o, "timestamp", json_integer(one->record->timestamp));
    json_object_set_new(o, "key", json_slice(one->record->key));
    json_object_set_new(o, "value", json_slice(one->record->value));
    json_object_set_new(o, "headers", headers_json(one->record));
    char *text = json_dumps(o, JSON_COMPACT);
    buf_printf(out, "%s\n", text);
    free(text);
    json_decref(o);
}

static bool print_one(void *arg, const struct consumed *one)
{
    struct printing *p = arg;

    if (p->job->json)
        print_json(one, &p->out);
    else
        record_format_print(&p->job->format, one, &p->out);
    p->job->consumed++;
    return (p->job->max_messages < 0 ||
            p->job->consumed < p->job->max_messages) &&
           !interrupt_seen();
}

/* Only what was written counts as consumed. */
static bool write_out(struct printing *p, struct consumer *k)
{
    bool ok = output_write(STDOUT_FILENO, buf_slice(&p->out));

    if (ok)
        consumer_keep(k);
    else if (errno != EINTR)
        p->job->output_error = errno;
    p->out.len = 0;
    return ok;
}

static bool is_over(struct consume_job *job, int64_t last_ms)
{
    if (interrupt_seen() ||
        (job->max_messages >= 0 && job->consumed >= job->max_messages))
        return true;
    job->timed_out =
        job->timeout_ms >= 0 && net_now_ms() - last_ms > job->timeout_ms;
    return job->timed_out;
}

/* A pattern that is none would match nothing for ever. */
static enum err check_pattern(struct consume_job *job)
{
    char *why = NULL;

    if (job->options.pattern == NULL ||
        admin_pattern_matches(job->options.pattern, SLICE(""), &why) ||
        why == NULL)
        return ERR_NONE;
    client_fail(job->client, ERR_INVALID_REQUEST, "%s", why);
    free(why);
    return ERR_INVALID_REQUEST;
}

enum err consume_lines(struct consume_job *job)
{
    if (check_pattern(job) != ERR_NONE)
        return ERR_INVALID_REQUEST;
    struct printing p = {job, BUF_INIT};
    struct consumer *k = consumer_new(job->client, &job->options);
    int64_t last_ms = net_now_ms();
    enum err error = ERR_NONE;

    interrupt_install();
    while (error == ERR_NONE && !is_over(job, last_ms)) {
        int64_t count;
        error = consumer_poll(k, net_now_ms() + 100, print_one, &p, &count);
        if (count != 0)
            last_ms = net_now_ms();
        if (!write_out(&p, k))
            break;
    }
    if (error == ERR_NONE && job->timed_out)
        error = consumer_trouble(k);
    char *why = xstrdup(client_why(job->client));
    enum err uncommitted = consumer_free(k);
    if (interrupt_seen())
        error = ERR_NONE; /* asked to stop in the middle of something */
    if (error != ERR_NONE)
        client_fail(job->client, error, "%s", why);
    else
        error = uncommitted;
    free(why);
    buf_free(&p.out);
    return error;
}
