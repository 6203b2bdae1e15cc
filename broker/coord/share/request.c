/* Requests into asks, asks into responses: five APIs that differ in names. */
#include "broker/coord/share/combine.h"
#include "broker/coord/share/parts.h"

#include <stdlib.h>

typedef const struct initialize_share_group_state_request initialize_request;
typedef const struct read_share_group_state_request read_request;
typedef const struct write_share_group_state_request write_request;
typedef const struct delete_share_group_state_request delete_request;
typedef const struct read_share_group_state_summary_request summary_request;

/* ---- requests ------------------------------------------------------------*/

static void begin(struct share_answer *answer, struct slice group,
                  int32_t topics_len)
{
    answer->group = arena_copy(&answer->arena, group);
    answer->topics_len = topics_len;
    answer->topic_lens = arena_array(&answer->arena, (size_t)topics_len,
                                     sizeof *answer->topic_lens);
}

static void count(struct share_answer *answer, int32_t topic, int32_t len)
{
    answer->topic_lens[topic] = len;
    answer->asks_len += len;
}

static void counted(struct share_answer *answer)
{
    answer->asks = arena_array(&answer->arena, (size_t)answer->asks_len,
                               sizeof *answer->asks);
}

static void take_initialize(struct share_answer *answer,
                            initialize_request *request)
{
    begin(answer, request->group_id, request->topics_len);
    for (int32_t t = 0; t < request->topics_len; t++)
        count(answer, t, request->topics[t].partitions_len);
    counted(answer);
    struct share_ask *ask = answer->asks;
    for (int32_t t = 0; t < request->topics_len; t++)
        for (int32_t p = 0; p < request->topics[t].partitions_len; p++)
            *ask++ = (struct share_ask){
                .topic = request->topics[t].topic_id,
                .partition = request->topics[t].partitions[p].partition,
                .state_epoch = request->topics[t].partitions[p].state_epoch,
                .start_offset = request->topics[t].partitions[p].start_offset};
}

static void take_read(struct share_answer *answer, read_request *request)
{
    begin(answer, request->group_id, request->topics_len);
    for (int32_t t = 0; t < request->topics_len; t++)
        count(answer, t, request->topics[t].partitions_len);
    counted(answer);
    struct share_ask *ask = answer->asks;
    for (int32_t t = 0; t < request->topics_len; t++)
        for (int32_t p = 0; p < request->topics[t].partitions_len; p++)
            *ask++ = (struct share_ask){
                .topic = request->topics[t].topic_id,
                .partition = request->topics[t].partitions[p].partition,
                .leader_epoch = request->topics[t].partitions[p].leader_epoch};
}

static void
take_batches(struct arena *arena, struct share_ask *ask,
             const struct write_share_group_state_request_partition_data *from)
{
    ask->len = (uint32_t)from->state_batches_len;
    ask->batches = arena_array(arena, ask->len, sizeof *ask->batches);
    ask->batches_ok = true;
    for (uint32_t i = 0; i < ask->len; i++) {
        const struct write_share_group_state_request_state_batch *b =
            &from->state_batches[i];

        if (!share_batch_ok(b->first_offset, b->last_offset, b->delivery_state,
                            b->delivery_count))
            ask->batches_ok = false;
        ask->batches[i] = (struct share_batch){
            b->first_offset, b->last_offset,
            (enum share_state)b->delivery_state, b->delivery_count};
    }
}

static void take_write(struct share_answer *answer, write_request *request)
{
    begin(answer, request->group_id, request->topics_len);
    for (int32_t t = 0; t < request->topics_len; t++)
        count(answer, t, request->topics[t].partitions_len);
    counted(answer);
    struct share_ask *ask = answer->asks;
    for (int32_t t = 0; t < request->topics_len; t++) {
        for (int32_t p = 0; p < request->topics[t].partitions_len; p++) {
            const struct write_share_group_state_request_partition_data *from =
                &request->topics[t].partitions[p];

            *ask =
                (struct share_ask){.topic = request->topics[t].topic_id,
                                   .partition = from->partition,
                                   .state_epoch = from->state_epoch,
                                   .leader_epoch = from->leader_epoch,
                                   .start_offset = from->start_offset,
                                   .complete = from->delivery_complete_count};
            take_batches(&answer->arena, ask++, from);
        }
    }
}

static void take_delete(struct share_answer *answer, delete_request *request)
{
    begin(answer, request->group_id, request->topics_len);
    for (int32_t t = 0; t < request->topics_len; t++)
        count(answer, t, request->topics[t].partitions_len);
    counted(answer);
    struct share_ask *ask = answer->asks;
    for (int32_t t = 0; t < request->topics_len; t++)
        for (int32_t p = 0; p < request->topics[t].partitions_len; p++)
            *ask++ = (struct share_ask){
                .topic = request->topics[t].topic_id,
                .partition = request->topics[t].partitions[p].partition};
}

static void take_summary(struct share_answer *answer, summary_request *request)
{
    begin(answer, request->group_id, request->topics_len);
    for (int32_t t = 0; t < request->topics_len; t++)
        count(answer, t, request->topics[t].partitions_len);
    counted(answer);
    struct share_ask *ask = answer->asks;
    for (int32_t t = 0; t < request->topics_len; t++)
        for (int32_t p = 0; p < request->topics[t].partitions_len; p++)
            *ask++ = (struct share_ask){
                .topic = request->topics[t].topic_id,
                .partition = request->topics[t].partitions[p].partition,
                .leader_epoch = request->topics[t].partitions[p].leader_epoch};
}

struct share_answer *share_answer_new(const struct share_context *context,
                                      enum api_key api, const void *request)
{
    struct share_answer *answer = xcalloc(1, sizeof *answer);

    list_init(&answer->link);
    answer->token = context->token;
    answer->api = api;
    answer->version = context->version;
    arena_init(&answer->arena, 0);
    switch (api) {
    case API_INITIALIZE_SHARE_GROUP_STATE:
        take_initialize(answer, request);
        break;
    case API_READ_SHARE_GROUP_STATE:
        take_read(answer, request);
        break;
    case API_WRITE_SHARE_GROUP_STATE:
        take_write(answer, request);
        break;
    case API_DELETE_SHARE_GROUP_STATE:
        take_delete(answer, request);
        break;
    case API_READ_SHARE_GROUP_STATE_SUMMARY:
        take_summary(answer, request);
        break;
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
    }
    return answer;
}

void share_answer_free(struct share_answer *answer)
{
    if (answer == NULL)
        return;
    arena_free(&answer->arena);
    free(answer);
}

/* ---- responses -----------------------------------------------------------*/

static struct slice message(const struct share_ask *ask)
{
    return ask->err == ERR_NONE ? SLICE_NULL : slice_str(err_text(ask->err));
}

static void fill_initialize(struct share_answer *answer)
{
    struct initialize_share_group_state_response *r =
        &answer->response.initialize;
    const struct share_ask *ask = answer->asks;

    r->results_len = answer->topics_len;
    r->results =
        arena_array(&answer->arena, (size_t)r->results_len, sizeof *r->results);
    for (int32_t t = 0; t < r->results_len; t++) {
        struct initialize_share_group_state_response_initialize_state_result
            *to = &r->results[t];

        to->partitions_len = answer->topic_lens[t];
        to->partitions = arena_array(&answer->arena, (size_t)to->partitions_len,
                                     sizeof *to->partitions);
        for (int32_t p = 0; p < to->partitions_len; p++, ask++) {
            to->topic_id = ask->topic;
            to->partitions[p] =
                (struct initialize_share_group_state_response_partition_result){
                    ask->partition, err_wire(ask->err), message(ask)};
        }
    }
}

static void fill_write(struct share_answer *answer)
{
    struct write_share_group_state_response *r = &answer->response.write;
    const struct share_ask *ask = answer->asks;

    r->results_len = answer->topics_len;
    r->results =
        arena_array(&answer->arena, (size_t)r->results_len, sizeof *r->results);
    for (int32_t t = 0; t < r->results_len; t++) {
        struct write_share_group_state_response_write_state_result *to =
            &r->results[t];

        to->partitions_len = answer->topic_lens[t];
        to->partitions = arena_array(&answer->arena, (size_t)to->partitions_len,
                                     sizeof *to->partitions);
        for (int32_t p = 0; p < to->partitions_len; p++, ask++) {
            to->topic_id = ask->topic;
            to->partitions[p] =
                (struct write_share_group_state_response_partition_result){
                    ask->partition, err_wire(ask->err), message(ask)};
        }
    }
}

static void fill_delete(struct share_answer *answer)
{
    struct delete_share_group_state_response *r = &answer->response.delete_;
    const struct share_ask *ask = answer->asks;

    r->results_len = answer->topics_len;
    r->results =
        arena_array(&answer->arena, (size_t)r->results_len, sizeof *r->results);
    for (int32_t t = 0; t < r->results_len; t++) {
        struct delete_share_group_state_response_delete_state_result *to =
            &r->results[t];

        to->partitions_len = answer->topic_lens[t];
        to->partitions = arena_array(&answer->arena, (size_t)to->partitions_len,
                                     sizeof *to->partitions);
        for (int32_t p = 0; p < to->partitions_len; p++, ask++) {
            to->topic_id = ask->topic;
            to->partitions[p] =
                (struct delete_share_group_state_response_partition_result){
                    ask->partition, err_wire(ask->err), message(ask)};
        }
    }
}

static void
fill_state(struct arena *arena, const struct share_ask *ask,
           struct read_share_group_state_response_partition_result *to)
{
    to->partition = ask->partition;
    to->error_code = err_wire(ask->err);
    to->error_message = message(ask);
    if (ask->err != ERR_NONE)
        return;
    to->state_epoch = ask->told.state_epoch;
    to->start_offset = ask->told.start_offset;
    to->state_batches_len = (int32_t)ask->told.len;
    to->state_batches =
        arena_array(arena, ask->told.len, sizeof *to->state_batches);
    for (uint32_t i = 0; i < ask->told.len; i++) {
        const struct share_batch *b = &ask->told.batches[i];

        to->state_batches[i] =
            (struct read_share_group_state_response_state_batch){
                b->first, b->last, (int8_t)b->state, b->deliveries};
    }
}

static void fill_read(struct share_answer *answer)
{
    struct read_share_group_state_response *r = &answer->response.read;
    const struct share_ask *ask = answer->asks;

    r->results_len = answer->topics_len;
    r->results =
        arena_array(&answer->arena, (size_t)r->results_len, sizeof *r->results);
    for (int32_t t = 0; t < r->results_len; t++) {
        struct read_share_group_state_response_read_state_result *to =
            &r->results[t];

        to->partitions_len = answer->topic_lens[t];
        to->partitions = arena_array(&answer->arena, (size_t)to->partitions_len,
                                     sizeof *to->partitions);
        for (int32_t p = 0; p < to->partitions_len; p++, ask++) {
            to->topic_id = ask->topic;
            fill_state(&answer->arena, ask, &to->partitions[p]);
        }
    }
}

static void fill_summary(struct share_answer *answer)
{
    struct read_share_group_state_summary_response *r =
        &answer->response.summary;
    const struct share_ask *ask = answer->asks;

    r->results_len = answer->topics_len;
    r->results =
        arena_array(&answer->arena, (size_t)r->results_len, sizeof *r->results);
    for (int32_t t = 0; t < r->results_len; t++) {
        struct read_share_group_state_summary_response_read_state_summary_result
            *to = &r->results[t];

        to->partitions_len = answer->topic_lens[t];
        to->partitions = arena_array(&answer->arena, (size_t)to->partitions_len,
                                     sizeof *to->partitions);
        for (int32_t p = 0; p < to->partitions_len; p++, ask++) {
            to->topic_id = ask->topic;
            to->partitions[p] =
                (struct
                 read_share_group_state_summary_response_partition_result){
                    ask->partition,         err_wire(ask->err),
                    message(ask),           ask->told.state_epoch,
                    ask->told.leader_epoch, ask->told.start_offset,
                    ask->told.complete};
        }
    }
}

void share_answer_fill(struct share_answer *answer)
{
    switch (answer->api) {
    case API_INITIALIZE_SHARE_GROUP_STATE:
        fill_initialize(answer);
        break;
    case API_READ_SHARE_GROUP_STATE:
        fill_read(answer);
        break;
    case API_WRITE_SHARE_GROUP_STATE:
        fill_write(answer);
        break;
    case API_DELETE_SHARE_GROUP_STATE:
        fill_delete(answer);
        break;
    default:
        fill_summary(answer);
    }
}

void share_answer_send(struct share_step *step, struct share_answer *answer)
{
    share_answer_fill(answer);
    list_push_back(&step->update->answers, &answer->link);
}

void share_answer_ended(struct share_step *step, struct share_answer *answer)
{
    if (--answer->waiting == 0)
        share_answer_send(step, answer);
}

void share_answer_refuse(struct share_answer *answer, enum err err)
{
    for (int32_t i = 0; i < answer->asks_len; i++)
        answer->asks[i].err = err;
    share_answer_fill(answer);
}

struct share_answer *share_refuse(const struct share_context *context,
                                  enum api_key api, const void *request,
                                  enum err err)
{
    struct share_answer *answer = share_answer_new(context, api, request);

    share_answer_refuse(answer, err);
    return answer;
}
