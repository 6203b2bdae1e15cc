#include "broker/coordinators.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/coord/group_shard.h"
#include "broker/group_regex.h"
#include "broker/live.h"
#include "broker/meta.h"
#include "broker/request.h"
#include "broker/shard.h"
#include "broker/share_asking.h"

#include <stdlib.h>

enum { MEMBERS_MAX_BYTES = 256 << 20 };

/* ---- what the coordinator asks for --------------------------------------- */

static enum err append(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset)
{
    return coord_host_append(arg, batch, len, base_offset);
}

static void answered(struct group_call *call, struct shard *here,
                     struct coord_answer *answer)
{
    if (call->answered != NULL)
        *call->answered = true;
    call->answer = answer;
    coord_call_return(&call->call, here);
}

static void on_answer(void *arg, struct coord_answer *answer)
{
    struct coord_host *host = arg;

    answered(answer->token, host->shard, answer);
}

static void on_deadline(void *arg) { coord_host_poke(arg); }

/* ---- the cluster, as its shard knows it ---------------------------------- */

static bool topic_by_name(void *arg, struct slice name,
                          struct consumer_topic *topic)
{
    const struct shard_topic *t = shard_topic_by_name(arg, name);

    if (t != NULL)
        *topic = (struct consumer_topic){t->id, t->partitions};
    return t != NULL;
}

static struct slice topic_name(void *arg, struct uuid id)
{
    const struct shard_topic *t = shard_topic_by_id(arg, &id);

    return t != NULL ? slice_str(t->name) : SLICE_NULL;
}

static void timeouts(void *arg, struct slice group, struct consumer_timeouts *t)
{
    const struct shard *s = arg;
    const struct server_config *c = &s->live->config;

    t->assignment_interval_ms = c->group_consumer_assignment_interval_ms;
    shard_group_number(s, group, "consumer.session.timeout.ms",
                       c->group_consumer_min_session_timeout_ms,
                       c->group_consumer_max_session_timeout_ms,
                       &t->session_timeout_ms);
    shard_group_number(s, group, "consumer.heartbeat.interval.ms",
                       c->group_consumer_min_heartbeat_interval_ms,
                       c->group_consumer_max_heartbeat_interval_ms,
                       &t->heartbeat_interval_ms);
    shard_group_number(s, group, "consumer.assignment.interval.ms",
                       c->group_consumer_min_assignment_interval_ms,
                       c->group_consumer_max_assignment_interval_ms,
                       &t->assignment_interval_ms);
}

static void share_timeouts(void *arg, struct slice group,
                           struct consumer_timeouts *t)
{
    const struct shard *s = arg;
    const struct server_config *c = &s->live->config;

    t->assignment_interval_ms = c->share_assignment_interval_ms;
    shard_group_number(s, group, "share.session.timeout.ms",
                       c->share_min_session_timeout_ms,
                       c->share_max_session_timeout_ms, &t->session_timeout_ms);
    shard_group_number(s, group, "share.heartbeat.interval.ms",
                       c->share_min_heartbeat_interval_ms,
                       c->share_max_heartbeat_interval_ms,
                       &t->heartbeat_interval_ms);
    shard_group_number(s, group, "share.assignment.interval.ms",
                       c->share_min_assignment_interval_ms,
                       c->share_max_assignment_interval_ms,
                       &t->assignment_interval_ms);
}

static void streams_settings(void *arg, struct slice group,
                             struct streams_settings *t)
{
    const struct shard *s = arg;
    const struct server_config *c = &s->live->config;

    t->assignment_interval_ms = c->streams_assignment_interval_ms;
    shard_group_number(s, group, "streams.session.timeout.ms",
                       c->streams_min_session_timeout_ms,
                       c->streams_max_session_timeout_ms,
                       &t->session_timeout_ms);
    shard_group_number(s, group, "streams.heartbeat.interval.ms",
                       c->streams_min_heartbeat_interval_ms,
                       c->streams_max_heartbeat_interval_ms,
                       &t->heartbeat_interval_ms);
    shard_group_number(s, group, "streams.assignment.interval.ms",
                       c->streams_min_assignment_interval_ms,
                       c->streams_max_assignment_interval_ms,
                       &t->assignment_interval_ms);
    shard_group_number(s, group, "streams.initial.rebalance.delay.ms", 0,
                       INT32_MAX, &t->initial_rebalance_delay_ms);
    shard_group_number(s, group, "streams.num.standby.replicas", 0,
                       c->streams_max_standby_replicas,
                       &t->num_standby_replicas);
}

static bool regex_is_valid(void *arg, struct slice pattern)
{
    (void)arg;
    return group_regex_is_valid(pattern);
}

static void on_look_up(void *arg, struct consumer_lookup *lookup)
{
    const struct coord_host *host = arg;

    group_regex_look_up(host->shard, host->partition->index, lookup);
}

static uint64_t topic_changes(void *arg)
{
    return ((const struct shard *)arg)->topic_changes;
}

static void on_ask(void *arg, struct share_group_ask *ask)
{
    share_asking_start(arg, ask);
}

/* Those that this shard leads and that are loaded. */
static struct coord_host *active_host(struct shard *s, int32_t partition)
{
    struct coord_host *host = coord_host_find(s, &coord_host_groups, partition);

    return host != NULL && host->loader == NULL ? host : NULL;
}

static void not_made(struct topic_order *order)
{
    struct coord_host *host = active_host(order->from, order->partition);

    if (host != NULL && host->number == order->asker)
        group_shard_not_made(host->core, order->creation->group, order->why,
                             coord_host_time(host));
}

static void on_make(void *arg, struct streams_creation *creation)
{
    const struct coord_host *host = arg;
    struct topic_order *order = xcalloc(1, sizeof *order);

    order->from = host->shard;
    order->partition = host->partition->index;
    order->asker = host->number;
    order->creation = creation;
    order->failed = not_made;
    meta_make_topics(order);
}

static const struct group_shard_ops ops = {
    .ask = on_ask,
    .append = append,
    .answer = on_answer,
    .deadline = on_deadline,
    .look_up = on_look_up,
    .make = on_make,
};

/* ---- life ---------------------------------------------------------------- */

static void take_consumer(const struct server_config *config,
                          struct consumer_config *o)
{
    consumer_config_init(o);
    o->group_consumer_max_size = config->group_consumer_max_size;
    o->group_consumer_session_timeout_ms =
        config->group_consumer_session_timeout_ms;
    o->group_consumer_heartbeat_interval_ms =
        config->group_consumer_heartbeat_interval_ms;
    o->group_consumer_assignment_interval_ms =
        config->group_consumer_assignment_interval_ms;
    o->group_consumer_regex_refresh_interval_ms =
        config->group_consumer_regex_refresh_interval_ms;
    o->offsets_retention_check_interval_ms =
        config->offsets_retention_check_interval_ms;
    o->group_consumer_assignors_len = config->group_consumer_assignors_len;
    for (uint32_t i = 0; i < config->group_consumer_assignors_len; i++)
        o->group_consumer_assignors[i] =
            slice_str(config->group_consumer_assignors[i]);
    o->members_max_bytes = MEMBERS_MAX_BYTES;
    o->upgrade = config->group_upgrade;
    o->downgrade = config->group_downgrade;
    o->group_min_session_timeout_ms = config->group_min_session_timeout_ms;
    o->group_max_session_timeout_ms = config->group_max_session_timeout_ms;
    o->group_max_size = config->group_max_size;
}

static void take_streams(const struct server_config *config,
                         struct streams_config *o)
{
    streams_config_init(o);
    o->settings = (struct streams_settings){
        .session_timeout_ms = config->streams_session_timeout_ms,
        .heartbeat_interval_ms = config->streams_heartbeat_interval_ms,
        .assignment_interval_ms = config->streams_assignment_interval_ms,
        .initial_rebalance_delay_ms =
            config->streams_initial_rebalance_delay_ms,
        .num_standby_replicas = config->streams_num_standby_replicas,
    };
    o->group_streams_max_size = config->streams_max_size;
    o->offsets_retention_check_interval_ms =
        config->offsets_retention_check_interval_ms;
    o->members_max_bytes = MEMBERS_MAX_BYTES;
}

static void take_options(const struct server_config *config,
                         const struct partition *p,
                         struct group_shard_options *o)
{
    coord_config_init(&o->coord);
    o->coord.group_min_session_timeout_ms =
        config->group_min_session_timeout_ms;
    o->coord.group_max_session_timeout_ms =
        config->group_max_session_timeout_ms;
    o->coord.group_initial_rebalance_delay_ms =
        config->group_initial_rebalance_delay_ms;
    o->coord.group_max_size = config->group_max_size;
    o->coord.offset_metadata_max_bytes = config->offset_metadata_max_bytes;
    o->coord.offsets_retention_ms =
        (int64_t)config->offsets_retention_minutes * 60000;
    o->coord.offsets_retention_check_interval_ms =
        config->offsets_retention_check_interval_ms;
    o->coord.members_max_bytes = MEMBERS_MAX_BYTES;
    take_consumer(config, &o->consumer);
    share_group_config_init(&o->share);
    o->share.max_size = config->share_max_size;
    o->share.session_timeout_ms = config->share_session_timeout_ms;
    o->share.heartbeat_interval_ms = config->share_heartbeat_interval_ms;
    o->share.assignment_interval_ms = config->share_assignment_interval_ms;
    o->share.initialize_retry_interval_ms =
        config->share_initialize_retry_interval_ms;
    o->share.topic_changes = topic_changes;
    o->share.members_max_bytes = MEMBERS_MAX_BYTES;
    take_streams(config, &o->streams);
    o->world = (struct consumer_world){
        .arg = p->shard,
        .topic_by_name = topic_by_name,
        .topic_name = topic_name,
        .regex_is_valid = regex_is_valid,
        .timeouts = timeouts,
    };
    o->share_timeouts = share_timeouts;
    o->streams_settings = streams_settings;
    o->batch_max_bytes = (uint32_t)p->settings->log.max_message_bytes;
    o->commit_timeout_ms = config->offsets_commit_timeout_ms;
}

static void create(struct coord_host *host)
{
    struct partition *p = host->partition;
    struct group_shard_options options;

    take_options(p->shard->broker->config, p, &options);
    host->core = group_shard_create(&options, &ops, host);
    host->loader = group_loader_create(&options, p->high_watermark);
}

static enum err load(void *loader, struct slice batches)
{
    return group_loader_add(loader, batches);
}

static uint64_t loaded(const void *loader, uint64_t *skipped)
{
    *skipped = group_loader_skipped(loader);
    return group_loader_records(loader);
}

static void loader_free(void *loader) { group_loader_free(loader); }

static void activate(struct coord_host *host, struct coord_time time)
{
    group_shard_activate(host->core, host->loader, host->load_end,
                         host->partition->high_watermark,
                         host->shard->metadata_index, time);
}

static void turn(struct coord_host *host, struct coord_time time)
{
    group_shard_committed(host->core, host->partition->high_watermark, time);
    group_shard_flush(host->core, time);
}

static void tick(void *core, struct coord_time time)
{
    group_shard_tick(core, time);
}

static int64_t next_deadline(const void *core)
{
    return group_shard_next_deadline(core);
}

static void resign(void *core, struct coord_time time)
{
    group_shard_resign(core, time);
}

static void core_free(void *core) { group_shard_free(core); }

const struct coord_host_kind coord_host_groups = {
    .topic = GROUP_TOPIC,
    .area = "groups",
    .what = "groups",
    .create = create,
    .load = load,
    .loaded = loaded,
    .loader_free = loader_free,
    .activate = activate,
    .turn = turn,
    .tick = tick,
    .next_deadline = next_deadline,
    .resign = resign,
    .core_free = core_free,
};

/* ---- markers, deleted topics --------------------------------------------- */

static struct coord_host *groups_of(const struct partition *p)
{
    struct coord_host *host = p->coordinator;

    return host != NULL && host->kind == &coord_host_groups ? host : NULL;
}

enum err coordinators_before_marker(struct partition *p)
{
    struct coord_host *host = groups_of(p);

    if (host == NULL)
        return ERR_NONE;
    if (host->loader != NULL)
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    group_shard_flush(host->core, coord_host_time(host));
    return partition_check_leader(p, -1);
}

void coordinators_marker(struct partition *p, const struct control_marker *m,
                         int64_t offset)
{
    struct coord_host *host = groups_of(p);

    if (host == NULL || host->loader != NULL)
        return;
    group_shard_marker(host->core, m->producer_id, m->commit, offset,
                       coord_host_time(host));
    coord_host_rearm(host);
}

void coordinators_topic_deleted(struct shard *s, const char *topic)
{
    int32_t len = coord_host_partitions(s, &coord_host_groups);

    for (int32_t i = 0; i < len; i++) {
        struct coord_host *host = coord_host_find(s, &coord_host_groups, i);

        if (host != NULL)
            group_shard_topic_deleted(host->core, slice_str(topic),
                                      coord_host_time(host));
    }
}

void coordinators_topic_changed(struct shard *s, const char *topic)
{
    int32_t len = coord_host_partitions(s, &coord_host_groups);

    for (int32_t i = 0; i < len; i++) {
        struct coord_host *host = active_host(s, i);

        if (host == NULL)
            continue;
        group_shard_topic_changed(host->core, slice_str(topic),
                                  s->metadata_index, coord_host_time(host));
        coord_host_rearm(host);
    }
}

void coordinators_looked_up(struct shard *s, int32_t partition,
                            struct consumer_lookup *lookup,
                            int64_t topics_version)
{
    struct coord_host *host = active_host(s, partition);

    if (host == NULL) {
        consumer_lookup_free(lookup);
        return;
    }
    group_shard_looked_up(host->core, lookup, topics_version,
                          coord_host_time(host));
    coord_host_rearm(host);
}

/* ---- what share coordinators said ---------------------------------------- */

void coordinators_asked(struct shard *s, int32_t partition, uint64_t asker,
                        struct share_group_ask *ask)
{
    struct coord_host *host = coord_host_find(s, &coord_host_groups, partition);

    if (host != NULL && host->number == asker && host->loader == NULL) {
        group_shard_asked(host->core, ask, coord_host_time(host));
        coord_host_rearm(host);
        return;
    }
    struct coord_answer *answer = share_group_ask_end(ask, ERR_NOT_COORDINATOR);
    if (answer != NULL)
        answered(answer->token, s, answer);
}

/* ---- calls --------------------------------------------------------------- */

static void fill_context(struct group_call *call, struct shard *here,
                         struct coord_context *context)
{
    const struct request *r = call->call.request;
    struct prng random = {env_random(here->env)};

    *context = (struct coord_context){
        .token = call,
        .now_ms = env_now_ms(here->env),
        .wall_ms = env_wall_ms(here->env),
        .version = r->version,
        .client_id = r->client_id,
        .client_host = slice_str(r->group_host),
        .random = uuid_random(&random),
    };
}

/* What would have to be committed. */
static bool writes(enum api_key api)
{
    return api == API_JOIN_GROUP || api == API_SYNC_GROUP ||
           api == API_LEAVE_GROUP || api == API_OFFSET_COMMIT ||
           api == API_TXN_OFFSET_COMMIT || api == API_DELETE_GROUPS ||
           api == API_CONSUMER_GROUP_HEARTBEAT ||
           api == API_SHARE_GROUP_HEARTBEAT ||
           api == API_STREAMS_GROUP_HEARTBEAT ||
           api == API_ALTER_SHARE_GROUP_OFFSETS ||
           api == API_DELETE_SHARE_GROUP_OFFSETS;
}

/* By this answer a member believes that it still has what it has, or that a
 * partition was read so far, so it must not come from a coordinator that was
 * replaced.  In a classic group the next generation tells it. */
static bool vouches(const struct group_call *call,
                    const struct coord_host *host)
{
    return writes(call->api) || call->api == API_OFFSET_FETCH ||
           (call->api == API_HEARTBEAT &&
            group_shard_kind(host->core, call->api, call->msg) ==
                GROUP_CONSUMER);
}

static void refuse(struct group_call *call, enum err error)
{
    struct coord_context context;

    fill_context(call, call->call.owner, &context);
    answered(call, call->call.owner,
             group_refuse(&context, call->api, call->msg, error));
}

/* Those that may wait for other members, or bring much to be written down.  Of
 * them nothing but the answer is needed when the coordinator has seen them. */
static bool may_wait(enum api_key api)
{
    return api == API_JOIN_GROUP || api == API_SYNC_GROUP ||
           api == API_CONSUMER_GROUP_HEARTBEAT ||
           api == API_SHARE_GROUP_HEARTBEAT ||
           api == API_STREAMS_GROUP_HEARTBEAT;
}

/* Who waits has no part in queued.max.request.bytes any more: the coordinator
 * counts what it keeps.  Others, followers among them, would not be read. */
static void ask(struct group_call *call, struct coord_host *host)
{
    struct request *r = call->call.request;
    bool drops = may_wait(call->api);
    struct coord_context context;
    bool answered = false;

    fill_context(call, call->call.owner, &context);
    call->answered = &answered;
    group_shard_request(host->core, &context, call->api, call->msg);
    if (!answered) {
        call->answered = NULL;
        if (drops)
            request_drop_frame(r);
    }
    if (host->loader == NULL)
        coord_host_rearm(host);
}

static void verified(struct txn_verify *v, struct partition *p, enum err error)
{
    struct group_call *call = LIST_ENTRY(v, struct group_call, verify);
    struct coord_host *host = p != NULL ? groups_of(p) : NULL;
    struct request *r = call->call.request;

    txn_verify_give_room(r->shard, r->size_bytes);
    if (error == ERR_NONE && host != NULL)
        ask(call, host);
    else
        refuse(call, error == ERR_NONE ? ERR_NOT_COORDINATOR
                                       : coord_append_error(error));
}

/* Versions of TxnOffsetCommit: clients leave it to us to add the partition to
 * the transaction (KIP-890), and know TRANSACTION_ABORTABLE. */
enum { ADDS_PARTITIONS = 5, KNOWS_ABORTABLE = 4 };

/* True: the answer comes by verified(), or was given. */
static bool verify(struct group_call *call, struct partition *p)
{
    const struct coord_txn_commit *commit = call->msg;
    struct request *r = call->call.request;

    if (call->api != API_TXN_OFFSET_COMMIT ||
        !txn_verify_needed(p, commit->producer_id, commit->producer_epoch))
        return false;
    if (!txn_verify_take_room(r->shard, r->size_bytes)) {
        refuse(call, coord_append_error(ERR_NOT_ENOUGH_REPLICAS));
        return true;
    }
    request_discount_frame(r);
    call->verify = (struct txn_verify){
        .question =
            {
                .transactional_id = call->transactional_id,
                .producer_id = commit->producer_id,
                .producer_epoch = commit->producer_epoch,
                .topic = SLICE(GROUP_TOPIC),
                .partition = p->index,
                .add = r->version >= ADDS_PARTITIONS,
                .knows_abortable = r->version >= KNOWS_ABORTABLE,
            },
        .topic_id = p->topic->id,
        .done = verified,
    };
    txn_verify(&call->verify, p);
    return true;
}

static void arrived(struct coord_call *c)
{
    struct group_call *call = LIST_ENTRY(c, struct group_call, call);
    struct coord_host *host =
        coord_host_find(c->owner, &coord_host_groups, c->partition);

    enum err err = group_check_name(call->api, call->msg);

    if (err != ERR_NONE)
        refuse(call, err);
    else if (host == NULL)
        refuse(call, ERR_NOT_COORDINATOR);
    else if (vouches(call, host) && partition_is_cut_off(host->partition))
        refuse(call, ERR_NOT_COORDINATOR);
    else if (host->loader != NULL || !verify(call, host->partition))
        ask(call, host);
}

void group_call_start(struct group_call *call)
{
    call->call.arrived = arrived;
    coord_call_start(&call->call, &coord_host_groups);
}
