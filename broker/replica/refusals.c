#include "broker/replica/refusals.h"

#include "base/alloc.h"
#include "base/map.h"

#include <stdlib.h>

struct refusals {
    struct map by_producer; /* id -> struct refusal */
};

/* The first batch of one producer that was refused and did not come again. */
struct refusal {
    enum err error;
    int16_t epoch;
    int32_t sequence;
    int64_t at_ms; /* when it was refused last */
};

static struct slice key_of(const int64_t *producer_id)
{
    return slice_of(producer_id, sizeof *producer_id);
}

static struct refusal *find(const struct refusals *r, const struct batch *b)
{
    return r == NULL ? NULL : map_get(&r->by_producer, key_of(&b->producer_id));
}

static bool expired(const struct refusal *known, int64_t now_ms)
{
    return now_ms - known->at_ms > REFUSALS_KEPT_MS;
}

/* How far `b` is ahead of what was refused; sequences go on at 0 behind
 * 2^31 - 1. */
static int32_t ahead(const struct refusal *known, const struct batch *b)
{
    uint32_t by =
        ((uint32_t)b->base_sequence - (uint32_t)known->sequence) & INT32_MAX;

    return by <= INT32_MAX / 2 ? (int32_t)by : (int32_t)by - INT32_MAX - 1;
}

static void drop_oldest(struct refusals *r)
{
    struct map_entry *e = &r->by_producer.entries[map_next(&r->by_producer, 0)];

    free(map_remove(&r->by_producer, e->key));
}

static void free_if_empty(struct refusals **r)
{
    if (map_count(&(*r)->by_producer) != 0)
        return;
    refusals_free(*r);
    *r = NULL;
}

void refusals_note(struct refusals **r, const struct batch *b, enum err error,
                   int64_t now_ms)
{
    if (b->producer_id < 0 || b->base_sequence < 0)
        return;
    struct refusal *known = find(*r, b);

    if (known != NULL && !expired(known, now_ms) &&
        (known->epoch > b->producer_epoch ||
         (known->epoch == b->producer_epoch && ahead(known, b) > 0)))
        return;
    if (*r == NULL)
        *r = xcalloc(1, sizeof **r);
    if (known == NULL) {
        if (map_count(&(*r)->by_producer) == REFUSALS_MAX)
            drop_oldest(*r);
        known = xmalloc(sizeof *known);
        map_put(&(*r)->by_producer, key_of(&b->producer_id), known);
    }
    *known = (struct refusal){.error = error,
                              .epoch = b->producer_epoch,
                              .sequence = b->base_sequence,
                              .at_ms = now_ms};
}

enum err refusals_reason(const struct refusals *r, const struct batch *b,
                         int64_t now_ms)
{
    const struct refusal *known = find(r, b);

    if (known == NULL || known->epoch != b->producer_epoch ||
        b->base_sequence < 0 || expired(known, now_ms) || ahead(known, b) <= 0)
        return ERR_NONE;
    return known->error;
}

void refusals_accepted(struct refusals **r, const struct batch *b)
{
    const struct refusal *known = find(*r, b);

    if (known == NULL || known->epoch > b->producer_epoch ||
        (known->epoch == b->producer_epoch && ahead(known, b) < 0))
        return;
    free(map_remove(&(*r)->by_producer, key_of(&b->producer_id)));
    free_if_empty(r);
}

void refusals_expire(struct refusals **r, int64_t now_ms)
{
    if (*r == NULL)
        return;
    MAP_EACH (e, &(*r)->by_producer) {
        if (expired(e->value, now_ms))
            free(map_remove(&(*r)->by_producer, e->key));
    }
    free_if_empty(r);
}

void refusals_free(struct refusals *r)
{
    if (r == NULL)
        return;
    MAP_EACH (e, &r->by_producer) {
        free(e->value);
    }
    map_free(&r->by_producer);
    free(r);
}
