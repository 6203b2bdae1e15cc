/* One replica of one partition on the shard that owns it.
 *
 * Opens its log off the loop, then takes the role the controller gave it:
 * leader (partition_append, followers' progress, high watermark, ISR proposals
 * by replica/leader.c) or follower (replica/fetcher.c copies the leader's log).
 *
 * Waiters: a produce that must be replicated (or synced) waits in a list
 * ordered by offset and is released from the front when the high watermark (or
 * synced offset) passes it.  Watches: fetches that want to hear of new data. */
#ifndef BROKER_REPLICA_PARTITION_H
#define BROKER_REPLICA_PARTITION_H

#include "broker/replica/leader.h"
#include "broker/replica/producers.h"
#include "broker/replica/refusals.h"
#include "broker/shard.h"
#include "proto/record/produced.h"
#include "proto/record/record.h"

enum partition_role {
    PARTITION_OPENING, /* the log is being opened by a helper */
    PARTITION_OFFLINE, /* the log can't be used; see the log line */
    PARTITION_IDLE,    /* no leader is known */
    PARTITION_FOLLOWER,
    PARTITION_LEADER,
    /* Should lead, but its log has lost records to damage: it serves what is
     * before them, takes nothing, and hands over to a follower that has them
     * (damaged.c). */
    PARTITION_DAMAGED,
};

/* Somebody who waits for records to be committed (or synced, or deleted). */
struct partition_waiter {
    struct list link;
    int64_t end_offset; /* released when that is so for everything below */
    /* error: ERR_NONE, or NOT_LEADER_OR_FOLLOWER when the role is lost or
     * partition_is_cut_off(). */
    void (*done)(struct partition_waiter *w, enum err error);
};

/* Somebody who wants to hear of new data.  Embedded in a fetch entry. */
struct partition_watch {
    struct list link;
    bool sees_uncommitted; /* followers: log end; consumers: high watermark, */
    bool sees_stable;      /* ... or the last stable offset */
    /* data: there are new records to read; otherwise only news (high
     * watermark for a follower, role or start offset changed). */
    void (*changed)(struct partition_watch *w, bool data);
    /* The partition goes away; the watch is unlinked. */
    void (*gone)(struct partition_watch *w);
};

struct coord_host;
struct dir_place;
struct move;
struct partition_removal;

struct partition {
    struct shard *shard;
    struct shard_topic *topic; /* NULL when `deleted`: it may go first */
    struct uuid topic_id;
    int32_t index;
    enum partition_role role;
    struct partition_state state; /* as the controller last said */
    struct topic_settings *settings;
    int16_t min_isr_floor; /* see partition_expect_settings() */
    struct log_dir *dir;
    struct log *log; /* NULL while opening or offline */
    /* What the log has lost to damage and not got back yet, as in
     * log_open_report; 0: nothing. */
    int64_t lost_until;
    int32_t lost_epoch;
    bool lost_torn;        /* as in struct log_open_report, */
    bool lost_unsynced;    /* likewise */
    int64_t mended_at;     /* it is there again, and counts as such on disk once
                            * everything below is synced; -1: it does */
    int64_t unchanged_ms;  /* see partition_unchanged_ms() */
    int64_t first_dirty;   /* everything below was compacted */
    int64_t full_since_ms; /* leader: appends find the disk full since; 0 no */
    int64_t high_watermark;
    int64_t stored_point;        /* as recovery point: no more than this */
    struct leader *leader;       /* when role is PARTITION_LEADER */
    int64_t led_since_ms;        /* leader: when this epoch began here, ... */
    int64_t led_from_offset;     /* ... and the log's end then */
    struct producers *producers; /* NULL until one is seen */
    /* They are not in line with the log, which was cut: takes no records, and
     * does not lead, before partition_mend_producers() has mended that. */
    bool producers_stale;
    struct refusals *refusals; /* what comes behind them is refused alike */

    struct list waiters;       /* partition_waiter by end_offset: committed */
    struct list sync_waiters;  /* ... synced only (acks=1 with fsync) */
    struct list start_waiters; /* see partition_wait_start() */
    struct list watches;
    struct list watched_link;    /* in shard->watched */
    struct list checkpoint_link; /* in shard->checkpoint, or ->leaving */
    struct list clean_link;      /* in shard->cleanable */
    struct cleaning *cleaning;   /* in flight, or NULL */
    bool uncleanable;            /* it failed; not tried again */
    struct log_flush *flush;     /* in flight, or NULL */
    int64_t next_sync_ms;
    struct dir_place *place;     /* our right to the directory */
    struct partition_open *open; /* in flight, or NULL */
    /* Deleted before its log was open: removes its files; or NULL. */
    struct partition_removal *removal;
    bool deleted; /* dropped when what is under way has ended */
    bool early;   /* it came before shard.settled: an earlier process may have
                     had it */
    struct move *move; /* to another directory, or NULL */
    bool handing_over; /* see partition_hand_over() */
    bool move_waits;   /* one is to be resumed when nothing is lost any more */
    /* PARTITION_OPENING, or `removal`, and to be tried again then: the disk is
     * full, there are no file descriptors, or the directory is another topic's
     * (see open_run()).  0: no. */
    int64_t open_again_ms;

    /* Follower: owned by replica/fetcher.c. */
    struct fetcher *fetcher;
    struct list fetcher_link;
    struct list changed_link;
    int64_t fetch_offset; /* as last asked for */
    uint64_t fetch_seq;   /* the request that named us last */
    int64_t delayed_until_ms;

    struct map verifying; /* producer id -> the txn_verify that waits first */
    struct coord_host *coordinator; /* broker/coord_host.h; NULL: none */
};

/* Applies a new registration; creates the replica if p is NULL. */
struct partition *partition_new(struct shard *s, struct shard_topic *topic,
                                int32_t index, struct topic_settings *settings,
                                const struct partition_state *state);
void partition_set_state(struct partition *p,
                         const struct partition_state *state);
void partition_set_settings(struct partition *p,
                            struct topic_settings *settings);
/* These settings come with the next updates.  What is decided on the way there
 * (a smaller in-sync set) already heeds a larger min.insync.replicas. */
void partition_expect_settings(struct partition *p,
                               const struct topic_settings *settings);
void partition_isr_result(struct partition *p, enum err error,
                          const struct partition_state *state);
/* The controller has answered partition_hand_over(): no verdict on the leader's
 * own proposal, which may be on its way at the same time. */
void partition_hand_over_answered(struct partition *p);
/* The leader whose epoch a client may be told with NOT_LEADER_OR_FOLLOWER; -1
 * if all that is known is that it isn't this broker. */
int32_t partition_leader_hint(const struct partition *p);
/* Its log directory is given up: offline until the next start. */
void partition_dir_failed(struct partition *p);
/* Gone from this broker: closes and deletes its files, frees. */
void partition_delete(struct partition *p);
/* For checkpoint.c and cleaner.c: what held up its end is over. */
void partition_written(struct partition *p);
/* Shutdown: flushes (if clean), closes, frees.  False if records are not known
 * to be on disk. */
bool partition_close(struct partition *p, bool clean);
/* A broker's fenced / shutting-down flags changed.  anew: it registered again,
 * so its disk may have lost what it had. */
void partition_broker_changed(struct partition *p, int32_t broker_id,
                              bool anew);
/* LEADER_TICK. */
void partition_tick(struct partition *p);
/* Syncs what is not on disk, in the background and not too often, so that a
 * crash leaves little to check. */
void partition_sync_soon(struct partition *p);

/* The controller has not answered this node for longer than
 * broker.session.timeout.ms: it may have made others leaders. */
bool partition_session_is_over(const struct partition *p);

/* A leader whose session is over, and whose followers do not fetch: others most
 * likely lead by now, and have clients that still reach this one look for them.
 * It takes nothing that would have to be committed and lets nobody wait for it;
 * what it has in sync, and acks=1, it goes on serving, or the loss of the
 * controllers' quorum would end that as well. */
bool partition_is_cut_off(const struct partition *p);

int partition_replica_number(const struct partition *p, int32_t broker_id);

/* What a client that sent `current_leader_epoch` (-1: none) must hear before
 * anything else: ERR_NONE, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH,
 * UNKNOWN_LEADER_EPOCH, KAFKA_STORAGE_ERROR. */
enum err partition_check_leader(const struct partition *p,
                                int32_t current_leader_epoch);

/* What is to be appended for one partition. */
struct partition_source {
    uint8_t *bytes; /* patched in place */
    size_t len;
    int16_t api_version; /* of Produce; -1: our own batch, not to be checked */
    struct arena *arena; /* takes the list of faulty records */
    /* What may still come out of compressed batches of the same request; what
     * does is taken off.  NULL: no bound but that of each batch. */
    size_t *expand_bytes;
};

struct partition_append {
    int64_t base_offset;
    int64_t end_offset;
    int64_t append_time_ms; /* -1 unless LogAppendTime */
    bool duplicate; /* an idempotent retry: base_offset is the first's */
    struct record_report report; /* why it was refused */
};

/* Leader: checks what a producer sent, patches and appends it.  Besides the
 * codes of produced_prepare() and producers_check(): NOT_LEADER_OR_FOLLOWER
 * (with acks=all also if partition_is_cut_off()), NOT_ENOUGH_REPLICAS,
 * KAFKA_STORAGE_ERROR. */
enum err partition_append(struct partition *p,
                          const struct partition_source *in, int acks,
                          struct partition_append *result);
/* Records of a producer were refused before they came to partition_append(),
 * for a reason that may pass. */
void partition_refused(struct partition *p, struct slice records,
                       enum err error);
/* Calls w->done when everything below w->end_offset is committed (or synced,
 * for acks=1 under fsync).  May call it at once. */
void partition_wait(struct partition *p, struct partition_waiter *w, int acks);

/* Follower: appends what the leader sent and takes its high watermark. */
enum err partition_replicate(struct partition *p, struct slice records,
                             int64_t leader_high_watermark,
                             int64_t leader_start_offset);
/* Follower: drop what the leader does not have.  REQUEST_TIMED_OUT: not just
 * now. */
enum err partition_truncate(struct partition *p, int64_t end_offset);

/* Leader: follower `broker_id` has everything below `offset`; it fetches by
 * `session`, the `order`th of its sessions. */
void partition_fetched(struct partition *p, int32_t broker_id, int64_t offset,
                       uint64_t session, uint32_t order);
/* Leader: that follower's log begins there. */
void partition_follower_starts(struct partition *p, int32_t broker_id,
                               int64_t start_offset);
/* Leader: the replica in the reader's rack that it should read `offset` from
 * (KIP-392): in sync, not fenced, with that offset.  -1: this one. */
int32_t partition_nearest(const struct partition *p, struct slice rack,
                          int64_t offset);
/* It does not do so by that session any more. */
void partition_follower_silent(struct partition *p, int32_t broker_id,
                               uint64_t session);

/* Consumers of committed records may read below it: the high watermark, or
 * where the first transaction began that is not decided for sure. */
int64_t partition_last_stable(const struct partition *p);
/* The same, were everything below `end` committed. */
int64_t partition_stable_below(const struct partition *p, int64_t end);

/* Leader: ends a transaction (WriteTxnMarkers) by a control batch.  Written, it
 * is to be waited for as acks=all.  The codes of producers_check_marker();
 * NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR;
 * COORDINATOR_LOAD_IN_PROGRESS where groups are loading.  (markers.c) */
enum err partition_write_marker(struct partition *p,
                                const struct control_marker *m,
                                const struct marker_origin *origin,
                                struct partition_append *result);

void partition_watch(struct partition *p, struct partition_watch *w);
static inline void partition_unwatch(struct partition_watch *w)
{
    list_remove(&w->link);
}

/* PARTITION_DAMAGED: what a consumer may read ends here (exclusive). */
int64_t partition_damaged_end(const struct partition *p);
/* PARTITION_DAMAGED: a follower that has everything below `offset`, the last of
 * it from `epoch`, asks.  If nothing is missing in its log it is proposed as
 * the leader. */
void partition_damaged_fetched(struct partition *p, int32_t broker_id,
                               int64_t offset, int32_t epoch);

/* Leader: raises its log start offset to *offset (DeleteRecords).  -1 is the
 * high watermark, which *offset is set to then. */
enum err partition_delete_records(struct partition *p, int64_t *offset);
/* Leader: the smallest log start offset of the replicas that are alive; -1 if
 * one has not said yet where it begins. */
int64_t partition_low_watermark(const struct partition *p);
/* Leader: calls w->done when that has come to w->end_offset.  May call it at
 * once. */
void partition_wait_start(struct partition *p, struct partition_waiter *w);

/* When all of the log is on disk: the time of its last change; else 0. */
int64_t partition_unchanged_ms(const struct partition *p);

/* ---- between the files of this folder -------------------------------------*/

/* Where a new replica shall be. */
void partition_choose_dir(struct partition *p);
/* The place is ours: opens the log, then takes the role; or tries again, when
 * the tick says so, what did not do (open_again_ms). */
void partition_open_begin(struct partition *p);
void partition_open_again(struct partition *p);
/* The replica is gone before its log is open. */
void partition_open_abandon(struct partition *p);
/* It is deleted before its log was open, and may have files. */
void partition_removal_new(struct partition *p);
/* Removes them, now or when the tick says so; partition_written() is called
 * when that is over, and p->removal is NULL then. */
void partition_remove_files(struct partition *p);
void partition_removal_free(struct partition *p);
/* The role that p->state asks for, after nothing. */
void partition_take_role(struct partition *p);
/* Another log, with the same records, in directory `dir`, is the replica's now;
 * what is stored of it has this recovery point. */
void partition_take_log(struct partition *p, struct log *log,
                        struct log_dir *dir, int64_t stored_point);
/* Syncs were held back (move.c), and are not any more. */
void partition_may_sync(struct partition *p);
/* Where it is, counted. */
void partition_set_dir(struct partition *p, struct log_dir *dir);
/* Syncs, unless a sync is under way. */
void partition_start_flush(struct partition *p);
/* Offline until the next start, and the controller hears of it: this replica;
 * likewise with everything in its log directory. */
void partition_leave_service(struct partition *p);
void partition_go_offline(struct partition *p);
/* Leads, and has as many in sync as acks=all asks for? */
enum err partition_check_replicas(const struct partition *p);
/* Leader: appends a batch that was checked. */
enum err partition_write_batch(struct partition *p, struct produced *in,
                               struct partition_append *result);
/* The log grew. */
void partition_appended(struct partition *p);
/* Before the log is cut to end_offset or less, but not below `limit`.
 * REQUEST_TIMED_OUT: not just now. */
enum err partition_lower_checkpoint(struct partition *p, int64_t end_offset,
                                    int64_t limit);
/* A follower learned of the leader's high watermark. */
void partition_follower_moved(struct partition *p, int64_t high_watermark);
/* An append or a read failed: if the log is of no use any more the replica goes
 * offline at the next tick. */
void partition_write_failed(struct partition *p);
/* Proposes that `broker_id` leads in our place, unless such a proposal has no
 * answer yet. */
void partition_hand_over(struct partition *p, int32_t broker_id);
/* The log's active segment is a new one; producers know what is before it. */
void partition_rolled(struct partition *p);
/* Takes the role PARTITION_DAMAGED; the caller has left every other. */
void partition_serve_damaged(struct partition *p);
/* Goes on without what was lost, if a power loss may have taken it and nobody
 * else is in sync; false: it does not. */
bool partition_gives_up_lost(struct partition *p);
/* A follower took records, or heard that there are none: is what was lost there
 * again? */
void partition_check_mended(struct partition *p, int64_t leader_high_watermark);
/* More is on disk. */
void partition_mended_synced(struct partition *p);
void partition_tell_role(struct partition *p);
/* The log lost its tail or its head. */
void partition_shortened(struct partition *p);
/* log_truncate() or log_truncate_fully() was called and said `error`: so does
 * this, or what became of the producers. */
enum err partition_was_cut(struct partition *p, enum err error);
/* ERR_NONE: the producers are in line with the log.  Otherwise the tick tries
 * again, or the replica is offline. */
enum err partition_mend_producers(struct partition *p);

#endif
