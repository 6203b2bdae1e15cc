#include "broker/log/walk.h"

#include "base/crc32c.h"

#include <errno.h>

enum {
    WINDOW_BYTES = 32 * 1024,
    /* Batches above this size are read header by header. */
    SMALL_BATCH_BYTES = 4 * 1024,
    SEARCH_BYTES = 256 * 1024,
};

void walk_init(struct walk *w, struct env_file *file, int64_t position,
               int64_t end)
{
    *w = (struct walk){.file = file,
                       .position = position,
                       .next_position = position,
                       .end = end};
}

void walk_free(struct walk *w)
{
    buf_free(&w->window);
    buf_free(&w->body);
}

/* From the page cache if it is there; then from the disk. */
static int64_t read_file(struct env_file *file, void *data, size_t len,
                         int64_t position)
{
    int64_t got = env_file_read_nowait(file, data, len, position);

    if (got != (int64_t)len)
        got = env_file_read(file, data, len, position);
    return got;
}

static enum walk_result io(struct walk *w, int64_t error)
{
    w->error = (int)error;
    return WALK_IO;
}

static enum walk_result bad(struct walk *w, const char *why)
{
    w->why = why;
    return WALK_BAD;
}

/* At least `want` bytes at `position`, which lie before w->end; NULL with
 * w->error set. */
static const uint8_t *window_read(struct walk *w, int64_t position, size_t want)
{
    int64_t ahead = position - w->window_at;

    if (ahead >= 0 && ahead + (int64_t)want <= (int64_t)w->window.len)
        return w->window.data + ahead;

    size_t len = w->batch.size_bytes > SMALL_BATCH_BYTES ? want : WINDOW_BYTES;
    if (len < want)
        len = want;
    if ((int64_t)len > w->end - position)
        len = (size_t)(w->end - position);
    w->window.len = 0;
    w->window_at = position;
    int64_t got =
        read_file(w->file, buf_extend(&w->window, len), len, position);
    w->window.len = got < 0 ? 0 : (size_t)got;
    if (got < (int64_t)want) {
        /* The file is shorter than its owner knows. */
        w->error = got < 0 ? (int)got : -EIO;
        return NULL;
    }
    return w->window.data;
}

static const char *header_wrong(const struct batch *b, int64_t room)
{
    if ((int64_t)b->size_bytes > room)
        return "its length reaches beyond the end of the file";
    if (b->base_offset < 0 || b->last_offset_delta < 0 ||
        b->base_offset > INT64_MAX - 1 - b->last_offset_delta)
        return "its offsets are impossible";
    return NULL;
}

enum walk_result walk_next(struct walk *w)
{
    w->position = w->next_position;
    int64_t room = w->end - w->position;
    if (room == 0)
        return WALK_END;
    if (room < BATCH_HEADER_BYTES)
        return bad(w, "there is less than a batch header");

    const uint8_t *p = window_read(w, w->position, BATCH_HEADER_BYTES);
    if (p == NULL)
        return WALK_IO;
    switch (batch_parse(slice_of(p, BATCH_HEADER_BYTES), &w->batch)) {
    case ERR_NONE:
    case ERR_TOO_LARGE: /* the body follows in the file */
        break;
    case ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return bad(w, "its version is not 2");
    default:
        return bad(w, "its length is impossible");
    }
    const char *wrong = header_wrong(&w->batch, room);
    if (wrong != NULL)
        return bad(w, wrong);
    w->next_position = w->position + w->batch.size_bytes;
    return WALK_BATCH;
}

enum walk_result walk_body(struct walk *w, struct slice *bytes)
{
    uint32_t size = w->batch.size_bytes;
    int64_t ahead = w->position - w->window_at;

    if (ahead >= 0 && ahead + size <= (int64_t)w->window.len) {
        *bytes = slice_of(w->window.data + ahead, size);
        return WALK_BATCH;
    }
    w->body.len = 0;
    int64_t got =
        read_file(w->file, buf_extend(&w->body, size), size, w->position);
    if (got != (int64_t)size)
        return io(w, got < 0 ? got : -EIO);
    *bytes = buf_slice(&w->body);
    return WALK_BATCH;
}

/* CRC of the file's bytes [position, position + len) in pieces. */
static int64_t crc_of_file(struct walk *w, int64_t position, int64_t len,
                           uint32_t *crc)
{
    *crc = 0;
    while (len > 0) {
        size_t n = len < SEARCH_BYTES ? (size_t)len : SEARCH_BYTES;
        w->body.len = 0;
        uint8_t *data = buf_extend(&w->body, n);
        int64_t got = read_file(w->file, data, n, position);
        if (got != (int64_t)n)
            return got < 0 ? got : -EIO;
        *crc = crc32c(*crc, data, n);
        position += (int64_t)n;
        len -= (int64_t)n;
    }
    return 0;
}

enum walk_result walk_check_crc(struct walk *w)
{
    int64_t ahead = w->position - w->window_at;
    uint32_t crc;

    if (ahead >= 0 && ahead + w->batch.size_bytes <= (int64_t)w->window.len)
        return batch_crc_ok(
                   slice_of(w->window.data + ahead, w->batch.size_bytes),
                   &w->batch)
                   ? WALK_BATCH
                   : bad(w, "its CRC does not match its bytes");
    int64_t rc = crc_of_file(w, w->position + BATCH_ATTRIBUTES_AT,
                             w->batch.size_bytes - BATCH_ATTRIBUTES_AT, &crc);
    if (rc < 0)
        return io(w, rc);
    return crc == w->batch.crc ? WALK_BATCH
                               : bad(w, "its CRC does not match its bytes");
}

/* Cheap tests before the CRC: few positions pass them. */
static bool could_be_batch(const uint8_t *p, int64_t room, int64_t offset)
{
    struct batch b;

    if (p[BATCH_MAGIC_AT] != 2)
        return false;
    enum err err = batch_parse(slice_of(p, BATCH_HEADER_BYTES), &b);
    return (err == ERR_NONE || err == ERR_TOO_LARGE) &&
           header_wrong(&b, room) == NULL && b.base_offset >= offset &&
           b.base_offset - offset <= INT32_MAX;
}

static int check_at(struct walk *w, int64_t position)
{
    w->next_position = position;
    enum walk_result result = walk_next(w);
    if (result == WALK_BATCH)
        result = walk_check_crc(w);
    if (result == WALK_IO)
        return w->error;
    return result == WALK_BATCH;
}

/* As walk_find_valid() from `position` itself on; where it was found. */
static int find_from(struct env_file *file, int64_t position, int64_t end,
                     int64_t offset, int64_t *found_at)
{
    struct walk w;
    struct buf piece = BUF_INIT;
    int found = 0;

    walk_init(&w, file, position, end);
    for (; found == 0 && end - position >= BATCH_HEADER_BYTES;) {
        size_t n = end - position < SEARCH_BYTES ? (size_t)(end - position)
                                                 : SEARCH_BYTES;
        piece.len = 0;
        int64_t got = read_file(file, buf_extend(&piece, n), n, position);
        if (got != (int64_t)n) {
            found = got < 0 ? (int)got : -EIO;
            break;
        }
        size_t starts = n - BATCH_HEADER_BYTES + 1;
        for (size_t i = 0; i < starts && found == 0; i++) {
            int64_t at = position + (int64_t)i;
            if (could_be_batch(piece.data + i, end - at, offset))
                found = check_at(&w, at);
            *found_at = at;
        }
        position += (int64_t)starts;
    }
    buf_free(&piece);
    walk_free(&w);
    return found;
}

int walk_find_valid(struct env_file *file, int64_t position, int64_t end,
                    int64_t offset)
{
    int64_t at;

    return find_from(file, position + 1, end, offset, &at);
}

int walk_salvage(struct env_file *file, int64_t end, int64_t base,
                 int64_t *until, int32_t *epoch)
{
    int64_t at = 0;
    int found;

    while ((found = find_from(file, at, end, base, &at)) > 0) {
        struct walk w;

        walk_init(&w, file, at, end);
        while (walk_next(&w) == WALK_BATCH &&
               walk_check_crc(&w) == WALK_BATCH) {
            if (batch_last_offset(&w.batch) >= *until)
                *until = batch_last_offset(&w.batch) + 1;
            if (w.batch.leader_epoch > *epoch)
                *epoch = w.batch.leader_epoch;
        }
        at = w.position;
        walk_free(&w);
    }
    return found;
}
