/* What the files of the production environment share with each other; nobody
 * else includes this.
 *
 *   env_libevent.c          the loop: turns, clock, timers, tasks, signals
 *   env_work_posix.c        helper threads
 *   env_frame_posix.c       received frames and their buffers
 *   env_conn_libevent.c     a connection's life and its receiving half
 *   env_intake.c            a bound on what frames hold
 *   env_send_posix.c        its sending half
 *   env_connect_libevent.c  outgoing: names, addresses, attempts
 *   env_listen_libevent.c   incoming
 *   env_file_posix.c        files */
#ifndef BASE_ENV_INTERNAL_H
#define BASE_ENV_INTERNAL_H

/* libevent's headers first: they bring and remove a LIST_ENTRY of their own. */
#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/env.h"

#include <stdatomic.h>
#include <sys/socket.h>

enum {
    /* What one read may bring without knowing the frames it holds. */
    ENV_SCRATCH_BYTES = 64 * 1024,
};

/* ---- the loop ------------------------------------------------------------*/

struct env {
    struct event_base *base;
    atomic_bool stopping;

    /* Clock: read by the first callback of a turn. */
    int64_t now_ms;
    bool clock_stale;

    /* Timers: a heap, and one timerfd that is armed no later than its first
     * deadline.  A deadline that moves away leaves the descriptor armed: one
     * idle wake-up is cheaper than a system call for each restart. */
    struct heap timers;
    int timer_fd;
    struct event timer_event;
    int64_t armed_ms; /* INT64_MAX: not armed */

    /* Tasks: other threads push on `inbox` (a stack through link.next, turned
     * round when it is taken); this thread appends to `local`. */
    _Atomic(struct list *) inbox;
    struct list local;
    /* True while the loop may block in the kernel: the poster that flips it
     * to false writes wake_fd. */
    atomic_bool asleep;
    int wake_fd;
    struct event wake_event;

    /* Network.  A connection is in `conns` from birth to its last callback,
     * then in `dead` until the end of the turn. */
    struct list conns;
    struct list listeners;
    struct list closed_listeners; /* freed at the end of the turn */
    struct list lookups;          /* of names, struct env_dial */
    struct list dirty; /* connections with bytes to flush this turn */
    struct list later; /* connections with something to do next turn */
    struct list dead;
    uint8_t *scratch;      /* ENV_SCRATCH_BYTES, allocated on first use */
    struct env_timer trim; /* gives idle frame buffers back */

    struct list signals;
    atomic_size_t works; /* env_work started and not yet posted back */

    uint8_t random[256];
    size_t random_left;
};

/* First thing in every libevent callback: refreshes the clock once a turn. */
void env_turn_begin(struct env *env);

/* ---- helper threads ------------------------------------------------------*/

/* A loop was created; the last one to leave ends the threads. */
void env_work_join_pool(void);
/* Closes a descriptor on a helper thread: the last one of a file without a
 * name waits until the disk has taken what was on its way there. */
void env_work_close(struct env *env, int fd);
/* Waits until none of env's works is queued or running. */
void env_work_leave_pool(struct env *env);

/* ---- frames --------------------------------------------------------------*/

/* A frame with one reference, len 0 and room for cap bytes. */
struct env_frame *env_frame_new(size_t cap);
size_t env_frame_cap(const struct env_frame *frame);
/* Makes room for cap bytes, keeping the first len; the frame may move. */
struct env_frame *env_frame_grow(struct env_frame *frame, size_t cap);
/* Frees buffers that nobody wanted since the last call; returns the bytes
 * still kept.  now_ms spaces the calls of several loops. */
size_t env_frame_trim(int64_t now_ms);

/* ---- connections ---------------------------------------------------------*/

enum env_conn_state {
    CONN_CONNECTING, /* fd may be -1 */
    CONN_OPEN,
    CONN_LINGERING, /* closed for the owner, waiting for the peer's end */
    CONN_DEAD,      /* descriptor closed, memory freed at the turn's end */
};

struct env_dial;

struct env_conn {
    struct env *env;
    const struct env_conn_ops *ops;
    void *arg;
    enum env_conn_state state;
    int fd;
    struct list link;       /* env->conns, later env->dead */
    struct list dirty_link; /* env->dirty */
    struct list later_link; /* env->later */
    struct event read_event;
    struct event write_event;
    struct env_timer timer; /* connecting: give up; lingering: likewise */
    bool read_on;           /* read_event is added */
    bool write_on;          /* write_event is added: the kernel was full */

    /* Receiving.  Of a frame under way: first its length in `head`, then its
     * bytes in `frame`, of which frame->len have arrived of frame_len. */
    size_t frame_max_bytes;
    uint8_t head[4];
    uint8_t head_len;
    struct env_frame *frame;
    size_t frame_len;
    bool paused;
    bool big;        /* the last frame did not fit the scratch buffer */
    struct buf held; /* bytes read when the owner paused, from held_at on */
    size_t held_at;
    struct env_intake *intake;   /* or NULL */
    struct list intake_waiting;  /* intake->waiting: wants to read, must not */
    struct list intake_arriving; /* intake->arriving: a frame is under way */
    int64_t frame_began_ms;      /* in that list */
    int64_t active_ms;           /* bytes came or went */
    int receive_buffer_bytes;    /* to be set when dialling; 0: not */

    /* Sending. */
    struct list outs; /* struct env_out, the first one perhaps half sent */
    size_t queued;    /* bytes in outs not yet taken by the kernel */
    size_t outs_len;
    bool closing; /* env_conn_close_when_sent() */

    uint16_t local_port;
    char peer_host[ENV_HOST_BYTES];
    struct env_dial *dial; /* outgoing, until established */
};

/* fd -1: to be dialled. */
struct env_conn *env_conn_new(struct env *env, int fd, size_t frame_max_bytes);
/* The descriptor is connected: set its options, start reading. */
void env_conn_start(struct env_conn *conn);
/* The end with closed(error); harmless for a dead connection. */
void env_conn_end(struct env_conn *conn, int error);
/* Binds write_event to the descriptor of this attempt. */
void env_conn_watch_write(struct env_conn *conn);
/* Everything is sent and the owner wanted the end: says so to both. */
void env_conn_finish(struct env_conn *conn);
/* Releases what a turn left over: `later`, then `dirty`, then `dead`. */
void env_conn_turn_end(struct env *env);
/* For env_free(): every connection, without callbacks. */
void env_conns_free(struct env *env);
/* Frees env->dead. */
void env_conn_bury(struct env *env);
void env_conn_flush(struct env_conn *conn);
/* To be flushed at the end of the turn. */
void env_conn_make_dirty(struct env_conn *conn);
void env_conn_drop_outs(struct env_conn *conn);
void env_conn_set_peer(struct env_conn *conn, const struct sockaddr *address);
void env_print_address(const struct sockaddr *address,
                       char text[ENV_HOST_BYTES]);

/* ---- the bound on frames -------------------------------------------------*/

struct env_intake {
    struct env *env;
    size_t limit_bytes;
    atomic_size_t used_bytes;
    struct list waiting;       /* in the order in which they found it full */
    struct list arriving;      /* by the beginning of their frame */
    struct env_timer patience; /* runs while somebody waits */
    /* Who gives back from another thread wakes the loop if somebody waits. */
    atomic_bool wanted;
    atomic_bool wake_posted;
    struct env_task wake;
};

/* False if the connection must not take more bytes now; it then waits and is
 * woken through env->later. */
bool env_intake_open(struct env_conn *conn);
/* A frame begins, ends, or the connection does. */
void env_intake_begin(struct env_conn *conn);
void env_intake_end(struct env_conn *conn);
/* It will not be read for a while, or ever again: a frame under way keeps its
 * bytes and loses its place, and gets a new one at the end. */
void env_intake_pause(struct env_conn *conn);
void env_intake_resume(struct env_conn *conn);
/* The connection is no more; `bytes` of a frame under way come back. */
void env_intake_leave(struct env_conn *conn, size_t bytes);
/* Room may be left: wakes the next one. */
void env_intake_next(struct env_intake *intake);

/* Opens the next address, or starts the look-up. */
void env_dial_start(struct env_conn *conn);
/* write_event of a connecting descriptor. */
void env_dial_writable(struct env_conn *conn);
void env_dial_timeout(struct env_conn *conn);
void env_dial_free(struct env_dial *dial);

/* Frees those that were closed in this turn. */
void env_listeners_bury(struct env *env);
/* For env_free(). */
void env_listeners_hang_up(struct env *env);
void env_listeners_free(struct env *env);
void env_lookups_free(struct env *env);

int env_file_fd(const struct env_file *file);

#endif
