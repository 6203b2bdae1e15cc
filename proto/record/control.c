#include "proto/record/control.h"

#include "proto/record/builder.h"

enum { TYPE_ABORT = 0, TYPE_COMMIT = 1, VERSION = 0 };
enum { KEY_BYTES = 4, VALUE_BYTES = 6 };

void control_marker_encode(const struct control_marker *m, int64_t timestamp_ms,
                           struct buf *out)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder b;
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];

    be16_put(key, VERSION);
    be16_put(key + 2, m->commit ? TYPE_COMMIT : TYPE_ABORT);
    be16_put(value, VERSION);
    be32_put(value + 2, (uint32_t)m->coordinator_epoch);
    batch_builder_init(&b);
    batch_builder_append(&b, timestamp_ms, slice_of(key, sizeof key),
                         slice_of(value, sizeof value), NULL, 0);
    options.producer_id = m->producer_id;
    options.producer_epoch = m->producer_epoch;
    options.attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL;
    batch_builder_finish(&b, &options, NULL, out);
    batch_builder_free(&b);
}

bool control_marker_decode(struct slice bytes, const struct batch *b,
                           struct control_marker *m)
{
    struct record_reader reader;
    struct record record;

    if ((b->attributes & BATCH_CONTROL) == 0 || b->producer_id < 0 ||
        batch_compression(b) != COMPRESSION_NONE ||
        record_open(&reader, NULL, bytes, b, 0, NULL) != ERR_NONE ||
        !record_next(&reader, &record))
        return false;
    struct reader key = reader_of(record.key);
    struct reader value = reader_of(record.value);
    int16_t key_version = read_i16(&key);
    int16_t type = read_i16(&key);
    int16_t value_version = read_i16(&value);
    int32_t coordinator_epoch = read_i32(&value);
    if (key.bad || value.bad || key_version < 0 || value_version < 0 ||
        (type != TYPE_ABORT && type != TYPE_COMMIT))
        return false;
    *m = (struct control_marker){
        .producer_id = b->producer_id,
        .producer_epoch = b->producer_epoch,
        .coordinator_epoch = coordinator_epoch,
        .commit = type == TYPE_COMMIT,
    };
    return true;
}
