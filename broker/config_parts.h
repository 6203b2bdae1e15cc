/* Shared by the files config*.c alone. */
#ifndef BROKER_CONFIG_PARTS_H
#define BROKER_CONFIG_PARTS_H

#include "broker/config.h"

/* The text that was given for a key, or its default; null: neither. */
struct slice config_text(const struct server_config *c, const char *key);
/* Whether the key was given at all. */
bool config_given(const struct server_config *c, const char *key);
/* The given value for a message: "" if there is none. */
const char *config_shown(const struct server_config *c, const char *key);

void config_warn(struct server_config *c, char *sentence); /* takes it over */

/* The rest fill their part of *c, which is freed as a whole on failure.
 * ERR_NONE, or ERR_INVALID_CONFIG and a sentence in *why. */

/* listeners, advertised.listeners, controller.listener.names,
 * inter.broker.listener.name; needs the roles. */
enum err config_read_listeners(struct server_config *c, const char *host_name,
                               char **why);
/* Host and port lists: voters, bootstrap servers, per-address limits. */
enum err config_read_endpoints(struct server_config *c, char **why);
/* Assignors and protocols of groups. */
enum err config_read_groups(struct server_config *c, char **why);
/* Everything that several keys must agree on; needs all of *c. */
enum err config_check_together(const struct server_config *c, char **why);

/* "host:port", "[::1]:9092", ":9092".  False unless there is a port from 0 to
 * 65535 and, with a bracket, its partner. *host may be empty. */
bool config_parse_host_port(struct slice text, struct slice *host,
                            uint16_t *port);

/* One of max.connections.per.ip.overrides, "10.0.0.1:100": the last colon
 * separates the count. */
bool config_parse_override(struct slice item, struct slice *host,
                           int32_t *count);

#endif
