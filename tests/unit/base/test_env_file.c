#include "base/env_libevent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64];
static struct env *env;

static void set_up(void)
{
    strcpy(dir, "/tmp/leat-env-file-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    env = env_create();
}

static void tear_down(void)
{
    char **names;
    size_t len;

    env_free(env);
    cr_assert_eq(env_list_dir(NULL, dir, &names, &len), 0);
    for (size_t i = 0; i < len; i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);
        if (env_path_kind(NULL, path) == 2)
            env_rmdir(NULL, path);
        else
            env_unlink(NULL, path);
        free(path);
        free(names[i]);
    }
    free(names);
    cr_assert_eq(env_rmdir(NULL, dir), 0);
}

TestSuite(env_file, .init = set_up, .fini = tear_down, .timeout = 30);

static const char *at(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static struct env_file *open_new(const char *name)
{
    struct env_file *f;

    cr_assert_eq(env_file_open(env, at(name), ENV_CREATE | ENV_EXCLUSIVE, &f),
                 0);
    return f;
}

Test(env_file, writes_many_parts_and_reads_them_back)
{
    enum { PARTS = 200 };
    struct env_file *f = open_new("data");
    struct slice parts[PARTS];
    struct buf all = BUF_INIT;

    for (int i = 0; i < PARTS; i++) /* parts of 0, 7, 14, ... bytes */
        for (int j = 0; j < 7 * i; j++)
            buf_put_u8(&all, (uint8_t)(i * 31 + j));
    size_t from = 0;
    for (int i = 0; i < PARTS; i++) {
        parts[i] = slice_of(all.data + from, 7 * (size_t)i);
        from += 7 * (size_t)i;
    }
    cr_assert_eq(env_file_write(f, parts, PARTS, 1000), 0);
    cr_assert_eq(env_file_size(f), 1000 + (int64_t)all.len);
    uint8_t *back = malloc(all.len + 10);
    cr_assert_eq(env_file_read(f, back, all.len + 10, 1000), (int64_t)all.len);
    cr_assert_eq(memcmp(back, all.data, all.len), 0);
    /* Just written, so in the page cache. */
    int64_t n = env_file_read_nowait(f, back, 100, 1000);
    cr_assert_eq(n, 100);
    cr_assert_eq(memcmp(back, all.data, 100), 0);
    cr_assert_eq(env_file_sync(f), 0);
    cr_assert_eq(env_file_truncate(f, 1003), 0);
    cr_assert_eq(env_file_read(f, back, 100, 1000), 3);
    free(back);
    buf_free(&all);
    env_file_unref(f);
}

Test(env_file, flags_mean_what_they_say)
{
    struct env_file *f;

    cr_assert_eq(env_file_open(env, at("x"), 0, &f), -ENOENT);
    env_file_unref(open_new("x"));
    cr_assert_eq(env_file_open(env, at("x"), ENV_CREATE | ENV_EXCLUSIVE, &f),
                 -EEXIST);
    cr_assert_eq(env_file_open(env, at("x"), ENV_READ, &f), 0);
    struct slice part = SLICE("no");
    cr_assert_eq(env_file_write(f, &part, 1, 0), -EBADF);
    env_file_unref(f);
}

Test(env_file, a_reference_keeps_a_deleted_file_readable)
{
    struct env_file *f = open_new("gone");
    struct slice part = SLICE("still here");
    char back[10];

    cr_assert_eq(env_file_write(f, &part, 1, 0), 0);
    env_file_ref(f);
    env_file_unref(f);
    cr_assert_eq(env_unlink(env, at("gone")), 0);
    cr_assert_eq(env_path_kind(env, at("gone")), 0);
    cr_assert_eq(env_file_read(f, back, 10, 0), 10);
    cr_assert_eq(memcmp(back, "still here", 10), 0);
    env_file_unref(f);
}

/* ---- who waits for a file that has lost its name ------------------------- */

enum { HELPERS = 4 };

struct busy {
    struct env_work work;
    sem_t *go;
};

static void wait_for_go(struct env_work *work)
{
    sem_wait(LIST_ENTRY(work, struct busy, work)->go);
}

static void went(struct env_work *work) { (void)work; }

/* Files without a name that this process holds, of those in `dir`. */
static int nameless(void)
{
    char **names, target[256];
    size_t len;
    int found = 0;

    cr_assert_eq(env_list_dir(NULL, "/proc/self/fd", &names, &len), 0);
    for (size_t i = 0; i < len; i++) {
        char *path = xasprintf("/proc/self/fd/%s", names[i]);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = '\0';
        found += strncmp(target, dir, strlen(dir)) == 0 &&
                 strstr(target, " (deleted)") != NULL;
        free(path);
        free(names[i]);
    }
    free(names);
    return found;
}

/* On a slow disk the last reference to a file may take minutes to give back. */
Test(env_file, helpers_let_go_of_replaced_and_deleted_files)
{
    struct busy all[HELPERS];
    char old[128];
    sem_t go;

    sem_init(&go, 0, 0);
    for (int i = 0; i < HELPERS; i++) {
        all[i] = (struct busy){.work = {.run = wait_for_go, .done = went},
                               .go = &go};
        env_work_start(env, &all[i].work);
    }
    env_file_unref(open_new("old"));
    env_file_unref(open_new("new"));
    env_file_unref(open_new("other"));
    strcpy(old, at("old"));
    cr_assert_eq(env_rename(env, at("new"), old), 0);
    cr_assert_eq(env_unlink(env, at("other")), 0);
    cr_assert_eq(env_path_kind(env, at("new")), 0);
    cr_assert_eq(env_path_kind(env, at("other")), 0);
    cr_assert_eq(nameless(), 2);
    for (int i = 0; i < HELPERS; i++)
        sem_post(&go);
    env_free(env);
    cr_assert_eq(nameless(), 0);
    sem_destroy(&go);
    env = env_create();
}

Test(env_file, lists_names_sorted)
{
    char **names;
    size_t len;

    env_file_unref(open_new("b"));
    env_file_unref(open_new("a"));
    cr_assert_eq(env_mkdir(env, at("c")), 0);
    cr_assert_eq(env_mkdir(env, at("c")), 0);
    cr_assert_eq(env_mkdir(env, at("a")), -EEXIST);
    cr_assert_eq(env_path_kind(env, at("a")), 1);
    cr_assert_eq(env_path_kind(env, at("c")), 2);
    cr_assert_eq(env_rename(env, at("none"), dir), -ENOENT);
    cr_assert_eq(env_list_dir(env, dir, &names, &len), 0);
    cr_assert_eq(len, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(names[i][0], "abc"[i]);
        free(names[i]);
    }
    free(names);
    cr_assert_eq(env_list_dir(env, at("none"), &names, &len), -ENOENT);
    cr_assert_eq(env_sync_dir(env, dir), 0);
    cr_assert_eq(env_sync_dir(env, at("none")), -ENOENT);
}

Test(env_file, a_lock_is_held_once)
{
    struct env_file *lock, *second;

    cr_assert_eq(env_lock_file(env, at(".lock"), &lock), 0);
    cr_assert_eq(env_lock_file(env, at(".lock"), &second), -EAGAIN);
    env_file_unref(lock);
    cr_assert_eq(env_lock_file(env, at(".lock"), &second), 0);
    env_file_unref(second);
}

Test(env_file, whole_files_are_replaced_and_bounded)
{
    struct buf b = BUF_INIT;

    cr_assert_eq(env_read_all(env, at("whole"), 100, &b), -ENOENT);
    cr_assert_eq(env_write_all(env, at("whole"), SLICE("a longer first")), 0);
    cr_assert_eq(env_write_all(env, at("whole"), SLICE("second")), 0);
    cr_assert_eq(env_read_all(env, at("whole"), 5, &b), -EFBIG);
    cr_assert_eq(env_read_all(env, at("whole"), 6, &b), 0);
    cr_assert(slice_eq(buf_slice(&b), SLICE("second")));
    cr_assert_eq(env_path_kind(env, at("whole.tmp")), 0);
    cr_assert_eq(env_write_all(env, at("none/whole"), SLICE("x")), -ENOENT);
    buf_free(&b);
}

Test(env_file, a_failed_replacement_leaves_the_old_file)
{
    struct buf b = BUF_INIT;

    cr_assert_eq(env_write_all(env, at("kept"), SLICE("old")), 0);
    cr_assert_eq(env_mkdir(env, at("kept.tmp")), 0); /* in the way */
    cr_assert_lt(env_write_all(env, at("kept"), SLICE("new")), 0);
    cr_assert_eq(env_read_all(env, at("kept"), 100, &b), 0);
    cr_assert(slice_eq(buf_slice(&b), SLICE("old")));
    buf_free(&b);
}

Test(env_file, disk_space_is_plausible)
{
    int64_t total, available;

    cr_assert_eq(env_disk_space(env, dir, &total, &available), 0);
    cr_assert_gt(total, 0);
    cr_assert_leq(available, total);
}

Test(env_file, a_file_can_be_as_old_as_another)
{
    struct env_file *file;
    char *path = xasprintf("%s/old", dir);

    cr_assert_eq(env_file_open(env, path, ENV_CREATE, &file), 0);
    cr_assert_eq(env_file_write(file, &SLICE("x"), 1, 0), 0);
    cr_assert_eq(env_file_set_changed_ms(file, 1234567890123), 0);
    cr_assert_eq(env_file_changed_ms(file), 1234567890123);
    env_file_unref(file);
    free(path);
}
