#include "broker/log/epoch_cache.h"

#include <stdlib.h>

void epoch_cache_free(struct epoch_cache *c)
{
    free(c->entries);
    *c = (struct epoch_cache){0};
}

static void push(struct epoch_cache *c, int32_t epoch, int64_t start_offset)
{
    if (c->len == c->cap) {
        c->cap = c->cap == 0 ? 1 : c->cap * 2;
        c->entries = xrealloc(c->entries, c->cap * sizeof *c->entries);
    }
    c->entries[c->len++] = (struct epoch_entry){epoch, start_offset};
}

void epoch_cache_assign(struct epoch_cache *c, int32_t epoch,
                        int64_t start_offset)
{
    const struct epoch_entry *last =
        c->len != 0 ? &c->entries[c->len - 1] : NULL;

    ASSERT(epoch >= 0 && start_offset >= 0);
    if (last != NULL && last->epoch == epoch &&
        last->start_offset <= start_offset)
        return;
    while (c->len != 0 && (c->entries[c->len - 1].epoch >= epoch ||
                           c->entries[c->len - 1].start_offset >= start_offset))
        c->len--;
    push(c, epoch, start_offset);
    c->changed = true;
}

void epoch_cache_truncate_end(struct epoch_cache *c, int64_t end_offset)
{
    while (c->len != 0 && c->entries[c->len - 1].start_offset >= end_offset) {
        c->len--;
        c->changed = true;
    }
}

void epoch_cache_truncate_start(struct epoch_cache *c, int64_t start_offset)
{
    uint32_t drop = 0;

    while (drop + 1 < c->len &&
           c->entries[drop + 1].start_offset <= start_offset)
        drop++;
    if (drop != 0) {
        c->len -= drop;
        memmove(c->entries, c->entries + drop, c->len * sizeof *c->entries);
        c->changed = true;
    }
    if (c->len != 0 && c->entries[0].start_offset < start_offset) {
        c->entries[0].start_offset = start_offset;
        c->changed = true;
    }
}

void epoch_cache_clear(struct epoch_cache *c)
{
    c->changed = c->changed || c->len != 0;
    c->len = 0;
}

int32_t epoch_cache_latest(const struct epoch_cache *c)
{
    return c->len != 0 ? c->entries[c->len - 1].epoch : -1;
}

int32_t epoch_cache_at(const struct epoch_cache *c, int64_t offset)
{
    for (uint32_t i = c->len; i-- != 0;)
        if (c->entries[i].start_offset <= offset)
            return c->entries[i].epoch;
    return -1;
}

void epoch_cache_end_offset(const struct epoch_cache *c, int32_t epoch,
                            int64_t log_end_offset, int32_t *found_epoch,
                            int64_t *end_offset)
{
    uint32_t above = 0; /* first entry with a later epoch */

    *found_epoch = -1;
    *end_offset = -1;
    if (epoch < 0 || epoch > epoch_cache_latest(c))
        return;
    while (above < c->len && c->entries[above].epoch <= epoch)
        above++;
    *found_epoch = above == 0 ? epoch : c->entries[above - 1].epoch;
    *end_offset =
        above == c->len ? log_end_offset : c->entries[above].start_offset;
}

void epoch_cache_format(const struct epoch_cache *c, struct buf *text)
{
    buf_printf(text, "0\n%u\n", c->len);
    for (uint32_t i = 0; i < c->len; i++)
        buf_printf(text, "%d %lld\n", c->entries[i].epoch,
                   (long long)c->entries[i].start_offset);
}

/* A decimal number followed by `until`; at most `max`. */
static bool number(struct slice *text, char until, int64_t max, int64_t *value)
{
    size_t i = 0;

    *value = 0;
    while (i < text->len && text->data[i] >= '0' && text->data[i] <= '9') {
        int digit = text->data[i++] - '0';
        if (digit > max || *value > (max - digit) / 10)
            return false;
        *value = *value * 10 + digit;
    }
    if (i == 0 || i == text->len || text->data[i] != (uint8_t)until)
        return false;
    *text = slice_of(text->data + i + 1, text->len - i - 1);
    return true;
}

static bool parse(struct epoch_cache *c, struct slice text)
{
    int64_t version, count, epoch, start;

    if (!number(&text, '\n', 0, &version) ||
        !number(&text, '\n', INT32_MAX, &count))
        return false;
    for (int64_t i = 0; i < count; i++) {
        if (!number(&text, ' ', INT32_MAX, &epoch) ||
            !number(&text, '\n', INT64_MAX, &start))
            return false;
        if (c->len != 0 && (c->entries[c->len - 1].epoch >= epoch ||
                            c->entries[c->len - 1].start_offset >= start))
            return false;
        push(c, (int32_t)epoch, start);
    }
    return text.len == 0;
}

bool epoch_cache_parse(struct epoch_cache *c, struct slice text)
{
    c->len = 0;
    c->changed = false;
    if (parse(c, text))
        return true;
    c->len = 0;
    return false;
}
