/* kafka-console-consumer: Kafka's flags, lines and closing line
 * (ConsoleConsumer, DefaultMessageFormatter).  Without --group Kafka's tool
 * makes a group of its own that commits nothing; we read without one. */
#include "cli/commands.h"
#include "cli/kafka_compat.h"
#include "cli/kafka_properties.h"
#include "cli/lines.h"

#include <stdlib.h>
#include <strings.h>

static const struct option_spec option_specs[] = {
    KAFKA_OPTIONS,
    {"consumer-property", OPTION_LIST, 0, "consumer_prop",
     "A mechanism to pass user-defined properties in the form key=value to "
     "the consumer."},
    {"command-property", OPTION_LIST, 0, NULL, NULL},
    {"consumer.config", OPTION_VALUE, 0, "config file",
     "Consumer config properties file."},
    {"enable-systest-events", OPTION_FLAG, 0, NULL, NULL},
    {"formatter", OPTION_VALUE, 0, "class",
     "The name of a class to use for formatting kafka messages for display: "
     "the default one."},
    {"formatter-config", OPTION_VALUE, 0, "config file",
     "Config properties file to initialize the message formatter."},
    {"formatter-property", OPTION_LIST, 0, "prop", "The same as --property."},
    {"from-beginning", OPTION_FLAG, 0, NULL,
     "If the consumer does not already have an established offset to consume "
     "from, start with the earliest message present in the log rather than "
     "the latest message."},
    {"group", OPTION_VALUE, 0, "consumer group id",
     "The consumer group id of the consumer."},
    {"include", OPTION_VALUE, 0, "Java regex (String)",
     "Regular expression specifying list of topics to include for "
     "consumption."},
    {"whitelist", OPTION_VALUE, 0, NULL, NULL},
    {"isolation-level", OPTION_VALUE, 0, "String",
     "Set to read_committed in order to filter out transactional messages "
     "which are not committed. (default: read_uncommitted)"},
    {"key-deserializer", OPTION_VALUE, 0, NULL, NULL},
    {"value-deserializer", OPTION_VALUE, 0, NULL, NULL},
    {"max-messages", OPTION_INT, 0, "num_messages",
     "The maximum number of messages to consume before exiting. If not set, "
     "consumption is continual."},
    {"offset", OPTION_VALUE, 0, "consume offset",
     "The offset to consume from (a non-negative number), or 'earliest' which "
     "means from beginning, or 'latest' which means from end (default: "
     "latest)"},
    {"partition", OPTION_INT, 0, "partition",
     "The partition to consume from. Consumption starts from the end of the "
     "partition unless '--offset' is specified.",
     0, INT32_MAX},
    {"property", OPTION_LIST, 0, "prop",
     "The properties to initialize the message formatter: print.timestamp, "
     "print.key, print.offset, print.epoch, print.partition, print.headers, "
     "print.value = true|false; key.separator, line.separator, "
     "headers.separator, null.literal = text"},
    {"skip-message-on-error", OPTION_FLAG, 0, NULL,
     "If there is an error when processing a message, skip it instead of "
     "halt."},
    {"timeout-ms", OPTION_LONG, 0, "timeout_ms",
     "If specified, exit if no message is available for consumption for the "
     "specified interval."},
    {"topic", OPTION_VALUE, 0, "topic", "The topic to consume on."},
    {0}};

static const struct kafka_tool tool = {
    "kafka-console-consumer",
    "This tool helps to read data from Kafka topics and outputs it to standard "
    "output.",
    option_specs};

/* ---- reading the options
 * ------------------------------------------------------------------- */

static int read_start(const struct options *o, struct consume_job *job)
{
    const char *text = options_text(o, "offset", NULL);
    char *end;

    job->options.start =
        options_has(o, "from-beginning") ? CONSUME_EARLIEST : CONSUME_LATEST;
    if (text == NULL)
        return EXIT_OK;
    if (strcasecmp(text, "earliest") == 0) {
        job->options.start = CONSUME_EARLIEST;
    } else if (strcasecmp(text, "latest") == 0) {
        job->options.start = CONSUME_LATEST;
    } else {
        job->options.start = strtoll(text, &end, 10);
        if (end == text || *end != '\0' || job->options.start < 0)
            return kafka_usage(&tool,
                               "The provided offset value '%s' is incorrect. "
                               "Valid values are 'earliest', 'latest', or a "
                               "non-negative long.",
                               text);
    }
    return EXIT_OK;
}

/* What the consumer's properties say and the options do not. */
static int read_consumer(const struct options *o,
                         const struct kafka_properties *p,
                         struct consume_job *job)
{
    const char *reset = kafka_property(p, "auto.offset.reset", NULL);
    const char *group = kafka_property(p, "group.id", NULL);
    const char *isolation =
        options_text(o, "isolation-level",
                     kafka_property(p, "isolation.level", "read_uncommitted"));
    const char *protocol = kafka_property(p, "security.protocol", "PLAINTEXT");

    if (strcmp(protocol, "PLAINTEXT") != 0)
        return kafka_usage(&tool,
                           "security.protocol=%s: this tool speaks PLAINTEXT "
                           "only",
                           protocol);
    if (reset != NULL && options_has(o, "from-beginning") &&
        strcmp(reset, "earliest") != 0) {
        fprintf(stderr,
                "Can't simultaneously specify --from-beginning and "
                "'auto.offset.reset=%s', please remove one option\n",
                reset);
        return EXIT_FAILED;
    }
    if (reset != NULL && strcmp(reset, "earliest") == 0 &&
        !options_has(o, "offset"))
        job->options.start = CONSUME_EARLIEST;
    job->options.group = options_text(o, "group", group);
    if (group != NULL && strcmp(group, job->options.group) != 0)
        return kafka_usage(
            &tool,
            "The group ids provided in different places (directly using "
            "'--group', via '--consumer-property', or via "
            "'--consumer.config') do not match. Detected group ids: '%s', "
            "'%s'",
            job->options.group, group);
    if (job->options.group != NULL && job->options.partition >= 0)
        return kafka_usage(&tool, "Options group and partition cannot be "
                                  "specified together.");
    job->options.group_instance_id =
        kafka_property(p, "group.instance.id", NULL);
    job->options.read_committed = strcmp(isolation, "read_committed") == 0;
    job->options.auto_commit =
        strcmp(kafka_property(p, "enable.auto.commit", "true"), "true") == 0;
    char *why = kafka_property_int(p, "session.timeout.ms", 0,
                                   &job->options.session_timeout_ms);
    int code = why == NULL ? EXIT_OK : kafka_usage(&tool, "%s", why);
    free(why);
    return code;
}

static int check(const struct options *o, struct consume_job *job)
{
    const char *formatter = options_text(o, "formatter", "");

    job->options.topic = options_text(o, "topic", NULL);
    job->options.pattern =
        options_text(o, "include", options_text(o, "whitelist", NULL));
    job->options.partition = options_int(o, "partition", -1);
    if ((job->options.topic != NULL) == (job->options.pattern != NULL))
        return kafka_usage(&tool,
                           "Exactly one of --include/--topic is required. ");
    if (job->options.partition >= 0) {
        if (job->options.topic == NULL)
            return kafka_usage(&tool, "The topic is required when partition "
                                      "is specified.");
        if (options_has(o, "from-beginning") && options_has(o, "offset"))
            return kafka_usage(&tool, "Options from-beginning and offset "
                                      "cannot be specified together.");
    } else if (options_has(o, "offset")) {
        return kafka_usage(
            &tool, "The partition is required when offset is specified.");
    }
    if (!kafka_has_bootstrap(o))
        return kafka_usage(&tool,
                           "Missing required argument \"[bootstrap-server]\"");
    if (*formatter != '\0' &&
        strstr(formatter, "DefaultMessageFormatter") == NULL)
        return kafka_usage(&tool,
                           "--formatter %s: Java classes cannot be loaded; "
                           "--property sets what the default formatter prints",
                           formatter);
    return read_start(o, job);
}

/* ---- running
 * --------------------------------------------------------------------------------
 */

static int consume(const struct options *o, const struct kafka_properties *p,
                   struct consume_job *job)
{
    job->client =
        kafka_open(o, kafka_property(p, "client.id", "console-consumer"),
                   KAFKA_TIMEOUT_MS);
    if (job->client == NULL)
        return EXIT_FAILED;
    enum err error = consume_lines(job);
    if (error != ERR_NONE)
        fprintf(stderr,
                "Error processing message, terminating consumer process: %s\n",
                client_why(job->client));
    if (job->output_error != 0)
        fprintf(stderr,
                "Unable to write to standard out, closing consumer: %s\n",
                strerror(job->output_error));
    if (job->timed_out)
        fputs("Error processing message, terminating consumer process: \n"
              "org.apache.kafka.common.errors.TimeoutException\n",
              stderr);
    fprintf(stderr, "Processed a total of %lld messages\n",
            (long long)job->consumed);
    client_free(job->client);
    return EXIT_OK; /* Kafka's tool ends so even then */
}

static int run(const struct options *o)
{
    struct kafka_properties consumer = {0};
    struct kafka_properties formatter = {0};
    struct consume_job job = {
        .options = CONSUMER_OPTIONS_INIT,
        .format = RECORD_FORMAT_INIT,
        .max_messages = options_int(o, "max-messages", -1),
        .timeout_ms = options_long(o, "timeout-ms", -1),
    };
    int code = check(o, &job);
    char *why = NULL;

    if (code == EXIT_OK)
        why = kafka_properties_read(
            &consumer, o, "consumer.config",
            (const char *[]){"consumer-property", "command-property", NULL});
    if (code == EXIT_OK && why == NULL)
        why = kafka_properties_read(
            &formatter, o, "formatter-config",
            (const char *[]){"property", "formatter-property", NULL});
    if (why != NULL) {
        code = kafka_usage(&tool, "%s", why);
        free(why);
    } else if (code == EXIT_OK) {
        for (size_t i = 0; i < formatter.len; i++)
            record_format_set(&job.format, formatter.items[i].key,
                              formatter.items[i].value);
        code = read_consumer(o, &consumer, &job);
        if (code == EXIT_OK)
            code = consume(o, &consumer, &job);
    }
    kafka_properties_free(&consumer);
    kafka_properties_free(&formatter);
    return code;
}

int kafka_console_consumer(int argc, char **argv)
{
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);

    if (o == NULL)
        return code;
    code = run(o);
    options_free(o);
    return code;
}
