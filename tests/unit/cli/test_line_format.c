/* Lines to records and records to lines, by the rules of Kafka's console
 * tools. */
#include "cli/line_format.h"
#include "cli/record_format.h"
#include "proto/record/builder.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct line_format format;
static struct line_record record;
static struct arena arena;

static void set_up(void)
{
    format = LINE_FORMAT_INIT;
    arena_init(&arena, 0);
}

static void clear(void) { arena_free(&arena); }

TestSuite(line_format, .init = set_up, .fini = clear);

static void accept(const char *line)
{
    char *why = NULL;

    cr_assert(
        line_format_parse(&format, slice_str(line), 1, &arena, &record, &why),
        "%s", why);
}

static void refuse(const char *line, const char *sentence)
{
    char *why = NULL;

    cr_assert_not(
        line_format_parse(&format, slice_str(line), 7, &arena, &record, &why));
    cr_assert_str_eq(why, sentence);
    free(why);
}

Test(line_format, a_line_is_a_value)
{
    accept("a\tb:c");
    cr_assert(slice_is_null(record.key));
    cr_assert(slice_eq_str(record.value, "a\tb:c"));
    accept("");
    cr_assert_not(slice_is_null(record.value));
    cr_assert_eq(record.value.len, 0);
}

Test(line_format, keys)
{
    line_format_set(&format, "parse.key", "true");
    accept("k\tv\tw");
    cr_assert(slice_eq_str(record.key, "k"));
    cr_assert(slice_eq_str(record.value, "v\tw"));
    line_format_set(&format, "key.separator", "::");
    accept("a:b::c");
    cr_assert(slice_eq_str(record.key, "a:b"));
    refuse("a:b", "No key separator found on line number 7: 'a:b'");
    line_format_set(&format, "ignore.error", "TRUE");
    accept("a:b");
    cr_assert(slice_is_null(record.key));
    cr_assert(slice_eq_str(record.value, "a:b"));
}

Test(line_format, headers)
{
    line_format_set(&format, "parse.key", "true");
    line_format_set(&format, "parse.headers", "true");
    line_format_set(&format, "null.marker", "NULL");
    accept("h1:v1,h2:NULL,h3:\tk\tNULL");
    cr_assert_eq(record.headers_len, 3);
    cr_assert(slice_eq_str(record.headers[0].key, "h1"));
    cr_assert(slice_eq_str(record.headers[0].value, "v1"));
    cr_assert(slice_is_null(record.headers[1].value));
    cr_assert_not(slice_is_null(record.headers[2].value));
    cr_assert(slice_eq_str(record.key, "k"));
    cr_assert(slice_is_null(record.value));
    accept("NULL\tk\tv");
    cr_assert_eq(record.headers_len, 0);
    refuse("h1\tk\tv",
           "No header key separator found in pair 'h1' on line number 7");
    refuse("NULL:x\tk\tv", "Header keys should not be equal to the null marker "
                           "'NULL' as they can't be null");
    refuse("k", "No headers delimiter found on line number 7: 'k'");
}

Test(line_format, separators_must_differ)
{
    cr_assert_null(line_format_check(&format));
    line_format_set(&format, "headers.separator", ":");
    cr_assert_str_eq(
        line_format_check(&format),
        "headers.separator and headers.key.separator may not be equal");
    cr_assert_not(line_format_set(&format, "parse.nothing", "1"));
    format = LINE_FORMAT_INIT;
    line_format_set(&format, "key.separator", "");
    cr_assert_str_eq(line_format_check(&format),
                     "a separator may not be empty");
}

/* ---- and back
 * ------------------------------------------------------------------- */

/* Prints one record with the properties that are named. */
static char *print(const char *const *properties)
{
    struct record_header headers[] = {{SLICE("h"), SLICE("1")},
                                      {SLICE("i"), SLICE_NULL}};
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct record_format f = RECORD_FORMAT_INIT;
    struct buf bytes = BUF_INIT, scratch = BUF_INIT, out = BUF_INIT;
    struct batch_builder builder;
    struct record_reader reader;
    struct record one;
    struct batch b;

    batch_builder_init(&builder);
    options.base_offset = 41;
    batch_builder_append(&builder, 1000, SLICE_NULL, SLICE("v"), headers, 2);
    batch_builder_finish(&builder, &options, NULL, &bytes);
    cr_assert_eq(batch_parse(buf_slice(&bytes), &b), ERR_NONE);
    cr_assert_eq(
        record_open(&reader, NULL, buf_slice(&bytes), &b, 1000, &scratch),
        ERR_NONE);
    cr_assert(record_next(&reader, &one));
    for (; *properties != NULL; properties += 2)
        cr_assert(record_format_set(&f, properties[0], properties[1]));
    struct consumed consumed = {SLICE("t"), 3, &one, false, 5};
    record_format_print(&f, &consumed, &out);
    buf_put_u8(&out, '\0');
    batch_builder_free(&builder);
    buf_free(&bytes);
    buf_free(&scratch);
    return (char *)out.data;
}

Test(record_format, only_the_value)
{
    char *text = print((const char *[]){NULL});

    cr_assert_str_eq(text, "v\n");
    free(text);
}

Test(record_format, everything_in_kafkas_order)
{
    char *text = print((const char *[]){
        "print.timestamp", "true", "print.partition", "true", "print.offset",
        "true", "print.epoch", "true", "print.headers", "true", "print.key",
        "true", "key.separator", "|", NULL});

    cr_assert_str_eq(text, "CreateTime:1000|Partition:3|Offset:41|Epoch:5|"
                           "h:1,i:null|null|v\n");
    free(text);
}

Test(record_format, separators_and_null)
{
    char *text = print((const char *[]){"print.value", "false", "print.key",
                                        "true", "null.literal", "<nil>",
                                        "line.separator", ";", NULL});

    cr_assert_str_eq(text, "<nil>;");
    free(text);
    struct record_format f = RECORD_FORMAT_INIT;
    cr_assert_not(record_format_set(&f, "print.nothing", "true"));
}
