/* Everything a seed decides before its run begins: the cluster's shape and
 * configuration, the network, the workload, and which faults happen when.
 *
 * Swarm testing: each seed draws which kinds of faults and which features are
 * on, and how much of them, so that some runs are all partitions and others all
 * disks.  In a part of the seeds the cluster's members change as well; that is
 * drawn apart, so that it leaves what a seed draws otherwise as it is. */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "base/prng.h"
#include "tests/sim/load/load.h"

#include <stdbool.h>
#include <stdint.h>

/* X(name, text): text says what is done, to node a (and b). */
#define FAULTS(X)                                                              \
    X(KILL, "kill")           /* SIGKILL; started again at the end */          \
    X(KILL_ALL, "kill-all")   /* every node at once */                         \
    X(STOP, "stop")           /* SIGTERM */                                    \
    X(ROLL, "roll")           /* SIGTERM and start, one node after another */  \
    X(POWER, "power")         /* power loss of a host */                       \
    X(POWER_ALL, "power-all") /* of all hosts at once */                       \
    X(PAUSE, "pause")         /* SIGSTOP, SIGCONT at the end */                \
    X(ISOLATE, "isolate")     /* nothing in, nothing out */                    \
    X(DEAF, "deaf")           /* nothing in */                                 \
    X(MUTE, "mute")           /* nothing out */                                \
    X(CUT, "cut")             /* between two nodes */                          \
    X(SPLIT, "split")         /* two halves */                                 \
    X(SLOW, "slow")           /* more delay on all links of a node */          \
    X(LOSSY, "lossy")         /* retransmissions */                            \
    X(NARROW, "narrow")       /* few bytes per second */                       \
    X(RESET, "reset")         /* connections break */                          \
    X(JUMP, "jump")           /* the wall clock jumps */                       \
    X(DISK_SLOW, "disk-slow") /* blocking work takes long */                   \
    X(DISK_STUCK, "disk-stuck") /* and longer */                               \
    X(DISK_FULL, "disk-full")                                                  \
    X(DISK_ERROR, "disk-error") /* writes and syncs fail now and then */       \
    X(ROT, "rot")               /* of an index, while the node is down */      \
    X(WIPE, "wipe")             /* a broker comes back with an empty disk */   \
    X(ADD, "add")               /* one more broker joins */                    \
    X(VOTE, "vote")             /* a controller begins to vote */              \
    X(UNVOTE, "unvote")         /* a controller ceases to vote */              \
    X(LEAVE, "leave")           /* a broker leaves for good */                 \
    /* Only drawn apart, see draw_ambushes() and draw_stalls(). */             \
    X(SYNC_ERROR, "sync-error") /* of the disk's calls only syncs fail */      \
    X(STALL, "stall")           /* one thread of a process stands still */     \
    X(DIR_ERROR, "dir-error")   /* one of several log directories fails, until \
                                   the node is restarted at the end */         \
    X(MOVE, "move") /* replicas are moved to other log directories */

enum fault_kind {
#define X(name, text) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_KINDS
};

extern const char *const fault_names[FAULT_KINDS];

/* What an ambush waits for: things go wrong in a moment that chance would
 * hardly find.  X(name, text): of node n. */
#define MOMENTS(X)                                                             \
    X(NONE, "")                                                                \
    X(ACTIVE, "becomes the active controller")                                 \
    X(LEADER, "begins to lead a partition")                                    \
    X(PROPOSAL, "asks for another in-sync set")                                \
    X(REGISTERED, "registers again")                                           \
    X(DELETED, "decides that a topic is deleted")                              \
    X(CUT, "cuts a log")                                                       \
    /* Only drawn apart, see draw_dirs(). */                                   \
    X(MOVED, "has moved a replica to another directory")

enum moment {
#define X(name, text) MOMENT_##name,
    MOMENTS(X)
#undef X
        MOMENTS_LEN
};

extern const char *const moment_texts[MOMENTS_LEN];

/* Whom an ambush strikes. */
enum aim {
    AIM_IT,         /* whose moment it is */
    AIM_CONTROLLER, /* the active one */
    AIM_A,          /* node a */
    AIMS_LEN
};

struct fault {
    enum fault_kind kind;
    int64_t at_us; /* since the run's faults began */
    /* MOMENT_NONE: then.  Else from then on it waits for its moment, and
     * begins so much after it. */
    enum moment moment;
    enum aim aim;
    int64_t after_us;
    int64_t duration_us;
    int a, b;       /* nodes, by index; taken modulo how many there are */
    int64_t amount; /* what it means depends on the kind */
};

/* From here on only in seeds with changing members. */
enum { FAULT_KINDS_FIXED = FAULT_VOTE };

enum {
    PLAN_FAULTS_MAX = 100,
    PLAN_NODES_FIXED_MAX = 7,
    PLAN_NODES_MAX = 10, /* with changing members */
};

struct plan {
    uint64_t seed;
    /* The first `controllers` nodes are controllers; the others, and these too
     * if `combined`, are brokers. */
    int nodes;
    int controllers;
    bool combined;
    bool members_change;
    int spares; /* controllers that wait to be added, behind the others */
    int shards;
    int dirs;          /* log directories of a node */
    int64_t move_rate; /* bytes per second between them; 0: no limit */
    bool fsync;
    int delete_retention_ms; /* of the brokers */
    int min_isr;
    int replication;
    int roll_ms;
    int lag_max_ms;
    int session_timeout_ms;
    int grace_ms;
    int64_t snapshot_bytes; /* the metadata log is cut at this size */
    int64_t keep_entries;   /* but for so many entries; 0: as usual */
    bool unclean;           /* unclean.leader.election.enable */
    bool aims;              /* many faults strike the active controller */

    int64_t delay_us;
    int64_t jitter_us;
    int32_t drift_ppm[PLAN_NODES_MAX];
    int64_t work_max_us;

    int64_t faults_us; /* how long there are faults */
    struct fault faults[PLAN_FAULTS_MAX];
    int faults_len;

    struct load_options load;
};

void plan_draw(uint64_t seed, struct plan *plan);
/* The configuration file of node `index`; the caller frees it. */
char *plan_properties(const struct plan *plan, int index);
/* On standard output. */
void plan_print(const struct plan *plan);

#endif
