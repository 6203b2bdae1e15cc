/* Happy path: a call waits in its channel until the connection is open, is
 * written to it, and is matched with its answer by the correlation id.
 *
 * Failures: whatever goes wrong with a controller ends in channel_fail(): the
 * connection is closed, calls that may be repeated go back to the queue, the
 * others end, and the next controller is tried, at once the first time and
 * after a growing pause while nobody is found.  Both channels aim at the same
 * controller; when one of them learns of another, the other one follows as soon
 * as nothing is lost by it. */
#include "broker/control_client.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"

#include <stdlib.h>

enum {
    RETRY_MIN_MS = 20,
    RETRY_MAX_MS = 500,
    CONNECT_MS = 1000, /* to establish a connection */
    ADDRESSES_MAX = 256,
    LEARNED_HOST_MAX = 255,
    /* Offset of the correlation id in a frame: length, key, version. */
    CORRELATION_AT = 8,
};

struct address {
    int32_t id;
    char *host;
    uint16_t port;
};

struct channel {
    struct control_client *client;
    enum control_channel which;
    struct env_conn *conn;    /* NULL: none */
    bool open;                /* established */
    size_t target;            /* the address it leads to */
    struct list waiting;      /* control_call, to be written */
    struct list in_flight;    /* written, oldest first */
    struct env_timer connect; /* gives a connection attempt up */
    struct env_timer retry;   /* the pause before the next attempt */
};

struct control_client {
    struct env *env;
    struct control_client_options options;
    char *cluster_id;
    char *client_id;
    struct address *addresses;
    size_t addresses_len;
    size_t target; /* whom to ask next */
    int32_t active;
    int32_t next_correlation_id;
    uint64_t next_order;
    unsigned failures; /* since a controller answered as the active one */
    bool complained;
    struct channel channels[CONTROL_CHANNELS];
};

static void channel_pump(struct channel *ch);

static struct control_call *call_of(struct list *node)
{
    return LIST_ENTRY(node, struct control_call, link);
}

/* ---- the end of a call -------------------------------------------------- */

static void call_end(struct control_call *call, enum err error,
                     const Leat__ControlResponse *response)
{
    env_timer_stop(call->client->env, &call->timer);
    list_remove(&call->link);
    buf_free(&call->frame);
    call->client = NULL;
    call->done(call, error, response);
}

/* ---- who is next -------------------------------------------------------- */

static size_t address_of(const struct control_client *c, int32_t id)
{
    size_t at = 0;

    while (at < c->addresses_len && c->addresses[at].id != id)
        at++;
    return at;
}

/* 0 at first, then 20 ms growing by half. */
static int64_t pause_ms(const struct control_client *c)
{
    int64_t ms = RETRY_MIN_MS;

    if (c->failures <= 2) /* one that died, one that knew who is next */
        return 0;
    for (unsigned i = 3; i < c->failures && ms < RETRY_MAX_MS; i++)
        ms += ms / 2;
    return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

static void aim(struct control_client *c, int32_t hint)
{
    size_t at = hint >= 0 ? address_of(c, hint) : c->addresses_len;

    c->failures++;
    c->target = at < c->addresses_len ? at : (c->target + 1) % c->addresses_len;
    if (c->failures == 20 && !c->complained) {
        c->complained = true;
        log_warn("server",
                 "No active controller is found among %zu; asking on. Check "
                 "that a majority of the controllers runs and is reachable",
                 c->addresses_len);
    }
}

/* ---- connections -------------------------------------------------------- */

static void channel_disconnect(struct channel *ch)
{
    env_timer_stop(ch->client->env, &ch->connect);
    if (ch->conn != NULL)
        env_conn_close(ch->conn);
    ch->conn = NULL;
    ch->open = false;
}

/* Back to where it stood in the queue: what was asked later does not overtake
 * it. */
static void put_back(struct channel *ch, struct control_call *call)
{
    struct list *later = ch->waiting.next;

    while (later != &ch->waiting && call_of(later)->order < call->order)
        later = later->next;
    list_push_back(later, &call->link); /* before it */
}

/* Back to the queue; calls whose outcome is unknown and must not be repeated
 * end. */
static void channel_take_back(struct channel *ch)
{
    struct list lost;

    list_init(&lost);
    while (!list_empty(&ch->in_flight)) {
        struct control_call *call = call_of(ch->in_flight.prev);

        list_remove(&call->link);
        call->sent = false;
        call->doubtful = true;
        if (call->repeatable)
            put_back(ch, call);
        else
            list_push_front(&lost, &call->link);
    }
    while (!list_empty(&lost))
        call_end(call_of(lost.next), ERR_CLOSED, NULL);
}

static void channel_retry(void *arg) { channel_pump(arg); }

/* The connection is of no more use. */
static void channel_fail(struct channel *ch)
{
    struct control_client *c = ch->client;

    channel_disconnect(ch);
    if (ch->target == c->target)
        aim(c, -1);
    env_timer_start(c->env, &ch->retry, pause_ms(c));
    channel_take_back(ch);
}

static void on_connect_late(void *arg) { channel_fail(arg); }

static void on_opened(struct env_conn *conn, void *arg)
{
    struct channel *ch = arg;
    struct control_client *c = ch->client;

    (void)conn;
    env_timer_stop(c->env, &ch->connect);
    ch->open = true;
    if (ch->which == CONTROL_CALLS && c->options.connected != NULL)
        c->options.connected(c->options.arg);
    channel_pump(ch);
}

static void on_closed(struct env_conn *conn, void *arg, int error)
{
    struct channel *ch = arg;

    (void)conn;
    (void)error;
    ch->conn = NULL;
    channel_fail(ch);
}

static void on_frame(struct env_conn *conn, void *arg, struct env_frame *frame);

static const struct env_conn_ops conn_ops = {
    .opened = on_opened, .frame = on_frame, .closed = on_closed};

static void channel_connect(struct channel *ch)
{
    struct control_client *c = ch->client;
    const struct address *a = &c->addresses[c->target];

    ch->target = c->target;
    env_timer_start(c->env, &ch->connect, CONNECT_MS);
    ch->conn = env_connect(c->env, a->host, a->port, c->options.frame_max_bytes,
                           &conn_ops, ch);
}

/* Whether nothing is lost by closing the connection. */
static bool channel_may_leave(const struct channel *ch)
{
    LIST_EACH (node, &ch->in_flight) {
        if (!call_of(node)->repeatable)
            return false;
    }
    return true;
}

/* ---- sending ------------------------------------------------------------ */

static void call_arm(struct control_call *call)
{
    struct env *env = call->client->env;
    int64_t now_ms = env_now_ms(env);
    int64_t until_ms = call->expires_ms;

    if (call->sent && call->sent_ms + call->attempt_ms < until_ms)
        until_ms = call->sent_ms + call->attempt_ms;
    if (until_ms == INT64_MAX)
        env_timer_stop(env, &call->timer);
    else
        env_timer_start(env, &call->timer,
                        until_ms > now_ms ? until_ms - now_ms : 0);
}

static void on_call_late(void *arg)
{
    struct control_call *call = arg;
    struct channel *ch = &call->client->channels[call->channel];
    int64_t now_ms = env_now_ms(call->client->env);
    bool stuck = call->sent && now_ms >= call->sent_ms + call->attempt_ms;
    bool late = now_ms >= call->expires_ms;

    if (!stuck && !late) {
        call_arm(call);
        return;
    }
    if (late)
        call_end(call, ERR_REQUEST_TIMED_OUT, NULL);
    if (stuck)
        channel_fail(ch);
}

static void channel_write(struct channel *ch, struct control_call *call)
{
    struct buf copy = BUF_INIT;
    struct env_out *out = env_out_new();

    list_remove(&call->link);
    list_push_back(&ch->in_flight, &call->link);
    call->correlation_id = ch->client->next_correlation_id++;
    be32_put(call->frame.data + CORRELATION_AT, (uint32_t)call->correlation_id);
    call->sent = true;
    call->sent_ms = env_now_ms(ch->client->env);
    call_arm(call);
    buf_put_slice(&copy, buf_slice(&call->frame));
    env_out_add_buf(out, &copy);
    env_conn_send(ch->conn, out);
}

/* Brings the channel forward: to the right controller, connected, everything
 * written. */
static void channel_pump(struct channel *ch)
{
    struct control_client *c = ch->client;

    if (c->addresses_len == 0 || env_timer_running(&ch->retry))
        return;
    if (ch->conn != NULL && ch->target != c->target && channel_may_leave(ch)) {
        channel_disconnect(ch);
        channel_take_back(ch);
    }
    if (ch->conn == NULL) {
        channel_connect(ch);
        return;
    }
    while (ch->open && ch->target == c->target && !list_empty(&ch->waiting))
        channel_write(ch, call_of(ch->waiting.next));
}

static void pack(const struct control_client *c, Leat__ControlRequest *request,
                 struct buf *frame)
{
    size_t id_len = strlen(c->client_id);

    request->cluster_id = c->cluster_id;
    size_t size = leat__control_request__get_packed_size(request);
    buf_reserve(frame, 14 + id_len + size);
    buf_put_u32(frame, (uint32_t)(10 + id_len + size));
    buf_put_u16(frame, CONTROL_API_KEY);
    buf_put_u16(frame, CONTROL_API_VERSION);
    buf_put_u32(frame, 0); /* correlation id, see channel_write() */
    buf_put_u16(frame, (uint16_t)id_len);
    buf_put(frame, c->client_id, id_len);
    leat__control_request__pack(request, buf_extend(frame, size));
    request->cluster_id = (char *)protobuf_c_empty_string;
}

void control_send(struct control_client *c, enum control_channel channel,
                  struct control_call *call, Leat__ControlRequest *request)
{
    struct channel *ch = &c->channels[channel];
    int64_t now_ms = env_now_ms(c->env);

    ASSERT(call->client == NULL);
    call->client = c;
    call->channel = channel;
    call->frame = BUF_INIT;
    call->timer = (struct env_timer){.fn = on_call_late, .arg = call};
    call->sent = call->doubtful = false;
    call->order = c->next_order++;
    call->expires_ms = call->deadline_ms < INT64_MAX - now_ms
                           ? now_ms + call->deadline_ms
                           : INT64_MAX;
    pack(c, request, &call->frame);
    list_init(&call->link);
    list_push_back(&ch->waiting, &call->link);
    call_arm(call);
    channel_pump(ch);
}

/* ---- answers ------------------------------------------------------------ */

static struct control_call *find_call(struct channel *ch, int32_t id)
{
    LIST_EACH (node, &ch->in_flight) {
        if (call_of(node)->correlation_id == id)
            return call_of(node);
    }
    return NULL;
}

/* Controllers that came after this broker's configuration was written, and
 * while it did not run, are known by those that it finds there. */
static void learn(struct control_client *c,
                  const Leat__ControlResponse *response)
{
    size_t host_len = strlen(response->leader_host);

    if (response->leader_id < 0 || host_len == 0 ||
        host_len > LEARNED_HOST_MAX || response->leader_port == 0 ||
        response->leader_port > UINT16_MAX ||
        c->addresses_len >= ADDRESSES_MAX ||
        address_of(c, response->leader_id) < c->addresses_len)
        return;
    c->addresses =
        xrealloc(c->addresses, (c->addresses_len + 1) * sizeof *c->addresses);
    c->addresses[c->addresses_len++] =
        (struct address){response->leader_id, xstrdup(response->leader_host),
                         (uint16_t)response->leader_port};
}

/* The connection stays until the calls behind this one have their answers,
 * which are likely to say the same. */
static void not_active(struct channel *ch, struct control_call *call,
                       const Leat__ControlResponse *response)
{
    struct control_client *c = ch->client;
    int32_t self = c->addresses[ch->target].id;
    int32_t leader_id = response->leader_id;

    learn(c, response);
    list_remove(&call->link);
    call->sent = false;
    put_back(ch, call);
    call_arm(call);
    if (ch->target == c->target) {
        aim(c, leader_id != self ? leader_id : -1);
        env_timer_start(c->env, &ch->retry, pause_ms(c));
    }
    channel_pump(ch);
}

static void active_found(struct channel *ch)
{
    struct control_client *c = ch->client;

    c->failures = 0;
    c->complained = false;
    c->active = c->addresses[ch->target].id;
    c->target = ch->target;
    for (int i = 0; i < CONTROL_CHANNELS; i++) {
        env_timer_stop(c->env, &c->channels[i].retry);
        channel_pump(&c->channels[i]);
    }
}

static void answered(struct channel *ch, struct control_call *call,
                     const Leat__ControlResponse *response)
{
    if (response->error == ERR_NOT_CONTROLLER) {
        not_active(ch, call, response);
        return;
    }
    if (ch->client->failures != 0 || ch->client->target != ch->target ||
        ch->client->active != ch->client->addresses[ch->target].id)
        active_found(ch);
    call_end(call, ERR_NONE, response);
    channel_pump(ch); /* it may have kept the channel from leaving */
}

static void on_frame(struct env_conn *conn, void *arg, struct env_frame *frame)
{
    struct channel *ch = arg;
    struct reader r = reader_of(slice_of(frame->data, frame->len));
    int32_t id = read_i32(&r);
    Leat__ControlResponse *response = NULL;

    (void)conn;
    if (!r.bad)
        response = leat__control_response__unpack(NULL, reader_left(&r), r.at);
    env_frame_unref(frame);
    if (response == NULL) {
        log_warn("server",
                 "A controller's answer cannot be decoded; closing the "
                 "connection to %s:%u",
                 ch->client->addresses[ch->target].host,
                 ch->client->addresses[ch->target].port);
        channel_fail(ch);
        return;
    }
    struct control_call *call = find_call(ch, id);
    if (call != NULL) /* else its deadline has passed */
        answered(ch, call, response);
    leat__control_response__free_unpacked(response, NULL);
}

/* ---- life --------------------------------------------------------------- */

struct control_client *
control_client_new(struct env *env,
                   const struct control_client_options *options)
{
    struct control_client *c = xcalloc(1, sizeof *c);

    c->env = env;
    c->options = *options;
    c->cluster_id = xstrdup(options->cluster_id);
    c->client_id = xstrdup(options->client_id);
    c->active = -1;
    c->next_correlation_id = 1;
    for (int i = 0; i < CONTROL_CHANNELS; i++) {
        struct channel *ch = &c->channels[i];

        ch->client = c;
        ch->which = (enum control_channel)i;
        list_init(&ch->waiting);
        list_init(&ch->in_flight);
        ch->connect = (struct env_timer){.fn = on_connect_late, .arg = ch};
        ch->retry = (struct env_timer){.fn = channel_retry, .arg = ch};
    }
    return c;
}

static void calls_forget(struct env *env, struct list *calls)
{
    for (struct list *node; (node = list_pop_front(calls)) != NULL;) {
        struct control_call *call = call_of(node);

        env_timer_stop(env, &call->timer);
        buf_free(&call->frame);
        call->client = NULL;
    }
}

static void addresses_free(struct control_client *c)
{
    for (size_t i = 0; i < c->addresses_len; i++)
        free(c->addresses[i].host);
    free(c->addresses);
}

void control_client_free(struct control_client *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < CONTROL_CHANNELS; i++) {
        struct channel *ch = &c->channels[i];

        env_timer_stop(c->env, &ch->retry);
        channel_disconnect(ch);
        calls_forget(c->env, &ch->waiting);
        calls_forget(c->env, &ch->in_flight);
    }
    addresses_free(c);
    free(c->cluster_id);
    free(c->client_id);
    free(c);
}

static size_t same_address(const struct control_client *c,
                           const struct address *a)
{
    size_t at = 0;

    while (at < c->addresses_len &&
           (c->addresses[at].port != a->port ||
            strcmp(c->addresses[at].host, a->host) != 0))
        at++;
    return at;
}

/* Connections to addresses that are still in the list stay. */
void control_client_set_addresses(struct control_client *c,
                                  const struct control_address *list,
                                  size_t len)
{
    struct control_client old = *c;

    ASSERT(len != 0);
    c->addresses = xcalloc(len, sizeof *c->addresses);
    c->addresses_len = len;
    for (size_t i = 0; i < len; i++)
        c->addresses[i] =
            (struct address){list[i].id, xstrdup(list[i].host), list[i].port};
    c->target = 0;
    if (old.addresses_len != 0) {
        size_t at = same_address(c, &old.addresses[old.target]);
        c->target = at < len ? at : 0;
    }
    for (int i = 0; i < CONTROL_CHANNELS; i++) {
        struct channel *ch = &c->channels[i];

        if (ch->conn == NULL)
            continue;
        size_t at = same_address(c, &old.addresses[ch->target]);
        ch->target = at < len ? at : 0;
        if (at == len)
            channel_fail(ch);
    }
    addresses_free(&old);
}

int32_t control_client_active(const struct control_client *c)
{
    return c->active;
}
