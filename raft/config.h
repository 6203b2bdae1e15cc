/* Who takes part: voters and learners with their addresses.
 *
 * A configuration is the payload of a RAFT_ENTRY_CONFIG entry and takes effect
 * when the entry is appended, committed or not (Raft paper section 6, thesis
 * section 4.1).  Consecutive configurations differ by one member, so any two
 * majorities of neighbours overlap. */
#ifndef RAFT_CONFIG_H
#define RAFT_CONFIG_H

#include "base/slice.h"
#include "base/uuid.h"

enum {
    RAFT_ID_NONE = -1,
    RAFT_VOTERS_MAX = 31,
    RAFT_MEMBERS_MAX = 1024,
    RAFT_HOST_MAX = 255,
};

struct raft_member {
    int32_t id; /* node.id, >= 0 */
    bool voter; /* false: learner, gets the log and has no vote */
    uint16_t port;
    char host[RAFT_HOST_MAX + 1]; /* NUL-terminated */
    /* Which disk it keeps the log on (KIP-853); zero: nobody has said.  Only
     * written down here: votes and acknowledgements do not name it. */
    struct uuid directory;
};

struct raft_config {
    struct raft_member *members; /* owned, ascending by id, no duplicates */
    size_t len;
};

#define RAFT_CONFIG_INIT ((struct raft_config){NULL, 0})

void raft_config_free(struct raft_config *c);
void raft_config_copy(struct raft_config *to, const struct raft_config *from);
/* Adds, or replaces the member with this id.  False if a bound is passed. */
bool raft_config_set(struct raft_config *c, const struct raft_member *member);
/* False if it was not there. */
bool raft_config_remove(struct raft_config *c, int32_t id);
/* NULL if absent; valid until the next change. */
const struct raft_member *raft_config_find(const struct raft_config *c,
                                           int32_t id);
size_t raft_config_voters(const struct raft_config *c);

void raft_config_encode(const struct raft_config *c, struct buf *into);
/* False, and `c` empty, unless `bytes` is exactly one well-formed
 * configuration with at least one voter. */
bool raft_config_decode(struct slice bytes, struct raft_config *c);
/* The same, or nobody at all: what a node has that waits to be added. */
bool raft_config_decode_base(struct slice bytes, struct raft_config *c);

#endif
