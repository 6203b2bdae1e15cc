/* One step: the event goes to the file that knows it, then step_end() draws the
 * conclusions that follow whatever happened: what a majority now has is
 * committed, what is committed and durable is given out, and the next deadline
 * is set. */
#include "raft/internal.h"

#include "base/prng.h"

struct raft_options raft_options_default(int32_t id)
{
    return (struct raft_options){
        .id = id,
        .election_timeout_ms = 1000,
        .heartbeat_ms = 150,
        .election_fast_min_ms = 10,
        .election_fast_max_ms = 60,
        .message_max_bytes = 1 << 20,
        .inflight_max_messages = RAFT_INFLIGHT_MAX,
        .inflight_max_bytes = 8 << 20,
        .entry_max_bytes = 8 << 20,
        .uncommitted_max_bytes = 64 << 20,
        .snapshot_chunk_bytes = 1 << 20,
        .snapshot_max_bytes = UINT64_C(4) << 30,
        .compact_keep_entries = 1024,
    };
}

/* ---- life --------------------------------------------------------------- */

static void options_check(const struct raft_options *o)
{
    ASSERT(o->id >= 0);
    ASSERT(o->heartbeat_ms > 0);
    ASSERT(o->election_timeout_ms >= 3 * o->heartbeat_ms);
    ASSERT(o->election_fast_min_ms >= 0);
    ASSERT(o->election_fast_max_ms > o->election_fast_min_ms);
    ASSERT(o->inflight_max_messages > 0);
    ASSERT(o->inflight_max_messages <= RAFT_INFLIGHT_MAX);
    ASSERT(o->message_max_bytes > 0 && o->snapshot_chunk_bytes > 0);
}

/* The store has checked that configurations in the log can be decoded. */
static void configs_load(struct raft *r)
{
    struct raft_update ignored = RAFT_UPDATE_INIT;

    for (uint64_t i = r->log.base_index + 1; i <= raft_log_last(&r->log); i++) {
        struct raft_entry entry = raft_log_get(&r->log, i);
        struct raft_config config;

        if (entry.type != RAFT_ENTRY_CONFIG)
            continue;
        ASSERT(raft_config_decode(entry.data, &config));
        configs_push(r, &ignored, i, &config);
    }
}

void raft_init(struct raft *r, const struct raft_options *options,
               struct raft_stored *stored, uint64_t applied)
{
    options_check(options);
    *r = (struct raft){
        .options = *options,
        .term = stored->term,
        .vote = stored->vote,
        .log = stored->log,
        .role = RAFT_FOLLOWER,
        .leader = RAFT_ID_NONE,
        .grant_due = RAFT_ID_NONE,
        .transfer_to = RAFT_ID_NONE,
        .held_up_since_ms = INT64_MAX,
        .election_deadline_ms = INT64_MAX,
    };
    ASSERT(applied >= r->log.base_index && applied <= raft_log_last(&r->log));
    r->commit = r->applied = r->verified = applied;
    r->stable = raft_log_last(&r->log);
    r->configs = xcalloc(1, sizeof *r->configs);
    r->configs[0] = stored->base_config;
    r->configs_len = 1;
    *stored = (struct raft_stored){.vote = RAFT_ID_NONE};
    configs_load(r);
    peers_rebuild(r);
    raft_check(r);
}

void raft_free(struct raft *r)
{
    for (size_t i = 0; i < r->configs_len; i++)
        raft_config_free(&r->configs[i].config);
    free(r->configs);
    free(r->peers);
    raft_config_free(&r->incoming.config);
    raft_config_free(&r->snapshot.config);
    raft_log_free(&r->log);
    *r = (struct raft){0};
}

void raft_update_free(struct raft_update *u)
{
    free(u->messages);
    arena_free(&u->scratch);
    *u = RAFT_UPDATE_INIT;
}

/* ---- building the update ------------------------------------------------ */

static void update_begin(struct raft_update *u)
{
    arena_free(&u->scratch);
    *u = (struct raft_update){
        .messages = u->messages,
        .messages_cap = u->messages_cap,
        .scratch = u->scratch,
    };
}

uint64_t step_seq(const struct raft *r) { return r->seq + 1; }

void persist_vote(struct raft *r, struct raft_update *u)
{
    u->persist_vote = true;
    r->vote_seq = step_seq(r);
}

struct raft_message *message_add(struct raft *r, struct raft_update *u,
                                 enum raft_message_type type, int32_t to)
{
    if (u->messages_len == u->messages_cap) {
        u->messages_cap = u->messages_cap != 0 ? 2 * u->messages_cap : 16;
        u->messages =
            xrealloc(u->messages, u->messages_cap * sizeof *u->messages);
    }
    struct raft_message *m = &u->messages[u->messages_len++];
    *m = (struct raft_message){
        .type = type, .from = r->options.id, .to = to, .term = r->term};
    return m;
}

void log_add(struct raft *r, struct raft_update *u, uint64_t term,
             enum raft_entry_type type, struct slice data)
{
    uint64_t index = raft_log_last(&r->log) + 1;
    struct raft_entry entry = {
        .index = index, .term = term, .type = type, .data = data};

    raft_log_append(&r->log, entry, step_seq(r));
    if (u->append_from == 0)
        u->append_from = index;
    u->append_to = index;
    if (type == RAFT_ENTRY_CONFIG) {
        struct raft_config config;

        ASSERT(raft_config_decode(data, &config));
        configs_push(r, u, index, &config);
    }
}

int64_t random_below(struct raft *r, int64_t bound)
{
    struct prng p = {r->random};

    r->random = prng_next(&p);
    return (int64_t)prng_below(&p, (uint64_t)bound);
}

/* ---- events ------------------------------------------------------------- */

static void persisted(struct raft *r, struct raft_update *u, uint64_t seq)
{
    ASSERT(seq <= r->seq);
    if (seq <= r->persisted_seq)
        return;
    r->persisted_seq = seq;
    while (r->stable < raft_log_last(&r->log) &&
           raft_log_seq(&r->log, r->stable + 1) <= seq)
        r->stable++;
    if (term_durable(r))
        election_persisted(r, u);
    snapshot_persisted(r, u);
    follower_persisted(r, u);
}

static void propose(struct raft *r, struct raft_update *u,
                    const struct slice *proposals, size_t proposals_len)
{
    for (size_t i = 0; i < proposals_len; i++) {
        u->error = raft_can_propose(r, proposals[i].len);
        if (u->error != ERR_NONE)
            break;
        log_add(r, u, r->term, RAFT_ENTRY_DATA, proposals[i]);
        r->uncommitted_bytes += proposals[i].len;
    }
    u->index = u->append_from;
    if (u->append_from != 0)
        replicate_all(r, u);
}

static void peer_lost(struct raft *r, struct raft_update *u, int32_t id)
{
    struct raft_peer *p = peer_get(r, id);

    if (p == NULL || id == r->options.id)
        return;
    p->lost = true;
    if (r->role == RAFT_LEADER) {
        p->snapshot_waiting = false;
        if (p->state == RAFT_REPLICATE)
            peer_to_probe(p, p->match + 1);
        p->paused = true;
        return;
    }
    election_peer_lost(r, u, id);
}

static void peer_up(struct raft *r, struct raft_update *u, int32_t id)
{
    struct raft_peer *p = peer_get(r, id);

    if (p == NULL || id == r->options.id)
        return;
    p->lost = false;
    if (r->role == RAFT_LEADER) {
        p->paused = false;
        p->snapshot_waiting = false;
        replicate(r, u, p);
    } else {
        election_peer_up(r);
    }
}

static bool from_leader(enum raft_message_type type)
{
    return type == RAFT_APPEND || type == RAFT_SNAPSHOT;
}

/* Terms (paper 5.1).  False if the message is not to be looked at. */
static bool receive_term(struct raft *r, struct raft_update *u,
                         const struct raft_message *m)
{
    if (m->type == RAFT_VOTE_REQUEST) /* leases come first there */
        return true;
    if (m->term > r->term) {
        become_follower(r, u, m->term,
                        from_leader(m->type) ? m->from : RAFT_ID_NONE);
        return true;
    }
    if (m->term == r->term)
        return true;
    /* A leader of the past learns from our term that it is one. */
    if (from_leader(m->type))
        message_add(r, u, RAFT_APPEND_REPLY, m->from)->append_reply.rejected =
            true;
    /* A pre-vote may come from a node that is behind in terms. */
    return m->type == RAFT_VOTE_REPLY;
}

/* A message of this term from its leader.  False if it cannot be. */
static bool receive_from_leader(struct raft *r, struct raft_update *u,
                                const struct raft_message *m)
{
    if (r->role == RAFT_LEADER ||
        (r->leader != RAFT_ID_NONE && r->leader != m->from)) {
        u->complaint = "two nodes claim to lead one term";
        return false;
    }
    if (r->role != RAFT_FOLLOWER || r->leader != m->from)
        become_follower(r, u, r->term, m->from);
    election_heard_leader(r);
    return true;
}

static void receive(struct raft *r, struct raft_update *u,
                    const struct raft_message *m)
{
    struct raft_peer *p = peer_get(r, m->from);

    if (m->from == r->options.id || m->to != r->options.id || m->from < 0 ||
        m->term > RAFT_INDEX_MAX) {
        u->complaint = "a message with a wrong sender, receiver or term";
        return;
    }
    if (p != NULL)
        p->lost = false;
    if (!receive_term(r, u, m))
        return;
    if (from_leader(m->type) && !receive_from_leader(r, u, m))
        return;
    switch (m->type) {
    case RAFT_VOTE_REQUEST:
        receive_vote_request(r, u, m);
        break;
    case RAFT_VOTE_REPLY:
        receive_vote_reply(r, u, m);
        break;
    case RAFT_APPEND:
        receive_append(r, u, m);
        break;
    case RAFT_APPEND_REPLY:
        receive_append_reply(r, u, m);
        break;
    case RAFT_SNAPSHOT:
        receive_snapshot(r, u, m);
        break;
    case RAFT_SNAPSHOT_REPLY:
        receive_snapshot_reply(r, u, m);
        break;
    case RAFT_TIMEOUT_NOW:
        receive_timeout_now(r, u, m);
        break;
    }
}

static void store_failed(struct raft *r, struct raft_update *u)
{
    r->store_failed = true;
    become_follower(r, u, r->term, RAFT_ID_NONE);
}

static void store_recovered(struct raft *r)
{
    r->store_failed = false;
    r->election_deadline_ms = r->now_ms + r->options.election_timeout_ms;
}

static void handle(struct raft *r, struct raft_update *u,
                   const struct raft_event *e)
{
    switch (e->type) {
    case RAFT_START:
        election_start(r, u);
        break;
    case RAFT_TICK:
        election_tick(r, u);
        break;
    case RAFT_RECEIVED:
        receive(r, u, e->message);
        break;
    case RAFT_PERSISTED:
        persisted(r, u, e->seq);
        break;
    case RAFT_PROPOSE:
        propose(r, u, e->proposals, e->proposals_len);
        break;
    case RAFT_CHANGE:
        u->error = membership_begin(r, u, e->change);
        break;
    case RAFT_TRANSFER:
        u->error = transfer_begin(r, u, e->peer);
        break;
    case RAFT_PEER_LOST:
        peer_lost(r, u, e->peer);
        break;
    case RAFT_PEER_UP:
        peer_up(r, u, e->peer);
        break;
    case RAFT_COMPACT:
        compact_to(r, u, e->index);
        break;
    case RAFT_SNAPSHOT_READY:
        snapshot_ready(r, u, e->index, e->size);
        break;
    case RAFT_SNAPSHOT_INSTALLED:
        snapshot_installed(r, u);
        break;
    case RAFT_STORE_FAILED:
        store_failed(r, u);
        break;
    case RAFT_STORE_RECOVERED:
        store_recovered(r);
        break;
    }
}

/* ---- conclusions -------------------------------------------------------- */

static void lead(struct raft *r, struct raft_update *u)
{
    if (r->role == RAFT_LEADER && commit_advance(r))
        replicate_all(r, u);
}

static void give_out(struct raft *r, struct raft_update *u)
{
    /* Not before it is durable here: the owner's image must never be ahead of
     * the log after a crash. */
    uint64_t to = r->commit < r->stable ? r->commit : r->stable;

    if (r->incoming.installing || to <= r->applied)
        return;
    u->apply_from = r->applied + 1;
    u->apply_to = to;
    r->applied = to;
}

static int64_t min_ms(int64_t a, int64_t b) { return a < b ? a : b; }

static bool alone(const struct raft *r)
{
    return r->peers_len == 1 && r->peers[0].id == r->options.id;
}

static int64_t deadline(const struct raft *r)
{
    int64_t at;

    if (r->role != RAFT_LEADER)
        return promotable(r) || r->leader != RAFT_ID_NONE
                   ? r->election_deadline_ms
                   : INT64_MAX;
    if (alone(r))
        return INT64_MAX;
    at = min_ms(r->heartbeat_deadline_ms,
                voters_contact_ms(r) + r->options.election_timeout_ms);
    if (r->transfer_to != RAFT_ID_NONE)
        at = min_ms(at, r->transfer_deadline_ms);
    else if (r->held_up_since_ms != INT64_MAX)
        at = min_ms(at, r->held_up_since_ms + r->options.election_timeout_ms);
    return at;
}

static bool persists(const struct raft_update *u)
{
    return u->persist_vote || u->persist_base || u->persist_incoming ||
           u->truncate_from != 0 || u->append_from != 0;
}

static void step_end(struct raft *r, struct raft_update *u)
{
    lead(r, u);
    transfer_note_disk(r);
    give_out(r, u);
    if (r->role == RAFT_LEADER)
        membership_committed(r, u);
    snapshot_release_unused(r, u);
    if (persists(u))
        u->persist_seq = ++r->seq;
    u->deadline_ms = deadline(r);
}

void raft_step(struct raft *r, const struct raft_event *event,
               struct raft_update *update)
{
    enum raft_role role = r->role;
    int32_t leader = r->leader;
    uint64_t term = r->term;

    update_begin(update);
    if (event->now_ms > r->now_ms)
        r->now_ms = event->now_ms;
    r->random = event->random;
    handle(r, update, event);
    step_end(r, update);
    update->role_changed =
        r->role != role || r->leader != leader || r->term != term;
}

/* ---- questions ---------------------------------------------------------- */

const struct raft_config *raft_config_now(const struct raft *r)
{
    return &r->configs[r->configs_len - 1].config;
}

uint64_t raft_config_now_index(const struct raft *r)
{
    return r->configs[r->configs_len - 1].index;
}

const struct raft_config *raft_base_config(const struct raft *r,
                                           uint64_t *index)
{
    *index = r->configs[0].index;
    return &r->configs[0].config;
}

int raft_can_propose(const struct raft *r, size_t size_bytes)
{
    if (r->role != RAFT_LEADER || r->transfer_to != RAFT_ID_NONE)
        return ERR_NOT_LEADER;
    if (size_bytes > r->options.entry_max_bytes)
        return ERR_TOO_LARGE;
    if (r->uncommitted_bytes != 0 &&
        r->uncommitted_bytes + size_bytes > r->options.uncommitted_max_bytes)
        return ERR_THROTTLING_QUOTA_EXCEEDED;
    return ERR_NONE;
}

const struct raft_peer *raft_peer_find(const struct raft *r, int32_t id)
{
    return peer_get((struct raft *)r, id);
}

static void check_configs(const struct raft *r)
{
    ASSERT(r->configs_len > 0 && r->configs[0].index <= r->log.base_index);
    for (size_t i = 1; i < r->configs_len; i++) {
        ASSERT(r->configs[i].index > r->configs[i - 1].index);
        ASSERT(r->configs[i].index > r->log.base_index);
        ASSERT(r->configs[i].index <= raft_log_last(&r->log));
    }
    ASSERT(r->peers_len == raft_config_now(r)->len);
}

void raft_check(const struct raft *r)
{
    uint64_t last = raft_log_last(&r->log);

    ASSERT(r->log.base_index <= r->applied);
    ASSERT(r->applied <= r->commit && r->applied <= r->stable);
    ASSERT(r->commit <= last && r->stable <= last);
    ASSERT(r->verified <= last);
    ASSERT(r->term >= raft_log_last_term(&r->log));
    ASSERT(r->persisted_seq <= r->seq);
    check_configs(r);
    if (r->role != RAFT_LEADER)
        return;
    ASSERT(r->leader == r->options.id && r->vote == r->options.id);
    ASSERT(r->term_start <= last);
    for (size_t i = 0; i < r->peers_len; i++) {
        ASSERT(r->peers[i].match < r->peers[i].next);
        ASSERT(r->peers[i].next <= last + 1);
        ASSERT(r->peers[i].inflight_len <= r->options.inflight_max_messages);
    }
}
