/* Which cluster and node a directory belongs to. */
#include "base/meta_properties.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct meta_properties m;

static void refuses(const char *text, const char *sentence)
{
    char *why = NULL;

    cr_assert_eq(meta_properties_parse(slice_str(text), "m", &m, &why),
                 ERR_DAMAGED);
    cr_assert_str_eq(why, sentence);
    free(why);
}

static void accepts(const char *text)
{
    char *why = NULL;

    cr_assert_eq(meta_properties_parse(slice_str(text), "m", &m, &why),
                 ERR_NONE, "%s", why);
}

Test(meta_properties, what_kafka_writes_is_read)
{
    char id[UUID_TEXT_SIZE];

    accepts("#\n#Sat Nov 21 07:47:39 UTC 2026\nnode.id=1\n"
            "directory.id=Fn1vgLM0AyTyQve4xFHY2w\nversion=1\n"
            "cluster.id=MkU3OEVBNTcwNTJENDM2Qk\n");
    cr_assert_eq(m.node_id, 1);
    cr_assert_str_eq(m.cluster_id, "MkU3OEVBNTcwNTJENDM2Qk");
    cr_assert_str_eq(uuid_format(m.directory_id, id), "Fn1vgLM0AyTyQve4xFHY2w");
}

Test(meta_properties, printing_and_parsing_are_inverse)
{
    struct buf text = BUF_INIT;
    struct prng p = {0};
    struct meta_properties out = {.cluster_id = "some-cluster", .node_id = 7};

    p.state = 5;
    out.directory_id = uuid_random(&p);
    meta_properties_print(&out, &text);
    buf_put(&text, "", 1);
    accepts((const char *)text.data);
    cr_assert_eq(m.node_id, 7);
    cr_assert_str_eq(m.cluster_id, "some-cluster");
    cr_assert(uuid_eq(m.directory_id, out.directory_id));
    buf_free(&text);
}

Test(meta_properties, version_0_says_broker_id)
{
    accepts("version=0\nbroker.id=3\n");
    cr_assert_eq(m.node_id, 3);
    cr_assert_str_eq(m.cluster_id, "");
}

Test(meta_properties, damage)
{
    refuses("version=1\nnode.id=1\n", "m: cluster.id is missing");
    refuses("version=1\nnode.id=x\ncluster.id=c\n",
            "m: node.id is missing or not a number");
    refuses("version=1\nnode.id=99999999999\ncluster.id=c\n",
            "m: node.id is missing or not a number");
    refuses("version=2\nnode.id=1\ncluster.id=c\n",
            "m: version is neither 0 nor 1");
    refuses("version=1\nnode.id=1\ncluster.id=\n",
            "m: cluster.id is not valid");
    refuses("version=1\nnode.id=1\ncluster.id=c\ndirectory.id=short\n",
            "m: directory.id is not an id");
    refuses("version=\\u12\n", "m:1: malformed \\uXXXX escape");
}

static char dir[] = "/tmp/leat-meta-XXXXXX";

Test(meta_properties, formatting_a_directory)
{
    struct meta_properties out = {.cluster_id = "c", .node_id = 2};
    char *why = NULL;
    char *text = NULL;

    cr_assert_not_null(mkdtemp(dir));
    char *deep = xasprintf("%s/a/b", dir);
    cr_assert_eq(meta_dir_read(NULL, deep, &m, &why), ERR_ABSENT);
    free(why);
    cr_assert_eq(meta_dir_format(NULL, deep, &out, &why), ERR_NONE, "%s", why);
    cr_assert_eq(meta_dir_read(NULL, deep, &m, &why), ERR_NONE, "%s", why);
    cr_assert_eq(m.node_id, 2);
    cr_assert_eq(meta_dir_read_voters(NULL, deep, &text, &why), ERR_NONE);
    cr_assert_null(text);
    cr_assert_eq(meta_dir_write_voters(NULL, deep, "1@h:1", &why), ERR_NONE);
    cr_assert_eq(meta_dir_read_voters(NULL, deep, &text, &why), ERR_NONE);
    cr_assert_str_eq(text, "1@h:1");
    free(text);

    char *command = xasprintf("rm -r %s", dir);
    cr_assert_eq(system(command), 0);
    free(command);
    free(deep);
}

Test(meta_properties, a_path_that_is_no_directory)
{
    char file[] = "/tmp/leat-meta-file-XXXXXX";
    struct meta_properties out = {.cluster_id = "c", .node_id = 2};
    char *why = NULL;

    close(mkstemp(file));
    char *below = xasprintf("%s/x", file);
    cr_assert_eq(meta_dir_format(NULL, below, &out, &why), ERR_IO);
    cr_assert_not_null(strstr(why, "cannot create directory"));
    free(why);
    unlink(file);
    free(below);
}
