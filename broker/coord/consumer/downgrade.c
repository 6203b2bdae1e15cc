/* A consumer group becomes a classic group (KIP-848, "Online Downgrade";
 * conditions as in Kafka's GroupMetadataManager, convertToClassicGroup()).
 *
 * It does so when the last members of the new protocol are gone, or one of them
 * is replaced by a static member that uses the classic one, and others are
 * left: the tombstones of the group and the record of the classic group are one
 * write, in one batch.  The epoch becomes the generation.
 *
 * Each member's assignment is what it may have now, so no partition has two
 * owners whenever it is handed out.  (Kafka writes what it shall have, which
 * another may not have given up.)  Where that is not all, or somebody is gone
 * or was told another protocol than the one that the group has now, the record
 * names no leader: the classic coordinator, this one or any that
 * loads it, begins with a rebalance.
 *
 * Many members with long subscriptions may not fit into a batch.  Then it stays
 * a consumer group, of members that use the classic protocol, and whoever was
 * to go goes; the next one that goes asks again. */
#include "broker/coord/consumer/consumer.h"
#include "broker/coord/consumer/embedded.h"
#include "broker/coord/runtime.h"

#include "base/log.h"

/* ---- whether -------------------------------------------------------------*/

static bool stays(const struct cmember *member, const struct cmember *replaced)
{
    return member->has_profile && !member->leaving && member != replaced;
}

static const char *why_not(const struct consumer_coord *coord, uint32_t size)
{
    if (!coord->config.downgrade)
        return "group.consumer.migration.policy does not allow it";
    return size > (uint32_t)coord->config.group_max_size
               ? "it is larger than group.max.size"
               : NULL;
}

bool cdowngrade_is_due(const struct consumer_coord *coord,
                       const struct cgroup *group, uint32_t leaving_len,
                       const struct cmember *replaced)
{
    uint32_t left = group->size - leaving_len;
    uint32_t classics = replaced != NULL ? 1 : 0; /* who comes instead */
    const char *why;

    if (coord->classics.arg == NULL || left == 0 ||
        (replaced == NULL && group->classics == 0))
        return false;
    MAP_EACH (entry, &group->members) {
        const struct cmember *member = entry->value;

        classics += stays(member, replaced) && member->profile.classic;
    }
    if (classics != left)
        return false;
    why = why_not(coord, left);
    if (why != NULL)
        log_info("groups", "group %.*s does not become a classic group: %s",
                 SLICE_FMT(group->id), why);
    return why == NULL;
}

/* ---- the protocol that all support ---------------------------------------*/

static handover_protocol *protocols_of(const struct cprofile *p,
                                       struct arena *arena)
{
    handover_protocol *protocols =
        arena_array(arena, p->protocols_len, sizeof *protocols);

    for (uint32_t i = 0; i < p->protocols_len; i++)
        protocols[i] =
            (handover_protocol){p->protocols[i].name, p->protocols[i].metadata};
    return protocols;
}

/* NULL: it does not support it. */
static const handover_protocol *find_protocol(const struct handover_member *m,
                                              struct slice name)
{
    for (int32_t i = 0; i < m->protocols_len; i++)
        if (slice_eq(m->protocols[i].name, name))
            return &m->protocols[i];
    return NULL;
}

/* How many have a use for each. */
static void count_support(const struct handover_group *g, struct map *supports)
{
    for (uint32_t m = 0; m < g->members_len; m++)
        for (int32_t i = 0; i < g->members[m].protocols_len; i++) {
            const handover_protocol *p = &g->members[m].protocols[i];

            if (find_protocol(&g->members[m], p->name) == p)
                map_put(supports, p->name,
                        (void *)((uintptr_t)map_get(supports, p->name) + 1));
        }
}

/* A member's first choice among those that all support; null: there is none. */
static struct slice vote_of(const struct handover_group *g,
                            const struct handover_member *m,
                            const struct map *supports)
{
    for (int32_t i = 0; i < m->protocols_len; i++)
        if ((uintptr_t)map_get(supports, m->protocols[i].name) ==
            g->members_len)
            return m->protocols[i].name;
    return SLICE_NULL;
}

/* Most votes; among equals the one that was voted for first. */
static struct slice elect(const struct handover_group *g)
{
    struct map supports = MAP_INIT, votes = MAP_INIT;
    struct slice winner = SLICE_NULL;
    uintptr_t most = 0;

    count_support(g, &supports);
    for (uint32_t m = 0; m < g->members_len; m++) {
        struct slice vote = vote_of(g, &g->members[m], &supports);
        uintptr_t count = (uintptr_t)map_get(&votes, vote) + 1;

        if (!slice_is_null(vote))
            map_put(&votes, vote, (void *)count);
    }
    for (uint32_t m = 0; m < g->members_len; m++) {
        struct slice vote = vote_of(g, &g->members[m], &supports);

        if ((uintptr_t)map_get(&votes, vote) > most) {
            most = (uintptr_t)map_get(&votes, vote);
            winner = vote;
        }
    }
    map_free(&supports);
    map_free(&votes);
    return winner;
}

/* ---- members -------------------------------------------------------------*/

/* Its assignment is put in when the protocol is known. */
static void add_member(struct handover_group *g, struct slice id,
                       const struct cprofile *p, struct arena *arena)
{
    g->members[g->members_len++] = (struct handover_member){
        .id = id,
        .instance_id = p->instance_id,
        .client_id = p->client_id,
        .client_host = p->client_host,
        .session_timeout_ms = p->session_timeout_ms,
        .rebalance_timeout_ms = p->rebalance_timeout_ms,
        .protocols = protocols_of(p, arena),
        .protocols_len = (int32_t)p->protocols_len,
    };
}

static void put_assignment(const struct consumer_coord *coord,
                           const struct handover_group *g,
                           struct handover_member *to, struct parts assigned,
                           struct arena *arena)
{
    const handover_protocol *p = find_protocol(to, g->protocol_name);

    to->subscription = p != NULL ? p->metadata : SLICE("");
    to->assignment =
        embedded_put(assigned, &coord->world, to->subscription, arena);
}

/* Members of a damaged log may have no protocol in common: then they choose one
 * when they join again, as those that do not fit are refused. */
static void take_protocol(struct handover_group *g)
{
    struct slice name = elect(g);

    if (slice_is_null(name)) {
        g->rebalances = true;
        name = g->members[0].protocols_len > 0 ? g->members[0].protocols[0].name
                                               : SLICE("");
    }
    g->protocol_name = name;
}

/* JoinGroup named to each member the protocol that it prefers, which SyncGroup
 * repeats. */
static bool were_told_otherwise(const struct handover_group *g, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        const struct handover_member *m = &g->members[i];

        if (m->protocols_len > 0 &&
            !slice_eq(m->protocols[0].name, g->protocol_name))
            return true;
    }
    return false;
}

static bool fits(struct consumer_coord *coord, const struct cgroup *group,
                 struct consumer_write *write)
{
    if (coord_pending_fits(&write->pending, coord->config.batch_max_bytes))
        return true;
    log_info("groups",
             "group %.*s does not become a classic group: its record is larger "
             "than a batch of %u bytes",
             SLICE_FMT(group->id), coord->config.batch_max_bytes);
    coord_records_free(&write->pending.records);
    return false;
}

bool cdowngrade(struct cstep *step, struct consumer_write *write,
                const struct cgroup *group, struct creplacement *by,
                bool rebalances)
{
    const struct cmember *replaced = by != NULL ? by->replaced : NULL;
    struct consumer_coord *coord = step->coord;
    struct coord_records *records = &write->pending.records;
    struct handover_group g = {
        .id = group->id,
        .protocol_type = SLICE("consumer"),
        .generation = group->epoch,
        .rebalances = rebalances,
    };
    struct arena arena;
    uint32_t i = 0;

    arena_init(&arena, 0);
    g.members = arena_array(&arena, group->size, sizeof *g.members);
    MAP_EACH (entry, &group->members) {
        const struct cmember *member = entry->value;

        if (stays(member, replaced))
            add_member(&g, member->id, &member->profile, &arena);
    }
    if (by != NULL)
        add_member(&g, by->id, by->profile, &arena);
    take_protocol(&g);
    MAP_EACH (entry, &group->members) {
        const struct cmember *member = entry->value;

        if (stays(member, replaced))
            put_assignment(coord, &g, &g.members[i++], member->current.assigned,
                           &arena);
    }
    if (were_told_otherwise(&g, i))
        g.rebalances = true;
    if (by != NULL) {
        by->protocol = g.protocol_name;
        put_assignment(coord, &g, &g.members[i], replaced->current.assigned,
                       &arena);
    }
    cwrite_group_gone(records, group);
    coord->classics.store(coord->classics.arg, &g, step->time.wall_ms, records);
    arena_free(&arena);
    write->pending.atomic = fits(coord, group, write);
    if (write->pending.atomic)
        log_info("groups", "group %.*s becomes a classic group of %u members",
                 SLICE_FMT(group->id), g.members_len);
    return write->pending.atomic;
}
