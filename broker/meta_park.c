/* Requests that wait a moment for metadata: a topic that is being created, a
 * controller's answer that the image must catch up with.  They are few, so
 * each change of the image tries them all. */
#include "broker/meta_parts.h"

void meta_unpark(struct parked *p)
{
    env_timer_stop(p->meta->env, &p->timer);
    list_remove(&p->link);
}

static void on_late(void *arg)
{
    struct parked *p = arg;

    p->retry(p, true);
}

void meta_park(struct meta *m, struct parked *p, int64_t wait_ms)
{
    p->meta = m;
    p->timer = (struct env_timer){.fn = on_late, .arg = p};
    list_init(&p->link);
    list_push_back(&m->parked, &p->link);
    env_timer_start(m->env, &p->timer, wait_ms);
}

/* Those that wait on keep their order; those that come meanwhile stand in
 * line. */
void meta_retry_parked(struct meta *m)
{
    struct list all;

    list_init(&all);
    list_append_all(&all, &m->parked);
    for (struct list *node; (node = list_pop_front(&all)) != NULL;) {
        struct parked *p = LIST_ENTRY(node, struct parked, link);

        list_push_back(&m->parked, &p->link);
        p->retry(p, false);
    }
}
