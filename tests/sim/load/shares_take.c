/* What becomes of the records that a member is given.  Of most it says soon
 * that they are accepted; of others something else, or something when it is too
 * late, or nothing: then their lock has to end by itself.  In the end it
 * accepts all that is new to it. */
#include "tests/sim/load/shares_parts.h"

#include <stdlib.h>

enum { SOON_MS = 200, SLACK_MS = 500 };

static int64_t now(const struct shares_member *m)
{
    return env_now_ms(m->owner->env);
}

/* ---- what is held -------------------------------------------------------- */

static void remove_at(struct shares_member *m, size_t i)
{
    m->held_len--;
    memmove(m->held + i, m->held + i + 1, (m->held_len - i) * sizeof *m->held);
}

static struct shares_held *hold(struct shares_member *m, int32_t partition,
                                int64_t offset)
{
    for (size_t i = m->held_len; i-- > 0;)
        if (m->held[i].partition == partition && m->held[i].offset == offset)
            remove_at(m, i);
    if (m->held_len == m->held_cap) {
        m->held_cap = m->held_cap != 0 ? m->held_cap * 2 : 64;
        m->held = xrealloc(m->held, m->held_cap * sizeof *m->held);
    }
    struct shares_held *h = &m->held[m->held_len++];
    *h = (struct shares_held){.partition = partition, .offset = offset};
    return h;
}

void shares_lose(struct shares_session *s)
{
    for (size_t i = s->member->held_len; i-- > 0;)
        if (s->member->held[i].session == s->number)
            remove_at(s->member, i);
}

void shares_expire(struct shares_member *m)
{
    for (size_t i = m->held_len; i-- > 0;)
        if (!m->held[i].sent && now(m) >= m->held[i].drop_ms)
            remove_at(m, i);
}

/* ---- what becomes of it -------------------------------------------------- */

static void decide(struct shares_member *m, struct shares_held *h,
                   int64_t lock_ms)
{
    int64_t soon = (int64_t)prng_below(m->prng, SOON_MS);
    uint64_t dice = prng_below(m->prng, 100);

    h->due_ms = now(m);
    h->drop_ms = now(m) + lock_ms + SLACK_MS;
    h->type = SHARE_HISTORY_ACCEPT;
    if (m->owner->stopped)
        return;
    if (dice < 60) {
        h->due_ms += soon;
    } else if (dice < 75) {
        h->type = SHARE_HISTORY_RELEASE;
        h->due_ms += soon;
    } else if (dice < 79) {
        h->type = SHARE_HISTORY_REJECT;
        h->due_ms += soon;
    } else if (dice < 85) {
        h->type = 0;
    } else if (dice < 89) {
        h->due_ms += lock_ms + soon; /* too late */
        h->drop_ms = h->due_ms + lock_ms;
    } else if (dice < 94) {
        h->type = SHARE_HISTORY_RENEW;
        h->due_ms += lock_ms / 2;
    } else {
        h->due_ms += lock_ms / 3 +
                     (int64_t)prng_below(m->prng, (uint64_t)lock_ms / 2 + 1);
    }
}

/* ---- what is given ------------------------------------------------------- */

static int deliveries_of(const struct share_fetch_response_partition_data *d,
                         int64_t offset)
{
    for (int32_t i = 0; i < d->acquired_records_len; i++)
        if (d->acquired_records[i].first_offset <= offset &&
            offset <= d->acquired_records[i].last_offset)
            return d->acquired_records[i].delivery_count;
    return -1;
}

static int64_t acquired_of(const struct share_fetch_response_partition_data *d)
{
    int64_t n = 0;

    for (int32_t i = 0; i < d->acquired_records_len; i++)
        n += d->acquired_records[i].last_offset -
             d->acquired_records[i].first_offset + 1;
    return n;
}

static void take_record(struct shares_session *s, int32_t partition,
                        const struct record *r, int deliveries)
{
    struct shares_member *m = s->member;
    struct share_history_got got = {.partition = partition,
                                    .offset = r->offset,
                                    .deliveries = deliveries,
                                    .epoch = s->view[partition],
                                    .answered_ms = now(m),
                                    .lock_ms = s->lock_ms};

    if (!share_history_parse(r->value, &got.id)) {
        history_violation(m->owner->history, "corrupt",
                          "the record at offset %lld of %s-%d is nobody's",
                          (long long)r->offset, m->owner->topic, partition);
        return;
    }
    share_history_acquired(m->owner->shares, &s->ask, &got);
    struct shares_held *h = hold(m, partition, r->offset);
    h->deliveries = deliveries;
    h->epoch = got.epoch;
    h->session = s->number;
    decide(m, h, s->lock_ms);
}

/* How many of those that were acquired are in the batch; -1: it is none. */
static int64_t take_batch(struct shares_session *s, struct slice whole,
                          const struct batch *b,
                          const struct share_fetch_response_partition_data *d)
{
    struct record_reader in;
    struct record r;
    int64_t n = 0;

    if (!batch_crc_ok(whole, b) ||
        record_open(&in, s->member->owner->codec, whole, b, CODEC_LIMIT_BYTES,
                    &s->member->scratch) != ERR_NONE)
        return -1;
    while (record_next(&in, &r)) {
        int deliveries = deliveries_of(d, r.offset);

        if (deliveries < 0)
            continue;
        take_record(s, d->partition_index, &r, deliveries);
        n++;
    }
    return n;
}

void shares_take(struct shares_session *s,
                 const struct share_fetch_response_partition_data *d)
{
    struct load_shares *owner = s->member->owner;
    struct slice bytes = d->records.bytes;
    int64_t got = 0, n = 0;
    struct batch b;

    if (d->partition_index >= SHARES_PARTITIONS_MAX)
        return;
    while (n >= 0 && bytes.len != 0 && batch_parse(bytes, &b) == ERR_NONE) {
        n = take_batch(s, slice_of(bytes.data, b.size_bytes), &b, d);
        got += n;
        bytes = slice_of(bytes.data + b.size_bytes, bytes.len - b.size_bytes);
    }
    if (n < 0)
        history_violation(owner->history, "corrupt",
                          "what share member %d got of %s-%d is no batch",
                          s->member->number, owner->topic, d->partition_index);
    else if (got != acquired_of(d))
        history_violation(owner->history, "share-hole",
                          "share member %d acquired %lld records of %s-%d from "
                          "offset %lld on, and %lld of them are in the answer",
                          s->member->number, (long long)acquired_of(d),
                          owner->topic, d->partition_index,
                          (long long)d->acquired_records[0].first_offset,
                          (long long)got);
}

/* ---- what was said ------------------------------------------------------- */

static void said(struct shares_session *s, size_t i,
                 enum history_outcome outcome)
{
    struct shares_member *m = s->member;
    struct shares_held *h = &m->held[i];
    struct share_history_ack ack = {.partition = h->partition,
                                    .offset = h->offset,
                                    .type = h->type,
                                    .deliveries = h->deliveries,
                                    .epoch = h->epoch,
                                    .lock_ms = s->lock_ms,
                                    .answered_ms = now(m)};

    share_history_said(m->owner->shares, &s->ask, &ack, outcome);
    if (h->type == SHARE_HISTORY_RENEW && outcome == HISTORY_ACKED) {
        h->sent = false;
        decide(m, h, s->lock_ms);
    } else {
        remove_at(m, i);
    }
}

void shares_said(struct shares_session *s, int32_t partition,
                 enum history_outcome outcome)
{
    for (size_t i = s->member->held_len; i-- > 0;)
        if (s->member->held[i].session == s->number &&
            s->member->held[i].sent &&
            s->member->held[i].partition == partition)
            said(s, i, outcome);
}

void shares_said_all(struct shares_session *s, enum history_outcome outcome)
{
    for (int32_t p = 0; p < SHARES_PARTITIONS_MAX; p++)
        shares_said(s, p, outcome);
}
