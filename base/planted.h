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
    X(RAFT_VOTES_TWICE, "a second vote is given in a term")                    \
    X(RAFT_VOTES_FOR_ANYBODY, "a candidate's log is not compared")             \
    X(RAFT_FORGETS_TERMS, "a term that a message brought is not on disk")      \
    X(RAFT_LEADS_WITH_HALF, "half of the votes is enough")                     \
    X(RAFT_ACKS_UNPERSISTED,                                                   \
      "entries are acknowledged before they are on disk")                      \
    /* controller/ */                                                          \
    X(CONTROLLER_STARTS_BEHIND,                                                \
      "a controller decides before it has applied what is committed")          \
    X(CONTROLLER_KEEPS_UNTAKEN,                                                \
      "a decision that the quorum did not take stays in the image")            \
    X(CONTROLLER_CUTS_SNAPSHOTS, "a snapshot's last piece is left out")        \
    X(CONTROLLER_ANSWERS_EARLY, "a decision is told before it is committed")   \
    X(CONTROLLER_TAKES_OLD_PARTITION_EPOCHS,                                   \
      "an in-sync set is taken for an older state of the partition")           \
    X(CONTROLLER_TAKES_EARLIER_LIVES,                                          \
      "a replica gets in sync for what its earlier life had")                  \
    X(CONTROLLER_KEEPS_RESTARTED_IN_SYNC,                                      \
      "a broker that registers again stays in sync")                           \
    X(CONTROLLER_TAKES_CRASH_FOR_STOP,                                         \
      "a broker that crashed stays an eligible leader")                        \
    X(CONTROLLER_ELECTS_FENCED, "a fenced broker is elected")                  \
    X(CONTROLLER_ELECTS_ANYBODY,                                               \
      "a replica that is not in sync is elected though it must not be")        \
    X(CONTROLLER_KEEPS_LEADER_EPOCH,                                           \
      "a new leader has the leader epoch of the old one")                      \
    X(CONTROLLER_REPEATS_PRODUCER_IDS,                                         \
      "a block of producer ids is handed out twice")                           \
    /* broker/replica/: leaders */                                             \
    X(LEADER_COUNTS_ITSELF,                                                    \
      "the high watermark does not wait for the in-sync replicas")             \
    X(LEADER_COUNTS_SHRUNKEN_ISR, "the high watermark does not wait for a "    \
                                  "replica whose leave is not confirmed")      \
    X(LEADER_IGNORES_MIN_ISR,                                                  \
      "the high watermark moves with fewer than min.insync.replicas")          \
    X(LEADER_COUNTS_EARLIER_LIVES,                                             \
      "what a follower had before it registered again counts")                 \
    X(LEADER_SERVES_EARLIER_LIVES,                                             \
      "fetches of a follower's earlier life count")                            \
    X(LEADER_ACKS_APPENDED,                                                    \
      "acks=all is answered when the leader has the records")                  \
    X(LEADER_TAKES_SILENCE_FOR_NO, "a proposed in-sync set counts as refused " \
                                   "though it may have been taken")            \
    X(LEADER_LETS_LAGGARDS_JOIN,                                               \
      "a replica below the high watermark gets in sync")                       \
    X(LEADER_IGNORES_ASKED_EPOCH,                                              \
      "the leader epoch of a request is not compared")                         \
    X(LEADER_IGNORES_HISTORY,                                                  \
      "a follower's last epoch is not compared with the log")                  \
    X(LEADER_NOTES_NO_EPOCH,                                                   \
      "where its epoch starts is not noted before the first append")           \
    X(LEADER_COMMITS_ITS_LOG,                                                  \
      "a new leader takes all of its log for committed")                       \
    /* broker/replica/: followers */                                           \
    X(FOLLOWER_CUTS_TO_WATERMARK,                                              \
      "a follower cuts its log to its high watermark")                         \
    X(FOLLOWER_IGNORES_DIVERGENCE,                                             \
      "a follower does not cut its log where the leader's differs")            \
    X(FOLLOWER_CUTS_TOO_LITTLE, "a follower cuts to the leader's end of an "   \
                                "epoch though its own ends before")            \
    X(FOLLOWER_BELIEVES_ANY_WATERMARK,                                         \
      "a high watermark is taken beyond the own log's end")                    \
    X(FOLLOWER_TAKES_OLD_ANSWERS,                                              \
      "an answer to an older request than the last is taken")                  \
    /* leat.durability=fsync, broker/log/ */                                   \
    X(FSYNC_LEADER_COUNTS_UNSYNCED,                                            \
      "a leader counts its records before they are on disk")                   \
    X(FSYNC_FOLLOWER_ACKS_UNSYNCED,                                            \
      "a follower asks for more before what it has is on disk")                \
    X(LOG_SWALLOWS_SYNC_ERRORS, "a failed fsync counts as done")               \
    X(LOG_LETS_FLUSHES_OUTLIVE_CUTS,                                           \
      "a flush counts for what was appended after a truncation")               \
    X(LOG_RECOVERS_FROM_ITS_END,                                               \
      "the recovery point is ahead of what is synced")                         \
    X(LOG_TRUSTS_TORN_TAILS, "CRCs of the tail are not checked after a crash") \
    X(LOG_KEEPS_CUT_EPOCHS,                                                    \
      "leader epochs outlive the records that were truncated")                 \
    X(DIRS_OPEN_ANEW,                                                          \
      "what may be in a directory that failed is made anew in another")        \
    X(MOVE_LEAVES_NO_MARK,                                                     \
      "neither directory says to which of them a replica moved")               \
    X(LOG_LEAVES_CUTS_UNSYNCED,                                                \
      "a log is written to while its truncation is not on disk")               \
    X(LOG_KEEPS_CUT_PLACES,                                                    \
      "places of batches in the file outlive a truncation")                    \
    X(LOG_SHARES_PLACES,                                                       \
      "a directory is taken while the replica before is still there")          \
    X(LOG_TAKES_DELETED_TOPICS,                                                \
      "the files of a deleted topic of the same name are taken")               \
    /* compaction */                                                           \
    X(CLEANER_DROPS_THE_LAST, "the last record of a key is compacted away")    \
    X(CLEANER_KEEPS_ABORTED,                                                   \
      "records of aborted transactions are kept, and hide others")             \
    X(CLEANER_DROPS_MARKERS_FIRST,                                             \
      "a marker may go though records of its transaction are there")           \
    X(CLEANER_SWAPS_UNSYNCED,                                                  \
      "a compacted segment replaces others before it is on disk")              \
    /* idempotent producers */                                                 \
    X(PRODUCERS_FORGOTTEN_AT_OPEN,                                             \
      "producers are not learned again from the log at its opening")           \
    X(PRODUCERS_NOT_FOLLOWED,                                                  \
      "a follower does not learn of producers from what it copies")            \
    X(PRODUCERS_OUTLIVE_CUTS,                                                  \
      "producers keep sequences of records that were truncated")               \
    X(PRODUCERS_REPEATED,                                                      \
      "a batch that was appended already is appended again")                   \
    X(PRODUCERS_LEAVE_GAPS,                                                    \
      "a batch is appended though the one before it is missing")               \
    /* readers */                                                              \
    X(READERS_SEE_UNCOMMITTED, "consumers read beyond the high watermark")     \
    X(READERS_ASK_ANYBODY, "a replica that does not lead answers consumers")   \
    X(READERS_HEAR_OF_UNCOMMITTED,                                             \
      "ListOffsets names offsets beyond the high watermark")                   \
    X(READERS_HEAR_OLD_WATERMARK,                                              \
      "a new leader answers ListOffsets by what it knew as a follower")        \
    /* broker/coord/ */                                                        \
    X(GROUPS_TAKE_OLD_GENERATIONS, "a commit of an older generation is taken") \
    X(GROUPS_ANSWER_EARLY, "a commit is answered before it is replicated")     \
    X(GROUPS_LOAD_TO_WATERMARK, "a new coordinator does not load what its "    \
                                "high watermark does not cover yet")           \
    X(GROUPS_LOAD_WITHOUT_THE_LAST,                                            \
      "a new coordinator leaves out the last batch")                           \
    X(MIGRATION_SYNCS_TARGET,                                                  \
      "a classic member of a consumer group gets what another still has")      \
    X(MIGRATION_LOSES_ASSIGNMENTS,                                             \
      "who comes from a classic group seems to own nothing")                   \
    X(GROUPS_HAND_OUT_OLD,                                                     \
      "a member gets its assignment of the generation before")                 \
    X(MODERN_GIVES_WHAT_IS_OWNED,                                              \
      "a member gets what another has not given up")                           \
    X(MODERN_AWAITS_NO_REVOCATION,                                             \
      "what a member is told to give up counts as given up")                   \
    X(MODERN_TAKES_OLD_EPOCHS,                                                 \
      "offsets are taken whatever epoch their member has")                     \
    /* transactions */                                                         \
    X(TXN_COMMITS_ALL, "all markers commit")                                   \
    X(TXN_SHOWS_UNDECIDED,                                                     \
      "the last stable offset does not wait for open transactions")            \
    X(TXN_UNVERIFIED, "a first batch is taken though its partition was not "   \
                      "added to the transaction")                              \
    X(TXN_OVERTAKES, "what is behind a first batch is asked about as well, "   \
                     "and overtaken meanwhile")                                \
    X(TXN_TAKES_ZOMBIES, "an epoch is taken that a later one has fenced")      \
    X(TXN_KEEPS_EPOCH, "InitProducerId gives the epoch of the producer "       \
                       "before")                                               \
    X(TXN_LOADS_WITHOUT_THE_LAST,                                              \
      "a new coordinator leaves out the last batch")                           \
    X(TXN_FORGETS_MARKERS_AT_LOADING,                                          \
      "a new coordinator does not send the markers of what was decided")       \
    X(TXN_SENDS_MARKERS_ONCE, "a marker that failed counts as written")        \
    X(TXN_NEVER_TIMES_OUT, "a transaction is not aborted after its time")      \
    X(TXN_FOLLOWERS_NOTE_NO_ABORTS,                                            \
      "who opens or copies a log does not note what was aborted")              \
    X(TXN_SHOWS_OFFSETS_EARLY,                                                 \
      "offsets in a transaction are shown before it is committed")             \
    /* share groups */                                                         \
    X(SHARE_ANSWERS_EARLY,                                                     \
      "an acknowledgement is answered before it is stored")                    \
    X(SHARE_WRITES_ONCE, "a write that failed counts as stored")               \
    X(SHARE_KEEPS_RELEASED, "what is released is handed out to nobody")        \
    X(SHARE_LOCKS_FOR_EVER, "locks do not time out")                           \
    X(SHARE_GIVES_WHAT_IS_HELD, "a record is handed out that somebody has")    \
    X(SHARE_IGNORES_LIMIT, "a record is handed out more often than it may be") \
    X(SHARE_LOADS_START_ONLY,                                                  \
      "a new leader forgets what is done beyond the start")                    \
    X(SHARE_FORGETS_DELIVERIES,                                                \
      "a new leader begins to count deliveries anew")                          \
    X(SHARE_SNAPSHOTS_START_ONLY,                                              \
      "a snapshot leaves out what is done beyond the start")                   \
    X(SHARE_LOADS_WITHOUT_THE_LAST,                                            \
      "a new share coordinator leaves out the last batch")

/* Of the Raft core alone: they need more elections and larger logs than a
 * cluster has.  Its own simulator finds them (tests/unit/raft/test_sim.c). */
#define PLANTED_RAFT_BUGS(X)                                                   \
    X(RAFT_ACKS_UNCOMPARED,                                                    \
      "entries are acknowledged that were not compared with the leader's")     \
    X(RAFT_SKIPS_LOG_MATCHING,                                                 \
      "entries are appended behind others than the leader's")                  \
    X(RAFT_COMMITS_OLD_TERMS, "copies of an earlier term's entry are counted") \
    X(RAFT_COMMITS_UNCOMPARED,                                                 \
      "a follower commits entries that were not compared with the leader's")   \
    X(RAFT_CHANGES_TOO_EARLY, "membership changes overlap")

enum planted {
#define X(name, text) PLANTED_##name,
    PLANTED_BUGS(X) PLANTED_RAFT_BUGS(X)
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
