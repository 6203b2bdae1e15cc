/* Requests name topics once with their partitions below, so items are sorted
 * first and then walked in runs of one topic. */
#include "cli/admin_offsets.h"

#include <stdlib.h>

static int compare_items(const void *a, const void *b)
{
    const struct partition_offset *x = a;
    const struct partition_offset *y = b;
    int order = slice_cmp(x->topic, y->topic);

    if (order != 0)
        return order;
    return x->partition < y->partition ? -1 : x->partition > y->partition;
}

void partition_offsets_sort(struct partition_offset *items, int32_t len)
{
    if (len > 0)
        qsort(items, (size_t)len, sizeof *items, compare_items);
}

/* By partition, then by `timestamp`, which holds the place. */
static int compare_places(const void *a, const void *b)
{
    const struct partition_offset *x = a;
    const struct partition_offset *y = b;
    int order = compare_items(x, y);

    return order != 0 ? order : x->timestamp < y->timestamp ? -1 : 1;
}

int32_t partition_offsets_unique(struct partition_offset *items, int32_t len)
{
    int32_t kept = 0;

    if (len <= 0)
        return len;
    for (int32_t i = 0; i < len; i++)
        items[i].timestamp = i;
    qsort(items, (size_t)len, sizeof *items, compare_places);
    for (int32_t i = 0; i < len; i++)
        if (i + 1 == len || compare_items(&items[i], &items[i + 1]) != 0)
            items[kept++] = items[i];
    for (int32_t i = 0; i < kept; i++)
        items[i].timestamp = -1;
    return kept;
}

static struct partition_offset *find(struct partition_offset *items,
                                     int32_t len, struct slice topic,
                                     int32_t partition)
{
    struct partition_offset key = {.topic = topic, .partition = partition};

    return len > 0
               ? bsearch(&key, items, (size_t)len, sizeof *items, compare_items)
               : NULL;
}

/* The end (exclusive) of the run of items with the topic of item i. */
static int32_t run_end(const struct partition_offset *items, int32_t len,
                       int32_t i)
{
    int32_t end = i + 1;

    while (end < len && slice_eq(items[end].topic, items[i].topic))
        end++;
    return end;
}

/* ---- offsets of logs
 * ------------------------------------------------------------------------ */

/* Of open items; until its leader answers an item has the error that it did
 * not. */
static void note_leaders(struct partition_offset *items, int32_t len,
                         const bool *open, const struct metadata_response *m)
{
    for (int32_t i = 0; i < len; i++) {
        if (!open[i])
            continue;
        items[i].leader = -1;
        items[i].error = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    for (int32_t t = 0; t < m->topics_len; t++)
        for (int32_t k = 0; k < m->topics[t].partitions_len; k++) {
            const struct metadata_response_partition *p =
                &m->topics[t].partitions[k];
            struct partition_offset *item =
                find(items, len, m->topics[t].name, p->partition_index);
            if (item == NULL || !open[item - items])
                continue;
            item->leader = p->leader_id;
            item->error = p->leader_id < 0 ? ERR_LEADER_NOT_AVAILABLE
                                           : ERR_NETWORK_EXCEPTION;
        }
}

static enum err find_leaders(struct client *c, struct partition_offset *items,
                             int32_t len, const bool *open, struct arena *a)
{
    struct slice *names = arena_array(a, (size_t)len + 1, sizeof *names);
    struct metadata_response m;
    int32_t count = 0;

    for (int32_t i = 0; i < len; i = run_end(items, len, i))
        names[count++] = items[i].topic;
    enum err error = client_topics(c, names, count, false, &m, a);
    if (error == ERR_NONE)
        note_leaders(items, len, open, &m);
    return error;
}

/* Fills a request with the open items of one leader; false if there are none.
 */
static bool fill_list(const struct partition_offset *items, int32_t len,
                      int32_t leader, const bool *open, int64_t when_ms,
                      struct list_offsets_request *q, struct arena *a)
{
    q->topics = arena_array(a, (size_t)len + 1, sizeof *q->topics);
    q->topics_len = 0;
    for (int32_t i = 0; i < len;) {
        int32_t end = run_end(items, len, i);
        struct list_offsets_request_topic *t = &q->topics[q->topics_len];

        t->name = items[i].topic;
        t->partitions =
            arena_array(a, (size_t)(end - i), sizeof *t->partitions);
        t->partitions_len = 0;
        for (; i < end; i++) {
            if (!open[i] || items[i].leader != leader)
                continue;
            list_offsets_request_partition_init(
                &t->partitions[t->partitions_len]);
            t->partitions[t->partitions_len].partition_index =
                items[i].partition;
            t->partitions[t->partitions_len++].timestamp = when_ms;
        }
        q->topics_len += t->partitions_len != 0;
    }
    return q->topics_len != 0;
}

static void take_list(struct partition_offset *items, int32_t len, bool *open,
                      const struct list_offsets_response *r)
{
    for (int32_t t = 0; t < r->topics_len; t++)
        for (int32_t k = 0; k < r->topics[t].partitions_len; k++) {
            const struct list_offsets_response_partition_response *p =
                &r->topics[t].partitions[k];
            struct partition_offset *item =
                find(items, len, r->topics[t].name, p->partition_index);
            if (item == NULL)
                continue;
            item->error = p->error_code;
            item->offset = p->offset;
            item->timestamp = p->timestamp;
            if (p->old_style_offsets_len > 0)
                item->offset = p->old_style_offsets[0];
            open[item - items] = err_retriable(item->error);
        }
}

/* A partition without leader, or one that is not there, may stay so for long:
 * to be told once is enough. */
static bool may_stay(enum err error)
{
    return error == ERR_LEADER_NOT_AVAILABLE ||
           error == ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

/* One attempt at all open items; returns the worst passing error. */
static enum err list_round(struct client *c, struct partition_offset *items,
                           int32_t len, bool *open, int64_t when_ms,
                           bool committed, struct arena *a)
{
    const struct client_node *nodes;
    enum err worst = find_leaders(c, items, len, open, a);

    if (worst != ERR_NONE)
        return worst;
    size_t count = client_nodes(c, &nodes);
    for (size_t n = 0; n < count; n++) {
        struct list_offsets_request q;
        struct list_offsets_response r;

        list_offsets_request_init(&q);
        q.replica_id = -1;
        q.isolation_level = committed;
        q.timeout_ms = (int32_t)client_timeout_ms(c);
        if (!fill_list(items, len, nodes[n].id, open, when_ms, &q, a))
            continue;
        int32_t id = nodes[n].id;
        if (client_call(c, id, API_LIST_OFFSETS, &q, &r, a) == ERR_NONE)
            take_list(items, len, open, &r);
        count = client_nodes(c, &nodes);
    }
    for (int32_t i = 0; i < len; i++)
        if (open[i] && (worst == ERR_NONE || may_stay(worst)))
            worst = items[i].error;
    return worst;
}

enum err admin_offsets_list(struct client *c, struct partition_offset *items,
                            int32_t len, int64_t when_ms, bool committed,
                            struct arena *a)
{
    bool *open = arena_array(a, (size_t)len + 1, sizeof *open);
    struct client_retry retry;
    enum err error;

    partition_offsets_sort(items, len);
    for (int32_t i = 0; i < len; i++) {
        items[i].offset = -1;
        items[i].timestamp = -1;
        open[i] = true;
    }
    client_retry_init(c, &retry);
    do {
        error = list_round(c, items, len, open, when_ms, committed, a);
        if (may_stay(error))
            return ERR_NONE;
    } while (client_retry(&retry, error));
    return error;
}

/* ---- committed offsets
 * ------------------------------------------------------------------------ */

static void fill_fetch(const struct partition_offset *items, int32_t len,
                       struct offset_fetch_request_group *g, struct arena *a)
{
    g->topics_len = -1;
    g->topics = NULL;
    if (len < 0)
        return;
    g->topics = arena_array(a, (size_t)len + 1, sizeof *g->topics);
    g->topics_len = 0;
    for (int32_t i = 0; i < len;) {
        int32_t end = run_end(items, len, i);
        struct offset_fetch_request_topics *t = &g->topics[g->topics_len++];
        t->name = items[i].topic;
        t->partition_indexes =
            arena_array(a, (size_t)(end - i), sizeof *t->partition_indexes);
        for (; i < end; i++)
            t->partition_indexes[t->partition_indexes_len++] =
                items[i].partition;
    }
}

/* The request in the shape of before version 8. */
static void fill_old_fetch(const struct offset_fetch_request_group *g,
                           struct offset_fetch_request *q, struct arena *a)
{
    q->group_id = g->group_id;
    q->topics_len = g->topics_len;
    if (g->topics_len < 0)
        return;
    q->topics = arena_array(a, (size_t)g->topics_len + 1, sizeof *q->topics);
    for (int32_t i = 0; i < g->topics_len; i++)
        q->topics[i] = (struct offset_fetch_request_topic){
            g->topics[i].name, g->topics[i].partition_indexes,
            g->topics[i].partition_indexes_len};
}

struct fetched { /* where answers of all versions go */
    struct partition_offset *items;
    int32_t len;
    bool all; /* append instead of find */
};

static void take_one(struct fetched *f, struct slice topic, int32_t partition,
                     int64_t offset, enum err error)
{
    struct partition_offset *item;

    if (f->all) {
        if (offset < 0 && error == ERR_NONE)
            return;
        item = &f->items[f->len++];
        *item =
            (struct partition_offset){.topic = topic, .partition = partition};
    } else {
        item = find(f->items, f->len, topic, partition);
    }
    if (item != NULL) {
        item->offset = offset;
        item->error = error;
        item->timestamp = -1;
    }
}

static int32_t count_fetched(const struct offset_fetch_response *r)
{
    int32_t n = 0;

    for (int32_t t = 0; t < r->topics_len; t++)
        n += r->topics[t].partitions_len;
    for (int32_t t = 0; r->groups_len > 0 && t < r->groups[0].topics_len; t++)
        n += r->groups[0].topics[t].partitions_len;
    return n;
}

static enum err take_fetched(const struct offset_fetch_response *r,
                             struct fetched *f)
{
    if (r->groups_len > 0) {
        const struct offset_fetch_response_group *g = &r->groups[0];
        for (int32_t t = 0; t < g->topics_len; t++)
            for (int32_t i = 0; i < g->topics[t].partitions_len; i++)
                take_one(f, g->topics[t].name,
                         g->topics[t].partitions[i].partition_index,
                         g->topics[t].partitions[i].committed_offset,
                         g->topics[t].partitions[i].error_code);
        return g->error_code;
    }
    for (int32_t t = 0; t < r->topics_len; t++)
        for (int32_t i = 0; i < r->topics[t].partitions_len; i++)
            take_one(f, r->topics[t].name,
                     r->topics[t].partitions[i].partition_index,
                     r->topics[t].partitions[i].committed_offset,
                     r->topics[t].partitions[i].error_code);
    return r->error_code;
}

static bool has_moved(enum err error)
{
    return error == ERR_NOT_COORDINATOR ||
           error == ERR_COORDINATOR_NOT_AVAILABLE || error == ERR_CLOSED ||
           error == ERR_REFUSED || error == ERR_REQUEST_TIMED_OUT;
}

static enum err fetch_once(struct client *c, int32_t node,
                           const struct offset_fetch_request *q,
                           struct fetched *f, struct arena *a)
{
    struct offset_fetch_response r;
    enum err error = client_call(c, node, API_OFFSET_FETCH, q, &r, a);

    if (error != ERR_NONE)
        return error;
    if (f->all) {
        f->items =
            arena_array(a, (size_t)count_fetched(&r) + 1, sizeof *f->items);
        f->len = 0;
    }
    return take_fetched(&r, f);
}

enum err admin_offsets_committed(struct client *c, struct slice group,
                                 struct partition_offset **items, int32_t *len,
                                 struct arena *a)
{
    struct offset_fetch_request_group g;
    struct offset_fetch_request q;
    struct fetched f = {*items, *len, *len < 0};
    struct client_retry retry;
    enum err error;

    if (!f.all)
        partition_offsets_sort(*items, *len);
    offset_fetch_request_group_init(&g);
    g.group_id = group;
    fill_fetch(*items, *len, &g, a);
    client_retry_init(c, &retry);
    do {
        int32_t node = client_coordinator(c, group);
        if (node < 0)
            return ERR_COORDINATOR_NOT_AVAILABLE;
        offset_fetch_request_init(&q);
        if (client_version(c, node, API_OFFSET_FETCH) >= 8) {
            q.groups = &g;
            q.groups_len = 1;
        } else {
            fill_old_fetch(&g, &q, a);
        }
        error = fetch_once(c, node, &q, &f, a);
        if (has_moved(error))
            client_forget_coordinator(c, group);
    } while (client_retry(&retry, error));
    if (error != ERR_NONE)
        return client_fail(c, error, "offsets of group %.*s: %s",
                           SLICE_FMT(group), err_text(error));
    *items = f.items;
    *len = f.len;
    partition_offsets_sort(*items, *len);
    return ERR_NONE;
}

/* ---- commits
 * --------------------------------------------------------------------------------------
 */

static void fill_commit(const struct partition_offset *items, int32_t len,
                        struct offset_commit_request *q, struct arena *a)
{
    q->topics = arena_array(a, (size_t)len + 1, sizeof *q->topics);
    q->topics_len = 0;
    for (int32_t i = 0; i < len;) {
        int32_t end = run_end(items, len, i);
        struct offset_commit_request_topic *t = &q->topics[q->topics_len++];
        offset_commit_request_topic_init(t);
        t->name = items[i].topic;
        t->partitions =
            arena_array(a, (size_t)(end - i), sizeof *t->partitions);
        for (; i < end; i++) {
            struct offset_commit_request_partition *p =
                &t->partitions[t->partitions_len++];
            offset_commit_request_partition_init(p);
            p->partition_index = items[i].partition;
            p->committed_offset = items[i].offset;
            p->committed_metadata = SLICE("");
        }
    }
}

static enum err take_commit(struct partition_offset *items, int32_t len,
                            const struct offset_commit_response *r)
{
    enum err first = ERR_NONE;

    for (int32_t t = 0; t < r->topics_len; t++)
        for (int32_t i = 0; i < r->topics[t].partitions_len; i++) {
            struct partition_offset *item =
                find(items, len, r->topics[t].name,
                     r->topics[t].partitions[i].partition_index);
            enum err error = r->topics[t].partitions[i].error_code;
            if (item != NULL)
                item->error = error;
            if (first == ERR_NONE)
                first = error;
        }
    return first;
}

enum err admin_offsets_commit(struct client *c, struct slice group,
                              int32_t generation, struct slice member,
                              struct partition_offset *items, int32_t len,
                              struct arena *a)
{
    struct offset_commit_request q;
    struct offset_commit_response r;
    struct client_retry retry;
    enum err error;

    partition_offsets_sort(items, len);
    offset_commit_request_init(&q);
    q.group_id = group;
    q.generation_id_or_member_epoch = generation;
    q.member_id = member;
    fill_commit(items, len, &q, a);
    client_retry_init(c, &retry);
    do {
        int32_t node = client_coordinator(c, group);
        if (node < 0)
            return ERR_COORDINATOR_NOT_AVAILABLE;
        error = client_call(c, node, API_OFFSET_COMMIT, &q, &r, a);
        if (error == ERR_NONE)
            error = take_commit(items, len, &r);
        if (has_moved(error))
            client_forget_coordinator(c, group);
    } while (client_retry(&retry, error));
    if (error != ERR_NONE)
        client_fail(c, error, "offsets of group %.*s cannot be committed: %s",
                    SLICE_FMT(group), err_text(error));
    return error;
}

/* ---- deleting
 * ----------------------------------------------------------------------------------------
 */

static void fill_delete(const struct partition_offset *items, int32_t len,
                        struct offset_delete_request *q, struct arena *a)
{
    q->topics = arena_array(a, (size_t)len + 1, sizeof *q->topics);
    q->topics_len = 0;
    for (int32_t i = 0; i < len;) {
        int32_t end = run_end(items, len, i);
        struct offset_delete_request_topic *t = &q->topics[q->topics_len++];
        t->name = items[i].topic;
        t->partitions =
            arena_array(a, (size_t)(end - i), sizeof *t->partitions);
        for (; i < end; i++)
            t->partitions[t->partitions_len++].partition_index =
                items[i].partition;
    }
}

enum err admin_offsets_delete(struct client *c, struct slice group,
                              struct partition_offset *items, int32_t len,
                              struct arena *a)
{
    struct offset_delete_request q;
    struct offset_delete_response r;
    int32_t node = client_coordinator(c, group);

    if (node < 0)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    partition_offsets_sort(items, len);
    offset_delete_request_init(&q);
    q.group_id = group;
    fill_delete(items, len, &q, a);
    enum err error = client_call(c, node, API_OFFSET_DELETE, &q, &r, a);
    if (error != ERR_NONE)
        return error;
    if (r.error_code != ERR_NONE)
        return client_fail(c, r.error_code, "%s (%s)", err_text(r.error_code),
                           err_name(r.error_code));
    for (int32_t t = 0; t < r.topics_len; t++)
        for (int32_t i = 0; i < r.topics[t].partitions_len; i++) {
            struct partition_offset *item =
                find(items, len, r.topics[t].name,
                     r.topics[t].partitions[i].partition_index);
            if (item != NULL)
                item->error = r.topics[t].partitions[i].error_code;
        }
    return ERR_NONE;
}
