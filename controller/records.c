#include "controller/records.h"

/* protobuf-c keeps fields that it does not know and writes them again, so that
 * a record of a newer version survives in our store.  It also takes the field
 * number 0, which does not exist, if it is spelled with more bytes than it
 * needs; written again, nobody can read it. */
static bool can_be_written_again(const ProtobufCMessage *m);

static bool list_can_be_written_again(const uint8_t *list, const uint8_t *len)
{
    ProtobufCMessage **items;
    size_t n;

    memcpy(&items, list, sizeof items);
    memcpy(&n, len, sizeof n);
    for (size_t i = 0; i < n; i++)
        if (!can_be_written_again(items[i]))
            return false;
    return true;
}

static bool member_can_be_written_again(const uint8_t *at,
                                        const ProtobufCFieldDescriptor *f)
{
    const uint8_t *quantifier = at + f->quantifier_offset;
    const ProtobufCMessage *member;
    uint32_t which;

    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return list_can_be_written_again(at + f->offset, quantifier);
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        memcpy(&which, quantifier, sizeof which);
        if (which != f->id)
            return true;
    }
    memcpy(&member, at + f->offset, sizeof member);
    return member == NULL || can_be_written_again(member);
}

static bool can_be_written_again(const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;

    for (unsigned i = 0; i < m->n_unknown_fields; i++)
        if (m->unknown_fields[i].tag == 0)
            return false;
    for (unsigned i = 0; i < d->n_fields; i++)
        if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
            !member_can_be_written_again((const uint8_t *)m, &d->fields[i]))
            return false;
    return true;
}

Leat__MetadataBatch *records_unpack(struct slice batch)
{
    Leat__MetadataBatch *records =
        leat__metadata_batch__unpack(NULL, batch.len, batch.data);

    if (records != NULL && !can_be_written_again(&records->base)) {
        leat__metadata_batch__free_unpacked(records, NULL);
        records = NULL;
    }
    return records;
}

size_t records_size(const Leat__MetadataRecord *record)
{
    size_t size = leat__metadata_record__get_packed_size(record);
    size_t varint = 1;

    for (size_t left = size; left >= 0x80; left >>= 7)
        varint++;
    return 1 + varint + size;
}

void records_put(struct buf *batch, const Leat__MetadataRecord *record)
{
    size_t size = leat__metadata_record__get_packed_size(record);

    buf_put_u8(batch, 1 << 3 | 2); /* field 1, length-delimited */
    buf_put_uvarint32(batch, (uint32_t)size);
    leat__metadata_record__pack(record, buf_extend(batch, size));
}

ProtobufCBinaryData record_uuid(const struct uuid *id)
{
    return (ProtobufCBinaryData){sizeof id->bytes,
                                 (uint8_t *)(uintptr_t)id->bytes};
}

/* protobuf-c has no const; records that borrow are only read. */
static int32_t *borrow(struct image_ids ids)
{
    return (int32_t *)(uintptr_t)ids.at;
}

Leat__PartitionRecord record_of_partition(const struct image_topic *topic,
                                          int32_t partition,
                                          const struct image_partition *p)
{
    Leat__PartitionRecord r = LEAT__PARTITION_RECORD__INIT;

    r.topic_id = record_uuid(&topic->id);
    r.partition = partition;
    r.n_replicas = p->replicas_len;
    r.replicas = borrow(image_replicas(p));
    r.n_isr = p->isr_len;
    r.isr = borrow(image_isr(p));
    r.n_adding = p->adding_len;
    r.adding = borrow(image_adding(p));
    r.n_removing = p->removing_len;
    r.removing = borrow(image_removing(p));
    r.leader = p->leader;
    r.leader_epoch = p->leader_epoch;
    r.partition_epoch = p->partition_epoch;
    r.recovering = p->recovering;
    r.n_elr = p->elr_len;
    r.elr = borrow(image_elr(p));
    r.n_last_known_elr = p->last_known_elr_len;
    r.last_known_elr = borrow(image_last_known_elr(p));
    r.n_offline = p->offline_len;
    r.offline = borrow(image_offline(p));
    return r;
}

static Leat__Endpoint **endpoints_record(const struct image_endpoint *list,
                                         size_t len, struct arena *a)
{
    Leat__Endpoint **out = arena_array(a, len, sizeof(Leat__Endpoint *));
    Leat__Endpoint *each = arena_array(a, len, sizeof *each);

    for (size_t i = 0; i < len; i++) {
        each[i] = (Leat__Endpoint)LEAT__ENDPOINT__INIT;
        each[i].listener = list[i].listener;
        each[i].host = list[i].host;
        each[i].port = list[i].port;
        each[i].security_protocol = list[i].security_protocol;
        out[i] = &each[i];
    }
    return out;
}

static void put_ranges(Leat__BrokerRecord *r, const struct image_broker *b,
                       struct arena *a)
{
    Leat__FeatureRange *ranges =
        arena_array(a, b->features_len, sizeof *ranges);

    r->n_features = b->features_len;
    r->features = arena_array(a, b->features_len, sizeof *r->features);
    for (size_t i = 0; i < b->features_len; i++) {
        leat__feature_range__init(&ranges[i]);
        ranges[i].name = b->features[i].name;
        ranges[i].min_level = b->features[i].min;
        ranges[i].max_level = b->features[i].max;
        r->features[i] = &ranges[i];
    }
}

Leat__BrokerRecord record_of_broker(const struct image_broker *b,
                                    struct arena *a)
{
    Leat__BrokerRecord r = LEAT__BROKER_RECORD__INIT;

    r.broker_id = b->id;
    r.incarnation = record_uuid(&b->incarnation);
    r.broker_epoch = b->epoch;
    r.n_endpoints = b->endpoints_len;
    r.endpoints = endpoints_record(b->endpoints, b->endpoints_len, a);
    r.rack = b->rack;
    r.fenced = b->fenced;
    r.in_controlled_shutdown = b->in_controlled_shutdown;
    r.n_log_dirs = b->log_dirs_len;
    r.log_dirs = arena_array(a, b->log_dirs_len, sizeof *r.log_dirs);
    for (size_t i = 0; i < b->log_dirs_len; i++)
        r.log_dirs[i] = record_uuid(&b->log_dirs[i]);
    put_ranges(&r, b, a);
    return r;
}

Leat__ControllerRecord record_of_controller(const struct image_controller *c,
                                            struct arena *a)
{
    Leat__ControllerRecord r = LEAT__CONTROLLER_RECORD__INIT;

    r.controller_id = c->id;
    r.incarnation = record_uuid(&c->incarnation);
    r.n_endpoints = c->endpoints_len;
    r.endpoints = endpoints_record(c->endpoints, c->endpoints_len, a);
    return r;
}

Leat__TopicRecord record_of_topic(const struct image_topic *topic)
{
    Leat__TopicRecord r = LEAT__TOPIC_RECORD__INIT;

    r.topic_id = record_uuid(&topic->id);
    r.name = topic->name;
    return r;
}
