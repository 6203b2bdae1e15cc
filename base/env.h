/* The world, as everything but main() sees it: time, randomness, tasks between
 * threads, blocking work, network, files.
 *
 * One `struct env` is one event loop on one thread ("a loop").  Production
 * implements these functions in base/env_*_libevent.c and base/env_*_posix.c
 * (base/env_libevent.h is what main() needs of it); the simulator links an
 * implementation of its own under virtual time.  Code that uses only this
 * header runs in both, unchanged.
 *
 * Thread: unless said otherwise a function is called on the loop's own thread,
 * and callbacks arrive there, one at a time, never from inside the call that
 * asked for them.
 *
 * Errors of functions that return int: 0 or the count on success, a negative
 * errno (-ENOSPC, -EIO, ...) on failure. */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include "base/heap.h"
#include "base/list.h"
#include "base/slice.h"

struct env;

/* ---- time and chance --------------------------------------------------- */

/* Monotonic, read once per loop turn. */
int64_t env_now_ms(struct env *env);
/* Monotonic, read afresh; for measuring.  Any thread. */
int64_t env_now_us(struct env *env);
/* Since 1970, for timestamps in records; may jump. */
int64_t env_wall_ms(struct env *env);
uint64_t env_random(struct env *env);
/* Blocks for a tenth of a millisecond, for who has to wait for a helper that is
 * in the middle of something.  Nobody has to where works run in one go. */
void env_pause(struct env *env);

/* Embedded by its owner.  Zero-initialise, set fn and arg, then start. */
struct env_timer {
    struct heap_node node;
    void (*fn)(void *arg);
    void *arg;
};

/* Calls fn once, at least delay_ms from now.  Restarts a running timer. */
void env_timer_start(struct env *env, struct env_timer *timer,
                     int64_t delay_ms);
void env_timer_stop(struct env *env, struct env_timer *timer);
static inline bool env_timer_running(const struct env_timer *timer)
{
    return heap_has(&timer->node);
}

/* ---- tasks between loops, blocking work -------------------------------- */

/* Embedded by its owner; belongs to the receiving loop from env_post() until
 * fn is called.  Tasks from one thread to one loop run in the order posted. */
struct env_task {
    struct list link;
    void (*fn)(struct env_task *task);
};

/* Any thread.  fn runs on `to`'s thread. */
void env_post(struct env *to, struct env_task *task);

/* Blocking work (fsync, cold reads, LMDB commits) for a helper thread: run()
 * there, then done() on this loop.  Embedded by its owner, who keeps it alive
 * until done().  Works with one `lane` run one after another in the order
 * given (lane NULL: no order).  The lane pointer is only compared.
 *
 * Urgent is what others wait for with a deadline: votes, following the
 * metadata, connecting.  It goes before all other works but those of its own
 * lane, and helpers of its own keep it from waiting for a disk that hangs. */
struct env_work {
    struct env_task task; /* used by the implementation */
    struct env *home;     /* likewise */
    const void *lane;
    bool urgent;
    void (*run)(struct env_work *work);  /* helper thread */
    void (*done)(struct env_work *work); /* home loop */
};

void env_work_start(struct env *env, struct env_work *work);

/* ---- network: length-prefixed frames over streams ----------------------- */

/* Kafka's framing, in both directions and between our nodes: a 4-byte
 * big-endian length, then that many bytes.  A frame's bytes live in one
 * contiguous buffer that may be shared with other threads by reference. */
struct env_frame {
    uint8_t *data; /* without the length prefix; writable by its one owner */
    size_t len;
    /* the rest belongs to the implementation */
};

/* Any thread. */
struct env_frame *env_frame_ref(struct env_frame *frame);
void env_frame_unref(struct env_frame *frame);

struct env_file;
struct env_conn;
struct env_listener;

/* What goes out: memory and file ranges, in order.  Built by one thread, then
 * handed over. */
struct env_out;

struct env_out *env_out_new(void);
/* Takes over b's memory and leaves it empty. */
void env_out_add_buf(struct env_out *out, struct buf *b);
/* Sent by sendfile, which reads what is not in the page cache on the loop's
 * thread; takes a reference on the file.  The range must exist: a file that
 * ends before it costs the connection. */
void env_out_add_file(struct env_out *out, struct env_file *file,
                      int64_t position, size_t len);
/* Bytes of a frame, by reference (one more; the caller keeps its own). */
void env_out_add_frame(struct env_out *out, struct env_frame *frame,
                       struct slice part);
size_t env_out_len(const struct env_out *out);
void env_out_free(struct env_out *out); /* only if it was never sent */

struct env_conn_ops {
    /* Outgoing connections only: established.  May be NULL. */
    void (*opened)(struct env_conn *conn, void *arg);
    /* One whole frame; the callee owns a reference. */
    void (*frame)(struct env_conn *conn, void *arg, struct env_frame *frame);
    /* Everything queued has been given to the kernel.  May be NULL. */
    void (*drained)(struct env_conn *conn, void *arg);
    /* The end, exactly once, for any reason but env_conn_close(): error is
     * ERR_CLOSED (peer), ERR_REFUSED (never established: a machine says that
     * nobody listens there), ERR_UNREACHABLE (likewise, for any other reason:
     * unknown name, no route, no answer in 10 s), ERR_TOO_LARGE (a length above
     * the limit or negative), ERR_MALFORMED (stream ended inside a frame).
     * `conn` is freed after the call. */
    void (*closed)(struct env_conn *conn, void *arg, int error);
};

/* A bound on what frames from outside may hold of one loop's memory.  Their
 * bytes count from arrival, and whoever gets a frame gives frame->len back when
 * it is done with them.  While the bound is reached, none of the connections
 * that share it is read; only the frame that began first goes on arriving, so
 * that one always ends.  It may therefore be passed by one frame and two reads
 * (ENV_INTAKE_READ_BYTES each at most).  A frame that has been on its way for
 * ENV_INTAKE_PATIENCE_MS while others wait for room costs its connection, with
 * ERR_REQUEST_TIMED_OUT: a stalled sender must not keep the room.  The time
 * does not run, and it is nobody's turn, while the connection is paused. */
struct env_intake;

enum {
    ENV_INTAKE_PATIENCE_MS = 30000,
    ENV_INTAKE_READ_BYTES = 1024 * 1024,
};

struct env_intake *env_intake_new(struct env *env, size_t limit_bytes);
/* After the loop's connections are gone. */
void env_intake_free(struct env_intake *intake);
/* More memory because of a frame, what it was decoded to; on the loop. */
void env_intake_take(struct env_intake *intake, size_t bytes);
/* Any thread. */
void env_intake_give_back(struct env_intake *intake, size_t bytes);
size_t env_intake_used(const struct env_intake *intake);

struct env_listen_options {
    const char *host; /* "" or "0.0.0.0" or "::" for every address */
    uint16_t port;    /* 0: the kernel picks, see env_listener_port() */
    size_t frame_max_bytes;
    struct env_intake *intake; /* of this loop; NULL: no bound */
    int backlog;               /* connections not yet accepted; 0: many */
    int send_buffer_bytes;     /* of each connection; 0: the system sizes it */
    int receive_buffer_bytes;  /* likewise */
    /* Starts paused: guests wait in the backlog until
     * env_listener_resume(). */
    bool paused;
    /* Asked before each accept; false leaves the guest in the backlog and
     * pauses the listener.  May be NULL. */
    bool (*admit)(void *owner);
    /* Nobody came after admit() said yes. */
    void (*unadmit)(void *owner);
    /* Called for each connection; returns the ops and sets *arg, or NULL to
     * refuse it with a reset. */
    const struct env_conn_ops *(*accept)(struct env_conn *conn, void *owner,
                                         void **arg);
    void *owner;
    bool shared; /* SO_REUSEPORT: several loops accept from one port */
    /* An eighth of the process's file descriptors is not for guests: who would
     * get one of those is refused with a reset. */
    bool spares_descriptors;
};

/* On failure *why gets a sentence that the caller frees. */
int env_listen(struct env *env, const struct env_listen_options *options,
               struct env_listener **listener, char **why);
uint16_t env_listener_port(const struct env_listener *listener);
void env_listener_close(struct env_listener *listener);
/* Guests wait in the backlog while it is paused. */
void env_listener_pause(struct env_listener *listener);
void env_listener_resume(struct env_listener *listener);
/* A host's first address, IPv4 before IPv6, as env_conn_peer_host() would
 * write it.  For set-up: a name blocks.  NULL, or why not (static). */
enum { ENV_HOST_BYTES = 46 };
const char *env_look_up(const char *host, char address[ENV_HOST_BYTES]);

/* Never fails at once: refusal arrives by closed().  Names are resolved off the
 * loop. */
struct env_conn *env_connect(struct env *env, const char *host, uint16_t port,
                             size_t frame_max_bytes,
                             const struct env_conn_ops *ops, void *arg);
/* Before it is established: the size of the receive buffer, instead of the
 * system's choice. */
void env_conn_set_receive_buffer(struct env_conn *conn, int bytes);
/* Queues bytes (the caller has put the length prefix in); takes over `out`. */
void env_conn_send(struct env_conn *conn, struct env_out *out);
/* Bytes queued and not yet taken by the kernel. */
size_t env_conn_queued(const struct env_conn *conn);
/* In how many env_conn_send()s they came: each takes some hundred bytes of its
 * own, however short it is. */
size_t env_conn_queued_outs(const struct env_conn *conn);
/* Back-pressure: while paused no frame callback arrives, and the socket is not
 * read beyond what is already buffered; so the peer's end shows after resume,
 * or when something is sent. */
void env_conn_pause(struct env_conn *conn);
void env_conn_resume(struct env_conn *conn);
/* Closes without a closed() callback; queued bytes are dropped. */
void env_conn_close(struct env_conn *conn);
/* No more frames; sends what is queued, then closes; closed() still arrives. */
void env_conn_close_when_sent(struct env_conn *conn);
/* When bytes came or went last, or it was established; env_now_ms(). */
int64_t env_conn_active_ms(const struct env_conn *conn);
/* "192.0.2.7" */
const char *env_conn_peer_host(const struct env_conn *conn);
/* The port this end was accepted on. */
uint16_t env_conn_local_port(const struct env_conn *conn);

/* ---- files --------------------------------------------------------------
 * Any thread, blocking.  Loops call only what ends in the page cache: opens,
 * appends, truncates, metadata; reads with ENV_NOWAIT.  Everything that waits
 * for the disk goes through env_work.  A file is reference counted: a range on
 * its way to a socket keeps it open after it was deleted. */

enum env_open_flags {
    ENV_READ = 1,     /* read only; otherwise read and write */
    ENV_CREATE = 2,   /* create if absent */
    ENV_EXCLUSIVE = 4 /* with ENV_CREATE: fail with -EEXIST */
};

int env_file_open(struct env *env, const char *path, unsigned flags,
                  struct env_file **file);
struct env_file *env_file_ref(struct env_file *file);
void env_file_unref(struct env_file *file);
int64_t env_file_size(struct env_file *file);
/* When its bytes changed last, by whomever; ms since 1970. */
int64_t env_file_changed_ms(struct env_file *file);
/* For a file that was written to stand for an older one; the next sync makes it
 * last. */
int env_file_set_changed_ms(struct env_file *file, int64_t changed_ms);
/* Bytes read; fewer than len only at the end of the file. */
int64_t env_file_read(struct env_file *file, void *data, size_t len,
                      int64_t position);
/* As env_file_read, from the page cache only: -EAGAIN if it would wait.  (File
 * systems that cannot tell, such as tmpfs before Linux 6.6, just read.) */
int64_t env_file_read_nowait(struct env_file *file, void *data, size_t len,
                             int64_t position);
/* All or a negative errno (then the range's content is undefined). */
int env_file_write(struct env_file *file, const struct slice *parts,
                   size_t parts_len, int64_t position);
int env_file_truncate(struct env_file *file, int64_t size);
int env_file_sync(struct env_file *file); /* fdatasync */

int env_rename(struct env *env, const char *from, const char *to);
int env_unlink(struct env *env, const char *path);
int env_mkdir(struct env *env, const char *path); /* 0 if it is there */
int env_rmdir(struct env *env, const char *path);
int env_sync_dir(struct env *env, const char *path);
/* Names in a directory, sorted, without "." and "..".  Caller frees each and
 * the array; *names_len is their count. */
int env_list_dir(struct env *env, const char *path, char ***names,
                 size_t *names_len);
/* 1 file, 2 directory, 0 nothing there. */
int env_path_kind(struct env *env, const char *path);
int env_disk_space(struct env *env, const char *path, int64_t *total_bytes,
                   int64_t *free_bytes);
/* Holds an exclusive lock on path until released; -EAGAIN if another process
 * has it. */
int env_lock_file(struct env *env, const char *path, struct env_file **lock);

/* ---- whole small files --------------------------------------------------*/

/* Reads a file of at most max_bytes; -EFBIG above. */
int env_read_all(struct env *env, const char *path, size_t max_bytes,
                 struct buf *into);
/* Replaces path atomically: temporary file, fsync, rename, directory fsync. */
int env_write_all(struct env *env, const char *path, struct slice data);

#endif
