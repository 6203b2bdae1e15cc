/* Whether the shards still turn.
 *
 * The metadata thread sends the heartbeats, and each vouches for the whole
 * node.  A shard that stands still, because its disk takes minutes for a write,
 * answers nobody; and as long as the heartbeats go on nobody else may lead its
 * partitions.  So the shards are asked along with every heartbeat, and none is
 * sent while one of them has owed its answer for half a session: the controller
 * fences this broker and others lead, until all have answered. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/shard.h"

#include <stdlib.h>

struct shard_question {
    struct env_task task; /* to the shard and back */
    struct meta *meta;
    struct shard *shard;
    bool asked;
    int64_t asked_ms;
};

static struct shard_question *question_of(struct env_task *task)
{
    return LIST_ENTRY(task, struct shard_question, task);
}

static void on_answer(struct env_task *task)
{
    struct shard_question *q = question_of(task);
    struct meta *m = q->meta;
    int64_t took_ms = env_now_ms(m->env) - q->asked_ms;

    q->asked = false;
    if (m->life.still_shard != q->shard)
        return;
    m->life.still_shard = NULL;
    log_info("server",
             "Shard %d answers again, after %lld ms; heartbeats go on",
             q->shard->index, (long long)took_ms);
    lifecycle_shards_turn(m);
}

static void on_question(struct env_task *task)
{
    struct shard_question *q = question_of(task);

    task->fn = on_answer;
    env_post(q->meta->env, task);
}

static void stands_still(struct meta *m, const struct shard_question *q,
                         int64_t since_ms)
{
    if (m->life.still_shard == NULL)
        log_warn("server",
                 "Shard %d has not answered for %lld ms (a disk that does not "
                 "take writes?); no heartbeats are sent meanwhile, so that "
                 "others lead its partitions",
                 q->shard->index, (long long)since_ms);
    m->life.still_shard = q->shard;
}

bool vouch(struct meta *m)
{
    int64_t now_ms = env_now_ms(m->env);
    int64_t most_ms = m->broker->config->broker_session_timeout_ms / 2;
    bool all = true;

    for (int i = 0; i < m->broker->shards_len; i++) {
        struct shard_question *q = &m->life.questions[i];

        if (!q->asked) {
            q->asked = true;
            q->asked_ms = now_ms;
            q->task.fn = on_question;
            env_post(q->shard->env, &q->task);
        } else if (now_ms - q->asked_ms > most_ms) {
            stands_still(m, q, now_ms - q->asked_ms);
            all = false;
        }
    }
    return all;
}

void vouch_start(struct meta *m)
{
    int n = m->broker->shards_len;

    m->life.questions = xcalloc((size_t)n, sizeof *m->life.questions);
    for (int i = 0; i < n; i++)
        m->life.questions[i] =
            (struct shard_question){.meta = m, .shard = m->broker->shards[i]};
}

void vouch_free(struct meta *m) { free(m->life.questions); }
