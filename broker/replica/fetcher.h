/* Follower side: one connection from this shard to each leader it follows, and
 * one incremental fetch session on it (KIP-227).
 *
 * A request names only the partitions whose position changed, so ten thousand
 * idle ones cost nothing.  The leader compares our last epoch with its own
 * history (KIP-595 style): an answer with a diverging epoch makes us truncate
 * and ask again; nothing is ever truncated to the high watermark. */
#ifndef BROKER_REPLICA_FETCHER_H
#define BROKER_REPLICA_FETCHER_H

#include "broker/replica/partition.h"

/* p follows p->state.leader from now on. */
void fetcher_add(struct partition *p);
/* p no longer follows anybody. */
void fetcher_remove(struct partition *p);
/* Its appended records are on disk now (fsync). */
void fetcher_synced(struct partition *p);
/* A broker's endpoint or state changed. */
void fetcher_broker_changed(struct shard *s, const struct shard_broker *b,
                            bool anew);
/* The shard knows of our registration. */
void fetchers_settled(struct shard *s);
void fetchers_stop(struct shard *s);
/* For looking at: the request that named p last has no answer yet. */
bool fetcher_awaits(const struct partition *p);

#endif
