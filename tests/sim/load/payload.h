/* The value of a record: who sent it, as which number, to which incarnation of
 * a topic, and filler that follows from these, so that a reader can tell
 * whether any byte changed. */
#ifndef TESTS_SIM_LOAD_PAYLOAD_H
#define TESTS_SIM_LOAD_PAYLOAD_H

#include "tests/sim/load/history.h"

enum { PAYLOAD_HEAD_BYTES = 20 };

void payload_put(struct buf *out, struct history_id id, size_t filler_bytes);
/* False: not a payload, or bytes differ from what `*id` says. */
bool payload_parse(struct slice value, struct history_id *id);

#endif
