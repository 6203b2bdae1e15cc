/* A frame is written header first with its size left open, and the size put in
 * at the end.  A frame is read in two steps: the three numbers that every
 * request starts with, then, knowing the API, the whole header. */
#include "proto/kafka/header.h"

#include "proto/kafka/api.h"

enum { SIZE_BYTES = 4 };

/* ---- header versions --------------------------------------------------- */

/* Flexible as the nearest version that the schema has. */
static bool is_flexible(const struct kafka_desc *d, int16_t version)
{
    return kafka_flexible(d, version > d->max ? d->max : version);
}

int16_t kafka_request_header_version(int16_t key, int16_t version)
{
    const struct api *api = api_find(key);

    ASSERT(api != NULL);
    if (key == API_CONTROLLED_SHUTDOWN && version == 0)
        return 0;
    return is_flexible(api->request, version) ? 2 : 1;
}

int16_t kafka_response_header_version(int16_t key, int16_t version)
{
    const struct api *api = api_find(key);

    ASSERT(api != NULL);
    if (key == API_API_VERSIONS)
        return 0;
    return is_flexible(api->response, version) ? 1 : 0;
}

/* ---- requests ---------------------------------------------------------- */

/* Request headers hold neither arrays nor nullable structs, so that decoding
 * one takes nothing from the arena; responses likewise. */
static enum err decode_header(const struct kafka_desc *desc, int16_t version,
                              struct reader *r, void *header)
{
    struct arena unused;

    arena_init(&unused, 0);
    enum err err = kafka_decode_prefix(desc, version, r, &unused, header);
    ASSERT(unused.used_bytes == 0);
    return err;
}

static enum err parse_start(struct slice frame, struct request_header *h)
{
    struct reader r = reader_of(frame);

    request_header_init(h);
    h->client_id = SLICE_NULL;
    h->request_api_key = read_i16(&r);
    h->request_api_version = read_i16(&r);
    h->correlation_id = read_i32(&r);
    return r.bad ? ERR_MALFORMED : ERR_NONE;
}

enum err kafka_parse_request(struct slice frame, struct request_header *h,
                             struct slice *body)
{
    *body = SLICE_NULL;
    enum err err = parse_start(frame, h);
    if (err != ERR_NONE)
        return err;

    const struct api *api = api_find(h->request_api_key);
    if (api == NULL)
        return ERR_INVALID_REQUEST;

    struct request_header start = *h;
    struct reader r = reader_of(frame);
    err = decode_header(
        &request_header_desc,
        kafka_request_header_version(api->key, h->request_api_version), &r, h);
    if (err != ERR_NONE)
        *h = start;
    if (!kafka_has_version(api->request, start.request_api_version))
        return ERR_UNSUPPORTED_VERSION;
    if (err == ERR_NONE)
        *body = slice_of(r.at, reader_left(&r));
    return err;
}

/* ---- frames ------------------------------------------------------------ */

/* A frame from `start` whose size is still open. */
static enum err close_frame(struct buf *out, size_t start, uint64_t gap_bytes)
{
    uint64_t size = out->len - start - SIZE_BYTES + gap_bytes;

    if (size > INT32_MAX)
        return ERR_TOO_LARGE;
    be32_put(out->data + start, (uint32_t)size);
    return ERR_NONE;
}

enum err kafka_frame_request(struct buf *out, const struct request_header *h,
                             const void *msg)
{
    const struct api *api = api_find(h->request_api_key);
    int16_t version = h->request_api_version;
    size_t start = out->len;

    ASSERT(api != NULL);
    buf_put_u32(out, 0);
    enum err err = kafka_encode(&request_header_desc,
                                kafka_request_header_version(api->key, version),
                                h, out, NULL);
    if (err == ERR_NONE)
        err = kafka_encode(api->request, version, msg, out, NULL);
    if (err == ERR_NONE)
        err = close_frame(out, start, 0);
    if (err != ERR_NONE)
        out->len = start;
    return err;
}

enum err kafka_frame_response(struct buf *out, int16_t key, int16_t version,
                              int32_t correlation_id, const void *msg,
                              struct kafka_gaps *gaps)
{
    const struct api *api = api_find(key);
    struct response_header h = {.correlation_id = correlation_id};
    size_t start = out->len;
    struct kafka_gaps before = gaps != NULL ? *gaps : (struct kafka_gaps){0};

    ASSERT(api != NULL);
    buf_put_u32(out, 0);
    enum err err = kafka_encode(&response_header_desc,
                                kafka_response_header_version(key, version), &h,
                                out, NULL);
    if (err == ERR_NONE)
        err = kafka_encode(api->response, version, msg, out, gaps);
    if (err == ERR_NONE)
        err = close_frame(out, start,
                          gaps != NULL ? gaps->bytes - before.bytes : 0);
    if (err != ERR_NONE) {
        out->len = start;
        kafka_gaps_cut(gaps, &before);
    }
    return err;
}

enum err kafka_parse_response(struct slice frame, int16_t key, int16_t version,
                              int32_t *correlation_id, struct slice *body)
{
    struct response_header h;
    struct reader r = reader_of(frame);
    enum err err =
        decode_header(&response_header_desc,
                      kafka_response_header_version(key, version), &r, &h);

    if (err != ERR_NONE)
        return err;
    *correlation_id = h.correlation_id;
    *body = slice_of(r.at, reader_left(&r));
    return ERR_NONE;
}
