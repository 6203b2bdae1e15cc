/* How records get into a partition's log.
 *
 * Leader: a produced batch is checked once (header, CRC, size, time, sequence),
 * gets its offset and epoch patched in place, and is written as it is.
 * Follower: what the leader sent is checked (CRC, order) and written as it is.
 * Only a topic with its own compression.type pays for decoding. */
#include "broker/replica/partition.h"

#include "base/assert.h"
#include "base/log.h"
#include "proto/record/recompress.h"
#include "proto/record/record.h"

#include <stdlib.h>

/* One produced batch on its way into the log. */
struct incoming {
    uint8_t *bytes;
    size_t len;
    struct batch batch;
    struct buf rewritten; /* when it had to be recompressed */
};

/* Kafka compares the declared times with the broker's clock (KIP-937). */
static enum err check_times(const struct partition *p, const struct batch *b,
                            int64_t now_wall_ms, const char **why)
{
    const struct topic_settings *s = p->settings;

    if (b->max_timestamp < 0)
        return ERR_NONE;
    if (b->base_timestamp >= 0 && s->timestamp_before_max_ms != INT64_MAX &&
        now_wall_ms - b->base_timestamp > s->timestamp_before_max_ms) {
        *why = "the timestamp is too far in the past for "
               "message.timestamp.before.max.ms";
        return ERR_INVALID_TIMESTAMP;
    }
    if (s->timestamp_after_max_ms != INT64_MAX &&
        b->max_timestamp - now_wall_ms > s->timestamp_after_max_ms) {
        *why = "the timestamp is too far in the future for "
               "message.timestamp.after.max.ms";
        return ERR_INVALID_TIMESTAMP;
    }
    return ERR_NONE;
}

static bool without_key(void *arg, const struct record *record)
{
    bool *found = arg;

    *found = slice_is_null(record->key);
    return !*found;
}

static enum err check_keys(const struct incoming *in, const char **why)
{
    bool found = false;
    enum err error =
        record_visit(slice_of(in->bytes, in->len), without_key, &found);

    if (error != ERR_NONE)
        return error;
    if (!found)
        return ERR_NONE;
    *why = "a compacted topic takes no record without a key";
    return ERR_INVALID_RECORD;
}

static enum err recompress(struct partition *p, struct incoming *in)
{
    enum compression wanted = (enum compression)p->settings->compression;

    if (p->settings->compression < 0 || batch_compression(&in->batch) == wanted)
        return ERR_NONE;
    enum err error =
        batch_recompress(slice_of(in->bytes, in->len), wanted, &in->rewritten);
    if (error != ERR_NONE)
        return error;
    in->bytes = in->rewritten.data;
    in->len = in->rewritten.len;
    return batch_parse(buf_slice(&in->rewritten), &in->batch);
}

static enum err check_produced(struct partition *p, struct incoming *in,
                               int64_t now_wall_ms, const char **why)
{
    enum err error =
        batch_validate(slice_of(in->bytes, in->len), &in->batch, why);

    if (error == ERR_NONE)
        error = recompress(p, in);
    if (error == ERR_NONE &&
        in->len > (size_t)p->settings->log.max_message_bytes) {
        *why = "the batch is larger than max.message.bytes";
        error = ERR_MESSAGE_TOO_LARGE;
    }
    if (error == ERR_NONE && !p->settings->append_time)
        error = check_times(p, &in->batch, now_wall_ms, why);
    if (error == ERR_NONE && p->settings->log.compact_policy)
        error = check_keys(in, why);
    return error;
}

/* True when the producer's state decided: a duplicate or a refusal. */
static bool producer_decides(struct partition *p, const struct batch *b,
                             struct partition_append *result, enum err *error)
{
    int64_t offset, timestamp;

    *error = ERR_NONE;
    if (b->producer_id < 0)
        return false;
    if (p->producers == NULL)
        p->producers = producers_new();
    switch (producers_check(p->producers, b, &offset, &timestamp, error)) {
    case PRODUCERS_APPEND:
        return false;
    case PRODUCERS_DUPLICATE:
        result->duplicate = true;
        result->base_offset = offset;
        result->end_offset = offset + b->last_offset_delta + 1;
        result->append_time_ms = p->settings->append_time ? timestamp : -1;
        return true;
    case PRODUCERS_REFUSE:
        return true;
    }
    return true;
}

static enum err write_batch(struct partition *p, struct incoming *in,
                            int64_t now_wall_ms,
                            struct partition_append *result)
{
    struct log_append_info info;
    int64_t end = log_end_offset(p->log);

    if (p->settings->append_time) {
        batch_patch_append_time(in->bytes, (uint32_t)in->len, now_wall_ms);
        in->batch.max_timestamp = now_wall_ms;
        in->batch.attributes |= BATCH_LOG_APPEND_TIME;
        result->append_time_ms = now_wall_ms;
    }
    batch_patch(in->bytes, end, p->state.leader_epoch);
    in->batch.base_offset = end;
    in->batch.leader_epoch = p->state.leader_epoch;
    enum err error =
        log_append(p->log, slice_of(in->bytes, in->len), now_wall_ms, &info);
    if (error != ERR_NONE) {
        log_error("log", "Cannot append to %s: %s. Producers get an error and "
                         "retry; free space or check the disk",
                  log_path(p->log), err_text(error));
        return ERR_KAFKA_STORAGE_ERROR;
    }
    result->base_offset = info.first_offset;
    result->end_offset = info.end_offset;
    if (in->batch.producer_id >= 0)
        producers_apply(p->producers, &in->batch, now_wall_ms);
    partition_appended(p);
    return ERR_NONE;
}

enum err partition_append(struct partition *p, uint8_t *bytes, size_t len,
                          int acks, bool internal,
                          struct partition_append *result)
{
    struct incoming in = {.bytes = bytes, .len = len};
    int64_t now_wall_ms = env_wall_ms(p->shard->env);

    *result = (struct partition_append){.base_offset = -1,
                                        .append_time_ms = -1};
    enum err error = partition_check_leader(p, -1);
    if (error == ERR_NONE && acks == -1 &&
        replica_set_size(p->leader->isr) < p->leader->min_isr)
        error = ERR_NOT_ENOUGH_REPLICAS;
    if (error == ERR_NONE)
        error = batch_parse(slice_of(bytes, len), &in.batch);
    if (error == ERR_NONE && in.batch.size_bytes != len)
        error = ERR_CORRUPT_MESSAGE;
    if (error == ERR_NONE && !internal)
        error = check_produced(p, &in, now_wall_ms, &result->message);
    if (error == ERR_NONE &&
        !producer_decides(p, &in.batch, result, &error))
        error = write_batch(p, &in, now_wall_ms, result);
    buf_free(&in.rewritten);
    return error;
}

/* ---- follower --------------------------------------------------------------- */

/* The whole batches at the front of what a leader sent; the last one may have
 * been cut by the fetch's size limit. */
static enum err check_replicated(struct partition *p, struct slice records,
                                 size_t *whole_bytes)
{
    int64_t next = log_end_offset(p->log);
    struct batch b;

    for (*whole_bytes = 0; *whole_bytes < records.len;) {
        struct slice rest = slice_of(records.data + *whole_bytes,
                                     records.len - *whole_bytes);
        enum err error = batch_parse(rest, &b);

        if (error == ERR_TOO_LARGE)
            return ERR_NONE;
        if (error != ERR_NONE)
            return error;
        if (!batch_crc_ok(rest, &b) || b.last_offset_delta < 0)
            return ERR_CORRUPT_MESSAGE;
        if (b.base_offset < next)
            return ERR_OFFSET_OUT_OF_RANGE;
        next = batch_last_offset(&b) + 1;
        *whole_bytes += b.size_bytes;
    }
    return ERR_NONE;
}

static void apply_producers(struct partition *p, struct slice records,
                            int64_t now_wall_ms)
{
    struct batch b;

    while (records.len != 0) {
        ASSERT(batch_parse(records, &b) == ERR_NONE);
        if (b.producer_id >= 0) {
            if (p->producers == NULL)
                p->producers = producers_new();
            producers_apply(p->producers, &b, now_wall_ms);
        }
        records.data += b.size_bytes;
        records.len -= b.size_bytes;
    }
}

enum err partition_replicate(struct partition *p, struct slice records,
                             int64_t leader_high_watermark,
                             int64_t leader_start_offset)
{
    struct log_append_info info;
    int64_t now_wall_ms = env_wall_ms(p->shard->env);
    size_t len = 0;

    enum err error = check_replicated(p, records, &len);
    if (error != ERR_NONE)
        return error;
    if (len != 0) {
        struct slice whole = slice_of(records.data, len);

        error = log_append(p->log, whole, now_wall_ms, &info);
        if (error != ERR_NONE)
            return error;
        apply_producers(p, whole, now_wall_ms);
        partition_appended(p);
    }
    if (leader_start_offset > log_start_offset(p->log) &&
        leader_start_offset <= log_end_offset(p->log)) {
        log_raise_start(p->log, leader_start_offset);
        partition_shortened(p);
    }
    partition_follower_moved(p, leader_high_watermark);
    return ERR_NONE;
}

enum err partition_truncate(struct partition *p, int64_t end_offset)
{
    if (end_offset >= log_end_offset(p->log))
        return ERR_NONE;
    if (end_offset < p->high_watermark)
        log_warn("replica",
                 "Truncating %s to %lld, below its high watermark %lld: the "
                 "leader of epoch %d has a different history",
                 log_path(p->log), (long long)end_offset,
                 (long long)p->high_watermark, p->state.leader_epoch);
    enum err error = log_truncate(p->log, end_offset);
    if (error != ERR_NONE)
        return error;
    producers_free(p->producers);
    p->producers = NULL;
    error = producers_load(p->shard->env, p->log, env_wall_ms(p->shard->env),
                           &p->producers);
    partition_shortened(p);
    return error;
}

/* ---- DeleteRecords ----------------------------------------------------------- */

enum err partition_delete_records(struct partition *p, int64_t offset,
                                  int64_t *low_watermark)
{
    enum err error = partition_check_leader(p, -1);

    *low_watermark = -1;
    if (error != ERR_NONE)
        return error;
    if (offset == -1)
        offset = p->high_watermark;
    if (offset < 0 || offset > p->high_watermark)
        return ERR_OFFSET_OUT_OF_RANGE;
    if (!p->settings->log.delete_policy)
        return ERR_POLICY_VIOLATION;
    if (offset > log_start_offset(p->log)) {
        error = log_raise_start(p->log, offset);
        if (error != ERR_NONE)
            return error;
        partition_shortened(p);
    }
    *low_watermark = log_start_offset(p->log);
    return ERR_NONE;
}
