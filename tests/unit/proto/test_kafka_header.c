/* Frames: what carries which header, and frames from those who mean harm. */
#include "proto/kafka/api.h"
#include "proto/kafka/header.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define BYTES(...)                                                             \
    slice_of((const uint8_t[]){__VA_ARGS__},                                   \
             sizeof((const uint8_t[]){__VA_ARGS__}))

/* Parses a copy of exactly its size, for the address sanitizer to guard. */
static enum err parse(struct slice frame, struct request_header *h,
                      struct slice *body)
{
    static uint8_t *copy;

    free(copy);
    copy = xmemdup(frame.data, frame.len);
    return kafka_parse_request(slice_of(copy, frame.len), h, body);
}

/* ---- header versions ---------------------------------------------------- */

Test(kafka_header, the_header_follows_from_api_and_version)
{
    cr_expect_eq(kafka_request_header_version(API_CONTROLLED_SHUTDOWN, 0), 0);
    cr_expect_eq(kafka_request_header_version(API_CONTROLLED_SHUTDOWN, 1), 1);
    cr_expect_eq(kafka_request_header_version(API_PRODUCE, 0), 1);
    cr_expect_eq(kafka_request_header_version(API_PRODUCE, 8), 1);
    cr_expect_eq(kafka_request_header_version(API_PRODUCE, 9), 2);
    cr_expect_eq(kafka_response_header_version(API_PRODUCE, 8), 0);
    cr_expect_eq(kafka_response_header_version(API_PRODUCE, 9), 1);
}

Test(kafka_header, answers_to_api_versions_always_carry_header_0)
{
    for (int16_t version = 0; version <= 5; version++)
        cr_expect_eq(kafka_response_header_version(API_API_VERSIONS, version),
                     0);
}

/* ---- requests ----------------------------------------------------------- */

Test(kafka_header, a_request_comes_back_as_it_was_framed)
{
    struct heartbeat_request m;
    struct heartbeat_request back;
    struct request_header h = {.request_api_key = API_HEARTBEAT,
                               .correlation_id = 7,
                               .client_id = SLICE("me")};

    heartbeat_request_init(&m);
    m.group_id = SLICE("g");
    for (int16_t version = 0; version <= 4; version++) {
        struct buf out = BUF_INIT;
        struct request_header parsed;
        struct slice body;
        struct arena arena;

        h.request_api_version = version;
        cr_assert_eq(kafka_frame_request(&out, &h, &m), ERR_NONE);
        cr_assert_eq(be32_get(out.data), out.len - 4);
        cr_assert_eq(parse(slice_of(out.data + 4, out.len - 4), &parsed, &body),
                     ERR_NONE);
        cr_expect_eq(parsed.request_api_key, API_HEARTBEAT);
        cr_expect_eq(parsed.request_api_version, version);
        cr_expect_eq(parsed.correlation_id, 7);
        cr_expect(slice_eq_str(parsed.client_id, "me"));
        arena_init(&arena, 0);
        cr_assert_eq(
            kafka_decode(&heartbeat_request_desc, version, body, &arena, &back),
            ERR_NONE);
        cr_expect(slice_eq_str(back.group_id, "g"));
        arena_free(&arena);
        buf_free(&out);
    }
}

Test(kafka_header, the_flexible_header_keeps_the_plain_client_id)
{
    struct request_header h;
    struct slice body;

    /* Metadata 9: int16 length, then the header's tagged fields. */
    cr_assert_eq(parse(BYTES(0, 3, 0, 9, 0, 0, 0, 1, 0, 2, 'm', 'e', 1, 9, 1,
                             0xaa, 0xbb),
                       &h, &body),
                 ERR_NONE);
    cr_expect(slice_eq_str(h.client_id, "me"));
    cr_expect(slice_eq(body, BYTES(0xbb)), "an unknown tag is skipped");
}

Test(kafka_header, the_client_id_may_be_null)
{
    struct request_header h;
    struct slice body;

    cr_assert_eq(parse(BYTES(0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff), &h, &body),
                 ERR_NONE);
    cr_expect(slice_is_null(h.client_id));
    cr_expect(!slice_is_null(body) && body.len == 0);
}

Test(kafka_header, a_version_too_new_still_says_whom_to_answer)
{
    struct request_header h;
    struct slice body;

    cr_expect_eq(parse(BYTES(0, 18, 0, 99, 0, 0, 0, 5, 0, 2, 'm', 'e', 0, 1, 1),
                       &h, &body),
                 ERR_UNSUPPORTED_VERSION);
    cr_expect_eq(h.request_api_key, API_API_VERSIONS);
    cr_expect_eq(h.request_api_version, 99);
    cr_expect_eq(h.correlation_id, 5);
    cr_expect(slice_eq_str(h.client_id, "me"));

    cr_expect_eq(parse(BYTES(0, 18, 0x7f, 0xff, 0, 0, 0, 6, 0x7f), &h, &body),
                 ERR_UNSUPPORTED_VERSION, "even if the rest makes no sense");
    cr_expect_eq(h.correlation_id, 6);
    cr_expect(slice_is_null(h.client_id));
    cr_expect_eq(parse(BYTES(0, 18, 0xff, 0xff, 0, 0, 0, 7, 0, 0), &h, &body),
                 ERR_UNSUPPORTED_VERSION, "version -1");
}

Test(kafka_header, an_unknown_api_is_an_invalid_request)
{
    struct request_header h;
    struct slice body;

    cr_expect_eq(parse(BYTES(0, 95, 0, 0, 0, 0, 0, 5, 0, 0), &h, &body),
                 ERR_INVALID_REQUEST);
    cr_expect_eq(h.request_api_key, 95);
    cr_expect_eq(h.correlation_id, 5);
    cr_expect_eq(parse(BYTES(0xff, 0xff, 0, 0, 0, 0, 0, 5), &h, &body),
                 ERR_INVALID_REQUEST);
    cr_expect_eq(parse(BYTES(0x7f, 0xff, 0x7f, 0xff, 0, 0, 0, 5), &h, &body),
                 ERR_INVALID_REQUEST);
}

Test(kafka_header, cut_frames_are_malformed)
{
    struct slice frame = BYTES(0, 3, 0, 9, 0, 0, 0, 1, 0, 2, 'm', 'e', 0);
    struct request_header h;
    struct slice body;

    for (size_t len = 0; len < frame.len; len++)
        cr_expect_eq(parse(slice_of(frame.data, len), &h, &body), ERR_MALFORMED,
                     "%zu bytes", len);
    cr_expect_eq(parse(frame, &h, &body), ERR_NONE);
    cr_expect_eq(
        parse(BYTES(0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 'm'), &h, &body),
        ERR_MALFORMED, "a client id beyond the frame");
}

/* ---- answers ------------------------------------------------------------ */

Test(kafka_header, an_answer_comes_back_as_it_was_framed)
{
    struct heartbeat_response m = {.error_code = 27};

    for (int16_t version = 0; version <= 4; version++) {
        struct buf out = BUF_INIT;
        struct heartbeat_response back;
        struct slice body;
        struct arena arena;
        int32_t correlation_id;

        cr_assert_eq(
            kafka_frame_response(&out, API_HEARTBEAT, version, 9, &m, NULL),
            ERR_NONE);
        cr_assert_eq(be32_get(out.data), out.len - 4);
        cr_assert_eq(kafka_parse_response(slice_of(out.data + 4, out.len - 4),
                                          API_HEARTBEAT, version,
                                          &correlation_id, &body),
                     ERR_NONE);
        cr_expect_eq(correlation_id, 9);
        arena_init(&arena, 0);
        cr_assert_eq(kafka_decode(&heartbeat_response_desc, version, body,
                                  &arena, &back),
                     ERR_NONE);
        cr_expect_eq(back.error_code, 27);
        arena_free(&arena);
        buf_free(&out);
    }
}

Test(kafka_header, the_size_of_an_answer_counts_its_gaps)
{
    struct fetch_response_partition_data partition;
    struct fetch_response_fetchable_topic_response topic;
    struct fetch_response m;
    struct kafka_gaps gaps = {0};
    struct buf out = BUF_INIT;
    int file = 0;

    fetch_response_partition_data_init(&partition);
    partition.records.ext = &file;
    partition.records.ext_len = 1000;
    fetch_response_fetchable_topic_response_init(&topic);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    fetch_response_init(&m);
    m.responses = &topic;
    m.responses_len = 1;

    /* Two answers in one buffer: each counts its own. */
    for (size_t i = 0; i < 2; i++) {
        size_t start = out.len;
        cr_assert_eq(kafka_frame_response(&out, API_FETCH, 11, 1, &m, &gaps),
                     ERR_NONE);
        cr_expect_eq(be32_get(out.data + start), out.len - start - 4 + 1000);
    }
    cr_expect_eq(gaps.len, 2);
    cr_expect_gt(gaps.items[1].at, gaps.items[0].at);
    cr_expect_eq(gaps.items[1].at, out.len);

    size_t before = out.len;
    partition.records.ext_len = INT32_MAX;
    cr_expect_eq(kafka_frame_response(&out, API_FETCH, 11, 1, &m, &gaps),
                 ERR_TOO_LARGE, "a frame of more than int32 can say");
    cr_expect_eq(out.len, before);
    cr_expect_eq(gaps.len, 2);
    kafka_gaps_free(&gaps);
    buf_free(&out);
}

Test(kafka_header, an_answer_without_a_header_is_malformed)
{
    struct slice body;
    int32_t correlation_id;

    cr_expect_eq(kafka_parse_response(BYTES(0, 0, 0), API_FETCH, 0,
                                      &correlation_id, &body),
                 ERR_MALFORMED);
    cr_expect_eq(kafka_parse_response(BYTES(0, 0, 0, 1), API_FETCH, 12,
                                      &correlation_id, &body),
                 ERR_MALFORMED, "tagged fields are missing");
}

/* ---- the table ---------------------------------------------------------- */

Test(kafka_api, the_table_is_in_order)
{
    for (int16_t key = 0; key < API_COUNT; key++) {
        const struct api *api = api_find(key);
        cr_assert_not_null(api);
        cr_expect_eq(api->key, key);
        cr_expect_eq(api->request->number, key);
        cr_expect_eq(api->response->number, key);
        cr_expect_eq(api->request->flexible_from, api->response->flexible_from);
    }
    cr_expect_null(api_find(-1));
    cr_expect_null(api_find(API_COUNT));
    cr_expect_str_eq(api_name(API_FETCH), "Fetch");
    cr_expect_str_eq(api_name(-1), "unknown");
}

/* Version 0 of these was never more than a trial. */
static bool begins_later(int16_t key)
{
    return key >= API_SHARE_GROUP_HEARTBEAT && key <= API_SHARE_ACKNOWLEDGE;
}

Test(kafka_api, served_versions_begin_at_0_for_clients_of_any_age)
{
    for (int16_t key = 0; key < API_COUNT; key++) {
        const struct api *api = api_find(key);
        for (int i = 0; i < API_LISTENERS; i++)
            if (api_is_served(api, (enum api_listener)i))
                cr_expect_eq(api->served[i].min, begins_later(key), "%s",
                             api->name);
    }
}

Test(kafka_api, each_listener_has_its_own_versions)
{
    const struct api *produce = api_find(API_PRODUCE);
    const struct api *topics = api_find(API_CREATE_TOPICS);

    cr_expect(api_serves(produce, API_ON_BROKER, 0));
    cr_expect(api_serves(produce, API_ON_BROKER, 13));
    cr_expect(!api_serves(produce, API_ON_BROKER, 14));
    cr_expect(!api_serves(produce, API_ON_BROKER, -1));
    cr_expect(!api_is_served(produce, API_ON_CONTROLLER));
    cr_expect(!api_serves(produce, API_ON_CONTROLLER, 0));
    cr_expect(api_serves(topics, API_ON_CONTROLLER, 7));
    cr_expect(!api_is_served(api_find(API_UPDATE_METADATA), API_ON_BROKER));
}
