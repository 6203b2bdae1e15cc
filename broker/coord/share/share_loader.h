/* Loading: the records of a __share_group_state partition become a coordinator.
 *
 * Any one thread at a time may use a loader; it shares nothing. */
#ifndef BROKER_COORD_SHARE_SHARE_LOADER_H
#define BROKER_COORD_SHARE_SHARE_LOADER_H

#include "broker/coord/share/share_coord.h"

struct share_loader;

struct share_loader *
share_loader_create(const struct share_coord_config *config);
void share_loader_free(struct share_loader *loader);

/* Whole batches in offset order, as they lie in the log, up to its end and not
 * just to the high watermark.  ERR_NONE, or ERR_CORRUPT_MESSAGE and the like
 * when a batch cannot be read; records that cannot be understood are counted
 * and skipped. */
enum err share_loader_add(struct share_loader *loader, struct slice batches);
uint64_t share_loader_records(const struct share_loader *loader);
uint64_t share_loader_skipped(const struct share_loader *loader);

/* What was loaded; frees the loader. */
struct share_coord *share_loader_take(struct share_loader *loader);

#endif
