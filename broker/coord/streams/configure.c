/* A topology against the topics that exist.
 *
 *   1. All source topics must be there.
 *   2. Repartition topics that say no count of partitions get one: the most
 *      partitions that any subtopology writing to them reads, round by round,
 *      as what it reads may be another repartition topic.
 *   3. Topics that are copartitioned have equal counts; those of repartition
 *      topics without a count of their own give way.
 *   4. A subtopology has as many tasks as the most partitions that it reads,
 *      and so have its changelogs.
 *   5. Internal topics that exist must have the count that was decided; those
 *      that do not are to be made. */
#include "broker/coord/streams/topology.h"

#include "base/heap.h"
#include "base/map.h"

#include <stdlib.h>

struct conf {
    const stopology_value *value;
    const struct streams_world *world;
    struct arena *arena; /* scratch */
    struct map decided;  /* internal topic -> int32_t in the arena */
    struct map fixed;    /* repartition topics that say a count */
    struct map internal; /* all repartition topics */
    struct sconfig *out;
    struct slice why;
    bool invalid;
};

/* It can never work. */
static bool invalid(struct conf *c, struct slice why)
{
    c->invalid = true;
    c->why = why;
    return false;
}

/* It does not work as the topics are. */
static bool blocked(struct conf *c, enum streams_status status,
                    struct slice detail)
{
    c->out->status = status;
    c->out->detail = arena_copy(&c->out->arena, detail);
    return false;
}

/* ---- counts --------------------------------------------------------------*/

static bool exists(const struct conf *c, struct slice topic, int32_t *count)
{
    struct consumer_topic found;

    if (!c->world->topic_by_name(c->world->arg, topic, &found))
        return false;
    *count = found.partitions;
    return true;
}

static void decide(struct conf *c, struct slice topic, int32_t count)
{
    int32_t *at = arena_alloc(c->arena, sizeof *at);

    *at = count;
    map_put(&c->decided, topic, at);
}

static bool decided(const struct conf *c, struct slice topic, int32_t *count)
{
    const int32_t *at = map_get(&c->decided, topic);

    if (at == NULL)
        return false;
    *count = *at;
    return true;
}

/* As it is, or as it will be. */
static bool count_of(const struct conf *c, struct slice topic, int32_t *count)
{
    return exists(c, topic, count) || decided(c, topic, count);
}

/* ---- 1. source topics ----------------------------------------------------*/

enum { NAMED_MAX = 3 };

struct names {
    struct slice text;
    uint32_t len;
};

static void name_one(struct conf *c, struct names *names, struct slice name)
{
    if (names->len < NAMED_MAX)
        names->text = names->len == 0 ? name
                                      : arena_printf(c->arena, "%.*s, %.*s",
                                                     SLICE_FMT(names->text),
                                                     SLICE_FMT(name));
    names->len++;
}

static struct slice sentence(struct conf *c, const char *what,
                             const struct names *names)
{
    if (names->len > NAMED_MAX)
        return arena_printf(c->arena, "%s: %.*s and %u more", what,
                            SLICE_FMT(names->text), names->len - NAMED_MAX);
    return arena_printf(c->arena, "%s: %.*s", what, SLICE_FMT(names->text));
}

static bool find_sources(struct conf *c)
{
    struct names missing = {0};
    struct map seen = {0};
    int32_t count;

    for (int32_t s = 0; s < c->value->subtopologies_len; s++) {
        const stopology_sub *sub = &c->value->subtopologies[s];

        for (int32_t i = 0; i < sub->source_topics_len; i++) {
            struct slice name = sub->source_topics[i];

            if (exists(c, name, &count) || map_get(&seen, name) != NULL)
                continue;
            map_put(&seen, name, c);
            name_one(c, &missing, name);
        }
    }
    map_free(&seen);
    return missing.len == 0 ||
           blocked(c, STREAMS_MISSING_SOURCE_TOPICS,
                   sentence(c, "Source topics are missing", &missing));
}

/* ---- 2. repartition topics -----------------------------------------------*/

static void note_repartition(struct conf *c)
{
    for (int32_t s = 0; s < c->value->subtopologies_len; s++) {
        const stopology_sub *sub = &c->value->subtopologies[s];

        for (int32_t i = 0; i < sub->repartition_source_topics_len; i++) {
            const stopology_topic *t = &sub->repartition_source_topics[i];

            map_put(&c->internal, t->name, c);
            if (t->partitions == 0)
                continue;
            decide(c, t->name, t->partitions);
            map_put(&c->fixed, t->name, c);
        }
    }
}

/* The most partitions that it reads, as far as they are known. */
static int32_t widest(const struct conf *c, const stopology_sub *sub)
{
    int32_t most = 0, count;

    for (int32_t i = 0; i < sub->repartition_source_topics_len; i++)
        if (decided(c, sub->repartition_source_topics[i].name, &count) &&
            count > most)
            most = count;
    for (int32_t i = 0; i < sub->source_topics_len; i++)
        if (exists(c, sub->source_topics[i], &count) && count > most)
            most = count;
    return most;
}

/* Subtopologies decide in rounds, in the order of their ids, each as soon as a
 * count of what it reads is known.  So each has one turn at most: it is known
 * when that comes, and nothing is looked at twice. */
struct turns {
    struct heap due;    /* of turn.node; key: round * subtopologies + index */
    struct turn *of;    /* by index */
    struct map readers; /* repartition topic -> struct topic_reader, a list */
};

struct turn {
    struct heap_node node;
    bool known; /* it has come, or is due */
};

struct topic_reader {
    int32_t sub; /* one that writes to repartition topics */
    struct topic_reader *next;
};

static void note_readers(struct conf *c, struct turns *t, int32_t s)
{
    const stopology_sub *sub = &c->value->subtopologies[s];

    for (int32_t i = 0; i < sub->repartition_source_topics_len; i++) {
        struct slice topic = sub->repartition_source_topics[i].name;
        struct topic_reader *reader = arena_alloc(c->arena, sizeof *reader);

        reader->sub = s;
        reader->next = map_get(&t->readers, topic);
        map_put(&t->readers, topic, reader);
    }
}

static void take_turn(const struct conf *c, struct turns *t, int32_t s,
                      int64_t round)
{
    if (t->of[s].known)
        return;
    t->of[s].known = true;
    heap_set(&t->due, &t->of[s].node, round * c->value->subtopologies_len + s);
}

static void first_round(struct conf *c, struct turns *t)
{
    for (int32_t s = 0; s < c->value->subtopologies_len; s++) {
        const stopology_sub *sub = &c->value->subtopologies[s];

        if (sub->repartition_sink_topics_len == 0)
            continue;
        note_readers(c, t, s);
        if (widest(c, sub) != 0)
            take_turn(c, t, s, 0);
    }
}

/* Who reads one of its sinks has its turn behind it in this round, or in the
 * next one. */
static void decide_sinks(struct conf *c, struct turns *t, int32_t s,
                         int64_t round)
{
    const stopology_sub *sub = &c->value->subtopologies[s];
    int32_t most = widest(c, sub), count;

    for (int32_t i = 0; i < sub->repartition_sink_topics_len; i++) {
        struct slice topic = sub->repartition_sink_topics[i];

        if (decided(c, topic, &count))
            continue;
        decide(c, topic, most);
        for (const struct topic_reader *reader = map_get(&t->readers, topic);
             reader != NULL; reader = reader->next)
            take_turn(c, t, reader->sub, reader->sub > s ? round : round + 1);
    }
}

static void decide_all_sinks(struct conf *c)
{
    int64_t len = c->value->subtopologies_len;
    struct turns t = {.of = arena_array(c->arena, (size_t)len, sizeof *t.of)};
    struct heap_node *node;

    first_round(c, &t);
    while ((node = heap_first(&t.due)) != NULL) {
        heap_remove(&t.due, node);
        decide_sinks(c, &t, (int32_t)(node->key % len), node->key / len);
    }
    heap_free(&t.due);
    map_free(&t.readers);
}

static bool has_open_sinks(const struct conf *c)
{
    int32_t count;

    for (int32_t s = 0; s < c->value->subtopologies_len; s++) {
        const stopology_sub *sub = &c->value->subtopologies[s];

        for (int32_t i = 0; i < sub->repartition_sink_topics_len; i++)
            if (!decided(c, sub->repartition_sink_topics[i], &count))
                return true;
    }
    return false;
}

static bool decide_repartition(struct conf *c)
{
    int32_t count;

    note_repartition(c);
    decide_all_sinks(c);
    if (has_open_sinks(c))
        return invalid(c, SLICE("The partitions of repartition topics depend "
                                "on each other in a circle."));
    MAP_EACH (entry, &c->internal)
        if (!decided(c, entry->key, &count))
            return invalid(
                c, arena_printf(c->arena,
                                "Nothing writes to repartition topic %.*s.",
                                SLICE_FMT(entry->key)));
    return true;
}

/* ---- 3. copartitioned topics ---------------------------------------------*/

static struct slice
group_topic(const stopology_sub *sub, uint32_t at,
            const struct streams_group_topology_value_copartition_group *group)
{
    uint32_t sources = (uint32_t)group->source_topics_len;

    if (at < sources)
        return sub->source_topics[group->source_topics[at]];
    return sub
        ->repartition_source_topics[group->repartition_source_topics[at -
                                                                     sources]]
        .name;
}

static bool unequal(struct conf *c, struct slice a, int32_t of_a,
                    struct slice b, int32_t of_b)
{
    return blocked(c, STREAMS_INCORRECTLY_PARTITIONED_TOPICS,
                   arena_printf(c->arena,
                                "Topics that are read together have different "
                                "counts of partitions: %.*s has %d, %.*s has "
                                "%d",
                                SLICE_FMT(a), of_a, SLICE_FMT(b), of_b));
}

/* Of the topics of a group that are of one kind, the count that they have in
 * common; 0: none are. */
static bool common(struct conf *c, const struct slice *topics, uint32_t len,
                   bool (*is)(const struct conf *c, struct slice topic),
                   int32_t *count)
{
    struct slice first = SLICE_NULL;
    int32_t here;

    *count = 0;
    for (uint32_t i = 0; i < len; i++) {
        if (!is(c, topics[i]) || !count_of(c, topics[i], &here))
            continue;
        if (*count != 0 && here != *count)
            return unequal(c, first, *count, topics[i], here);
        first = topics[i];
        *count = here;
    }
    return true;
}

static bool is_external(const struct conf *c, struct slice topic)
{
    return map_get(&c->internal, topic) == NULL;
}

static bool is_fixed(const struct conf *c, struct slice topic)
{
    return map_get(&c->fixed, topic) != NULL;
}

static int32_t most_of(const struct conf *c, const struct slice *topics,
                       uint32_t len)
{
    int32_t most = 0, count;

    for (uint32_t i = 0; i < len; i++)
        if (count_of(c, topics[i], &count) && count > most)
            most = count;
    return most;
}

/* Topics from outside decide, else those that say a count, else the most. */
static bool equalize(struct conf *c, const struct slice *topics, uint32_t len)
{
    int32_t outside, fixed, count;

    if (!common(c, topics, len, is_external, &outside) ||
        !common(c, topics, len, is_fixed, &fixed))
        return false;
    count = outside != 0 ? outside : fixed;
    if (count == 0)
        count = most_of(c, topics, len);
    if (fixed != 0 && fixed != count)
        for (uint32_t i = 0; i < len; i++)
            if (is_external(c, topics[i]))
                for (uint32_t k = 0; k < len; k++)
                    if (is_fixed(c, topics[k]))
                        return unequal(c, topics[k], fixed, topics[i], count);
    for (uint32_t i = 0; i < len; i++)
        if (!is_external(c, topics[i]))
            decide(c, topics[i], count);
    return true;
}

static bool copartition(struct conf *c)
{
    for (int32_t s = 0; s < c->value->subtopologies_len; s++) {
        const stopology_sub *sub = &c->value->subtopologies[s];

        for (int32_t g = 0; g < sub->copartition_groups_len; g++) {
            const struct streams_group_topology_value_copartition_group *group =
                &sub->copartition_groups[g];
            uint32_t len = (uint32_t)(group->source_topics_len +
                                      group->repartition_source_topics_len);
            struct slice *topics = arena_array(c->arena, len, sizeof *topics);

            for (uint32_t i = 0; i < len; i++)
                topics[i] = group_topic(sub, i, group);
            if (len != 0 && !equalize(c, topics, len))
                return false;
        }
    }
    return true;
}

/* ---- 4. tasks ------------------------------------------------------------*/

static int32_t tasks_of_sub(const struct conf *c, const stopology_sub *sub)
{
    int32_t most = 0, count;

    for (int32_t i = 0; i < sub->source_topics_len; i++)
        if (count_of(c, sub->source_topics[i], &count) && count > most)
            most = count;
    for (int32_t i = 0; i < sub->repartition_source_topics_len; i++)
        if (count_of(c, sub->repartition_source_topics[i].name, &count) &&
            count > most)
            most = count;
    return most;
}

static bool count_tasks(struct conf *c)
{
    struct sconfig *out = c->out;
    int64_t total = 0;

    out->subs_len = (uint32_t)c->value->subtopologies_len;
    out->subs = arena_array(&out->arena, out->subs_len, sizeof *out->subs);
    for (uint32_t s = 0; s < out->subs_len; s++) {
        const stopology_sub *sub = &c->value->subtopologies[s];

        out->subs[s] = (struct sticky_sub){
            .id = arena_copy(&out->arena, sub->subtopology_id),
            .tasks = tasks_of_sub(c, sub),
            .stateful = sub->state_changelog_topics_len > 0,
        };
        total += out->subs[s].tasks;
        for (int32_t i = 0; i < sub->state_changelog_topics_len; i++)
            decide(c, sub->state_changelog_topics[i].name, out->subs[s].tasks);
    }
    return total <= STREAMS_TASKS_MAX ||
           invalid(c, SLICE("The topology has too many tasks."));
}

/* ---- 5. internal topics --------------------------------------------------*/

static void add_missing(struct conf *c, const stopology_topic *topic,
                        int32_t count)
{
    struct arena *arena = &c->out->arena;
    struct create_topics_request_creatable_topic *to =
        &c->out->missing[c->out->missing_len++];

    create_topics_request_creatable_topic_init(to);
    to->name = arena_copy(arena, topic->name);
    to->num_partitions = count;
    to->replication_factor =
        topic->replication_factor != 0 ? topic->replication_factor : -1;
    to->configs = arena_array(arena, (size_t)topic->topic_configs_len,
                              sizeof *to->configs);
    to->configs_len = topic->topic_configs_len;
    for (int32_t i = 0; i < topic->topic_configs_len; i++) {
        to->configs[i].name = arena_copy(arena, topic->topic_configs[i].key);
        to->configs[i].value = arena_copy(arena, topic->topic_configs[i].value);
    }
}

/* `seen`: topics that were looked at. */
static bool look_at(struct conf *c, struct map *seen,
                    const stopology_topic *topics, int32_t len)
{
    for (int32_t i = 0; i < len; i++) {
        int32_t want = topics[i].partitions, have;

        if (map_put(seen, topics[i].name, c) != NULL)
            continue;
        if (want == 0)
            ASSERT(decided(c, topics[i].name, &want));
        if (!exists(c, topics[i].name, &have)) {
            add_missing(c, &topics[i], want);
        } else if (have != want) {
            c->out->missing_len = 0;
            c->out->subs_len = 0;
            return blocked(
                c, STREAMS_INCORRECTLY_PARTITIONED_TOPICS,
                arena_printf(c->arena,
                             "Internal topic %.*s has %d partitions, not %d",
                             SLICE_FMT(topics[i].name), have, want));
        }
    }
    return true;
}

static bool look_at_internal(struct conf *c, struct map *seen)
{
    size_t room = 0;
    bool fits = true;

    for (int32_t s = 0; s < c->value->subtopologies_len; s++)
        room +=
            (size_t)(c->value->subtopologies[s].state_changelog_topics_len +
                     c->value->subtopologies[s].repartition_source_topics_len);
    c->out->missing =
        arena_array(&c->out->arena, room, sizeof *c->out->missing);
    for (int32_t s = 0; fits && s < c->value->subtopologies_len; s++) {
        const stopology_sub *sub = &c->value->subtopologies[s];

        fits = look_at(c, seen, sub->repartition_source_topics,
                       sub->repartition_source_topics_len) &&
               look_at(c, seen, sub->state_changelog_topics,
                       sub->state_changelog_topics_len);
    }
    return fits;
}

static bool find_internal(struct conf *c)
{
    struct names missing = {0};
    struct map seen = {0};
    bool fits = look_at_internal(c, &seen);

    map_free(&seen);
    if (!fits)
        return false;
    for (uint32_t i = 0; i < c->out->missing_len; i++)
        name_one(c, &missing, c->out->missing[i].name);
    return missing.len == 0 ||
           blocked(c, STREAMS_MISSING_INTERNAL_TOPICS,
                   sentence(c, "Internal topics are missing", &missing));
}

/* ---- all of it -----------------------------------------------------------*/

/* A sum, so that the order does not matter. */
static int64_t hash_topics(const struct conf *c)
{
    uint64_t sum = 0;
    uint32_t len;
    struct slice *names = stopology_topics(c->arena, c->value, &len);

    for (uint32_t i = 0; i < len; i++) {
        struct consumer_topic topic;
        struct buf bytes = BUF_INIT;

        if (!c->world->topic_by_name(c->world->arg, names[i], &topic))
            continue;
        buf_put_slice(&bytes, uuid_slice(&topic.id));
        buf_put_u32(&bytes, (uint32_t)topic.partitions);
        buf_put_slice(&bytes, names[i]);
        sum += hash_bytes(bytes.data, bytes.len);
        buf_free(&bytes);
    }
    return (int64_t)sum;
}

enum err stopology_configure(const stopology_value *value,
                             const struct streams_world *world,
                             struct arena *arena, struct sconfig **config,
                             struct slice *why)
{
    struct conf c = {.value = value, .world = world, .arena = arena};

    c.out = xcalloc(1, sizeof *c.out);
    arena_init(&c.out->arena, 0);
    c.out->hash = hash_topics(&c);
    c.out->ready = find_sources(&c) && decide_repartition(&c) &&
                   copartition(&c) && count_tasks(&c) && find_internal(&c);
    map_free(&c.decided);
    map_free(&c.fixed);
    map_free(&c.internal);
    *config = c.out;
    if (!c.invalid)
        return ERR_NONE;
    *why = c.why;
    sconfig_free(c.out);
    *config = NULL;
    return ERR_STREAMS_INVALID_TOPOLOGY;
}

void sconfig_free(struct sconfig *config)
{
    if (config == NULL)
        return;
    arena_free(&config->arena);
    free(config);
}

static int compare_sub(const void *id, const void *sub)
{
    return slice_cmp(*(const struct slice *)id,
                     ((const struct sticky_sub *)sub)->id);
}

const struct sticky_sub *sconfig_sub(const struct sconfig *config,
                                     struct slice id)
{
    return config->subs_len == 0 ? NULL
                                 : bsearch(&id, config->subs, config->subs_len,
                                           sizeof *config->subs, compare_sub);
}
