#include "broker/cleaner.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "broker/checkpoint.h"
#include "broker/cleaner_file.h"
#include "broker/live.h"
#include "broker/log/clean.h"
#include "broker/replica/partition.h"

#include <stdlib.h>

/* However low the rate. */
enum { PAUSE_MAX_MS = 60000 };

/* One round under way. */
struct cleaning {
    struct env_work work;
    struct env_timer pause; /* between two steps, for the rate */
    struct shard *shard;
    struct partition *partition; /* NULL: closed meanwhile */
    struct log_clean *clean;
    enum log_clean_next next; /* what the last step said */
    int64_t step_began_us;
    int64_t began_us;
};

/* ---- the list -------------------------------------------------------------*/

static const struct server_config *config_of(const struct shard *s)
{
    return &s->live->config;
}

static void look_later(struct shard *s)
{
    if (!list_empty(&s->cleanable) && !env_timer_running(&s->cleaner))
        env_timer_start(s->env, &s->cleaner,
                        config_of(s)->log_cleaner_backoff_ms);
}

void cleaner_note(struct partition *p)
{
    const struct server_config *config = config_of(p->shard);

    if (!config->log_cleaner_enable || !p->settings->log.compact_policy ||
        p->deleted || !list_unlinked(&p->clean_link))
        return;
    list_push_back(&p->shard->cleanable, &p->clean_link);
    look_later(p->shard);
}

static void write_down(struct partition *p)
{
    checkpoint_touch(p);
    cleaner_file_set(p->dir->cleaned, p->shard->env, p->topic->name, p->index,
                     p->first_dirty);
}

void cleaner_shortened(struct partition *p)
{
    if (p->first_dirty <= log_end_offset(p->log))
        return;
    p->first_dirty = log_end_offset(p->log);
    write_down(p);
}

void cleaner_moves(struct partition *p, struct log_dir *to, int64_t first_dirty)
{
    if (p->first_dirty > 0)
        cleaner_file_set(p->dir->cleaned, p->shard->env, p->topic->name,
                         p->index, -1);
    p->first_dirty = first_dirty;
    if (first_dirty > 0)
        cleaner_file_set(to->cleaned, p->shard->env, p->topic->name, p->index,
                         first_dirty);
}

/* ---- one round ------------------------------------------------------------*/

static void start_step(struct cleaning *c);
static void clean_next(struct shard *s);

static void run_step(struct env_work *work)
{
    struct cleaning *c = (struct cleaning *)(void *)work;

    c->next = log_clean_step(c->clean);
}

static void tell(const struct cleaning *c, const struct partition *p,
                 const struct log_clean_result *r)
{
    log_info("cleaner",
             "%s is clean up to offset %lld: %lld of %lld bytes stayed, with a "
             "table of %llu bytes, in %lld ms",
             log_path(p->log), (long long)r->first_dirty,
             (long long)r->kept_bytes, (long long)r->read_bytes,
             (unsigned long long)r->map_bytes,
             (long long)(env_now_us(c->shard->env) - c->began_us) / 1000);
}

static void failed(struct partition *p, enum err error, const char *why)
{
    p->uncleanable = error == ERR_DAMAGED || error == ERR_TOO_LARGE;
    log_error("cleaner", "%s could not be compacted: %s%s", log_path(p->log),
              why,
              p->uncleanable ? ". It keeps all its records until this node "
                               "is restarted or the topic's settings change"
                             : "; trying again");
}

static void finish(struct cleaning *c)
{
    struct partition *p = c->partition;
    struct shard *s = c->shard;
    struct log_clean_result result;
    const char *why;
    enum err error = log_clean_error(c->clean, &why);

    if (p != NULL && c->next == LOG_CLEAN_FAILED && !p->deleted)
        failed(p, error, why);
    log_clean_end(c->clean, &result);
    atomic_fetch_sub(&s->broker->cleanings, 1);
    if (p != NULL)
        p->cleaning = NULL;
    if (p != NULL && p->deleted) {
        partition_written(p);
    } else if (p != NULL && c->next == LOG_CLEAN_DONE &&
               result.first_dirty >= 0) {
        p->first_dirty = result.first_dirty;
        write_down(p);
        tell(c, p, &result);
        clean_next(s);
    }
    free(c);
}

static bool is_over(const struct cleaning *c)
{
    return c->next >= LOG_CLEAN_DONE;
}

/* So that bytes and time since the step began go with the rate. */
static int64_t pause_ms(const struct cleaning *c)
{
    const struct server_config *config = config_of(c->shard);
    int32_t sharers =
        config->log_cleaner_threads > 1 ? config->log_cleaner_threads : 1;
    double bytes_per_ms =
        config->log_cleaner_io_max_bytes_per_second / 1000 / sharers;

    if (bytes_per_ms <= 0)
        return 0;
    double due_ms = (double)log_clean_step_bytes(c->clean) / bytes_per_ms;
    double took_ms =
        (double)(env_now_us(c->shard->env) - c->step_began_us) / 1000;

    if (due_ms > PAUSE_MAX_MS)
        due_ms = PAUSE_MAX_MS;
    return due_ms > took_ms ? (int64_t)(due_ms - took_ms) : 0;
}

static void step_done(struct env_work *work)
{
    struct cleaning *c = (struct cleaning *)(void *)work;

    /* At shutdown nobody runs works any more. */
    while (c->partition == NULL && !is_over(c))
        c->next = log_clean_step(c->clean);
    if (is_over(c)) {
        finish(c);
        return;
    }
    if (c->next == LOG_CLEAN_SWAP)
        log_clean_swap(c->clean);
    int64_t wait_ms = pause_ms(c);
    if (wait_ms > 0 && !c->partition->deleted)
        env_timer_start(c->shard->env, &c->pause, wait_ms);
    else
        start_step(c);
}

static void start_step(struct cleaning *c)
{
    struct env *env = c->shard->env;

    c->step_began_us = env_now_us(env);
    c->work = (struct env_work){.run = run_step, .done = step_done};
    env_work_start(env, &c->work);
}

static void on_pause(void *arg) { start_step(arg); }

static size_t all_producers(const struct partition *p,
                            struct clean_producer **list)
{
    struct producer known;
    size_t len = 0;

    *list = xcalloc(producers_count(p->producers) + 1, sizeof **list);
    for (int64_t at = 0;
         (at = producers_next(p->producers, at, &known)) != PRODUCERS_END;)
        (*list)[len++] = (struct clean_producer){
            .id = known.producer_id,
            .last_offset = known.last_offset,
            .epoch = known.epoch,
        };
    return len;
}

static void begin(struct partition *p, const struct log_dirt *dirt)
{
    const struct server_config *config = config_of(p->shard);
    struct cleaning *c = xcalloc(1, sizeof *c);
    struct clean_producer *producers;
    struct log_clean_options options = {
        .now_wall_ms = env_wall_ms(p->shard->env),
        .map_bytes = (uint64_t)(config->log_cleaner_dedupe_buffer_bytes /
                                config->log_cleaner_threads),
        .map_load_factor = config->log_cleaner_load_factor,
        .io_bytes = (size_t)config->log_cleaner_io_buffer_bytes,
        .producers_len = all_producers(p, &producers),
    };

    options.producers = producers;
    c->shard = p->shard;
    c->partition = p;
    c->pause.fn = on_pause;
    c->pause.arg = c;
    c->began_us = env_now_us(p->shard->env);
    c->clean = log_clean_begin(p->log, dirt, &options);
    free(producers);
    p->cleaning = c;
    start_step(c);
}

/* ---- whose turn it is -----------------------------------------------------*/

static bool is_ready(const struct partition *p)
{
    return p->log != NULL && p->cleaning == NULL && p->move == NULL &&
           !p->uncleanable && p->settings->log.compact_policy &&
           p->role != PARTITION_OPENING && p->role != PARTITION_OFFLINE &&
           p->role != PARTITION_DAMAGED;
}

/* A later look may find more than this one, though nothing is rolled. */
static bool may_become_due(const struct log_dirt *dirt)
{
    return dirt->behind ||
           (dirt->dirty_bytes > 0 && dirt->since_ms != INT64_MAX);
}

/* The filthiest of those that are due; the others leave the list if nothing
 * changes by itself for them. */
static struct partition *choose(struct shard *s, struct log_dirt *chosen)
{
    int64_t now_wall_ms = env_wall_ms(s->env);
    struct partition *best = NULL;

    LIST_EACH_SAFE (node, next, &s->cleanable) {
        struct partition *p = LIST_ENTRY(node, struct partition, clean_link);
        struct log_dirt dirt;

        if (p->cleaning != NULL)
            continue;
        if (!is_ready(p)) {
            list_remove(node);
            continue;
        }
        log_dirt(p->log, p->first_dirty, partition_last_stable(p), now_wall_ms,
                 &dirt);
        if (!log_dirt_is_due(p->log, &dirt, now_wall_ms)) {
            if (!may_become_due(&dirt))
                list_remove(node);
        } else if (best == NULL ||
                   log_dirt_ratio(&dirt) > log_dirt_ratio(chosen)) {
            best = p;
            *chosen = dirt;
        }
    }
    return best;
}

static bool take_turn(struct shard *s)
{
    struct broker *b = s->broker;

    if (atomic_fetch_add(&b->cleanings, 1) < config_of(s)->log_cleaner_threads)
        return true;
    atomic_fetch_sub(&b->cleanings, 1);
    return false;
}

static void clean_next(struct shard *s)
{
    struct log_dirt dirt;

    if (take_turn(s)) {
        struct partition *p = choose(s, &dirt);
        if (p != NULL)
            begin(p, &dirt);
        else
            atomic_fetch_sub(&s->broker->cleanings, 1);
    }
    look_later(s);
}

static void on_cleaner(void *arg) { clean_next(arg); }

void cleaner_reconfigured(struct shard *s)
{
    env_timer_stop(s->env, &s->cleaner);
    look_later(s);
}

void cleaner_init(struct shard *s)
{
    list_init(&s->cleanable);
    s->cleaner.fn = on_cleaner;
    s->cleaner.arg = s;
}

/* ---- the end --------------------------------------------------------------*/

void cleaner_leave(struct partition *p)
{
    list_remove(&p->clean_link);
    if (p->cleaning == NULL)
        return;
    log_clean_abort(p->cleaning->clean);
}

/* True if it was between two steps. */
static bool end_pause(struct cleaning *c)
{
    if (c == NULL || !env_timer_running(&c->pause))
        return false;
    env_timer_stop(c->shard->env, &c->pause);
    return true;
}

void cleaner_deleted(struct partition *p)
{
    /* Only of those that are in the file. */
    if (p->first_dirty > 0)
        cleaner_file_set(p->dir->cleaned, p->shard->env, p->topic->name,
                         p->index, -1);
    if (end_pause(p->cleaning))
        start_step(p->cleaning);
}

void cleaner_closed(struct partition *p)
{
    struct cleaning *c = p->cleaning;

    if (c == NULL)
        return;
    c->partition = NULL;
    p->cleaning = NULL;
    if (end_pause(c))
        step_done(&c->work);
}
