/* DescribeTopicPartitions (KIP-966): topics by name, page by page.  A page ends
 * after so many partitions; its cursor names the partition with which the next
 * one begins. */
#include "broker/cluster_view.h"
#include "broker/dispatch.h"
#include "broker/internal_topics.h"

#include <stdlib.h>

struct page {
    const struct cluster_view *view;
    struct describe_topic_partitions_response *answer;
    int32_t left; /* partitions that still fit */
};

static int by_name(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* The names asked for, or all, sorted and each once. */
static struct slice *
sorted_names(const struct cluster_view *v,
             const struct describe_topic_partitions_request *q, size_t *len)
{
    size_t max =
        q->topics_len > 0 ? (size_t)q->topics_len : v->image->topics_len;
    struct slice *names = arena_array(v->arena, max + 1, sizeof *names);
    struct image_topic *t;
    size_t n = 0;

    if (q->topics_len > 0)
        for (int32_t i = 0; i < q->topics_len; i++)
            names[n++] = q->topics[i].name;
    else
        for (uint32_t at = 0; (t = image_topic_next(v->image, &at)) != NULL;)
            names[n++] = slice_of(t->name, t->name_len);
    qsort(names, n, sizeof *names, by_name);
    *len = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !slice_eq(names[i], names[i - 1]))
            names[(*len)++] = names[i];
    return names;
}

static int32_t *ids(struct image_ids list)
{
    return (int32_t *)(uintptr_t)list.at; /* read only */
}

static void
fill_partition(const struct cluster_view *v, int32_t index,
               const struct image_partition *p,
               struct describe_topic_partitions_response_partition *out)
{
    enum err error = cluster_view_leader(v, p);
    struct image_ids offline = cluster_view_offline(v, p);

    *out = (struct describe_topic_partitions_response_partition){
        .error_code = err_wire(error),
        .partition_index = index,
        .leader_id = error == ERR_NONE ? p->leader : -1,
        .leader_epoch = p->leader_epoch,
        .replica_nodes = ids(image_replicas(p)),
        .replica_nodes_len = (int32_t)image_replicas(p).len,
        .isr_nodes = ids(image_isr(p)),
        .isr_nodes_len = (int32_t)image_isr(p).len,
        .eligible_leader_replicas = ids(image_elr(p)),
        .eligible_leader_replicas_len = (int32_t)image_elr(p).len,
        .last_known_elr = ids(image_last_known_elr(p)),
        .last_known_elr_len = (int32_t)image_last_known_elr(p).len,
        .offline_replicas = ids(offline),
        .offline_replicas_len = (int32_t)offline.len,
    };
}

static struct describe_topic_partitions_response_topic *
add_topic(struct page *page, struct slice name, enum err error)
{
    struct describe_topic_partitions_response_topic *out =
        &page->answer->topics[page->answer->topics_len++];

    describe_topic_partitions_response_topic_init(out);
    out->name = name;
    out->error_code = err_wire(error);
    out->is_internal = topic_is_internal(name);
    return out;
}

static void end_page(struct page *page, struct slice name, int32_t index)
{
    struct describe_topic_partitions_response_cursor *cursor =
        arena_alloc(page->view->arena, sizeof *cursor);

    cursor->topic_name = name;
    cursor->partition_index = index;
    page->answer->next_cursor = cursor;
}

/* False when the page is full. */
static bool fill_topic(struct page *page, struct slice name, int32_t first)
{
    const struct image_topic *t = image_topic(page->view->image, name);

    if (t == NULL) {
        add_topic(page, name,
                  topic_name_valid(name) ? ERR_UNKNOWN_TOPIC_OR_PARTITION
                                         : ERR_INVALID_TOPIC_EXCEPTION);
        return true;
    }
    if (first < 0 || first > t->partitions_len)
        first = first < 0 ? 0 : t->partitions_len;
    if (page->left == 0) {
        end_page(page, name, first);
        return false;
    }
    int32_t n = t->partitions_len - first;
    if (n > page->left)
        n = page->left;
    struct describe_topic_partitions_response_topic *out =
        add_topic(page, name, ERR_NONE);
    out->topic_id = t->id;
    out->topic_authorized_operations = TOPIC_OPERATIONS_ALL;
    out->partitions =
        arena_array(page->view->arena, (size_t)n, sizeof *out->partitions);
    out->partitions_len = n;
    for (int32_t i = 0; i < n; i++)
        fill_partition(page->view, first + i, t->partitions[first + i],
                       &out->partitions[i]);
    page->left -= n;
    if (first + n == t->partitions_len)
        return true;
    end_page(page, name, first + n);
    return false;
}

static int32_t page_size(const struct request *r)
{
    const struct describe_topic_partitions_request *q = r->msg;
    int32_t most = r->shard->broker->config->describe_partitions_max;
    int32_t n =
        q->response_partition_limit < most ? q->response_partition_limit : most;
    return n > 1 ? n : 1;
}

void api_describe_topic_partitions(struct request *r)
{
    const struct describe_topic_partitions_request *q = r->msg;
    struct describe_topic_partitions_response a;
    struct cluster_view v;
    size_t len;

    cluster_view_init(&v, r);
    describe_topic_partitions_response_init(&a);
    struct slice *names = sorted_names(&v, q, &len);
    struct page page = {&v, &a, page_size(r)};
    a.topics = arena_array(&r->arena, len, sizeof *a.topics);
    for (size_t i = 0; i < len; i++) {
        int order =
            q->cursor != NULL ? slice_cmp(names[i], q->cursor->topic_name) : 1;
        if (order < 0)
            continue;
        if (!fill_topic(&page, names[i],
                        order == 0 ? q->cursor->partition_index : 0))
            break;
    }
    request_respond(r, &a);
}
