/* Between the files of the service: service.c (life, Raft, image),
 * service_conn.c (connections, calls, long polls), service_kafka.c (Kafka's
 * requests), service_voters.c (changing who votes). */
#ifndef CONTROLLER_SERVICE_PARTS_H
#define CONTROLLER_SERVICE_PARTS_H

#include "base/kv.h"
#include "controller/service.h"
#include "proto/kafka/api.h"
#include "raft/node.h"
#include "raft/transport.h"

struct service_conn;

/* Whom the answer to a change of voters goes to. */
struct voter_reply {
    struct service_conn *conn; /* NULL: nobody waits for it */
    int32_t correlation_id;
    bool is_control; /* forwarded by a broker */
    int16_t api_key;
    int16_t version;
};

/* The one that is under way. */
struct voter_change {
    bool active;
    struct voter_reply to;
    bool answered; /* it did not want to wait for the commit */
    bool ack_when_committed;
    struct raft_member member;
    enum { VOTER_LEARNS, VOTER_LAST } stage; /* LAST: one more commit */
    uint64_t index; /* of the membership entry that is waited for; 0 none */
    int64_t deadline_ms;
};

/* What this node is by its own log. */
enum voter_standing { VOTER_UNTOLD, VOTER_NONE, VOTER_LEARNER, VOTER_VOTES };

struct controller_service {
    struct controller_service_options options;
    struct env *env;
    struct raft_node *raft;
    struct raft_transport *transport;
    struct kv *raft_kv;
    struct kv *image_kv;
    struct env_listener *listener;

    struct image image; /* of what is committed */
    int64_t image_term; /* of its applied_index */
    struct controller controller;
    bool leader;
    bool stale; /* a proposal was not taken: activate again when settled */
    struct env_timer timer;       /* controller_tick */
    struct env_timer again_timer; /* stale: looks whether that is settled */

    /* Writing the image: one batch on its way, one gathering. */
    struct kv_batch gathering;
    struct kv_batch writing;
    struct env_work write;
    bool write_busy;
    int write_error; /* of the last write; 0: none */
    int64_t gathered_index;
    int64_t writing_index;
    bool load_gathering; /* the batch being gathered is a peer's image, which */
    bool load_writing;   /* Raft waits for; the one being written is */
    struct env_timer rewrite_timer;

    struct list conns;
    struct list answers; /* held until committed, by rising index */
    struct list polls;   /* FetchMetadata waiting for news */
    struct env_timer poll_timer;
    struct list probes;

    struct {
        struct voter_change change;
        /* The configuration whose members are in the metadata. */
        uint64_t registered_index;
        enum voter_standing standing;
        bool warned_of_directory;
        struct env_timer timer;
    } voters;

    void (*stopped)(void *arg);
    void *stopped_arg;
    struct env_task stop_task;
    struct env_timer stop_timer;
    bool failed; /* options.failed was called */
    bool spoilt; /* an entry could not be applied */
    bool stopping;
    bool closing;
    bool raft_closed;
};

/* One connection to the listener. */
struct service_conn {
    struct list link;
    struct controller_service *service;
    struct env_conn *stream;
    int refs; /* the stream, and answers under way */
    /* Whose last heartbeat or registration that was accepted came here; -1
     * nobody's.  One connection at most for each broker. */
    int32_t broker_id;
    int64_t broker_epoch;
    bool paused; /* too much waits; see conn_throttle() */
    bool busy;   /* a change of voters must be answered first */
};

/* An answer that waits for its index. */
struct service_answer {
    struct list link;
    struct service_conn *conn;
    int64_t index;
    bool is_control;  /* a ControlResponse, which has a way to refuse */
    struct buf frame; /* length prefix included */
};

/* ---- service.c ----------------------------------------------------------- */

/* Fills in a call; the arena is the caller's. */
void service_begin(struct controller_service *s, struct controller_call *call,
                   struct arena *arena);
/* Proposes what was decided and sets the timer. False: leadership is as good as
 * lost, the answer must be NOT_CONTROLLER. Frees the update. */
bool service_carry_out(struct controller_service *s,
                       struct controller_update *update);

/* ---- service_conn.c ------------------------------------------------------ */

int service_listen(struct controller_service *s, char **why);
/* Sends what was waiting for commits up to the image's index, and wakes long
 * polls. */
void service_committed(struct controller_service *s);
/* Everything held back hears NOT_CONTROLLER. */
void service_refuse_all(struct controller_service *s);
/* Connects to each unfenced broker; refusal is reported. */
void service_probe_brokers(struct controller_service *s);
void service_close_conns(struct controller_service *s);
/* Takes over the frame; sends it when `index` is committed. */
void service_answer_at(struct service_conn *c, int64_t index, bool is_control,
                       struct buf *frame);

/* A ForwardResponse, when `index` is committed. */
void service_respond_forward(struct service_conn *c, int32_t correlation_id,
                             struct slice body, int64_t index);
/* Keeps the connection's memory; pause: and reads nothing more from it, since
 * Kafka's answers come in order. */
void service_conn_hold(struct service_conn *c, bool pause);
void service_conn_release(struct service_conn *c);
/* Closes it when everything is sent. */
void service_conn_drop(struct service_conn *c);
/* What a frame may become when it is decoded. */
size_t service_decoded_max(size_t frame_bytes);

/* ---- service_voters.c ---------------------------------------------------- */

void service_voters_init(struct controller_service *s);
bool service_changes_voters(int16_t api_key);
/* Who votes is what every node has in its configuration. */
bool service_voters_are_configured(const struct controller_service *s);
/* Answers now or later. ERR_MALFORMED and its like: there is no answer. */
enum err service_change_voters(struct controller_service *s,
                               const struct voter_reply *to, struct slice body,
                               struct arena *arena);
/* This node has become the active controller; something was committed;
 * decisions are not taken any more. */
void service_voters_active(struct controller_service *s);
void service_voters_committed(struct controller_service *s);
void service_voters_lost(struct controller_service *s);
/* raft_owner.on_members */
void service_voters_told(struct controller_service *s,
                         const struct raft_config *members);

/* ---- service_kafka.c ----------------------------------------------------- */

/* A request of Kafka's own; false: close the connection. */
bool service_kafka_request(struct service_conn *c, struct slice frame);
/* Sends the body when `index` is committed. */
void service_respond_kafka(struct service_conn *c, int16_t api_key,
                           int16_t version, int32_t correlation_id,
                           struct slice body, int64_t index);
/* Answers DescribeQuorum: appends the response's body. */
enum err service_describe_quorum(struct controller_service *s, int16_t version,
                                 struct slice body, struct arena *arena,
                                 struct buf *response);

#endif
