/* The LMDB store: what a batch does, what scans see, what survives. */
#include "base/env_libevent.h"
#include "base/kv.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static char *path;
static struct env *env;
static struct kv *kv;

static void open_store(void)
{
    char *why = NULL;

    cr_assert_eq(kv_open(env, path, &kv, &why), 0, "%s", why);
}

static void set_up(void)
{
    strcpy(dir, "/tmp/leat-kv-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    path = xasprintf("%s/store", dir);
    env = env_create();
    open_store();
}

static void tear_down(void)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};

    if (kv != NULL)
        kv_close(kv);
    for (int i = 0; i < 2; i++) {
        char *file = xasprintf("%s/%s", path, files[i]);
        unlink(file);
        free(file);
    }
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(rmdir(dir), 0);
    free(path);
    env_free(env);
}

TestSuite(kv, .init = set_up, .fini = tear_down, .timeout = 60);

static void put(const char *key, const char *value)
{
    struct kv_batch b = KV_BATCH_INIT;

    kv_batch_put(&b, slice_str(key), slice_str(value));
    cr_assert_eq(kv_write(kv, &b, false), 0);
    kv_batch_free(&b);
}

static void check(const char *key, const char *value)
{
    struct buf b = BUF_INIT;
    int rc = kv_get(kv, slice_str(key), &b);

    if (value == NULL)
        cr_assert_eq(rc, -ENOENT, "%s is there", key);
    else
        cr_assert(rc == 0 && slice_eq_str(buf_slice(&b), value), "%s", key);
    buf_free(&b);
}

struct seen {
    struct buf keys;
    int limit;
};

static bool collect(void *arg, struct slice key, struct slice value)
{
    struct seen *seen = arg;

    buf_put_slice(&seen->keys, key);
    return --seen->limit != 0;
}

static void check_scan(const char *from, const char *to, int limit,
                       const char *up, const char *down)
{
    struct seen seen = {BUF_INIT, limit};

    cr_assert_eq(kv_scan(kv, slice_str(from), slice_str(to), collect, &seen),
                 0);
    cr_assert(slice_eq_str(buf_slice(&seen.keys), up), "%s..%s: %.*s", from, to,
              SLICE_FMT(buf_slice(&seen.keys)));
    seen.keys.len = 0;
    seen.limit = limit;
    cr_assert_eq(
        kv_scan_back(kv, slice_str(from), slice_str(to), collect, &seen), 0);
    cr_assert(slice_eq_str(buf_slice(&seen.keys), down), "%s..%s back: %.*s",
              from, to, SLICE_FMT(buf_slice(&seen.keys)));
    buf_free(&seen.keys);
}

Test(kv, a_batch_is_applied_in_order)
{
    struct kv_batch b = KV_BATCH_INIT;

    put("gone", "1");
    kv_batch_put(&b, SLICE("a"), SLICE("first"));
    kv_batch_put(&b, SLICE("a"), SLICE("second"));
    kv_batch_put(&b, SLICE("b"), SLICE("x"));
    kv_batch_delete(&b, SLICE("b"));
    kv_batch_delete(&b, SLICE("gone"));
    kv_batch_delete(&b, SLICE("never there"));
    kv_batch_put(&b, SLICE("empty"), SLICE(""));
    cr_assert_eq(b.count, 7);
    cr_assert_eq(kv_write(kv, &b, true), 0);
    check("a", "second");
    check("b", NULL);
    check("gone", NULL);
    check("empty", "");
    kv_batch_free(&b);
}

Test(kv, a_batch_that_fails_leaves_nothing_behind)
{
    struct kv_batch b = KV_BATCH_INIT;
    static const uint8_t longest[KV_KEY_MAX + 1];
    struct buf value = BUF_INIT;

    put("a", "old");
    kv_batch_put(&b, SLICE("a"), SLICE("new"));
    kv_batch_put(&b, slice_of(longest, KV_KEY_MAX + 1), SLICE("x"));
    cr_assert_eq(kv_write(kv, &b, true), -EINVAL);
    check("a", "old");
    kv_batch_free(&b);
    kv_batch_put(&b, SLICE(""), SLICE("x"));
    cr_assert_eq(kv_write(kv, &b, true), -EINVAL);
    kv_batch_free(&b);
    kv_batch_put(&b, slice_of(longest, KV_KEY_MAX), SLICE("fits"));
    cr_assert_eq(kv_write(kv, &b, true), 0);
    kv_batch_free(&b);
    cr_assert_eq(kv_get(kv, slice_of(longest, KV_KEY_MAX), &value), 0);
    cr_assert_eq(kv_get(kv, slice_of(longest, KV_KEY_MAX + 1), &value),
                 -EINVAL);
    cr_assert_eq(kv_get(kv, SLICE(""), &value), -EINVAL);
    buf_free(&value);
}

Test(kv, scans_in_both_directions_include_from_and_exclude_to)
{
    check_scan("", "", 0, "", "");
    for (const char *c = "bdfh"; *c != '\0'; c++)
        put((char[]){*c, '\0'}, "value");
    check_scan("", "", 0, "bdfh", "hfdb");
    check_scan("b", "h", 0, "bdf", "fdb");
    check_scan("c", "g", 0, "df", "fd");
    check_scan("d", "d", 0, "", "");
    check_scan("h", "b", 0, "", "");
    check_scan("i", "", 0, "", "");
    check_scan("", "b", 0, "", "");
    check_scan("", "a", 0, "", "");
    check_scan("", "z", 0, "bdfh", "hfdb");
    check_scan("b", "", 2, "bd", "hf");
}

Test(kv, ranges_are_deleted_from_inclusive_to_exclusive)
{
    static const struct {
        const char *from, *to, *left;
    } cases[] = {
        {"d", "f", "bfh"},  {"c", "g", "bh"}, {"", "f", "fh"},
        {"f", "", "bd"},    {"", "", ""},     {"x", "y", "bdfh"},
        {"f", "d", "bdfh"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kv_batch b = KV_BATCH_INIT;
        struct seen seen = {BUF_INIT, 0};

        for (const char *c = "bdfh"; *c != '\0'; c++)
            put((char[]){*c, '\0'}, "value");
        kv_batch_delete_range(&b, slice_str(cases[i].from),
                              slice_str(cases[i].to));
        cr_assert_eq(kv_write(kv, &b, false), 0);
        cr_assert_eq(kv_scan(kv, SLICE_NULL, SLICE_NULL, collect, &seen), 0);
        cr_assert(slice_eq_str(buf_slice(&seen.keys), cases[i].left),
                  "case %zu: %.*s", i, SLICE_FMT(buf_slice(&seen.keys)));
        buf_free(&seen.keys);
        kv_batch_free(&b);
    }
}

Test(kv, a_large_range_goes_at_once)
{
    struct kv_batch b = KV_BATCH_INIT;
    struct seen seen = {BUF_INIT, 0};
    uint8_t key[4], value[100] = {0};

    for (uint32_t i = 0; i < 20000; i++) {
        be32_put(key, i);
        kv_batch_put(&b, slice_of(key, 4), slice_of(value, i % 100));
    }
    cr_assert_eq(kv_write(kv, &b, false), 0);
    kv_batch_free(&b);
    uint8_t from[4], to[4];
    be32_put(from, 1);
    be32_put(to, 19998);
    kv_batch_delete_range(&b, slice_of(from, 4), slice_of(to, 4));
    cr_assert_eq(kv_write(kv, &b, false), 0);
    kv_batch_free(&b);
    cr_assert_eq(kv_scan(kv, SLICE_NULL, SLICE_NULL, collect, &seen), 0);
    cr_assert_eq(seen.keys.len, 12);
    cr_assert_eq(be32_get(seen.keys.data), 0);
    cr_assert_eq(be32_get(seen.keys.data + 4), 19998);
    cr_assert_eq(be32_get(seen.keys.data + 8), 19999);
    buf_free(&seen.keys);
}

Test(kv, what_was_written_is_there_after_opening_again)
{
    struct buf big = BUF_INIT, back = BUF_INIT;
    struct kv_batch b = KV_BATCH_INIT;

    memset(buf_extend(&big, 3000000), 'b', 3000000);
    kv_batch_put(&b, SLICE("big"), buf_slice(&big));
    cr_assert_eq(kv_write(kv, &b, true), 0);
    put("small", "s");
    kv_close(kv);
    open_store();
    check("small", "s");
    buf_put(&back, "prefix", 6);
    cr_assert_eq(kv_get(kv, SLICE("big"), &back), 0);
    cr_assert_eq(back.len, 6 + big.len); /* appended */
    cr_assert_eq(memcmp(back.data + 6, big.data, big.len), 0);
    buf_free(&big);
    buf_free(&back);
    kv_batch_free(&b);
}

/* ---- readers beside the writer -------------------------------------------*/

static atomic_bool enough;

static bool check_same(void *arg, struct slice key, struct slice value)
{
    struct slice *first = arg;

    if (first->data == NULL)
        *first = value;
    cr_assert(slice_eq(*first, value), "half a batch is visible");
    return true;
}

static void *read_along(void *arg)
{
    while (!atomic_load(&enough)) {
        struct slice first = SLICE_NULL;

        cr_assert_eq(kv_scan(kv, SLICE_NULL, SLICE_NULL, check_same, &first),
                     0);
    }
    return NULL;
}

static void write_round(uint32_t round)
{
    struct kv_batch b = KV_BATCH_INIT;
    uint8_t value[4];

    be32_put(value, round);
    for (int i = 0; i < 50; i++) {
        char key[8];
        int n = snprintf(key, sizeof key, "key%d", i);
        kv_batch_put(&b, slice_of(key, (size_t)n), slice_of(value, 4));
    }
    cr_assert_eq(kv_write(kv, &b, false), 0);
    kv_batch_free(&b);
}

Test(kv, readers_on_other_threads_see_whole_batches)
{
    pthread_t readers[2];

    write_round(0);
    for (int i = 0; i < 2; i++)
        pthread_create(&readers[i], NULL, read_along, NULL);
    for (uint32_t round = 1; round < 200; round++)
        write_round(round);
    atomic_store(&enough, true);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
}

/* ---- crashes and damage --------------------------------------------------*/

Test(kv, a_killed_writer_leaves_whole_batches)
{
    kv_close(kv);
    for (int round = 0; round < 5; round++) {
        int ready[2];
        char byte;

        cr_assert_eq(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            open_store();
            for (uint32_t n = 1;; n++) {
                write_round(n);
                if (n == 20 && write(ready[1], "x", 1) != 1)
                    _exit(1);
            }
        }
        close(ready[1]);
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        open_store();
        struct slice first = SLICE_NULL;
        cr_assert_eq(kv_scan(kv, SLICE_NULL, SLICE_NULL, check_same, &first),
                     0);
        cr_assert_eq(first.len, 4);
        write_round(0);
        kv_close(kv);
    }
    kv = NULL;
}

/* ---- a disk that fails ---------------------------------------------------*/

static atomic_int syncs_to_fail;
static sem_t sync_fails;
static _Thread_local int syncs; /* that went well */
static _Atomic pid_t beside;    /* the thread that writes meanwhile */

/* It cannot go on: it waits for the write that is under way. */
static bool beside_waits(void)
{
    char stat[64], state = 0;
    pid_t tid = atomic_load(&beside);

    if (tid == 0)
        return false;
    if (tid == (pid_t)syscall(SYS_gettid))
        return true; /* it is the one that fails */
    snprintf(stat, sizeof stat, "/proc/self/task/%d/stat", (int)tid);
    FILE *file = fopen(stat, "r");
    if (file == NULL)
        return true; /* it is over: then this test fails */
    int found = fscanf(file, "%*d (%*[^)]) %c", &state);
    fclose(file);
    return found == 1 && state == 'S';
}

/* In place of the C library's, also for LMDB. */
int fdatasync(int fd)
{
    if (atomic_load(&syncs_to_fail) > 0) {
        atomic_fetch_sub(&syncs_to_fail, 1);
        sem_post(&sync_fails);
        while (!beside_waits())
            sched_yield();
        errno = EIO;
        return -1;
    }
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

static void *write_beside(void *arg)
{
    while (sem_wait(&sync_fails) != 0)
        ;
    atomic_store(&beside, (pid_t)syscall(SYS_gettid));
    put("beside", "b");
    *(int *)arg = syncs;
    return NULL;
}

static int put_one(void)
{
    struct kv_batch b = KV_BATCH_INIT;

    kv_batch_put(&b, SLICE("one"), SLICE("a"));
    int rc = kv_write(kv, &b, false);
    kv_batch_free(&b);
    return rc;
}

/* The metas before it, and its own pages. */
Test(kv, who_waited_for_a_write_that_failed_makes_up_for_its_sync)
{
    pthread_t other;
    int beside_syncs = 0;

    sem_init(&sync_fails, 0, 0);
    pthread_create(&other, NULL, write_beside, &beside_syncs);
    atomic_store(&syncs_to_fail, 2); /* the write, and when it is tried again */
    cr_assert_eq(put_one(), -EIO);
    pthread_join(other, NULL);
    cr_assert_eq(beside_syncs, 2);
    check("one", NULL);
    check("beside", "b");
    syncs = 0;
    cr_assert_eq(put_one(), 0);
    cr_assert_eq(syncs, 1, "once is enough");
}

/* ---- a full disk ---------------------------------------------------------*/

enum { LARGE_BYTES = 100000 };

/* A small file system, seen by this process only, that ends with it. */
static bool mount_small(const char *where)
{
    return unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", where, "tmpfs", 0, "size=8m") == 0;
}

/* Takes all but `leave` pages of the disk. */
static void fill_disk(const char *ballast, unsigned leave)
{
    struct statvfs fs;
    int fd = open(ballast, O_CREAT | O_WRONLY, 0600);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fstatvfs(fd, &fs), 0);
    cr_assert_gt(fs.f_bavail, leave);
    cr_assert_eq(
        posix_fallocate(fd, 0, (off_t)((fs.f_bavail - leave) * fs.f_bsize)), 0);
    close(fd);
}

static int put_large(unsigned number)
{
    struct kv_batch b = KV_BATCH_INIT;
    char *key = xasprintf("large %u", number);
    char *value = xcalloc(1, LARGE_BYTES);

    memset(value, 'a' + (int)(number % 26), LARGE_BYTES);
    kv_batch_put(&b, slice_str(key), slice_of(value, LARGE_BYTES));
    int rc = kv_write(kv, &b, true);
    kv_batch_free(&b);
    free(value);
    free(key);
    return rc;
}

static bool has_large(unsigned number)
{
    struct buf b = BUF_INIT;
    char *key = xasprintf("large %u", number);
    int rc = kv_get(kv, slice_str(key), &b);
    bool whole = rc == 0 && b.len == LARGE_BYTES;

    for (size_t i = 0; i < b.len; i++)
        whole = whole && b.data[i] == 'a' + number % 26;
    cr_assert(whole || rc == -ENOENT, "%s is there in part", key);
    buf_free(&b);
    free(key);
    return whole;
}

/* With no page left LMDB is told ENOSPC; with some, the first of a run of
 * pages are taken, and LMDB makes EIO of that. */
Test(kv, a_full_disk_is_told_from_a_broken_one)
{
    kv_close(kv);
    if (!mount_small(path)) {
        open_store();
        cr_skip_test("this test needs the right to mount a tmpfs");
    }
    open_store();
    char *ballast = xasprintf("%s/ballast", path);
    for (unsigned leave = 0; leave < 20; leave++) {
        fill_disk(ballast, leave);
        for (int i = 0; i < 3; i++) {
            int rc = put_large(leave);
            cr_assert_eq(rc, -ENOSPC, "%u pages left: %s", leave,
                         strerror(-rc));
        }
        cr_assert_not(has_large(leave));
        unlink(ballast);
        cr_assert_eq(put_large(leave), 0, "no write after there was room");
    }
    kv_close(kv);
    open_store();
    for (unsigned i = 0; i < 20; i++)
        cr_assert(has_large(i), "value %u is lost", i);
    free(ballast);
    kv_close(kv);
    kv = NULL;
    cr_assert_eq(umount(path), 0);
    open_store();
}

Test(kv, damage_is_reported_with_the_file_and_the_remedy)
{
    char *file = xasprintf("%s/data.mdb", path), *why = NULL;
    char zeros[16384] = {0};

    put("a", "b");
    kv_close(kv);
    kv = NULL;
    int fd = open(file, O_WRONLY);
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, 0), sizeof zeros);
    close(fd);
    cr_assert_eq(kv_open(env, path, &kv, &why), -EBADMSG);
    cr_assert_not_null(strstr(why, file), "%s", why);
    cr_assert_not_null(strstr(why, "move the directory away"), "%s", why);
    free(why);
    free(file);
    kv = NULL;
}

Test(kv, a_path_that_cannot_be_is_refused_with_a_sentence)
{
    struct kv *other;
    char *file = xasprintf("%s/data.mdb/x", path), *why = NULL;

    cr_assert_eq(kv_open(env, file, &other, &why), -ENOTDIR);
    cr_assert_not_null(strstr(why, file), "%s", why);
    free(why);
    free(file);
}
