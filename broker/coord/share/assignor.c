/* A lot is a list of partitions and the members that share it.  It has places:
 * as many as partitions, or as members if there are more of those.  The side
 * with fewer entries, members or partitions, takes several places each, as
 * evenly as they go: all `low`, and `extra` of them one more.  Whoever has a
 * place keeps it while its entry has room; then the rest is filled in order. */
#include "broker/coord/share/assignor.h"

struct lot {
    const uint32_t *topics; /* borrowed */
    uint32_t topics_len;
    uint32_t *members; /* indices, rising */
    uint32_t members_len;
    uint64_t *bases; /* of each topic, its first partition in the lot */
    uint64_t partitions_len;
};

struct sharing {
    struct share_assign_member *members;
    const int32_t *partitions;
    const struct lot *lot;
    struct arena *arena;
    uint32_t *taken;  /* places of each entry of the side with fewer */
    uint32_t low;     /* places that each has at least */
    uint64_t extra;   /* entries that may still have one more */
    uint64_t at;      /* entries before it have `low` places */
    uint64_t at_more; /* entries before it have all they may */
};

/* ---- places --------------------------------------------------------------*/

static bool take_place(struct sharing *s, uint64_t entry)
{
    if (s->taken[entry] < s->low) {
        s->taken[entry]++;
        return true;
    }
    if (s->taken[entry] == s->low && s->extra > 0) {
        s->taken[entry]++;
        s->extra--;
        return true;
    }
    return false;
}

/* The next entry with a free place: there is one. */
static uint64_t next_place(struct sharing *s, uint64_t entries)
{
    while (s->at < entries && s->taken[s->at] >= s->low)
        s->at++;
    if (s->at < entries) {
        s->taken[s->at]++;
        return s->at;
    }
    while (!take_place(s, s->at_more))
        s->at_more++;
    ASSERT(s->at_more < entries);
    return s->at_more;
}

static void begin(struct sharing *s, uint64_t places, uint64_t entries)
{
    s->taken = arena_array(s->arena, entries, sizeof *s->taken);
    s->low = (uint32_t)(places / entries);
    s->extra = places % entries;
    s->at = s->at_more = 0;
}

/* ---- what members have and get -------------------------------------------*/

static uint32_t first_of_topic(const struct share_assign_member *member,
                               uint32_t topic)
{
    uint32_t low = 0, high = member->has_len;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (member->has[middle].topic < topic)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct share_assigned place_at(const struct lot *lot, uint64_t i)
{
    uint32_t low = 0, high = lot->topics_len - 1;

    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;

        if (lot->bases[middle] <= i)
            low = middle;
        else
            high = middle - 1;
    }
    return (struct share_assigned){lot->topics[low],
                                   (int32_t)(i - lot->bases[low])};
}

/* Calls `keep` for each partition of the lot that the member has, by its index
 * in the lot, until it says that it is enough. */
static void each_held(struct sharing *s, uint32_t m,
                      bool (*keep)(struct sharing *, uint32_t, uint64_t,
                                   uint64_t *),
                      uint64_t *owners)
{
    const struct share_assign_member *member = &s->members[s->lot->members[m]];

    for (uint32_t t = 0; t < s->lot->topics_len; t++) {
        uint32_t topic = s->lot->topics[t];

        for (uint32_t i = first_of_topic(member, topic);
             i < member->has_len && member->has[i].topic == topic; i++) {
            int32_t partition = member->has[i].partition;

            if (partition >= 0 && partition < s->partitions[topic] &&
                !keep(s, m, s->lot->bases[t] + (uint64_t)partition, owners))
                return;
        }
    }
}

/* Rising, as partitions of a lot come in order and lots by topic. */
static void give(struct sharing *s, uint32_t m, uint64_t partition)
{
    struct share_assign_member *member = &s->members[s->lot->members[m]];

    member->gets[member->gets_len++] = place_at(s->lot, partition);
}

static void make_room(struct sharing *s, uint32_t m, uint64_t more)
{
    struct share_assign_member *member = &s->members[s->lot->members[m]];
    struct share_assigned *room =
        arena_array(s->arena, member->gets_len + more, sizeof *room);

    if (member->gets_len != 0)
        memcpy(room, member->gets, member->gets_len * sizeof *room);
    member->gets = room;
}

/* ---- no more members than partitions -------------------------------------*/

static bool keep_owner(struct sharing *s, uint32_t m, uint64_t partition,
                       uint64_t *owners)
{
    if (owners[partition] == 0 && take_place(s, m))
        owners[partition] = (uint64_t)m + 1;
    return true;
}

static void share_partitions(struct sharing *s)
{
    uint64_t len = s->lot->partitions_len;
    uint64_t *owners = arena_array(s->arena, len, sizeof *owners);

    begin(s, len, s->lot->members_len);
    for (uint32_t m = 0; m < s->lot->members_len; m++)
        each_held(s, m, keep_owner, owners);
    for (uint64_t i = 0; i < len; i++)
        if (owners[i] == 0)
            owners[i] = next_place(s, s->lot->members_len) + 1;
    for (uint32_t m = 0; m < s->lot->members_len; m++)
        make_room(s, m, s->taken[m]);
    for (uint64_t i = 0; i < len; i++)
        give(s, (uint32_t)(owners[i] - 1), i);
}

/* ---- more members than partitions ----------------------------------------*/

static bool keep_one(struct sharing *s, uint32_t m, uint64_t partition,
                     uint64_t *choices)
{
    if (!take_place(s, partition))
        return true;
    choices[m] = partition + 1;
    return false;
}

static void share_members(struct sharing *s)
{
    uint32_t len = s->lot->members_len;
    uint64_t *choices = arena_array(s->arena, len, sizeof *choices);

    begin(s, len, s->lot->partitions_len);
    for (uint32_t m = 0; m < len; m++)
        each_held(s, m, keep_one, choices);
    for (uint32_t m = 0; m < len; m++) {
        uint64_t partition = choices[m] != 0
                                 ? choices[m] - 1
                                 : next_place(s, s->lot->partitions_len);

        make_room(s, m, 1);
        give(s, m, partition);
    }
}

/* ---- lots ----------------------------------------------------------------*/

static void share_lot(struct share_assign_member *members,
                      const int32_t *partitions, struct lot *lot,
                      struct arena *arena)
{
    struct sharing s = {members, partitions, lot, arena, NULL, 0, 0, 0, 0};

    lot->bases = arena_array(arena, lot->topics_len, sizeof *lot->bases);
    lot->partitions_len = 0;
    for (uint32_t t = 0; t < lot->topics_len; t++) {
        lot->bases[t] = lot->partitions_len;
        lot->partitions_len += (uint64_t)partitions[lot->topics[t]];
    }
    if (lot->partitions_len == 0 || lot->members_len == 0)
        return;
    if (lot->members_len <= lot->partitions_len)
        share_partitions(&s);
    else
        share_members(&s);
}

static bool all_alike(const struct share_assign_member *members, uint32_t len)
{
    for (uint32_t m = 1; m < len; m++)
        if (members[m].topics_len != members[0].topics_len ||
            (members[0].topics_len != 0 &&
             memcmp(members[m].topics, members[0].topics,
                    members[0].topics_len * sizeof *members[0].topics) != 0))
            return false;
    return true;
}

/* Members of each topic; lots[t].members is filled. */
static struct lot *lots_by_topic(const struct share_assign_member *members,
                                 uint32_t members_len, uint32_t topics_len,
                                 struct arena *arena)
{
    struct lot *lots = arena_array(arena, topics_len, sizeof *lots);
    uint32_t *topics = arena_array(arena, topics_len, sizeof *topics);

    for (uint32_t m = 0; m < members_len; m++)
        for (uint32_t t = 0; t < members[m].topics_len; t++)
            lots[members[m].topics[t]].members_len++;
    for (uint32_t t = 0; t < topics_len; t++) {
        topics[t] = t;
        lots[t].topics = &topics[t];
        lots[t].topics_len = 1;
        lots[t].members =
            arena_array(arena, lots[t].members_len, sizeof *lots[t].members);
        lots[t].members_len = 0;
    }
    for (uint32_t m = 0; m < members_len; m++)
        for (uint32_t t = 0; t < members[m].topics_len; t++) {
            struct lot *lot = &lots[members[m].topics[t]];

            lot->members[lot->members_len++] = m;
        }
    return lots;
}

void share_assign(struct share_assign_member *members, uint32_t members_len,
                  const int32_t *partitions, uint32_t topics_len,
                  struct arena *arena)
{
    for (uint32_t m = 0; m < members_len; m++) {
        members[m].gets = NULL;
        members[m].gets_len = 0;
    }
    if (members_len == 0)
        return;
    if (!all_alike(members, members_len)) {
        struct lot *lots =
            lots_by_topic(members, members_len, topics_len, arena);

        for (uint32_t t = 0; t < topics_len; t++)
            share_lot(members, partitions, &lots[t], arena);
        return;
    }
    struct lot lot = {.topics = members[0].topics,
                      .topics_len = members[0].topics_len,
                      .members =
                          arena_array(arena, members_len, sizeof *lot.members),
                      .members_len = members_len};
    for (uint32_t m = 0; m < members_len; m++)
        lot.members[m] = m;
    share_lot(members, partitions, &lot, arena);
}
