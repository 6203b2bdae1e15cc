/* numbers: what the chaos tests write, read and commit; see numbers.h.
 *
 * tests/chaos/run starts it and does the harm; this program only knows that
 * whatever happens to the cluster, a record that was acknowledged must be there
 * once, where it was acknowledged, in the order of its producer. */

#include "tests/chaos/numbers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void numbers_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("numbers: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

int64_t numbers_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void numbers_record_make(struct numbers_record *r, int producer, int64_t number)
{
    r->key_len = (size_t)snprintf(r->key, sizeof(r->key), "%d:%lld", producer,
                                  (long long)number);
    uint64_t x = (uint64_t)number * 0x9e3779b97f4a7c15u + (uint64_t)producer;
    x ^= x >> 29;
    r->value_len = 32 + x % (VALUE_MAX - 32);
    for (size_t i = 0; i < r->value_len; i++)
        r->value[i] = (char)('a' + (x + i * (1 + x % 7)) % 26);
}

bool numbers_key_parse(const void *key, size_t len, int *producer,
                       int64_t *number)
{
    char text[32];
    if (!key || len >= sizeof(text))
        return false;
    memcpy(text, key, len);
    text[len] = 0;
    long long n;
    int end = 0;
    if (sscanf(text, "%d:%lld%n", producer, &n, &end) != 2 ||
        (size_t)end != len)
        return false;
    *number = n;
    return *producer >= 0 && *producer < PRODUCERS_MAX && n >= 0;
}

rd_kafka_t *numbers_client(rd_kafka_type_t type, const char *const *pairs,
                           rd_kafka_conf_t *conf)
{
    char why[512];
    for (; *pairs; pairs += 2)
        if (pairs[1][0] && rd_kafka_conf_set(conf, pairs[0], pairs[1], why,
                                             sizeof(why)) != RD_KAFKA_CONF_OK)
            numbers_die("%s", why);
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof(why));
    if (!client)
        numbers_die("%s", why);
    return client;
}

static const char usage[] =
    "numbers COMMAND --bootstrap LIST --topic T [OPTIONS]\n"
    "  produce    write numbered records until standard input ends\n"
    "  verify     read everything back and compare with the ledger\n"
    "  commit     commit offsets until standard input ends\n"
    "  committed  print committed offsets\n"
    "\n"
    "  --ledger FILE     of acknowledged records\n"
    "  --debug CONTEXTS  of librdkafka, as eos,msg: what producers do\n"
    "  --group PREFIX    of the groups that commit\n"
    "  --producers N     producers or groups (4)\n"
    "  --partitions N    of the topic (6)\n"
    "  --rate N          records a second from each producer (2000)\n"
    "  --request-ms N    a producer's requests have so long (librdkafka's)\n"
    "  --timeout-ms N    for a record, or for a reader without news (120000)\n";

static void options_parse(struct numbers_options *o, int argc, char **argv)
{
    struct {
        const char *name;
        const char **text;
        int *number;
    } known[] = {
        {"--bootstrap", &o->bootstrap, NULL},
        {"--topic", &o->topic, NULL},
        {"--ledger", &o->ledger, NULL},
        {"--group", &o->group, NULL},
        {"--producers", NULL, &o->producers},
        {"--rate", NULL, &o->rate},
        {"--partitions", NULL, &o->partitions},
        {"--debug", &o->debug, NULL},
        {"--timeout-ms", NULL, &o->timeout_ms},
        {"--request-ms", &o->request_ms, NULL},
    };
    enum { KNOWN = sizeof(known) / sizeof(known[0]) };
    for (int i = 2; i < argc; i += 2) {
        size_t k = 0;
        while (k < KNOWN && strcmp(known[k].name, argv[i]))
            k++;
        if (k == KNOWN || i + 1 == argc)
            numbers_die("what is '%s'?\n%s", argv[i], usage);
        if (known[k].text)
            *known[k].text = argv[i + 1];
        else
            *known[k].number = atoi(argv[i + 1]);
    }
    if (o->producers < 1 || o->producers > PRODUCERS_MAX || o->partitions < 1 ||
        o->partitions > PARTITIONS_MAX || o->rate < 1)
        numbers_die("a number is out of range");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct numbers_options *);
    } commands[] = {
        {"produce", numbers_produce},
        {"verify", numbers_verify},
        {"commit", numbers_commit},
        {"committed", numbers_committed},
    };
    struct numbers_options o = {
        .bootstrap = "localhost:9092",
        .topic = "numbers",
        .ledger = "numbers.ledger",
        .group = "numbers",
        .debug = "",
        .request_ms = "",
        .producers = 4,
        .partitions = 6,
        .rate = 2000,
        .timeout_ms = 120000,
    };
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]);
         i++)
        if (!strcmp(commands[i].name, argv[1])) {
            options_parse(&o, argc, argv);
            return commands[i].run(&o);
        }
    fputs(usage, stderr);
    return 2;
}
