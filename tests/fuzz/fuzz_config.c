/* A server.properties: the first byte says whether a minimal file stands before
 * it, so that the rest is looked at.  Accepted or refused with a sentence; and
 * dynamic changes of what was accepted. */
#include "tests/fuzz/kit.h"

#include "broker/config.h"

#include <stdlib.h>

static const char minimal[] = "process.roles=broker,controller\n"
                              "node.id=1\n"
                              "controller.listener.names=CONTROLLER\n"
                              "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n"
                              "controller.quorum.voters=1@localhost:9093\n"
                              "log.dirs=/tmp/logs\n";

static void check(struct server_config *config, struct slice text)
{
    const uint8_t *equals =
        text.len != 0 ? memchr(text.data, '=', text.len) : NULL;

    ASSERT(config->listeners_len > 0 && config->log_dirs_len > 0);
    ASSERT(config->is_broker || config->is_controller);
    for (size_t i = 0; i < config->advertised_len; i++)
        ASSERT(config->advertised[i].host[0] != '\0');
    if (equals != NULL) {
        struct slice key = slice_of(text.data, (size_t)(equals - text.data));
        struct slice value =
            slice_of(equals + 1, text.len - (size_t)(equals + 1 - text.data));

        if (server_config_set(config, key, value))
            ASSERT(server_config_set(config, key, SLICE_NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    bool bare = (read_u8(&r) & 1) != 0;
    struct slice text = take_rest(&r);
    struct buf file = BUF_INIT;
    struct server_config config;
    char *why = NULL;

    if (!bare)
        buf_put(&file, minimal, sizeof minimal - 1);
    buf_put_slice(&file, text);
    struct server_config_sources sources = {
        .file_name = "fuzz",
        .file = buf_slice(&file),
        .host_name = "localhost",
        .processors = 2,
    };
    if (server_config_load(&sources, &config, &why) == ERR_NONE) {
        check(&config, text);
        server_config_free(&config);
    } else {
        ASSERT(why != NULL && why[0] != '\0');
        free(why);
    }
    buf_free(&file);
    return 0;
}
