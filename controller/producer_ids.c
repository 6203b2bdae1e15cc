/* Blocks of producer ids: the record says what the next block starts with, so
 * an id is handed out at most once, whoever crashes in between. */
#include "base/planted.h"
#include "controller/step.h"

enum err producer_ids_allocate(struct step *s,
                               const Leat__AllocateProducerIdsRequest *r,
                               Leat__AllocateProducerIdsResponse *response,
                               const char **why)
{
    Leat__ProducerIdsRecord record = LEAT__PRODUCER_IDS_RECORD__INIT;
    int64_t first = s->image->next_producer_id;
    enum err error = broker_check_epoch(s, r->broker_id, r->broker_epoch, why);

    if (error != ERR_NONE)
        return error;
    if (first > INT64_MAX - CONTROLLER_PRODUCER_IDS_BLOCK) {
        *why = "Exhausted all producer IDs as the next block's end producer "
               "ID will exceed the int64 range";
        return ERR_UNKNOWN_SERVER_ERROR;
    }
    record.broker_id = r->broker_id;
    record.broker_epoch = r->broker_epoch;
    record.next_producer_id = first;
    if (!PLANTED(CONTROLLER_REPEATS_PRODUCER_IDS))
        record.next_producer_id += CONTROLLER_PRODUCER_IDS_BLOCK;
    step_put(s, &RECORD(producer_ids, PRODUCER_IDS, &record));
    response->first = first;
    response->count = CONTROLLER_PRODUCER_IDS_BLOCK;
    return ERR_NONE;
}
