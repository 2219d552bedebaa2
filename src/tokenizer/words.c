/* words.c: tokens go out, and words are remembered.
 *
 * Most words of a text have been there before. Within one call the last place of a word of up to 24
 * bytes is kept in a table; its tokens are found where they went out the first time. Words whose
 * places coincide displace each other, so that no text can make the table slow.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

enum {
    KEY_PARTS = 3,
    MAX_KEY_BYTES = 8 * KEY_PARTS,
    MIN_TEXT_BYTES = 1 << 8, /* below, the table costs more than it brings */
    MIN_ENTRIES_LOG2 = 6,
    MAX_ENTRIES_LOG2 = 14,
};

struct remembered {
    uint64_t key[KEY_PARTS];
    uint32_t at; /* its tokens are out->ids[at..at + n) */
    uint16_t n;
    uint8_t len; /* bytes of the word; 0: nothing here */
};

struct word_cache {
    unsigned shift; /* 64 - log2 of the number of entries */
    struct remembered entries[];
};

void words_begin(struct encoding *enc, size_t n)
{
    if (n < MIN_TEXT_BYTES || enc->spans) {
        return;
    }
    unsigned log2 = MIN_ENTRIES_LOG2;
    while (log2 < MAX_ENTRIES_LOG2 && n >> (log2 + 4)) {
        log2++;
    }
    /* Without memory for it there is no table. */
    enc->cache = mem_try_alloc(sizeof *enc->cache + (sizeof *enc->cache->entries << log2));
    if (enc->cache) {
        enc->cache->shift = 64 - log2;
    }
}

void words_free(struct encoding *enc)
{
    free(enc->cache);
}

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

/* Together with n, this is the word. Parts overlap where n is no multiple of 8. */
static inline void make_key(const char *word, size_t n, uint64_t key[KEY_PARTS])
{
    key[1] = key[2] = 0;
    if (n >= 8) {
        key[0] = load8(word);
        key[1] = n > 16 ? load8(word + 8) : 0;
        key[2] = load8(word + n - 8);
    } else if (n >= 4) {
        key[0] = load4(word) | (uint64_t)load4(word + n - 4) << 32;
    } else {
        key[0] = (uint8_t)word[0] | (uint64_t)(uint8_t)word[n / 2] << 8 |
                 (uint64_t)(uint8_t)word[n - 1] << 16;
    }
}

static inline uint64_t mix_key(const uint64_t key[KEY_PARTS], size_t n)
{
    uint64_t h = (key[0] ^ n) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 29 ^ key[1]) * 0xD6E8FEB86659FD93u;
    h = (h ^ h >> 31 ^ key[2]) * 0xC2B2AE3D27D4EB4Fu;
    return h ^ h >> 32;
}

static inline void reserve_tokens(struct token_list *l, size_t more)
{
    if (l->capacity - l->n < more) {
        l->capacity = l->capacity + l->capacity / 2 + more + 64;
        l->ids = mem_resize(l->ids, l->capacity * sizeof *l->ids);
    }
}

void span_list_add(struct span_list *l, struct token_span span)
{
    if (l->n == l->capacity) {
        l->capacity = l->capacity ? l->capacity + l->capacity / 2 : 64;
        l->spans = mem_resize(l->spans, l->capacity * sizeof *l->spans);
    }
    l->spans[l->n++] = span;
}

static void add_span(struct encoding *enc, const char *word, size_t n)
{
    size_t at = (size_t)(word - enc->text), base = enc->base;
    const uint32_t *origins = enc->origins;
    span_list_add(enc->spans,
                  origins ? (struct token_span){origins[at], origins[at + n]}
                          : (struct token_span){(uint32_t)(base + at), (uint32_t)(base + at + n)});
}

void encoding_emit(struct encoding *enc, int32_t id, const char *word, size_t n)
{
    struct token_list *out = enc->out;
    enc->work++;
    if (id == enc->t->roles[ROLE_UNKNOWN]) {
        if (id == TOKENIZER_NO_TOKEN) {
            return;
        }
        enc->unknown = true;
        /* What is unknown in a row is one. */
        if (enc->t->family->joins_unknown && out->n > enc->n_before && out->ids[out->n - 1] == id) {
            if (enc->spans) {
                add_span(enc, word, n);
                enc->spans->n--;
                enc->spans->spans[enc->spans->n - 1].end = enc->spans->spans[enc->spans->n].end;
            }
            return;
        }
    }
    reserve_tokens(out, 1);
    out->ids[out->n++] = id;
    if (enc->spans) {
        add_span(enc, word, n);
    }
}

bool encode_word(void *context, const char *word, size_t n)
{
    struct encoding *enc = context;
    const struct family *family = enc->t->family;
    if (!enc->cache || n > MAX_KEY_BYTES || n == 0) {
        return family->word(enc, word, n);
    }
    uint64_t key[KEY_PARTS];
    make_key(word, n, key);
    struct remembered *r = &enc->cache->entries[mix_key(key, n) >> enc->cache->shift];
    struct token_list *out = enc->out;
    if (r->len == n && r->key[0] == key[0] && r->key[1] == key[1] && r->key[2] == key[2]) {
        reserve_tokens(out, r->n);
        const int32_t *from = out->ids + r->at;
        int32_t *to = out->ids + out->n;
        for (size_t i = 0; i < r->n; i++) {
            to[i] = from[i];
        }
        out->n += r->n;
        enc->work += 1 + r->n;
        return true;
    }
    size_t before = out->n;
    enc->unknown = false;
    if (!family->word(enc, word, n)) {
        return false;
    }
    /* What an unknown token becomes depends on what is before it. */
    if (!enc->unknown && out->n - before <= UINT16_MAX && out->n <= UINT32_MAX) {
        memcpy(r->key, key, sizeof key);
        r->at = (uint32_t)before;
        r->n = (uint16_t)(out->n - before);
        r->len = (uint8_t)n;
    }
    return true;
}
