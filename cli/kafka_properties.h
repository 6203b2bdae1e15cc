/* "--x-property key=value" given many times, with a file below. */
#ifndef CLI_KAFKA_PROPERTIES_H
#define CLI_KAFKA_PROPERTIES_H

#include "cli/options.h"

struct kafka_property {
    char *key;
    char *value;
};

struct kafka_properties {
    struct kafka_property *items; /* owned; the last of a key counts */
    size_t len;
};

/* Appends the file named by option `file_option` (if given), then the values
 * of the list options.  NULL, or a sentence that the caller frees. */
char *kafka_properties_read(struct kafka_properties *p, const struct options *o,
                            const char *file_option,
                            const char *const *list_options);
void kafka_properties_free(struct kafka_properties *p);
const char *kafka_property(const struct kafka_properties *p, const char *key,
                           const char *otherwise);
/* Puts a number of at least `min` into *value, if there is one; NULL, or a
 * sentence that the caller frees. */
char *kafka_property_int(const struct kafka_properties *p, const char *key,
                         int32_t min, int32_t *value);

#endif
