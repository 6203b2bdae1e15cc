/* What brokers ask the active controller, and what clients ask through them: a
 * row of steps, each a byte that says what happens.  Three brokers are there
 * when it begins.
 *
 * Whatever is asked, the batches that the controller proposes apply to the
 * committed image, and make it the one that the controller sees. */
#include "tests/fuzz/kit.h"

#include "controller/controller.h"
#include "controller/features.h"
#include "proto/kafka/api.h"

#include <stdlib.h>

enum { STEPS_MAX = 24, BROKERS = 3, BODY_MAX = 4096, PARTITIONS_MAX = 50 };

struct desk {
    struct controller c;
    struct image committed;
    struct arena arena;
    int64_t now_ms;
    int64_t index;
    uint64_t seed;
};

static struct controller_call call_of(struct desk *d)
{
    return (struct controller_call){
        .now_ms = d->now_ms,
        .next_index = d->index + 1,
        .seed = ++d->seed, /* ids come of it: no two alike */
        .arena = &d->arena,
    };
}

static void commit(struct desk *d, struct controller_update *u)
{
    for (size_t i = 0; i < u->batches_len; i++) {
        ASSERT(u->batches[i].index == d->index + 1);
        d->index++;
        ASSERT(image_apply(&d->committed, d->index,
                           buf_slice(&u->batches[i].bytes), NULL) == ERR_NONE);
    }
    ASSERT(u->answer_index <= d->index);
    controller_update_free(u);
}

static void activate(struct desk *d)
{
    struct image_cursor cursor = {0};
    struct controller_call call = call_of(d);
    struct controller_update u;
    struct buf piece = BUF_INIT;
    struct image image;

    image_init(&image);
    while (!cursor.done)
        image_snapshot_next(&d->committed, &cursor, SIZE_MAX / 2, &piece);
    ASSERT(image_apply(&image, d->index, buf_slice(&piece), NULL) == ERR_NONE);
    image.applied_index = d->index;
    buf_free(&piece);
    controller_activate(&d->c, &image, &call, &u);
    commit(d, &u);
}

static void handle(struct desk *d, const Leat__ControlRequest *q)
{
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;
    struct controller_call call = call_of(d);
    struct controller_update u;
    struct buf packed = BUF_INIT;

    controller_handle(&d->c, &call, q, &response, &u);
    leat__control_response__pack(
        &response, buf_extend(&packed, leat__control_response__get_packed_size(
                                           &response)));
    buf_free(&packed);
    commit(d, &u);
}

static void register_brokers(struct desk *d)
{
    for (int32_t id = 1; id <= BROKERS; id++) {
        Leat__ControlRequest q = LEAT__CONTROL_REQUEST__INIT;
        Leat__RegisterBrokerRequest r = LEAT__REGISTER_BROKER_REQUEST__INIT;
        Leat__HeartbeatRequest h = LEAT__HEARTBEAT_REQUEST__INIT;
        Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
        Leat__Endpoint *endpoints[] = {&endpoint};
        uint8_t bytes[16] = {(uint8_t)id};
        ProtobufCBinaryData dirs[] = {{sizeof bytes, bytes}};

        endpoint.listener = (char *)(uintptr_t) "PLAINTEXT";
        endpoint.host = (char *)(uintptr_t) "h";
        endpoint.port = 9092;
        r.broker_id = id;
        r.incarnation = dirs[0];
        r.endpoints = endpoints;
        r.n_endpoints = 1;
        r.log_dirs = dirs;
        r.n_log_dirs = 1;
        r.previous_broker_epoch = -1;
        features_declare(&r, &d->arena);
        q.call_case = LEAT__CONTROL_REQUEST__CALL_REGISTER_BROKER;
        q.register_broker = &r;
        handle(d, &q);
        h.broker_id = id;
        h.broker_epoch = image_broker(&d->committed, id)->epoch;
        h.applied_index = d->index;
        q.call_case = LEAT__CONTROL_REQUEST__CALL_HEARTBEAT;
        q.heartbeat = &h;
        handle(d, &q);
    }
}

/* ---- steps --------------------------------------------------------------- */

/* Puts the epoch right where it is small, which nobody can guess. */
static int64_t epoch_of(struct desk *d, int32_t id, int64_t epoch)
{
    const struct image_broker *b = image_broker(&d->committed, id);

    return b != NULL && epoch >= 0 && epoch < 8 ? b->epoch : epoch;
}

static void help(struct desk *d, Leat__ControlRequest *q)
{
    switch (q->call_case) {
    case LEAT__CONTROL_REQUEST__CALL_HEARTBEAT:
        q->heartbeat->broker_epoch =
            epoch_of(d, q->heartbeat->broker_id, q->heartbeat->broker_epoch);
        break;
    case LEAT__CONTROL_REQUEST__CALL_ALTER_PARTITION:
        q->alter_partition->broker_epoch = epoch_of(
            d, q->alter_partition->broker_id, q->alter_partition->broker_epoch);
        break;
    case LEAT__CONTROL_REQUEST__CALL_ALLOCATE_PRODUCER_IDS:
        q->allocate_producer_ids->broker_epoch =
            epoch_of(d, q->allocate_producer_ids->broker_id,
                     q->allocate_producer_ids->broker_epoch);
        break;
    default:
        break;
    }
}

static void control(struct desk *d, struct slice bytes)
{
    Leat__ControlRequest *q =
        leat__control_request__unpack(NULL, bytes.len, bytes.data);

    if (q == NULL)
        return;
    help(d, q);
    handle(d, q);
    leat__control_request__free_unpacked(q, NULL);
}

/* Ten thousand partitions are legal, and take all the time. */
static bool takes_long(int16_t key, int16_t version, struct slice body)
{
    struct create_topics_request topics;
    struct create_partitions_request partitions;
    struct arena arena;
    bool large = false;

    arena_init(&arena, 1 << 20);
    if (key == API_CREATE_TOPICS &&
        kafka_decode(&create_topics_request_desc, version, body, &arena,
                     &topics) == ERR_NONE) {
        for (int32_t i = 0; i < topics.topics_len; i++)
            large |= topics.topics[i].num_partitions > PARTITIONS_MAX;
    } else if (key == API_CREATE_PARTITIONS &&
               kafka_decode(&create_partitions_request_desc, version, body,
                            &arena, &partitions) == ERR_NONE) {
        for (int32_t i = 0; i < partitions.topics_len; i++)
            large |= partitions.topics[i].count > PARTITIONS_MAX;
    }
    arena_free(&arena);
    return large;
}

static void kafka(struct desk *d, struct reader *r)
{
    int16_t key = read_u8(r);
    int16_t version = read_i8(r);
    struct slice body = take_part(r);
    struct controller_call call = call_of(d);
    struct controller_update u;
    struct buf response = BUF_INIT;

    if (body.len > BODY_MAX || takes_long(key, version, body))
        return;
    enum err err = controller_handle_kafka(&d->c, &call, key, version, body,
                                           &response, &u);
    ASSERT(err != ERR_UNSUPPORTED_VERSION || response.len == 0);
    buf_free(&response);
    commit(d, &u);
}

static void step(struct desk *d, struct reader *r)
{
    uint8_t op = read_u8(r);
    struct controller_call call = call_of(d);
    struct controller_update u;

    switch (op & 7) {
    case 0:
    case 1:
        control(d, take_part(r));
        break;
    case 2:
    case 3:
    case 4:
        kafka(d, r);
        break;
    case 5:
        d->now_ms += 1 << (op >> 3 & 15);
        call.now_ms = d->now_ms;
        controller_tick(&d->c, &call, &u);
        commit(d, &u);
        break;
    case 6: {
        int32_t id = op >> 3 & 3;

        controller_broker_lost(&d->c, &call, id, epoch_of(d, id, 1), &u);
        commit(d, &u);
        break;
    }
    default:
        if ((op & 8) != 0) {
            int32_t id = op >> 4 & 3;

            controller_broker_gone(&d->c, &call, id, epoch_of(d, id, 1), &u);
            commit(d, &u);
        } else {
            controller_deactivate(&d->c);
            activate(d);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    struct controller_config config;
    struct desk d = {.now_ms = 1000};

    controller_config_init(&config);
    arena_init(&d.arena, 0);
    controller_init(&d.c, &config);
    image_init(&d.committed);
    activate(&d);
    register_brokers(&d);
    for (int i = 0; i < STEPS_MAX && reader_left(&r) != 0; i++) {
        step(&d, &r);
        ASSERT(image_equal(&d.committed, &d.c.image));
        arena_free(&d.arena);
    }
    controller_free(&d.c);
    image_free(&d.committed);
    arena_free(&d.arena);
    return 0;
}
