/* Changing who votes (KIP-853): AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter.
 *
 *   add     learner -> its address is in the metadata -> it has caught up ->
 *           voter.  Two changes of the Raft log's members; a request that does
 *           not live to see the second leaves a learner, and the next one goes
 *           on from there.
 *   remove  the voter becomes a learner: it still gets the log, so it knows.
 *           A leader that is removed leads until that is committed.
 *   update  another address or directory.
 *
 * Answers wait until the change is committed here.  One request at a time: the
 * next one hears REQUEST_TIMED_OUT, as in Kafka.  A controller that ceases to
 * lead says NOT_LEADER_OR_FOLLOWER: the change may still be made.
 *
 * Learners nobody has heard of for LEARNER_SILENCE_MS are forgotten.
 *
 * Brokers find the controllers in the metadata: each voter has a
 * ControllerRecord there, and has it before it may vote. */
#include "controller/service_parts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/planted.h"

#include <stdlib.h>

enum {
    LOOK_MS = 20,        /* between two looks at whether it has caught up */
    LEARNERS_MS = 30000, /* between two looks at who is still there */
    LEARNER_SILENCE_MS = 300000,
    CHANGE_MAX_MS = 20000, /* less than brokers wait for us */
};

bool service_changes_voters(int16_t api_key)
{
    return api_key == API_ADD_RAFT_VOTER || api_key == API_REMOVE_RAFT_VOTER ||
           api_key == API_UPDATE_RAFT_VOTER;
}

/* ---- answers ------------------------------------------------------------- */

static enum err encode_update(struct controller_service *s, int16_t version,
                              enum err error, struct buf *body)
{
    struct update_raft_voter_response a;
    struct raft_node_status status;
    const struct raft_member *leader;

    update_raft_voter_response_init(&a);
    a.error_code = err_wire(error);
    raft_node_status(s->raft, &status);
    leader = raft_config_find(raft_node_members(s->raft), status.leader_id);
    if (leader != NULL) {
        a.current_leader.leader_id = leader->id;
        a.current_leader.leader_epoch = (int32_t)status.term;
        a.current_leader.host = slice_str(leader->host);
        a.current_leader.port = leader->port;
    }
    return kafka_encode(&update_raft_voter_response_desc, version, &a, body,
                        NULL);
}

static enum err encode(struct controller_service *s,
                       const struct voter_reply *to, enum err error,
                       const char *message, struct buf *body)
{
    struct add_raft_voter_response added;
    struct remove_raft_voter_response removed;
    struct slice why = message != NULL ? slice_str(message) : SLICE_NULL;

    switch (to->api_key) {
    case API_ADD_RAFT_VOTER:
        add_raft_voter_response_init(&added);
        added.error_code = err_wire(error);
        added.error_message = why;
        return kafka_encode(&add_raft_voter_response_desc, to->version, &added,
                            body, NULL);
    case API_REMOVE_RAFT_VOTER:
        remove_raft_voter_response_init(&removed);
        removed.error_code = err_wire(error);
        removed.error_message = why;
        return kafka_encode(&remove_raft_voter_response_desc, to->version,
                            &removed, body, NULL);
    default:
        return encode_update(s, to->version, error, body);
    }
}

static void reply(struct controller_service *s, const struct voter_reply *to,
                  enum err error, const char *message, int64_t index)
{
    struct buf body = BUF_INIT;

    if (to->conn == NULL)
        return;
    if (encode(s, to, error, message, &body) != ERR_NONE)
        service_conn_drop(to->conn);
    else if (to->is_control)
        service_respond_forward(to->conn, to->correlation_id, buf_slice(&body),
                                index);
    else
        service_respond_kafka(to->conn, to->api_key, to->version,
                              to->correlation_id, buf_slice(&body), index);
    buf_free(&body);
}

/* ---- the change under way ------------------------------------------------ */

static const char *verb_of(const struct voter_change *v)
{
    return v->to.api_key == API_ADD_RAFT_VOTER      ? "Adding"
           : v->to.api_key == API_REMOVE_RAFT_VOTER ? "Removing"
                                                    : "Moving";
}

static void finish(struct controller_service *s, enum err error,
                   const char *message)
{
    struct voter_change *v = &s->voters.change;
    struct voter_change was = *v;

    if (error == ERR_NONE)
        log_info("controller", "%s controller %d is done", verb_of(v),
                 v->member.id);
    else
        log_warn("controller", "%s controller %d ended: %s", verb_of(v),
                 v->member.id, message);
    *v = (struct voter_change){0};
    if (!was.answered)
        reply(s, &was.to, error, message,
              error == ERR_NONE ? (int64_t)was.index : 0);
    if (was.to.conn != NULL)
        service_conn_release(was.to.conn);
}

static int change(struct controller_service *s, enum raft_change_type type)
{
    struct voter_change *v = &s->voters.change;
    struct raft_change c = {.type = type, .member = v->member};
    uint64_t index = 0;
    int error = raft_node_change(s->raft, &c, &index);

    if (error == ERR_NONE)
        v->index = index;
    return error;
}

static void refuse(struct controller_service *s, int error)
{
    switch (error) {
    case ERR_NOT_LEADER:
        finish(s, ERR_NOT_LEADER_OR_FOLLOWER,
               "This controller is no longer the active one.");
        break;
    case ERR_REQUEST_TIMED_OUT:
        finish(s, ERR_REQUEST_TIMED_OUT,
               "Another change of the voters is not committed yet.");
        break;
    case ERR_INVALID_REQUEST:
        finish(s, ERR_INVALID_REQUEST,
               "The quorum cannot have so many, or so few, voters.");
        break;
    default:
        finish(s, (enum err)error, err_text((enum err)error));
        break;
    }
}

static bool committed(const struct controller_service *s, uint64_t index)
{
    return (uint64_t)s->image.applied_index >= index;
}

/* Everybody who follows the metadata knows where it is. */
static bool is_registered(const struct controller_service *s,
                          const struct raft_member *m)
{
    for (size_t i = 0; i < s->image.controllers_len; i++)
        if (s->image.controllers[i]->id == m->id)
            return true;
    return false;
}

static void promote(struct controller_service *s)
{
    struct voter_change *v = &s->voters.change;

    if (!is_registered(s, &v->member))
        return;
    int error = change(s, RAFT_PROMOTE);
    if (error == ERR_REQUEST_TIMED_OUT)
        return; /* not yet */
    if (error != ERR_NONE) {
        refuse(s, error);
        return;
    }
    v->stage = VOTER_LAST;
    if (v->ack_when_committed)
        return;
    reply(s, &v->to, ERR_NONE, NULL, 0);
    v->answered = true;
}

static void advance(struct controller_service *s)
{
    struct voter_change *v = &s->voters.change;

    if (!v->active || !committed(s, v->index))
        return;
    if (v->stage == VOTER_LAST)
        finish(s, ERR_NONE, NULL);
    else
        promote(s);
}

static void expire(struct controller_service *s)
{
    const struct voter_change *v = &s->voters.change;
    char *why;

    if (!v->active || env_now_ms(s->env) < v->deadline_ms)
        return;
    why = v->stage == VOTER_LEARNS && committed(s, v->index)
              ? xasprintf("Controller %d at %s:%u has not caught up with the "
                          "metadata log in time; is it running, and can it be "
                          "reached? It stays an observer, so the request can "
                          "be repeated.",
                          v->member.id, v->member.host, v->member.port)
              : xstrdup("The change is not committed yet; it may be later.");
    finish(s, ERR_REQUEST_TIMED_OUT, why);
    free(why);
}

/* ---- learners that are gone ---------------------------------------------- */

static bool is_gone(struct controller_service *s, const struct raft_member *m)
{
    const struct raft_peer *p = raft_node_peer(s->raft, m->id);

    return !m->voter && p != NULL && m->id != s->options.node_id &&
           env_now_ms(s->env) - p->contact_ms > LEARNER_SILENCE_MS;
}

static bool has_learners(const struct controller_service *s)
{
    const struct raft_config *members = raft_node_members(s->raft);

    return members->len != raft_config_voters(members);
}

static void forget_gone(struct controller_service *s)
{
    const struct raft_config *members = raft_node_members(s->raft);
    uint64_t index;

    for (size_t i = 0; i < members->len && !s->voters.change.active; i++) {
        struct raft_change c = {.type = RAFT_REMOVE,
                                .member = members->members[i]};

        if (!is_gone(s, &c.member))
            continue;
        if (raft_node_change(s->raft, &c, &index) == ERR_NONE)
            log_info("controller",
                     "Controller %d is no voter and has been silent for "
                     "%d minutes; forgetting it",
                     c.member.id, LEARNER_SILENCE_MS / 60000);
        return; /* one at a time, and the list is another one now */
    }
}

/* ---- the metadata's list of controllers ---------------------------------- */

bool service_voters_are_configured(const struct controller_service *s)
{
    return s->options.voters_configured &&
           raft_config_now_index(raft_node_core(s->raft)) == 0;
}

/* Voters that every node has in its configuration need not be told. */
static bool must_register(const struct controller_service *s, uint64_t index)
{
    struct raft_node_status status;

    if (!s->leader || !s->controller.active || s->stale ||
        index == s->voters.registered_index || service_voters_are_configured(s))
        return false;
    raft_node_status(s->raft, &status);
    return index <= status.applied_index &&
           raft_can_propose(raft_node_core(s->raft), 0) == ERR_NONE;
}

/* Voters, and who is about to become one: other learners may be long dead, and
 * who looks for the active controller would wait for each of them. */
static bool is_listed(const struct controller_service *s,
                      const struct raft_member *m)
{
    const struct voter_change *v = &s->voters.change;

    return m->voter || (v->active && v->to.api_key == API_ADD_RAFT_VOTER &&
                        v->member.id == m->id);
}

static void fill_record(struct controller_service *s, struct arena *arena,
                        const struct raft_member *m, Leat__ControllerRecord *r)
{
    Leat__Endpoint *e = arena_alloc(arena, sizeof *e);
    struct uuid *unknown = arena_alloc(arena, sizeof *unknown);

    leat__controller_record__init(r);
    leat__endpoint__init(e);
    e->listener = (char *)(uintptr_t)s->options.listener;
    e->host = arena_strdup(arena, slice_str(m->host));
    e->port = m->port;
    r->controller_id = m->id;
    *unknown = UUID_ZERO;
    r->incarnation.data = unknown->bytes;
    r->incarnation.len = sizeof unknown->bytes;
    r->endpoints = arena_array(arena, 1, sizeof *r->endpoints);
    r->endpoints[0] = e;
    r->n_endpoints = 1;
}

static void register_members(struct controller_service *s)
{
    uint64_t index = raft_config_now_index(raft_node_core(s->raft));
    const struct raft_config *members = raft_node_members(s->raft);
    struct controller_call call;
    struct controller_update update;
    struct arena arena;

    if (!must_register(s, index))
        return;
    s->voters.registered_index = index;
    arena_init(&arena, 0);
    Leat__ControllerRecord *records =
        arena_array(&arena, members->len, sizeof *records);
    size_t len = 0;
    for (size_t i = 0; i < members->len; i++)
        if (is_listed(s, &members->members[i]))
            fill_record(s, &arena, &members->members[i], &records[len++]);
    service_begin(s, &call, &arena);
    controller_set_controllers(&s->controller, &call, records, len, &update);
    service_carry_out(s, &update);
    arena_free(&arena);
}

/* ---- events -------------------------------------------------------------- */

static void set_timer(struct controller_service *s)
{
    if (!s->leader || s->closing)
        env_timer_stop(s->env, &s->voters.timer);
    else if (!env_timer_running(&s->voters.timer) &&
             (s->voters.change.active || has_learners(s)))
        env_timer_start(s->env, &s->voters.timer,
                        s->voters.change.active ? LOOK_MS : LEARNERS_MS);
}

static void on_timer(void *arg)
{
    struct controller_service *s = arg;

    advance(s);
    expire(s);
    if (!s->voters.change.active)
        forget_gone(s);
    set_timer(s);
}

void service_voters_init(struct controller_service *s)
{
    s->voters.timer = (struct env_timer){.fn = on_timer, .arg = s};
    s->voters.registered_index = UINT64_MAX;
}

void service_voters_active(struct controller_service *s)
{
    s->voters.registered_index = UINT64_MAX;
    register_members(s);
    set_timer(s);
}

void service_voters_committed(struct controller_service *s)
{
    advance(s);
    register_members(s);
    set_timer(s);
}

void service_voters_lost(struct controller_service *s)
{
    env_timer_stop(s->env, &s->voters.timer);
    if (s->voters.change.active)
        finish(s, ERR_NOT_LEADER_OR_FOLLOWER,
               "This controller ceased to be the active one; the change may "
               "have been made.");
}

/* What this node reads in its own log about itself. */
void service_voters_told(struct controller_service *s,
                         const struct raft_config *members)
{
    static const char *const sentences[] = {
        [VOTER_NONE] =
            "This controller, node %d, is no member of the quorum. It waits to "
            "be added: leat quorum add-controller",
        [VOTER_LEARNER] = "This controller, node %d, follows the quorum as an "
                          "observer and does not vote",
        [VOTER_VOTES] = "This controller, node %d, votes in the quorum",
    };
    const struct raft_member *self =
        raft_config_find(members, s->options.node_id);
    enum voter_standing now = self == NULL  ? VOTER_NONE
                              : self->voter ? VOTER_VOTES
                                            : VOTER_LEARNER;
    bool first = s->voters.standing == VOTER_UNTOLD;

    if (now != s->voters.standing && !(first && now == VOTER_VOTES))
        log_info("controller", sentences[now], s->options.node_id);
    s->voters.standing = now;
    if (self != NULL && !uuid_is_zero(self->directory) &&
        !uuid_is_zero(s->options.directory) &&
        !uuid_eq(self->directory, s->options.directory) &&
        !s->voters.warned_of_directory) {
        s->voters.warned_of_directory = true;
        log_warn("controller",
                 "The quorum knows this controller, node %d, with another "
                 "directory id. If its disk was lost, it has forgotten what it "
                 "voted for: remove it from the quorum and add it again",
                 s->options.node_id);
    }
}

/* ---- requests ------------------------------------------------------------ */

/* What is wrong with a request: message NULL is nothing. */
struct refusal {
    enum err error;
    const char *message;
};

#define REFUSE(code, text) ((struct refusal){(code), (text)})
#define ACCEPT ((struct refusal){ERR_NONE, NULL})

static struct refusal check_cluster(const struct controller_service *s,
                                    struct slice cluster_id)
{
    if (!slice_is_null(cluster_id) &&
        !slice_eq_str(cluster_id, s->options.cluster_id))
        return REFUSE(ERR_INCONSISTENT_CLUSTER_ID,
                      "The request is meant for another cluster.");
    if (!s->controller.active)
        return REFUSE(ERR_NOT_LEADER_OR_FOLLOWER,
                      "This controller is not the active one.");
    return ACCEPT;
}

static struct refusal check_free(struct controller_service *s)
{
    if (s->voters.change.active && PLANTED(RAFT_CHANGES_TOO_EARLY))
        finish(s, ERR_REQUEST_TIMED_OUT, "another one overlaps it");
    if (s->voters.change.active)
        return REFUSE(ERR_REQUEST_TIMED_OUT,
                      "Another change of the voters is under way; repeat the "
                      "request when it is done.");
    return ACCEPT;
}

static bool take_address(const struct controller_service *s, struct slice name,
                         struct slice host, uint16_t port,
                         struct raft_member *m)
{
    if (!slice_eq_str(name, s->options.listener))
        return false;
    if (host.len == 0 || host.len > RAFT_HOST_MAX || port == 0 ||
        memchr(host.data, '\0', host.len) != NULL)
        return false;
    memcpy(m->host, host.data, host.len);
    m->host[host.len] = '\0';
    m->port = port;
    return true;
}

static const struct raft_member *voter(const struct controller_service *s,
                                       int32_t id)
{
    const struct raft_member *m =
        raft_config_find(raft_node_members(s->raft), id);

    return m != NULL && m->voter ? m : NULL;
}

/* A voter of controller.quorum.voters has no directory in the log: then the id
 * alone says who is meant. */
static bool same_directory(const struct raft_member *m, struct uuid directory)
{
    return uuid_is_zero(m->directory) || uuid_eq(m->directory, directory);
}

static struct refusal check_add(struct controller_service *s,
                                const struct add_raft_voter_request *q,
                                struct raft_member *m)
{
    struct refusal r = check_cluster(s, q->cluster_id);
    bool addressed = false;

    if (r.error != ERR_NONE)
        return r;
    if (q->voter_id < 0 || uuid_is_zero(q->voter_directory_id))
        return REFUSE(ERR_INVALID_REQUEST,
                      "Add voter request didn't include a valid voter");
    *m = (struct raft_member){.id = q->voter_id,
                              .directory = q->voter_directory_id};
    for (int32_t i = 0; i < q->listeners_len && !addressed; i++)
        addressed = take_address(s, q->listeners[i].name, q->listeners[i].host,
                                 q->listeners[i].port, m);
    if (!addressed)
        return REFUSE(ERR_INVALID_REQUEST,
                      "Add voter request didn't include a usable endpoint for "
                      "the controllers' listener");
    r = check_free(s);
    if (r.error == ERR_NONE && voter(s, m->id) != NULL)
        return REFUSE(ERR_DUPLICATE_VOTER,
                      "The voter id is already part of the set of voters.");
    return r;
}

static struct refusal check_remove(struct controller_service *s,
                                   const struct remove_raft_voter_request *q,
                                   struct raft_member *m)
{
    struct refusal r = check_cluster(s, q->cluster_id);
    const struct raft_member *known = voter(s, q->voter_id);

    if (r.error != ERR_NONE)
        return r;
    if (q->voter_id < 0 || (uuid_is_zero(q->voter_directory_id) &&
                            (known == NULL || !uuid_is_zero(known->directory))))
        return REFUSE(ERR_INVALID_REQUEST,
                      "Remove voter request didn't include a valid voter");
    r = check_free(s);
    if (r.error != ERR_NONE)
        return r;
    if (known == NULL || !same_directory(known, q->voter_directory_id))
        return REFUSE(ERR_VOTER_NOT_FOUND,
                      "There is no voter with this id and directory id.");
    if (raft_config_voters(raft_node_members(s->raft)) == 1)
        return REFUSE(ERR_INVALID_REQUEST, "The last voter cannot be removed.");
    *m = *known;
    return ACCEPT;
}

static struct refusal check_epoch(const struct controller_service *s,
                                  int32_t epoch)
{
    struct raft_node_status status;

    raft_node_status(s->raft, &status);
    if (epoch < (int32_t)status.term)
        return REFUSE(ERR_FENCED_LEADER_EPOCH, "The leader epoch is old.");
    if (epoch > (int32_t)status.term)
        return REFUSE(ERR_UNKNOWN_LEADER_EPOCH, "The leader epoch is unknown.");
    return ACCEPT;
}

static struct refusal check_update(struct controller_service *s,
                                   const struct update_raft_voter_request *q,
                                   struct raft_member *m)
{
    struct refusal r = check_cluster(s, q->cluster_id);
    const struct raft_member *known = voter(s, q->voter_id);
    bool addressed = false;

    if (r.error == ERR_NONE)
        r = check_epoch(s, q->current_leader_epoch);
    if (r.error != ERR_NONE)
        return r;
    *m = (struct raft_member){.id = q->voter_id,
                              .directory = q->voter_directory_id};
    for (int32_t i = 0; i < q->listeners_len && !addressed; i++)
        addressed = take_address(s, q->listeners[i].name, q->listeners[i].host,
                                 q->listeners[i].port, m);
    if (q->voter_id < 0 || uuid_is_zero(q->voter_directory_id) || !addressed ||
        q->kraft_version_feature.min_supported_version < 0 ||
        q->kraft_version_feature.max_supported_version <
            q->kraft_version_feature.min_supported_version)
        return REFUSE(ERR_INVALID_REQUEST,
                      "Update voter request didn't include a valid voter");
    r = check_free(s);
    if (r.error == ERR_NONE &&
        (known == NULL || !same_directory(known, q->voter_directory_id)))
        return REFUSE(ERR_VOTER_NOT_FOUND,
                      "There is no voter with this id and directory id.");
    return r;
}

static void begin(struct controller_service *s, const struct voter_reply *to,
                  const struct raft_member *m, int64_t timeout_ms)
{
    struct voter_change *v = &s->voters.change;

    *v = (struct voter_change){
        .active = true,
        .to = *to,
        .member = *m,
        .ack_when_committed = true,
        .stage = to->api_key == API_ADD_RAFT_VOTER ? VOTER_LEARNS : VOTER_LAST,
        .deadline_ms =
            env_now_ms(s->env) + (timeout_ms < CHANGE_MAX_MS
                                      ? (timeout_ms > 0 ? timeout_ms : 0)
                                      : CHANGE_MAX_MS),
    };
    if (to->conn != NULL)
        service_conn_hold(to->conn, !to->is_control);
    env_timer_start(s->env, &s->voters.timer, LOOK_MS);
    log_info("controller", "%s controller %d at %s:%u", verb_of(v), m->id,
             m->host, m->port);
}

static void go_on(struct controller_service *s, int error)
{
    if (error != ERR_NONE) {
        refuse(s, error);
    } else {
        s->voters.registered_index = UINT64_MAX;
        register_members(s);
        advance(s); /* a quorum of one may be done */
    }
    set_timer(s);
}

/* A learner already, at this address: an earlier request got as far. */
static bool learns(const struct controller_service *s,
                   const struct raft_member *m)
{
    const struct raft_member *known =
        raft_config_find(raft_config_now(raft_node_core(s->raft)), m->id);

    return known != NULL && known->port == m->port &&
           strcmp(known->host, m->host) == 0 &&
           uuid_eq(known->directory, m->directory);
}

static enum err decode(const struct voter_reply *to,
                       const struct kafka_desc *desc, struct slice body,
                       struct arena *arena, void *q)
{
    enum err error = kafka_decode_request(desc, to->version, body, arena, q);

    arena->limit_bytes = 0; /* from here on the sizes are ours */
    return error;
}

static enum err add(struct controller_service *s, const struct voter_reply *to,
                    struct slice body, struct arena *arena)
{
    struct add_raft_voter_request q;
    struct raft_member m;
    enum err error = decode(to, &add_raft_voter_request_desc, body, arena, &q);

    if (error != ERR_NONE)
        return error;
    struct refusal r = check_add(s, &q, &m);
    if (r.error != ERR_NONE) {
        reply(s, to, r.error, r.message, 0);
        return ERR_NONE;
    }
    begin(s, to, &m, q.timeout_ms);
    s->voters.change.ack_when_committed = q.ack_when_committed;
    go_on(s, learns(s, &m) ? ERR_NONE : change(s, RAFT_ADD_LEARNER));
    return ERR_NONE;
}

static enum err remove_voter(struct controller_service *s,
                             const struct voter_reply *to, struct slice body,
                             struct arena *arena)
{
    struct remove_raft_voter_request q;
    struct raft_member m;
    enum err error =
        decode(to, &remove_raft_voter_request_desc, body, arena, &q);

    if (error != ERR_NONE)
        return error;
    struct refusal r = check_remove(s, &q, &m);
    if (r.error != ERR_NONE) {
        reply(s, to, r.error, r.message, 0);
        return ERR_NONE;
    }
    begin(s, to, &m, CHANGE_MAX_MS);
    go_on(s, change(s, RAFT_DEMOTE));
    return ERR_NONE;
}

static enum err update(struct controller_service *s,
                       const struct voter_reply *to, struct slice body,
                       struct arena *arena)
{
    struct update_raft_voter_request q;
    struct raft_member m;
    enum err error =
        decode(to, &update_raft_voter_request_desc, body, arena, &q);

    if (error != ERR_NONE)
        return error;
    struct refusal r = check_update(s, &q, &m);
    if (r.error != ERR_NONE) {
        reply(s, to, r.error, r.message, 0);
        return ERR_NONE;
    }
    begin(s, to, &m, CHANGE_MAX_MS);
    go_on(s, change(s, RAFT_ADD_LEARNER));
    return ERR_NONE;
}

enum err service_change_voters(struct controller_service *s,
                               const struct voter_reply *to, struct slice body,
                               struct arena *arena)
{
    if (to->api_key == API_ADD_RAFT_VOTER)
        return add(s, to, body, arena);
    if (to->api_key == API_REMOVE_RAFT_VOTER)
        return remove_voter(s, to, body, arena);
    return update(s, to, body, arena);
}
