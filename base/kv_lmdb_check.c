/* A damaged store is found before LMDB opens it.
 *
 * LMDB maps its file and follows what is written there: page numbers, offsets
 * within a page, lengths of keys and values.  A wrong one makes it read behind
 * the end of the file, which is a SIGBUS, fail an assertion of its own, which
 * aborts, or write over pages in use.  So we read the file once, with pread,
 * before LMDB does, and believe nothing that would lead it astray:
 *
 *     meta pages   the newer of two is current; transaction N is in N % 2
 *     two trees    of free pages and of keys: branch and leaf pages, and
 *                  overflow pages with the values too large for a leaf
 *
 * Each page must bear its own number, be of the kind and at the depth that its
 * parent says, have its nodes side by side up to its end, its keys in order and
 * between those of the parent, and be reached once: by one parent, or as free.
 * What passes is a tree that LMDB could have written, so it may also change it.
 * The bytes of values have no checksum here; who needs one stores one.
 *
 * The format is that of LMDB 0.9 on machines with 64 bits, in their byte
 * order. */
#include "base/kv_lmdb_check.h"
#include "base/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(sizeof(size_t) == 8, "page numbers in the file have 64 bits");
static_assert(MDB_VERSION_MAJOR == 0 && MDB_VERSION_MINOR == 9 &&
                  MDB_VERSION_PATCH < 70,
              "read how this version's file differs, then change this");

enum {
    VERSION = 1,
    PAGE_BYTES_MIN = 4096,
    PAGE_BYTES_MAX = 32768,
    DEPTH_MAX = 32, /* of a cursor's stack */
    META_PAGES = 2,

    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    PAGE_META = 0x08,
    NODE_OVERFLOW = 0x01, /* the value is a page number */
};

static const uint32_t MAGIC = 0xBEEFC0DE;
static const uint64_t NO_PAGE = UINT64_MAX;

struct page_header {
    uint64_t number;
    uint16_t unused;
    uint16_t flags;
    union {
        struct {
            uint16_t lower, upper; /* of the free space */
        };
        uint32_t pages; /* of an overflow page: it and those behind it */
    };
};
static_assert(sizeof(struct page_header) == 16, "as in the file");

/* Then the key and, on a leaf, the value or its overflow page's number. */
struct node_header {
    uint16_t low,
        high; /* value's length, or child's number with flags on top */
    uint16_t flags;
    uint16_t key_len;
};
static_assert(sizeof(struct node_header) == 8, "as in the file");

struct tree_meta {
    uint32_t page_bytes; /* in the tree of free pages; unused in the other */
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages, leaf_pages, overflow_pages;
    uint64_t entries;
    uint64_t root;
};

struct meta {
    struct page_header page;
    uint32_t magic;
    uint32_t version;
    uint64_t address, map_bytes;
    struct tree_meta free, main;
    uint64_t last_page;
    uint64_t txn;
};
static_assert(sizeof(struct meta) == 16 + 136, "as in the file");

struct check {
    int fd;
    size_t page_bytes;
    uint64_t pages;      /* that the meta page knows of */
    uint64_t file_pages; /* that are wholly in the file */
    uint64_t txn;
    uint8_t *seen;    /* bits: this page has been reached */
    uint16_t *starts; /* of one page, by offset / 2: a node's bytes, or 0 */
    int error;        /* of the disk, or EBADMSG with `damage` */
    char *damage;
};

struct tree {
    const struct tree_meta *meta;
    bool of_free_pages; /* from a transaction's number to a list of pages */
    uint64_t entries;   /* found so far */
};

struct node {
    struct node_header header;
    struct slice key;
    const uint8_t *value; /* behind the key */
};

/* ---- what may be wrong ---------------------------------------------------*/

static bool damaged(struct check *c, char *damage)
{
    c->error = EBADMSG;
    c->damage = damage;
    return false;
}

static bool page_damaged(struct check *c, uint64_t page, const char *what)
{
    return damaged(c, xasprintf("page %" PRIu64 " %s", page, what));
}

static bool read_at(struct check *c, uint64_t page, void *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(c->fd, (char *)bytes + done, len - done,
                          (off_t)(page * c->page_bytes + done));
        if (n == 0)
            return page_damaged(c, page, "is behind the end of the file");
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR) {
            c->error = errno;
            return false;
        }
    }
    return true;
}

/* Pages first to first + count - 1 are this parent's.  limit: exclusive. */
static bool claim(struct check *c, uint64_t first, uint64_t count,
                  uint64_t limit)
{
    if (first < META_PAGES || first >= limit || count > limit - first)
        return page_damaged(c, first,
                            "is referred to and cannot be in the file");
    for (uint64_t page = first; page < first + count; page++) {
        uint8_t bit = (uint8_t)(1 << page % 8);

        if ((c->seen[page / 8] & bit) != 0)
            return page_damaged(c, page, "is there twice");
        c->seen[page / 8] |= bit;
    }
    return true;
}

static bool claim_in_file(struct check *c, uint64_t first, uint64_t count)
{
    return claim(c, first, count,
                 c->pages < c->file_pages ? c->pages : c->file_pages);
}

/* ---- nodes ---------------------------------------------------------------*/

static size_t node_count(const struct page_header *page)
{
    return (page->lower - sizeof *page) / sizeof(uint16_t);
}

static uint64_t child_of(const struct node_header *node)
{
    return node->low | (uint64_t)node->high << 16 | (uint64_t)node->flags << 32;
}

static uint32_t value_len(const struct node_header *node)
{
    return node->low | (uint32_t)node->high << 16;
}

static bool on_overflow(const struct node_header *node)
{
    return (node->flags & NODE_OVERFLOW) != 0;
}

/* Of the node with all that follows it. */
static uint64_t node_bytes(const struct node_header *node, bool leaf)
{
    uint64_t bytes = sizeof *node + node->key_len;

    if (leaf)
        bytes += on_overflow(node) ? sizeof(uint64_t) : value_len(node);
    return bytes;
}

static size_t node_offset(const uint8_t *page, size_t i)
{
    uint16_t at;

    memcpy(&at, page + sizeof(struct page_header) + i * sizeof at, sizeof at);
    return at;
}

/* Once check_layout has passed the page. */
static struct node node_at(const uint8_t *page, size_t i)
{
    const uint8_t *at = page + node_offset(page, i);
    struct node node;

    memcpy(&node.header, at, sizeof node.header);
    node.key = slice_of(at + sizeof node.header, node.header.key_len);
    node.value = node.key.data + node.key.len;
    return node;
}

/* Nodes in any order fill a page from `upper` to the end, each from an even
 * offset, without gaps: LMDB moves them together when it deletes one. */
static bool check_layout(struct check *c, const uint8_t *page, bool leaf)
{
    struct page_header header;
    struct node_header node;

    memcpy(&header, page, sizeof header);
    if (header.lower <= sizeof header || header.lower % 2 != 0 ||
        header.upper < header.lower || header.upper > c->page_bytes)
        return page_damaged(c, header.number, "has impossible bounds");
    memset(c->starts, 0, c->page_bytes);
    size_t count = node_count(&header);
    for (size_t i = 0; i < count; i++) {
        size_t at = node_offset(page, i);
        if (at < header.upper || at % 2 != 0 ||
            at + sizeof node > c->page_bytes)
            return page_damaged(c, header.number, "refers outside of itself");
        memcpy(&node, page + at, sizeof node);
        uint64_t bytes = node_bytes(&node, leaf);
        if (bytes > c->page_bytes - at || c->starts[at / 2] != 0)
            return page_damaged(c, header.number, "has an impossible entry");
        c->starts[at / 2] = (uint16_t)(bytes + bytes % 2);
    }
    size_t at = header.upper;
    for (; at < c->page_bytes && c->starts[at / 2] != 0; count--)
        at += c->starts[at / 2];
    return (at == c->page_bytes && count == 0) ||
           page_damaged(c, header.number, "has entries that overlap");
}

static uint64_t number_of(struct slice key)
{
    uint64_t number;

    memcpy(&number, key.data, sizeof number);
    return number;
}

/* from <= key, unless `from` is null. */
static bool key_at_least(const struct tree *t, struct slice key,
                         struct slice from)
{
    if (slice_is_null(from))
        return true;
    return t->of_free_pages ? number_of(key) >= number_of(from)
                            : slice_cmp(key, from) >= 0;
}

/* key < to, unless `to` is null. */
static bool key_below(const struct tree *t, struct slice key, struct slice to)
{
    return slice_is_null(to) || !key_at_least(t, key, to);
}

static bool key_valid(const struct check *c, const struct tree *t,
                      struct slice key)
{
    if (t->of_free_pages)
        return key.len == sizeof(uint64_t) && number_of(key) >= 1 &&
               number_of(key) <= c->txn;
    return key.len >= 1 && key.len <= KV_KEY_MAX;
}

/* Keys rise from `from`, inclusive, to `to`, exclusive.  The first of a branch
 * page stands for all below the second, whatever is written there. */
static bool check_keys(struct check *c, const struct tree *t,
                       const uint8_t *page, bool leaf, struct slice from,
                       struct slice to)
{
    struct page_header header;
    struct slice before = SLICE_NULL;

    memcpy(&header, page, sizeof header);
    size_t count = node_count(&header);
    for (size_t i = leaf ? 0 : 1; i < count; i++) {
        struct slice key = node_at(page, i).key;

        if (!key_valid(c, t, key))
            return page_damaged(c, header.number, "has an impossible key");
        if (!key_at_least(t, key, from) || !key_below(t, key, to) ||
            (!slice_is_null(before) && key_at_least(t, before, key)))
            return page_damaged(c, header.number, "has its keys out of order");
        before = key;
    }
    return true;
}

/* ---- values --------------------------------------------------------------*/

static bool check_overflow(struct check *c, uint64_t number, uint32_t len)
{
    struct page_header header;

    if (number >= c->file_pages)
        return claim_in_file(c, number, 1);
    if (!read_at(c, number, &header, sizeof header))
        return false;
    if (header.number != number || header.flags != PAGE_OVERFLOW)
        return page_damaged(c, number, "is not the value that should be there");
    return claim_in_file(c, number, header.pages) &&
           (header.pages * c->page_bytes >= sizeof header + len ||
            page_damaged(c, number, "is too short for its value"));
}

/* A count and then page numbers, downwards; perhaps space for more. */
static bool check_free_list(struct check *c, uint64_t page, const uint8_t *list,
                            size_t len)
{
    uint64_t count, number, before = NO_PAGE;

    if (len < sizeof count || len % sizeof count != 0)
        return page_damaged(c, page, "has an impossible list of free pages");
    memcpy(&count, list, sizeof count);
    if (count > len / sizeof count - 1)
        return page_damaged(c, page, "has a list of free pages cut short");
    for (uint64_t i = 1; i <= count; i++) {
        memcpy(&number, list + i * sizeof number, sizeof number);
        if (number >= before)
            return page_damaged(c, page, "has its free pages out of order");
        /* Those at the end of the file may never have been written. */
        if (!claim(c, number, 1, c->pages))
            return false;
        before = number;
    }
    return true;
}

static bool check_long_free_list(struct check *c, uint64_t page, size_t len)
{
    size_t header = sizeof(struct page_header);
    uint8_t *bytes = xmalloc(header + len); /* as much is in the file */
    bool good = read_at(c, page, bytes, header + len) &&
                check_free_list(c, page, bytes + header, len);

    free(bytes);
    return good;
}

static bool check_leaf(struct check *c, struct tree *t, const uint8_t *page)
{
    struct page_header header;

    memcpy(&header, page, sizeof header);
    for (size_t i = 0; i < node_count(&header); i++) {
        struct node node = node_at(page, i);
        uint32_t len = value_len(&node.header);
        uint64_t overflow;

        if ((node.header.flags & ~NODE_OVERFLOW) != 0)
            return page_damaged(c, header.number, "has an unknown entry");
        if (on_overflow(&node.header)) {
            memcpy(&overflow, node.value, sizeof overflow);
            if (!check_overflow(c, overflow, len) ||
                (t->of_free_pages && !check_long_free_list(c, overflow, len)))
                return false;
        } else if (t->of_free_pages &&
                   !check_free_list(c, header.number, node.value, len))
            return false;
        t->entries++;
    }
    return true;
}

/* ---- trees ---------------------------------------------------------------*/

static bool check_page(struct check *c, struct tree *t, uint64_t number,
                       int depth, struct slice from, struct slice to);

static bool check_children(struct check *c, struct tree *t, const uint8_t *page,
                           int depth, struct slice from, struct slice to)
{
    struct page_header header;

    memcpy(&header, page, sizeof header);
    size_t count = node_count(&header);
    if (count < 2)
        return page_damaged(c, header.number, "has too few children");
    for (size_t i = 0; i < count; i++) {
        struct node node = node_at(page, i);

        if (!check_page(c, t, child_of(&node.header), depth + 1,
                        i == 0 ? from : node.key,
                        i + 1 == count ? to : node_at(page, i + 1).key))
            return false;
    }
    return true;
}

/* depth: 1 for the root.  No deeper than DEPTH_MAX: check_tree saw to it. */
static bool check_page(struct check *c, struct tree *t, uint64_t number,
                       int depth, struct slice from, struct slice to)
{
    bool leaf = depth == t->meta->depth, good = false;
    struct page_header header;

    if (!claim_in_file(c, number, 1))
        return false;
    uint8_t *page = xmalloc(c->page_bytes);
    if (!read_at(c, number, page, c->page_bytes))
        goto out;
    memcpy(&header, page, sizeof header);
    if (header.number != number ||
        header.flags != (leaf ? PAGE_LEAF : PAGE_BRANCH))
        good = page_damaged(c, number, "is not the page that should be there");
    else
        good = check_layout(c, page, leaf) &&
               check_keys(c, t, page, leaf, from, to) &&
               (leaf ? check_leaf(c, t, page)
                     : check_children(c, t, page, depth, from, to));
out:
    free(page);
    return good;
}

static bool check_tree(struct check *c, const struct tree_meta *meta,
                       bool of_free_pages)
{
    struct tree t = {.meta = meta, .of_free_pages = of_free_pages};
    bool empty = meta->root == NO_PAGE;

    if (meta->flags != (of_free_pages ? MDB_INTEGERKEY : 0) ||
        meta->depth > DEPTH_MAX || empty != (meta->depth == 0))
        return damaged(c, xstrdup("the meta page describes a tree that cannot "
                                  "be"));
    if (!empty && !check_page(c, &t, meta->root, 1, SLICE_NULL, SLICE_NULL))
        return false;
    return t.entries == meta->entries ||
           damaged(c, xasprintf("there are %" PRIu64 " entries of %" PRIu64,
                                t.entries, meta->entries));
}

/* ---- the file ------------------------------------------------------------*/

static bool is_meta(const struct meta *m)
{
    return (m->page.flags & PAGE_META) != 0 && m->magic == MAGIC &&
           m->version == VERSION;
}

static bool page_bytes_valid(uint32_t bytes)
{
    return bytes >= PAGE_BYTES_MIN && bytes <= PAGE_BYTES_MAX &&
           (bytes & (bytes - 1)) == 0;
}

/* Each commit writes the other meta page, with the next number.  Both are 0 in
 * a new store. */
static bool txns_follow(uint64_t a, uint64_t b)
{
    if (a == 0 && b == 0)
        return true;
    return a % 2 == 0 && b % 2 == 1 && (a > b ? a - b : b - a) == 1;
}

static bool read_metas(struct check *c, struct meta *current)
{
    struct meta metas[META_PAGES];

    c->page_bytes = PAGE_BYTES_MIN; /* until known: none, for page 0 */
    if (!read_at(c, 0, &metas[0], sizeof metas[0]))
        return false;
    if (!is_meta(&metas[0]) || !page_bytes_valid(metas[0].free.page_bytes))
        return page_damaged(c, 0, "is not a meta page of this format");
    c->page_bytes = metas[0].free.page_bytes;
    if (!read_at(c, 1, &metas[1], sizeof metas[1]))
        return false;
    if (!is_meta(&metas[1]) || metas[1].free.page_bytes != c->page_bytes)
        return page_damaged(c, 1, "is not a meta page of this format");
    if (!txns_follow(metas[0].txn, metas[1].txn))
        return damaged(c, xstrdup("the meta pages are not of two commits in a "
                                  "row"));
    *current = metas[metas[0].txn < metas[1].txn];
    return true;
}

static bool check_file(struct check *c, uint64_t file_bytes, size_t max_bytes)
{
    struct meta meta;

    if (!read_metas(c, &meta))
        return false;
    if (meta.last_page < META_PAGES - 1 ||
        meta.last_page >= max_bytes / c->page_bytes)
        return damaged(c, xasprintf("the meta page says that the last page is "
                                    "%" PRIu64,
                                    meta.last_page));
    c->pages = meta.last_page + 1;
    c->file_pages = file_bytes / c->page_bytes;
    c->txn = meta.txn;
    c->seen = xcalloc(c->pages / 8 + 1, 1);
    c->starts = xmalloc(c->page_bytes);
    bool good =
        check_tree(c, &meta.free, true) && check_tree(c, &meta.main, false);
    free(c->starts);
    free(c->seen);
    return good;
}

int kv_lmdb_check(const char *file, size_t max_bytes, char **damage)
{
    struct check c = {.fd = open(file, O_RDONLY | O_CLOEXEC)};
    struct stat status;

    *damage = NULL;
    if (c.fd < 0)
        return errno == ENOENT ? 0 : errno;
    if (fstat(c.fd, &status) != 0)
        c.error = errno;
    else if (status.st_size != 0)
        check_file(&c, (uint64_t)status.st_size, max_bytes);
    close(c.fd);
    *damage = c.damage;
    return c.error;
}
