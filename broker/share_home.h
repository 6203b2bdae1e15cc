/* The side of share sessions where their connections are: sessions
 * (broker/share/session.h), what is released when they end, and what
 * ShareFetch and ShareAcknowledge have in common.
 *
 * A session's number, not its member, owns what it acquires: if the member
 * comes back by another connection, the end of the old one must not release
 * what the new one holds.  The connections' thread. */
#ifndef BROKER_SHARE_HOME_H
#define BROKER_SHARE_HOME_H

#include "broker/request.h"
#include "broker/scatter.h"
#include "broker/share/partition.h"
#include "broker/share/session.h"

struct share_home;

struct share_home *share_home_new(struct shard *s);
void share_home_free(struct share_home *home);
/* The connection is gone. */
void share_home_disconnect(struct shard *s, struct share_connection *c);

/* ---- one request ----------------------------------------------------------*/

enum { SHARE_OWNER_BYTES = 12 };

/* A partition in a request, in its arena. */
struct share_asked {
    struct uuid topic;
    int32_t partition;
    const struct share_ack *acks;
    uint32_t acks_len;
    bool acks_ok; /* false: INVALID_REQUEST */
    /* ---- the result ------------------------------------------------------*/
    bool acknowledged; /* has one */
    enum err err;      /* of the acknowledgement */
    int32_t leader;    /* with NOT_LEADER_OR_FOLLOWER; -1: not known */
    int32_t leader_epoch;
};

/* Embedded in the request's arena. */
struct share_call {
    struct request *request;
    struct slice group;
    struct slice member;
    int32_t epoch;
    bool renews; /* IsRenewAck */
    struct share_asked *asked;
    int32_t asked_len;
    /* ---- share_home.c's --------------------------------------------------*/
    struct share_session *session; /* NULL: it has ended; valid at once only */
    uint64_t number;               /* of the session */
    uint8_t owner_bytes[SHARE_OWNER_BYTES];
    struct slice owner;
    struct list ended;
    void (*acknowledged)(struct share_call *call);
};

/* What is wrong with the request as such: ERR_NONE, INVALID_GROUP_ID,
 * INVALID_REQUEST. */
enum err share_call_check(const struct share_call *call);
/* The types of an acknowledgement that this version and request may have. */
bool share_acks_ok(const struct share_call *call, const struct share_ack *acks,
                   uint32_t acks_len);

/* Opens, continues or ends the session; see session.h for errors. */
enum err share_call_fetch(struct share_call *call,
                          const struct share_session_name *forget,
                          uint32_t forget_len);
enum err share_call_acknowledge(struct share_call *call);

/* Acknowledges what is asked; `acknowledged` comes later, or at once.  After
 * it, what sessions that have ended hold is released. */
void share_call_start_acks(struct share_call *call,
                           void (*acknowledged)(struct share_call *call));

/* Whether the session is still there. */
struct share_session *share_call_session(const struct share_call *call);
/* Releases what it may have acquired in these after its end. */
void share_call_release(const struct share_call *call,
                        const struct share_session_name *names, size_t len);

/* What a client is told of how long its locks last. */
int32_t share_lock_ms(const struct share_call *call);
/* What a client that asks this partition must hear before anything else. */
enum err share_check_partition(const struct partition *p);
/* The leader that a client is told of; -1: none. */
void share_leader_hint(const struct partition *p, int32_t *leader,
                       int32_t *epoch);

#endif
