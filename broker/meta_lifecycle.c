/* Registration, heartbeats, controlled shutdown.
 *
 * A registration tells the controller who and where we are and brings a broker
 * epoch.  Heartbeats then say how much metadata we have applied; once that
 * includes the registration itself the controller lifts the fence, and when the
 * image says so too we are ready for clients.  So the heartbeat that matters is
 * sent at the moment the record has been applied, not at the next interval.
 *
 * A new active controller has not heard of us: whenever a connection to one
 * opens a heartbeat goes out at once.  One that does not know our epoch makes
 * us register again.
 *
 * Leaving: heartbeats ask to stop until the controller has moved our leaders
 * away and says yes, or time is up. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "controller/features.h"

#include <stdlib.h>

enum {
    REGISTER_AGAIN_MS = 250,
    LEAVE_BEAT_MS = 50,
    LEAVE_SILENCE_MAX_MS = 1000,
};

static int64_t epoch_of(const struct meta *m)
{
    return atomic_load_explicit(&m->broker->epoch, memory_order_relaxed);
}

/* ---- registration ------------------------------------------------------- */

static void register_send(struct meta *m);
static void beat(struct meta *m);

static bool registration_applied(const struct meta *m)
{
    const struct image_broker *self =
        image_broker(&m->image, m->broker->node_id);

    return self != NULL && epoch_of(m) >= 0 && self->epoch == epoch_of(m);
}

/* See partition_session_is_over().  What counts is when the heartbeat was asked
 * for: its answer may have lain here while this process stood still.  And it
 * counts when the metadata that the controller had then is applied, here and in
 * the shards: who was cut off is answered before it learns who leads by now. */
static void heard(struct meta *m, int64_t asked_ms, int64_t index)
{
    struct lifecycle *l = &m->life;

    if (index <= m->image.applied_index) {
        publish_heard(m, asked_ms);
    } else if (l->unheard_index == 0) {
        l->unheard_ms = asked_ms;
        l->unheard_index = index;
    }
}

static void heard_by_now(struct meta *m)
{
    struct lifecycle *l = &m->life;

    if (l->unheard_index == 0 || l->unheard_index > m->image.applied_index)
        return;
    heard(m, l->unheard_ms, l->unheard_index);
    l->unheard_index = 0;
}

static void lead_if_registered(struct meta *m)
{
    if (m->life.leads || !registration_applied(m))
        return;
    m->life.leads = true;
    publish_led(m);
    publish_send(m);
}

static void registered(struct meta *m, int64_t epoch)
{
    struct lifecycle *l = &m->life;

    log_info("server",
             "Registered with the controller as broker %d, epoch "
             "%lld",
             (int)m->broker->node_id, (long long)epoch);
    atomic_store(&m->broker->epoch, epoch);
    heard(m, env_now_ms(m->env), epoch);
    env_timer_stop(m->env, &l->patience);
    l->state = l->left_wanted ? LIFECYCLE_LEAVING : LIFECYCLE_REGISTERED;
    l->last_refusal = ERR_NONE;
    lead_if_registered(m);
    beat(m);
    isr_registered(m);
    offline_registered(m);
    ids_registered(m);
}

static void register_refused(struct meta *m,
                             const Leat__ControlResponse *response)
{
    struct lifecycle *l = &m->life;

    if (response->error == ERR_INCONSISTENT_CLUSTER_ID) {
        meta_other_cluster(m, response);
        return;
    }
    if (l->last_refusal != (enum err)response->error) {
        l->last_refusal = (enum err)response->error;
        log_warn("server",
                 "The controller refuses to register broker %d (%s): %s "
                 "Trying on",
                 (int)m->broker->node_id, err_text(response->error),
                 response->message);
    }
    env_timer_start(m->env, &l->again, REGISTER_AGAIN_MS);
}

static void register_done(struct control_call *call, enum err error,
                          const Leat__ControlResponse *response)
{
    struct meta *m = LIST_ENTRY(call, struct meta, life.register_call);

    if (m->life.state == LIFECYCLE_LEFT)
        return; /* nobody waits for it any more */
    if (error != ERR_NONE)
        register_send(m);
    else if (response->error == ERR_NONE &&
             response->result_case ==
                 LEAT__CONTROL_RESPONSE__RESULT_REGISTER_BROKER)
        registered(m, response->register_broker->broker_epoch);
    else
        register_refused(m, response);
}

static size_t fill_endpoints(const struct server_config *config,
                             Leat__Endpoint *items, Leat__Endpoint **list)
{
    size_t n = 0;

    for (size_t i = 0; i < config->advertised_len; i++) {
        const struct server_listener *from = &config->advertised[i];

        if (from->is_controller)
            continue;
        leat__endpoint__init(&items[n]);
        items[n].listener = from->name;
        items[n].host = from->host;
        items[n].port = from->port;
        list[n] = &items[n];
        n++;
    }
    return n;
}

static void register_send(struct meta *m)
{
    struct broker *b = m->broker;
    const struct server_config *config = b->config;
    struct control_call *call = &m->life.register_call;
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__RegisterBrokerRequest r = LEAT__REGISTER_BROKER_REQUEST__INIT;
    Leat__Endpoint *endpoints =
        xcalloc(config->advertised_len + 1, sizeof *endpoints);
    Leat__Endpoint **list = xcalloc(config->advertised_len + 1, sizeof *list);
    ProtobufCBinaryData *dirs =
        xcalloc((size_t)b->log_dirs_len + 1, sizeof *dirs);
    struct arena arena;

    m->life.state = LIFECYCLE_REGISTERING;
    for (int i = 0; i < b->log_dirs_len; i++)
        if (!log_dir_failed(&b->log_dirs[i]))
            dirs[r.n_log_dirs++] =
                (ProtobufCBinaryData){16, b->log_dirs[i].id.bytes};
    r.broker_id = b->node_id;
    r.incarnation = (ProtobufCBinaryData){16, b->incarnation.bytes};
    r.n_endpoints = fill_endpoints(config, endpoints, list);
    r.endpoints = list;
    r.rack =
        config->rack != NULL ? config->rack : (char *)protobuf_c_empty_string;
    r.log_dirs = dirs;
    arena_init(&arena, 0);
    features_declare(&r, &arena);
    r.previous_broker_epoch =
        epoch_of(m) >= 0 ? epoch_of(m) : m->life.previous_epoch;
    request.call_case = LEAT__CONTROL_REQUEST__CALL_REGISTER_BROKER;
    request.register_broker = &r;
    call->repeatable = true;
    call->attempt_ms = meta_attempt_ms(m);
    call->deadline_ms = INT64_MAX;
    call->done = register_done;
    control_send(m->control, CONTROL_CALLS, call, &request);
    arena_free(&arena);
    free(endpoints);
    free(list);
    free(dirs);
}

static void register_again(void *arg) { register_send(arg); }

static void out_of_patience(void *arg)
{
    struct meta *m = arg;

    log_error("server",
              "Broker %d could not register within "
              "initial.broker.registration.timeout.ms=%d: %s. Start the "
              "controllers named in controller.quorum.voters, and make sure "
              "that no other process runs with this node.id",
              (int)m->broker->node_id,
              (int)m->broker->config->initial_registration_timeout_ms,
              m->life.last_refusal != ERR_NONE
                  ? err_text(m->life.last_refusal)
                  : "no active controller was found");
    meta_fail(m);
}

void lifecycle_stale(struct meta *m)
{
    struct lifecycle *l = &m->life;

    if (l->state != LIFECYCLE_REGISTERED && l->state != LIFECYCLE_LEAVING)
        return;
    log_info("server",
             "The controller does not know broker epoch %lld; "
             "registering again",
             (long long)epoch_of(m));
    env_timer_stop(m->env, &l->beat);
    register_send(m);
}

/* ---- heartbeats --------------------------------------------------------- */

static void left(struct meta *m)
{
    struct lifecycle *l = &m->life;

    if (l->state == LIFECYCLE_LEFT)
        return;
    l->state = LIFECYCLE_LEFT;
    env_timer_stop(m->env, &l->shutdown);
    env_timer_stop(m->env, &l->beat);
    env_timer_stop(m->env, &l->again);
    if (m->left != NULL)
        m->left(m->left_arg);
}

/* While leaving: as long as the controller answers it gets the whole time. When
 * it does not (the other nodes stop, too, and the quorum is gone) waiting for
 * it is of no use. */
static void grant_patience(struct meta *m)
{
    struct lifecycle *l = &m->life;
    int64_t left_ms = l->leave_deadline_ms - env_now_ms(m->env);

    if (left_ms > LEAVE_SILENCE_MAX_MS)
        left_ms = LEAVE_SILENCE_MAX_MS;
    env_timer_start(m->env, &l->shutdown, left_ms > 0 ? left_ms : 0);
}

static int64_t beat_interval_ms(const struct meta *m)
{
    return m->life.state == LIFECYCLE_LEAVING
               ? LEAVE_BEAT_MS
               : m->broker->config->broker_heartbeat_interval_ms;
}

static void heartbeat_done(struct control_call *call, enum err error,
                           const Leat__ControlResponse *response)
{
    struct meta *m = LIST_ENTRY(call, struct meta, life.heartbeat_call);
    struct lifecycle *l = &m->life;
    bool ok = error == ERR_NONE && response->error == ERR_NONE &&
              response->result_case == LEAT__CONTROL_RESPONSE__RESULT_HEARTBEAT;

    if (l->state != LIFECYCLE_REGISTERED && l->state != LIFECYCLE_LEAVING)
        return;
    if (ok)
        heard(m, l->beat_ms, response->heartbeat->metadata_index);
    if (ok && l->state == LIFECYCLE_LEAVING)
        grant_patience(m);
    if (error == ERR_NONE && (response->error == ERR_STALE_BROKER_EPOCH ||
                              response->error == ERR_BROKER_ID_NOT_REGISTERED))
        lifecycle_stale(m);
    else if (ok && l->state == LIFECYCLE_LEAVING &&
             response->heartbeat->should_shut_down)
        left(m);
    else if (l->beat_again)
        beat(m);
    else
        env_timer_start(m->env, &l->beat, beat_interval_ms(m));
}

/* Sends a heartbeat now, or as soon as the one under way is answered. */
static void beat(struct meta *m)
{
    struct lifecycle *l = &m->life;
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__HeartbeatRequest r = LEAT__HEARTBEAT_REQUEST__INIT;

    if (l->state != LIFECYCLE_REGISTERED && l->state != LIFECYCLE_LEAVING)
        return;
    l->beat_again = control_call_running(&l->heartbeat_call);
    if (l->beat_again)
        return;
    if (!vouch(m) && l->state == LIFECYCLE_REGISTERED) {
        env_timer_start(m->env, &l->beat, beat_interval_ms(m));
        return;
    }
    env_timer_stop(m->env, &l->beat);
    r.broker_id = m->broker->node_id;
    r.broker_epoch = epoch_of(m);
    r.applied_index = m->image.applied_index;
    r.want_shutdown = l->state == LIFECYCLE_LEAVING;
    request.call_case = LEAT__CONTROL_REQUEST__CALL_HEARTBEAT;
    request.heartbeat = &r;
    l->beat_ms = env_now_ms(m->env);
    l->heartbeat_call.repeatable = true;
    l->heartbeat_call.attempt_ms = meta_attempt_ms(m);
    /* Then a fresh one takes its place. */
    l->heartbeat_call.deadline_ms = 2 * meta_attempt_ms(m);
    l->heartbeat_call.done = heartbeat_done;
    control_send(m->control, CONTROL_CALLS, &l->heartbeat_call, &request);
}

static void on_beat(void *arg) { beat(arg); }

void lifecycle_connected(struct meta *m) { beat(m); }

void lifecycle_shards_turn(struct meta *m) { beat(m); }

void lifecycle_beat(struct meta *m) { beat(m); }

void lifecycle_applied(struct meta *m)
{
    struct lifecycle *l = &m->life;
    const struct image_broker *self =
        image_broker(&m->image, m->broker->node_id);

    heard_by_now(m);
    if (!registration_applied(m))
        return;
    lead_if_registered(m);
    if (self->fenced || l->state == LIFECYCLE_LEAVING) {
        beat(m);
    } else if (!l->was_ready) {
        l->was_ready = true;
        if (m->ready != NULL)
            m->ready(m->ready_arg);
    }
}

/* ---- leaving ------------------------------------------------------------ */

static void shutdown_late(void *arg)
{
    struct meta *m = arg;

    log_warn("server", "The controller did not move all leaders away in time; "
                       "stopping all the same");
    left(m);
}

static void leave(struct env_task *task)
{
    struct meta *m = LIST_ENTRY(task, struct meta, life.leave);
    struct lifecycle *l = &m->life;

    l->left_wanted = true;
    l->leave_deadline_ms = env_now_ms(m->env) + l->leave_timeout_ms;
    grant_patience(m);
    if (l->state == LIFECYCLE_REGISTERED)
        l->state = LIFECYCLE_LEAVING;
    beat(m);
}

void meta_shut_down(struct meta *m, int64_t timeout_ms, void (*done)(void *arg),
                    void *arg)
{
    m->left = done;
    m->left_arg = arg;
    m->life.leave_timeout_ms = timeout_ms;
    m->life.leave.fn = leave;
    env_post(m->env, &m->life.leave);
}

/* ---- life --------------------------------------------------------------- */

void lifecycle_init(struct meta *m)
{
    struct lifecycle *l = &m->life;

    l->beat = (struct env_timer){.fn = on_beat, .arg = m};
    l->again = (struct env_timer){.fn = register_again, .arg = m};
    l->patience = (struct env_timer){.fn = out_of_patience, .arg = m};
    l->shutdown = (struct env_timer){.fn = shutdown_late, .arg = m};
    l->last_refusal = ERR_NONE;
    atomic_store(&m->broker->epoch, -1);
}

void lifecycle_start(struct meta *m)
{
    vouch_start(m);
    env_timer_start(m->env, &m->life.patience,
                    m->broker->config->initial_registration_timeout_ms);
    register_send(m);
}

void lifecycle_stop(struct meta *m)
{
    struct lifecycle *l = &m->life;

    env_timer_stop(m->env, &l->beat);
    env_timer_stop(m->env, &l->again);
    env_timer_stop(m->env, &l->patience);
    env_timer_stop(m->env, &l->shutdown);
}

void lifecycle_free(struct meta *m) { vouch_free(m); }
