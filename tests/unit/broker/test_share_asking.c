/* What share coordinators said comes back to the coordinator that asked, and to
 * none that this broker has become since. */
#include "broker/share_asking.h"

#include "base/env_libevent.h"
#include "broker/coord/group_shard.h"
#include "broker/coordinators.h"
#include "broker/request.h"
#include "broker/shard.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct shard shard;
static struct partition partition;
static struct partition *local[] = {&partition};
static struct shard_topic topic = {
    .name = "__consumer_offsets", .partitions = 1, .local = local};
static struct coord_host host;
static struct request request;
static struct group_call call;
static int taken; /* by the coordinator */

static void on_answer(void *arg, struct coord_answer *answer)
{
    cr_assert_eq(answer->token, &call);
    taken++;
    coord_answer_free(answer);
}

static void on_returned(struct coord_call *c) { cr_assert_eq(c, &call.call); }

static void set_up(void)
{
    static const struct group_shard_ops ops = {.answer = on_answer};
    struct group_shard_options options = {0};

    shard = (struct shard){.env = env_create()};
    map_put(&shard.topics_by_name, slice_str(topic.name), &topic);
    coord_config_init(&options.coord);
    consumer_config_init(&options.consumer);
    share_group_config_init(&options.share);
    streams_config_init(&options.streams);
    host =
        (struct coord_host){.partition = &partition,
                            .shard = &shard,
                            .kind = &coord_host_groups,
                            .number = 1,
                            .core = group_shard_create(&options, &ops, NULL)};
    group_shard_activate(host.core, group_loader_create(&options, 0), 0, 0, 0,
                         coord_host_time(&host));
    partition = (struct partition){.shard = &shard, .topic = &topic};
    partition.coordinator = &host;
    request.shard = &shard;
    call = (struct group_call){
        .call = {.request = &request, .returned = on_returned}};
}

static void tear_down(void)
{
    group_shard_resign(host.core, coord_host_time(&host));
    group_shard_free(host.core);
    map_free(&shard.topics_by_name);
    env_free(shard.env);
}

TestSuite(share_asking, .init = set_up, .fini = tear_down);

static void stop(struct env_task *task) { env_stop(shard.env); }

/* What was posted before it has its turn. */
static void turn(void)
{
    struct env_task last = {.fn = stop};

    env_post(shard.env, &last);
    env_run(shard.env);
}

/* DescribeShareGroupOffsets of a group without anything. */
static void describe(void)
{
    static struct describe_share_group_offsets_request_group g = {
        .group_id = SLICE("g"), .topics_len = -1};
    struct describe_share_group_offsets_request q = {&g, 1};
    struct coord_context context = {.token = &call};
    struct share_group_ask *ask = xcalloc(1, sizeof *ask);

    ask->api = API_READ_SHARE_GROUP_STATE_SUMMARY;
    ask->answer = share_group_refuse(&context, API_DESCRIBE_SHARE_GROUP_OFFSETS,
                                     &q, ERR_NONE);
    arena_init(&ask->arena, 0);
    share_asking_start(&host, ask);
    cr_assert_eq(taken, 0, "not from inside");
}

Test(share_asking, comes_back)
{
    describe();
    turn();
    cr_assert_eq(taken, 1);
    cr_assert_null(call.answer);
}

Test(share_asking, does_not_come_back_to_another_life)
{
    describe();
    host.number++; /* lost and led again, with a core at the same address */
    turn();
    cr_assert_eq(taken, 0);
    cr_assert_eq(
        call.answer->response.describe_share_group_offsets.groups[0].error_code,
        ERR_NOT_COORDINATOR);
    coord_answer_free(call.answer);
}
