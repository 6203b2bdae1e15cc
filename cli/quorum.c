/* leat quorum, and kafka-metadata-quorum. */
#include "cli/admin_quorum.h"
#include "cli/commands.h"
#include "cli/kafka_compat.h"
#include "cli/net.h"

#include <stdlib.h>

/* ---- what both print
 * ----------------------------------------------------------------------- */

static void table_heading(struct table *t)
{
    static const char *const headings[] = {
        "NodeId", "DirectoryId",        "LogEndOffset",
        "Lag",    "LastFetchTimestamp", "LastCaughtUpTimestamp",
        "Status"};

    table_init(t, "nsnnsss");
    for (size_t i = 0; i < sizeof headings / sizeof *headings; i++)
        table_add(t, "%s", headings[i]);
}

static void add_time(struct table *t, int64_t ms, bool human)
{
    if (human && ms >= 0)
        table_add(t, "%lld ms ago", (long long)(net_wall_ms() - ms));
    else
        table_add(t, "%lld", (long long)ms);
}

static void add_replica(struct table *t, const struct quorum_view *view,
                        const struct quorum_replica *r, const char *status,
                        bool human)
{
    char id[UUID_TEXT_SIZE];
    int64_t end =
        view->lead != NULL ? view->lead->end_offset : view->high_watermark;

    table_add(t, "%d", r->id);
    table_add(t, "%s", uuid_format(r->directory_id, id));
    table_add(t, "%lld", (long long)r->end_offset);
    table_add(t, "%lld", (long long)(end - r->end_offset));
    add_time(t, r->last_fetch_ms, human);
    add_time(t, r->last_caught_up_ms, human);
    table_add(t, "%s", status);
}

/* The leader first, as Kafka's tool has it. */
static void add_all(struct table *t, const struct quorum_view *view, bool human)
{
    if (view->lead != NULL)
        add_replica(t, view, view->lead, "Leader", human);
    for (int32_t i = 0; i < view->voters_len; i++)
        if (&view->voters[i] != view->lead)
            add_replica(t, view, &view->voters[i], "Follower", human);
    for (int32_t i = 0; i < view->observers_len; i++)
        add_replica(t, view, &view->observers[i], "Observer", human);
}

/* [{"id": 1, "directoryId": "...", "endpoints": ["CONTROLLER://h:1"]}] */
static void print_replicas(const char *heading,
                           const struct quorum_replica *list, int32_t len)
{
    char id[UUID_TEXT_SIZE];

    printf("%s[", heading);
    for (int32_t i = 0; i < len; i++) {
        const struct describe_quorum_response_node *n = list[i].node;
        printf("%s{\"id\": %d", i == 0 ? "" : ", ", list[i].id);
        if (!uuid_is_zero(list[i].directory_id))
            printf(", \"directoryId\": \"%s\"",
                   uuid_format(list[i].directory_id, id));
        for (int32_t k = 0; n != NULL && k < n->listeners_len; k++)
            printf("%s\"%.*s://%.*s:%u\"%s",
                   k == 0 ? ", \"endpoints\": [" : ", ",
                   SLICE_FMT(n->listeners[k].name),
                   SLICE_FMT(n->listeners[k].host), n->listeners[k].port,
                   k + 1 == n->listeners_len ? "]" : "");
        putchar('}');
    }
    puts("]");
}

static void print_status(const struct client *c, const struct quorum_view *v)
{
    printf("ClusterId:              %s\n", client_cluster_id(c));
    printf("LeaderId:               %d\n", v->leader);
    printf("LeaderEpoch:            %d\n", v->epoch);
    printf("HighWatermark:          %lld\n", (long long)v->high_watermark);
    printf("MaxFollowerLag:         %lld\n", (long long)v->max_lag);
    printf("MaxFollowerLagTimeMs:   %lld\n", (long long)v->max_lag_time_ms);
    print_replicas("CurrentVoters:          ", v->voters, v->voters_len);
    print_replicas("CurrentObservers:       ", v->observers, v->observers_len);
}

/* ---- leat quorum
 * ------------------------------------------------------------------------------
 */

static const struct option_spec option_specs[] = {
    {"status", OPTION_FLAG, 0, NULL, "a summary"},
    {"replication", OPTION_FLAG, 0, NULL, "a line per controller and broker"},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts("leat quorum [describe] [--status|--replication]   the controllers "
         "and who follows them\n\n"
         "  leat quorum\n"
         "  leat quorum --replication --json");
}

static json_t *status_json(const struct client *c, const struct quorum_view *v)
{
    json_t *o = json_object();
    json_t *voters = json_array();

    json_object_set_new(o, "cluster_id", json_string(client_cluster_id(c)));
    json_object_set_new(o, "leader", json_integer(v->leader));
    json_object_set_new(o, "epoch", json_integer(v->epoch));
    json_object_set_new(o, "high_watermark", json_integer(v->high_watermark));
    json_object_set_new(o, "max_follower_lag", json_integer(v->max_lag));
    for (int32_t i = 0; i < v->voters_len; i++)
        json_array_append_new(voters, json_integer(v->voters[i].id));
    json_object_set_new(o, "voters", voters);
    return o;
}

static int run(struct session *s)
{
    struct quorum_view view;
    struct table t;
    const char *verb = options_word(s->options, 0);

    if (verb != NULL && strcmp(verb, "describe") != 0)
        return ui_usage("quorum", "the only thing to do is: describe");
    if (admin_quorum(s->client, &s->arena, &view) != ERR_NONE)
        return ui_fail("cannot describe the quorum: %s", client_why(s->client));
    if (!options_has(s->options, "replication")) {
        if (s->json)
            json_print(status_json(s->client, &view), stdout);
        else
            print_status(s->client, &view);
        return EXIT_OK;
    }
    table_heading(&t);
    add_all(&t, &view, !s->json);
    if (s->json)
        json_print(table_json(&t), stdout);
    else
        table_print(&t, stdout, 2);
    table_free(&t);
    return EXIT_OK;
}

int cmd_quorum(int argc, char **argv)
{
    return session_run(option_specs, "quorum", argc, argv, help, run);
}

/* ---- kafka-metadata-quorum
 * ----------------------------------------------------------------------- */

static const struct option_spec kafka_specs[] = {
    KAFKA_OPTIONS,
    {"status", OPTION_FLAG, 0, NULL, "A short summary of the quorum status."},
    {"replication", OPTION_FLAG, 0, NULL,
     "Detailed information about the status of replication"},
    {"human-readable", OPTION_FLAG, 0, NULL, "Human-readable output"},
    {0}};

static const struct kafka_tool kafka_tool_quorum = {
    "kafka-metadata-quorum",
    "This tool describes kraft metadata quorum status.", kafka_specs};

/* Kafka pads every column, the last too, and separates with a tab. */
static void print_kafka_table(const struct table *t)
{
    size_t widths[16] = {0};

    for (size_t i = 0; i < t->cells_len; i++) {
        size_t n = strlen(t->cells[i]);
        if (n > widths[i % t->columns])
            widths[i % t->columns] = n;
    }
    for (size_t i = 0; i < t->cells_len; i++)
        printf("%-*s%s", (int)widths[i % t->columns], t->cells[i],
               (i + 1) % t->columns == 0 ? "\t\n" : "\t");
}

static int describe_quorum(const struct options *o, struct client *c,
                           struct arena *a)
{
    bool human = options_has(o, "human-readable");
    struct quorum_view view;
    struct table t;

    if (admin_quorum(c, a, &view) != ERR_NONE) {
        fprintf(stderr, "%s\n", client_why(c));
        return EXIT_FAILED;
    }
    if (options_has(o, "status")) {
        print_status(c, &view);
        return EXIT_OK;
    }
    table_heading(&t);
    add_all(&t, &view, human);
    print_kafka_table(&t);
    table_free(&t);
    return EXIT_OK;
}

static const char *quorum_fault(const struct options *o)
{
    const char *verb = options_word(o, 0);

    if (!kafka_has_bootstrap(o))
        return "kafka-metadata-quorum: error: one of the arguments "
               "--bootstrap-server --bootstrap-controller is required";
    if (verb == NULL)
        return "kafka-metadata-quorum: error: too few arguments";
    if (strcmp(verb, "describe") != 0)
        return "kafka-metadata-quorum: error: the only command in this release "
               "is describe";
    if (options_has(o, "status") && options_has(o, "replication"))
        return "Only one of --status or --replication should be specified "
               "with describe sub-command";
    if (!options_has(o, "status") && !options_has(o, "replication"))
        return "One of --status or --replication must be specified with "
               "describe sub-command";
    if (options_has(o, "status") && options_has(o, "human-readable"))
        return "The option --human-readable is only supported along with "
               "--replication";
    return NULL;
}

int kafka_metadata_quorum(int argc, char **argv)
{
    int code;
    struct options *o = kafka_parse(&kafka_tool_quorum, argc, argv, &code);

    if (o == NULL)
        return code;
    const char *fault = quorum_fault(o);
    code = EXIT_FAILED;
    if (fault != NULL) {
        fprintf(stderr, "%s\n", fault);
    } else {
        struct client *c = kafka_open(o, "kafka-metadata-quorum");
        if (c != NULL) {
            struct arena arena;
            arena_init(&arena, CLIENT_ARENA_BYTES);
            code = describe_quorum(o, c, &arena);
            arena_free(&arena);
            client_free(c);
        }
    }
    options_free(o);
    return code;
}
