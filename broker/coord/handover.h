/* A group with all its members on the way from one kind of groups to another
 * (KIP-848, "Online Upgrade" and "Online Downgrade"): what both sides know of
 * it, as plain structs.
 *
 *     upgrade    classic group -> consumer group.  The consumer core asks for
 *                the classic group (find), and writes its own records of the
 *                members behind the tombstone (forget).
 *     downgrade  the other way: the consumer core writes its tombstones and the
 *                record of a classic group (store).
 *
 * Each is one atomic write of the consumer core; the classic core learns of it
 * by coord_hand_over() when the write is in the log.  Slices and arrays are
 * borrowed for the call, or in the arena of who asked. */
#ifndef BROKER_COORD_HANDOVER_H
#define BROKER_COORD_HANDOVER_H

#include "broker/coord/records.h"
#include "proto/kafka/api.h"

#include "base/arena.h"

/* One protocol that a member of a classic group supports, with its metadata;
 * laid out as in JoinGroup. */
typedef struct join_group_request_protocol handover_protocol;

struct handover_member {
    struct slice id;
    struct slice instance_id; /* null: a dynamic member */
    struct slice client_id;
    struct slice client_host;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    const handover_protocol *protocols; /* in order of preference */
    int32_t protocols_len;
    struct slice subscription; /* metadata of the group's protocol */
    struct slice assignment;   /* null or empty: none */
};

struct handover_group {
    struct slice id;
    struct slice protocol_type;
    struct slice protocol_name;
    int32_t generation;
    struct handover_member *members; /* in the order of joining */
    uint32_t members_len;
    /* Downgrade: somebody is gone or wants something else, so that all have to
     * join again. */
    bool rebalances;
};

/* The classic core as the consumer core sees it. */
struct handover_classics {
    void *arg; /* NULL: there is none */
    /* A classic group with members, or with some that are expected; false:
     * there is no such group. */
    bool (*find)(void *arg, struct slice group, struct arena *arena,
                 struct handover_group *out);
    /* Adds its tombstone, if it has a record. */
    void (*forget)(void *arg, struct slice group,
                   struct coord_records *records);
    /* Adds the record of such a group. */
    void (*store)(void *arg, const struct handover_group *group,
                  int64_t wall_ms, struct coord_records *records);
};

#endif
