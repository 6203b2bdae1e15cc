/* The workload against real brokers:
 *
 *     real HOST:PORT[,HOST:PORT...] [--seed N] [--seconds N] [--trace]
 *          [--nodes N] [--unclean] [--mute CHECKER]... [--final-seconds N]
 *          [--plain] [--space PREFIX] [--replicas N] [--stay]
 *          [--patience SECONDS]
 *
 * Draws its options from the seed (--plain: the smallest workload), runs for
 * so many seconds or until SIGTERM, lets everything come to rest, reads
 * everything back and says what it found.  Topics and groups begin with PREFIX
 * (runTIME-), topics have at least N replicas, and with --stay those stay
 * where they are: for faults that a single replica does not survive, and for
 * nodes that leave.  Producers try for no longer than --patience.  Exit status:
 * 0 nothing is wrong, 1 a violation, 2 bad use, 3 it did not come to rest. */
#include "base/env_libevent.h"
#include "tests/sim/load/load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { ADDRESSES_MAX = 32, MUTED_MAX = 32, TICK_MS = 100 };

enum phase { RUNNING, RESTING, READING, OVER };

struct run {
    struct env *env;
    struct load *load;
    struct env_timer timer;
    enum phase phase;
    int64_t until_ms;
    int64_t final_ms;
    int status;
};

struct arguments {
    struct load_address addresses[ADDRESSES_MAX];
    size_t addresses_len;
    uint64_t seed;
    int64_t seconds;
    int64_t final_seconds;
    const char *muted[MUTED_MAX];
    size_t muted_len;
    const char *space; /* or NULL */
    int nodes;
    int replicas;     /* of a topic, at least */
    int64_t patience; /* seconds; 0: as drawn */
    bool trace;
    bool unclean;
    bool plain;
    bool stay; /* replicas, where they are */
};

static void end(struct run *r, int status)
{
    r->phase = OVER;
    r->status = status;
    env_stop(r->env);
}

static void on_done(void *arg)
{
    struct run *r = arg;

    if (r->phase == READING)
        end(r, 0);
}

static void on_tick(void *arg)
{
    struct run *r = arg;
    int64_t now_ms = env_now_ms(r->env);
    const char *sentence;
    bool late = now_ms >= r->until_ms;

    if (history_verdict(load_history(r->load), &sentence) != NULL) {
        end(r, 1);
        return;
    }
    if (r->phase == RUNNING && late) {
        load_stop_writing(r->load);
        r->phase = RESTING;
        r->until_ms = now_ms + load_quiet_bound_ms(r->load);
    } else if (r->phase == RESTING && load_is_quiet(r->load)) {
        r->phase = READING;
        r->until_ms = now_ms + r->final_ms;
        load_final_read(r->load, on_done, r);
    } else if (r->phase == RESTING && late) {
        end(r, 3);
        return;
    } else if (r->phase == READING && late) {
        load_final_give_up(r->load);
        end(r, 0);
        return;
    }
    env_timer_start(r->env, &r->timer, TICK_MS);
}

static void on_signal(void *arg)
{
    struct run *r = arg;

    if (r->phase == RUNNING)
        r->until_ms = 0; /* come to rest */
}

static void print_line(void *arg, const char *line)
{
    struct run *r = arg;

    printf("%lld %s\n", (long long)env_now_ms(r->env), line);
}

/* ---- arguments
 * ------------------------------------------------------------------ */

static bool parse_addresses(char *text, struct arguments *a)
{
    char *save = NULL;

    for (char *one = strtok_r(text, ",", &save); one != NULL;
         one = strtok_r(NULL, ",", &save)) {
        char *colon = strrchr(one, ':');
        if (colon == NULL || a->addresses_len == ADDRESSES_MAX)
            return false;
        *colon = '\0';
        long port = strtol(colon + 1, NULL, 10);
        if (port <= 0 || port > 65535)
            return false;
        a->addresses[a->addresses_len++] =
            (struct load_address){one, (uint16_t)port};
    }
    return a->addresses_len != 0;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--trace") == 0)
            a->trace = true;
        else if (strcmp(argv[i], "--unclean") == 0)
            a->unclean = true;
        else if (strcmp(argv[i], "--plain") == 0)
            a->plain = true;
        else if (strcmp(argv[i], "--stay") == 0)
            a->stay = true;
        else if (strncmp(argv[i], "--", 2) != 0 && a->addresses_len == 0)
            if (parse_addresses(argv[i], a))
                continue;
            else
                return false;
        else if (value == NULL)
            return false;
        else if (strcmp(argv[i], "--seed") == 0)
            a->seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            a->seconds = strtoll(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--final-seconds") == 0)
            a->final_seconds = strtoll(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--nodes") == 0)
            a->nodes = (int)strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--replicas") == 0)
            a->replicas = (int)strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--patience") == 0)
            a->patience = strtoll(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--space") == 0)
            a->space = argv[++i];
        else if (strcmp(argv[i], "--mute") == 0 && a->muted_len < MUTED_MAX)
            a->muted[a->muted_len++] = argv[++i];
        else
            return false;
    }
    return a->addresses_len != 0 && a->nodes > 0 && a->replicas >= 0 &&
           a->replicas <= a->nodes;
}

/* What the run is made of: drawn, and then held to what was asked for. */
static void choose_options(const struct arguments *a, struct prng *prng,
                           struct load_options *o)
{
    o->nodes = a->nodes;
    o->unclean_possible = a->unclean;
    if (!a->plain) {
        load_options_draw(prng, o);
        load_options_draw_transactions(prng, o);
    }
    if (o->replication_factor < a->replicas)
        o->replication_factor = (int16_t)a->replicas;
    if (a->patience > 0 && o->delivery_timeout_ms > a->patience * 1000)
        o->delivery_timeout_ms = a->patience * 1000;
    if (a->stay)
        o->reassign = false;
}

static void report(struct run *r)
{
    const struct history_counts *c = history_counts(load_history(r->load));
    struct txn_history_counts t = load_transactions(r->load);
    const char *sentence;
    const char *checker = history_verdict(load_history(r->load), &sentence);

    printf("sent %llu, acknowledged %llu, unknown %llu, read %llu, assigned "
           "%llu, committed %llu, offsets asked %llu, admin %llu\n",
           (unsigned long long)c->sent, (unsigned long long)c->acked,
           (unsigned long long)c->unknown, (unsigned long long)c->read,
           (unsigned long long)c->assigned, (unsigned long long)c->committed,
           (unsigned long long)c->offsets,
           (unsigned long long)load_progress(r->load).admin);
    printf("transactions %llu: %llu committed, %llu aborted, %llu unknown; "
           "%llu of their records read\n",
           (unsigned long long)t.begun, (unsigned long long)t.committed,
           (unsigned long long)t.aborted, (unsigned long long)t.unknown,
           (unsigned long long)t.read);
    if (checker != NULL) {
        printf("VIOLATION %s: %s\n", checker, sentence);
        r->status = 1;
    } else if (r->status == 3) {
        printf("STUCK: the workload did not come to rest within its bound\n");
    } else {
        printf("nothing is wrong\n");
    }
}

int main(int argc, char **argv)
{
    struct arguments a = {
        .seed = 1, .seconds = 10, .final_seconds = 30, .nodes = 3};
    struct load_options options;
    struct run r = {0};
    struct buf line = BUF_INIT;
    char space[32];

    if (!parse(argc, argv, &a)) {
        fprintf(stderr, "Usage: real HOST:PORT[,...] [--seed N] [--seconds N] "
                        "[--final-seconds N] [--nodes N] [--unclean] "
                        "[--mute CHECKER] [--plain] [--trace] "
                        "[--space PREFIX] [--replicas N] [--stay] "
                        "[--patience SECONDS]\n");
        return 2;
    }
    struct prng prng = {a.seed};
    load_options_init(&options);
    r.env = env_create();
    snprintf(space, sizeof space, "run%lld-", (long long)env_wall_ms(r.env));
    /* Its own, so that runs can follow each other. */
    options.space = a.space != NULL ? a.space : space;
    choose_options(&a, &prng, &options);
    load_options_print(&options, &line);
    printf("seed %llu: %.*s\n", (unsigned long long)a.seed, (int)line.len,
           (const char *)line.data);
    buf_free(&line);
    fflush(stdout);

    r.load = load_new(r.env, prng_next(&prng), &options, a.addresses,
                      a.addresses_len);
    for (size_t i = 0; i < a.muted_len; i++)
        history_mute(load_history(r.load), a.muted[i]);
    if (a.trace)
        history_on_event(load_history(r.load), print_line, &r);
    r.timer.fn = on_tick;
    r.timer.arg = &r;
    r.until_ms = env_now_ms(r.env) + a.seconds * 1000;
    r.final_ms = a.final_seconds * 1000;
    env_timer_start(r.env, &r.timer, TICK_MS);
    env_on_signal(r.env, SIGTERM, on_signal, &r);
    load_start(r.load);
    env_run(r.env);
    report(&r);
    load_free(r.load);
    env_timer_stop(r.env, &r.timer);
    env_free(r.env);
    return r.status;
}
