/* See kafka_compat.h. */
#include "cli/kafka_compat.h"

#include <stdarg.h>
#include <stdlib.h>

int kafka_usage(const struct kafka_tool *tool, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    options_help(tool->specs, stderr);
    return EXIT_FAILED;
}

int kafka_invalid(const struct kafka_tool *tool, const char *option,
                  const char *with)
{
    return kafka_usage(tool,
                       "Option \"[%s]\" can't be used with option \"[%s]\"",
                       option, with);
}

/* What to type instead of an option that went away with ZooKeeper. */
static int refuse_zookeeper(const struct kafka_tool *tool,
                            const struct options *o)
{
    fprintf(stderr,
            "zookeeper is not a recognized option: this cluster needs no "
            "ZooKeeper (--zookeeper %s), so ask a broker instead:\n"
            "  %s.sh --bootstrap-server localhost:9092 ...\n",
            options_text(o, "zookeeper", ""), tool->name);
    return EXIT_FAILED;
}

struct options *kafka_parse(const struct kafka_tool *tool, int argc,
                            char **argv, int *code)
{
    char *why = NULL;

    *code = EXIT_FAILED;
    if (argc < 2) {
        kafka_usage(tool, "%s", tool->about);
        return NULL;
    }
    struct options *o = options_parse(tool->specs, argc, argv, &why);
    if (o == NULL) {
        kafka_usage(tool, "%s", why);
        free(why);
        return NULL;
    }
    if (options_has(o, "help")) {
        kafka_usage(tool, "%s", tool->about);
        *code = EXIT_OK;
    } else if (options_has(o, "version")) {
        puts("4.3.1");
        *code = EXIT_OK;
    } else if (options_has(o, "zookeeper")) {
        refuse_zookeeper(tool, o);
    } else if (options_has(o, "bootstrap-controller")) {
        fprintf(stderr, "--bootstrap-controller is not offered: give "
                        "--bootstrap-server and a broker's address, which "
                        "asks the controllers\n");
    } else {
        return o;
    }
    options_free(o);
    return NULL;
}

static const char *bootstrap_of(const struct options *o)
{
    return options_text(o, "bootstrap-server",
                        options_text(o, "broker-list", NULL));
}

bool kafka_has_bootstrap(const struct options *o)
{
    return bootstrap_of(o) != NULL;
}

static void tell_waiting(const char *why)
{
    fprintf(stderr, "%s; trying again\n", why);
}

struct client *kafka_open(const struct options *o, const char *client_id,
                          int64_t timeout_ms)
{
    const char *file = options_text(o, "command-config", NULL);
    char *why = NULL;
    struct client *c = NULL;

    if (file == NULL || session_check_properties(file, &why))
        c = client_new(bootstrap_of(o), client_id, timeout_ms, &why);
    if (c == NULL) {
        fprintf(stderr, "%s\n", why);
        free(why);
    } else {
        /* If it stays away the command's first call says so. */
        client_reach(c, tell_waiting);
    }
    return c;
}

void kafka_print_table(const struct table *t)
{
    size_t widths[16] = {0};

    for (size_t i = 0; i < t->cells_len; i++) {
        size_t n = strlen(t->cells[i]);
        if (n > widths[i % t->columns])
            widths[i % t->columns] = n;
    }
    for (size_t i = 0; i < t->cells_len; i++)
        printf("%-*s%s", (int)widths[i % t->columns], t->cells[i],
               (i + 1) % t->columns == 0 ? "\t\n" : "\t");
}
