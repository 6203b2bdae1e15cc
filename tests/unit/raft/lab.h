/* A bench for the core alone: a few `struct raft`s, a queue of messages between
 * them and hands to move time and disks.  Nothing happens by itself. */
#ifndef TESTS_RAFT_LAB_H
#define TESTS_RAFT_LAB_H

#include "base/prng.h"
#include "raft/raft.h"

enum { LAB_NODES_MAX = 7 }; /* ids 1..LAB_NODES_MAX */

struct lab_message {
    int32_t from;
    int32_t to;
    struct buf body;
};

struct lab_node {
    bool present;
    struct raft core;
    struct raft_update update; /* of its last event */
    bool disk_stuck;           /* writes stay under way */
    uint64_t seq;              /* last write asked for */
    uint64_t applied;          /* last entry given out */
    struct buf image;          /* received chunks */
    bool install_due;
};

struct lab {
    struct lab_node nodes[LAB_NODES_MAX + 1];
    int64_t now_ms;
    struct prng prng;
    struct lab_message *queue;
    size_t queue_len;
    bool cut[LAB_NODES_MAX + 1][LAB_NODES_MAX + 1]; /* from, to */
    struct buf *trace;                              /* NULL: none */
};

/* Voters 1..voters with empty logs, started. */
void lab_init(struct lab *lab, int voters);
void lab_free(struct lab *lab);
/* A node with a log: terms[i] is the term of entry i + 1.  Replaces what was
 * there; not started. */
void lab_node_with_log(struct lab *lab, int32_t id, int voters, uint64_t term,
                       int32_t vote, const uint64_t *terms, size_t len);
/* One more, which knows voters 1..voters and is none of them. */
void lab_add_outsider(struct lab *lab, int32_t id, int voters);

struct raft *lab_core(struct lab *lab, int32_t id);
/* Gives the event (time and chance are filled in), queues what it sends,
 * reports writes as durable at once unless the disk is stuck. */
void lab_event(struct lab *lab, int32_t id, struct raft_event e);
/* Everything under way on id's disk becomes durable. */
void lab_persist(struct lab *lab, int32_t id);
void lab_cut(struct lab *lab, int32_t a, int32_t b, bool cut); /* both ways */
void lab_isolate(struct lab *lab, int32_t id, bool isolated);
/* The oldest message; false: there is none. */
bool lab_deliver_one(struct lab *lab);
/* Until no message is under way. */
void lab_deliver(struct lab *lab);
/* Messages under way are lost. */
void lab_drop(struct lab *lab);
/* Time passes, deadlines fire, messages arrive at once. */
void lab_run(struct lab *lab, int64_t ms);
/* Makes id's election deadline come first, and lets it campaign. */
void lab_elect(struct lab *lab, int32_t id);
/* The error. */
int lab_propose(struct lab *lab, int32_t id, const char *text);
int lab_change(struct lab *lab, int32_t id, enum raft_change_type type,
               int32_t member);
int lab_transfer(struct lab *lab, int32_t id, int32_t to);
/* The only node that leads in the highest term, or RAFT_ID_NONE. */
int32_t lab_leader(struct lab *lab);
/* "1 1 2" */
char *lab_terms(struct lab *lab, int32_t id, char text[static 256]);

#endif
