/* Records: what was sent, what was acknowledged, what was read where. */
#include "tests/sim/load/history_parts.h"

#include <stdlib.h>

void history_free_logs(struct history *h)
{
    for (int t = 0; t < h->topics_len; t++) {
        struct topic *topic = &h->topics[t];
        for (int32_t p = 0; p < topic->logs_len; p++) {
            if (topic->logs[p] == NULL)
                continue;
            free(topic->logs[p]->slots);
            free(topic->logs[p]->next);
            free(topic->logs[p]->queries);
            free(topic->logs[p]);
        }
        free(topic->logs);
        free(topic->name);
    }
    free(h->topics);
    for (int32_t i = 0; i < h->writers_len; i++)
        free(h->writers[i].sent);
    free(h->writers);
    free(h->sessions);
}

struct history_log *history_log(struct history *h, int topic, int32_t partition)
{
    ASSERT(topic >= 0 && topic < h->topics_len && partition >= 0);
    struct topic *t = &h->topics[topic];
    if (partition >= t->logs_len) {
        t->logs = xrealloc(t->logs, (size_t)(partition + 1) * sizeof(*t->logs));
        while (t->logs_len <= partition)
            t->logs[t->logs_len++] = NULL;
    }
    if (t->logs[partition] == NULL) {
        t->logs[partition] = xcalloc(1, sizeof **t->logs);
        t->logs[partition]->topic = topic;
        t->logs[partition]->partition = partition;
    }
    return t->logs[partition];
}

struct slot *history_slot(struct history_log *log, int64_t offset)
{
    ASSERT(offset >= 0);
    if (offset >= log->slots_cap) {
        log->slots_cap = (offset + 64) * 2;
        log->slots =
            xrealloc(log->slots, (size_t)log->slots_cap * sizeof *log->slots);
    }
    while (log->slots_len <= offset)
        log->slots[log->slots_len++] =
            (struct slot){.id = {.topic = -1}, .leader_epoch = -1};
    return &log->slots[offset];
}

struct sent *history_find(struct history *h, struct history_id id)
{
    if (id.producer < 0 || id.producer >= h->writers_len || id.number < 0 ||
        id.number >= h->writers[id.producer].len)
        return NULL;
    return &h->writers[id.producer].sent[id.number];
}

static bool same(struct history_id a, struct history_id b)
{
    return a.topic == b.topic && a.producer == b.producer &&
           a.number == b.number;
}

/* ---- writing ------------------------------------------------------------- */

int64_t history_session(struct history *h, int32_t producer)
{
    h->sessions = xrealloc(h->sessions,
                           (size_t)(h->sessions_len + 1) * sizeof *h->sessions);
    h->sessions[h->sessions_len] = (struct session){producer, -1};
    history_note(h, "session %lld of producer %d", (long long)h->sessions_len,
                 producer);
    return h->sessions_len++;
}

int64_t history_sessions(const struct history *h) { return h->sessions_len; }

int64_t history_sent_by(const struct history *h, int32_t producer)
{
    return producer >= 0 && producer < h->writers_len ? h->writers[producer].len
                                                      : 0;
}

static struct writer *writer_of(struct history *h, int32_t producer)
{
    ASSERT(producer >= 0);
    if (producer >= h->writers_len) {
        h->writers =
            xrealloc(h->writers, (size_t)(producer + 1) * sizeof *h->writers);
        while (h->writers_len <= producer)
            h->writers[h->writers_len++] = (struct writer){0};
    }
    return &h->writers[producer];
}

void history_sent(struct history *h, const struct history_sent *s)
{
    struct writer *w = writer_of(h, s->id.producer);

    ASSERT(s->id.number == w->len);
    if (w->len == w->cap) {
        w->cap = w->cap * 2 + 64;
        w->sent = xrealloc(w->sent, (size_t)w->cap * sizeof *w->sent);
    }
    h->counts.sent++;
    HISTORY_MARK(h, 1, s->id.producer, s->id.number, s->id.topic, s->partition,
                 s->acks, s->session, s->sequence);
    HISTORY_TELL(h, "sent %d/%lld to %s acks %d session %lld at %lld",
                 s->id.producer, (long long)s->id.number,
                 history_where(h, s->id.topic, s->partition).text, s->acks,
                 (long long)s->session, (long long)s->sequence);
    w->sent[w->len++] = (struct sent){.what = *s,
                                      .sent_tick = h->tick,
                                      .acked_offset = -1,
                                      .read_offset = -1,
                                      .final_offset = -1};
}

static bool is_durable(const struct history *h, const struct sent *s)
{
    return s->what.acks == -1 && !h->promise.unclean_possible;
}

void history_acked(struct history *h, struct history_id id, int64_t offset)
{
    struct sent *s = history_find(h, id);

    ASSERT(s != NULL);
    HISTORY_MARK(h, 2, id.producer, id.number, offset);
    HISTORY_TELL(h, "acked %d/%lld at %lld", id.producer, (long long)id.number,
                 (long long)offset);
    if (s->acked_tick != 0)
        return;
    h->counts.acked++;
    s->acked_tick = h->tick;
    s->acked_offset = offset;
    if (offset < 0 || !is_durable(h, s))
        return;
    struct history_log *log = history_log(h, id.topic, s->what.partition);
    struct slot *slot = history_slot(log, offset);
    struct history_where where = history_where(h, id.topic, s->what.partition);
    if (slot->id.topic >= 0 && !same(slot->id, id))
        history_violation(h, "changed",
                          "%s was acknowledged at offset %lld of %s, where %s "
                          "had been %s",
                          history_who(id).text, (long long)offset, where.text,
                          history_who(slot->id).text,
                          slot->read ? "read" : "acknowledged");
    /* With a record the knowledge of its sequence number may be deleted. */
    if (s->what.session >= 0 && s->read_offset >= log->deleted_before &&
        s->read_offset != offset)
        history_violation(h, "duplicate",
                          "%s, which is idempotent, was acknowledged at "
                          "offset %lld of %s and read at offset %lld",
                          history_who(id).text, (long long)offset, where.text,
                          (long long)s->read_offset);
    slot->id = id;
    slot->timestamp_ms = s->what.timestamp_ms;
}

void history_unknown(struct history *h, struct history_id id, const char *why)
{
    h->counts.unknown++;
    history_note(h, "unknown %d/%lld: %s", id.producer, (long long)id.number,
                 why);
}

void history_delete_asked(struct history *h, int topic, int32_t partition,
                          int64_t offset)
{
    struct history_log *log = history_log(h, topic, partition);

    history_note(h, "delete %s below %lld",
                 history_where(h, topic, partition).text, (long long)offset);
    if (log->deleted_before < offset)
        log->deleted_before = offset;
}

int64_t history_length(struct history *h, int topic, int32_t partition)
{
    return history_log(h, topic, partition)->slots_len;
}

/* ---- reading ------------------------------------------------------------- */

static int64_t *next_of(struct history_log *log, int reader)
{
    ASSERT(reader >= 0);
    if (reader >= log->next_len) {
        log->next =
            xrealloc(log->next, (size_t)(reader + 1) * sizeof *log->next);
        while (log->next_len <= reader)
            log->next[log->next_len++] = -1;
    }
    return &log->next[reader];
}

void history_seek(struct history *h, int reader, int topic, int32_t partition,
                  int64_t offset)
{
    history_note(h, "reader %d of %s at %lld", reader,
                 history_where(h, topic, partition).text, (long long)offset);
    *next_of(history_log(h, topic, partition), reader) = offset;
}

static void check_stream(struct history *h, struct history_log *log,
                         const struct history_read *r)
{
    int64_t *next = next_of(log, r->reader);

    if (*next >= 0 && r->offset != *next &&
        (r->offset < *next || !history_is_compacted(h, r->topic)))
        history_violation(h, "gap",
                          "reader %d of %s expected offset %lld and was given "
                          "offset %lld",
                          r->reader,
                          history_where(h, r->topic, r->partition).text,
                          (long long)*next, (long long)r->offset);
    *next = r->offset + 1;
}

/* Only for what broke: records are many. */
static struct history_where place_of(const struct history *h,
                                     const struct history_read *r)
{
    return history_where(h, r->topic, r->partition);
}

/* That it is what was sent, and where. */
static struct sent *check_origin(struct history *h,
                                 const struct history_read *r)
{
    struct sent *s = history_find(h, r->id);

    if (!r->sound) {
        history_violation(h, "corrupt",
                          "offset %lld of %s holds bytes that nobody sent",
                          (long long)r->offset, place_of(h, r).text);
        return NULL;
    }
    if (s == NULL) {
        history_violation(
            h, "foreign", "offset %lld of %s holds %s, which was never sent",
            (long long)r->offset, place_of(h, r).text, history_who(r->id).text);
        return NULL;
    }
    if (s->what.id.topic != r->topic || r->id.topic != r->topic ||
        s->what.partition != r->partition) {
        history_violation(
            h, "foreign", "offset %lld of %s holds %s, which was sent to %s",
            (long long)r->offset, place_of(h, r).text, history_who(r->id).text,
            history_where(h, s->what.id.topic, s->what.partition).text);
        return NULL;
    }
    if (s->what.timestamp_ms != r->timestamp_ms) {
        history_violation(h, "corrupt",
                          "offset %lld of %s holds %s with timestamp %lld; it "
                          "was sent with %lld",
                          (long long)r->offset, place_of(h, r).text,
                          history_who(r->id).text, (long long)r->timestamp_ms,
                          (long long)s->what.timestamp_ms);
        return NULL;
    }
    return s;
}

static void check_slot(struct history *h, const struct slot *slot,
                       const struct history_read *r)
{
    if (slot->id.topic >= 0 && !same(slot->id, r->id))
        history_violation(
            h, slot->read ? "changed" : "lost",
            "offset %lld of %s holds %s, but %s had been %s there",
            (long long)r->offset, place_of(h, r).text, history_who(r->id).text,
            history_who(slot->id).text, slot->read ? "read" : "acknowledged");
    else if (slot->read && slot->leader_epoch != r->leader_epoch)
        history_violation(h, "changed",
                          "offset %lld of %s has leader epoch %d, and had %d "
                          "when it was read before",
                          (long long)r->offset, place_of(h, r).text,
                          r->leader_epoch, slot->leader_epoch);
}

static void check_epochs(struct history *h, const struct history_log *log,
                         const struct history_read *r)
{
    const struct slot *before = r->offset > 0 && r->offset - 1 < log->slots_len
                                    ? &log->slots[r->offset - 1]
                                    : NULL;

    if (before != NULL && before->read &&
        before->leader_epoch > r->leader_epoch)
        history_violation(
            h, "epoch-back",
            "offset %lld of %s has leader epoch %d, the offset before it %d",
            (long long)r->offset, history_where(h, r->topic, r->partition).text,
            r->leader_epoch, before->leader_epoch);
}

static void check_once(struct history *h, const struct history_log *log,
                       const struct sent *s, const struct history_read *r)
{
    int64_t other = s->read_offset;

    if (other < 0 && is_durable(h, s))
        other = s->acked_offset;
    if (s->what.session >= 0 && other >= log->deleted_before &&
        other != r->offset)
        history_violation(
            h, "duplicate",
            "%s, which is idempotent, stands at offsets %lld and %lld of %s",
            history_who(r->id).text, (long long)other, (long long)r->offset,
            history_where(h, r->topic, r->partition).text);
}

void history_read(struct history *h, const struct history_read *r)
{
    struct history_log *log = history_log(h, r->topic, r->partition);

    h->counts.read++;
    HISTORY_MARK(h, 3, r->reader, r->topic, r->partition, r->offset,
                 r->id.producer, r->id.number, r->leader_epoch);
    HISTORY_TELL(h, "read %d: %s %lld is %d/%lld in epoch %d", r->reader,
                 history_where(h, r->topic, r->partition).text,
                 (long long)r->offset, r->id.producer, (long long)r->id.number,
                 r->leader_epoch);
    check_stream(h, log, r);
    struct sent *s = check_origin(h, r);
    if (s == NULL)
        return;
    struct slot *slot = history_slot(log, r->offset);
    if (!h->promise.unclean_possible) {
        check_slot(h, slot, r);
        check_epochs(h, log, r);
        check_once(h, log, s, r);
    }
    if (s->read_offset < 0)
        s->read_offset = r->offset;
    *slot = (struct slot){r->id, r->timestamp_ms, r->leader_epoch, true,
                          slot->final || h->finishing};
    /* The high watermark may still have been behind when a final reader asked
     * where the log ends. */
    if (h->finishing && log->final && r->offset >= log->final_end)
        log->final_end = r->offset + 1;
}

void history_final_start(struct history *h)
{
    history_note(h, "final read");
    h->finishing = true;
    for (int t = 0; t < h->topics_len; t++)
        for (int32_t p = 0; p < h->topics[t].logs_len; p++) {
            struct history_log *log = h->topics[t].logs[p];
            for (int64_t i = 0; log != NULL && i < log->slots_len; i++)
                log->slots[i].final = false;
        }
}

void history_final(struct history *h, int topic, int32_t partition,
                   int64_t start, int64_t end)
{
    struct history_log *log = history_log(h, topic, partition);

    history_note(h, "final %s is %lld to %lld",
                 history_where(h, topic, partition).text, (long long)start,
                 (long long)end);
    log->final = true;
    log->final_start = start;
    log->final_end = end;
}

/* ---- ends of the log ----------------------------------------------------- */

int64_t history_known_end(const struct history_log *log, int32_t epoch,
                          bool only, uint64_t asked)
{
    int64_t known = 0;
    uint32_t n = log->seen_count < SEEN_MAX ? log->seen_count : SEEN_MAX;

    for (uint32_t i = 0; i < n; i++) {
        const struct seen *s = &log->seen[i];
        if (s->tick <= asked && s->end > known &&
            (only ? s->epoch == epoch : s->epoch <= epoch))
            known = s->end;
    }
    return known;
}

static void see(struct history *h, struct history_log *log, int32_t epoch,
                int64_t end)
{
    log->seen[log->seen_count++ % SEEN_MAX] =
        (struct seen){epoch, h->tick, end};
}

void history_watermark(struct history *h, int topic, int32_t partition,
                       int32_t epoch, uint64_t asked, int64_t watermark)
{
    struct history_log *log = history_log(h, topic, partition);

    if (epoch < 0)
        return;
    int64_t known = history_known_end(log, epoch, true, asked);
    if (watermark == known && known != 0)
        return; /* nothing new */
    HISTORY_MARK(h, 4, topic, partition, watermark, epoch);
    HISTORY_TELL(h, "watermark %s is %lld in epoch %d",
                 history_where(h, topic, partition).text, (long long)watermark,
                 epoch);
    if (watermark < known && !h->promise.unclean_possible)
        history_violation(
            h, "watermark",
            "the leader of %s in epoch %d gave high watermark %lld after %lld",
            history_where(h, topic, partition).text, epoch,
            (long long)watermark, (long long)known);
    see(h, log, epoch, watermark);
}

void history_latest(struct history *h, int topic, int32_t partition,
                    int32_t epoch, uint64_t asked, int64_t offset)
{
    struct history_log *log = history_log(h, topic, partition);

    if (epoch < 0)
        return;
    h->counts.offsets++;
    history_note(h, "latest %s is %lld in epoch %d",
                 history_where(h, topic, partition).text, (long long)offset,
                 epoch);
    int64_t known = history_known_end(log, epoch, false, asked);
    if (offset < known && !h->promise.unclean_possible)
        history_violation(
            h, "latest",
            "ListOffsets in epoch %d said that %s ends at %lld, "
            "but an end of %lld had been shown before it was asked",
            epoch, history_where(h, topic, partition).text, (long long)offset,
            (long long)known);
    see(h, log, epoch, offset);
}

void history_by_time(struct history *h, int topic, int32_t partition,
                     int32_t epoch, uint64_t asked, int64_t time_ms,
                     int64_t offset, int64_t found_ms)
{
    struct history_log *log = history_log(h, topic, partition);

    if (epoch < 0)
        return;
    h->counts.offsets++;
    history_note(h, "time %lld of %s is offset %lld with %lld",
                 (long long)time_ms, history_where(h, topic, partition).text,
                 (long long)offset, (long long)found_ms);
    if (log->queries_len % 64 == 0)
        log->queries = xrealloc(log->queries,
                                (log->queries_len + 64) * sizeof *log->queries);
    log->queries[log->queries_len++] = (struct time_query){
        time_ms, offset, found_ms,
        offset >= 0 ? offset : history_known_end(log, epoch, false, asked)};
}

void history_out_of_range(struct history *h, int topic, int32_t partition,
                          int32_t epoch, uint64_t asked, int64_t offset)
{
    struct history_log *log = history_log(h, topic, partition);

    history_note(h, "out of range: %s %lld in epoch %d",
                 history_where(h, topic, partition).text, (long long)offset,
                 epoch);
    int64_t known = history_known_end(log, epoch, false, asked);
    if (epoch >= 0 && !h->promise.unclean_possible && offset <= known &&
        offset >= log->deleted_before)
        history_violation(
            h, "range",
            "the leader of %s in epoch %d said that offset %lld is "
            "out of range, but the log had been shown to reach %lld, and "
            "nothing above %lld was asked to be deleted",
            history_where(h, topic, partition).text, epoch, (long long)offset,
            (long long)known, (long long)log->deleted_before);
}
