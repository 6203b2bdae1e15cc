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
