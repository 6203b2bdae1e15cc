/* Small files of a partition: a byte says which; producer snapshots (checksum
 * put right or not), the checkpoint of leader epochs. */
#include "tests/fuzz/kit.h"

#include "base/crc32c.h"
#include "broker/log/epoch_cache.h"
#include "broker/replica/producers.h"

#include <stdlib.h>

enum { END = 1000, NOW_MS = 1000000 };

static void check_walk(const struct producers *p)
{
    struct producer one, same;
    size_t n = 0;

    for (int64_t at = 0; (at = producers_next(p, at, &one)) != PRODUCERS_END;
         n++) {
        ASSERT(producers_get(p, one.producer_id, &same));
        ASSERT(same.last_offset == one.last_offset);
    }
    ASSERT(n == producers_count(p));
}

/* But for their order, which follows times that make no sense. */
static void check_same(const struct producers *a, const struct producers *b)
{
    struct producer one, other;

    ASSERT(producers_count(a) == producers_count(b));
    for (int64_t at = 0; (at = producers_next(a, at, &one)) != PRODUCERS_END;) {
        ASSERT(producers_get(b, one.producer_id, &other));
        ASSERT(one.epoch == other.epoch && one.timestamp == other.timestamp &&
               one.last_sequence == other.last_sequence &&
               one.last_offset == other.last_offset &&
               one.offset_delta == other.offset_delta &&
               one.coordinator_epoch == other.coordinator_epoch &&
               one.txn_first_offset == other.txn_first_offset);
    }
}

static void go_on(struct producers *p)
{
    struct producer first;
    struct batch b = {.base_offset = END, .magic = 2, .records_count = 1};
    int64_t offset, timestamp;
    enum err error;

    if (producers_next(p, 0, &first) == PRODUCERS_END)
        return;
    b.producer_id = first.producer_id;
    b.producer_epoch = first.epoch;
    b.base_sequence = first.last_sequence;
    if (b.producer_id >= 0) {
        producers_check(p, &b, &offset, &timestamp, &error);
        producers_apply(p, &b, NOW_MS);
        check_walk(p);
    }
    producers_truncate(p, END / 2);
    check_walk(p);
    producers_expire(p, NOW_MS + 5, 1);
    check_walk(p);
}

static void check_snapshot(struct slice bytes, bool fix)
{
    struct buf in = BUF_INIT, out = BUF_INIT;
    const char *why = NULL;

    buf_put_slice(&in, bytes);
    if (fix && in.len >= 10) {
        be16_put(in.data, 1);
        be32_put(in.data + 2, crc32c(0, in.data + 6, in.len - 6));
    }
    struct producers *p = producers_decode(buf_slice(&in), END, NOW_MS, &why);
    if (p == NULL) {
        ASSERT(why != NULL);
    } else {
        check_walk(p);
        producers_encode(p, &out);
        struct producers *again =
            producers_decode(buf_slice(&out), END, NOW_MS, &why);
        ASSERT(again != NULL);
        check_same(p, again);
        producers_free(again);
        go_on(p);
    }
    producers_free(p);
    buf_free(&in);
    buf_free(&out);
}

static void check_order(const struct epoch_cache *c)
{
    for (uint32_t i = 0; i < c->len; i++) {
        ASSERT(c->entries[i].epoch >= 0 && c->entries[i].start_offset >= 0);
        ASSERT(i == 0 ||
               (c->entries[i].epoch > c->entries[i - 1].epoch &&
                c->entries[i].start_offset > c->entries[i - 1].start_offset));
    }
}

/* Field by field: the padding between them is nobody's. */
static void check_same_epochs(const struct epoch_cache *a,
                              const struct epoch_cache *b)
{
    ASSERT(a->len == b->len);
    for (uint32_t i = 0; i < a->len; i++)
        ASSERT(a->entries[i].epoch == b->entries[i].epoch &&
               a->entries[i].start_offset == b->entries[i].start_offset);
}

static void check_epochs(struct slice text)
{
    struct epoch_cache c = {0}, again = {0};
    struct buf out = BUF_INIT;

    if (epoch_cache_parse(&c, text)) {
        check_order(&c);
        epoch_cache_format(&c, &out);
        ASSERT(epoch_cache_parse(&again, buf_slice(&out)));
        check_same_epochs(&c, &again);
        epoch_cache_assign(&c, 7, 100);
        check_order(&c);
        epoch_cache_truncate_start(&c, 50);
        epoch_cache_truncate_end(&c, 90);
        check_order(&c);
    } else {
        ASSERT(c.len == 0);
    }
    epoch_cache_free(&c);
    epoch_cache_free(&again);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t which = read_u8(&r);
    struct slice rest = take_rest(&r);

    if ((which & 1) != 0)
        check_epochs(rest);
    else
        check_snapshot(rest, (which & 2) == 0);
    return 0;
}
