/* A producer: makes batches of records for partitions of the topics whose names
 * begin with its prefix, and sees each through to an acknowledgement, or says
 * that it does not know.
 *
 * Idempotent ones keep sequence numbers per partition, up to five batches in
 * flight, and send failed ones again in order and one at a time, as Kafka's
 * own client does.  A batch that failed for good ends the session of its
 * partition: those behind it are given up, and what comes next has a new epoch
 * or a new producer id and begins at sequence 0.
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_PRODUCER_H
#define TESTS_SIM_LOAD_PRODUCER_H

#include "proto/record/batch.h"
#include "tests/sim/load/client.h"
#include "tests/sim/load/history.h"

struct load_producer_options {
    int32_t number;           /* in the history */
    const char *topic_prefix; /* outlives the producer */
    bool by_id;               /* topics may be recreated: name them by id */
    int acks;                 /* 0, 1, -1 */
    bool idempotent;          /* with acks -1 only */
    int in_flight_max;        /* requests per node, and batches per partition */
    enum compression compression;
    int batch_records_max;
    int filler_bytes_max;
    int waiting_max;     /* batches that are not done */
    int64_t interval_ms; /* between batches, on average */
    int64_t delivery_timeout_ms;
};

struct load_producer;

struct load_producer *load_producer_new(
    struct env *env, uint64_t seed, const struct load_client_options *client,
    struct history *history, const struct load_producer_options *options);
void load_producer_free(struct load_producer *p);
void load_producer_start(struct load_producer *p);
/* No new batches; those made are seen through, or given up at their time. */
void load_producer_stop(struct load_producer *p);
/* Nothing waits or is in flight. */
bool load_producer_is_quiet(const struct load_producer *p);

#endif
