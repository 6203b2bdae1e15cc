/* Life of the metadata thread, and following the metadata log.
 *
 * The image on disk is loaded and published before anything else, so that logs
 * open while the first connection is made.  Then one long poll after another:
 * entries are applied to the image (meta_publish.c tells the shards), and go to
 * disk in batches by a helper, one batch at a time; a poll is never held up by
 * a commit unless the disk is far behind.
 *
 * A broker that is too far behind gets the whole image in pieces, builds it
 * beside its own and publishes the difference.
 *
 * The copy on disk may lag: it holds the image of some index, and what came
 * later is fetched again.  So nothing is synced, and a failing disk costs only
 * the next start. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "broker/log_dirs.h"
#include "broker/relay.h"
#include "broker/share_client.h"
#include "broker/share_lag.h"
#include "broker/txn_client.h"
#include "controller/records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    POLL_MS = 1000, /* of waiting at the controller */
    POLL_BYTES = 4 << 20,
    POLL_AGAIN_MS = 500, /* after an answer that made no sense */
    UNSTORED_MAX_BYTES = 16 << 20,
};

#define IMAGE_DIR "leat-broker-image"

/* ---- the copy on disk --------------------------------------------------- */

static void poll_send(struct meta *m);

static void store_run(struct env_work *work)
{
    struct meta *m = LIST_ENTRY(work, struct meta, follow.store);

    m->follow.store_error = kv_write(m->kv, &m->follow.storing, false);
}

static void store_begin(struct meta *m);

static void store_done(struct env_work *work)
{
    struct meta *m = LIST_ENTRY(work, struct meta, follow.store);
    struct follow *f = &m->follow;

    f->store_running = false;
    kv_batch_free(&f->storing);
    if (f->store_error < 0) {
        f->store_failed = true;
        log_error("server",
                  "Cannot store the cluster metadata in %s: %s. Going on "
                  "without; the next start fetches again what is missing",
                  m->broker->config->metadata_log_dir,
                  strerror(-f->store_error));
    }
    store_begin(m);
    if (f->paused)
        poll_send(m);
}

static void store_begin(struct meta *m)
{
    struct follow *f = &m->follow;

    if (f->store_running)
        return;
    if (m->kv == NULL || f->store_failed)
        kv_batch_free(&f->unstored);
    if (f->unstored.count == 0)
        return;
    f->storing = f->unstored;
    f->unstored = KV_BATCH_INIT;
    f->store_running = true;
    f->store = (struct env_work){
        .lane = m, .urgent = true, .run = store_run, .done = store_done};
    env_work_start(m->env, &f->store);
}

/* ---- applying ----------------------------------------------------------- */

/* The image is of no more use: what was agreed on cannot be applied. */
static void give_up(struct meta *m, int64_t index, enum err error)
{
    log_error("server",
              "The cluster metadata at index %lld cannot be applied: %s. This "
              "node stops. If it happens again, move %s/" IMAGE_DIR " away and "
              "restart",
              (long long)index, err_text(error),
              m->broker->config->metadata_log_dir);
    meta_fail(m);
}

/* After a change of the image: everybody who waits for one. */
static void applied(struct meta *m)
{
    publish_send(m);
    store_begin(m);
    creations_applied(m);
    lifecycle_applied(m);
    meta_retry_parked(m);
}

static bool apply_entry(struct meta *m, const Leat__MetadataEntry *entry)
{
    struct slice batch = slice_of(entry->batch.data, entry->batch.len);
    struct image_observer observer = publish_observer(m);
    enum err error;

    if (entry->index <= m->image.applied_index)
        return true;
    if (entry->index != m->image.applied_index + 1) {
        log_error("server",
                  "The controller sent the metadata at index %lld after %lld; "
                  "asking again",
                  (long long)entry->index, (long long)m->image.applied_index);
        return false;
    }
    if (batch.data == NULL)
        batch = SLICE("");
    error = image_apply(&m->image, entry->index, batch, &observer);
    if (error == ERR_NONE)
        error = image_persist(entry->index, entry->term, batch,
                              &m->follow.unstored);
    if (error != ERR_NONE)
        give_up(m, entry->index, error);
    return error == ERR_NONE;
}

static bool apply_entries(struct meta *m,
                          const Leat__FetchMetadataResponse *response)
{
    bool ok = true;

    for (size_t i = 0; i < response->n_entries && ok; i++)
        ok = apply_entry(m, response->entries[i]);
    if (response->n_entries != 0 && !m->has_failed) {
        meta_set_controllers(m);
        applied(m);
    }
    return ok;
}

/* ---- snapshots ---------------------------------------------------------- */

static void snapshot_drop(struct follow *f)
{
    if (f->incoming != NULL) {
        image_free(f->incoming);
        free(f->incoming);
    }
    f->incoming = NULL;
    f->snapshot_index = f->snapshot_position = 0;
}

static enum err snapshot_add(struct follow *f, ProtobufCBinaryData bytes)
{
    Leat__MetadataBatch *batch =
        records_unpack(slice_of(bytes.data, bytes.len));
    enum err error = ERR_NONE;

    if (batch == NULL)
        return ERR_MALFORMED;
    for (size_t i = 0; i < batch->n_records && error == ERR_NONE; i++)
        error = image_replay(f->incoming, batch->records[i], f->snapshot_index,
                             NULL);
    f->snapshot_position += (int64_t)batch->n_records;
    leat__metadata_batch__free_unpacked(batch, NULL);
    return error;
}

static void snapshot_install(struct meta *m)
{
    struct follow *f = &m->follow;
    struct image old = m->image;

    log_info("server", "Took over the cluster metadata as of index %lld",
             (long long)f->snapshot_index);
    m->image = *f->incoming;
    m->image.applied_index = f->snapshot_index;
    free(f->incoming);
    f->incoming = NULL;
    snapshot_drop(f);
    publish_diff(m, &old);
    image_free(&old);
    kv_batch_free(&f->unstored);
    image_persist_all(&m->image, 0, &f->unstored);
    meta_set_controllers(m);
    applied(m);
}

/* A piece of a snapshot.  Another one than we began, or another place: from the
 * start. */
static bool apply_snapshot(struct meta *m,
                           const Leat__FetchMetadataResponse *response)
{
    struct follow *f = &m->follow;

    if (response->snapshot_index != f->snapshot_index ||
        response->snapshot_position != f->snapshot_position) {
        snapshot_drop(f);
        if (response->snapshot_position != 0 ||
            response->snapshot_index <= m->image.applied_index)
            return false;
    }
    if (f->incoming == NULL) {
        f->incoming = xmalloc(sizeof *f->incoming);
        image_init(f->incoming);
        f->snapshot_index = response->snapshot_index;
    }
    enum err error = snapshot_add(f, response->snapshot_batch);
    if (error != ERR_NONE) {
        give_up(m, response->snapshot_index, error);
        return false;
    }
    if (response->snapshot_done)
        snapshot_install(m);
    return true;
}

/* ---- polling ------------------------------------------------------------ */

static void poll_again(void *arg) { poll_send(arg); }

/* What the active controller has applied is all that was ever agreed on, and it
 * says so only once a quorum has confirmed that it is the active one.  If we
 * have more, it is not the cluster that our logs belong to, and following it
 * would delete them. */
static void other_history(struct meta *m)
{
    log_error("server",
              "This broker has applied the cluster metadata up to index %lld, "
              "the controllers have less. They lost their disks or belong to "
              "another cluster. This node stops, its logs are untouched; "
              "restore the controllers, or move %s/" IMAGE_DIR " away to "
              "accept what they have",
              (long long)m->image.applied_index,
              m->broker->config->metadata_log_dir);
    meta_fail(m);
}

void meta_other_cluster(struct meta *m, const Leat__ControlResponse *response)
{
    log_error("server",
              "This node was formatted for cluster %s, but the controllers "
              "named in controller.quorum.voters refuse it: %s. This node "
              "stops, its logs are untouched; correct "
              "controller.quorum.voters or log.dirs, or format empty "
              "directories for their cluster",
              m->broker->cluster_id, response->message);
    meta_fail(m);
}

static void poll_done(struct control_call *call, enum err error,
                      const Leat__ControlResponse *response)
{
    struct meta *m = LIST_ENTRY(call, struct meta, follow.call);
    bool ok =
        error == ERR_NONE && response->error == ERR_NONE &&
        response->result_case == LEAT__CONTROL_RESPONSE__RESULT_FETCH_METADATA;

    if (ok && response->fetch_metadata->snapshot_index != 0)
        ok = apply_snapshot(m, response->fetch_metadata);
    else if (ok)
        ok = apply_entries(m, response->fetch_metadata);
    else if (error == ERR_NONE && response->error == ERR_OFFSET_OUT_OF_RANGE)
        other_history(m);
    else if (error == ERR_NONE &&
             response->error == ERR_INCONSISTENT_CLUSTER_ID)
        meta_other_cluster(m, response);
    else if (error == ERR_NONE)
        log_warn("server", "The controller refused to send metadata: %s %s",
                 err_text(response->error), response->message);
    if (m->has_failed)
        return;
    if (ok)
        poll_send(m);
    else
        env_timer_start(m->env, &m->follow.again, POLL_AGAIN_MS);
}

static void poll_send(struct meta *m)
{
    struct follow *f = &m->follow;
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__FetchMetadataRequest fetch = LEAT__FETCH_METADATA_REQUEST__INIT;

    f->paused = f->unstored.ops.len > UNSTORED_MAX_BYTES;
    if (f->paused || control_call_running(&f->call))
        return;
    int64_t epoch = atomic_load(&m->broker->epoch);

    fetch.broker_id = m->broker->node_id;
    fetch.broker_epoch = epoch > 0 ? epoch : 0;
    fetch.applied_index = m->image.applied_index;
    fetch.max_wait_ms = POLL_MS;
    fetch.max_bytes = POLL_BYTES;
    fetch.snapshot_index = f->snapshot_index;
    fetch.snapshot_position = f->snapshot_position;
    request.call_case = LEAT__CONTROL_REQUEST__CALL_FETCH_METADATA;
    request.fetch_metadata = &fetch;
    f->call.repeatable = true;
    f->call.attempt_ms = POLL_MS + meta_attempt_ms(m);
    f->call.deadline_ms = INT64_MAX;
    f->call.done = poll_done;
    control_send(m->control, CONTROL_POLLS, &f->call, &request);
}

void follow_init(struct meta *m)
{
    m->follow.again = (struct env_timer){.fn = poll_again, .arg = m};
    m->follow.unstored = KV_BATCH_INIT;
    m->follow.storing = KV_BATCH_INIT;
}

void follow_start(struct meta *m) { poll_send(m); }

void follow_stop(struct meta *m) { env_timer_stop(m->env, &m->follow.again); }

void follow_free(struct meta *m)
{
    snapshot_drop(&m->follow);
    kv_batch_free(&m->follow.unstored);
    kv_batch_free(&m->follow.storing);
}

/* ---- who the controllers are -------------------------------------------- */

static const struct image_endpoint *
controller_endpoint(const struct meta *m, const struct image_controller *c)
{
    const char *name = m->broker->config->controller_listener;

    for (size_t i = 0; i < c->endpoints_len; i++)
        if (name == NULL || strcmp(c->endpoints[i].listener, name) == 0)
            return &c->endpoints[i];
    return c->endpoints_len != 0 ? &c->endpoints[0] : NULL;
}

void meta_set_controllers(struct meta *m)
{
    const struct server_config *config = m->broker->config;
    size_t max =
        config->voters_len + config->bootstrap_len + m->image.controllers_len;
    struct control_address *list = xcalloc(max + 1, sizeof *list);
    size_t n = 0;

    for (size_t i = 0; i < config->voters_len; i++)
        list[n++] = (struct control_address){config->voters[i].id,
                                             config->voters[i].host,
                                             config->voters[i].port};
    for (size_t i = 0; i < m->image.controllers_len; i++) {
        const struct image_controller *c = m->image.controllers[i];
        const struct image_endpoint *e = controller_endpoint(m, c);

        if (e != NULL && server_config_voter(config, c->id) == NULL)
            list[n++] = (struct control_address){c->id, e->host, e->port};
    }
    for (size_t i = 0; i < config->bootstrap_len; i++)
        list[n++] = (struct control_address){-1, config->bootstrap[i].host,
                                             config->bootstrap[i].port};
    if (n != 0)
        control_client_set_addresses(m->control, list, n);
    free(list);
}

/* ---- life --------------------------------------------------------------- */

static void on_connected(void *arg) { lifecycle_connected(arg); }

struct meta *meta_new(struct broker *broker, struct env *env)
{
    struct meta *m = xcalloc(1, sizeof *m);
    char client_id[32];

    m->broker = broker;
    m->env = env;
    snprintf(m->own_id, sizeof m->own_id, "%d", (int)broker->node_id);
    image_init(&m->image);
    list_init(&m->parked);
    snprintf(client_id, sizeof client_id, "broker-%d", (int)broker->node_id);
    m->control =
        control_client_new(env, &(struct control_client_options){
                                    .cluster_id = broker->cluster_id,
                                    .client_id = client_id,
                                    .frame_max_bytes = CONTROL_ANSWER_MAX_BYTES,
                                    .connected = on_connected,
                                    .arg = m,
                                });
    follow_init(m);
    publish_init(m);
    lifecycle_init(m);
    isr_init(m);
    offline_init(m);
    ids_init(m);
    creations_init(m);
    topic_orders_init(m);
    m->relay = relay_new(m);
    m->txn_client = txn_client_new(m);
    m->share_client = share_client_new(m);
    m->share_lag = share_lag_new(m);
    return m;
}

static enum err open_image(struct meta *m, char **why)
{
    char *path =
        xasprintf("%s/" IMAGE_DIR, m->broker->config->metadata_log_dir);
    char *aside;
    int rc = kv_open_cache(m->env, path, &m->kv, &aside, why);

    if (rc == 0 && aside == NULL &&
        image_load(m->kv, &m->image, NULL, why) != ERR_NONE) {
        free(*why);
        *why = NULL;
        image_free(&m->image);
        image_init(&m->image);
        rc = kv_replace_damaged(m->env, path, &m->kv, &aside, why);
    }
    if (rc == 0 && aside != NULL)
        log_warn("server",
                 "The broker's copy of the metadata, %s, is damaged; it was "
                 "renamed to %s, and is fetched from the controllers again",
                 path, aside);
    free(aside);
    free(path);
    return rc == 0 ? ERR_NONE : rc == -ENOSPC ? ERR_FULL : ERR_IO;
}

enum err meta_start(struct meta *m, char **why)
{
    struct image nothing;
    enum err error = open_image(m, why);

    if (error != ERR_NONE)
        return error;
    error = log_dirs_take_clean_marks(m->broker, m->env,
                                      &m->life.previous_epoch, why);
    if (error != ERR_NONE)
        return error;
    image_init(&nothing);
    publish_diff(m, &nothing);
    publish_send(m);
    image_free(&nothing);
    meta_set_controllers(m);
    lifecycle_start(m);
    follow_start(m);
    return ERR_NONE;
}

void meta_stop(struct meta *m)
{
    control_client_free(m->control);
    m->control = NULL;
    follow_stop(m);
    lifecycle_stop(m);
    isr_stop(m);
    offline_stop(m);
    ids_stop(m);
    topic_orders_stop(m);
    relay_stop(m->relay);
    txn_client_stop(m->txn_client);
    share_client_stop(m->share_client);
    share_lag_stop(m->share_lag);
}

void meta_free(struct meta *m)
{
    if (m == NULL)
        return;
    follow_free(m);
    lifecycle_free(m);
    offline_free(m);
    creations_free(m);
    relay_free(m->relay);
    txn_client_free(m->txn_client);
    share_client_free(m->share_client);
    share_lag_free(m->share_lag);
    publish_free(m);
    if (m->kv != NULL)
        kv_close(m->kv);
    image_free(&m->image);
    free(m);
}

struct env *meta_env(struct meta *m) { return m->env; }

const struct image_endpoint *meta_broker_endpoint(const struct meta *m,
                                                  const struct image_broker *b)
{
    const char *listener = m->broker->config->inter_broker_listener;

    return listener == NULL ? NULL : image_endpoint(b, slice_str(listener));
}

void meta_on_ready(struct meta *m, void (*ready)(void *arg), void *arg)
{
    m->ready = ready;
    m->ready_arg = arg;
}

void meta_on_failed(struct meta *m, void (*failed)(void *arg), void *arg)
{
    m->failed = failed;
    m->failed_arg = arg;
}

void meta_fail(struct meta *m)
{
    if (m->has_failed)
        return;
    m->has_failed = true;
    if (m->failed != NULL)
        m->failed(m->failed_arg);
}
