/* The share coordinator of one __share_group_state partition: how far each
 * share group has come in each topic partition (KIP-932, "Share coordinator").
 *
 * A pure state machine.  A request, the end of a write or the passing of time
 * goes in, and an update comes out: answers to send now, and writes, which are
 * records for the partition with what has to happen once they are committed.
 * It reads no clock, does no I/O, and has no globals.  One thread owns it.
 *
 * Happy path of one share-partition (a key): the group coordinator sends
 * InitializeShareGroupState.  The leader of the topic partition reads the
 * state, which fences the leaders before it, and writes what its consumers do.
 * A key's first record is a ShareSnapshot, those after it ShareUpdates with
 * what is new, and every so many updates a snapshot again.  What lies before
 * the oldest last snapshot of all keys may be deleted from the log.
 *
 * A key has one write under way at most.  State changes when its record is
 * committed, never before, and by share_coord_replay() alone; whoever comes
 * meanwhile hears COORDINATOR_NOT_AVAILABLE and tries again.  If the commit
 * takes longer than the client is willing to wait, the client hears so, but the
 * write stays under way: its record is in the log and may yet count.
 *
 * A read is a write, too: what a leader is told must neither miss a write that
 * is under way nor come from a coordinator that was replaced and does not know
 * it.  For the same reason a new coordinator is loading, as far as clients can
 * see, until all that it loaded is committed. */
#ifndef BROKER_COORD_SHARE_SHARE_COORD_H
#define BROKER_COORD_SHARE_SHARE_COORD_H

#include "broker/coord/coord.h"
#include "broker/share/state.h"

struct share_coord;
struct share_key;
struct share_ask;

/* Names as in server.properties, without share.coordinator., except for the
 * last two. */
struct share_coord_config {
    int32_t snapshot_update_records_per_snapshot; /* 500 */
    int64_t cold_partition_snapshot_interval_ms;  /* 300000 */
    uint32_t record_max_bytes;                    /* 0: no limit */
    /* All keys and batches here.  Beyond it a new key hears
     * COORDINATOR_NOT_AVAILABLE, and a write that would make a state longer
     * RECORD_LIST_TOO_LARGE; those that make it shorter are taken. */
    size_t states_max_bytes; /* 256 MiB */
};

void share_coord_config_init(struct share_coord_config *config);

/* ---- in: one request ------------------------------------------------------
 * All pointers and slices are borrowed for the call. */
struct share_context {
    void *token; /* comes back with the answer, exactly once */
    int64_t now_ms;
    int64_t wall_ms;
    int16_t version; /* of the API */
    /* What is wrong with a topic partition before the coordinator is asked (it
     * does not exist).  NULL: nothing.  Not asked for a deletion. */
    enum err (*partition_error)(void *arg, struct uuid topic,
                                int32_t partition);
    void *arg;
};

/* ---- out ----------------------------------------------------------------- */

/* An answer to one request.  Its owner sends it and calls share_answer_free().
 */
struct share_answer {
    struct list link;
    void *token;
    enum api_key api;
    int16_t version;
    struct arena arena; /* holds what the response points to */
    union {
        struct initialize_share_group_state_response initialize;
        struct read_share_group_state_response read;
        struct write_share_group_state_response write;
        struct delete_share_group_state_response delete_;
        struct read_share_group_state_summary_response summary;
    } response;
    /* ---- the core's ------------------------------------------------------*/
    int32_t waiting; /* writes that it waits for */
    struct slice group;
    int32_t topics_len;
    int32_t *topic_lens;    /* partitions of each */
    struct share_ask *asks; /* all partitions, one after another */
    int32_t asks_len;
};

/* A request before anything is decided: to be split, or asked as it is. */
struct share_answer *share_answer_new(const struct share_context *context,
                                      enum api_key api, const void *request);
void share_answer_free(struct share_answer *answer);

/* A decision that takes effect when its record is committed.  The caller has
 * it appended, waits, and ends it by share_coord_done().  A failed append
 * changes nothing. */
struct share_coord_write {
    struct coord_pending pending; /* records, and the link in the update */
    /* The rest is the core's. */
    struct share_key *key;       /* NULL: all that was loaded is committed */
    struct coord_records kept;   /* those of `pending` after a timeout */
    int64_t end_offset;          /* of the record, exclusive; likewise */
    struct share_answer *answer; /* NULL: nobody waits */
    struct share_ask *ask;       /* in the answer */
};

/* Everything that one call decided, in order.  share_coord_update_init() first;
 * the caller empties the lists. */
struct share_coord_update {
    struct list answers; /* of share_answer.link */
    struct list writes;  /* of share_coord_write.pending.link */
};

void share_coord_update_init(struct share_coord_update *update);

/* ---- life -----------------------------------------------------------------*/

/* Copies the config.  Ready for share_coord_replay(). */
struct share_coord *share_coord_create(const struct share_coord_config *config);
/* Frees everything.  All writes must have ended. */
void share_coord_free(struct share_coord *coord);

/* Everything is replayed.  Requests are taken from now on, and refused with
 * COORDINATOR_LOAD_IN_PROGRESS until what was replayed is committed. */
void share_coord_activate(struct share_coord *coord, struct coord_time time,
                          struct share_coord_update *update);
/* Leadership is lost.  After it only share_coord_done() for what is under way
 * and share_coord_free() may be called. */
void share_coord_resign(struct share_coord *coord);

/* ---- records --------------------------------------------------------------*/

/* The only mutator of what survives.  `offset` is the record's in the log;
 * offsets rise.  Unknown record types, and versions newer than ours, are
 * skipped (ERR_UNSUPPORTED_VERSION); ERR_MALFORMED leaves the state as it was.
 * An update without its snapshot is of a key that was deleted, and ignored. */
enum err share_coord_replay(struct share_coord *coord, struct slice key,
                            struct slice value, int64_t offset);
/* The end of a write: committed (ERR_NONE), or why not, as append or waiting
 * reported it.  Takes the write: it is freed, or comes back in the update to
 * wait on. */
void share_coord_done(struct share_coord *coord,
                      struct share_coord_write *write, enum err err,
                      struct coord_time time,
                      struct share_coord_update *update);

/* Records below this offset are not needed any more; it never falls.  0 while
 * loading.  The shell deletes them every
 * share.coordinator.state.topic.prune.interval.ms. */
int64_t share_coord_prune_offset(const struct share_coord *coord);

/* ---- events ---------------------------------------------------------------*/

/* One decoded request; `request` is the API's generated struct:
 * InitializeShareGroupState, ReadShareGroupState, WriteShareGroupState,
 * DeleteShareGroupState, ReadShareGroupStateSummary.  All keys it names belong
 * to this partition.  Errors, per topic partition:
 *   INVALID_GROUP_ID, INVALID_REQUEST (a null topic id, a negative partition,
 *     batches that make no sense, a key that was not initialized),
 *   FENCED_STATE_EPOCH, FENCED_LEADER_EPOCH: a newer one is known,
 *   RECORD_LIST_TOO_LARGE: the state would not fit into a record, or here,
 *   COORDINATOR_NOT_AVAILABLE: a write of the key is under way. */
void share_coord_request(struct share_coord *coord,
                         const struct share_context *context, enum api_key api,
                         const void *request,
                         struct share_coord_update *update);
/* The same for a piece of a request, see split.h; takes it, and it comes back
 * as the answer. */
void share_coord_ask(struct share_coord *coord,
                     const struct share_context *context,
                     struct share_answer *piece,
                     struct share_coord_update *update);

/* The answer that says `err` to such a request, without any state. */
struct share_answer *share_refuse(const struct share_context *context,
                                  enum api_key api, const void *request,
                                  enum err err);
/* Makes `err` the answer of all of a request or piece that was asked nobody. */
void share_answer_refuse(struct share_answer *answer, enum err err);

/* A topic is deleted: its keys get tombstones.  How many could not yet, as a
 * write is under way: to be called again.  Walks over all keys. */
uint32_t share_coord_topic_deleted(struct share_coord *coord, struct uuid topic,
                                   struct coord_time time,
                                   struct share_coord_update *update);

/* When share_coord_tick() is due, monotonic; INT64_MAX: never. */
int64_t share_coord_next_deadline(const struct share_coord *coord);
/* Keys whose last snapshot is old and holds up pruning get a new one, a bounded
 * number per call. */
void share_coord_tick(struct share_coord *coord, struct coord_time time,
                      struct share_coord_update *update);

/* ---- looking inside ------------------------------------------------------ */

uint32_t share_coord_count(const struct share_coord *coord);
/* Aborts if an invariant is broken.  Slow; for tests and simulators. */
void share_coord_check(const struct share_coord *coord);
/* The surviving state as text, sorted by key; for comparing a live coordinator
 * with a reloaded one. */
void share_coord_dump(const struct share_coord *coord, struct buf *out);

#endif
