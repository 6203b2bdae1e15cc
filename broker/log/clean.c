/* A round of cleaning, step by step (clean.h tells the whole).
 *
 * The helper reads segments by their names, while the owner goes on with the
 * log.  Before the owner changes a segment it sets `aborted`; a step that fails
 * looks there first, so that a file that has gone is no error. */
#include "broker/log/clean.h"

#include "base/log.h"
#include "base/planted.h"
#include "broker/log/clean_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what there is to do --------------------------------------------------*/

/* The first segment at or behind i that may not be cleaned. */
static uint32_t first_kept(struct log *log, uint32_t i, int64_t last_stable,
                           int64_t now_wall_ms)
{
    int64_t below =
        last_stable < log->recovery_point ? last_stable : log->recovery_point;

    for (; i + 1 < log->segments_len; i++) {
        struct segment *s = &log->segments[i];
        if (log->segments[i + 1].base_offset > below)
            break;
        if (log->config.min_compaction_lag_ms > 0 &&
            (segment_load(log, s, NULL) < 0 ||
             s->max_timestamp >
                 now_wall_ms - log->config.min_compaction_lag_ms))
            break;
    }
    return i;
}

static int64_t earliest(struct log *log, uint32_t i)
{
    int64_t since_ms = INT64_MAX;

    for (; log->config.max_compaction_lag_ms < INT64_MAX &&
           i + 1 < log->segments_len;
         i++) {
        struct segment *s = &log->segments[i];
        if (segment_load(log, s, NULL) == 0 && s->first_timestamp > 0 &&
            s->first_timestamp < since_ms)
            since_ms = s->first_timestamp;
    }
    return since_ms;
}

void log_dirt(struct log *log, int64_t first_dirty, int64_t last_stable,
              int64_t now_wall_ms, struct log_dirt *dirt)
{
    int64_t first = log->segments[0].base_offset;

    if (first_dirty < first || first_dirty > log->end_offset)
        first_dirty = first;
    *dirt = (struct log_dirt){.from = first_dirty, .since_ms = INT64_MAX};
    if (log->failed)
        return;
    uint32_t i = log_segment_of(log, first_dirty);
    uint32_t end = first_kept(log, i, last_stable, now_wall_ms);
    dirt->to = log->segments[end].base_offset;
    dirt->behind = end + 1 < log->segments_len;
    dirt->since_ms = earliest(log, i);
    for (uint32_t k = 0; k < i; k++)
        dirt->clean_bytes += log->segments[k].size_bytes;
    for (uint32_t k = i; k < end; k++)
        dirt->dirty_bytes += log->segments[k].size_bytes;
}

double log_dirt_ratio(const struct log_dirt *dirt)
{
    int64_t all = dirt->clean_bytes + dirt->dirty_bytes;

    return all == 0 ? 0 : (double)dirt->dirty_bytes / (double)all;
}

bool log_dirt_is_due(const struct log *log, const struct log_dirt *dirt,
                     int64_t now_wall_ms)
{
    int64_t lag_ms = log->config.max_compaction_lag_ms;

    if (dirt->dirty_bytes == 0)
        return false;
    return log_dirt_ratio(dirt) > log->config.min_cleanable_ratio ||
           (dirt->since_ms != INT64_MAX &&
            dirt->since_ms < now_wall_ms - lag_ms);
}

/* ---- beginning and ending -------------------------------------------------*/

char *clean_path(const struct log_clean *c, int64_t base_offset,
                 const char *suffix, char text[static PATH_MAX])
{
    int n = snprintf(text, PATH_MAX, "%s/%020lld%s", c->path,
                     (long long)base_offset, suffix);
    (void)n;
    return text;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const struct clean_producer *)a)->id;
    int64_t y = ((const struct clean_producer *)b)->id;

    return x < y ? -1 : x > y;
}

static void take_producers(struct log_clean *c,
                           const struct log_clean_options *options)
{
    size_t len = options->producers_len;

    c->producers = xcalloc(len + 1, sizeof *c->producers);
    c->producers_len = len;
    if (len == 0)
        return;
    memcpy(c->producers, options->producers, len * sizeof *c->producers);
    qsort(c->producers, len, sizeof *c->producers, by_id);
}

static void take_sources(struct log_clean *c, const struct log *log, int64_t to)
{
    c->sources = xcalloc(log->segments_len, sizeof *c->sources);
    for (uint32_t i = 0; log->segments[i].base_offset < to; i++) {
        const struct segment *s = &log->segments[i];
        c->sources[c->sources_len++] = (struct clean_source){
            .base_offset = s->base_offset,
            .end_offset = log->segments[i + 1].base_offset,
            .size_bytes = s->size_bytes,
            .created_ms = s->created_ms,
            .aborted_len = s->aborted.stored,
        };
    }
}

static bool was_aborted(const struct log *log)
{
    for (uint32_t i = 0; i < log->segments_len; i++)
        if (log->segments[i].aborted.last_offset >= 0)
            return true;
    return false;
}

/* Markers may lie in segments behind; those in the sources are read from their
 * files, which are complete below the recovery point. */
static void take_aborted(struct log_clean *c, struct log *log, int64_t to)
{
    clean_txns_init(&c->txns);
    if (!was_aborted(log))
        return;
    c->learned =
        aborted_below(log, log_segment_of(log, to), to, &c->txns.aborted);
    for (uint32_t i = 0; i < c->sources_len; i++)
        if (log->segments[i].aborted.unwritten.len != 0)
            c->learned = -EAGAIN; /* a write has failed; later */
}

/* Each takes an offset. */
static uint64_t keys_max(const struct log_dirt *dirt)
{
    return (uint64_t)(dirt->to - dirt->from);
}

struct log_clean *log_clean_begin(struct log *log, const struct log_dirt *dirt,
                                  const struct log_clean_options *options)
{
    struct log_clean *c = xcalloc(1, sizeof *c);
    struct siphash_key key = {env_random(log->env), env_random(log->env)};

    ASSERT(log->clean == NULL && dirt->dirty_bytes > 0);
    c->log = log;
    c->env = log->env;
    c->path = xstrdup(log->path);
    c->config = log->config;
    c->io_bytes = options->io_bytes != 0 ? options->io_bytes : 1;
    c->from = dirt->from;
    c->to = dirt->to;
    c->last_epoch = -1;
    c->why = "";
    atomic_init(&c->aborted, false);
    take_producers(c, options);
    take_sources(c, log, dirt->to);
    take_aborted(c, log, dirt->to);
    c->map_bytes = options->map_bytes;
    c->map_load_factor = options->map_load_factor;
    c->keys_max = keys_max(dirt);
    c->map.key = key;
    clean_filter_init(&c->filter);
    c->filter.map = &c->map;
    c->filter.map_end = dirt->to;
    c->filter.now_ms = options->now_wall_ms;
    c->filter.delete_retention_ms = log->config.delete_retention_ms;
    c->filter.codec = codec_new();
    c->filter.limit_bytes = CODEC_LIMIT_BYTES;
    c->shadow = (struct log){.env = log->env, .config = log->config};
    log->clean = c;
    return c;
}

void log_clean_abort(struct log_clean *c)
{
    atomic_store_explicit(&c->aborted, true, memory_order_release);
}

static bool is_aborted(const struct log_clean *c)
{
    return atomic_load_explicit(&c->aborted, memory_order_acquire);
}

void log_clean_cut(struct log *log, int64_t end_offset)
{
    struct log_clean *c = log->clean;

    if (c != NULL && end_offset < c->to)
        log_clean_abort(c);
}

void log_clean_leave(struct log *log)
{
    if (log->clean == NULL)
        return;
    log_clean_abort(log->clean);
    log->clean->log = NULL;
    log->clean = NULL;
}

size_t log_clean_step_bytes(const struct log_clean *c) { return c->step_bytes; }

enum err log_clean_error(const struct log_clean *c, const char **why)
{
    *why = c->why;
    return c->error;
}

void log_clean_end(struct log_clean *c, struct log_clean_result *result)
{
    ASSERT(c->phase == CLEAN_OVER && c->source == NULL && c->target == NULL);
    if (c->log != NULL)
        c->log->clean = NULL;
    *result = c->result;
    /* It was cut behind the last step. */
    if (is_aborted(c))
        result->first_dirty = -1;
    codec_free(c->filter.codec);
    clean_filter_free(&c->filter);
    clean_txns_free(&c->txns);
    buf_free(&c->out);
    buf_free(&c->aborted_left);
    free(c->producers);
    free(c->sources);
    free(c->path);
    free(c);
}

/* ---- reading --------------------------------------------------------------*/

static void close_source(struct log_clean *c)
{
    if (c->source == NULL)
        return;
    walk_free(&c->walk);
    env_file_unref(c->source);
    c->source = NULL;
}

static int open_source(struct log_clean *c)
{
    const struct clean_source *s = &c->sources[c->at];
    char path[PATH_MAX];
    int rc = env_file_open(c->env, clean_path(c, s->base_offset, ".log", path),
                           ENV_READ, &c->source);

    if (rc < 0) {
        c->source = NULL;
        return rc;
    }
    int64_t changed_ms = env_file_changed_ms(c->source);
    if (changed_ms > c->changed_ms)
        c->changed_ms = changed_ms;
    walk_init(&c->walk, c->source, 0, s->size_bytes);
    c->floor = s->base_offset;
    return 0;
}

/* A base offset is not covered by the CRC. */
static bool is_misplaced(const struct log_clean *c)
{
    const struct clean_source *s = &c->sources[c->at];
    const struct batch *b = &c->walk.batch;

    return b->base_offset < c->floor || batch_last_offset(b) >= s->end_offset ||
           batch_last_offset(b) - s->base_offset > INT32_MAX;
}

/* Says where; unless the owner has changed the file meanwhile. */
static int damaged(struct log_clean *c, const char *why)
{
    if (!is_aborted(c))
        log_warn("log",
                 "%s/%020lld.log is damaged at position %lld: %s; it cannot be "
                 "cleaned",
                 c->path, (long long)c->sources[c->at].base_offset,
                 (long long)c->walk.position, why);
    c->why = why;
    return -EBADMSG;
}

/* The next batch of the segment with its bytes; false at the segment's end and
 * on an error, *rc then. */
static bool next_batch(struct log_clean *c, struct slice *bytes, int *rc)
{
    enum walk_result result = walk_next(&c->walk);

    *rc = 0;
    if (result == WALK_BATCH && is_misplaced(c)) {
        c->walk.why = "a batch's offsets do not belong there";
        result = WALK_BAD;
    }
    if (result == WALK_BATCH)
        result = walk_body(&c->walk, bytes);
    if (result == WALK_BATCH && !batch_crc_ok(*bytes, &c->walk.batch)) {
        c->walk.why = "a batch's CRC is wrong";
        result = WALK_BAD;
    }
    if (result == WALK_BAD)
        *rc = damaged(c, c->walk.why);
    else if (result == WALK_IO)
        *rc = c->walk.error;
    if (result == WALK_BATCH) {
        c->floor = batch_last_offset(&c->walk.batch) + 1;
        c->step_bytes += c->walk.batch.size_bytes;
    }
    return result == WALK_BATCH;
}

static bool step_is_full(const struct log_clean *c)
{
    return c->step_bytes >= c->io_bytes || is_aborted(c);
}

/* ---- what was aborted -----------------------------------------------------*/

static const char bad_aborted[] = "an index of aborted transactions is damaged";

static int load_aborted(struct log_clean *c, const struct clean_source *s)
{
    char path[PATH_MAX];
    size_t before = c->txns.aborted.len;
    int rc =
        aborted_load(c->env, clean_path(c, s->base_offset, ".txnindex", path),
                     &c->txns.aborted);

    if (rc == -EBADMSG)
        c->why = bad_aborted;
    c->step_bytes += c->txns.aborted.len - before;
    return rc;
}

static int step_learn(struct log_clean *c)
{
    int rc = c->learned;

    if (rc == -EBADMSG)
        c->why = bad_aborted;
    while (rc == 0 && !step_is_full(c) && c->at < c->sources_len) {
        const struct clean_source *s = &c->sources[c->at++];
        if (s->aborted_len != 0)
            rc = load_aborted(c, s);
    }
    if (rc < 0 || c->at < c->sources_len)
        return rc;
    clean_txns_sort(&c->txns);
    c->at = 0;
    while (c->at + 1 < c->sources_len &&
           c->sources[c->at].end_offset <= c->from)
        c->at++;
    c->phase = CLEAN_MAP;
    return 0;
}

/* ---- map ------------------------------------------------------------------*/

static void end_map(struct log_clean *c)
{
    close_source(c);
    c->at = 0;
    c->last_epoch = -1;
    c->changed_ms = 0;
    c->phase = CLEAN_COPY;
    while (c->sources_len > 1 &&
           c->sources[c->sources_len - 1].base_offset >= c->filter.map_end)
        c->sources_len--;
}

static int map_batch(struct log_clean *c, struct slice bytes, bool *full)
{
    const struct batch *b = &c->walk.batch;

    *full = false;
    if (batch_last_offset(b) < c->from ||
        (b->attributes & BATCH_CONTROL) != 0 ||
        (clean_txns_aborted(&c->txns, b) && !PLANTED(CLEANER_KEEPS_ABORTED)))
        return 0;
    enum err err =
        clean_index_batch(&c->filter, &c->map, bytes, b, c->from, full);
    if (err != ERR_NONE)
        return damaged(c, err_text(err));
    if (!*full)
        return 0;
    if (b->base_offset <= c->from) {
        c->why = "one batch has more keys than log.cleaner.dedupe.buffer.size "
                 "has room for";
        return -EOVERFLOW;
    }
    c->filter.map_end = b->base_offset;
    return 0;
}

/* Here, as a large map takes a while to fill with nothing. */
static void begin_map(struct log_clean *c)
{
    clean_map_init(&c->map, c->map_bytes, c->keys_max, c->map_load_factor,
                   c->map.key);
    c->result.map_bytes = c->map.slots_len * CLEAN_MAP_SLOT_BYTES;
}

static int step_map(struct log_clean *c)
{
    struct slice bytes;
    bool full = false;

    if (c->map.slots == NULL)
        begin_map(c);
    int rc = c->source == NULL ? open_source(c) : 0;

    while (rc == 0 && !full && !step_is_full(c) && next_batch(c, &bytes, &rc))
        rc = map_batch(c, bytes, &full);
    if (rc < 0 || (!full && step_is_full(c)))
        return rc;
    close_source(c);
    if (full || ++c->at == c->sources_len)
        end_map(c);
    return 0;
}

/* ---- copy -----------------------------------------------------------------*/

static const char *const kinds[] = {".timeindex", ".index", ".txnindex",
                                    ".log"};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void unlink_cleaned(struct log_clean *c, int64_t base_offset)
{
    char path[PATH_MAX], suffix[32];

    for (int i = 0; i < KINDS; i++) {
        snprintf(suffix, sizeof suffix, "%s.cleaned", kinds[i]);
        env_unlink(c->env, clean_path(c, base_offset, suffix, path));
    }
}

void clean_drop_group(struct log_clean *c)
{
    if (c->target == NULL)
        return;
    env_file_unref(c->target);
    c->target = NULL;
    segment_free(&c->fresh);
    unlink_cleaned(c, c->sources[c->group_first].base_offset);
}

/* What the indexes of so many bytes can hold at most. */
static bool indexes_fit(const struct log_clean *c, int64_t bytes)
{
    int64_t between = c->config.index_interval_bytes > BATCH_HEADER_BYTES
                          ? c->config.index_interval_bytes
                          : BATCH_HEADER_BYTES;

    return (bytes / between + 2) * INDEX_TIMES_ENTRY_BYTES <=
           c->config.segment_index_bytes;
}

static bool has_txn_index(const struct log_clean *c, uint32_t i)
{
    return c->sources[i].aborted_len != 0;
}

/* Neighbours that are together no larger than a segment may be; not those with
 * an index of aborted transactions, which stays under its segment's name. */
static void choose_group(struct log_clean *c)
{
    uint32_t i = c->at;
    int64_t bytes = c->sources[i].size_bytes;

    c->group_first = c->group_last = i;
    for (i++; i < c->sources_len; i++) {
        const struct clean_source *s = &c->sources[i];
        bytes += s->size_bytes;
        if (bytes > c->config.segment_bytes || bytes > SEGMENT_SIZE_MAX ||
            s->end_offset - 1 - c->sources[c->group_first].base_offset >
                INT32_MAX ||
            !indexes_fit(c, bytes) || has_txn_index(c, i))
            break;
        if (s->size_bytes != 0)
            c->group_last = i;
    }
    c->group_end = i;
}

static int begin_group(struct log_clean *c)
{
    char path[PATH_MAX];

    choose_group(c);
    int64_t base = c->sources[c->group_first].base_offset;
    unlink_cleaned(c, base);
    int rc = env_file_open(c->env, clean_path(c, base, ".log.cleaned", path),
                           ENV_CREATE | ENV_EXCLUSIVE, &c->target);
    if (rc < 0) {
        c->target = NULL;
        return rc;
    }
    segment_init(&c->fresh, base);
    c->fresh.stored = c->fresh.loaded = true;
    c->fresh.created_ms = c->sources[c->group_first].created_ms;
    c->out.len = 0;
    c->changed_ms = 0;
    c->changed = c->group_end - c->group_first > 1;
    return 0;
}

static int write_indexes(struct log_clean *c)
{
    char path[PATH_MAX];
    int64_t base = c->fresh.base_offset;
    int rc = index_write(&c->fresh.times, c->env,
                         clean_path(c, base, ".timeindex.cleaned", path));

    if (rc == 0)
        rc = index_write(&c->fresh.offsets, c->env,
                         clean_path(c, base, ".index.cleaned", path));
    return rc;
}

static int write_out(struct log_clean *c)
{
    struct slice part = buf_slice(&c->out);
    int rc = 0;

    if (part.len != 0)
        rc = env_file_write(c->target, &part, 1,
                            (int64_t)c->fresh.size_bytes - (int64_t)part.len);
    if (rc < 0)
        return rc;
    c->step_bytes += part.len;
    c->out.len = 0;
    return index_wants_write(&c->fresh.offsets) ||
                   index_wants_write(&c->fresh.times)
               ? write_indexes(c)
               : 0;
}

static bool is_producers_last(const struct log_clean *c, const struct batch *b)
{
    struct clean_producer key = {.id = b->producer_id};
    const struct clean_producer *p =
        b->producer_id < 0 || c->producers_len == 0
            ? NULL
            : bsearch(&key, c->producers, c->producers_len, sizeof key, by_id);

    if (p == NULL)
        return false;
    if (p->last_offset >= 0)
        return batch_last_offset(b) == p->last_offset;
    return (b->attributes & BATCH_CONTROL) != 0 &&
           b->producer_epoch == p->epoch;
}

/* See clean.h, "what never changes". */
static bool keeps_header(const struct log_clean *c, const struct batch *b)
{
    return (c->at == c->group_last && c->walk.next_position == c->walk.end) ||
           b->leader_epoch != c->last_epoch || is_producers_last(c, b);
}

static int copy_batch(struct log_clean *c, struct slice bytes)
{
    const struct batch *b = &c->walk.batch;
    size_t before = c->out.len;
    enum clean_kept kept;
    struct batch left;

    enum clean_fate fate = clean_txns_fate(&c->txns, bytes, b);
    enum err err = clean_batch(&c->filter, bytes, b, fate, keeps_header(c, b),
                               &c->out, &kept);
    if (err != ERR_NONE)
        return damaged(c, err_text(err));
    c->last_epoch = b->leader_epoch;
    c->result.read_bytes += b->size_bytes;
    c->changed |= kept != CLEAN_ALL;
    if (kept == CLEAN_NOTHING)
        return 0;
    err =
        batch_parse(slice_of(c->out.data + before, c->out.len - before), &left);
    ASSERT(err == ERR_NONE);
    if (left.size_bytes > SEGMENT_SIZE_MAX - c->fresh.size_bytes) {
        c->why = "a segment would grow beyond 2 GiB";
        return -EOVERFLOW;
    }
    segment_note_batch(&c->shadow, &c->fresh, &left, c->fresh.size_bytes);
    c->fresh.size_bytes += left.size_bytes;
    c->result.kept_bytes += left.size_bytes;
    return c->out.len >= c->io_bytes ? write_out(c) : 0;
}

static void next_group(struct log_clean *c)
{
    c->at = c->group_end;
    c->phase = c->at < c->sources_len ? CLEAN_COPY : CLEAN_SYNC_DIR;
}

/* Only its first segment has entries, see choose_group(). */
static void end_aborted(struct log_clean *c)
{
    uint32_t before = c->sources[c->group_first].aborted_len;

    buf_free(&c->aborted_left);
    clean_txns_take(&c->txns, &c->aborted_left);
    c->new_aborted = c->aborted_left.len != before * sizeof(struct log_aborted);
    c->changed |= c->new_aborted;
}

static int write_aborted(struct log_clean *c)
{
    char path[PATH_MAX];

    if (!c->new_aborted || c->aborted_left.len == 0)
        return 0;
    return aborted_save(
        c->env, clean_path(c, c->fresh.base_offset, ".txnindex.cleaned", path),
        buf_slice(&c->aborted_left));
}

/* One segment of which everything stays is left alone. */
static int end_group(struct log_clean *c)
{
    end_aborted(c);
    if (!c->changed) {
        clean_drop_group(c);
        next_group(c);
        return 0;
    }
    int rc = write_out(c);
    segment_end_times(&c->fresh);
    if (rc == 0)
        rc = write_indexes(c);
    if (rc == 0)
        rc = write_aborted(c);
    /* As old as what it stands for: files that were changed while no broker ran
     * are known by their time (recovery.c). */
    if (rc == 0 && c->changed_ms > 0)
        rc = env_file_set_changed_ms(c->target, c->changed_ms);
    c->phase = CLEAN_SYNC_LOG;
    return rc;
}

static int step_copy(struct log_clean *c)
{
    struct slice bytes;
    int rc = c->target == NULL ? begin_group(c) : 0;

    if (rc == 0 && c->source == NULL)
        rc = open_source(c);
    while (rc == 0 && !step_is_full(c) && next_batch(c, &bytes, &rc))
        rc = copy_batch(c, bytes);
    if (rc < 0 || step_is_full(c))
        return rc;
    close_source(c);
    return ++c->at == c->group_end ? end_group(c) : 0;
}

/* ---- sync -----------------------------------------------------------------*/

static int sync_index(struct log_clean *c, const char *suffix)
{
    char path[PATH_MAX];
    struct env_file *file;
    int rc = env_file_open(
        c->env, clean_path(c, c->fresh.base_offset, suffix, path), 0, &file);

    if (rc < 0)
        return rc;
    rc = env_file_sync(file);
    env_file_unref(file);
    return rc;
}

static int step_phase(struct log_clean *c)
{
    int rc = 0;

    switch (c->phase) {
    case CLEAN_LEARN:
        return step_learn(c);
    case CLEAN_MAP:
        return step_map(c);
    case CLEAN_COPY:
        return step_copy(c);
    case CLEAN_SYNC_LOG:
        rc = PLANTED(CLEANER_SWAPS_UNSYNCED) ? 0 : env_file_sync(c->target);
        c->phase = CLEAN_SYNC_TIMES;
        return rc;
    case CLEAN_SYNC_TIMES:
        rc = sync_index(c, ".timeindex.cleaned");
        c->phase = CLEAN_SYNC_OFFSETS;
        return rc;
    case CLEAN_SYNC_OFFSETS:
        rc = sync_index(c, ".index.cleaned");
        c->phase = CLEAN_SYNC_ABORTED;
        return rc;
    case CLEAN_SYNC_ABORTED:
        if (c->new_aborted && c->aborted_left.len != 0)
            rc = sync_index(c, ".txnindex.cleaned");
        c->phase = CLEAN_SWAPPING;
        return rc;
    case CLEAN_SWAPPING: /* it was swapped in */
        next_group(c);
        return 0;
    case CLEAN_SYNC_DIR:
        rc = env_sync_dir(c->env, c->path);
        c->phase = CLEAN_OVER;
        return rc;
    case CLEAN_OVER:
        break;
    }
    ASSERT(false);
    return 0;
}

/* ---- steps ----------------------------------------------------------------*/

static enum log_clean_next give_up(struct log_clean *c, int rc)
{
    close_source(c);
    clean_drop_group(c);
    clean_map_free(&c->map);
    c->phase = CLEAN_OVER;
    if (is_aborted(c))
        return LOG_CLEAN_ABORTED;
    c->error = rc == -EOVERFLOW ? ERR_TOO_LARGE : log_errno(rc);
    if (c->error != ERR_DAMAGED && c->error != ERR_TOO_LARGE)
        c->why = strerror(-rc);
    return LOG_CLEAN_FAILED;
}

enum log_clean_next log_clean_step(struct log_clean *c)
{
    c->step_bytes = 0;
    int rc = is_aborted(c) ? -ECANCELED : step_phase(c);
    if (rc < 0 || is_aborted(c))
        return give_up(c, rc);
    if (c->phase == CLEAN_SWAPPING)
        return LOG_CLEAN_SWAP;
    if (c->phase != CLEAN_OVER)
        return LOG_CLEAN_STEP;
    clean_map_free(&c->map);
    c->result.first_dirty = c->filter.map_end;
    return LOG_CLEAN_DONE;
}
