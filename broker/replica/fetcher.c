/* One fetcher copies, for one shard, everything it follows from one leader.
 *
 * `changed` holds the partitions whose position the leader does not know yet.
 * A request carries them and then waits at the leader for news (a long poll).
 * When a position changes meanwhile, a second request follows at once; the
 * leader then answers the waiting one early (see api_fetch.c), so a newly
 * assigned partition never waits for the poll to end.
 *
 * Each partition remembers the request that named it last; an older answer says
 * nothing about it any more and is skipped. */
#include "broker/replica/fetcher.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/meta.h"
#include "broker/replica/move.h"
#include "proto/kafka/header.h"

#include <stdlib.h>

enum {
    FETCH_VERSION = 17,
    IN_FLIGHT_MAX = 2,
    RETRY_MS = 100, /* the leader and we know different metadata */
    STORAGE_RETRY_MS = 1000,
    RECONNECT_MIN_MS = 20,
    RECONNECT_MAX_MS = 500,
    LATE_MS = 1000, /* an answer that is due from a process that is gone */
    FRAME_MAX_BYTES = 1 << 30,
};

struct forgotten {
    struct uuid topic_id;
    int32_t index;
};

struct fetcher {
    struct shard *shard;
    int32_t leader;
    struct env_conn *stream; /* NULL: not connected */
    bool connected;
    int in_flight;
    /* Of the newest request.  It goes on with the next connection: to the
     * leader it tells old sessions from new ones. */
    uint64_t sent_seq;
    uint64_t answered_seq; /* of the newest answer */
    int32_t session_id;
    int32_t session_epoch; /* of the next request */
    struct list partitions;
    struct list changed;
    struct forgotten *forgotten;
    int forgotten_len;
    struct env_task pump; /* at most one is on its way */
    bool pump_posted;
    struct env_timer retry; /* reconnects, ends delays */
    int64_t backoff_ms;
    /* A leader whose host lost its power says nothing, for ever. */
    struct env_timer patience; /* runs while a request is in flight */
    int64_t heard_ms; /* the last answer, or the first request after it */
};

static void pump_later(struct fetcher *f);

static struct fetcher *find_fetcher(struct shard *s, int32_t leader)
{
    return map_get(&s->fetchers, slice_of(&leader, sizeof leader));
}

/* ---- sessions ------------------------------------------------------------ */

/* The leader's session is gone (or never was): name everything again. */
static void forget_session(struct fetcher *f)
{
    f->session_id = 0;
    f->session_epoch = 0;
    f->forgotten_len = 0;
    LIST_EACH (node, &f->partitions) {
        struct partition *p = LIST_ENTRY(node, struct partition, fetcher_link);
        if (list_unlinked(&p->changed_link))
            list_push_back(&f->changed, &p->changed_link);
    }
}

/* With the next request the leader forgets it. */
static void forget(struct fetcher *f, const struct partition *p)
{
    f->forgotten = xrealloc(f->forgotten, (size_t)(f->forgotten_len + 1) *
                                              sizeof *f->forgotten);
    f->forgotten[f->forgotten_len++] =
        (struct forgotten){p->topic->id, p->index};
}

static void disconnected(struct fetcher *f)
{
    env_timer_stop(f->shard->env, &f->patience);
    f->stream = NULL;
    f->connected = false;
    f->in_flight = 0;
    f->answered_seq = f->sent_seq;
    forget_session(f);
}

/* Tries again after a while. */
static void reconnect_later(struct fetcher *f)
{
    disconnected(f);
    f->backoff_ms = RECONNECT_MAX_MS;
    env_timer_start(f->shard->env, &f->retry, f->backoff_ms);
}

/* The time from which on an answer is overdue. */
static int64_t answer_ms(const struct fetcher *f, int64_t late_ms)
{
    return f->shard->broker->config->replica_fetch_wait_max_ms + late_ms;
}

static void expect_answer(struct fetcher *f)
{
    int64_t late_ms = f->shard->broker->config->replica_socket_timeout_ms;

    f->heard_ms = env_now_ms(f->shard->env);
    env_timer_start(f->shard->env, &f->patience, answer_ms(f, late_ms));
}

static void out_of_patience(void *arg)
{
    struct fetcher *f = arg;

    log_info(
        "replica",
        "Node %d does not answer within %lld ms (replica.socket.timeout.ms "
        "and the wait); connecting again",
        f->leader,
        (long long)answer_ms(
            f, f->shard->broker->config->replica_socket_timeout_ms));
    env_conn_close(f->stream);
    disconnected(f);
    pump_later(f);
}

/* ---- requests ------------------------------------------------------------ */

static bool may_send(struct partition *p, int64_t now_ms)
{
    if (p->delayed_until_ms > now_ms)
        return false;
    return !p->settings->fsync || PLANTED(FSYNC_FOLLOWER_ACKS_UNSYNCED) ||
           (log_synced_offset(p->log) >= log_end_offset(p->log) &&
            !move_holds_sync(p));
}

static void fill_partition(struct fetch_request_partition *q,
                           struct partition *p)
{
    fetch_request_partition_init(q);
    q->partition = p->index;
    q->current_leader_epoch = p->state.leader_epoch;
    q->fetch_offset = log_end_offset(p->log);
    q->last_fetched_epoch = log_latest_epoch(p->log);
    q->log_start_offset = log_start_offset(p->log);
    q->partition_max_bytes = p->shard->broker->config->replica_fetch_max_bytes;
    p->fetch_offset = q->fetch_offset;
}

static void fill_changed(struct fetcher *f, struct arena *arena,
                         struct fetch_request *q)
{
    int64_t now_ms = env_now_ms(f->shard->env);
    int count = 0;
    struct list held;

    LIST_EACH (node, &f->changed) {
        count++;
    }
    list_init(&held);
    q->topics = arena_array(arena, (size_t)count, sizeof *q->topics);
    struct fetch_request_topic *t = NULL;
    struct fetch_request_partition *items =
        arena_array(arena, (size_t)count, sizeof *items);
    for (struct list *node; (node = list_pop_front(&f->changed)) != NULL;) {
        struct partition *p = LIST_ENTRY(node, struct partition, changed_link);

        if (!may_send(p, now_ms)) {
            list_push_back(&held, node);
            continue;
        }
        if (t == NULL || !uuid_eq(t->topic_id, p->topic->id)) {
            t = &q->topics[q->topics_len++];
            fetch_request_topic_init(t);
            t->topic_id = p->topic->id;
            t->partitions = items;
        }
        p->fetch_seq = f->sent_seq;
        fill_partition(&t->partitions[t->partitions_len++], p);
        items++;
    }
    list_append_all(&f->changed, &held);
}

static void fill_forgotten(struct fetcher *f, struct arena *arena,
                           struct fetch_request *q)
{
    q->forgotten_topics_data = arena_array(arena, (size_t)f->forgotten_len,
                                           sizeof *q->forgotten_topics_data);
    for (int i = 0; i < f->forgotten_len; i++) {
        struct fetch_request_forgotten_topic *t = &q->forgotten_topics_data[i];

        fetch_request_forgotten_topic_init(t);
        t->topic_id = f->forgotten[i].topic_id;
        t->partitions = &f->forgotten[i].index;
        t->partitions_len = 1;
    }
    q->forgotten_topics_data_len = f->forgotten_len;
}

static void send_fetch(struct fetcher *f)
{
    const struct broker *broker = f->shard->broker;
    struct request_header h;
    struct fetch_request q;
    struct arena arena;
    struct buf b = BUF_INIT;

    arena_init(&arena, 0);
    f->sent_seq++;
    request_header_init(&h);
    h.request_api_key = API_FETCH;
    h.request_api_version = FETCH_VERSION;
    h.correlation_id = (int32_t)f->sent_seq;
    h.client_id = SLICE("replica-fetcher");
    fetch_request_init(&q);
    q.replica_state.replica_id = broker->node_id;
    q.replica_state.replica_epoch = atomic_load(&broker->epoch);
    q.max_wait_ms = broker->config->replica_fetch_wait_max_ms;
    q.min_bytes = broker->config->replica_fetch_min_bytes;
    q.max_bytes = broker->config->replica_fetch_response_max_bytes;
    q.session_id = f->session_id;
    q.session_epoch = f->session_epoch;
    fill_changed(f, &arena, &q);
    fill_forgotten(f, &arena, &q);
    ASSERT(kafka_frame_request(&b, &h, &q) == ERR_NONE);
    arena_free(&arena);
    f->forgotten_len = 0;
    if (f->session_id != 0)
        f->session_epoch =
            f->session_epoch == INT32_MAX ? 1 : f->session_epoch + 1;
    if (f->in_flight++ == 0)
        expect_answer(f);

    struct env_out *out = env_out_new();
    env_out_add_buf(out, &b);
    env_conn_send(f->stream, out);
}

/* ---- answers ------------------------------------------------------------- */

static void delay(struct partition *p, int64_t ms)
{
    p->delayed_until_ms = env_now_ms(p->shard->env) + ms;
}

static void changed(struct partition *p)
{
    if (list_unlinked(&p->changed_link))
        list_push_back(&p->fetcher->changed, &p->changed_link);
}

/* KIP-595: cut to where both histories agree, then ask again; several rounds
 * may be needed. */
static enum err diverged(struct partition *p,
                         const struct fetch_response_epoch_end_offset *d)
{
    int32_t epoch;
    int64_t end;

    log_end_offset_for_epoch(p->log, d->epoch, &epoch, &end);
    if (end < 0 || d->end_offset < end || PLANTED(FOLLOWER_CUTS_TOO_LITTLE))
        end = d->end_offset;
    if (end < log_end_offset(p->log))
        log_info(
            "replica",
            "Truncating %s from %lld to %lld: the leader's history differs "
            "after epoch %d",
            log_path(p->log), (long long)log_end_offset(p->log), (long long)end,
            d->epoch);
    return partition_truncate(p, end);
}

/* The leader no longer has what we need next: begin at its start.  In no other
 * case are records thrown away for this answer. */
static enum err out_of_range(struct partition *p, int64_t leader_start)
{
    int64_t end = log_end_offset(p->log);

    if (leader_start < 0 ||
        (leader_start <= end && log_start_offset(p->log) < end))
        return ERR_OFFSET_OUT_OF_RANGE;
    log_info("replica",
             "Restarting %s at %lld: the leader's log starts there and ours "
             "ends at %lld",
             log_path(p->log), (long long)leader_start,
             (long long)log_end_offset(p->log));
    enum err error = partition_lower_checkpoint(p, leader_start, leader_start);
    return error != ERR_NONE
               ? error
               : partition_was_cut(p, log_truncate_fully(p->log, leader_start));
}

static enum err take(struct partition *p,
                     const struct fetch_response_partition_data *d)
{
    if (d->error_code == ERR_OFFSET_OUT_OF_RANGE)
        return out_of_range(p, d->log_start_offset);
    if (d->error_code != ERR_NONE)
        return (enum err)d->error_code;
    if (d->diverging_epoch.end_offset >= 0 &&
        !PLANTED(FOLLOWER_IGNORES_DIVERGENCE))
        return diverged(p, &d->diverging_epoch);
    return partition_replicate(p, d->records.bytes, d->high_watermark,
                               d->log_start_offset);
}

/* Above the throttle of followers the leader is asked for nothing more of it
 * for a while; so that it does not go on sending, it is told to forget it. */
static void throttle(struct fetcher *f, struct partition *p, size_t bytes)
{
    if (!throttle_lists(p, THROTTLE_FOLLOWER))
        return;
    throttle_count(f->shard, THROTTLE_FOLLOWER, (int64_t)bytes);
    int self = partition_replica_number(p, f->shard->broker->node_id);
    int32_t wait_ms = throttle_wait_ms(f->shard, THROTTLE_FOLLOWER);
    if (wait_ms == 0 || (self >= 0 && replica_in(p->state.isr, self)))
        return;
    delay(p, wait_ms);
    if (f->session_id != 0)
        forget(f, p);
}

static void take_partition(struct fetcher *f, const struct uuid *topic_id,
                           uint64_t seq,
                           const struct fetch_response_partition_data *d)
{
    enum err error;
    struct partition *p =
        shard_partition(f->shard, topic_id, d->partition_index, &error);

    if (p == NULL || p->fetcher != f ||
        ((p->fetch_seq > seq || !list_unlinked(&p->changed_link)) &&
         !PLANTED(FOLLOWER_TAKES_OLD_ANSWERS)))
        return;
    bool moved = d->records.bytes.len != 0 || d->error_code != ERR_NONE ||
                 d->diverging_epoch.end_offset >= 0;
    int64_t start = log_start_offset(p->log);
    error = take(p, d);
    if (error != ERR_NONE) {
        partition_write_failed(p); /* if that is what it was */
        log_debug("replica", "Fetching %s from node %d: %s", log_path(p->log),
                  f->leader, err_text(error));
        delay(p, error == ERR_KAFKA_STORAGE_ERROR || error == ERR_IO ||
                         error == ERR_FULL || error == ERR_EXHAUSTED ||
                         error == ERR_CORRUPT_MESSAGE
                     ? STORAGE_RETRY_MS
                     : RETRY_MS);
    }
    moved |= log_start_offset(p->log) != start; /* the leader waits for that */
    if (moved && p->fetcher == f) {
        changed(p);
        throttle(f, p, d->records.bytes.len);
    }
}

static void take_answer(struct fetcher *f, uint64_t seq,
                        const struct fetch_response *a)
{
    if (a->error_code == ERR_FETCH_SESSION_ID_NOT_FOUND ||
        a->error_code == ERR_INVALID_FETCH_SESSION_EPOCH) {
        forget_session(f);
        return;
    }
    if (a->error_code != ERR_NONE) {
        log_warn("replica", "Node %d refuses to be fetched from: %s", f->leader,
                 err_text(a->error_code));
        env_conn_close(f->stream);
        reconnect_later(f);
        return;
    }
    if (f->session_id == 0 && a->session_id != 0) {
        f->session_id = a->session_id;
        f->session_epoch = 1;
    } else if (a->session_id == 0) {
        forget_session(f);
    }
    for (int i = 0; i < a->responses_len; i++)
        for (int j = 0; j < a->responses[i].partitions_len; j++)
            take_partition(f, &a->responses[i].topic_id, seq,
                           &a->responses[i].partitions[j]);
}

static void on_frame(struct env_conn *stream, void *arg,
                     struct env_frame *frame)
{
    struct fetcher *f = arg;
    struct fetch_response a;
    struct arena arena;
    struct slice body;
    int32_t correlation_id;

    arena_init(&arena, 0);
    uint64_t seq = f->answered_seq + 1;
    enum err error =
        kafka_parse_response(slice_of(frame->data, frame->len), API_FETCH,
                             FETCH_VERSION, &correlation_id, &body);
    if (error == ERR_NONE && correlation_id != (int32_t)seq)
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error =
            kafka_decode(&fetch_response_desc, FETCH_VERSION, body, &arena, &a);
    if (error == ERR_NONE) {
        f->answered_seq = seq;
        f->backoff_ms = 0;
        if (--f->in_flight != 0)
            expect_answer(f);
        else
            env_timer_stop(f->shard->env, &f->patience);
        take_answer(f, seq, &a);
    } else {
        log_warn("replica",
                 "The fetch answer of node %d cannot be read (%s); connecting "
                 "again",
                 f->leader, err_text(error));
        env_conn_close(stream);
        reconnect_later(f);
    }
    arena_free(&arena);
    env_frame_unref(frame);
    pump_later(f);
}

/* ---- the connection ------------------------------------------------------ */

static void on_opened(struct env_conn *stream, void *arg)
{
    struct fetcher *f = arg;

    (void)stream;
    f->connected = true;
    meta_suspect_broker(f->shard->broker->meta, f->leader, true);
    pump_later(f);
}

static void on_closed(struct env_conn *stream, void *arg, int error)
{
    struct fetcher *f = arg;

    (void)stream;
    /* Without partitions nothing is asked, and the leader closes it as idle. */
    if (f->connected && !list_empty(&f->partitions)) {
        log_info("replica", "The connection to node %d ended: %s", f->leader,
                 err_text(error));
        meta_suspect_broker(f->shard->broker->meta, f->leader, false);
    }
    disconnected(f);
    f->backoff_ms = f->backoff_ms == 0 ? RECONNECT_MIN_MS : f->backoff_ms * 2;
    if (f->backoff_ms > RECONNECT_MAX_MS)
        f->backoff_ms = RECONNECT_MAX_MS;
    env_timer_start(f->shard->env, &f->retry, f->backoff_ms);
}

static const struct env_conn_ops conn_ops = {
    .opened = on_opened,
    .frame = on_frame,
    .closed = on_closed,
};

static void connect_leader(struct fetcher *f)
{
    struct shard_broker *b = shard_broker(f->shard, f->leader);

    if (b == NULL || b->host == NULL || env_timer_running(&f->retry))
        return;
    f->stream = env_connect(f->shard->env, b->host, b->port, FRAME_MAX_BYTES,
                            &conn_ops, f);
    env_conn_set_receive_buffer(
        f->stream,
        f->shard->broker->config->replica_socket_receive_buffer_bytes);
}

/* ---- the pump ------------------------------------------------------------ */

/* The next moment at which a held partition may be sent; 0: none is held only
 * by time. */
static int64_t next_delay_ms(struct fetcher *f, bool *ready)
{
    int64_t now_ms = env_now_ms(f->shard->env), next = 0;

    *ready = f->forgotten_len != 0;
    LIST_EACH (node, &f->changed) {
        struct partition *p = LIST_ENTRY(node, struct partition, changed_link);

        if (may_send(p, now_ms)) {
            *ready = true;
            return 0;
        }
        if (p->delayed_until_ms > now_ms &&
            (next == 0 || p->delayed_until_ms < next))
            next = p->delayed_until_ms;
    }
    return next == 0 ? 0 : next - now_ms;
}

/* A request says whose life it speaks for, so none is sent before we are
 * registered. */
static void pump(struct env_task *task)
{
    struct fetcher *f =
        (struct fetcher *)((char *)task - offsetof(struct fetcher, pump));
    bool ready;

    f->pump_posted = false;
    if (!f->shard->settled)
        return;
    if (list_empty(&f->partitions) && f->forgotten_len == 0) {
        return;
    }
    if (f->stream == NULL)
        connect_leader(f);
    if (!f->connected)
        return;
    int64_t wait_ms = next_delay_ms(f, &ready);
    if (f->in_flight == 0 ||
        (ready && f->in_flight < IN_FLIGHT_MAX && f->session_id != 0))
        send_fetch(f);
    if (wait_ms > 0 && f->stream != NULL)
        env_timer_start(f->shard->env, &f->retry, wait_ms);
}

static void pump_later(struct fetcher *f)
{
    if (f->pump_posted)
        return;
    f->pump_posted = true;
    f->pump.fn = pump;
    env_post(f->shard->env, &f->pump);
}

static void on_retry(void *arg) { pump_later(arg); }

/* ---- membership ---------------------------------------------------------- */

static struct fetcher *fetcher_new(struct shard *s, int32_t leader)
{
    struct fetcher *f = xcalloc(1, sizeof *f);

    f->shard = s;
    f->leader = leader;
    list_init(&f->partitions);
    list_init(&f->changed);
    f->retry.fn = on_retry;
    f->retry.arg = f;
    f->patience.fn = out_of_patience;
    f->patience.arg = f;
    map_put(&s->fetchers, slice_of(&leader, sizeof leader), f);
    return f;
}

void fetcher_remove(struct partition *p)
{
    struct fetcher *f = p->fetcher;

    if (f == NULL)
        return;
    list_remove(&p->fetcher_link);
    list_remove(&p->changed_link);
    p->fetcher = NULL;
    if (f->session_id == 0 && f->in_flight == 0)
        return; /* no session knows it, or is about to */
    forget(f, p);
    pump_later(f);
}

void fetcher_add(struct partition *p)
{
    struct fetcher *f = find_fetcher(p->shard, p->state.leader);

    if (f == NULL)
        f = fetcher_new(p->shard, p->state.leader);
    if (p->fetcher != f) {
        fetcher_remove(p);
        p->fetcher = f;
        list_push_back(&f->partitions, &p->fetcher_link);
    }
    p->delayed_until_ms = 0;
    changed(p);
    pump_later(f);
}

void fetcher_synced(struct partition *p)
{
    if (p->fetcher != NULL)
        pump_later(p->fetcher);
}

/* A restarted leader has another epoch and maybe another port.  If it owes an
 * answer, that was the process before. */
void fetcher_broker_changed(struct shard *s, const struct shard_broker *b,
                            bool anew)
{
    struct fetcher *f = find_fetcher(s, b->id);

    if (f == NULL)
        return;
    if (anew && f->stream != NULL && f->in_flight != 0 &&
        env_now_ms(s->env) - f->heard_ms > answer_ms(f, LATE_MS)) {
        env_conn_close(f->stream);
        disconnected(f);
    }
    if (f->stream == NULL) {
        f->backoff_ms = 0;
        env_timer_stop(s->env, &f->retry);
    }
    pump_later(f);
}

void fetchers_settled(struct shard *s)
{
    MAP_EACH (e, &s->fetchers)
        pump_later(e->value);
}

bool fetcher_awaits(const struct partition *p)
{
    return p->fetcher != NULL && p->fetch_seq > p->fetcher->answered_seq;
}

void fetchers_stop(struct shard *s)
{
    MAP_EACH (e, &s->fetchers) {
        struct fetcher *f = e->value;

        if (f->stream != NULL)
            env_conn_close(f->stream);
        f->stream = NULL;
        f->connected = false;
        env_timer_stop(s->env, &f->retry);
        env_timer_stop(s->env, &f->patience);
    }
}
