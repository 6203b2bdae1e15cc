/* Values as Kafka shows them once it has read them: "TRUE " is true, "5" of a
 * double is 5.0, items of a list have no blanks between them. */
#include "controller/config_resolve.h"

#include <stdio.h>
#include <stdlib.h>

/* As Java's Double.toString: the fewest digits that give the number back, at
 * least one behind the point, and an exponent below 0.001 and from 10 million
 * on. */
static struct slice show_double(double number, struct arena *a)
{
    char text[32];
    int exponent;
    int digits = 0;

    if (number == 0)
        return SLICE("0.0");
    do {
        snprintf(text, sizeof text, "%.*e", digits, number);
    } while (strtod(text, NULL) != number && ++digits < 17);
    char *e = strchr(text, 'e');
    exponent = atoi(e + 1);
    *e = '\0';
    if (exponent >= -3 && exponent < 7) {
        int places = digits - exponent;

        return arena_printf(a, "%.*f", places > 1 ? places : 1, number);
    }
    return arena_printf(a, "%s%sE%d", text, digits == 0 ? ".0" : "", exponent);
}

static struct slice show_list(struct slice value, struct arena *a)
{
    struct buf b = BUF_INIT;
    struct slice item;

    while (config_list_next(&value, &item)) {
        if (b.len != 0)
            buf_put_u8(&b, ',');
        buf_put_slice(&b, item);
    }
    struct slice out = arena_copy(a, buf_slice(&b));
    buf_free(&b);
    return out.len != 0 ? out : SLICE("");
}

struct slice config_canonical(const struct config_def *def, struct slice value,
                              struct arena *a)
{
    bool boolean;
    int64_t integer;
    double number;

    if (slice_is_null(value))
        return value;
    switch (def->type) {
    case CONFIG_BOOLEAN:
        if (!config_parse_bool(value, &boolean))
            break;
        return boolean ? SLICE("true") : SLICE("false");
    case CONFIG_INT:
    case CONFIG_SHORT:
    case CONFIG_LONG:
        if (!config_parse_int64(value, &integer))
            break;
        return arena_printf(a, "%lld", (long long)integer);
    case CONFIG_DOUBLE:
        if (!config_parse_double(value, &number))
            break;
        return show_double(number, a);
    case CONFIG_LIST:
        return show_list(value, a);
    case CONFIG_STRING:
    case CONFIG_CLASS:
    case CONFIG_PASSWORD:
        return config_trim(value);
    }
    return value;
}
