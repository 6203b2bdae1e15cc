/* The transaction coordinator of a partition: first what its log holds, whoever
 * wrote it, then requests of clients.
 *
 * A row of steps, each a byte that says what happens.  Until the step START
 * records are gathered (a key and a value), of which batches are made that are
 * in order.  After it: requests (api, version, body), the ends of markers,
 * time, loss of leadership.  What the coordinator appends can be loaded again
 * without a record skipped, and tells the same. */
#include "tests/fuzz/kit.h"

#include "broker/coord/txn/txn_shard.h"
#include "proto/record/builder.h"

#include <stdlib.h>

enum { STEPS_MAX = 64, RECORD_MAX = 2048 };

static const enum api_key apis[] = {
    API_INIT_PRODUCER_ID, API_ADD_PARTITIONS_TO_TXN, API_ADD_OFFSETS_TO_TXN,
    API_END_TXN,          API_DESCRIBE_TRANSACTIONS, API_LIST_TRANSACTIONS,
};

struct world {
    struct txn_shard_options options;
    struct txn_shard *shard; /* NULL until the start */
    struct coord_time time;
    struct buf hostile; /* batches that we did not write */
    struct buf log;     /* batches that the coordinator wrote */
    int64_t end_offset;
    int64_t high_watermark;
    int64_t next_id;
    bool commits;        /* what is appended is committed at once */
    struct list markers; /* of txn_marker.link, that have not ended */
    int64_t producer_id; /* what a producer was given last */
    int16_t epoch;
    uint64_t tokens;   /* requests */
    uint64_t answered; /* answers */
};

/* ---- what the coordinator asks for --------------------------------------- */

static enum err append(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset)
{
    struct world *w = arg;
    struct batch b;

    ASSERT(batch_parse(slice_of(batch, len), &b) == ERR_NONE &&
           b.size_bytes == len);
    batch_patch(batch, w->end_offset, 0);
    buf_put(&w->log, batch, len);
    *base_offset = w->end_offset;
    w->end_offset += b.last_offset_delta + 1;
    if (w->commits) {
        w->high_watermark = w->end_offset;
        txn_shard_committed(w->shard, w->high_watermark, w->time);
    }
    return ERR_NONE;
}

static void remember(struct world *w, const struct txn_answer *a)
{
    const struct init_producer_id_response *init =
        &a->response.init_producer_id;
    const struct end_txn_response *end = &a->response.end_txn;

    if (a->api == API_INIT_PRODUCER_ID && init->error_code == ERR_NONE) {
        w->producer_id = init->producer_id;
        w->epoch = init->producer_epoch;
    } else if (a->api == API_END_TXN && end->error_code == ERR_NONE &&
               a->version >= 5) {
        w->producer_id = end->producer_id;
        w->epoch = end->producer_epoch;
    }
}

/* Everything that is answered has a place on the wire. */
static void answer(void *arg, struct txn_answer *a)
{
    struct world *w = arg;
    struct buf bytes = BUF_INIT;

    w->answered++;
    ASSERT(kafka_encode(api_find((int16_t)a->api)->response, a->version,
                        &a->response, &bytes, NULL) == ERR_NONE);
    remember(w, a);
    buf_free(&bytes);
    txn_answer_free(a);
}

static void marker(void *arg, struct txn_marker *m)
{
    struct world *w = arg;

    list_push_back(&w->markers, &m->link);
}

static void wants_ids(void *arg)
{
    struct world *w = arg;

    txn_shard_give_ids(w->shard, w->next_id, 100);
    w->next_id += 100;
}

static const struct txn_shard_ops ops = {append, answer, marker, wants_ids,
                                         NULL};

/* ---- what is in the log before ------------------------------------------- */

static void gather_step(struct world *w, uint8_t op, struct reader *r)
{
    struct slice key = take_part(r);
    struct slice value = (op & 0x40) != 0 ? SLICE_NULL : take_part(r);
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder b;

    if (key.len > RECORD_MAX || value.len > RECORD_MAX)
        return;
    batch_builder_init(&b);
    batch_builder_append(&b, w->time.wall_ms, key, value, NULL, 0);
    options.base_offset = w->end_offset++;
    batch_builder_finish(&b, &options, NULL, &w->hostile);
    batch_builder_free(&b);
}

/* ---- life ---------------------------------------------------------------- */

static void start(struct world *w)
{
    w->shard = txn_shard_create(&w->options, &ops, w);
    struct txn_loader *loader = txn_shard_loader(w->shard);

    ASSERT(txn_loader_add(loader, buf_slice(&w->hostile)) == ERR_NONE);
    uint64_t skipped = txn_loader_skipped(loader);
    ASSERT(txn_loader_add(loader, buf_slice(&w->log)) == ERR_NONE);
    ASSERT(txn_loader_skipped(loader) == skipped);
    txn_shard_activate(w->shard, loader, 1, w->end_offset, w->high_watermark,
                       w->time);
    txn_coord_check(txn_shard_coord(w->shard));
}

static void end_marker(struct world *w, enum txn_marker_result result)
{
    if (!list_empty(&w->markers))
        txn_shard_marker_done(
            w->shard,
            LIST_ENTRY(list_pop_front(&w->markers), struct txn_marker, link),
            result, w->time);
}

static void stop(struct world *w)
{
    txn_shard_resign(w->shard, w->time);
    ASSERT(w->answered == w->tokens);
    while (!list_empty(&w->markers))
        end_marker(w, TXN_MARKER_RETRY);
    txn_shard_free(w->shard);
    w->shard = NULL;
}

/* ---- requests ------------------------------------------------------------ */

/* Puts in the id and epoch that a producer was given where the input has
 * zeros, as nobody can guess them. */
static void help_with(const struct world *w, int64_t *producer_id,
                      int16_t *epoch)
{
    if (*producer_id == 0)
        *producer_id = w->producer_id;
    if (*epoch == 0)
        *epoch = w->epoch;
}

static void help(const struct world *w, enum api_key api, void *request)
{
    if (api == API_INIT_PRODUCER_ID) {
        struct init_producer_id_request *q = request;
        help_with(w, &q->producer_id, &q->producer_epoch);
    } else if (api == API_ADD_PARTITIONS_TO_TXN) {
        struct add_partitions_to_txn_request *q = request;
        help_with(w, &q->v3_and_below_producer_id,
                  &q->v3_and_below_producer_epoch);
        for (int32_t i = 0; i < q->transactions_len; i++)
            help_with(w, &q->transactions[i].producer_id,
                      &q->transactions[i].producer_epoch);
    } else if (api == API_ADD_OFFSETS_TO_TXN) {
        struct add_offsets_to_txn_request *q = request;
        help_with(w, &q->producer_id, &q->producer_epoch);
    } else if (api == API_END_TXN) {
        struct end_txn_request *q = request;
        help_with(w, &q->producer_id, &q->producer_epoch);
    }
}

static enum err partition_error(void *arg, struct slice topic,
                                int32_t partition)
{
    (void)arg;
    return topic.len == 0 || partition < 0 ? ERR_UNKNOWN_TOPIC_OR_PARTITION
                                           : ERR_NONE;
}

static void request_step(struct world *w, struct reader *r)
{
    enum api_key api = apis[read_u8(r) % (sizeof apis / sizeof *apis)];
    int16_t version = read_u8(r);
    struct slice body = take_part(r);
    const struct api *a = api_find((int16_t)api);
    struct txn_context context = {
        .token = w,
        .now_ms = w->time.now_ms,
        .wall_ms = w->time.wall_ms,
        .version = version,
        .partition_error = partition_error,
        .offsets_partitions = 50,
    };
    struct arena arena;
    void *request = xmalloc(a->request->size_bytes);

    arena_init(&arena, 1 << 20);
    if (kafka_decode(a->request, version, body, &arena, request) == ERR_NONE) {
        help(w, api, request);
        w->tokens++;
        txn_shard_request(w->shard, &context, api, request);
    }
    arena_free(&arena);
    free(request);
}

static void pass(struct world *w, int64_t ms)
{
    w->time.now_ms += ms;
    w->time.wall_ms += ms;
    for (int i = 0;
         i < 16 && txn_shard_next_deadline(w->shard) <= w->time.now_ms; i++)
        txn_shard_tick(w->shard, w->time);
}

static void live_step(struct world *w, uint8_t op, struct reader *r)
{
    switch (op & 7) {
    case 4:
        pass(w, INT64_C(1) << (op >> 3 & 31));
        break;
    case 5:
        w->commits = (op & 8) != 0;
        w->high_watermark = w->end_offset;
        txn_shard_committed(w->shard, w->high_watermark, w->time);
        break;
    case 6:
        end_marker(w, (enum txn_marker_result)(op >> 3 & 3));
        break;
    case 7:
        stop(w);
        start(w);
        break;
    default:
        request_step(w, r);
        break;
    }
    txn_coord_check(txn_shard_coord(w->shard));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    struct world w = {
        .options = {.batch_max_bytes = 1 << 20, .commit_timeout_ms = 5000},
        .time = {1000000, INT64_C(1700000000000)},
        .next_id = 1000,
        .commits = true,
    };

    list_init(&w.markers);
    txn_config_init(&w.options.config);
    w.options.config.txns_max_bytes = 1 << 16;
    for (int i = 0; i < STEPS_MAX && reader_left(&r) != 0; i++) {
        uint8_t op = read_u8(&r);

        if (w.shard != NULL) {
            live_step(&w, op, &r);
        } else if ((op & 7) != 7) {
            gather_step(&w, op, &r);
        } else {
            w.high_watermark = (op & 8) != 0 ? 0 : w.end_offset;
            w.options.config.transaction_version = (op >> 4) % 3;
            start(&w);
        }
    }
    if (w.shard == NULL)
        start(&w);
    stop(&w);
    start(&w);
    stop(&w);
    buf_free(&w.hostile);
    buf_free(&w.log);
    return 0;
}
