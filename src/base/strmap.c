#include "base/strmap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"

struct slot {
    const char *key;
    uint32_t length, hash, value;
    bool used;
};

struct strmap {
    struct slot *slots;
    size_t count, mask;
    uint64_t seed;
};

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

uint32_t strmap_hash(uint64_t seed, const char *key, size_t n)
{
    uint64_t h = seed ^ n;
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, key, 8);
        h = mix(h ^ word) + 0x9E3779B97F4A7C15u;
        key += 8;
        n -= 8;
    }
    uint64_t last = 0;
    if (n) {
        memcpy(&last, key, n);
    }
    return (uint32_t)mix(h ^ last);
}

uint64_t strmap_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = (uint64_t)time(NULL) ^ (uintptr_t)&seed;
    }
    return seed;
}

struct strmap *strmap_new(size_t expected_count)
{
    struct strmap *m = mem_zalloc(sizeof *m);
    m->seed = strmap_seed();
    size_t size = 16;
    while (size < expected_count * 2) {
        size *= 2;
    }
    m->slots = mem_array(size, sizeof *m->slots);
    m->mask = size - 1;
    return m;
}

void strmap_free(struct strmap *m)
{
    if (m) {
        free(m->slots);
        free(m);
    }
}

static struct slot *slot_for(const struct strmap *m, const char *key, size_t n, uint32_t hash)
{
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        struct slot *s = &m->slots[i];
        if (!s->used ||
            (s->hash == hash && s->length == n && (n == 0 || memcmp(s->key, key, n) == 0))) {
            return s;
        }
    }
}

static void grow(struct strmap *m)
{
    struct slot *old = m->slots;
    size_t size = m->mask + 1;
    m->slots = mem_array(size * 2, sizeof *m->slots);
    m->mask = size * 2 - 1;
    for (size_t i = 0; i < size; i++) {
        if (old[i].used) {
            *slot_for(m, old[i].key, old[i].length, old[i].hash) = old[i];
        }
    }
    free(old);
}

bool strmap_add(struct strmap *m, const char *key, size_t n, uint32_t value)
{
    if (m->count * 2 >= m->mask) {
        grow(m);
    }
    uint32_t hash = strmap_hash(m->seed, key, n);
    struct slot *s = slot_for(m, key, n, hash);
    if (s->used) {
        return false;
    }
    *s = (struct slot){key, (uint32_t)n, hash, value, true};
    m->count++;
    return true;
}

bool strmap_get(const struct strmap *m, const char *key, size_t n, uint32_t *value)
{
    const struct slot *s = slot_for(m, key, n, strmap_hash(m->seed, key, n));
    if (s->used) {
        *value = s->value;
    }
    return s->used;
}

size_t strmap_count(const struct strmap *m)
{
    return m->count;
}
