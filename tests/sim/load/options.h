/* What a run of the workload is made of.  Each seed draws its own (swarm
 * testing): features on or off, sizes small or large. */
#ifndef TESTS_SIM_LOAD_OPTIONS_H
#define TESTS_SIM_LOAD_OPTIONS_H

#include "base/prng.h"
#include "base/slice.h"

struct load_options {
    /* Given by whoever runs it, not drawn. */
    bool unclean_possible; /* acknowledged records may be lost */
    int nodes;             /* brokers */
    const char *space; /* begins all names of topics and groups; outlives the
                          run */

    /* Topics. */
    int topics;         /* that stay */
    int churn;          /* that are deleted and made again */
    int32_t partitions; /* of a new topic */
    int32_t partitions_max;
    int16_t replication_factor;

    /* Actors. */
    int producers;
    int idempotent_percent; /* of producers */
    int readers;
    int groups;
    int members; /* of each group */
    int static_percent;
    int modern_percent; /* of groups: by KIP-848 */
    int mixed_percent;  /* of groups: by both protocols, each member's choice
                           when it comes */
    int32_t modern_session_timeout_ms; /* the brokers', too */

    int transactors; /* clients with transactions */
    bool txn_second; /* in the protocol of KIP-890's second part */
    bool txn_compacted;
    int64_t txn_retention_ms; /* delete.retention.ms then; 0: the brokers' */
    bool txn_vanish;          /* one of them dies for good */
    bool txn_hasty;           /* they end what they still wait for */
    bool txn_trains;          /* they do not wait between two batches */

    int share_members; /* of a share group; 0: there is none */
    int share_producers;
    int share_limit;                  /* the brokers', too, as are: */
    int32_t share_session_timeout_ms; /* of membership */
    int32_t share_lock_ms;
    int64_t share_interval_ms; /* between a producer's batches */
    int64_t share_max_wait_ms;
    bool share_going; /* members come and go */
    bool share_early; /* nobody waits until the group has begun */

    /* Producers. */
    bool acks_0, acks_1; /* beside acks=all */
    bool compression;
    int in_flight_max;
    int batch_records_max;
    int filler_bytes_max;
    int64_t produce_interval_ms;
    int64_t delivery_timeout_ms;

    /* Readers. */
    bool sessions;
    bool long_polls;
    bool seeks;
    bool offset_queries;
    bool small_fetches;
    bool strays; /* ask replicas that do not lead, and must be refused */

    /* Transactions. */
    bool txn_offsets;
    bool txn_deaths; /* of their clients */
    int64_t txn_interval_ms;
    int32_t txn_timeout_ms;

    /* Members. */
    int32_t session_timeout_ms;
    int64_t commit_interval_ms;
    bool coming_and_going;
    bool late_commits; /* of their last generation, which must be refused */
    bool late_modern;  /* of KIP-848's members, too */

    /* The admin. */
    int64_t admin_interval_ms; /* 0: only creates */
    bool add_partitions;
    bool alter_configs;
    bool min_insync;
    bool reassign;
    bool elect;
    bool delete_records;

    /* All. */
    int64_t request_timeout_ms;
    int64_t metadata_age_ms;
    bool newest_versions; /* no others */
};

/* Everything off, sizes small: one topic, one producer, one reader. */
void load_options_init(struct load_options *o);
/* Draws what is drawn; `nodes` and the promises stay as they are, and strays
 * and late_commits, which a plan draws apart. */
void load_options_draw(struct prng *prng, struct load_options *o);
/* Likewise clients with transactions, which that leaves out. */
void load_options_draw_transactions(struct prng *prng, struct load_options *o);
/* Likewise a share group. */
void load_options_draw_shares(struct prng *prng, struct load_options *o);
/* One line. */
void load_options_print(const struct load_options *o, struct buf *out);

#endif
