/* Idempotent producers of one partition (KIP-98): the last five batches of each
 * producer id, so that a retry is answered with its original offset and a gap
 * in sequence numbers is refused.
 *
 * The state is rebuilt from the log itself: followers apply what they copy, a
 * restart loads the newest snapshot file (Kafka's .snapshot format) and applies
 * the batches behind it.  Pure, but for load and store.  One thread. */
#ifndef BROKER_REPLICA_PRODUCERS_H
#define BROKER_REPLICA_PRODUCERS_H

#include "base/env.h"
#include "base/error.h"
#include "proto/record/batch.h"

struct producers;
struct log;

struct producers *producers_new(void);
void producers_free(struct producers *p);

enum producers_verdict {
    PRODUCERS_APPEND,
    PRODUCERS_DUPLICATE, /* answer with *offset and *timestamp, don't append */
    PRODUCERS_REFUSE,    /* *error: OUT_OF_ORDER_SEQUENCE_NUMBER,
                            INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID,
                            DUPLICATE_SEQUENCE_NUMBER */
};

/* Leader, before the append.  `log_start` as in log_start_offset(). */
enum producers_verdict producers_check(const struct producers *p,
                                       const struct batch *b, int64_t *offset,
                                       int64_t *timestamp, enum err *error);
/* After the append, on leader and follower, and while recovering. */
void producers_apply(struct producers *p, const struct batch *b,
                     int64_t now_wall_ms);
/* Forgets producers that wrote nothing for expiration_ms. */
void producers_expire(struct producers *p, int64_t now_wall_ms,
                      int64_t expiration_ms);
size_t producers_count(const struct producers *p);

/* Writes the state as of end_offset to DIR/<end_offset>.snapshot and deletes
 * all but the two newest. */
enum err producers_store(struct env *env, const struct producers *p,
                         const char *dir, int64_t end_offset);
/* The state as of the log's end, from the newest usable snapshot at or below it
 * and the log.  Snapshots above the end are deleted; a damaged one is skipped
 * with a log line.  *out is NULL when no producer is known.  Blocking; reads
 * nothing when the log is empty or wholly covered. */
enum err producers_load(struct env *env, struct log *log, int64_t now_wall_ms,
                        struct producers **out);

#endif
