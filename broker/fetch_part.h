/* The owner's side of fetching: one shard's share of a fetch or of a fetch
 * session.
 *
 * A part holds an entry for each partition it was asked about. Entries that may
 * have something to say are on the dirty list; a run reads only those, so an
 * incremental session over ten thousand idle partitions costs what changed. An
 * entry watches its partition all the time; when new records appear and nobody
 * has read them yet, the part wakes its home.
 *
 * A part lives on its owner's thread. Home hands it commands (run, drop,
 * silent) as tasks, one at a time, and reads the results once they are back. */
#ifndef BROKER_FETCH_PART_H
#define BROKER_FETCH_PART_H

#include "broker/replica/partition.h"
#include "broker/shard.h"

/* What a request says about one partition. */
struct fetch_ask {
    struct uuid topic_id;
    struct slice name; /* of versions that answer by name, else null */
    int32_t index;
    int32_t current_leader_epoch;
    int32_t last_fetched_epoch;
    int32_t max_bytes;
    int64_t offset;
    int64_t start_offset; /* of a follower's log; -1: a consumer */
    bool moved; /* from a topic that had the name; a client's own word counts
                   more */
};

/* Another topic has the name of one that was asked for by it. */
struct fetch_renewal {
    struct uuid id; /* of the one that has it now */
    struct slice name;
};

struct fetch_result {
    struct uuid topic_id;
    struct slice name; /* the entry's: valid until the next command */
    int32_t index;
    enum err error;
    int64_t asked_offset;
    int32_t max_bytes; /* asked for */
    int64_t high_watermark;
    int64_t last_stable_offset;
    int64_t start_offset;
    int32_t diverging_epoch; /* -1: the histories agree */
    int64_t diverging_end;
    int32_t leader, leader_epoch; /* with NOT_LEADER_OR_FOLLOWER */
    int32_t preferred; /* KIP-392: whom to read from, without records; or -1 */
    struct log_range range; /* file referenced if len > 0 */
    bool throttled; /* to a follower, and counted for the leader's throttle */
    struct buf aborted; /* owned; of struct log_aborted, for read_committed */
};

enum fetch_command { FETCH_RUN, FETCH_DROP, FETCH_SILENT };

struct fetch_part {
    /* Set once by home. */
    struct shard *shard;
    struct shard *home;
    void *owner;        /* the home side's session */
    int32_t replica_id; /* -1: a consumer */
    int64_t replica_epoch;
    bool followers_too; /* KIP-392: a replica that follows answers, too */
    struct slice rack;  /* the consumer's, while it counts; in its request */
    bool old_format;    /* message sets: what has no records is left out */
    void (*returned)(struct fetch_part *part); /* home thread */
    void (*woke)(struct fetch_part *part);     /* home thread */

    /* The command; written by home while the part is at home. */
    struct env_task task;
    bool out; /* with the owner */
    enum fetch_command command;
    bool full;           /* answer for every entry, not only for news */
    bool sent;           /* the results of the last run went to the client, */
    bool trimmed;        /* ... not with all of their records */
    bool read_committed; /* isolation.level */
    int32_t max_bytes;
    struct fetch_ask *asks;
    int asks_len;
    struct fetch_ask *forget; /* topic_id and index */
    int forget_len;
    const struct map *renewals; /* old topic id -> struct fetch_renewal; its
                                   entries go home as `moved` */

    /* Results; written by the owner, read by home after the return. */
    struct fetch_result *results;
    int results_len;
    int results_cap;
    int64_t bytes;
    struct fetch_ask *moved; /* to be asked of whose partitions they are now */
    int moved_len;
    int moved_cap;
    bool urgent; /* an error or a divergence: answer at once */

    /* The owner's. */
    struct map by_key; /* topic id and index -> entry */
    uint64_t number;   /* unique on this node */
    uint32_t order;    /* of a follower's sessions: the correlation id of the
                          request that began it, which its fetcher counts up */
    struct list entries;
    struct list dirty;
    struct list shown; /* entries with a result of the last run */
    bool was_read_committed;
    bool armed;
    struct env_task wake;
    _Atomic bool wake_out;
};

/* One partition of a part.  The owner's; `watch` is first, so a partition's
 * watches lead here. */
struct fetch_entry {
    struct partition_watch watch;
    struct list link;       /* in part->entries */
    struct list dirty_link; /* in part->dirty */
    struct list shown_link; /* in part->shown */
    struct fetch_part *part;
    struct partition *partition; /* NULL: not (or no longer) here */
    struct fetch_ask ask;
    char *name;        /* owned; what ask.name points to */
    bool held_back;    /* by the leader's throttle */
    bool shown_answer; /* the last run's result has a follower ask anew */
    bool answered;     /* so does what it was sent: until then there is nothing
                          to say, or it would be sent the same again, as fast as
                          it asks for others, while it syncs or its disk is
                          full */
    int64_t told_high_watermark; /* what the client knows */
    int64_t told_start_offset;
    int64_t shown_high_watermark; /* what it will know if the last run's result
                                     is sent */
    int64_t shown_start_offset;
};

void fetch_part_init(struct fetch_part *part, struct shard *shard,
                     struct shard *home, void *owner);
/* Home: hands the command to the owner; `returned` follows (at once, from
 * inside, when the owner is home). */
void fetch_part_send(struct fetch_part *part, enum fetch_command command);
/* Home: releases the files of results that were not sent. */
void fetch_part_discard(struct fetch_part *part);
/* Home: the results went to the client, who has their files now. */
void fetch_part_sent(struct fetch_part *part);
/* Home, after FETCH_DROP returned. */
void fetch_part_free(struct fetch_part *part);

#endif
