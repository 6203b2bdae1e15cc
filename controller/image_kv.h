/* The image in a kv store: one key per thing, written as it changes.
 *
 * A committed batch becomes puts and deletions plus the index and term applied,
 * in one kv_batch, so a crash leaves the image of some index, never half of
 * one.  A start reads it back and asks the log only for what came later.
 *
 * Keys, all with IMAGE_KV_PREFIX in front so that others may share the store:
 *   A                        index and term applied, 8 bytes each
 *   B id(4)                  broker
 *   C type(1) name 0 key     config
 *   F name                   feature
 *   P topic id(16) part(4)   partition
 *   Q id(4)                  controller
 *   T topic id(16)           topic
 *   X                        producer ids
 * Values are MetadataRecords; numbers in keys are big-endian. */
#ifndef CONTROLLER_IMAGE_KV_H
#define CONTROLLER_IMAGE_KV_H

#include "base/kv.h"
#include "controller/image.h"

#define IMAGE_KV_PREFIX "image/"

/* Add to `out` what stores the committed entry (index, term).  Needs no image.
 * `batch` is a MetadataBatch or empty.  ERR_MALFORMED, ERR_DAMAGED: as for
 * image_apply(); `out` is then of no use. */
enum err image_persist(int64_t index, int64_t term, struct slice batch,
                       struct kv_batch *out);

/* Add to `out` what replaces the stored image by this one. */
void image_persist_all(const struct image *image, int64_t term,
                       struct kv_batch *out);

/* Fill an empty image, applied_index included, from the store; nothing stored
 * is an empty image and index 0.  `term` may be NULL.
 * ERR_IO or ERR_DAMAGED: *why gets a sentence that the caller frees. */
enum err image_load(struct kv *kv, struct image *image, int64_t *term,
                    char **why);

#endif
