/* leat produce. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/session.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    {"key", OPTION_VALUE, 'k', "KEY", "the key of every record"},
    {"key-separator", OPTION_VALUE, 'K', "TEXT",
     "lines are KEY, this text, VALUE"},
    {"header", OPTION_LIST, 'H', "NAME=VALUE", "a header of every record"},
    {"line-headers", OPTION_FLAG, 0, NULL,
     "lines begin with h1:v1,h2:v2 and a tab"},
    {"null-marker", OPTION_VALUE, 0, "TEXT",
     "a key or value that is this text becomes null"},
    {"partition", OPTION_INT, 'p', "N", "where to (else by the key)", 0,
     INT32_MAX},
    {"acks", OPTION_VALUE, 'a', "all|1|0", "who must have it (all)"},
    {"compression", OPTION_VALUE, 'z', "CODEC",
     "none, gzip, snappy, lz4 or zstd (none)"},
    {"batch-bytes", OPTION_INT, 0, "N", "size of a batch (262144)", 1,
     INT32_MAX},
    {"sync", OPTION_FLAG, 0, NULL, "wait for each record"},
    {"quiet", OPTION_FLAG, 'q', NULL, "no closing line"},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts("leat produce TOPIC [OPTIONS]   writes each line of standard input as "
         "a record\n\n"
         "  echo hello | leat produce greetings\n"
         "  leat produce orders --key-separator : < orders.txt\n"
         "  leat produce orders -k alice -H source=web -z zstd");
}

/* "all", "-1", "1", "0" */
static bool parse_acks(const char *text, int16_t *acks)
{
    if (strcmp(text, "all") == 0 || strcmp(text, "-1") == 0)
        *acks = -1;
    else if (strcmp(text, "1") == 0 || strcmp(text, "0") == 0)
        *acks = (int16_t)(text[0] - '0');
    else
        return false;
    return true;
}

static bool parse_compression(const char *text, enum compression *out)
{
    for (int i = COMPRESSION_NONE; i <= COMPRESSION_ZSTD; i++)
        if (strcmp(compression_name((enum compression)i), text) == 0) {
            *out = (enum compression)i;
            return true;
        }
    return false;
}

static bool read_headers(struct session *s, struct produce_job *job)
{
    const char *text;
    size_t n = 0;

    while (options_each(s->options, "header", n) != NULL)
        n++;
    job->headers = arena_array(&s->arena, n + 1, sizeof *job->headers);
    for (size_t i = 0; i < n; i++) {
        text = options_each(s->options, "header", i);
        const char *equals = strchr(text, '=');
        if (equals == NULL)
            return false;
        job->headers[job->headers_len++] = (struct record_header){
            slice_of(text, (size_t)(equals - text)), slice_str(equals + 1)};
    }
    return true;
}

static int finish(struct session *s, const struct produce_job *job)
{
    if (s->json) {
        json_t *o = json_object();
        json_object_set_new(o, "produced", json_integer(job->produced));
        json_object_set_new(o, "failed", json_integer(job->failed));
        json_print(o, stdout);
    } else if (!options_has(s->options, "quiet")) {
        fprintf(stderr, "Wrote %lld record%s to %s.\n",
                (long long)job->produced, job->produced == 1 ? "" : "s",
                job->topic);
    }
    return job->failed == 0 ? EXIT_OK : EXIT_FAILED;
}

static int run(struct session *s)
{
    const struct options *o = s->options;
    struct produce_job job = {
        .client = s->client,
        .topic = options_word(o, 0),
        .partition = options_int(o, "partition", -1),
        .key = slice_str(options_text(o, "key", NULL)),
        .format = LINE_FORMAT_INIT,
        .options = PRODUCER_OPTIONS_INIT,
        .sync = options_has(o, "sync"),
        .prompt = !s->json,
    };
    char *why = NULL;

    if (options_words(o) != 1)
        return ui_usage("produce", "give one topic to write to");
    if (!parse_acks(options_text(o, "acks", "all"), &job.options.acks))
        return ui_usage("produce", "--acks is all, 1 or 0");
    if (!parse_compression(options_text(o, "compression", "none"),
                           &job.options.compression))
        return ui_usage("produce", "--compression is none, gzip, snappy, lz4 "
                                   "or zstd");
    if (!read_headers(s, &job))
        return ui_usage("produce", "--header is written NAME=VALUE");
    job.options.batch_bytes = (size_t)options_int(o, "batch-bytes", 256 * 1024);
    job.format.parse_key = options_has(o, "key-separator");
    job.format.key_separator = options_text(o, "key-separator", "\t");
    job.format.parse_headers = options_has(o, "line-headers");
    job.format.null_marker = options_text(o, "null-marker", NULL);
    if (line_format_check(&job.format) != NULL)
        return ui_usage("produce", "%s", line_format_check(&job.format));
    enum err error = produce_lines(&job, &why);
    if (error != ERR_NONE)
        ui_fail("cannot write to %s: %s", job.topic, why);
    free(why);
    int code = finish(s, &job);
    return error != ERR_NONE ? EXIT_FAILED : code;
}

int cmd_produce(int argc, char **argv)
{
    return session_run(option_specs, "produce", argc, argv, help, run);
}
