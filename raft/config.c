/* Configurations: a small sorted array of members and its bytes.
 *
 * Encoded: int8 version, int32 count, then for each member int32 id, int8
 * voter, int16 port, int16 length, host; in version 1 the 16 bytes of its
 * directory id, too.  Version 0 is written as long as no directory is known. */
#include "raft/config.h"

#include <stdlib.h>

enum { VERSION_PLAIN = 0, VERSION_DIRECTORIES = 1 };

void raft_config_free(struct raft_config *c)
{
    free(c->members);
    *c = RAFT_CONFIG_INIT;
}

void raft_config_copy(struct raft_config *to, const struct raft_config *from)
{
    struct raft_config copy = RAFT_CONFIG_INIT;

    if (from->len != 0) {
        copy.members =
            xmemdup(from->members, from->len * sizeof *from->members);
        copy.len = from->len;
    }
    raft_config_free(to);
    *to = copy;
}

/* Position of id, or where it would go. */
static size_t position(const struct raft_config *c, int32_t id)
{
    size_t at = 0;

    while (at < c->len && c->members[at].id < id)
        at++;
    return at;
}

static bool has_at(const struct raft_config *c, size_t at, int32_t id)
{
    return at < c->len && c->members[at].id == id;
}

const struct raft_member *raft_config_find(const struct raft_config *c,
                                           int32_t id)
{
    size_t at = position(c, id);

    return has_at(c, at, id) ? &c->members[at] : NULL;
}

size_t raft_config_voters(const struct raft_config *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->len; i++)
        n += c->members[i].voter;
    return n;
}

bool raft_config_set(struct raft_config *c, const struct raft_member *member)
{
    struct raft_member copy = *member; /* it may be one of c's */
    size_t at = position(c, copy.id);
    bool known = has_at(c, at, copy.id);
    bool voter_more = copy.voter && !(known && c->members[at].voter);

    if (copy.id < 0 ||
        (voter_more && raft_config_voters(c) == RAFT_VOTERS_MAX) ||
        (!known && c->len == RAFT_MEMBERS_MAX))
        return false;
    if (!known) {
        c->members = xrealloc(c->members, (c->len + 1) * sizeof *c->members);
        memmove(c->members + at + 1, c->members + at,
                (c->len - at) * sizeof *c->members);
        c->len++;
    }
    c->members[at] = copy;
    return true;
}

bool raft_config_remove(struct raft_config *c, int32_t id)
{
    size_t at = position(c, id);

    if (!has_at(c, at, id))
        return false;
    c->len--;
    memmove(c->members + at, c->members + at + 1,
            (c->len - at) * sizeof *c->members);
    return true;
}

static bool knows_directories(const struct raft_config *c)
{
    for (size_t i = 0; i < c->len; i++)
        if (!uuid_is_zero(c->members[i].directory))
            return true;
    return false;
}

void raft_config_encode(const struct raft_config *c, struct buf *into)
{
    bool directories = knows_directories(c);

    buf_put_u8(into, directories ? VERSION_DIRECTORIES : VERSION_PLAIN);
    buf_put_u32(into, (uint32_t)c->len);
    for (size_t i = 0; i < c->len; i++) {
        const struct raft_member *m = &c->members[i];
        size_t host_len = strlen(m->host);

        buf_put_u32(into, (uint32_t)m->id);
        buf_put_u8(into, m->voter);
        buf_put_u16(into, m->port);
        buf_put_u16(into, (uint16_t)host_len);
        buf_put(into, m->host, host_len);
        if (directories)
            buf_put_slice(into, uuid_slice(&m->directory));
    }
}

static bool decode_member(struct reader *in, uint8_t version,
                          struct raft_member *m)
{
    *m = (struct raft_member){.id = read_i32(in)};
    m->voter = read_u8(in) != 0;
    m->port = read_u16(in);
    struct slice host = read_bytes(in, read_u16(in));
    if (in->bad || host.len > RAFT_HOST_MAX ||
        (host.len != 0 && memchr(host.data, '\0', host.len) != NULL))
        return false;
    if (host.len != 0)
        memcpy(m->host, host.data, host.len);
    if (version == VERSION_PLAIN)
        return true;
    struct slice directory = read_bytes(in, sizeof m->directory.bytes);
    if (in->bad)
        return false;
    memcpy(m->directory.bytes, directory.data, directory.len);
    return true;
}

bool raft_config_decode_base(struct slice bytes, struct raft_config *c)
{
    struct reader in = reader_of(bytes);
    uint8_t version = read_u8(&in);

    *c = RAFT_CONFIG_INIT;
    if (version > VERSION_DIRECTORIES)
        return false;
    uint32_t count = read_u32(&in);
    if (in.bad || count > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct raft_member m;

        if (!decode_member(&in, version, &m) ||
            raft_config_find(c, m.id) != NULL || !raft_config_set(c, &m))
            goto err;
    }
    if (reader_left(&in) != 0 || (c->len != 0 && raft_config_voters(c) == 0))
        goto err;
    return true;

err:
    raft_config_free(c);
    return false;
}

bool raft_config_decode(struct slice bytes, struct raft_config *c)
{
    return raft_config_decode_base(bytes, c) && c->len != 0;
}
