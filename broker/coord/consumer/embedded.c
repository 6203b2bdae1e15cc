#include "broker/coord/consumer/embedded.h"

enum { VERSION_MAX = 3 };

/* -1: there is none. */
static int16_t read_version(struct reader *r)
{
    int16_t version = read_i16(r);

    if (r->bad || version < 0)
        return -1;
    return version > VERSION_MAX ? VERSION_MAX : version;
}

static enum err read_message(const struct kafka_desc *desc, struct slice bytes,
                             struct arena *arena, void *out)
{
    struct reader r = reader_of(bytes);
    int16_t version = read_version(&r);
    size_t limit_bytes = arena->limit_bytes;

    if (version < 0)
        return ERR_MALFORMED;
    arena->limit_bytes = arena->used_bytes + EMBEDDED_MAX_BYTES;
    enum err err = kafka_decode_prefix(desc, version, &r, arena, out);
    arena->limit_bytes = limit_bytes;
    arena->exhausted = false;
    return err;
}

static enum err check_partitions(size_t partitions)
{
    return partitions > EMBEDDED_MAX_BYTES / sizeof(struct part) ? ERR_TOO_LARGE
                                                                 : ERR_NONE;
}

enum err embedded_subscription(struct slice bytes, struct arena *arena,
                               struct consumer_protocol_subscription *out)
{
    enum err err =
        read_message(&consumer_protocol_subscription_desc, bytes, arena, out);
    size_t partitions = 0;

    if (err != ERR_NONE)
        return err;
    for (int32_t t = 0; t < out->owned_partitions_len; t++)
        partitions += (size_t)out->owned_partitions[t].partitions_len;
    return check_partitions(partitions);
}

enum err embedded_assignment(struct slice bytes, struct arena *arena,
                             struct consumer_protocol_assignment *out)
{
    enum err err =
        read_message(&consumer_protocol_assignment_desc, bytes, arena, out);
    size_t partitions = 0;

    if (err != ERR_NONE)
        return err;
    for (int32_t t = 0; t < out->assigned_partitions_len; t++)
        partitions += (size_t)out->assigned_partitions[t].partitions_len;
    return check_partitions(partitions);
}

/* ---- partitions ----------------------------------------------------------*/

static uint32_t add_topic(struct part *items, uint32_t len,
                          const struct consumer_world *world, struct slice name,
                          const int32_t *partitions, int32_t partitions_len)
{
    struct consumer_topic topic;

    if (!world->topic_by_name(world->arg, name, &topic))
        return len;
    for (int32_t i = 0; i < partitions_len; i++)
        if (partitions[i] >= 0 && partitions[i] < topic.partitions)
            items[len++] = (struct part){topic.id, partitions[i], 0};
    return len;
}

struct parts
embedded_owned(const struct consumer_protocol_subscription *subscription,
               const struct consumer_world *world, struct arena *arena)
{
    uint32_t room = 0, len = 0;

    for (int32_t t = 0; t < subscription->owned_partitions_len; t++)
        room += (uint32_t)subscription->owned_partitions[t].partitions_len;
    struct part *items = arena_array(arena, room, sizeof *items);
    for (int32_t t = 0; t < subscription->owned_partitions_len; t++)
        len = add_topic(items, len, world,
                        subscription->owned_partitions[t].topic,
                        subscription->owned_partitions[t].partitions,
                        subscription->owned_partitions[t].partitions_len);
    return parts_of(items, len);
}

struct parts
embedded_assigned(const struct consumer_protocol_assignment *assignment,
                  const struct consumer_world *world, struct arena *arena)
{
    uint32_t room = 0, len = 0;

    for (int32_t t = 0; t < assignment->assigned_partitions_len; t++)
        room += (uint32_t)assignment->assigned_partitions[t].partitions_len;
    struct part *items = arena_array(arena, room, sizeof *items);
    for (int32_t t = 0; t < assignment->assigned_partitions_len; t++)
        len = add_topic(items, len, world,
                        assignment->assigned_partitions[t].topic,
                        assignment->assigned_partitions[t].partitions,
                        assignment->assigned_partitions[t].partitions_len);
    return parts_of(items, len);
}

/* Topics that are gone are left out: they have no name. */
struct slice embedded_put(struct parts set, const struct consumer_world *world,
                          struct slice subscription, struct arena *arena)
{
    struct consumer_protocol_assignment a;
    struct reader r = reader_of(subscription);
    int16_t version = read_version(&r);
    struct buf bytes = BUF_INIT;

    version = version < 0 ? 0 : version;
    consumer_protocol_assignment_init(&a);
    a.user_data = SLICE_NULL;
    a.assigned_partitions =
        arena_array(arena, parts_topics(set), sizeof *a.assigned_partitions);
    for (uint32_t at = 0, run; at < set.len; at += run) {
        struct slice name = world->topic_name(world->arg, set.items[at].topic);

        run = parts_run(set, at);
        if (slice_is_null(name))
            continue;
        struct consumer_protocol_assignment_topic_partition *topic =
            &a.assigned_partitions[a.assigned_partitions_len++];
        topic->topic = arena_copy(arena, name);
        topic->partitions = arena_array(arena, run, sizeof(int32_t));
        topic->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            topic->partitions[i] = set.items[at + i].partition;
    }
    buf_put_u16(&bytes, (uint16_t)version);
    ASSERT(kafka_encode(&consumer_protocol_assignment_desc, version, &a, &bytes,
                        NULL) == ERR_NONE); /* names of topics that exist */
    struct slice copy = arena_copy(arena, buf_slice(&bytes));
    buf_free(&bytes);
    return copy;
}
