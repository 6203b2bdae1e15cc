/* Who is in sync, and what counts for the high watermark: each rule of a leader
 * by itself, so that nobody has to lose a record before it is seen. */
#include "broker/fetch_part.h"
#include "broker/log/state.h"
#include "broker/replica/fetcher.h"
#include "tests/sim/check_parts.h"

static void violation(const struct look *l, const char *checker,
                      const char *what, int64_t number)
{
    history_violation(l->options->history, checker, "%s: n%d %s %lld", l->name,
                      l->node->id, what, (long long)number);
}

/* ---- leaders ------------------------------------------------------------- */

/* The set that held all the time since the last look was too small. */
static void check_min_isr(const struct look *l, const struct insync *q)
{
    const struct leader *a = l->partition->leader;

    if (a->high_watermark > q->high_watermark && a->min_isr == q->min_isr &&
        a->isr == q->isr &&
        l->partition->state.partition_epoch == q->partition_epoch &&
        replica_set_size(a->isr) < a->min_isr)
        violation(l, "below-min-isr",
                  "moved its high watermark with fewer replicas in sync than",
                  a->min_isr);
}

static void check_proposal(const struct look *l, const struct insync *q)
{
    const struct leader *a = l->partition->leader;

    if (!a->in_flight ||
        (q->in_flight && q->proposed == a->isr_proposed &&
         q->partition_epoch == l->partition->state.partition_epoch))
        return;
    for (int i = 0; i < a->replica_count; i++) {
        const struct leader_follower *f = &a->followers[i];

        /* Session 0: it registered again since. */
        if (i != a->self && f->session != 0 && replica_in(a->isr_proposed, i) &&
            !replica_in(a->isr, i) &&
            (f->end_offset < l->partition->led_from_offset ||
             f->end_offset < a->high_watermark))
            violation(l, "joins-behind",
                      "proposes a replica for its in-sync set that ends at",
                      f->end_offset);
    }
}

static void check_epoch_noted(const struct look *l)
{
    const struct partition *p = l->partition;

    if (epoch_cache_latest(&p->log->epochs) != p->leader->epoch)
        violation(l, "epoch-missing",
                  "leads, and its log does not say where its epoch began:",
                  p->leader->epoch);
}

enum { NO_SESSION = -2 }; /* it was closed meanwhile */

/* By which life of the broker the follower's last fetch came. */
static int64_t epoch_of_session(const struct partition *p, uint64_t session,
                                int32_t broker)
{
    LIST_EACH (node, &p->watches) {
        const struct partition_watch *w =
            LIST_ENTRY(node, struct partition_watch, link);
        const struct fetch_entry *e =
            (const struct fetch_entry *)(const void *)w;

        if (!w->sees_uncommitted)
            continue; /* no follower's; share groups watch as well */
        if (e->part->number == session && e->part->replica_id == broker)
            return e->part->replica_epoch;
    }
    return NO_SESSION;
}

static void check_lives(const struct look *l, struct insync *q, bool same)
{
    const struct partition *p = l->partition;
    const struct leader *a = p->leader;

    for (int i = 0; i < a->replica_count; i++) {
        const struct leader_follower *f = &a->followers[i];
        int64_t epoch = l->broker_epochs[p->state.replicas[i]];

        if (i == a->self) {
            q->brokers[i] = -1; /* it may have another place soon */
            continue;
        }
        bool anew = same && q->brokers[i] == p->state.replicas[i] &&
                    q->broker_epochs[i] > 0 && epoch > q->broker_epochs[i] &&
                    f->end_offset >= 0;
        if (f->session != 0 && (anew || f->session != q->sessions[i] ||
                                f->end_offset != q->ends[i])) {
            int64_t by = epoch_of_session(p, f->session, p->state.replicas[i]);

            /* The new life may have fetched before the leader heard of it. */
            if (by < epoch && (by != NO_SESSION || anew))
                violation(l, "earlier-life",
                          "counts what an earlier life of a follower had,",
                          f->end_offset);
        }
        q->brokers[i] = p->state.replicas[i];
        q->broker_epochs[i] = epoch;
        q->sessions[i] = f->session;
        q->ends[i] = f->end_offset;
    }
}

/* A proposal was given up; if it was accepted even so, the leader counts less
 * than the controller elects from. */
static void check_given_up(const struct look *l, struct insync *q,
                           const struct image *newest)
{
    const struct partition *p = l->partition;
    const struct leader *a = p->leader;

    if (q->partition_epoch != p->state.partition_epoch)
        q->gave_up = false;
    else if (q->in_flight && !a->in_flight)
        q->gave_up = true;
    if (!q->gave_up || newest == NULL)
        return;
    const struct image_topic *topic = image_topic_by_id(newest, p->topic->id);
    const struct image_partition *now =
        topic != NULL ? image_partition(topic, p->index) : NULL;
    if (now == NULL || now->leader != l->node->id ||
        now->leader_epoch != a->epoch ||
        now->partition_epoch <= p->state.partition_epoch)
        return;
    struct image_ids isr = image_isr(now);
    for (int i = 0; i < p->state.replicas_len; i++)
        if (image_ids_have(isr, p->state.replicas[i]) &&
            !replica_in(
                (replica_set)(a->isr | a->isr_proposed | a->isr_doubted), i))
            violation(l, "isr-forgotten",
                      "does not wait for a replica that it made in sync:",
                      p->state.replicas[i]);
}

static void check_leading(const struct look *l, struct insync *q,
                          const struct image *newest)
{
    const struct partition *p = l->partition;
    const struct leader *a = p->leader;
    bool same = q->leads && q->epoch == a->epoch;

    if (!same)
        *q = (struct insync){.leads = true, .epoch = a->epoch};
    check_epoch_noted(l);
    check_lives(l, q, same);
    check_proposal(l, q);
    if (same) {
        check_min_isr(l, q);
        check_given_up(l, q, newest);
    }
    q->partition_epoch = p->state.partition_epoch;
    q->min_isr = a->min_isr;
    q->isr = a->isr;
    q->proposed = a->isr_proposed;
    q->in_flight = a->in_flight;
    q->high_watermark = a->high_watermark;
}

/* ---- followers ----------------------------------------------------------- */

static void check_following(const struct look *l, struct insync *q)
{
    const struct partition *p = l->partition;
    int64_t end = log_end_offset(p->log);
    bool same = q->fetcher != NULL && q->fetcher == p->fetcher &&
                q->epoch == p->state.leader_epoch &&
                q->fetch_seq == p->fetch_seq;

    if (same && (end != q->end || p->high_watermark != q->high_watermark) &&
        (fetcher_awaits(p) || q->will_ask))
        violation(l, "old-answer",
                  "took something else than the answer to its last request; "
                  "its log ends at",
                  end);
    *q = (struct insync){.fetcher = p->fetcher,
                         .epoch = p->state.leader_epoch,
                         .fetch_seq = p->fetch_seq,
                         .will_ask = !list_unlinked(&p->changed_link),
                         .end = end,
                         .high_watermark = p->high_watermark};
}

/* ---- all ----------------------------------------------------------------- */

static void check_log(const struct look *l)
{
    const struct partition *p = l->partition;

    if (p->high_watermark > log_end_offset(p->log))
        violation(l, "watermark-beyond",
                  "has less than its high watermark says, which is",
                  p->high_watermark);
}

void check_insync(const struct look *l, struct insync *q,
                  const struct image *newest)
{
    check_log(l);
    if (l->partition->role == PARTITION_LEADER)
        check_leading(l, q, newest);
    else if (l->partition->role == PARTITION_FOLLOWER)
        check_following(l, q);
    else
        *q = (struct insync){0};
}
