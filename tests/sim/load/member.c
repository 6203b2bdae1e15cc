/* Away, joining, syncing, in; then revoking (a last commit) and joining again,
 * or leaving.  A death drops everything without a word. */
#include "tests/sim/load/member.h"

#include "tests/sim/load/member_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum { TICK_MS = 20, RETRY_MS = 100 };

static void tick(void *arg);

struct load_member *load_member_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *client,
                                    struct history *history,
                                    const struct load_member_options *options,
                                    const struct load_reader_options *reader)
{
    struct load_member *m = xcalloc(1, sizeof *m);

    m->env = env;
    m->client = load_client_new(env, seed, client);
    m->prng = load_client_prng(m->client);
    m->reader =
        load_reader_new(env, prng_next(m->prng), client, history, reader);
    m->history = history;
    m->options = *options;
    m->timer.fn = tick;
    m->timer.arg = m;
    m->id = xstrdup("");
    m->generation = m->last_generation = -1;
    m->late = -1;
    m->chooses = options->mixed;
    if (options->mixed)
        history_mixes(history, options->group);
    return m;
}

void load_member_free(struct load_member *m)
{
    env_timer_stop(m->env, &m->timer);
    load_client_free(m->client);
    load_reader_free(m->reader);
    member_drop_assignment(m);
    free(m->given);
    free(m->lost.name);
    free(m->id);
    free(m);
}

static int64_t now(const struct load_member *m) { return env_now_ms(m->env); }

static int64_t about(struct load_member *m, int64_t ms)
{
    return ms / 2 + (int64_t)prng_below(m->prng, (uint64_t)ms + 1);
}

struct slice member_instance(const struct load_member *m)
{
    return slice_str(m->options.instance_id);
}

static void set_id(struct load_member *m, struct slice id)
{
    free(m->id);
    m->id = slice_dup(id);
}

/* Static members are named by their instance: a new member id takes over the
 * old one's partitions within a generation. */
static int16_t floor_of(const struct load_member *m, int16_t with_instance)
{
    return m->options.instance_id != NULL ? with_instance : 0;
}

/* ---- in and out of the group --------------------------------------------- */

static void give_back(struct load_member *m)
{
    load_reader_stop(m->reader);
    if (m->options.modern || m->options.mixed)
        modern_release(m);
    member_drop_assignment(m);
    m->placed = false;
}

void member_join_again(struct load_member *m, int64_t wait_ms)
{
    give_back(m);
    m->state = MEMBER_AWAY;
    m->busy = false;
    m->next_ms = now(m) + wait_ms;
}

static void go_away(struct load_member *m)
{
    member_join_again(m, about(m, m->options.away_ms));
    set_id(m, SLICE(""));
    m->generation = m->last_generation = -1;
    free(m->lost.name);
    m->lost.name = NULL;
    m->leave = false;
    m->chooses = m->options.mixed;
}

static void die(struct load_member *m)
{
    history_note(m->history, "member %s dies", m->id);
    load_client_reset(m->client);
    member_forget_commits(m);
    m->beating = m->committing = m->placing = false;
    m->late = -1;
    load_client_look(m->client);
    go_away(m);
}

bool member_take_error(struct load_member *m, enum err error)
{
    switch (error) {
    case ERR_NONE:
        return false;
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_FENCED_INSTANCE_ID:
        if (m->options.modern || m->options.mixed)
            modern_release(m);
        set_id(m, SLICE(""));
        return true;
    case ERR_ILLEGAL_GENERATION:
    case ERR_REBALANCE_IN_PROGRESS:
    case ERR_FENCED_MEMBER_EPOCH:
    case ERR_UNRELEASED_INSTANCE_ID:
    case ERR_GROUP_ID_NOT_FOUND:
        return true;
    case ERR_STALE_MEMBER_EPOCH:
        return false; /* a heartbeat tells the new one */
    default:
        load_client_forget_coordinator(m->client);
        return false;
    }
}

/* ---- joining ------------------------------------------------------------- */

static void synced(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;
    const struct sync_group_response *a = response;

    m->busy = false;
    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (error != ERR_NONE) {
        history_note(m->history, "sync of %s: %s", m->id, err_name(error));
        member_take_error(m, error);
        member_join_again(m, RETRY_MS);
        return;
    }
    m->heard_ms = m->proof_ms = m->sent_ms;
    if (!member_take_assignment(m, a->assignment)) {
        load_client_look(m->client);
        member_join_again(m, RETRY_MS);
        return;
    }
    m->state = MEMBER_IN;
    m->placed = false;
    m->next_beat_ms = now(m) + m->options.heartbeat_ms;
    m->next_commit_ms = now(m) + about(m, m->options.commit_ms);
    load_reader_start(m->reader);
}

static void sync_group(struct load_member *m,
                       const struct join_group_response *joined)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);
    struct sync_group_request q;
    struct arena arena;

    if (node < 0) {
        member_join_again(m, RETRY_MS);
        return;
    }
    arena_init(&arena, 0);
    sync_group_request_init(&q);
    q.group_id = slice_str(m->options.group);
    q.generation_id = m->generation;
    q.member_id = slice_str(m->id);
    q.group_instance_id = member_instance(m);
    q.protocol_type = SLICE("consumer");
    q.protocol_name = SLICE("range");
    if (slice_eq_str(joined->leader, m->id) && !joined->skip_assignment)
        member_assign(m, joined, &q, &arena);
    m->state = MEMBER_SYNCING;
    m->busy = true;
    m->sent_ms = now(m);
    load_client_call(m->client, node, API_SYNC_GROUP,
                     load_client_version(m->client, API_SYNC_GROUP,
                                         floor_of(m, 3), INT16_MAX),
                     &q, m->options.rebalance_timeout_ms, synced, m);
    arena_free(&arena);
}

static void joined_group(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;
    const struct join_group_response *a = response;

    m->busy = false;
    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (error == ERR_NONE || error == ERR_MEMBER_ID_REQUIRED)
        set_id(m, a->member_id);
    if (error != ERR_NONE) {
        history_note(m->history, "join of %s: %s", m->id, err_name(error));
        if (error != ERR_MEMBER_ID_REQUIRED)
            member_take_error(m, error);
        member_join_again(m, error == ERR_MEMBER_ID_REQUIRED ? 0 : RETRY_MS);
        return;
    }
    m->last_generation = m->generation;
    m->generation = a->generation_id;
    m->unled = a->leader.len == 0;
    history_note(m->history, "joined %s/%d as %s", m->options.group,
                 m->generation, m->id);
    sync_group(m, a);
}

static void join(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);
    struct join_group_request_protocol protocol = {.name = SLICE("range")};
    struct join_group_request q;
    struct arena arena;

    if (node < 0)
        return;
    arena_init(&arena, 0);
    protocol.metadata = member_subscription(m, &arena);
    if (protocol.metadata.len != 0) {
        join_group_request_init(&q);
        q.group_id = slice_str(m->options.group);
        q.session_timeout_ms = m->options.session_timeout_ms;
        q.rebalance_timeout_ms = m->options.rebalance_timeout_ms;
        q.member_id = slice_str(m->id);
        q.group_instance_id = member_instance(m);
        q.protocol_type = SLICE("consumer");
        q.protocols = &protocol;
        q.protocols_len = 1;
        m->state = MEMBER_JOINING;
        m->busy = true;
        load_client_call(m->client, node, API_JOIN_GROUP,
                         load_client_version(m->client, API_JOIN_GROUP,
                                             floor_of(m, 5), INT16_MAX),
                         &q, m->options.rebalance_timeout_ms, joined_group, m);
    }
    arena_free(&arena);
}

/* ---- staying ------------------------------------------------------------- */

void member_revoke(struct load_member *m, bool leave)
{
    m->leave = leave;
    m->state = MEMBER_REVOKING;
    if (!m->committing && !member_commit(m))
        member_commit_done(m);
}

static void beaten(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;
    const struct heartbeat_response *a = response;

    m->beating = false;
    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (error == ERR_NONE) {
        m->heard_ms = m->sent_ms;
        m->proof_ms = m->unled ? m->sent_ms : m->proof_ms;
    }
    if (error == ERR_NONE || m->state != MEMBER_IN)
        return;
    history_note(m->history, "heartbeat of %s: %s", m->id, err_name(error));
    if (error == ERR_REBALANCE_IN_PROGRESS)
        member_revoke(m, false);
    else if (member_take_error(m, error))
        member_join_again(m, 0);
}

static void beat(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);
    struct heartbeat_request q;

    if (node < 0 || m->beating)
        return;
    m->beating = true;
    m->sent_ms = now(m);
    m->next_beat_ms = now(m) + m->options.heartbeat_ms;
    heartbeat_request_init(&q);
    q.group_id = slice_str(m->options.group);
    q.generation_id = m->generation;
    q.member_id = slice_str(m->id);
    q.group_instance_id = member_instance(m);
    load_client_call(m->client, node, API_HEARTBEAT,
                     load_client_version(m->client, API_HEARTBEAT,
                                         floor_of(m, 3), INT16_MAX),
                     &q, 0, beaten, m);
}

/* ---- leaving ------------------------------------------------------------- */

void member_left(void *arg, enum err error, const void *response)
{
    struct load_member *m = arg;

    (void)response;
    m->busy = false;
    history_note(m->history, "%s left: %s", m->id, err_name(error));
    if (error != ERR_NONE)
        load_client_forget_coordinator(m->client);
    go_away(m);
}

static void leave(struct load_member *m)
{
    int32_t node = load_client_coordinator(m->client, m->options.group);
    struct leave_group_request_member_identity identity;
    struct leave_group_request q;
    int16_t version = load_client_version(m->client, API_LEAVE_GROUP,
                                          floor_of(m, 3), INT16_MAX);

    give_back(m);
    if (node < 0) {
        go_away(m);
        return;
    }
    if (m->options.modern) {
        modern_leave(m, node);
        return;
    }
    leave_group_request_init(&q);
    leave_group_request_member_identity_init(&identity);
    identity.member_id = slice_str(m->id);
    identity.group_instance_id = member_instance(m);
    q.group_id = slice_str(m->options.group);
    if (version >= 3) {
        q.members = &identity;
        q.members_len = 1;
    } else {
        q.member_id = slice_str(m->id);
    }
    m->state = MEMBER_LEAVING;
    m->busy = true;
    load_client_call(m->client, node, API_LEAVE_GROUP, version, &q, 0,
                     member_left, m);
}

void member_commit_done(struct load_member *m)
{
    if (m->state != MEMBER_REVOKING)
        return;
    if (m->leave)
        leave(m);
    else if (m->options.modern)
        modern_take(m);
    else
        member_join_again(m, 0);
}

/* ---- time ---------------------------------------------------------------- */

/* Not while something of the life before is under way. */
static void choose_protocol(struct load_member *m)
{
    if (m->committing || m->beating || m->placing || m->late >= 0)
        return;
    m->options.modern = prng_below(m->prng, 2) == 0;
    m->chooses = false;
}

static void tick_away(struct load_member *m)
{
    if (m->stopped || now(m) < m->next_ms)
        return;
    m->until_ms =
        m->options.stay_ms > 0 ? now(m) + about(m, m->options.stay_ms) : 0;
    if (m->chooses)
        choose_protocol(m);
    if (m->options.modern)
        modern_beat(m);
    else
        join(m);
}

static void tick_in(struct load_member *m)
{
    if (m->stopped) {
        member_revoke(m, true);
        return;
    }
    if (m->until_ms != 0 && now(m) >= m->until_ms) {
        if (prng_below(m->prng, 3) == 0)
            die(m);
        else
            member_revoke(m, true);
        return;
    }
    if ((m->options.modern || m->options.mixed) && modern_is_unsure(m)) {
        member_join_again(m, 0);
        return;
    }
    if (!m->placed && !m->placing)
        member_fetch_offsets(m);
    if (now(m) >= m->next_beat_ms && m->options.modern)
        modern_beat(m);
    else if (now(m) >= m->next_beat_ms)
        beat(m);
    if (m->placed && now(m) >= m->next_commit_ms && !m->committing) {
        m->next_commit_ms = now(m) + about(m, m->options.commit_ms);
        member_commit(m);
        if (m->options.late_percent > 0 &&
            prng_below(m->prng, 100) < (uint64_t)m->options.late_percent) {
            if (m->options.modern)
                member_commit_lost(m);
            else
                member_commit_late(m);
        }
    }
}

static void tick(void *arg)
{
    struct load_member *m = arg;

    if (m->state == MEMBER_AWAY)
        tick_away(m);
    else if (m->state == MEMBER_IN)
        tick_in(m);
    else if (m->state == MEMBER_REVOKING &&
             (m->options.modern || m->options.mixed) && modern_is_unsure(m))
        modern_release(m);
    if (!load_member_is_quiet(m))
        env_timer_start(m->env, &m->timer, TICK_MS);
}

void load_member_start(struct load_member *m)
{
    m->next_ms = now(m) + (int64_t)prng_below(m->prng, 1000);
    load_client_look(m->client);
    env_timer_start(m->env, &m->timer, 0);
}

void load_member_stop(struct load_member *m) { m->stopped = true; }

bool load_member_is_quiet(const struct load_member *m)
{
    return m->stopped && m->state == MEMBER_AWAY && !m->committing;
}
