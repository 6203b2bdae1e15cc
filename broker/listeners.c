#include "broker/listeners.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/address_limits.h"
#include "broker/live.h"
#include "broker/request.h"
#include "broker/shard.h"

#include <ctype.h>
#include <stdlib.h>

enum { COMPLAIN_MS = 10000 };

#define SECOND_NS INT64_C(1000000000)

enum phase {
    PHASE_HOLD,      /* just started: connections wait in the backlog */
    PHASE_TURN_AWAY, /* not ready for long: they are closed */
    PHASE_OPEN,
};

struct shard_port {
    struct listeners *listeners;
    struct shard *shard;
    struct env_listener *listener;
    int index; /* in config->listeners */
    struct limit *own;
    bool exempt;
    bool counted; /* the connection being accepted has slots */
    struct env_task resume;
    _Atomic bool resume_posted;
    struct env_timer rate_pause;
    int64_t complained_ms;
};

/* How many connections there may be, and how fast they may come: of all
 * listeners, or of one. */
struct limit {
    const char *prefix; /* of its keys, for messages; owned, or "" */
    _Atomic int32_t max_connections;
    _Atomic int32_t connections;
    _Atomic bool wanted; /* a port waits for a connection to end */

    /* The generic cell rate algorithm over one second: when the connections so
     * far, spread evenly, will have been due. */
    _Atomic int64_t rate_interval_ns; /* 0: no limit */
    _Atomic int64_t rate_due_ns;
};

struct listeners {
    struct broker *broker;
    _Atomic int phase;
    struct env_timer hold; /* on the first shard */
    struct shard_port *ports;
    size_t ports_len;
    struct address_limits *addresses;

    struct limit all;
    struct limit *each; /* by config->listeners; the first of a name counts */
};

/* ---- resuming ------------------------------------------------------------ */

static void on_resume(struct env_task *task)
{
    struct shard_port *port = LIST_ENTRY(task, struct shard_port, resume);

    atomic_store(&port->resume_posted, false);
    env_listener_resume(port->listener);
}

/* Any thread.  Each shard's socket has a backlog of its own, so every one is
 * told. */
static void resume_all(struct listeners *l)
{
    for (size_t i = 0; i < l->ports_len; i++)
        if (!atomic_exchange(&l->ports[i].resume_posted, true))
            env_post(l->ports[i].shard->env, &l->ports[i].resume);
}

static void on_rate_pause(void *arg)
{
    struct shard_port *port = arg;

    env_listener_resume(port->listener);
}

/* ---- max.connections ----------------------------------------------------- */

static bool has_room(const struct limit *limit)
{
    return atomic_load(&limit->connections) <
           atomic_load(&limit->max_connections);
}

static bool slot_take(struct limit *limit)
{
    int32_t n = atomic_load(&limit->connections);

    while (n < atomic_load(&limit->max_connections))
        if (atomic_compare_exchange_weak(&limit->connections, &n, n + 1))
            return true;
    return false;
}

static void slot_release(struct listeners *l, struct limit *limit)
{
    atomic_fetch_sub(&limit->connections, 1);
    if (atomic_load(&limit->wanted) && atomic_exchange(&limit->wanted, false))
        resume_all(l);
}

static void complain(struct shard_port *port, const struct limit *limit,
                     const char *key)
{
    int64_t now = env_now_ms(port->shard->env);

    if (port->complained_ms != 0 && now - port->complained_ms < COMPLAIN_MS)
        return;
    port->complained_ms = now;
    log_warn("server", "Port %u: %s%s is reached; new connections wait",
             env_listener_port(port->listener), limit->prefix, key);
}

static void slot_wait(struct shard_port *port, struct limit *limit)
{
    complain(port, limit, "max.connections");
    /* In this order, and the other way round in slot_release(): one of the two
     * sees what the other did. */
    atomic_store(&limit->wanted, true);
    if (has_room(limit))
        resume_all(port->listeners);
}

/* The limit whose slots are all taken, or NULL. */
static struct limit *full_limit(const struct shard_port *port)
{
    if (!has_room(port->own))
        return port->own;
    return port->exempt || has_room(&port->listeners->all)
               ? NULL
               : &port->listeners->all;
}

/* One of each, or none and the limit that has no more. */
static struct limit *slots_take(struct shard_port *port)
{
    struct limit *all = &port->listeners->all;

    if (port->exempt)
        atomic_fetch_add(&all->connections, 1);
    else if (!slot_take(all))
        return all;
    if (slot_take(port->own))
        return NULL;
    slot_release(port->listeners, all);
    return port->own;
}

static void slots_release(struct shard_port *port)
{
    slot_release(port->listeners, port->own);
    slot_release(port->listeners, &port->listeners->all);
}

/* ---- max.connection.creation.rate ---------------------------------------- */

/* 0, or the nanoseconds until one more may come. */
static int64_t rate_take(struct limit *limit, int64_t now_ns)
{
    int64_t interval_ns = atomic_load(&limit->rate_interval_ns);
    int64_t room = SECOND_NS - interval_ns;
    int64_t due = atomic_load(&limit->rate_due_ns);

    while (interval_ns != 0) {
        int64_t from = due > now_ns ? due : now_ns;

        if (from - now_ns > room)
            return from - now_ns - room;
        if (atomic_compare_exchange_weak(&limit->rate_due_ns, &due,
                                         from + interval_ns))
            break;
    }
    return 0;
}

/* If the rate changed meanwhile the next few come a little early or late. */
static void rate_give_back(struct limit *limit)
{
    atomic_fetch_sub(&limit->rate_due_ns,
                     atomic_load(&limit->rate_interval_ns));
}

static void rates_give_back(struct shard_port *port)
{
    rate_give_back(port->own);
    if (!port->exempt)
        rate_give_back(&port->listeners->all);
}

static bool rates_take(struct shard_port *port)
{
    struct limit *limit = port->own;
    struct env *env = port->shard->env;
    int64_t now_ns = env_now_us(env) * 1000;
    int64_t wait_ns = rate_take(limit, now_ns);

    if (wait_ns == 0 && !port->exempt) {
        limit = &port->listeners->all;
        wait_ns = rate_take(limit, now_ns);
        if (wait_ns != 0)
            rate_give_back(port->own);
    }
    if (wait_ns == 0)
        return true;
    complain(port, limit, "max.connection.creation.rate");
    env_timer_start(env, &port->rate_pause, wait_ns / 1000000 + 1);
    return false;
}

/* ---- accepting ----------------------------------------------------------- */

/* Who waits for a rate is woken by a timer, who waits for a slot by its
 * release.  So rates are what may be taken and given back again: slots would
 * wake others each time, which would wake this port. */
static bool admit(void *owner)
{
    struct shard_port *port = owner;
    struct limit *full;

    port->counted = false;
    if (atomic_load(&port->listeners->phase) != PHASE_OPEN)
        return true; /* to be turned away */
    full = full_limit(port);
    if (full == NULL) {
        if (!rates_take(port))
            return false;
        full = slots_take(port);
        if (full != NULL)
            rates_give_back(port);
    }
    if (full != NULL) {
        slot_wait(port, full);
        return false;
    }
    port->counted = true;
    return true;
}

static void unadmit(void *owner)
{
    struct shard_port *port = owner;

    if (!port->counted)
        return;
    rates_give_back(port);
    slots_release(port);
}

static bool is_overfull(const struct limit *limit)
{
    return atomic_load(&limit->connections) >
           atomic_load(&limit->max_connections);
}

/* Goes round the shards until one has a connection to close. */
struct eviction {
    struct env_task task;
    struct listeners *listeners;
    int shard;
    int left;
    int exempt; /* the listener that is spared */
};

static void on_evict(struct env_task *task)
{
    struct eviction *e = LIST_ENTRY(task, struct eviction, task);
    struct listeners *l = e->listeners;
    struct broker *b = l->broker;

    if (!is_overfull(&l->all) || e->left-- == 0 ||
        conns_close_oldest(b->shards[e->shard], e->exempt)) {
        free(e);
        return;
    }
    e->shard = (e->shard + 1) % b->shards_len;
    env_post(b->shards[e->shard]->env, &e->task);
}

static void make_room(struct shard_port *port)
{
    struct listeners *l = port->listeners;

    if (!is_overfull(&l->all))
        return;
    struct eviction *e = xcalloc(1, sizeof *e);
    e->task.fn = on_evict;
    e->listeners = l;
    e->shard = port->shard->index;
    e->left = l->broker->shards_len;
    e->exempt = port->index;
    env_post(port->shard->env, &e->task);
}

static const struct env_conn_ops *on_accept(struct env_conn *stream,
                                            void *owner, void **arg)
{
    struct shard_port *port = owner;

    if (!port->counted)
        return NULL;
    *arg = conn_new(port->shard, stream, port, port->index,
                    port->listeners->addresses);
    if (port->exempt)
        make_room(port);
    return &request_conn_ops;
}

void listeners_left(struct shard_port *port) { slots_release(port); }

/* ---- set-up -------------------------------------------------------------- */

/* A listener may have two addresses. */
static struct limit *limit_of(struct listeners *l, int index)
{
    const struct server_listener *items = l->broker->config->listeners;
    int first = 0;

    while (strcmp(items[first].name, items[index].name) != 0)
        first++;
    return &l->each[first];
}

/* And for them alone. */
static bool is_for_brokers(const struct server_config *config, int index)
{
    const char *name = config->listeners[index].name;
    bool alone = true;

    for (size_t i = 0; i < config->listeners_len; i++)
        alone = alone && (config->listeners[i].is_controller ||
                          strcmp(config->listeners[i].name, name) == 0);
    return !alone && strcmp(name, config->inter_broker_listener) == 0;
}

static int listen_on(struct listeners *l, struct shard *shard, int index,
                     char **why)
{
    const struct server_config *config = l->broker->config;
    const struct server_listener *at = &config->listeners[index];
    struct shard_port *port = &l->ports[l->ports_len];
    struct env_listen_options options = {
        .host = at->host,
        .port = at->port,
        .frame_max_bytes = (size_t)config->socket_request_max_bytes,
        .intake = shard->intake,
        .backlog = config->socket_listen_backlog,
        .send_buffer_bytes = config->socket_send_buffer_bytes,
        .receive_buffer_bytes = config->socket_receive_buffer_bytes,
        .paused = true,
        .admit = admit,
        .unadmit = unadmit,
        .accept = on_accept,
        .owner = port,
        .shared = l->broker->shards_len > 1,
        .spares_descriptors = !is_for_brokers(config, index),
    };

    port->listeners = l;
    port->shard = shard;
    port->index = index;
    port->own = limit_of(l, index);
    port->resume.fn = on_resume;
    port->rate_pause.fn = on_rate_pause;
    port->rate_pause.arg = port;
    int error = env_listen(shard->env, &options, &port->listener, why);
    if (error >= 0)
        l->ports_len++;
    return error;
}

/* Shared ports let a second process of the same user in without a word; asking
 * for the port alone first tells that it is taken. */
static int port_is_free(struct listeners *l, int index, char **why)
{
    const struct server_listener *at = &l->broker->config->listeners[index];
    struct env_listen_options options = {
        .host = at->host, .port = at->port, .accept = on_accept};
    struct env_listener *listener;
    int error = env_listen(l->broker->shards[0]->env, &options, &listener, why);

    if (error >= 0)
        env_listener_close(listener);
    return error;
}

static void exempt_brokers(struct listeners *l)
{
    const struct server_config *config = l->broker->config;

    for (size_t i = 0; i < l->ports_len; i++) {
        const char *name = config->listeners[l->ports[i].index].name;

        l->ports[i].exempt = l->ports_len > (size_t)l->broker->shards_len &&
                             strcmp(name, config->inter_broker_listener) == 0;
    }
}

static void on_held_long(void *arg)
{
    struct listeners *l = arg;
    int hold = PHASE_HOLD;

    if (!atomic_compare_exchange_strong(&l->phase, &hold, PHASE_TURN_AWAY))
        return;
    log_warn("server",
             "Not ready after %d ms (see above for what it waits for): from "
             "now on connections are closed, so that clients try other nodes",
             LISTENERS_HOLD_MS);
    resume_all(l);
}

/* One a second at least: a rate of 0 is refused where it is set. */
static void set_limit(struct limit *limit, int32_t max, int32_t rate)
{
    atomic_store(&limit->max_connections, max);
    atomic_store(&limit->rate_interval_ns,
                 rate == INT32_MAX ? 0 : SECOND_NS / (rate > 0 ? rate : 1));
}

static void set_limits(struct listeners *l, const struct live *live)
{
    set_limit(&l->all, live->config.max_connections,
              live->config.max_connection_creation_rate);
    for (size_t i = 0; i < live->config.listeners_len; i++)
        set_limit(&l->each[i], live->listeners[i].max_connections,
                  live->listeners[i].creation_rate);
}

static void init_limits(struct listeners *l, const struct server_config *config)
{
    struct config_layers layers = {.file = server_config_layer(config)};
    struct live *live = live_new(config, &layers);

    l->all.prefix = "";
    l->each = xcalloc(config->listeners_len + 1, sizeof *l->each);
    for (size_t i = 0; i < config->listeners_len; i++) {
        char *prefix =
            xasprintf("listener.name.%s.", config->listeners[i].name);

        for (char *c = prefix; *c != '\0'; c++)
            *c = (char)tolower((unsigned char)*c);
        l->each[i].prefix = prefix;
    }
    set_limits(l, live);
    live_unref(live);
}

struct listeners *listeners_new(struct broker *broker, char **why)
{
    const struct server_config *config = broker->config;
    struct listeners *l = xcalloc(1, sizeof *l);

    l->broker = broker;
    init_limits(l, config);
    l->ports = xcalloc(config->listeners_len * (size_t)broker->shards_len,
                       sizeof *l->ports);
    /* When it fails the process ends: nothing to unwind. */
    if (!address_limits_new(broker, &l->addresses, why))
        return NULL;
    for (size_t i = 0; i < config->listeners_len; i++) {
        if (config->listeners[i].is_controller)
            continue;
        if (port_is_free(l, (int)i, why) < 0)
            return NULL;
        for (int j = 0; j < broker->shards_len; j++)
            if (listen_on(l, broker->shards[j], (int)i, why) < 0)
                return NULL;
    }
    exempt_brokers(l);
    l->hold.fn = on_held_long;
    l->hold.arg = l;
    env_timer_start(broker->shards[0]->env, &l->hold, LISTENERS_HOLD_MS);
    return l;
}

void listeners_reconfigured(struct listeners *l, const struct live *live)
{
    set_limits(l, live);
    if (atomic_load(&l->phase) ==
        PHASE_OPEN) /* else nobody waits for a limit */
        resume_all(l);
}

void listeners_open(struct listeners *l)
{
    atomic_store(&l->phase, PHASE_OPEN);
    resume_all(l);
}
