/* leat configs. */
#include "cli/admin_configs.h"
#include "cli/commands.h"
#include "cli/session.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    {"topic", OPTION_VALUE, 't', "TOPIC", "the topic"},
    {"broker", OPTION_VALUE, 'B', "ID", "the broker"},
    {"brokers", OPTION_FLAG, 0, NULL, "the default of all brokers"},
    {"group", OPTION_VALUE, 'g', "GROUP", "the group"},
    {"set", OPTION_LIST, 's', "KEY=VALUE",
     "alter: give a key a value (KEY=[A,B] for a list)"},
    {"delete", OPTION_LIST, 'd', "KEY", "alter: go back to the default"},
    {"append", OPTION_LIST, 0, "KEY=ITEM", "alter: add an item to a list"},
    {"subtract", OPTION_LIST, 0, "KEY=ITEM", "alter: take an item off a list"},
    {"all", OPTION_FLAG, 'a', NULL, "describe: defaults, too"},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts("leat configs describe|alter --topic T | --broker N | --brokers | "
         "--group G\n\n"
         "  leat configs describe --topic orders --all\n"
         "  leat configs alter --topic orders --set retention.ms=86400000\n"
         "  leat configs alter --topic orders --set leat.durability=fsync\n"
         "  leat configs alter --brokers --set log.retention.ms=3600000\n"
         "  leat configs alter --topic orders --delete retention.ms\n\n"
         "What the keys mean: docs/configuration.md.");
}

struct target {
    enum config_resource type;
    struct slice name;
    const char *what; /* "topic orders" */
};

static bool find_target(struct session *s, struct target *t)
{
    const struct options *o = s->options;
    const char *topic = options_text(o, "topic", NULL);
    const char *broker = options_text(o, "broker", NULL);
    const char *group = options_text(o, "group", NULL);
    bool all = options_has(o, "brokers");

    if ((topic != NULL) + (broker != NULL) + (group != NULL) + all != 1)
        return false;
    const char *kind = topic != NULL    ? "topic "
                       : broker != NULL ? "broker "
                       : group != NULL  ? "group "
                                        : "all brokers";
    const char *name = topic != NULL    ? topic
                       : broker != NULL ? broker
                       : group != NULL  ? group
                                        : "";
    t->type = topic != NULL   ? RESOURCE_TOPIC
              : group != NULL ? RESOURCE_GROUP
                              : RESOURCE_BROKER;
    t->name = slice_str(name);
    t->what = (const char *)arena_printf(&s->arena, "%s%s", kind, name).data;
    return true;
}

/* ---- describe
 * ----------------------------------------------------------------------------
 */

static void add_row(struct table *t, const struct config_entry *e)
{
    table_add_slice(t, e->name);
    if (e->sensitive)
        table_add(t, "(hidden)");
    else
        table_add_slice(t, e->value);
    table_add(t, "%s", config_source_name(e->source));
}

static int describe(struct session *s, const struct target *target)
{
    struct config_entry *entries = NULL;
    struct table t;
    int32_t len = 0;

    if (admin_configs_describe(s->client, target->type, target->name, &s->arena,
                               &entries, &len) != ERR_NONE)
        return ui_fail("cannot describe %s: %s", target->what,
                       client_why(s->client));
    admin_configs_sort(entries, len);
    table_init(&t, "sss");
    table_add(&t, "KEY");
    table_add(&t, "VALUE");
    table_add(&t, "SOURCE");
    for (int32_t i = 0; i < len; i++)
        if (options_has(s->options, "all") ||
            entries[i].source != CONFIG_DEFAULT_SOURCE)
            add_row(&t, &entries[i]);
    if (s->json)
        json_print(table_json(&t), stdout);
    else
        table_print(&t, stdout, 2);
    table_free(&t);
    return EXIT_OK;
}

/* ---- alter
 * ---------------------------------------------------------------------------------
 */

/* The changes of one option, appended. */
static bool add_changes(struct session *s, const char *option,
                        enum config_operation operation,
                        struct config_change **changes, int32_t *len,
                        char **why)
{
    const char *text;

    for (size_t i = 0; (text = options_each(s->options, option, i)) != NULL;
         i++) {
        struct config_change *more;
        int32_t more_len;
        struct config_change single = {slice_str(text), SLICE_NULL,
                                       CONFIG_DELETE};

        if (operation == CONFIG_DELETE) {
            more = &single;
            more_len = 1;
        } else if (!admin_changes_parse(text, &s->arena, &more, &more_len,
                                        why)) {
            return false;
        }
        struct config_change *all =
            arena_array(&s->arena, (size_t)(*len + more_len) + 1, sizeof *all);
        if (*len != 0)
            memcpy(all, *changes, (size_t)*len * sizeof *all);
        for (int32_t k = 0; k < more_len; k++) {
            all[*len + k] = more[k];
            all[*len + k].operation = operation;
        }
        *changes = all;
        *len += more_len;
    }
    return true;
}

static int alter(struct session *s, const struct target *target)
{
    struct config_change *changes = NULL;
    int32_t len = 0;
    char *why = NULL;

    if (!add_changes(s, "set", CONFIG_SET, &changes, &len, &why) ||
        !add_changes(s, "delete", CONFIG_DELETE, &changes, &len, &why) ||
        !add_changes(s, "append", CONFIG_APPEND, &changes, &len, &why) ||
        !add_changes(s, "subtract", CONFIG_SUBTRACT, &changes, &len, &why)) {
        int code = ui_usage("configs", "%s", why);
        free(why);
        return code;
    }
    if (len == 0)
        return ui_usage("configs", "alter what? Give --set, --delete, "
                                   "--append or --subtract");
    if (admin_configs_alter(s->client, target->type, target->name, changes, len,
                            &s->arena) != ERR_NONE)
        return ui_fail("cannot alter %s: %s", target->what,
                       client_why(s->client));
    if (!s->json)
        printf("Altered %s.\n", target->what);
    return EXIT_OK;
}

static int run(struct session *s)
{
    const char *verb = options_word(s->options, 0);
    struct target target;

    if (verb == NULL ||
        (strcmp(verb, "describe") != 0 && strcmp(verb, "alter") != 0))
        return ui_usage("configs", "say what to do: describe or alter");
    if (!find_target(s, &target))
        return ui_usage("configs", "say of what: one of --topic, --broker, "
                                   "--brokers, --group");
    return strcmp(verb, "describe") == 0 ? describe(s, &target)
                                         : alter(s, &target);
}

int cmd_configs(int argc, char **argv)
{
    return session_run(option_specs, "configs", argc, argv, help, run);
}
