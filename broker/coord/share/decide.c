/* One topic partition of a request: refused, answered, or written. */
#include "broker/coord/share/parts.h"

static void wait_for(struct share_coord_write *write,
                     struct share_answer *answer, struct share_ask *ask)
{
    write->answer = answer;
    write->ask = ask;
    answer->waiting++;
}

/* ---- what is written -----------------------------------------------------*/

static bool fits(const struct share_coord *coord, const struct share_key *key,
                 uint32_t batches)
{
    size_t bytes = SHARE_RECORD_ROOM_BYTES + 2 * key->group.len +
                   (size_t)batches * SHARE_RECORD_BATCH_BYTES;

    return coord->config.record_max_bytes == 0 ||
           bytes <= coord->config.record_max_bytes;
}

static struct share_state_of state_after(const struct share_key *key,
                                         const struct share_ask *ask,
                                         struct arena *arena)
{
    struct share_state_of now = key->state;

    if (ask->state_epoch > now.state_epoch) {
        /* of a life of the group that begins with this write */
        now.state_epoch = ask->state_epoch;
        now.start_offset = SHARE_START_UNKNOWN;
        now.len = 0;
    }
    return share_state_after(&now, ask->leader_epoch, ask->start_offset,
                             ask->complete, ask->batches, ask->len, arena);
}

static bool wants_snapshot(const struct share_coord *coord,
                           const struct share_key *key,
                           const struct share_ask *ask)
{
    /* An update has no place for the state's epoch. */
    return key->updates >= coord->config.snapshot_update_records_per_snapshot ||
           ask->state_epoch > key->state.state_epoch;
}

static struct share_coord_write *write_after(struct share_step *step,
                                             struct share_key *key,
                                             const struct share_ask *ask)
{
    struct share_coord_write *write;
    struct arena arena;

    if (!wants_snapshot(step->coord, key, ask))
        return share_write_update(step, key, ask);
    arena_init(&arena, 0);
    struct share_state_of state = state_after(key, ask, &arena);
    state.snapshot_epoch++;
    state.write_wall_ms = step->time.wall_ms;
    write = share_write_snapshot(step, key, &state);
    arena_free(&arena);
    return write;
}

/* A record that changes nothing, but says who leads: no coordinator that was
 * replaced and does not know it can have it committed. */
static void confirm(struct share_step *step, struct share_answer *answer,
                    struct share_ask *ask, struct share_key *key)
{
    ask->state_epoch = key->state.state_epoch;
    ask->start_offset = SHARE_START_UNKNOWN;
    ask->complete = -1;
    wait_for(write_after(step, key, ask), answer, ask);
}

/* ---- initialize, delete --------------------------------------------------*/

/* Nobody has read it or written to it. */
static bool is_unused(const struct share_key *key)
{
    return key->state.snapshot_epoch == 0 && key->updates == 0;
}

static enum err initialize(struct share_step *step, struct share_answer *answer,
                           struct share_ask *ask, struct share_key *key)
{
    struct share_coord *coord = step->coord;
    struct share_state_of state = {
        .state_epoch = ask->state_epoch,
        .start_offset = ask->start_offset,
        .complete = -1,
        .create_wall_ms = step->time.wall_ms,
        .write_wall_ms = step->time.wall_ms,
    };

    if (ask->start_offset < SHARE_START_UNKNOWN)
        return ERR_INVALID_REQUEST;
    if (key != NULL && ask->state_epoch < key->state.state_epoch)
        return ERR_FENCED_STATE_EPOCH;
    if (key != NULL && ask->state_epoch == key->state.state_epoch &&
        !is_unused(key)) {
        /* A late copy. */
        ask->leader_epoch = -1;
        confirm(step, answer, ask, key);
        return ERR_NONE;
    }
    if (key == NULL && coord->bytes >= coord->config.states_max_bytes)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    if (key == NULL) {
        key = share_key_add(coord, answer->group, ask->topic, ask->partition);
    } else {
        state.snapshot_epoch = key->state.snapshot_epoch + 1;
        state.leader_epoch = key->state.leader_epoch;
        state.create_wall_ms = key->state.create_wall_ms;
    }
    wait_for(share_write_snapshot(step, key, &state), answer, ask);
    return ERR_NONE;
}

static enum err delete_key(struct share_step *step, struct share_answer *answer,
                           struct share_ask *ask, struct share_key *key)
{
    if (key != NULL)
        share_write_tombstone(step, key, answer, ask);
    return ERR_NONE;
}

/* ---- read, write ---------------------------------------------------------*/

static bool is_fenced(const struct share_key *key, const struct share_ask *ask)
{
    return ask->leader_epoch != -1 &&
           ask->leader_epoch < key->state.leader_epoch;
}

/* -1: the client does not say. */
static bool is_of_old_life(const struct share_key *key,
                           const struct share_ask *ask)
{
    return ask->state_epoch != -1 && ask->state_epoch < key->state.state_epoch;
}

/* Twice as many as are new: each may cut one that is there. */
static bool surely_fits(const struct share_coord *coord,
                        const struct share_key *key,
                        const struct share_ask *ask)
{
    uint64_t most = (uint64_t)key->state.len + 2 * (uint64_t)ask->len;

    return most < UINT32_MAX && fits(coord, key, (uint32_t)most);
}

/* How many batches there are after it.  What that takes is freed at once: many
 * may ask before the answer is sent. */
static uint32_t len_after(const struct share_key *key,
                          const struct share_ask *ask)
{
    struct arena arena;

    arena_init(&arena, 0);
    uint32_t len = state_after(key, ask, &arena).len;
    arena_free(&arena);
    return len;
}

static enum err write_key(struct share_step *step, struct share_answer *answer,
                          struct share_ask *ask, struct share_key *key)
{
    if (key == NULL || !ask->batches_ok ||
        ask->start_offset < SHARE_START_UNKNOWN)
        return ERR_INVALID_REQUEST;
    if (is_fenced(key, ask))
        return ERR_FENCED_LEADER_EPOCH;
    if (is_of_old_life(key, ask))
        return ERR_FENCED_STATE_EPOCH;
    if (!surely_fits(step->coord, key, ask) &&
        (!fits(step->coord, key, ask->len) ||
         !fits(step->coord, key, len_after(key, ask))))
        return ERR_RECORD_LIST_TOO_LARGE;
    /* Surely nothing of it is written then, as the leader has to know. */
    if (step->coord->bytes >= step->coord->config.states_max_bytes &&
        ask->len != 0 && len_after(key, ask) > key->state.len)
        return ERR_RECORD_LIST_TOO_LARGE;
    wait_for(write_after(step, key, ask), answer, ask);
    return ERR_NONE;
}

/* The record says that there is a new leader, if there is one. */
static enum err read_key(struct share_step *step, struct share_answer *answer,
                         struct share_ask *ask, struct share_key *key)
{
    if (key == NULL)
        return ERR_INVALID_REQUEST;
    if (is_fenced(key, ask))
        return ERR_FENCED_LEADER_EPOCH;
    confirm(step, answer, ask, key);
    return ERR_NONE;
}

/* For those who want to know, not for those who act on it. */
static enum err summarize(struct share_ask *ask, const struct share_key *key)
{
    if (key != NULL && key->exists)
        ask->told = key->state;
    else
        ask->told = (struct share_state_of){.start_offset = SHARE_START_UNKNOWN,
                                            .complete = -1};
    return ERR_NONE;
}

/* ---- any -----------------------------------------------------------------*/

static enum err decide(struct share_step *step, struct share_answer *answer,
                       struct share_ask *ask, struct share_key *key)
{
    if (answer->api == API_READ_SHARE_GROUP_STATE_SUMMARY)
        return summarize(ask, key);
    if (key != NULL && key->under_way != NULL)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    switch (answer->api) {
    case API_INITIALIZE_SHARE_GROUP_STATE:
        return initialize(step, answer, ask, key);
    case API_READ_SHARE_GROUP_STATE:
        return read_key(step, answer, ask, key);
    case API_WRITE_SHARE_GROUP_STATE:
        return write_key(step, answer, ask, key);
    case API_DELETE_SHARE_GROUP_STATE:
        return delete_key(step, answer, ask, key);
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
        return ERR_UNKNOWN_SERVER_ERROR;
    }
}

enum err share_ask_check(const struct share_answer *answer,
                         const struct share_ask *ask)
{
    if (answer->group.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (uuid_is_zero(ask->topic) || ask->partition < 0)
        return ERR_INVALID_REQUEST;
    return ERR_NONE;
}

static enum err partition_error(const struct share_context *context,
                                const struct share_answer *answer,
                                const struct share_ask *ask)
{
    enum err err = share_ask_check(answer, ask);

    if (err != ERR_NONE || context->partition_error == NULL ||
        answer->api == API_DELETE_SHARE_GROUP_STATE)
        return err;
    return context->partition_error(context->arg, ask->topic, ask->partition);
}

void share_decide(struct share_step *step, const struct share_context *context,
                  struct share_answer *answer, struct share_ask *ask)
{
    ask->err = partition_error(context, answer, ask);
    if (ask->err == ERR_NONE)
        ask->err = decide(step, answer, ask,
                          share_key_find(step->coord, answer->group, ask->topic,
                                         ask->partition));
}
