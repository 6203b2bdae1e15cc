/* What a group commits when its records cannot be printed. */
#include "cli/lines.h"
#include "tests/unit/cli/fake_client.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECORDS = 40, PER_FETCH = 10, NOTHING = -1 };

/* A topic of one partition; the member that asks is the only one. */
struct cluster {
    struct buf batches[RECORDS / PER_FETCH];
    struct buf assignment;
    int64_t committed; /* NOTHING */
    int64_t fetched;   /* the offset of the last Fetch */
    int64_t fail_from; /* offset of the Fetch from which on the output fails */
    int commits;
    enum err refusal; /* of commits */
};

static void fill(struct cluster *c)
{
    struct codec *codec = codec_new();
    struct batch_builder b;

    *c = (struct cluster){.committed = NOTHING, .fail_from = INT64_MAX};
    batch_builder_init(&b);
    for (int i = 0; i < RECORDS; i++) {
        struct batch_options options = BATCH_OPTIONS_INIT;
        options.base_offset = i / PER_FETCH * PER_FETCH;
        batch_builder_append(&b, 1, SLICE_NULL, SLICE("hello"), NULL, 0);
        if ((i + 1) % PER_FETCH == 0)
            batch_builder_finish(&b, &options, codec,
                                 &c->batches[i / PER_FETCH]);
    }
    batch_builder_free(&b);
    codec_free(codec);
}

static void drain(struct cluster *c)
{
    for (int i = 0; i < RECORDS / PER_FETCH; i++)
        buf_free(&c->batches[i]);
    buf_free(&c->assignment);
}

static void print_nowhere(void)
{
    int full = open("/dev/full", O_WRONLY);

    cr_assert_geq(full, 0);
    dup2(full, STDOUT_FILENO);
    close(full);
}

/* ---- answers ------------------------------------------------------------- */

static void join(const struct join_group_request *q,
                 struct join_group_response *r, struct arena *a)
{
    r->generation_id = 1;
    r->leader = SLICE("me");
    r->member_id = SLICE("me");
    r->members = arena_array(a, 1, sizeof *r->members);
    r->members_len = 1;
    r->members[0].member_id = SLICE("me");
    r->members[0].group_instance_id = SLICE_NULL;
    r->members[0].metadata = arena_copy(a, q->protocols[0].metadata);
}

static void committed(struct cluster *c, const struct offset_fetch_request *q,
                      struct offset_fetch_response *r, struct arena *a)
{
    cr_assert_eq(q->groups_len, 1);
    r->groups = arena_array(a, 1, sizeof *r->groups);
    r->groups_len = 1;
    r->groups[0].topics = arena_array(a, 1, sizeof *r->groups[0].topics);
    r->groups[0].topics_len = 1;
    struct offset_fetch_response_topics *t = &r->groups[0].topics[0];
    t->name = SLICE("orders");
    t->partitions = arena_array(a, 1, sizeof *t->partitions);
    t->partitions_len = 1;
    t->partitions[0].committed_offset = c->committed;
}

static void ends(struct list_offsets_response *r, struct arena *a)
{
    r->topics = arena_array(a, 1, sizeof *r->topics);
    r->topics_len = 1;
    r->topics[0].name = SLICE("orders");
    r->topics[0].partitions =
        arena_array(a, 1, sizeof *r->topics[0].partitions);
    r->topics[0].partitions_len = 1;
    list_offsets_response_partition_response_init(&r->topics[0].partitions[0]);
    r->topics[0].partitions[0].offset = 0;
}

static void fetch(struct cluster *c, const struct fetch_request *q,
                  struct fetch_response *r, struct arena *a)
{
    c->fetched = q->topics[0].partitions[0].fetch_offset;
    if (c->fetched >= c->fail_from)
        print_nowhere();
    r->responses = arena_array(a, 1, sizeof *r->responses);
    r->responses_len = 1;
    r->responses[0].topic = SLICE("orders");
    r->responses[0].partitions =
        arena_array(a, 1, sizeof *r->responses[0].partitions);
    r->responses[0].partitions_len = 1;
    fetch_response_partition_data_init(&r->responses[0].partitions[0]);
    if (c->fetched < RECORDS)
        r->responses[0].partitions[0].records.bytes =
            buf_slice(&c->batches[c->fetched / PER_FETCH]);
}

static void commit(struct cluster *c, const struct offset_commit_request *q,
                   struct offset_commit_response *r, struct arena *a)
{
    c->commits++;
    if (c->refusal == ERR_NONE) {
        c->committed = q->topics[0].partitions[0].committed_offset;
        return;
    }
    r->topics = arena_array(a, 1, sizeof *r->topics);
    r->topics_len = 1;
    r->topics[0].name = q->topics[0].name;
    r->topics[0].partitions =
        arena_array(a, 1, sizeof *r->topics[0].partitions);
    r->topics[0].partitions_len = 1;
    r->topics[0].partitions[0].error_code = (int16_t)c->refusal;
}

static void sync_group(struct cluster *c, const struct sync_group_request *q,
                       struct sync_group_response *r)
{
    cr_assert_eq(q->assignments_len, 1);
    c->assignment.len = 0;
    buf_put_slice(&c->assignment, q->assignments[0].assignment);
    r->assignment = buf_slice(&c->assignment);
}

static enum err answer(void *arg, int32_t node, enum api_key api,
                       const void *request, void *response, struct arena *a)
{
    static const int32_t leader = 1;
    struct cluster *c = arg;

    (void)node;
    if (api == API_METADATA)
        fake_topic(response, "orders", &leader, 1, a);
    else if (api == API_JOIN_GROUP)
        join(request, response, a);
    else if (api == API_SYNC_GROUP)
        sync_group(c, request, response);
    else if (api == API_OFFSET_FETCH)
        committed(c, request, response, a);
    else if (api == API_LIST_OFFSETS)
        ends(response, a);
    else if (api == API_FETCH)
        fetch(c, request, response, a);
    else if (api == API_OFFSET_COMMIT)
        commit(c, request, response, a);
    else
        cr_assert(api == API_HEARTBEAT || api == API_LEAVE_GROUP);
    return ERR_NONE;
}

/* ---- reading ------------------------------------------------------------- */

/* Reads to the end as a member; returns errno of the output. */
static int consume(struct cluster *cluster, int32_t commit_interval_ms)
{
    struct client *c = fake_client_new(1, answer, cluster);
    struct consume_job job = {
        .client = c,
        .options = CONSUMER_OPTIONS_INIT,
        .format = RECORD_FORMAT_INIT,
        .max_messages = -1,
        .timeout_ms = 10,
    };

    job.options.topic = "orders";
    job.options.group = "billing";
    job.options.start = CONSUME_EARLIEST;
    job.options.auto_commit_interval_ms = commit_interval_ms;
    cr_assert_eq(consume_lines(&job), ERR_NONE);
    client_free(c);
    drain(cluster);
    return job.output_error;
}

static void print_to_null(void)
{
    int null = open("/dev/null", O_WRONLY);

    dup2(null, STDOUT_FILENO);
    close(null);
}

Test(lines, what_was_printed_is_committed)
{
    struct cluster c;

    fill(&c);
    print_to_null();
    cr_assert_eq(consume(&c, 5000), 0);
    cr_assert_eq(c.committed, RECORDS);
}

Test(lines, what_a_full_disk_did_not_take_is_not_committed)
{
    struct cluster c;

    fill(&c);
    print_to_null();
    c.fail_from = 20;
    cr_assert_eq(consume(&c, 5000), ENOSPC);
    cr_assert_eq(c.committed, 20);
}

Test(lines, nothing_printed_nothing_committed)
{
    struct cluster c;

    fill(&c);
    c.fail_from = 0;
    cr_assert_eq(consume(&c, 5000), ENOSPC);
    cr_assert_leq(c.committed, 0);
}

Test(lines, commits_by_time_follow_the_output)
{
    struct cluster c;

    fill(&c);
    print_to_null();
    c.fail_from = 30;
    cr_assert_eq(consume(&c, 0), ENOSPC);
    cr_assert_eq(c.committed, 30);
    cr_assert_gt(c.commits, 1);
}

/* The sentence that ends it. */
static void expect_end(struct consumer_options options, enum err refusal,
                       const char *sentence)
{
    struct cluster cluster;

    fill(&cluster);
    cluster.refusal = refusal;
    print_to_null();
    struct client *c = fake_client_new(1, answer, &cluster);
    struct consume_job job = {
        .client = c,
        .options = options,
        .format = RECORD_FORMAT_INIT,
        .max_messages = -1,
        .timeout_ms = 100,
    };
    cr_assert_neq(consume_lines(&job), ERR_NONE);
    cr_assert_str_eq(client_why(c), sentence);
    cr_assert_leq(cluster.commits, 1);
    client_free(c);
    drain(&cluster);
}

Test(lines, a_partition_that_is_not_there)
{
    struct consumer_options options = CONSUMER_OPTIONS_INIT;

    options.topic = "orders";
    options.partition = 7;
    expect_end(options, ERR_NONE, "topic orders has no partition 7");
}

Test(lines, a_pattern_that_is_none)
{
    struct consumer_options options = CONSUMER_OPTIONS_INIT;

    options.pattern = "a(";
    expect_end(options, ERR_NONE, "a( is an invalid regex.");
}

Test(lines, a_last_commit_that_fails)
{
    struct consumer_options options = CONSUMER_OPTIONS_INIT;

    options.topic = "orders";
    options.group = "billing";
    options.start = CONSUME_EARLIEST;
    expect_end(options, ERR_ILLEGAL_GENERATION,
               "the last that was read is not committed, so group billing gets "
               "it again (offsets of group billing cannot be committed: "
               "illegal generation)");
}

Test(lines, a_pipe_that_nobody_reads)
{
    int fds[2];
    struct cluster c;

    fill(&c);
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(pipe(fds), 0);
    dup2(fds[1], STDOUT_FILENO);
    close(fds[0]);
    close(fds[1]);
    cr_assert_eq(consume(&c, 5000), EPIPE);
    cr_assert_leq(c.committed, 0);
}
