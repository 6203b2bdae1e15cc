/* Producer state against a model that remembers the whole log.
 *
 * The model knows of each id since when it is known (an expired one starts
 * anew) and how many batches must be remembered; all else it looks up in the
 * log.  Random batches: the next one, retries, gaps, other epochs, near the
 * wrap of sequence numbers; in between truncation, restarts by snapshot, and
 * expiry. */
#include "base/prng.h"
#include "tests/unit/broker/producers_kit.h"

#include <stdlib.h>

enum { IDS = 6, LOG_MAX = 4000, EXPIRATION_MS = 400000 };

struct known {
    int since;      /* index in the log of the first batch that is known */
    int remembered; /* newest batches of the epoch that are */
    int64_t written_ms;
};

struct model {
    struct batch log[LOG_MAX];
    int64_t written_ms[LOG_MAX];
    int len;
    struct known ids[IDS];
    int floor; /* a snapshot was taken at this length */
    int64_t now_ms;
    struct prng prng;
    struct producers *producers;
};

static int rnd(struct model *m, int n)
{
    return (int)prng_below(&m->prng, (uint64_t)n);
}

static int64_t end_offset(const struct model *m)
{
    return m->len == 0 ? 0 : batch_last_offset(&m->log[m->len - 1]) + 1;
}

/* The n-th newest known batch of an id (0: the newest), or NULL. */
static const struct batch *newest(const struct model *m, int id, int n)
{
    for (int i = m->len; i-- > m->ids[id].since;)
        if (m->log[i].producer_id == id && n-- == 0)
            return &m->log[i];
    return NULL;
}

static int32_t last_sequence(const struct batch *b)
{
    return (int32_t)(((int64_t)b->base_sequence + b->last_offset_delta) %
                     (1LL << 31));
}

static int32_t after(const struct batch *b)
{
    return (int32_t)((last_sequence(b) + 1LL) % (1LL << 31));
}

/* What the rules say: an error, or ERR_NONE with the offset of the batch that
 * is sent again, or -1. */
static enum err rules(const struct model *m, const struct batch *b,
                      int64_t *again)
{
    int id = (int)b->producer_id;
    const struct batch *last = newest(m, id, 0);
    const struct batch *old;

    *again = -1;
    if (last == NULL)
        return ERR_NONE;
    for (int n = 0; n < m->ids[id].remembered; n++) {
        old = newest(m, id, n);
        if (old->producer_epoch == b->producer_epoch &&
            old->base_sequence == b->base_sequence &&
            last_sequence(old) == last_sequence(b)) {
            *again = old->base_offset;
            return ERR_NONE;
        }
    }
    if (b->producer_epoch < last->producer_epoch)
        return ERR_INVALID_PRODUCER_EPOCH;
    if (b->base_sequence !=
        (b->producer_epoch == last->producer_epoch ? after(last) : 0))
        return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    return ERR_NONE;
}

static struct batch some_batch(struct model *m)
{
    int id = rnd(m, IDS);
    const struct batch *last = newest(m, id, 0);
    const struct batch *old = newest(m, id, rnd(m, 8));
    struct sent s = {.id = id,
                     .offset = end_offset(m),
                     .records = 1 + rnd(m, 3),
                     .timestamp = rnd(m, 1000)};

    if (last == NULL) {
        s.sequence = rnd(m, 2) != 0 ? rnd(m, 9) : INT32_MAX - rnd(m, 9);
        return batch_of(s);
    }
    s.epoch = last->producer_epoch;
    s.sequence = after(last);
    switch (rnd(m, 12)) {
    case 0:
    case 1:
    case 2:
        if (old != NULL) {
            s.epoch = old->producer_epoch;
            s.sequence = old->base_sequence;
            s.records = old->records_count;
        }
        break;
    case 3:
        s.sequence = rnd(m, 30);
        break;
    case 4:
        s.epoch = (int16_t)(s.epoch + rnd(m, 3) - 1);
        s.sequence = rnd(m, 3) == 0 ? s.sequence : 0;
        s.epoch = s.epoch < 0 ? 0 : s.epoch;
        break;
    }
    return batch_of(s);
}

static void append(struct model *m, const struct batch *b)
{
    int id = (int)b->producer_id;
    struct known *k = &m->ids[id];
    const struct batch *last = newest(m, id, 0);

    if (last == NULL) {
        k->since = m->len;
        k->remembered = 0;
    } else if (last->producer_epoch != b->producer_epoch) {
        k->remembered = 0;
    }
    if (k->remembered < PRODUCERS_BATCHES)
        k->remembered++;
    k->written_ms = m->now_ms;
    m->written_ms[m->len] = m->now_ms;
    m->log[m->len++] = *b;
    producers_apply(m->producers, b, m->now_ms);
}

static void produce(struct model *m)
{
    struct batch b = some_batch(m);
    int64_t again, offset, timestamp;
    enum err error;
    enum err wanted = rules(m, &b, &again);
    enum producers_verdict verdict =
        producers_check(m->producers, &b, &offset, &timestamp, &error);

    cr_assert_eq(error, wanted, "id %d epoch %d sequence %d: %s not %s",
                 (int)b.producer_id, b.producer_epoch, b.base_sequence,
                 err_name(error), err_name(wanted));
    cr_assert_eq(offset, again);
    cr_assert_eq(verdict, wanted != ERR_NONE ? PRODUCERS_REFUSE
                          : again >= 0       ? PRODUCERS_DUPLICATE
                                             : PRODUCERS_APPEND);
    if (verdict == PRODUCERS_APPEND)
        append(m, &b);
}

/* From the log alone, as producers_load() without snapshots. */
static void rebuild(struct model *m)
{
    int len = m->len;

    producers_free(m->producers);
    m->producers = producers_new();
    for (int id = 0; id < IDS; id++)
        m->ids[id] = (struct known){.since = len};
    m->len = m->floor = 0;
    int64_t now = m->now_ms;
    for (int i = 0; i < len; i++) {
        struct batch b = m->log[i];
        m->now_ms = m->written_ms[i];
        append(m, &b);
    }
    m->now_ms = now;
}

/* How many of an id's remembered batches lie behind the first `len`. */
static int remembered_behind(const struct model *m, int id, int len)
{
    int64_t end = len == 0 ? 0 : batch_last_offset(&m->log[len - 1]) + 1;
    int n = 0;

    while (n < m->ids[id].remembered && newest(m, id, n) != NULL &&
           newest(m, id, n)->base_offset >= end)
        n++;
    return n;
}

static void truncate_log(struct model *m)
{
    int len = m->len - rnd(m, m->len < 20 ? m->len + 1 : 20);
    int64_t end = len == 0 ? 0 : batch_last_offset(&m->log[len - 1]) + 1;
    bool from_memory = producers_truncate(m->producers, end);

    if (len < m->floor)
        cr_assert_not(from_memory);
    for (int id = 0; id < IDS; id++) {
        int n = remembered_behind(m, id, len);
        bool older = false;
        for (int i = m->ids[id].since; i < len; i++)
            older |= m->log[i].producer_id == id;
        if (n > 0 && n == m->ids[id].remembered && older)
            cr_assert_not(from_memory, "it cannot know this");
        m->ids[id].remembered -= n;
    }
    m->len = len;
    if (!from_memory)
        rebuild(m);
}

static void restart(struct model *m)
{
    struct buf bytes = BUF_INIT;
    const char *why;

    producers_encode(m->producers, &bytes);
    struct producers *p =
        producers_decode(buf_slice(&bytes), end_offset(m), m->now_ms, &why);
    cr_assert_not_null(p, "%s", why);
    expect_same(p, m->producers, "after a restart");
    producers_free(m->producers);
    m->producers = p;
    m->floor = m->len;
    buf_free(&bytes);
    for (int id = 0; id < IDS; id++)
        if (m->ids[id].remembered > 1)
            m->ids[id].remembered = 1;
}

static void expire(struct model *m)
{
    size_t left = 0;

    producers_expire(m->producers, m->now_ms, EXPIRATION_MS);
    for (int id = 0; id < IDS; id++) {
        if (m->now_ms - m->ids[id].written_ms >= EXPIRATION_MS)
            m->ids[id] = (struct known){.since = m->len};
        left += newest(m, id, 0) != NULL;
    }
    cr_assert_eq(producers_count(m->producers), left);
}

static void run(uint64_t seed)
{
    struct model *m = xcalloc(1, sizeof *m);

    m->prng.state = seed;
    m->now_ms = now_ms;
    m->producers = producers_new();
    while (m->len < LOG_MAX) {
        m->now_ms += 1000 * rnd(m, 20);
        switch (rnd(m, 60)) {
        case 0:
            truncate_log(m);
            break;
        case 1:
            restart(m);
            break;
        case 2:
            expire(m);
            break;
        default:
            produce(m);
        }
    }
    producers_free(m->producers);
    free(m);
}

Test(producers_model, agrees_with_the_log)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        run(seed);
}
