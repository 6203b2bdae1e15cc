/* Looking at a coordinator from outside: its invariants, and what survives of
 * it as text. */
#include "broker/coord/consumer/consumer.h"

#include <stdlib.h>

/* ---- invariants ----------------------------------------------------------*/

static void check_set(struct parts set)
{
    for (uint32_t i = 1; i < set.len; i++)
        ASSERT(part_cmp(&set.items[i - 1], &set.items[i]) < 0);
}

/* It owns what it has, so nobody else does. */
static uint32_t check_owned(const struct cmember *member, struct parts set)
{
    check_set(set);
    for (uint32_t i = 0; i < set.len; i++) {
        const struct part *p = &set.items[i];

        ASSERT(cgroup_owner(member->group, p->topic, p->partition) == member);
    }
    return set.len;
}

static uint32_t check_member(const struct consumer_coord *coord,
                             const struct cmember *member)
{
    const struct cgroup *group = member->group;
    const struct ccurrent *current = &member->current;
    const struct cprofile *p = &member->profile;

    ASSERT(member->has_profile || member->has_target || member->has_current);
    ASSERT(member->has_target || member->target.len == 0);
    ASSERT(member->has_current ||
           current->assigned.len + current->revoking.len == 0);
    ASSERT(current->revoking.len == 0 || current->state == CSTATE_UNREVOKED ||
           current->state == CSTATE_UNKNOWN);
    ASSERT(!member->has_profile || current->epoch <= group->epoch);
    check_set(member->target);
    if (coord->life == CONSUMER_ACTIVE) {
        ASSERT(heap_has(&member->session.node) == member->has_profile);
        ASSERT(!heap_has(&member->rebalance.node) ||
               current->state == CSTATE_UNREVOKED);
        ASSERT(p->classic ? !heap_has(&member->rebalance.node)
                          : !heap_has(&member->join.node) &&
                                !heap_has(&member->sync.node));
    }
    ASSERT(!member->leaving);
    ASSERT(p->classic || p->protocols_len == 0);
    if (member->has_profile && !slice_is_null(p->instance_id))
        ASSERT(cgroup_static(group, p->instance_id) == member);
    for (uint32_t i = 0; i < p->names_len; i++)
        ASSERT(map_get(&group->subscriptions, p->names[i]) != NULL);
    return check_owned(member, current->assigned) +
           check_owned(member, current->revoking);
}

static uint32_t owners_count(const struct cgroup *group)
{
    uint32_t total = 0;

    MAP_EACH (entry, &group->owners) {
        const struct cowners *owners = entry->value;
        uint32_t count = 0;

        for (uint32_t i = 0; i < owners->cap; i++)
            count += owners->of[i] != NULL;
        ASSERT(count == owners->count && count > 0);
        total += count;
    }
    return total;
}

/* How often members and regexes name topics must be what is counted. */
static void check_subscriptions(const struct cgroup *group)
{
    uint64_t counted = 0, named = 0;

    MAP_EACH (entry, &group->subscriptions) {
        const struct csubscription *s = entry->value;

        ASSERT(s->group == group && s->count > 0);
        ASSERT(slice_eq(s->topic->name, entry->key));
        counted += s->count;
    }
    MAP_EACH (entry, &group->members)
        named += ((const struct cmember *)entry->value)->profile.names_len;
    MAP_EACH (entry, &group->regexes) {
        const struct cregex *regex = entry->value;

        ASSERT(regex->members != 0 || regex->resolved);
        named += regex->topics_len;
    }
    ASSERT(counted == named);
}

static size_t check_group(const struct consumer_coord *coord,
                          const struct cgroup *group)
{
    uint32_t size = 0, owned = 0, statics = 0, classics = 0;
    size_t bytes = 0;

    MAP_EACH (entry, &group->members) {
        const struct cmember *member = entry->value;

        ASSERT(member->group == group && slice_eq(member->id, entry->key));
        owned += check_member(coord, member);
        size += member->has_profile;
        classics += member->has_profile && member->profile.classic;
        statics +=
            member->has_profile && !slice_is_null(member->profile.instance_id);
        bytes += member->bytes;
    }
    ASSERT(size == group->size);
    ASSERT(classics == group->classics);
    ASSERT(classics != 0 || map_count(&group->protocols) == 0);
    ASSERT(statics == map_count(&group->by_instance));
    ASSERT(owned == owners_count(group));
    check_subscriptions(group);
    return bytes;
}

void consumer_coord_check(const struct consumer_coord *coord)
{
    size_t bytes = 0;

    MAP_EACH (entry, &coord->groups) {
        const struct cgroup *group = entry->value;

        ASSERT(slice_eq(group->id, entry->key));
        bytes += check_group(coord, group);
    }
    ASSERT(bytes == coord->bytes);
    MAP_EACH (entry, &coord->topics)
        ASSERT(!list_empty(&((const struct ctopic *)entry->value)->groups));
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

static void put_parts(struct buf *out, const char *name, struct parts set)
{
    char text[UUID_TEXT_SIZE];

    buf_printf(out, " %s=[", name);
    for (uint32_t at = 0, run; at < set.len; at += run) {
        run = parts_run(set, at);
        buf_printf(out, "%s%s:", at == 0 ? "" : " ",
                   uuid_format(set.items[at].topic, text));
        for (uint32_t i = at; i < at + run; i++)
            buf_printf(out, "%s%d@%d", i == at ? "" : ",",
                       set.items[i].partition, set.items[i].epoch);
    }
    buf_printf(out, "]");
}

static void dump_member(struct lines *lines, const struct cmember *m)
{
    const struct cprofile *p = &m->profile;
    struct buf *out = line(lines);

    buf_printf(out, "%.*s member %.*s", SLICE_FMT(m->group->id),
               SLICE_FMT(m->id));
    put_text(out, "instance", p->instance_id);
    put_text(out, "rack", p->rack_id);
    put_text(out, "client", p->client_id);
    put_text(out, "host", p->client_host);
    put_text(out, "regex", p->regex);
    put_text(out, "assignor", p->assignor);
    for (uint32_t i = 0; i < p->names_len; i++)
        put_text(out, "topic", p->names[i]);
    buf_printf(out, " rebalance=%d", p->rebalance_timeout_ms);
    if (p->classic)
        buf_printf(out, " classic session=%d", p->session_timeout_ms);
    for (uint32_t i = 0; i < p->protocols_len; i++)
        buf_printf(
            out, " protocol=%.*s:%016llx", SLICE_FMT(p->protocols[i].name),
            (unsigned long long)hash_bytes(p->protocols[i].metadata.data,
                                           p->protocols[i].metadata.len));
    out = line(lines);
    buf_printf(out, "%.*s target %.*s", SLICE_FMT(m->group->id),
               SLICE_FMT(m->id));
    put_parts(out, "of", m->target);
    out = line(lines);
    buf_printf(out, "%.*s current %.*s epoch=%d previous=%d state=%d",
               SLICE_FMT(m->group->id), SLICE_FMT(m->id), m->current.epoch,
               m->current.previous_epoch, (int)m->current.state);
    put_parts(out, "assigned", m->current.assigned);
    put_parts(out, "revoking", m->current.revoking);
}

static void dump_regex(struct lines *lines, const struct cgroup *group,
                       struct slice pattern, const struct cregex *regex)
{
    struct buf *out = line(lines);

    buf_printf(out, "%.*s regex %.*s members=%u", SLICE_FMT(group->id),
               SLICE_FMT(pattern), regex->members);
    if (regex->resolved)
        buf_printf(out, " version=%lld at=%lld",
                   (long long)regex->topics_version, (long long)regex->wall_ms);
    for (uint32_t i = 0; i < regex->topics_len; i++)
        put_text(out, "topic", regex->topics[i]);
}

static void dump_group(struct lines *lines, const struct cgroup *group)
{
    struct buf *out = line(lines);

    buf_printf(out, "%.*s group epoch=%d hash=%016llx target=%d at=%lld",
               SLICE_FMT(group->id), group->epoch,
               (unsigned long long)group->hash, group->target_epoch,
               (long long)group->target_wall_ms);
    MAP_EACH (entry, &group->members)
        dump_member(lines, entry->value);
    MAP_EACH (entry, &group->regexes)
        dump_regex(lines, group, entry->key, entry->value);
}

static int compare_lines(const void *a, const void *b)
{
    return slice_cmp(buf_slice(a), buf_slice(b));
}

void consumer_coord_dump(const struct consumer_coord *coord, struct buf *out)
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
