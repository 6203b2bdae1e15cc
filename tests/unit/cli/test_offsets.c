/* ListOffsets over several rounds. */
#include "cli/admin_groups.h"
#include "cli/admin_offsets.h"
#include "tests/unit/cli/fake_client.h"

#include <criterion/criterion.h>

enum { PARTITIONS = 2, NODES = 2 };

/* Partition p has 100 + p records; what differs from round to round is the
 * test's. */
struct cluster {
    int rounds;                     /* looks at the metadata so far */
    int32_t leaders[8][PARTITIONS]; /* in each round; the last stays */
    enum err silent[8];             /* what asking node 1 ends with */
    enum err errors[8][PARTITIONS];
    int asked[PARTITIONS];
    int64_t first_timestamp; /* of what was asked for first */
};

static int round_of(const struct cluster *c)
{
    return c->rounds <= 8 ? c->rounds - 1 : 7;
}

static void answer_list(struct cluster *c, const struct list_offsets_request *q,
                        struct list_offsets_response *r, struct arena *a)
{
    cr_assert_eq(q->topics_len, 1);
    if (c->asked[0] + c->asked[1] == 0)
        c->first_timestamp = q->topics[0].partitions[0].timestamp;
    int32_t len = q->topics[0].partitions_len;
    r->topics = arena_array(a, 1, sizeof *r->topics);
    r->topics_len = 1;
    r->topics[0].name = q->topics[0].name;
    r->topics[0].partitions_len = len;
    r->topics[0].partitions =
        arena_array(a, (size_t)len, sizeof *r->topics[0].partitions);
    for (int32_t i = 0; i < len; i++) {
        struct list_offsets_response_partition_response *p =
            &r->topics[0].partitions[i];
        int32_t partition = q->topics[0].partitions[i].partition_index;
        list_offsets_response_partition_response_init(p);
        p->partition_index = partition;
        p->error_code = (int16_t)c->errors[round_of(c)][partition];
        p->offset = p->error_code == ERR_NONE ? 100 + partition : -1;
        c->asked[partition]++;
    }
}

static enum err answer(void *arg, int32_t node, enum api_key api,
                       const void *request, void *response, struct arena *a)
{
    struct cluster *c = arg;

    if (api == API_METADATA) {
        c->rounds++;
        fake_topic(response, "orders", c->leaders[round_of(c)], PARTITIONS, a);
        return ERR_NONE;
    }
    cr_assert_eq(api, API_LIST_OFFSETS);
    if (node == 1 && c->silent[round_of(c)] != ERR_NONE)
        return c->silent[round_of(c)];
    answer_list(c, request, response, a);
    return ERR_NONE;
}

/* Both ends of "orders" as far as they could be found. */
static enum err list_ends(struct cluster *cluster,
                          struct partition_offset items[PARTITIONS])
{
    struct client *c = fake_client_new(NODES, answer, cluster);
    struct arena arena;

    for (int32_t i = 0; i < PARTITIONS; i++)
        items[i] =
            (struct partition_offset){.topic = SLICE("orders"), .partition = i};
    arena_init(&arena, 0);
    enum err error =
        admin_offsets_list(c, items, PARTITIONS, OFFSETS_LATEST, false, &arena);
    arena_free(&arena);
    client_free(c);
    return error;
}

Test(offsets, what_was_answered_stays_when_others_are_asked_again)
{
    /* Partition 0 answers at once and loses its leader while the leader of
     * partition 1 is still moving. */
    struct cluster cluster = {
        .leaders = {{1, 2}, {-1, 2}, {-1, 2}},
        .errors = {{ERR_NONE, ERR_NOT_LEADER_OR_FOLLOWER}},
    };
    struct partition_offset items[PARTITIONS];

    cr_assert_eq(list_ends(&cluster, items), ERR_NONE);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        cr_assert_eq(items[i].error, ERR_NONE, "partition %d", i);
        cr_assert_eq(items[i].offset, 100 + i);
    }
    cr_assert_eq(cluster.asked[0], 1);
}

Test(offsets, a_leader_that_did_not_answer_is_no_answer)
{
    /* Partition 1 has no leader, which is reason to give up on it; the leader
     * of partition 0 is asked again all the same. */
    struct cluster cluster = {
        .leaders = {{1, -1}, {1, -1}, {2, -1}, {2, -1}},
        .silent = {ERR_REFUSED, ERR_REQUEST_TIMED_OUT},
    };
    struct partition_offset items[PARTITIONS];

    cr_assert_eq(list_ends(&cluster, items), ERR_NONE);
    cr_assert_eq(items[0].error, ERR_NONE);
    cr_assert_eq(items[0].offset, 100);
    cr_assert_eq(items[1].error, ERR_LEADER_NOT_AVAILABLE);
}

Test(offsets, a_partition_that_is_named_twice_is_asked_for_once)
{
    struct partition_offset items[] = {
        {.topic = SLICE("b"), .partition = 1, .offset = 7},
        {.topic = SLICE("a"), .partition = 1, .offset = 8},
        {.topic = SLICE("b"), .partition = 1, .offset = 9},
        {.topic = SLICE("b"), .partition = 0, .offset = 10},
    };

    cr_assert_eq(partition_offsets_unique(items, 4), 3);
    cr_assert_eq(items[0].offset, 8);
    cr_assert_eq(items[1].offset, 10);
    cr_assert_eq(items[2].offset, 9);
    cr_assert_eq(partition_offsets_unique(NULL, 0), 0);
}

Test(offsets, a_time_before_1970_is_no_code)
{
    /* -1 asks for the end of the log, -2 for its start. */
    struct cluster cluster = {.leaders = {{1, 2}, {1, 2}}};
    struct partition_offset items[PARTITIONS] = {
        {.topic = SLICE("orders")}, {.topic = SLICE("orders"), .partition = 1}};
    struct client *c = fake_client_new(NODES, answer, &cluster);
    struct arena arena;

    arena_init(&arena, 0);
    cr_assert_eq(admin_reset_plan(c, SLICE("billing"), RESET_TO_DATETIME, -1,
                                  items, PARTITIONS, &arena),
                 ERR_NONE);
    cr_assert_eq(cluster.first_timestamp, 0);
    arena_free(&arena);
    client_free(c);
}

Test(offsets, a_leader_that_nobody_knows_is_no_answer)
{
    struct cluster cluster = {.leaders = {{7, 2}, {7, 2}, {1, 2}, {1, 2}}};
    struct partition_offset items[PARTITIONS];

    cr_assert_eq(list_ends(&cluster, items), ERR_NONE);
    cr_assert_eq(items[0].error, ERR_NONE);
    cr_assert_eq(items[0].offset, 100);
    cr_assert_eq(cluster.asked[1], 1);
}
