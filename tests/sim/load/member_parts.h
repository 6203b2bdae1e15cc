/* What member.c (membership), member_assign.c (the leader's work) and
 * member_offsets.c (commits) share. */
#ifndef TESTS_SIM_LOAD_MEMBER_PARTS_H
#define TESTS_SIM_LOAD_MEMBER_PARTS_H

#include "base/arena.h"
#include "tests/sim/load/member.h"

enum member_state {
    MEMBER_AWAY,
    MEMBER_JOINING,
    MEMBER_SYNCING,
    MEMBER_IN,       /* heartbeats */
    MEMBER_REVOKING, /* the last commit before it joins again or leaves */
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
    bool placing; /* OffsetFetch is under way */
    bool placed;  /* the reader knows where to begin */
    bool leave;   /* when revoked */
    bool stopped;
    char *id; /* "" until the coordinator gave one */
    int32_t generation;
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
};

struct slice member_instance(const struct load_member *m);
/* Errors that concern the coordinator or our place in the group; true if the
 * member has to join again. */
bool member_take_error(struct load_member *m, enum err error);

/* ---- member_assign.c */
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
