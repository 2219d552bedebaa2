#include "base/digest.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"

/* An odd factor and a rotation are one to one. */
void digest_blocks(struct digest *d, const void *data, size_t n)
{
    const uint8_t *p = data;
    struct digest s = *d;
    for (size_t at = 0; at < n; at += DIGEST_BLOCK) {
        for (size_t i = 0; i < DIGEST_BLOCK / 8; i++) {
            uint64_t word;
            memcpy(&word, p + at + 8 * i, 8);
            uint64_t x = (s.lane[i] ^ word) * 0x9FB21C651E98DF25u + 0x632BE59BD9B4E019u;
            s.lane[i] = x << 29 | x >> 35;
        }
    }
    *d = s;
}

void digest_add(struct digest *d, const void *data, size_t n)
{
    size_t whole = n / DIGEST_BLOCK * DIGEST_BLOCK;
    uint8_t rest[2 * DIGEST_BLOCK] = {0};
    uint64_t length = n;
    if (whole) {
        digest_blocks(d, data, whole);
    }
    if (n > whole) {
        memcpy(rest, (const uint8_t *)data + whole, n - whole);
    }
    memcpy(rest + DIGEST_BLOCK, &length, sizeof length);
    digest_blocks(d, rest, sizeof rest);
}

uint64_t digest_fold(const struct digest *d)
{
    uint64_t x = 0;
    for (size_t i = 0; i < DIGEST_BLOCK / 8; i++) {
        x = rng_mix(x + RNG_STEP + d->lane[i]);
    }
    return x;
}

uint64_t digest_number(const void *data, size_t n)
{
    struct digest d = {0};
    digest_add(&d, data, n);
    return digest_fold(&d);
}

const char *digest_text(const struct digest *d, char out[DIGEST_TEXT_BYTES])
{
    for (size_t i = 0; i < DIGEST_BLOCK / 8; i++) {
        snprintf(out + 16 * i, 17, "%016llx", (unsigned long long)d->lane[i]);
    }
    return out;
}
