/* The bound on what frames from outside hold (see base/env.h).
 *
 * Connections ask env_intake_open() before they take bytes from the socket or
 * from what was read before.  One that is told no leaves its read event off and
 * queues in `waiting`.  Waking is a chain: whoever gives bytes back wakes the
 * first in the queue, and who was woken wakes the next when it has read and
 * room is left.  So the cost follows the bytes, not the number of those that
 * wait.
 *
 * The frame that began first may pass the bound by its own length: without that
 * rule many half frames could fill the room, and none of them would ever end.
 * By no more, because those that ended in this way and are still in use hold
 * room, too.  (One read's worth is added for what the last read of another
 * connection may have brought beyond the bound.)
 *
 * A connection that its owner has paused is neither: its half frame does not
 * go on, so it must not be the one that all others wait for. */
#include "base/alloc.h"
#include "base/env_internal.h"
#include "base/error.h"

#include <stdlib.h>

static void on_wake(struct env_task *task);
static void on_patience(void *arg);

struct env_intake *env_intake_new(struct env *env, size_t limit_bytes)
{
    struct env_intake *intake = xcalloc(1, sizeof *intake);

    intake->env = env;
    intake->limit_bytes = limit_bytes;
    list_init(&intake->waiting);
    list_init(&intake->arriving);
    intake->patience.fn = on_patience;
    intake->patience.arg = intake;
    intake->wake.fn = on_wake;
    return intake;
}

void env_intake_free(struct env_intake *intake)
{
    if (intake == NULL)
        return;
    env_timer_stop(intake->env, &intake->patience);
    free(intake);
}

size_t env_intake_used(const struct env_intake *intake)
{
    return atomic_load(&intake->used_bytes);
}

static struct env_conn *first_arriving(const struct env_intake *intake)
{
    return list_empty(&intake->arriving)
               ? NULL
               : LIST_ENTRY(intake->arriving.next, struct env_conn,
                            intake_arriving);
}

static bool full(const struct env_intake *intake)
{
    return env_intake_used(intake) >= intake->limit_bytes;
}

static bool may_take(const struct env_intake *intake,
                     const struct env_conn *conn)
{
    if (first_arriving(intake) != conn)
        return !full(intake);
    return env_intake_used(intake) <
           intake->limit_bytes + conn->frame_len + ENV_INTAKE_READ_BYTES;
}

/* ---- waiting -------------------------------------------------------------*/

static void wake(struct env_conn *conn)
{
    list_remove(&conn->intake_waiting);
    if (list_unlinked(&conn->later_link))
        list_push_back(&conn->env->later, &conn->later_link);
}

void env_intake_next(struct env_intake *intake)
{
    struct env_conn *first = first_arriving(intake);

    if (list_empty(&intake->waiting))
        return;
    if (first != NULL && !list_unlinked(&first->intake_waiting) &&
        may_take(intake, first))
        wake(first);
    else if (!full(intake))
        wake(LIST_ENTRY(intake->waiting.next, struct env_conn, intake_waiting));
    if (list_empty(&intake->waiting)) {
        atomic_store(&intake->wanted, false);
        env_timer_stop(intake->env, &intake->patience);
    }
}

static void on_wake(struct env_task *task)
{
    struct env_intake *intake = LIST_ENTRY(task, struct env_intake, wake);

    atomic_store(&intake->wake_posted, false);
    env_intake_next(intake);
}

static void post_wake(struct env_intake *intake)
{
    if (!atomic_exchange(&intake->wake_posted, true))
        env_post(intake->env, &intake->wake);
}

/* What is left of the time of the frame that holds room longest. */
static int64_t patience_left_ms(const struct env_intake *intake)
{
    const struct env_conn *first = first_arriving(intake);

    if (first == NULL)
        return ENV_INTAKE_PATIENCE_MS;
    return first->frame_began_ms + ENV_INTAKE_PATIENCE_MS -
           env_now_ms(intake->env);
}

static void be_patient(struct env_intake *intake)
{
    int64_t left = patience_left_ms(intake);

    if (!list_empty(&intake->waiting) && !env_timer_running(&intake->patience))
        env_timer_start(intake->env, &intake->patience, left > 0 ? left : 0);
}

static void on_patience(void *arg)
{
    struct env_intake *intake = arg;

    if (!list_empty(&intake->waiting) && patience_left_ms(intake) <= 0)
        env_conn_end(first_arriving(intake), ERR_REQUEST_TIMED_OUT);
    be_patient(intake);
}

bool env_intake_open(struct env_conn *conn)
{
    struct env_intake *intake = conn->intake;

    if (intake == NULL || may_take(intake, conn))
        return true;
    if (list_unlinked(&conn->intake_waiting))
        list_push_back(&intake->waiting, &conn->intake_waiting);
    be_patient(intake);
    /* In this order, and the other way round in give_back(): one of the two
     * sees what the other did. */
    atomic_store(&intake->wanted, true);
    if (may_take(intake, conn))
        post_wake(intake);
    return false;
}

/* ---- bytes ---------------------------------------------------------------*/

void env_intake_take(struct env_intake *intake, size_t bytes)
{
    atomic_fetch_add(&intake->used_bytes, bytes);
}

void env_intake_give_back(struct env_intake *intake, size_t bytes)
{
    size_t before = atomic_fetch_sub(&intake->used_bytes, bytes);

    ASSERT(before >= bytes);
    if (atomic_load(&intake->wanted))
        post_wake(intake);
}

void env_intake_begin(struct env_conn *conn)
{
    if (conn->intake == NULL)
        return;
    conn->frame_began_ms = env_now_ms(conn->env);
    list_push_back(&conn->intake->arriving, &conn->intake_arriving);
}

void env_intake_end(struct env_conn *conn)
{
    if (conn->intake == NULL)
        return;
    bool was_first = first_arriving(conn->intake) == conn;

    list_remove(&conn->intake_arriving);
    if (was_first)
        env_intake_next(conn->intake);
}

void env_intake_pause(struct env_conn *conn)
{
    if (conn->intake == NULL)
        return;
    list_remove(&conn->intake_arriving);
    list_remove(&conn->intake_waiting);
    env_intake_next(conn->intake);
}

void env_intake_resume(struct env_conn *conn)
{
    if (conn->intake == NULL)
        return;
    if (conn->frame != NULL && list_unlinked(&conn->intake_arriving))
        env_intake_begin(conn);
    env_intake_next(conn->intake);
}

void env_intake_leave(struct env_conn *conn, size_t bytes)
{
    if (conn->intake == NULL)
        return;
    list_remove(&conn->intake_waiting);
    env_intake_end(conn);
    env_intake_give_back(conn->intake, bytes);
    env_intake_next(conn->intake);
}
