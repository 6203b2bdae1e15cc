/* The table of APIs: what each is called, its messages, and which versions
 * Leat serves on which listener.
 *
 * The table is generated from schema/, where `serve` lines set the ranges.  It
 * alone drives the answer to ApiVersions, the dispatch of requests and
 * docs/protocol.md: an API is served in exactly the versions that it says. */
#ifndef PROTO_KAFKA_API_H
#define PROTO_KAFKA_API_H

#include "proto/kafka/codec.h"
#include "proto/kafka/kafka_messages.h" /* enum api_key, the messages */

enum api_listener {
    API_ON_BROKER,
    API_ON_CONTROLLER,
    API_LISTENERS, /* how many */
};

/* Versions, inclusive; min > max: none. */
struct api_range {
    int16_t min;
    int16_t max;
};

struct api {
    int16_t key;
    const char *name;  /* "Produce" */
    const char *about; /* what it does, a sentence */
    const struct kafka_desc *request;
    const struct kafka_desc *response;
    struct api_range served[API_LISTENERS];
};

/* By rising key, which is also the index.  Holds APIs that are known but not
 * served, too. */
extern const struct api api_table[API_COUNT];

/* KIP-430: what a client may do with a resource when nothing restricts it, a
 * bit for each AclOperation that the kind of resource knows. */
enum {
    TOPIC_OPERATIONS_ALL =
        1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11,
    GROUP_OPERATIONS_ALL = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11,
    CLUSTER_OPERATIONS_ALL =
        1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12,
};

/* NULL if there is no such key. */
const struct api *api_find(int16_t key);
/* "Produce"; "unknown" for a key that isn't in the table. */
const char *api_name(int16_t key);
/* Whether the listener takes the API at all. */
bool api_is_served(const struct api *api, enum api_listener listener);
bool api_serves(const struct api *api, enum api_listener listener,
                int16_t version);
/* KIP-511: what ApiVersions takes as a client's software name or version:
 * letters, digits, and inside also '.' and '-'. */
bool api_software_name_ok(struct slice name);

#endif
