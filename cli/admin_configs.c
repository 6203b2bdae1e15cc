/* A broker answers for itself alone, so its configuration is asked of it; the
 * rest of any broker, and changes go to the controller's side through any. */
#include "cli/admin_configs.h"

#include <stdlib.h>

const char *config_source_name(int8_t source)
{
    static const char *const names[] = {
        "UNKNOWN",
        "DYNAMIC_TOPIC_CONFIG",
        "DYNAMIC_BROKER_CONFIG",
        "DYNAMIC_DEFAULT_BROKER_CONFIG",
        "STATIC_BROKER_CONFIG",
        "DEFAULT_CONFIG",
        "DYNAMIC_BROKER_LOGGER_CONFIG",
        "DYNAMIC_CLIENT_METRICS_CONFIG",
        "DYNAMIC_GROUP_CONFIG",
    };

    if (source < 0 || (size_t)source >= sizeof names / sizeof *names)
        return names[0];
    return names[source];
}

bool config_source_is_dynamic(int8_t source)
{
    return source > 0 && source != 4 && source != CONFIG_DEFAULT_SOURCE;
}

static int compare_entries(const void *a, const void *b)
{
    const struct config_entry *x = a;
    const struct config_entry *y = b;

    return slice_cmp(x->name, y->name);
}

void admin_configs_sort(struct config_entry *entries, int32_t len)
{
    qsort(entries, (size_t)len, sizeof *entries, compare_entries);
}

static void view(const struct describe_configs_response_result *r,
                 struct arena *a, struct config_entry **entries, int32_t *len)
{
    *entries = arena_array(a, (size_t)r->configs_len + 1, sizeof **entries);
    *len = r->configs_len;
    for (int32_t i = 0; i < r->configs_len; i++) {
        const struct describe_configs_response_resource_result *e =
            &r->configs[i];
        int8_t source = e->config_source;
        if (source < 0) /* version 0 says only whether it is the default */
            source = e->is_default ? CONFIG_DEFAULT_SOURCE : 1;
        (*entries)[i] = (struct config_entry){
            e->name,         e->value,    source,         e->read_only,
            e->is_sensitive, e->synonyms, e->synonyms_len};
    }
}

static enum err told(struct client *c, int16_t code, struct slice message)
{
    if (code == ERR_NONE)
        return ERR_NONE;
    if (message.len != 0)
        return client_fail(c, code, "%.*s", SLICE_FMT(message));
    return client_fail(c, code, "%s (%s)", err_text(code), err_name(code));
}

static enum err describe(struct client *c, int32_t node,
                         struct describe_configs_request_resource *resources,
                         int32_t count, struct arena *a,
                         struct describe_configs_response *out)
{
    struct describe_configs_request q;

    describe_configs_request_init(&q);
    q.resources = resources;
    q.resources_len = count;
    q.include_synonyms = true;
    return client_call(c, node, API_DESCRIBE_CONFIGS, &q, out, a);
}

/* The broker to ask; CLIENT_ANY unless the name is a broker's number. */
static int32_t node_for(enum config_resource type, struct slice name)
{
    int64_t id = 0;

    if ((type != RESOURCE_BROKER && type != RESOURCE_BROKER_LOGGER) ||
        name.len == 0 || name.len > 9)
        return CLIENT_ANY;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < '0' || name.data[i] > '9')
            return CLIENT_ANY;
        id = id * 10 + (name.data[i] - '0');
    }
    return (int32_t)id;
}

enum err admin_configs_describe(struct client *c, enum config_resource type,
                                struct slice name, struct arena *a,
                                struct config_entry **entries, int32_t *len)
{
    struct describe_configs_request_resource resource;
    struct describe_configs_response r;
    int32_t node = node_for(type, name);

    describe_configs_request_resource_init(&resource);
    resource.resource_type = (int8_t)type;
    resource.resource_name = name;
    resource.configuration_keys_len = -1;
    *len = 0;
    if (node >= 0) {
        enum err refreshed = client_refresh(c);
        if (refreshed != ERR_NONE)
            return refreshed;
    }
    enum err error = describe(c, node, &resource, 1, a, &r);
    if (error == ERR_NONE && r.results_len != 1)
        error = client_fail(c, ERR_UNKNOWN_SERVER_ERROR,
                            "the answer is about %d resources", r.results_len);
    if (error == ERR_NONE)
        error = told(c, r.results[0].error_code, r.results[0].error_message);
    if (error == ERR_NONE)
        view(&r.results[0], a, entries, len);
    return error;
}

enum err admin_configs_of_topics(struct client *c, const struct slice *names,
                                 int32_t count, struct arena *a,
                                 struct config_entry **entries, int32_t *len)
{
    struct describe_configs_request_resource *resources =
        arena_array(a, (size_t)count + 1, sizeof *resources);
    struct describe_configs_response r;

    for (int32_t i = 0; i < count; i++) {
        describe_configs_request_resource_init(&resources[i]);
        resources[i].resource_type = RESOURCE_TOPIC;
        resources[i].resource_name = names[i];
        resources[i].configuration_keys_len = -1;
        len[i] = 0;
    }
    enum err error = describe(c, CLIENT_ANY, resources, count, a, &r);
    for (int32_t i = 0; error == ERR_NONE && i < r.results_len; i++) {
        error = told(c, r.results[i].error_code, r.results[i].error_message);
        for (int32_t k = 0; error == ERR_NONE && k < count; k++)
            if (slice_eq(names[k], r.results[i].resource_name))
                view(&r.results[i], a, &entries[k], &len[k]);
    }
    return error;
}

enum err admin_configs_alter(struct client *c, enum config_resource type,
                             struct slice name,
                             const struct config_change *changes, int32_t len,
                             struct arena *a)
{
    struct incremental_alter_configs_request q;
    struct incremental_alter_configs_request_alter_configs_resource resource;
    struct incremental_alter_configs_response r;
    int32_t node = node_for(type, name);

    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    resource.resource_type = (int8_t)type;
    resource.resource_name = name;
    resource.configs =
        arena_array(a, (size_t)len + 1, sizeof *resource.configs);
    resource.configs_len = len;
    for (int32_t i = 0; i < len; i++) {
        resource.configs[i].name = changes[i].key;
        resource.configs[i].value = changes[i].value;
        resource.configs[i].config_operation = (int8_t)changes[i].operation;
    }
    incremental_alter_configs_request_init(&q);
    q.resources = &resource;
    q.resources_len = 1;
    if (node >= 0) {
        enum err refreshed = client_refresh(c);
        if (refreshed != ERR_NONE)
            return refreshed;
    }
    enum err error =
        client_call(c, node, API_INCREMENTAL_ALTER_CONFIGS, &q, &r, a);
    for (int32_t i = 0; error == ERR_NONE && i < r.responses_len; i++)
        error =
            told(c, r.responses[i].error_code, r.responses[i].error_message);
    return error;
}

/* ---- changes as text
 * ----------------------------------------------------------------- */

static struct slice trim(struct slice s)
{
    while (s.len != 0 && s.data[s.len - 1] == ' ')
        s.len--;
    while (s.len != 0 && s.data[0] == ' ') {
        s.data++;
        s.len--;
    }
    return s;
}

/* Where the pair that starts at `text` ends: a comma outside of brackets. */
static size_t pair_length(const char *text)
{
    int depth = 0;
    size_t n = 0;

    for (; text[n] != '\0'; n++) {
        depth += (text[n] == '[') - (text[n] == ']');
        if (text[n] == ',' && depth <= 0)
            break;
    }
    return n;
}

bool admin_changes_parse(const char *text, struct arena *a,
                         struct config_change **changes, int32_t *len,
                         char **why)
{
    *changes = arena_array(a, strlen(text) + 1, sizeof **changes);
    *len = 0;
    while (*text != '\0') {
        size_t n = pair_length(text);
        const char *equals = memchr(text, '=', n);
        if (equals == NULL || equals == text) {
            *why = xasprintf("\"%.*s\" is not of the form key=value", (int)n,
                             text);
            return false;
        }
        struct slice value =
            trim(slice_of(equals + 1, n - (size_t)(equals + 1 - text)));
        if (value.len >= 2 && value.data[0] == '[' &&
            value.data[value.len - 1] == ']')
            value = slice_of(value.data + 1, value.len - 2);
        (*changes)[(*len)++] = (struct config_change){
            trim(slice_of(text, (size_t)(equals - text))), value, CONFIG_SET};
        text += n;
        text += *text == ',';
    }
    return true;
}
