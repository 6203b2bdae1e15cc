/* Groups: who owned what, who committed what, what was given back.
 *
 * A partition's committed offset is a register.  Each commit's number is its
 * metadata, so an answer to OffsetFetch names the commit that it shows.  It is
 * behind if some acknowledged commit certainly came after the one shown and
 * was acknowledged before the question.  Certainly after: by generation, as
 * commits of older ones are refused; or in time, if the one shown was
 * acknowledged before the other was sent.
 *
 * An unclean election may take a group's records with it: then its generations
 * begin anew, and their numbers say nothing any more. */
#include "tests/sim/load/history_parts.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void history_free_groups(struct history *h)
{
    MAP_EACH (entry, &h->groups) {
        struct group *g = entry->value;
        MAP_EACH (owner, &g->owners)
            free(owner->value);
        MAP_EACH (claim, &g->claims)
            free(claim->value);
        map_free(&g->owners);
        map_free(&g->claims);
        map_free(&g->given);
        free(g->generations);
        free(g);
    }
    map_free(&h->groups);
    for (int64_t i = 0; i < h->commits_len; i++) {
        free(h->commits[i].group);
        free(h->commits[i].member);
    }
    free(h->commits);
    map_free(&h->last_commits);
}

static struct group *group_of(struct history *h, const char *name)
{
    struct group *g = map_get(&h->groups, slice_str(name));

    if (g == NULL) {
        g = xcalloc(1, sizeof *g);
        map_put(&h->groups, slice_str(name), g);
    }
    return g;
}

void history_mixes(struct history *h, const char *group)
{
    group_of(h, group)->mixed = true;
}

static void see_generation(struct history *h, struct group *g, int32_t number)
{
    for (size_t i = 0; i < g->generations_len; i++)
        if (g->generations[i].number == number)
            return;
    g->generations = xrealloc(g->generations, (g->generations_len + 1) *
                                                  sizeof *g->generations);
    g->generations[g->generations_len++] = (struct generation){number, h->tick};
}

void history_assigned(struct history *h, const char *group, int32_t generation,
                      const char *member, int topic, int32_t partition)
{
    struct group *g = group_of(h, group);
    char key[64];

    h->counts.assigned++;
    history_note(h, "assigned %s/%d to %s: %s", group, generation, member,
                 partition < 0 ? "nothing"
                               : history_where(h, topic, partition).text);
    see_generation(h, g, generation);
    /* A group that was lost begins again with generation 1. */
    if (partition < 0 || h->promise.unclean_possible)
        return;
    snprintf(key, sizeof key, "%d %d %d", generation, topic, partition);
    const char *owner = map_get(&g->owners, slice_str(key));
    if (owner == NULL)
        map_put(&g->owners, slice_str(key), xstrdup(member));
    else if (strcmp(owner, member) != 0 && !h->promise.unclean_possible)
        history_violation(
            h, "two-owners",
            "%s belongs to %s and to %s in generation %d of group %s",
            history_where(h, topic, partition).text, owner, member, generation,
            group);
}

void history_claimed(struct history *h, const char *group, int32_t epoch,
                     const char *member, int topic, int32_t partition)
{
    struct group *g = group_of(h, group);
    char key[32];

    h->counts.assigned++;
    g->claimed = true;
    history_note(h, "claimed in %s by %s at epoch %d: %s", group, member, epoch,
                 history_where(h, topic, partition).text);
    snprintf(key, sizeof key, "%d %d", topic, partition);
    char *owner = map_put(&g->claims, slice_str(key), xstrdup(member));
    if (owner != NULL && strcmp(owner, member) != 0 &&
        !h->promise.unclean_possible)
        history_violation(h, "two-owners",
                          "%s of group %s is given to %s at epoch %d, while %s "
                          "has it",
                          history_where(h, topic, partition).text, group,
                          member, epoch, owner);
    free(owner);
}

void history_released(struct history *h, const char *group, const char *member,
                      int topic, int32_t partition)
{
    struct group *g = group_of(h, group);
    char key[32];

    snprintf(key, sizeof key, "%d %d", topic, partition);
    char *owner = map_get(&g->claims, slice_str(key));
    if (owner == NULL || strcmp(owner, member) != 0)
        return;
    history_note(h, "released in %s by %s: %s", group, member,
                 history_where(h, topic, partition).text);
    free(map_remove(&g->claims, slice_str(key)));
}

/* ---- deliveries ---------------------------------------------------------- */

/* All offsets before it were given to members; raised to `end` if it is more.
 */
static int64_t given(struct group *g, int topic, int32_t partition, int64_t end)
{
    char key[32];

    snprintf(key, sizeof key, "%d %d", topic, partition);
    int64_t known = (int64_t)(intptr_t)map_get(&g->given, slice_str(key));
    if (end > known)
        map_put(&g->given, slice_str(key), (void *)(intptr_t)end);
    return known;
}

void history_delivered(struct history *h, const char *group, int topic,
                       int32_t partition, int64_t offset)
{
    struct group *g = group_of(h, group);

    g->delivers = true;
    HISTORY_MARK(h, 5, topic, partition, offset);
    int64_t before = given(g, topic, partition, offset + 1);
    if (offset > before)
        history_violation(
            h, "unread",
            "a member of group %s was given offset %lld of %s, though "
            "no member has had offset %lld",
            group, (long long)offset, history_where(h, topic, partition).text,
            (long long)before);
}

static void check_unread(struct history *h, const struct commit *c)
{
    struct group *g = group_of(h, c->group);

    if (!g->delivers)
        return;
    int64_t before = given(g, c->topic, c->partition, 0);
    if (c->offset > before)
        history_violation(h, "unread",
                          "%s commits offset %lld of %s for group %s, though "
                          "no member has had offset %lld",
                          c->member, (long long)c->offset,
                          history_where(h, c->topic, c->partition).text,
                          c->group, (long long)before);
}

/* ---- commits ------------------------------------------------------------- */

static int64_t last_commit(const struct history *h, const char *group,
                           int topic, int32_t partition, int64_t set)
{
    char key[160];
    struct map *m = (struct map *)&h->last_commits;

    snprintf(key, sizeof key, "%.100s %d %d", group, topic, partition);
    int64_t last = (int64_t)(intptr_t)map_get(m, slice_str(key)) - 1;
    if (set >= 0)
        map_put(m, slice_str(key), (void *)(intptr_t)(set + 1));
    return last;
}

int64_t history_commit(struct history *h, const char *group, int32_t generation,
                       const char *member, int topic, int32_t partition,
                       int64_t offset)
{
    int64_t number = h->commits_len;

    if (h->commits_len == h->commits_cap) {
        h->commits_cap = h->commits_cap * 2 + 64;
        h->commits =
            xrealloc(h->commits, (size_t)h->commits_cap * sizeof *h->commits);
    }
    history_note(h, "commit %lld: %s/%d by %s: %s at %lld", (long long)number,
                 group, generation, member,
                 history_where(h, topic, partition).text, (long long)offset);
    h->commits[h->commits_len++] = (struct commit){
        .group = xstrdup(group),
        .member = xstrdup(member),
        .generation = generation,
        .topic = topic,
        .partition = partition,
        .offset = offset,
        .sent_tick = h->tick,
        .previous = last_commit(h, group, topic, partition, number)};
    check_unread(h, &h->commits[number]);
    return number;
}

static void check_zombie(struct history *h, int64_t number)
{
    const struct commit *c = &h->commits[number];
    const struct group *g = group_of(h, c->group);

    if (h->promise.unclean_possible)
        return;
    for (size_t i = 0; i < g->generations_len; i++)
        if (g->generations[i].number > c->generation &&
            g->generations[i].tick < c->sent_tick)
            history_violation(
                h, "zombie",
                "commit %lld of %s in generation %d of group %s was "
                "acknowledged, though generation %d had begun before it was "
                "sent",
                (long long)number, c->member, c->generation, c->group,
                g->generations[i].number);
}

void history_committed(struct history *h, int64_t commit,
                       enum history_outcome outcome)
{
    ASSERT(commit >= 0 && commit < h->commits_len);
    struct commit *c = &h->commits[commit];

    history_note(h, "commit %lld is %s", (long long)commit,
                 outcome == HISTORY_ACKED     ? "acknowledged"
                 : outcome == HISTORY_REFUSED ? "refused"
                                              : "unknown");
    if (outcome == HISTORY_REFUSED)
        c->refused = true;
    if (outcome != HISTORY_ACKED)
        return;
    h->counts.committed++;
    c->acked_tick = h->tick;
    check_zombie(h, commit);
}

/* Whether m certainly came after the commit shown; NULL: none is shown.  An
 * epoch of KIP-848 does not tell apart the commits of one member, which may use
 * an earlier one for what it has had since then (KIP-1251). */
static bool replaces(struct history *h, const struct commit *m,
                     const struct commit *shown)
{
    if (shown == NULL)
        return true;
    if (group_of(h, m->group)->mixed)
        return shown->acked_tick != 0 && shown->acked_tick <= m->sent_tick;
    bool one_member =
        group_of(h, m->group)->claimed && strcmp(m->member, shown->member) == 0;
    if (shown->generation < m->generation && !one_member)
        return true;
    return shown->generation <= m->generation && shown->acked_tick != 0 &&
           shown->acked_tick <= m->sent_tick;
}

void history_offset(struct history *h, const char *group, int32_t generation,
                    int topic, int32_t partition, uint64_t asked,
                    int64_t commit, int64_t offset)
{
    struct history_where where = history_where(h, topic, partition);
    const struct commit *shown = NULL;

    history_note(h, "offset %s %s is %lld by commit %lld", group, where.text,
                 (long long)offset, (long long)commit);
    h->counts.offsets++;
    if (commit >= h->commits_len ||
        (commit >= 0 &&
         (h->commits[commit].partition != partition ||
          h->commits[commit].topic != topic ||
          h->commits[commit].offset != offset || h->commits[commit].refused ||
          strcmp(h->commits[commit].group, group) != 0))) {
        history_violation(
            h, "commit-changed",
            "group %s has offset %lld of commit %lld for %s, which is not "
            "what that commit said",
            group, (long long)offset, (long long)commit, where.text);
        return;
    }
    if (h->promise.unclean_possible || history_topic_is_doomed(h, topic))
        return;
    if (commit >= 0)
        shown = &h->commits[commit];
    for (int64_t i = last_commit(h, group, topic, partition, -1); i >= 0;
         i = h->commits[i].previous) {
        const struct commit *m = &h->commits[i];
        if (i != commit && m->acked_tick != 0 && m->acked_tick <= asked &&
            m->generation <= generation && replaces(h, m, shown))
            history_violation(
                h, "commit-behind",
                "group %s has offset %lld of commit %lld for %s, though commit "
                "%lld of offset %lld by %s in generation %d came later and was "
                "acknowledged before",
                group, (long long)offset, (long long)commit, where.text,
                (long long)i, (long long)m->offset, m->member, m->generation);
    }
}
