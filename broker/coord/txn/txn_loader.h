/* Loading: the records of a __transaction_state partition become a coordinator.
 *
 * Any one thread at a time may use a loader; it shares nothing. */
#ifndef BROKER_COORD_TXN_TXN_LOADER_H
#define BROKER_COORD_TXN_TXN_LOADER_H

#include "broker/coord/txn/txn_coord.h"

struct txn_loader;

struct txn_loader *txn_loader_create(const struct txn_config *config);
void txn_loader_free(struct txn_loader *loader);

/* Whole batches in offset order, as they lie in the log, up to its end and not
 * just to the high watermark.  ERR_NONE, or ERR_CORRUPT_MESSAGE and the like
 * when a batch cannot be read; records that cannot be understood are counted
 * and skipped. */
enum err txn_loader_add(struct txn_loader *loader, struct slice batches);
uint64_t txn_loader_records(const struct txn_loader *loader);
uint64_t txn_loader_skipped(const struct txn_loader *loader);

/* What was loaded; frees the loader. */
struct txn_coord *txn_loader_take(struct txn_loader *loader);

#endif
