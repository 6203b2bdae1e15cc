/* Transactions in a small world: coordinators that are replaced without knowing
 * it over one replicated log, partitions, and producers, two to each
 * transactional id, that fence each other, retry, give up, and go on.  Messages
 * are late, lost, and come twice; commits lag; appends fail.  Whatever happens:
 *
 *   a transaction is decided once: no partition sees it committed and another
 *     aborted, and none sees it end twice differently
 *   there is no marker for what is not decided in the committed log
 *   a commit, or an abort, that was acknowledged is what partitions see
 *   a producer that was replaced never gets a yes
 *   once things are calm, everything prepared completes, and no partition has
 *     an open transaction
 *   a coordinator that loads the log knows what the one before it knew
 *
 * Producers are classic or bump epochs (KIP-890).  Only the latter may have
 * requests that come late or twice: the classic protocol cannot tell those from
 * the next transaction's.
 *
 * A seed that fails is replayed by running it alone: TXN_SEED=n. */
#include "broker/coord/txn/txn_shard.h"

#include "base/map.h"
#include "base/prng.h"
#include "proto/kafka/coordinator_record.h"
#include "proto/record/batch.h"
#include "proto/record/builder.h"
#include "proto/record/record.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

enum {
    IDS = 3,
    CLIENTS = 2 * IDS,
    PARTITIONS = 4,
    LIVES_MAX = 64,
    BATCHES_MAX = 20000,
    MESSAGES_MAX = 400,
    TXNS_MAX = 20000,
    PRODUCERS_MAX = 2000,
    STEPS = 6000,
    SEEDS = 40,
};

static const char *const id_names[IDS] = {"red", "green", "blue"};

/* ---- the world -----------------------------------------------------------*/

/* One transaction of one producer, as it sees it. */
struct tag {
    int id;
    enum { ACKED_NONE, ACKED_COMMIT, ACKED_ABORT } acked;
    enum { ENDED_NONE, ENDED_COMMIT, ENDED_ABORT } ended;
};

struct stored_batch {
    uint8_t *data;
    size_t len;
    int64_t base;
    int64_t end;
};

/* A coordinator: the true one, or one that does not know that it is not. */
struct life {
    struct txn_shard *shard; /* NULL: gone */
    int number;
    struct stored_batch batches[BATCHES_MAX]; /* its copy of the log */
    int batches_len;
    int64_t end_offset;
    int64_t high_watermark;
};

struct flying {
    bool used;
    int64_t due_ms;
    struct txn_marker *marker;
    int life; /* -1: whose coordinator is gone */
};

/* A request or an answer on its way. */
struct message {
    bool used;
    int64_t due_ms;
    int client;
    int session;
    int serial; /* of the client's requests */
    int life;
    enum api_key api;
    int16_t version;
    int16_t epoch;
    int64_t producer_id;
    int partition;
    bool commit;
    bool has_had;
    /* answer */
    bool is_answer;
    enum err err;
    int64_t new_id;
    int16_t new_epoch;
};

struct token {
    struct message request;
    bool answered;
};

/* What a partition knows of a producer id. */
struct producer {
    int64_t producer_id;
    int16_t epoch;
    int32_t coordinator_epoch;
    int open; /* tag + 1; 0: none */
};

enum phase { OUT, INITING, READY, ADDING, ENDING };

struct client {
    int id;
    bool bumps;
    enum phase phase;
    int session;
    int serial;
    int64_t producer_id; /* -1: none */
    int16_t epoch;
    int tag; /* -1: no transaction */
    bool commit;
    int adds_left;
    int partition;
    int64_t retry_ms;
    int tries;
};

static struct {
    struct prng prng;
    uint64_t seed;
    struct coord_time time;
    struct life lives[LIVES_MAX];
    int lives_len;
    int leader;        /* the true one */
    int64_t committed; /* of the true log, exclusive */
    int64_t next_id;
    struct flying flying[MESSAGES_MAX];
    struct message messages[MESSAGES_MAX];
    struct token tokens[60000];
    int tokens_len;
    struct producer producers[PARTITIONS][PRODUCERS_MAX];
    int producers_len[PARTITIONS];
    struct client clients[CLIENTS];
    struct tag tags[TXNS_MAX];
    int tags_len;
    int sessions;
    int owner[IDS]; /* session that the last InitProducerId was answered to */
    struct map decided; /* "id epoch result" in the committed log -> state */
    struct map last;    /* transactional id -> its last committed record's key
                           in `decided`, or "" */
    struct codec *codec;
    struct buf scratch;
    bool calm;
    int fail_over_one_in; /* steps */
    int commits, aborts, timeouts, fences, failovers, markers, orphans, renames;
} s;

static uint64_t chance(uint64_t bound) { return prng_below(&s.prng, bound); }

#define REQUIRE(condition, ...)                                                \
    cr_assert((condition), "seed %llu: " __VA_ARGS__)
#define SEED (unsigned long long)s.seed

/* ---- the committed log ---------------------------------------------------*/

static char *decision_key(int64_t producer_id, int epoch, bool commit)
{
    return xasprintf("%lld %d %d", (long long)producer_id, epoch, commit);
}

static void learn_record(const struct record *record)
{
    const struct coordinator_record *type;
    struct arena arena;
    void *key, *decoded;

    arena_init(&arena, 0);
    cr_assert_eq(coordinator_key_decode(&transaction_records, record->key,
                                        &arena, &type, &key),
                 ERR_NONE);
    struct slice id = ((struct transaction_log_key *)key)->transactional_id;
    char *now = NULL;
    if (!slice_is_null(record->value)) {
        cr_assert_eq(
            coordinator_value_decode(type, record->value, &arena, &decoded),
            ERR_NONE);
        const struct transaction_log_value *v = decoded;
        if (v->transaction_status == TXN_PREPARE_COMMIT ||
            v->transaction_status == TXN_PREPARE_ABORT) {
            now = decision_key(v->producer_id, v->producer_epoch,
                               v->transaction_status == TXN_PREPARE_COMMIT);
            map_put(&s.decided, slice_str(now), &s);
        }
    }
    free(map_put(&s.last, id, now != NULL ? now : xstrdup("")));
    arena_free(&arena);
}

static void learn_batch(const struct stored_batch *b)
{
    struct batch header;
    struct record_reader reader;
    struct record record;
    struct slice bytes = slice_of(b->data, b->len);

    cr_assert_eq(batch_parse(bytes, &header), ERR_NONE);
    cr_assert_eq(record_open(&reader, s.codec, bytes, &header,
                             CODEC_LIMIT_BYTES, &s.scratch),
                 ERR_NONE);
    while (record_next(&reader, &record))
        learn_record(&record);
}

/* Whole batches below `offset`. */
static void commit_to(struct life *l, int64_t offset)
{
    int64_t end = s.committed;

    for (int i = 0; i < l->batches_len; i++)
        if (l->batches[i].base >= s.committed && l->batches[i].end <= offset) {
            learn_batch(&l->batches[i]);
            end = l->batches[i].end;
        }
    s.committed = end;
    l->high_watermark = end;
    txn_shard_committed(l->shard, end, s.time);
}

/* ---- what the coordinators do --------------------------------------------*/

static void store(struct life *l, uint8_t *batch, size_t len,
                  int64_t *base_offset)
{
    struct batch header;

    cr_assert_lt(l->batches_len, BATCHES_MAX);
    cr_assert_eq(batch_parse(slice_of(batch, len), &header), ERR_NONE);
    batch_patch(batch, l->end_offset, l->number);
    struct stored_batch *b = &l->batches[l->batches_len++];
    *b = (struct stored_batch){xmemdup(batch, len), len, l->end_offset,
                               l->end_offset + header.last_offset_delta + 1};
    *base_offset = b->base;
    l->end_offset = b->end;
}

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    if (!s.calm && chance(30) == 0)
        return ERR_NOT_ENOUGH_REPLICAS;
    store(arg, batch, len, base_offset);
    return ERR_NONE;
}

static void post(struct message message)
{
    for (int i = 0; i < MESSAGES_MAX; i++)
        if (!s.messages[i].used) {
            message.used = true;
            message.due_ms = s.time.now_ms + (int64_t)chance(s.calm ? 10 : 200);
            s.messages[i] = message;
            return;
        }
    /* Too many under way: it is lost. */
}

/* A producer that was replaced never gets a yes. */
static void check_owner(const struct message *request, const struct life *l,
                        enum err err)
{
    int id = s.clients[request->client].id;

    if (err != ERR_NONE || l->number != s.leader)
        return;
    if (request->api == API_INIT_PRODUCER_ID && !request->has_had) {
        s.owner[id] = request->session;
        return;
    }
    REQUIRE(s.owner[id] == request->session,
            "%s got a yes to API %d of session %d, but it is session %d's",
            SEED, id_names[id], request->api, request->session, s.owner[id]);
}

static enum err read_answer(const struct txn_answer *a, struct message *m)
{
    switch (a->api) {
    case API_INIT_PRODUCER_ID:
        m->new_id = a->response.init_producer_id.producer_id;
        m->new_epoch = a->response.init_producer_id.producer_epoch;
        return a->response.init_producer_id.error_code;
    case API_END_TXN:
        m->new_id = a->response.end_txn.producer_id;
        m->new_epoch = a->response.end_txn.producer_epoch;
        return a->response.end_txn.error_code;
    case API_ADD_PARTITIONS_TO_TXN: {
        const struct add_partitions_to_txn_response *r =
            &a->response.add_partitions_to_txn;
        return (a->version >= 4 ? r->results_by_transaction[0].topic_results
                                : r->results_by_topic_v3_and_below)[0]
            .results_by_partition[0]
            .partition_error_code;
    }
    default:
        cr_assert_fail("an answer to something else");
        return ERR_NONE;
    }
}

static void on_answer(void *arg, struct txn_answer *answer)
{
    struct life *l = arg;
    struct token *t = &s.tokens[(intptr_t)answer->token];
    struct message m = t->request;

    REQUIRE(!t->answered, "answered twice", SEED);
    t->answered = true;
    m.is_answer = true;
    m.err = read_answer(answer, &m);
    check_owner(&t->request, l, m.err);
    txn_answer_free(answer);
    if (s.calm || chance(20) != 0)
        post(m);
}

/* Only what is decided in the committed log may be told to partitions; the true
 * coordinator's last word on the id must be it. */
static void check_marker(const struct life *l, const struct txn_marker *m)
{
    char *key = decision_key(m->producer_id, m->producer_epoch, m->committed);

    REQUIRE(map_get(&s.decided, slice_str(key)) != NULL,
            "a marker for what is not decided: %s", SEED, key);
    if (l->number == s.leader)
        REQUIRE(strcmp(map_get(&s.last, m->id), key) == 0,
                "a marker for %s, after %s", SEED, key,
                (const char *)map_get(&s.last, m->id));
    free(key);
}

static void on_marker(void *arg, struct txn_marker *marker)
{
    struct life *l = arg;

    s.markers++;
    check_marker(l, marker);
    for (int i = 0; i < MESSAGES_MAX; i++)
        if (!s.flying[i].used) {
            s.flying[i] = (struct flying){
                true, s.time.now_ms + (int64_t)chance(s.calm ? 10 : 300),
                marker, l->number};
            return;
        }
    txn_shard_marker_done(l->shard, marker, TXN_MARKER_RETRY, s.time);
}

static void on_wants_ids(void *arg)
{
    struct life *l = arg;

    if (!s.calm && chance(4) == 0)
        return;
    txn_shard_give_ids(l->shard, s.next_id, 20);
    s.next_id += 20;
}

static const struct txn_shard_ops ops = {
    .append = on_append,
    .answer = on_answer,
    .marker = on_marker,
    .wants_ids = on_wants_ids,
};

/* ---- lives ---------------------------------------------------------------*/

static struct txn_shard_options options_of(void)
{
    struct txn_shard_options options = {.batch_max_bytes = 100000,
                                        .commit_timeout_ms = 400};

    txn_config_init(&options.config);
    options.config.abort_timed_out_interval_ms = 500;
    options.config.transactional_id_expiration_ms = 40000;
    options.config.remove_expired_interval_ms = 5000;
    options.config.markers_in_flight_max = 5;
    options.config.transaction_version = (int16_t)(s.seed % 3);
    return options;
}

static void copy_log(struct life *to, const struct life *from, int64_t end)
{
    for (int i = 0; i < from->batches_len; i++) {
        struct stored_batch b = from->batches[i];

        if (b.end > end)
            break;
        b.data = xmemdup(b.data, b.len);
        to->batches[to->batches_len++] = b;
        to->end_offset = b.end;
    }
}

static struct txn_loader *load(const struct life *l)
{
    struct txn_loader *loader = txn_shard_loader(l->shard);

    for (int i = 0; i < l->batches_len; i++)
        cr_assert_eq(txn_loader_add(loader, slice_of(l->batches[i].data,
                                                     l->batches[i].len)),
                     ERR_NONE);
    cr_assert_eq(txn_loader_skipped(loader), 0);
    return loader;
}

/* In some worlds the ids are old, and their epochs nearly used up. */
static void add_old_id(struct life *l, int i)
{
    struct transaction_log_key key = {slice_str(id_names[i])};
    struct transaction_log_value value = {
        .producer_id = i,
        .previous_producer_id = -1,
        .next_producer_id = -1,
        .producer_epoch = (int16_t)(INT16_MAX - 1 - (int)chance(12)),
        .next_producer_epoch = -1,
        .transaction_timeout_ms = 2000,
        .transaction_status = TXN_EMPTY,
        .transaction_partitions_len = -1,
        .transaction_last_update_timestamp_ms = s.time.wall_ms,
        .transaction_start_timestamp_ms = -1,
    };
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder builder;
    struct buf k = BUF_INIT, v = BUF_INIT, batch = BUF_INIT;
    int64_t offset;

    coordinator_key_encode(&transaction_log_key_desc, &key, &k);
    coordinator_value_encode(&transaction_log_value_desc, 0, &value, &v);
    batch_builder_init(&builder);
    batch_builder_append(&builder, s.time.wall_ms, buf_slice(&k), buf_slice(&v),
                         NULL, 0);
    batch_builder_finish(&builder, &options, NULL, &batch);
    store(l, batch.data, batch.len, &offset);
    batch_builder_free(&builder);
    buf_free(&k);
    buf_free(&v);
    buf_free(&batch);
}

/* What was not committed may be lost, or not. */
static void elect(void)
{
    struct life *l = &s.lives[s.lives_len];
    struct txn_shard_options options = options_of();

    cr_assert_lt(s.lives_len, LIVES_MAX);
    *l = (struct life){.number = s.lives_len};
    if (s.lives_len > 0) {
        const struct life *before = &s.lives[s.leader];
        int64_t tail = before->end_offset - s.committed;
        copy_log(l, before, s.committed + (int64_t)chance((uint64_t)tail + 1));
        s.failovers++;
    } else if (s.seed % 3 == 0) {
        for (int i = 0; i < IDS; i++)
            add_old_id(l, i);
    }
    s.leader = s.lives_len++;
    l->high_watermark = s.committed;
    l->shard = txn_shard_create(&options, &ops, l);
    txn_shard_activate(l->shard, load(l), l->number, l->end_offset, s.committed,
                       s.time);
}

static void free_log(struct life *l)
{
    for (int i = 0; i < l->batches_len; i++)
        free(l->batches[i].data);
    l->batches_len = 0;
}

static void end_life(struct life *l)
{
    txn_shard_resign(l->shard, s.time);
    txn_shard_free(l->shard);
    l->shard = NULL;
    for (int i = 0; i < MESSAGES_MAX; i++)
        if (s.flying[i].used && s.flying[i].life == l->number)
            s.flying[i].life = -1;
    if (l->number != s.leader)
        free_log(l);
}

/* A coordinator that was replaced learns of it. */
static void end_zombies(int one_in)
{
    for (int i = 0; i < s.lives_len; i++)
        if (i != s.leader && s.lives[i].shard != NULL &&
            chance((uint64_t)one_in) == 0)
            end_life(&s.lives[i]);
}

static void fail_over(void)
{
    int old = s.leader;

    if (s.lives_len == LIVES_MAX)
        return;
    if (chance(2) == 0) {
        end_life(&s.lives[old]); /* crash, or an orderly stop */
        elect();
        free_log(&s.lives[old]);
    } else {
        elect(); /* the old one goes on, and does not know */
    }
}

static void tick_lives(void)
{
    for (int i = 0; i < s.lives_len; i++) {
        struct life *l = &s.lives[i];

        for (int n = 0; l->shard != NULL && n < 20 &&
                        txn_shard_next_deadline(l->shard) <= s.time.now_ms;
             n++)
            txn_shard_tick(l->shard, s.time);
    }
}

/* ---- partitions ----------------------------------------------------------*/

static struct producer *producer_of(int partition, int64_t producer_id)
{
    struct producer *all = s.producers[partition];

    for (int i = 0; i < s.producers_len[partition]; i++)
        if (all[i].producer_id == producer_id)
            return &all[i];
    cr_assert_lt(s.producers_len[partition], PRODUCERS_MAX);
    struct producer *p = &all[s.producers_len[partition]++];
    *p = (struct producer){producer_id, -1, -1, 0};
    return p;
}

/* False: fenced. */
static bool write_record(struct client *c)
{
    struct producer *p = producer_of(c->partition, c->producer_id);

    if (c->epoch < p->epoch)
        return false;
    REQUIRE(p->open == 0 || p->open == c->tag + 1,
            "records of two transactions in one: %d and %d, %s", SEED,
            p->open - 1, c->tag, id_names[c->id]);
    p->epoch = c->epoch;
    p->open = c->tag + 1;
    return true;
}

static void end_tag(int tag, bool committed)
{
    struct tag *t = &s.tags[tag];
    int ended = committed ? ENDED_COMMIT : ENDED_ABORT;

    REQUIRE(t->ended == ENDED_NONE || (int)t->ended == ended,
            "transaction %d of %s was decided both ways", SEED, tag,
            id_names[t->id]);
    t->ended = ended;
    REQUIRE(t->acked != ACKED_COMMIT || committed,
            "transaction %d of %s: a commit was acknowledged", SEED, tag,
            id_names[t->id]);
    REQUIRE(t->acked != ACKED_ABORT || !committed,
            "transaction %d of %s: an abort was acknowledged", SEED, tag,
            id_names[t->id]);
}

static enum err write_marker(const struct txn_marker *m)
{
    struct producer *p = producer_of(m->partition, m->producer_id);

    if (m->coordinator_epoch < p->coordinator_epoch)
        return ERR_TRANSACTION_COORDINATOR_FENCED;
    if (m->producer_epoch < p->epoch)
        return ERR_INVALID_PRODUCER_EPOCH;
    p->coordinator_epoch = m->coordinator_epoch;
    p->epoch = m->producer_epoch;
    if (p->open != 0)
        end_tag(p->open - 1, m->committed);
    p->open = 0;
    return ERR_NONE;
}

/* Reaches its partition or not, and the answer comes back or not. */
static void land(struct flying *f)
{
    enum txn_marker_result result = TXN_MARKER_RETRY;
    struct txn_marker *marker = f->marker;
    int life = f->life;

    f->used = false;
    if (s.calm || chance(6) != 0)
        result = txn_marker_result_of(write_marker(marker));
    if (life < 0) {
        s.orphans++;
        txn_marker_free(marker);
        return;
    }
    if (!s.calm && chance(10) == 0)
        result = TXN_MARKER_RETRY;
    txn_shard_marker_done(s.lives[life].shard, marker, result, s.time);
}

/* ---- producers -----------------------------------------------------------*/

static void request(struct client *c, enum api_key api)
{
    struct message m = {
        .client = (int)(c - s.clients),
        .session = c->session,
        .serial = ++c->serial,
        .life = s.leader,
        .api = api,
        .epoch = c->epoch,
        .producer_id = c->producer_id,
        .partition = c->partition,
        .commit = c->commit,
        .has_had = api == API_INIT_PRODUCER_ID && c->producer_id >= 0,
        .version = api == API_INIT_PRODUCER_ID ? 5
                   : api == API_END_TXN        ? (c->bumps ? 5 : 4)
                                               : (c->bumps ? 5 : 3),
    };

    if (chance(3) == 0) /* metadata may be old */
        m.life = (int)chance((uint64_t)s.lives_len);
    c->retry_ms = s.time.now_ms + 300 + (int64_t)chance(1500);
    if (!s.calm && chance(20) == 0)
        return; /* lost */
    post(m);
    if (!s.calm && c->bumps && chance(8) == 0)
        post(m);
}

static enum api_key api_of(const struct client *c)
{
    return c->phase == INITING  ? API_INIT_PRODUCER_ID
           : c->phase == ADDING ? API_ADD_PARTITIONS_TO_TXN
                                : API_END_TXN;
}

static void start_over(struct client *c)
{
    c->phase = OUT;
    c->tag = -1;
    c->producer_id = -1;
    c->epoch = -1;
    c->retry_ms = s.time.now_ms + (int64_t)chance(12000);
}

static void start_session(struct client *c)
{
    c->session = ++s.sessions;
    c->producer_id = c->epoch = -1;
    c->phase = INITING;
    c->tries = 0;
    request(c, API_INIT_PRODUCER_ID);
}

static void begin(struct client *c)
{
    cr_assert_lt(s.tags_len, TXNS_MAX);
    c->tag = s.tags_len;
    s.tags[s.tags_len++] = (struct tag){.id = c->id};
    c->adds_left = 1 + (int)chance(3);
    c->commit = chance(3) != 0;
    c->partition = (int)chance(PARTITIONS);
    c->phase = ADDING;
    c->tries = 0;
    request(c, API_ADD_PARTITIONS_TO_TXN);
}

static void end(struct client *c, bool commit)
{
    c->commit = commit;
    c->phase = ENDING;
    c->tries = 0;
    request(c, API_END_TXN);
}

static void added(struct client *c)
{
    if (!write_record(c)) {
        start_over(c);
        return;
    }
    if (--c->adds_left > 0) {
        c->partition = (c->partition + 1) % PARTITIONS;
        request(c, API_ADD_PARTITIONS_TO_TXN);
    } else if (chance(12) != 0) {
        end(c, c->commit);
    } else {
        c->phase = READY; /* it forgets to end it: the timeout's work */
        c->retry_ms = s.time.now_ms + 3000;
    }
}

static void ended(struct client *c, const struct message *m)
{
    if (c->tag >= 0) {
        struct tag *t = &s.tags[c->tag];

        t->acked = c->commit ? ACKED_COMMIT : ACKED_ABORT;
        REQUIRE(t->ended == ENDED_NONE ||
                    (t->ended == ENDED_COMMIT) == c->commit,
                "%s: %s acknowledged, but partitions saw the opposite", SEED,
                id_names[c->id], c->commit ? "commit" : "abort");
        if (c->commit)
            s.commits++;
        else
            s.aborts++;
    }
    if (c->bumps) {
        s.renames += c->producer_id != m->new_id;
        c->producer_id = m->new_id;
        c->epoch = m->new_epoch;
    }
    c->tag = -1;
    c->phase = READY;
    c->retry_ms = s.time.now_ms + (int64_t)chance(500);
}

static void succeeded(struct client *c, const struct message *m)
{
    switch (c->phase) {
    case INITING:
        c->producer_id = m->new_id;
        c->epoch = m->new_epoch;
        c->tag = -1;
        c->phase = READY;
        c->retry_ms = s.time.now_ms + (int64_t)chance(500);
        break;
    case ADDING:
        added(c);
        break;
    case ENDING:
        ended(c, m);
        break;
    default:
        break;
    }
}

/* Its transaction timed out: one that bumps may find out with an abort. */
static void wrong_state(struct client *c)
{
    s.timeouts++;
    if (c->bumps && c->phase == ENDING && c->commit) {
        end(c, false);
        return;
    }
    start_over(c);
}

static void hear(struct client *c, const struct message *m)
{
    if (m->session != c->session || m->serial != c->serial ||
        (c->phase != INITING && c->phase != ADDING && c->phase != ENDING))
        return;
    switch (m->err) {
    case ERR_NONE:
        succeeded(c, m);
        break;
    case ERR_CONCURRENT_TRANSACTIONS:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_NOT_COORDINATOR:
        c->retry_ms = s.time.now_ms + 20 + (int64_t)chance(200);
        break;
    case ERR_INVALID_TXN_STATE:
        wrong_state(c);
        break;
    case ERR_PRODUCER_FENCED:
    case ERR_INVALID_PRODUCER_ID_MAPPING:
        s.fences++;
        start_over(c);
        break;
    default:
        cr_assert_fail("seed %llu: %s", SEED, err_name(m->err));
    }
}

static void client_step(struct client *c)
{
    if (s.time.now_ms < c->retry_ms)
        return;
    if (c->phase == OUT) {
        if (!s.calm)
            start_session(c);
    } else if (c->phase == READY) {
        if (s.calm || c->tag >= 0)
            start_over(c);
        else
            begin(c);
    } else if (++c->tries > 12 || (!s.calm && chance(30) == 0)) {
        /* It goes on after an error of its own, or is replaced. */
        bool keeps = c->producer_id >= 0 && chance(2) == 0;

        if (!keeps) {
            start_over(c);
            return;
        }
        c->tag = -1;
        c->phase = INITING;
        c->tries = 0;
        request(c, API_INIT_PRODUCER_ID);
    } else {
        request(c, api_of(c));
    }
}

/* ---- requests arrive -----------------------------------------------------*/

static void call(struct life *l, const struct message *m, int token)
{
    struct slice id = slice_str(id_names[s.clients[m->client].id]);
    struct txn_context context = {.token = (void *)(intptr_t)token,
                                  .now_ms = s.time.now_ms,
                                  .wall_ms = s.time.wall_ms,
                                  .version = m->version};
    int32_t partition = m->partition;
    struct add_partitions_to_txn_request_topic topic = {SLICE("t"), &partition,
                                                        1};
    struct add_partitions_to_txn_request_transaction txn = {
        id, m->producer_id, m->epoch, false, &topic, 1};
    struct add_partitions_to_txn_request add = {
        &txn, 1, id, m->producer_id, m->epoch, &topic, 1};
    struct init_producer_id_request init = {
        .transactional_id = id,
        .transaction_timeout_ms = 2000,
        .producer_id = m->has_had ? m->producer_id : -1,
        .producer_epoch = m->has_had ? m->epoch : -1};
    struct end_txn_request end = {id, m->producer_id, m->epoch, m->commit};

    txn_shard_request(l->shard, &context, m->api,
                      m->api == API_INIT_PRODUCER_ID ? (void *)&init
                      : m->api == API_END_TXN        ? (void *)&end
                                                     : (void *)&add);
}

/* Of a classic producer only what it still waits for. */
static bool is_stale(const struct message *m)
{
    const struct client *c = &s.clients[m->client];

    return !c->bumps && (m->serial != c->serial || m->session != c->session);
}

static void arrive(struct message *slot)
{
    struct message m = *slot;
    struct life *l = &s.lives[m.life];

    slot->used = false;
    if (m.is_answer) {
        hear(&s.clients[m.client], &m);
        return;
    }
    if (l->shard == NULL || is_stale(&m))
        return;
    int token = ++s.tokens_len;
    cr_assert_lt(token, 60000);
    s.tokens[token] = (struct token){.request = m};
    call(l, &m, token);
    txn_coord_check(txn_shard_coord(l->shard));
}

/* ---- a run ---------------------------------------------------------------*/

static void deliver(void)
{
    for (int i = 0; i < MESSAGES_MAX; i++) {
        if (s.messages[i].used && s.messages[i].due_ms <= s.time.now_ms)
            arrive(&s.messages[i]);
        if (s.flying[i].used && s.flying[i].due_ms <= s.time.now_ms)
            land(&s.flying[i]);
    }
}

static void commit_some(void)
{
    struct life *l = &s.lives[s.leader];
    int64_t tail = l->end_offset - s.committed;

    if (tail > 0 && (s.calm || chance(4) == 0))
        commit_to(l, s.committed +
                         (s.calm ? tail : 1 + (int64_t)chance((uint64_t)tail)));
}

static void step(void)
{
    int64_t ms = (int64_t)chance(20);

    s.time.now_ms += ms;
    s.time.wall_ms += ms;
    deliver();
    commit_some();
    tick_lives();
    for (int i = 0; i < CLIENTS; i++)
        client_step(&s.clients[i]);
    if (!s.calm && chance((uint64_t)s.fail_over_one_in) == 0)
        fail_over();
    end_zombies(s.calm ? 1 : 200);
}

static void check_same_when_loaded(void)
{
    struct life *l = &s.lives[s.leader];
    struct buf live = BUF_INIT, loaded = BUF_INIT;
    struct txn_coord *coord = txn_loader_take(load(l));

    txn_coord_dump(txn_shard_coord(l->shard), &live);
    txn_coord_dump(coord, &loaded);
    REQUIRE(slice_eq(buf_slice(&live), buf_slice(&loaded)),
            "live\n%.*s\nloaded\n%.*s", SEED, SLICE_FMT(buf_slice(&live)),
            SLICE_FMT(buf_slice(&loaded)));
    txn_coord_free(coord);
    buf_free(&live);
    buf_free(&loaded);
}

static void check_all_ended(void)
{
    struct list_transactions_request list = {.duration_filter = -1};
    struct buf text = BUF_INIT;
    static const char *const open[] = {"Ongoing", "Prepare"};
    (void)list;

    txn_coord_dump(txn_shard_coord(s.lives[s.leader].shard), &text);
    buf_put_u8(&text, 0);
    for (size_t i = 0; i < 2; i++)
        REQUIRE(strstr((const char *)text.data, open[i]) == NULL,
                "not complete:\n%s", SEED, (const char *)text.data);
    buf_free(&text);
    for (int p = 0; p < PARTITIONS; p++)
        for (int i = 0; i < s.producers_len[p]; i++)
            REQUIRE(s.producers[p][i].open == 0,
                    "partition %d has an open transaction, %d of %s", SEED, p,
                    s.producers[p][i].open - 1,
                    id_names[s.tags[s.producers[p][i].open - 1].id]);
    for (int i = 1; i <= s.tokens_len; i++)
        REQUIRE(s.tokens[i].answered, "request %d was not answered", SEED, i);
}

static void set_up_run(uint64_t seed)
{
    memset(&s, 0, sizeof s);
    s.seed = seed;
    s.prng.state = seed;
    s.time = (struct coord_time){1000, INT64_C(1700000000000)};
    s.next_id = 100;
    s.codec = codec_new();
    s.fail_over_one_in = seed % 2 == 0 ? 200 : 1500;
    for (int i = 0; i < CLIENTS; i++) {
        s.clients[i].id = i % IDS;
        s.clients[i].bumps = chance(3) != 0;
        start_over(&s.clients[i]);
    }
    elect();
}

static void tear_down_run(void)
{
    for (int i = 0; i < s.lives_len; i++) {
        if (s.lives[i].shard != NULL)
            end_life(&s.lives[i]);
        free_log(&s.lives[i]);
    }
    for (int i = 0; i < MESSAGES_MAX; i++)
        if (s.flying[i].used)
            txn_marker_free(s.flying[i].marker);
    MAP_EACH (entry, &s.last)
        free(entry->value);
    map_free(&s.last);
    map_free(&s.decided);
    codec_free(s.codec);
    buf_free(&s.scratch);
}

static void run(uint64_t seed, int steps)
{
    set_up_run(seed);
    for (int i = 0; i < steps; i++)
        step();
    s.calm = true;
    for (int i = 0; i < 1500; i++)
        step();
    check_all_ended();
    check_same_when_loaded();
    tear_down_run();
}

Test(txn_sim, seeds, .timeout = 600)
{
    const char *one = getenv("TXN_SEED");
    const char *count = getenv("TXN_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 0) : 1;
    uint64_t len = one != NULL     ? 1
                   : count != NULL ? strtoull(count, NULL, 0)
                                   : SEEDS;
    int commits = 0, aborts = 0, timeouts = 0, fences = 0, failovers = 0;
    int orphans = 0, renames = 0;

    for (uint64_t seed = first; seed < first + len; seed++) {
        run(seed, STEPS);
        commits += s.commits;
        aborts += s.aborts;
        timeouts += s.timeouts;
        fences += s.fences;
        failovers += s.failovers;
        orphans += s.orphans;
        renames += s.renames;
    }
    if (count != NULL || one != NULL)
        printf("commits %d aborts %d timeouts %d fences %d failovers %d "
               "orphans %d renames %d\n",
               commits, aborts, timeouts, fences, failovers, orphans, renames);
    /* A world in which nothing happens proves nothing. */
    cr_assert(commits > 0 && aborts > 0 && timeouts > 0 && fences > 0 &&
              failovers > 0 && orphans > 0 && (renames > 0 || len < SEEDS));
}
