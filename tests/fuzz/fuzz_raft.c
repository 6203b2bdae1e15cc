/* Frames of Raft on the controllers' listener, into a node with its store, from
 * whoever can reach it: a row of steps, each a byte that says what happens.  A
 * frame is a part: request header, RaftMessage.
 *
 * Whatever comes, the node goes on, and what it has stored can be opened
 * again.
 *
 * The step PEER gives the node what a peer says, in order, so that elections
 * are won without the fuzzer having to guess terms. */
#include "tests/fuzz/kit.h"

#include "base/env.h"
#include "raft/codec.h"
#include "raft/transport.h"
#include "tests/sim/env_mem.h"
#include "tests/unit/raft/memory_kv.h"

#include <stdlib.h>

enum { NODE = 1, VOTERS = 3, STEPS_MAX = 64 };

struct world {
    struct env *env;
    struct kv *kv;
    struct raft_node *node;
    struct raft_transport *transport;
    uint64_t applied;
    uint64_t applied_term;
    bool leads;
    bool closed;
};

/* ---- a network that nobody answers on ------------------------------------ */

static uint8_t nowhere;

struct env_conn *env_connect(struct env *env, const char *host, uint16_t port,
                             size_t frame_max_bytes,
                             const struct env_conn_ops *ops, void *arg)
{
    return (struct env_conn *)(void *)&nowhere;
}

void env_conn_close(struct env_conn *conn) { (void)conn; }
size_t env_conn_queued(const struct env_conn *conn) { return 0; }
void env_conn_send(struct env_conn *conn, struct env_out *out) { abort(); }
struct env_out *env_out_new(void) { abort(); }
void env_out_add_buf(struct env_out *out, struct buf *b) { abort(); }
void env_frame_unref(struct env_frame *frame) { abort(); }

/* ---- the owner ----------------------------------------------------------- */

static void on_commit(void *arg, uint64_t index, uint64_t term,
                      struct slice data)
{
    struct world *w = arg;

    ASSERT(index == w->applied + 1);
    w->applied = index;
    w->applied_term = term;
}

static void on_role(void *arg, bool leader, int32_t leader_id, uint64_t term)
{
    ((struct world *)arg)->leads = leader;
}

static void snapshot_save(void *arg, struct buf *image)
{
    buf_put(image, "image", 5);
}

static void snapshot_load(void *arg, uint64_t index, uint64_t term,
                          struct slice image)
{
    struct world *w = arg;

    w->applied = index;
    w->applied_term = term;
    raft_node_snapshot_loaded(w->node);
}

static void on_failed(void *arg, bool final, const char *why) { abort(); }

static void on_closed(void *arg) { ((struct world *)arg)->closed = true; }

/* ---- life ---------------------------------------------------------------- */

static void open_node(struct world *w)
{
    struct raft_config initial = RAFT_CONFIG_INIT;
    struct raft_transport_options t = {.env = w->env, .node_id = NODE};
    struct raft_node_options o = {
        .env = w->env,
        .kv = w->kv,
        .name = "fuzz",
        .cluster_id = "c",
        .raft = raft_options_default(NODE),
        .initial = &initial,
        .applied_index = w->applied,
        .applied_term = w->applied_term,
        .owner = {.on_commit = on_commit,
                  .on_role = on_role,
                  .snapshot_save = snapshot_save,
                  .snapshot_load = snapshot_load,
                  .on_failed = on_failed,
                  .arg = w},
    };
    char *why = NULL;

    for (int32_t id = 1; id <= VOTERS; id++) {
        struct raft_member m = {.id = id, .voter = true, .port = 1};

        memcpy(m.host, "h", 2);
        ASSERT(raft_config_set(&initial, &m));
    }
    o.raft.compact_keep_entries = 2;
    o.raft.snapshot_chunk_bytes = 4;
    o.raft.snapshot_max_bytes = 1 << 16;
    w->transport = raft_transport_new(&t);
    o.link = raft_transport_link(w->transport);
    ASSERT(raft_node_open(&o, &w->node, &why) == 0);
    raft_transport_bind(w->transport, w->node);
    raft_node_start(w->node);
    raft_config_free(&initial);
}

static void close_node(struct world *w)
{
    w->closed = false;
    raft_node_close(w->node, on_closed, w);
    raft_transport_free(w->transport);
    w->node = NULL;
    env_mem_run(w->env);
    ASSERT(w->closed);
}

/* ---- steps --------------------------------------------------------------- */

/* What a peer that follows us would answer: yes to every vote, and that it has
 * all. */
static void peer_agrees(struct world *w, int32_t from)
{
    const struct raft *core = raft_node_core(w->node);
    struct raft_message m = {.from = from, .to = NODE, .term = core->term};
    struct buf body = BUF_INIT;

    if (core->role == RAFT_LEADER) {
        struct raft_node_status status;

        raft_node_status(w->node, &status);
        m.type = RAFT_APPEND_REPLY;
        m.append_reply.match = status.last_index;
    } else {
        m.type = RAFT_VOTE_REPLY;
        m.vote_reply.pre = core->role == RAFT_PRECANDIDATE;
        m.vote_reply.vote_term =
            core->term + (core->role == RAFT_PRECANDIDATE ? 1 : 0);
        m.vote_reply.granted = true;
    }
    raft_message_encode(&m, "c", SLICE_NULL, &body);
    ASSERT(raft_node_receive(w->node, buf_slice(&body)));
    buf_free(&body);
}

static void step(struct world *w, struct reader *r)
{
    uint8_t op = read_u8(r);
    uint64_t index;

    switch (op & 7) {
    case 0:
    case 1: {
        struct slice frame = take_part(r);

        if (raft_transport_is(frame))
            raft_transport_receive(w->transport, frame);
        break;
    }
    case 2:
        raft_node_receive(w->node, take_part(r));
        break;
    case 3:
        env_mem_advance(w->env, 1 << (op >> 3 & 15));
        break;
    case 4:
        peer_agrees(w, 2 + (op >> 3 & 1));
        break;
    case 5:
        if (w->leads)
            raft_node_propose(w->node, take_part(r), &index);
        break;
    case 6:
        raft_node_compact(w->node, w->applied);
        break;
    default:
        if ((op & 8) != 0) {
            close_node(w);
            open_node(w);
        } else {
            raft_node_peer_lost(w->node, 2 + (op >> 4 & 1));
        }
        break;
    }
    if ((op & 0x80) == 0)
        env_mem_run(w->env);
    raft_check(raft_node_core(w->node));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    struct world w = {.env = env_mem_new(7), .kv = memory_kv_new()};

    open_node(&w);
    for (int i = 0; i < STEPS_MAX && reader_left(&r) != 0; i++)
        step(&w, &r);
    close_node(&w);
    open_node(&w); /* what was stored can be read */
    close_node(&w);
    memory_kv_free(w.kv);
    env_mem_free(w.env);
    return 0;
}
