/* Fetch sessions of this shard's connections (KIP-227); see api_fetch.c. */
#ifndef BROKER_SESSIONS_H
#define BROKER_SESSIONS_H

struct shard;

/* Followers that stopped fetching, sessions nobody uses. */
void fetch_sessions_tick(struct shard *s);
void fetch_sessions_drop_all(struct shard *s);

#endif
