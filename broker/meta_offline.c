/* Log directories that failed, and the replicas that went offline.
 *
 * A directory fails as a whole: with the first write, sync or opening in it
 * that does.  From then on it is left alone until the node is started again,
 * for nobody knows what a disk that said no still has.  The shards take its
 * replicas offline and say of each so here; the controller is told, many in one
 * call, until it has confirmed them, and makes others lead.  A new registration
 * tells it all of them again.
 *
 * A replica may also go offline by itself, when its log does not open.
 *
 * The node ends when no directory is left, or the one with its metadata
 * fails. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/shard.h"

#include <stdlib.h>

enum { ITEMS_MAX = 2000, AGAIN_MS = 50 };

static void offline_send(struct meta *m);

/* ---- directories --------------------------------------------------------- */

struct dir_failure {
    struct env_task task;
    struct meta *meta;
    int dir;
};

static bool is_last(const struct broker *b)
{
    for (int i = 0; i < b->log_dirs_len; i++)
        if (!log_dir_failed(&b->log_dirs[i]))
            return false;
    return true;
}

static bool holds_metadata(const struct broker *b, const struct log_dir *dir)
{
    return b->config->metadata_log_dir != NULL &&
           strcmp(dir->path, b->config->metadata_log_dir) == 0;
}

/* Its leaders would stand still for ever: others take over when this process is
 * gone. */
static void end_node(struct meta *m, const struct log_dir *dir)
{
    log_error("server",
              "The log directory %s does not take writes any more%s; this node "
              "stops, so that others lead its partitions. Check the disk, then "
              "start it again",
              dir->path,
              is_last(m->broker) ? ", and there is no other"
                                 : ", and it holds this node's metadata");
    lifecycle_beat(m);
    meta_fail(m);
}

static void leave_dir(struct meta *m, int dir)
{
    log_error("server",
              "The log directory %s failed; its replicas are offline and "
              "others lead them. This node goes on with its other directories. "
              "Check the disk, then start this node again; or take the "
              "directory out of 'log.dirs' if its replicas may be copied anew",
              m->broker->log_dirs[dir].path);
    for (int i = 0; i < m->broker->shards_len; i++) {
        struct shard_updates *u = shard_updates_new(m->broker->shards[i]);
        struct shard_update *item = shard_updates_add(u);

        item->kind = SHARD_DIR_FAILED;
        item->dir = dir;
        shard_updates_post(u);
    }
}

static void dir_failed(struct env_task *task)
{
    struct dir_failure *f = LIST_ENTRY(task, struct dir_failure, task);
    struct meta *m = f->meta;
    struct log_dir *dir = &m->broker->log_dirs[f->dir];

    if (!atomic_exchange(&dir->failed, true)) {
        if (is_last(m->broker) || holds_metadata(m->broker, dir))
            end_node(m, dir);
        else
            leave_dir(m, f->dir);
    }
    free(f);
}

void meta_log_dir_failed(struct meta *m, const struct log_dir *dir)
{
    struct dir_failure *f = xmalloc(sizeof *f);

    *f = (struct dir_failure){
        .task.fn = dir_failed,
        .meta = m,
        .dir = (int)(dir - m->broker->log_dirs),
    };
    env_post(m->env, &f->task);
}

/* ---- replicas ------------------------------------------------------------ */

struct replica_news {
    struct env_task task;
    struct meta *meta;
    struct image_place place;
};

static void went_offline(struct env_task *task)
{
    struct replica_news *n = LIST_ENTRY(task, struct replica_news, task);
    struct offline_replicas *o = &n->meta->offline;

    if (o->len == o->cap) {
        o->cap = o->cap != 0 ? o->cap * 2 : 16;
        o->items = xrealloc(o->items, o->cap * sizeof *o->items);
    }
    o->items[o->len++] = n->place;
    offline_send(n->meta);
    free(n);
}

void meta_replica_offline(struct meta *m, const struct uuid *topic_id,
                          int32_t partition)
{
    struct replica_news *n = xmalloc(sizeof *n);

    *n = (struct replica_news){
        .task.fn = went_offline,
        .meta = m,
        .place = {*topic_id, partition},
    };
    env_post(m->env, &n->task);
}

/* ---- the call ------------------------------------------------------------ */

static void offline_done(struct control_call *call, enum err error,
                         const Leat__ControlResponse *response)
{
    struct meta *m = LIST_ENTRY(call, struct meta, offline.call);
    struct offline_replicas *o = &m->offline;

    if (error == ERR_NONE && response->error == ERR_NONE) {
        /* A registration since then has the rest told anew. */
        if (o->sent_epoch == atomic_load(&m->broker->epoch))
            o->told += o->sent;
        offline_send(m);
    } else if (error == ERR_NONE && response->error == ERR_STALE_BROKER_EPOCH) {
        lifecycle_stale(m); /* offline_registered() goes on */
    } else {
        env_timer_start(m->env, &o->again, AGAIN_MS);
    }
}

static void offline_send(struct meta *m)
{
    struct offline_replicas *o = &m->offline;
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__OfflineReplicasRequest r = LEAT__OFFLINE_REPLICAS_REQUEST__INIT;
    struct arena arena;

    if (o->told == o->len || control_call_running(&o->call) ||
        env_timer_running(&o->again) ||
        (m->life.state != LIFECYCLE_REGISTERED &&
         m->life.state != LIFECYCLE_LEAVING))
        return;
    arena_init(&arena, 0);
    o->sent = o->len - o->told < ITEMS_MAX ? o->len - o->told : ITEMS_MAX;
    o->sent_epoch = atomic_load(&m->broker->epoch);
    Leat__OfflineReplica *items = arena_array(&arena, o->sent, sizeof *items);
    r.replicas = arena_array(&arena, o->sent, sizeof *r.replicas);
    for (size_t i = 0; i < o->sent; i++) {
        struct image_place *at = &o->items[o->told + i];

        leat__offline_replica__init(&items[i]);
        items[i].topic_id = (ProtobufCBinaryData){16, at->topic_id.bytes};
        items[i].partition = at->partition;
        r.replicas[i] = &items[i];
    }
    r.n_replicas = o->sent;
    r.broker_id = m->broker->node_id;
    r.broker_epoch = o->sent_epoch;
    request.call_case = LEAT__CONTROL_REQUEST__CALL_OFFLINE_REPLICAS;
    request.offline_replicas = &r;
    o->call.repeatable = true;
    o->call.attempt_ms = meta_attempt_ms(m);
    o->call.deadline_ms = INT64_MAX;
    o->call.done = offline_done;
    control_send(m->control, CONTROL_CALLS, &o->call, &request);
    arena_free(&arena);
}

static void offline_again(void *arg) { offline_send(arg); }

/* ---- life ---------------------------------------------------------------- */

void offline_registered(struct meta *m)
{
    m->offline.told = 0;
    offline_send(m);
}

void offline_init(struct meta *m)
{
    m->offline.again = (struct env_timer){.fn = offline_again, .arg = m};
}

void offline_stop(struct meta *m) { env_timer_stop(m->env, &m->offline.again); }

void offline_free(struct meta *m) { free(m->offline.items); }
