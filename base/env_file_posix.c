/* Files: thin, exact wrappers of system calls.
 *
 * Every function finishes what it started (short reads and writes, EINTR) or
 * says why it could not. */
#include "base/env_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE_PARTS_MAX = 64 };

struct env_file {
    atomic_uint refs;
    int fd;
};

/* ---- open files ----------------------------------------------------------*/

static int open_fd(const char *path, int flags)
{
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC, 0644);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static struct env_file *file_new(int fd)
{
    struct env_file *file = xmalloc(sizeof *file);

    atomic_init(&file->refs, 1);
    file->fd = fd;
    return file;
}

int env_file_open(struct env *env, const char *path, unsigned flags,
                  struct env_file **file)
{
    int fd = open_fd(path, ((flags & ENV_READ) != 0 ? O_RDONLY : O_RDWR) |
                               ((flags & ENV_CREATE) != 0 ? O_CREAT : 0) |
                               ((flags & ENV_EXCLUSIVE) != 0 ? O_EXCL : 0));

    if (fd < 0)
        return fd;
    *file = file_new(fd);
    return 0;
}

int env_file_fd(const struct env_file *file) { return file->fd; }

struct env_file *env_file_ref(struct env_file *file)
{
    atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
    return file;
}

void env_file_unref(struct env_file *file)
{
    if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
        return;
    close(file->fd);
    free(file);
}

int64_t env_file_size(struct env_file *file)
{
    struct stat st;

    return fstat(file->fd, &st) != 0 ? -errno : st.st_size;
}

int64_t env_file_changed_ms(struct env_file *file)
{
    struct stat st;

    return fstat(file->fd, &st) != 0
               ? -errno
               : st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

int env_file_set_changed_ms(struct env_file *file, int64_t changed_ms)
{
    struct timespec times[] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = changed_ms / 1000, .tv_nsec = changed_ms % 1000 * 1000000},
    };

    return futimens(file->fd, times) != 0 ? -errno : 0;
}

int64_t env_file_read(struct env_file *file, void *data, size_t len,
                      int64_t position)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(file->fd, (uint8_t *)data + done, len - done,
                          position + (int64_t)done);

        if (n == 0)
            break;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return (int64_t)done;
}

int64_t env_file_read_nowait(struct env_file *file, void *data, size_t len,
                             int64_t position)
{
    size_t done = 0;

    while (done < len) {
        struct iovec part = {(uint8_t *)data + done, len - done};
        ssize_t n =
            preadv2(file->fd, &part, 1, position + (int64_t)done, RWF_NOWAIT);

        if (n == 0)
            break;
        if (n > 0)
            done += (size_t)n;
        else if (errno == EOPNOTSUPP || errno == ENOSYS)
            /* A file system without the question: reading may wait. */
            return env_file_read(file, data, len, position);
        else if (errno != EINTR)
            return -errno;
    }
    return (int64_t)done;
}

/* Fills `into` with the parts from *part on, of which *skip bytes are done. */
static int gather(const struct slice *parts, size_t parts_len, size_t part,
                  size_t skip, struct iovec *into)
{
    int n = 0;

    for (; part < parts_len && n < WRITE_PARTS_MAX; part++, skip = 0)
        if (parts[part].len != skip)
            into[n++] = (struct iovec){
                (void *)(uintptr_t)(parts[part].data + skip),
                parts[part].len - skip,
            };
    return n;
}

int env_file_write(struct env_file *file, const struct slice *parts,
                   size_t parts_len, int64_t position)
{
    size_t part = 0, skip = 0; /* where the next write starts */

    for (;;) {
        struct iovec rest[WRITE_PARTS_MAX];
        int rest_len = gather(parts, parts_len, part, skip, rest);

        if (rest_len == 0)
            return 0;
        ssize_t n = pwritev(file->fd, rest, rest_len, position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        position += n;
        for (skip += (size_t)n; part < parts_len && skip >= parts[part].len;)
            skip -= parts[part++].len;
    }
}

int env_file_truncate(struct env_file *file, int64_t size)
{
    int rc;

    do {
        rc = ftruncate(file->fd, size);
    } while (rc != 0 && errno == EINTR);
    return rc != 0 ? -errno : 0;
}

int env_file_sync(struct env_file *file)
{
    int rc;

    do {
        rc = fdatasync(file->fd);
    } while (rc != 0 && errno == EINTR);
    return rc != 0 ? -errno : 0;
}

/* ---- names ---------------------------------------------------------------*/

/* A file that loses its name goes with its last reference, and whoever gives
 * that back waits for its pages that are on their way to the disk: on a slow
 * one for minutes.  So a loop holds it meanwhile, and a helper thread lets go.
 */
static int hold(struct env *env, const char *path)
{
    return env == NULL ? -1 : open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static void let_go(struct env *env, int fd)
{
    if (fd >= 0)
        env_work_close(env, fd);
}

int env_rename(struct env *env, const char *from, const char *to)
{
    int held = hold(env, to);
    int rc = rename(from, to) != 0 ? -errno : 0;

    let_go(env, held);
    return rc;
}

int env_unlink(struct env *env, const char *path)
{
    int held = hold(env, path);
    int rc = unlink(path) != 0 ? -errno : 0;

    let_go(env, held);
    return rc;
}

int env_mkdir(struct env *env, const char *path)
{
    if (mkdir(path, 0755) == 0)
        return 0;
    int error = errno;
    if (error == EEXIST && env_path_kind(env, path) == 2)
        return 0;
    return -error;
}

int env_rmdir(struct env *env, const char *path)
{
    return rmdir(path) != 0 ? -errno : 0;
}

int env_sync_dir(struct env *env, const char *path)
{
    int fd = open_fd(path, O_RDONLY | O_DIRECTORY);

    if (fd < 0)
        return fd;
    int error = fsync(fd) != 0 ? -errno : 0;
    close(fd);
    return error;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int env_list_dir(struct env *env, const char *path, char ***names,
                 size_t *names_len)
{
    DIR *dir = opendir(path);
    char **list = NULL;
    size_t len = 0, cap = 0;
    struct dirent *entry;

    if (dir == NULL)
        return -errno;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (len == cap) {
            cap = cap != 0 ? 2 * cap : 16;
            list = xrealloc(list, cap * sizeof *list);
        }
        list[len++] = xstrdup(entry->d_name);
    }
    int error = errno;
    closedir(dir);
    if (error != 0) {
        while (len != 0)
            free(list[--len]);
        free(list);
        return -error;
    }
    if (len != 0)
        qsort(list, len, sizeof *list, by_name);
    *names = list;
    *names_len = len;
    return 0;
}

int env_path_kind(struct env *env, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    return S_ISDIR(st.st_mode) ? 2 : 1;
}

int env_disk_space(struct env *env, const char *path, int64_t *total_bytes,
                   int64_t *free_bytes)
{
    struct statvfs st;

    if (statvfs(path, &st) != 0)
        return -errno;
    *total_bytes = (int64_t)(st.f_blocks * st.f_frsize);
    *free_bytes = (int64_t)(st.f_bavail * st.f_frsize);
    return 0;
}

/* flock() belongs to the open file, so a second opening by this process is
 * refused as another process's would be. */
int env_lock_file(struct env *env, const char *path, struct env_file **lock)
{
    int fd = open_fd(path, O_RDWR | O_CREAT);

    if (fd < 0)
        return fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;

        close(fd);
        return error == EWOULDBLOCK ? -EAGAIN : -error;
    }
    *lock = file_new(fd);
    return 0;
}

/* ---- whole small files ---------------------------------------------------*/

int env_read_all(struct env *env, const char *path, size_t max_bytes,
                 struct buf *into)
{
    struct env_file *file;
    int error = env_file_open(env, path, ENV_READ, &file);

    if (error != 0)
        return error;
    int64_t size = env_file_size(file);
    if (size < 0)
        error = (int)size;
    else if ((uint64_t)size > max_bytes)
        error = -EFBIG;
    if (error == 0 && size != 0) {
        buf_reserve(into, (size_t)size);
        int64_t n =
            env_file_read(file, into->data + into->len, (size_t)size, 0);
        if (n < 0)
            error = (int)n;
        else
            into->len += (size_t)n;
    }
    env_file_unref(file);
    return error;
}

static int write_new(struct env *env, const char *path, struct slice data)
{
    struct env_file *file;
    int error = env_file_open(env, path, ENV_CREATE, &file);

    if (error != 0)
        return error;
    error = env_file_truncate(file, 0);
    if (error == 0)
        error = env_file_write(file, &data, 1, 0);
    if (error == 0)
        error = env_file_sync(file);
    env_file_unref(file);
    return error;
}

static int sync_parent(struct env *env, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return env_sync_dir(env, ".");
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    char *parent = slice_dup(slice_of(path, len));
    int error = env_sync_dir(env, parent);
    free(parent);
    return error;
}

int env_write_all(struct env *env, const char *path, struct slice data)
{
    char *temporary = xasprintf("%s.tmp", path);
    int error = write_new(env, temporary, data);

    if (error == 0)
        error = env_rename(env, temporary, path);
    if (error == 0)
        error = sync_parent(env, path);
    else
        unlink(temporary);
    free(temporary);
    return error;
}
