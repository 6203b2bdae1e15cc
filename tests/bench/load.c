/* load: one client for every cluster that is compared.  See the usage text;
 * modes.h says what each mode prints. */
#include "tests/bench/modes.h"

#include "base/alloc.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: load MODE [options] BROKERS TOPIC [librdkafka-key=value ...]\n"
    "\n"
    "  create    create topics, wait until their replicas are in sync\n"
    "  delete    delete them\n"
    "  settle    wait until a topic's replicas are in sync; say who leads\n"
    "  produce   send --records as fast as they are taken\n"
    "  consume   read --records from the beginning\n"
    "  latency   send at --rate for --seconds, read back, say how late\n"
    "  transactions  of --records each, by --clients, for --seconds\n"
    "  first     create the topic and send one record as soon as possible\n"
    "  failover  one record after another for --seconds; who leads when\n"
    "\n"
    "  --records N     (100000)        --size BYTES   of a value (1024)\n"
    "  --partitions N  (6)             --replicas N   (3)\n"
    "  --topics N      (1; more: TOPIC-0, TOPIC-1, ...)\n"
    "  --exists        the topic is there: first need not create it\n"
    "  --keys N        different keys of the records to produce (0: none)\n"
    "  --clients N     producers at once (1)\n"
    "  --plain         records as in the transactions, but without\n"
    "  --rate N        per second (1000)\n"
    "  --seconds S     (10)            --timeout S    (120)\n"
    "\n"
    "Prints one JSON object; status 1 and a sentence when it didn't work.\n";

static const struct mode {
    const char *name;
    void (*run)(const struct load *l);
} modes[] = {
    {"create", mode_create},
    {"delete", mode_delete},
    {"settle", mode_settle},
    {"produce", mode_produce},
    {"consume", mode_consume},
    {"latency", mode_latency},
    {"first", mode_first},
    {"failover", mode_failover},
    {"transactions", mode_transactions},
};

_Noreturn static void misuse(void)
{
    fputs(usage, stderr);
    exit(2);
}

static double number(double min, double max)
{
    char *end;
    double value = strtod(optarg, &end);

    if (end == optarg || *end != '\0' || !(value >= min && value <= max))
        misuse();
    return value;
}

static void parse_options(int argc, char **argv, struct load *l)
{
    static const struct option options[] = {
        {"records", required_argument, NULL, 'n'},
        {"size", required_argument, NULL, 's'},
        {"partitions", required_argument, NULL, 'p'},
        {"replicas", required_argument, NULL, 'r'},
        {"topics", required_argument, NULL, 't'},
        {"exists", no_argument, NULL, 'e'},
        {"keys", required_argument, NULL, 'k'},
        {"clients", required_argument, NULL, 'c'},
        {"plain", no_argument, NULL, 'l'},
        {"rate", required_argument, NULL, 'R'},
        {"seconds", required_argument, NULL, 'S'},
        {"timeout", required_argument, NULL, 'T'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            l->records = (int64_t)number(1, 1e10);
            break;
        case 's':
            l->size_bytes = (size_t)number(8, 1 << 20);
            break;
        case 'p':
            l->partitions = (int)number(1, 1e5);
            break;
        case 'r':
            l->replicas = (int)number(1, 100);
            break;
        case 't':
            l->topics = (int)number(1, 1e5);
            break;
        case 'e':
            l->exists = true;
            break;
        case 'k':
            l->keys = (int64_t)number(0, 1e9);
            break;
        case 'c':
            l->clients = (int)number(1, 1000);
            break;
        case 'l':
            l->plain = true;
            break;
        case 'R':
            l->rate = number(1, 1e6);
            break;
        case 'S':
            l->seconds = number(0.1, 3600);
            break;
        case 'T':
            l->timeout_s = number(1, 3600);
            break;
        default:
            misuse();
        }
    }
}

static void parse_arguments(int argc, char **argv, struct load *l)
{
    if (argc - optind < 2)
        misuse();
    l->brokers = argv[optind++];
    l->topic = argv[optind++];
    l->settings = xcalloc((size_t)(argc - optind) + 1, sizeof *l->settings);
    for (; optind < argc; optind++) {
        if (strchr(argv[optind], '=') == NULL)
            misuse();
        l->settings[l->settings_len++] = argv[optind];
    }
}

int main(int argc, char **argv)
{
    struct load l = {
        .records = 100000,
        .size_bytes = 1024,
        .partitions = 6,
        .replicas = 3,
        .topics = 1,
        .clients = 1,
        .rate = 1000,
        .seconds = 10,
        .timeout_s = 120,
    };

    if (argc < 2)
        misuse();
    /* The mode stands where getopt expects the program's name. */
    parse_options(argc - 1, argv + 1, &l);
    parse_arguments(argc - 1, argv + 1, &l);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run(&l);
            free(l.settings);
            return 0;
        }
    }
    misuse();
}
