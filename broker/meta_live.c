/* The node's configuration as the metadata changes it: one struct live for each
 * change, told to the shards and the listeners.
 *
 * Names among max.connections.per.ip.overrides are looked up by a helper, once
 * for each text; changes meanwhile are taken together when it is back. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/live.h"

#include <stdlib.h>

/* What was taken at another rate says nothing of this one. */
static void begin_rates_anew(struct meta *m, const struct server_config *now)
{
    const struct server_config *old =
        m->live.now != NULL ? &m->live.now->config : m->broker->config;
    struct rate *rates = m->broker->replicated;

    if (old->leader_replication_throttled_rate !=
        now->leader_replication_throttled_rate)
        atomic_store(&rates[THROTTLE_LEADER].due_ns, 0);
    if (old->follower_replication_throttled_rate !=
        now->follower_replication_throttled_rate)
        atomic_store(&rates[THROTTLE_FOLLOWER].due_ns, 0);
}

static void tell(struct meta *m, struct live *live)
{
    begin_rates_anew(m, &live->config);
    for (int i = 0; i < m->broker->shards_len; i++) {
        struct shard_updates *u = shard_updates_new(m->broker->shards[i]);
        struct shard_update *item = shard_updates_add(u);

        item->kind = SHARD_LIVE;
        item->live = live_ref(live);
        shard_updates_post(u);
    }
    if (m->broker->reconfigured != NULL)
        m->broker->reconfigured(m->broker->reconfigured_arg, live);
    live_unref(m->live.now);
    m->live.now = live;
}

static void run_look_up(struct env_work *work)
{
    struct live_change *c = LIST_ENTRY(work, struct live_change, work);

    live_look_up(c->next, slice_str(c->text), &c->why);
}

static void looked_up(struct env_work *work)
{
    struct live_change *c = LIST_ENTRY(work, struct live_change, work);
    struct meta *m = c->meta;

    c->running = false;
    if (c->why != NULL)
        log_warn("server", "%s; nothing else counts for it meanwhile", c->why);
    free(c->why);
    c->why = NULL;
    tell(m, c->next);
    c->next = NULL;
    if (c->again)
        live_refresh(m);
}

static bool is_looked_up(const struct live_change *c, struct slice text)
{
    return c->now != NULL && c->text != NULL && slice_eq_str(text, c->text);
}

static void take_overrides(struct live *to, const struct live *from)
{
    MAP_EACH (e, &from->overrides) {
        int32_t *max = xmalloc(sizeof *max);

        *max = *(const int32_t *)e->value;
        map_put(&to->overrides, e->key, max);
    }
}

void live_refresh(struct meta *m)
{
    struct live_change *c = &m->live;
    struct config_layers layers = meta_config_layers(m, NULL);
    struct slice text = live_overrides_text(&layers);

    c->again = c->running;
    if (c->running)
        return;
    struct live *next = live_new(m->broker->config, &layers);
    if (is_looked_up(c, text)) {
        take_overrides(next, c->now);
        tell(m, next);
        return;
    }
    free(c->text);
    c->text = slice_dup(text);
    if (text.len == 0) {
        tell(m, next);
        return;
    }
    c->meta = m;
    c->next = next;
    c->running = true;
    c->work = (struct env_work){.run = run_look_up, .done = looked_up};
    env_work_start(m->env, &c->work);
}

void live_free(struct meta *m)
{
    /* A look-up under way goes with the process. */
    if (!m->live.running)
        free(m->live.text);
    live_unref(m->live.now);
}
