#include "tests/unit/raft/sim.h"

#include "base/error.h"
#include "base/map.h"
#include "raft/node.h"
#include "tests/unit/raft/memory_kv.h"
#include "tests/unit/raft/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HOSTS = 5,
    FRAME_CHUNK_BYTES = 64,
    ENTRY_MAX_BYTES = 48,
    HEAL_MAX_MS = 20000,
};

struct sim;

struct host {
    struct sim *sim;
    int32_t id;
    struct env env;
    struct kv *raft_kv;
    struct kv *image_kv;
    struct raft_node *node; /* NULL: down */
    bool freed;             /* closed() came */
    bool leader;            /* as on_role said */
    bool full;              /* its disk */
    uint64_t leader_term_seen;

    /* the owner's state */
    uint64_t applied;
    uint64_t applied_term;
    uint64_t hash;
    bool loading;
};

/* What has been committed, for ever. */
struct committed {
    uint64_t term;
    uint64_t hash; /* of all data up to here */
};

struct sim {
    struct world world;
    const struct sim_options *options;
    struct sim_result *result;
    struct host hosts[HOSTS + 1];
    bool cut[HOSTS + 1][HOSTS + 1];
    uint64_t loss_one_in; /* 0: nothing is lost */
    size_t message_max_bytes;
    size_t inflight_max_messages;
    int64_t delay_max_ms;

    struct committed *committed; /* [0] is before the first */
    size_t committed_len;
    size_t committed_cap;
    int32_t *leader_of; /* by term */
    size_t leader_of_len;
    uint64_t proposals;
    uint64_t checks;
    struct raft_config initial;
};

static void violate(struct sim *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void violate(struct sim *s, const char *format, ...)
{
    char text[300];
    va_list args;

    if (s->result->violation != NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->result->violation = xasprintf("seed %llu at %lld ms: %s",
                                     (unsigned long long)s->options->seed,
                                     (long long)s->world.now_ms, text);
}

/* ---- the state machine and its image ------------------------------------ */

static uint64_t mix(uint64_t hash, uint64_t index, struct slice data)
{
    uint64_t parts[3] = {hash, index, hash_bytes(data.data, data.len)};

    return hash_bytes(parts, sizeof parts);
}

static void check_applied(struct host *h)
{
    struct sim *s = h->sim;

    if (h->applied == s->committed_len) {
        if (s->committed_len == s->committed_cap) {
            s->committed_cap = s->committed_cap * 2 + 64;
            s->committed =
                xrealloc(s->committed, s->committed_cap * sizeof *s->committed);
        }
        s->committed[s->committed_len++] =
            (struct committed){h->applied_term, h->hash};
        return;
    }
    if (h->applied > s->committed_len)
        violate(s, "node %d applies entry %llu, nobody applied %zu", (int)h->id,
                (unsigned long long)h->applied, s->committed_len);
    else if (s->committed[h->applied].term != h->applied_term ||
             s->committed[h->applied].hash != h->hash)
        violate(s, "node %d applies something else at entry %llu", (int)h->id,
                (unsigned long long)h->applied);
}

static void on_commit(void *arg, uint64_t index, uint64_t term,
                      struct slice data)
{
    struct host *h = arg;

    if (h->loading)
        violate(h->sim, "node %d: an entry while an image is loaded",
                (int)h->id);
    if (index != h->applied + 1)
        violate(h->sim, "node %d: entry %llu after %llu", (int)h->id,
                (unsigned long long)index, (unsigned long long)h->applied);
    h->applied = index;
    h->applied_term = term;
    h->hash = mix(h->hash, index, data);
    check_applied(h);
}

static void put_image(const struct host *h, struct buf *b)
{
    buf_put_u64(b, h->applied);
    buf_put_u64(b, h->applied_term);
    buf_put_u64(b, h->hash);
}

static bool get_image(struct host *h, struct slice bytes)
{
    struct reader in = reader_of(bytes);

    h->applied = read_u64(&in);
    h->applied_term = read_u64(&in);
    h->hash = read_u64(&in);
    return !in.bad;
}

static int image_write(struct host *h, bool sync)
{
    struct kv_batch batch = KV_BATCH_INIT;
    struct buf image = BUF_INIT;

    put_image(h, &image);
    kv_batch_put(&batch, SLICE("image"), buf_slice(&image));
    int error = kv_write(h->image_kv, &batch, sync);
    buf_free(&image);
    kv_batch_free(&batch);
    return error;
}

static void on_commit_end(void *arg)
{
    struct host *h = arg;
    struct world *w = &h->sim->world;

    if (world_chance(w, 4))
        image_write(h, false);
    if (world_chance(w, 16) && image_write(h, true) == 0)
        raft_node_compact(h->node, h->applied);
}

static void on_role(void *arg, bool leader, int32_t leader_id, uint64_t term)
{
    struct host *h = arg;

    (void)leader_id;
    (void)term;
    h->leader = leader;
    /* Leader contract: the no-op of this term was the last thing applied, or
     * is behind us. */
    if (leader && h->applied_term != term)
        violate(h->sim, "node %d leads term %llu with a state of term %llu",
                (int)h->id, (unsigned long long)term,
                (unsigned long long)h->applied_term);
}

static void snapshot_save(void *arg, struct buf *image)
{
    struct host *h = arg;
    size_t fill = (size_t)world_random(&h->sim->world, 400);

    put_image(h, image);
    memset(buf_extend(image, fill), 0xa5, fill);
    h->sim->result->images++;
}

struct loaded_event {
    struct world_event event;
    struct host *host;
    struct raft_node *node;
};

static void loaded(struct world_event *event)
{
    struct loaded_event *e = (struct loaded_event *)event;
    struct host *h = e->host;

    if (h->node == e->node && h->loading) {
        if (image_write(h, true) == 0) {
            h->loading = false;
            raft_node_snapshot_loaded(h->node);
        } else {
            world_at(&h->sim->world, 100, event);
            return;
        }
    }
    free(e);
}

static void snapshot_load(void *arg, uint64_t index, uint64_t term,
                          struct slice image)
{
    struct host *h = arg;
    struct loaded_event *e = xcalloc(1, sizeof *e);
    uint64_t before = h->applied;

    if (!get_image(h, image) || h->applied != index ||
        h->applied_term != term || h->applied <= before)
        violate(h->sim, "node %d gets a wrong image", (int)h->id);
    check_applied(h);
    h->loading = true;
    e->event.fn = loaded;
    e->host = h;
    e->node = h->node;
    world_at(&h->sim->world, (int64_t)world_random(&h->sim->world, 30),
             &e->event);
}

static void on_failed(void *arg, bool final, const char *why)
{
    struct host *h = arg;

    if (final)
        violate(h->sim, "node %d: %s", (int)h->id, why);
}

/* ---- network ------------------------------------------------------------ */

struct packet {
    struct world_event event;
    struct sim *sim;
    int32_t from;
    int32_t to;
    struct buf body;
};

static void packet_arrive(struct world_event *event)
{
    struct packet *p = (struct packet *)event;
    struct host *h = &p->sim->hosts[p->to];

    if (h->node != NULL && !p->sim->cut[p->from][p->to] &&
        !raft_node_receive(h->node, buf_slice(&p->body)))
        violate(p->sim, "node %d got what it cannot decode", (int)p->to);
    buf_free(&p->body);
    free(p);
}

static void packet_send(struct sim *s, int32_t from, int32_t to,
                        struct slice body)
{
    struct packet *p = xcalloc(1, sizeof *p);

    p->event.fn = packet_arrive;
    p->sim = s;
    p->from = from;
    p->to = to;
    buf_put_slice(&p->body, body);
    world_at(&s->world,
             (int64_t)world_random(&s->world, (uint64_t)s->delay_max_ms + 1),
             &p->event);
}

static void send_body(void *arg, int32_t to, struct buf *body)
{
    struct host *h = arg;
    struct sim *s = h->sim;

    if (to >= 1 && to <= HOSTS && !s->cut[h->id][to]) {
        bool lost =
            s->loss_one_in != 0 && world_chance(&s->world, s->loss_one_in);
        bool twice = s->loss_one_in != 0 && world_chance(&s->world, 20);

        if (!lost)
            packet_send(s, h->id, to, buf_slice(body));
        if (twice)
            packet_send(s, h->id, to, buf_slice(body));
    }
    buf_free(body);
}

static void set_peers(void *arg, const struct raft_config *members)
{
    (void)arg;
    (void)members;
}

/* ---- hosts -------------------------------------------------------------- */

static void host_start(struct host *h)
{
    struct buf image = BUF_INIT;
    char *why = NULL;
    struct raft_node_options o = {
        .env = &h->env,
        .kv = h->raft_kv,
        .name = "sim",
        .cluster_id = "sim",
        .raft = raft_options_default(h->id),
        .initial = &h->sim->initial,
        .owner = {on_commit, on_commit_end, on_role, NULL, snapshot_save,
                  snapshot_load, on_failed, NULL, h},
        .link = {send_body, set_peers, h},
    };

    h->applied = h->applied_term = h->hash = 0;
    h->loading = h->leader = false;
    if (kv_get(h->image_kv, SLICE("image"), &image) == 0)
        get_image(h, buf_slice(&image));
    buf_free(&image);
    o.applied_index = h->applied;
    o.applied_term = h->applied_term;
    o.raft.election_timeout_ms = 300;
    o.raft.heartbeat_ms = 60;
    o.raft.message_max_bytes = h->sim->message_max_bytes;
    o.raft.inflight_max_messages = h->sim->inflight_max_messages;
    o.raft.snapshot_chunk_bytes = FRAME_CHUNK_BYTES;
    o.raft.compact_keep_entries = world_random(&h->sim->world, 20);
    planted_bug = h->sim->options->planted;
    if (raft_node_open(&o, &h->node, &why) != 0) {
        if (!h->full)
            violate(h->sim, "node %d does not start: %s", (int)h->id, why);
        free(why);
        h->node = NULL;
        return;
    }
    raft_node_start(h->node);
}

static void node_freed(void *arg) { ((struct host *)arg)->freed = true; }

static void peers_hear(struct host *h, bool up)
{
    struct sim *s = h->sim;

    for (int32_t id = 1; id <= HOSTS; id++) {
        struct host *other = &s->hosts[id];

        if (other == h || other->node == NULL || s->cut[id][h->id] ||
            world_chance(&s->world, 3))
            continue;
        if (up)
            raft_node_peer_up(other->node, h->id);
        else
            raft_node_peer_lost(other->node, h->id);
    }
}

static void host_crash(struct host *h)
{
    struct world *w = &h->sim->world;

    world_settle(w);
    h->freed = false;
    raft_node_close(h->node, node_freed, h);
    env_crash(&h->env);
    ASSERT(h->freed);
    h->node = NULL;
    h->leader = false;
    memory_kv_crash(h->raft_kv, 0);
    memory_kv_crash(h->image_kv, (size_t)world_random(
                                     w, memory_kv_unsynced(h->image_kv) + 1));
    h->sim->result->crashes++;
    peers_hear(h, false);
}

/* ---- checkers ----------------------------------------------------------- */

static void check_leader(struct sim *s, struct host *h, const struct raft *r)
{
    if (r->role != RAFT_LEADER || r->term == h->leader_term_seen)
        return;
    h->leader_term_seen = r->term;
    if (r->term >= s->leader_of_len) {
        size_t len = (size_t)r->term + 64;

        s->leader_of = xrealloc(s->leader_of, len * sizeof *s->leader_of);
        memset(s->leader_of + s->leader_of_len, 0,
               (len - s->leader_of_len) * sizeof *s->leader_of);
        s->leader_of_len = len;
    }
    if (s->leader_of[r->term] != 0 && s->leader_of[r->term] != h->id)
        violate(s, "nodes %d and %d both lead term %llu",
                (int)s->leader_of[r->term], (int)h->id,
                (unsigned long long)r->term);
    if (s->leader_of[r->term] == 0)
        s->result->terms++;
    s->leader_of[r->term] = h->id;
    for (uint64_t i = r->log.base_index + 1; i < s->committed_len; i++)
        if (raft_log_term(&r->log, i) != s->committed[i].term) {
            violate(s, "leader %d of term %llu lacks committed entry %llu",
                    (int)h->id, (unsigned long long)r->term,
                    (unsigned long long)i);
            return;
        }
}

static void check_logs(struct sim *s, const struct raft *a,
                       const struct raft *b)
{
    uint64_t low = a->log.base_index > b->log.base_index ? a->log.base_index
                                                         : b->log.base_index;
    uint64_t i = raft_log_last(&a->log) < raft_log_last(&b->log)
                     ? raft_log_last(&a->log)
                     : raft_log_last(&b->log);
    bool matched = false;

    for (; i > low; i--) {
        struct raft_entry x = raft_log_get(&a->log, i);
        struct raft_entry y = raft_log_get(&b->log, i);

        if (x.term == y.term && (x.type != y.type || !slice_eq(x.data, y.data)))
            violate(s, "nodes %d and %d: two entries %llu of one term",
                    (int)a->options.id, (int)b->options.id,
                    (unsigned long long)i);
        if (matched && x.term != y.term)
            violate(s, "nodes %d and %d agree behind entry %llu only",
                    (int)a->options.id, (int)b->options.id,
                    (unsigned long long)i);
        matched = matched || x.term == y.term;
    }
}

static void check_all_logs(struct sim *s)
{
    for (int a = 1; a <= HOSTS; a++)
        for (int b = a + 1; b <= HOSTS; b++)
            if (s->hosts[a].node != NULL && s->hosts[b].node != NULL)
                check_logs(s, raft_node_core(s->hosts[a].node),
                           raft_node_core(s->hosts[b].node));
}

static void check(struct sim *s)
{
    for (int id = 1; id <= HOSTS; id++) {
        struct host *h = &s->hosts[id];

        if (h->node == NULL)
            continue;
        raft_check(raft_node_core(h->node));
        check_leader(s, h, raft_node_core(h->node));
    }
    if (++s->checks % 8 == 0)
        check_all_logs(s);
}

/* ---- clients and faults ------------------------------------------------- */

static struct host *any_leader(struct sim *s)
{
    int start = (int)world_random(&s->world, HOSTS);

    for (int i = 0; i < HOSTS; i++) {
        struct host *h = &s->hosts[1 + (start + i) % HOSTS];

        if (h->node != NULL && h->leader)
            return h;
    }
    return NULL;
}

static void propose(struct sim *s)
{
    struct host *h = any_leader(s);
    uint8_t data[ENTRY_MAX_BYTES] = {0};
    uint64_t index, count = 1 + world_random(&s->world, 5);

    for (; h != NULL && count > 0; count--) {
        be64_put(data, ++s->proposals);
        size_t len = 8 + (size_t)world_random(&s->world, sizeof data - 8);
        uint64_t expected = raft_log_last(&raft_node_core(h->node)->log) + 1;
        if (raft_node_propose(h->node, slice_of(data, len), &index) ==
                ERR_NONE &&
            index < expected)
            violate(s, "node %d promises an index that is taken", (int)h->id);
    }
}

static void change(struct sim *s)
{
    struct host *h = any_leader(s);
    struct raft_change c = {
        .type = (enum raft_change_type)world_random(&s->world, 4),
        .member = {.id = 1 + (int32_t)world_random(&s->world, HOSTS),
                   .host = "h",
                   .port = 1},
    };
    uint64_t index;

    if (h != NULL && raft_node_change(h->node, &c, &index) == ERR_NONE)
        s->result->changes++;
}

static void cut_something(struct sim *s)
{
    struct world *w = &s->world;
    int32_t a = 1 + (int32_t)world_random(w, HOSTS);

    switch (world_random(w, 4)) {
    case 0: /* heal */
        memset(s->cut, 0, sizeof s->cut);
        break;
    case 1: /* one node alone */
        for (int32_t b = 1; b <= HOSTS; b++)
            if (b != a)
                s->cut[a][b] = s->cut[b][a] = true;
        break;
    case 2: /* one way between two */
        s->cut[a][1 + (int32_t)world_random(w, HOSTS)] = true;
        break;
    default: /* in two halves */
        for (int32_t b = 1; b <= HOSTS; b++)
            for (int32_t c = 1; c <= HOSTS; c++)
                s->cut[b][c] = (b <= a) != (c <= a);
    }
}

/* Leaders die more often than others: most bugs are about what they leave
 * half done. */
static struct host *victim(struct sim *s)
{
    struct host *h = &s->hosts[1 + world_random(&s->world, HOSTS)];

    for (int id = 1; id <= HOSTS && world_chance(&s->world, 2); id++)
        if (s->hosts[id].node != NULL &&
            raft_is_leader(raft_node_core(s->hosts[id].node)))
            return &s->hosts[id];
    return h;
}

static void crash_or_start(struct sim *s)
{
    struct host *h = victim(s);

    for (int id = 1; id <= HOSTS && world_chance(&s->world, 2); id++)
        if (s->hosts[id].node == NULL)
            h = &s->hosts[id];
    if (h->node != NULL) {
        host_crash(h);
    } else {
        host_start(h);
        if (h->node != NULL)
            peers_hear(h, true);
    }
}

static void disk_trouble(struct sim *s)
{
    struct host *h = &s->hosts[1 + world_random(&s->world, HOSTS)];

    h->full = !h->full && world_chance(&s->world, 4);
    memory_kv_fail(h->raft_kv, h->full ? -ENOSPC : 0);
}

static void false_alarm(struct sim *s)
{
    struct host *h = &s->hosts[1 + world_random(&s->world, HOSTS)];
    int32_t other = 1 + (int32_t)world_random(&s->world, HOSTS);

    if (h->node == NULL || other == h->id)
        return;
    if (world_chance(&s->world, 2))
        raft_node_peer_lost(h->node, other);
    else
        raft_node_peer_up(h->node, other);
}

/* Nobody runs for a while; then everything that was due comes late. */
static void stand_still(struct sim *s)
{
    s->world.now_ms += (int64_t)world_random(&s->world, 1500);
}

static void something(struct sim *s)
{
    uint64_t dice = world_random(&s->world, 100);

    if (dice < 50)
        propose(s);
    else if (dice < 62)
        crash_or_start(s);
    else if (dice < 70)
        cut_something(s);
    else if (dice < 78)
        change(s);
    else if (dice < 82)
        disk_trouble(s);
    else if (dice < 87)
        false_alarm(s);
    else if (dice < 90 && any_leader(s) != NULL)
        raft_node_transfer(any_leader(s)->node, RAFT_ID_NONE);
    else if (dice == 99)
        stand_still(s);
    world_settle(&s->world);
    check(s);
}

static void run_until(struct sim *s, int64_t until_ms)
{
    world_settle(&s->world);
    while (s->result->violation == NULL && world_next(&s->world, until_ms))
        check(s);
}

static void trouble(struct sim *s)
{
    int64_t end = s->world.now_ms + s->options->fault_ms;

    s->loss_one_in =
        world_chance(&s->world, 3) ? 0 : 3 + world_random(&s->world, 30);
    s->delay_max_ms = 1 + (int64_t)world_random(&s->world, 30);
    s->world.disk_max_ms = 1 + (int64_t)world_random(&s->world, 20);
    while (s->world.now_ms < end && s->result->violation == NULL) {
        run_until(s, s->world.now_ms + (int64_t)world_random(&s->world, 60));
        something(s);
    }
}

/* ---- healing and progress ----------------------------------------------- */

static void heal(struct sim *s)
{
    memset(s->cut, 0, sizeof s->cut);
    s->loss_one_in = 0;
    s->delay_max_ms = 2;
    s->world.disk_max_ms = 2;
    for (int id = 1; id <= HOSTS; id++) {
        struct host *h = &s->hosts[id];

        h->full = false;
        memory_kv_fail(h->raft_kv, 0);
        if (h->node == NULL)
            host_start(h);
    }
}

static bool all_members_applied(struct sim *s, uint64_t index)
{
    struct host *leader = any_leader(s);

    if (leader == NULL)
        return false;
    const struct raft_config *c = raft_node_members(leader->node);
    for (size_t i = 0; i < c->len; i++)
        if (s->hosts[c->members[i].id].applied < index)
            return false;
    return true;
}

/* Who is what, for the person who looks into a seed. */
static void dump(struct sim *s)
{
    for (int id = 1; id <= HOSTS; id++) {
        const struct raft *r = raft_node_core(s->hosts[id].node);

        printf(
            "node %d: role %d leader %d term %llu vote %d log %llu..%llu/%llu "
            "commit %llu applied %llu/%llu stable %llu incoming %d%d%d "
            "failed %d; members",
            id, (int)r->role, (int)r->leader, (unsigned long long)r->term,
            (int)r->vote, (unsigned long long)r->log.base_index,
            (unsigned long long)raft_log_last(&r->log),
            (unsigned long long)raft_log_last_term(&r->log),
            (unsigned long long)r->commit,
            (unsigned long long)s->hosts[id].applied,
            (unsigned long long)r->applied, (unsigned long long)r->stable,
            r->incoming.active, r->incoming.complete, r->incoming.installing,
            r->store_failed);
        for (size_t i = 0; i < r->peers_len; i++)
            printf(" %d%s:%d,%llu,%llu%s", (int)r->peers[i].id,
                   r->peers[i].voter ? "v" : "l", (int)r->peers[i].state,
                   (unsigned long long)r->peers[i].match,
                   (unsigned long long)r->peers[i].next,
                   r->peers[i].lost ? "lost" : "");
        printf("\n");
    }
}

static void progress(struct sim *s)
{
    int64_t end = s->world.now_ms + HEAL_MAX_MS;
    size_t before = s->committed_len;

    while (s->world.now_ms < end && s->result->violation == NULL) {
        run_until(s, s->world.now_ms + 100);
        if (s->committed_len <= before + 20)
            propose(s);
        else if (all_members_applied(s, s->committed_len - 1))
            return;
    }
    if (getenv("LEAT_SIM_DUMP") != NULL && s->result->violation == NULL)
        dump(s);
    violate(s, "no progress after everything healed");
}

/* ---- one run ------------------------------------------------------------ */

static void sim_init(struct sim *s, const struct sim_options *options,
                     struct sim_result *result)
{
    *s = (struct sim){.options = options, .result = result, .delay_max_ms = 5};
    world_init(&s->world, options->seed);
    s->message_max_bytes = (size_t)1 << world_random(&s->world, 11);
    s->inflight_max_messages = 1 + (size_t)world_random(&s->world, 8);
    s->committed = xcalloc(64, sizeof *s->committed);
    s->committed_len = 1;
    s->committed_cap = 64;
    int32_t voters = world_chance(&s->world, 2) ? 3 : HOSTS;
    for (int32_t id = 1; id <= voters; id++) {
        struct raft_member m = {
            .id = id, .voter = true, .host = "h", .port = 1};
        ASSERT(raft_config_set(&s->initial, &m));
    }
    for (int32_t id = 1; id <= HOSTS; id++) {
        struct host *h = &s->hosts[id];

        h->sim = s;
        h->id = id;
        env_init(&h->env, &s->world);
        h->raft_kv = memory_kv_new();
        h->image_kv = memory_kv_new();
        host_start(h);
    }
}

/* Packets under way own memory of theirs. */
static void drop_packets(struct sim *s)
{
    struct heap_node *node;

    while ((node = heap_first(&s->world.events)) != NULL) {
        struct world_event *e = HEAP_ENTRY(node, struct world_event, node);

        heap_remove(&s->world.events, node);
        if (e->fn == packet_arrive)
            buf_free(&((struct packet *)e)->body);
        free(e);
    }
}

static void sim_free(struct sim *s)
{
    for (int id = 1; id <= HOSTS; id++) {
        struct host *h = &s->hosts[id];

        if (h->node != NULL)
            host_crash(h);
    }
    drop_packets(s);
    for (int id = 1; id <= HOSTS; id++) {
        memory_kv_free(s->hosts[id].raft_kv);
        memory_kv_free(s->hosts[id].image_kv);
    }
    world_free(&s->world);
    raft_config_free(&s->initial);
    free(s->committed);
    free(s->leader_of);
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct sim s;

    *result = (struct sim_result){0};
    sim_init(&s, options, result);
    trouble(&s);
    if (result->violation == NULL) {
        heal(&s);
        progress(&s);
    }
    result->committed = s.committed_len - 1;
    result->hash = s.committed[s.committed_len - 1].hash;
    sim_free(&s);
}
