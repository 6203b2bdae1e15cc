/* Look-ups in the generated table of APIs. */
#include "proto/kafka/api.h"

const struct api *api_find(int16_t key)
{
    if (key < 0 || key >= API_COUNT)
        return NULL;
    return &api_table[key];
}

const char *api_name(int16_t key)
{
    const struct api *api = api_find(key);

    return api != NULL ? api->name : "unknown";
}

bool api_is_served(const struct api *api, enum api_listener listener)
{
    return api->served[listener].min <= api->served[listener].max;
}

bool api_serves(const struct api *api, enum api_listener listener,
                int16_t version)
{
    return version >= api->served[listener].min &&
           version <= api->served[listener].max;
}

bool api_software_name_ok(struct slice s)
{
    if (slice_is_null(s) || s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9');

        if (!word && ((c != '.' && c != '-') || i == 0 || i == s.len - 1))
            return false;
    }
    return true;
}
