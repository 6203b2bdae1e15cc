/* What only the whole log can show, after the final read. */
#include "tests/sim/load/history_parts.h"

#include <stdlib.h>

/* Compaction may take a record of which the log has a later copy, and an
 * unclean election may take that copy; of a record that nobody has heard of, it
 * is not known whether it was one. */
static bool may_be_missing(struct history *h, const struct history_log *log,
                           int64_t offset)
{
    if (!history_is_compacted(h, log->topic))
        return false;
    if (h->promise.unclean_possible || offset >= log->slots_len ||
        log->slots[offset].id.topic < 0)
        return true;
    const struct history_id *id = &log->slots[offset].id;
    for (int64_t i = offset + 1; i < log->slots_len; i++)
        if (log->slots[i].final && log->slots[i].id.producer == id->producer &&
            log->slots[i].id.number == id->number)
            return true;
    return false;
}

/* Every offset from start to end was read, if nothing removes copies, and
 * nothing known lies outside. */
static void judge_extent(struct history *h, const struct history_log *log)
{
    struct history_where where = history_where(h, log->topic, log->partition);

    for (int64_t i = log->final_start; i < log->final_end; i++)
        if ((i >= log->slots_len || !log->slots[i].final) &&
            !may_be_missing(h, log, i)) {
            history_violation(
                h, "gap",
                "%s reaches from %lld to %lld, but offset %lld was "
                "not in the final read",
                where.text, (long long)log->final_start,
                (long long)log->final_end, (long long)i);
            return;
        }
    if (h->promise.unclean_possible)
        return;
    for (int64_t i = 0; i < log->slots_len; i++) {
        const struct slot *s = &log->slots[i];
        if (s->id.topic < 0 || i < log->deleted_before ||
            (i >= log->final_start && i < log->final_end))
            continue;
        history_violation(h, "lost",
                          "%s was %s at offset %lld of %s, which in the end "
                          "reaches from %lld to %lld",
                          history_who(s->id).text,
                          s->read ? "read" : "acknowledged", (long long)i,
                          where.text, (long long)log->final_start,
                          (long long)log->final_end);
        return;
    }
}

/* Ascending: each idempotent record once, sessions in order without holes.  A
 * session may begin with a later sequence: a new leader that never heard of the
 * producer takes whatever comes first (KIP-360), and refuses the rest. */
static void judge_sessions(struct history *h, const struct history_log *log)
{
    struct history_where where = history_where(h, log->topic, log->partition);
    bool holes_possible = log->final_start > 0 || log->deleted_before > 0 ||
                          h->promise.unclean_possible;

    for (int64_t i = log->final_start; i < log->final_end; i++) {
        if (i >= log->slots_len || !log->slots[i].final)
            continue;
        struct sent *s = history_find(h, log->slots[i].id);
        if (s->what.session < 0) {
            s->final_offset = i;
            continue;
        }
        if (s->final_offset >= 0)
            history_violation(h, "duplicate",
                              "%s, which is idempotent, stands at offsets "
                              "%lld and %lld of %s",
                              history_who(s->what.id).text,
                              (long long)s->final_offset, (long long)i,
                              where.text);
        struct session *session = &h->sessions[s->what.session];
        if (s->what.sequence <= session->last && s->final_offset < 0)
            history_violation(h, "reordered",
                              "%s, sequence %lld of session %lld, stands at "
                              "offset %lld of %s behind sequence %lld",
                              history_who(s->what.id).text,
                              (long long)s->what.sequence,
                              (long long)s->what.session, (long long)i,
                              where.text, (long long)session->last);
        else if (s->what.sequence > session->last + 1 && session->last >= 0 &&
                 !holes_possible)
            history_violation(h, "skipped",
                              "%s, sequence %lld of session %lld, stands at "
                              "offset %lld of %s right behind sequence %lld",
                              history_who(s->what.id).text,
                              (long long)s->what.sequence,
                              (long long)s->what.session, (long long)i,
                              where.text, (long long)session->last);
        session->last = s->what.sequence;
        s->final_offset = i;
    }
}

/* Descending: nothing was sent after something behind it was acknowledged. */
static void judge_order(struct history *h, const struct history_log *log)
{
    uint64_t first_acked = UINT64_MAX; /* of the records behind */
    struct history_id which = {0};

    for (int64_t i = log->final_end - 1; i >= log->final_start; i--) {
        if (i >= log->slots_len || !log->slots[i].final)
            continue;
        const struct sent *s = history_find(h, log->slots[i].id);
        if (s->sent_tick > first_acked)
            history_violation(h, "reordered",
                              "%s at offset %lld of %s stands before %s, "
                              "which was acknowledged before it was sent",
                              history_who(s->what.id).text, (long long)i,
                              history_where(h, log->topic, log->partition).text,
                              history_who(which).text);
        if (s->what.acks == -1 && s->acked_tick != 0 && s->acked_offset == i &&
            s->acked_tick < first_acked) {
            first_acked = s->acked_tick;
            which = s->what.id;
        }
    }
}

static void judge_times(struct history *h, const struct history_log *log)
{
    struct history_where where = history_where(h, log->topic, log->partition);

    for (size_t q = 0; q < log->queries_len; q++) {
        const struct time_query *t = &log->queries[q];
        int64_t end =
            t->known_end < log->slots_len ? t->known_end : log->slots_len;
        for (int64_t i = log->deleted_before; i < end; i++)
            if (log->slots[i].read && log->slots[i].timestamp_ms >= t->time_ms)
                history_violation(h, "by-time",
                                  "ListOffsets of %s for time %lld said offset "
                                  "%lld, but offset %lld has time %lld",
                                  where.text, (long long)t->time_ms,
                                  (long long)t->offset, (long long)i,
                                  (long long)log->slots[i].timestamp_ms);
        if (t->offset < 0 || t->offset >= log->slots_len ||
            !log->slots[t->offset].read)
            continue;
        int64_t real = log->slots[t->offset].timestamp_ms;
        if (real != t->found_ms || real < t->time_ms)
            history_violation(h, "by-time",
                              "ListOffsets of %s for time %lld said offset "
                              "%lld with time %lld; its time is %lld",
                              where.text, (long long)t->time_ms,
                              (long long)t->offset, (long long)t->found_ms,
                              (long long)real);
    }
}

/* Acknowledged without an offset: it has to be somewhere. */
static void judge_unplaced(struct history *h)
{
    for (int32_t w = 0; w < h->writers_len; w++)
        for (int64_t i = 0; i < h->writers[w].len; i++) {
            const struct sent *s = &h->writers[w].sent[i];
            if (s->acked_tick == 0 || s->acked_offset >= 0 ||
                s->what.acks != -1)
                continue;
            const struct history_log *log =
                history_log(h, s->what.id.topic, s->what.partition);
            if (log->final && log->deleted_before == 0 && s->final_offset < 0)
                history_violation(
                    h, "lost",
                    "%s was acknowledged as a duplicate, but is "
                    "nowhere in %s",
                    history_who(s->what.id).text,
                    history_where(h, s->what.id.topic, s->what.partition).text);
        }
}

void history_judge(struct history *h)
{
    for (int t = 0; t < h->topics_len; t++)
        for (int32_t p = 0; p < h->topics[t].logs_len; p++) {
            const struct history_log *log = h->topics[t].logs[p];
            if (log == NULL || !log->final)
                continue;
            judge_extent(h, log);
            judge_sessions(h, log);
            if (h->promise.unclean_possible)
                continue;
            judge_order(h, log);
            judge_times(h, log);
        }
    if (!h->promise.unclean_possible)
        judge_unplaced(h);
}
