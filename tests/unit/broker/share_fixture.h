/* A __share_group_state partition with one coordinator, for tests: its log is
 * in memory, its high watermark moves when the test says so, and clients are
 * tokens.
 *
 *     struct state_log l;
 *     state_log_open(&l);
 *     cr_assert_err(told(&l, INITIALIZE(&l, .start = 10)), ERR_NONE);
 *     int t = WRITE(&l, .leader = 1, .batches = {{10, 19, 2, 1}});
 *     cr_assert_err(told(&l, t), ERR_NONE);
 *     state_log_close(&l);
 *
 * Fields that are left out are those of group "g", topic 1, partition 0. */
#ifndef TESTS_UNIT_BROKER_SHARE_FIXTURE_H
#define TESTS_UNIT_BROKER_SHARE_FIXTURE_H

#include "broker/coord/share/share_shard.h"

#include <criterion/criterion.h>

enum {
    STATE_TOKENS_MAX = 60000,
    STATE_BATCHES_MAX = 60000,
    STATE_ARGS_BATCHES = 8,
};

struct state_log {
    struct share_shard *shard;
    struct share_shard_options options;
    struct coord_time time;
    /* the log */
    struct buf batches[STATE_BATCHES_MAX];
    int batches_first; /* those before were pruned */
    int batches_len;
    int64_t end_offset;
    int64_t high_watermark;
    bool hold;           /* commits wait for state_log_commit() */
    enum err append_err; /* what append answers; ERR_NONE: it appends */
    enum err (*partition_error)(void *, struct uuid, int32_t);
    /* the clients */
    struct share_answer *answers[STATE_TOKENS_MAX];
    int tokens;
};

void state_log_open(struct state_log *l); /* with an active coordinator */
/* The same, with options set by the test before state_log_start(). */
void state_log_init(struct state_log *l);
void state_log_start(struct state_log *l);
void state_log_close(struct state_log *l);
/* The coordinator is lost, and the next one loads the log, or what is below
 * end_offset of it. */
void state_log_fail_over(struct state_log *l);
void state_log_fail_over_at(struct state_log *l, int64_t end_offset);
/* Time passes; timers fire when they are due. */
void state_log_pass(struct state_log *l, int64_t ms);
void state_log_commit(struct state_log *l); /* all of the log */
/* Deletes what the coordinator does not need; how many records are left. */
int64_t state_log_prune(struct state_log *l);
/* The text of the surviving state; to be freed. */
char *state_log_dump(const struct state_log *l);

/* ---- requests: each returns its token ------------------------------------*/

struct state_args {
    const char *group; /* "g" */
    int topic;         /* 1; -1: the null id */
    int32_t partition;
    int32_t state;  /* epoch */
    int32_t leader; /* epoch */
    int64_t start;
    int32_t complete; /* 0: not given */
    struct share_batch batches[STATE_ARGS_BATCHES];
    const struct share_batch *many; /* instead of `batches` */
    uint32_t many_len;
};
int state_request(struct state_log *l, enum api_key api,
                  struct state_args args);
/* Any request; its token. */
int state_send(struct state_log *l, enum api_key api, const void *request);
#define INITIALIZE(l, ...)                                                     \
    state_request((l), API_INITIALIZE_SHARE_GROUP_STATE,                       \
                  (struct state_args){__VA_ARGS__})
#define WRITE(l, ...)                                                          \
    state_request((l), API_WRITE_SHARE_GROUP_STATE,                            \
                  (struct state_args){__VA_ARGS__})
#define READ(l, ...)                                                           \
    state_request((l), API_READ_SHARE_GROUP_STATE,                             \
                  (struct state_args){__VA_ARGS__})
#define SUMMARY(l, ...)                                                        \
    state_request((l), API_READ_SHARE_GROUP_STATE_SUMMARY,                     \
                  (struct state_args){__VA_ARGS__})
#define DELETE(l, ...)                                                         \
    state_request((l), API_DELETE_SHARE_GROUP_STATE,                           \
                  (struct state_args){__VA_ARGS__})

struct uuid state_topic(int topic);
bool has_answer(const struct state_log *l, int token);
/* Of the first partition. */
enum err told(const struct state_log *l, int token);
const struct read_share_group_state_response_partition_result *
told_state(const struct state_log *l, int token);
const struct read_share_group_state_summary_response_partition_result *
told_summary(const struct state_log *l, int token);
/* A read at once, as text: "start 5: 5-9:2/1 12-12:0/2". */
const char *state_text(struct state_log *l, int32_t leader);

#define cr_assert_err(got, want)                                               \
    cr_assert_eq((int)(got), (int)(want), "got %s, not %s",                    \
                 err_name((int)(got)), err_name((int)(want)))

#endif
