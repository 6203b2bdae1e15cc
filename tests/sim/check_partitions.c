/* Partitions: what is committed is the same everywhere and for ever.
 *
 * The first leader that moves its high watermark over a batch writes it into
 * the reference; every replica is compared with it up to its own high
 * watermark.
 *
 * On a compacted topic each replica has its own choice of what to have cleaned
 * already: batches may be missing, or have lost records, but those that are
 * there stand where they stood, and nobody has one that was not committed. */
#include "tests/sim/check_parts.h"

#include "base/alloc.h"
#include "broker/controller_role.h"
#include "broker/log/log.h"
#include "broker/replica/partition.h"
#include "controller/service_parts.h"
#include "tests/sim/trace.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES_MAX = 16, SHARDS_MAX = 16 };

/* A committed batch. */
struct reference {
    int64_t base_offset;
    int64_t end_offset;
    uint32_t crc;
    int32_t leader_epoch;
    int32_t in_epoch; /* of the leader that committed it */
};

enum { ASKED_MAX = 16 };

/* One partition epoch, as it was first seen. */
struct version {
    int32_t leader;
    int32_t leader_epoch;
    uint64_t isr; /* bit per broker id */
    int32_t by;
};

struct known {
    char name[80];
    struct reference *batches;
    size_t len;
    size_t cap;
    int64_t committed_end;
    struct map versions;           /* partition epoch -> struct version */
    struct map leaders;            /* leader epoch -> int32_t id */
    struct asked asked[ASKED_MAX]; /* the newest ones, as a ring */
    size_t asked_len;
};

/* One replica as it was last looked at. */
struct replica {
    int process;
    const struct log_dir *dir;
    uint64_t look;          /* which look at its shard that was */
    int64_t high_watermark; /* as leader of `led_epoch` */
    int32_t led_epoch;      /* -1 none */
    int64_t compared;       /* its log was compared up to here */
    int64_t start;          /* and began here */
    int32_t partition_epoch;
    replica_set isr; /* as leader */
    struct promises promises;
    struct insync insync;
};

/* Where the last look at a shard found what belongs to its n-th partition: most
 * looks find the same ones. */
struct found {
    const struct partition *partition;
    uint8_t topic[16];
    int32_t index;
    struct known *known;
    struct replica *replica;
};

struct shard_looks {
    uint64_t count;
    struct found *found;
    size_t cap;
};

struct check_partitions {
    struct check_options options;
    struct map known;    /* topic id, partition -> struct known */
    struct map replicas; /* the same and node id -> struct replica */
    struct shard_looks looks[NODES_MAX][SHARDS_MAX];
    char sentence[512];
};

struct key {
    uint8_t topic[16];
    int32_t partition;
    int32_t node; /* -1: of the partition */
};

struct check_partitions *
check_partitions_new(const struct check_options *options)
{
    struct check_partitions *c = xcalloc(1, sizeof *c);

    c->options = *options;
    return c;
}

static struct key key_of(const struct partition *p, int32_t node)
{
    struct key key = {.partition = p->index, .node = node};

    memcpy(key.topic, p->topic->id.bytes, sizeof key.topic);
    return key;
}

static struct known *known_of(struct check_partitions *c,
                              const struct partition *p)
{
    struct key key = key_of(p, -1);
    struct known *k = map_get(&c->known, slice_of(&key, sizeof key));

    if (k == NULL) {
        k = xcalloc(1, sizeof *k);
        snprintf(k->name, sizeof k->name, "%s-%d", p->topic->name, p->index);
        map_put(&c->known, slice_of(&key, sizeof key), k);
    }
    return k;
}

static struct replica *replica_of(struct check_partitions *c,
                                  const struct partition *p,
                                  const struct node *n)
{
    struct key key = key_of(p, n->id);
    struct replica *r = map_get(&c->replicas, slice_of(&key, sizeof key));

    if (r == NULL) {
        r = xcalloc(1, sizeof *r);
        r->process = -1;
        map_put(&c->replicas, slice_of(&key, sizeof key), r);
    }
    return r;
}

/* A replica that was not there at the last look is another one. */
static void seen_again(struct replica *r, const struct node *n, uint64_t look)
{
    if (r->process != n->process->number || r->look + 1 < look)
        *r = (struct replica){.process = n->process->number,
                              .led_epoch = -1,
                              .partition_epoch = -1};
    r->look = look;
}

static struct found *found_at(struct check_partitions *c,
                              struct shard_looks *looks, size_t at,
                              const struct partition *p, const struct node *n)
{
    if (at >= looks->cap) {
        size_t cap = looks->cap != 0 ? looks->cap * 2 : 16;

        looks->found = xrealloc(looks->found, cap * sizeof *looks->found);
        memset(looks->found + looks->cap, 0,
               (cap - looks->cap) * sizeof *looks->found);
        looks->cap = cap;
    }
    struct found *f = &looks->found[at];
    if (f->partition == p && f->index == p->index &&
        memcmp(f->topic, p->topic->id.bytes, sizeof f->topic) == 0)
        return f;
    *f = (struct found){.partition = p,
                        .index = p->index,
                        .known = known_of(c, p),
                        .replica = replica_of(c, p, n)};
    memcpy(f->topic, p->topic->id.bytes, sizeof f->topic);
    return f;
}

/* ---- committed records --------------------------------------------------- */

struct comparison {
    struct check_partitions *check;
    struct known *known;
    const struct node *node;
    bool leads;
    bool compacted;
    int32_t epoch; /* in which it does */
    int64_t compared;
};

static void add(struct known *k, const struct reference *r)
{
    if (k->len == k->cap) {
        k->cap = k->cap != 0 ? k->cap * 2 : 64;
        k->batches = xrealloc(k->batches, k->cap * sizeof *k->batches);
    }
    k->batches[k->len++] = *r;
    k->committed_end = r->end_offset;
}

static const struct reference *find(const struct known *k, int64_t base_offset)
{
    size_t low = 0, high = k->len;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (k->batches[middle].base_offset < base_offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < k->len ? &k->batches[low] : NULL;
}

static bool compare_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct comparison *m = arg;
    struct known *k = m->known;
    struct reference now = {b->base_offset, batch_last_offset(b) + 1, b->crc,
                            b->leader_epoch, m->epoch};

    (void)bytes;
    if (now.base_offset >= k->committed_end) {
        if (m->leads)
            add(k, &now);
        else
            return false; /* its leader's next turn says what is committed */
    } else {
        const struct reference *old = find(k, now.base_offset);
        if (old == NULL || old->base_offset != now.base_offset ||
            old->end_offset != now.end_offset ||
            (old->crc != now.crc && !m->compacted) ||
            old->leader_epoch != now.leader_epoch)
            history_violation(
                m->check->options.history, "partition-differs",
                "%s: n%d has a batch [%lld, %lld) of epoch %d below its high "
                "watermark, [%lld, %lld) of epoch %d was committed",
                k->name, m->node->id, (long long)now.base_offset,
                (long long)now.end_offset, now.leader_epoch,
                old != NULL ? (long long)old->base_offset : -1,
                old != NULL ? (long long)old->end_offset : -1,
                old != NULL ? old->leader_epoch : -1);
    }
    m->compared = now.end_offset;
    return true;
}

static const struct image *newest_image(const struct check_partitions *c)
{
    const struct image *newest = NULL;

    for (int i = 0; i < *c->options.nodes_len; i++) {
        const struct node *n = c->options.nodes[i];

        if (n->server == NULL || !n->running || !n->is_controller)
            continue;
        const struct image *image =
            &controller_role_service(n->server->controller)->image;
        if (newest == NULL || image->applied_index > newest->applied_index)
            newest = image;
    }
    return newest;
}

/* A node that has not caught up may take what a power loss has left of a
 * topic's namesake, without the file that tells them apart, for a topic that
 * has been deleted meanwhile. */
static bool is_not_known_to_be_deleted(const struct check_partitions *c,
                                       const struct partition *p)
{
    const struct image *image = newest_image(c);

    return !p->shard->settled && image != NULL &&
           image_topic_by_id(image, p->topic->id) == NULL;
}

static void compare_log(struct check_partitions *c, struct known *k,
                        struct replica *r, const struct node *n,
                        struct partition *p)
{
    int64_t start = log_start_offset(p->log), end = log_end_offset(p->log);
    int64_t to = p->high_watermark < end ? p->high_watermark : end;
    struct comparison m = {.check = c,
                           .known = k,
                           .node = n,
                           .leads = p->role == PARTITION_LEADER,
                           .compacted = p->settings->log.compact_policy,
                           .epoch = p->state.leader_epoch};

    /* A log that begins anew, inside a batch of the leader's, begins with all
     * of it. */
    if (start < r->start && r->compared > end)
        r->compared = end;
    r->start = start;
    if (r->compared < start)
        r->compared = start;
    if (end < r->compared && !c->options.loss_possible && p->lost_until == 0)
        history_violation(c->options.history, "partition-truncated",
                          "%s: n%d dropped its log from %lld on, which was "
                          "committed up to %lld",
                          k->name, n->id, (long long)end,
                          (long long)r->compared);
    if (end < r->compared)
        r->compared = end;
    if (to <= r->compared || c->options.loss_possible ||
        is_not_known_to_be_deleted(c, p))
        return;
    m.compared = r->compared;
    if (log_visit(p->log, r->compared, to, compare_batch, &m) == ERR_NONE)
        r->compared = m.compared;
}

/* ---- leaders ------------------------------------------------------------- */

static void check_new_leader(struct check_partitions *c, struct known *k,
                             const struct node *n, const struct partition *p)
{
    int32_t epoch = p->leader->epoch;
    int32_t *leader = map_get(&k->leaders, slice_of(&epoch, sizeof epoch));

    if (leader != NULL && *leader != n->id)
        history_violation(c->options.history, "two-leaders",
                          "%s: n%d and n%d lead epoch %d", k->name, *leader,
                          n->id, epoch);
    if (leader == NULL) {
        leader = xmalloc(sizeof *leader);
        *leader = n->id;
        map_put(&k->leaders, slice_of(&epoch, sizeof epoch), leader);
    }
    if (c->options.loss_possible)
        return;
    /* What was committed since, by a leader of a later epoch, is not its
     * business. */
    int64_t end = k->committed_end;
    for (size_t i = k->len; i > 0 && k->batches[i - 1].in_epoch >= epoch; i--)
        end = k->batches[i - 1].base_offset;
    if (log_end_offset(p->log) < end && p->lost_until == 0)
        history_violation(c->options.history, "partition-lost",
                          "%s: n%d leads epoch %d, and its log ends at %lld; "
                          "%lld had been committed",
                          k->name, n->id, epoch,
                          (long long)log_end_offset(p->log), (long long)end);
}

static const struct partition *partition_on(const struct node *n,
                                            const struct partition *p)
{
    enum err error;

    if (n->server == NULL || !node_ready(n))
        return NULL;
    struct broker *b = &n->server->broker;
    struct shard *s = b->shards[broker_shard_of(b, &p->topic->id, p->index)];
    return shard_partition(s, &p->topic->id, p->index, &error);
}

static void check_isr_has_it(struct check_partitions *c, const struct known *k,
                             const struct node *n, const struct partition *p)
{
    const struct image *image = newest_image(c);
    const struct image_topic *topic =
        image != NULL ? image_topic_by_id(image, p->topic->id) : NULL;
    const struct image_partition *now =
        topic != NULL ? image_partition(topic, p->index) : NULL;

    /* The controller that knew better may have died. */
    if (now == NULL || now->partition_epoch < p->state.partition_epoch ||
        now->leader_epoch != p->leader->epoch || now->leader != n->id)
        return;
    for (int i = 0; i < *c->options.nodes_len; i++) {
        const struct node *other = c->options.nodes[i];
        const int32_t *isr = now->ids + now->replicas_len;
        bool in = false;

        for (int j = 0; j < now->isr_len; j++)
            in = in || isr[j] == other->id;
        if (!in || other == n)
            continue;
        const struct partition *q = partition_on(other, p);
        if (q == NULL || q->role != PARTITION_FOLLOWER || q->log == NULL ||
            q->state.leader_epoch != p->leader->epoch || q->lost_until != 0)
            continue;
        if (log_end_offset(q->log) < p->high_watermark)
            history_violation(c->options.history, "watermark-above-isr",
                              "%s: the high watermark of n%d is %lld, n%d is "
                              "in sync and its log ends at %lld",
                              k->name, n->id, (long long)p->high_watermark,
                              other->id, (long long)log_end_offset(q->log));
    }
}

static void check_leader(struct check_partitions *c, struct known *k,
                         struct replica *r, const struct node *n,
                         const struct partition *p)
{
    bool moved = p->high_watermark != r->high_watermark;

    if (r->led_epoch != p->leader->epoch) {
        check_new_leader(c, k, n, p);
        check_moment(&c->options, MOMENT_LEADER, n);
        r->led_epoch = p->leader->epoch;
        r->high_watermark = p->high_watermark;
    }
    bool joined = (p->leader->isr & ~r->isr) != 0;
    r->isr = p->leader->isr;
    if (p->high_watermark < r->high_watermark)
        history_violation(c->options.history, "watermark-back",
                          "%s: the high watermark of n%d went from %lld to "
                          "%lld in epoch %d",
                          k->name, n->id, (long long)r->high_watermark,
                          (long long)p->high_watermark, p->leader->epoch);
    r->high_watermark = p->high_watermark;
    if ((moved || joined) && !c->options.loss_possible)
        check_isr_has_it(c, k, n, p);
}

/* ---- proposals ----------------------------------------------------------- */

static uint64_t bit_of(int32_t broker) { return UINT64_C(1) << (broker & 63); }

static void note_proposal(struct check_partitions *c, struct known *k,
                          const struct replica *r, const struct node *n,
                          const struct partition *p)
{
    const struct asked *last =
        k->asked_len > 0 ? &k->asked[(k->asked_len - 1) % ASKED_MAX] : NULL;
    struct asked now = {.partition_epoch = p->state.partition_epoch};

    if (!p->leader->in_flight)
        return;
    for (int i = 0; i < p->state.replicas_len; i++) {
        const struct shard_broker *b =
            shard_broker(p->shard, p->state.replicas[i]);

        if (!replica_in(p->leader->isr_proposed, i))
            continue;
        now.isr |= bit_of(p->state.replicas[i]);
        if (p->state.replicas[i] < NODES_MAX && b != NULL)
            now.epochs[p->state.replicas[i]] = b->epoch;
    }
    if (r->insync.in_flight && last != NULL &&
        last->partition_epoch == now.partition_epoch && last->isr == now.isr)
        return;
    k->asked[k->asked_len++ % ASKED_MAX] = now;
    check_moment(&c->options, MOMENT_PROPOSAL, n);
}

const struct asked *check_partitions_asked(struct check_partitions *c,
                                           struct uuid topic, int32_t partition,
                                           int32_t partition_epoch,
                                           uint64_t isr)
{
    struct key key = {.partition = partition, .node = -1};

    memcpy(key.topic, topic.bytes, sizeof key.topic);
    const struct known *k = map_get(&c->known, slice_of(&key, sizeof key));
    if (k == NULL)
        return NULL;
    for (size_t n = k->asked_len; n > 0 && n + ASKED_MAX > k->asked_len; n--) {
        const struct asked *a = &k->asked[(n - 1) % ASKED_MAX];

        if (a->partition_epoch == partition_epoch && a->isr == isr)
            return a;
    }
    return NULL;
}

bool check_partitions_offline(const struct node *n, struct uuid topic,
                              int32_t partition)
{
    enum err error;

    if (n->server == NULL || !n->running)
        return false;
    struct broker *b = &n->server->broker;
    struct shard *s = b->shards[broker_shard_of(b, &topic, partition)];
    const struct partition *p = shard_partition(s, &topic, partition, &error);
    return p != NULL && (p->role == PARTITION_OFFLINE || p->log == NULL ||
                         log_failed(p->log));
}

/* ---- metadata ------------------------------------------------------------ */

static void tell_version(const struct known *k, const struct node *n,
                         const struct partition *p, uint64_t isr)
{
    char text[200];

    snprintf(text, sizeof text,
             "%s: partition epoch %d: leader %d, epoch %d, ISR bits %llx, log "
             "[%lld, %lld), high watermark %lld",
             k->name, p->state.partition_epoch, p->state.leader,
             p->state.leader_epoch, (unsigned long long)isr,
             (long long)log_start_offset(p->log),
             (long long)log_end_offset(p->log), (long long)p->high_watermark);
    trace_detail(n->process->name, text);
}

static void check_version(struct check_partitions *c, struct known *k,
                          struct replica *r, const struct node *n,
                          const struct partition *p)
{
    const struct partition_state *s = &p->state;
    struct version now = {s->leader, s->leader_epoch, 0, n->id};
    struct version *old;

    if (s->partition_epoch == r->partition_epoch || s->partition_epoch < 0)
        return;
    r->partition_epoch = s->partition_epoch;
    for (int i = 0; i < s->replicas_len; i++)
        if (replica_in(s->isr, i))
            now.isr |= bit_of(s->replicas[i]);
    tell_version(k, n, p, now.isr);
    old = map_get(&k->versions,
                  slice_of(&s->partition_epoch, sizeof s->partition_epoch));
    if (old == NULL) {
        old = xmalloc(sizeof *old);
        *old = now;
        map_put(&k->versions,
                slice_of(&s->partition_epoch, sizeof s->partition_epoch), old);
        return;
    }
    /* A broker hears of no leader in its own place before it is registered. */
    if (old->leader_epoch != now.leader_epoch || old->isr != now.isr ||
        (old->leader != now.leader && old->leader >= 0 && now.leader >= 0))
        history_violation(c->options.history, "metadata-differs",
                          "%s: partition epoch %d is leader %d, epoch %d, ISR "
                          "%llx on n%d, and leader %d, epoch %d, ISR %llx on "
                          "n%d",
                          k->name, s->partition_epoch, old->leader,
                          old->leader_epoch, (unsigned long long)old->isr,
                          old->by, now.leader, now.leader_epoch,
                          (unsigned long long)now.isr, n->id);
    if (old->leader < 0)
        old->leader = now.leader;
}

static void note_epochs(struct shard *s, int64_t epochs[NODES_MAX])
{
    for (int i = 0; i < NODES_MAX; i++)
        epochs[i] = -1;
    MAP_EACH (entry, &s->brokers) {
        const struct shard_broker *b = entry->value;

        ASSERT(b->id < NODES_MAX);
        epochs[b->id] = b->epoch;
    }
}

static void note_dir(struct check_partitions *c, struct replica *r,
                     struct node *n, const struct partition *p)
{
    if (r->dir != NULL && r->dir != p->dir)
        check_moment(&c->options, MOMENT_MOVED, n);
    r->dir = p->dir;
}

void check_partitions_turn(struct check_partitions *c, struct node *n,
                           struct shard *s)
{
    ASSERT(n->id < NODES_MAX && s->index < SHARDS_MAX);
    struct shard_looks *looks = &c->looks[n->id][s->index];
    int64_t epochs[NODES_MAX];
    size_t at = 0;

    looks->count++;
    note_epochs(s, epochs);
    MAP_EACH (entry, &s->topics_by_id) {
        struct shard_topic *topic = entry->value;

        for (int32_t i = 0; i < topic->partitions; i++) {
            struct partition *p = topic->local[i];

            if (p == NULL || p->log == NULL)
                continue;
            struct found *f = found_at(c, looks, at++, p, n);
            struct known *k = f->known;
            struct replica *r = f->replica;
            if (p->role == PARTITION_LEADER)
                note_proposal(c, k, r, n, p);
            if (log_failed(p->log))
                continue;
            seen_again(r, n, looks->count);
            note_dir(c, r, n, p);
            struct look look = {&c->options, k->name, n, p, epochs};
            check_version(c, k, r, n, p);
            if (p->role == PARTITION_LEADER)
                check_leader(c, k, r, n, p);
            compare_log(c, k, r, n, p);
            check_promises(&look, &r->promises);
            check_insync(&look, &r->insync,
                         r->insync.gave_up || r->insync.in_flight
                             ? newest_image(c)
                             : NULL);
        }
    }
}

/* ---- the end ------------------------------------------------------------- */

/* What the leader thinks, added to the sentence. */
static void describe_followers(struct check_partitions *c,
                               const struct partition *p)
{
    const struct leader *l = p->leader;
    size_t at = strlen(c->sentence);

    for (int i = 0; i < l->replica_count && at < sizeof c->sentence; i++) {
        const struct leader_follower *f = &l->followers[i];

        snprintf(
            c->sentence + at, sizeof c->sentence - at, "; n%d: end %lld%s%s%s",
            p->state.replicas[i], (long long)f->end_offset,
            f->eligible ? "" : " not eligible", f->silent ? " silent" : "",
            l->in_flight && replica_in(l->isr_proposed, i) ? " proposed" : "");
        at = strlen(c->sentence);
    }
}

static const char *replica_unhealed(struct check_partitions *c, bool still,
                                    const struct node *n,
                                    const struct partition *p)
{
    const char *why = NULL;
    const struct partition *leader = NULL;

    for (int i = 0; i < *c->options.nodes_len; i++)
        if (c->options.nodes[i]->id == p->state.leader)
            leader = partition_on(c->options.nodes[i], p);
    if (p->log == NULL || p->role == PARTITION_OFFLINE)
        why = "is offline";
    else if (leader == NULL || leader->role != PARTITION_LEADER)
        why = "has no leader";
    else if (replica_set_size(p->state.isr) != p->state.replicas_len)
        why = "is not in sync";
    else if (leader->leader->in_flight)
        why = "may leave or join the in-sync set";
    else if (still && (log_end_offset(p->log) != log_end_offset(leader->log) ||
                       p->high_watermark != log_end_offset(p->log)))
        why = "has not caught up";
    if (why == NULL)
        return NULL;
    snprintf(c->sentence, sizeof c->sentence,
             "%s-%d on n%d %s (leader %d, epoch %d, ISR %x of %d replicas; end "
             "%lld, high watermark %lld, the leader's %lld and %lld)",
             p->topic->name, p->index, n->id, why, p->state.leader,
             p->state.leader_epoch, p->state.isr, p->state.replicas_len,
             p->log != NULL ? (long long)log_end_offset(p->log) : -1,
             (long long)p->high_watermark,
             leader != NULL && leader->log != NULL
                 ? (long long)log_end_offset(leader->log)
                 : -1,
             leader != NULL ? (long long)leader->high_watermark : -1);
    if (leader != NULL && leader->leader != NULL)
        describe_followers(c, leader);
    return c->sentence;
}

const char *check_partitions_unhealed(struct check_partitions *c, bool still)
{
    for (int i = 0; i < *c->options.nodes_len; i++) {
        const struct node *n = c->options.nodes[i];

        if (n->server == NULL || !n->is_broker)
            continue;
        for (int j = 0; j < n->server->broker.shards_len; j++) {
            struct shard *s = n->server->broker.shards[j];

            MAP_EACH (entry, &s->topics_by_id) {
                struct shard_topic *topic = entry->value;

                for (int32_t k = 0; k < topic->partitions; k++) {
                    const char *why =
                        topic->local[k] != NULL
                            ? replica_unhealed(c, still, n, topic->local[k])
                            : NULL;
                    if (why != NULL)
                        return why;
                }
            }
        }
    }
    return NULL;
}
