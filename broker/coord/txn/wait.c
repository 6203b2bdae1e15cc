/* Partitions that are to be added while a transition of their transaction is
 * under way wait for its end, for a while: most often for the markers of the
 * transaction before, some milliseconds.  Kafka says CONCURRENT_TRANSACTIONS at
 * once, and clients and brokers come again after 20 ms, so a producer of small
 * transactions does little else than wait.
 *
 * A request of one producer holds nobody up but him.  Those of brokers are for
 * many, so they wait no longer than what is usual.  Nobody waits when a marker
 * could not be written: that takes longer.
 *
 * Who waits has decided nothing: when his turn comes he is judged as if he had
 * come then. */
#include "broker/coord/txn/txn.h"

#include <stdlib.h>

enum {
    WAIT_MS = 500,      /* of a producer */
    WAIT_BATCH_MS = 10, /* of a broker */
    WAITS_MAX = 8,      /* for one transaction */
};

struct txn_wait {
    struct list link;      /* in txn->waits */
    struct heap_node over; /* in coord->waits; key: monotonic milliseconds */
    struct txn *txn;
    struct txn_answer *answer;
    int32_t slot;
    size_t bytes; /* counted in coord->bytes */
    struct arena arena;
    struct txn_adding adding; /* in the arena */
};

static void keep_adding(struct txn_wait *wait, const struct txn_adding *a)
{
    struct add_partitions_to_txn_request_topic *topics =
        arena_array(&wait->arena, (size_t)a->topics_len, sizeof *topics);

    wait->adding = *a;
    wait->adding.id = arena_copy(&wait->arena, a->id);
    wait->adding.topics = topics;
    wait->bytes = sizeof *wait + a->id.len;
    for (int32_t t = 0; t < a->topics_len; t++) {
        int32_t len = a->topics[t].partitions_len;

        topics[t].name = arena_copy(&wait->arena, a->topics[t].name);
        topics[t].partitions_len = len;
        topics[t].partitions =
            arena_array(&wait->arena, (size_t)len, sizeof(int32_t));
        if (len != 0)
            memcpy(topics[t].partitions, a->topics[t].partitions,
                   (size_t)len * sizeof(int32_t));
        wait->bytes += sizeof *topics + a->topics[t].name.len +
                       (size_t)len * sizeof(int32_t);
    }
}

static void wait_free(struct txn_coord *coord, struct txn_wait *wait)
{
    list_remove(&wait->link);
    heap_remove(&coord->waits, &wait->over);
    wait->txn->waits_len--;
    coord->bytes -= wait->bytes;
    arena_free(&wait->arena);
    free(wait);
}

static void refuse(struct txn_step *step, struct txn_wait *wait, enum err err)
{
    struct txn_answer *answer = wait->answer;

    txn_answer_fail(answer, wait->slot, err);
    wait_free(step->coord, wait);
    txn_answer_write_ended(step, answer);
}

bool txn_wait(struct txn_step *step, struct txn *txn,
              const struct txn_adding *adding, struct txn_answer *answer,
              int32_t slot)
{
    bool batch = answer->api == API_ADD_PARTITIONS_TO_TXN &&
                 answer->version >= TXN_ADD_BATCHED_FROM;
    struct txn_wait *wait;

    bool stuck = txn_is_prepared(txn) && txn->attempts != 0;

    if (!txn->exists || stuck || txn->waits_len >= WAITS_MAX ||
        txn_coord_is_full(step->coord))
        return false;
    wait = xcalloc(1, sizeof *wait);
    arena_init(&wait->arena, 0);
    wait->txn = txn;
    wait->answer = answer;
    wait->slot = slot;
    keep_adding(wait, adding);
    answer->waiting++;
    step->coord->bytes += wait->bytes;
    list_push_back(&txn->waits, &wait->link);
    txn->waits_len++;
    heap_set(&step->coord->waits, &wait->over,
             step->time.now_ms + (batch ? WAIT_BATCH_MS : WAIT_MS));
    return true;
}

static struct txn_wait *first_of(const struct txn *txn)
{
    return list_empty(&txn->waits)
               ? NULL
               : LIST_ENTRY(txn->waits.next, struct txn_wait, link);
}

void txn_waits_go_on(struct txn_step *step, struct txn *txn)
{
    struct txn_wait *wait;

    while (txn->under_way == NULL && !txn_is_prepared(txn) &&
           (wait = first_of(txn)) != NULL) {
        struct txn_answer *answer = wait->answer;
        enum err err =
            txn_add_judged(step, txn, &wait->adding, answer, wait->slot);

        if (err != ERR_NONE)
            txn_answer_fail(answer, wait->slot, err);
        wait_free(step->coord, wait);
        txn_answer_write_ended(step, answer);
    }
}

void txn_waits_refuse(struct txn_step *step, struct txn *txn, enum err err)
{
    struct txn_wait *wait;

    while ((wait = first_of(txn)) != NULL)
        refuse(step, wait, err);
}

void txn_waits_refuse_all(struct txn_step *step, enum err err)
{
    struct heap_node *first;

    while ((first = heap_first(&step->coord->waits)) != NULL)
        refuse(step, HEAP_ENTRY(first, struct txn_wait, over), err);
}

bool txn_waits_tick(struct txn_step *step)
{
    struct heap_node *first = heap_first(&step->coord->waits);

    if (first == NULL || first->key > step->time.now_ms)
        return false;
    refuse(step, HEAP_ENTRY(first, struct txn_wait, over),
           ERR_CONCURRENT_TRANSACTIONS);
    return true;
}
