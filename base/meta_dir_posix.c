/* A formatted directory appears in one step: the file is written under another
 * name, synced, renamed, and the directory synced.  A node that finds
 * meta.properties finds it whole. */
#include "base/meta_properties.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 64 * 1024 };

static enum err io_error(const char *what, const char *path, char **why)
{
    enum err error = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;

    *why = xasprintf("cannot %s %s: %s", what, path, strerror(errno));
    return error;
}

/* Whole files of at most FILE_MAX_BYTES. */
static enum err read_file(const char *path, struct buf *text, char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        enum err error = io_error("read", path, why);
        return errno == ENOENT || errno == ENOTDIR ? ERR_ABSENT : error;
    }
    do {
        uint8_t *at = buf_extend(text, 4096);
        n = read(fd, at, 4096);
        text->len -= (size_t)(n < 0 ? 4096 : 4096 - n);
    } while (n > 0 && text->len <= FILE_MAX_BYTES);
    enum err error = n < 0 ? io_error("read", path, why) : ERR_NONE;
    close(fd);
    return error;
}

static bool write_all(int fd, struct slice text)
{
    while (text.len != 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text.data += n;
        text.len -= (size_t)n;
    }
    return true;
}

static enum err sync_dir(const char *dir, char **why)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err error = ERR_NONE;

    if (fd < 0 || fsync(fd) != 0)
        error = io_error("sync", dir, why);
    if (fd >= 0)
        close(fd);
    return error;
}

/* Creates `path` with the text, or leaves what was there. */
static enum err replace_file(const char *dir, const char *name,
                             struct slice text, char **why)
{
    char *path = xasprintf("%s/%s", dir, name);
    char *fresh = xasprintf("%s.tmp", path);
    enum err error = ERR_NONE;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0)
        error = io_error("create", fresh, why);
    else if (!write_all(fd, text) || fsync(fd) != 0)
        error = io_error("write", fresh, why);
    if (fd >= 0)
        close(fd);
    if (error == ERR_NONE && rename(fresh, path) != 0)
        error = io_error("rename", fresh, why);
    if (error == ERR_NONE)
        error = sync_dir(dir, why);
    else if (fd >= 0)
        unlink(fresh);
    free(fresh);
    free(path);
    return error;
}

/* mkdir -p */
static enum err make_dirs(const char *dir, char **why)
{
    char *path = xstrdup(dir);
    enum err error = ERR_NONE;

    for (char *p = path + 1; error == ERR_NONE; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            error = io_error("create directory", path, why);
        *p = end;
        if (end == '\0')
            break;
    }
    free(path);
    return error;
}

enum err meta_dir_read(const char *dir, struct meta_properties *m, char **why)
{
    char *path = xasprintf("%s/" META_PROPERTIES_NAME, dir);
    struct buf text = BUF_INIT;
    enum err error = read_file(path, &text, why);

    if (error == ERR_NONE)
        error = meta_properties_parse(buf_slice(&text), path, m, why);
    buf_free(&text);
    free(path);
    return error;
}

enum err meta_dir_format(const char *dir, const struct meta_properties *m,
                         char **why)
{
    struct buf text = BUF_INIT;
    enum err error = make_dirs(dir, why);

    meta_properties_print(m, &text);
    if (error == ERR_NONE)
        error = replace_file(dir, META_PROPERTIES_NAME, buf_slice(&text), why);
    buf_free(&text);
    return error;
}

enum err meta_dir_read_voters(const char *dir, char **text, char **why)
{
    char *path = xasprintf("%s/" META_VOTERS_NAME, dir);
    struct buf content = BUF_INIT;
    enum err error = read_file(path, &content, why);

    *text = NULL;
    if (error == ERR_ABSENT) {
        free(*why);
        *why = NULL;
        error = ERR_NONE;
    } else if (error == ERR_NONE) {
        while (content.len != 0 && content.data[content.len - 1] == '\n')
            content.len--;
        *text = slice_dup(buf_slice(&content));
    }
    buf_free(&content);
    free(path);
    return error;
}

enum err meta_dir_write_voters(const char *dir, const char *text, char **why)
{
    struct buf content = BUF_INIT;
    enum err error = make_dirs(dir, why);

    buf_printf(&content, "%s\n", text);
    if (error == ERR_NONE)
        error = replace_file(dir, META_VOTERS_NAME, buf_slice(&content), why);
    buf_free(&content);
    return error;
}
