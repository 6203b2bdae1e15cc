/* The metadata quorum: who leads, who follows how far.  Errors as in
 * admin_topics.h. */
#ifndef CLI_ADMIN_QUORUM_H
#define CLI_ADMIN_QUORUM_H

#include "cli/client.h"

struct quorum_replica {
    int32_t id;
    struct uuid directory_id; /* zero: not told */
    int64_t end_offset;
    int64_t last_fetch_ms;                            /* -1: not told */
    int64_t last_caught_up_ms;                        /* -1: not told */
    const struct describe_quorum_response_node *node; /* NULL: not told */
};

struct quorum_view {
    int32_t leader;
    int32_t epoch;
    int64_t high_watermark;
    int64_t max_lag;                   /* of the voter furthest behind */
    int64_t max_lag_time_ms;           /* -1: not known */
    const struct quorum_replica *lead; /* NULL: not among the voters */
    struct quorum_replica *voters;
    int32_t voters_len;
    struct quorum_replica *observers;
    int32_t observers_len;
};

enum err admin_quorum(struct client *c, struct arena *a,
                      struct quorum_view *view);

/* A controller that is, or is to be, a voter. */
struct quorum_voter {
    int32_t id;
    struct uuid directory_id;
    /* To add one: where it listens. */
    const char *listener;
    const char *host;
    uint16_t port;
};

/* The active controller has done it, or why not (KIP-853). */
enum err admin_quorum_add(struct client *c, struct arena *a,
                          const struct quorum_voter *voter);
enum err admin_quorum_remove(struct client *c, struct arena *a,
                             const struct quorum_voter *voter);

#endif
