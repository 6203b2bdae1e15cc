#include "broker/share/session.h"

#include <stdlib.h>

void share_sessions_config_init(struct share_sessions_config *config)
{
    *config = (struct share_sessions_config){
        .max_sessions = 2000,
        .max_partitions = 1000000,
        .idle_ms = 120000,
    };
}

void share_sessions_init(struct share_sessions *sessions,
                         const struct share_sessions_config *config)
{
    *sessions = (struct share_sessions){.config = *config};
    list_init(&sessions->by_use);
}

void share_connection_init(struct share_connection *connection)
{
    list_init(&connection->sessions);
}

/* ---- names as keys -------------------------------------------------------*/

/* Groups and members are told apart by the group's length. */
static void member_key(struct buf *out, struct slice group, struct slice member)
{
    buf_put_u32(out, (uint32_t)group.len);
    buf_put_slice(out, group);
    buf_put_slice(out, member);
}

enum { PARTITION_KEY_BYTES = 20 };

static struct slice partition_key(uint8_t out[static PARTITION_KEY_BYTES],
                                  const struct share_session_name *name)
{
    memcpy(out, name->topic.bytes, 16);
    be32_put(out + 16, (uint32_t)name->partition);
    return slice_of(out, PARTITION_KEY_BYTES);
}

static struct share_session *find(const struct share_sessions *sessions,
                                  struct slice group, struct slice member)
{
    struct buf key = BUF_INIT;

    member_key(&key, group, member);
    struct share_session *session =
        map_get(&sessions->by_member, buf_slice(&key));
    buf_free(&key);
    return session;
}

/* ---- partitions of a session ---------------------------------------------*/

static void add(struct share_sessions *sessions, struct share_session *session,
                const struct share_session_name *name)
{
    uint8_t bytes[PARTITION_KEY_BYTES];
    struct slice key = partition_key(bytes, name);

    if (map_get(&session->by_id, key) != NULL)
        return;
    struct share_session_partition *partition = xcalloc(1, sizeof *partition);
    partition->topic = name->topic;
    partition->partition = name->partition;
    list_push_back(&session->partitions, &partition->link);
    map_put(&session->by_id, key, partition);
    sessions->partitions_len++;
}

static void forget(struct share_sessions *sessions,
                   struct share_session *session,
                   const struct share_session_name *name)
{
    uint8_t bytes[PARTITION_KEY_BYTES];
    struct share_session_partition *partition =
        map_remove(&session->by_id, partition_key(bytes, name));

    if (partition == NULL)
        return;
    list_remove(&partition->link);
    free(partition);
    sessions->partitions_len--;
}

void share_session_served(struct share_session *session,
                          struct share_session_partition *partition)
{
    list_remove(&partition->link);
    list_push_back(&session->partitions, &partition->link);
}

void share_session_serve(struct share_session *session,
                         const struct share_session_name *name)
{
    uint8_t bytes[PARTITION_KEY_BYTES];
    struct share_session_partition *partition =
        map_get(&session->by_id, partition_key(bytes, name));

    if (partition != NULL)
        share_session_served(session, partition);
}

struct share_session *share_sessions_find(const struct share_sessions *sessions,
                                          struct slice group,
                                          struct slice member, uint64_t number)
{
    struct share_session *session = find(sessions, group, member);

    return session != NULL && session->number == number ? session : NULL;
}

/* ---- life of a session ---------------------------------------------------*/

void share_session_free(struct share_session *session)
{
    MAP_EACH (entry, &session->by_id)
        free(entry->value);
    map_free(&session->by_id);
    free((void *)session->group.data);
    free((void *)session->member.data);
    free(session);
}

static void end(struct share_sessions *sessions, struct share_session *session,
                struct list *ended)
{
    struct buf key = BUF_INIT;

    member_key(&key, session->group, session->member);
    map_remove(&sessions->by_member, buf_slice(&key));
    buf_free(&key);
    sessions->partitions_len -= map_count(&session->by_id);
    list_remove(&session->by_connection);
    list_remove(&session->link);
    list_push_back(ended, &session->link);
}

void share_sessions_free(struct share_sessions *sessions)
{
    struct list ended;

    list_init(&ended);
    while (!list_empty(&sessions->by_use))
        end(sessions,
            LIST_ENTRY(sessions->by_use.next, struct share_session, link),
            &ended);
    while (!list_empty(&ended))
        share_session_free(
            LIST_ENTRY(list_pop_front(&ended), struct share_session, link));
    ASSERT(sessions->partitions_len == 0);
    map_free(&sessions->by_member);
}

void share_sessions_disconnect(struct share_sessions *sessions,
                               struct share_connection *connection,
                               struct list *ended)
{
    while (!list_empty(&connection->sessions))
        end(sessions,
            LIST_ENTRY(connection->sessions.next, struct share_session,
                       by_connection),
            ended);
}

/* The session moves to the connection that used it last. */
static void use(struct share_sessions *sessions, struct share_session *session,
                const struct share_session_request *request)
{
    session->used_ms = request->now_ms;
    session->epoch = session->epoch == INT32_MAX ? 1 : session->epoch + 1;
    list_remove(&session->link);
    list_push_back(&sessions->by_use, &session->link);
    list_remove(&session->by_connection);
    list_push_back(&request->connection->sessions, &session->by_connection);
}

/* ---- requests ------------------------------------------------------------*/

static bool make_room(struct share_sessions *sessions, int64_t now_ms,
                      struct list *ended)
{
    if (map_count(&sessions->by_member) < sessions->config.max_sessions)
        return true;
    if (list_empty(&sessions->by_use))
        return false;
    struct share_session *oldest =
        LIST_ENTRY(sessions->by_use.next, struct share_session, link);
    if (now_ms - oldest->used_ms <= sessions->config.idle_ms)
        return false;
    end(sessions, oldest, ended);
    return true;
}

static bool has_room_for(const struct share_sessions *sessions,
                         const struct share_session_request *request)
{
    return (uint64_t)sessions->partitions_len + request->add_len <=
           sessions->config.max_partitions;
}

static void change(struct share_sessions *sessions,
                   struct share_session *session,
                   const struct share_session_request *request)
{
    for (uint32_t i = 0; i < request->add_len; i++)
        add(sessions, session, &request->add[i]);
    for (uint32_t i = 0; i < request->forget_len; i++)
        forget(sessions, session, &request->forget[i]);
}

static enum err open_session(struct share_sessions *sessions,
                             const struct share_session_request *request,
                             struct share_session **session, struct list *ended)
{
    struct share_session *old = find(sessions, request->group, request->member);
    struct buf key = BUF_INIT;

    if (request->has_acks)
        return ERR_INVALID_REQUEST;
    if (old != NULL)
        end(sessions, old, ended);
    if (!has_room_for(sessions, request) ||
        !make_room(sessions, request->now_ms, ended))
        return ERR_SHARE_SESSION_LIMIT_REACHED;
    struct share_session *made = xcalloc(1, sizeof *made);
    made->number = ++sessions->made;
    list_init(&made->link);
    list_init(&made->by_connection);
    list_init(&made->partitions);
    made->group = slice_of(slice_dup(request->group), request->group.len);
    made->member = slice_of(slice_dup(request->member), request->member.len);
    member_key(&key, made->group, made->member);
    map_put(&sessions->by_member, buf_slice(&key), made);
    buf_free(&key);
    use(sessions, made, request);
    change(sessions, made, request);
    *session = made;
    return ERR_NONE;
}

/* A request of a session that is there: goes on, or ends it. */
static enum err go_on(struct share_sessions *sessions,
                      const struct share_session_request *request,
                      struct share_session **session, struct list *ended)
{
    struct share_session *found =
        find(sessions, request->group, request->member);

    if (found == NULL)
        return ERR_SHARE_SESSION_NOT_FOUND;
    if (request->epoch == SHARE_EPOCH_FINAL) {
        end(sessions, found, ended);
        return ERR_NONE;
    }
    if (found->epoch != request->epoch)
        return ERR_INVALID_SHARE_SESSION_EPOCH;
    if (!has_room_for(sessions, request))
        return ERR_SHARE_SESSION_LIMIT_REACHED;
    use(sessions, found, request);
    change(sessions, found, request);
    *session = found;
    return ERR_NONE;
}

enum err share_sessions_fetch(struct share_sessions *sessions,
                              const struct share_session_request *request,
                              struct share_session **session,
                              struct list *ended)
{
    *session = NULL;
    return request->epoch == SHARE_EPOCH_FIRST
               ? open_session(sessions, request, session, ended)
               : go_on(sessions, request, session, ended);
}

enum err share_sessions_acknowledge(struct share_sessions *sessions,
                                    const struct share_session_request *request,
                                    struct share_session **session,
                                    struct list *ended)
{
    struct share_session_request asked = *request;

    *session = NULL;
    asked.add_len = asked.forget_len = 0;
    return request->epoch == SHARE_EPOCH_FIRST
               ? ERR_INVALID_SHARE_SESSION_EPOCH
               : go_on(sessions, &asked, session, ended);
}
