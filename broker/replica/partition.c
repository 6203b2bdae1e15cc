#include "broker/replica/partition.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/checkpoint.h"
#include "broker/cleaner.h"
#include "broker/coord_host.h"
#include "broker/meta.h"
#include "broker/replica/fetcher.h"
#include "broker/replica/move.h"
#include "broker/replica/nearest.h"
#include "broker/replica/places.h"
#include "broker/txn_verify.h"

#include <errno.h>
#include <stdlib.h>

/* Between two background syncs of a log that is written to, and after one whose
 * files did not open. */
enum { SYNC_INTERVAL_MS = 30000, SYNC_AGAIN_MS = 1000 };

static int32_t self_id(const struct partition *p)
{
    return p->shard->broker->node_id;
}

int partition_replica_number(const struct partition *p, int32_t broker_id)
{
    for (int i = 0; i < p->state.replicas_len; i++)
        if (p->state.replicas[i] == broker_id)
            return i;
    return -1;
}

enum err partition_check_leader(const struct partition *p,
                                int32_t current_leader_epoch)
{
    if (p->role == PARTITION_OFFLINE)
        return ERR_KAFKA_STORAGE_ERROR;
    if (PLANTED(LEADER_IGNORES_ASKED_EPOCH))
        current_leader_epoch = -1;
    if (current_leader_epoch >= 0 &&
        current_leader_epoch < p->state.leader_epoch)
        return ERR_FENCED_LEADER_EPOCH;
    if (current_leader_epoch > p->state.leader_epoch)
        return ERR_UNKNOWN_LEADER_EPOCH;
    if (p->role == PARTITION_DAMAGED)
        return ERR_KAFKA_STORAGE_ERROR;
    if (p->role != PARTITION_LEADER)
        return ERR_NOT_LEADER_OR_FOLLOWER;
    return ERR_NONE;
}

bool partition_session_is_over(const struct partition *p)
{
    const struct shard *s = p->shard;

    return s->heard_ms >= 0 && env_now_ms(s->env) - s->heard_ms >
                                   s->broker->config->broker_session_timeout_ms;
}

bool partition_is_cut_off(const struct partition *p)
{
    return p->leader != NULL && partition_session_is_over(p) &&
           leader_stands_still(
               p->leader, env_now_ms(p->shard->env),
               p->shard->broker->config->broker_heartbeat_interval_ms);
}

int32_t partition_leader_hint(const struct partition *p)
{
    return p->state.leader == self_id(p) ? -1 : p->state.leader;
}

/* ---- waiters and watches ------------------------------------------------- */

static void release(struct list *waiters, int64_t below)
{
    while (!list_empty(waiters)) {
        struct partition_waiter *w =
            LIST_ENTRY(waiters->next, struct partition_waiter, link);

        if (w->end_offset > below)
            break;
        list_remove(&w->link);
        w->done(w, ERR_NONE);
    }
}

static void fail_waiters(struct list *waiters)
{
    for (struct list *node; (node = list_pop_front(waiters)) != NULL;) {
        struct partition_waiter *w =
            LIST_ENTRY(node, struct partition_waiter, link);

        w->done(w, ERR_NOT_LEADER_OR_FOLLOWER);
    }
}

void partition_wait(struct partition *p, struct partition_waiter *w, int acks)
{
    struct list *waiters = acks == -1 ? &p->waiters : &p->sync_waiters;
    int64_t reached =
        acks == -1 ? p->high_watermark : log_synced_offset(p->log);

    list_init(&w->link);
    if (w->end_offset <= reached || PLANTED(LEADER_ACKS_APPENDED)) {
        w->done(w, ERR_NONE);
        return;
    }
    /* Ends rise, but for duplicates of older batches. */
    struct list *at = waiters->prev;
    while (at != waiters &&
           LIST_ENTRY(at, struct partition_waiter, link)->end_offset >
               w->end_offset)
        at = at->prev;
    list_insert_after(at, &w->link);
}

int64_t partition_low_watermark(const struct partition *p)
{
    int64_t low = log_start_offset(p->log);

    for (int i = 0; i < p->state.replicas_len; i++) {
        const struct leader_follower *f = &p->leader->followers[i];
        struct shard_broker *b = shard_broker(p->shard, p->state.replicas[i]);

        if (i != p->leader->self && b != NULL && !b->fenced &&
            f->start_offset < low)
            low = f->start_offset;
    }
    return low;
}

static void release_starts(struct partition *p)
{
    if (list_empty(&p->start_waiters) || p->leader == NULL)
        return;
    int64_t low = partition_low_watermark(p);
    LIST_EACH_SAFE (node, next, &p->start_waiters) {
        struct partition_waiter *w =
            LIST_ENTRY(node, struct partition_waiter, link);

        if (w->end_offset > low)
            continue;
        list_remove(&w->link);
        w->done(w, ERR_NONE);
    }
}

void partition_wait_start(struct partition *p, struct partition_waiter *w)
{
    list_init(&w->link);
    if (w->end_offset <= partition_low_watermark(p))
        w->done(w, ERR_NONE);
    else
        list_push_back(&p->start_waiters, &w->link);
}

void partition_watch(struct partition *p, struct partition_watch *w)
{
    list_push_back(&p->watches, &w->link);
}

/* With one directory the node ends when it is given up, so it is tried for as
 * long as the log takes it; one of several is left at the first error. */
static bool is_unusable(const struct partition *p)
{
    if (p->log == NULL || p->role == PARTITION_OFFLINE)
        return false;
    return p->shard->broker->log_dirs_len > 1 ? log_disk_failed(p->log)
                                              : log_failed(p->log);
}

/* Not at once: whoever appends may be in the middle of something that ends with
 * the leadership. */
void partition_write_failed(struct partition *p)
{
    if (is_unusable(p) && list_unlinked(&p->watched_link))
        list_push_back(&p->shard->watched, &p->watched_link);
}

/* NEWS_OTHER: nothing to read, but something to say: who is in sync; NEWS_START
 * where the log begins, for which replicas do not wait until they ask. */
enum news { NEWS_END, NEWS_HIGH_WATERMARK, NEWS_START, NEWS_OTHER, NEWS_ROLE };

static bool is_data(const struct partition_watch *w, enum news news,
                    bool stable_moved)
{
    switch (news) {
    case NEWS_END:
    case NEWS_START:
        return w->sees_uncommitted;
    case NEWS_HIGH_WATERMARK:
        return !w->sees_uncommitted && (!w->sees_stable || stable_moved);
    case NEWS_OTHER:
        return false;
    case NEWS_ROLE:
        return true;
    }
    return true;
}

static void tell_watches(struct partition *p, enum news news, bool stable_moved)
{
    LIST_EACH_SAFE (node, next, &p->watches) {
        struct partition_watch *w =
            LIST_ENTRY(node, struct partition_watch, link);

        if (news == NEWS_END && !w->sees_uncommitted)
            continue;
        w->changed(w, is_data(w, news, stable_moved));
    }
}

static void tell(struct partition *p, enum news news)
{
    tell_watches(p, news, false);
}

int64_t partition_stable_below(const struct partition *p, int64_t end)
{
    int64_t undecided = p->producers_stale
                            ? log_start_offset(p->log)
                            : producers_first_undecided(p->producers);

    if (undecided < 0 || undecided >= end || PLANTED(TXN_SHOWS_UNDECIDED))
        return end;
    /* Its first records may have been deleted. */
    return undecided > log_start_offset(p->log) ? undecided
                                                : log_start_offset(p->log);
}

int64_t partition_last_stable(const struct partition *p)
{
    return partition_stable_below(p, p->high_watermark);
}

/* The last stable offset moves with the high watermark only. */
static void raise_high_watermark(struct partition *p, int64_t high_watermark)
{
    int64_t stable = partition_last_stable(p);

    p->high_watermark = high_watermark;
    producers_committed(p->producers, high_watermark);
    checkpoint_touch(p);
    release(&p->waiters, high_watermark);
    if (p->coordinator != NULL)
        coord_host_committed(p);
    tell_watches(p, NEWS_HIGH_WATERMARK, partition_last_stable(p) != stable);
}

/* ---- the leader core's updates ------------------------------------------- */

static struct isr_proposal *proposal_new(const struct partition *p)
{
    struct isr_proposal *q = xcalloc(1, sizeof *q);

    q->shard = p->shard->index;
    q->topic_id = p->topic_id;
    q->partition = p->index;
    q->leader_epoch = p->state.leader_epoch;
    q->partition_epoch = p->state.partition_epoch;
    return q;
}

static void add_member(struct shard *s, struct isr_proposal *q,
                       int32_t broker_id)
{
    struct shard_broker *b = shard_broker(s, broker_id);

    q->isr[q->isr_len].broker = broker_id;
    q->isr[q->isr_len++].epoch = b != NULL ? b->epoch : -1;
}

static void propose_isr(struct partition *p, replica_set isr)
{
    struct isr_proposal *q = proposal_new(p);
    struct shard *s = p->shard;

    for (int i = 0; i < p->state.replicas_len; i++)
        if (replica_in(isr, i))
            add_member(s, q, p->state.replicas[i]);
    meta_propose_isr(s->broker->meta, q);
}

/* An ISR without us: the controller elects from it, and we come back as a
 * follower.  Who asks for it asks again and again; proposals must not pile up
 * while no controller answers. */
void partition_hand_over(struct partition *p, int32_t broker_id)
{
    if (p->handing_over)
        return;
    struct isr_proposal *q = proposal_new(p);

    p->handing_over = q->hands_over = true;
    add_member(p->shard, q, broker_id);
    meta_propose_isr(p->shard->broker->meta, q);
}

void partition_hand_over_answered(struct partition *p)
{
    p->handing_over = false;
}

static void step(struct partition *p, struct leader_event *event)
{
    struct leader_update update;

    if (p->leader == NULL)
        return; /* what came of an earlier event ended the leadership */
    event->now_ms = env_now_ms(p->shard->env);
    leader_step(p->leader, event, &update);
    if ((update.flags & LEADER_UPDATE_WATCH) != 0 &&
        list_unlinked(&p->watched_link))
        list_push_back(&p->shard->watched, &p->watched_link);
    if ((update.flags & LEADER_UPDATE_PROPOSE_ISR) != 0)
        propose_isr(p, update.isr_proposed);
    if ((update.flags & LEADER_UPDATE_HIGH_WATERMARK) != 0)
        raise_high_watermark(p, update.high_watermark);
}

static void take_role(struct partition *p, const struct partition_state *old);

void partition_tick(struct partition *p)
{
    if (p->removal != NULL) {
        partition_remove_files(p);
        return;
    }
    if (p->open_again_ms != 0) {
        partition_open_again(p);
        return;
    }
    if (is_unusable(p)) {
        partition_go_offline(p);
        return;
    }
    if (p->producers_stale && p->role != PARTITION_OFFLINE &&
        partition_mend_producers(p) == ERR_NONE)
        take_role(p, NULL);
    step(p, &(struct leader_event){.type = LEADER_TICK});
    if (partition_is_cut_off(p)) {
        fail_waiters(&p->waiters);
        tell(p, NEWS_ROLE);
    }
}

void partition_fetched(struct partition *p, int32_t broker_id, int64_t offset,
                       uint64_t session, uint32_t order)
{
    int number = partition_replica_number(p, broker_id);

    if (p->leader == NULL || number < 0 || number == p->leader->self)
        return;
    step(p, &(struct leader_event){.type = LEADER_FETCHED,
                                   .replica = number,
                                   .offset = offset,
                                   .session = session,
                                   .order = order});
}

void partition_follower_starts(struct partition *p, int32_t broker_id,
                               int64_t start_offset)
{
    int number = partition_replica_number(p, broker_id);

    if (p->leader == NULL || number < 0 ||
        p->leader->followers[number].start_offset == start_offset)
        return;
    p->leader->followers[number].start_offset = start_offset;
    release_starts(p);
}

int32_t partition_nearest(const struct partition *p, struct slice rack,
                          int64_t offset)
{
    const struct leader *l = p->leader;
    struct nearest_replica readable[LEADER_REPLICAS_MAX];
    struct slice own = slice_str(p->shard->broker->config->rack);
    int len = 0;

    if (rack.len == 0 || l == NULL)
        return -1;
    for (int i = 0; i < p->state.replicas_len; i++) {
        const struct leader_follower *f = &l->followers[i];
        struct shard_broker *b = shard_broker(p->shard, p->state.replicas[i]);

        if (i != l->self && b != NULL && f->eligible && replica_in(l->isr, i) &&
            f->start_offset <= offset && f->end_offset >= offset)
            readable[len++] = (struct nearest_replica){
                b->id, slice_str(b->rack), f->end_offset, f->caught_up_ms};
    }
    return nearest_replica(rack, own, readable, len);
}

void partition_follower_silent(struct partition *p, int32_t broker_id,
                               uint64_t session)
{
    int number = partition_replica_number(p, broker_id);

    if (p->leader == NULL || number < 0 || number == p->leader->self)
        return;
    step(p, &(struct leader_event){.type = LEADER_FOLLOWER_SILENT,
                                   .replica = number,
                                   .session = session});
    /* A request that came late, by a connection that the follower has left,
     * may have been its last word.  The session it waits by knows better. */
    tell(p, NEWS_END);
}

void partition_broker_changed(struct partition *p, int32_t broker_id, bool anew)
{
    int number = partition_replica_number(p, broker_id);

    if (p->leader == NULL || number < 0 || number == p->leader->self)
        return;
    struct shard_broker *b = shard_broker(p->shard, broker_id);
    bool eligible = b != NULL && !b->fenced && !b->shutting_down;
    if (anew) {
        step(p, &(struct leader_event){.type = LEADER_FOLLOWER_ANEW,
                                       .replica = number});
        tell(p, NEWS_ROLE); /* its session says what it has now */
    }
    if (p->leader == NULL)
        return;
    if (p->leader->followers[number].eligible != eligible)
        step(p, &(struct leader_event){.type = LEADER_ELIGIBILITY,
                                       .replica = number,
                                       .flag = eligible});
    release_starts(p); /* it may not be alive any more */
}

/* ---- sync ---------------------------------------------------------------- */

static void flush_done(struct log_flush *flush);

/* One fdatasync at a time; what is appended meanwhile shares the next one. */
static void start_flush(struct partition *p)
{
    if (p->flush != NULL || move_holds_sync(p))
        return;
    p->flush = xcalloc(1, sizeof *p->flush);
    p->flush->done = flush_done;
    p->flush->arg = p;
    if (!log_flush_begin(p->log, p->flush)) {
        free(p->flush);
        p->flush = NULL;
    }
}

void partition_sync_soon(struct partition *p)
{
    int64_t now_ms = env_now_ms(p->shard->env);

    if (p->role == PARTITION_OFFLINE || now_ms < p->next_sync_ms)
        return;
    p->next_sync_ms = now_ms + SYNC_INTERVAL_MS;
    start_flush(p);
}

static void finish_delete(struct partition *p);
static void note_synced(struct partition *p);

static void flush_done(struct log_flush *flush)
{
    struct partition *p = flush->arg;
    int result = flush->result;

    free(flush);
    if (p == NULL)
        return; /* closed meanwhile */
    p->flush = NULL;
    if (p->deleted) {
        finish_delete(p);
        return;
    }
    if (p->role == PARTITION_OFFLINE)
        return;
    if (result < 0 &&
        (log_failed(p->log) ||
         (p->shard->broker->log_dirs_len > 1 && log_is_disk_error(result)))) {
        log_error("log",
                  "Cannot sync %s: %s. The replica is offline; replace the "
                  "disk and restart this node",
                  log_path(p->log), strerror(-result));
        partition_go_offline(p);
        return;
    }
    if (log_synced_offset(p->log) == log_end_offset(p->log))
        p->unchanged_ms = log_changed_ms(p->log);
    checkpoint_touch(p);
    if (result < 0) {
        /* Its files do not open just now; the tick tries again. */
        p->next_sync_ms = env_now_ms(p->shard->env) + SYNC_AGAIN_MS;
        return;
    }
    /* Some may wait from before a change of the durability, and so may the
     * files that tell of a loss, see partition_mended_synced(). */
    if ((p->settings->fsync || !list_empty(&p->sync_waiters) ||
         p->mended_at >= 0) &&
        log_synced_offset(p->log) < log_end_offset(p->log))
        start_flush(p);
    note_synced(p);
}

/* What is on disk counts now. */
static void note_synced(struct partition *p)
{
    /* After a switch to fsync more may count than is synced yet. */
    if (p->leader != NULL && p->settings->fsync &&
        log_synced_offset(p->log) >=
            p->leader->followers[p->leader->self].end_offset)
        step(p, &(struct leader_event){.type = LEADER_APPENDED,
                                       .offset = log_synced_offset(p->log)});
    release(&p->sync_waiters, log_synced_offset(p->log));
    partition_mended_synced(p);
    if (p->role == PARTITION_FOLLOWER)
        fetcher_synced(p);
}

void partition_may_sync(struct partition *p)
{
    if (p->log == NULL || p->role == PARTITION_OFFLINE)
        return;
    if (log_synced_offset(p->log) < log_end_offset(p->log))
        start_flush(p);
    note_synced(p);
}

/* What our own end counts for: with fsync only what is on disk.  What is
 * committed is on the disks of others. */
static int64_t counted_end(const struct partition *p)
{
    int64_t end = !p->settings->fsync  ? log_end_offset(p->log)
                  : move_holds_sync(p) ? p->high_watermark
                                       : log_synced_offset(p->log);

    return end > p->high_watermark ? end : p->high_watermark;
}

/* ---- roles --------------------------------------------------------------- */

static void stop_leading(struct partition *p)
{
    if (p->leader == NULL)
        return;
    free(p->leader);
    p->leader = NULL;
    p->role = PARTITION_IDLE; /* those who hear of it may come with more */
    list_remove(&p->watched_link);
    fail_waiters(&p->waiters);
    fail_waiters(&p->sync_waiters);
    fail_waiters(&p->start_waiters);
    if (p->coordinator != NULL)
        coord_host_lost(p);
}

void partition_leave_service(struct partition *p)
{
    move_leave(p);
    stop_leading(p);
    fetcher_remove(p);
    cleaner_leave(p);
    p->role = PARTITION_OFFLINE;
    tell(p, NEWS_ROLE);
    meta_replica_offline(p->shard->broker->meta, &p->topic_id, p->index);
}

/* Its disk is no good, and nothing else in that directory is to be trusted. */
void partition_go_offline(struct partition *p)
{
    partition_leave_service(p);
    meta_log_dir_failed(p->shard->broker->meta, p->dir);
}

/* One that is being opened finds out by itself. */
void partition_dir_failed(struct partition *p)
{
    if (p->role != PARTITION_OPENING && p->role != PARTITION_OFFLINE)
        partition_leave_service(p);
}

static int effective_min_isr(const struct partition *p)
{
    int16_t min = p->settings->min_isr > p->min_isr_floor ? p->settings->min_isr
                                                          : p->min_isr_floor;

    return min < p->state.replicas_len ? min : p->state.replicas_len;
}

void partition_expect_settings(struct partition *p,
                               const struct topic_settings *settings)
{
    p->min_isr_floor = settings->min_isr;
    if (p->leader != NULL)
        p->leader->min_isr = (int16_t)effective_min_isr(p);
}

static void set_eligibility(struct partition *p)
{
    for (int i = 0; i < p->state.replicas_len; i++)
        partition_broker_changed(p, p->state.replicas[i], false);
}

/* the epoch and its start are on record before its first append. */
static void start_leading(struct partition *p)
{
    struct leader *old = p->leader;
    int self = partition_replica_number(p, self_id(p));
    int64_t now_ms = env_now_ms(p->shard->env);
    bool anew = old == NULL || old->epoch != p->state.leader_epoch;

    fetcher_remove(p);
    ASSERT(self >= 0 && replica_in(p->state.isr, self));
    int64_t end = counted_end(p);
    if (PLANTED(LEADER_COMMITS_ITS_LOG))
        p->high_watermark = end;
    if (!PLANTED(LEADER_NOTES_NO_EPOCH))
        log_assign_epoch(p->log, p->state.leader_epoch, log_end_offset(p->log));
    if (anew) {
        p->led_since_ms = now_ms;
        p->full_since_ms = 0;
        p->led_from_offset = log_end_offset(p->log);
        if (p->state.recovering)
            log_warn("replica",
                     "UNCLEAN ELECTION: %s-%d is led by this broker in epoch "
                     "%d, though it was not in sync. Its high watermark is "
                     "%lld, and what was acknowledged from offset %lld on is "
                     "lost; replicas that come back with it say what it was",
                     p->topic->name, p->index, (int)p->state.leader_epoch,
                     (long long)p->high_watermark,
                     (long long)log_end_offset(p->log));
    }
    p->leader = xmalloc(sizeof *p->leader);
    leader_init(p->leader, p->state.leader_epoch, self, p->state.replicas_len,
                p->state.isr, log_end_offset(p->log), end, p->high_watermark,
                effective_min_isr(p),
                p->shard->broker->config->replica_lag_time_max_ms, now_ms);
    p->role = PARTITION_LEADER;
    free(old);
    set_eligibility(p);
    if (p->settings->fsync && end < log_end_offset(p->log))
        start_flush(p);
    step(p, &(struct leader_event){.type = LEADER_TICK});
    /* Another may have led in between, and have sent what fences us: a
     * coordinator is of one epoch. */
    if (anew && old != NULL)
        coord_host_lost(p);
    if (anew)
        coord_host_elected(p);
    tell(p, NEWS_ROLE);
}

static replica_set renumber_set(const struct partition *p, replica_set set,
                                const struct partition_state *old)
{
    replica_set out = 0;

    for (int i = 0; i < old->replicas_len; i++) {
        int number = partition_replica_number(p, old->replicas[i]);
        if (replica_in(set, i) && number >= 0)
            out = (replica_set)(out | 1u << number);
    }
    return out;
}

/* Same leadership, other replicas (a reassignment): followers keep their
 * progress under their new numbers, and so does a proposal that was made since
 * this change was accepted. */
static void renumber(struct partition *p, const struct partition_state *old)
{
    struct leader before = *p->leader;
    bool in_flight =
        before.in_flight && p->state.partition_epoch == old->partition_epoch;

    start_leading(p);
    if (p->leader == NULL)
        return;
    p->leader->epoch_start_offset = before.epoch_start_offset;
    for (int i = 0; i < old->replicas_len; i++) {
        int number = partition_replica_number(p, old->replicas[i]);
        if (number >= 0 && number != p->leader->self)
            p->leader->followers[number] = before.followers[i];
    }
    if (in_flight) {
        p->leader->in_flight = true;
        p->leader->isr_proposed = renumber_set(p, before.isr_proposed, old);
    }
    if (p->state.partition_epoch == old->partition_epoch)
        p->leader->isr_doubted = renumber_set(p, before.isr_doubted, old);
    set_eligibility(p);
    step(p, &(struct leader_event){.type = LEADER_TICK});
    release_starts(p);
}

static void follow(struct partition *p)
{
    stop_leading(p);
    p->role = PARTITION_FOLLOWER;
    if (PLANTED(FOLLOWER_CUTS_TO_WATERMARK))
        partition_truncate(p, p->high_watermark);
    fetcher_add(p);
    tell(p, NEWS_ROLE);
}

static bool same_replicas(const struct partition_state *a,
                          const struct partition_state *b)
{
    return a->replicas_len == b->replicas_len &&
           memcmp(a->replicas, b->replicas,
                  a->replicas_len * sizeof *a->replicas) == 0;
}

/* Consumers may be better off with another replica now. */
static void isr_committed(struct partition *p)
{
    step(p, &(struct leader_event){.type = LEADER_ISR_COMMITTED,
                                   .isr = p->state.isr});
    if (p->leader != NULL && p->shard->broker->config->reads_by_rack)
        tell(p, NEWS_OTHER);
}

/* Brings the role in line with p->state. `old` is what it was, or NULL.  What
 * was heard before (the answer to a proposal comes twice, from the controller
 * and by the metadata log) says nothing of a proposal made since. */
static void take_role(struct partition *p, const struct partition_state *old)
{
    bool new_epoch = old == NULL || old->leader_epoch != p->state.leader_epoch;

    if (p->state.leader == self_id(p) && p->lost_until != 0 &&
        !partition_gives_up_lost(p)) {
        if (p->role != PARTITION_DAMAGED) {
            stop_leading(p);
            fetcher_remove(p);
            partition_serve_damaged(p);
        }
    } else if (p->state.leader == self_id(p) &&
               partition_mend_producers(p) == ERR_NONE) {
        if (p->leader == NULL || new_epoch)
            start_leading(p);
        else if (!same_replicas(old, &p->state))
            renumber(p, old);
        else if (old->partition_epoch < p->state.partition_epoch)
            isr_committed(p);
    } else if (p->state.leader >= 0 && p->state.leader != self_id(p)) {
        if (p->role != PARTITION_FOLLOWER || new_epoch)
            follow(p);
    } else if (p->role != PARTITION_OFFLINE) {
        stop_leading(p);
        fetcher_remove(p);
        p->role = PARTITION_IDLE;
        tell(p, NEWS_ROLE);
    }
}

void partition_set_state(struct partition *p,
                         const struct partition_state *state)
{
    struct partition_state old = p->state;

    if (state->partition_epoch < old.partition_epoch)
        return;
    p->state = *state;
    if (p->role != PARTITION_OPENING && p->role != PARTITION_OFFLINE)
        take_role(p, &old);
}

void partition_set_settings(struct partition *p,
                            struct topic_settings *settings)
{
    bool was_fsync = p->settings->fsync;

    topic_settings_unref(p->settings);
    p->settings = topic_settings_ref(settings);
    p->min_isr_floor = 0;
    if (p->log == NULL)
        return;
    log_set_config(p->log, &settings->log);
    p->uncleanable = false;
    cleaner_note(p);
    if (settings->fsync && !was_fsync)
        start_flush(p);
    if (p->leader == NULL)
        return;
    if (!settings->fsync)
        step(p, &(struct leader_event){.type = LEADER_APPENDED,
                                       .offset = log_end_offset(p->log)});
    step(p, &(struct leader_event){.type = LEADER_MIN_ISR,
                                   .offset = effective_min_isr(p)});
}

/* An accepted set counts from when the metadata log brings it, with whatever
 * the controller knew when it accepted: under a larger min.insync.replicas, of
 * which this leader may not have heard, who leaves the set stays eligible, and
 * nothing may be committed without it (KIP-966).
 *
 * Only a certain refusal goes back to the old ISR, and only of the proposal in
 * flight: the answer to an earlier one may have been overtaken by the metadata
 * log.  Every other error may mean that the proposal was accepted and the
 * answer lost; then both sets count until the metadata log says which it is.
 * REQUEST_TIMED_OUT is a refusal of which an earlier copy is on its way. */
void partition_isr_result(struct partition *p, enum err error,
                          const struct partition_state *state)
{
    if (p->leader == NULL || !p->leader->in_flight || error == ERR_NONE)
        return;
    if ((error == ERR_INELIGIBLE_REPLICA ||
         error == ERR_OPERATION_NOT_ATTEMPTED ||
         error == ERR_REQUEST_TIMED_OUT ||
         PLANTED(LEADER_TAKES_SILENCE_FOR_NO)) &&
        state->leader_epoch == p->state.leader_epoch &&
        state->partition_epoch == p->state.partition_epoch) {
        step(p, &(struct leader_event){.type = LEADER_ISR_REFUSED,
                                       .flag = error == ERR_REQUEST_TIMED_OUT});
    }
}

/* ---- the beginning --------------------------------------------------------
 */

struct partition *partition_new(struct shard *s, struct shard_topic *topic,
                                int32_t index, struct topic_settings *settings,
                                const struct partition_state *state)
{
    struct partition *p = xcalloc(1, sizeof *p);

    p->shard = s;
    p->topic = topic;
    p->topic_id = topic->id;
    p->index = index;
    p->role = PARTITION_OPENING;
    p->state = *state;
    p->early = !s->settled;
    p->mended_at = -1;
    p->settings = topic_settings_ref(settings);
    list_init(&p->waiters);
    list_init(&p->sync_waiters);
    list_init(&p->start_waiters);
    list_init(&p->watches);
    list_init(&p->watched_link);
    list_init(&p->checkpoint_link);
    list_init(&p->clean_link);
    list_init(&p->fetcher_link);
    list_init(&p->changed_link);
    partition_choose_dir(p);
    p->place = place_ask(s, topic->name, index, p, partition_open_begin);
    return p;
}

/* ---- the end ------------------------------------------------------------- */

static void retire(struct partition *p)
{
    move_leave(p);
    stop_leading(p);
    fetcher_remove(p);
    cleaner_leave(p);
    for (struct list *node; (node = list_pop_front(&p->watches)) != NULL;) {
        struct partition_watch *w =
            LIST_ENTRY(node, struct partition_watch, link);
        w->gone(w);
    }
    txn_verify_forget(p);
}

static void partition_free(struct partition *p)
{
    list_remove(&p->watched_link);
    list_remove(&p->checkpoint_link);
    producers_free(p->producers);
    refusals_free(p->refusals);
    topic_settings_unref(p->settings);
    place_give_back(p->place);
    atomic_fetch_sub(&p->dir->replicas, 1);
    free(p);
}

/* Not while checkpoints are being written, which may be ours, too: they would
 * be found by the next replica here. */
static void finish_delete(struct partition *p)
{
    if (p->open != NULL || p->flush != NULL || p->cleaning != NULL ||
        p->move != NULL ||
        (place_is_granted(p->place) && checkpoint_holds_up(p->shard, p)))
        return;
    if (p->log != NULL) {
        log_delete(p->log);
        atomic_fetch_add(&p->dir->removed, 1);
        partition_removal_free(p);
    } else if (p->removal != NULL) {
        partition_remove_files(p);
        return;
    }
    p->shard->deleting--;
    partition_free(p);
}

void partition_written(struct partition *p) { finish_delete(p); }

void partition_delete(struct partition *p)
{
    retire(p);
    p->role = PARTITION_OFFLINE;
    list_remove(&p->watched_link);
    p->open_again_ms = 0;
    checkpoint_forget(p);
    cleaner_deleted(p);
    if (p->log == NULL && place_is_granted(p->place))
        partition_removal_new(p);
    p->deleted = true;
    p->topic = NULL;
    p->shard->deleting++;
    finish_delete(p);
}

bool partition_close(struct partition *p, bool clean)
{
    bool flushed =
        clean && p->role != PARTITION_OPENING && p->role != PARTITION_OFFLINE;

    move_closed(p);
    retire(p);
    cleaner_closed(p);
    if (p->flush != NULL)
        p->flush->arg = NULL;
    if (p->open != NULL)
        partition_open_abandon(p);
    if (p->log != NULL) {
        flushed = flushed && log_flush_now(p->log) == ERR_NONE;
        if (flushed)
            partition_mended_synced(p);
        if (flushed && !p->producers_stale &&
            !producers_is_stored(p->shard->env, log_path(p->log),
                                 log_end_offset(p->log)))
            producers_store(p->shard->env, p->producers, log_path(p->log),
                            log_end_offset(p->log));
        log_close(p->log);
    }
    partition_free(p);
    return flushed;
}

void partition_take_log(struct partition *p, struct log *log,
                        struct log_dir *dir, int64_t stored_point)
{
    p->log = log;
    partition_set_dir(p, dir);
    p->stored_point = stored_point;
    p->unchanged_ms = 0;
    checkpoint_touch(p);
}

/* ---- for append.c -------------------------------------------------------- */

void partition_appended(struct partition *p)
{
    checkpoint_touch(p);
    if (p->settings->fsync && !PLANTED(FSYNC_LEADER_COUNTS_UNSYNCED))
        start_flush(p);
    else if (p->leader != NULL)
        step(p, &(struct leader_event){.type = LEADER_APPENDED,
                                       .offset = log_end_offset(p->log)});
    tell(p, NEWS_END);
}

void partition_follower_moved(struct partition *p, int64_t high_watermark)
{
    if (high_watermark > log_end_offset(p->log) &&
        !PLANTED(FOLLOWER_BELIEVES_ANY_WATERMARK))
        high_watermark = log_end_offset(p->log);
    if (high_watermark > p->high_watermark)
        raise_high_watermark(p, high_watermark);
}

int64_t partition_unchanged_ms(const struct partition *p)
{
    return log_synced_offset(p->log) == log_end_offset(p->log) ? p->unchanged_ms
                                                               : 0;
}

void partition_tell_role(struct partition *p) { tell(p, NEWS_ROLE); }

void partition_take_role(struct partition *p) { take_role(p, NULL); }

void partition_start_flush(struct partition *p) { start_flush(p); }

void partition_shortened(struct partition *p)
{
    p->unchanged_ms = 0;
    int64_t end = log_end_offset(p->log);

    move_shortened(p);
    cleaner_shortened(p);
    if (p->high_watermark > end)
        p->high_watermark = end;
    if (p->high_watermark < log_start_offset(p->log))
        p->high_watermark = log_start_offset(p->log);
    if (p->mended_at > end)
        p->mended_at = end;
    checkpoint_touch(p);
    tell(p, NEWS_START);
}
