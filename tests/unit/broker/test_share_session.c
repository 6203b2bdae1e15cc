/* Share sessions: epochs, limits, ends. */
#include "broker/share/session.h"

#include "base/prng.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

static struct {
    struct share_sessions_config config;
    struct share_sessions sessions;
    struct share_connection connections[3];
    int64_t now_ms;
    struct share_session *session; /* of the last request */
    int ended;                     /* by it */
    char ended_member[32];
} s;

static void set_up(void)
{
    memset(&s, 0, sizeof s);
    s.now_ms = 1000;
    share_sessions_config_init(&s.config);
    s.config.max_sessions = 3;
    s.config.max_partitions = 50;
    share_sessions_init(&s.sessions, &s.config);
    for (int i = 0; i < 3; i++)
        share_connection_init(&s.connections[i]);
}

static void tear_down(void) { share_sessions_free(&s.sessions); }

TestSuite(share_session, .init = set_up, .fini = tear_down);

static void take_ended(struct list *ended)
{
    s.ended = 0;
    while (!list_empty(ended)) {
        struct share_session *session =
            LIST_ENTRY(list_pop_front(ended), struct share_session, link);

        s.ended++;
        snprintf(s.ended_member, sizeof s.ended_member, "%.*s",
                 SLICE_FMT(session->member));
        share_session_free(session);
    }
}

struct args {
    const char *group; /* "g" */
    int32_t epoch;
    int connection;
    bool acks;
    bool acknowledge; /* the other API */
    int add;          /* so many partitions */
    int forget;
};

static enum err request(const char *member, struct args args)
{
    static struct share_session_name names[100];
    struct list ended;

    for (int i = 0; i < 100; i++)
        names[i] = (struct share_session_name){UUID_ZERO, i};
    list_init(&ended);
    struct share_session_request r = {
        .group = slice_str(args.group != NULL ? args.group : "g"),
        .member = slice_str(member),
        .epoch = args.epoch,
        .connection = &s.connections[args.connection],
        .now_ms = s.now_ms,
        .has_acks = args.acks,
        .add = names,
        .add_len = (uint32_t)args.add,
        .forget = names,
        .forget_len = (uint32_t)args.forget,
    };
    enum err err =
        args.acknowledge
            ? share_sessions_acknowledge(&s.sessions, &r, &s.session, &ended)
            : share_sessions_fetch(&s.sessions, &r, &s.session, &ended);
    take_ended(&ended);
    return err;
}
#define FETCH(member, ...) request((member), (struct args){__VA_ARGS__})
#define ACK(member, ...)                                                       \
    request((member), (struct args){.acknowledge = true, __VA_ARGS__})
#define assert_err(got, want)                                                  \
    cr_assert_eq((int)(got), (int)(want), "%s", err_name((int)(got)))

Test(share_session, epochs)
{
    assert_err(FETCH("a", .epoch = 1), ERR_SHARE_SESSION_NOT_FOUND);
    assert_err(FETCH("a", .epoch = -1), ERR_SHARE_SESSION_NOT_FOUND);
    assert_err(FETCH("a", .acks = true), ERR_INVALID_REQUEST);
    assert_err(FETCH("a", .add = 3), ERR_NONE);
    cr_assert_eq(s.session->epoch, 1);
    assert_err(FETCH("a", .epoch = 2), ERR_INVALID_SHARE_SESSION_EPOCH);
    assert_err(FETCH("a", .epoch = -2), ERR_INVALID_SHARE_SESSION_EPOCH);
    assert_err(FETCH("a", .epoch = 1, .acks = true), ERR_NONE);
    assert_err(FETCH("a", .epoch = 1), ERR_INVALID_SHARE_SESSION_EPOCH);
    assert_err(ACK("a", .epoch = 0), ERR_INVALID_SHARE_SESSION_EPOCH);
    assert_err(ACK("b", .epoch = 1), ERR_SHARE_SESSION_NOT_FOUND);
    assert_err(ACK("a", .epoch = 2), ERR_NONE);
    assert_err(ACK("a", .epoch = 2), ERR_INVALID_SHARE_SESSION_EPOCH);
    assert_err(FETCH("a", .epoch = -1, .acks = true), ERR_NONE);
    cr_assert_null(s.session);
    cr_assert_eq(s.ended, 1);
    assert_err(ACK("a", .epoch = -1), ERR_SHARE_SESSION_NOT_FOUND);
}

Test(share_session, the_last_epoch_is_followed_by_1)
{
    assert_err(FETCH("a"), ERR_NONE);
    s.session->epoch = INT32_MAX;
    assert_err(FETCH("a", .epoch = INT32_MAX), ERR_NONE);
    assert_err(FETCH("a", .epoch = 1), ERR_NONE);
}

Test(share_session, groups_have_sessions_of_their_own)
{
    assert_err(FETCH("a", .group = "gx"), ERR_NONE);
    assert_err(FETCH("xa", .group = "g", .epoch = 1),
               ERR_SHARE_SESSION_NOT_FOUND);
}

Test(share_session, partitions)
{
    assert_err(FETCH("a", .add = 3), ERR_NONE);
    assert_err(FETCH("a", .epoch = 1, .add = 5), ERR_NONE);
    cr_assert_eq(map_count(&s.session->by_id), 5);
    cr_assert_eq(s.sessions.partitions_len, 5);
    struct share_session_partition *first = LIST_ENTRY(
        s.session->partitions.next, struct share_session_partition, link);
    cr_assert_eq(first->partition, 0);
    share_session_served(s.session, first);
    first = LIST_ENTRY(s.session->partitions.next,
                       struct share_session_partition, link);
    cr_assert_eq(first->partition, 1);
    assert_err(FETCH("a", .epoch = 2, .forget = 4), ERR_NONE);
    cr_assert_eq(map_count(&s.session->by_id), 1);
    assert_err(ACK("a", .epoch = 3, .add = 9, .forget = 9), ERR_NONE);
    cr_assert_eq(map_count(&s.session->by_id), 1);
    assert_err(FETCH("a", .epoch = 4, .add = 50),
               ERR_SHARE_SESSION_LIMIT_REACHED);
    assert_err(FETCH("a", .epoch = 4, .add = 49), ERR_NONE);
    assert_err(FETCH("b", .add = 30), ERR_SHARE_SESSION_LIMIT_REACHED);
}

Test(share_session, a_session_is_replaced)
{
    assert_err(FETCH("a", .add = 3), ERR_NONE);
    assert_err(FETCH("a", .add = 2), ERR_NONE);
    cr_assert_eq(s.ended, 1);
    cr_assert_eq(s.sessions.partitions_len, 2);
    cr_assert_eq(s.session->epoch, 1);
}

Test(share_session, limit_and_idle_sessions)
{
    assert_err(FETCH("a"), ERR_NONE);
    assert_err(FETCH("b"), ERR_NONE);
    assert_err(FETCH("c"), ERR_NONE);
    s.now_ms += 120000;
    assert_err(FETCH("d"), ERR_SHARE_SESSION_LIMIT_REACHED);
    assert_err(FETCH("a", .epoch = 1), ERR_NONE);
    s.now_ms += 1;
    assert_err(FETCH("d"), ERR_NONE);
    cr_assert_eq(s.ended, 1);
    cr_assert_str_eq(s.ended_member, "b");
    assert_err(FETCH("b", .epoch = 1), ERR_SHARE_SESSION_NOT_FOUND);
    assert_err(FETCH("a", .epoch = 2), ERR_NONE);
}

Test(share_session, connections)
{
    struct list ended;

    list_init(&ended);
    assert_err(FETCH("a", .connection = 0), ERR_NONE);
    assert_err(FETCH("b", .connection = 0), ERR_NONE);
    assert_err(FETCH("a", .connection = 1, .epoch = 1), ERR_NONE);
    share_sessions_disconnect(&s.sessions, &s.connections[0], &ended);
    take_ended(&ended);
    cr_assert_eq(s.ended, 1);
    cr_assert_str_eq(s.ended_member, "b");
    assert_err(FETCH("a", .connection = 1, .epoch = 2), ERR_NONE);
    share_sessions_disconnect(&s.sessions, &s.connections[1], &ended);
    take_ended(&ended);
    assert_err(FETCH("a", .epoch = 3), ERR_SHARE_SESSION_NOT_FOUND);
}

/* The bounds hold whatever comes. */
Test(share_session, at_random)
{
    struct prng prng = {11};
    int opened = 0;

    for (int i = 0; i < 20000; i++) {
        static const char *const members[] = {"a", "b", "c", "d", "e"};
        uint32_t before = map_count(&s.sessions.by_member);
        struct args args = {.epoch = (int32_t)prng_below(&prng, 5) - 1,
                            .connection = (int)prng_below(&prng, 3),
                            .acks = prng_below(&prng, 2) == 0,
                            .acknowledge = prng_below(&prng, 2) == 0,
                            .add = (int)prng_below(&prng, 30),
                            .forget = (int)prng_below(&prng, 30)};

        s.now_ms += (int64_t)prng_below(&prng, 100000);
        enum err err = request(members[prng_below(&prng, 5)], args);
        opened += err == ERR_NONE && args.epoch == 0;
        cr_assert(map_count(&s.sessions.by_member) <= 3);
        cr_assert(s.sessions.partitions_len <= 50);
        cr_assert(err == ERR_NONE || s.session == NULL);
        cr_assert(before + 1 >= map_count(&s.sessions.by_member));
    }
    cr_assert(opened > 100);
}
