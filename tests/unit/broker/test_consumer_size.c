/* A large group: what its members' heartbeats cost. */
#include "tests/unit/broker/consumer_fixture.h"

#include <stdio.h>
#include <time.h>

enum {
    MEMBERS = 1000,
    TOPICS = 20,
    PARTITIONS = 500, /* of each topic */
    GROUPS = 2000,    /* others, of one member each */
    BEATS = 20000,
};

static struct consumer_coord *coord;
static struct coord_time now = {1000, INT64_C(1700000000000)};
static int64_t records;
static int64_t record_bytes;

static bool topic_by_name(void *arg, struct slice name,
                          struct consumer_topic *topic)
{
    (void)arg;
    topic->id = UUID_ZERO;
    memcpy(topic->id.bytes, name.data, name.len);
    topic->partitions = PARTITIONS;
    return true;
}

static struct slice topic_name(void *arg, struct uuid id)
{
    static char name[17];

    (void)arg;
    memcpy(name, id.bytes, sizeof id.bytes);
    return slice_str(name);
}

/* Of the processor: others may be busy on it. */
static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Everything is in the log, and committed, at once. */
static void carry_out(struct coord_update *update)
{
    struct list *node;

    while ((node = list_pop_front(&update->writes)) != NULL) {
        struct coord_pending *pending =
            LIST_ENTRY(node, struct coord_pending, link);
        struct consumer_write *write = (struct consumer_write *)(void *)pending;

        records += pending->records.count;
        record_bytes += (int64_t)pending->records.bytes.len;
        if (pending->records.count != 0)
            consumer_coord_appended(coord, write, 0, pending->records.count,
                                    now);
        consumer_coord_done(coord, write, ERR_NONE, update);
    }
}

/* Returns the member's epoch; counts what it was given. */
static int32_t beat(const char *group, const char *id, int32_t epoch,
                    int *given)
{
    static char names[TOPICS][8];
    static struct slice topics[TOPICS];
    struct consumer_group_heartbeat_request request;
    struct coord_context context = {
        .now_ms = now.now_ms, .wall_ms = now.wall_ms, .version = 1};
    struct coord_update update;

    consumer_group_heartbeat_request_init(&request);
    for (int t = 0; t < TOPICS; t++) {
        snprintf(names[t], sizeof names[t], "t%d", t);
        topics[t] = slice_str(names[t]);
    }
    request.group_id = slice_str(group);
    request.member_id = slice_str(id);
    request.member_epoch = epoch;
    request.subscribed_topic_names_len = -1;
    if (epoch == 0) {
        request.rebalance_timeout_ms = 60000;
        request.subscribed_topic_names = topics;
        request.subscribed_topic_names_len = group[0] == 'l' ? TOPICS : 1;
    }
    request.topic_partitions_len = epoch == 0 ? 0 : -1;
    coord_update_init(&update);
    consumer_coord_request(coord, &context, API_CONSUMER_GROUP_HEARTBEAT,
                           &request, &update);
    carry_out(&update);
    struct coord_answer *answer =
        LIST_ENTRY(list_pop_front(&update.answers), struct coord_answer, link);
    const struct consumer_group_heartbeat_response *r =
        &answer->response.consumer_group_heartbeat;
    cr_assert_err(r->error_code, ERR_NONE);
    epoch = r->member_epoch;
    if (r->assignment != NULL) {
        *given = 0;
        for (int32_t t = 0; t < r->assignment->topic_partitions_len; t++)
            *given += r->assignment->topic_partitions[t].partitions_len;
    }
    coord_answer_free(answer);
    return epoch;
}

static const char *member_id(int i)
{
    static char id[40];

    snprintf(id, sizeof id, "member-0123456789abcdef-%06d", i);
    return id;
}

static double beats_us(const int32_t *epochs, int members)
{
    double start = seconds();
    int given;

    for (int i = 0; i < BEATS; i++)
        beat("large", member_id(i % members), epochs[i % members], &given);
    return (seconds() - start) / BEATS * 1e6;
}

static void pass(int64_t ms)
{
    struct coord_update update;

    now.now_ms += ms;
    now.wall_ms += ms;
    while (consumer_coord_next_deadline(coord) <= now.now_ms) {
        coord_update_init(&update);
        consumer_coord_tick(coord, now, &update);
        carry_out(&update);
    }
}

Test(consumer_size, a_thousand_members_of_ten_thousand_partitions)
{
    static int32_t epochs[MEMBERS];
    static int given[MEMBERS];
    struct consumer_world world = {.topic_by_name = topic_by_name,
                                   .topic_name = topic_name};
    struct consumer_config config;
    int total = 0;

    consumer_config_init(&config);
    coord = consumer_coord_create(&config, &world);
    consumer_coord_activate(coord, 0, now);
    double start = seconds();
    for (int i = 0; i < MEMBERS; i++)
        epochs[i] = beat("large", member_id(i), 0, &given[i]);
    double joins = seconds() - start;
    /* The first has everything, and says that it gave it up. */
    start = seconds();
    pass(1000);
    double target = seconds() - start;
    epochs[0] = beat("large", member_id(0), 0, &given[0]);
    for (int i = 1; i < MEMBERS; i++)
        epochs[i] = beat("large", member_id(i), epochs[i], &given[i]);
    for (int i = 0; i < MEMBERS; i++)
        total += given[i];
    cr_assert_eq(total, TOPICS * PARTITIONS);
    cr_assert_eq(given[500], TOPICS * PARTITIONS / MEMBERS);

    double alone = beats_us(epochs, MEMBERS);
    int64_t before = records;
    for (int i = 0; i < GROUPS; i++) {
        char group[16];
        int none;
        snprintf(group, sizeof group, "g%d", i);
        beat(group, "m", 0, &none);
    }
    before = records - before;
    double crowded = beats_us(epochs, MEMBERS);
    fprintf(stderr,
            "%d members, %d partitions: %d joins in %.0f ms, a target in %.1f "
            "ms, %lld records of %lld bytes; a heartbeat %.2f us, with %d "
            "other groups %.2f us\n",
            MEMBERS, total, MEMBERS, joins * 1e3, target * 1e3,
            (long long)(records - before), (long long)record_bytes, alone,
            GROUPS, crowded);
    cr_assert_lt(joins, 20.0);
    cr_assert_lt(target, 2.0);
    /* Nothing is written, and other groups are not looked at. */
    cr_assert_lt(crowded, 5 * alone + 20);
    consumer_coord_check(coord);
    consumer_coord_free(coord);
}
