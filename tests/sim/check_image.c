/* What the active controller decided: looked at in the image that it decides
 * by, as soon as it has. */
#include "tests/sim/check.h"

#include "base/alloc.h"
#include "broker/controller_role.h"
#include "controller/service_parts.h"

#include <stdlib.h>

enum { NODES_MAX = 16 };

/* A partition as it was, by the same controller in the same activation. */
struct was {
    uint64_t activation;
    int32_t leader;
    int32_t leader_epoch;
    int32_t partition_epoch;
    uint64_t isr;
};

/* One controller. */
struct seen {
    int process;
    uint64_t term;
    int64_t applied_index;
    uint64_t activation;       /* number of; all looks in one see it go on */
    int64_t epochs[NODES_MAX]; /* of brokers, by id; 0 not seen */
    bool fenced[NODES_MAX];
    int64_t partitions_count;
    struct map partitions; /* topic id, partition -> struct was */
};

struct check_image {
    struct check_options options;
    struct check_partitions *partitions;
    struct seen seen[NODES_MAX];
};

struct check_image *check_image_new(const struct check_options *options,
                                    struct check_partitions *partitions)
{
    struct check_image *c = xcalloc(1, sizeof *c);

    c->options = *options;
    c->partitions = partitions;
    for (int i = 0; i < NODES_MAX; i++)
        c->seen[i].process = -1;
    return c;
}

static uint64_t bits(struct image_ids ids)
{
    uint64_t set = 0;

    for (uint32_t i = 0; i < ids.len; i++)
        set |= UINT64_C(1) << (ids.at[i] & 63);
    return set;
}

static struct node *node_by_id(const struct check_image *c, int32_t id)
{
    for (int i = 0; i < *c->options.nodes_len; i++)
        if (c->options.nodes[i]->id == id)
            return c->options.nodes[i];
    return NULL;
}

/* ---- brokers ------------------------------------------------------------- */

static bool is_live(const struct image *image, int32_t id)
{
    const struct image_broker *b = image_broker(image, id);

    return b != NULL && !b->fenced;
}

/* What it had may be lost: it is in sync only if nobody else is, and may not be
 * elected because it once was. */
static void check_crashed(struct check_image *c, const struct image *image,
                          int32_t id)
{
    const struct image_topic *t;

    for (uint32_t at = 0; (t = image_topic_next(image, &at)) != NULL;)
        for (int32_t i = 0; i < t->partitions_len; i++) {
            const struct image_partition *p = t->partitions[i];

            if (image_ids_have(image_elr(p), id) ||
                (p->isr_len > 1 && image_ids_have(image_isr(p), id)))
                history_violation(c->options.history, "eligible-crashed",
                                  "%s-%d: n%d crashed and registered again, "
                                  "and is still %s",
                                  t->name, i, id,
                                  image_ids_have(image_elr(p), id)
                                      ? "an eligible leader"
                                      : "in sync");
        }
}

static void check_brokers(struct check_image *c, struct seen *s,
                          const struct image *image)
{
    for (size_t i = 0; i < image->brokers_len; i++) {
        const struct image_broker *b = image->brokers[i];
        const struct node *n = node_by_id(c, b->id);
        int64_t before = s->epochs[b->id];

        if (n == NULL)
            continue;
        if (before != 0 && before != b->epoch) {
            check_moment(&c->options, MOMENT_REGISTERED, n);
            if (n->crashed_epoch == before)
                check_crashed(c, image, b->id);
        }
        /* Only who knows its epoch can have asked for it. */
        if (!b->fenced && (before != b->epoch || s->fenced[b->id]) &&
            node_epoch(n) < b->epoch)
            history_violation(c->options.history, "unfenced-early",
                              "n%d is unfenced with broker epoch %lld, and "
                              "knows none but %lld",
                              b->id, (long long)b->epoch,
                              (long long)node_epoch(n));
        s->epochs[b->id] = b->epoch;
        s->fenced[b->id] = b->fenced;
    }
}

/* ---- partitions ---------------------------------------------------------- */

/* The same leader, and another in-sync set: it asked for that, knowing the one
 * that was replaced, unless somebody left whom the controller took out. */
static void check_change(struct check_image *c, const struct image *image,
                         const struct image_topic *t, int32_t partition,
                         const struct was *was, const struct was *now)
{
    uint64_t left = was->isr & ~now->isr, joined = now->isr & ~was->isr;

    if (was->activation != now->activation || was->leader < 0 ||
        was->leader != now->leader || was->leader_epoch != now->leader_epoch ||
        was->partition_epoch + 1 != now->partition_epoch ||
        (left | joined) == 0)
        return;
    for (int32_t id = 0; id < NODES_MAX && joined == 0; id++)
        if ((left >> id & 1) != 0 &&
            (!is_live(image, id) ||
             image_ids_have(image_offline(t->partitions[partition]), id) ||
             image_broker(image, id)->in_controlled_shutdown))
            return;
    const struct asked *asked = check_partitions_asked(
        c->partitions, t->id, partition, was->partition_epoch, now->isr);
    const struct node *leader = node_by_id(c, was->leader);
    if (asked == NULL &&
        (leader == NULL || !check_partitions_offline(leader, t->id, partition)))
        history_violation(c->options.history, "isr-unasked",
                          "%s-%d: the in-sync set went from %llx to %llx after "
                          "partition epoch %d, and the leader, n%d, did not "
                          "ask for it then",
                          t->name, partition, (unsigned long long)was->isr,
                          (unsigned long long)now->isr, was->partition_epoch,
                          was->leader);
    for (int32_t id = 0; id < NODES_MAX && asked != NULL; id++) {
        const struct image_broker *b = image_broker(image, id);

        if ((joined >> id & 1) != 0 && b != NULL && asked->epochs[id] > 0 &&
            asked->epochs[id] < b->epoch)
            history_violation(c->options.history, "isr-unasked",
                              "%s-%d: n%d is in sync as the leader, n%d, asked "
                              "for its life %lld, and this is its life %lld",
                              t->name, partition, id, was->leader,
                              (long long)asked->epochs[id],
                              (long long)b->epoch);
    }
}

static void check_partition(struct check_image *c, struct seen *s,
                            const struct image *image,
                            const struct image_topic *t, int32_t partition)
{
    const struct image_partition *p = t->partitions[partition];
    uint8_t key[20];
    struct was now = {s->activation, p->leader, p->leader_epoch,
                      p->partition_epoch, bits(image_isr(p))};

    if (p->leader >= 0 && (!is_live(image, p->leader) ||
                           !image_ids_have(image_isr(p), p->leader)))
        history_violation(c->options.history, "leader-not-live",
                          "%s-%d: n%d leads epoch %d and is %s", t->name,
                          partition, p->leader, p->leader_epoch,
                          is_live(image, p->leader) ? "not in sync" : "fenced");
    memcpy(key, t->id.bytes, 16);
    be32_put(key + 16, (uint32_t)partition);
    struct was *was = map_get(&s->partitions, slice_of(key, sizeof key));
    if (was == NULL) {
        was = xmalloc(sizeof *was);
        map_put(&s->partitions, slice_of(key, sizeof key), was);
    } else {
        check_change(c, image, t, partition, was, &now);
    }
    *was = now;
}

void check_image_turn(struct check_image *c, struct node *n)
{
    const struct controller_service *service =
        controller_role_service(n->server->controller);
    struct seen *s = &c->seen[n->id];
    const struct image *image = &service->controller.image;
    const struct image_topic *t;

    ASSERT(n->id < NODES_MAX);
    if (service->raft == NULL || service->closing ||
        !service->controller.active)
        return;
    uint64_t term = raft_node_core(service->raft)->term;
    if (s->process != n->process->number || s->term != term ||
        image->applied_index < s->applied_index) {
        s->process = n->process->number;
        s->term = term;
        s->activation++;
        memset(s->epochs, 0, sizeof s->epochs);
    } else if (image->applied_index == s->applied_index) {
        return;
    }
    s->applied_index = image->applied_index;
    if (image->partitions_count < s->partitions_count)
        check_moment(&c->options, MOMENT_DELETED, n);
    s->partitions_count = image->partitions_count;
    check_brokers(c, s, image);
    for (uint32_t at = 0; (t = image_topic_next(image, &at)) != NULL;)
        for (int32_t i = 0; i < t->partitions_len; i++)
            check_partition(c, s, image, t, i);
}
