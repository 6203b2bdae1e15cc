/* The transaction coordinator of one __transaction_state partition: which
 * producer owns a transactional id, and how its transaction ends (KIP-98, 360,
 * 447, 664, 890).
 *
 * A pure state machine.  A request, the end of a write, a marker's answer or
 * the passing of time goes in, and an update comes out: answers to send now,
 * writes, which are records for the partition with what has to happen once they
 * are committed, and markers for the partitions of transactions that were
 * decided.  It reads no clock and draws no random numbers, does no I/O, and has
 * no globals.  One thread owns it.
 *
 * Happy path: InitProducerId gives a producer its id and epoch.  Each partition
 * that it writes to is added (Ongoing).  EndTxn writes PrepareCommit or
 * PrepareAbort, and with its commit the transaction is decided: the producer is
 * answered, and a marker goes to each partition until each has it.  Then
 * CompleteCommit or CompleteAbort is written, and the next transaction may
 * begin.
 *
 * A transaction has one transition under way at most.  State changes when its
 * record is committed, never before, and by txn_coord_replay() alone; whoever
 * comes meanwhile hears CONCURRENT_TRANSACTIONS, or waits if he has partitions
 * to be added.  If the commit takes longer
 * than the client is willing to wait, the client hears so, but the transition
 * stays under way: its record is in the log and may yet count.
 *
 * A new coordinator asks for the commit of everything it loaded before it acts
 * on any of it: a decision that only this replica has may be lost with it.
 * Until then it is loading as far as clients can see.
 *
 * What survives is in the records.  The epoch before the last bump by
 * InitProducerId is not (Kafka's layout has no place for it), so a retry of
 * such a call that meets another coordinator is fenced, as in Kafka. */
#ifndef BROKER_COORD_TXN_TXN_COORD_H
#define BROKER_COORD_TXN_TXN_COORD_H

#include "broker/coord/coord.h"

struct txn_coord;
struct txn;

/* Values as in the records. */
enum txn_state {
    TXN_EMPTY = 0,
    TXN_ONGOING = 1,
    TXN_PREPARE_COMMIT = 2,
    TXN_PREPARE_ABORT = 3,
    TXN_COMPLETE_COMMIT = 4,
    TXN_COMPLETE_ABORT = 5,
    /* Names that filters know.  A dead id has a tombstone, and fencing writes
     * PrepareAbort at once, so nothing is ever in these two. */
    TXN_DEAD = 6,
    TXN_PREPARE_EPOCH_FENCE = 7,
};

/* Names as in server.properties, except for the last four. */
struct txn_config {
    int32_t transaction_max_timeout_ms;     /* 900000 */
    int64_t transactional_id_expiration_ms; /* 604800000 */
    int64_t abort_timed_out_interval_ms;    /* 10000: transaction.abort.timed.
                                               out.transaction.cleanup. */
    int64_t remove_expired_interval_ms;     /* 3600000: transaction.remove.
                                               expired.transaction.cleanup. */
    int16_t transaction_version;            /* see txn_coord_set_version() */
    /* All ids and partitions here.  What would exceed it hears
     * COORDINATOR_NOT_AVAILABLE until others expire or end. */
    size_t txns_max_bytes;          /* 256 MiB */
    uint32_t record_max_bytes;      /* of a key and a value; 0: no limit */
    uint32_t markers_in_flight_max; /* 1000; the others wait */
    /* Decisions are numbered from here on (MARKER_DECISIONS in
     * broker/replica/producers.h); other lives have others. */
    uint64_t first_round;
};

void txn_config_init(struct txn_config *config); /* the defaults */

/* ---- in: one request ------------------------------------------------------
 * All pointers and slices are borrowed for the call. */
struct txn_context {
    void *token; /* comes back with the answer, exactly once */
    int64_t now_ms;
    int64_t wall_ms;
    int16_t version; /* of the API */
    /* What is wrong with a partition before the coordinator is asked (it does
     * not exist, the client may not write to it).  NULL: nothing. */
    enum err (*partition_error)(void *arg, struct slice topic,
                                int32_t partition);
    void *arg;
    /* AddOffsetsToTxn: how many partitions __consumer_offsets has; 0: it is
     * not there yet. */
    int32_t offsets_partitions;
};

/* ---- out ----------------------------------------------------------------- */

/* An answer to one request.  Its owner sends it and calls txn_answer_free().
 * The response is complete but for throttle_time_ms. */
struct txn_answer {
    struct list link;
    void *token;
    enum api_key api;
    int16_t version;
    int32_t waiting;    /* the core's: writes that it waits for */
    struct arena arena; /* holds what the response points to */
    union {
        struct init_producer_id_response init_producer_id;
        struct add_partitions_to_txn_response add_partitions_to_txn;
        struct add_offsets_to_txn_response add_offsets_to_txn;
        struct end_txn_response end_txn;
        struct describe_transactions_response describe_transactions;
        struct list_transactions_response list_transactions;
    } response;
};

void txn_answer_free(struct txn_answer *answer);

/* A decision that takes effect when its records are committed.  The caller has
 * them appended, waits, and ends it by txn_coord_done(); the core owns what it
 * means.  A failed append changes nothing. */
struct txn_write {
    struct coord_pending pending; /* records, and the link in the update */
    /* The rest is the core's. */
    enum txn_write_kind {
        TXN_WRITE_LOADED, /* no records: all that was loaded is committed */
        TXN_WRITE_INIT,
        TXN_WRITE_ADD,
        TXN_WRITE_END,
        TXN_WRITE_FENCE,   /* InitProducerId found a transaction to abort */
        TXN_WRITE_TIMEOUT, /* the coordinator's own abort */
        TXN_WRITE_COMPLETE,
        TXN_WRITE_EXPIRE,
    } kind;
    struct txn *txn;           /* borrowed; its only transition; may be NULL */
    struct coord_records kept; /* those of `pending` after a timeout */
    struct txn_answer *answer; /* may be NULL; shared if `waiting` > 1 */
    int32_t slot;              /* ADD: which result of the answer */
    int16_t last_epoch;        /* what the record has no place for */
};

/* A marker for one partition.  The caller sends it to the partition's leader in
 * a WriteTxnMarkers request, whatever leader that is by now, and ends it by
 * txn_coord_marker_done(); after txn_coord_resign() by txn_marker_free(). */
struct txn_marker {
    struct list link;
    struct slice id;    /* owned; the transactional id */
    struct slice topic; /* owned */
    int32_t partition;
    bool committed;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t coordinator_epoch; /* leader epoch of the coordinator's partition */
    int8_t transaction_version; /* KIP-1228 */
    uint64_t round;             /* of which decision */
    /* For who carries it there and back: whose it is, and how it ended. */
    uint64_t sender;
    enum txn_marker_result {
        TXN_MARKER_WRITTEN,
        TXN_MARKER_RETRY,
        /* A newer coordinator or producer was there.  It is asked again,
         * slowly: who is really replaced will be told so by the loss of its
         * leadership. */
        TXN_MARKER_FENCED,
        /* The partition was deleted: the cluster's metadata say so, not a
         * broker that may be behind.  Counts as written. */
        TXN_MARKER_GONE,
    } result;
};

void txn_marker_free(struct txn_marker *marker);

/* What a partition's error in a WriteTxnMarkers response means.  Also for a
 * lost connection (any network error): a retry. */
enum txn_marker_result txn_marker_result_of(enum err err);

/* Everything that one call decided, in order.  Zero-initialise by
 * txn_update_init(); the caller empties the lists. */
struct txn_update {
    struct list answers; /* of txn_answer.link */
    struct list writes;  /* of txn_write.pending.link */
    struct list markers; /* of txn_marker.link */
    /* Few producer ids are left: txn_coord_give_ids() should come.  Set at each
     * call until it has. */
    bool wants_ids;
};

void txn_update_init(struct txn_update *update);

/* ---- life -----------------------------------------------------------------*/

/* Copies the config.  Ready for txn_coord_replay(). */
struct txn_coord *txn_coord_create(const struct txn_config *config);
/* Frees everything.  All writes must have ended. */
void txn_coord_free(struct txn_coord *coord);

/* Everything is replayed.  coordinator_epoch is the leader epoch of the
 * partition.  Requests are taken from now on, and refused with
 * COORDINATOR_LOAD_IN_PROGRESS until what was replayed is committed. */
void txn_coord_activate(struct txn_coord *coord, int32_t coordinator_epoch,
                        struct coord_time time, struct txn_update *update);
/* Leadership is lost.  After it only txn_coord_done() for what is under way and
 * txn_coord_free() may be called; markers are freed by who has them. */
void txn_coord_resign(struct txn_coord *coord, struct txn_update *update);

/* The finalized level of transaction.version, 0 to 2; counts from now on. */
void txn_coord_set_version(struct txn_coord *coord, int16_t level);

/* Producer ids [first, first + count) are this coordinator's alone. */
void txn_coord_give_ids(struct txn_coord *coord, int64_t first, int32_t count);

/* ---- records --------------------------------------------------------------*/

/* The only mutator of what survives.  Unknown record types, and versions newer
 * than ours, are skipped (ERR_UNSUPPORTED_VERSION); ERR_MALFORMED leaves the
 * state as it was. */
enum err txn_coord_replay(struct txn_coord *coord, struct slice key,
                          struct slice value);
/* The end of a write: committed (ERR_NONE), or why not, as append or waiting
 * reported it.  Takes the write: it is freed, or comes back in the update to
 * wait on. */
void txn_coord_done(struct txn_coord *coord, struct txn_write *write,
                    enum err err, struct coord_time time,
                    struct txn_update *update);

/* ---- events ---------------------------------------------------------------*/

/* One decoded request; `request` is the API's generated struct:
 * InitProducerId (with a transactional id; without one it is anybody's),
 * AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, DescribeTransactions,
 * ListTransactions.  All ids it names belong to this partition. */
void txn_coord_request(struct txn_coord *coord,
                       const struct txn_context *context, enum api_key api,
                       const void *request, struct txn_update *update);

/* The answer that says `err` to such a request, without any state; of an id
 * that is empty INVALID_REQUEST. */
struct txn_answer *txn_refuse(const struct txn_context *context,
                              enum api_key api, const void *request,
                              enum err err);

/* What became of a marker.  Takes it.  Late and repeated news are harmless. */
void txn_coord_marker_done(struct txn_coord *coord, struct txn_marker *marker,
                           enum txn_marker_result result,
                           struct coord_time time, struct txn_update *update);

/* When txn_coord_tick() is due, monotonic; INT64_MAX: never. */
int64_t txn_coord_next_deadline(const struct txn_coord *coord);
/* Fires what is due, at most a bounded number of timers per call. */
void txn_coord_tick(struct txn_coord *coord, struct coord_time time,
                    struct txn_update *update);

/* ---- looking inside ------------------------------------------------------ */

/* "PrepareCommit", and so on. */
const char *txn_state_name(enum txn_state state);
uint32_t txn_coord_count(const struct txn_coord *coord);
/* Aborts if an invariant is broken.  Slow; for tests and the simulator. */
void txn_coord_check(const struct txn_coord *coord);
/* The surviving state as text, one line per id, sorted; for comparing a live
 * coordinator with a reloaded one. */
void txn_coord_dump(const struct txn_coord *coord, struct buf *out);

#endif
