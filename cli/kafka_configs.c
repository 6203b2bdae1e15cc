/* kafka-configs: Kafka's flags and lines (ConfigCommand) for topics, brokers
 * and their loggers, groups and client metrics.  Users, clients and addresses
 * have quotas and passwords, which this release does not have. */
#include "cli/admin_configs.h"
#include "cli/admin_groups.h"
#include "cli/admin_topics.h"
#include "cli/commands.h"
#include "cli/kafka_compat.h"
#include "cli/kafka_properties.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    KAFKA_OPTIONS,
    {"add-config", OPTION_VALUE, 0, "String",
     "Key Value pairs of configs to add. Square brackets can be used to group "
     "values which contain commas: 'k1=v1,k2=[v1,v2,v2],k3=v3'."},
    {"add-config-file", OPTION_VALUE, 0, "String",
     "Path to a properties file with configs to add."},
    {"all", OPTION_FLAG, 0, NULL,
     "List all configs for the given entity, including static configs if "
     "available."},
    {"alter", OPTION_FLAG, 0, NULL, "Alter the configuration for the entity."},
    {"broker", OPTION_VALUE, 0, "String", "The broker's ID."},
    {"broker-defaults", OPTION_FLAG, 0, NULL,
     "The config defaults for all brokers."},
    {"broker-logger", OPTION_VALUE, 0, "String",
     "The broker's ID for its logger config."},
    {"client-metrics", OPTION_VALUE, 0, NULL, NULL},
    {"delete-config", OPTION_LIST, 0, "String",
     "config keys to remove 'k1,k2'"},
    {"describe", OPTION_FLAG, 0, NULL, "List configs for the given entity."},
    {"entity-default", OPTION_FLAG, 0, NULL,
     "Default entity name for clients/users/brokers/ips"},
    {"entity-name", OPTION_VALUE, 0, "String",
     "Name of entity (topic name/broker id/group id)"},
    {"entity-type", OPTION_LIST, 0, "String",
     "Type of entity (topics/brokers/broker-loggers/client-metrics/groups)"},
    {"force", OPTION_FLAG, 0, NULL, NULL},
    {"group", OPTION_VALUE, 0, "String", "The group's ID."},
    {"topic", OPTION_VALUE, 0, "String", "The topic's name."},
    {"user", OPTION_VALUE, 0, NULL, NULL},
    {"user-defaults", OPTION_FLAG, 0, NULL, NULL},
    {"client", OPTION_VALUE, 0, NULL, NULL},
    {"client-defaults", OPTION_FLAG, 0, NULL, NULL},
    {"ip", OPTION_VALUE, 0, NULL, NULL},
    {"ip-defaults", OPTION_FLAG, 0, NULL, NULL},
    {0}};

static const struct kafka_tool tool = {
    "kafka-configs",
    "This tool helps to manipulate and describe entity config for a topic, "
    "client, user, broker, ip, client-metrics or group",
    option_specs};

struct entity_type {
    const char *plural; /* "topics" */
    const char *option; /* "topic" */
    enum config_resource resource;
};

static const struct entity_type types[] = {
    {"topics", "topic", RESOURCE_TOPIC},
    {"brokers", "broker", RESOURCE_BROKER},
    {"broker-loggers", "broker-logger", RESOURCE_BROKER_LOGGER},
    {"client-metrics", "client-metrics", RESOURCE_CLIENT_METRICS},
    {"groups", "group", RESOURCE_GROUP},
};

struct job {
    const struct options *options;
    struct client *client;
    struct arena arena;
    const struct entity_type *type;
    const char *name; /* NULL: all entities; "": the default of brokers */
};

/* "topic", "broker", ... */
static struct slice singular(const struct job *j)
{
    struct slice s = slice_str(j->type->plural);

    s.len--;
    return s;
}

/* ---- alter
 * --------------------------------------------------------------------------------
 */

static bool add_file(struct job *j, struct config_change **changes,
                     int32_t *len, char **why)
{
    struct kafka_properties p = {0};

    *why = kafka_properties_read(&p, j->options, "add-config-file",
                                 (const char *[]){NULL});
    if (*why == NULL && p.len != 0) {
        *changes = arena_array(&j->arena, p.len + 1, sizeof **changes);
        for (size_t i = 0; i < p.len; i++)
            (*changes)[(*len)++] = (struct config_change){
                arena_copy(&j->arena, slice_str(p.items[i].key)),
                arena_copy(&j->arena, slice_str(p.items[i].value)), CONFIG_SET};
    }
    kafka_properties_free(&p);
    return *why == NULL;
}

static void append(struct job *j, struct config_change **changes, int32_t *len,
                   const struct config_change *more, int32_t more_len)
{
    struct config_change *all =
        arena_array(&j->arena, (size_t)(*len + more_len) + 1, sizeof *all);

    if (*len != 0)
        memcpy(all, *changes, (size_t)*len * sizeof *all);
    if (more_len != 0)
        memcpy(all + *len, more, (size_t)more_len * sizeof *all);
    *changes = all;
    *len += more_len;
}

static void add_deletions(struct job *j, struct config_change **changes,
                          int32_t *len)
{
    const char *text;

    for (size_t i = 0;
         (text = options_each(j->options, "delete-config", i)) != NULL; i++)
        while (*text != '\0') {
            size_t n = strcspn(text, ", ");
            struct config_change one = {slice_of(text, n), SLICE_NULL,
                                        CONFIG_DELETE};
            if (n != 0)
                append(j, changes, len, &one, 1);
            text += n;
            text += strspn(text, ", ");
        }
}

static bool read_changes(struct job *j, struct config_change **changes,
                         int32_t *len, char **why)
{
    const char *text = options_text(j->options, "add-config", NULL);
    struct config_change *added = NULL;
    int32_t added_len = 0;

    if (options_has(j->options, "add-config-file") &&
        !add_file(j, changes, len, why))
        return false;
    if (text != NULL) {
        if (!admin_changes_parse(text, &j->arena, &added, &added_len, why)) {
            free(*why);
            *why =
                xstrdup("requirement failed: Invalid entity config: all "
                        "configs to be added must be in the format "
                        "\"key=val\" or  \"key=[val1,val2]\" to group values "
                        "which contain commas.");
            return false;
        }
        append(j, changes, len, added, added_len);
    }
    add_deletions(j, changes, len);
    return true;
}

/* Kafka's line has all the arguments in it. */
static int failed(const struct job *j, int argc, char **argv)
{
    fputs("Error while executing config command with args '", stderr);
    for (int i = 1; i < argc; i++)
        fprintf(stderr, "%s%s", i == 1 ? "" : " ", argv[i]);
    fprintf(stderr, "'\n%s\n", client_why(j->client));
    return EXIT_FAILED;
}

static int alter(struct job *j, int argc, char **argv)
{
    struct config_change *changes = NULL;
    int32_t len = 0;
    char *why = NULL;

    if (!read_changes(j, &changes, &len, &why)) {
        fprintf(stderr, "%s\n", why);
        free(why);
        return EXIT_FAILED;
    }
    if (admin_configs_alter(j->client, j->type->resource, slice_str(j->name),
                            changes, len, &j->arena) != ERR_NONE)
        return failed(j, argc, argv);
    if (*j->name != '\0')
        printf("Completed updating config for %.*s %s.\n",
               SLICE_FMT(singular(j)), j->name);
    else
        printf("Completed updating default config for %s in the cluster.\n",
               j->type->plural);
    return EXIT_OK;
}

/* ---- describe
 * -------------------------------------------------------------------------------
 */

/* Whether the entry was set on the entity itself. */
static bool is_dynamic(const struct job *j, const struct config_entry *e,
                       const char *name)
{
    switch (j->type->resource) {
    case RESOURCE_TOPIC:
        return e->source == 1;
    case RESOURCE_BROKER:
        return e->source == (*name == '\0' ? 3 : 2);
    default:
        return config_source_is_dynamic(e->source);
    }
}

static void print_value(struct slice value)
{
    printf("%.*s", SLICE_FMT(slice_is_null(value) ? SLICE("null") : value));
}

static void print_entry(const struct config_entry *e)
{
    printf("  %.*s=", SLICE_FMT(e->name));
    print_value(e->value);
    printf(" sensitive=%s synonyms={", e->sensitive ? "true" : "false");
    for (int32_t i = 0; i < e->synonyms_len; i++) {
        printf("%s%s:%.*s=", i == 0 ? "" : ", ",
               config_source_name(e->synonyms[i].source),
               SLICE_FMT(e->synonyms[i].name));
        print_value(e->synonyms[i].value);
    }
    puts("}");
}

static bool describe_one(struct job *j, const char *name)
{
    struct config_entry *entries = NULL;
    bool all = options_has(j->options, "all");
    int32_t len = 0;

    enum err error =
        admin_configs_describe(j->client, j->type->resource, slice_str(name),
                               &j->arena, &entries, &len);
    if (error == ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        printf("The %.*s '%s' doesn't exist and doesn't have dynamic "
               "config.\n",
               SLICE_FMT(singular(j)), name);
        return true;
    }
    if (error != ERR_NONE)
        return false;
    if (*name == '\0')
        printf("Default configs for %s in the cluster are:\n", j->type->plural);
    else
        printf("%s configs for %.*s %s are:\n", all ? "All" : "Dynamic",
               SLICE_FMT(singular(j)), name);
    admin_configs_sort(entries, len);
    for (int32_t i = 0; i < len; i++)
        if (all || is_dynamic(j, &entries[i], name))
            print_entry(&entries[i]);
    return true;
}

/* Every entity of the type. */
static bool describe_all(struct job *j)
{
    struct topic_view *topics = NULL;
    struct group_listing *groups = NULL;
    const struct client_node *nodes;
    int32_t len = 0;
    bool ok = true;

    switch (j->type->resource) {
    case RESOURCE_TOPIC:
        ok = admin_topics_list(j->client, NULL, false, &j->arena, &topics,
                               &len) == ERR_NONE;
        for (int32_t i = 0; ok && i < len; i++)
            ok = describe_one(j, arena_strdup(&j->arena, topics[i].name));
        return ok;
    case RESOURCE_GROUP:
        ok = admin_groups_list(j->client, NULL, &j->arena, &groups, &len) ==
             ERR_NONE;
        for (int32_t i = 0; ok && i < len; i++)
            ok = describe_one(j, arena_strdup(&j->arena, groups[i].group));
        return ok;
    case RESOURCE_CLIENT_METRICS:
        return true;             /* there are none to be listed */
    case RESOURCE_BROKER_LOGGER: /* of one broker only */
    case RESOURCE_BROKER:
        break;
    }
    ok = client_refresh(j->client) == ERR_NONE;
    int32_t ids[1024];
    size_t count = ok ? client_nodes(j->client, &nodes) : 0;
    if (count > sizeof ids / sizeof *ids)
        count = sizeof ids / sizeof *ids;
    for (size_t i = 0; i < count; i++)
        ids[i] = nodes[i].id;
    for (size_t i = 0; ok && i < count; i++)
        ok = describe_one(
            j, (const char *)arena_printf(&j->arena, "%d", ids[i]).data);
    return ok && describe_one(j, "");
}

static int describe(struct job *j, int argc, char **argv)
{
    bool ok = j->name != NULL ? describe_one(j, j->name) : describe_all(j);

    return ok ? EXIT_OK : failed(j, argc, argv);
}

/* ---- the command
 * -------------------------------------------------------------------------------
 */

static const struct entity_type *find_type(const char *plural)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].plural, plural) == 0)
            return &types[i];
    return NULL;
}

/* The entity by --entity-type and --entity-name, or by --topic and its like. */
static bool find_entity(const struct options *o, struct job *j)
{
    const char *plural = options_text(o, "entity-type", NULL);

    j->name = options_text(o, "entity-name", NULL);
    if (options_has(o, "entity-default"))
        j->name = "";
    if (plural != NULL) {
        j->type = find_type(plural);
        return j->type != NULL;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (options_has(o, types[i].option)) {
            j->type = &types[i];
            j->name = options_text(o, types[i].option, NULL);
            return true;
        }
    if (options_has(o, "broker-defaults")) {
        j->type = find_type("brokers");
        j->name = "";
        return true;
    }
    return false;
}

static const char *const absent[] = {
    "user", "user-defaults", "client", "client-defaults", "ip", "ip-defaults"};

static int check(const struct options *o, struct job *j)
{
    const char *plural = options_text(o, "entity-type", "");

    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (options_has(o, absent[i])) {
            fprintf(stderr,
                    "--%s: quotas and passwords are not in this release\n",
                    absent[i]);
            return EXIT_FAILED;
        }
    if (strcmp(plural, "users") == 0 || strcmp(plural, "clients") == 0 ||
        strcmp(plural, "ips") == 0) {
        fprintf(stderr,
                "--entity-type %s: quotas and passwords are not in this "
                "release\n",
                plural);
        return EXIT_FAILED;
    }
    if (options_has(o, "alter") == options_has(o, "describe"))
        return kafka_usage(&tool, "Command must include exactly one action: "
                                  "--describe, --alter");
    if (!kafka_has_bootstrap(o))
        return kafka_usage(&tool, "One of the required --bootstrap-server or "
                                  "--bootstrap-controller arguments must be "
                                  "specified");
    if (!find_entity(o, j)) {
        if (*plural == '\0')
            return kafka_usage(&tool,
                               "At least one entity type must be specified");
        fprintf(stderr,
                "Invalid entity type %s, the entity type must be one of "
                "topics, clients, users, brokers, ips, client-metrics, groups, "
                "broker-loggers with a --bootstrap-server or "
                "--bootstrap-controller argument\n",
                plural);
        return EXIT_FAILED;
    }
    if (options_has(o, "describe") && j->name == NULL &&
        j->type->resource == RESOURCE_BROKER_LOGGER) {
        fputs("An entity name must be specified with --describe of "
              "broker-loggers\n",
              stderr);
        return EXIT_FAILED;
    }
    if (options_has(o, "alter") && j->name == NULL) {
        fputs("An entity name must be specified with --alter of the entity "
              "type\n",
              stderr);
        return EXIT_FAILED;
    }
    if (options_has(o, "alter") && !options_has(o, "add-config") &&
        !options_has(o, "add-config-file") &&
        !options_has(o, "delete-config")) {
        fputs("At least one of --add-config, --add-config-file, or "
              "--delete-config must be specified with --alter\n",
              stderr);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

int kafka_configs(int argc, char **argv)
{
    struct job j = {0};
    int code;
    struct options *o = kafka_parse(&tool, argc, argv, &code);

    if (o == NULL)
        return code;
    code = check(o, &j);
    if (code == EXIT_OK) {
        j.options = o;
        j.client = kafka_open(o, "kafka-configs", KAFKA_TIMEOUT_MS);
        code = EXIT_FAILED;
        if (j.client != NULL) {
            arena_init(&j.arena, 0);
            code = options_has(o, "alter") ? alter(&j, argc, argv)
                                           : describe(&j, argc, argv);
            arena_free(&j.arena);
            client_free(j.client);
        }
    }
    options_free(o);
    return code;
}
