/* What the owner is told, and in which order: members, the entries of the term
 * it led, the loss of leadership, entries of later terms, a new role.
 *
 * node.c sets the goal (apply_to, the core's role); settle() works towards it.
 * Callbacks may lead back into node.c and so to settle(), which then only
 * returns: the outer one goes on with the new goal. */
#include "base/planted.h"
#include "raft/node_internal.h"

enum {
    /* Given to the owner before other events get their turn. */
    APPLY_ENTRIES_MAX = 4096,
    APPLY_BYTES_MAX = 4 << 20,
};

/* The owner may be told that it leads: everything before this term is applied
 * and the term's no-op too. */
static bool leads(const struct raft_node *n)
{
    return raft_is_leader(&n->core) && (n->applied >= n->core.term_start ||
                                        PLANTED(CONTROLLER_STARTS_BEHIND));
}

int32_t visible_leader(const struct raft_node *n)
{
    if (n->core.leader == self_id(n) && !leads(n))
        return RAFT_ID_NONE;
    return n->core.leader;
}

bool role_lost(const struct raft_node *n)
{
    return n->told.leader &&
           (!raft_is_leader(&n->core) || n->core.term != n->told.term);
}

static void tell_role(struct raft_node *n)
{
    bool leader = leads(n);
    int32_t leader_id = visible_leader(n);

    if (n->told.any && n->told.leader == leader &&
        n->told.leader_id == leader_id && n->told.term == n->core.term)
        return;
    n->told.any = true;
    n->told.leader = leader;
    n->told.leader_id = leader_id;
    n->told.term = n->core.term;
    n->options.owner.on_role(n->options.owner.arg, leader, leader_id,
                             n->core.term);
}

static void tell_members(struct raft_node *n)
{
    n->members_changed = false;
    if (n->options.owner.on_members != NULL)
        n->options.owner.on_members(n->options.owner.arg, &n->members);
}

static void deliver(struct raft_node *n)
{
    struct raft_entry e = raft_log_get(&n->core.log, n->applied + 1);

    n->applied++;
    n->options.owner.on_commit(n->options.owner.arg, e.index, e.term,
                               e.type == RAFT_ENTRY_DATA ? e.data : SLICE_NULL);
}

/* The next entry is one that the owner proposed while it led: all of its term
 * are.  Whoever asked for it hears yes though leadership is gone by now. */
static bool own_next(const struct raft_node *n)
{
    return !n->loading && n->applied < n->apply_to &&
           raft_log_get(&n->core.log, n->applied + 1).term <= n->told.term;
}

static void tell_commit_end(struct raft_node *n, bool any)
{
    if (any && n->options.owner.on_commit_end != NULL)
        n->options.owner.on_commit_end(n->options.owner.arg);
}

/* One bounded run of entries. */
static void apply_run(struct raft_node *n)
{
    size_t entries = 0, bytes = 0;
    bool any = false;

    while (n->applied < n->apply_to && !n->closing &&
           entries < APPLY_ENTRIES_MAX && bytes < APPLY_BYTES_MAX) {
        if (role_lost(n) && !own_next(n)) {
            tell_commit_end(n, any);
            any = false;
            tell_role(n);
        }
        bytes += raft_log_get(&n->core.log, n->applied + 1).data.len;
        deliver(n);
        entries++;
        any = true;
    }
    tell_commit_end(n, any);
}

void post_turn(struct raft_node *n)
{
    if (n->turn_posted)
        return;
    n->turn_posted = true;
    env_post(n->options.env, &n->turn);
}

void settle(struct raft_node *n)
{
    if (n->settling || n->closing)
        return;
    n->settling = true;
    if (n->members_changed)
        tell_members(n);
    if (role_lost(n) && !own_next(n))
        tell_role(n);
    if (!n->loading)
        apply_run(n);
    if (!role_lost(n) || !own_next(n))
        tell_role(n);
    n->settling = false;
    if (n->applied < n->apply_to || n->members_changed)
        post_turn(n);
}
