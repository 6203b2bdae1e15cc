#include "broker/transactions.h"

#include "base/alloc.h"
#include "broker/coord/placement.h"
#include "broker/coord/txn/txn_shard.h"
#include "broker/coordinators.h"
#include "broker/request.h"
#include "broker/shard.h"
#include "broker/txn_client.h"

#include <stdlib.h>

enum { TXNS_MAX_BYTES = 256 << 20 };

struct transactions {
    struct coord_host *host;
    struct txn_shard *txns;
    struct list markers; /* that leave at the end of the turn */
    uint64_t sender;     /* tells our markers from those of an earlier life */
    bool ids_asked;
};

/* ---- what the coordinator asks for --------------------------------------- */

static enum err append(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset)
{
    struct transactions *t = arg;

    return coord_host_append(t->host, batch, len, base_offset);
}

static void answered(struct txn_call *call, struct shard *here,
                     struct txn_answer *answer)
{
    call->answer = answer;
    coord_call_return(&call->call, here);
}

static void on_answer(void *arg, struct txn_answer *answer)
{
    struct transactions *t = arg;

    answered(answer->token, t->host->shard, answer);
}

static void on_marker(void *arg, struct txn_marker *marker)
{
    struct transactions *t = arg;

    marker->sender = t->sender;
    list_push_back(&t->markers, &marker->link);
    coord_host_poke(t->host);
}

static void wants_ids(void *arg)
{
    struct transactions *t = arg;

    if (t->ids_asked)
        return;
    t->ids_asked = true;
    txn_client_ask_ids(t->host->shard, t->host->partition->index);
}

static void on_deadline(void *arg)
{
    struct transactions *t = arg;

    coord_host_poke(t->host);
}

static const struct txn_shard_ops ops = {
    .append = append,
    .answer = on_answer,
    .marker = on_marker,
    .wants_ids = wants_ids,
    .deadline = on_deadline,
};

/* ---- life ---------------------------------------------------------------- */

/* Two lives hardly ever share numbers, even in one epoch. */
static uint64_t first_decision(struct env *env)
{
    return env_random(env) >> 1 & ~(MARKER_DECISIONS - 1);
}

static void take_options(const struct server_config *config,
                         const struct partition *p, struct txn_shard_options *o)
{
    txn_config_init(&o->config);
    o->config.transaction_max_timeout_ms = config->transaction_max_timeout_ms;
    o->config.transactional_id_expiration_ms =
        config->transactional_id_expiration_ms;
    o->config.abort_timed_out_interval_ms =
        config->transaction_abort_interval_ms;
    o->config.remove_expired_interval_ms =
        config->transaction_remove_interval_ms;
    o->config.txns_max_bytes = TXNS_MAX_BYTES;
    o->batch_max_bytes = (uint32_t)p->settings->log.max_message_bytes;
    o->commit_timeout_ms = txn_client_answer_ms(config);
    o->config.first_round = first_decision(p->shard->env);
}

/* Clients and coordinators on one shard agree about the level. */
static void take_version(struct transactions *t)
{
    txn_shard_set_version(t->txns,
                          t->host->shard->features.level[FEATURE_TRANSACTION]);
}

static void create(struct coord_host *host)
{
    struct transactions *t = xcalloc(1, sizeof *t);
    struct txn_shard_options options;

    take_options(host->shard->broker->config, host->partition, &options);
    t->host = host;
    t->txns = txn_shard_create(&options, &ops, t);
    t->sender = env_random(host->shard->env);
    list_init(&t->markers);
    host->core = t;
    host->loader = txn_shard_loader(t->txns);
}

static enum err load(void *loader, struct slice batches)
{
    return txn_loader_add(loader, batches);
}

static uint64_t loaded(const void *loader, uint64_t *skipped)
{
    *skipped = txn_loader_skipped(loader);
    return txn_loader_records(loader);
}

static void loader_free(void *loader) { txn_loader_free(loader); }

static void activate(struct coord_host *host, struct coord_time time)
{
    struct transactions *t = host->core;
    const struct partition *p = host->partition;

    take_version(t);
    txn_shard_activate(t->txns, host->loader, p->state.leader_epoch,
                       host->load_end, p->high_watermark, time);
}

static void turn(struct coord_host *host, struct coord_time time)
{
    struct transactions *t = host->core;

    take_version(t);
    txn_shard_committed(t->txns, host->partition->high_watermark, time);
    if (!list_empty(&t->markers))
        txn_client_send_markers(host->shard, &t->markers);
}

static void tick(void *core, struct coord_time time)
{
    struct transactions *t = core;

    take_version(t);
    txn_shard_tick(t->txns, time);
}

static int64_t next_deadline(const void *core)
{
    return txn_shard_next_deadline(((const struct transactions *)core)->txns);
}

static void resign(void *core, struct coord_time time)
{
    txn_shard_resign(((struct transactions *)core)->txns, time);
}

static void core_free(void *core)
{
    struct transactions *t = core;

    txn_shard_free(t->txns);
    for (struct list *node; (node = list_pop_front(&t->markers)) != NULL;)
        txn_marker_free(LIST_ENTRY(node, struct txn_marker, link));
    free(t);
}

const struct coord_host_kind coord_host_transactions = {
    .topic = TXN_TOPIC,
    .area = "transactions",
    .what = "transactions",
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

/* ---- markers and ids come back ------------------------------------------- */

static void marker_done(struct shard *s, struct txn_marker *m)
{
    int32_t len = coord_host_partitions(s, &coord_host_transactions);
    struct coord_host *host =
        len == 0 ? NULL
                 : coord_host_find(s, &coord_host_transactions,
                                   coord_partition_of(m->id, len));
    struct transactions *t = host != NULL ? host->core : NULL;

    if (t == NULL || t->sender != m->sender) {
        txn_marker_free(m); /* the next coordinator sends its own */
        return;
    }
    txn_shard_marker_done(t->txns, m, m->result, coord_host_time(host));
    coord_host_rearm(host);
}

void transactions_markers_done(struct shard *s, struct list *markers)
{
    for (struct list *node; (node = list_pop_front(markers)) != NULL;)
        marker_done(s, LIST_ENTRY(node, struct txn_marker, link));
}

void transactions_give_ids(struct shard *s, int32_t partition, int64_t first,
                           int32_t count)
{
    struct coord_host *host =
        coord_host_find(s, &coord_host_transactions, partition);
    struct transactions *t = host != NULL ? host->core : NULL;

    if (t == NULL)
        return;
    t->ids_asked = false;
    if (host->loader == NULL)
        txn_shard_give_ids(t->txns, first, count);
}

/* ---- calls --------------------------------------------------------------- */

/* What this broker knows of topics.  A producer that knows of a newer one hears
 * UNKNOWN_TOPIC_OR_PARTITION, which passes. */
static enum err partition_error(void *arg, struct slice topic,
                                int32_t partition)
{
    const struct shard_topic *t = shard_topic_by_name(arg, topic);

    return t == NULL || partition < 0 || partition >= t->partitions
               ? ERR_UNKNOWN_TOPIC_OR_PARTITION
               : ERR_NONE;
}

/* What others may have answered otherwise meanwhile. */
static bool decides(enum api_key api)
{
    return api != API_DESCRIBE_TRANSACTIONS && api != API_LIST_TRANSACTIONS;
}

static void arrived(struct coord_call *c)
{
    struct txn_call *call = LIST_ENTRY(c, struct txn_call, call);
    struct shard *here = c->owner;
    struct coord_host *host =
        coord_host_find(here, &coord_host_transactions, c->partition);
    struct txn_context context = {
        .token = call,
        .now_ms = env_now_ms(here->env),
        .wall_ms = env_wall_ms(here->env),
        .version = call->version,
        .partition_error = partition_error,
        .arg = here,
        .offsets_partitions = coord_host_partitions(here, &coord_host_groups),
    };

    if (host == NULL ||
        (decides(call->api) && partition_is_cut_off(host->partition))) {
        /* Who coordinates nothing lists nothing. */
        answered(call, here,
                 txn_refuse(&context, call->api, call->msg,
                            decides(call->api) ||
                                    call->api == API_DESCRIBE_TRANSACTIONS
                                ? ERR_NOT_COORDINATOR
                                : ERR_NONE));
        return;
    }
    struct transactions *t = host->core;
    take_version(t);
    txn_shard_request(t->txns, &context, call->api, call->msg);
    if (host->loader == NULL)
        coord_host_rearm(host);
}

void txn_call_start(struct txn_call *call)
{
    call->call.arrived = arrived;
    coord_call_start(&call->call, &coord_host_transactions);
}
