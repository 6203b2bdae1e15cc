/* ISO 8601 durations as far as the configuration knows them: days, hours,
 * minutes, and seconds with a fraction. */
#include "controller/share_reset.h"

static bool is_digit(const struct slice *s)
{
    return s->len != 0 && s->data[0] >= '0' && s->data[0] <= '9';
}

static char take(struct slice *s)
{
    char c = (char)s->data[0];

    *s = slice_of(s->data + 1, s->len - 1);
    return c;
}

static bool take_prefix(struct slice *s, const char *prefix)
{
    size_t n = strlen(prefix);

    if (s->len < n || memcmp(s->data, prefix, n) != 0)
        return false;
    *s = slice_of(s->data + n, s->len - n);
    return true;
}

static bool read_number(struct slice *s, int64_t *number)
{
    *number = 0;
    if (!is_digit(s))
        return false;
    while (is_digit(s))
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, take(s) - '0', number))
            return false;
    return true;
}

/* Of a second, in milliseconds; what is finer is dropped. */
static int64_t read_fraction(struct slice *s)
{
    int64_t ms = 0;

    for (int64_t unit = 100; is_digit(s); unit /= 10)
        ms += unit * (take(s) - '0');
    return ms;
}

static bool add_part(int64_t *total_ms, int64_t number, int64_t unit_ms,
                     int64_t more_ms)
{
    return !__builtin_mul_overflow(number, unit_ms, &number) &&
           !__builtin_add_overflow(number, more_ms, &number) &&
           !__builtin_add_overflow(*total_ms, number, total_ms);
}

/* One part, such as "3H"; `units` are those that may still come. */
static bool read_part(struct slice *s, const char **units, int64_t *total_ms)
{
    static const struct {
        char name;
        int64_t ms;
    } known[] = {{'D', 86400000}, {'H', 3600000}, {'M', 60000}, {'S', 1000}};
    int64_t number, fraction_ms = 0;
    bool broken;

    if (!read_number(s, &number))
        return false;
    broken = take_prefix(s, ".");
    if (broken)
        fraction_ms = read_fraction(s);
    if (s->len == 0)
        return false;
    char unit = take(s);
    const char *at = strchr(*units, unit);
    if (at == NULL || unit == '\0' || (broken && unit != 'S'))
        return false;
    *units = at + 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].name == unit)
            return add_part(total_ms, number, known[i].ms, fraction_ms);
    return false;
}

static bool read_duration(struct slice s, int64_t *ms)
{
    const char *days = "D", *times = "HMS";

    *ms = 0;
    if (!take_prefix(&s, "P") || s.len == 0)
        return false;
    if (is_digit(&s) && !read_part(&s, &days, ms))
        return false;
    if (s.len == 0)
        return true;
    if (!take_prefix(&s, "T") || s.len == 0)
        return false;
    while (s.len != 0)
        if (!read_part(&s, &times, ms))
            return false;
    return true;
}

bool share_reset_parse(struct slice text, struct share_reset *reset)
{
    *reset = (struct share_reset){SHARE_RESET_LATEST, 0};
    if (slice_eq_str(text, "latest"))
        return true;
    if (slice_eq_str(text, "earliest")) {
        reset->kind = SHARE_RESET_EARLIEST;
        return true;
    }
    reset->kind = SHARE_RESET_BY_DURATION;
    return take_prefix(&text, "by_duration:") &&
           read_duration(text, &reset->duration_ms);
}

int64_t share_reset_timestamp(const struct share_reset *reset, int64_t wall_ms)
{
    switch (reset->kind) {
    case SHARE_RESET_LATEST:
        return -1;
    case SHARE_RESET_EARLIEST:
        return -2;
    case SHARE_RESET_BY_DURATION:
        break;
    }
    return reset->duration_ms >= wall_ms ? 0 : wall_ms - reset->duration_ms;
}
