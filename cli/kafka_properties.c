/* See kafka_properties.h. */
#include "cli/kafka_properties.h"

#include "base/properties.h"
#include "cli/input.h"

#include <errno.h>
#include <stdlib.h>

static void add(struct kafka_properties *p, struct slice key,
                struct slice value)
{
    p->items = xrealloc(p->items, (p->len + 1) * sizeof *p->items);
    p->items[p->len++] =
        (struct kafka_property){slice_dup(key), slice_dup(value)};
}

static char *read_file(struct kafka_properties *p, const char *path)
{
    struct properties file;
    struct buf text = BUF_INIT;
    char *why = NULL;

    if (file_read(path, PROPERTIES_SIZE_MAX, &text, &why) &&
        properties_parse(buf_slice(&text), path, &file, &why) == ERR_NONE) {
        for (size_t i = 0; i < file.count; i++)
            add(p, file.items[i].key, file.items[i].value);
        properties_free(&file);
    }
    buf_free(&text);
    return why;
}

char *kafka_properties_read(struct kafka_properties *p, const struct options *o,
                            const char *file_option,
                            const char *const *list_options)
{
    const char *path = options_text(o, file_option, NULL);
    char *why = path != NULL ? read_file(p, path) : NULL;
    const char *text;

    for (; why == NULL && *list_options != NULL; list_options++)
        for (size_t i = 0;
             why == NULL && (text = options_each(o, *list_options, i)) != NULL;
             i++) {
            const char *equals = strchr(text, '=');
            if (equals == NULL || equals == text)
                why = xasprintf("Invalid property: '%s' (it is written "
                                "key=value)",
                                text);
            else
                add(p, slice_of(text, (size_t)(equals - text)),
                    slice_str(equals + 1));
        }
    return why;
}

void kafka_properties_free(struct kafka_properties *p)
{
    for (size_t i = 0; i < p->len; i++) {
        free(p->items[i].key);
        free(p->items[i].value);
    }
    free(p->items);
    *p = (struct kafka_properties){0};
}

const char *kafka_property(const struct kafka_properties *p, const char *key,
                           const char *otherwise)
{
    for (size_t i = p->len; i > 0; i--)
        if (strcmp(p->items[i - 1].key, key) == 0)
            return p->items[i - 1].value;
    return otherwise;
}

char *kafka_property_int(const struct kafka_properties *p, const char *key,
                         int32_t min, int32_t *value)
{
    const char *text = kafka_property(p, key, NULL);
    char *end;

    if (text == NULL)
        return NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number > INT32_MAX ||
        number < INT32_MIN)
        return xasprintf("Invalid value %s for configuration %s: Not a number "
                         "of type INT",
                         text, key);
    if (number < min)
        return xasprintf("Invalid value %s for configuration %s: Value must be "
                         "at least %d",
                         text, key, min);
    *value = (int32_t)number;
    return NULL;
}
