#include "broker/log_dirs.h"

#include "base/alloc.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/meta_properties.h"
#include "broker/checkpoint.h"
#include "broker/cleaner_file.h"
#include "broker/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char clean_name[] = ".kafka_cleanshutdown";
static const char lock_name[] = ".lock";
static const char checkpoints_name[] = "leat-checkpoints";

/* ---- identity
 * ------------------------------------------------------------------- */

static enum err format(struct broker *broker, struct env *env, const char *path,
                       struct meta_properties *m, char **why)
{
    struct prng random = {env_random(env)};

    snprintf(m->cluster_id, sizeof m->cluster_id, "%s",
             broker->cluster_id != NULL ? broker->cluster_id
                                        : broker->config->cluster_id);
    m->node_id = broker->config->node_id;
    m->directory_id = uuid_random(&random);
    log_info("server", "Formatting %s for cluster %s", path, m->cluster_id);
    return meta_dir_format(env, path, m, why);
}

static enum err check(struct broker *broker, const char *path,
                      const struct meta_properties *m, char **why)
{
    const struct server_config *config = broker->config;
    const char *expected =
        broker->cluster_id != NULL ? broker->cluster_id : config->cluster_id;

    if (expected != NULL && strcmp(expected, m->cluster_id) != 0) {
        *why = xasprintf(
            "The log directory %s belongs to cluster %s, not to %s. Point "
            "'log.dirs' at this cluster's directories, or empty and format it "
            "again if its data may be lost",
            path, m->cluster_id, expected);
        return ERR_INCONSISTENT_CLUSTER_ID;
    }
    if (m->node_id != config->node_id) {
        *why = xasprintf("The log directory %s was formatted for node %d, but "
                         "'node.id' is %d. Correct 'node.id' or 'log.dirs'",
                         path, m->node_id, config->node_id);
        return ERR_INVALID_CONFIG;
    }
    return ERR_NONE;
}

static enum err identify(struct broker *broker, struct env *env,
                         const char *path, struct meta_properties *m,
                         char **why)
{
    enum err error = meta_dir_read(env, path, m, why);

    if (error == ERR_ABSENT &&
        (broker->config->cluster_id != NULL || broker->cluster_id != NULL)) {
        free(*why);
        *why = NULL;
        error = format(broker, env, path, m, why);
    } else if (error == ERR_ABSENT) {
        free(*why);
        *why = xasprintf(
            "The log directory %s is not formatted. Run 'kafka-storage.sh "
            "format -t CLUSTER_ID -c FILE.properties' first (random-uuid makes "
            "an id; all nodes of a cluster take the same)",
            path);
    }
    return error != ERR_NONE ? error : check(broker, path, m, why);
}

/* ---- opening
 * ----------------------------------------------------------------------- */

static enum err lock(struct env *env, struct log_dir *dir, char **why)
{
    char *path = xasprintf("%s/%s", dir->path, lock_name);
    int error = env_lock_file(env, path, &dir->lock);

    free(path);
    if (error == -EAGAIN) {
        *why = xasprintf("The log directory %s is in use by another process. "
                         "Stop that one, or give this node another 'log.dirs'",
                         dir->path);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (error < 0) {
        *why = xasprintf("Cannot lock the log directory %s: %s. Check its "
                         "owner and that the disk is writable",
                         dir->path, strerror(-error));
        return ERR_IO;
    }
    return ERR_NONE;
}

static enum err open_checkpoints(struct env *env, struct log_dir *dir,
                                 char **why)
{
    char *path = xasprintf("%s/%s", dir->path, checkpoints_name);
    char *aside = NULL;
    int error = kv_open_cache(env, path, &dir->checkpoints, &aside, why);

    if (error == 0 && aside != NULL)
        log_warn("server",
                 "The store %s is damaged; it was renamed to %s. Its high "
                 "watermarks come back from the replicas; records that were "
                 "deleted by offset may show again",
                 path, aside);
    if (error == 0 && checkpoint_note_lost(dir, aside != NULL) < 0)
        log_warn("server",
                 "The store %s cannot be written; compacted logs of another "
                 "broker may seem to be damaged if this node does not stop "
                 "cleanly",
                 path);
    free(aside);
    free(path);
    return error < 0 ? ERR_IO : ERR_NONE;
}

struct future_of {
    struct broker *broker;
    struct log_dir *dir;
};

static void note_future(void *arg, struct slice name)
{
    const struct future_of *f = arg;

    map_put(&f->broker->futures, name, f->dir);
}

static enum err open_dir(struct broker *broker, struct env *env,
                         struct log_dir *dir, char **why)
{
    struct meta_properties m = {0};
    enum err error = identify(broker, env, dir->path, &m, why);

    if (error != ERR_NONE)
        return error;
    if (broker->cluster_id == NULL)
        broker->cluster_id = xstrdup(m.cluster_id);
    dir->id = m.directory_id;
    error = lock(env, dir, why);
    if (error == ERR_NONE && broker->config->is_broker)
        error = open_checkpoints(env, dir, why);
    if (error == ERR_NONE && broker->config->is_broker)
        log_remove_leftovers(env, dir->path, note_future,
                             &(struct future_of){broker, dir});
    return error;
}

/* What this node cannot do without, and what it cannot have understood, ends
 * the start; a disk that is not there does not. */
static bool can_do_without(struct broker *broker, const struct log_dir *dir,
                           enum err error)
{
    const char *metadata = broker->config->metadata_log_dir;

    return error == ERR_IO && broker->config->is_broker &&
           broker->config->log_dirs_len > 1 &&
           (metadata == NULL || strcmp(metadata, dir->path) != 0);
}

static void leave_out(struct log_dir *dir, char **why)
{
    log_error("server",
              "The log directory %s is offline, and so are its replicas: %s",
              dir->path, *why);
    free(*why);
    *why = NULL;
    if (dir->checkpoints != NULL)
        kv_close(dir->checkpoints);
    dir->checkpoints = NULL;
    atomic_store(&dir->failed, true);
}

static enum err open_or_leave(struct broker *broker, struct env *env,
                              struct log_dir *dir, char **why)
{
    enum err error = open_dir(broker, env, dir, why);

    if (error == ERR_NONE || !can_do_without(broker, dir, error))
        return error;
    leave_out(dir, why);
    return ERR_NONE;
}

static enum err check_some_left(const struct broker *broker, char **why)
{
    for (int i = 0; i < broker->log_dirs_len; i++)
        if (!log_dir_failed(&broker->log_dirs[i]))
            return ERR_NONE;
    *why = xstrdup("None of the directories in 'log.dirs' can be used. Check "
                   "the disks");
    return ERR_IO;
}

/* is_new: those that are not formatted; *first_why: the first of them. */
static enum err open_formatted(struct broker *broker, struct env *env,
                               bool *is_new, char **first_why, char **why)
{
    for (int i = 0; i < broker->log_dirs_len; i++) {
        enum err error = open_or_leave(broker, env, &broker->log_dirs[i], why);

        is_new[i] = error == ERR_ABSENT;
        if (error != ERR_NONE && error != ERR_ABSENT)
            return error;
        if (*first_why == NULL)
            *first_why = *why;
        else
            free(*why);
        *why = NULL;
    }
    return ERR_NONE;
}

/* A disk was added: the others say which cluster this is. */
static enum err open_new(struct broker *broker, struct env *env,
                         const bool *is_new, char **first_why, char **why)
{
    for (int i = 0; i < broker->log_dirs_len; i++) {
        enum err error = ERR_NONE;

        if (is_new[i] && broker->cluster_id != NULL) {
            error = open_or_leave(broker, env, &broker->log_dirs[i], why);
        } else if (is_new[i]) {
            *why = *first_why;
            *first_why = NULL;
            error = ERR_ABSENT;
        }
        if (error != ERR_NONE)
            return error;
    }
    return ERR_NONE;
}

enum err log_dirs_open(struct broker *broker, struct env *env, char **why)
{
    size_t n = broker->config->log_dirs_len;
    bool *is_new = xcalloc(n, sizeof *is_new);
    char *first_why = NULL;

    broker->node_id = broker->config->node_id;
    broker->log_dirs = xcalloc(n, sizeof *broker->log_dirs);
    broker->log_dirs_len = (int)n;
    for (size_t i = 0; i < n; i++) {
        broker->log_dirs[i].path = broker->config->log_dirs[i];
        broker->log_dirs[i].cleaned =
            cleaner_file_new(broker->config->log_dirs[i]);
    }
    enum err error = open_formatted(broker, env, is_new, &first_why, why);
    if (error == ERR_NONE)
        error = open_new(broker, env, is_new, &first_why, why);
    free(is_new);
    free(first_why);
    return error != ERR_NONE ? error : check_some_left(broker, why);
}

/* ---- clean stops --------------------------------------------------------- */

static int64_t changed_ms(struct env *env, const char *path)
{
    struct env_file *file;

    if (env_file_open(env, path, ENV_READ, &file) < 0)
        return 0;
    int64_t ms = env_file_changed_ms(file);
    env_file_unref(file);
    return ms;
}

static int64_t epoch_of_mark(struct buf *text)
{
    buf_put_u8(text, 0);
    const char *found = strstr((const char *)text->data, "brokerEpoch");

    return found == NULL
               ? -1
               : strtoll(found + strcspn(found, "-0123456789"), NULL, 10);
}

/* A mark that came back after a power loss would call the logs clean that were
 * written since. */
static int take_mark(struct env *env, struct log_dir *dir, int64_t *epoch)
{
    char *path = xasprintf("%s/%s", dir->path, clean_name);
    struct buf text = BUF_INIT;
    int error = 0;

    *epoch = -1;
    int rc = env_read_all(env, path, 4096, &text);
    dir->clean = rc >= 0;
    if (dir->clean) {
        dir->stopped_ms = changed_ms(env, path);
        *epoch = epoch_of_mark(&text);
    }
    if (rc != -ENOENT) { /* one that cannot be read must not count later */
        error = env_unlink(env, path);
        if (error == 0)
            error = env_sync_dir(env, dir->path);
    }
    buf_free(&text);
    free(path);
    if (error == 0)
        checkpoint_count_start(dir);
    return error;
}

enum err log_dirs_take_clean_marks(struct broker *broker, struct env *env,
                                   int64_t *epoch, char **why)
{
    *epoch = INT64_MAX;
    for (int i = 0; i < broker->log_dirs_len; i++) {
        struct log_dir *dir = &broker->log_dirs[i];
        int64_t found;

        if (log_dir_failed(dir))
            continue; /* the registration tells that it is not there */
        int error = take_mark(env, dir, &found);
        if (error == 0) {
            *epoch = found < *epoch ? found : *epoch;
            continue;
        }
        *why = xasprintf("The mark of a clean stop in %s cannot be removed: "
                         "%s. Check the disk",
                         dir->path, strerror(-error));
        if (!can_do_without(broker, dir, ERR_IO))
            return ERR_IO;
        leave_out(dir, why);
    }
    return check_some_left(broker, why);
}

void log_dirs_leave_clean_marks(struct broker *broker, struct env *env)
{
    for (int i = 0; i < broker->log_dirs_len; i++) {
        if (log_dir_failed(&broker->log_dirs[i]))
            continue;
        char *path = xasprintf("%s/%s", broker->log_dirs[i].path, clean_name);
        struct buf text = BUF_INIT;

        buf_printf(&text, "{\"version\":0,\"brokerEpoch\":\"%lld\"}",
                   (long long)atomic_load(&broker->epoch));
        int error = checkpoint_count_start(&broker->log_dirs[i]);
        if (error == 0)
            error = env_write_all(env, path, buf_slice(&text));
        if (error < 0)
            log_warn("server",
                     "Cannot leave the mark of a clean stop in %s: %s. The "
                     "next start will check the logs' tails",
                     broker->log_dirs[i].path, strerror(-error));
        buf_free(&text);
        free(path);
    }
}
