#include "broker/time_search.h"

static void go_on(struct shard *s);

static void run(struct env_work *work)
{
    struct time_search *t = LIST_ENTRY(work, struct time_search, work);
    struct codec *codec = codec_new();

    t->error = log_search_run(t->search, codec, &t->found);
    codec_free(codec);
}

static void ran(struct env_work *work)
{
    struct time_search *t = LIST_ENTRY(work, struct time_search, work);
    struct shard *s = t->shard;

    s->time_search_runs = false;
    t->from = log_search_end(t->search);
    if (t->error != ERR_NONE || t->found.offset >= 0 || t->from == INT64_MAX)
        t->done(t);
    else
        list_push_back(&s->time_searches, &t->link);
    go_on(s);
}

/* The partition may be another's by now. */
static void begin(struct time_search *t)
{
    struct partition *p =
        shard_partition(t->shard, &t->topic_id, t->index, &t->error);

    if (atomic_load(t->unwanted))
        t->error = ERR_REQUEST_TIMED_OUT;
    else if (p != NULL)
        t->error = p->role == PARTITION_OPENING
                       ? ERR_NOT_LEADER_OR_FOLLOWER
                       : partition_check_leader(p, t->current_leader_epoch);
    if (t->error == ERR_NONE)
        t->error = log_search_begin(p->log, t->timestamp, t->from,
                                    t->end_offset, &t->search);
    if (t->error != ERR_NONE || t->search == NULL) {
        t->done(t);
        return;
    }
    t->shard->time_search_runs = true;
    t->work = (struct env_work){.run = run, .done = ran};
    env_work_start(t->shard->env, &t->work);
}

static void go_on(struct shard *s)
{
    struct list *node;

    while (!s->time_search_runs &&
           (node = list_pop_front(&s->time_searches)) != NULL)
        begin(LIST_ENTRY(node, struct time_search, link));
}

void time_search_start(struct time_search *t, struct partition *p)
{
    t->shard = p->shard;
    t->topic_id = p->topic_id;
    t->index = p->index;
    t->from = 0;
    t->search = NULL;
    t->error = ERR_NONE;
    t->found = (struct log_timestamp_offset){-1, -1, -1};
    list_push_back(&p->shard->time_searches, &t->link);
    go_on(p->shard);
}
