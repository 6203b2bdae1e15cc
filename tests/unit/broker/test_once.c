/* What requests about groups name more than once. */
#include "broker/once.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct once_field name_field = {sizeof(struct slice), 0};

Test(once, names_stay_where_they_are_first)
{
    struct slice names[] = {SLICE("b"), SLICE("a"), SLICE("b"),
                            SLICE(""),  SLICE("a"), SLICE("c")};
    struct slice kept[] = {SLICE("b"), SLICE("a"), SLICE(""), SLICE("c")};

    cr_assert_eq(once_names(names, 6, name_field), 4);
    for (int i = 0; i < 4; i++)
        cr_assert(slice_eq(names[i], kept[i]), "%d", i);
    cr_assert_eq(once_names(names, 1, name_field), 1);
    cr_assert_eq(once_names(NULL, 0, name_field), 0);
}

/* ---- partitions ----------------------------------------------------------*/

struct item {
    int64_t value; /* its place in the request */
    int32_t index;
};

enum { TOPICS = 4, ITEMS = 6 };

struct request {
    struct once_topic topics[TOPICS];
    struct item items[TOPICS][ITEMS];
    int32_t lens[TOPICS];
};

static void once(struct request *q, enum once_keep keep)
{
    once_partitions(q->topics, TOPICS, ONCE_FIELD(struct item, index), keep);
}

/* "0:" and the values that each topic is left with, or "-" if it is emptied. */
static const char *left_of(const struct request *q)
{
    static char text[400];
    char *at = text;

    for (int t = 0; t < TOPICS; t++) {
        at += sprintf(at, "%d:%s", t, q->topics[t].emptied ? "-" : "");
        for (int32_t i = 0; i < q->lens[t]; i++)
            at += sprintf(at, "%lld,", (long long)q->items[t][i].value);
        at += sprintf(at, " ");
    }
    return text;
}

/* Topic 1 again, other topics in between, one name in another scope. */
static struct request a_request(void)
{
    static const int32_t lens[] = {4, 2, 3, 0};
    static const int32_t indexes[][ITEMS] = {{7, 1, 7, 2}, {7, 1}, {3, 1, 2}};
    static const char *names[] = {"t", "t", "t", "u"};
    static const int32_t scopes[] = {0, 1, 0, 0};
    struct request q = {0};
    int64_t value = 0;

    for (int t = 0; t < TOPICS; t++) {
        q.lens[t] = lens[t];
        for (int32_t i = 0; i < lens[t]; i++)
            q.items[t][i] = (struct item){value++, indexes[t][i]};
        q.topics[t].scope = scopes[t];
        q.topics[t].name = slice_str(names[t]);
    }
    return q;
}

static void point(struct request *q)
{
    for (int t = 0; t < TOPICS; t++) {
        q->topics[t].partitions = q->items[t];
        q->topics[t].partitions_len = &q->lens[t];
    }
}

Test(once, a_partition_stays_where_it_is_first)
{
    struct request q = a_request();

    point(&q);
    once(&q, ONCE_FIRST);
    cr_assert_str_eq(left_of(&q), "0:0,1,3, 1:4,5, 2:6, 3: ");
    once(&q, ONCE_FIRST);
    cr_assert_str_eq(left_of(&q), "0:0,1,3, 1:4,5, 2:6, 3: ", "again");
}

Test(once, a_partition_stays_where_it_is_last)
{
    struct request q = a_request();

    point(&q);
    once(&q, ONCE_LAST);
    cr_assert_str_eq(left_of(&q), "0:2, 1:4,5, 2:6,7,8, 3: ");
    q.lens[0] = 1;
    q.items[0][0].index = 3;
    once(&q, ONCE_LAST);
    cr_assert_str_eq(left_of(&q), "0:- 1:4,5, 2:6,7,8, 3: ");
}

/* Against the plain way. */
Test(once, any_request)
{
    struct prng prng = {.state = 7};

    for (int round = 0; round < 2000; round++) {
        struct request q = {0}, before;
        bool last = prng_below(&prng, 2) != 0;
        char wanted[400], *at = wanted;

        point(&q);
        for (int t = 0; t < TOPICS; t++) {
            q.topics[t].name = prng_below(&prng, 2) ? SLICE("t") : SLICE("u");
            q.lens[t] = (int32_t)prng_below(&prng, ITEMS + 1);
            for (int32_t i = 0; i < q.lens[t]; i++)
                q.items[t][i] =
                    (struct item){t * ITEMS + i, (int32_t)prng_below(&prng, 4)};
        }
        before = q;
        once(&q, last ? ONCE_LAST : ONCE_FIRST);
        for (int t = 0; t < TOPICS; t++) {
            at += sprintf(at, "%d:", t);
            char *begin = at;
            for (int32_t i = 0; i < before.lens[t]; i++) {
                bool other = false;

                for (int u = 0; u < TOPICS; u++)
                    for (int32_t j = 0; j < before.lens[u]; j++)
                        other |= slice_eq(before.topics[t].name,
                                          before.topics[u].name) &&
                                 before.items[t][i].index ==
                                     before.items[u][j].index &&
                                 (last ? u * ITEMS + j > t * ITEMS + i
                                       : u * ITEMS + j < t * ITEMS + i);
                if (!other)
                    at += sprintf(at, "%d,", t * ITEMS + i);
            }
            if (at == begin && before.lens[t] != 0)
                at += sprintf(at, "-");
            at += sprintf(at, " ");
        }
        cr_assert_str_eq(left_of(&q), wanted);
    }
}

Test(once, a_million_mentions_take_a_moment, .timeout = 60)
{
    enum { N = 1000000 };
    int32_t *same = xcalloc(N, sizeof *same);
    struct slice *names = xcalloc(N, sizeof *names);
    int32_t len = N;
    struct once_topic topic = {0, SLICE("t"), same, &len, false};

    for (int i = 0; i < N; i++)
        names[i] = SLICE("a group");
    once_partitions(&topic, 1, (struct once_field){sizeof *same, 0},
                    ONCE_FIRST);
    cr_assert_eq(len, 1);
    cr_assert_eq(once_names(names, N, name_field), 1);
    free(names);
    free(same);
}
