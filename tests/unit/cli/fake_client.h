/* client.h without sockets: a cluster that is one function of the test's.
 *
 * Linked into a program it takes the place of client.c and client_cluster.c;
 * every function of client.h that a test needs is here, so that neither is
 * pulled in. */
#ifndef TESTS_UNIT_CLI_FAKE_CLIENT_H
#define TESTS_UNIT_CLI_FAKE_CLIENT_H

#include "cli/client.h"

/* Fills *response and returns ERR_NONE, or an error of the network.  Parts of
 * the response come from the arena.  `node` may be CLIENT_ANY and
 * CLIENT_CONTROLLER. */
typedef enum err (*fake_answer)(void *arg, int32_t node, enum api_key api,
                                const void *request, void *response,
                                struct arena *a);

/* Nodes are 1 to `nodes`; node 1 coordinates every group. */
struct client *fake_client_new(int32_t nodes, fake_answer answer, void *arg);

/* A topic of Metadata's answer; leaders[i] leads partition i. */
void fake_topic(struct metadata_response *r, const char *name,
                const int32_t *leaders, int32_t partitions, struct arena *a);

#endif
