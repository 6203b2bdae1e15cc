/* The records inside a v2 batch: reading them one by one, checking them all,
 * and searching them by time.
 *
 * Each record (KIP-98): length varint (of what follows), attributes i8 (0),
 * timestampDelta varlong, offsetDelta varint, key length varint (-1 null) and
 * key, value length varint (-1 null) and value, header count varint, headers:
 * key length varint and key, value length varint (-1 null) and value.
 * In a compressed batch everything behind the header is one compressed run.
 *
 * Nothing here is on the hot path: records are looked at for old clients, for
 * recompression, for searches by time and for topics whose rules need it. */
#ifndef PROTO_RECORD_RECORD_H
#define PROTO_RECORD_RECORD_H

#include "base/arena.h"
#include "proto/record/batch.h"
#include "proto/record/compression.h"

/* Slices point into the batch, or into the scratch buffer given to
 * record_open(), and live as long as these. */
struct record {
    int64_t offset;
    int64_t timestamp; /* ms; the batch's append time if it has one; -1 none */
    int32_t offset_delta;
    int64_t timestamp_delta;
    struct slice key;   /* may be null */
    struct slice value; /* may be null: a tombstone */
    int32_t headers_count;
    struct slice headers; /* encoded, without the count; record_header_next */
};

struct record_header {
    struct slice key;
    struct slice value; /* may be null */
};

/* ---- one by one ---------------------------------------------------------- */

struct record_reader {
    struct batch batch;
    struct reader in;
    int32_t left; /* records still to come */
    enum err err; /* why record_next() said false; ERR_NONE at the end */
};

/* Starts on a batch that batch_parse() accepted; whoever needs the CRC checked
 * has done so.  A compressed batch is expanded into `scratch` (emptied first;
 * not touched for an uncompressed one), at most limit_bytes of it.
 * Errors: those of codec_decode(). */
enum err record_open(struct record_reader *r, struct codec *codec,
                     struct slice bytes, const struct batch *b,
                     size_t limit_bytes, struct buf *scratch);

/* The next record, or false at the end and on an error: look at r->err, which
 * is ERR_INVALID_RECORD when a record does not decode, its fields don't fill
 * exactly its length, or bytes are left behind the last one. */
bool record_next(struct record_reader *r, struct record *record);

/* Walks `*headers` (start with record.headers); false at the end.  They were
 * checked when the record was read. */
bool record_header_next(struct slice *headers, struct record_header *header);

/* ---- all at once --------------------------------------------------------- */

/* What a topic asks of each record.  {0} plus RECORD_RULES_NONE asks nothing
 * but that it decodes. */
struct record_rules {
    bool key_required;     /* cleanup.policy contains compact */
    int64_t timestamp_min; /* inclusive, ms; -1 as a timestamp always passes */
    int64_t timestamp_max; /* inclusive, ms */
};
#define RECORD_RULES_NONE ((struct record_rules){false, INT64_MIN, INT64_MAX})

struct record_fault {
    int32_t index;   /* of the record in its batch, from 0 */
    const char *why; /* static */
};

/* Produce's record_errors, and what was learned on the way. */
struct record_report {
    struct record_fault *faults; /* in the arena */
    int32_t faults_count;
    int64_t max_timestamp;        /* of the records themselves */
    int64_t max_timestamp_offset; /* the first that has it; -1 no records */
    enum err verdict;             /* of the rules, so far */
    const char *why;              /* static; "" for ERR_NONE */
};
#define RECORD_REPORT_INIT                                                     \
    ((struct record_report){                                                   \
        .max_timestamp = -1, .max_timestamp_offset = -1, .why = ""})

/* Holds one record against the rules and notes faults and timestamp in the
 * report: the step that record_validate_all() repeats. */
void record_check(const struct record_rules *rules, const struct record *record,
                  int32_t index, struct arena *arena,
                  struct record_report *report);

/* Deep validation: every record decodes, lengths fit exactly, offset deltas are
 * 0..n-1 in order, and `rules` hold.  With broken rules the faults are listed
 * and the answer is ERR_INVALID_TIMESTAMP if only timestamps were at fault,
 * else ERR_INVALID_RECORD (what Kafka's LogValidator answers).
 * `arena` takes the list of faults; if it runs out the list is cut. */
enum err record_validate_all(struct codec *codec, struct slice bytes,
                             const struct batch *b,
                             const struct record_rules *rules,
                             size_t limit_bytes, struct buf *scratch,
                             struct arena *arena, struct record_report *report);

/* ---- by time ------------------------------------------------------------- */

struct record_position {
    int64_t offset; /* -1: no such record */
    int64_t timestamp;
};

/* The first record at or behind from_offset with timestamp >= target_ms. */
enum err record_find_timestamp(struct codec *codec, struct slice bytes,
                               const struct batch *b, int64_t target_ms,
                               int64_t from_offset, size_t limit_bytes,
                               struct buf *scratch,
                               struct record_position *found);

/* The first of those records that have the greatest timestamp (KIP-734). */
enum err record_find_max_timestamp(struct codec *codec, struct slice bytes,
                                   const struct batch *b, size_t limit_bytes,
                                   struct buf *scratch,
                                   struct record_position *found);

#endif
