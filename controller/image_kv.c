/* One record is one put, or the deletions that undo an earlier put.
 *
 * Loading replays the stored records kind by kind, topics before what belongs
 * to them, so the checks of replay are also the checks of what was stored. */
#include "controller/image_kv.h"

#include "controller/records.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>

/* ---- keys ---------------------------------------------------------------- */

static void key_start(struct buf *key, char kind)
{
    key->len = 0;
    buf_put(key, IMAGE_KV_PREFIX, sizeof IMAGE_KV_PREFIX - 1);
    buf_put_u8(key, (uint8_t)kind);
}

static void key_put_binary(struct buf *key, ProtobufCBinaryData id)
{
    buf_put(key, id.data, id.len);
}

static void key_put_text(struct buf *key, const char *text)
{
    buf_put(key, text, strlen(text));
}

/* The key under which a record is stored.  False for removals. */
static bool record_key(const Leat__MetadataRecord *r, struct buf *key)
{
    switch (r->record_case) {
    case LEAT__METADATA_RECORD__RECORD_BROKER:
        key_start(key, 'B');
        buf_put_u32(key, (uint32_t)r->broker->broker_id);
        return true;
    case LEAT__METADATA_RECORD__RECORD_TOPIC:
        key_start(key, 'T');
        key_put_binary(key, r->topic->topic_id);
        return true;
    case LEAT__METADATA_RECORD__RECORD_PARTITION:
        key_start(key, 'P');
        key_put_binary(key, r->partition->topic_id);
        buf_put_u32(key, (uint32_t)r->partition->partition);
        return true;
    case LEAT__METADATA_RECORD__RECORD_CONFIG:
        key_start(key, 'C');
        buf_put_u8(key, (uint8_t)r->config->resource_type);
        key_put_text(key, r->config->resource_name);
        buf_put_u8(key, 0);
        key_put_text(key, r->config->key);
        return true;
    case LEAT__METADATA_RECORD__RECORD_PRODUCER_IDS:
        key_start(key, 'X');
        return true;
    case LEAT__METADATA_RECORD__RECORD_CONTROLLER:
        key_start(key, 'Q');
        buf_put_u32(key, (uint32_t)r->controller->controller_id);
        return true;
    case LEAT__METADATA_RECORD__RECORD_FEATURE:
        key_start(key, 'F');
        key_put_text(key, r->feature->name);
        return true;
    default:
        return false;
    }
}

/* ---- writing ------------------------------------------------------------- */

static void put_record(const Leat__MetadataRecord *record, struct slice key,
                       struct kv_batch *out)
{
    size_t size = leat__metadata_record__get_packed_size(record);
    uint8_t *value = xmalloc(size != 0 ? size : 1);

    leat__metadata_record__pack(record, value);
    kv_batch_put(out, key, slice_of(value, size));
    free(value);
}

/* Deletes every key that starts with `key`; `key` is spent. */
static void delete_prefix(struct buf *key, struct kv_batch *out)
{
    struct slice from = buf_slice(key);
    struct buf to = BUF_INIT;

    buf_put_slice(&to, from);
    while (to.len != 0 && to.data[to.len - 1] == 0xff)
        to.len--;
    if (to.len != 0)
        to.data[to.len - 1]++;
    kv_batch_delete_range(out, from, buf_slice(&to));
    buf_free(&to);
}

static void delete_topic(const Leat__RemoveTopicRecord *r, struct buf *key,
                         struct kv_batch *out)
{
    key_start(key, 'T');
    key_put_binary(key, r->topic_id);
    kv_batch_delete(out, buf_slice(key));
    key_start(key, 'P');
    key_put_binary(key, r->topic_id);
    delete_prefix(key, out);
    key_start(key, 'C');
    buf_put_u8(key, IMAGE_RESOURCE_TOPIC);
    key_put_text(key, r->name);
    buf_put_u8(key, 0);
    delete_prefix(key, out);
}

static void delete_broker(const Leat__RemoveBrokerRecord *r, struct buf *key,
                          struct kv_batch *out)
{
    key_start(key, 'B');
    buf_put_u32(key, (uint32_t)r->broker_id);
    kv_batch_delete(out, buf_slice(key));
}

static enum err persist_record(const Leat__MetadataRecord *record,
                               int64_t index, struct buf *key,
                               struct kv_batch *out)
{
    switch (record->record_case) {
    case LEAT__METADATA_RECORD__RECORD_REMOVE_TOPIC:
        delete_topic(record->remove_topic, key, out);
        return ERR_NONE;
    case LEAT__METADATA_RECORD__RECORD_REMOVE_BROKER:
        delete_broker(record->remove_broker, key, out);
        return ERR_NONE;
    case LEAT__METADATA_RECORD__RECORD__NOT_SET:
        return ERR_DAMAGED;
    default:
        break;
    }
    if (!record_key(record, key))
        return ERR_DAMAGED;
    if (record->record_case == LEAT__METADATA_RECORD__RECORD_BROKER &&
        record->broker->broker_epoch == 0)
        record->broker->broker_epoch = index;
    bool gone =
        (record->record_case == LEAT__METADATA_RECORD__RECORD_CONFIG &&
         !record->config->present) ||
        (record->record_case == LEAT__METADATA_RECORD__RECORD_CONTROLLER &&
         record->controller->n_endpoints == 0) ||
        (record->record_case == LEAT__METADATA_RECORD__RECORD_FEATURE &&
         record->feature->level == 0);
    if (gone)
        kv_batch_delete(out, buf_slice(key));
    else
        put_record(record, buf_slice(key), out);
    return ERR_NONE;
}

static enum err persist_records(int64_t index, struct slice batch,
                                struct kv_batch *out)
{
    enum err error = ERR_NONE;
    struct buf key = BUF_INIT;
    Leat__MetadataBatch *records = records_unpack(batch);

    if (records == NULL)
        return ERR_MALFORMED;
    for (size_t i = 0; i < records->n_records && error == ERR_NONE; i++)
        error = persist_record(records->records[i], index, &key, out);
    leat__metadata_batch__free_unpacked(records, NULL);
    buf_free(&key);
    return error;
}

static void persist_applied(int64_t index, int64_t term, struct kv_batch *out)
{
    uint8_t value[16];
    struct buf key = BUF_INIT;

    key_start(&key, 'A');
    be64_put(value, (uint64_t)index);
    be64_put(value + 8, (uint64_t)term);
    kv_batch_put(out, buf_slice(&key), slice_of(value, sizeof value));
    buf_free(&key);
}

enum err image_persist(int64_t index, int64_t term, struct slice batch,
                       struct kv_batch *out)
{
    enum err error = persist_records(index, batch, out);

    if (error == ERR_NONE)
        persist_applied(index, term, out);
    return error;
}

void image_persist_all(const struct image *image, int64_t term,
                       struct kv_batch *out)
{
    struct image_cursor cursor = {0};
    struct buf piece = BUF_INIT;
    struct buf all = BUF_INIT;

    buf_put(&all, IMAGE_KV_PREFIX, sizeof IMAGE_KV_PREFIX - 1);
    delete_prefix(&all, out);
    buf_free(&all);
    while (!cursor.done) {
        piece.len = 0;
        image_snapshot_next(image, &cursor, 1 << 18, &piece);
        enum err error =
            persist_records(image->applied_index, buf_slice(&piece), out);
        ASSERT(error == ERR_NONE);
    }
    buf_free(&piece);
    persist_applied(image->applied_index, term, out);
}

/* ---- reading ------------------------------------------------------------- */

struct loading {
    struct image *image;
    enum err error;
};

static bool load_record(void *arg, struct slice key, struct slice value)
{
    struct loading *l = arg;
    Leat__MetadataRecord *record =
        leat__metadata_record__unpack(NULL, value.len, value.data);

    l->error =
        record == NULL ? ERR_DAMAGED : image_replay(l->image, record, 0, NULL);
    if (record != NULL)
        leat__metadata_record__free_unpacked(record, NULL);
    return l->error == ERR_NONE;
}

static enum err load_kind(struct kv *kv, char kind, struct image *image)
{
    struct loading l = {image, ERR_NONE};
    struct buf from = BUF_INIT;
    struct buf to = BUF_INIT;

    key_start(&from, kind);
    key_start(&to, (char)(kind + 1));
    int rc = kv_scan(kv, buf_slice(&from), buf_slice(&to), load_record, &l);
    buf_free(&from);
    buf_free(&to);
    return rc != 0 ? ERR_IO : l.error;
}

static enum err load_applied(struct kv *kv, struct image *image, int64_t *term)
{
    struct buf key = BUF_INIT;
    struct buf value = BUF_INIT;
    enum err error = ERR_NONE;

    key_start(&key, 'A');
    int rc = kv_get(kv, buf_slice(&key), &value);
    if (rc == 0 && value.len == 16) {
        image->applied_index = (int64_t)be64_get(value.data);
        *term = (int64_t)be64_get(value.data + 8);
    } else if (rc == 0) {
        error = ERR_DAMAGED;
    } else if (rc != -ENOENT) {
        error = ERR_IO;
    }
    buf_free(&key);
    buf_free(&value);
    return error;
}

enum err image_load(struct kv *kv, struct image *image, int64_t *term,
                    char **why)
{
    /* Topics before what belongs to them. */
    static const char kinds[] = "FQBTPCX";
    int64_t applied_term = 0;
    enum err error = load_applied(kv, image, &applied_term);
    char kind = 'A';

    for (size_t i = 0; kinds[i] != '\0' && error == ERR_NONE; i++) {
        kind = kinds[i];
        error = load_kind(kv, kind, image);
    }
    if (error != ERR_NONE)
        *why = xasprintf("the stored cluster metadata cannot be read (%s, at "
                         "entries \"" IMAGE_KV_PREFIX "%c\")",
                         err_text(error), kind);
    else if (term != NULL)
        *term = applied_term;
    return error;
}
