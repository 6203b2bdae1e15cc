/* Groups live with their coordinators: a list asks all brokers, the rest asks
 * one and looks for it again if the group moved. */
#include "cli/admin_groups.h"

#include "cli/net.h"

#include <stdlib.h>

static enum err told(struct client *c, int16_t code, struct slice message)
{
    if (code == ERR_NONE)
        return ERR_NONE;
    if (message.len != 0)
        return client_fail(c, code, "%.*s", SLICE_FMT(message));
    return client_fail(c, code, "%s (%s)", err_text(code), err_name(code));
}

static bool has_moved(enum err error)
{
    return error == ERR_NOT_COORDINATOR ||
           error == ERR_COORDINATOR_NOT_AVAILABLE || error == ERR_CLOSED ||
           error == ERR_REFUSED;
}

/* ---- lists
 * -------------------------------------------------------------------------------
 */

static int compare_groups(const void *a, const void *b)
{
    const struct group_listing *x = a;
    const struct group_listing *y = b;

    return slice_cmp(x->group, y->group);
}

static void fill_states(const char *states, struct list_groups_request *q,
                        struct arena *a)
{
    q->states_filter =
        arena_array(a, strlen(states) + 1, sizeof *q->states_filter);
    while (*states != '\0') {
        size_t n = strcspn(states, ", ");
        if (n != 0)
            q->states_filter[q->states_filter_len++] = slice_of(states, n);
        states += n;
        states += strspn(states, ", ");
    }
}

static enum err list_on(struct client *c, int32_t node,
                        const struct list_groups_request *q, struct arena *a,
                        struct group_listing **groups, int32_t *len)
{
    struct list_groups_response r;
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    do {
        error = client_call(c, node, API_LIST_GROUPS, q, &r, a);
        if (error == ERR_NONE)
            error = told(c, r.error_code, SLICE_NULL);
    } while (client_retry(&retry, error));
    if (error != ERR_NONE)
        return error;
    struct group_listing *more =
        arena_array(a, (size_t)(*len + r.groups_len) + 1, sizeof *more);
    if (*len != 0)
        memcpy(more, *groups, (size_t)*len * sizeof *more);
    *groups = more;
    for (int32_t i = 0; i < r.groups_len; i++) {
        const struct list_groups_response_listed_group *g = &r.groups[i];
        if (g->protocol_type.len == 0 ||
            slice_eq_str(g->protocol_type, "consumer"))
            more[(*len)++] = (struct group_listing){
                g->group_id, g->group_state, g->group_type, g->protocol_type};
    }
    return ERR_NONE;
}

enum err admin_groups_list(struct client *c, const char *states,
                           struct arena *a, struct group_listing **groups,
                           int32_t *len)
{
    struct list_groups_request q;
    const struct client_node *nodes;
    enum err error = client_refresh(c);

    *groups = NULL;
    *len = 0;
    list_groups_request_init(&q);
    if (states != NULL)
        fill_states(states, &q, a);
    size_t count = client_nodes(c, &nodes);
    for (size_t i = 0; error == ERR_NONE && i < count; i++)
        error = list_on(c, nodes[i].id, &q, a, groups, len);
    if (error == ERR_NONE && *len > 0)
        qsort(*groups, (size_t)*len, sizeof **groups, compare_groups);
    return error;
}

/* ---- descriptions
 * -------------------------------------------------------------------------- */

/* What a member was given, from the bytes of its SyncGroup answer. */
static void read_assignment(struct slice bytes, struct arena *a,
                            struct group_member *m)
{
    struct consumer_protocol_assignment given;
    struct reader r = reader_of(bytes);
    int32_t count = 0;

    read_i16(&r);
    if (bytes.len < 2 || kafka_decode_prefix(&consumer_protocol_assignment_desc,
                                             0, &r, a, &given) != ERR_NONE)
        return;
    for (int32_t t = 0; t < given.assigned_partitions_len; t++)
        count += given.assigned_partitions[t].partitions_len;
    m->partitions = arena_array(a, (size_t)count + 1, sizeof *m->partitions);
    for (int32_t t = 0; t < given.assigned_partitions_len; t++)
        for (int32_t i = 0; i < given.assigned_partitions[t].partitions_len;
             i++)
            m->partitions[m->partitions_len++] = (struct partition_offset){
                .topic = given.assigned_partitions[t].topic,
                .partition = given.assigned_partitions[t].partitions[i],
                .offset = -1};
    partition_offsets_sort(m->partitions, m->partitions_len);
}

static void read_group(const struct describe_groups_response_described_group *g,
                       struct arena *a, struct group_view *view)
{
    view->state = g->group_state;
    view->assignor = g->protocol_data;
    view->members =
        arena_array(a, (size_t)g->members_len + 1, sizeof *view->members);
    view->members_len = g->members_len;
    for (int32_t i = 0; i < g->members_len; i++) {
        const struct describe_groups_response_described_group_member *m =
            &g->members[i];
        view->members[i] =
            (struct group_member){.id = m->member_id,
                                  .instance_id = m->group_instance_id,
                                  .client_id = m->client_id,
                                  .host = m->client_host,
                                  .epoch = -1};
        read_assignment(m->member_assignment, a, &view->members[i]);
    }
}

/* ---- groups of the new protocol (KIP-848) */

static struct partition_offset *
read_partitions(const struct consumer_group_describe_response_assignment *given,
                struct arena *a, int32_t *len)
{
    struct partition_offset *items;
    int32_t count = 0;

    for (int32_t t = 0; t < given->topic_partitions_len; t++)
        count += given->topic_partitions[t].partitions_len;
    items = arena_array(a, (size_t)count + 1, sizeof *items);
    *len = 0;
    for (int32_t t = 0; t < given->topic_partitions_len; t++)
        for (int32_t i = 0; i < given->topic_partitions[t].partitions_len; i++)
            items[(*len)++] = (struct partition_offset){
                .topic = given->topic_partitions[t].topic_name,
                .partition = given->topic_partitions[t].partitions[i],
                .offset = -1};
    partition_offsets_sort(items, *len);
    return items;
}

static void
read_modern(const struct consumer_group_describe_response_described_group *g,
            struct arena *a, struct group_view *view)
{
    view->state = g->group_state;
    view->assignor = g->assignor_name;
    view->epoch = g->group_epoch;
    view->target_epoch = g->assignment_epoch;
    view->members =
        arena_array(a, (size_t)g->members_len + 1, sizeof *view->members);
    view->members_len = g->members_len;
    for (int32_t i = 0; i < g->members_len; i++) {
        const struct consumer_group_describe_response_member *m =
            &g->members[i];
        struct group_member *to = &view->members[i];

        *to = (struct group_member){.id = m->member_id,
                                    .instance_id = m->instance_id,
                                    .client_id = m->client_id,
                                    .host = m->client_host,
                                    .epoch = m->member_epoch};
        to->partitions =
            read_partitions(&m->assignment, a, &to->partitions_len);
        to->target = read_partitions(&m->target_assignment, a, &to->target_len);
    }
}

/* GROUP_ID_NOT_FOUND: it is not such a group. */
static enum err describe_modern(struct client *c, struct group_view *view,
                                struct arena *a)
{
    struct consumer_group_describe_request q;
    struct consumer_group_describe_response r;

    consumer_group_describe_request_init(&q);
    q.group_ids = &view->group;
    q.group_ids_len = 1;
    enum err error = client_call(c, view->coordinator,
                                 API_CONSUMER_GROUP_DESCRIBE, &q, &r, a);
    if (error != ERR_NONE || r.groups_len != 1)
        return error != ERR_NONE ? error : ERR_GROUP_ID_NOT_FOUND;
    error = r.groups[0].error_code;
    if (error == ERR_GROUP_ID_NOT_FOUND || error == ERR_UNSUPPORTED_VERSION)
        return error;
    if (error == ERR_NONE)
        read_modern(&r.groups[0], a, view);
    return told(c, error, r.groups[0].error_message);
}

static enum err describe_once(struct client *c, struct group_view *view,
                              struct arena *a)
{
    struct describe_groups_request q;
    struct describe_groups_response r;

    view->coordinator = client_coordinator(c, view->group);
    if (view->coordinator < 0)
        return ERR_GROUP_ID_NOT_FOUND;
    enum err modern = describe_modern(c, view, a);
    if (modern != ERR_GROUP_ID_NOT_FOUND && modern != ERR_UNSUPPORTED_VERSION)
        return modern;
    describe_groups_request_init(&q);
    q.groups = &view->group;
    q.groups_len = 1;
    enum err error =
        client_call(c, view->coordinator, API_DESCRIBE_GROUPS, &q, &r, a);
    if (error != ERR_NONE)
        return error;
    if (r.groups_len != 1)
        return client_fail(c, ERR_UNKNOWN_SERVER_ERROR,
                           "the answer is about %d groups", r.groups_len);
    error = r.groups[0].error_code;
    if (error == ERR_GROUP_ID_NOT_FOUND) {
        view->state = SLICE("Dead");
        return ERR_NONE;
    }
    if (error == ERR_NONE)
        read_group(&r.groups[0], a, view);
    return told(c, error, r.groups[0].error_message);
}

enum err admin_group_describe(struct client *c, struct slice group,
                              struct arena *a, struct group_view *view)
{
    struct client_retry retry;
    enum err error;

    *view = (struct group_view){.group = group, .epoch = -1, .coordinator = -1};
    client_retry_init(c, &retry);
    do {
        error = describe_once(c, view, a);
        if (has_moved(error))
            client_forget_coordinator(c, group);
    } while (client_retry(&retry, error));
    return error;
}

static int compare_sizes(const void *a, const void *b)
{
    const struct group_member *x = *(const struct group_member *const *)a;
    const struct group_member *y = *(const struct group_member *const *)b;

    if (x->partitions_len != y->partitions_len)
        return x->partitions_len > y->partitions_len ? -1 : 1;
    return slice_cmp(x->id, y->id);
}

static const struct group_member **by_size(const struct group_view *view,
                                           struct arena *a)
{
    const struct group_member **order =
        arena_array(a, (size_t)view->members_len + 1, sizeof *order);

    for (int32_t i = 0; i < view->members_len; i++)
        order[i] = &view->members[i];
    qsort(order, (size_t)view->members_len, sizeof *order, compare_sizes);
    return order;
}

static const struct partition_offset *find(const struct partition_offset *items,
                                           int32_t len, struct slice topic,
                                           int32_t partition)
{
    for (int32_t i = 0; i < len; i++)
        if (items[i].partition == partition && slice_eq(items[i].topic, topic))
            return &items[i];
    return NULL;
}

static bool is_assigned(const struct group_view *view,
                        const struct partition_offset *item)
{
    for (int32_t i = 0; i < view->members_len; i++)
        if (find(view->members[i].partitions, view->members[i].partitions_len,
                 item->topic, item->partition) != NULL)
            return true;
    return false;
}

static int32_t count_rows(const struct group_view *view, int32_t committed)
{
    int32_t n = committed;

    for (int32_t i = 0; i < view->members_len; i++)
        n += view->members[i].partitions_len;
    return n;
}

/* The ends of the logs of all rows. */
static enum err add_ends(struct client *c, struct group_row *rows, int32_t len,
                         struct arena *a)
{
    struct partition_offset *items =
        arena_array(a, (size_t)len + 1, sizeof *items);

    for (int32_t i = 0; i < len; i++)
        items[i] = (struct partition_offset){.topic = rows[i].topic,
                                             .partition = rows[i].partition};
    enum err error =
        admin_offsets_list(c, items, len, OFFSETS_LATEST, false, a);
    for (int32_t i = 0; error == ERR_NONE && i < len; i++) {
        const struct partition_offset *item =
            find(items, len, rows[i].topic, rows[i].partition);
        rows[i].end = item->error == ERR_NONE ? item->offset : -1;
    }
    return error;
}

enum err admin_group_rows(struct client *c, const struct group_view *view,
                          struct arena *a, struct group_row **rows,
                          int32_t *len)
{
    struct partition_offset *committed = NULL;
    int32_t committed_len = -1;
    enum err error =
        admin_offsets_committed(c, view->group, &committed, &committed_len, a);

    *len = 0;
    if (error != ERR_NONE)
        return error;
    const struct group_member **order = by_size(view, a);
    *rows = arena_array(a, (size_t)count_rows(view, committed_len) + 1,
                        sizeof **rows);
    for (int32_t i = 0; i < view->members_len; i++)
        for (int32_t k = 0; k < order[i]->partitions_len; k++) {
            const struct partition_offset *p = &order[i]->partitions[k];
            const struct partition_offset *at =
                find(committed, committed_len, p->topic, p->partition);
            (*rows)[(*len)++] =
                (struct group_row){p->topic, p->partition,
                                   at != NULL ? at->offset : -1, -1, order[i]};
        }
    for (int32_t i = 0; i < committed_len; i++)
        if (!is_assigned(view, &committed[i]))
            (*rows)[(*len)++] =
                (struct group_row){committed[i].topic, committed[i].partition,
                                   committed[i].offset, -1, NULL};
    return add_ends(c, *rows, *len, a);
}

/* ---- deleting
 * --------------------------------------------------------------------------------
 */

static enum err delete_once(struct client *c, struct slice group,
                            struct arena *a)
{
    struct delete_groups_request q;
    struct delete_groups_response r;
    int32_t node = client_coordinator(c, group);

    if (node < 0)
        return ERR_GROUP_ID_NOT_FOUND;
    delete_groups_request_init(&q);
    q.groups_names = &group;
    q.groups_names_len = 1;
    enum err error = client_call(c, node, API_DELETE_GROUPS, &q, &r, a);
    if (error == ERR_NONE && r.results_len == 1)
        error = told(c, r.results[0].error_code, r.results[0].error_message);
    return error;
}

enum err admin_group_delete(struct client *c, struct slice group,
                            struct arena *a)
{
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    do {
        error = delete_once(c, group, a);
        if (has_moved(error))
            client_forget_coordinator(c, group);
    } while (client_retry(&retry, error));
    return error;
}
