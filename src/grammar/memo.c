/* memo.c: open tables from 64-bit keys to numbers. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

enum { FIRST_SLOTS = 256 };

static size_t memo_slot(const struct memo *m, uint64_t key)
{
    uint64_t h = key * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(h >> 32 ^ h >> 11) & m->mask;
    while (m->keys[i] && m->keys[i] != key) {
        i = (i + 1) & m->mask;
    }
    return i;
}

uint32_t memo_get(const struct memo *m, uint64_t key)
{
    return m->keys ? m->values[memo_slot(m, key)] : 0;
}

void memo_put(struct memo *m, uint64_t key, uint32_t value)
{
    if (!m->keys || 4 * m->n > 3 * m->mask) {
        struct memo old = *m;
        m->mask = old.keys ? 2 * old.mask + 1 : FIRST_SLOTS - 1;
        m->keys = mem_array(m->mask + 1, sizeof *m->keys);
        m->values = mem_array(m->mask + 1, sizeof *m->values);
        for (size_t i = 0; old.keys && i <= old.mask; i++) {
            if (old.keys[i]) {
                size_t at = memo_slot(m, old.keys[i]);
                m->keys[at] = old.keys[i];
                m->values[at] = old.values[i];
            }
        }
        free(old.keys);
        free(old.values);
    }
    size_t i = memo_slot(m, key);
    m->n += m->keys[i] == 0;
    m->keys[i] = key;
    m->values[i] = value;
}

void memo_clear(struct memo *m)
{
    if (m->n) {
        memset(m->keys, 0, (m->mask + 1) * sizeof *m->keys);
        memset(m->values, 0, (m->mask + 1) * sizeof *m->values);
        m->n = 0;
    }
}

void memo_free(struct memo *m)
{
    free(m->keys);
    free(m->values);
    *m = (struct memo){0};
}

size_t memo_bytes(const struct memo *m)
{
    return m->keys ? (m->mask + 1) * (sizeof *m->keys + sizeof *m->values) : 0;
}
