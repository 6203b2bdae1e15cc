/* A metadata thread on a loop of the test's, with a controller that the test
 * plays on the same loop, and shards and answers that are written down.
 *
 * Defines what broker/shard.c, broker/request.c and broker/log_dirs.c would, so
 * that nothing of a broker but its metadata thread is linked.  Include it in
 * one file of a program. */
#ifndef TESTS_META_KIT_H
#define TESTS_META_KIT_H

#include "base/env_libevent.h"
#include "broker/dispatch.h"
#include "broker/live.h"
#include "broker/log_dirs.h"
#include "broker/meta_parts.h"
#include "broker/quotas.h"
#include "broker/transactions.h"
#include "broker/txn_verify.h"
#include "proto/kafka/header.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KIT_CONTROLLERS = 2, KIT_SHARDS = 2, KIT_ENTRIES = 64 };

struct kit;

/* What a controller does with its next calls. */
struct kit_controller {
    struct kit *kit;
    int32_t id;
    struct env_listener *listener;
    struct env_conn *conns[64];
    size_t conns_len;
    bool active;
    int drop_forwards; /* close the connection instead of an answer */
    int drop_isr;
    bool holds_forwards; /* no answer before kit_refuse_forward() */
    struct env_conn *held_conn;
    int32_t held_correlation;
    int calls; /* received, polls not counted */
    /* The poll that waits for an entry. */
    struct env_conn *poll_conn;
    int32_t poll_correlation;
    int64_t poll_index;
};

struct kit_entry {
    Leat__MetadataBatch batch;
    struct buf bytes;
};

struct kit {
    struct env *env;
    struct meta *meta;
    struct broker broker;
    struct server_config config;
    struct shard shards[KIT_SHARDS];
    struct shard *shard_pointers[KIT_SHARDS];
    struct log_dir log_dir;
    char dir[64];
    struct kit_controller controllers[KIT_CONTROLLERS];
    int32_t hint;       /* what inactive controllers say */
    uint16_t hint_port; /* and where it is; 0: they do not say */

    /* The log the controllers have in common; entry i has index i + 1. */
    struct buf entries[KIT_ENTRIES];
    int64_t entries_len;
    int64_t log_start;  /* polls below get a snapshot of `image` */
    struct image image; /* all entries applied */
    bool polls_held;    /* no entry reaches the broker, see kit_release() */
    bool hears;         /* write SHARD_HEARD down */

    /* Seen. */
    int64_t epoch; /* given to the broker; 0: not registered */
    int registrations;
    int heartbeats;
    int64_t heartbeat_applied;
    bool heartbeat_wants_shutdown;
    int64_t first_poll_index; /* -1: none yet */
    int isr_calls;
    int32_t isr_error; /* verdict on every item */
    int64_t next_id;
    int forwards;
    int16_t forward_key;
    int16_t first_forward_key; /* of those that were answered */
    bool create_forwarded;     /* a forwarded CreateTopics makes an entry */
    struct buf shard_text[KIT_SHARDS];
    bool ready;
    bool failed;
    bool left;

    /* The last answer of a handler. */
    struct buf answer;
    int answers;
    struct env_timer watchdog;
    bool (*until)(struct kit *kit);
    bool late;
};

static struct kit *kit_now; /* for the functions that have no argument */

/* ---- running ------------------------------------------------------------ */

static inline void kit_check(struct kit *kit)
{
    if (kit->until != NULL && kit->until(kit))
        env_stop(kit->env);
}

static inline void kit_late(void *arg)
{
    struct kit *kit = arg;

    kit->late = true;
    env_stop(kit->env);
}

static struct env_timer kit_look;

static inline void kit_look_again(void *arg)
{
    struct kit *kit = arg;

    kit_check(kit);
    env_timer_start(kit->env, &kit_look, 1);
}

static inline void kit_run(struct kit *kit, bool (*until)(struct kit *kit))
{
    kit->until = until;
    kit->watchdog = (struct env_timer){.fn = kit_late, .arg = kit};
    kit_look = (struct env_timer){.fn = kit_look_again, .arg = kit};
    env_timer_start(kit->env, &kit->watchdog, 20000);
    env_timer_start(kit->env, &kit_look, 1);
    if (!until(kit))
        env_run(kit->env);
    env_timer_stop(kit->env, &kit->watchdog);
    env_timer_stop(kit->env, &kit_look);
    kit->until = NULL;
    cr_assert_not(kit->late, "the condition did not come true in 20 s");
}

/* ---- in place of shard.c, request.c, log_dirs.c, transactions.c ---------- */

struct topic_settings *topic_settings_ref(struct topic_settings *s)
{
    s->refs++;
    return s;
}

void topic_settings_unref(struct topic_settings *s)
{
    if (s != NULL && --s->refs == 0)
        free(s);
}

struct shard_updates *shard_updates_new(struct shard *s)
{
    struct shard_updates *u = xcalloc(1, sizeof *u);

    u->shard = s;
    return u;
}

struct shard_update *shard_updates_add(struct shard_updates *u)
{
    if (u->len == u->cap) {
        u->cap = u->cap != 0 ? 2 * u->cap : 4;
        u->items = xrealloc(u->items, u->cap * sizeof *u->items);
    }
    u->items[u->len] = (struct shard_update){0};
    return &u->items[u->len++];
}

static inline void kit_print_update(struct buf *out,
                                    const struct shard_update *u)
{
    switch (u->kind) {
    case SHARD_TOPIC:
        buf_printf(out, "topic %s %d\n", u->name, (int)u->partition);
        break;
    case SHARD_TOPIC_GONE:
        buf_printf(out, "topic gone %u\n", u->topic_id.bytes[3]);
        break;
    case SHARD_PARTITION:
        buf_printf(out,
                   "partition %s-%d leader %d epoch %d/%d replicas %d isr %x "
                   "retention %lld\n",
                   u->name, (int)u->partition, (int)u->state.leader,
                   (int)u->state.leader_epoch, (int)u->state.partition_epoch,
                   u->state.replicas_len, u->state.isr,
                   (long long)u->settings->log.retention_ms);
        break;
    case SHARD_PARTITION_GONE:
        buf_printf(out, "partition gone %d\n", (int)u->partition);
        break;
    case SHARD_SETTINGS:
        buf_printf(out, "settings retention %lld\n",
                   (long long)u->settings->log.retention_ms);
        break;
    case SHARD_BROKER:
        buf_printf(out, "broker %d %s:%u%s\n", (int)u->broker.id,
                   u->broker.host != NULL ? u->broker.host : "-",
                   u->broker.port, u->broker.fenced ? " fenced" : "");
        break;
    case SHARD_BROKER_GONE:
        buf_printf(out, "broker gone %d\n", (int)u->broker.id);
        break;
    case SHARD_ISR_RESULT:
        if (u->hands_over)
            buf_printf(out, "hand over, ");
        buf_printf(out, "isr result %d error %d epoch %d isr %x\n",
                   (int)u->partition, u->error, (int)u->state.partition_epoch,
                   u->state.isr);
        break;
    case SHARD_GROUP:
        buf_printf(out, "group %s %s %s\n", u->name, u->key,
                   u->value != NULL ? u->value : "-");
        break;
    case SHARD_QUOTAS:
        buf_printf(out, "quotas of %u\n", map_count(&u->quotas->entities));
        break;
    case SHARD_LIVE: /* with every change of the defaults; it has tests */
        break;
    case SHARD_SETTLED: /* these come with the registration */
    case SHARD_FEATURES:
        break;
    case SHARD_DIR_FAILED: /* of the disk's doing, not the metadata's */
        break;
    case SHARD_HEARD:
        if (kit_now->hears)
            buf_printf(out, "heard\n");
        break;
    }
}

void shard_updates_post(struct shard_updates *u)
{
    for (size_t i = 0; i < u->len; i++) {
        kit_print_update(&kit_now->shard_text[u->shard->index], &u->items[i]);
        free(u->items[i].name);
        free(u->items[i].key);
        free(u->items[i].value);
        live_unref(u->items[i].live);
        quotas_unref(u->items[i].quotas);
        free(u->items[i].broker.host);
        free(u->items[i].broker.client_host);
        free(u->items[i].broker.rack);
        topic_settings_unref(u->items[i].settings);
    }
    free(u->items);
    free(u);
}

void transactions_markers_done(struct shard *s, struct list *markers)
{
    for (struct list *node; (node = list_pop_front(markers)) != NULL;) {
        struct txn_marker *m = LIST_ENTRY(node, struct txn_marker, link);

        buf_printf(&kit_now->shard_text[s->index], "marker %.*s-%d %s\n",
                   SLICE_FMT(m->topic), (int)m->partition,
                   m->result == TXN_MARKER_GONE ? "gone" : "again");
        txn_marker_free(m);
    }
}

void transactions_give_ids(struct shard *s, int32_t partition, int64_t first,
                           int32_t count)
{
    (void)s;
    (void)partition;
    (void)first;
    (void)count;
    cr_assert_fail("nobody coordinates transactions");
}

void txn_verify_answered(struct env_task *task)
{
    (void)task;
    cr_assert_fail("nobody writes transactions");
}

void api_txn_request(struct request *r)
{
    (void)r;
    cr_assert_fail("nobody asks for a transaction");
}

void request_respond(struct request *r, const void *response)
{
    kit_now->answer.len = 0;
    kit_now->answers++;
    enum err error = kafka_encode(r->api->response, r->version, response,
                                  &kit_now->answer, NULL);
    cr_assert_eq(error, ERR_NONE, "an answer cannot be encoded: %s",
                 err_text(error));
    arena_free(&r->arena);
    free(r);
    kit_check(kit_now);
}

void request_throttle(struct request *r, int32_t ms) {}

void request_respond_body(struct request *r, struct slice body)
{
    kit_now->answer.len = 0;
    kit_now->answers++;
    buf_put_slice(&kit_now->answer, body);
    arena_free(&r->arena);
    free(r);
    kit_check(kit_now);
}

void request_move(struct request *r, struct env *to,
                  void (*fn)(struct request *))
{
    fn(r);
}

void request_close(struct request *r, const char *why)
{
    cr_assert_fail("a request closes its connection: %s", why);
}

enum err log_dirs_take_clean_marks(struct broker *broker, struct env *env,
                                   int64_t *epoch, char **why)
{
    *epoch = -1;
    return ERR_NONE;
}

/* ---- the log ------------------------------------------------------------ */

static inline struct uuid kit_uuid(uint8_t n)
{
    struct uuid id = UUID_ZERO;

    id.bytes[3] = n; /* decides the shard, see broker_shard_of() */
    id.bytes[15] = n;
    return id;
}

static inline void kit_poll_answer(struct kit_controller *c);

/* One entry with these records; polls that wait get it. */
static inline void kit_append(struct kit *kit, Leat__MetadataRecord *records,
                              size_t len)
{
    Leat__MetadataBatch batch = LEAT__METADATA_BATCH__INIT;
    Leat__MetadataRecord *list[32];
    struct buf *entry = &kit->entries[kit->entries_len++];

    cr_assert(kit->entries_len < KIT_ENTRIES);
    for (size_t i = 0; i < len; i++)
        list[i] = &records[i];
    batch.records = list;
    batch.n_records = len;
    size_t size = leat__metadata_batch__get_packed_size(&batch);
    leat__metadata_batch__pack(&batch, buf_extend(entry, size));
    enum err error =
        image_apply(&kit->image, kit->entries_len, buf_slice(entry), NULL);
    cr_assert_eq(error, ERR_NONE);
    for (int i = 0; i < KIT_CONTROLLERS; i++)
        if (kit->controllers[i].poll_conn != NULL && !kit->polls_held)
            kit_poll_answer(&kit->controllers[i]);
}

static inline void kit_release(struct kit *kit)
{
    kit->polls_held = false;
    for (int i = 0; i < KIT_CONTROLLERS; i++)
        if (kit->controllers[i].poll_conn != NULL)
            kit_poll_answer(&kit->controllers[i]);
}

#define KIT_RECORD(field, kind, value)                                         \
    {                                                                          \
        .base = PROTOBUF_C_MESSAGE_INIT(&leat__metadata_record__descriptor),   \
        .record_case = LEAT__METADATA_RECORD__RECORD_##kind, .field = (value)  \
    }

static inline void kit_broker(struct kit *kit, int32_t id, int64_t epoch,
                              bool fenced)
{
    Leat__BrokerRecord b = LEAT__BROKER_RECORD__INIT;
    Leat__Endpoint e = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *list[] = {&e};
    char host[16];
    struct uuid incarnation = kit_uuid((uint8_t)id);

    snprintf(host, sizeof host, "host-%d", (int)id);
    e.listener = "PLAINTEXT";
    e.host = host;
    e.port = (uint32_t)(9000 + id);
    b.broker_id = id;
    b.incarnation = (ProtobufCBinaryData){16, incarnation.bytes};
    b.broker_epoch = epoch;
    b.endpoints = list;
    b.n_endpoints = 1;
    b.fenced = fenced;
    kit_append(kit, (Leat__MetadataRecord[]){KIT_RECORD(broker, BROKER, &b)},
               1);
}

/* A topic whose partitions have the replicas 1, 2 and 3 in turn, each its first
 * as the leader (leader < 0: none), all in sync. */
static inline void kit_topic(struct kit *kit, uint8_t id, const char *name,
                             int partitions, bool has_leaders)
{
    Leat__MetadataRecord records[32];
    Leat__PartitionRecord p[31];
    Leat__TopicRecord t = LEAT__TOPIC_RECORD__INIT;
    int32_t replicas[31][3];
    struct uuid uuid = kit_uuid(id);

    t.topic_id = (ProtobufCBinaryData){16, uuid.bytes};
    t.name = (char *)(uintptr_t)name;
    records[0] = (Leat__MetadataRecord)KIT_RECORD(topic, TOPIC, &t);
    for (int i = 0; i < partitions; i++) {
        leat__partition_record__init(&p[i]);
        for (int j = 0; j < 3; j++)
            replicas[i][j] = 1 + (i + j) % 3;
        p[i].topic_id = t.topic_id;
        p[i].partition = i;
        p[i].replicas = p[i].isr = replicas[i];
        p[i].n_replicas = p[i].n_isr = 3;
        p[i].leader = has_leaders ? replicas[i][0] : -1;
        p[i].leader_epoch = 4;
        p[i].partition_epoch = 7;
        records[i + 1] =
            (Leat__MetadataRecord)KIT_RECORD(partition, PARTITION, &p[i]);
    }
    kit_append(kit, records, (size_t)partitions + 1);
}

/* The partition is on these from now on, the first of them leads it. */
static inline void kit_place(struct kit *kit, uint8_t topic_id,
                             int32_t partition, int32_t partition_epoch,
                             int32_t *replicas, size_t len)
{
    Leat__PartitionRecord p = LEAT__PARTITION_RECORD__INIT;
    struct uuid uuid = kit_uuid(topic_id);

    p.topic_id = (ProtobufCBinaryData){16, uuid.bytes};
    p.partition = partition;
    p.replicas = p.isr = replicas;
    p.n_replicas = p.n_isr = len;
    p.leader = replicas[0];
    p.leader_epoch = partition_epoch;
    p.partition_epoch = partition_epoch;
    kit_append(
        kit, (Leat__MetadataRecord[]){KIT_RECORD(partition, PARTITION, &p)}, 1);
}

static inline void kit_move(struct kit *kit, uint8_t topic_id,
                            int32_t partition, int32_t partition_epoch,
                            int32_t first, int32_t second)
{
    kit_place(kit, topic_id, partition, partition_epoch,
              (int32_t[]){first, second}, 2);
}

static inline void kit_config(struct kit *kit, int type, const char *name,
                              const char *key, const char *value)
{
    Leat__ConfigRecord c = LEAT__CONFIG_RECORD__INIT;

    c.resource_type = type;
    c.resource_name = (char *)(uintptr_t)name;
    c.key = (char *)(uintptr_t)key;
    c.present = value != NULL;
    c.value = (char *)(uintptr_t)(value != NULL ? value : "");
    kit_append(kit, (Leat__MetadataRecord[]){KIT_RECORD(config, CONFIG, &c)},
               1);
}

static inline void kit_remove_topic(struct kit *kit, uint8_t id,
                                    const char *name)
{
    Leat__RemoveTopicRecord r = LEAT__REMOVE_TOPIC_RECORD__INIT;
    struct uuid uuid = kit_uuid(id);

    r.topic_id = (ProtobufCBinaryData){16, uuid.bytes};
    r.name = (char *)(uintptr_t)name;
    kit_append(
        kit,
        (Leat__MetadataRecord[]){KIT_RECORD(remove_topic, REMOVE_TOPIC, &r)},
        1);
}

/* ---- the controllers ---------------------------------------------------- */

static inline void kit_send(struct env_conn *conn, int32_t correlation_id,
                            Leat__ControlResponse *response)
{
    struct buf b = BUF_INIT;
    struct env_out *out = env_out_new();
    size_t size = leat__control_response__get_packed_size(response);

    buf_put_u32(&b, (uint32_t)(4 + size));
    buf_put_u32(&b, (uint32_t)correlation_id);
    leat__control_response__pack(response, buf_extend(&b, size));
    env_out_add_buf(out, &b);
    env_conn_send(conn, out);
}

static inline void kit_snapshot(struct kit *kit, Leat__FetchMetadataResponse *f,
                                struct buf *bytes)
{
    struct image_cursor cursor = {0};

    while (!cursor.done)
        image_snapshot_next(&kit->image, &cursor, 1 << 20, bytes);
    f->snapshot_index = kit->entries_len;
    f->snapshot_batch = (ProtobufCBinaryData){bytes->len, bytes->data};
    f->snapshot_done = true;
}

static inline void kit_poll_answer(struct kit_controller *c)
{
    struct kit *kit = c->kit;
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;
    Leat__FetchMetadataResponse f = LEAT__FETCH_METADATA_RESPONSE__INIT;
    Leat__MetadataEntry entries[KIT_ENTRIES], *list[KIT_ENTRIES];
    struct buf snapshot = BUF_INIT;

    for (int64_t i = c->poll_index; i < kit->entries_len; i++) {
        Leat__MetadataEntry *e = &entries[f.n_entries];

        leat__metadata_entry__init(e);
        e->index = i + 1;
        e->term = 1;
        e->batch =
            (ProtobufCBinaryData){kit->entries[i].len, kit->entries[i].data};
        list[f.n_entries++] = e;
    }
    f.entries = list;
    f.committed_index = kit->entries_len;
    if (c->poll_index < kit->log_start) {
        f.n_entries = 0;
        kit_snapshot(kit, &f, &snapshot);
    }
    response.result_case = LEAT__CONTROL_RESPONSE__RESULT_FETCH_METADATA;
    response.fetch_metadata = &f;
    kit_send(c->poll_conn, c->poll_correlation, &response);
    c->poll_conn = NULL;
    buf_free(&snapshot);
}

static inline void kit_handle_isr(struct kit *kit,
                                  const Leat__AlterPartitionRequest *q,
                                  Leat__ControlResponse *response)
{
    static Leat__AlterPartitionResponse a;
    static Leat__AlterPartitionResult items[8], *list[8];
    static int32_t isr[8][3];

    leat__alter_partition_response__init(&a);
    cr_assert_leq(q->n_partitions, 8);
    for (size_t i = 0; i < q->n_partitions; i++) {
        leat__alter_partition_result__init(&items[i]);
        items[i].topic_id = q->partitions[i]->topic_id;
        items[i].partition = q->partitions[i]->partition;
        items[i].error = kit->isr_error;
        items[i].leader = kit->broker.node_id;
        items[i].leader_epoch = q->partitions[i]->leader_epoch;
        items[i].partition_epoch = q->partitions[i]->partition_epoch + 1;
        items[i].n_isr = q->partitions[i]->n_new_isr;
        for (size_t j = 0; j < items[i].n_isr && j < 3; j++)
            isr[i][j] = q->partitions[i]->new_isr[j]->broker_id;
        items[i].isr = isr[i];
        list[i] = &items[i];
    }
    a.partitions = list;
    a.n_partitions = q->n_partitions;
    response->result_case = LEAT__CONTROL_RESPONSE__RESULT_ALTER_PARTITION;
    response->alter_partition = &a;
}

/* CreateTopics makes three partitions of each topic. */
static inline void kit_create(struct kit *kit, const Leat__ForwardRequest *q,
                              Leat__ForwardResponse *out, struct buf *body)
{
    struct create_topics_request request;
    struct create_topics_response answer;
    struct arena arena;

    arena_init(&arena, 0);
    cr_assert_eq(
        kafka_decode(&create_topics_request_desc, (int16_t)q->api_version,
                     slice_of(q->body.data, q->body.len), &arena, &request),
        ERR_NONE);
    create_topics_response_init(&answer);
    answer.topics =
        arena_array(&arena, (size_t)request.topics_len, sizeof *answer.topics);
    answer.topics_len = request.topics_len;
    for (int32_t i = 0; i < request.topics_len; i++) {
        create_topics_response_creatable_topic_result_init(&answer.topics[i]);
        answer.topics[i].name = request.topics[i].name;
        if (kit->create_forwarded)
            kit_topic(kit, (uint8_t)(100 + kit->entries_len),
                      arena_strdup(&arena, request.topics[i].name), 3, true);
        else
            answer.topics[i].error_code = ERR_INVALID_REPLICATION_FACTOR;
    }
    kafka_encode(&create_topics_response_desc, (int16_t)q->api_version, &answer,
                 body, NULL);
    if (kit->create_forwarded)
        out->committed_index = kit->entries_len;
    arena_free(&arena);
}

static inline void kit_handle_forward(struct kit *kit,
                                      const Leat__ForwardRequest *q,
                                      Leat__ControlResponse *response)
{
    static Leat__ForwardResponse f;
    static struct buf body;

    leat__forward_response__init(&f);
    body.len = 0;
    kit->forwards++;
    kit->forward_key = (int16_t)q->api_key;
    if (kit->forwards == 1)
        kit->first_forward_key = kit->forward_key;
    if (q->api_key == API_CREATE_TOPICS)
        kit_create(kit, q, &f, &body);
    f.body = (ProtobufCBinaryData){body.len, body.data};
    response->result_case = LEAT__CONTROL_RESPONSE__RESULT_FORWARD;
    response->forward = &f;
}

static inline void kit_register(struct kit *kit,
                                const Leat__RegisterBrokerRequest *q,
                                Leat__RegisterBrokerResponse *out)
{
    kit->registrations++;
    if (kit->epoch == 0) {
        kit_broker(kit, q->broker_id, 0, true);
        kit->epoch = kit->entries_len;
    }
    out->broker_epoch = kit->epoch;
}

static inline void kit_heartbeat(struct kit *kit,
                                 const Leat__HeartbeatRequest *q,
                                 Leat__HeartbeatResponse *out)
{
    const struct image_broker *b = image_broker(&kit->image, q->broker_id);

    kit->heartbeats++;
    kit->heartbeat_applied = q->applied_index;
    kit->heartbeat_wants_shutdown = q->want_shutdown;
    cr_assert_not_null(b);
    cr_assert_eq(q->broker_epoch, kit->epoch);
    if (b->fenced && q->applied_index >= kit->epoch)
        kit_broker(kit, q->broker_id, kit->epoch, false);
    out->is_fenced = image_broker(&kit->image, q->broker_id)->fenced;
    out->should_shut_down = q->want_shutdown;
    out->metadata_index = kit->entries_len;
}

/* False: the connection is closed in place of an answer. */
static inline bool kit_handle(struct kit_controller *c,
                              const Leat__ControlRequest *q,
                              Leat__ControlResponse *response)
{
    static Leat__RegisterBrokerResponse registered;
    static Leat__HeartbeatResponse heartbeat;
    static Leat__AllocateProducerIdsResponse ids;
    struct kit *kit = c->kit;

    c->calls++;
    switch (q->call_case) {
    case LEAT__CONTROL_REQUEST__CALL_REGISTER_BROKER:
        leat__register_broker_response__init(&registered);
        kit_register(kit, q->register_broker, &registered);
        response->result_case = LEAT__CONTROL_RESPONSE__RESULT_REGISTER_BROKER;
        response->register_broker = &registered;
        return true;
    case LEAT__CONTROL_REQUEST__CALL_HEARTBEAT:
        leat__heartbeat_response__init(&heartbeat);
        kit_heartbeat(kit, q->heartbeat, &heartbeat);
        response->result_case = LEAT__CONTROL_RESPONSE__RESULT_HEARTBEAT;
        response->heartbeat = &heartbeat;
        return true;
    case LEAT__CONTROL_REQUEST__CALL_ALTER_PARTITION:
        kit->isr_calls++;
        if (c->drop_isr > 0 && c->drop_isr-- > 0)
            return false;
        kit_handle_isr(kit, q->alter_partition, response);
        return true;
    case LEAT__CONTROL_REQUEST__CALL_ALLOCATE_PRODUCER_IDS:
        leat__allocate_producer_ids_response__init(&ids);
        ids.first = kit->next_id;
        ids.count = 2;
        kit->next_id += 2;
        response->result_case =
            LEAT__CONTROL_RESPONSE__RESULT_ALLOCATE_PRODUCER_IDS;
        response->allocate_producer_ids = &ids;
        return true;
    case LEAT__CONTROL_REQUEST__CALL_FORWARD:
        if (c->drop_forwards > 0 && c->drop_forwards-- > 0) {
            kit->forwards++;
            return false;
        }
        kit_handle_forward(kit, q->forward, response);
        return true;
    default:
        cr_assert_fail("an unknown call");
        return false;
    }
}

static inline void kit_forget_conn(struct kit_controller *c,
                                   struct env_conn *conn)
{
    if (c->poll_conn == conn)
        c->poll_conn = NULL;
    for (size_t i = 0; i < c->conns_len; i++)
        if (c->conns[i] == conn)
            c->conns[i] = c->conns[--c->conns_len];
}

/* What is held hears who is active by now. */
static inline void kit_refuse_poll(struct kit_controller *c, int32_t hint)
{
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;

    response.error = ERR_NOT_CONTROLLER;
    response.leader_id = hint;
    kit_send(c->poll_conn, c->poll_correlation, &response);
    c->poll_conn = NULL;
}

static inline void kit_refuse_forward(struct kit_controller *c, int32_t hint)
{
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;

    response.error = ERR_NOT_CONTROLLER;
    response.leader_id = hint;
    kit_send(c->held_conn, c->held_correlation, &response);
    c->held_conn = NULL;
}

static inline void kit_frame(struct env_conn *conn, void *arg,
                             struct env_frame *frame)
{
    struct kit_controller *c = arg;
    struct kit *kit = c->kit;
    struct reader r = reader_of(slice_of(frame->data, frame->len));
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;

    cr_assert_eq(read_u16(&r), CONTROL_API_KEY);
    cr_assert_eq(read_u16(&r), CONTROL_API_VERSION);
    int32_t correlation_id = read_i32(&r);
    read_bytes(&r, read_u16(&r));
    cr_assert_not(r.bad);
    Leat__ControlRequest *q =
        leat__control_request__unpack(NULL, reader_left(&r), r.at);
    env_frame_unref(frame);
    cr_assert_not_null(q);
    cr_assert_str_eq(q->cluster_id, kit->broker.cluster_id);
    bool keep = true;
    if (c->holds_forwards &&
        q->call_case == LEAT__CONTROL_REQUEST__CALL_FORWARD) {
        c->held_conn = conn;
        c->held_correlation = correlation_id;
    } else if (!c->active) {
        response.error = ERR_NOT_CONTROLLER;
        response.leader_id = kit->hint;
        if (kit->hint_port != 0) {
            response.leader_host = (char *)(uintptr_t) "127.0.0.1";
            response.leader_port = kit->hint_port;
        }
        kit_send(conn, correlation_id, &response);
    } else if (q->call_case == LEAT__CONTROL_REQUEST__CALL_FETCH_METADATA) {
        c->poll_conn = conn;
        c->poll_correlation = correlation_id;
        c->poll_index = q->fetch_metadata->applied_index;
        if (kit->first_poll_index < 0)
            kit->first_poll_index = c->poll_index;
        if (c->poll_index < kit->entries_len && !kit->polls_held)
            kit_poll_answer(c);
    } else if ((keep = kit_handle(c, q, &response))) {
        kit_send(conn, correlation_id, &response);
    }
    leat__control_request__free_unpacked(q, NULL);
    if (!keep) {
        kit_forget_conn(c, conn);
        env_conn_close(conn);
    }
    kit_check(kit);
}

static inline void kit_closed(struct env_conn *conn, void *arg, int error)
{
    kit_forget_conn(arg, conn);
}

static const struct env_conn_ops kit_conn_ops = {.frame = kit_frame,
                                                 .closed = kit_closed};

static inline const struct env_conn_ops *kit_accept(struct env_conn *conn,
                                                    void *owner, void **arg)
{
    struct kit_controller *c = owner;

    cr_assert_lt(c->conns_len, 64);
    c->conns[c->conns_len++] = conn;
    *arg = c;
    return &kit_conn_ops;
}

/* As SIGKILL: the port is closed and so are the connections. */
static inline void kit_kill(struct kit_controller *c)
{
    env_listener_close(c->listener);
    c->listener = NULL;
    while (c->conns_len != 0) {
        struct env_conn *conn = c->conns[0];
        kit_forget_conn(c, conn);
        env_conn_close(conn);
    }
}

/* ---- life --------------------------------------------------------------- */

static inline void kit_ready(void *arg)
{
    struct kit *kit = arg;

    kit->ready = true;
    kit_check(kit);
}

static inline void kit_failed(void *arg)
{
    struct kit *kit = arg;

    kit->failed = true;
    kit_check(kit);
}

static inline void kit_left(void *arg)
{
    struct kit *kit = arg;

    kit->left = true;
    kit_check(kit);
}

static inline void kit_listen(struct kit *kit, int i)
{
    struct kit_controller *c = &kit->controllers[i];
    char *why = NULL;
    struct env_listen_options options = {
        .host = "127.0.0.1",
        .frame_max_bytes = 1 << 24,
        .accept = kit_accept,
        .owner = c,
    };

    c->kit = kit;
    c->id = 101 + i;
    int error = env_listen(kit->env, &options, &c->listener, &why);
    cr_assert_eq(error, 0, "%s", why);
}

static inline void kit_load_config(struct kit *kit, const char *more)
{
    char *why = NULL;
    char *text =
        xasprintf("process.roles=broker\nnode.id=1\nlog.dirs=%s\n"
                  "listeners=PLAINTEXT://127.0.0.1:9001\n"
                  "advertised.listeners=PLAINTEXT://host-1:9001\n"
                  "controller.listener.names=CONTROLLER\n"
                  "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,"
                  "CONTROLLER:PLAINTEXT\n"
                  "controller.quorum.voters=101@127.0.0.1:%u,102@127.0.0.1:%u\n"
                  "broker.heartbeat.interval.ms=200\n%s",
                  kit->dir, env_listener_port(kit->controllers[0].listener),
                  env_listener_port(kit->controllers[1].listener), more);
    struct server_config_sources sources = {
        .file_name = "test",
        .file = slice_str(text),
        .host_name = "host-1",
        .processors = 1,
    };
    enum err error = server_config_load(&sources, &kit->config, &why);

    cr_assert_eq(error, ERR_NONE, "%s", why);
    free(text);
}

/* A metadata thread as a process would start it; again after kit_stop(). */
static inline void kit_start(struct kit *kit)
{
    char *why = NULL;

    kit->meta = kit->broker.meta = meta_new(&kit->broker, kit->env);
    meta_on_ready(kit->meta, kit_ready, kit);
    meta_on_failed(kit->meta, kit_failed, kit);
    enum err error = meta_start(kit->meta, &why);
    cr_assert_eq(error, ERR_NONE, "%s", why);
}

/* Two controllers, the first of them active, brokers 2 and 3 registered. */
static inline void kit_init(struct kit *kit, const char *more_config)
{
    *kit = (struct kit){.first_poll_index = -1, .hint = -1, .next_id = 1000};
    kit_now = kit;
    snprintf(kit->dir, sizeof kit->dir, "/tmp/leat-meta-XXXXXX");
    cr_assert_not_null(mkdtemp(kit->dir));
    kit->env = env_create();
    for (int i = 0; i < KIT_CONTROLLERS; i++)
        kit_listen(kit, i);
    kit->controllers[0].active = true;
    kit_load_config(kit, more_config);
    image_init(&kit->image);
    kit->log_dir = (struct log_dir){.path = kit->dir, .id = kit_uuid(77)};
    kit->broker = (struct broker){
        .config = &kit->config,
        .node_id = 1,
        .cluster_id = "test-cluster",
        .incarnation = kit_uuid(1),
        .shards = kit->shard_pointers,
        .shards_len = KIT_SHARDS,
        .log_dirs = &kit->log_dir,
        .log_dirs_len = 1,
    };
    for (int i = 0; i < KIT_SHARDS; i++) {
        kit->shards[i] =
            (struct shard){.env = kit->env, .broker = &kit->broker, .index = i};
        kit->shard_pointers[i] = &kit->shards[i];
    }
    kit_broker(kit, 2, 0, false);
    kit_broker(kit, 3, 0, false);
}

static inline int kit_unlink(const char *path, const struct stat *st, int flag,
                             struct FTW *ftw)
{
    return remove(path);
}

static inline void kit_free(struct kit *kit)
{
    meta_stop(kit->meta);
    env_free(kit->env);
    meta_free(kit->meta);
    for (int64_t i = 0; i < kit->entries_len; i++)
        buf_free(&kit->entries[i]);
    for (int i = 0; i < KIT_SHARDS; i++)
        buf_free(&kit->shard_text[i]);
    buf_free(&kit->answer);
    image_free(&kit->image);
    server_config_free(&kit->config);
    nftw(kit->dir, kit_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static inline bool kit_is_ready(struct kit *kit) { return kit->ready; }

/* The image holds every entry. */
static inline bool kit_is_applied(struct kit *kit)
{
    return kit->meta->image.applied_index == kit->entries_len;
}

/* ---- requests ----------------------------------------------------------- */

/* Has a handler answer `message`, on the metadata thread. */
static inline void kit_request(struct kit *kit, int16_t key, int16_t version,
                               void (*handler)(struct request *r),
                               const void *message)
{
    struct request *r = xcalloc(1, sizeof *r);
    struct buf body = BUF_INIT;

    arena_init(&r->arena, 0);
    r->api = api_find(key);
    r->version = version;
    r->shard = &kit->shards[0];
    r->client_host = "127.0.0.1";
    cr_assert_eq(kafka_encode(r->api->request, version, message, &body, NULL),
                 ERR_NONE);
    r->body = arena_copy(&r->arena, buf_slice(&body));
    r->msg = arena_alloc(&r->arena, r->api->request->size_bytes);
    cr_assert_eq(
        kafka_decode(r->api->request, version, r->body, &r->arena, r->msg),
        ERR_NONE);
    buf_free(&body);
    handler(r);
}

/* The last answer as JSON, which lives until the next call. */
static inline const char *kit_answer(struct kit *kit, int16_t key,
                                     int16_t version)
{
    static struct buf json;
    const struct kafka_desc *d = api_find(key)->response;
    void *message = xcalloc(1, d->size_bytes);
    struct arena arena;

    json.len = 0;
    arena_init(&arena, 0);
    cr_assert_eq(
        kafka_decode(d, version, buf_slice(&kit->answer), &arena, message),
        ERR_NONE);
    kafka_to_json(d, version, message, &json);
    buf_put_u8(&json, 0);
    arena_free(&arena);
    free(message);
    return (const char *)json.data;
}

static inline const char *kit_text(struct kit *kit, int shard)
{
    buf_put_u8(&kit->shard_text[shard], 0);
    kit->shard_text[shard].len--;
    return (const char *)kit->shard_text[shard].data;
}

#endif
