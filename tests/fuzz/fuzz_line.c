/* A line for the console producer, its separators before it. */
#include "tests/fuzz/kit.h"

#include "cli/line_format.h"

#include <stdlib.h>

static bool within(struct slice part, struct slice line)
{
    return slice_is_null(part) ||
           (part.data >= line.data &&
            part.data + part.len <= line.data + line.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    struct line_format f = LINE_FORMAT_INIT;
    uint8_t flags = read_u8(&r);
    char separators[4][4];
    struct line_record record;
    struct arena arena;
    char *why = NULL;

    for (int i = 0; i < 4; i++) {
        size_t len = 1 + (flags >> 4) % 3;

        for (size_t j = 0; j < len; j++)
            separators[i][j] = (char)read_u8(&r);
        separators[i][len] = '\0';
    }
    f.parse_key = (flags & 1) != 0;
    f.parse_headers = (flags & 2) != 0;
    f.ignore_error = (flags & 4) != 0;
    if ((flags & 8) != 0) {
        f.key_separator = separators[0];
        f.headers_delimiter = separators[1];
        f.headers_separator = separators[2];
        f.headers_key_separator = separators[3];
        f.null_marker = separators[1];
    }
    if (line_format_check(&f) != NULL)
        return 0;
    struct slice line = take_rest(&r);
    arena_init(&arena, 1 << 20);
    if (line_format_parse(&f, line, 1, &arena, &record, &why)) {
        ASSERT(within(record.key, line) && within(record.value, line));
        for (int32_t i = 0; i < record.headers_len; i++)
            ASSERT(record.headers[i].key.data != NULL);
    } else {
        ASSERT(why != NULL);
        free(why);
    }
    arena_free(&arena);
    return 0;
}
