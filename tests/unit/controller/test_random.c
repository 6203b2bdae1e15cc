/* Random histories: brokers die and return, cleanly or not, controllers fail
 * over, topics come, grow, move and go, leaders shrink and expand.  The desk
 * checks every record against the rules of elections and epochs (desk.c);
 * besides, now and then, snapshot, store and index against the image.
 *
 * A model of the replicas' logs shows what the rules are for: leaders get
 * records acknowledged whenever enough replicas are in sync; an unclean restart
 * loses some of a broker's records, except where it is the last that has them
 * all; and without unclean elections no leader ever lacks a record that was
 * acknowledged.  Where brokers also lose their disks, or are unregistered and
 * come back, none leads with an empty log while there are other replicas, but
 * by an unclean election. */
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>

enum { BROKERS = 5, TOPICS = 4, PARTITIONS = 6, STEPS = 6000 };

/* The logs of one partition. */
struct logs {
    int32_t acknowledged;     /* records, from 1 on */
    int32_t has[BROKERS + 1]; /* by broker: the first so many of them */
    bool empty[BROKERS + 1];  /* lost everything, not in sync since */
};

struct history {
    struct desk desk;
    struct prng prng;
    bool unclean; /* some topics allow unclean election */
    bool emptied; /* disks are lost */
    uint8_t disks[BROKERS + 1];
    struct uuid ids[TOPICS]; /* of the topics in `logs` */
    struct logs logs[TOPICS][PARTITIONS];
    uint16_t incarnation; /* of the last restart */
    uint64_t elections;   /* of all controllers */
};

static int32_t below(struct history *h, uint64_t bound)
{
    return (int32_t)prng_below(&h->prng, bound);
}

static const char *topic_name(int32_t i)
{
    static const char *const names[TOPICS] = {"a", "b", "c", "d"};

    return names[i];
}

/* NULL if there is no topic now. */
static struct image_topic *some_topic(struct history *h)
{
    return image_topic(&h->desk.committed,
                       slice_str(topic_name(below(h, TOPICS))));
}

/* ---- the model ----------------------------------------------------------- */

/* Fresh for a topic that was not there before. */
static struct logs *logs_of(struct history *h, const struct image_topic *topic,
                            int32_t partition)
{
    int32_t i = topic->name[0] - 'a';

    if (!uuid_eq(h->ids[i], topic->id)) {
        h->ids[i] = topic->id;
        memset(h->logs[i], 0, sizeof h->logs[i]);
    }
    return &h->logs[i][partition];
}

static int32_t min_insync(struct history *h, const struct image_topic *topic)
{
    const struct image *image = &h->desk.committed;
    struct slice key = SLICE("min.insync.replicas");
    const char *value =
        image_config(image, IMAGE_RESOURCE_TOPIC, slice_str(topic->name), key);

    if (value == NULL)
        value = image_config(image, IMAGE_RESOURCE_BROKER, SLICE(""), key);
    return value[0] - '0';
}

/* A record is acknowledged if enough replicas are in sync. */
static void produce(struct history *h)
{
    struct image_topic *topic = some_topic(h);

    if (topic == NULL)
        return;
    for (int32_t i = 0; i < topic->partitions_len; i++) {
        const struct image_partition *p = topic->partitions[i];
        struct logs *logs = logs_of(h, topic, i);
        int32_t enough = min_insync(h, topic);

        if (enough > p->replicas_len)
            enough = p->replicas_len;
        if (p->leader == -1 || p->isr_len < enough)
            continue;
        logs->acknowledged++;
        for (uint32_t j = 0; j < p->isr_len; j++)
            logs->has[image_isr(p).at[j]] = logs->acknowledged;
    }
}

/* What an unclean restart of `id` would cost: everything that somebody else
 * has for sure. */
static void lose_records(struct history *h, int32_t id)
{
    struct image_topic *topic;

    for (uint32_t at = 0;
         (topic = image_topic_next(&h->desk.committed, &at)) != NULL;)
        for (int32_t i = 0; i < topic->partitions_len; i++) {
            const struct image_partition *p = topic->partitions[i];
            struct logs *logs = logs_of(h, topic, i);
            bool counts = image_ids_have(image_isr(p), id) ||
                          image_ids_have(image_elr(p), id);

            if (!counts || p->isr_len + p->elr_len > 1)
                logs->has[id] = below(h, (uint64_t)logs->has[id] + 1);
        }
}

static void check_leaders(struct history *h)
{
    struct image_topic *topic;

    for (uint32_t at = 0;
         (topic = image_topic_next(&h->desk.committed, &at)) != NULL;)
        for (int32_t i = 0; i < topic->partitions_len; i++) {
            const struct image_partition *p = topic->partitions[i];
            struct logs *logs = logs_of(h, topic, i);

            if (p->leader != -1)
                cr_assert_eq(logs->has[p->leader], logs->acknowledged,
                             "%s-%d: %s lacks records", topic->name, i,
                             desk_show(&h->desk, topic->name, i));
        }
}

static void empty_logs(struct history *h, int32_t id)
{
    struct image_topic *topic;

    for (uint32_t at = 0;
         (topic = image_topic_next(&h->desk.committed, &at)) != NULL;)
        for (int32_t i = 0; i < topic->partitions_len; i++) {
            const struct image_partition *p = topic->partitions[i];

            if (p->replicas_len > 1)
                logs_of(h, topic, i)->empty[id] = true;
        }
}

static void check_empty(struct history *h)
{
    struct image_topic *topic;

    for (uint32_t at = 0;
         (topic = image_topic_next(&h->desk.committed, &at)) != NULL;)
        for (int32_t i = 0; i < topic->partitions_len; i++) {
            const struct image_partition *p = topic->partitions[i];
            struct logs *logs = logs_of(h, topic, i);

            if (p->leader == -1)
                continue;
            cr_assert(!logs->empty[p->leader] || p->replicas_len == 1 ||
                          p->recovering,
                      "%s-%d: %s has nothing", topic->name, i,
                      desk_show(&h->desk, topic->name, i));
            logs->empty[p->leader] = false;
        }
}

/* ---- things that happen -------------------------------------------------- */

static void create_topic(struct history *h)
{
    struct desk *d = &h->desk;
    const char *name = topic_name(below(h, TOPICS));

    if (desk_create(d, name, 1 + below(h, PARTITIONS),
                    (int16_t)(1 + below(h, 4))) != ERR_NONE)
        return;
    if (below(h, 2) == 0)
        desk_topic_config(d, name, "min.insync.replicas",
                          below(h, 2) == 0 ? "2" : "3");
    if (h->unclean && below(h, 2) == 0)
        desk_topic_config(d, name, "unclean.leader.election.enable", "true");
}

static void delete_topic(struct history *h)
{
    if (below(h, 5) == 0)
        desk_delete(&h->desk, topic_name(below(h, TOPICS)));
}

static void lose_broker(struct history *h)
{
    struct desk *d = &h->desk;
    struct controller_update update;
    struct controller_call call = desk_call(d);
    int32_t id = 1 + below(h, BROKERS);
    const struct image_broker *b = image_broker(&d->committed, id);

    controller_broker_lost(&d->c, &call, id, b != NULL ? b->epoch : 0, &update);
    desk_done(d, &update);
}

static void restart_broker(struct history *h)
{
    struct desk *d = &h->desk;
    int32_t id = 1 + below(h, BROKERS);
    const struct image_broker *b = image_broker(&d->committed, id);

    struct logs before[TOPICS][PARTITIONS];
    struct uuid ids[TOPICS];
    bool clean = b != NULL && below(h, 2) == 0;
    uint8_t disk = h->disks[id];

    if (h->emptied && below(h, 8) == 0) {
        clean = false;
        disk++;
    }
    memcpy(before, h->logs, sizeof before);
    memcpy(ids, h->ids, sizeof ids);
    if (!clean)
        lose_records(h, id);
    if (disk != h->disks[id])
        empty_logs(h, id);
    enum err error = desk_register(
        d, (struct desk_broker){.id = id,
                                .incarnation = ++h->incarnation,
                                .disk = disk,
                                .previous_epoch = clean ? b->epoch : -1});
    if (error != ERR_NONE) { /* it's alive: this didn't happen */
        memcpy(h->logs, before, sizeof before);
        memcpy(h->ids, ids, sizeof ids);
    } else {
        h->disks[id] = disk;
    }
}

static void unregister(struct history *h)
{
    int32_t id = 1 + below(h, BROKERS);

    if (below(h, 50) == 0 && desk_unregister(&h->desk, id) == ERR_NONE)
        empty_logs(h, id);
}

static void beat(struct history *h)
{
    struct desk *d = &h->desk;

    for (int32_t id = 1; id <= BROKERS; id++) {
        Leat__HeartbeatRequest r = LEAT__HEARTBEAT_REQUEST__INIT;

        if (below(h, 4) == 0 || image_broker(&d->committed, id) == NULL)
            continue;
        r.broker_id = id;
        r.broker_epoch = desk_epoch(d, id);
        r.applied_index = d->next_index - 1 - below(h, 3);
        r.want_shutdown = below(h, 60) == 0;
        r.want_fence = below(h, 100) == 0;
        cr_assert_eq(desk_heartbeat_with(d, r, NULL), ERR_NONE);
    }
}

/* Some leader proposes some in-sync set; who is new has caught up. */
static void alter_partition(struct history *h)
{
    struct desk *d = &h->desk;
    struct image_topic *topic = some_topic(h);
    char isr[128] = "";
    size_t len = 0;

    if (topic == NULL)
        return;
    int32_t partition = below(h, (uint64_t)topic->partitions_len);
    const struct image_partition *p = topic->partitions[partition];
    if (p->leader == -1)
        return;
    struct logs *logs = logs_of(h, topic, partition);
    for (uint32_t i = 0; i < p->replicas_len; i++) {
        if (p->ids[i] != p->leader && below(h, 4) == 0)
            continue;
        len += (size_t)snprintf(isr + len, sizeof isr - len, "%s%d",
                                len == 0 ? "" : ",", p->ids[i]);
        logs->has[p->ids[i]] = logs->has[p->leader];
        logs->empty[p->ids[i]] = false;
    }
    desk_alter(d, (struct desk_alter){.topic = topic->name,
                                      .partition = partition,
                                      .isr = isr,
                                      .recovering = below(h, 10) == 0,
                                      .partition_epoch_off =
                                          below(h, 20) == 0 ? -1 : 0});
}

static void reassign(struct history *h)
{
    struct image_topic *topic = some_topic(h);
    char target[64] = "";
    size_t len = 0;

    if (topic == NULL)
        return;
    for (int32_t id = 1; id <= BROKERS; id++)
        if (below(h, 2) == 0)
            len += (size_t)snprintf(target + len, sizeof target - len, "%s%d",
                                    len == 0 ? "" : ",", id);
    desk_reassign(&h->desk, topic->name,
                  below(h, (uint64_t)topic->partitions_len),
                  below(h, 4) == 0 ? NULL : target);
}

static void elect(struct history *h)
{
    struct image_topic *topic = some_topic(h);

    if (topic != NULL)
        desk_elect(&h->desk, (h->unclean || h->emptied) && below(h, 5) == 0,
                   topic->name, below(h, (uint64_t)topic->partitions_len));
}

static void change_min_insync(struct history *h)
{
    static const char *const values[] = {NULL, "1", "2", "3"};
    struct image_topic *topic = some_topic(h);

    if (topic != NULL)
        desk_topic_config(&h->desk, topic->name, "min.insync.replicas",
                          values[below(h, 4)]);
    else
        desk_broker_config(&h->desk, -1, "min.insync.replicas",
                           values[1 + below(h, 3)]);
}

static void pass_time(struct history *h)
{
    h->desk.now_ms += below(h, 20) == 0 ? 10000 : below(h, 150);
    desk_tick(&h->desk);
}

static void change_controller(struct history *h)
{
    if (below(h, 10) != 0)
        return;
    h->elections += h->desk.c.elections;
    desk_failover(&h->desk);
}

static void step(struct history *h)
{
    static void (*const things[])(struct history *) = {
        create_topic,
        delete_topic,
        lose_broker,
        restart_broker,
        restart_broker,
        beat,
        beat,
        alter_partition,
        alter_partition,
        alter_partition,
        alter_partition,
        reassign,
        elect,
        change_min_insync,
        pass_time,
        pass_time,
        change_controller,
        produce,
        produce,
        produce,
    };

    things[below(h, sizeof things / sizeof *things)](h);
    if (h->emptied)
        unregister(h);
}

static void run(uint64_t seed, bool unclean, bool emptied)
{
    struct history h = {.prng = {seed},
                        .unclean = unclean,
                        .emptied = emptied,
                        .incarnation = 1};
    bool lossless = !unclean && !emptied;

    desk_with_brokers(&h.desk, BROKERS);
    for (int i = 0; i < STEPS; i++) {
        step(&h);
        if (lossless)
            check_leaders(&h);
        if (!unclean)
            check_empty(&h);
        if (i % 100 == 0) {
            desk_check_copies(&h.desk);
            arena_free(&h.desk.arena);
        }
    }
    if (lossless)
        cr_assert_eq(h.desk.c.unclean_elections, 0);
    h.elections += h.desk.c.elections;
    cr_assert_gt(h.elections, STEPS / 30);
    desk_free(&h.desk);
}

ParameterizedTestParameters(random, clean)
{
    static uint64_t seeds[] = {1, 2, 3, 4, 5, 6, 7, 8};

    return cr_make_param_array(uint64_t, seeds, 8);
}

ParameterizedTest(uint64_t *seed, random, clean, .timeout = 120)
{
    run(*seed, false, false);
}

ParameterizedTestParameters(random, unclean)
{
    static uint64_t seeds[] = {11, 12, 13, 14};

    return cr_make_param_array(uint64_t, seeds, 4);
}

ParameterizedTest(uint64_t *seed, random, unclean, .timeout = 120)
{
    run(*seed, true, false);
}

ParameterizedTestParameters(random, emptied)
{
    static uint64_t seeds[] = {21, 22, 23, 24};

    return cr_make_param_array(uint64_t, seeds, 4);
}

ParameterizedTest(uint64_t *seed, random, emptied, .timeout = 120)
{
    run(*seed, false, true);
}
