/* IncrementalAlterConfigs: levels of this node's loggers (KIP-412) are changed
 * here, and are gone when it stops; all other resources are the active
 * controller's.
 *
 * A request may have both.  What is to be said of loggers is decided first, but
 * carried out when the controller has answered: if it does not answer, one
 * error is about all of the request. */
#include "base/log.h"
#include "broker/cluster_view.h"
#include "broker/dispatch.h"
#include "broker/forward_errors.h"
#include "proto/kafka/codec.h"

enum { RESOURCE_BROKER_LOGGER = 8 };

enum { OPERATION_SET, OPERATION_DELETE, OPERATION_APPEND, OPERATION_SUBTRACT };

#define LEVELS "DEBUG, ERROR, FATAL, INFO, TRACE, WARN"

typedef struct incremental_alter_configs_request_alter_configs_resource
    altered_resource;
typedef struct incremental_alter_configs_request_alterable_config alteration;

/* Of a resource; ERR_NONE: it is or will be done. */
struct verdict_of_resource {
    enum err error;
    struct slice why;
};
typedef struct verdict_of_resource verdict;

#define REFUSE(r, error, ...)                                                  \
    ((verdict){(error), arena_printf(&(r)->arena, __VA_ARGS__)})

static bool is_loggers(const altered_resource *resource)
{
    return resource->resource_type == RESOURCE_BROKER_LOGGER;
}

/* ---- judging -------------------------------------------------------------*/

/* Each once, and each with a value unless it is deleted. */
static verdict check_form(struct request *r, const altered_resource *resource)
{
    struct map seen = MAP_INIT;
    verdict v = {ERR_NONE, SLICE_NULL};

    for (int32_t i = 0; i < resource->configs_len && v.error == ERR_NONE; i++) {
        const alteration *a = &resource->configs[i];

        if (map_put(&seen, a->name, &seen) != NULL)
            v = REFUSE(r, ERR_INVALID_REQUEST,
                       "Error due to duplicate config keys : %.*s",
                       SLICE_FMT(a->name));
        else if (a->config_operation != OPERATION_DELETE &&
                 slice_is_null(a->value))
            v = REFUSE(r, ERR_INVALID_REQUEST,
                       "Null value not supported for : %.*s",
                       SLICE_FMT(a->name));
    }
    map_free(&seen);
    return v;
}

static verdict check_one(struct request *r, const alteration *a)
{
    int logger = log_logger_find(a->name);
    enum log_level level;

    if (a->config_operation == OPERATION_APPEND ||
        a->config_operation == OPERATION_SUBTRACT)
        return REFUSE(r, ERR_INVALID_REQUEST,
                      "%s operation is not allowed for the BROKER_LOGGER "
                      "resource",
                      a->config_operation == OPERATION_APPEND ? "APPEND"
                                                              : "SUBTRACT");
    if (a->config_operation != OPERATION_SET &&
        a->config_operation != OPERATION_DELETE)
        return REFUSE(r, ERR_INVALID_REQUEST,
                      "Unknown operation type %d is not allowed for the "
                      "BROKER_LOGGER resource",
                      (int)a->config_operation);
    if (logger < 0)
        return REFUSE(r, ERR_INVALID_CONFIG, "Logger %.*s does not exist!",
                      SLICE_FMT(a->name));
    if (a->config_operation == OPERATION_SET &&
        !log_level_find(a->value, &level))
        return REFUSE(r, ERR_INVALID_CONFIG,
                      "Cannot set the log level of %.*s to %.*s as it is not a "
                      "supported log level. Valid log levels are " LEVELS,
                      SLICE_FMT(a->name), SLICE_FMT(a->value));
    if (a->config_operation == OPERATION_DELETE && log_logger_is_root(logger))
        return REFUSE(r, ERR_INVALID_REQUEST,
                      "Removing the log level of the %.*s logger is not "
                      "allowed",
                      SLICE_FMT(a->name));
    return (verdict){ERR_NONE, SLICE_NULL};
}

static verdict check_name(struct request *r, struct slice name)
{
    const struct meta *m = request_meta(r);
    const struct incremental_alter_configs_request *q = r->msg;
    int mentions = 0;

    if (!slice_eq_str(name, m->own_id))
        return REFUSE(r, ERR_INVALID_REQUEST,
                      "Unexpected node id. Expected %s, but received %.*s",
                      m->own_id, SLICE_FMT(name));
    for (int32_t i = 0; i < q->resources_len && mentions < 2; i++)
        mentions += is_loggers(&q->resources[i]) &&
                    slice_eq(q->resources[i].resource_name, name);
    if (mentions > 1)
        return REFUSE(r, ERR_INVALID_REQUEST,
                      "Each resource must appear at most once.");
    return (verdict){ERR_NONE, SLICE_NULL};
}

static verdict check(struct request *r, const altered_resource *resource)
{
    verdict v = check_name(r, resource->resource_name);

    if (v.error == ERR_NONE)
        v = check_form(r, resource);
    for (int32_t i = 0; i < resource->configs_len && v.error == ERR_NONE; i++)
        v = check_one(r, &resource->configs[i]);
    return v;
}

/* ---- carrying out --------------------------------------------------------*/

static void apply_one(const alteration *a)
{
    int logger = log_logger_find(a->name);
    enum log_level level;

    if (a->config_operation == OPERATION_DELETE)
        log_logger_unset(logger);
    else if (log_level_find(a->value, &level))
        log_logger_set(logger, level);
    log_warn("server", "The log level of %s is %s now", log_logger_name(logger),
             log_level_name(log_logger_level(logger)));
}

/* Judges it, and changes what is good. */
static void
alter(struct request *r, const altered_resource *resource,
      struct incremental_alter_configs_response_alter_configs_resource_response
          *out)
{
    const struct incremental_alter_configs_request *q = r->msg;
    verdict v = check(r, resource);

    for (int32_t i = 0;
         i < resource->configs_len && v.error == ERR_NONE && !q->validate_only;
         i++)
        apply_one(&resource->configs[i]);
    out->error_code = err_wire(v.error);
    out->error_message = v.why;
    out->resource_type = resource->resource_type;
    out->resource_name = resource->resource_name;
}

/* `rest`: the controller's answer about all others, in their order. */
static void respond(struct request *r,
                    const struct incremental_alter_configs_response *rest)
{
    const struct incremental_alter_configs_request *q = r->msg;
    struct incremental_alter_configs_response a;
    int32_t at = 0;

    incremental_alter_configs_response_init(&a);
    a.responses_len = q->resources_len;
    a.responses =
        arena_array(&r->arena, (size_t)q->resources_len, sizeof *a.responses);
    for (int32_t i = 0; i < q->resources_len; i++) {
        incremental_alter_configs_response_alter_configs_resource_response_init(
            &a.responses[i]);
        if (is_loggers(&q->resources[i]))
            alter(r, &q->resources[i], &a.responses[i]);
        else
            a.responses[i] = rest->responses[at++];
    }
    request_respond(r, &a);
}

/* ---- the rest ------------------------------------------------------------*/

static int32_t count_rest(const struct incremental_alter_configs_request *q)
{
    int32_t len = 0;

    for (int32_t i = 0; i < q->resources_len; i++)
        len += !is_loggers(&q->resources[i]);
    return len;
}

static void answered(struct request *r, struct slice body)
{
    struct incremental_alter_configs_response rest;

    if (kafka_decode(r->api->response, r->version, body, &r->arena, &rest) !=
            ERR_NONE ||
        rest.responses_len != count_rest(r->msg)) {
        forward_respond_error(
            r, ERR_UNKNOWN_SERVER_ERROR,
            SLICE("The controller's answer cannot be understood."));
        return;
    }
    request_throttle(r, rest.throttle_time_ms);
    respond(r, &rest);
}

static void forward_rest(struct request *r, int32_t len)
{
    const struct incremental_alter_configs_request *q = r->msg;
    struct incremental_alter_configs_request rest = *q;
    struct buf body = BUF_INIT;

    rest.resources_len = 0;
    rest.resources =
        arena_array(&r->arena, (size_t)len, sizeof *rest.resources);
    for (int32_t i = 0; i < q->resources_len; i++)
        if (!is_loggers(&q->resources[i]))
            rest.resources[rest.resources_len++] = q->resources[i];
    if (kafka_encode(r->api->request, r->version, &rest, &body, NULL) ==
        ERR_NONE)
        api_forward_body(r, buf_slice(&body), answered);
    else
        forward_respond_error(r, ERR_INVALID_REQUEST, SLICE_NULL);
    buf_free(&body);
}

void api_incremental_alter_configs(struct request *r)
{
    const struct incremental_alter_configs_request *q = r->msg;
    int32_t rest = count_rest(q);

    if (rest == q->resources_len)
        api_forward(r);
    else if (rest == 0)
        respond(r, NULL);
    else
        forward_rest(r, rest);
}
