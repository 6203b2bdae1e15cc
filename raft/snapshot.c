/* Images for peers that need entries which are gone (paper 7).
 *
 * Leader: the first such peer makes update.snapshot_wanted; the shell takes an
 * image of the owner's state as it is after the last applied entry, holds the
 * bytes and reports RAFT_SNAPSHOT_READY.  Peers get it chunk by chunk, each
 * answered with the next offset wanted; several may read the same image.  When
 * nobody does, it is released.  A peer that reports a match within the log
 * goes back to appends.
 *
 * Follower: chunks are collected in order by the shell.  When all are here, the
 * identity of the image is written to the store, then the owner installs the
 * image and makes it durable, then the log is dropped and stands at the image's
 * index.  A crash before the owner is done leaves log and state as they were; a
 * crash after leaves the image and, in the store, its identity: raft_store_load
 * completes the change.  Meanwhile appends wait. */
#include "raft/internal.h"

/* ---- leader ------------------------------------------------------------- */

static void want(struct raft *r, struct raft_update *u)
{
    if (r->snapshot.wanted)
        return;
    r->snapshot.wanted = true;
    u->snapshot_wanted = true;
}

static bool usable(const struct raft *r)
{
    return r->snapshot.ready && r->snapshot.index >= r->log.base_index;
}

static void send_chunk(struct raft *r, struct raft_update *u,
                       struct raft_peer *p, uint64_t len)
{
    struct raft_message *m = message_add(r, u, RAFT_SNAPSHOT, p->id);

    m->snapshot.index = r->snapshot.index;
    m->snapshot.index_term = r->snapshot.term;
    m->snapshot.config_index = r->snapshot.config_index;
    m->snapshot.config = &r->snapshot.config;
    m->snapshot.offset = p->snapshot_offset;
    m->snapshot.size = r->snapshot.size;
    m->snapshot.len = (size_t)len;
    p->snapshot_waiting = true;
    p->snapshot_sent_ms = r->now_ms;
}

void snapshot_send(struct raft *r, struct raft_update *u, struct raft_peer *p)
{
    uint64_t left;

    if (p->snapshot_waiting || p->lost)
        return;
    if (!usable(r)) {
        want(r, u);
        return;
    }
    left = r->snapshot.size - p->snapshot_offset;
    p->snapshot_asked = false;
    send_chunk(r, u, p,
               left < r->options.snapshot_chunk_bytes
                   ? left
                   : r->options.snapshot_chunk_bytes);
}

/* Chunk or answer was lost or is slow, or the peer is still installing: an
 * empty chunk asks how far it is.  The same bytes once more would hold up the
 * next ones on a slow link, and with each answer become more. */
void snapshot_resend(struct raft *r, struct raft_update *u, struct raft_peer *p)
{
    if (p->snapshot_waiting &&
        r->now_ms - p->snapshot_sent_ms < r->options.election_timeout_ms)
        return;
    if (!p->snapshot_waiting || p->lost || !usable(r)) {
        p->snapshot_waiting = false;
        snapshot_send(r, u, p);
        return;
    }
    p->snapshot_asked = true;
    send_chunk(r, u, p, 0);
}

void snapshot_ready(struct raft *r, struct raft_update *u, uint64_t index,
                    uint64_t size)
{
    const struct raft_config_at *at;

    if (r->role != RAFT_LEADER || !r->snapshot.wanted) {
        u->snapshot_release = !r->snapshot.ready;
        return;
    }
    ASSERT(index >= r->log.base_index && index <= r->applied);
    at = configs_at(r, index);
    r->snapshot.wanted = false;
    r->snapshot.ready = true;
    r->snapshot.index = index;
    r->snapshot.term = raft_log_term(&r->log, index);
    r->snapshot.size = size;
    r->snapshot.config_index = at->index;
    raft_config_copy(&r->snapshot.config, &at->config);
    for (size_t i = 0; i < r->peers_len; i++) {
        struct raft_peer *p = &r->peers[i];

        if (p->state != RAFT_SNAPSHOTTING)
            continue;
        p->snapshot_offset = 0;
        p->snapshot_waiting = false;
        snapshot_send(r, u, p);
    }
}

void snapshot_forget(struct raft *r, struct raft_update *u)
{
    if (r->snapshot.ready)
        u->snapshot_release = true;
    r->snapshot.wanted = false;
    r->snapshot.ready = false;
    raft_config_free(&r->snapshot.config);
}

void snapshot_release_unused(struct raft *r, struct raft_update *u)
{
    if (!r->snapshot.ready || r->snapshot.wanted)
        return;
    for (size_t i = 0; i < r->peers_len; i++)
        if (r->peers[i].state == RAFT_SNAPSHOTTING)
            return;
    snapshot_forget(r, u);
}

void receive_snapshot_reply(struct raft *r, struct raft_update *u,
                            const struct raft_message *m)
{
    struct raft_peer *p = peer_get(r, m->from);
    uint64_t offset = m->snapshot_reply.offset;

    if (r->role != RAFT_LEADER || p == NULL)
        return;
    p->contact_ms = r->now_ms;
    if (p->state != RAFT_SNAPSHOTTING || !usable(r) ||
        m->snapshot_reply.index != r->snapshot.index ||
        offset > r->snapshot.size)
        return;
    if (offset == p->snapshot_offset && offset == r->snapshot.size)
        return; /* still installing */
    if (offset == p->snapshot_offset && p->snapshot_waiting &&
        !p->snapshot_asked)
        return; /* the answer to an older question */
    p->snapshot_offset = offset;
    p->snapshot_waiting = false;
    if (offset < r->snapshot.size) {
        snapshot_send(r, u, p);
    } else {
        p->snapshot_waiting = true;
        p->snapshot_sent_ms = r->now_ms;
    }
}

/* ---- follower ----------------------------------------------------------- */

static void answer(struct raft *r, struct raft_update *u, int32_t to,
                   uint64_t index, uint64_t offset)
{
    struct raft_message *m = message_add(r, u, RAFT_SNAPSHOT_REPLY, to);

    m->snapshot_reply.index = index;
    m->snapshot_reply.offset = offset;
}

static bool valid(const struct raft *r, const struct raft_message *m)
{
    return m->snapshot.index > 0 && m->snapshot.index <= RAFT_INDEX_MAX &&
           m->snapshot.index_term > 0 && m->snapshot.index_term <= m->term &&
           m->snapshot.config_index <= m->snapshot.index &&
           m->snapshot.config != NULL &&
           raft_config_voters(m->snapshot.config) > 0 &&
           m->snapshot.size <= r->options.snapshot_max_bytes &&
           m->snapshot.offset <= m->snapshot.size &&
           m->snapshot.data.len <= m->snapshot.size - m->snapshot.offset;
}

static bool have_already(const struct raft *r, const struct raft_message *m)
{
    return m->snapshot.index <= r->commit ||
           raft_log_term(&r->log, m->snapshot.index) == m->snapshot.index_term;
}

/* Entries up to the image's index are committed: they may be acknowledged. */
static void skip_image(struct raft *r, struct raft_update *u,
                       const struct raft_message *m)
{
    uint64_t index = m->snapshot.index;

    r->incoming.active = false;
    commit_to(r, index);
    if (!term_durable(r) || index > r->stable)
        r->ack_due = true;
    else
        send_append_reply(r, u, m->from);
}

/* In a later term the same leader has made the image of the same entry anew,
 * perhaps in a life of its own in which it keeps things in another order. */
static bool continues(const struct raft *r, const struct raft_message *m)
{
    return r->incoming.active && r->incoming.from == m->from &&
           r->incoming.from_term == m->term &&
           r->incoming.index == m->snapshot.index &&
           r->incoming.term == m->snapshot.index_term &&
           r->incoming.size == m->snapshot.size;
}

static void image_start(struct raft *r, const struct raft_message *m)
{
    r->incoming.active = true;
    r->incoming.from = m->from;
    r->incoming.from_term = m->term;
    r->incoming.index = m->snapshot.index;
    r->incoming.term = m->snapshot.index_term;
    r->incoming.size = m->snapshot.size;
    r->incoming.offset = 0;
    r->incoming.config_index = m->snapshot.config_index;
    raft_config_copy(&r->incoming.config, m->snapshot.config);
}

static void take_chunk(struct raft *r, struct raft_update *u,
                       const struct raft_message *m)
{
    u->snapshot_chunk = m->snapshot.data;
    u->snapshot_chunk_first = m->snapshot.offset == 0;
    r->incoming.offset += m->snapshot.data.len;
    if (r->incoming.offset < r->incoming.size)
        return;
    r->incoming.complete = true;
    r->incoming.seq = step_seq(r);
    u->persist_incoming = true;
}

void receive_snapshot(struct raft *r, struct raft_update *u,
                      const struct raft_message *m)
{
    if (!valid(r, m)) {
        u->complaint = "an image chunk with impossible bounds";
        return;
    }
    if (r->store_failed)
        return;
    if (r->incoming.complete) {
        /* Being installed; a newer one comes later, if it is needed. */
        if (r->incoming.index == m->snapshot.index)
            answer(r, u, m->from, m->snapshot.index, m->snapshot.size);
        return;
    }
    if (have_already(r, m)) {
        skip_image(r, u, m);
        return;
    }
    if (!continues(r, m)) {
        if (m->snapshot.offset != 0) {
            answer(r, u, m->from, m->snapshot.index, 0);
            return;
        }
        image_start(r, m);
    }
    if (m->snapshot.offset == r->incoming.offset)
        take_chunk(r, u, m);
    answer(r, u, m->from, m->snapshot.index, r->incoming.offset);
}

void snapshot_persisted(struct raft *r, struct raft_update *u)
{
    if (!r->incoming.complete || r->incoming.installing ||
        r->persisted_seq < r->incoming.seq)
        return;
    r->incoming.installing = true;
    u->snapshot_install = true;
}

void snapshot_installed(struct raft *r, struct raft_update *u)
{
    uint64_t index = r->incoming.index;

    ASSERT(r->incoming.installing && index > r->commit);
    raft_log_reset(&r->log, index, r->incoming.term);
    r->commit = r->applied = r->stable = r->verified = index;
    configs_reset(r, u, r->incoming.config_index, &r->incoming.config);
    u->persist_base = true;
    u->truncate_from = index + 1;
    raft_config_free(&r->incoming.config);
    r->incoming.active = false;
    r->incoming.complete = false;
    r->incoming.installing = false;
    if (r->leader == RAFT_ID_NONE)
        return;
    if (term_durable(r))
        send_append_reply(r, u, r->leader);
    else
        r->ack_due = true;
}
