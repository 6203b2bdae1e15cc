/* Changing who takes part, one member at a time, and forgetting old entries.
 *
 * The core keeps every configuration that may still be in force: the one behind
 * the log and those of entries in the log.  Appending one puts it in force,
 * truncating it brings the one before back. */
#include "raft/internal.h"

static struct raft_config_at *newest(struct raft *r)
{
    return &r->configs[r->configs_len - 1];
}

/* Takes over config. */
void configs_push(struct raft *r, struct raft_update *u, uint64_t index,
                  struct raft_config *config)
{
    r->configs =
        xrealloc(r->configs, (r->configs_len + 1) * sizeof *r->configs);
    r->configs_len++;
    newest(r)->index = index;
    newest(r)->config = *config;
    u->config_changed = true;
    peers_rebuild(r);
}

void configs_truncate(struct raft *r, struct raft_update *u, uint64_t from)
{
    while (r->configs_len > 1 && newest(r)->index >= from) {
        raft_config_free(&newest(r)->config);
        r->configs_len--;
        u->config_changed = true;
    }
    if (u->config_changed)
        peers_rebuild(r);
}

void configs_compact(struct raft *r, uint64_t base)
{
    size_t old = 0;

    while (old + 1 < r->configs_len && r->configs[old + 1].index <= base)
        raft_config_free(&r->configs[old++].config);
    r->configs_len -= old;
    memmove(r->configs, r->configs + old, r->configs_len * sizeof *r->configs);
}

void configs_reset(struct raft *r, struct raft_update *u, uint64_t index,
                   const struct raft_config *config)
{
    for (size_t i = 1; i < r->configs_len; i++)
        raft_config_free(&r->configs[i].config);
    r->configs_len = 1;
    r->configs[0].index = index;
    raft_config_copy(&r->configs[0].config, config);
    u->config_changed = true;
    peers_rebuild(r);
}

const struct raft_config_at *configs_at(const struct raft *r, uint64_t index)
{
    size_t i = r->configs_len - 1;

    while (i > 0 && r->configs[i].index > index)
        i--;
    return &r->configs[i];
}

/* ---- changes ------------------------------------------------------------ */

static int add_learner(struct raft_config *c, const struct raft_member *m)
{
    const struct raft_member *known = raft_config_find(c, m->id);
    struct raft_member member = *m;

    if (memchr(m->host, '\0', sizeof m->host) == NULL || m->host[0] == '\0')
        return ERR_INVALID_REQUEST;
    member.voter = known != NULL && known->voter;
    if (known != NULL && uuid_is_zero(member.directory))
        member.directory = known->directory;
    return raft_config_set(c, &member) ? ERR_NONE : ERR_INVALID_REQUEST;
}

static int promote(const struct raft *r, struct raft_config *c, int32_t id)
{
    const struct raft_member *known = raft_config_find(c, id);
    const struct raft_peer *p = raft_peer_find(r, id);

    if (known == NULL)
        return ERR_VOTER_NOT_FOUND;
    if (known->voter)
        return ERR_DUPLICATE_VOTER;
    /* A new voter that is far behind, or gone, would hold up commits (thesis
     * 4.2.1). */
    if (p->match < r->commit || p->lost ||
        r->now_ms - p->contact_ms >= r->options.election_timeout_ms)
        return ERR_REQUEST_TIMED_OUT;
    struct raft_member member = *known;
    member.voter = true;
    return raft_config_set(c, &member) ? ERR_NONE : ERR_INVALID_REQUEST;
}

static int demote(struct raft_config *c, int32_t id)
{
    const struct raft_member *known = raft_config_find(c, id);

    if (known == NULL || !known->voter)
        return ERR_VOTER_NOT_FOUND;
    if (raft_config_voters(c) == 1)
        return ERR_INVALID_REQUEST;
    struct raft_member member = *known;
    member.voter = false;
    return raft_config_set(c, &member) ? ERR_NONE : ERR_INVALID_REQUEST;
}

static int remove_member(struct raft_config *c, int32_t id)
{
    const struct raft_member *known = raft_config_find(c, id);

    if (known == NULL)
        return ERR_VOTER_NOT_FOUND;
    if (known->voter && raft_config_voters(c) == 1)
        return ERR_INVALID_REQUEST;
    raft_config_remove(c, id);
    return ERR_NONE;
}

static int change_apply(const struct raft *r, struct raft_config *c,
                        const struct raft_change *change)
{
    switch (change->type) {
    case RAFT_ADD_LEARNER:
        return add_learner(c, &change->member);
    case RAFT_PROMOTE:
        return promote(r, c, change->member.id);
    case RAFT_DEMOTE:
        return demote(c, change->member.id);
    case RAFT_REMOVE:
        return remove_member(c, change->member.id);
    }
    return ERR_INVALID_REQUEST;
}

static void config_propose(struct raft *r, struct raft_update *u,
                           const struct raft_config *config)
{
    struct buf bytes = BUF_INIT;

    raft_config_encode(config, &bytes);
    log_add(r, u, r->term, RAFT_ENTRY_CONFIG, buf_slice(&bytes));
    u->index = raft_log_last(&r->log);
    buf_free(&bytes);
    replicate_all(r, u);
}

int membership_begin(struct raft *r, struct raft_update *u,
                     const struct raft_change *change)
{
    struct raft_config config = RAFT_CONFIG_INIT;
    int error;

    if (r->role != RAFT_LEADER || r->transfer_to != RAFT_ID_NONE)
        return ERR_NOT_LEADER;
    /* Not before an entry of the own term is committed: until then an older
     * leader's change may be alive (Ongaro, raft-dev, July 2015). */
    if ((raft_config_now_index(r) > r->commit || r->commit < r->term_start) &&
        !PLANTED(RAFT_CHANGES_TOO_EARLY))
        return ERR_REQUEST_TIMED_OUT;
    raft_config_copy(&config, raft_config_now(r));
    error = change_apply(r, &config, change);
    if (error == ERR_NONE)
        config_propose(r, u, &config);
    raft_config_free(&config);
    return error;
}

/* A leader that is no voter any more leads until that is committed, and given
 * out here, so that the owner can answer who asked for it. */
void membership_committed(struct raft *r, struct raft_update *u)
{
    const struct raft_member *self =
        raft_config_find(raft_config_now(r), r->options.id);

    if ((self != NULL && self->voter) || raft_config_now_index(r) > r->applied)
        return;
    /* The rest need not wait for a timeout. */
    transfer_begin(r, u, RAFT_ID_NONE);
    become_follower(r, u, r->term, RAFT_ID_NONE);
}

/* ---- compaction --------------------------------------------------------- */

void compact_to(struct raft *r, struct raft_update *u, uint64_t index)
{
    uint64_t keep = r->options.compact_keep_entries;

    ASSERT(index <= r->applied);
    if (index <= keep || index - keep <= r->log.base_index)
        return;
    /* Who was given no voters learns of them later in the log.  A log must not
     * begin where nobody is known: it could not be given to others. */
    if (configs_at(r, index - keep)->config.len == 0)
        return;
    raft_log_compact(&r->log, index - keep);
    configs_compact(r, r->log.base_index);
    u->persist_base = true;
}
