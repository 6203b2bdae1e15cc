/* Requests about share states in pieces: every share-partition goes to its own
 * coordinator once, and what it answers comes back to its place. */
#include "tests/unit/broker/share_fixture.h"

#include "broker/coord/placement.h"
#include "broker/coord/share/split.h"

#include <stdio.h>

enum { TOPICS = 4, PARTITIONS = 9, PLACES = 7 };

typedef struct write_share_group_state_request_partition_data write_partition;
typedef struct write_share_group_state_request_write_state_data write_topic;
typedef struct read_share_group_state_request_partition_data read_partition;
typedef struct read_share_group_state_request_read_state_data read_topic;

static struct state_log l;

/* The coordinators of all places are one, of which every piece asks. */
static void ask_all(struct share_answer *whole)
{
    int32_t len;
    struct share_piece *pieces = share_split(whole, PLACES, &len);

    cr_assert_eq(len, PLACES);
    for (int32_t i = 0; i < len; i++) {
        struct share_context context = {
            .token = (void *)(intptr_t)++l.tokens,
            .now_ms = l.time.now_ms,
            .wall_ms = l.time.wall_ms,
        };

        for (int32_t k = 0; k < i; k++)
            cr_assert_neq(pieces[k].partition, pieces[i].partition);
        share_shard_ask(l.shard, &context, pieces[i].ask);
        share_gather(whole, l.answers[l.tokens]);
        l.answers[l.tokens] = NULL;
    }
    share_gathered(whole);
}

static void initialize_all(void)
{
    for (int t = 0; t < TOPICS; t++)
        for (int p = 0; p < PARTITIONS; p++)
            INITIALIZE(&l, .topic = t + 1, .partition = p);
}

static struct share_answer *write_all(void)
{
    static write_partition partitions[TOPICS][PARTITIONS];
    static struct write_share_group_state_request_state_batch batch;
    write_topic topics[TOPICS];

    batch = (struct write_share_group_state_request_state_batch){
        5, 9, SHARE_ACKNOWLEDGED, 2};
    for (int t = 0; t < TOPICS; t++) {
        for (int p = 0; p < PARTITIONS; p++)
            partitions[t][p] = (write_partition){
                p, 0, 1, 10 * t + p, -1, &batch, p == 3 ? 1 : 0};
        topics[t] =
            (write_topic){state_topic(t + 1), partitions[t], PARTITIONS};
    }
    struct write_share_group_state_request request = {SLICE("g"), topics,
                                                      TOPICS};
    struct share_context context = {.version = 1};
    return share_answer_new(&context, API_WRITE_SHARE_GROUP_STATE, &request);
}

static struct share_answer *read_all(void)
{
    static read_partition partitions[PARTITIONS];
    read_topic topics[TOPICS];

    for (int p = 0; p < PARTITIONS; p++)
        partitions[p] = (read_partition){p, 1};
    for (int t = 0; t < TOPICS; t++)
        topics[t] = (read_topic){state_topic(t + 1), partitions, PARTITIONS};
    struct read_share_group_state_request request = {SLICE("g"), topics,
                                                     TOPICS};
    struct share_context context = {.version = 0};
    return share_answer_new(&context, API_READ_SHARE_GROUP_STATE, &request);
}

Test(share_split, answers_come_back_to_their_places)
{
    state_log_open(&l);
    initialize_all();
    struct share_answer *whole = write_all();
    ask_all(whole);
    cr_assert_eq(whole->response.write.results_len, TOPICS);
    for (int t = 0; t < TOPICS; t++)
        for (int p = 0; p < PARTITIONS; p++)
            cr_assert_err(
                whole->response.write.results[t].partitions[p].error_code,
                ERR_NONE);
    share_answer_free(whole);

    whole = read_all();
    ask_all(whole);
    for (int t = 0; t < TOPICS; t++) {
        const struct read_share_group_state_response_read_state_result *r =
            &whole->response.read.results[t];

        cr_assert(uuid_eq(r->topic_id, state_topic(t + 1)));
        cr_assert_eq(r->partitions_len, PARTITIONS);
        for (int p = 0; p < PARTITIONS; p++) {
            cr_assert_eq(r->partitions[p].partition, p);
            cr_assert_eq(r->partitions[p].start_offset, 10 * t + p);
            cr_assert_eq(r->partitions[p].state_batches_len,
                         p == 3 && t == 0 ? 1 : 0, "topic %d", t);
        }
    }
    share_answer_free(whole);
    state_log_close(&l);
}

Test(share_split, errors_come_back_to_their_places)
{
    state_log_open(&l);
    INITIALIZE(&l, .topic = 2, .partition = 4);
    struct share_answer *whole = write_all();
    ask_all(whole);
    for (int t = 0; t < TOPICS; t++)
        for (int p = 0; p < PARTITIONS; p++)
            cr_assert_err(
                whole->response.write.results[t].partitions[p].error_code,
                t == 1 && p == 4 ? ERR_NONE : ERR_INVALID_REQUEST);
    share_answer_free(whole);
    state_log_close(&l);
}

/* Nobody coordinates what is no share-partition. */
Test(share_split, what_is_wrong_is_answered_at_home)
{
    read_partition partitions[] = {{0, 1}, {-1, 1}};
    read_topic topics[] = {{state_topic(-1), partitions, 1},
                           {state_topic(1), partitions, 2}};
    struct read_share_group_state_request request = {SLICE("g"), topics, 2};
    struct share_context context = {.version = 0};
    int32_t len;

    struct share_answer *whole =
        share_answer_new(&context, API_READ_SHARE_GROUP_STATE, &request);
    struct share_piece *pieces = share_split(whole, PLACES, &len);
    cr_assert_eq(len, 1);
    share_answer_refuse(pieces[0].ask, ERR_NOT_COORDINATOR);
    share_gather(whole, pieces[0].ask);
    share_gathered(whole);
    const struct read_share_group_state_response *r = &whole->response.read;
    cr_assert_err(r->results[0].partitions[0].error_code, ERR_INVALID_REQUEST);
    cr_assert_err(r->results[1].partitions[0].error_code, ERR_NOT_COORDINATOR);
    cr_assert_err(r->results[1].partitions[1].error_code, ERR_INVALID_REQUEST);
    share_answer_free(whole);

    request.group_id = SLICE("");
    whole = share_answer_new(&context, API_READ_SHARE_GROUP_STATE, &request);
    share_split(whole, PLACES, &len);
    cr_assert_eq(len, 0);
    share_gathered(whole);
    cr_assert_err(whole->response.read.results[1].partitions[0].error_code,
                  ERR_INVALID_GROUP_ID);
    share_answer_free(whole);
}

Test(share_split, a_key_as_text)
{
    struct arena arena;
    struct uuid topic = state_topic(7);

    arena_init(&arena, 0);
    struct slice key = share_coordinator_key(SLICE("a:b"), topic, 12, &arena);
    cr_assert(slice_eq_str(key, "a:b:AAAAAAAAAAAAAAAAAAAABw:12"));
    cr_assert(share_coordinator_key_ok(key));
    arena_free(&arena);
    cr_assert(!share_coordinator_key_ok(SLICE("")));
    cr_assert(!share_coordinator_key_ok(SLICE("g")));
    cr_assert(!share_coordinator_key_ok(SLICE("g:1")));
    cr_assert(!share_coordinator_key_ok(SLICE(":AAAAAAAAAAAAAAAAAAAABw:1")));
    cr_assert(!share_coordinator_key_ok(SLICE("g:AAAAAAAAAAAAAAAAAAAABw:")));
    cr_assert(!share_coordinator_key_ok(SLICE("g:AAAAAAAAAAAAAAAAAAAABw:-1")));
    cr_assert(!share_coordinator_key_ok(SLICE("g:AAAAAAAAAAAAAAAAAAAAB:1")));
    cr_assert(!share_coordinator_key_ok(
        SLICE("g:AAAAAAAAAAAAAAAAAAAABw:9999999999")));
}
