/* Walking the batches of a file, header by header.
 *
 * walk_next() decodes one header and says where the batch lies; the body is
 * read only on request.  Small batches are read in windows, so that a walk
 * over many of them costs few calls; large ones cost one small read each. */
#ifndef BROKER_LOG_WALK_H
#define BROKER_LOG_WALK_H

#include "base/env.h"
#include "proto/record/batch.h"

struct walk {
    struct env_file *file; /* borrowed */
    int64_t position;      /* of `batch`, or of what could not be decoded */
    int64_t next_position; /* where walk_next() goes on */
    int64_t end;           /* exclusive; a batch never reaches beyond */
    struct batch batch;
    int error;         /* negative errno of WALK_IO */
    const char *why;   /* a phrase for WALK_BAD */
    struct buf window; /* bytes of the file from window_at on */
    int64_t window_at;
    struct buf body;
};

enum walk_result {
    WALK_BATCH,
    WALK_END, /* exactly at `end` */
    WALK_BAD, /* no whole batch of version 2 at `position`, see why */
    WALK_IO,  /* the disk returned `error` */
};

void walk_init(struct walk *w, struct env_file *file, int64_t position,
               int64_t end);
void walk_free(struct walk *w);

enum walk_result walk_next(struct walk *w);

/* The whole batch that walk_next() found, valid until the next call.
 * WALK_BATCH or WALK_IO. */
enum walk_result walk_body(struct walk *w, struct slice *bytes);

/* WALK_BATCH when the CRC matches, WALK_BAD, WALK_IO.  Large bodies pass
 * through a small buffer. */
enum walk_result walk_check_crc(struct walk *w);

/* Looks behind `position` for a whole batch with a matching CRC and a base
 * offset of at least `offset`: what tells damage in the middle from a torn
 * tail.  1 found, 0 not, or a negative errno. */
int walk_find_valid(struct env_file *file, int64_t position, int64_t end,
                    int64_t offset);

/* What whole batches there are in a file of which anything may be damaged, and
 * which was part of a segment with this base offset: raises *until to the end
 * of the last one's offsets and *epoch to the greatest leader epoch. */
int walk_salvage(struct env_file *file, int64_t end, int64_t base,
                 int64_t *until, int32_t *epoch);

#endif
