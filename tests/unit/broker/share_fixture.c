#include "tests/unit/broker/share_fixture.h"

#include "proto/kafka/api.h"
#include "proto/record/batch.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the partition -------------------------------------------------------*/

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct state_log *l = arg;
    struct batch header;

    if (l->append_err != ERR_NONE)
        return l->append_err;
    cr_assert_lt(l->batches_len, STATE_BATCHES_MAX);
    cr_assert_eq(batch_parse(slice_of(batch, len), &header), ERR_NONE);
    batch_patch(batch, l->end_offset, 1);
    buf_put(&l->batches[l->batches_len++], batch, len);
    *base_offset = l->end_offset;
    l->end_offset += header.last_offset_delta + 1;
    if (!l->hold)
        state_log_commit(l);
    return ERR_NONE;
}

static void on_answer(void *arg, struct share_answer *answer)
{
    struct state_log *l = arg;
    intptr_t token = (intptr_t)answer->token;

    cr_assert(token > 0 && token <= l->tokens);
    cr_assert_null(l->answers[token], "token %d answered twice", (int)token);
    l->answers[token] = answer;
    struct buf bytes = BUF_INIT;
    enum err err =
        kafka_encode(api_find((int16_t)answer->api)->response, answer->version,
                     &answer->response, &bytes, NULL);
    cr_assert_eq(err, ERR_NONE);
    buf_free(&bytes);
}

static const struct share_shard_ops ops = {
    .append = on_append,
    .answer = on_answer,
};

/* ---- life ----------------------------------------------------------------*/

void state_log_init(struct state_log *l)
{
    memset(l, 0, sizeof *l);
    share_coord_config_init(&l->options.config);
    l->options.batch_max_bytes = 1 << 20;
    l->options.commit_timeout_ms = 5000;
    l->time = (struct coord_time){1000000, INT64_C(1700000000000)};
}

void state_log_start(struct state_log *l)
{
    l->shard = share_shard_create(&l->options, &ops, l);
    struct share_loader *loader = share_shard_loader(l->shard);

    for (int i = l->batches_first; i < l->batches_len; i++)
        cr_assert_eq(share_loader_add(loader, buf_slice(&l->batches[i])),
                     ERR_NONE);
    cr_assert_eq(share_loader_skipped(loader), 0);
    share_shard_activate(l->shard, loader, l->end_offset, l->high_watermark,
                         l->time);
    if (!l->hold)
        state_log_commit(l);
}

void state_log_open(struct state_log *l)
{
    state_log_init(l);
    state_log_start(l);
}

static void resign(struct state_log *l)
{
    share_shard_resign(l->shard, l->time);
    share_shard_free(l->shard);
    l->shard = NULL;
}

void state_log_close(struct state_log *l)
{
    if (l->shard != NULL)
        resign(l);
    for (int i = l->batches_first; i < l->batches_len; i++)
        buf_free(&l->batches[i]);
    for (int i = 0; i <= l->tokens; i++)
        share_answer_free(l->answers[i]);
}

void state_log_fail_over_at(struct state_log *l, int64_t end_offset)
{
    resign(l);
    while (l->batches_len > l->batches_first &&
           (int64_t)be64_get(l->batches[l->batches_len - 1].data) >= end_offset)
        buf_free(&l->batches[--l->batches_len]);
    l->end_offset = end_offset;
    state_log_start(l);
}

void state_log_fail_over(struct state_log *l)
{
    state_log_fail_over_at(l, l->end_offset);
}

void state_log_commit(struct state_log *l)
{
    l->high_watermark = l->end_offset;
    share_shard_committed(l->shard, l->high_watermark, l->time);
}

void state_log_pass(struct state_log *l, int64_t ms)
{
    int64_t end = l->time.now_ms + ms;
    int64_t wall_ahead = l->time.wall_ms - l->time.now_ms;

    for (;;) {
        int64_t due = share_shard_next_deadline(l->shard);

        if (due > end)
            break;
        if (due > l->time.now_ms)
            l->time = (struct coord_time){due, due + wall_ahead};
        share_shard_tick(l->shard, l->time);
    }
    l->time = (struct coord_time){end, end + wall_ahead};
}

int64_t state_log_prune(struct state_log *l)
{
    int64_t offset = share_shard_prune_offset(l->shard), left = 0;
    struct batch header;

    cr_assert_leq(offset, l->high_watermark);
    while (l->batches_first < l->batches_len) {
        struct buf *first = &l->batches[l->batches_first];

        cr_assert_eq(batch_parse(buf_slice(first), &header), ERR_NONE);
        left = l->end_offset - header.base_offset;
        if (header.base_offset + header.last_offset_delta >= offset)
            return left;
        buf_free(first);
        l->batches_first++;
    }
    return 0;
}

char *state_log_dump(const struct state_log *l)
{
    struct buf text = BUF_INIT;

    share_coord_check(share_shard_coord(l->shard));
    share_coord_dump(share_shard_coord(l->shard), &text);
    buf_put_u8(&text, 0);
    return (char *)text.data;
}

/* ---- requests ------------------------------------------------------------*/

struct uuid state_topic(int topic)
{
    struct uuid id = UUID_ZERO;

    id.bytes[15] = topic < 0 ? 0 : (uint8_t)(topic == 0 ? 1 : topic);
    return id;
}

int state_send(struct state_log *l, enum api_key api, const void *request)
{
    struct share_context context = {
        .token = (void *)(intptr_t)++l->tokens,
        .now_ms = l->time.now_ms,
        .wall_ms = l->time.wall_ms,
        .version = api == API_WRITE_SHARE_GROUP_STATE ||
                           api == API_READ_SHARE_GROUP_STATE_SUMMARY
                       ? 1
                       : 0,
        .partition_error = l->partition_error,
    };

    cr_assert_lt(l->tokens, STATE_TOKENS_MAX);
    share_shard_request(l->shard, &context, api, request);
    return l->tokens;
}

static void send_write(struct state_log *l, struct slice group,
                       struct uuid topic, const struct state_args *args)
{
    const struct share_batch *from =
        args->many != NULL ? args->many : args->batches;
    uint32_t len = args->many_len;

    if (args->many == NULL)
        while (len < STATE_ARGS_BATCHES && from[len].deliveries != 0)
            len++;
    struct write_share_group_state_request_state_batch *batches =
        xcalloc(len + 1, sizeof *batches);
    for (uint32_t i = 0; i < len; i++)
        batches[i] = (struct write_share_group_state_request_state_batch){
            from[i].first, from[i].last, (int8_t)from[i].state,
            from[i].deliveries};
    struct write_share_group_state_request_partition_data p = {
        args->partition,
        args->state,
        args->leader,
        args->start,
        args->complete == 0 ? -1 : args->complete,
        batches,
        (int32_t)len};
    struct write_share_group_state_request_write_state_data t = {topic, &p, 1};
    state_send(l, API_WRITE_SHARE_GROUP_STATE,
               &(struct write_share_group_state_request){group, &t, 1});
    free(batches);
}

static void send_initialize(struct state_log *l, struct slice group,
                            struct uuid topic, const struct state_args *args)
{
    struct initialize_share_group_state_request_partition_data p = {
        args->partition, args->state, args->start};
    struct initialize_share_group_state_request_initialize_state_data t = {
        topic, &p, 1};

    state_send(l, API_INITIALIZE_SHARE_GROUP_STATE,
               &(struct initialize_share_group_state_request){group, &t, 1});
}

static void send_read(struct state_log *l, struct slice group,
                      struct uuid topic, const struct state_args *args)
{
    struct read_share_group_state_request_partition_data p = {args->partition,
                                                              args->leader};
    struct read_share_group_state_request_read_state_data t = {topic, &p, 1};

    state_send(l, API_READ_SHARE_GROUP_STATE,
               &(struct read_share_group_state_request){group, &t, 1});
}

static void send_summary(struct state_log *l, struct slice group,
                         struct uuid topic, const struct state_args *args)
{
    struct read_share_group_state_summary_request_partition_data p = {
        args->partition, args->leader};
    struct read_share_group_state_summary_request_read_state_summary_data t = {
        topic, &p, 1};

    state_send(l, API_READ_SHARE_GROUP_STATE_SUMMARY,
               &(struct read_share_group_state_summary_request){group, &t, 1});
}

static void send_delete(struct state_log *l, struct slice group,
                        struct uuid topic, const struct state_args *args)
{
    struct delete_share_group_state_request_partition_data p = {
        args->partition};
    struct delete_share_group_state_request_delete_state_data t = {topic, &p,
                                                                   1};

    state_send(l, API_DELETE_SHARE_GROUP_STATE,
               &(struct delete_share_group_state_request){group, &t, 1});
}

int state_request(struct state_log *l, enum api_key api, struct state_args args)
{
    struct slice group = slice_str(args.group != NULL ? args.group : "g");
    struct uuid topic = state_topic(args.topic);

    switch (api) {
    case API_INITIALIZE_SHARE_GROUP_STATE:
        send_initialize(l, group, topic, &args);
        break;
    case API_READ_SHARE_GROUP_STATE:
        send_read(l, group, topic, &args);
        break;
    case API_WRITE_SHARE_GROUP_STATE:
        send_write(l, group, topic, &args);
        break;
    case API_READ_SHARE_GROUP_STATE_SUMMARY:
        send_summary(l, group, topic, &args);
        break;
    default:
        send_delete(l, group, topic, &args);
    }
    return l->tokens;
}

/* ---- answers -------------------------------------------------------------*/

bool has_answer(const struct state_log *l, int token)
{
    return l->answers[token] != NULL;
}

enum err told(const struct state_log *l, int token)
{
    const struct share_answer *answer = l->answers[token];

    cr_assert_not_null(answer, "token %d has no answer", token);
    switch (answer->api) {
    case API_INITIALIZE_SHARE_GROUP_STATE:
        return (enum err)answer->response.initialize.results[0]
            .partitions[0]
            .error_code;
    case API_READ_SHARE_GROUP_STATE:
        return (enum err)answer->response.read.results[0]
            .partitions[0]
            .error_code;
    case API_WRITE_SHARE_GROUP_STATE:
        return (enum err)answer->response.write.results[0]
            .partitions[0]
            .error_code;
    case API_DELETE_SHARE_GROUP_STATE:
        return (enum err)answer->response.delete_.results[0]
            .partitions[0]
            .error_code;
    default:
        return (enum err)answer->response.summary.results[0]
            .partitions[0]
            .error_code;
    }
}

const struct read_share_group_state_response_partition_result *
told_state(const struct state_log *l, int token)
{
    cr_assert_err(told(l, token), ERR_NONE);
    return &l->answers[token]->response.read.results[0].partitions[0];
}

const struct read_share_group_state_summary_response_partition_result *
told_summary(const struct state_log *l, int token)
{
    cr_assert_err(told(l, token), ERR_NONE);
    return &l->answers[token]->response.summary.results[0].partitions[0];
}

const char *state_text(struct state_log *l, int32_t leader)
{
    static char text[4096];
    int token = READ(l, .leader = leader);
    const struct read_share_group_state_response_partition_result *state =
        told_state(l, token);
    size_t at = (size_t)snprintf(text, sizeof text,
                                 "start %lld:", (long long)state->start_offset);

    for (int32_t i = 0; i < state->state_batches_len; i++) {
        const struct read_share_group_state_response_state_batch *b =
            &state->state_batches[i];

        at += (size_t)snprintf(text + at, sizeof text - at, " %lld-%lld:%d/%d",
                               (long long)b->first_offset,
                               (long long)b->last_offset, b->delivery_state,
                               b->delivery_count);
    }
    return text;
}
