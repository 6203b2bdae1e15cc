/* Fetch, at home: sessions (KIP-227), waiting for data, and the answer.
 *
 * Every fetch runs over a session: one that the client keeps (id > 0), or one
 * that lives for a single request. A session has a part on every shard (see
 * fetch_part.h). A request is carried out in rounds: all parts run; if what
 * they found is enough the answer goes out, else the request waits until a part
 * wakes it or its time is up, and another round follows.
 *
 * The record bytes never come here: results are file ranges, which the network
 * sends by sendfile. Only old clients (versions 0 to 3) get their records read
 * and rewritten as message sets.
 *
 * A second request on the same session while the first still waits (our own
 * followers do that) ends the wait of the first.
 *
 * A request that waits gives back what it was received and decoded into. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "broker/dispatch.h"
#include "broker/fetch_part.h"
#include "broker/quotas.h"
#include "broker/sessions.h"
#include "proto/record/message_set.h"

#include <stdlib.h>

enum {
    SESSION_IDLE_MAX_MS = 120000,
    EXPANDED_MAX_BYTES = 256 << 20, /* of one batch, for old clients */
    REWRITTEN_MAX_BYTES = 4 << 20,  /* read for one answer to an old client */
    EPOCH_FINAL = -1,               /* of a request that ends its session */
    WAITING_ENTRIES_MAX = 1 << 20,  /* of fetches without a session */
};

enum fetch_state {
    SESSION_IDLE,
    SESSION_RUNNING,  /* parts are out */
    SESSION_WAITING,  /* for a wake or the deadline */
    SESSION_TELLING,  /* parts are told that the follower is silent */
    SESSION_DROPPING, /* parts are being emptied, then it is freed */
};

struct fetch_session {
    struct list link; /* in shard->sessions, kept sessions only */
    struct shard *shard;
    int32_t id;    /* 0: for one request only */
    int32_t epoch; /* the next request's */
    bool kept;
    bool by_id; /* asked by topic id (version 13 and later) */
    int32_t replica_id;
    int64_t made_ms;
    int64_t partitions; /* as of the last fetch that ended */
    int64_t used_ms;
    struct map names; /* topics asked for by name, and their ids then, ... */
    uint64_t names_as_of; /* ... looked at when shard->topic_changes was that */
    struct map renewals;  /* see struct fetch_part; in the request's arena */
    bool reported_silent;

    enum fetch_state state;
    struct request *request; /* the one being carried out */
    struct request *next;    /* the one behind it */
    int pending;             /* parts out; +1 while sending */
    int64_t deadline_ms;
    bool again;         /* a part woke us during the round */
    bool hurry;         /* don't wait any longer */
    bool unknown_names; /* the request names a topic that does not exist */
    bool *unknown;      /* which of its topics; in the request's arena */
    bool withheld;      /* what was found last did not go out */
    bool looked;        /* read_behind() has done its work */
    bool settled;       /* of the request only what settle() keeps is left */
    int64_t waiting;    /* its share of shard->fetch_entries_waiting */
    struct env_timer timer;
    int parts_len;
    struct fetch_part parts[];
};

static void session_end(struct fetch_session *s);
static void start_round(struct fetch_session *s);
static void begin(struct fetch_session *s, struct request *r);

/* ---- life of a session --------------------------------------------------- */

static void session_free(struct fetch_session *s)
{
    for (int i = 0; i < s->parts_len; i++) {
        if (atomic_load(&s->parts[i].wake_out))
            return; /* the wake that is on its way comes back here */
    }
    for (int i = 0; i < s->parts_len; i++)
        fetch_part_free(&s->parts[i]);
    MAP_EACH (entry, &s->names)
        free(entry->value);
    map_free(&s->names);
    map_free(&s->renewals);
    free(s);
}

static void session_unlist(struct fetch_session *s)
{
    if (!s->kept)
        return;
    s->kept = false;
    list_remove(&s->link);
    s->shard->sessions_len--;
}

static void session_drop(struct fetch_session *s)
{
    ASSERT(s->state == SESSION_IDLE && s->request == NULL);
    session_unlist(s);
    s->state = SESSION_DROPPING;
    s->pending = 1;
    for (int i = 0; i < s->parts_len; i++) {
        s->pending++;
        fetch_part_discard(&s->parts[i]);
        fetch_part_send(&s->parts[i], FETCH_DROP);
    }
    if (--s->pending == 0)
        session_free(s);
}

static void on_deadline(void *arg)
{
    struct fetch_session *s = arg;

    s->hurry = true;
    if (s->state == SESSION_WAITING)
        start_round(s);
}

static void part_returned(struct fetch_part *part);
static void part_woke(struct fetch_part *part);

static struct fetch_session *session_new(struct shard *shard)
{
    int n = shard->broker->shards_len;
    struct fetch_session *s =
        xcalloc(1, sizeof *s + (size_t)n * sizeof *s->parts);

    s->shard = shard;
    s->made_ms = env_now_ms(shard->env);
    s->parts_len = n;
    s->replica_id = -1;
    s->timer.fn = on_deadline;
    s->timer.arg = s;
    list_init(&s->link);
    for (int i = 0; i < n; i++) {
        fetch_part_init(&s->parts[i], shard->broker->shards[i], shard, s);
        s->parts[i].returned = part_returned;
        s->parts[i].woke = part_woke;
    }
    return s;
}

static struct fetch_session *session_find(struct shard *shard, int32_t id)
{
    LIST_EACH (node, &shard->sessions) {
        struct fetch_session *s = LIST_ENTRY(node, struct fetch_session, link);
        if (s->id == id)
            return s;
    }
    return NULL;
}

static bool is_younger(const struct fetch_session *s, int64_t now_ms)
{
    return now_ms - s->made_ms <= SESSION_IDLE_MAX_MS;
}

/* Consumers' before followers', smaller before larger ones. */
static bool is_worth_less(const struct fetch_session *a,
                          const struct fetch_session *b)
{
    bool follower = a->replica_id >= 0;

    if (follower != (b->replica_id >= 0))
        return !follower;
    return a->partitions < b->partitions;
}

/* The session that `s` may take the place of, as in Kafka: one that nobody has
 * used for long; for a follower any consumer's; else one that is not young and
 * has no more partitions.  NULL: none. */
static struct fetch_session *session_victim(const struct fetch_session *s)
{
    struct list *all = &s->shard->sessions;
    int64_t now_ms = env_now_ms(s->shard->env);
    struct fetch_session *victim =
        LIST_ENTRY(all->next, struct fetch_session, link);

    if (now_ms - victim->used_ms > SESSION_IDLE_MAX_MS)
        return victim;
    victim = NULL;
    LIST_EACH (node, all) {
        struct fetch_session *v = LIST_ENTRY(node, struct fetch_session, link);
        bool open_to_us =
            !is_younger(v, now_ms) || (s->replica_id >= 0 && v->replica_id < 0);

        if (open_to_us && (victim == NULL || is_worth_less(v, victim)))
            victim = v;
    }
    return victim != NULL && !is_worth_less(s, victim) ? victim : NULL;
}

/* Gives the session an id if there is room, or is made. */
static void session_keep(struct fetch_session *s)
{
    struct shard *shard = s->shard;
    int32_t slots = shard->broker->config->fetch_session_slots;

    if (slots == 0 && s->replica_id < 0)
        return;
    if (shard->sessions_len >= slots / shard->broker->shards_len + 1) {
        struct fetch_session *victim = session_victim(s);

        if (victim == NULL)
            return;
        session_end(victim);
    }
    do {
        s->id = (int32_t)(env_random(shard->env) & INT32_MAX);
    } while (s->id == 0 || session_find(shard, s->id) != NULL);
    s->epoch = 1;
    s->kept = true;
    list_push_back(&shard->sessions, &s->link);
    shard->sessions_len++;
}

static void session_used(struct fetch_session *s)
{
    s->used_ms = env_now_ms(s->shard->env);
    s->reported_silent = false;
    if (s->kept) {
        list_remove(&s->link);
        list_push_back(&s->shard->sessions, &s->link);
    }
}

/* ---- the answer ---------------------------------------------------------- */

struct sorted {
    const struct fetch_result *result;
    int order;
};

static int by_topic(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    int order = memcmp(x->result->topic_id.bytes, y->result->topic_id.bytes,
                       sizeof x->result->topic_id.bytes);

    return order != 0 ? order : x->order - y->order;
}

/* What all partitions together may give; below version 3 a request has only
 * limits for each. */
static int32_t max_bytes_of(const struct request *r)
{
    const struct fetch_request *q = r->msg;
    int32_t max = r->shard->broker->config->fetch_max_bytes;
    int32_t largest =
        r->exempt ? INT32_MAX : quota_largest(r->quotas, QUOTA_FETCH);

    if (largest < max)
        max = largest;
    /* Rewritten records are held in memory until they are sent. */
    if (r->version < 4 && REWRITTEN_MAX_BYTES < max)
        max = REWRITTEN_MAX_BYTES;
    return r->version >= 3 && q->max_bytes < max ? q->max_bytes : max;
}

/* Each shard read within the whole limit, so the sum may exceed it: what does
 * not fit stays unsent and unread, and comes with the next fetch. */
static void trim(struct fetch_session *s, int64_t max_bytes)
{
    int64_t total = 0;

    for (int i = 0; i < s->parts_len; i++)
        for (int j = 0; j < s->parts[i].results_len; j++) {
            struct log_range *range = &s->parts[i].results[j].range;

            if (range->len == 0)
                continue;
            if (total > 0 && total + range->len > max_bytes) {
                env_file_unref(range->file);
                *range = (struct log_range){0};
                s->parts[i].trimmed = true;
            }
            total += range->len;
        }
}

static void add_endpoint(struct request *r, struct fetch_response *a,
                         int32_t id)
{
    const struct shard_broker *b = request_hint(r, id);

    if (b == NULL || r->version < 16)
        return;
    for (int i = 0; i < a->node_endpoints_len; i++)
        if (a->node_endpoints[i].node_id == id)
            return;
    struct fetch_response_node_endpoint *e =
        &a->node_endpoints[a->node_endpoints_len++];
    fetch_response_node_endpoint_init(e);
    e->node_id = id;
    e->host = arena_copy(&r->arena, slice_str(b->client_host));
    e->port = b->client_port;
}

/* Versions 0 to 3 know message sets only: the range is read and rewritten. What
 * can't be said in the old format (zstd) is an error.  *expand_bytes: what may
 * still come out of compressed batches for this answer, as that takes a shard's
 * time; without any the partition has its turn in another one. */
static enum err down_convert(struct request *r, const struct fetch_result *f,
                             size_t *expand_bytes, struct kafka_records *out)
{
    struct codec *codec = r->shard->codec;
    uint64_t before = codec_expanded_bytes(codec);

    if (*expand_bytes == 0)
        return ERR_NONE;
    uint8_t *data = xmalloc(f->range.len);
    struct buf set = BUF_INIT;
    struct message_set_down how = {
        .magic = r->version < 2 ? 0 : 1,
        .first_offset = f->asked_offset,
        /* Rewritten records may be larger than what they are made of. */
        .max_bytes = f->max_bytes > 0 && (uint32_t)f->max_bytes > f->range.len
                         ? (uint32_t)f->max_bytes
                         : f->range.len,
        .limit_bytes = EXPANDED_MAX_BYTES,
        .total_bytes = *expand_bytes,
    };
    size_t consumed;

    enum err error = ERR_KAFKA_STORAGE_ERROR;
    if (env_file_read(f->range.file, data, f->range.len, f->range.position) ==
        (int64_t)f->range.len)
        error = message_set_down(codec, slice_of(data, f->range.len), &how,
                                 &set, &consumed);
    uint64_t came = codec_expanded_bytes(codec) - before;
    *expand_bytes -= came < *expand_bytes ? (size_t)came : *expand_bytes;
    out->bytes = arena_copy(&r->arena, buf_slice(&set));
    buf_free(&set);
    free(data);
    return error;
}

static void fill_aborted(struct request *r, const struct fetch_result *f,
                         struct fetch_response_partition_data *out)
{
    const struct log_aborted *a = (const void *)f->aborted.data;
    size_t n = f->aborted.len / sizeof *a;

    if (n == 0)
        return;
    out->aborted_transactions =
        arena_array(&r->arena, n, sizeof *out->aborted_transactions);
    out->aborted_transactions_len = (int32_t)n;
    for (size_t i = 0; i < n; i++) {
        fetch_response_aborted_transaction_init(&out->aborted_transactions[i]);
        out->aborted_transactions[i].producer_id = a[i].producer_id;
        out->aborted_transactions[i].first_offset = a[i].first_offset;
    }
}

static void fill_partition(struct request *r, struct fetch_response *a,
                           struct fetch_result *f, size_t *expand_bytes,
                           struct fetch_response_partition_data *out)
{
    const struct fetch_request *q = r->msg;

    fetch_response_partition_data_init(out);
    out->partition_index = f->index;
    out->error_code = err_wire(f->error);
    if (r->version >= 13 && f->error == ERR_UNKNOWN_TOPIC_OR_PARTITION &&
        shard_topic_by_id(r->shard, &f->topic_id) == NULL)
        out->error_code = err_wire(ERR_UNKNOWN_TOPIC_ID);
    out->high_watermark = f->high_watermark;
    out->last_stable_offset = f->last_stable_offset;
    out->log_start_offset = f->start_offset;
    out->preferred_read_replica = f->preferred;
    out->diverging_epoch.epoch = f->diverging_epoch;
    out->diverging_epoch.end_offset = f->diverging_end;
    out->aborted_transactions_len =
        q->isolation_level == READ_COMMITTED || f->error != ERR_NONE ? 0 : -1;
    if (f->range.len != 0)
        fill_aborted(r, f, out);
    out->records.bytes = SLICE("");
    if (f->error == ERR_NOT_LEADER_OR_FOLLOWER && f->leader >= 0 &&
        r->version >= 12) {
        out->current_leader.leader_id = f->leader;
        out->current_leader.leader_epoch = f->leader_epoch;
        add_endpoint(r, a, f->leader);
    }
    if (f->range.len == 0)
        return;
    if (r->version >= 4) {
        out->records.ext = &f->range;
        out->records.ext_len = f->range.len;
        return;
    }
    enum err error = down_convert(r, f, expand_bytes, &out->records);
    if (error != ERR_NONE) {
        out->error_code = err_wire(error);
        out->records.bytes = SLICE("");
    }
}

static int count_results(const struct fetch_session *s)
{
    int n = 0;

    for (int i = 0; i < s->parts_len; i++)
        n += s->parts[i].results_len;
    return n;
}

static void fill_topics(struct request *r, struct fetch_response *a,
                        struct sorted *sorted, int n)
{
    struct fetch_response_partition_data *items =
        arena_array(&r->arena, (size_t)n, sizeof *items);
    struct fetch_response_fetchable_topic_response *t = NULL;
    size_t expand_bytes = EXPANDED_MAX_BYTES;

    for (int i = 0; i < n; i++) {
        struct fetch_result *f =
            (struct fetch_result *)(uintptr_t)sorted[i].result;

        if (t == NULL || !uuid_eq(t->topic_id, f->topic_id)) {
            t = &a->responses[a->responses_len++];
            fetch_response_fetchable_topic_response_init(t);
            t->topic_id = f->topic_id;
            t->topic = f->name;
            t->partitions = items;
        }
        fill_partition(r, a, f, &expand_bytes,
                       &t->partitions[t->partitions_len++]);
        items++;
    }
}

/* Topics asked for by a name that no topic had when the request came: one that
 * was created since has no part in this answer. */
static void fill_unknown(struct request *r, const bool *unknown,
                         struct fetch_response *a)
{
    const struct fetch_request *q = r->msg;

    if (r->version >= 13)
        return;
    for (int i = 0; i < q->topics_len; i++) {
        const struct fetch_request_topic *asked = &q->topics[i];

        if (!unknown[i])
            continue;
        struct fetch_response_fetchable_topic_response *t =
            &a->responses[a->responses_len++];
        fetch_response_fetchable_topic_response_init(t);
        t->topic = asked->topic;
        t->partitions = arena_array(&r->arena, (size_t)asked->partitions_len,
                                    sizeof *t->partitions);
        t->partitions_len = asked->partitions_len;
        for (int j = 0; j < asked->partitions_len; j++) {
            struct fetch_response_partition_data *p = &t->partitions[j];

            fetch_response_partition_data_init(p);
            p->partition_index = asked->partitions[j].partition;
            p->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
            p->high_watermark = -1;
            p->records.bytes = SLICE("");
        }
    }
}

/* Bytes of records, and about as many for each partition as its fields take. */
static int64_t answer_bytes(const struct fetch_session *s)
{
    enum { PARTITION_BYTES = 60 };
    int64_t bytes = 0;

    for (int i = 0; i < s->parts_len; i++)
        for (int j = 0; j < s->parts[i].results_len; j++)
            bytes += PARTITION_BYTES + s->parts[i].results[j].range.len;
    return bytes;
}

/* Above its quota a consumer gets nothing, which counts for nothing, and pauses
 * for as long as what there is would have taken.  As in Kafka there is no new
 * session then. */
static bool withhold(struct fetch_session *s)
{
    struct request *r = s->request;
    const struct fetch_request *q = r->msg;
    double bytes = (double)answer_bytes(s);
    int64_t now_us = env_now_us(s->shard->env);
    struct fetch_response a;

    if (r->exempt || r->quotas == NULL)
        return false;
    int32_t ms = quota_would_be(r->quotas, QUOTA_FETCH, bytes, now_us);
    if (ms == 0) {
        request_throttle(r, quota_take(r->quotas, QUOTA_FETCH, bytes, now_us));
        return false;
    }
    for (int i = 0; i < s->parts_len; i++)
        fetch_part_discard(&s->parts[i]);
    s->withheld = true;
    if (q->session_epoch <= 0) {
        session_unlist(s);
        s->id = 0;
    }
    fetch_response_init(&a);
    a.session_id = s->id;
    request_throttle(r, ms);
    request_respond(r, &a);
    return true;
}

static void count_throttled(const struct fetch_session *s)
{
    int64_t bytes = 0;

    for (int i = 0; i < s->parts_len; i++)
        for (int j = 0; j < s->parts[i].results_len; j++)
            if (s->parts[i].results[j].throttled)
                bytes += s->parts[i].results[j].range.len;
    throttle_count(s->shard, THROTTLE_LEADER, bytes);
}

static void respond(struct fetch_session *s)
{
    struct request *r = s->request;
    const struct fetch_request *q = r->msg;
    struct fetch_response a;
    int n, k = 0;

    trim(s, max_bytes_of(r));
    if (withhold(s))
        return;
    count_throttled(s);
    n = count_results(s);
    struct sorted *sorted = arena_array(&r->arena, (size_t)n, sizeof *sorted);
    struct log_range *ranges =
        arena_array(&r->arena, (size_t)n, sizeof *ranges);
    for (int i = 0; i < s->parts_len; i++)
        for (int j = 0; j < s->parts[i].results_len; j++, k++)
            sorted[k] = (struct sorted){&s->parts[i].results[j], k};
    qsort(sorted, (size_t)n, sizeof *sorted, by_topic);

    fetch_response_init(&a);
    a.session_id = s->id;
    a.responses = arena_array(&r->arena, (size_t)(n + q->topics_len),
                              sizeof *a.responses);
    a.node_endpoints =
        arena_array(&r->arena, (size_t)n, sizeof *a.node_endpoints);
    fill_topics(r, &a, sorted, n);
    fill_unknown(r, s->unknown, &a);
    for (int i = 0; i < n; i++)
        ranges[i] = sorted[i].result->range;
    request_respond_ranges(r, &a, ranges, n);
    for (int i = 0; i < s->parts_len; i++)
        fetch_part_sent(&s->parts[i]);
}

static void respond_error(struct request *r, enum err error)
{
    struct fetch_response a;

    fetch_response_init(&a);
    a.error_code = err_wire(error);
    request_respond(r, &a);
}

static struct fetch_part *part_of(struct fetch_session *s,
                                  const struct uuid *topic_id, int32_t index)
{
    return &s->parts[broker_shard_of(s->shard->broker, topic_id, index)];
}

/* ---- rounds -------------------------------------------------------------- */

static int64_t count_entries(const struct fetch_session *s)
{
    int64_t count = 0;

    for (int i = 0; i < s->parts_len; i++)
        count += map_count(&s->parts[i].by_key);
    return count;
}

static void finish(struct fetch_session *s)
{
    struct request *next = s->next;

    env_timer_stop(s->shard->env, &s->timer);
    s->request->cancel = NULL;
    s->partitions = count_entries(s);
    respond(s);
    s->request = s->next = NULL;
    s->state = SESSION_IDLE;
    if (next != NULL)
        begin(s, next);
    else if (!s->kept)
        session_drop(s);
}

static bool enough(const struct fetch_session *s)
{
    const struct fetch_request *q = s->request->msg;
    int64_t bytes = 0;

    for (int i = 0; i < s->parts_len; i++) {
        if (s->parts[i].urgent)
            return true;
        bytes += s->parts[i].bytes;
    }
    return bytes >= q->min_bytes || s->unknown_names;
}

/* What was asked is in the entries; a wait needs but the rest, and must not
 * keep the room that others' requests need, followers' fetches among them. */
static void settle(struct fetch_session *s)
{
    struct arena kept;

    if (s->settled)
        return;
    s->settled = true;
    arena_init(&kept, 0);
    struct fetch_request *q = arena_alloc(&kept, sizeof *q);
    *q = *(const struct fetch_request *)s->request->msg;
    q->topics = NULL;
    q->forgotten_topics_data = NULL;
    q->topics_len = q->forgotten_topics_data_len = 0;
    q->cluster_id = q->rack_id = SLICE_NULL;
    struct slice rack = arena_copy(&kept, s->parts[0].rack);
    s->unknown = NULL;
    for (int i = 0; i < s->parts_len; i++) {
        s->parts[i].rack = rack;
        s->parts[i].asks = s->parts[i].forget = NULL;
    }
    request_shrink(s->request, &kept, q);
}

/* Sessions that are kept have a bound of their own. */
static bool may_wait(const struct fetch_session *s)
{
    return s->kept || count_entries(s) <=
                          WAITING_ENTRIES_MAX - s->shard->fetch_entries_waiting;
}

/* Entries of topics that were made again are asked of the shards that have
 * their partitions now, in another round. */
static bool move_entries(struct fetch_session *s)
{
    struct request *r = s->request;
    int count = 0;

    map_free(&s->renewals);
    for (int i = 0; i < s->parts_len; i++)
        count += s->parts[i].moved_len;
    if (count == 0)
        return false;
    for (int i = 0; i < s->parts_len; i++) {
        s->parts[i].sent = false;
        s->parts[i].asks =
            arena_array(&r->arena, (size_t)count, sizeof *s->parts[i].asks);
    }
    for (int i = 0; i < s->parts_len; i++) {
        for (int j = 0; j < s->parts[i].moved_len; j++) {
            struct fetch_ask *ask = &s->parts[i].moved[j];
            struct fetch_part *to = part_of(s, &ask->topic_id, ask->index);

            to->asks[to->asks_len++] = *ask;
        }
        s->parts[i].moved_len = 0;
    }
    return true;
}

/* Compaction may have left records before the asked offset alone of the batch
 * that holds it: then this is where that batch ends. -1: there is something, or
 * it cannot be said. */
static int64_t end_of_nothing(struct request *r, const struct fetch_result *f)
{
    uint8_t header[BATCH_HEADER_BYTES];
    struct buf set = BUF_INIT;
    struct message_set_down how = {.first_offset = f->asked_offset,
                                   .limit_bytes = EXPANDED_MAX_BYTES,
                                   .total_bytes = EXPANDED_MAX_BYTES};
    int64_t end = -1;
    size_t consumed;
    struct batch b;

    if (f->range.len < sizeof header ||
        f->range.base_offset >= f->asked_offset ||
        env_file_read(f->range.file, header, sizeof header,
                      f->range.position) != sizeof header)
        return -1;
    enum err error = batch_parse(slice_of(header, sizeof header), &b);
    if ((error != ERR_NONE && error != ERR_TOO_LARGE) ||
        b.size_bytes > f->range.len)
        return -1;
    uint8_t *data = xmalloc(b.size_bytes);
    how.max_bytes = b.size_bytes;
    if (env_file_read(f->range.file, data, b.size_bytes, f->range.position) ==
            (int64_t)b.size_bytes &&
        message_set_down(r->shard->codec, slice_of(data, b.size_bytes), &how,
                         &set, &consumed) == ERR_NONE &&
        set.len == 0)
        end = batch_last_offset(&b) + 1;
    buf_free(&set);
    free(data);
    return end;
}

/* An old client that is sent nothing asks the same again for ever: another
 * round reads on behind.  One is enough, later batches begin behind the asked
 * offset, too. */
static bool read_behind(struct fetch_session *s)
{
    struct request *r = s->request;
    bool any = false;

    if (!s->parts[0].old_format || s->looked)
        return false;
    s->looked = true;
    for (int i = 0; i < s->parts_len; i++) {
        struct fetch_part *part = &s->parts[i];

        part->sent = false;
        part->asks = arena_array(&r->arena, (size_t)part->results_len,
                                 sizeof *part->asks);
        for (int j = 0; j < part->results_len; j++) {
            const struct fetch_result *f = &part->results[j];
            int64_t end = f->range.len != 0 ? end_of_nothing(r, f) : -1;

            if (end >= 0)
                part->asks[part->asks_len++] = (struct fetch_ask){
                    .topic_id = f->topic_id,
                    .index = f->index,
                    .current_leader_epoch = -1,
                    .last_fetched_epoch = -1,
                    .max_bytes = f->max_bytes,
                    .offset = end,
                    .start_offset = -1,
                };
        }
        any |= part->asks_len != 0;
    }
    return any;
}

static void round_done(struct fetch_session *s)
{
    if (move_entries(s) || read_behind(s)) {
        start_round(s);
        return;
    }
    if (s->hurry || enough(s)) {
        finish(s);
        return;
    }
    for (int i = 0; i < s->parts_len; i++)
        s->parts[i].sent = false;
    if (s->again) {
        start_round(s);
        return;
    }
    if (!may_wait(s)) {
        finish(s);
        return;
    }
    settle(s);
    s->state = SESSION_WAITING;
    s->waiting = s->kept ? 0 : count_entries(s);
    s->shard->fetch_entries_waiting += s->waiting;
    int64_t left_ms = s->deadline_ms - env_now_ms(s->shard->env);
    env_timer_start(s->shard->env, &s->timer, left_ms > 0 ? left_ms : 0);
}

/* The partitions know that the follower is silent; a request may have come in
 * meanwhile. */
static void told(struct fetch_session *s)
{
    struct request *next = s->next;

    s->state = SESSION_IDLE;
    s->next = NULL;
    if (next != NULL)
        begin(s, next);
    else if (!s->kept)
        session_drop(s);
}

static void part_returned(struct fetch_part *part)
{
    struct fetch_session *s = part->owner;

    if (--s->pending != 0)
        return;
    if (s->state == SESSION_DROPPING)
        session_free(s);
    else if (s->state == SESSION_RUNNING)
        round_done(s);
    else if (s->state == SESSION_TELLING)
        told(s);
}

static void part_woke(struct fetch_part *part)
{
    struct fetch_session *s = part->owner;

    if (s->state == SESSION_DROPPING) {
        if (s->pending == 0)
            session_free(s);
        return;
    }
    s->again = true;
    if (s->state == SESSION_WAITING)
        start_round(s);
}

static void start_round(struct fetch_session *s)
{
    env_timer_stop(s->shard->env, &s->timer);
    s->shard->fetch_entries_waiting -= s->waiting;
    s->waiting = 0;
    s->state = SESSION_RUNNING;
    s->again = false;
    s->pending = 1;
    for (int i = 0; i < s->parts_len; i++) {
        struct fetch_part *part = &s->parts[i];

        fetch_part_discard(part);
        part->max_bytes = max_bytes_of(s->request);
        s->pending++;
        fetch_part_send(part, FETCH_RUN);
    }
    if (--s->pending == 0)
        round_done(s);
}

/* ---- a request comes in -------------------------------------------------- */

static int32_t replica_of(const struct request *r)
{
    const struct fetch_request *q = r->msg;

    return r->version >= 15 ? q->replica_state.replica_id : q->replica_id;
}

/* The id under which a topic's entries are kept; false for a name that no topic
 * has. */
static bool topic_id_of(const struct request *r, struct slice name,
                        const struct uuid *id, struct uuid *out)
{
    if (r->version >= 13) {
        *out = *id;
        return true;
    }
    struct shard_topic *t = shard_topic_by_name(r->shard, name);
    if (t != NULL)
        *out = t->id;
    return t != NULL;
}

static void forget(struct fetch_session *s, const struct uuid *id,
                   int32_t index, bool count)
{
    struct fetch_part *part = part_of(s, id, index);

    if (!count)
        part->forget[part->forget_len] =
            (struct fetch_ask){.topic_id = *id, .index = index};
    part->forget_len++;
}

/* The topic that had the name when the session asked for it, if that is another
 * one than has it now, or none has; else NULL. */
static const struct uuid *namesake(const struct fetch_session *s,
                                   const struct request *r, struct slice name,
                                   const struct uuid *now)
{
    const struct uuid *then =
        r->version >= 13 ? NULL : map_get(&s->names, name);

    return then != NULL && now != NULL && uuid_eq(*then, *now) ? NULL : then;
}

/* Two passes over the request: count each part's share, then fill it in. */
static void distribute(struct fetch_session *s, struct request *r, bool count)
{
    struct fetch_request *q = r->msg;
    struct uuid id;

    for (int i = 0; i < q->topics_len; i++) {
        const struct fetch_request_topic *t = &q->topics[i];

        if (!topic_id_of(r, t->topic, &t->topic_id, &id)) {
            s->unknown_names = s->unknown[i] = true;
            continue;
        }
        const struct uuid *before = namesake(s, r, t->topic, &id);
        for (int j = 0; j < t->partitions_len; j++) {
            const struct fetch_request_partition *p = &t->partitions[j];
            struct fetch_part *part = part_of(s, &id, p->partition);

            if (before != NULL)
                forget(s, before, p->partition, count);

            if (!count)
                part->asks[part->asks_len] = (struct fetch_ask){
                    .topic_id = id,
                    .name = r->version >= 13 ? SLICE_NULL : t->topic,
                    .index = p->partition,
                    .current_leader_epoch = p->current_leader_epoch,
                    .last_fetched_epoch = p->last_fetched_epoch,
                    .max_bytes = p->partition_max_bytes,
                    .offset = p->fetch_offset,
                    .start_offset = p->log_start_offset,
                };
            part->asks_len++;
        }
    }
    for (int i = 0; i < q->forgotten_topics_data_len; i++) {
        const struct fetch_request_forgotten_topic *t =
            &q->forgotten_topics_data[i];

        bool known = topic_id_of(r, t->topic, &t->topic_id, &id);
        const struct uuid *before =
            namesake(s, r, t->topic, known ? &id : NULL);
        for (int j = 0; j < t->partitions_len; j++) {
            if (known)
                forget(s, &id, t->partitions[j], count);
            if (before != NULL)
                forget(s, before, t->partitions[j], count);
        }
    }
}

/* So that they can be forgotten when they have no name any more. */
static void remember_names(struct fetch_session *s, const struct request *r)
{
    const struct fetch_request *q = r->msg;

    for (int i = 0; i < q->topics_len; i++) {
        struct slice name = q->topics[i].topic;
        struct shard_topic *t = shard_topic_by_name(r->shard, name);
        const struct uuid *known = map_get(&s->names, name);

        if (t != NULL && (known == NULL || !uuid_eq(*known, t->id)))
            free(map_put(&s->names, name, xmemdup(&t->id, sizeof t->id)));
    }
}

/* By name a topic that is deleted and made again is the same one, also where
 * the client does not name it again. */
static void renew_names(struct fetch_session *s, struct request *r)
{
    if (s->names_as_of == s->shard->topic_changes)
        return;
    s->names_as_of = s->shard->topic_changes;
    MAP_EACH (entry, &s->names) {
        struct shard_topic *t = shard_topic_by_name(s->shard, entry->key);
        struct uuid *then = entry->value;

        if (t == NULL || uuid_eq(*then, t->id))
            continue;
        struct fetch_renewal *now = arena_alloc(&r->arena, sizeof *now);
        now->id = t->id;
        now->name = arena_copy(&r->arena, entry->key);
        map_put(&s->renewals, uuid_slice(then), now);
        *then = t->id;
    }
    for (int i = 0; i < s->parts_len && map_count(&s->renewals) != 0; i++)
        s->parts[i].renewals = &s->renewals;
}

static void distribute_request(struct fetch_session *s, struct request *r)
{
    const struct fetch_request *q = r->msg;

    s->unknown =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *s->unknown);
    for (int i = 0; i < s->parts_len; i++)
        s->parts[i].asks_len = s->parts[i].forget_len = 0;
    distribute(s, r, true);
    for (int i = 0; i < s->parts_len; i++) {
        struct fetch_part *part = &s->parts[i];

        part->asks =
            arena_array(&r->arena, (size_t)part->asks_len, sizeof *part->asks);
        part->forget = arena_array(&r->arena, (size_t)part->forget_len,
                                   sizeof *part->forget);
        part->asks_len = part->forget_len = 0;
    }
    distribute(s, r, false);
    if (s->kept && r->version < 13) {
        renew_names(s, r);
        remember_names(s, r);
    }
}

/* By which a consumer may be sent to another replica: one that a broker is in,
 * so no longer than theirs. */
static struct slice rack_of(const struct fetch_session *s,
                            const struct request *r)
{
    const struct fetch_request *q = r->msg;

    if (s->replica_id >= 0 || r->version < 11 ||
        !s->shard->broker->config->reads_by_rack)
        return SLICE_NULL;
    MAP_EACH (entry, &s->shard->brokers) {
        const struct shard_broker *b = entry->value;

        if (slice_eq(q->rack_id, slice_str(b->rack)))
            return q->rack_id;
    }
    return SLICE_NULL;
}

/* The connection is gone: nobody waits for the answer any more. */
static void on_cancel(struct request *r)
{
    struct fetch_session *s = r->context;

    s->hurry = true;
    if (s->state == SESSION_WAITING)
        start_round(s);
}

static void begin(struct fetch_session *s, struct request *r)
{
    const struct fetch_request *q = r->msg;
    bool full = q->session_epoch <= 0 || r->version < 7;

    s->request = r;
    s->hurry = q->max_wait_ms <= 0;
    s->again = s->unknown_names = s->looked = s->settled = false;
    s->deadline_ms =
        env_now_ms(s->shard->env) + (q->max_wait_ms > 0 ? q->max_wait_ms : 0);
    s->by_id = r->version >= 13;
    session_used(s);
    distribute_request(s, r);
    for (int i = 0; i < s->parts_len; i++) {
        s->parts[i].full = full;
        s->parts[i].sent = !s->withheld; /* those of the request before */
        s->parts[i].replica_id = s->replica_id;
        s->parts[i].read_committed = q->isolation_level == READ_COMMITTED;
        s->parts[i].followers_too = s->replica_id < 0 && r->version >= 11;
        s->parts[i].rack = rack_of(s, r);
        s->parts[i].old_format = s->replica_id < 0 && r->version < 4;
        s->parts[i].replica_epoch =
            r->version >= 15 ? q->replica_state.replica_epoch : -1;
    }
    /* A name that no topic has cannot be part of a session: the client is told
     * that there is none, and asks in full the next time. */
    if (s->unknown_names) {
        session_unlist(s);
        s->id = 0;
    }
    s->withheld = false;
    r->context = s;
    r->cancel = on_cancel;
    if (r->conn == NULL)
        s->hurry = true;
    start_round(s);
}

static int64_t count_partitions(const struct request *r)
{
    const struct fetch_request *q = r->msg;
    int64_t count = 0;

    for (int i = 0; i < q->topics_len; i++)
        count += q->topics[i].partitions_len;
    return count;
}

static void begin_new(struct request *r, bool keep)
{
    struct fetch_session *s = session_new(r->shard);

    s->replica_id = replica_of(r);
    s->partitions = count_partitions(r);
    for (int i = 0; i < s->parts_len; i++)
        s->parts[i].order = (uint32_t)r->correlation_id;
    if (keep)
        session_keep(s);
    begin(s, r);
}

/* Ends a session at its client's wish; it may be in the middle of a fetch. */
static void session_end(struct fetch_session *s)
{
    session_unlist(s);
    s->hurry = true;
    if (s->state == SESSION_IDLE)
        session_drop(s);
    else if (s->state == SESSION_WAITING)
        start_round(s);
}

static void continue_session(struct request *r, struct fetch_session *s)
{
    const struct fetch_request *q = r->msg;

    if (s == NULL) {
        respond_error(r, ERR_FETCH_SESSION_ID_NOT_FOUND);
        return;
    }
    if (q->session_epoch != s->epoch || s->next != NULL) {
        respond_error(r, ERR_INVALID_FETCH_SESSION_EPOCH);
        return;
    }
    s->epoch = s->epoch == INT32_MAX ? 1 : s->epoch + 1;
    if (s->state == SESSION_IDLE) {
        begin(s, r);
        return;
    }
    s->next = r;
    s->hurry = true;
    if (s->state == SESSION_WAITING)
        start_round(s);
}

void api_fetch(struct request *r)
{
    const struct fetch_request *q = r->msg;

    r->exempt = replica_of(r) >= 0;
    if (r->version < 7) {
        begin_new(r, false);
        return;
    }
    struct fetch_session *s =
        q->session_id != 0 ? session_find(r->shard, q->session_id) : NULL;
    if (q->session_epoch > 0 || q->session_epoch < EPOCH_FINAL) {
        continue_session(r, s);
        return;
    }
    if (s != NULL)
        session_end(s);
    begin_new(r, q->session_epoch == 0);
}

/* ---- time ---------------------------------------------------------------- */

static void tell_silent(struct fetch_session *s)
{
    s->reported_silent = true;
    s->state = SESSION_TELLING;
    s->pending = 1;
    for (int i = 0; i < s->parts_len; i++) {
        s->pending++;
        fetch_part_send(&s->parts[i], FETCH_SILENT);
    }
    if (--s->pending == 0)
        told(s);
}

/* A follower that has not fetched for replica.lag.time.max.ms is reported to
 * its partitions once; a consumer's session that nobody uses is dropped. */
void fetch_sessions_tick(struct shard *shard)
{
    int64_t now_ms = env_now_ms(shard->env);
    int64_t lag_ms = shard->broker->config->replica_lag_time_max_ms;

    LIST_EACH_SAFE (node, next, &shard->sessions) {
        struct fetch_session *s = LIST_ENTRY(node, struct fetch_session, link);

        if (s->state != SESSION_IDLE)
            continue;
        if (s->replica_id >= 0 && !s->reported_silent &&
            now_ms - s->used_ms > lag_ms) {
            tell_silent(s);
        } else if (now_ms - s->used_ms > SESSION_IDLE_MAX_MS) {
            session_drop(s);
        }
    }
}

void fetch_sessions_drop_all(struct shard *shard)
{
    LIST_EACH_SAFE (node, next, &shard->sessions) {
        struct fetch_session *s = LIST_ENTRY(node, struct fetch_session, link);

        if (s->state == SESSION_IDLE)
            session_drop(s);
    }
}
