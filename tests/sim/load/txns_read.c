/* A reader of committed records: one fetch at a time for each partition, what
 * was aborted left out as clients do it (KIP-98: the answer lists producers and
 * where their aborted transactions began; a marker ends each). */
#include "tests/sim/load/txns_parts.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    RETRY_MS = 50,
    FETCH_FLOOR = 4, /* isolation levels */
    FETCH_CAP = 12,  /* by name */
    LIST_FLOOR = 2,  /* likewise */
    READ_COMMITTED = 1,
    TIME_LATEST = -1,
};

struct txn_feed {
    struct txns_reader *reader;
    int32_t partition;
    int64_t offset;
    bool busy;
    int64_t next_ms;
    /* The final reader: */
    int64_t end;    /* of all that is committed; -1: not known */
    int64_t stable; /* the last stable offset, as last told */
};

struct txns_reader {
    struct load_txns *owner;
    int number;
    struct load_client *client;
    struct codec *codec;
    struct buf scratch;
    struct txn_feed *feeds;
    int group; /* of which client is asked next */
    int32_t coordinator;
    bool asking;
    int64_t ask_at_ms;
    char why[160];
};

static bool is_final(const struct txns_reader *r)
{
    return r->number == TXN_HISTORY_FINAL;
}

struct txns_reader *txns_reader_of(struct load_txns *t, int number)
{
    struct txns_reader *r = xcalloc(1, sizeof *r);

    r->owner = t;
    r->number = number;
    r->client = load_client_new(t->env, prng_next(&t->prng), &t->client);
    r->codec = codec_new();
    r->coordinator = -1;
    r->feeds = xcalloc((size_t)t->options.partitions, sizeof *r->feeds);
    for (int32_t p = 0; p < t->options.partitions; p++)
        r->feeds[p] = (struct txn_feed){
            .reader = r, .partition = p, .end = -1, .stable = -1};
    load_client_look(r->client);
    return r;
}

void txns_reader_free(struct txns_reader *r)
{
    load_client_free(r->client);
    codec_free(r->codec);
    buf_free(&r->scratch);
    free(r->feeds);
    free(r);
}

static int64_t now(const struct txns_reader *r)
{
    return env_now_ms(r->owner->env);
}

static void later(struct txn_feed *f)
{
    f->next_ms = now(f->reader) + RETRY_MS;
    load_client_look(f->reader->client);
}

/* ---- records ------------------------------------------------------------- */

/* Producers whose batches from here on were aborted. */
struct aborting {
    const struct fetch_response_aborted_transaction *list;
    int32_t len;
    int64_t *producers;
    int32_t producers_len;
};

static bool is_aborted(const struct aborting *a, int64_t producer)
{
    for (int32_t i = 0; i < a->producers_len; i++)
        if (a->producers[i] == producer)
            return true;
    return false;
}

static void forget(struct aborting *a, int64_t producer)
{
    for (int32_t i = 0; i < a->producers_len; i++)
        if (a->producers[i] == producer)
            a->producers[i--] = a->producers[--a->producers_len];
}

/* All that began at or before the batch's last offset. */
static void learn(struct aborting *a, bool *taken, const struct batch *b)
{
    for (int32_t i = 0; i < a->len; i++)
        if (!taken[i] && a->list[i].first_offset <= batch_last_offset(b)) {
            taken[i] = true;
            a->producers[a->producers_len++] = a->list[i].producer_id;
        }
}

static void take_records(struct txn_feed *f, struct record_reader *in)
{
    struct load_txns *t = f->reader->owner;
    struct record record;

    while (record_next(in, &record)) {
        struct txn_history_id id;

        if (record.offset < f->offset)
            continue;
        if (txn_history_parse(record.value, &id))
            txn_history_read(t->txns, f->reader->number, f->partition,
                             record.offset, id);
        else
            history_violation(t->history, "corrupt",
                              "the record at offset %lld of %s-%d is nobody's",
                              (long long)record.offset, t->topic, f->partition);
    }
}

static void take_batch(struct txn_feed *f, struct slice whole,
                       const struct batch *b, struct aborting *a)
{
    struct txns_reader *r = f->reader;
    struct record_reader in;

    if (b->attributes & BATCH_CONTROL)
        forget(a, b->producer_id);
    else if (!((b->attributes & BATCH_TRANSACTIONAL) &&
               is_aborted(a, b->producer_id)) &&
             record_open(&in, r->codec, whole, b, CODEC_LIMIT_BYTES,
                         &r->scratch) == ERR_NONE)
        take_records(f, &in);
    if (f->offset <= batch_last_offset(b))
        f->offset = batch_last_offset(b) + 1;
}

static void take(struct txn_feed *f,
                 const struct fetch_response_partition_data *d)
{
    int32_t len =
        d->aborted_transactions_len > 0 ? d->aborted_transactions_len : 0;
    struct aborting a = {d->aborted_transactions, len,
                         xcalloc((size_t)len + 1, sizeof(int64_t)), 0};
    bool *taken = xcalloc((size_t)len + 1, sizeof *taken);
    struct slice bytes = d->records.bytes;
    struct batch b;

    while (bytes.len != 0 && batch_parse(bytes, &b) == ERR_NONE) {
        struct slice whole = slice_of(bytes.data, b.size_bytes);

        if (!batch_crc_ok(whole, &b)) {
            history_violation(f->reader->owner->history, "corrupt",
                              "what was fetched at offset %lld of %s-%d is no "
                              "batch",
                              (long long)f->offset, f->reader->owner->topic,
                              f->partition);
            break;
        }
        learn(&a, taken, &b);
        take_batch(f, whole, &b, &a);
        bytes = slice_of(bytes.data + b.size_bytes, bytes.len - b.size_bytes);
    }
    f->stable = d->last_stable_offset;
    free(a.producers);
    free(taken);
}

static void fetched(void *arg, enum err error, const void *response)
{
    struct txn_feed *f = arg;
    const struct fetch_response *a = response;

    f->busy = false;
    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (error == ERR_NONE &&
        (a->responses_len != 1 || a->responses[0].partitions_len != 1))
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->responses[0].partitions[0].error_code;
    if (error != ERR_NONE) {
        later(f);
        return;
    }
    take(f, &a->responses[0].partitions[0]);
    f->next_ms = now(f->reader);
}

static void fetch(struct txn_feed *f, int32_t node, int32_t epoch)
{
    struct load_txns *t = f->reader->owner;
    struct fetch_request_partition partition;
    struct fetch_request_topic topic;
    struct fetch_request q;

    fetch_request_init(&q);
    fetch_request_topic_init(&topic);
    fetch_request_partition_init(&partition);
    partition.partition = f->partition;
    partition.fetch_offset = f->offset;
    partition.current_leader_epoch = epoch;
    partition.partition_max_bytes = 4096;
    topic.topic = slice_str(t->topic);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    q.topics = &topic;
    q.topics_len = 1;
    q.max_wait_ms = 100;
    q.min_bytes = 1;
    q.max_bytes = 1 << 20;
    q.isolation_level = READ_COMMITTED;
    f->busy = true;
    load_client_call(f->reader->client, node, API_FETCH,
                     load_client_version(f->reader->client, API_FETCH,
                                         FETCH_FLOOR, FETCH_CAP),
                     &q, 0, fetched, f);
}

/* ---- the end ------------------------------------------------------------- */

static void listed(void *arg, enum err error, const void *response)
{
    struct txn_feed *f = arg;
    const struct list_offsets_response *a = response;

    f->busy = false;
    if (error == ERR_NONE &&
        (a->topics_len != 1 || a->topics[0].partitions_len != 1))
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->topics[0].partitions[0].error_code;
    if (error == ERR_NONE)
        f->end = a->topics[0].partitions[0].offset;
    else
        later(f);
}

static void list(struct txn_feed *f, int32_t node, int32_t epoch)
{
    struct list_offsets_request_partition partition;
    struct list_offsets_request_topic topic;
    struct list_offsets_request q;

    list_offsets_request_init(&q);
    list_offsets_request_topic_init(&topic);
    list_offsets_request_partition_init(&partition);
    partition.partition_index = f->partition;
    partition.current_leader_epoch = epoch;
    partition.timestamp = TIME_LATEST;
    topic.name = slice_str(f->reader->owner->topic);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    q.replica_id = -1;
    q.topics = &topic;
    q.topics_len = 1;
    f->busy = true;
    load_client_call(f->reader->client, node, API_LIST_OFFSETS,
                     load_client_version(f->reader->client, API_LIST_OFFSETS,
                                         LIST_FLOOR, INT16_MAX),
                     &q, 0, listed, f);
}

static bool is_read(const struct txn_feed *f)
{
    return f->end >= 0 && f->offset >= f->end;
}

static void feed_tick(struct txn_feed *f)
{
    struct txns_reader *r = f->reader;
    int32_t epoch;

    if (f->busy || now(r) < f->next_ms || (is_final(r) && is_read(f)))
        return;
    int32_t node = load_client_leader(r->client, slice_str(r->owner->topic),
                                      UUID_ZERO, f->partition, &epoch);
    if (node < 0) {
        later(f);
        return;
    }
    if (is_final(r) && f->end < 0)
        list(f, node, epoch);
    else
        fetch(f, node, epoch);
}

/* ---- offsets of groups --------------------------------------------------- */

static void group_failed(struct txns_reader *r)
{
    r->asking = false;
    r->coordinator = -1;
    r->ask_at_ms = now(r) + RETRY_MS;
    load_client_look(r->client);
}

static void found(void *arg, enum err error, const void *response)
{
    struct txns_reader *r = arg;
    const struct find_coordinator_response *a = response;

    if (error != ERR_NONE || a->error_code != ERR_NONE) {
        group_failed(r);
        return;
    }
    r->asking = false;
    r->coordinator = a->node_id;
}

static void offset_told(void *arg, enum err error, const void *response)
{
    struct txns_reader *r = arg;
    const struct offset_fetch_response *a = response;

    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (error == ERR_NONE &&
        (a->topics_len != 1 || a->topics[0].partitions_len != 1))
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->topics[0].partitions[0].error_code;
    if (error != ERR_NONE) {
        snprintf(r->why, sizeof r->why, "OffsetFetch of client %d: %s",
                 r->group, err_text(error));
        group_failed(r);
        return;
    }
    r->asking = false;
    r->coordinator = -1;
    txn_history_judge_offset(r->owner->txns, r->group++,
                             a->topics[0].partitions[0].committed_offset);
}

static void ask_offset(struct txns_reader *r)
{
    struct slice group =
        slice_str(txns_client_group(r->owner->clients[r->group]));
    struct offset_fetch_request_topic topic;
    struct find_coordinator_request find;
    struct offset_fetch_request q;
    int32_t partition = 0;

    r->asking = true;
    if (r->coordinator < 0) {
        find_coordinator_request_init(&find);
        find.key = group;
        load_client_call(r->client, LOAD_ANY_NODE, API_FIND_COORDINATOR, 1,
                         &find, 0, found, r);
        return;
    }
    offset_fetch_request_init(&q);
    offset_fetch_request_topic_init(&topic);
    topic.name = slice_str(r->owner->topic);
    topic.partition_indexes = &partition;
    topic.partition_indexes_len = 1;
    q.group_id = group;
    q.topics = &topic;
    q.topics_len = 1;
    q.require_stable = true;
    load_client_call(r->client, r->coordinator, API_OFFSET_FETCH, 7, &q, 0,
                     offset_told, r);
}

/* ---- time ---------------------------------------------------------------- */

static bool all_read(const struct txns_reader *r)
{
    for (int32_t p = 0; p < r->owner->options.partitions; p++)
        if (!is_read(&r->feeds[p]))
            return false;
    return true;
}

static bool offsets_wanted(const struct txns_reader *r)
{
    return r->owner->options.offsets && r->group < r->owner->options.clients;
}

void txns_reader_tick(struct txns_reader *r)
{
    bool read = is_final(r) && all_read(r);

    for (int32_t p = 0; p < r->owner->options.partitions; p++)
        feed_tick(&r->feeds[p]);
    if (!is_final(r) || !all_read(r))
        return;
    if (!read)
        txn_history_judge(r->owner->txns);
    if (offsets_wanted(r) && !r->asking && now(r) >= r->ask_at_ms)
        ask_offset(r);
}

bool txns_reader_is_done(const struct txns_reader *r)
{
    return all_read(r) && !offsets_wanted(r);
}

const char *txns_reader_missing(struct txns_reader *r)
{
    for (int32_t p = 0; p < r->owner->options.partitions; p++) {
        const struct txn_feed *f = &r->feeds[p];

        if (is_read(f))
            continue;
        snprintf(r->why, sizeof r->why,
                 "%s-%d was read to %lld of %lld; its last stable offset is "
                 "%lld",
                 r->owner->topic, p, (long long)f->offset, (long long)f->end,
                 (long long)f->stable);
        break;
    }
    return r->why;
}
