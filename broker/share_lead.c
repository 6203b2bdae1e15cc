#include "broker/share_lead.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/heap.h"
#include "base/log.h"
#include "broker/share_client.h"
#include "broker/share_read.h"
#include "broker/share_settings.h"

#include <stdlib.h>

enum {
    ASK_MS = 5000,
    FAILED_MS = 1000, /* until it is tried again */
    /* Nothing acquired, nobody fetches.  Less than a member may be silent: when
     * a group is deleted and made again, nothing of its old life is here. */
    IDLE_MS = 30000,
    KEY_BYTES = 16 + 4, /* and the group */
};

/* A write on its way: a copy, for the share-partition may end before it. */
struct share_writing {
    struct share_ask_call call;
    struct share_lead *lead; /* NULL: it has ended */
    struct list link;        /* leads->asking */
    struct slice group;      /* owned */
    uint64_t id;
    struct share_batch *batches; /* owned */
};

struct share_reading {
    struct share_ask_call call;
    struct share_lead *lead; /* NULL: it has ended */
    struct list link;        /* leads->asking */
    struct slice group;      /* owned */
};

struct share_lead {
    struct share_leads *leads;
    struct partition *partition;
    struct partition_watch watch; /* of the partition */
    struct slice key;             /* owned; topic id, index, group */
    int32_t leader_epoch;
    struct share_partition *core; /* NULL until it is loaded */
    enum err error; /* why it cannot be loaded, as fetches are told */
    /* ---- loading ---------------------------------------------------------*/
    struct share_reading *reading; /* NULL: none is on its way */
    bool has_state;                /* waits for the high watermark */
    int32_t state_epoch;
    int64_t start_offset;
    struct share_batch *batches; /* owned */
    uint32_t batches_len;
    /* ---- live ------------------------------------------------------------*/
    struct share_writing *writing; /* the newest */
    struct list watches;           /* share_watch.link */
    /* Sessions that have fetched from it, by their owner's bytes: without any
     * it leaves memory, so that who comes next reads what is stored anew. */
    struct map users;
    bool used; /* there was one */
    struct heap_node due;
    int64_t used_ms;
};

struct share_leads {
    struct shard *shard;
    struct map by_key; /* of struct share_lead, owned */
    struct heap due;
    struct env_timer timer;
    struct list readings; /* on their way, of share_reading.link */
    struct list writings; /* likewise */
};

static int64_t now_ms(const struct share_lead *lead)
{
    return env_now_ms(lead->leads->shard->env);
}

static struct slice group_of(const struct share_lead *lead)
{
    return slice_of(lead->key.data + KEY_BYTES, lead->key.len - KEY_BYTES);
}

/* ---- time ----------------------------------------------------------------*/

static void rearm(struct share_leads *leads)
{
    const struct heap_node *first = heap_first(&leads->due);
    int64_t now = env_now_ms(leads->shard->env);

    if (first == NULL)
        env_timer_stop(leads->shard->env, &leads->timer);
    else
        env_timer_start(leads->shard->env, &leads->timer,
                        first->key > now ? first->key - now : 0);
}

static void set_due(struct share_lead *lead)
{
    int64_t at_ms = lead->core == NULL
                        ? lead->used_ms + FAILED_MS
                        : share_partition_next_deadline(lead->core);
    int64_t idle_ms = lead->used_ms + IDLE_MS;

    if (lead->core == NULL && lead->error == ERR_NONE)
        at_ms = INT64_MAX; /* it is being loaded */
    else if (lead->core != NULL && idle_ms < at_ms)
        at_ms = idle_ms;
    if (at_ms == INT64_MAX)
        heap_remove(&lead->leads->due, &lead->due);
    else
        heap_set(&lead->leads->due, &lead->due, at_ms);
    rearm(lead->leads);
}

/* ---- news ----------------------------------------------------------------*/

void share_lead_watch(struct share_lead *lead, struct share_watch *w)
{
    list_push_back(&lead->watches, &w->link);
}

static void tell_news(struct list *watches)
{
    struct list told;

    list_init(&told);
    list_append_all(&told, watches);
    for (struct list *node; (node = list_pop_front(&told)) != NULL;) {
        struct share_watch *w = LIST_ENTRY(node, struct share_watch, link);

        w->news(w);
    }
}

/* ---- the end -------------------------------------------------------------*/

static void end_waiters(struct share_update *update)
{
    for (struct list *node; (node = list_pop_front(&update->ended)) != NULL;) {
        struct share_lead_waiter *w =
            LIST_ENTRY(LIST_ENTRY(node, struct share_waiter, link),
                       struct share_lead_waiter, waiter);

        w->done(w);
    }
}

/* Fetches that wait look again, and find another one or hear why there is
 * none. */
static void lead_end(struct share_lead *lead)
{
    struct share_leads *leads = lead->leads;
    struct share_update update;
    struct list watches;

    share_update_init(&update);
    list_init(&watches);
    list_append_all(&watches, &lead->watches);
    partition_unwatch(&lead->watch);
    heap_remove(&leads->due, &lead->due);
    map_remove(&leads->by_key, lead->key);
    if (lead->reading != NULL)
        lead->reading->lead = NULL;
    if (lead->writing != NULL)
        lead->writing->lead = NULL;
    if (lead->core != NULL) {
        share_partition_close(lead->core, &update);
        share_partition_free(lead->core);
    }
    free(lead->batches);
    free((void *)lead->key.data);
    map_free(&lead->users);
    free(lead);
    end_waiters(&update);
    tell_news(&watches);
}

/* ---- what the core asks for ----------------------------------------------*/

static void carry_out(struct share_lead *lead, struct share_update *update);

static void written(struct share_ask_call *call)
{
    struct share_writing *w = LIST_ENTRY(call, struct share_writing, call);
    struct share_lead *lead = w->lead;
    enum err err = call->question.err;
    uint64_t id = w->id;
    struct share_update update;

    list_remove(&w->link);
    free((void *)w->group.data);
    free(w->batches);
    free(w);
    if (lead == NULL)
        return;
    lead->writing = NULL;
    share_update_init(&update);
    share_partition_written(lead->core, id, err, now_ms(lead), &update);
    carry_out(lead, &update);
}

static void send_write(struct share_lead *lead, const struct share_write *from)
{
    struct share_writing *w = xcalloc(1, sizeof *w);
    struct slice group = group_of(lead);

    ASSERT(lead->writing == NULL); /* its end makes the next */
    lead->writing = w;
    w->lead = lead;
    w->id = from->id;
    w->group = slice_of(slice_dup(group), group.len);
    if (from->batches_len != 0)
        w->batches =
            xmemdup(from->batches, from->batches_len * sizeof *from->batches);
    w->call = (struct share_ask_call){
        .question =
            {
                .api = API_WRITE_SHARE_GROUP_STATE,
                .group = w->group,
                .topic = lead->partition->topic->id,
                .partition = lead->partition->index,
                .deadline_ms = now_ms(lead) + ASK_MS,
                .state_epoch = from->state_epoch,
                .leader_epoch = from->leader_epoch,
                .start_offset = from->start_offset,
                .complete = from->delivery_complete_count,
                .batches = w->batches,
                .batches_len = from->batches_len,
            },
        .shard = lead->leads->shard,
        .done = written,
    };
    list_push_back(&lead->leads->writings, &w->link);
    share_client_ask(&w->call);
}

static bool is_unused(const struct share_lead *lead)
{
    return lead->used && map_count(&lead->users) == 0 &&
           list_empty(&lead->watches) && share_partition_is_idle(lead->core);
}

/* Waiters may make the next request from inside, so the lead is not touched
 * after them. */
static void carry_out(struct share_lead *lead, struct share_update *update)
{
    struct list watches, ended;

    list_init(&watches);
    list_init(&ended);
    list_append_all(&ended, &update->ended);
    if (share_partition_is_closed(lead->core)) {
        lead_end(lead);
    } else {
        if (update->write != NULL)
            send_write(lead, update->write);
        if (update->news)
            list_append_all(&watches, &lead->watches);
        set_due(lead);
        if (list_empty(&watches) && is_unused(lead))
            lead_end(lead);
    }
    list_append_all(&update->ended, &ended);
    end_waiters(update);
    tell_news(&watches);
}

/* ---- loading -------------------------------------------------------------*/

/* What fetches are told; ERR_NONE: they wait. */
static enum err load_error(enum err err)
{
    switch (err) {
    case ERR_FENCED_LEADER_EPOCH: /* we are the old one */
        return ERR_NOT_LEADER_OR_FOLLOWER;
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    default:
        return ERR_UNKNOWN_SERVER_ERROR;
    }
}

static void load_failed(struct share_lead *lead, enum err err)
{
    struct list watches;

    list_init(&watches);
    list_append_all(&watches, &lead->watches);
    lead->error = load_error(err);
    lead->used_ms = now_ms(lead);
    set_due(lead);
    tell_news(&watches);
}

/* Where a group begins that has not been anywhere.  While the high watermark
 * may be below what an earlier leader has shown, the end is not known. */
static bool initial_offset(const struct share_lead *lead, int64_t *offset)
{
    const struct partition *p = lead->partition;
    struct share_settings settings;

    share_settings_of(lead->leads->shard, group_of(lead), &settings);
    if (settings.reset.kind != SHARE_RESET_EARLIEST &&
        p->high_watermark < p->led_from_offset)
        return false;
    *offset = share_read_initial(p, &settings.reset);
    return true;
}

/* True: it is live. */
static bool go_live(struct share_lead *lead)
{
    struct share_settings settings;
    struct share_update update;
    struct share_loaded loaded = {
        .state_epoch = lead->state_epoch,
        .start_offset = lead->start_offset,
        .batches = lead->batches,
        .batches_len = lead->batches_len,
    };

    if (lead->start_offset == SHARE_START_UNKNOWN &&
        !initial_offset(lead, &loaded.initial_offset))
        return false;
    share_settings_of(lead->leads->shard, group_of(lead), &settings);
    share_update_init(&update);
    lead->core = share_partition_create(&settings.partition, lead->leader_epoch,
                                        &loaded, &update);
    lead->has_state = false;
    free(lead->batches);
    lead->batches = NULL;
    if (lead->core == NULL) {
        log_error("share",
                  "What is stored of share group %.*s in %s-%d makes no sense; "
                  "its records there stay undelivered",
                  SLICE_FMT(group_of(lead)), lead->partition->topic->name,
                  lead->partition->index);
        load_failed(lead, ERR_UNKNOWN_SERVER_ERROR);
        return true;
    }
    update.news = true;
    carry_out(lead, &update);
    return true;
}

static void load(struct share_lead *lead);

/* A coordinator that does not answer may do so later, and was asked for as long
 * as a question lasts.  What it says otherwise it would say again at once. */
static void not_loaded(struct share_lead *lead, enum err err)
{
    switch (err) {
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_NOT_COORDINATOR:
    case ERR_REQUEST_TIMED_OUT:
    case ERR_CLOSED:
        if (list_empty(&lead->watches))
            lead_end(lead);
        else
            load(lead);
        break;
    default:
        load_failed(lead, err);
    }
}

static void read_done(struct share_ask_call *call)
{
    struct share_reading *r = LIST_ENTRY(call, struct share_reading, call);
    struct share_lead *lead = r->lead;
    struct share_question q = call->question;

    list_remove(&r->link);
    free((void *)r->group.data);
    free(r);
    if (lead == NULL) {
        free(q.told.batches);
        return;
    }
    lead->reading = NULL;
    if (q.err != ERR_NONE) {
        free(q.told.batches);
        not_loaded(lead, q.err);
        return;
    }
    lead->has_state = true;
    lead->state_epoch = q.told.state_epoch;
    lead->start_offset = q.told.start_offset;
    lead->batches = q.told.batches;
    lead->batches_len = q.told.len;
    go_live(lead);
}

static void load(struct share_lead *lead)
{
    struct share_reading *r = xcalloc(1, sizeof *r);
    struct slice group = group_of(lead);

    lead->reading = r;
    r->lead = lead;
    r->group = slice_of(slice_dup(group), group.len);
    r->call = (struct share_ask_call){
        .question =
            {
                .api = API_READ_SHARE_GROUP_STATE,
                .group = r->group,
                .topic = lead->partition->topic->id,
                .partition = lead->partition->index,
                .deadline_ms = now_ms(lead) + ASK_MS,
                .leader_epoch = lead->leader_epoch,
            },
        .shard = lead->leads->shard,
        .done = read_done,
    };
    list_push_back(&lead->leads->readings, &r->link);
    share_client_ask(&r->call);
}

/* ---- the partition's news ------------------------------------------------*/

static bool still_leads(const struct share_lead *lead)
{
    const struct partition *p = lead->partition;

    return partition_check_leader(p, -1) == ERR_NONE &&
           p->state.leader_epoch == lead->leader_epoch;
}

static void on_changed(struct partition_watch *w, bool data)
{
    struct share_lead *lead = LIST_ENTRY(w, struct share_lead, watch);

    if (!still_leads(lead))
        lead_end(lead);
    else if (lead->has_state)
        go_live(lead);
    else if (data && lead->core != NULL)
        tell_news(&lead->watches);
}

static void on_gone(struct partition_watch *w)
{
    lead_end(LIST_ENTRY(w, struct share_lead, watch));
}

/* ---- found and made ------------------------------------------------------*/

static struct slice key_of(struct buf *out, const struct partition *p,
                           struct slice group)
{
    buf_put(out, p->topic->id.bytes, sizeof p->topic->id.bytes);
    buf_put_u32(out, (uint32_t)p->index);
    buf_put_slice(out, group);
    return buf_slice(out);
}

struct share_lead *share_lead_find(struct partition *p, struct slice group)
{
    struct buf key = BUF_INIT;
    struct share_lead *lead =
        map_get(&p->shard->share_leads->by_key, key_of(&key, p, group));

    buf_free(&key);
    return lead;
}

static struct share_lead *lead_new(struct partition *p, struct slice group)
{
    struct share_leads *leads = p->shard->share_leads;
    struct share_lead *lead = xcalloc(1, sizeof *lead);
    struct buf key = BUF_INIT;

    lead->leads = leads;
    lead->partition = p;
    lead->leader_epoch = p->state.leader_epoch;
    lead->key = key_of(&key, p, group); /* owned from here on */
    lead->watch.changed = on_changed;
    lead->watch.gone = on_gone;
    lead->watch.sees_stable = false;
    list_init(&lead->watch.link);
    list_init(&lead->watches);
    map_put(&leads->by_key, lead->key, lead);
    partition_watch(p, &lead->watch);
    load(lead);
    return lead;
}

struct share_lead *share_lead_get(struct partition *p, struct slice group)
{
    struct share_lead *lead = share_lead_find(p, group);

    if (lead == NULL)
        lead = lead_new(p, group);
    if (lead->error == ERR_NONE)
        lead->used_ms = now_ms(lead);
    return lead;
}

/* ---- requests ------------------------------------------------------------*/

enum err share_lead_take(struct share_lead *lead, const struct share_take *take,
                         struct share_taken *taken)
{
    struct share_settings settings;
    struct share_update update;

    if (lead->core == NULL)
        return lead->error;
    map_put(&lead->users, take->owner, lead);
    lead->used = true;
    share_settings_of(lead->leads->shard, group_of(lead), &settings);
    lead->watch.sees_stable = settings.read_committed;
    share_partition_configure(lead->core, &settings.partition);
    share_update_init(&update);
    enum err error = share_read(lead->partition, lead->core, take,
                                settings.read_committed, taken, &update);
    carry_out(lead, &update);
    return error;
}

void share_lead_acknowledge(struct share_lead *lead, struct slice owner,
                            const struct share_ack *acks, uint32_t acks_len,
                            struct share_lead_waiter *w)
{
    struct share_update update;

    list_init(&w->waiter.link);
    if (lead->core == NULL) { /* so nobody has anything of it */
        w->waiter.err = ERR_INVALID_RECORD_STATE;
        w->done(w);
        return;
    }
    share_update_init(&update);
    share_partition_acknowledge(lead->core, owner, acks, acks_len, now_ms(lead),
                                &w->waiter, &update);
    carry_out(lead, &update);
}

void share_lead_release(struct share_lead *lead, struct slice owner)
{
    struct share_update update;

    map_remove(&lead->users, owner);
    if (lead->core == NULL)
        return;
    share_update_init(&update);
    share_partition_release(lead->core, owner, NULL, &update);
    carry_out(lead, &update);
}

void share_lead_forget(struct share_lead *lead, struct slice owner)
{
    struct share_update update;

    map_remove(&lead->users, owner);
    if (lead->core == NULL)
        return;
    share_update_init(&update);
    carry_out(lead, &update);
}

/* ---- time ----------------------------------------------------------------*/

static bool is_idle(const struct share_lead *lead)
{
    return now_ms(lead) >= lead->used_ms + IDLE_MS &&
           share_partition_is_idle(lead->core) && list_empty(&lead->watches);
}

static void lead_tick(struct share_lead *lead)
{
    struct share_update update;

    if (lead->core == NULL || is_idle(lead)) {
        lead_end(lead); /* fetches that wait try again */
        return;
    }
    if (now_ms(lead) >= lead->used_ms + IDLE_MS)
        lead->used_ms = now_ms(lead); /* looked at again later */
    share_update_init(&update);
    share_partition_tick(lead->core, now_ms(lead), &update);
    carry_out(lead, &update);
}

/* The end of a failed one lets fetches make another at once, so only what was
 * due when the timer fired is looked at. */
static void on_timer(void *arg)
{
    struct share_leads *leads = arg;
    int64_t now = env_now_ms(leads->shard->env);
    size_t most = leads->due.len;

    for (size_t i = 0; i < most; i++) {
        struct heap_node *first = heap_first(&leads->due);

        if (first == NULL || first->key > now)
            break;
        lead_tick(HEAP_ENTRY(first, struct share_lead, due));
    }
    rearm(leads);
}

/* ---- life ----------------------------------------------------------------*/

struct share_leads *share_leads_new(struct shard *s)
{
    struct share_leads *leads = xcalloc(1, sizeof *leads);

    leads->shard = s;
    leads->timer = (struct env_timer){.fn = on_timer, .arg = leads};
    list_init(&leads->readings);
    list_init(&leads->writings);
    return leads;
}

void share_leads_free(struct share_leads *leads)
{
    ASSERT(map_count(&leads->by_key) == 0); /* their partitions are gone */
    env_timer_stop(leads->shard->env, &leads->timer);
    for (struct list *node;
         (node = list_pop_front(&leads->readings)) != NULL;) {
        struct share_reading *r = LIST_ENTRY(node, struct share_reading, link);

        free(r->call.question.told.batches);
        free((void *)r->group.data);
        free(r);
    }
    for (struct list *node;
         (node = list_pop_front(&leads->writings)) != NULL;) {
        struct share_writing *w = LIST_ENTRY(node, struct share_writing, link);

        free((void *)w->group.data);
        free(w->batches);
        free(w);
    }
    map_free(&leads->by_key);
    heap_free(&leads->due);
    free(leads);
}
