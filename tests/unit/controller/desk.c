#include "tests/unit/controller/desk.h"

#include "controller/features.h"
#include "controller/image_kv.h"
#include "tests/unit/raft/memory_kv.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- rules that hold for every change of a partition --------------------- */

static bool all_in(struct image_ids a, struct image_ids b)
{
    for (uint32_t i = 0; i < a.len; i++)
        if (!image_ids_have(b, a.at[i]))
            return false;
    return true;
}

static bool none_in(struct image_ids a, struct image_ids b)
{
    for (uint32_t i = 0; i < a.len; i++)
        if (image_ids_have(b, a.at[i]))
            return false;
    return true;
}

static bool no_double(struct image_ids a)
{
    for (uint32_t i = 0; i < a.len; i++)
        for (uint32_t j = 0; j < i; j++)
            if (a.at[i] == a.at[j])
                return false;
    return true;
}

static void check_shape(const char *topic, int32_t partition,
                        const struct image_partition *p)
{
    struct image_ids replicas = image_replicas(p);
    struct image_ids isr = image_isr(p);

    cr_assert(replicas.len > 0 && no_double(replicas), "%s-%d", topic,
              partition);
    cr_assert(isr.len > 0, "%s-%d: nobody in sync", topic, partition);
    cr_assert(no_double(isr) && all_in(isr, replicas), "%s-%d", topic,
              partition);
    cr_assert(p->leader == -1 || image_ids_have(isr, p->leader), "%s-%d", topic,
              partition);
    cr_assert(all_in(image_elr(p), replicas) && none_in(image_elr(p), isr),
              "%s-%d", topic, partition);
    cr_assert(none_in(image_last_known_elr(p), isr) || image_isr_is_lost(p),
              "%s-%d", topic, partition);
    cr_assert(!image_isr_is_lost(p) || p->leader == -1, "%s-%d", topic,
              partition);
    cr_assert(all_in(image_adding(p), replicas), "%s-%d", topic, partition);
    cr_assert(all_in(image_removing(p), replicas), "%s-%d", topic, partition);
    cr_assert(none_in(image_adding(p), image_removing(p)), "%s-%d", topic,
              partition);
}

static void on_partition(void *arg, const struct image_topic *topic,
                         int32_t partition, const struct image_partition *old,
                         const struct image_partition *now)
{
    check_shape(topic->name, partition, now);
    if (old == NULL) {
        cr_assert_eq(now->leader_epoch, 0);
        cr_assert_eq(now->partition_epoch, 0);
        return;
    }
    cr_assert_eq(now->partition_epoch, old->partition_epoch + 1, "%s-%d",
                 topic->name, partition);
    bool dropped = !all_in(image_replicas(old), image_replicas(now));
    bool elected = now->leader != old->leader;
    cr_assert_eq(now->leader_epoch,
                 old->leader_epoch + (elected || dropped ? 1 : 0), "%s-%d",
                 topic->name, partition);
    /* Nobody leads who may lack what was acknowledged, or it is said. */
    if (elected && now->leader != -1 &&
        !image_ids_have(image_isr(old), now->leader) &&
        !image_ids_have(image_elr(old), now->leader))
        cr_assert(now->recovering || old->adding_len + old->removing_len > 0,
                  "%s-%d: unclean election of %d", topic->name, partition,
                  now->leader);
}

/* A call is over: nobody leads or is in sync who is not active, unless it is
 * the last one in sync. */
static void check_live(const struct desk *d)
{
    struct image_topic *topic;

    for (uint32_t at = 0;
         (topic = image_topic_next(&d->committed, &at)) != NULL;)
        for (int32_t i = 0; i < topic->partitions_len; i++) {
            const struct image_partition *p = topic->partitions[i];
            struct image_ids isr = image_isr(p);

            for (uint32_t j = 0; j < isr.len; j++) {
                const struct image_broker *b =
                    image_broker(&d->committed, isr.at[j]);
                bool active =
                    b != NULL && !b->fenced && !b->in_controlled_shutdown;
                cr_assert(active || (isr.len == 1 && p->leader == -1),
                          "%s-%d: %d is in sync", topic->name, i, isr.at[j]);
            }
        }
}

/* ---- calls --------------------------------------------------------------- */

struct controller_call desk_call(struct desk *d)
{
    return (struct controller_call){
        .now_ms = d->now_ms,
        .next_index = d->next_index,
        .seed = d->seed++,
        .arena = &d->arena,
    };
}

static size_t count_records(struct slice batch)
{
    Leat__MetadataBatch *b =
        leat__metadata_batch__unpack(NULL, batch.len, batch.data);
    cr_assert_not_null(b);
    size_t n = b->n_records;

    leat__metadata_batch__free_unpacked(b, NULL);
    return n;
}

void desk_done(struct desk *d, struct controller_update *update)
{
    struct image_observer rules = {.partition_changed = on_partition};

    d->records = 0;
    d->batches = update->batches_len;
    d->deadline_ms = update->deadline_ms;
    for (size_t i = 0; i < update->batches_len; i++) {
        struct slice bytes = buf_slice(&update->batches[i].bytes);
        struct kv_batch stored = KV_BATCH_INIT;

        cr_assert_eq(update->batches[i].index, d->next_index);
        cr_assert_leq(bytes.len, d->c.config.entry_max_bytes);
        d->records += count_records(bytes);
        cr_assert_eq(image_persist(d->next_index, 1, bytes, &stored), ERR_NONE);
        cr_assert_eq(kv_write(d->kv, &stored, false), 0);
        kv_batch_free(&stored);
        cr_assert_eq(image_apply(&d->committed, d->next_index, bytes, &rules),
                     ERR_NONE);
        d->next_index++;
    }
    cr_assert_eq(update->answer_index, d->next_index - 1);
    controller_update_free(update);
    if (d->light)
        return;
    cr_assert(image_equal(&d->c.image, &d->committed));
    check_live(d);
}

static void check_snapshot(const struct desk *d)
{
    struct image copy;
    struct image_cursor cursor = {0};
    struct buf piece = BUF_INIT;
    int64_t index = 1;

    image_init(&copy);
    while (!cursor.done) {
        piece.len = 0;
        image_snapshot_next(&d->committed, &cursor, 300, &piece);
        cr_assert_eq(image_apply(&copy, index++, buf_slice(&piece), NULL),
                     ERR_NONE);
    }
    cr_assert(image_equal(&copy, &d->committed));
    buf_free(&piece);
    image_free(&copy);
}

static void check_store(const struct desk *d)
{
    struct image copy;
    char *why = NULL;
    int64_t term = 0;

    image_init(&copy);
    cr_assert_eq(image_load(d->kv, &copy, &term, &why), ERR_NONE, "%s", why);
    cr_assert(image_equal(&copy, &d->committed));
    cr_assert_eq(copy.applied_index, d->next_index - 1);
    cr_assert_eq(term, 1);
    image_free(&copy);
}

/* How much of the index the image accounts for; all of it, if it is true. */
struct accounted {
    uint32_t leaderless;
    uint32_t imbalanced;
    uint32_t reassigning;
    uint32_t with_elr;
    uint32_t replicas;
};

static void check_member(const struct ref_set *set, partition_ref ref,
                         bool expected, uint32_t *accounted)
{
    cr_assert_eq(ref_set_has(set, ref), expected);
    *accounted += expected;
}

static void check_indexed(const struct index *x, partition_ref ref,
                          const struct image_partition *p, struct accounted *a)
{
    check_member(&x->leaderless, ref, p->leader == -1, &a->leaderless);
    check_member(&x->imbalanced, ref,
                 p->leader != -1 && p->leader != p->ids[0] &&
                     image_ids_have(image_isr(p), p->ids[0]),
                 &a->imbalanced);
    check_member(&x->reassigning, ref, p->adding_len + p->removing_len > 0,
                 &a->reassigning);
    check_member(&x->with_elr, ref, p->elr_len > 0, &a->with_elr);
    for (uint32_t i = 0; i < p->replicas_len; i++)
        check_member(&index_broker(x, p->ids[i])->replicas, ref, true,
                     &a->replicas);
}

static void check_index(const struct desk *d)
{
    const struct index *x = &d->c.index;
    struct accounted a = {0};
    uint32_t replicas = 0;
    int64_t leads = 0;
    struct image_topic *topic;

    for (uint32_t at = 0; (topic = image_topic_next(&d->c.image, &at)) != NULL;)
        for (int32_t i = 0; i < topic->partitions_len; i++)
            check_indexed(x, partition_ref_of(topic->slot, i),
                          topic->partitions[i], &a);
    MAP_EACH (entry, &x->brokers) {
        struct index_broker *b = entry->value;

        replicas += b->replicas.count;
        leads += b->leads;
    }
    cr_assert_eq(a.leaderless, x->leaderless.count);
    cr_assert_eq(a.imbalanced, x->imbalanced.count);
    cr_assert_eq(a.reassigning, x->reassigning.count);
    cr_assert_eq(a.with_elr, x->with_elr.count);
    cr_assert_eq(a.replicas, replicas);
    cr_assert_eq(leads, d->c.image.partitions_count - a.leaderless);
}

void desk_check_copies(struct desk *d)
{
    check_snapshot(d);
    check_store(d);
    check_index(d);
}

/* ---- life ---------------------------------------------------------------- */

void desk_init(struct desk *d)
{
    *d = (struct desk){.now_ms = 1000, .next_index = 1, .seed = 7, .why = ""};
    controller_config_init(&d->config);
    d->config.leader_rebalance_delay_ms = -1;
    d->config.broker_disconnect_grace_ms = 100;
    arena_init(&d->arena, 0);
    image_init(&d->committed);
    d->kv = memory_kv_new();
}

void desk_start(struct desk *d)
{
    struct controller_update update;
    struct controller_call call = desk_call(d);
    struct image image;
    char *why = NULL;

    d->config.file = config_layer_of_map(&d->file);
    controller_init(&d->c, &d->config);
    image_init(&image);
    cr_assert_eq(image_load(d->kv, &image, NULL, &why), ERR_NONE, "%s", why);
    controller_activate(&d->c, &image, &call, &update);
    desk_done(d, &update);
}

void desk_failover(struct desk *d)
{
    controller_free(&d->c);
    desk_start(d);
}

void desk_with_brokers(struct desk *d, int32_t n)
{
    desk_init(d);
    desk_start(d);
    for (int32_t id = 1; id <= n; id++) {
        cr_assert_eq(desk_register(d, (struct desk_broker){.id = id}),
                     ERR_NONE);
        desk_unfence(d, id);
    }
}

void desk_free(struct desk *d)
{
    if (!d->light)
        desk_check_copies(d);
    controller_free(&d->c);
    image_free(&d->committed);
    memory_kv_free(d->kv);
    arena_free(&d->arena);
    map_free(&d->file);
}

/* ---- brokers ------------------------------------------------------------- */

enum err desk_register(struct desk *d, struct desk_broker b)
{
    struct controller_update update;
    struct controller_call call = desk_call(d);
    Leat__RegisterBrokerRequest request = LEAT__REGISTER_BROKER_REQUEST__INIT;
    Leat__RegisterBrokerResponse response =
        LEAT__REGISTER_BROKER_RESPONSE__INIT;
    Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *endpoints[] = {&endpoint};
    uint16_t process = b.incarnation != 0 ? b.incarnation : 1;
    uint8_t incarnation[16] = {(uint8_t)b.id, (uint8_t)process,
                               (uint8_t)(process >> 8)};
    uint8_t log_dir[16] = {(uint8_t)b.id, 0xdd, b.disk};
    uint8_t second[16] = {(uint8_t)b.id, 0xde};
    ProtobufCBinaryData log_dirs[] = {{16, log_dir}, {16, second}};
    const char *why = "";

    endpoint.listener = (char *)"PLAINTEXT";
    endpoint.host =
        b.host != NULL
            ? (char *)(uintptr_t)b.host
            : (char *)(uintptr_t)arena_printf(&d->arena, "host%d", (int)b.id)
                  .data;
    endpoint.port = 9092;
    request.broker_id = b.id;
    request.incarnation = (ProtobufCBinaryData){16, incarnation};
    request.endpoints = endpoints;
    request.n_endpoints = 1;
    request.log_dirs = log_dirs;
    request.n_log_dirs = b.disks != 0 ? b.disks : 1;
    request.rack = (char *)(uintptr_t)(b.rack != NULL ? b.rack : "");
    if (!b.no_features)
        features_declare(&request, &d->arena);
    request.previous_broker_epoch =
        b.previous_epoch != 0 ? b.previous_epoch : -1;
    enum err error = controller_register_broker(&d->c, &call, &request,
                                                &response, &why, &update);
    d->why = why;
    desk_done(d, &update);
    if (error == ERR_NONE)
        cr_assert_eq(response.broker_epoch, desk_epoch(d, b.id));
    return error;
}

enum err desk_heartbeat_with(struct desk *d, Leat__HeartbeatRequest request,
                             Leat__HeartbeatResponse *response)
{
    struct controller_update update;
    struct controller_call call = desk_call(d);
    Leat__HeartbeatResponse ignored;
    const char *why = "";

    if (response == NULL)
        response = &ignored;
    leat__heartbeat_response__init(response);
    enum err error =
        controller_heartbeat(&d->c, &call, &request, response, &why, &update);
    d->why = why;
    desk_done(d, &update);
    return error;
}

enum err desk_heartbeat(struct desk *d, int32_t id,
                        Leat__HeartbeatResponse *response)
{
    Leat__HeartbeatRequest request = LEAT__HEARTBEAT_REQUEST__INIT;

    request.broker_id = id;
    request.broker_epoch = desk_epoch(d, id);
    request.applied_index = d->next_index - 1;
    return desk_heartbeat_with(d, request, response);
}

void desk_unfence(struct desk *d, int32_t id)
{
    Leat__HeartbeatResponse response;

    cr_assert_eq(desk_heartbeat(d, id, &response), ERR_NONE);
    cr_assert_not(response.is_fenced);
}

void desk_kill(struct desk *d, int32_t id)
{
    struct controller_update update;
    struct controller_call call = desk_call(d);

    controller_broker_lost(&d->c, &call, id, desk_epoch(d, id), &update);
    desk_done(d, &update);
    d->now_ms += d->config.broker_disconnect_grace_ms;
    desk_tick(d);
    cr_assert(desk_is_fenced(d, id));
}

void desk_restart(struct desk *d, int32_t id, bool clean)
{
    const struct image_broker *b = image_broker(&d->committed, id);

    cr_assert_eq(
        desk_register(
            d, (struct desk_broker){.id = id,
                                    .incarnation =
                                        (uint16_t)(b->incarnation.bytes[1] + 1),
                                    .previous_epoch = clean ? b->epoch : -1}),
        ERR_NONE, "%s", d->why);
    desk_unfence(d, id);
}

void desk_restart_emptied(struct desk *d, int32_t id)
{
    const struct image_broker *b = image_broker(&d->committed, id);
    const struct desk_broker anew = {
        .id = id,
        .incarnation = (uint16_t)(b->incarnation.bytes[1] + 1),
        .previous_epoch = -1,
        .disk = (uint8_t)(b->log_dirs[0].bytes[2] + 1),
    };

    cr_assert_eq(desk_register(d, anew), ERR_NONE, "%s", d->why);
    desk_unfence(d, id);
}

enum err desk_unregister(struct desk *d, int32_t id)
{
    struct unregister_broker_request request = {.broker_id = id};
    struct unregister_broker_response *response =
        desk_kafka(d, API_UNREGISTER_BROKER, 0, &request);

    return (enum err)response->error_code;
}

int64_t desk_epoch(const struct desk *d, int32_t id)
{
    const struct image_broker *b = image_broker(&d->committed, id);

    return b != NULL ? b->epoch : -1;
}

bool desk_is_fenced(const struct desk *d, int32_t id)
{
    const struct image_broker *b = image_broker(&d->committed, id);

    cr_assert_not_null(b);
    return b->fenced;
}

void desk_tick(struct desk *d)
{
    struct controller_update update;
    struct controller_call call = desk_call(d);

    controller_tick(&d->c, &call, &update);
    desk_done(d, &update);
}

void desk_pass(struct desk *d, int64_t ms)
{
    for (int64_t left = ms; left > 0;) {
        int64_t step = left < 2000 ? left : 2000;

        d->now_ms += step;
        left -= step;
        for (size_t i = 0; i < d->committed.brokers_len; i++)
            if (!d->committed.brokers[i]->fenced)
                desk_heartbeat(d, d->committed.brokers[i]->id, NULL);
        if (d->deadline_ms <= d->now_ms)
            desk_tick(d);
    }
}

enum err desk_offline(struct desk *d, int32_t broker, const char *topic,
                      const char *partitions)
{
    struct controller_update update;
    struct controller_call call = desk_call(d);
    Leat__OfflineReplicasRequest request = LEAT__OFFLINE_REPLICAS_REQUEST__INIT;
    struct uuid id = image_topic(&d->committed, slice_str(topic))->id;
    int32_t count;
    int32_t *at = desk_ids(d, partitions, &count);
    Leat__OfflineReplica *items =
        arena_array(&d->arena, (size_t)count, sizeof *items);
    const char *why = "";

    request.broker_id = broker;
    request.broker_epoch = desk_epoch(d, broker);
    request.n_replicas = (size_t)count;
    request.replicas =
        arena_array(&d->arena, (size_t)count, sizeof *request.replicas);
    for (int32_t i = 0; i < count; i++) {
        leat__offline_replica__init(&items[i]);
        items[i].topic_id = (ProtobufCBinaryData){16, id.bytes};
        items[i].partition = at[i];
        request.replicas[i] = &items[i];
    }
    enum err error =
        controller_offline_replicas(&d->c, &call, &request, &why, &update);
    d->why = why;
    desk_done(d, &update);
    return error;
}

enum err desk_alter(struct desk *d, struct desk_alter a)
{
    struct controller_update update;
    struct controller_call call = desk_call(d);
    Leat__AlterPartitionRequest request = LEAT__ALTER_PARTITION_REQUEST__INIT;
    Leat__AlterPartitionResponse response =
        LEAT__ALTER_PARTITION_RESPONSE__INIT;
    Leat__AlterPartitionItem item = LEAT__ALTER_PARTITION_ITEM__INIT;
    Leat__AlterPartitionItem *items[] = {&item};
    Leat__IsrMember members[64];
    Leat__IsrMember *pointers[64];
    struct image_topic *topic = image_topic(&d->committed, slice_str(a.topic));
    const struct image_partition *p =
        topic != NULL ? image_partition(topic, a.partition) : NULL;
    struct uuid no_topic = {{1}};
    int32_t count;
    int32_t *ids = desk_ids(d, a.isr, &count);
    const char *why = "";

    request.broker_id = a.sender != 0 ? a.sender : p->leader;
    request.broker_epoch = desk_epoch(d, request.broker_id);
    item.topic_id.len = 16;
    item.topic_id.data = topic != NULL ? topic->id.bytes : no_topic.bytes;
    item.partition = a.partition;
    item.leader_epoch = (p != NULL ? p->leader_epoch : 0) + a.leader_epoch_off;
    item.partition_epoch =
        (p != NULL ? p->partition_epoch : 0) + a.partition_epoch_off;
    item.recovering = a.recovering;
    item.n_new_isr = (size_t)count;
    item.new_isr = pointers;
    for (int32_t i = 0; i < count; i++) {
        leat__isr_member__init(&members[i]);
        members[i].broker_id = ids[i];
        members[i].broker_epoch = desk_epoch(d, ids[i]) + a.member_epoch_off;
        pointers[i] = &members[i];
    }
    request.partitions = items;
    request.n_partitions = 1;
    enum err error = controller_alter_partition(&d->c, &call, &request,
                                                &response, &why, &update);
    d->why = why;
    desk_done(d, &update);
    if (error != ERR_NONE)
        return error;
    cr_assert_eq(response.n_partitions, 1);
    return (enum err)response.partitions[0]->error;
}

/* ---- Kafka's requests ---------------------------------------------------- */

void *desk_kafka(struct desk *d, int16_t api_key, int16_t version,
                 const void *request)
{
    const struct api *api = api_find(api_key);
    struct controller_update update;
    struct controller_call call = desk_call(d);
    struct buf body = BUF_INIT;
    struct buf answer = BUF_INIT;
    void *response = arena_alloc(&d->arena, api->response->size_bytes);

    cr_assert_eq(kafka_encode(api->request, version, request, &body, NULL),
                 ERR_NONE);
    cr_assert_eq(controller_handle_kafka(&d->c, &call, api_key, version,
                                         buf_slice(&body), &answer, &update),
                 ERR_NONE);
    desk_done(d, &update);
    struct slice kept = arena_copy(&d->arena, buf_slice(&answer));
    cr_assert_eq(
        kafka_decode(api->response, version, kept, &d->arena, response),
        ERR_NONE);
    buf_free(&body);
    buf_free(&answer);
    return response;
}

int32_t *desk_ids(struct desk *d, const char *text, int32_t *len)
{
    int32_t *ids = arena_array(&d->arena, strlen(text) + 1, sizeof *ids);
    char *at = (char *)(uintptr_t)text;

    for (*len = 0; *at != '\0' && *at != ' ';) {
        ids[(*len)++] = (int32_t)strtol(at, &at, 10);
        if (*at == ',')
            at++;
    }
    return ids;
}

static enum err create(struct desk *d,
                       struct create_topics_request_creatable_topic *topic)
{
    struct create_topics_request request;

    create_topics_request_init(&request);
    request.topics = topic;
    request.topics_len = 1;
    struct create_topics_response *response =
        desk_kafka(d, API_CREATE_TOPICS, 7, &request);
    cr_assert_eq(response->topics_len, 1);
    d->why = arena_strdup(&d->arena, response->topics[0].error_message);
    return (enum err)response->topics[0].error_code;
}

enum err desk_create(struct desk *d, const char *name, int32_t partitions,
                     int16_t replicas)
{
    struct create_topics_request_creatable_topic topic;

    create_topics_request_creatable_topic_init(&topic);
    topic.name = slice_str(name);
    topic.num_partitions = partitions;
    topic.replication_factor = replicas;
    return create(d, &topic);
}

enum err desk_create_at(struct desk *d, const char *name,
                        const char *assignment)
{
    struct create_topics_request_creatable_replica_assignment list[64];
    struct create_topics_request_creatable_topic topic;

    create_topics_request_creatable_topic_init(&topic);
    topic.name = slice_str(name);
    topic.num_partitions = -1;
    topic.replication_factor = -1;
    topic.assignments = list;
    for (const char *at = assignment; at != NULL;) {
        int32_t i = topic.assignments_len++;

        create_topics_request_creatable_replica_assignment_init(&list[i]);
        list[i].partition_index = i;
        list[i].broker_ids = desk_ids(d, at, &list[i].broker_ids_len);
        at = strchr(at, ' ');
        if (at != NULL)
            at++;
    }
    return create(d, &topic);
}

enum err desk_delete(struct desk *d, const char *name)
{
    struct delete_topics_request request;
    struct delete_topics_request_delete_topic_state topic;

    delete_topics_request_init(&request);
    delete_topics_request_delete_topic_state_init(&topic);
    topic.name = slice_str(name);
    request.topics = &topic;
    request.topics_len = 1;
    struct delete_topics_response *response =
        desk_kafka(d, API_DELETE_TOPICS, 6, &request);
    return (enum err)response->responses[0].error_code;
}

static enum err alter_config(struct desk *d, int8_t type, struct slice name,
                             const char *key, const char *value)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_alter_configs_resource resource;
    struct incremental_alter_configs_request_alterable_config config;

    incremental_alter_configs_request_init(&request);
    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    incremental_alter_configs_request_alterable_config_init(&config);
    config.name = slice_str(key);
    config.config_operation = value == NULL ? 1 : 0;
    config.value = slice_str(value);
    resource.resource_type = type;
    resource.resource_name = name;
    resource.configs = &config;
    resource.configs_len = 1;
    request.resources = &resource;
    request.resources_len = 1;
    struct incremental_alter_configs_response *response =
        desk_kafka(d, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    d->why = arena_strdup(&d->arena, response->responses[0].error_message);
    return (enum err)response->responses[0].error_code;
}

enum err desk_topic_config(struct desk *d, const char *topic, const char *key,
                           const char *value)
{
    return alter_config(d, IMAGE_RESOURCE_TOPIC, slice_str(topic), key, value);
}

enum err desk_broker_config(struct desk *d, int32_t broker, const char *key,
                            const char *value)
{
    struct slice name =
        broker < 0 ? SLICE("") : arena_printf(&d->arena, "%d", (int)broker);

    return alter_config(d, IMAGE_RESOURCE_BROKER, name, key, value);
}

enum err desk_reassign(struct desk *d, const char *topic, int32_t partition,
                       const char *replicas)
{
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_request_reassignable_topic t;
    struct alter_partition_reassignments_request_reassignable_partition p;

    alter_partition_reassignments_request_init(&request);
    alter_partition_reassignments_request_reassignable_topic_init(&t);
    alter_partition_reassignments_request_reassignable_partition_init(&p);
    p.partition_index = partition;
    p.replicas_len = -1;
    if (replicas != NULL)
        p.replicas = desk_ids(d, replicas, &p.replicas_len);
    t.name = slice_str(topic);
    t.partitions = &p;
    t.partitions_len = 1;
    request.topics = &t;
    request.topics_len = 1;
    struct alter_partition_reassignments_response *response =
        desk_kafka(d, API_ALTER_PARTITION_REASSIGNMENTS, 1, &request);
    d->why = arena_strdup(&d->arena,
                          response->responses[0].partitions[0].error_message);
    return (enum err)response->responses[0].partitions[0].error_code;
}

enum err desk_elect(struct desk *d, int8_t type, const char *topic,
                    int32_t partition)
{
    struct elect_leaders_request request;
    struct elect_leaders_request_topic_partitions t;

    elect_leaders_request_init(&request);
    elect_leaders_request_topic_partitions_init(&t);
    t.topic = slice_str(topic);
    t.partitions = &partition;
    t.partitions_len = 1;
    request.election_type = type;
    request.topic_partitions = &t;
    request.topic_partitions_len = 1;
    struct elect_leaders_response *response =
        desk_kafka(d, API_ELECT_LEADERS, 2, &request);
    return (enum err)response->replica_election_results[0]
        .partition_result[0]
        .error_code;
}

/* ---- looking ------------------------------------------------------------- */

const struct image_partition *
desk_partition(const struct desk *d, const char *topic, int32_t partition)
{
    struct image_topic *t = image_topic(&d->committed, slice_str(topic));

    return t == NULL ? NULL : image_partition(t, partition);
}

static void show_ids(struct buf *out, const char *label, struct image_ids ids)
{
    if (ids.len == 0)
        return;
    buf_printf(out, " %s ", label);
    for (uint32_t i = 0; i < ids.len; i++)
        buf_printf(out, i == 0 ? "%d" : ",%d", (int)ids.at[i]);
}

const char *desk_show(struct desk *d, const char *topic, int32_t partition)
{
    const struct image_partition *p = desk_partition(d, topic, partition);
    struct buf out = BUF_INIT;

    if (p == NULL)
        return "no partition";
    buf_printf(&out, "leader %d epochs %d/%d", p->leader, p->leader_epoch,
               p->partition_epoch);
    show_ids(&out, "replicas", image_replicas(p));
    show_ids(&out, "isr", image_isr(p));
    show_ids(&out, "adding", image_adding(p));
    show_ids(&out, "removing", image_removing(p));
    show_ids(&out, "elr", image_elr(p));
    show_ids(&out, "last", image_last_known_elr(p));
    show_ids(&out, "offline", image_offline(p));
    if (p->recovering)
        buf_printf(&out, " recovering");
    const char *text = arena_strdup(&d->arena, buf_slice(&out));
    buf_free(&out);
    return text;
}
