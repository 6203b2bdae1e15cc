/* The store on the simulated disk: as kv.h has it, also over power losses. */
#include "base/kv.h"
#include "tests/sim/env_mem.h"
#include "tests/sim/kv_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

enum { SEEDS = 100 };

static struct env *env;
static struct disk *disk;
static struct kv *kv;

static void open_store(void)
{
    char *why = NULL;

    cr_assert_eq(kv_open(env, "/d/store", &kv, &why), 0, "%s", why);
}

static void start(uint64_t seed)
{
    env = env_mem_new(seed);
    disk = env_disk(env);
    cr_assert_eq(env_mkdir(env, "/d"), 0);
    open_store();
}

static void stop(void)
{
    if (kv != NULL)
        kv_close(kv);
    cr_assert_eq(disk_open_files(disk), 0);
    env_mem_free(env);
}

static int put(const char *key, const char *value, bool sync)
{
    struct kv_batch b = KV_BATCH_INIT;

    kv_batch_put(&b, slice_str(key), slice_str(value));
    int error = kv_write(kv, &b, sync);
    kv_batch_free(&b);
    return error;
}

static bool see(void *arg, struct slice key, struct slice value)
{
    buf_put_slice(arg, key);
    return true;
}

/* All keys, one letter each. */
static const char *keys(void)
{
    static char text[64];
    struct buf b = BUF_INIT;

    cr_assert_eq(kv_scan(kv, SLICE_NULL, SLICE_NULL, see, &b), 0);
    memcpy(text, buf_slice(&b).data, b.len);
    text[b.len] = '\0';
    buf_free(&b);
    return text;
}

static void crash(enum disk_crash kind)
{
    disk_freeze(disk);
    kv_close(kv);
    disk_crash(disk, kind);
    open_store();
}

/* ---- contents ------------------------------------------------------------*/

Test(kv_disk, a_batch_is_applied_in_order_and_whole)
{
    struct kv_batch b = KV_BATCH_INIT;
    struct buf value = BUF_INIT;

    start(1);
    for (const char *p = "dbacegf"; *p != '\0'; p++)
        cr_assert_eq(put((char[]){*p, '\0'}, "1", false), 0);
    cr_assert_str_eq(keys(), "abcdefg");
    kv_batch_delete_range(&b, SLICE("b"), SLICE("d"));
    kv_batch_put(&b, SLICE("c"), SLICE("2"));
    kv_batch_delete(&b, SLICE("e"));
    kv_batch_delete_range(&b, SLICE("g"), SLICE_NULL);
    cr_assert_eq(kv_write(kv, &b, false), 0);
    cr_assert_str_eq(keys(), "acdf");
    cr_assert_eq(kv_get(kv, SLICE("c"), &value), 0);
    cr_assert(slice_eq_str(buf_slice(&value), "2"));
    cr_assert_eq(kv_get(kv, SLICE("e"), &value), -ENOENT);
    kv_batch_put(&b, SLICE_NULL, SLICE("no key"));
    cr_assert_eq(kv_write(kv, &b, false), -EINVAL);
    cr_assert_str_eq(keys(), "acdf");
    kv_batch_free(&b);
    buf_free(&value);
    stop();
}

static bool see_two(void *arg, struct slice key, struct slice value)
{
    see(arg, key, value);
    return ((struct buf *)arg)->len < 2;
}

static bool see_and_delete(void *arg, struct slice key, struct slice value)
{
    struct kv_batch b = KV_BATCH_INIT;

    kv_batch_delete_range(&b, SLICE_NULL, SLICE_NULL);
    cr_assert_eq(kv_write(kv, &b, true), 0);
    kv_batch_free(&b);
    return see(arg, key, value);
}

Test(kv_disk, scans)
{
    struct buf b = BUF_INIT;

    start(1);
    for (const char *p = "abcdef"; *p != '\0'; p++)
        put((char[]){*p, '\0'}, "", false);
    cr_assert_eq(kv_scan(kv, SLICE("b"), SLICE("d"), see, &b), 0);
    cr_assert(slice_eq_str(buf_slice(&b), "bc"));
    b.len = 0;
    cr_assert_eq(kv_scan_back(kv, SLICE("b"), SLICE("e"), see, &b), 0);
    cr_assert(slice_eq_str(buf_slice(&b), "dcb"));
    b.len = 0;
    cr_assert_eq(kv_scan_back(kv, SLICE_NULL, SLICE_NULL, see_two, &b), 0);
    cr_assert(slice_eq_str(buf_slice(&b), "fe"));
    b.len = 0;
    cr_assert_eq(kv_scan(kv, SLICE_NULL, SLICE_NULL, see_and_delete, &b), 0);
    cr_assert(slice_eq_str(buf_slice(&b), "abcdef"), "as when it began");
    cr_assert_str_eq(keys(), "");
    buf_free(&b);
    stop();
}

/* ---- crashes -------------------------------------------------------------*/

/* a and b synced, then c, then d and e in one batch, then f. */
static void write_some(void)
{
    struct kv_batch b = KV_BATCH_INIT;

    put("a", "", false);
    put("b", "", true);
    put("c", "", false);
    kv_batch_put(&b, SLICE("d"), SLICE(""));
    kv_batch_put(&b, SLICE("e"), SLICE(""));
    cr_assert_eq(kv_write(kv, &b, false), 0);
    put("f", "", false);
    kv_batch_free(&b);
}

Test(kv_disk, a_power_loss_keeps_the_synced_and_whole_batches_behind)
{
    static const char *const want[] = {"ab", "abc", "abcde", "abcdef"};
    int hits[4] = {0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed);
        write_some();
        crash(DISK_POWER);
        size_t i = 0;
        while (i < 4 && strcmp(keys(), want[i]) != 0)
            i++;
        cr_assert_lt(i, 4, "seed %d left %s", (int)seed, keys());
        hits[i]++;
        crash(DISK_WORST);
        cr_assert_str_eq(keys(), want[i], "what was there is durable");
        stop();
    }
    for (size_t i = 0; i < 4; i++)
        cr_assert_gt(hits[i], 0, "never %s", want[i]);
}

Test(kv_disk, the_other_crashes)
{
    start(1);
    write_some();
    crash(DISK_KILL);
    cr_assert_str_eq(keys(), "abcdef");
    crash(DISK_WORST);
    cr_assert_str_eq(keys(), "ab");
    stop();
}

Test(kv_disk, a_new_store_survives)
{
    start(1);
    crash(DISK_WORST);
    cr_assert_eq(env_path_kind(env, "/d/store"), 2);
    stop();
}

Test(kv_disk, what_a_dead_process_left_open_is_dead)
{
    struct kv *old;
    struct buf b = BUF_INIT;

    start(1);
    put("a", "1", true);
    old = kv;
    disk_crash(disk, DISK_KILL);
    open_store();
    cr_assert_eq(kv_get(old, SLICE("a"), &b), -EIO);
    cr_assert_eq(kv_scan(old, SLICE_NULL, SLICE_NULL, see, &b), -EIO);
    cr_assert_eq(kv_get(kv, SLICE("a"), &b), 0);
    kv_close(old);
    buf_free(&b);
    stop();
}

/* ---- errors --------------------------------------------------------------*/

Test(kv_disk, a_failed_write_stores_nothing)
{
    start(1);
    put("a", "1", true);
    disk_faults(disk)->write_at = 1;
    cr_assert_eq(put("b", "1", true), -EIO);
    cr_assert_eq(put("c", "1", true), 0);
    cr_assert_str_eq(keys(), "ac");
    disk_freeze(disk);
    cr_assert_eq(put("d", "1", true), -EIO);
    crash(DISK_KILL);
    cr_assert_str_eq(keys(), "ac");
    stop();
}

Test(kv_disk, after_a_failed_sync_it_refuses_until_opened_again)
{
    start(1);
    put("a", "1", true);
    disk_faults(disk)->sync_at = 1;
    cr_assert_eq(put("b", "1", true), -EIO);
    cr_assert_eq(put("c", "1", true), -EIO);
    cr_assert_str_eq(keys(), "a");
    kv_close(kv);
    open_store();
    cr_assert_eq(put("c", "1", true), 0);
    cr_assert_str_eq(keys(), "ac");
    stop();
}

Test(kv_disk, a_full_disk)
{
    struct kv_batch b = KV_BATCH_INIT;

    start(1);
    put("a", "0123456789", true);
    int64_t used = disk_used_bytes(disk);
    cr_assert_gt(used, 11);
    disk_faults(disk)->capacity_bytes = used + 5;
    cr_assert_eq(put("b", "0123456789", true), -ENOSPC);
    kv_batch_delete(&b, SLICE("a"));
    cr_assert_eq(kv_write(kv, &b, true), 0);
    cr_assert_eq(disk_used_bytes(disk), 0);
    cr_assert_eq(put("b", "0123456789", true), 0);
    kv_batch_free(&b);
    stop();
}

/* ---- directories ---------------------------------------------------------*/

Test(kv_disk, a_store_moves_and_goes_with_its_directory)
{
    char *why = NULL;

    start(1);
    put("a", "1", true);
    kv_close(kv);
    cr_assert_eq(env_rename(env, "/d/store", "/d/moved"), 0);
    open_store();
    cr_assert_str_eq(keys(), "");
    kv_close(kv);
    cr_assert_eq(kv_open(env, "/d/moved", &kv, &why), 0);
    cr_assert_str_eq(keys(), "a");
    kv_close(kv);
    cr_assert_eq(env_unlink(env, "/d/moved/data.mdb"), 0);
    cr_assert_eq(env_rmdir(env, "/d/moved"), 0);
    disk_wipe(disk);
    cr_assert_eq(env_mkdir(env, "/d"), 0);
    open_store();
    cr_assert_str_eq(keys(), "");
    stop();
}

Test(kv_disk, a_damaged_store_makes_way)
{
    char *why = NULL, *aside = NULL;
    struct buf b = BUF_INIT;

    start(1);
    put("a", "1", true);
    cr_assert(kv_disk_damage(disk, "/d/store"));
    cr_assert_eq(kv_get(kv, SLICE("a"), &b), -EBADMSG);
    kv_close(kv);
    cr_assert_eq(kv_open(env, "/d/store", &kv, &why), -EBADMSG);
    cr_assert_str_eq(why, "cannot open the store /d/store/data.mdb: it is "
                          "damaged");
    free(why);
    cr_assert_eq(kv_open_cache(env, "/d/store", &kv, &aside, &why), 0);
    cr_assert_str_eq(aside, "/d/store.damaged");
    cr_assert_str_eq(keys(), "");
    cr_assert_eq(env_path_kind(env, "/d/store.damaged/data.mdb"), 1);
    free(aside);
    stop();
}
