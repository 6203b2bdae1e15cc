/* Loading in four steps: collect the text of every key from file, environment
 * and overrides; judge each by the table of keys; fill the typed fields; check
 * what the keys say together.  A node that starts with a misunderstood
 * configuration can lose data, so any doubt ends the start.
 *
 * Messages have one shape: where and what is wrong, then what to do. */
#include "broker/config.h"

#include "broker/config_parts.h"

#include <ctype.h>
#include <stdlib.h>

/* ---- values as they were given ------------------------------------------ */

struct slice config_text(const struct server_config *c, const char *key)
{
    const char *given = map_get(&c->values, slice_str(key));
    const struct config_def *def = config_find(CONFIG_BROKER, slice_str(key));

    ASSERT(def != NULL);
    return config_trim(slice_str(given != NULL ? given : def->fallback));
}

bool config_given(const struct server_config *c, const char *key)
{
    return map_get(&c->values, slice_str(key)) != NULL;
}

const char *config_shown(const struct server_config *c, const char *key)
{
    const char *given = map_get(&c->values, slice_str(key));

    return given != NULL ? given : "";
}

void config_warn(struct server_config *c, char *sentence)
{
    c->warnings =
        xrealloc(c->warnings, (c->warnings_len + 1) * sizeof *c->warnings);
    c->warnings[c->warnings_len++] = sentence;
}

static struct slice values_get(const void *values, struct slice key)
{
    return slice_str(map_get(values, key));
}

struct config_layer server_config_layer(const struct server_config *c)
{
    return (struct config_layer){values_get, &c->values};
}

/* ---- one key ------------------------------------------------------------- */

/* Keys that are given again replace the earlier value. */
static void put_value(struct server_config *c, struct slice key,
                      struct slice value)
{
    free(map_put(&c->values, key, slice_dup(value)));
}

static void warn_unknown(struct server_config *c, struct slice key,
                         const char *where)
{
    if (map_get(&c->values, key) == NULL)
        config_warn(c, xasprintf("%s: %.*s is not a key we know; it is "
                                 "ignored (see docs/configuration.md)",
                                 where, SLICE_FMT(key)));
}

/* Checks one key's value by the table and keeps it.  `where` is for messages:
 * "server.properties:12", "--override", "environment". */
static enum err take(struct server_config *c, struct slice key,
                     struct slice value, const char *where, char **why)
{
    const struct config_def *def = config_find(CONFIG_BROKER, key);
    char *reason = NULL;

    value = config_trim(value);
    if (def == NULL) {
        warn_unknown(c, key, where);
        put_value(c, key, value);
        return ERR_NONE;
    }
    if (config_check(def, key, value, &reason) != ERR_NONE) {
        *why = xasprintf("%s: %s", where, reason);
        free(reason);
        return ERR_INVALID_CONFIG;
    }
    if (def->effect == CONFIG_REFUSED && value.len != 0 &&
        !slice_eq(value, slice_str(def->fallback))) {
        *why = xasprintf("%s: %.*s=%.*s cannot be honoured: %s. Remove the "
                         "key",
                         where, SLICE_FMT(key), SLICE_FMT(value), def->why);
        return ERR_INVALID_CONFIG;
    }
    if (def->effect == CONFIG_NO_EFFECT && !config_given(c, def->key) &&
        value.len != 0 &&
        (def->fallback == NULL || !slice_eq(value, slice_str(def->fallback))))
        config_warn(c, xasprintf("%s: %.*s=%.*s has no effect: %s", where,
                                 SLICE_FMT(key), SLICE_FMT(value), def->why));
    if (def->effect == CONFIG_LEGACY && !config_given(c, def->key))
        config_warn(c, xasprintf("%s: %.*s has no effect any more: %s", where,
                                 SLICE_FMT(key), def->why));
    put_value(c, key, value);
    return ERR_NONE;
}

/* ---- file, environment, command line ------------------------------------- */

static enum err take_file(struct server_config *c,
                          const struct server_config_sources *s, char **why)
{
    struct properties p;
    enum err error = properties_parse(s->file, s->file_name, &p, why);

    if (error != ERR_NONE)
        return ERR_INVALID_CONFIG;
    for (size_t i = 0; i < p.count && error == ERR_NONE; i++) {
        char *where = xasprintf("%s:%d", s->file_name, p.items[i].line);
        error = take(c, p.items[i].key, p.items[i].value, where, why);
        free(where);
    }
    properties_free(&p);
    return error;
}

/* KAFKA_A_B__C___D -> a.b_c-d */
static void translate_env_name(struct slice name, struct buf *key)
{
    static const char separators[] = {'.', '_', '-'};

    for (size_t i = 0; i < name.len;) {
        size_t run = 0;
        while (run < 3 && i + run < name.len && name.data[i + run] == '_')
            run++;
        if (run == 0) {
            buf_put_u8(key, (uint8_t)tolower(name.data[i]));
            i++;
        } else {
            buf_put_u8(key, (uint8_t)separators[run - 1]);
            i += run;
        }
    }
}

bool server_config_env_key(struct slice name, struct buf *key)
{
    static const char *const prefixes[] = {"KAFKA_CFG_", "KAFKA_"};

    for (size_t i = 0; i < 2; i++) {
        struct slice prefix = slice_str(prefixes[i]);
        if (name.len <= prefix.len ||
            memcmp(name.data, prefix.data, prefix.len) != 0)
            continue;
        key->len = 0;
        translate_env_name(
            slice_of(name.data + prefix.len, name.len - prefix.len), key);
        if (config_find(CONFIG_BROKER, buf_slice(key)) != NULL)
            return true;
    }
    return false;
}

static bool is_cluster_id_name(struct slice name)
{
    return slice_eq_str(name, "CLUSTER_ID") ||
           slice_eq_str(name, "KAFKA_CLUSTER_ID") ||
           slice_eq_str(name, "KAFKA_KRAFT_CLUSTER_ID");
}

static enum err take_variable(struct server_config *c, const char *variable,
                              char **why)
{
    const char *equals = strchr(variable, '=');
    struct buf key = BUF_INIT;
    enum err error = ERR_NONE;

    if (equals == NULL)
        return ERR_NONE;
    struct slice name = slice_of(variable, (size_t)(equals - variable));
    if (is_cluster_id_name(name) && equals[1] != '\0') {
        free(c->cluster_id);
        c->cluster_id = xstrdup(equals + 1);
    } else if (server_config_env_key(name, &key)) {
        char *where = xasprintf("environment variable %.*s", SLICE_FMT(name));
        error = take(c, buf_slice(&key), slice_str(equals + 1), where, why);
        free(where);
    }
    buf_free(&key);
    return error;
}

static enum err take_override(struct server_config *c, const char *text,
                              char **why)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text) {
        *why =
            xasprintf("--override %s: an override is written key=value", text);
        return ERR_INVALID_CONFIG;
    }
    return take(c, config_trim(slice_of(text, (size_t)(equals - text))),
                slice_str(equals + 1), "--override", why);
}

static enum err collect(struct server_config *c,
                        const struct server_config_sources *s, char **why)
{
    enum err error = ERR_NONE;

    if (!slice_is_null(s->file))
        error = take_file(c, s, why);
    for (size_t i = 0; error == ERR_NONE && s->environment != NULL &&
                       s->environment[i] != NULL;
         i++)
        error = take_variable(c, s->environment[i], why);
    for (size_t i = 0; error == ERR_NONE && i < s->overrides_len; i++)
        error = take_override(c, s->overrides[i], why);
    return error;
}

/* ---- typed fields -------------------------------------------------------- */

enum field_kind { FIELD_BOOL, FIELD_INT32, FIELD_INT64, FIELD_DOUBLE };

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
};

#define KIND_bool FIELD_BOOL
#define KIND_int32_t FIELD_INT32
#define KIND_int64_t FIELD_INT64
#define KIND_double FIELD_DOUBLE
#define X(type, field, key)                                                    \
    {key, KIND_##type, offsetof(struct server_config, field)},
static const struct field fields[] = {SERVER_CONFIG_FIELDS(X)};
#undef X

static bool set_field(struct server_config *c, const struct field *f,
                      struct slice value)
{
    void *at = (char *)c + f->offset;

    switch (f->kind) {
    case FIELD_BOOL:
        return config_parse_bool(value, at);
    case FIELD_INT32:
        return config_parse_int32(value, at);
    case FIELD_INT64:
        return config_parse_int64(value, at);
    case FIELD_DOUBLE:
        return config_parse_double(value, at);
    }
    return false;
}

static void set_fields(struct server_config *c)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        bool ok = set_field(c, &fields[i], config_text(c, fields[i].key));
        ASSERT(ok); /* config_check() let it pass */
    }
}

bool server_config_set(struct server_config *c, struct slice key,
                       struct slice value)
{
    char *why = NULL;

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!slice_eq_str(key, fields[i].key))
            continue;
        if (slice_is_null(value))
            value = config_text(c, fields[i].key);
        if (config_check(config_find(CONFIG_BROKER, key), key, value, &why) !=
            ERR_NONE) {
            free(why);
            return false;
        }
        return set_field(c, &fields[i], value);
    }
    return false;
}

size_t server_config_dynamic_count(void)
{
    return sizeof fields / sizeof *fields;
}

const char *server_config_dynamic_key(size_t i)
{
    const struct config_def *def =
        config_find(CONFIG_BROKER, slice_str(fields[i].key));

    return def->update == CONFIG_READ_ONLY ? NULL : def->key;
}

/* ---- who the node is ------------------------------------------------------
 */

static int32_t int_text(const struct server_config *c, const char *key)
{
    int32_t number = -1;

    config_parse_int32(config_text(c, key), &number);
    return number;
}

static enum err read_roles(struct server_config *c, char **why)
{
    struct slice roles = config_text(c, "process.roles");

    c->is_broker = config_list_has(roles, "broker");
    c->is_controller = config_list_has(roles, "controller");
    if (c->is_broker || c->is_controller)
        return ERR_NONE;
    *why = xasprintf(
        "process.roles is not given%s. Say what the node is, with "
        "process.roles=broker,controller (or one of the two), node.id, "
        "controller.quorum.voters=ID@HOST:PORT,... and "
        "controller.listener.names",
        config_given(c, "zookeeper.connect")
            ? ", and zookeeper.connect does not replace it: the cluster keeps "
              "its metadata itself"
            : "");
    return ERR_INVALID_CONFIG;
}

static enum err read_node_id(struct server_config *c, char **why)
{
    int32_t broker_id = int_text(c, "broker.id");

    c->node_id = int_text(c, "node.id");
    if (c->node_id >= 0 && broker_id >= 0 && c->node_id != broker_id) {
        *why = xasprintf("node.id=%d and broker.id=%d differ: they are two "
                         "names of one number, so remove broker.id",
                         c->node_id, broker_id);
        return ERR_INVALID_CONFIG;
    }
    if (c->node_id < 0)
        c->node_id = broker_id;
    if (c->node_id >= 0)
        return ERR_NONE;
    *why = xasprintf("node.id is not given: every node needs a number of its "
                     "own, 0 or more, such as node.id=1");
    return ERR_INVALID_CONFIG;
}

static void add_log_dir(struct server_config *c, struct slice dir)
{
    while (dir.len > 1 && dir.data[dir.len - 1] == '/')
        dir.len--;
    c->log_dirs =
        xrealloc(c->log_dirs, (c->log_dirs_len + 1) * sizeof *c->log_dirs);
    c->log_dirs[c->log_dirs_len++] = slice_dup(dir);
}

static enum err read_log_dirs(struct server_config *c, char **why)
{
    const char *key = config_given(c, "log.dirs") ? "log.dirs" : "log.dir";
    struct slice rest = config_text(c, key);
    struct slice dir;

    while (config_list_next(&rest, &dir)) {
        if (dir.len == 0)
            break;
        add_log_dir(c, dir);
    }
    if (c->log_dirs_len == 0 || !slice_is_null(rest)) {
        *why = xasprintf("%s=%s: give at least one directory, and none empty",
                         key, config_shown(c, key));
        return ERR_INVALID_CONFIG;
    }
    for (size_t i = 0; i < c->log_dirs_len; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(c->log_dirs[i], c->log_dirs[k]) == 0) {
                *why = xasprintf("%s=%s: %s is given twice; name each "
                                 "directory once",
                                 key, config_shown(c, key), c->log_dirs[i]);
                return ERR_INVALID_CONFIG;
            }
    struct slice metadata = config_text(c, "metadata.log.dir");
    c->metadata_log_dir =
        metadata.len != 0 ? slice_dup(metadata) : xstrdup(c->log_dirs[0]);
    return ERR_NONE;
}

#define RACK_AWARE_SELECTOR                                                    \
    "org.apache.kafka.common.replica.RackAwareReplicaSelector"

static void read_rest(struct server_config *c, int32_t processors)
{
    struct slice rack = config_text(c, "broker.rack");

    c->rack = slice_is_null(rack) ? xstrdup("") : slice_dup(rack);
    c->reads_by_rack = slice_eq_str(config_text(c, "replica.selector.class"),
                                    RACK_AWARE_SELECTOR);
    c->durability = durability_parse(config_text(c, "leat.durability"));
    c->num_network_threads = config_given(c, "num.network.threads")
                                 ? int_text(c, "num.network.threads")
                             : processors > 0 ? processors
                                              : 1;
}

/* A fixed buffer turns off the kernel's own sizing, which does better on fast
 * and on distant networks; so Kafka's defaults count only if they are written
 * down. -1 means the same. */
static void leave_to_system(struct server_config *c, const char *key,
                            int32_t *field)
{
    if (!config_given(c, key) || *field < 0)
        *field = 0;
}

static void read_socket_sizes(struct server_config *c)
{
    leave_to_system(c, "socket.send.buffer.bytes",
                    &c->socket_send_buffer_bytes);
    leave_to_system(c, "socket.receive.buffer.bytes",
                    &c->socket_receive_buffer_bytes);
    leave_to_system(c, "replica.socket.receive.buffer.bytes",
                    &c->replica_socket_receive_buffer_bytes);
    leave_to_system(c, "socket.listen.backlog.size", &c->socket_listen_backlog);
}

/* ---- whole ----------------------------------------------------------------
 */

static enum err load(const struct server_config_sources *s,
                     struct server_config *c, char **why)
{
    enum err error = collect(c, s, why);

    if (error == ERR_NONE)
        error = read_roles(c, why);
    if (error == ERR_NONE)
        error = read_node_id(c, why);
    if (error == ERR_NONE)
        error = read_log_dirs(c, why);
    if (error == ERR_NONE)
        error = config_read_endpoints(c, why);
    if (error == ERR_NONE)
        error = config_read_groups(c, why);
    if (error == ERR_NONE)
        error = config_read_listeners(c, s->host_name, why);
    if (error != ERR_NONE)
        return error;
    read_rest(c, s->processors);
    set_fields(c);
    read_socket_sizes(c);
    return config_check_together(c, why);
}

enum err server_config_load(const struct server_config_sources *sources,
                            struct server_config *config, char **why)
{
    *config = (struct server_config){.node_id = -1};
    enum err error = load(sources, config, why);
    if (error != ERR_NONE)
        server_config_free(config);
    return error;
}

static void free_listeners(struct server_listener *items, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        free(items[i].name);
        free(items[i].host);
    }
    free(items);
}

static void free_endpoints(struct server_endpoint *items, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(items[i].host);
    free(items);
}

static void free_strings(char **items, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(items[i]);
    free(items);
}

void server_config_free(struct server_config *c)
{
    MAP_EACH (entry, &c->values) {
        free(entry->value);
    }
    map_free(&c->values);
    free_strings(c->warnings, c->warnings_len);
    free_strings(c->log_dirs, c->log_dirs_len);
    free_listeners(c->listeners, c->listeners_len);
    free_listeners(c->advertised, c->advertised_len);
    free_endpoints(c->voters, c->voters_len);
    free_endpoints(c->bootstrap, c->bootstrap_len);
    free_endpoints(c->connection_overrides, c->connection_overrides_len);
    free(c->metadata_log_dir);
    free(c->inter_broker_listener);
    free(c->controller_listener);
    free(c->cluster_id);
    free(c->rack);
    *c = (struct server_config){0};
}
