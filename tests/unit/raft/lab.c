#include "tests/unit/raft/lab.h"

#include "base/error.h"
#include "raft/codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void config_of(int voters, struct raft_config *config)
{
    *config = RAFT_CONFIG_INIT;
    for (int32_t id = 1; id <= voters; id++) {
        struct raft_member m = {.id = id, .voter = true, .port = 1};

        snprintf(m.host, sizeof m.host, "node-%d", (int)id);
        ASSERT(raft_config_set(config, &m));
    }
}

static void trace(struct lab *lab, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void trace(struct lab *lab, const char *format, ...)
{
    char line[256];
    va_list args;

    if (lab->trace == NULL)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_printf(lab->trace, "%5lld %s\n", (long long)lab->now_ms, line);
}

static void describe(const struct raft_message *m, char *text, size_t size)
{
    switch (m->type) {
    case RAFT_VOTE_REQUEST:
        snprintf(text, size, "%s term %llu, log ends %llu/%llu",
                 m->vote_request.pre ? "pre-vote?" : "vote?",
                 (unsigned long long)m->vote_request.vote_term,
                 (unsigned long long)m->vote_request.last_index,
                 (unsigned long long)m->vote_request.last_term);
        break;
    case RAFT_VOTE_REPLY:
        snprintf(text, size, "%s %s term %llu",
                 m->vote_reply.pre ? "pre-vote" : "vote",
                 m->vote_reply.granted ? "yes" : "no",
                 (unsigned long long)m->vote_reply.vote_term);
        break;
    case RAFT_APPEND:
        snprintf(text, size,
                 "append behind %llu/%llu, %zu entries, commit %llu",
                 (unsigned long long)m->append.prev_index,
                 (unsigned long long)m->append.prev_term, m->append.entries_len,
                 (unsigned long long)m->append.commit);
        break;
    case RAFT_APPEND_REPLY:
        if (m->append_reply.rejected)
            snprintf(text, size, "append refused at %llu, try %llu/%llu",
                     (unsigned long long)m->append_reply.asked,
                     (unsigned long long)m->append_reply.hint_index,
                     (unsigned long long)m->append_reply.hint_term);
        else
            snprintf(text, size, "durable %llu",
                     (unsigned long long)m->append_reply.match);
        break;
    case RAFT_SNAPSHOT:
        snprintf(text, size, "image at %llu, bytes %llu..%llu of %llu",
                 (unsigned long long)m->snapshot.index,
                 (unsigned long long)m->snapshot.offset,
                 (unsigned long long)(m->snapshot.offset + m->snapshot.len),
                 (unsigned long long)m->snapshot.size);
        break;
    case RAFT_SNAPSHOT_REPLY:
        snprintf(text, size, "image at %llu, have %llu bytes",
                 (unsigned long long)m->snapshot_reply.index,
                 (unsigned long long)m->snapshot_reply.offset);
        break;
    case RAFT_TIMEOUT_NOW:
        snprintf(text, size, "campaign now");
        break;
    }
}

static void trace_role(struct lab *lab, const struct raft *r)
{
    static const char *const roles[] = {"follower", "pre-candidate",
                                        "candidate", "leader"};

    trace(lab, "%d is %s in term %llu, leader %d", (int)r->options.id,
          roles[r->role], (unsigned long long)r->term, (int)r->leader);
}

/* ---- life --------------------------------------------------------------- */

static void node_free(struct lab_node *n)
{
    if (!n->present)
        return;
    raft_free(&n->core);
    raft_update_free(&n->update);
    buf_free(&n->image);
    *n = (struct lab_node){0};
}

void lab_node_with_log(struct lab *lab, int32_t id, int voters, uint64_t term,
                       int32_t vote, const uint64_t *terms, size_t len)
{
    struct lab_node *n = &lab->nodes[id];
    struct raft_options options = raft_options_default(id);
    struct raft_stored stored = {.term = term, .vote = vote};

    node_free(n);
    config_of(voters, &stored.base_config.config);
    for (size_t i = 0; i < len; i++)
        raft_log_append(&stored.log,
                        (struct raft_entry){.index = i + 1,
                                            .term = terms[i],
                                            .data = SLICE("old")},
                        0);
    options.compact_keep_entries = 0;
    options.snapshot_chunk_bytes = 4;
    n->present = true;
    raft_init(&n->core, &options, &stored, 0);
    n->core.now_ms = lab->now_ms;
}

void lab_add_outsider(struct lab *lab, int32_t id, int voters)
{
    lab_node_with_log(lab, id, voters, 0, RAFT_ID_NONE, NULL, 0);
    lab_event(lab, id, (struct raft_event){.type = RAFT_START});
}

void lab_init(struct lab *lab, int voters)
{
    *lab = (struct lab){.now_ms = 1000, .prng = {7}};
    for (int32_t id = 1; id <= voters; id++)
        lab_add_outsider(lab, id, voters);
}

void lab_free(struct lab *lab)
{
    lab_drop(lab);
    free(lab->queue);
    for (int32_t id = 1; id <= LAB_NODES_MAX; id++)
        node_free(&lab->nodes[id]);
}

struct raft *lab_core(struct lab *lab, int32_t id)
{
    ASSERT(lab->nodes[id].present);
    return &lab->nodes[id].core;
}

/* ---- events ------------------------------------------------------------- */

static void enqueue(struct lab *lab, const struct raft_message *m)
{
    static const uint8_t image[] = "the whole image";
    struct slice chunk = SLICE_NULL;
    struct lab_message *q;
    char text[128];

    if (m->type == RAFT_SNAPSHOT)
        chunk = slice_of(image + m->snapshot.offset, m->snapshot.len);
    describe(m, text, sizeof text);
    trace(lab, "  %d -> %d %s", (int)m->from, (int)m->to, text);
    lab->queue =
        xrealloc(lab->queue, (lab->queue_len + 1) * sizeof *lab->queue);
    q = &lab->queue[lab->queue_len++];
    *q = (struct lab_message){m->from, m->to, BUF_INIT};
    raft_message_encode(m, "lab", chunk, &q->body);
}

static void note(struct lab *lab, struct lab_node *n)
{
    const struct raft_update *u = &n->update;

    for (size_t i = 0; i < u->messages_len; i++)
        enqueue(lab, &u->messages[i]);
    if (u->apply_from != 0) {
        ASSERT(u->apply_from == n->applied + 1);
        n->applied = u->apply_to;
        trace(lab, "%d applies %llu..%llu", (int)n->core.options.id,
              (unsigned long long)u->apply_from,
              (unsigned long long)u->apply_to);
    }
    if (!slice_is_null(u->snapshot_chunk)) {
        if (u->snapshot_chunk_first)
            n->image.len = 0;
        buf_put_slice(&n->image, u->snapshot_chunk);
    }
    if (u->snapshot_install)
        n->install_due = true;
    if (u->role_changed)
        trace_role(lab, &n->core);
    if (u->persist_seq != 0)
        n->seq = u->persist_seq;
}

static void step(struct lab *lab, int32_t id, struct raft_event e)
{
    struct lab_node *n = &lab->nodes[id];

    ASSERT(n->present);
    e.now_ms = lab->now_ms;
    e.random = prng_next(&lab->prng);
    raft_step(&n->core, &e, &n->update);
    raft_check(&n->core);
    note(lab, n);
}

static void install(struct lab *lab, int32_t id)
{
    struct lab_node *n = &lab->nodes[id];

    n->install_due = false;
    n->applied = n->core.incoming.index;
    step(lab, id, (struct raft_event){.type = RAFT_SNAPSHOT_INSTALLED});
}

void lab_persist(struct lab *lab, int32_t id)
{
    struct lab_node *n = &lab->nodes[id];

    while (n->core.persisted_seq < n->seq)
        step(lab, id,
             (struct raft_event){.type = RAFT_PERSISTED, .seq = n->seq});
    if (n->install_due)
        install(lab, id);
}

void lab_event(struct lab *lab, int32_t id, struct raft_event e)
{
    struct lab_node *n = &lab->nodes[id];

    step(lab, id, e);
    bool wanted = n->update.snapshot_wanted;
    if (!n->disk_stuck)
        lab_persist(lab, id);
    if (wanted)
        step(lab, id,
             (struct raft_event){.type = RAFT_SNAPSHOT_READY,
                                 .index = n->core.applied,
                                 .size = 15});
}

/* ---- network ------------------------------------------------------------ */

void lab_cut(struct lab *lab, int32_t a, int32_t b, bool cut)
{
    lab->cut[a][b] = lab->cut[b][a] = cut;
}

void lab_isolate(struct lab *lab, int32_t id, bool isolated)
{
    for (int32_t other = 1; other <= LAB_NODES_MAX; other++)
        if (other != id)
            lab_cut(lab, id, other, isolated);
}

static void deliver(struct lab *lab, struct lab_message *q)
{
    struct raft_message m;
    struct slice cluster_id;
    struct arena arena;

    arena_init(&arena, 0);
    ASSERT(raft_message_decode(buf_slice(&q->body), &arena, &m, &cluster_id));
    if (lab->nodes[q->to].present && !lab->cut[q->from][q->to])
        lab_event(lab, q->to,
                  (struct raft_event){.type = RAFT_RECEIVED, .message = &m});
    arena_free(&arena);
    buf_free(&q->body);
}

bool lab_deliver_one(struct lab *lab)
{
    struct lab_message first;

    if (lab->queue_len == 0)
        return false;
    first = lab->queue[0];
    lab->queue_len--;
    memmove(lab->queue, lab->queue + 1, lab->queue_len * sizeof *lab->queue);
    deliver(lab, &first);
    return true;
}

void lab_deliver(struct lab *lab)
{
    while (lab_deliver_one(lab))
        ;
}

void lab_drop(struct lab *lab)
{
    for (size_t i = 0; i < lab->queue_len; i++)
        buf_free(&lab->queue[i].body);
    lab->queue_len = 0;
}

/* ---- time --------------------------------------------------------------- */

static int32_t next_deadline(const struct lab *lab, int64_t *at_ms)
{
    int32_t found = RAFT_ID_NONE;

    for (int32_t id = 1; id <= LAB_NODES_MAX; id++) {
        const struct lab_node *n = &lab->nodes[id];

        if (n->present && n->update.deadline_ms < *at_ms) {
            *at_ms = n->update.deadline_ms;
            found = id;
        }
    }
    return found;
}

void lab_run(struct lab *lab, int64_t ms)
{
    int64_t end = lab->now_ms + ms;

    lab_deliver(lab);
    for (;;) {
        int64_t at = end;
        int32_t id = next_deadline(lab, &at);

        if (id == RAFT_ID_NONE)
            break;
        if (at > lab->now_ms)
            lab->now_ms = at;
        lab_event(lab, id, (struct raft_event){.type = RAFT_TICK});
        lab_deliver(lab);
    }
    lab->now_ms = end;
}

void lab_elect(struct lab *lab, int32_t id)
{
    lab_core(lab, id)->election_deadline_ms = lab->now_ms;
    lab_event(lab, id, (struct raft_event){.type = RAFT_TICK});
    lab_deliver(lab);
}

/* ---- leader ------------------------------------------------------------- */

int lab_propose(struct lab *lab, int32_t id, const char *text)
{
    struct slice data = slice_str(text);
    struct lab_node *n = &lab->nodes[id];
    bool stuck = n->disk_stuck;

    n->disk_stuck = true; /* keeps n->update that of the proposal */
    lab_event(lab, id,
              (struct raft_event){.type = RAFT_PROPOSE,
                                  .proposals = &data,
                                  .proposals_len = 1});
    int error = n->update.error;
    n->disk_stuck = stuck;
    if (!stuck)
        lab_persist(lab, id);
    return error;
}

int lab_change(struct lab *lab, int32_t id, enum raft_change_type type,
               int32_t member)
{
    struct raft_change change = {
        .type = type,
        .member = {.id = member, .host = "node", .port = 1},
    };

    step(lab, id, (struct raft_event){.type = RAFT_CHANGE, .change = &change});
    int error = lab->nodes[id].update.error;
    if (!lab->nodes[id].disk_stuck)
        lab_persist(lab, id);
    return error;
}

int lab_transfer(struct lab *lab, int32_t id, int32_t to)
{
    step(lab, id, (struct raft_event){.type = RAFT_TRANSFER, .peer = to});
    return lab->nodes[id].update.error;
}

int32_t lab_leader(struct lab *lab)
{
    int32_t found = RAFT_ID_NONE;
    uint64_t term = 0;

    for (int32_t id = 1; id <= LAB_NODES_MAX; id++) {
        const struct lab_node *n = &lab->nodes[id];

        if (n->present && n->core.term > term) {
            term = n->core.term;
            found = RAFT_ID_NONE;
        }
        if (n->present && n->core.term == term && n->core.role == RAFT_LEADER) {
            ASSERT(found == RAFT_ID_NONE);
            found = id;
        }
    }
    return found;
}

char *lab_terms(struct lab *lab, int32_t id, char text[static 256])
{
    const struct raft_log *log = &lab_core(lab, id)->log;
    size_t at = 0;

    text[0] = '\0';
    for (uint64_t i = log->base_index + 1; i <= raft_log_last(log); i++)
        at +=
            (size_t)snprintf(text + at, 256 - at, "%s%llu", at != 0 ? " " : "",
                             (unsigned long long)raft_log_term(log, i));
    return text;
}
