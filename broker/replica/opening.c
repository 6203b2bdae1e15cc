/* A replica is opened: where it is, what its log and its checkpoint say, and
 * what becomes of it if that does not do, or if it is to go before that.
 *
 * With several log directories a replica is where its files are, or where a
 * checkpoint knows it, as one that was never written to has no files.  A new
 * one goes to the directory with the fewest.  While a directory is offline
 * nothing is taken for new that might be in there, and before anything new is
 * made, what was deleted in other directories is gone for good. */
#include "broker/replica/partition.h"

#include "base/alloc.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/checkpoint.h"
#include "broker/cleaner.h"
#include "broker/meta.h"
#include "broker/replica/move.h"

#include <errno.h>
#include <stdlib.h>

enum { OPEN_AGAIN_MS = 100, OPEN_AGAIN_LACKING_MS = 1000 };

/* What a helper needs to open a log, and what comes of it. */
struct partition_open {
    struct env_work work;
    struct partition *partition;
    struct env *env;
    struct broker *broker;
    struct log_dir *dir; /* for a replica that is not there yet; then its own */
    char *name;
    char *path; /* NULL: not found yet */
    struct uuid topic_id;
    int32_t index;
    struct log_config config;
    int64_t wall_ms;
    bool settled;   /* shard.settled when it began */
    bool early;     /* p->early */
    bool made_anew; /* though a directory is offline, or not synced */
    bool clean;     /* the last stop was, for this log, too */
    bool known;     /* there is a checkpoint */
    bool doubted;   /* the log was read, and a batch of it is damaged */
    struct log *log;
    struct producers *producers;
    struct checkpoint checkpoint;
    struct log_open_report report;
    enum err error;
};

/* The directory with the fewest replicas, for a new one. */
static struct log_dir *emptiest_dir(struct broker *b)
{
    struct log_dir *best = NULL;

    for (int i = 0; i < b->log_dirs_len; i++) {
        struct log_dir *dir = &b->log_dirs[i];

        if (!log_dir_failed(dir) &&
            (best == NULL ||
             atomic_load(&dir->replicas) < atomic_load(&best->replicas)))
            best = dir;
    }
    return best != NULL ? best : &b->log_dirs[0]; /* the node is about to end */
}

void partition_set_dir(struct partition *p, struct log_dir *dir)
{
    if (p->dir != NULL)
        atomic_fetch_sub(&p->dir->replicas, 1);
    p->dir = dir;
    atomic_fetch_add(&dir->replicas, 1);
}

void partition_choose_dir(struct partition *p)
{
    struct log_dir *wanted =
        shard_wanted_dir(p->shard, &p->topic->id, p->index);

    partition_set_dir(p, wanted != NULL && !log_dir_failed(wanted)
                             ? wanted
                             : emptiest_dir(p->shard->broker));
}

static char *path_in(const struct partition_open *o, const struct log_dir *dir)
{
    return xasprintf("%s/%s", dir->path, o->name);
}

static bool is_in(const struct partition_open *o, const struct log_dir *dir)
{
    char *path = path_in(o, dir);
    bool there = env_path_kind(o->env, path) == 2;

    free(path);
    return there;
}

static bool is_leaving(const struct partition_open *o,
                       const struct log_dir *dir)
{
    return checkpoint_is_leaving(dir->checkpoints, &o->topic_id, o->index);
}

static char *mark_in(const struct partition_open *o, const struct log_dir *dir)
{
    return xasprintf("%s/%s/" REPLICA_NEWEST, dir->path, o->name);
}

static bool is_marked(const struct partition_open *o, const struct log_dir *dir)
{
    char *path = mark_in(o, dir);
    bool marked = env_path_kind(o->env, path) == 1;

    free(path);
    return marked;
}

/* An older replica of that name, or another topic's. */
static void put_away(const struct partition_open *o, struct log_dir *dir)
{
    char *path = path_in(o, dir);
    char *aside = log_doomed_path(o->env, path);

    log_info("log",
             "%s is older than the replica in another directory, or a deleted "
             "topic's; setting it aside until the next start",
             path);
    if (env_rename(o->env, path, aside) == 0)
        atomic_fetch_add(&dir->removed, 1);
    /* Or, with the other directory out of reach, it would seem to be here and
     * empty, see is_known_in(). */
    checkpoint_drop(dir->checkpoints, &o->topic_id, o->index);
    free(aside);
    free(path);
}

/* Nothing that was taken away there comes back after a power loss. */
static int settle_removals(struct env *env, struct log_dir *dir)
{
    uint64_t removed = atomic_load(&dir->removed) + 1;
    uint64_t synced = atomic_load(&dir->removed_synced);

    if (synced >= removed)
        return 0;
    int rc = env_sync_dir(env, dir->path);
    while (rc == 0 && synced < removed)
        if (atomic_compare_exchange_weak(&dir->removed_synced, &synced,
                                         removed))
            break;
    return rc;
}

static void unmark(const struct partition_open *o, const struct log_dir *dir)
{
    char *mark = mark_in(o, dir);
    char *path = path_in(o, dir);

    if (env_unlink(o->env, mark) == 0)
        env_sync_dir(o->env, path);
    free(path);
    free(mark);
}

/* Whether what a directory has of the replica counts: if it is leaving, a
 * directory that is offline may have what is newer. */
static bool may_count(const struct partition_open *o, const struct log_dir *dir,
                      bool all_there)
{
    return !log_dir_failed(dir) && (all_there || !is_leaving(o, dir));
}

/* Whether it says that it is of another topic: then it is left from one that
 * was deleted, or we are the ones who are behind, see open_run(). */
static bool is_foreign(struct partition_open *o, const struct log_dir *dir)
{
    char *path = path_in(o, dir);
    struct uuid id;
    int rc = log_dir_topic(o->env, path, &id);

    free(path);
    if (log_errno(rc < 0 ? rc : 0) == ERR_EXHAUSTED)
        o->error = ERR_EXHAUSTED;
    return rc > 0 && !uuid_eq(id, o->topic_id);
}

/* What has that name elsewhere. */
static void put_others_away(struct partition_open *o,
                            const struct log_dir *marked, bool all_there)
{
    struct broker *b = o->broker;
    bool is_only = all_there;

    for (int i = 0; i < b->log_dirs_len; i++) {
        struct log_dir *dir = &b->log_dirs[i];

        if (dir == marked || log_dir_failed(dir))
            continue;
        if (is_in(o, dir) &&
            (o->settled || (!is_foreign(o, dir) && o->error == ERR_NONE)))
            put_away(o, dir);
        is_only =
            is_only && !is_in(o, dir) && settle_removals(o->env, dir) == 0;
    }
    if (is_only)
        unmark(o, marked);
}

/* Of several the one that is marked, and of those the one that is not leaving
 * (move.h).  The mark goes when surely no other is left.  *foreign: the first
 * that is of another topic. */
static struct log_dir *find_files(struct partition_open *o, bool all_there,
                                  struct log_dir **foreign)
{
    struct broker *b = o->broker;
    struct log_dir *first = NULL, *marked = NULL;

    for (int i = 0; i < b->log_dirs_len; i++) {
        struct log_dir *dir = &b->log_dirs[i];

        if (!may_count(o, dir, all_there) || !is_in(o, dir))
            continue;
        if (is_foreign(o, dir)) {
            if (*foreign == NULL)
                *foreign = dir;
            continue;
        }
        if (first == NULL)
            first = dir;
        if (is_marked(o, dir) && (marked == NULL || is_leaving(o, marked)))
            marked = dir;
    }
    if (o->error != ERR_NONE)
        return NULL;
    if (marked != NULL)
        put_others_away(o, marked, all_there);
    else if (first != NULL && *foreign != NULL && o->settled)
        put_away(o, *foreign);
    return marked != NULL ? marked : first;
}

/* Nothing was ever written to the replica, so it has no files, but a
 * checkpoint. */
static bool is_known_in(const struct partition_open *o,
                        const struct log_dir *dir)
{
    struct checkpoint c;

    return checkpoint_read(dir->checkpoints, &o->topic_id, o->index, &c);
}

/* Where the replica is already, else where it shall be.  False if it may be in
 * a directory that failed: only what was assigned after this process had
 * registered is surely not. */
static bool find_dir(struct partition_open *o)
{
    struct broker *b = o->broker;
    struct log_dir *foreign = NULL;
    bool all_there = true;

    if (b->log_dirs_len == 1)
        return true;
    for (int i = 0; i < b->log_dirs_len; i++)
        all_there = all_there && !log_dir_failed(&b->log_dirs[i]);
    struct log_dir *found = find_files(o, all_there, &foreign);
    if (o->error != ERR_NONE)
        return false;
    if (found != NULL) {
        o->dir = found;
        return true;
    }
    o->made_anew = !all_there;
    for (int i = 0; i < b->log_dirs_len; i++)
        if (may_count(o, &b->log_dirs[i], all_there) &&
            is_known_in(o, &b->log_dirs[i])) {
            o->dir = &b->log_dirs[i];
            return true;
        }
    if (foreign != NULL)
        o->dir = foreign;
    return all_there || !o->early || PLANTED(DIRS_OPEN_ANEW);
}

/* The replica is made anew here, and may have been in another directory before.
 * One that cannot be synced just now finds out by its own writes, or passes. */
static enum err settle_others(struct partition_open *o)
{
    struct broker *b = o->broker;

    for (int i = 0; i < b->log_dirs_len; i++) {
        struct log_dir *dir = &b->log_dirs[i];
        int rc = dir == o->dir || log_dir_failed(dir)
                     ? 0
                     : settle_removals(o->env, dir);

        if (log_is_disk_error(rc))
            o->made_anew = true;
        else if (rc < 0)
            return log_errno(rc);
    }
    return ERR_NONE;
}

/* A directory of a deleted topic that had the same name; if its replica were
 * still here, we would not have the place. */
static void set_aside(struct partition_open *o)
{
    char *aside = log_doomed_path(o->env, o->path);

    log_info("log", "Setting it aside as %s until the next start: %s", aside,
             o->report.message);
    env_rename(o->env, o->path, aside);
    free(aside);
}

/* What is remembered is of a replica that was here before, went elsewhere and
 * took its files along.  Nothing of this one is on disk, and nothing may say so
 * after a power loss. */
static bool forget_earlier(struct partition_open *o)
{
    int error = checkpoint_drop(o->dir->checkpoints, &o->topic_id, o->index);

    o->checkpoint = (struct checkpoint){0};
    o->known = false;
    if (error < 0)
        o->error = log_errno(error);
    return error == 0;
}

static bool says_something(const struct checkpoint *c)
{
    return c->high_watermark != 0 || c->recovery_point != 0 ||
           c->start_offset != 0;
}

/* When the directory that is offline is there again, whatever it has of that
 * name is older. */
static enum err mark_newest(const struct partition_open *o)
{
    char *path = mark_in(o, o->dir);
    int rc = env_write_all(o->env, path, SLICE("0\n"));

    if (rc == 0)
        rc = env_sync_dir(o->env, o->dir->path);
    free(path);
    return log_errno(rc);
}

/* What is stored counts behind the next crash, too: before anything is appended
 * it is no more than what the opening has left.  And of a log that nothing is
 * known of, but that was here and is taken for whole, its end is remembered: a
 * crash would seem to have made gaps that compaction left (log/recovery.c).  So
 * would what a crash takes from a new log seem to be compaction's where such a
 * store was lost. */
static enum err store_opened(struct partition_open *o)
{
    struct checkpoint *c = &o->checkpoint;
    int64_t end = log_end_offset(o->log);
    bool is_first = !o->known && (o->dir->checkpoints_lost ||
                                  (o->clean && log_size_bytes(o->log) > 0));

    bool above = c->high_watermark > end || c->first_dirty > end;

    if (!is_first && !above && c->recovery_point <= log_recovery_point(o->log))
        return ERR_NONE;
    enum err error =
        log_recovery_point(o->log) < end ? log_flush_now(o->log) : ERR_NONE;
    if (error != ERR_NONE || (!is_first && !above &&
                              c->recovery_point <= log_recovery_point(o->log)))
        return error;
    c->recovery_point = log_recovery_point(o->log);
    c->unchanged_ms = 0;
    if (is_first) {
        c->start_offset = log_start_offset(o->log);
        c->unclean_starts = o->dir->unclean_starts;
    }
    if (c->high_watermark > end)
        c->high_watermark = end;
    if (c->first_dirty > end)
        c->first_dirty = end;
    return log_errno(
        checkpoint_write(o->dir->checkpoints, &o->topic_id, o->index, c));
}

static void read_checkpoint(struct partition_open *o)
{
    o->known = checkpoint_read(o->dir->checkpoints, &o->topic_id, o->index,
                               &o->checkpoint);
    if (!o->known)
        o->checkpoint = (struct checkpoint){0};
    o->clean =
        o->dir->clean && o->checkpoint.unclean_starts == o->dir->unclean_starts;
    if (says_something(&o->checkpoint) && env_path_kind(o->env, o->path) == 0)
        forget_earlier(o);
}

static enum err try_open(struct partition_open *o)
{
    const struct checkpoint *c = &o->checkpoint;

    return log_open(o->env, o->path, o->topic_id, &o->config,
                    !o->known && o->dir->checkpoints_lost ? LOG_POINT_UNKNOWN
                                                          : c->recovery_point,
                    c->start_offset, o->clean,
                    o->doubted ? LOG_DOUBTED
                    : o->clean ? o->dir->stopped_ms
                               : c->unchanged_ms,
                    &o->log, &o->report);
}

/* A directory of another topic of that name is left from one that was deleted,
 * or we are the ones who are behind: the image we started with may be older
 * than what is on disk.  So nothing is moved before the image has caught up;
 * the tick tries again (open_again_ms). */
static void open_log(struct partition_open *o)
{
    o->error = try_open(o);
    if (o->error != ERR_INCONSISTENT_TOPIC_ID || !o->settled)
        return;
    set_aside(o);
    free(o->report.message);
    o->report.message = NULL;
    o->error = settle_others(o);
    if (o->error == ERR_NONE && (!o->known || forget_earlier(o)))
        o->error = try_open(o);
}

/* Without a checkpoint a log that was closed cleanly is Kafka's: it is not read
 * through for what may be undecided. */
static void load_producers(struct partition_open *o)
{
    o->error = producers_load(
        o->env, o->log,
        o->known || !o->clean ? o->checkpoint.high_watermark : INT64_MAX,
        o->wall_ms, &o->producers);
}

/* Damage below the recovery point is put aside as other damage is, now that
 * somebody has found it. */
static void open_doubted(struct partition_open *o)
{
    log_warn("log", "A batch of %s is damaged; checking all of it", o->path);
    if (o->report.message != NULL)
        log_warn("log", "%s", o->report.message);
    free(o->report.message);
    log_close(o->log);
    o->log = NULL;
    o->doubted = true;
    o->error = try_open(o);
    if (o->error == ERR_NONE)
        load_producers(o);
}

static void open_run(struct env_work *work)
{
    struct partition_open *o = (struct partition_open *)(void *)work;

    if (!find_dir(o)) {
        if (o->error == ERR_NONE)
            o->error = ERR_KAFKA_STORAGE_ERROR;
        return;
    }
    o->path = path_in(o, o->dir);
    if (env_path_kind(o->env, o->path) == 0)
        o->error = settle_others(o);
    if (o->error != ERR_NONE)
        return;
    if (is_leaving(o, o->dir)) {
        o->error = log_errno(checkpoint_note_leaving(
            o->dir->checkpoints, &o->topic_id, o->index, false));
        if (o->error != ERR_NONE)
            return;
    }

    read_checkpoint(o);
    if (o->error == ERR_NONE)
        open_log(o);
    if (o->error == ERR_NONE && o->made_anew)
        o->error = mark_newest(o);
    if (o->error == ERR_NONE)
        load_producers(o);
    if (o->error == ERR_DAMAGED && o->log != NULL)
        open_doubted(o);
    if (o->error == ERR_NONE)
        o->error = store_opened(o);
}

static void opened(struct partition *p, struct partition_open *o)
{
    p->lost_until = o->report.lost_until;
    p->lost_epoch = o->report.lost_epoch;
    p->lost_torn = o->report.lost_torn;
    p->lost_unsynced = o->report.lost_unsynced;
    p->mended_at = -1;
    if (log_synced_offset(p->log) == log_end_offset(p->log))
        p->unchanged_ms = log_changed_ms(p->log);
    p->stored_point = o->checkpoint.recovery_point;
    p->high_watermark = o->checkpoint.high_watermark;
    if (p->high_watermark > log_end_offset(p->log))
        p->high_watermark = log_end_offset(p->log);
    if (p->high_watermark < log_start_offset(p->log))
        p->high_watermark = log_start_offset(p->log);
    log_set_config(p->log, &p->settings->log);
    /* What damage cut off was clean; what is fetched again is not. */
    p->first_dirty = o->checkpoint.first_dirty;
    if (p->first_dirty > log_end_offset(p->log))
        p->first_dirty = log_end_offset(p->log);
    p->role = PARTITION_IDLE;
    /* So that it is found, see find_dir(), and that the next stop counts. */
    if (p->shard->broker->log_dirs_len > 1 || !o->clean)
        checkpoint_touch(p);
    cleaner_note(p);
    /* A recovered tail counts, and a follower asks for more, once it is on
     * disk; perhaps nothing else comes that would start a flush. */
    if (p->settings->fsync &&
        log_synced_offset(p->log) < log_end_offset(p->log))
        partition_start_flush(p);
    partition_take_role(p);
    if (o->early)
        partition_move_resume(p);
}

static void open_free(struct partition_open *o)
{
    if (o->log != NULL)
        log_close(o->log);
    producers_free(o->producers);
    free(o->report.message);
    free(o->path);
    free(o->name);
    free(o);
}

static void open_failed(struct partition *p, const struct partition_open *o)
{
    log_error("log",
              "Cannot open %s: %s. The replica is offline; other replicas "
              "serve it. Repair or empty the directory and restart",
              o->path != NULL ? o->path : o->name, err_text(o->error));
    if (o->error == ERR_IO)
        partition_go_offline(p);
    else
        partition_leave_service(p);
}

/* What stood in the way may pass. */
static void open_later(struct partition *p, struct partition_open *o)
{
    bool lacks = o->error == ERR_FULL || o->error == ERR_EXHAUSTED;

    if (lacks)
        log_error("log", "Cannot open %s: %s. Trying again every second; %s",
                  o->path, err_text(o->error),
                  o->error == ERR_FULL ? "free space"
                                       : "raise the limit on open files");
    p->open_again_ms = env_now_ms(p->shard->env) +
                       (lacks ? OPEN_AGAIN_LACKING_MS : OPEN_AGAIN_MS);
    if (list_unlinked(&p->watched_link))
        list_push_back(&p->shard->watched, &p->watched_link);
    open_free(o);
}

static void open_done(struct env_work *work)
{
    struct partition_open *o = (struct partition_open *)(void *)work;
    struct partition *p = o->partition;

    if (p == NULL) { /* closed meanwhile */
        open_free(o);
        return;
    }
    p->open = NULL;
    if (p->dir != o->dir) {
        if (p->deleted)
            checkpoint_forget_in(p, o->dir);
        partition_set_dir(p, o->dir);
    }
    if (o->error == ERR_NONE && log_dir_failed(p->dir))
        o->error = ERR_KAFKA_STORAGE_ERROR;
    if (!p->deleted &&
        (o->error == ERR_FULL || o->error == ERR_EXHAUSTED ||
         (o->error == ERR_INCONSISTENT_TOPIC_ID && !o->settled))) {
        open_later(p, o);
        return;
    }
    if (o->report.message != NULL)
        log_warn("log", "%s", o->report.message);
    if (o->error == ERR_NONE || p->deleted) {
        p->log = o->log;
        p->producers = o->producers;
        o->log = NULL;
        o->producers = NULL;
    }
    if (p->deleted)
        partition_written(p);
    else if (o->error == ERR_NONE)
        opened(p, o);
    else
        open_failed(p, o);
    open_free(o);
}

void partition_open_begin(struct partition *p)
{
    struct partition_open *o = xcalloc(1, sizeof *o);
    struct env *env = p->shard->env;

    p->open = o;
    if (log_dir_failed(p->dir))
        partition_choose_dir(p);
    o->name = xasprintf("%s-%d", p->topic->name, p->index);
    o->partition = p;
    o->env = env;
    o->broker = p->shard->broker;
    o->dir = p->dir;
    o->topic_id = p->topic->id;
    o->index = p->index;
    o->config = p->settings->log;
    o->wall_ms = env_wall_ms(env);
    o->settled = p->shard->settled;
    o->early = p->early;
    o->work = (struct env_work){.run = open_run, .done = open_done};
    env_work_start(env, &o->work);
}

void partition_open_again(struct partition *p)
{
    if (env_now_ms(p->shard->env) >= p->open_again_ms) {
        p->open_again_ms = 0;
        partition_open_begin(p);
    } else if (list_unlinked(&p->watched_link)) {
        list_push_back(&p->shard->watched, &p->watched_link);
    }
}

void partition_open_abandon(struct partition *p) { p->open->partition = NULL; }

/* ---- never opened ---------------------------------------------------------*/

struct partition_removal {
    struct env_work work;
    struct partition *partition;
    struct env *env;
    struct broker *broker;
    char *name;
    struct uuid topic_id;
    bool running;
    bool again; /* it could not be said what is whose */
};

void partition_removal_new(struct partition *p)
{
    struct partition_removal *r = xcalloc(1, sizeof *r);

    *r = (struct partition_removal){
        .partition = p,
        .env = p->shard->env,
        .broker = p->shard->broker,
        .name = xasprintf("%s-%d", p->topic->name, (int)p->index),
        .topic_id = p->topic_id,
    };
    p->removal = r;
}

void partition_removal_free(struct partition *p)
{
    if (p->removal == NULL)
        return;
    free(p->removal->name);
    free(p->removal);
    p->removal = NULL;
}

static void removal_run(struct env_work *work)
{
    struct partition_removal *r = (struct partition_removal *)(void *)work;

    r->again = false;
    for (int i = 0; i < r->broker->log_dirs_len; i++) {
        struct log_dir *dir = &r->broker->log_dirs[i];
        struct uuid id;

        if (log_dir_failed(dir))
            continue;
        char *path = xasprintf("%s/%s", dir->path, r->name);
        int rc = log_dir_topic(r->env, path, &id);
        if (rc > 0 && uuid_eq(id, r->topic_id)) {
            log_remove(r->env, path);
            atomic_fetch_add(&dir->removed, 1);
        }
        r->again |= rc < 0 && log_errno(rc) == ERR_EXHAUSTED;
        free(path);
    }
}

static void removal_done(struct env_work *work)
{
    struct partition_removal *r = (struct partition_removal *)(void *)work;
    struct partition *p = r->partition;

    r->running = false;
    if (r->again) {
        p->open_again_ms = env_now_ms(r->env) + OPEN_AGAIN_LACKING_MS;
        if (list_unlinked(&p->watched_link))
            list_push_back(&p->shard->watched, &p->watched_link);
        return;
    }
    partition_removal_free(p);
    partition_written(p);
}

void partition_remove_files(struct partition *p)
{
    struct partition_removal *r = p->removal;

    if (r->running)
        return;
    if (env_now_ms(r->env) < p->open_again_ms) {
        if (list_unlinked(&p->watched_link))
            list_push_back(&p->shard->watched, &p->watched_link);
        return;
    }
    list_remove(&p->watched_link);
    r->running = true;
    r->work = (struct env_work){.run = removal_run, .done = removal_done};
    env_work_start(r->env, &r->work);
}
