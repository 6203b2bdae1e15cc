#include "broker/live.h"

#include "base/alloc.h"
#include "base/env.h"
#include "broker/config_parts.h"
#include "controller/config_resolve.h"

#include <ctype.h>
#include <stdlib.h>

#define OVERRIDES "max.connections.per.ip.overrides"

static struct slice layer_get(struct config_layer layer, const char *key)
{
    return layer.get == NULL ? SLICE_NULL
                             : layer.get(layer.set, slice_str(key));
}

/* What was set while the node runs, or null. */
static struct slice changed_to(const struct config_layers *layers,
                               const char *key)
{
    struct slice value = layer_get(layers->broker, key);

    return slice_is_null(value) ? layer_get(layers->broker_default, key)
                                : value;
}

/* A listener's own value: as it was changed, or the file's. */
static int32_t listener_value(const struct config_layers *layers,
                              const char *listener, const char *key)
{
    char *own = xasprintf("listener.name.%s.%s", listener, key);
    struct config_layer order[] = {layers->broker, layers->broker_default,
                                   layers->file};
    int32_t value = INT32_MAX;

    for (char *c = own; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        int32_t number;

        /* One that an older controller let pass has no effect. */
        if (config_parse_int32(layer_get(order[i], own), &number) &&
            number > 0) {
            value = number;
            break;
        }
    }
    free(own);
    return value;
}

static void read_listeners(struct live *live,
                           const struct config_layers *layers)
{
    live->listeners =
        xcalloc(live->config.listeners_len + 1, sizeof *live->listeners);
    for (size_t i = 0; i < live->config.listeners_len; i++) {
        const char *name = live->config.listeners[i].name;

        live->listeners[i] = (struct listener_limits){
            listener_value(layers, name, "max.connections"),
            listener_value(layers, name, "max.connection.creation.rate")};
    }
}

struct live *live_new(const struct server_config *config,
                      const struct config_layers *layers)
{
    struct live *live = xcalloc(1, sizeof *live);

    atomic_init(&live->refs, 1);
    live->config = *config;
    for (size_t i = 0; i < server_config_dynamic_count(); i++) {
        const char *key = server_config_dynamic_key(i);
        struct slice value = changed_to(layers, key);

        /* One that an older controller let pass has no effect. */
        if (key != NULL && !slice_is_null(value))
            server_config_set(&live->config, slice_str(key), value);
    }
    read_listeners(live, layers);
    return live;
}

struct live *live_ref(struct live *live)
{
    atomic_fetch_add_explicit(&live->refs, 1, memory_order_relaxed);
    return live;
}

void live_unref(struct live *live)
{
    if (live == NULL || atomic_fetch_sub(&live->refs, 1) != 1)
        return;
    MAP_EACH (e, &live->overrides) {
        free(e->value);
    }
    map_free(&live->overrides);
    free(live->listeners);
    free(live);
}

struct slice live_overrides_text(const struct config_layers *layers)
{
    struct slice value = changed_to(layers, OVERRIDES);

    return slice_is_null(value) ? layer_get(layers->file, OVERRIDES) : value;
}

void live_look_up(struct live *live, struct slice text, char **why)
{
    struct slice item, host;
    int32_t count;

    *why = NULL;
    while (config_list_next(&text, &item)) {
        char address[ENV_HOST_BYTES];

        if (!config_parse_override(item, &host, &count))
            continue;
        char *name = slice_dup(host);
        const char *reason = env_look_up(name, address);
        if (reason != NULL) {
            free(*why);
            *why = xasprintf(OVERRIDES " names %s, and its address cannot be "
                                       "found: %s; give the address itself",
                             name, reason);
        } else {
            int32_t *max = xmalloc(sizeof *max);

            *max = count;
            free(map_put(&live->overrides, slice_str(address), max));
        }
        free(name);
    }
}

int32_t live_max_per_address(const struct live *live, const char *address)
{
    const int32_t *max = map_get(&live->overrides, slice_str(address));

    return max != NULL ? *max : live->config.max_connections_per_ip;
}

bool live_limits_addresses(const struct live *live)
{
    return live->config.max_connections_per_ip != INT32_MAX ||
           map_count(&live->overrides) != 0;
}
