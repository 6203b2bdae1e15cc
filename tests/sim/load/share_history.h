/* Share groups as their clients saw them, and whether a cluster may show them
 * that (KIP-932).  Of one group and one topic.
 *
 *   share-again    a record was handed out though it had been accepted or
 *                  rejected, and that acknowledged, before the fetch was sent
 *   share-two      a record was handed out though somebody else had it
 *   share-count    a record was handed out more often than it may be, or its
 *                  count of deliveries fell behind what a release had stored
 *   share-lost     an acknowledged record was in the end not to be had any
 *                  more, though nobody had accepted or rejected it and it
 *                  cannot have been handed out as often as it may be
 *   share-changed  an offset holds another record than before
 *   share-hole     a record was acquired and is not in the answer (by its
 *                  caller)
 *   share-stuck    not all records were done with in time (by its caller)
 *
 * What a leader answers that was replaced and does not know it is nobody's
 * fault: it may hand out what is done, or held, at the new one.  So a client
 * asks a node for the partition's leader epoch in front of each request, and
 * an answer is held only against what the same node, or one of an epoch that
 * is not later, had answered.  An epoch counts once the node has said it for
 * two seconds, as its partitions hear of it later than its metadata.
 *
 * A client has a record for sure from the answer that gave it until most of the
 * lock's time since its request is over, or it says what becomes of it, or its
 * session may have ended.  Sessions end without a word: so what contradicts it
 * is kept as a suspicion until a later request in the same session is answered,
 * by a node that leads in the same epoch still.
 *
 * Violations go to the history, whose promise counts: with unclean elections
 * nothing is judged.
 *
 * Thread: one.  Times are the caller's milliseconds; "ticks" count events. */
#ifndef TESTS_SIM_LOAD_SHARE_HISTORY_H
#define TESTS_SIM_LOAD_SHARE_HISTORY_H

#include "tests/sim/load/history.h"

enum { SHARE_HISTORY_PARTITIONS_MAX = 8 };

struct share_history;

/* limit: group.share.delivery.count.limit */
struct share_history *share_history_new(struct history *h, int limit,
                                        bool unclean_possible);
void share_history_free(struct share_history *s);
/* For `sent` below. */
uint64_t share_history_now(const struct share_history *s);

/* ---- records ------------------------------------------------------------- */

struct share_history_id {
    int32_t producer;
    int64_t number;
};

/* A record's value. */
void share_history_put(struct buf *out, struct share_history_id id);
bool share_history_parse(struct slice value, struct share_history_id *id);

/* Before records are sent; what it returns goes into share_history_produced(),
 * if they are acknowledged: the first of them is `id` and stands at `offset`,
 * the others follow. */
uint64_t share_history_sending(struct share_history *s, int32_t partition);
void share_history_produced(struct share_history *s, int32_t partition,
                            int64_t offset, struct share_history_id id,
                            int32_t count, uint64_t sending);
/* Behind the last acknowledged one; 0: there is none. */
int64_t share_history_end(const struct share_history *s, int32_t partition);

/* ---- what clients are given ---------------------------------------------- */

/* A request of a client in a session of its, to a node. */
struct share_history_ask {
    int client;
    uint64_t session; /* no other of any client has this number */
    int32_t node;
    uint64_t sent; /* tick */
    int64_t sent_ms;
};

struct share_history_got {
    int32_t partition;
    int64_t offset;
    struct share_history_id id;
    int deliveries;
    int32_t epoch; /* that the node had said; -1: it had not */
    int64_t answered_ms;
    int64_t lock_ms;
};

void share_history_acquired(struct share_history *s,
                            const struct share_history_ask *ask,
                            const struct share_history_got *got);
/* A fetch was not answered and may have acquired anything of the partition. */
void share_history_missed(struct share_history *s, int32_t partition);
/* A request was answered in its session. */
void share_history_alive(struct share_history *s,
                         const struct share_history_ask *ask, int32_t partition,
                         int32_t epoch);
/* The session has ended, or nobody knows. */
void share_history_left(struct share_history *s, int client, uint64_t session);

/* ---- what clients say ---------------------------------------------------- */

/* As in requests. */
enum share_history_type {
    SHARE_HISTORY_ACCEPT = 1,
    SHARE_HISTORY_RELEASE = 2,
    SHARE_HISTORY_REJECT = 3,
    SHARE_HISTORY_RENEW = 4,
};

struct share_history_ack {
    int32_t partition;
    int64_t offset;
    enum share_history_type type;
    int deliveries; /* when it was acquired */
    int32_t epoch;  /* as above */
    int64_t lock_ms;
    int64_t answered_ms; /* of share_history_said() alone */
};

/* Before it is sent. */
void share_history_says(struct share_history *s, int client,
                        const struct share_history_ack *ack);
void share_history_said(struct share_history *s,
                        const struct share_history_ask *ask,
                        const struct share_history_ack *ack,
                        enum history_outcome outcome);

/* ---- the end ------------------------------------------------------------- */

/* The group has nothing left. */
void share_history_judge(struct share_history *s);

struct share_history_counts {
    uint64_t produced, acquired, accepted, released, rejected, refused, missed,
        suspected;
};
const struct share_history_counts *
share_history_counts(const struct share_history *s);

#endif
