/* Records as lines of text, by the rules of Kafka's DefaultMessageFormatter.
 * Pure. */
#ifndef CLI_RECORD_FORMAT_H
#define CLI_RECORD_FORMAT_H

#include "cli/consumer.h"

struct record_format {
    bool timestamp;
    bool partition;
    bool offset;
    bool delivery;
    bool epoch;
    bool headers;
    bool key;
    bool value;
    const char *key_separator;
    const char *line_separator;
    const char *headers_separator;
    const char *null_literal;
};

#define RECORD_FORMAT_INIT                                                     \
    ((struct record_format){.value = true,                                     \
                            .key_separator = "\t",                             \
                            .line_separator = "\n",                            \
                            .headers_separator = ",",                          \
                            .null_literal = "null"})

/* Sets one of Kafka's formatter properties ("print.key", ...).  False if there
 * is no such property.  `value` is kept by pointer. */
bool record_format_set(struct record_format *f, const char *key,
                       const char *value);
void record_format_print(const struct record_format *f,
                         const struct consumed *one, struct buf *out);

#endif
