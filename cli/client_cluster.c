/* What the client knows of the cluster: brokers and controller from Metadata,
 * coordinators from FindCoordinator, and how it paces repeated attempts. */
#include "cli/client_parts.h"
#include "cli/input.h"
#include "cli/net.h"

#include <stdlib.h>

enum {
    PAUSE_FIRST_MS = 20,
    PAUSE_MAX_MS = 500,
};

void client_free_nodes(struct client *c)
{
    for (size_t i = 0; i < c->nodes_len; i++) {
        free(c->nodes[i].host);
        free(c->nodes[i].rack);
    }
    free(c->nodes);
    c->nodes = NULL;
    c->nodes_len = 0;
}

/* ---- the cluster
 * ------------------------------------------------------------------ */

static void note_cluster(struct client *c, const struct metadata_response *m)
{
    client_free_nodes(c);
    c->nodes = xcalloc((size_t)m->brokers_len + 1, sizeof *c->nodes);
    for (int32_t i = 0; i < m->brokers_len; i++)
        c->nodes[c->nodes_len++] = (struct client_node){
            m->brokers[i].node_id, slice_dup(m->brokers[i].host),
            (uint16_t)m->brokers[i].port, slice_dup(m->brokers[i].rack)};
    c->controller = m->controller_id;
    free(c->cluster_id);
    c->cluster_id = slice_dup(m->cluster_id);
}

enum err client_topics(struct client *c, const struct slice *names,
                       int32_t count, bool create,
                       struct metadata_response *out, struct arena *arena)
{
    struct metadata_request q;

    metadata_request_init(&q);
    q.allow_auto_topic_creation = create;
    q.topics_len = count;
    q.topics = NULL;
    if (count >= 0)
        q.topics = xcalloc((size_t)count + 1, sizeof *q.topics);
    for (int32_t i = 0; i < count; i++)
        q.topics[i].name = names[i];
    enum err error = client_call(c, CLIENT_ANY, API_METADATA, &q, out, arena);
    free(q.topics);
    if (error == ERR_NONE)
        note_cluster(c, out);
    return error;
}

enum err client_refresh(struct client *c)
{
    struct metadata_response m;
    struct arena arena;

    arena_init(&arena, CLIENT_ARENA_BYTES);
    enum err error = client_topics(c, NULL, 0, false, &m, &arena);
    arena_free(&arena);
    return error;
}

size_t client_nodes(const struct client *c, const struct client_node **nodes)
{
    *nodes = c->nodes;
    return c->nodes_len;
}

const struct client_node *client_node(const struct client *c, int32_t id)
{
    for (size_t i = 0; i < c->nodes_len; i++)
        if (c->nodes[i].id == id)
            return &c->nodes[i];
    return NULL;
}

int32_t client_controller(const struct client *c) { return c->controller; }

const char *client_cluster_id(const struct client *c)
{
    return c->cluster_id != NULL ? c->cluster_id : "";
}

/* ---- coordinators
 * ------------------------------------------------------------------- */

/* FindCoordinator's key types. */
enum client_key { CLIENT_KEY_GROUP = 0, CLIENT_KEY_TRANSACTION = 1 };

/* One attempt. */
static enum err find_coordinator(struct client *c, enum client_key type,
                                 struct slice key, int32_t *node)
{
    struct find_coordinator_request q;
    struct find_coordinator_response a;
    struct arena arena;
    enum err error;

    int32_t any = client_any(c);
    if (any == CLIENT_ANY)
        return ERR_REFUSED;
    arena_init(&arena, CLIENT_ARENA_BYTES);
    find_coordinator_request_init(&q);
    q.key_type = (int8_t)type;
    if (client_version(c, any, API_FIND_COORDINATOR) >= 4) {
        q.coordinator_keys = &key;
        q.coordinator_keys_len = 1;
    } else {
        q.key = key;
    }
    error = client_call(c, any, API_FIND_COORDINATOR, &q, &a, &arena);
    if (error == ERR_NONE && a.coordinators_len > 0) {
        error = a.coordinators[0].error_code;
        *node = a.coordinators[0].node_id;
    } else if (error == ERR_NONE) {
        error = a.error_code;
        *node = a.node_id;
    }
    arena_free(&arena);
    return error;
}

static int32_t look_for_coordinator(struct client *c, enum client_key type,
                                    struct slice key)
{
    struct client_retry retry;
    int32_t node = -1;
    enum err error;

    client_retry_init(c, &retry);
    do {
        error = find_coordinator(c, type, key, &node);
        if (error == ERR_NONE && client_node(c, node) == NULL)
            error = client_refresh(c);
    } while (client_retry(&retry, error));
    if (error == ERR_NONE)
        return node;
    client_fail(c, error, "%s %.*s has no coordinator: %s",
                type == CLIENT_KEY_GROUP ? "group" : "transactional id",
                SLICE_FMT(key), err_text(error));
    return -1;
}

int32_t client_coordinator(struct client *c, struct slice group)
{
    int32_t *known = map_get(&c->coordinators, group);

    if (known != NULL)
        return *known;
    int32_t node = look_for_coordinator(c, CLIENT_KEY_GROUP, group);
    if (node >= 0)
        map_put(&c->coordinators, group, xmemdup(&node, sizeof node));
    return node;
}

int32_t client_txn_coordinator(struct client *c, struct slice transactional_id)
{
    return look_for_coordinator(c, CLIENT_KEY_TRANSACTION, transactional_id);
}

void client_forget_coordinator(struct client *c, struct slice group)
{
    free(map_remove(&c->coordinators, group));
}

/* ---- repeating
 * -------------------------------------------------------------------- */

void client_retry_init(struct client *c, struct client_retry *r)
{
    r->deadline_ms = net_now_ms() + c->timeout_ms;
    r->pause_ms = PAUSE_FIRST_MS;
}

bool client_retry(struct client_retry *r, enum err error)
{
    if (error == ERR_NONE || !err_retriable(error) ||
        net_now_ms() + r->pause_ms >= interrupt_bound(r->deadline_ms))
        return false;
    net_sleep_ms(r->pause_ms);
    r->pause_ms =
        r->pause_ms * 2 < PAUSE_MAX_MS ? r->pause_ms * 2 : PAUSE_MAX_MS;
    return true;
}

enum err client_reach(struct client *c, void (*waiting)(const char *why))
{
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    while ((error = client_refresh(c)) != ERR_NONE && error != ERR_ABSENT) {
        if (waiting != NULL)
            waiting(client_why(c));
        waiting = NULL;
        if (!client_retry(&retry, ERR_REQUEST_TIMED_OUT))
            break;
    }
    return error;
}
