/* Handing leadership over (thesis 3.10): proposals stop, the target gets the
 * rest of the log, then RAFT_TIMEOUT_NOW.  Its election raises the term and
 * ends ours; if nothing happens within an election timeout we go on leading.
 *
 * A leader does so by itself when its disk hangs: entries are committed by the
 * others, but its owner sees none that is not durable here, and decides nothing
 * more.  If the others need its copy for a majority it has nobody to hand over
 * to who would get further, and waits. */
#include "raft/internal.h"

static bool eligible(const struct raft *r, const struct raft_peer *p)
{
    return p->voter && p->id != r->options.id;
}

/* Of those that have most, who was heard from last. */
static bool is_better(const struct raft_peer *a, const struct raft_peer *b)
{
    return a->match > b->match ||
           (a->match == b->match && a->contact_ms > b->contact_ms);
}

static const struct raft_peer *best(const struct raft *r)
{
    const struct raft_peer *found = NULL;

    for (size_t i = 0; i < r->peers_len; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (eligible(r, p) && !p->lost &&
            (found == NULL || is_better(p, found)))
            found = p;
    }
    return found;
}

int transfer_begin(struct raft *r, struct raft_update *u, int32_t to)
{
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    const struct raft_peer *p = to == RAFT_ID_NONE ? best(r) : peer_get(r, to);
    if (p == NULL || !eligible(r, p))
        return ERR_VOTER_NOT_FOUND;
    r->transfer_to = p->id;
    r->transfer_deadline_ms = r->now_ms + r->options.election_timeout_ms;
    transfer_advance(r, u);
    return ERR_NONE;
}

void transfer_advance(struct raft *r, struct raft_update *u)
{
    const struct raft_peer *p = peer_get(r, r->transfer_to);

    if (p != NULL && p->match == raft_log_last(&r->log))
        message_add(r, u, RAFT_TIMEOUT_NOW, p->id);
}

void transfer_note_disk(struct raft *r)
{
    if (r->role != RAFT_LEADER || r->commit <= r->stable) {
        r->held_up_since_ms = INT64_MAX;
    } else if (r->held_up_since_ms == INT64_MAX || r->held_up_at != r->stable) {
        r->held_up_since_ms = r->now_ms;
        r->held_up_at = r->stable;
    }
}

void transfer_tick(struct raft *r, struct raft_update *u)
{
    if (r->transfer_to != RAFT_ID_NONE && r->now_ms >= r->transfer_deadline_ms)
        r->transfer_to = RAFT_ID_NONE;
    if (r->transfer_to != RAFT_ID_NONE || r->held_up_since_ms == INT64_MAX ||
        r->now_ms - r->held_up_since_ms < r->options.election_timeout_ms)
        return;
    r->held_up_since_ms = r->now_ms; /* if it fails, once more after a while */
    transfer_begin(r, u, RAFT_ID_NONE);
}
