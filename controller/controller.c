/* The entry points: each opens a step, lets one file decide, and closes it. */
#include "controller/controller.h"

#include "base/assert.h"
#include "controller/step.h"

#include <stdlib.h>

/* ---- life ---------------------------------------------------------------- */

void controller_config_init(struct controller_config *config)
{
    *config = (struct controller_config){
        .broker_session_timeout_ms = 9000,
        .broker_disconnect_grace_ms = 300,
        .auto_leader_rebalance = true,
        .leader_imbalance_check_interval_ms = 300000,
        .leader_rebalance_delay_ms = 5000,
        .unclean_leader_election_interval_ms = 300000,
        .quota_window_num = 11,
        .quota_window_size_seconds = 1,
        .num_partitions = 1,
        .default_replication_factor = 1,
        .delete_topic_enable = true,
        .batch_max_records = 1000,
        .batch_max_bytes = 1 << 20,
        .entry_max_bytes = 8 << 20,
        .request_max_bytes = 32 << 20,
    };
}

void controller_update_free(struct controller_update *update)
{
    for (size_t i = 0; i < update->batches_len; i++)
        buf_free(&update->batches[i].bytes);
    free(update->batches);
    *update = (struct controller_update){0};
}

void controller_init(struct controller *c,
                     const struct controller_config *config)
{
    *c = (struct controller){.config = *config};
    image_init(&c->image);
    index_init(&c->index);
}

void controller_deactivate(struct controller *c)
{
    c->active = false;
    heap_free(&c->sessions);
    MAP_EACH (entry, &c->brokers)
        free(entry->value);
    map_free(&c->brokers);
    MAP_EACH (entry, &c->mutation_rates)
        free(entry->value);
    map_free(&c->mutation_rates);
    index_free(&c->index);
    index_init(&c->index);
    image_free(&c->image);
    c->policy.valid = false;
}

void controller_free(struct controller *c)
{
    controller_deactivate(c);
    index_free(&c->index);
}

/* What a new cluster needs, and what only the metadata may say. */
static void put_defaults(struct step *s)
{
    struct slice key = SLICE("min.insync.replicas");
    struct config_layers layers = {.file = s->c->config.file};

    if (image_config(s->image, IMAGE_RESOURCE_BROKER, SLICE(""), key) != NULL)
        return;
    /* An older cluster keeps what its brokers know until they are asked. */
    if (s->image->brokers_len == 0)
        features_put_initial(s);
    config_put(
        s, IMAGE_RESOURCE_BROKER, SLICE(""), key,
        config_effective(config_find(CONFIG_TOPIC, key), &layers, s->arena));
}

static int64_t after(int64_t now_ms, int64_t interval_ms)
{
    return interval_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + interval_ms;
}

void controller_activate(struct controller *c, struct image *image,
                         const struct controller_call *call,
                         struct controller_update *update)
{
    struct step s;

    ASSERT(!c->active);
    c->image = *image;
    image_init(image);
    index_build(&c->index, &c->image);
    c->active = true;
    c->now_ms = call->now_ms;
    c->rebalance_ms =
        c->config.auto_leader_rebalance
            ? after(c->now_ms, c->config.leader_imbalance_check_interval_ms)
            : INT64_MAX;
    c->unclean_ms =
        after(c->now_ms, c->config.unclean_leader_election_interval_ms);
    sessions_start(c);

    step_begin(&s, c, call, update);
    put_defaults(&s);
    /* A predecessor may not have come to the end of an unfencing. */
    partitions_elect_leaderless(&s);
    step_end(&s);
}

/* ---- time and connections ------------------------------------------------ */

static void rebalance_tick(struct step *s)
{
    struct controller *c = s->c;

    if (s->now_ms < c->rebalance_ms)
        return;
    c->rebalance_ms =
        after(s->now_ms, c->config.leader_imbalance_check_interval_ms);
    partitions_rebalance(s);
}

static void unclean_tick(struct step *s)
{
    struct controller *c = s->c;

    if (s->now_ms < c->unclean_ms)
        return;
    c->unclean_ms =
        after(s->now_ms, c->config.unclean_leader_election_interval_ms);
    partitions_elect_leaderless(s);
}

void controller_tick(struct controller *c, const struct controller_call *call,
                     struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    sessions_tick(&s);
    rebalance_tick(&s);
    unclean_tick(&s);
    step_end(&s);
}

void controller_broker_lost(struct controller *c,
                            const struct controller_call *call,
                            int32_t broker_id, int64_t broker_epoch,
                            struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    session_lost(&s, broker_id, broker_epoch);
    step_end(&s);
}

void controller_broker_gone(struct controller *c,
                            const struct controller_call *call,
                            int32_t broker_id, int64_t broker_epoch,
                            struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    session_gone(&s, broker_id, broker_epoch);
    step_end(&s);
}

void controller_broker_applied(struct controller *c, int32_t broker_id,
                               int64_t broker_epoch, int64_t applied_index)
{
    const struct image_broker *b = image_broker(&c->image, broker_id);

    if (b == NULL || b->epoch != broker_epoch)
        return;
    struct controller_broker *state = step_broker(c, broker_id);
    if (applied_index > state->applied_index)
        state->applied_index = applied_index;
}

/* ---- calls of brokers ---------------------------------------------------- */

enum err controller_register_broker(struct controller *c,
                                    const struct controller_call *call,
                                    const Leat__RegisterBrokerRequest *request,
                                    Leat__RegisterBrokerResponse *response,
                                    const char **why,
                                    struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    enum err error = broker_register(&s, request, response, why);
    step_end(&s);
    return error;
}

enum err controller_heartbeat(struct controller *c,
                              const struct controller_call *call,
                              const Leat__HeartbeatRequest *request,
                              Leat__HeartbeatResponse *response,
                              const char **why,
                              struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    enum err error = broker_heartbeat(&s, request, response, why);
    step_end(&s);
    return error;
}

enum err controller_alter_partition(struct controller *c,
                                    const struct controller_call *call,
                                    const Leat__AlterPartitionRequest *request,
                                    Leat__AlterPartitionResponse *response,
                                    const char **why,
                                    struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    enum err error = partitions_alter(&s, request, response, why);
    step_end(&s);
    return error;
}

enum err controller_allocate_producer_ids(
    struct controller *c, const struct controller_call *call,
    const Leat__AllocateProducerIdsRequest *request,
    Leat__AllocateProducerIdsResponse *response, const char **why,
    struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    enum err error = producer_ids_allocate(&s, request, response, why);
    step_end(&s);
    return error;
}

enum err
controller_offline_replicas(struct controller *c,
                            const struct controller_call *call,
                            const Leat__OfflineReplicasRequest *request,
                            const char **why, struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    enum err error = partitions_offline(&s, request, why);
    step_end(&s);
    return error;
}

/* ---- any call ------------------------------------------------------------ */

static enum err handle_register(struct controller *c,
                                const struct controller_call *call,
                                const Leat__RegisterBrokerRequest *request,
                                Leat__ControlResponse *response,
                                const char **why,
                                struct controller_update *update)
{
    Leat__RegisterBrokerResponse *r = arena_alloc(call->arena, sizeof *r);

    leat__register_broker_response__init(r);
    response->result_case = LEAT__CONTROL_RESPONSE__RESULT_REGISTER_BROKER;
    response->register_broker = r;
    return controller_register_broker(c, call, request, r, why, update);
}

static enum err handle_heartbeat(struct controller *c,
                                 const struct controller_call *call,
                                 const Leat__HeartbeatRequest *request,
                                 Leat__ControlResponse *response,
                                 const char **why,
                                 struct controller_update *update)
{
    Leat__HeartbeatResponse *r = arena_alloc(call->arena, sizeof *r);

    leat__heartbeat_response__init(r);
    response->result_case = LEAT__CONTROL_RESPONSE__RESULT_HEARTBEAT;
    response->heartbeat = r;
    return controller_heartbeat(c, call, request, r, why, update);
}

static enum err
handle_alter_partition(struct controller *c, const struct controller_call *call,
                       const Leat__AlterPartitionRequest *request,
                       Leat__ControlResponse *response, const char **why,
                       struct controller_update *update)
{
    Leat__AlterPartitionResponse *r = arena_alloc(call->arena, sizeof *r);

    leat__alter_partition_response__init(r);
    response->result_case = LEAT__CONTROL_RESPONSE__RESULT_ALTER_PARTITION;
    response->alter_partition = r;
    return controller_alter_partition(c, call, request, r, why, update);
}

static enum err
handle_producer_ids(struct controller *c, const struct controller_call *call,
                    const Leat__AllocateProducerIdsRequest *request,
                    Leat__ControlResponse *response, const char **why,
                    struct controller_update *update)
{
    Leat__AllocateProducerIdsResponse *r = arena_alloc(call->arena, sizeof *r);

    leat__allocate_producer_ids_response__init(r);
    response->result_case =
        LEAT__CONTROL_RESPONSE__RESULT_ALLOCATE_PRODUCER_IDS;
    response->allocate_producer_ids = r;
    return controller_allocate_producer_ids(c, call, request, r, why, update);
}

static enum err
handle_offline_replicas(struct controller *c,
                        const struct controller_call *call,
                        const Leat__OfflineReplicasRequest *request,
                        Leat__ControlResponse *response, const char **why,
                        struct controller_update *update)
{
    Leat__OfflineReplicasResponse *r = arena_alloc(call->arena, sizeof *r);

    leat__offline_replicas_response__init(r);
    response->result_case = LEAT__CONTROL_RESPONSE__RESULT_OFFLINE_REPLICAS;
    response->offline_replicas = r;
    return controller_offline_replicas(c, call, request, why, update);
}

static bool is_int16(int32_t number)
{
    return number >= 0 && number <= INT16_MAX;
}

/* The name in "User:NAME". */
static struct slice after_colon(const char *principal)
{
    const char *colon = strchr(principal, ':');

    return slice_str(colon != NULL ? colon + 1 : principal);
}

static enum err handle_forward(struct controller *c,
                               const struct controller_call *call,
                               const Leat__ForwardRequest *request,
                               Leat__ControlResponse *response,
                               struct controller_update *update)
{
    Leat__ForwardResponse *r = arena_alloc(call->arena, sizeof *r);
    bool sound = is_int16(request->api_key) && is_int16(request->api_version);
    struct buf body = BUF_INIT;
    struct controller_call whose = *call;

    whose.user = after_colon(request->principal);
    whose.client_id = slice_str(request->client_id);
    leat__forward_response__init(r);
    response->result_case = LEAT__CONTROL_RESPONSE__RESULT_FORWARD;
    response->forward = r;
    enum err error = controller_handle_kafka(
        c, &whose, sound ? (int16_t)request->api_key : -1,
        (int16_t)request->api_version,
        slice_of(request->body.data, request->body.len), &body, update);
    struct slice copy = arena_copy(call->arena, buf_slice(&body));
    r->body.len = copy.len;
    r->body.data = (uint8_t *)(uintptr_t)copy.data;
    buf_free(&body);
    return error;
}

static enum err handle_nothing(struct controller *c,
                               const struct controller_call *call,
                               struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    step_end(&s);
    return ERR_INVALID_REQUEST;
}

static enum err dispatch(struct controller *c,
                         const struct controller_call *call,
                         const Leat__ControlRequest *request,
                         Leat__ControlResponse *response, const char **why,
                         struct controller_update *update)
{
    switch (request->call_case) {
    case LEAT__CONTROL_REQUEST__CALL_REGISTER_BROKER:
        return handle_register(c, call, request->register_broker, response, why,
                               update);
    case LEAT__CONTROL_REQUEST__CALL_HEARTBEAT:
        return handle_heartbeat(c, call, request->heartbeat, response, why,
                                update);
    case LEAT__CONTROL_REQUEST__CALL_ALTER_PARTITION:
        return handle_alter_partition(c, call, request->alter_partition,
                                      response, why, update);
    case LEAT__CONTROL_REQUEST__CALL_ALLOCATE_PRODUCER_IDS:
        return handle_producer_ids(c, call, request->allocate_producer_ids,
                                   response, why, update);
    case LEAT__CONTROL_REQUEST__CALL_OFFLINE_REPLICAS:
        return handle_offline_replicas(c, call, request->offline_replicas,
                                       response, why, update);
    case LEAT__CONTROL_REQUEST__CALL_FORWARD:
        return handle_forward(c, call, request->forward, response, update);
    case LEAT__CONTROL_REQUEST__CALL_FETCH_METADATA:
    case LEAT__CONTROL_REQUEST__CALL__NOT_SET:
    default:
        return handle_nothing(c, call, update);
    }
}

void controller_handle(struct controller *c, const struct controller_call *call,
                       const Leat__ControlRequest *request,
                       Leat__ControlResponse *response,
                       struct controller_update *update)
{
    const char *why = NULL;

    leat__control_response__init(response);
    response->leader_id = -1;
    enum err error = dispatch(c, call, request, response, &why, update);
    response->error = err_wire(error);
    if (why != NULL)
        response->message = (char *)(uintptr_t)why;
    if (error != ERR_NONE)
        response->result_case = LEAT__CONTROL_RESPONSE__RESULT__NOT_SET;
}
