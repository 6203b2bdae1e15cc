/* The topics that regexes of consumer groups match (KIP-848), found in pieces,
 * a piece per turn of the loop: what one client asks for costs at most the
 * length of its patterns times that of all names, and others go on meanwhile.
 * A shard searches for one group at a time; the rest wait.
 *
 * The syntax is that of coord/pattern.h.  All on the thread of the shard. */
#ifndef BROKER_GROUP_REGEX_H
#define BROKER_GROUP_REGEX_H

#include "broker/coord/consumer/consumer_coord.h"

struct shard;

bool group_regex_is_valid(struct slice pattern);
/* Takes the lookup; `partition` of __consumer_offsets gets it back by
 * coordinators_looked_up(), with the topics that were there when its turn came.
 */
void group_regex_look_up(struct shard *s, int32_t partition,
                         struct consumer_lookup *lookup);
/* The shard's loop has ended: drops what is under way. */
void group_regex_stop(struct shard *s);

#endif
