/* leat transactions */
#include "cli/commands.h"
#include "cli/net.h"
#include "cli/session.h"
#include "cli/transaction_tables.h"

static const struct option_spec option_specs[] = {
    {"id", OPTION_VALUE, 0, "ID", "describe, terminate: the transactional id"},
    {"topic", OPTION_VALUE, 't', "TOPIC",
     "producers, abort, find-hanging: a topic"},
    {"partition", OPTION_INT, 'p', "N", "and its partition", 0, INT32_MAX},
    {"broker", OPTION_INT, 0, "ID",
     "producers, find-hanging: ask this replica, not the leader", 0, INT32_MAX},
    {"start-offset", OPTION_LONG, 0, "OFFSET",
     "abort: the transaction that begins there", 0, INT64_MAX},
    {"producer-id", OPTION_LONG, 0, "ID",
     "abort: instead, with the two below (before Kafka 3.0)"},
    {"producer-epoch", OPTION_INT, 0, "EPOCH", "abort", 0, INT16_MAX},
    {"coordinator-epoch", OPTION_INT, 0, "EPOCH", "abort"},
    {"longer-than", OPTION_LONG, 0, "MS", "list: only what is open longer"},
    {"pattern", OPTION_VALUE, 0, "REGEX", "list: only ids that match"},
    {"max-timeout", OPTION_INT, 0, "MINUTES",
     "find-hanging: what has been written to since may still be ended (15)", 0,
     INT32_MAX},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts(
        "leat transactions [list]                   ids and their state\n"
        "leat transactions describe ID              one, and its partitions\n"
        "leat transactions producers                what a partition knows of "
        "its producers\n"
        "leat transactions find-hanging             open ones that nobody will "
        "end\n"
        "leat transactions abort                    writes the marker that is "
        "missing\n"
        "leat transactions terminate ID             fences the id's producer, "
        "aborts what is open\n\n"
        "  leat transactions list --longer-than 60000\n"
        "  leat transactions describe orders-1 --json\n"
        "  leat transactions producers --topic orders --partition 0\n"
        "  leat transactions find-hanging --topic orders\n"
        "  leat transactions abort --topic orders --partition 0 "
        "--start-offset 4711");
}

static int show(struct session *s, struct table *t)
{
    if (s->json)
        json_print(table_json(t), stdout);
    else
        table_print(t, stdout, 2);
    table_free(t);
    return EXIT_OK;
}

static int list(struct session *s)
{
    const char *pattern = options_text(s->options, "pattern", NULL);
    struct txn_filter filter = {
        .duration_ms = options_long(s->options, "longer-than", -1),
        .pattern = pattern != NULL ? slice_str(pattern) : SLICE_NULL,
    };
    struct txn_listing *found;
    struct table t;
    int32_t len;

    if (admin_transactions_list(s->client, &filter, &s->arena, &found, &len) !=
        ERR_NONE)
        return ui_fail("cannot list transactions: %s", client_why(s->client));
    transactions_table(&t, found, len);
    return show(s, &t);
}

/* Behind the verb, or with --id. */
static const char *id_of(const struct session *s)
{
    const char *word = options_word(s->options, 1);

    return word != NULL ? word : options_text(s->options, "id", NULL);
}

static int describe(struct session *s)
{
    const char *id = id_of(s);
    struct txn_view view;
    struct table t;

    if (id == NULL)
        return ui_usage("transactions", "which transactional id?");
    if (admin_transaction_describe(s->client, slice_str(id), &s->arena,
                                   &view) != ERR_NONE)
        return ui_fail("cannot describe \"%s\": %s", id, client_why(s->client));
    transaction_table(&t, slice_str(id), &view, net_wall_ms(), "-");
    return show(s, &t);
}

static bool has_place(const struct session *s)
{
    return options_has(s->options, "topic") &&
           options_has(s->options, "partition");
}

static int producers(struct session *s)
{
    const char *topic = options_text(s->options, "topic", "");
    int32_t partition = options_int(s->options, "partition", -1);
    struct describe_producers_response_partition_response view;
    struct table t;

    if (!has_place(s))
        return ui_usage("transactions", "producers needs --topic and "
                                        "--partition");
    if (admin_producers(s->client, options_int(s->options, "broker", -1),
                        slice_str(topic), partition, &s->arena,
                        &view) != ERR_NONE)
        return ui_fail("cannot describe the producers of %s-%d: %s", topic,
                       (int)partition, client_why(s->client));
    producers_table(&t, &view, "-");
    return show(s, &t);
}

static int find_hanging(struct session *s)
{
    const char *topic = options_text(s->options, "topic", NULL);
    struct txn_search search = {
        .broker = options_int(s->options, "broker", -1),
        .topic = topic != NULL ? slice_str(topic) : SLICE_NULL,
        .partition = options_int(s->options, "partition", -1),
        .idle_ms = options_int(s->options, "max-timeout", 15) * 60000LL,
        .now_ms = net_wall_ms(),
    };
    struct txn_place *found;
    struct table t;
    int32_t len;

    if (search.partition >= 0 && topic == NULL)
        return ui_usage("transactions", "--partition needs --topic");
    if (admin_transactions_hanging(s->client, &search, &s->arena, &found,
                                   &len) != ERR_NONE)
        return ui_fail("cannot look for hanging transactions: %s",
                       client_why(s->client));
    hanging_table(&t, found, len, search.now_ms);
    return show(s, &t);
}

/* False after a complaint; *code is the exit code then. */
static bool choose(struct session *s, struct txn_place *place, int *code)
{
    const struct options *o = s->options;
    const char *topic = options_text(o, "topic", "");
    int32_t partition = options_int(o, "partition", -1);
    int64_t start = options_long(o, "start-offset", -1);
    int32_t epoch = options_int(o, "coordinator-epoch", 0);
    bool found;

    if (start < 0) {
        *place = (struct txn_place){.topic = slice_str(topic),
                                    .partition = partition};
        place->producer.producer_id = options_long(o, "producer-id", -1);
        place->producer.producer_epoch = options_int(o, "producer-epoch", -1);
        place->producer.coordinator_epoch = epoch < 0 ? 0 : epoch;
        return true;
    }
    if (admin_transaction_at(s->client, slice_str(topic), partition, start,
                             &s->arena, place, &found) != ERR_NONE)
        *code = ui_fail("cannot describe the producers of %s-%d: %s", topic,
                        (int)partition, client_why(s->client));
    else if (!found)
        *code = ui_fail("no open transaction of %s-%d begins at offset %lld",
                        topic, (int)partition, (long long)start);
    else
        return true;
    return false;
}

static int abort_one(struct session *s)
{
    const struct options *o = s->options;
    struct txn_place place;
    int code = EXIT_FAILED;

    if (!has_place(s))
        return ui_usage("transactions", "abort needs --topic and --partition");
    if (!options_has(o, "start-offset") &&
        (!options_has(o, "producer-id") || !options_has(o, "producer-epoch") ||
         !options_has(o, "coordinator-epoch")))
        return ui_usage("transactions",
                        "abort needs --start-offset, or --producer-id with "
                        "--producer-epoch and --coordinator-epoch");
    if (!choose(s, &place, &code))
        return code;
    if (admin_transaction_abort(s->client, &s->arena, &place) != ERR_NONE)
        return ui_fail("cannot abort the transaction of producer %lld in "
                       "%.*s-%d: %s",
                       (long long)place.producer.producer_id,
                       SLICE_FMT(place.topic), (int)place.partition,
                       client_why(s->client));
    printf("Aborted the transaction of producer %lld in %.*s-%d.\n",
           (long long)place.producer.producer_id, SLICE_FMT(place.topic),
           (int)place.partition);
    return EXIT_OK;
}

static int terminate(struct session *s)
{
    const char *id = id_of(s);

    if (id == NULL)
        return ui_usage("transactions", "which transactional id?");
    if (admin_transaction_terminate(s->client, slice_str(id), &s->arena) !=
        ERR_NONE)
        return ui_fail("cannot terminate \"%s\": %s", id,
                       client_why(s->client));
    printf("%s has nothing open, and its producer is fenced.\n", id);
    return EXIT_OK;
}

static int run(struct session *s)
{
    static const struct {
        const char *name;
        int (*run)(struct session *s);
    } verbs[] = {
        {"list", list},           {"describe", describe},
        {"producers", producers}, {"find-hanging", find_hanging},
        {"abort", abort_one},     {"terminate", terminate},
    };
    const char *verb = options_word(s->options, 0);

    if (verb == NULL)
        return list(s);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].run(s);
    return ui_usage("transactions",
                    "what to do is one of: list, describe, producers, "
                    "find-hanging, abort, terminate");
}

int cmd_transactions(int argc, char **argv)
{
    return session_run(option_specs, "transactions", argc, argv, help, run);
}
