/* Requests about a group's offsets that any broker takes: OffsetCommit and
 * OffsetFetch in version 0.
 *
 * Version 0 is older than coordinators.  Its offsets were kept in ZooKeeper, so
 * its clients (kafka-node's Consumer) ask whom they please, mostly the leaders
 * of the partitions they read, and know none of the errors by which a
 * coordinator sends its clients elsewhere: after one they begin at offset 0.
 * Here the offsets are in __consumer_offsets like all others, and it is for the
 * broker to find who keeps them and to wait until it can answer.
 *
 * What a request may count on
 *   - It is answered by the group's coordinator, on this node or on another.
 *     __consumer_offsets is created if it does not exist.
 *   - While there is no coordinator, or it is loading or out of reach, the
 *     request waits for it: until a silent coordinator is fenced and the next
 *     one has stored a commit (broker.session.timeout.ms +
 *     offsets.commit.timeout.ms), but no longer than request.timeout.ms.  Then,
 *     and at once if __consumer_offsets cannot be created or too much waits
 *     already, every partition gets COORDINATOR_NOT_AVAILABLE, or what the
 *     coordinator said last: COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR.
 *   - One that is larger than a MiB, or whose answer is larger than 16, gets
 *     INVALID_REQUEST.
 *   - Requests about one group that came to this node are answered one after
 *     another in the order in which they came, so that a commit that had to be
 *     repeated does not overtake a newer one.
 *
 * Later versions keep the rule that only the coordinator answers, and relayed
 * requests travel in one of those, so that they are never relayed twice. */
#ifndef BROKER_RELAY_H
#define BROKER_RELAY_H

#include "broker/request.h"

struct meta;
struct relay;

/* Home thread, with an OffsetCommit or OffsetFetch of version 0; takes the
 * request over.  If the coordinator is here `here` is called on the home
 * thread, possibly again after an answer that was none; each call has to end
 * with relay_answer(). */
void relay_request(struct request *r, void (*here)(struct request *r));
/* Home thread: what this node's coordinator says; `response` is of
 * r->api->response and borrowed.  The request is no longer the caller's. */
void relay_answer(struct request *r, const void *response);

/* ---- for meta.c, on its thread -------------------------------------------*/

struct relay *relay_new(struct meta *m);
/* Closes the connections.  Requests in progress get no answer. */
void relay_stop(struct relay *relay);
/* When no task can arrive any more, see meta_free(). */
void relay_free(struct relay *relay);

#endif
