/* A request in pieces by coordinator, and its answers put together. */
#include "broker/coord/share/split.h"

#include "broker/coord/placement.h"
#include "broker/coord/share/parts.h"

#include <stdlib.h>

struct slice share_coordinator_key(struct slice group, struct uuid topic,
                                   int32_t partition, struct arena *arena)
{
    char text[UUID_TEXT_SIZE];

    return arena_printf(arena, "%.*s:%s:%d", SLICE_FMT(group),
                        uuid_format(topic, text), (int)partition);
}

/* Takes what is behind the last colon off the end. */
static bool take_last(struct slice *rest, struct slice *last)
{
    size_t at = rest->len;

    while (at > 0 && rest->data[at - 1] != ':')
        at--;
    if (at == 0)
        return false;
    *last = slice_of(rest->data + at, rest->len - at);
    *rest = slice_of(rest->data, at - 1);
    return true;
}

static bool is_number(struct slice text)
{
    int64_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (text.data[i] - '0');
        if (n > INT32_MAX)
            return false;
    }
    return text.len != 0;
}

bool share_coordinator_key_ok(struct slice key)
{
    struct slice partition, topic;
    struct uuid id;

    return take_last(&key, &partition) && take_last(&key, &topic) &&
           key.len != 0 && uuid_parse(topic, &id) && is_number(partition);
}

/* ---- splitting -----------------------------------------------------------*/

static int32_t partition_of(const struct share_answer *whole,
                            const struct share_ask *ask, int32_t partitions,
                            struct arena *scratch)
{
    int32_t found =
        coord_partition_of(share_coordinator_key(whole->group, ask->topic,
                                                 ask->partition, scratch),
                           partitions);

    arena_free(scratch);
    arena_init(scratch, 0);
    return found;
}

static struct share_answer *piece_new(const struct share_answer *whole)
{
    struct share_answer *piece = xcalloc(1, sizeof *piece);

    list_init(&piece->link);
    piece->api = whole->api;
    piece->version = whole->version;
    piece->group = whole->group;
    arena_init(&piece->arena, 0);
    return piece;
}

/* How many asks each piece has, in asks_len. */
static int32_t count(const struct share_answer *whole, const int32_t *of,
                     struct share_piece *pieces, struct share_piece **by_place)
{
    int32_t len = 0;

    for (int32_t i = 0; i < whole->asks_len; i++) {
        if (of[i] < 0)
            continue;
        struct share_piece **piece = &by_place[of[i]];
        if (*piece == NULL) {
            *piece = &pieces[len++];
            (*piece)->partition = of[i];
            (*piece)->ask = piece_new(whole);
        }
        (*piece)->ask->asks_len++;
    }
    return len;
}

static void fill(struct share_answer *whole, const int32_t *of,
                 struct share_piece *pieces, int32_t len,
                 struct share_piece **by_place)
{
    for (int32_t i = 0; i < len; i++) {
        struct share_answer *piece = pieces[i].ask;

        piece->asks = arena_array(&piece->arena, (size_t)piece->asks_len,
                                  sizeof *piece->asks);
        piece->asks_len = 0;
    }
    for (int32_t i = 0; i < whole->asks_len; i++) {
        if (of[i] < 0)
            continue;
        struct share_answer *piece = by_place[of[i]]->ask;

        piece->asks[piece->asks_len] = whole->asks[i];
        piece->asks[piece->asks_len++].of = &whole->asks[i];
    }
}

struct share_piece *share_split(struct share_answer *whole, int32_t partitions,
                                int32_t *len)
{
    size_t n = (size_t)whole->asks_len;
    struct share_piece *pieces = arena_array(&whole->arena, n, sizeof *pieces);
    int32_t *of = arena_array(&whole->arena, n, sizeof *of);
    struct share_piece **by_place =
        arena_array(&whole->arena, (size_t)partitions, sizeof *by_place);
    struct arena scratch;

    arena_init(&scratch, 0);
    for (int32_t i = 0; i < whole->asks_len; i++) {
        struct share_ask *ask = &whole->asks[i];

        ask->err = share_ask_check(whole, ask);
        of[i] = ask->err != ERR_NONE
                    ? -1
                    : partition_of(whole, ask, partitions, &scratch);
    }
    arena_free(&scratch);
    *len = count(whole, of, pieces, by_place);
    fill(whole, of, pieces, *len, by_place);
    return pieces;
}

/* ---- gathering -----------------------------------------------------------*/

/* Of the batches only what was read is the piece's own. */
static void gather(struct share_answer *whole, const struct share_ask *from)
{
    struct share_ask *to = from->of;
    uint32_t len =
        whole->api == API_READ_SHARE_GROUP_STATE ? from->told.len : 0;

    to->err = from->err;
    to->told = from->told;
    to->told.len = len;
    to->told.batches =
        arena_array(&whole->arena, len, sizeof *to->told.batches);
    if (len != 0)
        memcpy(to->told.batches, from->told.batches,
               len * sizeof *to->told.batches);
}

void share_gather(struct share_answer *whole, struct share_answer *piece)
{
    for (int32_t i = 0; i < piece->asks_len; i++)
        gather(whole, &piece->asks[i]);
    share_answer_free(piece);
}

void share_gathered(struct share_answer *whole) { share_answer_fill(whole); }
