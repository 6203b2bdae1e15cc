/* The loop is three queues: timers by deadline, works, finished works and
 * tasks.  The disk is two name spaces, the one processes see and the one that
 * would survive a power loss, and the list of changes between them; a file's
 * node likewise has what is seen and what was synced. */
#include "tests/sim/env_mem.h"

#include "base/map.h"
#include "base/prng.h"

#include <errno.h>
#include <stdlib.h>

enum { PAGE_BYTES = 512 }; /* small, so that small tests tear */

struct node {
    struct node *next; /* all nodes, freed with the world */
    bool is_dir;
    struct buf data;
    struct buf durable;
    int64_t changed_ms;
};

struct env_file {
    struct env *env;
    struct node *node;
    int refs;
    bool read_only;
};

enum change_kind { CHANGE_CREATE, CHANGE_REMOVE, CHANGE_RENAME };

struct change {
    enum change_kind kind;
    char *path;
    char *to;
    struct node *node;
};

struct env {
    struct prng prng;
    int64_t now_ms;
    struct heap timers;
    struct list works; /* env_work.task.link */
    struct list tasks;

    struct map names;   /* path -> node, as processes see it */
    struct map durable; /* as after a power loss, before `changes` */
    struct change *changes;
    size_t changes_len;
    size_t changes_cap;
    struct node *nodes;
    bool frozen;

    struct env_mem_faults faults;
    struct env_mem_counts counts;
    int open_files;
};

/* ---- life ----------------------------------------------------------------*/

struct env *env_mem_new(uint64_t seed)
{
    struct env *env = xcalloc(1, sizeof *env);

    env->prng.state = seed;
    list_init(&env->works);
    list_init(&env->tasks);
    return env;
}

static void forget_changes(struct env *env)
{
    for (size_t i = 0; i < env->changes_len; i++) {
        free(env->changes[i].path);
        free(env->changes[i].to);
    }
    env->changes_len = 0;
}

void env_mem_free(struct env *env)
{
    heap_free(&env->timers);
    forget_changes(env);
    free(env->changes);
    map_free(&env->names);
    map_free(&env->durable);
    while (env->nodes != NULL) {
        struct node *next = env->nodes->next;
        buf_free(&env->nodes->data);
        buf_free(&env->nodes->durable);
        free(env->nodes);
        env->nodes = next;
    }
    free(env);
}

/* ---- loop ----------------------------------------------------------------*/

int64_t env_now_ms(struct env *env) { return env->now_ms; }

int64_t env_now_us(struct env *env) { return env->now_ms * 1000; }

int64_t env_wall_ms(struct env *env) { return 1700000000000 + env->now_ms; }

uint64_t env_random(struct env *env) { return prng_next(&env->prng); }

void env_timer_start(struct env *env, struct env_timer *timer, int64_t delay_ms)
{
    heap_set(&env->timers, &timer->node,
             env->now_ms + (delay_ms > 0 ? delay_ms : 0));
}

void env_timer_stop(struct env *env, struct env_timer *timer)
{
    heap_remove(&env->timers, &timer->node);
}

void env_post(struct env *to, struct env_task *task)
{
    list_push_back(&to->tasks, &task->link);
}

void env_work_start(struct env *env, struct env_work *work)
{
    work->home = env;
    list_push_back(&env->works, &work->task.link);
}

static void finish_work(struct env_task *task)
{
    struct env_work *work = LIST_ENTRY(task, struct env_work, task);

    work->done(work);
}

static bool run_one(struct env *env)
{
    struct list *link = list_pop_front(&env->tasks);

    if (link != NULL) {
        struct env_task *task = LIST_ENTRY(link, struct env_task, link);
        task->fn(task);
        return true;
    }
    struct heap_node *first = heap_first(&env->timers);
    if (first != NULL && first->key <= env->now_ms) {
        struct env_timer *timer = LIST_ENTRY(first, struct env_timer, node);
        heap_remove(&env->timers, first);
        timer->fn(timer->arg);
        return true;
    }
    if ((link = list_pop_front(&env->works)) != NULL) {
        struct env_work *work = LIST_ENTRY(link, struct env_work, task.link);
        work->run(work);
        work->task.fn = finish_work;
        env_post(env, &work->task);
        return true;
    }
    return false;
}

void env_mem_run(struct env *env)
{
    while (run_one(env))
        ;
}

void env_mem_advance(struct env *env, int64_t ms)
{
    env->now_ms += ms;
    env_mem_run(env);
}

bool env_mem_idle(const struct env *env)
{
    return list_empty(&env->works) && list_empty(&env->tasks) &&
           heap_first(&env->timers) == NULL;
}

/* ---- names ---------------------------------------------------------------*/

static struct node *node_new(struct env *env, bool is_dir)
{
    struct node *node = xcalloc(1, sizeof *node);

    node->is_dir = is_dir;
    node->next = env->nodes;
    env->nodes = node;
    return node;
}

static struct node *lookup(struct env *env, const char *path)
{
    return map_get(&env->names, slice_str(path));
}

/* Everything below "from/" goes along. */
static void rename_in(struct map *names, const char *from, const char *to)
{
    size_t len = strlen(from);
    char **paths = xcalloc(map_count(names) + 1, sizeof *paths);
    size_t n = 0;

    MAP_EACH (entry, names) {
        if (entry->key.len >= len && memcmp(entry->key.data, from, len) == 0 &&
            (entry->key.len == len || entry->key.data[len] == '/'))
            paths[n++] = slice_dup(entry->key);
    }
    for (size_t i = 0; i < n; i++) {
        char *target = xasprintf("%s%s", to, paths[i] + len);
        map_put(names, slice_str(target),
                map_remove(names, slice_str(paths[i])));
        free(target);
        free(paths[i]);
    }
    free(paths);
}

static void apply(struct map *names, const struct change *c)
{
    switch (c->kind) {
    case CHANGE_CREATE:
        map_put(names, slice_str(c->path), c->node);
        break;
    case CHANGE_REMOVE:
        map_remove(names, slice_str(c->path));
        break;
    case CHANGE_RENAME:
        rename_in(names, c->path, c->to);
        break;
    }
}

static void change(struct env *env, enum change_kind kind, const char *path,
                   const char *to, struct node *node)
{
    if (env->changes_len == env->changes_cap) {
        env->changes_cap = env->changes_cap == 0 ? 16 : env->changes_cap * 2;
        env->changes =
            xrealloc(env->changes, env->changes_cap * sizeof *env->changes);
    }
    struct change *c = &env->changes[env->changes_len++];
    *c = (struct change){kind, xstrdup(path), to != NULL ? xstrdup(to) : NULL,
                         node};
    apply(&env->names, c);
}

static int other(struct env *env)
{
    env->counts.others++;
    return env->frozen ? -EIO : 0;
}

int env_rename(struct env *env, const char *from, const char *to)
{
    if (other(env) < 0)
        return -EIO;
    if (lookup(env, from) == NULL)
        return -ENOENT;
    change(env, CHANGE_RENAME, from, to, NULL);
    return 0;
}

int env_unlink(struct env *env, const char *path)
{
    struct node *node = lookup(env, path);

    if (other(env) < 0)
        return -EIO;
    if (node == NULL)
        return -ENOENT;
    if (node->is_dir)
        return -EISDIR;
    change(env, CHANGE_REMOVE, path, NULL, NULL);
    return 0;
}

int env_mkdir(struct env *env, const char *path)
{
    if (other(env) < 0)
        return -EIO;
    if (lookup(env, path) == NULL)
        change(env, CHANGE_CREATE, path, NULL, node_new(env, true));
    return 0;
}

static const char *child_name(struct slice path, const char *dir)
{
    size_t len = strlen(dir);

    if (path.len <= len + 1 || memcmp(path.data, dir, len) != 0 ||
        path.data[len] != '/' ||
        memchr(path.data + len + 1, '/', path.len - len - 1) != NULL)
        return NULL;
    return (const char *)path.data + len + 1;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int env_list_dir(struct env *env, const char *path, char ***names,
                 size_t *names_len)
{
    struct node *dir = lookup(env, path);

    if (other(env) < 0)
        return -EIO;
    if (dir == NULL || !dir->is_dir)
        return dir == NULL ? -ENOENT : -ENOTDIR;
    *names = xcalloc(map_count(&env->names) + 1, sizeof **names);
    *names_len = 0;
    MAP_EACH (entry, &env->names) {
        const char *name = child_name(entry->key, path);
        if (name != NULL)
            (*names)[(*names_len)++] = slice_dup(
                slice_of(name, entry->key.len - (size_t)((const uint8_t *)name -
                                                         entry->key.data)));
    }
    qsort(*names, *names_len, sizeof **names, by_name);
    return 0;
}

int env_rmdir(struct env *env, const char *path)
{
    char **names;
    size_t names_len;
    int rc = env_list_dir(env, path, &names, &names_len);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < names_len; i++)
        free(names[i]);
    free(names);
    if (names_len != 0)
        return -ENOTEMPTY;
    change(env, CHANGE_REMOVE, path, NULL, NULL);
    return 0;
}

/* All changes so far: a journal writes them in order. */
int env_sync_dir(struct env *env, const char *path)
{
    env->counts.dir_syncs++;
    if (env->frozen)
        return -EIO;
    for (size_t i = 0; i < env->changes_len; i++)
        apply(&env->durable, &env->changes[i]);
    forget_changes(env);
    return 0;
}

int env_path_kind(struct env *env, const char *path)
{
    struct node *node = lookup(env, path);

    env->counts.others++;
    return node == NULL ? 0 : node->is_dir ? 2 : 1;
}

int env_disk_space(struct env *env, const char *path, int64_t *total_bytes,
                   int64_t *free_bytes)
{
    *total_bytes = env->faults.capacity_bytes;
    *free_bytes = 0;
    return 0;
}

/* ---- files ---------------------------------------------------------------*/

/* Counts down; true when it is this one. */
static bool strikes(int *n) { return *n > 0 && --*n == 0; }

static int error_of(const struct env *env)
{
    return env->faults.error != 0 ? env->faults.error : -EIO;
}

int env_file_open(struct env *env, const char *path, unsigned flags,
                  struct env_file **file)
{
    struct node *node = lookup(env, path);

    env->counts.opens++;
    if (env->frozen)
        return -EIO;
    if (node != NULL && node->is_dir)
        return -EISDIR;
    if (node == NULL && (flags & ENV_CREATE) == 0)
        return -ENOENT;
    if (node != NULL && (flags & ENV_EXCLUSIVE) != 0)
        return -EEXIST;
    if ((flags & ENV_CREATE) != 0 && strikes(&env->faults.open_at))
        return error_of(env);
    if (node == NULL) {
        node = node_new(env, false);
        change(env, CHANGE_CREATE, path, NULL, node);
    }
    *file = xmalloc(sizeof **file);
    **file = (struct env_file){env, node, 1, (flags & ENV_READ) != 0};
    env->open_files++;
    return 0;
}

struct env_file *env_file_ref(struct env_file *file)
{
    file->refs++;
    return file;
}

void env_file_unref(struct env_file *file)
{
    ASSERT(file->refs > 0);
    if (--file->refs == 0) {
        file->env->open_files--;
        free(file);
    }
}

int64_t env_file_size(struct env_file *file)
{
    file->env->counts.others++;
    return (int64_t)file->node->data.len;
}

int64_t env_file_changed_ms(struct env_file *file)
{
    return file->node->changed_ms;
}

int64_t env_file_read(struct env_file *file, void *data, size_t len,
                      int64_t position)
{
    const struct buf *b = &file->node->data;

    file->env->counts.reads++;
    ASSERT(position >= 0);
    if ((size_t)position >= b->len)
        return 0;
    if (len > b->len - (size_t)position)
        len = b->len - (size_t)position;
    memcpy(data, b->data + position, len);
    return (int64_t)len;
}

/* Now and then the page is not there. */
int64_t env_file_read_nowait(struct env_file *file, void *data, size_t len,
                             int64_t position)
{
    if (prng_below(&file->env->prng, 16) == 0)
        return -EAGAIN;
    return env_file_read(file, data, len, position);
}

static int64_t bytes_used(const struct env *env)
{
    int64_t used = 0;

    MAP_EACH (entry, &env->names)
        used += (int64_t)((struct node *)entry->value)->data.len;
    return used;
}

static void set_size(struct buf *b, size_t size)
{
    size_t old = b->len;

    if (size > old)
        memset(buf_extend(b, size - old), 0, size - old);
    b->len = size;
}

static void put(struct buf *b, const uint8_t *data, size_t len, size_t at)
{
    if (b->len < at + len)
        set_size(b, at + len);
    if (len != 0)
        memcpy(b->data + at, data, len);
}

int env_file_write(struct env_file *file, const struct slice *parts,
                   size_t parts_len, int64_t position)
{
    struct env *env = file->env;
    struct buf all = BUF_INIT;
    int rc = 0;

    env->counts.writes++;
    ASSERT(!file->read_only);
    if (env->frozen)
        return -EIO;
    for (size_t i = 0; i < parts_len; i++)
        buf_put_slice(&all, parts[i]);
    size_t n = all.len;
    if (strikes(&env->faults.write_at))
        rc = error_of(env);
    else if (env->faults.capacity_bytes > 0 &&
             bytes_used(env) + (int64_t)n > env->faults.capacity_bytes)
        rc = -ENOSPC;
    if (rc < 0)
        n = prng_below(&env->prng, n + 1);
    put(&file->node->data, all.data, n, (size_t)position);
    file->node->changed_ms = env_wall_ms(file->env);
    buf_free(&all);
    return rc;
}

int env_file_truncate(struct env_file *file, int64_t size)
{
    struct env *env = file->env;

    env->counts.others++;
    ASSERT(!file->read_only);
    if (env->frozen)
        return -EIO;
    if (strikes(&env->faults.truncate_at))
        return error_of(env);
    set_size(&file->node->data, (size_t)size);
    file->node->changed_ms = env_wall_ms(file->env);
    return 0;
}

int env_file_sync(struct env_file *file)
{
    struct env *env = file->env;

    env->counts.syncs++;
    if (env->frozen)
        return -EIO;
    if (strikes(&env->faults.sync_at))
        return error_of(env);
    file->node->durable.len = 0;
    buf_put_slice(&file->node->durable, buf_slice(&file->node->data));
    return 0;
}

int env_read_all(struct env *env, const char *path, size_t max_bytes,
                 struct buf *into)
{
    struct node *node = lookup(env, path);

    env->counts.reads++;
    if (env->frozen)
        return -EIO;
    if (node == NULL)
        return -ENOENT;
    if (node->data.len > max_bytes)
        return -EFBIG;
    buf_put_slice(into, buf_slice(&node->data));
    return 0;
}

int env_write_all(struct env *env, const char *path, struct slice data)
{
    char *temporary = xasprintf("%s.tmp", path);
    struct env_file *file;
    int rc = env_file_open(env, temporary, ENV_CREATE, &file);

    if (rc == 0) {
        rc = env_file_truncate(file, 0);
        if (rc == 0)
            rc = env_file_write(file, &data, 1, 0);
        if (rc == 0)
            rc = env_file_sync(file);
        env_file_unref(file);
    }
    if (rc == 0)
        rc = env_rename(env, temporary, path);
    if (rc == 0)
        rc = env_sync_dir(env, path);
    free(temporary);
    return rc;
}

/* ---- crashes -------------------------------------------------------------*/

void env_mem_freeze(struct env *env) { env->frozen = true; }

/* `now` is what was in the page cache, `disk` what was synced; the result is
 * left in `disk`. */
static void lose_power(struct prng *prng, struct buf *now, struct buf *disk)
{
    size_t shorter = now->len < disk->len ? now->len : disk->len;

    switch (prng_below(prng, 4)) {
    case 0: /* nothing got out */
        return;
    case 1: /* everything did */
        disk->len = 0;
        buf_put_slice(disk, buf_slice(now));
        return;
    case 2: { /* a prefix of what was appended */
        size_t grown = now->len - shorter;
        size_t keep = shorter + prng_below(prng, grown + 1);
        set_size(disk, shorter);
        put(disk, now->data, keep, 0);
        return;
    }
    default: /* the size, and single pages */
        set_size(disk, now->len);
        for (size_t at = 0; at < now->len; at += PAGE_BYTES) {
            size_t n = now->len - at < PAGE_BYTES ? now->len - at : PAGE_BYTES;
            if (prng_below(prng, 2) == 0)
                put(disk, now->data + at, n, at);
        }
    }
}

static void copy_names(struct map *to, const struct map *from)
{
    MAP_EACH (entry, from)
        map_put(to, entry->key, entry->value);
}

void env_mem_crash(struct env *env, enum env_mem_crash kind)
{
    env->frozen = false;
    env->faults = (struct env_mem_faults){0};
    if (kind == ENV_MEM_KILL)
        return;
    size_t reached = kind == ENV_MEM_WORST
                         ? 0
                         : prng_below(&env->prng, env->changes_len + 1);
    for (size_t i = 0; i < reached; i++)
        apply(&env->durable, &env->changes[i]);
    forget_changes(env);
    map_free(&env->names);
    env->names = MAP_INIT;
    copy_names(&env->names, &env->durable);
    MAP_EACH (entry, &env->names) {
        struct node *node = entry->value;
        if (kind != ENV_MEM_WORST)
            lose_power(&env->prng, &node->data, &node->durable);
        node->data.len = 0;
        buf_put_slice(&node->data, buf_slice(&node->durable));
    }
}

struct env_mem_faults *env_mem_faults(struct env *env) { return &env->faults; }

const struct env_mem_counts *env_mem_counts(const struct env *env)
{
    return &env->counts;
}

int env_mem_open_files(const struct env *env) { return env->open_files; }

struct buf *env_mem_file(struct env *env, const char *path)
{
    struct node *node = lookup(env, path);

    return node != NULL && !node->is_dir ? &node->data : NULL;
}
