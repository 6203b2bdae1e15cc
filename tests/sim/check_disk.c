/* What a replica says is on disk is there.  The simulator owns the disks, so it
 * need not wait for a power loss to see. */
#include "broker/log/state.h"
#include "broker/replica/move.h"
#include "tests/sim/check_parts.h"
#include "tests/sim/kv_disk.h"

#include <stdio.h>

static const struct disk *disk_of(const struct look *l)
{
    return l->node->host->disk;
}

/* ---- where an offset lies ------------------------------------------------ */

enum { LENGTH_AT = 8, PREFIX_BYTES = 12, LAST_DELTA_AT = 23 };

/* Of the first batch in the segment that has records from `offset` on. */
static size_t position_of(const struct look *l, struct promises *q,
                          const struct segment *s, const char *path,
                          int64_t offset)
{
    struct slice file = disk_peek(disk_of(l), path);

    if (q->base != s->base_offset || q->offset > offset ||
        q->position > file.len) {
        q->base = q->offset = s->base_offset;
        q->position = 0;
    }
    while (q->position + LAST_DELTA_AT + 4 <= file.len) {
        const uint8_t *batch = file.data + q->position;
        int64_t end = (int64_t)be64_get(batch) +
                      (int32_t)be32_get(batch + LAST_DELTA_AT) + 1;
        size_t size = PREFIX_BYTES + be32_get(batch + LENGTH_AT);

        if (end > offset || size > file.len - q->position)
            break;
        q->position += size;
        q->offset = end;
    }
    return q->position;
}

/* A segment that compaction has put in the place of others may have its name
 * before the directory is synced; then a power loss leaves those others. */
static size_t durable_bytes(const struct look *l, const char *path, bool whole)
{
    if (whole && l->partition->settings->log.compact_policy)
        return disk_synced_bytes(disk_of(l), path);
    return disk_durable_bytes(disk_of(l), path);
}

/* Whether everything from `from` to `to`, exclusive, survives a power loss. */
static bool is_on_disk(const struct look *l, struct promises *q, int64_t from,
                       int64_t to)
{
    const struct log *log = l->partition->log;
    char path[PATH_MAX];

    for (uint32_t i = log_segment_of(log, from); i < log->segments_len; i++) {
        const struct segment *s = &log->segments[i];
        bool whole =
            i + 1 < log->segments_len && log->segments[i + 1].base_offset <= to;

        if (s->base_offset >= to)
            break;
        if (!s->stored)
            continue;
        log_file_path(log, s->base_offset, ".log", path);
        size_t needed = whole ? s->size_bytes : position_of(l, q, s, path, to);
        if (durable_bytes(l, path, whole) < needed)
            return false;
    }
    return true;
}

static void broken(const struct look *l, const char *what, int64_t offset)
{
    history_violation(l->options->history, "not-on-disk",
                      "%s: n%d %s %lld, and a power loss would leave less "
                      "(synced up to %lld, recovery point %lld, end %lld)",
                      l->name, l->node->id, what, (long long)offset,
                      (long long)l->partition->log->synced_offset,
                      (long long)l->partition->log->recovery_point,
                      (long long)l->partition->log->end_offset);
}

/* ---- a log that was opened ----------------------------------------------- */

/* Only what is whole may have been taken. */
static void check_segment(const struct look *l, const struct segment *s)
{
    char path[PATH_MAX];
    struct slice file =
        disk_peek(disk_of(l), log_file_path(l->partition->log, s->base_offset,
                                            ".log", path));

    for (size_t at = 0; at < file.len && at < s->size_bytes;) {
        struct slice rest = slice_of(file.data + at, file.len - at);
        struct batch b;

        if (batch_parse(rest, &b) != ERR_NONE ||
            !batch_crc_ok(slice_of(rest.data, b.size_bytes), &b)) {
            history_violation(l->options->history, "torn",
                              "%s: n%d opened its log with a broken batch at "
                              "%zu of %s",
                              l->name, l->node->id, at, path);
            return;
        }
        at += b.size_bytes;
    }
}

static void check_opened(const struct look *l)
{
    const struct log *log = l->partition->log;
    char has[UUID_TEXT_SIZE], wants[UUID_TEXT_SIZE];

    if (!uuid_eq(log->topic_id, l->partition->topic->id))
        history_violation(l->options->history, "foreign-log",
                          "%s: n%d opened a log of topic id %s for %s", l->name,
                          l->node->id, uuid_format(log->topic_id, has),
                          uuid_format(l->partition->topic->id, wants));
    for (uint32_t i = 0; i < log->segments_len; i++)
        check_segment(l, &log->segments[i]);
}

/* ---- promises ------------------------------------------------------------ */

static void check_synced(const struct look *l, struct promises *q)
{
    const struct log *log = l->partition->log;

    if (log->synced_offset > log->end_offset ||
        log->recovery_point > log->synced_offset)
        broken(l, "believes to have synced what it has not, up to",
               log->synced_offset);
    if (log->synced_offset > q->synced &&
        !is_on_disk(l, q, q->synced, log->synced_offset))
        broken(l, "has synced its log up to", log->synced_offset);
    q->synced = log->synced_offset;
}

/* The next start looks at nothing before the stored recovery point. */
static void check_stored(const struct look *l, struct promises *q)
{
    const struct partition *p = l->partition;
    struct disk *disk = l->node->host->disk;
    uint8_t key[20];
    char path[PATH_MAX];
    struct slice value;

    /* Every write of a store syncs. */
    if (disk_counts(disk)->syncs == q->syncs)
        return;
    q->syncs = disk_counts(disk)->syncs;
    snprintf(path, sizeof path, "%s/leat-checkpoints", p->dir->path);
    uint64_t writes = kv_disk_writes(disk, path);
    if (writes == q->stored)
        return;
    q->stored = writes;
    memcpy(key, p->topic->id.bytes, 16);
    be32_put(key + 16, (uint32_t)p->index);
    if (!kv_disk_seen(disk, path, slice_of(key, sizeof key), &value) ||
        value.len < 16)
        return;
    int64_t point = (int64_t)be64_get(value.data + 8);
    if (point > p->log->recovery_point && point <= p->log->end_offset &&
        !is_on_disk(l, q, p->log->recovery_point, point))
        broken(l, "stored as its recovery point", point);
}

static bool is_beyond_disk(const struct look *l, struct promises *q,
                           int64_t offset)
{
    const struct log *log = l->partition->log;

    return offset > log->synced_offset && offset <= log->end_offset &&
           !is_on_disk(l, q, log->synced_offset, offset);
}

/* leat.durability=fsync: what a replica says it has is on disk.  A leader
 * counts what is committed even so: others have it. */
static void check_fsync(const struct look *l, struct promises *q)
{
    const struct partition *p = l->partition;
    bool same = p->settings->fsync && q->settings == p->settings;

    if (p->role == PARTITION_FOLLOWER) {
        if (same && p->fetch_offset != q->fetch_offset &&
            is_beyond_disk(l, q, p->fetch_offset))
            broken(l, "tells its leader that it has everything below",
                   p->fetch_offset);
    } else if (p->role == PARTITION_LEADER) {
        int64_t end = p->leader->followers[p->leader->self].end_offset;
        if (same && q->own_end >= 0 && q->epoch == p->leader->epoch &&
            end > q->own_end && end > q->high_watermark &&
            is_beyond_disk(l, q, end))
            broken(l, "counts its own log up to", end);
    }
    q->own_end = p->role == PARTITION_LEADER
                     ? p->leader->followers[p->leader->self].end_offset
                     : -1;
    q->epoch = p->role == PARTITION_LEADER ? p->leader->epoch : -1;
    q->fetch_offset = p->fetch_offset;
    q->high_watermark = p->high_watermark;
    q->settings = p->settings;
}

static void outlived(const struct look *l, const char *what, int64_t offset)
{
    history_violation(l->options->history, "outlives-cut",
                      "%s: the log of n%d was cut at %lld, and it still knows "
                      "%s %lld",
                      l->name, l->node->id,
                      (long long)l->partition->log->end_offset, what,
                      (long long)offset);
}

static void check_remembered(const struct look *l)
{
    const struct partition *p = l->partition;
    const struct tail *t = &p->log->tail;
    struct producer found;

    if (t->len != 0) {
        const struct tail_entry *last =
            &t->entries[(t->first + t->len - 1) & (t->cap - 1)];

        if (last->base_offset + last->last_offset_delta >= p->log->end_offset)
            outlived(l, "the place of offset", last->base_offset);
    }
    for (int64_t at = producers_next(p->producers, 0, &found);
         at != PRODUCERS_END; at = producers_next(p->producers, at, &found))
        if (found.last_offset >= p->log->end_offset)
            outlived(l, "a producer's batch at offset", found.last_offset);
}

/* What begins at or behind the new end went with the records. */
static void check_cut(const struct look *l, struct promises *q)
{
    const struct log *log = l->partition->log;
    const struct epoch_cache *e = &log->epochs;
    bool cut = log->end_offset < q->end;

    if (cut) {
        check_moment(l->options, MOMENT_CUT, l->node);
        check_remembered(l);
    }
    if (e->len != 0 &&
        e->entries[e->len - 1].start_offset >= log->end_offset + !cut)
        history_violation(l->options->history, "epoch-beyond",
                          "%s: the log of n%d ends at %lld, and its list of "
                          "epochs with one that begins at %lld",
                          l->name, l->node->id, (long long)log->end_offset,
                          (long long)e->entries[e->len - 1].start_offset);
    q->end = log->end_offset;
}

void check_promises(const struct look *l, struct promises *q)
{
    if (q->log != l->partition->log) {
        *q = (struct promises){
            .log = l->partition->log, .base = -1, .own_end = -1};
        check_opened(l);
    }
    check_cut(l, q);
    /* It has just taken another's place (broker/replica/move.h): nothing counts
     * for synced before its name is; if that cannot be had, it is offline. */
    if (move_holds_sync(l->partition) ||
        l->partition->role == PARTITION_OFFLINE)
        return;
    check_synced(l, q);
    check_stored(l, q);
    check_fsync(l, q);
}
