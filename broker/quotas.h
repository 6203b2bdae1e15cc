/* Client quotas (KIP-13, KIP-546): what the metadata says, and what clients
 * have used.
 *
 * The limits are one object, made by the metadata thread at each change and
 * shared by reference.  A connection finds out which of them count for its
 * client (struct quota_use) when its first request comes, and again after a
 * change.
 *
 * What was used is counted by a bucket for each limited client or group of
 * them, wherever their connections are.  A bucket is found by the shard that
 * its name hashes to, asked once by a task, and then used by any thread, as it
 * is but an atomic.  What a new connection uses before the answer comes is
 * counted with it.
 *
 * A request above its limit is carried out and answered at once, with the time
 * for which its connection is not read afterwards (KIP-219). */
#ifndef BROKER_QUOTAS_H
#define BROKER_QUOTAS_H

#include "base/map.h"
#include "broker/broker.h"
#include "controller/quota_entity.h"

struct image;
struct quota_bucket;

struct quotas {
    _Atomic int refs;
    uint64_t generation; /* higher with each change */
    struct map entities; /* quota_entity.h -> struct map *: key -> char * */
    bool limits_clients;
    bool limits_addresses;
};

/* One reference, the caller's. */
struct quotas *quotas_new(const struct image *image, uint64_t generation);
struct quotas *quotas_ref(struct quotas *q);
void quotas_unref(struct quotas *q);
/* Connections per second of an address; INFINITY: any number. */
double quotas_of_address(const struct quotas *q, const char *address);

/* What counts for one client; shared by its requests. */
struct quota_use;

/* On the shard: for a client without a name of its own ("ANONYMOUS").  `old`
 * (may be NULL) is given back and may be what is returned.  NULL: no limits. */
struct quota_use *quota_use_of(struct shard *s, struct quota_use *old,
                               struct slice client_id);
struct quota_use *quota_use_ref(struct quota_use *u);
void quota_use_unref(struct quota_use *u);

/* Any thread, u may be NULL.  `amount` is bytes, or microseconds of a thread.
 * Returns for how long the connection is to be left alone, in ms. */
int32_t quota_take(struct quota_use *u, enum quota_type type, double amount,
                   int64_t now_us);
/* The same, had it been taken; 0 if nothing was used for long, so that what is
 * larger than any burst gets through at all. */
int32_t quota_would_be(struct quota_use *u, enum quota_type type, double amount,
                       int64_t now_us);
/* As much as may ever be taken at once without a pause; INT32_MAX: no limit. */
int32_t quota_largest(const struct quota_use *u, enum quota_type type);

/* For shard.c. */
void quota_buckets_free(struct map *buckets);

#endif
