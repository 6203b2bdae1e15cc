/* Where the newest batches of the active segment lie, in memory.
 *
 * Followers and most consumers read the end of the log.  With the last few
 * batches' positions at hand such a read touches no file.  The ring holds
 * consecutive batches up to the end of the segment; it is allocated by the
 * first append and never asked to hold more than TAIL_MAX. */
#ifndef BROKER_LOG_TAIL_H
#define BROKER_LOG_TAIL_H

#include <stdbool.h>
#include <stdint.h>

enum { TAIL_MAX = 64 };

struct tail_entry {
    int64_t base_offset;
    uint32_t position;
    int32_t last_offset_delta;
};

struct tail {
    struct tail_entry *entries; /* owned; power-of-two ring */
    uint16_t cap;
    uint16_t first;
    uint16_t len;
};

void tail_free(struct tail *t);
/* Forgets everything, keeps the memory. */
void tail_clear(struct tail *t);
/* The batch just appended; batches come in order. */
void tail_add(struct tail *t, int64_t base_offset, uint32_t position,
              int32_t last_offset_delta);
/* Forgets batches that begin at or behind `position`. */
void tail_truncate(struct tail *t, uint32_t position);

/* A batch and, when it is not the newest, the start of the next. */
struct tail_hit {
    struct tail_entry batch;
    bool newest;
    uint32_t next_position;
};

/* The first batch whose last offset is >= offset.  False when the ring doesn't
 * know: it lies before the ring, or behind the newest batch. */
bool tail_find(const struct tail *t, int64_t offset, struct tail_hit *hit);
/* The largest known batch start <= position; false when all lie behind it. */
bool tail_floor(const struct tail *t, uint32_t position, uint32_t *start);

#endif
