/* What this broker asks others about transactions, on the metadata thread,
 * whose image says whom: as a coordinator it has markers written by the leaders
 * of the transaction's partitions, and as a leader it asks coordinators whether
 * a partition is part of a transaction.
 *
 * Its own coordinators and leaders are asked in the same way, by a connection
 * to itself. */
#ifndef BROKER_TXN_CLIENT_H
#define BROKER_TXN_CLIENT_H

#include "broker/txn_verify.h"

struct list;
struct meta;
struct server_config;
struct shard;
struct txn_client;

/* ---- any shard's thread --------------------------------------------------*/

/* Takes the markers (of txn_marker.link); they come back by
 * transactions_markers_done(). */
void txn_client_send_markers(struct shard *s, struct list *markers);
/* Producer ids for the coordinator on that partition; they come by
 * transactions_give_ids(). */
void txn_client_ask_ids(struct shard *s, int32_t partition);
/* See txn_verify(); ends with v->answered on v->shard's thread. */
void txn_client_verify(struct txn_verify *v);

/* How long what is asked here may take where it is asked, before the answer
 * says that it takes too long.  Who asks gives up after request.timeout.ms, on
 * all that a request was for; so one partition that cannot commit would hold up
 * the transactions of all others in it. */
int32_t txn_client_answer_ms(const struct server_config *config);

/* ---- for meta.c and meta_ids.c, on the metadata thread
 * ---------------------*/

struct txn_client *txn_client_new(struct meta *m);
/* There are producer ids again. */
void txn_client_ids_came(struct txn_client *c);
/* Closes the connections.  What is under way is forgotten. */
void txn_client_stop(struct txn_client *c);
/* When no task can arrive any more, see meta_free(). */
void txn_client_free(struct txn_client *c);

#endif
