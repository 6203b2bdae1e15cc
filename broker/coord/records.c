#include "broker/coord/records.h"

#include <stdlib.h>

void coord_records_add(struct coord_records *records, struct slice key,
                       struct slice value)
{
    if (records->count == records->cap) {
        records->cap = records->cap != 0 ? records->cap * 2 : 4;
        records->items =
            xrealloc(records->items, records->cap * sizeof *records->items);
    }
    ASSERT(key.len <= UINT32_MAX && value.len <= UINT32_MAX);
    records->items[records->count++] = (struct coord_records_item){
        .key_at = records->bytes.len,
        .key_len = (uint32_t)key.len,
        .value_len = (uint32_t)value.len,
        .tombstone = slice_is_null(value),
    };
    buf_put_slice(&records->bytes, key);
    buf_put_slice(&records->bytes, value);
}

struct coord_record coord_records_get(const struct coord_records *records,
                                      uint32_t index)
{
    ASSERT(index < records->count);
    const struct coord_records_item *item = &records->items[index];
    const uint8_t *key = buf_slice(&records->bytes).data + item->key_at;

    return (struct coord_record){
        .key = slice_of(key, item->key_len),
        .value = item->tombstone
                     ? SLICE_NULL
                     : slice_of(key + item->key_len, item->value_len),
    };
}

void coord_records_free(struct coord_records *records)
{
    buf_free(&records->bytes);
    free(records->items);
    *records = (struct coord_records){0};
}
