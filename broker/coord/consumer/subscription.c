/* What groups subscribe to: names, regexes, and the way from a topic to the
 * groups that want to know of its changes. */
#include "broker/coord/consumer/consumer.h"

#include <stdlib.h>

/* ---- lists of names ------------------------------------------------------*/

static int compare_names(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

uint32_t cnames_sort(struct slice *names, uint32_t len)
{
    uint32_t kept = 0;

    if (len == 0)
        return 0;
    qsort(names, len, sizeof *names, compare_names);
    for (uint32_t i = 0; i < len; i++)
        if (kept == 0 || !slice_eq(names[kept - 1], names[i]))
            names[kept++] = names[i];
    return kept;
}

static bool names_same(const struct slice *a, uint32_t a_len,
                       const struct slice *b, uint32_t b_len)
{
    if (a_len != b_len)
        return false;
    for (uint32_t i = 0; a != b && i < a_len; i++)
        if (!slice_eq(a[i], b[i]))
            return false;
    return true;
}

static bool text_same(struct slice a, struct slice b)
{
    return slice_is_null(a) == slice_is_null(b) && slice_eq(a, b);
}

bool cprofile_has_regex(const struct cprofile *profile)
{
    return profile->regex.len != 0;
}

bool cprofile_same_names(const struct cprofile *a, const struct cprofile *b)
{
    return names_same(a->names, a->names_len, b->names, b->names_len);
}

static bool same_protocols(const struct cprofile *a, const struct cprofile *b)
{
    if (a->classic != b->classic || a->protocols_len != b->protocols_len ||
        a->session_timeout_ms != b->session_timeout_ms)
        return false;
    for (uint32_t i = 0; i < a->protocols_len; i++)
        if (!slice_eq(a->protocols[i].name, b->protocols[i].name) ||
            !slice_eq(a->protocols[i].metadata, b->protocols[i].metadata))
            return false;
    return true;
}

bool cprofile_same(const struct cprofile *a, const struct cprofile *b)
{
    return cprofile_same_names(a, b) &&
           text_same(a->instance_id, b->instance_id) &&
           text_same(a->rack_id, b->rack_id) &&
           slice_eq(a->client_id, b->client_id) &&
           slice_eq(a->client_host, b->client_host) &&
           text_same(a->regex, b->regex) &&
           text_same(a->assignor, b->assignor) &&
           a->rebalance_timeout_ms == b->rebalance_timeout_ms &&
           same_protocols(a, b);
}

static bool names_have(const struct slice *names, uint32_t len,
                       struct slice name)
{
    return len != 0 &&
           bsearch(&name, names, len, sizeof *names, compare_names) != NULL;
}

bool cprofile_wants(const struct cgroup *group, const struct cprofile *profile,
                    struct slice topic)
{
    const struct cregex *regex = cprofile_has_regex(profile)
                                     ? map_get(&group->regexes, profile->regex)
                                     : NULL;

    return names_have(profile->names, profile->names_len, topic) ||
           (regex != NULL &&
            names_have(regex->topics, regex->topics_len, topic));
}

/* ---- topics and their groups ---------------------------------------------*/

static struct ctopic *topic_get(struct consumer_coord *coord, struct slice name)
{
    struct ctopic *topic = map_get(&coord->topics, name);

    if (topic != NULL)
        return topic;
    topic = xcalloc(1, sizeof *topic);
    topic->name = slice_of(slice_dup(name), name.len);
    list_init(&topic->groups);
    map_put(&coord->topics, name, topic);
    return topic;
}

static struct csubscription *subscription_get(struct consumer_coord *coord,
                                              struct cgroup *group,
                                              struct slice name)
{
    struct csubscription *s = map_get(&group->subscriptions, name);

    if (s != NULL)
        return s;
    s = xcalloc(1, sizeof *s);
    s->group = group;
    s->topic = topic_get(coord, name);
    list_push_back(&s->topic->groups, &s->link);
    map_put(&group->subscriptions, name, s);
    return s;
}

static void subscription_free(struct consumer_coord *coord,
                              struct csubscription *s)
{
    struct ctopic *topic = s->topic;

    map_remove(&s->group->subscriptions, topic->name);
    list_remove(&s->link);
    free(s);
    if (!list_empty(&topic->groups))
        return;
    map_remove(&coord->topics, topic->name);
    free((void *)(uintptr_t)topic->name.data);
    free(topic);
}

void csubscribe(struct consumer_coord *coord, struct cgroup *group,
                const struct slice *names, uint32_t len, int delta)
{
    for (uint32_t i = 0; i < len; i++) {
        struct csubscription *s = subscription_get(coord, group, names[i]);

        ASSERT(delta > 0 || s->count > 0);
        s->count = (uint32_t)((int64_t)s->count + delta);
        if (s->count == 0)
            subscription_free(coord, s);
    }
}

void consumer_coord_topic_changed(struct consumer_coord *coord,
                                  struct slice name, int64_t topics_version)
{
    const struct ctopic *topic = map_get(&coord->topics, name);

    coord->topics_version = topics_version;
    if (topic == NULL)
        return;
    LIST_EACH (node, &topic->groups)
        LIST_ENTRY(node, struct csubscription, link)->group->stale = true;
}

/* ---- regexes -------------------------------------------------------------*/

static struct cregex *regex_get(struct cgroup *group, struct slice pattern)
{
    struct cregex *regex = map_get(&group->regexes, pattern);

    if (regex == NULL) {
        regex = xcalloc(1, sizeof *regex);
        map_put(&group->regexes, pattern, regex);
    }
    return regex;
}

static void regex_drop_if_hollow(struct cgroup *group, struct slice pattern,
                                 struct cregex *regex)
{
    if (regex->members != 0 || regex->resolved)
        return;
    map_remove(&group->regexes, pattern);
    free(regex);
}

void cregex_count(struct cgroup *group, struct slice pattern, int delta)
{
    struct cregex *regex = regex_get(group, pattern);

    ASSERT(delta > 0 || regex->members > 0);
    regex->members = (uint32_t)((int64_t)regex->members + delta);
    regex_drop_if_hollow(group, pattern, regex);
}

/* Array and texts in one block. */
static struct slice *copy_names(const struct slice *names, uint32_t len)
{
    size_t bytes = len * sizeof *names;

    for (uint32_t i = 0; i < len; i++)
        bytes += names[i].len;
    struct slice *copy = xmalloc(bytes + 1);
    uint8_t *at = (uint8_t *)(copy + len);
    for (uint32_t i = 0; i < len; i++) {
        copy[i] = slice_of(at, names[i].len);
        if (names[i].len != 0)
            memcpy(at, names[i].data, names[i].len);
        at += names[i].len;
    }
    return copy;
}

void cregex_set(struct consumer_coord *coord, struct cgroup *group,
                struct slice pattern,
                const struct consumer_group_regular_expression_value *value)
{
    struct cregex *regex = regex_get(group, pattern);

    csubscribe(coord, group, regex->topics, regex->topics_len, -1);
    free(regex->topics);
    regex->topics = NULL;
    regex->topics_len = 0;
    regex->resolved = value != NULL;
    if (value != NULL) {
        regex->topics_version = value->version;
        regex->wall_ms = value->timestamp;
        regex->topics = copy_names(value->topics, (uint32_t)value->topics_len);
        regex->topics_len =
            cnames_sort(regex->topics, (uint32_t)value->topics_len);
        csubscribe(coord, group, regex->topics, regex->topics_len, 1);
    }
    regex_drop_if_hollow(group, pattern, regex);
}

/* ---- matching them -------------------------------------------------------*/

static bool is_old(const struct consumer_coord *coord,
                   const struct cregex *regex)
{
    int64_t age = coord->time.wall_ms - regex->wall_ms;

    return regex->topics_version < coord->topics_version || age < 0 ||
           age >= coord->config.group_consumer_regex_refresh_interval_ms;
}

/* What is new is matched at once; what may be old is looked for in decent
 * intervals, as a group may have many. */
static bool is_due(const struct consumer_coord *coord, struct cgroup *group,
                   struct slice pattern)
{
    const struct cregex *own;

    if (group == NULL)
        return !slice_is_null(pattern);
    if (group->looking_up)
        return false;
    own = map_get(&group->regexes, pattern);
    if (!slice_is_null(pattern) && (own == NULL || !own->resolved))
        return true;
    if (coord->time.now_ms - group->looked_ms < CONSUMER_REGEX_PAUSE_MS)
        return false;
    group->looked_ms = coord->time.now_ms;
    MAP_EACH (entry, &group->regexes) {
        const struct cregex *regex = entry->value;

        if (!regex->resolved || is_old(coord, regex))
            return true;
    }
    return false;
}

static void add_pattern(struct consumer_lookup *lookup, struct slice pattern)
{
    lookup->items[lookup->items_len++].pattern =
        arena_copy(&lookup->arena, pattern);
}

void cregex_refresh(struct cstep *step, struct cgroup *group,
                    struct slice group_id, struct slice pattern)
{
    bool known = group != NULL && map_get(&group->regexes, pattern) != NULL;

    if (!is_due(step->coord, group, pattern))
        return;
    struct consumer_lookup *lookup = xcalloc(1, sizeof *lookup);
    uint32_t room = 1 + (group != NULL ? map_count(&group->regexes) : 0);

    list_init(&lookup->link);
    arena_init(&lookup->arena, 0);
    lookup->group = arena_copy(&lookup->arena, group_id);
    lookup->items = arena_array(&lookup->arena, room, sizeof *lookup->items);
    if (!slice_is_null(pattern) && !known)
        add_pattern(lookup, pattern);
    if (group != NULL) {
        MAP_EACH (entry, &group->regexes)
            add_pattern(lookup, entry->key);
        group->looking_up = true;
        group->looked_ms = step->time.now_ms;
    }
    list_push_back(&step->update->lookups, &lookup->link);
}

void consumer_lookup_free(struct consumer_lookup *lookup)
{
    arena_free(&lookup->arena);
    free(lookup);
}

/* Whether the topics that it matches are others than before. */
static bool write_item(struct cstep *step, struct cgroup *group,
                       struct consumer_lookup_item *item,
                       int64_t topics_version, struct coord_records *records)
{
    const struct cregex *known = map_get(&group->regexes, item->pattern);

    item->topics_len = cnames_sort(item->topics, item->topics_len);
    if (known == NULL || known->members == 0)
        return false; /* nobody wants it any more */
    cwrite_regex(records, group->id, item->pattern, item->topics,
                 item->topics_len, topics_version, step->time.wall_ms);
    return !known->resolved || !names_same(known->topics, known->topics_len,
                                           item->topics, item->topics_len);
}

void cregex_looked_up(struct cstep *step, struct cgroup *group,
                      const struct consumer_lookup *lookup,
                      int64_t topics_version)
{
    struct consumer_write *write = cwrite_new(NULL);
    struct coord_records found = {0};
    struct arena arena;
    bool changed = false;

    arena_init(&arena, 0);
    for (uint32_t i = 0; i < lookup->items_len; i++)
        changed |=
            write_item(step, group, &lookup->items[i], topics_version, &found);
    if (changed) {
        struct cplan plan = {.group = group, .lookup = lookup, .arena = &arena};
        int64_t hash = cplan_topics(&plan, step->coord);

        cwrite_epoch(&write->pending.records, group, group->id,
                     group->epoch + 1, hash);
    }
    for (uint32_t i = 0; i < found.count; i++) {
        struct coord_record record = coord_records_get(&found, i);
        coord_records_add(&write->pending.records, record.key, record.value);
    }
    coord_records_free(&found);
    arena_free(&arena);
    cwrite_send(step, write);
}
