/* leat broker-versions, and kafka-broker-api-versions. */
#include "cli/commands.h"
#include "cli/kafka_compat.h"

#include <stdlib.h>

/* What a broker offers, by API key. */
struct offered {
    int16_t key;
    int16_t min;
    int16_t max;
};

static int compare_keys(const void *a, const void *b)
{
    return ((const struct offered *)a)->key - ((const struct offered *)b)->key;
}

static enum err ask(struct client *c, int32_t node, struct arena *a,
                    struct offered **list, int32_t *len)
{
    struct api_versions_request q;
    struct api_versions_response r;

    api_versions_request_init(&q);
    q.client_software_name = SLICE("leat");
    q.client_software_version = SLICE("0.1.0");
    enum err error = client_call(c, node, API_API_VERSIONS, &q, &r, a);
    if (error == ERR_NONE && r.error_code != ERR_NONE)
        error = client_fail(c, r.error_code, "%s", err_text(r.error_code));
    *len = 0;
    if (error != ERR_NONE)
        return error;
    *list = arena_array(a, (size_t)r.api_keys_len + 1, sizeof **list);
    for (int32_t i = 0; i < r.api_keys_len; i++)
        (*list)[(*len)++] =
            (struct offered){r.api_keys[i].api_key, r.api_keys[i].min_version,
                             r.api_keys[i].max_version};
    qsort(*list, (size_t)*len, sizeof **list, compare_keys);
    return ERR_NONE;
}

/* The highest version that both sides know; -1 if there is none. */
static int16_t usable(const struct offered *o)
{
    const struct api *api = api_find(o->key);

    if (api == NULL)
        return -1;
    int16_t max = api->request->max < o->max ? api->request->max : o->max;
    int16_t min = api->request->min > o->min ? api->request->min : o->min;
    return max >= min ? max : -1;
}

/* ---- leat broker-versions
 * ------------------------------------------------------------------ */

static const struct option_spec option_specs[] = {SESSION_OPTIONS, {0}};

static void help(void)
{
    puts("leat broker-versions   the requests that each broker understands, "
         "and in which\nversions\n\n"
         "  leat broker-versions --bootstrap broker1:9092 --json");
}

static enum err add_broker(struct session *s, const struct client_node *node,
                           struct table *t)
{
    struct offered *list = NULL;
    int32_t len = 0;
    int32_t id = node->id;
    enum err error = ask(s->client, id, &s->arena, &list, &len);

    for (int32_t i = 0; i < len; i++) {
        table_add(t, "%d", id);
        table_add(t, "%d", list[i].key);
        table_add(t, "%s", api_name(list[i].key));
        table_add(t, "%d", list[i].min);
        table_add(t, "%d", list[i].max);
        if (usable(&list[i]) < 0)
            table_add(t, "-");
        else
            table_add(t, "%d", usable(&list[i]));
    }
    return error;
}

static int run(struct session *s)
{
    static const char *const headings[] = {"BROKER", "KEY", "API",
                                           "FROM",   "TO",  "USED"};
    const struct client_node *nodes;
    struct table t;
    int code = EXIT_OK;

    if (client_refresh(s->client) != ERR_NONE)
        return ui_fail("cannot find the brokers: %s", client_why(s->client));
    table_init(&t, "nnsnnn");
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, "%s", headings[i]);
    size_t count = client_nodes(s->client, &nodes);
    for (size_t i = 0; i < count; i++)
        if (add_broker(s, &nodes[i], &t) != ERR_NONE)
            code = ui_fail("cannot ask broker %d: %s", nodes[i].id,
                           client_why(s->client));
    if (s->json)
        json_print(table_json(&t), stdout);
    else
        table_print(&t, stdout, 2);
    table_free(&t);
    return code;
}

int cmd_broker_versions(int argc, char **argv)
{
    return session_run(option_specs, "broker-versions", argc, argv, help, run);
}

/* ---- kafka-broker-api-versions
 * --------------------------------------------------------------- */

static const struct option_spec kafka_specs[] = {KAFKA_OPTIONS, {0}};

static const struct kafka_tool tool = {
    "kafka-broker-api-versions",
    "This tool helps to retrieve broker version information.", kafka_specs};

static void print_offered(const struct offered *o, bool first)
{
    const struct api *api = api_find(o->key);

    printf("%s\t%s(%d): %d", first ? "" : ",\n",
           api != NULL ? api->name : "UNKNOWN", o->key, o->min);
    if (o->max != o->min)
        printf(" to %d", o->max);
    if (api == NULL)
        return;
    if (usable(o) >= 0)
        printf(" [usable: %d]", usable(o));
    else
        printf(" [unusable: node too %s]",
               o->min > api->request->max ? "new" : "old");
}

static void print_broker(struct client *c, const struct client_node *node,
                         struct arena *a)
{
    struct offered *list = NULL;
    int32_t len = 0;
    enum err error;

    printf("%s:%u (id: %d rack: %s isFenced: false) -> ", node->host,
           node->port, node->id, node->rack != NULL ? node->rack : "null");
    error = ask(c, node->id, a, &list, &len);
    if (error != ERR_NONE) {
        printf("ERROR: %s\n", client_why(c));
        return;
    }
    puts("(");
    for (int32_t i = 0; i < len; i++)
        print_offered(&list[i], i == 0);
    puts("\n)");
}

int kafka_broker_api_versions(int argc, char **argv)
{
    const struct client_node *nodes;
    struct arena arena;
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);

    if (o == NULL)
        return code;
    code = EXIT_FAILED;
    struct client *c = NULL;
    if (!kafka_has_bootstrap(o))
        kafka_usage(&tool, "Missing required argument \"[bootstrap-server]\"");
    else
        c = kafka_open(o, "kafka-broker-api-versions", KAFKA_TIMEOUT_MS);
    if (c != NULL && client_refresh(c) != ERR_NONE) {
        fprintf(stderr, "%s\n", client_why(c));
    } else if (c != NULL) {
        arena_init(&arena, CLIENT_ARENA_BYTES);
        size_t count = client_nodes(c, &nodes);
        for (size_t i = 0; i < count; i++)
            print_broker(c, &nodes[i], &arena);
        arena_free(&arena);
        code = EXIT_OK;
    }
    if (c != NULL)
        client_free(c);
    options_free(o);
    return code;
}
