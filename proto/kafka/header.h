/* Frames: an int32 size, a header, a body.
 *
 * Which header a message carries follows from its API and version.  Request
 * header 0 (no client id) is ControlledShutdown 0's alone, 1 goes with plain
 * versions, 2 with flexible ones.  Response header 1 goes with flexible
 * versions, except that ApiVersions always answers with 0, as the client does
 * not know yet what the broker speaks (KIP-511). */
#ifndef PROTO_KAFKA_HEADER_H
#define PROTO_KAFKA_HEADER_H

#include "proto/kafka/codec.h"
#include "proto/kafka/kafka_messages.h"

/* `key` has to be in the table of APIs; versions that the schema lacks are
 * taken as the nearest that it has. */
int16_t kafka_request_header_version(int16_t key, int16_t version);
int16_t kafka_response_header_version(int16_t key, int16_t version);

/* Take a request apart.  `frame` is what follows the size; *h and *body point
 * into it.
 *
 * ERR_NONE                 *body is what api_find(key)->request decodes
 * ERR_MALFORMED            no header: close the connection
 * ERR_INVALID_REQUEST      no such API key: close the connection
 * ERR_UNSUPPORTED_VERSION  the schema has no such version; key, version,
 *                          correlation id and, if it can be found, client id
 *                          are set, so that ApiVersions can be answered
 * Whether the listener serves the version is for api_serves() to say. */
enum err kafka_parse_request(struct slice frame, struct request_header *h,
                             struct slice *body);

/* Append a whole frame, size included.  `h` says API and version.  Errors as
 * of kafka_encode, after which `out` is as before. */
enum err kafka_frame_request(struct buf *out, const struct request_header *h,
                             const void *msg);

/* Append the frame of an answer.  Its size counts the gaps; offsets of gaps are
 * offsets in `out`.  Errors as of kafka_encode. */
enum err kafka_frame_response(struct buf *out, int16_t key, int16_t version,
                              int32_t correlation_id, const void *msg,
                              struct kafka_gaps *gaps);

/* Take an answer to a request of `key` and `version` apart.  `frame` is what
 * follows the size.  ERR_MALFORMED: no header. */
enum err kafka_parse_response(struct slice frame, int16_t key, int16_t version,
                              int32_t *correlation_id, struct slice *body);

#endif
