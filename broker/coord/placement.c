/* Java hashes a string as sum of s[i] * 31^(n-1-i) over its UTF-16 code units.
 * Ids arrive as UTF-8, so they are widened on the way.  Bytes that are not
 * UTF-8 count as U+FFFD each, as a Java decoder would replace them. */
#include "broker/coord/placement.h"

#include "base/assert.h"

/* Decodes the character at *at and moves on. */
static uint32_t next_char(struct slice s, size_t *at)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = s.data[(*at)++];
    size_t size = lead < 0x80             ? 1
                  : (lead & 0xe0) == 0xc0 ? 2
                  : (lead & 0xf0) == 0xe0 ? 3
                  : (lead & 0xf8) == 0xf0 ? 4
                                          : 0;

    if (size == 1)
        return lead;
    if (size == 0 || s.len - *at < size - 1)
        return 0xfffd;
    uint32_t c = lead & (0xffu >> (size + 1));
    for (size_t i = 0; i < size - 1; i++) {
        uint8_t next = s.data[*at + i];
        if ((next & 0xc0) != 0x80)
            return 0xfffd;
        c = c << 6 | (next & 0x3f);
    }
    if (c < smallest[size] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0xfffd;
    *at += size - 1;
    return c;
}

int32_t coord_partition_of(struct slice id, int32_t partitions)
{
    uint32_t hash = 0;

    ASSERT(partitions > 0);
    for (size_t at = 0; at < id.len;) {
        uint32_t c = next_char(id, &at);

        if (c >= 0x10000) {
            hash = hash * 31 + (0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        hash = hash * 31 + c;
    }
    int32_t n = (int32_t)hash;
    return (n == INT32_MIN ? 0 : n < 0 ? -n : n) % partitions;
}
