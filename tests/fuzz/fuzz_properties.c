/* The text of .properties files and, read as one, of meta.properties. */
#include "tests/fuzz/kit.h"

#include "base/meta_properties.h"
#include "base/properties.h"

#include <stdlib.h>

static void check_properties(struct slice text)
{
    struct properties p;
    char *why = NULL;

    if (properties_parse(text, "fuzz", &p, &why) != ERR_NONE) {
        ASSERT(why != NULL && strncmp(why, "fuzz", 4) == 0);
        free(why);
        return;
    }
    for (size_t i = 0; i < p.count; i++) {
        const struct property *one = &p.items[i];

        ASSERT(one->key.data[one->key.len] == '\0');
        ASSERT(one->value.data[one->value.len] == '\0');
        ASSERT(one->line > 0 && properties_find(&p, one->key) != NULL);
    }
    properties_free(&p);
}

static void check_meta(struct slice text)
{
    struct meta_properties m, again;
    struct buf printed = BUF_INIT;
    char *why = NULL;

    if (meta_properties_parse(text, "fuzz", &m, &why) != ERR_NONE) {
        ASSERT(why != NULL);
        free(why);
        return;
    }
    if (m.cluster_id[0] != '\0') {
        meta_properties_print(&m, &printed);
        ASSERT(meta_properties_parse(buf_slice(&printed), "again", &again,
                                     &why) == ERR_NONE);
        ASSERT(strcmp(again.cluster_id, m.cluster_id) == 0 &&
               again.node_id == m.node_id &&
               uuid_eq(again.directory_id, m.directory_id));
        buf_free(&printed);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_properties(slice_of(data, size));
    check_meta(slice_of(data, size));
    return 0;
}
