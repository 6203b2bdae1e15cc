/* JoinGroup for a consumer group with members (KIP-848, "Online Migration").
 *
 * What a classic consumer says by it is a heartbeat of epoch 0 in other words:
 * its subscription names topics and what it owns, in the embedded protocol
 * (embedded.h).  It takes the same steps, but
 *
 * - nobody waits for the others: the answer comes when the records are
 *   committed, and names the member's epoch as its generation, no leader, and
 *   the protocol that it prefers, or the group's if that becomes a classic one;
 * - an eager consumer owns nothing, so what it has to give up is free at once;
 * a cooperative one gives it up after SyncGroup and joins again;
 * - a static member that comes without its id takes the place of the one before
 *   it, whether that one lives or not, as in classic groups (KIP-345).
 *
 * Rules and errors are those of Kafka's GroupMetadataManager,
 * classicGroupJoinToConsumerGroup(). */
#include "broker/coord/consumer/beat.h"
#include "broker/coord/consumer/embedded.h"

#include <stdlib.h>

enum {
    PROTOCOLS_MAX = 256, /* as in classic groups */
    /* From this version on a new member comes back with its id (KIP-394). */
    ID_FIRST_VERSION = 4,
};

/* ---- who -----------------------------------------------------------------*/

/* All members that use the classic protocol have one in common. */
static bool is_supported(const struct cgroup *group, const struct cprofile *p)
{
    for (uint32_t i = 0; i < p->protocols_len; i++)
        if ((uintptr_t)map_get(&group->protocols, p->protocols[i].name) ==
            group->classics)
            return true;
    return false;
}

enum err cclassic_find(const struct cgroup *group, struct slice member_id,
                       struct slice instance_id, struct cmember **member)
{
    *member = slice_is_null(instance_id) ? cgroup_member(group, member_id)
                                         : cgroup_static(group, instance_id);
    if (*member == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    return slice_eq((*member)->id, member_id) ? ERR_NONE
                                              : ERR_FENCED_INSTANCE_ID;
}

enum err beat_find_classic(struct beat *b)
{
    struct slice instance_id = b->request->instance_id;
    struct cmember *member = NULL;
    enum err err = ERR_NONE;

    if (b->group == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    if (!is_supported(b->group, b->classic))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (slice_is_null(instance_id))
        b->member = cgroup_member(b->group, b->request->member_id);
    else if (b->request->member_id.len == 0)
        b->returned = cgroup_static(b->group, instance_id);
    else
        err = cclassic_find(b->group, b->request->member_id, instance_id,
                            &member);
    if (member != NULL)
        b->member = member;
    return err;
}

static bool needs_id(const struct beat *b)
{
    return b->context->version >= ID_FIRST_VERSION &&
           b->request->member_id.len == 0 &&
           slice_is_null(b->request->instance_id);
}

/* ---- what it says --------------------------------------------------------*/

static enum err check(const struct consumer_config *config,
                      const struct join_group_request *request)
{
    if (request->session_timeout_ms < config->group_min_session_timeout_ms ||
        request->session_timeout_ms > config->group_max_session_timeout_ms)
        return ERR_INVALID_SESSION_TIMEOUT;
    if (!slice_eq_str(request->protocol_type, "consumer") ||
        request->protocols_len <= 0 || request->protocols_len > PROTOCOLS_MAX)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    return ERR_NONE;
}

static void say_owned(struct arena *arena, struct parts owned,
                      struct consumer_group_heartbeat_request *to)
{
    to->topic_partitions =
        arena_array(arena, owned.len, sizeof *to->topic_partitions);
    to->topic_partitions_len = (int32_t)owned.len;
    for (uint32_t i = 0; i < owned.len; i++)
        to->topic_partitions[i] =
            (struct consumer_group_heartbeat_request_topic_partitions){
                owned.items[i].topic, &owned.items[i].partition, 1};
}

/* All protocols of a consumer come with the same subscription but for what is
 * the assignor's own; the first one counts, as in Kafka. */
static enum err translate(struct beat *b, const struct join_group_request *from,
                          struct consumer_group_heartbeat_request *to,
                          struct cprofile *classic)
{
    struct consumer_protocol_subscription s;
    enum err err =
        embedded_subscription(from->protocols[0].metadata, &b->arena, &s);

    if (err == ERR_TOO_LARGE)
        return ERR_GROUP_MAX_SIZE_REACHED;
    if (err != ERR_NONE)
        return ERR_INCONSISTENT_GROUP_PROTOCOL; /* no consumer wrote it */
    consumer_group_heartbeat_request_init(to);
    to->group_id = from->group_id;
    to->member_id = from->member_id;
    to->member_epoch = CONSUMER_JOINS;
    to->instance_id = from->group_instance_id;
    to->rack_id = s.rack_id.len != 0 ? s.rack_id : SLICE_NULL;
    to->rebalance_timeout_ms =
        coord_rebalance_timeout_ms(from, b->context->version);
    to->subscribed_topic_names = s.topics;
    to->subscribed_topic_names_len = s.topics_len;
    say_owned(&b->arena, embedded_owned(&s, &b->step->coord->world, &b->arena),
              to);
    classic->session_timeout_ms = from->session_timeout_ms;
    classic->protocols_len = (uint32_t)from->protocols_len;
    classic->protocols = arena_array(&b->arena, classic->protocols_len,
                                     sizeof *classic->protocols);
    for (uint32_t i = 0; i < classic->protocols_len; i++)
        classic->protocols[i] =
            (cprotocol){from->protocols[i].name, from->protocols[i].metadata};
    return ERR_NONE;
}

/* ---- the answer ----------------------------------------------------------*/

static struct slice own_copy(struct slice text)
{
    return slice_of(slice_dup(text), text.len);
}

static void fill_answer(struct beat *b)
{
    struct join_group_response *r = &b->answer->response.join_group;
    struct arena *arena = &b->answer->arena;

    r->member_id = arena_copy(arena, b->id);
    r->generation_id = b->next.epoch;
    r->protocol_type = SLICE("consumer");
    r->protocol_name = arena_copy(arena, slice_is_null(b->protocol)
                                             ? b->classic->protocols[0].name
                                             : b->protocol);
    b->write->joined_group = own_copy(b->request->group_id);
    b->write->joined_member = own_copy(b->id);
}

static void ask_for_id(struct beat *b)
{
    struct join_group_response *r = &b->answer->response.join_group;
    char text[UUID_TEXT_SIZE];

    r->error_code = ERR_MEMBER_ID_REQUIRED;
    r->member_id = arena_copy(&b->answer->arena,
                              slice_str(uuid_format(b->context->random, text)));
}

/* ---- all of it -----------------------------------------------------------*/

static bool is_full(const struct beat *b)
{
    return b->group->size >=
           (uint32_t)b->step->coord->config.group_consumer_max_size;
}

static enum err decide(struct beat *b, const struct join_group_request *request)
{
    struct consumer_group_heartbeat_request said;
    struct cprofile classic = {0};
    enum err err = check(&b->step->coord->config, request);

    if (err == ERR_NONE)
        err = translate(b, request, &said, &classic);
    if (err != ERR_NONE)
        return err;
    b->request = &said;
    b->classic = &classic;
    b->group = cgroup_find(b->step->coord, request->group_id);
    if (needs_id(b) && b->group != NULL) {
        if (is_full(b))
            return ERR_GROUP_MAX_SIZE_REACHED;
        if (!is_supported(b->group, &classic))
            return ERR_INCONSISTENT_GROUP_PROTOCOL;
        ask_for_id(b);
        return ERR_NONE;
    }
    err = beat_decide(b);
    if (err == ERR_NONE)
        fill_answer(b);
    return err;
}

void cjoin_request(struct cstep *step, const struct coord_context *context,
                   const struct join_group_request *request)
{
    struct beat b = {.step = step, .context = context};

    b.answer = coord_refuse(context, API_JOIN_GROUP, request, ERR_NONE);
    b.write = cwrite_new(b.answer);
    arena_init(&b.arena, 0);
    enum err err = decide(&b, request);
    if (err != ERR_NONE) {
        coord_records_free(&b.write->pending.records);
        coord_answer_fail(b.answer, err);
    }
    arena_free(&b.arena);
    cwrite_send(step, b.write);
}
