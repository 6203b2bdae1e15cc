/* Transactional ids and the partitions of their transactions. */
#include "broker/coord/txn/txn.h"

#include <stdlib.h>

const char *txn_state_name(enum txn_state state)
{
    static const char *const names[] = {
        "Empty",          "Ongoing",       "PrepareCommit", "PrepareAbort",
        "CompleteCommit", "CompleteAbort", "Dead",          "PrepareEpochFence",
    };

    ASSERT(state >= 0 && (size_t)state < sizeof names / sizeof *names);
    return names[state];
}

bool txn_is_prepared(const struct txn *txn)
{
    return txn->state == TXN_PREPARE_COMMIT || txn->state == TXN_PREPARE_ABORT;
}

bool txn_is_complete(const struct txn *txn)
{
    return txn->state == TXN_COMPLETE_COMMIT ||
           txn->state == TXN_COMPLETE_ABORT;
}

bool txn_coord_is_full(const struct txn_coord *coord)
{
    return coord->bytes >= coord->config.txns_max_bytes;
}

int64_t txn_take_id(struct txn_coord *coord)
{
    return coord->ids_next < coord->ids_end ? coord->ids_next++ : -1;
}

/* ---- ids -----------------------------------------------------------------*/

static size_t size_of(const struct txn *txn)
{
    return sizeof *txn + 2 * txn->id.len; /* here and as a key */
}

struct txn *txn_find(const struct txn_coord *coord, struct slice id)
{
    return map_get(&coord->txns, id);
}

struct txn *txn_add(struct txn_coord *coord, struct slice id)
{
    struct txn *txn = xcalloc(1, sizeof *txn);

    ASSERT(id.len != 0);
    txn->id = slice_of(xmemdup(id.data, id.len), id.len);
    txn->producer_id = txn->previous_producer_id = txn->next_producer_id = -1;
    txn->epoch = txn->last_epoch = -1;
    txn->start_wall_ms = txn->update_wall_ms = -1;
    list_init(&txn->waits);
    map_put(&coord->txns, txn->id, txn);
    coord->bytes += size_of(txn);
    return txn;
}

void txn_remove(struct txn_coord *coord, struct txn *txn)
{
    ASSERT(txn->under_way == NULL && list_empty(&txn->waits));
    txn_clear_partitions(coord, txn);
    heap_remove(&coord->timers, &txn->timer);
    coord->bytes -= size_of(txn);
    map_remove(&coord->txns, txn->id);
    free((void *)(uintptr_t)txn->id.data);
    free(txn);
}

/* ---- partitions ----------------------------------------------------------*/

/* The partition's number and the topic's name: topics have 249 bytes at most,
 * but whoever wrote the log may have thought otherwise. */
static struct slice key_of(struct buf *key, struct slice topic,
                           int32_t partition)
{
    key->len = 0;
    buf_put_u32(key, (uint32_t)partition);
    buf_put_slice(key, topic);
    return buf_slice(key);
}

static size_t partition_size(struct slice topic)
{
    return sizeof(struct txn_partition) + sizeof(struct map_entry) +
           sizeof(uint32_t) + topic.len;
}

bool txn_has(const struct txn *txn, struct slice topic, int32_t partition)
{
    struct buf key = BUF_INIT;
    bool has =
        map_get(&txn->partitions, key_of(&key, topic, partition)) != NULL;

    buf_free(&key);
    return has;
}

void txn_add_partition(struct txn_coord *coord, struct txn *txn,
                       struct slice topic, int32_t partition)
{
    if (txn_has(txn, topic, partition))
        return;
    struct txn_partition *p = xcalloc(1, sizeof *p);
    struct buf key = BUF_INIT;

    list_init(&p->link);
    p->txn = txn;
    p->partition = partition;
    p->topic = topic.len == 0
                   ? SLICE("")
                   : slice_of(xmemdup(topic.data, topic.len), topic.len);
    map_put(&txn->partitions, key_of(&key, topic, partition), p);
    coord->bytes += partition_size(p->topic);
    buf_free(&key);
}

void txn_clear_partitions(struct txn_coord *coord, struct txn *txn)
{
    MAP_EACH (entry, &txn->partitions) {
        struct txn_partition *p = entry->value;

        list_remove(&p->link);
        coord->bytes -= partition_size(p->topic);
        if (p->topic.len != 0)
            free((void *)(uintptr_t)p->topic.data);
        free(p);
    }
    map_free(&txn->partitions);
    txn->partitions = MAP_INIT;
    txn->unwritten = 0;
}
