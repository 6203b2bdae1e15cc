/* Keys and values of coordinators' records: which topic's (u8), a key with its
 * length, a value. */
#include "tests/fuzz/kit.h"

#include "proto/kafka/coordinator_record.h"

static const struct coordinator_records *const sets[] = {
    &group_records,
    &transaction_records,
    &share_records,
};

static void check_value(const struct coordinator_record *record,
                        struct slice bytes, struct arena *arena)
{
    struct buf again = BUF_INIT, twice = BUF_INIT;
    void *value;

    if (coordinator_value_decode(record, bytes, arena, &value) != ERR_NONE)
        return;
    int16_t version = (int16_t)be16_get(bytes.data);
    ASSERT(coordinator_value_encode(record->value, version, value, &again) ==
           ERR_NONE);
    ASSERT(coordinator_value_decode(record, buf_slice(&again), arena, &value) ==
           ERR_NONE);
    ASSERT(coordinator_value_encode(record->value, version, value, &twice) ==
           ERR_NONE);
    ASSERT(slice_eq(buf_slice(&again), buf_slice(&twice)));
    buf_free(&again);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    const struct coordinator_records *set = sets[read_u8(&r) % 3];
    struct slice key = take_part(&r);
    struct slice value = take_rest(&r);
    const struct coordinator_record *record;
    struct buf again = BUF_INIT;
    struct arena arena;
    void *decoded;

    arena_init(&arena, 1 << 20);
    if (coordinator_key_decode(set, key, &arena, &record, &decoded) ==
        ERR_NONE) {
        ASSERT(coordinator_key_encode(record->key, decoded, &again) ==
               ERR_NONE);
        check_value(record, value, &arena);
    }
    buf_free(&again);
    arena_free(&arena);
    return 0;
}
