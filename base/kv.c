/* The batch of writes: bytes that every store of base/kv.h reads alike.
 *
 * One operation: its kind, then two byte strings, each after its length
 * (u32, big-endian): key and value, key and nothing, or from and to. */
#include "base/kv.h"

static void add(struct kv_batch *b, enum kv_op_kind kind, struct slice first,
                struct slice second)
{
    ASSERT(first.len <= UINT32_MAX && second.len <= UINT32_MAX);
    buf_put_u8(&b->ops, (uint8_t)kind);
    buf_put_u32(&b->ops, (uint32_t)first.len);
    buf_put_slice(&b->ops, first);
    buf_put_u32(&b->ops, (uint32_t)second.len);
    buf_put_slice(&b->ops, second);
    b->count++;
}

void kv_batch_put(struct kv_batch *b, struct slice key, struct slice value)
{
    add(b, KV_PUT, key, value);
}

void kv_batch_delete(struct kv_batch *b, struct slice key)
{
    add(b, KV_DELETE, key, SLICE_NULL);
}

void kv_batch_delete_range(struct kv_batch *b, struct slice from,
                           struct slice to)
{
    add(b, KV_DELETE_RANGE, from, to);
}

void kv_batch_free(struct kv_batch *b)
{
    buf_free(&b->ops);
    b->count = 0;
}

bool kv_batch_next(struct reader *ops, struct kv_op *op)
{
    if (reader_left(ops) == 0)
        return false;
    op->kind = (enum kv_op_kind)read_u8(ops);
    op->key = read_bytes(ops, read_u32(ops));
    op->value = read_bytes(ops, read_u32(ops));
    ASSERT(!ops->bad); /* we wrote it */
    return true;
}
