/* The command line: seeds in child processes, one a core; the first that fails
 * is shrunk, run again for its trace, and told how to be repeated.
 *
 * Exit codes: 0 clean, 1 a seed failed, 2 wrong arguments. */
#include "tests/sim/run.h"
#include "tests/sim/trace.h"

#include "base/alloc.h"
#include "tests/sim/planted.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    JOBS_MAX = 64,
    TRACE_LINES = 60,
    CPU_LIMIT_S = 120, /* a run that needs more does not end */
    MEMORY_LIMIT = 2u << 30,
};

static const char usage[] =
    "Usage: sim [options]\n"
    "\n"
    "Runs simulated clusters under faults, a seed each, and checks what must\n"
    "hold. One seed is one run, bit for bit.\n"
    "\n"
    "  --seed N       this seed only\n"
    "  --seeds N      N seeds (100), from --from (1) on\n"
    "  --from N       the first one\n"
    "  --hours H      as many seeds as fit into H hours of wall clock\n"
    "  --file F       the seeds in F, one a line; # begins a comment\n"
    "  --jobs N       at a time; default: one a core\n"
    "  --verbose      with --seed: the whole trace\n"
    "  --hash         one line per seed with its trace hash\n"
    "  --bug NAME     with this planted bug; --bugs lists them\n"
    "  --mute NAME    without this checker\n"
    "  --without I,J  without these faults of the plan\n"
    "  --keep-going   do not stop at the first seed that fails\n"
    "  --no-shrink    do not look for faults that can be left out\n";

struct job {
    pid_t pid; /* 0: free */
    int from;
    uint64_t seed;
};

static struct {
    uint64_t seed, from, seeds;
    double hours;
    const char *file;
    int jobs;
    bool single, verbose, hash, keep_going, shrink;
    const char *mute;
    const char *bug;
    bool without[PLAN_FAULTS_MAX];
} args = {.from = 1, .seeds = 100, .shrink = true};

/* ---- one seed in a child ---------------------------------------------------
 */

static struct run_options run_options(uint64_t seed, const bool *without)
{
    return (struct run_options){
        .seed = seed, .without = without, .mute = args.mute};
}

static void child(const struct run_options *options, int to)
{
    struct rlimit cpu = {CPU_LIMIT_S, CPU_LIMIT_S};
    struct rlimit core = {0, 0};
    struct run_result result = {0};

    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &core);
    run_seed(options, &result);
    result.finished = true;
    fflush(NULL);
    if (write(to, &result, sizeof result) != (ssize_t)sizeof result)
        _exit(3);
    _exit(0);
}

static struct job job_start(const struct run_options *options)
{
    struct job job = {.seed = options->seed};
    int ends[2];

    fflush(NULL);
    if (pipe(ends) != 0 || (job.pid = fork()) < 0) {
        fprintf(stderr, "sim: cannot start a child: %s\n", strerror(errno));
        exit(3);
    }
    if (job.pid == 0) {
        close(ends[0]);
        child(options, ends[1]);
    }
    close(ends[1]);
    job.from = ends[0];
    return job;
}

static void job_end(struct job *job, struct run_result *result)
{
    ssize_t n = read(job->from, result, sizeof *result);
    int status;

    close(job->from);
    waitpid(job->pid, &status, 0);
    job->pid = 0;
    if (n == (ssize_t)sizeof *result && result->finished)
        return;
    *result = (struct run_result){0};
    snprintf(result->checker, sizeof result->checker, "crash");
    snprintf(result->sentence, sizeof result->sentence,
             "the simulated processes ended with signal %d (%s)",
             WIFSIGNALED(status) ? WTERMSIG(status) : 0,
             WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "none");
}

static void run_child(const struct run_options *options,
                      struct run_result *result)
{
    struct job job = job_start(options);

    job_end(&job, result);
}

/* ---- a seed that fails ------------------------------------------------------
 */

static void silence(bool on)
{
    static int saved = -1;

    fflush(NULL);
    if (on && saved < 0) {
        saved = dup(STDERR_FILENO);
        if (freopen("/dev/null", "w", stderr) == NULL)
            exit(3);
    } else if (!on && saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
        saved = -1;
    }
}

/* Leaves out every fault that the failure does not need. */
static void shrink(uint64_t seed, const char *checker, bool *without)
{
    struct plan plan;
    int tried = 0;

    plan_draw(seed, &plan);
    silence(true);
    for (int i = plan.faults_len - 1; i >= 0; i--) {
        struct run_options o = run_options(seed, without);
        struct run_result r;

        if (without[i])
            continue;
        without[i] = true;
        tried++;
        run_child(&o, &r);
        without[i] = strcmp(r.checker, checker) == 0;
    }
    silence(false);
    printf("shrunk in %d runs\n", tried);
}

static void print_command(uint64_t seed, const bool *without)
{
    const char *separator = " --without ";

    printf("again: build/tests/sim/sim --seed %llu", (unsigned long long)seed);
    if (args.bug != NULL)
        printf(" --bug %s", args.bug);
    for (int i = 0; i < PLAN_FAULTS_MAX; i++) {
        if (without[i]) {
            printf("%s%d", separator, i);
            separator = ",";
        }
    }
    printf(" --verbose\n");
}

static void report(uint64_t seed, const struct run_result *result)
{
    bool without[PLAN_FAULTS_MAX];
    struct plan plan;
    int left = 0;

    printf("seed %llu breaks '%s': %s\n", (unsigned long long)seed,
           result->checker, result->sentence);
    memcpy(without, args.without, sizeof without);
    if (args.shrink)
        shrink(seed, result->checker, without);
    plan_draw(seed, &plan);
    plan_print(&plan);
    for (int i = 0; i < plan.faults_len; i++)
        left += !without[i];
    printf("%d of %d faults are needed\n", left, plan.faults_len);
    struct run_options o = run_options(seed, without);
    o.tail = TRACE_LINES;
    struct run_result again;
    run_child(&o, &again);
    print_command(seed, without);
}

/* ---- many seeds
 * -------------------------------------------------------------- */

struct totals {
    uint64_t done, failed;
    int64_t simulated_us, cpu_us, steps;
    uint64_t acked, read, committed;
    uint64_t faults;
};

static double wall_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_totals(const struct totals *t, double seconds)
{
    printf("%llu seeds, %llu failed; %.1f simulated hours in %.0f s, %.2f "
           "simulated hours per CPU second; %llu faults, %llu records "
           "acknowledged, %llu read, %llu commits\n",
           (unsigned long long)t->done, (unsigned long long)t->failed,
           (double)t->simulated_us / 3.6e9, seconds,
           t->cpu_us > 0 ? (double)t->simulated_us / 3600 / (double)t->cpu_us
                         : 0,
           (unsigned long long)t->faults, (unsigned long long)t->acked,
           (unsigned long long)t->read, (unsigned long long)t->committed);
    fflush(stdout);
}

static void count(struct totals *t, const struct run_result *r, uint64_t seed)
{
    t->done++;
    t->failed += r->checker[0] != '\0';
    t->simulated_us += r->simulated_us;
    t->cpu_us += r->cpu_us;
    t->steps += r->steps;
    t->acked += r->acked;
    t->read += r->read;
    t->committed += r->committed;
    t->faults += (uint64_t)r->faults;
    if (args.hash)
        printf("seed %llu hash %016llx%s%s\n", (unsigned long long)seed,
               (unsigned long long)r->hash, r->checker[0] != '\0' ? " " : "",
               r->checker);
}

static uint64_t *seeds_of_file(const char *name, size_t *len)
{
    FILE *f = fopen(name, "r");
    uint64_t *seeds = NULL;
    char line[256];

    *len = 0;
    if (f == NULL) {
        fprintf(stderr, "sim: cannot read %s: %s\n", name, strerror(errno));
        exit(2);
    }
    while (fgets(line, sizeof line, f) != NULL) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);

        if (end == line)
            continue;
        seeds = xrealloc(seeds, (*len + 1) * sizeof *seeds);
        seeds[(*len)++] = seed;
    }
    fclose(f);
    return seeds;
}

static int run_many(void)
{
    struct job jobs[JOBS_MAX] = {{0}};
    struct totals totals = {0};
    double begun = wall_s(), told = begun;
    size_t listed_len = 0;
    uint64_t *listed =
        args.file != NULL ? seeds_of_file(args.file, &listed_len) : NULL;
    uint64_t next = 0, wanted = listed != NULL ? listed_len : args.seeds;
    bool stop = false;
    int running = 0;

    if (args.hours > 0)
        wanted = UINT64_MAX;
    for (;;) {
        if (args.hours > 0 && wall_s() - begun > args.hours * 3600)
            stop = true;
        for (int i = 0; i < args.jobs && !stop && next < wanted; i++) {
            if (jobs[i].pid != 0)
                continue;
            uint64_t seed = listed != NULL ? listed[next] : args.from + next;
            struct run_options o = run_options(seed, args.without);
            jobs[i] = job_start(&o);
            next++;
            running++;
        }
        if (running == 0)
            break;
        struct pollfd polls[JOBS_MAX];
        for (int i = 0; i < args.jobs; i++)
            polls[i] = (struct pollfd){jobs[i].pid != 0 ? jobs[i].from : -1,
                                       POLLIN, 0};
        poll(polls, (nfds_t)args.jobs, 1000);
        for (int i = 0; i < args.jobs; i++) {
            struct run_result r;

            if (jobs[i].pid == 0 || polls[i].revents == 0)
                continue;
            job_end(&jobs[i], &r);
            running--;
            count(&totals, &r, jobs[i].seed);
            if (r.checker[0] != '\0' && !stop) {
                stop = !args.keep_going;
                if (args.keep_going)
                    printf("seed %llu breaks '%s': %s\n",
                           (unsigned long long)jobs[i].seed, r.checker,
                           r.sentence);
                else
                    report(jobs[i].seed, &r);
            }
        }
        if (wall_s() - told > 30) {
            told = wall_s();
            print_totals(&totals, told - begun);
        }
    }
    print_totals(&totals, wall_s() - begun);
    free(listed);
    return totals.failed != 0;
}

static int run_single(void)
{
    struct run_options o = run_options(args.seed, args.without);
    struct run_result r;

    o.print = args.verbose;
    run_child(&o, &r);
    if (args.verbose && r.checker[0] != '\0') {
        printf("seed %llu breaks '%s': %s\n", (unsigned long long)args.seed,
               r.checker, r.sentence);
    } else if (r.checker[0] != '\0') {
        report(args.seed, &r);
    }
    printf("seed %llu hash %016llx: %lld steps, %.1f simulated seconds, %llu "
           "acknowledged, %llu read, %.3f CPU s, %s\n",
           (unsigned long long)args.seed, (unsigned long long)r.hash,
           (long long)r.steps, (double)r.simulated_us / 1e6,
           (unsigned long long)r.acked, (unsigned long long)r.read,
           (double)r.cpu_us / 1e6, r.checker[0] != '\0' ? r.checker : "clean");
    return r.checker[0] != '\0';
}

/* ---- arguments
 * ---------------------------------------------------------------- */

static void take_without(char *list)
{
    char *save = NULL;

    for (char *one = strtok_r(list, ",", &save); one != NULL;
         one = strtok_r(NULL, ",", &save)) {
        unsigned long i = strtoul(one, NULL, 10);

        if (i < PLAN_FAULTS_MAX)
            args.without[i] = true;
    }
}

static void choose_bug(const char *name)
{
    args.bug = name;
    if (planted_choose(name))
        return;
    fprintf(stderr, "sim: there is no planted bug '%s'%s\n", name,
            planted_count() == 0
                ? " in this build; build/tests/sim/sim-planted has them"
                : "; --bugs lists them");
    exit(2);
}

static void list_bugs(void)
{
    for (int i = 1; i <= planted_count(); i++)
        printf("%-40s %s\n", planted_name(i), planted_text(i));
    exit(0);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'n'},
        {"from", required_argument, NULL, 'f'},
        {"hours", required_argument, NULL, 'H'},
        {"file", required_argument, NULL, 'F'},
        {"jobs", required_argument, NULL, 'j'},
        {"bug", required_argument, NULL, 'b'},
        {"bugs", no_argument, NULL, 'B'},
        {"mute", required_argument, NULL, 'm'},
        {"without", required_argument, NULL, 'w'},
        {"verbose", no_argument, NULL, 'v'},
        {"hash", no_argument, NULL, 'x'},
        {"keep-going", no_argument, NULL, 'k'},
        {"no-shrink", no_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    args.jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            args.single = true;
            args.seed = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            args.seeds = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            args.from = strtoull(optarg, NULL, 10);
            break;
        case 'H':
            args.hours = strtod(optarg, NULL);
            break;
        case 'F':
            args.file = optarg;
            break;
        case 'j':
            args.jobs = atoi(optarg);
            break;
        case 'b':
            choose_bug(optarg);
            break;
        case 'B':
            list_bugs();
            break;
        case 'm':
            args.mute = optarg;
            break;
        case 'w':
            take_without(optarg);
            break;
        case 'v':
            args.verbose = true;
            break;
        case 'x':
            args.hash = true;
            break;
        case 'k':
            args.keep_going = true;
            break;
        case 'S':
            args.shrink = false;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind < argc || args.jobs < 1 || args.jobs > JOBS_MAX) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    return args.single ? run_single() : run_many();
}
