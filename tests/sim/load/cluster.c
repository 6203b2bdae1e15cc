/* What a client knows of the cluster: brokers and topics from Metadata, the
 * coordinator of its group from FindCoordinator. */
#include "proto/kafka/api.h"
#include "tests/sim/load/client.h"
#include "tests/sim/load/client_parts.h"

#include <stdlib.h>

enum {
    LOOK_APART_MS = 50,
    SEARCH_APART_MS = 100,
    METADATA_WITH_IDS = 10,
};

static void look(void *arg);
static void search(void *arg);

void load_cluster_init(struct load_client *c)
{
    c->look_timer.fn = look;
    c->look_timer.arg = c;
    c->search_timer.fn = search;
    c->search_timer.arg = c;
    c->looked_ms = INT64_MIN / 2;
    c->coordinator = -1;
}

void load_cluster_reset(struct load_client *c)
{
    env_timer_stop(c->env, &c->look_timer);
    env_timer_stop(c->env, &c->search_timer);
    c->looking = c->look_wanted = c->searching = false;
    c->coordinator = -1;
}

static void free_topics(struct load_topic *topics, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        for (int32_t p = 0; p < topics[i].partitions_len; p++)
            free(topics[i].partitions[p].replicas);
        free(topics[i].partitions);
        free(topics[i].name);
    }
    free(topics);
}

static void free_nodes(struct load_client *c)
{
    for (size_t i = 0; i < c->nodes_len; i++)
        free(c->nodes[i].host);
    free(c->nodes);
    free(c->node_ids);
    c->nodes = NULL;
    c->node_ids = NULL;
    c->nodes_len = 0;
}

void load_cluster_free(struct load_client *c)
{
    free_topics(c->topics, c->topics_len);
    free_nodes(c);
    free(c->group);
}

bool load_client_address(const struct load_client *c, int32_t node,
                         const char **host, uint16_t *port)
{
    if (node <= BOOTSTRAP_BASE) {
        const struct load_address *a =
            &c->options.bootstrap[BOOTSTRAP_BASE - node];
        *host = a->host;
        *port = a->port;
        return true;
    }
    for (size_t i = 0; i < c->nodes_len; i++)
        if (c->nodes[i].id == (node & ~LOAD_SECOND)) {
            *host = c->nodes[i].host;
            *port = c->nodes[i].port;
            return true;
        }
    return false;
}

int32_t load_client_pick(struct load_client *c)
{
    size_t n = c->nodes_len + c->options.bootstrap_len;
    size_t i = (size_t)prng_below(&c->prng, n);

    return i < c->nodes_len ? c->nodes[i].id
                            : BOOTSTRAP_BASE - (int32_t)(i - c->nodes_len);
}

/* ---- metadata
 * ------------------------------------------------------------------ */

static void keep_nodes(struct load_client *c, const struct metadata_response *m)
{
    free_nodes(c);
    c->nodes = xcalloc((size_t)m->brokers_len + 1, sizeof *c->nodes);
    c->node_ids = xcalloc((size_t)m->brokers_len + 1, sizeof *c->node_ids);
    for (int32_t i = 0; i < m->brokers_len; i++) {
        c->node_ids[c->nodes_len] = m->brokers[i].node_id;
        c->nodes[c->nodes_len++] =
            (struct node){m->brokers[i].node_id, slice_dup(m->brokers[i].host),
                          (uint16_t)m->brokers[i].port};
    }
}

/* A broker that lags may tell an older epoch: what is known stays (KIP-320). */
static void keep_partition(const struct load_topic *known,
                           const struct metadata_response_partition *m,
                           struct load_partition *p)
{
    *p = (struct load_partition){.leader = m->leader_id,
                                 .leader_epoch = m->leader_epoch,
                                 .replicas_len = m->replica_nodes_len,
                                 .isr_len = m->isr_nodes_len};
    if (m->replica_nodes_len > 0)
        p->replicas = xmemdup(m->replica_nodes, (size_t)m->replica_nodes_len *
                                                    sizeof *p->replicas);
    if (known == NULL || m->partition_index >= known->partitions_len)
        return;
    const struct load_partition *old = &known->partitions[m->partition_index];
    if (old->leader_epoch > p->leader_epoch) {
        p->leader = old->leader;
        p->leader_epoch = old->leader_epoch;
    }
}

static const struct load_topic *find_id(const struct load_client *c,
                                        struct uuid id)
{
    for (size_t i = 0; i < c->topics_len; i++)
        if (uuid_eq(c->topics[i].id, id))
            return &c->topics[i];
    return NULL;
}

static void keep_topic(const struct load_client *c,
                       const struct metadata_response_topic *m,
                       struct load_topic *t)
{
    const struct load_topic *known = find_id(c, m->topic_id);
    int32_t count = 0;

    for (int32_t i = 0; i < m->partitions_len; i++)
        if (m->partitions[i].partition_index >= count)
            count = m->partitions[i].partition_index + 1;
    *t = (struct load_topic){
        .name = slice_dup(m->name),
        .id = m->topic_id,
        .partitions = xcalloc((size_t)count + 1, sizeof *t->partitions),
        .partitions_len = count};
    for (int32_t i = 0; i < count; i++)
        t->partitions[i].leader = t->partitions[i].leader_epoch = -1;
    for (int32_t i = 0; i < m->partitions_len; i++)
        if (m->partitions[i].partition_index >= 0)
            keep_partition(known, &m->partitions[i],
                           &t->partitions[m->partitions[i].partition_index]);
}

static void keep_topics(struct load_client *c,
                        const struct metadata_response *m)
{
    struct load_topic *topics =
        xcalloc((size_t)m->topics_len + 1, sizeof *topics);
    size_t len = 0;

    for (int32_t i = 0; i < m->topics_len; i++)
        if (m->topics[i].error_code == ERR_NONE && !m->topics[i].is_internal)
            keep_topic(c, &m->topics[i], &topics[len++]);
    free_topics(c->topics, c->topics_len);
    c->topics = topics;
    c->topics_len = len;
}

static void looked(void *arg, enum err error, const void *response)
{
    struct load_client *c = arg;
    const struct metadata_response *m = response;

    c->looking = false;
    if (error == ERR_NONE && m->error_code == ERR_NONE) {
        c->looks++;
        keep_nodes(c, m);
        keep_topics(c, m);
    } else {
        c->look_wanted = true;
    }
    int64_t since = env_now_ms(c->env) - c->looked_ms;
    int64_t wait = c->look_wanted ? LOOK_APART_MS : c->options.metadata_age_ms;
    env_timer_start(c->env, &c->look_timer, wait > since ? wait - since : 0);
}

static void look(void *arg)
{
    struct load_client *c = arg;
    struct metadata_request q;

    metadata_request_init(&q);
    q.topics_len = -1;
    q.allow_auto_topic_creation = false;
    c->looking = true;
    c->look_wanted = false;
    c->looked_ms = env_now_ms(c->env);
    load_client_call(
        c, LOAD_ANY_NODE, API_METADATA,
        load_client_version(c, API_METADATA, METADATA_WITH_IDS, INT16_MAX), &q,
        0, looked, c);
}

void load_client_look(struct load_client *c)
{
    int64_t since = env_now_ms(c->env) - c->looked_ms;

    if (c->look_wanted)
        return;
    c->look_wanted = true;
    if (!c->looking)
        env_timer_start(c->env, &c->look_timer,
                        since < LOOK_APART_MS ? LOOK_APART_MS - since : 0);
}

uint64_t load_client_looks(const struct load_client *c) { return c->looks; }

const struct load_topic *load_client_topic(const struct load_client *c,
                                           struct slice name, struct uuid id)
{
    if (!uuid_is_zero(id))
        return find_id(c, id);
    for (size_t i = 0; i < c->topics_len; i++)
        if (slice_eq_str(name, c->topics[i].name))
            return &c->topics[i];
    return NULL;
}

size_t load_client_topics(const struct load_client *c,
                          const struct load_topic **topics)
{
    *topics = c->topics;
    return c->topics_len;
}

size_t load_client_nodes(const struct load_client *c, const int32_t **ids)
{
    *ids = c->node_ids;
    return c->nodes_len;
}

int32_t load_client_leader(struct load_client *c, struct slice name,
                           struct uuid id, int32_t partition, int32_t *epoch)
{
    const struct load_topic *t = load_client_topic(c, name, id);
    const char *host;
    uint16_t port;

    if (t != NULL && partition < t->partitions_len) {
        const struct load_partition *p = &t->partitions[partition];
        if (p->leader >= 0 && load_client_address(c, p->leader, &host, &port)) {
            *epoch = p->leader_epoch;
            return p->leader;
        }
    }
    load_client_look(c);
    return -1;
}

/* ---- the coordinator
 * -------------------------------------------------------------- */

static void found(void *arg, enum err error, const void *response)
{
    struct load_client *c = arg;
    const struct find_coordinator_response *a = response;
    int32_t node = -1;
    const char *host;
    uint16_t port;

    if (error == ERR_NONE && a->coordinators_len > 0) {
        error = (enum err)a->coordinators[0].error_code;
        node = a->coordinators[0].node_id;
    } else if (error == ERR_NONE) {
        error = (enum err)a->error_code;
        node = a->node_id;
    }
    if (error == ERR_NONE && load_client_address(c, node, &host, &port)) {
        c->searching = false;
        c->coordinator = node | LOAD_SECOND;
        return;
    }
    load_client_look(c);
    env_timer_start(c->env, &c->search_timer, SEARCH_APART_MS);
}

static void search(void *arg)
{
    struct load_client *c = arg;
    struct find_coordinator_request q;
    struct slice key = slice_str(c->group);
    int16_t version =
        load_client_version(c, API_FIND_COORDINATOR, 0, INT16_MAX);

    find_coordinator_request_init(&q);
    if (version >= 4) {
        q.coordinator_keys = &key;
        q.coordinator_keys_len = 1;
    } else {
        q.key = key;
    }
    load_client_call(c, LOAD_ANY_NODE, API_FIND_COORDINATOR, version, &q, 0,
                     found, c);
}

int32_t load_client_coordinator(struct load_client *c, const char *group)
{
    if (c->group == NULL)
        c->group = xstrdup(group);
    ASSERT(strcmp(c->group, group) == 0);
    if (c->coordinator >= 0 || c->searching)
        return c->coordinator;
    c->searching = true;
    env_timer_start(c->env, &c->search_timer, 0);
    return -1;
}

void load_client_forget_coordinator(struct load_client *c)
{
    c->coordinator = -1;
}
