#include "tests/sim/load/txn_history.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t magic[4] = {'T', 'X', 'N', 'S'};

enum { PARTITIONS_MAX = 16 };

enum outcome { OPEN, COMMITTED, ABORTED };

struct txn {
    int records;
    bool has_offset;
    bool commits;
    enum outcome outcome;
    int seen; /* by the final reader */
};

struct client {
    struct txn *txns;
    int32_t len;
    int32_t cap;
};

/* How far a reader is, for one client and partition. */
struct place {
    int32_t txn;
    int32_t index;
};

struct reader_view {
    struct place **places; /* by client, PARTITIONS_MAX each */
    int len;
};

struct txn_history {
    struct history *h;
    bool unclean_possible;
    struct client *clients;
    int clients_len;
    struct reader_view *readers;
    int readers_len;
    struct txn_history_counts counts;
};

struct txn_history *txn_history_new(struct history *h, bool unclean_possible)
{
    struct txn_history *t = xcalloc(1, sizeof *t);

    t->h = h;
    t->unclean_possible = unclean_possible;
    return t;
}

void txn_history_free(struct txn_history *t)
{
    for (int i = 0; i < t->clients_len; i++)
        free(t->clients[i].txns);
    for (int i = 0; i < t->readers_len; i++) {
        for (int k = 0; k < t->readers[i].len; k++)
            free(t->readers[i].places[k]);
        free(t->readers[i].places);
    }
    free(t->clients);
    free(t->readers);
    free(t);
}

const struct txn_history_counts *txn_history_counts(const struct txn_history *t)
{
    return &t->counts;
}

/* ---- writing ------------------------------------------------------------- */

int32_t txn_history_begin(struct txn_history *t, int client)
{
    if (client >= t->clients_len) {
        t->clients =
            xrealloc(t->clients, (size_t)(client + 1) * sizeof *t->clients);
        while (t->clients_len <= client)
            t->clients[t->clients_len++] = (struct client){0};
    }
    struct client *c = &t->clients[client];
    if (c->len == c->cap) {
        c->cap = c->cap != 0 ? c->cap * 2 : 64;
        c->txns = xrealloc(c->txns, (size_t)c->cap * sizeof *c->txns);
    }
    c->txns[c->len] = (struct txn){0};
    t->counts.begun++;
    history_note(t->h, "transaction %d/%d begins", client, c->len);
    return c->len++;
}

static struct txn *find(const struct txn_history *t, int client, int32_t txn)
{
    if (client < 0 || client >= t->clients_len || txn < 0 ||
        txn >= t->clients[client].len)
        return NULL;
    return &t->clients[client].txns[txn];
}

void txn_history_sent(struct txn_history *t, int client, int32_t txn,
                      int records)
{
    find(t, client, txn)->records += records;
}

void txn_history_offset(struct txn_history *t, int client, int32_t txn)
{
    find(t, client, txn)->has_offset = true;
}

void txn_history_gap(struct txn_history *t, int client, int32_t txn,
                     int32_t partition)
{
    if (!t->unclean_possible)
        history_violation(t->h, "txn-gap",
                          "a batch of transaction %d/%d for partition %d was "
                          "refused as out of order, and all before it were "
                          "acknowledged",
                          client, txn, partition);
}

void txn_history_commits(struct txn_history *t, int client, int32_t txn)
{
    history_note(t->h, "transaction %d/%d commits", client, txn);
    find(t, client, txn)->commits = true;
}

void txn_history_ended(struct txn_history *t, int client, int32_t txn,
                       bool committed)
{
    history_note(t->h, "transaction %d/%d is %s", client, txn,
                 committed ? "committed" : "aborted");
    find(t, client, txn)->outcome = committed ? COMMITTED : ABORTED;
    if (committed)
        t->counts.committed++;
    else
        t->counts.aborted++;
}

/* ---- records ------------------------------------------------------------- */

void txn_history_put(struct buf *out, struct txn_history_id id)
{
    buf_put(out, magic, sizeof magic);
    buf_put_u32(out, (uint32_t)id.client);
    buf_put_u32(out, (uint32_t)id.txn);
    buf_put_u32(out, (uint32_t)id.index);
}

bool txn_history_parse(struct slice value, struct txn_history_id *id)
{
    struct reader r = reader_of(value);

    if (!slice_eq(read_bytes(&r, sizeof magic), slice_of(magic, sizeof magic)))
        return false;
    id->client = read_i32(&r);
    id->txn = read_i32(&r);
    id->index = read_i32(&r);
    return !r.bad && reader_left(&r) == 0;
}

/* ---- reading ------------------------------------------------------------- */

static struct place *place_of(struct txn_history *t, int reader, int client,
                              int32_t partition)
{
    if (reader >= t->readers_len) {
        t->readers =
            xrealloc(t->readers, (size_t)(reader + 1) * sizeof *t->readers);
        while (t->readers_len <= reader)
            t->readers[t->readers_len++] = (struct reader_view){0};
    }
    struct reader_view *v = &t->readers[reader];
    if (client >= v->len) {
        v->places =
            xrealloc(v->places, (size_t)(client + 1) * sizeof(*v->places));
        while (v->len <= client) {
            struct place *places = xcalloc(PARTITIONS_MAX, sizeof *places);

            for (int i = 0; i < PARTITIONS_MAX; i++)
                places[i] = (struct place){-1, -1};
            v->places[v->len++] = places;
        }
    }
    return &v->places[client][partition];
}

void txn_history_read(struct txn_history *t, int reader, int32_t partition,
                      int64_t offset, struct txn_history_id id)
{
    struct txn *txn = find(t, id.client, id.txn);

    t->counts.read++;
    history_note(t->h, "txn read %d: %d %lld is %d/%d/%d", reader, partition,
                 (long long)offset, id.client, id.txn, id.index);
    if (t->unclean_possible || partition >= PARTITIONS_MAX)
        return;
    if (txn == NULL || id.index >= txn->records) {
        history_violation(t->h, "foreign",
                          "reader %d of transactions was shown record %d of "
                          "transaction %d/%d, which was never sent",
                          reader, id.index, id.client, id.txn);
        return;
    }
    if (!txn->commits || txn->outcome == ABORTED)
        history_violation(
            t->h, "aborted-read",
            "record %d of transaction %d/%d was read as committed at offset "
            "%lld of partition %d, but %s",
            id.index, id.client, id.txn, (long long)offset, partition,
            txn->outcome == ABORTED ? "it was aborted"
                                    : "nobody asked for its commit");
    struct place *at = place_of(t, reader, id.client, partition);
    if (id.txn < at->txn || (id.txn == at->txn && id.index <= at->index))
        history_violation(
            t->h, "txn-order",
            "record %d of transaction %d/%d stands at offset %lld of partition "
            "%d, behind record %d of transaction %d",
            id.index, id.client, id.txn, (long long)offset, partition,
            at->index, at->txn);
    *at = (struct place){id.txn, id.index};
    txn->seen += reader == TXN_HISTORY_FINAL;
}

/* ---- the end ------------------------------------------------------------- */

static void judge_txn(struct txn_history *t, int client, int32_t number)
{
    const struct txn *txn = find(t, client, number);

    if (txn->outcome == COMMITTED && txn->seen == 0)
        history_violation(t->h, "txn-lost",
                          "transaction %d/%d was committed, and none of its "
                          "%d records is there",
                          client, number, txn->records);
    else if (txn->seen != 0 && txn->seen != txn->records)
        history_violation(t->h, "torn",
                          "of transaction %d/%d %d of %d records are there",
                          client, number, txn->seen, txn->records);
}

void txn_history_judge(struct txn_history *t)
{
    if (t->unclean_possible)
        return;
    for (int c = 0; c < t->clients_len; c++)
        for (int32_t i = 0; i < t->clients[c].len; i++)
            judge_txn(t, c, i);
}

void txn_history_judge_offset(struct txn_history *t, int client, int64_t offset)
{
    int32_t last = client < t->clients_len ? t->clients[client].len : 0;

    history_note(t->h, "transactions' offset of %d is %lld", client,
                 (long long)offset);
    while (--last >= 0) {
        const struct txn *txn = find(t, client, last);

        if (txn->has_offset && txn->seen == txn->records)
            break;
    }
    if (offset != last && !t->unclean_possible)
        history_violation(t->h, "txn-offsets",
                          "the group's offset for client %d is %lld, and the "
                          "last that was committed %d",
                          client, (long long)offset, last);
}
