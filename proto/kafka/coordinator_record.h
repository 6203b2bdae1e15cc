/* What coordinators write into __consumer_offsets, __transaction_state and
 * __share_group_state.
 *
 * A key is an int16 record type and the body of the key, a value an int16
 * version and the body of the value; a null value is a tombstone and has no
 * bytes to encode.  Each topic counts its record types separately, so a reader
 * starts from the topic's set.  The sets and the structs are generated from
 * schema/group_records.kmsg and its siblings. */
#ifndef PROTO_KAFKA_COORDINATOR_RECORD_H
#define PROTO_KAFKA_COORDINATOR_RECORD_H

#include "proto/kafka/codec.h"

/* One record type. */
struct coordinator_record {
    int16_t type;
    const struct kafka_desc *key;
    const struct kafka_desc *value;
};

/* All record types of one topic, by rising type. */
struct coordinator_records {
    const char *topic;
    const struct coordinator_record *items;
    uint32_t len;
};

extern const struct coordinator_records group_records;
extern const struct coordinator_records transaction_records;
extern const struct coordinator_records share_records;

/* `desc` is of a key, such as offset_commit_key_desc.  Errors as of
 * kafka_encode. */
enum err coordinator_key_encode(const struct kafka_desc *desc, const void *key,
                                struct buf *out);
/* `desc` is of a value, such as offset_commit_value_desc. */
enum err coordinator_value_encode(const struct kafka_desc *desc,
                                  int16_t version, const void *value,
                                  struct buf *out);

/* Find the type of a key and decode it.  *key points to the type's key struct,
 * in the arena, with slices into `bytes`.
 * ERR_UNSUPPORTED_VERSION: a type that is not in the set; the caller skips the
 * record, as a newer coordinator may have written it. */
enum err coordinator_key_decode(const struct coordinator_records *set,
                                struct slice bytes, struct arena *arena,
                                const struct coordinator_record **record,
                                void **key);
/* The value that belongs to `record`; `bytes` must not be null (a tombstone).
 * ERR_UNSUPPORTED_VERSION: written by something newer. */
enum err coordinator_value_decode(const struct coordinator_record *record,
                                  struct slice bytes, struct arena *arena,
                                  void **value);

#endif
