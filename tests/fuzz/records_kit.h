/* What the targets on record bytes share. */
#ifndef TESTS_FUZZ_RECORDS_KIT_H
#define TESTS_FUZZ_RECORDS_KIT_H

#include "tests/fuzz/kit.h"

#include "proto/record/message_set.h"
#include "proto/record/record.h"

enum { FUZZ_LIMIT_BYTES = 1 << 18 }; /* for what anything may expand to */

/* Kept from input to input, as a shard keeps it. */
struct codec *fuzz_codec(void);

/* Everything that a consumer's request may do with a stored batch.  Returns how
 * many records could be read, or -1 when the batch is damaged. */
int fuzz_read_batch(struct slice bytes, const struct batch *b);
/* The same batch for consumers of magic 0 and 1: what comes out is as many
 * messages, at the same offsets; unless records is -1, which promises
 * nothing. */
void fuzz_convert_down(struct slice bytes, const struct batch *b, int records);

#endif
