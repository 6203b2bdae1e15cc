/* A share-partition in a small world: a log that grows, is compacted and loses
 * its start; consumers that acquire, acknowledge, renew, send nonsense and
 * vanish; a persister that is slow, refuses, loses requests and answers and
 * gets some twice; leaders that are replaced in the middle of it.  After each
 * step the window is compared, offset by offset, with a naive model that knows
 * nothing of runs.  Whatever happens:
 *
 *   no record is held by two
 *   no record is delivered more often than the limit
 *   nothing is delivered whose end was written down
 *   every waiter comes back once, and a yes means that it is written
 *   once things are calm every record ends, acknowledged or archived
 *
 * A seed that fails is replayed by running it alone: SHARE_SEED=n. */
#include "broker/share/partition.h"

#include "base/prng.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

enum {
    OFFSETS_MAX = 40000,
    BATCHES_MAX = 8000,
    MEMBERS = 4,
    FETCHES = 6,
    FLYING_MAX = 64,
    WAITERS_MAX = 20000,
    STEPS = 2500,
    SEEDS = 60,
    LOCK_MS = 300,
};

static const char *const member_names[MEMBERS + 1] = {"", "ann", "bob", "cy",
                                                      "dee"};

/* What the naive model knows of one offset. */
struct one {
    enum share_state state;
    int deliveries;
    int owner; /* 0: nobody */
    int64_t deadline_ms;
    bool fired; /* the lock, while decided */
    bool decided;
    enum share_state next;
    uint64_t in_write; /* 0: of none yet */
};

struct stored {
    bool known;
    enum share_state state;
    int deliveries;
};

struct flying {
    bool used;
    bool mute;   /* a copy whose answer nobody hears */
    bool doomed; /* will be refused */
    int64_t due_ms;
    int life;
    struct share_write write; /* with batches of its own */
};

struct fetch {
    bool used;
    int member;
    int64_t from;
    struct share_log_batch batches[40];
    uint32_t len;
};

struct waiter {
    struct share_waiter waiter;
    bool ended;
    bool expect_now;
    enum err expect;
};

static struct world {
    struct prng prng;
    uint64_t seed;
    int64_t now_ms;
    int limit;
    int locks;
    bool calm;
    /* the log */
    struct share_log_batch log[BATCHES_MAX];
    int log_len;
    int64_t log_start;
    int64_t log_end;
    /* the leader */
    struct share_partition *p;
    int life;
    struct share_partition_config config;
    /* the model */
    struct one m[OFFSETS_MAX];
    int64_t start;
    int64_t end;
    uint64_t last_write;
    /* the persister */
    struct stored stored[OFFSETS_MAX];
    int64_t stored_start;
    int stored_epoch;
    struct flying flying[FLYING_MAX];
    /* requests */
    struct fetch fetches[FETCHES];
    struct waiter waiters[WAITERS_MAX];
    int waiters_len;
    /* what there was */
    long acquired, acked, timeouts, refused, doubts, reloads, fenced;
} w;

static uint64_t below(uint64_t n) { return prng_below(&w.prng, n); }
static bool chance(int percent) { return (int)below(100) < percent; }

#define CHECK(condition)                                                       \
    cr_assert(condition, "SHARE_SEED=%llu at %lld ms: %s",                     \
              (unsigned long long)w.seed, (long long)w.now_ms, #condition)

/* ---- the model -----------------------------------------------------------*/

static bool is_gap(const struct one *o)
{
    return o->state == SHARE_ARCHIVED && o->deliveries == 0;
}

static int64_t m_in_flight(void)
{
    int64_t n = 0;

    for (int64_t o = w.start; o < w.end; o++)
        n += !is_gap(&w.m[o]);
    return n;
}

static void m_trim(void)
{
    while (w.start < w.end && share_state_is_terminal(w.m[w.start].state))
        w.start++;
}

static void m_time_out(struct one *o)
{
    o->state = o->deliveries >= w.limit ? SHARE_ARCHIVED : SHARE_AVAILABLE;
    o->owner = 0;
    o->decided = o->fired = false;
    w.timeouts++;
}

static void m_tick(void)
{
    for (int64_t i = w.start; i < w.end; i++) {
        struct one *o = &w.m[i];

        if (o->state != SHARE_ACQUIRED || o->deadline_ms > w.now_ms)
            continue;
        if (o->decided)
            o->fired = true;
        else
            m_time_out(o);
    }
    m_trim();
}

static void m_written(uint64_t id, bool ok)
{
    for (int64_t i = w.start; i < w.end; i++) {
        struct one *o = &w.m[i];

        if (!o->decided || o->in_write != id)
            continue;
        o->in_write = 0;
        if (ok) {
            o->state = o->next;
            o->owner = 0;
        }
        o->decided = false;
        if (!ok && o->fired)
            m_time_out(o);
        o->fired = false;
    }
    m_trim();
}

static void m_decide(struct one *o, enum share_state next)
{
    o->decided = true;
    o->next = next;
    o->in_write = 0;
}

static void m_log_start(void)
{
    if (w.log_start <= w.start)
        return;
    w.start = w.log_start;
    if (w.end < w.start)
        w.end = w.start;
    m_trim();
}

static void m_take(int64_t offset, int member, int deliveries)
{
    struct one *o = &w.m[offset];

    CHECK(!(w.stored[offset].known && offset >= w.stored_start &&
            share_state_is_terminal(w.stored[offset].state)));
    CHECK(offset >= w.stored_start);
    *o = (struct one){.state = SHARE_ACQUIRED,
                      .deliveries = deliveries,
                      .owner = member,
                      .deadline_ms = w.now_ms + LOCK_MS};
    CHECK(deliveries <= w.limit);
}

static int m_suspect_from(void)
{
    return (w.limit + 1) / 2 < 2 ? 2 : (w.limit + 1) / 2;
}

static bool m_is_suspect(const struct one *o)
{
    return w.limit > 2 && o->deliveries >= m_suspect_from();
}

static int64_t m_suspects_at_once(const struct one *o,
                                  const struct share_log_batch *batch)
{
    int64_t n = batch->last - batch->base + 1;

    for (int i = m_suspect_from(); i <= o->deliveries; i++)
        n /= 2;
    return o->deliveries == w.limit - 1 || n < 1 ? 1 : n;
}

/* Returns how many it takes. */
static int64_t m_acquire(const struct fetch *f, int32_t max, bool strict)
{
    int64_t left = max, taken = 0;
    int64_t alone_next = -1, alone_left = 0, alone_deliveries = 0;
    int64_t from = f->from < w.start ? w.start : f->from;

    if (from > w.end)
        return 0;
    for (uint32_t b = 0; b < f->len; b++) {
        const struct share_log_batch *batch = &f->batches[b];
        int64_t room = -1;

        if (batch->last < from)
            continue;
        if (left <= 0)
            break;
        for (int64_t i = from; i <= batch->last; i++) {
            bool record = i >= batch->base && batch->has_records;
            struct one *o = &w.m[i];

            if (i < w.end && o->state != SHARE_AVAILABLE)
                continue;
            if (!record) {
                *o = (struct one){.state = SHARE_ARCHIVED};
                w.end = i >= w.end ? i + 1 : w.end;
                continue;
            }
            if (strict && left <= 0)
                goto out;
            if (i < w.end) {
                if (o->deliveries >= w.limit) {
                    o->state = SHARE_ARCHIVED;
                    continue;
                }
                if (alone_next < 0 && m_is_suspect(o)) {
                    if (taken > 0)
                        goto out;
                    alone_next = i;
                    alone_deliveries = o->deliveries;
                    alone_left = m_suspects_at_once(o, batch);
                }
                if (alone_next >= 0 &&
                    (i != alone_next || o->deliveries != alone_deliveries ||
                     alone_left == 0))
                    goto out;
                alone_next += alone_next >= 0;
                alone_left--;
                m_take(i, f->member, o->deliveries + 1);
            } else {
                int64_t n = m_in_flight();

                if (alone_next >= 0)
                    goto out;

                if (room < 0)
                    room = n >= w.locks ? 0
                           : strict     ? w.locks - n
                                        : 2 * w.locks - n;
                if (room-- == 0)
                    goto out;
                w.end = i + 1;
                m_take(i, f->member, 1);
            }
            taken++;
            left--;
        }
        if (alone_next >= 0)
            break;
        from = batch->last + 1;
    }
out:
    m_trim();
    return taken;
}

static enum err m_ack_error(int member, const struct share_ack *acks, int len)
{
    for (int i = 0; i < len; i++) {
        int64_t size = acks[i].last - acks[i].first + 1;

        if (acks[i].first < 0 || size < 1 ||
            (i > 0 && acks[i].first <= acks[i - 1].last) ||
            acks[i].types_len < 1 ||
            (acks[i].types_len > 1 && acks[i].types_len != size))
            return ERR_INVALID_REQUEST;
        for (int t = 0; t < acks[i].types_len; t++)
            if (acks[i].types[t] < 0 || acks[i].types[t] > 4)
                return ERR_INVALID_REQUEST;
    }
    for (int i = 0; i < len; i++) {
        if (acks[i].last < w.start)
            continue;
        if (w.start == w.end)
            return ERR_INVALID_RECORD_STATE;
        if (acks[i].last >= w.end)
            return ERR_INVALID_REQUEST;
        for (int64_t o = acks[i].first; o <= acks[i].last; o++)
            if (o >= w.start && (w.m[o].state != SHARE_ACQUIRED ||
                                 w.m[o].decided || w.m[o].owner != member))
                return ERR_INVALID_RECORD_STATE;
    }
    return ERR_NONE;
}

/* True if there is something to write. */
static bool m_acknowledge(const struct share_ack *acks, int len)
{
    bool decides = false;

    for (int i = 0; i < len; i++) {
        for (int64_t o = acks[i].first; o <= acks[i].last; o++) {
            int8_t type = acks[i].types_len == 1
                              ? acks[i].types[0]
                              : acks[i].types[o - acks[i].first];
            struct one *one = &w.m[o];

            if (o < w.start)
                continue;
            if (type == SHARE_ACK_RENEW) {
                one->deadline_ms = w.now_ms + LOCK_MS;
                continue;
            }
            decides = true;
            m_decide(one,
                     type == SHARE_ACK_ACCEPT ? SHARE_ACKNOWLEDGED
                     : type == SHARE_ACK_RELEASE && one->deliveries < w.limit
                         ? SHARE_AVAILABLE
                         : SHARE_ARCHIVED);
        }
    }
    return decides;
}

static void compare(void)
{
    struct share_partition_stats stats;
    int64_t first = w.end;

    share_partition_check(w.p);
    share_partition_stats(w.p, &stats);
    CHECK(stats.start == w.start && stats.end == w.end);
    CHECK(stats.in_flight == m_in_flight());
    for (int64_t o = w.start; o < w.end; o++) {
        struct share_batch alike;
        struct slice member;

        CHECK(share_partition_look(w.p, o, &alike, &member));
        CHECK(alike.state == w.m[o].state);
        CHECK(alike.deliveries == w.m[o].deliveries);
        CHECK(slice_eq_str(member, member_names[w.m[o].owner]));
        if (w.m[o].state == SHARE_AVAILABLE && o < first)
            first = o;
    }
    CHECK(share_partition_next_fetch(w.p) == first);
}

/* ---- the persister -------------------------------------------------------*/

static void persist(const struct share_write *write)
{
    if (write->start_offset > w.stored_start)
        w.stored_start = write->start_offset;
    for (uint32_t i = 0; i < write->batches_len; i++) {
        const struct share_batch *b = &write->batches[i];

        for (int64_t o = b->first; o <= b->last; o++) {
            struct stored *s = &w.stored[o];
            bool newer =
                !s->known || b->deliveries > s->deliveries ||
                (b->deliveries == s->deliveries && b->state >= s->state);
            if (newer)
                *s = (struct stored){true, b->state, b->deliveries};
        }
    }
}

/* By what a write is, not when: a refused write is refused at each try. */
static bool is_refused(const struct share_write *write)
{
    struct prng dice = {w.seed * 977 + write->id * 31 +
                        (uint64_t)write->leader_epoch};

    return !w.calm && prng_below(&dice, 100) < 12;
}

static struct flying *fly(const struct share_write *write)
{
    for (int i = 0; i < FLYING_MAX; i++) {
        struct flying *f = &w.flying[i];

        if (f->used)
            continue;
        *f = (struct flying){.used = true,
                             .doomed = is_refused(write),
                             .due_ms = w.now_ms + (int64_t)below(60),
                             .life = w.life,
                             .write = *write};
        f->write.batches =
            xmemdup(write->batches_len == 0 ? (const void *)f : write->batches,
                    write->batches_len * sizeof *write->batches);
        return f;
    }
    return NULL;
}

/* Every new decision is in it, and nothing that is not so. */
static void check_write(const struct share_write *write)
{
    int64_t after = 0;

    CHECK(write->start_offset <= w.start || write->batches_len == 0);
    for (uint32_t i = 0; i < write->batches_len; i++) {
        const struct share_batch *b = &write->batches[i];

        CHECK(b->first >= after && b->last >= b->first);
        after = b->last + 1;
        for (int64_t o = b->first; o <= b->last; o++) {
            const struct one *one = &w.m[o];

            if (o < w.start)
                continue;
            if (one->decided) {
                CHECK(b->state == one->next);
                CHECK(b->deliveries == one->deliveries);
                w.m[o].in_write = write->id;
            } else if (one->state == SHARE_ACQUIRED) {
                CHECK(b->state == SHARE_AVAILABLE);
                CHECK(b->deliveries == one->deliveries - 1);
            } else {
                CHECK(b->state == one->state);
                CHECK(b->deliveries == one->deliveries);
            }
        }
    }
    for (int64_t o = w.start; o < w.end; o++)
        CHECK(!w.m[o].decided || w.m[o].in_write != 0);
}

static void take_update(struct share_update *update)
{
    while (!list_empty(&update->ended)) {
        struct waiter *waiter = LIST_ENTRY(list_pop_front(&update->ended),
                                           struct waiter, waiter.link);

        CHECK(!waiter->ended);
        waiter->ended = true;
        if (waiter->expect_now)
            CHECK(waiter->waiter.err == waiter->expect);
    }
    if (update->write == NULL)
        return;
    if (update->write->id != w.last_write) {
        w.last_write = update->write->id;
        check_write(update->write);
    }
    fly(update->write);
    if (!w.calm && chance(10)) {
        struct flying *copy = fly(update->write);

        if (copy != NULL) {
            copy->mute = true;
            copy->due_ms += (int64_t)below(3000);
        }
    }
}

static void start_leader(void);

static void result(uint64_t id, enum err err)
{
    struct share_update update;
    enum share_write_result r = share_write_result_of(err);

    share_update_init(&update);
    share_partition_written(w.p, id, err, w.now_ms, &update);
    if (r == SHARE_WRITTEN || r == SHARE_REFUSED)
        m_written(id, r == SHARE_WRITTEN);
    w.refused += r == SHARE_REFUSED;
    w.doubts += r == SHARE_IN_DOUBT;
    take_update(&update);
}

static void arrive(struct flying *f)
{
    bool mine = f->life == w.life && !f->mute;
    enum err err = ERR_NONE;

    f->used = false;
    if (!w.calm && chance(10))
        err = ERR_NETWORK_EXCEPTION; /* lost on its way */
    else if (f->write.leader_epoch < w.stored_epoch)
        err = ERR_FENCED_LEADER_EPOCH;
    else if (f->doomed)
        err = ERR_INVALID_REQUEST;
    else
        persist(&f->write);
    w.fenced += err == ERR_FENCED_LEADER_EPOCH;
    if (!w.calm && chance(10))
        err = chance(50) ? ERR_NETWORK_EXCEPTION : ERR_NOT_COORDINATOR;
    free(f->write.batches);
    if (mine)
        result(f->write.id, err);
}

static void arrivals(void)
{
    for (int i = 0; i < FLYING_MAX; i++)
        if (w.flying[i].used && w.flying[i].due_ms <= w.now_ms)
            arrive(&w.flying[i]);
}

/* ---- leaders -------------------------------------------------------------*/

static struct share_batch loaded_batches[OFFSETS_MAX];

static uint32_t stored_batches(void)
{
    uint32_t len = 0;

    for (int64_t o = w.stored_start < 0 ? 0 : w.stored_start; o < w.log_end;
         o++)
        if (w.stored[o].known)
            loaded_batches[len++] = (struct share_batch){
                o, o, w.stored[o].state, (int16_t)w.stored[o].deliveries};
    return len;
}

static void m_load(void)
{
    w.start = w.end = w.stored_start < 0 ? w.log_start : w.stored_start;
    for (int64_t o = w.start; o < w.log_end; o++) {
        w.m[o] = (struct one){0};
        if (!w.stored[o].known)
            continue;
        w.m[o].state = w.stored[o].state;
        w.m[o].deliveries = w.stored[o].deliveries;
        w.end = o + 1;
    }
    m_trim();
}

static void start_leader(void)
{
    struct share_update update;

    share_update_init(&update);
    if (w.p != NULL) {
        share_partition_close(w.p, &update);
        take_update(&update);
        share_partition_free(w.p);
        w.reloads++;
    }
    memset(w.fetches, 0, sizeof w.fetches);
    w.life++;
    w.last_write = 0;
    w.stored_epoch = w.life;
    struct share_loaded loaded = {.state_epoch = 0,
                                  .start_offset = w.stored_start,
                                  .initial_offset = w.log_start,
                                  .batches = loaded_batches,
                                  .batches_len = stored_batches()};
    share_update_init(&update);
    m_load();
    w.p = share_partition_create(&w.config, w.life, &loaded, &update);
    CHECK(w.p != NULL);
    take_update(&update);
    share_update_init(&update);
    m_log_start();
    share_partition_log_start(w.p, w.log_start, &update);
    take_update(&update);
}

/* ---- the log -------------------------------------------------------------*/

static void append_batch(void)
{
    if (w.log_len == BATCHES_MAX || w.log_end > OFFSETS_MAX - 100)
        return;
    int64_t base = w.log_end + (chance(10) ? (int64_t)below(6) : 0);
    int64_t last = base + (int64_t)below(chance(5) ? 60 : 12);

    w.log[w.log_len++] = (struct share_log_batch){base, last, !chance(8)};
    w.log_end = last + 1;
}

static void remove_batch(int i)
{
    memmove(w.log + i, w.log + i + 1,
            (size_t)(w.log_len - i - 1) * sizeof *w.log);
    w.log_len--;
}

static void compact(void)
{
    if (w.log_len > 1)
        remove_batch((int)below((uint64_t)w.log_len - 1));
}

static void move_log_start(void)
{
    struct share_update update;

    if (w.log_len < 2)
        return;
    const struct share_log_batch *b = &w.log[below((uint64_t)w.log_len - 1)];
    int64_t to = b->base + (int64_t)below((uint64_t)(b->last - b->base + 2));
    if (to > w.log_start)
        w.log_start = to;
    while (w.log_len > 1 && w.log[0].last < w.log_start)
        remove_batch(0);
    share_update_init(&update);
    m_log_start();
    share_partition_log_start(w.p, w.log_start, &update);
    take_update(&update);
}

/* ---- consumers -----------------------------------------------------------*/

static void begin_fetch(void)
{
    for (int i = 0; i < FETCHES; i++) {
        struct fetch *f = &w.fetches[i];

        if (f->used)
            continue;
        *f = (struct fetch){.used = true,
                            .member = 1 + (int)below(MEMBERS),
                            .from = share_partition_next_fetch(w.p)};
        uint32_t most = 1 + (uint32_t)below(40);
        for (int b = 0; b < w.log_len && f->len < most; b++)
            if (w.log[b].last >= f->from)
                f->batches[f->len++] = w.log[b];
        return;
    }
}

static void end_fetch(void)
{
    struct fetch *f = &w.fetches[below(FETCHES)];
    struct share_acquired acquired = {0};
    struct share_update update;
    int32_t max = (int32_t)below(60);
    bool strict = chance(40);

    if (!f->used)
        return;
    f->used = false;
    share_update_init(&update);
    struct share_acquire request = {
        .member = slice_str(member_names[f->member]),
        .now_ms = w.now_ms,
        .from = f->from,
        .batches = f->batches,
        .batches_len = f->len,
        .max_records = max,
        .batch_size = 1 + (int32_t)below(30),
        .mode = strict ? SHARE_RECORD_LIMIT : SHARE_BATCH_OPTIMIZED};
    int64_t taken = m_acquire(f, max, strict);
    CHECK(share_partition_acquire(w.p, &request, &acquired, &update) ==
          ERR_NONE);
    CHECK(acquired.records == taken);
    CHECK(!strict || taken <= max);
    int64_t after = -1;
    for (uint32_t i = 0; i < acquired.len; i++) {
        const struct share_range *r = &acquired.ranges[i];

        CHECK(r->first > after && r->last >= r->first);
        after = r->last;
        taken -= r->last - r->first + 1;
        for (int64_t o = r->first; o <= r->last; o++)
            CHECK(w.m[o].deliveries == r->deliveries);
    }
    CHECK(taken == 0);
    w.acquired += acquired.records;
    share_acquired_free(&acquired);
    take_update(&update);
}

static struct waiter *new_waiter(void)
{
    return w.waiters_len < WAITERS_MAX ? &w.waiters[w.waiters_len++] : NULL;
}

static int8_t some_type(void)
{
    static const int8_t types[] = {1, 1, 1, 2, 2, 3, 0, 4};

    return types[below(sizeof types)];
}

/* What a member holds from some offset on, or any range at all. */
static struct share_ack some_ack(int member, int64_t from, int8_t *types)
{
    int64_t first = from, last;

    while (first < w.end && !chance(2) &&
           (w.m[first].owner != member || w.m[first].decided))
        first++;
    last = first;
    while (last < w.end - 1 && w.m[last + 1].owner == member && !chance(10))
        last++;
    if (chance(3))
        last += (int64_t)below(20);
    struct share_ack ack = {first, last, types, 1};
    if (chance(50) && last - first < 200)
        ack.types_len = (int32_t)(last - first + 1);
    int8_t type = some_type();
    for (int32_t i = 0; i < ack.types_len; i++)
        types[i] = chance(70) ? type : some_type();
    if (!w.calm && chance(2))
        types[0] = (int8_t)(5 + below(100));
    if (!w.calm && chance(2))
        ack.types_len = (int32_t)below(3);
    return ack;
}

static void send_acks(int member, const struct share_ack *acks, int len)
{
    struct waiter *waiter = new_waiter();
    struct share_update update;

    if (waiter == NULL)
        return;
    waiter->expect = m_ack_error(member, acks, len);
    waiter->expect_now = waiter->expect != ERR_NONE;
    share_update_init(&update);
    share_partition_acknowledge(w.p, slice_str(member_names[member]), acks,
                                (uint32_t)len, w.now_ms, &waiter->waiter,
                                &update);
    if (waiter->expect == ERR_NONE) {
        bool decides = m_acknowledge(acks, len);

        CHECK(decides || !list_empty(&update.ended));
        w.acked++;
    } else {
        CHECK(!list_empty(&update.ended));
    }
    take_update(&update);
}

static void acknowledge(void)
{
    static int8_t types[3][400];
    struct share_ack acks[3];
    int member = 1 + (int)below(MEMBERS), len = 1 + (int)below(3);
    int64_t from = w.start - (int64_t)below(5);

    for (int i = 0; i < len; i++) {
        acks[i] = some_ack(member, from < 0 ? 0 : from, types[i]);
        from = acks[i].last + (chance(98) ? 1 : 0);
    }
    send_acks(member, acks, len);
}

static void vanish(void)
{
    struct waiter *waiter = new_waiter();
    struct share_update update;
    int member = 1 + (int)below(MEMBERS);

    if (waiter == NULL)
        return;
    for (int64_t o = w.start; o < w.end; o++)
        if (w.m[o].owner == member && !w.m[o].decided)
            m_decide(&w.m[o], w.m[o].deliveries < w.limit ? SHARE_AVAILABLE
                                                          : SHARE_ARCHIVED);
    share_update_init(&update);
    share_partition_release(w.p, slice_str(member_names[member]),
                            &waiter->waiter, &update);
    take_update(&update);
}

/* ---- steps ---------------------------------------------------------------*/

static void tick(void)
{
    struct share_update update;

    if (share_partition_next_deadline(w.p) > w.now_ms)
        return;
    share_update_init(&update);
    m_tick();
    share_partition_tick(w.p, w.now_ms, &update);
    take_update(&update);
}

static void step(void)
{
    uint64_t dice = below(1000);

    w.now_ms += (int64_t)below(12);
    arrivals();
    tick();
    if (dice < 150)
        append_batch();
    else if (dice < 350)
        begin_fetch();
    else if (dice < 550)
        end_fetch();
    else if (dice < 900)
        acknowledge();
    else if (dice < 950)
        vanish();
    else if (dice < 975)
        compact();
    else if (dice < 980)
        move_log_start();
    else if (dice < 988)
        start_leader();
    compare();
}

static void accept_all(int member)
{
    static const int8_t accept[1] = {SHARE_ACK_ACCEPT};

    for (int64_t o = w.start; o < w.end; o++)
        if (w.m[o].owner == member && !w.m[o].decided)
            send_acks(member, &(struct share_ack){o, o, accept, 1}, 1);
}

static bool over(void) { return w.start == w.log_end && w.end == w.log_end; }

/* Nothing fails any more; everything has to end. */
static void calm_down(void)
{
    w.calm = true;
    for (int i = 0; i < 5000 && !over(); i++) {
        w.now_ms += 20;
        arrivals();
        tick();
        begin_fetch();
        end_fetch();
        accept_all(1 + (int)below(MEMBERS));
        compare();
    }
    CHECK(over());
    for (int i = 0; i < 500; i++) {
        w.now_ms += 20;
        arrivals();
        tick();
    }
    for (int i = 0; i < w.waiters_len; i++)
        CHECK(w.waiters[i].ended);
    start_leader(); /* nothing comes back */
    for (int64_t o = w.start; o < w.end; o++)
        for (int b = 0; b < w.log_len; b++)
            CHECK(share_state_is_terminal(w.m[o].state) || o < w.log[b].base ||
                  o > w.log[b].last || !w.log[b].has_records);
}

static void run(uint64_t seed)
{
    long sums[] = {w.acquired, w.acked,   w.timeouts, w.refused,
                   w.doubts,   w.reloads, w.fenced};

    memset(&w, 0, sizeof w);
    w.acquired = sums[0], w.acked = sums[1], w.timeouts = sums[2],
    w.refused = sums[3], w.doubts = sums[4], w.reloads = sums[5],
    w.fenced = sums[6];
    w.seed = w.prng.state = seed;
    w.now_ms = 1000;
    w.limit = 2 + (int)below(6);
    w.locks = 10 + (int)below(150);
    w.stored_start = SHARE_START_UNKNOWN;
    share_partition_config_init(&w.config);
    w.config.delivery_count_limit = w.limit;
    w.config.max_record_locks = w.locks;
    w.config.record_lock_duration_ms = LOCK_MS;
    append_batch();
    start_leader();
    for (int i = 0; i < STEPS; i++)
        step();
    calm_down();
    struct share_update update;
    share_update_init(&update);
    share_partition_close(w.p, &update);
    take_update(&update);
    share_partition_free(w.p);
    for (int i = 0; i < FLYING_MAX; i++)
        if (w.flying[i].used)
            free(w.flying[i].write.batches);
}

Test(share_sim, seeds, .timeout = 600)
{
    const char *only = getenv("SHARE_SEED");

    if (only != NULL) {
        run(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
    cr_log_info("%ld acquired, %ld requests, %ld timeouts, %ld refused, "
                "%ld in doubt, %ld reloads, %ld fenced",
                w.acquired, w.acked, w.timeouts, w.refused, w.doubts, w.reloads,
                w.fenced);
    cr_assert(w.acquired > 0 && w.timeouts > 0 && w.refused > 0 &&
              w.doubts > 0 && w.reloads > 0 && w.fenced > 0);
}
