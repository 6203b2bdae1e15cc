/* Every message, each version, against the bytes of Kafka's own serializer. */
#include "proto/kafka/api.h"
#include "tests/unit/proto/vectors.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static FILE *open_vectors(void)
{
    FILE *file = fopen(vectors_path(), "r");

    cr_assert_not_null(file, "%s", vectors_path());
    return file;
}

Test(kafka_vectors, all_pass)
{
    FILE *file = open_vectors();
    struct vector v = {0};
    char why[VECTOR_WHY];
    unsigned count = 0;

    for (; vector_next(file, &v); count++)
        cr_expect(vector_check(&v, why), "line %u, %s %d: %s", v.line,
                  v.message, v.version, why);
    cr_assert_eq(count, 3057);
    vector_free(&v);
    fclose(file);
}

/* Kafka 4 has no code to write these any more, and we don't serve them. */
static bool is_of_zookeeper_era(const struct kafka_desc *d)
{
    return d == &leader_and_isr_request_desc ||
           d == &leader_and_isr_response_desc ||
           d == &stop_replica_request_desc ||
           d == &stop_replica_response_desc ||
           d == &update_metadata_request_desc ||
           d == &update_metadata_response_desc;
}

Test(kafka_vectors, every_version_of_every_message_has_one)
{
    static bool seen[KAFKA_MESSAGE_COUNT][INT8_MAX];
    FILE *file = open_vectors();
    struct vector v = {0};

    while (vector_next(file, &v))
        for (size_t i = 0; i < KAFKA_MESSAGE_COUNT; i++)
            if (kafka_messages[i] == v.desc)
                seen[i][v.version] = true;
    for (size_t i = 0; i < KAFKA_MESSAGE_COUNT; i++)
        for (int n = kafka_messages[i]->min; n <= kafka_messages[i]->max; n++)
            cr_expect(seen[i][n] || is_of_zookeeper_era(kafka_messages[i]),
                      "%s %d", kafka_messages[i]->name, n);
    vector_free(&v);
    fclose(file);
}

/* ---- damaged bytes ------------------------------------------------------ */

/* Decode a copy of exactly that many bytes, with little memory to give. */
static enum err decode_copy(const struct vector *v, const uint8_t *bytes,
                            size_t len)
{
    uint8_t *copy = xmemdup(bytes, len);
    void *msg = xmalloc(v->desc->size_bytes);
    struct arena arena;

    arena_init(&arena, 256 * 1024);
    enum err err =
        kafka_decode(v->desc, v->version, slice_of(copy, len), &arena, msg);
    arena_free(&arena);
    free(msg);
    free(copy);
    return err;
}

Test(kafka_vectors, every_prefix_is_malformed)
{
    FILE *file = open_vectors();
    struct vector v = {0};

    while (vector_next(file, &v)) {
        /* Long vectors are long strings: their ends are enough of them. */
        size_t step = v.bytes.len > 600 ? 7 : 1;
        for (size_t len = 0; len < v.bytes.len; len += step)
            cr_assert_eq(decode_copy(&v, v.bytes.data, len), ERR_MALFORMED,
                         "line %u, %zu bytes", v.line, len);
    }
    vector_free(&v);
    fclose(file);
}

/* Any byte may be any byte: decoding ends with a message or an error, and what
 * decodes also encodes. */
Test(kafka_vectors, damaged_bytes_never_hurt)
{
    static const uint8_t damage[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    FILE *file = open_vectors();
    struct vector v = {0};
    unsigned refused = 0;
    unsigned taken = 0;

    while (vector_next(file, &v)) {
        size_t step = 1 + v.bytes.len / 64;
        for (size_t at = 0; at < v.bytes.len; at += step) {
            uint8_t good = v.bytes.data[at];
            v.bytes.data[at] = damage[(at + v.line) % sizeof damage];
            enum err err = decode_copy(&v, v.bytes.data, v.bytes.len);
            v.bytes.data[at] = good;
            cr_assert(err == ERR_NONE || err == ERR_MALFORMED ||
                          err == ERR_TOO_LARGE,
                      "line %u, byte %zu: %s", v.line, at, err_name(err));
            *(err == ERR_NONE ? &taken : &refused) += 1;
        }
    }
    cr_expect_gt(refused, 1000);
    cr_expect_gt(taken, 1000);
    vector_free(&v);
    fclose(file);
}
