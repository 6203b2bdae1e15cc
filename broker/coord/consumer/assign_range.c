/* The range assignor. */
#include "broker/coord/consumer/assign.h"

#include <stdlib.h>

static int compare_members(const void *a, const void *b, void *arg)
{
    const struct assign_input *input = arg;
    const struct assign_member *x = &input->members[*(const uint32_t *)a];
    const struct assign_member *y = &input->members[*(const uint32_t *)b];
    bool x_static = !slice_is_null(x->instance_id);
    bool y_static = !slice_is_null(y->instance_id);

    if (x_static != y_static)
        return x_static ? -1 : 1;
    return x_static ? slice_cmp(x->instance_id, y->instance_id)
                    : slice_cmp(x->id, y->id);
}

/* How a topic is cut. */
struct cut {
    uint32_t subscribers;
    uint32_t next;  /* the partition that begins the next range */
    uint32_t extra; /* ranges to come that are one longer */
};

static struct cut *cut_topics(const struct assign_input *input,
                              struct arena *arena)
{
    struct cut *cuts = arena_array(arena, input->topics_len, sizeof *cuts);

    for (uint32_t m = 0; m < input->members_len; m++)
        for (uint32_t i = 0; i < input->members[m].topics_len; i++)
            cuts[input->members[m].topics[i]].subscribers++;
    for (uint32_t t = 0; t < input->topics_len; t++)
        if (cuts[t].subscribers != 0)
            cuts[t].extra =
                (uint32_t)input->topics[t].partitions % cuts[t].subscribers;
    return cuts;
}

static void give_range(struct assign_work *work, uint32_t t, struct cut *cut,
                       uint32_t m)
{
    uint32_t len =
        (uint32_t)work->input->topics[t].partitions / cut->subscribers;

    if (cut->extra > 0) {
        cut->extra--;
        len++;
    }
    for (uint32_t i = 0; i < len; i++)
        assign_give(work, work->first[t] + cut->next++, (int32_t)m);
}

void assign_range(const struct assign_input *input, struct arena *arena,
                  struct parts *out)
{
    struct assign_work work;

    if (input->members_len == 0)
        return;
    assign_begin(&work, input, arena);
    struct cut *cuts = cut_topics(input, arena);
    uint32_t *order = work.by_id;
    qsort_r(order, input->members_len, sizeof *order, compare_members,
            (void *)(uintptr_t)input);
    for (uint32_t i = 0; i < input->members_len; i++) {
        const struct assign_member *member = &input->members[order[i]];

        for (uint32_t k = 0; k < member->topics_len; k++)
            give_range(&work, member->topics[k], &cuts[member->topics[k]],
                       order[i]);
    }
    assign_end(&work, out);
}
