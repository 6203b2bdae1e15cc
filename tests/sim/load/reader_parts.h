/* What reader.c (what to follow, fetches) and reader_offsets.c (ListOffsets)
 * share. */
#ifndef TESTS_SIM_LOAD_READER_PARTS_H
#define TESTS_SIM_LOAD_READER_PARTS_H

#include "proto/record/record.h"
#include "tests/sim/load/reader.h"

enum { NO_NODE = -1, READER_RETRY_MS = 50 };

struct position {
    struct list in;
    char *name;
    struct uuid id;
    int topic; /* in the history */
    int32_t partition;
    int64_t offset;  /* next to read; -1: being looked for */
    int64_t highest; /* that offset was at most */
    bool listing;    /* ListOffsets for the offset or the end is under way */
    int64_t retry_at_ms;
    /* What the node of the last fetch believes. */
    int32_t at_node; /* NO_NODE: nothing */
    int64_t sent_offset;
    int32_t sent_epoch; /* -1: the version had none */
    uint64_t asked;
    /* Final readers. */
    int64_t start;
    int64_t end; /* -1: not known */
    bool finished;
};

struct forgotten {
    char *name;
    struct uuid id;
    int32_t partition;
};

struct feed { /* of one node */
    struct list in;
    struct load_reader *reader;
    int32_t node;
    bool in_flight;
    int32_t session_id;
    int32_t session_epoch;
    int64_t retry_at_ms;
    uint64_t asked;
    struct forgotten *forgotten;
    int32_t forgotten_len;
};

struct load_reader {
    struct env *env;
    struct load_client *client;
    struct history *history;
    struct load_reader_options options;
    struct prng *prng;
    struct list positions;
    struct list feeds;
    struct list queries;
    struct list strays;
    struct env_timer timer;
    struct codec *codec;
    struct buf scratch;
    uint64_t looks;   /* of the client, when topics were last compared */
    int64_t begun_ms; /* wall clock */
    bool running;
    char *missing;
};

struct position *load_reader_find(struct load_reader *r, int topic,
                                  int32_t partition);
/* Goes on at `offset`, and lets the history know. */
void load_reader_seek(struct load_reader *r, struct position *p,
                      int64_t offset);
/* Asks for the offset, or the end, of positions that lack them. */
void load_reader_place(struct load_reader *r);
/* Asks something that the history can judge. */
void load_reader_query(struct load_reader *r);
void load_reader_drop_queries(struct load_reader *r);
/* Fetches something from a replica that does not lead: a client whose metadata
 * is old does. */
void load_reader_stray(struct load_reader *r);
void load_reader_drop_strays(struct load_reader *r);

#endif
