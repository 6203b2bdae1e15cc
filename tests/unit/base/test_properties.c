/* Java's properties format, case by case.  Expected results are those of
 * java.util.Properties.load for the same text. */
#include "base/properties.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct properties parsed;

static void parse(const char *text)
{
    char *why = NULL;

    cr_assert_eq(properties_parse(slice_str(text), "t", &parsed, &why),
                 ERR_NONE, "%s", why);
}

static void expect(size_t i, const char *key, const char *value, int line)
{
    cr_assert_lt(i, parsed.count);
    cr_assert_str_eq((const char *)parsed.items[i].key.data, key);
    cr_assert_str_eq((const char *)parsed.items[i].value.data, value);
    cr_assert_eq(parsed.items[i].line, line);
}

static void expect_failure(struct slice text, enum err error,
                           const char *sentence)
{
    char *why = NULL;

    cr_assert_eq(properties_parse(text, "server.properties", &parsed, &why),
                 error);
    cr_assert_str_eq(why, sentence);
    cr_assert_eq(parsed.count, 0);
    free(why);
}

static void clear(void) { properties_free(&parsed); }

TestSuite(properties, .fini = clear);

Test(properties, the_three_separators_and_the_blanks_round_them)
{
    parse("a=1\n"
          "b : 2\n"
          "c  3\n"
          "  d\t=\t4 \n"
          "e\n"
          "f=\n"
          "g==x=y\n");
    cr_assert_eq(parsed.count, 7);
    expect(0, "a", "1", 1);
    expect(1, "b", "2", 2);
    expect(2, "c", "3", 3);
    expect(3, "d", "4 ", 4);
    expect(4, "e", "", 5);
    expect(5, "f", "", 6);
    expect(6, "g", "=x=y", 7);
}

Test(properties, comments_and_blank_lines_are_skipped)
{
    parse("# one\n\n  ! two \\\n \t\nkey=value # not a comment\n#last");
    cr_assert_eq(parsed.count, 1);
    expect(0, "key", "value # not a comment", 5);
}

Test(properties, a_backslash_continues_a_line)
{
    parse("voters=1@a:1,\\\n"
          "       2@b:2,\\\r\n"
          "       3@c:3\n"
          "even=a\\\\\n"
          "next=#\\\n#still value\n"
          "end=x\\");
    cr_assert_eq(parsed.count, 4);
    expect(0, "voters", "1@a:1,2@b:2,3@c:3", 1);
    expect(1, "even", "a\\", 4);
    expect(2, "next", "##still value", 5);
    expect(3, "end", "x", 7);
}

Test(properties, escapes)
{
    parse("a\\=b\\:c\\ d=\\t\\n\\r\\f\\q\\\\\n"
          "u=\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\n");
    expect(0, "a=b:c d", "\t\n\r\fq\\", 1);
    expect(1, "u", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 2);
}

Test(properties, line_ends_of_every_system)
{
    parse("a=1\r\nb=2\rc=3\n\rd=4");
    cr_assert_eq(parsed.count, 4);
    expect(0, "a", "1", 1);
    expect(1, "b", "2", 2);
    expect(2, "c", "3", 3);
    expect(3, "d", "4", 5);
}

Test(properties, the_last_of_two_equal_keys_wins)
{
    parse("k=1\nother=x\nk=2\n");
    cr_assert_eq(parsed.count, 3);
    const struct property *p = properties_find(&parsed, SLICE("k"));
    cr_assert_not_null(p);
    cr_assert(slice_eq_str(p->value, "2"));
    cr_assert_eq(p->line, 3);
    cr_assert_null(properties_find(&parsed, SLICE("absent")));
}

Test(properties, an_empty_text_has_no_keys)
{
    parse("");
    cr_assert_eq(parsed.count, 0);
    clear();
    char *why = NULL;
    cr_assert_eq(properties_parse(SLICE_NULL, "t", &parsed, &why), ERR_NONE);
    cr_assert_eq(parsed.count, 0);
}

Test(properties, a_bad_escape_names_file_and_line)
{
    const char *bad[] = {"\\u12",         "\\u12G4",         "\\u0000",
                         "\\uD83D",       "\\uD83Dx\\u0041", "\\uDE00",
                         "\\uD83D\\u0041"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = xasprintf("fine=1\n\nbad=%s\n", bad[i]);
        expect_failure(slice_str(text), ERR_MALFORMED,
                       "server.properties:3: malformed \\uXXXX escape");
        free(text);
    }
}

Test(properties, a_nul_byte_is_refused)
{
    expect_failure(SLICE("a=1\nb=\0\n"), ERR_MALFORMED,
                   "server.properties:2: a NUL byte does not belong in a "
                   "properties file");
}

Test(properties, a_file_has_a_bound)
{
    size_t size = PROPERTIES_SIZE_MAX + 1;
    char *text = xmalloc(size);

    memset(text, '#', size);
    expect_failure(slice_of(text, size), ERR_TOO_LARGE,
                   "server.properties: the file is larger than 4194304 bytes");
    free(text);

    struct buf many = BUF_INIT;
    for (int i = 0; i <= PROPERTIES_COUNT_MAX; i++)
        buf_put(&many, "k=\n", 3);
    expect_failure(buf_slice(&many), ERR_MALFORMED,
                   "server.properties:65537: more than 65536 keys");
    buf_free(&many);
}
