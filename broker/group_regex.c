#include "broker/group_regex.h"

#include "base/alloc.h"
#include "broker/coord/pattern.h"
#include "broker/coordinators.h"
#include "broker/shard.h"

#include <stdlib.h>

/* Of one turn: steps of a pattern for bytes of names, some milliseconds. */
enum { PIECE_STEPS = 1 << 20 };

struct search {
    struct list link;     /* shard.group_lookups; the first is at work */
    struct env_task task; /* of the first */
    struct shard *shard;
    int32_t partition;
    struct consumer_lookup *lookup; /* owned */
    /* ---- at work ---------------------------------------------------------*/
    int64_t topics_version;
    struct slice *names; /* of all topics, in the lookup's arena */
    uint32_t names_len;
    uint32_t *matches; /* owned: which names the pattern matches */
    uint32_t matches_len;
    struct coord_pattern *pattern; /* of `item`; NULL: not compiled yet */
    uint32_t item;
    uint32_t name; /* the next to be looked at */
};

bool group_regex_is_valid(struct slice pattern)
{
    struct coord_pattern *compiled = coord_pattern_compile(pattern);

    coord_pattern_free(compiled);
    return compiled != NULL;
}

static void search_free(struct search *search)
{
    list_remove(&search->link);
    coord_pattern_free(search->pattern);
    if (search->lookup != NULL)
        consumer_lookup_free(search->lookup);
    free(search->matches);
    free(search);
}

static void note_names(struct search *search)
{
    const struct map *topics = &search->shard->topics_by_name;
    struct arena *arena = &search->lookup->arena;
    size_t len = map_count(topics);

    search->topics_version = search->shard->metadata_index;
    search->names = arena_array(arena, len, sizeof *search->names);
    search->matches = xcalloc(len + 1, sizeof *search->matches);
    MAP_EACH (entry, topics)
        search->names[search->names_len++] = arena_copy(arena, entry->key);
}

/* One that does not compile was taken by a coordinator that knew more than
 * this one does, and matches nothing. */
static void begin_item(struct search *search)
{
    struct slice text = search->lookup->items[search->item].pattern;

    search->pattern = coord_pattern_compile(text);
    search->name = search->pattern != NULL ? 0 : search->names_len;
    search->matches_len = 0;
}

static void end_item(struct search *search)
{
    struct consumer_lookup_item *item = &search->lookup->items[search->item++];

    item->topics = arena_array(&search->lookup->arena, search->matches_len,
                               sizeof *item->topics);
    item->topics_len = search->matches_len;
    for (uint32_t i = 0; i < search->matches_len; i++)
        item->topics[i] = search->names[search->matches[i]];
    coord_pattern_free(search->pattern);
    search->pattern = NULL;
}

/* Looks at one name; returns what that cost. */
static uint64_t look_at_one(struct search *search)
{
    uint32_t at = search->name++;
    struct slice name = search->names[at];

    if (coord_pattern_matches(search->pattern, name))
        search->matches[search->matches_len++] = at;
    return (name.len + 1) * coord_pattern_steps(search->pattern);
}

static bool has_ended(const struct search *search)
{
    return search->item == search->lookup->items_len;
}

static void search_piece(struct search *search)
{
    uint64_t spent = 0;

    while (!has_ended(search) && spent < PIECE_STEPS) {
        if (search->pattern == NULL)
            begin_item(search);
        while (search->name < search->names_len && spent < PIECE_STEPS)
            spent += look_at_one(search);
        if (search->name == search->names_len)
            end_item(search);
    }
}

static void begin_first(struct shard *s);

static void on_turn(struct env_task *task)
{
    struct search *search = LIST_ENTRY(task, struct search, task);
    struct shard *s = search->shard;
    struct consumer_lookup *lookup = search->lookup;

    if (search->names == NULL)
        note_names(search);
    search_piece(search);
    if (!has_ended(search)) {
        env_post(s->env, task);
        return;
    }
    int64_t topics_version = search->topics_version;
    int32_t partition = search->partition;
    search->lookup = NULL;
    search_free(search);
    begin_first(s);
    coordinators_looked_up(s, partition, lookup, topics_version);
}

static void begin_first(struct shard *s)
{
    if (list_empty(&s->group_lookups))
        return;
    struct search *first =
        LIST_ENTRY(s->group_lookups.next, struct search, link);
    first->task.fn = on_turn;
    env_post(s->env, &first->task);
}

void group_regex_look_up(struct shard *s, int32_t partition,
                         struct consumer_lookup *lookup)
{
    struct search *search = xcalloc(1, sizeof *search);
    bool idle = list_empty(&s->group_lookups);

    search->shard = s;
    search->partition = partition;
    search->lookup = lookup;
    list_push_back(&s->group_lookups, &search->link);
    if (idle)
        begin_first(s);
}

void group_regex_stop(struct shard *s)
{
    while (!list_empty(&s->group_lookups))
        search_free(LIST_ENTRY(s->group_lookups.next, struct search, link));
}
