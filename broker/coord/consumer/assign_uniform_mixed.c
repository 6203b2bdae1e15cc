/* The uniform assignor for members with different subscriptions.
 *
 * What nobody has goes to the least loaded subscriber, beginning with the
 * topics that have the most partitions per subscriber, as there is least choice
 * there.  Then topics are gone over in the same order: as long as one owner of
 * a topic's partition has two partitions more than some subscriber, one moves.
 * Each move makes the loads' squares less, so it ends; overlapping
 * subscriptions may take many rounds to settle, and as in Kafka 16 have to do.
 */
#include "broker/coord/consumer/assign.h"

#include "base/heap.h"

#include <stdlib.h>

enum {
    ROUNDS_MAX = 16,
    MEMBER_BITS = 24, /* of a heap's key; the load is above them */
};

struct mixed {
    struct assign_work *work;
    uint32_t **subscribers; /* of each topic, rising members */
    uint32_t *subscribers_len;
    uint32_t *order; /* of topics */
    uint32_t *rank;  /* of each member among ids: breaks ties */
    /* Of each member, for the topic at hand. */
    struct heap_node *least; /* by load */
    struct heap_node *most;  /* by load, owners of the topic's partitions */
    uint32_t *owned;         /* of the topic's partitions */
};

/* ---- preparation ---------------------------------------------------------*/

static void find_subscribers(struct mixed *x)
{
    const struct assign_input *input = x->work->input;
    struct arena *arena = x->work->arena;

    x->subscribers =
        arena_array(arena, input->topics_len, sizeof *x->subscribers);
    x->subscribers_len =
        arena_array(arena, input->topics_len, sizeof *x->subscribers_len);
    for (uint32_t m = 0; m < input->members_len; m++)
        for (uint32_t i = 0; i < input->members[m].topics_len; i++)
            x->subscribers_len[input->members[m].topics[i]]++;
    for (uint32_t t = 0; t < input->topics_len; t++) {
        x->subscribers[t] =
            arena_array(arena, x->subscribers_len[t], sizeof(uint32_t));
        x->subscribers_len[t] = 0;
    }
    for (uint32_t m = 0; m < input->members_len; m++)
        for (uint32_t i = 0; i < input->members[m].topics_len; i++) {
            uint32_t t = input->members[m].topics[i];
            x->subscribers[t][x->subscribers_len[t]++] = m;
        }
}

/* Most partitions per subscriber first, then fewest subscribers, then id. */
static int compare_topics(const void *a, const void *b, void *arg)
{
    const struct mixed *x = arg;
    uint32_t s = *(const uint32_t *)a, t = *(const uint32_t *)b;
    const struct assign_topic *topics = x->work->input->topics;
    uint64_t left = (uint64_t)topics[s].partitions * x->subscribers_len[t];
    uint64_t right = (uint64_t)topics[t].partitions * x->subscribers_len[s];

    if (left != right)
        return left > right ? -1 : 1;
    if (x->subscribers_len[s] != x->subscribers_len[t])
        return x->subscribers_len[s] < x->subscribers_len[t] ? -1 : 1;
    return s < t ? -1 : s > t;
}

static void prepare(struct mixed *x)
{
    const struct assign_input *input = x->work->input;
    struct arena *arena = x->work->arena;
    uint32_t members = input->members_len;

    ASSERT(members < 1u << MEMBER_BITS);
    find_subscribers(x);
    x->order = arena_array(arena, input->topics_len, sizeof *x->order);
    for (uint32_t t = 0; t < input->topics_len; t++)
        x->order[t] = t;
    qsort_r(x->order, input->topics_len, sizeof *x->order, compare_topics, x);
    x->rank = arena_array(arena, members, sizeof *x->rank);
    for (uint32_t i = 0; i < members; i++)
        x->rank[x->work->by_id[i]] = i;
    x->least = arena_array(arena, members, sizeof *x->least);
    x->most = arena_array(arena, members, sizeof *x->most);
    x->owned = arena_array(arena, members, sizeof *x->owned);
}

/* ---- the members of one topic by load ------------------------------------*/

static void set_least(struct mixed *x, struct heap *heap, uint32_t m)
{
    heap_set(heap, &x->least[m],
             (int64_t)x->work->load[m] << MEMBER_BITS | x->rank[m]);
}

static void set_most(struct mixed *x, struct heap *heap, uint32_t m)
{
    if (x->owned[m] == 0)
        heap_remove(heap, &x->most[m]);
    else
        heap_set(heap, &x->most[m],
                 -((int64_t)x->work->load[m] << MEMBER_BITS) + x->rank[m]);
}

static uint32_t least_of(const struct mixed *x, const struct heap *heap)
{
    return (uint32_t)(heap_first(heap) - x->least);
}

static uint32_t most_of(const struct mixed *x, const struct heap *heap)
{
    return (uint32_t)(heap_first(heap) - x->most);
}

/* For the next topic; the nodes are in the arena. */
static void empty(struct heap *heap)
{
    while (heap->len != 0)
        heap_remove(heap, heap->nodes[heap->len - 1]);
}

/* ---- giving out ----------------------------------------------------------*/

static bool is_given(const struct mixed *x, uint32_t t)
{
    for (uint32_t s = x->work->first[t]; s < x->work->first[t + 1]; s++)
        if (x->work->owner[s] < 0)
            return false;
    return true;
}

static void give_out_topic(struct mixed *x, struct heap *heap, uint32_t t)
{
    struct assign_work *work = x->work;

    for (uint32_t i = 0; i < x->subscribers_len[t]; i++)
        set_least(x, heap, x->subscribers[t][i]);
    for (uint32_t s = work->first[t]; s < work->first[t + 1]; s++) {
        if (work->owner[s] >= 0)
            continue;
        uint32_t m = least_of(x, heap);
        assign_give(work, s, (int32_t)m);
        set_least(x, heap, m);
    }
}

static void give_out(struct mixed *x)
{
    struct heap heap = {0};

    for (uint32_t i = 0; i < x->work->input->topics_len; i++) {
        uint32_t t = x->order[i];

        if (x->subscribers_len[t] == 0 || is_given(x, t))
            continue;
        give_out_topic(x, &heap, t);
        empty(&heap);
    }
    heap_free(&heap);
}

/* ---- balancing -----------------------------------------------------------*/

static bool is_even(const struct mixed *x, uint32_t t)
{
    uint32_t least = UINT32_MAX, most = 0;

    for (uint32_t i = 0; i < x->subscribers_len[t]; i++) {
        uint32_t load = x->work->load[x->subscribers[t][i]];

        least = load < least ? load : least;
        most = load > most ? load : most;
    }
    return x->subscribers_len[t] == 0 || most - least <= 1;
}

/* Partitions of a topic by owner: the last one of each, and the one before. */
struct chain {
    int32_t *last;   /* of each member: a partition, or -1 */
    int32_t *before; /* of each partition: its owner's one before, or -1 */
};

static void move_one(struct mixed *x, struct chain *chain, uint32_t t,
                     uint32_t from, uint32_t to)
{
    int32_t p = chain->last[from];

    chain->last[from] = chain->before[p];
    chain->before[p] = chain->last[to];
    chain->last[to] = p;
    x->owned[from]--;
    x->owned[to]++;
    assign_give(x->work, x->work->first[t] + (uint32_t)p, (int32_t)to);
}

static void load_topic(struct mixed *x, struct chain *chain, uint32_t t)
{
    uint32_t first = x->work->first[t];

    for (uint32_t i = 0; i < x->subscribers_len[t]; i++) {
        x->owned[x->subscribers[t][i]] = 0;
        chain->last[x->subscribers[t][i]] = -1;
    }
    for (uint32_t s = first; s < x->work->first[t + 1]; s++) {
        int32_t m = x->work->owner[s];

        chain->before[s - first] = chain->last[m];
        chain->last[m] = (int32_t)(s - first);
        x->owned[m]++;
    }
}

/* Whether something moved. */
static bool balance_topic(struct mixed *x, struct chain *chain,
                          struct heap *least, struct heap *most, uint32_t t)
{
    const uint32_t *load = x->work->load;
    bool moved = false;

    load_topic(x, chain, t);
    for (uint32_t i = 0; i < x->subscribers_len[t]; i++) {
        set_least(x, least, x->subscribers[t][i]);
        set_most(x, most, x->subscribers[t][i]);
    }
    while (most->len != 0) {
        uint32_t from = most_of(x, most), to = least_of(x, least);

        if (load[from] <= load[to] + 1)
            break;
        move_one(x, chain, t, from, to);
        set_least(x, least, from);
        set_least(x, least, to);
        set_most(x, most, from);
        set_most(x, most, to);
        moved = true;
    }
    empty(least);
    empty(most);
    return moved;
}

static void balance(struct mixed *x)
{
    const struct assign_input *input = x->work->input;
    struct heap least = {0}, most = {0};
    struct chain chain = {
        arena_array(x->work->arena, input->members_len, sizeof(int32_t)),
        arena_array(x->work->arena, x->work->first[input->topics_len],
                    sizeof(int32_t))};
    bool moved = true;

    for (int round = 0; moved && round < ROUNDS_MAX; round++) {
        moved = false;
        for (uint32_t i = 0; i < input->topics_len; i++)
            if (!is_even(x, x->order[i]))
                moved |= balance_topic(x, &chain, &least, &most, x->order[i]);
    }
    heap_free(&least);
    heap_free(&most);
}

void assign_uniform_mixed(struct assign_work *work)
{
    struct mixed x = {.work = work};

    prepare(&x);
    give_out(&x);
    balance(&x);
}
