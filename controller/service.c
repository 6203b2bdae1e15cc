#include "controller/service_parts.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/planted.h"
#include "controller/image_kv.h"

#include <stdlib.h>

enum {
    SNAPSHOT_PIECE_BYTES = 1 << 20,
    COMPACT_EVERY = 4096, /* entries between compactions of the Raft log */
    HAND_OVER_MS = 1000,
    ACTIVATE_AGAIN_MS = 50,
};

/* ---- calls --------------------------------------------------------------- */

void service_begin(struct controller_service *s, struct controller_call *call,
                   struct arena *arena)
{
    struct raft_node_status status;

    raft_node_status(s->raft, &status);
    *call = (struct controller_call){
        .now_ms = env_now_ms(s->env),
        .next_index = (int64_t)status.last_index + 1,
        .seed = env_random(s->env),
        .arena = arena,
    };
}

/* What was decided but not taken by Raft makes the controller's image wrong: it
 * is dropped, and built again from what is committed.  If that is everything no
 * commit will come to say so, hence the timer. */
static void drop_controller(struct controller_service *s)
{
    controller_deactivate(&s->controller);
    env_timer_stop(s->env, &s->timer);
    s->stale = true;
    service_refuse_all(s);
    env_timer_start(s->env, &s->again_timer, ACTIVATE_AGAIN_MS);
}

bool service_carry_out(struct controller_service *s,
                       struct controller_update *update)
{
    bool taken = true;

    for (size_t i = 0; i < update->batches_len && taken; i++) {
        uint64_t index = 0;
        int error = raft_node_propose(
            s->raft, buf_slice(&update->batches[i].bytes), &index);

        taken = error == ERR_NONE && (int64_t)index == update->batches[i].index;
    }
    if (!taken && !PLANTED(CONTROLLER_KEEPS_UNTAKEN)) {
        log_warn("controller", "A decision was not taken by the quorum; "
                               "starting again from what is committed");
        drop_controller(s);
    } else if (update->deadline_ms == INT64_MAX) {
        env_timer_stop(s->env, &s->timer);
    } else {
        int64_t left_ms = update->deadline_ms - env_now_ms(s->env);
        env_timer_start(s->env, &s->timer, left_ms > 0 ? left_ms : 0);
    }
    controller_update_free(update);
    return taken;
}

static void on_timer(void *arg)
{
    struct controller_service *s = arg;
    struct controller_call call;
    struct controller_update update;
    struct arena arena;

    if (!s->controller.active)
        return;
    arena_init(&arena, 0);
    service_begin(s, &call, &arena);
    controller_tick(&s->controller, &call, &update);
    service_carry_out(s, &update);
    arena_free(&arena);
}

/* ---- becoming active ----------------------------------------------------- */

static void copy_image(const struct image *from, struct image *to)
{
    struct image_cursor cursor = {0};
    struct buf piece = BUF_INIT;

    image_init(to);
    while (!cursor.done) {
        piece.len = 0;
        image_snapshot_next(from, &cursor, SNAPSHOT_PIECE_BYTES, &piece);
        to->applied_index = 0;
        ASSERT(image_apply(to, from->applied_index, buf_slice(&piece), NULL) ==
               ERR_NONE);
    }
    to->applied_index = from->applied_index;
    buf_free(&piece);
}

static void register_self(struct controller_service *s)
{
    struct controller_call call;
    struct controller_update update;
    struct arena arena;
    Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *endpoints[] = {&endpoint};
    Leat__ControllerRecord record = LEAT__CONTROLLER_RECORD__INIT;

    endpoint.listener = (char *)(uintptr_t)s->options.listener;
    endpoint.host = (char *)(uintptr_t)s->options.advertised_host;
    endpoint.port = s->options.advertised_port;
    record.controller_id = s->options.node_id;
    record.incarnation.data = s->options.incarnation.bytes;
    record.incarnation.len = sizeof s->options.incarnation.bytes;
    record.endpoints = endpoints;
    record.n_endpoints = 1;
    arena_init(&arena, 0);
    service_begin(s, &call, &arena);
    controller_register_controller(&s->controller, &call, &record, &update);
    service_carry_out(s, &update);
    arena_free(&arena);
}

static void activate(struct controller_service *s)
{
    struct controller_call call;
    struct controller_update update;
    struct arena arena;
    struct image image;

    s->stale = false;
    copy_image(&s->image, &image);
    arena_init(&arena, 0);
    service_begin(s, &call, &arena);
    controller_activate(&s->controller, &image, &call, &update);
    bool ok = service_carry_out(s, &update);
    arena_free(&arena);
    if (!ok)
        return;
    register_self(s);
    if (!s->controller.active)
        return;
    service_voters_active(s);
    service_probe_brokers(s);
}

/* After a decision that was not taken: once everything proposed is committed,
 * the committed image is the whole truth again. */
static void activate_when_settled(struct controller_service *s)
{
    struct raft_node_status status;

    raft_node_status(s->raft, &status);
    if (s->leader && s->stale && status.applied_index == status.last_index)
        activate(s);
}

static void on_again(void *arg)
{
    struct controller_service *s = arg;

    if (!s->leader || !s->stale || s->closing)
        return;
    /* Until leadership has been handed over, or has not. */
    if (raft_can_propose(raft_node_core(s->raft), 0) == ERR_NONE)
        activate_when_settled(s);
    if (s->stale)
        env_timer_start(s->env, &s->again_timer, ACTIVATE_AGAIN_MS);
}

static void on_role(void *arg, bool leader, int32_t leader_id, uint64_t term)
{
    struct controller_service *s = arg;

    if (leader) {
        log_info("controller", "Node %d is the active controller of term %llu",
                 s->options.node_id, (unsigned long long)term);
        s->leader = true;
        /* With an image that is behind, while the process ends. */
        if (!s->spoilt)
            activate(s);
        return;
    }
    if (s->leader)
        log_info("controller", "Node %d is no longer the active controller",
                 s->options.node_id);
    else if (leader_id != RAFT_ID_NONE)
        log_info("controller", "Node %d is the active controller of term %llu",
                 leader_id, (unsigned long long)term);
    s->leader = false;
    s->stale = false;
    controller_deactivate(&s->controller);
    env_timer_stop(s->env, &s->timer);
    env_timer_stop(s->env, &s->again_timer);
    service_refuse_all(s);
    if (s->stopping) /* not from inside Raft and its transport */
        env_timer_start(s->env, &s->stop_timer, 0);
}

/* ---- the committed image ------------------------------------------------- */

/* The process is of no more use; its owner ends it. */
static void fail(struct controller_service *s)
{
    if (s->failed)
        return;
    s->failed = true;
    if (s->options.failed != NULL)
        s->options.failed(s->options.failed_arg);
}

static void give_up(struct controller_service *s, const char *what,
                    uint64_t index)
{
    log_error("controller",
              "The metadata at index %llu cannot be applied (%s): the "
              "controller's store in %s is damaged. Stop this node, remove it "
              "from the quorum (remove-controller), move the directory away, "
              "start it and add it again (add-controller): it copies the "
              "metadata from the other controllers. A voter that comes back "
              "with nothing could elect one that lacks what was committed",
              (unsigned long long)index, what, s->options.dir);
    s->spoilt = true;
    fail(s);
}

static void start_write(struct controller_service *s);
static void close_stores(struct controller_service *s);

static void write_run(struct env_work *work)
{
    struct controller_service *s =
        (struct controller_service *)((char *)work -
                                      offsetof(struct controller_service,
                                               write));
    int error = kv_write(s->image_kv, &s->writing, true);

    s->write_error = error;
    if (error == 0)
        return;
    if (kv_error_may_pass(error))
        log_error("controller",
                  "Cannot store the metadata image in %s: %s. The node goes "
                  "on; its Raft log keeps growing until there is room, free "
                  "some",
                  s->options.dir, strerror(-error));
    else
        log_error("controller",
                  "Cannot store the metadata image in %s: %s. This node takes "
                  "no part in the quorum any more, check the disk",
                  s->options.dir, strerror(-error));
}

static void compact(struct controller_service *s, int64_t index)
{
    struct raft_node_status status;

    raft_node_status(s->raft, &status);
    if (index - (int64_t)status.first_index >= COMPACT_EVERY ||
        (int64_t)status.log_bytes >= s->options.snapshot_bytes)
        raft_node_compact(s->raft, (uint64_t)index);
}

static void write_done(struct env_work *work)
{
    struct controller_service *s =
        (struct controller_service *)((char *)work -
                                      offsetof(struct controller_service,
                                               write));

    s->write_busy = false;
    if (s->closing) {
        close_stores(s);
        return;
    }
    if (s->write_error < 0 && !kv_error_may_pass(s->write_error)) {
        fail(s);
        return;
    }
    if (s->write_error < 0) {
        /* Later batches without this one would be a hole: start over. */
        kv_batch_free(&s->gathering);
        s->gathering = KV_BATCH_INIT;
        image_persist_all(&s->image, s->image_term, &s->gathering);
        s->gathered_index = s->image.applied_index;
        s->load_gathering |= s->load_writing;
        env_timer_start(s->env, &s->rewrite_timer, 1000);
    } else {
        /* A peer's image takes the place of the log; Raft cuts it itself. */
        if (s->load_writing)
            raft_node_snapshot_loaded(s->raft);
        else
            compact(s, s->writing_index);
    }
    kv_batch_free(&s->writing);
    s->writing = KV_BATCH_INIT;
    if (s->write_error == 0)
        start_write(s);
}

static void start_write(struct controller_service *s)
{
    if (s->failed || s->write_busy || s->gathering.count == 0 ||
        env_timer_running(&s->rewrite_timer))
        return;
    s->write_busy = true;
    s->writing = s->gathering;
    s->writing_index = s->gathered_index;
    s->gathering = KV_BATCH_INIT;
    s->load_writing = s->load_gathering;
    s->load_gathering = false;
    s->write = (struct env_work){.lane = s->image_kv,
                                 .urgent = true,
                                 .run = write_run,
                                 .done = write_done};
    env_work_start(s->env, &s->write);
}

static void on_rewrite(void *arg) { start_write(arg); }

static void on_commit(void *arg, uint64_t index, uint64_t term,
                      struct slice data)
{
    struct controller_service *s = arg;
    enum err error;

    if (s->spoilt)
        return;
    error = image_apply(&s->image, (int64_t)index, data, NULL);
    if (error == ERR_NONE)
        error =
            image_persist((int64_t)index, (int64_t)term, data, &s->gathering);
    if (error != ERR_NONE) {
        give_up(s, err_text(error), index);
        return;
    }
    s->image_term = (int64_t)term;
    s->gathered_index = (int64_t)index;
}

static void on_commit_end(void *arg)
{
    struct controller_service *s = arg;

    start_write(s);
    service_committed(s);
    service_voters_committed(s);
    activate_when_settled(s);
}

/* An image for a peer: pieces, each with its length in front. */
static void snapshot_save(void *arg, struct buf *image)
{
    struct controller_service *s = arg;
    struct image_cursor cursor = {0};
    struct buf piece = BUF_INIT;

    while (!cursor.done) {
        piece.len = 0;
        image_snapshot_next(&s->image, &cursor, SNAPSHOT_PIECE_BYTES, &piece);
        if (cursor.done && PLANTED(CONTROLLER_CUTS_SNAPSHOTS))
            break;
        buf_put_u32(image, (uint32_t)piece.len);
        buf_put_slice(image, buf_slice(&piece));
    }
    buf_free(&piece);
}

static enum err read_pieces(struct slice bytes, int64_t index,
                            struct image *image)
{
    struct reader r = reader_of(bytes);
    enum err error = ERR_NONE;

    while (error == ERR_NONE && reader_left(&r) != 0) {
        uint32_t len = read_u32(&r);
        struct slice piece = read_bytes(&r, len);

        if (r.bad)
            return ERR_MALFORMED;
        image->applied_index = 0;
        error = image_apply(image, index, piece, NULL);
    }
    image->applied_index = index;
    return error;
}

static void snapshot_load(void *arg, uint64_t index, uint64_t term,
                          struct slice bytes)
{
    struct controller_service *s = arg;
    struct image image;

    image_init(&image);
    enum err error = read_pieces(bytes, (int64_t)index, &image);
    if (error != ERR_NONE) {
        give_up(s, err_text(error), index);
        image_free(&image);
        return;
    }
    image_free(&s->image);
    s->image = image;
    s->image_term = (int64_t)term;
    kv_batch_free(&s->gathering);
    s->gathering = KV_BATCH_INIT;
    image_persist_all(&s->image, s->image_term, &s->gathering);
    s->gathered_index = (int64_t)index;
    s->load_gathering = true;
    start_write(s);
}

static void on_members(void *arg, const struct raft_config *members)
{
    service_voters_told(arg, members);
}

static void on_failed(void *arg, bool final, const char *why)
{
    log_error("controller", "%s", why);
    if (final)
        fail(arg);
}

/* ---- life ---------------------------------------------------------------- */

static struct kv *open_store(struct controller_service *s, const char *name,
                             char **why)
{
    char *path = xasprintf("%s/%s", s->options.dir, name);
    struct kv *kv = NULL;

    if (kv_open(s->env, path, &kv, why) < 0)
        kv = NULL;
    free(path);
    return kv;
}

static int open_raft(struct controller_service *s, int64_t term, char **why)
{
    struct raft_transport_options t = {.env = s->env,
                                       .node_id = s->options.node_id};
    s->transport = raft_transport_new(&t);

    struct raft_node_options o = {
        .env = s->env,
        .kv = s->raft_kv,
        .name = s->options.dir,
        .cluster_id = s->options.cluster_id,
        .raft = raft_options_default(s->options.node_id),
        .initial = &s->options.voters,
        .log_addresses_win = !s->options.voters_configured,
        .host = s->options.advertised_host,
        .port = s->options.advertised_port,
        .applied_index = (uint64_t)s->image.applied_index,
        .applied_term = (uint64_t)term,
        .owner =
            {
                .on_commit = on_commit,
                .on_commit_end = on_commit_end,
                .on_role = on_role,
                .on_members = on_members,
                .snapshot_save = snapshot_save,
                .snapshot_load = snapshot_load,
                .on_failed = on_failed,
                .arg = s,
            },
        .link = raft_transport_link(s->transport),
    };
    o.raft.election_timeout_ms = s->options.election_timeout_ms;
    o.raft.entry_max_bytes = s->options.config.entry_max_bytes;
    if (s->options.keep_entries > 0)
        o.raft.compact_keep_entries = (uint64_t)s->options.keep_entries;
    int error = raft_node_open(&o, &s->raft, why);
    if (error < 0)
        return error;
    raft_transport_bind(s->transport, s->raft);
    return 0;
}

static bool load_image(struct controller_service *s, int64_t *term, char **why)
{
    char *reason = NULL;

    if (image_load(s->image_kv, &s->image, term, &reason) == ERR_NONE)
        return true;
    *why = xasprintf("The controller's store %s/image is damaged: %s. If the "
                     "other controllers are healthy, remove this node from the "
                     "quorum (remove-controller), move the directory %s away, "
                     "start it and add it again (add-controller): it fetches "
                     "everything from them, while a voter that comes back with "
                     "nothing could elect one that lacks what was committed. "
                     "Otherwise restore it from a backup",
                     s->options.dir, reason, s->options.dir);
    free(reason);
    return false;
}

/* A power loss that takes its name would make an empty voter of this one. */
static int make_dir(struct controller_service *s)
{
    char *parent = xstrdup(s->options.dir);
    char *slash = strrchr(parent, '/');
    int error = env_mkdir(s->env, s->options.dir);

    if (slash != NULL && slash != parent)
        *slash = '\0';
    if (error == 0 && slash != NULL && slash != parent)
        error = env_sync_dir(s->env, parent);
    free(parent);
    return error;
}

struct controller_service *
controller_service_open(const struct controller_service_options *options,
                        char **why)
{
    struct controller_service *s = xcalloc(1, sizeof *s);
    int64_t term = 0;

    s->options = *options;
    s->env = options->env;
    list_init(&s->conns);
    list_init(&s->answers);
    list_init(&s->polls);
    list_init(&s->probes);
    s->timer = (struct env_timer){.fn = on_timer, .arg = s};
    s->again_timer = (struct env_timer){.fn = on_again, .arg = s};
    s->rewrite_timer = (struct env_timer){.fn = on_rewrite, .arg = s};
    service_voters_init(s);
    image_init(&s->image);
    controller_init(&s->controller, &options->config);
    if (make_dir(s) < 0) {
        *why = xasprintf("Cannot make the controller's directory %s",
                         options->dir);
        return NULL;
    }
    s->raft_kv = open_store(s, "raft", why);
    if (s->raft_kv == NULL)
        return NULL;
    s->image_kv = open_store(s, "image", why);
    if (s->image_kv == NULL || !load_image(s, &term, why) ||
        open_raft(s, term, why) < 0 || service_listen(s, why) < 0)
        return NULL; /* the process ends: nothing to unwind */
    s->image_term = term;
    raft_node_start(s->raft);
    return s;
}

static void close_stores(struct controller_service *s)
{
    if (!s->raft_closed || s->write_busy)
        return;
    kv_close(s->raft_kv);
    kv_close(s->image_kv);
    s->stopped(s->stopped_arg);
}

static void on_closed(void *arg)
{
    struct controller_service *s = arg;

    s->raft_closed = true;
    close_stores(s);
}

static void finish_stop(struct controller_service *s)
{
    env_timer_stop(s->env, &s->stop_timer);
    if (s->closing)
        return;
    s->closing = true;
    env_timer_stop(s->env, &s->again_timer);
    env_timer_stop(s->env, &s->rewrite_timer); /* the store is closed soon */
    /* Probes of brokers may still come back: nothing is decided any more. */
    controller_deactivate(&s->controller);
    service_close_conns(s);
    raft_node_close(s->raft, on_closed, s);
    raft_transport_free(s->transport);
}

static void on_stop_timer(void *arg) { finish_stop(arg); }

static void on_stop(struct env_task *task)
{
    struct controller_service *s =
        (struct controller_service *)((char *)task -
                                      offsetof(struct controller_service,
                                               stop_task));

    s->stopping = true;
    s->stop_timer = (struct env_timer){.fn = on_stop_timer, .arg = s};
    env_timer_start(s->env, &s->stop_timer,
                    s->leader && raft_node_transfer(s->raft, RAFT_ID_NONE) ==
                                     ERR_NONE
                        ? HAND_OVER_MS
                        : 0);
}

void controller_service_stop(struct controller_service *s,
                             void (*stopped)(void *arg), void *arg)
{
    s->stopped = stopped;
    s->stopped_arg = arg;
    s->stop_task.fn = on_stop;
    env_post(s->env, &s->stop_task);
}
