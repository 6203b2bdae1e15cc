/* Prints docs/configuration.md; scripts/gen-config-doc runs it. */
#include "controller/config_doc.h"

#include <stdio.h>

int main(void)
{
    struct buf page = BUF_INIT;

    config_doc_print(&page);
    bool ok = fwrite(page.data, 1, page.len, stdout) == page.len;
    buf_free(&page);
    return ok && fflush(stdout) == 0 ? 0 : 1;
}
