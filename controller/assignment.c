/* Replicas as somebody wishes them, and a partition's first state. */
#include "base/assert.h"
#include "controller/placement.h"
#include "controller/replicas_max.h"
#include "controller/step.h"

struct verdict assignment_check(struct step *s, const int32_t *ids, int32_t len)
{
    if (len <= 0)
        return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "The manual partition assignment includes an empty "
                      "replica list.");
    if (len > PARTITION_REPLICAS_MAX)
        return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "The manual partition assignment includes %d replicas, "
                      "more than the %d that are possible.",
                      (int)len, PARTITION_REPLICAS_MAX);
    for (int32_t i = 0; i < len; i++) {
        if (ids[i] < 0)
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "Invalid broker id %d in manual partition "
                          "assignment.",
                          (int)ids[i]);
        for (int32_t j = 0; j < i; j++)
            if (ids[i] == ids[j])
                return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                              "The manual partition assignment includes the "
                              "broker %d more than once.",
                              (int)ids[i]);
        if (image_broker(s->image, ids[i]) == NULL)
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "The manual partition assignment includes broker %d, "
                          "but no such broker is registered.",
                          (int)ids[i]);
    }
    return VERDICT_GOOD;
}

struct verdict placement_check(struct step *s, const struct placement *p,
                               int32_t replicas)
{
    if (replicas <= 0)
        return refuse(s, ERR_INVALID_REPLICATION_FACTOR,
                      "Invalid replication factor %d: the replication factor "
                      "must be positive.",
                      (int)replicas);
    if (replicas > (int32_t)p->total)
        return refuse(s, ERR_INVALID_REPLICATION_FACTOR,
                      "Unable to replicate the partition %d time(s): The "
                      "target replication factor of %d cannot be reached "
                      "because only %u broker(s) are registered.",
                      (int)replicas, (int)replicas, (unsigned)p->total);
    if (replicas > PARTITION_REPLICAS_MAX)
        return refuse(s, ERR_INVALID_REPLICATION_FACTOR,
                      "Unable to replicate the partition %d time(s): A "
                      "partition can have %d replicas at most.",
                      (int)replicas, PARTITION_REPLICAS_MAX);
    if (p->active == 0)
        return refuse(s, ERR_INVALID_REPLICATION_FACTOR,
                      "Unable to replicate the partition %d time(s): All "
                      "brokers are currently fenced.",
                      (int)replicas);
    return VERDICT_GOOD;
}

/* Each replica may be in sync, too; a number has 5 bytes at most. */
size_t partition_record_bytes(uint32_t replicas)
{
    return 64 + (size_t)replicas * 2 * 5;
}

void partition_put_new(struct step *s, const struct uuid *topic_id,
                       int32_t partition, const int32_t *replicas, uint32_t len)
{
    Leat__PartitionRecord r = LEAT__PARTITION_RECORD__INIT;
    int32_t isr[IMAGE_REPLICAS_MAX];

    ASSERT(len <= IMAGE_REPLICAS_MAX);
    for (uint32_t i = 0; i < len; i++)
        if (broker_is_active(s->c, replicas[i]))
            isr[r.n_isr++] = replicas[i];
    ASSERT(r.n_isr != 0);
    r.topic_id = record_uuid(topic_id);
    r.partition = partition;
    r.n_replicas = len;
    r.replicas = (int32_t *)(uintptr_t)replicas;
    r.isr = isr;
    r.leader = isr[0];
    step_put(s, &RECORD(partition, PARTITION, &r));
}
