#include "base/uuid.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct uuid uuid_random(struct prng *p)
{
    struct uuid u;

    do {
        be64_put(u.bytes, prng_next(p));
        be64_put(u.bytes + 8, prng_next(p));
        u.bytes[6] = (uint8_t)((u.bytes[6] & 0x0f) | 0x40);
        u.bytes[8] = (uint8_t)((u.bytes[8] & 0x3f) | 0x80);
    } while (u.bytes[0] >> 2 == 62);
    return u;
}

char *uuid_format(struct uuid u, char text[static UUID_TEXT_SIZE])
{
    unsigned bits = 0, held = 0;
    char *out = text;

    for (int i = 0; i < 16; i++) {
        bits = bits << 8 | u.bytes[i];
        for (held += 8; held >= 6; held -= 6)
            *out++ = alphabet[bits >> (held - 6) & 63];
    }
    *out++ = alphabet[bits << (6 - held) & 63];
    *out = '\0';
    return text;
}

static int digit(uint8_t c)
{
    const char *at = c != 0 ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

bool uuid_parse(struct slice s, struct uuid *u)
{
    unsigned bits = 0, held = 0;
    int n = 0;

    if (s.len != UUID_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        int d = digit(s.data[i]);
        if (d < 0)
            return false;
        bits = bits << 6 | (unsigned)d;
        held += 6;
        if (held >= 8) {
            held -= 8;
            u->bytes[n++] = (uint8_t)(bits >> held);
        }
    }
    return n == 16 && (bits & 0x0f) == 0;
}
