/* Kafka's messages between bytes and C structs, for every version.
 *
 * A message is described by a const table (struct kafka_desc), generated from
 * schema/ into kafka_messages.h together with its struct; one decoder and one
 * encoder walk the tables.  For a message Foo there are
 *
 *     struct foo;                       the content, all versions merged
 *     const struct kafka_desc foo_desc; how each version puts it on the wire
 *     foo_init(struct foo *)            every field at its default
 *
 * and the same for the structs inside it.
 *
 * How fields look in C
 *   string, bytes   struct slice; data == NULL is null
 *   array           `T *name; int32_t name_len;`; name_len == -1 is null
 *   struct          inline, or a pointer if it may be null (NULL)
 *   records         struct kafka_records
 *   uuid, numbers   struct uuid, int32_t, double, ...
 * A field is on the wire in some versions only; the generated header says in
 * which, and where null is allowed.
 *
 * Nothing here keeps state; every function may be called from any thread. */
#ifndef PROTO_KAFKA_CODEC_H
#define PROTO_KAFKA_CODEC_H

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"
#include "base/uuid.h"

/* ---- content ----------------------------------------------------------- */

/* Record batches, or for the sender of a Fetch answer a promise of them.
 * Null is bytes.data == NULL and ext == NULL. */
struct kafka_records {
    struct slice bytes;
    /* Not NULL: the encoder writes the length ext_len, leaves the bytes out
     * and notes a gap, into which the sender splices (sendfile).  The codec
     * never looks at what it points to.  Decoding leaves it NULL. */
    const void *ext;
    uint32_t ext_len; /* bytes */
};

/* Bytes that are missing from an encoded message. */
struct kafka_gap {
    size_t at; /* they belong before this offset of the buf */
    const void *ext;
    uint32_t ext_len;
};

/* In rising order of `at`.  Zero-initialised; reusable after _free. */
struct kafka_gaps {
    struct kafka_gap *items; /* owned */
    uint32_t len;
    uint32_t cap;
    uint64_t bytes; /* the sum of ext_len */
};

void kafka_gaps_free(struct kafka_gaps *gaps);
/* Forget the gaps noted since `before` was copied from *gaps.  gaps may be
 * NULL. */
void kafka_gaps_cut(struct kafka_gaps *gaps, const struct kafka_gaps *before);

/* ---- descriptors (generated) ------------------------------------------- */

enum kafka_type {
    KAFKA_BOOL,
    KAFKA_INT8,
    KAFKA_INT16,
    KAFKA_UINT16,
    KAFKA_INT32,
    KAFKA_INT64,
    KAFKA_FLOAT64,
    KAFKA_UUID,
    KAFKA_STRING,
    KAFKA_BYTES,
    KAFKA_RECORDS,
    KAFKA_STRUCT,
};

/* What is true of a field in every version. */
enum {
    KAFKA_ARRAY = 1,        /* of `type`; the count follows the pointer */
    KAFKA_POINTER = 2,      /* a struct that may be null */
    KAFKA_IGNORABLE = 4,    /* dropped in versions without it, never an error */
    KAFKA_PLAIN = 8,        /* int16 length even in flexible versions */
    KAFKA_NULL_DEFAULT = 16 /* default is null; else zero, empty, or dflt */
};

struct kafka_desc;

struct kafka_field {
    const char *name;              /* "topicId", as in Kafka's JSON */
    const struct kafka_desc *desc; /* of KAFKA_STRUCT, else NULL */
    int64_t dflt;                  /* of numbers and bool */
    uint16_t offset;               /* in the C struct */
    uint8_t type;                  /* enum kafka_type */
    uint8_t flags;
    int8_t min, max;           /* versions with the field, inclusive */
    int8_t null_min, null_max; /* versions in which it may be null */
    int8_t tag;                /* -1: not tagged */
};

struct kafka_desc {
    const char *name; /* "FetchRequest", or of a part "FetchTopic" */
    const struct kafka_field *fields; /* plain ones, then tagged by tag */
    uint16_t plain_count;
    uint16_t field_count; /* plain and tagged */
    uint32_t size_bytes;  /* of the C struct */
    int16_t number;       /* api key, or coordinator record type, or -1 */
    int8_t min, max;      /* versions, inclusive */
    int8_t flexible_from; /* 127: never */
};

/* ---- functions --------------------------------------------------------- */

/* Every field at its default: zero, empty, null where the schema says so, or
 * a number such as -1.  Strings that are not null become "", pointers NULL. */
void kafka_init(const struct kafka_desc *d, void *msg);

/* Decode a whole body into `msg` (d->size_bytes bytes, any content).
 *
 * Fields that the version lacks get their defaults.  Strings, bytes and
 * records are slices of `body`; arrays and pointed-to structs live in the
 * arena.  Unknown tagged fields are skipped.  A count is checked against the
 * bytes that are left before anything is allocated for it, and the arena's
 * limit bounds the rest: the body may be hostile.
 *
 * ERR_UNSUPPORTED_VERSION  the schema has no such version
 * ERR_MALFORMED            too short, bytes left over, null where none may be,
 *                          a negative length, an endless varint
 * ERR_TOO_LARGE            the arena's limit
 * After an error `msg` holds no usable content. */
enum err kafka_decode(const struct kafka_desc *d, int16_t version,
                      struct slice body, struct arena *arena, void *msg);

/* As kafka_decode, but what a client left behind its request is ignored, as
 * Apache Kafka does.  librdkafka up to 2.16 at least leaves three bytes behind
 * a Metadata request of all topics, version 9 and later. */
enum err kafka_decode_request(const struct kafka_desc *d, int16_t version,
                              struct slice body, struct arena *arena,
                              void *msg);

/* As kafka_decode, but of the next bytes of `r`; leaves `r` behind the message,
 * and anywhere after an error. */
enum err kafka_decode_prefix(const struct kafka_desc *d, int16_t version,
                             struct reader *r, struct arena *arena, void *msg);

/* Append `msg` to `out`.
 *
 * A null string in a field that is never null is written as an empty one.
 * `gaps` collects records with `ext`; it may be NULL if there are none.
 * After an error `out` and `gaps` are as before.
 *
 * ERR_UNSUPPORTED_VERSION  the schema has no such version, or a field that
 *                          isn't ignorable holds more than its default and has
 *                          no place in it (which includes null arrays in
 *                          versions that cannot say null)
 * ERR_TOO_LARGE            a string of more than 32767 bytes, or a field of
 *                          more than 2 GiB */
enum err kafka_encode(const struct kafka_desc *d, int16_t version,
                      const void *msg, struct buf *out,
                      struct kafka_gaps *gaps);

/* Append the content as one line of JSON, as Kafka's own request logs show it:
 * fields of this version only, bytes and uuids in base64, records as their
 * size in bytes.  For logs and tests. */
void kafka_to_json(const struct kafka_desc *d, int16_t version, const void *msg,
                   struct buf *out);

/* ---- for the parts of the codec ---------------------------------------- */

static inline bool kafka_has_version(const struct kafka_desc *d,
                                     int16_t version)
{
    return version >= d->min && version <= d->max;
}

static inline bool kafka_flexible(const struct kafka_desc *d, int16_t version)
{
    return version >= d->flexible_from;
}

static inline bool kafka_field_in(const struct kafka_field *f, int16_t version)
{
    return version >= f->min && version <= f->max;
}

static inline bool kafka_field_nullable(const struct kafka_field *f,
                                        int16_t version)
{
    return version >= f->null_min && version <= f->null_max;
}

/* The C value of an array field: a count follows the pointer without padding,
 * as the generated structs declare them. */
struct kafka_array {
    void *items;
    int32_t len; /* -1: null */
};
static_assert(sizeof(void *) % _Alignof(int32_t) == 0,
              "padding between an array and its count");

/* `at` is the address of the field in its struct. */
struct kafka_array kafka_array_get(const void *at);
void kafka_array_set(void *at, void *items, int32_t len);
void *kafka_pointer_get(const void *at);
void kafka_pointer_set(void *at, void *pointer);
/* Bytes that one value of the field's type takes in C. */
size_t kafka_item_size(const struct kafka_field *f);
void kafka_field_init(const struct kafka_field *f, void *at);
bool kafka_field_is_default(const struct kafka_field *f, const void *at);

#endif
