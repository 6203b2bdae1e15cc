/* Keys: found, made, forgotten. */
#include "broker/coord/share/parts.h"

#include <stdlib.h>

static void key_bytes(struct buf *out, struct slice group, struct uuid topic,
                      int32_t partition)
{
    buf_put(out, topic.bytes, sizeof topic.bytes);
    buf_put_u32(out, (uint32_t)partition);
    buf_put_slice(out, group);
}

struct share_key *share_key_find(const struct share_coord *coord,
                                 struct slice group, struct uuid topic,
                                 int32_t partition)
{
    struct buf bytes = BUF_INIT;

    key_bytes(&bytes, group, topic, partition);
    struct share_key *key = map_get(&coord->keys, buf_slice(&bytes));
    buf_free(&bytes);
    return key;
}

static size_t size_of(const struct share_key *key)
{
    return sizeof *key + 2 * key->group.len +
           key->state.len * sizeof *key->state.batches;
}

struct share_key *share_key_add(struct share_coord *coord, struct slice group,
                                struct uuid topic, int32_t partition)
{
    struct share_key *key = xcalloc(1, sizeof *key);
    struct buf bytes = BUF_INIT;

    key->group = slice_of(slice_dup(group), group.len);
    key->topic = topic;
    key->partition = partition;
    list_init(&key->by_snapshot);
    key_bytes(&bytes, group, topic, partition);
    key->bytes = buf_slice(&bytes); /* owned from here on */
    map_put(&coord->keys, key->bytes, key);
    coord->bytes += size_of(key);
    return key;
}

void share_key_remove(struct share_coord *coord, struct share_key *key)
{
    coord->bytes -= size_of(key);
    list_remove(&key->by_snapshot);
    map_remove(&coord->keys, key->bytes);
    free((void *)key->bytes.data);
    free((void *)key->group.data);
    free(key->state.batches);
    free(key);
}

void share_key_set(struct share_coord *coord, struct share_key *key,
                   const struct share_state_of *state)
{
    size_t size = state->len * sizeof *state->batches;
    struct share_batch *copy = size == 0 ? NULL : xmemdup(state->batches, size);

    coord->bytes -= size_of(key);
    free(key->state.batches);
    key->state = *state;
    key->state.batches = copy;
    key->exists = true;
    coord->bytes += size_of(key);
}

void share_key_snapshot_at(struct share_coord *coord, struct share_key *key,
                           int64_t offset)
{
    list_remove(&key->by_snapshot);
    struct list *at = coord->by_snapshot.prev;
    while (at != &coord->by_snapshot &&
           LIST_ENTRY(at, struct share_key, by_snapshot)->snapshot_offset >
               offset)
        at = at->prev;
    key->snapshot_offset = offset;
    list_insert_after(at, &key->by_snapshot);
}
