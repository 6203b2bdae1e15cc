/* See the header for the rules.  Tasks, members and processes are numbers here:
 * members by rising id, processes by rising id, tasks by subtopology and
 * partition. */
#include "broker/coord/streams/assign_sticky.h"

#include <stdlib.h>

struct worker {
    uint32_t member; /* in input->members */
    uint32_t process;
    uint32_t load; /* tasks of any kind */
};

struct process {
    struct slice id;
    uint32_t *workers; /* a heap by load, once it is built */
    uint32_t workers_len;
    uint32_t load; /* of all of them */
};

/* A share: what each member may have while others have less. */
struct quota {
    uint32_t tasks;   /* to be shared yet */
    uint32_t members; /* that have less than their share */
    uint32_t each;
};

struct work {
    const struct sticky_input *input;
    struct arena *arena;
    uint32_t *first; /* of each subtopology: its first task; one more */
    uint32_t *sub;   /* of each task */
    uint32_t tasks_len;
    struct worker *workers; /* by member id */
    uint32_t workers_len;
    struct process *processes; /* by id */
    uint32_t processes_len;
    uint32_t *heap; /* processes by load */
    uint32_t heap_len;
    uint32_t *passed; /* scratch of give_least(): standbys + 1 */
    uint32_t standbys;
    int32_t *active;  /* of each task: a worker, or -1 */
    int32_t *standby; /* of each task: `standbys` workers, or -1 */
    /* before: */
    int32_t *had_active;      /* of each task: a worker, or -1 */
    uint32_t *had_standby;    /* workers, task by task ... */
    uint32_t *had_standby_at; /* ... from here to the next one's; one more */
    struct quota actives;
    struct quota all;
};

/* ---- shares --------------------------------------------------------------*/

static void quota_set(struct quota *q)
{
    q->each = q->members == 0 ? 0 : (q->tasks + q->members - 1) / q->members;
}

/* A member has this many now. */
static void quota_note(struct quota *q, uint32_t load)
{
    if (load != q->each)
        return;
    q->members--;
    q->tasks -= load;
    quota_set(q);
}

/* ---- what is there -------------------------------------------------------*/

static int compare_members(const void *a, const void *b, void *arg)
{
    const struct sticky_input *input = arg;
    const struct worker *x = a, *y = b;

    return slice_cmp(input->members[x->member].id,
                     input->members[y->member].id);
}

static int compare_processes(const void *a, const void *b)
{
    return slice_cmp(((const struct process *)a)->id,
                     ((const struct process *)b)->id);
}

static void list_workers(struct work *w)
{
    w->workers_len = w->input->members_len;
    w->workers = arena_array(w->arena, w->workers_len, sizeof *w->workers);
    for (uint32_t i = 0; i < w->workers_len; i++)
        w->workers[i].member = i;
    if (w->workers_len != 0)
        qsort_r(w->workers, w->workers_len, sizeof *w->workers, compare_members,
                (void *)(uintptr_t)w->input);
}

static struct slice process_id(const struct work *w, uint32_t worker)
{
    return w->input->members[w->workers[worker].member].process_id;
}

static void list_processes(struct work *w)
{
    struct process *all =
        arena_array(w->arena, w->workers_len, sizeof *w->processes);

    for (uint32_t i = 0; i < w->workers_len; i++)
        all[i].id = process_id(w, i);
    if (w->workers_len != 0)
        qsort(all, w->workers_len, sizeof *all, compare_processes);
    for (uint32_t i = 0; i < w->workers_len; i++)
        if (w->processes_len == 0 ||
            !slice_eq(all[w->processes_len - 1].id, all[i].id))
            all[w->processes_len++] = all[i];
    w->processes = all;
    for (uint32_t i = 0; i < w->workers_len; i++) {
        struct process key = {.id = process_id(w, i)};
        struct process *p = bsearch(&key, all, w->processes_len, sizeof *all,
                                    compare_processes);

        w->workers[i].process = (uint32_t)(p - all);
        p->workers_len++;
    }
    for (uint32_t p = 0; p < w->processes_len; p++) {
        all[p].workers =
            arena_array(w->arena, all[p].workers_len, sizeof(uint32_t));
        all[p].workers_len = 0;
    }
    for (uint32_t i = 0; i < w->workers_len; i++) {
        struct process *p = &all[w->workers[i].process];
        p->workers[p->workers_len++] = i;
    }
}

static void list_tasks(struct work *w)
{
    const struct sticky_input *in = w->input;

    w->first = arena_array(w->arena, in->subs_len + 1, sizeof *w->first);
    for (uint32_t s = 0; s < in->subs_len; s++) {
        w->first[s] = w->tasks_len;
        w->tasks_len += (uint32_t)in->subs[s].tasks;
        w->actives.tasks += (uint32_t)in->subs[s].tasks;
        w->all.tasks += (uint32_t)in->subs[s].tasks *
                        (in->subs[s].stateful ? 1 + w->standbys : 1);
    }
    w->first[in->subs_len] = w->tasks_len;
    w->sub = arena_array(w->arena, w->tasks_len, sizeof *w->sub);
    for (uint32_t s = 0; s < in->subs_len; s++)
        for (uint32_t t = w->first[s]; t < w->first[s + 1]; t++)
            w->sub[t] = s;
}

static int32_t *nobody(struct arena *arena, size_t len)
{
    int32_t *of = arena_array(arena, len, sizeof *of);

    for (size_t i = 0; i < len; i++)
        of[i] = -1;
    return of;
}

/* ---- what was before -----------------------------------------------------*/

static int compare_sub(const void *id, const void *sub)
{
    return slice_cmp(*(const struct slice *)id,
                     ((const struct sticky_sub *)sub)->id);
}

/* -1: there is no such task any more. */
static int64_t task_of(const struct work *w, const struct task *task)
{
    const struct sticky_input *in = w->input;
    const struct sticky_sub *sub =
        in->subs_len == 0 ? NULL
                          : bsearch(&task->sub, in->subs, in->subs_len,
                                    sizeof *sub, compare_sub);

    if (sub == NULL || task->partition < 0 || task->partition >= sub->tasks)
        return -1;
    return w->first[sub - in->subs] + task->partition;
}

static struct tasks owned(const struct work *w, uint32_t worker,
                          enum task_kind kind)
{
    return w->input->members[w->workers[worker].member].owned.of[kind];
}

static void note_actives(struct work *w)
{
    w->had_active = nobody(w->arena, w->tasks_len);
    for (uint32_t i = w->workers_len; i-- > 0;) {
        struct tasks set = owned(w, i, TASK_ACTIVE);

        for (uint32_t k = 0; k < set.len; k++) {
            int64_t task = task_of(w, &set.items[k]);
            if (task >= 0)
                w->had_active[task] = (int32_t)i;
        }
    }
}

static void note_standbys(struct work *w)
{
    uint32_t *at = arena_array(w->arena, w->tasks_len + 2, sizeof *at);
    uint32_t total = 0;

    for (uint32_t i = 0; i < w->workers_len; i++) {
        struct tasks set = owned(w, i, TASK_STANDBY);

        for (uint32_t k = 0; k < set.len; k++) {
            int64_t task = task_of(w, &set.items[k]);
            if (task >= 0)
                at[task + 2]++, total++;
        }
    }
    for (uint32_t t = 0; t < w->tasks_len; t++)
        at[t + 2] += at[t + 1];
    w->had_standby = arena_array(w->arena, total, sizeof *w->had_standby);
    for (uint32_t i = 0; i < w->workers_len; i++) {
        struct tasks set = owned(w, i, TASK_STANDBY);

        for (uint32_t k = 0; k < set.len; k++) {
            int64_t task = task_of(w, &set.items[k]);
            if (task >= 0)
                w->had_standby[at[task + 1]++] = i;
        }
    }
    w->had_standby_at = at;
}

/* ---- giving --------------------------------------------------------------*/

/* load / members, without fractions. */
static int compare_loads(const struct process *a, const struct process *b)
{
    uint64_t x = (uint64_t)a->load * b->workers_len;
    uint64_t y = (uint64_t)b->load * a->workers_len;

    return x < y ? -1 : x > y;
}

static bool process_has(const struct work *w, uint32_t process, uint32_t task)
{
    const int32_t *standby = w->standby + (size_t)task * w->standbys;

    if (w->active[task] >= 0 && w->workers[w->active[task]].process == process)
        return true;
    for (uint32_t i = 0; i < w->standbys && standby[i] >= 0; i++)
        if (w->workers[standby[i]].process == process)
            return true;
    return false;
}

static void give(struct work *w, uint32_t worker, uint32_t task, bool active)
{
    struct worker *to = &w->workers[worker];
    int32_t *standby = w->standby + (size_t)task * w->standbys;

    to->load++;
    w->processes[to->process].load++;
    if (active) {
        w->active[task] = (int32_t)worker;
        quota_note(&w->actives, to->load);
    } else {
        while (*standby >= 0)
            standby++;
        *standby = (int32_t)worker;
    }
    quota_note(&w->all, to->load);
}

static bool has_room(const struct work *w, int32_t worker,
                     const struct quota *quota)
{
    return worker >= 0 && w->workers[worker].load < quota->each;
}

/* Of those that had it as standby: the least loaded.  For a standby: none of a
 * process that has it. */
static int32_t least_of_standbys(const struct work *w, uint32_t task,
                                 bool for_standby)
{
    int32_t best = -1;

    for (uint32_t i = w->had_standby_at[task]; i < w->had_standby_at[task + 1];
         i++) {
        const struct worker *it = &w->workers[w->had_standby[i]];

        if (for_standby && process_has(w, it->process, task))
            continue;
        if (best < 0) {
            best = (int32_t)w->had_standby[i];
            continue;
        }
        const struct worker *than = &w->workers[best];
        int order = compare_loads(&w->processes[it->process],
                                  &w->processes[than->process]);
        if (order < 0 || (order == 0 && it->load < than->load))
            best = (int32_t)w->had_standby[i];
    }
    return best;
}

/* ---- heaps: of a process's members, and of processes ---------------------*/

typedef bool before_fn(const struct work *w, uint32_t a, uint32_t b);

static bool worker_before(const struct work *w, uint32_t a, uint32_t b)
{
    return w->workers[a].load != w->workers[b].load
               ? w->workers[a].load < w->workers[b].load
               : a < b;
}

static bool process_before(const struct work *w, uint32_t a, uint32_t b)
{
    int order = compare_loads(&w->processes[a], &w->processes[b]);

    return order != 0 ? order < 0 : a < b;
}

static void sift_down(const struct work *w, uint32_t *heap, uint32_t len,
                      uint32_t at, before_fn *before)
{
    for (;;) {
        uint32_t least = at, child = 2 * at + 1;

        for (uint32_t c = child; c < child + 2 && c < len; c++)
            if (before(w, heap[c], heap[least]))
                least = c;
        if (least == at)
            return;
        uint32_t item = heap[at];
        heap[at] = heap[least];
        heap[least] = item;
        at = least;
    }
}

static void heapify(const struct work *w, uint32_t *heap, uint32_t len,
                    before_fn *before)
{
    for (uint32_t i = len / 2; i-- > 0;)
        sift_down(w, heap, len, i, before);
}

static void build_heaps(struct work *w)
{
    w->heap_len = w->processes_len;
    for (uint32_t p = 0; p < w->processes_len; p++) {
        heapify(w, w->processes[p].workers, w->processes[p].workers_len,
                worker_before);
        w->heap[p] = p;
    }
    heapify(w, w->heap, w->heap_len, process_before);
}

static uint32_t pop(struct work *w)
{
    uint32_t first = w->heap[0];

    w->heap[0] = w->heap[--w->heap_len];
    sift_down(w, w->heap, w->heap_len, 0, process_before);
    return first;
}

static void push(struct work *w, uint32_t process)
{
    uint32_t at = w->heap_len++;

    w->heap[at] = process;
    while (at > 0 && process_before(w, w->heap[at], w->heap[(at - 1) / 2])) {
        uint32_t up = (at - 1) / 2;
        w->heap[at] = w->heap[up];
        w->heap[up] = process;
        at = up;
    }
}

/* To the least loaded process that does not have it; false: all have. */
static bool give_least(struct work *w, uint32_t task, bool active)
{
    uint32_t passed_len = 0;
    bool given = false;

    while (!given && w->heap_len > 0 && passed_len <= w->standbys) {
        uint32_t p = pop(w);
        struct process *process = &w->processes[p];

        w->passed[passed_len++] = p;
        if (process_has(w, p, task))
            continue;
        give(w, process->workers[0], task, active);
        sift_down(w, process->workers, process->workers_len, 0, worker_before);
        given = true;
    }
    while (passed_len > 0)
        push(w, w->passed[--passed_len]);
    return given;
}

/* ---- the order in which tasks are looked at ------------------------------*/

static int by_partition(const void *a, const void *b, void *arg)
{
    const struct work *w = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    uint32_t px = x - w->first[w->sub[x]], py = y - w->first[w->sub[y]];

    if (px != py)
        return px < py ? -1 : 1;
    return w->sub[x] < w->sub[y] ? -1 : w->sub[x] > w->sub[y];
}

static uint32_t *in_order(const struct work *w)
{
    uint32_t *tasks = arena_array(w->arena, w->tasks_len, sizeof *tasks);

    for (uint32_t t = 0; t < w->tasks_len; t++)
        tasks[t] = t;
    if (w->tasks_len != 0)
        qsort_r(tasks, w->tasks_len, sizeof *tasks, by_partition,
                (void *)(uintptr_t)w);
    return tasks;
}

/* ---- active and standby --------------------------------------------------*/

static void assign_actives(struct work *w, const uint32_t *order)
{
    for (uint32_t i = 0; i < w->tasks_len; i++)
        if (has_room(w, w->had_active[order[i]], &w->actives))
            give(w, (uint32_t)w->had_active[order[i]], order[i], true);
    for (uint32_t i = 0; i < w->tasks_len; i++) {
        int32_t worker = w->active[order[i]] < 0
                             ? least_of_standbys(w, order[i], false)
                             : -1;

        if (has_room(w, worker, &w->actives))
            give(w, (uint32_t)worker, order[i], true);
    }
    build_heaps(w);
    for (uint32_t t = 0; t < w->tasks_len; t++)
        if (w->active[t] < 0)
            ASSERT(give_least(w, t, true));
}

/* Where the task was before, within shares. */
static bool keep_standby(struct work *w, uint32_t task)
{
    int32_t worker = w->had_active[task];

    if (!has_room(w, worker, &w->all) ||
        process_has(w, w->workers[worker].process, task))
        worker = least_of_standbys(w, task, true);
    if (!has_room(w, worker, &w->all))
        return false;
    give(w, (uint32_t)worker, task, false);
    return true;
}

static void assign_standbys(struct work *w, const uint32_t *order)
{
    uint32_t *missing = arena_array(w->arena, w->tasks_len, sizeof *missing);

    for (uint32_t i = w->tasks_len; i-- > 0;) {
        uint32_t task = order[i], kept = 0;

        if (!w->input->subs[w->sub[task]].stateful)
            continue;
        while (kept < w->standbys && keep_standby(w, task))
            kept++;
        missing[task] = w->standbys - kept;
    }
    build_heaps(w);
    for (uint32_t task = w->tasks_len; task-- > 0;)
        while (missing[task] > 0 && give_least(w, task, false))
            missing[task]--; /* or there are too few processes */
}

/* ---- all of it -----------------------------------------------------------*/

static void add(const struct work *w, struct tasks *to, uint32_t task)
{
    to->items[to->len++] =
        (struct task){w->input->subs[w->sub[task]].id,
                      (int32_t)(task - w->first[w->sub[task]]), 0};
}

/* Tasks rise, so the sets do. */
static void hand_out(const struct work *w, struct tuple *out)
{
    for (uint32_t i = 0; i < w->workers_len; i++) {
        struct tuple *to = &out[w->workers[i].member];

        *to = (struct tuple){0};
        for (int k = 0; k < TASK_WARMUP; k++)
            to->of[k].items =
                arena_array(w->arena, w->workers[i].load, sizeof(struct task));
    }
    for (uint32_t t = 0; t < w->tasks_len; t++) {
        const int32_t *standby = w->standby + (size_t)t * w->standbys;

        add(w, &out[w->workers[w->active[t]].member].of[TASK_ACTIVE], t);
        for (uint32_t i = 0; i < w->standbys && standby[i] >= 0; i++)
            add(w, &out[w->workers[standby[i]].member].of[TASK_STANDBY], t);
    }
}

void streams_assign_sticky(const struct sticky_input *input,
                           struct arena *arena, struct tuple *out)
{
    struct work w = {.input = input, .arena = arena};

    if (input->members_len == 0)
        return;
    list_workers(&w);
    list_processes(&w);
    w.standbys = input->standbys < 0 ? 0 : (uint32_t)input->standbys;
    if (w.standbys >= w.processes_len)
        w.standbys = w.processes_len - 1; /* each on a process of its own */
    w.heap = arena_array(arena, w.processes_len, sizeof *w.heap);
    w.passed = arena_array(arena, w.standbys + 1, sizeof *w.passed);
    list_tasks(&w);
    w.actives.members = w.all.members = w.workers_len;
    quota_set(&w.actives);
    quota_set(&w.all);
    w.active = nobody(arena, w.tasks_len);
    w.standby = nobody(arena, (size_t)w.tasks_len * w.standbys);
    note_actives(&w);
    note_standbys(&w);
    uint32_t *order = in_order(&w);
    assign_actives(&w, order);
    if (w.standbys > 0)
        assign_standbys(&w, order);
    hand_out(&w, out);
}
