/* Formatting log directories, on directories that come and go. */
#include "cli/storage_files.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64];
static char *printed;

static void set_up(void)
{
    snprintf(top, sizeof top, "/tmp/leat-storage-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    printed = NULL;
}

static void clear(void)
{
    char *command = xasprintf("rm -r %s", top);

    cr_assert_eq(system(command), 0);
    free(command);
    free(printed);
}

TestSuite(storage, .init = set_up, .fini = clear);

/* Writes a properties file; %s in the text is the temporary directory. */
static char *write_config(const char *text)
{
    char *path = xasprintf("%s/server.properties", top);
    FILE *f = fopen(path, "w");

    for (; *text != '\0'; text++) {
        if (text[0] == '%' && text[1] == 's') {
            fputs(top, f);
            text++;
        } else {
            fputc(*text, f);
        }
    }
    fclose(f);
    return path;
}

static enum err run(const char *config_text, const struct storage_format *f,
                    char **why)
{
    char *path = write_config(config_text);
    struct storage_config c;
    size_t len = 0;
    enum err error = storage_config_read(path, &c, why);

    free(path);
    if (error != ERR_NONE)
        return error;
    free(printed);
    FILE *out = open_memstream(&printed, &len);
    error = storage_format_run(&c, f, out, why);
    fclose(out);
    storage_config_free(&c);
    return error;
}

static void accept(const char *config_text, const struct storage_format *f)
{
    char *why = NULL;

    cr_assert_eq(run(config_text, f, &why), ERR_NONE, "%s", why);
}

/* `sentence` may hold %s for the temporary directory, once. */
static void refuse(const char *config_text, const struct storage_format *f,
                   const char *sentence)
{
    char *why = NULL;
    char want[512];

    cr_assert_neq(run(config_text, f, &why), ERR_NONE);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(want, sizeof want, sentence, top);
#pragma GCC diagnostic pop
    cr_assert_str_eq(why, want);
    free(why);
}

static void expect_meta(const char *name, const char *cluster, int32_t node)
{
    char *dir = xasprintf("%s/%s", top, name);
    struct meta_properties m;
    char *why = NULL;

    cr_assert_eq(meta_dir_read(NULL, dir, &m, &why), ERR_NONE, "%s", why);
    cr_assert_str_eq(m.cluster_id, cluster);
    cr_assert_eq(m.node_id, node);
    cr_assert_not(uuid_is_zero(m.directory_id));
    free(dir);
}

static const char static_quorum[] = "process.roles=broker,controller\n"
                                    "node.id=4\n"
                                    "controller.quorum.voters=4@h:9093\n"
                                    "log.dirs=%s/b, %s/a\n"
                                    "metadata.log.dir=%s/m/\n";

static const char dynamic_quorum[] =
    "process.roles=broker,controller\n"
    "node.id=4\n"
    "controller.quorum.bootstrap.servers=h:9093\n"
    "controller.listener.names=CTL\n"
    "listeners=PLAINTEXT://:9092,CTL://:9093\n"
    "log.dirs=%s/a\n";

Test(storage, every_directory_is_formatted_once)
{
    struct storage_format f = {.cluster_id = "cluster-1"};
    char *want = xasprintf(
        "Formatting data directory %s/a with metadata.version 4.3-IV0.\n"
        "Formatting data directory %s/b with metadata.version 4.3-IV0.\n"
        "Formatting metadata directory %s/m with metadata.version 4.3-IV0.\n",
        top, top, top);

    accept(static_quorum, &f);
    cr_assert_str_eq(printed, want);
    free(want);
    expect_meta("a", "cluster-1", 4);
    expect_meta("b", "cluster-1", 4);
    expect_meta("m", "cluster-1", 4);
    refuse(static_quorum, &f,
           "Log directory %s/a is already formatted. Use --ignore-formatted "
           "to ignore this directory and format the others.");
    f.ignore_formatted = true;
    accept(static_quorum, &f);
    cr_assert_str_eq(printed,
                     "All of the log directories are already formatted.\n");
}

Test(storage, a_new_directory_joins_the_old_ones)
{
    struct storage_format f = {.cluster_id = "cluster-1",
                               .ignore_formatted = true};
    char *command = xasprintf("rm -r %s/b", top);

    accept(static_quorum, &f);
    cr_assert_eq(system(command), 0);
    accept(static_quorum, &f);
    expect_meta("b", "cluster-1", 4);
    free(command);
}

Test(storage, directories_of_another_cluster_or_node_are_left_alone)
{
    struct storage_format f = {.cluster_id = "cluster-1",
                               .ignore_formatted = true};

    accept(static_quorum, &f);
    f.cluster_id = "cluster-2";
    refuse(static_quorum, &f,
           "Invalid cluster.id in: %s/a/meta.properties. Expected cluster-2, "
           "but read cluster-1");
    f.cluster_id = "cluster-1";
    refuse("process.roles=broker,controller\nnode.id=5\n"
           "controller.quorum.voters=5@h:9093\nlog.dirs=%s/a\n",
           &f,
           "Invalid node.id in: %s/a/meta.properties. Expected 5, but read 4");
    expect_meta("a", "cluster-1", 4);
}

Test(storage, nothing_is_written_unless_all_can_be)
{
    struct storage_format f = {.cluster_id = "cluster-1"};
    struct stat st;
    char *taken = xasprintf("%s/b", top);
    char *other = xasprintf("%s/a", top);
    struct meta_properties m = {.cluster_id = "cluster-1", .node_id = 4};
    char *why = NULL;

    cr_assert_eq(meta_dir_format(NULL, taken, &m, &why), ERR_NONE);
    cr_assert_neq(run(static_quorum, &f, &why), ERR_NONE);
    cr_assert_eq(stat(other, &st), -1);
    free(why);
    free(taken);
    free(other);
}

Test(storage, a_quorum_of_its_own_needs_a_beginning)
{
    struct storage_format f = {.cluster_id = "cluster-1"};
    char *text = NULL, *why = NULL;
    char *dir = xasprintf("%s/a", top);

    refuse(dynamic_quorum, &f,
           "Because controller.quorum.voters is not set on this controller, "
           "you must specify one of the following: --standalone, "
           "--initial-controllers, or --no-initial-controllers.");
    f.standalone = true;
    accept(dynamic_quorum, &f);
    cr_assert_eq(meta_dir_read_voters(NULL, dir, &text, &why), ERR_NONE);
    cr_assert_not_null(text);
    cr_assert_eq(strncmp(text, "4@localhost:9093:", 17), 0, "%s", text);
    free(text);
    free(dir);
}

Test(storage, initial_controllers_give_the_directory_its_id)
{
    struct storage_format f = {.cluster_id = "cluster-1",
                               .initial_controllers =
                                   "3@a:1:AAAAAAAAAAAAAAAAAAAAAQ,"
                                   "4@b:1:AAAAAAAAAAAAAAAAAAAAAg"};
    struct meta_properties m;
    char id[UUID_TEXT_SIZE];
    char *why = NULL;
    char *dir = xasprintf("%s/a", top);

    accept(dynamic_quorum, &f);
    cr_assert_eq(meta_dir_read(NULL, dir, &m, &why), ERR_NONE);
    cr_assert_str_eq(uuid_format(m.directory_id, id), "AAAAAAAAAAAAAAAAAAAAAg");
    free(dir);
    f.initial_controllers = "3@a:1:AAAAAAAAAAAAAAAAAAAAAQ";
    f.ignore_formatted = true;
    char *command = xasprintf("rm -r %s/a", top);
    cr_assert_eq(system(command), 0);
    free(command);
    refuse(dynamic_quorum, &f,
           "--initial-controllers 3@a:1:AAAAAAAAAAAAAAAAAAAAAQ does not name "
           "this node as 4@HOST:PORT:DIRECTORY-ID");
}

Test(storage, contradictions)
{
    struct storage_format f = {.cluster_id = "cluster-1", .standalone = true};

    refuse(static_quorum, &f,
           "You cannot specify controller.quorum.voters and format the node "
           "with --initial-controllers or --standalone. If you want to use "
           "dynamic quorum, please remove controller.quorum.voters and specify "
           "controller.quorum.bootstrap.servers instead.");
    refuse("process.roles=broker\nnode.id=1\nlog.dirs=%s/a\n", &f,
           "You can only use --standalone on a controller.");
    f.cluster_id = "not an id";
    refuse(static_quorum, &f,
           "\"not an id\" cannot be a cluster id; make one with: leat storage "
           "random-uuid");
    f.cluster_id = "c";
    refuse("node.id=1\n", &f,
           "%s/server.properties: process.roles is not given; write what the "
           "node is, such as process.roles=broker,controller");
    refuse("process.roles=broker\n", &f,
           "%s/server.properties: node.id must be given, as a number from 0 "
           "on");
}

Test(storage, random_ids_differ_and_never_begin_with_a_dash)
{
    char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];

    uuid_format(storage_random_uuid(), a);
    uuid_format(storage_random_uuid(), b);
    cr_assert_str_neq(a, b);
    cr_assert_eq(strlen(a), 22);
    for (int i = 0; i < 500; i++)
        cr_assert_neq(uuid_format(storage_random_uuid(), a)[0], '-');
}

/* ---- whom add-controller names --------------------------------------------
 */

Test(storage, a_controller_is_known_by_its_listener_and_directory)
{
    static const char text[] = "process.roles=broker,controller\n"
                               "node.id=4\n"
                               "controller.quorum.bootstrap.servers=h:9093\n"
                               "listeners=PLAINTEXT://:9092,INNER://me:9093\n"
                               "controller.listener.names=INNER\n"
                               "log.dirs=%s/data\n";
    char *path = write_config(text), *why = NULL;
    struct storage_config c;
    struct uuid id;

    cr_assert_eq(storage_config_read(path, &c, &why), ERR_NONE);
    cr_assert_eq(c.node_id, 4);
    cr_assert_str_eq(c.controller_listener, "INNER");
    cr_assert_str_eq(c.controller_host, "me");
    cr_assert_eq(c.controller_port, 9093);
    cr_assert_neq(storage_directory_id(&c, &id, &why), ERR_NONE);
    free(why);
    why = NULL;
    accept(text, &(struct storage_format){.cluster_id = "c",
                                          .no_initial_controllers = true});
    cr_assert_eq(storage_directory_id(&c, &id, &why), ERR_NONE);
    cr_assert_not(uuid_is_zero(id));
    storage_config_free(&c);
    free(path);
}
