/* Becoming leader, and ceasing to be one.
 *
 *   follower --timeout, leader lost--> pre-candidate --majority--> candidate
 *   candidate: term + 1 and the vote for itself go to the disk; when they are
 *   durable the requests go out; a majority of votes makes it leader.
 *   leader: appends a no-op; what is committed before that is committed with
 * it.
 *
 * Pre-vote (thesis 9.6): nobody raises its term before a majority has said
 * that it would vote for it, so a node that was cut off does not disturb when
 * it returns.  Lease: who has heard from a leader within the election timeout
 * refuses both kinds of vote, whatever their term, unless the leader itself
 * asked for the election.
 *
 * Time in which this node itself did not run (no processor, a machine that was
 * suspended) is not silence of others: nobody could be heard.  A tick that
 * comes late tells.  A follower then waits once more for a leader that may have
 * stood still with it, and a leader forgives its followers as much.
 *
 * While no leader is known elections are tried after a few milliseconds,
 * since pre-votes cost nothing; after many futile ones (a minority) at the
 * pace of the election timeout. */
#include "base/planted.h"
#include "raft/internal.h"

enum {
    FAST_ROUNDS = 20,
    STALL_PARTS =
        8, /* a tick late by this part of a heartbeat: we stood still */
};

static void become_candidate(struct raft *r, struct raft_update *u,
                             bool transferred);

bool term_durable(const struct raft *r)
{
    return r->persisted_seq >= r->vote_seq;
}

static bool is_voter(const struct raft_config *config, int32_t id)
{
    const struct raft_member *m = raft_config_find(config, id);

    return m != NULL && m->voter;
}

/* A voter of any configuration that may be in force.  Also one that its own
 * log has removed, as long as that is not committed: if its log is the newest,
 * nobody else can win (thesis 4.2.2). */
bool promotable(const struct raft *r)
{
    const struct raft_config_at *committed = configs_at(r, r->commit);

    if (r->store_failed || r->incoming.complete)
        return false;
    for (size_t i = (size_t)(committed - r->configs); i < r->configs_len; i++)
        if (is_voter(&r->configs[i].config, r->options.id))
            return true;
    return false;
}

/* ---- time --------------------------------------------------------------- */

static int64_t slow_delay_ms(struct raft *r)
{
    int64_t e = r->options.election_timeout_ms;

    return e + random_below(r, e);
}

static int64_t fast_delay_ms(struct raft *r)
{
    const struct raft_options *o = &r->options;

    return o->election_fast_min_ms +
           random_below(r, o->election_fast_max_ms - o->election_fast_min_ms);
}

static void election_soon(struct raft *r)
{
    int64_t delay =
        r->fast_rounds < FAST_ROUNDS ? fast_delay_ms(r) : slow_delay_ms(r);

    r->election_deadline_ms = r->now_ms + delay;
}

void election_heard_leader(struct raft *r)
{
    r->leader_contact_ms = r->now_ms;
    r->stall_forgiven = false;
    r->fast_rounds = 0;
    r->election_deadline_ms = r->now_ms + slow_delay_ms(r);
}

/* By how much a tick for deadline_ms is late beyond what a busy loop explains;
 * 0 if it is not. */
static int64_t stalled_ms(const struct raft *r, int64_t deadline_ms)
{
    int64_t late_ms = r->now_ms - deadline_ms;

    return late_ms > r->options.heartbeat_ms / STALL_PARTS ? late_ms : 0;
}

/* This follower has just come back from standing still, whether its tick or a
 * message comes first. */
static bool stall_forgivable(const struct raft *r)
{
    return r->role == RAFT_FOLLOWER && r->leader != RAFT_ID_NONE &&
           !r->stall_forgiven && stalled_ms(r, r->election_deadline_ms) > 0;
}

/* As much time again as was lost, but at least for two heartbeats and at most
 * an election timeout.  Once: a node that is always late must not keep a dead
 * leader. */
static void forgive_stall(struct raft *r)
{
    int64_t wait_ms = stalled_ms(r, r->election_deadline_ms);

    if (wait_ms < 2 * r->options.heartbeat_ms)
        wait_ms = 2 * r->options.heartbeat_ms;
    if (wait_ms > r->options.election_timeout_ms)
        wait_ms = r->options.election_timeout_ms;
    r->stall_forgiven = true;
    r->election_deadline_ms = r->now_ms + wait_ms;
    r->leader_contact_ms =
        r->election_deadline_ms - r->options.election_timeout_ms;
}

static bool leased(const struct raft *r)
{
    return r->role == RAFT_LEADER || stall_forgivable(r) ||
           (r->leader != RAFT_ID_NONE &&
            r->now_ms - r->leader_contact_ms < r->options.election_timeout_ms);
}

/* ---- roles -------------------------------------------------------------- */

void become_follower(struct raft *r, struct raft_update *u, uint64_t term,
                     int32_t leader)
{
    ASSERT(term >= r->term);
    if (term > r->term) {
        r->term = term;
        r->vote = RAFT_ID_NONE;
        if (!PLANTED(RAFT_FORGETS_TERMS))
            persist_vote(r, u);
        r->grant_due = RAFT_ID_NONE;
    }
    snapshot_forget(r, u);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->verified = r->commit;
    r->ack_due = false;
    r->requests_due = false;
    r->transferred = false;
    r->transfer_to = RAFT_ID_NONE;
    r->uncommitted_bytes = 0;
    if (leader != RAFT_ID_NONE)
        election_heard_leader(r);
    else
        election_soon(r);
}

static void become_leader(struct raft *r, struct raft_update *u)
{
    r->role = RAFT_LEADER;
    r->leader = r->options.id;
    r->fast_rounds = 0;
    r->uncommitted_bytes = 0;
    peers_reset(r);
    r->term_start = raft_log_last(&r->log) + 1;
    log_add(r, u, r->term, RAFT_ENTRY_NOOP, SLICE(""));
    r->heartbeat_deadline_ms = r->now_ms + r->options.heartbeat_ms;
    replicate_all(r, u);
}

/* ---- counting ----------------------------------------------------------- */

static void votes_clear(struct raft *r)
{
    for (size_t i = 0; i < r->peers_len; i++)
        r->peers[i].vote = RAFT_VOTE_UNKNOWN;
}

static void vote_count(const struct raft *r, size_t *yes, size_t *possible,
                       size_t *majority)
{
    size_t voters = 0;

    *yes = *possible = 0;
    for (size_t i = 0; i < r->peers_len; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (!p->voter)
            continue;
        voters++;
        *yes += p->vote == RAFT_VOTE_YES;
        *possible += p->vote == RAFT_VOTE_YES ||
                     (p->vote == RAFT_VOTE_UNKNOWN && !p->lost);
    }
    *majority = voters / 2 + (PLANTED(RAFT_LEADS_WITH_HALF) ? 0 : 1);
}

/* Wins, gives up, or goes on waiting. */
static void tally(struct raft *r, struct raft_update *u)
{
    size_t yes, possible, majority;

    vote_count(r, &yes, &possible, &majority);
    if (yes >= majority) {
        if (r->role == RAFT_PRECANDIDATE)
            become_candidate(r, u, false);
        else
            become_leader(r, u);
    } else if (possible < majority) {
        become_follower(r, u, r->term, RAFT_ID_NONE);
    }
}

static void vote_self(struct raft *r)
{
    struct raft_peer *self = peer_get(r, r->options.id);

    if (self != NULL)
        self->vote = RAFT_VOTE_YES;
}

static void request_votes(struct raft *r, struct raft_update *u)
{
    bool pre = r->role == RAFT_PRECANDIDATE;

    for (size_t i = 0; i < r->peers_len; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (!p->voter || p->id == r->options.id)
            continue;
        struct raft_message *m = message_add(r, u, RAFT_VOTE_REQUEST, p->id);
        m->vote_request.vote_term = pre ? r->term + 1 : r->term;
        m->vote_request.pre = pre;
        m->vote_request.transfer = r->transferred;
        m->vote_request.last_index = raft_log_last(&r->log);
        m->vote_request.last_term = raft_log_last_term(&r->log);
    }
}

/* ---- campaigning -------------------------------------------------------- */

static void become_precandidate(struct raft *r, struct raft_update *u)
{
    r->role = RAFT_PRECANDIDATE;
    r->leader = RAFT_ID_NONE;
    r->fast_rounds++;
    r->requests_due = false; /* of a candidacy the disk was too slow for */
    r->transferred = false;
    election_soon(r);
    votes_clear(r);
    vote_self(r);
    request_votes(r, u);
    tally(r, u);
}

/* Requests wait in requests_due until the own vote is durable: after a crash
 * this node must not vote for somebody else in a term it has campaigned in. */
static void become_candidate(struct raft *r, struct raft_update *u,
                             bool transferred)
{
    r->role = RAFT_CANDIDATE;
    r->leader = RAFT_ID_NONE;
    r->term++;
    r->vote = r->options.id;
    persist_vote(r, u);
    r->grant_due = RAFT_ID_NONE;
    r->requests_due = true;
    r->transferred = transferred;
    r->election_deadline_ms = r->now_ms + slow_delay_ms(r);
    votes_clear(r);
}

static bool sole_voter(const struct raft *r)
{
    const struct raft_config *now = raft_config_now(r);

    return promotable(r) && raft_config_voters(now) == 1 &&
           is_voter(now, r->options.id);
}

void election_start(struct raft *r, struct raft_update *u)
{
    election_soon(r);
    if (sole_voter(r))
        become_candidate(r, u, false);
}

static void grant_now(struct raft *r, struct raft_update *u)
{
    struct raft_message *m = message_add(r, u, RAFT_VOTE_REPLY, r->grant_due);

    m->vote_reply.vote_term = r->term;
    m->vote_reply.granted = true;
    r->grant_due = RAFT_ID_NONE;
}

void election_persisted(struct raft *r, struct raft_update *u)
{
    if (r->grant_due != RAFT_ID_NONE && !r->store_failed)
        grant_now(r, u);
    if (r->role != RAFT_CANDIDATE || !r->requests_due)
        return;
    r->requests_due = false;
    vote_self(r);
    request_votes(r, u);
    tally(r, u);
}

/* Followers could not answer heartbeats that were not sent, and the disk's
 * answer may be waiting. */
static void forgive_others(struct raft *r, int64_t stalled)
{
    if (r->held_up_since_ms != INT64_MAX)
        r->held_up_since_ms += stalled;
    for (size_t i = 0; i < r->peers_len; i++) {
        r->peers[i].contact_ms += stalled;
        if (r->peers[i].contact_ms > r->now_ms)
            r->peers[i].contact_ms = r->now_ms;
    }
}

static void leader_tick(struct raft *r, struct raft_update *u)
{
    forgive_others(r, stalled_ms(r, r->heartbeat_deadline_ms));
    if (r->now_ms - voters_contact_ms(r) >= r->options.election_timeout_ms) {
        become_follower(r, u, r->term, RAFT_ID_NONE);
        return;
    }
    transfer_tick(r, u);
    if (r->now_ms >= r->heartbeat_deadline_ms) {
        r->heartbeat_deadline_ms = r->now_ms + r->options.heartbeat_ms;
        heartbeat_all(r, u);
    }
}

void election_tick(struct raft *r, struct raft_update *u)
{
    if (r->role == RAFT_LEADER) {
        leader_tick(r, u);
        return;
    }
    if (r->now_ms < r->election_deadline_ms)
        return;
    if (stall_forgivable(r)) {
        forgive_stall(r);
        return;
    }
    if (!promotable(r)) {
        if (r->role != RAFT_FOLLOWER || r->leader != RAFT_ID_NONE)
            become_follower(r, u, r->term, RAFT_ID_NONE);
        return;
    }
    if (sole_voter(r))
        become_candidate(r, u, false);
    else
        become_precandidate(r, u);
}

/* ---- evidence from the transport ---------------------------------------- */

void election_peer_lost(struct raft *r, struct raft_update *u, int32_t peer)
{
    if (r->role != RAFT_FOLLOWER) {
        tally(r, u);
        return;
    }
    bool was_leader = r->leader == peer;
    bool was_hope = r->leader == RAFT_ID_NONE && r->vote == peer;

    if (!was_leader && !was_hope)
        return;
    r->leader = RAFT_ID_NONE;
    r->fast_rounds = 0;
    election_soon(r);
}

/* The peer that was missing for a majority may be this one. */
void election_peer_up(struct raft *r)
{
    if (r->role == RAFT_CANDIDATE || r->leader != RAFT_ID_NONE ||
        !promotable(r))
        return;
    int64_t soon = r->now_ms + fast_delay_ms(r);
    if (soon < r->election_deadline_ms)
        r->election_deadline_ms = soon;
}

/* ---- votes -------------------------------------------------------------- */

/* Paper 5.4.1. */
static bool up_to_date(const struct raft *r, uint64_t last_index,
                       uint64_t last_term)
{
    uint64_t own_term = raft_log_last_term(&r->log);

    return PLANTED(RAFT_VOTES_FOR_ANYBODY) || last_term > own_term ||
           (last_term == own_term && last_index >= raft_log_last(&r->log));
}

static void answer_vote(struct raft *r, struct raft_update *u,
                        const struct raft_message *m, bool granted)
{
    struct raft_message *reply = message_add(r, u, RAFT_VOTE_REPLY, m->from);

    reply->vote_reply.vote_term = m->vote_request.vote_term;
    reply->vote_reply.pre = m->vote_request.pre;
    reply->vote_reply.granted = granted;
}

static void answer_pre_vote(struct raft *r, struct raft_update *u,
                            const struct raft_message *m)
{
    bool granted =
        m->vote_request.vote_term > r->term && !r->store_failed &&
        up_to_date(r, m->vote_request.last_index, m->vote_request.last_term);

    answer_vote(r, u, m, granted);
    /* Stand back for a moment, so that the two do not split the votes. */
    if (granted && r->role == RAFT_FOLLOWER)
        r->election_deadline_ms =
            r->now_ms + r->options.election_fast_max_ms + fast_delay_ms(r);
}

static void answer_real_vote(struct raft *r, struct raft_update *u,
                             const struct raft_message *m)
{
    bool free = r->vote == RAFT_ID_NONE || r->vote == m->from ||
                PLANTED(RAFT_VOTES_TWICE);

    if (!free || r->store_failed || r->role != RAFT_FOLLOWER ||
        !up_to_date(r, m->vote_request.last_index, m->vote_request.last_term)) {
        answer_vote(r, u, m, false);
        return;
    }
    if (r->vote == RAFT_ID_NONE) {
        r->vote = m->from;
        persist_vote(r, u);
    }
    r->grant_due = m->from;
    r->election_deadline_ms = r->now_ms + slow_delay_ms(r);
    if (term_durable(r) || PLANTED(RAFT_VOTES_UNPERSISTED))
        grant_now(r, u);
}

/* Votes are given to strangers too: the candidate may be a member already in a
 * configuration that has not reached us. */
void receive_vote_request(struct raft *r, struct raft_update *u,
                          const struct raft_message *m)
{
    uint64_t vote_term = m->vote_request.vote_term;

    if (vote_term > RAFT_INDEX_MAX ||
        (!m->vote_request.pre && vote_term != m->term)) {
        u->complaint = "a vote request with a wrong term";
        return;
    }
    if (leased(r) && !m->vote_request.transfer) {
        answer_vote(r, u, m, false);
        return;
    }
    if (m->vote_request.pre) {
        answer_pre_vote(r, u, m);
        return;
    }
    if (vote_term > r->term)
        become_follower(r, u, vote_term, RAFT_ID_NONE);
    if (vote_term == r->term)
        answer_real_vote(r, u, m);
    else
        answer_vote(r, u, m, false);
}

void receive_vote_reply(struct raft *r, struct raft_update *u,
                        const struct raft_message *m)
{
    struct raft_peer *p = peer_get(r, m->from);
    bool pre = m->vote_reply.pre;
    enum raft_role role = pre ? RAFT_PRECANDIDATE : RAFT_CANDIDATE;
    uint64_t expected = pre ? r->term + 1 : r->term;

    if (p == NULL || r->role != role || r->requests_due ||
        m->vote_reply.vote_term != expected)
        return;
    if (p->vote != RAFT_VOTE_YES)
        p->vote = m->vote_reply.granted ? RAFT_VOTE_YES : RAFT_VOTE_NO;
    tally(r, u);
}

void receive_timeout_now(struct raft *r, struct raft_update *u,
                         const struct raft_message *m)
{
    if (m->from == r->leader && r->role == RAFT_FOLLOWER && promotable(r))
        become_candidate(r, u, true);
}
