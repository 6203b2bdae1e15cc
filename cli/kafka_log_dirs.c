/* kafka-log-dirs: what the brokers' directories hold, as JSON (LogDirsCommand).
 */
#include "cli/commands.h"
#include "cli/kafka_compat.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    {"bootstrap-server", OPTION_VALUE, 0, "HOST:PORT",
     "REQUIRED: the server(s) to use for bootstrapping"},
    {"broker-list", OPTION_VALUE, 0, "Broker list",
     "The list of brokers to be queried in the form \"0,1,2\". All brokers in "
     "the cluster will be queried if no broker list is specified"},
    {"command-config", OPTION_VALUE, 0, "FILE",
     "Property file containing configs to be passed to Admin Client."},
    {"describe", OPTION_FLAG, 0, NULL,
     "Describe the specified log directories on the specified brokers."},
    {"topic-list", OPTION_VALUE, 0, "Topic list",
     "The list of topics to be queried in the form \"topic1,topic2,topic3\". "
     "All topics will be queried if no topic list is specified"},
    {"help", OPTION_FLAG, 0, NULL, "Print usage information."},
    {"version", OPTION_FLAG, 0, NULL, "Display Kafka version."},
    {0}};

static const struct kafka_tool tool = {
    "kafka-log-dirs",
    "This tool helps to query log directory usage on the specified brokers.",
    option_specs};

/* Whether "a,b,c" holds the item; an empty list holds all. */
static bool listed(const char *list, struct slice item)
{
    if (*list == '\0')
        return true;
    while (*list != '\0') {
        size_t n = strcspn(list, ", ");
        if (slice_eq(slice_of(list, n), item))
            return true;
        list += n;
        list += strspn(list, ", ");
    }
    return false;
}

static json_t *partition_json(const struct describe_log_dirs_response_topic *t,
                              int32_t i)
{
    const struct describe_log_dirs_response_partition *p = &t->partitions[i];
    char *name = xasprintf("%.*s-%d", SLICE_FMT(t->name), p->partition_index);
    json_t *o = json_object();

    json_object_set_new(o, "partition", json_string(name));
    json_object_set_new(o, "size", json_integer(p->partition_size));
    json_object_set_new(o, "offsetLag", json_integer(p->offset_lag));
    json_object_set_new(o, "isFuture", json_boolean(p->is_future_key));
    free(name);
    return o;
}

static json_t *dir_json(const struct describe_log_dirs_response_result *dir,
                        const char *topics)
{
    json_t *partitions = json_array();
    json_t *o = json_object();

    for (int32_t t = 0; t < dir->topics_len; t++)
        for (int32_t i = 0; listed(topics, dir->topics[t].name) &&
                            i < dir->topics[t].partitions_len;
             i++)
            json_array_append_new(partitions,
                                  partition_json(&dir->topics[t], i));
    json_object_set_new(o, "partitions", partitions);
    json_object_set_new(o, "error",
                        dir->error_code == ERR_NONE
                            ? json_null()
                            : json_string(err_name(dir->error_code)));
    json_object_set_new(o, "logDir", json_slice(dir->log_dir));
    return o;
}

static json_t *broker_json(struct client *c, int32_t id, const char *topics)
{
    struct describe_log_dirs_request q;
    struct describe_log_dirs_response r;
    struct arena arena;
    json_t *o = NULL;

    arena_init(&arena, 0);
    describe_log_dirs_request_init(&q);
    q.topics_len = -1;
    enum err error = client_call(c, id, API_DESCRIBE_LOG_DIRS, &q, &r, &arena);
    if (error == ERR_NONE && r.error_code != ERR_NONE)
        error = client_fail(c, r.error_code, "%s", err_text(r.error_code));
    if (error == ERR_NONE) {
        json_t *dirs = json_array();
        for (int32_t i = 0; i < r.results_len; i++)
            json_array_append_new(dirs, dir_json(&r.results[i], topics));
        o = json_object();
        json_object_set_new(o, "broker", json_integer(id));
        json_object_set_new(o, "logDirs", dirs);
    }
    arena_free(&arena);
    return o;
}

/* The brokers to ask, as text; NULL after a complaint. */
static bool check_brokers(struct client *c, const char *list)
{
    while (*list != '\0') {
        char *end;
        long id = strtol(list, &end, 10);
        if (end == list || id != (int32_t)id ||
            client_node(c, (int32_t)id) == NULL) {
            fprintf(stderr,
                    "ERROR: The given brokers do not exist from --broker-list: "
                    "%.*s\n",
                    (int)strcspn(list, ","), list);
            return false;
        }
        list = end + strspn(end, ", ");
    }
    return true;
}

static int describe(const struct options *o, struct client *c)
{
    const char *wanted = options_text(o, "broker-list", "");
    const struct client_node *nodes;
    json_t *brokers = json_array();
    struct buf names = BUF_INIT;
    int code = EXIT_OK;

    puts("Querying brokers for log directories information");
    size_t count = client_nodes(c, &nodes);
    for (size_t i = 0; i < count && code == EXIT_OK; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", nodes[i].id);
        if (!listed(wanted, slice_str(id)))
            continue;
        json_t *one =
            broker_json(c, nodes[i].id, options_text(o, "topic-list", ""));
        if (one == NULL)
            code = EXIT_FAILED;
        else
            json_array_append_new(brokers, one);
        buf_printf(&names, "%s%s", names.len == 0 ? "" : ",", id);
    }
    json_t *root = json_object();
    json_object_set_new(root, "brokers", brokers);
    json_object_set_new(root, "version", json_integer(1));
    if (code == EXIT_OK) {
        char *text = json_dumps(root, JSON_COMPACT);
        printf("Received log directory information from brokers %.*s\n%s\n",
               SLICE_FMT(buf_slice(&names)), text);
        free(text);
    } else {
        fprintf(stderr, "%s\n", client_why(c));
    }
    json_decref(root);
    buf_free(&names);
    return code;
}

int kafka_log_dirs(int argc, char **argv)
{
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);

    if (o == NULL)
        return code;
    code = EXIT_FAILED;
    struct client *c = NULL;
    if (!options_has(o, "bootstrap-server"))
        kafka_usage(&tool, "Missing required argument \"[bootstrap-server]\"");
    else if (!options_has(o, "describe"))
        kafka_usage(&tool, "Missing required argument \"[describe]\"");
    else
        c = kafka_open(o, "log-dirs-tool", KAFKA_TIMEOUT_MS);
    if (c != NULL && client_refresh(c) != ERR_NONE)
        fprintf(stderr, "%s\n", client_why(c));
    else if (c != NULL && check_brokers(c, options_text(o, "broker-list", "")))
        code = describe(o, c);
    if (c != NULL)
        client_free(c);
    options_free(o);
    return code;
}
