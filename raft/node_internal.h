/* Between node.c, node_owner.c and node_image.c.  Nobody else includes this. */
#ifndef RAFT_NODE_INTERNAL_H
#define RAFT_NODE_INTERNAL_H

#include "base/env.h"
#include "raft/node.h"

struct raft_store;

struct raft_node {
    struct raft_node_options options;
    struct raft core;
    struct raft_update update;
    struct raft_store *store;
    struct raft_config members; /* in force, with the configured addresses */
    struct raft_config initial; /* options.initial */
    /* Who leads or asks for votes and is no member in our log, which may be
     * behind: they say where they listen, and are answered. */
    struct raft_config strangers;
    char *name;
    char *host; /* options.host */
    char *cluster_id;

    struct env_timer timer;
    int64_t timer_at_ms; /* INT64_MAX: not running */
    struct env_timer retry;
    struct env_task turn;
    bool turn_posted;

    /* proposals of this turn, back to back */
    struct buf proposals;
    size_t *proposal_lens;
    size_t proposals_len;
    size_t proposals_cap;

    /* what the owner knows, and is to know */
    uint64_t applied;
    uint64_t apply_to;
    struct {
        bool any;
        bool leader;
        int32_t leader_id;
        uint64_t term;
    } told;
    bool members_changed;
    bool settling;
    uint64_t compact_to; /* 0: nothing */

    /* images */
    struct buf image_out; /* being sent */
    bool image_wanted;
    struct buf image_in; /* being received */
    bool install;        /* image_in is complete */
    bool loading;        /* the owner installs it */
    bool loaded;         /* and is done */

    bool store_failing;
    int64_t complained_ms;
    unsigned complaints; /* not logged since then */

    bool closing;
    bool store_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

static inline int32_t self_id(const struct raft_node *n)
{
    return n->core.options.id;
}

/* ---- node.c ------------------------------------------------------------- */

/* One event: proposals made before it first, then the core, the world, the
 * owner. */
void node_step(struct raft_node *n, struct raft_event *e);

/* ---- node_owner.c ------------------------------------------------------- */

/* Brings the owner up to date as far as it may be now. */
void settle(struct raft_node *n);
/* Calls turn() from the loop. */
void post_turn(struct raft_node *n);
/* The leader the owner may know: not this node before its term's no-op is
 * applied. */
int32_t visible_leader(const struct raft_node *n);
/* The owner believes to lead and does not. */
bool role_lost(const struct raft_node *n);

/* ---- node_image.c ------------------------------------------------------- */

/* What the update says about images. */
void images_take(struct raft_node *n);
/* The part of the image that a RAFT_SNAPSHOT to be sent carries. */
struct slice image_chunk(const struct raft_node *n,
                         const struct raft_message *m);
/* At the loop's turn: makes, installs, finishes. */
void images_work(struct raft_node *n);

#endif
