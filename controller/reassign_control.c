/* Moving partitions between brokers.
 *
 * A partition that moves has in its replica list the target, in the target's
 * order, then what will be removed.  The replicas being added catch up and
 * enter the in-sync set like any others; the AlterPartition that brings the
 * last of them in completes the move (change.c).
 *
 * The original of a running move is its list without those being added.  A new
 * target always starts from the original, so replicas of an abandoned target go
 * at once; a null target goes back to the original.
 *
 * Target and original together have to stay within what a partition can have.
 * A target that only removes is taken from a longer list, too, which a
 * controller of an earlier release may have left. */
#include "controller/change.h"
#include "controller/replicas_max.h"
#include "proto/kafka/kafka_messages.h"

typedef struct alter_partition_reassignments_request_reassignable_partition
    request_partition;
typedef struct
    alter_partition_reassignments_response_reassignable_partition_response
        result_partition;

/* ---- altering ------------------------------------------------------------ */

static bool is_moving(const struct image_partition *p)
{
    return p->adding_len != 0 || p->removing_len != 0;
}

/* The list before the move: unchanged order cannot be told any more, but the
 * members can; those that were to be removed come last. */
static void original_of(const struct image_partition *p, struct id_set *out)
{
    out->len = 0;
    for (uint32_t i = 0; i < p->replicas_len; i++)
        if (!image_ids_have(image_adding(p), p->ids[i]))
            id_set_add(out, p->ids[i]);
}

/* Only replicas remain in the in-sync set and its kin.  False if nobody in sync
 * would remain. */
static bool keep_only_replicas(struct change *ch)
{
    struct id_set isr = {.len = 0};

    for (uint32_t i = 0; i < ch->isr.len; i++)
        if (id_set_has(&ch->replicas, ch->isr.at[i]))
            id_set_add(&isr, ch->isr.at[i]);
    ch->isr = isr;
    return isr.len != 0;
}

static struct verdict cancel(struct step *s, struct image_topic *topic,
                             int32_t partition)
{
    const struct image_partition *p = topic->partitions[partition];
    struct change ch;

    if (!is_moving(p))
        return refuse(s, ERR_NO_REASSIGNMENT_IN_PROGRESS,
                      "No partition reassignment is in progress.");
    change_begin(s, topic, partition, &ch);
    original_of(p, &ch.replicas);
    ch.adding.len = 0;
    ch.removing.len = 0;
    if (!keep_only_replicas(&ch))
        return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "Unable to revert partition assignment for %s-%d because "
                      "it would require an unclean leader election.",
                      topic->name, (int)partition);
    change_put(&ch);
    return VERDICT_GOOD;
}

static struct verdict move(struct step *s, struct image_topic *topic,
                           const request_partition *wanted,
                           bool allow_factor_change)
{
    int32_t partition = wanted->partition_index;
    const struct image_partition *p = topic->partitions[partition];
    struct id_set original;
    struct change ch;
    struct verdict v =
        assignment_check(s, wanted->replicas, wanted->replicas_len);

    if (v.error == ERR_NONE)
        v = step_fits(s, partition_record_bytes(IMAGE_REPLICAS_MAX));
    if (v.error != ERR_NONE)
        return v;
    original_of(p, &original);
    if (!allow_factor_change && (uint32_t)wanted->replicas_len != original.len)
        return refuse(s, ERR_INVALID_REPLICATION_FACTOR,
                      "The replication factor is changed from %u to %d",
                      (unsigned)original.len, (int)wanted->replicas_len);
    change_begin(s, topic, partition, &ch);
    ch.replicas.len = 0;
    ch.adding.len = 0;
    ch.removing.len = 0;
    for (int32_t i = 0; i < wanted->replicas_len; i++) {
        id_set_add(&ch.replicas, wanted->replicas[i]);
        if (!id_set_has(&original, wanted->replicas[i]))
            id_set_add(&ch.adding, wanted->replicas[i]);
    }
    for (uint32_t i = 0; i < original.len; i++)
        if (!id_set_has(&ch.replicas, original.at[i]))
            id_set_add(&ch.removing, original.at[i]);
    for (uint32_t i = 0; i < ch.removing.len; i++)
        id_set_add(&ch.replicas, ch.removing.at[i]);
    if (ch.adding.len != 0 && ch.replicas.len > PARTITION_REPLICAS_MAX)
        return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "Unable to reassign %s-%d: it would have %u replicas "
                      "while it moves, the present ones and the new ones, more "
                      "than the %d that are possible.",
                      topic->name, (int)partition, (unsigned)ch.replicas.len,
                      PARTITION_REPLICAS_MAX);
    if (!keep_only_replicas(&ch))
        return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "Unable to reassign %s-%d because no replica that is in "
                      "sync would remain.",
                      topic->name, (int)partition);
    change_put(&ch);
    return VERDICT_GOOD;
}

static struct verdict alter(struct step *s, struct image_topic *topic,
                            const request_partition *wanted,
                            bool allow_factor_change)
{
    if (topic == NULL ||
        image_partition(topic, wanted->partition_index) == NULL)
        return refuse(s, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                      "This server does not host this topic-partition.");
    if (wanted->replicas_len < 0)
        return cancel(s, topic, wanted->partition_index);
    return move(s, topic, wanted, allow_factor_change);
}

void reassignments_alter(struct step *s, int16_t version, const void *in,
                         void *out)
{
    const struct alter_partition_reassignments_request *request = in;
    struct alter_partition_reassignments_response *response = out;

    response->allow_replication_factor_change =
        request->allow_replication_factor_change;
    response->error_message = SLICE_NULL;
    response->responses = arena_array(s->arena, (size_t)request->topics_len,
                                      sizeof *response->responses);
    response->responses_len = request->topics_len;
    for (int32_t i = 0; i < request->topics_len; i++) {
        const struct alter_partition_reassignments_request_reassignable_topic
            *t = &request->topics[i];
        struct image_topic *topic = image_topic(s->image, t->name);

        response->responses[i].name = t->name;
        response->responses[i].partitions = arena_array(
            s->arena, (size_t)t->partitions_len, sizeof(result_partition));
        response->responses[i].partitions_len = t->partitions_len;
        for (int32_t j = 0; j < t->partitions_len; j++) {
            struct verdict v = alter(s, topic, &t->partitions[j],
                                     request->allow_replication_factor_change);
            result_partition *r = &response->responses[i].partitions[j];

            r->partition_index = t->partitions[j].partition_index;
            r->error_code = (int16_t)v.error;
            r->error_message = v.why;
        }
    }
}

/* ---- listing ------------------------------------------------------------- */

typedef struct list_partition_reassignments_response_ongoing_topic_reassignment
    listed_topic;

static int32_t *copy_ids(struct step *s, struct image_ids ids, int32_t *len)
{
    int32_t *copy = arena_array(s->arena, ids.len, sizeof *copy);

    memcpy(copy, ids.at, ids.len * sizeof *copy);
    *len = (int32_t)ids.len;
    return copy;
}

static void list_one(struct step *s, const struct image_topic *topic,
                     int32_t partition, listed_topic *out)
{
    const struct image_partition *p = image_partition(topic, partition);

    if (p == NULL || !is_moving(p))
        return;
    struct list_partition_reassignments_response_ongoing_partition_reassignment
        *r = &out->partitions[out->partitions_len++];
    r->partition_index = partition;
    r->replicas = copy_ids(s, image_replicas(p), &r->replicas_len);
    r->adding_replicas = copy_ids(s, image_adding(p), &r->adding_replicas_len);
    r->removing_replicas =
        copy_ids(s, image_removing(p), &r->removing_replicas_len);
}

/* Room for up to `most` partitions of a topic. */
static listed_topic *
list_topic(struct step *s, const struct image_topic *topic, size_t most,
           struct list_partition_reassignments_response *response)
{
    listed_topic *out = &response->topics[response->topics_len];

    out->name = arena_copy(s->arena, slice_str(topic->name));
    out->partitions = arena_array(s->arena, most, sizeof *out->partitions);
    return out;
}

static void list_all(struct step *s,
                     struct list_partition_reassignments_response *response)
{
    uint32_t count = s->c->index.reassigning.count;
    const partition_ref *refs =
        ref_set_sorted(&s->c->index.reassigning, s->arena);

    response->topics = arena_array(s->arena, count, sizeof *response->topics);
    for (uint32_t i = 0; i < count;) {
        uint32_t slot = partition_ref_slot(refs[i]);
        uint32_t end = i;

        while (end < count && partition_ref_slot(refs[end]) == slot)
            end++;
        struct image_topic *topic = ref_topic(s, refs[i]);
        listed_topic *out = list_topic(s, topic, end - i, response);
        for (; i < end; i++)
            list_one(s, topic, partition_ref_partition(refs[i]), out);
        response->topics_len++;
    }
}

static void
list_named(struct step *s,
           const struct list_partition_reassignments_request *request,
           struct list_partition_reassignments_response *response)
{
    response->topics = arena_array(s->arena, (size_t)request->topics_len,
                                   sizeof *response->topics);
    for (int32_t i = 0; i < request->topics_len; i++) {
        const struct list_partition_reassignments_request_topics *t =
            &request->topics[i];
        struct image_topic *topic = image_topic(s->image, t->name);

        if (topic == NULL)
            continue;
        listed_topic *out =
            list_topic(s, topic, (size_t)t->partition_indexes_len, response);
        for (int32_t j = 0; j < t->partition_indexes_len; j++)
            list_one(s, topic, t->partition_indexes[j], out);
        if (out->partitions_len != 0)
            response->topics_len++;
    }
}

void reassignments_list(struct step *s, int16_t version, const void *in,
                        void *out)
{
    const struct list_partition_reassignments_request *request = in;
    struct list_partition_reassignments_response *response = out;

    response->error_message = SLICE_NULL;
    if (request->topics_len < 0)
        list_all(s, response);
    else
        list_named(s, request, response);
}
