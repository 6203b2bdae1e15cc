/* Share sessions: what a member of a share group fetches, so that it need not
 * say so each time (KIP-932, "Share sessions").
 *
 * A member has one session per broker.  Epoch 0 opens it and names partitions,
 * each request after that has the next epoch and says what changes, and -1 ends
 * it.  A session also ends with its connection; and when there are too many,
 * the least recently used goes if it has been idle for long.  Whatever ends
 * comes out in a list: its owner releases what the member holds in each of its
 * partitions (share_partition_release()) and frees it.
 *
 * Pure; one thread. */
#ifndef BROKER_SHARE_SESSION_H
#define BROKER_SHARE_SESSION_H

#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/uuid.h"

enum {
    SHARE_EPOCH_FIRST = 0,
    SHARE_EPOCH_FINAL = -1,
};

struct share_sessions_config {
    uint32_t max_sessions;   /* group.share.max.share.sessions, 2000 */
    uint32_t max_partitions; /* of all sessions together, 1000000 */
    int64_t idle_ms;         /* 120000: may go when there are too many */
};

struct share_session_partition {
    struct list link; /* in session->partitions, next to be served first */
    struct uuid topic;
    int32_t partition;
};

struct share_session {
    struct list link; /* by last use, or in the list of ended ones */
    struct list by_connection;
    struct slice group;     /* owned */
    struct slice member;    /* owned */
    uint64_t number;        /* no other of these sessions ever had it */
    int32_t epoch;          /* that the next request has to have */
    int64_t used_ms;        /* last */
    struct map by_id;       /* of share_session_partition, owned */
    struct list partitions; /* of share_session_partition.link */
};

/* Embedded in a connection; share_connection_init() first. */
struct share_connection {
    struct list sessions; /* of share_session.by_connection */
};

struct share_sessions {
    struct share_sessions_config config;
    struct map by_member;    /* of share_session, owned */
    struct list by_use;      /* of share_session.link, oldest first */
    uint32_t partitions_len; /* of all */
    uint64_t made;           /* numbers them */
};

void share_sessions_config_init(struct share_sessions_config *config);
void share_sessions_init(struct share_sessions *sessions,
                         const struct share_sessions_config *config);
void share_sessions_free(struct share_sessions *sessions);

void share_connection_init(struct share_connection *connection);
/* The connection is gone, and its sessions with it.  `ended` gets them. */
void share_sessions_disconnect(struct share_sessions *sessions,
                               struct share_connection *connection,
                               struct list *ended);
/* An ended one. */
void share_session_free(struct share_session *session);

/* ---- requests ------------------------------------------------------------*/

/* A topic partition that a request names. */
struct share_session_name {
    struct uuid topic;
    int32_t partition;
};

struct share_session_request {
    struct slice group; /* borrowed for the call, as everything here */
    struct slice member;
    int32_t epoch;
    struct share_connection *connection;
    int64_t now_ms;
    bool has_acks;
    /* ShareFetch: to fetch from now on, and not any more. */
    const struct share_session_name *add;
    uint32_t add_len;
    const struct share_session_name *forget;
    uint32_t forget_len;
};

/* ShareFetch.  *session is the one to fetch for, or NULL if the request ends
 * it: then it is in `ended`, and so is one that a new one replaces or pushes
 * out.  A session that ends gets its acknowledgements first.
 *   INVALID_REQUEST: acknowledgements in a request that opens a session;
 *   SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH;
 *   SHARE_SESSION_LIMIT_REACHED: too many sessions or partitions. */
enum err share_sessions_fetch(struct share_sessions *sessions,
                              const struct share_session_request *request,
                              struct share_session **session,
                              struct list *ended);
/* ShareAcknowledge: the same, but cannot open one (INVALID_SHARE_SESSION_EPOCH)
 * and leaves its partitions alone. */
enum err share_sessions_acknowledge(struct share_sessions *sessions,
                                    const struct share_session_request *request,
                                    struct share_session **session,
                                    struct list *ended);

/* The one with that number, if it is still there. */
struct share_session *share_sessions_find(const struct share_sessions *sessions,
                                          struct slice group,
                                          struct slice member, uint64_t number);
/* It was served, and comes last the next time. */
void share_session_served(struct share_session *session,
                          struct share_session_partition *partition);
/* The same by name; it may not be there any more. */
void share_session_serve(struct share_session *session,
                         const struct share_session_name *name);

#endif
