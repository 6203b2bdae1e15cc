#include "broker/once.h"

#include <stdlib.h>

/* ---- names ---------------------------------------------------------------*/

struct named {
    int32_t scope;
    int32_t at; /* in the request */
    struct slice name;
};

static int compare_names(const struct named *a, const struct named *b)
{
    if (a->scope != b->scope)
        return a->scope < b->scope ? -1 : 1;
    return slice_cmp(a->name, b->name);
}

static int by_name(const void *left, const void *right)
{
    const struct named *a = left, *b = right;
    int order = compare_names(a, b);

    return order != 0 ? order : (a->at > b->at) - (a->at < b->at);
}

/* Sorts them. */
static int32_t *firsts_of(struct named *names, int32_t len)
{
    int32_t *firsts = xcalloc((size_t)len + 1, sizeof *firsts);

    qsort(names, (size_t)len, sizeof *names, by_name);
    for (int32_t i = 0; i < len; i++)
        firsts[names[i].at] =
            i > 0 && compare_names(&names[i - 1], &names[i]) == 0
                ? firsts[names[i - 1].at]
                : names[i].at;
    return firsts;
}

static const void *field(const void *items, int32_t i, struct once_field f)
{
    return (const uint8_t *)items + (size_t)i * f.item_bytes + f.at;
}

int32_t *once_firsts(const void *items, int32_t len, struct once_field name)
{
    struct named *names = xcalloc((size_t)len + 1, sizeof *names);

    for (int32_t i = 0; i < len; i++) {
        names[i].at = i;
        memcpy(&names[i].name, field(items, i, name), sizeof names[i].name);
    }
    int32_t *firsts = firsts_of(names, len);
    free(names);
    return firsts;
}

static void move(void *items, int32_t to, int32_t from, size_t item_bytes)
{
    uint8_t *bytes = items;

    if (to != from)
        memcpy(bytes + (size_t)to * item_bytes,
               bytes + (size_t)from * item_bytes, item_bytes);
}

int32_t once_names(void *items, int32_t len, struct once_field name)
{
    int32_t kept = 0;

    if (len <= 1)
        return len;
    int32_t *firsts = once_firsts(items, len, name);
    for (int32_t i = 0; i < len; i++)
        if (firsts[i] == i)
            move(items, kept++, i, name.item_bytes);
    free(firsts);
    return kept;
}

/* ---- partitions ----------------------------------------------------------*/

struct mention {
    int32_t topic; /* the first mention's */
    int32_t index;
    size_t at; /* among all mentions of partitions */
};

static int by_partition(const void *left, const void *right)
{
    const struct mention *a = left, *b = right;

    if (a->topic != b->topic)
        return a->topic < b->topic ? -1 : 1;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

static bool same_partition(const struct mention *a, const struct mention *b)
{
    return a->topic == b->topic && a->index == b->index;
}

static int32_t index_at(const struct once_topic *topic, int32_t i,
                        struct once_field index)
{
    int32_t value;

    memcpy(&value, field(topic->partitions, i, index), sizeof value);
    return value;
}

/* As most clients send them. */
static bool rises(const struct once_topic *topic, struct once_field index)
{
    for (int32_t i = 1; i < *topic->partitions_len; i++)
        if (index_at(topic, i - 1, index) >= index_at(topic, i, index))
            return false;
    return true;
}

static int32_t *topic_firsts(const struct once_topic *topics, int32_t len)
{
    struct named *names = xcalloc((size_t)len + 1, sizeof *names);

    for (int32_t i = 0; i < len; i++)
        names[i] = (struct named){topics[i].scope, i, topics[i].name};
    int32_t *firsts = firsts_of(names, len);
    free(names);
    return firsts;
}

static bool may_repeat(const struct once_topic *topics, const int32_t *firsts,
                       int32_t len, struct once_field index)
{
    for (int32_t i = 0; i < len; i++)
        if (firsts[i] != i || !rises(&topics[i], index))
            return true;
    return false;
}

static struct mention *mentions_of(const struct once_topic *topics,
                                   const int32_t *firsts, int32_t len,
                                   struct once_field index, size_t *count)
{
    struct mention *mentions;
    size_t n = 0;

    for (int32_t t = 0; t < len; t++)
        n += (size_t)*topics[t].partitions_len;
    mentions = xcalloc(n + 1, sizeof *mentions);
    *count = n;
    n = 0;
    for (int32_t t = 0; t < len; t++)
        for (int32_t i = 0; i < *topics[t].partitions_len; i++, n++)
            mentions[n] =
                (struct mention){firsts[t], index_at(&topics[t], i, index), n};
    return mentions;
}

/* By the mentions' places: whether it is to go. */
static bool *repeats_of(struct mention *mentions, size_t count,
                        enum once_keep keep)
{
    bool *repeats = xcalloc(count + 1, sizeof *repeats);

    qsort(mentions, count, sizeof *mentions, by_partition);
    for (size_t i = 1; i < count; i++)
        if (same_partition(&mentions[i - 1], &mentions[i]))
            repeats[mentions[keep == ONCE_FIRST ? i : i - 1].at] = true;
    return repeats;
}

void once_partitions(struct once_topic *topics, int32_t len,
                     struct once_field index, enum once_keep keep)
{
    int32_t *firsts = topic_firsts(topics, len);

    if (may_repeat(topics, firsts, len, index)) {
        size_t count, n = 0;
        struct mention *mentions =
            mentions_of(topics, firsts, len, index, &count);
        bool *repeats = repeats_of(mentions, count, keep);

        for (int32_t t = 0; t < len; t++) {
            int32_t named = *topics[t].partitions_len, kept = 0;

            for (int32_t i = 0; i < named; i++)
                if (!repeats[n++])
                    move(topics[t].partitions, kept++, i, index.item_bytes);
            *topics[t].partitions_len = kept;
            topics[t].emptied = kept < named && kept == 0;
        }
        free(repeats);
        free(mentions);
    }
    free(firsts);
}
