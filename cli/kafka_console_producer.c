/* kafka-console-producer: Kafka's flags and prompt (ConsoleProducer). */
#include "cli/commands.h"
#include "cli/kafka_compat.h"
#include "cli/kafka_properties.h"
#include "cli/lines.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    KAFKA_OPTIONS,
    {"batch-size", OPTION_INT, 0, "size",
     "Number of messages to send in a single batch if they are not being sent "
     "synchronously. (default: 16384)"},
    {"compression-codec", OPTION_OPTIONAL, 0, "compression-codec",
     "The compression codec: either 'none', 'gzip', 'snappy', 'lz4', or "
     "'zstd'. If specified without value, then it defaults to 'gzip'"},
    {"line-reader", OPTION_VALUE, 0, "reader_class",
     "The class name of the class to use for reading lines from standard in."},
    {"max-block-ms", OPTION_LONG, 0, "ms",
     "The max time that the producer will block for during a send request. "
     "(default: 60000)"},
    {"max-memory-bytes", OPTION_LONG, 0, NULL, NULL},
    {"max-partition-memory-bytes", OPTION_INT, 0, "bytes",
     "The buffer size allocated for a partition. (default: 16384)"},
    {"message-send-max-retries", OPTION_INT, 0, NULL, NULL},
    {"metadata-expiry-ms", OPTION_LONG, 0, NULL, NULL},
    {"producer-property", OPTION_LIST, 0, "producer_prop",
     "A mechanism to pass user-defined properties in the form key=value to "
     "the producer."},
    {"command-property", OPTION_LIST, 0, NULL, NULL},
    {"producer.config", OPTION_VALUE, 0, "config file",
     "Producer config properties file."},
    {"property", OPTION_LIST, 0, "prop",
     "A mechanism to pass user-defined properties in the form key=value to "
     "the message reader: parse.key=false, parse.headers=false, "
     "ignore.error=false, key.separator=\\t, headers.delimiter=\\t, "
     "headers.separator=, headers.key.separator=: null.marker="},
    {"reader-property", OPTION_LIST, 0, "prop", "The same as --property."},
    {"reader-config", OPTION_VALUE, 0, "config file",
     "Config properties file for the message reader."},
    {"request-required-acks", OPTION_VALUE, 0, "request required acks",
     "The required `acks` of the producer requests (default: -1)"},
    {"request-timeout-ms", OPTION_INT, 0, "request timeout ms",
     "The ack timeout of the producer requests. (default: 1500)", 0, INT32_MAX},
    {"retry-backoff-ms", OPTION_LONG, 0, NULL, NULL},
    {"socket-buffer-size", OPTION_INT, 0, NULL, NULL},
    {"sync", OPTION_FLAG, 0, NULL,
     "If set message send requests to the brokers are synchronously, one at a "
     "time as they arrive."},
    {"timeout", OPTION_LONG, 0, NULL, NULL},
    {"topic", OPTION_VALUE, 0, "topic",
     "REQUIRED: The topic name to produce messages to."},
    {0}};

static const struct kafka_tool tool = {
    "kafka-console-producer",
    "This tool helps to read data from standard input and publish it to "
    "Kafka.",
    option_specs};

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

/* Properties of the producer that mean something to us. */
static char *read_producer(const struct options *o,
                           const struct kafka_properties *p,
                           struct produce_job *job)
{
    const char *acks = kafka_property(p, "acks", "-1");
    const char *codec = kafka_property(p, "compression.type", "none");

    acks = options_text(o, "request-required-acks", acks);
    if (!parse_acks(acks, &job->options.acks))
        return xasprintf("Invalid value %s for configuration acks: String must "
                         "be one of: all, -1, 0, 1",
                         acks);
    if (options_has(o, "compression-codec"))
        codec = options_text(o, "compression-codec", "gzip");
    if (!parse_compression(codec, &job->options.compression))
        return xasprintf("Unknown compression name: %s", codec);
    int32_t bytes = 16384;
    char *why = kafka_property_int(p, "batch.size", 0, &bytes);
    if (why != NULL)
        return why;
    bytes = options_int(o, "batch-size", bytes);
    bytes = options_int(o, "max-partition-memory-bytes", bytes);
    job->options.batch_bytes = bytes < 1 ? 1 : (size_t)bytes;
    job->options.request_timeout_ms =
        options_int(o, "request-timeout-ms", 30000);
    const char *protocol = kafka_property(p, "security.protocol", "PLAINTEXT");
    if (strcmp(protocol, "PLAINTEXT") != 0)
        return xasprintf("security.protocol=%s: this tool speaks PLAINTEXT "
                         "only",
                         protocol);
    return NULL;
}

/* Properties of the line reader; one that is not known is let pass, as a
 * reader of one's own might know it. */
static char *read_format(const struct kafka_properties *p,
                         struct line_format *f)
{
    for (size_t i = 0; i < p->len; i++)
        line_format_set(f, p->items[i].key, p->items[i].value);
    const char *fault = line_format_check(f);

    return fault != NULL ? xstrdup(fault) : NULL;
}

static int run(const struct options *o)
{
    struct kafka_properties producer = {0};
    struct kafka_properties reader = {0};
    struct produce_job job = {
        .topic = options_text(o, "topic", NULL),
        .partition = -1,
        .key = SLICE_NULL,
        .format = LINE_FORMAT_INIT,
        .options = PRODUCER_OPTIONS_INIT,
        .sync = options_has(o, "sync"),
        .prompt = true,
    };
    char *why = kafka_properties_read(
        &producer, o, "producer.config",
        (const char *[]){"producer-property", "command-property", NULL});
    if (why == NULL)
        why = kafka_properties_read(
            &reader, o, "reader-config",
            (const char *[]){"property", "reader-property", NULL});
    if (why == NULL)
        why = read_producer(o, &producer, &job);
    if (why == NULL)
        why = read_format(&reader, &job.format);
    int code = EXIT_FAILED;
    if (why == NULL) {
        job.client = kafka_open(
            o, kafka_property(&producer, "client.id", "console-producer"),
            KAFKA_TIMEOUT_MS);
        if (job.client != NULL && produce_lines(&job, &why) == ERR_NONE)
            code = EXIT_OK;
        if (job.client != NULL)
            client_free(job.client);
    }
    if (why != NULL)
        fprintf(stderr, "%s\n", why);
    free(why);
    kafka_properties_free(&producer);
    kafka_properties_free(&reader);
    return code;
}

int kafka_console_producer(int argc, char **argv)
{
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);

    if (o == NULL)
        return code;
    if (!options_has(o, "topic"))
        code = kafka_usage(&tool, "Missing required argument \"[topic]\"");
    else if (!kafka_has_bootstrap(o))
        code = kafka_usage(&tool,
                           "Missing required argument \"[bootstrap-server]\"");
    else if (options_has(o, "line-reader"))
        code = kafka_usage(&tool, "--line-reader: Java classes cannot be "
                                  "loaded; --property sets how lines are "
                                  "read");
    else
        code = run(o);
    options_free(o);
    return code;
}
