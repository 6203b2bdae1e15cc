/* Tables and JSON. */
#include "cli/ui.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void fill(struct table *t)
{
    table_init(t, "sns");
    table_add(t, "TOPIC");
    table_add(t, "LAG");
    table_add(t, "MEMBER ID");
    table_add(t, "orders");
    table_add(t, "%d", 12);
    table_add_slice(t, SLICE_NULL);
    table_add(t, "caf\xc3\xa9");
    table_add(t, "-");
    table_add(t, "x");
}

Test(ui, columns_are_as_wide_as_their_widest_cell)
{
    struct table t;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    fill(&t);
    table_print(&t, f, 2);
    fclose(f);
    cr_assert_str_eq(text, "TOPIC   LAG  MEMBER ID\n"
                           "orders  12   -\n"
                           "caf\xc3\xa9    -    x\n");
    free(text);
    table_free(&t);
}

Test(ui, a_name_cannot_break_a_row_or_reach_the_terminal)
{
    struct table t;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    table_init(&t, "ss");
    table_add(&t, "GROUP");
    table_add(&t, "STATE");
    table_add_slice(&t, SLICE("a\n\x1b[2J\x7f"));
    table_add(&t, "Empty");
    table_print(&t, f, 2);
    fclose(f);
    cr_assert_str_eq(text, "GROUP    STATE\n"
                           "a??[2J?  Empty\n");
    free(text);
    table_free(&t);
}

Test(ui, a_table_as_json)
{
    struct table t;

    fill(&t);
    json_t *rows = table_json(&t);
    char *text = json_dumps(rows, JSON_COMPACT | JSON_ENSURE_ASCII);
    cr_assert_str_eq(text,
                     "[{\"topic\":\"orders\",\"lag\":12,\"member_id\":null},"
                     "{\"topic\":\"caf\\u00E9\",\"lag\":null,"
                     "\"member_id\":\"x\"}]");
    free(text);
    json_decref(rows);
    table_free(&t);
}

Test(ui, a_text_of_digits_stays_a_text)
{
    struct table t;

    table_init(&t, "s");
    table_add(&t, "GROUP");
    table_add(&t, "42");
    json_t *rows = table_json(&t);
    cr_assert(
        json_is_string(json_object_get(json_array_get(rows, 0), "group")));
    json_decref(rows);
    table_free(&t);
}

Test(ui, bytes_that_are_no_text_become_json_all_the_same)
{
    json_t *v = json_slice(SLICE("a\xff\xfe"
                                 "b"));

    cr_assert_str_eq(json_string_value(v), "a??b");
    json_decref(v);
    v = json_slice(SLICE_NULL);
    cr_assert(json_is_null(v));
    json_decref(v);
}
