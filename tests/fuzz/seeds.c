/* Writes inputs from which fuzzing starts, one directory for each target:
 *
 *   fuzz_seeds DIRECTORY
 *
 * Messages are Kafka's own bytes (vectors.tsv) and frames of real clients
 * (tests/frames); the rest is made by our builders.  What is worth keeping of
 * them is in corpus/ (README.md says how it gets there). */
#include "base/crc32c.h"
#include "controller/records.h"
#include "proto/internal/control.pb-c.h"
#include "proto/kafka/api.h"
#include "proto/kafka/header.h"
#include "proto/record/builder.h"
#include "proto/record/message_set.h"
#include "raft/codec.h"
#include "tests/unit/proto/vectors.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *top;
static struct codec *codec;

static void make_dir(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "seeds: cannot make %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

/* Names are numbers: -merge=1 gives them better ones.  Empties the buf. */
static void put(const char *target, struct buf *b)
{
    static int number;
    char *path = xasprintf("%s/%s", top, target);

    make_dir(path);
    free(path);
    path = xasprintf("%s/%s/%06d", top, target, number++);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(b->data, 1, b->len, file) != b->len) {
        fprintf(stderr, "seeds: cannot write %s\n", path);
        exit(1);
    }
    fclose(file);
    free(path);
    b->len = 0;
}

static void put_text(const char *target, const char *before, const char *text)
{
    struct buf b = BUF_INIT;

    buf_put(&b, before, strlen(before));
    buf_put(&b, text, strlen(text));
    put(target, &b);
    buf_free(&b);
}

static void put_part(struct buf *b, struct slice part)
{
    ASSERT(part.len <= UINT16_MAX);
    buf_put_u16(b, (uint16_t)part.len);
    buf_put_slice(b, part);
}

/* ---- messages ------------------------------------------------------------ */

/* As in fuzz_message.c. */
static uint16_t hash(const char *name)
{
    uint32_t h = 2166136261;

    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 16777619;
    return (uint16_t)(h >> 16 ^ h);
}

static void request_seed(const struct vector *v)
{
    struct request_header h = {
        .request_api_key = (int16_t)v->number,
        .request_api_version = v->version,
        .correlation_id = 7,
        .client_id = SLICE("cli"),
    };
    int16_t version =
        kafka_request_header_version(h.request_api_key, v->version);
    struct buf b = BUF_INIT;

    if (version == 0)
        h.client_id = SLICE("");
    ASSERT(kafka_encode(&request_header_desc, version, &h, &b, NULL) ==
           ERR_NONE);
    buf_put_slice(&b, buf_slice(&v->bytes));
    put("request", &b);
    buf_free(&b);
}

static void response_seed(const struct vector *v)
{
    struct response_header h = {.correlation_id = 7};
    struct buf b = BUF_INIT;
    int16_t key = (int16_t)v->number;

    buf_put_u16(&b, (uint16_t)key);
    buf_put_u16(&b, (uint16_t)v->version);
    ASSERT(kafka_encode(&response_header_desc,
                        kafka_response_header_version(key, v->version), &h, &b,
                        NULL) == ERR_NONE);
    buf_put_slice(&b, buf_slice(&v->bytes));
    put("response", &b);
    buf_free(&b);
}

static void other_seed(const struct vector *v)
{
    struct buf b = BUF_INIT;

    buf_put_u16(&b, hash(v->message));
    buf_put_u16(&b, (uint16_t)v->version);
    buf_put_slice(&b, buf_slice(&v->bytes));
    put("message", &b);
    buf_free(&b);
}

/* A multiple of how many APIs fuzz_group.c has for groups of other kinds. */
enum { MODERN_FROM = 207 };

/* What the controller and the coordinators answer gets a step of theirs as
 * well. */
static void step_seed(const struct vector *v)
{
    static const int controller_keys[] = {19, 20, 33, 37, 43, 44, 45, 46, 64};
    static const int group_keys[] = {11, 14, 12, 13, 8, 9, 47, 15, 16, 42};
    static const int modern_keys[] = {68, 76, 88, 69, 77, 89, 90, 91, 92};
    static const int txn_keys[] = {22, 24, 25, 26, 65, 66};
    struct buf b = BUF_INIT;

    if (v->bytes.len > 512)
        return;
    for (size_t i = 0; i < sizeof controller_keys / sizeof(int); i++)
        if (v->number == controller_keys[i]) {
            buf_put_u8(&b, 2);
            buf_put_u8(&b, (uint8_t)v->number);
            buf_put_u8(&b, (uint8_t)v->version);
            put_part(&b, buf_slice(&v->bytes));
            put("control", &b);
        }
    for (size_t i = 0; i < sizeof group_keys / sizeof(int); i++)
        if (v->number == group_keys[i]) {
            buf_put_u8(&b, 7);
            buf_put_u8(&b, 0);
            buf_put_u8(&b, (uint8_t)i);
            buf_put_u8(&b, (uint8_t)v->version);
            put_part(&b, buf_slice(&v->bytes));
            put("group", &b);
        }
    for (size_t i = 0; i < sizeof modern_keys / sizeof(int); i++)
        if (v->number == modern_keys[i]) {
            buf_put_u8(&b, 7);
            buf_put_u8(&b, 0);
            buf_put_u8(&b, (uint8_t)(MODERN_FROM + i));
            buf_put_u8(&b, (uint8_t)v->version);
            put_part(&b, buf_slice(&v->bytes));
            put("group", &b);
        }
    for (size_t i = 0; i < sizeof txn_keys / sizeof(int); i++)
        if (v->number == txn_keys[i]) {
            buf_put_u8(&b, 7);
            buf_put_u8(&b, 0);
            buf_put_u8(&b, (uint8_t)i);
            buf_put_u8(&b, (uint8_t)v->version);
            put_part(&b, buf_slice(&v->bytes));
            put("txn", &b);
        }
    buf_free(&b);
}

static struct buf last_key;

static void coordinator_seed(const struct vector *v, bool is_key)
{
    struct buf b = BUF_INIT;

    if (is_key) {
        last_key.len = 0;
        buf_put_u16(&last_key, (uint16_t)v->number);
        buf_put_slice(&last_key, buf_slice(&v->bytes));
        return;
    }
    for (uint8_t set = 0; set < 3; set++) {
        buf_put_u8(&b, set);
        put_part(&b, buf_slice(&last_key));
        buf_put_u16(&b, (uint16_t)v->version);
        buf_put_slice(&b, buf_slice(&v->bytes));
        put("coordinator", &b);
    }
    if (last_key.len + v->bytes.len < 1000) {
        buf_put_u8(&b, 0);
        put_part(&b, buf_slice(&last_key));
        buf_put_u16(&b, (uint16_t)(v->bytes.len + 2));
        buf_put_u16(&b, (uint16_t)v->version);
        buf_put_slice(&b, buf_slice(&v->bytes));
        buf_put_u8(&b, 7);
        struct buf copy = BUF_INIT;
        buf_put_slice(&copy, buf_slice(&b));
        put("group", &b);
        put("txn", &copy);
        buf_free(&copy);
    }
    buf_free(&b);
}

static void message_seeds(void)
{
    FILE *file = fopen(vectors_path(), "r");
    struct vector v = {0};

    ASSERT(file != NULL);
    while (vector_next(file, &v)) {
        if (v.message == NULL || v.desc == NULL || v.bytes.len > 4096)
            continue;
        if (strcmp(v.kind, "request") == 0) {
            request_seed(&v);
            step_seed(&v);
        } else if (strcmp(v.kind, "response") == 0) {
            response_seed(&v);
        } else {
            other_seed(&v);
        }
        if (strcmp(v.kind, "coordinator-key") == 0)
            coordinator_seed(&v, true);
        if (strcmp(v.kind, "coordinator-value") == 0)
            coordinator_seed(&v, false);
    }
    fclose(file);
    vector_free(&v);
    buf_free(&last_key);
}

/* ---- frames of real clients ---------------------------------------------- */

enum { FRAME_COLUMNS = 6, FRAME_MAX_BYTES = 6000 };

static int16_t key_called(const char *name)
{
    for (int16_t key = 0; key < API_COUNT; key++)
        if (strcmp(api_name(key), name) == 0)
            return key;
    return -1;
}

/* What a client put into its Produce request goes to the targets on records,
 * too, with rules that let it through. */
static void produced_seeds(struct slice body, int16_t version)
{
    struct produce_request q;
    struct arena arena;
    struct buf b = BUF_INIT;

    arena_init(&arena, 0);
    if (kafka_decode(&produce_request_desc, version, body, &arena, &q) ==
            ERR_NONE &&
        q.topic_data_len == 1 && q.topic_data[0].partition_data_len == 1) {
        struct slice records = q.topic_data[0].partition_data[0].records.bytes;

        buf_put(&b, version < 3 ? "\x0c\x40" : "\x0d\x40", 2);
        buf_put_slice(&b, records);
        put("produced", &b);
        buf_put_u8(&b, 1);
        buf_put_slice(&b, records);
        put(version < 3 ? "message_set" : "batch", &b);
    }
    arena_free(&arena);
    buf_free(&b);
}

/* client, its version, API, version, direction, frame with its size in hex */
static void frame_seed(char *line, struct buf *frame)
{
    char *columns[FRAME_COLUMNS] = {NULL};
    struct request_header h;
    struct slice body;
    struct buf b = BUF_INIT;
    int n = 0;

    for (char *rest = line; n < FRAME_COLUMNS && rest != NULL;)
        columns[n++] = strsep(&rest, "\t");
    if (n < FRAME_COLUMNS || key_called(columns[2]) < 0 ||
        !bytes_of_hex(columns[5], frame) || frame->len < 4 ||
        frame->len > FRAME_MAX_BYTES)
        return;
    struct slice whole = slice_of(frame->data + 4, frame->len - 4);
    bool is_request = strcmp(columns[4], "request") == 0;
    if (!is_request) {
        buf_put_u16(&b, (uint16_t)key_called(columns[2]));
        buf_put_u16(&b, (uint16_t)atoi(columns[3]));
    }
    buf_put_slice(&b, whole);
    put(is_request ? "request" : "response", &b);
    if (is_request && kafka_parse_request(whole, &h, &body) == ERR_NONE &&
        h.request_api_key == API_PRODUCE)
        produced_seeds(body, h.request_api_version);
    buf_free(&b);
}

static void frame_seeds(void)
{
    struct dirent **entries;
    int n = scandir(FRAMES_DIR, &entries, NULL, alphasort);
    struct buf frame = BUF_INIT;
    char *line = NULL;
    size_t cap = 0;

    ASSERT(n > 0);
    for (int i = 0; i < n; i++) {
        char *path = xasprintf("%s/%s", FRAMES_DIR, entries[i]->d_name);
        FILE *file = strstr(path, ".tsv") != NULL ? fopen(path, "r") : NULL;

        for (ssize_t len;
             file != NULL && (len = getline(&line, &cap, file)) > 0;) {
            if (line[len - 1] == '\n')
                line[len - 1] = '\0';
            frame_seed(line, &frame);
        }
        if (file != NULL)
            fclose(file);
        free(path);
        free(entries[i]);
    }
    free(entries);
    free(line);
    buf_free(&frame);
}

/* ---- records ------------------------------------------------------------- */

static const struct record_header headers[] = {
    {{(const uint8_t *)"h", 1}, {(const uint8_t *)"x", 1}},
    {{(const uint8_t *)"n", 1}, {NULL, 0}},
};

struct shape {
    int64_t offset;
    int records;
    enum compression compression;
    uint16_t attributes;
    int32_t epoch;
    int64_t producer_id;
};

static void put_batch(struct shape s, struct buf *out)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    for (int i = 0; i < s.records; i++)
        batch_builder_append(&b, 1000 + i, i == 1 ? SLICE_NULL : SLICE("key"),
                             i == 2 ? SLICE_NULL : SLICE("value value value"),
                             i == 0 ? headers : NULL, i == 0 ? 2 : 0);
    options.base_offset = s.offset;
    options.compression = s.compression;
    options.attributes = s.attributes;
    options.leader_epoch = s.epoch;
    if (s.producer_id > 0) {
        options.producer_id = s.producer_id;
        options.producer_epoch = 0;
        options.base_sequence = (int32_t)s.offset;
    }
    batch_builder_finish(&b, &options, codec, out);
    batch_builder_free(&b);
}

static void record_seed(const struct buf *bytes)
{
    static const uint8_t rules[][2] = {
        {5, 0},    {13, 0x40}, {0x1d, 0x20}, {5, 3},
        {5, 0x59}, {7, 4},     {0, 1},       {12, 0x40},
    };
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        buf_put(&b, rules[i], 2);
        buf_put_slice(&b, buf_slice(bytes));
        put("produced", &b);
    }
    buf_put_u8(&b, 1);
    buf_put_slice(&b, buf_slice(bytes));
    put("batch", &b);
    buf_free(&b);
}

static void set_seeds(const struct buf *batch, int8_t magic)
{
    struct message_set_down how = {magic, 0, 1 << 20, 1 << 20, 1 << 20};
    struct buf set = BUF_INIT, b = BUF_INIT;
    size_t consumed;

    if (message_set_down(codec, buf_slice(batch), &how, &set, &consumed) !=
        ERR_NONE)
        return;
    for (uint8_t flags = 1; flags < 42; flags += 5) {
        buf_put_u8(&b, flags);
        buf_put_slice(&b, buf_slice(&set));
        put("message_set", &b);
    }
    buf_put_u8(&b, 4);
    buf_put_u8(&b, 0x40);
    buf_put_slice(&b, buf_slice(&set));
    put("produced", &b);
    for (uint8_t type = 0; type < 3; type++) {
        buf_put_u8(&b, (uint8_t)(magic | type << 2));
        buf_put_u8(&b, 0);
        buf_put_slice(&b, buf_slice(&set));
        put("packed", &b);
    }
    buf_free(&set);
    buf_free(&b);
}

static void batch_seeds(void)
{
    struct buf batch = BUF_INIT, b = BUF_INIT;

    for (int type = 0; type <= COMPRESSION_ZSTD; type++)
        for (int records = 1; records <= 5; records += 4)
            for (int kind = 0; kind < 4; kind++) {
                static const uint16_t attributes[] = {0, BATCH_TRANSACTIONAL,
                                                      BATCH_CONTROL,
                                                      BATCH_LOG_APPEND_TIME};

                batch.len = 0;
                put_batch((struct shape){.records = records,
                                         .compression = (enum compression)type,
                                         .attributes = attributes[kind],
                                         .producer_id = kind},
                          &batch);
                record_seed(&batch);
                set_seeds(&batch, 0);
                set_seeds(&batch, 1);
            }
    batch.len = 0;
    put_batch((struct shape){.records = 5}, &batch);
    for (uint8_t type = 0; type < 4; type++) {
        buf_put_u8(&b, (uint8_t)(2 | type << 2));
        buf_put_u8(&b, 5);
        buf_put(&b, batch.data + BATCH_HEADER_BYTES,
                batch.len - BATCH_HEADER_BYTES);
        put("packed", &b);
    }
    put_batch((struct shape){.records = 3, .offset = 5}, &batch);
    record_seed(&batch);
    buf_free(&batch);
    buf_free(&b);
}

static void codec_seeds(void)
{
    struct slice text = SLICE("to be packed, to be packed, and to be packed");
    struct buf b = BUF_INIT;

    for (uint8_t type = 0; type <= COMPRESSION_ZSTD; type++)
        for (uint8_t magic = 0; magic < 3; magic++) {
            if (type == COMPRESSION_ZSTD && magic < 2)
                continue;
            buf_put_u8(&b, (uint8_t)(type | magic << 3));
            codec_encode(codec, (enum compression)type, CODEC_LEVEL_DEFAULT,
                         (int8_t)magic, text, &b);
            put("codec", &b);
            buf_put_u8(&b, (uint8_t)(type | magic << 3 | 0x20));
            buf_put_u8(&b, 3);
            buf_put_slice(&b, text);
            put("codec", &b);
        }
    /* snappy without Java's frame */
    buf_put_u8(&b, COMPRESSION_SNAPPY | 2 << 3);
    buf_put(&b, "\x05\x10hello", 7);
    put("codec", &b);
    buf_free(&b);
}

/* ---- logs ---------------------------------------------------------------- */

static void put_log_file(struct buf *b, uint8_t kind, uint8_t base,
                         struct slice bytes)
{
    buf_put_u8(b, kind);
    buf_put_u8(b, base);
    put_part(b, bytes);
}

static void put_snapshot(struct buf *out, int64_t last_offset)
{
    size_t start = out->len;

    buf_put_u16(out, 1);
    buf_put_u32(out, 0);
    buf_put_u32(out, 1);
    buf_put_u64(out, 5); /* id */
    buf_put_u16(out, 0); /* epoch */
    buf_put_u32(out, 3); /* last sequence */
    buf_put_u64(out, (uint64_t)last_offset);
    buf_put_u32(out, 0);
    buf_put_u64(out, 1000);
    buf_put_u32(out, 0);
    buf_put_u64(out, UINT64_MAX); /* no open transaction */
    be32_put(out->data + start + 2,
             crc32c(0, out->data + start + 6, out->len - start - 6));
}

static void log_seed(uint8_t how, int segments, bool indexes)
{
    static const char checkpoint[] = "0\n2\n0 0\n1 4\n";
    struct buf b = BUF_INIT, bytes = BUF_INIT, index = BUF_INIT;

    buf_put_u8(&b, how);
    for (int s = 0; s < segments; s++) {
        bytes.len = index.len = 0;
        for (int i = 0; i < 3; i++) {
            int64_t offset = s * 6 + i * 2;

            if (i == 2) {
                buf_put_u32(&index, 5);
                buf_put_u32(&index, (uint32_t)bytes.len);
            }
            put_batch((struct shape){.offset = offset,
                                     .records = 2,
                                     .epoch = offset >= 4,
                                     .producer_id = i,
                                     .compression = (enum compression)i},
                      &bytes);
        }
        put_log_file(&b, 0, (uint8_t)(s * 6), buf_slice(&bytes));
        if (indexes) {
            put_log_file(&b, 2, (uint8_t)(s * 6), buf_slice(&index));
            index.len = 0;
            buf_put_u64(&index, 1001);
            buf_put_u32(&index, 1);
            put_log_file(&b, 3, (uint8_t)(s * 6), buf_slice(&index));
        }
    }
    if (indexes) {
        put_log_file(&b, 6, 0, slice_str(checkpoint));
        put_log_file(&b, 7, 0,
                     SLICE("version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA\n"));
        bytes.len = 0;
        put_snapshot(&bytes, 2);
        put_log_file(&b, 4, 6, buf_slice(&bytes));
    }
    put("log", &b);
    buf_free(&b);
    buf_free(&bytes);
    buf_free(&index);
}

static void file_seeds(void)
{
    struct buf b = BUF_INIT;

    for (int how = 0; how < 32; how += 3)
        for (int segments = 1; segments <= 3; segments++)
            log_seed((uint8_t)how, segments, (how & 1) == 0);
    buf_put_u8(&b, 0);
    put_snapshot(&b, 99);
    put("files", &b);
    put_text("files", "\1", "0\n3\n0 0\n2 10\n7 700\n");
    put_text("files", "\1", "0\n0\n");
    buf_free(&b);
}

/* ---- metadata, control --------------------------------------------------- */

/* Records as the image's store has them. */
static struct {
    char kind;
    struct buf record;
} stored[16];
static size_t stored_len;

static void metadata_seeds(void)
{
    static uint8_t id[16] = {1, 2, 3}, other[16] = {9};
    ProtobufCBinaryData dirs[] = {{16, other}};
    int32_t replicas[] = {1, 2, 3}, isr[] = {1, 2};
    Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *endpoints[] = {&endpoint};
    Leat__BrokerRecord broker = LEAT__BROKER_RECORD__INIT;
    Leat__TopicRecord topic = LEAT__TOPIC_RECORD__INIT;
    Leat__PartitionRecord partition = LEAT__PARTITION_RECORD__INIT;
    Leat__ConfigRecord config = LEAT__CONFIG_RECORD__INIT;
    Leat__ProducerIdsRecord ids = LEAT__PRODUCER_IDS_RECORD__INIT;
    Leat__ControllerRecord controller = LEAT__CONTROLLER_RECORD__INIT;
    Leat__FeatureRecord feature = LEAT__FEATURE_RECORD__INIT;
    Leat__RemoveTopicRecord no_topic = LEAT__REMOVE_TOPIC_RECORD__INIT;
    Leat__RemoveBrokerRecord no_broker = LEAT__REMOVE_BROKER_RECORD__INIT;
    char text[] = "PLAINTEXT", host[] = "h", name[] = "t", rack[] = "r";
    char key[] = "retention.ms", value[] = "1", version[] = "metadata.version";
    struct buf all = BUF_INIT, one = BUF_INIT, b = BUF_INIT;

    endpoint.listener = text;
    endpoint.host = host;
    endpoint.port = 9092;
    broker.broker_id = 1;
    broker.broker_epoch = 3;
    broker.incarnation = (ProtobufCBinaryData){16, id};
    broker.endpoints = controller.endpoints = endpoints;
    broker.n_endpoints = controller.n_endpoints = 1;
    broker.rack = rack;
    broker.log_dirs = dirs;
    broker.n_log_dirs = 1;
    topic.topic_id = partition.topic_id = no_topic.topic_id =
        broker.incarnation;
    topic.name = no_topic.name = config.resource_name = name;
    partition.replicas = partition.adding = replicas;
    partition.n_replicas = 3;
    partition.n_adding = 1;
    partition.isr = partition.elr = isr;
    partition.n_isr = 2;
    partition.leader = 1;
    config.resource_type = IMAGE_RESOURCE_TOPIC;
    config.key = key;
    config.value = value;
    config.present = true;
    ids.next_producer_id = 1000;
    controller.controller_id = 1;
    controller.incarnation = broker.incarnation;
    feature.name = version;
    feature.level = 7;
    no_broker.broker_id = 1;
    const Leat__MetadataRecord records[] = {
        RECORD(broker, BROKER, &broker),
        RECORD(topic, TOPIC, &topic),
        RECORD(partition, PARTITION, &partition),
        RECORD(config, CONFIG, &config),
        RECORD(producer_ids, PRODUCER_IDS, &ids),
        RECORD(controller, CONTROLLER, &controller),
        RECORD(feature, FEATURE, &feature),
        RECORD(remove_topic, REMOVE_TOPIC, &no_topic),
        RECORD(remove_broker, REMOVE_BROKER, &no_broker),
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        if (i < 7) { /* not removals */
            struct buf *r = &stored[stored_len].record;

            stored[stored_len++].kind = "BTPCXQF"[i];
            leat__metadata_record__pack(
                &records[i],
                buf_extend(
                    r, leat__metadata_record__get_packed_size(&records[i])));
        }
        one.len = 0;
        records_put(&one, &records[i]);
        records_put(&all, &records[i]);
        put_part(&b, buf_slice(&one));
        struct buf so_far = BUF_INIT;
        buf_put_slice(&so_far, buf_slice(&b));
        put("metadata", &so_far);
        put_part(&so_far, buf_slice(&all));
        put("metadata", &so_far);
        buf_free(&so_far);
    }
    buf_free(&all);
    buf_free(&one);
    buf_free(&b);
}

static void control_seed(struct buf *steps, const Leat__ControlRequest *q)
{
    struct buf packed = BUF_INIT;

    leat__control_request__pack(
        q, buf_extend(&packed, leat__control_request__get_packed_size(q)));
    buf_put_u8(steps, 0);
    put_part(steps, buf_slice(&packed));
    buf_free(&packed);
}

static void put_kafka_step(struct buf *steps, uint8_t key, uint8_t version,
                           const void *msg)
{
    struct buf body = BUF_INIT;

    ASSERT(kafka_encode(api_find(key)->request, version, msg, &body, NULL) ==
           ERR_NONE);
    buf_put_u8(steps, 2);
    buf_put_u8(steps, key);
    buf_put_u8(steps, version);
    put_part(steps, buf_slice(&body));
    buf_free(&body);
}

/* A topic on three brokers, so that what comes behind finds one. */
static void put_create_topic(struct buf *steps)
{
    struct create_topics_request_creatable_topic topic;
    struct create_topics_request request;

    create_topics_request_creatable_topic_init(&topic);
    topic.name = SLICE("t");
    topic.num_partitions = 2;
    topic.replication_factor = 3;
    create_topics_request_init(&request);
    request.topics = &topic;
    request.topics_len = 1;
    put_kafka_step(steps, API_CREATE_TOPICS, 7, &request);
}

static void control_seeds(void)
{
    static uint8_t id[16] = {1, 2, 3};
    Leat__ControlRequest q = LEAT__CONTROL_REQUEST__INIT;
    Leat__RegisterBrokerRequest r = LEAT__REGISTER_BROKER_REQUEST__INIT;
    Leat__HeartbeatRequest h = LEAT__HEARTBEAT_REQUEST__INIT;
    Leat__AllocateProducerIdsRequest a =
        LEAT__ALLOCATE_PRODUCER_IDS_REQUEST__INIT;
    Leat__AlterPartitionRequest p = LEAT__ALTER_PARTITION_REQUEST__INIT;
    Leat__AlterPartitionItem item = LEAT__ALTER_PARTITION_ITEM__INIT;
    Leat__AlterPartitionItem *items[] = {&item};
    Leat__IsrMember member = LEAT__ISR_MEMBER__INIT;
    Leat__IsrMember *members[] = {&member};
    Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *endpoints[] = {&endpoint};
    char text[] = "PLAINTEXT", host[] = "h";
    struct buf b = BUF_INIT;

    put_create_topic(&b);
    put("control", &b);
    endpoint.listener = text;
    endpoint.host = host;
    r.broker_id = h.broker_id = a.broker_id = p.broker_id = 1;
    r.incarnation = item.topic_id = (ProtobufCBinaryData){16, id};
    r.endpoints = endpoints;
    r.n_endpoints = 1;
    q.call_case = LEAT__CONTROL_REQUEST__CALL_REGISTER_BROKER;
    q.register_broker = &r;
    put_create_topic(&b);
    control_seed(&b, &q);
    put("control", &b);
    q.call_case = LEAT__CONTROL_REQUEST__CALL_HEARTBEAT;
    q.heartbeat = &h;
    h.applied_index = 10;
    h.want_shutdown = true;
    put_create_topic(&b);
    control_seed(&b, &q);
    buf_put_u8(&b, 5 | 15 << 3);
    h.want_shutdown = false;
    control_seed(&b, &q);
    put("control", &b);
    q.call_case = LEAT__CONTROL_REQUEST__CALL_ALLOCATE_PRODUCER_IDS;
    q.allocate_producer_ids = &a;
    control_seed(&b, &q);
    put("control", &b);
    q.call_case = LEAT__CONTROL_REQUEST__CALL_ALTER_PARTITION;
    q.alter_partition = &p;
    p.partitions = items;
    p.n_partitions = 1;
    item.new_isr = members;
    item.n_new_isr = 1;
    member.broker_id = 1;
    member.broker_epoch = 1;
    put_create_topic(&b);
    control_seed(&b, &q);
    put("control", &b);
    put_create_topic(&b);
    buf_put(&b, "\x7d\x0e\x7d\x1f\x7d\x07\x7d", 7); /* time, losses, restart */
    put("control", &b);
    buf_free(&b);
}

static void put_pair(struct buf *b, const char *key, uint32_t number,
                     struct slice value)
{
    struct buf whole = BUF_INIT;

    buf_put(&whole, key, strlen(key));
    if (number != 0)
        buf_put_u32(&whole, number);
    put_part(b, buf_slice(&whole));
    put_part(b, value);
    buf_free(&whole);
}

/* Raft's store, with two entries behind the base; and an image. */
static void store_seeds(void)
{
    struct raft_member member = {
        .id = 1, .voter = true, .port = 1, .host = "h"};
    struct raft_config config = {&member, 1};
    struct buf b = BUF_INIT, value = BUF_INIT;

    for (uint8_t base = 0; base < 2; base++) {
        buf_put(&b, "\1\0\0", 3);
        b.data[1] = b.data[2] = base;
        buf_put_u64(&value, 1);
        buf_put_u32(&value, 1);
        put_pair(&b, "v", 0, buf_slice(&value));
        for (int point = 0; point < 1 + base; point++) {
            value.len = 0;
            buf_put_u64(&value, base);
            buf_put_u64(&value, base);
            buf_put_u64(&value, 0);
            raft_config_encode(&config, &value);
            put_pair(&b, point == 0 ? "b" : "i", 0, buf_slice(&value));
        }
        for (uint8_t i = 1; i < 3; i++) {
            struct buf key = BUF_INIT;

            value.len = 0;
            buf_put_u8(&key, 'e');
            buf_put_u64(&key, (uint64_t)base + i);
            buf_put_u64(&value, 1);
            buf_put_u8(&value, i == 1 ? RAFT_ENTRY_NOOP : RAFT_ENTRY_CONFIG);
            if (i == 2)
                raft_config_encode(&config, &value);
            put_part(&b, buf_slice(&key));
            put_part(&b, buf_slice(&value));
            buf_free(&key);
        }
        put("store", &b);
        value.len = 0;
    }
    buf_put(&b, "\0\0\0", 3);
    buf_put(&value, "\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\1", 16);
    put_pair(&b, "image/A", 0, buf_slice(&value));
    for (size_t i = 0; i < stored_len; i++) {
        char key[] = {'i', 'm', 'a', 'g', 'e', '/', stored[i].kind, '\0'};
        put_pair(&b, key, 1, buf_slice(&stored[i].record));
        buf_free(&stored[i].record);
    }
    put("store", &b);
    buf_free(&b);
    buf_free(&value);
}

/* ---- raft ---------------------------------------------------------------- */

static void raft_seed(const struct raft_message *m, struct slice image)
{
    struct buf body = BUF_INIT, b = BUF_INIT;

    raft_message_encode(m, "c", image, &body);
    buf_put_slice(&b, buf_slice(&body));
    put("raft_message", &b);
    for (int elected = 0; elected < 2; elected++) {
        if (elected) /* time passes, two peers say yes, twice */
            buf_put(&b, "\x63\x4\xc\x4\xc\x5\0\1x\x4\xc", 10);
        buf_put_u8(&b, 2);
        put_part(&b, buf_slice(&body));
        buf_put(&b, "\x63\x4\x6", 3);
        put("raft", &b);
    }
    buf_put_u8(&b, 0);
    buf_put_u16(&b, (uint16_t)(2 + 2 + 4 + 2 + 6 + body.len));
    buf_put_u16(&b, 20000);
    buf_put_u16(&b, 0);
    buf_put_u32(&b, 1);
    buf_put_u16(&b, 6);
    buf_put(&b, "raft-2", 6);
    buf_put_slice(&b, buf_slice(&body));
    put("raft", &b);
    buf_free(&body);
    buf_free(&b);
}

static void raft_seeds(void)
{
    struct raft_member member = {
        .id = 1, .voter = true, .port = 1, .host = "h"};
    struct raft_config config = {&member, 1};
    struct buf encoded = BUF_INIT;
    struct raft_entry entries[3] = {
        {.index = 1, .term = 1},
        {.index = 2, .term = 1, .type = RAFT_ENTRY_DATA, .data = SLICE("data")},
        {.index = 3, .term = 1, .type = RAFT_ENTRY_CONFIG},
    };
    struct raft_message m = {.from = 2, .to = 1, .term = 1};

    raft_config_encode(&config, &encoded);
    entries[2].data = buf_slice(&encoded);
    m.type = RAFT_VOTE_REQUEST;
    m.vote_request.vote_term = 1;
    m.vote_request.last_index = 5;
    m.vote_request.last_term = 1;
    raft_seed(&m, SLICE_NULL);
    m.vote_request.pre = true;
    raft_seed(&m, SLICE_NULL);
    m = (struct raft_message){RAFT_VOTE_REPLY, 2, 1, 1, {{0}}};
    m.vote_reply.granted = true;
    raft_seed(&m, SLICE_NULL);
    m = (struct raft_message){RAFT_APPEND, 2, 1, 1, {{0}}};
    m.append.entries = entries;
    for (size_t n = 0; n <= 3; n++) {
        m.append.entries_len = n;
        m.append.commit = n;
        raft_seed(&m, SLICE_NULL);
    }
    m = (struct raft_message){RAFT_APPEND_REPLY, 2, 1, 1, {{0}}};
    m.append_reply.match = 1;
    raft_seed(&m, SLICE_NULL);
    m.append_reply.rejected = true;
    m.append_reply.hint_index = 1;
    raft_seed(&m, SLICE_NULL);
    m = (struct raft_message){RAFT_SNAPSHOT, 2, 1, 1, {{0}}};
    m.snapshot.index = 5;
    m.snapshot.index_term = 1;
    m.snapshot.config = &config;
    m.snapshot.size = 4;
    m.snapshot.len = 4;
    raft_seed(&m, SLICE("data"));
    m = (struct raft_message){RAFT_SNAPSHOT_REPLY, 2, 1, 1, {{0}}};
    raft_seed(&m, SLICE_NULL);
    m.type = RAFT_TIMEOUT_NOW;
    raft_seed(&m, SLICE_NULL);
    buf_free(&encoded);
}

/* ---- text ---------------------------------------------------------------- */

static void text_seeds(void)
{
    static const char two_listeners[] =
        "listeners=A://h:1,CONTROLLER://:3\ninter.broker.listener.name=A\n"
        "listener.security.protocol.map=A:PLAINTEXT,CONTROLLER:PLAINTEXT\n";
    static const char meta[] = "version=1\ncluster.id=abc\nnode.id=1\n"
                               "directory.id=AQIDBAUGBwgJCgsMDQ4PEA\n";
    static const char *const files[] = {
        "# a comment\nkey=value\nother: value\nthird value\n",
        "a = b\\\n   c\n! no\nt\\u00e9\\:x=\\ud83d\\ude00\\t\\n\n",
        meta,
        "version=0\nbroker.id=3\n",
    };
    static const char *const settings[] = {
        "num.partitions=3\n",
        "log.retention.ms=-1\nlog.retention.hours=3\n",
        two_listeners,
        "advertised.listeners=PLAINTEXT://host:9\n",
        "controller.quorum.voters=1@h:1,2@[::1]:2\n",
        "max.connections.per.ip.overrides=127.0.0.1:3,h:4\n",
        "leat.durability=fsync\ncompression.type=zstd\n",
        "log.dirs=/a,/b\nmetadata.log.dir=/c\n",
        "controller.quorum.bootstrap.servers=h:1,[::1]:2\n",
        "log.cleanup.policy=compact,delete\nmessage.timestamp.type=x\n",
        "auto.create.topics.enable=false\nsegment.bytes=1e9\n",
    };

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put_text("properties", "", files[i]);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        put_text("config", "a", settings[i]);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        put_text("config", "b", settings[i]);
    put_text("config", "a", "node.id=1\nprocess.roles=broker\n");
    put_text("line", "\3____", "h1:v1,h2:v2\tkey\tvalue");
    put_text("line", "\1____", "key\tvalue");
    put_text("line", "\5____", "value");
    put_text("line", "\x0bk=,:", "a:b,c:=keykvalue");
}

/* ---- lives of members ---------------------------------------------------- */

static void put_request(struct buf *b, int which, int16_t version,
                        enum api_key api, const void *request)
{
    struct buf body = BUF_INIT;

    ASSERT(kafka_encode(api_find((int16_t)api)->request, version, request,
                        &body, NULL) == ERR_NONE);
    buf_put_u8(b, 0);
    buf_put_u8(b, (uint8_t)(MODERN_FROM + which));
    buf_put_u8(b, (uint8_t)version);
    put_part(b, buf_slice(&body));
    buf_free(&body);
}

/* Epoch 1 and no id are those of the last heartbeat. */
static void put_consumer(struct buf *b, int32_t epoch, bool joins)
{
    struct consumer_group_heartbeat_request q;
    struct slice t = SLICE("t");

    consumer_group_heartbeat_request_init(&q);
    q.group_id = SLICE("g");
    q.member_id = joins ? SLICE("m") : SLICE("");
    q.member_epoch = epoch;
    q.rebalance_timeout_ms = joins ? 1000 : -1;
    q.subscribed_topic_names = &t;
    q.subscribed_topic_names_len = joins ? 1 : -1;
    q.topic_partitions_len = joins ? 0 : -1;
    put_request(b, 0, 1, API_CONSUMER_GROUP_HEARTBEAT, &q);
}

static void put_sharer(struct buf *b, int32_t epoch, bool joins)
{
    struct share_group_heartbeat_request q;
    struct slice t = SLICE("t");

    share_group_heartbeat_request_init(&q);
    q.group_id = SLICE("s");
    q.member_id = joins ? SLICE("m") : SLICE("");
    q.member_epoch = epoch;
    q.subscribed_topic_names = &t;
    q.subscribed_topic_names_len = joins ? 1 : -1;
    put_request(b, 1, 1, API_SHARE_GROUP_HEARTBEAT, &q);
}

static void put_streams(struct buf *b, int32_t epoch, bool joins)
{
    struct streams_group_heartbeat_request q;
    struct streams_group_heartbeat_request_topology topology;
    struct streams_group_heartbeat_request_subtopology sub;
    struct slice t = SLICE("t");

    streams_group_heartbeat_request_init(&q);
    streams_group_heartbeat_request_topology_init(&topology);
    streams_group_heartbeat_request_subtopology_init(&sub);
    sub.subtopology_id = SLICE("0");
    sub.source_topics = &t;
    sub.source_topics_len = 1;
    topology.subtopologies = &sub;
    topology.subtopologies_len = 1;
    q.group_id = SLICE("a");
    q.member_id = joins ? SLICE("m") : SLICE("");
    q.member_epoch = epoch;
    q.rebalance_timeout_ms = joins ? 1000 : -1;
    q.process_id = SLICE("p");
    q.topology = joins ? &topology : NULL;
    if (joins)
        q.active_tasks_len = q.standby_tasks_len = q.warmup_tasks_len = 0;
    put_request(b, 2, 0, API_STREAMS_GROUP_HEARTBEAT, &q);
}

static void member_seeds(void)
{
    static void (*const kinds[])(struct buf *, int32_t, bool) = {
        put_consumer, put_sharer, put_streams};
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        buf_put_u8(&b, 7); /* begins */
        kinds[i](&b, 0, true);
        kinds[i](&b, 1, false);
        buf_put_u8(&b, 0x64); /* time */
        kinds[i](&b, 1, false);
        buf_put_u8(&b, 7); /* begins again */
        kinds[i](&b, 1, false);
        kinds[i](&b, -1, false);
        put("group", &b);
    }
    buf_free(&b);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds DIRECTORY\n");
        return 2;
    }
    top = argv[1];
    make_dir(top);
    codec = codec_new();
    message_seeds();
    frame_seeds();
    batch_seeds();
    codec_seeds();
    file_seeds();
    metadata_seeds();
    store_seeds();
    control_seeds();
    raft_seeds();
    text_seeds();
    member_seeds();
    codec_free(codec);
    return 0;
}
