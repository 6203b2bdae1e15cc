/* Loading is a scan with checks; writing is a batch that grows while its
 * predecessor is on the way to the disk. */
#include "raft/store.h"

#include "base/crc32c.h"
#include "base/env.h"
#include "base/kv.h"

#include <errno.h>
#include <stdlib.h>

/* ---- records ------------------------------------------------------------ */

enum { CRC_LEN = 4, ENTRY_KEY_LEN = 9 };

static struct slice entry_key(uint8_t key[static ENTRY_KEY_LEN], uint64_t index)
{
    key[0] = 'e';
    be64_put(key + 1, index);
    return slice_of(key, ENTRY_KEY_LEN);
}

/* The key is in the checksum, so a value under a wrong key is found too. */
static uint32_t checksum(struct slice key, struct slice value)
{
    return crc32c(crc32c(0, key.data, key.len), value.data, value.len);
}

static void put(struct kv_batch *batch, struct slice key, struct buf *value)
{
    buf_put_u32(value, checksum(key, buf_slice(value)));
    kv_batch_put(batch, key, buf_slice(value));
    buf_free(value);
}

/* Cuts the checksum off; false if it is wrong. */
static bool verify(struct slice key, struct slice *value)
{
    if (value->len < CRC_LEN)
        return false;
    value->len -= CRC_LEN;
    return be32_get(value->data + value->len) == checksum(key, *value);
}

static void put_vote(struct kv_batch *batch, uint64_t term, int32_t vote)
{
    struct buf value = BUF_INIT;

    buf_put_u64(&value, term);
    buf_put_u32(&value, (uint32_t)vote);
    put(batch, SLICE("v"), &value);
}

/* A point in the log with the configuration in force there. */
static void put_point(struct kv_batch *batch, struct slice key, uint64_t index,
                      uint64_t term, uint64_t config_index,
                      const struct raft_config *config)
{
    struct buf value = BUF_INIT;

    buf_put_u64(&value, index);
    buf_put_u64(&value, term);
    buf_put_u64(&value, config_index);
    raft_config_encode(config, &value);
    put(batch, key, &value);
}

static void put_entry(struct kv_batch *batch, const struct raft_entry *e)
{
    uint8_t key[ENTRY_KEY_LEN];
    struct buf value = BUF_INIT;

    buf_reserve(&value, e->data.len + 16);
    buf_put_u64(&value, e->term);
    buf_put_u8(&value, (uint8_t)e->type);
    buf_put_slice(&value, e->data);
    put(batch, entry_key(key, e->index), &value);
}

static void delete_entries(struct kv_batch *batch, uint64_t from, uint64_t to)
{
    uint8_t first[ENTRY_KEY_LEN], end[ENTRY_KEY_LEN];

    kv_batch_delete_range(batch, entry_key(first, from), entry_key(end, to));
}

/* ---- load --------------------------------------------------------------- */

struct load {
    struct kv *kv;
    const char *name;
    struct raft_stored *out;
    bool fresh; /* nothing was ever stored */
    int error;
    char *why;
};

#define REMEDY                                                                 \
    "; nothing was changed. If the other controllers are healthy, remove "     \
    "this node from the quorum (remove-controller), move the directory "       \
    "away, format, start and add it again (add-controller): it will fetch "    \
    "the log from them, while a voter that comes back with nothing could "     \
    "elect one that lacks what was committed; otherwise restore the "          \
    "directory from a backup"

static bool damaged(struct load *l, char *what)
{
    if (l->error == 0) {
        l->error = -EBADMSG;
        l->why =
            xasprintf("Raft store %s is damaged: %s" REMEDY, l->name, what);
    }
    free(what);
    return false;
}

static bool unreadable(struct load *l, int error)
{
    if (error == -EBADMSG)
        return damaged(l, xstrdup("its pages cannot be read"));
    l->error = error;
    l->why = xasprintf("Raft store %s cannot be read: %s", l->name,
                       strerror(-error));
    return false;
}

/* True and the checked value, or false: absent or damaged. */
static bool load_value(struct load *l, struct slice key, struct buf *value)
{
    int error = kv_get(l->kv, key, value);
    struct slice checked;

    if (error == -ENOENT)
        return false;
    if (error != 0)
        return unreadable(l, error);
    checked = buf_slice(value);
    if (!verify(key, &checked))
        return damaged(
            l, xasprintf("record '%.*s' fails its checksum", SLICE_FMT(key)));
    value->len = checked.len;
    return true;
}

static bool load_vote(struct load *l)
{
    struct buf value = BUF_INIT;
    bool found = load_value(l, SLICE("v"), &value);

    if (found) {
        struct reader in = reader_of(buf_slice(&value));

        l->out->term = read_u64(&in);
        l->out->vote = read_i32(&in);
        if (in.bad || reader_left(&in) != 0 || l->out->term > RAFT_INDEX_MAX)
            damaged(l, xstrdup("the vote has a wrong length or term"));
    }
    buf_free(&value);
    return found;
}

struct point {
    uint64_t index;
    uint64_t term;
    struct raft_config_at config;
};

/* Terms begin at 1; a configuration is no newer than the point at which it is
 * in force. */
static bool point_possible(const struct point *p)
{
    return p->index <= RAFT_INDEX_MAX && p->term <= RAFT_INDEX_MAX &&
           (p->index == 0) == (p->term == 0) && p->config.index <= p->index;
}

static bool load_point(struct load *l, struct slice key, struct point *p)
{
    struct buf value = BUF_INIT;
    bool found = load_value(l, key, &value);

    *p = (struct point){0};
    if (found) {
        struct reader in = reader_of(buf_slice(&value));

        p->index = read_u64(&in);
        p->term = read_u64(&in);
        p->config.index = read_u64(&in);
        if (in.bad || !point_possible(p) ||
            !raft_config_decode_base(read_bytes(&in, reader_left(&in)),
                                     &p->config.config) ||
            (p->index != 0 && p->config.config.len == 0))
            found = damaged(l, xasprintf("record '%.*s' cannot be decoded",
                                         SLICE_FMT(key)));
    }
    buf_free(&value);
    return found;
}

static bool load_entry(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    struct raft_log *log = &l->out->log;
    struct raft_entry entry = {.index = raft_log_last(log) + 1};
    struct raft_config config;

    if (key.len != ENTRY_KEY_LEN)
        return damaged(l, xstrdup("an entry's key has a wrong length"));
    uint64_t index = be64_get(key.data + 1);
    if (index != entry.index)
        return damaged(l, xasprintf("entry %llu is missing, %llu follows %llu",
                                    (unsigned long long)entry.index,
                                    (unsigned long long)index,
                                    (unsigned long long)entry.index - 1));
    if (!verify(key, &value))
        return damaged(l, xasprintf("entry %llu fails its checksum",
                                    (unsigned long long)index));
    struct reader in = reader_of(value);
    entry.term = read_u64(&in);
    entry.type = read_u8(&in);
    entry.data = read_bytes(&in, reader_left(&in));
    if (in.bad || entry.type > RAFT_ENTRY_CONFIG || entry.term == 0 ||
        entry.term < raft_log_last_term(log) || entry.term > l->out->term)
        return damaged(l, xasprintf("entry %llu has an impossible term or type",
                                    (unsigned long long)index));
    if (entry.type == RAFT_ENTRY_CONFIG) {
        if (!raft_config_decode(entry.data, &config))
            return damaged(l,
                           xasprintf("entry %llu holds no valid configuration",
                                     (unsigned long long)index));
        raft_config_free(&config);
    }
    raft_log_append(log, entry, 0);
    return true;
}

static void load_log(struct load *l)
{
    struct point base;

    if (load_point(l, SLICE("b"), &base)) {
        if (l->fresh)
            damaged(l, xstrdup("there is a base record but no vote"));
        raft_log_reset(&l->out->log, base.index, base.term);
        raft_config_free(&l->out->base_config.config);
        l->out->base_config = base.config;
    } else if (l->error == 0 && !l->fresh) {
        damaged(l, xstrdup("there is a vote but no base record"));
    }
    if (l->error != 0)
        return;
    if (base.term > l->out->term) {
        damaged(l, xstrdup("the base's term is behind the vote's"));
        return;
    }
    int error = kv_scan(l->kv, SLICE("e"), SLICE("f"), load_entry, l);
    if (error != 0 && l->error == 0)
        unreadable(l, error);
    if (l->error == 0 && l->fresh && l->out->log.len != 0)
        damaged(l, xstrdup("there are entries but no vote"));
}

/* ---- load: the owner's image -------------------------------------------- */

/* What makes the store start at (or be moved to) this point. */
static int write_point(struct load *l)
{
    struct kv_batch batch = KV_BATCH_INIT;
    const struct raft_stored *out = l->out;
    int error;

    put_vote(&batch, out->term, out->vote);
    put_point(&batch, SLICE("b"), out->log.base_index, out->log.base_term,
              out->base_config.index, &out->base_config.config);
    kv_batch_delete_range(&batch, SLICE("e"), SLICE("f"));
    kv_batch_delete(&batch, SLICE("i"));
    error = kv_write(l->kv, &batch, true);
    kv_batch_free(&batch);
    if (error != 0) {
        l->error = error;
        l->why = xasprintf("Raft store %s cannot be written: %s", l->name,
                           strerror(-error));
    }
    return error;
}

/* The owner's image came from a peer and the log was not yet reset to it. */
static void adopt_image(struct load *l, uint64_t index, uint64_t term)
{
    struct point incoming;

    if (!load_point(l, SLICE("i"), &incoming) || incoming.index != index ||
        incoming.term != term) {
        damaged(l, xasprintf("the state it belongs to is at entry %llu, the "
                             "log ends at %llu",
                             (unsigned long long)index,
                             (unsigned long long)raft_log_last(&l->out->log)));
        raft_config_free(&incoming.config.config);
        return;
    }
    raft_log_reset(&l->out->log, index, term);
    raft_config_free(&l->out->base_config.config);
    l->out->base_config = incoming.config;
    if (term > l->out->term) {
        l->out->term = term;
        l->out->vote = RAFT_ID_NONE;
    }
    write_point(l);
}

static void match_image(struct load *l, uint64_t index, uint64_t term)
{
    const struct raft_log *log = &l->out->log;

    if (index < log->base_index) {
        damaged(l, xasprintf("the log begins after entry %llu, but the state "
                             "it belongs to ends at %llu",
                             (unsigned long long)log->base_index,
                             (unsigned long long)index));
        return;
    }
    if (index > raft_log_last(log) || raft_log_term(log, index) != term)
        adopt_image(l, index, term);
}

int raft_store_load(struct kv *kv, const char *name,
                    const struct raft_config *initial, uint64_t applied_index,
                    uint64_t applied_term, struct raft_stored *stored,
                    char **why)
{
    struct load l = {.kv = kv, .name = name, .out = stored};

    *stored = (struct raft_stored){.vote = RAFT_ID_NONE};
    raft_config_copy(&stored->base_config.config, initial);
    l.fresh = !load_vote(&l);
    if (l.error == 0)
        load_log(&l);
    if (l.error == 0 && l.fresh)
        write_point(&l);
    if (l.error == 0)
        match_image(&l, applied_index, applied_term);
    if (l.error != 0) {
        raft_log_free(&stored->log);
        raft_config_free(&stored->base_config.config);
        *why = l.why;
    }
    return l.error;
}

/* ---- write -------------------------------------------------------------- */

struct raft_store {
    struct raft_store_options options;
    struct env_work work;

    struct kv_batch waiting;
    uint64_t waiting_seq; /* last write in it; 0: empty */

    /* Belongs to the helper thread while running. */
    struct kv_batch writing;
    uint64_t writing_seq; /* 0: empty */
    bool skip;            /* only come back, to close */
    int error;

    bool running;
    bool failed; /* `writing` is to be tried again */
    void (*closed)(void *arg);
    void *closed_arg;
};

static void run(struct env_work *work)
{
    struct raft_store *s =
        (struct raft_store *)(void *)((char *)work -
                                      offsetof(struct raft_store, work));

    s->error = s->skip ? 0 : kv_write(s->options.kv, &s->writing, true);
}

static void finish_close(struct raft_store *s)
{
    void (*closed)(void *arg) = s->closed;
    void *arg = s->closed_arg;

    kv_batch_free(&s->waiting);
    kv_batch_free(&s->writing);
    free(s);
    closed(arg);
}

static void write_done(struct raft_store *s)
{
    uint64_t seq = s->writing_seq;

    kv_batch_free(&s->writing);
    s->writing_seq = 0;
    raft_store_flush(s); /* the disk works while the news is told */
    s->options.persisted(s->options.arg, seq);
}

static void done(struct env_work *work)
{
    struct raft_store *s =
        (struct raft_store *)(void *)((char *)work -
                                      offsetof(struct raft_store, work));

    s->running = false;
    if (s->closed != NULL) {
        finish_close(s);
    } else if (s->error != 0) {
        s->failed = true;
        s->options.failed(s->options.arg, s->error);
    } else {
        write_done(s);
    }
}

struct raft_store *raft_store_open(const struct raft_store_options *options)
{
    struct raft_store *s = xcalloc(1, sizeof *s);

    s->options = *options;
    s->work.lane = s;
    s->work.urgent = true;
    s->work.run = run;
    s->work.done = done;
    return s;
}

void raft_store_add(struct raft_store *s, const struct raft *r,
                    const struct raft_update *u)
{
    struct kv_batch *batch = &s->waiting;

    if (u->persist_seq == 0)
        return;
    s->waiting_seq = u->persist_seq;
    if (u->persist_vote)
        put_vote(batch, r->term, r->vote);
    if (u->truncate_from != 0)
        delete_entries(batch, u->truncate_from, UINT64_MAX);
    if (u->append_from != 0)
        for (uint64_t i = u->append_from; i <= u->append_to; i++) {
            struct raft_entry entry = raft_log_get(&r->log, i);
            put_entry(batch, &entry);
        }
    if (u->persist_base) {
        uint64_t config_index;
        const struct raft_config *config = raft_base_config(r, &config_index);

        put_point(batch, SLICE("b"), r->log.base_index, r->log.base_term,
                  config_index, config);
        delete_entries(batch, 0, r->log.base_index + 1);
    }
    if (u->persist_incoming)
        put_point(batch, SLICE("i"), r->incoming.index, r->incoming.term,
                  r->incoming.config_index, &r->incoming.config);
}

static void start(struct raft_store *s)
{
    s->running = true;
    env_work_start(s->options.env, &s->work);
}

void raft_store_flush(struct raft_store *s)
{
    if (s->running || s->failed || s->waiting_seq == 0)
        return;
    ASSERT(s->writing_seq == 0);
    s->writing = s->waiting;
    s->writing_seq = s->waiting_seq;
    s->waiting = KV_BATCH_INIT;
    s->waiting_seq = 0;
    start(s);
}

void raft_store_retry(struct raft_store *s)
{
    if (!s->failed)
        return;
    s->failed = false;
    start(s);
}

size_t raft_store_waiting_bytes(const struct raft_store *s)
{
    return s->waiting.ops.len;
}

/* Even an idle store closes from a helper's turn: closed() never comes from
 * inside this call. */
void raft_store_close(struct raft_store *s, void (*closed)(void *arg),
                      void *arg)
{
    s->closed = closed;
    s->closed_arg = arg;
    if (s->running)
        return;
    s->skip = true;
    start(s);
}
