#include "controller/topic_name.h"

static bool is_plain(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static bool is_dots(struct slice name)
{
    return slice_eq_str(name, ".") || slice_eq_str(name, "..");
}

bool topic_name_is_valid(struct slice name)
{
    return name.len != 0 && name.len <= TOPIC_NAME_MAX && !is_dots(name) &&
           is_plain(name);
}

struct slice topic_name_problem(struct slice name, struct arena *a)
{
    if (name.len == 0)
        return SLICE("Topic name is invalid: the empty string is not allowed");
    if (is_dots(name))
        return SLICE("Topic name is invalid: '.' or '..' is not allowed");
    if (name.len > TOPIC_NAME_MAX)
        return arena_printf(a,
                            "Topic name is invalid: the length of '%.*s' is "
                            "longer than the max allowed length %d",
                            SLICE_FMT(name), TOPIC_NAME_MAX);
    return arena_printf(a,
                        "Topic name is invalid: '%.*s' contains one or more "
                        "characters other than ASCII alphanumerics, '.', '_' "
                        "and '-'",
                        SLICE_FMT(name));
}
