#include "tests/sim/operators.h"

#include "broker/replica/partition.h"
#include "tests/sim/trace.h"

#include <stdlib.h>
#include <string.h>

static bool ends_in(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static void take_away(struct partition *p)
{
    struct env *env = p->shard->env;
    char **names;
    size_t len;

    if (env_list_dir(env, log_path(p->log), &names, &len) < 0)
        return;
    for (size_t i = 0; i < len; i++) {
        char *path = xasprintf("%s/%s", log_path(p->log), names[i]);

        if (ends_in(path, ".unsynced.damaged"))
            env_unlink(env, path);
        free(path);
        free(names[i]);
    }
    free(names);
    env_sync_dir(env, log_path(p->log));
}

static bool is_stuck(const struct partition *p)
{
    return p != NULL && p->role == PARTITION_DAMAGED && p->lost_unsynced &&
           replica_set_size(p->state.isr) == 1;
}

static bool help(struct node *n)
{
    bool helped = false;

    for (int i = 0; i < n->server->broker.shards_len; i++)
        MAP_EACH (entry, &n->server->broker.shards[i]->topics_by_id) {
            const struct shard_topic *t = entry->value;

            for (int32_t k = 0; k < t->partitions; k++)
                if (is_stuck(t->local[k])) {
                    trace_line(NULL,
                               "an operator has n%d go on without what %s "
                               "lost behind its recovery point",
                               n->id, log_path(t->local[k]->log));
                    take_away(t->local[k]);
                    helped = true;
                }
        }
    return helped;
}

void operators_restore_dirs(struct node *n)
{
    const struct broker *b = n->server != NULL ? &n->server->broker : NULL;

    if (b == NULL || !n->running || !n->is_broker || n->gone ||
        disk_faults(n->host->disk)->dead_number != 0)
        return;
    for (int i = 0; i < b->log_dirs_len; i++) {
        if (!log_dir_failed(&b->log_dirs[i]))
            continue;
        trace_line(NULL, "n%d lacks %s: an operator restarts it", n->id,
                   b->log_dirs[i].path);
        node_kill(n);
        node_start(n);
        return;
    }
}

bool operators_help(struct node *const *nodes, int nodes_len)
{
    bool helped = false;

    for (int i = 0; i < nodes_len; i++)
        if (nodes[i]->server != NULL && nodes[i]->is_broker &&
            nodes[i]->running && help(nodes[i])) {
            node_kill(nodes[i]);
            node_start(nodes[i]);
            helped = true;
        }
    return helped;
}
