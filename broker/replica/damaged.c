/* A replica whose log has lost records to damage on its disk.
 *
 * As a follower it fetches them again, and all is well.  As the leader, when
 * nobody else was in sync or all came back from a crash at once, it must not
 * lead: followers would cut their logs to the length of this one, and with that
 * lose the last copies.  So it refuses everything with KAFKA_STORAGE_ERROR,
 * which clients repeat, but for reading what is before the damage.  Followers
 * keep asking, and tell with each request how far their log goes and by which
 * leader epoch it ends.  One that has all this one ever had, or is in sync, is
 * proposed to the controller as the leader in our place.
 *
 * If there is none (a replication factor of 1), a person decides: to restore
 * the files, or to go on without the lost records.  Not if a power loss may
 * have taken what was never synced: that is what leat.durability=replicated
 * risks when a single replica is in sync, and it leads on. */
#include "broker/replica/partition.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/meta.h"
#include "broker/replica/move.h"

void partition_serve_damaged(struct partition *p)
{
    p->role = PARTITION_DAMAGED;
    log_error("replica",
              "%s has lost records from offset %lld on, up to %lld or more, to "
              "damage%s, and no other replica is known to have them. Until one "
              "shows up, what is before them can be read, and nothing can be "
              "produced. Restore the files from a backup; or, to go on without "
              "these records, take the files ending in .damaged away and "
              "restart this node",
              log_path(p->log), (long long)log_end_offset(p->log),
              (long long)p->lost_until,
              p->lost_unsynced ? " or a power loss, as they were not known to "
                                 "be on disk"
                               : "");
    partition_tell_role(p);
}

static void nothing_is_lost(struct partition *p)
{
    p->lost_until = 0;
    if (p->move_waits)
        partition_move_resume(p);
}

bool partition_gives_up_lost(struct partition *p)
{
    if (!p->lost_torn || replica_set_size(p->state.isr) != 1)
        return false;
    log_error("replica",
              "%s has lost records from offset %lld on, up to %lld or more, in "
              "a crash: they were not on disk yet, and no other replica was in "
              "sync. It goes on without them; what is left of them is in files "
              "ending in .lost",
              log_path(p->log), (long long)log_end_offset(p->log),
              (long long)p->lost_until);
    log_damage_given_up(p->log);
    nothing_is_lost(p);
    return true;
}

/* The only replica has no other's confirmation to wait for. */
int64_t partition_damaged_end(const struct partition *p)
{
    return p->state.replicas_len == 1 ? log_end_offset(p->log)
                                      : p->high_watermark;
}

static bool has_everything(const struct partition *p, int number,
                           int64_t offset, int32_t epoch)
{
    if (replica_in(p->state.isr, number))
        return true;
    return offset >= p->lost_until && epoch >= p->lost_epoch &&
           epoch >= log_latest_epoch(p->log);
}

void partition_damaged_fetched(struct partition *p, int32_t broker_id,
                               int64_t offset, int32_t epoch)
{
    int number = partition_replica_number(p, broker_id);
    struct shard_broker *b = shard_broker(p->shard, broker_id);

    if (number < 0 || b == NULL || !has_everything(p, number, offset, epoch))
        return;
    log_info("replica",
             "Handing the lead of %s to node %d: nothing is missing there",
             log_path(p->log), broker_id);
    partition_hand_over(p, broker_id);
}

void partition_check_mended(struct partition *p, int64_t leader_high_watermark)
{
    if (p->lost_until == 0 || leader_high_watermark < 0 ||
        log_end_offset(p->log) < leader_high_watermark)
        return;
    log_info("replica", "%s is whole again: it has everything up to %lld",
             log_path(p->log), (long long)leader_high_watermark);
    p->mended_at = log_end_offset(p->log);
    partition_start_flush(p);
    partition_mended_synced(p);
    nothing_is_lost(p);
}

/* The files that tell of the loss stay as long as a power loss may take the
 * records again. */
void partition_mended_synced(struct partition *p)
{
    if (p->mended_at < 0 || log_synced_offset(p->log) < p->mended_at)
        return;
    p->mended_at = -1;
    log_damage_mended(p->log);
}
