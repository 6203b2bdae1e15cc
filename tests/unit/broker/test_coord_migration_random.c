/* Members of both protocols come, go, die and change their protocol in one
 * group, at random, while coordinators are lost and writes fail.  Whatever
 * happens, no partition belongs to two members that are sure of it, and a
 * coordinator that loads the log is as the one before.
 *
 * MIGRATION_SEED=n runs one seed, MIGRATION_SEEDS=n that many. */
#include "tests/unit/broker/migration_kit.h"

TestSuite(migration_random, .init = open_world, .fini = close_world);

enum {
    ACTORS = 5,
    STEPS = 600,
    SEEDS = 500,
    SURE_MS = 5000, /* half of the shortest session */
};

enum state { AWAY, JOINING, SYNCING, IN };

struct actor {
    struct client c;
    enum state state;
    bool modern;
    int token;        /* of the JoinGroup or SyncGroup under way */
    int64_t sent_ms;  /* when that was sent */
    int64_t heard_ms; /* when it sent what was answered last, without error */
};

static struct actor actors[ACTORS];
static struct prng chance;
static int names; /* given out */

static bool one_in(uint64_t n) { return prng_below(&chance, n) == 0; }

static void forget(struct actor *a)
{
    const char *instance = a->c.instance;

    *a = (struct actor){.c = {.instance = instance}, .token = -1};
}

static bool is_sure(const struct actor *a)
{
    return w.time.now_ms - a->heard_ms < SURE_MS;
}

/* What a subscription says. */
static unsigned owned_of(struct slice metadata)
{
    struct consumer_protocol_subscription sub;
    struct reader r = reader_of(metadata);
    struct arena arena;
    unsigned mask = 0;

    arena_init(&arena, 0);
    int16_t version = read_i16(&r);
    cr_assert_err(kafka_decode_prefix(&consumer_protocol_subscription_desc,
                                      version, &r, &arena, &sub),
                  ERR_NONE);
    for (int32_t t = 0; t < sub.owned_partitions_len; t++)
        for (int32_t i = 0; i < sub.owned_partitions[t].partitions_len; i++)
            mask |= 1u << sub.owned_partitions[t].partitions[i];
    arena_free(&arena);
    return mask;
}

/* ---- classic members -----------------------------------------------------*/

static void start_join(struct actor *a)
{
    if (!a->c.cooperative)
        a->c.has = 0;
    a->token = send_join(&a->c);
    a->sent_ms = w.time.now_ms;
    a->state = JOINING;
}

/* As a cooperative assignor: who says that it owns a partition keeps it, as it
 * may have it still; the others go round. */
static void assign(const struct join_group_response *r,
                   struct sync_group_request *q,
                   struct sync_group_request_assignment *to)
{
    static uint8_t rooms[8][64];
    unsigned shares[8] = {0};
    unsigned left = (1u << w.topic_partitions) - 1;

    cr_assert(r->members_len > 0 && r->members_len <= 8);
    for (int32_t i = 0; i < r->members_len; i++) {
        shares[i] = owned_of(r->members[i].metadata) & left;
        left &= ~shares[i];
    }
    for (int32_t p = 0; p < w.topic_partitions; p++)
        shares[p % r->members_len] |= left & 1u << p;
    for (int32_t i = 0; i < r->members_len; i++) {
        struct slice bytes = assignment(shares[i], NULL);

        memcpy(rooms[i], bytes.data, bytes.len);
        to[i] = (struct sync_group_request_assignment){
            r->members[i].member_id, slice_of(rooms[i], bytes.len)};
    }
    q->assignments = to;
    q->assignments_len = r->members_len;
}

static void start_sync(struct actor *a, const struct join_group_response *r)
{
    struct sync_group_request_assignment to[8];
    struct sync_group_request q = {0};

    if (slice_eq_str(r->leader, a->c.id))
        assign(r, &q, to);
    q.group_id = SLICE("g");
    q.generation_id = a->c.generation;
    q.member_id = slice_str(a->c.id);
    q.group_instance_id = slice_str(a->c.instance);
    a->token = world_request(&w, API_SYNC_GROUP, 5, &q);
    a->sent_ms = w.time.now_ms;
    a->state = SYNCING;
}

static bool is_lost(enum err err)
{
    return err == ERR_UNKNOWN_MEMBER_ID || err == ERR_FENCED_INSTANCE_ID;
}

static void take_answer(struct actor *a)
{
    int token = a->token;

    if (!answered(&w, token)) {
        if (w.time.now_ms - a->sent_ms > 2 * SURE_MS)
            forget(a); /* it gives up */
        return;
    }
    if (a->state == JOINING) {
        enum err err = take_join(&a->c, token);

        if (err == ERR_NONE)
            start_sync(a, join_of(&w, token));
        else if (is_lost(err))
            forget(a);
        else
            a->state = AWAY;
        return;
    }
    const struct sync_group_response *r = sync_of(&w, token);
    a->heard_ms = a->sent_ms;
    if (r->error_code == ERR_NONE && is_sure(a)) {
        a->c.has = mask_of(r->assignment);
        a->state = IN;
    } else if (is_lost((enum err)r->error_code)) {
        forget(a);
    } else {
        a->c.has = a->c.cooperative ? a->c.has : 0;
        a->state = AWAY;
    }
}

static void beat_classic(struct actor *a)
{
    enum err err = heartbeat(&a->c);

    if (err == ERR_NONE)
        a->heard_ms = w.time.now_ms;
    else if (is_lost(err))
        forget(a);
    else if (err == ERR_REBALANCE_IN_PROGRESS)
        start_join(a);
    else if (err == ERR_ILLEGAL_GENERATION)
        a->c.has = 0, start_join(a);
}

/* ---- members of the new protocol -----------------------------------------*/

static void beat_modern(struct actor *a)
{
    enum err err = beat(&a->c);

    if (err == ERR_NONE) {
        a->heard_ms = w.time.now_ms;
        a->state = IN;
    } else if (err == ERR_FENCED_MEMBER_EPOCH) {
        a->c.has = 0;
        a->c.generation = 0;
    } else if (is_lost(err) || err == ERR_GROUP_ID_NOT_FOUND ||
               err == ERR_UNRELEASED_INSTANCE_ID) {
        forget(a);
    }
}

/* ---- steps ---------------------------------------------------------------*/

static void come(struct actor *a, int number)
{
    if (a->c.id[0] != '\0') { /* it comes back */
        start_join(a);
        return;
    }
    a->modern = one_in(2);
    a->c.cooperative = !a->modern && one_in(2);
    a->c.instance = number == 0 ? "i" : NULL;
    a->heard_ms = w.time.now_ms;
    if (a->modern) {
        snprintf(a->c.id, sizeof a->c.id, "m%d", ++names);
        beat_modern(a);
    } else {
        start_join(a);
    }
}

static void go(struct actor *a)
{
    if (one_in(2) || a->c.id[0] == '\0')
        ; /* it dies */
    else if (a->modern)
        send_beat(&a->c, true);
    else
        LEAVE(&w, .member = a->c.id, .instance = a->c.instance);
    forget(a);
}

static void act(struct actor *a, int number)
{
    if (a->state == AWAY)
        come(a, number);
    else if (a->state == JOINING || a->state == SYNCING)
        take_answer(a);
    else if (one_in(25))
        go(a);
    else if (a->modern)
        beat_modern(a);
    else
        beat_classic(a);
}

static char *dump_consumer(void)
{
    struct buf text = BUF_INIT;

    consumer_coord_dump(group_cores_consumer(group_shard_cores(w.shard)),
                        &text);
    char *copy = slice_dup(buf_slice(&text));
    buf_free(&text);
    return copy;
}

static void lose_coordinator(void)
{
    for (int i = 0; i < ACTORS; i++)
        if (actors[i].state == JOINING || actors[i].state == SYNCING)
            actors[i].state = AWAY; /* its connection is gone */
    /* Of a classic group only the last stable generation survives. */
    char *before = dump_consumer();
    world_fail_over(&w);
    char *after = dump_consumer();
    cr_assert_str_eq(after, before);
    free(before);
    free(after);
}

static void step(void)
{
    int number = (int)prng_below(&chance, ACTORS);

    if (one_in(40))
        world_pass(&w, (int64_t)prng_below(&chance, 4000));
    else
        world_pass(&w, (int64_t)prng_below(&chance, 300));
    if (one_in(60) && actors[0].state != JOINING)
        lose_coordinator();
    w.append_err = one_in(30) ? ERR_NOT_ENOUGH_REPLICAS : ERR_NONE;
    act(&actors[number], number);
    w.append_err = ERR_NONE;
}

static void check(uint64_t seed, int number)
{
    unsigned all = 0;

    for (int i = 0; i < ACTORS; i++) {
        struct actor *a = &actors[i];

        if (!is_sure(a))
            a->c.has = 0;
        cr_assert_eq(all & a->c.has, 0, "seed %llu, step %d: two own one",
                     (unsigned long long)seed, number);
        all |= a->c.has;
    }
}

Test(migration_random, nobody_owns_what_another_is_sure_of)
{
    const char *only = getenv("MIGRATION_SEED");
    const char *many = getenv("MIGRATION_SEEDS");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t seeds = only != NULL   ? 1
                     : many != NULL ? strtoull(many, NULL, 10)
                                    : SEEDS;

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        chance.state = seed;
        names = 0;
        world_close(&w);
        world_init(&w);
        w.options.coord.group_initial_rebalance_delay_ms = 100;
        w.options.consumer.group_consumer_session_timeout_ms = 10000;
        w.options.consumer.group_consumer_assignment_interval_ms =
            seed % 2 == 0 ? 0 : 1000;
        world_start(&w);
        for (int i = 0; i < ACTORS; i++)
            forget(&actors[i]);
        for (int i = 0; i < STEPS; i++) {
            step();
            check(seed, i);
        }
        free(dump());
    }
}
