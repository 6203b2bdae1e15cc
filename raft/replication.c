/* Moving the log from the leader to everybody else, and deciding what is
 * committed.
 *
 * An append names the entry before its first one; a follower that has that
 * entry with that term has the same log up to there (log matching, paper 5.3).
 * If not, it answers where the logs may agree, and the leader goes back.
 *
 * A follower acknowledges what is durable and known to equal the leader's log;
 * one acknowledgement after a disk write covers every append that the write
 * contained.  The leader writes its own copy while the followers write theirs,
 * and counts it when it is durable (thesis 10.2.1).
 *
 * Heartbeats are appends without entries.  In a pipeline they name the last
 * entry sent, so the answer also tells whether something was lost. */
#include "base/planted.h"
#include "raft/internal.h"

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* ---- leader: sending ---------------------------------------------------- */

/* Entries from p->next on that fit one message; copies only their headers. */
static struct raft_entry *collect(struct raft *r, struct raft_update *u,
                                  uint64_t from, size_t *len, size_t *bytes)
{
    uint64_t last = raft_log_last(&r->log);
    uint64_t n = 0;

    *bytes = 0;
    while (from + n <= last && n < RAFT_MESSAGE_ENTRIES_MAX) {
        size_t size = raft_log_get(&r->log, from + n).data.len;

        if (n != 0 && *bytes + size > r->options.message_max_bytes)
            break;
        *bytes += size;
        n++;
    }
    struct raft_entry *entries =
        arena_array(&u->scratch, (size_t)n, sizeof *entries);
    for (uint64_t i = 0; i < n; i++)
        entries[i] = raft_log_get(&r->log, from + i);
    *len = (size_t)n;
    return entries;
}

static void send_append(struct raft *r, struct raft_update *u,
                        struct raft_peer *p, const struct raft_entry *entries,
                        size_t entries_len)
{
    struct raft_message *m = message_add(r, u, RAFT_APPEND, p->id);
    uint64_t prev = p->next - 1;

    m->append.prev_index = prev;
    m->append.prev_term = raft_log_term(&r->log, prev);
    m->append.commit = r->commit;
    m->append.entries = entries;
    m->append.entries_len = entries_len;
    p->commit_sent = min_u64(r->commit, prev + entries_len);
}

static bool needs_snapshot(const struct raft *r, const struct raft_peer *p)
{
    return p->next <= r->log.base_index;
}

static void send_pipelined(struct raft *r, struct raft_update *u,
                           struct raft_peer *p)
{
    while (p->next <= raft_log_last(&r->log) && peer_window_open(r, p)) {
        size_t len, bytes;
        struct raft_entry *entries = collect(r, u, p->next, &len, &bytes);

        send_append(r, u, p, entries, len);
        p->next += len;
        peer_sent(p, p->next - 1, bytes);
    }
    /* News about the commit index need no room in the window. */
    if (p->commit_sent < min_u64(r->commit, p->next - 1))
        send_append(r, u, p, NULL, 0);
}

static void send_probe(struct raft *r, struct raft_update *u,
                       struct raft_peer *p)
{
    size_t len, bytes;
    struct raft_entry *entries;

    if (p->paused)
        return;
    entries = collect(r, u, p->next, &len, &bytes);
    send_append(r, u, p, entries, len);
    p->paused = true;
}

void replicate(struct raft *r, struct raft_update *u, struct raft_peer *p)
{
    if (p->id == r->options.id || p->lost)
        return;
    if (p->state != RAFT_SNAPSHOTTING && needs_snapshot(r, p))
        peer_to_snapshot(p);
    switch (p->state) {
    case RAFT_PROBE:
        send_probe(r, u, p);
        break;
    case RAFT_REPLICATE:
        send_pipelined(r, u, p);
        break;
    case RAFT_SNAPSHOTTING:
        snapshot_send(r, u, p);
        break;
    }
}

void replicate_all(struct raft *r, struct raft_update *u)
{
    for (size_t i = 0; i < r->peers_len; i++)
        replicate(r, u, &r->peers[i]);
}

/* Before entry 1 all logs agree: no claim about the peer's log. */
static void send_bare_heartbeat(struct raft *r, struct raft_update *u,
                                const struct raft_peer *p)
{
    message_add(r, u, RAFT_APPEND, p->id);
}

static void heartbeat(struct raft *r, struct raft_update *u,
                      struct raft_peer *p)
{
    if (p->state != RAFT_SNAPSHOTTING && needs_snapshot(r, p))
        peer_to_snapshot(p);
    if (p->state == RAFT_SNAPSHOTTING) {
        send_bare_heartbeat(r, u, p);
        snapshot_resend(r, u, p);
        return;
    }
    send_append(r, u, p, NULL, 0);
    p->paused = p->state == RAFT_PROBE;
}

void heartbeat_all(struct raft *r, struct raft_update *u)
{
    for (size_t i = 0; i < r->peers_len; i++)
        if (r->peers[i].id != r->options.id)
            heartbeat(r, u, &r->peers[i]);
}

/* ---- committing --------------------------------------------------------- */

void commit_to(struct raft *r, uint64_t index)
{
    if (index > r->commit)
        r->commit = index;
    if (r->role != RAFT_LEADER)
        r->verified = max_u64(r->verified, r->commit);
}

static void uncommitted_less(struct raft *r, uint64_t from, uint64_t to)
{
    for (uint64_t i = max_u64(from, r->term_start); i <= to; i++) {
        struct raft_entry e = raft_log_get(&r->log, i);

        if (e.type == RAFT_ENTRY_DATA)
            r->uncommitted_bytes -= e.data.len;
    }
}

bool commit_advance(struct raft *r)
{
    uint64_t index = voters_match(r);
    uint64_t before = r->commit;

    /* An entry of an earlier term that a majority has may still be
     * overwritten (paper 5.4.2, figure 8). */
    if (index <= before || (raft_log_term(&r->log, index) != r->term &&
                            !PLANTED(RAFT_COMMITS_OLD_TERMS)))
        return false;
    commit_to(r, index);
    uncommitted_less(r, before + 1, index);
    return true;
}

/* ---- leader: answers ---------------------------------------------------- */

/* The last index up to `index` whose term is at most `term`: behind it the logs
 * cannot agree. */
static uint64_t conflict_find(const struct raft *r, uint64_t index,
                              uint64_t term)
{
    index = min_u64(index, raft_log_last(&r->log));
    while (index > r->log.base_index && raft_log_term(&r->log, index) > term)
        index--;
    return index;
}

static void rejected(struct raft *r, struct raft_update *u, struct raft_peer *p,
                     const struct raft_message *m)
{
    uint64_t asked = m->append_reply.asked;
    uint64_t agree =
        conflict_find(r, m->append_reply.hint_index, m->append_reply.hint_term);

    if (p->state == RAFT_SNAPSHOTTING || asked == 0 ||
        asked > raft_log_last(&r->log))
        return;
    agree = min_u64(agree, asked - 1);
    if (p->state == RAFT_REPLICATE) {
        if (asked <= p->match) /* an old answer */
            return;
        peer_to_probe(p, max_u64(agree, p->match) + 1);
    } else {
        if (asked != p->next - 1)
            return;
        /* Below match: the peer has lost its disk and starts over. */
        p->match = min_u64(p->match, agree);
        peer_to_probe(p, agree + 1);
    }
    replicate(r, u, p);
}

static void accepted(struct raft *r, struct raft_update *u, struct raft_peer *p,
                     uint64_t match)
{
    if (match > raft_log_last(&r->log)) {
        u->complaint = "a peer acknowledges entries that were never sent";
        return;
    }
    if (match > p->match) {
        p->match = match;
        p->next = max_u64(p->next, match + 1);
        peer_acked(p, match);
    }
    if (match == raft_log_last(&r->log))
        p->caught_up_ms = r->now_ms;
    /* In PROBE an answer proves nothing before it reaches what was asked. */
    if (p->state == RAFT_PROBE && p->match + 1 >= p->next)
        peer_to_replicate(p);
    if (p->state == RAFT_SNAPSHOTTING && p->match >= r->log.base_index)
        peer_to_replicate(p);
}

void receive_append_reply(struct raft *r, struct raft_update *u,
                          const struct raft_message *m)
{
    struct raft_peer *p = peer_get(r, m->from);

    if (r->role != RAFT_LEADER || p == NULL)
        return;
    p->contact_ms = r->now_ms;
    if (m->append_reply.rejected) {
        rejected(r, u, p, m);
        return;
    }
    accepted(r, u, p, m->append_reply.match);
    if (commit_advance(r))
        replicate_all(r, u);
    else
        replicate(r, u, p);
    if (r->transfer_to == p->id)
        transfer_advance(r, u);
}

/* ---- follower ----------------------------------------------------------- */

static uint64_t acknowledged(const struct raft *r)
{
    if (PLANTED(RAFT_ACKS_UNPERSISTED))
        return r->verified;
    if (PLANTED(RAFT_ACKS_UNCOMPARED))
        return r->stable;
    return min_u64(r->stable, r->verified);
}

void send_append_reply(struct raft *r, struct raft_update *u, int32_t to)
{
    message_add(r, u, RAFT_APPEND_REPLY, to)->append_reply.match =
        acknowledged(r);
}

void follower_persisted(struct raft *r, struct raft_update *u)
{
    if (!r->ack_due || !term_durable(r) || r->role != RAFT_FOLLOWER ||
        r->leader == RAFT_ID_NONE)
        return;
    send_append_reply(r, u, r->leader);
    r->ack_due = r->verified > r->stable;
}

static void acknowledge(struct raft *r, struct raft_update *u, uint64_t upto,
                        int32_t to)
{
    if ((!term_durable(r) || upto > r->stable) &&
        !PLANTED(RAFT_ACKS_UNPERSISTED))
        r->ack_due = true;
    else
        send_append_reply(r, u, to);
}

static void reject(struct raft *r, struct raft_update *u,
                   const struct raft_message *m)
{
    uint64_t hint = conflict_find(r, m->append.prev_index, m->append.prev_term);
    struct raft_message *reply = message_add(r, u, RAFT_APPEND_REPLY, m->from);

    reply->append_reply.rejected = true;
    reply->append_reply.match = acknowledged(r);
    reply->append_reply.asked = m->append.prev_index;
    reply->append_reply.hint_index = hint;
    reply->append_reply.hint_term = raft_log_term(&r->log, hint);
}

static bool entry_valid(const struct raft_entry *e, uint64_t term_before,
                        uint64_t term_max)
{
    struct raft_config config;

    if (e->term == 0 || e->term < term_before || e->term > term_max)
        return false;
    if (e->type != RAFT_ENTRY_CONFIG)
        return e->type == RAFT_ENTRY_DATA || e->type == RAFT_ENTRY_NOOP;
    if (!raft_config_decode(e->data, &config))
        return false;
    raft_config_free(&config);
    return true;
}

static bool append_valid(const struct raft_message *m)
{
    uint64_t term = m->append.prev_term;

    if (m->append.prev_index > RAFT_INDEX_MAX || term > m->term ||
        m->append.entries_len > RAFT_MESSAGE_ENTRIES_MAX)
        return false;
    for (size_t i = 0; i < m->append.entries_len; i++) {
        if (!entry_valid(&m->append.entries[i], term, m->term))
            return false;
        term = m->append.entries[i].term;
    }
    return true;
}

static void truncate(struct raft *r, struct raft_update *u, uint64_t from)
{
    raft_log_truncate(&r->log, from);
    configs_truncate(r, u, from);
    r->stable = min_u64(r->stable, from - 1);
    r->verified = min_u64(r->verified, from - 1);
    u->truncate_from = from;
}

/* Entries behind one on which both logs agree.  Entries we have already are
 * not touched, however old the message is; the first one that differs makes
 * ours go from there on.  False: they contradict what is committed. */
static bool merge(struct raft *r, struct raft_update *u, uint64_t prev,
                  const struct raft_entry *entries, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t index = prev + 1 + i;

        if (index <= r->log.base_index ||
            (index <= raft_log_last(&r->log) &&
             raft_log_term(&r->log, index) == entries[i].term))
            continue;
        if (index <= r->commit)
            return false;
        if (index <= raft_log_last(&r->log))
            truncate(r, u, index);
        if (entries[i].term < raft_log_last_term(&r->log))
            return false;
        log_add(r, u, entries[i].term, entries[i].type, entries[i].data);
    }
    return true;
}

/* What is at or before our base is committed, so the leader has it too. */
static bool prev_matches(const struct raft *r, const struct raft_message *m)
{
    uint64_t prev = m->append.prev_index;

    return prev < r->log.base_index ||
           (prev <= raft_log_last(&r->log) &&
            (raft_log_term(&r->log, prev) == m->append.prev_term ||
             PLANTED(RAFT_SKIPS_LOG_MATCHING)));
}

void receive_append(struct raft *r, struct raft_update *u,
                    const struct raft_message *m)
{
    uint64_t end = m->append.prev_index + m->append.entries_len;

    if (!append_valid(m)) {
        u->complaint = "an append with impossible terms or entries";
        return;
    }
    /* The log is about to be replaced by an image, or cannot be written. */
    if (r->incoming.complete || r->store_failed) {
        acknowledge(r, u, 0, m->from);
        return;
    }
    if (!prev_matches(r, m)) {
        if (m->append.prev_index <= r->commit)
            u->complaint = "a leader's log contradicts committed entries";
        else
            reject(r, u, m);
        return;
    }
    if (!merge(r, u, m->append.prev_index, m->append.entries,
               m->append.entries_len)) {
        u->complaint = "an append would replace committed entries";
        return;
    }
    r->verified = max_u64(r->verified, end);
    commit_to(r, min_u64(m->append.commit, PLANTED(RAFT_COMMITS_UNCOMPARED)
                                               ? raft_log_last(&r->log)
                                               : end));
    acknowledge(r, u, m->append.entries_len != 0 ? end : 0, m->from);
}
