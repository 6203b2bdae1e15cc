/* What the assignors have in common. */
#include "broker/coord/consumer/assign.h"

#include <stdlib.h>

assign_fn *assign_find(struct slice name)
{
    if (slice_eq_str(name, "uniform"))
        return assign_uniform;
    if (slice_eq_str(name, "range"))
        return assign_range;
    return NULL;
}

static bool subscriptions_equal(const struct assign_input *input)
{
    const struct assign_member *first = &input->members[0];

    for (uint32_t m = 1; m < input->members_len; m++) {
        const struct assign_member *other = &input->members[m];

        if (other->topics_len != first->topics_len)
            return false;
        if (other->topics != first->topics && first->topics_len != 0 &&
            memcmp(other->topics, first->topics,
                   first->topics_len * sizeof *first->topics) != 0)
            return false;
    }
    return true;
}

static int compare_ids(const void *a, const void *b, void *arg)
{
    const struct assign_input *input = arg;

    return slice_cmp(input->members[*(const uint32_t *)a].id,
                     input->members[*(const uint32_t *)b].id);
}

void assign_begin(struct assign_work *work, const struct assign_input *input,
                  struct arena *arena)
{
    uint32_t slots = 0;

    *work = (struct assign_work){.input = input, .arena = arena};
    work->first = arena_array(arena, input->topics_len + 1, sizeof(uint32_t));
    for (uint32_t t = 0; t < input->topics_len; t++) {
        work->first[t] = slots;
        slots += (uint32_t)input->topics[t].partitions;
    }
    work->first[input->topics_len] = slots;
    work->owner = arena_array(arena, slots, sizeof(int32_t));
    for (uint32_t s = 0; s < slots; s++)
        work->owner[s] = -1;
    work->load = arena_array(arena, input->members_len, sizeof(uint32_t));
    work->by_id = arena_array(arena, input->members_len, sizeof(uint32_t));
    for (uint32_t m = 0; m < input->members_len; m++)
        work->by_id[m] = m;
    qsort_r(work->by_id, input->members_len, sizeof(uint32_t), compare_ids,
            (void *)(uintptr_t)input);
    work->equal = subscriptions_equal(input);
}

static int compare_topic(const void *id, const void *topic)
{
    return memcmp(((const struct uuid *)id)->bytes,
                  ((const struct assign_topic *)topic)->id.bytes,
                  sizeof((const struct uuid *)id)->bytes);
}

static int compare_index(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

bool assign_subscribes(const struct assign_member *member, uint32_t topic)
{
    return member->topics_len != 0 &&
           bsearch(&topic, member->topics, member->topics_len, sizeof topic,
                   compare_index) != NULL;
}

/* The index of a topic that the member may have partitions of, or -1. */
static int64_t topic_of(const struct assign_input *input,
                        const struct assign_member *member, struct uuid id)
{
    const struct assign_topic *topic =
        input->topics_len == 0 ? NULL
                               : bsearch(&id, input->topics, input->topics_len,
                                         sizeof *topic, compare_topic);

    if (topic == NULL)
        return -1;
    int64_t index = topic - input->topics;
    return assign_subscribes(member, (uint32_t)index) ? index : -1;
}

void assign_give(struct assign_work *work, uint32_t slot, int32_t member)
{
    if (work->owner[slot] >= 0)
        work->load[work->owner[slot]]--;
    work->owner[slot] = member;
    if (member >= 0)
        work->load[member]++;
}

static void keep_run(struct assign_work *work, uint32_t m,
                     const struct part *parts, uint32_t len)
{
    const struct assign_input *input = work->input;
    int64_t topic = topic_of(input, &input->members[m], parts[0].topic);

    if (topic < 0)
        return;
    for (uint32_t i = 0; i < len; i++) {
        if (parts[i].partition < 0 ||
            parts[i].partition >= input->topics[topic].partitions)
            continue;
        uint32_t slot = work->first[topic] + (uint32_t)parts[i].partition;
        if (work->owner[slot] < 0)
            assign_give(work, slot, (int32_t)m);
    }
}

void assign_keep(struct assign_work *work)
{
    const struct assign_input *input = work->input;

    for (uint32_t i = 0; i < input->members_len; i++) {
        struct parts owned = input->members[work->by_id[i]].owned;

        for (uint32_t at = 0, run; at < owned.len; at += run) {
            run = parts_run(owned, at);
            keep_run(work, work->by_id[i], owned.items + at, run);
        }
    }
}

void assign_end(const struct assign_work *work, struct parts *out)
{
    const struct assign_input *input = work->input;

    for (uint32_t m = 0; m < input->members_len; m++)
        out[m] = (struct parts){
            arena_array(work->arena, work->load[m], sizeof(struct part)), 0};
    for (uint32_t t = 0; t < input->topics_len; t++)
        for (uint32_t s = work->first[t]; s < work->first[t + 1]; s++) {
            int32_t m = work->owner[s];

            if (m >= 0)
                out[m].items[out[m].len++] = (struct part){
                    input->topics[t].id, (int32_t)(s - work->first[t]), 0};
        }
    for (uint32_t m = 0; m < input->members_len; m++)
        ASSERT(out[m].len == work->load[m]);
}
