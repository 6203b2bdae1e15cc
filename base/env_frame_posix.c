/* Received frames and their buffers.
 *
 * Small frames are plain allocations.  From FRAME_POOLED_BYTES on, where an
 * allocator gives pages back to the kernel on every free and a busy producer
 * would pay for a page fault per 4 KiB received, buffers of a size class (a
 * power of two) are kept and used again while they are warm.
 *
 * A frame may die on any thread, so the pool belongs to the process; a lock per
 * class is held for a few instructions.  It keeps at most POOL_BYTES_MAX, and a
 * buffer that nobody wanted for a whole trim period is freed, so that memory
 * follows the load down. */
#include "base/env_internal.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    FRAME_POOLED_SHIFT = 14, /* the smallest class: 16 KiB */
    FRAME_POOLED_BYTES = 1 << FRAME_POOLED_SHIFT,
    FRAME_CLASSES = 10, /* the largest: 8 MiB */
    POOL_BYTES_MAX = 32 * 1024 * 1024,
    TRIM_PERIOD_MS = 1000,
};

struct frame {
    struct env_frame pub;
    atomic_uint refs;
    int class;          /* in the pool, or -1 */
    size_t cap;         /* of bytes */
    struct frame *next; /* in the pool */
    _Alignas(16) uint8_t bytes[];
};

static struct pool_class {
    pthread_mutex_t lock;
    struct frame *free;
    size_t count; /* in `free` */
    size_t low;   /* smallest count since the last trim */
} classes[FRAME_CLASSES] = {
#define POOL_CLASS                                                             \
    {                                                                          \
        PTHREAD_MUTEX_INITIALIZER, NULL, 0, 0                                  \
    }
    POOL_CLASS, POOL_CLASS, POOL_CLASS, POOL_CLASS, POOL_CLASS,
    POOL_CLASS, POOL_CLASS, POOL_CLASS, POOL_CLASS, POOL_CLASS,
#undef POOL_CLASS
};

static atomic_size_t pool_bytes;
static _Atomic int64_t trimmed_ms;

static size_t class_bytes(int class)
{
    return (size_t)FRAME_POOLED_BYTES << class;
}

/* -1 for sizes that are not pooled. */
static int class_of(size_t bytes)
{
    if (bytes < FRAME_POOLED_BYTES / 2 ||
        bytes > class_bytes(FRAME_CLASSES - 1))
        return -1;
    int class = 0;
    while (class_bytes(class) < bytes)
        class ++;
    return class;
}

static struct frame *pool_take(int class)
{
    struct pool_class *c = &classes[class];

    pthread_mutex_lock(&c->lock);
    struct frame *frame = c->free;
    if (frame != NULL) {
        c->free = frame->next;
        if (--c->count < c->low)
            c->low = c->count;
    }
    pthread_mutex_unlock(&c->lock);
    if (frame != NULL)
        atomic_fetch_sub(&pool_bytes, class_bytes(class));
    return frame;
}

/* False if the pool is full. */
static bool pool_give(struct frame *frame)
{
    struct pool_class *c = &classes[frame->class];
    size_t bytes = class_bytes(frame->class);

    if (atomic_fetch_add(&pool_bytes, bytes) + bytes > POOL_BYTES_MAX) {
        atomic_fetch_sub(&pool_bytes, bytes);
        return false;
    }
    pthread_mutex_lock(&c->lock);
    frame->next = c->free;
    c->free = frame;
    c->count++;
    pthread_mutex_unlock(&c->lock);
    return true;
}

static void trim_class(int class)
{
    struct pool_class *c = &classes[class];
    struct frame *gone = NULL;

    pthread_mutex_lock(&c->lock);
    for (size_t n = c->low; n > 0; n--) {
        struct frame *frame = c->free;

        c->free = frame->next;
        frame->next = gone;
        gone = frame;
        c->count--;
    }
    c->low = c->count;
    pthread_mutex_unlock(&c->lock);
    while (gone != NULL) {
        struct frame *next = gone->next;

        free(gone);
        atomic_fetch_sub(&pool_bytes, class_bytes(class));
        gone = next;
    }
}

size_t env_frame_trim(int64_t now_ms)
{
    int64_t last = atomic_load(&trimmed_ms);

    if (now_ms - last >= TRIM_PERIOD_MS &&
        atomic_compare_exchange_strong(&trimmed_ms, &last, now_ms))
        for (int class = 0; class < FRAME_CLASSES; class ++)
            trim_class(class);
    return atomic_load(&pool_bytes);
}

/* ---- frames --------------------------------------------------------------*/

static struct frame *frame_of(struct env_frame *frame)
{
    return LIST_ENTRY(frame, struct frame, pub);
}

struct env_frame *env_frame_new(size_t cap)
{
    size_t bytes = sizeof(struct frame) + cap;
    int class = class_of(bytes);
    struct frame *frame = class < 0 ? NULL : pool_take(class);

    if (frame == NULL) {
        if (class >= 0)
            bytes = class_bytes(class);
        frame = xmalloc(bytes);
        frame->class = class;
        frame->cap = bytes - sizeof(struct frame);
    }
    frame->pub.data = frame->bytes;
    frame->pub.len = 0;
    atomic_init(&frame->refs, 1);
    return &frame->pub;
}

size_t env_frame_cap(const struct env_frame *frame)
{
    return LIST_ENTRY(frame, const struct frame, pub)->cap;
}

struct env_frame *env_frame_grow(struct env_frame *old, size_t cap)
{
    struct frame *frame = frame_of(old);

    ASSERT(cap > frame->cap && atomic_load(&frame->refs) == 1);
    if (frame->class < 0 && class_of(sizeof *frame + cap) < 0) {
        /* The kernel moves large blocks without copying. */
        frame = xrealloc(frame, sizeof *frame + cap);
        frame->cap = cap;
        frame->pub.data = frame->bytes;
        return &frame->pub;
    }
    struct env_frame *bigger = env_frame_new(cap);
    memcpy(bigger->data, old->data, old->len);
    bigger->len = old->len;
    env_frame_unref(old);
    return bigger;
}

struct env_frame *env_frame_ref(struct env_frame *frame)
{
    atomic_fetch_add_explicit(&frame_of(frame)->refs, 1, memory_order_relaxed);
    return frame;
}

void env_frame_unref(struct env_frame *pub)
{
    struct frame *frame = frame_of(pub);

    if (atomic_fetch_sub_explicit(&frame->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (frame->class < 0 || !pool_give(frame))
        free(frame);
}
