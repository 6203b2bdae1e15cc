/* A formatted directory appears in one step: env_write_all() writes the file
 * under another name, syncs, renames, and syncs the directory.  A node that
 * finds meta.properties finds it whole. */
#include "base/env.h"
#include "base/meta_properties.h"

#include <errno.h>
#include <stdlib.h>

enum { FILE_MAX_BYTES = 64 * 1024 };

/* error: a negative errno. */
static enum err io_error(int error, const char *what, const char *path,
                         char **why)
{
    *why = xasprintf("cannot %s %s: %s", what, path, strerror(-error));
    return error == -ENOSPC || error == -EDQUOT ? ERR_FULL : ERR_IO;
}

static enum err read_file(struct env *env, const char *path, struct buf *text,
                          char **why)
{
    int error = env_read_all(env, path, FILE_MAX_BYTES, text);

    if (error == 0)
        return ERR_NONE;
    enum err result = io_error(error, "read", path, why);
    return error == -ENOENT || error == -ENOTDIR ? ERR_ABSENT : result;
}

/* mkdir -p */
static enum err make_dirs(struct env *env, const char *dir, char **why)
{
    char *path = xstrdup(dir);
    int error = 0;

    for (char *p = path + 1; error == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        error = env_mkdir(env, path);
        if (error != 0 || end == '\0')
            break;
        *p = end;
    }
    enum err result =
        error != 0 ? io_error(error, "create directory", path, why) : ERR_NONE;
    free(path);
    return result;
}

static enum err write_file(struct env *env, const char *dir, const char *name,
                           struct slice text, char **why)
{
    enum err result = make_dirs(env, dir, why);

    if (result != ERR_NONE)
        return result;
    char *path = xasprintf("%s/%s", dir, name);
    int error = env_write_all(env, path, text);
    if (error != 0)
        result = io_error(error, "write", path, why);
    free(path);
    return result;
}

enum err meta_dir_read(struct env *env, const char *dir,
                       struct meta_properties *m, char **why)
{
    char *path = xasprintf("%s/" META_PROPERTIES_NAME, dir);
    struct buf text = BUF_INIT;
    enum err error = read_file(env, path, &text, why);

    if (error == ERR_NONE)
        error = meta_properties_parse(buf_slice(&text), path, m, why);
    buf_free(&text);
    free(path);
    return error;
}

enum err meta_dir_format(struct env *env, const char *dir,
                         const struct meta_properties *m, char **why)
{
    struct buf text = BUF_INIT;

    meta_properties_print(m, &text);
    enum err error =
        write_file(env, dir, META_PROPERTIES_NAME, buf_slice(&text), why);
    buf_free(&text);
    return error;
}

enum err meta_dir_read_voters(struct env *env, const char *dir, char **text,
                              char **why)
{
    char *path = xasprintf("%s/" META_VOTERS_NAME, dir);
    struct buf content = BUF_INIT;
    enum err error = read_file(env, path, &content, why);

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

enum err meta_dir_write_voters(struct env *env, const char *dir,
                               const char *text, char **why)
{
    struct buf content = BUF_INIT;

    buf_printf(&content, "%s\n", text);
    enum err error =
        write_file(env, dir, META_VOTERS_NAME, buf_slice(&content), why);
    buf_free(&content);
    return error;
}
