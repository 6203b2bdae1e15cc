/* Fetches that go astray.  Before KIP-392 (version 11), one that names a leader
 * epoch can be answered by nobody but the leader of that epoch: a replica that
 * knows it says NOT_LEADER_OR_FOLLOWER, one that knows a newer epoch
 * FENCED_LEADER_EPOCH. */
#include "tests/sim/load/reader_parts.h"

#include <stdlib.h>

enum { FETCH_WITH_EPOCH = 9, FETCH_OF_LEADERS = 10 };

struct stray {
    struct list in;
    struct load_reader *reader;
    char *name;
    int topic;
    int32_t partition;
    int32_t node;
    int32_t leader;
    int32_t epoch;
};

static void stray_free(struct stray *s)
{
    list_remove(&s->in);
    free(s->name);
    free(s);
}

void load_reader_drop_strays(struct load_reader *r)
{
    while (!list_empty(&r->strays))
        stray_free(LIST_ENTRY(r->strays.next, struct stray, in));
}

static void answered(void *arg, enum err error, const void *response)
{
    struct stray *s = arg;
    const struct fetch_response *a = response;

    if (error == ERR_NONE && a->error_code == ERR_NONE &&
        a->responses_len == 1 && a->responses[0].partitions_len == 1 &&
        a->responses[0].partitions[0].error_code == ERR_NONE &&
        !history_topic_is_doomed(s->reader->history, s->topic))
        history_violation(s->reader->history, "not-leader",
                          "node %d answers a fetch of %s-%d for leader epoch "
                          "%d, in which node %d leads",
                          s->node, s->name, s->partition, s->epoch, s->leader);
    stray_free(s);
}

static void ask(struct load_reader *r, const struct position *p, int32_t node,
                int32_t leader, int32_t epoch)
{
    struct fetch_request_partition partition;
    struct fetch_request_topic topic;
    struct fetch_request q;
    struct stray *s = xcalloc(1, sizeof *s);

    *s = (struct stray){.reader = r,
                        .name = xstrdup(p->name),
                        .topic = p->topic,
                        .partition = p->partition,
                        .node = node,
                        .leader = leader,
                        .epoch = epoch};
    list_push_back(&r->strays, &s->in);
    fetch_request_init(&q);
    fetch_request_topic_init(&topic);
    fetch_request_partition_init(&partition);
    partition.partition = p->partition;
    partition.current_leader_epoch = epoch;
    partition.fetch_offset = p->offset;
    partition.partition_max_bytes = r->options.partition_max_bytes;
    topic.topic = slice_str(p->name);
    topic.topic_id = p->id;
    topic.partitions = &partition;
    topic.partitions_len = 1;
    q.topics = &topic;
    q.topics_len = 1;
    q.max_bytes = r->options.max_bytes;
    load_client_call(r->client, node, API_FETCH,
                     load_client_version(r->client, API_FETCH, FETCH_WITH_EPOCH,
                                         FETCH_OF_LEADERS),
                     &q, 0, answered, s);
}

void load_reader_stray(struct load_reader *r)
{
    struct position *chosen = NULL;
    uint64_t seen = 0;
    int32_t epoch;

    LIST_EACH (node, &r->positions)
        if (prng_below(r->prng, ++seen) == 0)
            chosen = LIST_ENTRY(node, struct position, in);
    if (chosen == NULL || chosen->offset < 0 || r->options.by_id)
        return;
    int32_t leader = load_client_leader(r->client, slice_str(chosen->name),
                                        chosen->id, chosen->partition, &epoch);
    const struct load_topic *t =
        load_client_topic(r->client, slice_str(chosen->name), chosen->id);
    if (leader < 0 || epoch < 0 || t == NULL ||
        chosen->partition >= t->partitions_len)
        return;
    const struct load_partition *p = &t->partitions[chosen->partition];
    if (p->replicas_len == 0)
        return;
    int32_t node = p->replicas[prng_below(r->prng, (uint64_t)p->replicas_len)];
    if (node != leader)
        ask(r, chosen, node, leader, epoch);
}
