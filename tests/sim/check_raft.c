/* Raft's safety properties (Ongaro & Ousterhout 2014, figure 3) over all
 * controllers and their whole lives, restarts included. */
#include "tests/sim/check.h"

#include "base/alloc.h"
#include "broker/controller_role.h"
#include "controller/service_parts.h"
#include "tests/sim/kv_disk.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES_MAX = 16 };

/* What an index was committed with. */
struct committed {
    uint64_t term;
    uint64_t in_term; /* of who said so first: not before that of the leader
                         that committed it */
    uint64_t hash;
    int32_t by; /* who said so first */
};

/* An entry as somebody had it. */
struct seen {
    uint64_t hash;
    uint64_t previous_term;
    int32_t by;
};

struct member {
    int process; /* number of the process that was looked at */
    uint64_t commit;
    uint64_t compared;      /* entries up to here are in `seen`, ... */
    uint64_t compared_term; /* ... this being the term of the last */
    uint64_t leads;         /* term in which it was found leading, 0 none */
    uint64_t voted;         /* term in which its vote was found on disk */
    uint64_t matches[NODES_MAX]; /* by id: as leader of `leads` */
};

struct check_raft {
    struct check_options options;
    struct committed *log; /* [0] is index 1 */
    uint64_t log_len;
    uint64_t log_cap;
    struct map seen;    /* (index, term) -> struct seen */
    struct map leaders; /* term -> int32_t id */
    struct member members[NODES_MAX];
};

struct check_raft *check_raft_new(const struct check_options *options)
{
    struct check_raft *c = xcalloc(1, sizeof *c);

    c->options = *options;
    for (int i = 0; i < NODES_MAX; i++)
        c->members[i].process = -1;
    return c;
}

static uint64_t hash_of(const struct raft_entry *e)
{
    return hash_bytes(e->data.data, e->data.len) * 3 + (uint64_t)e->type;
}

/* ---- log matching -------------------------------------------------------- */

static void compare(struct check_raft *c, const struct node *n,
                    const struct raft *r, uint64_t index)
{
    struct raft_entry e = raft_log_get(&r->log, index);
    uint64_t key[2] = {index, e.term};
    struct seen *known = map_get(&c->seen, slice_of(key, sizeof key));
    uint64_t previous = raft_log_term(&r->log, index - 1);

    if (known == NULL) {
        known = xmalloc(sizeof *known);
        *known = (struct seen){hash_of(&e), previous, n->id};
        map_put(&c->seen, slice_of(key, sizeof key), known);
        return;
    }
    if (known->hash != hash_of(&e) ||
        (previous != 0 && known->previous_term != 0 &&
         known->previous_term != previous))
        history_violation(c->options.history, "log-matching",
                          "n%d and n%d have different entries %llu of term "
                          "%llu, or different ones before it",
                          n->id, known->by, (unsigned long long)index,
                          (unsigned long long)e.term);
    if (known->previous_term == 0)
        known->previous_term = previous;
}

static void compare_new(struct check_raft *c, const struct node *n,
                        struct member *m, const struct raft *r)
{
    uint64_t last = raft_log_last(&r->log), base = r->log.base_index;

    /* What was compared may have been replaced since. */
    if (m->compared > last || m->compared < base ||
        (m->compared > base &&
         raft_log_term(&r->log, m->compared) != m->compared_term))
        m->compared = r->commit < last && r->commit > base ? r->commit : base;
    while (m->compared < last)
        compare(c, n, r, ++m->compared);
    m->compared_term = raft_log_term(&r->log, last);
}

/* ---- commits ------------------------------------------------------------- */

static void commit(struct check_raft *c, const struct node *n,
                   const struct raft *r, uint64_t index)
{
    struct raft_entry e = raft_log_get(&r->log, index);
    struct committed now = {e.term, r->term, hash_of(&e), n->id};

    if (index > c->log_len + 1)
        return; /* nobody was looked at in time; the one before will come */
    if (index == c->log_len + 1) {
        if (c->log_len == c->log_cap) {
            c->log_cap = c->log_cap != 0 ? c->log_cap * 2 : 256;
            c->log = xrealloc(c->log, c->log_cap * sizeof *c->log);
        }
        c->log[c->log_len++] = now;
        return;
    }
    const struct committed *old = &c->log[index - 1];
    if (old->term != now.term || old->hash != now.hash)
        history_violation(c->options.history, "state-machine",
                          "n%d committed entry %llu of term %llu, n%d had "
                          "committed another one of term %llu there",
                          n->id, (unsigned long long)index,
                          (unsigned long long)now.term, old->by,
                          (unsigned long long)old->term);
}

static void compare_commits(struct check_raft *c, const struct node *n,
                            struct member *m, const struct raft *r)
{
    if (r->commit < m->commit)
        history_violation(c->options.history, "commit-back",
                          "the commit index of n%d went from %llu to %llu",
                          n->id, (unsigned long long)m->commit,
                          (unsigned long long)r->commit);
    if (m->commit < r->log.base_index)
        m->commit = r->log.base_index;
    while (m->commit < r->commit)
        commit(c, n, r, ++m->commit);
}

/* ---- leaders ------------------------------------------------------------- */

static void check_leader(struct check_raft *c, const struct node *n,
                         struct member *m, const struct raft *r)
{
    int32_t *known = map_get(&c->leaders, slice_of(&r->term, sizeof r->term));
    uint64_t last = raft_log_last(&r->log);

    if (known != NULL && *known != n->id)
        history_violation(c->options.history, "election-safety",
                          "n%d and n%d lead term %llu", *known, n->id,
                          (unsigned long long)r->term);
    if (known == NULL) {
        known = xmalloc(sizeof *known);
        *known = n->id;
        map_put(&c->leaders, slice_of(&r->term, sizeof r->term), known);
    }
    if (m->leads == r->term)
        return;
    m->leads = r->term;
    check_moment(&c->options, MOMENT_ACTIVE, n);
    memset(m->matches, 0, sizeof m->matches);
    if (c->log_len == 0 || c->log_len <= r->log.base_index)
        return;
    /* Leaders of later terms may have committed entries since it was elected,
     * while it does not know yet, earlier terms' entries among them. */
    uint64_t index = c->log_len;
    while (index > r->log.base_index && c->log[index - 1].in_term >= r->term)
        index--;
    if (index <= r->log.base_index)
        return;
    if (index > last || raft_log_term(&r->log, index) != c->log[index - 1].term)
        history_violation(c->options.history, "leader-completeness",
                          "n%d leads term %llu without entry %llu of term "
                          "%llu, which was committed",
                          n->id, (unsigned long long)r->term,
                          (unsigned long long)index,
                          (unsigned long long)c->log[index - 1].term);
}

/* ---- what is on disk ----------------------------------------------------- */

/* The value of a record of raft/store.h. */
static bool stored(const struct node *n, struct slice key, struct slice *value)
{
    char path[128];

    snprintf(path, sizeof path, "%s/leat-controller/raft",
             n->server->broker.config->metadata_log_dir);
    return kv_disk_durable(n->host->disk, path, key, value);
}

static uint64_t term_on_disk(const struct node *n, int32_t *vote)
{
    struct slice value;

    if (!stored(n, SLICE("v"), &value) || value.len < 12)
        return 0;
    *vote = (int32_t)be32_get(value.data + 8);
    return be64_get(value.data);
}

/* A vote for somebody else that waits for nothing has been told. */
static void check_vote(struct check_raft *c, const struct node *n,
                       struct member *m, const struct raft *r)
{
    int32_t vote = RAFT_ID_NONE;

    if (r->vote == RAFT_ID_NONE || r->vote == n->id || m->voted == r->term ||
        r->grant_due != RAFT_ID_NONE)
        return;
    m->voted = r->term;
    uint64_t term = term_on_disk(n, &vote);
    if (term != r->term || vote != r->vote)
        history_violation(c->options.history, "vote-unsynced",
                          "n%d votes for n%d in term %llu, and on its disk is "
                          "term %llu with a vote for n%d",
                          n->id, r->vote, (unsigned long long)r->term,
                          (unsigned long long)term, vote);
}

/* Term of an entry on disk; 0: it is not there, or behind an image. */
static uint64_t entry_on_disk(const struct node *n, uint64_t index, bool *is)
{
    uint8_t key[9] = {'e'};
    struct slice value;

    be64_put(key + 1, index);
    *is = stored(n, slice_of(key, sizeof key), &value) && value.len >= 8;
    if (*is)
        return be64_get(value.data);
    /* An image that is installed: the log is reset after it, at the next start
     * if need be. */
    for (int i = 0; i < 2 && !*is; i++)
        *is = stored(n, i == 0 ? SLICE("b") : SLICE("i"), &value) &&
              value.len >= 8 && be64_get(value.data) >= index;
    return 0;
}

static void check_match(struct check_raft *c, const struct node *n,
                        const struct raft *r, const struct raft_peer *p)
{
    const struct node *other = NULL;
    int32_t vote;
    bool is;

    for (int i = 0; i < *c->options.nodes_len; i++)
        if (c->options.nodes[i]->id == p->id)
            other = c->options.nodes[i];
    /* It may follow somebody else by now, and drop what it had. */
    if (other == NULL || other->server == NULL || !other->running ||
        term_on_disk(other, &vote) != r->term)
        return;
    uint64_t term = entry_on_disk(other, p->match, &is);
    if (!is || (term != 0 && p->match > r->log.base_index &&
                term != raft_log_term(&r->log, p->match)))
        history_violation(c->options.history, "ack-unsynced",
                          "n%d leads term %llu and counts entry %llu on n%d, "
                          "which has %s on its disk",
                          n->id, (unsigned long long)r->term,
                          (unsigned long long)p->match, p->id,
                          is ? "another" : "none");
}

static void check_matches(struct check_raft *c, const struct node *n,
                          struct member *m, const struct raft *r)
{
    for (size_t i = 0; i < r->peers_len; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (p->id == n->id || p->id >= NODES_MAX ||
            p->match <= m->matches[p->id])
            continue;
        m->matches[p->id] = p->match;
        check_match(c, n, r, p);
    }
}

static bool decides(const struct raft_entry *e)
{
    return e->type == RAFT_ENTRY_DATA && e->data.len != 0;
}

/* Everything that is proposed is in the image by which it decides.  An empty
 * entry only finds out whether it still leads. */
static void check_active(struct check_raft *c, const struct node *n,
                         const struct controller_service *s,
                         const struct raft *r)
{
    uint64_t from = (uint64_t)s->controller.image.applied_index;

    if (!s->controller.active)
        return;
    if (from < r->log.base_index)
        from = r->log.base_index;
    for (uint64_t i = from + 1; i <= raft_log_last(&r->log); i++) {
        struct raft_entry e = raft_log_get(&r->log, i);

        if (decides(&e))
            history_violation(c->options.history, "controller-behind",
                              "n%d is the active controller, has applied %lld, "
                              "and entry %llu of its log holds decisions",
                              n->id,
                              (long long)s->controller.image.applied_index,
                              (unsigned long long)i);
    }
}

void check_raft_turn(struct check_raft *c, struct node *n)
{
    struct controller_service *s =
        controller_role_service(n->server->controller);
    struct member *m = &c->members[n->id];

    ASSERT(n->id < NODES_MAX);
    if (s->raft == NULL || s->closing)
        return;
    const struct raft *r = raft_node_core(s->raft);
    if (m->process != n->process->number)
        *m = (struct member){.process = n->process->number};
    compare_new(c, n, m, r);
    compare_commits(c, n, m, r);
    check_vote(c, n, m, r);
    if (raft_is_leader(r)) {
        check_leader(c, n, m, r);
        check_matches(c, n, m, r);
        check_active(c, n, s, r);
    }
}
