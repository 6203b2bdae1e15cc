/* What the parts of the history share: history.c (events, verdict, topics),
 * history_log.c (records), history_groups.c and history_judge.c. */
#ifndef TESTS_SIM_LOAD_HISTORY_PARTS_H
#define TESTS_SIM_LOAD_HISTORY_PARTS_H

#include "base/map.h"
#include "tests/sim/load/history.h"

enum { SEEN_MAX = 64 };

/* What is known of one offset of one partition. */
struct slot {
    struct history_id id; /* topic -1: nothing */
    int64_t timestamp_ms;
    int32_t leader_epoch; /* -1: not read, only acknowledged */
    bool read;
    bool final; /* read in the final read */
};

/* An end of the log that a leader showed. */
struct seen {
    int32_t epoch;
    uint64_t tick;
    int64_t end;
};

struct time_query {
    int64_t time_ms;
    int64_t offset;
    int64_t found_ms;
    int64_t known_end; /* what the answer may not deny */
};

struct history_log {
    int topic;
    int32_t partition;
    struct slot *slots; /* by offset */
    int64_t slots_len;
    int64_t slots_cap;
    int64_t *next; /* of each reader's stream; -1: not begun */
    int next_len;
    int64_t deleted_before;     /* deletion up to here was asked for */
    struct seen seen[SEEN_MAX]; /* a ring */
    uint32_t seen_count;
    struct time_query *queries;
    size_t queries_len;
    bool final;
    int64_t final_start;
    int64_t final_end; /* exclusive */
};

struct topic {
    char *name;
    struct uuid id;
    bool doomed;
    struct history_log **logs; /* by partition; may have holes */
    int32_t logs_len;
};

struct sent {
    struct history_sent what;
    uint64_t sent_tick;
    uint64_t acked_tick; /* 0: not acknowledged */
    int64_t acked_offset;
    int64_t read_offset;  /* first seen at; -1 */
    int64_t final_offset; /* in the final log; -1 */
};

struct writer {        /* a producer */
    struct sent *sent; /* by number */
    int64_t len;
    int64_t cap;
};

struct session {
    int32_t producer;
    int64_t last; /* sequence, while judging; -1 none yet */
};

struct generation {
    int32_t number;
    uint64_t tick; /* first seen */
};

struct group {
    struct generation *generations;
    size_t generations_len;
    struct map owners; /* "generation topic partition" -> member, owned */
    struct map claims; /* "topic partition" -> member, owned */
    bool mixed;        /* history_mixes() was told */
    bool claimed;      /* history_claimed() was told, once */
    bool delivers;     /* history_delivered() is told */
    struct map given;  /* "topic partition" -> end of what members were given */
};

struct commit {
    char *group;
    char *member;
    int32_t generation;
    int topic;
    int32_t partition;
    int64_t offset;
    uint64_t sent_tick;
    uint64_t acked_tick; /* 0: not acknowledged */
    int64_t previous;    /* commit of the same group and partition; -1 */
    bool refused;
};

struct history {
    struct history_promise promise;
    history_trace *trace;
    void *trace_arg;
    uint64_t tick;
    uint64_t hash;
    struct history_counts counts;
    char **muted;
    size_t muted_len;
    char *checker; /* of the first violation */
    char *sentence;
    bool finishing;       /* reads are final reads */
    struct map compacted; /* names of such topics */
    struct topic *topics;
    int topics_len;
    struct writer *writers;
    int32_t writers_len;
    struct session *sessions;
    int64_t sessions_len;
    struct map doomed;      /* names whose deletion was asked for last */
    struct map doomed_once; /* names whose deletion was ever asked for */
    struct map groups;      /* -> struct group */
    struct commit *commits;
    int64_t commits_len;
    int64_t commits_cap;
    struct map last_commits; /* "group topic partition" -> commit number + 1 */
};

/* For events that come by the thousand: numbers into the hash, and a line only
 * if somebody reads it.  Together they are what history_note() is. */
#define HISTORY_MARK(h, ...)                                                   \
    history_mark((h), (const int64_t[]){__VA_ARGS__},                          \
                 sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
#define HISTORY_TELL(h, ...)                                                   \
    do {                                                                       \
        if ((h)->trace != NULL)                                                \
            history_tell((h), __VA_ARGS__);                                    \
    } while (0)
void history_mark(struct history *h, const int64_t *numbers, size_t len);
void history_tell(struct history *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The log of a partition, made at first mention. */
struct history_log *history_log(struct history *h, int topic,
                                int32_t partition);
/* NULL if it was never sent. */
bool history_is_compacted(const struct history *h, int topic);
struct sent *history_find(struct history *h, struct history_id id);
/* The slot of an offset; those up to it are made. */
struct slot *history_slot(struct history_log *log, int64_t offset);
/* The highest end that a leader of an epoch up to `epoch` showed before
 * `asked`; 0: none.  With `only`, of that very epoch. */
int64_t history_known_end(const struct history_log *log, int32_t epoch,
                          bool only, uint64_t asked);
void history_free_logs(struct history *h);
void history_free_groups(struct history *h);

/* "orders[0]-3", for sentences; lives as long as `text`. */
struct history_where {
    char text[96];
};
struct history_where history_where(const struct history *h, int topic,
                                   int32_t partition);
/* "record 7 of producer 2" */
struct history_where history_who(struct history_id id);

#endif
