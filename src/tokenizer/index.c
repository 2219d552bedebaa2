/* index.c: from a spelling to its token.
 *
 * A table of 8-byte entries: 32 bits of the hash and the token's number, from which the spelling
 * follows. A random seed for each table keeps hostile vocabularies and texts from choosing their
 * collisions.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tokenizer/tokenizer_internal.h"

struct token_index {
    const struct spellings *spellings; /* borrowed */
    uint64_t seed;
    unsigned shift;   /* 64 - log2 of the number of slots */
    uint64_t slots[]; /* hash << 32 | token + 1; 0: empty */
};

static inline uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint32_t load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    h = (h ^ h >> 29) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static inline uint64_t hash_of(uint64_t seed, const char *text, size_t n)
{
    uint64_t h = seed + n;
    if (n >= 8) {
        for (; n > 16; text += 8, n -= 8) {
            h = mix(h ^ load8(text));
        }
        h = mix(h ^ load8(text)) + load8(text + n - 8);
    } else if (n >= 4) {
        h ^= load4(text) | (uint64_t)load4(text + n - 4) << 32;
    } else if (n) {
        h ^= (uint8_t)text[0] | (uint64_t)(uint8_t)text[n / 2] << 8 |
             (uint64_t)(uint8_t)text[n - 1] << 16;
    }
    return mix(h);
}

struct token_index *token_index_new(const struct spellings *spellings, size_t n)
{
    unsigned log2 = 4;
    while ((size_t)1 << log2 < n * 2) {
        log2++;
    }
    struct token_index *x = mem_zalloc(sizeof *x + (sizeof *x->slots << log2));
    x->spellings = spellings;
    x->shift = 64 - log2;
    if (getrandom(&x->seed, sizeof x->seed, 0) != (ssize_t)sizeof x->seed) {
        x->seed = (uint64_t)time(NULL) ^ (uintptr_t)x;
    }
    return x;
}

void token_index_free(struct token_index *x)
{
    free(x);
}

/* The slot of a text: with a token, or empty. */
static inline size_t slot_of(const struct token_index *x, const char *text, size_t n, uint64_t h)
{
    size_t mask = ((size_t)1 << (64 - x->shift)) - 1, i = (size_t)(h >> x->shift);
    for (;; i = (i + 1) & mask) {
        uint64_t slot = x->slots[i];
        if (slot == 0) {
            return i;
        }
        if ((uint32_t)(slot >> 32) == (uint32_t)h) {
            struct gguf_string s = spelling_at(x->spellings, (uint32_t)slot - 1);
            if (s.len == n && (n == 0 || memcmp(s.data, text, n) == 0)) {
                return i;
            }
        }
    }
}

bool token_index_add(struct token_index *x, uint32_t id)
{
    struct gguf_string s = spelling_at(x->spellings, id);
    uint64_t h = hash_of(x->seed, s.data, s.len);
    size_t i = slot_of(x, s.data, s.len, h);
    if (x->slots[i] != 0) {
        return false;
    }
    x->slots[i] = h << 32 | (id + 1);
    return true;
}

bool token_index_find(const struct token_index *x, const char *text, size_t n, uint32_t *id)
{
    uint64_t slot = x->slots[slot_of(x, text, n, hash_of(x->seed, text, n))];
    *id = (uint32_t)slot - 1;
    return slot != 0;
}
