/* Kafka's requests by API key: decode, decide, encode. */
#include "controller/step.h"
#include "proto/kafka/api.h"

/* Decoded requests: the frame is bounded by the listener, but its arrays grow
 * when they become structs. */
enum { REQUEST_MAX_BYTES = 256 << 20 };

struct handler {
    int16_t api_key;
    void (*handle)(struct step *s, int16_t version, const void *request,
                   void *response);
};

static const struct handler handlers[] = {
    {API_CREATE_TOPICS, topics_create},
    {API_DELETE_TOPICS, topics_delete},
    {API_ALTER_CONFIGS, configs_alter},
    {API_CREATE_PARTITIONS, partitions_create},
    {API_ELECT_LEADERS, leaders_elect},
    {API_INCREMENTAL_ALTER_CONFIGS, configs_alter_incrementally},
    {API_ALTER_PARTITION_REASSIGNMENTS, reassignments_alter},
    {API_LIST_PARTITION_REASSIGNMENTS, reassignments_list},
    {API_ALTER_CLIENT_QUOTAS, client_quotas_alter},
    {API_UPDATE_FEATURES, features_update},
    {API_UNREGISTER_BROKER, broker_unregister_kafka},
};

static const struct handler *handler_find(int16_t api_key)
{
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (handlers[i].api_key == api_key)
            return &handlers[i];
    return NULL;
}

bool controller_handles_kafka(int16_t api_key)
{
    return handler_find(api_key) != NULL;
}

static enum err handle(struct step *s, int16_t api_key, int16_t version,
                       struct slice body, struct arena *scratch,
                       struct buf *response)
{
    const struct handler *handler = handler_find(api_key);
    const struct api *api = api_find(api_key);

    if (handler == NULL || api == NULL)
        return ERR_UNSUPPORTED_VERSION;
    void *in = arena_alloc(scratch, api->request->size_bytes);
    enum err error =
        kafka_decode_request(api->request, version, body, scratch, in);
    if (error != ERR_NONE)
        return error;
    /* Before anything is decided: the answer must be possible. */
    if (!kafka_has_version(api->response, version))
        return ERR_UNSUPPORTED_VERSION;
    void *out = arena_alloc(s->arena, api->response->size_bytes);
    kafka_init(api->response, out);
    handler->handle(s, version, in, out);
    return kafka_encode(api->response, version, out, response, NULL);
}

enum err controller_handle_kafka(struct controller *c,
                                 const struct controller_call *call,
                                 int16_t api_key, int16_t version,
                                 struct slice body, struct buf *response,
                                 struct controller_update *update)
{
    struct arena scratch;
    struct step s;

    arena_init(&scratch, REQUEST_MAX_BYTES);
    step_begin(&s, c, call, update);
    enum err error = handle(&s, api_key, version, body, &scratch, response);
    step_end(&s);
    arena_free(&scratch);
    return error;
}
