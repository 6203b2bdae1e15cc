/* DescribeQuorum of the metadata's partition, asked of any broker. */
#include "cli/admin_quorum.h"

static struct quorum_replica *
replicas(const struct describe_quorum_response *r,
         const struct describe_quorum_response_replica_state *list, int32_t len,
         struct arena *a)
{
    struct quorum_replica *out = arena_array(a, (size_t)len + 1, sizeof *out);

    for (int32_t i = 0; i < len; i++) {
        out[i] = (struct quorum_replica){list[i].replica_id,
                                         list[i].replica_directory_id,
                                         list[i].log_end_offset,
                                         list[i].last_fetch_timestamp,
                                         list[i].last_caught_up_timestamp,
                                         NULL};
        for (int32_t n = 0; n < r->nodes_len; n++)
            if (r->nodes[n].node_id == out[i].id)
                out[i].node = &r->nodes[n];
    }
    return out;
}

static void measure(struct quorum_view *view)
{
    const struct quorum_replica *slowest = NULL;

    for (int32_t i = 0; i < view->voters_len; i++) {
        const struct quorum_replica *v = &view->voters[i];
        if (v->id == view->leader)
            view->lead = v;
        if (slowest == NULL || v->end_offset < slowest->end_offset)
            slowest = v;
    }
    view->max_lag_time_ms = -1;
    if (view->lead == NULL || slowest == NULL)
        return;
    view->max_lag = view->lead->end_offset - slowest->end_offset;
    if (slowest == view->lead || view->max_lag == 0)
        view->max_lag_time_ms = 0;
    else if (view->lead->last_caught_up_ms >= 0 &&
             slowest->last_caught_up_ms >= 0)
        view->max_lag_time_ms =
            view->lead->last_caught_up_ms - slowest->last_caught_up_ms;
}

enum err admin_quorum(struct client *c, struct arena *a,
                      struct quorum_view *view)
{
    struct describe_quorum_request_partition_data partition = {0};
    struct describe_quorum_request_topic_data topic = {
        SLICE("__cluster_metadata"), &partition, 1};
    struct describe_quorum_request q;
    struct describe_quorum_response r;

    describe_quorum_request_init(&q);
    q.topics = &topic;
    q.topics_len = 1;
    *view = (struct quorum_view){.leader = -1};
    enum err error = client_call(c, CLIENT_ANY, API_DESCRIBE_QUORUM, &q, &r, a);
    if (error == ERR_NONE)
        error = r.error_code;
    if (error == ERR_NONE &&
        (r.topics_len != 1 || r.topics[0].partitions_len != 1))
        return client_fail(c, ERR_UNKNOWN_SERVER_ERROR,
                           "the answer does not tell of the metadata log");
    if (error == ERR_NONE)
        error = r.topics[0].partitions[0].error_code;
    if (error != ERR_NONE)
        return client_fail(c, error, "%s", err_text(error));
    const struct describe_quorum_response_partition_data *p =
        &r.topics[0].partitions[0];
    view->leader = p->leader_id;
    view->epoch = p->leader_epoch;
    view->high_watermark = p->high_watermark;
    view->voters_len = p->current_voters_len;
    view->voters = replicas(&r, p->current_voters, p->current_voters_len, a);
    view->observers_len = p->observers_len;
    view->observers = replicas(&r, p->observers, p->observers_len, a);
    measure(view);
    return client_refresh(c);
}

/* ---- who votes ----------------------------------------------------------- */

enum { CATCH_UP_MS = 20000 };

static enum err verdict(struct client *c, int16_t code, struct slice message)
{
    if (code == ERR_NONE)
        return ERR_NONE;
    if (message.len == 0)
        message = slice_str(err_text((enum err)code));
    return client_fail(c, (enum err)code, "%.*s", SLICE_FMT(message));
}

enum err admin_quorum_add(struct client *c, struct arena *a,
                          const struct quorum_voter *voter)
{
    struct add_raft_voter_request_listener at = {
        slice_str(voter->listener), slice_str(voter->host), voter->port};
    struct add_raft_voter_request q;
    struct add_raft_voter_response r;

    add_raft_voter_request_init(&q);
    q.cluster_id = SLICE_NULL;
    q.timeout_ms = CATCH_UP_MS;
    q.voter_id = voter->id;
    q.voter_directory_id = voter->directory_id;
    q.listeners = &at;
    q.listeners_len = 1;
    enum err error = client_call(c, CLIENT_ANY, API_ADD_RAFT_VOTER, &q, &r, a);
    return error != ERR_NONE ? error
                             : verdict(c, r.error_code, r.error_message);
}

enum err admin_quorum_remove(struct client *c, struct arena *a,
                             const struct quorum_voter *voter)
{
    struct remove_raft_voter_request q;
    struct remove_raft_voter_response r;

    remove_raft_voter_request_init(&q);
    q.cluster_id = SLICE_NULL;
    q.voter_id = voter->id;
    q.voter_directory_id = voter->directory_id;
    enum err error =
        client_call(c, CLIENT_ANY, API_REMOVE_RAFT_VOTER, &q, &r, a);
    return error != ERR_NONE ? error
                             : verdict(c, r.error_code, r.error_message);
}
