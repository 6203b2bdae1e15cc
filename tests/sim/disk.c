/* Two name spaces, the one processes see and the one that would survive a power
 * loss, and the list of changes between them; a file's node likewise has what
 * is seen and what was synced.
 *
 * Each top directory is a file system: its changes reach the disk in their
 * order, those of others sooner or later.
 *
 * A node lives as long as a name of either kind, a change or an open file
 * refers to it.  Everything below `dirty_from` is the same in both contents,
 * but for the pages that a failed sync has lost: those are marked, and only a
 * write clears the mark. */
#include "tests/sim/disk.h"

#include "base/map.h"

#include <errno.h>
#include <stdlib.h>

static const size_t CLEAN = SIZE_MAX;
static const int64_t UNLIMITED_BYTES = (int64_t)1 << 40;

struct node {
    struct disk *disk;
    int refs;  /* by anything */
    int users; /* names that processes see, and open files */
    bool is_dir;
    struct buf data;
    struct buf durable;
    size_t dirty_from; /* CLEAN: nothing to sync */
    uint8_t *lost;     /* one byte per page of data; NULL: none */
    size_t lost_len;
    int64_t counted; /* what of it is in disk.used */
    int64_t changed_ms;
    struct env_file *lock;
    struct disk_object *object;
    int64_t object_bytes;
};

struct env_file {
    struct list link;  /* disk.files or disk.dead */
    struct disk *disk; /* NULL: its process died */
    struct node *node;
    const void *process;
    int refs;
    int number; /* see number_of() */
    bool read_only;
};

enum change_kind { CHANGE_CREATE, CHANGE_REMOVE, CHANGE_RENAME };

struct change {
    enum change_kind kind;
    char *path;
    char *to;
    struct node *node; /* CHANGE_CREATE */
};

struct disk {
    struct prng prng;
    int64_t (*wall_ms)(void *arg);
    void *wall_arg;

    struct map names;   /* path -> node, as processes see it */
    struct map durable; /* as after a power loss, before `changes` */
    struct change *changes;
    size_t changes_len;
    size_t changes_cap;
    bool frozen;

    struct list files; /* open */
    struct list dead;  /* still referred to by a process that is no more */
    int open_files;
    int64_t used; /* bytes of nodes that have users */

    struct disk_faults faults;
    struct disk_counts counts;
};

/* ---- nodes ---------------------------------------------------------------*/

static struct node *node_new(struct disk *disk, bool is_dir)
{
    struct node *node = xcalloc(1, sizeof *node);

    node->disk = disk;
    node->is_dir = is_dir;
    node->dirty_from = CLEAN;
    return node;
}

static struct node *node_ref(struct node *node)
{
    node->refs++;
    return node;
}

static void node_unref(struct node *node)
{
    ASSERT(node->refs > 0);
    if (--node->refs != 0)
        return;
    if (node->object != NULL)
        node->object->free(node->object);
    buf_free(&node->data);
    buf_free(&node->durable);
    free(node->lost);
    free(node);
}

/* Brings disk.used up to date. */
static void count_bytes(struct node *node)
{
    int64_t now =
        node->users > 0 ? (int64_t)node->data.len + node->object_bytes : 0;

    node->disk->used += now - node->counted;
    node->counted = now;
}

static void user_add(struct node *node)
{
    node_ref(node)->users++;
    count_bytes(node);
}

static void user_drop(struct node *node)
{
    node->users--;
    count_bytes(node);
    node_unref(node);
}

static bool is_lost(const struct node *node, size_t page)
{
    return page < node->lost_len && node->lost[page] != 0;
}

static void forget_lost(struct node *node)
{
    free(node->lost);
    node->lost = NULL;
    node->lost_len = 0;
}

static void mark_lost(struct node *node, size_t page)
{
    size_t pages = node->data.len / DISK_PAGE_BYTES + 1;

    if (node->lost_len < pages) {
        node->lost = xrealloc(node->lost, pages);
        memset(node->lost + node->lost_len, 0, pages - node->lost_len);
        node->lost_len = pages;
    }
    node->lost[page] = 1;
}

/* The bytes from..to, exclusive, are to be synced again. */
static void dirty(struct node *node, size_t from, size_t to)
{
    if (from < node->dirty_from)
        node->dirty_from = from;
    if (from >= to)
        return;
    for (size_t page = from / DISK_PAGE_BYTES;
         page < node->lost_len && page <= (to - 1) / DISK_PAGE_BYTES; page++)
        node->lost[page] = 0;
}

static void set_size(struct buf *b, size_t size)
{
    size_t old = b->len;

    if (size > old)
        memset(buf_extend(b, size - old), 0, size - old);
    b->len = size;
}

/* Bytes at..at+len, filled up with zeros from the end to `at`. */
static void put(struct buf *b, const uint8_t *data, size_t len, size_t at)
{
    if (len == 0)
        return;
    if (b->len < at)
        set_size(b, at);
    if (b->len < at + len)
        buf_extend(b, at + len - b->len);
    memcpy(b->data + at, data, len);
}

/* From the page cache to the disk: the pages that are in from..to, exclusive,
 * and not lost; `durable` has its size already. */
static void write_out(struct node *node, size_t from, size_t to)
{
    if (from >= to)
        return;
    if (node->lost == NULL) {
        put(&node->durable, node->data.data + from, to - from, from);
        return;
    }
    for (size_t at = from - from % DISK_PAGE_BYTES; at < to;
         at += DISK_PAGE_BYTES)
        if (!is_lost(node, at / DISK_PAGE_BYTES))
            put(&node->durable, node->data.data + at,
                to - at < DISK_PAGE_BYTES ? to - at : DISK_PAGE_BYTES, at);
}

static void sync_all(struct node *node)
{
    set_size(&node->durable, node->data.len);
    write_out(node, node->dirty_from, node->data.len);
    node->dirty_from = CLEAN;
}

/* Each dirty page is written or lost; so is the size. */
static void sync_some(struct node *node, struct prng *prng)
{
    size_t len = node->data.len;

    if (node->dirty_from == CLEAN)
        return;
    if (prng_below(prng, 2) == 0)
        set_size(&node->durable, len);
    for (size_t at = node->dirty_from - node->dirty_from % DISK_PAGE_BYTES;
         at < len; at += DISK_PAGE_BYTES) {
        size_t end = at + DISK_PAGE_BYTES < len ? at + DISK_PAGE_BYTES : len;
        if (prng_below(prng, 2) == 0 && end <= node->durable.len)
            write_out(node, at, end);
        else
            mark_lost(node, at / DISK_PAGE_BYTES);
    }
    node->dirty_from = CLEAN;
}

/* Leaves in `durable` what the machine's death left of the page cache. */
static void lose_power(struct prng *prng, struct node *node)
{
    size_t now = node->data.len, old = node->durable.len;
    size_t from = node->dirty_from;

    if (from == CLEAN)
        return;
    switch (prng_below(prng, 4)) {
    case 0: /* nothing got out */
        return;
    case 1: /* everything did */
        sync_all(node);
        return;
    case 2: { /* a prefix of what was appended */
        size_t shorter = now < old ? now : old;
        size_t keep = shorter + prng_below(prng, now - shorter + 1);
        set_size(&node->durable, shorter);
        set_size(&node->durable, keep);
        write_out(node, from, keep);
        return;
    }
    default: /* the size, and single pages */
        set_size(&node->durable, now);
        for (size_t at = from - from % DISK_PAGE_BYTES; at < now;
             at += DISK_PAGE_BYTES)
            if (prng_below(prng, 2) == 0)
                write_out(node, at,
                          now - at < DISK_PAGE_BYTES ? now
                                                     : at + DISK_PAGE_BYTES);
    }
}

static void crash_node(struct disk *disk, struct node *node,
                       enum disk_crash kind)
{
    if (node->object != NULL)
        node->object->crash(node->object, kind, &disk->prng);
    if (kind != DISK_WORST)
        lose_power(&disk->prng, node);
    node->data.len = 0;
    buf_put_slice(&node->data, buf_slice(&node->durable));
    node->dirty_from = CLEAN;
    forget_lost(node);
}

/* ---- names ---------------------------------------------------------------*/

static struct node *lookup(struct disk *disk, const char *path)
{
    return map_get(&disk->names, slice_str(path));
}

/* In `names` processes are the users; `durable` only refers. */
static void hold(struct disk *disk, struct map *names, struct node *node)
{
    if (names == &disk->names)
        user_add(node);
    else
        node_ref(node);
}

static void let_go(struct disk *disk, struct map *names, struct node *node)
{
    if (node == NULL)
        return;
    if (names == &disk->names)
        user_drop(node);
    else
        node_unref(node);
}

static void rename_one(struct disk *disk, struct map *names, const char *from,
                       const char *to)
{
    struct node *node = map_remove(names, slice_str(from));

    if (node != NULL)
        let_go(disk, names, map_put(names, slice_str(to), node));
}

static bool is_below(struct slice path, const char *dir, size_t dir_len)
{
    return path.len > dir_len && path.data[dir_len] == '/' &&
           memcmp(path.data, dir, dir_len) == 0;
}

/* Everything below "from/" goes along. */
static void rename_in(struct disk *disk, struct map *names, const char *from,
                      const char *to)
{
    size_t len = strlen(from), n = 0;
    struct node *node = map_get(names, slice_str(from));

    if (node == NULL || !node->is_dir) {
        rename_one(disk, names, from, to);
        return;
    }
    char **paths = xcalloc(map_count(names) + 1, sizeof *paths);
    MAP_EACH (entry, names) {
        if (is_below(entry->key, from, len))
            paths[n++] = slice_dup(entry->key);
    }
    rename_one(disk, names, from, to);
    for (size_t i = 0; i < n; i++) {
        char *target = xasprintf("%s%s", to, paths[i] + len);
        rename_one(disk, names, paths[i], target);
        free(target);
        free(paths[i]);
    }
    free(paths);
}

static void apply(struct disk *disk, struct map *names, const struct change *c)
{
    switch (c->kind) {
    case CHANGE_CREATE:
        hold(disk, names, c->node);
        let_go(disk, names, map_put(names, slice_str(c->path), c->node));
        break;
    case CHANGE_REMOVE:
        let_go(disk, names, map_remove(names, slice_str(c->path)));
        break;
    case CHANGE_RENAME:
        rename_in(disk, names, c->path, c->to);
        break;
    }
}

static void change(struct disk *disk, enum change_kind kind, const char *path,
                   const char *to, struct node *node)
{
    if (disk->changes_len == disk->changes_cap) {
        disk->changes_cap = disk->changes_cap == 0 ? 16 : disk->changes_cap * 2;
        disk->changes =
            xrealloc(disk->changes, disk->changes_cap * sizeof *disk->changes);
    }
    struct change *c = &disk->changes[disk->changes_len++];
    *c = (struct change){kind, xstrdup(path), to != NULL ? xstrdup(to) : NULL,
                         node != NULL ? node_ref(node) : NULL};
    apply(disk, &disk->names, c);
}

static void change_free(struct change *c)
{
    free(c->path);
    free(c->to);
    if (c->node != NULL)
        node_unref(c->node);
}

static void forget_changes(struct disk *disk)
{
    for (size_t i = 0; i < disk->changes_len; i++)
        change_free(&disk->changes[i]);
    disk->changes_len = 0;
}

/* Whether two paths are in one file system; "/" is in all of them. */
static bool same_system(const char *a, const char *b)
{
    size_t n = strcspn(a + 1, "/"), m = strcspn(b + 1, "/");

    return n == 0 || m == 0 || (n == m && memcmp(a + 1, b + 1, n) == 0);
}

/* Of the changes in the file system that `path` is in the first `most` become
 * durable, and the rest is forgotten. */
static void journal(struct disk *disk, const char *path, size_t most)
{
    size_t kept = 0;

    for (size_t i = 0; i < disk->changes_len; i++) {
        struct change *c = &disk->changes[i];

        if (!same_system(path, c->path)) {
            disk->changes[kept++] = *c;
            continue;
        }
        if (most != 0) {
            apply(disk, &disk->durable, c);
            most--;
        }
        change_free(c);
    }
    disk->changes_len = kept;
}

static size_t count_changes(const struct disk *disk, const char *path)
{
    size_t n = 0;

    for (size_t i = 0; i < disk->changes_len; i++)
        n += same_system(path, disk->changes[i].path);
    return n;
}

static void forget_names(struct disk *disk, struct map *names)
{
    MAP_EACH (entry, names)
        let_go(disk, names, entry->value);
    map_free(names);
}

/* Whether anything has a name below dir. */
static bool has_children(struct disk *disk, const char *dir)
{
    size_t len = strlen(dir);

    MAP_EACH (entry, &disk->names) {
        if (is_below(entry->key, dir, len))
            return true;
    }
    return false;
}

/* Asked by each call that the disk would not take when frozen. */
static bool is_frozen(struct disk *disk)
{
    if (disk->faults.freeze_at > 0 && --disk->faults.freeze_at == 0)
        disk->frozen = true;
    return disk->frozen;
}

static int other(struct disk *disk)
{
    disk->counts.others++;
    return is_frozen(disk) ? -EIO : 0;
}

/* Of "/data7/...": 7; 0 if its top directory has no number. */
static int number_of(const char *path)
{
    size_t len = strcspn(path + 1, "/");
    char last = path[len];

    return last >= '1' && last <= '9' ? last - '0' : 0;
}

static bool number_is_dead(const struct disk *disk, int number)
{
    return number != 0 && number == disk->faults.dead_number;
}

static bool is_dead(const struct disk *disk, const char *path)
{
    return number_is_dead(disk, number_of(path));
}

static int error_of(const struct disk *disk)
{
    return disk->faults.error != 0 ? disk->faults.error : -EIO;
}

static bool is_faulty_name(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = suffix != NULL ? strlen(suffix) : n + 1;

    return n >= m && strcmp(path + n - m, suffix) == 0;
}

static bool no_descriptor(struct disk *disk)
{
    if (disk->faults.no_more_at > 1) {
        disk->faults.no_more_at--;
        return false;
    }
    return disk->faults.no_more_at == 1;
}

int env_rename(struct env *env, const char *from, const char *to)
{
    struct disk *disk = env_disk(env);
    struct node *node = lookup(disk, from), *old = lookup(disk, to);

    if (other(disk) < 0 || is_dead(disk, from) || is_dead(disk, to))
        return -EIO;
    if (node == NULL)
        return -ENOENT;
    if (node == old)
        return 0;
    if (is_faulty_name(to, disk->faults.rename_to))
        return error_of(disk);
    if (!same_system(from, to))
        return -EXDEV;
    if (old != NULL && old->is_dir != node->is_dir)
        return old->is_dir ? -EISDIR : -ENOTDIR;
    if (old != NULL && old->is_dir && has_children(disk, to))
        return -ENOTEMPTY;
    change(disk, CHANGE_RENAME, from, to, NULL);
    return 0;
}

int env_unlink(struct env *env, const char *path)
{
    struct disk *disk = env_disk(env);
    struct node *node = lookup(disk, path);

    if (other(disk) < 0 || is_dead(disk, path))
        return -EIO;
    if (node == NULL)
        return -ENOENT;
    if (node->is_dir)
        return -EISDIR;
    if (is_faulty_name(path, disk->faults.unlink_of))
        return error_of(disk);
    change(disk, CHANGE_REMOVE, path, NULL, NULL);
    return 0;
}

int env_mkdir(struct env *env, const char *path)
{
    struct disk *disk = env_disk(env);
    struct node *node = lookup(disk, path);

    if (other(disk) < 0 || is_dead(disk, path))
        return -EIO;
    if (node == NULL)
        change(disk, CHANGE_CREATE, path, NULL, node_new(disk, true));
    return node == NULL || node->is_dir ? 0 : -EEXIST;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int env_list_dir(struct env *env, const char *path, char ***names,
                 size_t *names_len)
{
    struct disk *disk = env_disk(env);
    struct node *dir = lookup(disk, path);
    size_t len = strlen(path), cap = 0, n = 0;
    char **list = NULL;

    if (other(disk) < 0 || is_dead(disk, path))
        return -EIO;
    if (no_descriptor(disk))
        return -EMFILE;
    if (dir == NULL || !dir->is_dir)
        return dir == NULL ? -ENOENT : -ENOTDIR;
    MAP_EACH (entry, &disk->names) {
        struct slice key = entry->key;
        if (!is_below(key, path, len) ||
            memchr(key.data + len + 1, '/', key.len - len - 1) != NULL)
            continue;
        if (n == cap) {
            cap = cap != 0 ? cap * 2 : 16;
            list = xrealloc(list, cap * sizeof *list);
        }
        list[n++] = slice_dup(slice_of(key.data + len + 1, key.len - len - 1));
    }
    if (n != 0)
        qsort(list, n, sizeof *list, by_name);
    *names = list;
    *names_len = n;
    return 0;
}

int env_rmdir(struct env *env, const char *path)
{
    struct disk *disk = env_disk(env);
    struct node *dir = lookup(disk, path);

    if (other(disk) < 0 || is_dead(disk, path))
        return -EIO;
    if (dir == NULL || !dir->is_dir)
        return dir == NULL ? -ENOENT : -ENOTDIR;
    if (has_children(disk, path))
        return -ENOTEMPTY;
    change(disk, CHANGE_REMOVE, path, NULL, NULL);
    return 0;
}

/* All changes in that file system so far: a journal writes them in order. */
int env_sync_dir(struct env *env, const char *path)
{
    struct disk *disk = env_disk(env);

    disk->counts.dir_syncs++;
    if (is_frozen(disk) || is_dead(disk, path))
        return -EIO;
    if (no_descriptor(disk))
        return -EMFILE;
    journal(disk, path, SIZE_MAX);
    return 0;
}

int env_path_kind(struct env *env, const char *path)
{
    struct disk *disk = env_disk(env);
    struct node *node = lookup(disk, path);

    disk->counts.others++;
    return node == NULL ? 0 : node->is_dir ? 2 : 1;
}

int env_disk_space(struct env *env, const char *path, int64_t *total_bytes,
                   int64_t *free_bytes)
{
    const struct disk *disk = env_disk(env);
    int64_t total = disk->faults.capacity_bytes > 0
                        ? disk->faults.capacity_bytes
                        : UNLIMITED_BYTES;

    *total_bytes = total;
    *free_bytes = disk->used < total ? total - disk->used : 0;
    return 0;
}

/* ---- faults --------------------------------------------------------------*/

/* Counts down; true when it is this one, or by chance. */
static bool strikes(struct disk *disk, int *at, uint32_t ppm)
{
    if (*at > 0 && --*at == 0)
        return true;
    return ppm != 0 && prng_below(&disk->prng, 1000000) < ppm;
}

/* How many bytes there is room for. */
static int64_t room(const struct disk *disk)
{
    if (disk->faults.capacity_bytes <= 0)
        return INT64_MAX;
    return disk->faults.capacity_bytes > disk->used
               ? disk->faults.capacity_bytes - disk->used
               : 0;
}

/* ---- files ---------------------------------------------------------------*/

int env_file_open(struct env *env, const char *path, unsigned flags,
                  struct env_file **file)
{
    struct disk *disk = env_disk(env);
    struct node *node = lookup(disk, path);

    disk->counts.opens++;
    if (is_frozen(disk) || is_dead(disk, path))
        return -EIO;
    if (no_descriptor(disk))
        return -EMFILE;
    if (node != NULL && node->is_dir)
        return -EISDIR;
    if (node == NULL && (flags & ENV_CREATE) == 0)
        return -ENOENT;
    if (node != NULL && (flags & ENV_EXCLUSIVE) != 0)
        return -EEXIST;
    if ((flags & ENV_CREATE) != 0 &&
        strikes(disk, &disk->faults.open_at, disk->faults.open_ppm))
        return error_of(disk);
    if (node == NULL) {
        node = node_new(disk, false);
        change(disk, CHANGE_CREATE, path, NULL, node);
    }
    user_add(node);
    *file = xmalloc(sizeof **file);
    **file = (struct env_file){.disk = disk,
                               .node = node,
                               .process = env_process(env),
                               .refs = 1,
                               .number = number_of(path),
                               .read_only = (flags & ENV_READ) != 0};
    list_push_back(&disk->files, &(*file)->link);
    disk->open_files++;
    return 0;
}

struct env_file *env_file_ref(struct env_file *file)
{
    file->refs++;
    return file;
}

/* Closed by its process, or with it. */
static void detach(struct env_file *file)
{
    if (file->disk == NULL)
        return;
    if (file->node->lock == file)
        file->node->lock = NULL;
    user_drop(file->node);
    file->disk->open_files--;
    file->disk = NULL;
    file->node = NULL;
}

void env_file_unref(struct env_file *file)
{
    ASSERT(file->refs > 0);
    if (--file->refs != 0)
        return;
    detach(file);
    list_remove(&file->link);
    free(file);
}

int env_lock_file(struct env *env, const char *path, struct env_file **lock)
{
    int error = env_file_open(env, path, ENV_CREATE, lock);

    if (error != 0)
        return error;
    if ((*lock)->node->lock != NULL) {
        env_file_unref(*lock);
        return -EAGAIN;
    }
    (*lock)->node->lock = *lock;
    return 0;
}

int64_t env_file_size(struct env_file *file)
{
    if (file->disk == NULL)
        return -EIO;
    file->disk->counts.others++;
    return (int64_t)file->node->data.len;
}

int64_t env_file_changed_ms(struct env_file *file)
{
    return file->disk != NULL ? file->node->changed_ms : -EIO;
}

int env_file_set_changed_ms(struct env_file *file, int64_t changed_ms)
{
    if (file->disk == NULL || file->disk->frozen)
        return -EIO;
    file->node->changed_ms = changed_ms;
    return 0;
}

int64_t env_file_read(struct env_file *file, void *data, size_t len,
                      int64_t position)
{
    ASSERT(position >= 0);
    if (file->disk == NULL || number_is_dead(file->disk, file->number))
        return -EIO;
    const struct buf *b = &file->node->data;
    file->disk->counts.reads++;
    if ((size_t)position >= b->len)
        return 0;
    if (len > b->len - (size_t)position)
        len = b->len - (size_t)position;
    if (len != 0)
        memcpy(data, b->data + position, len);
    return (int64_t)len;
}

/* Now and then the page is not there. */
int64_t env_file_read_nowait(struct env_file *file, void *data, size_t len,
                             int64_t position)
{
    if (file->disk != NULL && prng_below(&file->disk->prng, 16) == 0)
        return -EAGAIN;
    return env_file_read(file, data, len, position);
}

static void changed(struct node *node)
{
    struct disk *disk = node->disk;

    count_bytes(node);
    node->changed_ms =
        disk->wall_ms != NULL ? disk->wall_ms(disk->wall_arg) : 0;
}

/* How much of a write of len bytes is done; *error says why not all. */
static size_t write_len(struct node *node, size_t len, size_t at, int *error)
{
    struct disk *disk = node->disk;
    size_t end = node->data.len;
    int64_t grown = at + len > end ? (int64_t)(at + len - end) : 0;
    int64_t left = room(disk);

    *error = 0;
    if (strikes(disk, &disk->faults.write_at, disk->faults.write_ppm))
        *error = error_of(disk);
    else if (grown > left)
        *error = -ENOSPC;
    if (*error == 0)
        return len;
    /* Up to where there is room. */
    int64_t most = left == INT64_MAX ? left : (int64_t)end + left - (int64_t)at;
    size_t part = prng_below(&disk->prng, len + 1);
    if (most < (int64_t)part)
        part = most > 0 ? (size_t)most : 0;
    return part;
}

int env_file_write(struct env_file *file, const struct slice *parts,
                   size_t parts_len, int64_t position)
{
    struct node *node = file->node;
    size_t len = 0, at = (size_t)position;
    int error;

    ASSERT(!file->read_only && position >= 0);
    if (file->disk == NULL)
        return -EIO;
    file->disk->counts.writes++;
    if (is_frozen(file->disk) || number_is_dead(file->disk, file->number))
        return -EIO;
    for (size_t i = 0; i < parts_len; i++)
        len += parts[i].len;
    size_t left = write_len(node, len, at, &error);
    if (left != 0)
        dirty(node, at < node->data.len ? at : node->data.len, at + left);
    for (size_t i = 0; i < parts_len && left != 0; i++) {
        size_t n = parts[i].len < left ? parts[i].len : left;
        put(&node->data, parts[i].data, n, at);
        at += n;
        left -= n;
    }
    changed(node);
    return error;
}

int env_file_truncate(struct env_file *file, int64_t size)
{
    struct node *node = file->node;
    struct disk *disk = file->disk;

    ASSERT(!file->read_only && size >= 0);
    if (disk == NULL || other(disk) < 0 || number_is_dead(disk, file->number))
        return -EIO;
    if (strikes(disk, &disk->faults.truncate_at, disk->faults.truncate_ppm))
        return error_of(disk);
    /* The page that the new end is in is written anew; those behind it are
     * gone. */
    size_t old = node->data.len, now = (size_t)size;
    if (now != old)
        dirty(node, now < old ? now : old, (now < old ? old : now) + 1);
    set_size(&node->data, now);
    changed(node);
    return 0;
}

int env_file_sync(struct env_file *file)
{
    struct disk *disk = file->disk;
    int error = disk_try_sync(file);

    if (error == 0)
        sync_all(file->node);
    else if (disk != NULL && !disk->frozen)
        sync_some(file->node, &disk->prng);
    return error;
}

int env_read_all(struct env *env, const char *path, size_t max_bytes,
                 struct buf *into)
{
    struct disk *disk = env_disk(env);
    struct node *node = lookup(disk, path);

    disk->counts.reads++;
    if (is_frozen(disk) || is_dead(disk, path))
        return -EIO;
    if (no_descriptor(disk))
        return -EMFILE;
    if (node == NULL || node->is_dir)
        return node == NULL ? -ENOENT : -EISDIR;
    if (node->data.len > max_bytes)
        return -EFBIG;
    buf_put_slice(into, buf_slice(&node->data));
    return 0;
}

int env_write_all(struct env *env, const char *path, struct slice data)
{
    char *temporary = xasprintf("%s.tmp", path);
    struct env_file *file;
    int error = env_file_open(env, temporary, ENV_CREATE, &file);

    if (error == 0) {
        error = env_file_truncate(file, 0);
        if (error == 0)
            error = env_file_write(file, &data, 1, 0);
        if (error == 0)
            error = env_file_sync(file);
        env_file_unref(file);
    }
    if (error == 0)
        error = env_rename(env, temporary, path);
    if (error == 0)
        error = env_sync_dir(env, path);
    else
        env_unlink(env, temporary);
    free(temporary);
    return error;
}

/* ---- life and death ------------------------------------------------------*/

struct disk *disk_new(uint64_t seed)
{
    struct disk *disk = xcalloc(1, sizeof *disk);

    disk->prng.state = seed;
    list_init(&disk->files);
    list_init(&disk->dead);
    return disk;
}

void disk_set_clock(struct disk *disk, int64_t (*wall_ms)(void *arg), void *arg)
{
    disk->wall_ms = wall_ms;
    disk->wall_arg = arg;
}

static void release(struct disk *disk, const void *process, bool all)
{
    LIST_EACH_SAFE (link, next, &disk->files) {
        struct env_file *file = LIST_ENTRY(link, struct env_file, link);
        if (!all && file->process != process)
            continue;
        detach(file);
        list_remove(link);
        list_push_back(&disk->dead, link);
    }
}

void disk_release(struct disk *disk, const void *process)
{
    release(disk, process, false);
}

void disk_wipe(struct disk *disk)
{
    release(disk, NULL, true);
    forget_changes(disk);
    forget_names(disk, &disk->names);
    forget_names(disk, &disk->durable);
    ASSERT(disk->used == 0);
}

void disk_free(struct disk *disk)
{
    struct list *link;

    disk_wipe(disk);
    while ((link = list_pop_front(&disk->dead)) != NULL)
        free(LIST_ENTRY(link, struct env_file, link));
    free(disk->changes);
    free(disk);
}

void disk_freeze(struct disk *disk) { disk->frozen = true; }

/* How far the journal of each file system had come when the machine died. */
static void journal_some(struct disk *disk, enum disk_crash kind)
{
    while (disk->changes_len != 0) {
        char *path = xstrdup(disk->changes[0].path);
        size_t n = count_changes(disk, path) + 1;

        journal(disk, path,
                kind == DISK_WORST ? 0 : prng_below(&disk->prng, n));
        free(path);
    }
}

void disk_crash(struct disk *disk, enum disk_crash kind)
{
    disk->frozen = false;
    release(disk, NULL, true);
    if (kind == DISK_KILL)
        return;
    journal_some(disk, kind);
    forget_names(disk, &disk->names);
    MAP_EACH (entry, &disk->durable) {
        struct node *node = entry->value;
        hold(disk, &disk->names, node);
        map_put(&disk->names, entry->key, node);
        crash_node(disk, node, kind);
        count_bytes(node);
    }
}

/* ---- looking at it, damage -----------------------------------------------*/

struct disk_faults *disk_faults(struct disk *disk) { return &disk->faults; }

const struct disk_counts *disk_counts(const struct disk *disk)
{
    return &disk->counts;
}

int disk_open_files(const struct disk *disk) { return disk->open_files; }

int64_t disk_used_bytes(const struct disk *disk) { return disk->used; }

size_t disk_durable_bytes(const struct disk *disk, const char *path)
{
    const struct node *node = map_get(&disk->names, slice_str(path));

    return node != NULL && map_get(&disk->durable, slice_str(path)) == node
               ? disk_synced_bytes(disk, path)
               : 0;
}

size_t disk_synced_bytes(const struct disk *disk, const char *path)
{
    const struct node *node = map_get(&disk->names, slice_str(path));

    if (node == NULL)
        return 0;
    size_t len =
        node->data.len < node->durable.len ? node->data.len : node->durable.len;
    size_t end = node->dirty_from < len ? node->dirty_from : len;
    for (size_t page = 0; page < node->lost_len; page++)
        if (node->lost[page] != 0 && page * DISK_PAGE_BYTES < end)
            end = page * DISK_PAGE_BYTES;
    /* What is to be written, or was lost, may be what is there. */
    while (end < len && node->data.data[end] == node->durable.data[end])
        end++;
    return end;
}

struct slice disk_peek(const struct disk *disk, const char *path)
{
    const struct node *node = map_get(&disk->names, slice_str(path));

    return node != NULL ? buf_slice(&node->data) : slice_of(NULL, 0);
}

struct buf *disk_file(struct disk *disk, const char *path)
{
    struct node *node = lookup(disk, path);

    if (node == NULL || node->is_dir)
        return NULL;
    node->dirty_from = 0; /* the caller may change it */
    return &node->data;
}

static bool rots(const struct map_entry *entry, struct slice suffix)
{
    const struct node *node = entry->value;

    return !node->is_dir && node->data.len != 0 &&
           entry->key.len >= suffix.len &&
           slice_eq(slice_of(entry->key.data + entry->key.len - suffix.len,
                             suffix.len),
                    suffix);
}

bool disk_rot(struct disk *disk, struct prng *prng, const char *suffix,
              struct disk_rot *rot)
{
    size_t n = 0;

    MAP_EACH (entry, &disk->names)
        n += rots(entry, slice_str(suffix));
    if (n == 0)
        return false;
    size_t chosen = prng_below(prng, n);
    MAP_EACH (entry, &disk->names) {
        struct node *node = entry->value;
        if (!rots(entry, slice_str(suffix)) || chosen-- != 0)
            continue;
        size_t at = prng_below(prng, node->data.len);
        unsigned bit = (unsigned)prng_below(prng, 8);
        node->data.data[at] ^= (uint8_t)(1u << bit);
        if (at < node->durable.len)
            node->durable.data[at] ^= (uint8_t)(1u << bit);
        *rot = (struct disk_rot){slice_dup(entry->key), (int64_t)at, bit};
    }
    return true;
}

/* ---- objects -------------------------------------------------------------*/

struct disk_object **disk_object(struct env_file *file)
{
    return file->disk != NULL ? &file->node->object : NULL;
}

struct disk_object *disk_object_at(struct disk *disk, const char *path)
{
    struct node *node = lookup(disk, path);

    return node != NULL ? node->object : NULL;
}

void disk_object_resized(struct env_file *file, int64_t bytes)
{
    file->node->object_bytes = bytes;
    changed(file->node);
}

int disk_try_write(struct env_file *file, int64_t more)
{
    struct disk *disk = file->disk;

    if (disk == NULL)
        return -EIO;
    disk->counts.writes++;
    if (is_frozen(disk) || number_is_dead(disk, file->number))
        return -EIO;
    if (strikes(disk, &disk->faults.write_at, disk->faults.write_ppm))
        return error_of(disk);
    return more > room(disk) ? -ENOSPC : 0;
}

int disk_try_sync(struct env_file *file)
{
    struct disk *disk = file->disk;

    if (disk == NULL)
        return -EIO;
    disk->counts.syncs++;
    if (is_frozen(disk) || number_is_dead(disk, file->number))
        return -EIO;
    return strikes(disk, &disk->faults.sync_at, disk->faults.sync_ppm)
               ? error_of(disk)
               : 0;
}
