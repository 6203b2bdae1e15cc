/* Producer ids, in blocks from the controller.
 *
 * A block belongs to this broker alone, so handing an id out asks nobody.  The
 * next block is fetched when the current one is opened: with Kafka's thousand
 * ids to a block a broker has to hand out a thousand ids within one call to
 * the controller before anybody waits. */
#include "broker/meta_parts.h"

#include "base/log.h"
#include "broker/txn_client.h"

enum { IDS_AGAIN_MS = 200 };

static void ids_send(struct meta *m);

static void ids_done(struct control_call *call, enum err error,
                     const Leat__ControlResponse *response)
{
    struct meta *m = LIST_ENTRY(call, struct meta, ids.call);
    struct id_block *ids = &m->ids;

    if (error == ERR_NONE && response->error == ERR_NONE &&
        response->result_case ==
            LEAT__CONTROL_RESPONSE__RESULT_ALLOCATE_PRODUCER_IDS) {
        ids->ahead_next = response->allocate_producer_ids->first;
        ids->ahead_end =
            ids->ahead_next + response->allocate_producer_ids->count;
        meta_retry_parked(m);
        txn_client_ids_came(m->txn_client);
        return;
    }
    if (error == ERR_NONE && response->error == ERR_STALE_BROKER_EPOCH) {
        lifecycle_stale(m); /* ids_registered() goes on */
        return;
    }
    if (error == ERR_NONE)
        log_warn("server", "The controller gives no producer ids: %s %s",
                 err_text(response->error), response->message);
    env_timer_start(m->env, &ids->again, IDS_AGAIN_MS);
}

/* Fetches a block unless one is at hand or under way. */
static void ids_send(struct meta *m)
{
    struct id_block *ids = &m->ids;
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__AllocateProducerIdsRequest r =
        LEAT__ALLOCATE_PRODUCER_IDS_REQUEST__INIT;

    if (ids->ahead_next < ids->ahead_end || control_call_running(&ids->call) ||
        env_timer_running(&ids->again) || m->life.state != LIFECYCLE_REGISTERED)
        return;
    r.broker_id = m->broker->node_id;
    r.broker_epoch = atomic_load(&m->broker->epoch);
    request.call_case = LEAT__CONTROL_REQUEST__CALL_ALLOCATE_PRODUCER_IDS;
    request.allocate_producer_ids = &r;
    ids->call.repeatable = true; /* at worst a block is never used */
    ids->call.attempt_ms = meta_attempt_ms(m);
    ids->call.deadline_ms = INT64_MAX;
    ids->call.done = ids_done;
    control_send(m->control, CONTROL_CALLS, &ids->call, &request);
}

int64_t ids_take_some(struct meta *m, int32_t max, int32_t *count)
{
    struct id_block *ids = &m->ids;

    if (ids->next == ids->end) {
        ids->next = ids->ahead_next;
        ids->end = ids->ahead_end;
        ids->ahead_next = ids->ahead_end = 0;
    }
    ids_send(m);
    int64_t first = ids->next < ids->end ? ids->next : -1;
    *count = (int32_t)(ids->end - ids->next < max ? ids->end - ids->next : max);
    ids->next += *count;
    return first;
}

int64_t ids_take(struct meta *m)
{
    int32_t count;

    return ids_take_some(m, 1, &count);
}

static void ids_again(void *arg) { ids_send(arg); }

void ids_registered(struct meta *m) { ids_send(m); }

void ids_init(struct meta *m)
{
    m->ids.again = (struct env_timer){.fn = ids_again, .arg = m};
}

void ids_stop(struct meta *m) { env_timer_stop(m->env, &m->ids.again); }
