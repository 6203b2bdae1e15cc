/* What every command that talks to a cluster has in common: where the cluster
 * is, how long to wait, how to print. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "cli/client.h"
#include "cli/options.h"
#include "cli/ui.h"

/* Rows for the option tables of our own commands. */
#define SESSION_OPTIONS                                                        \
    {"bootstrap", OPTION_VALUE, 'b', "HOST:PORT",                              \
     "brokers to begin with, several with commas (LEAT_BOOTSTRAP, or "         \
     "localhost:9092)"},                                                       \
        {"bootstrap-server", OPTION_VALUE, 0, NULL, NULL},                     \
        {"timeout",                                                            \
         OPTION_INT,                                                           \
         0,                                                                    \
         "MS",                                                                 \
         "how long to try, in milliseconds (30000)",                           \
         1,                                                                    \
         INT32_MAX},                                                           \
        {"command-config", OPTION_VALUE, 0, "FILE",                            \
         "a client's properties file"},                                        \
        {"json", OPTION_FLAG, 0, NULL, "print JSON"},                          \
    {                                                                          \
        "help", OPTION_FLAG, 'h', NULL, "this text"                            \
    }

/* A client for what the options say, or NULL with a sentence in *why that the
 * caller frees.  Reads --bootstrap, --bootstrap-server, --timeout,
 * --command-config as far as the table has them. */
struct client *session_open(const struct options *o, const char *client_id,
                            char **why);

/* Refuses properties that ask for a connection we cannot make. */
bool session_check_properties(const char *path, char **why);

struct session {
    struct client *client;
    struct arena arena; /* of the whole command */
    const struct options *options;
    bool json;
};

/* Parses, prints help or complaints, connects, runs, cleans up; returns the
 * exit code.  `help` prints the text above the options. */
int session_run(const struct option_spec *specs, const char *command, int argc,
                char **argv, void (*help)(void), int (*run)(struct session *s));

#endif
