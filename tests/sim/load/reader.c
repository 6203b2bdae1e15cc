/* A feed is what the reader has with one node: at most one Fetch under way,
 * and a session.  A position belongs to the feed of its partition's leader.
 *
 * An answer counts for a position only if the position still is where the
 * node believes it to be: after a seek, or a new leader, it is skipped. */
#include "tests/sim/load/reader.h"

#include "tests/sim/load/payload.h"
#include "tests/sim/load/reader_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FETCH_FLOOR = 4, /* record batches */
    FETCH_WITH_SESSIONS = 7,
    FETCH_WITH_EPOCH = 9,
    FETCH_WITH_IDS = 13,
    TICK_MS = 20,
};

static void tick(void *arg);
static void pump(struct load_reader *r);

/* ---- beginning and end --------------------------------------------------- */

struct load_reader *load_reader_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *client,
                                    struct history *history,
                                    const struct load_reader_options *options)
{
    struct load_reader *r = xcalloc(1, sizeof *r);

    r->env = env;
    r->client = load_client_new(env, seed, client);
    r->prng = load_client_prng(r->client);
    r->history = history;
    r->options = *options;
    r->timer.fn = tick;
    r->timer.arg = r;
    r->codec = codec_new();
    list_init(&r->positions);
    list_init(&r->feeds);
    list_init(&r->queries);
    list_init(&r->strays);
    return r;
}

static void forget_forgotten(struct feed *f)
{
    for (int32_t i = 0; i < f->forgotten_len; i++)
        free(f->forgotten[i].name);
    free(f->forgotten);
    f->forgotten = NULL;
    f->forgotten_len = 0;
}

static void position_free(struct position *p)
{
    list_remove(&p->in);
    free(p->name);
    free(p);
}

void load_reader_unfollow_all(struct load_reader *r)
{
    /* The sessions' entries go with the sessions, which are cheap to renew. */
    LIST_EACH (node, &r->feeds) {
        struct feed *f = LIST_ENTRY(node, struct feed, in);
        f->session_id = f->session_epoch = 0;
        forget_forgotten(f);
    }
    while (!list_empty(&r->positions))
        position_free(LIST_ENTRY(r->positions.next, struct position, in));
}

void load_reader_stop(struct load_reader *r)
{
    r->running = false;
    env_timer_stop(r->env, &r->timer);
    load_client_reset(r->client);
    load_reader_drop_queries(r);
    load_reader_drop_strays(r);
    load_reader_unfollow_all(r);
    LIST_EACH (node, &r->feeds)
        LIST_ENTRY(node, struct feed, in)->in_flight = false;
}

void load_reader_free(struct load_reader *r)
{
    load_reader_stop(r);
    load_client_free(r->client);
    while (!list_empty(&r->feeds)) {
        struct feed *f = LIST_ENTRY(r->feeds.next, struct feed, in);
        list_remove(&f->in);
        free(f);
    }
    codec_free(r->codec);
    buf_free(&r->scratch);
    free(r->missing);
    free(r);
}

void load_reader_start(struct load_reader *r)
{
    r->running = true;
    r->begun_ms = env_wall_ms(r->env);
    load_client_look(r->client);
    env_timer_start(r->env, &r->timer, 0);
}

/* ---- positions ----------------------------------------------------------- */

struct position *load_reader_find(struct load_reader *r, int topic,
                                  int32_t partition)
{
    LIST_EACH (node, &r->positions) {
        struct position *p = LIST_ENTRY(node, struct position, in);
        if (p->topic == topic && p->partition == partition)
            return p;
    }
    return NULL;
}

void load_reader_seek(struct load_reader *r, struct position *p, int64_t offset)
{
    p->offset = offset;
    if (p->highest < offset)
        p->highest = offset;
    history_seek(r->history, r->options.number, p->topic, p->partition, offset);
}

void load_reader_follow(struct load_reader *r, const char *name, struct uuid id,
                        int32_t partition, int64_t offset)
{
    struct position *p = xcalloc(1, sizeof *p);

    p->name = xstrdup(name);
    p->id = id;
    p->topic = history_topic(r->history, slice_str(name), id);
    p->partition = partition;
    p->offset = p->start = p->end = -1;
    p->at_node = NO_NODE;
    list_push_back(&r->positions, &p->in);
    if (offset >= 0)
        load_reader_seek(r, p, offset);
}

bool load_reader_position(const struct load_reader *r, size_t i, int *topic,
                          int32_t *partition, int64_t *offset)
{
    LIST_EACH (node, &r->positions) {
        const struct position *p = LIST_ENTRY(node, struct position, in);
        if (i-- != 0)
            continue;
        *topic = p->topic;
        *partition = p->partition;
        *offset = p->offset;
        return true;
    }
    return false;
}

/* Follows what has our prefix and is there, and nothing else. */
static void compare_topics(struct load_reader *r)
{
    const struct load_topic *topics;
    size_t len = load_client_topics(r->client, &topics);

    if (r->options.topic_prefix == NULL)
        return;
    if (list_empty(&r->positions))
        load_client_look(r->client); /* they are still being made */
    if (r->looks == load_client_looks(r->client))
        return;
    r->looks = load_client_looks(r->client);
    LIST_EACH_SAFE (node, tmp, &r->positions) {
        struct position *p = LIST_ENTRY(node, struct position, in);
        if (load_client_topic(r->client, SLICE_NULL, p->id) == NULL &&
            (r->options.by_id || history_topic_is_doomed(r->history, p->topic)))
            position_free(p);
    }
    for (size_t i = 0; i < len; i++) {
        const struct load_topic *t = &topics[i];
        if (strncmp(t->name, r->options.topic_prefix,
                    strlen(r->options.topic_prefix)) != 0)
            continue;
        int topic = history_topic(r->history, slice_str(t->name), t->id);
        for (int32_t k = 0; k < t->partitions_len; k++)
            if (load_reader_find(r, topic, k) == NULL)
                load_reader_follow(r, t->name, t->id, k, LOAD_EARLIEST);
    }
}

/* ---- feeds --------------------------------------------------------------- */

static struct feed *feed_of(struct load_reader *r, int32_t node)
{
    LIST_EACH (at, &r->feeds) {
        struct feed *f = LIST_ENTRY(at, struct feed, in);
        if (f->node == node)
            return f;
    }
    struct feed *f = xcalloc(1, sizeof *f);
    f->reader = r;
    f->node = node;
    list_push_back(&r->feeds, &f->in);
    return f;
}

/* The node forgets the session, or we do. */
static void end_session(struct feed *f)
{
    f->session_id = f->session_epoch = 0;
    forget_forgotten(f);
    LIST_EACH (node, &f->reader->positions) {
        struct position *p = LIST_ENTRY(node, struct position, in);
        if (p->at_node == f->node)
            p->at_node = NO_NODE;
    }
}

/* The session of the position's last node has to forget it. */
static void leave_node(struct load_reader *r, struct position *p)
{
    if (p->at_node == NO_NODE)
        return;
    struct feed *f = feed_of(r, p->at_node);
    p->at_node = NO_NODE;
    if (f->session_id == 0)
        return;
    f->forgotten = xrealloc(f->forgotten, (size_t)(f->forgotten_len + 1) *
                                              sizeof *f->forgotten);
    f->forgotten[f->forgotten_len++] =
        (struct forgotten){xstrdup(p->name), p->id, p->partition};
}

/* ---- records ------------------------------------------------------------- */

static void take_records(struct load_reader *r, struct position *p,
                         struct record_reader *in)
{
    struct record record;

    while (record_next(in, &record)) {
        if (record.offset < p->offset)
            continue;
        struct history_read read = {.reader = r->options.number,
                                    .topic = p->topic,
                                    .partition = p->partition,
                                    .offset = record.offset,
                                    .leader_epoch = in->batch.leader_epoch,
                                    .timestamp_ms = record.timestamp};
        read.sound = payload_parse(record.value, &read.id);
        history_read(r->history, &read);
        p->offset = record.offset + 1;
    }
    if (in->err != ERR_NONE)
        history_violation(r->history, "corrupt",
                          "a batch at offset %lld of %s-%d cannot be read: %s",
                          (long long)in->batch.base_offset, p->name,
                          p->partition, err_text(in->err));
}

static void take_batches(struct load_reader *r, struct position *p,
                         struct slice bytes)
{
    while (bytes.len != 0) {
        struct record_reader in;
        struct batch b;
        enum err error = batch_parse(bytes, &b);
        if (error == ERR_TOO_LARGE)
            return; /* cut off at the end of the answer */
        struct slice whole = slice_of(bytes.data, b.size_bytes);
        if (error == ERR_NONE && !batch_crc_ok(whole, &b))
            error = ERR_CORRUPT_MESSAGE;
        if (error == ERR_NONE)
            error = record_open(&in, r->codec, whole, &b, CODEC_LIMIT_BYTES,
                                &r->scratch);
        if (error != ERR_NONE) {
            history_violation(
                r->history, "corrupt",
                "what was fetched at offset %lld of %s-%d is no batch: %s",
                (long long)p->offset, p->name, p->partition, err_text(error));
            return;
        }
        take_records(r, p, &in);
        bytes = slice_of(bytes.data + b.size_bytes, bytes.len - b.size_bytes);
    }
    if (p->highest < p->offset)
        p->highest = p->offset;
}

static void take_partition(struct load_reader *r, struct position *p,
                           const struct fetch_response_partition_data *a)
{
    if (a->error_code == ERR_NONE) {
        history_watermark(r->history, p->topic, p->partition, p->sent_epoch,
                          p->asked, a->high_watermark);
        take_batches(r, p, a->records.bytes);
        return;
    }
    if (a->error_code == ERR_OFFSET_OUT_OF_RANGE) {
        history_out_of_range(r->history, p->topic, p->partition, p->sent_epoch,
                             p->asked, p->offset);
        p->offset = -1;
    }
    leave_node(r, p);
    p->retry_at_ms = env_now_ms(r->env) + READER_RETRY_MS;
    load_client_look(r->client);
}

static void take_answer(struct feed *f, const struct fetch_response *a)
{
    struct load_reader *r = f->reader;

    for (int32_t t = 0; t < a->responses_len; t++)
        for (int32_t i = 0; i < a->responses[t].partitions_len; i++) {
            const struct fetch_response_partition_data *d =
                &a->responses[t].partitions[i];
            LIST_EACH_SAFE (node, tmp, &r->positions) {
                struct position *p = LIST_ENTRY(node, struct position, in);
                if (p->partition == d->partition_index &&
                    (uuid_eq(p->id, a->responses[t].topic_id) ||
                     slice_eq_str(a->responses[t].topic, p->name)) &&
                    p->at_node == f->node && p->sent_offset == p->offset)
                    take_partition(r, p, d);
            }
        }
}

static void answered(void *arg, enum err error, const void *response)
{
    struct feed *f = arg;
    struct load_reader *r = f->reader;
    const struct fetch_response *a = response;

    f->in_flight = false;
    if (error == ERR_NONE)
        error = (enum err)a->error_code;
    if (error != ERR_NONE) {
        end_session(f);
        f->retry_at_ms = env_now_ms(r->env) + READER_RETRY_MS;
        load_client_look(r->client);
    } else {
        if (a->session_id == 0 || a->session_id != f->session_id) {
            forget_forgotten(f);
            f->session_id = a->session_id;
            f->session_epoch = 0;
        }
        if (f->session_id != 0)
            f->session_epoch++;
        take_answer(f, a);
    }
    if (r->running)
        pump(r);
}

/* ---- requests ------------------------------------------------------------ */

static bool is_finished(const struct position *p)
{
    return p->end >= 0 && p->offset >= p->end;
}

static void add_position(struct load_reader *r, struct feed *f,
                         struct position *p, int32_t epoch, int16_t version,
                         size_t count, struct fetch_request *q,
                         struct arena *arena)
{
    int32_t t = 0;

    while (t < q->topics_len && !uuid_eq(q->topics[t].topic_id, p->id))
        t++;
    struct fetch_request_topic *topic = &q->topics[t];
    if (t == q->topics_len) {
        q->topics_len++;
        fetch_request_topic_init(topic);
        topic->topic = slice_str(p->name);
        topic->topic_id = p->id;
        topic->partitions =
            arena_array(arena, count, sizeof *topic->partitions);
    }
    struct fetch_request_partition *to =
        &topic->partitions[topic->partitions_len++];
    fetch_request_partition_init(to);
    to->partition = p->partition;
    to->current_leader_epoch = epoch;
    to->fetch_offset = p->offset;
    to->partition_max_bytes = r->options.partition_max_bytes;
    p->at_node = f->node;
    p->sent_offset = p->offset;
    p->sent_epoch = version >= FETCH_WITH_EPOCH ? epoch : -1;
}

static void fill_forgotten(struct feed *f, struct fetch_request *q,
                           struct arena *arena)
{
    q->forgotten_topics_data = arena_array(arena, (size_t)f->forgotten_len + 1,
                                           sizeof *q->forgotten_topics_data);
    q->forgotten_topics_data_len = f->forgotten_len;
    for (int32_t i = 0; i < f->forgotten_len; i++) {
        struct fetch_request_forgotten_topic *t = &q->forgotten_topics_data[i];
        fetch_request_forgotten_topic_init(t);
        t->topic = slice_str(f->forgotten[i].name);
        t->topic_id = f->forgotten[i].id;
        t->partitions = &f->forgotten[i].partition;
        t->partitions_len = 1;
    }
}

/* Positions of this node: all, or those that its session has not. */
static int fill_positions(struct load_reader *r, struct feed *f,
                          int16_t version, struct fetch_request *q,
                          struct arena *arena)
{
    size_t count = 0;
    int of_node = 0;

    LIST_EACH (node, &r->positions)
        count++;
    q->topics = arena_array(arena, count + 1, sizeof *q->topics);
    LIST_EACH (node, &r->positions) {
        struct position *p = LIST_ENTRY(node, struct position, in);
        int32_t epoch;
        int32_t leader = load_client_leader(r->client, slice_str(p->name),
                                            p->id, p->partition, &epoch);
        if (leader != p->at_node)
            leave_node(r, p);
        if (leader != f->node || p->offset < 0 ||
            (r->options.final && is_finished(p)) ||
            env_now_ms(r->env) < p->retry_at_ms)
            continue;
        of_node++;
        p->asked = history_now(r->history);
        if (f->session_id != 0 && p->at_node == f->node &&
            p->sent_offset == p->offset &&
            p->sent_epoch == (version >= FETCH_WITH_EPOCH ? epoch : -1))
            continue;
        add_position(r, f, p, epoch, version, count, q, arena);
    }
    return of_node;
}

static void fetch(struct load_reader *r, struct feed *f)
{
    struct fetch_request q;
    struct arena arena;
    int16_t floor = r->options.by_id      ? FETCH_WITH_IDS
                    : r->options.sessions ? FETCH_WITH_SESSIONS
                                          : FETCH_FLOOR;
    int16_t version =
        load_client_version(r->client, API_FETCH, floor, INT16_MAX);

    arena_init(&arena, 0);
    fetch_request_init(&q);
    q.max_wait_ms = r->options.max_wait_ms;
    q.min_bytes = r->options.min_bytes;
    q.max_bytes = r->options.max_bytes;
    if (r->options.sessions) {
        q.session_id = f->session_id;
        q.session_epoch = f->session_epoch;
    }
    if (fill_positions(r, f, version, &q, &arena) != 0) {
        fill_forgotten(f, &q, &arena);
        f->in_flight = true;
        load_client_call(r->client, f->node, API_FETCH, version, &q,
                         r->options.max_wait_ms, answered, f);
        forget_forgotten(f);
    }
    arena_free(&arena);
}

static void pump(struct load_reader *r)
{
    const int32_t *ids;
    size_t n = load_client_nodes(r->client, &ids);

    load_reader_place(r);
    for (size_t i = 0; i < n; i++) {
        struct feed *f = feed_of(r, ids[i]);
        if (!f->in_flight && env_now_ms(r->env) >= f->retry_at_ms)
            fetch(r, f);
    }
}

/* ---- time ---------------------------------------------------------------- */

/* Goes back to somewhere that was read before. */
static void seek_back(struct load_reader *r)
{
    LIST_EACH (node, &r->positions) {
        struct position *p = LIST_ENTRY(node, struct position, in);
        if (p->offset > 0 && prng_below(r->prng, 4) == 0)
            load_reader_seek(r, p,
                             (int64_t)prng_below(r->prng, (uint64_t)p->offset));
    }
}

static void tell_finished(struct load_reader *r)
{
    LIST_EACH (node, &r->positions) {
        struct position *p = LIST_ENTRY(node, struct position, in);
        if (p->finished || !is_finished(p))
            continue;
        p->finished = true;
        history_final(r->history, p->topic, p->partition, p->start, p->offset);
    }
}

static void tick(void *arg)
{
    struct load_reader *r = arg;

    compare_topics(r);
    if (r->options.seek_percent > 0 &&
        prng_below(r->prng, 100) < (uint64_t)r->options.seek_percent)
        seek_back(r);
    if (r->options.query_percent > 0 &&
        prng_below(r->prng, 100) < (uint64_t)r->options.query_percent)
        load_reader_query(r);
    if (r->options.stray_percent > 0 &&
        prng_below(r->prng, 100) < (uint64_t)r->options.stray_percent)
        load_reader_stray(r);
    pump(r);
    if (r->options.final)
        tell_finished(r);
    env_timer_start(r->env, &r->timer, TICK_MS);
}

/* ---- final readers ------------------------------------------------------- */

/* Read to its end, or of a topic whose deletion was asked for and that is gone.
 */
static bool is_done(const struct load_reader *r, const struct position *p)
{
    return p->finished ||
           (history_topic_is_doomed(r->history, p->topic) &&
            load_client_topic(r->client, SLICE_NULL, p->id) == NULL);
}

bool load_reader_is_done(const struct load_reader *r)
{
    LIST_EACH (node, &r->positions) {
        if (!is_done(r, LIST_ENTRY(node, struct position, in)))
            return false;
    }
    return true;
}

const char *load_reader_missing(struct load_reader *r)
{
    free(r->missing);
    r->missing = NULL;
    LIST_EACH (node, &r->positions) {
        const struct position *p = LIST_ENTRY(node, struct position, in);
        if (is_done(r, p))
            continue;
        r->missing =
            xasprintf("%s-%d was read up to offset %lld, and its end %s",
                      p->name, p->partition, (long long)p->offset,
                      p->end < 0 ? "is not known" : "was not reached");
        return r->missing;
    }
    return "";
}
