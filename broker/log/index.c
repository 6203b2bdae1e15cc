/* Searching: the entries in memory first, as they are the newest; then the
 * file, by halving with single-entry reads until one block is left, then
 * within the block.  A block of 4 KiB makes that ten reads for the largest
 * index Kafka would write.
 *
 * Files are opened for each use.  Lookups here are rare (the tail of a log is
 * found in memory, tail.h) and ten thousand idle partitions must not hold
 * descriptors. */
#include "broker/log/index.h"

#include <errno.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 4096, PENDING_FIRST = 8 };

void index_file_init(struct index *x, enum index_kind kind)
{
    *x = (struct index){.kind = kind};
}

void index_file_free(struct index *x)
{
    free(x->pending);
    x->pending = NULL;
    x->pending_len = x->pending_cap = 0;
}

static struct index_entry decode(enum index_kind kind, const uint8_t *p)
{
    if (kind == INDEX_OFFSETS)
        return (struct index_entry){.timestamp = -1,
                                    .relative_offset = (int32_t)be32_get(p),
                                    .position = (int32_t)be32_get(p + 4)};
    return (struct index_entry){.timestamp = (int64_t)be64_get(p),
                                .relative_offset = (int32_t)be32_get(p + 8),
                                .position = -1};
}

static void encode(enum index_kind kind, const struct index_entry *e,
                   uint8_t *p)
{
    if (kind == INDEX_OFFSETS) {
        be32_put(p, (uint32_t)e->relative_offset);
        be32_put(p + 4, (uint32_t)e->position);
    } else {
        be64_put(p, (uint64_t)e->timestamp);
        be32_put(p + 8, (uint32_t)e->relative_offset);
    }
}

static int64_t field_of(const struct index_entry *e, enum index_field field)
{
    switch (field) {
    case INDEX_BY_OFFSET:
        return e->relative_offset;
    case INDEX_BY_POSITION:
        return e->position;
    case INDEX_BY_TIMESTAMP:
        break;
    }
    return e->timestamp;
}

int index_load(struct index *x, struct env *env, const char *path)
{
    struct env_file *file;
    int rc = env_file_open(env, path, ENV_READ, &file);

    x->stored = 0;
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return rc;
    int64_t size = env_file_size(file);
    env_file_unref(file);
    if (size < 0)
        return (int)size;
    if (size % index_entry_bytes(x->kind) != 0 || size > INT32_MAX)
        return -EBADMSG;
    x->stored = (uint32_t)size / index_entry_bytes(x->kind);
    return 0;
}

void index_add(struct index *x, const struct index_entry *entry)
{
    uint32_t size = index_entry_bytes(x->kind);

    if (x->pending_len == x->pending_cap) {
        x->pending_cap =
            x->pending_cap == 0 ? PENDING_FIRST : x->pending_cap * 2;
        x->pending = xrealloc(x->pending, (size_t)x->pending_cap * size);
    }
    encode(x->kind, entry, x->pending + (size_t)x->pending_len++ * size);
}

int index_write(struct index *x, struct env *env, const char *path)
{
    uint32_t size = index_entry_bytes(x->kind);
    struct env_file *file;
    int rc = env_file_open(env, path, ENV_CREATE, &file);

    if (rc < 0)
        return rc;
    if (x->pending_len != 0) {
        struct slice part = slice_of(x->pending, (size_t)x->pending_len * size);
        rc = env_file_write(file, &part, 1, (int64_t)x->stored * size);
        /* Part of an entry must not stay: a reader takes the count from the
         * size. */
        if (rc < 0)
            env_file_truncate(file, (int64_t)x->stored * size);
    }
    env_file_unref(file);
    if (rc < 0)
        return rc;
    x->stored += x->pending_len;
    index_file_free(x);
    return 0;
}

/* Reads entries [from, from + n) of the file. */
static int read_stored(struct index *x, struct env_file *file, uint32_t from,
                       uint32_t n, uint8_t *into)
{
    uint32_t size = index_entry_bytes(x->kind);
    int64_t want = (int64_t)n * size;
    int64_t got =
        env_file_read_nowait(file, into, (size_t)want, (int64_t)from * size);

    if (got < want)
        got = env_file_read(file, into, (size_t)want, (int64_t)from * size);
    if (got < 0)
        return (int)got;
    return got < want ? -EBADMSG : 0;
}

int index_get(struct index *x, struct env *env, const char *path, uint32_t n,
              struct index_entry *entry)
{
    uint8_t bytes[INDEX_TIMES_ENTRY_BYTES];
    struct env_file *file;

    ASSERT(n < index_count(x));
    if (n >= x->stored) {
        *entry = decode(x->kind, x->pending + (size_t)(n - x->stored) *
                                                  index_entry_bytes(x->kind));
        return 0;
    }
    int rc = env_file_open(env, path, ENV_READ, &file);
    if (rc < 0)
        return rc;
    rc = read_stored(x, file, n, 1, bytes);
    env_file_unref(file);
    if (rc == 0)
        *entry = decode(x->kind, bytes);
    return rc;
}

/* Number of entries in a block whose field is <= value. */
static uint32_t count_up_to(enum index_kind kind, const uint8_t *block,
                            uint32_t n, enum index_field field, int64_t value)
{
    uint32_t low = 0, high = n;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct index_entry e =
            decode(kind, block + (size_t)middle * index_entry_bytes(kind));
        if (field_of(&e, field) <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same over the whole file; the last of them goes to *entry. */
static int count_stored(struct index *x, struct env_file *file,
                        enum index_field field, int64_t value, uint32_t *count,
                        struct index_entry *entry)
{
    uint8_t block[BLOCK_BYTES];
    uint32_t size = index_entry_bytes(x->kind);
    uint32_t low = 0, high = x->stored; /* the answer is in [low, high] */
    int rc;

    while (high - low > BLOCK_BYTES / size - 1) {
        uint32_t middle = low + (high - low) / 2;
        if ((rc = read_stored(x, file, middle, 1, block)) < 0)
            return rc;
        struct index_entry e = decode(x->kind, block);
        if (field_of(&e, field) <= value)
            low = middle + 1;
        else
            high = middle;
    }
    /* One entry earlier, so that the answer itself is in the block. */
    uint32_t from = low == 0 ? 0 : low - 1;
    if ((rc = read_stored(x, file, from, high - from, block)) < 0)
        return rc;
    uint32_t n = count_up_to(x->kind, block, high - from, field, value);
    *count = from + n;
    if (n != 0)
        *entry = decode(x->kind, block + (size_t)(n - 1) * size);
    return 0;
}

int index_floor(struct index *x, struct env *env, const char *path,
                enum index_field field, int64_t value,
                struct index_entry *entry, uint32_t *n)
{
    uint32_t count =
        count_up_to(x->kind, x->pending, x->pending_len, field, value);

    if (count != 0) {
        if (n != NULL)
            *n = x->stored + count - 1;
        return index_get(x, env, path, x->stored + count - 1, entry);
    }
    if (x->stored == 0)
        return -ENOENT;
    struct env_file *file;
    int rc = env_file_open(env, path, ENV_READ, &file);
    /* Entries that were counted are gone: damage, not "no such entry". */
    if (rc < 0)
        return rc == -ENOENT ? -EBADMSG : rc;
    rc = count_stored(x, file, field, value, &count, entry);
    env_file_unref(file);
    if (rc < 0)
        return rc;
    if (count == 0)
        return -ENOENT;
    if (n != NULL)
        *n = count - 1;
    return 0;
}

int index_truncate(struct index *x, struct env *env, const char *path,
                   uint32_t n)
{
    struct env_file *file;

    if (n >= x->stored) {
        if (n < index_count(x))
            x->pending_len = n - x->stored;
        return 0;
    }
    index_file_free(x);
    x->stored = n;
    int rc = env_file_open(env, path, 0, &file);
    if (rc < 0)
        return rc == -ENOENT && n == 0 ? 0 : rc;
    rc = env_file_truncate(file, (int64_t)n * index_entry_bytes(x->kind));
    env_file_unref(file);
    return rc;
}
