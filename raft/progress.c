/* What a leader knows about each member.
 *
 *            success            needs entries that are gone
 *   PROBE ------------> REPLICATE        PROBE -----> SNAPSHOTTING
 *     ^                    |               ^               |
 *     +--------------------+               +---------------+
 *      reject, connection lost              image installed
 *
 * In REPLICATE appends follow one another without waiting, within a window of
 * messages and bytes; `next` runs ahead of `match`. */
#include "raft/internal.h"

struct raft_peer *peer_get(struct raft *r, int32_t id)
{
    size_t low = 0, high = r->peers_len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->peers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->peers_len && r->peers[low].id == id ? &r->peers[low] : NULL;
}

static void peer_clear(struct raft *r, struct raft_peer *p)
{
    *p = (struct raft_peer){
        .id = p->id,
        .voter = p->voter,
        .lost = p->lost,
        .state = RAFT_PROBE,
        .next = raft_log_last(&r->log) + 1,
        .contact_ms = r->now_ms,
    };
}

void peers_rebuild(struct raft *r)
{
    const struct raft_config *config = raft_config_now(r);
    struct raft_peer *peers = xcalloc(config->len, sizeof *peers);

    for (size_t i = 0; i < config->len; i++) {
        const struct raft_member *m = &config->members[i];
        const struct raft_peer *known = peer_get(r, m->id);

        if (known != NULL) {
            peers[i] = *known;
        } else {
            peers[i].id = m->id;
            peer_clear(r, &peers[i]);
        }
        peers[i].voter = m->voter;
    }
    free(r->peers);
    r->peers = peers;
    r->peers_len = config->len;
}

void peers_reset(struct raft *r)
{
    for (size_t i = 0; i < r->peers_len; i++)
        peer_clear(r, &r->peers[i]);
}

static void inflight_clear(struct raft_peer *p)
{
    p->inflight_head = p->inflight_len = p->inflight_bytes = 0;
}

void peer_to_probe(struct raft_peer *p, uint64_t next)
{
    p->state = RAFT_PROBE;
    p->next = next;
    p->paused = false;
    p->snapshot_waiting = false;
    inflight_clear(p);
}

void peer_to_replicate(struct raft_peer *p)
{
    peer_to_probe(p, p->match + 1);
    p->state = RAFT_REPLICATE;
}

void peer_to_snapshot(struct raft_peer *p)
{
    peer_to_probe(p, p->next);
    p->state = RAFT_SNAPSHOTTING;
    p->snapshot_offset = 0;
}

void peer_sent(struct raft_peer *p, uint64_t last, size_t bytes)
{
    size_t at = (p->inflight_head + p->inflight_len) % RAFT_INFLIGHT_MAX;

    ASSERT(p->inflight_len < RAFT_INFLIGHT_MAX);
    p->inflight[at].last = last;
    p->inflight[at].bytes = bytes;
    p->inflight_len++;
    p->inflight_bytes += bytes;
}

void peer_acked(struct raft_peer *p, uint64_t match)
{
    while (p->inflight_len != 0 &&
           p->inflight[p->inflight_head].last <= match) {
        p->inflight_bytes -= p->inflight[p->inflight_head].bytes;
        p->inflight_head = (p->inflight_head + 1) % RAFT_INFLIGHT_MAX;
        p->inflight_len--;
    }
}

bool peer_window_open(const struct raft *r, const struct raft_peer *p)
{
    return p->inflight_len < r->options.inflight_max_messages &&
           p->inflight_bytes < r->options.inflight_max_bytes;
}

/* Insertion of value into sorted[0..len), largest first. */
static void insert(uint64_t *sorted, size_t len, uint64_t value)
{
    size_t at = len;

    for (; at > 0 && sorted[at - 1] < value; at--)
        sorted[at] = sorted[at - 1];
    sorted[at] = value;
}

uint64_t voters_match(const struct raft *r)
{
    uint64_t sorted[RAFT_VOTERS_MAX];
    size_t voters = 0;

    for (size_t i = 0; i < r->peers_len; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (p->voter)
            insert(sorted, voters++,
                   p->id == r->options.id ? r->stable : p->match);
    }
    ASSERT(voters > 0);
    return sorted[voters / 2];
}

int64_t voters_contact_ms(const struct raft *r)
{
    uint64_t sorted[RAFT_VOTERS_MAX];
    size_t voters = 0;

    for (size_t i = 0; i < r->peers_len; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (p->voter)
            insert(
                sorted, voters++,
                (uint64_t)(p->id == r->options.id ? r->now_ms : p->contact_ms));
    }
    ASSERT(voters > 0);
    return (int64_t)sorted[voters / 2];
}
