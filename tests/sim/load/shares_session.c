/* Share sessions: one with each node that leads something of what the member is
 * assigned, or did, one request at a time.  In front of each request the node
 * is asked which leader epochs it knows, on the same connection, for the
 * history.
 *
 * What is to be said of records goes along with a fetch, or by itself.  Who
 * hears that there is no such session, or loses the connection, has nothing of
 * it any more, and opens another. */
#include "tests/sim/load/shares_parts.h"

#include "base/arena.h"

#include <stdlib.h>

enum {
    RETRY_MS = 50,
    PAUSE_MS = 100,     /* between fetches, at most */
    METADATA_FLOOR = 8, /* leader epochs */
    RENEW_VERSION = 2,
    FINAL = -1, /* as an epoch */
    SETTLED_MS = 2000,
};

static int64_t now(const struct shares_member *m)
{
    return env_now_ms(m->owner->env);
}

/* ---- sessions ------------------------------------------------------------ */

/* What the session had is lost; the next request opens another. */
static void begin_anew(struct shares_session *s)
{
    shares_lose(s);
    share_history_left(s->member->owner->shares, s->member->number, s->number);
    s->number = ++s->member->owner->sessions;
    s->epoch = 0;
    s->has = s->will = 0;
    s->busy = s->fetches = false;
}

static struct shares_session *session_with(struct shares_member *m,
                                           int32_t node)
{
    for (size_t i = 0; i < m->sessions_len; i++)
        if (m->sessions[i]->node == node)
            return m->sessions[i];
    struct shares_session *s = xcalloc(1, sizeof *s);
    s->member = m;
    s->node = node;
    s->number = ++m->owner->sessions;
    m->sessions =
        xrealloc(m->sessions, (m->sessions_len + 1) * sizeof(*m->sessions));
    m->sessions[m->sessions_len++] = s;
    return s;
}

static void note_missed(const struct shares_session *s)
{
    for (int32_t p = 0; p < SHARES_PARTITIONS_MAX && s->fetches; p++)
        if ((s->has | s->will) & 1u << p)
            share_history_missed(s->member->owner->shares, p);
}

void shares_sessions_drop(struct shares_member *m)
{
    for (size_t i = 0; i < m->sessions_len; i++) {
        struct shares_session *s = m->sessions[i];

        if (s->busy)
            note_missed(s);
        begin_anew(s);
    }
}

/* ---- the node's leader epochs -------------------------------------------- */

/* What a node tells of the metadata its partitions may not have heard of yet:
 * for a while what it gives may be of the epoch before. */
static void see(struct shares_session *s, int32_t partition, int32_t epoch)
{
    if (s->seen[partition].epoch != epoch || s->seen[partition].since_ms == 0)
        s->seen[partition] = (struct shares_seen){epoch, now(s->member)};
    if (now(s->member) - s->seen[partition].since_ms >= SETTLED_MS)
        s->view[partition] = epoch;
}

static void viewed(void *arg, enum err error, const void *response)
{
    struct shares_session *s = arg;
    const struct metadata_response *a = response;

    if (error != ERR_NONE || a->topics_len != 1)
        return;
    for (int32_t i = 0; i < a->topics[0].partitions_len; i++) {
        const struct metadata_response_partition *p =
            &a->topics[0].partitions[i];

        if (p->partition_index < SHARES_PARTITIONS_MAX &&
            p->leader_id == s->node)
            see(s, p->partition_index, p->leader_epoch);
    }
}

static void view(struct shares_session *s)
{
    struct metadata_request_topic topic;
    struct metadata_request q;

    for (int p = 0; p < SHARES_PARTITIONS_MAX; p++)
        s->view[p] = -1;
    metadata_request_init(&q);
    metadata_request_topic_init(&topic);
    topic.name = slice_str(s->member->owner->topic);
    q.topics = &topic;
    q.topics_len = 1;
    q.allow_auto_topic_creation = false;
    load_client_call(s->member->client, s->node, API_METADATA,
                     load_client_version(s->member->client, API_METADATA,
                                         METADATA_FLOOR, INT16_MAX),
                     &q, s->member->owner->options.max_wait_ms, viewed, s);
}

/* ---- what is said -------------------------------------------------------- */

static bool is_due(const struct shares_session *s, const struct shares_held *h)
{
    return h->session == s->number && !h->sent && h->type != 0 &&
           now(s->member) >= h->due_ms;
}

/* Partitions of which something is due. */
static uint32_t due_partitions(const struct shares_session *s, bool renewals)
{
    uint32_t due = 0;

    for (size_t i = 0; i < s->member->held_len; i++) {
        const struct shares_held *h = &s->member->held[i];

        if (is_due(s, h) && (renewals || h->type != SHARE_HISTORY_RENEW))
            due |= 1u << h->partition;
    }
    return due;
}

static int by_offset(const void *a, const void *b)
{
    const struct shares_held *x = *(struct shares_held *const *)a;
    const struct shares_held *y = *(struct shares_held *const *)b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Batches of the two requests are alike, so one form serves both. */
struct said {
    struct share_acknowledge_request_acknowledgement_batch *batches;
    int32_t len;
};

static void say(struct shares_session *s, struct arena *a, int32_t partition,
                bool renewals, struct said *to)
{
    struct shares_member *m = s->member;
    struct shares_held **due =
        arena_array(a, m->held_len + 1, sizeof(struct shares_held *));
    size_t len = 0;

    for (size_t i = 0; i < m->held_len; i++)
        if (m->held[i].partition == partition && is_due(s, &m->held[i]) &&
            (renewals || m->held[i].type != SHARE_HISTORY_RENEW))
            due[len++] = &m->held[i];
    qsort(due, len, sizeof(*due), by_offset);
    to->batches = arena_array(a, len + 1, sizeof *to->batches);
    to->len = 0;
    for (size_t i = 0; i < len; i++) {
        struct share_acknowledge_request_acknowledgement_batch *last =
            to->len > 0 ? &to->batches[to->len - 1] : NULL;
        struct share_history_ack ack = {.partition = partition,
                                        .offset = due[i]->offset,
                                        .type = due[i]->type};

        if (last == NULL || last->last_offset + 1 != due[i]->offset) {
            last = &to->batches[to->len++];
            last->first_offset = due[i]->offset;
            last->acknowledge_types = arena_array(a, len, sizeof(int8_t));
            last->acknowledge_types_len = 0;
        }
        last->last_offset = due[i]->offset;
        last->acknowledge_types[last->acknowledge_types_len++] =
            (int8_t)due[i]->type;
        due[i]->sent = true;
        share_history_says(m->owner->shares, m->number, &ack);
    }
}

/* One type for all of a batch may be said once. */
static void shorten(struct shares_session *s, struct said *said)
{
    for (int32_t i = 0; i < said->len; i++) {
        int8_t *types = said->batches[i].acknowledge_types;
        int32_t n = said->batches[i].acknowledge_types_len, same = 1;

        while (same < n && types[same] == types[0])
            same++;
        if (same == n && prng_below(s->member->prng, 2) == 0)
            said->batches[i].acknowledge_types_len = 1;
    }
}

/* ---- the answers --------------------------------------------------------- */

/* Whether the request was refused as a whole, before anything of it was done.
 */
static bool is_refusal(enum err error)
{
    return error == ERR_SHARE_SESSION_NOT_FOUND ||
           error == ERR_INVALID_SHARE_SESSION_EPOCH ||
           error == ERR_SHARE_SESSION_LIMIT_REACHED;
}

static enum history_outcome outcome_of(enum err error)
{
    return error == ERR_NONE                   ? HISTORY_ACKED
           : error == ERR_INVALID_RECORD_STATE ? HISTORY_REFUSED
                                               : HISTORY_UNKNOWN;
}

/* True: the answer is one of the session, which goes on. */
static bool take_answer(struct shares_session *s, enum err error, bool answered)
{
    struct shares_member *m = s->member;

    s->next_ms = now(m) + (int64_t)prng_below(m->prng, PAUSE_MS);
    if (error != ERR_NONE) {
        history_note(m->owner->history, "share session %llu of %d with %d: %s",
                     (unsigned long long)s->number, m->number, s->node,
                     err_name(error));
        if (!answered)
            note_missed(s);
        shares_said_all(s, answered && is_refusal(error) ? HISTORY_REFUSED
                                                         : HISTORY_UNKNOWN);
        begin_anew(s);
        s->next_ms += RETRY_MS;
        load_client_look(m->client);
        return false;
    }
    s->busy = false;
    s->epoch = s->epoch == INT32_MAX ? 1 : s->epoch + 1;
    s->has = s->will;
    for (int32_t p = 0; p < SHARES_PARTITIONS_MAX; p++)
        share_history_alive(m->owner->shares, &s->ask, p, s->view[p]);
    return true;
}

static void fetched(void *arg, enum err error, const void *response)
{
    struct shares_session *s = arg;
    const struct share_fetch_response *a = response;
    bool answered = error == ERR_NONE;

    if (answered)
        error = (enum err)a->error_code;
    if (!take_answer(s, error, answered))
        return;
    s->lock_ms = a->acquisition_lock_timeout_ms;
    for (int32_t t = 0; t < a->responses_len; t++)
        for (int32_t i = 0; i < a->responses[t].partitions_len; i++) {
            const struct share_fetch_response_partition_data *d =
                &a->responses[t].partitions[i];

            shares_said(s, d->partition_index,
                        outcome_of((enum err)d->acknowledge_error_code));
            if (d->error_code != ERR_NONE) {
                load_client_look(s->member->client);
                s->next_ms = now(s->member) + RETRY_MS;
            }
            shares_take(s, d);
        }
    shares_said_all(s, HISTORY_UNKNOWN);
    s->fetches = false;
}

static void acknowledged(void *arg, enum err error, const void *response)
{
    struct shares_session *s = arg;
    const struct share_acknowledge_response *a = response;
    bool answered = error == ERR_NONE;

    if (answered)
        error = (enum err)a->error_code;
    if (!take_answer(s, error, answered))
        return;
    for (int32_t t = 0; t < a->responses_len; t++)
        for (int32_t i = 0; i < a->responses[t].partitions_len; i++)
            shares_said(
                s, a->responses[t].partitions[i].partition_index,
                outcome_of((enum err)a->responses[t].partitions[i].error_code));
    shares_said_all(s, HISTORY_UNKNOWN);
}

/* The last answer of a session: what was said with it counts. */
static void closed_fetch(void *arg, enum err error, const void *response)
{
    struct shares_session *s = arg;

    fetched(s, error, response);
    if (s->has != 0)
        begin_anew(s);
}

static void closed_ack(void *arg, enum err error, const void *response)
{
    struct shares_session *s = arg;

    acknowledged(s, error, response);
    if (s->has != 0)
        begin_anew(s);
}

/* ---- requests ------------------------------------------------------------ */

static struct uuid topic_id(const struct shares_session *s)
{
    const struct load_topic *t = load_client_topic(
        s->member->client, slice_str(s->member->owner->topic), UUID_ZERO);

    return t != NULL ? t->id : UUID_ZERO;
}

static void begin_ask(struct shares_session *s)
{
    struct shares_member *m = s->member;

    s->busy = true;
    s->ask =
        (struct share_history_ask){.client = m->number,
                                   .session = s->number,
                                   .node = s->node,
                                   .sent = share_history_now(m->owner->shares),
                                   .sent_ms = now(m)};
    view(s);
}

/* Partitions to be fetched from on top of those of the session, or of which
 * something is said. */
static void name_partitions(struct shares_session *s, struct arena *a,
                            uint32_t want, uint32_t due,
                            struct share_fetch_request_fetch_topic *topic)
{
    topic->topic_id = topic_id(s);
    topic->partitions =
        arena_array(a, SHARES_PARTITIONS_MAX, sizeof *topic->partitions);
    for (int32_t p = 0; p < SHARES_PARTITIONS_MAX; p++) {
        struct share_fetch_request_fetch_partition *to =
            &topic->partitions[topic->partitions_len];
        struct said said = {NULL, 0};

        if (!((due | (want & ~s->has)) & 1u << p))
            continue;
        share_fetch_request_fetch_partition_init(to);
        to->partition_index = p;
        topic->partitions_len++;
        if (!(due & 1u << p))
            continue;
        say(s, a, p, false, &said);
        shorten(s, &said);
        to->acknowledgement_batches_len = said.len;
        to->acknowledgement_batches = arena_array(
            a, (size_t)said.len + 1, sizeof *to->acknowledgement_batches);
        for (int32_t i = 0; i < said.len; i++)
            to->acknowledgement_batches[i] =
                (struct share_fetch_request_acknowledgement_batch){
                    said.batches[i].first_offset, said.batches[i].last_offset,
                    said.batches[i].acknowledge_types,
                    said.batches[i].acknowledge_types_len};
    }
}

static void name_forgotten(struct shares_session *s, struct arena *a,
                           uint32_t forgets,
                           struct share_fetch_request_forgotten_topic *topic)
{
    topic->topic_id = topic_id(s);
    topic->partitions = arena_array(a, SHARES_PARTITIONS_MAX, sizeof(int32_t));
    for (int32_t p = 0; p < SHARES_PARTITIONS_MAX; p++)
        if (forgets & 1u << p)
            topic->partitions[topic->partitions_len++] = p;
}

static void set_limits(struct shares_session *s, struct share_fetch_request *q)
{
    const struct load_shares_options *o = &s->member->owner->options;
    struct prng *p = s->member->prng;

    q->max_wait_ms = (int32_t)o->max_wait_ms;
    q->min_bytes = 1;
    q->max_bytes = prng_below(p, 4) == 0 ? 300 : 1 << 20;
    q->max_records = 1 + (int32_t)prng_below(p, 30);
    q->batch_size = 1 + (int32_t)prng_below(p, 30);
    q->share_acquire_mode = (int8_t)prng_below(p, 2);
}

/* Naming a partition adds it to the session, so one of which something is only
 * said is forgotten at once. */
static void fetch(struct shares_session *s, uint32_t want, int32_t epoch,
                  load_client_done *done)
{
    struct shares_member *m = s->member;
    struct share_fetch_request_forgotten_topic forgotten;
    struct share_fetch_request_fetch_topic topic;
    struct share_fetch_request q;
    uint32_t due = s->epoch == 0 ? 0 : due_partitions(s, false);
    uint32_t forgets = (s->has | due) & ~want;
    int16_t version =
        load_client_version(m->client, API_SHARE_FETCH, 1, INT16_MAX);
    struct arena a;

    arena_init(&a, 0);
    share_fetch_request_init(&q);
    share_fetch_request_fetch_topic_init(&topic);
    share_fetch_request_forgotten_topic_init(&forgotten);
    q.group_id = slice_str(m->owner->group);
    q.member_id = slice_str(m->id);
    q.share_session_epoch = epoch;
    if (want != 0)
        set_limits(s, &q);
    if (version < RENEW_VERSION)
        q.share_acquire_mode = 0;
    begin_ask(s);
    name_partitions(s, &a, want, due, &topic);
    name_forgotten(s, &a, epoch == FINAL ? 0 : forgets, &forgotten);
    q.topics = &topic;
    q.topics_len = topic.partitions_len > 0;
    q.forgotten_topics_data = &forgotten;
    q.forgotten_topics_data_len = forgotten.partitions_len > 0;
    s->will = epoch == FINAL ? s->has : want;
    s->fetches = true;
    load_client_call(m->client, s->node, API_SHARE_FETCH, version, &q,
                     q.max_wait_ms, done, s);
    arena_free(&a);
}

static void acknowledge(struct shares_session *s, int32_t epoch,
                        load_client_done *done)
{
    struct shares_member *m = s->member;
    struct share_acknowledge_request_acknowledge_topic topic;
    struct share_acknowledge_request q;
    int16_t version =
        load_client_version(m->client, API_SHARE_ACKNOWLEDGE, 1, INT16_MAX);
    bool renewals = version >= RENEW_VERSION;
    uint32_t due = due_partitions(s, renewals);
    struct arena a;

    arena_init(&a, 0);
    share_acknowledge_request_init(&q);
    share_acknowledge_request_acknowledge_topic_init(&topic);
    q.group_id = slice_str(m->owner->group);
    q.member_id = slice_str(m->id);
    q.share_session_epoch = epoch;
    q.is_renew_ack = renewals;
    topic.topic_id = topic_id(s);
    topic.partitions =
        arena_array(&a, SHARES_PARTITIONS_MAX, sizeof *topic.partitions);
    begin_ask(s);
    for (int32_t p = 0; p < SHARES_PARTITIONS_MAX; p++) {
        struct share_acknowledge_request_acknowledge_partition *to =
            &topic.partitions[topic.partitions_len];
        struct said said;

        if (!(due & 1u << p))
            continue;
        share_acknowledge_request_acknowledge_partition_init(to);
        to->partition_index = p;
        say(s, &a, p, renewals, &said);
        shorten(s, &said);
        to->acknowledgement_batches = said.batches;
        to->acknowledgement_batches_len = said.len;
        topic.partitions_len++;
    }
    q.topics = &topic;
    q.topics_len = topic.partitions_len > 0;
    s->will = s->has;
    s->fetches = false;
    load_client_call(m->client, s->node, API_SHARE_ACKNOWLEDGE, version, &q, 0,
                     done, s);
    arena_free(&a);
}

/* ---- time ---------------------------------------------------------------- */

static uint32_t wanted_of(struct shares_member *m, int32_t node)
{
    uint32_t want = 0;
    int32_t epoch;

    for (int32_t p = 0; p < m->owner->options.partitions; p++)
        if ((m->assigned & 1u << p) &&
            load_client_leader(m->client, slice_str(m->owner->topic), UUID_ZERO,
                               p, &epoch) == node)
            want |= 1u << p;
    return want;
}

static void session_tick(struct shares_session *s)
{
    struct shares_member *m = s->member;

    if (s->busy || now(m) < s->next_ms || uuid_is_zero(topic_id(s)))
        return;
    uint32_t want = wanted_of(m, s->node);
    if (s->epoch == 0 && want == 0)
        return;
    if (s->epoch != 0 && due_partitions(s, true) != 0 &&
        prng_below(m->prng, 2) == 0)
        acknowledge(s, s->epoch, acknowledged);
    else if (want != 0 || s->has != 0 || due_partitions(s, false) != 0)
        fetch(s, want, s->epoch, fetched);
}

void shares_sessions_tick(struct shares_member *m)
{
    int32_t epoch;

    for (int32_t p = 0; p < m->owner->options.partitions; p++) {
        int32_t node =
            m->assigned & 1u << p
                ? load_client_leader(m->client, slice_str(m->owner->topic),
                                     UUID_ZERO, p, &epoch)
                : -1;

        if (node >= 0)
            session_with(m, node);
    }
    for (size_t i = 0; i < m->sessions_len; i++)
        session_tick(m->sessions[i]);
}

static void close_session(struct shares_session *s)
{
    if (s->has == 0 && due_partitions(s, false) == 0)
        begin_anew(s); /* there is nothing in it */
    else if (prng_below(s->member->prng, 2) == 0)
        acknowledge(s, FINAL, closed_ack);
    else
        fetch(s, 0, FINAL, closed_fetch);
}

bool shares_sessions_close(struct shares_member *m)
{
    bool all = true;

    for (size_t i = 0; i < m->sessions_len; i++) {
        struct shares_session *s = m->sessions[i];

        if (!s->busy && s->epoch != 0)
            close_session(s);
        all = all && !s->busy && s->epoch == 0;
    }
    return all;
}
