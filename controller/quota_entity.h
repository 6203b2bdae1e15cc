/* Whom a client quota is for (KIP-13, KIP-546): a user, a client id, both, or
 * an address; each by its name or as the default of all that have none of their
 * own.  And the names under which quotas stand in the image, as configs of
 * IMAGE_RESOURCE_CLIENT_QUOTA: "user=NAME;client-id=NAME", "ip=NAME", with
 * <default> for a default and every byte but letters, digits, '.', '_', '-' and
 * ':' as %XX.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_QUOTA_ENTITY_H
#define CONTROLLER_QUOTA_ENTITY_H

#include "base/arena.h"
#include "base/slice.h"

enum quota_part { QUOTA_USER, QUOTA_CLIENT_ID, QUOTA_IP, QUOTA_PARTS };

struct quota_entity {
    bool has[QUOTA_PARTS];
    struct slice name[QUOTA_PARTS]; /* null: the default */
};

/* "user", "client-id", "ip", as in requests. */
const char *quota_part_name(enum quota_part part);
/* QUOTA_PARTS: none of them. */
enum quota_part quota_part_find(struct slice name);

/* In the arena, NUL-terminated. */
struct slice quota_entity_encode(const struct quota_entity *e, struct arena *a);
/* Names are in the arena.  False for what quota_entity_encode() does not write.
 */
bool quota_entity_decode(struct slice text, struct arena *a,
                         struct quota_entity *e);

/* ---- what is limited ----------------------------------------------------- */

enum quota_type {
    QUOTA_PRODUCE, /* producer_byte_rate: bytes per second */
    QUOTA_FETCH,   /* consumer_byte_rate */
    QUOTA_REQUEST, /* request_percentage: of one thread's time */
    /* controller_mutation_rate: partitions created and deleted per second */
    QUOTA_MUTATION,
    QUOTA_CLIENT_TYPES,
    QUOTA_CONNECTION = QUOTA_CLIENT_TYPES, /* connection_creation_rate of ip */
    QUOTA_TYPES,
};

const char *quota_key(enum quota_type type);
/* QUOTA_TYPES: no such key. */
enum quota_type quota_key_find(struct slice key);

/* How a limit is found and shared: a client's requests count for the most
 * special entity that has one.  Its bucket is named after the client's own user
 * and client id, as far as the entity names them: clients under a default each
 * have a bucket of their own. */
struct quota_match {
    double limit;        /* per second */
    struct slice bucket; /* in the arena; starts with the key */
};

/* The value on one entity; NULL: none. */
typedef const char *quota_lookup(const void *arg, struct slice entity,
                                 struct slice key);

/* Kafka's eight levels: (user, client id), (user, any client id), (any user,
 * client id), (any, any), user, any user, client id, any client id.  False: not
 * limited. */
bool quota_find(enum quota_type type, struct slice user, struct slice client_id,
                quota_lookup *lookup, const void *arg, struct arena *a,
                struct quota_match *out);
/* Of QUOTA_CONNECTION: the address, then the default. */
bool quota_find_ip(struct slice address, quota_lookup *lookup, const void *arg,
                   struct arena *a, double *limit);

#endif
