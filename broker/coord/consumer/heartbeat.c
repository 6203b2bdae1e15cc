/* ConsumerGroupHeartbeat: everything a member ever says.
 *
 *   1. It is found, or is new, or takes a static member's place.
 *   2. What it says of itself is noted; other topics bump the group's epoch,
 *      and so do topics that have changed.
 *   3. If the group's epoch is ahead of its target, a new target is computed.
 *   4. The member takes its next step towards its part of the target.
 *   5. The answer tells it its epoch, and what it may have if that changed.
 *
 * If there is a classic group with members of that name, it becomes a consumer
 * group first (upgrade.c).  A JoinGroup takes the same steps (classic_join.c).
 *
 * A heartbeat that says nothing new looks at the member and what it owns, and
 * writes nothing. */
#include "broker/coord/consumer/beat.h"
#include "broker/coord/runtime.h"

#include "base/log.h"

static struct coord_records *records_of(const struct beat *b)
{
    return &b->write->pending.records;
}

/* ---- 1. who --------------------------------------------------------------*/

static bool is_full(const struct beat *b)
{
    const struct consumer_config *config = &b->step->coord->config;

    return b->member == NULL && b->returned == NULL && b->group != NULL &&
           b->group->size >= (uint32_t)config->group_consumer_max_size;
}

static struct slice id_of(struct beat *b)
{
    char text[UUID_TEXT_SIZE];

    if (b->request->member_id.len != 0)
        return b->request->member_id;
    return arena_copy(&b->arena,
                      slice_str(uuid_format(b->context->random, text)));
}

static enum err find(struct beat *b)
{
    enum err err = ERR_NONE;

    b->group = cgroup_find(b->step->coord, b->request->group_id);
    if (b->group == NULL && b->request->member_epoch != CONSUMER_JOINS)
        return ERR_GROUP_ID_NOT_FOUND;
    b->owned = cheartbeat_owned(&b->arena, b->request);
    if (b->classic != NULL)
        err = beat_find_classic(b);
    else if (b->group != NULL)
        err = cheartbeat_find(b->group, b->request, b->owned, &b->member,
                              &b->returned);
    if (err == ERR_NONE && is_full(b))
        err = ERR_GROUP_MAX_SIZE_REACHED;
    b->id = id_of(b);
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

static void take_names(struct beat *b)
{
    const struct consumer_group_heartbeat_request *r = b->request;
    uint32_t len = (uint32_t)r->subscribed_topic_names_len;

    if (r->subscribed_topic_names_len < 0)
        return;
    b->profile.names = arena_array(&b->arena, len, sizeof(struct slice));
    if (len != 0)
        memcpy(b->profile.names, r->subscribed_topic_names,
               len * sizeof(struct slice));
    b->profile.names_len = cnames_sort(b->profile.names, len);
}

/* Which protocol it uses from here on.  A classic client resolves its regexes
 * itself. */
static void take_protocol(struct beat *b)
{
    struct cprofile *p = &b->profile;

    p->classic = b->classic != NULL;
    p->session_timeout_ms = p->classic ? b->classic->session_timeout_ms : 0;
    p->protocols = p->classic ? b->classic->protocols : NULL;
    p->protocols_len = p->classic ? b->classic->protocols_len : 0;
    if (p->classic)
        p->regex = SLICE_NULL;
}

/* Null fields say nothing new. */
static void take_profile(struct beat *b)
{
    const struct consumer_group_heartbeat_request *r = b->request;
    struct cprofile *p = &b->profile;

    if (b->member != NULL || b->returned != NULL)
        b->old_profile =
            b->member != NULL ? &b->member->profile : &b->returned->profile;
    if (b->old_profile != NULL)
        *p = *b->old_profile;
    p->instance_id = said_or(r->instance_id, p->instance_id);
    p->rack_id = said_or(r->rack_id, p->rack_id);
    p->regex = said_or(r->subscribed_topic_regex, p->regex);
    p->assignor = said_or(r->server_assignor, p->assignor);
    p->client_id = text_or_empty(b->context->client_id);
    p->client_host = text_or_empty(b->context->client_host);
    if (r->rebalance_timeout_ms > 0)
        p->rebalance_timeout_ms = r->rebalance_timeout_ms;
    take_names(b);
    take_protocol(b);
}

/* What it says now is more than may be kept.  Roughly: what it said before
 * counts still. */
static bool is_too_much(const struct beat *b)
{
    const struct cprofile *p = &b->profile;
    size_t bytes = sizeof(struct cmember) + 2 * b->id.len + p->regex.len +
                   p->rack_id.len + p->client_id.len + p->client_host.len;

    if (b->old_profile != NULL && cprofile_same(b->old_profile, p))
        return false;
    for (uint32_t i = 0; i < p->names_len; i++)
        bytes += sizeof(struct slice) + p->names[i].len;
    for (uint32_t i = 0; i < p->protocols_len; i++)
        bytes += sizeof(cprotocol) + p->protocols[i].name.len +
                 p->protocols[i].metadata.len;
    return b->step->coord->bytes + bytes >
           b->step->coord->config.members_max_bytes;
}

/* Only what is new is compiled. */
static bool is_bad_regex(const struct beat *b)
{
    const struct consumer_world *world = &b->step->coord->world;
    struct slice regex = b->profile.regex;

    if (!cprofile_has_regex(&b->profile) ||
        (b->group != NULL && map_get(&b->group->regexes, regex) != NULL))
        return false;
    return world->regex_is_valid == NULL ||
           !world->regex_is_valid(world->arg, regex);
}

/* A regex that nobody has matched yet bumps the epoch when that is done. */
static bool subscribes_otherwise(const struct beat *b)
{
    static const struct cprofile nothing;
    const struct cprofile *old =
        b->old_profile != NULL ? b->old_profile : &nothing;

    if (!cprofile_same_names(old, &b->profile))
        return true;
    if (slice_eq(old->regex, b->profile.regex))
        return false;
    if (!cprofile_has_regex(&b->profile) || b->group == NULL)
        return !cprofile_has_regex(&b->profile);
    const struct cregex *regex = map_get(&b->group->regexes, b->profile.regex);
    return regex != NULL && regex->resolved;
}

/* The last member of a regex has another now. */
static void drop_regex(const struct beat *b)
{
    const struct cregex *regex;

    if (b->old_profile == NULL || !cprofile_has_regex(b->old_profile) ||
        slice_eq(b->old_profile->regex, b->profile.regex))
        return;
    regex = map_get(&b->group->regexes, b->old_profile->regex);
    if (regex->members == 1 && regex->resolved)
        cwrite_regex_gone(records_of(b), b->group->id, b->old_profile->regex);
}

/* The new member has what the one before it had, from epoch 0 on. */
static void replace_static(struct beat *b)
{
    struct slice group_id = b->request->group_id;

    cwrite_member_gone(records_of(b), group_id, b->returned->id);
    cwrite_profile(records_of(b), group_id, b->id, &b->profile);
    cwrite_target(records_of(b), group_id, b->id, b->returned->target);
    cwrite_current(records_of(b), group_id, b->id, &b->current);
}

static void write_profile(struct beat *b)
{
    if (b->returned != NULL)
        replace_static(b);
    else if (b->member == NULL || !cprofile_same(b->old_profile, &b->profile))
        cwrite_profile(records_of(b), b->request->group_id, b->id, &b->profile);
    drop_regex(b);
}

/* Where the member begins. */
static void take_current(struct beat *b)
{
    const struct cmember *before = b->member != NULL ? b->member : b->returned;

    if (before == NULL)
        return;
    b->current = before->current;
    b->target = before->target;
    if (b->returned != NULL)
        b->current.epoch = b->current.previous_epoch = 0;
}

/* ---- 3. the target -------------------------------------------------------*/

static struct cplan plan_of(struct beat *b)
{
    return (struct cplan){
        .group = b->group,
        .replaced = b->member != NULL ? b->member : b->returned,
        .id = b->id,
        .profile = &b->profile,
        .target = b->target,
        .arena = &b->arena,
    };
}

/* Who has records, but not the one that makes him a member: his end was
 * compacted away before a replica that was away for long could read it, and it
 * became the leader.  Nobody else gets what was his until he is out of the log.
 */
static bool drop_ghosts(struct beat *b)
{
    const struct cgroup *group = b->group;

    if (group == NULL || map_count(&group->members) == group->size)
        return false;
    MAP_EACH (entry, &group->members) {
        const struct cmember *member = entry->value;

        if (!member->has_profile)
            cwrite_member_gone(records_of(b), group->id, member->id);
    }
    return true;
}

/* Returns the group's epoch. */
static int32_t bump(struct beat *b, struct cplan *plan)
{
    int32_t epoch = b->group != NULL ? b->group->epoch : 0;
    int64_t known = b->group != NULL ? b->group->hash : 0;
    bool bumps = drop_ghosts(b) || subscribes_otherwise(b) || epoch == 0;

    if (!bumps && !b->group->stale)
        return epoch;
    int64_t hash = cplan_topics(plan, b->step->coord);
    if (!bumps && hash == known) {
        b->group->stale = false;
        return epoch;
    }
    cwrite_epoch(records_of(b), b->group, b->request->group_id, epoch + 1,
                 hash);
    return epoch + 1;
}

/* A target that lags behind its subscription (see the interval above) gives a
 * member nothing of topics that it does not want any more (KIP-1263). */
static void drop_unwanted(struct beat *b)
{
    const struct consumer_world *world = &b->step->coord->world;
    struct part *items = arena_array(&b->arena, b->target.len, sizeof *items);
    uint32_t len = 0;

    for (uint32_t at = 0, run; at < b->target.len; at += run) {
        struct slice name =
            world->topic_name(world->arg, b->target.items[at].topic);

        run = parts_run(b->target, at);
        if (slice_is_null(name) || !cprofile_wants(b->group, &b->profile, name))
            continue;
        memcpy(items + len, b->target.items + at, run * sizeof *items);
        len += run;
    }
    b->target = (struct parts){items, len};
}

static void take_target(struct beat *b, struct cplan *plan, int32_t epoch)
{
    int64_t left_ms;

    b->target_epoch = b->group != NULL ? b->group->target_epoch : 0;
    if (epoch <= b->target_epoch)
        return;
    if (!cgroup_may_assign(b->step, b->group, &left_ms)) {
        cgroup_assign_later(b->step, b->group, left_ms);
        drop_unwanted(b);
        return;
    }
    if (plan->members == NULL)
        cplan_topics(plan, b->step->coord);
    b->target =
        cplan_assign(plan, b->step, b->write, b->request->group_id, epoch);
    b->target_epoch = epoch;
}

/* ---- 4. the step ---------------------------------------------------------*/

static bool is_owned(const void *arg, struct uuid topic, int32_t partition)
{
    const struct cgroup *group = arg;

    return group != NULL && cgroup_owner(group, topic, partition) != NULL;
}

static enum err take_step(struct beat *b)
{
    struct reconcile_input in = {
        .current = &b->current,
        .target_epoch = b->target_epoch,
        .target = b->target,
        .owned = b->owned,
        .owned_known = b->request->topic_partitions_len >= 0,
        .is_owned = is_owned,
        .arg = b->group,
    };
    enum err err = reconcile(&in, &b->arena, &b->next);

    if (err == ERR_NONE && !ccurrent_same(&b->current, &b->next))
        cwrite_current(records_of(b), b->request->group_id, b->id, &b->next);
    return err;
}

/* ---- 5. the answer -------------------------------------------------------*/

/* Who says everything hears everything. */
static bool
says_everything(const struct consumer_group_heartbeat_request *request)
{
    return request->member_epoch == CONSUMER_JOINS ||
           (request->rebalance_timeout_ms != -1 &&
            (request->subscribed_topic_names_len >= 0 ||
             !slice_is_null(request->subscribed_topic_regex)) &&
            request->topic_partitions_len >= 0);
}

static void fill_answer(struct beat *b)
{
    struct consumer_group_heartbeat_response *r =
        &b->answer->response.consumer_group_heartbeat;
    struct arena *arena = &b->answer->arena;

    r->member_id = arena_copy(arena, b->id);
    r->member_epoch = b->next.epoch;
    r->heartbeat_interval_ms =
        cgroup_timeouts(b->step->coord, b->request->group_id)
            .heartbeat_interval_ms;
    if (says_everything(b->request) ||
        !parts_eq(b->current.assigned, b->next.assigned))
        r->assignment = canswer_assignment(arena, b->next.assigned);
}

/* ---- all of it -----------------------------------------------------------*/

/* A static member of the new protocol comes back with the classic one, and no
 * other uses the new one.  Whoever has not all that it shall have gets it by a
 * rebalance. */
static bool downgrade(struct beat *b)
{
    const struct cmember *before = b->member != NULL ? b->member : b->returned;
    struct creplacement by = {before, b->id, &b->profile, SLICE_NULL};

    if (b->classic == NULL || before == NULL || before->profile.classic ||
        slice_is_null(before->profile.instance_id) ||
        !cdowngrade_is_due(b->step->coord, b->group, 0, before) ||
        !cdowngrade(b->step, b->write, b->group, &by,
                    subscribes_otherwise(b) || !cgroup_is_reconciled(b->group)))
        return false;
    b->next = b->current;
    b->next.epoch = b->group->epoch;
    b->protocol = by.protocol;
    return true;
}

enum err beat_decide(struct beat *b)
{
    enum err err = find(b);

    if (err != ERR_NONE)
        return err;
    take_profile(b);
    if (is_too_much(b))
        return ERR_GROUP_MAX_SIZE_REACHED;
    if (is_bad_regex(b))
        return ERR_INVALID_REGULAR_EXPRESSION;
    take_current(b);
    if (downgrade(b))
        return ERR_NONE;
    struct cplan plan = plan_of(b);
    int32_t epoch = bump(b, &plan);
    write_profile(b);
    take_target(b, &plan, epoch);
    err = take_step(b);
    if (err != ERR_NONE)
        return err;
    cregex_refresh(b->step, b->group, b->request->group_id,
                   cprofile_has_regex(&b->profile) ? b->profile.regex
                                                   : SLICE_NULL);
    if (b->member != NULL)
        cmember_heard(b->step->coord, (struct cmember *)(uintptr_t)b->member);
    return ERR_NONE;
}

/* With all that the member that joins adds to it. */
static enum err check_size(const struct beat *b, uint32_t batch_max_bytes)
{
    if (coord_pending_fits(&b->write->pending, batch_max_bytes))
        return ERR_NONE;
    log_info("groups",
             "group %.*s does not become a consumer group: its records are "
             "larger than a batch of %u bytes",
             SLICE_FMT(b->request->group_id), batch_max_bytes);
    return ERR_GROUP_ID_NOT_FOUND;
}

/* On the group as it will be: see upgrade.c. */
static enum err decide_upgraded(struct beat *b)
{
    struct consumer_coord *as_if;
    struct cstep step = *b->step;
    enum err err = cupgrade(&step, b->request, records_of(b), &as_if);

    if (err != ERR_NONE)
        return err;
    b->write->pending.atomic = true;
    step.coord = as_if;
    b->step = &step;
    err = beat_decide(b);
    if (err == ERR_NONE)
        err = check_size(b, as_if->config.batch_max_bytes);
    if (err == ERR_NONE)
        fill_answer(b);
    consumer_coord_free(as_if);
    return err;
}

static enum err decide(struct beat *b)
{
    if (b->request->member_epoch == CONSUMER_JOINS &&
        cupgrade_is_due(b->step->coord, b->request->group_id))
        return decide_upgraded(b);
    enum err err = beat_decide(b);
    if (err == ERR_NONE)
        fill_answer(b);
    return err;
}

struct slice consumer_heartbeat_claims(
    const struct consumer_coord *coord, int16_t version,
    const struct consumer_group_heartbeat_request *request)
{
    const char *why;

    return request->member_epoch == CONSUMER_JOINS &&
                   cheartbeat_validate(coord, version, request, &why) ==
                       ERR_NONE
               ? request->group_id
               : SLICE_NULL;
}

void cheartbeat_request(struct cstep *step, const struct coord_context *context,
                        const struct consumer_group_heartbeat_request *request)
{
    struct beat b = {.step = step, .context = context, .request = request};
    const char *why;
    enum err err =
        cheartbeat_validate(step->coord, context->version, request, &why);

    if (err == ERR_NONE && request->member_epoch < 0) {
        cleave_request(step, context, request);
        return;
    }
    b.answer = canswer_new(context, API_CONSUMER_GROUP_HEARTBEAT);
    b.write = cwrite_new(b.answer);
    arena_init(&b.arena, 0);
    if (err == ERR_NONE)
        err = decide(&b);
    if (err != ERR_NONE) {
        coord_records_free(records_of(&b));
        canswer_fail(b.answer, err, why);
    }
    arena_free(&b.arena);
    cwrite_send(step, b.write);
}
