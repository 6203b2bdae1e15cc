/* What the clients of a run saw, and whether a Kafka cluster may show them
 * that.
 *
 * Clients report each event when they learn of it.  What can be judged at once
 * is (a record that changed, a gap in a stream, two owners of a partition);
 * the rest in history_judge(), after a final read of everything.  The first
 * violation is kept: a short name of the checker, and one sentence with all
 * names and numbers.
 *
 *   lost         an acknowledged (acks=all) or once read record is gone
 *   duplicate    a record of an idempotent producer stands at two offsets
 *   reordered    within a producer session a record stands before an earlier
 *                one; or a record that was acknowledged before another was sent
 *                stands behind it
 *   skipped      an idempotent session's sequence has a hole in the log
 *   gap          a reader's stream, or the final log, skips an offset
 *   changed      an offset held, or was acknowledged for, another record
 *   foreign      a record that was never sent, or sent elsewhere
 *   corrupt      a record whose bytes are not those that were sent
 *   epoch-back   a leader epoch in the log is smaller than one before it
 *   watermark    a high watermark went back within a leader epoch
 *   latest       ListOffsets(latest) fell behind what had been read or said
 *   by-time      ListOffsets(timestamp) named a wrong record
 *   range        OFFSET_OUT_OF_RANGE for an offset that the log holds
 *   two-owners   two members own a partition in one generation
 *   zombie       a commit of an older generation was acknowledged
 *   commit-behind  OffsetFetch gave a commit that an acknowledged one replaced
 *   commit-changed OffsetFetch gave what nobody committed
 *   unread       a group passed over an offset: its members were given, or
 *                committed, a later one before any had this one
 *   metadata     an acknowledged change of a topic or config is not there
 *   not-leader   a replica that does not lead answered a fetch (by its caller)
 *   read-back    the final read could not see a partition (by its caller)
 *
 * Time is a count of events ("ticks"), so nothing here depends on clocks.
 * "Asked" ticks are taken with history_now() when a request is sent: an answer
 * is held only against what was known before its request.
 *
 * Thread: one.  Strings are copied.  Numbers of producers and readers are the
 * caller's, small and dense. */
#ifndef TESTS_SIM_LOAD_HISTORY_H
#define TESTS_SIM_LOAD_HISTORY_H

#include "base/slice.h"
#include "base/uuid.h"

struct history;

struct history_promise {
    /* Acknowledged records may be lost: unclean elections, or more power
     * losses at once than replicas survive.  Then only the final log is judged,
     * for what holds in any log. */
    bool unclean_possible;
};

struct history *history_new(const struct history_promise *promise);
void history_free(struct history *h);

/* ---- events -------------------------------------------------------------- */

/* One line per event, without newline; NULL: off. */
typedef void history_trace(void *arg, const char *line);
void history_on_event(struct history *h, history_trace *trace, void *arg);
/* An event that only the trace and the hash care for. */
void history_note(struct history *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Of all events so far: two runs are alike if this is. */
uint64_t history_hash(const struct history *h);
uint64_t history_now(const struct history *h);

/* ---- verdict ------------------------------------------------------------- */

/* Switches a checker off by its name, or all with "all". */
void history_mute(struct history *h, const char *checker);
/* For checkers that live elsewhere; keeps the first. */
void history_violation(struct history *h, const char *checker,
                       const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The first violation: its checker's name and *sentence; NULL: none so far. */
const char *history_verdict(const struct history *h, const char **sentence);
/* Judges what needs the final read.  Partitions that were not read finally are
 * left out. */
void history_judge(struct history *h);

/* ---- topics -------------------------------------------------------------- */

/* The number of an incarnation of a topic, from 0; known from its first
 * mention. */
int history_topic(struct history *h, struct slice name, struct uuid id);
const char *history_topic_name(const struct history *h, int topic);
/* Somebody asked for its deletion: from now on it need not hold anything, and
 * requests that name it may reach another incarnation.  So with one that is
 * first heard of later, from a broker that is behind; in the final read also
 * when the name was wanted again. */
void history_topic_doomed(struct history *h, struct slice name);
/* Somebody asked for a topic of that name: a new one may be it. */
void history_topic_wanted(struct history *h, struct slice name);
/* Topics of that name are compacted, and their records have keys of their own:
 * only a copy of a record may be missing. */
void history_topic_compacted(struct history *h, struct slice name);
bool history_topic_is_doomed(const struct history *h, int topic);
/* Records below `offset` were asked to be deleted. */
void history_delete_asked(struct history *h, int topic, int32_t partition,
                          int64_t offset);

/* As many offsets of a partition are known, at least. */
int64_t history_length(struct history *h, int topic, int32_t partition);

/* ---- writing ------------------------------------------------------------- */

struct history_id { /* a record's identity, as its value says it */
    int topic;      /* the incarnation that it was sent to */
    int32_t producer;
    int64_t number; /* rises by one from 0 per producer */
};

struct history_sent {
    struct history_id id;
    int32_t partition;
    int acks;         /* 0, 1, -1 */
    int64_t session;  /* idempotent: history_session(); else -1 */
    int64_t sequence; /* within session and partition */
    int64_t timestamp_ms;
};

/* One producer id and epoch on one partition. */
int64_t history_session(struct history *h, int32_t producer);
int64_t history_sessions(const struct history *h); /* how many */
/* How many records a producer has sent: the next one's number. */
int64_t history_sent_by(const struct history *h, int32_t producer);
/* Before the first attempt to send it. */
void history_sent(struct history *h, const struct history_sent *sent);
/* offset -1: acknowledged, but not said where (a late duplicate). */
void history_acked(struct history *h, struct history_id id, int64_t offset);
/* Whether it is in the log will never be known; `why` for the trace. */
void history_unknown(struct history *h, struct history_id id, const char *why);

/* ---- reading ------------------------------------------------------------- */

struct history_read {
    int reader;
    int topic;
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch; /* of its batch */
    int64_t timestamp_ms;
    struct history_id id;
    bool sound; /* the bytes are those that were sent */
};

/* A reader's stream (re)starts at offset. */
void history_seek(struct history *h, int reader, int topic, int32_t partition,
                  int64_t offset);
void history_read(struct history *h, const struct history_read *read);
/* The final read of a partition saw all of [start, end).  Its records have
 * come by history_read() since history_final_start(). */
void history_final_start(struct history *h);
void history_final(struct history *h, int topic, int32_t partition,
                   int64_t start, int64_t end);

/* A fetch that carried leader epoch `epoch` (-1: none, ignored) was answered
 * with this high watermark. */
void history_watermark(struct history *h, int topic, int32_t partition,
                       int32_t epoch, uint64_t asked, int64_t watermark);
/* ListOffsets(latest), version 5 or later, that carried a leader epoch. */
void history_latest(struct history *h, int topic, int32_t partition,
                    int32_t epoch, uint64_t asked, int64_t offset);
/* ListOffsets by time that carried a leader epoch: offset -1 when there is
 * none. */
void history_by_time(struct history *h, int topic, int32_t partition,
                     int32_t epoch, uint64_t asked, int64_t time_ms,
                     int64_t offset, int64_t found_ms);
/* A fetch that carried a leader epoch was told OFFSET_OUT_OF_RANGE. */
void history_out_of_range(struct history *h, int topic, int32_t partition,
                          int32_t epoch, uint64_t asked, int64_t offset);

/* ---- groups -------------------------------------------------------------- */

/* SyncGroup succeeded; one call per partition, and one with partition -1 for
 * an empty assignment. */
void history_assigned(struct history *h, const char *group, int32_t generation,
                      const char *member, int topic, int32_t partition);

/* The group changes between protocols and may begin again with small
 * generations, so these say nothing of which commit came later. */
void history_mixes(struct history *h, const char *group);

/* KIP-848, or in a group of both protocols: a member has a partition, until it
 * says that it has not.  Nobody else may have it meanwhile. */
void history_claimed(struct history *h, const char *group, int32_t epoch,
                     const char *member, int topic, int32_t partition);
void history_released(struct history *h, const char *group, const char *member,
                      int topic, int32_t partition);
/* A commit about to be sent; its number is the metadata it carries. */
int64_t history_commit(struct history *h, const char *group, int32_t generation,
                       const char *member, int topic, int32_t partition,
                       int64_t offset);
enum history_outcome { HISTORY_ACKED, HISTORY_REFUSED, HISTORY_UNKNOWN };
void history_committed(struct history *h, int64_t commit,
                       enum history_outcome outcome);
/* A member is given this offset, and the group commits none that it was not
 * given: what groups do that read from the start and commit what they have
 * processed.  Only for groups that say so for every offset. */
void history_delivered(struct history *h, const char *group, int topic,
                       int32_t partition, int64_t offset);
/* OffsetFetch: commit -1 when there is none.  `generation` is the asker's
 * (INT32_MAX after the end): a coordinator that was replaced and does not know
 * may show old offsets to members of old generations. */
void history_offset(struct history *h, const char *group, int32_t generation,
                    int topic, int32_t partition, uint64_t asked,
                    int64_t commit, int64_t offset);

/* ---- progress ------------------------------------------------------------ */

struct history_counts {
    uint64_t sent, acked, unknown, read, assigned, committed, offsets;
};
const struct history_counts *history_counts(const struct history *h);

#endif
