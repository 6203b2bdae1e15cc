/* Consumer groups in a small world: members join, leave, crash, lag with what
 * they are to give up, change their minds, and lose answers; topics come, grow
 * and go; appends fail, in the middle of a decision, too; commits lag; the
 * coordinator is replaced by one that has all of the log, or only what was
 * committed.  Whatever happens:
 *
 *   no partition has two owners, by what members believe: from the answer that
 *     gives it until the member no longer has it, or the committed log says
 *     that it is no member any more.  A crashed process believes forever.
 *   epochs of the group, of its target, and of each member as it is told them
 *     never go back
 *   a coordinator that loads the log knows what the one before it knew
 *   once things are calm, every partition that is subscribed to has an owner,
 *     and members have what the coordinator says they have
 *
 * Clients have one request under way at a time, and a request that was given up
 * does not arrive later.  A client that says what it owns counts what it was
 * given and did not take up yet.
 *
 * A seed that fails is replayed by running it alone: CONSUMER_SEED=n. */
#include "tests/unit/broker/consumer_fixture.h"

#include "base/map.h"
#include "base/prng.h"
#include "proto/kafka/coordinator_record.h"
#include "proto/record/batch.h"
#include "proto/record/record.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ACTORS = 6,
    GHOSTS_MAX = 400,
    STEPS = 2500,
    SEEDS = 60,
    REBALANCE_MS = 6000,
};

static const char *const topic_names[] = {"a", "b", "ab", "c"};
static const char *const subscriptions[] = {"a", "a b", "b c", "a b ab c", "-"};
static const char *const instances[ACTORS] = {"i0", "i1", NULL,
                                              NULL, NULL, NULL};

enum phase { OUT, JOINING, IN, LEAVING };

struct actor {
    struct client c; /* its parts: what it believes to own */
    struct part want[REALM_MEMBER_PARTS_MAX];
    uint32_t want_len;
    enum phase phase;
    int token; /* of the request under way; 0: none */
    int64_t next_ms;
    bool say_all; /* in the next request */
    const char *names;
    const char *regex;
    const char *assignor;
};

/* A process that crashed and does not know it. */
struct ghost {
    char id[64];
    struct part parts[REALM_MEMBER_PARTS_MAX];
    uint32_t parts_len;
};

static struct {
    struct realm r;
    struct prng prng;
    uint64_t seed;
    bool calm;
    bool slow; /* commits are, and coordinators do not last */
    struct actor actors[ACTORS];
    struct ghost ghosts[GHOSTS_MAX];
    int ghosts_len;
    int ids;
    /* what is committed */
    int64_t learned; /* exclusive */
    int32_t group_epoch;
    int32_t target_epoch;
    struct map members; /* id -> something: has a current assignment */
    struct codec *codec;
    struct buf scratch;
    /* how often */
    int joins, leaves, crashes, fenced, grants, failovers, truncations, lost,
        failures, timeouts;
} s;

#define SEED (unsigned long long)s.seed
#define REQUIRE(condition, ...)                                                \
    cr_assert((condition), "seed %llu: " __VA_ARGS__)

static uint64_t below(uint64_t bound) { return prng_below(&s.prng, bound); }
static bool one_in(uint64_t n) { return !s.calm && below(n) == 0; }

/* ---- the committed log ---------------------------------------------------*/

static void learn_epochs(int16_t type, const void *value)
{
    const struct consumer_group_metadata_value *group = value;
    const struct consumer_group_target_assignment_metadata_value *target =
        value;

    if (type == 3) {
        REQUIRE(group->epoch >= s.group_epoch, "the group's epoch goes back",
                SEED);
        s.group_epoch = group->epoch;
    } else if (type == 6) {
        REQUIRE(target->assignment_epoch >= s.target_epoch &&
                    target->assignment_epoch <= s.group_epoch,
                "the target's epoch is %d after %d", SEED,
                target->assignment_epoch, s.target_epoch);
        s.target_epoch = target->assignment_epoch;
    }
}

static void learn_current(struct slice id, const void *value)
{
    const struct consumer_group_current_member_assignment_value *current =
        value;

    if (value == NULL) {
        map_remove(&s.members, id);
        return;
    }
    REQUIRE(current->member_epoch <= s.group_epoch,
            "a member is ahead of its group", SEED);
    map_put(&s.members, id, &s);
}

static void learn_record(const struct record *record)
{
    const struct coordinator_record *type;
    struct arena arena;
    void *key, *value = NULL;

    arena_init(&arena, 0);
    cr_assert_eq(coordinator_key_decode(&group_records, record->key, &arena,
                                        &type, &key),
                 ERR_NONE);
    if (!slice_is_null(record->value))
        cr_assert_eq(
            coordinator_value_decode(type, record->value, &arena, &value),
            ERR_NONE);
    if (value != NULL)
        learn_epochs(type->type, value);
    if (type->type == 8)
        learn_current(
            ((struct consumer_group_current_member_assignment_key *)key)
                ->member_id,
            value);
    arena_free(&arena);
}

static void learn_batch(struct slice bytes)
{
    struct record_reader reader;
    struct record record;
    struct batch batch;

    cr_assert_eq(batch_parse(bytes, &batch), ERR_NONE);
    cr_assert_eq(record_open(&reader, s.codec, bytes, &batch, CODEC_LIMIT_BYTES,
                             &s.scratch),
                 ERR_NONE);
    while (record_next(&reader, &record))
        learn_record(&record);
}

static int64_t batch_end(int i)
{
    return i + 1 < s.r.batches_len ? s.r.batches[i + 1].base : s.r.end_offset;
}

/* Before anybody is told of it. */
static void learn(int64_t end)
{
    for (int i = 0; i < s.r.batches_len; i++)
        if (s.r.batches[i].base >= s.learned && batch_end(i) <= end)
            learn_batch(buf_slice(&s.r.batches[i].bytes));
    if (end > s.learned)
        s.learned = end;
}

static void commit_some(void)
{
    int64_t end = s.r.high_watermark;

    for (int i = 0; i < s.r.batches_len; i++)
        if (batch_end(i) > end && !one_in(3))
            end = batch_end(i);
        else if (batch_end(i) > end)
            break;
    learn(end);
    realm_commit_to(&s.r, end);
}

/* ---- who owns what -------------------------------------------------------*/

static bool has(const struct part *parts, uint32_t len, const struct part *p)
{
    for (uint32_t i = 0; i < len; i++)
        if (uuid_eq(parts[i].topic, p->topic) &&
            parts[i].partition == p->partition)
            return true;
    return false;
}

static bool counts(const char *id)
{
    return map_get(&s.members, slice_str(id)) != NULL;
}

static void check_alone(const struct actor *a, const struct part *p)
{
    if (!counts(a->c.id))
        return; /* it was put out while the answer was on its way */
    for (int i = 0; i < ACTORS; i++) {
        const struct actor *b = &s.actors[i];
        REQUIRE(
            b == a || !counts(b->c.id) || !has(b->c.parts, b->c.parts_len, p),
            "%s and %s own partition %d", SEED, a->c.id, b->c.id, p->partition);
    }
    for (int i = 0; i < s.ghosts_len; i++) {
        const struct ghost *g = &s.ghosts[i];
        REQUIRE(!counts(g->id) || !has(g->parts, g->parts_len, p),
                "%s and the late %s own partition %d", SEED, a->c.id, g->id,
                p->partition);
    }
}

/* What is new it takes at once, what is gone it keeps for a while. */
static void take_assignment(struct actor *a)
{
    for (uint32_t i = 0; i < a->want_len; i++) {
        if (has(a->c.parts, a->c.parts_len, &a->want[i]))
            continue;
        check_alone(a, &a->want[i]);
        cr_assert_lt(a->c.parts_len, REALM_MEMBER_PARTS_MAX);
        a->c.parts[a->c.parts_len++] = a->want[i];
        s.grants++;
    }
}

static void give_up(struct actor *a)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < a->c.parts_len; i++)
        if (has(a->want, a->want_len, &a->c.parts[i]))
            a->c.parts[kept++] = a->c.parts[i];
    a->c.parts_len = kept;
}

/* ---- clients -------------------------------------------------------------*/

static void new_process(struct actor *a)
{
    snprintf(a->c.id, sizeof a->c.id, "m%d", ++s.ids);
    a->phase = OUT;
    a->token = 0;
    a->c.parts_len = a->want_len = 0;
    a->c.epoch = 0;
    a->names = subscriptions[below(5)];
    a->regex = below(4) == 0 ? "a*" : NULL;
    a->assignor = below(4) == 0 ? "range" : NULL;
    a->next_ms = s.r.time.now_ms + (int64_t)below(3000);
}

static void abandon(struct actor *a)
{
    a->c.parts_len = a->want_len = 0;
    a->phase = OUT;
    s.fenced++;
}

static void crash(struct actor *a)
{
    cr_assert_lt(s.ghosts_len, GHOSTS_MAX);
    struct ghost *g = &s.ghosts[s.ghosts_len++];

    memcpy(g->id, a->c.id, sizeof g->id);
    memcpy(g->parts, a->c.parts, sizeof g->parts);
    g->parts_len = a->c.parts_len;
    new_process(a);
    s.crashes++;
}

static void send_join(struct actor *a)
{
    a->phase = JOINING;
    a->token = JOIN(&s.r, &a->c, .names = a->names, .regex = a->regex,
                    .assignor = a->assignor, .timeout_ms = REBALANCE_MS);
    s.joins++;
}

static void send_leave(struct actor *a)
{
    struct client leaving = a->c;

    a->c.parts_len = a->want_len = 0;
    leaving.parts_len = 0;
    leaving.epoch = a->c.instance != NULL && below(3) != 0 ? -2 : -1;
    a->phase = LEAVING;
    a->token = BEAT(&s.r, &leaving);
    s.leaves++;
}

static void send_beat(struct actor *a)
{
    struct beat_args args = {.silent = below(3) == 0};

    if (one_in(40)) {
        a->names = subscriptions[below(5)];
        a->say_all = true;
    }
    if (a->say_all || below(20) == 0)
        args = (struct beat_args){
            .names = a->names, .regex = a->regex, .timeout_ms = REBALANCE_MS};
    a->say_all = false;
    a->token = beat_with(&s.r, &a->c, args);
}

static void send(struct actor *a)
{
    a->next_ms = s.r.time.now_ms + 300 + (int64_t)below(s.calm ? 500 : 3000);
    if (!s.calm && below(5) == 0)
        s.r.append_fails_in = 1 + (int)below(6);
    if (a->phase != IN)
        send_join(a);
    else if (one_in(60))
        send_leave(a);
    else
        send_beat(a);
    s.r.append_fails_in = 0;
}

static void hear_yes(struct actor *a, int token)
{
    struct client told = a->c;

    client_take(&s.r, &told, token);
    REQUIRE(a->phase == JOINING || told.epoch >= a->c.epoch,
            "%s goes back to epoch %d from %d", SEED, a->c.id, told.epoch,
            a->c.epoch);
    a->c.epoch = told.epoch;
    if (beat_of(&s.r, token)->assignment != NULL) {
        memcpy(a->want, told.parts, sizeof a->want);
        a->want_len = told.parts_len;
        take_assignment(a);
    }
    a->phase = IN;
}

static void hear(struct actor *a, int token)
{
    enum err err = beat_err(&s.r, token);

    switch (err) {
    case ERR_NONE:
        hear_yes(a, token);
        break;
    case ERR_FENCED_MEMBER_EPOCH:
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_GROUP_ID_NOT_FOUND:
        abandon(a);
        break;
    case ERR_FENCED_INSTANCE_ID:
        abandon(a);
        new_process(a);
        break;
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_NOT_COORDINATOR:
        a->say_all = true;
        s.failures++;
        break;
    default:
        REQUIRE(err == ERR_UNRELEASED_INSTANCE_ID && a->phase == JOINING,
                "%s hears %s", SEED, a->c.id, err_name((int)err));
        a->next_ms = s.r.time.now_ms + 1000;
    }
}

/* The answer came, or the client has waited long enough. */
static void end_request(struct actor *a)
{
    int token = a->token;
    bool lost = one_in(10);

    if (!beat_answered(&s.r, token) && !one_in(s.slow ? 5 : 20))
        return;
    a->token = 0;
    if (a->phase == LEAVING) {
        new_process(a);
    } else if (lost || !beat_answered(&s.r, token)) {
        a->say_all = true;
        s.lost++;
    } else {
        hear(a, token);
    }
    coord_answer_free(s.r.answers[token]);
    s.r.answers[token] = NULL;
}

static void act(struct actor *a)
{
    if (a->token != 0)
        end_request(a);
    else if (one_in(300))
        crash(a);
    else if (a->phase == IN && !one_in(3))
        give_up(a);
    if (a->token == 0 && s.r.time.now_ms >= a->next_ms)
        send(a);
}

/* ---- the world -----------------------------------------------------------*/

static void change_topics(void)
{
    const char *name = topic_names[below(4)];
    int32_t partitions = (int32_t)below(6);

    for (int i = 0; i < s.r.topics_len; i++)
        if (strcmp(s.r.topics[i].name, name) == 0 && partitions != 0 &&
            s.r.topics[i].partitions > partitions)
            partitions = s.r.topics[i].partitions; /* they never shrink */
    realm_topic(&s.r, name, partitions);
}

static void fail_over(void)
{
    int64_t cut = s.r.end_offset;
    char *before = realm_dump(&s.r);

    bool cuts = one_in(2);
    for (int i = 0; i < s.r.batches_len && cuts; i++)
        if (s.r.batches[i].base >= s.r.high_watermark && one_in(2)) {
            cut = s.r.batches[i].base;
            break;
        }
    bool whole = cut == s.r.end_offset;
    realm_fail_over_at(&s.r, cut);
    if (whole) {
        char *after = realm_dump(&s.r);
        REQUIRE(strcmp(before, after) == 0, "loaded:\n%s\nlive:\n%s", SEED,
                after, before);
        free(after);
    }
    free(before);
    s.failovers++;
    s.truncations += !whole;
}

static void step(void)
{
    realm_pass(&s.r, (int64_t)below(one_in(500) ? 20000 : 100));
    if (one_in(100))
        change_topics();
    if (one_in(s.slow ? 50 : 150))
        fail_over();
    if (s.r.lookups_len > 0 && below(4) == 0)
        realm_look_up(&s.r, (int)below((uint64_t)s.r.lookups_len));
    act(&s.actors[below(ACTORS)]);
    if (one_in(s.slow ? 20 : 4))
        commit_some();
}

/* ---- the end -------------------------------------------------------------*/

static bool names_topic(const struct actor *a, const struct realm_topic *t)
{
    struct slice group = SLICE("g");

    (void)a;
    return consumer_subscribes(s.r.coord, group, slice_str(t->name));
}

static void check_settled(void)
{
    int total = 0, owned = 0;

    REQUIRE(strcmp(realm_state(&s.r, "g"), "Stable") == 0, "is %s", SEED,
            realm_state(&s.r, "g"));
    for (int t = 0; t < s.r.topics_len; t++) {
        const struct realm_topic *topic = &s.r.topics[t];
        if (!names_topic(NULL, topic))
            continue;
        for (int32_t p = 0; p < topic->partitions; p++) {
            int owners = 0;
            for (int i = 0; i < ACTORS; i++)
                owners += client_owns(&s.actors[i].c, topic, p);
            REQUIRE(owners == 1, "%s-%d has %d owners", SEED, topic->name, p,
                    owners);
            total++;
        }
    }
    for (int i = 0; i < ACTORS; i++)
        owned += (int)s.actors[i].c.parts_len;
    REQUIRE(owned == total, "%d partitions are owned, of %d", SEED, owned,
            total);
    realm_check_reload(&s.r);
}

static void settle(void)
{
    s.calm = true;
    s.r.hold = false;
    s.r.hold_lookups = false;
    realm_pass(&s.r, 1);
    learn(s.r.end_offset);
    realm_commit(&s.r);
    for (int64_t end = s.r.time.now_ms + 120000; s.r.time.now_ms < end;) {
        realm_pass(&s.r, 50);
        while (s.r.lookups_len > 0)
            realm_look_up(&s.r, 0);
        /* Committed as soon as it is appended. */
        learn(s.r.end_offset);
        for (int i = 0; i < ACTORS; i++) {
            act(&s.actors[i]);
            learn(s.r.end_offset);
        }
    }
    check_settled();
}

static void open_world(uint64_t seed)
{
    memset(&s, 0, sizeof s);
    s.seed = seed;
    s.prng.state = seed;
    s.slow = seed % 4 == 1;
    s.codec = codec_new();
    realm_init(&s.r);
    s.r.hold = true;
    s.r.hold_lookups = true;
    s.r.batch_max_bytes = seed % 2 == 0 ? 300 : 100000;
    s.r.config.group_consumer_session_timeout_ms = 9000;
    s.r.config.group_consumer_assignment_interval_ms = seed % 3 == 0 ? 700 : 0;
    for (int i = 0; i < ACTORS; i++) {
        s.actors[i].c.instance = instances[i];
        new_process(&s.actors[i]);
    }
    realm_start(&s.r);
}

static void close_world(void)
{
    realm_close(&s.r);
    map_free(&s.members);
    codec_free(s.codec);
    buf_free(&s.scratch);
}

static void run(uint64_t seed)
{
    open_world(seed);
    for (int i = 0; i < STEPS; i++)
        step();
    settle();
    close_world();
}

Test(consumer_sim, seeds, .timeout = 600)
{
    const char *one = getenv("CONSUMER_SEED");
    const char *many = getenv("CONSUMER_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t len = one != NULL    ? 1
                   : many != NULL ? strtoull(many, NULL, 10)
                                  : SEEDS;
    int grants = 0, fenced = 0, crashes = 0, failovers = 0, truncations = 0,
        lost = 0, failures = 0;

    for (uint64_t seed = first; seed < first + len; seed++) {
        run(seed);
        grants += s.grants;
        fenced += s.fenced;
        crashes += s.crashes;
        failovers += s.failovers;
        truncations += s.truncations;
        lost += s.lost;
        failures += s.failures;
    }
    fprintf(stderr,
            "%llu seeds: %d partitions given, %d fenced, %d crashes, %d new "
            "coordinators (%d lost records), %d answers lost, %d failures\n",
            (unsigned long long)len, grants, fenced, crashes, failovers,
            truncations, lost, failures);
    /* All of it happens. */
    if (one == NULL)
        cr_assert(grants > 100 && fenced > 10 && crashes > 10 &&
                  failovers > 10 && truncations > 10 && lost > 10 &&
                  failures > 10);
}
