/* controller_mutation_rate (KIP-599): partitions that a client creates and
 * deletes per second.
 *
 * Newer versions of requests are strict: a topic is refused once those before
 * it have used up the rate and its burst.  Older ones are carried out and only
 * told how long to pause.  What clients used is forgotten with the activation.
 */
#include "base/alloc.h"
#include "base/rate.h"
#include "controller/quota_entity.h"
#include "controller/step.h"

#include <stdlib.h>

static const char *look_up(const void *arg, struct slice entity,
                           struct slice key)
{
    return image_config(arg, IMAGE_RESOURCE_CLIENT_QUOTA, entity, key);
}

/* A few of those that would forbid nothing any more. */
static void sweep(struct controller *c)
{
    enum { STEPS = 4 };

    for (int i = 0; i < STEPS; i++) {
        uint32_t at = c->mutation_sweep_at++;

        if (at >= c->mutation_rates.entries_len) {
            c->mutation_sweep_at = 0;
            return;
        }
        struct map_entry *e = &c->mutation_rates.entries[at];
        const struct rate *r = e->value;
        if (e->key.data != NULL &&
            atomic_load(&r->due_ns) <= c->now_ms * 1000000)
            free(map_remove(&c->mutation_rates, e->key));
    }
}

void mutation_quota_begin(struct step *s, bool strict)
{
    struct controller *c = s->c;
    struct quota_match match;

    s->mutation.strict = strict;
    s->mutation.rate = NULL;
    s->mutation.pause_ns = 0;
    if (s->user.len == 0 || !quota_find(QUOTA_MUTATION, s->user, s->client_id,
                                        look_up, s->image, s->arena, &match))
        return;
    sweep(c);
    s->mutation.per_second = match.limit;
    s->mutation.rate = map_get(&c->mutation_rates, match.bucket);
    if (s->mutation.rate == NULL) {
        s->mutation.rate = xcalloc(1, sizeof *s->mutation.rate);
        map_put(&c->mutation_rates, match.bucket, s->mutation.rate);
    }
}

struct verdict mutation_quota_take(struct step *s, int32_t partitions)
{
    struct rate *rate = s->mutation.rate;
    int64_t now_ns = s->now_ms * 1000000;
    int64_t burst_ns = (int64_t)s->c->config.quota_window_num *
                       s->c->config.quota_window_size_seconds * RATE_SECOND_NS;

    if (rate == NULL)
        return VERDICT_GOOD;
    int64_t ahead_ns = rate_ahead_ns(rate, burst_ns, now_ns);
    if (s->mutation.strict && ahead_ns > 0) {
        s->mutation.pause_ns = ahead_ns;
        return refuse(s, ERR_THROTTLING_QUOTA_EXCEEDED,
                      "The throttling quota has been exceeded.");
    }
    ahead_ns = rate_take_ns(
        rate, rate_cost_ns((double)partitions, s->mutation.per_second),
        burst_ns, now_ns);
    if (!s->mutation.strict)
        s->mutation.pause_ns = ahead_ns;
    return VERDICT_GOOD;
}

int32_t mutation_quota_pause_ms(const struct step *s)
{
    int64_t ms =
        s->mutation.pause_ns / 1000000 + (s->mutation.pause_ns % 1000000 != 0);

    return ms < INT32_MAX ? (int32_t)ms : INT32_MAX;
}
