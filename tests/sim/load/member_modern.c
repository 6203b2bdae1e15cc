/* Membership by KIP-848: heartbeats, each with what it owns when that has
 * changed, or sometimes.  What it is told to give up it commits, stops reading,
 * and says so in the next one; what it is given it may read at once.
 *
 * It is sure of what it has for half of its session from when it sent the last
 * heartbeat that was answered.  As long as it is, nobody else may be given it.
 */
#include "tests/sim/load/member_parts.h"

#include <stdlib.h>

static int64_t now(const struct load_member *m) { return env_now_ms(m->env); }

static bool joins(const struct load_member *m)
{
    return m->state == MEMBER_AWAY || m->state == MEMBER_JOINING;
}

/* A classic group's heartbeats may come from a coordinator that was replaced;
 * commits and assignments do not. */
bool modern_is_unsure(const struct load_member *m)
{
    int64_t sure_ms = m->options.modern || m->proof_ms > m->heard_ms
                          ? m->heard_ms
                          : m->proof_ms;

    return now(m) - sure_ms > m->options.session_timeout_ms / 2;
}

/* A join that was not answered may still arrive.  It says that the member has
 * nothing, so another may have it all then, and nothing in it tells that it is
 * late (KIP-848). */
static void claim(struct load_member *m)
{
    for (size_t i = 0; i < m->owned_len; i++) {
        const struct owned *o = &m->owned[i];

        history_claimed(m->history, m->options.group, m->generation, m->id,
                        o->topic, o->partition);
        if (m->join_open)
            history_released(m->history, m->options.group, m->id, o->topic,
                             o->partition);
    }
}

bool modern_claim(struct load_member *m)
{
    if (modern_is_unsure(m))
        return false;
    claim(m);
    return true;
}

/* ---- what it has ----------------------------------------------------------
 */

void modern_release(struct load_member *m)
{
    for (size_t i = 0; i < m->owned_len; i++)
        history_released(m->history, m->options.group, m->id, m->owned[i].topic,
                         m->owned[i].partition);
    free(m->given);
    m->given = NULL;
    m->given_len = 0;
}

static bool is_given(const struct load_member *m, const struct owned *o)
{
    for (size_t i = 0; i < m->given_len; i++)
        if (uuid_eq(m->given[i].id, o->id) &&
            m->given[i].partition == o->partition)
            return true;
    return false;
}

/* Whether what it was given is what it owns. */
static bool is_all(const struct load_member *m)
{
    for (size_t i = 0; i < m->owned_len; i++)
        if (!is_given(m, &m->owned[i]))
            return false;
    return m->owned_len == m->given_len;
}

static void note_given(struct load_member *m,
                       const struct consumer_group_heartbeat_response *a)
{
    free(m->given);
    m->given = NULL;
    m->given_len = 0;
    for (int32_t t = 0; t < a->assignment->topic_partitions_len; t++) {
        const struct consumer_group_heartbeat_response_topic_partitions *from =
            &a->assignment->topic_partitions[t];

        for (int32_t i = 0; i < from->partitions_len; i++) {
            m->given =
                xrealloc(m->given, (m->given_len + 1) * sizeof *m->given);
            m->given[m->given_len++] =
                (struct given){from->topic_id, from->partitions[i]};
        }
    }
}

static void lose(struct load_member *m, const struct owned *o)
{
    history_released(m->history, m->options.group, m->id, o->topic,
                     o->partition);
    if (m->late >= 0)
        return;
    free(m->lost.name);
    m->lost = *o;
    m->lost.name = xstrdup(o->name);
    m->lost_epoch = m->generation;
}

/* Topics that it has not heard of yet come with a later heartbeat; so do those
 * that its metadata do not show any more, as a node told it that is behind. */
void modern_take(struct load_member *m)
{
    load_reader_stop(m->reader);
    for (size_t i = 0; i < m->owned_len; i++)
        if (!is_given(m, &m->owned[i]))
            lose(m, &m->owned[i]);
        else if (load_client_topic(m->client, SLICE_NULL, m->owned[i].id) ==
                 NULL)
            history_released(m->history, m->options.group, m->id,
                             m->owned[i].topic, m->owned[i].partition);
    member_drop_assignment(m);
    m->assignments++;
    for (size_t i = 0; i < m->given_len; i++) {
        const struct load_topic *t =
            load_client_topic(m->client, SLICE_NULL, m->given[i].id);

        if (!member_own(m, t, m->given[i].partition))
            load_client_look(m->client);
    }
    claim(m);
    m->state = MEMBER_IN;
    m->placed = false;
    m->has_news = true;
    m->next_beat_ms = now(m);
    m->next_commit_ms = now(m) + m->options.commit_ms;
    load_reader_start(m->reader);
}

/* ---- heartbeats -----------------------------------------------------------
 */

static void beaten(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;
    const struct consumer_group_heartbeat_response *a = response;

    m->beating = false;
    m->join_open |= error != ERR_NONE && m->state == MEMBER_JOINING;
    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (m->state != MEMBER_JOINING && m->state != MEMBER_IN)
        return;
    if (error != ERR_NONE) {
        bool again = member_take_error(m, error);

        history_note(m->history, "heartbeat of %s: %s", m->id, err_name(error));
        if (again || m->state == MEMBER_JOINING)
            member_join_again(m, 100);
        return;
    }
    m->heard_ms = m->sent_ms;
    m->generation = a->member_epoch;
    if (m->state == MEMBER_JOINING)
        history_note(m->history, "joined %s/%d as %s", m->options.group,
                     m->generation, m->id);
    m->has_news = false;
    if (a->assignment != NULL)
        note_given(m, a);
    if (m->state == MEMBER_JOINING)
        modern_take(m);
    else if (a->assignment != NULL && !is_all(m))
        member_revoke(m, false);
}

static void name_owned(const struct load_member *m, struct arena *a,
                       struct consumer_group_heartbeat_request *q)
{
    q->topic_partitions_len = (int32_t)m->owned_len;
    q->topic_partitions =
        arena_array(a, m->owned_len + 1, sizeof *q->topic_partitions);
    for (size_t i = 0; i < m->owned_len; i++)
        q->topic_partitions[i] =
            (struct consumer_group_heartbeat_request_topic_partitions){
                m->owned[i].id, &m->owned[i].partition, 1};
}

static void choose_id(struct load_member *m)
{
    char text[UUID_TEXT_SIZE];

    if (m->id[0] != '\0')
        return;
    free(m->id);
    m->id = xstrdup(uuid_format(uuid_random(m->prng), text));
    m->join_open = false;
}

/* Everything at first, when there is news, and sometimes. */
static bool fill(struct load_member *m, struct arena *a,
                 struct consumer_group_heartbeat_request *q)
{
    consumer_group_heartbeat_request_init(q);
    q->group_id = slice_str(m->options.group);
    q->member_id = slice_str(m->id);
    q->member_epoch = joins(m) ? 0 : m->generation;
    q->instance_id = member_instance(m);
    if (!joins(m) && !m->has_news && prng_below(m->prng, 3) != 0)
        return true;
    q->rebalance_timeout_ms = m->options.rebalance_timeout_ms;
    q->subscribed_topic_names_len =
        member_topics(m, a, &q->subscribed_topic_names);
    name_owned(m, a, q);
    return q->subscribed_topic_names_len != 0;
}

void modern_beat(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);
    struct consumer_group_heartbeat_request q;
    struct arena arena;

    if (node < 0 || m->beating)
        return;
    choose_id(m);
    arena_init(&arena, 0);
    if (fill(m, &arena, &q)) {
        if (joins(m))
            m->state = MEMBER_JOINING;
        m->beating = true;
        m->sent_ms = now(m);
        m->next_beat_ms = now(m) + m->options.heartbeat_ms;
        load_client_call(m->client, node, API_CONSUMER_GROUP_HEARTBEAT,
                         load_client_version(m->client,
                                             API_CONSUMER_GROUP_HEARTBEAT, 1,
                                             INT16_MAX),
                         &q, 0, beaten, m);
    }
    arena_free(&arena);
}

/* A static member says that it will be back. */
void modern_leave(struct load_member *m, int32_t node)
{
    struct consumer_group_heartbeat_request q;

    consumer_group_heartbeat_request_init(&q);
    q.group_id = slice_str(m->options.group);
    q.member_id = slice_str(m->id);
    q.member_epoch = m->options.instance_id != NULL ? -2 : -1;
    q.instance_id = member_instance(m);
    m->state = MEMBER_LEAVING;
    m->busy = true;
    load_client_call(m->client, node, API_CONSUMER_GROUP_HEARTBEAT,
                     load_client_version(
                         m->client, API_CONSUMER_GROUP_HEARTBEAT, 1, INT16_MAX),
                     &q, 0, member_left, m);
}
