/* How records get into a partition's log.
 *
 * Leader: a produced batch is checked once (header, CRC, size, time, sequence),
 * gets its offset and epoch patched in place, and is written as it is.
 * Follower: what the leader sent is checked (CRC, order) and written as it is.
 * Only a topic with its own compression.type pays for decoding. */
#include "broker/replica/partition.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/checkpoint.h"
#include "broker/cleaner.h"
#include "proto/record/produced.h"

#include <errno.h>
#include <stdlib.h>

/* What is kept of the shard's buffers from one request to the next. */
enum { BUFFERS_KEPT_BYTES = 4 << 20 };

/* How long a producer may need to put its requests in order again: until it
 * gives up on one at the old leader, by default after 30 s. */
enum { GAP_GRACE_MS = 30000 };

/* Checks the records by the topic's rules, and rewrites what must be rewritten:
 * old clients' message sets, another compression.type. */
static enum err prepare(struct partition *p, const struct partition_source *in,
                        struct produced *out)
{
    const struct topic_settings *s = p->settings;
    struct shard *shard = p->shard;
    uint64_t before = codec_expanded_bytes(shard->codec);
    struct produced_rules rules = {
        .api_version = in->api_version,
        .max_message_bytes = s->log.max_message_bytes,
        .keep_compression = s->compression < 0,
        .compression = s->compression < 0 ? COMPRESSION_NONE
                                          : (enum compression)s->compression,
        .level = s->compression_level,
        .append_time = s->append_time,
        .now_ms = env_wall_ms(shard->env),
        .before_max_ms = s->timestamp_before_max_ms,
        .after_max_ms = s->timestamp_after_max_ms,
        .key_required = s->log.compact_policy,
        .limit_bytes = CODEC_LIMIT_BYTES, /* as whoever reads them */
    };

    if (in->expand_bytes != NULL && *in->expand_bytes < rules.limit_bytes)
        rules.limit_bytes = *in->expand_bytes;
    enum err error =
        produced_prepare(shard->codec, in->bytes, in->len, &rules,
                         &shard->expanded, in->arena, &shard->rewritten, out);
    uint64_t came = codec_expanded_bytes(shard->codec) - before;
    if (in->expand_bytes != NULL)
        *in->expand_bytes -=
            came < *in->expand_bytes ? (size_t)came : *in->expand_bytes;
    return error;
}

/* Coordinators' batches are our own: only the header is needed. */
static enum err take_internal(const struct partition_source *in,
                              struct produced *out)
{
    *out = (struct produced){.bytes = in->bytes, .report = {.why = ""}};
    return batch_parse(slice_of(in->bytes, in->len), &out->batch);
}

/* Refuses for a reason that may pass; what this producer has sent behind it
 * must not get in first. */
static enum err refuse(struct partition *p, const struct partition_source *in,
                       enum err error)
{
    struct batch b;

    if (in->api_version >= 3 &&
        batch_parse(slice_of(in->bytes, in->len), &b) == ERR_NONE)
        refusals_note(&p->refusals, &b, error, env_now_ms(p->shard->env));
    return error;
}

void partition_refused(struct partition *p, struct slice records,
                       enum err error)
{
    struct batch b;

    if ((error == ERR_NOT_ENOUGH_REPLICAS ||
         error == ERR_CONCURRENT_TRANSACTIONS ||
         error == ERR_NOT_LEADER_OR_FOLLOWER) &&
        batch_parse(records, &b) == ERR_NONE)
        refusals_note(&p->refusals, &b, error, env_now_ms(p->shard->env));
}

/* A producer whose first request the old leader refused may have sent the
 * second to the new one before it puts the first back in front: librdkafka does
 * at times.  As long as it has not been heard of in a young leadership, its gap
 * is taken for that, and NOT_LEADER_OR_FOLLOWER makes it send both again.  So
 * is one that a leader finds which wakes up, or is cut off: what is missing may
 * be with another leader already. */
static bool gap_may_close(const struct partition *p,
                          const struct producer *known)
{
    return known->last_offset < p->led_from_offset &&
           env_now_ms(p->shard->env) - p->led_since_ms < GAP_GRACE_MS;
}

/* What is said instead of `error` to a batch that comes too early: behind one
 * that was refused, from a producer that nobody knows here or with a gap. */
static enum err too_early(const struct partition *p, const struct batch *b,
                          enum err error)
{
    struct producer known;
    bool gap = error == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;

    if (!gap && (error != ERR_NONE || p->refusals == NULL))
        return error;
    bool found = producers_get(p->producers, b->producer_id, &known);
    if (!gap && found)
        return error;
    enum err reason =
        refusals_reason(p->refusals, b, env_now_ms(p->shard->env));
    if (reason != ERR_NONE)
        return reason;
    if (gap &&
        (partition_session_is_over(p) || (found && gap_may_close(p, &known))))
        return ERR_NOT_LEADER_OR_FOLLOWER;
    return error;
}

/* From version 12 on each transaction has a producer epoch of its own, which
 * begins with sequence 0 (KIP-890): who goes on is not new, but was lost here.
 */
static bool lost_producer(const struct partition *p, const struct batch *b,
                          int16_t api_version)
{
    struct producer known;

    return api_version >= 12 && (b->attributes & BATCH_TRANSACTIONAL) != 0 &&
           b->base_sequence != 0 &&
           !producers_get(p->producers, b->producer_id, &known);
}

/* True when the producer's state decided: a duplicate or a refusal. */
static bool producer_decides(struct partition *p, const struct batch *b,
                             int16_t api_version,
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
        if (lost_producer(p, b, api_version))
            *error = ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        *error = too_early(p, b, *error);
        return *error != ERR_NONE;
    case PRODUCERS_REFUSE:
        *error = too_early(p, b, *error);
        return *error != ERR_NONE;
    case PRODUCERS_DUPLICATE:
        refusals_accepted(&p->refusals, b);
        result->duplicate = true;
        result->base_offset = offset;
        result->end_offset = offset + b->last_offset_delta + 1;
        result->append_time_ms = p->settings->append_time ? timestamp : -1;
        return true;
    }
    return true;
}

/* Producer state is stored as of the start of a segment, so that a restart
 * reads no more than that segment. */
void partition_rolled(struct partition *p)
{
    if (!p->producers_stale)
        producers_store(p->shard->env, p->producers, log_path(p->log),
                        log_active_base_offset(p->log));
    cleaner_note(p);
}

/* A follower that cannot append leaves the ISR after replica.lag.time.max.ms;
 * by then a leader that cannot gives way to one that may have room. */
static void disk_is_full(struct partition *p)
{
    int64_t now_ms = env_now_ms(p->shard->env);

    if (p->full_since_ms == 0)
        p->full_since_ms = now_ms;
    if (now_ms - p->full_since_ms <= p->leader->lag_max_ms)
        return;
    p->full_since_ms = now_ms;
    int to = leader_successor(p->leader);
    if (to < 0)
        return;
    log_warn("replica",
             "The disk of %s stays full; handing the lead over to node %d",
             log_path(p->log), (int)p->state.replicas[to]);
    partition_hand_over(p, p->state.replicas[to]);
}

enum err partition_write_batch(struct partition *p, struct produced *in,
                               struct partition_append *result)
{
    struct log_append_info info;
    int64_t end = log_end_offset(p->log);
    int64_t active = log_active_base_offset(p->log);
    int64_t now_wall_ms = env_wall_ms(p->shard->env);

    batch_patch(in->bytes, end, p->state.leader_epoch);
    in->batch.base_offset = end;
    in->batch.leader_epoch = p->state.leader_epoch;
    enum err error = log_append(
        p->log, slice_of(in->bytes, in->batch.size_bytes), now_wall_ms, &info);
    if (error != ERR_NONE) {
        log_error("log",
                  "Cannot append to %s: %s. Producers get an error and retry; "
                  "free space or check the disk",
                  log_path(p->log), err_text(error));
        partition_write_failed(p);
        if (error == ERR_FULL)
            disk_is_full(p);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    p->full_since_ms = 0;
    if (p->settings->append_time)
        result->append_time_ms = in->batch.max_timestamp;
    result->base_offset = info.first_offset;
    result->end_offset = info.end_offset;
    if (log_active_base_offset(p->log) != active)
        partition_rolled(p);
    producers_take(&p->producers, p->log, &in->batch,
                   slice_of(in->bytes, in->batch.size_bytes), now_wall_ms);
    if (in->batch.producer_id >= 0 && in->batch.base_sequence >= 0)
        refusals_accepted(&p->refusals, &in->batch);
    partition_appended(p);
    return ERR_NONE;
}

enum err partition_check_replicas(const struct partition *p)
{
    enum err error = partition_check_leader(p, -1);

    if (error == ERR_NONE &&
        replica_set_size(p->leader->isr) < p->leader->min_isr)
        error = ERR_NOT_ENOUGH_REPLICAS;
    return error;
}

static void give_back(struct buf *b)
{
    if (b->cap > BUFFERS_KEPT_BYTES)
        buf_free(b);
}

/* What the records need to become a batch of the log, and then that. */
static enum err append(struct partition *p, const struct partition_source *in,
                       struct partition_append *result)
{
    struct produced produced = {0};
    enum err error = in->api_version < 0 ? take_internal(in, &produced)
                                         : prepare(p, in, &produced);

    result->report = produced.report;
    if (error != ERR_NONE)
        return error;
    if (in->api_version >= 0 && p->settings->log.segment_bytes > 0 &&
        produced.batch.size_bytes > p->settings->log.segment_bytes)
        return ERR_RECORD_LIST_TOO_LARGE;
    if (produced.batch.size_bytes == 0) { /* an empty message set */
        result->base_offset = result->end_offset = log_end_offset(p->log);
        return ERR_NONE;
    }
    if (!producer_decides(p, &produced.batch, in->api_version, result, &error))
        error = partition_write_batch(p, &produced, result);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        refusals_note(&p->refusals, &produced.batch, error,
                      env_now_ms(p->shard->env));
    return error;
}

enum err partition_append(struct partition *p,
                          const struct partition_source *in, int acks,
                          struct partition_append *result)
{
    *result =
        (struct partition_append){.base_offset = -1, .append_time_ms = -1};
    enum err error = acks == -1 ? partition_check_replicas(p)
                                : partition_check_leader(p, -1);
    if (error == ERR_NONE && acks == -1 && in->api_version >= 0 &&
        partition_is_cut_off(p))
        error = ERR_NOT_LEADER_OR_FOLLOWER;
    if (error != ERR_NONE)
        return refuse(p, in, error);
    error = append(p, in, result);
    give_back(&p->shard->expanded);
    give_back(&p->shard->rewritten);
    return error;
}

/* ---- follower ------------------------------------------------------------ */

/* The whole batches at the front of what a leader sent; the last one may have
 * been cut by the fetch's size limit. */
static enum err check_replicated(struct partition *p, struct slice records,
                                 size_t *whole_bytes)
{
    int64_t next = log_end_offset(p->log);
    struct batch b;

    for (*whole_bytes = 0; *whole_bytes < records.len;) {
        struct slice rest =
            slice_of(records.data + *whole_bytes, records.len - *whole_bytes);
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

/* Before the log is cut to end_offset: what is stored as its recovery point may
 * not lie above that, or what is written there next would count as synced; nor
 * what is stored as its start, or it would be removed. */
enum err partition_lower_checkpoint(struct partition *p, int64_t end_offset,
                                    int64_t limit)
{
    if (!checkpoint_outlives(p, end_offset, limit))
        return ERR_NONE;
    /* Checkpoints that are on their way carry the old recovery point, and would
     * be written after the new one.  The follower asks again. */
    if (p->shard->checkpoint_batch != NULL)
        return ERR_REQUEST_TIMED_OUT;
    int rc = checkpoint_lower(p, limit);
    return rc == 0 ? ERR_NONE : rc == -ENOSPC ? ERR_FULL : ERR_IO;
}

static enum err bring_in_line(struct partition *p)
{
    bool is_news = !p->producers_stale;
    enum err error = producers_truncated(
        p->shard->env, p->log, p->high_watermark, env_wall_ms(p->shard->env),
        &p->producers, &p->producers_stale);

    if (error == ERR_NONE)
        return ERR_NONE;
    if (is_news)
        log_error("replica",
                  "What is known of the producers of %s cannot be brought in "
                  "line with the log, which was cut: %s. The replica takes no "
                  "records before it is",
                  log_path(p->log), err_text(error));
    if (error == ERR_IO)
        partition_go_offline(p);
    else if (error != ERR_FULL && error != ERR_EXHAUSTED)
        partition_leave_service(p);
    else if (list_unlinked(&p->watched_link))
        list_push_back(&p->shard->watched, &p->watched_link);
    return error;
}

enum err partition_mend_producers(struct partition *p)
{
    return p->producers_stale ? bring_in_line(p) : ERR_NONE;
}

enum err partition_was_cut(struct partition *p, enum err error)
{
    if (log_failed(p->log))
        return error;
    /* With an error the log may end anywhere between. */
    partition_shortened(p);
    if (PLANTED(PRODUCERS_OUTLIVE_CUTS))
        return error;
    enum err mended = bring_in_line(p);
    return error != ERR_NONE ? error : mended;
}

/* DeleteRecords may have moved the leader's start into a batch.  A log that is
 * to begin there begins with the whole batch, or it would never get it.  So
 * does one that ends there: what it has is wanted by nobody, and the leader can
 * not tell any more whether it ever was the same. */
static enum err begin_with_whole_batch(struct partition *p,
                                       struct slice records,
                                       int64_t leader_start_offset)
{
    int64_t end = log_end_offset(p->log);
    struct batch b;

    if ((log_start_offset(p->log) != end && leader_start_offset < end) ||
        batch_parse(records, &b) != ERR_NONE || b.base_offset < 0 ||
        b.base_offset >= end || batch_last_offset(&b) < end)
        return ERR_NONE;
    enum err error =
        partition_lower_checkpoint(p, b.base_offset, b.base_offset);
    return error != ERR_NONE
               ? error
               : partition_was_cut(p,
                                   log_truncate_fully(p->log, b.base_offset));
}

/* `active` is where the active segment began before these records came. */
static void apply_producers(struct partition *p, struct slice records,
                            int64_t active, int64_t now_wall_ms)
{
    struct batch b;

    while (records.len != 0) {
        ASSERT(batch_parse(records, &b) == ERR_NONE);
        if (active != log_active_base_offset(p->log) &&
            b.base_offset >= log_active_base_offset(p->log)) {
            partition_rolled(p);
            active = log_active_base_offset(p->log);
        }
        if (!PLANTED(PRODUCERS_NOT_FOLLOWED))
            producers_take(&p->producers, p->log, &b, records, now_wall_ms);
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

    enum err error = partition_mend_producers(p);
    if (error == ERR_NONE)
        error = begin_with_whole_batch(p, records, leader_start_offset);
    if (error == ERR_NONE)
        error = check_replicated(p, records, &len);
    if (error != ERR_NONE)
        return error;
    int64_t active = log_active_base_offset(p->log);
    if (len != 0) {
        struct slice whole = slice_of(records.data, len);

        error = log_append(p->log, whole, now_wall_ms, &info);
        if (error != ERR_NONE) {
            partition_write_failed(p);
            return error;
        }
        apply_producers(p, whole, active, now_wall_ms);
        partition_appended(p);
    }
    if (leader_start_offset > log_start_offset(p->log) &&
        leader_start_offset <= log_end_offset(p->log)) {
        log_raise_start(p->log, leader_start_offset);
        partition_shortened(p);
    }
    partition_follower_moved(p, leader_high_watermark);
    partition_check_mended(p, leader_high_watermark);
    return ERR_NONE;
}

/* The price of an unclean election, to the offset: each replica that had the
 * records says so.  Those below its high watermark were committed; of those
 * behind, it cannot know how many were. */
static void report_loss(const struct partition *p, int64_t end_offset)
{
    int64_t end = log_end_offset(p->log);

    if (end_offset < p->high_watermark)
        log_error("replica",
                  "DATA LOSS in %s-%d: the records of offsets %lld to %lld "
                  "were committed, and the leader of epoch %d, node %d, does "
                  "not have them. They are cut off %s",
                  p->topic->name, p->index, (long long)end_offset,
                  (long long)p->high_watermark - 1, (int)p->state.leader_epoch,
                  (int)p->state.leader, log_path(p->log));
    else if (p->state.recovering)
        log_warn("replica",
                 "POSSIBLE DATA LOSS in %s-%d: the records of offsets %lld to "
                 "%lld may have been acknowledged, and the leader of epoch %d, "
                 "node %d, which was elected though it was not in sync, does "
                 "not have them. They are cut off %s",
                 p->topic->name, p->index, (long long)end_offset,
                 (long long)end - 1, (int)p->state.leader_epoch,
                 (int)p->state.leader, log_path(p->log));
}

enum err partition_truncate(struct partition *p, int64_t end_offset)
{
    if (end_offset >= log_end_offset(p->log)) /* epochs without records go */
        return log_truncate(p->log, end_offset);
    report_loss(p, end_offset);
    /* The log may be cut further, to the beginning of a batch. */
    enum err error = partition_lower_checkpoint(
        p, end_offset, log_segment_base_offset(p->log, end_offset));
    return error != ERR_NONE
               ? error
               : partition_was_cut(p, log_truncate(p->log, end_offset));
}

/* ---- DeleteRecords ------------------------------------------------------- */

enum err partition_delete_records(struct partition *p, int64_t *offset)
{
    enum err error = partition_check_leader(p, -1);

    if (error != ERR_NONE)
        return error;
    if (!p->settings->log.delete_policy)
        return ERR_POLICY_VIOLATION;
    if (*offset == -1)
        *offset = p->high_watermark;
    if (*offset < 0 || *offset > p->high_watermark)
        return ERR_OFFSET_OUT_OF_RANGE;
    if (*offset > log_start_offset(p->log)) {
        error = log_raise_start(p->log, *offset);
        if (error == ERR_NONE)
            partition_shortened(p);
    }
    return error;
}
