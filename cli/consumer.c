/* The loop: see to membership and metadata, find positions for partitions that
 * have none, keep one fetch per leader under way, hand over what arrived.
 *
 * Errors of a partition that pass (a leader moved, a replica is behind) send us
 * back to the metadata; an offset that is gone sends us to the start that was
 * asked for; the rest is final. */
#include "cli/consumer.h"

#include "cli/admin_offsets.h"
#include "cli/admin_topics.h"
#include "cli/member.h"
#include "cli/net.h"

#include <stdlib.h>

enum {
    METADATA_PAUSE_MS = 300,     /* between looks, while something is missing */
    METADATA_AGE_MS = 30 * 1000, /* after which to look for new partitions */
    NO_POSITION = -1000,
};

struct position {
    char *topic;
    int32_t partition;
    int32_t leader; /* -1: not known */
    int64_t offset; /* next to read; NO_POSITION */
    int64_t kept;   /* what is committed: `offset` at the last consumer_keep(),
                     * or where we began; NO_POSITION */
};

struct fetch { /* under way to one leader */
    struct list link;
    int32_t leader;
    int64_t deadline_ms;
    struct client_call call;
};

struct consumer {
    struct client *client;
    struct consumer_options options;
    struct member *member; /* NULL: on its own */
    struct codec *codec;
    struct buf scratch;
    struct position *positions;
    size_t positions_len;
    struct list fetches;
    int64_t next_look_ms; /* at the metadata */
    enum err trouble;     /* of the last look; passes */
    int64_t next_commit_ms;
    bool dirty; /* something was kept since the last commit */
};

/* ---- positions
 * ------------------------------------------------------------------------------
 */

static struct position *find_position(struct consumer *k, struct slice topic,
                                      int32_t partition)
{
    for (size_t i = 0; i < k->positions_len; i++)
        if (k->positions[i].partition == partition &&
            slice_eq_str(topic, k->positions[i].topic))
            return &k->positions[i];
    return NULL;
}

static void add_position(struct consumer *k, struct slice topic,
                         int32_t partition)
{
    k->positions =
        xrealloc(k->positions, (k->positions_len + 1) * sizeof *k->positions);
    k->positions[k->positions_len++] = (struct position){
        slice_dup(topic), partition, -1, NO_POSITION, NO_POSITION};
}

static void clear_positions(struct consumer *k)
{
    while (!list_empty(&k->fetches)) {
        struct fetch *f =
            LIST_ENTRY(list_pop_front(&k->fetches), struct fetch, link);
        client_abandon(k->client, &f->call);
        free(f);
    }
    for (size_t i = 0; i < k->positions_len; i++)
        free(k->positions[i].topic);
    free(k->positions);
    k->positions = NULL;
    k->positions_len = 0;
}

/* ---- committing
 * ------------------------------------------------------------------------------
 */

enum err consumer_trouble(const struct consumer *k) { return k->trouble; }

void consumer_keep(struct consumer *k)
{
    for (size_t i = 0; i < k->positions_len; i++) {
        struct position *p = &k->positions[i];
        if (p->offset < 0 || p->kept == p->offset)
            continue;
        p->kept = p->offset;
        k->dirty = true;
    }
}

enum err consumer_commit(struct consumer *k)
{
    struct arena arena;
    int32_t len = 0;

    if (k->member == NULL || !k->dirty)
        return ERR_NONE;
    arena_init(&arena, CLIENT_ARENA_BYTES);
    struct partition_offset *items =
        arena_array(&arena, k->positions_len + 1, sizeof *items);
    for (size_t i = 0; i < k->positions_len; i++)
        if (k->positions[i].kept >= 0)
            items[len++] = (struct partition_offset){
                .topic = slice_str(k->positions[i].topic),
                .partition = k->positions[i].partition,
                .offset = k->positions[i].kept};
    enum err error = admin_offsets_commit(
        k->client, slice_str(k->options.group), member_generation(k->member),
        member_id(k->member), items, len, &arena);
    k->dirty = error != ERR_NONE;
    arena_free(&arena);
    return error;
}

/* Of a group member before it gives its partitions back. */
static void on_revoked(void *arg)
{
    struct consumer *k = arg;

    if (k->options.auto_commit)
        consumer_commit(k);
    clear_positions(k);
}

/* ---- what to read
 * -------------------------------------------------------------------------------
 */

static int32_t subscribed_topics(void *arg, struct arena *a,
                                 struct slice **topics)
{
    struct consumer *k = arg;
    struct topic_view *views = NULL;
    int32_t len = 0;

    if (k->options.topic != NULL) {
        *topics = arena_array(a, 1, sizeof **topics);
        (*topics)[0] = slice_str(k->options.topic);
        return 1;
    }
    if (admin_topics_list(k->client, k->options.pattern, true, a, &views,
                          &len) != ERR_NONE)
        return 0; /* passes: the pattern was checked */
    *topics = arena_array(a, (size_t)len + 1, sizeof **topics);
    for (int32_t i = 0; i < len; i++)
        (*topics)[i] = views[i].name;
    return len;
}

struct consumer *consumer_new(struct client *c,
                              const struct consumer_options *options)
{
    struct consumer *k = xcalloc(1, sizeof *k);

    k->client = c;
    k->options = *options;
    k->codec = codec_new();
    list_init(&k->fetches);
    if (options->group != NULL) {
        struct member_options m = {
            .group = options->group,
            .group_instance_id = options->group_instance_id,
            .session_timeout_ms = options->session_timeout_ms,
            .rebalance_timeout_ms = 300000,
            .topics = subscribed_topics,
            .revoked = on_revoked,
            .arg = k,
        };
        k->member = member_new(c, &m);
    }
    k->next_commit_ms = net_now_ms() + options->auto_commit_interval_ms;
    return k;
}

static enum err leave_group(struct consumer *k)
{
    enum err error = k->options.auto_commit ? consumer_commit(k) : ERR_NONE;
    char *why = xstrdup(client_why(k->client));

    k->dirty = false; /* that was the last attempt */
    member_free(k->member);
    if (error != ERR_NONE)
        client_fail(k->client, error,
                    "the last that was read is not committed, so group %s "
                    "gets it again (%s)",
                    k->options.group, why);
    free(why);
    return error;
}

enum err consumer_free(struct consumer *k)
{
    enum err error = k->member != NULL ? leave_group(k) : ERR_NONE;

    clear_positions(k);
    free(k->positions);
    codec_free(k->codec);
    buf_free(&k->scratch);
    free(k);
    return error;
}

/* Partitions of the topics that are read without a group, as they appear. */
static void note_partitions(struct consumer *k,
                            const struct metadata_response_topic *t)
{
    for (int32_t i = 0; i < t->partitions_len; i++) {
        int32_t partition = t->partitions[i].partition_index;
        if ((k->options.partition < 0 || k->options.partition == partition) &&
            find_position(k, t->name, partition) == NULL)
            add_position(k, t->name, partition);
    }
}

static enum err check_topic(struct consumer *k,
                            const struct metadata_response_topic *t)
{
    enum err error = t->error_code;

    if (error != ERR_NONE && !err_retriable(error))
        return client_fail(k->client, error, "topic %.*s: %s",
                           SLICE_FMT(t->name), err_text(error));
    /* Not UNKNOWN_TOPIC_OR_PARTITION, which would pass. */
    if (error == ERR_NONE && t->partitions_len != 0 &&
        k->options.partition >= t->partitions_len)
        return client_fail(k->client, ERR_INVALID_REQUEST,
                           "topic %.*s has no partition %d", SLICE_FMT(t->name),
                           k->options.partition);
    return ERR_NONE;
}

/* A look at the cluster: new partitions, and who leads. */
static enum err look(struct consumer *k)
{
    struct slice *topics = NULL;
    struct metadata_response m;
    struct arena arena;
    bool missing = false;

    arena_init(&arena, CLIENT_ARENA_BYTES);
    int32_t count = subscribed_topics(k, &arena, &topics);
    enum err error = client_topics(k->client, topics, count,
                                   k->options.topic != NULL, &m, &arena);
    for (int32_t i = 0; error == ERR_NONE && i < m.topics_len; i++) {
        const struct metadata_response_topic *t = &m.topics[i];
        error = check_topic(k, t);
        if (k->member == NULL && error == ERR_NONE)
            note_partitions(k, t);
        missing |= t->partitions_len == 0;
        for (int32_t n = 0; n < t->partitions_len; n++) {
            struct position *p =
                find_position(k, t->name, t->partitions[n].partition_index);
            if (p != NULL)
                p->leader = t->partitions[n].leader_id;
            missing |= t->partitions[n].leader_id < 0;
        }
    }
    arena_free(&arena);
    k->trouble = error;
    k->next_look_ms =
        net_now_ms() +
        (missing || error != ERR_NONE ? METADATA_PAUSE_MS : METADATA_AGE_MS);
    return err_retriable(error) ? ERR_NONE : error;
}

/* ---- where to begin
 * -----------------------------------------------------------------------------
 */

static int32_t collect_unplaced(struct consumer *k, struct arena *a,
                                struct partition_offset **items)
{
    int32_t len = 0;

    *items = arena_array(a, k->positions_len + 1, sizeof **items);
    for (size_t i = 0; i < k->positions_len; i++)
        if (k->positions[i].offset == NO_POSITION)
            (*items)[len++] = (struct partition_offset){
                .topic = slice_str(k->positions[i].topic),
                .partition = k->positions[i].partition,
                .offset = -1};
    return len;
}

static void place(struct consumer *k, const struct partition_offset *items,
                  int32_t len)
{
    for (int32_t i = 0; i < len; i++) {
        struct position *p =
            find_position(k, items[i].topic, items[i].partition);
        if (p != NULL && items[i].error == ERR_NONE && items[i].offset >= 0)
            p->offset = p->kept = items[i].offset;
    }
}

/* Positions for partitions without one: what the group committed, else the
 * start that was asked for. */
static enum err find_places(struct consumer *k)
{
    struct partition_offset *items;
    struct arena arena;
    enum err error = ERR_NONE;

    arena_init(&arena, CLIENT_ARENA_BYTES);
    int32_t len = collect_unplaced(k, &arena, &items);
    if (len != 0 && k->member != NULL) {
        error = admin_offsets_committed(k->client, slice_str(k->options.group),
                                        &items, &len, &arena);
        if (error == ERR_NONE)
            place(k, items, len);
        len = collect_unplaced(k, &arena, &items);
    }
    if (error == ERR_NONE && len != 0 && k->options.start >= 0) {
        for (int32_t i = 0; i < len; i++)
            items[i].offset = k->options.start;
        place(k, items, len);
    } else if (error == ERR_NONE && len != 0) {
        error = admin_offsets_list(k->client, items, len, k->options.start,
                                   k->options.read_committed, &arena);
        if (error == ERR_NONE)
            place(k, items, len);
    }
    arena_free(&arena);
    return err_retriable(error) ? ERR_NONE : error;
}

/* ---- fetching
 * ------------------------------------------------------------------------------------
 */

static bool has_fetch(const struct consumer *k, int32_t leader)
{
    LIST_EACH (node, &k->fetches) {
        if (LIST_ENTRY(node, struct fetch, link)->leader == leader)
            return true;
    }
    return false;
}

/* Positions of one leader, a topic at a time as they lie in the array. */
static int32_t fill_topics(struct consumer *k, int32_t leader,
                           struct fetch_request *q, struct arena *a)
{
    int32_t count = 0;

    q->topics = arena_array(a, k->positions_len + 1, sizeof *q->topics);
    for (size_t i = 0; i < k->positions_len; i++) {
        struct position *p = &k->positions[i];
        if (p->leader != leader || p->offset < 0)
            continue;
        struct slice name = slice_str(p->topic);
        int32_t t = 0;
        while (t < q->topics_len && !slice_eq(q->topics[t].topic, name))
            t++;
        if (t == q->topics_len) {
            fetch_request_topic_init(&q->topics[q->topics_len++]);
            q->topics[t].topic = name;
            q->topics[t].partitions = arena_array(
                a, k->positions_len, sizeof *q->topics[t].partitions);
        }
        struct fetch_request_partition *to =
            &q->topics[t].partitions[q->topics[t].partitions_len++];
        fetch_request_partition_init(to);
        to->partition = p->partition;
        to->fetch_offset = p->offset;
        to->partition_max_bytes = k->options.partition_max_bytes;
        count++;
    }
    return count;
}

/* The leader is silent or gone: look who leads now. */
static void distrust(struct consumer *k, int32_t leader)
{
    for (size_t i = 0; i < k->positions_len; i++)
        if (k->positions[i].leader == leader)
            k->positions[i].leader = -1;
    k->next_look_ms = net_now_ms() + 50;
}

static void start_fetch(struct consumer *k, int32_t leader)
{
    struct fetch_request q;
    struct arena arena;

    arena_init(&arena, CLIENT_ARENA_BYTES);
    fetch_request_init(&q);
    q.max_wait_ms = k->options.max_wait_ms;
    q.min_bytes = k->options.min_bytes;
    q.max_bytes = k->options.max_bytes;
    q.isolation_level = k->options.read_committed;
    if (fill_topics(k, leader, &q, &arena) != 0) {
        struct fetch *f = xcalloc(1, sizeof *f);
        f->leader = leader;
        f->deadline_ms = net_now_ms() + k->options.max_wait_ms +
                         client_timeout_ms(k->client);
        if (client_start(k->client, &f->call, leader, API_FETCH, &q) ==
            ERR_NONE) {
            list_push_back(&k->fetches, &f->link);
        } else {
            free(f);
            distrust(k, leader);
        }
    }
    arena_free(&arena);
}

static void start_fetches(struct consumer *k)
{
    const struct client_node *nodes;
    size_t count = client_nodes(k->client, &nodes);

    for (size_t i = 0; i < count; i++)
        if (!has_fetch(k, nodes[i].id))
            start_fetch(k, nodes[i].id);
}

/* ---- records
 * --------------------------------------------------------------------------------------
 */

struct delivery { /* of one poll */
    bool (*take)(void *arg, const struct consumed *one);
    void *arg;
    int64_t count;
    bool stopped;
};

/* Producers whose open transaction was aborted, as far as it has been read. */
struct aborted {
    const struct fetch_response_aborted_transaction *list;
    int32_t len;
    bool *over; /* its abort marker was read */
};

static bool is_aborted(const struct aborted *a, const struct batch *b)
{
    for (int32_t i = 0; i < a->len; i++)
        if (!a->over[i] && a->list[i].producer_id == b->producer_id &&
            a->list[i].first_offset <= b->base_offset)
            return true;
    return false;
}

/* A control batch ends the earliest aborted transaction of its producer. */
static void end_transaction(struct aborted *a, const struct batch *b)
{
    for (int32_t i = 0; i < a->len; i++)
        if (!a->over[i] && a->list[i].producer_id == b->producer_id &&
            a->list[i].first_offset <= b->base_offset) {
            a->over[i] = true;
            return;
        }
}

static enum err deliver_batch(struct consumer *k, struct position *p,
                              struct slice bytes, const struct batch *b,
                              struct delivery *d)
{
    struct record_reader reader;
    struct record record;
    enum err error = record_open(&reader, k->codec, bytes, b, CODEC_LIMIT_BYTES,
                                 &k->scratch);

    if (error != ERR_NONE)
        return error;
    while (!d->stopped && record_next(&reader, &record)) {
        if (record.offset < p->offset)
            continue;
        struct consumed one = {slice_str(p->topic), p->partition, &record,
                               (b->attributes & BATCH_LOG_APPEND_TIME) != 0,
                               b->leader_epoch};
        d->count++;
        d->stopped = !d->take(d->arg, &one);
        p->offset = record.offset + 1;
    }
    if (d->stopped)
        return ERR_NONE;
    if (reader.err == ERR_NONE && p->offset <= batch_last_offset(b))
        p->offset = batch_last_offset(b) + 1; /* gaps at its end */
    return reader.err;
}

static enum err deliver(struct consumer *k, struct position *p,
                        struct slice bytes, struct aborted *aborted,
                        struct delivery *d)
{
    while (!d->stopped && bytes.len != 0) {
        struct batch b;
        enum err error = batch_parse(bytes, &b);
        if (error == ERR_TOO_LARGE)
            return ERR_NONE; /* cut off at the end of the answer */
        if (error != ERR_NONE)
            return error;
        struct slice whole = slice_of(bytes.data, b.size_bytes);
        if (!batch_crc_ok(whole, &b))
            return ERR_CORRUPT_MESSAGE;
        bool control = (b.attributes & BATCH_CONTROL) != 0;
        bool hidden = (b.attributes & BATCH_TRANSACTIONAL) != 0 &&
                      is_aborted(aborted, &b);
        if (control)
            end_transaction(aborted, &b);
        if (control || hidden) {
            if (p->offset <= batch_last_offset(&b))
                p->offset = batch_last_offset(&b) + 1;
        } else if (batch_last_offset(&b) >= p->offset) {
            error = deliver_batch(k, p, whole, &b, d);
            if (error != ERR_NONE)
                return error;
        }
        bytes = slice_of(bytes.data + b.size_bytes, bytes.len - b.size_bytes);
    }
    return ERR_NONE;
}

static enum err take_partition(struct consumer *k, struct position *p,
                               const struct fetch_response_partition_data *a,
                               struct arena *arena, struct delivery *d)
{
    enum err error = a->error_code;

    if (error == ERR_OFFSET_OUT_OF_RANGE) {
        p->offset = NO_POSITION;
        if (k->options.start >= 0)
            k->options.start = CONSUME_LATEST;
        return ERR_NONE;
    }
    if (err_retriable(error)) {
        p->leader = -1;
        k->next_look_ms = net_now_ms() + 50;
        return ERR_NONE;
    }
    if (error == ERR_NONE && a->records.bytes.len != 0) {
        struct aborted aborted = {a->aborted_transactions, 0, NULL};
        if (a->aborted_transactions_len > 0) {
            aborted.len = a->aborted_transactions_len;
            aborted.over =
                arena_array(arena, (size_t)aborted.len, sizeof *aborted.over);
        }
        error = deliver(k, p, a->records.bytes, &aborted, d);
    }
    if (error != ERR_NONE)
        return client_fail(
            k->client, error, "topic %s, partition %d, at offset %lld: %s",
            p->topic, p->partition, (long long)p->offset, err_text(error));
    return ERR_NONE;
}

static enum err take_answer(struct consumer *k, struct fetch *f,
                            struct delivery *d)
{
    struct fetch_response r;
    struct arena arena;

    arena_init(&arena, 0);
    enum err error = client_finish(k->client, &f->call, &r, &arena);
    if (error == ERR_NONE)
        error = r.error_code;
    if (error != ERR_NONE) {
        distrust(k, f->leader);
        arena_free(&arena);
        return ERR_NONE;
    }
    for (int32_t t = 0; t < r.responses_len; t++)
        for (int32_t i = 0; i < r.responses[t].partitions_len; i++) {
            const struct fetch_response_partition_data *a =
                &r.responses[t].partitions[i];
            struct position *p =
                find_position(k, r.responses[t].topic, a->partition_index);
            if (p == NULL || error != ERR_NONE || d->stopped)
                continue;
            error = take_partition(k, p, a, &arena, d);
        }
    arena_free(&arena);
    return error;
}

static enum err take_arrived(struct consumer *k, struct delivery *d)
{
    enum err error = ERR_NONE;

    LIST_EACH_SAFE (node, tmp, &k->fetches) {
        struct fetch *f = LIST_ENTRY(node, struct fetch, link);
        bool late = !f->call.done && net_now_ms() >= f->deadline_ms;
        if ((!f->call.done && !late) || error != ERR_NONE || d->stopped)
            continue;
        list_remove(&f->link);
        if (late) {
            client_abandon(k->client, &f->call);
            distrust(k, f->leader);
        } else {
            error = take_answer(k, f, d);
        }
        free(f);
    }
    return error;
}

/* ---- the loop
 * ---------------------------------------------------------------------------------------
 */

static enum err see_to_membership(struct consumer *k)
{
    const struct member_partition *partitions;
    bool changed;

    if (k->member == NULL)
        return ERR_NONE;
    enum err error = member_step(k->member, &changed);
    if (error != ERR_NONE || !changed)
        return error;
    clear_positions(k);
    size_t count = member_assignment(k->member, &partitions);
    for (size_t i = 0; i < count; i++)
        add_position(k, partitions[i].topic, partitions[i].partition);
    k->next_look_ms = 0;
    k->dirty = false;
    return ERR_NONE;
}

static enum err prepare(struct consumer *k)
{
    enum err error = see_to_membership(k);

    if (error == ERR_NONE && net_now_ms() >= k->next_look_ms)
        error = look(k);
    if (error == ERR_NONE)
        error = find_places(k);
    if (error == ERR_NONE && k->options.auto_commit && k->member != NULL &&
        net_now_ms() >= k->next_commit_ms) {
        consumer_commit(k); /* what fails now is committed later */
        k->next_commit_ms = net_now_ms() + k->options.auto_commit_interval_ms;
    }
    return error;
}

enum err consumer_poll(struct consumer *k, int64_t deadline_ms,
                       bool (*take)(void *arg, const struct consumed *one),
                       void *arg, int64_t *count)
{
    struct delivery d = {.take = take, .arg = arg};
    enum err error = ERR_NONE;

    do {
        error = prepare(k);
        if (error != ERR_NONE)
            break;
        start_fetches(k);
        int64_t soon = net_now_ms() + 100;
        client_poll(k->client, soon < deadline_ms ? soon : deadline_ms);
        error = take_arrived(k, &d);
    } while (error == ERR_NONE && d.count == 0 && !d.stopped &&
             net_now_ms() < deadline_ms);
    *count = d.count;
    return error;
}
