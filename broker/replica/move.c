#include "broker/replica/move.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/checkpoint.h"
#include "broker/cleaner.h"
#include "broker/live.h"
#include "broker/meta.h"
#include "broker/replica/partition.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PIECE_BYTES = 1 << 20,
    PIECE_SMALL_BYTES = 256 << 10, /* read on the loop, near the end */
    CLOSE_MAX_BYTES = 16 << 20,    /* that may be lacking then */
    AGAIN_MS = 20,                 /* something is in the way of the swap */
    AGAIN_LACKING_MS = 1000,       /* room, or file descriptors */
    PAUSE_MAX_MS = 60000,
};

/* How far it is. */
enum move_stage {
    MOVE_OPENING,  /* the future log is made */
    MOVE_COPYING,  /* the bulk */
    MOVE_SYNCING,  /* has been level once: all of that goes to the disk */
    MOVE_MARKING,  /* REPLICA_NEWEST and the checkpoint go to the disk */
    MOVE_CLOSING,  /* level again and again; syncs are held */
    MOVE_NAMING,   /* swapped: the new name goes to the disk */
    MOVE_CLEARING, /* the old replica is gone: so does that */
};

struct move {
    struct env_work work;
    struct env_timer pause;
    struct partition *partition; /* NULL: given up, what runs ends it */
    struct shard *shard;
    struct env *env;
    struct log_dir *to;
    struct log_dir *from;
    char *future_path;
    char *path; /* that it gets */
    struct uuid topic_id;
    int32_t index;
    enum move_stage stage;
    bool running;    /* a helper, or a flush */
    bool holds;      /* syncs of the partition */
    bool noted;      /* that it leaves, in `from` */
    bool keep;       /* the process ends: leaves the directory */
    struct log *log; /* the future one; once swapped, the old one */
    struct log_config config;
    struct producers *producers; /* as of the future log's end */
    bool producers_stale;        /* see producers_truncated() */
    int64_t cut;                 /* the source was cut to here; INT64_MAX: no */
    int64_t first_dirty;         /* of what was read */
    struct log_range range;
    struct buf bytes;
    struct checkpoint checkpoint; /* written by MOVE_MARKING */
    struct log_flush flush;
    int64_t step_began_us;
    int64_t began_us;
    int result; /* of a helper: 0 or -errno */
    enum err error;
};

static void next_step(struct move *m);

/* ---- helpers ------------------------------------------------------------- */

static void start(struct move *m, void (*run)(struct env_work *work),
                  void (*done)(struct env_work *work))
{
    m->running = true;
    m->work = (struct env_work){.run = run, .done = done};
    env_work_start(m->env, &m->work);
}

static struct move *move_of(struct env_work *work)
{
    return LIST_ENTRY(work, struct move, work);
}

static void dispose(struct move *m);

/* ---- the end ------------------------------------------------------------- */

static void release(struct move *m)
{
    producers_free(m->producers);
    buf_free(&m->bytes);
    free(m->future_path);
    free(m->path);
    free(m);
}

static bool is_swapped(const struct move *m) { return m->stage >= MOVE_NAMING; }

static void unnote_run(struct env_work *work)
{
    struct move *m = move_of(work);

    checkpoint_note_leaving(m->from->checkpoints, &m->topic_id, m->index,
                            false);
}

static void unnote_done(struct env_work *work) { dispose(move_of(work)); }

/* Nothing of it runs. */
static void dispose(struct move *m)
{
    if (m->noted && !m->keep && !is_swapped(m) && !log_dir_failed(m->from)) {
        m->noted = false;
        start(m, unnote_run, unnote_done);
        return;
    }
    if (m->log != NULL && (m->keep || is_swapped(m)))
        log_close(m->log);
    else if (m->log != NULL)
        log_delete(m->log);
    release(m);
}

static void stop_holding(struct move *m, struct partition *p)
{
    if (!m->holds)
        return;
    m->holds = false;
    if (!p->deleted)
        partition_may_sync(p);
}

static void give_up(struct move *m)
{
    struct partition *p = m->partition;

    p->move = NULL;
    m->partition = NULL;
    atomic_fetch_sub(&m->shard->broker->moves, 1);
    stop_holding(m, p);
    cleaner_note(p);
    if (env_timer_running(&m->pause))
        env_timer_stop(m->env, &m->pause);
    if (!m->running)
        dispose(m);
}

static void fail(struct move *m, const char *why)
{
    log_error("replica",
              "The move of %s to %s is given up: %s. The replica stays where "
              "it is",
              log_path(m->partition->log), m->to->path, why);
    give_up(m);
}

/* The disk that it goes to. */
static void fail_there(struct move *m)
{
    struct meta *meta = m->shard->broker->meta;
    struct log_dir *to = m->to;

    fail(m, "the disk there returned an error");
    meta_log_dir_failed(meta, to);
}

/* False: it was given up meanwhile, and is gone. */
static bool goes_on(struct move *m)
{
    m->running = false;
    if (m->partition != NULL)
        return true;
    dispose(m);
    return false;
}

static void name_again(struct move *m);

static void on_pause(void *arg)
{
    struct move *m = arg;

    if (m->stage == MOVE_NAMING)
        name_again(m);
    else
        next_step(m);
}

/* Nothing is wrong with the disk. */
static bool passes(int result)
{
    enum err error = log_errno(result);

    return error == ERR_FULL || error == ERR_EXHAUSTED;
}

static void step_later(struct move *m, int64_t ms)
{
    env_timer_start(m->env, &m->pause, ms);
}

/* ---- a piece ------------------------------------------------------------- */

/* So that bytes and time since the step began go with the rate, which all that
 * move share. */
static int64_t pause_ms(const struct move *m, size_t bytes)
{
    const struct broker *b = m->shard->broker;
    int64_t rate =
        m->shard->live->config.replica_alter_log_dirs_bytes_per_second;
    int moves = atomic_load(&b->moves);

    if (rate == INT64_MAX)
        return 0;
    if (rate < 1)
        return PAUSE_MAX_MS;
    double due_ms = (double)bytes * 1000 * moves / (double)rate;
    double took_ms = (double)(env_now_us(m->env) - m->step_began_us) / 1000;
    if (due_ms > PAUSE_MAX_MS)
        due_ms = PAUSE_MAX_MS;
    return due_ms > took_ms ? (int64_t)(due_ms - took_ms) : 0;
}

static uint32_t piece_bytes(const struct move *m)
{
    int64_t rate =
        m->shard->live->config.replica_alter_log_dirs_bytes_per_second;

    return rate < PIECE_BYTES ? (uint32_t)rate : PIECE_BYTES;
}

static enum err check_batches(struct slice bytes)
{
    struct batch b;

    while (bytes.len != 0) {
        enum err error = batch_parse(bytes, &b);

        if (error != ERR_NONE)
            return ERR_DAMAGED;
        if (!batch_crc_ok(bytes, &b))
            return ERR_DAMAGED;
        bytes.data += b.size_bytes;
        bytes.len -= b.size_bytes;
    }
    return ERR_NONE;
}

/* Their snapshots stand at the start of segments, as at the source. */
static void take_producers(struct move *m, struct slice bytes, int64_t active,
                           int64_t now_wall_ms)
{
    struct batch b;

    while (bytes.len != 0) {
        ASSERT(batch_parse(bytes, &b) == ERR_NONE);
        if (active != log_active_base_offset(m->log) &&
            b.base_offset >= log_active_base_offset(m->log)) {
            active = log_active_base_offset(m->log);
            producers_store(m->env, m->producers, log_path(m->log), active);
        }
        producers_take(&m->producers, m->log, &b, bytes, now_wall_ms);
        bytes.data += b.size_bytes;
        bytes.len -= b.size_bytes;
    }
}

static enum err follow_cut(struct move *m)
{
    return producers_truncated(m->env, m->log, m->partition->high_watermark,
                               env_wall_ms(m->env), &m->producers,
                               &m->producers_stale);
}

/* The future log begins, perhaps anew, with the batch at `offset`. */
static enum err begin_at(struct move *m, int64_t offset)
{
    enum err error = log_truncate_fully(m->log, offset);

    /* Also with an error it begins there. */
    enum err followed = follow_cut(m);
    return error != ERR_NONE ? error : followed;
}

static enum err append(struct move *m, struct slice bytes)
{
    int64_t now_wall_ms = env_wall_ms(m->env);
    int64_t base = (int64_t)be64_get(bytes.data);
    struct log_append_info info;
    enum err error = check_batches(bytes);

    if (error == ERR_NONE &&
        (base < log_end_offset(m->log) ||
         log_start_offset(m->log) == log_end_offset(m->log)) &&
        base != log_end_offset(m->log))
        error = begin_at(m, base);
    if (error != ERR_NONE)
        return error;
    int64_t active = log_active_base_offset(m->log);
    error = log_append(m->log, bytes, now_wall_ms, &info);
    if (error == ERR_NONE)
        take_producers(m, bytes, active, now_wall_ms);
    return error;
}

/* What the source does not have any more. */
static enum err cut(struct move *m)
{
    int64_t end = m->cut;

    m->cut = INT64_MAX;
    if (end >= log_end_offset(m->log))
        return m->producers_stale ? follow_cut(m) : ERR_NONE;
    /* What was stored of it may say too much now. */
    if (m->stage > MOVE_SYNCING)
        m->stage = MOVE_SYNCING;
    if (end <= log_start_offset(m->log))
        return begin_at(m, end);
    enum err error = log_truncate(m->log, end);
    if (error != ERR_NONE) {
        m->cut = end;
        return error;
    }
    return follow_cut(m);
}

static void appended(struct move *m, enum err error, size_t bytes)
{
    if (error == ERR_FULL || error == ERR_EXHAUSTED) {
        step_later(m, AGAIN_LACKING_MS);
        return;
    }
    if (error == ERR_DAMAGED) {
        fail(m, "a batch of it is damaged");
        return;
    }
    if (error != ERR_NONE) {
        if (log_disk_failed(m->log))
            fail_there(m);
        else
            fail(m, err_text(error));
        return;
    }
    int64_t wait_ms = pause_ms(m, bytes);
    if (wait_ms > 0)
        step_later(m, wait_ms);
    else
        next_step(m);
}

static void read_run(struct env_work *work)
{
    struct move *m = move_of(work);
    int64_t n = env_file_read(m->range.file, m->bytes.data, m->range.len,
                              m->range.position);

    m->result = n == (int64_t)m->range.len ? 0 : n < 0 ? (int)n : -EIO;
}

static void take_piece(struct move *m)
{
    struct slice bytes = slice_of(m->bytes.data, m->range.len);

    /* Of another history by now; the next step cuts and reads again. */
    if (m->cut != INT64_MAX) {
        next_step(m);
        return;
    }
    appended(m, append(m, bytes), bytes.len);
}

static void read_done(struct env_work *work)
{
    struct move *m = move_of(work);

    env_file_unref(m->range.file);
    if (!goes_on(m))
        return;
    if (m->result < 0)
        fail(m, strerror(-m->result));
    else
        take_piece(m);
}

static void read_piece(struct move *m)
{
    m->bytes.len = 0;
    buf_extend(&m->bytes, m->range.len);
    m->step_began_us = env_now_us(m->env);
    if (m->stage == MOVE_CLOSING && m->range.len <= PIECE_SMALL_BYTES &&
        env_file_read_nowait(m->range.file, m->bytes.data, m->range.len,
                             m->range.position) == (int64_t)m->range.len) {
        env_file_unref(m->range.file);
        take_piece(m);
    } else {
        start(m, read_run, read_done);
    }
}

/* ---- level --------------------------------------------------------------- */

static void flush_done(struct log_flush *flush)
{
    struct move *m = flush->arg;
    int result = flush->result;

    if (!goes_on(m))
        return;
    if (result < 0) {
        if (log_disk_failed(m->log) || log_is_disk_error(result))
            fail_there(m);
        else
            step_later(m, AGAIN_LACKING_MS);
        return;
    }
    if (m->stage == MOVE_SYNCING)
        m->stage = MOVE_MARKING;
    next_step(m);
}

/* False: all of it is on disk. */
static bool flush(struct move *m)
{
    m->flush = (struct log_flush){.done = flush_done, .arg = m};
    m->running = log_flush_begin(m->log, &m->flush);
    return m->running;
}

static void mark_run(struct env_work *work)
{
    struct move *m = move_of(work);
    char *path = xasprintf("%s/" REPLICA_NEWEST, m->future_path);

    m->result = PLANTED(MOVE_LEAVES_NO_MARK)
                    ? 0
                    : env_write_all(m->env, path, SLICE("0\n"));
    if (m->result == 0)
        m->result = env_sync_dir(m->env, m->future_path);
    if (m->result == 0)
        m->result = env_sync_dir(m->env, m->to->path);
    /* Until it is there, what is known of it there counts for nothing. */
    if (m->result == 0)
        m->result = checkpoint_note_leaving(m->to->checkpoints, &m->topic_id,
                                            m->index, true);
    if (m->result == 0)
        m->result = checkpoint_write(m->to->checkpoints, &m->topic_id, m->index,
                                     &m->checkpoint);
    free(path);
    if (m->result == 0 && !PLANTED(MOVE_LEAVES_NO_MARK))
        m->noted = checkpoint_note_leaving(m->from->checkpoints, &m->topic_id,
                                           m->index, true) == 0;
}

static void mark_done(struct env_work *work)
{
    struct move *m = move_of(work);

    if (!goes_on(m))
        return;
    if (passes(m->result)) {
        step_later(m, AGAIN_LACKING_MS);
    } else if (m->result < 0) {
        fail_there(m);
    } else if (!m->noted && !PLANTED(MOVE_LEAVES_NO_MARK)) {
        step_later(m, AGAIN_LACKING_MS); /* its own writes find out why */
    } else {
        m->stage = MOVE_CLOSING;
        next_step(m);
    }
}

/* What would be stored of it if it were the replica already. */
static void mark(struct move *m)
{
    const struct partition *p = m->partition;
    int64_t point = log_recovery_point(m->log);

    m->checkpoint = (struct checkpoint){
        .high_watermark = p->high_watermark < point ? p->high_watermark : point,
        .recovery_point = point,
        .unclean_starts = m->to->unclean_starts,
        .start_offset = log_start_offset(p->log) < point
                            ? log_start_offset(p->log)
                            : log_start_offset(m->log),
    };
    start(m, mark_run, mark_done);
}

/* ---- the swap ------------------------------------------------------------ */

static void clear_run(struct env_work *work)
{
    struct move *m = move_of(work);
    struct broker *b = m->shard->broker;
    bool is_only = true;
    char *path = xasprintf("%s/" REPLICA_NEWEST, m->path);
    const char *name = strrchr(m->path, '/') + 1;

    m->result = 0;
    for (int i = 0; i < b->log_dirs_len; i++) {
        struct log_dir *dir = &b->log_dirs[i];
        char *other = xasprintf("%s/%s", dir->path, name);

        if (log_dir_failed(dir) ||
            (dir != m->to && (env_path_kind(m->env, other) != 0 ||
                              env_sync_dir(m->env, dir->path) < 0)))
            is_only = false;
        free(other);
    }
    if (is_only && env_unlink(m->env, path) == 0)
        m->result = env_sync_dir(m->env, m->path);
    free(path);
}

static void clear_done(struct env_work *work)
{
    struct move *m = move_of(work);
    struct partition *p = m->partition;

    m->running = false;
    if (p != NULL) {
        log_info("replica", "Moved %s from %s in %lld ms", m->path,
                 m->from->path,
                 (long long)(env_now_us(m->env) - m->began_us) / 1000);
        p->move = NULL;
        cleaner_note(p);
    }
    release(m);
    if (p != NULL && p->deleted)
        partition_written(p);
}

/* The new name is on disk: the old replica may go. */
static void name_done(struct env_work *work)
{
    struct move *m = move_of(work);
    struct partition *p = m->partition;
    struct log *old = m->log;

    m->running = false;
    if (p == NULL) {
        dispose(m);
        return;
    }
    if (passes(m->result)) {
        step_later(m, AGAIN_LACKING_MS);
        return;
    }
    if (m->result < 0 && p->role != PARTITION_OFFLINE)
        partition_go_offline(p);
    m->log = NULL;
    if (m->result == 0) {
        log_delete(old);
        atomic_fetch_add(&m->from->removed, 1);
        checkpoint_forget_in(p, m->from);
        if (!p->deleted)
            checkpoint_touch(p);
    } else {
        log_close(old);
    }
    m->stage = MOVE_CLEARING;
    stop_holding(m, p);
    start(m, clear_run, clear_done);
}

static void name_run(struct env_work *work)
{
    struct move *m = move_of(work);

    m->result = env_sync_dir(m->env, m->to->path);
    if (m->result < 0)
        return;
    int rc = checkpoint_note_leaving(m->to->checkpoints, &m->topic_id, m->index,
                                     false);
    /* With a full disk the note stays: only while another directory is out of
     * reach would the replica not be opened, and the next start without one
     * takes it away. */
    if (rc != -ENOSPC)
        m->result = rc;
}

static void name_again(struct move *m) { start(m, name_run, name_done); }

/* One turn of the loop: nobody sees anything between. */
static void swap(struct move *m)
{
    struct partition *p = m->partition;
    struct log *old = p->log;

    if (log_start_offset(old) > log_start_offset(m->log) &&
        log_raise_start(m->log, log_start_offset(old)) != ERR_NONE) {
        fail_there(m);
        return;
    }
    int rc = log_rename(m->log, m->path);
    if (rc < 0) {
        fail(m, strerror(-rc));
        return;
    }
    log_take_epochs(m->log, old);
    log_set_config(m->log, &p->settings->log);
    int64_t first_dirty =
        m->first_dirty < p->first_dirty ? m->first_dirty : p->first_dirty;
    cleaner_moves(p, m->to, first_dirty);
    partition_take_log(p, m->log, m->to, m->checkpoint.recovery_point);
    m->log = old;
    m->stage = MOVE_NAMING;
    atomic_fetch_sub(&m->shard->broker->moves, 1);
    start(m, name_run, name_done);
}

/* The future log has all that the log has, just now. */
static void level(struct move *m)
{
    struct partition *p = m->partition;

    switch (m->stage) {
    case MOVE_COPYING:
        m->stage = MOVE_SYNCING;
        /* fall through */
    case MOVE_SYNCING:
        if (flush(m))
            return;
        m->stage = MOVE_MARKING;
        /* fall through */
    case MOVE_MARKING:
        mark(m);
        return;
    default:
        break;
    }
    if (p->cleaning != NULL) { /* it may take long */
        step_later(m, AGAIN_MS);
        return;
    }
    m->holds = true;
    if (p->flush != NULL || log_is_flushing(m->log)) {
        step_later(m, AGAIN_MS);
    } else if (log_synced_offset(m->log) >= log_synced_offset(p->log)) {
        swap(m);
    } else if (!flush(m)) {
        fail_there(m);
    }
}

/* From `at` on the log has no batches.  It may be empty, or end in a gap. */
static enum err end_alike(struct move *m, int64_t at)
{
    const struct log *log = m->partition->log;
    int64_t end = log_end_offset(log);
    enum err error = ERR_NONE;

    if (log_end_offset(m->log) >= end)
        return log_end_offset(m->log) == end ? ERR_NONE : ERR_DAMAGED;
    if (log_start_offset(log) == end ||
        log_start_offset(m->log) == log_end_offset(m->log))
        error = begin_at(m, at);
    if (error == ERR_NONE)
        log_end_at(m->log, end);
    return error;
}

static void next_step(struct move *m)
{
    struct partition *p = m->partition;
    enum err error = cut(m);

    if (error != ERR_NONE || log_disk_failed(m->log)) {
        appended(m, error != ERR_NONE ? error : ERR_IO, 0);
        return;
    }
    /* It fell behind again: that takes too long to have syncs wait. */
    if (m->stage == MOVE_CLOSING &&
        log_size_bytes(p->log) - log_size_bytes(m->log) > CLOSE_MAX_BYTES) {
        m->stage = MOVE_COPYING;
        stop_holding(m, p);
    }
    int64_t start = log_start_offset(p->log), end = log_end_offset(p->log);
    int64_t at = log_end_offset(m->log);
    if (at < start)
        at = start;
    error = log_read(p->log, at, end, piece_bytes(m), true, &m->range);
    if (error == ERR_EXHAUSTED) {
        step_later(m, AGAIN_LACKING_MS);
        return;
    }
    if (error != ERR_NONE) {
        partition_write_failed(p);
        fail(m, err_text(error));
        return;
    }
    if (m->range.len != 0) {
        read_piece(m);
        return;
    }
    error = end_alike(m, at);
    if (error != ERR_NONE)
        appended(m, error, 0);
    else
        level(m);
}

/* ---- the beginning ------------------------------------------------------- */

static void open_run(struct env_work *work)
{
    struct move *m = move_of(work);
    struct log_open_report report;

    m->error = log_open(m->env, m->future_path, m->topic_id, &m->config, 0, 0,
                        true, 0, &m->log, &report);
    free(report.message);
}

static void open_done(struct env_work *work)
{
    struct move *m = move_of(work);

    if (!goes_on(m))
        return;
    if (m->error == ERR_FULL || m->error == ERR_EXHAUSTED) {
        fail(m, err_text(m->error));
    } else if (m->error != ERR_NONE) {
        fail_there(m);
    } else {
        m->stage = MOVE_COPYING;
        next_step(m);
    }
}

static void begin(struct partition *p, struct log_dir *to)
{
    struct move *m = xcalloc(1, sizeof *m);

    m->partition = p;
    m->shard = p->shard;
    m->env = p->shard->env;
    m->to = to;
    m->from = p->dir;
    m->path = xasprintf("%s/%s-%d", to->path, p->topic->name, p->index);
    m->future_path = log_future_path(m->env, m->path);
    m->topic_id = p->topic->id;
    m->index = p->index;
    m->config = p->settings->log;
    m->cut = INT64_MAX;
    m->first_dirty = p->first_dirty;
    m->pause = (struct env_timer){.fn = on_pause, .arg = m};
    m->began_us = env_now_us(m->env);
    p->move = m;
    /* Records that a swap takes away may have been copied before, and the
     * tombstone that goes with them would not be. */
    cleaner_leave(p);
    atomic_fetch_add(&m->shard->broker->moves, 1);
    log_info("replica", "Moving %s to %s", log_path(p->log), to->path);
    start(m, open_run, open_done);
}

enum err partition_move(struct partition *p, struct log_dir *to)
{
    if (p->role == PARTITION_OFFLINE || log_dir_failed(to))
        return ERR_KAFKA_STORAGE_ERROR;
    if (p->role == PARTITION_OPENING || p->log == NULL ||
        (p->move != NULL && is_swapped(p->move)))
        return ERR_REPLICA_NOT_AVAILABLE;
    if (p->lost_until != 0 && p->dir != to)
        return ERR_KAFKA_STORAGE_ERROR;
    p->move_waits = false;
    if (p->move != NULL && p->move->to == to)
        return ERR_NONE;
    if (p->move != NULL)
        move_leave(p);
    if (p->dir != to)
        begin(p, to);
    return ERR_NONE;
}

void partition_move_resume(struct partition *p)
{
    char name[300];

    snprintf(name, sizeof name, "%s-%d", p->topic->name, (int)p->index);
    struct log_dir *to = map_get(&p->shard->broker->futures, slice_str(name));
    p->move_waits = to != NULL && p->lost_until != 0;
    if (to != NULL && !p->move_waits)
        partition_move(p, to);
}

bool partition_moving(const struct partition *p, struct log_dir **to,
                      int64_t *size_bytes, int64_t *lag)
{
    const struct move *m = p->move;

    if (m == NULL || is_swapped(m))
        return false;
    bool open = m->stage != MOVE_OPENING;
    *to = m->to;
    *size_bytes = open ? log_size_bytes(m->log) : 0;
    *lag = log_end_offset(p->log) - (open ? log_end_offset(m->log) : 0);
    return true;
}

/* ---- what the replica tells ---------------------------------------------- */

bool move_holds_sync(const struct partition *p)
{
    return p->move != NULL && p->move->holds;
}

void move_shortened(struct partition *p)
{
    if (p->move == NULL || is_swapped(p->move))
        return;
    if (log_end_offset(p->log) < p->move->cut)
        p->move->cut = log_end_offset(p->log);
}

bool move_leave(struct partition *p)
{
    if (p->move == NULL)
        return false;
    if (is_swapped(p->move))
        return true;
    give_up(p->move);
    return false;
}

void move_closed(struct partition *p)
{
    struct move *m = p->move;

    if (m == NULL)
        return;
    m->keep = true;
    m->holds = false;
    if (is_swapped(m)) {
        p->move = NULL;
        m->partition = NULL;
        if (env_timer_running(&m->pause)) {
            env_timer_stop(m->env, &m->pause);
            dispose(m);
        }
    } else {
        give_up(m);
    }
}

void move_dir_failed(struct partition *p, const struct log_dir *dir)
{
    if (p->move != NULL && p->move->to == dir && !is_swapped(p->move))
        fail(p->move, "the log directory failed");
}
