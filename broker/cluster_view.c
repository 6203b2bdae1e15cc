#include "broker/cluster_view.h"

#include "broker/shard.h"

void cluster_view_init(struct cluster_view *v, struct request *r)
{
    const struct meta *m = request_meta(r);
    const struct server_config *config = m->broker->config;
    struct slice listener = (size_t)r->listener < config->listeners_len
                                ? slice_str(config->listeners[r->listener].name)
                                : SLICE("");

    v->meta = m;
    v->image = &m->image;
    v->arena = &r->arena;
    v->len = m->image.brokers_len;
    v->brokers = arena_array(&r->arena, v->len, sizeof *v->brokers);
    for (size_t i = 0; i < v->len; i++) {
        const struct image_broker *b = m->image.brokers[i];

        v->brokers[i] = (struct view_broker){
            .id = b->id,
            .alive = !b->fenced,
            .broker = b,
            .endpoint = image_endpoint(b, listener),
        };
    }
}

const struct view_broker *cluster_view_broker(const struct cluster_view *v,
                                              int32_t id)
{
    size_t low = 0, high = v->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (v->brokers[mid].id == id)
            return &v->brokers[mid];
        if (v->brokers[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

int32_t cluster_view_controller(const struct cluster_view *v)
{
    int32_t active = control_client_active(v->meta->control);

    if (view_broker_usable(cluster_view_broker(v, active)))
        return active;
    if (view_broker_usable(cluster_view_broker(v, v->meta->broker->node_id)))
        return v->meta->broker->node_id;
    for (size_t i = 0; i < v->len; i++)
        if (view_broker_usable(&v->brokers[i]))
            return v->brokers[i].id;
    return -1;
}

enum err cluster_view_leader(const struct cluster_view *v,
                             const struct image_partition *p)
{
    const struct view_broker *b =
        p->leader >= 0 ? cluster_view_broker(v, p->leader) : NULL;

    if (b == NULL || !b->alive)
        return ERR_LEADER_NOT_AVAILABLE;
    return b->endpoint != NULL ? ERR_NONE : ERR_LISTENER_NOT_FOUND;
}

struct image_ids cluster_view_offline(const struct cluster_view *v,
                                      const struct image_partition *p)
{
    struct image_ids replicas = image_replicas(p);
    int32_t *offline = NULL;
    uint32_t n = 0;

    for (uint32_t i = 0; i < replicas.len; i++) {
        if (view_broker_usable(cluster_view_broker(v, replicas.at[i])) &&
            !image_ids_have(image_offline(p), replicas.at[i]))
            continue;
        if (offline == NULL)
            offline = arena_array(v->arena, replicas.len, sizeof *offline);
        offline[n++] = replicas.at[i];
    }
    return (struct image_ids){offline, n};
}
