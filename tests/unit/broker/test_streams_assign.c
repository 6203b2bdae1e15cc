/* The sticky assignor: who gets what, what moves, and how uneven it may be. */
#include "broker/coord/streams/assign_sticky.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { SUBS_MAX = 4, MEMBERS_MAX = 12 };

static struct arena arena;
static struct sticky_sub subs[SUBS_MAX];
static struct sticky_member members[MEMBERS_MAX];
static struct tuple out[MEMBERS_MAX];
static char ids[MEMBERS_MAX][8], processes[MEMBERS_MAX][8];

static void set_up(void) { arena_init(&arena, 0); }
static void tear_down(void) { arena_free(&arena); }

TestSuite(streams_assign, .init = set_up, .fini = tear_down);

static struct sticky_input world(uint32_t subs_len, int32_t tasks,
                                 uint32_t members_len, int32_t standbys)
{
    static const char *const names[SUBS_MAX] = {"0", "1", "2", "3"};

    for (uint32_t s = 0; s < subs_len; s++)
        subs[s] = (struct sticky_sub){slice_str(names[s]), tasks, true};
    for (uint32_t m = 0; m < members_len; m++) {
        snprintf(ids[m], sizeof ids[m], "m%02u", m);
        snprintf(processes[m], sizeof processes[m], "p%02u", m);
        members[m] = (struct sticky_member){
            .id = slice_str(ids[m]), .process_id = slice_str(processes[m])};
    }
    return (struct sticky_input){subs, subs_len, members, members_len,
                                 standbys};
}

static uint32_t total(const struct sticky_input *in, enum task_kind kind)
{
    uint32_t n = 0;

    for (uint32_t m = 0; m < in->members_len; m++)
        n += out[m].of[kind].len;
    return n;
}

/* Each task is active once, and a process has it once. */
static void check(const struct sticky_input *in)
{
    for (uint32_t s = 0; s < in->subs_len; s++)
        for (int32_t p = 0; p < in->subs[s].tasks; p++) {
            int active = 0, standby = 0;

            for (uint32_t m = 0; m < in->members_len; m++) {
                bool a = tasks_find(out[m].of[TASK_ACTIVE], in->subs[s].id, p);
                bool b = tasks_find(out[m].of[TASK_STANDBY], in->subs[s].id, p);

                active += a;
                standby += b;
                for (uint32_t o = 0; (a || b) && o < in->members_len; o++)
                    cr_assert(o == m ||
                                  !slice_eq(in->members[o].process_id,
                                            in->members[m].process_id) ||
                                  (!tasks_find(out[o].of[TASK_ACTIVE],
                                               in->subs[s].id, p) &&
                                   !tasks_find(out[o].of[TASK_STANDBY],
                                               in->subs[s].id, p)),
                              "a process has a task twice");
                cr_assert_not(a && b);
            }
            cr_assert_eq(active, 1);
            cr_assert_leq(standby, in->subs[s].stateful ? in->standbys : 0);
        }
}

static void assign(const struct sticky_input *in)
{
    streams_assign_sticky(in, &arena, out);
    check(in);
}

static void keep(struct sticky_input *in)
{
    for (uint32_t m = 0; m < in->members_len; m++)
        members[m].owned = out[m];
}

Test(streams_assign, nobody_gets_nothing)
{
    struct sticky_input in = world(2, 3, 0, 1);

    streams_assign_sticky(&in, &arena, out);
}

Test(streams_assign, tasks_are_spread_evenly)
{
    struct sticky_input in = world(2, 6, 4, 0);

    assign(&in);
    for (uint32_t m = 0; m < 4; m++)
        cr_assert_eq(out[m].of[TASK_ACTIVE].len, 3);
}

Test(streams_assign, processes_with_more_members_get_more)
{
    struct sticky_input in = world(1, 9, 3, 0);

    members[1].process_id = members[0].process_id;
    assign(&in);
    for (uint32_t m = 0; m < 3; m++)
        cr_assert_eq(out[m].of[TASK_ACTIVE].len, 3);
}

Test(streams_assign, nothing_moves_that_need_not)
{
    struct sticky_input in = world(2, 4, 2, 1);

    assign(&in);
    keep(&in);
    struct tuple before[2] = {out[0], out[1]};
    assign(&in);
    cr_assert(tuple_eq(&before[0], &out[0]) && tuple_eq(&before[1], &out[1]));
    /* One more member: it takes its share, the others keep theirs. */
    in = world(2, 6, 3, 0);
    in.members_len = 2;
    assign(&in);
    keep(&in);
    before[0] = out[0];
    before[1] = out[1];
    in.members_len = 3;
    members[2].owned = (struct tuple){0};
    assign(&in);
    for (uint32_t m = 0; m < 2; m++) {
        cr_assert_eq(out[m].of[TASK_ACTIVE].len, 4);
        cr_assert(
            tasks_contain(before[m].of[TASK_ACTIVE], out[m].of[TASK_ACTIVE]));
    }
    cr_assert_eq(out[2].of[TASK_ACTIVE].len, 4);
}

Test(streams_assign, who_kept_a_copy_takes_over)
{
    struct sticky_input in = world(1, 2, 2, 0);
    struct task first = {SLICE("0"), 1, 0}, second = {SLICE("0"), 0, 0};

    members[0].owned.of[TASK_STANDBY] = tasks_of(&first, 1);
    members[1].owned.of[TASK_STANDBY] = tasks_of(&second, 1);
    assign(&in);
    cr_assert(tasks_find(out[0].of[TASK_ACTIVE], SLICE("0"), 1));
    cr_assert(tasks_find(out[1].of[TASK_ACTIVE], SLICE("0"), 0));
}

Test(streams_assign, standbys_need_processes_and_state)
{
    struct sticky_input in = world(2, 3, 2, 5);

    subs[1].stateful = false;
    assign(&in);
    cr_assert_eq(total(&in, TASK_STANDBY), 3, "there is one other process");
    members[1].process_id = members[0].process_id;
    assign(&in);
    cr_assert_eq(total(&in, TASK_STANDBY), 0);
}

Test(streams_assign, what_is_gone_is_forgotten)
{
    struct sticky_input in = world(1, 2, 1, 0);
    struct task old[] = {{SLICE("0"), 7, 0},
                         {SLICE("0"), -1, 0},
                         {SLICE("gone"), 0, 0},
                         {SLICE("0"), 1, 0}};

    members[0].owned.of[TASK_ACTIVE] = tasks_of(old, 4);
    members[0].owned.of[TASK_STANDBY] = tasks_of(old, 1);
    assign(&in);
    cr_assert_eq(out[0].of[TASK_ACTIVE].len, 2);
}

Test(streams_assign, the_order_of_members_does_not_matter)
{
    struct sticky_input in = world(3, 5, 6, 1);
    struct tuple first[MEMBERS_MAX];

    members[4].process_id = members[0].process_id;
    assign(&in);
    memcpy(first, out, sizeof first);
    for (uint32_t i = 0; i < 3; i++) {
        struct sticky_member m = members[i];
        members[i] = members[5 - i];
        members[5 - i] = m;
    }
    assign(&in);
    for (uint32_t m = 0; m < 6; m++)
        cr_assert(tuple_eq(&first[m], &out[5 - m]));
}

/* Whatever was before. */
Test(streams_assign, any_world)
{
    struct prng prng = {1071};

    for (int i = 0; i < 3000; i++) {
        uint32_t len = 1 + (uint32_t)prng_below(&prng, MEMBERS_MAX);
        struct sticky_input in =
            world((uint32_t)prng_below(&prng, SUBS_MAX + 1), 0, len,
                  (int32_t)prng_below(&prng, 4));

        for (uint32_t s = 0; s < in.subs_len; s++) {
            subs[s].tasks = (int32_t)prng_below(&prng, 9);
            subs[s].stateful = prng_below(&prng, 2) == 0;
        }
        for (uint32_t m = 0; m < len; m++)
            members[m].process_id =
                slice_str(processes[prng_below(&prng, len)]);
        for (int round = 0; round < 3; round++) {
            assign(&in);
            keep(&in);
            if (prng_below(&prng, 2) == 0 && in.members_len > 1)
                in.members_len--;
            else if (in.members_len < len)
                members[in.members_len++].owned = (struct tuple){0};
        }
        arena_free(&arena);
    }
}
