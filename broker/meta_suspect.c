/* Brokers that seem to be dead, before the controller has said so.
 *
 * A client that loses its connection to a leader asks another broker for
 * metadata within a millisecond, which is sooner than any controller can elect.
 * It would be told the dead leader once more and come back only after its
 * backoff, up to a second later. So for a moment after a fetcher lost its
 * connection to a broker, answers that would name it wait for the controller's
 * verdict. */
#include "broker/meta_parts.h"

#include "base/alloc.h"

#include <stdlib.h>

/* Outlasts leat.broker.disconnect.grace.ms. */
enum { SUSPICION_MS = 400 };

struct suspicion {
    struct env_task task;
    struct meta *meta;
    int32_t broker;
    bool alive;
};

static void arrived(struct env_task *task)
{
    struct suspicion *s = LIST_ENTRY(task, struct suspicion, task);
    struct meta *m = s->meta;
    size_t at = 0;

    while (at < m->suspects_len && m->suspects[at].broker != s->broker)
        at++;
    if (s->alive) {
        if (at < m->suspects_len)
            m->suspects[at] = m->suspects[--m->suspects_len];
        meta_retry_parked(m);
    } else if (at < META_SUSPECTS_MAX) {
        m->suspects[at].broker = s->broker;
        m->suspects[at].until_ms = env_now_ms(m->env) + SUSPICION_MS;
        if (at == m->suspects_len)
            m->suspects_len++;
    }
    free(s);
}

void meta_suspect_broker(struct meta *m, int32_t broker, bool alive)
{
    struct suspicion *s = xmalloc(sizeof *s);

    *s = (struct suspicion){
        .task.fn = arrived, .meta = m, .broker = broker, .alive = alive};
    env_post(m->env, &s->task);
}

int64_t suspects_wait_ms(struct meta *m)
{
    int64_t now_ms = env_now_ms(m->env), wait_ms = 0;
    size_t kept = 0;

    for (size_t i = 0; i < m->suspects_len; i++) {
        const struct image_broker *b =
            image_broker(&m->image, m->suspects[i].broker);
        int64_t left_ms = m->suspects[i].until_ms - now_ms;

        if (b == NULL || b->fenced || left_ms <= 0)
            continue;
        if (left_ms > wait_ms)
            wait_ms = left_ms;
        m->suspects[kept++] = m->suspects[i];
    }
    m->suspects_len = kept;
    return wait_ms;
}
