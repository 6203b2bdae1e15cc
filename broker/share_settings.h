/* What a share group is configured to: its own configuration, else the broker's
 * group.share.*. */
#ifndef BROKER_SHARE_SETTINGS_H
#define BROKER_SHARE_SETTINGS_H

#include "broker/shard.h"
#include "broker/share/partition.h"
#include "controller/share_reset.h"

struct share_settings {
    struct share_partition_config partition;
    struct share_reset reset; /* share.auto.offset.reset */
    bool read_committed;      /* share.isolation.level */
};

/* Any shard's thread. */
void share_settings_of(struct shard *s, struct slice group,
                       struct share_settings *settings);

#endif
