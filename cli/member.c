/* One generation after another: join (the coordinator waits for all members),
 * and if we are told that we lead, work out who gets what; sync (the
 * coordinator hands the work out); then heartbeats, until one says that the
 * group is rebalancing.  Joining gives all partitions back first (the eager
 * protocol), so no two members ever read one partition in one generation. */
#include "cli/member.h"

#include "cli/input.h"
#include "cli/net.h"

#include <stdlib.h>

struct member {
    struct client *client;
    struct member_options options;
    char *id;           /* "" until the coordinator gave one */
    int32_t generation; /* -1: not in the group */
    bool rejoin;        /* asked for by the owner */
    int64_t next_beat_ms;
    struct arena arena; /* of the assignment */
    struct member_partition *partitions;
    size_t partitions_len;
};

struct member *member_new(struct client *c,
                          const struct member_options *options)
{
    struct member *m = xcalloc(1, sizeof *m);

    m->client = c;
    m->options = *options;
    m->id = xstrdup("");
    m->generation = -1;
    arena_init(&m->arena, 0);
    return m;
}

size_t member_assignment(const struct member *m,
                         const struct member_partition **partitions)
{
    *partitions = m->partitions;
    return m->partitions_len;
}

int32_t member_generation(const struct member *m) { return m->generation; }

struct slice member_id(const struct member *m) { return slice_str(m->id); }

static struct slice group_of(const struct member *m)
{
    return slice_str(m->options.group);
}

static void set_id(struct member *m, struct slice id)
{
    free(m->id);
    m->id = slice_dup(id);
}

void member_rejoin(struct member *m) { m->generation = -1; }

/* ---- the assignor
 * -------------------------------------------------------------------------- */

void range_assign(size_t members, const int32_t *counts, size_t topics,
                  bool (*subscribes)(void *arg, size_t member, size_t topic),
                  void (*assigned)(void *arg, size_t member, size_t topic,
                                   int32_t first, int32_t count),
                  void *arg)
{
    for (size_t t = 0; t < topics; t++) {
        int32_t takers = 0;
        int32_t first = 0;
        int32_t place = 0;

        for (size_t i = 0; i < members; i++)
            takers += subscribes(arg, i, t);
        for (size_t i = 0; i < members && takers != 0; i++) {
            if (!subscribes(arg, i, t))
                continue;
            int32_t count = counts[t] / takers + (place++ < counts[t] % takers);
            if (count != 0)
                assigned(arg, i, t, first, count);
            first += count;
        }
    }
}

/* A member as the leader sees it. */
struct candidate {
    struct slice id;
    struct slice sort_key; /* instance id if it has one */
    struct consumer_protocol_subscription subscription;
    struct consumer_protocol_assignment assignment;
};

struct work { /* of one assignment */
    struct arena *arena;
    struct candidate *members;
    size_t members_len;
    struct slice *topics;
    int32_t *counts;
    size_t topics_len;
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;

    return slice_cmp(x->sort_key, y->sort_key);
}

static int compare_slices(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Versions of the embedded protocol are told apart by a leading int16. */
static bool read_subscription(struct slice bytes, struct arena *a,
                              struct consumer_protocol_subscription *s)
{
    if (bytes.len < 2)
        return false;
    int16_t version = (int16_t)be16_get(bytes.data);
    if (version > consumer_protocol_subscription_desc.max)
        version = consumer_protocol_subscription_desc.max;
    struct reader r = reader_of(slice_of(bytes.data + 2, bytes.len - 2));
    return kafka_decode_prefix(&consumer_protocol_subscription_desc, version,
                               &r, a, s) == ERR_NONE;
}

static void add_topic(struct work *w, struct slice topic)
{
    for (size_t i = 0; i < w->topics_len; i++)
        if (slice_eq(w->topics[i], topic))
            return;
    w->topics[w->topics_len++] = topic;
}

static enum err read_candidates(const struct join_group_response *r,
                                struct work *w)
{
    size_t room = 1;

    w->members_len = (size_t)r->members_len;
    w->members = arena_array(w->arena, w->members_len + 1, sizeof *w->members);
    for (size_t i = 0; i < w->members_len; i++) {
        struct candidate *c = &w->members[i];
        const struct join_group_response_member *given = &r->members[i];
        c->id = given->member_id;
        c->sort_key = slice_is_null(given->group_instance_id)
                          ? given->member_id
                          : given->group_instance_id;
        if (!read_subscription(given->metadata, w->arena, &c->subscription))
            return ERR_MALFORMED;
        room += (size_t)c->subscription.topics_len;
    }
    qsort(w->members, w->members_len, sizeof *w->members, compare_candidates);
    w->topics = arena_array(w->arena, room, sizeof *w->topics);
    w->counts = arena_array(w->arena, room, sizeof *w->counts);
    for (size_t i = 0; i < w->members_len; i++)
        for (int32_t t = 0; t < w->members[i].subscription.topics_len; t++)
            add_topic(w, w->members[i].subscription.topics[t]);
    qsort(w->topics, w->topics_len, sizeof *w->topics, compare_slices);
    return ERR_NONE;
}

static bool subscribes(void *arg, size_t member, size_t topic)
{
    const struct work *w = arg;
    const struct consumer_protocol_subscription *s =
        &w->members[member].subscription;

    for (int32_t i = 0; i < s->topics_len; i++)
        if (slice_eq(s->topics[i], w->topics[topic]))
            return true;
    return false;
}

static void assigned(void *arg, size_t member, size_t topic, int32_t first,
                     int32_t count)
{
    struct work *w = arg;
    struct consumer_protocol_assignment *a = &w->members[member].assignment;

    if (a->assigned_partitions == NULL)
        a->assigned_partitions = arena_array(w->arena, w->topics_len,
                                             sizeof *a->assigned_partitions);
    struct consumer_protocol_assignment_topic_partition *p =
        &a->assigned_partitions[a->assigned_partitions_len++];
    p->topic = w->topics[topic];
    p->partitions = arena_array(w->arena, (size_t)count, sizeof *p->partitions);
    p->partitions_len = count;
    for (int32_t i = 0; i < count; i++)
        p->partitions[i] = first + i;
}

static enum err count_partitions(struct client *c, struct work *w)
{
    struct metadata_response m;
    enum err error = client_topics(c, w->topics, (int32_t)w->topics_len, false,
                                   &m, w->arena);

    for (int32_t i = 0; error == ERR_NONE && i < m.topics_len; i++)
        for (size_t t = 0; t < w->topics_len; t++)
            if (slice_eq(w->topics[t], m.topics[i].name))
                w->counts[t] = m.topics[i].partitions_len;
    return error;
}

/* Who gets what, as the bytes that SyncGroup carries. */
static enum err assign(struct member *m, const struct join_group_response *r,
                       struct sync_group_request *q, struct arena *a)
{
    struct work w = {.arena = a};
    enum err error = read_candidates(r, &w);

    if (error == ERR_NONE)
        error = count_partitions(m->client, &w);
    if (error != ERR_NONE)
        return error;
    range_assign(w.members_len, w.counts, w.topics_len, subscribes, assigned,
                 &w);
    q->assignments = arena_array(a, w.members_len + 1, sizeof *q->assignments);
    q->assignments_len = (int32_t)w.members_len;
    for (size_t i = 0; i < w.members_len; i++) {
        struct buf bytes = BUF_INIT;
        w.members[i].assignment.user_data = SLICE_NULL;
        buf_put_u16(&bytes, 0);
        error = kafka_encode(&consumer_protocol_assignment_desc, 0,
                             &w.members[i].assignment, &bytes, NULL);
        q->assignments[i].member_id = w.members[i].id;
        q->assignments[i].assignment = arena_copy(a, buf_slice(&bytes));
        buf_free(&bytes);
        if (error != ERR_NONE)
            return error;
    }
    return ERR_NONE;
}

/* ---- joining
 * --------------------------------------------------------------------------------
 */

/* The coordinator holds the answer until all members are there, which may be
 * longer than requests usually take. */
static enum err call_patiently(struct member *m, int32_t node, enum api_key api,
                               const void *request, void *response,
                               struct arena *a)
{
    struct client_call call;
    int64_t patience =
        m->options.rebalance_timeout_ms + client_timeout_ms(m->client);
    int64_t deadline = net_now_ms() + patience;
    enum err error =
        client_start(m->client, &call, node | CLIENT_SECOND, api, request);

    if (error != ERR_NONE)
        return error;
    while (!call.done && net_now_ms() < deadline && !interrupt_seen())
        client_poll(m->client, net_now_ms() + 100);
    if (call.done)
        return client_finish(m->client, &call, response, a);
    client_abandon(m->client, &call);
    return ERR_REQUEST_TIMED_OUT;
}

static enum err subscription_bytes(struct member *m, struct arena *a,
                                   struct slice *out)
{
    struct consumer_protocol_subscription s;
    struct buf bytes = BUF_INIT;

    consumer_protocol_subscription_init(&s);
    s.topics_len = m->options.topics(m->options.arg, a, &s.topics);
    s.user_data = SLICE_NULL;
    buf_put_u16(&bytes, 1);
    enum err error =
        kafka_encode(&consumer_protocol_subscription_desc, 1, &s, &bytes, NULL);
    *out = arena_copy(a, buf_slice(&bytes));
    buf_free(&bytes);
    return error;
}

static enum err join(struct member *m, int32_t node,
                     struct join_group_response *r, struct arena *a)
{
    struct join_group_request_protocol protocol = {.name = SLICE("range")};
    struct join_group_request q;
    enum err error = subscription_bytes(m, a, &protocol.metadata);

    if (error != ERR_NONE)
        return error;
    join_group_request_init(&q);
    q.group_id = group_of(m);
    q.session_timeout_ms = m->options.session_timeout_ms;
    q.rebalance_timeout_ms = m->options.rebalance_timeout_ms;
    q.member_id = slice_str(m->id);
    q.group_instance_id = slice_str(m->options.group_instance_id);
    q.protocol_type = SLICE("consumer");
    q.protocols = &protocol;
    q.protocols_len = 1;
    error = call_patiently(m, node, API_JOIN_GROUP, &q, r, a);
    if (error != ERR_NONE)
        return error;
    if (r->error_code == ERR_NONE || r->error_code == ERR_MEMBER_ID_REQUIRED)
        set_id(m, r->member_id);
    return r->error_code;
}

static enum err keep_assignment(struct member *m, struct slice bytes)
{
    struct consumer_protocol_assignment a;

    arena_free(&m->arena);
    m->partitions_len = 0;
    m->partitions = NULL;
    if (bytes.len == 0)
        return ERR_NONE;
    struct slice copy = arena_copy(&m->arena, bytes);
    struct reader r = reader_of(copy);
    read_i16(&r);
    enum err error = kafka_decode_prefix(&consumer_protocol_assignment_desc, 0,
                                         &r, &m->arena, &a);
    size_t count = 0;
    for (int32_t t = 0; error == ERR_NONE && t < a.assigned_partitions_len; t++)
        count += (size_t)a.assigned_partitions[t].partitions_len;
    m->partitions = arena_array(&m->arena, count + 1, sizeof *m->partitions);
    for (int32_t t = 0; error == ERR_NONE && t < a.assigned_partitions_len; t++)
        for (int32_t i = 0; i < a.assigned_partitions[t].partitions_len; i++)
            m->partitions[m->partitions_len++] = (struct member_partition){
                a.assigned_partitions[t].topic,
                a.assigned_partitions[t].partitions[i]};
    return error;
}

static enum err sync(struct member *m, int32_t node,
                     const struct join_group_response *joined, struct arena *a)
{
    struct sync_group_request q;
    struct sync_group_response r;
    enum err error = ERR_NONE;

    sync_group_request_init(&q);
    q.group_id = group_of(m);
    q.generation_id = joined->generation_id;
    q.member_id = slice_str(m->id);
    q.group_instance_id = slice_str(m->options.group_instance_id);
    q.protocol_type = SLICE("consumer");
    q.protocol_name = SLICE("range");
    if (slice_eq(joined->leader, slice_str(m->id)) && !joined->skip_assignment)
        error = assign(m, joined, &q, a);
    if (error == ERR_NONE)
        error = call_patiently(m, node, API_SYNC_GROUP, &q, &r, a);
    if (error == ERR_NONE)
        error = r.error_code;
    if (error == ERR_NONE)
        error = keep_assignment(m, r.assignment);
    return error;
}

static enum err join_once(struct member *m)
{
    struct join_group_response joined;
    struct arena arena;
    int32_t node = client_coordinator(m->client, group_of(m));

    if (node < 0)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    arena_init(&arena, CLIENT_ARENA_BYTES);
    enum err error = join(m, node, &joined, &arena);
    if (error == ERR_NONE)
        error = sync(m, node, &joined, &arena);
    if (error == ERR_NONE)
        m->generation = joined.generation_id;
    arena_free(&arena);
    return error;
}

/* Errors after which joining again is right; some first undo what we believed.
 */
static bool may_join_again(struct member *m, enum err error)
{
    switch (error) {
    case ERR_NOT_COORDINATOR:
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_CLOSED:
    case ERR_REFUSED:
        client_forget_coordinator(m->client, group_of(m));
        return true;
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_ILLEGAL_GENERATION:
        set_id(m, SLICE(""));
        return true;
    case ERR_REBALANCE_IN_PROGRESS:
    case ERR_MEMBER_ID_REQUIRED:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
        return true;
    default:
        return false;
    }
}

/* A rebalance is noticed at a heartbeat, so they come often. */
static int32_t beat_interval_ms(const struct member *m)
{
    int32_t third = m->options.session_timeout_ms / 3;

    return third < 1000 ? third : 1000;
}

static enum err join_until_in(struct member *m)
{
    struct client_retry retry;
    enum err error;

    client_retry_init(m->client, &retry);
    m->generation = -1;
    m->rejoin = false;
    for (;;) {
        error = join_once(m);
        if (error == ERR_NONE)
            break;
        if (!may_join_again(m, error) || interrupt_seen() ||
            net_now_ms() >= retry.deadline_ms)
            return client_fail(m->client, error, "cannot join group %s: %s",
                               m->options.group, err_text(error));
        if (error != ERR_MEMBER_ID_REQUIRED)
            client_retry(&retry, ERR_NOT_COORDINATOR);
    }
    m->next_beat_ms = net_now_ms() + beat_interval_ms(m);
    return ERR_NONE;
}

/* ---- staying, leaving
 * ------------------------------------------------------------------------- */

static enum err beat(struct member *m)
{
    struct heartbeat_request q;
    struct heartbeat_response r;
    struct arena arena;
    int32_t node = client_coordinator(m->client, group_of(m));

    if (node < 0)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    arena_init(&arena, CLIENT_ARENA_BYTES);
    heartbeat_request_init(&q);
    q.group_id = group_of(m);
    q.generation_id = m->generation;
    q.member_id = slice_str(m->id);
    q.group_instance_id = slice_str(m->options.group_instance_id);
    enum err error = client_call(m->client, node | CLIENT_SECOND, API_HEARTBEAT,
                                 &q, &r, &arena);
    if (error == ERR_NONE)
        error = r.error_code;
    arena_free(&arena);
    return error;
}

static void give_back(struct member *m)
{
    if (m->partitions_len != 0 && m->options.revoked != NULL)
        m->options.revoked(m->options.arg);
    m->partitions_len = 0;
}

enum err member_step(struct member *m, bool *changed)
{
    *changed = false;
    if (m->generation >= 0 && !m->rejoin) {
        if (net_now_ms() < m->next_beat_ms)
            return ERR_NONE;
        enum err error = beat(m);
        m->next_beat_ms = net_now_ms() + beat_interval_ms(m);
        if (error == ERR_NONE)
            return ERR_NONE;
        if (!may_join_again(m, error))
            return client_fail(m->client, error, "group %s: %s",
                               m->options.group, err_text(error));
        /* The coordinator moved, but our generation stands. */
        if (error != ERR_REBALANCE_IN_PROGRESS &&
            error != ERR_UNKNOWN_MEMBER_ID && error != ERR_ILLEGAL_GENERATION) {
            m->next_beat_ms = net_now_ms() + 200;
            return ERR_NONE;
        }
    }
    give_back(m);
    *changed = true;
    return join_until_in(m);
}

static void leave(struct member *m)
{
    struct leave_group_request q;
    struct leave_group_request_member_identity identity;
    struct leave_group_response r;
    struct arena arena;
    int32_t node = client_coordinator(m->client, group_of(m));

    if (node < 0)
        return;
    arena_init(&arena, CLIENT_ARENA_BYTES);
    leave_group_request_init(&q);
    leave_group_request_member_identity_init(&identity);
    identity.member_id = slice_str(m->id);
    q.group_id = group_of(m);
    if (client_version(m->client, node | CLIENT_SECOND, API_LEAVE_GROUP) >= 3) {
        q.members = &identity;
        q.members_len = 1;
    } else {
        q.member_id = slice_str(m->id);
    }
    client_call(m->client, node | CLIENT_SECOND, API_LEAVE_GROUP, &q, &r,
                &arena);
    arena_free(&arena);
}

void member_free(struct member *m)
{
    give_back(m);
    /* A member with an instance id keeps its place while it is away. */
    if (m->generation >= 0 && m->options.group_instance_id == NULL)
        leave(m);
    arena_free(&m->arena);
    free(m->id);
    free(m);
}
