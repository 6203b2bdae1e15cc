/* Invariants, and the surviving state as text. */
#include "broker/coord/share_group/sgroup.h"

#include <stdlib.h>

/* ---- invariants ----------------------------------------------------------*/

static void check_set(struct parts set)
{
    for (uint32_t i = 1; i < set.len; i++)
        ASSERT(part_cmp(&set.items[i - 1], &set.items[i]) < 0);
}

static size_t check_group(const struct sgroup *group)
{
    uint32_t size = 0;
    size_t bytes = sgroup_bytes(group->id);

    MAP_EACH (entry, &group->members) {
        const struct smember *member = entry->value;

        ASSERT(member->group == group);
        ASSERT(member->has_profile || member->has_target ||
               member->has_current);
        check_set(member->target);
        check_set(member->assigned);
        size += member->has_profile;
        bytes += member->bytes;
    }
    ASSERT(size == group->size);
    check_set(group->states.initializing);
    check_set(group->states.initialized);
    return bytes;
}

void share_group_check(const struct share_group_coord *coord)
{
    size_t bytes = 0;

    MAP_EACH (entry, &coord->groups)
        bytes += check_group(entry->value);
    ASSERT(bytes == coord->bytes);
    ASSERT(coord->settled <= coord->appends);
}

/* ---- text ----------------------------------------------------------------*/

static void put_set(struct buf *out, const char *what, struct parts set)
{
    char text[UUID_TEXT_SIZE];

    if (set.len == 0)
        return;
    buf_printf(out, " %s", what);
    for (uint32_t i = 0; i < set.len; i++)
        buf_printf(out, " %s-%d", uuid_format(set.items[i].topic, text),
                   (int)set.items[i].partition);
}

static int by_key(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static struct slice *sorted_keys(const struct map *map)
{
    struct slice *keys = xcalloc(map_count(map) + 1, sizeof *keys);
    size_t len = 0;

    MAP_EACH (entry, map)
        keys[len++] = entry->key;
    if (len != 0)
        qsort(keys, len, sizeof *keys, by_key);
    return keys;
}

static void put_member(struct buf *out, const struct smember *m)
{
    buf_printf(out, "  %.*s epoch %d before %d", SLICE_FMT(m->id),
               (int)m->epoch, (int)m->previous_epoch);
    for (uint32_t i = 0; i < m->profile.names_len; i++)
        buf_printf(out, " %.*s", SLICE_FMT(m->profile.names[i]));
    put_set(out, "has", m->assigned);
    put_set(out, "target", m->target);
    buf_printf(out, "\n");
}

static void put_group(struct buf *out, const struct sgroup *g)
{
    struct slice *keys = sorted_keys(&g->members);
    char text[UUID_TEXT_SIZE];

    buf_printf(out, "%.*s epoch %d target %d", SLICE_FMT(g->id), (int)g->epoch,
               (int)g->target_epoch);
    put_set(out, "initializing", g->states.initializing);
    put_set(out, "initialized", g->states.initialized);
    for (uint32_t i = 0; i < g->states.deleting_len; i++)
        buf_printf(out, " deleting %s",
                   uuid_format(g->states.deleting[i], text));
    buf_printf(out, "\n");
    for (uint32_t i = 0; i < map_count(&g->members); i++)
        put_member(out, map_get(&g->members, keys[i]));
    free(keys);
}

void share_group_dump(const struct share_group_coord *coord, struct buf *out)
{
    struct slice *keys = sorted_keys(&coord->groups);

    for (uint32_t i = 0; i < map_count(&coord->groups); i++)
        put_group(out, map_get(&coord->groups, keys[i]));
    free(keys);
}
