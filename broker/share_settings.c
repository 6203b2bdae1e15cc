#include "broker/share_settings.h"

#include "broker/live.h"
#include "controller/config_defs.h"

static void take_numbers(const struct shard *s, struct slice group,
                         struct share_partition_config *p)
{
    const struct server_config *c = &s->live->config;

    p->delivery_count_limit = c->share_delivery_count_limit;
    p->record_lock_duration_ms = c->share_record_lock_ms;
    p->max_record_locks = c->share_record_locks;
    shard_group_number(s, group, "share.delivery.count.limit",
                       c->share_min_delivery_count_limit,
                       c->share_max_delivery_count_limit,
                       &p->delivery_count_limit);
    shard_group_number(s, group, "share.record.lock.duration.ms",
                       c->share_min_record_lock_ms, c->share_max_record_lock_ms,
                       &p->record_lock_duration_ms);
    shard_group_number(s, group, "share.partition.max.record.locks",
                       c->share_min_record_locks, c->share_max_record_locks,
                       &p->max_record_locks);
}

static bool is(const struct shard *s, struct slice group, const char *key,
               const char *value)
{
    return slice_eq(shard_group_config(s, group, key), slice_str(value));
}

void share_settings_of(struct shard *s, struct slice group,
                       struct share_settings *settings)
{
    struct slice reset =
        shard_group_config(s, group, "share.auto.offset.reset");

    share_partition_config_init(&settings->partition);
    take_numbers(s, group, &settings->partition);
    settings->partition.renew_enabled =
        !is(s, group, "share.renew.acknowledge.enable", "false");
    settings->reset = (struct share_reset){.kind = SHARE_RESET_LATEST};
    if (!slice_is_null(reset))
        share_reset_parse(config_trim(reset), &settings->reset);
    settings->read_committed =
        is(s, group, "share.isolation.level", "read_committed");
}
