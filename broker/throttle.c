#include "broker/throttle.h"

#include "base/alloc.h"
#include "base/rate.h"
#include "broker/live.h"
#include "broker/replica/partition.h"
#include "broker/shard.h"

#include <stdlib.h>

/* ---- lists --------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return x < y ? -1 : x > y;
}

static void take_item(struct slice item, int32_t id, struct throttled *out)
{
    const uint8_t *colon =
        item.len == 0 ? NULL : memchr(item.data, ':', item.len);
    int32_t partition, broker;

    if (colon == NULL)
        return;
    size_t n = (size_t)(colon - item.data);
    if (!config_parse_int32(slice_of(item.data, n), &partition) ||
        !config_parse_int32(slice_of(colon + 1, item.len - n - 1), &broker) ||
        broker != id)
        return;
    out->partitions = xrealloc(out->partitions, (size_t)(out->len + 1) *
                                                    sizeof *out->partitions);
    out->partitions[out->len++] = partition;
}

void throttled_parse(struct slice text, int32_t id, struct throttled *out)
{
    struct slice item;

    *out = (struct throttled){0};
    if (slice_eq_str(config_trim(text), "*")) {
        out->all = true;
        return;
    }
    while (config_list_next(&text, &item))
        take_item(item, id, out);
    if (out->len != 0)
        qsort(out->partitions, (size_t)out->len, sizeof *out->partitions,
              by_number);
}

void throttled_free(struct throttled *t) { free(t->partitions); }

bool throttled_equal(const struct throttled *a, const struct throttled *b)
{
    return a->all == b->all && a->len == b->len &&
           (a->len == 0 || memcmp(a->partitions, b->partitions,
                                  (size_t)a->len * sizeof *a->partitions) == 0);
}

static bool has(const struct throttled *t, int32_t partition)
{
    return t->all ||
           (t->len != 0 && bsearch(&partition, t->partitions, (size_t)t->len,
                                   sizeof *t->partitions, by_number) != NULL);
}

bool throttle_lists(const struct partition *p, enum throttle_side side)
{
    return has(&p->settings->throttled[side], p->index);
}

/* ---- rates --------------------------------------------------------------- */

static int64_t per_second(const struct shard *s, enum throttle_side side)
{
    return side == THROTTLE_LEADER
               ? s->live->config.leader_replication_throttled_rate
               : s->live->config.follower_replication_throttled_rate;
}

static int64_t burst_ns(const struct shard *s)
{
    const struct server_config *config = s->broker->config;
    int64_t windows = config->replication_quota_window_num - 1;

    return (windows > 1 ? windows : 1) *
           config->replication_quota_window_size_seconds * RATE_SECOND_NS;
}

int32_t throttle_wait_ms(const struct shard *s, enum throttle_side side)
{
    enum { WAIT_MAX_MS = 1000 };
    int64_t rate = per_second(s, side);

    if (rate == INT64_MAX)
        return 0;
    if (rate <= 0)
        return WAIT_MAX_MS;
    int64_t ns = rate_ahead_ns(&s->broker->replicated[side], burst_ns(s),
                               env_now_us(s->env) * 1000);
    return ns / 1000000 < WAIT_MAX_MS ? (int32_t)(ns / 1000000) + (ns != 0)
                                      : WAIT_MAX_MS;
}

void throttle_count(const struct shard *s, enum throttle_side side,
                    int64_t bytes)
{
    int64_t rate = per_second(s, side);

    if (rate == INT64_MAX || rate <= 0 || bytes == 0)
        return;
    rate_take_ns(&s->broker->replicated[side],
                 rate_cost_ns((double)bytes, (double)rate), burst_ns(s),
                 env_now_us(s->env) * 1000);
}
