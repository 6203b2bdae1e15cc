#include "controller/placement.h"

#include "base/arena.h"
#include "base/assert.h"

static bool is_active(const struct image_broker *b)
{
    return !b->fenced && !b->in_controlled_shutdown;
}

static void shuffle(struct placement_broker *list, uint32_t len,
                    struct prng *prng)
{
    for (uint32_t i = len; i > 1; i--) {
        uint32_t j = (uint32_t)prng_below(prng, i);
        struct placement_broker kept = list[i - 1];

        list[i - 1] = list[j];
        list[j] = kept;
    }
}

/* Gives every rack of `list` a number, in the order in which they appear. */
static void number_racks(struct placement_broker *list, uint32_t len)
{
    uint32_t racks = 0;

    for (uint32_t i = 0; i < len; i++) {
        uint32_t j = 0;

        while (strcmp(list[j].broker->rack, list[i].broker->rack) != 0)
            j++;
        list[i].rack = j < i ? list[j].rack : racks++;
    }
}

/* First of each rack, second of each rack, and so on. */
static void interleave(struct placement_broker *list, uint32_t len,
                       struct arena *arena)
{
    struct placement_broker *out = arena_array(arena, len, sizeof *out);
    bool *done = arena_array(arena, len, sizeof *done);

    for (uint32_t put = 0, rack = 0; put < len; rack = (rack + 1) % len)
        for (uint32_t i = 0; i < len; i++)
            if (!done[i] && list[i].rack == rack) {
                done[i] = true;
                out[put++] = list[i];
                break;
            }
    if (len != 0)
        memcpy(list, out, len * sizeof *list);
}

static void add_brokers(struct placement *p, const struct image *image,
                        bool active)
{
    for (size_t i = 0; i < image->brokers_len; i++)
        if (is_active(image->brokers[i]) == active)
            p->brokers[p->total++] =
                (struct placement_broker){.broker = image->brokers[i]};
}

void placement_init(struct placement *p, const struct image *image,
                    struct arena *arena, struct prng *prng)
{
    *p = (struct placement){
        .brokers = arena_array(arena, image->brokers_len, sizeof *p->brokers),
        .rack_taken =
            arena_array(arena, image->brokers_len, sizeof *p->rack_taken),
    };
    add_brokers(p, image, true);
    p->active = p->total;
    add_brokers(p, image, false);
    shuffle(p->brokers, p->active, prng);
    shuffle(p->brokers + p->active, p->total - p->active, prng);
    number_racks(p->brokers, p->active);
    interleave(p->brokers, p->active, arena);
    if (p->active != 0)
        p->start = (uint32_t)prng_below(prng, p->active);
    if (p->active > 1)
        p->shift = (uint32_t)prng_below(prng, p->active - 1);
}

static int32_t take(struct placement *p, struct placement_broker *b)
{
    b->taken = p->placed + 1;
    p->rack_taken[b->rack] = p->placed + 1;
    return b->broker->id;
}

/* The first free broker from `from` on, of a new rack if there is one. */
static int32_t take_follower(struct placement *p, uint32_t from)
{
    struct placement_broker *any = NULL;

    for (uint32_t i = 0; i < p->active; i++) {
        struct placement_broker *b = &p->brokers[(from + i) % p->active];

        if (b->taken == p->placed + 1)
            continue;
        if (p->rack_taken[b->rack] != p->placed + 1)
            return take(p, b);
        if (any == NULL)
            any = b;
    }
    ASSERT(any != NULL);
    return take(p, any);
}

void placement_next(struct placement *p, uint32_t count, int32_t *replicas)
{
    ASSERT(p->active > 0 && count > 0 && count <= p->total);
    uint32_t leader = (p->start + p->placed) % p->active;
    /* Of the first follower: 1 .. active - 1, another in each round. */
    uint32_t distance = 1;
    uint32_t len = 0;

    if (p->active > 1)
        distance += (p->shift + p->placed / p->active) % (p->active - 1);
    replicas[len++] = take(p, &p->brokers[leader]);
    for (; len < count && len < p->active; len++)
        replicas[len] = take_follower(p, leader + distance + len - 1);
    for (uint32_t i = 0; len < count; i++) {
        uint32_t spare = (p->placed + i) % (p->total - p->active);

        replicas[len++] = p->brokers[p->active + spare].broker->id;
    }
    p->placed++;
}
