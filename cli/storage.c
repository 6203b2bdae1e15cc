/* leat storage, and kafka-storage with the same words. */
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/storage_files.h"
#include "cli/ui.h"

#include <stdlib.h>
#include <sys/stat.h>

static const struct option_spec format_options[] = {
    {"cluster-id", OPTION_VALUE, 't', "ID", "the cluster that the node joins"},
    {"config", OPTION_VALUE, 'c', "FILE", "the server's properties file"},
    {"ignore-formatted", OPTION_FLAG, 'g', NULL,
     "skip directories that are formatted for this cluster"},
    {"standalone", OPTION_FLAG, 's', NULL,
     "this controller is the first and only voter"},
    {"initial-controllers", OPTION_VALUE, 'I', "LIST",
     "the first voters, id@host:port:directory-id,..."},
    {"no-initial-controllers", OPTION_FLAG, 'N', NULL,
     "the voters exist elsewhere; this node will join"},
    {"release-version", OPTION_VALUE, 'r', "VERSION",
     "accepted; the newest features are used"},
    {"feature", OPTION_LIST, 'f', "NAME=LEVEL",
     "accepted for features that we know; the newest level is used"},
    {"add-scram", OPTION_LIST, 'S', NULL, NULL},
    {"help", OPTION_FLAG, 'h', NULL, "this text"},
    {0}};

static const struct option_spec info_options[] = {
    {"config", OPTION_VALUE, 'c', "FILE", "the server's properties file"},
    {"json", OPTION_FLAG, 0, NULL, "print JSON"},
    {"help", OPTION_FLAG, 'h', NULL, "this text"},
    {0}};

static void help(void)
{
    puts("leat storage random-uuid\n"
         "leat storage format --cluster-id ID --config FILE [OPTIONS]\n"
         "leat storage info --config FILE [--json]\n\n"
         "A node's log directories are formatted once, before its first start, "
         "with\nthe id that all nodes of the cluster share.\n\n"
         "  ID=$(leat storage random-uuid)\n"
         "  leat storage format -t $ID -c server.properties\n\n"
         "format:");
    options_help(format_options, stdout);
}

/* ---- format
 * -------------------------------------------------------------------------- */

/* Features of a Kafka cluster that a node may be formatted with; whatever the
 * level, nodes offer what they can. */
static bool feature_known(const char *text)
{
    static const char *const names[] = {
        "metadata.version", "kraft.version",
        "group.version",    "transaction.version",
        "share.version",    "eligible.leader.replicas.version",
        "streams.version"};
    const char *equals = strchr(text, '=');

    if (equals == NULL || strspn(equals + 1, "0123456789") == 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq_str(slice_of(text, (size_t)(equals - text)), names[i]))
            return true;
    return false;
}

static char *format_fault(const struct options *o)
{
    const char *feature;

    if (options_text(o, "cluster-id", NULL) == NULL)
        return xstrdup("argument --cluster-id/-t is required");
    if (options_text(o, "config", NULL) == NULL)
        return xstrdup("argument --config/-c is required");
    if (options_has(o, "add-scram"))
        return xstrdup("--add-scram: users with passwords are not in this "
                       "release");
    if (options_has(o, "standalone") + options_has(o, "initial-controllers") +
            options_has(o, "no-initial-controllers") >
        1)
        return xstrdup("--standalone, --initial-controllers and "
                       "--no-initial-controllers exclude each other");
    for (size_t i = 0; (feature = options_each(o, "feature", i)) != NULL; i++)
        if (!feature_known(feature))
            return xasprintf("Unsupported feature: %s (it is written "
                             "NAME=LEVEL)",
                             feature);
    return NULL;
}

static int format(const struct options *o, const char *tool)
{
    struct storage_format f = {
        .cluster_id = options_text(o, "cluster-id", NULL),
        .ignore_formatted = options_has(o, "ignore-formatted"),
        .standalone = options_has(o, "standalone"),
        .no_initial_controllers = options_has(o, "no-initial-controllers"),
        .initial_controllers = options_text(o, "initial-controllers", NULL),
    };
    struct storage_config config;
    char *why = format_fault(o);

    if (why != NULL) {
        fprintf(stderr, "%s: error: %s\nTry: leat storage --help\n", tool, why);
        free(why);
        return EXIT_USAGE;
    }
    enum err error =
        storage_config_read(options_text(o, "config", NULL), &config, &why);
    if (error == ERR_NONE) {
        error = storage_format_run(&config, &f, stdout, &why);
        storage_config_free(&config);
    }
    if (error == ERR_NONE)
        return EXIT_OK;
    fprintf(stderr, "%s\n", why);
    free(why);
    return EXIT_FAILED;
}

/* ---- info
 * ------------------------------------------------------------------------------
 */

struct survey {
    const char **found; /* directories that are there; borrowed */
    size_t found_len;
    char **problems;
    size_t problems_len;
    bool has_first;
    struct meta_properties first;
};

static void add_problem(struct survey *s, char *sentence)
{
    s->problems =
        xrealloc(s->problems, (s->problems_len + 1) * sizeof *s->problems);
    s->problems[s->problems_len++] = sentence;
}

static void look_at_formatted(struct survey *s, const struct meta_properties *m)
{
    if (!s->has_first) {
        s->first = *m;
        s->has_first = true;
    } else if (strcmp(s->first.cluster_id, m->cluster_id) != 0) {
        add_problem(
            s, xstrdup("Mismatched cluster IDs between storage directories."));
    } else if (s->first.node_id != m->node_id) {
        add_problem(
            s, xstrdup("Mismatched node IDs between storage directories."));
    }
}

static void look_at(struct survey *s, const char *dir)
{
    struct meta_properties m;
    struct stat st;
    char *why = NULL;

    if (stat(dir, &st) != 0) {
        add_problem(s, xasprintf("%s does not exist", dir));
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        add_problem(s, xasprintf("%s is not a directory", dir));
        return;
    }
    s->found[s->found_len++] = dir;
    enum err error = meta_dir_read(NULL, dir, &m, &why);
    if (error == ERR_NONE)
        look_at_formatted(s, &m);
    else if (error == ERR_ABSENT)
        add_problem(s, xasprintf("%s is not formatted.", dir));
    else
        add_problem(s, xasprintf("Error loading %s", why));
    free(why);
}

static void print_text(const struct survey *s)
{
    char id[UUID_TEXT_SIZE];

    if (s->found_len != 0)
        printf("Found log director%s:\n", s->found_len == 1 ? "y" : "ies");
    for (size_t i = 0; i < s->found_len; i++)
        printf("  %s\n", s->found[i]);
    if (s->found_len != 0)
        putchar('\n');
    if (s->has_first)
        printf("Found metadata: {cluster.id=%s, directory.id=%s, node.id=%d, "
               "version=1}\n\n",
               s->first.cluster_id, uuid_format(s->first.directory_id, id),
               s->first.node_id);
    if (s->problems_len != 0)
        printf("Found problem%s:\n", s->problems_len == 1 ? "" : "s");
    for (size_t i = 0; i < s->problems_len; i++)
        printf("  %s\n", s->problems[i]);
    if (s->problems_len != 0)
        putchar('\n');
}

static void print_json(const struct survey *s)
{
    json_t *dirs = json_array();
    json_t *problems = json_array();
    json_t *root = json_object();

    for (size_t i = 0; i < s->found_len; i++)
        json_array_append_new(dirs, json_string(s->found[i]));
    for (size_t i = 0; i < s->problems_len; i++)
        json_array_append_new(problems, json_string(s->problems[i]));
    json_object_set_new(root, "directories", dirs);
    if (s->has_first) {
        json_object_set_new(root, "cluster_id",
                            json_string(s->first.cluster_id));
        json_object_set_new(root, "node_id", json_integer(s->first.node_id));
    }
    json_object_set_new(root, "problems", problems);
    json_print(root, stdout);
}

static int info(const struct options *o, const char *tool)
{
    const char *path = options_text(o, "config", NULL);
    struct storage_config config;
    struct survey s = {0};
    char *why = NULL;

    if (path == NULL) {
        fprintf(stderr, "%s: error: argument --config/-c is required\n", tool);
        return EXIT_USAGE;
    }
    if (storage_config_read(path, &config, &why) != ERR_NONE) {
        fprintf(stderr, "%s\n", why);
        free(why);
        return EXIT_FAILED;
    }
    s.found = xcalloc(config.dirs_len, sizeof *s.found);
    for (size_t i = 0; i < config.dirs_len; i++)
        look_at(&s, config.dirs[i]);
    if (options_has(o, "json"))
        print_json(&s);
    else
        print_text(&s);
    int code = s.problems_len == 0 ? EXIT_OK : EXIT_FAILED;
    for (size_t i = 0; i < s.problems_len; i++)
        free(s.problems[i]);
    free(s.problems);
    free(s.found);
    storage_config_free(&config);
    return code;
}

/* ---- the command
 * -------------------------------------------------------------------------- */

static int random_uuid(void)
{
    char id[UUID_TEXT_SIZE];

    puts(uuid_format(storage_random_uuid(), id));
    return EXIT_OK;
}

static int run_with(const struct option_spec *specs, int argc, char **argv,
                    int (*run)(const struct options *o, const char *tool),
                    const char *tool)
{
    char *why = NULL;
    struct options *o = options_parse(specs, argc, argv, &why);

    if (o == NULL) {
        fprintf(stderr, "%s: error: %s\n", tool, why);
        free(why);
        return EXIT_USAGE;
    }
    int code = EXIT_OK;
    if (options_has(o, "help"))
        help();
    else
        code = run(o, tool);
    options_free(o);
    return code;
}

static int dispatch(int argc, char **argv, const char *tool)
{
    const char *verb = argc > 1 ? argv[1] : "";

    if (strcmp(verb, "random-uuid") == 0)
        return random_uuid();
    if (strcmp(verb, "format") == 0)
        return run_with(format_options, argc - 1, argv + 1, format, tool);
    if (strcmp(verb, "info") == 0)
        return run_with(info_options, argc - 1, argv + 1, info, tool);
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        help();
        return EXIT_OK;
    }
    fprintf(stderr, "%s: error: %s%s\nTry: leat storage --help\n", tool,
            argc > 1 ? "there is no command " : "too few arguments", verb);
    return EXIT_USAGE;
}

int cmd_storage(int argc, char **argv)
{
    return dispatch(argc, argv, "leat storage");
}

/* Kafka's tool ends with 1 whatever went wrong. */
int kafka_storage(int argc, char **argv)
{
    return dispatch(argc, argv, "kafka-storage") == EXIT_OK ? EXIT_OK
                                                            : EXIT_FAILED;
}
