/* Connections are made when they are needed, by node id; the bootstrap
 * addresses have ids of their own below CLIENT_CONTROLLER.  Each connection
 * begins with ApiVersions; a node that does not know our version of that
 * answers with version 0, and we ask again in that.
 *
 * Answers come back in the order of requests, so a connection keeps a list of
 * its calls.  A connection that breaks fails all of them; the next request
 * makes a new one.  Whoever wants a second attempt asks for it: only the
 * search for any node is repeated here. */
#include "cli/client.h"

#include "cli/client_parts.h"
#include "cli/input.h"
#include "cli/net.h"
#include "proto/kafka/header.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BOOTSTRAP_BASE = -1000, /* id of the first bootstrap address, downwards */
    CONNECT_TIMEOUT_MS = 10000,
};

/* ---- failing --------------------------------------------------------------
 */

static enum err fail_with(struct client *c, enum err error, char *sentence)
{
    free(c->why);
    c->why = sentence;
    return error;
}

enum err client_fail(struct client *c, enum err error, const char *format, ...)
{
    va_list arguments;
    char *sentence = NULL;

    va_start(arguments, format);
    if (vasprintf(&sentence, format, arguments) < 0)
        sentence = xstrdup(err_text(error));
    va_end(arguments);
    return fail_with(c, error, sentence);
}

const char *client_why(const struct client *c)
{
    return c->why != NULL ? c->why : "";
}

/* ---- beginning and end -----------------------------------------------------
 */

/* "host:port"; IPv6 hosts stand in brackets. */
static bool parse_address(struct slice text, struct address *out)
{
    size_t colon = text.len;
    uint32_t port = 0;

    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon < 2 || colon == text.len || text.len - colon > 5)
        return false;
    for (size_t i = colon; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    struct slice host = slice_of(text.data, colon - 1);
    if (host.data[0] == '[' && host.len > 2 && host.data[host.len - 1] == ']')
        host = slice_of(host.data + 1, host.len - 2);
    if (port == 0 || port > 65535)
        return false;
    *out = (struct address){slice_dup(host), (uint16_t)port};
    return true;
}

static bool parse_bootstrap(struct client *c, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, ", ");
        struct address a;
        if (n != 0) {
            if (!parse_address(slice_of(text, n), &a))
                return false;
            c->bootstrap =
                xrealloc(c->bootstrap, (c->bootstrap_len + 1) * sizeof a);
            c->bootstrap[c->bootstrap_len++] = a;
        }
        text += n;
        text += strspn(text, ", ");
    }
    return c->bootstrap_len != 0;
}

struct client *client_new(const char *bootstrap, const char *client_id,
                          int64_t timeout_ms, char **why)
{
    struct client *c = xcalloc(1, sizeof *c);

    c->client_id = xstrdup(client_id);
    c->timeout_ms = timeout_ms;
    c->controller = -1;
    c->answered = CLIENT_ANY;
    list_init(&c->connections);
    if (parse_bootstrap(c, bootstrap))
        return c;
    *why = xasprintf("\"%s\" is not a list of host:port, such as "
                     "localhost:9092",
                     bootstrap);
    client_free(c);
    return NULL;
}

static void drop(struct connection *conn, enum err error)
{
    struct list *node;

    while ((node = list_pop_front(&conn->calls)) != NULL) {
        struct client_call *call = LIST_ENTRY(node, struct client_call, link);
        call->done = true;
        call->error = error;
    }
    list_remove(&conn->link);
    net_close(conn->fd);
    buf_free(&conn->in);
    free(conn);
}

void client_free(struct client *c)
{
    while (!list_empty(&c->connections))
        drop(LIST_ENTRY(c->connections.next, struct connection, link),
             ERR_CLOSED);
    MAP_EACH (entry, &c->coordinators) {
        free(entry->value);
    }
    map_free(&c->coordinators);
    client_free_nodes(c);
    for (size_t i = 0; i < c->bootstrap_len; i++)
        free(c->bootstrap[i].host);
    free(c->bootstrap);
    free(c->cluster_id);
    free(c->client_id);
    free(c->why);
    free(c);
}

int64_t client_timeout_ms(const struct client *c) { return c->timeout_ms; }

/* ---- connections ------------------------------------------------------------
 */

static struct connection *find_connection(struct client *c, int32_t id)
{
    LIST_EACH (node, &c->connections) {
        struct connection *conn = LIST_ENTRY(node, struct connection, link);
        if (conn->id == id)
            return conn;
    }
    return NULL;
}

static bool address_of(const struct client *c, int32_t id, const char **host,
                       uint16_t *port)
{
    if (id <= BOOTSTRAP_BASE) {
        const struct address *a = &c->bootstrap[BOOTSTRAP_BASE - id];
        *host = a->host;
        *port = a->port;
        return true;
    }
    const struct client_node *node = client_node(c, id & ~CLIENT_SECOND);
    if (node == NULL)
        return false;
    *host = node->host;
    *port = node->port;
    return true;
}

static enum err send_request(struct client *c, struct connection *conn,
                             struct client_call *call, enum api_key api,
                             int16_t version, const void *request)
{
    struct buf out = BUF_INIT;
    struct request_header h;

    request_header_init(&h);
    h.request_api_key = (int16_t)api;
    h.request_api_version = version;
    h.correlation_id = c->correlation++;
    h.client_id = slice_str(c->client_id);
    *call = (struct client_call){.node = conn->id,
                                 .api = api,
                                 .version = version,
                                 .correlation = h.correlation_id};
    list_init(&call->link);
    enum err error = kafka_frame_request(&out, &h, request);
    if (error != ERR_NONE) {
        buf_free(&out);
        return client_fail(c, error,
                           "the broker speaks %s in version %d at most, which "
                           "cannot say what was asked for",
                           api_name((int16_t)api), version);
    }
    error = net_send(conn->fd, buf_slice(&out),
                     interrupt_bound(net_now_ms() + c->timeout_ms));
    buf_free(&out);
    if (error != ERR_NONE) {
        drop(conn, ERR_CLOSED);
        return client_fail(c, error, "the connection broke while sending %s",
                           api_name((int16_t)api));
    }
    list_push_back(&conn->calls, &call->link);
    return ERR_NONE;
}

/* Hands the whole frames in conn->in to their calls; false if the peer sent
 * what is no answer. */
static bool take_frames(struct connection *conn)
{
    size_t at = 0;

    while (conn->in.len - at >= 4) {
        uint32_t size = be32_get(conn->in.data + at);
        if (size > CLIENT_FRAME_MAX)
            return false;
        if (conn->in.len - at - 4 < size)
            break;
        struct list *node = list_pop_front(&conn->calls);
        if (node == NULL)
            return false;
        struct client_call *call = LIST_ENTRY(node, struct client_call, link);
        buf_put(&call->frame, conn->in.data + at + 4, size);
        call->done = true;
        at += 4 + size;
    }
    if (at != 0) {
        memmove(conn->in.data, conn->in.data + at, conn->in.len - at);
        conn->in.len -= at;
    }
    return true;
}

/* Reads all connections once; true if a call became done. */
static bool receive_all(struct client *c)
{
    bool progress = false;

    LIST_EACH_SAFE (node, tmp, &c->connections) {
        struct connection *conn = LIST_ENTRY(node, struct connection, link);
        struct list *first = conn->calls.next;
        size_t before = conn->in.len;

        enum err error = net_receive(conn->fd, &conn->in);
        bool ok = conn->in.len == before || take_frames(conn);
        progress |= first != &conn->calls && conn->calls.next != first;
        if (error != ERR_NONE || !ok) {
            progress |= !list_empty(&conn->calls);
            drop(conn, ok ? error : ERR_MALFORMED);
        }
    }
    return progress;
}

void client_poll(struct client *c, int64_t deadline_ms)
{
    while (!receive_all(c)) {
        int fds[64];
        size_t n = 0;

        LIST_EACH (node, &c->connections) {
            if (n < sizeof fds / sizeof *fds)
                fds[n++] = LIST_ENTRY(node, struct connection, link)->fd;
        }
        if (net_now_ms() >= interrupt_bound(deadline_ms))
            return;
        net_wait(fds, n, interrupt_bound(deadline_ms));
        if (net_now_ms() >= interrupt_bound(deadline_ms)) {
            receive_all(c);
            return;
        }
    }
}

static enum err wait_for(struct client *c, struct client_call *call,
                         int64_t timeout_ms)
{
    int64_t deadline = net_now_ms() + timeout_ms;

    while (!call->done && net_now_ms() < interrupt_bound(deadline))
        client_poll(c, deadline);
    if (call->done)
        return call->error;
    client_abandon(c, call);
    return ERR_REQUEST_TIMED_OUT;
}

void client_abandon(struct client *c, struct client_call *call)
{
    struct connection *conn = find_connection(c, call->node);

    if (!call->done && conn != NULL)
        drop(conn, ERR_REQUEST_TIMED_OUT);
    buf_free(&call->frame);
}

/* ---- agreeing on versions
 * ---------------------------------------------------- */

static enum err ask_versions(struct client *c, struct connection *conn,
                             int16_t version, struct api_versions_response *a,
                             struct arena *arena)
{
    struct api_versions_request q;
    struct client_call call;

    api_versions_request_init(&q);
    q.client_software_name = SLICE("leat");
    q.client_software_version = SLICE("0.1.0");
    enum err error =
        send_request(c, conn, &call, API_API_VERSIONS, version, &q);
    if (error != ERR_NONE)
        return error;
    error = wait_for(c, &call, c->timeout_ms);
    if (error != ERR_NONE)
        return client_fail(c, error, "no answer to ApiVersions");
    /* A node that lacks the version says so in version 0. */
    if (call.frame.len >= 6 &&
        (int16_t)be16_get(call.frame.data + 4) == ERR_UNSUPPORTED_VERSION)
        call.version = 0;
    return client_finish(c, &call, a, arena);
}

static void note_versions(struct connection *conn,
                          const struct api_versions_response *a)
{
    for (size_t i = 0; i < API_COUNT; i++)
        conn->versions[i] = (struct range){0, -1};
    for (int32_t i = 0; i < a->api_keys_len; i++) {
        int16_t key = a->api_keys[i].api_key;
        if (key >= 0 && key < API_COUNT)
            conn->versions[key] = (struct range){a->api_keys[i].min_version,
                                                 a->api_keys[i].max_version};
    }
}

static enum err agree(struct client *c, struct connection *conn)
{
    struct api_versions_response a;
    struct arena arena;

    arena_init(&arena, CLIENT_ARENA_BYTES);
    enum err error = ask_versions(c, conn, 3, &a, &arena);
    if (error == ERR_NONE && a.error_code == ERR_UNSUPPORTED_VERSION)
        error = ask_versions(c, conn, 0, &a, &arena);
    if (error == ERR_NONE && a.error_code != ERR_NONE)
        error = client_fail(c, a.error_code, "ApiVersions was answered with %s",
                            err_name(a.error_code));
    if (error == ERR_NONE)
        note_versions(conn, &a);
    arena_free(&arena);
    return error;
}

static enum err connect_to(struct client *c, int32_t id,
                           struct connection **out)
{
    struct connection *conn = find_connection(c, id);
    const char *host;
    uint16_t port;
    char *why = NULL;
    int fd;

    *out = conn;
    if (conn != NULL)
        return ERR_NONE;
    if (!address_of(c, id, &host, &port))
        return client_fail(c, ERR_BROKER_NOT_AVAILABLE,
                           "broker %d is not part of the cluster (or not "
                           "alive)",
                           id & ~CLIENT_SECOND);
    int64_t timeout =
        c->timeout_ms < CONNECT_TIMEOUT_MS ? c->timeout_ms : CONNECT_TIMEOUT_MS;
    enum err error = net_connect(
        host, port, interrupt_bound(net_now_ms() + timeout), &fd, &why);
    if (error != ERR_NONE)
        return fail_with(c, error, why);
    conn = xcalloc(1, sizeof *conn);
    conn->id = id;
    conn->fd = fd;
    list_init(&conn->calls);
    list_push_back(&c->connections, &conn->link);
    error = agree(c, conn);
    if (error != ERR_NONE) {
        conn = find_connection(c, id);
        if (conn != NULL)
            drop(conn, error);
        return client_fail(c, error,
                           "%s:%d did not answer as a broker does (%s)", host,
                           port, err_text(error));
    }
    *out = conn;
    return ERR_NONE;
}

int16_t client_version_cap(enum api_key api)
{
    switch (api) { /* the next version names topics by id alone */
    case API_PRODUCE:
        return 12;
    case API_FETCH:
        return 12;
    case API_OFFSET_COMMIT:
    case API_OFFSET_FETCH:
        return 9;
    default:
        return INT16_MAX;
    }
}

static int16_t pick_version(const struct connection *conn, enum api_key api)
{
    const struct api *known = api_find((int16_t)api);
    int16_t max = known->request->max;
    int16_t cap = client_version_cap(api);

    if (max > cap)
        max = cap;
    if (max > conn->versions[api].max)
        max = conn->versions[api].max;
    if (max < conn->versions[api].min || max < known->request->min)
        return -1;
    return max;
}

/* ---- requests
 * ------------------------------------------------------------------ */

static enum err start_on(struct client *c, struct client_call *call, int32_t id,
                         enum api_key api, const void *request)
{
    struct connection *conn;
    enum err error = connect_to(c, id, &conn);

    if (error != ERR_NONE)
        return error;
    int16_t version = pick_version(conn, api);
    if (version < 0)
        return client_fail(c, ERR_UNSUPPORTED_VERSION,
                           "the broker does not offer %s in a version that "
                           "this tool knows",
                           api_name((int16_t)api));
    return send_request(c, conn, call, api, version, request);
}

enum err client_start(struct client *c, struct client_call *call, int32_t node,
                      enum api_key api, const void *request)
{
    *call = (struct client_call){.node = node, .done = true};
    list_init(&call->link);
    return start_on(c, call, node, api, request);
}

enum err client_post(struct client *c, int32_t node, enum api_key api,
                     const void *request)
{
    struct client_call call = {0};

    list_init(&call.link);
    enum err error = start_on(c, &call, node, api, request);
    list_remove(&call.link);
    return error;
}

enum err client_finish(struct client *c, struct client_call *call,
                       void *response, struct arena *arena)
{
    enum err error = call->error;
    int32_t correlation;
    struct slice body;

    ASSERT(call->done);
    if (error != ERR_NONE) {
        buf_free(&call->frame);
        return client_fail(c, error, "the connection to broker %d broke (%s)",
                           call->node & ~CLIENT_SECOND, err_text(error));
    }
    struct slice frame = arena_copy(arena, buf_slice(&call->frame));
    buf_free(&call->frame);
    if (slice_is_null(frame))
        return client_fail(c, ERR_TOO_LARGE, "the answer to %s is too large",
                           api_name((int16_t)call->api));
    error = kafka_parse_response(frame, (int16_t)call->api, call->version,
                                 &correlation, &body);
    if (error == ERR_NONE && correlation != call->correlation)
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = kafka_decode(api_find((int16_t)call->api)->response,
                             call->version, body, arena, response);
    if (error != ERR_NONE)
        return client_fail(c, error, "the answer to %s cannot be read (%s)",
                           api_name((int16_t)call->api), err_text(error));
    return ERR_NONE;
}

static enum err call_one(struct client *c, int32_t id, enum api_key api,
                         const void *request, void *response,
                         struct arena *arena)
{
    struct client_call call;
    enum err error = start_on(c, &call, id, api, request);

    if (error != ERR_NONE)
        return error;
    error = wait_for(c, &call, c->timeout_ms);
    if (error == ERR_REQUEST_TIMED_OUT)
        return client_fail(c, error, "no answer to %s within %lld ms",
                           api_name((int16_t)api), (long long)c->timeout_ms);
    return client_finish(c, &call, response, arena);
}

static bool is_network_error(enum err error)
{
    return error == ERR_CLOSED || error == ERR_REFUSED ||
           error == ERR_REQUEST_TIMED_OUT || error == ERR_ABSENT ||
           error == ERR_BROKER_NOT_AVAILABLE;
}

/* Who answered last, known brokers in random order, then the bootstrap
 * addresses.  A node that hangs is met once, not again with every request. */
static size_t candidates(const struct client *c, int32_t **result)
{
    int32_t *ids = xcalloc(1 + c->nodes_len + c->bootstrap_len, sizeof *ids);
    size_t n = 0;
    size_t shift =
        c->nodes_len != 0 ? (size_t)(net_random() % c->nodes_len) : 0;

    if (c->answered != CLIENT_ANY)
        ids[n++] = c->answered;
    for (size_t i = 0; i < c->nodes_len; i++)
        ids[n++] = c->nodes[(i + shift) % c->nodes_len].id;
    for (size_t i = 0; i < c->bootstrap_len; i++)
        ids[n++] = BOOTSTRAP_BASE - (int32_t)i;
    for (size_t i = 1; i < n; i++)
        if (ids[i] == c->answered)
            ids[i--] = ids[--n];
    *result = ids;
    return n;
}

static enum err call_any(struct client *c, enum api_key api,
                         const void *request, void *response,
                         struct arena *arena)
{
    int32_t *ids;
    size_t n = candidates(c, &ids);
    enum err error = ERR_REFUSED;

    for (size_t i = 0; i < n; i++) {
        error = call_one(c, ids[i], api, request, response, arena);
        if (!is_network_error(error)) {
            c->answered = ids[i];
            break;
        }
    }
    free(ids);
    return error;
}

enum err client_call(struct client *c, int32_t node, enum api_key api,
                     const void *request, void *response, struct arena *arena)
{
    if (node == CLIENT_CONTROLLER) {
        if (c->controller < 0)
            client_refresh(c);
        enum err error = c->controller < 0 ? ERR_BROKER_NOT_AVAILABLE
                                           : call_one(c, c->controller, api,
                                                      request, response, arena);
        if (!is_network_error(error))
            return error;
        c->controller = -1;
        node = CLIENT_ANY;
    }
    if (node == CLIENT_ANY)
        return call_any(c, api, request, response, arena);
    return call_one(c, node, api, request, response, arena);
}

int32_t client_any(struct client *c)
{
    int32_t *ids;
    size_t n = candidates(c, &ids);
    struct connection *conn;
    int32_t found = CLIENT_ANY;

    for (size_t i = 0; i < n && found == CLIENT_ANY; i++)
        if (connect_to(c, ids[i], &conn) == ERR_NONE)
            found = ids[i];
    free(ids);
    return found;
}

int16_t client_version(struct client *c, int32_t node, enum api_key api)
{
    struct connection *conn;

    if (node == CLIENT_ANY || node == CLIENT_CONTROLLER)
        node = client_any(c);
    if (node == CLIENT_ANY)
        return -1;
    return connect_to(c, node, &conn) == ERR_NONE ? pick_version(conn, api)
                                                  : -1;
}
