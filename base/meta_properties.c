/* The text of meta.properties. */
#include "base/meta_properties.h"

#include "base/properties.h"

#include <stdlib.h>

bool meta_cluster_id_ok(struct slice id)
{
    if (id.len == 0 || id.len > META_CLUSTER_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] <= ' ' || id.data[i] > '~')
            return false;
    return true;
}

/* A decimal number from 0 to INT32_MAX, or -1. */
static int32_t parse_id(const struct property *p)
{
    int64_t number = 0;

    if (p == NULL || p->value.len == 0 || p->value.len > 10)
        return -1;
    for (size_t i = 0; i < p->value.len; i++) {
        if (p->value.data[i] < '0' || p->value.data[i] > '9')
            return -1;
        number = number * 10 + (p->value.data[i] - '0');
    }
    return number <= INT32_MAX ? (int32_t)number : -1;
}

static const char *read_cluster_id(const struct properties *p, int32_t version,
                                   struct meta_properties *m)
{
    const struct property *id = properties_find(p, SLICE("cluster.id"));

    if (id == NULL)
        return version == 0 ? NULL : "cluster.id is missing";
    if (!meta_cluster_id_ok(id->value))
        return "cluster.id is not valid";
    memcpy(m->cluster_id, id->value.data, id->value.len + 1);
    return NULL;
}

static const char *read_node_id(const struct properties *p, int32_t version,
                                struct meta_properties *m)
{
    struct slice key = version == 0 ? SLICE("broker.id") : SLICE("node.id");

    m->node_id = parse_id(properties_find(p, key));
    return m->node_id >= 0 ? NULL : "node.id is missing or not a number";
}

static const char *read_directory_id(const struct properties *p,
                                     struct meta_properties *m)
{
    const struct property *id = properties_find(p, SLICE("directory.id"));

    if (id == NULL || uuid_parse(id->value, &m->directory_id))
        return NULL;
    return "directory.id is not an id";
}

enum err meta_properties_parse(struct slice text, const char *name,
                               struct meta_properties *m, char **why)
{
    struct properties p;

    *m = (struct meta_properties){.node_id = -1};
    if (properties_parse(text, name, &p, why) != ERR_NONE)
        return ERR_DAMAGED;
    const struct property *v = properties_find(&p, SLICE("version"));
    int32_t version = v == NULL ? 0 : parse_id(v);
    const char *fault = NULL;
    if (version != 0 && version != 1)
        fault = "version is neither 0 nor 1";
    if (fault == NULL)
        fault = read_cluster_id(&p, version, m);
    if (fault == NULL)
        fault = read_node_id(&p, version, m);
    if (fault == NULL)
        fault = read_directory_id(&p, m);
    properties_free(&p);
    if (fault == NULL)
        return ERR_NONE;
    *why = xasprintf("%s: %s", name, fault);
    return ERR_DAMAGED;
}

/* A backslash would escape what follows it; nothing else of a cluster id means
 * anything in a value. */
static void print_cluster_id(const char *id, struct buf *text)
{
    buf_printf(text, "cluster.id=");
    for (; *id != '\0'; id++) {
        if (*id == '\\')
            buf_put_u8(text, '\\');
        buf_put_u8(text, (uint8_t)*id);
    }
    buf_put_u8(text, '\n');
}

void meta_properties_print(const struct meta_properties *m, struct buf *text)
{
    char id[UUID_TEXT_SIZE];

    buf_printf(text, "#\nnode.id=%d\n", m->node_id);
    if (!uuid_is_zero(m->directory_id))
        buf_printf(text, "directory.id=%s\n", uuid_format(m->directory_id, id));
    buf_printf(text, "version=1\n");
    print_cluster_id(m->cluster_id, text);
}
