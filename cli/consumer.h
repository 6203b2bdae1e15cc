/* Records of topics, in order per partition: of partitions named by hand, or
 * of those that a group assigns.
 *
 * One fetch per leader is under way at any time; consumer_poll() hands the
 * records of what arrives to a function and lets positions follow.  What is
 * committed follows when the caller says that it has kept them. */
#ifndef CLI_CONSUMER_H
#define CLI_CONSUMER_H

#include "cli/client.h"
#include "proto/record/record.h"

enum {
    CONSUME_LATEST = -1,
    CONSUME_EARLIEST = -2,
};

struct consumer_options {
    const char *group;             /* NULL: on one's own */
    const char *group_instance_id; /* NULL: none */
    /* Topics by pattern (admin_topics.h), or one by name; the latter is created
     * if the cluster creates topics. */
    const char *pattern;
    const char *topic;
    int32_t partition; /* of `topic`, or -1: all */
    int64_t start;     /* offset, or CONSUME_*; of a group, where it has none */
    bool read_committed; /* hide aborted transactions */
    bool auto_commit;
    int32_t auto_commit_interval_ms;
    int32_t session_timeout_ms;
    int32_t max_wait_ms;
    int32_t min_bytes;
    int32_t max_bytes;
    int32_t partition_max_bytes;
};

#define CONSUMER_OPTIONS_INIT                                                  \
    ((struct consumer_options){.partition = -1,                                \
                               .start = CONSUME_LATEST,                        \
                               .auto_commit = true,                            \
                               .auto_commit_interval_ms = 5000,                \
                               .session_timeout_ms = 45000,                    \
                               .max_wait_ms = 500,                             \
                               .min_bytes = 1,                                 \
                               .max_bytes = 50 * 1024 * 1024,                  \
                               .partition_max_bytes = 1024 * 1024})

struct consumed {
    struct slice topic;
    int32_t partition;
    const struct record *record;
    bool append_time; /* what the timestamp says */
    int32_t leader_epoch;
};

struct consumer;

struct consumer *consumer_new(struct client *c,
                              const struct consumer_options *options);
/* Commits what is kept (if it does by itself) and leaves the group.  An error,
 * with a sentence in client_why(), if it could not commit. */
enum err consumer_free(struct consumer *k);

/* Gives arrived records to take() until the deadline (net_now_ms()) or until
 * something was given.  take() returns false to stop right there: the record
 * counts as consumed, the next as not.  *count is how many were given.  Errors
 * are final, with a sentence in client_why(). */
enum err consumer_poll(struct consumer *k, int64_t deadline_ms,
                       bool (*take)(void *arg, const struct consumed *one),
                       void *arg, int64_t *count);
/* What the last look at the cluster ended with: an error, with a sentence in
 * client_why() behind consumer_poll(), if that is why nothing comes. */
enum err consumer_trouble(const struct consumer *k);
/* All records that were given so far are where they belong (printed, say): from
 * now on a commit covers them. */
void consumer_keep(struct consumer *k);
/* Commits what is kept. */
enum err consumer_commit(struct consumer *k);

#endif
