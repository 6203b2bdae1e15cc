/* How far the group is.  That it has a start everywhere
 * DescribeShareGroupOffsets says.  In the end each share coordinator says what
 * is stored of its partition, where the group starts and how many records from
 * there on are done with, and after it ListOffsets where the partition ends: a
 * batch that nobody waits for any more may still come, and what is done beyond
 * an end of before must not count for what is not done below it. */
#include "tests/sim/load/shares_parts.h"

#include "base/uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    AGAIN_MS = 300,
    FIND_VERSION = 6, /* share coordinators */
    KEY_SHARE = 2,
    SUMMARY_VERSION = 1, /* how many are done with */
    LIST_FLOOR = 1,
    TIME_LATEST = -1,
};

/* The end of one partition: of the log, and of what the group has to do. */
struct shares_end {
    struct shares_watch *watch;
    int32_t partition;
    bool busy;
    int64_t next_ms;
    int64_t offset; /* -1: not known */
    int32_t coordinator;
    bool summed_up; /* its end is asked for next */
    int64_t start;  /* as stored; -1: not known */
    int64_t done;   /* from there on */
    bool is_done;   /* by the end that was asked for after that */
};

struct shares_watch {
    struct load_shares *owner;
    struct load_client *client;
    bool busy;
    int64_t next_ms;
    int64_t starts[SHARES_PARTITIONS_MAX]; /* as described; -1: none */
    struct shares_end ends[SHARES_PARTITIONS_MAX];
    char why[240];
};

struct shares_watch *shares_watch_of(struct load_shares *s)
{
    struct shares_watch *w = xcalloc(1, sizeof *w);

    w->owner = s;
    w->client = load_client_new(s->env, prng_next(&s->prng), &s->client);
    for (int32_t p = 0; p < SHARES_PARTITIONS_MAX; p++) {
        w->starts[p] = -1;
        w->ends[p] = (struct shares_end){.watch = w,
                                         .partition = p,
                                         .offset = -1,
                                         .coordinator = -1,
                                         .start = -1};
    }
    load_client_look(w->client);
    return w;
}

void shares_watch_free(struct shares_watch *w)
{
    load_client_free(w->client);
    free(w);
}

static int64_t now(const struct shares_watch *w)
{
    return env_now_ms(w->owner->env);
}

/* ---- where the group is -------------------------------------------------- */

static void take_starts(struct shares_watch *w,
                        const struct describe_share_group_offsets_response *a)
{
    const struct describe_share_group_offsets_response_group *g = &a->groups[0];

    for (int32_t t = 0; t < g->topics_len; t++)
        for (int32_t i = 0; i < g->topics[t].partitions_len; i++) {
            const struct describe_share_group_offsets_response_partition *p =
                &g->topics[t].partitions[i];

            if (p->error_code == ERR_NONE &&
                p->partition_index < SHARES_PARTITIONS_MAX &&
                p->start_offset > w->starts[p->partition_index]) {
                history_note(w->owner->history, "share start %d: %lld",
                             p->partition_index, (long long)p->start_offset);
                w->starts[p->partition_index] = p->start_offset;
            }
        }
}

static void described(void *arg, enum err error, const void *response)
{
    struct shares_watch *w = arg;
    const struct describe_share_group_offsets_response *a = response;

    w->busy = false;
    w->next_ms = now(w) + AGAIN_MS;
    if (error == ERR_NONE && a->groups_len != 1)
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->groups[0].error_code;
    if (error == ERR_NONE) {
        take_starts(w, a);
        return;
    }
    snprintf(w->why, sizeof w->why, "DescribeShareGroupOffsets: %s",
             err_name(error));
    load_client_forget_coordinator(w->client);
}

static void describe(struct shares_watch *w)
{
    struct describe_share_group_offsets_request_group group;
    struct describe_share_group_offsets_request_topic topic;
    struct describe_share_group_offsets_request q;
    int32_t node = load_client_coordinator(w->client, w->owner->group);
    int32_t partitions[SHARES_PARTITIONS_MAX];

    if (node < 0)
        return;
    describe_share_group_offsets_request_init(&q);
    describe_share_group_offsets_request_group_init(&group);
    describe_share_group_offsets_request_topic_init(&topic);
    for (int32_t p = 0; p < w->owner->options.partitions; p++)
        partitions[topic.partitions_len++] = p;
    topic.topic_name = slice_str(w->owner->topic);
    topic.partitions = partitions;
    group.group_id = slice_str(w->owner->group);
    group.topics = &topic;
    group.topics_len = 1;
    q.groups = &group;
    q.groups_len = 1;
    w->busy = true;
    load_client_call(w->client, node, API_DESCRIBE_SHARE_GROUP_OFFSETS,
                     load_client_version(w->client,
                                         API_DESCRIBE_SHARE_GROUP_OFFSETS, 0,
                                         INT16_MAX),
                     &q, 0, described, w);
}

/* ---- where partitions end ------------------------------------------------ */

static void listed(void *arg, enum err error, const void *response)
{
    struct shares_end *e = arg;
    const struct list_offsets_response *a = response;

    e->busy = false;
    e->next_ms = now(e->watch) + AGAIN_MS;
    if (error == ERR_NONE &&
        (a->topics_len != 1 || a->topics[0].partitions_len != 1))
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->topics[0].partitions[0].error_code;
    if (error != ERR_NONE) {
        load_client_look(e->watch->client);
        return;
    }
    e->summed_up = false;
    e->offset = a->topics[0].partitions[0].offset;
    e->is_done = e->start >= 0 && e->start + e->done >= e->offset &&
                 e->start + e->done >=
                     share_history_end(e->watch->owner->shares, e->partition);
    history_note(e->watch->owner->history,
                 "share end %d: %lld and %lld of %lld", e->partition,
                 (long long)e->start, (long long)e->done, (long long)e->offset);
}

static void list(struct shares_end *e)
{
    struct shares_watch *w = e->watch;
    struct list_offsets_request_partition partition;
    struct list_offsets_request_topic topic;
    struct list_offsets_request q;
    int32_t epoch;
    int32_t node = load_client_leader(w->client, slice_str(w->owner->topic),
                                      UUID_ZERO, e->partition, &epoch);

    if (node < 0)
        return;
    list_offsets_request_init(&q);
    list_offsets_request_topic_init(&topic);
    list_offsets_request_partition_init(&partition);
    partition.partition_index = e->partition;
    partition.current_leader_epoch = epoch;
    partition.timestamp = TIME_LATEST;
    topic.name = slice_str(w->owner->topic);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    q.replica_id = -1;
    q.topics = &topic;
    q.topics_len = 1;
    e->busy = true;
    load_client_call(
        w->client, node, API_LIST_OFFSETS,
        load_client_version(w->client, API_LIST_OFFSETS, LIST_FLOOR, INT16_MAX),
        &q, 0, listed, e);
}

/* ---- what is stored ------------------------------------------------------ */

static void failed(struct shares_end *e, const char *what, enum err error)
{
    snprintf(e->watch->why, sizeof e->watch->why, "%s: %s", what,
             err_name(error));
    e->coordinator = -1;
    load_client_look(e->watch->client);
}

static void found(void *arg, enum err error, const void *response)
{
    struct shares_end *e = arg;
    const struct find_coordinator_response *a = response;

    e->busy = false;
    e->next_ms = now(e->watch);
    if (error == ERR_NONE && a->coordinators_len != 1)
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->coordinators[0].error_code;
    if (error == ERR_NONE) {
        e->coordinator = a->coordinators[0].node_id;
        return;
    }
    failed(e, "FindCoordinator", error);
    e->next_ms += AGAIN_MS;
}

static void find(struct shares_end *e, struct uuid topic)
{
    struct shares_watch *w = e->watch;
    char text[UUID_TEXT_SIZE];
    char *name = xasprintf("%s:%s:%d", w->owner->group,
                           uuid_format(topic, text), e->partition);
    struct slice key = slice_str(name);
    struct find_coordinator_request q;

    find_coordinator_request_init(&q);
    q.key_type = KEY_SHARE;
    q.coordinator_keys = &key;
    q.coordinator_keys_len = 1;
    e->busy = true;
    load_client_call(w->client, LOAD_ANY_NODE, API_FIND_COORDINATOR,
                     load_client_version(w->client, API_FIND_COORDINATOR,
                                         FIND_VERSION, INT16_MAX),
                     &q, 0, found, e);
    free(name);
}

static void summed_up(void *arg, enum err error, const void *response)
{
    struct shares_end *e = arg;
    const struct read_share_group_state_summary_response *a = response;

    e->busy = false;
    e->next_ms = now(e->watch) + AGAIN_MS;
    if (error == ERR_NONE &&
        (a->results_len != 1 || a->results[0].partitions_len != 1))
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->results[0].partitions[0].error_code;
    if (error != ERR_NONE) {
        failed(e, "ReadShareGroupStateSummary", error);
        return;
    }
    e->start = a->results[0].partitions[0].start_offset;
    e->done = a->results[0].partitions[0].delivery_complete_count;
    e->summed_up = true;
    e->next_ms = now(e->watch);
}

static void sum_up(struct shares_end *e)
{
    struct shares_watch *w = e->watch;
    const struct load_topic *t =
        load_client_topic(w->client, slice_str(w->owner->topic), UUID_ZERO);
    struct read_share_group_state_summary_request_read_state_summary_data topic;
    struct read_share_group_state_summary_request_partition_data partition;
    struct read_share_group_state_summary_request q;

    if (t == NULL) {
        load_client_look(w->client);
        return;
    }
    if (e->coordinator < 0) {
        find(e, t->id);
        return;
    }
    read_share_group_state_summary_request_init(&q);
    read_share_group_state_summary_request_read_state_summary_data_init(&topic);
    read_share_group_state_summary_request_partition_data_init(&partition);
    partition.partition = e->partition;
    partition.leader_epoch = -1;
    topic.topic_id = t->id;
    topic.partitions = &partition;
    topic.partitions_len = 1;
    q.group_id = slice_str(w->owner->group);
    q.topics = &topic;
    q.topics_len = 1;
    e->busy = true;
    load_client_call(w->client, e->coordinator,
                     API_READ_SHARE_GROUP_STATE_SUMMARY, SUMMARY_VERSION, &q, 0,
                     summed_up, e);
}

/* ---- time ---------------------------------------------------------------- */

static bool producers_ended(const struct shares_watch *w)
{
    for (int i = 0; i < w->owner->options.producers; i++)
        if (!shares_producer_is_quiet(w->owner->producers[i]))
            return false;
    return true;
}

void shares_watch_tick(struct shares_watch *w)
{
    if (!w->busy && now(w) >= w->next_ms && !shares_watch_has_begun(w))
        describe(w);
    if (!w->owner->stopped || !producers_ended(w))
        return;
    for (int32_t p = 0; p < w->owner->options.partitions; p++) {
        struct shares_end *e = &w->ends[p];

        if (e->busy || now(w) < e->next_ms || e->is_done)
            continue;
        if (e->summed_up)
            list(e);
        else
            sum_up(e);
    }
}

bool shares_watch_has_begun(const struct shares_watch *w)
{
    for (int32_t p = 0; p < w->owner->options.partitions; p++)
        if (w->starts[p] < 0)
            return false;
    return true;
}

bool shares_watch_is_done(const struct shares_watch *w)
{
    for (int32_t p = 0; p < w->owner->options.partitions; p++)
        if (!w->ends[p].is_done)
            return false;
    return true;
}

const char *shares_watch_missing(struct shares_watch *w)
{
    char last[100];

    snprintf(last, sizeof last, "%.90s", w->why);
    for (int32_t p = 0; p < w->owner->options.partitions; p++) {
        if (w->ends[p].is_done)
            continue;
        snprintf(w->why, sizeof w->why,
                 "the group starts in %s-%d at %lld, and is done with %lld; "
                 "the partition ends at %lld, the last acknowledged record "
                 "before %lld%s%s",
                 w->owner->topic, p, (long long)w->ends[p].start,
                 (long long)w->ends[p].done, (long long)w->ends[p].offset,
                 (long long)share_history_end(w->owner->shares, p),
                 last[0] != '\0' ? "; " : "", last);
        break;
    }
    return w->why;
}
