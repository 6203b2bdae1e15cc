#include "broker/coord/txn/router.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/map.h"

#include <stdlib.h>

enum { MARKERS_PER_REQUEST = 5000 };

struct target {
    int32_t broker;
    struct list queue; /* of txn_marker.link */
    bool busy;         /* a request is on its way */
};

struct txn_router {
    const struct txn_router_ops *ops;
    void *arg;
    struct map targets; /* broker id, 4 bytes; those that somebody waits for */
};

struct txn_router *txn_router_new(const struct txn_router_ops *ops, void *arg)
{
    struct txn_router *router = xcalloc(1, sizeof *router);

    router->ops = ops;
    router->arg = arg;
    return router;
}

void txn_router_free(struct txn_router *router)
{
    MAP_EACH (e, &router->targets) {
        struct target *t = e->value;

        for (struct list *node; (node = list_pop_front(&t->queue)) != NULL;)
            txn_marker_free(LIST_ENTRY(node, struct txn_marker, link));
        free(t);
    }
    map_free(&router->targets);
    free(router);
}

static struct target *target_of(struct txn_router *router, int32_t broker)
{
    struct slice key = slice_of(&broker, sizeof broker);
    struct target *t = map_get(&router->targets, key);

    if (t != NULL)
        return t;
    t = xcalloc(1, sizeof *t);
    t->broker = broker;
    list_init(&t->queue);
    map_put(&router->targets, key, t);
    return t;
}

/* Into the queue of whoever leads now; NULL: it went back. */
static struct target *place(struct txn_router *router, struct txn_marker *m)
{
    int32_t broker = router->ops->leader(router->arg, m);

    if (broker < 0) {
        router->ops->ended(router->arg, m,
                           broker == TXN_ROUTE_GONE ? TXN_MARKER_GONE
                                                    : TXN_MARKER_RETRY);
        return NULL;
    }
    struct target *t = target_of(router, broker);
    list_push_back(&t->queue, &m->link);
    return t;
}

static void send(struct txn_router *router, struct target *t)
{
    struct txn_marker_request *request =
        txn_marker_request_new(&t->queue, MARKERS_PER_REQUEST);

    t->busy = request != NULL;
    if (request != NULL) {
        router->ops->send(router->arg, t->broker, request);
        return;
    }
    map_remove(&router->targets, slice_of(&t->broker, sizeof t->broker));
    free(t);
}

void txn_router_add(struct txn_router *router, struct list *markers)
{
    struct list touched; /* places all before the first request is made */

    list_init(&touched);
    list_append_all(&touched, markers);
    for (struct list *node; (node = list_pop_front(&touched)) != NULL;)
        place(router, LIST_ENTRY(node, struct txn_marker, link));
    MAP_EACH (e, &router->targets) {
        struct target *t = e->value;

        if (!t->busy)
            send(router, t);
    }
}

/* Leaders may have changed while the markers waited. */
void txn_router_answered(struct txn_router *router, int32_t broker,
                         struct txn_marker_request *request, enum err error,
                         const struct write_txn_markers_response *response)
{
    struct target *t =
        map_get(&router->targets, slice_of(&broker, sizeof broker));
    struct list waiting;

    ASSERT(t != NULL && t->busy);
    txn_marker_request_done(request, error, response, router->ops->ended,
                            router->arg);
    list_init(&waiting);
    list_append_all(&waiting, &t->queue);
    t->busy = false;
    txn_router_add(router, &waiting);
}
