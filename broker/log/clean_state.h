/* struct log_clean and what its files share. */
#ifndef BROKER_LOG_CLEAN_STATE_H
#define BROKER_LOG_CLEAN_STATE_H

#include "broker/log/clean.h"
#include "broker/log/clean_batch.h"
#include "broker/log/clean_txn.h"
#include "broker/log/state.h"

#include <stdatomic.h>

/* A segment as it was when the round began. */
struct clean_source {
    int64_t base_offset;
    int64_t end_offset; /* where the next one begins */
    uint32_t size_bytes;
    int64_t created_ms;
    uint32_t aborted_len; /* entries of its .txnindex */
};

enum clean_phase {
    CLEAN_LEARN, /* what was aborted */
    CLEAN_MAP,
    CLEAN_COPY,
    CLEAN_SYNC_LOG,
    CLEAN_SYNC_TIMES,
    CLEAN_SYNC_OFFSETS,
    CLEAN_SYNC_ABORTED,
    CLEAN_SWAPPING, /* the owner's turn */
    CLEAN_SYNC_DIR,
    CLEAN_OVER,
};

struct log_clean {
    /* -- the owner's -- */
    struct log *log; /* NULL when it was closed */
    /* -- constant -- */
    struct env *env;
    char *path; /* owned; the log's directory */
    struct log_config config;
    size_t io_bytes;
    int64_t from; /* first dirty offset */
    int64_t to;   /* exclusive; no segment from there on is looked at */
    uint64_t map_bytes;
    uint64_t keys_max;
    double map_load_factor;
    struct clean_source *sources; /* owned; all that may be cleaned */
    uint32_t sources_len;
    struct clean_producer *producers; /* owned; by id */
    size_t producers_len;
    /* -- both -- */
    _Atomic bool aborted;
    /* -- the helper's, or the owner's while no step runs -- */
    enum clean_phase phase;
    struct clean_map map;
    struct clean_filter filter; /* map_end: where the round ends */
    struct clean_txns txns;
    int learned; /* negative: what was aborted cannot be said */
    enum err error;
    const char *why;
    size_t step_bytes;
    struct log_clean_result result;
    /* Where it reads. */
    uint32_t at;             /* in sources */
    struct env_file *source; /* NULL between two */
    struct walk walk;
    int64_t floor;      /* what the next batch's base offset may not be below */
    int32_t last_epoch; /* of the batch read last; -1 none */
    /* The group that is being written. */
    uint32_t group_first;
    uint32_t group_end;      /* exclusive */
    uint32_t group_last;     /* the last that has batches */
    struct env_file *target; /* NULL: none has begun */
    struct log shadow; /* what segment.c asks of a log: its configuration */
    struct segment fresh;
    struct buf out;     /* not written yet */
    int64_t changed_ms; /* of the newest source */
    bool changed;       /* the group differs from its sources */
    /* Its entries of aborted transactions, if they are fewer than before. */
    bool new_aborted;
    struct buf aborted_left; /* of struct log_aborted */
};

/* "PATH/00000000000000000042SUFFIX" in the directory of the log. */
char *clean_path(const struct log_clean *c, int64_t base_offset,
                 const char *suffix, char text[static PATH_MAX]);
/* What the group has written goes. */
void clean_drop_group(struct log_clean *c);

#endif
