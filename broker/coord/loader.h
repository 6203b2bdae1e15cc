/* Loading: the records of a __consumer_offsets partition become coordinators,
 * one of each kind.
 *
 * Any one thread at a time may use a loader; it shares nothing. */
#ifndef BROKER_COORD_LOADER_H
#define BROKER_COORD_LOADER_H

#include "broker/coord/group_kind.h"

struct group_loader;

/* high_watermark as it is now: records at or above it are read, too, but what
 * they replace is kept until they are committed. */
struct group_loader *
group_loader_create(const struct group_shard_options *options,
                    int64_t high_watermark);
void group_loader_free(struct group_loader *loader);

/* Whole batches in offset order, as they lie in the log.  ERR_NONE, or
 * ERR_CORRUPT_MESSAGE and the like when a batch cannot be read; records that
 * cannot be understood are counted and skipped. */
enum err group_loader_add(struct group_loader *loader, struct slice batches);
uint64_t group_loader_records(const struct group_loader *loader);
uint64_t group_loader_skipped(const struct group_loader *loader);

/* What was loaded; frees the loader. */
struct group_cores *group_loader_take(struct group_loader *loader);

#endif
