/* A __transaction_state partition with one coordinator, for tests: its log is
 * in memory, its high watermark moves when the test says so, markers are held
 * or written, and clients are tokens.
 *
 *     struct ledger l;
 *     ledger_open(&l);
 *     struct who p = init_ok(&l, "t");
 *     ADD(&l, p);
 *     cr_assert_err(end_err(&l, END(&l, p, .commit = true)), ERR_NONE);
 *     ledger_close(&l);
 *
 * Fields of a request that are left out take what an ordinary client sends. */
#ifndef TESTS_UNIT_BROKER_TXN_FIXTURE_H
#define TESTS_UNIT_BROKER_TXN_FIXTURE_H

#include "broker/coord/txn/txn_shard.h"

#include "proto/record/batch.h"

#include <criterion/criterion.h>

enum {
    LEDGER_TOKENS_MAX = 40000,
    LEDGER_BATCHES_MAX = 40000,
    LEDGER_MARKERS_MAX = 20000,
};

struct ledger {
    struct txn_shard *shard;
    struct txn_shard_options options;
    struct coord_time time;
    /* the log */
    struct buf batches[LEDGER_BATCHES_MAX];
    int batches_len;
    int64_t end_offset;
    int64_t high_watermark;
    int32_t leader_epoch;
    bool hold;           /* commits wait for ledger_commit() */
    enum err append_err; /* what append answers; ERR_NONE: it appends */
    /* the partitions */
    bool hold_markers; /* they wait in markers[] for ledger_marker() */
    struct txn_marker *markers[LEDGER_MARKERS_MAX]; /* NULL: ended */
    int markers_len;
    enum err (*partition_error)(void *, struct slice, int32_t);
    int32_t offsets_partitions;
    /* producer ids */
    int64_t next_id;
    bool no_ids;
    /* the clients */
    struct txn_answer *answers[LEDGER_TOKENS_MAX];
    int tokens;
};

void ledger_open(struct ledger *l); /* with an active, empty coordinator */
/* The same, with options set by the test before ledger_start(). */
void ledger_init(struct ledger *l);
void ledger_start(struct ledger *l);
void ledger_close(struct ledger *l);
/* The coordinator is lost, and the next one loads the log, or what is below
 * end_offset of it. */
void ledger_fail_over(struct ledger *l);
void ledger_fail_over_at(struct ledger *l, int64_t end_offset);
/* Time passes; timers fire when they are due. */
void ledger_pass(struct ledger *l, int64_t ms);
void ledger_commit(struct ledger *l); /* all of the log */
void ledger_commit_to(struct ledger *l, int64_t high_watermark);
/* Ends a held marker. */
void ledger_marker(struct ledger *l, int i, enum txn_marker_result result);
/* Ends all held markers, as often as new ones come. */
void ledger_markers(struct ledger *l);
/* The text of the surviving state; to be freed. */
char *ledger_dump(const struct ledger *l);

bool txn_answered(const struct ledger *l, int token);
const struct txn_answer *txn_answer_of(const struct ledger *l, int token);

/* ---- requests: each returns its token ------------------------------------*/

int ledger_request(struct ledger *l, enum api_key api, int16_t version,
                   const void *request);

/* A producer: what InitProducerId gave it. */
struct who {
    const char *id;
    int64_t producer_id;
    int16_t epoch;
};

struct init_args {
    const char *id;     /* "t" */
    int32_t timeout_ms; /* 60000; TIMEOUT_0 for 0 */
    struct who had;     /* id NULL: nothing */
    int version;        /* 5; VERSION_0 for 0 */
};
enum { TIMEOUT_0 = INT32_MIN, VERSION_0 = -1 };
int init_with(struct ledger *l, struct init_args args);
#define INIT(l, ...) init_with((l), (struct init_args){__VA_ARGS__})
enum err init_err(const struct ledger *l, int token);
struct who init_of(const struct ledger *l, int token, const char *id);
struct who init_ok(struct ledger *l, const char *id);

struct add_args {
    const char *topic; /* "a" */
    int32_t partition;
    bool both;   /* the next partition, too */
    bool verify; /* version 4 */
    int version; /* 3; 5 if bumps */
};
int add_with(struct ledger *l, struct who who, struct add_args args);
#define ADD(l, who, ...) add_with((l), (who), (struct add_args){__VA_ARGS__})
/* Of its first partition. */
enum err add_err(const struct ledger *l, int token);
/* Of its n-th. */
enum err add_err_at(const struct ledger *l, int token, int n);

int add_offsets(struct ledger *l, struct who who, const char *group,
                int version);
enum err add_offsets_err(const struct ledger *l, int token);

struct end_args {
    bool commit;
    int version; /* 4; VERSION_0 for 0 */
};
int end_with(struct ledger *l, struct who who, struct end_args args);
#define END(l, who, ...) end_with((l), (who), (struct end_args){__VA_ARGS__})
enum err end_err(const struct ledger *l, int token);
struct who end_of(const struct ledger *l, int token, const char *id);

/* At once: one id. */
const struct describe_transactions_response_transaction_state *
describe_one(struct ledger *l, const char *id);
/* "Ongoing", and so on; "" if there is none. */
const char *txn_state_of(struct ledger *l, const char *id);

#define cr_assert_err(got, want)                                               \
    cr_assert_eq((int)(got), (int)(want), "got %s, not %s",                    \
                 err_name((int)(got)), err_name((int)(want)))

#endif
