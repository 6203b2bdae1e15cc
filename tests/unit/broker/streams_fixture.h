/* A coordinator of streams groups over a log in memory, with topics, and
 * members that heartbeat. */
#ifndef TESTS_UNIT_BROKER_STREAMS_FIXTURE_H
#define TESTS_UNIT_BROKER_STREAMS_FIXTURE_H

#include "broker/coord/runtime.h"
#include "broker/coord/streams/streams_coord.h"
#include "broker/coord/streams/tasks.h"

#include <criterion/criterion.h>

enum {
    SCENE_TOPICS_MAX = 32,
    SCENE_TOKENS_MAX = 30000,
    ACTOR_TASKS_MAX = 64,
};

struct scene_topic {
    char name[32];
    struct uuid id;
    int32_t partitions; /* 0: it does not exist */
};

struct scene_batch {
    struct buf bytes;
    int64_t base;
};

struct scene {
    struct streams_config config;
    struct streams_coord *coord;
    struct coord_runtime runtime;
    bool active;
    struct coord_time time;
    /* the log */
    struct scene_batch *batches; /* owned */
    int batches_len;
    int batches_cap;
    int64_t end_offset;
    int64_t high_watermark;
    bool hold;           /* nothing is committed by itself */
    int append_fails_in; /* the n-th append from now on fails; 0: none */
    uint32_t batch_max_bytes;
    int64_t records; /* appended so far */
    /* the cluster */
    struct scene_topic topics[SCENE_TOPICS_MAX];
    int topics_len;
    int topics_made;
    bool creates; /* internal topics that are asked for, at once */
    int creations;
    char created[256]; /* "name:partitions ..." of the last request */
    int32_t standbys;  /* of all groups */
    /* the clients */
    struct coord_answer *answers[SCENE_TOKENS_MAX];
    int tokens;
};

/* Topics "in" of 4 partitions; no initial delay, no interval. */
void scene_init(struct scene *s);
void scene_start(struct scene *s);
void scene_open(struct scene *s); /* both */
void scene_close(struct scene *s);
/* The coordinator is lost, and the next one loads the log, or what is below
 * end_offset of it. */
void scene_fail_over(struct scene *s);
void scene_fail_over_at(struct scene *s, int64_t end_offset);
void scene_pass(struct scene *s, int64_t ms);
void scene_commit(struct scene *s);
void scene_commit_to(struct scene *s, int64_t high_watermark);
/* The coordinator hears of it; 0 partitions: it is deleted. */
struct scene_topic *scene_topic(struct scene *s, const char *name,
                                int32_t partitions);
char *scene_dump(const struct scene *s); /* to be freed */
/* What is in the log, whole or compacted, is what the coordinator knows; every
 * prefix of it can be loaded. */
void scene_check_reload(struct scene *s);

/* ---- topologies ----------------------------------------------------------*/

typedef struct streams_group_heartbeat_request_topology topology_t;
typedef struct streams_group_heartbeat_request_subtopology sub_t;
typedef struct streams_group_heartbeat_request_topic_info info_t;

/* Subtopology "0" reads "in" and has the changelog "store". */
topology_t plain_topology(void);
/* "0" reads "in" and writes to "rep"; "1" reads "rep", with "store". */
topology_t two_step_topology(void);

/* ---- heartbeats ----------------------------------------------------------*/

/* A member as its client knows it. */
struct actor {
    const char *group; /* "g" */
    char id[32];
    char process[32];
    int32_t epoch;
    struct task tasks[TASK_KINDS][ACTOR_TASKS_MAX]; /* what it has */
    uint32_t tasks_len[TASK_KINDS];
};

struct beat_args {
    const topology_t *topology; /* plain_topology() where it joins */
    bool silent;                /* does not say what it has */
    bool shutdown;
    int32_t timeout_ms;   /* 10 s where it joins */
    const char *endpoint; /* host; port 80 */
    int32_t endpoint_epoch;
};

struct actor actor_of(const char *id, const char *process);
int beat_with(struct scene *s, const struct actor *a, struct beat_args args);
#define BEAT(s, a, ...) beat_with((s), (a), (struct beat_args){__VA_ARGS__})
int join_with(struct scene *s, struct actor *a, struct beat_args args);
#define JOIN(s, a, ...) join_with((s), (a), (struct beat_args){__VA_ARGS__})
/* The request as it is. */
int scene_request(struct scene *s, enum api_key api, int16_t version,
                  const void *request);

bool beat_answered(const struct scene *s, int token);
const struct streams_group_heartbeat_response *beat_of(const struct scene *s,
                                                       int token);
enum err beat_err(const struct scene *s, int token);
bool beat_says(const struct scene *s, int token, int8_t status);
/* The client does what the answer says. */
void actor_take(const struct scene *s, struct actor *a, int token);
/* A heartbeat that succeeds, and what follows from it. */
void actor_beat(struct scene *s, struct actor *a);
struct actor actor_join(struct scene *s, const char *id, const char *process);
/* Heartbeats of all until nothing changes. */
void actors_settle(struct scene *s, struct actor *const *actors, int len);
bool actor_has(const struct actor *a, enum task_kind kind, const char *sub,
               int32_t partition);

const struct streams_group_describe_response_described_group *
scene_describe(struct scene *s, const char *group);
const char *scene_state(struct scene *s, const char *group);

#define cr_assert_err(got, want)                                               \
    cr_assert_eq((int)(got), (int)(want), "got %s, not %s",                    \
                 err_name((int)(got)), err_name((int)(want)))

#endif
