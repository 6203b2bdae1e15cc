/* OffsetCommit: a member of the current generation, or anybody if the group is
 * empty, stores offsets; the answer waits for the records.
 *
 * TxnOffsetCommit (KIP-98, 447): a transactional producer does, in the name of
 * a member or, before version 3, in nobody's; they count when its transaction
 * is committed.
 *
 * For a group of another kind that kind says what may be committed, of each
 * partition (KIP-848, KIP-1251). */
#include "broker/coord/group.h"

#include "base/log.h"
#include "base/planted.h"

/* Java counts UTF-16 code units. */
static size_t utf16_len(struct slice s)
{
    size_t units = 0;

    for (size_t i = 0; i < s.len; i++) {
        if ((s.data[i] & 0xc0) != 0x80)
            units++; /* not a continuation byte */
        if (s.data[i] >= 0xf0)
            units++; /* a surrogate pair */
    }
    return units;
}

static enum err check_absent(const struct coord_context *context,
                             const struct offset_commit_request *request,
                             bool in_txn)
{
    if (request->generation_id_or_member_epoch < 0)
        return ERR_NONE; /* makes a simple group */
    return context->version >= 9 && !in_txn ? ERR_GROUP_ID_NOT_FOUND
                                            : ERR_ILLEGAL_GENERATION;
}

static enum err check(const struct group *group,
                      const struct coord_context *context,
                      const struct offset_commit_request *request, bool in_txn)
{
    int32_t generation = request->generation_id_or_member_epoch;

    if (group == NULL)
        return check_absent(context, request, in_txn);
    /* From a consumer without a group's management, or an administrator. */
    if (generation < 0 && group->state == GROUP_EMPTY)
        return ERR_NONE;
    if (generation >= 0 || request->member_id.len != 0 ||
        !slice_is_null(request->group_instance_id)) {
        enum err err =
            member_check(group, request->member_id, request->group_instance_id);
        if (err != ERR_NONE)
            return err;
        if (generation != group->generation &&
            !PLANTED(GROUPS_TAKE_OLD_GENERATIONS))
            return ERR_ILLEGAL_GENERATION;
    } else if (group->state != GROUP_EMPTY && !in_txn) {
        return ERR_UNKNOWN_MEMBER_ID;
    }
    /* It knows the new generation but not what it owns there. */
    return group->state == GROUP_COMPLETING_REBALANCE && !in_txn
               ? ERR_REBALANCE_IN_PROGRESS
               : ERR_NONE;
}

/* -1 if the client left it to the broker's retention. */
static int64_t expire_timestamp(int64_t retention_ms, int64_t wall_ms)
{
    if (retention_ms < 0)
        return -1;
    return retention_ms > INT64_MAX - wall_ms ? INT64_MAX
                                              : wall_ms + retention_ms;
}

static void add_record(struct step *step, struct coord_write *write,
                       const struct offset_commit_request *request,
                       struct slice topic,
                       const struct offset_commit_request_partition *p)
{
    struct offset_commit_value value = {
        .offset = p->committed_offset,
        .leader_epoch =
            p->committed_leader_epoch < 0 ? -1 : p->committed_leader_epoch,
        .metadata = p->committed_metadata,
        .commit_timestamp =
            p->commit_timestamp == -1 ? step->wall_ms : p->commit_timestamp,
        .expire_timestamp =
            expire_timestamp(request->retention_time_ms, step->wall_ms),
    };

    write_offset(write, request->group_id, topic, p->partition_index, &value);
}

/* From this version on TxnOffsetCommit knows what a group of another kind says
 * of epochs. */
enum { TXN_EPOCHS_FROM = 6 };

/* Before, producers take an error that they do not know for the end. */
static enum err known_to(const struct coord_caller *caller, enum err err)
{
    bool is_new =
        err == ERR_STALE_MEMBER_EPOCH || err == ERR_GROUP_ID_NOT_FOUND;

    return is_new && caller->transactional && caller->version < TXN_EPOCHS_FROM
               ? ERR_ILLEGAL_GENERATION
               : err;
}

/* caller NULL: the group is a classic one, and was asked. */
static enum err check_partition(const struct coord *coord,
                                const struct coord_caller *caller,
                                struct uuid topic,
                                const struct offset_commit_request_partition *p)
{
    if (utf16_len(p->committed_metadata) >
        (size_t)coord->config.offset_metadata_max_bytes)
        return ERR_OFFSET_METADATA_TOO_LARGE;
    if (caller == NULL)
        return ERR_NONE;
    return known_to(caller,
                    coord->others.check_commit(coord->others.arg, caller, topic,
                                               p->partition_index));
}

static void commit_topic(struct step *step, struct coord_write *write,
                         const struct offset_commit_request *request,
                         const struct coord_caller *caller,
                         const struct offset_commit_request_topic *from,
                         struct offset_commit_response_topic *to)
{
    for (int32_t i = 0; i < from->partitions_len; i++) {
        const struct offset_commit_request_partition *p = &from->partitions[i];
        enum err err = check_partition(step->coord, caller, from->topic_id, p);

        to->partitions[i].error_code = err_wire(err);
        if (err == ERR_NONE)
            add_record(step, write, request, from->name, p);
    }
}

/* Records for what can be stored, or the answer when there is nothing. */
static void store(struct step *step, struct coord_write *write,
                  const struct offset_commit_request *request,
                  const struct coord_caller *caller,
                  struct coord_answer *answer)
{
    for (int32_t i = 0; i < request->topics_len; i++)
        commit_topic(step, write, request, caller, &request->topics[i],
                     &answer->response.offset_commit.topics[i]);
    if (write->pending.records.count == 0) {
        write_free(write);
        answer_send(step, answer);
        return;
    }
    write->replay = true;
    write->answer = answer;
    write_send(step, write);
}

static struct coord_caller
caller_of(const struct coord_context *context,
          const struct offset_commit_request *request, bool in_txn)
{
    return (struct coord_caller){
        .group = request->group_id,
        .member_id = request->member_id,
        .epoch = request->generation_id_or_member_epoch,
        .version = context->version,
        .transactional = in_txn,
        .instance_id = request->group_instance_id,
    };
}

static bool is_elsewhere(const struct step *step, struct slice group)
{
    return group_elsewhere(step->coord, group) != GROUP_PRESENT_NOT;
}

void offset_commit_request(struct step *step,
                           const struct coord_context *context,
                           const struct offset_commit_request *request)
{
    struct group *group = group_find(step->coord, request->group_id);
    struct coord_caller caller = caller_of(context, request, false);
    bool elsewhere = is_elsewhere(step, request->group_id);
    enum err err = elsewhere ? ERR_NONE : check(group, context, request, false);
    struct coord_answer *answer =
        coord_refuse(context, API_OFFSET_COMMIT, request, err);

    if (err != ERR_NONE) {
        answer_send(step, answer);
        return;
    }
    if (!elsewhere && group != NULL &&
        (group->state == GROUP_STABLE ||
         group->state == GROUP_PREPARING_REBALANCE)) {
        struct member *m = member_find(group, request->member_id);
        member_heard(step, m, m->session_timeout_ms);
    }
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);
    write->pending.may_wait = true;
    store(step, write, request, elsewhere ? &caller : NULL, answer);
}

void offset_commit_txn_request(struct step *step,
                               const struct coord_context *context,
                               const struct coord_txn_commit *request)
{
    const struct offset_commit_request *commit = &request->commit;
    struct group *group = group_find(step->coord, commit->group_id);
    struct coord_caller caller = caller_of(context, commit, true);
    bool elsewhere = is_elsewhere(step, commit->group_id);
    enum err err = elsewhere ? ERR_NONE : check(group, context, commit, true);
    struct coord_answer *answer =
        coord_refuse(context, API_TXN_OFFSET_COMMIT, request, err);

    if (err != ERR_NONE) {
        answer_send(step, answer);
        return;
    }
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);
    write->pending.transactional = true;
    write->pending.producer_id = request->producer_id;
    write->pending.producer_epoch = request->producer_epoch;
    store(step, write, commit, elsewhere ? &caller : NULL, answer);
}
