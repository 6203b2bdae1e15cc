/* Records: a transition into bytes, and bytes into state. */
#include "broker/coord/txn/txn.h"

#include <stdlib.h>

/* ---- state into a value --------------------------------------------------*/

struct transaction_log_value txn_value(const struct txn *txn)
{
    return (struct transaction_log_value){
        .producer_id = txn->producer_id,
        .previous_producer_id = txn->previous_producer_id,
        .next_producer_id = -1, /* of this transition, if it has one */
        .producer_epoch = txn->epoch,
        .next_producer_epoch = -1, /* of two-phase commit (KIP-939) */
        .transaction_timeout_ms = txn->timeout_ms,
        .transaction_status = (int8_t)txn->state,
        .transaction_partitions_len = -1,
        .transaction_start_timestamp_ms = txn->start_wall_ms,
        .client_transaction_version = txn->client_version,
    };
}

struct topics {
    struct map by_name; /* of the value's topics */
    struct transaction_log_value *value;
    struct arena *arena;
};

static struct transaction_log_value_partitions_schema *
topic_named(struct topics *topics, struct slice name, int32_t room)
{
    struct transaction_log_value *value = topics->value;
    struct transaction_log_value_partitions_schema *topic =
        map_get(&topics->by_name, name);

    if (topic != NULL)
        return topic;
    topic = &value->transaction_partitions[value->transaction_partitions_len++];
    topic->topic = arena_copy(topics->arena, name);
    topic->partition_ids =
        arena_array(topics->arena, (size_t)room, sizeof(int32_t));
    map_put(&topics->by_name, name, topic);
    return topic;
}

/* How many partitions of each topic there are at most. */
static void count_topics(struct map *counts, struct arena *arena,
                         struct slice name, int32_t more)
{
    int32_t *count = map_get(counts, name);

    if (count == NULL) {
        count = arena_alloc(arena, sizeof *count);
        map_put(counts, name, count);
    }
    *count += more;
}

static void count_all(struct map *counts, struct arena *arena,
                      const struct txn *txn,
                      const struct add_partitions_to_txn_request_topic *more,
                      int32_t more_len)
{
    MAP_EACH (entry, &txn->partitions)
        count_topics(counts, arena,
                     ((const struct txn_partition *)entry->value)->topic, 1);
    for (int32_t t = 0; t < more_len; t++)
        count_topics(counts, arena, more[t].name, more[t].partitions_len);
}

static void put(struct topics *topics, const struct map *counts,
                struct slice name, int32_t partition)
{
    struct transaction_log_value_partitions_schema *topic =
        topic_named(topics, name, *(int32_t *)map_get(counts, name));

    topic->partition_ids[topic->partition_ids_len++] = partition;
}

void txn_value_partitions(
    struct transaction_log_value *value, const struct txn *txn,
    const struct add_partitions_to_txn_request_topic *more, int32_t more_len,
    struct arena *arena)
{
    struct topics topics = {MAP_INIT, value, arena};
    struct map counts = MAP_INIT;

    count_all(&counts, arena, txn, more, more_len);
    value->transaction_partitions = arena_array(
        arena, map_count(&counts), sizeof *value->transaction_partitions);
    value->transaction_partitions_len = 0;
    MAP_EACH (entry, &txn->partitions) {
        const struct txn_partition *p = entry->value;
        put(&topics, &counts, p->topic, p->partition);
    }
    for (int32_t t = 0; t < more_len; t++)
        for (int32_t i = 0; i < more[t].partitions_len; i++)
            if (!txn_has(txn, more[t].name, more[t].partitions[i]))
                put(&topics, &counts, more[t].name, more[t].partitions[i]);
    map_free(&topics.by_name);
    map_free(&counts);
}

/* ---- writes --------------------------------------------------------------*/

struct txn_write *txn_write_new(enum txn_write_kind kind, struct txn *txn)
{
    struct txn_write *write = xcalloc(1, sizeof *write);

    list_init(&write->pending.link);
    write->kind = kind;
    write->txn = txn;
    write->last_epoch = -1;
    return write;
}

void txn_write_free(struct txn_write *write)
{
    ASSERT(write->answer == NULL);
    coord_records_free(&write->pending.records);
    coord_records_free(&write->kept);
    free(write);
}

uint32_t txn_write_bytes(const struct txn_write *write)
{
    return (uint32_t)write->pending.records.bytes.len;
}

/* Ids and names were decoded from requests or records, where a string is at
 * most 32767 bytes, so they fit into records again. */
static void encode_ok(enum err err) { ASSERT(err == ERR_NONE); }

static void put_record(struct txn_write *write, struct slice id,
                       struct slice value)
{
    struct transaction_log_key key = {id};
    struct buf bytes = BUF_INIT;

    encode_ok(coordinator_key_encode(&transaction_log_key_desc, &key, &bytes));
    coord_records_add(&write->pending.records, buf_slice(&bytes), value);
    buf_free(&bytes);
}

static void send(struct txn_step *step, struct txn_write *write)
{
    write->txn->under_way = write;
    list_push_back(&step->update->writes, &write->pending.link);
}

/* Version 0 is what brokers before transaction.version read. It is left when
 * something must be said that it has no place for. */
static int16_t value_version(const struct txn_coord *coord,
                             const struct transaction_log_value *value)
{
    bool needs_more = value->previous_producer_id != -1 ||
                      value->next_producer_id != -1 ||
                      value->client_transaction_version != 0;

    return coord->config.transaction_version >= TXN_VERSION_FLEXIBLE ||
           needs_more;
}

struct txn_write *txn_write(struct txn_step *step, enum txn_write_kind kind,
                            struct txn *txn,
                            struct transaction_log_value *value,
                            struct txn_answer *answer)
{
    struct txn_write *write = txn_write_new(kind, txn);
    struct buf bytes = BUF_INIT;

    ASSERT(txn->under_way == NULL);
    value->transaction_last_update_timestamp_ms = step->time.wall_ms;
    encode_ok(coordinator_value_encode(&transaction_log_value_desc,
                                       value_version(step->coord, value), value,
                                       &bytes));
    put_record(write, txn->id, buf_slice(&bytes));
    buf_free(&bytes);
    write->answer = answer;
    if (answer != NULL)
        answer->waiting++;
    send(step, write);
    return write;
}

void txn_write_tombstone(struct txn_step *step, struct txn *txn)
{
    struct txn_write *write = txn_write_new(TXN_WRITE_EXPIRE, txn);

    put_record(write, txn->id, SLICE_NULL);
    send(step, write);
}

void txn_write_drop(struct txn_write *write)
{
    list_remove(&write->pending.link);
    write->txn->under_way = NULL;
    if (write->answer != NULL)
        write->answer->waiting--;
    write->answer = NULL;
    txn_write_free(write);
}

/* ---- bytes into state ----------------------------------------------------*/

static bool makes_sense(const struct transaction_log_value *value)
{
    bool state_ok = value->transaction_status >= TXN_EMPTY &&
                    value->transaction_status <= TXN_COMPLETE_ABORT;

    return state_ok && value->producer_id >= 0 && value->producer_epoch >= 0 &&
           value->next_producer_id >= -1 &&
           /* nobody who begins a transaction has the last epoch */
           (value->producer_epoch < INT16_MAX ||
            value->transaction_status != TXN_ONGOING);
}

static bool keeps_partitions(enum txn_state state)
{
    return state == TXN_ONGOING || state == TXN_PREPARE_COMMIT ||
           state == TXN_PREPARE_ABORT;
}

static void take_partitions(struct txn_coord *coord, struct txn *txn,
                            const struct transaction_log_value *value)
{
    txn_clear_partitions(coord, txn);
    if (!keeps_partitions(txn->state))
        return;
    for (int32_t t = 0; t < value->transaction_partitions_len; t++) {
        const struct transaction_log_value_partitions_schema *topic =
            &value->transaction_partitions[t];

        for (int32_t i = 0; i < topic->partition_ids_len; i++)
            txn_add_partition(coord, txn, topic->topic,
                              topic->partition_ids[i]);
    }
}

static int64_t time_or_none(int64_t wall_ms)
{
    return wall_ms < 0 ? -1 : wall_ms;
}

static void take_value(struct txn_coord *coord, struct txn *txn,
                       const struct transaction_log_value *value)
{
    txn->exists = true;
    txn->state = (enum txn_state)value->transaction_status;
    txn->producer_id = value->producer_id;
    txn->previous_producer_id = value->previous_producer_id;
    txn->next_producer_id = value->next_producer_id;
    txn->epoch = value->producer_epoch;
    txn->last_epoch = -1;
    txn->client_version = value->client_transaction_version;
    txn->timeout_ms = value->transaction_timeout_ms;
    txn->start_wall_ms = time_or_none(value->transaction_start_timestamp_ms);
    txn->update_wall_ms =
        time_or_none(value->transaction_last_update_timestamp_ms);
    take_partitions(coord, txn, value);
}

static enum err replay_value(struct txn_coord *coord, struct slice id,
                             const struct coordinator_record *record,
                             struct slice bytes, struct arena *arena)
{
    void *decoded;
    enum err err = coordinator_value_decode(record, bytes, arena, &decoded);

    if (err != ERR_NONE)
        return err;
    if (id.len == 0 || !makes_sense(decoded))
        return ERR_MALFORMED;
    struct txn *txn = txn_find(coord, id);
    take_value(coord, txn != NULL ? txn : txn_add(coord, id), decoded);
    return ERR_NONE;
}

static void replay_tombstone(struct txn_coord *coord, struct slice id)
{
    struct txn *txn = txn_find(coord, id);

    if (txn != NULL)
        txn_remove(coord, txn);
}

enum err txn_coord_replay(struct txn_coord *coord, struct slice key,
                          struct slice value)
{
    const struct coordinator_record *record;
    struct arena arena;
    void *decoded;

    arena_init(&arena, 0);
    enum err err = coordinator_key_decode(&transaction_records, key, &arena,
                                          &record, &decoded);
    if (err == ERR_NONE) {
        struct slice id =
            ((const struct transaction_log_key *)decoded)->transactional_id;

        if (slice_is_null(value))
            replay_tombstone(coord, id);
        else
            err = replay_value(coord, id, record, value, &arena);
    }
    arena_free(&arena);
    return err;
}
