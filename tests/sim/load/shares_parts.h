/* Between the files of the workload with share groups: shares_member.c who is a
 * member, shares_session.c its requests to leaders, shares_take.c what becomes
 * of records, shares_produce.c producers, shares_watch.c how far the group is,
 * shares_all.c all of it together. */
#ifndef TESTS_SIM_LOAD_SHARES_PARTS_H
#define TESTS_SIM_LOAD_SHARES_PARTS_H

#include "proto/record/builder.h"
#include "proto/record/record.h"
#include "tests/sim/load/shares.h"

enum { SHARES_PARTITIONS_MAX = SHARE_HISTORY_PARTITIONS_MAX };

struct shares_member;
struct shares_producer;
struct shares_watch;

struct load_shares {
    struct env *env;
    struct prng prng;
    struct load_client_options client;
    struct history *history;
    struct load_shares_options options;
    struct share_history *shares;
    char *topic;
    char *group;
    struct load_client *maker; /* of the topic */
    bool making;
    int64_t make_at_ms;
    struct shares_member **members;
    struct shares_producer **producers;
    struct shares_watch *watch;
    struct batch_builder builder;
    struct codec *codec;
    struct env_timer timer;
    uint64_t sessions; /* how many there ever were */
    bool stopped;
};

/* ---- shares_member.c ----------------------------------------------------- */

enum shares_state { SHARES_AWAY, SHARES_IN, SHARES_LEAVING };

/* A record that the member was given and has not yet said all about. */
struct shares_held {
    int32_t partition;
    int64_t offset;
    int deliveries;
    int32_t epoch;
    uint64_t session;
    enum share_history_type type; /* to be said; 0: nothing ever */
    bool sent;                    /* in the request that is under way */
    int64_t due_ms;
    int64_t drop_ms; /* by then it is certainly not its any more */
};

struct shares_seen {
    int32_t epoch;
    int64_t since_ms; /* 0: never */
};

struct shares_session {
    struct shares_member *member;
    int32_t node;
    uint64_t number;
    int32_t epoch; /* of the next request; 0: to be opened */
    bool busy;
    bool fetches;  /* the request under way */
    uint32_t has;  /* partitions in it, as the node knows them */
    uint32_t will; /* once the request under way is answered */
    int32_t view[SHARES_PARTITIONS_MAX]; /* leader epochs that the node said in
                                            front of the request under way,
                                            as for a while before; -1 */
    struct shares_seen seen[SHARES_PARTITIONS_MAX];
    struct share_history_ask ask;
    int64_t lock_ms; /* as last told; 0: not yet */
    int64_t next_ms;
};

struct shares_member {
    struct load_shares *owner;
    int number;
    char *id;
    struct load_client *client;
    struct prng *prng;
    enum shares_state state;
    int32_t epoch; /* 0: to join */
    bool beating;
    int64_t next_beat_ms;
    int64_t next_ms;  /* when it comes back */
    int64_t until_ms; /* stays so long; 0: for ever */
    uint32_t assigned;
    struct shares_session **sessions; /* one for each node */
    size_t sessions_len;
    struct shares_held *held;
    size_t held_len, held_cap;
    struct buf scratch;
};

struct shares_member *shares_member_of(struct load_shares *s, int number);
void shares_member_free(struct shares_member *m);
void shares_member_start(struct shares_member *m);
void shares_member_tick(struct shares_member *m);
bool shares_member_is_quiet(const struct shares_member *m);

/* ---- shares_session.c ---------------------------------------------------- */

/* Requests that are due. */
void shares_sessions_tick(struct shares_member *m);
/* Ends the sessions in order; true: all have ended. */
bool shares_sessions_close(struct shares_member *m);
/* As with the connections. */
void shares_sessions_drop(struct shares_member *m);

/* ---- shares_take.c ------------------------------------------------------- */

/* What a partition's part of an answer gives. */
void shares_take(struct shares_session *s,
                 const struct share_fetch_response_partition_data *d);
/* What was sent of the partition has this outcome. */
void shares_said(struct shares_session *s, int32_t partition,
                 enum history_outcome outcome);
/* Of all partitions of which nothing else was said. */
void shares_said_all(struct shares_session *s, enum history_outcome outcome);
/* Nothing that the session had is the member's any more. */
void shares_lose(struct shares_session *s);
/* What is not its any more. */
void shares_expire(struct shares_member *m);

/* ---- shares_produce.c ---------------------------------------------------- */

struct shares_producer *shares_producer_of(struct load_shares *s, int number);
void shares_producer_free(struct shares_producer *p);
void shares_producer_tick(struct shares_producer *p);
bool shares_producer_is_quiet(const struct shares_producer *p);

/* ---- shares_watch.c ------------------------------------------------------ */

struct shares_watch *shares_watch_of(struct load_shares *s);
void shares_watch_free(struct shares_watch *w);
void shares_watch_tick(struct shares_watch *w);
/* The group has a start in every partition. */
bool shares_watch_has_begun(const struct shares_watch *w);
/* The group is done with all of every partition; after producers ended. */
bool shares_watch_is_done(const struct shares_watch *w);
/* One that is not: what is missing. */
const char *shares_watch_missing(struct shares_watch *w);

#endif
