/* Raft messages over framed streams.
 *
 * Each node keeps one outgoing connection to each peer and sends on that only;
 * what it receives comes in through the controller's listener, which hands
 * frames with api key 20000 to raft_transport_receive().  One way, no
 * responses.
 *
 * A frame: int16 api_key 20000, int16 version 0, int32 correlation id, nullable
 * string client id "raft-<node id>" (request header version 1), RaftMessage.
 *
 * A connection that breaks is opened again at once, then after 20 ms growing to
 * 500 ms.  Breaking, or being refused, is reported as raft_node_peer_lost: the
 * kernel of a killed process resets its connections within a millisecond.  A
 * connection that is sent to but whose peer has been silent for 3 s is opened
 * anew, so a healed network does not wait for TCP's retransmission timer.
 *
 * Messages that do not fit the queue, or have no connection, are dropped: Raft
 * sends again what matters.
 *
 * Thread: the loop of options.env. */
#ifndef RAFT_TRANSPORT_H
#define RAFT_TRANSPORT_H

#include "raft/node.h"

enum { RAFT_API_KEY = 20000, RAFT_API_VERSION = 0 };

struct env_frame;
struct raft_transport;

struct raft_transport_options {
    struct env *env;
    int32_t node_id;
    size_t queue_max_bytes; /* per peer; 0: 16 MiB */
};

struct raft_transport *
raft_transport_new(const struct raft_transport_options *options);
/* For raft_node_options.link. */
struct raft_link raft_transport_link(struct raft_transport *t);
/* Between raft_node_open and raft_node_start. */
void raft_transport_bind(struct raft_transport *t, struct raft_node *node);
/* Closes the connections; call after raft_node_close, before its closed(). */
void raft_transport_free(struct raft_transport *t);

/* The longest frame that nodes with these options send: one entry may be longer
 * than what messages are filled to. */
size_t raft_transport_frame_max(const struct raft_options *options);
/* True if a frame's request header asks for the Raft API. */
bool raft_transport_is(struct slice frame);
/* One frame from the listener (without length prefix; borrowed).  False: it is
 * malformed, close the connection it came from. */
bool raft_transport_receive(struct raft_transport *t, struct slice frame);

#endif
