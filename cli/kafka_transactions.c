/* kafka-transactions (TransactionsCommand). */
#include "cli/commands.h"
#include "cli/kafka_compat.h"
#include "cli/net.h"
#include "cli/transaction_tables.h"

static const struct option_spec option_specs[] = {
    {"bootstrap-server", OPTION_VALUE, 0, "host:port",
     "hostname and port for the broker to connect to"},
    {"command-config", OPTION_VALUE, 0, "FILE",
     "property file containing configs to be passed to admin client"},
    {"topic", OPTION_VALUE, 0, "TOPIC", "topic name"},
    {"partition", OPTION_INT, 0, "PARTITION", "partition number", 0, INT32_MAX},
    {"start-offset", OPTION_LONG, 0, "OFFSET",
     "abort: start offset of the transaction to abort"},
    {"producer-id", OPTION_LONG, 0, "ID", "abort, for older brokers"},
    {"producer-epoch", OPTION_INT, 0, "EPOCH", "abort, for older brokers",
     INT16_MIN, INT16_MAX},
    {"coordinator-epoch", OPTION_INT, 0, "EPOCH", "abort, for older brokers"},
    {"broker-id", OPTION_INT, 0, "ID",
     "describe-producers, find-hanging: a specific replica", 0, INT32_MAX},
    {"transactional-id", OPTION_VALUE, 0, "ID", "describe: transactional id"},
    {"transactionalId", OPTION_VALUE, 0, "ID",
     "forceTerminateTransaction: transactional id"},
    {"duration-filter", OPTION_LONG, 0, "MS",
     "list: only transactions running longer than this duration"},
    {"transactional-id-pattern", OPTION_VALUE, 0, "REGEX",
     "list: transactional id regular expression pattern to filter by"},
    {"max-transaction-timeout", OPTION_INT, 0, "MINUTES",
     "find-hanging: maximum transaction timeout in minutes to limit the scope "
     "of the search (15 minutes by default)"},
    {"help", OPTION_FLAG, 'h', NULL, "show this help message and exit"},
    {"version", OPTION_FLAG, 'v', NULL,
     "show the version of this Kafka distribution and exit"},
    {0}};

static const struct kafka_tool tool = {
    "kafka-transactions",
    "This tool is used to analyze the transactional state of producers in the "
    "cluster. It can be used to detect and recover from hanging "
    "transactions.\n"
    "Commands: list, describe, describe-producers, abort, find-hanging, "
    "forceTerminateTransaction",
    option_specs};

struct call {
    const struct options *o;
    struct client *c;
    struct arena *a;
};

static int print(struct table *t)
{
    kafka_print_table(t);
    table_free(t);
    return EXIT_OK;
}

/* Kafka's sentence, with the reason behind it. */
static int failed(const struct call *call, const char *what)
{
    fprintf(stderr, "%s: %s.\n", what, client_why(call->c));
    return EXIT_FAILED;
}

static int missing(const char *option)
{
    return kafka_usage(&tool, "argument --%s is required", option);
}

static int list(const struct call *call)
{
    const char *pattern =
        options_text(call->o, "transactional-id-pattern", NULL);
    struct txn_filter filter = {
        .duration_ms = options_long(call->o, "duration-filter", -1),
        .pattern = pattern != NULL ? slice_str(pattern) : SLICE_NULL,
    };
    struct txn_listing *found;
    struct table t;
    int32_t len;

    if (filter.duration_ms < 0)
        filter.duration_ms = -1;
    if (admin_transactions_list(call->c, &filter, call->a, &found, &len) !=
        ERR_NONE)
        return failed(call, "Failed to list transactions");
    transactions_table(&t, found, len);
    return print(&t);
}

static int describe(const struct call *call)
{
    const char *id = options_text(call->o, "transactional-id", NULL);
    struct txn_view view;
    struct table t;

    if (id == NULL)
        return missing("transactional-id");
    if (admin_transaction_describe(call->c, slice_str(id), call->a, &view) !=
        ERR_NONE) {
        fprintf(stderr,
                "Failed to describe transaction state of transactional-id "
                "`%s`: %s.\n",
                id, client_why(call->c));
        return EXIT_FAILED;
    }
    transaction_table(&t, slice_str(id), &view, net_wall_ms(), "None");
    return print(&t);
}

/* The exit code of a complaint; EXIT_OK: both are there. */
static int check_place(const struct call *call)
{
    if (!options_has(call->o, "topic"))
        return missing("topic");
    return options_has(call->o, "partition") ? EXIT_OK : missing("partition");
}

static int describe_producers(const struct call *call)
{
    const char *topic = options_text(call->o, "topic", "");
    int32_t partition = options_int(call->o, "partition", -1);
    int32_t broker = options_int(call->o, "broker-id", -1);
    struct describe_producers_response_partition_response view;
    struct table t;

    if (check_place(call) != EXIT_OK)
        return EXIT_FAILED;
    if (admin_producers(call->c, broker, slice_str(topic), partition, call->a,
                        &view) != ERR_NONE) {
        fprintf(stderr, "Failed to describe producers for partition %s-%d on ",
                topic, (int)partition);
        if (broker >= 0)
            fprintf(stderr, "broker %d: %s.\n", (int)broker,
                    client_why(call->c));
        else
            fprintf(stderr, "leader: %s.\n", client_why(call->c));
        return EXIT_FAILED;
    }
    producers_table(&t, &view, "None");
    return print(&t);
}

static int find_hanging(const struct call *call)
{
    const char *topic = options_text(call->o, "topic", NULL);
    struct txn_search search = {
        .broker = options_int(call->o, "broker-id", -1),
        .topic = topic != NULL ? slice_str(topic) : SLICE_NULL,
        .partition = options_int(call->o, "partition", -1),
        .idle_ms =
            options_int(call->o, "max-transaction-timeout", 15) * 60000LL,
        .now_ms = net_wall_ms(),
    };
    struct txn_place *found;
    struct table t;
    int32_t len;

    if (topic == NULL && search.broker < 0) {
        fputs("The `find-hanging` command requires either --topic or "
              "--broker-id to limit the scope of the search\n",
              stderr);
        return EXIT_FAILED;
    }
    if (topic == NULL && search.partition >= 0) {
        fputs("The --partition argument requires --topic to be provided\n",
              stderr);
        return EXIT_FAILED;
    }
    if (admin_transactions_hanging(call->c, &search, call->a, &found, &len) !=
        ERR_NONE)
        return failed(call, "Failed to find hanging transactions");
    hanging_table(&t, found, len, search.now_ms);
    return print(&t);
}

/* ---- abort --------------------------------------------------------------- */

/* All that old brokers can be told. */
static bool by_producer(const struct call *call, struct txn_place *place)
{
    static const char *const needed[] = {"producer-epoch", "coordinator-epoch"};
    int32_t epoch = options_int(call->o, "coordinator-epoch", 0);

    for (size_t i = 0; i < 2; i++)
        if (!options_has(call->o, needed[i])) {
            fprintf(stderr, "Missing required argument --%s\n", needed[i]);
            return false;
        }
    place->producer.producer_id = options_long(call->o, "producer-id", -1);
    place->producer.producer_epoch = options_int(call->o, "producer-epoch", -1);
    /* A producer that never ended a transaction has -1. */
    place->producer.coordinator_epoch = epoch < 0 ? 0 : epoch;
    return true;
}

static bool by_offset(const struct call *call, struct txn_place *place)
{
    int64_t start = options_long(call->o, "start-offset", -1);
    struct slice topic = place->topic;
    int32_t partition = place->partition;
    bool found;

    if (admin_transaction_at(call->c, topic, partition, start, call->a, place,
                             &found) != ERR_NONE) {
        fprintf(stderr,
                "Failed to validate producer state for partition %.*s-%d: "
                "%s.\n",
                SLICE_FMT(topic), (int)partition, client_why(call->c));
        return false;
    }
    if (!found)
        fprintf(stderr,
                "Could not find any open transactions starting at offset %lld "
                "on partition %.*s-%d\n",
                (long long)start, SLICE_FMT(topic), (int)partition);
    if (place->producer.coordinator_epoch < 0)
        place->producer.coordinator_epoch = 0;
    return found;
}

static int abort_one(const struct call *call)
{
    struct txn_place place = {
        .topic = slice_str(options_text(call->o, "topic", "")),
        .partition = options_int(call->o, "partition", -1)};

    if (check_place(call) != EXIT_OK)
        return EXIT_FAILED;
    if (!options_has(call->o, "start-offset") &&
        !options_has(call->o, "producer-id")) {
        fputs("The transaction to abort must be identified either with "
              "--start-offset (for brokers on 3.0 or above) or with "
              "--producer-id, --producer-epoch, and --coordinator-epoch (for "
              "older brokers)\n",
              stderr);
        return EXIT_FAILED;
    }
    if (!(options_has(call->o, "start-offset") ? by_offset(call, &place)
                                               : by_producer(call, &place)))
        return EXIT_FAILED;
    if (admin_transaction_abort(call->c, call->a, &place) == ERR_NONE)
        return EXIT_OK;
    fprintf(stderr,
            "Failed to abort transaction AbortTransactionSpec("
            "topicPartition=%.*s-%d, producerId=%lld, producerEpoch=%d, "
            "coordinatorEpoch=%d): %s.\n",
            SLICE_FMT(place.topic), (int)place.partition,
            (long long)place.producer.producer_id,
            (int)place.producer.producer_epoch,
            (int)place.producer.coordinator_epoch, client_why(call->c));
    return EXIT_FAILED;
}

static int terminate(const struct call *call)
{
    const char *id = options_text(call->o, "transactionalId", NULL);

    if (id == NULL)
        return missing("transactionalId");
    if (admin_transaction_terminate(call->c, slice_str(id), call->a) ==
        ERR_NONE)
        return EXIT_OK;
    fprintf(stderr, "Failed to force terminate transactionalId `%s`: %s.\n", id,
            client_why(call->c));
    return EXIT_FAILED;
}

/* ---- commands ------------------------------------------------------------ */

static const struct command {
    const char *name;
    int (*run)(const struct call *call);
} commands[] = {
    {"list", list},
    {"describe", describe},
    {"describe-producers", describe_producers},
    {"abort", abort_one},
    {"find-hanging", find_hanging},
    {"forceTerminateTransaction", terminate},
};

static const struct command *find(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof commands / sizeof *commands;
         i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int kafka_transactions(int argc, char **argv)
{
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);
    struct arena arena;

    if (o == NULL)
        return code;
    code = EXIT_FAILED;
    const struct command *command = find(options_word(o, 0));
    struct call call = {o, NULL, &arena};
    arena_init(&arena, CLIENT_ARENA_BYTES);
    if (!options_has(o, "bootstrap-server"))
        missing("bootstrap-server");
    else if (command == NULL)
        kafka_usage(&tool, options_words(o) == 0 ? "too few arguments"
                                                 : "invalid choice");
    else
        call.c = kafka_open(o, "transactions-tool", KAFKA_TIMEOUT_MS);
    if (call.c != NULL) {
        code = command->run(&call);
        client_free(call.c);
    }
    arena_free(&arena);
    options_free(o);
    return code;
}
