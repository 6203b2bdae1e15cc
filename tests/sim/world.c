#include "tests/sim/world.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "tests/sim/loop.h"

#include <stdio.h>
#include <stdlib.h>

enum { WALL_START_MS = 1700000000 };

/* ---- events -------------------------------------------------------------- */

void event_at(struct world *w, struct event *event, int64_t at_us)
{
    ASSERT(event->fn != NULL);
    heap_set(&w->events, &event->node, at_us > w->now_us ? at_us : w->now_us);
}

void event_in(struct world *w, struct event *event, int64_t delay_us)
{
    event_at(w, event, w->now_us + delay_us);
}

void event_cancel(struct world *w, struct event *event)
{
    heap_remove(&w->events, &event->node);
}

bool world_step(struct world *w, int64_t until_us)
{
    struct heap_node *first = heap_first(&w->events);

    if (first == NULL || first->key > until_us) {
        w->now_us = until_us;
        return false;
    }
    struct event *event = HEAP_ENTRY(first, struct event, node);
    w->now_us = first->key;
    w->steps++;
    heap_remove(&w->events, first);
    event->fn(event);
    return true;
}

/* ---- chance -------------------------------------------------------------- */

struct world *world_new(uint64_t seed)
{
    struct world *w = xcalloc(1, sizeof *w);

    w->prng.state = seed;
    w->hash = seed;
    /* Nothing in the product may depend on its clock being near zero. */
    w->now_us = 1000000;
    list_init(&w->streams);
    return w;
}

int64_t world_between(struct world *w, int64_t low, int64_t high)
{
    ASSERT(low <= high);
    return low + (int64_t)prng_below(&w->prng, (uint64_t)(high - low) + 1);
}

bool world_chance(struct world *w, uint32_t ppm)
{
    return ppm != 0 && prng_below(&w->prng, 1000000) < ppm;
}

void world_note(struct world *w, const void *data, size_t len)
{
    w->hash = (w->hash ^ hash_bytes(data, len)) * 0x9e3779b97f4a7c15u;
}

void world_note_number(struct world *w, uint64_t number)
{
    w->hash = (w->hash ^ number) * 0x9e3779b97f4a7c15u;
    w->hash ^= w->hash >> 29;
}

/* ---- hosts --------------------------------------------------------------- */

int64_t host_wall_ms(void *host)
{
    const struct host *h = host;

    return (int64_t)WALL_START_MS * 1000 + h->wall_offset_ms +
           host_mono_us(h) / 1000;
}

struct host *host_new(struct world *w, const char *name)
{
    struct host *h = xcalloc(1, sizeof *h);

    ASSERT(w->hosts_len < WORLD_HOSTS_MAX);
    h->world = w;
    h->index = w->hosts_len;
    snprintf(h->name, sizeof h->name, "%s", name);
    h->disk = disk_new(prng_next(&w->prng));
    disk_set_clock(h->disk, host_wall_ms, h);
    h->up = true;
    h->work_min_us = 20;
    h->work_max_us = 500;
    w->hosts[w->hosts_len++] = h;
    for (int i = 0; i < w->hosts_len; i++) {
        struct link fresh = {.delay_us = 50, .jitter_us = 50};

        w->links[i][h->index] = w->links[h->index][i] = fresh;
    }
    return h;
}

int64_t host_mono_us(const struct host *h)
{
    int64_t now = h->world->now_us;

    return now + (int64_t)((__int128)now * h->drift_ppm / 1000000);
}

int64_t host_world_us(const struct host *h, int64_t mono_us)
{
    int64_t now = h->world->now_us;
    int64_t missing = mono_us - host_mono_us(h);

    if (missing <= 0)
        return now;
    /* Near enough; a turn that comes too early asks again. */
    return now +
           (int64_t)((__int128)missing * 1000000 / (1000000 + h->drift_ppm)) +
           1;
}

/* ---- processes ----------------------------------------------------------- */

struct process *process_new(struct host *h, const char *name)
{
    struct process *p = xcalloc(1, sizeof *p);

    ASSERT(h->up && h->process == NULL);
    p->host = h;
    p->number = h->world->processes_made++;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->alive = true;
    list_init(&p->loops);
    list_init(&p->works);
    h->process = p;
    return p;
}

static void process_end(struct process *p, bool silent)
{
    struct world *w = p->host->world;

    if (!p->alive)
        return;
    p->alive = false;
    p->host->process = NULL;
    LIST_EACH (node, &p->loops) {
        struct env *loop = LIST_ENTRY(node, struct env, link);

        loop->running = false;
        event_cancel(w, &loop->turn);
    }
    net_process_gone(p, silent);
    disk_release(p->host->disk, p);
    if (p->gone != NULL)
        p->gone(p, p->gone_arg);
}

void process_kill(struct process *p) { process_end(p, false); }

void process_pause(struct process *p) { p->paused = true; }

void host_power_off(struct host *h, enum disk_crash kind)
{
    if (!h->up)
        return;
    h->up = false;
    if (h->process != NULL)
        process_end(h->process, true);
    disk_crash(h->disk, kind);
}

void host_power_on(struct host *h)
{
    if (h->up)
        return;
    h->up = true;
    net_host_back(h);
}
