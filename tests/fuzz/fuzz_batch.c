/* Stored or fetched batches, which nobody validated: followers, consumers and
 * recovery read them, control batches included.  The first byte: 1 puts
 * checksums right, 2 leaves lengths alone. */
#include "tests/fuzz/records_kit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t how = read_u8(&r);
    struct slice in = take_rest(&r);
    struct batch b;

    uint8_t *bytes = xmalloc(in.len != 0 ? in.len : 1);
    memcpy(bytes, in.data, in.len);
    if ((how & 1) != 0)
        fix_batches(bytes, in.len, (how & 2) == 0);
    for (struct slice left = slice_of(bytes, in.len);
         batch_parse(left, &b) == ERR_NONE;
         left = slice_of(left.data + b.size_bytes, left.len - b.size_bytes)) {
        const char *why;
        struct slice one = slice_of(left.data, b.size_bytes);

        ASSERT((batch_validate(one, &b, &why) == ERR_NONE) == (why[0] == '\0'));
        int records = fuzz_read_batch(one, &b);
        fuzz_convert_down(one, &b, -1);
        (void)records;
    }
    free(bytes);
    return 0;
}
