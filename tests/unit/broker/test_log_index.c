#include "broker/log/epoch_cache.h"
#include "broker/log/index.h"
#include "broker/log/tail.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>
#include <errno.h>

TestSuite(log_index, .timeout = 20);

/* Entry i of a test index: offset 3i, position 10i + 1, timestamp 7i. */
static struct index_entry entry_at(int64_t i)
{
    return (struct index_entry){.timestamp = 7 * i,
                                .relative_offset = (int32_t)(3 * i),
                                .position = (int32_t)(10 * i + 1)};
}

static void fill(struct index *x, struct env *env, int64_t n, int64_t stored)
{
    for (int64_t i = 0; i < n; i++) {
        struct index_entry e = entry_at(i);
        if (i == stored)
            cr_assert_eq(index_write(x, env, "/x"), 0);
        index_add(x, &e);
    }
    if (stored >= n)
        cr_assert_eq(index_write(x, env, "/x"), 0);
    cr_assert_eq(index_count(x), n);
}

/* Wherever the entries lie: in memory, in the file, or in both. */
Test(log_index, the_last_entry_not_above_is_found)
{
    int64_t sizes[] = {1, 2, 340, 341, 342, 511, 512, 513, 1500};

    for (int s = 0; s < 9; s++) {
        for (int64_t stored = 0; stored <= sizes[s];
             stored += sizes[s] / 3 + 1) {
            struct env *env = env_mem_new(1);
            struct index x;
            index_file_init(&x, s % 2 == 0 ? INDEX_OFFSETS : INDEX_TIMES);
            fill(&x, env, sizes[s], stored);
            for (int64_t value = -1; value < 3 * sizes[s] + 5; value++) {
                struct index_entry e;
                uint32_t n;
                int rc =
                    index_floor(&x, env, "/x", INDEX_BY_OFFSET, value, &e, &n);
                if (value < 0) {
                    cr_assert_eq(rc, -ENOENT);
                    continue;
                }
                int64_t want = value / 3 < sizes[s] ? value / 3 : sizes[s] - 1;
                cr_assert_eq(rc, 0);
                cr_assert_eq(n, want);
                cr_assert_eq(e.relative_offset, 3 * want);
            }
            index_file_free(&x);
            env_mem_free(env);
        }
    }
}

Test(log_index, searching_reads_little)
{
    struct env *env = env_mem_new(1);
    struct index_entry e;
    struct index x;

    index_file_init(&x, INDEX_OFFSETS);
    fill(&x, env, 262144, 262144);
    int64_t before = env_mem_counts(env)->reads;
    cr_assert_eq(
        index_floor(&x, env, "/x", INDEX_BY_POSITION, 1234567, &e, NULL), 0);
    cr_assert_eq(e.position, 1234561);
    cr_assert_leq(env_mem_counts(env)->reads - before, 11);
    env_mem_free(env);
}

Test(log_index, truncating_keeps_the_first_entries)
{
    for (uint32_t stored = 0; stored <= 10; stored += 5) {
        for (uint32_t keep = 0; keep <= 10; keep++) {
            struct env *env = env_mem_new(1);
            struct index_entry e;
            struct index x;
            index_file_init(&x, INDEX_TIMES);
            fill(&x, env, 10, stored);
            cr_assert_eq(index_truncate(&x, env, "/x", keep), 0);
            cr_assert_eq(index_count(&x), keep);
            /* And goes on from there. */
            for (uint32_t i = keep; i < 12; i++) {
                e = entry_at(i);
                index_add(&x, &e);
            }
            cr_assert_eq(index_write(&x, env, "/x"), 0);
            for (uint32_t i = 0; i < 12; i++) {
                cr_assert_eq(index_get(&x, env, "/x", i, &e), 0);
                cr_assert_eq(e.timestamp, 7 * (int64_t)i);
            }
            struct index again;
            index_file_init(&again, INDEX_TIMES);
            cr_assert_eq(index_load(&again, env, "/x"), 0);
            cr_assert_eq(index_count(&again), 12);
            index_file_free(&x);
            env_mem_free(env);
        }
    }
}

Test(log_index, a_failed_write_loses_nothing)
{
    struct env *env = env_mem_new(1);
    struct index_entry e;
    struct index x;

    index_file_init(&x, INDEX_OFFSETS);
    fill(&x, env, 20, 10);
    env_mem_faults(env)->write_at = 1;
    cr_assert_eq(index_write(&x, env, "/x"), -EIO);
    cr_assert_eq(env_mem_file(env, "/x")->len, 10 * 8);
    cr_assert_eq(index_count(&x), 20);
    cr_assert_eq(index_write(&x, env, "/x"), 0);
    cr_assert_eq(index_get(&x, env, "/x", 19, &e), 0);
    cr_assert_eq(e.position, 191);
    index_file_free(&x);
    env_mem_free(env);
}

/* ---- epochs --------------------------------------------------------------*/

Test(log_index, an_epoch_checkpoint_reads_as_it_was_written)
{
    struct epoch_cache c = {0}, d = {0};
    struct buf text = BUF_INIT;

    epoch_cache_assign(&c, 0, 0);
    epoch_cache_assign(&c, 5, 100);
    epoch_cache_assign(&c, INT32_MAX, INT64_MAX);
    epoch_cache_format(&c, &text);
    cr_assert(
        slice_eq_str(buf_slice(&text),
                     "0\n3\n0 0\n5 100\n2147483647 9223372036854775807\n"));
    cr_assert(epoch_cache_parse(&d, buf_slice(&text)));
    cr_assert_eq(d.len, 3);
    cr_assert_eq(d.entries[2].start_offset, INT64_MAX);
    /* Any prefix is refused and leaves nothing. */
    for (size_t n = 0; n < text.len; n++) {
        cr_assert_not(epoch_cache_parse(&d, slice_of(text.data, n)));
        cr_assert_eq(d.len, 0);
    }
    buf_free(&text);
    epoch_cache_free(&c);
    epoch_cache_free(&d);
}

Test(log_index, what_is_no_epoch_checkpoint_is_refused)
{
    const char *bad[] = {
        "",
        "1\n0\n",
        "0\n1\n",
        "0\n0\n1 1\n",
        "0\n1\n1 1\n2 2\n",
        "0\n1\n-1 0\n",
        "0\n1\n1  1\n",
        "0\n1\n2147483648 0\n",
        "0\n1\n1 9223372036854775808\n",
        "0\n1\n99999999999999999999 0\n",
        "0\n2\n1 0\n1 5\n",
        "0\n2\n1 5\n2 5\n",
        "0\n2\n2 0\n1 5\n",
        "0\n99999999999999999999\n",
    };
    struct epoch_cache c = {0};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(epoch_cache_parse(&c, slice_str(bad[i])), "%s", bad[i]);
    cr_assert(epoch_cache_parse(&c, SLICE("0\n0\n")));
    epoch_cache_free(&c);
}

/* ---- tail ----------------------------------------------------------------*/

Test(log_index, the_tail_knows_the_newest_batches)
{
    struct tail_hit hit;
    struct tail t = {0};
    uint32_t start;

    cr_assert_not(tail_find(&t, 0, &hit));
    /* Offsets 10i .. 10i+4, then a gap; 100 bytes each. */
    for (int i = 0; i < 200; i++) {
        tail_add(&t, 10 * i, (uint32_t)(100 * i), 4);
        int oldest = i < TAIL_MAX ? 0 : i - TAIL_MAX + 1;
        cr_assert_not(tail_find(&t, 10 * oldest - 1, &hit));
        cr_assert_not(tail_find(&t, 10 * i + 5, &hit));
        cr_assert(tail_find(&t, 10 * i + 4, &hit));
        cr_assert(hit.newest && hit.batch.base_offset == 10 * i);
        cr_assert(tail_find(&t, 10 * oldest, &hit));
        cr_assert_eq(hit.batch.position, (uint32_t)(100 * oldest));
        if (i > 0) {
            /* In the gap: the batch behind it. */
            cr_assert(tail_find(&t, 10 * i - 2, &hit));
            cr_assert_eq(hit.batch.base_offset, 10 * i);
        }
    }
    cr_assert(tail_floor(&t, 19950, &start));
    cr_assert_eq(start, 19900);
    cr_assert(tail_floor(&t, 19899, &start));
    cr_assert_eq(start, 19800);
    cr_assert_not(tail_floor(&t, 13599, &start));
    tail_truncate(&t, 19800);
    cr_assert_not(tail_find(&t, 1980, &hit));
    cr_assert(tail_find(&t, 1974, &hit));
    cr_assert(hit.newest);
    tail_clear(&t);
    cr_assert_not(tail_floor(&t, 100000, &start));
    tail_free(&t);
}
