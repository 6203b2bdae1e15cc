/* The leader's work: who gets what (range), and the bytes of it. */
#include "proto/kafka/codec.h"
#include "tests/sim/load/member_parts.h"

#include <stdlib.h>

struct candidate {
    struct slice id;
    struct slice sort_key;
    struct consumer_protocol_subscription subscription;
    struct consumer_protocol_assignment assignment;
};

int32_t member_topics(struct load_member *m, struct arena *a,
                      struct slice **names)
{
    const struct load_topic *topics;
    size_t len = load_client_topics(m->client, &topics);
    int32_t found = 0;

    *names = arena_array(a, len + 1, sizeof **names);
    for (size_t i = 0; i < len; i++)
        if (strncmp(topics[i].name, m->options.topic_prefix,
                    strlen(m->options.topic_prefix)) == 0)
            (*names)[found++] = slice_str(topics[i].name);
    if (found == 0)
        load_client_look(m->client);
    return found;
}

struct slice member_subscription(struct load_member *m, struct arena *a)
{
    struct consumer_protocol_subscription s;
    struct buf bytes = BUF_INIT;

    consumer_protocol_subscription_init(&s);
    s.topics_len = member_topics(m, a, &s.topics);
    if (s.topics_len == 0)
        return SLICE("");
    s.user_data = SLICE_NULL;
    buf_put_u16(&bytes, 1);
    ASSERT(kafka_encode(&consumer_protocol_subscription_desc, 1, &s, &bytes,
                        NULL) == ERR_NONE);
    struct slice copy = arena_copy(a, buf_slice(&bytes));
    buf_free(&bytes);
    return copy;
}

static void read_subscription(struct slice bytes, struct arena *a,
                              struct consumer_protocol_subscription *s)
{
    struct reader r = reader_of(bytes);

    read_i16(&r);
    if (kafka_decode_prefix(&consumer_protocol_subscription_desc, 1, &r, a,
                            s) != ERR_NONE)
        consumer_protocol_subscription_init(s);
}

static int by_key(const void *a, const void *b)
{
    return slice_cmp(((const struct candidate *)a)->sort_key,
                     ((const struct candidate *)b)->sort_key);
}

static bool subscribes(const struct candidate *c, const char *topic)
{
    for (int32_t i = 0; i < c->subscription.topics_len; i++)
        if (slice_eq_str(c->subscription.topics[i], topic))
            return true;
    return false;
}

static void give(struct candidate *c, const struct load_topic *t, int32_t first,
                 int32_t count, size_t topics, struct arena *a)
{
    struct consumer_protocol_assignment *to = &c->assignment;

    if (count == 0)
        return;
    if (to->assigned_partitions == NULL)
        to->assigned_partitions =
            arena_array(a, topics, sizeof *to->assigned_partitions);
    struct consumer_protocol_assignment_topic_partition *p =
        &to->assigned_partitions[to->assigned_partitions_len++];
    p->topic = slice_str(t->name);
    p->partitions = arena_array(a, (size_t)count, sizeof *p->partitions);
    p->partitions_len = count;
    for (int32_t i = 0; i < count; i++)
        p->partitions[i] = first + i;
}

static void share_topic(struct candidate *members, size_t len,
                        const struct load_topic *t, size_t topics,
                        struct arena *a)
{
    int32_t takers = 0;
    int32_t first = 0;
    int32_t turn = 0;

    for (size_t i = 0; i < len; i++)
        takers += subscribes(&members[i], t->name);
    for (size_t i = 0; i < len; i++) {
        if (!subscribes(&members[i], t->name))
            continue;
        int32_t count = t->partitions_len / takers +
                        (turn < t->partitions_len % takers ? 1 : 0);
        give(&members[i], t, first, count, topics, a);
        first += count;
        turn++;
    }
}

void member_assign(struct load_member *m, const struct join_group_response *r,
                   struct sync_group_request *q, struct arena *a)
{
    const struct load_topic *topics;
    size_t topics_len = load_client_topics(m->client, &topics);
    size_t len = (size_t)r->members_len;
    struct candidate *members = arena_array(a, len + 1, sizeof *members);

    for (size_t i = 0; i < len; i++) {
        const struct join_group_response_member *given = &r->members[i];
        members[i].id = given->member_id;
        members[i].sort_key = slice_is_null(given->group_instance_id)
                                  ? given->member_id
                                  : given->group_instance_id;
        read_subscription(given->metadata, a, &members[i].subscription);
        consumer_protocol_assignment_init(&members[i].assignment);
    }
    qsort(members, len, sizeof *members, by_key);
    for (size_t t = 0; t < topics_len; t++)
        share_topic(members, len, &topics[t], topics_len, a);
    q->assignments = arena_array(a, len + 1, sizeof *q->assignments);
    q->assignments_len = (int32_t)len;
    for (size_t i = 0; i < len; i++) {
        struct buf bytes = BUF_INIT;
        buf_put_u16(&bytes, 0);
        ASSERT(kafka_encode(&consumer_protocol_assignment_desc, 0,
                            &members[i].assignment, &bytes, NULL) == ERR_NONE);
        q->assignments[i].member_id = members[i].id;
        q->assignments[i].assignment = arena_copy(a, buf_slice(&bytes));
        buf_free(&bytes);
    }
}

/* ---- what was given
 * ------------------------------------------------------------------ */

void member_drop_assignment(struct load_member *m)
{
    member_forget_commits(m);
    for (size_t i = 0; i < m->owned_len; i++)
        free(m->owned[i].name);
    free(m->owned);
    m->owned = NULL;
    m->owned_len = 0;
}

bool member_own(struct load_member *m, const struct load_topic *t,
                int32_t partition)
{
    if (t == NULL || partition < 0)
        return false;
    struct slice name = slice_str(t->name);
    m->owned = xrealloc(m->owned, (m->owned_len + 1) * sizeof *m->owned);
    m->owned[m->owned_len++] = (struct owned){
        slice_dup(name), t->id, history_topic(m->history, name, t->id),
        partition,       -1,    -1};
    return true;
}

bool member_take_assignment(struct load_member *m, struct slice bytes)
{
    struct consumer_protocol_assignment a;
    struct reader r = reader_of(bytes);
    const char *who =
        m->options.instance_id != NULL ? m->options.instance_id : m->id;
    struct arena arena;
    bool known = true;

    member_drop_assignment(m);
    m->assignments++;
    arena_init(&arena, 0);
    consumer_protocol_assignment_init(&a);
    if (bytes.len != 0) {
        read_i16(&r);
        if (kafka_decode_prefix(&consumer_protocol_assignment_desc, 0, &r,
                                &arena, &a) != ERR_NONE)
            history_violation(m->history, "two-owners",
                              "the assignment of %s in generation %d of group "
                              "%s cannot be read",
                              who, m->generation, m->options.group);
    }
    for (int32_t t = 0; t < a.assigned_partitions_len; t++)
        for (int32_t i = 0; i < a.assigned_partitions[t].partitions_len; i++)
            known &= member_own(
                m,
                load_client_topic(m->client, a.assigned_partitions[t].topic,
                                  UUID_ZERO),
                a.assigned_partitions[t].partitions[i]);
    arena_free(&arena);
    if (m->options.mixed)
        return known && modern_claim(m);
    history_assigned(m->history, m->options.group, m->generation, who, 0, -1);
    for (size_t i = 0; i < m->owned_len; i++)
        history_assigned(m->history, m->options.group, m->generation, who,
                         m->owned[i].topic, m->owned[i].partition);
    return known;
}
