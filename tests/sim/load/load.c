#include "tests/sim/load/load.h"

#include "tests/sim/load/admin.h"
#include "tests/sim/load/final.h"
#include "tests/sim/load/member.h"
#include "tests/sim/load/producer.h"
#include "tests/sim/load/shares.h"
#include "tests/sim/load/txns.h"

#include <stdlib.h>

struct load {
    struct env *env;
    struct prng prng;
    struct load_options options;
    struct load_address *bootstrap;
    size_t bootstrap_len;
    struct history *history;
    struct load_admin *admin;
    struct load_producer **producers;
    int producers_len;
    struct load_reader **readers;
    int readers_len;
    struct load_member **members;
    int members_len;
    struct load_txns *txns;     /* NULL: none */
    struct load_shares *shares; /* NULL: none */
    char **groups;
    const char *stable_prefix; /* of topics */
    const char *churn_prefix;
    char **names; /* of clients and instances, kept for them */
    size_t names_len;
    int reader_numbers; /* given out */
    struct load_final *final;
    bool read; /* by it; what is left are transactions */
    void (*done)(void *arg);
    void *done_arg;
    struct env_timer done_timer;
};

static uint64_t percent(struct load *l, int of) /* 1 or 0 */
{
    return prng_below(&l->prng, 100) < (uint64_t)of;
}

static const char *keep_name(struct load *l, char *name)
{
    l->names = xrealloc(l->names, (l->names_len + 1) * sizeof *l->names);
    l->names[l->names_len++] = name;
    return name;
}

static struct load_client_options client_of(struct load *l, const char *id)
{
    return (struct load_client_options){
        .id = id,
        .bootstrap = l->bootstrap,
        .bootstrap_len = l->bootstrap_len,
        .request_timeout_ms = l->options.request_timeout_ms,
        .metadata_age_ms = l->options.metadata_age_ms,
        .newest = l->options.newest_versions};
}

/* ---- actors -------------------------------------------------------------- */

static void add_admin(struct load *l)
{
    const struct load_options *o = &l->options;
    struct load_client_options client = client_of(l, "admin");
    struct load_admin_options options = {.stable_prefix = l->stable_prefix,
                                         .churn_prefix = l->churn_prefix,
                                         .stable = o->topics,
                                         .churn = o->churn,
                                         .partitions_first = o->partitions,
                                         .partitions_max = o->partitions_max,
                                         .replication_factor =
                                             o->replication_factor,
                                         .interval_ms = o->admin_interval_ms,
                                         .add_partitions = o->add_partitions,
                                         .alter_configs = o->alter_configs,
                                         .min_insync = o->min_insync,
                                         .reassign = o->reassign,
                                         .elect = o->elect,
                                         .delete_records = o->delete_records};

    l->admin = load_admin_new(l->env, prng_next(&l->prng), &client, l->history,
                              &options);
}

static int draw_acks(struct load *l)
{
    switch (prng_below(&l->prng, 4)) {
    case 0:
        return l->options.acks_0 ? 0 : -1;
    case 1:
        return l->options.acks_1 ? 1 : -1;
    default:
        return -1;
    }
}

static void add_producer(struct load *l)
{
    const struct load_options *o = &l->options;
    struct load_client_options client =
        client_of(l, keep_name(l, xasprintf("producer-%d", l->producers_len)));
    bool churn = o->churn > 0 && (l->producers_len % 3 == 2 || o->topics == 0);
    struct load_producer_options options = {
        .number = l->producers_len,
        .topic_prefix = churn ? l->churn_prefix : l->stable_prefix,
        .by_id = churn,
        .acks = -1,
        .idempotent = percent(l, o->idempotent_percent),
        .in_flight_max = o->in_flight_max,
        .batch_records_max = o->batch_records_max,
        .filler_bytes_max = o->filler_bytes_max,
        .waiting_max = 50,
        .interval_ms = o->produce_interval_ms,
        .delivery_timeout_ms = o->delivery_timeout_ms};

    if (!options.idempotent)
        options.acks = draw_acks(l);
    if (l->producers_len == 0)
        options.acks = -1; /* somebody has to show progress, and loss */
    if (o->compression)
        options.compression =
            (enum compression)prng_below(&l->prng, COMPRESSION_ZSTD + 1);
    l->producers[l->producers_len++] = load_producer_new(
        l->env, prng_next(&l->prng), &client, l->history, &options);
}

static struct load_reader_options reader_options(struct load *l)
{
    const struct load_options *o = &l->options;

    return (struct load_reader_options){
        .number = l->reader_numbers++,
        .sessions = o->sessions && percent(l, 75),
        .max_wait_ms = o->long_polls ? 500 : 50,
        .min_bytes = o->long_polls && percent(l, 30) ? 5000 : 1,
        .max_bytes = o->small_fetches ? 1000 : 8 << 20,
        .partition_max_bytes = o->small_fetches ? 300 : 1 << 20};
}

static void add_reader(struct load *l)
{
    const struct load_options *o = &l->options;
    struct load_client_options client =
        client_of(l, keep_name(l, xasprintf("reader-%d", l->readers_len)));
    bool churn = o->churn > 0 && (l->readers_len % 3 == 1 || o->topics == 0);
    struct load_reader_options options = reader_options(l);

    options.topic_prefix = churn ? l->churn_prefix : l->stable_prefix;
    options.by_id = churn;
    options.seek_percent = o->seeks ? 2 : 0;
    options.query_percent = o->offset_queries ? 10 : 0;
    options.stray_percent = o->strays ? 5 : 0;
    l->readers[l->readers_len++] = load_reader_new(
        l->env, prng_next(&l->prng), &client, l->history, &options);
}

static void add_member(struct load *l, const char *group, int number,
                       bool modern, bool mixed)
{
    const struct load_options *o = &l->options;
    struct load_client_options client =
        client_of(l, keep_name(l, xasprintf("%s-member-%d", group, number)));
    struct load_reader_options reader = reader_options(l);
    struct load_member_options options = {
        .group = group,
        .topic_prefix = l->stable_prefix,
        .session_timeout_ms = o->session_timeout_ms,
        .rebalance_timeout_ms = o->session_timeout_ms,
        .heartbeat_ms = o->session_timeout_ms / 10,
        .commit_ms = o->commit_interval_ms,
        .stay_ms = o->coming_and_going ? 8000 : 0,
        .away_ms = 3000,
        .late_percent = o->late_commits && (!modern || o->late_modern) ? 20 : 0,
        .mixed = mixed,
        .unclean_possible = o->unclean_possible};

    if (modern || mixed) {
        options.modern = modern;
        options.session_timeout_ms = o->modern_session_timeout_ms;
        /* Longer than a member goes on that hears nothing, or it could be
         * fenced for what it was never told to give up. */
        options.rebalance_timeout_ms = o->modern_session_timeout_ms;
        options.heartbeat_ms = o->modern_session_timeout_ms / 20;
    }
    if (percent(l, o->static_percent))
        options.instance_id =
            keep_name(l, xasprintf("%s-static-%d", group, number));
    l->members[l->members_len++] = load_member_new(
        l->env, prng_next(&l->prng), &client, l->history, &options, &reader);
}

static void add_txns(struct load *l)
{
    const struct load_options *o = &l->options;
    struct load_client_options client = client_of(l, "transactor");
    struct load_txns_options options = {
        .space = o->space,
        .clients = o->transactors,
        .readers = 1,
        .partitions = 3,
        .replication_factor = o->replication_factor,
        .interval_ms = o->txn_interval_ms,
        .timeout_ms = o->txn_timeout_ms,
        .offsets = o->txn_offsets,
        .deaths = o->txn_deaths,
        .second = o->txn_second,
        .compacted = o->txn_compacted,
        .retention_ms = o->txn_retention_ms,
        .hasty = o->txn_hasty,
        .trains = o->txn_trains,
        .vanish = o->txn_vanish,
        .unclean_possible = o->unclean_possible};

    if (o->transactors > 0)
        l->txns = load_txns_new(l->env, prng_next(&l->prng), &client,
                                l->history, &options);
}

static void add_shares(struct load *l)
{
    const struct load_options *o = &l->options;
    struct load_client_options client = client_of(l, "share");
    struct load_shares_options options = {
        .space = o->space,
        .members = o->share_members,
        .producers = o->share_producers,
        .partitions = 3,
        .replication_factor = o->replication_factor,
        .interval_ms = o->share_interval_ms,
        .limit = o->share_limit,
        .session_timeout_ms = o->share_session_timeout_ms,
        .coming_and_going = o->share_going,
        .max_wait_ms = o->share_max_wait_ms,
        .unclean_possible = o->unclean_possible};

    if (o->share_members > 0)
        l->shares = load_shares_new(l->env, prng_next(&l->prng), &client,
                                    l->history, &options);
}

static void add_actors(struct load *l)
{
    const struct load_options *o = &l->options;

    add_admin(l);
    l->producers = xcalloc((size_t)o->producers + 1, sizeof(*l->producers));
    l->readers = xcalloc((size_t)o->readers + 1, sizeof(*l->readers));
    l->members =
        xcalloc((size_t)(o->groups * o->members) + 1, sizeof(*l->members));
    l->groups = xcalloc((size_t)o->groups + 1, sizeof(*l->groups));
    for (int i = 0; i < o->producers; i++)
        add_producer(l);
    for (int i = 0; i < o->readers; i++)
        add_reader(l);
    for (int g = 0; g < o->groups; g++) {
        bool modern = o->modern_percent > 0 && percent(l, o->modern_percent);
        bool mixed = o->mixed_percent > 0 && percent(l, o->mixed_percent);

        l->groups[g] = xasprintf("%sgroup-%d", o->space, g);
        for (int i = 0; i < o->members; i++)
            add_member(l, l->groups[g], i, modern, mixed);
    }
    add_txns(l);
    add_shares(l);
}

struct load *load_new(struct env *env, uint64_t seed,
                      const struct load_options *options,
                      const struct load_address *bootstrap,
                      size_t bootstrap_len)
{
    struct load *l = xcalloc(1, sizeof *l);
    struct history_promise promise = {options->unclean_possible};

    l->env = env;
    l->prng.state = seed;
    l->options = *options;
    l->bootstrap = xmemdup(bootstrap, bootstrap_len * sizeof *bootstrap);
    l->bootstrap_len = bootstrap_len;
    l->history = history_new(&promise);
    l->stable_prefix = keep_name(l, xasprintf("%sload-", options->space));
    l->churn_prefix = keep_name(l, xasprintf("%schurn-", options->space));
    add_actors(l);
    return l;
}

void load_free(struct load *l)
{
    env_timer_stop(l->env, &l->done_timer);
    if (l->final != NULL)
        load_final_free(l->final);
    for (int i = 0; i < l->producers_len; i++)
        load_producer_free(l->producers[i]);
    for (int i = 0; i < l->readers_len; i++)
        load_reader_free(l->readers[i]);
    for (int i = 0; i < l->members_len; i++)
        load_member_free(l->members[i]);
    load_admin_free(l->admin);
    load_txns_free(l->txns);
    load_shares_free(l->shares);
    history_free(l->history);
    for (int g = 0; g < l->options.groups; g++)
        free(l->groups[g]);
    for (size_t i = 0; i < l->names_len; i++)
        free(l->names[i]);
    free(l->groups);
    free(l->names);
    free(l->producers);
    free(l->readers);
    free(l->members);
    free(l->bootstrap);
    free(l);
}

struct history *load_history(struct load *l) { return l->history; }

/* ---- phases -------------------------------------------------------------- */

void load_start(struct load *l)
{
    load_admin_start(l->admin);
    for (int i = 0; i < l->producers_len; i++)
        load_producer_start(l->producers[i]);
    for (int i = 0; i < l->readers_len; i++)
        load_reader_start(l->readers[i]);
    for (int i = 0; i < l->members_len; i++)
        load_member_start(l->members[i]);
    if (l->txns != NULL)
        load_txns_start(l->txns);
    if (l->shares != NULL)
        load_shares_start(l->shares);
}

bool load_has_begun(const struct load *l)
{
    return l->shares == NULL || l->options.share_early ||
           load_shares_has_begun(l->shares);
}

void load_stop_changes(struct load *l)
{
    history_note(l->history, "stop changes");
    load_admin_stop(l->admin);
}

void load_stop_writing(struct load *l)
{
    history_note(l->history, "stop writing");
    load_admin_stop(l->admin);
    for (int i = 0; i < l->producers_len; i++)
        load_producer_stop(l->producers[i]);
    for (int i = 0; i < l->members_len; i++)
        load_member_stop(l->members[i]);
    if (l->txns != NULL)
        load_txns_stop(l->txns);
    if (l->shares != NULL)
        load_shares_stop(l->shares);
}

bool load_is_quiet(const struct load *l)
{
    if (!load_admin_is_quiet(l->admin))
        return false;
    for (int i = 0; i < l->producers_len; i++)
        if (!load_producer_is_quiet(l->producers[i]))
            return false;
    for (int i = 0; i < l->members_len; i++)
        if (!load_member_is_quiet(l->members[i]))
            return false;
    return (l->txns == NULL || load_txns_is_quiet(l->txns)) &&
           (l->shares == NULL || load_shares_is_quiet(l->shares));
}

void load_complain(struct load *l)
{
    if (l->shares != NULL)
        load_shares_complain(l->shares);
}

int64_t load_quiet_bound_ms(const struct load *l)
{
    const struct load_options *o = &l->options;
    int64_t produce = o->delivery_timeout_ms + o->request_timeout_ms;
    /* Joining, syncing, the last commit, leaving. */
    int64_t member = 2 * o->session_timeout_ms + 4 * o->request_timeout_ms;
    int64_t admin = 10000 + o->request_timeout_ms;
    int64_t most = produce > member ? produce : member;

    most = most > admin ? most : admin;
    /* What members of the share group have and do not speak of has to time
     * out, and what was delivered often is delivered in small pieces. */
    int64_t shares = o->share_members > 0 ? 20 * o->share_lock_ms : 0;

    return (most > shares ? most : shares) + 1000;
}

static void tell_done(void *arg)
{
    struct load *l = arg;

    l->done(l->done_arg);
}

static void all_done(void *arg)
{
    struct load *l = arg;

    env_timer_start(l->env, &l->done_timer, 0);
}

static void final_done(void *arg)
{
    struct load *l = arg;

    l->read = true;
    /* Where a coordinator or a group may forget what it had written down, some
     * transactions are ended by nobody. */
    if (l->txns != NULL && !l->options.unclean_possible)
        load_txns_final(l->txns, all_done, l);
    else
        all_done(l);
}

void load_final_read(struct load *l, void (*done)(void *arg), void *arg)
{
    struct load_client_options client = client_of(l, "final");
    struct load_final_options options = {
        .admin = l->admin,
        .stable_prefix = l->stable_prefix,
        .churn_prefix = l->churn_prefix,

        .reader = l->reader_numbers,
        .groups = (const char *const *)l->groups,
        .groups_len = (size_t)l->options.groups};

    ASSERT(l->final == NULL);
    for (int i = 0; i < l->readers_len; i++)
        load_reader_stop(l->readers[i]);
    if (l->shares != NULL)
        load_shares_judge(l->shares);
    l->done = done;
    l->done_arg = arg;
    l->done_timer.fn = tell_done;
    l->done_timer.arg = l;
    l->final = load_final_new(l->env, prng_next(&l->prng), &client, l->history,
                              &options, final_done, l);
}

void load_final_give_up(struct load *l)
{
    ASSERT(l->final != NULL);
    if (l->read)
        load_txns_complain(l->txns);
    else
        load_final_complain(l->final);
}

struct txn_history_counts load_transactions(const struct load *l)
{
    return l->txns != NULL ? *load_txns_counts(l->txns)
                           : (struct txn_history_counts){0};
}

struct share_history_counts load_shares(const struct load *l)
{
    return l->shares != NULL ? *load_shares_counts(l->shares)
                             : (struct share_history_counts){0};
}

struct load_progress load_progress(const struct load *l)
{
    const struct history_counts *c = history_counts(l->history);

    return (struct load_progress){c->acked, c->read, c->committed,
                                  load_admin_done(l->admin)};
}
