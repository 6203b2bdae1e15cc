/* leat topics. */
#include "cli/admin_configs.h"
#include "cli/admin_topics.h"
#include "cli/commands.h"
#include "cli/session.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    {"partitions", OPTION_INT, 'p', "N",
     "create: how many; alter: how many from now on (only more than before)", 1,
     INT32_MAX},
    {"replicas", OPTION_INT, 'r', "N", "create: replicas of each partition", 1,
     INT16_MAX},
    {"replica-assignment", OPTION_VALUE, 0, "LIST",
     "brokers of each partition, as 1:2:3,2:3:1 (partitions by commas); "
     "alter: move the partitions there, an empty place leaves one as it is"},
    {"cancel", OPTION_FLAG, 0, NULL,
     "alter: take back moves that are under way"},
    {"config", OPTION_LIST, 'c', "KEY=VALUE",
     "create: a configuration; see `leat configs` to change one"},
    {"if-exists", OPTION_FLAG, 0, NULL, "do nothing if there is no such topic"},
    {"if-not-exists", OPTION_FLAG, 0, NULL,
     "create: do nothing if the topic is there"},
    {"internal", OPTION_FLAG, 0, NULL, "list, describe: internal topics, too"},
    {"dry-run", OPTION_FLAG, 0, NULL, "create: only check"},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts(
        "leat topics create|list|describe|alter|delete [TOPIC...] [OPTIONS]\n\n"
        "  leat topics create orders --partitions 6 --replicas 3\n"
        "  leat topics create audit -p 1 --config retention.ms=-1\n"
        "  leat topics list\n"
        "  leat topics describe orders\n"
        "  leat topics alter orders --partitions 12\n"
        "  leat topics alter orders --replica-assignment 1:2:4,,4:1:2\n"
        "  leat topics delete orders\n\n"
        "A TOPIC of list, describe and delete may be a regular expression that "
        "matches\nwhole names.");
}

static const char *verb_of(const struct session *s)
{
    const char *verb = options_word(s->options, 0);

    return verb != NULL ? verb : "";
}

static int failed(const struct session *s, const char *what, const char *topic)
{
    return ui_fail("cannot %s %s: %s", what, topic, client_why(s->client));
}

/* ---- create
 * -------------------------------------------------------------------------------
 */

static bool read_configs(struct session *s, struct new_topic *t, char **why)
{
    const char *text;
    size_t n = 0;

    while (options_each(s->options, "config", n) != NULL)
        n++;
    t->configs = arena_array(&s->arena, n + 1, sizeof *t->configs);
    for (size_t i = 0; i < n; i++) {
        text = options_each(s->options, "config", i);
        const char *equals = strchr(text, '=');
        if (equals == NULL || equals == text) {
            *why = xasprintf("--config %s is not of the form key=value", text);
            return false;
        }
        t->configs[t->configs_len++] = (struct config_pair){
            slice_of(text, (size_t)(equals - text)), slice_str(equals + 1)};
    }
    return true;
}

static bool read_assignment(struct session *s, struct assignment *a, char **why)
{
    const char *text = options_text(s->options, "replica-assignment", NULL);

    return text == NULL || admin_assignment_parse(text, &s->arena, a, why);
}

static int create_one(struct session *s, struct new_topic *t)
{
    enum err error = admin_topic_create(s->client, t, &s->arena);

    if (error == ERR_TOPIC_ALREADY_EXISTS &&
        options_has(s->options, "if-not-exists"))
        return EXIT_OK;
    if (error != ERR_NONE)
        return failed(s, "create topic", t->name);
    if (!s->json)
        printf("%s topic %s.\n", t->validate_only ? "Could create" : "Created",
               t->name);
    return EXIT_OK;
}

static int create(struct session *s)
{
    struct new_topic t = {
        .partitions = options_int(s->options, "partitions", -1),
        .replication_factor = options_int(s->options, "replicas", -1),
        .validate_only = options_has(s->options, "dry-run"),
    };
    char *why = NULL;
    int code = EXIT_OK;

    if (options_words(s->options) < 2)
        return ui_usage("topics", "create what? Give the topic's name");
    if (!read_configs(s, &t, &why) ||
        !read_assignment(s, &t.assignment, &why)) {
        code = ui_usage("topics", "%s", why);
        free(why);
        return code;
    }
    for (size_t i = 1; i < options_words(s->options); i++) {
        t.name = options_word(s->options, i);
        int one = create_one(s, &t);
        code = one != EXIT_OK ? one : code;
    }
    return code;
}

/* ---- finding topics
 * -------------------------------------------------------------------------- */

/* The topics that the words after the verb name, or all without words. */
static enum err find(struct session *s, bool elr, struct topic_view **topics,
                     int32_t *len)
{
    struct buf pattern = BUF_INIT;
    bool all = options_words(s->options) < 2;
    bool internal = !all || options_has(s->options, "internal");

    for (size_t i = 1; i < options_words(s->options); i++)
        buf_printf(&pattern, "%s%s", i == 1 ? "" : ",",
                   options_word(s->options, i));
    buf_put_u8(&pattern, '\0');
    const char *text = all ? NULL : (const char *)pattern.data;
    enum err error = elr ? admin_topics_describe(s->client, text, !internal,
                                                 &s->arena, topics, len)
                         : admin_topics_list(s->client, text, !internal,
                                             &s->arena, topics, len);
    buf_free(&pattern);
    return error;
}

static int none_found(struct session *s)
{
    if (options_words(s->options) < 2 || options_has(s->options, "if-exists"))
        return EXIT_OK;
    return ui_fail("there is no topic %s; `leat topics list` shows them",
                   options_word(s->options, 1));
}

/* ---- list, describe
 * ---------------------------------------------------------------------------
 */

static int list(struct session *s)
{
    struct topic_view *topics = NULL;
    struct table table;
    int32_t len;

    if (find(s, false, &topics, &len) != ERR_NONE)
        return ui_fail("cannot list topics: %s", client_why(s->client));
    table_init(&table, "snn");
    table_add(&table, "TOPIC");
    table_add(&table, "PARTITIONS");
    table_add(&table, "REPLICAS");
    for (int32_t i = 0; i < len; i++) {
        table_add_slice(&table, topics[i].name);
        table_add(&table, "%d", topics[i].partitions_len);
        table_add(&table, "%d",
                  topics[i].partitions_len > 0
                      ? topics[i].partitions[0].replicas.len
                      : 0);
    }
    if (s->json)
        json_print(table_json(&table), stdout);
    else
        table_print(&table, stdout, 2);
    table_free(&table);
    return EXIT_OK;
}

static json_t *ids_json(struct ids ids)
{
    json_t *list = json_array();

    if (ids.len < 0)
        return json_null();
    for (int32_t i = 0; i < ids.len; i++)
        json_array_append_new(list, json_integer(ids.items[i]));
    return list;
}

static json_t *describe_json(const struct topic_view *t,
                             const struct config_entry *configs, int32_t len)
{
    char id[UUID_TEXT_SIZE];
    json_t *partitions = json_array();
    json_t *set = json_object();

    for (int32_t i = 0; i < t->partitions_len; i++) {
        const struct partition_view *p = &t->partitions[i];
        json_t *one = json_object();
        json_object_set_new(one, "partition", json_integer(p->index));
        json_object_set_new(one, "leader",
                            p->leader < 0 ? json_null()
                                          : json_integer(p->leader));
        json_object_set_new(one, "replicas", ids_json(p->replicas));
        json_object_set_new(one, "isr", ids_json(p->isr));
        json_object_set_new(one, "elr", ids_json(p->elr));
        json_object_set_new(one, "last_known_elr", ids_json(p->last_known_elr));
        json_array_append_new(partitions, one);
    }
    for (int32_t i = 0; i < len; i++)
        if (configs[i].source != CONFIG_DEFAULT_SOURCE) {
            char *key = slice_dup(configs[i].name);
            json_object_set_new(set, key, json_slice(configs[i].value));
            free(key);
        }
    json_t *topic = json_object();
    json_object_set_new(topic, "topic", json_slice(t->name));
    json_object_set_new(topic, "id", json_string(uuid_format(t->id, id)));
    json_object_set_new(topic, "internal", json_boolean(t->is_internal));
    json_object_set_new(topic, "configs", set);
    json_object_set_new(topic, "partitions", partitions);
    return topic;
}

static void print_move(const struct move_view *moves, int32_t len,
                       struct slice topic, int32_t partition,
                       struct table *table, struct arena *a)
{
    for (int32_t i = 0; i < len; i++)
        if (moves[i].partition == partition &&
            slice_eq(moves[i].topic, topic)) {
            table_add(table, "moving: +%s -%s", ids_text(moves[i].adding, a),
                      ids_text(moves[i].removing, a));
            return;
        }
    table_add(table, "-");
}

static void describe_text(struct session *s, const struct topic_view *t,
                          const struct config_entry *configs, int32_t len,
                          const struct move_view *moves, int32_t moves_len)
{
    char id[UUID_TEXT_SIZE];
    struct table table;

    printf("%.*s  (id %s)\n", SLICE_FMT(t->name), uuid_format(t->id, id));
    for (int32_t i = 0; i < len; i++)
        if (configs[i].source != CONFIG_DEFAULT_SOURCE)
            printf("  %.*s = %.*s\n", SLICE_FMT(configs[i].name),
                   SLICE_FMT(configs[i].value));
    table_init(&table, "nnssss");
    table_add(&table, "  PARTITION");
    table_add(&table, "LEADER");
    table_add(&table, "REPLICAS");
    table_add(&table, "IN SYNC");
    table_add(&table, "ELIGIBLE");
    table_add(&table, "MOVES");
    for (int32_t i = 0; i < t->partitions_len; i++) {
        const struct partition_view *p = &t->partitions[i];
        table_add(&table, "  %d", p->index);
        if (p->leader < 0)
            table_add(&table, "none");
        else
            table_add(&table, "%d", p->leader);
        table_add_slice(&table, slice_str(ids_text(p->replicas, &s->arena)));
        table_add_slice(&table, slice_str(ids_text(p->isr, &s->arena)));
        table_add_slice(&table, slice_str(ids_text(p->elr, &s->arena)));
        print_move(moves, moves_len, t->name, p->index, &table, &s->arena);
    }
    table_print(&table, stdout, 2);
    table_free(&table);
}

static int describe(struct session *s)
{
    struct topic_view *topics = NULL;
    struct move_view *moves = NULL;
    int32_t len, moves_len;

    if (find(s, true, &topics, &len) != ERR_NONE)
        return ui_fail("cannot describe topics: %s", client_why(s->client));
    if (len == 0)
        return none_found(s);
    struct slice *names = arena_array(&s->arena, (size_t)len, sizeof *names);
    struct config_entry **configs =
        arena_array(&s->arena, (size_t)len, sizeof *configs);
    int32_t *configs_len =
        arena_array(&s->arena, (size_t)len, sizeof *configs_len);
    for (int32_t i = 0; i < len; i++)
        names[i] = topics[i].name;
    if (admin_configs_of_topics(s->client, names, len, &s->arena, configs,
                                configs_len) != ERR_NONE)
        return ui_fail("cannot read the topics' configurations: %s",
                       client_why(s->client));
    if (admin_moves(s->client, &s->arena, &moves, &moves_len) != ERR_NONE)
        moves_len = 0; /* an old broker knows of none */
    json_t *all = json_array();
    for (int32_t i = 0; i < len; i++) {
        admin_configs_sort(configs[i], configs_len[i]);
        if (s->json)
            json_array_append_new(
                all, describe_json(&topics[i], configs[i], configs_len[i]));
        else
            describe_text(s, &topics[i], configs[i], configs_len[i], moves,
                          moves_len);
    }
    if (s->json)
        json_print(all, stdout);
    else
        json_decref(all);
    return EXIT_OK;
}

/* ---- alter, delete
 * ------------------------------------------------------------------------------
 */

/* New places for the partitions that are there, or places of new ones. */
static enum err alter_one(struct session *s, const struct topic_view *t,
                          const struct assignment *given)
{
    int32_t count = options_int(s->options, "partitions", -1);
    struct assignment added = {0};
    struct assignment moved = *given;

    if (moved.len > t->partitions_len && count > t->partitions_len) {
        added = (struct assignment){given->brokers + t->partitions_len,
                                    given->brokers_len + t->partitions_len,
                                    given->len - t->partitions_len};
        moved.len = t->partitions_len;
    }
    enum err error = ERR_NONE;
    if (count >= 0)
        error =
            admin_partitions_add(s->client, t->name, count, &added, &s->arena);
    if (error == ERR_NONE && moved.len != 0)
        error = admin_reassign(s->client, t->name, &moved,
                               options_has(s->options, "cancel"), &s->arena);
    return error;
}

/* With --cancel and no assignment: every partition of the topic that moves. */
static enum err cancel_all(struct session *s, const struct topic_view *t)
{
    struct move_view *moves = NULL;
    int32_t len;
    enum err error = admin_moves(s->client, &s->arena, &moves, &len);
    struct assignment a = {arena_array(&s->arena, (size_t)t->partitions_len + 1,
                                       sizeof *a.brokers),
                           arena_array(&s->arena, (size_t)t->partitions_len + 1,
                                       sizeof *a.brokers_len),
                           t->partitions_len};

    for (int32_t i = 0; error == ERR_NONE && i < len; i++)
        if (slice_eq(moves[i].topic, t->name) && moves[i].partition < a.len)
            a.brokers_len[moves[i].partition] = 1;
    return error != ERR_NONE
               ? error
               : admin_reassign(s->client, t->name, &a, true, &s->arena);
}

static int alter(struct session *s)
{
    struct topic_view *topics = NULL;
    struct assignment given = {0};
    int32_t len;
    char *why = NULL;

    if (options_words(s->options) < 2)
        return ui_usage("topics", "alter what? Give the topic's name");
    bool cancel = options_has(s->options, "cancel");
    if (!cancel && !options_has(s->options, "partitions") &&
        !options_has(s->options, "replica-assignment"))
        return ui_usage("topics", "alter how? Give --partitions or "
                                  "--replica-assignment (configurations: "
                                  "leat configs alter)");
    if (!read_assignment(s, &given, &why)) {
        int code = ui_usage("topics", "%s", why);
        free(why);
        return code;
    }
    if (find(s, false, &topics, &len) != ERR_NONE)
        return ui_fail("cannot alter topics: %s", client_why(s->client));
    if (len == 0)
        return none_found(s);
    for (int32_t i = 0; i < len; i++) {
        const char *name = arena_strdup(&s->arena, topics[i].name);
        enum err error = cancel && given.len == 0
                             ? cancel_all(s, &topics[i])
                             : alter_one(s, &topics[i], &given);
        if (error != ERR_NONE)
            return failed(s, "alter topic", name);
        if (!s->json)
            printf("Altered topic %s.\n", name);
    }
    return EXIT_OK;
}

static int delete (struct session *s)
{
    struct topic_view *topics = NULL;
    int32_t len;

    if (options_words(s->options) < 2)
        return ui_usage("topics", "delete what? Give the topic's name");
    if (find(s, false, &topics, &len) != ERR_NONE)
        return ui_fail("cannot delete topics: %s", client_why(s->client));
    if (len == 0)
        return none_found(s);
    for (int32_t i = 0; i < len; i++) {
        const char *name = arena_strdup(&s->arena, topics[i].name);
        if (admin_topics_delete(s->client, &topics[i], 1, &s->arena) !=
            ERR_NONE)
            return failed(s, "delete topic", name);
        if (!s->json)
            printf("Deleted topic %s.\n", name);
    }
    return EXIT_OK;
}

static int run(struct session *s)
{
    static const struct {
        const char *name;
        int (*run)(struct session *s);
    } verbs[] = {{"create", create},
                 {"list", list},
                 {"describe", describe},
                 {"alter", alter},
                 {"delete", delete}};

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb_of(s), verbs[i].name) == 0)
            return verbs[i].run(s);
    return ui_usage("topics", "say what to do: create, list, describe, alter "
                              "or delete");
}

int cmd_topics(int argc, char **argv)
{
    return session_run(option_specs, "topics", argc, argv, help, run);
}
