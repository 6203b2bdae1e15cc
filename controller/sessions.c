/* Who is still there.
 *
 * One timer per broker that isn't fenced: the session timeout after its last
 * heartbeat, or the shorter grace after its connection was lost.  When several
 * are due together none of them may be elected in the place of another, so
 * all are marked before the first is moved.
 *
 * A tick that comes late says that this controller did not run: heartbeats
 * could not be heard, and whoever sends them may have stood still on the same
 * machine. So everybody gets as much time again from now on, once for each
 * silence. */
#include "controller/step.h"

enum { STALL_PARTS = 16 }; /* late by this part of a session: we stood still */

static int64_t session_deadline(const struct controller *c,
                                const struct controller_broker *b)
{
    int64_t deadline_ms = b->contact_ms + c->config.broker_session_timeout_ms;
    int64_t grace_ms = b->lost_ms + c->config.broker_disconnect_grace_ms;

    return (b->lost && grace_ms < deadline_ms ? grace_ms : deadline_ms) +
           b->forgiven_ms;
}

void session_heard(struct controller *c, struct controller_broker *b)
{
    b->contact_ms = c->now_ms;
    b->forgiven_ms = 0;
    b->heard = true;
    b->lost = false;
    if (heap_has(&b->session))
        session_restart(c, b);
}

void session_restart(struct controller *c, struct controller_broker *b)
{
    heap_set(&c->sessions, &b->session, session_deadline(c, b));
}

/* Whether the process that is registered is surely there. */
bool session_is_valid(const struct controller *c,
                      const struct controller_broker *b)
{
    return b->heard && !b->lost && c->now_ms < session_deadline(c, b);
}

/* After an activation nobody has been heard, and everybody gets full time. */
void sessions_start(struct controller *c)
{
    for (size_t i = 0; i < c->image.brokers_len; i++) {
        struct controller_broker *b = step_broker(c, c->image.brokers[i]->id);

        b->contact_ms = c->now_ms;
        b->forgiven_ms = 0;
        b->applied_index = -1;
        b->shutdown_index = c->image.applied_index;
        if (!c->image.brokers[i]->fenced)
            session_restart(c, b);
    }
}

void session_lost(struct step *s, int32_t id, int64_t epoch)
{
    const struct image_broker *registered = image_broker(s->image, id);

    if (registered == NULL || registered->epoch != epoch)
        return;
    struct controller_broker *b = step_broker(s->c, id);
    if (b->lost)
        return;
    b->lost = true;
    b->lost_ms = s->now_ms;
    if (heap_has(&b->session))
        session_restart(s->c, b);
}

void session_gone(struct step *s, int32_t id, int64_t epoch)
{
    const struct image_broker *registered = image_broker(s->image, id);

    if (registered == NULL || registered->epoch != epoch)
        return;
    struct controller_broker *b = step_broker(s->c, id);
    if (!heap_has(&b->session) || (b->heard && !b->lost))
        return;
    heap_remove(&s->c->sessions, &b->session);
    s->c->sessions_expired++;
    broker_fence(s, id);
}

void broker_fence(struct step *s, int32_t id)
{
    struct controller_broker *b = step_broker(s->c, id);
    struct arena scratch;

    b->leaving = true;
    partitions_leave(s, id, LOSS_NONE);
    arena_init(&scratch, 0);
    Leat__BrokerRecord r =
        record_of_broker(image_broker(s->image, id), &scratch);
    r.fenced = true;
    r.in_controlled_shutdown = false;
    step_put(s, &RECORD(broker, BROKER, &r));
    arena_free(&scratch);
    b->leaving = false;
}

static void forgive(struct controller *c, struct controller_broker *b,
                    int64_t until_ms)
{
    if (!heap_has(&b->session) || b->forgiven_ms != 0 ||
        b->session.key >= until_ms)
        return;
    b->forgiven_ms = until_ms - b->session.key;
    session_restart(c, b);
}

static void forgive_stall(struct step *s)
{
    struct controller *c = s->c;
    struct heap_node *first = heap_first(&c->sessions);
    int64_t late_ms = first != NULL ? s->now_ms - first->key : 0;

    if (late_ms <= c->config.broker_session_timeout_ms / STALL_PARTS)
        return;
    if (late_ms > c->config.broker_session_timeout_ms)
        late_ms = c->config.broker_session_timeout_ms;
    for (size_t i = 0; i < s->image->brokers_len; i++)
        forgive(c, step_broker(c, s->image->brokers[i]->id),
                s->now_ms + late_ms);
}

void sessions_tick(struct step *s)
{
    struct controller_broker **due =
        arena_array(s->arena, s->c->sessions.len + 1, sizeof *due);
    size_t count = 0;
    struct heap_node *first;

    forgive_stall(s);
    while ((first = heap_first(&s->c->sessions)) != NULL &&
           first->key <= s->now_ms) {
        struct controller_broker *b =
            HEAP_ENTRY(first, struct controller_broker, session);

        heap_remove(&s->c->sessions, first);
        b->leaving = true;
        due[count++] = b;
    }
    for (size_t i = 0; i < count; i++) {
        s->c->sessions_expired++;
        broker_fence(s, due[i]->id);
    }
}
