/* The configuration as it is changed while the node runs. */
#include "broker/live.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct server_config config;

static void clear(void) { server_config_free(&config); }

TestSuite(live, .fini = clear);

static void load(const char *lines)
{
    char *why = NULL;
    char *file = xasprintf("process.roles=broker,controller\n"
                           "node.id=1\n"
                           "controller.quorum.voters=1@h:9093\n"
                           "controller.listener.names=CONTROLLER\n"
                           "listeners=OTHER://:9091,PLAINTEXT://:9092,"
                           "CONTROLLER://:9093\n"
                           "listener.security.protocol.map=OTHER:PLAINTEXT,"
                           "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
                           "%s",
                           lines);
    struct server_config_sources sources = {.file_name = "test",
                                            .file = slice_str(file),
                                            .host_name = "host-1",
                                            .processors = 1};

    cr_assert_eq(server_config_load(&sources, &config, &why), ERR_NONE, "%s",
                 why);
    free(file);
}

/* The limits of PLAINTEXT, with what was changed while the node runs. */
static struct listener_limits limits(const struct map *broker,
                                     const struct map *everyones)
{
    struct config_layers layers = {
        .broker = config_layer_of_map(broker),
        .broker_default = config_layer_of_map(everyones),
        .file = server_config_layer(&config),
    };
    struct live *live = live_new(&config, &layers);
    struct listener_limits found = {0};

    for (size_t i = 0; i < config.listeners_len; i++)
        if (strcmp(config.listeners[i].name, "PLAINTEXT") == 0)
            found = live->listeners[i];
        else
            cr_assert_eq(live->listeners[i].max_connections, INT32_MAX);
    live_unref(live);
    return found;
}

static void change(struct map *set, const char *key, const char *value)
{
    map_put(set, slice_str(key), (void *)(uintptr_t)value);
}

#define OWN_CONNECTIONS "listener.name.plaintext.max.connections"
#define OWN_RATE "listener.name.plaintext.max.connection.creation.rate"

Test(live, a_listener_has_limits_of_its_own)
{
    struct map broker = MAP_INIT, everyones = MAP_INIT;

    /* What is said of all listeners is no limit of one. */
    load("max.connections=7\nmax.connection.creation.rate=8\n");
    cr_assert_eq(limits(&broker, &everyones).max_connections, INT32_MAX);
    cr_assert_eq(limits(&broker, &everyones).creation_rate, INT32_MAX);
    server_config_free(&config);

    load(OWN_CONNECTIONS "=5\n" OWN_RATE "=6\n"
                         "listener.name.PLAINTEXT.max.connections=1\n");
    cr_assert_eq(limits(&broker, &everyones).max_connections, 5);
    cr_assert_eq(limits(&broker, &everyones).creation_rate, 6);
    change(&everyones, OWN_CONNECTIONS, "50");
    cr_assert_eq(limits(&broker, &everyones).max_connections, 50);
    change(&broker, OWN_CONNECTIONS, "500");
    change(&broker, OWN_RATE, "600");
    cr_assert_eq(limits(&broker, &everyones).max_connections, 500);
    cr_assert_eq(limits(&broker, &everyones).creation_rate, 600);
    change(&broker, OWN_CONNECTIONS, "0");
    change(&broker, OWN_RATE, "many");
    cr_assert_eq(limits(&broker, &everyones).max_connections, 50);
    cr_assert_eq(limits(&broker, &everyones).creation_rate, 6);
    map_free(&broker);
    map_free(&everyones);
    server_config_free(&config);
}
