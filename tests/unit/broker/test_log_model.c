/* Random histories of a log against a model of it, with full disks, killed
 * processes and lost power.
 *
 * The model is a list of batches.  After a kill the log must be the model;
 * after a power loss it must hold everything below what it had called synced,
 * and above that only batches that were appended at some time.
 *
 * LOG_MODEL_SEED=n runs one seed alone, LOG_MODEL_SEEDS=n runs 1..n. */
#include "tests/unit/broker/log_fixture.h"

#include <errno.h>

enum { SEEDS = 200, STEPS = 120, RECORDS_MAX = 4 };

struct model_batch {
    int64_t base, last;
    int32_t epoch;
    uint32_t crc;
    int64_t timestamp, step; /* of record i: timestamp + i * step */
};

struct model {
    struct fixture f;
    struct prng prng;
    struct model_batch *batches; /* what the log should hold */
    int len, cap;
    struct model_batch *ever; /* all that were appended */
    int ever_len, ever_cap;
    int64_t start, end;
    int32_t epoch;
    int64_t timestamp;
    uint64_t seed;
    int crashes, damages, cuts;
};

static int64_t below(struct model *m, int64_t n)
{
    return (int64_t)prng_below(&m->prng, (uint64_t)n);
}

static void push(struct model_batch **list, int *len, int *cap,
                 struct model_batch b)
{
    if (*len == *cap) {
        *cap = *cap == 0 ? 64 : *cap * 2;
        *list = xrealloc(*list, (size_t)*cap * sizeof b);
    }
    (*list)[(*len)++] = b;
}

static void cut_model(struct model *m, int64_t end)
{
    while (m->len != 0 && m->batches[m->len - 1].last >= end) {
        end = m->batches[m->len - 1].base < end ? m->batches[m->len - 1].base
                                                : end;
        m->len--;
    }
    if (end < m->end)
        m->end = end;
    if (m->start > m->end)
        m->start = m->end;
}

/* ---- checking ------------------------------------------------------------*/

struct walker {
    struct model *m;
    int next;
};

static bool same_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct walker *w = arg;
    struct model *m = w->m;

    while (w->next < m->len && m->batches[w->next].last < m->start)
        w->next++;
    cr_assert_lt(w->next, m->len, "seed %llu: a batch too many",
                 (unsigned long long)m->seed);
    const struct model_batch *want = &m->batches[w->next++];
    cr_assert(want->base == b->base_offset && want->crc == b->crc,
              "seed %llu: batch %lld instead of %lld",
              (unsigned long long)m->seed, (long long)b->base_offset,
              (long long)want->base);
    int64_t at = b->base_offset < m->start ? m->start : b->base_offset;
    cr_assert_eq(log_epoch_at(m->f.log, at), want->epoch,
                 "seed %llu: epoch at %lld", (unsigned long long)m->seed,
                 (long long)b->base_offset);
    return true;
}

static void check(struct model *m)
{
    struct walker w = {m, 0};

    cr_assert_eq(log_start_offset(m->f.log), m->start, "seed %llu: start",
                 (unsigned long long)m->seed);
    cr_assert_eq(log_end_offset(m->f.log), m->end, "seed %llu: end %lld %lld",
                 (unsigned long long)m->seed,
                 (long long)log_end_offset(m->f.log), (long long)m->end);
    cr_assert_leq(log_recovery_point(m->f.log), log_synced_offset(m->f.log));
    cr_assert_leq(log_synced_offset(m->f.log), m->end, "seed %llu: synced",
                  (unsigned long long)m->seed);
    cr_assert_eq(log_visit(m->f.log, m->start, m->end, same_batch, &w),
                 ERR_NONE, "seed %llu", (unsigned long long)m->seed);
    while (w.next < m->len && m->batches[w.next].last < m->start)
        w.next++;
    cr_assert_eq(w.next, m->len, "seed %llu: batches are missing",
                 (unsigned long long)m->seed);
}

static void check_read(struct model *m)
{
    int64_t span = m->end - m->start + 1;
    int64_t offset = m->start + below(m, span);
    int64_t end = m->start + below(m, span);
    uint32_t max = (uint32_t)below(m, 3000) + 1;
    struct read_result r = read_at(&m->f, offset, end, max);
    int i = 0;

    cr_assert_eq(r.err, ERR_NONE, "seed %llu: %s", (unsigned long long)m->seed,
                 err_name(r.err));
    while (i < m->len && m->batches[i].last < offset)
        i++;
    if (offset >= end || i == m->len || m->batches[i].last >= end) {
        cr_assert_eq(r.batches, 0, "seed %llu", (unsigned long long)m->seed);
        return;
    }
    cr_assert_gt(r.batches, 0, "seed %llu: nothing at %lld below %lld",
                 (unsigned long long)m->seed, (long long)offset,
                 (long long)end);
    cr_assert_eq(r.first, m->batches[i].base);
    cr_assert_leq(r.end, end);
    cr_assert_eq(r.end, m->batches[i + r.batches - 1].last + 1);
    cr_assert(r.batches == 1 || r.bytes <= max);
}

static void check_timestamps(struct model *m)
{
    struct log_timestamp_offset found, greatest;
    int64_t target = below(m, m->timestamp + 20);
    int64_t end = m->start + below(m, m->end - m->start + 1);
    int64_t want = -1, most = -1, most_at = -1;

    for (int i = 0; i < m->len; i++) {
        const struct model_batch *b = &m->batches[i];
        for (int64_t o = b->base; o <= b->last && o < end; o++) {
            int64_t t = b->timestamp + (o - b->base) * b->step;
            if (o >= m->start && t >= target && want < 0)
                want = o;
            if (b->last < end && t > most) {
                most = t;
                most_at = o;
            }
        }
    }
    cr_assert_eq(
        log_offset_for_timestamp(m->f.log, m->f.codec, target, end, &found),
        ERR_NONE);
    cr_assert_eq(found.offset, want, "seed %llu: %lld at %lld not %lld",
                 (unsigned long long)m->seed, (long long)target,
                 (long long)found.offset, (long long)want);
    if (want >= 0)
        cr_assert_eq(found.leader_epoch, log_epoch_at(m->f.log, want));

    /* In whole batches at both ends. */
    if (m->len != 0 && m->batches[0].base < m->start)
        return;
    cr_assert_eq(log_max_timestamp(m->f.log, m->f.codec, end, &greatest),
                 ERR_NONE);
    cr_assert(most_at < 0 || greatest.timestamp == most,
              "seed %llu: greatest %lld at %lld, not %lld at %lld",
              (unsigned long long)m->seed, (long long)greatest.timestamp,
              (long long)greatest.offset, (long long)most, (long long)most_at);
    if (greatest.timestamp == most)
        cr_assert_eq(greatest.offset, most_at,
                     "seed %llu: %lld not %lld, end %lld",
                     (unsigned long long)m->seed, (long long)greatest.offset,
                     (long long)most_at, (long long)end);
}

/* ---- acting --------------------------------------------------------------*/

static void do_append(struct model *m, bool may_fail)
{
    struct log_append_info info;
    struct buf bytes = BUF_INIT;
    int n = 1 + (int)below(m, 5), before = m->len;
    int64_t at = m->end;

    if (below(m, 6) == 0)
        m->epoch++;
    if (below(m, 12) == 0)
        log_assign_epoch(m->f.log, ++m->epoch, m->end);
    if (m->f.config.compact_policy && below(m, 8) == 0)
        at += below(m, 20); /* a gap as compaction leaves it */
    for (int i = 0; i < n; i++) {
        int records = 1 + (int)below(m, RECORDS_MAX);
        size_t from = bytes.len;
        struct batch_shape shape = {
            .base_offset = at,
            .epoch = m->epoch,
            .records = records,
            .timestamp = m->timestamp += below(m, 30) - 5,
            .timestamp_step = below(m, 5) - 2,
            .value_bytes = 1 + (size_t)below(m, 200),
            .compression =
                below(m, 4) == 0 ? COMPRESSION_LZ4 : COMPRESSION_NONE,
        };
        if (shape.timestamp < 100)
            shape.timestamp = m->timestamp = 100;
        put_batch(&m->f, &bytes, shape);
        struct batch b;
        batch_parse(slice_of(bytes.data + from, bytes.len - from), &b);
        struct model_batch mb = {at,    at + records - 1, m->epoch,
                                 b.crc, shape.timestamp,  shape.timestamp_step};
        push(&m->batches, &m->len, &m->cap, mb);
        at += records;
    }
    if (may_fail) {
        env_mem_faults(m->f.env)->error = -ENOSPC;
        if (below(m, 2) == 0)
            env_mem_faults(m->f.env)->write_at = 1 + (int)below(m, 4);
        else
            env_mem_faults(m->f.env)->open_at = 1 + (int)below(m, 3);
    }
    enum err err =
        log_append(m->f.log, buf_slice(&bytes), env_wall_ms(m->f.env), &info);
    *env_mem_faults(m->f.env) = (struct disk_faults){0};
    buf_free(&bytes);
    cr_assert(err == ERR_NONE || (may_fail && err == ERR_FULL), "seed %llu: %s",
              (unsigned long long)m->seed, err_name(err));
    /* Also what failed: parts were written and taken back, and a power loss
     * may find them. */
    for (int i = before; i < m->len; i++)
        push(&m->ever, &m->ever_len, &m->ever_cap, m->batches[i]);
    if (err != ERR_NONE) {
        m->len = before;
        return;
    }
    cr_assert_eq(info.first_offset, m->batches[before].base);
    m->end = at;
}

static void drop_before_start(struct model *m)
{
    m->start = log_start_offset(m->f.log);
    int n = 0;
    while (n < m->len && m->batches[n].last < m->start)
        n++;
    if (n == 0)
        return;
    m->len -= n;
    memmove(m->batches, m->batches + n, (size_t)m->len * sizeof *m->batches);
}

static void do_start(struct model *m)
{
    if (below(m, 2) == 0) {
        int64_t to = m->start + below(m, m->end - m->start + 1);
        cr_assert_eq(log_raise_start(m->f.log, to), ERR_NONE);
        cr_assert_eq(log_start_offset(m->f.log), to);
    } else {
        int64_t hw = m->start + below(m, m->end - m->start + 1);
        int64_t now = m->timestamp;
        m->f.config.retention_ms = below(m, 2) == 0 ? below(m, 500) : -1;
        m->f.config.retention_bytes = below(m, 2) == 0 ? below(m, 20000) : -1;
        log_set_config(m->f.log, &m->f.config);
        log_apply_retention(m->f.log, now, hw);
        cr_assert(log_start_offset(m->f.log) <= hw ||
                  log_start_offset(m->f.log) == m->start);
    }
    drop_before_start(m);
}

static void do_truncate(struct model *m)
{
    if (below(m, 12) == 0) {
        int64_t to = m->end + below(m, 50);
        cr_assert_eq(log_truncate_fully(m->f.log, to), ERR_NONE);
        m->len = 0;
        m->start = m->end = to;
        return;
    }
    int64_t back = m->end - m->start < 20 ? m->end - m->start : 20;
    int64_t to = m->end - below(m, back + 1);
    cr_assert_eq(log_truncate(m->f.log, to), ERR_NONE);
    cut_model(m, to);
}

struct test_flush {
    struct log_flush flush;
    struct model *m;
};

static void flushed(struct log_flush *flush)
{
    struct test_flush *t = flush->arg;

    if (flush->log != NULL) {
        cr_assert_eq(flush->result, 0);
        cr_assert_geq(log_synced_offset(flush->log), flush->end_offset);
    }
    free(t);
}

static void do_flush(struct model *m)
{
    struct test_flush *t = xcalloc(1, sizeof *t);

    t->m = m;
    t->flush.done = flushed;
    t->flush.arg = t;
    if (!log_flush_begin(m->f.log, &t->flush))
        free(t);
}

static void open_again(struct model *m, bool clean, int64_t recovery_point)
{
    enum err err = clean
                       ? fixture_try_open(&m->f, true, recovery_point, m->start)
                       : fixture_reopen(&m->f, recovery_point, m->start);

    cr_assert_eq(err, ERR_NONE, "seed %llu: %s", (unsigned long long)m->seed,
                 m->f.report.message);
    m->damages += m->f.report.damaged_at >= 0;
    m->cuts += m->f.report.cut_bytes > 0;
    cr_assert(m->f.report.damaged_at < 0 ||
              m->f.report.damaged_at == log_end_offset(m->f.log));
    free(m->f.report.message);
}

/* An end that lies behind a gap left by compaction may move back to the last
 * batch when the log is opened. */
static void accept_end(struct model *m)
{
    int64_t last = m->len != 0 ? m->batches[m->len - 1].last + 1 : m->start;
    int64_t end = log_end_offset(m->f.log);

    if (m->f.config.compact_policy && end < m->end && end >= last)
        m->end = end;
}

static void do_reopen(struct model *m)
{
    cr_assert_eq(log_flush_now(m->f.log), ERR_NONE);
    fixture_close(&m->f);
    open_again(m, true, 0);
    accept_end(m);
    cr_assert_eq(log_synced_offset(m->f.log), m->end);
}

static void do_kill(struct model *m)
{
    int64_t point = below(m, 2) == 0 ? 0 : log_recovery_point(m->f.log);

    fixture_crash(&m->f, ENV_MEM_KILL);
    open_again(m, false, point);
    accept_end(m);
    m->crashes++;
}

struct rebuilt {
    struct model *m;
    int64_t next;
};

/* Takes the model from what the log has now. */
static bool take(void *arg, const struct batch *b, struct slice bytes)
{
    struct rebuilt *r = arg;
    struct model *m = r->m;

    cr_assert_geq(b->base_offset, r->next, "seed %llu: %lld after %lld",
                  (unsigned long long)m->seed, (long long)b->base_offset,
                  (long long)r->next);
    r->next = batch_last_offset(b) + 1;
    for (int i = m->ever_len; i-- != 0;) {
        if (m->ever[i].base == b->base_offset && m->ever[i].crc == b->crc &&
            m->ever[i].epoch == b->leader_epoch) {
            push(&m->batches, &m->len, &m->cap, m->ever[i]);
            return true;
        }
    }
    cr_assert_fail("seed %llu: nobody appended the batch at %lld",
                   (unsigned long long)m->seed, (long long)b->base_offset);
    return false;
}

static void do_power(struct model *m)
{
    int64_t synced = log_synced_offset(m->f.log);
    int64_t point = below(m, 2) == 0 ? 0 : log_recovery_point(m->f.log);
    struct model_batch *before = m->batches;
    int before_len = m->len;

    fixture_crash(&m->f, ENV_MEM_POWER);
    open_again(m, false, point);
    m->crashes++;
    m->batches = NULL;
    m->len = m->cap = 0;
    struct rebuilt r = {m, 0};
    m->start = log_start_offset(m->f.log);
    m->end = log_end_offset(m->f.log);
    /* Behind a gap there may be less to show; batch by batch below. */
    cr_assert(m->end >= synced || m->f.config.compact_policy,
              "seed %llu: synced to %lld, ends at %lld",
              (unsigned long long)m->seed, (long long)synced,
              (long long)m->end);
    cr_assert_eq(log_visit(m->f.log, m->start, m->end, take, &r), ERR_NONE);
    for (int i = 0, k = 0; i < before_len; i++) {
        if (before[i].last >= synced || before[i].last < m->start)
            continue;
        while (k < m->len && m->batches[k].base < before[i].base)
            k++;
        cr_assert(k < m->len && m->batches[k].crc == before[i].crc,
                  "seed %llu: synced batch %lld is gone",
                  (unsigned long long)m->seed, (long long)before[i].base);
    }
    free(before);
    if (m->epoch < log_latest_epoch(m->f.log))
        m->epoch = log_latest_epoch(m->f.log);
    m->epoch++; /* someone was elected meanwhile */
}

static void step(struct model *m)
{
    switch (below(m, 40)) {
    case 0:
        do_kill(m);
        break;
    case 1:
        do_power(m);
        break;
    case 2:
        do_reopen(m);
        break;
    case 3:
    case 4:
        do_truncate(m);
        break;
    case 5:
    case 6:
        do_start(m);
        break;
    case 7:
    case 8:
    case 9:
        do_append(m, true);
        break;
    case 10:
    case 11:
    case 12:
        do_flush(m);
        break;
    case 13:
    case 14:
        env_mem_advance(m->f.env, below(m, 40000));
        break;
    case 15:
    case 16:
        check_timestamps(m);
        break;
    case 17:
    case 18:
    case 19:
    case 20:
    case 21:
        check_read(m);
        break;
    default:
        do_append(m, false);
    }
}

static void run_seed(uint64_t seed, struct model *totals)
{
    struct model m = {.seed = seed, .prng = {seed}};

    fixture_begin(&m.f);
    m.f.config.segment_bytes = 500 + below(&m, 4000);
    m.f.config.index_interval_bytes = (int32_t)below(&m, 600);
    m.f.config.compact_policy = below(&m, 4) == 0;
    m.f.config.segment_ms = below(&m, 3) == 0 ? 200 : -1;
    m.timestamp = 1000;
    fixture_open(&m.f, false, 0);
    for (int i = 0; i < STEPS; i++) {
        step(&m);
        check(&m);
    }
    fixture_end(&m.f);
    free(m.batches);
    free(m.ever);
    totals->crashes += m.crashes;
    totals->damages += m.damages;
    totals->cuts += m.cuts;
}

Test(log_model, random_histories, .timeout = 120)
{
    struct model totals = {0};
    const char *one = getenv("LOG_MODEL_SEED");
    const char *many = getenv("LOG_MODEL_SEEDS");
    uint64_t seeds = many != NULL ? strtoull(many, NULL, 10) : SEEDS;

    if (one != NULL) {
        run_seed(strtoull(one, NULL, 10), &totals);
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_seed(seed, &totals);
    /* The histories are worth something. */
    cr_assert_gt(totals.crashes, SEEDS);
    cr_assert_gt(totals.damages, 10);
    cr_assert_gt(totals.cuts, 10);
}
