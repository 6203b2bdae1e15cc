/* Kafka's cleaner-offset-checkpoint. */
#include "broker/cleaner_file.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>

static const char *format(const struct cleaner_file *f)
{
    static char text[512];
    struct buf b = BUF_INIT;

    cleaner_file_format(f, &b);
    cr_assert_lt(b.len, sizeof text);
    memcpy(text, b.data, b.len);
    text[b.len] = '\0';
    buf_free(&b);
    return text;
}

Test(cleaner_file, is_kafkas)
{
    struct cleaner_file *f = cleaner_file_new("/data");

    cr_assert_str_eq(format(f), "0\n0\n");
    cr_assert(cleaner_file_parse(f, SLICE("0\n2\na.b_c-d 0 17\nb 12 0\n")));
    cleaner_file_put(f, "b", 12, 9000000000);
    cleaner_file_put(f, "new", 1, 5);
    cr_assert_str_eq(format(f),
                     "0\n3\na.b_c-d 0 17\nb 12 9000000000\nnew 1 5\n");
    cleaner_file_put(f, "a.b_c-d", 0, -1);
    cleaner_file_put(f, "unknown", 0, -1);
    cr_assert_str_eq(format(f), "0\n2\nb 12 9000000000\nnew 1 5\n");
    cleaner_file_unref(f);
}

Test(cleaner_file, anything_else_is_not)
{
    static const char *const texts[] = {
        "", "1\n0\n", "0\n", "0\n1\nt 0\n", "0\n1\nt 0 1", "0\n1\nt x 1\n"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct cleaner_file *f = cleaner_file_new("/data");
        cr_assert_not(cleaner_file_parse(f, slice_str(texts[i])), "%zu", i);
        cleaner_file_unref(f);
    }
}

/* Lines of others, such as those a Kafka before us has written, stay. */
Test(cleaner_file, goes_on_from_what_is_there)
{
    static const char path[] = "/data/cleaner-offset-checkpoint";
    struct env *env = env_mem_new(1);

    env_mkdir(env, "/data");
    cr_assert_eq(env_write_all(env, path, SLICE("0\n1\nold 3 4\n")), 0);
    struct cleaner_file *f = cleaner_file_new("/data");
    cleaner_file_set(f, env, "t", 0, 10);
    cleaner_file_set(f, env, "t", 1, 20);
    cleaner_file_unref(f); /* works under way have theirs */
    env_mem_run(env);
    struct buf *text = env_mem_file(env, path);
    cr_assert(
        slice_eq(buf_slice(text), SLICE("0\n3\nold 3 4\nt 0 10\nt 1 20\n")));
    env_mem_crash(env, ENV_MEM_WORST);
    cr_assert_not_null(env_mem_file(env, path));
    env_mem_free(env);
}
