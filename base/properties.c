/* Parsing goes line by line, in the words of java.util.Properties: natural
 * lines are joined into a logical line (backslash at the end), the logical
 * line is split at the first separator that is not escaped, and only then are
 * the escapes of both halves undone.  Splitting before unescaping is what lets
 * a key hold an escaped '='.
 *
 * A file fails as a whole at the first bad line: a node that starts with half
 * of its configuration would be worse than one that does not start. */
#include "base/properties.h"

#include <stdlib.h>

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    int line; /* of `at`, from 1 */
};

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\f'; }

static bool is_newline(uint8_t c) { return c == '\n' || c == '\r'; }

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && is_blank(*c->at))
        c->at++;
}

/* Past one \n, \r or \r\n. */
static void skip_newline(struct cursor *c)
{
    if (c->at >= c->end)
        return;
    bool cr = *c->at == '\r';

    c->at++;
    if (cr && c->at < c->end && *c->at == '\n')
        c->at++;
    c->line++;
}

static void skip_line(struct cursor *c)
{
    while (c->at < c->end && !is_newline(*c->at))
        c->at++;
    skip_newline(c);
}

/* Appends the natural lines of one logical line to `out`, escapes untouched
 * apart from the backslashes that join lines.  Leaves c at the next line. */
static void read_logical_line(struct cursor *c, struct buf *out)
{
    for (;;) {
        skip_blanks(c);
        bool escaped = false;

        while (c->at < c->end && !is_newline(*c->at)) {
            escaped = !escaped && *c->at == '\\';
            buf_put_u8(out, *c->at++);
        }
        skip_newline(c);
        if (!escaped)
            return;
        out->len--;
        if (c->at >= c->end)
            return;
    }
}

/* Where the key ends in a logical line, and where its value starts. */
static void split(struct slice line, size_t *key_end, size_t *value_start)
{
    size_t i = 0;
    bool escaped = false;

    while (i < line.len) {
        uint8_t b = line.data[i];
        if (!escaped && (b == '=' || b == ':' || is_blank(b)))
            break;
        escaped = !escaped && b == '\\';
        i++;
    }
    *key_end = i;
    while (i < line.len && is_blank(line.data[i]))
        i++;
    if (i < line.len && (line.data[i] == '=' || line.data[i] == ':'))
        i++;
    while (i < line.len && is_blank(line.data[i]))
        i++;
    *value_start = i;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four digits after \u at text[i], or -1. */
static int32_t read_hex4(struct slice text, size_t i)
{
    int32_t code = 0;

    if (text.len - i < 4)
        return -1;
    for (size_t k = 0; k < 4; k++) {
        int digit = hex_value(text.data[i + k]);
        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code;
}

static void put_utf8(struct buf *out, uint32_t code)
{
    if (code < 0x80) {
        buf_put_u8(out, (uint8_t)code);
    } else if (code < 0x800) {
        buf_put_u8(out, (uint8_t)(0xc0 | code >> 6));
        buf_put_u8(out, (uint8_t)(0x80 | (code & 0x3f)));
    } else if (code < 0x10000) {
        buf_put_u8(out, (uint8_t)(0xe0 | code >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
        buf_put_u8(out, (uint8_t)(0x80 | (code & 0x3f)));
    } else {
        buf_put_u8(out, (uint8_t)(0xf0 | code >> 18));
        buf_put_u8(out, (uint8_t)(0x80 | (code >> 12 & 0x3f)));
        buf_put_u8(out, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
        buf_put_u8(out, (uint8_t)(0x80 | (code & 0x3f)));
    }
}

/* Decodes the \uXXXX whose digits start at text[*i]; a high surrogate takes
 * the low one that follows it with it.  False if the text is not a character;
 * *i is left after what was read. */
static bool unescape_unicode(struct slice text, size_t *i, struct buf *out)
{
    int32_t code = read_hex4(text, *i);

    if (code <= 0)
        return false; /* malformed, or the NUL that C strings cannot hold */
    *i += 4;
    if (code >= 0xdc00 && code <= 0xdfff)
        return false;
    if (code >= 0xd800 && code <= 0xdbff) {
        if (text.len - *i < 6 || text.data[*i] != '\\' ||
            text.data[*i + 1] != 'u')
            return false;
        int32_t low = read_hex4(text, *i + 2);
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        *i += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(out, (uint32_t)code);
    return true;
}

/* Appends `text` without its escapes; false at a bad \u. */
static bool unescape(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.len;) {
        uint8_t b = text.data[i++];
        if (b != '\\' || i == text.len) {
            if (b != '\\')
                buf_put_u8(out, b);
            continue;
        }
        b = text.data[i++];
        switch (b) {
        case 't':
            buf_put_u8(out, '\t');
            break;
        case 'n':
            buf_put_u8(out, '\n');
            break;
        case 'r':
            buf_put_u8(out, '\r');
            break;
        case 'f':
            buf_put_u8(out, '\f');
            break;
        case 'u':
            if (!unescape_unicode(text, &i, out))
                return false;
            break;
        default:
            buf_put_u8(out, b);
        }
    }
    return true;
}

static bool unescape_into(struct arena *a, struct slice text, struct slice *out)
{
    struct buf plain = BUF_INIT;
    bool ok = unescape(text, &plain);

    if (ok)
        *out = slice_of(arena_strdup(a, buf_slice(&plain)), plain.len);
    buf_free(&plain);
    return ok;
}

static void add(struct properties *p, struct property item)
{
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 64 : p->cap * 2;
        p->items = xrealloc(p->items, p->cap * sizeof *p->items);
    }
    p->items[p->count++] = item;
}

/* One logical line that is neither blank nor a comment. */
static bool parse_line(struct properties *p, struct slice line, int number)
{
    struct property item = {.line = number};
    size_t key_end, value_start;

    split(line, &key_end, &value_start);
    if (!unescape_into(&p->arena, slice_of(line.data, key_end), &item.key) ||
        !unescape_into(
            &p->arena,
            slice_of(line.data + value_start, line.len - value_start),
            &item.value))
        return false;
    add(p, item);
    return true;
}

static enum err fail(struct properties *p, enum err error, char *sentence,
                     char **why)
{
    properties_free(p);
    *why = sentence;
    return error;
}

enum err properties_parse(struct slice text, const char *name,
                          struct properties *p, char **why)
{
    struct cursor c = {text.data, text.data, 1};
    struct buf line = BUF_INIT;

    *p = (struct properties){0};
    arena_init(&p->arena, 0);
    if (text.len > PROPERTIES_SIZE_MAX)
        return fail(p, ERR_TOO_LARGE,
                    xasprintf("%s: the file is larger than %d bytes", name,
                              PROPERTIES_SIZE_MAX),
                    why);
    if (text.len != 0)
        c.end = text.data + text.len;
    while (c.at < c.end) {
        int number = c.line;

        skip_blanks(&c);
        if (c.at == c.end)
            break;
        if (is_newline(*c.at)) {
            skip_newline(&c);
            continue;
        }
        if (*c.at == '#' || *c.at == '!') {
            skip_line(&c);
            continue;
        }
        line.len = 0;
        read_logical_line(&c, &line);
        char *sentence = NULL;
        if (memchr(line.data, '\0', line.len) != NULL)
            sentence = xasprintf("%s:%d: a NUL byte does not belong in a "
                                 "properties file",
                                 name, number);
        else if (p->count == PROPERTIES_COUNT_MAX)
            sentence = xasprintf("%s:%d: more than %d keys", name, number,
                                 PROPERTIES_COUNT_MAX);
        else if (!parse_line(p, buf_slice(&line), number))
            sentence =
                xasprintf("%s:%d: malformed \\uXXXX escape", name, number);
        if (sentence != NULL) {
            buf_free(&line);
            return fail(p, ERR_MALFORMED, sentence, why);
        }
    }
    buf_free(&line);
    return ERR_NONE;
}

void properties_free(struct properties *p)
{
    arena_free(&p->arena);
    free(p->items);
    *p = (struct properties){0};
}

const struct property *properties_find(const struct properties *p,
                                       struct slice key)
{
    for (size_t i = p->count; i > 0; i--)
        if (slice_eq(p->items[i - 1].key, key))
            return &p->items[i - 1];
    return NULL;
}
