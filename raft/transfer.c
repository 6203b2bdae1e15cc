/* Handing leadership over (thesis 3.10): proposals stop, the target gets the
 * rest of the log, then RAFT_TIMEOUT_NOW.  Its election raises the term and
 * ends ours; if nothing happens within an election timeout we go on leading. */
#include "raft/internal.h"

static bool eligible(const struct raft *r, const struct raft_peer *p)
{
    return p->voter && p->id != r->options.id;
}

static const struct raft_peer *best(const struct raft *r)
{
    const struct raft_peer *found = NULL;

    for (size_t i = 0; i < r->peers_len; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (eligible(r, p) && !p->lost &&
            (found == NULL || p->match > found->match))
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
