/* ListOffsets: where positions begin, where the log ends, and questions asked
 * to be judged.  One request per partition: they are few. */
#include "tests/sim/load/reader_parts.h"

#include <stdlib.h>

enum {
    TIME_LATEST = -1,
    TIME_EARLIEST = -2,
    LIST_WITH_EPOCH = 4,
    LIST_MONOTONIC = 5, /* KIP-207 */
};

struct query {
    struct list in;
    struct load_reader *reader;
    int topic;
    int32_t partition;
    int64_t time_ms; /* or TIME_... */
    int32_t epoch;
    int16_t version;
    uint64_t asked;
    bool placing; /* for a position, not for its own sake */
};

void load_reader_drop_queries(struct load_reader *r)
{
    while (!list_empty(&r->queries)) {
        struct query *q = LIST_ENTRY(r->queries.next, struct query, in);
        list_remove(&q->in);
        free(q);
    }
}

static const struct list_offsets_response_partition_response *
only(const struct list_offsets_response *a)
{
    if (a->topics_len != 1 || a->topics[0].partitions_len != 1)
        return NULL;
    return &a->topics[0].partitions[0];
}

static void place(struct load_reader *r, const struct query *q, enum err error,
                  int64_t offset)
{
    struct position *p = load_reader_find(r, q->topic, q->partition);

    if (p == NULL)
        return;
    p->listing = false;
    if (error != ERR_NONE) {
        p->retry_at_ms = env_now_ms(r->env) + READER_RETRY_MS;
        load_client_look(r->client);
    } else if (q->time_ms == TIME_LATEST) {
        p->end = offset;
    } else {
        p->start = offset;
        load_reader_seek(r, p, offset);
    }
}

static void judge(struct load_reader *r, const struct query *q,
                  const struct list_offsets_response_partition_response *a)
{
    if (r->options.by_id || history_topic_is_doomed(r->history, q->topic))
        return; /* asked by name: who knows of which incarnation */
    if (q->time_ms >= 0)
        history_by_time(r->history, q->topic, q->partition, q->epoch, q->asked,
                        q->time_ms, a->offset, a->timestamp);
    else if (q->time_ms == TIME_LATEST && q->version >= LIST_MONOTONIC)
        history_latest(r->history, q->topic, q->partition, q->epoch, q->asked,
                       a->offset);
}

static void answered(void *arg, enum err error, const void *response)
{
    struct query *q = arg;
    struct load_reader *r = q->reader;
    const struct list_offsets_response_partition_response *a = NULL;

    if (error == ERR_NONE) {
        a = only(response);
        error = a == NULL ? ERR_MALFORMED : (enum err)a->error_code;
    }
    if (error == ERR_NONE)
        judge(r, q, a);
    if (q->placing)
        place(r, q, error, a == NULL ? -1 : a->offset);
    list_remove(&q->in);
    free(q);
}

/* False: no leader is known. */
static bool ask(struct load_reader *r, const struct position *p,
                int64_t time_ms, bool placing)
{
    struct list_offsets_request_partition partition;
    struct list_offsets_request_topic topic;
    struct list_offsets_request q;
    int32_t epoch;
    int32_t node = load_client_leader(r->client, slice_str(p->name), p->id,
                                      p->partition, &epoch);

    if (node < 0)
        return false;
    struct query *one = xcalloc(1, sizeof *one);
    one->reader = r;
    one->topic = p->topic;
    one->partition = p->partition;
    one->time_ms = time_ms;
    one->placing = placing;
    one->version =
        load_client_version(r->client, API_LIST_OFFSETS,
                            r->options.final ? LIST_MONOTONIC : 1, INT16_MAX);
    one->epoch = one->version >= LIST_WITH_EPOCH ? epoch : -1;
    one->asked = history_now(r->history);
    list_push_back(&r->queries, &one->in);
    list_offsets_request_init(&q);
    list_offsets_request_topic_init(&topic);
    list_offsets_request_partition_init(&partition);
    partition.partition_index = p->partition;
    partition.current_leader_epoch = epoch;
    partition.timestamp = time_ms;
    topic.name = slice_str(p->name);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    q.replica_id = -1;
    q.topics = &topic;
    q.topics_len = 1;
    load_client_call(r->client, node, API_LIST_OFFSETS, one->version, &q, 0,
                     answered, one);
    return true;
}

void load_reader_place(struct load_reader *r)
{
    LIST_EACH (node, &r->positions) {
        struct position *p = LIST_ENTRY(node, struct position, in);
        if (p->listing || env_now_ms(r->env) < p->retry_at_ms)
            continue;
        if (p->offset < 0)
            p->listing = ask(r, p, TIME_EARLIEST, true);
        else if (r->options.final && p->end < 0)
            p->listing = ask(r, p, TIME_LATEST, true);
    }
}

void load_reader_query(struct load_reader *r)
{
    uint64_t seen = 0;
    struct position *chosen = NULL;

    LIST_EACH (node, &r->positions)
        if (prng_below(r->prng, ++seen) == 0)
            chosen = LIST_ENTRY(node, struct position, in);
    if (chosen == NULL)
        return;
    int64_t time_ms = TIME_LATEST;
    if (prng_below(r->prng, 2) == 0) {
        int64_t age = env_wall_ms(r->env) - r->begun_ms;
        time_ms = r->begun_ms +
                  (int64_t)prng_below(r->prng, age > 0 ? (uint64_t)age : 1);
    }
    ask(r, chosen, time_ms, false);
}
