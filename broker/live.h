/* The node's configuration as it is now: the file's, with what was changed
 * while the node runs (per broker, then the default of all brokers) in its
 * place.
 *
 * Made by the metadata thread whenever the metadata says something new of these
 * keys, constant afterwards and shared by reference; each shard has the newest
 * one it was told of (shard.live).  Topics' defaults are not read from here but
 * from topic_settings.
 *
 * What keys can change: those of SERVER_CONFIG_FIELDS that the table of keys
 * does not call read-only, max.connections.per.ip.overrides, and the limits of
 * single listeners. */
#ifndef BROKER_LIVE_H
#define BROKER_LIVE_H

#include "broker/config.h"

#include <stdatomic.h>

/* listener.name.NAME.max.connections and .max.connection.creation.rate
 * (KIP-402, KIP-612), NAME in lower case.  INT32_MAX: there is none. */
struct listener_limits {
    int32_t max_connections; /* at least 1 */
    int32_t creation_rate;   /* likewise */
};

struct live {
    _Atomic int refs;
    /* Its pointers are the file's; connection_overrides is not to be read. */
    struct server_config config;
    struct map overrides; /* address -> int32_t *, connections it may have */
    struct listener_limits *listeners; /* by config.listeners */
};

/* One reference, the caller's.  `layers`: the dynamic ones and the file's; only
 * those of the broker are read.  Overrides are still to be looked up. */
struct live *live_new(const struct server_config *config,
                      const struct config_layers *layers);
struct live *live_ref(struct live *live);
void live_unref(struct live *live); /* NULL: nothing */

/* The text of max.connections.per.ip.overrides among the layers. */
struct slice live_overrides_text(const struct config_layers *layers);
/* Looks their names up, which may take long: not on a loop.  Of those that
 * cannot be found *why tells the last one, in a sentence that the caller frees;
 * they are left out. */
void live_look_up(struct live *live, struct slice text, char **why);

/* Connections that an address may have. */
int32_t live_max_per_address(const struct live *live, const char *address);
/* Whether any address has a bound at all. */
bool live_limits_addresses(const struct live *live);

#endif
