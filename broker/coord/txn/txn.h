/* Inside of the transaction coordinator: one transactional id, and what each
 * file gives the others. */
#ifndef BROKER_COORD_TXN_TXN_H
#define BROKER_COORD_TXN_TXN_H

#include "broker/coord/txn/txn_coord.h"

#include "base/heap.h"
#include "base/map.h"
#include "proto/kafka/coordinator_record.h"

enum {
    /* Kafka never gives a producer the last epoch, so that there is always
     * one left to fence it with. */
    TXN_EPOCH_EXHAUSTED = INT16_MAX - 1,
    /* From this EndTxn version on each end bumps the epoch (KIP-890). */
    TXN_END_BUMPS_FROM = 5,
    /* From this AddPartitionsToTxn version on brokers ask, in batches. */
    TXN_ADD_BATCHED_FROM = 4,
    /* transaction.version: from 1 records are flexible, from 2 ends bump. */
    TXN_VERSION_FLEXIBLE = 1,
    TXN_VERSION_BUMPS = 2,
    /* Fewer producer ids left than this: more are asked for. */
    TXN_IDS_LOW = 10,
};

enum partition_marker {
    MARKER_NONE,   /* nothing decided */
    MARKER_QUEUED, /* in coord->queue */
    MARKER_SENT,
    MARKER_FAILED, /* until the transaction's timer */
    MARKER_DONE,
};

struct txn_partition {
    struct list link; /* in coord->queue while QUEUED */
    struct txn *txn;
    struct slice topic; /* owned */
    int32_t partition;
    enum partition_marker marker;
};

/* Partitions that one transaction is to have. */
struct txn_adding {
    struct slice id;
    int64_t producer_id;
    int16_t epoch;
    bool verify; /* whether it has them */
    int16_t client_version;
    const struct add_partitions_to_txn_request_topic *topics;
    int32_t topics_len;
};

/* One transactional id. */
struct txn {
    struct slice id; /* owned */
    bool exists;     /* false: its first record is under way */
    /* The transition under way, or NULL.  Nothing else may change it. */
    struct txn_write *under_way;
    struct list waits; /* of wait.c: for the end of what is under way */
    uint32_t waits_len;
    /* Ongoing: when it times out.  Prepare*: when to try again what failed.
     * Else: when the id expires. */
    struct heap_node timer;

    /* ---- what the last committed record says -----------------------------*/
    enum txn_state state;
    int64_t producer_id;
    int64_t previous_producer_id; /* before the last change; -1: none */
    /* Prepare*: the one that takes over at the end; -1: none. */
    int64_t next_producer_id;
    int16_t epoch;
    /* Before the last bump that its producer asked for; -1: a bump that was to
     * fence it.  Not in the records. */
    int16_t last_epoch;
    int16_t client_version; /* transaction.version of who ended it */
    int32_t timeout_ms;
    int64_t start_wall_ms; /* -1: none */
    int64_t update_wall_ms;
    struct map partitions; /* of struct txn_partition, owned */

    /* ---- Prepare* --------------------------------------------------------*/
    uint64_t round;     /* names this decision in markers */
    uint32_t unwritten; /* partitions without their marker */
    uint32_t attempts;  /* that failed, for the pause before the next */
    bool slow;          /* one said FENCED: the longest pause */
};

struct txn_coord {
    struct txn_config config;
    struct map txns; /* of struct txn, owned */
    size_t bytes;    /* of ids, partitions, and waits */
    struct heap timers;
    struct heap waits;      /* when they are over */
    struct coord_time time; /* of the call in progress */
    enum { TXN_COORD_LOADING, TXN_COORD_ACTIVE, TXN_COORD_RESIGNED } life;
    int32_t epoch;
    /* producer ids [ids_next, ids_end) */
    int64_t ids_next;
    int64_t ids_end;
    uint64_t rounds;
    struct list queue;          /* of txn_partition.link: markers to send */
    uint32_t markers_in_flight; /* sent, not ended */
};

/* One call: what it works on and where its decisions go. */
struct txn_step {
    struct txn_coord *coord;
    struct coord_time time;
    struct txn_update *update;
};

/* ---- txn.c: ids and their partitions -------------------------------------*/

struct txn *txn_find(const struct txn_coord *coord, struct slice id);
struct txn *txn_add(struct txn_coord *coord, struct slice id);
void txn_remove(struct txn_coord *coord, struct txn *txn);
bool txn_has(const struct txn *txn, struct slice topic, int32_t partition);
/* Harmless for one that it has. */
void txn_add_partition(struct txn_coord *coord, struct txn *txn,
                       struct slice topic, int32_t partition);
void txn_clear_partitions(struct txn_coord *coord, struct txn *txn);
bool txn_is_prepared(const struct txn *txn);
bool txn_is_complete(const struct txn *txn);
/* Nothing more may be kept; the request hears COORDINATOR_NOT_AVAILABLE. */
bool txn_coord_is_full(const struct txn_coord *coord);
/* -1: none left. */
int64_t txn_take_id(struct txn_coord *coord);

/* ---- record.c: what a record says ----------------------------------------*/

/* A value to start a transition from: what is now true of `txn`. */
struct transaction_log_value txn_value(const struct txn *txn);
/* Partitions of `txn` and those of `more` (which may be NULL) into the value,
 * in `arena`. */
void txn_value_partitions(
    struct transaction_log_value *value, const struct txn *txn,
    const struct add_partitions_to_txn_request_topic *more, int32_t more_len,
    struct arena *arena);
/* The write of a transition; it is under way from here on.  The answer may be
 * NULL.  Updates the value's time. */
struct txn_write *txn_write(struct txn_step *step, enum txn_write_kind kind,
                            struct txn *txn,
                            struct transaction_log_value *value,
                            struct txn_answer *answer);
void txn_write_tombstone(struct txn_step *step, struct txn *txn);
struct txn_write *txn_write_new(enum txn_write_kind kind, struct txn *txn);
void txn_write_free(struct txn_write *write);
uint32_t txn_write_bytes(const struct txn_write *write);
/* Takes back a write that was not sent yet. */
void txn_write_drop(struct txn_write *write);

/* ---- the requests --------------------------------------------------------*/

void txn_init_request(struct txn_step *step, const struct txn_context *context,
                      const struct init_producer_id_request *request);
void txn_add_partitions_request(
    struct txn_step *step, const struct txn_context *context,
    const struct add_partitions_to_txn_request *request);
void txn_add_offsets_request(struct txn_step *step,
                             const struct txn_context *context,
                             const struct add_offsets_to_txn_request *request);
void txn_end_request(struct txn_step *step, const struct txn_context *context,
                     const struct end_txn_request *request);
void txn_describe_request(struct txn_step *step,
                          const struct txn_context *context,
                          const struct describe_transactions_request *request);
void txn_list_request(struct txn_step *step, const struct txn_context *context,
                      const struct list_transactions_request *request);

/* ---- add.c ---------------------------------------------------------------*/

/* Nothing is under way.  ERR_NONE: the write answers. */
enum err txn_add_judged(struct txn_step *step, struct txn *txn,
                        const struct txn_adding *adding,
                        struct txn_answer *answer, int32_t slot);

/* ---- wait.c --------------------------------------------------------------*/

/* False: it may not wait.  Else the answer waits for it, as for a write. */
bool txn_wait(struct txn_step *step, struct txn *txn,
              const struct txn_adding *adding, struct txn_answer *answer,
              int32_t slot);
/* What was under way has ended. */
void txn_waits_go_on(struct txn_step *step, struct txn *txn);
void txn_waits_refuse(struct txn_step *step, struct txn *txn, enum err err);
void txn_waits_refuse_all(struct txn_step *step, enum err err);
/* Ends one that is over; false: none is. */
bool txn_waits_tick(struct txn_step *step);

/* ---- end.c ---------------------------------------------------------------*/

/* Aborts the ongoing transaction with an epoch that its producer does not have.
 * FENCE or TIMEOUT. */
void txn_fence(struct txn_step *step, struct txn *txn, enum txn_write_kind kind,
               struct txn_answer *answer);

/* ---- markers.c -----------------------------------------------------------*/

/* The transaction is decided, by its committed record. */
void txn_markers_start(struct txn_step *step, struct txn *txn);
/* What had failed, again. */
void txn_markers_retry(struct txn_step *step, struct txn *txn);
/* As many as may be in flight. */
void txn_markers_pump(struct txn_step *step);
void txn_markers_arm(struct txn_coord *coord, struct txn *txn);

/* ---- timer.c -------------------------------------------------------------*/

/* Sets the timer that belongs to the state. */
void txn_timer_arm(struct txn_coord *coord, struct txn *txn);
/* Tries again after an interval. */
void txn_timer_again(struct txn_coord *coord, struct txn *txn);

/* ---- answer.c ------------------------------------------------------------*/

struct txn_answer *txn_answer_new(const struct txn_context *context,
                                  enum api_key api);
void txn_answer_send(struct txn_step *step, struct txn_answer *answer);
/* One write that the answer waits for has ended; sends it after the last. */
void txn_answer_write_ended(struct txn_step *step, struct txn_answer *answer);
/* Puts the error where the API has it; `slot` as in txn_write. */
void txn_answer_fail(struct txn_answer *answer, int32_t slot, enum err err);
/* As a version may hear it: older ones do not know PRODUCER_FENCED. */
int16_t txn_error_code(enum api_key api, int16_t version, enum err err);

#endif
