/* Internal topics of streams groups (KIP-1071): the coordinator says which its
 * group lacks, and the controller makes them, as if the group's client had
 * asked for them.  What came of it is not told unless it failed: the
 * coordinator sees the topics in the metadata.
 *
 * One call for a group at a time.  The coordinator asks again as long as topics
 * are missing, so an order that cannot be carried out is dropped. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "broker/coord/streams/streams_coord.h"

#include <stdlib.h>

enum {
    CREATE_VERSION = 5,
    CREATE_MS = 10000, /* to reach a controller and get its answer */
    REASONS_MAX = 3,   /* told of one call */
};

static struct meta *meta_of(const struct topic_order *o)
{
    return o->from->broker->meta;
}

static void order_free(struct topic_order *o)
{
    streams_creation_free(o->creation);
    free(o);
}

/* ---- back ---------------------------------------------------------------- */

static void tell(struct env_task *task)
{
    struct topic_order *o = LIST_ENTRY(task, struct topic_order, task);

    o->failed(o);
    order_free(o);
}

static void order_end(struct topic_order *o)
{
    list_remove(&o->link);
    if (slice_is_null(o->why)) {
        order_free(o);
        return;
    }
    o->task.fn = tell;
    env_post(o->from->env, &o->task);
}

/* Topics that are there already are as good. */
static bool
has_failed(const struct create_topics_response_creatable_topic_result *t)
{
    return t->error_code != ERR_NONE &&
           t->error_code != ERR_TOPIC_ALREADY_EXISTS;
}

static struct slice reasons(const struct create_topics_response *response,
                            struct arena *arena)
{
    struct slice why = SLICE_NULL;
    int told = 0;

    for (int32_t i = 0; i < response->topics_len && told < REASONS_MAX; i++) {
        const struct create_topics_response_creatable_topic_result *t =
            &response->topics[i];

        if (!has_failed(t))
            continue;
        why =
            arena_printf(arena, "%.*s%s%.*s: %s. %.*s", SLICE_FMT(why),
                         told > 0 ? "; " : "", SLICE_FMT(t->name),
                         err_text(t->error_code), SLICE_FMT(t->error_message));
        told++;
    }
    return why;
}

static void look_at_results(struct topic_order *o,
                            const Leat__ForwardResponse *forward)
{
    struct slice body = slice_of(forward->body.data, forward->body.len);
    struct arena *arena = &o->creation->arena;
    struct create_topics_response response;

    if (kafka_decode(&create_topics_response_desc, CREATE_VERSION, body, arena,
                     &response) == ERR_NONE)
        o->why = reasons(&response, arena);
    else
        o->why = SLICE("the controller's answer cannot be read");
}

static void on_done(struct control_call *call, enum err error,
                    const Leat__ControlResponse *response)
{
    struct topic_order *o = LIST_ENTRY(call, struct topic_order, call);

    if (error == ERR_NONE && response->error == ERR_NONE &&
        response->result_case == LEAT__CONTROL_RESPONSE__RESULT_FORWARD)
        look_at_results(o, response->forward);
    else
        o->why = slice_str(
            err_text(error != ERR_NONE ? (int)error : response->error));
    order_end(o);
}

/* ---- there --------------------------------------------------------------- */

static void encode_request(const struct topic_order *o, struct buf *body)
{
    struct create_topics_request q;

    create_topics_request_init(&q);
    q.topics = o->creation->topics;
    q.topics_len = (int32_t)o->creation->topics_len;
    q.timeout_ms = CREATE_MS;
    enum err error = kafka_encode(&create_topics_request_desc, CREATE_VERSION,
                                  &q, body, NULL);
    ASSERT(error == ERR_NONE);
}

static void order_send(struct topic_order *o)
{
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__ForwardRequest f = LEAT__FORWARD_REQUEST__INIT;
    struct buf body = BUF_INIT;

    encode_request(o, &body);
    f.api_key = API_CREATE_TOPICS;
    f.api_version = CREATE_VERSION;
    f.client_id = "streams-group";
    f.principal = "User:ANONYMOUS";
    f.client_host = "";
    f.body = (ProtobufCBinaryData){body.len, body.data};
    request.call_case = LEAT__CONTROL_REQUEST__CALL_FORWARD;
    request.forward = &f;
    o->call.repeatable = true; /* "already exists" is as good */
    o->call.attempt_ms = CREATE_MS;
    o->call.deadline_ms = CREATE_MS;
    o->call.done = on_done;
    control_send(meta_of(o)->control, CONTROL_CALLS, &o->call, &request);
    buf_free(&body);
}

static bool is_running(const struct topic_order *o)
{
    LIST_EACH (node, &meta_of(o)->topic_orders) {
        const struct topic_order *other =
            LIST_ENTRY(node, struct topic_order, link);

        if (slice_eq(other->creation->group, o->creation->group))
            return true;
    }
    return false;
}

static void arrived(struct env_task *task)
{
    struct topic_order *o = LIST_ENTRY(task, struct topic_order, task);

    if (is_running(o)) {
        order_free(o);
        return;
    }
    list_push_back(&meta_of(o)->topic_orders, &o->link);
    order_send(o);
}

void meta_make_topics(struct topic_order *order)
{
    order->why = SLICE_NULL;
    order->task.fn = arrived;
    list_init(&order->link);
    env_post(meta_of(order)->env, &order->task);
}

/* ---- life ---------------------------------------------------------------- */

void topic_orders_init(struct meta *m) { list_init(&m->topic_orders); }

void topic_orders_stop(struct meta *m)
{
    for (struct list *node; (node = list_pop_front(&m->topic_orders)) != NULL;)
        order_free(LIST_ENTRY(node, struct topic_order, link));
}
