/* Decisions into records, records into state. */
#include "base/planted.h"
#include "broker/coord/share/combine.h"
#include "broker/coord/share/parts.h"

#include <stdlib.h>

/* ---- writes --------------------------------------------------------------*/

static struct share_coord_write *write_new(struct share_step *step,
                                           struct share_key *key)
{
    struct share_coord_write *write = xcalloc(1, sizeof *write);

    ASSERT(key->under_way == NULL);
    list_init(&write->pending.link);
    write->key = key;
    key->under_way = write;
    list_push_back(&step->update->writes, &write->pending.link);
    return write;
}

void share_write_free(struct share_coord_write *write)
{
    ASSERT(write->answer == NULL);
    coord_records_free(&write->pending.records);
    coord_records_free(&write->kept);
    free(write);
}

/* Names were decoded from requests or records, so they fit into records. */
static void encode_ok(enum err err) { ASSERT(err == ERR_NONE); }

static void put_record(struct share_coord_write *write,
                       const struct kafka_desc *desc, struct slice value)
{
    /* Both key types have the same fields. */
    const struct share_key *key = write->key;
    struct share_snapshot_key snapshot = {key->group, key->topic,
                                          key->partition};
    struct share_update_key update = {key->group, key->topic, key->partition};
    struct buf bytes = BUF_INIT;

    encode_ok(coordinator_key_encode(desc,
                                     desc == &share_update_key_desc
                                         ? (const void *)&update
                                         : (const void *)&snapshot,
                                     &bytes));
    coord_records_add(&write->pending.records, buf_slice(&bytes), value);
    buf_free(&bytes);
}

struct share_coord_write *
share_write_snapshot(struct share_step *step, struct share_key *key,
                     const struct share_state_of *state)
{
    struct share_coord_write *write = write_new(step, key);
    struct share_snapshot_value value = {
        .snapshot_epoch = state->snapshot_epoch,
        .state_epoch = state->state_epoch,
        .leader_epoch = state->leader_epoch,
        .start_offset = state->start_offset,
        .delivery_complete_count = state->complete,
        .create_timestamp = state->create_wall_ms,
        .write_timestamp = state->write_wall_ms,
        .state_batches = xcalloc(state->len + 1, sizeof *value.state_batches),
        .state_batches_len = (int32_t)state->len,
    };
    struct buf bytes = BUF_INIT;

    for (uint32_t i = 0; i < state->len; i++)
        value.state_batches[i] = (struct share_snapshot_value_state_batch){
            state->batches[i].first, state->batches[i].last,
            (int8_t)state->batches[i].state, state->batches[i].deliveries};
    encode_ok(coordinator_value_encode(&share_snapshot_value_desc, 0, &value,
                                       &bytes));
    put_record(write, &share_snapshot_key_desc, buf_slice(&bytes));
    buf_free(&bytes);
    free(value.state_batches);
    return write;
}

struct share_coord_write *share_write_update(struct share_step *step,
                                             struct share_key *key,
                                             const struct share_ask *ask)
{
    struct share_coord_write *write = write_new(step, key);
    struct share_update_value value = {
        .snapshot_epoch = key->state.snapshot_epoch,
        .leader_epoch = ask->leader_epoch,
        .start_offset = ask->start_offset,
        .delivery_complete_count = ask->complete,
        .state_batches = xcalloc(ask->len + 1, sizeof *value.state_batches),
        .state_batches_len = (int32_t)ask->len,
    };
    struct buf bytes = BUF_INIT;

    for (uint32_t i = 0; i < ask->len; i++)
        value.state_batches[i] = (struct share_update_value_state_batch){
            ask->batches[i].first, ask->batches[i].last,
            (int8_t)ask->batches[i].state, ask->batches[i].deliveries};
    encode_ok(
        coordinator_value_encode(&share_update_value_desc, 0, &value, &bytes));
    put_record(write, &share_update_key_desc, buf_slice(&bytes));
    buf_free(&bytes);
    free(value.state_batches);
    return write;
}

void share_write_tombstone(struct share_step *step, struct share_key *key,
                           struct share_answer *answer, struct share_ask *ask)
{
    struct share_coord_write *write = write_new(step, key);

    put_record(write, &share_snapshot_key_desc, SLICE_NULL);
    write->answer = answer;
    write->ask = ask;
    if (answer != NULL)
        answer->waiting++;
}

/* ---- records -------------------------------------------------------------*/

struct share_state_of share_state_after(const struct share_state_of *now,
                                        int32_t leader_epoch,
                                        int64_t start_offset, int32_t complete,
                                        const struct share_batch *batches,
                                        uint32_t len, struct arena *arena)
{
    struct share_state_of after = *now;

    if (leader_epoch > after.leader_epoch)
        after.leader_epoch = leader_epoch;
    if (start_offset > after.start_offset)
        after.start_offset = start_offset;
    if (complete >= 0)
        after.complete = complete;
    after.batches = share_combine(now->batches, now->len, batches, len,
                                  after.start_offset, arena, &after.len);
    return after;
}

static enum err replay_snapshot(struct share_coord *coord,
                                const struct share_snapshot_key *name,
                                const struct share_snapshot_value *value,
                                int64_t offset, struct arena *arena)
{
    uint32_t len = PLANTED(SHARE_SNAPSHOTS_START_ONLY)
                       ? 0
                       : (uint32_t)value->state_batches_len;
    struct share_batch *batches = arena_array(arena, len, sizeof *batches);

    for (uint32_t i = 0; i < len; i++) {
        const struct share_snapshot_value_state_batch *b =
            &value->state_batches[i];

        if (!share_batch_ok(b->first_offset, b->last_offset, b->delivery_state,
                            b->delivery_count))
            return ERR_MALFORMED;
        batches[i] = (struct share_batch){b->first_offset, b->last_offset,
                                          (enum share_state)b->delivery_state,
                                          b->delivery_count};
    }
    struct share_key *key =
        share_key_find(coord, name->group_id, name->topic_id, name->partition);
    if (key == NULL)
        key = share_key_add(coord, name->group_id, name->topic_id,
                            name->partition);
    struct share_state_of state = {.snapshot_epoch = value->snapshot_epoch,
                                   .state_epoch = value->state_epoch,
                                   .leader_epoch = value->leader_epoch,
                                   .start_offset = value->start_offset,
                                   .complete = value->delivery_complete_count,
                                   .create_wall_ms = value->create_timestamp,
                                   .write_wall_ms = value->write_timestamp};
    state.batches = share_combine(NULL, 0, batches, len, value->start_offset,
                                  arena, &state.len);
    share_key_set(coord, key, &state);
    key->updates = 0;
    share_key_snapshot_at(coord, key, offset);
    return ERR_NONE;
}

static enum err replay_update(struct share_coord *coord,
                              const struct share_update_key *name,
                              const struct share_update_value *value,
                              struct arena *arena)
{
    struct share_key *key =
        share_key_find(coord, name->group_id, name->topic_id, name->partition);
    uint32_t len = (uint32_t)value->state_batches_len;
    struct share_batch *batches = arena_array(arena, len, sizeof *batches);

    for (uint32_t i = 0; i < len; i++) {
        const struct share_update_value_state_batch *b =
            &value->state_batches[i];

        if (!share_batch_ok(b->first_offset, b->last_offset, b->delivery_state,
                            b->delivery_count))
            return ERR_MALFORMED;
        batches[i] = (struct share_batch){b->first_offset, b->last_offset,
                                          (enum share_state)b->delivery_state,
                                          b->delivery_count};
    }
    if (key == NULL || !key->exists)
        return ERR_NONE;
    struct share_state_of after =
        share_state_after(&key->state, value->leader_epoch, value->start_offset,
                          value->delivery_complete_count, batches, len, arena);
    share_key_set(coord, key, &after);
    key->updates++;
    return ERR_NONE;
}

static void replay_tombstone(struct share_coord *coord,
                             const struct share_snapshot_key *name)
{
    struct share_key *key =
        share_key_find(coord, name->group_id, name->topic_id, name->partition);

    if (key != NULL)
        share_key_remove(coord, key);
}

static enum err replay_value(struct share_coord *coord,
                             const struct coordinator_record *record,
                             const void *key, struct slice bytes,
                             int64_t offset, struct arena *arena)
{
    void *value;
    enum err err = coordinator_value_decode(record, bytes, arena, &value);

    if (err != ERR_NONE)
        return err;
    if (record->key == &share_snapshot_key_desc)
        return replay_snapshot(coord, key, value, offset, arena);
    return replay_update(coord, key, value, arena);
}

enum err share_coord_replay(struct share_coord *coord, struct slice key,
                            struct slice value, int64_t offset)
{
    const struct coordinator_record *record;
    struct arena arena;
    void *name;

    arena_init(&arena, 0);
    if (coord->end_offset <= offset)
        coord->end_offset = offset + 1;
    enum err err =
        coordinator_key_decode(&share_records, key, &arena, &record, &name);
    if (err == ERR_NONE) {
        if (!slice_is_null(value))
            err = replay_value(coord, record, name, value, offset, &arena);
        else if (record->key == &share_snapshot_key_desc)
            replay_tombstone(coord, name);
    }
    arena_free(&arena);
    return err;
}
