#include "tests/sim/load/share_history.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

static const uint8_t magic[4] = {'S', 'H', 'A', 'R'};

enum { SUSPICIONS_MAX = 64 };

/* Something that was stored for sure, and who said so. */
struct stored {
    bool is;
    uint64_t at; /* tick of the answer */
    int32_t node;
    int32_t epoch;
};

/* A fetch that a member has given up, by a connection that it has closed, may
 * still be carried out: that of each of so many members. */
enum { MISSED_LATE = 2 };

/* Who has a record and is sure of it. */
struct hold {
    bool is;
    int client;
    uint64_t session;
    int32_t node;
    int32_t epoch;
    uint64_t since;   /* tick of the answer */
    int64_t until_ms; /* inclusive */
};

struct record {
    bool known; /* id is */
    struct share_history_id id;
    bool produced;    /* acknowledged */
    uint64_t sending; /* how many fetches had been missed for good when it was
                         sent */
    int deliveries;   /* most that were seen */
    int asked;        /* how often accepting or rejecting it was asked for, and
                         not refused */
    struct stored done;
    struct stored counted; /* so many deliveries: */
    int count;
    struct hold hold;
};

struct partition {
    struct record *records; /* by offset */
    int64_t len;
    int64_t cap;
    int64_t end;
    uint64_t missed;
};

/* A record that somebody was given while the client had it. */
struct suspicion {
    int client;
    uint64_t session;
    int32_t node;
    int32_t epoch;
    int32_t partition;
    uint64_t at;
    char sentence[240];
};

struct share_history {
    struct history *h;
    int limit;
    bool unclean_possible;
    uint64_t tick;
    struct partition partitions[SHARE_HISTORY_PARTITIONS_MAX];
    struct suspicion suspicions[SUSPICIONS_MAX];
    int suspicions_len;
    struct share_history_counts counts;
};

struct share_history *share_history_new(struct history *h, int limit,
                                        bool unclean_possible)
{
    struct share_history *s = xcalloc(1, sizeof *s);

    s->h = h;
    s->limit = limit;
    s->unclean_possible = unclean_possible;
    return s;
}

void share_history_free(struct share_history *s)
{
    for (int p = 0; p < SHARE_HISTORY_PARTITIONS_MAX; p++)
        free(s->partitions[p].records);
    free(s);
}

uint64_t share_history_now(const struct share_history *s) { return s->tick; }

const struct share_history_counts *
share_history_counts(const struct share_history *s)
{
    return &s->counts;
}

/* ---- records ------------------------------------------------------------- */

void share_history_put(struct buf *out, struct share_history_id id)
{
    buf_put(out, magic, sizeof magic);
    buf_put_u32(out, (uint32_t)id.producer);
    buf_put_u64(out, (uint64_t)id.number);
}

bool share_history_parse(struct slice value, struct share_history_id *id)
{
    struct reader r = reader_of(value);

    if (!slice_eq(read_bytes(&r, sizeof magic), slice_of(magic, sizeof magic)))
        return false;
    id->producer = read_i32(&r);
    id->number = read_i64(&r);
    return !r.bad && reader_left(&r) == 0;
}

static struct record *record_at(struct share_history *s, int32_t partition,
                                int64_t offset)
{
    struct partition *p = &s->partitions[partition];

    if (offset >= p->cap) {
        int64_t cap = p->cap != 0 ? p->cap : 64;

        while (cap <= offset)
            cap *= 2;
        p->records = xrealloc(p->records, (size_t)cap * sizeof *p->records);
        p->cap = cap;
    }
    for (; p->len <= offset; p->len++)
        p->records[p->len] = (struct record){0};
    return &p->records[offset];
}

static void know(struct share_history *s, int32_t partition, int64_t offset,
                 struct share_history_id id)
{
    struct record *r = record_at(s, partition, offset);

    if (r->known &&
        (r->id.producer != id.producer || r->id.number != id.number) &&
        !s->unclean_possible)
        history_violation(s->h, "share-changed",
                          "offset %lld of share partition %d holds record "
                          "%d/%lld, and held %d/%lld before",
                          (long long)offset, partition, id.producer,
                          (long long)id.number, r->id.producer,
                          (long long)r->id.number);
    r->known = true;
    r->id = id;
}

uint64_t share_history_sending(struct share_history *s, int32_t partition)
{
    s->tick++;
    uint64_t missed = s->partitions[partition].missed;

    return missed > MISSED_LATE ? missed - MISSED_LATE : 0;
}

void share_history_produced(struct share_history *s, int32_t partition,
                            int64_t offset, struct share_history_id id,
                            int32_t count, uint64_t sending)
{
    history_note(s->h, "share %d: %d/%lld to %lld at %lld", partition,
                 id.producer, (long long)id.number,
                 (long long)id.number + count - 1, (long long)offset);
    s->tick++;
    for (int32_t i = 0; i < count; i++, id.number++) {
        know(s, partition, offset + i, id);
        struct record *r = record_at(s, partition, offset + i);
        r->produced = true;
        r->sending = sending;
        s->counts.produced++;
    }
    if (s->partitions[partition].end < offset + count)
        s->partitions[partition].end = offset + count;
}

int64_t share_history_end(const struct share_history *s, int32_t partition)
{
    return s->partitions[partition].end;
}

/* ---- what clients are given ---------------------------------------------- */

/* Whether the node must have known it when it answered the request. */
static bool must_know(const struct share_history_ask *ask, int32_t epoch,
                      const struct stored *what)
{
    return what->is && ask->sent >= what->at &&
           (ask->node == what->node ||
            (epoch >= 0 && what->epoch >= 0 && epoch >= what->epoch));
}

static void judge_stored(struct share_history *s,
                         const struct share_history_ask *ask,
                         const struct share_history_got *got,
                         const struct record *r)
{
    if (must_know(ask, got->epoch, &r->done))
        history_violation(
            s->h, "share-again",
            "node %d (epoch %d) gave offset %lld of share partition %d to "
            "client %d, delivery %d, which node %d (epoch %d) had acknowledged "
            "as done",
            ask->node, got->epoch, (long long)got->offset, got->partition,
            ask->client, got->deliveries, r->done.node, r->done.epoch);
    if (got->deliveries > s->limit || got->deliveries < 1)
        history_violation(s->h, "share-count",
                          "offset %lld of share partition %d was given to "
                          "client %d as delivery %d; the limit is %d",
                          (long long)got->offset, got->partition, ask->client,
                          got->deliveries, s->limit);
    if (must_know(ask, got->epoch, &r->counted) && got->deliveries <= r->count)
        history_violation(
            s->h, "share-count",
            "node %d (epoch %d) gave offset %lld of share partition %d to "
            "client %d as delivery %d, though node %d (epoch %d) had stored "
            "that there were %d",
            ask->node, got->epoch, (long long)got->offset, got->partition,
            ask->client, got->deliveries, r->counted.node, r->counted.epoch,
            r->count);
}

static void suspect(struct share_history *s,
                    const struct share_history_ask *ask,
                    const struct share_history_got *got, const struct hold *h)
{
    if (s->suspicions_len == SUSPICIONS_MAX)
        memmove(s->suspicions, s->suspicions + 1,
                (size_t)--s->suspicions_len * sizeof *s->suspicions);
    struct suspicion *to = &s->suspicions[s->suspicions_len++];
    *to = (struct suspicion){.client = h->client,
                             .session = h->session,
                             .node = h->node,
                             .epoch = h->epoch,
                             .partition = got->partition,
                             .at = s->tick};
    s->counts.suspected++;
    snprintf(to->sentence, sizeof to->sentence,
             "node %d (epoch %d) gave offset %lld of share partition %d to "
             "client %d while client %d had it for %lld ms more",
             ask->node, got->epoch, (long long)got->offset, got->partition,
             ask->client, h->client,
             (long long)(h->until_ms - got->answered_ms));
    history_note(s->h, "share suspicion: %s", to->sentence);
}

static void judge_hold(struct share_history *s,
                       const struct share_history_ask *ask,
                       const struct share_history_got *got,
                       const struct hold *h)
{
    if (h->is && h->node == ask->node && h->epoch >= 0 &&
        h->epoch == got->epoch && ask->sent >= h->since &&
        got->answered_ms <= h->until_ms)
        suspect(s, ask, got, h);
}

/* Clocks of nodes may be off by a few percent. */
static int64_t sure_until(int64_t sent_ms, int64_t lock_ms)
{
    return sent_ms + lock_ms - lock_ms / 20 - 20;
}

void share_history_acquired(struct share_history *s,
                            const struct share_history_ask *ask,
                            const struct share_history_got *got)
{
    struct record *r = record_at(s, got->partition, got->offset);

    history_note(s->h,
                 "share %d: client %d has %lld as delivery %d from %d (epoch "
                 "%d)",
                 got->partition, ask->client, (long long)got->offset,
                 got->deliveries, ask->node, got->epoch);
    s->tick++;
    s->counts.acquired++;
    know(s, got->partition, got->offset, got->id);
    if (!s->unclean_possible) {
        judge_stored(s, ask, got, r);
        judge_hold(s, ask, got, &r->hold);
    }
    if (r->deliveries < got->deliveries)
        r->deliveries = got->deliveries;
    r->hold = (struct hold){.is = true,
                            .client = ask->client,
                            .session = ask->session,
                            .node = ask->node,
                            .epoch = got->epoch,
                            .since = s->tick,
                            .until_ms = sure_until(ask->sent_ms, got->lock_ms)};
}

void share_history_missed(struct share_history *s, int32_t partition)
{
    s->tick++;
    s->counts.missed++;
    s->partitions[partition].missed++;
}

static void drop_suspicion(struct share_history *s, int i)
{
    s->suspicions_len--;
    memmove(s->suspicions + i, s->suspicions + i + 1,
            (size_t)(s->suspicions_len - i) * sizeof *s->suspicions);
}

void share_history_alive(struct share_history *s,
                         const struct share_history_ask *ask, int32_t partition,
                         int32_t epoch)
{
    s->tick++;
    for (int i = 0; i < s->suspicions_len;) {
        const struct suspicion *at = &s->suspicions[i];

        if (at->client != ask->client || at->session != ask->session ||
            at->partition != partition || ask->sent < at->at) {
            i++;
            continue;
        }
        if (epoch >= 0 && epoch == at->epoch)
            history_violation(s->h, "share-two", "%s", at->sentence);
        drop_suspicion(s, i);
    }
}

void share_history_left(struct share_history *s, int client, uint64_t session)
{
    s->tick++;
    for (int i = s->suspicions_len; i-- > 0;)
        if (s->suspicions[i].client == client &&
            s->suspicions[i].session == session)
            drop_suspicion(s, i);
    for (int p = 0; p < SHARE_HISTORY_PARTITIONS_MAX; p++)
        for (int64_t o = 0; o < s->partitions[p].len; o++) {
            struct hold *h = &s->partitions[p].records[o].hold;

            if (h->client == client && h->session == session)
                h->is = false;
        }
}

/* ---- what clients say ---------------------------------------------------- */

static bool is_end(enum share_history_type type)
{
    return type == SHARE_HISTORY_ACCEPT || type == SHARE_HISTORY_REJECT;
}

void share_history_says(struct share_history *s, int client,
                        const struct share_history_ack *ack)
{
    struct record *r = record_at(s, ack->partition, ack->offset);

    s->tick++;
    if (is_end(ack->type))
        r->asked++;
    if (r->hold.client == client && ack->type != SHARE_HISTORY_RENEW)
        r->hold.is = false;
}

static void note_stored(struct stored *what, uint64_t tick,
                        const struct share_history_ask *ask, int32_t epoch)
{
    *what = (struct stored){true, tick, ask->node, epoch};
}

/* Below the group's start everything is acknowledged, also what a lock that was
 * over has archived there and nobody has stored yet: so only who has a record
 * until it is answered has stored something for sure. */
static bool had_it(const struct share_history_ask *ask,
                   const struct share_history_ack *ack, const struct hold *h)
{
    return h->client == ask->client && h->session == ask->session &&
           ack->answered_ms <= h->until_ms;
}

static void acknowledged(struct share_history *s,
                         const struct share_history_ask *ask,
                         const struct share_history_ack *ack, struct record *r)
{
    switch (ack->type) {
    case SHARE_HISTORY_ACCEPT:
    case SHARE_HISTORY_REJECT:
        if (!r->done.is && had_it(ask, ack, &r->hold))
            note_stored(&r->done, s->tick, ask, ack->epoch);
        *(ack->type == SHARE_HISTORY_ACCEPT ? &s->counts.accepted
                                            : &s->counts.rejected) += 1;
        break;
    case SHARE_HISTORY_RELEASE:
        s->counts.released++;
        if (ack->deliveries > r->count && had_it(ask, ack, &r->hold)) {
            r->count = ack->deliveries;
            note_stored(&r->counted, s->tick, ask, ack->epoch);
        }
        break;
    case SHARE_HISTORY_RENEW:
        if (r->hold.is && r->hold.session == ask->session)
            r->hold.until_ms = sure_until(ask->sent_ms, ack->lock_ms);
        break;
    }
}

void share_history_said(struct share_history *s,
                        const struct share_history_ask *ask,
                        const struct share_history_ack *ack,
                        enum history_outcome outcome)
{
    static const char *const outcomes[] = {"done", "refused", "unknown"};
    struct record *r = record_at(s, ack->partition, ack->offset);

    history_note(s->h, "share %d: client %d says %d of %lld: %s",
                 ack->partition, ask->client, ack->type, (long long)ack->offset,
                 outcomes[outcome]);
    s->tick++;
    if (outcome == HISTORY_ACKED)
        acknowledged(s, ask, ack, r);
    else if (r->hold.client == ask->client)
        r->hold.is = false;
    if (outcome == HISTORY_REFUSED) {
        s->counts.refused++;
        r->asked -= is_end(ack->type);
    }
}

/* ---- the end ------------------------------------------------------------- */

static void judge_record(struct share_history *s, int32_t partition,
                         int64_t offset, const struct record *r)
{
    uint64_t missed = s->partitions[partition].missed - r->sending;

    if (!r->produced || r->asked > 0 ||
        (uint64_t)r->deliveries + missed >= (uint64_t)s->limit)
        return;
    history_violation(s->h, "share-lost",
                      "offset %lld of share partition %d (record %d/%lld) was "
                      "accepted or rejected by nobody, and is not to be had: "
                      "at most %d deliveries were seen, %llu fetches were not "
                      "answered, and the limit is %d",
                      (long long)offset, partition, r->id.producer,
                      (long long)r->id.number, r->deliveries,
                      (unsigned long long)missed, s->limit);
}

void share_history_judge(struct share_history *s)
{
    const struct share_history_counts *c = &s->counts;

    history_note(
        s->h,
        "share group: %llu produced, %llu acquired, %llu accepted, "
        "%llu released, %llu rejected, %llu refused, %llu missed, "
        "%llu suspected",
        (unsigned long long)c->produced, (unsigned long long)c->acquired,
        (unsigned long long)c->accepted, (unsigned long long)c->released,
        (unsigned long long)c->rejected, (unsigned long long)c->refused,
        (unsigned long long)c->missed, (unsigned long long)c->suspected);
    if (s->unclean_possible)
        return;
    for (int32_t p = 0; p < SHARE_HISTORY_PARTITIONS_MAX; p++)
        for (int64_t o = 0; o < s->partitions[p].len; o++)
            judge_record(s, p, o, &s->partitions[p].records[o]);
}
