/* The Raft core: leader election, log replication, membership, snapshots.
 *
 * Pure state machine, one thread.  It never reads a clock, draws a random
 * number, sends or writes: time and chance arrive in the event, and everything
 * to be done in the world is described in the update.  The caller carries an
 * update out in this order:
 *
 *   1. persist  Queue what update.persist_seq covers for the disk, behind all
 *               earlier writes, in one transaction or several in order.  Do not
 *               wait for it: report RAFT_PERSISTED with the number when it is
 *               durable.  One report may cover many writes (group commit).
 *   2. send     Hand over update.messages at once.  None of them depends on a
 *               write that is still under way: the core itself holds back vote
 *               requests, votes and acknowledgements until RAFT_PERSISTED says
 *               that the term, the vote or the entries are durable.
 *   3. apply    Give entries apply_from..apply_to to the state machine.  They
 *               are committed and durable here.
 *   4. answer   error and index of a proposal, role changes, new timer.
 *
 * Rules and where they come from (Ongaro & Ousterhout 2014, "paper"; Ongaro's
 * thesis 2014):
 *   election restriction                       paper 5.4.1   election.c
 *   pre-vote, leader lease                     thesis 9.6    election.c
 *   check quorum                               thesis 6.2    election.c
 *   log matching, conflict hints               paper 5.3     replication.c
 *   commit by counting own term only           paper 5.4.2   replication.c
 *   no-op at the start of a term               paper 8       election.c
 *   pipelining, parallel write on the leader   thesis 10.2   progress.c
 *   one membership change at a time            thesis 4.1-4.3, with the fix of
 *     2015: not before an entry of the own term is committed  membership.c
 *   leadership transfer                        thesis 3.10   election.c
 *   snapshots                                  paper 7       snapshot.c
 *
 * Ours: RAFT_PEER_LOST.  When the transport sees a peer's connection reset, its
 * process is most likely dead.  A follower then gives up the lease of a leader
 * that it lost and asks for pre-votes after a few milliseconds; pre-vote
 * keeps this harmless when the evidence was wrong, since nodes that still hear
 * the leader refuse.
 *
 * Also ours: a RAFT_TICK that comes later than asked for says that this node
 * did not run; that time does not count as silence of others (election.c).  And
 * a leader whose disk holds up what a majority of others has durable hands
 * leadership over (transfer.c): its heartbeats would keep the others from
 * electing one that gets on.
 *
 * Indexes are inclusive unless a name says otherwise.  Times are monotonic
 * milliseconds.  Messages come from peers: the core treats them as
 * possibly wrong, never asserts on them, and reports in update.complaint. */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "base/arena.h"
#include "raft/config.h"
#include "raft/log.h"

enum {
    RAFT_INFLIGHT_MAX = 64, /* bound of raft_options.inflight_max_messages */
    RAFT_MESSAGE_ENTRIES_MAX = 4096,
};

/* Larger indexes and terms from a peer are refused, so sums cannot wrap. */
#define RAFT_INDEX_MAX (UINT64_C(1) << 60)

struct raft_options {
    int32_t id;
    /* A follower waits [e, 2e) without hearing from its leader; a leader that
     * does not hear from a majority for e steps down, and one whose disk makes
     * the others wait for e hands over.  Default 1000. */
    int64_t election_timeout_ms;
    /* Default 150; at most a third of the election timeout. */
    int64_t heartbeat_ms;
    /* While there is no leader, the wait before asking for (pre-)votes is
     * random in [min, max); default 10..60. */
    int64_t election_fast_min_ms;
    int64_t election_fast_max_ms;
    /* Payload bytes of one append; a single larger entry goes alone. */
    size_t message_max_bytes; /* default 1 MiB */
    /* Per peer, sent and not acknowledged. */
    size_t inflight_max_messages; /* default 64 */
    size_t inflight_max_bytes;    /* default 8 MiB */
    /* Proposals are refused beyond these. */
    size_t entry_max_bytes;       /* default 8 MiB */
    size_t uncommitted_max_bytes; /* default 64 MiB */
    size_t snapshot_chunk_bytes;  /* default 1 MiB */
    uint64_t snapshot_max_bytes;  /* refused above; default 4 GiB */
    /* Entries kept behind a compaction, so that a peer that is a little behind
     * does not need a snapshot.  Default 1024. */
    uint64_t compact_keep_entries;
};

/* The defaults for node `id`. */
struct raft_options raft_options_default(int32_t id);

/* ---- messages ----------------------------------------------------------- */

enum raft_message_type {
    RAFT_VOTE_REQUEST,
    RAFT_VOTE_REPLY,
    RAFT_APPEND, /* also the heartbeat */
    RAFT_APPEND_REPLY,
    RAFT_SNAPSHOT, /* one chunk */
    RAFT_SNAPSHOT_REPLY,
    RAFT_TIMEOUT_NOW, /* "start an election now": leadership transfer */
};

struct raft_message {
    enum raft_message_type type;
    int32_t from;
    int32_t to;
    uint64_t term; /* the sender's current term */
    /* Where the sender listens; host NULL: not told.  The driver's business,
     * the core does not look. */
    const char *host;
    uint16_t port;
    union {
        struct {
            uint64_t vote_term; /* pre-vote: the term it would campaign in */
            bool pre;
            bool transfer; /* asked by the leader: leases do not count */
            uint64_t last_index;
            uint64_t last_term;
        } vote_request;
        struct {
            uint64_t vote_term; /* as asked */
            bool pre;
            bool granted;
        } vote_reply;
        struct {
            uint64_t prev_index;
            uint64_t prev_term;
            uint64_t commit;
            const struct raft_entry *entries; /* prev_index + 1, ... */
            size_t entries_len;
        } append;
        struct {
            bool rejected;
            uint64_t match; /* durable and equal to the leader's log */
            uint64_t asked; /* rejected: the prev_index that did not match */
            uint64_t hint_index; /* rejected: the leader may try here next */
            uint64_t hint_term;
        } append_reply;
        struct {
            uint64_t index; /* last entry the image contains */
            uint64_t index_term;
            uint64_t config_index;
            const struct raft_config *config; /* in force at index */
            uint64_t offset;
            uint64_t size; /* of the whole image */
            /* Received: the bytes.  To send: null; the caller puts in len bytes
             * of the image from offset. */
            struct slice data;
            size_t len;
        } snapshot;
        struct {
            uint64_t index;
            uint64_t offset; /* next byte wanted; size: all received */
        } snapshot_reply;
    };
};

/* ---- events ------------------------------------------------------------- */

enum raft_event_type {
    RAFT_START,     /* once, first */
    RAFT_TICK,      /* update.deadline_ms has come (earlier is harmless) */
    RAFT_RECEIVED,  /* .message */
    RAFT_PERSISTED, /* .seq: every write up to it is durable */
    RAFT_PROPOSE,   /* .proposals: the owner's entries, leader only */
    RAFT_CHANGE,    /* .change: one membership change, leader only */
    RAFT_TRANSFER,  /* .peer: give it leadership; RAFT_ID_NONE: the best one */
    RAFT_PEER_LOST, /* .peer: its connection was reset or refused */
    RAFT_PEER_UP,   /* .peer: connected again */
    RAFT_COMPACT,   /* .index: the owner's image holds it durably */
    RAFT_SNAPSHOT_READY,     /* .index, .size: image asked for by
                                update.snapshot_wanted; index is what has been
                                given out for apply */
    RAFT_SNAPSHOT_INSTALLED, /* the image of update.snapshot_install is durable
                                in the owner's store */
    RAFT_STORE_FAILED,       /* writes fail: step down and stay silent ... */
    RAFT_STORE_RECOVERED,    /* ... until they work again */
};

enum raft_change_type {
    RAFT_ADD_LEARNER, /* or change its address */
    RAFT_PROMOTE,     /* learner to voter; must have caught up */
    RAFT_DEMOTE,      /* voter to learner */
    RAFT_REMOVE,      /* voter or learner */
};

struct raft_change {
    enum raft_change_type type;
    struct raft_member member; /* id; host and port for RAFT_ADD_LEARNER */
};

struct raft_event {
    enum raft_event_type type;
    int64_t now_ms;
    uint64_t random; /* fresh random bits */
    union {
        const struct raft_message *message;
        uint64_t seq;
        struct {
            const struct slice *proposals;
            size_t proposals_len;
        };
        const struct raft_change *change;
        int32_t peer;
        struct {
            uint64_t index;
            uint64_t size;
        };
    };
};

/* ---- updates ------------------------------------------------------------ */

/* Filled completely by every raft_step(); what it points to lives until the
 * next one.  Initialise with RAFT_UPDATE_INIT, free once at the end. */
struct raft_update {
    /* persist; all zero when there is nothing */
    uint64_t persist_seq;   /* 0: nothing to persist */
    bool persist_vote;      /* raft.term and raft.vote */
    bool persist_base;      /* raft.log.base_*, raft_base_config(): delete
                               entries up to base_index */
    uint64_t truncate_from; /* 0: none; delete entries >= this, first */
    uint64_t append_from;   /* 0: none; write these entries (raft_log_get) */
    uint64_t append_to;
    bool persist_incoming; /* raft.incoming: what image is about to replace the
                              log, in case we die between the two */

    /* send */
    struct raft_message *messages;
    size_t messages_len;
    size_t messages_cap;

    /* apply */
    uint64_t apply_from; /* 0: none */
    uint64_t apply_to;

    /* answer */
    int error;           /* of PROPOSE, CHANGE, TRANSFER: an enum err */
    uint64_t index;      /* of PROPOSE: the first entry's; of CHANGE */
    bool role_changed;   /* role, leader or term */
    bool config_changed; /* members or addresses */
    int64_t deadline_ms; /* RAFT_TICK then; INT64_MAX: never */

    /* snapshots */
    bool snapshot_wanted;  /* make an image as of the last applied entry, then
                              RAFT_SNAPSHOT_READY */
    bool snapshot_release; /* nobody needs that image any more */
    /* Received bytes to add to the image being received; offset 0 starts one
     * anew.  raft.incoming tells index, term, size. */
    struct slice snapshot_chunk;
    bool snapshot_chunk_first;
    bool snapshot_install; /* it is complete, and its identity durable:
                              install, then RAFT_SNAPSHOT_INSTALLED */

    const char *complaint; /* NULL, or why a message was refused */

    struct arena scratch;
};

#define RAFT_UPDATE_INIT ((struct raft_update){0})
void raft_update_free(struct raft_update *u);

/* ---- state -------------------------------------------------------------- */

enum raft_role {
    RAFT_FOLLOWER, /* learners and non-members too */
    RAFT_PRECANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

enum raft_progress_state {
    RAFT_PROBE,        /* where its log ends is unknown: one append at a time */
    RAFT_REPLICATE,    /* known: appends are pipelined */
    RAFT_SNAPSHOTTING, /* it needs entries that are gone */
};

/* What a leader knows about one member, itself included. */
struct raft_peer {
    int32_t id;
    bool voter;
    enum raft_progress_state state;
    uint64_t match; /* durable there; 0 unknown */
    uint64_t next;  /* first entry to send; > match */
    uint64_t commit_sent;
    bool paused;        /* probe sent, waiting for its answer or a heartbeat */
    bool lost;          /* connection down; cleared by hearing from it */
    int64_t contact_ms; /* last answer in this term */
    int64_t caught_up_ms; /* last time it had everything the leader had */
    uint64_t snapshot_offset;
    bool snapshot_waiting; /* a chunk is on its way */
    bool snapshot_asked;   /* and so is the question whether it arrived */
    int64_t snapshot_sent_ms;
    /* Appends on their way, oldest first: last index and payload bytes. */
    struct {
        uint64_t last;
        size_t bytes;
    } inflight[RAFT_INFLIGHT_MAX];
    size_t inflight_head;
    size_t inflight_len;
    size_t inflight_bytes;
    enum { RAFT_VOTE_UNKNOWN, RAFT_VOTE_YES, RAFT_VOTE_NO } vote;
};

/* A configuration and the entry that brought it (0: the initial one). */
struct raft_config_at {
    uint64_t index;
    struct raft_config config;
};

struct raft {
    struct raft_options options;

    /* persistent (paper figure 2) */
    uint64_t term;
    int32_t vote; /* in term; RAFT_ID_NONE */
    struct raft_log log;
    /* [0] is in force at log.base_index, the last one now; the entries of the
     * others are in the log. */
    struct raft_config_at *configs;
    size_t configs_len;

    /* durability */
    uint64_t seq;           /* last write asked for */
    uint64_t persisted_seq; /* last one durable */
    uint64_t vote_seq;      /* the write that makes term and vote durable */
    uint64_t stable;        /* entries up to here are durable */
    bool store_failed;

    /* volatile */
    enum raft_role role;
    int32_t leader;   /* RAFT_ID_NONE: unknown */
    uint64_t commit;  /* never decreases */
    uint64_t applied; /* given out for apply; <= commit, <= stable */
    int64_t now_ms;   /* of the event being handled */
    uint64_t random;  /* likewise */
    int64_t election_deadline_ms;
    int64_t leader_contact_ms;
    bool stall_forgiven;  /* the wait for the leader was prolonged, since we
                             stood  still; cleared by hearing from it */
    unsigned fast_rounds; /* elections tried since a leader was last known */

    /* follower */
    uint64_t verified; /* log equals the leader's up to here, this term */
    bool ack_due;      /* an append waits for its entries to be durable */
    int32_t grant_due; /* vote given, waits to be durable; RAFT_ID_NONE */
    struct {
        bool active;     /* chunks are arriving */
        bool complete;   /* all bytes are here; appends wait */
        uint64_t seq;    /* the write of its identity, see persist_incoming */
        bool installing; /* handed to the owner */
        int32_t from;
        uint64_t from_term; /* in which from led */
        uint64_t index;
        uint64_t term;
        uint64_t size;
        uint64_t offset; /* received so far */
        uint64_t config_index;
        struct raft_config config;
    } incoming;

    /* candidate */
    bool requests_due; /* own vote is not durable yet */
    bool transferred;  /* campaigns because the leader asked */

    /* leader */
    struct raft_peer *peers; /* one for each member, same order */
    size_t peers_len;
    uint64_t term_start;      /* index of this term's no-op */
    size_t uncommitted_bytes; /* proposed and not committed */
    int64_t heartbeat_deadline_ms;
    int32_t transfer_to; /* RAFT_ID_NONE */
    int64_t transfer_deadline_ms;
    int64_t held_up_since_ms; /* what is committed waits for our disk, which
                                 has written nothing since; INT64_MAX: no */
    uint64_t held_up_at;      /* stable then */
    struct {
        bool wanted; /* asked for, not ready */
        bool ready;
        uint64_t index;
        uint64_t term;
        uint64_t size;
        uint64_t config_index;
        struct raft_config config;
    } snapshot;
};

/* What a store gives back at start. */
struct raft_stored {
    uint64_t term;
    int32_t vote;
    struct raft_log log;
    struct raft_config_at base_config; /* in force at log.base_index */
};

/* Takes over stored's memory.  `applied`: the last entry in the owner's durable
 * image; log.base_index <= applied <= last. */
void raft_init(struct raft *r, const struct raft_options *options,
               struct raft_stored *stored, uint64_t applied);
void raft_free(struct raft *r);

void raft_step(struct raft *r, const struct raft_event *event,
               struct raft_update *update);

/* ---- questions ---------------------------------------------------------- */

/* The configuration in force. */
const struct raft_config *raft_config_now(const struct raft *r);
uint64_t raft_config_now_index(const struct raft *r);
const struct raft_config *raft_base_config(const struct raft *r,
                                           uint64_t *index);
static inline bool raft_is_leader(const struct raft *r)
{
    return r->role == RAFT_LEADER;
}
/* ERR_NONE if a proposal of this size would be taken now; ERR_NOT_LEADER,
 * ERR_TOO_LARGE, or ERR_THROTTLING_QUOTA_EXCEEDED when too much is waiting. */
int raft_can_propose(const struct raft *r, size_t size_bytes);
/* NULL if it is no member. */
const struct raft_peer *raft_peer_find(const struct raft *r, int32_t id);

/* Aborts if `r` is in a state that no sequence of events may reach. */
void raft_check(const struct raft *r);

#endif
