#include "broker/coord/share/router.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/planted.h"

#include <stdlib.h>

enum {
    QUESTIONS_PER_REQUEST = 1000,
    BATCHES_PER_REQUEST = 100000, /* but for the first question's */
    PAUSE_MS = 20,
    PAUSE_MAX_MS = 1000,
};

/* The questions of one API to one broker. */
struct lane {
    struct list queue; /* of share_question.link */
    bool busy;         /* a request is on its way */
};

struct share_router {
    const struct share_router_ops *ops;
    void *arg;
    struct map lanes;  /* API and broker, 8 bytes; those that are used */
    struct heap again; /* of share_question.again */
};

struct share_router *share_router_new(const struct share_router_ops *ops,
                                      void *arg)
{
    struct share_router *router = xcalloc(1, sizeof *router);

    router->ops = ops;
    router->arg = arg;
    return router;
}

void share_router_free(struct share_router *router)
{
    MAP_EACH (e, &router->lanes)
        free(e->value);
    map_free(&router->lanes);
    heap_free(&router->again);
    free(router);
}

/* ---- requests ------------------------------------------------------------*/

void share_router_request_free(struct share_router_request *request)
{
    arena_free(&request->arena);
    free(request);
}

static size_t count(const struct share_router_request *request)
{
    size_t len = 0;

    LIST_EACH (node, &request->questions)
        len++;
    return len;
}

#define EACH_QUESTION(q, request)                                              \
    LIST_EACH (node_, &(request)->questions)                                   \
        for (struct share_question *q =                                        \
                 LIST_ENTRY(node_, struct share_question, link);               \
             q != NULL; q = NULL)

/* Each question is a topic with one partition: what comes back has the same
 * order. */
static void fill_initialize(struct share_router_request *to, struct slice group,
                            size_t len)
{
    struct initialize_share_group_state_request *r = &to->request.initialize;

    r->group_id = group;
    r->topics = arena_array(&to->arena, len, sizeof *r->topics);
    EACH_QUESTION(q, to)
    {
        struct initialize_share_group_state_request_initialize_state_data *t =
            &r->topics[r->topics_len++];

        t->topic_id = q->topic;
        t->partitions_len = 1;
        t->partitions = arena_alloc(&to->arena, sizeof *t->partitions);
        *t->partitions =
            (struct initialize_share_group_state_request_partition_data){
                q->partition, q->state_epoch, q->start_offset};
    }
}

static void fill_read(struct share_router_request *to, struct slice group,
                      size_t len)
{
    struct read_share_group_state_request *r = &to->request.read;

    r->group_id = group;
    r->topics = arena_array(&to->arena, len, sizeof *r->topics);
    EACH_QUESTION(q, to)
    {
        struct read_share_group_state_request_read_state_data *t =
            &r->topics[r->topics_len++];

        t->topic_id = q->topic;
        t->partitions_len = 1;
        t->partitions = arena_alloc(&to->arena, sizeof *t->partitions);
        *t->partitions = (struct read_share_group_state_request_partition_data){
            q->partition, q->leader_epoch};
    }
}

static void
fill_batches(struct arena *arena, const struct share_question *q,
             struct write_share_group_state_request_partition_data *to)
{
    to->state_batches_len = (int32_t)q->batches_len;
    to->state_batches =
        arena_array(arena, q->batches_len, sizeof *to->state_batches);
    for (uint32_t i = 0; i < q->batches_len; i++)
        to->state_batches[i] =
            (struct write_share_group_state_request_state_batch){
                q->batches[i].first, q->batches[i].last,
                (int8_t)q->batches[i].state, q->batches[i].deliveries};
}

static void fill_write(struct share_router_request *to, struct slice group,
                       size_t len)
{
    struct write_share_group_state_request *r = &to->request.write;

    r->group_id = group;
    r->topics = arena_array(&to->arena, len, sizeof *r->topics);
    EACH_QUESTION(q, to)
    {
        struct write_share_group_state_request_write_state_data *t =
            &r->topics[r->topics_len++];

        t->topic_id = q->topic;
        t->partitions_len = 1;
        t->partitions = arena_alloc(&to->arena, sizeof *t->partitions);
        t->partitions->partition = q->partition;
        t->partitions->state_epoch = q->state_epoch;
        t->partitions->leader_epoch = q->leader_epoch;
        t->partitions->start_offset = q->start_offset;
        t->partitions->delivery_complete_count = q->complete;
        fill_batches(&to->arena, q, t->partitions);
    }
}

static void fill_delete(struct share_router_request *to, struct slice group,
                        size_t len)
{
    struct delete_share_group_state_request *r = &to->request.delete_;

    r->group_id = group;
    r->topics = arena_array(&to->arena, len, sizeof *r->topics);
    EACH_QUESTION(q, to)
    {
        struct delete_share_group_state_request_delete_state_data *t =
            &r->topics[r->topics_len++];

        t->topic_id = q->topic;
        t->partitions_len = 1;
        t->partitions = arena_alloc(&to->arena, sizeof *t->partitions);
        t->partitions->partition = q->partition;
    }
}

static void fill_summary(struct share_router_request *to, struct slice group,
                         size_t len)
{
    struct read_share_group_state_summary_request *r = &to->request.summary;

    r->group_id = group;
    r->topics = arena_array(&to->arena, len, sizeof *r->topics);
    EACH_QUESTION(q, to)
    {
        struct read_share_group_state_summary_request_read_state_summary_data
            *t = &r->topics[r->topics_len++];

        t->topic_id = q->topic;
        t->partitions_len = 1;
        t->partitions = arena_alloc(&to->arena, sizeof *t->partitions);
        *t->partitions =
            (struct read_share_group_state_summary_request_partition_data){
                q->partition, q->leader_epoch};
    }
}

static void fill(struct share_router_request *to, struct slice group)
{
    size_t len = count(to);

    switch (to->api) {
    case API_INITIALIZE_SHARE_GROUP_STATE:
        fill_initialize(to, group, len);
        break;
    case API_READ_SHARE_GROUP_STATE:
        fill_read(to, group, len);
        break;
    case API_WRITE_SHARE_GROUP_STATE:
        to->version = 1;
        fill_write(to, group, len);
        break;
    case API_DELETE_SHARE_GROUP_STATE:
        fill_delete(to, group, len);
        break;
    case API_READ_SHARE_GROUP_STATE_SUMMARY:
        to->version = 1;
        fill_summary(to, group, len);
        break;
    default:
        ASSERT(false); /* asked something else */
    }
}

/* Takes from the queue what goes together with its first. */
static struct share_router_request *request_new(struct list *queue,
                                                int32_t broker)
{
    const struct share_question *first =
        LIST_ENTRY(queue->next, struct share_question, link);
    struct share_router_request *request = xcalloc(1, sizeof *request);
    uint32_t batches = 0;
    int len = 0;

    list_init(&request->questions);
    arena_init(&request->arena, 0);
    request->api = first->api;
    request->broker = broker;
    LIST_EACH_SAFE (node, next, queue) {
        struct share_question *q =
            LIST_ENTRY(node, struct share_question, link);

        if (!slice_eq(q->group, first->group))
            continue;
        if (len == QUESTIONS_PER_REQUEST ||
            (len != 0 && batches + q->batches_len > BATCHES_PER_REQUEST))
            break;
        len++;
        batches += q->batches_len;
        list_remove(&q->link);
        list_push_back(&request->questions, &q->link);
    }
    fill(request, first->group);
    return request;
}

/* ---- lanes ---------------------------------------------------------------*/

enum { LANE_KEY_BYTES = 8 };

static struct slice lane_key(uint8_t out[static LANE_KEY_BYTES],
                             enum api_key api, int32_t broker)
{
    be32_put(out, (uint32_t)api);
    be32_put(out + 4, (uint32_t)broker);
    return slice_of(out, LANE_KEY_BYTES);
}

static void lane_send(struct share_router *router, struct lane *lane,
                      enum api_key api, int32_t broker)
{
    uint8_t key[LANE_KEY_BYTES];

    lane->busy = !list_empty(&lane->queue);
    if (lane->busy) {
        router->ops->send(router->arg, broker,
                          request_new(&lane->queue, broker));
        return;
    }
    map_remove(&router->lanes, lane_key(key, api, broker));
    free(lane);
}

static struct lane *lane_of(struct share_router *router, enum api_key api,
                            int32_t broker)
{
    uint8_t bytes[LANE_KEY_BYTES];
    struct slice key = lane_key(bytes, api, broker);
    struct lane *lane = map_get(&router->lanes, key);

    if (lane != NULL)
        return lane;
    lane = xcalloc(1, sizeof *lane);
    list_init(&lane->queue);
    map_put(&router->lanes, key, lane);
    return lane;
}

/* ---- again ---------------------------------------------------------------*/

static int64_t pause_ms(const struct share_question *q)
{
    int64_t ms = PAUSE_MS;

    for (int32_t i = 1; i < q->attempts && ms < PAUSE_MAX_MS; i++)
        ms *= 2;
    return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

static void done(struct share_router *router, struct share_question *q,
                 enum err err)
{
    q->err = err;
    router->ops->done(router->arg, q);
}

static void again(struct share_router *router, struct share_question *q,
                  enum err err, int64_t now_ms)
{
    q->attempts++;
    if (now_ms >= q->deadline_ms) {
        done(router, q, err);
        return;
    }
    int64_t at_ms = now_ms + pause_ms(q);
    q->err = err;
    heap_set(&router->again, &q->again,
             at_ms < q->deadline_ms ? at_ms : q->deadline_ms);
}

/* Into its lane; the caller sends.  NULL: it waits for a coordinator. */
static struct lane *place(struct share_router *router, struct share_question *q,
                          int64_t now_ms, int32_t *broker)
{
    *broker = router->ops->coordinator(router->arg, q);
    if (*broker < 0) {
        again(router, q, ERR_COORDINATOR_NOT_AVAILABLE, now_ms);
        return NULL;
    }
    struct lane *lane = lane_of(router, q->api, *broker);
    list_push_back(&lane->queue, &q->link);
    return lane;
}

void share_router_ask(struct share_router *router, struct share_question *q,
                      int64_t now_ms)
{
    int32_t broker;

    list_init(&q->link);
    q->again = (struct heap_node){0};
    q->attempts = 0;
    struct lane *lane = place(router, q, now_ms, &broker);
    if (lane != NULL && !lane->busy)
        lane_send(router, lane, q->api, broker);
}

int64_t share_router_next_deadline(const struct share_router *router)
{
    const struct heap_node *first = heap_first(&router->again);

    return first == NULL ? INT64_MAX : first->key;
}

void share_router_tick(struct share_router *router, int64_t now_ms)
{
    struct heap_node *first;

    while ((first = heap_first(&router->again)) != NULL &&
           first->key <= now_ms) {
        struct share_question *q =
            HEAP_ENTRY(first, struct share_question, again);
        int32_t broker;

        heap_remove(&router->again, first);
        if (now_ms >= q->deadline_ms) {
            done(router, q, q->err);
            continue;
        }
        struct lane *lane = place(router, q, now_ms, &broker);
        if (lane != NULL && !lane->busy)
            lane_send(router, lane, q->api, broker);
    }
}

/* ---- answers -------------------------------------------------------------*/

static bool passes(const struct share_question *q, enum err err)
{
    switch (err) {
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_NOT_COORDINATOR:
        return true;
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
        return q->api != API_DELETE_SHARE_GROUP_STATE;
    default:
        return false;
    }
}

static void
take_state(struct share_question *q,
           const struct read_share_group_state_response_partition_result *p)
{
    q->told.state_epoch = p->state_epoch;
    q->told.start_offset = p->start_offset;
    q->told.len = (uint32_t)p->state_batches_len;
    q->told.batches = xcalloc(q->told.len + 1, sizeof *q->told.batches);
    for (uint32_t i = 0; i < q->told.len; i++)
        q->told.batches[i] = (struct share_batch){
            p->state_batches[i].first_offset, p->state_batches[i].last_offset,
            (enum share_state)p->state_batches[i].delivery_state,
            p->state_batches[i].delivery_count};
}

/* Whether place `i` of a list of results is about this one. */
#define IS_ABOUT(q, r, i)                                                      \
    ((i) < (r)->results_len && (r)->results[i].partitions_len == 1 &&          \
     uuid_eq((r)->results[i].topic_id, (q)->topic) &&                          \
     (r)->results[i].partitions[0].partition == (q)->partition)

#define RESULT(q, r, i)                                                        \
    (IS_ABOUT(q, r, i) ? (enum err)(r)->results[i].partitions[0].error_code    \
                       : ERR_UNKNOWN_SERVER_ERROR)

static enum err take_read(struct share_question *q,
                          const struct read_share_group_state_response *r,
                          int32_t i)
{
    enum err err = RESULT(q, r, i);

    if (err == ERR_NONE)
        take_state(q, &r->results[i].partitions[0]);
    return err;
}

static enum err
take_summary(struct share_question *q,
             const struct read_share_group_state_summary_response *r, int32_t i)
{
    enum err err = RESULT(q, r, i);

    if (err != ERR_NONE)
        return err;
    q->told.state_epoch = r->results[i].partitions[0].state_epoch;
    q->told.leader_epoch = r->results[i].partitions[0].leader_epoch;
    q->told.start_offset = r->results[i].partitions[0].start_offset;
    q->told.complete = r->results[i].partitions[0].delivery_complete_count;
    return ERR_NONE;
}

static enum err take(struct share_question *q, const void *response, int32_t i)
{
    const struct initialize_share_group_state_response *initialize = response;
    const struct write_share_group_state_response *write = response;
    const struct delete_share_group_state_response *delete_ = response;

    switch (q->api) {
    case API_INITIALIZE_SHARE_GROUP_STATE:
        return RESULT(q, initialize, i);
    case API_READ_SHARE_GROUP_STATE:
        return take_read(q, response, i);
    case API_WRITE_SHARE_GROUP_STATE:
        return RESULT(q, write, i);
    case API_DELETE_SHARE_GROUP_STATE:
        return RESULT(q, delete_, i);
    default:
        return take_summary(q, response, i);
    }
}

static void take_all(struct share_router *router, struct list *questions,
                     enum err error, const void *response, int64_t now_ms)
{
    int32_t i = 0;

    for (struct list *node; (node = list_pop_front(questions)) != NULL; i++) {
        struct share_question *q =
            LIST_ENTRY(node, struct share_question, link);
        enum err err = error != ERR_NONE ? error : take(q, response, i);

        if (PLANTED(SHARE_WRITES_ONCE) && q->api == API_WRITE_SHARE_GROUP_STATE)
            done(router, q, ERR_NONE);
        else if (error != ERR_NONE || passes(q, err))
            again(router, q, err, now_ms);
        else
            done(router, q, err);
    }
}

void share_router_answered(struct share_router *router,
                           struct share_router_request *request, enum err error,
                           const void *response, int64_t now_ms)
{
    enum api_key api = request->api;
    int32_t broker = request->broker;
    struct list questions;

    list_init(&questions);
    list_append_all(&questions, &request->questions);
    share_router_request_free(request);
    take_all(router, &questions, error, response, now_ms);

    /* Coordinators may have moved while the others waited. */
    struct lane *lane = lane_of(router, api, broker);
    struct list waiting;
    ASSERT(lane->busy);
    lane->busy = false;
    list_init(&waiting);
    list_append_all(&waiting, &lane->queue);
    for (struct list *node; (node = list_pop_front(&waiting)) != NULL;) {
        struct share_question *q =
            LIST_ENTRY(node, struct share_question, link);
        int32_t now;
        struct lane *its = place(router, q, now_ms, &now);

        if (its != NULL && its != lane && !its->busy)
            lane_send(router, its, api, now);
    }
    if (!lane->busy) /* who heard the end may have asked again */
        lane_send(router, lane, api, broker);
}
