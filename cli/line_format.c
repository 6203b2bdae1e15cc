/* The sentences are Kafka's. */
#include "cli/line_format.h"

#include <strings.h>

static bool is_true(const char *text) { return strcasecmp(text, "true") == 0; }

bool line_format_set(struct line_format *f, const char *key, const char *value)
{
    const struct {
        const char *key;
        bool *flag;
        const char **text;
    } properties[] = {
        {"parse.key", &f->parse_key, NULL},
        {"parse.headers", &f->parse_headers, NULL},
        {"ignore.error", &f->ignore_error, NULL},
        {"key.separator", NULL, &f->key_separator},
        {"headers.delimiter", NULL, &f->headers_delimiter},
        {"headers.separator", NULL, &f->headers_separator},
        {"headers.key.separator", NULL, &f->headers_key_separator},
        {"null.marker", NULL, &f->null_marker},
    };

    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (strcmp(properties[i].key, key) != 0)
            continue;
        if (properties[i].flag != NULL)
            *properties[i].flag = is_true(value);
        else
            *properties[i].text = value;
        return true;
    }
    return false;
}

static bool same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

const char *line_format_check(const struct line_format *f)
{
    const char *separators[] = {f->key_separator, f->headers_delimiter,
                                f->headers_separator, f->headers_key_separator};

    for (size_t i = 0; i < 4; i++)
        if (separators[i][0] == '\0')
            return "a separator may not be empty";
    if (same(f->headers_delimiter, f->headers_separator))
        return "headers.delimiter and headers.separator may not be equal";
    if (same(f->headers_delimiter, f->headers_key_separator))
        return "headers.delimiter and headers.key.separator may not be equal";
    if (same(f->headers_separator, f->headers_key_separator))
        return "headers.separator and headers.key.separator may not be equal";
    if (same(f->null_marker, f->key_separator))
        return "null.marker and key.separator may not be equal";
    if (same(f->null_marker, f->headers_separator))
        return "null.marker and headers.separator may not be equal";
    if (same(f->null_marker, f->headers_delimiter))
        return "null.marker and headers.delimiter may not be equal";
    if (same(f->null_marker, f->headers_key_separator))
        return "null.marker and headers.key.separator may not be equal";
    return NULL;
}

/* Splits `text` at the first separator; false if there is none. */
static bool cut(struct slice text, const char *separator, struct slice *left,
                struct slice *right)
{
    size_t n = strlen(separator);
    const uint8_t *at =
        text.len == 0 ? NULL : memmem(text.data, text.len, separator, n);

    if (at == NULL)
        return false;
    *left = slice_of(text.data, (size_t)(at - text.data));
    *right = slice_of(at + n, text.len - left->len - n);
    return true;
}

static struct slice null_if_marker(const struct line_format *f, struct slice s)
{
    if (f->null_marker != NULL && slice_eq_str(s, f->null_marker))
        return SLICE_NULL;
    return s;
}

static bool parse_header(const struct line_format *f, struct slice pair,
                         int64_t number, struct record_header *out, char **why)
{
    if (!cut(pair, f->headers_key_separator, &out->key, &out->value)) {
        *out = (struct record_header){pair, SLICE_NULL};
        if (f->ignore_error)
            return true;
        *why = xasprintf("No header key separator found in pair '%.*s' on "
                         "line number %lld",
                         SLICE_FMT(pair), (long long)number);
        return false;
    }
    if (slice_is_null(null_if_marker(f, out->key))) {
        *why = xasprintf("Header keys should not be equal to the null marker "
                         "'%s' as they can't be null",
                         f->null_marker);
        return false;
    }
    out->value = null_if_marker(f, out->value);
    return true;
}

static bool parse_headers(const struct line_format *f, struct slice text,
                          int64_t number, struct arena *a,
                          struct line_record *record, char **why)
{
    size_t room = text.len / strlen(f->headers_separator) + 1;
    struct slice pair;

    record->headers = arena_array(a, room + 1, sizeof *record->headers);
    for (bool more = true; more;) {
        more = cut(text, f->headers_separator, &pair, &text);
        if (!more)
            pair = text;
        if (!parse_header(f, pair, number,
                          &record->headers[record->headers_len++], why))
            return false;
    }
    return true;
}

/* Takes a part off the front of the line. */
static bool take(const struct line_format *f, const char *separator,
                 const char *name, struct slice line, int64_t number,
                 struct slice *rest, struct slice *part, char **why)
{
    struct slice right;

    if (cut(*rest, separator, part, &right)) {
        *rest = right;
        return true;
    }
    *part = SLICE_NULL;
    if (f->ignore_error)
        return true;
    *why = xasprintf("No %s found on line number %lld: '%.*s'", name,
                     (long long)number, SLICE_FMT(line));
    return false;
}

bool line_format_parse(const struct line_format *f, struct slice line,
                       int64_t number, struct arena *a,
                       struct line_record *record, char **why)
{
    struct slice rest = line;
    struct slice headers = SLICE_NULL;

    *record = (struct line_record){0};
    if (f->parse_headers && !take(f, f->headers_delimiter, "headers delimiter",
                                  line, number, &rest, &headers, why))
        return false;
    if (f->parse_key && !take(f, f->key_separator, "key separator", line,
                              number, &rest, &record->key, why))
        return false;
    headers = null_if_marker(f, headers);
    if (!slice_is_null(headers) &&
        !parse_headers(f, headers, number, a, record, why))
        return false;
    record->key = null_if_marker(f, record->key);
    record->value = null_if_marker(f, rest);
    return true;
}
