/* Records that a coordinator wants in its partition, and who waits for them.
 *
 * Keys and values are kept as bytes in one buffer until the runtime packs them
 * into a record batch. */
#ifndef BROKER_COORD_RECORDS_H
#define BROKER_COORD_RECORDS_H

#include "base/list.h"
#include "base/slice.h"

struct coord_record {
    struct slice key;
    struct slice value; /* null: a tombstone */
};

/* Grows only; zero-initialise. */
struct coord_records {
    struct buf bytes; /* keys and values, one after another */
    struct coord_records_item {
        size_t key_at;
        uint32_t key_len;
        uint32_t value_len; /* after the key */
        bool tombstone;
    } * items; /* owned */
    uint32_t count;
    uint32_t cap;
};

/* Copies both; a null value makes a tombstone. */
void coord_records_add(struct coord_records *records, struct slice key,
                       struct slice value);
/* Valid until the next add. */
struct coord_record coord_records_get(const struct coord_records *records,
                                      uint32_t index);
void coord_records_free(struct coord_records *records);

/* One decision that waits for its records: embedded by its owner, who keeps it
 * alive until the runtime has called done() for it (see runtime.h).  Without
 * records it waits until everything appended before it is committed. */
struct coord_pending {
    struct list link;             /* the runtime's, or the list it came in */
    struct coord_records records; /* owned */
    /* Whose decision it is, where several share a runtime (group_kind.h): set
     * by who hands it over. */
    uint8_t owner;
    /* May share an append with later ones.  Others are appended before the
     * next request is handled. */
    bool may_wait;
    /* In one batch, or not at all: a prefix of them would be wrong. */
    bool atomic;
    /* They are part of a producer's transaction, and in batches of their own;
     * else the two below mean nothing. */
    bool transactional;
    int16_t producer_epoch;
    int64_t producer_id;
    uint32_t appended;   /* how many of them are in the log */
    int64_t end_offset;  /* exclusive; committed when reached */
    int64_t deadline_ms; /* monotonic: done() with a timeout */
};

#endif
