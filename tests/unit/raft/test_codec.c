#include "base/prng.h"
#include "raft/codec.h"
#include "raft/transport.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct buf encode(const struct raft_message *m, struct slice image)
{
    struct buf b = BUF_INIT;

    raft_message_encode(m, "cluster", image, &b);
    return b;
}

static bool decode(struct slice bytes, struct arena *arena,
                   struct raft_message *m)
{
    struct slice cluster_id;

    arena_init(arena, 2 * bytes.len + (1 << 20));
    return raft_message_decode(bytes, arena, m, &cluster_id);
}

static struct raft_entry entries[] = {
    {.index = 8, .term = 3, .type = RAFT_ENTRY_DATA, .data = SLICE("abc")},
    {.index = 9, .term = 4, .type = RAFT_ENTRY_NOOP, .data = SLICE("")},
};
static struct raft_member members[] = {
    {.id = 0, .voter = true, .host = "a", .port = 65535},
    {.id = INT32_MAX, .host = "b", .port = 1},
};
static const struct raft_config config = {members, 2};

static struct raft_message an_append(void)
{
    struct raft_message m = {
        .type = RAFT_APPEND, .from = 1, .to = 2, .term = 4};

    m.append.prev_index = 7;
    m.append.prev_term = 3;
    m.append.commit = 6;
    m.append.entries = entries;
    m.append.entries_len = 2;
    return m;
}

static struct raft_message a_snapshot(void)
{
    struct raft_message m = {
        .type = RAFT_SNAPSHOT, .from = 1, .to = 2, .term = 4};

    m.snapshot.index = 100;
    m.snapshot.index_term = 3;
    m.snapshot.config_index = 90;
    m.snapshot.config = &config;
    m.snapshot.offset = 5;
    m.snapshot.size = 10;
    m.snapshot.len = 5;
    return m;
}

Test(codec, an_append_arrives_as_it_was_sent)
{
    struct raft_message m = an_append(), got;
    struct buf b = encode(&m, SLICE_NULL);
    struct arena arena;

    cr_assert(decode(buf_slice(&b), &arena, &got));
    cr_assert_eq(got.type, RAFT_APPEND);
    cr_assert_eq(got.from, 1);
    cr_assert_eq(got.to, 2);
    cr_assert_eq(got.term, 4);
    cr_assert_eq(got.append.prev_index, 7);
    cr_assert_eq(got.append.prev_term, 3);
    cr_assert_eq(got.append.commit, 6);
    cr_assert_eq(got.append.entries_len, 2);
    cr_assert_eq(got.append.entries[1].index, 9);
    cr_assert_eq(got.append.entries[1].type, RAFT_ENTRY_NOOP);
    cr_assert(slice_eq_str(got.append.entries[0].data, "abc"));
    arena_free(&arena);
    buf_free(&b);
}

Test(codec, an_image_chunk_carries_the_members)
{
    struct raft_message m = a_snapshot(), got;
    struct buf b = encode(&m, SLICE("bytes"));
    struct arena arena;

    cr_assert(decode(buf_slice(&b), &arena, &got));
    cr_assert_eq(got.snapshot.config->len, 2);
    cr_assert_eq(got.snapshot.config->members[1].id, INT32_MAX);
    cr_assert_eq(got.snapshot.config->members[0].port, 65535);
    cr_assert_str_eq(got.snapshot.config->members[1].host, "b");
    cr_assert(slice_eq_str(got.snapshot.data, "bytes"));
    arena_free(&arena);
    buf_free(&b);
}

Test(codec, a_sender_says_where_it_listens)
{
    struct raft_message m = an_append(), got;
    struct arena arena;
    char long_host[RAFT_HOST_MAX + 2];

    m.host = "far-away";
    m.port = 65535;
    struct buf b = encode(&m, SLICE_NULL);
    cr_assert(decode(buf_slice(&b), &arena, &got));
    cr_assert_str_eq(got.host, "far-away");
    cr_assert_eq(got.port, 65535);
    arena_free(&arena);
    buf_free(&b);
    memset(long_host, 'h', sizeof long_host - 1);
    long_host[sizeof long_host - 1] = '\0';
    m.host = long_host;
    b = encode(&m, SLICE_NULL);
    cr_assert_not(decode(buf_slice(&b), &arena, &got));
    arena_free(&arena);
    buf_free(&b);
}

Test(codec, members_out_of_order_are_refused)
{
    struct raft_member twice[] = {members[1], members[0]};
    struct raft_config wrong = {twice, 2};
    struct raft_message m = a_snapshot(), got;
    struct arena arena;

    m.snapshot.config = &wrong;
    struct buf b = encode(&m, SLICE_NULL);
    cr_assert_not(decode(buf_slice(&b), &arena, &got));
    arena_free(&arena);
    buf_free(&b);
}

Test(codec, a_message_that_claims_millions_of_entries_is_malformed)
{
    struct raft_message m = an_append(), got;
    struct buf b = BUF_INIT, inner = BUF_INIT;
    struct arena arena;

    (void)m;
    for (int i = 0; i < 2000000; i++) /* field 4, length 0 */
        buf_put(&inner, "\x22\x00", 2);
    buf_put_u8(&b, 0x3a); /* field 7: append */
    buf_put_uvarint64(&b, inner.len);
    buf_put_slice(&b, buf_slice(&inner));
    cr_assert_not(decode(buf_slice(&b), &arena, &got));
    cr_assert_leq(arena.used_bytes, 2 * b.len + (1 << 20));
    arena_free(&arena);
    buf_free(&b);
    buf_free(&inner);
}

/* Whatever arrives is decoded within bounds or refused; sanitizers watch. */
Test(codec, damaged_messages_do_no_harm)
{
    struct raft_message append = an_append(), snapshot = a_snapshot(), got;
    struct buf good[2] = {encode(&append, SLICE_NULL),
                          encode(&snapshot, SLICE("bytes"))};
    struct prng p = {11};
    struct arena arena;
    int refused = 0;

    for (int round = 0; round < 20000; round++) {
        struct slice from = buf_slice(&good[round % 2]);
        size_t len = 1 + (size_t)prng_below(&p, from.len);
        uint8_t *copy = xmemdup(from.data, len); /* exact, for the sanitizer */

        for (uint64_t flips = prng_below(&p, 4); flips > 0; flips--)
            copy[prng_below(&p, len)] ^= (uint8_t)(1u << prng_below(&p, 8));
        refused += !decode(slice_of(copy, len), &arena, &got);
        arena_free(&arena);
        free(copy);
    }
    cr_assert_gt(refused, 1000);
    buf_free(&good[0]);
    buf_free(&good[1]);
}

Test(transport, frames_that_are_not_ours_are_told_apart)
{
    cr_assert(raft_transport_is(SLICE("\x4e\x20\0\0")));
    cr_assert_not(raft_transport_is(SLICE("\x4e\x20\0")));
    cr_assert_not(raft_transport_is(SLICE("\0\x12\0\3")));
    cr_assert_not(raft_transport_is(SLICE_NULL));
    /* None of these gets as far as the node or the peers. */
    static const char *const wrong[] = {
        "",
        "4e20",
        "4e200001",
        "4e20000000000000",
        "4e2000000000000000",
        "4e20000000000000ffff",
        "4e200000000000000006726166742d",
        "4e2000000000000000067261667478",
        "4e200000000000000007726166742d2d31",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct buf b = BUF_INIT;

        for (const char *c = wrong[i]; *c != '\0'; c += 2) {
            unsigned byte;
            cr_assert_eq(sscanf(c, "%2x", &byte), 1);
            buf_put_u8(&b, (uint8_t)byte);
        }
        cr_assert_not(raft_transport_receive(NULL, buf_slice(&b)), "%s",
                      wrong[i]);
        buf_free(&b);
    }
}
