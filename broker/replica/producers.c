/* Producer ids in one block of entries, found by a hash table of indices and
 * chained from the longest idle to the youngest.
 *
 * Indices instead of pointers keep an entry small, and let the block grow,
 * shrink and move: a million ids are a block of 152 MB, one id is 200 bytes.
 *
 * Truncation is undone from memory: batches above the cut are taken off the
 * front of each entry.  That works as long as one is left, or the entry began
 * above the cut (WHOLE: its batches are all it ever had). */
#include "broker/replica/producers.h"

#include "base/planted.h"

#include <stdlib.h>

enum { EXPIRE_STEP = 1024, EVICT_STEP = 16, SHRINK_ABOVE = 64 };

static const uint32_t none = UINT32_MAX;

enum entry_flags {
    WHOLE = 1,       /* nothing was known or forgotten before batches[] */
    APPEND_TIME = 2, /* timestamp is the broker's */
};

struct remembered {
    int64_t last_offset;
    int32_t last_sequence;
    int32_t offset_delta;
};

struct entry {
    int64_t producer_id;      /* -1: free */
    int64_t txn_first_offset; /* -1: no open transaction */
    int64_t timestamp;        /* of the newest batch or marker */
    int64_t decision;         /* of the newest marker; 0: not known */
    uint32_t written_s;       /* wall clock when it was applied */
    int32_t coordinator_epoch;
    uint32_t chain; /* next of the same hash, or next free */
    uint32_t older; /* towards the longest idle */
    uint32_t younger;
    int16_t epoch;
    uint8_t count; /* of batches */
    uint8_t flags;
    struct remembered batches[PRODUCERS_BATCHES]; /* newest first */
    int32_t age_ms[PRODUCERS_BATCHES]; /* timestamp minus the batch's */
};
static_assert(sizeof(struct entry) <= 160, "ids are counted in millions");

/* One that is not decided for sure. */
struct txn {
    int64_t producer_id;
    int64_t first_offset;
    int64_t marker_offset; /* -1: open */
};

struct producers {
    struct entry *entries; /* owned */
    uint32_t cap;
    uint32_t used;        /* entries behind it were never used */
    uint32_t free;        /* first of the free ones below it */
    uint32_t count;       /* live */
    uint32_t *buckets;    /* owned */
    uint32_t buckets_len; /* power of two, >= cap */
    uint32_t oldest;
    uint32_t youngest;
    struct txn *txns; /* owned; by first_offset, which only rises */
    size_t txns_len;
    size_t txns_cap;
    size_t txns_ended; /* of them, whose marker is not committed */
    int64_t floor;     /* nothing below it can be taken back: the offset of the
                          snapshot this began as, the end of the last marker */
};

struct producers *producers_new(void)
{
    struct producers *p = xcalloc(1, sizeof *p);

    p->free = p->oldest = p->youngest = none;
    return p;
}

void producers_free(struct producers *p)
{
    if (p == NULL)
        return;
    free(p->entries);
    free(p->buckets);
    free(p->txns);
    free(p);
}

size_t producers_count(const struct producers *p)
{
    return p == NULL ? 0 : p->count;
}

/* ---- the table ----------------------------------------------------------- */

static uint32_t *bucket_of(const struct producers *p, int64_t producer_id)
{
    uint64_t h = (uint64_t)producer_id;

    h = (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
    return &p->buckets[(h >> 32) & (p->buckets_len - 1)];
}

static struct entry *find(const struct producers *p, int64_t producer_id)
{
    if (p->count == 0)
        return NULL;
    uint32_t i = *bucket_of(p, producer_id);
    while (i != none && p->entries[i].producer_id != producer_id)
        i = p->entries[i].chain;
    return i == none ? NULL : &p->entries[i];
}

static void unchain(struct producers *p, const struct entry *e)
{
    uint32_t *at = bucket_of(p, e->producer_id);

    while (&p->entries[*at] != e)
        at = &p->entries[*at].chain;
    *at = e->chain;
}

static void enchain(struct producers *p, uint32_t i)
{
    uint32_t *bucket = bucket_of(p, p->entries[i].producer_id);

    p->entries[i].chain = *bucket;
    *bucket = i;
}

static void link_youngest(struct producers *p, uint32_t i)
{
    struct entry *e = &p->entries[i];

    e->older = p->youngest;
    e->younger = none;
    if (p->youngest != none)
        p->entries[p->youngest].younger = i;
    else
        p->oldest = i;
    p->youngest = i;
}

static void unlink_entry(struct producers *p, const struct entry *e)
{
    if (e->older != none)
        p->entries[e->older].younger = e->younger;
    else
        p->oldest = e->younger;
    if (e->younger != none)
        p->entries[e->younger].older = e->older;
    else
        p->youngest = e->older;
}

static void touch(struct producers *p, struct entry *e)
{
    unlink_entry(p, e);
    link_youngest(p, (uint32_t)(e - p->entries));
}

/* A new block for `cap` >= count entries, in order of age. */
static void resize(struct producers *p, uint32_t cap)
{
    struct entry *old = p->entries;
    uint32_t i = p->oldest;
    uint32_t len = 1;

    ASSERT(cap >= p->count);
    while (len < cap)
        len *= 2;
    free(p->buckets);
    p->buckets = xmalloc(len * sizeof *p->buckets);
    memset(p->buckets, 0xff, len * sizeof *p->buckets);
    p->buckets_len = len;
    p->entries = xmalloc(cap * sizeof *p->entries);
    p->cap = cap;
    p->used = 0;
    p->free = p->oldest = p->youngest = none;
    while (i != none) {
        p->entries[p->used] = old[i];
        i = old[i].younger;
        enchain(p, p->used);
        link_youngest(p, p->used++);
    }
    free(old);
}

static void shrink(struct producers *p)
{
    if (p->cap > SHRINK_ABOVE && p->count < p->cap / 4)
        resize(p, p->count * 2 + 1);
}

/* ---- undecided transactions ---------------------------------------------- */

/* The first that began at `offset` or above. */
static size_t txn_at(const struct producers *p, int64_t offset)
{
    size_t low = 0, high = p->txns_len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (p->txns[middle].first_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Begins at the end of the log, unless a snapshot says so. */
static void txn_begin(struct producers *p, int64_t producer_id,
                      int64_t first_offset)
{
    size_t at = txn_at(p, first_offset);

    if (p->txns_len == p->txns_cap) {
        p->txns_cap = p->txns_cap == 0 ? 1 : p->txns_cap * 2;
        p->txns = xrealloc(p->txns, p->txns_cap * sizeof *p->txns);
    }
    memmove(&p->txns[at + 1], &p->txns[at],
            (p->txns_len - at) * sizeof *p->txns);
    p->txns_len++;
    p->txns[at] = (struct txn){producer_id, first_offset, -1};
}

static struct txn *txn_find(struct producers *p, const struct entry *e)
{
    size_t at = txn_at(p, e->txn_first_offset);

    return at < p->txns_len && p->txns[at].producer_id == e->producer_id
               ? &p->txns[at]
               : NULL;
}

static void txn_forget(struct producers *p, const struct entry *e)
{
    struct txn *t = e->txn_first_offset < 0 ? NULL : txn_find(p, e);

    if (t == NULL)
        return;
    p->txns_len--;
    memmove(t, t + 1, (size_t)(&p->txns[p->txns_len] - t) * sizeof *t);
}

void producers_committed(struct producers *p, int64_t high_watermark)
{
    size_t kept = 0;

    if (p == NULL || p->txns_ended == 0)
        return;
    for (size_t i = 0; i < p->txns_len; i++)
        if (p->txns[i].marker_offset < 0 ||
            p->txns[i].marker_offset >= high_watermark)
            p->txns[kept++] = p->txns[i];
    p->txns_ended -= p->txns_len - kept;
    p->txns_len = kept;
}

int64_t producers_first_undecided(const struct producers *p)
{
    return p == NULL || p->txns_len == 0 ? -1 : p->txns[0].first_offset;
}

/* Where the first transaction that is still open began; `none_offset` if all
 * have ended. */
static int64_t first_open(const struct producers *p, int64_t none_offset)
{
    for (size_t i = 0; i < p->txns_len; i++)
        if (p->txns[i].marker_offset < 0)
            return p->txns[i].first_offset;
    return none_offset;
}

/* ---- coming and going ---------------------------------------------------- */

static void forget(struct producers *p, struct entry *e)
{
    txn_forget(p, e);
    unchain(p, e);
    unlink_entry(p, e);
    e->producer_id = -1;
    e->chain = p->free;
    p->free = (uint32_t)(e - p->entries);
    p->count--;
}

/* The longest idle go, but for those with an open transaction, which get out of
 * the way.  If too many have one there are a few more for a while. */
static void evict(struct producers *p)
{
    for (int n = 0; n < EVICT_STEP && p->count >= PRODUCERS_MAX; n++) {
        struct entry *e = &p->entries[p->oldest];

        if (e->txn_first_offset >= 0)
            touch(p, e);
        else
            forget(p, e);
    }
}

/* It would be one that is never evicted, behind as many as may be. */
static bool has_too_many_open(const struct producers *p, const struct batch *b)
{
    return (b->attributes & BATCH_TRANSACTIONAL) != 0 &&
           p->txns_len - p->txns_ended >= PRODUCERS_MAX;
}

static struct entry *add(struct producers *p, int64_t producer_id)
{
    uint32_t i;

    if (p->count >= PRODUCERS_MAX)
        evict(p);
    if (p->free == none && p->used == p->cap)
        resize(p, p->cap < 2 ? p->cap + 1 : p->cap + p->cap / 2);
    if (p->free != none) {
        i = p->free;
        p->free = p->entries[i].chain;
    } else {
        i = p->used++;
    }
    p->entries[i] = (struct entry){
        .producer_id = producer_id,
        .txn_first_offset = -1,
        .timestamp = -1,
        .coordinator_epoch = -1,
        .epoch = -1,
    };
    enchain(p, i);
    link_youngest(p, i);
    p->count++;
    return &p->entries[i];
}

/* ---- numbers ---------------------------------------------------------------
 */

/* Sequence numbers go from 0 to 2^31 - 1 and round again. */
static int32_t sequence_plus(int32_t sequence, int32_t n)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)n) & INT32_MAX);
}

static int32_t last_sequence(const struct batch *b)
{
    return b->base_sequence < 0
               ? -1
               : sequence_plus(b->base_sequence, b->last_offset_delta);
}

/* a - b, as near to it as 32 bits allow. */
static int32_t difference(int64_t a, int64_t b)
{
    int64_t d;

    if (__builtin_sub_overflow(a, b, &d))
        d = a < b ? INT64_MIN : INT64_MAX;
    return d < INT32_MIN ? INT32_MIN : d > INT32_MAX ? INT32_MAX : (int32_t)d;
}

/* Timestamps are the client's: any 64 bits. */
static int64_t minus(int64_t timestamp, int32_t age_ms)
{
    return (int64_t)((uint64_t)timestamp - (uint64_t)(int64_t)age_ms);
}

static uint32_t seconds(int64_t wall_ms)
{
    int64_t s = wall_ms / 1000;

    return s < 0 ? 0 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

/* ---- checking -------------------------------------------------------------
 */

static const struct remembered *find_batch(const struct entry *e,
                                           const struct batch *b)
{
    if (e->epoch != b->producer_epoch)
        return NULL;
    for (int i = 0; i < e->count; i++)
        if (e->batches[i].last_sequence == last_sequence(b) &&
            e->batches[i].offset_delta == b->last_offset_delta)
            return &e->batches[i];
    return NULL;
}

static enum err check_sequence(const struct entry *e, const struct batch *b)
{
    int32_t expected = 0;

    if (e->epoch == -1)
        return ERR_NONE;
    if (e->epoch == b->producer_epoch && e->count != 0 &&
        e->batches[0].last_sequence >= 0)
        expected = sequence_plus(e->batches[0].last_sequence, 1);
    return b->base_sequence == expected || PLANTED(PRODUCERS_LEAVE_GAPS)
               ? ERR_NONE
               : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

static enum err check(const struct entry *e, const struct batch *b)
{
    enum err error = ERR_NONE;

    if (b->producer_epoch < e->epoch)
        return PLANTED(TXN_TAKES_ZOMBIES) ? ERR_NONE
                                          : ERR_INVALID_PRODUCER_EPOCH;
    if (b->base_sequence >= 0)
        error = check_sequence(e, b);
    if (error == ERR_NONE && e->txn_first_offset >= 0 &&
        (b->attributes & BATCH_TRANSACTIONAL) == 0)
        error = ERR_INVALID_TXN_STATE;
    return error;
}

enum producers_verdict producers_check(const struct producers *p,
                                       const struct batch *b, int64_t *offset,
                                       int64_t *timestamp, enum err *error)
{
    const struct entry *e = find(p, b->producer_id);
    const struct remembered *first;

    *offset = *timestamp = -1;
    *error = ERR_NONE;
    ASSERT(b->producer_id >= 0);
    if (e == NULL && has_too_many_open(p, b)) {
        *error = ERR_KAFKA_STORAGE_ERROR;
        return PRODUCERS_REFUSE;
    }
    if (e == NULL || PLANTED(PRODUCERS_REPEATED))
        return PRODUCERS_APPEND;
    if (b->base_sequence >= 0 && (first = find_batch(e, b)) != NULL) {
        *offset = first->last_offset - first->offset_delta;
        *timestamp = minus(e->timestamp, e->age_ms[first - e->batches]);
        return PRODUCERS_DUPLICATE;
    }
    *error = check(e, b);
    return *error == ERR_NONE ? PRODUCERS_APPEND : PRODUCERS_REFUSE;
}

/* A marker that comes again, because its answer was lost, finds the epoch that
 * it brought and nothing open. */
static bool ended_before(const struct entry *e, const struct control_marker *m,
                         int64_t decision)
{
    return decision > 0 && m->producer_epoch == e->epoch &&
           m->coordinator_epoch == e->coordinator_epoch &&
           (uint64_t)decision / MARKER_DECISIONS ==
               (uint64_t)e->decision / MARKER_DECISIONS &&
           decision <= e->decision;
}

enum err producers_check_marker(const struct producers *p,
                                const struct control_marker *m,
                                const struct marker_origin *origin)
{
    const struct entry *e = p == NULL ? NULL : find(p, m->producer_id);

    if (e == NULL)
        return ERR_NONE;
    if (m->producer_epoch < e->epoch)
        return ERR_INVALID_PRODUCER_EPOCH;
    if (e->txn_first_offset >= 0 &&
        (ended_before(e, m, origin->decision) ||
         (origin->transaction_version >= 2 && m->producer_epoch == e->epoch)))
        return ERR_INVALID_PRODUCER_EPOCH;
    return m->coordinator_epoch < e->coordinator_epoch
               ? ERR_TRANSACTION_COORDINATOR_FENCED
               : ERR_NONE;
}

void producers_note_decision(struct producers *p, int64_t producer_id,
                             int64_t decision)
{
    struct entry *e = find(p, producer_id);

    if (e != NULL)
        e->decision = decision;
}

/* ---- applying -------------------------------------------------------------
 */

static void set_timestamp(struct entry *e, int64_t timestamp)
{
    int32_t later = difference(timestamp, e->timestamp);

    for (int i = 0; i < e->count; i++)
        e->age_ms[i] = difference(e->age_ms[i], -(int64_t)later);
    e->timestamp = timestamp;
}

static void set_epoch(struct entry *e, int16_t epoch)
{
    if (e->epoch == epoch)
        return;
    if (e->epoch != -1)
        e->flags &= (uint8_t)~WHOLE;
    e->epoch = epoch;
    e->count = 0;
}

static void remember(struct entry *e, struct remembered batch)
{
    if (e->count == PRODUCERS_BATCHES)
        e->flags &= (uint8_t)~WHOLE;
    else
        e->count++;
    memmove(&e->batches[1], &e->batches[0],
            (PRODUCERS_BATCHES - 1) * sizeof e->batches[0]);
    memmove(&e->age_ms[1], &e->age_ms[0],
            (PRODUCERS_BATCHES - 1) * sizeof e->age_ms[0]);
    e->batches[0] = batch;
    e->age_ms[0] = 0;
}

static void apply_data(struct producers *p, struct entry *e,
                       const struct batch *b)
{
    remember(e, (struct remembered){.last_offset = batch_last_offset(b),
                                    .last_sequence = last_sequence(b),
                                    .offset_delta = b->last_offset_delta});
    e->flags &= (uint8_t)~APPEND_TIME;
    if ((b->attributes & BATCH_LOG_APPEND_TIME) != 0)
        e->flags |= APPEND_TIME;
    if ((b->attributes & BATCH_TRANSACTIONAL) != 0 && e->txn_first_offset < 0) {
        e->txn_first_offset = b->base_offset;
        txn_begin(p, e->producer_id, b->base_offset);
    }
}

static void end_txn(struct producers *p, struct entry *e, int64_t marker_offset,
                    struct producers_ended *ended)
{
    struct txn *t = e->txn_first_offset < 0 ? NULL : txn_find(p, e);

    if (t != NULL) {
        t->marker_offset = marker_offset;
        p->txns_ended++;
    }
    *ended = (struct producers_ended){
        .first_offset = e->txn_first_offset,
        .last_stable_offset = first_open(p, marker_offset + 1),
    };
    e->txn_first_offset = -1;
}

static struct entry *find_or_add(struct producers *p, int64_t producer_id)
{
    struct entry *e = find(p, producer_id);

    ASSERT(producer_id >= 0);
    if (e == NULL) {
        e = add(p, producer_id);
        e->flags = WHOLE;
    }
    return e;
}

void producers_apply(struct producers *p, const struct batch *b,
                     int64_t now_wall_ms)
{
    struct entry *e = find_or_add(p, b->producer_id);

    ASSERT((b->attributes & BATCH_CONTROL) == 0);
    set_epoch(e, b->producer_epoch);
    set_timestamp(e, b->max_timestamp);
    apply_data(p, e, b);
    e->written_s = seconds(now_wall_ms);
    touch(p, e);
}

void producers_apply_marker(struct producers *p, const struct batch *b,
                            const struct control_marker *m, int64_t now_wall_ms,
                            struct producers_ended *ended)
{
    struct entry *e = find_or_add(p, m->producer_id);

    set_epoch(e, m->producer_epoch);
    set_timestamp(e, b->max_timestamp);
    e->flags &= (uint8_t)~WHOLE;
    e->coordinator_epoch = m->coordinator_epoch;
    end_txn(p, e, batch_last_offset(b), ended);
    e->written_s = seconds(now_wall_ms);
    touch(p, e);
    p->floor = batch_last_offset(b) + 1;
}

/* ---- forgetting -----------------------------------------------------------
 */

bool producers_expire(struct producers *p, int64_t now_wall_ms,
                      int64_t expiration_ms)
{
    uint32_t looked_at = p->count < EXPIRE_STEP ? p->count : EXPIRE_STEP;
    bool more = p->count > looked_at;

    for (uint32_t n = 0; n < looked_at; n++) {
        struct entry *e = &p->entries[p->oldest];

        if (now_wall_ms - (int64_t)e->written_s * 1000 < expiration_ms) {
            more = false;
            break;
        }
        if (e->txn_first_offset >= 0)
            touch(p, e); /* out of the way, until its transaction ends */
        else
            forget(p, e);
    }
    shrink(p);
    return more;
}

/* Takes the first n batches off. */
static void unremember(struct entry *e, int n)
{
    e->count = (uint8_t)(e->count - n);
    memmove(&e->batches[0], &e->batches[n], e->count * sizeof e->batches[0]);
    memmove(&e->age_ms[0], &e->age_ms[n], e->count * sizeof e->age_ms[0]);
    set_timestamp(e, minus(e->timestamp, e->age_ms[0]));
}

static bool truncate_entry(struct producers *p, struct entry *e,
                           int64_t end_offset)
{
    int n = 0;

    while (n < e->count && e->batches[n].last_offset >= end_offset)
        n++;
    if (e->txn_first_offset >= end_offset)
        e->txn_first_offset = -1;
    if (n == 0)
        return true;
    if (n < e->count)
        unremember(e, n);
    else if ((e->flags & WHOLE) != 0)
        forget(p, e);
    else
        return false;
    return true;
}

bool producers_truncate(struct producers *p, int64_t end_offset)
{
    if (p->floor > end_offset)
        return false;
    for (uint32_t i = 0; i < p->used; i++)
        if (p->entries[i].producer_id >= 0 &&
            !truncate_entry(p, &p->entries[i], end_offset))
            return false;
    p->txns_len = txn_at(p, end_offset); /* all open, see floor */
    shrink(p);
    return true;
}

void producers_set_floor(struct producers *p, int64_t offset)
{
    p->floor = offset;
}

/* ---- in and out ------------------------------------------------------------
 */

/* A record's own time says little about when its producer was last alive. */
static int64_t timestamp_of(const struct entry *e)
{
    int64_t written_ms = (int64_t)e->written_s * 1000;

    return (e->flags & APPEND_TIME) != 0 || e->timestamp > written_ms
               ? e->timestamp
               : written_ms;
}

static struct producer describe(const struct entry *e)
{
    return (struct producer){
        .producer_id = e->producer_id,
        .epoch = e->epoch,
        .last_sequence = e->count != 0 ? e->batches[0].last_sequence : -1,
        .last_offset = e->count != 0 ? e->batches[0].last_offset : -1,
        .offset_delta = e->count != 0 ? e->batches[0].offset_delta : 0,
        .timestamp = timestamp_of(e),
        .coordinator_epoch = e->coordinator_epoch,
        .txn_first_offset = e->txn_first_offset,
    };
}

bool producers_get(const struct producers *p, int64_t producer_id,
                   struct producer *found)
{
    const struct entry *e = p == NULL ? NULL : find(p, producer_id);

    if (e != NULL)
        *found = describe(e);
    return e != NULL;
}

int64_t producers_next(const struct producers *p, int64_t at,
                       struct producer *found)
{
    if (p == NULL || p->count == 0)
        return PRODUCERS_END;
    uint32_t i = at == 0 ? p->oldest : (uint32_t)(at - 1);
    if (i == none)
        return PRODUCERS_END;
    *found = describe(&p->entries[i]);
    return (int64_t)p->entries[i].younger + 1;
}

void producers_restore(struct producers *p, const struct producer *from,
                       int64_t now_wall_ms)
{
    struct entry *e = find(p, from->producer_id);

    ASSERT(from->producer_id >= 0);
    if (e != NULL)
        forget(p, e);
    e = add(p, from->producer_id);
    e->epoch = from->epoch;
    e->timestamp = from->timestamp;
    e->written_s =
        seconds(from->timestamp < now_wall_ms ? from->timestamp : now_wall_ms);
    e->coordinator_epoch = from->coordinator_epoch;
    e->txn_first_offset = from->txn_first_offset;
    if (e->txn_first_offset >= 0)
        txn_begin(p, e->producer_id, e->txn_first_offset);
    if (from->last_offset >= 0)
        remember(e, (struct remembered){.last_offset = from->last_offset,
                                        .last_sequence = from->last_sequence,
                                        .offset_delta = from->offset_delta});
}
