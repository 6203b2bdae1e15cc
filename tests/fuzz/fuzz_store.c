/* What lies in the controller's and the broker's LMDB stores: a byte says which
 * (Raft's log, the image), then keys and values, each a part.  Raft's checksums
 * are put right.
 *
 * It loads, and the core can start from it, or it is refused with a sentence.
 */
#include "tests/fuzz/kit.h"

#include "base/crc32c.h"
#include "controller/image_kv.h"
#include "raft/store.h"
#include "tests/unit/raft/memory_kv.h"

#include <stdlib.h>

enum { PAIRS_MAX = 32, RAFT = 1, BAD_CHECKSUM = 2 };

static void fill(struct kv *kv, struct reader *r, bool checksum)
{
    struct kv_batch batch = KV_BATCH_INIT;
    struct buf value = BUF_INIT;

    for (int i = 0; i < PAIRS_MAX && reader_left(r) != 0; i++) {
        struct slice key = take_part(r);

        value.len = 0;
        buf_put_slice(&value, take_part(r));
        if (key.len == 0 || key.len > KV_KEY_MAX)
            continue;
        if (checksum)
            buf_put_u32(&value, crc32c(crc32c(0, key.data, key.len), value.data,
                                       value.len));
        kv_batch_put(&batch, key, buf_slice(&value));
    }
    ASSERT(kv_write(kv, &batch, false) == 0);
    kv_batch_free(&batch);
    buf_free(&value);
}

static void load_raft(struct kv *kv, uint64_t applied, uint64_t applied_term)
{
    struct raft_member member = {
        .id = 1, .voter = true, .port = 1, .host = "h"};
    struct raft_config initial = {&member, 1};
    struct raft_options options = raft_options_default(1);
    struct raft_event start = {.type = RAFT_START, .now_ms = 1000};
    struct raft_event tick = {.type = RAFT_TICK, .now_ms = 100000};
    struct raft_update u = RAFT_UPDATE_INIT;
    struct raft_stored stored;
    struct raft raft;
    char *why = NULL;

    if (raft_store_load(kv, "fuzz", &initial, applied, applied_term, &stored,
                        &why) != 0) {
        ASSERT(why != NULL);
        free(why);
        return;
    }
    raft_init(&raft, &options, &stored, applied);
    raft_step(&raft, &start, &u);
    raft_check(&raft);
    raft_step(&raft, &tick, &u);
    raft_check(&raft);
    raft_update_free(&u);
    raft_free(&raft);
}

static void load_image(struct kv *kv)
{
    struct kv_batch all = KV_BATCH_INIT;
    struct kv *copy = memory_kv_new();
    struct image image, again;
    int64_t term = 0;
    char *why = NULL;

    image_init(&image);
    image_init(&again);
    if (image_load(kv, &image, &term, &why) != ERR_NONE) {
        ASSERT(why != NULL);
        free(why);
    } else {
        image_persist_all(&image, term, &all);
        ASSERT(kv_write(copy, &all, false) == 0);
        ASSERT(image_load(copy, &again, &term, &why) == ERR_NONE);
        ASSERT(image_equal(&image, &again));
        ASSERT(image.applied_index == again.applied_index);
    }
    image_free(&image);
    image_free(&again);
    kv_batch_free(&all);
    memory_kv_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t which = read_u8(&r);
    uint64_t applied = read_u8(&r), applied_term = read_u8(&r);
    struct kv *kv = memory_kv_new();

    fill(kv, &r, (which & (RAFT | BAD_CHECKSUM)) == RAFT);
    if ((which & RAFT) != 0)
        load_raft(kv, applied, applied_term);
    else
        load_image(kv);
    memory_kv_free(kv);
    return 0;
}
