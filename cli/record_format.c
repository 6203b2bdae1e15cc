/* See record_format.h: timestamp, partition, offset, delivery, epoch, headers,
 * key, value, in this order; separators between those that are printed. */
#include "cli/record_format.h"

#include <strings.h>

bool record_format_set(struct record_format *f, const char *key,
                       const char *value)
{
    const struct {
        const char *key;
        bool *flag;
        const char **text;
    } properties[] = {
        {"print.timestamp", &f->timestamp, NULL},
        {"print.partition", &f->partition, NULL},
        {"print.offset", &f->offset, NULL},
        {"print.delivery", &f->delivery, NULL},
        {"print.epoch", &f->epoch, NULL},
        {"print.headers", &f->headers, NULL},
        {"print.key", &f->key, NULL},
        {"print.value", &f->value, NULL},
        {"key.separator", NULL, &f->key_separator},
        {"line.separator", NULL, &f->line_separator},
        {"headers.separator", NULL, &f->headers_separator},
        {"null.literal", NULL, &f->null_literal},
    };

    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (strcmp(properties[i].key, key) != 0)
            continue;
        if (properties[i].flag != NULL)
            *properties[i].flag = strcasecmp(value, "true") == 0;
        else
            *properties[i].text = value;
        return true;
    }
    return false;
}

static void put_text(struct buf *out, const char *text)
{
    buf_put(out, text, strlen(text));
}

static void put_or_null(const struct record_format *f, struct slice bytes,
                        struct buf *out)
{
    if (slice_is_null(bytes))
        put_text(out, f->null_literal);
    else
        buf_put_slice(out, bytes);
}

static void put_timestamp(const struct consumed *one, struct buf *out)
{
    if (one->record->timestamp < 0 && !one->append_time)
        put_text(out, "NO_TIMESTAMP");
    else
        buf_printf(out, "%s:%lld",
                   one->append_time ? "LogAppendTime" : "CreateTime",
                   (long long)one->record->timestamp);
}

static void put_headers(const struct record_format *f,
                        const struct record *record, struct buf *out)
{
    struct slice rest = record->headers;
    struct record_header header;
    bool first = true;

    while (record_header_next(&rest, &header)) {
        if (!first)
            put_text(out, f->headers_separator);
        buf_put_slice(out, header.key);
        put_text(out, ":");
        put_or_null(f, header.value, out);
        first = false;
    }
    if (first)
        put_text(out, "NO_HEADERS");
}

void record_format_print(const struct record_format *f,
                         const struct consumed *one, struct buf *out)
{
    const bool wanted[] = {f->timestamp, f->partition, f->offset, f->delivery,
                           f->epoch,     f->headers,   f->key,    f->value};
    enum { PARTS = sizeof wanted / sizeof *wanted };

    for (int i = 0; i < PARTS; i++) {
        bool more = false;
        if (!wanted[i])
            continue;
        if (i == 0)
            put_timestamp(one, out);
        else if (i == 1)
            buf_printf(out, "Partition:%d", one->partition);
        else if (i == 2)
            buf_printf(out, "Offset:%lld", (long long)one->record->offset);
        else if (i == 3)
            put_text(out, "Delivery:NOT_PRESENT");
        else if (i == 4)
            buf_printf(out, "Epoch:%d", one->leader_epoch);
        else if (i == 5)
            put_headers(f, one->record, out);
        else if (i == 6)
            put_or_null(f, one->record->key, out);
        else
            put_or_null(f, one->record->value, out);
        for (int k = i + 1; k < PARTS; k++)
            more |= wanted[k];
        put_text(out, more ? f->key_separator : f->line_separator);
    }
}
