/* Any message of the schema, those included that no frame carries: what members
 * of a group tell each other, records of coordinators and controllers, headers.
 *
 * The input names the message by 16 bits of a hash, which stays as it is when
 * others are added; then the version and the body. */
#include "tests/fuzz/kit.h"

#include "proto/kafka/kafka_messages.h"

static uint16_t hash(const char *name)
{
    uint32_t h = 2166136261; /* FNV-1a */

    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 16777619;
    return (uint16_t)(h >> 16 ^ h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint16_t wanted = read_u16(&r);
    int16_t version = read_i16(&r);
    struct slice body = take_rest(&r);

    for (size_t i = 0; i < KAFKA_MESSAGE_COUNT; i++)
        if (hash(kafka_messages[i]->name) == wanted &&
            kafka_has_version(kafka_messages[i], version))
            fuzz_message(kafka_messages[i], version, body);
    return 0;
}
