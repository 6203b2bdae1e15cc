#include "tests/sim/load/options.h"

void load_options_init(struct load_options *o)
{
    *o = (struct load_options){
        .nodes = 3,
        .space = "",
        .topics = 1,
        .partitions = 2,
        .partitions_max = 2,
        .replication_factor = 3,
        .producers = 1,
        .readers = 1,
        .in_flight_max = 1,
        .batch_records_max = 5,
        .filler_bytes_max = 50,
        .produce_interval_ms = 50,
        .delivery_timeout_ms = 20000,
        .session_timeout_ms = 10000,
        .commit_interval_ms = 500,
        .txn_interval_ms = 100,
        .txn_timeout_ms = 10000,
        .request_timeout_ms = 5000,
        .metadata_age_ms = 5000,
    };
}

static bool coin(struct prng *p) { return prng_below(p, 2) == 0; }

/* low to high, inclusive */
static int from(struct prng *p, int low, int high)
{
    return low + (int)prng_below(p, (uint64_t)(high - low) + 1);
}

void load_options_draw(struct prng *p, struct load_options *o)
{
    int replicas_max = o->nodes < 3 ? o->nodes : 3;

    o->topics = from(p, 1, 3);
    o->churn = coin(p) ? from(p, 1, 2) : 0;
    o->partitions = from(p, 1, 4);
    o->partitions_max = o->partitions + from(p, 0, 4);
    o->replication_factor =
        (int16_t)(from(p, 0, 3) == 0 ? from(p, 1, replicas_max) : replicas_max);
    o->producers = from(p, 1, 5);
    o->idempotent_percent = (int[]){0, 50, 100}[from(p, 0, 2)];
    o->readers = from(p, 1, 3);
    o->groups = from(p, 0, 2);
    o->members = from(p, 1, 4);
    o->static_percent = (int[]){0, 0, 50}[from(p, 0, 2)];
    o->acks_0 = coin(p);
    o->acks_1 = coin(p);
    o->compression = coin(p);
    o->in_flight_max = coin(p) ? 5 : from(p, 1, 5);
    o->batch_records_max = from(p, 1, 20);
    o->filler_bytes_max = (int[]){0, 100, 2000}[from(p, 0, 2)];
    o->produce_interval_ms = (int[]){5, 20, 100}[from(p, 0, 2)];
    o->delivery_timeout_ms = (int[]){3000, 10000, 60000}[from(p, 0, 2)];
    o->sessions = coin(p);
    o->long_polls = coin(p);
    o->seeks = coin(p);
    o->offset_queries = coin(p);
    o->small_fetches = coin(p);
    o->session_timeout_ms = (int[]){6000, 10000, 30000}[from(p, 0, 2)];
    o->commit_interval_ms = (int[]){100, 500, 2000}[from(p, 0, 2)];
    o->coming_and_going = coin(p);
    o->admin_interval_ms = (int[]){0, 300, 2000}[from(p, 0, 2)];
    o->add_partitions = coin(p);
    o->alter_configs = coin(p);
    o->min_insync = coin(p);
    o->reassign = coin(p);
    o->elect = coin(p);
    o->delete_records = from(p, 0, 3) == 0;
    o->request_timeout_ms = (int[]){1000, 3000, 10000}[from(p, 0, 2)];
    o->metadata_age_ms = (int[]){500, 5000, 60000}[from(p, 0, 2)];
    o->newest_versions = from(p, 0, 3) == 0;
}

void load_options_draw_transactions(struct prng *p, struct load_options *o)
{
    o->transactors = from(p, 1, 3);
    o->txn_offsets = coin(p);
    o->txn_deaths = coin(p);
    o->txn_interval_ms = (int[]){10, 100, 400}[from(p, 0, 2)];
    o->txn_timeout_ms = (int[]){3000, 10000, 10000}[from(p, 0, 2)];
}

void load_options_draw_shares(struct prng *p, struct load_options *o)
{
    o->share_members = from(p, 2, 5);
    o->share_producers = from(p, 1, 2);
    o->share_limit = (int[]){2, 5, 10, 10}[from(p, 0, 3)];
    o->share_session_timeout_ms = (int[]){6000, 12000}[from(p, 0, 1)];
    o->share_lock_ms = (int[]){1500, 4000, 10000}[from(p, 0, 2)];
    o->share_interval_ms = (int[]){150, 400, 1200}[from(p, 0, 2)];
    o->share_max_wait_ms = (int[]){0, 100, 500}[from(p, 0, 2)];
    o->share_going = coin(p);
    o->share_early = from(p, 0, 3) == 0;
}

void load_options_print(const struct load_options *o, struct buf *out)
{
    buf_printf(out,
               "nodes %d unclean %d topics %d churn %d partitions %d-%d "
               "replicas %d producers %d idempotent %d%% readers %d groups %d "
               "members %d static %d%% acks0 %d acks1 %d compression %d "
               "in-flight %d batch %d filler %d every %lld delivery %lld ",
               o->nodes, o->unclean_possible, o->topics, o->churn,
               o->partitions, o->partitions_max, o->replication_factor,
               o->producers, o->idempotent_percent, o->readers, o->groups,
               o->members, o->static_percent, o->acks_0, o->acks_1,
               o->compression, o->in_flight_max, o->batch_records_max,
               o->filler_bytes_max, (long long)o->produce_interval_ms,
               (long long)o->delivery_timeout_ms);
    buf_printf(out,
               "sessions %d long-polls %d seeks %d queries %d small %d "
               "session-timeout %d commit %lld going %d admin %lld grow %d "
               "configs %d min-isr %d reassign %d elect %d delete-records %d "
               "request %lld metadata %lld newest %d transactors %d offsets "
               "%d deaths %d every %lld second %d compacted %d vanish %d",
               o->sessions, o->long_polls, o->seeks, o->offset_queries,
               o->small_fetches, o->session_timeout_ms,
               (long long)o->commit_interval_ms, o->coming_and_going,
               (long long)o->admin_interval_ms, o->add_partitions,
               o->alter_configs, o->min_insync, o->reassign, o->elect,
               o->delete_records, (long long)o->request_timeout_ms,
               (long long)o->metadata_age_ms, o->newest_versions,
               o->transactors, o->txn_offsets, o->txn_deaths,
               (long long)o->txn_interval_ms, o->txn_second, o->txn_compacted,
               o->txn_vanish);
    if (o->modern_percent > 0)
        buf_printf(out, " modern %d%% session %d", o->modern_percent,
                   o->modern_session_timeout_ms);
    if (o->mixed_percent > 0)
        buf_printf(out, " mixed %d%% session %d", o->mixed_percent,
                   o->modern_session_timeout_ms);
    if (o->share_members > 0)
        buf_printf(out,
                   " shares: members %d producers %d limit %d session %d lock "
                   "%d every %lld wait %lld going %d",
                   o->share_members, o->share_producers, o->share_limit,
                   o->share_session_timeout_ms, o->share_lock_ms,
                   (long long)o->share_interval_ms,
                   (long long)o->share_max_wait_ms, o->share_going);
}
