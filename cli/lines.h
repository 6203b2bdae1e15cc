/* The loops of the two console tools, for both of their front ends. */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include "cli/consumer.h"
#include "cli/line_format.h"
#include "cli/producer.h"
#include "cli/record_format.h"

struct produce_job {
    struct client *client;
    const char *topic;
    int32_t partition;             /* -1: by key */
    struct record_header *headers; /* of every record, before the line's own */
    int32_t headers_len;
    struct slice key; /* of every record without one of its own; null: none */
    struct line_format format;
    struct producer_options options;
    bool sync;   /* flush after each record */
    bool prompt; /* print > when a person types */
    int64_t produced;
    int64_t failed;
};

/* Standard input, line by line, until its end.  ERR_NONE also if records were
 * given up (job->failed counts them, each was told on standard error); other
 * errors with a sentence in *why that the caller frees: then job->produced
 * counts the lines before that were written. */
enum err produce_lines(struct produce_job *job, char **why);

struct consume_job {
    struct client *client;
    struct consumer_options options;
    struct record_format format;
    bool json;            /* one object per record instead */
    int64_t max_messages; /* -1: no end */
    int64_t timeout_ms;   /* without a record; -1: wait for ever */
    int64_t consumed;
    bool timed_out;
    int output_error; /* errno of standard output; 0: it took everything */
};

/* Prints records on standard output until there are enough, nothing comes, a
 * signal, or the output fails (job->output_error).  A group commits what the
 * output took.  Errors with a sentence in client_why(). */
enum err consume_lines(struct consume_job *job);

#endif
