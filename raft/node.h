/* One member of a Raft group: the core, its store, timers and messages, driven
 * in one order (persist, send, apply, answer).  Production and simulator run
 * this same file.
 *
 * Life: raft_node_open (blocks) -> raft_node_start -> ... -> raft_node_close.
 *
 * Entries: the leader's owner proposes bytes and gets their index; every owner
 * gets every committed entry, in order, once per process life, from the one
 * after its durable image on.  A proposal of a leader that loses its term may
 * vanish or may still commit: the index then brings another term, or the same.
 *
 * Leader contract: on_role(leader) comes only after the term's first entry has
 * been committed and given to on_commit, so the state machine is up to date
 * and nothing older can still appear.  on_role(not leader) comes before any
 * on_commit of a later term.
 *
 * Images: the owner keeps its state in a store of its own together with the
 * index and term of the last entry applied, atomically, at its own pace, and
 * says raft_node_compact() when that is durable.  Peers that need entries
 * which are gone get the image as bytes (snapshot_save, snapshot_load).
 *
 * Thread: the loop of options.env; raft_node_open anywhere.  Callbacks may call
 * any function here but raft_node_close and raft_node_start. */
#ifndef RAFT_NODE_H
#define RAFT_NODE_H

#include "raft/raft.h"

struct env;
struct kv;
struct raft_node;

/* How messages leave; implemented by raft/transport.h and by the simulator. */
struct raft_link {
    /* One encoded RaftMessage; takes over *body's memory.  May drop it. */
    void (*send)(void *arg, int32_t to, struct buf *body);
    /* All members, self included, and those who are to be answered without
     * being members, whenever they or their addresses change. */
    void (*set_peers)(void *arg, const struct raft_config *members);
    void *arg;
};

struct raft_owner {
    /* Entry `index` is committed.  data is null for Raft's own entries, which
     * only move the index.  It lives until the callback returns. */
    void (*on_commit)(void *arg, uint64_t index, uint64_t term,
                      struct slice data);
    /* A run of on_commit calls is over: the place to write an image or to
     * answer waiting clients.  May be NULL. */
    void (*on_commit_end)(void *arg);
    /* leader: this node leads term; otherwise leader_id leads, or
     * RAFT_ID_NONE. */
    void (*on_role)(void *arg, bool leader, int32_t leader_id, uint64_t term);
    /* Membership or addresses changed; also once at start.  May be NULL. */
    void (*on_members)(void *arg, const struct raft_config *members);
    /* Append the image as of the last on_commit to *image. */
    void (*snapshot_save)(void *arg, struct buf *image);
    /* Replace the state by this image, make it durable with its index and
     * term, then call raft_node_snapshot_loaded() (now or later).  No on_commit
     * comes before that; the next one is index + 1.  `image` lives until
     * then. */
    void (*snapshot_load)(void *arg, uint64_t index, uint64_t term,
                          struct slice image);
    /* The store refuses writes: this node has stepped down and neither votes
     * nor acknowledges.  A full disk is tried again every second and
     * on_recovered follows; anything else is final and the process should end.
     * `why` is a sentence that lives until the callback returns. */
    void (*on_failed)(void *arg, bool final, const char *why);
    void (*on_recovered)(void *arg); /* may be NULL */
    void *arg;
};

struct raft_node_options {
    struct env *env;
    struct kv *kv;            /* used for nothing else; borrowed */
    const char *name;         /* where it is, for sentences: a path */
    const char *cluster_id;   /* messages of another cluster are dropped */
    struct raft_options raft; /* raft_options_default(node id), then change */
    /* The quorum of a node that starts for the first time; every node is
     * given the same voters.  Afterwards the log knows better, but addresses
     * given here win over those in the log, unless log_addresses_win.  A node
     * that is not among them, or is given nobody, waits to be added by the
     * leader. */
    const struct raft_config *initial;
    bool log_addresses_win;
    /* Where this node listens: told to peers once the members have changed,
     * since some may not know it yet.  NULL: not told. */
    const char *host;
    uint16_t port;
    uint64_t applied_index; /* of the owner's durable image; 0: none */
    uint64_t applied_term;
    struct raft_owner owner;
    struct raft_link link;
};

/* Blocks on reading the store.  0, or a negative errno and a sentence that the
 * caller frees. */
int raft_node_open(const struct raft_node_options *options,
                   struct raft_node **node, char **why);
void raft_node_start(struct raft_node *node);
/* Steps out without ceremony (see raft_node_transfer for a graceful leader).
 * No callback but closed(), which comes later: then the kv may be closed. */
void raft_node_close(struct raft_node *node, void (*closed)(void *arg),
                     void *arg);

/* ---- leader ------------------------------------------------------------- */

/* Copies the bytes.  ERR_NONE and the index it will have; ERR_NOT_LEADER (also
 * between winning and on_role, and while leadership is being handed over),
 * ERR_TOO_LARGE, or ERR_THROTTLING_QUOTA_EXCEEDED when uncommitted_max_bytes
 * are waiting.  All proposals of one loop turn are sent and written together.
 */
int raft_node_propose(struct raft_node *node, struct slice data,
                      uint64_t *index);
/* One membership change; done when the entry at *index is committed.
 * ERR_NOT_LEADER; ERR_REQUEST_TIMED_OUT: another change is under way, or the
 * learner has not caught up, try again; ERR_DUPLICATE_VOTER;
 * ERR_VOTER_NOT_FOUND; ERR_INVALID_REQUEST: last voter, too many, no host. */
int raft_node_change(struct raft_node *node, const struct raft_change *change,
                     uint64_t *index);
/* Hands leadership over, to RAFT_ID_NONE: the voter that has most.  Proposals
 * are refused until it is done or one election timeout has passed; watch
 * on_role.  ERR_NOT_LEADER, ERR_VOTER_NOT_FOUND. */
int raft_node_transfer(struct raft_node *node, int32_t to);

/* ---- everybody ---------------------------------------------------------- */

/* The owner's image is durable up to and with index: older entries may go. */
void raft_node_compact(struct raft_node *node, uint64_t index);
void raft_node_snapshot_loaded(struct raft_node *node);

/* From the link.  `body` is one RaftMessage; false if it was malformed. */
bool raft_node_receive(struct raft_node *node, struct slice body);
void raft_node_peer_lost(struct raft_node *node, int32_t peer);
void raft_node_peer_up(struct raft_node *node, int32_t peer);

/* ---- questions ---------------------------------------------------------- */

struct raft_node_status {
    bool leader;       /* on_role(leader) has been called */
    int32_t leader_id; /* RAFT_ID_NONE: unknown */
    uint64_t term;
    uint64_t first_index; /* oldest entry that can be read */
    uint64_t last_index;  /* proposals of this turn included */
    uint64_t commit_index;
    uint64_t applied_index; /* given to on_commit */
    size_t log_bytes;       /* payloads in memory */
};

void raft_node_status(const struct raft_node *node,
                      struct raft_node_status *status);
int32_t raft_node_leader(const struct raft_node *node);
/* A committed entry that was given to on_commit: false if it is compacted away
 * or not there yet.  data is null for Raft's own entries; lives until control
 * returns to the loop. */
bool raft_node_read(const struct raft_node *node, uint64_t index,
                    struct raft_entry *entry);
/* Members in force, with the configured addresses. */
const struct raft_config *raft_node_members(const struct raft_node *node);
/* What this node, as leader, knows of a member (for DescribeQuorum); NULL on
 * a follower or for a stranger.  Times are env_now_ms times. */
const struct raft_peer *raft_node_peer(const struct raft_node *node,
                                       int32_t id);
/* Everything, to look at: for tests and diagnostics. */
const struct raft *raft_node_core(const struct raft_node *node);

#endif
