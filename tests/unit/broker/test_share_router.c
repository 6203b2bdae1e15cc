/* Questions to share coordinators: batched by API, broker and group, asked
 * again when the answer passes, and done once. */
#include "broker/coord/share/router.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { QUESTIONS = 12 };

static struct share_router *router;
static struct share_question questions[QUESTIONS];
static struct share_router_request *sent[64];
static int32_t sent_to[64];
static int sent_len;
static int done[QUESTIONS];
static int32_t leader = 1; /* of everything */
static int64_t now_ms;

static int32_t coordinator(void *arg, const struct share_question *q)
{
    (void)arg;
    (void)q;
    return leader;
}

static void on_send(void *arg, int32_t broker,
                    struct share_router_request *request)
{
    (void)arg;
    sent_to[sent_len] = broker;
    sent[sent_len++] = request;
}

static void on_done(void *arg, struct share_question *q)
{
    (void)arg;
    done[q - questions]++;
}

static const struct share_router_ops ops = {coordinator, on_send, on_done};

static void set_up(void) { router = share_router_new(&ops, NULL); }
static void tear_down(void) { share_router_free(router); }

TestSuite(share_router, .init = set_up, .fini = tear_down);

static void ask(int i, enum api_key api, const char *group)
{
    questions[i] = (struct share_question){
        .api = api,
        .group = slice_str(group),
        .topic = {{1}},
        .partition = i,
        .deadline_ms = now_ms + 5000,
    };
    share_router_ask(router, &questions[i], now_ms);
}

/* Answers a write the same to all. */
static void answer_write(int number, enum err err)
{
    struct share_router_request *request = sent[number];
    const struct write_share_group_state_request *q = &request->request.write;
    struct write_share_group_state_response r = {.results_len = q->topics_len};
    struct arena arena;

    arena_init(&arena, 0);
    r.results = arena_array(&arena, (size_t)q->topics_len, sizeof *r.results);
    for (int32_t i = 0; i < q->topics_len; i++) {
        r.results[i].topic_id = q->topics[i].topic_id;
        r.results[i].partitions_len = 1;
        r.results[i].partitions =
            arena_alloc(&arena, sizeof *r.results[i].partitions);
        r.results[i].partitions->partition = q->topics[i].partitions->partition;
        r.results[i].partitions->error_code = (int16_t)err;
    }
    share_router_answered(router, request, ERR_NONE, &r, now_ms);
    arena_free(&arena);
}

static void pass(int64_t ms)
{
    now_ms += ms;
    if (share_router_next_deadline(router) <= now_ms)
        share_router_tick(router, now_ms);
}

Test(share_router, what_comes_meanwhile_goes_together)
{
    ask(0, API_WRITE_SHARE_GROUP_STATE, "a");
    ask(1, API_WRITE_SHARE_GROUP_STATE, "a");
    ask(2, API_WRITE_SHARE_GROUP_STATE, "b");
    ask(3, API_WRITE_SHARE_GROUP_STATE, "a");
    cr_assert_eq(sent_len, 1);
    cr_assert_eq(sent[0]->request.write.topics_len, 1);
    answer_write(0, ERR_NONE);
    cr_assert_eq(done[0], 1);
    cr_assert_eq((int)questions[0].err, ERR_NONE);
    cr_assert_eq(sent_len, 2);
    cr_assert_eq(sent[1]->request.write.topics_len, 2); /* those of "a" */
    cr_assert(slice_eq_str(sent[1]->request.write.group_id, "a"));
    answer_write(1, ERR_FENCED_LEADER_EPOCH);
    cr_assert_eq((int)questions[1].err, ERR_FENCED_LEADER_EPOCH);
    cr_assert_eq((int)questions[3].err, ERR_FENCED_LEADER_EPOCH);
    cr_assert_eq(sent_len, 3);
    answer_write(2, ERR_NONE);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(done[i], 1);
    cr_assert_eq(share_router_next_deadline(router), INT64_MAX);
}

Test(share_router, an_api_does_not_wait_for_another)
{
    ask(0, API_WRITE_SHARE_GROUP_STATE, "a");
    ask(1, API_READ_SHARE_GROUP_STATE, "a");
    cr_assert_eq(sent_len, 2);
    answer_write(0, ERR_NONE);
    share_router_answered(router, sent[1], ERR_CLOSED, NULL, now_ms);
    cr_assert_eq(done[1], 0);
    pass(5000);
    cr_assert_eq(done[1], 1);
    cr_assert_eq((int)questions[1].err, ERR_CLOSED);
}

Test(share_router, what_passes_is_asked_again)
{
    static const enum err passing[] = {
        ERR_COORDINATOR_NOT_AVAILABLE, ERR_COORDINATOR_LOAD_IN_PROGRESS,
        ERR_NOT_COORDINATOR, ERR_UNKNOWN_TOPIC_OR_PARTITION};

    ask(0, API_WRITE_SHARE_GROUP_STATE, "a");
    for (int i = 0; i < 4; i++) {
        leader = 2 + i; /* it moved */
        answer_write(i, passing[i]);
        cr_assert_eq(done[0], 0);
        pass(1000);
        cr_assert_eq(sent_len, i + 2);
        cr_assert_eq(sent_to[i + 1], 2 + i);
    }
    answer_write(4, ERR_NONE);
    cr_assert_eq(done[0], 1);
    cr_assert_eq((int)questions[0].err, ERR_NONE);
}

Test(share_router, nobody_coordinates)
{
    leader = -1;
    ask(0, API_WRITE_SHARE_GROUP_STATE, "a");
    cr_assert_eq(sent_len, 0);
    for (int i = 0; i < 80; i++)
        pass(40);
    cr_assert_eq(done[0], 0);
    leader = 3;
    pass(1000);
    cr_assert_eq(sent_len, 1);
    answer_write(0, ERR_NONE);
    cr_assert_eq(done[0], 1);
}

Test(share_router, the_deadline_ends_it)
{
    leader = -1;
    ask(0, API_WRITE_SHARE_GROUP_STATE, "a");
    for (int i = 0; i < 200; i++)
        pass(40);
    cr_assert_eq(done[0], 1);
    cr_assert_eq((int)questions[0].err, ERR_COORDINATOR_NOT_AVAILABLE);
}

Test(share_router, an_answer_to_something_else_is_none)
{
    struct write_share_group_state_response r = {0};

    ask(0, API_WRITE_SHARE_GROUP_STATE, "a");
    share_router_answered(router, sent[0], ERR_NONE, &r, now_ms);
    cr_assert_eq(done[0], 1);
    cr_assert_eq((int)questions[0].err, ERR_UNKNOWN_SERVER_ERROR);
}

Test(share_router, a_state_is_copied)
{
    struct read_share_group_state_response_state_batch batch = {
        5, 9, SHARE_ACKNOWLEDGED, 2};
    struct read_share_group_state_response_partition_result p = {
        .partition = 0,
        .state_epoch = 3,
        .start_offset = 5,
        .state_batches = &batch,
        .state_batches_len = 1};
    struct read_share_group_state_response_read_state_result t = {{{1}}, &p, 1};
    struct read_share_group_state_response r = {&t, 1};

    ask(0, API_READ_SHARE_GROUP_STATE, "a");
    share_router_answered(router, sent[0], ERR_NONE, &r, now_ms);
    batch.first_offset = 0;
    cr_assert_eq(questions[0].told.state_epoch, 3);
    cr_assert_eq(questions[0].told.start_offset, 5);
    cr_assert_eq(questions[0].told.len, 1);
    cr_assert_eq(questions[0].told.batches[0].first, 5);
    cr_assert_eq(questions[0].told.batches[0].deliveries, 2);
    free(questions[0].told.batches);
}
