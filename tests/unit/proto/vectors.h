/* Messages as bytes, written by Kafka's own serializer, and the same content
 * as JSON: one a line, tab-separated, below a line of titles:
 *
 *     key  message  kind  version  bytes_hex  json
 *
 * key is an api key, a coordinator's record type, or empty; kind is request,
 * response, header, data, coordinator-key or coordinator-value. */
#ifndef TESTS_PROTO_VECTORS_H
#define TESTS_PROTO_VECTORS_H

#include "proto/kafka/codec.h"

#include <stdio.h>

struct vector {
    unsigned line; /* from 1 */
    int number;    /* the key, or -1 */
    char *message;
    char *kind;
    int16_t version;
    struct buf bytes;
    char *json;
    const struct kafka_desc *desc; /* NULL: we have no such message */
    /* Owned: the line that the texts point into. */
    char *text;
    size_t text_cap;
};

/* Read the next line into *v, which starts zeroed and is reused; false at the
 * end.  A line that has no six columns comes with message == NULL. */
bool vector_next(FILE *file, struct vector *v);
void vector_free(struct vector *v);

enum { VECTOR_WHY = 512 };

/* Everything that has to hold of a vector: the bytes decode to the content of
 * the JSON and encode to the same bytes, and one byte less or more is refused.
 * False: `why` says what is wrong. */
bool vector_check(const struct vector *v, char why[static VECTOR_WHY]);

/* Sets *bytes to what lower-case hex digits say; false: they don't. */
bool bytes_of_hex(const char *text, struct buf *bytes);
/* Whether both are the same; false: `why` says where they part. */
bool bytes_same(struct slice expected, struct slice ours,
                char why[static VECTOR_WHY]);

/* The path that tests take by default. */
const char *vectors_path(void);

#endif
