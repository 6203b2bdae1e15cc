/* Images on their way: the bytes that peers are being sent, and those that are
 * being received.  The owner makes and installs images only at the loop's turn,
 * never from inside another of its callbacks. */
#include "raft/node_internal.h"

#include "base/log.h"

struct slice image_chunk(const struct raft_node *n,
                         const struct raft_message *m)
{
    if (m->type != RAFT_SNAPSHOT)
        return SLICE_NULL;
    ASSERT(m->snapshot.offset + m->snapshot.len <= n->image_out.len);
    return slice_of(buf_slice(&n->image_out).data + m->snapshot.offset,
                    m->snapshot.len);
}

void images_take(struct raft_node *n)
{
    const struct raft_update *u = &n->update;

    if (u->snapshot_release)
        buf_free(&n->image_out);
    if (u->snapshot_wanted)
        n->image_wanted = true;
    if (!slice_is_null(u->snapshot_chunk)) {
        if (u->snapshot_chunk_first)
            n->image_in.len = 0;
        buf_put_slice(&n->image_in, u->snapshot_chunk);
    }
    if (u->snapshot_install)
        n->install = true;
    if (n->image_wanted || n->install)
        post_turn(n);
}

static void save_image(struct raft_node *n)
{
    struct raft_event e = {.type = RAFT_SNAPSHOT_READY};

    n->image_wanted = false;
    if (!raft_is_leader(&n->core) || n->loading)
        return;
    buf_free(&n->image_out);
    n->options.owner.snapshot_save(n->options.owner.arg, &n->image_out);
    log_info("raft",
             "node %d: made an image of %zu bytes at entry %llu for peers that "
             "are behind the log",
             (int)self_id(n), n->image_out.len, (unsigned long long)n->applied);
    e.index = n->applied;
    e.size = n->image_out.len;
    node_step(n, &e);
}

static void load_image(struct raft_node *n)
{
    n->install = false;
    n->loading = true;
    n->apply_to = n->applied;
    log_info("raft", "node %d: installing an image of %zu bytes at entry %llu",
             (int)self_id(n), n->image_in.len,
             (unsigned long long)n->core.incoming.index);
    n->options.owner.snapshot_load(n->options.owner.arg, n->core.incoming.index,
                                   n->core.incoming.term,
                                   buf_slice(&n->image_in));
}

static void finish_image(struct raft_node *n)
{
    struct raft_event e = {.type = RAFT_SNAPSHOT_INSTALLED};

    n->loaded = false;
    n->loading = false;
    n->applied = n->apply_to = n->core.incoming.index;
    buf_free(&n->image_in);
    node_step(n, &e);
}

void images_work(struct raft_node *n)
{
    if (n->image_wanted)
        save_image(n);
    if (n->install)
        load_image(n);
    if (n->loaded)
        finish_image(n);
}

void raft_node_snapshot_loaded(struct raft_node *n)
{
    if (n->closing)
        return;
    ASSERT(n->loading);
    n->loaded = true;
    post_turn(n);
}
