/* Client connections and the requests on them.
 *
 * A connection belongs to the shard that accepted it.  Its requests are started
 * in the order of arrival and answered in that order, as Kafka promises, but
 * several may be in progress; the bounds on them are enforced by not reading: a
 * count and unread answers for each connection, and queued.max.request.bytes,
 * of which each shard has its share, for all of them.
 *
 * A connection that has no request in progress and moves no bytes is closed
 * after connections.max.idle.ms.
 *
 * One thread at a time owns a request: its home shard, or whoever it was moved
 * to (request_move).  The owner answers it exactly once, from any thread.  A
 * request outlives its connection: an answer to a closed connection is
 * dropped. */
#ifndef BROKER_REQUEST_H
#define BROKER_REQUEST_H

#include "base/arena.h"
#include "base/env.h"
#include "base/error.h"
#include "proto/kafka/api.h"
#include "proto/kafka/codec.h"
#include "proto/kafka/kafka_messages.h"

struct shard;
struct shard_broker;
struct share_connection;
struct conn;
struct quota_use;

struct request {
    struct list link;    /* in the connection's queue, arrival order */
    struct conn *conn;   /* home thread only; NULL once it is closed */
    struct shard *shard; /* home */
    struct env_task task;
    struct env *owner;                /* whose thread owns it now */
    void (*moved)(struct request *r); /* on its way to another thread */
    struct env_frame *frame;          /* what `msg` points into */
    size_t intake_bytes;     /* to be given back to shard->intake, ... */
    _Atomic bool discounted; /* ... unless they were already */
    struct arena arena;      /* decoded request and scratch for the answer */
    const struct api *api;
    int16_t version;
    int32_t correlation_id;
    struct slice client_id;
    const char *client_host; /* in the arena */
    const char *group_host;  /* the same as groups show it: "/192.0.2.7" */
    int listener;            /* index into config's listeners */
    struct slice body;       /* as received, for forwarding */
    void *msg;               /* decoded, of api->request */
    /* Handlers that wait: called at home when the connection is closed. */
    void (*cancel)(struct request *r);
    void *context;            /* the handler's */
    size_t size_bytes;        /* as it came, header included */
    struct quota_use *quotas; /* that count for its client; NULL: none */
    bool exempt;              /* of brokers: never throttled */
    int32_t throttle_ms;      /* how long its connection is not read once it is
                                 answered */
    int64_t busy_us;     /* what threads did for it, but for the time since */
    int64_t began_us;    /* ... this, if one does something just now */
    struct env_out *out; /* the answer, once there is one */
    bool done;
    bool close_after;
    int64_t arrived_us;
};

/* Runs fn on `to`'s thread, which owns the request from then on. */
void request_move(struct request *r, struct env *to,
                  void (*fn)(struct request *));

/* The bytes as received are not needed any more, though the request goes on:
 * makes room for others.  Nothing may point into them: what strings of `msg`
 * are still wanted were copied.  Any thread, while the request cannot end. */
void request_drop_frame(struct request *r);
/* The frame stays, and no longer counts among what the shard has in hand.  Any
 * thread that needs the frame. */
void request_discount_frame(struct request *r);
/* Goes further, for who may wait for long: frame and arena are given back.  Of
 * them only `msg` stays, in `kept`, which is the request's arena from then on.
 * At home. */
void request_shrink(struct request *r, struct arena *kept, void *msg);

/* Encodes `response` (of api->response) and sends it.  Ends the ownership. */
void request_respond(struct request *r, const void *response);
/* As request_respond for a body whose records are file ranges: `gaps` were
 * noted by kafka_encode, one range each; the ranges' files are released. */
struct log_range;
void request_respond_ranges(struct request *r, const void *response,
                            struct log_range *ranges, int ranges_len);
/* Its client is to pause that long (if nothing else says longer): the answer
 * says so, and once it is out the connection is not read.  Before the answer,
 * by the owner. */
void request_throttle(struct request *r, int32_t ms);
/* An encoded body, for forwarded answers. */
void request_respond_body(struct request *r, struct slice body);
/* acks=0: nothing goes out. */
void request_finish_silently(struct request *r);
/* The request can't be answered: closes the connection with one log line. */
void request_close(struct request *r, const char *why);

/* The broker, for an answer that says where a leader is: NULL if it is not
 * known where a client that came by this listener can reach it. */
const struct shard_broker *request_hint(const struct request *r, int32_t id);

/* Of the request's connection, which is there: for share sessions. */
struct share_connection *request_share_connection(const struct request *r);

/* ---- for shard.c ---------------------------------------------------------*/

extern const struct env_conn_ops request_conn_ops;
struct shard_port;
struct address_limits;
/* `port` is told when the connection ends; `addresses` may be NULL. */
struct conn *conn_new(struct shard *shard, struct env_conn *stream,
                      struct shard_port *port, int listener,
                      struct address_limits *addresses);
/* Sets up the shard's fields for connections. */
void conns_init(struct shard *shard);
/* Closes the connection that was used least recently, idle ones first, sparing
 * those of one listener.  False if there is none. */
bool conns_close_oldest(struct shard *shard, int spared_listener);

#endif
