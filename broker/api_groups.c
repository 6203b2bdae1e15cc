/* Group requests at home: which coordinator, one call per group, and the
 * answers put together again.
 *
 * What is named more than once is sorted out here (broker/once.h).  Topics that
 * clients name by id (OffsetCommit 10, OffsetFetch 10) are resolved
 * here, and topics that do not exist are answered here; coordinators know names
 * only.  OffsetCommit and OffsetFetch 0 go by way of broker/relay.h. */
#include "broker/coord/offset_fetch_form.h"
#include "broker/coord/placement.h"
#include "broker/coordinators.h"
#include "broker/dispatch.h"
#include "broker/once.h"
#include "broker/relay.h"
#include "broker/shard.h"
#include "broker/share_lag.h"

#include <stdlib.h>

/* A request that is split into calls. */
struct group_calls {
    struct request *request;
    struct group_call *calls;
    int len;
    int pending; /* +1 while they are started */
    void (*done)(struct group_calls *calls);
    void *arg;
};

static int32_t coordinator_of(struct request *r, struct slice group)
{
    struct shard_topic *t = shard_topic_by_name(r->shard, SLICE(GROUP_TOPIC));

    return t == NULL ? -1 : coord_partition_of(group, t->partitions);
}

static int32_t names_once(struct slice *names, int32_t len)
{
    return once_names(names, len, (struct once_field){sizeof *names, 0});
}

static void free_answers(struct group_calls *g)
{
    for (int i = 0; i < g->len; i++)
        coord_answer_free(g->calls[i].answer);
}

static void call_returned(struct coord_call *call)
{
    struct group_calls *g = LIST_ENTRY(call, struct group_call, call)->arg;

    if (--g->pending == 0)
        g->done(g);
}

static struct group_calls *calls_new(struct request *r, int len,
                                     void (*done)(struct group_calls *))
{
    struct group_calls *g = arena_alloc(&r->arena, sizeof *g);

    g->request = r;
    g->calls = arena_array(&r->arena, (size_t)len, sizeof *g->calls);
    g->len = len;
    g->done = done;
    for (int i = 0; i < len; i++) {
        g->calls[i].call.request = r;
        g->calls[i].api = (enum api_key)r->api->key;
        g->calls[i].msg = r->msg;
        g->calls[i].call.returned = call_returned;
        g->calls[i].arg = g;
    }
    return g;
}

static void calls_start(struct group_calls *g)
{
    g->pending = 1;
    for (int i = 0; i < g->len; i++) {
        g->pending++;
        group_call_start(&g->calls[i]);
    }
    if (--g->pending == 0)
        g->done(g);
}

/* ---- one group: the answer goes out as it is
 * --------------------------------------- */

static void one_done(struct group_calls *g)
{
    struct coord_answer *answer = g->calls[0].answer;

    request_respond(g->request, &answer->response);
    coord_answer_free(answer);
}

static void one_group(struct request *r, struct slice group)
{
    struct group_calls *g = calls_new(r, 1, one_done);

    g->calls[0].call.partition = coordinator_of(r, group);
    calls_start(g);
}

/* ---- offsets: version 0 comes from the relay and goes back to it
 * --------------------------------------- */

static void offsets_request(struct request *r, void (*here)(struct request *))
{
    if (r->version == 0)
        relay_request(r, here);
    else
        here(r);
}

static void offsets_respond(struct request *r, const void *response)
{
    if (r->version == 0)
        relay_answer(r, response);
    else
        request_respond(r, response);
}

/* ---- OffsetCommit
 * -------------------------------------------------------------------- */

struct commit {
    struct offset_commit_request known; /* what the coordinator gets */
    struct offset_commit_response_topic *unknown;
    int32_t unknown_len;
    bool by_id;
};

static void unknown_topic(struct request *r, struct commit *c,
                          const struct offset_commit_request_topic *t,
                          const struct shard_topic *topic)
{
    struct offset_commit_response_topic *out = &c->unknown[c->unknown_len++];

    out->name = t->name;
    out->topic_id = t->topic_id;
    out->partitions = arena_array(&r->arena, (size_t)t->partitions_len,
                                  sizeof *out->partitions);
    for (int j = 0; j < t->partitions_len; j++) {
        int32_t index = t->partitions[j].partition_index;

        if (topic != NULL && index >= 0 && index < topic->partitions)
            continue;
        out->partitions[out->partitions_len++] =
            (struct offset_commit_response_partition){
                index, topic == NULL && c->by_id
                           ? ERR_UNKNOWN_TOPIC_ID
                           : ERR_UNKNOWN_TOPIC_OR_PARTITION};
    }
    if (out->partitions_len == 0)
        c->unknown_len--;
}

static void sort_topic(struct request *r, struct commit *c,
                       const struct offset_commit_request_topic *t)
{
    struct shard_topic *topic = c->by_id
                                    ? shard_topic_by_id(r->shard, &t->topic_id)
                                    : shard_topic_by_name(r->shard, t->name);
    struct offset_commit_request_topic *known =
        &c->known.topics[c->known.topics_len];

    unknown_topic(r, c, t, topic);
    if (topic == NULL)
        return;
    *known = *t;
    known->name = arena_copy(&r->arena, slice_str(topic->name));
    known->topic_id = topic->id;
    known->partitions = arena_array(&r->arena, (size_t)t->partitions_len,
                                    sizeof *known->partitions);
    known->partitions_len = 0;
    for (int j = 0; j < t->partitions_len; j++)
        if (t->partitions[j].partition_index >= 0 &&
            t->partitions[j].partition_index < topic->partitions)
            known->partitions[known->partitions_len++] = t->partitions[j];
    if (known->partitions_len > 0)
        c->known.topics_len++;
}

/* What the coordinator said, and what it was not asked. */
static struct offset_commit_response
commit_response(struct request *r, const struct commit *c,
                const struct coord_answer *answer)
{
    struct offset_commit_response a = answer->response.offset_commit;

    if (c->unknown_len != 0) {
        a.topics =
            arena_array(&r->arena, (size_t)(a.topics_len + c->unknown_len),
                        sizeof *a.topics);
        if (a.topics_len != 0)
            memcpy(a.topics, answer->response.offset_commit.topics,
                   (size_t)a.topics_len * sizeof *a.topics);
        memcpy(a.topics + a.topics_len, c->unknown,
               (size_t)c->unknown_len * sizeof *a.topics);
        a.topics_len += c->unknown_len;
    }
    return a;
}

static void commit_done(struct group_calls *g)
{
    struct request *r = g->request;
    struct coord_answer *answer = g->calls[0].answer;
    struct offset_commit_response a = commit_response(r, g->arg, answer);

    offsets_respond(r, &a);
    coord_answer_free(answer);
}

static void commit_once(struct request *r, struct offset_commit_request *q)
{
    struct once_topic *topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *topics);
    int32_t kept = 0;

    for (int i = 0; i < q->topics_len; i++) {
        struct offset_commit_request_topic *t = &q->topics[i];

        topics[i] = (struct once_topic){0, t->name, t->partitions,
                                        &t->partitions_len, false};
    }
    once_partitions(
        topics, q->topics_len,
        ONCE_FIELD(struct offset_commit_request_partition, partition_index),
        ONCE_LAST);
    for (int i = 0; i < q->topics_len; i++)
        if (!topics[i].emptied)
            q->topics[kept++] = q->topics[i];
    q->topics_len = kept;
}

/* Parts what exists from what does not. */
static void sort_topics(struct request *r, struct commit *c,
                        const struct offset_commit_request *q, bool by_id)
{
    c->by_id = by_id;
    c->known = *q;
    c->known.topics_len = 0;
    c->known.topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *c->known.topics);
    c->unknown =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *c->unknown);
    for (int i = 0; i < q->topics_len; i++)
        sort_topic(r, c, &q->topics[i]);
    commit_once(r, &c->known);
}

static void offset_commit(struct request *r)
{
    const struct offset_commit_request *q = r->msg;
    struct commit *c = arena_alloc(&r->arena, sizeof *c);

    sort_topics(r, c, q, r->version >= 10);
    struct group_calls *g = calls_new(r, 1, commit_done);
    g->arg = c;
    g->calls[0].msg = &c->known;
    g->calls[0].call.partition = coordinator_of(r, q->group_id);
    calls_start(g);
}

/* ---- TxnOffsetCommit: the same with other structs
 * -------------------------------------------------------------------- */

struct txn_commit {
    struct coord_txn_commit known; /* what the coordinator gets */
    struct commit sorted;
};

static void txn_commit_topic(struct request *r,
                             const struct txn_offset_commit_request_topic *from,
                             struct offset_commit_request_topic *to)
{
    offset_commit_request_topic_init(to);
    to->name = from->name;
    to->topic_id = from->topic_id;
    to->partitions_len = from->partitions_len;
    to->partitions = arena_array(&r->arena, (size_t)from->partitions_len,
                                 sizeof *to->partitions);
    for (int i = 0; i < from->partitions_len; i++) {
        offset_commit_request_partition_init(&to->partitions[i]);
        to->partitions[i].partition_index = from->partitions[i].partition_index;
        to->partitions[i].committed_offset =
            from->partitions[i].committed_offset;
        to->partitions[i].committed_leader_epoch =
            from->partitions[i].committed_leader_epoch;
        to->partitions[i].committed_metadata =
            from->partitions[i].committed_metadata;
        to->partitions[i].commit_timestamp = -1;
    }
}

static void txn_commit_request(struct request *r,
                               const struct txn_offset_commit_request *q,
                               struct offset_commit_request *to)
{
    offset_commit_request_init(to);
    to->group_id = q->group_id;
    to->generation_id_or_member_epoch = q->generation_id_or_member_epoch;
    to->member_id = q->member_id;
    to->group_instance_id = q->group_instance_id;
    to->retention_time_ms = -1;
    to->topics_len = q->topics_len;
    to->topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *to->topics);
    for (int i = 0; i < q->topics_len; i++)
        txn_commit_topic(r, &q->topics[i], &to->topics[i]);
}

static void txn_commit_done(struct group_calls *g)
{
    struct request *r = g->request;
    struct txn_commit *c = g->arg;
    struct coord_answer *answer = g->calls[0].answer;
    struct offset_commit_response from = commit_response(r, &c->sorted, answer);
    struct txn_offset_commit_response a;

    txn_offset_commit_response_init(&a);
    a.topics_len = from.topics_len;
    a.topics =
        arena_array(&r->arena, (size_t)from.topics_len, sizeof *a.topics);
    for (int i = 0; i < from.topics_len; i++) {
        const struct offset_commit_response_topic *t = &from.topics[i];

        txn_offset_commit_response_topic_init(&a.topics[i]);
        a.topics[i].name = t->name;
        a.topics[i].topic_id = t->topic_id;
        a.topics[i].partitions_len = t->partitions_len;
        a.topics[i].partitions =
            arena_array(&r->arena, (size_t)t->partitions_len,
                        sizeof *a.topics[i].partitions);
        for (int j = 0; j < t->partitions_len; j++)
            a.topics[i].partitions[j] =
                (struct txn_offset_commit_response_partition){
                    t->partitions[j].partition_index,
                    t->partitions[j].error_code};
    }
    request_respond(r, &a);
    coord_answer_free(answer);
}

static void txn_offset_commit(struct request *r)
{
    const struct txn_offset_commit_request *q = r->msg;
    struct txn_commit *c = arena_alloc(&r->arena, sizeof *c);
    struct offset_commit_request commit;

    txn_commit_request(r, q, &commit);
    sort_topics(r, &c->sorted, &commit, r->version >= 6);
    c->known = (struct coord_txn_commit){c->sorted.known, q->producer_id,
                                         q->producer_epoch};
    struct group_calls *g = calls_new(r, 1, txn_commit_done);
    g->arg = c;
    g->calls[0].msg = &c->known;
    g->calls[0].transactional_id = q->transactional_id;
    g->calls[0].call.partition = coordinator_of(r, q->group_id);
    calls_start(g);
}

/* ---- OffsetDelete
 * -------------------------------------------------------------------- */

struct deletion {
    struct offset_delete_request known; /* what the coordinator gets */
    struct offset_delete_response_topic *unknown;
    int32_t unknown_len;
};

/* Parts one topic of the request into partitions that exist and others. */
static void sort_deleted(struct request *r, struct deletion *d,
                         const struct offset_delete_request_topic *t)
{
    const struct shard_topic *topic = shard_topic_by_name(r->shard, t->name);
    struct offset_delete_request_topic *known =
        &d->known.topics[d->known.topics_len];
    struct offset_delete_response_topic *unknown = &d->unknown[d->unknown_len];

    known->name = unknown->name = t->name;
    known->partitions = arena_array(&r->arena, (size_t)t->partitions_len,
                                    sizeof *known->partitions);
    unknown->partitions = arena_array(&r->arena, (size_t)t->partitions_len,
                                      sizeof *unknown->partitions);
    for (int j = 0; j < t->partitions_len; j++) {
        int32_t index = t->partitions[j].partition_index;

        if (topic != NULL && index >= 0 && index < topic->partitions)
            known->partitions[known->partitions_len++] = t->partitions[j];
        else
            unknown->partitions[unknown->partitions_len++] =
                (struct offset_delete_response_partition){
                    index, ERR_UNKNOWN_TOPIC_OR_PARTITION};
    }
    d->known.topics_len += known->partitions_len > 0;
    d->unknown_len += unknown->partitions_len > 0;
}

static void delete_once(struct request *r, struct offset_delete_request *q)
{
    struct once_topic *topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *topics);
    int32_t kept = 0;

    for (int i = 0; i < q->topics_len; i++) {
        struct offset_delete_request_topic *t = &q->topics[i];

        topics[i] = (struct once_topic){0, t->name, t->partitions,
                                        &t->partitions_len, false};
    }
    once_partitions(
        topics, q->topics_len,
        ONCE_FIELD(struct offset_delete_request_partition, partition_index),
        ONCE_FIRST);
    for (int i = 0; i < q->topics_len; i++)
        if (!topics[i].emptied)
            q->topics[kept++] = q->topics[i];
    q->topics_len = kept;
}

static void deletion_done(struct group_calls *g)
{
    struct request *r = g->request;
    struct deletion *d = g->arg;
    struct coord_answer *answer = g->calls[0].answer;
    struct offset_delete_response a = answer->response.offset_delete;

    if (a.error_code == ERR_NONE && d->unknown_len != 0) {
        a.topics =
            arena_array(&r->arena, (size_t)(a.topics_len + d->unknown_len),
                        sizeof *a.topics);
        for (int i = 0; i < a.topics_len; i++)
            a.topics[i] = answer->response.offset_delete.topics[i];
        for (int i = 0; i < d->unknown_len; i++)
            a.topics[a.topics_len++] = d->unknown[i];
    }
    request_respond(r, &a);
    coord_answer_free(answer);
}

static void offset_delete(struct request *r)
{
    const struct offset_delete_request *q = r->msg;
    struct deletion *d = arena_alloc(&r->arena, sizeof *d);

    d->known = *q;
    d->known.topics_len = 0;
    d->known.topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *d->known.topics);
    d->unknown =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *d->unknown);
    for (int i = 0; i < q->topics_len; i++)
        sort_deleted(r, d, &q->topics[i]);
    delete_once(r, &d->known);
    struct group_calls *g = calls_new(r, 1, deletion_done);
    g->arg = d;
    g->calls[0].msg = &d->known;
    g->calls[0].call.partition = coordinator_of(r, q->group_id);
    calls_start(g);
}

/* ---- OffsetFetch
 * ------------------------------------------------------------------------ */

struct offset_fetch_unknown {
    struct offset_fetch_response_topics *topics;
    int32_t len;
};

struct fetch_offsets {
    struct offset_fetch_request groups;
    struct offset_fetch_request *single;  /* one per group */
    struct offset_fetch_unknown *unknown; /* likewise: ids of no topic */
};

/* Ids become names; those of no topic are taken out and answered here. */
static void resolve_ids(struct request *r, struct offset_fetch_request_group *q,
                        struct offset_fetch_unknown *unknown)
{
    int32_t kept = 0;

    unknown->topics =
        arena_array(&r->arena, (size_t)(q->topics_len > 0 ? q->topics_len : 0),
                    sizeof *unknown->topics);
    for (int i = 0; i < q->topics_len; i++) {
        struct offset_fetch_request_topics *t = &q->topics[i];
        struct shard_topic *topic = shard_topic_by_id(r->shard, &t->topic_id);

        if (topic != NULL) {
            t->name = arena_copy(&r->arena, slice_str(topic->name));
            q->topics[kept++] = *t;
            continue;
        }
        struct offset_fetch_response_topics *out =
            &unknown->topics[unknown->len++];
        out->topic_id = t->topic_id;
        out->partitions_len = t->partition_indexes_len;
        out->partitions =
            arena_array(&r->arena, (size_t)t->partition_indexes_len,
                        sizeof *out->partitions);
        for (int j = 0; j < t->partition_indexes_len; j++) {
            offset_fetch_response_partitions_init(&out->partitions[j]);
            out->partitions[j].partition_index = t->partition_indexes[j];
            out->partitions[j].committed_offset = -1;
            out->partitions[j].error_code = ERR_UNKNOWN_TOPIC_ID;
        }
    }
    if (q->topics_len >= 0)
        q->topics_len = kept;
}

/* What a version 10 answer says: ids, and nothing of deleted topics. */
static void fill_ids(struct request *r, struct offset_fetch_response_group *a,
                     const struct offset_fetch_unknown *unknown)
{
    struct offset_fetch_response_topics *topics = arena_array(
        &r->arena, (size_t)(a->topics_len + unknown->len), sizeof *topics);
    int32_t n = 0;

    for (int i = 0; i < a->topics_len; i++) {
        struct shard_topic *t =
            shard_topic_by_name(r->shard, a->topics[i].name);

        if (t == NULL)
            continue;
        topics[n] = a->topics[i];
        topics[n++].topic_id = t->id;
    }
    for (int i = 0; i < unknown->len; i++)
        topics[n++] = unknown->topics[i];
    a->topics = topics;
    a->topics_len = n;
}

static void offset_fetch_done(struct group_calls *g)
{
    struct request *r = g->request;
    struct fetch_offsets *f = g->arg;
    struct offset_fetch_response a;

    offset_fetch_response_init(&a);
    a.groups = arena_array(&r->arena, (size_t)g->len, sizeof *a.groups);
    for (int i = 0; i < g->len; i++) {
        const struct offset_fetch_response *one =
            &g->calls[i].answer->response.offset_fetch;

        offset_fetch_response_group_init(&a.groups[i]);
        if (one->groups_len == 1)
            a.groups[i] = one->groups[0];
        if (r->version >= 10)
            fill_ids(r, &a.groups[i], &f->unknown[i]);
    }
    a.groups_len = g->len;
    offset_fetch_from_groups(&a, r->version, &r->arena);
    /* The answers hold what `a` points to until it is encoded. */
    struct coord_answer **answers = xcalloc((size_t)g->len, sizeof *answers);
    int len = g->len;
    for (int i = 0; i < len; i++)
        answers[i] = g->calls[i].answer;
    offsets_respond(r, &a);
    for (int i = 0; i < len; i++)
        coord_answer_free(answers[i]);
    free(answers);
}

/* Of each group every partition once. */
static void fetch_partitions_once(struct request *r,
                                  const struct offset_fetch_request *q,
                                  const int32_t *firsts)
{
    struct once_topic *topics;
    int32_t n = 0;

    for (int i = 0; i < q->groups_len; i++)
        n += q->groups[i].topics_len > 0 ? q->groups[i].topics_len : 0;
    topics = arena_array(&r->arena, (size_t)n, sizeof *topics);
    n = 0;
    for (int i = 0; i < q->groups_len; i++)
        for (int j = 0; j < q->groups[i].topics_len; j++) {
            struct offset_fetch_request_topics *t = &q->groups[i].topics[j];

            topics[n++] =
                (struct once_topic){firsts[i], t->name, t->partition_indexes,
                                    &t->partition_indexes_len, false};
        }
    once_partitions(topics, n, (struct once_field){sizeof(int32_t), 0},
                    ONCE_FIRST);
    n = 0;
    for (int i = 0; i < q->groups_len; i++) {
        struct offset_fetch_request_group *group = &q->groups[i];
        int32_t kept = 0;

        for (int j = 0; j < group->topics_len; j++)
            if (!topics[n++].emptied)
                group->topics[kept++] = group->topics[j];
        if (group->topics_len >= 0)
            group->topics_len = kept;
    }
}

/* A group that is named again is asked for what is left of it, if anything. */
static void fetch_once(struct request *r, struct fetch_offsets *f)
{
    struct offset_fetch_request *q = &f->groups;
    int32_t *firsts =
        once_firsts(q->groups, q->groups_len,
                    ONCE_FIELD(struct offset_fetch_request_group, group_id));
    bool *all = arena_array(&r->arena, (size_t)q->groups_len, sizeof *all);
    int32_t kept = 0;

    fetch_partitions_once(r, q, firsts);
    for (int i = 0; i < q->groups_len; i++) {
        bool for_all = q->groups[i].topics_len < 0;
        bool spent = for_all ? all[firsts[i]]
                             : firsts[i] != i && q->groups[i].topics_len == 0 &&
                                   f->unknown[i].len == 0;

        all[firsts[i]] |= for_all;
        if (spent)
            continue;
        q->groups[kept] = q->groups[i];
        f->unknown[kept++] = f->unknown[i];
    }
    q->groups_len = kept;
    free(firsts);
}

static void offset_fetch(struct request *r)
{
    struct fetch_offsets *f = arena_alloc(&r->arena, sizeof *f);

    offset_fetch_to_groups(r->msg, r->version, &r->arena, &f->groups);
    int n = f->groups.groups_len;
    f->unknown = arena_array(&r->arena, (size_t)n, sizeof *f->unknown);
    for (int i = 0; i < n && r->version >= 10; i++)
        resolve_ids(r, &f->groups.groups[i], &f->unknown[i]);
    fetch_once(r, f);
    n = f->groups.groups_len;
    struct group_calls *g = calls_new(r, n, offset_fetch_done);
    g->arg = f;
    f->single = arena_array(&r->arena, (size_t)n, sizeof *f->single);
    for (int i = 0; i < n; i++) {
        f->single[i] = f->groups;
        f->single[i].groups = &f->groups.groups[i];
        f->single[i].groups_len = 1;
        g->calls[i].msg = &f->single[i];
        g->calls[i].call.partition =
            coordinator_of(r, f->groups.groups[i].group_id);
    }
    calls_start(g);
}

/* ---- DescribeGroups, DeleteGroups
 * ---------------------------------------------------------- */

/* Sends the merged answer, then frees the answers it was made of. */
static void respond_merged(struct group_calls *g, const void *response)
{
    struct group_calls copy = *g;

    copy.calls = xmemdup(g->calls, (size_t)g->len * sizeof *g->calls);
    request_respond(g->request, response);
    free_answers(&copy);
    free(copy.calls);
}

static void describe_done(struct group_calls *g)
{
    struct request *r = g->request;
    const struct describe_groups_request *q = r->msg;
    struct describe_groups_response a;

    describe_groups_response_init(&a);
    a.groups = arena_array(&r->arena, (size_t)g->len, sizeof *a.groups);
    for (int i = 0; i < g->len; i++) {
        const struct describe_groups_response *one =
            &g->calls[i].answer->response.describe_groups;

        if (one->groups_len != 1)
            continue;
        a.groups[a.groups_len] = one->groups[0];
        if (q->include_authorized_operations &&
            one->groups[0].error_code == ERR_NONE)
            a.groups[a.groups_len].authorized_operations = GROUP_OPERATIONS_ALL;
        a.groups_len++;
    }
    respond_merged(g, &a);
}

static void describe_groups(struct request *r)
{
    struct describe_groups_request *q = r->msg;

    q->groups_len = names_once(q->groups, q->groups_len);
    struct group_calls *g = calls_new(r, q->groups_len, describe_done);
    struct describe_groups_request *single =
        arena_array(&r->arena, (size_t)q->groups_len, sizeof *single);

    for (int i = 0; i < q->groups_len; i++) {
        single[i] = *q;
        single[i].groups = &q->groups[i];
        single[i].groups_len = 1;
        g->calls[i].msg = &single[i];
        g->calls[i].call.partition = coordinator_of(r, q->groups[i]);
    }
    calls_start(g);
}

/* ---- groups of the new protocol (KIP-848)
 * ---------------------------------------------------------- */

/* Without it clients are told to use the classic one. */
static bool offers_consumer(const struct request *r)
{
    return r->shard->broker->config->group_protocol_consumer;
}

static void consumer_group_heartbeat(struct request *r)
{
    const struct consumer_group_heartbeat_request *q = r->msg;
    struct consumer_group_heartbeat_response a;

    if (offers_consumer(r)) {
        one_group(r, q->group_id);
        return;
    }
    consumer_group_heartbeat_response_init(&a);
    a.error_code = ERR_UNSUPPORTED_VERSION;
    request_respond(r, &a);
}

static void describe_consumer_done(struct group_calls *g)
{
    struct request *r = g->request;
    const struct consumer_group_describe_request *q = r->msg;
    struct consumer_group_describe_response a;

    consumer_group_describe_response_init(&a);
    a.groups = arena_array(&r->arena, (size_t)g->len, sizeof *a.groups);
    for (int i = 0; i < g->len; i++) {
        const struct consumer_group_describe_response *one =
            &g->calls[i].answer->response.consumer_group_describe;

        if (one->groups_len != 1)
            continue;
        a.groups[a.groups_len] = one->groups[0];
        if (q->include_authorized_operations &&
            one->groups[0].error_code == ERR_NONE)
            a.groups[a.groups_len].authorized_operations = GROUP_OPERATIONS_ALL;
        a.groups_len++;
    }
    respond_merged(g, &a);
}

static void consumer_group_describe(struct request *r)
{
    struct consumer_group_describe_request *q = r->msg;

    q->group_ids_len = names_once(q->group_ids, q->group_ids_len);
    if (!offers_consumer(r)) {
        struct consumer_group_describe_response a;

        consumer_group_describe_response_init(&a);
        a.groups =
            arena_array(&r->arena, (size_t)q->group_ids_len, sizeof *a.groups);
        for (int i = 0; i < q->group_ids_len; i++) {
            consumer_group_describe_response_described_group_init(&a.groups[i]);
            a.groups[i].group_id = q->group_ids[i];
            a.groups[i].error_code = ERR_UNSUPPORTED_VERSION;
        }
        a.groups_len = q->group_ids_len;
        request_respond(r, &a);
        return;
    }
    struct group_calls *g =
        calls_new(r, q->group_ids_len, describe_consumer_done);
    struct consumer_group_describe_request *single =
        arena_array(&r->arena, (size_t)q->group_ids_len, sizeof *single);
    for (int i = 0; i < q->group_ids_len; i++) {
        single[i] = *q;
        single[i].group_ids = &q->group_ids[i];
        single[i].group_ids_len = 1;
        g->calls[i].msg = &single[i];
        g->calls[i].call.partition = coordinator_of(r, q->group_ids[i]);
    }
    calls_start(g);
}

static void delete_done(struct group_calls *g)
{
    struct request *r = g->request;
    struct delete_groups_response a;

    delete_groups_response_init(&a);
    a.results = arena_array(&r->arena, (size_t)g->len, sizeof *a.results);
    for (int i = 0; i < g->len; i++) {
        const struct delete_groups_response *one =
            &g->calls[i].answer->response.delete_groups;

        if (one->results_len == 1)
            a.results[a.results_len++] = one->results[0];
    }
    respond_merged(g, &a);
}

static void delete_groups(struct request *r)
{
    struct delete_groups_request *q = r->msg;

    q->groups_names_len = names_once(q->groups_names, q->groups_names_len);
    struct group_calls *g = calls_new(r, q->groups_names_len, delete_done);
    struct delete_groups_request *single =
        arena_array(&r->arena, (size_t)q->groups_names_len, sizeof *single);

    for (int i = 0; i < q->groups_names_len; i++) {
        single[i] = *q;
        single[i].groups_names = &q->groups_names[i];
        single[i].groups_names_len = 1;
        g->calls[i].msg = &single[i];
        g->calls[i].call.partition = coordinator_of(r, q->groups_names[i]);
    }
    calls_start(g);
}

/* ---- share groups: ShareGroupDescribe, DescribeShareGroupOffsets
 * --------------------------------------------------------------------------
 */

static void share_describe_done(struct group_calls *g)
{
    struct request *r = g->request;
    const struct share_group_describe_request *q = r->msg;
    struct share_group_describe_response a;

    share_group_describe_response_init(&a);
    a.groups = arena_array(&r->arena, (size_t)g->len, sizeof *a.groups);
    for (int i = 0; i < g->len; i++) {
        const struct share_group_describe_response *one =
            &g->calls[i].answer->response.share_group_describe;

        if (one->groups_len != 1)
            continue;
        a.groups[a.groups_len] = one->groups[0];
        if (q->include_authorized_operations &&
            one->groups[0].error_code == ERR_NONE)
            a.groups[a.groups_len].authorized_operations = GROUP_OPERATIONS_ALL;
        a.groups_len++;
    }
    respond_merged(g, &a);
}

static void share_describe(struct request *r)
{
    struct share_group_describe_request *q = r->msg;

    q->group_ids_len = names_once(q->group_ids, q->group_ids_len);
    struct group_calls *g = calls_new(r, q->group_ids_len, share_describe_done);
    struct share_group_describe_request *single =
        arena_array(&r->arena, (size_t)q->group_ids_len, sizeof *single);

    for (int i = 0; i < q->group_ids_len; i++) {
        single[i] = *q;
        single[i].group_ids = &q->group_ids[i];
        single[i].group_ids_len = 1;
        g->calls[i].msg = &single[i];
        g->calls[i].call.partition = coordinator_of(r, q->group_ids[i]);
    }
    calls_start(g);
}

/* With the lags, which other brokers are asked for. */
struct share_offsets {
    struct describe_share_group_offsets_response response;
    struct share_lag_call lags;
    struct group_calls *calls;
};

static void share_lags_done(struct share_lag_call *lags)
{
    struct share_offsets *o = LIST_ENTRY(lags, struct share_offsets, lags);

    respond_merged(o->calls, &o->response);
}

static void share_offsets_done(struct group_calls *g)
{
    struct request *r = g->request;
    struct share_offsets *o = arena_alloc(&r->arena, sizeof *o);
    struct describe_share_group_offsets_response *a = &o->response;

    describe_share_group_offsets_response_init(a);
    a->groups = arena_array(&r->arena, (size_t)g->len, sizeof *a->groups);
    for (int i = 0; i < g->len; i++) {
        const struct describe_share_group_offsets_response *one =
            &g->calls[i].answer->response.describe_share_group_offsets;

        if (one->groups_len == 1)
            a->groups[a->groups_len++] = one->groups[0];
    }
    if (r->version == 0) {
        respond_merged(g, a);
        return;
    }
    o->calls = g;
    o->lags = (struct share_lag_call){
        .shard = r->shard, .response = a, .done = share_lags_done};
    share_lag_start(&o->lags, &r->arena);
}

/* Of each group all of its offsets once. */
static void share_offsets_once(struct describe_share_group_offsets_request *q)
{
    int32_t *firsts = once_firsts(
        q->groups, q->groups_len,
        ONCE_FIELD(struct describe_share_group_offsets_request_group,
                   group_id));
    bool *all = xcalloc((size_t)q->groups_len + 1, sizeof *all);
    int32_t kept = 0;

    for (int i = 0; i < q->groups_len; i++) {
        bool for_all = q->groups[i].topics_len < 0;

        if (!for_all || !all[firsts[i]])
            q->groups[kept++] = q->groups[i];
        all[firsts[i]] |= for_all;
    }
    q->groups_len = kept;
    free(all);
    free(firsts);
}

static void share_offsets(struct request *r)
{
    struct describe_share_group_offsets_request *q = r->msg;

    share_offsets_once(q);
    struct group_calls *g = calls_new(r, q->groups_len, share_offsets_done);
    struct describe_share_group_offsets_request *single =
        arena_array(&r->arena, (size_t)q->groups_len, sizeof *single);

    for (int i = 0; i < q->groups_len; i++) {
        single[i] = *q;
        single[i].groups = &q->groups[i];
        single[i].groups_len = 1;
        g->calls[i].msg = &single[i];
        g->calls[i].call.partition = coordinator_of(r, q->groups[i].group_id);
    }
    calls_start(g);
}

/* ---- streams groups (KIP-1071)
 * --------------------------------------------------------------------------
 */

static bool offers_streams(const struct request *r)
{
    return r->shard->broker->config->group_protocol_streams;
}

static void streams_heartbeat(struct request *r)
{
    const struct streams_group_heartbeat_request *q = r->msg;
    struct streams_group_heartbeat_response a;

    if (offers_streams(r)) {
        one_group(r, q->group_id);
        return;
    }
    streams_group_heartbeat_response_init(&a);
    a.error_code = ERR_UNSUPPORTED_VERSION;
    request_respond(r, &a);
}

static void streams_describe_done(struct group_calls *g)
{
    struct request *r = g->request;
    const struct streams_group_describe_request *q = r->msg;
    struct streams_group_describe_response a;

    streams_group_describe_response_init(&a);
    a.groups = arena_array(&r->arena, (size_t)g->len, sizeof *a.groups);
    for (int i = 0; i < g->len; i++) {
        const struct streams_group_describe_response *one =
            &g->calls[i].answer->response.streams_group_describe;

        if (one->groups_len != 1)
            continue;
        a.groups[a.groups_len] = one->groups[0];
        if (q->include_authorized_operations &&
            one->groups[0].error_code == ERR_NONE)
            a.groups[a.groups_len].authorized_operations = GROUP_OPERATIONS_ALL;
        a.groups_len++;
    }
    respond_merged(g, &a);
}

static void streams_not_described(struct request *r)
{
    const struct streams_group_describe_request *q = r->msg;
    struct streams_group_describe_response a;

    streams_group_describe_response_init(&a);
    a.groups =
        arena_array(&r->arena, (size_t)q->group_ids_len, sizeof *a.groups);
    for (int i = 0; i < q->group_ids_len; i++) {
        streams_group_describe_response_described_group_init(&a.groups[i]);
        a.groups[i].group_id = q->group_ids[i];
        a.groups[i].error_code = ERR_UNSUPPORTED_VERSION;
    }
    a.groups_len = q->group_ids_len;
    request_respond(r, &a);
}

static void streams_describe(struct request *r)
{
    struct streams_group_describe_request *q = r->msg;

    q->group_ids_len = names_once(q->group_ids, q->group_ids_len);
    if (!offers_streams(r)) {
        streams_not_described(r);
        return;
    }
    struct group_calls *g =
        calls_new(r, q->group_ids_len, streams_describe_done);
    struct streams_group_describe_request *single =
        arena_array(&r->arena, (size_t)q->group_ids_len, sizeof *single);
    for (int i = 0; i < q->group_ids_len; i++) {
        single[i] = *q;
        single[i].group_ids = &q->group_ids[i];
        single[i].group_ids_len = 1;
        g->calls[i].msg = &single[i];
        g->calls[i].call.partition = coordinator_of(r, q->group_ids[i]);
    }
    calls_start(g);
}

/* ---- ListGroups
 * ------------------------------------------------------------------------------
 */

static void list_done(struct group_calls *g)
{
    struct request *r = g->request;
    struct list_groups_response a;
    int32_t n = 0;

    list_groups_response_init(&a);
    for (int i = 0; i < g->len; i++)
        n += g->calls[i].answer->response.list_groups.groups_len;
    a.groups = arena_array(&r->arena, (size_t)n, sizeof *a.groups);
    for (int i = 0; i < g->len; i++) {
        const struct list_groups_response *one =
            &g->calls[i].answer->response.list_groups;

        if (one->error_code == ERR_COORDINATOR_LOAD_IN_PROGRESS)
            a.error_code = one->error_code;
        for (int j = 0; j < one->groups_len; j++)
            a.groups[a.groups_len++] = one->groups[j];
    }
    respond_merged(g, &a);
}

/* A broker lists the groups that it coordinates. */
static void list_groups(struct request *r)
{
    struct shard_topic *t = shard_topic_by_name(r->shard, SLICE(GROUP_TOPIC));
    struct group_calls *g =
        calls_new(r, t != NULL ? t->partitions : 0, list_done);

    for (int i = 0; i < g->len; i++)
        g->calls[i].call.partition = i;
    calls_start(g);
}

/* ---- dispatch
 * ----------------------------------------------------------------------------------
 */

void api_group_request(struct request *r)
{
    r->group_host =
        (const char *)arena_printf(&r->arena, "/%s", r->client_host).data;
    switch (r->api->key) {
    case API_JOIN_GROUP:
        one_group(r, ((const struct join_group_request *)r->msg)->group_id);
        break;
    case API_SYNC_GROUP:
        one_group(r, ((const struct sync_group_request *)r->msg)->group_id);
        break;
    case API_HEARTBEAT:
        one_group(r, ((const struct heartbeat_request *)r->msg)->group_id);
        break;
    case API_LEAVE_GROUP:
        one_group(r, ((const struct leave_group_request *)r->msg)->group_id);
        break;
    case API_CONSUMER_GROUP_HEARTBEAT:
        consumer_group_heartbeat(r);
        break;
    case API_CONSUMER_GROUP_DESCRIBE:
        consumer_group_describe(r);
        break;
    case API_OFFSET_DELETE:
        offset_delete(r);
        break;
    case API_OFFSET_COMMIT:
        offsets_request(r, offset_commit);
        break;
    case API_TXN_OFFSET_COMMIT:
        txn_offset_commit(r);
        break;
    case API_OFFSET_FETCH:
        offsets_request(r, offset_fetch);
        break;
    case API_DESCRIBE_GROUPS:
        describe_groups(r);
        break;
    case API_DELETE_GROUPS:
        delete_groups(r);
        break;
    case API_SHARE_GROUP_HEARTBEAT:
        one_group(
            r,
            ((const struct share_group_heartbeat_request *)r->msg)->group_id);
        break;
    case API_ALTER_SHARE_GROUP_OFFSETS:
        one_group(r, ((const struct alter_share_group_offsets_request *)r->msg)
                         ->group_id);
        break;
    case API_DELETE_SHARE_GROUP_OFFSETS:
        one_group(r, ((const struct delete_share_group_offsets_request *)r->msg)
                         ->group_id);
        break;
    case API_SHARE_GROUP_DESCRIBE:
        share_describe(r);
        break;
    case API_DESCRIBE_SHARE_GROUP_OFFSETS:
        share_offsets(r);
        break;
    case API_STREAMS_GROUP_HEARTBEAT:
        streams_heartbeat(r);
        break;
    case API_STREAMS_GROUP_DESCRIBE:
        streams_describe(r);
        break;
    default:
        list_groups(r);
    }
}
