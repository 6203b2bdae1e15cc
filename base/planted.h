/* Bugs on purpose, to show that the simulator finds them.
 *
 * In the sources a planted bug reads
 *
 *     if (!PLANTED(SOME_BUG))
 *         what is right;
 *
 * PLANTED() is false, and costs nothing, in every build but the simulator's own
 * of -DLEAT_PLANTED (tests/sim/sim-planted), where one bug can be chosen at
 * start.  docs/simulation.md has the table with what finds each. */
#ifndef BASE_PLANTED_H
#define BASE_PLANTED_H

#include <stdbool.h>

/* X(name, text): the rule that is broken. */
#define PLANTED_BUGS(X)                                                        \
    X(NONE, "nothing")                                                         \
    /* raft/ */                                                                \
    X(RAFT_VOTES_UNPERSISTED, "a vote is given before it is on disk")          \
    X(RAFT_ACKS_UNPERSISTED, "entries are acknowledged before they are on "    \
                             "disk")                                           \
    X(RAFT_VOTES_FOR_ANYBODY, "a candidate's log is not compared")             \
    X(RAFT_SKIPS_LOG_MATCHING, "entries are appended behind others than the "  \
                               "leader's")                                     \
    X(RAFT_COMMITS_OLD_TERMS, "copies of an earlier term's entry are counted") \
    X(RAFT_CHANGES_TOO_EARLY, "membership changes overlap")

enum planted {
#define X(name, text) PLANTED_##name,
    PLANTED_BUGS(X)
#undef X
        PLANTED_COUNT
};

#ifdef LEAT_PLANTED
extern enum planted planted_bug;
#define PLANTED(name) (planted_bug == PLANTED_##name)
#else
#define PLANTED(name) false
#endif

#endif
