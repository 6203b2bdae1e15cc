/* Streams groups in a small world: members join, leave, crash, lag with what
 * they are to give up, and lose answers; topics grow, go and come back; the
 * number of standbys changes; appends fail, in the middle of a decision, too;
 * commits lag; the coordinator is replaced by one that has all of the log, or
 * only what was committed.  Whatever happens:
 *
 *   no task is active in two members, and no process has a task twice, by what
 *     members believe: from the answer that gives it until the member no longer
 *     has it, or the committed log says that it is no member any more.  A
 *     crashed process believes forever.
 *   epochs of the group, of its target, and of each member as it is told them
 *     never go back
 *   a coordinator that loads the log knows what the one before it knew, and
 *     each prefix of the log can be loaded
 *   once things are calm, every task is active in one member, has its standbys,
 *     and members have what the coordinator says they have
 *
 * Clients have one request under way at a time, and a request that was given up
 * does not arrive later.  A client that says what it has counts what it was
 * given and did not take up yet.
 *
 * A seed that fails is replayed by running it alone: STREAMS_SEED=n. */
#include "tests/unit/broker/streams_fixture.h"

#include "base/map.h"
#include "base/prng.h"
#include "proto/kafka/coordinator_record.h"
#include "proto/record/batch.h"
#include "proto/record/record.h"

#include <stdio.h>
#include <stdlib.h>

enum { ACTORS = 6, GHOSTS_MAX = 400, STEPS = 2000, SEEDS = 40 };

/* Two of them are threads of one process. */
static const char *const processes[ACTORS] = {"p0", "p0", "p1",
                                              "p2", "p3", "p3"};

enum phase { OUT, JOINING, IN, LEAVING };

struct player {
    struct actor a; /* its tasks: what it believes to have */
    struct actor want;
    enum phase phase;
    int token; /* of the request under way; 0: none */
    int64_t next_ms;
};

static struct {
    struct scene s;
    struct prng prng;
    uint64_t seed;
    bool calm;
    bool slow; /* commits are, and coordinators do not last */
    struct player players[ACTORS];
    struct actor ghosts[GHOSTS_MAX]; /* crashed, and do not know it */
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
    int grants, standbys, fenced, crashes, failovers, truncations, lost,
        failures;
} w;

#define SEED (unsigned long long)w.seed
#define REQUIRE(condition, ...)                                                \
    cr_assert((condition), "seed %llu: " __VA_ARGS__)

static uint64_t below(uint64_t bound) { return prng_below(&w.prng, bound); }
static bool one_in(uint64_t n) { return !w.calm && below(n) == 0; }

/* "0" reads "in" and keeps "store"; "1" reads "b". */
static topology_t topology(void)
{
    static struct slice b[] = {SLICE("b")};
    static sub_t subs[2];

    subs[0] = plain_topology().subtopologies[0];
    subs[1] = (sub_t){.subtopology_id = SLICE("1"),
                      .source_topics = b,
                      .source_topics_len = 1};
    return (topology_t){0, subs, 2};
}

/* ---- the committed log ---------------------------------------------------*/

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
    if (type->type == 17 && value != NULL) {
        int32_t epoch = ((struct streams_group_metadata_value *)value)->epoch;

        REQUIRE(epoch >= w.group_epoch, "the group's epoch goes back", SEED);
        w.group_epoch = epoch;
    } else if (type->type == 20 && value != NULL) {
        int32_t epoch =
            ((struct streams_group_target_assignment_metadata_value *)value)
                ->assignment_epoch;

        REQUIRE(epoch >= w.target_epoch && epoch <= w.group_epoch,
                "the target's epoch is %d after %d", SEED, epoch,
                w.target_epoch);
        w.target_epoch = epoch;
    } else if (type->type == 22) {
        struct slice id =
            ((struct streams_group_current_member_assignment_key *)key)
                ->member_id;

        if (value == NULL)
            map_remove(&w.members, id);
        else
            map_put(&w.members, id, &w);
    }
    arena_free(&arena);
}

static void learn_batch(struct slice bytes)
{
    struct record_reader reader;
    struct record record;
    struct batch batch;

    cr_assert_eq(batch_parse(bytes, &batch), ERR_NONE);
    cr_assert_eq(record_open(&reader, w.codec, bytes, &batch, CODEC_LIMIT_BYTES,
                             &w.scratch),
                 ERR_NONE);
    while (record_next(&reader, &record))
        learn_record(&record);
}

static int64_t batch_end(int i)
{
    return i + 1 < w.s.batches_len ? w.s.batches[i + 1].base : w.s.end_offset;
}

/* Before anybody is told of it. */
static void learn(int64_t end)
{
    for (int i = 0; i < w.s.batches_len; i++)
        if (w.s.batches[i].base >= w.learned && batch_end(i) <= end)
            learn_batch(buf_slice(&w.s.batches[i].bytes));
    if (end > w.learned)
        w.learned = end;
}

static void commit_some(void)
{
    int64_t end = w.s.high_watermark;

    for (int i = 0; i < w.s.batches_len; i++)
        if (batch_end(i) > end && !one_in(3))
            end = batch_end(i);
        else if (batch_end(i) > end)
            break;
    learn(end);
    scene_commit_to(&w.s, end);
}

/* ---- who has what --------------------------------------------------------*/

static bool has(const struct actor *a, int kind, const struct task *t)
{
    for (uint32_t i = 0; i < a->tasks_len[kind]; i++)
        if (slice_eq(a->tasks[kind][i].sub, t->sub) &&
            a->tasks[kind][i].partition == t->partition)
            return true;
    return false;
}

static bool counts(const struct actor *a)
{
    return map_get(&w.members, slice_str(a->id)) != NULL;
}

/* A ghost's process is another one than that which took its place. */
static void check_against(const struct actor *a, int kind, const struct task *t,
                          const struct actor *b, bool same_process)
{
    if (a == b || !counts(b))
        return;
    REQUIRE(kind != TASK_ACTIVE || !has(b, TASK_ACTIVE, t),
            "%s and %s are both active in %.*s_%d", SEED, a->id, b->id,
            SLICE_FMT(t->sub), t->partition);
    for (int k = 0; same_process && k < TASK_KINDS; k++)
        REQUIRE(!has(b, k, t), "process %s has %.*s_%d in %s and %s", SEED,
                a->process, SLICE_FMT(t->sub), t->partition, a->id, b->id);
}

static void check_alone(const struct actor *a, int kind, const struct task *t)
{
    if (!counts(a))
        return; /* it was put out while the answer was on its way */
    for (int i = 0; i < ACTORS; i++)
        check_against(a, kind, t, &w.players[i].a,
                      strcmp(a->process, w.players[i].a.process) == 0);
    for (int i = 0; i < w.ghosts_len; i++)
        check_against(a, kind, t, &w.ghosts[i], false);
    for (int k = 0; k < TASK_KINDS; k++)
        REQUIRE(k == kind || !has(a, k, t), "%s has %.*s_%d twice", SEED, a->id,
                SLICE_FMT(t->sub), t->partition);
}

/* What is new it takes at once, what is gone it keeps for a while. */
static void take_tasks(struct player *p)
{
    for (int k = 0; k < TASK_KINDS; k++)
        for (uint32_t i = 0; i < p->want.tasks_len[k]; i++) {
            const struct task *t = &p->want.tasks[k][i];

            if (has(&p->a, k, t))
                continue;
            check_alone(&p->a, k, t);
            cr_assert_lt(p->a.tasks_len[k], ACTOR_TASKS_MAX);
            p->a.tasks[k][p->a.tasks_len[k]++] = *t;
            w.grants += k == TASK_ACTIVE;
            w.standbys += k == TASK_STANDBY;
        }
}

static void give_up(struct player *p)
{
    for (int k = 0; k < TASK_KINDS; k++) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < p->a.tasks_len[k]; i++)
            if (has(&p->want, k, &p->a.tasks[k][i]))
                p->a.tasks[k][kept++] = p->a.tasks[k][i];
        p->a.tasks_len[k] = kept;
    }
}

static void drop_all(struct player *p)
{
    memset(p->a.tasks_len, 0, sizeof p->a.tasks_len);
    memset(p->want.tasks_len, 0, sizeof p->want.tasks_len);
}

/* ---- clients -------------------------------------------------------------*/

static void new_process(struct player *p)
{
    snprintf(p->a.id, sizeof p->a.id, "m%d", ++w.ids);
    p->phase = OUT;
    p->token = 0;
    drop_all(p);
    p->a.epoch = 0;
    p->next_ms = w.s.time.now_ms + (int64_t)below(3000);
}

static void abandon(struct player *p)
{
    drop_all(p);
    p->phase = OUT;
    w.fenced++;
}

static void crash(struct player *p)
{
    cr_assert_lt(w.ghosts_len, GHOSTS_MAX);
    w.ghosts[w.ghosts_len++] = p->a;
    new_process(p);
    w.crashes++;
}

static void send_join(struct player *p)
{
    topology_t t = topology();

    p->phase = JOINING;
    p->token = JOIN(&w.s, &p->a, .topology = &t, .timeout_ms = 6000);
}

static void send_leave(struct player *p)
{
    struct actor leaving = p->a;

    drop_all(p);
    memset(leaving.tasks_len, 0, sizeof leaving.tasks_len);
    leaving.epoch = -1;
    p->phase = LEAVING;
    p->token = BEAT(&w.s, &leaving);
}

static void send(struct player *p)
{
    p->next_ms = w.s.time.now_ms + 300 + (int64_t)below(w.calm ? 500 : 3000);
    if (!w.calm && below(5) == 0)
        w.s.append_fails_in = 1 + (int)below(6);
    if (p->phase != IN)
        send_join(p);
    else if (one_in(60))
        send_leave(p);
    else
        p->token = BEAT(&w.s, &p->a, .silent = below(3) == 0);
    w.s.append_fails_in = 0;
}

static void hear_yes(struct player *p, int token)
{
    struct actor told = p->a;

    actor_take(&w.s, &told, token);
    REQUIRE(p->phase == JOINING || told.epoch >= p->a.epoch,
            "%s goes back to epoch %d from %d", SEED, p->a.id, told.epoch,
            p->a.epoch);
    p->a.epoch = told.epoch;
    if (beat_of(&w.s, token)->active_tasks_len >= 0) {
        p->want = told;
        take_tasks(p);
    }
    p->phase = IN;
}

static void hear(struct player *p, int token)
{
    enum err err = beat_err(&w.s, token);

    switch (err) {
    case ERR_NONE:
        hear_yes(p, token);
        break;
    case ERR_FENCED_MEMBER_EPOCH:
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_GROUP_ID_NOT_FOUND:
    case ERR_INVALID_REQUEST: /* tasks that are gone with their topic */
        abandon(p);
        break;
    default:
        REQUIRE(err == ERR_COORDINATOR_NOT_AVAILABLE ||
                    err == ERR_NOT_COORDINATOR,
                "%s hears %s", SEED, p->a.id, err_name((int)err));
        w.failures++;
    }
}

/* The answer came, or the client has waited long enough. */
static void end_request(struct player *p)
{
    int token = p->token;
    bool lost = one_in(10);

    if (!beat_answered(&w.s, token) && !one_in(w.slow ? 5 : 20))
        return;
    p->token = 0;
    if (p->phase == LEAVING)
        new_process(p);
    else if (lost || !beat_answered(&w.s, token))
        w.lost++;
    else
        hear(p, token);
    coord_answer_free(w.s.answers[token]);
    w.s.answers[token] = NULL;
}

static void act(struct player *p)
{
    if (p->token != 0)
        end_request(p);
    else if (one_in(300))
        crash(p);
    else if (p->phase == IN && !one_in(3))
        give_up(p);
    if (p->token == 0 && w.s.time.now_ms >= p->next_ms)
        send(p);
}

/* ---- the world -----------------------------------------------------------*/

static void change_world(void)
{
    int32_t partitions = (int32_t)below(6);

    if (one_in(3))
        w.s.standbys = (int32_t)below(3);
    else if (one_in(4))
        scene_topic(&w.s, "in", below(2) == 0 ? 0 : 4);
    else
        scene_topic(&w.s, "b", partitions);
}

static void fail_over(void)
{
    int64_t cut = w.s.end_offset;
    char *before = scene_dump(&w.s);

    bool cuts = one_in(2);
    for (int i = 0; i < w.s.batches_len && cuts; i++)
        if (w.s.batches[i].base >= w.s.high_watermark && one_in(2)) {
            cut = w.s.batches[i].base;
            break;
        }
    bool whole = cut == w.s.end_offset;
    scene_fail_over_at(&w.s, cut);
    if (whole) {
        char *after = scene_dump(&w.s);
        REQUIRE(strcmp(before, after) == 0, "loaded:\n%s\nlive:\n%s", SEED,
                after, before);
        free(after);
    }
    free(before);
    w.failovers++;
    w.truncations += !whole;
}

static void step(void)
{
    scene_pass(&w.s, (int64_t)below(one_in(500) ? 20000 : 100));
    if (one_in(100))
        change_world();
    if (one_in(w.slow ? 50 : 150))
        fail_over();
    act(&w.players[below(ACTORS)]);
    if (one_in(w.slow ? 20 : 4))
        commit_some();
}

/* ---- the end -------------------------------------------------------------*/

static void check_task(const char *sub, int32_t partition, int standbys)
{
    struct task t = {slice_str(sub), partition, 0};
    int active = 0, standby = 0;

    for (int i = 0; i < ACTORS; i++) {
        active += has(&w.players[i].a, TASK_ACTIVE, &t);
        standby += has(&w.players[i].a, TASK_STANDBY, &t);
    }
    REQUIRE(active == 1 && standby == standbys,
            "%s_%d is active in %d and standby in %d", SEED, sub, partition,
            active, standby);
}

static void check_settled(void)
{
    int have = 0;

    REQUIRE(strcmp(scene_state(&w.s, "g"), "Stable") == 0, "is %s", SEED,
            scene_state(&w.s, "g"));
    for (int32_t p = 0; p < 4; p++)
        check_task("0", p, w.s.standbys);
    for (int32_t p = 0; p < 3; p++)
        check_task("1", p, 0);
    for (int i = 0; i < ACTORS; i++)
        for (int k = 0; k < TASK_KINDS; k++)
            have += (int)w.players[i].a.tasks_len[k];
    REQUIRE(have == 7 + 4 * w.s.standbys, "members have %d tasks", SEED, have);
    scene_check_reload(&w.s);
}

static void settle(void)
{
    w.calm = true;
    w.s.hold = false;
    scene_topic(&w.s, "in", 4);
    scene_topic(&w.s, "b", 3);
    scene_pass(&w.s, 1);
    learn(w.s.end_offset);
    scene_commit(&w.s);
    for (int64_t end = w.s.time.now_ms + 60000; w.s.time.now_ms < end;) {
        scene_pass(&w.s, 50);
        /* Committed as soon as it is appended. */
        learn(w.s.end_offset);
        for (int i = 0; i < ACTORS; i++) {
            act(&w.players[i]);
            learn(w.s.end_offset);
        }
    }
    check_settled();
}

static void open_world(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.prng.state = seed;
    w.slow = seed % 4 == 1;
    w.codec = codec_new();
    scene_init(&w.s);
    w.s.hold = true;
    w.s.standbys = (int32_t)(seed % 3);
    /* Just enough for the write that makes the group, which is not split. */
    w.s.batch_max_bytes = seed % 2 == 0 ? 420 : 100000;
    w.s.config.settings.session_timeout_ms = 9000;
    w.s.config.settings.assignment_interval_ms = seed % 3 == 0 ? 700 : 0;
    w.s.config.settings.initial_rebalance_delay_ms = seed % 5 == 0 ? 2000 : 0;
    scene_topic(&w.s, "b", 3);
    for (int i = 0; i < ACTORS; i++) {
        w.players[i].a = actor_of("", processes[i]);
        new_process(&w.players[i]);
    }
    scene_start(&w.s);
}

static void close_world(void)
{
    scene_close(&w.s);
    map_free(&w.members);
    codec_free(w.codec);
    buf_free(&w.scratch);
}

static void run(uint64_t seed)
{
    open_world(seed);
    for (int i = 0; i < STEPS; i++)
        step();
    settle();
    close_world();
}

Test(streams_sim, seeds, .timeout = 600)
{
    const char *one = getenv("STREAMS_SEED");
    const char *many = getenv("STREAMS_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t len = one != NULL    ? 1
                   : many != NULL ? strtoull(many, NULL, 10)
                                  : SEEDS;
    int grants = 0, standbys = 0, fenced = 0, crashes = 0, failovers = 0,
        truncations = 0, lost = 0, failures = 0;

    for (uint64_t seed = first; seed < first + len; seed++) {
        run(seed);
        grants += w.grants;
        standbys += w.standbys;
        fenced += w.fenced;
        crashes += w.crashes;
        failovers += w.failovers;
        truncations += w.truncations;
        lost += w.lost;
        failures += w.failures;
    }
    fprintf(stderr,
            "%llu seeds: %d active and %d standby tasks given, %d fenced, %d "
            "crashes, %d new coordinators (%d lost records), %d answers lost, "
            "%d failures\n",
            (unsigned long long)len, grants, standbys, fenced, crashes,
            failovers, truncations, lost, failures);
    /* All of it happens. */
    if (one == NULL)
        cr_assert(grants > 100 && standbys > 100 && fenced > 10 &&
                  crashes > 10 && failovers > 10 && truncations > 10 &&
                  lost > 10 && failures > 10);
}
