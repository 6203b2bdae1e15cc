#include "broker/replica/places.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/planted.h"
#include "broker/shard.h"

#include <stdlib.h>

struct dir_place {
    struct env_task task; /* on its way to the keeper or to the user */
    struct shard *keeper, *user;
    char *name;
    /* The user's. */
    struct partition *partition; /* NULL: to be given back when granted */
    void (*granted)(struct partition *p);
    bool is_granted;
    /* The keeper's. */
    struct list link;    /* in the holder's .waiting */
    struct list waiting; /* holder: who comes next */
};

static struct dir_place *place_of(struct env_task *task)
{
    return LIST_ENTRY(task, struct dir_place, task);
}

static void post(struct shard *to, struct dir_place *place,
                 void (*fn)(struct env_task *task))
{
    place->task.fn = fn;
    env_post(to->env, &place->task);
}

/* ---- on the keeper's shard ----------------------------------------------- */

static void on_granted(struct env_task *task);

static struct slice key(const struct dir_place *place)
{
    return slice_str(place->name);
}

static void hold(struct dir_place *place)
{
    map_put(&place->keeper->places, key(place), place);
    post(place->user, place, on_granted);
}

static void on_asked(struct env_task *task)
{
    struct dir_place *place = place_of(task);
    struct dir_place *holder = map_get(&place->keeper->places, key(place));

    if (holder == NULL || PLANTED(LOG_SHARES_PLACES))
        hold(place);
    else
        list_push_back(&holder->waiting, &place->link);
}

static void on_returned(struct env_task *task)
{
    struct dir_place *place = place_of(task);
    struct list *first = list_pop_front(&place->waiting);

    ASSERT(map_remove(&place->keeper->places, key(place)) == place);
    if (first != NULL) {
        struct dir_place *next = LIST_ENTRY(first, struct dir_place, link);

        list_append_all(&next->waiting, &place->waiting);
        hold(next);
    }
    free(place->name);
    free(place);
}

/* ---- on the replica's shard ---------------------------------------------- */

static void on_granted(struct env_task *task)
{
    struct dir_place *place = place_of(task);

    place->is_granted = true;
    if (place->partition == NULL)
        post(place->keeper, place, on_returned);
    else
        place->granted(place->partition);
}

struct dir_place *place_ask(struct shard *s, const char *topic, int32_t index,
                            struct partition *p,
                            void (*granted)(struct partition *p))
{
    struct dir_place *place = xcalloc(1, sizeof *place);
    struct broker *b = s->broker;

    place->name = xasprintf("%s-%d", topic, index);
    place->keeper = b->shards[hash_bytes(place->name, strlen(place->name)) %
                              (uint64_t)b->shards_len];
    place->user = s;
    place->partition = p;
    place->granted = granted;
    list_init(&place->link);
    list_init(&place->waiting);
    post(place->keeper, place, on_asked);
    return place;
}

bool place_is_granted(const struct dir_place *place)
{
    return place->is_granted;
}

void place_give_back(struct dir_place *place)
{
    if (place == NULL)
        return;
    place->partition = NULL;
    if (place->is_granted)
        post(place->keeper, place, on_returned);
}
