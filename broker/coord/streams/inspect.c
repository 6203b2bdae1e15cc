/* Looking at a coordinator from outside: its invariants, and what survives of
 * it as text. */
#include "broker/coord/streams/streams.h"

#include <stdlib.h>

static const char *const kind_names[TASK_KINDS] = {"active", "standby",
                                                   "warmup"};

/* ---- invariants ----------------------------------------------------------*/

static void check_set(struct tasks set)
{
    for (uint32_t i = 1; i < set.len; i++)
        ASSERT(task_cmp(&set.items[i - 1], &set.items[i]) < 0);
}

static bool holds(const struct sholders *of, const struct stmember *member,
                  enum task_kind kind)
{
    if (kind == TASK_ACTIVE)
        return of->active == member;
    for (uint32_t i = 0; i < of->others_len; i++)
        if (of->others[i] == member)
            return true;
    return false;
}

/* It has what it has, so nobody else is active in it. */
static uint32_t check_has(const struct stmember *member,
                          const struct tuple *tasks)
{
    for (int k = 0; k < TASK_KINDS; k++) {
        check_set(tasks->of[k]);
        for (uint32_t i = 0; i < tasks->of[k].len; i++) {
            const struct task *t = &tasks->of[k].items[i];
            const struct sholders *of =
                stgroup_holders(member->group, t->sub, t->partition);

            ASSERT(of != NULL && holds(of, member, (enum task_kind)k));
        }
    }
    return tuple_len(tasks);
}

static uint32_t check_member(const struct streams_coord *coord,
                             const struct stmember *member)
{
    const struct scurrent *current = &member->current;

    ASSERT(member->has_profile || member->has_target || member->has_current);
    ASSERT(member->has_target || tuple_is_empty(&member->target));
    ASSERT(member->has_current || (tuple_is_empty(&current->assigned) &&
                                   tuple_is_empty(&current->revoking)));
    ASSERT(tuple_is_empty(&current->revoking) ||
           current->state == SSTATE_UNREVOKED ||
           current->state == SSTATE_UNKNOWN);
    ASSERT(!tuple_overlap(&current->assigned, &current->revoking));
    for (int k = 0; k < TASK_KINDS; k++)
        check_set(member->target.of[k]);
    if (coord->life == STREAMS_ACTIVE) {
        ASSERT(heap_has(&member->session.node) == member->has_profile);
        ASSERT(!heap_has(&member->rebalance.node) ||
               current->state == SSTATE_UNREVOKED);
    }
    return check_has(member, &current->assigned) +
           check_has(member, &current->revoking);
}

static uint32_t held(const struct stgroup *group)
{
    uint32_t total = 0;

    MAP_EACH (entry, &group->subs) {
        const struct ssub *sub = entry->value;

        ASSERT(slice_eq(sub->name, entry->key));
        for (uint32_t p = 0; p < sub->cap; p++)
            total += (sub->of[p].active != NULL) + sub->of[p].others_len;
    }
    return total;
}

static size_t check_group(const struct streams_coord *coord,
                          const struct stgroup *group)
{
    size_t bytes = stgroup_bytes(group->id) + group->topology_bytes;
    uint32_t size = 0, has = 0;

    MAP_EACH (entry, &group->members) {
        const struct stmember *member = entry->value;

        ASSERT(member->group == group && slice_eq(member->id, entry->key));
        has += check_member(coord, member);
        size += member->has_profile;
        bytes += member->bytes;
    }
    ASSERT(size == group->size);
    ASSERT(has == held(group));
    ASSERT(group->config == NULL || group->topology != NULL);
    ASSERT(!group->delayed || heap_has(&group->assign.node));
    if (coord->life == STREAMS_ACTIVE)
        ASSERT(heap_has(&group->empty.node) == (group->size == 0));
    ASSERT((group->wants_len != 0) <= (group->topology != NULL));
    return bytes;
}

void streams_coord_check(const struct streams_coord *coord)
{
    size_t bytes = 0;

    MAP_EACH (entry, &coord->groups) {
        const struct stgroup *group = entry->value;

        ASSERT(slice_eq(group->id, entry->key));
        bytes += check_group(coord, group);
    }
    ASSERT(bytes == coord->bytes);
    MAP_EACH (entry, &coord->topics)
        ASSERT(!list_empty(&((const struct stopic *)entry->value)->groups));
    ASSERT(coord->settled <= coord->appends);
}

/* ---- what survives -------------------------------------------------------*/

struct lines {
    struct buf *items; /* owned, each owned */
    uint32_t len;
    uint32_t cap;
};

static struct buf *line(struct lines *lines)
{
    if (lines->len == lines->cap) {
        lines->cap = lines->cap * 2 + 16;
        lines->items =
            xrealloc(lines->items, lines->cap * sizeof *lines->items);
    }
    lines->items[lines->len] = BUF_INIT;
    return &lines->items[lines->len++];
}

static void put_text(struct buf *out, const char *name, struct slice text)
{
    if (!slice_is_null(text))
        buf_printf(out, " %s=%.*s", name, SLICE_FMT(text));
}

static void put_tasks(struct buf *out, const char *name,
                      const struct tuple *tasks)
{
    for (int k = 0; k < TASK_KINDS; k++) {
        buf_printf(out, " %s-%s=[", name, kind_names[k]);
        for (uint32_t i = 0; i < tasks->of[k].len; i++)
            buf_printf(out, "%s%.*s_%d@%d", i == 0 ? "" : " ",
                       SLICE_FMT(tasks->of[k].items[i].sub),
                       tasks->of[k].items[i].partition,
                       tasks->of[k].items[i].epoch);
        buf_printf(out, "]");
    }
}

static void dump_member(struct lines *lines, const struct stmember *m)
{
    const struct stprofile *p = &m->profile;
    struct buf *out = line(lines);

    buf_printf(out, "%.*s member %.*s", SLICE_FMT(m->group->id),
               SLICE_FMT(m->id));
    put_text(out, "instance", p->instance_id);
    put_text(out, "rack", p->rack_id);
    put_text(out, "client", p->client_id);
    put_text(out, "host", p->client_host);
    put_text(out, "process", p->process_id);
    for (uint32_t i = 0; i < p->tags_len; i++) {
        put_text(out, "key", p->tags[i].key);
        put_text(out, "value", p->tags[i].value);
    }
    if (p->has_endpoint)
        buf_printf(out, " endpoint=%.*s:%u", SLICE_FMT(p->endpoint_host),
                   p->endpoint_port);
    buf_printf(out, " rebalance=%d topology=%d", p->rebalance_timeout_ms,
               p->topology_epoch);
    out = line(lines);
    buf_printf(out, "%.*s target %.*s", SLICE_FMT(m->group->id),
               SLICE_FMT(m->id));
    put_tasks(out, "of", &m->target);
    out = line(lines);
    buf_printf(out, "%.*s current %.*s epoch=%d previous=%d state=%d",
               SLICE_FMT(m->group->id), SLICE_FMT(m->id), m->current.epoch,
               m->current.previous_epoch, (int)m->current.state);
    put_tasks(out, "assigned", &m->current.assigned);
    put_tasks(out, "revoking", &m->current.revoking);
}

static void dump_group(struct lines *lines, const struct stgroup *group)
{
    struct buf *out = line(lines);

    buf_printf(out,
               "%.*s group epoch=%d hash=%016llx valid=%d standbys=%d "
               "target=%d at=%lld",
               SLICE_FMT(group->id), group->epoch,
               (unsigned long long)group->hash, group->valid_epoch,
               group->standbys, group->target_epoch,
               (long long)group->target_wall_ms);
    if (group->topology != NULL) {
        struct slice bytes = buf_slice(&group->topology->bytes);

        out = line(lines);
        buf_printf(out, "%.*s topology epoch=%d bytes=%zu hash=%016llx",
                   SLICE_FMT(group->id), group->topology->value->epoch,
                   bytes.len,
                   (unsigned long long)hash_bytes(bytes.data, bytes.len));
    }
    MAP_EACH (entry, &group->members)
        dump_member(lines, entry->value);
}

static int compare_lines(const void *a, const void *b)
{
    return slice_cmp(buf_slice(a), buf_slice(b));
}

void streams_coord_dump(const struct streams_coord *coord, struct buf *out)
{
    struct lines lines = {0};

    MAP_EACH (entry, &coord->groups)
        dump_group(&lines, entry->value);
    if (lines.len != 0)
        qsort(lines.items, lines.len, sizeof *lines.items, compare_lines);
    for (uint32_t i = 0; i < lines.len; i++) {
        buf_put_slice(out, buf_slice(&lines.items[i]));
        buf_put_u8(out, '\n');
        buf_free(&lines.items[i]);
    }
    free(lines.items);
}
