/* The parser of command lines. */
#include "cli/options.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct option_spec specs[] = {
    {"create", OPTION_FLAG, 'C', NULL, "make it"},
    {"topic", OPTION_VALUE, 't', "TOPIC", "which"},
    {"config", OPTION_LIST, 0, NULL, "many"},
    {"codec", OPTION_OPTIONAL, 0, NULL, "perhaps"},
    {"count", OPTION_INT, 'n', NULL, "how many"},
    {"offset", OPTION_LONG, 0, NULL, "where"},
    {"replicas", OPTION_INT, 0, NULL, "how often", 1, INT16_MAX},
    {"wait", OPTION_LONG, 0, NULL, "how long", 0, INT64_MAX},
    {0}};

enum { WORDS = 16 };

static struct options *parse(const char *line, char **why)
{
    char *copy = xstrdup(line);
    char *argv[WORDS];
    int argc = 0;

    argv[argc++] = copy; /* the command's name, unused */
    for (char *word = strtok(copy, " "); word != NULL && argc < WORDS;
         word = strtok(NULL, " "))
        argv[argc++] = word;
    struct options *o = options_parse(specs, argc, argv, why);
    free(copy);
    return o;
}

static struct options *accept(const char *line)
{
    char *why = NULL;
    struct options *o = parse(line, &why);

    cr_assert_not_null(o, "%s", why);
    return o;
}

static void refuse(const char *line, const char *sentence)
{
    char *why = NULL;

    cr_assert_null(parse(line, &why));
    cr_assert_str_eq(why, sentence);
    free(why);
}

Test(options, values_flags_and_words_in_any_order)
{
    struct options *o =
        accept("one --topic a --create two --topic=b -n 3 --offset -7");

    cr_assert(options_has(o, "create"));
    cr_assert_not(options_has(o, "config"));
    cr_assert_str_eq(options_text(o, "topic", ""), "b");
    cr_assert_str_eq(options_text(o, "codec", "none"), "none");
    cr_assert_eq(options_int(o, "count", 0), 3);
    cr_assert_eq(options_long(o, "offset", 0), -7);
    cr_assert_eq(options_words(o), 2);
    cr_assert_str_eq(options_word(o, 1), "two");
    cr_assert_null(options_word(o, 2));
    options_free(o);
}

Test(options, lists_keep_every_value_in_order)
{
    struct options *o = accept("--config a=1 --config b=2");

    cr_assert_str_eq(options_each(o, "config", 0), "a=1");
    cr_assert_str_eq(options_each(o, "config", 1), "b=2");
    cr_assert_null(options_each(o, "config", 2));
    options_free(o);
}

Test(options, an_optional_value_may_follow_or_not)
{
    struct options *o = accept("--codec zstd");
    cr_assert_str_eq(options_text(o, "codec", "none"), "zstd");
    options_free(o);
    o = accept("--codec --create");
    cr_assert(options_has(o, "codec"));
    cr_assert_str_eq(options_text(o, "codec", "gzip"), "gzip");
    cr_assert(options_has(o, "create"));
    options_free(o);
    o = accept("--codec=lz4");
    cr_assert_str_eq(options_text(o, "codec", "none"), "lz4");
    options_free(o);
}

Test(options, two_dashes_end_the_options)
{
    struct options *o = accept("-- --create");

    cr_assert_not(options_has(o, "create"));
    cr_assert_str_eq(options_word(o, 0), "--create");
    options_free(o);
}

Test(options, mistakes_are_named)
{
    refuse("--nosuch", "--nosuch is not a recognized option");
    refuse("-x", "-x is not a recognized option");
    refuse("--topic", "option --topic needs a value");
    refuse("--create=yes", "option --create takes no value");
    refuse("--count many", "option --count needs a number, not \"many\"");
    refuse("--count 3000000000",
           "option --count needs a number, not \"3000000000\"");
    refuse("--offset 1x", "option --offset needs a number, not \"1x\"");
}

Test(options, numbers_are_what_the_table_says)
{
    struct options *o = accept("--replicas 32767 --wait 9223372036854775807");
    cr_assert_eq(options_int(o, "replicas", 0), INT16_MAX);
    cr_assert_eq(options_long(o, "wait", 0), INT64_MAX);
    options_free(o);
    refuse("--replicas 65539",
           "option --replicas needs a number from 1 to 32767, not \"65539\"");
    refuse("--replicas 0",
           "option --replicas needs a number from 1 to 32767, not \"0\"");
    refuse("--replicas x",
           "option --replicas needs a number from 1 to 32767, not \"x\"");
    refuse("--wait -1", "option --wait needs a number, 0 or more, not \"-1\"");
    refuse("--offset 9223372036854775808",
           "option --offset needs a number, not \"9223372036854775808\"");
}

Test(options, help_has_two_columns)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    options_help(specs, f);
    fclose(f);
    cr_assert_not_null(strstr(text, "  -t, --topic TOPIC           which\n"));
    cr_assert_not_null(strstr(text, "  -C, --create                make it\n"));
    free(text);
}
