/* What the vectors cannot show: hostile bytes, the rules about null, defaults
 * and versions, and gaps. */
#include "proto/kafka/coordinator_record.h"
#include "proto/kafka/kafka_messages.h"

#include <criterion/criterion.h>

static struct arena arena;
static struct buf out;

static void setup(void)
{
    arena_init(&arena, 64 * 1024);
    out = BUF_INIT;
}

static void teardown(void)
{
    arena_free(&arena);
    buf_free(&out);
}

TestSuite(kafka_codec, .init = setup, .fini = teardown);

#define BYTES(...)                                                             \
    slice_of((const uint8_t[]){__VA_ARGS__},                                   \
             sizeof((const uint8_t[]){__VA_ARGS__}))

#define expect_bytes(...)                                                      \
    cr_expect(slice_eq(buf_slice(&out), BYTES(__VA_ARGS__)))

/* ---- null and empty ----------------------------------------------------- */

Test(kafka_codec, null_and_empty_arrays_are_told_apart)
{
    struct metadata_request m;

    cr_assert_eq(kafka_decode(&metadata_request_desc, 1,
                              BYTES(0xff, 0xff, 0xff, 0xff), &arena, &m),
                 ERR_NONE);
    cr_expect_eq(m.topics_len, -1);
    cr_assert_eq(
        kafka_decode(&metadata_request_desc, 1, BYTES(0, 0, 0, 0), &arena, &m),
        ERR_NONE);
    cr_expect_eq(m.topics_len, 0);
    cr_assert_eq(kafka_decode(&metadata_request_desc, 0,
                              BYTES(0xff, 0xff, 0xff, 0xff), &arena, &m),
                 ERR_MALFORMED, "version 0 has no null");
}

Test(kafka_codec, null_and_empty_strings_are_told_apart)
{
    struct find_coordinator_response m;

    find_coordinator_response_init(&m);
    m.error_message = SLICE("");
    cr_assert_eq(
        kafka_encode(&find_coordinator_response_desc, 1, &m, &out, NULL),
        ERR_NONE);
    cr_expect_eq(be16_get(out.data + 6), 0);
    out.len = 0;
    m.error_message = SLICE_NULL;
    cr_assert_eq(
        kafka_encode(&find_coordinator_response_desc, 1, &m, &out, NULL),
        ERR_NONE);
    cr_expect_eq(be16_get(out.data + 6), 0xffff);
}

Test(kafka_codec, a_null_string_that_may_not_be_null_is_written_empty)
{
    struct heartbeat_request m = {.generation_id = 1};

    cr_assert_eq(kafka_encode(&heartbeat_request_desc, 0, &m, &out, NULL),
                 ERR_NONE);
    expect_bytes(0, 0, 0, 0, 0, 1, 0, 0);
}

Test(kafka_codec, a_null_string_that_may_not_be_null_is_malformed)
{
    struct heartbeat_request m;

    cr_expect_eq(kafka_decode(&heartbeat_request_desc, 0,
                              BYTES(0xff, 0xff, 0, 0, 0, 1, 0, 0), &arena, &m),
                 ERR_MALFORMED);
}

Test(kafka_codec, a_null_array_that_cannot_be_said_is_an_error)
{
    struct metadata_request m;

    metadata_request_init(&m);
    m.topics_len = -1;
    buf_put_u8(&out, 7);
    cr_expect_eq(kafka_encode(&metadata_request_desc, 0, &m, &out, NULL),
                 ERR_UNSUPPORTED_VERSION);
    cr_expect_eq(out.len, 1, "what was there before stays, nothing is added");
    cr_expect_eq(kafka_encode(&metadata_request_desc, 1, &m, &out, NULL),
                 ERR_NONE);
}

Test(kafka_codec, decoded_strings_that_are_not_null_have_data)
{
    struct heartbeat_request m;

    cr_assert_eq(kafka_decode(&heartbeat_request_desc, 0,
                              BYTES(0, 0, 0, 0, 0, 1, 0, 0), &arena, &m),
                 ERR_NONE);
    cr_expect_not_null(m.group_id.data);
    cr_expect_not_null(m.member_id.data, "the last byte has been read");
    cr_expect_null(m.group_instance_id.data, "absent: its default, null");
}

Test(kafka_codec, a_nullable_struct_has_a_byte_of_its_own)
{
    struct describe_topic_partitions_request m;
    uint8_t bytes[] = {1, 0, 0, 0, 5, 0xff, 0};
    struct slice present = BYTES(1, 0, 0, 0, 5, 1, 2, 't', 0, 0, 0, 9, 0, 0);

    cr_assert_eq(kafka_decode(&describe_topic_partitions_request_desc, 0,
                              slice_of(bytes, sizeof bytes), &arena, &m),
                 ERR_NONE);
    cr_expect_null(m.cursor);
    for (int presence = 0; presence < 0xff; presence++) {
        bytes[5] = (uint8_t)presence;
        cr_expect_eq(kafka_decode(&describe_topic_partitions_request_desc, 0,
                                  slice_of(bytes, sizeof bytes), &arena, &m),
                     ERR_MALFORMED);
    }
    cr_assert_eq(kafka_decode(&describe_topic_partitions_request_desc, 0,
                              present, &arena, &m),
                 ERR_NONE);
    cr_assert_not_null(m.cursor);
    cr_expect(slice_eq_str(m.cursor->topic_name, "t"));
    cr_expect_eq(m.cursor->partition_index, 9);
}

/* ---- defaults ----------------------------------------------------------- */

Test(kafka_codec, init_sets_every_default)
{
    struct fetch_request fetch;
    struct metadata_request metadata;

    memset(&fetch, 0x5a, sizeof fetch);
    fetch_request_init(&fetch);
    cr_expect(slice_is_null(fetch.cluster_id));
    cr_expect_eq(fetch.replica_id, -1);
    cr_expect_eq(fetch.replica_state.replica_epoch, -1);
    cr_expect_eq(fetch.max_bytes, INT32_MAX);
    cr_expect_eq(fetch.topics_len, 0);
    cr_expect_eq(fetch.min_bytes, 0);
    cr_expect(!slice_is_null(fetch.rack_id) && fetch.rack_id.len == 0);
    metadata_request_init(&metadata);
    cr_expect(metadata.allow_auto_topic_creation);
}

Test(kafka_codec, what_a_version_lacks_is_decoded_as_its_default)
{
    struct metadata_request m;

    memset(&m, 0x5a, sizeof m);
    cr_assert_eq(
        kafka_decode(&metadata_request_desc, 0, BYTES(0, 0, 0, 0), &arena, &m),
        ERR_NONE);
    cr_expect(m.allow_auto_topic_creation);
    cr_expect(!m.include_topic_authorized_operations);
}

/* ---- versions ----------------------------------------------------------- */

Test(kafka_codec, versions_beyond_the_schema_are_refused)
{
    struct heartbeat_request m;

    heartbeat_request_init(&m);
    for (int16_t version = INT16_MIN; version < INT16_MAX; version++) {
        if (version >= 0 && version <= 4)
            continue;
        cr_assert_eq(kafka_decode(&heartbeat_request_desc, version, BYTES(0),
                                  &arena, &m),
                     ERR_UNSUPPORTED_VERSION);
        cr_assert_eq(
            kafka_encode(&heartbeat_request_desc, version, &m, &out, NULL),
            ERR_UNSUPPORTED_VERSION);
    }
}

Test(kafka_codec, what_a_client_leaves_behind_its_request_is_ignored)
{
    /* All topics, as librdkafka asks: its null array takes four bytes instead
     * of one, so three are left over. */
    static const uint8_t bytes[] = {0, 0, 0, 0, 1, 0, 0};
    struct slice body = slice_of(bytes, sizeof bytes);
    struct metadata_request m;

    cr_assert_eq(kafka_decode(&metadata_request_desc, 13, body, &arena, &m),
                 ERR_MALFORMED);
    cr_assert_eq(
        kafka_decode_request(&metadata_request_desc, 13, body, &arena, &m),
        ERR_NONE);
    cr_expect_eq(m.topics_len, -1, "all topics");
    cr_expect_eq(m.allow_auto_topic_creation, false);
    body.len = 3;
    cr_expect_eq(
        kafka_decode_request(&metadata_request_desc, 13, body, &arena, &m),
        ERR_MALFORMED, "too short is too short");
}

Test(kafka_codec, an_ignorable_field_is_dropped_where_it_has_no_place)
{
    struct heartbeat_response m = {.throttle_time_ms = 5, .error_code = 3};

    cr_assert_eq(kafka_encode(&heartbeat_response_desc, 0, &m, &out, NULL),
                 ERR_NONE);
    expect_bytes(0, 3);
}

Test(kafka_codec, any_other_field_is_an_error_where_it_has_no_place)
{
    struct produce_request m;

    produce_request_init(&m);
    cr_expect_eq(kafka_encode(&produce_request_desc, 0, &m, &out, NULL),
                 ERR_NONE);
    m.transactional_id = SLICE("tx");
    cr_expect_eq(kafka_encode(&produce_request_desc, 2, &m, &out, NULL),
                 ERR_UNSUPPORTED_VERSION);
    cr_expect_eq(kafka_encode(&produce_request_desc, 3, &m, &out, NULL),
                 ERR_NONE);
}

/* ---- tagged fields ------------------------------------------------------ */

/* An ApiVersions answer of version 3, with nothing in it but tags. */
#define ANSWER_UP_TO_TAGS 0, 0, 1, 0, 0, 0, 0

Test(kafka_codec, unknown_tags_are_skipped)
{
    struct api_versions_response m;

    cr_assert_eq(kafka_decode(&api_versions_response_desc, 3,
                              BYTES(ANSWER_UP_TO_TAGS, 3, /* tags */
                                    1, 8, 0, 0, 0, 0, 0, 0, 0, 42, 77, 2, 9, 9,
                                    0xff, 0x7f, 0),
                              &arena, &m),
                 ERR_NONE);
    cr_expect_eq(m.finalized_features_epoch, 42);
    cr_expect_eq(m.supported_features_len, 0);
}

Test(kafka_codec, a_tagged_value_fills_its_size)
{
    struct api_versions_response m;
    struct slice too_short =
        BYTES(ANSWER_UP_TO_TAGS, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0);
    struct slice too_long =
        BYTES(ANSWER_UP_TO_TAGS, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 42, 0);
    struct slice beyond = BYTES(ANSWER_UP_TO_TAGS, 1, 77, 5, 0);

    cr_expect_eq(
        kafka_decode(&api_versions_response_desc, 3, too_short, &arena, &m),
        ERR_MALFORMED);
    cr_expect_eq(
        kafka_decode(&api_versions_response_desc, 3, too_long, &arena, &m),
        ERR_MALFORMED);
    cr_expect_eq(
        kafka_decode(&api_versions_response_desc, 3, beyond, &arena, &m),
        ERR_MALFORMED);
}

Test(kafka_codec, a_billion_tags_end_with_the_bytes)
{
    struct api_versions_response m;

    cr_expect_eq(
        kafka_decode(&api_versions_response_desc, 3,
                     BYTES(ANSWER_UP_TO_TAGS, 0xff, 0xff, 0xff, 0xff, 0x0f),
                     &arena, &m),
        ERR_MALFORMED);
}

Test(kafka_codec, tagged_fields_at_their_defaults_are_left_out)
{
    struct api_versions_response m;

    api_versions_response_init(&m);
    cr_assert_eq(kafka_encode(&api_versions_response_desc, 3, &m, &out, NULL),
                 ERR_NONE);
    expect_bytes(ANSWER_UP_TO_TAGS, 0);
}

Test(kafka_codec, tagged_fields_rise_and_carry_their_size)
{
    struct api_versions_response m;
    struct api_versions_response_supported_feature_key feature;
    char name[300];

    api_versions_response_init(&m);
    api_versions_response_supported_feature_key_init(&feature);
    memset(name, 'n', sizeof name);
    feature.name = slice_of(name, sizeof name);
    m.supported_features = &feature;
    m.supported_features_len = 1;
    m.zk_migration_ready = true;
    cr_assert_eq(kafka_encode(&api_versions_response_desc, 3, &m, &out, NULL),
                 ERR_NONE);

    struct reader r = reader_of(buf_slice(&out));
    reader_take(&r, 7);
    cr_expect_eq(read_uvarint32(&r), 2, "two tagged fields");
    cr_expect_eq(read_uvarint32(&r), 0, "tag 0");
    cr_expect_eq(read_uvarint32(&r), 1 + 2 + 300 + 4 + 1, "its size");
    reader_take(&r, 1 + 2 + 300 + 4 + 1);
    cr_expect_eq(read_uvarint32(&r), 3, "tag 3");
    cr_expect_eq(read_uvarint32(&r), 1);
    cr_expect_eq(read_u8(&r), 1);
    cr_expect(!r.bad && reader_left(&r) == 0);

    struct api_versions_response back;
    cr_assert_eq(kafka_decode(&api_versions_response_desc, 3, buf_slice(&out),
                              &arena, &back),
                 ERR_NONE);
    cr_expect(slice_eq(back.supported_features[0].name, feature.name));
    cr_expect(back.zk_migration_ready);
}

/* Tag 0 of this record is a struct that may be null, and is not by default. */
Test(kafka_codec, a_tagged_struct_may_be_absent_null_or_there)
{
    struct consumer_group_member_metadata_value m;
    struct consumer_group_member_metadata_value back;
    struct consumer_group_member_metadata_value_classic_member_metadata classic;

    consumer_group_member_metadata_value_init(&m);
    cr_assert_eq(kafka_encode(&consumer_group_member_metadata_value_desc, 0, &m,
                              &out, NULL),
                 ERR_NONE);
    cr_assert_eq(kafka_decode(&consumer_group_member_metadata_value_desc, 0,
                              buf_slice(&out), &arena, &back),
                 ERR_NONE);
    cr_expect_null(back.classic_member_metadata, "null is sent as null");

    size_t with_null = out.len;
    out.len = 0;
    consumer_group_member_metadata_value_classic_member_metadata_init(&classic);
    m.classic_member_metadata = &classic;
    cr_assert_eq(kafka_encode(&consumer_group_member_metadata_value_desc, 0, &m,
                              &out, NULL),
                 ERR_NONE);
    cr_expect_lt(out.len, with_null, "the default is left out");
    cr_assert_eq(kafka_decode(&consumer_group_member_metadata_value_desc, 0,
                              buf_slice(&out), &arena, &back),
                 ERR_NONE);
    cr_assert_not_null(back.classic_member_metadata);
    cr_expect_eq(back.classic_member_metadata->supported_protocols_len, 0);
}

/* ---- hostile lengths ---------------------------------------------------- */

Test(kafka_codec, a_count_beyond_the_bytes_takes_no_memory)
{
    struct fetch_request fetch;
    struct metadata_request metadata;
    uint8_t body[64] = {0};

    /* Metadata 1: as many topics as int32 can say, in 60 bytes. */
    be32_put(body, INT32_MAX);
    cr_expect_eq(kafka_decode(&metadata_request_desc, 1,
                              slice_of(body, sizeof body), &arena, &metadata),
                 ERR_MALFORMED);
    /* 31 names would fit if each took its two bytes of length and no more. */
    be32_put(body, 31);
    cr_expect_eq(kafka_decode(&metadata_request_desc, 1,
                              slice_of(body, sizeof body), &arena, &metadata),
                 ERR_MALFORMED);
    cr_expect_eq(arena.used_bytes, 0);
    be32_put(body, 30);
    cr_expect_eq(kafka_decode(&metadata_request_desc, 1,
                              slice_of(body, sizeof body), &arena, &metadata),
                 ERR_NONE);

    arena_free(&arena);
    memset(body, 0xff, sizeof body);
    cr_expect_eq(kafka_decode(&fetch_request_desc, 12,
                              slice_of(body, sizeof body), &arena, &fetch),
                 ERR_MALFORMED);
    cr_expect_eq(arena.used_bytes, 0);
}

Test(kafka_codec, the_arena_bounds_what_small_elements_grow_into)
{
    static uint8_t body[4 + 20000];
    struct metadata_request m;

    be32_put(body, 10000); /* empty names */
    cr_expect_eq(kafka_decode(&metadata_request_desc, 1,
                              slice_of(body, sizeof body), &arena, &m),
                 ERR_TOO_LARGE);
    cr_expect(arena.exhausted);
}

Test(kafka_codec, impossible_lengths_are_malformed)
{
    struct heartbeat_request m;
    struct metadata_request metadata;
    static uint8_t body[40000];

    cr_expect_eq(kafka_decode(&heartbeat_request_desc, 0,
                              BYTES(0xff, 0xfe, 0, 0, 0, 1, 0, 0), &arena, &m),
                 ERR_MALFORMED, "a length of -2");
    cr_expect_eq(kafka_decode(&metadata_request_desc, 1,
                              BYTES(0xff, 0xff, 0xff, 0xfe), &arena, &metadata),
                 ERR_MALFORMED, "a count of -2");
    /* Compact strings of 32768 and of 32767 bytes, all of them there, and an
     * empty member id behind. */
    body[0] = 0x81, body[1] = 0x80, body[2] = 0x02;
    body[3 + 32768 + 4] = 1;
    cr_expect_eq(kafka_decode(&heartbeat_request_desc, 4,
                              slice_of(body, 3 + 32768 + 7), &arena, &m),
                 ERR_MALFORMED);
    body[0] = 0x80;
    body[3 + 32767 + 4] = 1;
    body[3 + 32768 + 4] = 0;
    cr_expect_eq(kafka_decode(&heartbeat_request_desc, 4,
                              slice_of(body, 3 + 32767 + 7), &arena, &m),
                 ERR_NONE);
    memset(body, 0x80, sizeof body);
    cr_expect_eq(kafka_decode(&heartbeat_request_desc, 4,
                              slice_of(body, sizeof body), &arena, &m),
                 ERR_MALFORMED, "a varint without end");
    cr_expect_eq(
        kafka_decode(&heartbeat_request_desc, 0, SLICE_NULL, &arena, &m),
        ERR_MALFORMED);
}

Test(kafka_codec, a_string_too_long_for_the_wire_is_refused)
{
    static char text[INT16_MAX + 1];
    struct heartbeat_request m;

    heartbeat_request_init(&m);
    m.group_id = slice_of(text, INT16_MAX);
    cr_expect_eq(kafka_encode(&heartbeat_request_desc, 0, &m, &out, NULL),
                 ERR_NONE);
    m.group_id.len++;
    out.len = 0;
    cr_expect_eq(kafka_encode(&heartbeat_request_desc, 0, &m, &out, NULL),
                 ERR_TOO_LARGE);
    cr_expect_eq(out.len, 0);
}

/* ---- records and gaps --------------------------------------------------- */

/* An answer of two partitions, the second without records. */
static struct fetch_response fetch_answer(struct kafka_records records)
{
    static struct fetch_response_fetchable_topic_response topic;
    static struct fetch_response_partition_data partitions[2];
    struct fetch_response m;

    fetch_response_init(&m);
    fetch_response_fetchable_topic_response_init(&topic);
    for (size_t i = 0; i < 2; i++)
        fetch_response_partition_data_init(&partitions[i]);
    partitions[0].records = records;
    topic.topic = SLICE("t");
    topic.partitions = partitions;
    topic.partitions_len = 2;
    m.responses = &topic;
    m.responses_len = 1;
    return m;
}

Test(kafka_codec, spliced_records_give_the_same_bytes_as_inline_ones)
{
    static uint8_t batch[200];
    struct kafka_gaps gaps = {0};
    int file = 0;

    memset(batch, 0xb5, sizeof batch);
    for (int16_t version = 0; version <= 18; version++) {
        struct buf whole = BUF_INIT;
        struct buf spliced = BUF_INIT;
        struct fetch_response m = fetch_answer(
            (struct kafka_records){.bytes = slice_of(batch, sizeof batch)});
        cr_assert_eq(
            kafka_encode(&fetch_response_desc, version, &m, &whole, NULL),
            ERR_NONE);

        out.len = gaps.len = 0;
        gaps.bytes = 0;
        m = fetch_answer(
            (struct kafka_records){.ext = &file, .ext_len = sizeof batch});
        cr_assert_eq(
            kafka_encode(&fetch_response_desc, version, &m, &out, &gaps),
            ERR_NONE);
        cr_assert_eq(gaps.len, 1);
        cr_expect_eq(gaps.bytes, sizeof batch);
        cr_expect_eq(gaps.items[0].ext, &file);
        cr_expect_eq(gaps.items[0].ext_len, sizeof batch);
        buf_put(&spliced, out.data, gaps.items[0].at);
        buf_put(&spliced, batch, sizeof batch);
        buf_put(&spliced, out.data + gaps.items[0].at,
                out.len - gaps.items[0].at);
        cr_expect(slice_eq(buf_slice(&whole), buf_slice(&spliced)),
                  "version %d", version);
        buf_free(&whole);
        buf_free(&spliced);
    }
    kafka_gaps_free(&gaps);
}

Test(kafka_codec, an_error_takes_its_gaps_back)
{
    struct kafka_gaps gaps = {0};
    int file = 0;
    struct fetch_response m =
        fetch_answer((struct kafka_records){.ext = &file, .ext_len = 7});

    cr_assert_eq(kafka_encode(&fetch_response_desc, 4, &m, &out, &gaps),
                 ERR_NONE);
    size_t before = out.len;
    m.session_id = 1; /* not ignorable, has no place in version 4 */
    m.responses[0].partitions[1].preferred_read_replica = 3;
    cr_assert_eq(kafka_encode(&fetch_response_desc, 4, &m, &out, &gaps),
                 ERR_UNSUPPORTED_VERSION);
    m.session_id = 0;
    cr_assert_eq(kafka_encode(&fetch_response_desc, 4, &m, &out, &gaps),
                 ERR_UNSUPPORTED_VERSION, "after the gap of partition 0");
    cr_expect_eq(out.len, before);
    cr_expect_eq(gaps.len, 1);
    cr_expect_eq(gaps.bytes, 7);
    kafka_gaps_free(&gaps);
}

Test(kafka_codec, null_and_empty_records_are_told_apart)
{
    struct fetch_response back;
    struct fetch_response m =
        fetch_answer((struct kafka_records){.bytes = SLICE_NULL});

    cr_assert_eq(kafka_encode(&fetch_response_desc, 12, &m, &out, NULL),
                 ERR_NONE);
    cr_assert_eq(
        kafka_decode(&fetch_response_desc, 12, buf_slice(&out), &arena, &back),
        ERR_NONE);
    const struct fetch_response_partition_data *p =
        back.responses[0].partitions;
    cr_expect(slice_is_null(p[0].records.bytes));
    cr_expect(!slice_is_null(p[1].records.bytes));
    cr_expect_eq(p[1].records.bytes.len, 0);
    cr_expect_null(p[1].records.ext);
}

/* ---- coordinator records ------------------------------------------------ */

Test(kafka_codec, a_committed_offset_and_back)
{
    struct offset_commit_key key = {
        .group = SLICE("g"), .topic = SLICE("t"), .partition = 5};
    const struct coordinator_record *record;
    void *decoded;

    cr_assert_eq(coordinator_key_encode(&offset_commit_key_desc, &key, &out),
                 ERR_NONE);
    expect_bytes(0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 5);
    cr_assert_eq(coordinator_key_decode(&group_records, buf_slice(&out), &arena,
                                        &record, &decoded),
                 ERR_NONE);
    cr_expect_eq(record->type, GROUP_RECORD_OFFSET_COMMIT);
    cr_expect_eq(record->value, &offset_commit_value_desc);
    cr_expect_eq(((struct offset_commit_key *)decoded)->partition, 5);

    struct offset_commit_value value;
    offset_commit_value_init(&value);
    value.offset = 77;
    out.len = 0;
    cr_assert_eq(
        coordinator_value_encode(&offset_commit_value_desc, 3, &value, &out),
        ERR_NONE);
    cr_expect_eq(be16_get(out.data), 3);
    cr_assert_eq(
        coordinator_value_decode(record, buf_slice(&out), &arena, &decoded),
        ERR_NONE);
    cr_expect_eq(((struct offset_commit_value *)decoded)->offset, 77);
}

Test(kafka_codec, records_of_newer_coordinators_are_told_from_damaged_ones)
{
    const struct coordinator_record *record;
    void *decoded;

    cr_expect_eq(coordinator_key_decode(&group_records, BYTES(0x7f, 0), &arena,
                                        &record, &decoded),
                 ERR_UNSUPPORTED_VERSION);
    cr_expect_eq(coordinator_key_decode(&share_records, BYTES(0, 2, 0, 0),
                                        &arena, &record, &decoded),
                 ERR_UNSUPPORTED_VERSION, "a type of another topic");
    cr_expect_eq(coordinator_key_decode(&group_records, BYTES(0), &arena,
                                        &record, &decoded),
                 ERR_MALFORMED);
    cr_expect_eq(coordinator_key_decode(&group_records,
                                        BYTES(0, 2, 0, 1, 'g', 0), &arena,
                                        &record, &decoded),
                 ERR_MALFORMED, "a byte too many");
    cr_assert_eq(coordinator_key_decode(&group_records, BYTES(0, 2, 0, 1, 'g'),
                                        &arena, &record, &decoded),
                 ERR_NONE);
    cr_expect_eq(
        coordinator_value_decode(record, BYTES(0, 99, 0), &arena, &decoded),
        ERR_UNSUPPORTED_VERSION);
}

/* ---- JSON --------------------------------------------------------------- */

Test(kafka_codec, json_is_valid_whatever_the_strings_hold)
{
    struct heartbeat_request m;

    heartbeat_request_init(&m);
    m.group_id = SLICE("a\"\\\n\xff\xc3\xa9\xed\xa0\x80");
    m.generation_id = -1;
    kafka_to_json(&heartbeat_request_desc, 3, &m, &out);
    cr_expect(slice_eq_str(
        buf_slice(&out),
        "{\"groupId\":\"a\\\"\\\\\\u000a\\ufffd\xc3\xa9\\ufffd\\ufffd\\ufffd\","
        "\"generationId\":-1,\"memberId\":\"\",\"groupInstanceId\":null}"));
}
