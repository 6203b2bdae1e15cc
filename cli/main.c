/* leat: the administration tool.  Finds the command and runs it, and sees to it
 * that what was printed has arrived. */
#include "cli/commands.h"
#include "cli/ui.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about; /* NULL: a Kafka name, listed apart */
};

static const struct command commands[] = {
    {"storage", cmd_storage, "cluster ids; format and look at log directories"},
    {"topics", cmd_topics, "create, list, describe, change, delete topics"},
    {"produce", cmd_produce, "write lines of standard input as records"},
    {"consume", cmd_consume, "print records, alone or as member of a group"},
    {"groups", cmd_groups, "list, describe, delete groups; move their offsets"},
    {"configs", cmd_configs, "look at and change configurations"},
    {"quorum", cmd_quorum, "the controllers: who leads, who follows how far"},
    {"transactions", cmd_transactions,
     "list, describe, abort transactions; find hanging ones"},
    {"broker-versions", cmd_broker_versions, "what each broker speaks"},
    {"kafka-storage", kafka_storage, NULL},
    {"kafka-topics", kafka_topics, NULL},
    {"kafka-console-producer", kafka_console_producer, NULL},
    {"kafka-console-consumer", kafka_console_consumer, NULL},
    {"kafka-consumer-groups", kafka_consumer_groups, NULL},
    {"kafka-configs", kafka_configs, NULL},
    {"kafka-metadata-quorum", kafka_metadata_quorum, NULL},
    {"kafka-broker-api-versions", kafka_broker_api_versions, NULL},
    {"kafka-log-dirs", kafka_log_dirs, NULL},
    {"kafka-transactions", kafka_transactions, NULL},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(FILE *to)
{
    fputs("leat COMMAND [OPTIONS]: works with a Leat or Kafka cluster\n\n", to);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].about != NULL)
            fprintf(to, "  %-16s %s\n", commands[i].name, commands[i].about);
    fputs("\nMost commands take --bootstrap HOST:PORT (or the environment "
          "variable\n"
          "LEAT_BOOTSTRAP; localhost:9092 if neither is there) and --json.\n"
          "`leat COMMAND --help` shows each with examples.\n\n"
          "  leat topics create orders --partitions 6\n"
          "  echo hello | leat produce orders\n"
          "  leat consume orders --from-beginning --max-messages 1\n\n"
          "Kafka's tools answer to their names, with Kafka's options:\n ",
          to);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].about == NULL)
            fprintf(to, " %s", commands[i].name);
    fputs("\n\nExit codes: 0 done, 1 failed, 2 not understood.\n", to);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
           strcmp(word, "help") == 0;
}

/* A stream that we were started without must not become a socket or a file of
 * ours.  What stands in for it fails when it is used. */
static void fill_gaps(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", modes[fd]); /* the lowest that is free */
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (is_help(argv[1])) {
        help(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("leat 0.1.0");
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "leat: there is no command \"%s\"\nTry: leat --help\n",
            argv[1]);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    fill_gaps();
    return ui_end(run(argc, argv));
}
