/* struct raft_message to and from the bytes of proto/internal/raft.proto. */
#ifndef RAFT_CODEC_H
#define RAFT_CODEC_H

#include "raft/raft.h"

/* Appends the encoded message.  `image`: the chunk of a RAFT_SNAPSHOT. */
void raft_message_encode(const struct raft_message *m, const char *cluster_id,
                         struct slice image, struct buf *into);

/* Decodes bytes from outside.  Everything *m points to is in `arena`.  False
 * if they are no well-formed message or need more than the arena's limit. */
bool raft_message_decode(struct slice bytes, struct arena *arena,
                         struct raft_message *m, struct slice *cluster_id);

#endif
