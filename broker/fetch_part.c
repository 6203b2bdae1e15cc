#include "broker/fetch_part.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/planted.h"

#include <stdlib.h>

enum { KEY_BYTES = 20 };

static void make_key(uint8_t key[static KEY_BYTES], const struct uuid *topic_id,
                     int32_t index)
{
    memcpy(key, topic_id->bytes, 16);
    be32_put(key + 16, (uint32_t)index);
}

/* ---- waking home --------------------------------------------------------- */

static void wake_arrived(struct env_task *task)
{
    struct fetch_part *part =
        (struct fetch_part *)((char *)task - offsetof(struct fetch_part, wake));

    atomic_store(&part->wake_out, false);
    part->woke(part);
}

/* If an earlier wake is still on its way, it serves for this one too. */
static void wake_home(struct fetch_part *part)
{
    part->armed = false;
    if (atomic_exchange(&part->wake_out, true))
        return;
    part->wake.fn = wake_arrived;
    env_post(part->home->env, &part->wake);
}

static void mark_dirty(struct fetch_entry *e)
{
    if (list_unlinked(&e->dirty_link))
        list_push_back(&e->part->dirty, &e->dirty_link);
}

static void on_changed(struct partition_watch *w, bool data)
{
    struct fetch_entry *e = (struct fetch_entry *)(void *)w;

    if (e->answered)
        return; /* it is looked at when the follower asks */
    mark_dirty(e);
    if (data && e->part->armed)
        wake_home(e->part);
}

static void on_gone(struct partition_watch *w)
{
    struct fetch_entry *e = (struct fetch_entry *)(void *)w;

    e->partition = NULL;
    on_changed(w, true);
}

/* ---- entries ------------------------------------------------------------- */

static void resolve(struct fetch_entry *e, enum err *error)
{
    if (e->partition != NULL)
        return;
    e->partition =
        shard_partition(e->part->shard, &e->ask.topic_id, e->ask.index, error);
    if (e->partition != NULL)
        partition_watch(e->partition, &e->watch);
}

static struct fetch_entry *entry_add(struct fetch_part *part,
                                     const struct fetch_ask *ask)
{
    struct fetch_entry *e = xcalloc(1, sizeof *e);
    uint8_t key[KEY_BYTES];

    e->part = part;
    e->watch.sees_uncommitted = part->replica_id >= 0;
    e->watch.sees_stable = part->replica_id < 0 && part->read_committed;
    e->watch.changed = on_changed;
    e->watch.gone = on_gone;
    e->name = slice_dup(ask->name);
    e->told_high_watermark = e->told_start_offset = -1;
    list_init(&e->watch.link);
    list_init(&e->dirty_link);
    list_init(&e->shown_link);
    list_push_back(&part->entries, &e->link);
    make_key(key, &ask->topic_id, ask->index);
    map_put(&part->by_key, slice_of(key, KEY_BYTES), e);
    return e;
}

static void entry_free(struct fetch_entry *e)
{
    partition_unwatch(&e->watch);
    list_remove(&e->dirty_link);
    list_remove(&e->shown_link);
    list_remove(&e->link);
    free(e->name);
    free(e);
}

static void apply_ask(struct fetch_part *part, const struct fetch_ask *ask)
{
    uint8_t key[KEY_BYTES];

    make_key(key, &ask->topic_id, ask->index);
    struct fetch_entry *e = map_get(&part->by_key, slice_of(key, KEY_BYTES));
    if (e != NULL && ask->moved)
        return;
    if (e == NULL)
        e = entry_add(part, ask);
    e->ask = *ask;
    e->ask.name = slice_str(e->name);
    e->answered = false;
    /* A follower that asks anew may not have taken what it was told last. */
    if (part->replica_id >= 0)
        e->told_high_watermark = e->told_start_offset = -1;
    mark_dirty(e);
}

static void apply_forget(struct fetch_part *part, const struct fetch_ask *ask)
{
    uint8_t key[KEY_BYTES];

    make_key(key, &ask->topic_id, ask->index);
    struct fetch_entry *e = map_remove(&part->by_key, slice_of(key, KEY_BYTES));
    if (e != NULL)
        entry_free(e);
}

static void add_moved(struct fetch_part *part, const struct fetch_ask *ask,
                      const struct fetch_renewal *now)
{
    if (part->moved_len == part->moved_cap) {
        part->moved_cap = part->moved_cap != 0 ? part->moved_cap * 2 : 4;
        part->moved = xrealloc(part->moved,
                               (size_t)part->moved_cap * sizeof *part->moved);
    }
    struct fetch_ask *moved = &part->moved[part->moved_len++];
    *moved = *ask;
    moved->topic_id = now->id;
    moved->name = now->name;
    moved->moved = true;
}

static void move_out(struct fetch_part *part)
{
    LIST_EACH_SAFE (node, next, &part->entries) {
        struct fetch_entry *e = LIST_ENTRY(node, struct fetch_entry, link);
        const struct fetch_renewal *now =
            map_get(part->renewals, uuid_slice(&e->ask.topic_id));

        if (now == NULL)
            continue;
        add_moved(part, &e->ask, now);
        apply_forget(part, &(struct fetch_ask){.topic_id = e->ask.topic_id,
                                               .index = e->ask.index});
    }
    part->renewals = NULL;
}

/* ---- reading ------------------------------------------------------------- */

static enum err check_follower(const struct fetch_entry *e)
{
    const struct fetch_part *part = e->part;
    struct shard_broker *b = shard_broker(part->shard, part->replica_id);

    if (partition_replica_number(e->partition, part->replica_id) < 0)
        return ERR_NOT_LEADER_OR_FOLLOWER;
    if (b != NULL && part->replica_epoch < b->epoch &&
        !PLANTED(LEADER_SERVES_EARLIER_LIVES))
        return ERR_STALE_BROKER_EPOCH;
    return ERR_NONE;
}

/* KIP-320, KIP-595: does the fetcher's last record exist here in the same
 * epoch? Sets the result's divergence if not. */
static enum err check_history(const struct fetch_entry *e,
                              struct fetch_result *out)
{
    struct log *log = e->partition->log;
    int32_t epoch;
    int64_t end;

    if (e->ask.last_fetched_epoch >= 0 && !PLANTED(LEADER_IGNORES_HISTORY)) {
        log_end_offset_for_epoch(log, e->ask.last_fetched_epoch, &epoch, &end);
        if (epoch < 0 || end < 0)
            return ERR_OFFSET_OUT_OF_RANGE;
        if (epoch < e->ask.last_fetched_epoch || end < e->ask.offset) {
            out->diverging_epoch = epoch;
            out->diverging_end = end;
            return ERR_NONE;
        }
    }
    if (e->ask.offset < log_start_offset(log) ||
        e->ask.offset > log_end_offset(log))
        return ERR_OFFSET_OUT_OF_RANGE;
    return ERR_NONE;
}

/* Exclusive. */
static int64_t readable_end(const struct fetch_part *part,
                            const struct partition *p)
{
    if (part->replica_id >= 0 || PLANTED(READERS_SEE_UNCOMMITTED))
        return log_end_offset(p->log);
    return part->read_committed ? partition_last_stable(p) : p->high_watermark;
}

/* Which of the records are of aborted transactions.  If that cannot be said
 * they are not shown. */
static enum err add_aborted(struct partition *p, int64_t offset,
                            struct fetch_result *out)
{
    enum err error = log_aborted_in(p->log, offset, &out->range, &out->aborted);

    if (error == ERR_NONE)
        return ERR_NONE;
    env_file_unref(out->range.file);
    out->range = (struct log_range){0};
    return ERR_KAFKA_STORAGE_ERROR;
}

/* At most what is left of the request's bytes; the first batch of all may be
 * larger. */
static enum err read_range(const struct fetch_entry *e, int64_t end,
                           int64_t left_bytes, struct fetch_result *out)
{
    const struct fetch_part *part = e->part;
    struct partition *p = e->partition;
    int64_t max = e->ask.max_bytes < left_bytes ? e->ask.max_bytes : left_bytes;

    enum err error = (part->old_format ? log_read_records : log_read)(
        p->log, e->ask.offset, end, max < 0 ? 0 : (uint32_t)max,
        part->bytes == 0, &out->range);
    if (error == ERR_IO)
        partition_write_failed(p);
    if (error == ERR_NONE && part->replica_id < 0 && part->read_committed)
        error = add_aborted(p, e->ask.offset, out);
    return error;
}

/* The leader's log has lost records: consumers get those before them. */
static enum err read_damaged(struct fetch_entry *e, int64_t left_bytes,
                             struct fetch_result *out)
{
    struct fetch_part *part = e->part;
    struct partition *p = e->partition;
    int64_t end = partition_damaged_end(p);
    enum err error = partition_check_leader(p, e->ask.current_leader_epoch);

    if (error != ERR_KAFKA_STORAGE_ERROR)
        return error; /* the asker is behind, or ahead */
    if (part->replica_id >= 0) {
        if (check_follower(e) == ERR_NONE)
            partition_damaged_fetched(p, part->replica_id, e->ask.offset,
                                      e->ask.last_fetched_epoch);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    out->high_watermark = end;
    out->last_stable_offset = partition_stable_below(p, end);
    if (part->read_committed)
        end = out->last_stable_offset;
    if (e->ask.offset >= end)
        return ERR_KAFKA_STORAGE_ERROR;
    if (e->ask.offset < log_start_offset(p->log))
        return ERR_OFFSET_OUT_OF_RANGE;
    out->start_offset = log_start_offset(p->log);
    return left_bytes <= 0 ? ERR_NONE : read_range(e, end, left_bytes, out);
}

/* What a client's view of the partition is worth here. */
static enum err check_role(const struct fetch_entry *e)
{
    const struct partition *p = e->partition;

    if (p->role == PARTITION_OPENING)
        return ERR_NOT_LEADER_OR_FOLLOWER;
    enum err error = partition_check_leader(p, e->ask.current_leader_epoch);
    if (error != ERR_NOT_LEADER_OR_FOLLOWER ||
        (!e->part->followers_too && !PLANTED(READERS_ASK_ANYBODY)) ||
        p->role != PARTITION_FOLLOWER)
        return error;
    /* A follower that is behind must not make a consumer believe that its
     * offset is gone: the leader may well have it. */
    return e->ask.offset > log_end_offset(p->log) ? error : ERR_NONE;
}

static bool is_behind(const struct partition *p, int32_t broker_id)
{
    int number = partition_replica_number(p, broker_id);

    return p->leader != NULL && number >= 0 &&
           !replica_in(p->leader->isr, number);
}

static enum err read_entry(struct fetch_entry *e, int64_t left_bytes,
                           struct fetch_result *out)
{
    struct fetch_part *part = e->part;
    struct partition *p = e->partition;

    if (p->role == PARTITION_DAMAGED)
        return read_damaged(e, left_bytes, out);
    enum err error = check_role(e);

    if (error != ERR_NONE)
        return error;
    out->start_offset = log_start_offset(p->log);
    if (part->replica_id >= 0)
        error = check_follower(e);
    if (error == ERR_NONE)
        error = check_history(e, out);
    if (error != ERR_NONE)
        return error;
    out->high_watermark = p->high_watermark;
    if (out->diverging_epoch >= 0)
        return error;
    if (part->replica_id >= 0) {
        partition_follower_starts(p, part->replica_id, e->ask.start_offset);
        partition_fetched(p, part->replica_id, e->ask.offset, part->number,
                          part->order);
    }
    out->high_watermark = p->high_watermark;
    out->last_stable_offset = partition_last_stable(p);
    out->preferred = partition_nearest(p, part->rack, e->ask.offset);
    if (out->preferred >= 0)
        return ERR_NONE;
    int64_t end = readable_end(part, p);
    if (e->ask.offset >= end && part->replica_id < 0 && partition_is_cut_off(p))
        return ERR_NOT_LEADER_OR_FOLLOWER;
    if (e->ask.offset >= end || left_bytes <= 0)
        return ERR_NONE;
    if (part->replica_id >= 0) {
        out->throttled = throttle_lists(p, THROTTLE_LEADER);
        e->held_back = out->throttled && is_behind(p, part->replica_id) &&
                       throttle_wait_ms(part->shard, THROTTLE_LEADER) > 0;
        if (e->held_back)
            return ERR_NONE;
    }
    return read_range(e, end, left_bytes, out);
}

static struct fetch_result *add_result(struct fetch_part *part)
{
    if (part->results_len == part->results_cap) {
        part->results_cap = part->results_cap != 0 ? part->results_cap * 2 : 4;
        part->results = xrealloc(part->results, (size_t)part->results_cap *
                                                    sizeof *part->results);
    }
    return &part->results[part->results_len];
}

/* A follower is told at once where the log begins now: DeleteRecords waits for
 * it.  One that has less than that gets there by its records. */
static bool begins_later(const struct fetch_entry *e,
                         const struct fetch_result *out)
{
    return e->part->replica_id >= 0 &&
           out->start_offset > e->ask.start_offset &&
           out->start_offset <= e->ask.offset &&
           out->start_offset != e->told_start_offset;
}

/* Our followers ask anew, by their new position or after a pause, whenever they
 * were sent records or an error (fetcher.c). */
static bool follower_asks_anew(const struct fetch_part *part,
                               const struct fetch_result *out)
{
    return part->replica_id >= 0 &&
           (out->error != ERR_NONE || out->diverging_epoch >= 0 ||
            out->range.len != 0);
}

/* Reads one entry; keeps the result if it says something new. Returns whether
 * the entry may have more. */
static bool run_entry(struct fetch_entry *e)
{
    struct fetch_part *part = e->part;
    struct fetch_result *out = add_result(part);
    int64_t left_bytes = part->max_bytes - part->bytes;

    *out = (struct fetch_result){
        .topic_id = e->ask.topic_id,
        .name = slice_str(e->name),
        .index = e->ask.index,
        .asked_offset = e->ask.offset,
        .max_bytes = e->ask.max_bytes,
        .high_watermark = -1,
        .last_stable_offset = -1,
        .start_offset = -1,
        .diverging_epoch = -1,
        .diverging_end = -1,
        .leader = -1,
        .leader_epoch = -1,
        .preferred = -1,
    };
    e->held_back = false;
    resolve(e, &out->error);
    if (e->partition != NULL)
        out->error = read_entry(e, left_bytes, out);
    if (out->error == ERR_NOT_LEADER_OR_FOLLOWER && e->partition != NULL) {
        out->leader = partition_leader_hint(e->partition);
        out->leader_epoch = e->partition->state.leader_epoch;
    }
    bool urgent = out->error != ERR_NONE || out->diverging_epoch >= 0 ||
                  out->preferred >= 0 || begins_later(e, out);
    bool news = out->high_watermark != e->told_high_watermark ||
                out->start_offset != e->told_start_offset;
    if (part->full || urgent || news || out->range.len != 0) {
        part->results_len++;
        part->bytes += out->range.len;
        part->urgent |= urgent;
        e->shown_high_watermark = out->high_watermark;
        e->shown_start_offset = out->start_offset;
        e->shown_answer = follower_asks_anew(part, out);
        list_remove(&e->shown_link);
        list_push_back(&part->shown, &e->shown_link);
    }
    return urgent || out->range.len != 0 || left_bytes <= 0 || e->held_back;
}

static void run_all(struct fetch_part *part)
{
    LIST_EACH (node, &part->entries) {
        struct fetch_entry *e = LIST_ENTRY(node, struct fetch_entry, link);

        if (run_entry(e))
            mark_dirty(e);
        else
            list_remove(&e->dirty_link);
    }
}

/* Those with more to give go to the end, so that none starves. */
static void run_dirty(struct fetch_part *part)
{
    struct list dirty;

    list_init(&dirty);
    list_append_all(&dirty, &part->dirty);
    for (struct list *node; (node = list_pop_front(&dirty)) != NULL;) {
        struct fetch_entry *e =
            LIST_ENTRY(node, struct fetch_entry, dirty_link);

        if (!e->answered && run_entry(e))
            mark_dirty(e);
    }
}

/* A result that was not enough to be sent is found again by the next run. */
static void settle_shown(struct fetch_part *part)
{
    for (struct list *node; (node = list_pop_front(&part->shown)) != NULL;) {
        struct fetch_entry *e =
            LIST_ENTRY(node, struct fetch_entry, shown_link);

        if (part->sent) {
            e->told_high_watermark = e->shown_high_watermark;
            e->told_start_offset = e->shown_start_offset;
            e->answered = e->shown_answer && !part->trimmed;
        } else {
            mark_dirty(e);
        }
    }
    part->trimmed = false;
}

/* A client that changes its mind in the middle of a session. */
static void apply_isolation(struct fetch_part *part)
{
    LIST_EACH (node, &part->entries) {
        struct fetch_entry *e = LIST_ENTRY(node, struct fetch_entry, link);

        e->watch.sees_stable = part->replica_id < 0 && part->read_committed;
        mark_dirty(e);
    }
    part->was_read_committed = part->read_committed;
}

static void command_run(struct fetch_part *part)
{
    settle_shown(part);
    part->results_len = 0;
    part->bytes = 0;
    part->urgent = false;
    part->armed = false;
    for (int i = 0; i < part->forget_len; i++)
        apply_forget(part, &part->forget[i]);
    if (part->renewals != NULL)
        move_out(part);
    for (int i = 0; i < part->asks_len; i++)
        apply_ask(part, &part->asks[i]);
    part->asks_len = part->forget_len = 0;
    if (part->read_committed != part->was_read_committed)
        apply_isolation(part);
    if (part->full)
        run_all(part);
    else
        run_dirty(part);
    part->armed = true;
}

static void command_drop(struct fetch_part *part)
{
    part->armed = false;
    LIST_EACH_SAFE (node, next, &part->entries) {
        entry_free(LIST_ENTRY(node, struct fetch_entry, link));
    }
    map_free(&part->by_key);
}

static void command_silent(struct fetch_part *part)
{
    LIST_EACH (node, &part->entries) {
        struct fetch_entry *e = LIST_ENTRY(node, struct fetch_entry, link);

        if (e->partition != NULL)
            partition_follower_silent(e->partition, part->replica_id,
                                      part->number);
        mark_dirty(e); /* when it speaks again it speaks of all */
    }
}

/* ---- there and back ------------------------------------------------------ */

static void arrived_home(struct env_task *task)
{
    struct fetch_part *part =
        (struct fetch_part *)((char *)task - offsetof(struct fetch_part, task));

    part->out = false;
    part->returned(part);
}

static void arrived(struct env_task *task)
{
    struct fetch_part *part =
        (struct fetch_part *)((char *)task - offsetof(struct fetch_part, task));

    switch (part->command) {
    case FETCH_RUN:
        command_run(part);
        break;
    case FETCH_DROP:
        command_drop(part);
        break;
    case FETCH_SILENT:
        command_silent(part);
        break;
    }
    part->task.fn = arrived_home;
    if (part->shard == part->home)
        arrived_home(&part->task);
    else
        env_post(part->home->env, &part->task);
}

void fetch_part_send(struct fetch_part *part, enum fetch_command command)
{
    ASSERT(!part->out);
    part->out = true;
    part->command = command;
    part->task.fn = arrived;
    if (part->shard == part->home)
        arrived(&part->task);
    else
        env_post(part->shard->env, &part->task);
}

void fetch_part_init(struct fetch_part *part, struct shard *shard,
                     struct shard *home, void *owner)
{
    *part = (struct fetch_part){
        .shard = shard, .home = home, .owner = owner, .replica_id = -1};
    list_init(&part->entries);
    list_init(&part->dirty);
    list_init(&part->shown);
    part->number = (uint64_t)(home->index + 1) << 48 | ++home->fetch_parts_made;
}

void fetch_part_discard(struct fetch_part *part)
{
    for (int i = 0; i < part->results_len; i++)
        if (part->results[i].range.file != NULL)
            env_file_unref(part->results[i].range.file);
    fetch_part_sent(part);
    part->bytes = 0;
}

void fetch_part_sent(struct fetch_part *part)
{
    for (int i = 0; i < part->results_len; i++)
        buf_free(&part->results[i].aborted);
    part->results_len = 0;
}

void fetch_part_free(struct fetch_part *part)
{
    fetch_part_discard(part);
    free(part->moved);
    free(part->results);
}
