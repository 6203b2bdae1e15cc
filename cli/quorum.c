/* leat quorum, and kafka-metadata-quorum. */
#include "cli/admin_quorum.h"
#include "cli/commands.h"
#include "cli/kafka_compat.h"
#include "cli/net.h"
#include "cli/storage_files.h"

#include <stdlib.h>

/* ---- what both print ----------------------------------------------------- */

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

/* ---- leat quorum --------------------------------------------------------- */

static const struct option_spec option_specs[] = {
    {"status", OPTION_FLAG, 0, NULL, "a summary"},
    {"replication", OPTION_FLAG, 0, NULL, "a line per controller and broker"},
    {"config", OPTION_VALUE, 0, "FILE",
     "add-controller: the configuration file of the controller"},
    {"id", OPTION_INT, 0, "ID", "remove-controller: its node.id", 0, INT32_MAX},
    {"directory-id", OPTION_VALUE, 0, "ID",
     "remove-controller: its directory id, if another may have the same id"},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts("leat quorum [describe] [--status|--replication]   the controllers "
         "and who follows them\n"
         "leat quorum add-controller --config FILE           a controller that "
         "runs begins to vote\n"
         "leat quorum remove-controller --id ID              a controller "
         "ceases to vote\n\n"
         "  leat quorum\n"
         "  leat quorum --replication --json\n"
         "  leat quorum add-controller --config config/controller.properties\n"
         "  leat quorum remove-controller --id 3");
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

/* Who the configuration file describes; what it points to lives as long as
 * `config`. */
static enum err voter_of(const char *path, struct storage_config *config,
                         struct quorum_voter *voter, char **why)
{
    enum err error = storage_config_read(path, config, why);

    if (error != ERR_NONE)
        return error;
    if (!config->is_controller || config->controller_listener == NULL) {
        *why = xasprintf("%s does not describe a controller: process.roles "
                         "lacks controller, or no listener is named in "
                         "controller.listener.names",
                         path);
        return ERR_INVALID_REQUEST;
    }
    *voter = (struct quorum_voter){.id = config->node_id,
                                   .listener = config->controller_listener,
                                   .host = config->controller_host,
                                   .port = (uint16_t)config->controller_port};
    return storage_directory_id(config, &voter->directory_id, why);
}

static int add_controller(struct session *s)
{
    const char *path = options_text(s->options, "config", NULL);
    struct storage_config config = {0};
    struct quorum_voter v;
    char *why = NULL;
    int code = EXIT_OK;

    if (path == NULL)
        return ui_usage("quorum", "add-controller needs --config FILE, the "
                                  "configuration of the new controller");
    if (voter_of(path, &config, &v, &why) != ERR_NONE)
        code = ui_fail("%s", why);
    else if (admin_quorum_add(s->client, &s->arena, &v) != ERR_NONE)
        code = ui_fail("cannot add controller %d: %s", v.id,
                       client_why(s->client));
    else
        printf("Controller %d at %s:%u votes.\n", v.id, v.host, v.port);
    free(why);
    storage_config_free(&config);
    return code;
}

static int remove_controller(struct session *s)
{
    const char *directory = options_text(s->options, "directory-id", NULL);
    struct quorum_voter v = {.id = options_int(s->options, "id", -1)};
    struct quorum_view view;

    if (v.id < 0)
        return ui_usage("quorum", "remove-controller needs --id ID");
    if (directory != NULL && !uuid_parse(slice_str(directory), &v.directory_id))
        return ui_usage("quorum", "--directory-id %s is not a directory id",
                        directory);
    if (directory == NULL) {
        if (admin_quorum(s->client, &s->arena, &view) != ERR_NONE)
            return ui_fail("cannot describe the quorum: %s",
                           client_why(s->client));
        for (int32_t i = 0; i < view.voters_len; i++)
            if (view.voters[i].id == v.id)
                v.directory_id = view.voters[i].directory_id;
    }
    if (admin_quorum_remove(s->client, &s->arena, &v) != ERR_NONE)
        return ui_fail("cannot remove controller %d: %s", v.id,
                       client_why(s->client));
    printf("Controller %d votes no more.\n", v.id);
    return EXIT_OK;
}

static int run(struct session *s)
{
    struct quorum_view view;
    struct table t;
    const char *verb = options_word(s->options, 0);

    if (verb != NULL && strcmp(verb, "add-controller") == 0)
        return add_controller(s);
    if (verb != NULL && strcmp(verb, "remove-controller") == 0)
        return remove_controller(s);
    if (verb != NULL && strcmp(verb, "describe") != 0)
        return ui_usage("quorum", "what to do is one of: describe, "
                                  "add-controller, remove-controller");
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

/* ---- kafka-metadata-quorum ----------------------------------------------- */

static const struct option_spec kafka_specs[] = {
    KAFKA_OPTIONS,
    {"status", OPTION_FLAG, 0, NULL, "A short summary of the quorum status."},
    {"replication", OPTION_FLAG, 0, NULL,
     "Detailed information about the status of replication"},
    {"human-readable", OPTION_FLAG, 0, NULL, "Human-readable output"},
    {"controller-id", OPTION_INT, 'i', "CONTROLLER_ID",
     "The id of the controller to remove."},
    {"controller-directory-id", OPTION_VALUE, 'd', "CONTROLLER_DIRECTORY_ID",
     "The directory ID of the controller to remove."},
    {"dry-run", OPTION_FLAG, 0, NULL,
     "True if we should print what would be done, but not do it."},
    {0}};

static const struct kafka_tool kafka_tool_quorum = {
    "kafka-metadata-quorum",
    "This tool describes kraft metadata quorum status.", kafka_specs};

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
    kafka_print_table(&t);
    table_free(&t);
    return EXIT_OK;
}

static int add_kafka_controller(const struct options *o, struct client *c,
                                struct arena *a)
{
    struct storage_config config = {0};
    struct quorum_voter v;
    char id[UUID_TEXT_SIZE];
    char *why = NULL;
    bool dry = options_has(o, "dry-run");
    enum err error =
        voter_of(options_text(o, "command-config", ""), &config, &v, &why);

    if (error == ERR_NONE && !dry)
        error = admin_quorum_add(c, a, &v);
    if (error == ERR_NONE)
        printf("%s controller %d with directory id %s and endpoints: "
               "%s://%s:%u\n",
               dry ? "DRY RUN of adding" : "Added", v.id,
               uuid_format(v.directory_id, id), v.listener, v.host, v.port);
    else
        fprintf(stderr, "%s\n", why != NULL ? why : client_why(c));
    free(why);
    storage_config_free(&config);
    return error == ERR_NONE ? EXIT_OK : EXIT_FAILED;
}

static int remove_kafka_controller(const struct options *o, struct client *c,
                                   struct arena *a)
{
    struct quorum_voter v = {.id = options_int(o, "controller-id", -1)};
    const char *directory = options_text(o, "controller-directory-id", "");
    bool dry = options_has(o, "dry-run");
    char id[UUID_TEXT_SIZE];

    if (v.id < 0) {
        fprintf(stderr, "Invalid negative --controller-id: %d\n", v.id);
        return EXIT_FAILED;
    }
    if (!uuid_parse(slice_str(directory), &v.directory_id)) {
        fprintf(stderr, "Failed to parse --controller-directory-id: %s\n",
                directory);
        return EXIT_FAILED;
    }
    if (!dry && admin_quorum_remove(c, a, &v) != ERR_NONE) {
        fprintf(stderr, "%s\n", client_why(c));
        return EXIT_FAILED;
    }
    /* With Kafka's two spaces. */
    printf("%s KRaft controller %d with directory id %s\n",
           dry ? "DRY RUN of removing " : "Removed ", v.id,
           uuid_format(v.directory_id, id));
    return EXIT_OK;
}

static int quorum_act(const struct options *o, struct client *c,
                      struct arena *a)
{
    const char *verb = options_word(o, 0);

    if (strcmp(verb, "add-controller") == 0)
        return add_kafka_controller(o, c, a);
    if (strcmp(verb, "remove-controller") == 0)
        return remove_kafka_controller(o, c, a);
    return describe_quorum(o, c, a);
}

static const char *removal_fault(const struct options *o)
{
    if (!options_has(o, "controller-id"))
        return "kafka-metadata-quorum: error: argument --controller-id/-i is "
               "required";
    if (!options_has(o, "controller-directory-id"))
        return "kafka-metadata-quorum: error: argument "
               "--controller-directory-id/-d is required";
    return NULL;
}

static const char *quorum_fault(const struct options *o)
{
    const char *verb = options_word(o, 0);

    if (!kafka_has_bootstrap(o))
        return "kafka-metadata-quorum: error: one of the arguments "
               "--bootstrap-server --bootstrap-controller is required";
    if (verb == NULL)
        return "kafka-metadata-quorum: error: too few arguments";
    if (strcmp(verb, "add-controller") == 0)
        return options_has(o, "command-config")
                   ? NULL
                   : "You must supply the configuration file of the controller "
                     "you are adding when using add-controller.";
    if (strcmp(verb, "remove-controller") == 0)
        return removal_fault(o);
    if (strcmp(verb, "describe") != 0)
        return "kafka-metadata-quorum: error: invalid choice (choose from "
               "'describe', 'add-controller', 'remove-controller')";
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
        struct client *c =
            kafka_open(o, "kafka-metadata-quorum", KAFKA_TIMEOUT_MS);
        if (c != NULL) {
            struct arena arena;
            arena_init(&arena, CLIENT_ARENA_BYTES);
            code = quorum_act(o, c, &arena);
            arena_free(&arena);
            client_free(c);
        }
    }
    options_free(o);
    return code;
}
