/* Encoding copies each payload once, into the buffer that is sent.  Decoding
 * lets protobuf-c allocate from an arena with a limit, so a small message that
 * claims millions of entries ends as malformed. */
#include "raft/codec.h"

#include "proto/internal/arena_allocator.h"
#include "proto/internal/raft.pb-c.h"

/* ---- encode ------------------------------------------------------------- */

static ProtobufCBinaryData bytes_of(struct slice s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)s.data};
}

static Leat__RaftEntry **
encode_entries(struct arena *a, const struct raft_entry *entries, size_t len)
{
    Leat__RaftEntry **list = arena_array(a, len, sizeof *list);
    Leat__RaftEntry *out = arena_array(a, len, sizeof *out);

    for (size_t i = 0; i < len; i++) {
        leat__raft_entry__init(&out[i]);
        out[i].term = entries[i].term;
        out[i].type = (uint32_t)entries[i].type;
        out[i].data = bytes_of(entries[i].data);
        list[i] = &out[i];
    }
    return list;
}

static Leat__RaftMember **encode_members(struct arena *a,
                                         const struct raft_config *config)
{
    Leat__RaftMember **list = arena_array(a, config->len, sizeof *list);
    Leat__RaftMember *out = arena_array(a, config->len, sizeof *out);

    for (size_t i = 0; i < config->len; i++) {
        leat__raft_member__init(&out[i]);
        out[i].id = config->members[i].id;
        out[i].voter = config->members[i].voter;
        out[i].host = config->members[i].host;
        out[i].port = config->members[i].port;
        if (!uuid_is_zero(config->members[i].directory))
            out[i].directory =
                bytes_of(uuid_slice(&config->members[i].directory));
        list[i] = &out[i];
    }
    return list;
}

/* The body messages of all types, one of which is used. */
union body {
    Leat__RaftVoteRequest vote_request;
    Leat__RaftVoteReply vote_reply;
    Leat__RaftAppend append;
    Leat__RaftAppendReply append_reply;
    Leat__RaftSnapshot snapshot;
    Leat__RaftSnapshotReply snapshot_reply;
    Leat__RaftTimeoutNow timeout_now;
};

static void encode_vote(const struct raft_message *m, Leat__RaftMessage *out,
                        union body *body)
{
    if (m->type == RAFT_VOTE_REQUEST) {
        leat__raft_vote_request__init(&body->vote_request);
        body->vote_request.vote_term = m->vote_request.vote_term;
        body->vote_request.pre = m->vote_request.pre;
        body->vote_request.transfer = m->vote_request.transfer;
        body->vote_request.last_index = m->vote_request.last_index;
        body->vote_request.last_term = m->vote_request.last_term;
        out->body_case = LEAT__RAFT_MESSAGE__BODY_VOTE_REQUEST;
        out->vote_request = &body->vote_request;
    } else {
        leat__raft_vote_reply__init(&body->vote_reply);
        body->vote_reply.vote_term = m->vote_reply.vote_term;
        body->vote_reply.pre = m->vote_reply.pre;
        body->vote_reply.granted = m->vote_reply.granted;
        out->body_case = LEAT__RAFT_MESSAGE__BODY_VOTE_REPLY;
        out->vote_reply = &body->vote_reply;
    }
}

static void encode_append(struct arena *a, const struct raft_message *m,
                          Leat__RaftMessage *out, union body *body)
{
    leat__raft_append__init(&body->append);
    body->append.prev_index = m->append.prev_index;
    body->append.prev_term = m->append.prev_term;
    body->append.commit = m->append.commit;
    body->append.n_entries = m->append.entries_len;
    body->append.entries =
        encode_entries(a, m->append.entries, m->append.entries_len);
    out->body_case = LEAT__RAFT_MESSAGE__BODY_APPEND;
    out->append = &body->append;
}

static void encode_append_reply(const struct raft_message *m,
                                Leat__RaftMessage *out, union body *body)
{
    leat__raft_append_reply__init(&body->append_reply);
    body->append_reply.rejected = m->append_reply.rejected;
    body->append_reply.match = m->append_reply.match;
    body->append_reply.asked = m->append_reply.asked;
    body->append_reply.hint_index = m->append_reply.hint_index;
    body->append_reply.hint_term = m->append_reply.hint_term;
    out->body_case = LEAT__RAFT_MESSAGE__BODY_APPEND_REPLY;
    out->append_reply = &body->append_reply;
}

static void encode_snapshot(struct arena *a, const struct raft_message *m,
                            struct slice image, Leat__RaftMessage *out,
                            union body *body)
{
    leat__raft_snapshot__init(&body->snapshot);
    body->snapshot.index = m->snapshot.index;
    body->snapshot.index_term = m->snapshot.index_term;
    body->snapshot.config_index = m->snapshot.config_index;
    body->snapshot.n_members = m->snapshot.config->len;
    body->snapshot.members = encode_members(a, m->snapshot.config);
    body->snapshot.offset = m->snapshot.offset;
    body->snapshot.size = m->snapshot.size;
    body->snapshot.data = bytes_of(image);
    out->body_case = LEAT__RAFT_MESSAGE__BODY_SNAPSHOT;
    out->snapshot = &body->snapshot;
}

static void encode_small(const struct raft_message *m, Leat__RaftMessage *out,
                         union body *body)
{
    if (m->type == RAFT_SNAPSHOT_REPLY) {
        leat__raft_snapshot_reply__init(&body->snapshot_reply);
        body->snapshot_reply.index = m->snapshot_reply.index;
        body->snapshot_reply.offset = m->snapshot_reply.offset;
        out->body_case = LEAT__RAFT_MESSAGE__BODY_SNAPSHOT_REPLY;
        out->snapshot_reply = &body->snapshot_reply;
    } else {
        leat__raft_timeout_now__init(&body->timeout_now);
        out->body_case = LEAT__RAFT_MESSAGE__BODY_TIMEOUT_NOW;
        out->timeout_now = &body->timeout_now;
    }
}

void raft_message_encode(const struct raft_message *m, const char *cluster_id,
                         struct slice image, struct buf *into)
{
    Leat__RaftMessage out = LEAT__RAFT_MESSAGE__INIT;
    struct arena scratch;
    union body body;

    arena_init(&scratch, 0);
    out.cluster_id = (char *)cluster_id;
    out.from = m->from;
    out.to = m->to;
    out.term = m->term;
    if (m->host != NULL) {
        out.host = (char *)(uintptr_t)m->host;
        out.port = m->port;
    }
    switch (m->type) {
    case RAFT_VOTE_REQUEST:
    case RAFT_VOTE_REPLY:
        encode_vote(m, &out, &body);
        break;
    case RAFT_APPEND:
        encode_append(&scratch, m, &out, &body);
        break;
    case RAFT_APPEND_REPLY:
        encode_append_reply(m, &out, &body);
        break;
    case RAFT_SNAPSHOT:
        encode_snapshot(&scratch, m, image, &out, &body);
        break;
    case RAFT_SNAPSHOT_REPLY:
    case RAFT_TIMEOUT_NOW:
        encode_small(m, &out, &body);
        break;
    }
    leat__raft_message__pack(
        &out, buf_extend(into, leat__raft_message__get_packed_size(&out)));
    arena_free(&scratch);
}

/* ---- decode ------------------------------------------------------------- */

static struct slice slice_from(ProtobufCBinaryData data)
{
    return data.data != NULL ? slice_of(data.data, data.len) : SLICE("");
}

static bool decode_append(struct arena *a, const Leat__RaftAppend *in,
                          struct raft_message *m)
{
    struct raft_entry *entries;

    if (in->n_entries > RAFT_MESSAGE_ENTRIES_MAX)
        return false;
    entries = arena_array(a, in->n_entries, sizeof *entries);
    if (entries == NULL && in->n_entries != 0)
        return false;
    for (size_t i = 0; i < in->n_entries; i++) {
        if (in->entries[i]->type > RAFT_ENTRY_CONFIG)
            return false;
        entries[i].index = in->prev_index + 1 + i;
        entries[i].term = in->entries[i]->term;
        entries[i].type = (enum raft_entry_type)in->entries[i]->type;
        entries[i].data = slice_from(in->entries[i]->data);
    }
    m->type = RAFT_APPEND;
    m->append.prev_index = in->prev_index;
    m->append.prev_term = in->prev_term;
    m->append.commit = in->commit;
    m->append.entries = entries;
    m->append.entries_len = in->n_entries;
    return true;
}

static bool decode_member(const Leat__RaftMember *in, struct raft_member *m)
{
    size_t host_len = strlen(in->host);

    if (in->id < 0 || in->port > UINT16_MAX || host_len > RAFT_HOST_MAX ||
        (in->directory.len != 0 &&
         in->directory.len != sizeof m->directory.bytes))
        return false;
    m->id = in->id;
    m->voter = in->voter;
    m->port = (uint16_t)in->port;
    memcpy(m->host, in->host, host_len + 1);
    if (in->directory.len != 0)
        memcpy(m->directory.bytes, in->directory.data, in->directory.len);
    return true;
}

/* Members in the arena, ascending as struct raft_config wants them. */
static struct raft_config *decode_config(struct arena *a,
                                         Leat__RaftMember **members, size_t len)
{
    struct raft_config *config = arena_alloc(a, sizeof *config);

    if (len == 0 || len > RAFT_MEMBERS_MAX || config == NULL)
        return NULL;
    config->members = arena_array(a, len, sizeof *config->members);
    if (config->members == NULL)
        return NULL;
    config->len = len;
    for (size_t i = 0; i < len; i++)
        if (!decode_member(members[i], &config->members[i]) ||
            (i > 0 && config->members[i].id <= config->members[i - 1].id))
            return NULL;
    return raft_config_voters(config) <= RAFT_VOTERS_MAX ? config : NULL;
}

static bool decode_snapshot(struct arena *a, const Leat__RaftSnapshot *in,
                            struct raft_message *m)
{
    m->type = RAFT_SNAPSHOT;
    m->snapshot.index = in->index;
    m->snapshot.index_term = in->index_term;
    m->snapshot.config_index = in->config_index;
    m->snapshot.config = decode_config(a, in->members, in->n_members);
    m->snapshot.offset = in->offset;
    m->snapshot.size = in->size;
    m->snapshot.data = slice_from(in->data);
    m->snapshot.len = m->snapshot.data.len;
    return m->snapshot.config != NULL;
}

static void decode_vote_request(const Leat__RaftVoteRequest *in,
                                struct raft_message *m)
{
    m->type = RAFT_VOTE_REQUEST;
    m->vote_request.vote_term = in->vote_term;
    m->vote_request.pre = in->pre;
    m->vote_request.transfer = in->transfer;
    m->vote_request.last_index = in->last_index;
    m->vote_request.last_term = in->last_term;
}

static void decode_vote_reply(const Leat__RaftVoteReply *in,
                              struct raft_message *m)
{
    m->type = RAFT_VOTE_REPLY;
    m->vote_reply.vote_term = in->vote_term;
    m->vote_reply.pre = in->pre;
    m->vote_reply.granted = in->granted;
}

static void decode_append_reply(const Leat__RaftAppendReply *in,
                                struct raft_message *m)
{
    m->type = RAFT_APPEND_REPLY;
    m->append_reply.rejected = in->rejected;
    m->append_reply.match = in->match;
    m->append_reply.asked = in->asked;
    m->append_reply.hint_index = in->hint_index;
    m->append_reply.hint_term = in->hint_term;
}

static bool decode_body(struct arena *a, const Leat__RaftMessage *in,
                        struct raft_message *m)
{
    switch (in->body_case) {
    case LEAT__RAFT_MESSAGE__BODY_VOTE_REQUEST:
        decode_vote_request(in->vote_request, m);
        return true;
    case LEAT__RAFT_MESSAGE__BODY_VOTE_REPLY:
        decode_vote_reply(in->vote_reply, m);
        return true;
    case LEAT__RAFT_MESSAGE__BODY_APPEND:
        return decode_append(a, in->append, m);
    case LEAT__RAFT_MESSAGE__BODY_APPEND_REPLY:
        decode_append_reply(in->append_reply, m);
        return true;
    case LEAT__RAFT_MESSAGE__BODY_SNAPSHOT:
        return decode_snapshot(a, in->snapshot, m);
    case LEAT__RAFT_MESSAGE__BODY_SNAPSHOT_REPLY:
        m->type = RAFT_SNAPSHOT_REPLY;
        m->snapshot_reply.index = in->snapshot_reply->index;
        m->snapshot_reply.offset = in->snapshot_reply->offset;
        return true;
    case LEAT__RAFT_MESSAGE__BODY_TIMEOUT_NOW:
        m->type = RAFT_TIMEOUT_NOW;
        return true;
    default:
        return false;
    }
}

bool raft_message_decode(struct slice bytes, struct arena *arena,
                         struct raft_message *m, struct slice *cluster_id)
{
    ProtobufCAllocator allocator = arena_allocator(arena);
    Leat__RaftMessage *in =
        leat__raft_message__unpack(&allocator, bytes.len, bytes.data);

    if (in == NULL || arena->exhausted || in->port > UINT16_MAX ||
        strlen(in->host) > RAFT_HOST_MAX)
        return false;
    *m =
        (struct raft_message){.from = in->from, .to = in->to, .term = in->term};
    if (in->host[0] != '\0') {
        m->host = in->host;
        m->port = (uint16_t)in->port;
    }
    *cluster_id = slice_str(in->cluster_id);
    return decode_body(arena, in, m);
}
