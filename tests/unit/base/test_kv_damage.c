/* Stores whose file somebody or something has changed: they are refused with a
 * sentence or can be read, and changed, but never end the process; and stores
 * that nobody has changed are never refused. */
#include "base/env_libevent.h"
#include "base/kv.h"
#include "base/prng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    KEYS = 500,
    VALUE_MAX = 20000,
    SEEDS_PER_CHILD = 250,
    DAMAGED_SEEDS = 4000,
    SOUND_SEEDS = 30,
    SOUND_ROUNDS = 40,
};

static char dir[64];
static char *path, *file;
static struct env *env;

static void set_up(void)
{
    /* Thousands of stores: in memory where that is possible. */
    bool memory = access("/dev/shm", W_OK) == 0;

    snprintf(dir, sizeof dir, "%s/leat-kv-XXXXXX",
             memory ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(dir));
    path = xasprintf("%s/store", dir);
    file = xasprintf("%s/data.mdb", path);
    env = env_create();
}

static void remove_store(void)
{
    char *lock = xasprintf("%s/lock.mdb", path);

    unlink(file);
    unlink(lock);
    free(lock);
}

static void tear_down(void)
{
    remove_store();
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(rmdir(dir), 0);
    free(file);
    free(path);
    env_free(env);
}

TestSuite(kv_damage, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- stores worth damaging -----------------------------------------------*/

/* Some keys are long, for a tree with more than one level of branches; byte
 * order is the order of i. */
static struct slice key_of(char bytes[KV_KEY_MAX], unsigned i)
{
    size_t len = i % 3 == 0 ? 400 : 12;

    memset(bytes, 'k', len);
    snprintf(bytes, len, "%06u", i);
    return slice_of(bytes, len);
}

static size_t value_len(struct prng *p)
{
    switch (prng_below(p, 8)) {
    case 0:
        return prng_below(p, VALUE_MAX);
    case 1:
        return prng_below(p, 2500);
    default:
        return prng_below(p, 80);
    }
}

/* Puts, deletions, or a range's end. */
static void add_changes(struct prng *p, struct kv_batch *b, bool grow)
{
    static const uint8_t value[VALUE_MAX];
    char key[KV_KEY_MAX], to[KV_KEY_MAX];
    uint64_t count = prng_below(p, 60);

    for (uint64_t i = 0; i < count; i++) {
        unsigned k = (unsigned)prng_below(p, KEYS);

        if (prng_below(p, 40) == 0)
            kv_batch_delete_range(
                b, key_of(key, k),
                key_of(to, k + (unsigned)prng_below(p, grow ? 10 : 200)));
        else if (prng_below(p, grow ? 4 : 2) == 0)
            kv_batch_delete(b, key_of(key, k));
        else
            kv_batch_put(b, key_of(key, k), slice_of(value, value_len(p)));
    }
}

static void change(struct prng *p, struct kv *kv, bool grow)
{
    struct kv_batch b = KV_BATCH_INIT;

    add_changes(p, &b, grow);
    cr_assert_eq(kv_write(kv, &b, false), 0);
    kv_batch_free(&b);
}

/* All keys are there, and there are free pages. */
static void build_store(void)
{
    struct prng p = {1};
    struct kv *kv;
    char *why = NULL, key[KV_KEY_MAX];
    static const uint8_t value[VALUE_MAX];

    cr_assert_eq(kv_open(env, path, &kv, &why), 0, "%s", why);
    for (int i = 0; i < 30; i++)
        change(&p, kv, true);
    struct kv_batch b = KV_BATCH_INIT;
    for (unsigned i = 0; i < KEYS; i++)
        kv_batch_put(&b, key_of(key, i), slice_of(value, i == 77 ? 9000 : 40));
    cr_assert_eq(kv_write(kv, &b, false), 0);
    kv_batch_free(&b);
    kv_close(kv);
}

static struct buf read_store(void)
{
    struct buf bytes = BUF_INIT;
    uint8_t part[PAGE];
    ssize_t n;
    int fd = open(file, O_RDONLY);

    cr_assert(fd >= 0);
    while ((n = read(fd, part, sizeof part)) > 0)
        buf_put_slice(&bytes, slice_of(part, (size_t)n));
    close(fd);
    return bytes;
}

static bool write_store(const uint8_t *bytes, size_t len)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    bool good = fd >= 0 && write(fd, bytes, len) == (ssize_t)len;

    close(fd);
    return good;
}

/* ---- damage --------------------------------------------------------------*/

/* Half of the places are where pages keep their headers and offsets. */
static size_t some_place(struct prng *p, size_t len)
{
    if (prng_below(p, 2) == 0)
        return prng_below(p, len);
    return prng_below(p, len / PAGE) * PAGE + prng_below(p, 64);
}

/* Returns the length that is left. */
static size_t damage(struct prng *p, uint8_t *bytes, size_t len)
{
    size_t at = some_place(p, len), run = len - at < 64 ? len - at : 64;
    size_t from = prng_below(p, len / PAGE) * PAGE, number;

    switch (prng_below(p, 7)) {
    case 0:
        bytes[at] ^= (uint8_t)(1 << prng_below(p, 8));
        return len;
    case 1:
        for (int i = 0; i < 20; i++)
            bytes[some_place(p, len)] ^= (uint8_t)(1 << prng_below(p, 8));
        return len;
    case 2:
        for (size_t i = 0; i < run; i++)
            bytes[at + i] = (uint8_t)prng_next(p);
        return len;
    case 3:
        for (size_t i = 0; i < run; i++)
            bytes[at + i] ^= 0x5A;
        return len;
    case 4: /* another page's bytes, its number corrected */
        at = at / PAGE * PAGE;
        memmove(bytes + at, bytes + from, PAGE);
        number = at / PAGE;
        memcpy(bytes + at, &number, sizeof number);
        return len;
    case 5: /* a number that is nearly right */
        bytes[at] = (uint8_t)(bytes[at] + 1 - 2 * prng_below(p, 2));
        return len;
    default:
        return at;
    }
}

struct seen {
    size_t count;
    char last[KV_KEY_MAX];
    size_t last_len;
    bool ordered;
    uint64_t sum;
};

static bool see(void *arg, struct slice key, struct slice value)
{
    struct seen *s = arg;

    if (key.len > sizeof s->last ||
        (s->count != 0 && slice_cmp(key, slice_of(s->last, s->last_len)) <= 0))
        s->ordered = false;
    else {
        memcpy(s->last, key.data, key.len);
        s->last_len = key.len;
    }
    s->count++;
    for (size_t i = 0; i < value.len; i++)
        s->sum += value.data[i];
    return true;
}

static bool get_all(struct kv *kv)
{
    char key[KV_KEY_MAX];
    struct buf value = BUF_INIT;
    bool good = true;

    for (unsigned i = 0; i < KEYS && good; i++) {
        int rc = kv_get(kv, key_of(key, i), &value);
        good = rc == 0 || rc == -ENOENT;
    }
    buf_free(&value);
    return good;
}

/* A store that opens has all its keys, but for their bytes, and can be
 * changed.  Returns what is wrong. */
static const char *use(struct kv *kv, struct prng *p)
{
    struct seen seen = {.ordered = true};

    if (kv_scan(kv, SLICE_NULL, SLICE_NULL, see, &seen) != 0)
        return "kv_scan failed";
    if (seen.count != KEYS || !seen.ordered)
        return "keys are missing or out of order";
    if (!get_all(kv))
        return "kv_get failed";
    for (int i = 0; i < 3; i++) {
        struct kv_batch b = KV_BATCH_INIT;

        add_changes(p, &b, i == 0);
        if (i == 2)
            kv_batch_delete_range(&b, SLICE_NULL, SLICE_NULL);
        int rc = kv_write(kv, &b, false);
        kv_batch_free(&b);
        if (rc != 0)
            return "kv_write failed";
    }
    return NULL;
}

static const char *open_and_use(struct env *world, struct prng *p)
{
    struct kv *kv;
    char *why = NULL;
    int rc = kv_open(world, path, &kv, &why);

    if (rc == -EBADMSG) {
        bool told = strstr(why, file) != NULL;

        free(why);
        return told ? NULL : "the file is not named";
    }
    if (rc != 0)
        return why;
    const char *wrong = use(kv, p);
    kv_close(kv);
    if (wrong == NULL && kv_open(world, path, &kv, &why) != 0)
        return why;
    if (wrong == NULL)
        kv_close(kv);
    return wrong;
}

struct progress {
    unsigned seed;
    char wrong[300];
};

static void try_seeds(const struct buf *sound, unsigned first,
                      struct progress *progress)
{
    struct env *world = env_create();
    uint8_t *bytes = xmalloc(sound->len);

    for (unsigned i = 0; i < SEEDS_PER_CHILD; i++) {
        struct prng p = {first + i};

        progress->seed = first + i;
        memcpy(bytes, sound->data, sound->len);
        const char *wrong = write_store(bytes, damage(&p, bytes, sound->len))
                                ? open_and_use(world, &p)
                                : "the disk is full";
        if (wrong != NULL) {
            snprintf(progress->wrong, sizeof progress->wrong, "%s", wrong);
            _exit(1);
        }
    }
    _exit(0);
}

Test(kv_damage, any_damage_is_reported_or_harmless)
{
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;

    cr_assert(progress != MAP_FAILED);
    build_store();
    struct buf sound = read_store();
    for (unsigned seed = 0; seed < DAMAGED_SEEDS; seed += SEEDS_PER_CHILD) {
        pid_t child = fork();
        if (child == 0)
            try_seeds(&sound, seed, progress);
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert_eq(status, 0, "seed %u: status %x, %s", progress->seed,
                     (unsigned)status, progress->wrong);
    }
    buf_free(&sound);
    munmap(progress, sizeof *progress);
}

/* ---- no damage -----------------------------------------------------------*/

Test(kv_damage, stores_of_any_history_are_sound)
{
    for (unsigned seed = 0; seed < SOUND_SEEDS; seed++) {
        struct prng p = {seed};
        bool grow = true;

        for (int round = 0; round < SOUND_ROUNDS; round++) {
            struct kv *kv;
            char *why = NULL;

            cr_assert_eq(kv_open(env, path, &kv, &why), 0,
                         "seed %u, round %d: %s", seed, round, why);
            if (prng_below(&p, 8) == 0)
                grow = !grow;
            for (uint64_t n = prng_below(&p, 5); n > 0; n--)
                change(&p, kv, grow);
            kv_close(kv);
        }
        remove_store();
    }
}

/* ---- this damage ---------------------------------------------------------*/

static void check_refused(const char *says)
{
    struct kv *kv;
    char *why = NULL;

    cr_assert_eq(kv_open(env, path, &kv, &why), -EBADMSG);
    cr_assert_not_null(strstr(why, says), "%s", why);
    free(why);
}

static void change_store(size_t at, const void *bytes, size_t len)
{
    int fd = open(file, O_WRONLY);

    cr_assert_eq(pwrite(fd, bytes, len, (off_t)at), (ssize_t)len);
    close(fd);
}

Test(kv_damage, the_start_of_every_page)
{
    build_store();
    struct buf bytes = read_store();
    for (size_t at = (size_t)2 * PAGE; at < bytes.len; at += PAGE)
        for (size_t i = 0; i < 64; i++)
            bytes.data[at + i] ^= 0x5A;
    cr_assert(write_store(bytes.data, bytes.len));
    check_refused("is damaged (page ");
    buf_free(&bytes);
}

/* The commit before is whole and might pass for the last one. */
Test(kv_damage, a_last_commit_that_claims_to_be_older)
{
    uint64_t txns[2];

    build_store();
    struct buf bytes = read_store();
    for (size_t i = 0; i < 2; i++)
        memcpy(&txns[i], bytes.data + i * PAGE + 144, sizeof txns[i]);
    size_t last = txns[0] < txns[1];
    cr_assert_eq(txns[last], txns[!last] + 1);
    txns[last] -= 4; /* the order of even and odd is kept */
    change_store(last * PAGE + 144, &txns[last], sizeof txns[last]);
    check_refused("not of two commits in a row");
    buf_free(&bytes);
}

Test(kv_damage, a_file_without_its_end)
{
    build_store();
    cr_assert_eq(truncate(file, (off_t)4 * PAGE), 0);
    check_refused("cannot be in the file");
    cr_assert_eq(truncate(file, 100), 0);
    check_refused("page 0 is behind the end of the file");
}
