/* Between the files of the workload with transactions: txns.c its clients,
 * txns_read.c readers and the final look, txns_all.c all of it together. */
#ifndef TESTS_SIM_LOAD_TXNS_PARTS_H
#define TESTS_SIM_LOAD_TXNS_PARTS_H

#include "proto/record/builder.h"
#include "tests/sim/load/txn_history.h"
#include "tests/sim/load/txns.h"

enum { TXNS_PARTITIONS_MAX = 8 };

struct txns_client;
struct txns_reader;

struct load_txns {
    struct env *env;
    struct prng prng;
    struct load_client_options client;
    struct history *history;
    struct load_txns_options options;
    struct txn_history *txns;
    char *topic;
    struct load_client *maker; /* of the topic */
    bool making;
    int64_t make_at_ms;
    struct txns_client **clients;
    struct txns_reader **readers;
    struct txns_reader *final; /* NULL: not yet */
    struct batch_builder builder;
    struct env_timer timer;
    bool stopped;
    void (*done)(void *arg);
    void *done_arg;
};

/* ---- txns.c -------------------------------------------------------------- */

struct txns_client *txns_client_of(struct load_txns *t, int number);
void txns_client_free(struct txns_client *c);
void txns_client_start(struct txns_client *c);
void txns_client_tick(struct txns_client *c);
bool txns_client_is_quiet(const struct txns_client *c);
const char *txns_client_group(const struct txns_client *c);

/* ---- txns_read.c --------------------------------------------------------- */

/* Number TXN_HISTORY_FINAL reads to the end, then asks for the groups'
 * offsets. */
struct txns_reader *txns_reader_of(struct load_txns *t, int number);
void txns_reader_free(struct txns_reader *r);
void txns_reader_tick(struct txns_reader *r);
bool txns_reader_is_done(const struct txns_reader *r);
/* Why it is not. */
const char *txns_reader_missing(struct txns_reader *r);

#endif
