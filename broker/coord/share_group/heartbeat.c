/* ShareGroupHeartbeat: everything a member ever says.
 *
 *   1. It is found, or is new.
 *   2. What it says of itself is noted; other topics bump the group's epoch,
 *      and so do topics that have changed.  Partitions that the group never had
 *      are to be initialized.
 *   3. If the group's epoch is ahead of its target, a new target is computed.
 *   4. The member takes its part of the target.
 *   5. The answer tells it its epoch, and what it fetches from if that changed.
 *
 * A heartbeat that says nothing new looks at the member only, and writes
 * nothing. */
#include "broker/coord/share_group/sgroup.h"

/* One heartbeat: what is known of it so far. */
struct beat {
    struct sstep *step;
    const struct coord_context *context;
    const struct share_group_heartbeat_request *request;
    struct coord_answer *answer;
    struct swrite *write;
    struct arena arena;
    struct sgroup *group;    /* NULL: to be made */
    struct smember *member;  /* NULL: a new one */
    struct sprofile profile; /* as it will be */
    int32_t group_epoch;     /* likewise */
    int32_t target_epoch;    /* likewise */
    struct parts target;     /* likewise */
    int32_t epoch;           /* the member's, likewise */
    bool changed;            /* what it fetches from */
};

static struct coord_records *records_of(const struct beat *b)
{
    return &b->write->pending.records;
}

/* ---- 1. who --------------------------------------------------------------*/

static const char *why_invalid(const struct share_group_heartbeat_request *r)
{
    if (r->group_id.len == 0)
        return "GroupId can't be empty.";
    if (r->member_id.len == 0)
        return "MemberId can't be empty.";
    if (!slice_is_null(r->rack_id) && r->rack_id.len == 0)
        return "RackId can't be empty.";
    if (r->member_epoch < SGROUP_LEAVES)
        return "MemberEpoch is invalid.";
    if (r->member_epoch == SGROUP_JOINS && r->subscribed_topic_names_len <= 0)
        return "SubscribedTopicNames must be set in first request.";
    return NULL;
}

struct slice
share_group_claims(const struct share_group_heartbeat_request *request)
{
    return request->member_epoch == SGROUP_JOINS && why_invalid(request) == NULL
               ? request->group_id
               : SLICE_NULL;
}

/* An answer may have been lost, so the epoch before is good, too. */
static enum err check_epoch(const struct beat *b)
{
    int32_t said = b->request->member_epoch;

    return said == SGROUP_JOINS || said == b->member->epoch ||
                   said == b->member->previous_epoch
               ? ERR_NONE
               : ERR_FENCED_MEMBER_EPOCH;
}

static enum err find(struct beat *b)
{
    const struct share_group_config *config = &b->step->coord->config;
    bool joins = b->request->member_epoch == SGROUP_JOINS;

    b->group = sgroup_find(b->step->coord, b->request->group_id);
    if (b->group == NULL)
        return joins ? ERR_NONE : ERR_GROUP_ID_NOT_FOUND;
    b->member = sgroup_member(b->group, b->request->member_id);
    if (b->member != NULL)
        return check_epoch(b);
    if (!joins)
        return ERR_UNKNOWN_MEMBER_ID;
    return b->group->size >= (uint32_t)config->max_size
               ? ERR_GROUP_MAX_SIZE_REACHED
               : ERR_NONE;
}

/* ---- 2. what it says -----------------------------------------------------*/

static struct slice text_or_empty(struct slice text)
{
    return slice_is_null(text) ? SLICE("") : text;
}

/* Null fields say nothing new. */
static void take_profile(struct beat *b)
{
    const struct share_group_heartbeat_request *r = b->request;
    struct sprofile *p = &b->profile;

    if (b->member != NULL)
        *p = b->member->profile;
    if (!slice_is_null(r->rack_id))
        p->rack_id = r->rack_id;
    else if (b->member == NULL)
        p->rack_id = SLICE_NULL;
    p->client_id = text_or_empty(b->context->client_id);
    p->client_host = text_or_empty(b->context->client_host);
    if (r->subscribed_topic_names_len < 0)
        return;
    uint32_t len = (uint32_t)r->subscribed_topic_names_len;
    p->names = arena_array(&b->arena, len, sizeof *p->names);
    if (len != 0)
        memcpy(p->names, r->subscribed_topic_names, len * sizeof *p->names);
    p->names_len = snames_sort(p->names, len);
}

static bool says_other(const struct beat *b)
{
    return b->member == NULL ||
           !sprofile_same(&b->member->profile, &b->profile);
}

/* Roughly: what it said before counts still. */
static bool is_too_much(const struct beat *b)
{
    size_t bytes = sizeof(struct smember) + b->request->member_id.len;

    if (!says_other(b))
        return false;
    for (uint32_t i = 0; i < b->profile.names_len; i++)
        bytes += sizeof(struct slice) + b->profile.names[i].len;
    if (b->group == NULL)
        bytes += sgroup_bytes(b->request->group_id);
    return b->step->coord->bytes + bytes >
           b->step->coord->config.members_max_bytes;
}

static bool subscribes_otherwise(const struct beat *b)
{
    return b->member == NULL ||
           !sprofile_same_names(&b->member->profile, &b->profile);
}

static void initialize_new(struct beat *b, const struct stopics *topics)
{
    static const struct sstates none;
    const struct sstates *now = b->group != NULL ? &b->group->states : &none;
    struct sstates next;
    struct slice id = b->request->group_id;

    bool more = sstates_add_new(now, topics, &next, &b->arena);
    if (!sstates_drop_gone(b->step->coord, &next, &b->arena) && !more)
        return;
    swrite_states(records_of(b), b->step->coord, id, &next);
    b->write->group = slice_of(slice_dup(id), id.len);
}

/* Some partition has no state, nor one under way: its topic was seen first by a
 * write that failed or by who left, or its states were being deleted. */
static bool lacks_states(struct beat *b, const struct stopics *topics)
{
    struct sstates next;

    return sstates_add_new(&b->group->states, topics, &next, &b->arena);
}

/* Who has records, but not the one that makes him a member: his end was
 * compacted away before a replica that was away for long could read it, and it
 * became the leader.  Nobody else gets what was his until he is out of the log.
 */
static bool drop_ghosts(struct beat *b)
{
    const struct sgroup *group = b->group;

    if (group == NULL || map_count(&group->members) == group->size)
        return false;
    MAP_EACH (entry, &group->members) {
        const struct smember *member = entry->value;

        if (!member->has_profile)
            swrite_member_gone(records_of(b), group->id, member->id);
    }
    return true;
}

static void bump(struct beat *b)
{
    const struct share_group_coord *coord = b->step->coord;
    bool other = subscribes_otherwise(b);
    uint64_t changes = 1;

    if (coord->config.topic_changes != NULL)
        changes += coord->config.topic_changes(coord->world.arg);
    b->group_epoch = b->group != NULL ? b->group->epoch : 0;
    other = drop_ghosts(b) || other;
    if (!other && b->group->seen_topics == changes)
        return;
    struct stopics topics =
        sgroup_topics(coord, b->group, b->member, &b->profile, &b->arena);
    int64_t hash = stopics_hash(&topics);
    if (!other && hash == b->group->hash && !lacks_states(b, &topics)) {
        b->group->seen_topics = changes;
        return;
    }
    b->group_epoch++;
    swrite_group(records_of(b), b->request->group_id, b->group_epoch, hash);
    initialize_new(b, &topics);
}

/* ---- 3. the target -------------------------------------------------------*/

/* Others wait with it, for as long as the interval says. */
static void assign_later(struct beat *b, int64_t left_ms)
{
    struct heap_node *timer = &b->group->assign.node;
    int64_t due_ms = b->step->time.now_ms + left_ms;

    /* Each heartbeat says this anew while the clock is behind the last one's
     * time, and must not put it off. */
    if (!heap_has(timer) || timer->key > due_ms)
        heap_set(&b->step->coord->timers, timer, due_ms);
}

static void take_target(struct beat *b)
{
    struct splan plan = {b->group, b->member, b->request->member_id,
                         &b->profile};
    int64_t left_ms;

    b->target_epoch = b->group != NULL ? b->group->target_epoch : 0;
    b->target = b->member != NULL ? b->member->target : PARTS_EMPTY;
    if (b->group_epoch <= b->target_epoch)
        return;
    if (!sgroup_may_assign(b->step, b->group, &left_ms)) {
        assign_later(b, left_ms);
        return;
    }
    b->target = sgroup_assign(b->step, &plan, records_of(b),
                              b->request->group_id, b->group_epoch, &b->arena);
    b->target_epoch = b->group_epoch;
}

/* ---- 4. its part ---------------------------------------------------------*/

static void take_part(struct beat *b)
{
    int32_t now = b->member != NULL ? b->member->epoch : 0;
    struct parts has = b->member != NULL ? b->member->assigned : PARTS_EMPTY;

    b->epoch = now;
    b->changed = !parts_eq(has, b->target);
    if (b->member != NULL && b->member->has_current && !b->changed &&
        now == b->target_epoch)
        return;
    /* A member always has an epoch of its own, even before it has a part. */
    b->epoch = b->target_epoch != 0 ? b->target_epoch : b->group_epoch;
    swrite_current(records_of(b), b->request->group_id, b->request->member_id,
                   b->epoch, now, b->target);
}

/* ---- 5. the answer -------------------------------------------------------*/

static void fill_assignment(struct arena *arena, struct parts set,
                            struct share_group_heartbeat_response *r)
{
    r->assignment = arena_alloc(arena, sizeof *r->assignment);
    r->assignment->topic_partitions = arena_array(
        arena, parts_topics(set), sizeof *r->assignment->topic_partitions);
    for (uint32_t at = 0, run; at < set.len; at += run) {
        struct share_group_heartbeat_response_topic_partitions *topic =
            &r->assignment
                 ->topic_partitions[r->assignment->topic_partitions_len++];

        run = parts_run(set, at);
        topic->topic_id = set.items[at].topic;
        topic->partitions = arena_array(arena, run, sizeof(int32_t));
        topic->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            topic->partitions[i] = set.items[at + i].partition;
    }
}

static void fill_answer(struct beat *b)
{
    struct share_group_heartbeat_response *r =
        &b->answer->response.share_group_heartbeat;
    struct arena *arena = &b->answer->arena;

    r->member_id = arena_copy(arena, b->request->member_id);
    r->member_epoch = b->epoch;
    r->heartbeat_interval_ms =
        sgroup_timeouts(b->step->coord, b->request->group_id)
            .heartbeat_interval_ms;
    /* Whose last answer was lost hears it all again. */
    if (b->changed || b->request->member_epoch != b->epoch)
        fill_assignment(arena, b->target, r);
}

/* ---- all of it -----------------------------------------------------------*/

static enum err decide(struct beat *b)
{
    enum err err = find(b);

    if (err != ERR_NONE)
        return err;
    take_profile(b);
    if (is_too_much(b))
        return ERR_GROUP_MAX_SIZE_REACHED;
    bump(b);
    if (says_other(b))
        swrite_profile(records_of(b), b->request->group_id,
                       b->request->member_id, &b->profile);
    take_target(b);
    take_part(b);
    if (b->member != NULL)
        smember_heard(b->step->coord, b->member);
    fill_answer(b);
    return ERR_NONE;
}

/* ---- leaving -------------------------------------------------------------*/

static void leave(struct sstep *step, const struct coord_context *context,
                  const struct share_group_heartbeat_request *request)
{
    struct coord_answer *answer =
        sanswer_new(context, API_SHARE_GROUP_HEARTBEAT);
    struct sgroup *group = sgroup_find(step->coord, request->group_id);
    struct smember *member =
        group == NULL ? NULL : sgroup_member(group, request->member_id);

    if (member == NULL) {
        sanswer_fail(answer,
                     group == NULL ? ERR_GROUP_ID_NOT_FOUND
                                   : ERR_UNKNOWN_MEMBER_ID,
                     NULL);
        swrite_send(step, swrite_new(answer));
        return;
    }
    answer->response.share_group_heartbeat.member_id =
        arena_copy(&answer->arena, request->member_id);
    answer->response.share_group_heartbeat.member_epoch = SGROUP_LEAVES;
    smember_remove(step, member, answer);
}

void smember_remove(struct sstep *step, struct smember *member,
                    struct coord_answer *answer)
{
    struct swrite *write = swrite_new(answer);
    struct sgroup *group = member->group;
    struct arena arena;

    arena_init(&arena, 0);
    struct stopics topics =
        sgroup_topics(step->coord, group, member, NULL, &arena);
    swrite_member_gone(&write->pending.records, group->id, member->id);
    swrite_group(&write->pending.records, group->id, group->epoch + 1,
                 stopics_hash(&topics));
    arena_free(&arena);
    swrite_send(step, write);
}

void sgroup_assign_now(struct sstep *step, struct sgroup *group)
{
    struct swrite *write = swrite_new(NULL);
    struct splan plan = {.group = group, .id = SLICE_NULL};
    struct arena arena;

    if (group->size != 0 && group->epoch > group->target_epoch) {
        arena_init(&arena, 0);
        sgroup_assign(step, &plan, &write->pending.records, group->id,
                      group->epoch, &arena);
        arena_free(&arena);
    }
    swrite_send(step, write);
}

void sheartbeat_request(struct sstep *step, const struct coord_context *context,
                        const struct share_group_heartbeat_request *request)
{
    struct beat b = {.step = step, .context = context, .request = request};
    const char *why = why_invalid(request);
    enum err err = why != NULL ? ERR_INVALID_REQUEST : ERR_NONE;

    if (err == ERR_NONE && request->member_epoch == SGROUP_LEAVES) {
        leave(step, context, request);
        return;
    }
    b.answer = sanswer_new(context, API_SHARE_GROUP_HEARTBEAT);
    b.write = swrite_new(b.answer);
    arena_init(&b.arena, 0);
    if (err == ERR_NONE)
        err = decide(&b);
    if (err != ERR_NONE) {
        coord_records_free(records_of(&b));
        sanswer_fail(b.answer, err, why);
    }
    arena_free(&b.arena);
    swrite_send(step, b.write);
}
