/* A coordinator of consumer groups over a log in memory, with topics, and
 * members that heartbeat. */
#ifndef TESTS_UNIT_BROKER_CONSUMER_FIXTURE_H
#define TESTS_UNIT_BROKER_CONSUMER_FIXTURE_H

#include "broker/coord/consumer/consumer_coord.h"
#include "broker/coord/runtime.h"

#include <criterion/criterion.h>

enum {
    REALM_TOPICS_MAX = 32,
    REALM_TOKENS_MAX = 20000,
    REALM_LOOKUPS_MAX = 16,
    REALM_MEMBER_PARTS_MAX = 64,
};

struct realm_topic {
    char name[16];
    struct uuid id;
    int32_t partitions; /* 0: it does not exist */
};

struct realm_batch {
    struct buf bytes;
    int64_t base;
};

struct realm {
    struct consumer_config config;
    struct consumer_coord *coord;
    struct coord_runtime runtime;
    bool active;
    struct coord_time time;
    /* the log */
    struct realm_batch *batches; /* owned */
    int batches_len;
    int batches_cap;
    int64_t end_offset;
    int64_t high_watermark;
    bool hold; /* nothing is committed by itself */
    enum err append_err;
    int append_fails_in; /* the n-th append from now on fails; 0: none */
    uint32_t batch_max_bytes;
    int64_t records; /* appended so far */
    /* the cluster */
    struct realm_topic topics[REALM_TOPICS_MAX];
    int topics_len;
    int64_t topics_version;
    /* regexes: a pattern is a prefix and a '*' */
    bool hold_lookups;
    struct consumer_lookup *lookups[REALM_LOOKUPS_MAX];
    int lookups_len;
    int lookups_seen;
    /* the clients */
    struct coord_answer *answers[REALM_TOKENS_MAX];
    int tokens;
    int32_t session_timeout_ms; /* of all groups; 0: the broker's */
};

void realm_open(struct realm *r); /* with topics "a", "b" of 3 partitions */
/* The same, with options set by the test before realm_start(). */
void realm_init(struct realm *r);
void realm_start(struct realm *r);
void realm_close(struct realm *r);
/* The coordinator is lost, and the next one loads the log, or what is below
 * end_offset of it. */
void realm_fail_over(struct realm *r);
void realm_fail_over_at(struct realm *r, int64_t end_offset);
void realm_pass(struct realm *r, int64_t ms);
void realm_commit(struct realm *r);
void realm_commit_to(struct realm *r, int64_t high_watermark);
/* The coordinator hears of it. */
struct realm_topic *realm_topic(struct realm *r, const char *name,
                                int32_t partitions);
/* Answers a held lookup. */
void realm_look_up(struct realm *r, int i);
char *realm_dump(const struct realm *r); /* to be freed */
void realm_check_reload(struct realm *r);

/* ---- heartbeats ----------------------------------------------------------*/

/* A member as its client knows it. */
struct client {
    const char *group; /* "g" */
    char id[64];
    const char *instance; /* NULL: dynamic */
    int32_t epoch;
    struct part parts[REALM_MEMBER_PARTS_MAX]; /* what it owns */
    uint32_t parts_len;
};

struct beat_args {
    const char *names; /* "a b"; NULL: says nothing; "-": none */
    const char *regex;
    const char *assignor;
    const char *rack;
    int32_t timeout_ms; /* of rebalances; 0: says nothing */
    int version;        /* 1; BEAT_VERSION_0 for 0 */
    bool silent;        /* does not say what it owns */
    const char *client_id;
};
enum { BEAT_VERSION_0 = -1 };

/* Who did not join yet. */
struct client named(const char *id);
struct client static_named(const char *id, const char *instance);

int beat_with(struct realm *r, const struct client *c, struct beat_args args);
#define BEAT(r, c, ...) beat_with((r), (c), (struct beat_args){__VA_ARGS__})
/* The request as it is. */
int realm_request(struct realm *r, enum api_key api, int16_t version,
                  const void *request);
/* Epoch 0, with everything; "g", rebalance timeout 10 s. */
int join_with(struct realm *r, struct client *c, struct beat_args args);
#define JOIN(r, c, ...) join_with((r), (c), (struct beat_args){__VA_ARGS__})

bool beat_answered(const struct realm *r, int token);
const struct consumer_group_heartbeat_response *beat_of(const struct realm *r,
                                                        int token);
enum err beat_err(const struct realm *r, int token);
/* The client does what the answer says: takes the epoch, and the assignment if
 * there is one. */
void client_take(const struct realm *r, struct client *c, int token);
/* A heartbeat that succeeds, and what follows from it. */
void client_beat(struct realm *r, struct client *c);
struct client client_join(struct realm *r, const char *id, const char *names);
/* Heartbeats of all until nothing changes. */
void clients_settle(struct realm *r, struct client *const *clients, int len);
bool client_owns(const struct client *c, const struct realm_topic *topic,
                 int32_t partition);

const struct consumer_group_describe_response_described_group *
realm_describe(struct realm *r, const char *group);
const char *realm_state(struct realm *r, const char *group);

/* ---- tables --------------------------------------------------------------*/

struct row {
    const char *what;
    enum err got;
    enum err want;
};

void check_rows(const struct row *rows, size_t len);
#define CHECK_ROWS(rows) check_rows((rows), sizeof(rows) / sizeof *(rows))

#define cr_assert_err(got, want)                                               \
    cr_assert_eq((int)(got), (int)(want), "got %s, not %s",                    \
                 err_name((int)(got)), err_name((int)(want)))

#endif
