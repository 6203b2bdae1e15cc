#ifndef TESTS_CHAOS_NUMBERS_H
#define TESTS_CHAOS_NUMBERS_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbered records: writing them, and judging what a cluster has kept.
 *
 * Producer i writes the numbers 0, 1, 2, ... to partition number mod P.  A
 * record's key and value follow from (producer, number), so a reader knows an
 * altered byte from a right one.
 *
 * The ledger is a text file with a line for each acknowledged record:
 *
 *     A MICROSECONDS PARTITION PRODUCER NUMBER OFFSET
 *
 * MICROSECONDS is the monotonic clock when the acknowledgement was seen.
 * OFFSET is -1 if the broker only said that it has the record already. */

enum {
    PRODUCERS_MAX = 64,
    PARTITIONS_MAX = 64,
    VALUE_MAX = 1400,
};

struct numbers_record {
    char key[32];
    size_t key_len;
    char value[VALUE_MAX];
    size_t value_len;
};

struct numbers_options {
    const char *bootstrap;
    const char *topic;
    const char *ledger; /* path */
    const char *group;  /* prefix of the groups' names */
    const char *debug;  /* librdkafka's contexts, to standard error; or "" */
    const char *request_ms; /* of producers; or "": librdkafka's own */
    int producers;          /* or groups */
    int partitions;
    int rate;       /* records a second and producer */
    int timeout_ms; /* of a record, or of a reader without news */
};

void numbers_record_make(struct numbers_record *r, int producer,
                         int64_t number);

/* Reads producer and number out of a key; false if it isn't one of ours. */
bool numbers_key_parse(const void *key, size_t len, int *producer,
                       int64_t *number);

int64_t numbers_now_us(void);

/* Ends the program with a sentence. */
__attribute__((noreturn, format(printf, 1, 2))) void
numbers_die(const char *format, ...);

/* A client's configuration; `pairs` ends with NULL, and pairs with an
 * empty value are left out.  The client takes it. */
rd_kafka_t *numbers_client(rd_kafka_type_t type, const char *const *pairs,
                           rd_kafka_conf_t *conf);

/* ---- commands: each returns the exit code ---- */

/* Writes until standard input ends; answers a line `status` with
 * `acked N N ... failed N waiting N stalled N` (produce.c says what stalls). */
int numbers_produce(const struct numbers_options *o);

/* Reads the whole topic and prints one line of JSON; 1 if a promise is
 * broken. */
int numbers_verify(const struct numbers_options *o);

/* Commits 1, 2, 3, ... for all partitions of a topic in each of `producers`
 * groups until standard input ends, and then prints a line for each group:
 * `GROUP TRIED ACKNOWLEDGED`. */
int numbers_commit(const struct numbers_options *o);

/* Prints a line for each group: its name and the committed offsets. */
int numbers_committed(const struct numbers_options *o);

#endif
