#include "broker/replica/leader.h"

#include "base/assert.h"
#include "base/planted.h"

/* After a refused proposal the next one waits this long, so that a controller
 * that keeps refusing is not asked at the rate of fetches. */
enum { RETRY_BACKOFF_MS = 500 };

static const int64_t long_ago = INT64_MIN / 2;

static replica_set with(replica_set set, int i)
{
    return (replica_set)(set | (1u << i));
}

static replica_set without(replica_set set, int i)
{
    return (replica_set)(set & ~(1u << i));
}

void leader_init(struct leader *l, int32_t epoch, int self, int replica_count,
                 replica_set isr, int64_t log_end, int64_t end_offset,
                 int64_t high_watermark, int min_isr, int64_t lag_max_ms,
                 int64_t now_ms)
{
    ASSERT(replica_count <= LEADER_REPLICAS_MAX);
    ASSERT(end_offset <= log_end);
    ASSERT(replica_in(isr, self));
    ASSERT(high_watermark <= end_offset);

    *l = (struct leader){
        .epoch = epoch,
        .epoch_start_offset = log_end,
        .lag_max_ms = lag_max_ms,
        .retry_ms = now_ms,
        .high_watermark = high_watermark,
        .min_isr = (int16_t)min_isr,
        .self = (uint8_t)self,
        .replica_count = (uint8_t)replica_count,
        .isr = isr,
        .isr_proposed = isr,
    };
    for (int i = 0; i < replica_count; i++)
        l->followers[i] = (struct leader_follower){
            .end_offset = -1,
            .start_offset = -1,
            .caught_up_ms = replica_in(isr, i) ? now_ms : long_ago,
            .fetch_ms = now_ms,
            .fetch_end = INT64_MAX,
            .eligible = true,
        };
    l->followers[self].end_offset = end_offset;
    leader_check(l);
}

static int64_t own_end(const struct leader *l)
{
    return l->followers[l->self].end_offset;
}

static bool lags(const struct leader *l, int i)
{
    const struct leader_follower *f = &l->followers[i];

    return f->silent || f->end_offset < own_end(l);
}

static bool lags_too_long(const struct leader *l, int i, int64_t now_ms)
{
    return lags(l, i) && now_ms - l->followers[i].caught_up_ms > l->lag_max_ms;
}

/* About to join, if the high watermark waits for it. */
static bool is_waited_for(const struct leader *l, int i, int64_t now_ms)
{
    return l->followers[i].eligible && !lags_too_long(l, i, now_ms);
}

/* What the controller may elect from, as far as we know. */
static replica_set may_be_in_sync(const struct leader *l)
{
    return (replica_set)(l->isr | l->isr_proposed | l->isr_doubted);
}

/* A record is committed once every replica that is, or may be about to become,
 * in sync has it, and the committed ISR is large enough (KIP-966). */
static int64_t committed_end(const struct leader *l, int64_t now_ms)
{
    replica_set counted = may_be_in_sync(l);
    int64_t end = own_end(l);

    if (PLANTED(LEADER_COUNTS_SHRUNKEN_ISR))
        counted = l->isr_proposed;
    if (PLANTED(LEADER_COUNTS_ITSELF))
        return end;
    if (replica_set_size(l->isr) < l->min_isr &&
        !PLANTED(LEADER_IGNORES_MIN_ISR))
        return l->high_watermark;
    for (int i = 0; i < l->replica_count; i++)
        if (i != l->self && l->followers[i].end_offset < end &&
            (replica_in(counted, i) || is_waited_for(l, i, now_ms)))
            end = l->followers[i].end_offset;
    return end;
}

bool leader_stands_still(const struct leader *l, int64_t now_ms,
                         int64_t patience_ms)
{
    replica_set counted = may_be_in_sync(l);

    for (int i = 0; i < l->replica_count; i++)
        if (i != l->self && replica_in(counted, i) && lags(l, i) &&
            now_ms - l->followers[i].caught_up_ms > patience_ms)
            return true;
    return false;
}

int leader_successor(const struct leader *l)
{
    int best = -1;

    for (int i = 0; i < l->replica_count; i++) {
        const struct leader_follower *f = &l->followers[i];

        if (i != l->self && replica_in(l->isr, i) && f->eligible &&
            !f->silent && f->end_offset >= l->high_watermark &&
            (best < 0 || f->end_offset > l->followers[best].end_offset))
            best = i;
    }
    return best;
}

/* It must keep up, too: one that just left for its lag has the high watermark
 * as long as that waits for it, and would come back in the same step. */
static bool may_join(const struct leader *l, int i, int64_t now_ms)
{
    const struct leader_follower *f = &l->followers[i];

    return f->eligible && !f->silent && !lags_too_long(l, i, now_ms) &&
           (PLANTED(LEADER_LETS_LAGGARDS_JOIN) ||
            (f->end_offset >= l->high_watermark &&
             f->end_offset >= l->epoch_start_offset));
}

static replica_set wanted_isr(const struct leader *l, int64_t now_ms)
{
    replica_set wanted = l->isr;

    for (int i = 0; i < l->replica_count; i++) {
        if (i == l->self)
            continue;
        if (!replica_in(l->isr, i)) {
            if (may_join(l, i, now_ms))
                wanted = with(wanted, i);
        } else if (lags_too_long(l, i, now_ms)) {
            wanted = without(wanted, i);
        }
    }
    return wanted;
}

static bool needs_watching(const struct leader *l, int64_t now_ms)
{
    if (now_ms < l->retry_ms)
        return true;
    for (int i = 0; i < l->replica_count; i++)
        if (i != l->self && lags(l, i) &&
            (replica_in(l->isr, i) || is_waited_for(l, i, now_ms)))
            return true;
    return false;
}

static void on_appended(struct leader *l, const struct leader_event *event)
{
    int64_t before = own_end(l);

    /* Lower: from now on only what is on disk counts. */
    if (event->offset <= before)
        return;
    for (int i = 0; i < l->replica_count; i++)
        if (i != l->self && !lags(l, i))
            l->followers[i].caught_up_ms = event->now_ms;
    l->followers[l->self].end_offset = event->offset;
}

/* KIP-16: caught up now if it has all we have; caught up at an earlier fetch if
 * it has all we had then.  That one is remembered until it is so: a request
 * that waits here tells the same offset whenever something is appended, and if
 * each time counted as a fetch, a follower would have to have what came after
 * the answer that is on its way to it.
 *
 * A session of a connection that broke may still speak: a request waits here,
 * or was on its way.  Nothing might correct it for as long as the partition is
 * idle, since the follower believes that its position is known. */
static void on_fetched(struct leader *l, const struct leader_event *event)
{
    struct leader_follower *f = &l->followers[event->replica];

    ASSERT(event->replica != l->self);
    ASSERT(event->replica < l->replica_count);
    if (f->session != 0 && (int32_t)(event->order - f->order) < 0)
        return;
    f->end_offset = event->offset;
    f->silent = false;
    f->session = event->session;
    f->order = event->order;
    if (f->end_offset >= own_end(l))
        f->caught_up_ms = event->now_ms;
    else if (f->end_offset >= f->fetch_end && f->fetch_ms > f->caught_up_ms)
        f->caught_up_ms = f->fetch_ms;
    if (f->end_offset >= f->fetch_end || f->fetch_end == INT64_MAX) {
        f->fetch_ms = event->now_ms;
        f->fetch_end = own_end(l);
    }
}

/* Nobody knows what it has now: it lags since long ago until it fetches.  The
 * session of a connection that broke falls silent as well, but by then the
 * follower fetches by another. */
static void on_silent(struct leader *l, const struct leader_event *event)
{
    struct leader_follower *f = &l->followers[event->replica];

    ASSERT(event->replica != l->self);
    if (f->session != event->session)
        return;
    f->silent = true;
    f->caught_up_ms = long_ago;
    f->fetch_end = INT64_MAX;
}

/* What an earlier life of the broker said it had counts for nothing: neither
 * for the high watermark nor for joining, until it fetches. */
static void on_anew(struct leader *l, const struct leader_event *event)
{
    struct leader_follower *f = &l->followers[event->replica];

    ASSERT(event->replica != l->self);
    if (PLANTED(LEADER_COUNTS_EARLIER_LIVES))
        return;
    f->end_offset = -1;
    f->fetch_end = INT64_MAX;
    f->session = 0;
    if (!replica_in(may_be_in_sync(l), event->replica))
        f->caught_up_ms = long_ago;
}

static void apply(struct leader *l, const struct leader_event *event)
{
    switch (event->type) {
    case LEADER_APPENDED:
        on_appended(l, event);
        break;
    case LEADER_FETCHED:
        on_fetched(l, event);
        break;
    case LEADER_ISR_COMMITTED:
        ASSERT(replica_in(event->isr, l->self));
        l->isr = l->isr_proposed = event->isr;
        l->isr_doubted = 0;
        l->in_flight = false;
        break;
    case LEADER_ISR_REFUSED:
        if (event->flag)
            l->isr_doubted |= l->isr_proposed;
        l->isr_proposed = l->isr;
        l->in_flight = false;
        l->retry_ms = event->now_ms + RETRY_BACKOFF_MS;
        break;
    case LEADER_ELIGIBILITY:
        l->followers[event->replica].eligible = event->flag;
        break;
    case LEADER_FOLLOWER_SILENT:
        on_silent(l, event);
        break;
    case LEADER_FOLLOWER_ANEW:
        on_anew(l, event);
        break;
    case LEADER_MIN_ISR:
        l->min_isr = (int16_t)event->offset;
        break;
    case LEADER_TICK:
        break;
    }
}

void leader_step(struct leader *l, const struct leader_event *event,
                 struct leader_update *update)
{
    *update = (struct leader_update){0};
    apply(l, event);

    if (!l->in_flight && event->now_ms >= l->retry_ms) {
        l->isr_proposed = wanted_isr(l, event->now_ms);
        /* The same set again settles the doubt: its acceptance makes copies of
         * earlier proposals out of date. */
        l->in_flight =
            l->isr_proposed != l->isr || (l->isr_doubted & ~l->isr) != 0;
        if (l->in_flight)
            update->flags |= LEADER_UPDATE_PROPOSE_ISR;
    }
    int64_t committed = committed_end(l, event->now_ms);
    if (committed > l->high_watermark) {
        l->high_watermark = committed;
        update->flags |= LEADER_UPDATE_HIGH_WATERMARK;
    }
    if (needs_watching(l, event->now_ms))
        update->flags |= LEADER_UPDATE_WATCH;
    update->high_watermark = l->high_watermark;
    update->isr_proposed = l->isr_proposed;
    leader_check(l);
}

void leader_check(const struct leader *l)
{
    ASSERT(replica_in(l->isr, l->self));
    ASSERT(replica_in(l->isr_proposed, l->self));
    ASSERT(l->high_watermark <= own_end(l));
    ASSERT(l->in_flight || l->isr == l->isr_proposed);
}
