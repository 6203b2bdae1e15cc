#include "broker/share_home.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/shard.h"
#include "broker/share_lead.h"
#include "broker/share_settings.h"

#include <stdlib.h>

struct share_home {
    struct shard *shard;
    struct share_sessions sessions;
};

/* ---- life ----------------------------------------------------------------*/

struct share_home *share_home_new(struct shard *s)
{
    struct share_home *home = xcalloc(1, sizeof *home);
    struct share_sessions_config config;
    uint32_t most = (uint32_t)s->broker->config->share_max_sessions;
    uint32_t shards = (uint32_t)s->broker->shards_len;

    share_sessions_config_init(&config);
    config.max_sessions = (most + shards - 1) / shards;
    config.max_partitions /= shards;
    home->shard = s;
    share_sessions_init(&home->sessions, &config);
    return home;
}

void share_home_free(struct share_home *home)
{
    share_sessions_free(&home->sessions);
    free(home);
}

static void make_owner(const struct shard *s, uint64_t number,
                       uint8_t out[static SHARE_OWNER_BYTES])
{
    be32_put(out, (uint32_t)s->index);
    be64_put(out + 4, number);
}

/* ---- releases ------------------------------------------------------------*/

/* To one shard. */
struct release {
    struct env_task task;
    struct shard *shard;
    struct slice group; /* owned */
    uint8_t owner[SHARE_OWNER_BYTES];
    bool forgotten;                   /* only fetches no more */
    struct share_session_name *names; /* owned */
    size_t len;
};

static void release_run(struct env_task *task)
{
    struct release *r = LIST_ENTRY(task, struct release, task);
    enum err error;

    for (size_t i = 0; i < r->len; i++) {
        struct partition *p = shard_partition(r->shard, &r->names[i].topic,
                                              r->names[i].partition, &error);
        struct share_lead *lead =
            p == NULL ? NULL : share_lead_find(p, r->group);

        struct slice owner = slice_of(r->owner, SHARE_OWNER_BYTES);

        if (lead != NULL && r->forgotten)
            share_lead_forget(lead, owner);
        else if (lead != NULL)
            share_lead_release(lead, owner);
    }
    free((void *)r->group.data);
    free(r->names);
    free(r);
}

static void release_start(struct shard *home, struct shard *to,
                          struct slice group, uint64_t number, bool forgotten,
                          const struct share_session_name *names, size_t len)
{
    struct broker *broker = home->broker;
    struct release *r = xcalloc(1, sizeof *r);

    r->task.fn = release_run;
    r->shard = to;
    r->forgotten = forgotten;
    r->group = slice_of(slice_dup(group), group.len);
    make_owner(home, number, r->owner);
    r->names = xcalloc(len, sizeof *r->names);
    for (size_t i = 0; i < len; i++)
        if (broker_shard_of(broker, &names[i].topic, names[i].partition) ==
            to->index)
            r->names[r->len++] = names[i];
    env_post(to->env, &r->task);
}

static void release_all(struct shard *home, struct slice group, uint64_t number,
                        bool forgotten, const struct share_session_name *names,
                        size_t len)
{
    struct broker *broker = home->broker;
    size_t *counts = xcalloc((size_t)broker->shards_len, sizeof *counts);

    for (size_t i = 0; i < len; i++)
        counts[broker_shard_of(broker, &names[i].topic, names[i].partition)]++;
    for (int i = 0; i < broker->shards_len; i++)
        if (counts[i] != 0)
            release_start(home, broker->shards[i], group, number, forgotten,
                          names, len);
    free(counts);
}

static void session_ended(struct shard *home, struct share_session *session)
{
    size_t len = 0;
    struct share_session_name *names =
        xcalloc(map_count(&session->by_id) + 1, sizeof *names);

    LIST_EACH (node, &session->partitions) {
        const struct share_session_partition *p =
            LIST_ENTRY(node, struct share_session_partition, link);

        names[len++] = (struct share_session_name){p->topic, p->partition};
    }
    release_all(home, session->group, session->number, false, names, len);
    free(names);
    share_session_free(session);
}

static void sessions_ended(struct shard *home, struct list *ended)
{
    for (struct list *node; (node = list_pop_front(ended)) != NULL;)
        session_ended(home, LIST_ENTRY(node, struct share_session, link));
}

void share_home_disconnect(struct shard *s, struct share_connection *c)
{
    struct list ended;

    list_init(&ended);
    share_sessions_disconnect(&s->share_home->sessions, c, &ended);
    sessions_ended(s, &ended);
}

/* ---- one request ---------------------------------------------------------*/

enum err share_call_check(const struct share_call *call)
{
    if (call->group.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (call->member.len == 0 || call->epoch < SHARE_EPOCH_FINAL)
        return ERR_INVALID_REQUEST;
    return ERR_NONE;
}

bool share_acks_ok(const struct share_call *call, const struct share_ack *acks,
                   uint32_t acks_len)
{
    int8_t most = call->renews ? SHARE_ACK_RENEW : SHARE_ACK_REJECT;

    for (uint32_t i = 0; i < acks_len; i++)
        for (int32_t k = 0; k < acks[i].types_len; k++)
            if (acks[i].types[k] < SHARE_ACK_GAP || acks[i].types[k] > most)
                return false;
    return true;
}

static bool has_acks(const struct share_call *call)
{
    for (int32_t i = 0; i < call->asked_len; i++)
        if (call->asked[i].acks_len != 0)
            return true;
    return false;
}

static struct share_session_request session_request(struct share_call *call)
{
    struct request *r = call->request;

    list_init(&call->ended);
    return (struct share_session_request){
        .group = call->group,
        .member = call->member,
        .epoch = call->epoch,
        .connection = request_share_connection(r),
        .now_ms = env_now_ms(r->shard->env),
        .has_acks = has_acks(call),
    };
}

/* A final request still acknowledges as its session. */
static void settle(struct share_call *call)
{
    const struct share_session *session = call->session;

    if (session == NULL && !list_empty(&call->ended))
        session = LIST_ENTRY(call->ended.next, struct share_session, link);
    if (session == NULL)
        return;
    call->number = session->number;
    make_owner(call->request->shard, call->number, call->owner_bytes);
    call->owner = slice_of(call->owner_bytes, SHARE_OWNER_BYTES);
}

static enum err settled(struct share_call *call, enum err error)
{
    if (error == ERR_NONE)
        settle(call);
    else
        sessions_ended(call->request->shard, &call->ended);
    return error;
}

enum err share_call_fetch(struct share_call *call,
                          const struct share_session_name *forget,
                          uint32_t forget_len)
{
    struct request *r = call->request;
    struct share_session_request q = session_request(call);
    struct share_session_name *add =
        arena_array(&r->arena, (size_t)call->asked_len, sizeof *add);

    for (int32_t i = 0; i < call->asked_len; i++)
        add[i] = (struct share_session_name){call->asked[i].topic,
                                             call->asked[i].partition};
    q.add = add;
    q.add_len = (uint32_t)call->asked_len;
    q.forget = forget;
    q.forget_len = forget_len;
    enum err error =
        settled(call, share_sessions_fetch(&r->shard->share_home->sessions, &q,
                                           &call->session, &call->ended));
    if (error == ERR_NONE && forget_len != 0)
        release_all(r->shard, call->group, call->number, true, forget,
                    forget_len);
    return error;
}

enum err share_call_acknowledge(struct share_call *call)
{
    struct share_session_request q = session_request(call);

    return settled(call, share_sessions_acknowledge(
                             &call->request->shard->share_home->sessions, &q,
                             &call->session, &call->ended));
}

struct share_session *share_call_session(const struct share_call *call)
{
    return share_sessions_find(&call->request->shard->share_home->sessions,
                               call->group, call->member, call->number);
}

void share_call_release(const struct share_call *call,
                        const struct share_session_name *names, size_t len)
{
    release_all(call->request->shard, call->group, call->number, false, names,
                len);
}

int32_t share_lock_ms(const struct share_call *call)
{
    struct share_settings settings;

    share_settings_of(call->request->shard, call->group, &settings);
    return settings.partition.record_lock_duration_ms;
}

void share_leader_hint(const struct partition *p, int32_t *leader,
                       int32_t *epoch)
{
    *leader = partition_leader_hint(p);
    *epoch = *leader < 0 ? -1 : p->state.leader_epoch;
}

/* ---- acknowledgements ----------------------------------------------------*/

/* One partition's. */
struct acking {
    struct share_lead_waiter waiter;
    struct share_call *call;
    struct share_asked *asked;
    struct scatter_item *item;
    bool inside; /* of share_lead_acknowledge() */
};

static void ack_done(struct share_lead_waiter *w)
{
    struct acking *a = LIST_ENTRY(w, struct acking, waiter);

    a->asked->err = w->waiter.err;
    if (a->inside)
        a->inside = false;
    else
        scatter_item_done(a->item);
}

enum err share_check_partition(const struct partition *p)
{
    enum err error = p->role == PARTITION_OPENING
                         ? ERR_NOT_LEADER_OR_FOLLOWER
                         : partition_check_leader(p, -1);

    return error == ERR_NONE && partition_is_cut_off(p)
               ? ERR_NOT_LEADER_OR_FOLLOWER
               : error;
}

static void ack_run(struct scatter_item *item, struct partition *p)
{
    struct acking *a = item->arg;
    struct share_asked *asked = a->asked;

    asked->err = p == NULL ? item->error : share_check_partition(p);
    if (asked->err == ERR_NOT_LEADER_OR_FOLLOWER && p != NULL)
        share_leader_hint(p, &asked->leader, &asked->leader_epoch);
    if (asked->err != ERR_NONE)
        return;
    struct share_lead *lead = share_lead_find(p, a->call->group);
    if (lead == NULL) { /* then nobody has anything of it */
        asked->err = ERR_INVALID_RECORD_STATE;
        return;
    }
    a->inside = true;
    a->waiter.done = ack_done;
    share_lead_acknowledge(lead, a->call->owner, asked->acks, asked->acks_len,
                           &a->waiter);
    item->deferred = a->inside;
    a->inside = false;
}

static void acks_done(struct scatter *s)
{
    struct share_call *call = s->arg;

    for (int i = 0; i < s->items_len; i++) {
        struct acking *a = s->items[i].arg;

        if (s->items[i].share == NULL)
            a->asked->err = s->items[i].error;
    }
    sessions_ended(call->request->shard, &call->ended);
    call->acknowledged(call);
}

static bool to_be_sent(struct share_asked *asked)
{
    asked->leader = asked->leader_epoch = -1;
    if (asked->acks_len == 0)
        return false;
    asked->acknowledged = true;
    asked->err = asked->acks_ok ? ERR_NONE : ERR_INVALID_REQUEST;
    return asked->acks_ok;
}

void share_call_start_acks(struct share_call *call,
                           void (*acknowledged)(struct share_call *call))
{
    struct request *r = call->request;
    int len = 0;

    call->acknowledged = acknowledged;
    for (int32_t i = 0; i < call->asked_len; i++)
        len += to_be_sent(&call->asked[i]);
    struct scatter *s = scatter_new(r, len);
    len = 0;
    for (int32_t i = 0; i < call->asked_len; i++) {
        struct share_asked *asked = &call->asked[i];

        if (!asked->acknowledged || asked->err != ERR_NONE)
            continue;
        struct acking *a = arena_alloc(&r->arena, sizeof *a);
        a->call = call;
        a->asked = asked;
        a->item = scatter_set(s, len++, SLICE(""), &asked->topic,
                              asked->partition, a);
    }
    s->run = ack_run;
    s->done = acks_done;
    s->arg = call;
    scatter_start(s);
}
