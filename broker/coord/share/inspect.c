/* Invariants, and the surviving state as text. */
#include "broker/coord/share/parts.h"

#include <stdlib.h>

static void check_key(const struct share_coord *coord,
                      const struct share_key *key)
{
    bool has_snapshot = !list_unlinked(&key->by_snapshot);

    ASSERT(key->exists || key->under_way != NULL);
    ASSERT(!key->exists || has_snapshot);
    ASSERT(!key->exists || key->snapshot_offset < coord->end_offset);
    ASSERT(key->exists || !has_snapshot || key->under_way->kept.count != 0);
    ASSERT(key->under_way == NULL || key->under_way->key == key);
    for (uint32_t i = 0; i < key->state.len; i++) {
        const struct share_batch *batch = &key->state.batches[i];

        ASSERT(batch->first <= batch->last);
        ASSERT(batch->first >= key->state.start_offset);
        ASSERT(i == 0 || batch->first > batch[-1].last);
    }
}

void share_coord_check(const struct share_coord *coord)
{
    int64_t last = -1;

    MAP_EACH (entry, &coord->keys)
        check_key(coord, entry->value);
    LIST_EACH (node, &coord->by_snapshot) {
        const struct share_key *key =
            LIST_ENTRY(node, struct share_key, by_snapshot);

        ASSERT(key->snapshot_offset > last);
        last = key->snapshot_offset;
    }
}

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp((*(const struct share_key *const *)a)->bytes,
                     (*(const struct share_key *const *)b)->bytes);
}

static void dump_key(const struct share_key *key, struct buf *out)
{
    const struct share_state_of *state = &key->state;
    char topic[UUID_TEXT_SIZE];

    buf_printf(out,
               "%.*s:%s:%d snapshot %d state %d leader %d start %lld "
               "complete %d updates %d",
               SLICE_FMT(key->group), uuid_format(key->topic, topic),
               key->partition, state->snapshot_epoch, state->state_epoch,
               state->leader_epoch, (long long)state->start_offset,
               state->complete, key->updates);
    for (uint32_t i = 0; i < state->len; i++)
        buf_printf(out, " %lld-%lld:%d/%d", (long long)state->batches[i].first,
                   (long long)state->batches[i].last,
                   (int)state->batches[i].state, state->batches[i].deliveries);
    buf_printf(out, "\n");
}

void share_coord_dump(const struct share_coord *coord, struct buf *out)
{
    uint32_t len = 0;
    const struct share_key **keys =
        xcalloc(map_count(&coord->keys) + 1, sizeof *keys);

    MAP_EACH (entry, &coord->keys)
        if (((struct share_key *)entry->value)->exists)
            keys[len++] = entry->value;
    if (len != 0)
        qsort(keys, len, sizeof *keys, by_bytes);
    for (uint32_t i = 0; i < len; i++)
        dump_key(keys[i], out);
    free(keys);
}
