/* Old producers: a message set becomes one batch.
 *
 * All messages go through a builder, compressed or not, as the offsets inside
 * and the format change anyway.  Faults of the rules are collected over the
 * whole set, so that the producer learns of all of them at once. */
#include "proto/record/builder.h"
#include "proto/record/message_set.h"

static enum err refuse(struct record_report *report, enum err err,
                       const char *why)
{
    report->why = why;
    return err;
}

/* Moves every message into the builder; the rules' verdict comes last. */
static enum err collect(struct message_set_reader *r,
                        const struct message_set_up *how, struct arena *arena,
                        struct batch_builder *builder,
                        struct record_report *report)
{
    struct message m;

    for (int32_t i = 0; message_set_next(r, &m); i++) {
        struct record record = {
            .offset = i,
            .timestamp = how->append_time ? how->append_time_ms : m.timestamp,
            .key = m.key,
            .value = m.value,
        };

        if (m.append_time)
            return refuse(report, ERR_INVALID_TIMESTAMP,
                          "producers may not set the timestamp type "
                          "LogAppendTime");
        record_check(&how->rules, &record, i, arena, report);
        batch_builder_append(builder, record.timestamp, m.key, m.value, NULL,
                             0);
    }
    if (r->err != ERR_NONE)
        return refuse(report, r->err, r->why);
    return report->verdict;
}

enum err message_set_up(struct codec *codec, struct slice set,
                        const struct message_set_up *how, struct arena *arena,
                        struct buf *out, struct record_report *report)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf scratch = BUF_INIT;
    struct message_set_reader r;
    struct batch_builder builder;

    *report = RECORD_REPORT_INIT;
    batch_builder_init(&builder);
    message_set_open(&r, codec, set, how->limit_bytes, &scratch);
    enum err err = collect(&r, how, arena, &builder, report);
    options.compression =
        how->keep_compression ? r.compression : how->compression;
    options.level = how->keep_compression ? CODEC_LEVEL_DEFAULT : how->level;
    if (how->append_time) {
        options.attributes = BATCH_LOG_APPEND_TIME;
        options.append_time_ms = how->append_time_ms;
    }
    if (err == ERR_NONE && builder.count > 0)
        batch_builder_finish(&builder, &options, codec, out);
    batch_builder_free(&builder);
    buf_free(&scratch);
    return err;
}
