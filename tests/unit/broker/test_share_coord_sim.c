/* Share-partitions and their coordinator together: leaders of partitions are
 * replaced, and coordinators, too, without knowing it at first; requests and
 * answers are late, lost, and come twice; commits lag, and the end of the log
 * may be lost with a coordinator; snapshots are taken and the log is pruned.
 * Whatever happens:
 *
 *   nothing is delivered whose end is in the committed log
 *   nothing is delivered that a member was told is acknowledged
 *   a coordinator that loads the log knows what the one before it knew
 *   once things are calm every record ends
 *
 * A seed that fails is replayed by running it alone: SHARE_SEED=n. */
#include "broker/coord/share/share_shard.h"
#include "broker/share/partition.h"

#include "base/prng.h"
#include "proto/kafka/coordinator_record.h"
#include "proto/record/batch.h"
#include "proto/record/record.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

enum {
    KEYS = 3,
    OFFSETS_MAX = 4000,
    LIVES_MAX = 100,
    BATCHES_MAX = 9000,
    FLYING_MAX = 200,
    TOKENS_MAX = 40000,
    WAITERS_MAX = 12000,
    STEPS = 3000,
    SEEDS = 40,
    LOCK_MS = 400,
};

struct stored_batch {
    uint8_t *data;
    size_t len;
    int64_t base;
    int64_t end;
};

/* A coordinator: the true one, or one that does not know that it is not. */
struct life {
    struct share_shard *shard; /* NULL: gone */
    struct stored_batch batches[BATCHES_MAX];
    int first; /* those before were pruned */
    int len;
    int64_t end_offset;
    int64_t high_watermark;
};

enum kind { INIT, READ, WRITE };

/* A request on its way; and what its answer is for. */
struct message {
    bool used;
    bool copy; /* nobody hears of its answer */
    int64_t due_ms;
    enum kind kind;
    int key;
    int leader; /* of the partition: its epoch */
    struct share_write write;
};

struct waiter {
    struct share_waiter waiter;
    int key;
    bool ended;
    int64_t first, last; /* acknowledged if it says yes; first -1: nothing */
};

struct key {
    bool initialized;
    struct share_partition *p; /* NULL: not loaded */
    int epoch;                 /* of the partition's leader */
    bool reading;
    int64_t log_end;
    int64_t start;           /* by the committed log */
    bool ended[OFFSETS_MAX]; /* likewise: acknowledged or archived */
    bool told[OFFSETS_MAX];  /* a member heard that it is acknowledged */
    int holder[OFFSETS_MAX]; /* 1..3: who acquired it last */
};

static struct {
    struct prng prng;
    uint64_t seed;
    bool calm;
    struct coord_time time;
    struct share_shard_options options;
    struct life lives[LIVES_MAX];
    int lives_len;
    int true_life;
    int64_t committed; /* of the true log, exclusive */
    struct message flying[FLYING_MAX];
    struct message tokens[TOKENS_MAX];
    int tokens_len;
    struct waiter waiters[WAITERS_MAX];
    int waiters_len;
    struct key keys[KEYS];
    long delivered, told, reads, fenced, lost, fail_overs, pruned;
} w;

static const char *const members[] = {"", "ann", "bob", "cy"};
static const struct uuid topic = {{1}};

static uint64_t below(uint64_t n) { return prng_below(&w.prng, n); }
static bool chance(int percent) { return (int)below(100) < percent; }

#define CHECK(condition)                                                       \
    cr_assert(condition, "SHARE_SEED=%llu at %lld ms: %s",                     \
              (unsigned long long)w.seed, (long long)w.time.now_ms,            \
              #condition)

/* ---- the committed log, read without the coordinator ---------------------*/

static void mark(struct key *key, int64_t first, int64_t last, int state)
{
    for (int64_t o = first; o <= last; o++)
        if (state == SHARE_ACKNOWLEDGED || state == SHARE_ARCHIVED)
            key->ended[o] = true;
}

static void raise_start(struct key *key, int64_t start)
{
    for (int64_t o = 0; o < start; o++)
        key->ended[o] = true;
    key->start = start > key->start ? start : key->start;
}

static void see_record(const struct record *r)
{
    const struct coordinator_record *type;
    struct arena arena;
    void *name, *value;

    arena_init(&arena, 0);
    CHECK(coordinator_key_decode(&share_records, r->key, &arena, &type,
                                 &name) == ERR_NONE);
    CHECK(coordinator_value_decode(type, r->value, &arena, &value) == ERR_NONE);
    if (type->key == &share_snapshot_key_desc) {
        const struct share_snapshot_value *v = value;
        struct key *key =
            &w.keys[((struct share_snapshot_key *)name)->partition];

        raise_start(key, v->start_offset);
        for (int32_t i = 0; i < v->state_batches_len; i++)
            mark(key, v->state_batches[i].first_offset,
                 v->state_batches[i].last_offset,
                 v->state_batches[i].delivery_state);
    } else {
        const struct share_update_value *v = value;
        struct key *key = &w.keys[((struct share_update_key *)name)->partition];

        raise_start(key, v->start_offset);
        for (int32_t i = 0; i < v->state_batches_len; i++)
            mark(key, v->state_batches[i].first_offset,
                 v->state_batches[i].last_offset,
                 v->state_batches[i].delivery_state);
    }
    arena_free(&arena);
}

static void see_batch(const struct stored_batch *stored)
{
    struct slice bytes = slice_of(stored->data, stored->len);
    struct record_reader reader;
    struct buf scratch = BUF_INIT;
    struct codec *codec = codec_new();
    struct batch batch;
    struct record record;

    CHECK(batch_parse(bytes, &batch) == ERR_NONE);
    CHECK(record_open(&reader, codec, bytes, &batch, CODEC_LIMIT_BYTES,
                      &scratch) == ERR_NONE);
    while (record_next(&reader, &record))
        see_record(&record);
    buf_free(&scratch);
    codec_free(codec);
}

/* ---- coordinators --------------------------------------------------------*/

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct life *life = arg;
    struct batch header;

    if (!w.calm && chance(3))
        return ERR_NOT_ENOUGH_REPLICAS;
    CHECK(life->len < BATCHES_MAX);
    CHECK(batch_parse(slice_of(batch, len), &header) == ERR_NONE);
    batch_patch(batch, life->end_offset, 1);
    *base_offset = life->end_offset;
    life->end_offset += header.last_offset_delta + 1;
    life->batches[life->len++] = (struct stored_batch){
        xmemdup(batch, len), len, *base_offset, life->end_offset};
    return ERR_NONE;
}

static void hear(const struct message *m, enum err err,
                 const struct share_answer *answer);

static void on_answer(void *arg, struct share_answer *answer)
{
    struct message *m = &w.tokens[(intptr_t)answer->token];
    enum err err;

    (void)arg;
    CHECK(m->used);
    m->used = false;
    switch (m->kind) {
    case INIT:
        err = (enum err)answer->response.initialize.results[0]
                  .partitions[0]
                  .error_code;
        break;
    case READ:
        err =
            (enum err)answer->response.read.results[0].partitions[0].error_code;
        break;
    default:
        err = (enum err)answer->response.write.results[0]
                  .partitions[0]
                  .error_code;
    }
    w.fenced += err == ERR_FENCED_LEADER_EPOCH;
    if (!w.calm && chance(8)) {
        err = ERR_NETWORK_EXCEPTION;
        w.lost++;
    }
    if (!m->copy)
        hear(m, err, answer);
    share_answer_free(answer);
}

static const struct share_shard_ops ops = {.append = on_append,
                                           .answer = on_answer};

static struct life *true_life(void) { return &w.lives[w.true_life]; }

/* All of the true log below `to` is committed. */
static void commit(int64_t to)
{
    struct life *life = true_life();

    for (int i = life->first; i < life->len; i++)
        if (life->batches[i].base >= w.committed && life->batches[i].end <= to)
            see_batch(&life->batches[i]);
    w.committed = to;
    life->high_watermark = to;
    share_shard_committed(life->shard, to, w.time);
}

static void commit_some(void)
{
    struct life *life = true_life();
    int64_t to = w.committed;

    for (int i = life->first; i < life->len; i++)
        if (life->batches[i].end > to && chance(70))
            to = life->batches[i].end;
        else if (life->batches[i].end > to)
            break;
    if (to > w.committed || chance(30))
        commit(to);
}

static void load_life(struct life *life)
{
    life->shard = share_shard_create(&w.options, &ops, life);
    struct share_loader *loader = share_shard_loader(life->shard);

    for (int i = life->first; i < life->len; i++)
        CHECK(share_loader_add(loader, slice_of(life->batches[i].data,
                                                life->batches[i].len)) ==
              ERR_NONE);
    CHECK(share_loader_skipped(loader) == 0);
    share_shard_activate(life->shard, loader, life->end_offset,
                         life->high_watermark, w.time);
}

static void resign(struct life *life)
{
    if (life->shard == NULL)
        return;
    share_shard_resign(life->shard, w.time);
    share_shard_free(life->shard);
    life->shard = NULL;
}

/* The next one has what is committed and maybe more. */
static void fail_over(bool keep_all)
{
    struct life *old = true_life();
    struct life *life = &w.lives[w.lives_len];

    if (w.lives_len == LIVES_MAX)
        return;
    life->end_offset = w.committed;
    life->high_watermark = w.committed;
    for (int i = old->first; i < old->len; i++) {
        const struct stored_batch *b = &old->batches[i];

        if (b->base >= w.committed && !keep_all && chance(30))
            break;
        life->batches[life->len++] = (struct stored_batch){
            xmemdup(b->data, b->len), b->len, b->base, b->end};
        life->end_offset = b->end;
    }
    if (keep_all || chance(50))
        resign(old);
    w.true_life = w.lives_len++;
    w.fail_overs++;
    load_life(life);
}

static void prune(void)
{
    struct life *life = true_life();
    int64_t offset = share_shard_prune_offset(life->shard);

    CHECK(offset <= w.committed);
    while (life->first < life->len &&
           life->batches[life->first].end <= offset) {
        free(life->batches[life->first++].data);
        w.pruned++;
    }
}

/* ---- messages ------------------------------------------------------------*/

static struct message *post(enum kind kind, int key)
{
    for (int i = 0; i < FLYING_MAX; i++) {
        struct message *m = &w.flying[i];

        if (m->used)
            continue;
        *m = (struct message){.used = true,
                              .due_ms = w.time.now_ms + (int64_t)below(80),
                              .kind = kind,
                              .key = key,
                              .leader = w.keys[key].epoch};
        return m;
    }
    CHECK(false);
    return NULL;
}

static void post_init(int key)
{
    post(INIT, key);
    if (!w.calm && chance(30)) {
        struct message *m = post(INIT, key);

        m->copy = true;
        m->due_ms += (int64_t)below(3000);
    }
}

static void post_write(int key, const struct share_write *write, bool copy)
{
    struct message *m = post(WRITE, key);

    m->copy = copy;
    if (copy)
        m->due_ms += (int64_t)below(3000);
    m->write = *write;
    m->write.batches = xcalloc(write->batches_len + 1, sizeof *write->batches);
    for (uint32_t i = 0; i < write->batches_len; i++)
        m->write.batches[i] = write->batches[i];
}

static void send_init(struct share_shard *shard, const struct share_context *c,
                      const struct message *m)
{
    struct initialize_share_group_state_request_partition_data p = {m->key, 0,
                                                                    0};
    struct initialize_share_group_state_request_initialize_state_data t = {
        topic, &p, 1};

    share_shard_request(
        shard, c, API_INITIALIZE_SHARE_GROUP_STATE,
        &(struct initialize_share_group_state_request){SLICE("g"), &t, 1});
}

static void send_read(struct share_shard *shard, const struct share_context *c,
                      const struct message *m)
{
    struct read_share_group_state_request_partition_data p = {m->key,
                                                              m->leader};
    struct read_share_group_state_request_read_state_data t = {topic, &p, 1};

    share_shard_request(
        shard, c, API_READ_SHARE_GROUP_STATE,
        &(struct read_share_group_state_request){SLICE("g"), &t, 1});
}

static void send_write(struct share_shard *shard, const struct share_context *c,
                       const struct message *m)
{
    uint32_t len = m->write.batches_len;
    struct write_share_group_state_request_state_batch *batches =
        xcalloc(len + 1, sizeof *batches);

    for (uint32_t i = 0; i < len; i++)
        batches[i] = (struct write_share_group_state_request_state_batch){
            m->write.batches[i].first, m->write.batches[i].last,
            (int8_t)m->write.batches[i].state, m->write.batches[i].deliveries};
    struct write_share_group_state_request_partition_data p = {
        m->key,
        m->write.state_epoch,
        m->write.leader_epoch,
        m->write.start_offset,
        m->write.delivery_complete_count,
        batches,
        (int32_t)len};
    struct write_share_group_state_request_write_state_data t = {topic, &p, 1};
    share_shard_request(
        shard, c, API_WRITE_SHARE_GROUP_STATE,
        &(struct write_share_group_state_request){SLICE("g"), &t, 1});
    free(batches);
}

/* Which coordinator the sender knows of: not always the true one. */
static struct life *known_life(void)
{
    int i = w.true_life;

    if (!w.calm && chance(15) && i > 0)
        i--;
    return &w.lives[i];
}

static void arrive(struct message *m)
{
    struct life *life = known_life();

    m->used = false;
    if (life->shard == NULL || (!w.calm && chance(8))) {
        w.lost++;
        if (!m->copy)
            hear(m, ERR_NETWORK_EXCEPTION, NULL);
    } else {
        CHECK(w.tokens_len < TOKENS_MAX - 1);
        int token = ++w.tokens_len;
        w.tokens[token] = *m;
        w.tokens[token].used = true;
        struct share_context context = {.token = (void *)(intptr_t)token,
                                        .now_ms = w.time.now_ms,
                                        .wall_ms = w.time.wall_ms};
        if (m->kind == INIT)
            send_init(life->shard, &context, m);
        else if (m->kind == READ)
            send_read(life->shard, &context, m);
        else
            send_write(life->shard, &context, m);
    }
    free(m->write.batches);
}

static void arrivals(void)
{
    for (int i = 0; i < FLYING_MAX; i++)
        if (w.flying[i].used && w.flying[i].due_ms <= w.time.now_ms) {
            struct message m = w.flying[i];

            w.flying[i].used = false;
            arrive(&m);
        }
}

/* ---- leaders of partitions -----------------------------------------------*/

static void take_update(int k, struct share_update *update)
{
    struct key *key = &w.keys[k];

    while (!list_empty(&update->ended)) {
        struct waiter *waiter = LIST_ENTRY(list_pop_front(&update->ended),
                                           struct waiter, waiter.link);

        CHECK(!waiter->ended);
        waiter->ended = true;
        if (waiter->waiter.err != ERR_NONE || waiter->first < 0)
            continue;
        for (int64_t o = waiter->first; o <= waiter->last; o++) {
            key->told[o] = true;
            CHECK(key->ended[o]); /* a yes means that it is committed */
            w.told++;
        }
    }
    if (update->write == NULL)
        return;
    post_write(k, update->write, false);
    if (!w.calm && chance(10))
        post_write(k, update->write, true);
}

static void create(int k, const struct share_answer *answer)
{
    static struct share_batch batches[OFFSETS_MAX];
    const struct read_share_group_state_response_partition_result *r =
        &answer->response.read.results[0].partitions[0];
    struct share_partition_config config;
    struct share_update update;

    for (int32_t i = 0; i < r->state_batches_len; i++)
        batches[i] = (struct share_batch){
            r->state_batches[i].first_offset, r->state_batches[i].last_offset,
            (enum share_state)r->state_batches[i].delivery_state,
            r->state_batches[i].delivery_count};
    share_partition_config_init(&config);
    config.record_lock_duration_ms = LOCK_MS;
    config.max_record_locks = 100;
    config.delivery_count_limit = 3;
    struct share_loaded loaded = {r->state_epoch, r->start_offset, 0, batches,
                                  (uint32_t)r->state_batches_len};
    share_update_init(&update);
    w.keys[k].p =
        share_partition_create(&config, w.keys[k].epoch, &loaded, &update);
    CHECK(w.keys[k].p != NULL);
    take_update(k, &update);
    w.reads++;
}

static void hear(const struct message *m, enum err err,
                 const struct share_answer *answer)
{
    struct key *key = &w.keys[m->key];
    struct share_update update;

    if (m->kind == INIT) {
        key->initialized = key->initialized || err == ERR_NONE;
        return;
    }
    if (m->leader != key->epoch)
        return;
    if (m->kind == READ) {
        key->reading = false;
        if (err == ERR_NONE && key->p == NULL)
            create(m->key, answer);
        return;
    }
    share_update_init(&update);
    share_partition_written(key->p, m->write.id, err, w.time.now_ms, &update);
    take_update(m->key, &update);
}

static void replace_leader(int k)
{
    struct key *key = &w.keys[k];
    struct share_update update;

    if (key->p != NULL) {
        share_update_init(&update);
        share_partition_close(key->p, &update);
        take_update(k, &update);
        share_partition_free(key->p);
        key->p = NULL;
    }
    key->epoch++;
    key->reading = false;
}

/* What has to be there before a partition can be used. */
static void prepare(int k)
{
    struct key *key = &w.keys[k];

    if (!key->initialized) {
        post_init(k);
    } else if (key->p == NULL && !key->reading) {
        key->reading = true;
        post(READ, k);
    }
}

/* ---- consumers -----------------------------------------------------------*/

static void acquire(int k)
{
    struct key *key = &w.keys[k];
    struct share_log_batch batches[30];
    struct share_acquired acquired = {0};
    struct share_update update;
    int member = 1 + (int)below(3);
    uint32_t len = 0;
    int64_t from = share_partition_next_fetch(key->p);

    for (int64_t o = from; o < key->log_end && len < 30; o += 5)
        batches[len++] = (struct share_log_batch){
            o, o + 4 < key->log_end ? o + 4 : key->log_end - 1, true};
    share_update_init(&update);
    share_partition_acquire(
        key->p,
        &(struct share_acquire){.member = slice_str(members[member]),
                                .now_ms = w.time.now_ms,
                                .from = from,
                                .batches = batches,
                                .batches_len = len,
                                .max_records = 1 + (int32_t)below(40),
                                .batch_size = 10},
        &acquired, &update);
    for (uint32_t i = 0; i < acquired.len; i++)
        for (int64_t o = acquired.ranges[i].first; o <= acquired.ranges[i].last;
             o++) {
            CHECK(!key->ended[o]);
            CHECK(!key->told[o]);
            CHECK(acquired.ranges[i].deliveries <= 3);
            key->holder[o] = member;
            w.delivered++;
        }
    share_acquired_free(&acquired);
    take_update(k, &update);
}

static void acknowledge(int k)
{
    struct key *key = &w.keys[k];
    struct share_partition_stats stats;
    struct share_update update;
    int member = 1 + (int)below(3);

    if (w.waiters_len == WAITERS_MAX)
        return;
    share_partition_stats(key->p, &stats);
    int64_t first = stats.start;
    while (first < stats.end && (key->holder[first] != member || chance(20)))
        first++;
    if (first >= stats.end)
        return;
    int64_t last = first;
    while (last + 1 < stats.end && key->holder[last + 1] == member &&
           chance(80))
        last++;
    int8_t type = (int8_t)(w.calm || chance(70) ? SHARE_ACK_ACCEPT
                           : chance(50)         ? SHARE_ACK_RELEASE
                                                : SHARE_ACK_REJECT);
    struct waiter *waiter = &w.waiters[w.waiters_len++];
    waiter->first = type == SHARE_ACK_RELEASE ? -1 : first;
    waiter->last = last;
    waiter->key = k;
    share_update_init(&update);
    share_partition_acknowledge(key->p, slice_str(members[member]),
                                &(struct share_ack){first, last, &type, 1}, 1,
                                w.time.now_ms, &waiter->waiter, &update);
    take_update(k, &update);
}

static void vanish(int k)
{
    struct share_update update;

    share_update_init(&update);
    share_partition_release(w.keys[k].p, slice_str(members[1 + below(3)]), NULL,
                            &update);
    take_update(k, &update);
}

/* ---- steps ---------------------------------------------------------------*/

static void ticks(void)
{
    for (int k = 0; k < KEYS; k++) {
        struct share_update update;

        if (w.keys[k].p == NULL ||
            share_partition_next_deadline(w.keys[k].p) > w.time.now_ms)
            continue;
        share_update_init(&update);
        share_partition_tick(w.keys[k].p, w.time.now_ms, &update);
        take_update(k, &update);
    }
    for (int i = 0; i < w.lives_len; i++)
        if (w.lives[i].shard != NULL &&
            share_shard_next_deadline(w.lives[i].shard) <= w.time.now_ms)
            share_shard_tick(w.lives[i].shard, w.time);
}

static void pass(int64_t ms)
{
    w.time.now_ms += ms;
    w.time.wall_ms += ms;
    arrivals();
    ticks();
}

static void use(int k, uint64_t dice)
{
    struct key *key = &w.keys[k];

    if (key->p == NULL) {
        prepare(k);
        return;
    }
    if (dice < 30 && key->log_end < OFFSETS_MAX - 50)
        key->log_end += 1 + (int64_t)below(12);
    else if (dice < 55)
        acquire(k);
    else if (dice < 95)
        acknowledge(k);
    else
        vanish(k);
    if (key->p != NULL)
        share_partition_check(key->p);
}

static void check_reload(void)
{
    struct life *life = true_life();
    struct buf before = BUF_INIT, after = BUF_INIT;

    commit(life->end_offset);
    share_coord_check(share_shard_coord(life->shard));
    share_coord_dump(share_shard_coord(life->shard), &before);
    fail_over(true);
    share_coord_dump(share_shard_coord(true_life()->shard), &after);
    CHECK(slice_eq(buf_slice(&before), buf_slice(&after)));
    buf_free(&before);
    buf_free(&after);
}

static void step(void)
{
    uint64_t dice = below(1000);

    pass((int64_t)below(15));
    if (dice < 700)
        use((int)below(KEYS), below(100));
    else if (dice < 950)
        commit_some();
    else if (dice < 960)
        replace_leader((int)below(KEYS));
    else if (dice < 970)
        fail_over(false);
    else if (dice < 975)
        check_reload();
    else if (dice < 985)
        prune();
    else
        for (int i = 0; i < w.true_life; i++)
            resign(&w.lives[i]);
}

static bool over(void)
{
    for (int k = 0; k < KEYS; k++) {
        struct share_partition_stats stats;

        if (w.keys[k].p == NULL)
            return false;
        share_partition_stats(w.keys[k].p, &stats);
        if (stats.start != w.keys[k].log_end)
            return false;
    }
    return true;
}

static void calm_down(void)
{
    w.calm = true;
    for (int i = 0; i < w.true_life; i++)
        resign(&w.lives[i]);
    for (int i = 0; i < 20000 && !over(); i++) {
        pass(20);
        commit(true_life()->end_offset);
        for (int k = 0; k < KEYS; k++)
            if (w.keys[k].p == NULL)
                prepare(k);
            else if (chance(30))
                acquire(k);
            else
                acknowledge(k);
        if (w.waiters_len > WAITERS_MAX - 10)
            break;
    }
    CHECK(over());
    for (int i = 0; i < 300; i++) {
        pass(20);
        commit(true_life()->end_offset);
    }
    check_reload();
    commit(true_life()->end_offset);
    for (int k = 0; k < KEYS; k++) {
        for (int64_t o = 0; o < w.keys[k].log_end; o++)
            CHECK(w.keys[k].ended[o]);
        replace_leader(k);
    }
    for (int i = 0; i < w.waiters_len; i++)
        CHECK(w.waiters[i].ended);
}

static void run(uint64_t seed)
{
    long sums[] = {w.delivered, w.told,       w.reads, w.fenced,
                   w.lost,      w.fail_overs, w.pruned};

    memset(&w, 0, sizeof w);
    w.delivered = sums[0], w.told = sums[1], w.reads = sums[2],
    w.fenced = sums[3], w.lost = sums[4], w.fail_overs = sums[5],
    w.pruned = sums[6];
    w.seed = w.prng.state = seed;
    w.time = (struct coord_time){1000, INT64_C(1700000000000)};
    share_coord_config_init(&w.options.config);
    w.options.config.snapshot_update_records_per_snapshot = (int)below(12);
    w.options.config.cold_partition_snapshot_interval_ms = 3000;
    w.options.batch_max_bytes = 1 << 20;
    w.options.commit_timeout_ms = 500;
    w.lives_len = 1;
    load_life(&w.lives[0]);
    for (int i = 0; i < STEPS; i++)
        step();
    calm_down();
    for (int i = 0; i < w.lives_len; i++) {
        resign(&w.lives[i]);
        for (int b = w.lives[i].first; b < w.lives[i].len; b++)
            free(w.lives[i].batches[b].data);
    }
    for (int i = 0; i < FLYING_MAX; i++)
        if (w.flying[i].used)
            free(w.flying[i].write.batches);
}

Test(share_coord_sim, seeds, .timeout = 600)
{
    const char *only = getenv("SHARE_SEED");

    if (only != NULL) {
        run(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
    cr_log_info("%ld delivered, %ld acknowledged, %ld reads, %ld fenced, "
                "%ld lost, %ld fail-overs, %ld batches pruned",
                w.delivered, w.told, w.reads, w.fenced, w.lost, w.fail_overs,
                w.pruned);
    cr_assert(w.delivered > 0 && w.told > 0 && w.reads > 0 && w.fenced > 0 &&
              w.lost > 0 && w.fail_overs > 0 && w.pruned > 0);
}
