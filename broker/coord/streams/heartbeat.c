/* StreamsGroupHeartbeat: everything a member ever says.
 *
 *   1. It is found, or is new.
 *   2. What it says of itself is noted, and its topology, if the group has
 *      none.
 *   3. The topology is configured against the topics that exist, if either
 *      changed.
 *   4. All that changed bumps the group's epoch.
 *   5. If the group's epoch is ahead of its target, a new target is computed,
 *      unless others are waited for.
 *   6. The member takes its next step towards its part of the target.
 *   7. The answer tells it its epoch, what it may have if that changed, and
 *      what is wrong with the group.
 *
 * A heartbeat that says nothing new looks at the member and what it has, and
 * writes nothing. */
#include "broker/coord/streams/streams.h"

#include <stdlib.h>

/* One heartbeat: what is known of it so far. */
struct beat {
    struct ststep *step;
    const struct coord_context *context;
    const struct streams_group_heartbeat_request *request;
    struct coord_answer *answer;
    struct streams_write *write;
    struct arena arena;
    struct slice why; /* of an error, for clients' logs */
    struct streams_settings settings;
    struct stgroup *group;         /* NULL: to be made */
    const struct stmember *member; /* NULL: a new one */
    struct tuple owned;            /* as it says */
    bool owned_known;
    struct stprofile profile; /* as it will be */
    bool profile_changed;
    stopology_value *topology; /* the group's, or the one that will be */
    bool topology_new;
    struct sconfig *config; /* of it */
    bool config_new;        /* not the group's */
    int32_t valid_epoch;
    struct scurrent current; /* as it is */
    struct tuple target;
    int32_t target_epoch;
    enum { NOT_DELAYED, BY_START, BY_INTERVAL } delayed;
};

static struct coord_records *records_of(const struct beat *b)
{
    return &b->write->pending.records;
}

/* ---- 1. who --------------------------------------------------------------*/

static bool is_full(const struct beat *b)
{
    const struct streams_config *config = &b->step->coord->config;

    return b->member == NULL && b->group != NULL &&
           b->group->size >= (uint32_t)config->group_streams_max_size;
}

static enum err find(struct beat *b)
{
    const struct streams_coord *coord = b->step->coord;
    enum err err = ERR_NONE;

    b->group = stgroup_find(coord, b->request->group_id);
    b->settings = stgroup_settings(coord, b->request->group_id);
    if (b->group == NULL && b->request->member_epoch != STREAMS_JOINS)
        return ERR_GROUP_ID_NOT_FOUND;
    b->owned_known = stheartbeat_owned(&b->arena, b->request, &b->owned);
    if (b->group != NULL)
        err = stheartbeat_find(b->group, b->request, &b->owned, &b->member);
    if (err == ERR_NONE && is_full(b))
        err = ERR_GROUP_MAX_SIZE_REACHED;
    b->current = b->member != NULL ? b->member->current : SCURRENT_NEW;
    return err;
}

/* ---- 2. what it says -----------------------------------------------------*/

static struct slice said_or(struct slice said, struct slice known)
{
    return slice_is_null(said) ? known : said;
}

static struct slice text_or_empty(struct slice text)
{
    return slice_is_null(text) ? SLICE("") : text;
}

static int compare_tags(const void *a, const void *b)
{
    return slice_cmp(((const streams_tag *)a)->key,
                     ((const streams_tag *)b)->key);
}

/* Of one key the last value. */
static void take_tags(struct beat *b)
{
    const struct streams_group_heartbeat_request *q = b->request;
    uint32_t len = 0;

    if (q->client_tags_len < 0)
        return;
    streams_tag *tags =
        arena_array(&b->arena, (size_t)q->client_tags_len, sizeof *tags);
    for (int32_t i = 0; i < q->client_tags_len; i++)
        tags[len++] =
            (streams_tag){q->client_tags[i].key, q->client_tags[i].value};
    if (len != 0)
        qsort(tags, len, sizeof *tags, compare_tags);
    b->profile.tags = tags;
    b->profile.tags_len = 0;
    for (uint32_t i = 0; i < len; i++)
        if (i + 1 == len || !slice_eq(tags[i].key, tags[i + 1].key))
            tags[b->profile.tags_len++] = tags[i];
}

/* Null fields say nothing new. */
static void take_profile(struct beat *b)
{
    const struct streams_group_heartbeat_request *q = b->request;
    struct stprofile *p = &b->profile;

    if (b->member != NULL)
        *p = b->member->profile;
    else
        p->topology_epoch = STREAMS_NONE;
    p->rack_id = said_or(q->rack_id, p->rack_id);
    p->process_id = text_or_empty(said_or(q->process_id, p->process_id));
    p->client_id = text_or_empty(b->context->client_id);
    p->client_host = text_or_empty(b->context->client_host);
    if (q->rebalance_timeout_ms > 0)
        p->rebalance_timeout_ms = q->rebalance_timeout_ms;
    if (q->topology != NULL)
        p->topology_epoch = q->topology->epoch;
    if (q->user_endpoint != NULL) {
        p->has_endpoint = true;
        p->endpoint_host = q->user_endpoint->host;
        p->endpoint_port = q->user_endpoint->port;
    }
    take_tags(b);
    b->profile_changed =
        b->member == NULL || !stprofile_same(p, &b->member->profile);
}

/* The first topology is the group's.  A member with an older one is told so;
 * another one with that epoch or a newer one is refused, as in Kafka 4.3. */
static enum err take_topology(struct beat *b)
{
    const struct streams_group_heartbeat_request_topology *said =
        b->request->topology;
    stopology_value *known = b->group != NULL && b->group->topology != NULL
                                 ? b->group->topology->value
                                 : NULL;

    b->topology = known;
    if (said == NULL)
        /* It comes again, with its topology. */
        return known != NULL ? ERR_NONE : ERR_FENCED_MEMBER_EPOCH;
    if (known != NULL && known->epoch > said->epoch)
        return ERR_NONE;
    stopology_value *value = stopology_of_request(&b->arena, said);
    if (known == NULL) {
        b->topology = value;
        b->topology_new = true;
        return ERR_NONE;
    }
    if (stopology_same(known, value))
        return ERR_NONE;
    b->why = SLICE("Topology updates are not supported yet.");
    return ERR_INVALID_REQUEST;
}

static size_t tags_bytes(const struct stprofile *p)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < p->tags_len; i++)
        bytes += sizeof *p->tags + p->tags[i].key.len + p->tags[i].value.len;
    return bytes;
}

static size_t value_bytes(const stopology_value *value)
{
    struct buf bytes = BUF_INIT;
    enum err err = kafka_encode(&streams_group_topology_value_desc, 0, value,
                                &bytes, NULL);
    size_t len = bytes.len;

    ASSERT(err == ERR_NONE);
    buf_free(&bytes);
    return 8 * len;
}

/* What it says now is more than may be kept.  Roughly: what it said before
 * counts still. */
static bool is_too_much(const struct beat *b)
{
    const struct streams_coord *coord = b->step->coord;
    const struct stprofile *p = &b->profile;
    size_t bytes = 0;

    if (b->profile_changed)
        bytes += sizeof(struct stmember) + 2 * b->request->member_id.len +
                 p->rack_id.len + p->process_id.len + p->client_id.len +
                 p->client_host.len + p->endpoint_host.len + tags_bytes(p);
    if (b->topology_new)
        bytes += value_bytes(b->topology);
    if (b->group == NULL)
        bytes += stgroup_bytes(b->request->group_id);
    return bytes != 0 && coord->bytes + bytes > coord->config.members_max_bytes;
}

/* ---- 3. the topics -------------------------------------------------------*/

static enum err configure(struct beat *b)
{
    struct stgroup *group = b->group;
    enum err err;

    if (!b->topology_new && group->config != NULL && !group->stale) {
        b->config = group->config;
    } else {
        err = stopology_configure(b->topology, &b->step->coord->world,
                                  &b->arena, &b->config, &b->why);
        if (err != ERR_NONE)
            return err;
        b->config_new = true;
    }
    b->valid_epoch = b->config->ready ? b->topology->epoch : STREAMS_NONE;
    if (!b->config->ready)
        return ERR_NONE;
    err = stheartbeat_check_tasks(b->config, &b->owned);
    if (err != ERR_NONE)
        b->why = SLICE("There are no such tasks.");
    return err;
}

/* The group has it from now on, if it has the topology.  It stands for the
 * topics as they are, whatever becomes of the records. */
static void keep_config(struct beat *b)
{
    if (!b->config_new)
        return;
    if (b->group != NULL && !b->topology_new) {
        stgroup_set_config(b->group, b->config);
        b->group->stale = false;
        b->config_new = false;
    }
}

/* ---- 4. the epoch --------------------------------------------------------*/

/* Who has records, but not the one that makes him a member: his end was
 * compacted away before a replica that was away for long could read it, and it
 * became the leader.  Nobody else gets what was his until he is out of the log.
 */
static bool has_ghosts(const struct stgroup *group)
{
    return map_count(&group->members) != group->size;
}

static void drop_ghosts(struct beat *b)
{
    const struct stgroup *group = b->group;

    if (group == NULL || !has_ghosts(group))
        return;
    MAP_EACH (entry, &group->members) {
        const struct stmember *member = entry->value;

        if (!member->has_profile)
            stwrite_member_gone(records_of(b), group->id, member->id);
    }
}

static bool is_news(const struct beat *b)
{
    const struct stgroup *group = b->group;

    return group == NULL || !group->exists || has_ghosts(group) ||
           b->topology_new || b->profile_changed ||
           group->hash != b->config->hash ||
           group->valid_epoch != b->valid_epoch ||
           group->standbys != b->settings.num_standby_replicas;
}

/* Returns the group's epoch. */
static int32_t bump(struct beat *b)
{
    struct slice id = b->request->group_id;
    int32_t epoch = b->group != NULL ? b->group->epoch : STREAMS_FIRST_EPOCH;

    if (is_news(b))
        stwrite_epoch(records_of(b), id, ++epoch, b->config->hash,
                      b->valid_epoch, b->settings.num_standby_replicas);
    drop_ghosts(b);
    if (b->topology_new) {
        stwrite_topology(records_of(b), id, b->topology);
        /* One that is too large for the log leaves no group without. */
        b->write->pending.atomic = true;
    }
    if (b->profile_changed)
        stwrite_profile(records_of(b), id, b->request->member_id, &b->profile);
    return epoch;
}

/* ---- 5. the target -------------------------------------------------------*/

/* The first member of a group waits for others. */
static bool is_delayed(const struct beat *b)
{
    if (b->group != NULL && b->group->delayed)
        return true;
    return (b->group == NULL || b->group->size == 0) &&
           b->settings.initial_rebalance_delay_ms > 0;
}

static void take_target(struct beat *b, int32_t epoch)
{
    struct splan plan = {
        .group = b->group,
        .replaced = b->member,
        .id = b->request->member_id,
        .profile = &b->profile,
        .config = b->config,
        .standbys = b->settings.num_standby_replicas,
        .arena = &b->arena,
    };
    int64_t left_ms;

    b->target_epoch =
        b->group != NULL ? b->group->target_epoch : STREAMS_FIRST_EPOCH;
    if (is_delayed(b)) {
        b->delayed = BY_START;
        return;
    }
    if (b->member != NULL)
        b->target = plan.target = b->member->target;
    if (epoch <= b->target_epoch)
        return;
    if (!stgroup_may_assign(b->step, b->group, &left_ms)) {
        b->delayed = BY_INTERVAL;
        heap_set(&b->step->coord->timers, &b->group->assign.node,
                 b->step->time.now_ms + left_ms);
        return;
    }
    b->target =
        splan_assign(&plan, b->step, b->write, b->request->group_id, epoch);
    b->target_epoch = epoch;
}

/* ---- 6. the step ---------------------------------------------------------*/

static bool same_process(const struct beat *b, const struct stmember *member)
{
    return member == b->member ||
           slice_eq(member->profile.process_id, b->profile.process_id);
}

static bool is_free(const void *arg, enum task_kind kind, struct slice sub,
                    int32_t partition)
{
    const struct beat *b = arg;
    const struct sholders *of =
        b->group != NULL ? stgroup_holders(b->group, sub, partition) : NULL;

    if (of == NULL)
        return true;
    if (of->active != NULL &&
        (kind == TASK_ACTIVE || same_process(b, of->active)))
        return false;
    for (uint32_t i = 0; i < of->others_len; i++)
        if (same_process(b, of->others[i]))
            return false;
    return true;
}

/* In one step a task is not given in two kinds: a target has it once. */
static enum err take_step(struct beat *b, struct scurrent *next)
{
    struct streams_reconcile_input in = {
        .current = &b->current,
        .target_epoch = b->target_epoch,
        .target = &b->target,
        .owned = b->owned_known ? &b->owned : NULL,
        .is_free = is_free,
        .arg = b,
    };
    enum err err = streams_reconcile(&in, &b->arena, next);

    if (err == ERR_NONE && !scurrent_same(&b->current, next))
        stwrite_current(records_of(b), b->request->group_id,
                        b->request->member_id, next);
    return err;
}

/* ---- 7. the answer -------------------------------------------------------*/

enum { STATUSES_MAX = 5 };

static void add_status(struct beat *b, enum streams_status code,
                       struct slice detail)
{
    struct streams_group_heartbeat_response *r =
        &b->answer->response.streams_group_heartbeat;

    ASSERT(r->status_len < STATUSES_MAX);
    r->status[r->status_len++] =
        (struct streams_group_heartbeat_response_status){
            (int8_t)code, arena_copy(&b->answer->arena, detail)};
}

static struct slice blocked_detail(struct beat *b)
{
    struct slice why = b->group != NULL ? b->group->creation_why : SLICE_NULL;

    if (slice_is_null(why) ||
        b->config->status != STREAMS_MISSING_INTERNAL_TOPICS)
        return b->config->detail;
    return arena_printf(&b->arena, "%.*s; creation failed: %.*s",
                        SLICE_FMT(b->config->detail), SLICE_FMT(why));
}

static void fill_status(struct beat *b)
{
    struct streams_group_heartbeat_response *r =
        &b->answer->response.streams_group_heartbeat;

    r->status = arena_array(&b->answer->arena, STATUSES_MAX, sizeof *r->status);
    r->status_len = 0;
    if (b->profile.topology_epoch < b->topology->epoch)
        add_status(b, STREAMS_STALE_TOPOLOGY,
                   arena_printf(&b->arena,
                                "The member's topology epoch %d is behind the "
                                "group's topology epoch %d.",
                                b->profile.topology_epoch, b->topology->epoch));
    if (b->delayed == BY_START)
        add_status(b, STREAMS_ASSIGNMENT_DELAYED,
                   SLICE("The first assignment waits for other members."));
    if (b->delayed == BY_INTERVAL)
        add_status(b, STREAMS_ASSIGNMENT_DELAYED,
                   SLICE("The last assignment is too recent."));
    if (!b->config->ready)
        add_status(b, b->config->status, blocked_detail(b));
    if (b->group != NULL && !slice_is_null(b->group->shutdown_by))
        add_status(b, STREAMS_SHUTDOWN_APPLICATION,
                   arena_printf(&b->arena,
                                "Member %.*s met a fatal error and asked for "
                                "a shutdown of the whole application.",
                                SLICE_FMT(b->group->shutdown_by)));
}

/* It is told what it may have if that changed, if it does not know anything,
 * and if what it says it has is not that: then an answer was lost. */
static bool must_hear_tasks(const struct beat *b, const struct scurrent *next)
{
    return b->request->member_epoch == STREAMS_JOINS ||
           b->request->member_epoch != b->current.epoch ||
           !tuple_eq(&b->current.assigned, &next->assigned) ||
           (b->owned_known && !tuple_eq(&b->owned, &next->assigned));
}

static void fill_answer(struct beat *b, const struct scurrent *next)
{
    struct streams_group_heartbeat_response *r =
        &b->answer->response.streams_group_heartbeat;
    struct arena *arena = &b->answer->arena;

    r->member_id = arena_copy(arena, b->request->member_id);
    r->member_epoch = next->epoch;
    r->heartbeat_interval_ms = b->settings.heartbeat_interval_ms;
    if (must_hear_tasks(b, next))
        stanswer_tasks(arena, r, &next->assigned);
    fill_status(b);
    if (b->group == NULL)
        return;
    r->endpoint_information_epoch = b->group->endpoint_epoch;
    if (b->request->endpoint_information_epoch != b->group->endpoint_epoch)
        sendpoints_fill(b->step->coord, b->group, arena, r);
}

/* ---- internal topics -----------------------------------------------------*/

static void copy_topic(struct arena *arena,
                       const struct create_topics_request_creatable_topic *from,
                       struct create_topics_request_creatable_topic *to)
{
    *to = *from;
    to->name = arena_copy(arena, from->name);
    to->configs =
        arena_array(arena, (size_t)from->configs_len, sizeof *to->configs);
    for (int32_t i = 0; i < from->configs_len; i++) {
        to->configs[i].name = arena_copy(arena, from->configs[i].name);
        to->configs[i].value = arena_copy(arena, from->configs[i].value);
    }
}

/* They are made when what is written now is committed, as in Kafka. */
static void ask_for_topics(struct beat *b)
{
    int64_t now_ms = b->step->time.now_ms;
    struct streams_creation *c;

    if (b->config->missing_len == 0)
        return;
    if (b->group != NULL) {
        if (b->group->asked_ms != 0 &&
            now_ms - b->group->asked_ms < STREAMS_CREATE_PAUSE_MS)
            return;
        b->group->asked_ms = now_ms;
    }
    c = xcalloc(1, sizeof *c);
    list_init(&c->link);
    arena_init(&c->arena, 0);
    c->group = arena_copy(&c->arena, b->request->group_id);
    c->topics_len = b->config->missing_len;
    c->topics = arena_array(&c->arena, c->topics_len, sizeof *c->topics);
    for (uint32_t i = 0; i < c->topics_len; i++)
        copy_topic(&c->arena, &b->config->missing[i], &c->topics[i]);
    b->write->creation = c;
}

/* ---- all of it -----------------------------------------------------------*/

static enum err decide(struct beat *b)
{
    struct scurrent next;
    enum err err = find(b);

    if (err != ERR_NONE)
        return err;
    take_profile(b);
    err = take_topology(b);
    if (err != ERR_NONE)
        return err;
    if (is_too_much(b))
        return ERR_GROUP_MAX_SIZE_REACHED;
    err = configure(b);
    if (err != ERR_NONE)
        return err;
    keep_config(b);
    int32_t epoch = bump(b);
    take_target(b, epoch);
    err = take_step(b, &next);
    if (err != ERR_NONE)
        return err;
    if (b->member != NULL)
        stmember_heard(b->step->coord, (struct stmember *)(uintptr_t)b->member);
    if (b->group != NULL && b->request->shutdown_application)
        stgroup_ask_shutdown(b->group, b->request->member_id);
    fill_answer(b, &next);
    ask_for_topics(b);
    return ERR_NONE;
}

void stheartbeat_request(struct ststep *step,
                         const struct coord_context *context,
                         const struct streams_group_heartbeat_request *request)
{
    struct beat b = {.step = step, .context = context, .request = request};

    arena_init(&b.arena, 0);
    enum err err = stheartbeat_validate(&b.arena, request, &b.why);
    if (err == ERR_NONE && request->member_epoch < 0) {
        arena_free(&b.arena);
        stleave_request(step, context, request);
        return;
    }
    b.answer = stanswer_new(context, API_STREAMS_GROUP_HEARTBEAT);
    b.write = stwrite_new(b.answer);
    if (err == ERR_NONE)
        err = decide(&b);
    if (err != ERR_NONE) {
        coord_records_free(records_of(&b));
        stanswer_fail(b.answer, err, b.why);
    }
    if (b.config_new)
        sconfig_free(b.config);
    arena_free(&b.arena);
    stwrite_send(step, b.write);
}
