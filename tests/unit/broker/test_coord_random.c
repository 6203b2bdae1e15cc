/* Consumers that come, go, die, commit and fetch in any order, over a log whose
 * commits lag, whose appends fail, and whose coordinator is lost with what was
 * not committed.  Whatever happens:
 *
 *   a partition has one owner in a generation
 *   a commit that was acknowledged is not forgotten, and nobody sees an offset
 *     go back
 *   every request is answered once (the fixture checks)
 *   the coordinator's invariants hold (coord_check)
 *   a coordinator that loads the log knows what the one before it knew
 *
 * A seed that fails is replayed by running it alone: COORD_SEED=n. */
#include "tests/unit/broker/coord_fixture.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS = 10, GROUPS = 2, PARTITIONS = 4, STEPS = 6000, SEEDS = 30 };

static const char *const group_names[GROUPS] = {"red", "blue"};

enum phase { OUT, JOINING, JOINED, SYNCING, IN };

struct client {
    int group;
    const char *instance; /* null: dynamic */
    char id[128];
    enum phase phase;
    int token;
    int version;
    int32_t generation;
    bool leads;
    char members[32][128]; /* the leader's list */
    int members_len;
    int metadata;
};

struct waiting_commit {
    int token;
    int group;
    int partition;
    int64_t offset;
};

static struct {
    struct world w;
    struct client clients[CLIENTS];
    struct map owners; /* "group generation partition" -> who */
    struct waiting_commit commits[WORLD_TOKENS_MAX];
    int commits_len;
    int64_t issued[GROUPS][PARTITIONS];
    int64_t acked[GROUPS][PARTITIONS];
    int64_t seen[GROUPS][PARTITIONS];
    bool failures; /* appends may fail */
    uint64_t seed;
    int stable, reloads;
} s;

static uint64_t chance(uint64_t bound) { return prng_below(&s.w.prng, bound); }

/* ---- what must hold ------------------------------------------------------*/

/* "0 3": the partitions of an assignment. */
static void check_owners(const struct client *c, struct slice assignment)
{
    for (size_t i = 0; i < assignment.len; i++) {
        char key[64];

        if (assignment.data[i] == ' ')
            continue;
        int len = snprintf(key, sizeof key, "%d %d %c", c->group, c->generation,
                           assignment.data[i]);
        const char *who = c->instance != NULL ? c->instance : c->id;
        char *owner = map_get(&s.owners, slice_of(key, (size_t)len));
        if (owner == NULL)
            map_put(&s.owners, slice_of(key, (size_t)len), xstrdup(who));
        else
            cr_assert_str_eq(owner, who, "seed %llu: partition %c of %s in %d",
                             (unsigned long long)s.seed, assignment.data[i],
                             group_names[c->group], c->generation);
    }
}

static void check_commits(void)
{
    int kept = 0;

    for (int i = 0; i < s.commits_len; i++) {
        struct waiting_commit *c = &s.commits[i];

        if (!answered(&s.w, c->token))
            s.commits[kept++] = *c;
        else if (commit_of(&s.w, c->token) == ERR_NONE &&
                 c->offset > s.acked[c->group][c->partition])
            s.acked[c->group][c->partition] = c->offset;
    }
    s.commits_len = kept;
}

static void check_fetch(void)
{
    int g = (int)chance(GROUPS), p = (int)chance(PARTITIONS);

    check_commits();
    int64_t offset = fetched(&s.w, group_names[g], p);
    if (offset == COME_AGAIN)
        return;
    cr_assert_geq(offset, s.acked[g][p], "seed %llu: %s-%d",
                  (unsigned long long)s.seed, group_names[g], p);
    cr_assert_geq(offset, s.seen[g][p], "seed %llu",
                  (unsigned long long)s.seed);
    cr_assert_leq(offset, s.issued[g][p]);
    s.seen[g][p] = offset;
}

/* ---- clients -------------------------------------------------------------*/

static void forget(struct client *c)
{
    c->id[0] = '\0';
    c->phase = OUT;
}

static void on_error(struct client *c, int16_t code)
{
    if (code == ERR_UNKNOWN_MEMBER_ID || code == ERR_FENCED_INSTANCE_ID ||
        code == ERR_ILLEGAL_GENERATION)
        forget(c);
    c->phase = OUT;
}

static void join(struct client *c)
{
    char metadata[16];
    static const int versions[] = {3, 4, 5, 9};

    snprintf(metadata, sizeof metadata, "m%d", c->metadata);
    c->version =
        c->instance != NULL ? 5 + 4 * (int)chance(2) : versions[chance(4)];
    c->token =
        JOIN(&s.w, .group = group_names[c->group], .member = c->id,
             .instance = c->instance, .version = c->version,
             .metadata = metadata, .session_ms = 6000, .rebalance_ms = 8000);
    c->phase = JOINING;
}

static void joined(struct client *c)
{
    const struct join_group_response *r = join_of(&s.w, c->token);

    if (r->error_code == ERR_MEMBER_ID_REQUIRED)
        copy_id(r->member_id, c->id);
    if (r->error_code != ERR_NONE) {
        on_error(c, r->error_code);
        return;
    }
    copy_id(r->member_id, c->id);
    c->generation = r->generation_id;
    c->leads = slice_eq(r->leader, r->member_id) && !r->skip_assignment;
    c->members_len = 0;
    for (int32_t i = 0; i < r->members_len; i++)
        if (c->members_len < 32)
            copy_id(r->members[i].member_id, c->members[c->members_len++]);
    c->phase = JOINED;
}

static void sync_now(struct client *c)
{
    struct sync_args args = {.group = group_names[c->group],
                             .member = c->id,
                             .instance = c->instance,
                             .generation = c->generation};
    char assignments[32][32] = {{0}};

    if (c->leads) {
        for (int p = 0; p < PARTITIONS && c->members_len > 0; p++) {
            char *to = assignments[chance((uint64_t)c->members_len)];
            snprintf(to + strlen(to), 32 - strlen(to), "%d ", p);
        }
        for (int i = 0; i < c->members_len; i++) {
            args.assign[2 * i] = c->members[i];
            args.assign[2 * i + 1] = assignments[i];
        }
    }
    c->token = sync_with(&s.w, args);
    c->phase = SYNCING;
}

static void synced(struct client *c)
{
    const struct sync_group_response *r = sync_of(&s.w, c->token);

    if (r->error_code != ERR_NONE) {
        on_error(c, r->error_code);
        return;
    }
    check_owners(c, r->assignment);
    c->phase = IN;
    s.stable++;
}

static void commit(struct client *c)
{
    int partition = (int)chance(PARTITIONS);
    int64_t offset = ++s.issued[c->group][partition];
    int token = COMMIT(&s.w, .group = group_names[c->group], .member = c->id,
                       .instance = c->instance, .generation = c->generation,
                       .partition = partition, .offset = offset);

    s.commits[s.commits_len++] =
        (struct waiting_commit){token, c->group, partition, offset};
}

static void member_act(struct client *c)
{
    switch (chance(30)) {
    case 0:
        LEAVE(&s.w, .group = group_names[c->group], .member = c->id,
              .instance = c->instance);
        forget(c);
        break;
    case 1:
        forget(c); /* it dies; a static one comes back by its name */
        break;
    case 2:
        c->metadata++;
        join(c);
        break;
    default:
        commit(c);
    }
}

static void heartbeat(struct client *c)
{
    enum err err =
        HEARTBEAT(&s.w, .group = group_names[c->group], .member = c->id,
                  .instance = c->instance, .generation = c->generation);

    if (err != ERR_NONE)
        on_error(c, (int16_t)err);
}

static void act(struct client *c)
{
    switch (c->phase) {
    case OUT:
        join(c);
        break;
    case JOINING:
        if (answered(&s.w, c->token))
            joined(c);
        else if (chance(30) == 0)
            forget(c);
        break;
    case JOINED:
        if (chance(30) != 0)
            sync_now(c);
        break;
    case SYNCING:
        if (answered(&s.w, c->token))
            synced(c);
        else if (chance(20) == 0)
            sync_now(c); /* it lost patience, and asks again */
        break;
    case IN:
        if (chance(3) == 0)
            heartbeat(c);
        else
            member_act(c);
        break;
    }
}

/* ---- the world -----------------------------------------------------------*/

static int64_t batch_base(int index)
{
    return index < s.w.batches_len ? (int64_t)be64_get(s.w.batches[index].data)
                                   : s.w.end_offset;
}

/* The end of some batch at or behind the high watermark. */
static int64_t some_end(void)
{
    int first = s.w.batches_len;

    while (first > 0 && batch_base(first) > s.w.high_watermark)
        first--;
    return batch_base(first +
                      (int)chance((uint64_t)(s.w.batches_len - first + 1)));
}

static bool quiet(void)
{
    for (int g = 0; g < GROUPS; g++) {
        const char *state = state_of(&s.w, group_names[g]);

        if (strcmp(state, "Stable") != 0 && strcmp(state, "Empty") != 0 &&
            strcmp(state, "Dead") != 0)
            return false;
    }
    return true;
}

static void fail_over(void)
{
    struct buf live = BUF_INIT, loaded = BUF_INIT;
    bool same = chance(2) == 0;

    s.w.append_err = ERR_NONE;
    if (same)
        world_commit(&s.w);
    same = same && !s.failures && quiet();
    coord_dump(world_coord(&s.w), &live);
    world_fail_over_at(&s.w, some_end());
    coord_dump(world_coord(&s.w), &loaded);
    if (same) {
        buf_put_u8(&live, 0);
        buf_put_u8(&loaded, 0);
        cr_assert_str_eq((char *)loaded.data, (char *)live.data, "seed %llu",
                         (unsigned long long)s.seed);
        s.reloads++;
    }
    buf_free(&live);
    buf_free(&loaded);
}

static void step(void)
{
    switch (chance(40)) {
    case 0:
        if (chance(3) == 0)
            fail_over();
        break;
    case 1:
    case 2:
        s.w.hold = chance(3) == 0;
        break;
    case 3:
    case 4:
    case 5:
        world_commit_to(&s.w, some_end());
        break;
    case 6:
        if (s.failures)
            s.w.append_err =
                chance(3) == 0 ? ERR_NOT_ENOUGH_REPLICAS : ERR_NONE;
        break;
    case 7:
    case 8:
    case 9:
        world_pass(&s.w, (int64_t)chance(1500));
        break;
    case 10:
    case 11:
        check_fetch();
        break;
    default:
        act(&s.clients[chance(CLIENTS)]);
    }
}

static void run(uint64_t seed)
{
    static const char *const instances[CLIENTS] = {"i0", "i1", NULL, "i1"};

    memset(&s, 0, sizeof s);
    world_init(&s.w);
    s.seed = s.w.prng.state = seed;
    s.failures = seed % 3 == 0;
    s.w.options.coord.offsets_retention_check_interval_ms = INT64_C(1) << 40;
    s.w.options.coord.group_initial_rebalance_delay_ms = 500;
    world_start(&s.w);
    memset(s.seen, 0xff, sizeof s.seen); /* -1 */
    memset(s.acked, 0xff, sizeof s.acked);
    for (int i = 0; i < CLIENTS; i++) {
        s.clients[i].group = i % GROUPS;
        s.clients[i].instance = instances[i];
    }
    for (int i = 0; i < STEPS; i++)
        step();
    /* Progress: left alone, everybody gets in. */
    s.w.append_err = ERR_NONE;
    s.w.hold = false;
    world_commit(&s.w);
    world_pass(&s.w, 60000);
    MAP_EACH (entry, &s.owners)
        free(entry->value);
    map_free(&s.owners);
    world_close(&s.w);
}

Test(coord_random, whatever_happens, .timeout = 120)
{
    const char *one = getenv("COORD_SEED");
    int stable = 0, reloads = 0;

    if (one != NULL) {
        run(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed);
        stable += s.stable;
        reloads += s.reloads;
    }
    /* The test itself: it got somewhere. */
    cr_assert_gt(stable, 20 * SEEDS, "%d", stable);
    cr_assert_gt(reloads, SEEDS, "%d", reloads);
}
