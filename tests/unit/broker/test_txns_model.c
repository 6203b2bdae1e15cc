/* A log's transactions against a model that remembers all of it.
 *
 * The model answers by looking through its whole history: where the first
 * undecided transaction began, and which aborted ones overlap a range.  Random
 * batches, markers and high watermarks over small segments; in between
 * truncation, clean restarts, kills and power losses, after which the high
 * watermark may be an older one.
 *
 * TXNS_MODEL_SEED=N runs one history, TXNS_MODEL_SEEDS=N so many. */
#include "base/prng.h"
#include "tests/unit/broker/log_fixture.h"
#include "tests/unit/broker/producers_kit.h"

enum { IDS = 5, STEPS = 400, SEEDS = 150, WANTED_BYTES = 1 << 20 };

enum kind { PLAIN, TRANSACTIONAL, COMMIT, ABORT };

struct event {
    enum kind kind;
    int64_t id;
    int64_t base;
    int64_t end; /* exclusive */
};

struct model {
    struct fixture f;
    struct producers *producers;
    bool stale;
    struct event *events;
    size_t len;
    size_t cap;
    int32_t sequences[IDS];
    bool open[IDS];
    int64_t high_watermark;
    int64_t written_watermark; /* as a checkpoint has it */
    int64_t recovery_point;    /* likewise */
    uint64_t seed;
    struct prng prng;
    int crashes;
    int aborted_seen;
    int undecided_seen;
};

static int rnd(struct model *m, int n)
{
    return (int)prng_below(&m->prng, (uint64_t)n);
}

/* ---- what the model says ------------------------------------------------- */

static int64_t model_end(const struct model *m)
{
    return m->len == 0 ? 0 : m->events[m->len - 1].end;
}

/* Calls `each` for every transaction; marker -1: it is open, and `aborted`
 * means nothing. */
static void
each_txn(const struct model *m,
         void (*each)(void *arg, struct log_aborted a, bool aborted), void *arg)
{
    int64_t first[IDS];

    for (int i = 0; i < IDS; i++)
        first[i] = -1;
    for (size_t i = 0; i < m->len; i++) {
        const struct event *e = &m->events[i];

        if (e->kind == PLAIN)
            continue;
        if (e->kind == TRANSACTIONAL) {
            if (first[e->id] < 0)
                first[e->id] = e->base;
            continue;
        }
        if (first[e->id] >= 0)
            each(arg, (struct log_aborted){e->id, first[e->id], e->base, -1},
                 e->kind == ABORT);
        first[e->id] = -1;
    }
    for (int i = 0; i < IDS; i++)
        if (first[i] >= 0)
            each(arg, (struct log_aborted){i, first[i], -1, -1}, false);
}

struct undecided {
    int64_t high_watermark;
    int64_t first;
};

static void note_undecided(void *arg, struct log_aborted a, bool aborted)
{
    struct undecided *u = arg;

    (void)aborted;
    if ((a.last_offset < 0 || a.last_offset >= u->high_watermark) &&
        (u->first < 0 || a.first_offset < u->first))
        u->first = a.first_offset;
}

struct wanted {
    int64_t from, to;
    struct buf found;
};

static void note_wanted(void *arg, struct log_aborted a, bool aborted)
{
    struct wanted *w = arg;

    if (aborted && a.last_offset >= w->from && a.first_offset < w->to)
        buf_put(&w->found, &a, sizeof a);
}

static int by_first(const void *a, const void *b)
{
    const struct log_aborted *x = a, *y = b;

    return x->first_offset < y->first_offset
               ? -1
               : x->first_offset > y->first_offset;
}

static size_t count(const struct buf *b)
{
    return b->len / sizeof(struct log_aborted);
}

/* ---- checks -------------------------------------------------------------- */

static void check_undecided(struct model *m)
{
    struct undecided u = {m->high_watermark, -1};
    int64_t got = producers_first_undecided(m->producers);

    each_txn(m, note_undecided, &u);
    cr_assert_eq(got, u.first,
                 "seed %llu: first undecided is %lld instead of %lld (high "
                 "watermark %lld, end %lld)",
                 (unsigned long long)m->seed, (long long)got,
                 (long long)u.first, (long long)m->high_watermark,
                 (long long)model_end(m));
    m->undecided_seen += got >= 0;
}

static int64_t end_of_range(const struct log_range *range)
{
    struct buf bytes = BUF_INIT;
    int64_t end = 0;
    struct batch b;

    cr_assert_eq(env_file_read(range->file, buf_extend(&bytes, range->len),
                               range->len, range->position),
                 range->len);
    for (struct slice rest = buf_slice(&bytes); rest.len != 0;) {
        cr_assert_eq(batch_parse(rest, &b), ERR_NONE);
        end = batch_last_offset(&b) + 1;
        rest = slice_of(rest.data + b.size_bytes, rest.len - b.size_bytes);
    }
    buf_free(&bytes);
    return end;
}

static void check_aborted(struct model *m, int64_t offset, uint32_t max_bytes)
{
    struct log_range range;
    struct buf got = BUF_INIT;
    struct wanted w = {.from = offset};

    cr_assert_eq(log_read(m->f.log, offset, log_end_offset(m->f.log), max_bytes,
                          true, &range),
                 ERR_NONE);
    if (range.len == 0)
        return;
    w.to = end_of_range(&range);
    cr_assert_eq(log_aborted_in(m->f.log, offset, &range, &got), ERR_NONE);
    env_file_unref(range.file);
    each_txn(m, note_wanted, &w);
    if (w.found.len != 0)
        qsort(w.found.data, count(&w.found), sizeof(struct log_aborted),
              by_first);
    cr_assert_eq(got.len, w.found.len,
                 "seed %llu: %zu aborted from %lld to %lld instead of %zu",
                 (unsigned long long)m->seed, count(&got), (long long)w.from,
                 (long long)w.to, count(&w.found));
    const struct log_aborted *a = (const void *)got.data;
    const struct log_aborted *b = (const void *)w.found.data;
    for (size_t i = 0; i < count(&got); i++)
        cr_assert(a[i].producer_id == b[i].producer_id &&
                      a[i].first_offset == b[i].first_offset &&
                      a[i].last_offset == b[i].last_offset,
                  "seed %llu: another transaction",
                  (unsigned long long)m->seed);
    m->aborted_seen += (int)count(&got);
    buf_free(&got);
    buf_free(&w.found);
}

static void check(struct model *m)
{
    int64_t end = log_end_offset(m->f.log);

    cr_assert_eq(end, model_end(m));
    check_undecided(m);
    if (end > 0)
        check_aborted(m, rnd(m, (int)end), (uint32_t)(1 + rnd(m, 4000)));
}

/* ---- steps --------------------------------------------------------------- */

static void remember(struct model *m, struct event e)
{
    if (m->len == m->cap) {
        m->cap = m->cap == 0 ? 64 : m->cap * 2;
        m->events = xrealloc(m->events, m->cap * sizeof *m->events);
    }
    m->events[m->len++] = e;
}

static void encode(struct model *m, struct event *e, struct buf *out)
{
    struct batch_shape shape = {.records = 1 + rnd(m, 3), .value_bytes = 20};
    struct control_marker marker = {.producer_id = e->id,
                                    .commit = e->kind == COMMIT};
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder b;

    e->end = e->base + 1;
    if (e->kind == COMMIT || e->kind == ABORT) {
        control_marker_encode(&marker, 1000, out);
        batch_patch(out->data, e->base, 0);
        return;
    }
    batch_builder_init(&b);
    for (int i = 0; i < shape.records; i++)
        batch_builder_append(&b, 1000, SLICE_NULL, SLICE("value"), NULL, 0);
    options.base_offset = e->base;
    options.leader_epoch = 0;
    options.producer_id = e->id;
    options.producer_epoch = 0;
    options.base_sequence = m->sequences[e->id];
    options.attributes = e->kind == TRANSACTIONAL ? BATCH_TRANSACTIONAL : 0;
    batch_builder_finish(&b, &options, NULL, out);
    batch_builder_free(&b);
    m->sequences[e->id] += shape.records;
    e->end = e->base + shape.records;
}

static enum kind some_kind(struct model *m, int id)
{
    if (rnd(m, 4) == 0)
        return rnd(m, 2) == 0 ? COMMIT : ABORT;
    return m->open[id] || rnd(m, 3) != 0 ? TRANSACTIONAL : PLAIN;
}

static void put_event(struct model *m, struct buf *out)
{
    int id = rnd(m, IDS);
    struct event e = {.kind = some_kind(m, id), .id = id, .base = model_end(m)};
    struct buf bytes = BUF_INIT;

    encode(m, &e, &bytes);
    buf_put_slice(out, buf_slice(&bytes));
    buf_free(&bytes);
    remember(m, e);
    m->open[id] = e.kind == TRANSACTIONAL || (e.kind == PLAIN && m->open[id]);
}

/* As a replica takes in what its leader sent. */
static void take_all(struct model *m, struct slice rest, int64_t active)
{
    struct batch b;

    while (rest.len != 0) {
        cr_assert_eq(batch_parse(rest, &b), ERR_NONE);
        if (log_active_base_offset(m->f.log) != active &&
            b.base_offset >= log_active_base_offset(m->f.log)) {
            active = log_active_base_offset(m->f.log);
            producers_store(m->f.env, m->producers, LOG_PATH, active);
        }
        producers_take(&m->producers, m->f.log, &b, rest, now_ms);
        rest = slice_of(rest.data + b.size_bytes, rest.len - b.size_bytes);
    }
}

static void some_append(struct model *m)
{
    int64_t active = log_active_base_offset(m->f.log);
    struct log_append_info info;
    struct buf bytes = BUF_INIT;

    for (int n = rnd(m, 3) == 0 ? 1 + rnd(m, 8) : 1; n > 0; n--)
        put_event(m, &bytes);
    cr_assert_eq(log_append(m->f.log, buf_slice(&bytes), now_ms, &info),
                 ERR_NONE);
    take_all(m, buf_slice(&bytes), active);
    buf_free(&bytes);
}

static void raise_watermark(struct model *m)
{
    int64_t room = log_end_offset(m->f.log) - m->high_watermark;

    m->high_watermark += rnd(m, (int)room + 1);
    producers_committed(m->producers, m->high_watermark);
    if (rnd(m, 2) == 0)
        m->written_watermark = m->high_watermark;
}

static void flush(struct model *m)
{
    struct log_flush flush = {0};

    if (log_flush_begin(m->f.log, &flush))
        env_mem_run(m->f.env);
    m->recovery_point = log_recovery_point(m->f.log);
}

static void at_end(struct model *m)
{
    int64_t end = log_end_offset(m->f.log);

    cr_assert_eq(model_end(m), end, "seed %llu: the log ends at %lld, not %lld",
                 (unsigned long long)m->seed, (long long)end,
                 (long long)model_end(m));
    memset(m->open, 0, sizeof m->open);
    for (size_t i = 0; i < m->len; i++)
        if (m->events[i].kind != PLAIN)
            m->open[m->events[i].id] = m->events[i].kind == TRANSACTIONAL;
    if (m->high_watermark > end)
        m->high_watermark = end;
    if (m->written_watermark > m->high_watermark)
        m->written_watermark = m->high_watermark;
}

static bool read_event(void *arg, const struct batch *b, struct slice bytes)
{
    struct model *m = arg;
    struct control_marker marker;
    struct event e = {.id = b->producer_id,
                      .base = b->base_offset,
                      .end = batch_last_offset(b) + 1};

    if ((b->attributes & BATCH_CONTROL) != 0) {
        cr_assert(control_marker_decode(bytes, b, &marker));
        e.kind = marker.commit ? COMMIT : ABORT;
    } else if ((b->attributes & BATCH_TRANSACTIONAL) != 0) {
        e.kind = TRANSACTIONAL;
    }
    remember(m, e);
    return true;
}

/* A power loss may bring back what was cut before. */
static void read_history(struct model *m)
{
    m->len = 0;
    cr_assert_eq(
        log_visit(m->f.log, 0, log_end_offset(m->f.log), read_event, m),
        ERR_NONE);
    at_end(m);
}

static void truncate_some(struct model *m)
{
    int64_t end = log_end_offset(m->f.log);
    int64_t keep = end - rnd(m, 12);

    if (keep < m->high_watermark || keep >= end)
        return;
    cr_assert_eq(log_truncate(m->f.log, keep), ERR_NONE);
    while (m->len != 0 &&
           m->events[m->len - 1].base >= log_end_offset(m->f.log))
        m->len--;
    at_end(m);
    if (m->recovery_point > log_recovery_point(m->f.log))
        m->recovery_point = log_recovery_point(m->f.log);
    cr_assert_eq(producers_truncated(m->f.env, m->f.log, m->high_watermark,
                                     now_ms, &m->producers, &m->stale),
                 ERR_NONE);
}

static void load(struct model *m)
{
    m->high_watermark = m->written_watermark;
    producers_free(m->producers);
    m->producers = NULL;
    read_history(m);
    cr_assert_eq(producers_load(m->f.env, m->f.log, m->high_watermark, now_ms,
                                &m->producers),
                 ERR_NONE);
}

static void restart(struct model *m)
{
    cr_assert_eq(log_flush_now(m->f.log), ERR_NONE);
    producers_store(m->f.env, m->producers, LOG_PATH, log_end_offset(m->f.log));
    m->recovery_point = log_recovery_point(m->f.log);
    fixture_close(&m->f);
    if (rnd(m, 3) == 0)
        env_mem_crash(m->f.env, ENV_MEM_POWER);
    fixture_open(&m->f, true, m->recovery_point);
    load(m);
}

/* The checkpoint may have been written just before. */
static void crash(struct model *m)
{
    enum env_mem_crash kinds[] = {ENV_MEM_KILL, ENV_MEM_POWER, ENV_MEM_WORST};

    if (rnd(m, 2) == 0)
        m->recovery_point = log_recovery_point(m->f.log);
    fixture_crash(&m->f, kinds[rnd(m, 3)]);
    cr_assert_eq(fixture_reopen(&m->f, m->recovery_point, 0), ERR_NONE);
    free(m->f.report.message);
    m->recovery_point = log_recovery_point(m->f.log);
    m->crashes++;
    load(m);
}

static void step(struct model *m)
{
    switch (rnd(m, 40)) {
    case 0:
        restart(m);
        break;
    case 1:
        crash(m);
        break;
    case 2:
    case 3:
        truncate_some(m);
        break;
    case 4:
    case 5:
    case 6:
        flush(m);
        break;
    case 7:
        env_mem_advance(m->f.env, 100);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
        raise_watermark(m);
        break;
    default:
        some_append(m);
    }
}

static void run_seed(uint64_t seed, struct model *totals)
{
    struct model m = {.seed = seed, .prng = {seed}};

    fixture_begin(&m.f);
    m.f.config.segment_bytes = 500 + rnd(&m, 4000);
    m.f.config.flush_messages = rnd(&m, 3) == 0 ? 1 + rnd(&m, 5) : INT64_MAX;
    fixture_open(&m.f, true, 0);
    m.producers = producers_new();
    for (int i = 0; i < STEPS; i++) {
        step(&m);
        check(&m);
    }
    producers_free(m.producers);
    fixture_end(&m.f);
    free(m.events);
    totals->crashes += m.crashes;
    totals->aborted_seen += m.aborted_seen;
    totals->undecided_seen += m.undecided_seen;
}

Test(txns_model, random_histories, .timeout = 300)
{
    struct model totals = {0};
    const char *one = getenv("TXNS_MODEL_SEED");
    const char *many = getenv("TXNS_MODEL_SEEDS");
    uint64_t seeds = many != NULL ? strtoull(many, NULL, 10) : SEEDS;

    if (one != NULL) {
        run_seed(strtoull(one, NULL, 10), &totals);
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_seed(seed, &totals);
    /* The histories are worth something. */
    cr_assert_gt(totals.crashes, SEEDS);
    cr_assert_gt(totals.aborted_seen, SEEDS * 100);
    cr_assert_gt(totals.undecided_seen, SEEDS * 100);
}
