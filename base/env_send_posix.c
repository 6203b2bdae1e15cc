/* What goes out: chunks of memory and file ranges, and the sending half of a
 * connection.
 *
 * env_conn_send() only queues.  At the end of the turn each connection that got
 * something is flushed: consecutive memory chunks of all its queued answers in
 * one sendmsg, a file range by sendfile, with MSG_MORE on the memory before it
 * so that header and records share packets.  If the kernel takes less than it
 * was offered the write event is added, and the rest follows when it fires.
 *
 * send_memory() and send_file() are the only places where bytes leave; another
 * transport replaces these two. */
#include "base/env_internal.h"
#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    /* Sent to one connection before others get their turn. */
    SEND_TURN_BYTES = 4 * 1024 * 1024,
    SEND_PARTS_MAX = 64,
    OUT_CHUNKS_INLINE = 4,
};

enum chunk_kind { CHUNK_MEMORY, CHUNK_FRAME, CHUNK_FILE };

struct chunk {
    enum chunk_kind kind;
    size_t len;          /* left to send */
    const uint8_t *data; /* memory and frame: next byte */
    int64_t position;    /* file: next byte */
    union {
        uint8_t *memory;
        struct env_frame *frame;
        struct env_file *file;
    } owner; /* freed, or one reference dropped, when sent */
};

struct env_out {
    struct list link;     /* conn->outs */
    struct chunk *chunks; /* few, or an allocation */
    size_t chunks_len;
    size_t chunks_cap;
    size_t at;  /* first chunk not yet sent whole */
    size_t len; /* bytes left */
    struct chunk few[OUT_CHUNKS_INLINE];
};

/* ---- building ------------------------------------------------------------*/

struct env_out *env_out_new(void)
{
    struct env_out *out = xmalloc(sizeof *out);

    list_init(&out->link);
    out->chunks = out->few;
    out->chunks_len = out->at = out->len = 0;
    out->chunks_cap = OUT_CHUNKS_INLINE;
    return out;
}

static struct chunk *add(struct env_out *out, enum chunk_kind kind, size_t len)
{
    if (out->chunks_len == out->chunks_cap) {
        size_t bytes = out->chunks_cap * sizeof *out->chunks;

        if (out->chunks == out->few)
            out->chunks = memcpy(xmalloc(2 * bytes), out->few, bytes);
        else
            out->chunks = xrealloc(out->chunks, 2 * bytes);
        out->chunks_cap *= 2;
    }
    struct chunk *chunk = &out->chunks[out->chunks_len++];
    *chunk = (struct chunk){.kind = kind, .len = len};
    out->len += len;
    return chunk;
}

void env_out_add_buf(struct env_out *out, struct buf *b)
{
    if (b->len != 0) {
        struct chunk *chunk = add(out, CHUNK_MEMORY, b->len);

        chunk->data = chunk->owner.memory = b->data;
        *b = BUF_INIT;
    }
    buf_free(b);
}

void env_out_add_file(struct env_out *out, struct env_file *file,
                      int64_t position, size_t len)
{
    if (len == 0)
        return;
    struct chunk *chunk = add(out, CHUNK_FILE, len);
    chunk->position = position;
    chunk->owner.file = env_file_ref(file);
}

void env_out_add_frame(struct env_out *out, struct env_frame *frame,
                       struct slice part)
{
    if (part.len == 0)
        return;
    ASSERT(part.data >= frame->data &&
           part.data + part.len <= frame->data + frame->len);
    struct chunk *chunk = add(out, CHUNK_FRAME, part.len);
    chunk->data = part.data;
    chunk->owner.frame = env_frame_ref(frame);
}

size_t env_out_len(const struct env_out *out) { return out->len; }

static void chunk_release(struct chunk *chunk)
{
    switch (chunk->kind) {
    case CHUNK_MEMORY:
        free(chunk->owner.memory);
        break;
    case CHUNK_FRAME:
        env_frame_unref(chunk->owner.frame);
        break;
    case CHUNK_FILE:
        env_file_unref(chunk->owner.file);
        break;
    }
}

void env_out_free(struct env_out *out)
{
    for (size_t i = out->at; i < out->chunks_len; i++)
        chunk_release(&out->chunks[i]);
    if (out->chunks != out->few)
        free(out->chunks);
    free(out);
}

/* ---- the queue -----------------------------------------------------------*/

static struct env_out *first_out(struct env_conn *conn)
{
    return list_empty(&conn->outs)
               ? NULL
               : LIST_ENTRY(conn->outs.next, struct env_out, link);
}

/* n bytes of the queue's front are with the kernel. */
static void queue_advance(struct env_conn *conn, size_t n)
{
    conn->queued -= n;
    conn->active_ms = env_now_ms(conn->env);
    while (n != 0) {
        struct env_out *out = first_out(conn);
        struct chunk *chunk = &out->chunks[out->at];
        size_t part = n < chunk->len ? n : chunk->len;

        n -= part;
        out->len -= part;
        chunk->len -= part;
        if (chunk->kind == CHUNK_FILE)
            chunk->position += (int64_t)part;
        else
            chunk->data += part;
        if (chunk->len != 0)
            return;
        chunk_release(chunk);
        if (++out->at == out->chunks_len) {
            list_remove(&out->link);
            conn->outs_len--;
            env_out_free(out);
        }
    }
}

void env_conn_drop_outs(struct env_conn *conn)
{
    struct list *node;

    while ((node = list_pop_front(&conn->outs)) != NULL)
        env_out_free(LIST_ENTRY(node, struct env_out, link));
    conn->queued = conn->outs_len = 0;
}

void env_conn_make_dirty(struct env_conn *conn)
{
    if (conn->state == CONN_OPEN && !conn->write_on &&
        list_unlinked(&conn->dirty_link))
        list_push_back(&conn->env->dirty, &conn->dirty_link);
}

void env_conn_send(struct env_conn *conn, struct env_out *out)
{
    bool sendable = conn->state == CONN_OPEN || conn->state == CONN_CONNECTING;

    if (!sendable || conn->closing || out->len == 0) {
        env_out_free(out);
        return;
    }
    list_push_back(&conn->outs, &out->link);
    conn->queued += out->len;
    conn->outs_len++;
    env_conn_make_dirty(conn);
}

size_t env_conn_queued(const struct env_conn *conn) { return conn->queued; }

size_t env_conn_queued_outs(const struct env_conn *conn)
{
    return conn->outs_len;
}

void env_conn_close_when_sent(struct env_conn *conn)
{
    if (conn->state != CONN_OPEN && conn->state != CONN_CONNECTING)
        return;
    conn->closing = true;
    env_intake_pause(conn);
    env_conn_make_dirty(conn);
}

/* ---- sending -------------------------------------------------------------*/

enum sent {
    SENT_ALL,  /* as much as was offered */
    SENT_PART, /* the kernel is full */
    SENT_ERROR,
};

static enum sent sent_of(struct env_conn *conn, ssize_t n, size_t offered)
{
    if (n < 0)
        return errno == EAGAIN  ? SENT_PART
               : errno == EINTR ? SENT_ALL
                                : SENT_ERROR;
    queue_advance(conn, (size_t)n);
    return (size_t)n == offered ? SENT_ALL : SENT_PART;
}

/* The queue's front up to the next file range. */
static enum sent send_memory(struct env_conn *conn)
{
    struct iovec parts[SEND_PARTS_MAX];
    struct msghdr message = {.msg_iov = parts};
    size_t offered = 0;
    bool more = false;

    LIST_EACH (node, &conn->outs) {
        struct env_out *out = LIST_ENTRY(node, struct env_out, link);

        for (size_t i = out->at; i < out->chunks_len && !more; i++) {
            struct chunk *chunk = &out->chunks[i];

            more = chunk->kind == CHUNK_FILE ||
                   message.msg_iovlen == SEND_PARTS_MAX;
            if (more)
                break;
            parts[message.msg_iovlen++] = (struct iovec){
                .iov_base = (void *)(uintptr_t)chunk->data,
                .iov_len = chunk->len,
            };
            offered += chunk->len;
        }
        if (more)
            break;
    }
    ssize_t n = sendmsg(conn->fd, &message,
                        MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
    return sent_of(conn, n, offered);
}

/* A range was promised that the file does not hold, or cannot give: the frame
 * can neither be finished nor taken back. */
static enum sent file_failed(const struct chunk *chunk, const char *reason)
{
    char link[64], path[256];

    snprintf(link, sizeof link, "/proc/self/fd/%d",
             env_file_fd(chunk->owner.file));
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    log_error("server",
              "cannot send %zu bytes at %lld of %s: %s; closing the connection",
              chunk->len, (long long)chunk->position, path, reason);
    return SENT_ERROR;
}

static enum sent send_file(struct env_conn *conn)
{
    struct env_out *out = first_out(conn);
    struct chunk *chunk = &out->chunks[out->at];
    off_t position = chunk->position;
    size_t offered =
        chunk->len < SEND_TURN_BYTES ? chunk->len : SEND_TURN_BYTES;

    ssize_t n =
        sendfile(conn->fd, env_file_fd(chunk->owner.file), &position, offered);
    if (n == 0)
        return file_failed(chunk, "the file ends before that");
    if (n < 0 && (errno == EIO || errno == EINVAL))
        return file_failed(chunk, strerror(errno));
    enum sent sent = sent_of(conn, n, offered);
    /* Short may also mean the end of the file; ask again. */
    return n > 0 ? SENT_ALL : sent;
}

static void watch_write(struct env_conn *conn, bool on)
{
    if (on == conn->write_on)
        return;
    conn->write_on = on;
    ASSERT((on ? event_add(&conn->write_event, NULL)
               : event_del(&conn->write_event)) == 0);
}

static bool front_is_file(struct env_conn *conn)
{
    struct env_out *out = first_out(conn);

    return out->chunks[out->at].kind == CHUNK_FILE;
}

/* Called at the end of a turn for a dirty connection, and when a full kernel
 * has room again. */
void env_conn_flush(struct env_conn *conn)
{
    enum sent sent = SENT_ALL;
    size_t before = conn->queued;

    while (sent == SENT_ALL && conn->queued != 0 &&
           before - conn->queued < SEND_TURN_BYTES)
        sent = front_is_file(conn) ? send_file(conn) : send_memory(conn);
    if (sent == SENT_ERROR) {
        env_conn_end(conn, ERR_CLOSED);
        return;
    }
    watch_write(conn, sent == SENT_PART);
    if (conn->queued != 0)
        env_conn_make_dirty(conn);
    else if (conn->closing)
        env_conn_finish(conn);
    else if (before != 0 && conn->ops->drained != NULL)
        conn->ops->drained(conn, conn->arg);
}
