/* Inside of a share-partition: runs, and what each file gives the others. */
#ifndef BROKER_SHARE_PARTS_H
#define BROKER_SHARE_PARTS_H

#include "broker/share/partition.h"

#include "base/heap.h"
#include "base/map.h"

enum {
    SHARE_TIMEOUTS_PER_TICK = 1000, /* runs */
    SHARE_RETRY_MS = 1000,          /* a write in doubt */
};

/* Who holds records. */
struct share_member {
    struct slice id;  /* borrowed from the map's key */
    struct list runs; /* of share_run.owned; never empty between calls */
};

/* What the coordinator knows of a run. */
enum share_persist {
    SHARE_CLEAN,         /* all that it has to */
    SHARE_DIRTY,         /* in p->dirty: goes with the next write */
    SHARE_WRITING,       /* in p->writing: part of the write under way */
    SHARE_WRITING_AGAIN, /* likewise, but has changed since */
};

/* Neighbours that are alike in everything. */
struct share_run {
    int64_t first;
    int64_t last; /* inclusive */
    enum share_state state;
    int16_t deliveries;
    /* ACQUIRED only */
    struct share_member *owner;
    struct list owned;     /* in owner->runs */
    struct heap_node lock; /* in p->locks; not there once it has fired */
    int64_t deadline_ms;
    /* ACQUIRED, and its member or its session has said what shall become of it;
     * that happens with the write. */
    bool decided;
    enum share_state next;
    enum share_persist persist;
    struct list link; /* in p->dirty or p->writing */
};

struct share_partition {
    struct share_partition_config config;
    int32_t leader_epoch;
    int32_t state_epoch;
    bool closed;
    /* ---- the window ------------------------------------------------------*/
    int64_t start;
    int64_t end;             /* exclusive */
    struct share_run **runs; /* [head, head + len): the window, no holes */
    size_t head;
    size_t len;
    size_t cap;
    int64_t available_from; /* nothing below is AVAILABLE */
    int64_t terminal;       /* offsets in terminal states */
    int64_t gaps;           /* among them those that the log does not have */
    struct map members;     /* of share_member, owned */
    struct heap locks;      /* of share_run.lock */
    /* ---- what is to be written -------------------------------------------*/
    struct list dirty;     /* of share_run.link */
    struct list writing;   /* likewise */
    struct list collected; /* waiters of the next write */
    struct list waiting;   /* waiters of the write under way */
    bool want;             /* there is reason for a write */
    bool under_way;
    struct share_write write;
    int64_t retry_ms; /* INT64_MAX: the result is still awaited */
};

/* ---- runs.c --------------------------------------------------------------*/

static inline struct share_run *share_run_at(const struct share_partition *p,
                                             size_t i)
{
    return p->runs[p->head + i];
}

/* A record that the log does not have: archived without a delivery. */
static inline bool share_run_is_gap(const struct share_run *run)
{
    return run->state == SHARE_ARCHIVED && run->deliveries == 0;
}

static inline int64_t share_run_size(const struct share_run *run)
{
    return run->last - run->first + 1;
}

/* Index of the first run that ends at or after the offset; p->len if none. */
size_t share_runs_find(const struct share_partition *p, int64_t offset);
/* Makes the offset the first of a run, if it is in the window.  Index of the
 * first run that begins at or after it. */
size_t share_runs_split(struct share_partition *p, int64_t offset);
/* A new run [p->end, last] at the end. */
struct share_run *share_runs_append(struct share_partition *p, int64_t last,
                                    enum share_state state, int16_t deliveries);
/* Joins neighbours that are alike, from the one before `first` to the one after
 * `last`. */
void share_runs_join(struct share_partition *p, int64_t first, int64_t last);
/* Terminal runs at the start leave the window. */
void share_runs_trim(struct share_partition *p, struct share_update *update);
/* Everything below the offset leaves the window. */
void share_runs_drop_below(struct share_partition *p, int64_t offset);

/* Changes state and what is counted by it. */
void share_run_set(struct share_partition *p, struct share_run *run,
                   enum share_state state, int16_t deliveries);
void share_run_own(struct share_partition *p, struct share_run *run,
                   struct share_member *member, int64_t deadline_ms);
/* Ends lock and decision; forgets a member that holds nothing any more. */
void share_run_disown(struct share_partition *p, struct share_run *run);

/* ---- persist.c -----------------------------------------------------------*/

void share_run_dirty(struct share_partition *p, struct share_run *run);
/* Hands out the next write if it is time for it. */
void share_flush(struct share_partition *p, struct share_update *update);
void share_waiter_end(struct share_update *update, struct share_waiter *waiter,
                      enum err err);

/* ---- lock.c --------------------------------------------------------------*/

/* The lock is over: available again, or archived.  The caller joins. */
void share_run_time_out(struct share_partition *p, struct share_run *run,
                        struct share_update *update);

/* ---- partition.c ---------------------------------------------------------*/

void share_made_available(struct share_partition *p,
                          const struct share_run *run,
                          struct share_update *update);

#endif
