/* The simulated world: hosts with disks and clocks, processes with loops, a
 * network, all under virtual time and from one seed.
 *
 * Implements base/env.h (loop.c, net.c here, the files in disk.c), so that the
 * production cores and their drivers run in it unchanged.  One thread; one
 * event after another, in the order of (time, order of insertion).  Nothing
 * reads a real clock, and nothing depends on addresses: one seed gives one run,
 * bit for bit, on any machine.
 *
 * A process that dies takes its loops, works and connections with it in one
 * instant; its memory is not given back, since nobody could say what is safe to
 * free.  So a run lives in an operating system process of its own. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "base/env.h"
#include "base/map.h"
#include "base/prng.h"
#include "tests/sim/disk.h"

enum {
    WORLD_HOSTS_MAX = 24,
    WORLD_HELPERS = 4, /* threads for blocking work, as in production */
};

struct world;
struct host;
struct process;

/* ---- events -------------------------------------------------------------- */

/* Embedded by its owner; zeroed, fn set. */
struct event {
    struct heap_node node; /* key in microseconds */
    void (*fn)(struct event *event);
};

void event_at(struct world *w, struct event *event, int64_t at_us);
void event_in(struct world *w, struct event *event, int64_t delay_us);
void event_cancel(struct world *w, struct event *event);
static inline bool event_pending(const struct event *event)
{
    return heap_has(&event->node);
}

/* ---- what the network does to a direction -------------------------------- */

struct link {
    bool cut; /* nothing arrives */
    int64_t delay_us;
    int64_t jitter_us;     /* at most this much more */
    uint32_t loss_ppm;     /* of segments; each costs a retransmission */
    int64_t bytes_per_s;   /* 0: no limit */
    int64_t busy_until_us; /* of the last segment's last byte */
};

/* ---- hosts --------------------------------------------------------------- */

struct host {
    struct world *world;
    int index;
    char name[16];
    struct disk *disk;
    bool up;                 /* has power */
    struct process *process; /* the one that runs, or NULL */

    /* Clocks: monotonic time runs drift_ppm fast, wall time is off by
     * wall_offset_ms on top. */
    int32_t drift_ppm;
    int64_t wall_offset_ms;

    /* Blocking work takes from work_min_us to work_max_us. */
    int64_t work_min_us;
    int64_t work_max_us;
};

/* Where a process dies, when that is not decided from outside. */
enum doom {
    DOOM_NONE,
    DOOM_BEFORE_SEND, /* at the end of a turn, before anything is sent */
    DOOM_AFTER_WORK,  /* a work has run, and its done() never comes */
};

/* ---- processes ----------------------------------------------------------- */

struct process {
    struct host *host;
    char name[32];
    int number; /* of all processes of the run */
    bool alive;
    bool paused;
    enum doom doom;
    bool doom_is_power; /* the host goes with it */
    struct list loops;  /* struct env */
    /* Works: running ones, and those that wait for a helper or in a lane. */
    struct list works;
    int helpers_busy;
    /* Its blocking work stands still (a disk that hangs). */
    bool disk_stuck;
    /* Called when it was killed or exited; may be NULL. */
    void (*gone)(struct process *p, void *arg);
    void *gone_arg;
    void *owner; /* what runs in it */
};

/* ---- the world ----------------------------------------------------------- */

struct world {
    struct prng prng; /* delays and everything else that nobody decides */
    int64_t now_us;
    struct heap events;
    int64_t steps;
    uint64_t hash; /* of everything that happened so far */
    int processes_made;

    struct host *hosts[WORLD_HOSTS_MAX];
    int hosts_len;
    struct link links[WORLD_HOSTS_MAX][WORLD_HOSTS_MAX]; /* from, to */
    struct list streams;
    uint64_t streams_made;
    struct map listeners; /* "host:port" -> struct port */

    struct process *current; /* whose code runs, or NULL */
    struct env *current_loop;
    /* Set by a fault: the process is killed as soon as its code returns. */
    bool kill_current;
    bool kill_power;

    /* Called after each turn of a loop, for checkers; may be NULL. */
    void (*turned)(struct env *loop, void *arg);
    void *turned_arg;
};

struct world *world_new(uint64_t seed);
/* Runs the next event; false if there is none before until_us (then the clock
 * stands at until_us). */
bool world_step(struct world *w, int64_t until_us);

/* Uniform, inclusive. */
int64_t world_between(struct world *w, int64_t low, int64_t high);
/* True n times of a million. */
bool world_chance(struct world *w, uint32_t ppm);
/* Adds something that happened to the hash. */
void world_note(struct world *w, const void *data, size_t len);
void world_note_number(struct world *w, uint64_t number);

struct host *host_new(struct world *w, const char *name);
/* Every process's clocks, in its host's view. */
int64_t host_mono_us(const struct host *h);
/* The wall clock; for disk_set_clock(). */
int64_t host_wall_ms(void *host);
/* The first world time at which host_mono_us() is at least mono_us. */
int64_t host_world_us(const struct host *h, int64_t mono_us);

struct process *process_new(struct host *h, const char *name);
struct env *process_loop_new(struct process *p, const char *name);
void loop_start(struct env *loop);
void loop_stop(struct env *loop);
struct process *loop_process(const struct env *loop);
const char *loop_name(const struct env *loop);
/* A task that runs on the loop, from outside of any process. */
void loop_call(struct env *loop, struct env_task *task);

/* SIGKILL, or the end of main(): connections end in the peers' eyes. */
void process_kill(struct process *p);
void process_pause(struct process *p);
void process_resume(struct process *p);
/* Power: kills what runs there, loses what was not synced, and nothing tells
 * the peers. */
void host_power_off(struct host *h, enum disk_crash kind);
void host_power_on(struct host *h);

/* ---- network ------------------------------------------------------------- */

/* Links changed: what waited for them goes on. */
void net_links_changed(struct world *w);
/* Resets one random established connection that has an end at the host. */
void net_reset_some(struct world *w, struct host *h);
/* For process_kill() and host_power_on(). */
void net_process_gone(struct process *p, bool silent);
void net_host_back(struct host *h);
/* For the loop's turn: input first, and what was sent last. */
void net_turn_input(struct env *loop);
void net_turn_end(struct env *loop);
bool net_turn_wanted(const struct env *loop);

#endif
