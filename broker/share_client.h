/* What this broker asks the coordinators of share-partitions: as the leader of
 * a partition, where a group has come in it, and as a group's coordinator.  On
 * the metadata thread, whose image says whom; this broker's own coordinators
 * are asked in the same way, by a connection to itself.
 *
 * See broker/coord/share/router.h for what is asked again, and when. */
#ifndef BROKER_SHARE_CLIENT_H
#define BROKER_SHARE_CLIENT_H

#include "broker/coord/share/router.h"

#include "base/env.h"

struct meta;
struct shard;
struct share_client;

/* Embedded by its owner, and kept until it is done. */
struct share_ask_call {
    struct share_question question;
    struct shard *shard; /* whose thread asks and hears */
    void (*done)(struct share_ask_call *call);
    struct env_task task;
};

/* The shard's thread.  Not answered any more once the node stops. */
void share_client_ask(struct share_ask_call *call);

/* ---- for meta.c, on the metadata thread ----------------------------------*/

struct share_client *share_client_new(struct meta *m);
/* Closes the connections.  What is under way is forgotten. */
void share_client_stop(struct share_client *c);
/* When no task can arrive any more, see meta_free(). */
void share_client_free(struct share_client *c);

#endif
