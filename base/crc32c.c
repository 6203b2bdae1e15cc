/* Three streams at once hide the latency of the crc32 instruction: blocks of
 * 3 * LANE bytes are summed as three independent lanes, and the lanes are
 * joined by shifting a sum over LANE zero bytes with precomputed tables (the
 * sum is linear over GF(2)).  The remainder goes 8 bytes, then 1, at a time.
 * Tables are built before main() runs, so no call pays for them. */
#include "base/crc32c.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

enum { LANE = 1024 };
static const uint32_t polynomial = 0x82f63b78u; /* reflected */

static uint32_t table[8][256];    /* slicing by eight */
static uint32_t shift_one[4][256]; /* a sum moved over LANE zero bytes */
static bool hardware;

static uint32_t portable(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^
              table[5][word >> 16 & 0xff] ^ table[4][word >> 24 & 0xff] ^
              table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff] ^
              table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
    }
    while (len-- != 0)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
    return crc;
}

__attribute__((constructor)) static void build_tables(void)
{
    static const uint8_t zeros[LANE];

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? polynomial : 0);
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] =
                table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 0; k < 4; k++)
            shift_one[k][i] = portable(i << 8 * k, zeros, LANE);
#if defined(__x86_64__)
    hardware = __builtin_cpu_supports("sse4.2");
#endif
}

#if defined(__x86_64__)
static uint32_t shifted(uint32_t crc)
{
    return shift_one[0][crc & 0xff] ^ shift_one[1][crc >> 8 & 0xff] ^
           shift_one[2][crc >> 16 & 0xff] ^ shift_one[3][crc >> 24];
}

static uint64_t word_at(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t
instruction(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 3 * LANE; len -= 3 * LANE, p += 3 * LANE) {
        uint64_t a = crc, b = 0, c = 0;

        for (size_t i = 0; i < LANE; i += 8) {
            a = _mm_crc32_u64(a, word_at(p + i));
            b = _mm_crc32_u64(b, word_at(p + LANE + i));
            c = _mm_crc32_u64(c, word_at(p + 2 * LANE + i));
        }
        crc = shifted(shifted((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
    }
    for (; len >= 8; len -= 8, p += 8)
        crc = (uint32_t)_mm_crc32_u64(crc, word_at(p));
    while (len-- != 0)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    return ~portable(~crc, data, len);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (hardware)
        return ~instruction(~crc, data, len);
#endif
    return crc32c_portable(crc, data, len);
}
