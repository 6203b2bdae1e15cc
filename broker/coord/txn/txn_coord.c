/* The coordinator as a whole: life, dispatch, the end of writes. */
#include "broker/coord/txn/txn.h"

#include "base/planted.h"

#include <stdlib.h>

void txn_config_init(struct txn_config *config)
{
    *config = (struct txn_config){
        .transaction_max_timeout_ms = 900000,
        .transactional_id_expiration_ms = 604800000,
        .abort_timed_out_interval_ms = 10000,
        .remove_expired_interval_ms = 3600000,
        .transaction_version = 2,
        .txns_max_bytes = (size_t)256 << 20,
        .markers_in_flight_max = 1000,
    };
}

void txn_update_init(struct txn_update *update)
{
    list_init(&update->answers);
    list_init(&update->writes);
    list_init(&update->markers);
    update->wants_ids = false;
}

static bool few_ids(const struct txn_coord *coord)
{
    return coord->life != TXN_COORD_RESIGNED &&
           coord->ids_end - coord->ids_next < TXN_IDS_LOW;
}

/* ---- life ----------------------------------------------------------------*/

struct txn_coord *txn_coord_create(const struct txn_config *config)
{
    struct txn_coord *coord = xcalloc(1, sizeof *coord);

    coord->config = *config;
    coord->rounds = config->first_round;
    coord->life = TXN_COORD_LOADING;
    list_init(&coord->queue);
    return coord;
}

void txn_coord_free(struct txn_coord *coord)
{
    if (coord == NULL)
        return;
    ASSERT(heap_first(&coord->waits) == NULL);
    MAP_EACH (entry, &coord->txns)
        txn_remove(coord, entry->value);
    ASSERT(coord->bytes == 0);
    map_free(&coord->txns);
    heap_free(&coord->timers);
    heap_free(&coord->waits);
    free(coord);
}

void txn_coord_activate(struct txn_coord *coord, int32_t coordinator_epoch,
                        struct coord_time time, struct txn_update *update)
{
    struct txn_write *write = txn_write_new(TXN_WRITE_LOADED, NULL);

    ASSERT(coord->life == TXN_COORD_LOADING);
    coord->time = time;
    coord->epoch = coordinator_epoch;
    list_push_back(&update->writes, &write->pending.link);
    update->wants_ids = few_ids(coord);
}

void txn_coord_resign(struct txn_coord *coord, struct txn_update *update)
{
    struct txn_step step = {coord, coord->time, update};

    coord->life = TXN_COORD_RESIGNED;
    txn_waits_refuse_all(&step, ERR_NOT_COORDINATOR);
}

void txn_coord_set_version(struct txn_coord *coord, int16_t level)
{
    coord->config.transaction_version = level;
}

void txn_coord_give_ids(struct txn_coord *coord, int64_t first, int32_t count)
{
    coord->ids_next = first; /* what was left of the last block is forgotten */
    coord->ids_end = first + count;
}

/* What a state has to go on with. */
static void go_on(struct txn_step *step, struct txn *txn)
{
    if (txn_is_prepared(txn)) {
        heap_remove(&step->coord->timers, &txn->timer);
        txn_markers_start(step, txn);
    } else {
        txn_timer_arm(step->coord, txn);
    }
}

static void loaded(struct txn_step *step)
{
    step->coord->life = TXN_COORD_ACTIVE;
    MAP_EACH (entry, &step->coord->txns) {
        struct txn *txn = entry->value;

        if (!PLANTED(TXN_FORGETS_MARKERS_AT_LOADING) || !txn_is_prepared(txn))
            go_on(step, txn);
    }
}

/* ---- requests ------------------------------------------------------------*/

static void dispatch(struct txn_step *step, const struct txn_context *context,
                     enum api_key api, const void *request)
{
    switch (api) {
    case API_INIT_PRODUCER_ID:
        txn_init_request(step, context, request);
        break;
    case API_ADD_PARTITIONS_TO_TXN:
        txn_add_partitions_request(step, context, request);
        break;
    case API_ADD_OFFSETS_TO_TXN:
        txn_add_offsets_request(step, context, request);
        break;
    case API_END_TXN:
        txn_end_request(step, context, request);
        break;
    case API_DESCRIBE_TRANSACTIONS:
        txn_describe_request(step, context, request);
        break;
    case API_LIST_TRANSACTIONS:
        txn_list_request(step, context, request);
        break;
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
    }
}

void txn_coord_request(struct txn_coord *coord,
                       const struct txn_context *context, enum api_key api,
                       const void *request, struct txn_update *update)
{
    struct txn_step step = {coord, {context->now_ms, context->wall_ms}, update};

    ASSERT(coord->life != TXN_COORD_RESIGNED);
    coord->time = step.time;
    if (coord->life == TXN_COORD_ACTIVE)
        dispatch(&step, context, api, request);
    else
        txn_answer_send(&step, txn_refuse(context, api, request,
                                          ERR_COORDINATOR_LOAD_IN_PROGRESS));
    update->wants_ids = few_ids(coord);
}

/* ---- the end of writes ---------------------------------------------------*/

static void answer_error(struct txn_step *step, struct txn_write *write,
                         enum err append)
{
    struct txn_answer *answer = write->answer;

    if (answer == NULL)
        return;
    txn_answer_fail(answer, write->slot, coord_append_error(append));
    txn_answer_write_ended(step, answer);
    write->answer = NULL;
}

/* What the producer goes on with. */
static void fill_end(struct end_txn_response *r, const struct txn *txn)
{
    bool renamed = txn->next_producer_id >= 0;

    r->producer_id = renamed ? txn->next_producer_id : txn->producer_id;
    r->producer_epoch = renamed ? 0 : txn->epoch;
}

static void answer_success(struct txn_step *step, struct txn_write *write)
{
    struct txn_answer *answer = write->answer;

    if (answer == NULL)
        return;
    if (write->kind == TXN_WRITE_END)
        fill_end(&answer->response.end_txn, write->txn);
    else if (write->kind == TXN_WRITE_FENCE)
        txn_answer_fail(answer, 0, ERR_CONCURRENT_TRANSACTIONS);
    txn_answer_write_ended(step, answer);
    write->answer = NULL;
}

static void replay(struct txn_coord *coord, const struct txn_write *write)
{
    const struct coord_records *records =
        write->kept.count != 0 ? &write->kept : &write->pending.records;

    for (uint32_t i = 0; i < records->count; i++) {
        struct coord_record record = coord_records_get(records, i);
        enum err err = txn_coord_replay(coord, record.key, record.value);

        ASSERT(err == ERR_NONE); /* we wrote it */
    }
}

static void committed(struct txn_step *step, struct txn_write *write)
{
    struct txn *txn = write->txn;

    if (write->kind == TXN_WRITE_LOADED) {
        loaded(step);
        return;
    }
    txn->under_way = NULL;
    if (write->kind == TXN_WRITE_EXPIRE)
        txn_waits_refuse(step, txn, ERR_INVALID_PRODUCER_ID_MAPPING);
    replay(step->coord, write);
    if (write->kind == TXN_WRITE_EXPIRE)
        return; /* and gone */
    txn->last_epoch = write->last_epoch;
    answer_success(step, write);
    go_on(step, txn);
    txn_waits_go_on(step, txn);
}

/* Nothing of it is in the log. */
static void failed(struct txn_step *step, struct txn_write *write, enum err err)
{
    struct txn *txn = write->txn;

    answer_error(step, write, err);
    if (txn == NULL)
        return;
    txn->under_way = NULL;
    if (!txn->exists)
        txn_remove(step->coord, txn);
    else if (step->coord->life == TXN_COORD_RESIGNED)
        return;
    else if (write->kind == TXN_WRITE_COMPLETE)
        txn_markers_arm(step->coord, txn);
    else {
        if (!heap_has(&txn->timer))
            txn_timer_again(step->coord, txn);
        txn_waits_go_on(step, txn);
    }
}

/* It is in the log, and only its client does not wait any longer. */
static void wait_on(struct txn_step *step, struct txn_write *write)
{
    answer_error(step, write, ERR_REQUEST_TIMED_OUT);
    if (write->kept.count == 0) {
        write->kept = write->pending.records;
        write->pending.records = (struct coord_records){0};
    }
    list_push_back(&step->update->writes, &write->pending.link);
}

void txn_coord_done(struct txn_coord *coord, struct txn_write *write,
                    enum err err, struct coord_time time,
                    struct txn_update *update)
{
    struct txn_step step = {coord, time, update};
    bool appended = write->pending.appended == write->pending.records.count;

    coord->time = time;
    if (coord->life == TXN_COORD_RESIGNED)
        failed(&step, write, ERR_NOT_LEADER_OR_FOLLOWER);
    else if (err == ERR_REQUEST_TIMED_OUT && appended) {
        wait_on(&step, write);
        return;
    } else if (err == ERR_NONE)
        committed(&step, write);
    else
        failed(&step, write, err);
    txn_write_free(write);
    if (coord->life == TXN_COORD_ACTIVE)
        txn_markers_pump(&step);
    update->wants_ids = few_ids(coord);
}

uint32_t txn_coord_count(const struct txn_coord *coord)
{
    return map_count(&coord->txns);
}
