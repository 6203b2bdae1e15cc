/* Between the files of the core.  Nobody else includes this.
 *
 * Every function here runs inside one raft_step(): r->now_ms and r->random
 * belong to the event, and what is to be done in the world is added to *u. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "base/error.h"
#include "base/planted.h"
#include "raft/raft.h"

#include <stdlib.h>

/* ---- raft.c: building the update ---------------------------------------- */

/* The write that this step asks for, if it asks for one. */
uint64_t step_seq(const struct raft *r);
void persist_vote(struct raft *r, struct raft_update *u);
/* Adds a message from us in our term; the caller fills in the body at once,
 * before the next one is added. */
struct raft_message *message_add(struct raft *r, struct raft_update *u,
                                 enum raft_message_type type, int32_t to);
/* Appends to the log, makes a configuration effective, asks to persist. */
void log_add(struct raft *r, struct raft_update *u, uint64_t term,
             enum raft_entry_type type, struct slice data);
/* 0 <= result < bound, from the event's random bits; bound > 0.  Each call in
 * a step gives another number. */
int64_t random_below(struct raft *r, int64_t bound);

/* ---- election.c --------------------------------------------------------- */

/* Takes up `term` (>= r->term) as a follower of `leader` (or RAFT_ID_NONE). */
void become_follower(struct raft *r, struct raft_update *u, uint64_t term,
                     int32_t leader);
void election_start(struct raft *r, struct raft_update *u);
void election_tick(struct raft *r, struct raft_update *u);
/* The own term and vote have become durable. */
void election_persisted(struct raft *r, struct raft_update *u);
void election_peer_lost(struct raft *r, struct raft_update *u, int32_t peer);
void election_peer_up(struct raft *r);
void election_heard_leader(struct raft *r);
void receive_vote_request(struct raft *r, struct raft_update *u,
                          const struct raft_message *m);
void receive_vote_reply(struct raft *r, struct raft_update *u,
                        const struct raft_message *m);
void receive_timeout_now(struct raft *r, struct raft_update *u,
                         const struct raft_message *m);
/* May this node campaign? */
bool promotable(const struct raft *r);
bool term_durable(const struct raft *r);

/* ---- transfer.c --------------------------------------------------------- */

int transfer_begin(struct raft *r, struct raft_update *u, int32_t to);
/* Sends RAFT_TIMEOUT_NOW if the target has everything. */
void transfer_advance(struct raft *r, struct raft_update *u);
/* At the end of each step: whether our disk holds up what is committed. */
void transfer_note_disk(struct raft *r);
/* Of a leader: begins if it has done so for too long. */
void transfer_tick(struct raft *r, struct raft_update *u);

/* ---- progress.c --------------------------------------------------------- */

struct raft_peer *peer_get(struct raft *r, int32_t id);
/* Makes peers follow the configuration in force; known ones keep what is
 * known about them. */
void peers_rebuild(struct raft *r);
/* All peers as a new leader sees them. */
void peers_reset(struct raft *r);
void peer_to_probe(struct raft_peer *p, uint64_t next);
void peer_to_replicate(struct raft_peer *p);
void peer_to_snapshot(struct raft_peer *p);
void peer_sent(struct raft_peer *p, uint64_t last, size_t bytes);
/* match has grown to `match`: what is in flight up to there has arrived. */
void peer_acked(struct raft_peer *p, uint64_t match);
bool peer_window_open(const struct raft *r, const struct raft_peer *p);
/* The largest value that a majority of voters reaches. */
uint64_t voters_match(const struct raft *r);
/* Since when a majority of voters has been heard from, the leader counting as
 * heard now. */
int64_t voters_contact_ms(const struct raft *r);

/* ---- replication.c ------------------------------------------------------ */

void replicate(struct raft *r, struct raft_update *u, struct raft_peer *p);
void replicate_all(struct raft *r, struct raft_update *u);
void heartbeat_all(struct raft *r, struct raft_update *u);
/* Commits what a majority has; true if something was. */
bool commit_advance(struct raft *r);
void commit_to(struct raft *r, uint64_t index);
/* stable has moved: acknowledge to the leader. */
void follower_persisted(struct raft *r, struct raft_update *u);
void send_append_reply(struct raft *r, struct raft_update *u, int32_t to);
void receive_append(struct raft *r, struct raft_update *u,
                    const struct raft_message *m);
void receive_append_reply(struct raft *r, struct raft_update *u,
                          const struct raft_message *m);

/* ---- snapshot.c --------------------------------------------------------- */

/* Sends the peer its next chunk, or asks for an image. */
void snapshot_send(struct raft *r, struct raft_update *u, struct raft_peer *p);
void snapshot_resend(struct raft *r, struct raft_update *u,
                     struct raft_peer *p);
void snapshot_ready(struct raft *r, struct raft_update *u, uint64_t index,
                    uint64_t size);
/* Forgets an image that nobody is being sent. */
void snapshot_release_unused(struct raft *r, struct raft_update *u);
void snapshot_forget(struct raft *r, struct raft_update *u);
void receive_snapshot(struct raft *r, struct raft_update *u,
                      const struct raft_message *m);
void receive_snapshot_reply(struct raft *r, struct raft_update *u,
                            const struct raft_message *m);
void snapshot_persisted(struct raft *r, struct raft_update *u);
void snapshot_installed(struct raft *r, struct raft_update *u);

/* ---- membership.c ------------------------------------------------------- */

int membership_begin(struct raft *r, struct raft_update *u,
                 const struct raft_change *change);
void configs_push(struct raft *r, struct raft_update *u, uint64_t index,
                  struct raft_config *config);
/* Forgets configurations of entries >= from. */
void configs_truncate(struct raft *r, struct raft_update *u, uint64_t from);
/* Keeps one for the new base. */
void configs_compact(struct raft *r, uint64_t base);
void configs_reset(struct raft *r, struct raft_update *u, uint64_t index,
                   const struct raft_config *config);
/* The one in force at index, which is not before the base. */
const struct raft_config_at *configs_at(const struct raft *r, uint64_t index);
/* A leader that is no voter any more steps down once that is committed. */
void membership_committed(struct raft *r, struct raft_update *u);
void compact_to(struct raft *r, struct raft_update *u, uint64_t index);

#endif
