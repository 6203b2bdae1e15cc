/* A reader: fetches partitions from where it is told, hands every record to
 * the history, and says what it was told about the ends of the log.
 *
 * It follows leaders, with or without fetch sessions (KIP-227), and asks
 * ListOffsets now and then.  Used alone, by group members, and for the final
 * read.
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_READER_H
#define TESTS_SIM_LOAD_READER_H

#include "tests/sim/load/client.h"
#include "tests/sim/load/history.h"

struct load_reader_options {
    int number;               /* in the history */
    const char *topic_prefix; /* follow all topics that begin so; NULL: only
                                 what load_reader_follow() says */
    bool by_id;               /* topics may be recreated: fetch by id */
    bool sessions;
    int32_t max_wait_ms;
    int32_t min_bytes;
    int32_t max_bytes;
    int32_t partition_max_bytes;
    int seek_percent;  /* of ticks: go back to an earlier offset */
    int query_percent; /* of ticks: ask ListOffsets */
    int stray_percent; /* of ticks: fetch from a replica that does not lead */
    bool final;        /* find the ends first, stop there, tell the history */
};

struct load_reader;

struct load_reader *load_reader_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *client,
                                    struct history *history,
                                    const struct load_reader_options *options);
void load_reader_free(struct load_reader *r);
void load_reader_start(struct load_reader *r);
/* Closes its connections and forgets its partitions; may be called from
 * callbacks of others.  load_reader_start() begins anew. */
void load_reader_stop(struct load_reader *r);

enum { LOAD_EARLIEST = -2 };

/* offset: to begin at, or LOAD_EARLIEST. */
void load_reader_follow(struct load_reader *r, const char *name, struct uuid id,
                        int32_t partition, int64_t offset);
void load_reader_unfollow_all(struct load_reader *r);
/* The i-th partition that it follows, in order; false behind the last.
 * *offset is the next to read, -1 while it is being looked for. */
bool load_reader_position(const struct load_reader *r, size_t i, int *topic,
                          int32_t *partition, int64_t *offset);

/* Final readers: every partition has been read to its end. */
bool load_reader_is_done(const struct load_reader *r);
/* A sentence about a partition that was not; "" if all were.  Valid until the
 * next call. */
const char *load_reader_missing(struct load_reader *r);

#endif
