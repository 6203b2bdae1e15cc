#include "broker/controller_role.h"

#include "base/alloc.h"
#include "base/meta_properties.h"
#include "controller/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct controller_role {
    struct controller_service *service;
    char *dir;
};

static const struct server_listener *
controller_listener(const struct server_config *config)
{
    for (size_t i = 0; i < config->listeners_len; i++)
        if (config->listeners[i].is_controller)
            return &config->listeners[i];
    return NULL;
}

static void take_config(const struct server_config *config,
                        struct controller_config *c)
{
    controller_config_init(c);
    c->broker_session_timeout_ms = config->broker_session_timeout_ms;
    c->broker_disconnect_grace_ms = config->broker_disconnect_grace_ms;
    c->auto_leader_rebalance = config->auto_leader_rebalance_enable;
    c->leader_imbalance_check_interval_ms =
        config->leader_imbalance_check_interval_seconds * 1000;
    c->num_partitions = config->num_partitions;
    c->default_replication_factor = (int16_t)config->default_replication_factor;
    c->quota_window_num = config->controller_quota_window_num;
    c->quota_window_size_seconds = config->controller_quota_window_size_seconds;
    c->delete_topic_enable = config->delete_topic_enable;
    c->file = server_config_layer(config);
}

/* One "id@host:port:directory" of initial.voters. */
static bool take_initial_voter(char *text, struct raft_config *voters)
{
    struct raft_member m = {.voter = true};
    char *at = strchr(text, '@'), *end;
    char *directory = strrchr(text, ':');

    if (at == NULL || directory == NULL || directory < at ||
        !uuid_parse(slice_str(directory + 1), &m.directory))
        return false;
    *directory = '\0';
    char *port = strrchr(at, ':');
    if (port == NULL)
        return false;
    *port = '\0';
    unsigned long number = strtoul(port + 1, &end, 10);
    if (*end != '\0' || number == 0 || number > UINT16_MAX)
        return false;
    m.port = (uint16_t)number;
    m.id = (int32_t)strtol(text, &end, 10);
    if (end != at || strlen(at + 1) > RAFT_HOST_MAX)
        return false;
    snprintf(m.host, sizeof m.host, "%s", at + 1);
    return raft_config_set(voters, &m);
}

/* Without controller.quorum.voters (KIP-853): what the directory was formatted
 * with. Nothing: the quorum is elsewhere, and this node waits to be added. */
static bool take_initial_voters(struct env *env,
                                const struct server_config *config,
                                struct raft_config *voters, char **why)
{
    char *text = NULL, *rest = NULL;
    bool ok = true;

    if (meta_dir_read_voters(env, config->metadata_log_dir, &text, why) !=
        ERR_NONE)
        return false;
    for (char *one = text != NULL ? strtok_r(text, ",\n", &rest) : NULL;
         one != NULL && ok; one = strtok_r(NULL, ",\n", &rest))
        ok = take_initial_voter(one, voters);
    free(text);
    if (!ok)
        *why = xasprintf("%s in %s cannot be understood; format the directory "
                         "again with --standalone, --initial-controllers or "
                         "--no-initial-controllers",
                         META_VOTERS_NAME, config->metadata_log_dir);
    return ok;
}

static void take_voters(const struct server_config *config,
                        struct raft_config *voters)
{
    *voters = RAFT_CONFIG_INIT;
    for (size_t i = 0; i < config->voters_len; i++) {
        struct raft_member m = {.id = config->voters[i].id,
                                .voter = true,
                                .port = config->voters[i].port};

        snprintf(m.host, sizeof m.host, "%s", config->voters[i].host);
        raft_config_set(voters, &m);
    }
}

/* The directory id of metadata.log.dir, if it is one of log.dirs. */
static struct uuid directory_of(const struct broker *broker)
{
    for (int i = 0; i < broker->log_dirs_len; i++)
        if (strcmp(broker->log_dirs[i].path,
                   broker->config->metadata_log_dir) == 0)
            return broker->log_dirs[i].id;
    return UUID_ZERO;
}

/* Other controllers and brokers speak here, of entries of the metadata log and
 * of requests that clients sent to a broker. */
static size_t frame_max_bytes(const struct server_config *config)
{
    size_t request = (size_t)config->socket_request_max_bytes;

    return (request > CONTROL_REQUEST_LEAST_BYTES
                ? request
                : CONTROL_REQUEST_LEAST_BYTES) +
           CONTROL_AROUND_BYTES;
}

/* Where others reach it: as they all have it in their configuration, else as it
 * advertises itself. */
static void take_address(const struct server_config *config,
                         const struct server_listener *at,
                         struct controller_service_options *o)
{
    const struct server_endpoint *self =
        server_config_voter(config, config->node_id);
    const struct server_listener *advertised =
        server_config_advertised(config, at->name);

    if (advertised == NULL)
        advertised = at;
    o->advertised_host = self != NULL ? self->host : advertised->host;
    o->advertised_port = self != NULL ? self->port : advertised->port;
}

struct controller_role *controller_role_start(struct broker *broker,
                                              struct env *env,
                                              void (*failed)(void *arg),
                                              void *arg, char **why)
{
    const struct server_config *config = broker->config;
    const struct server_listener *at = controller_listener(config);
    struct controller_role *role = xcalloc(1, sizeof *role);
    struct controller_service_options o = {
        .env = env,
        .node_id = config->node_id,
        .incarnation = broker->incarnation,
        .cluster_id = broker->cluster_id,
        .election_timeout_ms = config->election_timeout_ms,
        .snapshot_bytes = config->metadata_snapshot_bytes,
        .keep_entries = config->metadata_keep_entries,
        .listener = at->name,
        .host = at->host,
        .port = at->port,
        .frame_max_bytes = frame_max_bytes(config),
        .inter_broker_listener = config->inter_broker_listener,
        .directory = directory_of(broker),
        .failed = failed,
        .failed_arg = arg,
    };

    role->dir = xasprintf("%s/leat-controller", config->metadata_log_dir);
    o.dir = role->dir;
    take_config(config, &o.config);
    take_voters(config, &o.voters);
    o.voters_configured = o.voters.len != 0;
    if (o.voters.len == 0 && !take_initial_voters(env, config, &o.voters, why))
        return NULL;
    take_address(config, at, &o);
    role->service = controller_service_open(&o, why);
    return role->service != NULL ? role : NULL;
}

void controller_role_stop(struct controller_role *role,
                          void (*stopped)(void *arg), void *arg)
{
    controller_service_stop(role->service, stopped, arg);
}

struct controller_service *
controller_role_service(const struct controller_role *role)
{
    return role->service;
}
