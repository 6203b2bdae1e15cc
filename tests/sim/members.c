#include "tests/sim/members.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/controller_role.h"
#include "controller/service_parts.h"
#include "tests/sim/trace.h"

#include <stdlib.h>

enum { MOVES_MAX = 100, REPLICAS_MAX = 16 };

static struct controller_service *service_of(const struct node *n)
{
    return n->is_controller && n->running && n->server != NULL
               ? controller_role_service(n->server->controller)
               : NULL;
}

struct node *members_leader(const struct members *m)
{
    struct node *leader = NULL;
    uint64_t newest = 0;

    for (int i = 0; i < *m->nodes_len; i++) {
        struct controller_service *s = service_of(m->nodes[i]);

        if (s == NULL || s->raft == NULL)
            continue;
        const struct raft *r = raft_node_core(s->raft);
        /* One of an earlier term knows less than is decided. */
        if (r->term > newest)
            leader = NULL;
        if (r->term >= newest && s->leader)
            leader = m->nodes[i];
        if (r->term > newest)
            newest = r->term;
    }
    return leader;
}

/* Who leads and decides. */
static struct node *active_of(const struct members *m)
{
    struct node *n = members_leader(m);
    const struct controller_service *s = n != NULL ? service_of(n) : NULL;

    return s != NULL && s->controller.active && !s->closing ? n : NULL;
}

static bool votes(const struct controller_service *s, int32_t id)
{
    const struct raft_member *m =
        raft_config_find(raft_node_members(s->raft), id);

    return m != NULL && m->voter;
}

/* ---- asking the active controller ---------------------------------------- */

struct request {
    struct env_task task;
    struct node *node;
    int16_t api_key;
    int16_t version;
    struct buf body;
};

static void decide(struct controller_service *s, const struct request *r)
{
    struct controller_call call;
    struct controller_update update;
    struct buf response = BUF_INIT;
    struct arena arena;

    arena_init(&arena, 0);
    service_begin(s, &call, &arena);
    controller_handle_kafka(&s->controller, &call, r->api_key, r->version,
                            buf_slice(&r->body), &response, &update);
    service_carry_out(s, &update);
    buf_free(&response);
    arena_free(&arena);
}

static void change_voters(struct controller_service *s, const struct request *r)
{
    struct voter_reply nobody = {.api_key = r->api_key, .version = r->version};
    struct arena arena;

    arena_init(&arena, 0);
    ASSERT(service_change_voters(s, &nobody, buf_slice(&r->body), &arena) ==
           ERR_NONE);
    arena_free(&arena);
}

static void carry_out(struct env_task *task)
{
    struct request *r = LIST_ENTRY(task, struct request, task);
    struct controller_service *s = service_of(r->node);

    if (s != NULL && s->controller.active && !s->stopping) {
        if (service_changes_voters(r->api_key))
            change_voters(s, r);
        else
            decide(s, r);
    }
    buf_free(&r->body);
    free(r);
}

static void ask(struct node *active, int16_t api_key, int16_t version,
                const struct kafka_desc *desc, const void *q)
{
    struct request *r = xcalloc(1, sizeof *r);

    r->task.fn = carry_out;
    r->node = active;
    r->api_key = api_key;
    r->version = version;
    ASSERT(kafka_encode(desc, version, q, &r->body, NULL) == ERR_NONE);
    loop_call(active->server->controller_loop, &r->task);
}

/* ---- voters -------------------------------------------------------------- */

static struct uuid directory_of(int32_t id)
{
    return (struct uuid){{(uint8_t)id}};
}

static void add_voter(struct node *active, const struct node *n)
{
    struct add_raft_voter_request_listener at = {
        .name = SLICE("CONTROLLER"),
        .host = slice_str(n->host->name),
        .port = NODE_CONTROLLER_PORT,
    };
    struct add_raft_voter_request q;

    trace_line(NULL, "n%d is asked to make n%d a voter", active->id, n->id);
    add_raft_voter_request_init(&q);
    q.cluster_id = SLICE_NULL;
    q.timeout_ms = 10000;
    q.voter_id = n->id;
    q.voter_directory_id = directory_of(n->id);
    q.listeners = &at;
    q.listeners_len = 1;
    ask(active, API_ADD_RAFT_VOTER, 1, &add_raft_voter_request_desc, &q);
}

static void remove_voter(struct node *active, int32_t id)
{
    struct remove_raft_voter_request q;

    trace_line(NULL, "n%d is asked to remove the voter n%d", active->id, id);
    remove_raft_voter_request_init(&q);
    q.cluster_id = SLICE_NULL;
    q.voter_id = id;
    q.voter_directory_id = directory_of(id);
    ask(active, API_REMOVE_RAFT_VOTER, 0, &remove_raft_voter_request_desc, &q);
}

void members_add_voters(const struct members *m, uint64_t chance, int times)
{
    struct node *active = active_of(m);

    for (int i = 0; i < *m->nodes_len && active != NULL && times > 0; i++) {
        struct node *n =
            m->nodes[(chance + (uint64_t)i) % (uint64_t)*m->nodes_len];

        if (!n->is_controller || n->gone || votes(service_of(active), n->id))
            continue;
        add_voter(active, n);
        times--;
    }
}

void members_remove_voters(const struct members *m, uint64_t chance, int times)
{
    struct node *active = active_of(m);

    for (int i = 0; i < *m->nodes_len && active != NULL && times > 0; i++) {
        struct node *n =
            m->nodes[(chance + (uint64_t)i) % (uint64_t)*m->nodes_len];

        if (!votes(service_of(active), n->id))
            continue;
        remove_voter(active, n->id);
        times--;
    }
}

/* ---- leaving ------------------------------------------------------------- */

enum { KNOWN_BROKERS_MIN = 2 };

static bool can_go(const struct members *m, const struct node *n)
{
    int brokers = 0, known_brokers = 0, known_controllers = 0;

    for (int i = 0; i < *m->nodes_len; i++) {
        const struct node *other = m->nodes[i];

        if (other == n || other->gone)
            continue;
        brokers += other->is_broker;
        known_brokers += other->is_broker && i < m->initial;
        known_controllers += other->is_controller && i < m->initial;
    }
    return n->is_broker && !n->gone && brokers >= m->replication &&
           known_brokers >= KNOWN_BROKERS_MIN && known_controllers > 0;
}

struct node *members_choose_leaver(const struct members *m, uint64_t chance)
{
    for (int i = 0; i < *m->nodes_len; i++) {
        struct node *n =
            m->nodes[(chance + (uint64_t)i) % (uint64_t)*m->nodes_len];

        if (can_go(m, n))
            return n;
    }
    return NULL;
}

static bool among(const int32_t *ids, int32_t len, int32_t id)
{
    for (int32_t i = 0; i < len; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Somebody else for the partition; -1: nobody is there. */
static int32_t successor(const struct image *image, const int32_t *replicas,
                         int32_t len, int32_t leaver, size_t turn)
{
    for (size_t i = 0; i < image->brokers_len; i++) {
        const struct image_broker *b =
            image->brokers[(turn + i) % image->brokers_len];

        if (b->id != leaver && !b->fenced && !among(replicas, len, b->id))
            return b->id;
    }
    return -1;
}

struct moves {
    struct alter_partition_reassignments_request_reassignable_topic
        topics[MOVES_MAX];
    struct alter_partition_reassignments_request_reassignable_partition
        parts[MOVES_MAX];
    int32_t replicas[MOVES_MAX][REPLICAS_MAX];
    int32_t len;
    bool any; /* a partition has the leaver, moving or not */
};

/* Whether the partition has the node, whatever becomes of it. */
static void move_partition(struct moves *moves, const struct image *image,
                           const struct image_topic *t, int32_t index,
                           int32_t leaver)
{
    const struct image_partition *p = t->partitions[index];
    int32_t *to = moves->replicas[moves->len];

    if (!among(p->ids, p->replicas_len, leaver))
        return;
    moves->any = true;
    if (p->adding_len != 0 || p->removing_len != 0 ||
        p->replicas_len > REPLICAS_MAX || moves->len == MOVES_MAX)
        return;
    memcpy(to, p->ids, p->replicas_len * sizeof *to);
    for (int32_t i = 0; i < p->replicas_len; i++)
        if (to[i] == leaver)
            to[i] = successor(image, p->ids, p->replicas_len, leaver,
                              (size_t)index);
    if (among(to, p->replicas_len, -1))
        return;
    struct alter_partition_reassignments_request_reassignable_partition *part =
        &moves->parts[moves->len];
    struct alter_partition_reassignments_request_reassignable_topic *topic =
        &moves->topics[moves->len++];

    alter_partition_reassignments_request_reassignable_partition_init(part);
    alter_partition_reassignments_request_reassignable_topic_init(topic);
    part->partition_index = index;
    part->replicas = to;
    part->replicas_len = p->replicas_len;
    topic->name = slice_str(t->name);
    topic->partitions = part;
    topic->partitions_len = 1;
}

static bool has_replicas(const struct image *image, int32_t leaver,
                         struct moves *moves)
{
    for (uint32_t i = 0; i < image->topics_len; i++)
        for (int32_t k = 0;
             image->topics[i] != NULL && k < image->topics[i]->partitions_len;
             k++)
            move_partition(moves, image, image->topics[i], k, leaver);
    return moves->any;
}

/* True as long as a partition has it. */
static bool move_replicas(struct node *active, int32_t leaver)
{
    struct moves *moves = xcalloc(1, sizeof *moves);
    struct alter_partition_reassignments_request q;
    bool any =
        has_replicas(&service_of(active)->controller.image, leaver, moves);

    if (moves->len != 0) {
        trace_line(NULL, "%d replicas are to leave n%d", moves->len, leaver);
        alter_partition_reassignments_request_init(&q);
        q.topics = moves->topics;
        q.topics_len = moves->len;
        ask(active, API_ALTER_PARTITION_REASSIGNMENTS, 0,
            &alter_partition_reassignments_request_desc, &q);
    }
    free(moves);
    return any;
}

static void unregister(struct node *active, int32_t id)
{
    struct unregister_broker_request q;

    unregister_broker_request_init(&q);
    q.broker_id = id;
    ask(active, API_UNREGISTER_BROKER, 0, &unregister_broker_request_desc, &q);
}

bool members_leave_on(const struct members *m, struct node *n)
{
    struct node *active = active_of(m);

    if (active == NULL)
        return false;
    const struct controller_service *s = service_of(active);
    if (votes(s, n->id)) {
        remove_voter(active, n->id);
        return false;
    }
    if (move_replicas(active, n->id))
        return false;
    /* One that has ended by itself is not started again either. */
    if (!n->stopping || n->process == NULL)
        node_stop(n);
    if (n->process != NULL)
        return false;
    /* Its registration may still be on its way; then it is waited for. */
    if (image_broker(&s->image, n->id) != NULL) {
        n->taken_out = true;
        unregister(active, n->id);
        return false;
    }
    if (!n->taken_out)
        return false;
    struct moves *moves = xcalloc(1, sizeof *moves);
    n->gone = !has_replicas(&s->image, n->id, moves);
    free(moves);
    return n->gone;
}
