/* Whose a directory TOPIC-PARTITION is.
 *
 * A topic that is deleted and made again has another id, so its replicas may be
 * on another shard, and the new one appears there while the old one still has
 * an open, a sync or a deletion under way: each works on the same path, and the
 * old one would take the new one's files away.  So a replica asks for the place
 * before it touches the disk and gives it back when it has left it; meanwhile
 * others wait in turn.
 *
 * A name's keeper is one of the shards (by the name's hash): questions go there
 * as tasks, and so do answers. */
#ifndef BROKER_REPLICA_PLACES_H
#define BROKER_REPLICA_PLACES_H

#include "base/env.h"

struct shard;
struct partition;

struct dir_place; /* one replica's right to its directory, asked for or given */

/* For a replica of `s`; `granted` is called on its shard, never from inside
 * this. */
struct dir_place *place_ask(struct shard *s, const char *topic, int32_t index,
                            struct partition *p,
                            void (*granted)(struct partition *p));
bool place_is_granted(const struct dir_place *place);
/* The replica is not there any more, or does not want it: the next may have it.
 * Frees the place; NULL is fine. */
void place_give_back(struct dir_place *place);

#endif
