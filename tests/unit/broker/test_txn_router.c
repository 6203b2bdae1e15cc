/* Markers find the leaders of their partitions, and come back. */
#include "broker/coord/txn/router.h"

#include <criterion/criterion.h>

enum { PARTITIONS = 8, ENDED_MAX = 64 };

static struct {
    struct txn_router *router;
    int32_t leaders[PARTITIONS];
    struct {
        int32_t broker;
        struct txn_marker_request *request;
    } sent[16];
    int sent_len;
    struct {
        int32_t partition;
        enum txn_marker_result result;
    } ended[ENDED_MAX];
    int ended_len;
} w;

static int32_t leader(void *arg, const struct txn_marker *m)
{
    (void)arg;
    return w.leaders[m->partition];
}

static void on_send(void *arg, int32_t broker,
                    struct txn_marker_request *request)
{
    (void)arg;
    w.sent[w.sent_len].broker = broker;
    w.sent[w.sent_len++].request = request;
}

static void ended(void *arg, struct txn_marker *m,
                  enum txn_marker_result result)
{
    (void)arg;
    w.ended[w.ended_len].partition = m->partition;
    w.ended[w.ended_len++].result = result;
    txn_marker_free(m);
}

static const struct txn_router_ops ops = {leader, on_send, ended};

static void begin(void)
{
    memset(&w, 0, sizeof w);
    w.router = txn_router_new(&ops, NULL);
}

static void end(void) { txn_router_free(w.router); }

TestSuite(txn_router, .init = begin, .fini = end);

static struct slice owned(const char *text)
{
    return slice_of(slice_dup(slice_str(text)), strlen(text));
}

static void put(struct list *markers, int32_t partition, int64_t producer)
{
    struct txn_marker *m = xcalloc(1, sizeof *m);

    m->id = owned("id");
    m->topic = owned("orders");
    m->partition = partition;
    m->producer_id = producer;
    list_init(&m->link);
    list_push_back(markers, &m->link);
}

static void add(int32_t partition, int64_t producer)
{
    struct list markers;

    list_init(&markers);
    put(&markers, partition, producer);
    txn_router_add(w.router, &markers);
}

/* The oldest request hears of a lost connection (ERR_CLOSED), or that all its
 * markers are written. */
static void answer(enum err error)
{
    struct txn_marker_request *request = w.sent[0].request;
    int32_t broker = w.sent[0].broker;
    struct write_txn_markers_response a;
    struct arena arena;

    w.sent_len--;
    memmove(w.sent, w.sent + 1, (size_t)w.sent_len * sizeof *w.sent);
    arena_init(&arena, 0);
    write_txn_markers_response_init(&a);
    a.markers_len = request->request.markers_len;
    a.markers = arena_array(&arena, (size_t)a.markers_len, sizeof *a.markers);
    for (int32_t i = 0; i < a.markers_len; i++) {
        const struct write_txn_markers_request_writable_txn_marker *from =
            &request->request.markers[i];

        a.markers[i].producer_id = from->producer_id;
        a.markers[i].topics_len = 1;
        a.markers[i].topics =
            arena_array(&arena, 1, sizeof *a.markers[i].topics);
        a.markers[i].topics[0].name = from->topics[0].name;
        a.markers[i].topics[0].partitions_len =
            from->topics[0].partition_indexes_len;
        a.markers[i].topics[0].partitions =
            arena_array(&arena, (size_t)from->topics[0].partition_indexes_len,
                        sizeof *a.markers[i].topics[0].partitions);
        for (int32_t p = 0; p < from->topics[0].partition_indexes_len; p++)
            a.markers[i].topics[0].partitions[p].partition_index =
                from->topics[0].partition_indexes[p];
    }
    txn_router_answered(w.router, broker, request, error,
                        error == ERR_NONE ? &a : NULL);
    arena_free(&arena);
}

Test(txn_router, one_request_for_each_leader)
{
    struct list markers;

    list_init(&markers);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        w.leaders[p] = p % 2;
        put(&markers, p, 7);
    }
    txn_router_add(w.router, &markers);
    cr_assert(list_empty(&markers));
    cr_assert_eq(w.sent_len, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(w.sent[i]
                         .request->request.markers[0]
                         .topics[0]
                         .partition_indexes_len,
                     PARTITIONS / 2);
    answer(ERR_NONE);
    answer(ERR_NONE);
    cr_assert_eq(w.ended_len, PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++)
        cr_assert_eq(w.ended[i].result, TXN_MARKER_WRITTEN);
    cr_assert_eq(w.sent_len, 0);
}

Test(txn_router, what_comes_meanwhile_makes_the_next_request)
{
    add(0, 7);
    add(1, 7);
    add(2, 8);
    cr_assert_eq(w.sent_len, 1);
    answer(ERR_NONE);
    cr_assert_eq(w.sent_len, 1);
    cr_assert_eq(w.sent[0].request->request.markers_len, 2);
    answer(ERR_NONE);
    cr_assert_eq(w.ended_len, 3);
}

Test(txn_router, a_lost_connection_sends_markers_back)
{
    add(0, 7);
    add(1, 7);
    w.leaders[1] = 5;
    answer(ERR_CLOSED);
    cr_assert_eq(w.ended_len, 1);
    cr_assert_eq(w.ended[0].result, TXN_MARKER_RETRY);
    cr_assert_eq(w.sent_len, 1);
    cr_assert_eq(w.sent[0].broker, 5, "the leader changed while it waited");
    answer(ERR_NONE);
    cr_assert_eq(w.ended[1].result, TXN_MARKER_WRITTEN);
}

Test(txn_router, no_leader_and_no_topic)
{
    w.leaders[0] = TXN_ROUTE_NOWHERE;
    w.leaders[1] = TXN_ROUTE_GONE;
    add(0, 7);
    add(1, 7);
    cr_assert_eq(w.sent_len, 0);
    cr_assert_eq(w.ended_len, 2);
    cr_assert_eq(w.ended[0].result, TXN_MARKER_RETRY);
    cr_assert_eq(w.ended[1].result, TXN_MARKER_GONE);
}

Test(txn_router, what_waits_is_freed)
{
    add(0, 7);
    add(1, 7); /* waits: the fini frees it */
    txn_marker_request_done(w.sent[0].request, ERR_CLOSED, NULL, ended, NULL);
}
