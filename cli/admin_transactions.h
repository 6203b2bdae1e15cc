/* Transactions: who has one, which partitions it writes to, what partitions
 * know of their producers, and how to get rid of one that nobody ends
 * (KIP-664).  Errors as in admin_topics.h. */
#ifndef CLI_ADMIN_TRANSACTIONS_H
#define CLI_ADMIN_TRANSACTIONS_H

#include "cli/client.h"

struct txn_listing {
    struct slice id;
    int32_t coordinator;
    int64_t producer_id;
    struct slice state;
};

struct txn_filter {
    int64_t duration_ms;         /* open for longer; -1: all */
    struct slice pattern;        /* of the id; null: all */
    const int64_t *producer_ids; /* none: all */
    int32_t producer_ids_len;
};

#define TXN_FILTER_ALL ((struct txn_filter){.duration_ms = -1})

/* Of all coordinators, by id. */
enum err admin_transactions_list(struct client *c,
                                 const struct txn_filter *filter,
                                 struct arena *a, struct txn_listing **list,
                                 int32_t *len);

struct txn_view {
    int32_t coordinator;
    struct describe_transactions_response_transaction_state state;
};

/* TRANSACTIONAL_ID_NOT_FOUND: nobody has it. */
enum err admin_transaction_describe(struct client *c, struct slice id,
                                    struct arena *a, struct txn_view *view);

/* What a replica knows of a partition's producers; node -1: its leader. */
enum err
admin_producers(struct client *c, int32_t node, struct slice topic,
                int32_t partition, struct arena *a,
                struct describe_producers_response_partition_response *view);

/* A transaction in one partition. */
struct txn_place {
    struct slice topic;
    int32_t partition;
    struct describe_producers_response_producer_state producer;
};

/* The open transaction that begins there; *found false if there is none. */
enum err admin_transaction_at(struct client *c, struct slice topic,
                              int32_t partition, int64_t start_offset,
                              struct arena *a, struct txn_place *place,
                              bool *found);
/* Writes an abort marker, without asking its coordinator. */
enum err admin_transaction_abort(struct client *c, struct arena *a,
                                 const struct txn_place *place);
/* Fences the id's producer, which aborts what it has open. */
enum err admin_transaction_terminate(struct client *c, struct slice id,
                                     struct arena *a);

struct txn_search {
    int32_t broker;     /* -1: leaders */
    struct slice topic; /* null: all */
    int32_t partition;  /* -1: all */
    int64_t idle_ms;    /* those whose last record is older */
    int64_t now_ms;     /* wall clock */
};

/* Open transactions that no coordinator will end. */
enum err admin_transactions_hanging(struct client *c,
                                    const struct txn_search *search,
                                    struct arena *a, struct txn_place **list,
                                    int32_t *len);

#endif
