/* Membership: a heartbeat joins, lives and leaves.  A member that is told that
 * it is none, or of another epoch, gives up what it was assigned and joins
 * again, by the same id.  Its share sessions are the leaders' and go on.
 *
 * In the end all come back and stay until the group has nothing left. */
#include "tests/sim/load/shares_parts.h"

#include "base/uuid.h"

#include <stdlib.h>

enum {
    AWAY_MS = 3000,
    STAY_MS = 8000,
    RETRY_MS = 100,
    LEAVES = -1, /* as an epoch */
};

static int64_t now(const struct shares_member *m)
{
    return env_now_ms(m->owner->env);
}

static int64_t about(struct shares_member *m, int64_t ms)
{
    return ms / 2 + (int64_t)prng_below(m->prng, (uint64_t)ms + 1);
}

/* ---- life ---------------------------------------------------------------- */

struct shares_member *shares_member_of(struct load_shares *s, int number)
{
    struct shares_member *m = xcalloc(1, sizeof *m);

    m->owner = s;
    m->number = number;
    m->client = load_client_new(s->env, prng_next(&s->prng), &s->client);
    m->prng = load_client_prng(m->client);
    return m;
}

void shares_member_free(struct shares_member *m)
{
    load_client_free(m->client);
    for (size_t i = 0; i < m->sessions_len; i++)
        free(m->sessions[i]);
    buf_free(&m->scratch);
    free(m->sessions);
    free(m->held);
    free(m->id);
    free(m);
}

void shares_member_start(struct shares_member *m)
{
    m->next_ms = now(m) + (int64_t)prng_below(m->prng, 1000);
    load_client_look(m->client);
}

static void new_id(struct shares_member *m)
{
    char text[UUID_TEXT_SIZE];

    free(m->id);
    m->id = xstrdup(uuid_format(uuid_random(m->prng), text));
}

static void go_away(struct shares_member *m)
{
    m->state = SHARES_AWAY;
    m->epoch = 0;
    m->assigned = 0;
    m->next_ms = now(m) + about(m, AWAY_MS);
}

/* As a process that dies; the next one may have the same id. */
static void die(struct shares_member *m)
{
    history_note(m->owner->history, "share member %d dies with %zu records",
                 m->number, m->held_len);
    load_client_reset(m->client);
    load_client_look(m->client);
    shares_sessions_drop(m);
    m->beating = false;
    go_away(m);
    if (prng_below(m->prng, 2) == 0)
        new_id(m);
}

/* ---- heartbeats ---------------------------------------------------------- */

static void
take_assignment(struct shares_member *m,
                const struct share_group_heartbeat_response_assignment *from)
{
    const struct load_topic *t =
        load_client_topic(m->client, slice_str(m->owner->topic), UUID_ZERO);

    m->assigned = 0;
    for (int32_t i = 0; i < from->topic_partitions_len; i++) {
        if (t == NULL || !uuid_eq(from->topic_partitions[i].topic_id, t->id)) {
            history_violation(m->owner->history, "foreign",
                              "share member %d was assigned a topic that it "
                              "did not ask for",
                              m->number);
            continue;
        }
        for (int32_t k = 0; k < from->topic_partitions[i].partitions_len; k++)
            if (from->topic_partitions[i].partitions[k] < SHARES_PARTITIONS_MAX)
                m->assigned |= 1u << from->topic_partitions[i].partitions[k];
    }
    history_note(m->owner->history, "share member %d is assigned %x", m->number,
                 m->assigned);
}

static void take_error(struct shares_member *m, enum err error)
{
    history_note(m->owner->history, "share heartbeat of %d: %s", m->number,
                 err_name(error));
    m->next_beat_ms = now(m) + RETRY_MS;
    switch (error) {
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_FENCED_MEMBER_EPOCH:
    case ERR_GROUP_ID_NOT_FOUND:
        m->epoch = 0;
        m->assigned = 0;
        break;
    default:
        load_client_forget_coordinator(m->client);
    }
}

static void beaten(void *arg, enum err error, const void *response)
{
    struct shares_member *m = arg;
    const struct share_group_heartbeat_response *a = response;

    m->beating = false;
    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (m->state != SHARES_IN)
        return;
    if (error != ERR_NONE) {
        take_error(m, error);
        return;
    }
    m->epoch = a->member_epoch;
    if (a->assignment != NULL)
        take_assignment(m, a->assignment);
}

static void left(void *arg, enum err error, const void *response)
{
    struct shares_member *m = arg;

    (void)response;
    history_note(m->owner->history, "share member %d left: %s", m->number,
                 err_name(error));
    if (error != ERR_NONE)
        load_client_forget_coordinator(m->client);
    m->beating = false;
    go_away(m);
}

/* A member that joins names its topics; false: it waits. */
static bool call_heartbeat(struct shares_member *m, int32_t epoch,
                           load_client_done *done)
{
    int32_t node = load_client_coordinator(m->client, m->owner->group);
    struct slice name = slice_str(m->owner->topic);
    struct share_group_heartbeat_request q;

    if (node < 0 || m->beating)
        return false;
    share_group_heartbeat_request_init(&q);
    q.group_id = slice_str(m->owner->group);
    q.member_id = slice_str(m->id);
    q.member_epoch = epoch;
    if (epoch == 0 || (epoch > 0 && prng_below(m->prng, 4) == 0)) {
        q.subscribed_topic_names = &name;
        q.subscribed_topic_names_len = 1;
    } else {
        q.subscribed_topic_names_len = -1;
    }
    m->beating = true;
    load_client_call(
        m->client, node, API_SHARE_GROUP_HEARTBEAT,
        load_client_version(m->client, API_SHARE_GROUP_HEARTBEAT, 1, INT16_MAX),
        &q, 0, done, m);
    return true;
}

static void beat(struct shares_member *m)
{
    const char *topic = m->owner->topic;

    if (now(m) < m->next_beat_ms)
        return;
    if (load_client_topic(m->client, slice_str(topic), UUID_ZERO) == NULL)
        load_client_look(m->client);
    else if (call_heartbeat(m, m->epoch, beaten))
        m->next_beat_ms = now(m) + m->owner->options.session_timeout_ms / 6;
}

/* ---- time ---------------------------------------------------------------- */

static bool is_over(const struct shares_member *m)
{
    return m->owner->stopped && (m->owner->options.unclean_possible ||
                                 shares_watch_is_done(m->owner->watch));
}

static void tick_away(struct shares_member *m)
{
    if (now(m) < m->next_ms || is_over(m))
        return;
    if (m->id == NULL)
        new_id(m);
    m->state = SHARES_IN;
    m->next_beat_ms = now(m);
    m->until_ms =
        m->owner->options.coming_and_going ? now(m) + about(m, STAY_MS) : 0;
}

static void tick_in(struct shares_member *m)
{
    bool going =
        m->until_ms != 0 && now(m) >= m->until_ms && !m->owner->stopped;

    if (going && prng_below(m->prng, 2) == 0) {
        die(m);
        return;
    }
    if (going || is_over(m)) {
        m->state = SHARES_LEAVING;
        m->until_ms = now(m) + m->owner->options.session_timeout_ms;
        return;
    }
    beat(m);
    shares_sessions_tick(m);
}

/* Who finds no coordinator goes without a word. */
static void tick_leaving(struct shares_member *m)
{
    if (!shares_sessions_close(m) || m->beating)
        return;
    if (!call_heartbeat(m, LEAVES, left) && now(m) >= m->until_ms)
        go_away(m);
}

void shares_member_tick(struct shares_member *m)
{
    shares_expire(m);
    switch (m->state) {
    case SHARES_AWAY:
        tick_away(m);
        break;
    case SHARES_IN:
        tick_in(m);
        break;
    case SHARES_LEAVING:
        tick_leaving(m);
        break;
    }
}

bool shares_member_is_quiet(const struct shares_member *m)
{
    return m->state == SHARES_AWAY && is_over(m);
}
