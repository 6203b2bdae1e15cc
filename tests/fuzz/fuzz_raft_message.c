/* A RaftMessage alone: what decodes is encoded and decoded again. */
#include "tests/fuzz/kit.h"

#include "raft/codec.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf first = BUF_INIT, second = BUF_INIT;
    struct raft_message m;
    struct slice cluster_id;
    struct arena arena;

    arena_init(&arena, 2 * size + (1 << 20));
    if (raft_message_decode(slice_of(data, size), &arena, &m, &cluster_id)) {
        struct slice image =
            m.type == RAFT_SNAPSHOT ? m.snapshot.data : SLICE_NULL;
        char *id = slice_dup(cluster_id);

        raft_message_encode(&m, id, image, &first);
        ASSERT(raft_message_decode(buf_slice(&first), &arena, &m, &cluster_id));
        image = m.type == RAFT_SNAPSHOT ? m.snapshot.data : SLICE_NULL;
        raft_message_encode(&m, id, image, &second);
        ASSERT(slice_eq(buf_slice(&first), buf_slice(&second)));
        free(id);
    }
    arena_free(&arena);
    buf_free(&first);
    buf_free(&second);
    return 0;
}
