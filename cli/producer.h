/* Records to a topic: batched per partition, sent to the leaders side by side,
 * repeated until they are acknowledged.  With acks=all the producer is
 * idempotent, so that repeating writes nothing twice.  A batch that is too
 * large for its topic is split. */
#ifndef CLI_PRODUCER_H
#define CLI_PRODUCER_H

#include "cli/client.h"
#include "proto/record/builder.h"

struct producer_options {
    int16_t acks; /* -1 all, 1, 0 */
    enum compression compression;
    int level;          /* CODEC_LEVEL_DEFAULT */
    size_t batch_bytes; /* a partition's batch is not larger, unless one record
                         * is */
    int32_t request_timeout_ms;
    /* Told of each batch that is given up; may be NULL. */
    void (*failed)(void *arg, const char *why, int32_t records);
    void *arg;
};

#define PRODUCER_OPTIONS_INIT                                                  \
    ((struct producer_options){-1, COMPRESSION_NONE, CODEC_LEVEL_DEFAULT,      \
                               256 * 1024, 30000, NULL, NULL})

struct producer;

/* Nothing is sent yet.  `topic` is copied. */
struct producer *producer_new(struct client *c, const char *topic,
                              const struct producer_options *options);
/* Drops what was not flushed. */
void producer_free(struct producer *p);

/* Copies the record.  partition -1: by the key's hash, without key any.
 * Sends when a batch is full.  Errors: the topic cannot be found (see
 * client_why); batches that fail are told to failed(). */
enum err producer_add(struct producer *p, int32_t partition, int64_t timestamp,
                      struct slice key, struct slice value,
                      const struct record_header *headers, int32_t headers_len);
/* Returns when everything was acknowledged or given up. */
enum err producer_flush(struct producer *p);
/* Records acknowledged so far (with acks=0: sent). */
int64_t producer_acknowledged(const struct producer *p);

#endif
