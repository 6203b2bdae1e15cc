/* Answers as tools and followers get them: the api key and version that were
 * asked with, then the frame without its size. */
#include "tests/fuzz/kit.h"

#include "proto/kafka/api.h"
#include "proto/kafka/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    int16_t key = read_i16(&r);
    int16_t version = read_i16(&r);
    const struct api *api = api_find(key);
    int32_t correlation_id;
    struct slice body;

    if (r.bad || api == NULL || !kafka_has_version(api->response, version))
        return 0;
    if (kafka_parse_response(take_rest(&r), key, version, &correlation_id,
                             &body) == ERR_NONE)
        fuzz_message(api->response, version, body);
    return 0;
}
