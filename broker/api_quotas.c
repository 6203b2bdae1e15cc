/* DescribeClientQuotas, from the image: every entity that the filter matches.
 */
#include "broker/cluster_view.h"
#include "broker/dispatch.h"
#include "controller/quota_entity.h"

/* DescribeClientQuotasRequest.MatchType */
enum { MATCH_EXACT, MATCH_DEFAULT, MATCH_ANY };

typedef struct describe_client_quotas_request_component_data component;

/* What a filter says of each part of an entity. */
struct filter {
    const component *of[QUOTA_PARTS]; /* NULL: nothing */
    int asked;
    bool strict;
};

/* ---- the filter ---------------------------------------------------------- */

static enum err check_match(struct request *r, const component *c,
                            struct slice *why)
{
    static const char *const names[] = {"EXACT", "DEFAULT", "SPECIFIED"};
    bool given = !slice_is_null(c->match);

    if (c->match_type < MATCH_EXACT || c->match_type > MATCH_ANY)
        *why = arena_printf(&r->arena, "Unknown match type %d",
                            (int)c->match_type);
    else if (c->match_type == MATCH_EXACT && !given)
        *why = SLICE("Request specified MATCH_TYPE_EXACT, but set match string "
                     "to null.");
    else if (c->match_type != MATCH_EXACT && given)
        *why = arena_printf(&r->arena,
                            "Request specified MATCH_TYPE_%s, but also "
                            "specified a match string.",
                            names[c->match_type]);
    else
        return ERR_NONE;
    return ERR_INVALID_REQUEST;
}

static enum err take_component(struct request *r, const component *c,
                               struct filter *f, struct slice *why)
{
    enum quota_part part = quota_part_find(c->entity_type);

    if (c->entity_type.len == 0) {
        *why = SLICE("Invalid empty entity type.");
        return ERR_INVALID_REQUEST;
    }
    if (part == QUOTA_PARTS) {
        *why = arena_printf(&r->arena, "Unsupported entity type %.*s",
                            SLICE_FMT(c->entity_type));
        return ERR_UNSUPPORTED_VERSION;
    }
    if (f->of[part] != NULL) {
        *why = arena_printf(
            &r->arena,
            "Entity type %.*s cannot appear more than once in the filter.",
            SLICE_FMT(c->entity_type));
        return ERR_INVALID_REQUEST;
    }
    f->of[part] = c;
    f->asked++;
    return check_match(r, c, why);
}

static enum err take_filter(struct request *r, struct filter *f,
                            struct slice *why)
{
    const struct describe_client_quotas_request *q = r->msg;
    enum err error = ERR_NONE;

    *f = (struct filter){.strict = q->strict};
    for (int32_t i = 0; i < q->components_len && error == ERR_NONE; i++)
        error = take_component(r, &q->components[i], f, why);
    if (error == ERR_NONE && f->of[QUOTA_IP] != NULL && f->asked > 1) {
        *why = SLICE("Invalid entity filter component combination. IP filter "
                     "component should not be used with user or clientId "
                     "filter component.");
        error = ERR_INVALID_REQUEST;
    }
    return error;
}

static bool part_matches(const component *c, const struct quota_entity *e,
                         int part)
{
    if (!e->has[part])
        return false;
    switch (c->match_type) {
    case MATCH_EXACT:
        return !slice_is_null(e->name[part]) &&
               slice_eq(e->name[part], c->match);
    case MATCH_DEFAULT:
        return slice_is_null(e->name[part]);
    default:
        return true;
    }
}

static bool matches(const struct filter *f, const struct quota_entity *e)
{
    int parts = 0;

    for (int i = 0; i < QUOTA_PARTS; i++) {
        parts += e->has[i];
        if (f->of[i] != NULL && !part_matches(f->of[i], e, i))
            return false;
    }
    return !f->strict || parts == f->asked;
}

/* ---- the answer ---------------------------------------------------------- */

static void fill_entity(struct request *r, const struct quota_entity *e,
                        struct describe_client_quotas_response_entry_data *out)
{
    out->entity = arena_array(&r->arena, QUOTA_PARTS, sizeof *out->entity);
    for (int i = 0; i < QUOTA_PARTS; i++) {
        if (!e->has[i])
            continue;
        struct describe_client_quotas_response_entity_data *part =
            &out->entity[out->entity_len++];

        describe_client_quotas_response_entity_data_init(part);
        part->entity_type = slice_str(quota_part_name((enum quota_part)i));
        part->entity_name = e->name[i];
    }
}

static void fill_values(struct request *r, const struct image_configs *set,
                        struct describe_client_quotas_response_entry_data *out)
{
    out->values =
        arena_array(&r->arena, map_count(&set->by_key), sizeof *out->values);
    MAP_EACH (e, &set->by_key) {
        struct describe_client_quotas_response_value_data *value =
            &out->values[out->values_len++];

        describe_client_quotas_response_value_data_init(value);
        value->key = arena_copy(&r->arena, e->key);
        config_parse_double(slice_str(e->value), &value->value);
    }
}

static void fill(struct request *r, const struct filter *f,
                 struct describe_client_quotas_response *a)
{
    const struct image *image = &request_meta(r)->image;

    a->entries =
        arena_array(&r->arena, map_count(&image->configs), sizeof *a->entries);
    a->entries_len = 0;
    MAP_EACH (e, &image->configs) {
        const struct image_configs *set = e->value;
        struct quota_entity entity;

        if (set->type != IMAGE_RESOURCE_CLIENT_QUOTA ||
            !quota_entity_decode(slice_str(set->name), &r->arena, &entity) ||
            !matches(f, &entity))
            continue;
        struct describe_client_quotas_response_entry_data *out =
            &a->entries[a->entries_len++];
        describe_client_quotas_response_entry_data_init(out);
        fill_entity(r, &entity, out);
        fill_values(r, set, out);
    }
}

void api_describe_client_quotas(struct request *r)
{
    struct describe_client_quotas_response a;
    struct filter filter;
    struct slice why = SLICE_NULL;

    describe_client_quotas_response_init(&a);
    enum err error = take_filter(r, &filter, &why);
    if (error == ERR_NONE) {
        fill(r, &filter, &a);
    } else {
        a.error_code = err_wire(error);
        a.error_message = why;
        a.entries = NULL;
        a.entries_len = -1;
    }
    request_respond(r, &a);
}
