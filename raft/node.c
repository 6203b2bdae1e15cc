/* The driver: every event goes through node_step(), which hands the core's
 * update to the world in the order persist, send, apply, answer.
 *
 * Callbacks of the owner may call back in.  So the update is carried out and
 * done with before the first callback; what the owner is to be told is kept as
 * a goal (apply up to here, this is the role) and settle() works towards it
 * in one place, however deeply steps nest.
 *
 * Proposals of one loop turn are gathered and given to the core by a task at
 * the end of the turn, or before the next event, so their indexes are known
 * when they are made. */
#include "raft/node_internal.h"

#include "base/error.h"
#include "base/kv.h"
#include "base/log.h"
#include "raft/codec.h"
#include "raft/store.h"

#include <stdlib.h>

enum {
    STORE_RETRY_MS = 1000,
    COMPLAINT_GAP_MS = 1000,
    STRANGERS_MAX = 4,
};

/* ---- carrying out an update --------------------------------------------- */

static void send_messages(struct raft_node *n)
{
    /* As long as everybody has the voters it was given, nobody is unknown. */
    bool known = raft_config_now_index(&n->core) == 0;

    for (size_t i = 0; i < n->update.messages_len; i++) {
        struct raft_message *m = &n->update.messages[i];
        struct buf body = BUF_INIT;

        m->host = known ? NULL : n->host;
        m->port = n->options.port;
        raft_message_encode(m, n->cluster_id, image_chunk(n, m), &body);
        n->options.link.send(n->options.link.arg, m->to, &body);
    }
}

/* Addresses in this node's configuration file win over those in the log. */
static void take_configured(struct raft_node *n, struct raft_member *m)
{
    const struct raft_member *configured = raft_config_find(&n->initial, m->id);

    if (n->options.log_addresses_win || configured == NULL ||
        configured->host[0] == '\0')
        return;
    memcpy(m->host, configured->host, sizeof m->host);
    m->port = configured->port;
}

static void tell_link(struct raft_node *n)
{
    struct raft_config peers = RAFT_CONFIG_INIT;

    raft_config_copy(&peers, &n->members);
    for (size_t i = 0; i < n->strangers.len; i++)
        raft_config_set(&peers, &n->strangers.members[i]);
    n->options.link.set_peers(n->options.link.arg, &peers);
    raft_config_free(&peers);
}

static void members_refresh(struct raft_node *n)
{
    raft_config_copy(&n->members, raft_config_now(&n->core));
    for (size_t i = 0; i < n->members.len; i++) {
        take_configured(n, &n->members.members[i]);
        raft_config_remove(&n->strangers, n->members.members[i].id);
    }
    n->members_changed = true;
    tell_link(n);
}

/* ---- who is no member here, and has to be answered all the same ---------- */

/* Our log ends before the entry that brought it: it leads or asks for votes by
 * a configuration that we do not have yet.  Few are kept: each costs a
 * connection. */
static void meet_stranger(struct raft_node *n, const struct raft_message *m)
{
    struct raft_member s = {.id = m->from, .port = m->port};
    const struct raft_member *known = raft_config_find(&n->strangers, m->from);
    bool asks = m->type == RAFT_APPEND || m->type == RAFT_SNAPSHOT ||
                m->type == RAFT_VOTE_REQUEST;

    if (!asks || m->host == NULL || m->port == 0 || m->from == self_id(n) ||
        raft_config_find(&n->members, m->from) != NULL)
        return;
    memcpy(s.host, m->host, strlen(m->host) + 1);
    if (known != NULL && known->port == s.port &&
        strcmp(known->host, s.host) == 0)
        return;
    if (known == NULL && n->strangers.len == STRANGERS_MAX)
        raft_config_remove(&n->strangers, n->strangers.members[0].id);
    if (raft_config_set(&n->strangers, &s))
        tell_link(n);
}

/* It says again where it is when it asks again. */
static void forget_stranger(struct raft_node *n, int32_t id)
{
    if (raft_config_remove(&n->strangers, id))
        tell_link(n);
}

static void set_timer(struct raft_node *n, int64_t at_ms)
{
    if (at_ms == n->timer_at_ms)
        return;
    n->timer_at_ms = at_ms;
    if (at_ms == INT64_MAX) {
        env_timer_stop(n->options.env, &n->timer);
        return;
    }
    int64_t delay_ms = at_ms - env_now_ms(n->options.env);
    env_timer_start(n->options.env, &n->timer, delay_ms > 0 ? delay_ms : 0);
}

static void complain(struct raft_node *n, const char *what, int32_t from)
{
    int64_t now_ms = env_now_ms(n->options.env);

    n->complaints++;
    if (n->complained_ms != 0 && now_ms - n->complained_ms < COMPLAINT_GAP_MS)
        return;
    log_warn("raft", "dropped a message from node %d: %s (%u such in all)",
             (int)from, what, n->complaints);
    n->complained_ms = now_ms != 0 ? now_ms : 1;
    n->complaints = 0;
}

static void log_role(const struct raft_node *n)
{
    static const char *const names[] = {"follower", "pre-candidate",
                                        "candidate", "leader"};

    log_debug("raft", "node %d: %s in term %llu, leader %d", (int)self_id(n),
              names[n->core.role], (unsigned long long)n->core.term,
              (int)n->core.leader);
}

/* Nothing here calls the owner; `update` is free again at the end. */
static void carry_out(struct raft_node *n)
{
    const struct raft_update *u = &n->update;

    raft_store_add(n->store, &n->core, u);
    raft_store_flush(n->store);
    if (u->config_changed)
        members_refresh(n); /* before messages to a new member */
    send_messages(n);
    if (u->apply_to != 0)
        n->apply_to = u->apply_to;
    images_take(n);
    if (u->role_changed)
        log_role(n);
    set_timer(n, u->deadline_ms);
}

static void step_core(struct raft_node *n, struct raft_event *e)
{
    e->now_ms = env_now_ms(n->options.env);
    e->random = env_random(n->options.env);
    raft_step(&n->core, e, &n->update);
    carry_out(n);
}

/* ---- proposals ---------------------------------------------------------- */

static void flush_proposals(struct raft_node *n)
{
    struct slice *list;
    size_t len = n->proposals_len, at = 0;

    if (len == 0)
        return;
    list = xcalloc(len, sizeof *list);
    for (size_t i = 0; i < len; i++) {
        list[i] =
            slice_of(buf_slice(&n->proposals).data + at, n->proposal_lens[i]);
        at += n->proposal_lens[i];
    }
    n->proposals_len = 0;
    struct raft_event e = {
        .type = RAFT_PROPOSE, .proposals = list, .proposals_len = len};
    step_core(n, &e);
    ASSERT(n->update.error == ERR_NONE); /* checked when they were made */
    n->proposals.len = 0;
    free(list);
}

void node_step(struct raft_node *n, struct raft_event *e)
{
    if (n->closing)
        return;
    flush_proposals(n);
    step_core(n, e);
    if (n->update.complaint != NULL)
        complain(n, n->update.complaint,
                 e->type == RAFT_RECEIVED ? e->message->from : RAFT_ID_NONE);
    settle(n);
}

int raft_node_propose(struct raft_node *n, struct slice data, uint64_t *index)
{
    const struct raft_options *o = &n->core.options;
    size_t waiting = n->core.uncommitted_bytes + n->proposals.len;

    if (n->closing || !n->told.leader || role_lost(n))
        return ERR_NOT_LEADER;
    int error = raft_can_propose(&n->core, data.len);
    if (error != ERR_NONE)
        return error;
    if (waiting != 0 && waiting + data.len > o->uncommitted_max_bytes)
        return ERR_THROTTLING_QUOTA_EXCEEDED;
    if (n->proposals_len == n->proposals_cap) {
        n->proposals_cap = n->proposals_cap != 0 ? 2 * n->proposals_cap : 64;
        n->proposal_lens = xrealloc(
            n->proposal_lens, n->proposals_cap * sizeof *n->proposal_lens);
    }
    buf_put_slice(&n->proposals, data);
    n->proposal_lens[n->proposals_len++] = data.len;
    *index = raft_log_last(&n->core.log) + n->proposals_len;
    post_turn(n);
    return ERR_NONE;
}

int raft_node_change(struct raft_node *n, const struct raft_change *change,
                     uint64_t *index)
{
    struct raft_event e = {.type = RAFT_CHANGE, .change = change};

    if (n->closing || !n->told.leader)
        return ERR_NOT_LEADER;
    flush_proposals(n);
    step_core(n, &e);
    int error = n->update.error;
    *index = n->update.index;
    settle(n);
    return error;
}

int raft_node_transfer(struct raft_node *n, int32_t to)
{
    struct raft_event e = {.type = RAFT_TRANSFER, .peer = to};

    if (n->closing)
        return ERR_NOT_LEADER;
    flush_proposals(n);
    step_core(n, &e);
    int error = n->update.error;
    settle(n);
    return error;
}

/* ---- the turn: what must not happen inside a callback ------------------- */

static void compact(struct raft_node *n)
{
    struct raft_event e = {.type = RAFT_COMPACT};

    e.index = n->compact_to;
    n->compact_to = 0;
    node_step(n, &e);
}

static void node_free(struct raft_node *n)
{
    void (*closed)(void *arg) = n->closed;
    void *arg = n->closed_arg;

    raft_update_free(&n->update);
    raft_free(&n->core);
    raft_config_free(&n->members);
    raft_config_free(&n->initial);
    raft_config_free(&n->strangers);
    free(n->host);
    buf_free(&n->proposals);
    buf_free(&n->image_out);
    buf_free(&n->image_in);
    free(n->proposal_lens);
    free(n->name);
    free(n->cluster_id);
    free(n);
    closed(arg);
}

static void turn(struct env_task *task)
{
    struct raft_node *n = LIST_ENTRY(task, struct raft_node, turn);

    n->turn_posted = false;
    if (n->closing) {
        if (n->store_closed)
            node_free(n);
        return;
    }
    flush_proposals(n);
    if (n->compact_to != 0)
        compact(n);
    images_work(n);
    settle(n);
}

void raft_node_compact(struct raft_node *n, uint64_t index)
{
    ASSERT(index <= n->applied);
    if (index > n->compact_to)
        n->compact_to = index;
    post_turn(n);
}

/* ---- the store ---------------------------------------------------------- */

static void store_persisted(void *arg, uint64_t seq)
{
    struct raft_node *n = arg;
    struct raft_event e = {.type = RAFT_PERSISTED, .seq = seq};

    if (n->store_failing) {
        struct raft_event recovered = {.type = RAFT_STORE_RECOVERED};

        n->store_failing = false;
        log_info("raft", "the store %s takes writes again", n->name);
        node_step(n, &recovered);
        if (n->options.owner.on_recovered != NULL)
            n->options.owner.on_recovered(n->options.owner.arg);
    }
    node_step(n, &e);
}

static void tell_failed(struct raft_node *n, int error)
{
    bool passes = kv_error_may_pass(error);
    char *why = xasprintf(
        "the Raft store %s cannot be written: %s; this node takes no part in "
        "the quorum %s",
        n->name, strerror(-error),
        passes ? "until there is room, free some" : "any more, check the disk");

    log_error("raft", "%s", why);
    n->options.owner.on_failed(n->options.owner.arg, !passes, why);
    free(why);
}

static void store_failed(void *arg, int error)
{
    struct raft_node *n = arg;
    struct raft_event e = {.type = RAFT_STORE_FAILED};

    if (kv_error_may_pass(error))
        env_timer_start(n->options.env, &n->retry, STORE_RETRY_MS);
    if (n->store_failing && kv_error_may_pass(error))
        return;
    n->store_failing = true;
    node_step(n, &e);
    tell_failed(n, error);
}

static void retry_store(void *arg)
{
    struct raft_node *n = arg;

    raft_store_retry(n->store);
}

static void tick(void *arg)
{
    struct raft_node *n = arg;
    struct raft_event e = {.type = RAFT_TICK};

    n->timer_at_ms = INT64_MAX;
    node_step(n, &e);
}

/* ---- life --------------------------------------------------------------- */

int raft_node_open(const struct raft_node_options *options,
                   struct raft_node **node, char **why)
{
    struct raft_stored stored;
    int error = raft_store_load(options->kv, options->name, options->initial,
                                options->applied_index, options->applied_term,
                                &stored, why);

    if (error != 0)
        return error;
    struct raft_node *n = xcalloc(1, sizeof *n);
    struct raft_store_options store = {
        .env = options->env,
        .kv = options->kv,
        .persisted = store_persisted,
        .failed = store_failed,
        .arg = n,
    };
    n->options = *options;
    n->name = xstrdup(options->name);
    n->cluster_id = xstrdup(options->cluster_id);
    n->host = options->host != NULL ? xstrdup(options->host) : NULL;
    raft_config_copy(&n->initial, options->initial);
    n->options.initial = NULL;
    raft_init(&n->core, &options->raft, &stored, options->applied_index);
    n->applied = n->apply_to = options->applied_index;
    n->store = raft_store_open(&store);
    n->timer.fn = tick;
    n->timer.arg = n;
    n->timer_at_ms = INT64_MAX;
    n->retry.fn = retry_store;
    n->retry.arg = n;
    n->turn.fn = turn;
    *node = n;
    return 0;
}

void raft_node_start(struct raft_node *n)
{
    struct raft_event e = {.type = RAFT_START};

    members_refresh(n);
    node_step(n, &e);
}

static void store_closed(void *arg)
{
    struct raft_node *n = arg;

    n->store_closed = true;
    if (!n->turn_posted)
        node_free(n);
}

void raft_node_close(struct raft_node *n, void (*closed)(void *arg), void *arg)
{
    ASSERT(!n->closing && !n->settling);
    n->closing = true;
    n->closed = closed;
    n->closed_arg = arg;
    env_timer_stop(n->options.env, &n->timer);
    env_timer_stop(n->options.env, &n->retry);
    raft_store_close(n->store, store_closed, n);
}

/* ---- the link ----------------------------------------------------------- */

bool raft_node_receive(struct raft_node *n, struct slice body)
{
    struct raft_message m;
    struct raft_event e = {.type = RAFT_RECEIVED, .message = &m};
    struct slice cluster_id;
    struct arena arena;

    arena_init(&arena, 2 * body.len + (1 << 20));
    bool decoded = raft_message_decode(body, &arena, &m, &cluster_id);
    if (decoded && !slice_eq_str(cluster_id, n->cluster_id))
        complain(n,
                 "it belongs to another cluster; check cluster.id and the "
                 "quorum's addresses",
                 m.from);
    else if (decoded && !n->closing) {
        meet_stranger(n, &m);
        node_step(n, &e);
    }
    arena_free(&arena);
    return decoded;
}

void raft_node_peer_lost(struct raft_node *n, int32_t peer)
{
    struct raft_event e = {.type = RAFT_PEER_LOST, .peer = peer};

    node_step(n, &e);
    if (!n->closing)
        forget_stranger(n, peer);
}

void raft_node_peer_up(struct raft_node *n, int32_t peer)
{
    struct raft_event e = {.type = RAFT_PEER_UP, .peer = peer};

    node_step(n, &e);
}

/* ---- questions ---------------------------------------------------------- */

void raft_node_status(const struct raft_node *n,
                      struct raft_node_status *status)
{
    *status = (struct raft_node_status){
        .leader = n->told.leader,
        .leader_id = visible_leader(n),
        .term = n->core.term,
        .first_index = n->core.log.base_index + 1,
        .last_index = raft_log_last(&n->core.log) + n->proposals_len,
        .commit_index = n->core.commit,
        .applied_index = n->applied,
        .log_bytes = n->core.log.size_bytes,
    };
}

int32_t raft_node_leader(const struct raft_node *n)
{
    return visible_leader(n);
}

bool raft_node_read(const struct raft_node *n, uint64_t index,
                    struct raft_entry *entry)
{
    if (index <= n->core.log.base_index || index > n->applied)
        return false;
    *entry = raft_log_get(&n->core.log, index);
    if (entry->type != RAFT_ENTRY_DATA)
        entry->data = SLICE_NULL;
    return true;
}

const struct raft_config *raft_node_members(const struct raft_node *n)
{
    return &n->members;
}

const struct raft_peer *raft_node_peer(const struct raft_node *n, int32_t id)
{
    return raft_is_leader(&n->core) ? raft_peer_find(&n->core, id) : NULL;
}

const struct raft *raft_node_core(const struct raft_node *n)
{
    return &n->core;
}
