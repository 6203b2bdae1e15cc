/* Stores that hold what can be had again: a damaged one makes way for an empty
 * one, and stays beside it for whoever wants to look. */
#include "base/env.h"
#include "base/kv.h"

#include <errno.h>
#include <stdlib.h>

static int set_aside(struct env *env, const char *path, char **aside,
                     char **why)
{
    char *name = xasprintf("%s.damaged", path);

    for (int i = 1; env_path_kind(env, name) != 0; i++) {
        free(name);
        name = xasprintf("%s.%d.damaged", path, i);
    }
    int error = env_rename(env, path, name);
    if (error == 0) {
        *aside = name;
        return 0;
    }
    *why = xasprintf("The store %s is damaged and cannot be moved away: %s. "
                     "Move it away and restart",
                     path, strerror(-error));
    free(name);
    return error;
}

int kv_open_cache(struct env *env, const char *path, struct kv **kv,
                  char **aside, char **why)
{
    int error = kv_open(env, path, kv, why);

    *aside = NULL;
    if (error != -EBADMSG)
        return error;
    free(*why);
    *why = NULL;
    error = set_aside(env, path, aside, why);
    return error != 0 ? error : kv_open(env, path, kv, why);
}

int kv_replace_damaged(struct env *env, const char *path, struct kv **kv,
                       char **aside, char **why)
{
    kv_close(*kv);
    *kv = NULL;
    int error = set_aside(env, path, aside, why);
    return error != 0 ? error : kv_open(env, path, kv, why);
}
