/* A broker's life: registered (fenced) -> caught up with its own registration
 * (unfenced) -> shutting down under control (its leaders moved, out of the
 * in-sync sets) -> told to stop (fenced again).  Or: silent, and fenced by
 * sessions.c.
 *
 * A registration tells the epoch of the process's predecessor, which only a
 * clean shutdown leaves behind.  If it isn't the registered one, the broker may
 * have lost what it acknowledged last, and counts as in sync or eligible only
 * where nobody else does (KIP-966).
 *
 * A broker that was unregistered is not expected back.  Who registers with its
 * id has nothing of what it had: nobody could tell. */
#include "base/assert.h"
#include "base/planted.h"
#include "controller/step.h"
#include "proto/kafka/kafka_messages.h"

enum {
    ENDPOINTS_MAX = 32,
    LOG_DIRS_MAX = 256,
    FEATURES_MAX = 64,
    TEXT_MAX_BYTES = 1024,
};

/* ---- records ------------------------------------------------------------- */

static void put_broker(struct step *s, int32_t id, bool fenced, bool shutdown)
{
    Leat__BrokerRecord r =
        record_of_broker(image_broker(s->image, id), s->arena);

    r.fenced = fenced;
    r.in_controlled_shutdown = shutdown;
    step_put(s, &RECORD(broker, BROKER, &r));
}

/* ---- registration -------------------------------------------------------- */

static const char *endpoint_problem(const Leat__Endpoint *e)
{
    if (e->listener[0] == '\0' || strlen(e->listener) > TEXT_MAX_BYTES)
        return "an endpoint needs a listener name";
    if (e->host[0] == '\0' || strlen(e->host) > TEXT_MAX_BYTES)
        return "an endpoint needs a host name";
    if (e->port == 0 || e->port > UINT16_MAX)
        return "an endpoint's port must be between 1 and 65535";
    if (e->security_protocol > 3)
        return "an endpoint's security protocol is not known";
    return NULL;
}

static const char *endpoints_problem(Leat__Endpoint **list, size_t len)
{
    if (len == 0)
        return "a broker needs an endpoint";
    if (len > ENDPOINTS_MAX)
        return "too many endpoints";
    for (size_t i = 0; i < len; i++) {
        const char *problem = endpoint_problem(list[i]);

        if (problem != NULL)
            return problem;
        for (size_t j = 0; j < i; j++)
            if (strcmp(list[i]->listener, list[j]->listener) == 0)
                return "two endpoints have the same listener name";
    }
    return NULL;
}

static const char *log_dirs_problem(const ProtobufCBinaryData *dirs, size_t len)
{
    static const uint8_t zero[16];

    if (len > LOG_DIRS_MAX)
        return "too many log directories";
    for (size_t i = 0; i < len; i++) {
        if (dirs[i].len != 16 || memcmp(dirs[i].data, zero, 16) == 0)
            return "a log directory's id must be 16 bytes and not zero";
        for (size_t j = 0; j < i; j++)
            if (memcmp(dirs[i].data, dirs[j].data, 16) == 0)
                return "two log directories have the same id";
    }
    return NULL;
}

static const char *features_problem(Leat__FeatureRange **list, size_t len)
{
    if (len > FEATURES_MAX)
        return "too many features";
    for (size_t i = 0; i < len; i++)
        if (list[i]->name[0] == '\0' ||
            strlen(list[i]->name) > TEXT_MAX_BYTES || list[i]->min_level < 0 ||
            list[i]->max_level > INT16_MAX ||
            list[i]->min_level > list[i]->max_level)
            return "a feature's levels make no sense";
    return NULL;
}

static enum err check_registration(struct step *s,
                                   const Leat__RegisterBrokerRequest *r,
                                   const char **why)
{
    static const uint8_t zero[16];
    const char *problem = endpoints_problem(r->endpoints, r->n_endpoints);
    enum err error = ERR_INVALID_REQUEST;

    if (problem == NULL && r->broker_id < 0)
        problem = "a broker's id must not be negative";
    if (problem == NULL && (r->incarnation.len != 16 ||
                            memcmp(r->incarnation.data, zero, 16) == 0))
        problem = "the incarnation must be 16 bytes and not zero";
    if (problem == NULL && strlen(r->rack) > TEXT_MAX_BYTES)
        problem = "the rack's name is too long";
    if (problem == NULL)
        problem = features_problem(r->features, r->n_features);
    if (problem == NULL) {
        problem = log_dirs_problem(r->log_dirs, r->n_log_dirs);
        error = ERR_INVALID_REGISTRATION;
    }
    if (problem == NULL) {
        problem = features_registration_problem(s, r);
        error = ERR_UNSUPPORTED_VERSION;
    }
    if (problem == NULL)
        return ERR_NONE;
    *why = (const char *)arena_printf(s->arena,
                                      "Broker %d cannot be registered: %s.",
                                      (int)r->broker_id, problem)
               .data;
    return error;
}

static bool same_endpoints(const struct image_broker *b,
                           const Leat__RegisterBrokerRequest *r)
{
    if (b->endpoints_len != r->n_endpoints)
        return false;
    for (size_t i = 0; i < b->endpoints_len; i++)
        if (strcmp(b->endpoints[i].listener, r->endpoints[i]->listener) != 0 ||
            strcmp(b->endpoints[i].host, r->endpoints[i]->host) != 0 ||
            b->endpoints[i].port != r->endpoints[i]->port ||
            b->endpoints[i].security_protocol !=
                r->endpoints[i]->security_protocol)
            return false;
    return true;
}

static bool same_log_dirs(const struct image_broker *b,
                          const Leat__RegisterBrokerRequest *r)
{
    if (b->log_dirs_len != r->n_log_dirs)
        return false;
    for (size_t i = 0; i < b->log_dirs_len; i++)
        if (memcmp(b->log_dirs[i].bytes, r->log_dirs[i].data, 16) != 0)
            return false;
    return true;
}

static bool same_features(const struct image_broker *b,
                          const Leat__RegisterBrokerRequest *r)
{
    if (b->features_len != r->n_features)
        return false;
    for (size_t i = 0; i < b->features_len; i++)
        if (strcmp(b->features[i].name, r->features[i]->name) != 0 ||
            b->features[i].min != r->features[i]->min_level ||
            b->features[i].max != r->features[i]->max_level)
            return false;
    return true;
}

/* What the new process may lack of what the old one had: without any of its
 * directories it has nothing (KIP-858), without one of several nobody knows
 * what.  Where nobody was registered (null), there is nothing to compare. */
static enum replica_loss loss_of(const struct image_broker *b,
                                 const Leat__RegisterBrokerRequest *r)
{
    size_t kept = 0;

    if (b == NULL)
        return LOSS_ALL;
    for (size_t i = 0; i < b->log_dirs_len; i++)
        for (size_t j = 0; j < r->n_log_dirs; j++)
            kept += memcmp(b->log_dirs[i].bytes, r->log_dirs[j].data, 16) == 0;
    if ((r->previous_broker_epoch == b->epoch && kept == b->log_dirs_len) ||
        PLANTED(CONTROLLER_TAKES_CRASH_FOR_STOP))
        return LOSS_NONE;
    return kept != 0 || b->log_dirs_len == 0 ? LOSS_TAIL : LOSS_ALL;
}

/* Whether the registered process is alive, as far as we can tell.
 *
 * After an activation nobody has been heard yet.  A new process with the very
 * addresses of the old one has bound its ports, so the old one is gone; from
 * any other address it has to wait until the session runs out. */
static bool is_taken(const struct controller *c,
                     const struct controller_broker *state,
                     const struct image_broker *b,
                     const Leat__RegisterBrokerRequest *r)
{
    if (b->fenced || state->lost)
        return false;
    return state->heard ? session_is_valid(c, state) : !same_endpoints(b, r);
}

static void put_registration(struct step *s,
                             const Leat__RegisterBrokerRequest *request,
                             const struct image_broker *same_process)
{
    Leat__BrokerRecord r = LEAT__BROKER_RECORD__INIT;

    r.broker_id = request->broker_id;
    r.incarnation = request->incarnation;
    r.n_endpoints = request->n_endpoints;
    r.endpoints = request->endpoints;
    r.rack = request->rack;
    r.n_log_dirs = request->n_log_dirs;
    r.log_dirs = request->log_dirs;
    r.n_features = request->n_features;
    r.features = request->features;
    r.fenced = true;
    if (same_process != NULL) {
        r.broker_epoch = same_process->epoch;
        r.fenced = same_process->fenced;
        r.in_controlled_shutdown = same_process->in_controlled_shutdown;
    }
    step_put(s, &RECORD(broker, BROKER, &r));
}

enum err broker_register(struct step *s, const Leat__RegisterBrokerRequest *r,
                         Leat__RegisterBrokerResponse *response,
                         const char **why)
{
    enum err error = check_registration(s, r, why);

    if (error != ERR_NONE)
        return error;
    struct controller_broker *state = step_broker(s->c, r->broker_id);
    struct image_broker *b = image_broker(s->image, r->broker_id);
    bool same_process =
        b != NULL && memcmp(b->incarnation.bytes, r->incarnation.data, 16) == 0;

    if (!same_process) {
        if (b != NULL && is_taken(s->c, state, b, r)) {
            *why = (const char *)arena_printf(
                       s->arena,
                       "Another broker is registered with broker id %d. If it "
                       "was restarted just now, this resolves itself when the "
                       "session of the old process ends.",
                       (int)r->broker_id)
                       .data;
            return ERR_DUPLICATE_BROKER_REGISTRATION;
        }
        state->leaving = true;
        if (!PLANTED(CONTROLLER_KEEPS_RESTARTED_IN_SYNC))
            partitions_leave(s, r->broker_id, loss_of(b, r));
        partitions_come_online(s, r->broker_id);
        put_registration(s, r, NULL);
        state->leaving = false;
    } else if (!same_endpoints(b, r) || strcmp(b->rack, r->rack) != 0 ||
               !same_log_dirs(b, r) || !same_features(b, r)) {
        put_registration(s, r, b);
    }
    if (!same_process) {
        state->applied_index = -1;
        state->shutdown_index = INT64_MAX;
    }
    session_heard(s->c, state);
    response->broker_epoch = image_broker(s->image, r->broker_id)->epoch;
    return ERR_NONE;
}

/* ---- heartbeats ---------------------------------------------------------- */

/* Clients of all other brokers have been told where the leaders went. */
static bool others_applied(const struct step *s, int32_t id, int64_t index)
{
    for (size_t i = 0; i < s->image->brokers_len; i++) {
        const struct image_broker *b = s->image->brokers[i];
        const struct controller_broker *state = step_broker(s->c, b->id);

        if (b->id != id && !b->fenced && !state->lost &&
            state->applied_index < index)
            return false;
    }
    return true;
}

static int64_t leads(const struct step *s, int32_t id)
{
    const struct index_broker *b = index_broker(&s->c->index, id);

    return b == NULL ? 0 : b->leads;
}

/* True when the broker may stop. */
static bool shut_down(struct step *s, struct controller_broker *state)
{
    if (!image_broker(s->image, state->id)->in_controlled_shutdown) {
        put_broker(s, state->id, false, true);
        partitions_leave(s, state->id, LOSS_NONE);
        state->shutdown_index = s->index; /* of the last record */
    } else if (leads(s, state->id) != 0) {
        /* A predecessor moved only some of them. */
        partitions_leave(s, state->id, LOSS_NONE);
        state->shutdown_index = s->index;
    }
    if (!others_applied(s, state->id, state->shutdown_index))
        return false;
    broker_fence(s, state->id);
    return true;
}

enum err broker_heartbeat(struct step *s, const Leat__HeartbeatRequest *r,
                          Leat__HeartbeatResponse *response, const char **why)
{
    enum err error = broker_check_epoch(s, r->broker_id, r->broker_epoch, why);

    if (error != ERR_NONE)
        return error;
    struct controller_broker *state = step_broker(s->c, r->broker_id);
    const struct image_broker *b = image_broker(s->image, r->broker_id);
    bool caught_up = r->applied_index >= b->epoch;

    if (r->applied_index > state->applied_index)
        state->applied_index = r->applied_index;
    session_heard(s->c, state);

    response->is_caught_up = caught_up;
    if (b->fenced && r->want_shutdown) {
        response->should_shut_down = true;
    } else if (b->fenced && !r->want_fence && caught_up) {
        put_broker(s, b->id, false, false);
        partitions_elect_leaderless_of(s, r->broker_id);
    } else if (!b->fenced && r->want_fence) {
        broker_fence(s, b->id);
        response->should_shut_down = r->want_shutdown;
    } else if (!b->fenced && r->want_shutdown) {
        response->should_shut_down = shut_down(s, state);
    }
    response->is_fenced = image_broker(s->image, r->broker_id)->fenced;
    response->metadata_index =
        s->batch_records > 0 ? s->index : s->image->applied_index;
    return ERR_NONE;
}

/* ---- removal ------------------------------------------------------------- */

enum err broker_unregister(struct step *s, int32_t id, const char **why)
{
    Leat__RemoveBrokerRecord r = LEAT__REMOVE_BROKER_RECORD__INIT;

    if (image_broker(s->image, id) == NULL) {
        *why =
            (const char *)arena_printf(
                s->arena, "Broker ID %d is not currently registered", (int)id)
                .data;
        return ERR_BROKER_ID_NOT_REGISTERED;
    }
    struct controller_broker *state = step_broker(s->c, id);
    state->leaving = true;
    partitions_leave(s, id, LOSS_ALL);
    r.broker_id = id;
    step_put(s, &RECORD(remove_broker, REMOVE_BROKER, &r));
    state->leaving = false;
    return ERR_NONE;
}

void broker_unregister_kafka(struct step *s, int16_t version, const void *in,
                             void *out)
{
    const struct unregister_broker_request *request = in;
    struct unregister_broker_response *response = out;
    const char *why = NULL;

    response->error_code =
        (int16_t)broker_unregister(s, request->broker_id, &why);
    response->error_message = slice_str(why);
}
