/* The coordinator as a whole: life, dispatch, the end of writes, pruning. */
#include "broker/coord/share/parts.h"

#include <stdlib.h>

void share_coord_config_init(struct share_coord_config *config)
{
    *config = (struct share_coord_config){
        .snapshot_update_records_per_snapshot = 500,
        .cold_partition_snapshot_interval_ms = 300000,
        .states_max_bytes = (size_t)256 << 20,
    };
}

void share_coord_update_init(struct share_coord_update *update)
{
    list_init(&update->answers);
    list_init(&update->writes);
}

/* ---- life ----------------------------------------------------------------*/

struct share_coord *share_coord_create(const struct share_coord_config *config)
{
    struct share_coord *coord = xcalloc(1, sizeof *coord);

    coord->config = *config;
    coord->life = SHARE_COORD_LOADING;
    coord->next_tick_ms = INT64_MAX;
    list_init(&coord->by_snapshot);
    return coord;
}

void share_coord_free(struct share_coord *coord)
{
    if (coord == NULL)
        return;
    MAP_EACH (entry, &coord->keys)
        share_key_remove(coord, entry->value);
    ASSERT(coord->bytes == 0);
    map_free(&coord->keys);
    free(coord);
}

void share_coord_activate(struct share_coord *coord, struct coord_time time,
                          struct share_coord_update *update)
{
    struct share_coord_write *write = xcalloc(1, sizeof *write);

    ASSERT(coord->life == SHARE_COORD_LOADING);
    coord->next_tick_ms =
        time.now_ms + coord->config.cold_partition_snapshot_interval_ms;
    list_init(&write->pending.link);
    list_push_back(&update->writes, &write->pending.link);
}

void share_coord_resign(struct share_coord *coord)
{
    coord->life = SHARE_COORD_RESIGNED;
}

/* ---- requests ------------------------------------------------------------*/

void share_coord_ask(struct share_coord *coord,
                     const struct share_context *context,
                     struct share_answer *piece,
                     struct share_coord_update *update)
{
    struct share_step step = {
        coord, {context->now_ms, context->wall_ms}, update};

    ASSERT(coord->life != SHARE_COORD_RESIGNED);
    piece->token = context->token;
    if (coord->life == SHARE_COORD_LOADING) {
        share_answer_refuse(piece, ERR_COORDINATOR_LOAD_IN_PROGRESS);
        list_push_back(&update->answers, &piece->link);
        return;
    }
    for (int32_t i = 0; i < piece->asks_len; i++)
        share_decide(&step, context, piece, &piece->asks[i]);
    if (piece->waiting == 0)
        share_answer_send(&step, piece);
}

void share_coord_request(struct share_coord *coord,
                         const struct share_context *context, enum api_key api,
                         const void *request, struct share_coord_update *update)
{
    share_coord_ask(coord, context, share_answer_new(context, api, request),
                    update);
}

uint32_t share_coord_topic_deleted(struct share_coord *coord, struct uuid topic,
                                   struct coord_time time,
                                   struct share_coord_update *update)
{
    struct share_step step = {coord, time, update};
    uint32_t left = 0;

    MAP_EACH (entry, &coord->keys) {
        struct share_key *key = entry->value;

        if (!uuid_eq(key->topic, topic))
            continue;
        if (key->under_way != NULL || coord->life != SHARE_COORD_ACTIVE)
            left++;
        else
            share_write_tombstone(&step, key, NULL, NULL);
    }
    return left;
}

/* ---- the end of writes ---------------------------------------------------*/

static void answer_ended(struct share_step *step,
                         struct share_coord_write *write, enum err err)
{
    struct share_answer *answer = write->answer;

    if (answer == NULL)
        return;
    write->answer = NULL;
    write->ask->err = err;
    share_answer_ended(step, answer);
}

/* A copy: the key may change before all of the answer is there. */
static void tell_state(struct share_coord_write *write)
{
    struct share_state_of *told;

    if (write->answer == NULL ||
        write->answer->api != API_READ_SHARE_GROUP_STATE)
        return;
    told = &write->ask->told;
    *told = write->key->state;
    told->batches =
        arena_array(&write->answer->arena, told->len, sizeof *told->batches);
    if (told->len != 0)
        memcpy(told->batches, write->key->state.batches,
               told->len * sizeof *told->batches);
}

static void replay(struct share_coord *coord,
                   const struct share_coord_write *write)
{
    const struct coord_records *records =
        write->kept.count != 0 ? &write->kept : &write->pending.records;
    int64_t end =
        write->kept.count != 0 ? write->end_offset : write->pending.end_offset;

    for (uint32_t i = 0; i < records->count; i++) {
        struct coord_record record = coord_records_get(records, i);
        enum err err = share_coord_replay(coord, record.key, record.value,
                                          end - records->count + i);

        ASSERT(err == ERR_NONE); /* we wrote it */
    }
}

static void committed(struct share_step *step, struct share_coord_write *write)
{
    if (write->key == NULL) {
        step->coord->life = SHARE_COORD_ACTIVE;
        return;
    }
    write->key->under_way = NULL;
    replay(step->coord, write); /* the key may be gone after it */
    tell_state(write);
    answer_ended(step, write, ERR_NONE);
}

/* Nothing of it is in the log. */
static void failed(struct share_step *step, struct share_coord_write *write,
                   enum err err)
{
    struct share_key *key = write->key;

    answer_ended(step, write, coord_append_error(err));
    if (key == NULL)
        return;
    key->under_way = NULL;
    if (!key->exists)
        share_key_remove(step->coord, key);
}

/* It is in the log, and only its client does not wait any longer. */
static void wait_on(struct share_step *step, struct share_coord_write *write)
{
    answer_ended(step, write, coord_append_error(ERR_REQUEST_TIMED_OUT));
    if (write->kept.count == 0) {
        write->kept = write->pending.records;
        write->end_offset = write->pending.end_offset;
        write->pending.records = (struct coord_records){0};
    }
    /* Others may end before it, and what it has said must not be pruned. */
    if (write->key != NULL && !write->key->exists)
        share_key_snapshot_at(step->coord, write->key,
                              write->end_offset - write->kept.count);
    list_push_back(&step->update->writes, &write->pending.link);
}

void share_coord_done(struct share_coord *coord,
                      struct share_coord_write *write, enum err err,
                      struct coord_time time, struct share_coord_update *update)
{
    struct share_step step = {coord, time, update};
    bool appended = write->pending.appended == write->pending.records.count;

    if (coord->life == SHARE_COORD_RESIGNED) {
        failed(&step, write, ERR_NOT_LEADER_OR_FOLLOWER);
    } else if (err == ERR_REQUEST_TIMED_OUT && appended) {
        wait_on(&step, write);
        return;
    } else if (err == ERR_NONE) {
        committed(&step, write);
    } else {
        failed(&step, write, err);
    }
    share_write_free(write);
}

/* ---- pruning -------------------------------------------------------------*/

static struct share_key *oldest(const struct share_coord *coord)
{
    return list_empty(&coord->by_snapshot)
               ? NULL
               : LIST_ENTRY(coord->by_snapshot.next, struct share_key,
                            by_snapshot);
}

int64_t share_coord_prune_offset(const struct share_coord *coord)
{
    const struct share_key *first = oldest(coord);

    if (coord->life != SHARE_COORD_ACTIVE)
        return 0;
    return first != NULL ? first->snapshot_offset : coord->end_offset;
}

int64_t share_coord_next_deadline(const struct share_coord *coord)
{
    return coord->life == SHARE_COORD_RESIGNED ? INT64_MAX
                                               : coord->next_tick_ms;
}

/* A new snapshot is worth it when the log is much longer than what it has to
 * say; else keys that nobody uses would be written again and again. */
static bool holds_up(const struct share_step *step, const struct share_key *key)
{
    const struct share_coord *coord = step->coord;
    int64_t records = coord->end_offset - key->snapshot_offset;
    int64_t age_ms = step->time.wall_ms - key->state.write_wall_ms;

    return age_ms >= coord->config.cold_partition_snapshot_interval_ms &&
           records > 2 * (int64_t)map_count(&coord->keys) +
                         coord->config.snapshot_update_records_per_snapshot;
}

static void snapshot_again(struct share_step *step, struct share_key *key)
{
    struct share_state_of state = key->state;

    state.snapshot_epoch++;
    state.write_wall_ms = step->time.wall_ms;
    share_write_snapshot(step, key, &state);
}

void share_coord_tick(struct share_coord *coord, struct coord_time time,
                      struct share_coord_update *update)
{
    struct share_step step = {coord, time, update};
    int seen = 0;

    if (time.now_ms < coord->next_tick_ms)
        return;
    coord->next_tick_ms =
        time.now_ms + coord->config.cold_partition_snapshot_interval_ms;
    if (coord->life != SHARE_COORD_ACTIVE)
        return;
    LIST_EACH (node, &coord->by_snapshot) {
        struct share_key *key = LIST_ENTRY(node, struct share_key, by_snapshot);

        if (!holds_up(&step, key))
            break; /* those behind it are younger */
        if (seen++ == SHARE_SNAPSHOTS_PER_TICK) {
            coord->next_tick_ms = time.now_ms + SHARE_SNAPSHOTS_PAUSE_MS;
            break;
        }
        if (key->under_way == NULL)
            snapshot_again(&step, key);
    }
}

uint32_t share_coord_count(const struct share_coord *coord)
{
    return map_count(&coord->keys);
}
