#include "broker/replica/nearest.h"

static bool is_better(const struct nearest_replica *a,
                      const struct nearest_replica *b)
{
    if (a->end_offset != b->end_offset)
        return a->end_offset > b->end_offset;
    if (a->caught_up_ms != b->caught_up_ms)
        return a->caught_up_ms > b->caught_up_ms;
    return a->id > b->id;
}

int32_t nearest_replica(struct slice rack, struct slice leader_rack,
                        const struct nearest_replica *replicas, int len)
{
    const struct nearest_replica *best = NULL;

    if (rack.len == 0 || slice_eq(rack, leader_rack))
        return -1;
    for (int i = 0; i < len; i++)
        if (slice_eq(replicas[i].rack, rack) &&
            (best == NULL || is_better(&replicas[i], best)))
            best = &replicas[i];
    return best != NULL ? best->id : -1;
}
