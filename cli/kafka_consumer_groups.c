/* kafka-consumer-groups: Kafka's flags, lines and columns
 * (ConsumerGroupCommand).  Like Kafka's it ends with 0 after most errors and
 * says them on standard output; only wrong options end with 1. */
#include "cli/admin_groups.h"
#include "cli/commands.h"
#include "cli/kafka_compat.h"
#include "cli/net.h"

#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

static const struct option_spec option_specs[] = {
    KAFKA_OPTIONS,
    {"all-groups", OPTION_FLAG, 0, NULL, "Apply to all consumer groups."},
    {"all-topics", OPTION_FLAG, 0, NULL,
     "Consider all topics assigned to a group in the `reset-offsets` "
     "process."},
    {"by-duration", OPTION_VALUE, 0, "duration",
     "Reset offsets to offset by duration from current timestamp. Format: "
     "'PnDTnHnMnS'"},
    {"delete", OPTION_FLAG, 0, NULL,
     "Pass in groups to delete topic partition offsets and ownership "
     "information over the entire consumer group."},
    {"delete-offsets", OPTION_FLAG, 0, NULL,
     "Delete offsets of consumer group. Supports one consumer group at the "
     "time, and multiple topics."},
    {"describe", OPTION_FLAG, 0, NULL,
     "Describe consumer group and list offset lag (number of messages not yet "
     "processed) related to given group."},
    {"dry-run", OPTION_FLAG, 0, NULL,
     "Only show results without executing changes on Consumer Groups."},
    {"execute", OPTION_FLAG, 0, NULL, "Execute operation."},
    {"export", OPTION_FLAG, 0, NULL,
     "Export operation execution to a CSV file."},
    {"from-file", OPTION_VALUE, 0, "path to CSV file",
     "Reset offsets to values defined in CSV file."},
    {"group", OPTION_LIST, 0, "consumer group",
     "The consumer group we wish to act on."},
    {"list", OPTION_FLAG, 0, NULL, "List all consumer groups."},
    {"members", OPTION_FLAG, 0, NULL, "Describe members of the group."},
    {"offsets", OPTION_FLAG, 0, NULL,
     "Describe the group and list all topic partitions in the group along "
     "with their offset lag. This is the default sub-action."},
    {"reset-offsets", OPTION_FLAG, 0, NULL,
     "Reset offsets of consumer group. Supports one consumer group at the "
     "time, and instances should be inactive."},
    {"shift-by", OPTION_LONG, 0, "number-of-offsets",
     "Reset offsets shifting current offset by 'n', where 'n' can be positive "
     "or negative."},
    {"state", OPTION_OPTIONAL, 0, "state",
     "With --describe: the group state; with --list: the states, or only "
     "groups in these."},
    {"timeout", OPTION_INT, 0, "timeout (ms)",
     "The timeout that can be set for some use cases.", 1, INT32_MAX},
    {"to-current", OPTION_FLAG, 0, NULL, "Reset offsets to current offset."},
    {"to-datetime", OPTION_VALUE, 0, "datetime",
     "Reset offsets to offset from datetime. Format: "
     "'YYYY-MM-DDThh:mm:ss.sss'"},
    {"to-earliest", OPTION_FLAG, 0, NULL, "Reset offsets to earliest offset."},
    {"to-latest", OPTION_FLAG, 0, NULL, "Reset offsets to latest offset."},
    {"to-offset", OPTION_LONG, 0, "offset",
     "Reset offsets to a specific offset."},
    {"topic", OPTION_LIST, 0, "topic",
     "The topic whose consumer group information should be deleted or topic "
     "whose should be included in the reset offset process: topic1:0,1,2"},
    {"type", OPTION_OPTIONAL, 0, "type",
     "When specified with --list, it displays the types of all the groups."},
    {"verbose", OPTION_FLAG, 0, NULL,
     "Provide additional information, if any, when describing the group."},
    {0}};

static const struct kafka_tool tool = {
    "kafka-consumer-groups",
    "This tool helps to list all consumer groups, describe a consumer group, "
    "delete consumer group info, or reset consumer group offsets.",
    option_specs};

/* What Kafka's tool shows of an error: the exception's class and words. */
static const char *exception(const struct client *c, enum err error)
{
    switch (error) {
    case ERR_NON_EMPTY_GROUP:
        return "org.apache.kafka.common.errors.GroupNotEmptyException: The "
               "group is not empty.";
    case ERR_GROUP_ID_NOT_FOUND:
        return "org.apache.kafka.common.errors.GroupIdNotFoundException: The "
               "group id does not exist.";
    case ERR_GROUP_SUBSCRIBED_TO_TOPIC:
        return "org.apache.kafka.common.errors."
               "GroupSubscribedToTopicException: Deleting offsets of a topic "
               "is forbidden while the consumer group is actively subscribed "
               "to it.";
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
        return "org.apache.kafka.common.errors."
               "UnknownTopicOrPartitionException: This server does not host "
               "this topic-partition.";
    default:
        return client_why(c);
    }
}

struct job {
    const struct options *options;
    struct client *client;
    struct arena arena;
};

static int print_error(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

static int print_error(const char *format, ...)
{
    va_list arguments;

    fputs("\nError: ", stdout);
    va_start(arguments, format);
    vfprintf(stdout, format, arguments);
    va_end(arguments);
    putchar('\n');
    return EXIT_OK;
}

static int failed(const struct job *j)
{
    return print_error("Executing consumer group command failed due to %s",
                       client_why(j->client));
}

/* ---- which groups
 * ----------------------------------------------------------------------------
 */

static bool find(struct job *j, struct slice **groups, size_t *len)
{
    struct group_listing *all = NULL;
    int32_t all_len = 0;
    const char *name;

    *len = 0;
    if (options_has(j->options, "all-groups")) {
        if (admin_groups_list(j->client, NULL, &j->arena, &all, &all_len) !=
            ERR_NONE)
            return false;
        *groups = arena_array(&j->arena, (size_t)all_len + 1, sizeof **groups);
        for (int32_t i = 0; i < all_len; i++)
            (*groups)[(*len)++] = all[i].group;
        return true;
    }
    while (options_each(j->options, "group", *len) != NULL)
        ++*len;
    *groups = arena_array(&j->arena, *len + 1, sizeof **groups);
    for (size_t i = 0; (name = options_each(j->options, "group", i)) != NULL;
         i++)
        (*groups)[i] = slice_str(name);
    return true;
}

/* ---- list
 * --------------------------------------------------------------------------------------
 */

/* Kafka's spelling of a type: "Classic". */
static const char *type_name(struct slice type, struct arena *a)
{
    char *text = arena_strdup(a, type);

    if (text[0] >= 'a' && text[0] <= 'z')
        text[0] = (char)(text[0] - 'a' + 'A');
    return *text == '\0' ? "Unknown" : text;
}

static bool is_type_wanted(const struct job *j, struct slice type)
{
    const char *wanted = options_text(j->options, "type", NULL);
    char *text;

    if (wanted == NULL)
        return true;
    text = slice_dup(type);
    bool ok = text != NULL && strcasestr(wanted, text) != NULL;
    free(text);
    return ok;
}

static int list(struct job *j)
{
    struct group_listing *groups = NULL;
    bool state = options_has(j->options, "state");
    bool type = options_has(j->options, "type");
    int32_t len;
    int width = 15;

    if (admin_groups_list(j->client, options_text(j->options, "state", NULL),
                          &j->arena, &groups, &len) != ERR_NONE)
        return failed(j);
    for (int32_t i = 0; i < len; i++)
        if ((int)groups[i].group.len > width)
            width = (int)groups[i].group.len;
    if (state || type) {
        printf("%-*s", width + 10, "GROUP");
        if (type)
            printf(" %-20s", "TYPE");
        if (state)
            printf(" %-20s", "STATE");
        putchar('\n');
    }
    for (int32_t i = 0; i < len; i++) {
        const char *name = arena_strdup(&j->arena, groups[i].group);
        if (!is_type_wanted(j, groups[i].type))
            continue;
        if (!state && !type) {
            puts(name);
            continue;
        }
        printf("%-*s", width + 10, name);
        if (type)
            printf(" %-20s", type_name(groups[i].type, &j->arena));
        if (state)
            printf(" %-20s", arena_strdup(&j->arena, groups[i].state));
        putchar('\n');
    }
    return EXIT_OK;
}

/* ---- describe
 * ------------------------------------------------------------------------------------
 */

/* Says what there is to say of the state; false if there is no such group. */
static bool tell_state(const struct group_view *view)
{
    struct slice s = view->state;

    if (slice_eq_str(s, "Dead")) {
        print_error("Executing consumer group command failed due to "
                    "org.apache.kafka.common.errors."
                    "GroupIdNotFoundException: Group %.*s not found.",
                    SLICE_FMT(view->group));
        return false;
    }
    if (slice_eq_str(s, "Empty"))
        fprintf(stderr, "\nConsumer group '%.*s' has no active members.\n",
                SLICE_FMT(view->group));
    else if (!slice_eq_str(s, "Stable"))
        fprintf(stderr, "\nWarning: Consumer group '%.*s' is rebalancing.\n",
                SLICE_FMT(view->group));
    return true;
}

static int wider(int width, struct slice text)
{
    return (int)text.len > width ? (int)text.len : width;
}

static const char *number(int64_t n, struct arena *a)
{
    return n < 0 ? "-"
                 : (const char *)arena_printf(a, "%lld", (long long)n).data;
}

static const char *text_or_dash(struct slice s, struct arena *a)
{
    return s.len == 0 ? "-" : arena_strdup(a, s);
}

static void print_rows(struct job *j, const struct group_view *view,
                       const struct group_row *rows, int32_t len)
{
    struct arena *a = &j->arena;
    int group = wider(15, view->group), topic = 15, member = 15, host = 15;

    for (int32_t i = 0; i < len; i++) {
        topic = wider(topic, rows[i].topic);
        if (rows[i].member != NULL) {
            member = wider(member, rows[i].member->id);
            host = wider(host, rows[i].member->host);
        }
    }
    printf("\n%-*s %-*s %-10s %-15s %-15s %-15s %-*s %-*s %s", group, "GROUP",
           topic, "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET",
           "LAG", member, "CONSUMER-ID", host, "HOST", "CLIENT-ID");
    for (int32_t i = 0; i < len; i++) {
        const struct group_row *r = &rows[i];
        const struct group_member *m = r->member;
        bool lag = r->committed >= 0 && r->end >= 0;
        char lag_text[32] = "-";

        if (lag)
            snprintf(lag_text, sizeof lag_text, "%lld",
                     (long long)(r->end - r->committed));
        printf("\n%-*s %-*s %-10d %-15s %-15s %-15s %-*s %-*s %s", group,
               arena_strdup(a, view->group), topic, arena_strdup(a, r->topic),
               r->partition, number(r->committed, a), number(r->end, a),
               lag_text, member,
               text_or_dash(m != NULL ? m->id : SLICE_NULL, a), host,
               text_or_dash(m != NULL ? m->host : SLICE_NULL, a),
               text_or_dash(m != NULL ? m->client_id : SLICE_NULL, a));
    }
    putchar('\n');
}

/* "topic:0,1;other:2" */
static const char *assignment(const struct partition_offset *items, int32_t len,
                              struct arena *a)
{
    struct buf b = BUF_INIT;

    for (int32_t i = 0; i < len; i++) {
        const struct partition_offset *p = &items[i];
        bool same = i > 0 && slice_eq(p->topic, items[i - 1].topic);
        if (same)
            buf_printf(&b, ",%d", p->partition);
        else
            buf_printf(&b, "%s%.*s:%d", i == 0 ? "" : ";", SLICE_FMT(p->topic),
                       p->partition);
    }
    const char *text = len == 0 ? "-" : arena_strdup(a, buf_slice(&b));
    buf_free(&b);
    return text;
}

static void print_members(struct job *j, const struct group_view *view)
{
    struct arena *a = &j->arena;
    bool verbose = options_has(j->options, "verbose");
    bool instances = false;
    int group = wider(15, view->group), id = 15, instance = 17, host = 15,
        client = 15, given = 20;

    for (int32_t i = 0; i < view->members_len; i++) {
        const struct group_member *m = &view->members[i];
        id = wider(id, m->id);
        instance = wider(instance, m->instance_id);
        host = wider(host, m->host);
        client = wider(client, m->client_id);
        given = wider(
            given, slice_str(assignment(m->partitions, m->partitions_len, a)));
        instances |= m->instance_id.len != 0;
    }
    printf("\n%-*s %-*s ", group, "GROUP", id, "CONSUMER-ID");
    if (instances)
        printf("%-*s ", instance, "GROUP-INSTANCE-ID");
    printf("%-*s %-*s %-15s ", host, "HOST", client, "CLIENT-ID",
           "#PARTITIONS");
    if (verbose)
        printf("%-15s %-*s %-15s %-20s", "CURRENT-EPOCH", given,
               "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT");
    putchar('\n');
    for (int32_t i = 0; i < view->members_len; i++) {
        const struct group_member *m = &view->members[i];
        printf("%-*s %-*s ", group, arena_strdup(a, view->group), id,
               arena_strdup(a, m->id));
        if (instances)
            printf("%-*s ", instance, arena_strdup(a, m->instance_id));
        printf("%-*s %-*s %-15d ", host, arena_strdup(a, m->host), client,
               arena_strdup(a, m->client_id), m->partitions_len);
        if (verbose) /* members of classic groups have no epochs */
            printf("%-15s %-*s %-15s %-20s", number(m->epoch, a), given,
                   assignment(m->partitions, m->partitions_len, a),
                   number(m->epoch < 0 ? -1 : view->target_epoch, a),
                   assignment(m->target, m->target_len, a));
        putchar('\n');
    }
}

static void print_state(struct job *j, const struct group_view *view)
{
    const struct client_node *node = client_node(j->client, view->coordinator);
    struct slice coordinator =
        arena_printf(&j->arena, "%s:%d  (%d)", node != NULL ? node->host : "",
                     node != NULL ? node->port : 0, view->coordinator);
    int group = wider(15, view->group);
    int width = wider(25, coordinator);
    bool verbose = options_has(j->options, "verbose");

    printf("\n%-*s %-*s %-20s %-20s ", group, "GROUP", width,
           "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE");
    if (verbose)
        printf("%-15s %-25s ", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH");
    printf("%s\n%-*s %-*s %-20s %-20s ", "#MEMBERS", group,
           arena_strdup(&j->arena, view->group), width,
           (const char *)coordinator.data,
           text_or_dash(view->assignor, &j->arena),
           arena_strdup(&j->arena, view->state));
    if (verbose)
        printf("%-15s %-25s ", number(view->epoch, &j->arena),
               number(view->epoch < 0 ? -1 : view->target_epoch, &j->arena));
    printf("%d\n", view->members_len);
}

static bool describe_one(struct job *j, struct slice name)
{
    struct group_row *rows = NULL;
    struct group_view view;
    int32_t len = 0;

    if (admin_group_describe(j->client, name, &j->arena, &view) != ERR_NONE)
        return false;
    if (!tell_state(&view))
        return true;
    if (options_has(j->options, "members")) {
        print_members(j, &view);
    } else if (options_has(j->options, "state")) {
        print_state(j, &view);
    } else {
        if (admin_group_rows(j->client, &view, &j->arena, &rows, &len) !=
            ERR_NONE)
            return false;
        if (len > 0)
            print_rows(j, &view, rows, len);
    }
    return true;
}

static int describe(struct job *j)
{
    struct slice *groups = NULL;
    size_t len;

    if (!find(j, &groups, &len))
        return failed(j);
    for (size_t i = 0; i < len; i++)
        if (!describe_one(j, groups[i]))
            return failed(j);
    return EXIT_OK;
}

/* ---- delete
 * ---------------------------------------------------------------------------------------
 */

static int delete (struct job *j)
{
    struct slice *groups = NULL;
    size_t len;
    struct buf done = BUF_INIT, lost = BUF_INIT;

    if (!find(j, &groups, &len))
        return failed(j);
    for (size_t i = 0; i < len; i++) {
        enum err error = admin_group_delete(j->client, groups[i], &j->arena);
        if (error == ERR_NONE)
            buf_printf(&done, "%s%.*s", done.len == 0 ? "" : ", ",
                       SLICE_FMT(groups[i]));
        else
            buf_printf(&lost,
                       "* Group '%.*s' could not be deleted due to: %s\n",
                       SLICE_FMT(groups[i]), exception(j->client, error));
    }
    if (lost.len == 0) {
        printf("Deletion of requested consumer groups ('%.*s') was "
               "successful.\n",
               SLICE_FMT(buf_slice(&done)));
    } else {
        print_error("Deletion of some consumer groups failed:");
        printf("%.*s", SLICE_FMT(buf_slice(&lost)));
        if (done.len != 0)
            printf("\nThese consumer groups were deleted successfully: '%.*s'"
                   "\n",
                   SLICE_FMT(buf_slice(&done)));
    }
    buf_free(&done);
    buf_free(&lost);
    return EXIT_OK;
}

/* ---- topics of the two that change offsets
 * ------------------------------------------------------------ */

static const char **topics_of(struct job *j, size_t *len)
{
    const char **topics;

    *len = 0;
    while (options_each(j->options, "topic", *len) != NULL)
        ++*len;
    topics = arena_array(&j->arena, *len + 1, sizeof *topics);
    for (size_t i = 0; i < *len; i++)
        topics[i] = options_each(j->options, "topic", i);
    return topics;
}

/* ---- delete-offsets
 * ------------------------------------------------------------------------------------
 */

static int delete_offsets(struct job *j)
{
    struct slice group = slice_str(options_each(j->options, "group", 0));
    struct partition_offset *items = NULL;
    size_t topics_len;
    const char **topics = topics_of(j, &topics_len);
    int32_t len = 0;

    enum err error = admin_reset_partitions(
        j->client, group, topics, topics_len, &j->arena, &items, &len);
    if (error == ERR_NONE)
        error = admin_offsets_delete(j->client, group, items, len, &j->arena);
    enum err first = ERR_NONE;
    for (int32_t i = 0; error == ERR_NONE && i < len; i++)
        if (first == ERR_NONE)
            first = items[i].error;
    if (error == ERR_GROUP_ID_NOT_FOUND)
        print_error("'%.*s' does not exist.", SLICE_FMT(group));
    else if (error == ERR_NON_EMPTY_GROUP)
        print_error("Deleting offsets of a consumer group '%.*s' is forbidden "
                    "if the group is not empty.",
                    SLICE_FMT(group));
    else if (error != ERR_NONE)
        print_error("Encountered some unknown error: %s",
                    client_why(j->client));
    else if (first != ERR_NONE)
        print_error("Encountered some partition-level error, see the follow-up "
                    "details.");
    else
        printf("Request succeeded for deleting offsets from group %.*s.\n",
               SLICE_FMT(group));
    int width = 15;
    for (int32_t i = 0; i < len; i++)
        width = wider(width, items[i].topic);
    printf("\n%-*s %-10s %-15s", width, "TOPIC", "PARTITION", "STATUS");
    for (int32_t i = 0; i < len; i++) {
        enum err e = error != ERR_NONE ? error : items[i].error;
        printf("\n%-*s %-10d %s%-*s", width,
               arena_strdup(&j->arena, items[i].topic), items[i].partition,
               e == ERR_NONE ? "" : "Error: ", e == ERR_NONE ? 15 : 0,
               e == ERR_NONE ? "Successful" : exception(j->client, e));
    }
    putchar('\n');
    return EXIT_OK;
}

/* ---- reset-offsets
 * -------------------------------------------------------------------------------------
 */

static const struct {
    const char *option;
    enum reset_mode mode;
} modes[] = {
    {"to-earliest", RESET_TO_EARLIEST}, {"to-latest", RESET_TO_LATEST},
    {"to-current", RESET_TO_CURRENT},   {"to-offset", RESET_TO_OFFSET},
    {"shift-by", RESET_SHIFT_BY},       {"to-datetime", RESET_TO_DATETIME},
    {"by-duration", RESET_TO_DATETIME}, {"from-file", RESET_FROM_FILE},
};

static enum reset_mode mode_of(const struct options *o, int64_t *value,
                               int *count)
{
    enum reset_mode mode = RESET_NONE;

    *count = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (options_has(o, modes[i].option)) {
            mode = modes[i].mode;
            *value = options_long(o, modes[i].option, 0);
            ++*count;
        }
    return mode;
}

/* The lines of --from-file that are about the group: "topic,partition,offset",
 * or with the group's name before them. */
static bool read_plan(struct job *j, struct slice group,
                      struct partition_offset **items, int32_t *len, char **why)
{
    const char *path = options_text(j->options, "from-file", NULL);
    FILE *f = fopen(path, "r");
    char line[1024], name[256], topic[256], rest[2];
    int room = 0;
    long long partition, offset;

    *len = 0;
    if (f == NULL) {
        *why = xasprintf("cannot read %s: %m", path);
        return false;
    }
    while (fgets(line, sizeof line, f) != NULL && *why == NULL) {
        struct slice owner = group;
        bool ok = true;
        if (sscanf(line, " \"%255[^\"]\" , \"%255[^\"]\" , %lld , %lld %1s",
                   name, topic, &partition, &offset, rest) == 4 ||
            sscanf(line, " %255[^,\" ] , %255[^,\" ] , %lld , %lld %1s", name,
                   topic, &partition, &offset, rest) == 4)
            owner = slice_str(name);
        else
            ok = sscanf(line, " \"%255[^\"]\" , %lld , %lld %1s", topic,
                        &partition, &offset, rest) == 3 ||
                 sscanf(line, " %255[^,\" ] , %lld , %lld %1s", topic,
                        &partition, &offset, rest) == 3;
        if (!ok || partition < 0 || partition > INT32_MAX)
            *why = xasprintf("%s: \"%.*s\" is not of the form "
                             "topic,partition,offset",
                             path, (int)strcspn(line, "\n"), line);
        if (*why != NULL || !slice_eq(owner, group))
            continue;
        if (*len == room) {
            struct partition_offset *old = *items;
            room = room * 2 + 16;
            *items = arena_array(&j->arena, (size_t)room, sizeof **items);
            if (*len != 0)
                memcpy(*items, old, (size_t)*len * sizeof **items);
        }
        (*items)[(*len)++] = (struct partition_offset){
            .topic = arena_copy(&j->arena, slice_str(topic)),
            .partition = (int32_t)partition,
            .offset = offset};
    }
    *len = partition_offsets_unique(*items, *len);
    if (*why == NULL && ferror(f) != 0)
        *why = xasprintf("cannot read %s: %m", path);
    fclose(f);
    return *why == NULL;
}

static enum err plan(struct job *j, struct slice group, enum reset_mode mode,
                     int64_t value, struct partition_offset **items,
                     int32_t *len)
{
    size_t topics_len;
    const char **topics = topics_of(j, &topics_len);
    char *why = NULL;
    enum err error = ERR_NONE;

    if (mode == RESET_FROM_FILE && !read_plan(j, group, items, len, &why)) {
        error = client_fail(j->client, ERR_INVALID_REQUEST, "%s", why);
        free(why);
        return error;
    }
    if (mode == RESET_FROM_FILE && *len == 0)
        print_error("No reset plan for group %.*s found", SLICE_FMT(group));
    if (mode != RESET_FROM_FILE)
        error = admin_reset_partitions(j->client, group, topics, topics_len,
                                       &j->arena, items, len);
    if (error == ERR_NONE)
        error = admin_reset_plan(j->client, group, mode, value, *items, *len,
                                 &j->arena);
    if (error == ERR_NONE && *len > 0 && options_has(j->options, "execute"))
        error = admin_offsets_commit(j->client, group, -1, SLICE(""), *items,
                                     *len, &j->arena);
    return error;
}

/* What is to be printed of one group's plan. */
struct reset_plan {
    struct slice group;
    struct partition_offset *items;
    int32_t len;
};

static void print_csv(const struct reset_plan *plans, size_t len)
{
    for (size_t g = 0; g < len; g++)
        for (int32_t i = 0; i < plans[g].len; i++) {
            const struct partition_offset *item = &plans[g].items[i];
            if (len != 1)
                printf("%.*s,", SLICE_FMT(plans[g].group));
            printf("%.*s,%d,%lld\n", SLICE_FMT(item->topic), item->partition,
                   (long long)item->offset);
        }
    putchar('\n');
}

static void print_plans(const struct reset_plan *plans, size_t len)
{
    int group = 15, topic = 15;

    for (size_t g = 0; g < len; g++) {
        group = wider(group, plans[g].group);
        for (int32_t i = 0; i < plans[g].len; i++)
            topic = wider(topic, plans[g].items[i].topic);
    }
    printf("\n%-*s %-*s %-10s %s", group, "GROUP", topic, "TOPIC", "PARTITION",
           "NEW-OFFSET");
    for (size_t g = 0; g < len; g++)
        for (int32_t i = 0; i < plans[g].len; i++) {
            const struct partition_offset *item = &plans[g].items[i];
            printf("\n%-*.*s %-*.*s %-10d %lld", group,
                   SLICE_FMT(plans[g].group), topic, SLICE_FMT(item->topic),
                   item->partition, (long long)item->offset);
        }
    putchar('\n');
}

static int reset(struct job *j)
{
    struct slice *groups = NULL;
    int64_t value = 0;
    int count;
    enum reset_mode mode = mode_of(j->options, &value, &count);
    const char *time = options_text(j->options, "to-datetime", NULL);
    const char *duration = options_text(j->options, "by-duration", NULL);
    size_t len;

    if (time != NULL && !admin_datetime_parse(time, &value))
        return print_error("Executing consumer group command failed due to "
                           "Unparseable date: \"%s\"",
                           time);
    if (duration != NULL) {
        if (!admin_duration_parse(duration, &value))
            return print_error("Executing consumer group command failed due "
                               "to Text cannot be parsed to a Duration");
        value = net_wall_ms() - value;
    }
    if (!find(j, &groups, &len))
        return failed(j);
    struct reset_plan *plans = arena_array(&j->arena, len + 1, sizeof *plans);
    for (size_t i = 0; i < len; i++) {
        struct group_view view;

        plans[i].group = groups[i];
        if (admin_group_describe(j->client, groups[i], &j->arena, &view) !=
            ERR_NONE)
            return failed(j);
        if (!slice_eq_str(view.state, "Empty") &&
            !slice_eq_str(view.state, "Dead")) {
            print_error("Assignments can only be reset if the group '%.*s' is "
                        "inactive, but the current state is %.*s.",
                        SLICE_FMT(groups[i]), SLICE_FMT(view.state));
            continue;
        }
        if (plan(j, groups[i], mode, value, &plans[i].items, &plans[i].len) !=
            ERR_NONE)
            return failed(j);
    }
    if (options_has(j->options, "export"))
        print_csv(plans, len);
    else
        print_plans(plans, len);
    return EXIT_OK;
}

/* ---- the command
 * -----------------------------------------------------------------------------------------
 */

struct action {
    const char *name;
    int (*run)(struct job *j);
};

static const struct action actions[] = {{"list", list},
                                        {"describe", describe},
                                        {"delete", delete},
                                        {"reset-offsets", reset},
                                        {"delete-offsets", delete_offsets}};

static const struct action *action_of(const struct options *o)
{
    const struct action *found = NULL;

    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (options_has(o, actions[i].name)) {
            if (found != NULL)
                return NULL;
            found = &actions[i];
        }
    return found;
}

static int check_reset(const struct options *o)
{
    int64_t value;
    int count;

    mode_of(o, &value, &count);
    if (options_has(o, "dry-run") && options_has(o, "execute"))
        return kafka_usage(
            &tool, "Option [reset-offsets] only accepts one of [execute], "
                   "[dry-run]");
    if (!options_has(o, "dry-run") && !options_has(o, "execute"))
        fputs("WARN: No action will be performed as the --execute option is "
              "missing. In version 5.0, this command will require either "
              "--dry-run or --execute to be specified. You should add the "
              "--dry-run option explicitly if you are scripting this command "
              "and want to keep the current default behavior without "
              "prompting.\n",
              stderr);
    if (count == 0)
        return kafka_usage(
            &tool, "Option '[reset-offsets]' requires one of the following "
                   "scenarios: [[to-datetime], [from-file], [shift-by], "
                   "[to-offset], [to-earliest], [to-current], [to-latest], "
                   "[by-duration]]");
    if (count > 1)
        return kafka_usage(&tool, "Option [reset-offsets] takes one of the "
                                  "options that say where to");
    if (!options_has(o, "topic") && !options_has(o, "all-topics") &&
        !options_has(o, "from-file"))
        return kafka_usage(&tool, "One of the reset scopes should be defined: "
                                  "--all-topics, --topic.");
    return EXIT_OK;
}

static int check(const struct options *o, const struct action *action)
{
    bool groups = options_has(o, "group") || options_has(o, "all-groups");

    if (!kafka_has_bootstrap(o))
        return kafka_usage(&tool,
                           "Missing required argument \"[bootstrap-server]\"");
    if (action == NULL)
        return kafka_usage(&tool, "Command must include exactly one action: "
                                  "--list, --describe, --delete, "
                                  "--reset-offsets, --delete-offsets");
    if (options_has(o, "group") && options_has(o, "all-groups"))
        return kafka_invalid(&tool, "all-groups", "group");
    if (action->run != list && !groups)
        return kafka_usage(
            &tool,
            "Option [%s] takes one of these options: [group], [all-groups]",
            action->name);
    if (action->run == describe && options_has(o, "members") +
                                           options_has(o, "state") +
                                           options_has(o, "offsets") >
                                       1)
        return kafka_usage(&tool, "Option [describe] takes at most one of "
                                  "these options: [members], [offsets], "
                                  "[state]");
    if (action->run == delete_offsets &&
        (!options_has(o, "topic") || !options_has(o, "group")))
        return kafka_usage(&tool, "Option [delete-offsets] takes the following "
                                  "options: [topic], [group]");
    if (action->run == delete &&options_has(o, "topic"))
        return kafka_usage(
            &tool, "The consumer does not support topic-specific offset "
                   "deletion from a consumer group.");
    return action->run == reset ? check_reset(o) : EXIT_OK;
}

int kafka_consumer_groups(int argc, char **argv)
{
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);

    if (o == NULL)
        return code;
    const struct action *action = action_of(o);
    code = check(o, action);
    if (code == EXIT_OK) {
        struct job j = {
            .options = o,
            .client = kafka_open(o, "kafka-consumer-groups",
                                 options_int(o, "timeout", KAFKA_TIMEOUT_MS))};
        code = EXIT_FAILED;
        if (j.client != NULL) {
            arena_init(&j.arena, 0);
            code = action->run(&j);
            arena_free(&j.arena);
            client_free(j.client);
        }
    }
    options_free(o);
    return code;
}
