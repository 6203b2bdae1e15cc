/* Endpoint lists, and what keys must agree on.  Each rule is one function that
 * ends in one sentence: the keys, their values, the remedy. */
#include "broker/config_parts.h"

#include <stdlib.h>

static enum err fail(char **why, char *sentence)
{
    *why = sentence;
    return ERR_INVALID_CONFIG;
}

/* ---- endpoint lists ------------------------------------------------------ */

static void add_endpoint(struct server_endpoint **items, size_t *len,
                         int32_t id, struct slice host, uint16_t port)
{
    *items = xrealloc(*items, (*len + 1) * sizeof **items);
    (*items)[(*len)++] = (struct server_endpoint){id, slice_dup(host), port};
}

static bool is_any_address(struct slice host)
{
    return host.len == 0 || slice_eq_str(host, "0.0.0.0") ||
           slice_eq_str(host, "::");
}

/* "1@host:9093" */
static bool parse_voter(struct slice item, int32_t *id, struct slice *host,
                        uint16_t *port)
{
    const uint8_t *at = item.len == 0 ? NULL : memchr(item.data, '@', item.len);

    if (at == NULL)
        return false;
    size_t n = (size_t)(at - item.data);
    return config_parse_int32(slice_of(item.data, n), id) && *id >= 0 &&
           config_parse_host_port(slice_of(at + 1, item.len - n - 1), host,
                                  port) &&
           host->len != 0 && *port != 0;
}

const struct server_endpoint *server_config_voter(const struct server_config *c,
                                                  int32_t id)
{
    for (size_t i = 0; i < c->voters_len; i++)
        if (c->voters[i].id == id)
            return &c->voters[i];
    return NULL;
}

static enum err read_voters(struct server_config *c, char **why)
{
    const char *shown = config_shown(c, "controller.quorum.voters");
    struct slice rest = config_text(c, "controller.quorum.voters");
    struct slice item, host;
    int32_t id;
    uint16_t port;

    while (config_list_next(&rest, &item)) {
        if (!parse_voter(item, &id, &host, &port))
            return fail(why, xasprintf("controller.quorum.voters=%s: \"%.*s\" "
                                       "is not of the form id@host:port",
                                       shown, SLICE_FMT(item)));
        if (is_any_address(host))
            return fail(why, xasprintf("controller.quorum.voters=%s: other "
                                       "nodes cannot connect to %.*s; give "
                                       "the address of voter %d",
                                       shown, SLICE_FMT(host), id));
        if (server_config_voter(c, id) != NULL)
            return fail(why, xasprintf("controller.quorum.voters=%s: voter %d "
                                       "is there twice; name each once",
                                       shown, id));
        add_endpoint(&c->voters, &c->voters_len, id, host, port);
    }
    return ERR_NONE;
}

static enum err read_bootstrap(struct server_config *c, char **why)
{
    const char *key = "controller.quorum.bootstrap.servers";
    struct slice rest = config_text(c, key);
    struct slice item, host;
    uint16_t port;

    while (config_list_next(&rest, &item)) {
        if (!config_parse_host_port(item, &host, &port) || host.len == 0 ||
            port == 0)
            return fail(why,
                        xasprintf("%s=%s: \"%.*s\" is not of the form "
                                  "host:port",
                                  key, config_shown(c, key), SLICE_FMT(item)));
        add_endpoint(&c->bootstrap, &c->bootstrap_len, -1, host, port);
    }
    return ERR_NONE;
}

bool config_parse_override(struct slice item, struct slice *host,
                           int32_t *count)
{
    size_t colon = item.len;

    while (colon > 0 && item.data[colon - 1] != ':')
        colon--;
    if (colon < 2 ||
        !config_parse_int32(slice_of(item.data + colon, item.len - colon),
                            count) ||
        *count < 0)
        return false;
    *host = config_trim(slice_of(item.data, colon - 1));
    return true;
}

static enum err read_connection_overrides(struct server_config *c, char **why)
{
    const char *key = "max.connections.per.ip.overrides";
    struct slice rest = config_text(c, key);
    struct slice item;

    while (config_list_next(&rest, &item)) {
        struct slice host;
        int32_t count;

        if (!config_parse_override(item, &host, &count))
            return fail(why,
                        xasprintf("%s=%s: \"%.*s\" is not of the form "
                                  "address:count",
                                  key, config_shown(c, key), SLICE_FMT(item)));
        add_endpoint(&c->connection_overrides, &c->connection_overrides_len,
                     count, host, 0);
    }
    return ERR_NONE;
}

enum err config_read_endpoints(struct server_config *c, char **why)
{
    enum err error = read_voters(c, why);

    if (error == ERR_NONE)
        error = read_bootstrap(c, why);
    if (error == ERR_NONE)
        error = read_connection_overrides(c, why);
    return error;
}

/* ---- groups -------------------------------------------------------------- */

/* Kafka's names, short and long. */
static const char *assignor_of(struct slice name)
{
    static const struct {
        const char *name;
        const char *class;
    } assignors[] = {
        {"uniform",
         "org.apache.kafka.coordinator.group.assignor.UniformAssignor"},
        {"range", "org.apache.kafka.coordinator.group.assignor.RangeAssignor"},
    };

    for (size_t i = 0; i < sizeof assignors / sizeof *assignors; i++)
        if (slice_eq_str(name, assignors[i].name) ||
            slice_eq_str(name, assignors[i].class))
            return assignors[i].name;
    return NULL;
}

static bool has_assignor(const struct server_config *c, const char *name)
{
    for (uint32_t i = 0; i < c->group_consumer_assignors_len; i++)
        if (strcmp(c->group_consumer_assignors[i], name) == 0)
            return true;
    return false;
}

static enum err read_assignors(struct server_config *c, char **why)
{
    const char *key = "group.consumer.assignors";
    struct slice rest = config_text(c, key);
    struct slice item;

    while (config_list_next(&rest, &item)) {
        const char *name = assignor_of(item);

        if (name == NULL)
            return fail(why,
                        xasprintf("%s=%s: there is no assignor %.*s; "
                                  "take uniform or range",
                                  key, config_shown(c, key), SLICE_FMT(item)));
        if (!has_assignor(c, name))
            c->group_consumer_assignors[c->group_consumer_assignors_len++] =
                name;
    }
    if (c->group_consumer_assignors_len == 0)
        return fail(why, xasprintf("%s= is empty; take uniform or range", key));
    return ERR_NONE;
}

static enum err read_protocols(struct server_config *c, char **why)
{
    const char *key = "group.coordinator.rebalance.protocols";
    struct slice rest = config_text(c, key);
    struct slice item;
    bool classic = false;

    while (config_list_next(&rest, &item)) {
        classic = classic || slice_eq_str(item, "classic");
        c->group_protocol_consumer =
            c->group_protocol_consumer || slice_eq_str(item, "consumer");
        c->group_protocol_streams =
            c->group_protocol_streams || slice_eq_str(item, "streams");
    }
    return classic ? ERR_NONE
                   : fail(why, xasprintf("%s=%s: the classic protocol cannot "
                                         "be left out; add classic",
                                         key, config_shown(c, key)));
}

static bool has_word(struct slice text, const char *word)
{
    return text.len == strlen(word) &&
           strncasecmp((const char *)text.data, word, text.len) == 0;
}

/* One of the words that the table names. */
static void read_migration(struct server_config *c)
{
    struct slice policy = config_text(c, "group.consumer.migration.policy");
    bool both = has_word(policy, "bidirectional");

    c->group_upgrade = both || has_word(policy, "upgrade");
    c->group_downgrade = both || has_word(policy, "downgrade");
}

enum err config_read_groups(struct server_config *c, char **why)
{
    read_migration(c);
    enum err error = read_assignors(c, why);

    return error == ERR_NONE ? read_protocols(c, why) : error;
}

/* ---- rules between keys -------------------------------------------------- */

static enum err check_quorum(const struct server_config *c, char **why)
{
    const char *voters = config_shown(c, "controller.quorum.voters");
    const char *roles = config_shown(c, "process.roles");

    if (c->voters_len == 0 && c->bootstrap_len == 0)
        return fail(why, xasprintf("process.roles=%s needs to know the "
                                   "controllers: give "
                                   "controller.quorum.voters=ID@HOST:PORT,... "
                                   "(or controller.quorum.bootstrap.servers="
                                   "HOST:PORT,...)",
                                   roles));
    if (c->voters_len == 0)
        return ERR_NONE;
    /* A controller that is not listed waits to be added. */
    bool voter = server_config_voter(c, c->node_id) != NULL;
    if (!c->is_controller && voter)
        return fail(why, xasprintf("controller.quorum.voters=%s names this "
                                   "node: process.roles=%s makes node.id=%d "
                                   "no controller, so add controller to the "
                                   "roles or change node.id",
                                   voters, roles, c->node_id));
    return ERR_NONE;
}

/* The value in effect of one of SERVER_CONFIG_FIELDS and its like. */
static int64_t number(const struct server_config *c, const char *key)
{
    int64_t value = 0;

    config_parse_int64(config_text(c, key), &value);
    return value;
}

/* a <= b */
static enum err check_order(const struct server_config *c, const char *a,
                            const char *b, const char *because, char **why)
{
    int64_t low = number(c, a);
    int64_t high = number(c, b);

    if (low <= high)
        return ERR_NONE;
    return fail(why, xasprintf("%s=%lld is above %s=%lld: %s. Lower the first "
                               "or raise the second",
                               a, (long long)low, b, (long long)high, because));
}

static enum err check_replication(const struct server_config *c, char **why)
{
    enum err error = check_order(
        c, "replica.fetch.wait.max.ms", "replica.lag.time.max.ms",
        "an idle follower would leave the in-sync replicas again and again",
        why);

    if (error == ERR_NONE)
        error = check_order(
            c, "replica.fetch.wait.max.ms", "replica.socket.timeout.ms",
            "an idle follower would take its leader for dead", why);
    return error;
}

static enum err check_heartbeats(const struct server_config *c, char **why)
{
    if (c->broker_heartbeat_interval_ms > 0 &&
        c->broker_heartbeat_interval_ms <= c->broker_session_timeout_ms / 2)
        return ERR_NONE;
    return fail(why,
                xasprintf("broker.heartbeat.interval.ms=%d does not go with "
                          "broker.session.timeout.ms=%d: the interval must be "
                          "1 or more and at most half the timeout, or one lost "
                          "heartbeat would fence the broker",
                          c->broker_heartbeat_interval_ms,
                          c->broker_session_timeout_ms));
}

/* Each not above the next. */
static enum err check_groups(const struct server_config *c, char **why)
{
    static const char *const rows[][3] = {
        {"group.min.session.timeout.ms", "group.max.session.timeout.ms",
         "no member could ask for a timeout in between"},
        {"group.consumer.min.session.timeout.ms",
         "group.consumer.session.timeout.ms", "it is the lower bound"},
        {"group.consumer.session.timeout.ms",
         "group.consumer.max.session.timeout.ms", "it is the upper bound"},
        {"group.consumer.min.heartbeat.interval.ms",
         "group.consumer.heartbeat.interval.ms", "it is the lower bound"},
        {"group.consumer.heartbeat.interval.ms",
         "group.consumer.max.heartbeat.interval.ms", "it is the upper bound"},
        {"group.consumer.heartbeat.interval.ms",
         "group.consumer.session.timeout.ms",
         "members would be given up between two heartbeats"},
        {"group.consumer.min.assignment.interval.ms",
         "group.consumer.assignment.interval.ms", "it is the lower bound"},
        {"group.consumer.assignment.interval.ms",
         "group.consumer.max.assignment.interval.ms", "it is the upper bound"},
    };
    enum err error = ERR_NONE;

    for (size_t i = 0; error == ERR_NONE && i < sizeof rows / sizeof *rows; i++)
        error = check_order(c, rows[i][0], rows[i][1], rows[i][2], why);
    return error;
}

static int broker_listeners(const struct server_config *c)
{
    int count = 0;

    for (size_t i = 0; i < c->listeners_len; i++)
        count += !c->listeners[i].is_controller;
    return count;
}

/* A listener's own limits: one connection, and one a second, at least. */
static enum err check_listener_limits(const struct server_config *c, char **why)
{
    int32_t value;

    MAP_EACH (e, &c->values) {
        const struct config_def *def = config_find(CONFIG_BROKER, e->key);

        if (def != NULL && !slice_eq_str(e->key, def->key) &&
            (strcmp(def->key, "max.connections") == 0 ||
             strcmp(def->key, "max.connection.creation.rate") == 0) &&
            config_parse_int32(slice_str(e->value), &value) && value <= 0)
            return fail(why, xasprintf("%.*s=%d lets nobody in: set it to 1 or "
                                       "more",
                                       SLICE_FMT(e->key), (int)value));
    }
    return ERR_NONE;
}

static enum err check_connections(const struct server_config *c, char **why)
{
    if (c->max_connections_per_ip == 0 && c->connection_overrides_len == 0)
        return fail(why, xasprintf("max.connections.per.ip=0 lets nobody in: "
                                   "raise it, or name the addresses that may "
                                   "connect in "
                                   "max.connections.per.ip.overrides"));
    if (c->max_connections == 0 && broker_listeners(c) < 2)
        return fail(why, xasprintf("max.connections=0 lets nobody in: raise it "
                                   "(it spares the listener between brokers "
                                   "only if there is another one)"));
    if (c->max_connection_creation_rate == 0)
        return fail(why, xasprintf("max.connection.creation.rate=0 lets nobody "
                                   "in: set it to 1 or more"));
    if (c->queued_max_request_bytes > 0 &&
        c->queued_max_request_bytes < c->socket_request_max_bytes)
        return fail(why, xasprintf("queued.max.request.bytes=%lld is below "
                                   "socket.request.max.bytes=%d, so the "
                                   "longest request would never fit: raise the "
                                   "first or lower the second",
                                   (long long)c->queued_max_request_bytes,
                                   c->socket_request_max_bytes));
    return ERR_NONE;
}

/* Only keys in milliseconds can be 0 or below -1; hours have limits. */
static enum err check_retention(const struct server_config *c, char **why)
{
    static const char *const keys[] = {
        "log.retention.ms", "log.retention.minutes", "log.retention.hours"};

    for (size_t i = 0; i < 3; i++) {
        int64_t value;
        if (!config_parse_int64(config_text(c, keys[i]), &value) ||
            value >= 1 || value == -1)
            continue;
        return fail(why, xasprintf("%s=%lld would delete every record at once: "
                                   "set it to 1 or more, or to -1 to keep "
                                   "records forever",
                                   keys[i], (long long)value));
    }
    return ERR_NONE;
}

static enum err check_roll(const struct server_config *c, char **why)
{
    int64_t roll, jitter;

    if (config_parse_int64(config_text(c, "log.roll.ms"), &roll) && roll < 1)
        return fail(why, xasprintf("log.roll.ms=%lld: a segment lives at least "
                                   "a millisecond; set it to 1 or more",
                                   (long long)roll));
    if (config_parse_int64(config_text(c, "log.roll.jitter.ms"), &jitter) &&
        jitter < 0)
        return fail(why, xasprintf("log.roll.jitter.ms=%lld is below 0: set it "
                                   "to 0 or more",
                                   (long long)jitter));
    return ERR_NONE;
}

/* Sizes that Kafka leaves without a lower limit and that must have one. */
static enum err check_sizes(const struct server_config *c, char **why)
{
    static const char *const keys[] = {
        "default.replication.factor", "replica.lag.time.max.ms",
        "broker.session.timeout.ms", "request.timeout.ms",
        "initial.broker.registration.timeout.ms"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (number(c, keys[i]) < 1)
            return fail(why, xasprintf("%s=%lld: set it to 1 or more", keys[i],
                                       (long long)number(c, keys[i])));
    return ERR_NONE;
}

enum err config_check_together(const struct server_config *c, char **why)
{
    static enum err (*const checks[])(const struct server_config *, char **) = {
        check_quorum,      check_sizes,           check_heartbeats,
        check_replication, check_groups,          check_connections,
        check_retention,   check_listener_limits, check_roll,
    };
    enum err error = ERR_NONE;

    for (size_t i = 0; error == ERR_NONE && i < sizeof checks / sizeof *checks;
         i++)
        error = checks[i](c, why);
    return error;
}
