/* Inside of the share coordinator: one key, one partition of a request, and
 * what each file gives the others. */
#ifndef BROKER_COORD_SHARE_PARTS_H
#define BROKER_COORD_SHARE_PARTS_H

#include "broker/coord/share/share_coord.h"

#include "base/map.h"
#include "proto/kafka/coordinator_record.h"

enum {
    SHARE_SNAPSHOTS_PER_TICK = 100,
    SHARE_SNAPSHOTS_PAUSE_MS = 1000, /* when there are more */
    /* At most, of a batch in a record, and of all the rest but the group. */
    SHARE_RECORD_BATCH_BYTES = 20,
    SHARE_RECORD_ROOM_BYTES = 256,
};

/* What is stored of one share-partition. */
struct share_state_of {
    int32_t snapshot_epoch;
    int32_t state_epoch;
    int32_t leader_epoch;
    int64_t start_offset;
    int32_t complete; /* delivery complete count; -1: not known */
    int64_t create_wall_ms;
    int64_t write_wall_ms; /* of the snapshot */
    struct share_batch *batches;
    uint32_t len;
};

struct share_key {
    struct slice bytes; /* owned; the key in the map */
    struct slice group; /* owned */
    struct uuid topic;
    int32_t partition;
    /* The write under way, or NULL.  Nothing else may change the key. */
    struct share_coord_write *under_way;
    /* ---- what the committed records say ----------------------------------*/
    bool exists;                 /* else its first record is under way */
    struct share_state_of state; /* batches are owned */
    int32_t updates;             /* since the snapshot */
    int64_t snapshot_offset;     /* in the log */
    struct list by_snapshot;     /* in coord->by_snapshot */
};

/* One topic partition of a request, and what is answered. */
struct share_ask {
    struct uuid topic;
    int32_t partition;
    int32_t state_epoch;
    int32_t leader_epoch;
    int64_t start_offset;
    int32_t complete;
    struct share_batch *batches; /* in the answer's arena */
    uint32_t len;
    bool batches_ok;
    struct share_ask *of; /* of a piece: where it belongs in the whole */
    /* ---- answered --------------------------------------------------------*/
    enum err err;
    struct share_state_of told; /* reads */
};

struct share_coord {
    struct share_coord_config config;
    struct map keys; /* of struct share_key, owned */
    size_t bytes;    /* of keys and batches */
    /* Keys that exist, by the offset of their last snapshot, and those whose
     * first one is in the log and waits on. */
    struct list by_snapshot;
    int64_t end_offset; /* after the last record replayed */
    enum { SHARE_COORD_LOADING, SHARE_COORD_ACTIVE, SHARE_COORD_RESIGNED } life;
    int64_t next_tick_ms;
};

/* One call: what it works on and where its decisions go. */
struct share_step {
    struct share_coord *coord;
    struct coord_time time;
    struct share_coord_update *update;
};

/* ---- key.c ---------------------------------------------------------------*/

struct share_key *share_key_find(const struct share_coord *coord,
                                 struct slice group, struct uuid topic,
                                 int32_t partition);
struct share_key *share_key_add(struct share_coord *coord, struct slice group,
                                struct uuid topic, int32_t partition);
void share_key_remove(struct share_coord *coord, struct share_key *key);
/* Copies the batches. */
void share_key_set(struct share_coord *coord, struct share_key *key,
                   const struct share_state_of *state);
/* Its last snapshot is there in the log.  Mostly behind all others: only a
 * write that waits on is looked at after those that came later. */
void share_key_snapshot_at(struct share_coord *coord, struct share_key *key,
                           int64_t offset);

/* ---- record.c ------------------------------------------------------------*/

/* The state after an update: epochs and start offsets of -1 change nothing, and
 * a start offset never falls.  Batches lie in the arena. */
struct share_state_of share_state_after(const struct share_state_of *now,
                                        int32_t leader_epoch,
                                        int64_t start_offset, int32_t complete,
                                        const struct share_batch *batches,
                                        uint32_t len, struct arena *arena);

/* Each makes a write of the key, under way from now on. */
struct share_coord_write *
share_write_snapshot(struct share_step *step, struct share_key *key,
                     const struct share_state_of *state);
struct share_coord_write *share_write_update(struct share_step *step,
                                             struct share_key *key,
                                             const struct share_ask *ask);
void share_write_tombstone(struct share_step *step, struct share_key *key,
                           struct share_answer *answer, struct share_ask *ask);
void share_write_free(struct share_coord_write *write);

/* ---- request.c -----------------------------------------------------------*/

/* All its asks are answered: makes the response. */
void share_answer_fill(struct share_answer *answer);
void share_answer_send(struct share_step *step, struct share_answer *answer);
/* One of its writes has ended. */
void share_answer_ended(struct share_step *step, struct share_answer *answer);

/* ---- decide.c ------------------------------------------------------------*/

/* What is wrong with it whoever coordinates. */
enum err share_ask_check(const struct share_answer *answer,
                         const struct share_ask *ask);

void share_decide(struct share_step *step, const struct share_context *context,
                  struct share_answer *answer, struct share_ask *ask);

#endif
