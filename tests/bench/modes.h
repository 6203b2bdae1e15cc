/* What the load client can do; each mode prints one JSON object on stdout.
 * Times called *_at are CLOCK_MONOTONIC seconds, so that whoever starts or
 * kills a node can take the difference. */
#ifndef TESTS_BENCH_MODES_H
#define TESTS_BENCH_MODES_H

#include "tests/bench/client.h"

/* load_topics.c */

/* Creates the topics and waits until all replicas of each are in sync:
 * {"seconds"}. */
void mode_create(const struct load *l);
/* Deletes the topics: {"deleted"}. */
void mode_delete(const struct load *l);
/* Waits until every partition of the topic has a leader and all its replicas
 * in sync; says who leads partition 0: {"leader", "seconds"}. */
void mode_settle(const struct load *l);

/* load_throughput.c */

/* Sends l->records: {"records", "seconds", "mb_s", "client_cpu_s"}. */
void mode_produce(const struct load *l);
/* Reads l->records from the beginning; seconds count from the first one:
 * {"records", "seconds", "mb_s", "client_cpu_s"}. */
void mode_consume(const struct load *l);

/* load_latency.c */

/* Sends at l->rate for l->seconds and reads the same records back:
 * {"records", "p50_ms", "p99_ms", "p999_ms", "max_ms"}. */
void mode_latency(const struct load *l);

/* load_transactions.c */

/* Each of l->clients producers sends l->records in one transaction after
 * another for l->seconds: {"transactions", "per_s", "p50_ms", "p99_ms"}.
 * l->plain: without the transaction. */
void mode_transactions(const struct load *l);

/* load_failover.c */

/* Creates the topic (unless l->exists) as soon as the cluster lets it and
 * sends one record to partition 0, trying again every few milliseconds:
 * {"acked_at", "created_at"}. */
void mode_first(const struct load *l);
/* One record in flight after another, to partition 0, for l->seconds:
 * {"acked", "failed", "leaders": [[broker, first_ack_at], ...]}, an entry each
 * time that another broker acknowledges than before. */
void mode_failover(const struct load *l);

#endif
