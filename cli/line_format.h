/* Lines of text to records, by the rules of Kafka's LineMessageReader:
 * [headers<TAB>][key<TAB>]value, headers as h1:v1,h2:v2.  Pure. */
#ifndef CLI_LINE_FORMAT_H
#define CLI_LINE_FORMAT_H

#include "base/arena.h"
#include "proto/record/record.h"

struct line_format {
    bool parse_key;
    bool parse_headers;
    bool ignore_error; /* a missing separator is no error */
    const char *key_separator;
    const char *headers_delimiter;
    const char *headers_separator;
    const char *headers_key_separator;
    const char *null_marker; /* NULL: none */
};

#define LINE_FORMAT_INIT                                                       \
    ((struct line_format){false, false, false, "\t", "\t", ",", ":", NULL})

struct line_record {
    struct slice key;   /* may be null */
    struct slice value; /* may be null */
    struct record_header *headers;
    int32_t headers_len;
};

/* Sets one of Kafka's reader properties ("parse.key", ...).  False if there is
 * no such property.  `value` is kept by pointer. */
bool line_format_set(struct line_format *f, const char *key, const char *value);
/* NULL, or why the separators cannot be told apart; static. */
const char *line_format_check(const struct line_format *f);

/* Slices point into the line or the arena.  False with a sentence in *why that
 * the caller frees. */
bool line_format_parse(const struct line_format *f, struct slice line,
                       int64_t number, struct arena *a,
                       struct line_record *record, char **why);

#endif
