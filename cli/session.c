/* Commands differ in what they do between connecting and printing; this is
 * the rest. */
#include "cli/session.h"

#include "base/properties.h"
#include "cli/input.h"

#include <stdlib.h>

static bool read_properties(const char *path, struct properties *p, char **why)
{
    struct buf text = BUF_INIT;
    bool ok = file_read(path, PROPERTIES_SIZE_MAX, &text, why) &&
              properties_parse(buf_slice(&text), path, p, why) == ERR_NONE;

    buf_free(&text);
    return ok;
}

bool session_check_properties(const char *path, char **why)
{
    struct properties p;

    if (!read_properties(path, &p, why))
        return false;
    const struct property *protocol =
        properties_find(&p, SLICE("security.protocol"));
    bool ok = protocol == NULL || slice_eq_str(protocol->value, "PLAINTEXT");
    if (!ok)
        *why = xasprintf("%s:%d: security.protocol=%.*s: this tool speaks "
                         "PLAINTEXT only",
                         path, protocol->line, SLICE_FMT(protocol->value));
    properties_free(&p);
    return ok;
}

struct client *session_open(const struct options *o, const char *client_id,
                            char **why)
{
    const char *environment = getenv("LEAT_BOOTSTRAP");
    const char *bootstrap = options_text(o, "bootstrap-server", NULL);
    const char *file = options_text(o, "command-config", NULL);

    if (bootstrap == NULL)
        bootstrap = options_text(o, "bootstrap", NULL);
    if (bootstrap == NULL)
        bootstrap = environment;
    if (bootstrap == NULL || *bootstrap == '\0')
        bootstrap = "localhost:9092";
    if (file != NULL && !session_check_properties(file, why))
        return NULL;
    return client_new(bootstrap, client_id, options_int(o, "timeout", 30000),
                      why);
}

static int connected(struct session *s, const char *command,
                     int (*run)(struct session *s))
{
    char *why = NULL;

    s->client = session_open(s->options, "leat", &why);
    if (s->client == NULL) {
        int code = ui_usage(command, "%s", why);
        free(why);
        return code;
    }
    arena_init(&s->arena, 0);
    int code = run(s);
    arena_free(&s->arena);
    client_free(s->client);
    return code;
}

int session_run(const struct option_spec *specs, const char *command, int argc,
                char **argv, void (*help)(void), int (*run)(struct session *s))
{
    char *why = NULL;
    struct options *o = options_parse(specs, argc, argv, &why);
    int code = EXIT_OK;

    if (o == NULL) {
        code = ui_usage(command, "%s", why);
        free(why);
        return code;
    }
    if (options_has(o, "help")) {
        help();
        puts("\nOptions:");
        options_help(specs, stdout);
    } else {
        struct session s = {.options = o, .json = options_has(o, "json")};
        code = connected(&s, command, run);
    }
    options_free(o);
    return code;
}
