/* The topology of a streams group: which subtopologies there are, and the
 * topics that each reads, writes and keeps its state in (KIP-1071, "Topology
 * initialization").  Kept as the record StreamsGroupTopology says it, with the
 * subtopologies rising by id.
 *
 * Configuring it against the topics that exist says how many tasks each
 * subtopology has, or what is in the way: missing source topics, topics that
 * ought to have equal counts of partitions and do not, or internal topics that
 * are to be made first.
 *
 * Pure; the rules are those of Kafka's InternalTopicManager and its parts. */
#ifndef BROKER_COORD_STREAMS_TOPOLOGY_H
#define BROKER_COORD_STREAMS_TOPOLOGY_H

#include "broker/coord/streams/assign_sticky.h"
#include "broker/coord/streams/streams_coord.h"

enum {
    /* Of one group, all subtopologies together.  More is not believed to be a
     * topology: STREAMS_INVALID_TOPOLOGY. */
    STREAMS_TASKS_MAX = 1 << 16,
    STREAMS_SUBTOPOLOGIES_MAX = 1000,
    STREAMS_TOPICS_MAX = 10000, /* names, wherever they are mentioned */
};

/* Codes of KIP-1071's statuses. */
enum streams_status {
    STREAMS_STALE_TOPOLOGY = 0,
    STREAMS_MISSING_SOURCE_TOPICS = 1,
    STREAMS_INCORRECTLY_PARTITIONED_TOPICS = 2,
    STREAMS_MISSING_INTERNAL_TOPICS = 3,
    STREAMS_SHUTDOWN_APPLICATION = 4,
    STREAMS_ASSIGNMENT_DELAYED = 5,
};

typedef struct streams_group_topology_value stopology_value;
typedef struct streams_group_topology_value_subtopology stopology_sub;
typedef struct streams_group_topology_value_topic_info stopology_topic;

/* ---- what members say ----------------------------------------------------*/

/* STREAMS_INVALID_TOPOLOGY, STREAMS_INVALID_TOPOLOGY_EPOCH, or
 * INVALID_REQUEST for what is not supported; *why for clients' logs, in the
 * arena. */
enum err
stopology_validate(struct arena *arena,
                   const struct streams_group_heartbeat_request_topology *said,
                   struct slice *why);
/* In the arena; texts are the request's. */
stopology_value *stopology_of_request(
    struct arena *arena,
    const struct streams_group_heartbeat_request_topology *said);

/* ---- as the group keeps it -----------------------------------------------*/

struct stopology {
    stopology_value *value; /* in the arena, with all it points to */
    struct arena arena;
    struct buf bytes; /* of the value; texts are slices of it */
};

/* A copy; sorts the value's subtopologies. */
struct stopology *stopology_new(stopology_value *value);
void stopology_free(struct stopology *topology);
bool stopology_same(const stopology_value *a, const stopology_value *b);
/* Its source, repartition source and changelog topics: rising, each once, in
 * the arena. */
struct slice *stopology_topics(struct arena *arena,
                               const stopology_value *value, uint32_t *len);
/* The subtopology that reads a topic; NULL: none. */
const stopology_sub *stopology_reader(const stopology_value *value,
                                      struct slice topic);

/* ---- configured ----------------------------------------------------------*/

struct sconfig {
    int64_t hash; /* of the topics that exist, by name, id and count */
    bool ready;   /* else: */
    enum streams_status status;
    struct slice detail;
    /* Rising by id; empty if the status is not about internal topics. */
    struct sticky_sub *subs;
    uint32_t subs_len;
    /* Internal topics that are to be made. */
    struct create_topics_request_creatable_topic *missing;
    uint32_t missing_len;
    struct arena arena; /* all of the above */
};

/* *config is the caller's, to be freed by sconfig_free().
 * STREAMS_INVALID_TOPOLOGY: it can never be configured; *why in the arena. */
enum err stopology_configure(const stopology_value *value,
                             const struct streams_world *world,
                             struct arena *arena, struct sconfig **config,
                             struct slice *why);
void sconfig_free(struct sconfig *config);
/* NULL: there is no such subtopology. */
const struct sticky_sub *sconfig_sub(const struct sconfig *config,
                                     struct slice id);

#endif
