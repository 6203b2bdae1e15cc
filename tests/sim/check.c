#include "tests/sim/check.h"

#include "base/alloc.h"
#include "broker/controller_role.h"
#include "broker/meta_parts.h"
#include "broker/shard.h"
#include "controller/service_parts.h"

#include <stdio.h>

struct check {
    struct check_options options;
    struct check_raft *raft;
    struct check_partitions *partitions;
    struct check_image *image;
    char sentence[256];
};

struct check *check_new(const struct check_options *options)
{
    struct check *c = xcalloc(1, sizeof *c);

    c->options = *options;
    c->raft = check_raft_new(options);
    c->partitions = check_partitions_new(options);
    c->image = check_image_new(options, c->partitions);
    return c;
}

void check_turn(struct check *c, struct env *loop)
{
    struct node *n = loop_process(loop)->owner;

    if (n == NULL || n->server == NULL || !n->running)
        return;
    if (loop == n->server->controller_loop) {
        check_raft_turn(c->raft, n);
        check_image_turn(c->image, n);
        return;
    }
    for (int i = 0; i < n->server->broker.shards_len; i++)
        if (n->server->shard_loops[i] == loop)
            check_partitions_turn(c->partitions, n,
                                  n->server->broker.shards[i]);
}

/* ---- the end ------------------------------------------------------------- */

static const struct image *image_of(const struct node *n)
{
    return n->is_broker
               ? &n->server->broker.meta->image
               : &controller_role_service(n->server->controller)->image;
}

/* Of the leading controller; NULL: none. */
static const struct raft_config *members(const struct check *c)
{
    for (int i = 0; i < *c->options.nodes_len; i++) {
        const struct node *n = c->options.nodes[i];

        if (n->server == NULL || !n->running || !n->is_controller)
            continue;
        const struct controller_service *s =
            controller_role_service(n->server->controller);
        if (s->leader && s->raft != NULL)
            return raft_node_members(s->raft);
    }
    return NULL;
}

/* A controller that nobody has added has nothing to know; nor has one whose
 * addition went with its leader, though it had heard of it. */
static bool is_outside(const struct check *c, const struct node *n)
{
    const struct raft_config *all = members(c);

    if (n->is_broker || n->server == NULL || !n->running)
        return false;
    return (all != NULL && raft_config_find(all, n->id) == NULL) ||
           controller_role_service(n->server->controller)->voters.standing ==
               VOTER_NONE;
}

static void compare_images(struct check *c, const struct node *n,
                           const struct image *image, const struct node *first)
{
    if (image->applied_index == image_of(first)->applied_index &&
        !image_equal(image, image_of(first)))
        history_violation(c->options.history, "metadata-differs",
                          "n%d and n%d know different metadata at %lld",
                          first->id, n->id, (long long)image->applied_index);
}

/* An active controller is about to take the broker for dead. */
static bool is_given_up(const struct check *c, const struct node *broker)
{
    for (int i = 0; i < *c->options.nodes_len; i++) {
        const struct node *n = c->options.nodes[i];

        if (n->server == NULL || !n->running || !n->is_controller)
            continue;
        struct controller_service *s =
            controller_role_service(n->server->controller);
        if (!s->leader || !s->controller.active)
            continue;
        const struct controller_broker *b = map_get(
            &s->controller.brokers, slice_of(&broker->id, sizeof broker->id));
        if (b != NULL &&
            (b->lost || env_now_ms(s->env) - b->contact_ms >
                            s->controller.config.broker_session_timeout_ms / 2))
            return true;
    }
    return false;
}

const char *check_unhealed(struct check *c, bool still)
{
    const struct node *first = NULL;

    for (int i = 0; i < *c->options.nodes_len; i++) {
        const struct node *n = c->options.nodes[i];

        if (!n->wanted || is_outside(c, n))
            continue;
        if (n->server == NULL || (n->is_broker && !node_ready(n))) {
            snprintf(c->sentence, sizeof c->sentence, "n%d is not ready",
                     n->id);
            return c->sentence;
        }
        if (n->is_broker && is_given_up(c, n)) {
            snprintf(c->sentence, sizeof c->sentence,
                     "n%d is not heard by the active controller", n->id);
            return c->sentence;
        }
        if (first == NULL || !still)
            first = n;
        if (!still)
            continue;
        if (image_of(n)->applied_index != image_of(first)->applied_index) {
            snprintf(c->sentence, sizeof c->sentence,
                     "n%d knows the metadata up to %lld, n%d up to %lld",
                     first->id, (long long)image_of(first)->applied_index,
                     n->id, (long long)image_of(n)->applied_index);
            return c->sentence;
        }
        compare_images(c, n, image_of(n), first);
        if (n->is_controller)
            compare_images(
                c, n, &controller_role_service(n->server->controller)->image,
                first);
    }
    return check_partitions_unhealed(c->partitions, still);
}
