/* Reading a partition's log for a share-partition.  The partition's thread. */
#ifndef BROKER_SHARE_READ_H
#define BROKER_SHARE_READ_H

#include "broker/share_lead.h"
#include "controller/share_reset.h"

/* Where a group begins: by time if there is such a record, else the end. */
int64_t share_read_initial(const struct partition *p,
                           const struct share_reset *reset);

/* Acquires from what the log has, and says which bytes hold it.  Looks into the
 * headers of batches only. */
enum err share_read(struct partition *p, struct share_partition *core,
                    const struct share_take *take, bool read_committed,
                    struct share_taken *taken, struct share_update *update);

#endif
