/* Frames as they come from clients (without their size): header and body, of
 * any API in any version. */
#include "tests/fuzz/kit.h"

#include "proto/kafka/api.h"
#include "proto/kafka/header.h"

static void check_header(const struct request_header *h)
{
    int16_t version = kafka_request_header_version(h->request_api_key,
                                                   h->request_api_version);
    struct request_header again;
    struct buf bytes = BUF_INIT;
    struct arena arena;

    arena_init(&arena, 0);
    ASSERT(kafka_encode(&request_header_desc, version, h, &bytes, NULL) ==
           ERR_NONE);
    ASSERT(kafka_decode(&request_header_desc, version, buf_slice(&bytes),
                        &arena, &again) == ERR_NONE);
    ASSERT(again.correlation_id == h->correlation_id &&
           again.request_api_version == h->request_api_version &&
           slice_eq(again.client_id, h->client_id) &&
           slice_is_null(again.client_id) == slice_is_null(h->client_id));
    arena_free(&arena);
    buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request_header h;
    struct slice body;

    if (kafka_parse_request(slice_of(data, size), &h, &body) != ERR_NONE)
        return 0;
    const struct api *api = api_find(h.request_api_key);
    ASSERT(api != NULL && body.data + body.len == data + size);
    check_header(&h);
    fuzz_message(api->request, h.request_api_version, body);
    return 0;
}
