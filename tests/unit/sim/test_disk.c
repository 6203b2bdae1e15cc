/* The simulated disk: what it forgets, and what it must not. */
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

enum { SEEDS = 200, PAGE = DISK_PAGE_BYTES };

static struct env *env;
static struct disk *disk;

static void start(uint64_t seed)
{
    env = env_mem_new(seed);
    disk = env_disk(env);
    cr_assert_eq(env_mkdir(env, "/d"), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
}

static void stop(void) { env_mem_free(env); }

static struct env_file *open_file(const char *path)
{
    struct env_file *file;

    cr_assert_eq(env_file_open(env, path, ENV_CREATE, &file), 0);
    return file;
}

/* `pages` pages of one letter each, from page `at` on. */
static int write_pages(struct env_file *file, char letter, size_t at,
                       size_t pages)
{
    uint8_t *bytes = xmalloc(pages * PAGE);
    struct slice part = slice_of(bytes, pages * PAGE);

    memset(bytes, letter, pages * PAGE);
    int error = env_file_write(file, &part, 1, (int64_t)(at * PAGE));
    free(bytes);
    return error;
}

/* The first letters of the pages, "" for no file. */
static const char *pages_of(const char *path)
{
    static char text[64];
    struct buf all = BUF_INIT;
    size_t n = 0;

    if (env_read_all(env, path, SIZE_MAX, &all) == 0)
        for (size_t at = 0; at < all.len; at += PAGE)
            text[n++] = all.data[at] != 0 ? (char)all.data[at] : '.';
    text[n] = '\0';
    buf_free(&all);
    return text;
}

/* Does it to `seeds` disks, and says which of the wanted outcomes came. */
static void outcomes(void (*act)(void), const char *path,
                     const char *const *want, size_t want_len)
{
    int hits[16] = {0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed);
        act();
        const char *got = pages_of(path);
        size_t i = 0;
        while (i < want_len && strcmp(want[i], got) != 0)
            i++;
        cr_assert_lt(i, want_len, "seed %d left '%s'", (int)seed, got);
        hits[i]++;
        stop();
    }
    for (size_t i = 0; i < want_len; i++)
        cr_assert_gt(hits[i], 0, "never '%s'", want[i]);
}

#define OUTCOMES(act, path, ...)                                               \
    do {                                                                       \
        static const char *const want[] = {__VA_ARGS__};                       \
        outcomes(act, path, want, sizeof want / sizeof *want);                 \
    } while (0)

/* ---- crashes -------------------------------------------------------------*/

/* "ab" synced, then "cd" behind it not. */
static void append_behind_a_sync(void)
{
    struct env_file *file = open_file("/d/f");

    write_pages(file, 'a', 0, 1);
    write_pages(file, 'b', 1, 1);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    write_pages(file, 'c', 2, 1);
    write_pages(file, 'd', 3, 1);
    disk_freeze(disk);
    env_file_unref(file);
}

static void killed(void)
{
    append_behind_a_sync();
    disk_crash(disk, DISK_KILL);
}

static void worst(void)
{
    append_behind_a_sync();
    disk_crash(disk, DISK_WORST);
}

static void power_lost(void)
{
    append_behind_a_sync();
    disk_crash(disk, DISK_POWER);
}

Test(disk, a_kill_loses_nothing) { OUTCOMES(killed, "/d/f", "abcd"); }

Test(disk, the_worst_power_loss_keeps_what_was_synced)
{
    OUTCOMES(worst, "/d/f", "ab");
}

Test(disk, a_power_loss_keeps_more_or_less_of_the_rest)
{
    OUTCOMES(power_lost, "/d/f", "ab", "abc", "abcd", "ab.d", "abc.", "ab..");
}

static void overwrite_and_lose(void)
{
    struct env_file *file = open_file("/d/f");

    write_pages(file, 'a', 0, 3);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    write_pages(file, 'x', 1, 1);
    env_file_unref(file);
    disk_crash(disk, DISK_POWER);
}

Test(disk, an_overwritten_page_is_old_or_new)
{
    OUTCOMES(overwrite_and_lose, "/d/f", "aaa", "axa");
}

/* A sync has only to write what is behind the lowest change. */
static void cut_and_write(void)
{
    struct env_file *file = open_file("/d/f");

    write_pages(file, 'a', 0, 4);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    cr_assert_eq(env_file_truncate(file, PAGE), 0);
    write_pages(file, 'z', 3, 1);
    write_pages(file, 'b', 2, 1);
    cr_assert_eq(env_file_sync(file), 0);
    env_file_unref(file);
    disk_crash(disk, DISK_WORST);
}

Test(disk, a_sync_writes_all_that_changed)
{
    OUTCOMES(cut_and_write, "/d/f", "a.bz");
}

static void write_backwards(void)
{
    struct env_file *file = open_file("/d/f");

    write_pages(file, 'a', 0, 4);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    write_pages(file, 'z', 3, 1);
    write_pages(file, 'b', 1, 1);
    cr_assert_eq(env_file_sync(file), 0);
    env_file_unref(file);
    disk_crash(disk, DISK_WORST);
}

Test(disk, a_sync_writes_what_changed_last_too)
{
    OUTCOMES(write_backwards, "/d/f", "abaz");
}

static void names_not_synced(void)
{
    env_file_unref(open_file("/d/old"));
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    cr_assert_eq(env_rename(env, "/d/old", "/d/new"), 0);
    env_file_unref(open_file("/d/later"));
}

Test(disk, names_reach_the_disk_in_order)
{
    int renamed = 0, both = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed);
        names_not_synced();
        disk_crash(disk, DISK_POWER);
        bool new = env_path_kind(env, "/d/new") == 1;
        bool later = env_path_kind(env, "/d/later") == 1;
        cr_assert_eq(env_path_kind(env, "/d/old"), new ? 0 : 1);
        cr_assert(new || !later, "the second change without the first");
        renamed += new;
        both += later;
        stop();
    }
    cr_assert(renamed > both && both > 0 && renamed < SEEDS);
    start(1);
    names_not_synced();
    disk_crash(disk, DISK_WORST);
    cr_assert_eq(env_path_kind(env, "/d/old"), 1);
    cr_assert_eq(env_path_kind(env, "/d/later"), 0);
    stop();
}

/* Two disks of one machine. */
Test(disk, syncs_of_one_file_system_say_nothing_of_another)
{
    int later_only = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        start(seed);
        env_mkdir(env, "/e");
        env_sync_dir(env, "/e");
        env_file_unref(open_file("/d/first"));
        env_file_unref(open_file("/e/then"));
        env_file_unref(open_file("/e/unsynced"));
        cr_assert_eq(env_rename(env, "/d/first", "/e/first"), -EXDEV);
        cr_assert_eq(env_sync_dir(env, "/d"), 0);
        env_mem_crash(env, ENV_MEM_WORST);
        cr_assert_eq(env_path_kind(env, "/d/first"), 1);
        cr_assert_eq(env_path_kind(env, "/e/then"), 0);
        env_file_unref(open_file("/d/second"));
        env_file_unref(open_file("/e/then"));
        cr_assert_eq(env_sync_dir(env, "/e"), 0);
        env_mem_crash(env, ENV_MEM_POWER);
        cr_assert_eq(env_path_kind(env, "/e/then"), 1);
        later_only += env_path_kind(env, "/d/second") == 0;
        stop();
    }
    cr_assert(later_only > 0 && later_only < SEEDS, "%d", later_only);
}

Test(disk, a_directory_moves_with_what_is_in_it)
{
    char **names;
    size_t len;

    start(1);
    cr_assert_eq(env_mkdir(env, "/d/a"), 0);
    env_file_unref(open_file("/d/a/f"));
    env_file_unref(open_file("/d/ab"));
    cr_assert_eq(env_rmdir(env, "/d/a"), -ENOTEMPTY);
    cr_assert_eq(env_rename(env, "/d/a", "/d/b"), 0);
    cr_assert_eq(env_path_kind(env, "/d/b/f"), 1);
    cr_assert_eq(env_path_kind(env, "/d/a/f"), 0);
    cr_assert_eq(env_list_dir(env, "/d", &names, &len), 0);
    cr_assert_eq(len, 2);
    cr_assert_str_eq(names[0], "ab");
    cr_assert_str_eq(names[1], "b");
    free(names[0]);
    free(names[1]);
    free(names);
    stop();
}

/* ---- a sync that fails ---------------------------------------------------*/

/* "aa" is synced, "bbb" behind it is not: the sync fails. */
static struct env_file *fail_a_sync(void)
{
    struct env_file *file = open_file("/d/f");

    write_pages(file, 'a', 0, 2);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    write_pages(file, 'b', 2, 3);
    disk_faults(disk)->sync_at = 1;
    cr_assert_eq(env_file_sync(file), -EIO);
    cr_assert_str_eq(pages_of("/d/f"), "aabbb", "the page cache has it");
    return file;
}

static void sync_again_and_lose(void)
{
    struct env_file *file = fail_a_sync();

    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_str_eq(pages_of("/d/f"), "aabbb");
    env_file_unref(file);
    disk_crash(disk, DISK_WORST);
}

Test(disk, a_second_sync_does_not_save_what_the_first_lost)
{
    OUTCOMES(sync_again_and_lose, "/d/f", "aa...", "aab..", "aa.b.", "aa..b",
             "aabb.", "aab.b", "aa.bb", "aabbb");
}

/* The second sync passes over them, and over what is written before them. */
static void write_before_and_lose(void)
{
    struct env_file *file = fail_a_sync();

    write_pages(file, 'c', 0, 1);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_str_eq(pages_of("/d/f"), "cabbb");
    env_file_unref(file);
    disk_crash(disk, DISK_WORST);
}

Test(disk, nor_does_writing_something_before_it)
{
    OUTCOMES(write_before_and_lose, "/d/f", "ca...", "cab..", "ca.b.", "ca..b",
             "cabb.", "cab.b", "ca.bb", "cabbb");
}

static void write_again_and_lose(void)
{
    struct env_file *file = fail_a_sync();

    write_pages(file, 'c', 2, 3);
    cr_assert_eq(env_file_sync(file), 0);
    env_file_unref(file);
    disk_crash(disk, DISK_WORST);
}

Test(disk, writing_again_does)
{
    OUTCOMES(write_again_and_lose, "/d/f", "aaccc");
}

static void kill_after_the_sync_failed(void)
{
    env_file_unref(fail_a_sync());
    disk_crash(disk, DISK_KILL);
    cr_assert_str_eq(pages_of("/d/f"), "aabbb", "a kill loses nothing");
    disk_crash(disk, DISK_POWER);
    const char *left = pages_of("/d/f");
    cr_assert_eq(strncmp(left, "aa", 2), 0);
}

Test(disk, lost_pages_stay_lost_over_a_kill)
{
    int lost = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed);
        kill_after_the_sync_failed();
        lost += strcmp(pages_of("/d/f"), "aabbb") != 0;
        stop();
    }
    cr_assert(lost > SEEDS / 2 && lost < SEEDS);
}

/* ---- full, by chance, rotten ----------------------------------------------*/

Test(disk, a_full_disk_takes_what_it_has_room_for)
{
    struct env_file *file;
    int64_t total, available;
    int parts = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed);
        disk_faults(disk)->capacity_bytes = 3 * PAGE;
        file = open_file("/d/f");
        cr_assert_eq(write_pages(file, 'a', 0, 2), 0);
        cr_assert_eq(write_pages(file, 'b', 2, 2), -ENOSPC);
        cr_assert_leq(disk_used_bytes(disk), 3 * PAGE);
        parts += disk_used_bytes(disk) > 2 * PAGE;
        cr_assert_eq(write_pages(file, 'c', 0, 2), 0, "needs no room");
        cr_assert_eq(env_disk_space(env, "/d", &total, &available), 0);
        cr_assert_eq(available, total - disk_used_bytes(disk));
        cr_assert_eq(env_unlink(env, "/d/f"), 0);
        cr_assert_gt(disk_used_bytes(disk), 0, "it is open");
        env_file_unref(file);
        cr_assert_eq(disk_used_bytes(disk), 0);
        stop();
    }
    cr_assert_gt(parts, 0);
}

Test(disk, faults_come_by_chance)
{
    struct env_file *file, *other;
    int writes = 0, syncs = 0, truncates = 0, opens = 0;

    start(7);
    file = open_file("/d/f");
    *disk_faults(disk) = (struct disk_faults){.error = -ENOSPC,
                                              .write_ppm = 250000,
                                              .sync_ppm = 250000,
                                              .truncate_ppm = 250000,
                                              .open_ppm = 250000};
    for (int i = 0; i < 400; i++) {
        writes += write_pages(file, 'a', 0, 1) == -ENOSPC;
        syncs += env_file_sync(file) == -ENOSPC;
        truncates += env_file_truncate(file, 0) == -ENOSPC;
        if (env_file_open(env, "/d/g", ENV_CREATE, &other) == 0)
            env_file_unref(other);
        else
            opens++;
    }
    cr_assert(writes > 60 && writes < 140, "%d", writes);
    cr_assert(syncs > 60 && syncs < 140, "%d", syncs);
    cr_assert(truncates > 60 && truncates < 140, "%d", truncates);
    cr_assert(opens > 60 && opens < 140, "%d", opens);
    env_file_unref(file);
    stop();
}

Test(disk, rot_flips_one_bit_for_good)
{
    struct prng prng = {3};
    struct disk_rot rot;
    struct env_file *file;

    start(1);
    file = open_file("/d/f.log");
    write_pages(file, 0, 0, 2);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    env_file_unref(file);
    env_file_unref(open_file("/d/empty.log"));
    file = open_file("/d/f.index");
    write_pages(file, 0, 0, 2);
    env_file_unref(file);
    cr_assert_not(disk_rot(disk, &prng, ".nothing", &rot));
    cr_assert(disk_rot(disk, &prng, ".log", &rot));
    cr_assert_str_eq(rot.path, "/d/f.log");
    free(rot.path);
    cr_assert_eq(disk_file(disk, "/d/f.log")->data[rot.position],
                 1u << rot.bit);
    disk_crash(disk, DISK_WORST);
    struct buf *b = disk_file(disk, "/d/f.log");
    for (size_t i = 0; i < b->len; i++)
        cr_assert_eq(b->data[i],
                     i == (size_t)rot.position ? 1u << rot.bit : 0u);
    stop();
}

Test(disk, a_replaced_disk_is_empty)
{
    struct env_file *file;
    uint8_t byte;

    start(1);
    file = open_file("/d/f");
    write_pages(file, 'a', 0, 2);
    cr_assert_eq(env_file_sync(file), 0);
    cr_assert_eq(env_sync_dir(env, "/d"), 0);
    disk_wipe(disk);
    cr_assert_eq(env_path_kind(env, "/d/f"), 0);
    cr_assert_eq(disk_used_bytes(disk), 0);
    cr_assert_eq(env_file_read(file, &byte, 1, 0), -EIO);
    disk_crash(disk, DISK_POWER);
    cr_assert_eq(env_path_kind(env, "/d"), 0);
    env_file_unref(file);
    stop();
}

/* ---- processes -----------------------------------------------------------*/

Test(disk, a_lock_has_one_holder_until_it_is_let_go)
{
    struct env_file *lock, *second;

    start(1);
    cr_assert_eq(env_lock_file(env, "/d/.lock", &lock), 0);
    cr_assert_eq(env_lock_file(env, "/d/.lock", &second), -EAGAIN);
    env_file_unref(env_file_ref(lock));
    cr_assert_eq(env_lock_file(env, "/d/.lock", &second), -EAGAIN);
    env_file_unref(lock);
    cr_assert_eq(env_lock_file(env, "/d/.lock", &second), 0);
    env_file_unref(second);
    cr_assert_eq(disk_open_files(disk), 0);
    stop();
}

Test(disk, a_dead_process_holds_no_lock_and_writes_nothing)
{
    struct env_file *lock, *file, *next;

    start(1);
    cr_assert_eq(env_lock_file(env, "/d/.lock", &lock), 0);
    file = open_file("/d/f");
    write_pages(file, 'a', 0, 1);
    disk_release(disk, &next); /* another one */
    cr_assert_eq(env_lock_file(env, "/d/.lock", &next), -EAGAIN);
    disk_release(disk, env_process(env));
    cr_assert_eq(disk_open_files(disk), 0);
    cr_assert_eq(env_lock_file(env, "/d/.lock", &next), 0);
    cr_assert_eq(write_pages(file, 'b', 0, 1), -EIO);
    cr_assert_eq(env_file_truncate(file, 0), -EIO);
    cr_assert_eq(env_file_sync(file), -EIO);
    cr_assert_eq(env_file_size(file), -EIO);
    cr_assert_str_eq(pages_of("/d/f"), "a");
    env_file_unref(file); /* late; the lock is never let go */
    env_file_unref(next);
    stop();
}
