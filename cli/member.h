/* Membership of a consumer group by the classic protocol (JoinGroup, SyncGroup,
 * Heartbeat, LeaveGroup), with the range assignor.
 *
 * The owner calls member_step() often; it joins when it has to, sends
 * heartbeats when they are due, and says when the assignment changed. */
#ifndef CLI_MEMBER_H
#define CLI_MEMBER_H

#include "cli/client.h"

struct member_partition {
    struct slice topic; /* owned by the member, until the next assignment */
    int32_t partition;
};

struct member;

struct member_options {
    const char *group;
    const char *group_instance_id; /* NULL: a member that comes and goes */
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    /* The topics to subscribe to now, into the arena; called at each join. */
    int32_t (*topics)(void *arg, struct arena *a, struct slice **topics);
    /* Called before partitions are given back. */
    void (*revoked)(void *arg);
    void *arg;
};

struct member *member_new(struct client *c,
                          const struct member_options *options);
/* Leaves the group. */
void member_free(struct member *m);

/* Joins if need be (blocking for as long as the group takes), beats if due.
 * *changed is set when there is a new assignment.  Errors: of the group, final
 * ones only, with a sentence in client_why(). */
enum err member_step(struct member *m, bool *changed);
size_t member_assignment(const struct member *m,
                         const struct member_partition **partitions);
int32_t member_generation(const struct member *m);
struct slice member_id(const struct member *m);
/* Makes the next step join again: what was subscribed to changed. */
void member_rejoin(struct member *m);

/* The range assignor (Kafka's RangeAssignor): of each topic every member that
 * subscribes to it gets a run of partitions, in the order of the members; the
 * first ones get one more if it does not come out even.  counts[i] is how many
 * partitions topic i has; assigned() is called for every run that is not empty.
 * Pure. */
void range_assign(size_t members, const int32_t *counts, size_t topics,
                  bool (*subscribes)(void *arg, size_t member, size_t topic),
                  void (*assigned)(void *arg, size_t member, size_t topic,
                                   int32_t first, int32_t count),
                  void *arg);

#endif
