/* docs/configuration.md is what the table prints. */
#include "controller/config_doc.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct buf read_file(const char *path)
{
    struct buf b = BUF_INIT;
    FILE *f = fopen(path, "r");
    size_t n;

    cr_assert_not_null(f, "%s", path);
    do {
        uint8_t *at = buf_extend(&b, 65536);
        n = fread(at, 1, 65536, f);
        b.len -= 65536 - n;
    } while (n != 0);
    fclose(f);
    return b;
}

Test(config_doc, the_page_is_up_to_date)
{
    struct buf page = BUF_INIT;
    struct buf file = read_file(SOURCE_ROOT "/docs/configuration.md");

    config_doc_print(&page);
    cr_assert(slice_eq(buf_slice(&page), buf_slice(&file)),
              "docs/configuration.md differs from the table of keys: run "
              "scripts/gen-config-doc");
    buf_free(&page);
    buf_free(&file);
}
