/* A __consumer_offsets partition with one coordinator, for tests: its log is
 * in memory, its high watermark moves when the test says so, and clients are
 * tokens.
 *
 *     struct world w;
 *     world_open(&w);
 *     int first = JOIN(&w, .group = "g");
 *     world_pass(&w, 3000);
 *     cr_assert_eq(join_of(&w, first)->generation_id, 1);
 *     world_close(&w);
 *
 * Fields of a request that are left out take what an ordinary client sends. */
#ifndef TESTS_UNIT_BROKER_COORD_FIXTURE_H
#define TESTS_UNIT_BROKER_COORD_FIXTURE_H

#include "broker/coord/group_shard.h"

#include "base/prng.h"
#include "proto/record/batch.h"

#include <criterion/criterion.h>

enum { WORLD_TOKENS_MAX = 20000, WORLD_BATCHES_MAX = 20000 };

struct world {
    struct group_shard *shard;
    struct group_shard_options options;
    struct coord_time time;
    struct prng prng;
    int32_t topic_partitions; /* of the cluster's one topic, "t"; 3 */
    int64_t topics_version;
    uint64_t topic_changes;
    /* what share coordinators were asked, oldest first */
    struct share_group_ask *asks[16];
    int asks_len;
    /* the log */
    struct buf batches[WORLD_BATCHES_MAX];
    int batches_len;
    int64_t end_offset;
    int64_t high_watermark;
    bool hold;           /* commits wait for world_commit() */
    enum err append_err; /* what append answers; ERR_NONE: it appends */
    const char *deleted; /* a topic that goes while a coordinator loads */
    /* the clients */
    struct coord_answer *answers[WORLD_TOKENS_MAX];
    int tokens;
};

void world_open(struct world *w); /* with an active, empty coordinator */
/* The same, with options set by the test before world_start(). */
void world_init(struct world *w);
void world_start(struct world *w);
void world_close(struct world *w);
/* The coordinator is lost, and the next one loads the log. */
void world_fail_over(struct world *w);
/* As world_fail_over, but the log ends at end_offset. */
void world_fail_over_at(struct world *w, int64_t end_offset);
/* Time passes; timers fire when they are due. */
void world_pass(struct world *w, int64_t ms);
void world_commit(struct world *w); /* all of the log */
void world_commit_to(struct world *w, int64_t high_watermark);
void world_flush(struct world *w); /* the end of a turn */

const struct coord *world_coord(const struct world *w);

/* The share coordinators answer the oldest question: the same of every share-
 * partition. */
void world_share_answers(struct world *w, enum err err);

bool answered(const struct world *w, int token);
const struct coord_answer *answer_of(const struct world *w, int token);

/* ---- requests: each returns its token ------------------------------------*/

/* Any request. */
int world_request(struct world *w, enum api_key api, int16_t version,
                  const void *request);

struct join_args {
    const char *group;         /* "g" */
    const char *member;        /* "" */
    const char *instance;      /* null */
    const char *client;        /* "client" */
    const char *type;          /* "consumer" */
    const char *protocol;      /* "range" */
    const char *protocol2;     /* none */
    const char *metadata;      /* "m" */
    struct slice subscription; /* instead of metadata, if not null */
    int32_t session_ms;        /* 10000 */
    int32_t rebalance_ms;      /* 60000; use REBALANCE_0 for 0 */
    int version;               /* 3: 4 and later need a second round; 0: -1 */
    bool no_protocols;
};
enum { REBALANCE_0 = INT32_MIN };
int join_with(struct world *w, struct join_args args);
#define JOIN(w, ...) join_with((w), (struct join_args){__VA_ARGS__})
const struct join_group_response *join_of(const struct world *w, int token);

struct sync_args {
    const char *group;
    const char *member;
    const char *instance;
    const char *type;   /* null */
    const char *name;   /* null */
    int32_t generation; /* 1 */
    /* Pairs of member and assignment, as the leader sends them. */
    const char *assign[64];
    int version; /* 5 */
};
int sync_with(struct world *w, struct sync_args args);
#define SYNC(w, ...) sync_with((w), (struct sync_args){__VA_ARGS__})
const struct sync_group_response *sync_of(const struct world *w, int token);

struct heartbeat_args {
    const char *group;
    const char *member;
    const char *instance;
    int32_t generation; /* 1 */
};
/* Answered at once: the error. */
enum err heartbeat_with(struct world *w, struct heartbeat_args args);
#define HEARTBEAT(w, ...)                                                      \
    heartbeat_with((w), (struct heartbeat_args){__VA_ARGS__})

struct beat_args {
    const char *group;
    const char *member; /* "m" */
    int32_t epoch;      /* 0: it joins */
    bool owns_nothing;  /* says so */
    const char *topic;  /* "t", when it joins */
};
/* A heartbeat of the new protocol: its token. */
int beat_with(struct world *w, struct beat_args args);
#define BEAT(w, ...) beat_with((w), (struct beat_args){__VA_ARGS__})
const struct consumer_group_heartbeat_response *beat_of(const struct world *w,
                                                        int token);

struct leave_args {
    const char *group;
    const char *member;
    const char *instance;
    const char *member2; /* a second one */
    int version;         /* 5; 1 has one member and no batch */
};
int leave_with(struct world *w, struct leave_args args);
#define LEAVE(w, ...) leave_with((w), (struct leave_args){__VA_ARGS__})
const struct leave_group_response *leave_of(const struct world *w, int token);

struct commit_args {
    const char *group;
    const char *member;
    const char *instance;
    const char *topic; /* "t" */
    const char *metadata;
    int32_t partition;
    int64_t offset;
    int32_t generation;   /* 0 means -1; use GENERATION_0 for 0 */
    int64_t retention_ms; /* 0 means -1 */
    int64_t timestamp;    /* 0 means -1 */
    int64_t producer;     /* not 0: in its transaction */
    int version;          /* 8; in a transaction 3 */
};
enum { GENERATION_0 = INT32_MIN };
int commit_with(struct world *w, struct commit_args args);
#define COMMIT(w, ...) commit_with((w), (struct commit_args){__VA_ARGS__})
/* The error of its one partition. */
enum err commit_of(const struct world *w, int token);
/* The transaction coordinator ends a producer's transaction. */
void world_end_txn(struct world *w, int64_t producer, bool committed);

struct fetch_args {
    const char *group;
    const char *topic; /* "t"; "*": everything */
    int32_t partition;
    bool stable;
    int version; /* 9 */
};
int fetch_with(struct world *w, struct fetch_args args);
#define FETCH(w, ...) fetch_with((w), (struct fetch_args){__VA_ARGS__})
const struct offset_fetch_response_group *fetch_of(const struct world *w,
                                                   int token);
/* At once: the one offset. */
#define COME_AGAIN INT64_MIN /* the coordinator cannot tell yet */
int64_t fetched(struct world *w, const char *group, int32_t partition);

/* "Stable", and so on. */
const char *state_of(struct world *w, const char *group);

/* ---- shortcuts -----------------------------------------------------------*/

struct pair {
    char first[128]; /* the leader's member id */
    char second[128];
    int32_t generation;
};

/* A stable group with one member; its id into `id`. */
void make_stable(struct world *w, const char *group, char id[static 128]);
/* With two: the first leads.  Their assignments are "one" and "two". */
struct pair make_stable_pair(struct world *w, const char *group);
void copy_id(struct slice id, char out[static 128]);
struct uuid world_topic_id(void);
/* A consumer's subscription to one topic. */
struct slice subscription_to(const char *topic, uint8_t bytes[static 128]);

#define cr_assert_err(got, want)                                               \
    cr_assert_eq((int)(got), (int)(want), "got %s, not %s",                    \
                 err_name((int)(got)), err_name((int)(want)))
#define cr_assert_text(got, want)                                              \
    cr_assert(slice_eq_str((got), (want)), "got \"%.*s\", not \"%s\"",         \
              SLICE_FMT(got), (want))

#endif
