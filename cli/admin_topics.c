/* Reading goes to any broker, changes to the controller as Metadata names it;
 * a controller that just changed is asked again. */
#include "cli/admin_topics.h"

#include <regex.h>
#include <stdlib.h>

/* ---- patterns
 * --------------------------------------------------------------------- */

/* Kafka's filter to POSIX: commas are alternatives, white space and quotes do
 * not count, \d and \. mean what they mean in Java. */
static char *posix_pattern(const char *pattern)
{
    struct buf out = BUF_INIT;

    buf_printf(&out, "^(");
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p == ',')
            buf_put_u8(&out, '|');
        else if (p[0] == '\\' && p[1] == 'd')
            buf_printf(&out, "[0-9]"), p++;
        else if (p[0] == '\\' && p[1] != '\0')
            buf_put(&out, p++, 2);
        else if (strchr(" \"'", *p) == NULL)
            buf_put_u8(&out, (uint8_t)*p);
    }
    buf_put(&out, ")$", 3);
    return (char *)out.data;
}

static bool compile(const char *pattern, regex_t *out, char **why)
{
    char *text = posix_pattern(pattern);
    int n = regcomp(out, text, REG_EXTENDED | REG_NOSUB);

    free(text);
    if (n == 0)
        return true;
    *why = xasprintf("%s is an invalid regex.", pattern);
    return false;
}

static bool matches(const regex_t *compiled, struct slice name)
{
    char *text = slice_dup(name);
    bool ok = regexec(compiled, text, 0, NULL, 0) == 0;

    free(text);
    return ok;
}

bool admin_pattern_matches(const char *pattern, struct slice name, char **why)
{
    regex_t compiled;

    if (!compile(pattern, &compiled, why))
        return false;
    bool ok = matches(&compiled, name);
    regfree(&compiled);
    return ok;
}

/* ---- lists
 * ---------------------------------------------------------------------------
 */

static int compare_partitions(const void *a, const void *b)
{
    const struct partition_view *x = a;
    const struct partition_view *y = b;

    return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_topics(const void *a, const void *b)
{
    const struct topic_view *x = a;
    const struct topic_view *y = b;

    return slice_cmp(x->name, y->name);
}

static void view_metadata(const struct metadata_response_topic *t,
                          struct arena *a, struct topic_view *view)
{
    *view = (struct topic_view){t->name, t->topic_id, t->is_internal, NULL,
                                t->partitions_len};
    view->partitions =
        arena_array(a, (size_t)t->partitions_len + 1, sizeof *view->partitions);
    for (int32_t i = 0; i < t->partitions_len; i++) {
        const struct metadata_response_partition *p = &t->partitions[i];
        view->partitions[i] = (struct partition_view){
            p->partition_index,
            p->leader_id,
            {p->replica_nodes, p->replica_nodes_len},
            {p->isr_nodes, p->isr_nodes_len},
            {NULL, -1},
            {NULL, -1},
            {p->offline_replicas, p->offline_replicas_len}};
    }
    qsort(view->partitions, (size_t)view->partitions_len,
          sizeof *view->partitions, compare_partitions);
}

static enum err all_topics(struct client *c, struct arena *a,
                           struct metadata_response *m)
{
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    do {
        error = client_topics(c, NULL, -1, false, m, a);
    } while (client_retry(&retry, error));
    return error;
}

enum err admin_topics_list(struct client *c, const char *pattern,
                           bool exclude_internal, struct arena *a,
                           struct topic_view **topics, int32_t *len)
{
    struct metadata_response m;
    regex_t compiled;
    char *why = NULL;

    *len = 0;
    if (pattern != NULL && !compile(pattern, &compiled, &why)) {
        enum err error = client_fail(c, ERR_INVALID_REQUEST, "%s", why);
        free(why);
        return error;
    }
    enum err error = all_topics(c, a, &m);
    if (error == ERR_NONE)
        *topics = arena_array(a, (size_t)m.topics_len + 1, sizeof **topics);
    for (int32_t i = 0; error == ERR_NONE && i < m.topics_len; i++) {
        const struct metadata_response_topic *t = &m.topics[i];
        if ((exclude_internal && t->is_internal) ||
            (pattern != NULL && !matches(&compiled, t->name)))
            continue;
        view_metadata(t, a, &(*topics)[(*len)++]);
    }
    if (pattern != NULL)
        regfree(&compiled);
    if (error == ERR_NONE)
        qsort(*topics, (size_t)*len, sizeof **topics, compare_topics);
    return error;
}

/* ---- descriptions
 * ----------------------------------------------------------------------- */

static struct topic_view *find_topic(struct topic_view *topics, int32_t len,
                                     struct slice name)
{
    struct topic_view key = {.name = name};

    return bsearch(&key, topics, (size_t)len, sizeof *topics, compare_topics);
}

/* Puts one answer's ELRs into the views that Metadata gave. */
static void merge(struct topic_view *topics, int32_t len,
                  const struct describe_topic_partitions_response *d)
{
    for (int32_t i = 0; i < d->topics_len; i++) {
        const struct describe_topic_partitions_response_topic *t =
            &d->topics[i];
        struct topic_view *view = find_topic(topics, len, t->name);
        if (view == NULL)
            continue;
        for (int32_t k = 0; k < t->partitions_len; k++) {
            const struct describe_topic_partitions_response_partition *p =
                &t->partitions[k];
            struct partition_view key = {.index = p->partition_index};
            struct partition_view *v =
                bsearch(&key, view->partitions, (size_t)view->partitions_len,
                        sizeof *view->partitions, compare_partitions);
            if (v == NULL)
                continue;
            v->elr = (struct ids){p->eligible_leader_replicas,
                                  p->eligible_leader_replicas_len};
            v->last_known_elr =
                (struct ids){p->last_known_elr, p->last_known_elr_len};
        }
    }
}

static enum err add_elr(struct client *c, struct arena *a,
                        struct topic_view *topics, int32_t len)
{
    struct describe_topic_partitions_request q;
    struct describe_topic_partitions_response d;
    struct describe_topic_partitions_request_cursor cursor;

    describe_topic_partitions_request_init(&q);
    q.topics = arena_array(a, (size_t)len + 1, sizeof *q.topics);
    q.topics_len = len;
    for (int32_t i = 0; i < len; i++)
        q.topics[i].name = topics[i].name;
    do {
        enum err error = client_call(c, CLIENT_ANY,
                                     API_DESCRIBE_TOPIC_PARTITIONS, &q, &d, a);
        if (error != ERR_NONE)
            return error;
        merge(topics, len, &d);
        if (d.next_cursor != NULL)
            cursor = (struct describe_topic_partitions_request_cursor){
                d.next_cursor->topic_name, d.next_cursor->partition_index};
        q.cursor = &cursor;
    } while (d.next_cursor != NULL);
    return ERR_NONE;
}

enum err admin_topics_describe(struct client *c, const char *pattern,
                               bool exclude_internal, struct arena *a,
                               struct topic_view **topics, int32_t *len)
{
    enum err error =
        admin_topics_list(c, pattern, exclude_internal, a, topics, len);

    if (error != ERR_NONE || *len == 0 ||
        client_version(c, CLIENT_ANY, API_DESCRIBE_TOPIC_PARTITIONS) < 0)
        return error;
    return add_elr(c, a, *topics, *len);
}

/* ---- assignments
 * ---------------------------------------------------------------------------
 */

static bool parse_broker(const char **text, int32_t *out)
{
    int64_t number = 0;
    int digits = 0;

    while (**text == ' ')
        ++*text;
    for (; **text >= '0' && **text <= '9' && digits < 10; digits++)
        number = number * 10 + (*(*text)++ - '0');
    while (**text == ' ')
        ++*text;
    *out = (int32_t)number;
    return digits != 0 && number <= INT32_MAX;
}

static bool parse_replicas(const char **text, struct arena *a, int32_t **out,
                           int32_t *len, char **why)
{
    int32_t room = 1;
    const char *start = *text;

    for (const char *p = *text; *p != '\0' && *p != ','; p++)
        room += *p == ':';
    *out = arena_array(a, (size_t)room, sizeof **out);
    *len = 0;
    while (**text != '\0' && **text != ',') {
        if (!parse_broker(text, &(*out)[*len]) ||
            (**text != '\0' && **text != ',' && **text != ':')) {
            *why = xasprintf("\"%s\" is not a list of brokers such as "
                             "1:2,2:3 (partitions by commas, replicas by "
                             "colons)",
                             start);
            return false;
        }
        for (int32_t i = 0; i < *len; i++)
            if ((*out)[i] == (*out)[*len]) {
                *why = xasprintf("Partition replica lists may not contain "
                                 "duplicate entries: %d",
                                 (*out)[i]);
                return false;
            }
        ++*len;
        if (**text == ':')
            ++*text;
    }
    return true;
}

bool admin_assignment_parse(const char *text, struct arena *a,
                            struct assignment *out, char **why)
{
    int32_t room = 1;

    for (const char *p = text; *p != '\0'; p++)
        room += *p == ',';
    *out = (struct assignment){
        arena_array(a, (size_t)room, sizeof *out->brokers),
        arena_array(a, (size_t)room, sizeof *out->brokers_len), 0};
    for (;;) {
        if (!parse_replicas(&text, a, &out->brokers[out->len],
                            &out->brokers_len[out->len], why))
            return false;
        out->len++;
        if (*text == '\0')
            return true;
        text++;
    }
}

/* ---- changes
 * ----------------------------------------------------------------------------------
 */

/* The server's words, or ours. */
static enum err told(struct client *c, int16_t code, struct slice message)
{
    if (code == ERR_NONE)
        return ERR_NONE;
    if (message.len != 0)
        return client_fail(c, code, "%.*s", SLICE_FMT(message));
    return client_fail(c, code, "%s (%s)", err_text(code), err_name(code));
}

/* Errors that say another controller should be asked. */
static bool is_moved(enum err error) { return error == ERR_NOT_CONTROLLER; }

static enum err create_once(struct client *c,
                            const struct create_topics_request *q,
                            struct arena *a)
{
    struct create_topics_response r;
    enum err error =
        client_call(c, CLIENT_CONTROLLER, API_CREATE_TOPICS, q, &r, a);

    if (error != ERR_NONE)
        return error;
    if (r.topics_len != 1)
        return client_fail(c, ERR_UNKNOWN_SERVER_ERROR,
                           "the answer names %d topics", r.topics_len);
    return told(c, r.topics[0].error_code, r.topics[0].error_message);
}

static void fill_creatable(const struct new_topic *topic, struct arena *a,
                           struct create_topics_request_creatable_topic *t)
{
    const struct assignment *given = &topic->assignment;

    ASSERT(topic->replication_factor <= INT16_MAX);
    create_topics_request_creatable_topic_init(t);
    t->name = slice_str(topic->name);
    t->num_partitions = given->len != 0 ? -1 : topic->partitions;
    t->replication_factor =
        (int16_t)(given->len != 0 ? -1 : topic->replication_factor);
    t->assignments =
        arena_array(a, (size_t)given->len + 1, sizeof *t->assignments);
    t->assignments_len = given->len;
    for (int32_t i = 0; i < given->len; i++)
        t->assignments[i] =
            (struct create_topics_request_creatable_replica_assignment){
                i, given->brokers[i], given->brokers_len[i]};
    t->configs =
        arena_array(a, (size_t)topic->configs_len + 1, sizeof *t->configs);
    t->configs_len = topic->configs_len;
    for (int32_t i = 0; i < topic->configs_len; i++) {
        t->configs[i].name = topic->configs[i].key;
        t->configs[i].value = topic->configs[i].value;
    }
}

enum err admin_topic_create(struct client *c, const struct new_topic *topic,
                            struct arena *a)
{
    struct create_topics_request q;
    struct create_topics_request_creatable_topic t;
    struct client_retry retry;
    enum err error;

    fill_creatable(topic, a, &t);
    create_topics_request_init(&q);
    q.topics = &t;
    q.topics_len = 1;
    q.timeout_ms = (int32_t)client_timeout_ms(c);
    q.validate_only = topic->validate_only;
    client_retry_init(c, &retry);
    do {
        error = create_once(c, &q, a);
        if (is_moved(error))
            client_refresh(c);
    } while (is_moved(error) && client_retry(&retry, error));
    return error;
}

enum err admin_topics_delete(struct client *c, const struct topic_view *topics,
                             int32_t len, struct arena *a)
{
    struct delete_topics_request q;
    struct delete_topics_response r;

    delete_topics_request_init(&q);
    q.timeout_ms = (int32_t)client_timeout_ms(c);
    q.topics = arena_array(a, (size_t)len + 1, sizeof *q.topics);
    q.topic_names = arena_array(a, (size_t)len + 1, sizeof *q.topic_names);
    for (int32_t i = 0; i < len; i++) {
        q.topics[i].name = topics[i].name;
        q.topic_names[i] = topics[i].name;
    }
    int32_t node = client_controller(c);
    if (node < 0 || client_version(c, node, API_DELETE_TOPICS) < 0)
        node = client_any(c);
    if (client_version(c, node, API_DELETE_TOPICS) >= 6)
        q.topics_len = len;
    else
        q.topic_names_len = len;
    enum err error = client_call(c, node, API_DELETE_TOPICS, &q, &r, a);
    for (int32_t i = 0; error == ERR_NONE && i < r.responses_len; i++)
        error =
            told(c, r.responses[i].error_code, r.responses[i].error_message);
    return error;
}

enum err admin_partitions_add(struct client *c, struct slice topic,
                              int32_t count, const struct assignment *added,
                              struct arena *a)
{
    struct create_partitions_request q;
    struct create_partitions_request_topic t;
    struct create_partitions_response r;

    create_partitions_request_topic_init(&t);
    t.name = topic;
    t.count = count;
    t.assignments_len = -1;
    if (added->len != 0) {
        t.assignments =
            arena_array(a, (size_t)added->len, sizeof *t.assignments);
        t.assignments_len = added->len;
    }
    for (int32_t i = 0; i < added->len; i++)
        t.assignments[i] = (struct create_partitions_request_assignment){
            added->brokers[i], added->brokers_len[i]};
    create_partitions_request_init(&q);
    q.topics = &t;
    q.topics_len = 1;
    q.timeout_ms = (int32_t)client_timeout_ms(c);
    enum err error =
        client_call(c, CLIENT_CONTROLLER, API_CREATE_PARTITIONS, &q, &r, a);
    for (int32_t i = 0; error == ERR_NONE && i < r.results_len; i++)
        error = told(c, r.results[i].error_code, r.results[i].error_message);
    return error;
}

/* ---- moving partitions
 * -------------------------------------------------------------------------- */

static enum err
told_moves(struct client *c,
           const struct alter_partition_reassignments_response *r)
{
    enum err error = told(c, r->error_code, r->error_message);

    for (int32_t i = 0; error == ERR_NONE && i < r->responses_len; i++)
        for (int32_t k = 0;
             error == ERR_NONE && k < r->responses[i].partitions_len; k++)
            error = told(c, r->responses[i].partitions[k].error_code,
                         r->responses[i].partitions[k].error_message);
    return error;
}

enum err admin_reassign(struct client *c, struct slice topic,
                        const struct assignment *target, bool cancel,
                        struct arena *a)
{
    struct alter_partition_reassignments_request q;
    struct alter_partition_reassignments_request_reassignable_topic t;
    struct alter_partition_reassignments_response r;

    alter_partition_reassignments_request_reassignable_topic_init(&t);
    t.name = topic;
    t.partitions =
        arena_array(a, (size_t)target->len + 1, sizeof *t.partitions);
    for (int32_t i = 0; i < target->len; i++) {
        if (target->brokers_len[i] == 0)
            continue;
        t.partitions[t.partitions_len++] =
            (struct
             alter_partition_reassignments_request_reassignable_partition){
                i, cancel ? NULL : target->brokers[i],
                cancel ? -1 : target->brokers_len[i]};
    }
    alter_partition_reassignments_request_init(&q);
    q.topics = &t;
    q.topics_len = 1;
    q.timeout_ms = (int32_t)client_timeout_ms(c);
    enum err error = client_call(c, CLIENT_CONTROLLER,
                                 API_ALTER_PARTITION_REASSIGNMENTS, &q, &r, a);
    return error != ERR_NONE ? error : told_moves(c, &r);
}

static int32_t
count_moves(const struct list_partition_reassignments_response *r)
{
    int32_t n = 0;

    for (int32_t i = 0; i < r->topics_len; i++)
        n += r->topics[i].partitions_len;
    return n;
}

enum err admin_moves(struct client *c, struct arena *a,
                     struct move_view **moves, int32_t *len)
{
    struct list_partition_reassignments_request q;
    struct list_partition_reassignments_response r;

    *len = 0;
    list_partition_reassignments_request_init(&q);
    q.timeout_ms = (int32_t)client_timeout_ms(c);
    q.topics_len = -1;
    enum err error = client_call(c, CLIENT_CONTROLLER,
                                 API_LIST_PARTITION_REASSIGNMENTS, &q, &r, a);
    if (error == ERR_NONE)
        error = told(c, r.error_code, r.error_message);
    if (error != ERR_NONE)
        return error;
    *moves = arena_array(a, (size_t)count_moves(&r) + 1, sizeof **moves);
    for (int32_t i = 0; i < r.topics_len; i++)
        for (int32_t k = 0; k < r.topics[i].partitions_len; k++) {
            const struct
                list_partition_reassignments_response_ongoing_partition_reassignment
                    *p = &r.topics[i].partitions[k];
            (*moves)[(*len)++] = (struct move_view){
                r.topics[i].name,
                p->partition_index,
                {p->replicas, p->replicas_len},
                {p->adding_replicas, p->adding_replicas_len},
                {p->removing_replicas, p->removing_replicas_len}};
        }
    return ERR_NONE;
}

const char *ids_text(struct ids ids, struct arena *a)
{
    struct buf b = BUF_INIT;

    for (int32_t i = 0; i < ids.len; i++)
        buf_printf(&b, "%s%d", i == 0 ? "" : ",", ids.items[i]);
    const char *text = arena_strdup(a, buf_slice(&b));
    buf_free(&b);
    return text;
}
