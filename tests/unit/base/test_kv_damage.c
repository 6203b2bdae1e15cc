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

/* Offsets in the file's format, see base/kv_lmdb_check.c. */
enum {
    META_MAGIC = 16,
    META_PAGE_BYTES = 40,
    META_FREE_ROOT = 80,
    META_FLAGS = 92,
    META_DEPTH = 94,
    META_ENTRIES = 120,
    META_ROOT = 128,
    META_LAST_PAGE = 136,
    META_TXN = 144,
    PAGE_FLAGS = 10,
    PAGE_LOWER = 12,
    PAGE_UPPER = 14,
    PAGE_COUNT = 12,
    PAGE_NODES = 16,
    NODE_FLAGS = 4,
    NODE_KEY_LEN = 6,
    NODE_KEY = 8,
};

static void check_refused(const char *says)
{
    struct kv *kv;
    char *why = NULL;

    cr_assert_eq(kv_open(env, path, &kv, &why), -EBADMSG, "%s", says);
    cr_assert_not_null(strstr(why, says), "%s, not %s", why, says);
    free(why);
}

static uint64_t number_at(const struct buf *b, size_t at, size_t len)
{
    uint64_t number = 0;

    memcpy(&number, b->data + at, len);
    return number;
}

/* With this number somewhere, in a file that is sound otherwise. */
static void check_number(struct buf *sound, size_t at, size_t len,
                         uint64_t number, const char *says)
{
    uint64_t good = number_at(sound, at, len);

    memcpy(sound->data + at, &number, len);
    cr_assert(write_store(sound->data, sound->len));
    memcpy(sound->data + at, &good, len);
    check_refused(says);
}

/* Where the newer meta page starts. */
static size_t current_meta(const struct buf *b)
{
    return number_at(b, META_TXN, 8) < number_at(b, PAGE + META_TXN, 8) ? PAGE
                                                                        : 0;
}

static size_t node_of(const struct buf *b, size_t page, size_t i)
{
    return page + number_at(b, page + PAGE_NODES + 2 * i, 2);
}

static size_t root_of(const struct buf *b)
{
    return number_at(b, current_meta(b) + META_ROOT, 8) * PAGE;
}

static size_t first_leaf(const struct buf *b)
{
    size_t page = root_of(b);

    while (number_at(b, page + PAGE_FLAGS, 2) == 1)
        page = number_at(b, node_of(b, page, 0), 4) * PAGE;
    cr_assert_eq(number_at(b, page + PAGE_FLAGS, 2), 2);
    return page;
}

/* Of the only value that is too large for a leaf; 0 if not in this subtree. */
static size_t overflow_page(const struct buf *b, size_t page)
{
    bool leaf = number_at(b, page + PAGE_FLAGS, 2) == 2;
    size_t count = (number_at(b, page + PAGE_LOWER, 2) - PAGE_NODES) / 2;
    size_t found = 0;

    for (size_t i = 0; i < count && found == 0; i++) {
        size_t node = node_of(b, page, i);
        size_t value = node + NODE_KEY + number_at(b, node + NODE_KEY_LEN, 2);

        if (!leaf)
            found = overflow_page(b, number_at(b, node, 4) * PAGE);
        else if (number_at(b, node + NODE_FLAGS, 2) == 1)
            found = number_at(b, value, 8) * PAGE;
    }
    return found;
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

Test(kv_damage, meta_pages)
{
    build_store();
    struct buf b = read_store();
    size_t meta = current_meta(&b);
    const char *tree = "describes a tree that cannot be";

    for (size_t page = 0; page < 2; page++) {
        char *says = xasprintf("page %zu is not a meta page", page);
        check_number(&b, page * PAGE + META_MAGIC, 4, 1, says);
        check_number(&b, page * PAGE + META_PAGE_BYTES, 4, 0, says);
        check_number(&b, page * PAGE + META_PAGE_BYTES, 4, 5000, says);
        free(says);
    }
    check_number(&b, meta + META_LAST_PAGE, 8, 0, "the last page is 0");
    check_number(&b, meta + META_LAST_PAGE, 8, UINT64_MAX, "the last page is");
    check_number(&b, meta + META_LAST_PAGE, 8, 1 << 30, "the last page is");
    check_number(&b, meta + META_FLAGS, 2, 4, tree);
    check_number(&b, meta + META_DEPTH, 2, 0, tree);
    check_number(&b, meta + META_DEPTH, 2, 33, tree);
    check_number(&b, meta + META_ROOT, 8, UINT64_MAX, tree);
    check_number(&b, meta + META_ROOT, 8, 1, "page 1 is referred to");
    check_number(&b, meta + META_ENTRIES, 8, KEYS + 1,
                 "there are 500 entries of 501");
    buf_free(&b);
}

/* The commit before is whole and might pass for the last one. */
Test(kv_damage, a_last_commit_that_claims_to_be_older)
{
    build_store();
    struct buf b = read_store();
    size_t at = current_meta(&b) + META_TXN;
    check_number(&b, at, 8, number_at(&b, at, 8) - 4,
                 "not of two commits in a row");
    buf_free(&b);
}

Test(kv_damage, bounds_of_a_page)
{
    build_store();
    struct buf b = read_store();
    size_t page = first_leaf(&b);
    uint64_t lower = number_at(&b, page + PAGE_LOWER, 2);
    const char *bounds = "has impossible bounds";

    check_number(&b, page + PAGE_LOWER, 2, 0, bounds);
    check_number(&b, page + PAGE_LOWER, 2, 16, bounds);
    check_number(&b, page + PAGE_LOWER, 2, lower + 1, bounds);
    check_number(&b, page + PAGE_UPPER, 2, lower - 2, bounds);
    check_number(&b, page + PAGE_UPPER, 2, 0xFFFE, bounds);
    check_number(&b, page + PAGE_LOWER, 2, lower - 2, "entries that overlap");
    check_number(&b, page, 8, 12345, "is not the page that should be there");
    check_number(&b, page + PAGE_FLAGS, 2, 1, "is not the page that should be");
    check_number(&b, page + PAGE_FLAGS, 2, 0x22, "is not the page that should");
    buf_free(&b);
}

Test(kv_damage, entries_of_a_page)
{
    build_store();
    struct buf b = read_store();
    size_t page = first_leaf(&b), node = node_of(&b, page, 0);
    size_t pointers = page + PAGE_NODES;
    uint64_t first = number_at(&b, pointers, 2);
    uint64_t second = number_at(&b, pointers + 2, 2);

    check_number(&b, pointers, 2, 20, "refers outside of itself");
    check_number(&b, pointers, 2, PAGE - 4, "refers outside of itself");
    check_number(&b, pointers, 2, first + 1, "refers outside of itself");
    check_number(&b, pointers, 2, second, "has an impossible entry");
    check_number(&b, pointers, 4, second | first << 16, "keys out of order");
    check_number(&b, node, 4, UINT32_MAX, "has an impossible entry");
    check_number(&b, node + NODE_KEY_LEN, 2, 0xFFFF, "has an impossible entry");
    check_number(&b, node + NODE_FLAGS, 2, 2, "has an unknown entry");
    /* Key and value trade their bytes. */
    uint64_t key_len = number_at(&b, node + NODE_KEY_LEN, 2);
    check_number(&b, node, 8, 40 + key_len, "has an impossible key");
    /* The first key of another leaf is below all of that leaf's parent's. */
    size_t branch = root_of(&b), last;
    last = node_of(&b, branch,
                   (number_at(&b, branch + PAGE_LOWER, 2) - 16) / 2 - 1);
    check_number(&b, last + NODE_KEY, 6, 0xFFFFFFFFFFFF, "keys out of order");
    buf_free(&b);
}

Test(kv_damage, children_of_a_page)
{
    build_store();
    struct buf b = read_store();
    size_t root = root_of(&b), first = node_of(&b, root, 0);
    uint64_t child = number_at(&b, first, 4);

    check_number(&b, node_of(&b, root, 1), 4, child, "is there twice");
    check_number(&b, first, 4, root / PAGE, "is there twice");
    check_number(&b, first, 4, UINT32_MAX, "cannot be in the file");
    check_number(&b, first + NODE_FLAGS, 2, 1, "cannot be in the file");
    /* A page with one. */
    size_t size = NODE_KEY + number_at(&b, first + NODE_KEY_LEN, 2);
    size += size % 2;
    memmove(b.data + root + PAGE - size, b.data + first, size);
    b.data[root + PAGE_LOWER] = 18;
    b.data[root + PAGE_LOWER + 1] = 0;
    uint16_t at = (uint16_t)(PAGE - size);
    memcpy(b.data + root + PAGE_NODES, &at, sizeof at);
    check_number(&b, root + PAGE_UPPER, 2, at, "has too few children");
    buf_free(&b);
}

Test(kv_damage, large_values)
{
    build_store();
    struct buf b = read_store();
    size_t page = overflow_page(&b, root_of(&b));

    cr_assert_eq(number_at(&b, page + PAGE_COUNT, 4), 3);
    check_number(&b, page, 8, 9, "is not the value that should be there");
    check_number(&b, page + PAGE_FLAGS, 2, 2, "is not the value that should");
    check_number(&b, page + PAGE_COUNT, 4, 2, "is too short for its value");
    check_number(&b, page + PAGE_COUNT, 4, 4, "is there twice");
    check_number(&b, page + PAGE_COUNT, 4, UINT32_MAX, "cannot be in the file");
    buf_free(&b);
}

Test(kv_damage, lists_of_free_pages)
{
    build_store();
    struct buf b = read_store();
    size_t meta = current_meta(&b);
    size_t leaf = number_at(&b, meta + META_FREE_ROOT, 8) * PAGE;
    size_t node = node_of(&b, leaf, 0), list = node + NODE_KEY + 8;

    cr_assert_eq(number_at(&b, leaf + PAGE_FLAGS, 2), 2);
    cr_assert_eq(number_at(&b, node + NODE_FLAGS, 2), 0);
    cr_assert_geq(number_at(&b, list, 8), 2);
    check_number(&b, list, 8, 1 << 20, "list of free pages cut short");
    check_number(&b, list + 16, 8, number_at(&b, list + 8, 8),
                 "its free pages out of order");
    check_number(&b, list + 8, 8, 1 << 20, "cannot be in the file");
    check_number(&b, list + 8 * number_at(&b, list, 8), 8, 1, "page 1 is ref");
    uint64_t used = root_of(&b) / PAGE, i = 1;
    while (i < number_at(&b, list, 8) && number_at(&b, list + 8 * i, 8) > used)
        i++;
    check_number(&b, list + 8 * i, 8, used, "is there twice");
    check_number(&b, node + NODE_KEY, 8, 0, "has an impossible key");
    check_number(&b, node + NODE_KEY, 8, UINT64_MAX, "has an impossible key");
    check_number(&b, node, 2, number_at(&b, node, 2) - 1,
                 "impossible list of free pages");
    buf_free(&b);
}

Test(kv_damage, a_file_without_its_end)
{
    build_store();
    cr_assert_eq(truncate(file, (off_t)4 * PAGE), 0);
    check_refused("cannot be in the file");
    cr_assert_eq(truncate(file, 100), 0);
    check_refused("page 0 is behind the end of the file");
}
