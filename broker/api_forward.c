/* What only the active controller may answer goes there as it came, and its
 * answer goes back as it is.
 *
 * The answer is held until this broker's own image has what it promises, so a
 * client that created a topic finds it here at once.
 *
 * When the connection to the controller breaks after a request was sent nobody
 * knows what became of it; reads are sent again, for changes the client hears
 * REQUEST_TIMED_OUT, which says just that (forward_errors.c). */
#include "broker/cluster_view.h"
#include "broker/dispatch.h"
#include "broker/forward_errors.h"

enum { APPLY_WAIT_MS = 5000 };

struct forwarding {
    struct control_call call;
    struct parked parked;
    struct request *request;
    void (*answered)(struct request *r, struct slice body);
    struct slice body; /* of the answer */
    int64_t committed_index;
};

static void hold(struct parked *p, bool last)
{
    struct forwarding *f = LIST_ENTRY(p, struct forwarding, parked);

    if (p->meta->image.applied_index < f->committed_index && !last)
        return;
    meta_unpark(p);
    f->answered(p->request, f->body);
}

static void forwarded(struct forwarding *f,
                      const Leat__ForwardResponse *response)
{
    struct request *r = f->request;
    struct slice body = slice_of(response->body.data, response->body.len);

    if (response->committed_index <= request_meta(r)->image.applied_index) {
        f->answered(r, body);
        return;
    }
    f->body = arena_copy(&r->arena, body);
    f->committed_index = response->committed_index;
    f->parked.request = r;
    f->parked.retry = hold;
    meta_park(request_meta(r), &f->parked, APPLY_WAIT_MS);
}

static void forward_done(struct control_call *call, enum err error,
                         const Leat__ControlResponse *response)
{
    struct forwarding *f = LIST_ENTRY(call, struct forwarding, call);

    if (error == ERR_NONE && response->error == ERR_NONE &&
        response->result_case == LEAT__CONTROL_RESPONSE__RESULT_FORWARD)
        forwarded(f, response->forward);
    else if (error == ERR_NONE && response->error != ERR_NONE)
        forward_respond_error(
            f->request, (enum err)response->error,
            arena_copy(&f->request->arena, slice_str(response->message)));
    else if (error == ERR_CLOSED)
        forward_respond_error(f->request, ERR_REQUEST_TIMED_OUT,
                              SLICE("The controller was lost before it "
                                    "answered; the change may have been "
                                    "made."));
    else
        forward_respond_error(f->request, ERR_REQUEST_TIMED_OUT,
                              SLICE("No active controller answered in "
                                    "time."));
}

static bool only_reads(int16_t api_key)
{
    return api_key == API_LIST_PARTITION_REASSIGNMENTS ||
           api_key == API_DESCRIBE_QUORUM;
}

void api_forward_body(struct request *r, struct slice body,
                      void (*answered)(struct request *r, struct slice body))
{
    struct meta *m = request_meta(r);
    struct forwarding *f = arena_alloc(&r->arena, sizeof *f);
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__ForwardRequest q = LEAT__FORWARD_REQUEST__INIT;

    f->request = r;
    f->answered = answered;
    q.api_key = r->api->key;
    q.api_version = r->version;
    q.client_id = arena_strdup(&r->arena, r->client_id);
    q.principal = "User:ANONYMOUS";
    q.client_host = (char *)(uintptr_t)r->client_host;
    q.body = (ProtobufCBinaryData){body.len, (uint8_t *)(uintptr_t)body.data};
    request.call_case = LEAT__CONTROL_REQUEST__CALL_FORWARD;
    request.forward = &q;
    f->call.repeatable = only_reads(r->api->key);
    f->call.deadline_ms = m->broker->config->request_timeout_ms;
    f->call.attempt_ms = f->call.deadline_ms;
    f->call.done = forward_done;
    control_send(m->control, CONTROL_CALLS, &f->call, &request);
}

void api_forward(struct request *r)
{
    api_forward_body(r, r->body, request_respond_body);
}
