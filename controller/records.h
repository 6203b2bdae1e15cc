/* Between the image's structs and the records that make them.  Pure.
 *
 * Records made here borrow: their lists and strings point into the image, or
 * into the arena where a shape differs, so they are packed or replayed before
 * the image changes. */
#ifndef CONTROLLER_RECORDS_H
#define CONTROLLER_RECORDS_H

#include "base/arena.h"
#include "controller/image.h"

/* The records in `batch`, which the caller frees with
 * leat__metadata_batch__free_unpacked(); NULL if it is malformed. */
Leat__MetadataBatch *records_unpack(struct slice batch);

/* Append one record to the bytes of a MetadataBatch (a batch is nothing but
 * its records one after another). */
void records_put(struct buf *batch, const Leat__MetadataRecord *record);
/* How many bytes records_put() will append. */
size_t records_size(const Leat__MetadataRecord *record);

ProtobufCBinaryData record_uuid(const struct uuid *id);

Leat__PartitionRecord record_of_partition(const struct image_topic *topic,
                                          int32_t partition,
                                          const struct image_partition *p);
Leat__BrokerRecord record_of_broker(const struct image_broker *b,
                                    struct arena *a);
Leat__ControllerRecord record_of_controller(const struct image_controller *c,
                                            struct arena *a);
Leat__TopicRecord record_of_topic(const struct image_topic *topic);

/* A record of one kind around its content. */
#define RECORD(kind, KIND, content)                                            \
    ((Leat__MetadataRecord){                                                   \
        .base = PROTOBUF_C_MESSAGE_INIT(&leat__metadata_record__descriptor),   \
        .record_case = LEAT__METADATA_RECORD__RECORD_##KIND,                   \
        .kind = (content)})

#endif
