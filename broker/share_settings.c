#include "broker/share_settings.h"

/* The broker's, until groups have configurations of their own. */
void share_settings_of(struct shard *s, struct slice group,
                       struct share_settings *settings)
{
    const struct server_config *config = s->broker->config;

    (void)group;
    share_partition_config_init(&settings->partition);
    settings->partition.delivery_count_limit =
        config->share_delivery_count_limit;
    settings->partition.record_lock_duration_ms = config->share_record_lock_ms;
    settings->partition.max_record_locks = config->share_record_locks;
    settings->reset = (struct share_reset){.kind = SHARE_RESET_LATEST};
    settings->read_committed = false;
}
