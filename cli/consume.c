/* leat consume. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/session.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    {"group", OPTION_VALUE, 'g', "GROUP",
     "read as a member of this group, and commit"},
    {"from-beginning", OPTION_FLAG, 0, NULL,
     "begin with the oldest record (a group: where it has committed nothing)"},
    {"partition", OPTION_INT, 'p', "N", "only this partition", 0, INT32_MAX},
    {"offset", OPTION_VALUE, 'o', "N|earliest|latest",
     "where to begin, with --partition"},
    {"max-messages", OPTION_LONG, 'n', "N", "stop after so many", 0, INT64_MAX},
    {"timeout-ms", OPTION_LONG, 0, "MS", "stop when nothing came for so long",
     0, INT64_MAX},
    {"format", OPTION_LIST, 'f', "KEY=VALUE",
     "print.key, print.value, print.timestamp, print.offset, print.partition, "
     "print.headers, print.epoch (true or false), key.separator, "
     "line.separator, headers.separator, null.literal"},
    {"keys", OPTION_FLAG, 'k', NULL, "the same as -f print.key=true"},
    {"pattern", OPTION_VALUE, 0, "REGEX",
     "all topics that match, instead of one"},
    {"read-committed", OPTION_FLAG, 0, NULL, "hide aborted transactions"},
    {"no-commit", OPTION_FLAG, 0, NULL,
     "with --group: leave its offsets alone"},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts("leat consume TOPIC [OPTIONS]   prints records as they come; Ctrl-C "
         "ends\n\n"
         "  leat consume orders --from-beginning\n"
         "  leat consume orders --group billing\n"
         "  leat consume orders -p 0 -o 1200 -n 10 --json\n"
         "  leat consume orders -k -f print.timestamp=true -f "
         "key.separator=' | '");
}

/* "earliest", "latest" or a number from 0 on. */
static bool parse_start(const char *text, int64_t *out)
{
    char *end;

    if (strcmp(text, "earliest") == 0) {
        *out = CONSUME_EARLIEST;
        return true;
    }
    if (strcmp(text, "latest") == 0) {
        *out = CONSUME_LATEST;
        return true;
    }
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *out >= 0;
}

static bool read_format(const struct options *o, struct record_format *f,
                        struct arena *a)
{
    const char *text;

    f->key = options_has(o, "keys");
    for (size_t i = 0; (text = options_each(o, "format", i)) != NULL; i++) {
        const char *equals = strchr(text, '=');
        if (equals == NULL)
            return false;
        const char *key =
            arena_strdup(a, slice_of(text, (size_t)(equals - text)));
        if (!record_format_set(f, key, equals + 1))
            return false;
    }
    return true;
}

static int finish(struct session *s, const struct consume_job *job,
                  enum err error)
{
    const char *what =
        job->options.topic != NULL ? job->options.topic : job->options.pattern;
    const char *group = job->options.group;

    if (job->output_error == 0)
        return error == ERR_NONE
                   ? EXIT_OK
                   : ui_fail("cannot read %s: %s", what, client_why(s->client));
    if (group == NULL || !job->options.auto_commit)
        return ui_fail("cannot print the records of %s: standard output: %s",
                       what, strerror(job->output_error));
    return ui_fail("cannot print the records of %s: standard output: %s; group "
                   "%s gets those that were not printed again",
                   what, strerror(job->output_error), group);
}

static int run(struct session *s)
{
    const struct options *o = s->options;
    struct consume_job job = {
        .client = s->client,
        .options = CONSUMER_OPTIONS_INIT,
        .format = RECORD_FORMAT_INIT,
        .json = s->json,
        .max_messages = options_long(o, "max-messages", -1),
        .timeout_ms = options_long(o, "timeout-ms", -1),
    };

    job.options.topic = options_word(o, 0);
    job.options.pattern = options_text(o, "pattern", NULL);
    job.options.group = options_text(o, "group", NULL);
    job.options.partition = options_int(o, "partition", -1);
    job.options.read_committed = options_has(o, "read-committed");
    job.options.auto_commit = !options_has(o, "no-commit");
    if ((options_words(o) == 1) == (job.options.pattern != NULL))
        return ui_usage("consume", "give one topic to read, or --pattern");
    if (job.options.partition >= 0 && job.options.group != NULL)
        return ui_usage("consume", "a group chooses its partitions itself: "
                                   "--group and --partition exclude each "
                                   "other");
    if (options_has(o, "offset") && job.options.partition < 0)
        return ui_usage("consume", "--offset needs --partition");
    if (options_has(o, "from-beginning"))
        job.options.start = CONSUME_EARLIEST;
    if (!parse_start(options_text(o, "offset",
                                  options_has(o, "from-beginning") ? "earliest"
                                                                   : "latest"),
                     &job.options.start))
        return ui_usage("consume", "--offset is a number, earliest or latest");
    if (!read_format(o, &job.format, &s->arena))
        return ui_usage("consume", "--format is one of the listed "
                                   "properties, as KEY=VALUE");
    return finish(s, &job, consume_lines(&job));
}

int cmd_consume(int argc, char **argv)
{
    return session_run(option_specs, "consume", argc, argv, help, run);
}
