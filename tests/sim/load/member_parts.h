/* What member.c (membership), member_assign.c (the leader's work),
 * member_modern.c (membership by KIP-848) and member_offsets.c (commits) share.
 */
#ifndef TESTS_SIM_LOAD_MEMBER_PARTS_H
#define TESTS_SIM_LOAD_MEMBER_PARTS_H

#include "base/arena.h"
#include "tests/sim/load/member.h"

enum member_state {
    MEMBER_AWAY,
    MEMBER_JOINING,
    MEMBER_SYNCING,
    MEMBER_IN,       /* heartbeats */
    MEMBER_REVOKING, /* the last commit before it joins again, leaves, or takes
                        over what it was given (KIP-848) */
    MEMBER_LEAVING,
};

struct owned {
    char *name;
    struct uuid id;
    int topic;
    int32_t partition;
    int64_t committed; /* last sent; -1 */
    int64_t commit;    /* number of the commit in flight; -1 */
};

/* KIP-848 names topics by id. */
struct given {
    struct uuid id;
    int32_t partition;
};

struct load_member {
    struct env *env;
    struct load_client *client;
    struct load_reader *reader;
    struct history *history;
    struct load_member_options options;
    struct prng *prng;
    struct env_timer timer;
    enum member_state state;
    bool busy; /* the state's own request is under way */
    bool beating;
    bool committing;
    int64_t late; /* number of the late commit in flight; -1 */
    int32_t late_epoch;
    bool placing; /* OffsetFetch is under way */
    bool placed;  /* the reader knows where to begin */
    bool leave;   /* when revoked */
    bool stopped;
    bool join_open;          /* KIP-848: one by this id was not answered */
    char *id;                /* "" until the coordinator gave one */
    int32_t generation;      /* KIP-848: the member's epoch */
    int32_t last_generation; /* of the assignment before this one; -1 none */
    int64_t next_ms;         /* of the state's next attempt */
    int64_t next_beat_ms;
    int64_t next_commit_ms;
    int64_t until_ms; /* stays that long; 0: for ever */
    uint64_t asked;
    struct owned *owned;
    size_t owned_len;
    uint64_t assignments; /* how many came so far */
    uint64_t placing_for; /* the one that OffsetFetch was sent for */

    /* ---- KIP-848 ---------------------------------------------------------*/
    struct given *given; /* what it is to have, when its last commit is over */
    size_t given_len;
    int64_t sent_ms;  /* of the heartbeat under way */
    int64_t heard_ms; /* of the last one that was answered */
    /* ---- in a group of both protocols ------------------------------------*/
    bool chooses; /* a protocol, when it comes */
    bool unled;   /* JoinGroup named no leader: it is a consumer group */
    /* When it sent the last request but heartbeats by whose answer the
     * coordinator is still the one.  Those of a consumer group say so, too. */
    int64_t proof_ms;
    int64_t commit_ms; /* when it sent the commit that is under way */
    bool has_news;     /* the coordinator does not know what it owns */
    /* What it gave up last, and the epoch it had then; name NULL: nothing. */
    struct owned lost;
    int32_t lost_epoch;
};

struct slice member_instance(const struct load_member *m);
/* Errors that concern the coordinator or our place in the group; true if the
 * member has to join again. */
bool member_take_error(struct load_member *m, enum err error);
/* Commits for what it gave up, with the epoch it had, which must be refused. */
void member_commit_lost(struct load_member *m);

/* Gives everything up and joins, in a while. */
void member_join_again(struct load_member *m, int64_t wait_ms);
/* One last commit, then it leaves, or goes on. */
void member_revoke(struct load_member *m, bool leave);
void member_left(void *arg, enum err error, const void *response);

/* ---- member_modern.c */
/* The one call of KIP-848: it joins, or lives. */
void modern_beat(struct load_member *m);
void modern_leave(struct load_member *m, int32_t node);
/* The last commit of what it gives up is over. */
void modern_take(struct load_member *m);
/* Nothing is its own any more. */
void modern_release(struct load_member *m);
/* It has what it was assigned, if it has heard so in time; false: too late. */
bool modern_claim(struct load_member *m);
/* It was not answered for so long that others may have what it had. */
bool modern_is_unsure(const struct load_member *m);

/* ---- member_assign.c */
/* Topics to subscribe to; 0: none is known. */
int32_t member_topics(struct load_member *m, struct arena *a,
                      struct slice **names);
/* False: it is of a topic that we don't know. */
bool member_own(struct load_member *m, const struct load_topic *t,
                int32_t partition);
struct slice member_subscription(struct load_member *m, struct arena *a);
/* Range assignment of every partition that the metadata names. */
void member_assign(struct load_member *m, const struct join_group_response *r,
                   struct sync_group_request *q, struct arena *a);
/* Takes over what SyncGroup gave; false: it names a topic we don't know. */
bool member_take_assignment(struct load_member *m, struct slice bytes);
void member_drop_assignment(struct load_member *m);

/* ---- member_offsets.c */
/* True if there was something to commit. */
bool member_commit(struct load_member *m);
/* Sends one more as if it came late: of the generation before. */
void member_commit_late(struct load_member *m);
void member_fetch_offsets(struct load_member *m);
/* Commits in flight will never be known. */
void member_forget_commits(struct load_member *m);
/* Called when a commit request is over. */
void member_commit_done(struct load_member *m);

#endif
