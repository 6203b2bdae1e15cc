/* Log directories: what is in them, and replicas that are to go to another. */
#include "broker/dispatch.h"
#include "broker/replica/move.h"
#include "broker/scatter.h"
#include "broker/shard.h"

#include "base/alloc.h"

#include <stdlib.h>

/* ---- DescribeLogDirs
 * ---------------------------------------------------------------------- */

/* A partition's size, gathered on its shard. Names are copied: the topic may be
 * gone by the time the answer is written. */
struct dir_partition {
    int dir;
    struct slice topic;
    int32_t index;
    int64_t size_bytes;
    int64_t lag;
    bool is_future;
};

struct dirs {
    struct scatter_all all;
    struct dir_partition *items;
    int len;
    int cap;
};

static struct dir_partition *dirs_next(struct dirs *d)
{
    if (d->len == d->cap) {
        d->cap = d->cap != 0 ? d->cap * 2 : 64;
        d->items = xrealloc(d->items, (size_t)d->cap * sizeof *d->items);
    }
    return &d->items[d->len++];
}

static void dirs_add(struct dirs *d, struct arena *arena,
                     const struct partition *p)
{
    const struct log_dir *dirs = p->shard->broker->log_dirs;
    struct dir_partition item = {
        .dir = (int)(p->dir - dirs),
        .topic = arena_copy(arena, slice_str(p->topic->name)),
        .index = p->index,
        .size_bytes = log_size_bytes(p->log),
        .lag = p->role == PARTITION_LEADER
                   ? 0
                   : p->high_watermark - log_end_offset(p->log),
    };
    struct log_dir *to;

    *dirs_next(d) = item;
    if (!partition_moving(p, &to, &item.size_bytes, &item.lag))
        return;
    item.dir = (int)(to - dirs);
    item.is_future = true;
    *dirs_next(d) = item;
}

static void dirs_add_topic(struct dirs *d, struct arena *arena,
                           const struct shard_topic *t, const int32_t *wanted,
                           int wanted_len)
{
    for (int32_t i = 0; t != NULL && i < t->partitions; i++) {
        bool asked = wanted == NULL;

        for (int j = 0; j < wanted_len && !asked; j++)
            asked = wanted[j] == i;
        if (asked && t->local[i] != NULL && t->local[i]->log != NULL)
            dirs_add(d, arena, t->local[i]);
    }
}

static void dirs_run(struct scatter_all *all, struct shard *shard)
{
    struct dirs *d = (struct dirs *)(void *)all;
    const struct describe_log_dirs_request *q = all->request->msg;
    struct arena *arena = &all->request->arena;

    if (q->topics_len < 0) {
        MAP_EACH (e, &shard->topics_by_id) {
            dirs_add_topic(d, arena, e->value, NULL, 0);
        }
        return;
    }
    for (int i = 0; i < q->topics_len; i++)
        dirs_add_topic(d, arena, shard_topic_by_name(shard, q->topics[i].topic),
                       q->topics[i].partitions, q->topics[i].partitions_len);
}

static int by_dir_and_name(const void *a, const void *b)
{
    const struct dir_partition *x = a, *y = b;

    if (x->dir != y->dir)
        return x->dir - y->dir;
    int order = slice_cmp(x->topic, y->topic);
    return order != 0 ? order : x->index - y->index;
}

static void fill_dir(struct request *r, const struct dirs *d, int dir,
                     struct describe_log_dirs_response_result *out)
{
    const struct log_dir *l = &r->shard->broker->log_dirs[dir];
    struct describe_log_dirs_response_topic *t = NULL;
    struct describe_log_dirs_response_partition *items =
        arena_array(&r->arena, (size_t)d->len, sizeof *items);

    describe_log_dirs_response_result_init(out);
    out->log_dir = slice_str(l->path);
    out->topics = arena_array(&r->arena, (size_t)d->len, sizeof *out->topics);
    if (log_dir_failed(l) ||
        env_disk_space(r->shard->env, l->path, &out->total_bytes,
                       &out->usable_bytes) < 0) {
        out->error_code = ERR_KAFKA_STORAGE_ERROR;
        return;
    }
    for (int i = 0; i < d->len; i++) {
        const struct dir_partition *p = &d->items[i];

        if (p->dir != dir)
            continue;
        if (t == NULL || !slice_eq(t->name, p->topic)) {
            t = &out->topics[out->topics_len++];
            describe_log_dirs_response_topic_init(t);
            t->name = p->topic;
            t->partitions = items;
        }
        struct describe_log_dirs_response_partition *a =
            &t->partitions[t->partitions_len++];
        describe_log_dirs_response_partition_init(a);
        a->partition_index = p->index;
        a->partition_size = p->size_bytes;
        a->offset_lag = p->lag < 0 ? 0 : p->lag;
        a->is_future_key = p->is_future;
        items++;
    }
}

static void dirs_done(struct scatter_all *all)
{
    struct dirs *d = (struct dirs *)(void *)all;
    struct request *r = all->request;
    struct describe_log_dirs_response a;
    int n = r->shard->broker->log_dirs_len;

    describe_log_dirs_response_init(&a);
    a.results = arena_array(&r->arena, (size_t)n, sizeof *a.results);
    a.results_len = n;
    if (d->len != 0)
        qsort(d->items, (size_t)d->len, sizeof *d->items, by_dir_and_name);
    for (int i = 0; i < n; i++)
        fill_dir(r, d, i, &a.results[i]);
    free(d->items);
    request_respond(r, &a);
}

void api_describe_log_dirs(struct request *r)
{
    struct dirs *d = arena_alloc(&r->arena, sizeof *d);

    d->all.request = r;
    d->all.run = dirs_run;
    d->all.done = dirs_done;
    scatter_all_start(&d->all);
}

/* ---- AlterReplicaLogDirs ------------------------------------------------- */

struct alter_dir {
    struct log_dir *to; /* NULL: there is no such directory */
    struct
        alter_replica_log_dirs_response_alter_replica_log_dir_partition_result
            *a;
};

static struct log_dir *dir_named(const struct broker *b, struct slice path)
{
    for (int i = 0; i < b->log_dirs_len; i++)
        if (slice_eq(slice_str(b->log_dirs[i].path), path))
            return &b->log_dirs[i];
    return NULL;
}

/* A replica that is not here yet, as a reassignment has only begun, will be
 * made there: the tool asks again until it is. */
static void alter_run(struct scatter_item *item, struct partition *p)
{
    struct alter_dir *d = item->arg;

    if (d->to == NULL) {
        item->error = ERR_LOG_DIR_NOT_FOUND;
    } else if (p != NULL) {
        item->error = partition_move(p, d->to);
    } else if (item->error == ERR_NOT_LEADER_OR_FOLLOWER) {
        shard_want_dir(scatter_item_shard(item), &item->topic_id, item->index,
                       d->to);
        item->error = ERR_REPLICA_NOT_AVAILABLE;
    }
}

static void alter_done(struct scatter *s)
{
    for (int i = 0; i < s->items_len; i++) {
        const struct alter_dir *d = s->items[i].arg;

        d->a->error_code = (int16_t)err_wire(s->items[i].error);
        if (d->to == NULL)
            d->a->error_code = ERR_LOG_DIR_NOT_FOUND;
    }
    request_respond(s->request, s->arg);
}

static int count_topics(const struct alter_replica_log_dirs_request *q,
                        int *partitions)
{
    int topics = 0;

    *partitions = 0;
    for (int i = 0; i < q->dirs_len; i++) {
        topics += q->dirs[i].topics_len;
        for (int j = 0; j < q->dirs[i].topics_len; j++)
            *partitions += q->dirs[i].topics[j].partitions_len;
    }
    return topics;
}

/* One topic of one directory. */
static int alter_topic(
    struct scatter *s, int at, struct log_dir *to,
    const struct alter_replica_log_dirs_request_alter_replica_log_dir_topic *q,
    struct alter_replica_log_dirs_response_alter_replica_log_dir_topic_result
        *a)
{
    struct arena *arena = &s->request->arena;

    alter_replica_log_dirs_response_alter_replica_log_dir_topic_result_init(a);
    a->topic_name = q->name;
    a->partitions_len = q->partitions_len;
    a->partitions =
        arena_array(arena, (size_t)q->partitions_len, sizeof *a->partitions);
    for (int i = 0; i < q->partitions_len; i++) {
        struct alter_dir *d = arena_alloc(arena, sizeof *d);

        d->to = to;
        d->a = &a->partitions[i];
        d->a->partition_index = q->partitions[i];
        scatter_set(s, at + i, q->name, NULL, q->partitions[i], d);
    }
    return at + q->partitions_len;
}

void api_alter_replica_log_dirs(struct request *r)
{
    const struct alter_replica_log_dirs_request *q = r->msg;
    struct alter_replica_log_dirs_response *a =
        arena_alloc(&r->arena, sizeof *a);
    int partitions, at = 0;
    int topics = count_topics(q, &partitions);
    struct scatter *s = scatter_new(r, partitions);

    alter_replica_log_dirs_response_init(a);
    a->results = arena_array(&r->arena, (size_t)topics, sizeof *a->results);
    for (int i = 0; i < q->dirs_len; i++) {
        struct log_dir *to = dir_named(r->shard->broker, q->dirs[i].path);

        for (int j = 0; j < q->dirs[i].topics_len; j++)
            at = alter_topic(s, at, to, &q->dirs[i].topics[j],
                             &a->results[a->results_len++]);
    }
    s->run = alter_run;
    s->done = alter_done;
    s->arg = a;
    scatter_start(s);
}
