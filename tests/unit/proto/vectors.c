/* Reads vectors and puts them through the codec.
 *
 * Bytes to decode are copied to memory of exactly their size, so that
 * the address sanitizer sees a read of one byte beyond. */
#include "tests/unit/proto/vectors.h"

#include "proto/kafka/api.h"
#include "proto/kafka/coordinator_record.h"

#include <jansson.h>
#include <stdlib.h>

enum { COLUMNS = 6 };

/* ---- reading ----------------------------------------------------------- */

static const struct kafka_desc *find(const char *name)
{
    for (size_t i = 0; i < KAFKA_MESSAGE_COUNT; i++)
        if (strcmp(kafka_messages[i]->name, name) == 0)
            return kafka_messages[i];
    return NULL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool bytes_of_hex(const char *text, struct buf *bytes)
{
    bytes->len = 0;
    for (; text[0] != '\0'; text += 2) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return false;
        buf_put_u8(bytes, (uint8_t)(high << 4 | low));
    }
    return true;
}

bool vector_next(FILE *file, struct vector *v)
{
    char *columns[COLUMNS] = {NULL};
    char *rest;
    int n = 0;

    do {
        ssize_t len = getline(&v->text, &v->text_cap, file);
        if (len < 0)
            return false;
        if (len > 0 && v->text[len - 1] == '\n')
            v->text[len - 1] = '\0';
    } while (++v->line == 1);

    v->message = NULL;
    rest = v->text;
    while (n < COLUMNS && rest != NULL)
        columns[n++] = strsep(&rest, "\t");
    if (n < COLUMNS || !bytes_of_hex(columns[4], &v->bytes))
        return true;
    v->number = columns[0][0] == '\0' ? -1 : atoi(columns[0]);
    v->message = columns[1];
    v->kind = columns[2];
    v->version = (int16_t)atoi(columns[3]);
    v->json = columns[5];
    v->desc = find(v->message);
    return true;
}

void vector_free(struct vector *v)
{
    free(v->text);
    buf_free(&v->bytes);
    *v = (struct vector){0};
}

const char *vectors_path(void) { return VECTORS_PATH; /* from the build */ }

/* ---- JSON -------------------------------------------------------------- */

static bool same_json(const json_t *expected, const json_t *ours);

static bool same_object(json_t *expected, json_t *ours)
{
    const char *name;
    json_t *value;

    if (json_object_size(expected) != json_object_size(ours))
        return false;
    json_object_foreach(expected, name, value)
    {
        if (!same_json(value, json_object_get(ours, name)))
            return false;
    }
    return true;
}

/* Kafka's converter shows records as "" where we show their size, and leaves
 * uuids and numbers as they are. */
static bool same_json(const json_t *expected, const json_t *ours)
{
    if (ours == NULL)
        return false;
    if (json_is_object(expected) && json_is_object(ours))
        return same_object((json_t *)expected, (json_t *)ours);
    if (json_is_array(expected) && json_is_array(ours)) {
        if (json_array_size(expected) != json_array_size(ours))
            return false;
        for (size_t i = 0; i < json_array_size(expected); i++)
            if (!same_json(json_array_get(expected, i),
                           json_array_get(ours, i)))
                return false;
        return true;
    }
    if (json_is_number(expected) && json_is_number(ours) &&
        (json_is_real(expected) || json_is_real(ours)))
        return json_number_value(expected) == json_number_value(ours);
    if (json_is_string(expected) && json_string_length(expected) == 0 &&
        json_is_integer(ours))
        return true; /* records */
    return json_equal(expected, ours);
}

static bool check_json(const struct vector *v, const void *msg, char *why)
{
    struct buf text = BUF_INIT;
    json_error_t error;
    json_t *expected = json_loads(v->json, JSON_ALLOW_NUL, &error);
    kafka_to_json(v->desc, v->version, msg, &text);
    json_t *ours =
        json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, &error);
    bool same = expected != NULL && ours != NULL && same_json(expected, ours);

    if (!same)
        snprintf(why, VECTOR_WHY, "the content differs: %.*s", (int)text.len,
                 (const char *)text.data);
    json_decref(expected);
    json_decref(ours);
    buf_free(&text);
    return same;
}

/* ---- checks ------------------------------------------------------------ */

static void hex_around(char *text, size_t size, struct slice bytes, size_t at)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = at; i < bytes.len && i < at + 8 && used + 3 < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%02x", bytes.data[i]);
}

bool bytes_same(struct slice expected, struct slice ours,
                char why[static VECTOR_WHY])
{
    size_t at = 0;
    char left[32];
    char right[32];

    if (slice_eq(expected, ours))
        return true;
    while (at < expected.len && at < ours.len &&
           expected.data[at] == ours.data[at])
        at++;
    hex_around(left, sizeof left, expected, at);
    hex_around(right, sizeof right, ours, at);
    snprintf(why, VECTOR_WHY,
             "%zu bytes, encoded as %zu; they differ from byte %zu on: "
             "%s..., encoded %s...",
             expected.len, ours.len, at, left, right);
    return false;
}

static bool check_encode(const struct vector *v, const void *msg, char *why)
{
    struct buf out = BUF_INIT;
    struct kafka_gaps gaps = {0};
    enum err err = kafka_encode(v->desc, v->version, msg, &out, &gaps);
    bool good = err == ERR_NONE && gaps.len == 0;

    if (!good)
        snprintf(why, VECTOR_WHY, "does not encode: %s", err_name(err));
    else
        good = bytes_same(buf_slice(&v->bytes), buf_slice(&out), why);
    kafka_gaps_free(&gaps);
    buf_free(&out);
    return good;
}

static bool check_round_trip(const struct vector *v, char *why)
{
    uint8_t *copy = xmemdup(v->bytes.data, v->bytes.len);
    void *msg = xmalloc(v->desc->size_bytes);
    struct arena arena;

    arena_init(&arena, 0);
    memset(msg, 0xa5, v->desc->size_bytes); /* decode has to set it all */
    enum err err = kafka_decode(v->desc, v->version,
                                slice_of(copy, v->bytes.len), &arena, msg);
    bool good = err == ERR_NONE;
    if (!good)
        snprintf(why, VECTOR_WHY, "does not decode: %s", err_name(err));
    good = good && check_encode(v, msg, why) && check_json(v, msg, why);
    arena_free(&arena);
    free(msg);
    free(copy);
    return good;
}

/* The vector's bytes cut or lengthened to `len` have to be malformed. */
static bool check_refused(const struct vector *v, size_t len, char *why)
{
    uint8_t *copy = xcalloc(len > 0 ? len : 1, 1);
    void *msg = xmalloc(v->desc->size_bytes);
    struct arena arena;

    memcpy(copy, v->bytes.data, len < v->bytes.len ? len : v->bytes.len);
    arena_init(&arena, 0);
    enum err err =
        kafka_decode(v->desc, v->version, slice_of(copy, len), &arena, msg);
    if (err != ERR_MALFORMED)
        snprintf(why, VECTOR_WHY, "%zu of %zu bytes decode: %s", len,
                 v->bytes.len, err_name(err));
    arena_free(&arena);
    free(msg);
    free(copy);
    return err == ERR_MALFORMED;
}

/* Coordinator records: the int16 in front, and the set that knows the type. */

static const struct coordinator_records *const sets[] = {
    &group_records, &transaction_records, &share_records};

static const struct coordinator_record *
find_record(const struct kafka_desc *desc,
            const struct coordinator_records **set)
{
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        for (uint32_t k = 0; k < sets[i]->len; k++)
            if (sets[i]->items[k].key == desc ||
                sets[i]->items[k].value == desc) {
                *set = sets[i];
                return &sets[i]->items[k];
            }
    return NULL;
}

static bool encode_again(const struct vector *v, bool is_key, void *msg,
                         struct slice framed, char *why)
{
    struct buf out = BUF_INIT;
    enum err err =
        is_key ? coordinator_key_encode(v->desc, msg, &out)
               : coordinator_value_encode(v->desc, v->version, msg, &out);
    bool good = err == ERR_NONE && bytes_same(framed, buf_slice(&out), why);

    if (err != ERR_NONE)
        snprintf(why, VECTOR_WHY, "does not encode: %s", err_name(err));
    buf_free(&out);
    return good;
}

static bool check_record(const struct vector *v, char *why)
{
    bool is_key = strcmp(v->kind, "coordinator-key") == 0;
    const struct coordinator_records *set = NULL;
    const struct coordinator_record *record = find_record(v->desc, &set);
    const struct coordinator_record *found = record;
    struct buf framed = BUF_INIT;
    struct arena arena;
    void *msg = NULL;

    if (record == NULL || record->type != v->number) {
        snprintf(why, VECTOR_WHY, "no coordinator's record type is this");
        return false;
    }
    buf_put_u16(&framed, (uint16_t)(is_key ? v->number : v->version));
    buf_put_slice(&framed, buf_slice(&v->bytes));
    arena_init(&arena, 0);
    enum err err = is_key ? coordinator_key_decode(set, buf_slice(&framed),
                                                   &arena, &found, &msg)
                          : coordinator_value_decode(record, buf_slice(&framed),
                                                     &arena, &msg);
    bool good = err == ERR_NONE && found == record;
    if (!good)
        snprintf(why, VECTOR_WHY, "as a record: %s", err_name(err));
    good = good && encode_again(v, is_key, msg, buf_slice(&framed), why);
    arena_free(&arena);
    buf_free(&framed);
    return good;
}

bool vector_check(const struct vector *v, char why[static VECTOR_WHY])
{
    if (v->message == NULL) {
        snprintf(why, VECTOR_WHY, "not six columns, or not hex");
        return false;
    }
    if (v->desc == NULL) {
        snprintf(why, VECTOR_WHY, "there is no such message");
        return false;
    }
    if (strncmp(v->kind, "coordinator", strlen("coordinator")) == 0 &&
        !check_record(v, why))
        return false;
    return check_round_trip(v, why) &&
           (v->bytes.len == 0 || check_refused(v, v->bytes.len - 1, why)) &&
           check_refused(v, v->bytes.len + 1, why);
}
