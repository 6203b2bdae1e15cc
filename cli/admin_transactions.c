/* Ids live with their coordinators, producers with the leaders of partitions: a
 * list asks all brokers, the rest asks one and looks for it again if it moved.
 */
#include "cli/admin_transactions.h"

#include "cli/admin_topics.h"

#include <stdlib.h>

/* As Kafka's FenceProducers: whoever has the id has nothing to end it with. */
enum { FENCING_TIMEOUT_MS = 1 };

static enum err told(struct client *c, int16_t code)
{
    return code == ERR_NONE ? ERR_NONE
                            : client_fail(c, (enum err)code, "%s (%s)",
                                          err_text((enum err)code),
                                          err_name((enum err)code));
}

/* Elsewhere now: to be looked for, and asked again. */
static bool has_moved(enum err error)
{
    return error == ERR_NOT_COORDINATOR || error == ERR_CLOSED ||
           error == ERR_REFUSED || error == ERR_NOT_LEADER_OR_FOLLOWER;
}

static bool again(struct client_retry *retry, enum err error)
{
    return client_retry(retry,
                        has_moved(error) ? ERR_REQUEST_TIMED_OUT : error);
}

/* ---- lists --------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const struct txn_listing *x = a, *y = b;

    return slice_cmp(x->id, y->id);
}

static enum err check_version(struct client *c, int32_t node,
                              const struct txn_filter *filter)
{
    int16_t version = client_version(c, node, API_LIST_TRANSACTIONS);

    if (version < 0)
        return client_fail(c, ERR_UNSUPPORTED_VERSION, "%s", client_why(c));
    if (filter->duration_ms >= 0 && version < 1)
        return client_fail(c, ERR_UNSUPPORTED_VERSION,
                           "broker %d cannot filter by duration", (int)node);
    if (!slice_is_null(filter->pattern) && version < 2)
        return client_fail(c, ERR_UNSUPPORTED_VERSION,
                           "broker %d cannot filter by a pattern", (int)node);
    return ERR_NONE;
}

static void add_listings(struct txn_listing **list, int32_t *len, int32_t node,
                         const struct list_transactions_response *r,
                         struct arena *a)
{
    struct txn_listing *more = arena_array(
        a, (size_t)*len + (size_t)r->transaction_states_len + 1, sizeof *more);

    if (*len != 0)
        memcpy(more, *list, (size_t)*len * sizeof *more);
    for (int32_t i = 0; i < r->transaction_states_len; i++)
        more[*len + i] = (struct txn_listing){
            .id = r->transaction_states[i].transactional_id,
            .coordinator = node,
            .producer_id = r->transaction_states[i].producer_id,
            .state = r->transaction_states[i].transaction_state,
        };
    *len += r->transaction_states_len;
    *list = more;
}

static enum err list_on(struct client *c, int32_t node,
                        const struct txn_filter *filter, struct arena *a,
                        struct txn_listing **list, int32_t *len)
{
    struct list_transactions_request q;
    struct list_transactions_response r;
    struct client_retry retry;
    enum err error = check_version(c, node, filter);

    if (error != ERR_NONE)
        return error;
    list_transactions_request_init(&q);
    q.duration_filter = filter->duration_ms;
    q.transactional_id_pattern = filter->pattern;
    q.producer_id_filters = (int64_t *)(uintptr_t)filter->producer_ids;
    q.producer_id_filters_len = filter->producer_ids_len;
    client_retry_init(c, &retry);
    do {
        error = client_call(c, node, API_LIST_TRANSACTIONS, &q, &r, a);
        if (error == ERR_NONE)
            error = told(c, r.error_code);
    } while (client_retry(&retry, error));
    if (error == ERR_NONE)
        add_listings(list, len, node, &r, a);
    return error;
}

enum err admin_transactions_list(struct client *c,
                                 const struct txn_filter *filter,
                                 struct arena *a, struct txn_listing **list,
                                 int32_t *len)
{
    const struct client_node *nodes;
    enum err error = client_refresh(c);

    *list = NULL;
    *len = 0;
    size_t count = client_nodes(c, &nodes);
    for (size_t i = 0; error == ERR_NONE && i < count; i++)
        error = list_on(c, nodes[i].id, filter, a, list, len);
    if (error == ERR_NONE && *len > 0)
        qsort(*list, (size_t)*len, sizeof **list, by_id);
    return error;
}

/* ---- one ----------------------------------------------------------------- */

static enum err describe_once(struct client *c, struct slice id,
                              struct arena *a, struct txn_view *view)
{
    struct describe_transactions_request q;
    struct describe_transactions_response r;

    view->coordinator = client_txn_coordinator(c, id);
    if (view->coordinator < 0)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    describe_transactions_request_init(&q);
    q.transactional_ids = &id;
    q.transactional_ids_len = 1;
    enum err error =
        client_call(c, view->coordinator, API_DESCRIBE_TRANSACTIONS, &q, &r, a);
    if (error != ERR_NONE)
        return error;
    if (r.transaction_states_len != 1)
        return client_fail(c, ERR_MALFORMED, "the answer makes no sense");
    view->state = r.transaction_states[0];
    return told(c, view->state.error_code);
}

enum err admin_transaction_describe(struct client *c, struct slice id,
                                    struct arena *a, struct txn_view *view)
{
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    do
        error = describe_once(c, id, a, view);
    while (again(&retry, error));
    return error;
}

/* ---- producers ----------------------------------------------------------- */

static enum err leader_of(struct client *c, struct slice topic,
                          int32_t partition, struct arena *a, int32_t *leader)
{
    struct metadata_response m;
    enum err error = client_topics(c, &topic, 1, false, &m, a);

    if (error == ERR_NONE && m.topics_len == 1)
        error = told(c, m.topics[0].error_code);
    if (error != ERR_NONE)
        return error;
    for (int32_t i = 0; m.topics_len == 1 && i < m.topics[0].partitions_len;
         i++)
        if (m.topics[0].partitions[i].partition_index == partition) {
            *leader = m.topics[0].partitions[i].leader_id;
            return *leader >= 0 ? ERR_NONE : told(c, ERR_LEADER_NOT_AVAILABLE);
        }
    return client_fail(c, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                       "topic %.*s has no partition %d", SLICE_FMT(topic),
                       (int)partition);
}

static enum err
producers_of(struct client *c, int32_t node, struct slice topic,
             int32_t *partitions, int32_t len, struct arena *a,
             struct describe_producers_response_topic_response *out)
{
    struct describe_producers_request_topic_request t;
    struct describe_producers_request q;
    struct describe_producers_response r;

    describe_producers_request_init(&q);
    describe_producers_request_topic_request_init(&t);
    t.name = topic;
    t.partition_indexes = partitions;
    t.partition_indexes_len = len;
    q.topics = &t;
    q.topics_len = 1;
    enum err error = client_call(c, node, API_DESCRIBE_PRODUCERS, &q, &r, a);
    if (error != ERR_NONE)
        return error;
    if (r.topics_len != 1 || r.topics[0].partitions_len != len)
        return client_fail(c, ERR_MALFORMED, "the answer makes no sense");
    *out = r.topics[0];
    return ERR_NONE;
}

static enum err
producers_once(struct client *c, int32_t node, struct slice topic,
               int32_t partition, struct arena *a,
               struct describe_producers_response_partition_response *view)
{
    struct describe_producers_response_topic_response answer;
    enum err error = ERR_NONE;

    if (node < 0)
        error = leader_of(c, topic, partition, a, &node);
    if (error == ERR_NONE)
        error = producers_of(c, node, topic, &partition, 1, a, &answer);
    if (error != ERR_NONE)
        return error;
    *view = answer.partitions[0];
    if (view->error_code != ERR_NONE && view->error_message.len != 0)
        return client_fail(c, (enum err)view->error_code, "%.*s",
                           SLICE_FMT(view->error_message));
    return told(c, view->error_code);
}

enum err
admin_producers(struct client *c, int32_t node, struct slice topic,
                int32_t partition, struct arena *a,
                struct describe_producers_response_partition_response *view)
{
    struct client_retry retry;
    enum err error;

    if (node >= 0)
        return producers_once(c, node, topic, partition, a, view);
    client_retry_init(c, &retry);
    do
        error = producers_once(c, node, topic, partition, a, view);
    while (again(&retry, error));
    return error;
}

enum err admin_transaction_at(struct client *c, struct slice topic,
                              int32_t partition, int64_t start_offset,
                              struct arena *a, struct txn_place *place,
                              bool *found)
{
    struct describe_producers_response_partition_response view;
    enum err error = admin_producers(c, -1, topic, partition, a, &view);

    *found = false;
    *place = (struct txn_place){.topic = topic, .partition = partition};
    for (int32_t i = 0; error == ERR_NONE && i < view.active_producers_len; i++)
        if (view.active_producers[i].current_txn_start_offset == start_offset &&
            start_offset >= 0) {
            place->producer = view.active_producers[i];
            *found = true;
        }
    return error;
}

/* ---- ending -------------------------------------------------------------- */

static enum err abort_once(struct client *c, struct arena *a,
                           struct txn_place place)
{
    struct write_txn_markers_request_writable_txn_marker_topic topic;
    struct write_txn_markers_request_writable_txn_marker marker;
    struct write_txn_markers_request q;
    struct write_txn_markers_response r;
    int32_t leader;
    enum err error = leader_of(c, place.topic, place.partition, a, &leader);

    if (error != ERR_NONE)
        return error;
    write_txn_markers_request_init(&q);
    write_txn_markers_request_writable_txn_marker_init(&marker);
    write_txn_markers_request_writable_txn_marker_topic_init(&topic);
    topic.name = place.topic;
    topic.partition_indexes = &place.partition;
    topic.partition_indexes_len = 1;
    marker.producer_id = place.producer.producer_id;
    marker.producer_epoch = (int16_t)place.producer.producer_epoch;
    marker.coordinator_epoch = place.producer.coordinator_epoch;
    marker.topics = &topic;
    marker.topics_len = 1;
    q.markers = &marker;
    q.markers_len = 1;
    error = client_call(c, leader, API_WRITE_TXN_MARKERS, &q, &r, a);
    if (error != ERR_NONE)
        return error;
    if (r.markers_len != 1 || r.markers[0].topics_len != 1 ||
        r.markers[0].topics[0].partitions_len != 1)
        return client_fail(c, ERR_MALFORMED, "the answer makes no sense");
    return told(c, r.markers[0].topics[0].partitions[0].error_code);
}

enum err admin_transaction_abort(struct client *c, struct arena *a,
                                 const struct txn_place *place)
{
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    do
        error = abort_once(c, a, *place);
    while (again(&retry, error));
    return error;
}

static enum err terminate_once(struct client *c, struct slice id,
                               struct arena *a)
{
    struct init_producer_id_request q;
    struct init_producer_id_response r;
    int32_t node = client_txn_coordinator(c, id);

    if (node < 0)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    init_producer_id_request_init(&q);
    q.transactional_id = id;
    q.transaction_timeout_ms = FENCING_TIMEOUT_MS;
    enum err error = client_call(c, node, API_INIT_PRODUCER_ID, &q, &r, a);
    return error == ERR_NONE ? told(c, r.error_code) : error;
}

enum err admin_transaction_terminate(struct client *c, struct slice id,
                                     struct arena *a)
{
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    do /* CONCURRENT_TRANSACTIONS until the abort is complete */
        error = terminate_once(c, id, a);
    while (again(&retry, error == ERR_CONCURRENT_TRANSACTIONS
                             ? ERR_REQUEST_TIMED_OUT
                             : error));
    return error;
}

/* ---- hanging ------------------------------------------------------------- */

struct search {
    struct client *c;
    const struct txn_search *what;
    struct arena *a;
    struct buf found; /* of struct txn_place */
};

static bool is_asked(const struct search *s,
                     const struct metadata_response_partition *p, int32_t node)
{
    if (s->what->partition >= 0 && p->partition_index != s->what->partition)
        return false;
    if (s->what->broker < 0)
        return p->leader_id == node;
    for (int32_t i = 0; i < p->replica_nodes_len; i++)
        if (p->replica_nodes[i] == node)
            return node == s->what->broker;
    return false;
}

static void
note_open(struct search *s, struct slice topic,
          const struct describe_producers_response_partition_response *p)
{
    for (int32_t i = 0; i < p->active_producers_len; i++) {
        struct txn_place place = {topic, p->partition_index,
                                  p->active_producers[i]};

        if (place.producer.current_txn_start_offset >= 0 &&
            s->what->now_ms - place.producer.last_timestamp > s->what->idle_ms)
            buf_put(&s->found, &place, sizeof place);
    }
}

static enum err search_node(struct search *s,
                            const struct metadata_response_topic *t,
                            int32_t node)
{
    int32_t *partitions =
        arena_array(s->a, (size_t)t->partitions_len + 1, sizeof *partitions);
    struct describe_producers_response_topic_response answer;
    int32_t len = 0;
    enum err error;

    for (int32_t i = 0; i < t->partitions_len; i++)
        if (is_asked(s, &t->partitions[i], node))
            partitions[len++] = t->partitions[i].partition_index;
    if (len == 0)
        return ERR_NONE;
    error = producers_of(s->c, node, t->name, partitions, len, s->a, &answer);
    for (int32_t i = 0; error == ERR_NONE && i < len; i++) {
        error = told(s->c, answer.partitions[i].error_code);
        if (error == ERR_NONE)
            note_open(s, t->name, &answer.partitions[i]);
    }
    return error;
}

static enum err search_topics(struct search *s)
{
    bool all = slice_is_null(s->what->topic);
    const struct client_node *nodes;
    struct metadata_response m;
    enum err error =
        client_topics(s->c, &s->what->topic, all ? -1 : 1, false, &m, s->a);

    size_t count = client_nodes(s->c, &nodes);
    for (int32_t t = 0; error == ERR_NONE && t < m.topics_len; t++) {
        if (!all)
            error = told(s->c, m.topics[t].error_code);
        for (size_t i = 0; error == ERR_NONE && i < count; i++)
            error = search_node(s, &m.topics[t], nodes[i].id);
    }
    return error;
}

static bool is_part_of(const struct txn_view *view,
                       const struct txn_place *place)
{
    for (int32_t t = 0; t < view->state.topics_len; t++)
        for (int32_t i = 0; i < view->state.topics[t].partitions_len; i++)
            if (slice_eq(view->state.topics[t].topic, place->topic) &&
                view->state.topics[t].partitions[i] == place->partition)
                return true;
    return false;
}

/* Nobody has the producer, or not with this partition. */
static enum err is_hanging(struct search *s, const struct txn_place *place,
                           bool *hangs)
{
    struct txn_filter filter = {.duration_ms = -1,
                                .producer_ids = &place->producer.producer_id,
                                .producer_ids_len = 1};
    struct txn_listing *list;
    struct txn_view view;
    int32_t len;
    enum err error = admin_transactions_list(s->c, &filter, s->a, &list, &len);

    *hangs = true;
    for (int32_t i = 0; error == ERR_NONE && *hangs && i < len; i++) {
        error = admin_transaction_describe(s->c, list[i].id, s->a, &view);
        if (error == ERR_TRANSACTIONAL_ID_NOT_FOUND)
            error = ERR_NONE;
        else
            *hangs = error == ERR_NONE && !is_part_of(&view, place);
    }
    return error;
}

enum err admin_transactions_hanging(struct client *c,
                                    const struct txn_search *what,
                                    struct arena *a, struct txn_place **list,
                                    int32_t *len)
{
    struct search s = {c, what, a, BUF_INIT};
    enum err error = search_topics(&s);
    int32_t count = (int32_t)(s.found.len / sizeof **list);
    struct txn_place place;
    bool hangs;

    *len = 0;
    *list = arena_array(a, (size_t)count + 1, sizeof **list);
    for (int32_t i = 0; error == ERR_NONE && i < count; i++) {
        memcpy(&place, s.found.data + (size_t)i * sizeof place, sizeof place);
        error = is_hanging(&s, &place, &hangs);
        if (error == ERR_NONE && hangs)
            (*list)[(*len)++] = place;
    }
    buf_free(&s.found);
    return error;
}
