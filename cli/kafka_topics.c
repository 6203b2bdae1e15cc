/* kafka-topics: Kafka's flags, lines and exit codes (TopicCommand). */
#include "cli/admin_configs.h"
#include "cli/admin_topics.h"
#include "cli/commands.h"
#include "cli/kafka_compat.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    KAFKA_OPTIONS,
    {"alter", OPTION_FLAG, 0, NULL,
     "Alter the number of partitions and replica assignment. (To alter topic "
     "configurations, the kafka-configs tool can be used.)"},
    {"at-min-isr-partitions", OPTION_FLAG, 0, NULL,
     "If set when describing topics, only show partitions whose isr count is "
     "equal to the configured minimum."},
    {"config", OPTION_LIST, 0, "name=value",
     "A topic configuration override for the topic being created. It is "
     "supported only in combination with --create."},
    {"create", OPTION_FLAG, 0, NULL, "Create a new topic."},
    {"delete", OPTION_FLAG, 0, NULL, "Delete a topic."},
    {"delete-config", OPTION_LIST, 0, "name",
     "This option is no longer supported and has been deprecated since 4.0"},
    {"describe", OPTION_FLAG, 0, NULL, "List details for the given topics."},
    {"exclude-internal", OPTION_FLAG, 0, NULL,
     "Exclude internal topics when listing or describing topics. By default, "
     "the internal topics are included."},
    {"if-exists", OPTION_FLAG, 0, NULL,
     "If set when altering or deleting or describing topics, the action will "
     "only execute if the topic exists."},
    {"if-not-exists", OPTION_FLAG, 0, NULL,
     "If set when creating topics, the action will only execute if the topic "
     "does not already exist."},
    {"list", OPTION_FLAG, 0, NULL, "List all available topics."},
    {"partition-size-limit-per-response", OPTION_INT, 0, "N", NULL},
    {"partitions", OPTION_INT, 0, "# of partitions",
     "The number of partitions for the topic being created or altered. If not "
     "supplied with --create, the topic uses the cluster default."},
    {"replica-assignment", OPTION_VALUE, 0, "broker_id_for_part1_replica1:...",
     "A list of manual partition-to-broker assignments for the topic being "
     "created or altered."},
    {"replication-factor", OPTION_INT, 0, "replication factor",
     "The replication factor for each partition in the topic being created. "
     "If not supplied, the topic uses the cluster default."},
    {"topic", OPTION_VALUE, 0, "topic",
     "The topic to create, alter, describe or delete. It also accepts a "
     "regular expression, except for --create option."},
    {"topic-id", OPTION_VALUE, 0, "topic-id", "The topic-id to describe."},
    {"topics-with-overrides", OPTION_FLAG, 0, NULL,
     "If set when describing topics, only show topics that have overridden "
     "configs."},
    {"unavailable-partitions", OPTION_FLAG, 0, NULL,
     "If set when describing topics, only show partitions whose leader is not "
     "available."},
    {"under-min-isr-partitions", OPTION_FLAG, 0, NULL,
     "If set when describing topics, only show partitions whose isr count is "
     "less than the configured minimum."},
    {"under-replicated-partitions", OPTION_FLAG, 0, NULL,
     "If set when describing topics, only show under-replicated partitions."},
    {0}};

static const struct kafka_tool tool = {
    "kafka-topics", "Create, delete, describe, or change a topic.",
    option_specs};

struct job {
    const struct options *options;
    struct client *client;
    struct arena arena;
};

static int failed(const char *why)
{
    printf("Error while executing topic command : %s\n", why);
    return EXIT_FAILED;
}

static int client_failed(const struct job *j)
{
    return failed(client_why(j->client));
}

static const char *topic_of(const struct job *j)
{
    return options_text(j->options, "topic", NULL);
}

/* ---- create
 * -------------------------------------------------------------------------------
 */

static bool read_configs(struct job *j, struct new_topic *t)
{
    size_t n = 0;

    while (options_each(j->options, "config", n) != NULL)
        n++;
    t->configs = arena_array(&j->arena, n + 1, sizeof *t->configs);
    for (size_t i = 0; i < n; i++) {
        const char *text = options_each(j->options, "config", i);
        const char *equals = strchr(text, '=');
        if (equals == NULL || equals == text || equals[1] == '\0')
            return false;
        size_t key = (size_t)(equals - text);
        const char *value = equals + 1;
        while (key > 0 && text[key - 1] == ' ')
            key--;
        value += strspn(value, " ");
        t->configs[t->configs_len++] =
            (struct config_pair){slice_of(text, key), slice_str(value)};
    }
    return true;
}

static int create(struct job *j)
{
    struct new_topic t = {
        .name = topic_of(j),
        .partitions = options_int(j->options, "partitions", -1),
        .replication_factor = options_int(j->options, "replication-factor", -1),
    };
    const char *assignment =
        options_text(j->options, "replica-assignment", NULL);
    char *why = NULL;

    if (!read_configs(j, &t))
        return failed("requirement failed: Invalid topic config: all configs "
                      "to be added must be in the format \"key=val\".");
    if (assignment != NULL && *assignment != '\0' &&
        !admin_assignment_parse(assignment, &j->arena, &t.assignment, &why)) {
        int code = failed(why);
        free(why);
        return code;
    }
    if (strpbrk(t.name, "._") != NULL)
        puts("WARNING: Due to limitations in metric names, topics with a "
             "period ('.') or underscore ('_') could collide. To avoid issues "
             "it is best to use either, but not both.");
    if (options_has(j->options, "replication-factor") &&
        (t.replication_factor < 1 || t.replication_factor > INT16_MAX))
        return failed("The replication factor must be between 1 and 32767 "
                      "inclusive");
    if (options_has(j->options, "partitions") && t.partitions < 1)
        return failed("The partitions must be greater than 0");
    enum err error = admin_topic_create(j->client, &t, &j->arena);
    if (error == ERR_TOPIC_ALREADY_EXISTS &&
        options_has(j->options, "if-not-exists"))
        return EXIT_OK;
    if (error != ERR_NONE)
        return client_failed(j);
    printf("Created topic %s.\n", t.name);
    return EXIT_OK;
}

/* ---- list, delete, alter
 * --------------------------------------------------------------------- */

static int list(struct job *j)
{
    struct topic_view *topics = NULL;
    int32_t len;

    if (admin_topics_list(j->client, topic_of(j),
                          options_has(j->options, "exclude-internal"),
                          &j->arena, &topics, &len) != ERR_NONE)
        return client_failed(j);
    for (int32_t i = 0; i < len; i++)
        printf("%.*s\n", SLICE_FMT(topics[i].name));
    if (len == 0)
        putchar('\n');
    return EXIT_OK;
}

static int missing(const struct job *j)
{
    char *why = xasprintf("Topic '%s' does not exist as expected", topic_of(j));
    int code = failed(why);

    free(why);
    return code;
}

static bool must_exist(const struct job *j)
{
    return topic_of(j) != NULL && *topic_of(j) != '\0' &&
           !options_has(j->options, "if-exists");
}

static int delete (struct job *j)
{
    struct topic_view *topics = NULL;
    int32_t len;

    if (admin_topics_list(j->client, topic_of(j),
                          options_has(j->options, "exclude-internal"),
                          &j->arena, &topics, &len) != ERR_NONE)
        return client_failed(j);
    if (len == 0)
        return must_exist(j) ? missing(j) : EXIT_OK;
    if (admin_topics_delete(j->client, topics, len, &j->arena) != ERR_NONE)
        return client_failed(j);
    return EXIT_OK;
}

/* An assignment given to alter names all partitions; the new ones count. */
static int add_partitions(struct job *j, const struct topic_view *t)
{
    const char *text = options_text(j->options, "replica-assignment", NULL);
    struct assignment all = {0};
    struct assignment added = {0};
    char *why = NULL;

    if (text != NULL && *text != '\0' &&
        !admin_assignment_parse(text, &j->arena, &all, &why)) {
        int code = failed(why);
        free(why);
        return code;
    }
    if (all.len > t->partitions_len)
        added = (struct assignment){all.brokers + t->partitions_len,
                                    all.brokers_len + t->partitions_len,
                                    all.len - t->partitions_len};
    if (admin_partitions_add(j->client, t->name,
                             options_int(j->options, "partitions", -1), &added,
                             &j->arena) != ERR_NONE)
        return client_failed(j);
    return EXIT_OK;
}

static int alter(struct job *j)
{
    struct topic_view *topics = NULL;
    int32_t len;
    int code = EXIT_OK;

    if (admin_topics_list(j->client, topic_of(j),
                          options_has(j->options, "exclude-internal"),
                          &j->arena, &topics, &len) != ERR_NONE)
        return client_failed(j);
    if (len == 0)
        return must_exist(j) ? missing(j) : EXIT_OK;
    for (int32_t i = 0; i < len && code == EXIT_OK; i++)
        code = add_partitions(j, &topics[i]);
    return code;
}

/* ---- describe
 * -----------------------------------------------------------------------------------
 */

struct description {
    const struct topic_view *topic;
    const struct config_entry *configs;
    int32_t configs_len;
    const struct move_view *moves;
    int32_t moves_len;
};

static const struct move_view *move_of(const struct description *d,
                                       int32_t partition)
{
    for (int32_t i = 0; i < d->moves_len; i++)
        if (d->moves[i].partition == partition &&
            slice_eq(d->moves[i].topic, d->topic->name))
            return &d->moves[i];
    return NULL;
}

static bool contains(struct ids ids, int32_t id)
{
    for (int32_t i = 0; i < ids.len; i++)
        if (ids.items[i] == id)
            return true;
    return false;
}

/* Replicas that a partition is meant to have once its move is over. */
static int32_t replication_factor(const struct description *d,
                                  const struct partition_view *p)
{
    const struct move_view *move = move_of(d, p->index);
    bool moving = false;

    for (int32_t i = 0; move != NULL && i < p->replicas.len; i++)
        moving |= contains(move->adding, p->replicas.items[i]) ||
                  contains(move->removing, p->replicas.items[i]);
    return moving ? move->replicas.len - move->adding.len : p->replicas.len;
}

static int32_t min_isr(const struct description *d)
{
    for (int32_t i = 0; i < d->configs_len; i++)
        if (slice_eq_str(d->configs[i].name, "min.insync.replicas")) {
            char *text = slice_dup(d->configs[i].value);
            int32_t n = text != NULL ? (int32_t)strtol(text, NULL, 10) : 1;
            free(text);
            return n;
        }
    return 1;
}

/* Whether the options pick this partition; without any of them all are. */
static bool is_wanted(const struct job *j, const struct description *d,
                      const struct partition_view *p)
{
    bool under = options_has(j->options, "under-replicated-partitions");
    bool gone = options_has(j->options, "unavailable-partitions");
    bool below = options_has(j->options, "under-min-isr-partitions");
    bool at = options_has(j->options, "at-min-isr-partitions");

    if (!under && !gone && !below && !at)
        return true;
    return (under && replication_factor(d, p) > p->isr.len) ||
           (gone &&
            (p->leader < 0 || client_node(j->client, p->leader) == NULL)) ||
           (below && (p->leader < 0 || p->isr.len < min_isr(d))) ||
           (at && p->isr.len == min_isr(d));
}

static void print_topic(const struct description *d)
{
    const struct topic_view *t = d->topic;
    char id[UUID_TEXT_SIZE];
    bool first = true;

    printf("Topic: %.*s", SLICE_FMT(t->name));
    if (!uuid_is_zero(t->id))
        printf("\tTopicId: %s", uuid_format(t->id, id));
    printf("\tPartitionCount: %d", t->partitions_len);
    printf("\tReplicationFactor: %d",
           t->partitions_len != 0 ? replication_factor(d, &t->partitions[0])
                                  : 0);
    printf("\tConfigs: ");
    for (int32_t i = 0; i < d->configs_len; i++) {
        if (d->configs[i].source == CONFIG_DEFAULT_SOURCE)
            continue;
        printf("%s%.*s=%.*s", first ? "" : ",", SLICE_FMT(d->configs[i].name),
               SLICE_FMT(d->configs[i].value));
        first = false;
    }
    putchar('\n');
}

static void print_ids(const char *heading, struct ids ids, struct arena *a)
{
    printf("\t%s: %s", heading, ids.len < 0 ? "N/A" : ids_text(ids, a));
}

static void print_partition(struct job *j, const struct description *d,
                            const struct partition_view *p)
{
    const struct move_view *move = move_of(d, p->index);

    printf("\tTopic: %.*s\tPartition: %d", SLICE_FMT(d->topic->name), p->index);
    if (p->leader < 0)
        printf("\tLeader: none");
    else
        printf("\tLeader: %d", p->leader);
    print_ids("Replicas", p->replicas, &j->arena);
    print_ids("Isr", p->isr, &j->arena);
    if (move != NULL) {
        print_ids("Adding Replicas", move->adding, &j->arena);
        print_ids("Removing Replicas", move->removing, &j->arena);
    }
    print_ids("Elr", p->elr, &j->arena);
    print_ids("LastKnownElr", p->last_known_elr, &j->arena);
    putchar('\n');
}

static bool has_overrides(const struct description *d)
{
    for (int32_t i = 0; i < d->configs_len; i++)
        if (d->configs[i].source != CONFIG_DEFAULT_SOURCE)
            return true;
    return false;
}

static void describe_one(struct job *j, const struct description *d)
{
    bool overrides = options_has(j->options, "topics-with-overrides");
    bool report = options_has(j->options, "under-replicated-partitions") ||
                  options_has(j->options, "unavailable-partitions") ||
                  options_has(j->options, "under-min-isr-partitions") ||
                  options_has(j->options, "at-min-isr-partitions");

    if (!report && (!overrides || has_overrides(d)))
        print_topic(d);
    for (int32_t i = 0; !overrides && i < d->topic->partitions_len; i++)
        if (is_wanted(j, d, &d->topic->partitions[i]))
            print_partition(j, d, &d->topic->partitions[i]);
}

/* Leaves the one topic with the id in the list, if it is there. */
static int32_t keep_id(struct topic_view *topics, int32_t len, struct uuid id)
{
    for (int32_t i = 0; i < len; i++)
        if (uuid_eq(topics[i].id, id)) {
            topics[0] = topics[i];
            return 1;
        }
    return 0;
}

static int describe_all(struct job *j, struct topic_view *topics, int32_t len)
{
    struct slice *names = arena_array(&j->arena, (size_t)len, sizeof *names);
    struct description *d = arena_array(&j->arena, (size_t)len, sizeof *d);
    struct config_entry **configs =
        arena_array(&j->arena, (size_t)len, sizeof *configs);
    int32_t *configs_len =
        arena_array(&j->arena, (size_t)len, sizeof *configs_len);
    struct move_view *moves = NULL;
    int32_t moves_len = 0;

    for (int32_t i = 0; i < len; i++)
        names[i] = topics[i].name;
    if (admin_configs_of_topics(j->client, names, len, &j->arena, configs,
                                configs_len) != ERR_NONE)
        return client_failed(j);
    if (admin_moves(j->client, &j->arena, &moves, &moves_len) != ERR_NONE)
        moves_len = 0; /* Kafka's tool goes on without, too */
    for (int32_t i = 0; i < len; i++) {
        d[i] = (struct description){&topics[i], configs[i], configs_len[i],
                                    moves, moves_len};
        describe_one(j, &d[i]);
    }
    return EXIT_OK;
}

static int describe(struct job *j)
{
    const char *id_text = options_text(j->options, "topic-id", NULL);
    struct topic_view *topics = NULL;
    struct uuid id = UUID_ZERO;
    int32_t len;

    if (id_text != NULL && !uuid_parse(slice_str(id_text), &id))
        return failed("the topic id is not an id");
    if (admin_topics_describe(j->client, uuid_is_zero(id) ? topic_of(j) : NULL,
                              options_has(j->options, "exclude-internal"),
                              &j->arena, &topics, &len) != ERR_NONE)
        return client_failed(j);
    if (!uuid_is_zero(id))
        len = keep_id(topics, len, id);
    if (len == 0 && !uuid_is_zero(id) &&
        !options_has(j->options, "if-exists")) {
        char *why =
            xasprintf("TopicId '%s' does not exist as expected", id_text);
        int code = failed(why);
        free(why);
        return code;
    }
    if (len == 0)
        return must_exist(j) ? missing(j) : EXIT_OK;
    return describe_all(j, topics, len);
}

/* ---- the command
 * ---------------------------------------------------------------------------------
 */

struct action {
    const char *name;
    int (*run)(struct job *j);
};

static const struct action actions[] = {{"create", create},
                                        {"alter", alter},
                                        {"list", list},
                                        {"describe", describe},
                                        {"delete", delete}};

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

/* Which options go with which actions. */

static int check_options(const struct options *o, const struct action *action)
{
    static const struct {
        const char *option;
        const char *actions;
    } rules[] = {
        {"config", "create"},
        {"partitions", "create alter"},
        {"replication-factor", "create"},
        {"replica-assignment", "create alter"},
        {"under-replicated-partitions", "describe"},
        {"unavailable-partitions", "describe"},
        {"under-min-isr-partitions", "describe"},
        {"at-min-isr-partitions", "describe"},
        {"topics-with-overrides", "describe"},
        {"topic-id", "describe"},
        {"if-exists", "alter delete describe"},
        {"if-not-exists", "create"},
        {"exclude-internal", "list describe"},
    };

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (options_has(o, rules[i].option) &&
            strstr(rules[i].actions, action->name) == NULL)
            return kafka_invalid(&tool, action->name, rules[i].option);
    if (options_has(o, "create") && options_has(o, "replica-assignment") &&
        (options_has(o, "partitions") || options_has(o, "replication-factor")))
        return kafka_invalid(
            &tool, "replica-assignment",
            options_has(o, "partitions") ? "partitions" : "replication-factor");
    return EXIT_OK;
}

static int check(const struct options *o, const struct action *action)
{
    if (action == NULL)
        return kafka_usage(&tool,
                           "Command must include exactly one action: --list, "
                           "--describe, --create, --alter or --delete");
    if (options_has(o, "delete-config"))
        fputs("delete-config option is no longer supported and deprecated "
              "since version 4.0. The config will be fully removed in future "
              "releases.\n",
              stderr);
    if (!kafka_has_bootstrap(o)) {
        fputs("--bootstrap-server must be specified\n", stderr);
        return EXIT_FAILED;
    }
    bool alter_or_change = action->run != list && action->run != describe;
    if (alter_or_change && !options_has(o, "topic"))
        return kafka_usage(&tool, "Missing required argument \"[topic]\"");
    if (action->run == describe && options_has(o, "if-exists") &&
        !options_has(o, "topic") && !options_has(o, "topic-id"))
        return kafka_usage(
            &tool, "--topic or --topic-id is required to describe a topic");
    if (action->run == alter && options_has(o, "config"))
        return kafka_usage(
            &tool, "Option combination \"[bootstrap-server],[config]\" can't "
                   "be used with option \"[alter]\" (To alter topic "
                   "configurations, the kafka-configs tool can be used.)");
    if (action->run == alter && !options_has(o, "partitions"))
        return kafka_usage(&tool, "Missing required argument \"[partitions]\"");
    return check_options(o, action);
}

int kafka_topics(int argc, char **argv)
{
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);

    if (o == NULL)
        return code;
    const struct action *action = action_of(o);
    code = check(o, action);
    if (code == EXIT_OK) {
        struct job j = {.options = o,
                        .client =
                            kafka_open(o, "kafka-topics", KAFKA_TIMEOUT_MS)};
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
