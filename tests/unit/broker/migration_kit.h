/* Clients of both protocols in a group "g" that reads a topic "t", for the
 * tests of groups that change between the protocols. */
#ifndef TESTS_UNIT_BROKER_MIGRATION_KIT_H
#define TESTS_UNIT_BROKER_MIGRATION_KIT_H

#include "tests/unit/broker/coord_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

static struct world w;

static void open_world(void) { world_open(&w); }

static void close_world(void) { world_close(&w); }

/* ---- clients -------------------------------------------------------------*/

/* A member as its client knows it. */
struct client {
    char id[128];
    const char *instance; /* NULL: a dynamic member */
    int32_t generation;   /* or epoch */
    unsigned has;         /* partitions of "t", as bits */
    bool cooperative;     /* keeps them while it joins */
};

static struct uuid the_topic(void)
{
    struct consumer_topic topic;

    cr_assert(
        w.options.world.topic_by_name(w.options.world.arg, SLICE("t"), &topic));
    return topic.id;
}

static void put_partitions(struct buf *b, unsigned mask)
{
    buf_put_u32(b, mask != 0);
    if (mask == 0)
        return;
    buf_put_u16(b, 1);
    buf_put(b, "t", 1);
    buf_put_u32(b, (uint32_t)__builtin_popcount(mask));
    for (uint32_t p = 0; p < 32; p++)
        if (mask >> p & 1)
            buf_put_u32(b, p);
}

/* In memory that the next call but three overwrites. */
static struct slice kept(struct buf *b)
{
    static uint8_t rooms[4][512];
    static int next;
    uint8_t *room = rooms[next++ % 4];
    size_t len = b->len;

    cr_assert_leq(len, sizeof rooms[0]);
    memcpy(room, b->data, len);
    buf_free(b);
    return slice_of(room, len);
}

static struct slice subscription(const struct client *c)
{
    struct buf b = BUF_INIT;

    buf_put_u16(&b, 1);
    buf_put_u32(&b, 1);
    buf_put_u16(&b, 1);
    buf_put(&b, "t", 1);
    buf_put_u32(&b, UINT32_MAX); /* no user data */
    put_partitions(&b, c->cooperative ? c->has : 0);
    return kept(&b);
}

static struct slice assignment(unsigned mask, const char *user_data)
{
    struct buf b = BUF_INIT;

    buf_put_u16(&b, 0);
    put_partitions(&b, mask);
    buf_put_u32(&b,
                user_data != NULL ? (uint32_t)strlen(user_data) : UINT32_MAX);
    if (user_data != NULL)
        buf_put(&b, user_data, strlen(user_data));
    return kept(&b);
}

static unsigned mask_of(struct slice bytes)
{
    struct consumer_protocol_assignment a;
    struct reader r = reader_of(bytes);
    struct arena arena;
    unsigned mask = 0;

    arena_init(&arena, 0);
    int16_t version = read_i16(&r);
    cr_assert_err(kafka_decode_prefix(&consumer_protocol_assignment_desc,
                                      version, &r, &arena, &a),
                  ERR_NONE);
    for (int32_t t = 0; t < a.assigned_partitions_len; t++)
        for (int32_t i = 0; i < a.assigned_partitions[t].partitions_len; i++)
            mask |= 1u << a.assigned_partitions[t].partitions[i];
    arena_free(&arena);
    return mask;
}

/* JoinGroup of version 3, or 5 with an instance: ids are given at once. */
static int send_join(const struct client *c)
{
    return JOIN(&w, .member = c->id, .instance = c->instance,
                .subscription = subscription(c),
                .version = c->instance != NULL ? 5 : 3);
}

static enum err take_join(struct client *c, int token)
{
    const struct join_group_response *r = join_of(&w, token);

    if (r->error_code == ERR_NONE) {
        copy_id(r->member_id, c->id);
        c->generation = r->generation_id;
        if (!c->cooperative)
            c->has = 0;
    }
    return (enum err)r->error_code;
}

/* To a consumer group, where nobody waits. */
static enum err join(struct client *c) { return take_join(c, send_join(c)); }

static enum err sync(struct client *c)
{
    int token =
        SYNC(&w, .member = c->id, .instance = c->instance,
             .generation = c->generation, .type = "consumer", .name = "range");
    const struct sync_group_response *r = sync_of(&w, token);

    if (r->error_code == ERR_NONE)
        c->has = mask_of(r->assignment);
    return (enum err)r->error_code;
}

static enum err heartbeat(const struct client *c)
{
    return HEARTBEAT(&w, .member = c->id, .instance = c->instance,
                     .generation = c->generation);
}

/* Joins and syncs. */
static void rejoin(struct client *c)
{
    cr_assert_err(join(c), ERR_NONE);
    cr_assert_err(sync(c), ERR_NONE);
}

static int send_beat(const struct client *c, bool leaves)
{
    struct slice names[] = {SLICE("t")};
    int32_t partitions[32];
    struct consumer_group_heartbeat_request_topic_partitions owned = {
        the_topic(), partitions, 0};
    struct consumer_group_heartbeat_request q = {
        .group_id = SLICE("g"),
        .member_id = slice_str(c->id),
        .instance_id = slice_str(c->instance),
        .member_epoch = leaves ? CONSUMER_LEAVES : c->generation,
        .rebalance_timeout_ms = 60000,
        .subscribed_topic_names = names,
        .subscribed_topic_names_len = 1,
        .topic_partitions = &owned,
    };

    for (int32_t p = 0; p < 32; p++)
        if (c->has >> p & 1)
            partitions[owned.partitions_len++] = p;
    q.topic_partitions_len = owned.partitions_len != 0;
    return world_request(&w, API_CONSUMER_GROUP_HEARTBEAT, 1, &q);
}

/* A heartbeat of the new protocol that says everything.  What it is told to
 * give up it has given up at once. */
static enum err beat(struct client *c)
{
    const struct consumer_group_heartbeat_response *r =
        beat_of(&w, send_beat(c, false));

    if (r->error_code != ERR_NONE)
        return (enum err)r->error_code;
    c->generation = r->member_epoch;
    c->has = 0;
    for (int32_t t = 0; t < r->assignment->topic_partitions_len; t++)
        for (int32_t i = 0;
             i < r->assignment->topic_partitions[t].partitions_len; i++)
            c->has |= 1u << r->assignment->topic_partitions[t].partitions[i];
    return ERR_NONE;
}

static void leave_new(const struct client *c)
{
    cr_assert_err(beat_of(&w, send_beat(c, true))->error_code, ERR_NONE);
}

/* ---- groups --------------------------------------------------------------*/

/* "g/consumer/Stable" */
static const char *listed(void)
{
    static char text[128];
    struct list_groups_request request = {0};
    int token = world_request(&w, API_LIST_GROUPS, 5, &request);
    const struct list_groups_response *r =
        &answer_of(&w, token)->response.list_groups;

    cr_assert_eq(r->groups_len, 1);
    snprintf(text, sizeof text, "%.*s/%.*s/%.*s",
             SLICE_FMT(r->groups[0].group_id),
             SLICE_FMT(r->groups[0].group_type),
             SLICE_FMT(r->groups[0].group_state));
    return text;
}

/* What the leader says in the first generation. */
static void lead(const struct client *leader, const struct client *other,
                 struct slice own, struct slice others)
{
    struct sync_group_request_assignment assignments[] = {
        {slice_str(leader->id), own},
        {slice_str(other != NULL ? other->id : ""), others},
    };
    struct sync_group_request q = {
        .group_id = SLICE("g"),
        .generation_id = leader->generation,
        .member_id = slice_str(leader->id),
        .group_instance_id = slice_str(leader->instance),
        .assignments = assignments,
        .assignments_len = other != NULL ? 2 : 1,
    };

    cr_assert_err(
        sync_of(&w, world_request(&w, API_SYNC_GROUP, 5, &q))->error_code,
        ERR_NONE);
}

/* A stable classic group "g": `a` has partitions 0 and 1, `b` has 2. */
static void make_classic(struct client *a, struct client *b)
{
    int first = send_join(a), second = send_join(b);

    world_pass(&w, 2 * w.options.coord.group_initial_rebalance_delay_ms);
    cr_assert_err(take_join(a, first), ERR_NONE);
    cr_assert_err(take_join(b, second), ERR_NONE);
    lead(a, b, assignment(3, NULL), assignment(4, NULL));
    a->has = 3;
    cr_assert_err(sync(b), ERR_NONE);
    cr_assert_eq(b->has, 4);
}

/* The same with `m`, who uses the new protocol; all have one partition each. */
static void make_mixed(struct client *a, struct client *b, struct client *m)
{
    make_classic(a, b);
    snprintf(m->id, sizeof m->id, "m");
    cr_assert_err(beat(m), ERR_NONE);
    for (int i = 0; i < 4; i++) {
        if (heartbeat(a) == ERR_REBALANCE_IN_PROGRESS)
            rejoin(a);
        if (heartbeat(b) == ERR_REBALANCE_IN_PROGRESS)
            rejoin(b);
        cr_assert_err(beat(m), ERR_NONE);
        cr_assert_eq(a->has & b->has, 0);
        cr_assert_eq((a->has | b->has) & m->has, 0);
    }
    cr_assert_eq(a->has | b->has | m->has, 7);
    cr_assert_str_eq(listed(), "g/consumer/Stable");
    world_pass(&w, 1000); /* the next target may be computed at once */
}

static char *dump(void)
{
    struct buf text = BUF_INIT;

    consumer_coord_check(group_cores_consumer(group_shard_cores(w.shard)));
    coord_check(world_coord(&w));
    consumer_coord_dump(group_cores_consumer(group_shard_cores(w.shard)),
                        &text);
    coord_dump(world_coord(&w), &text);
    char *copy = slice_dup(buf_slice(&text));
    buf_free(&text);
    return copy;
}

/* A coordinator that loads the log has the same. */
static void cr_assert_reloads(void)
{
    char *before = dump();

    world_fail_over(&w);
    char *after = dump();
    cr_assert_str_eq(after, before);
    free(before);
    free(after);
}

#endif
