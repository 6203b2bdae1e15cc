/* docs/configuration.md, printed from the table of keys, so that the page
 * cannot say anything the table does not.  Pure. */
#ifndef CONTROLLER_CONFIG_DOC_H
#define CONTROLLER_CONFIG_DOC_H

#include "base/slice.h"

/* Appends the whole page. */
void config_doc_print(struct buf *page);

#endif
