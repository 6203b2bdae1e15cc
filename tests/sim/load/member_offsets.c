/* Commits, and where to begin. */
#include "tests/sim/load/member_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    COMMIT_FLOOR = 1, /* with a generation */
    COMMIT_WITH_INSTANCE = 7,
    WITH_EPOCH = 9, /* both calls */
    FETCH_FLOOR = 1,
    FETCH_OF_GROUPS = 8,
    FETCH_WITH_IDS = 10,
};

static int64_t now(const struct load_member *m) { return env_now_ms(m->env); }

static struct owned *find_owned(struct load_member *m, struct slice name,
                                struct uuid id, int32_t partition)
{
    for (size_t i = 0; i < m->owned_len; i++)
        if (m->owned[i].partition == partition &&
            (uuid_eq(m->owned[i].id, id) ||
             slice_eq_str(name, m->owned[i].name)))
            return &m->owned[i];
    return NULL;
}

/* ---- commits ------------------------------------------------------------- */

static int16_t commit_floor(const struct load_member *m)
{
    if (m->options.modern)
        return WITH_EPOCH;
    return m->options.instance_id != NULL ? COMMIT_WITH_INSTANCE : COMMIT_FLOOR;
}

static void end_commit(struct load_member *m, struct owned *o,
                       enum history_outcome outcome)
{
    if (o->commit >= 0)
        history_committed(m->history, o->commit, outcome);
    o->commit = -1;
}

void member_forget_commits(struct load_member *m)
{
    for (size_t i = 0; i < m->owned_len; i++)
        end_commit(m, &m->owned[i], HISTORY_UNKNOWN);
}

static enum history_outcome outcome_of(enum err error)
{
    switch (error) {
    case ERR_NONE:
        return HISTORY_ACKED;
    case ERR_ILLEGAL_GENERATION:
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_REBALANCE_IN_PROGRESS:
    case ERR_FENCED_INSTANCE_ID:
    case ERR_STALE_MEMBER_EPOCH:
    case ERR_GROUP_ID_NOT_FOUND:
        return HISTORY_REFUSED;
    default: /* it may have been written */
        return HISTORY_UNKNOWN;
    }
}

static enum err take_outcomes(struct load_member *m,
                              const struct offset_commit_response *a)
{
    enum err worst = ERR_NONE;

    for (int32_t t = 0; t < a->topics_len; t++)
        for (int32_t i = 0; i < a->topics[t].partitions_len; i++) {
            enum err error = (enum err)a->topics[t].partitions[i].error_code;
            struct owned *o =
                find_owned(m, a->topics[t].name, a->topics[t].topic_id,
                           a->topics[t].partitions[i].partition_index);
            if (error != ERR_NONE)
                worst = error;
            if (o == NULL)
                continue;
            end_commit(m, o, outcome_of(error));
            if (error != ERR_NONE)
                o->committed = -1; /* once more */
        }
    return worst;
}

static void committed(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;

    m->committing = false;
    if (error == ERR_NONE)
        error = take_outcomes(m, response);
    if (error == ERR_NONE)
        m->proof_ms = m->commit_ms;
    if (error != ERR_NONE)
        history_note(m->history, "commit of %s: %s", m->id, err_name(error));
    member_forget_commits(m);
    member_take_error(m, error); /* the next heartbeat says what to do */
    member_commit_done(m);
}

static void add(struct offset_commit_request *q, const struct owned *o,
                int64_t offset, size_t count, struct arena *a)
{
    int32_t t = 0;

    while (t < q->topics_len && !uuid_eq(q->topics[t].topic_id, o->id))
        t++;
    struct offset_commit_request_topic *topic = &q->topics[t];
    if (t == q->topics_len) {
        q->topics_len++;
        offset_commit_request_topic_init(topic);
        topic->name = slice_str(o->name);
        topic->topic_id = o->id;
        topic->partitions = arena_array(a, count, sizeof *topic->partitions);
    }
    struct offset_commit_request_partition *p =
        &topic->partitions[topic->partitions_len++];
    offset_commit_request_partition_init(p);
    p->partition_index = o->partition;
    p->committed_offset = offset;
    p->committed_metadata = arena_printf(a, "%lld", (long long)o->commit);
}

/* A member of a group of both protocols that is classic, or may be again. */
static bool has_to_prove(const struct load_member *m)
{
    return m->options.mixed && !m->options.modern;
}

bool member_commit(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);
    struct offset_commit_request q;
    struct arena arena;
    int topic;
    int32_t partition;
    int64_t offset;

    if (node < 0 || m->committing || !m->placed)
        return false;
    arena_init(&arena, 0);
    offset_commit_request_init(&q);
    q.group_id = slice_str(m->options.group);
    q.generation_id_or_member_epoch = m->generation;
    q.member_id = slice_str(m->id);
    q.group_instance_id = member_instance(m);
    q.topics = arena_array(&arena, m->owned_len + 1, sizeof *q.topics);
    for (size_t i = 0;
         load_reader_position(m->reader, i, &topic, &partition, &offset); i++)
        for (size_t k = 0; k < m->owned_len; k++) {
            struct owned *o = &m->owned[k];
            if (o->topic != topic || o->partition != partition || offset < 0 ||
                (o->committed == offset && !has_to_prove(m)))
                continue;
            o->committed = offset;
            o->commit =
                history_commit(m->history, m->options.group, m->generation,
                               m->id, topic, partition, offset);
            add(&q, o, offset, m->owned_len, &arena);
        }
    bool any = q.topics_len != 0;
    if (any) {
        m->committing = true;
        m->commit_ms = now(m);
        load_client_call(m->client, node, API_OFFSET_COMMIT,
                         load_client_version(m->client, API_OFFSET_COMMIT,
                                             commit_floor(m), INT16_MAX),
                         &q, 0, committed, m);
    }
    arena_free(&arena);
    return any;
}

/* ---- late commits -------------------------------------------------------- */

static void late_done(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;
    const struct offset_commit_response *a = response;

    if (error == ERR_NONE && a->topics_len == 1 &&
        a->topics[0].partitions_len == 1)
        error = (enum err)a->topics[0].partitions[0].error_code;
    else if (error == ERR_NONE)
        error = ERR_MALFORMED;
    history_committed(m->history, m->late, outcome_of(error));
    m->late = -1;
    if (error == ERR_NONE && m->options.modern && !m->options.unclean_possible)
        history_violation(m->history, "stale-commit",
                          "group %s took an offset of %s at epoch %d, though "
                          "it had given the partition up and had epoch %d",
                          m->options.group, m->id, m->late_epoch,
                          m->generation);
}

static void send_late(struct load_member *m, int32_t node, struct owned *o,
                      int32_t epoch)
{
    int64_t offset = o->committed > 0 ? o->committed - 1 : 0;
    struct offset_commit_request q;
    struct arena arena;

    o->commit = history_commit(m->history, m->options.group, epoch, m->id,
                               o->topic, o->partition, offset);
    arena_init(&arena, 0);
    offset_commit_request_init(&q);
    q.group_id = slice_str(m->options.group);
    q.generation_id_or_member_epoch = epoch;
    q.member_id = slice_str(m->id);
    q.group_instance_id = member_instance(m);
    q.topics = arena_array(&arena, 1, sizeof *q.topics);
    add(&q, o, offset, 1, &arena);
    m->late = o->commit;
    m->late_epoch = epoch;
    load_client_call(m->client, node, API_OFFSET_COMMIT,
                     load_client_version(m->client, API_OFFSET_COMMIT,
                                         commit_floor(m), INT16_MAX),
                     &q, 0, late_done, m);
    arena_free(&arena);
}

void member_commit_late(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);

    if (node < 0 || m->late >= 0 || m->owned_len == 0 ||
        m->last_generation < 0 || m->last_generation >= m->generation)
        return;
    struct owned o = m->owned[prng_below(m->prng, m->owned_len)];
    send_late(m, node, &o, m->last_generation);
}

void member_commit_lost(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);

    if (node < 0 || m->late >= 0 || m->lost.name == NULL ||
        m->lost_epoch >= m->generation)
        return;
    send_late(m, node, &m->lost, m->lost_epoch);
    free(m->lost.name);
    m->lost.name = NULL;
}

/* ---- where to begin ------------------------------------------------------ */

static void begin_at(struct load_member *m, struct slice name, struct uuid id,
                     int32_t partition, int64_t offset, struct slice metadata)
{
    struct owned *o = find_owned(m, name, id, partition);
    char text[24] = "";
    int64_t commit = -1;

    if (o == NULL)
        return;
    if (offset >= 0 && metadata.len < sizeof text) {
        memcpy(text, metadata.data, metadata.len);
        commit = strtoll(text, NULL, 10);
    }
    history_offset(m->history, m->options.group, m->generation, o->topic,
                   partition, m->asked, commit, offset);
    load_reader_follow(m->reader, o->name, o->id, partition,
                       offset >= 0 ? offset : LOAD_EARLIEST);
    o->committed = offset;
}

static enum err find_error(const struct offset_fetch_response *a)
{
    enum err error = (enum err)a->error_code;

    for (int32_t t = 0; t < a->topics_len; t++)
        for (int32_t i = 0; i < a->topics[t].partitions_len; i++)
            if (a->topics[t].partitions[i].error_code != ERR_NONE)
                error = (enum err)a->topics[t].partitions[i].error_code;
    if (a->groups_len <= 0)
        return error;
    const struct offset_fetch_response_group *g = &a->groups[0];
    error = (enum err)g->error_code;
    for (int32_t t = 0; t < g->topics_len; t++)
        for (int32_t i = 0; i < g->topics[t].partitions_len; i++)
            if (g->topics[t].partitions[i].error_code != ERR_NONE)
                error = (enum err)g->topics[t].partitions[i].error_code;
    return error;
}

static void take_offsets(struct load_member *m,
                         const struct offset_fetch_response *a)
{
    for (int32_t t = 0; t < a->topics_len; t++)
        for (int32_t i = 0; i < a->topics[t].partitions_len; i++)
            begin_at(m, a->topics[t].name, UUID_ZERO,
                     a->topics[t].partitions[i].partition_index,
                     a->topics[t].partitions[i].committed_offset,
                     a->topics[t].partitions[i].metadata);
    if (a->groups_len <= 0)
        return;
    const struct offset_fetch_response_group *g = &a->groups[0];
    for (int32_t t = 0; t < g->topics_len; t++)
        for (int32_t i = 0; i < g->topics[t].partitions_len; i++)
            begin_at(m, g->topics[t].name, g->topics[t].topic_id,
                     g->topics[t].partitions[i].partition_index,
                     g->topics[t].partitions[i].committed_offset,
                     g->topics[t].partitions[i].metadata);
}

static void offsets_fetched(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;

    m->placing = false;
    if (error == ERR_NONE)
        error = find_error(response);
    if (m->state != MEMBER_IN || m->placing_for != m->assignments)
        return;
    if (error != ERR_NONE) {
        member_take_error(m, error); /* the next tick asks again */
        return;
    }
    take_offsets(m, response);
    m->placed = true;
}

/* Topics of what we own, either as old requests name them or as new ones do. */
static void name_owned(const struct load_member *m, int16_t version,
                       struct offset_fetch_request *q, struct arena *a)
{
    struct offset_fetch_request_group *g = arena_alloc(a, sizeof *g);

    offset_fetch_request_group_init(g);
    g->group_id = slice_str(m->options.group);
    if (m->options.modern) {
        g->member_id = slice_str(m->id);
        g->member_epoch = m->generation;
    }
    g->topics = arena_array(a, m->owned_len + 1, sizeof *g->topics);
    q->topics = arena_array(a, m->owned_len + 1, sizeof *q->topics);
    g->topics_len = q->topics_len = (int32_t)m->owned_len;
    for (size_t i = 0; i < m->owned_len; i++) {
        struct owned *o = &m->owned[i];
        offset_fetch_request_topics_init(&g->topics[i]);
        g->topics[i].name = slice_str(o->name);
        g->topics[i].topic_id = o->id;
        g->topics[i].partition_indexes = &o->partition;
        g->topics[i].partition_indexes_len = 1;
        offset_fetch_request_topic_init(&q->topics[i]);
        q->topics[i].name = slice_str(o->name);
        q->topics[i].partition_indexes = &o->partition;
        q->topics[i].partition_indexes_len = 1;
    }
    if (version >= FETCH_OF_GROUPS) {
        q->topics_len = 0;
        q->groups = g;
        q->groups_len = 1;
    } else {
        q->group_id = slice_str(m->options.group);
    }
}

void member_fetch_offsets(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);
    struct offset_fetch_request q;
    struct arena arena;
    int16_t version = load_client_version(
        m->client, API_OFFSET_FETCH,
        m->options.modern ? WITH_EPOCH : FETCH_FLOOR, INT16_MAX);

    if (m->owned_len == 0)
        m->placed = true;
    if (node < 0 || m->owned_len == 0)
        return;
    arena_init(&arena, 0);
    offset_fetch_request_init(&q);
    name_owned(m, version, &q, &arena);
    m->placing = true;
    m->placing_for = m->assignments;
    m->asked = history_now(m->history);
    load_client_call(m->client, node, API_OFFSET_FETCH, version, &q, 0,
                     offsets_fetched, m);
    arena_free(&arena);
}
