/* spm.c: SentencePiece BPE (Kudo and Richardson, 2018): the neighbouring pieces whose joint
 * spelling has the best score are joined first, until no joint spelling is in the vocabulary. What
 * is then not in the vocabulary becomes byte tokens.
 *
 * Vocabularies that others have turned into merges by rank say so by having merges: then these
 * decide, and the scores do not.
 */
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

enum { FEW_SYMBOLS = 64 };

/* Smaller is better: an order-preserving map of the score's bits, turned round. NaN does not occur.
 */
static uint32_t score_order(float score)
{
    score += 0.0f; /* -0 is 0 */
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : 0x7FFFFFFFu - bits;
}

#define NO_ORDER UINT32_MAX /* the order of a NaN */

/* The order of joining text[0..n), NO_ORDER where it is no token. */
static uint32_t order_of(const struct tokenizer *t, const char *text, size_t n)
{
    uint32_t id;
    return vocab_find(t, text, n, &id) ? score_order(t->scores[id]) : NO_ORDER;
}

static void emit(struct encoding *enc, const char *text, size_t n)
{
    uint32_t id;
    if (vocab_find(enc->t, text, n, &id)) {
        encoding_emit(enc, (int32_t)id, text, n);
    } else {
        vocab_emit_bytes(enc, text, n);
    }
}

/* A byte that is not part of valid UTF-8 is a character by itself. */
static size_t char_length(const char *text, size_t n)
{
    uint32_t cp;
    size_t step = utf8_decode(text, n, &cp);
    return step ? step : 1;
}

static void merge_few(struct encoding *enc, const char *word, size_t n)
{
    const struct tokenizer *t = enc->t;
    uint32_t offsets[FEW_SYMBOLS + 1], orders[FEW_SYMBOLS], count = 0;
    for (size_t at = 0; at < n; at += char_length(word + at, n - at)) {
        offsets[count++] = (uint32_t)at;
    }
    offsets[count] = (uint32_t)n;
    for (uint32_t i = 0; i + 1 < count; i++) {
        orders[i] = order_of(t, word + offsets[i], offsets[i + 2] - offsets[i]);
    }
    for (;;) {
        uint32_t best = NO_ORDER, at = 0;
        for (uint32_t i = 0; i + 1 < count; i++) {
            if (orders[i] < best) {
                best = orders[i];
                at = i;
            }
        }
        enc->work += count;
        if (best == NO_ORDER) {
            break;
        }
        count--;
        for (uint32_t i = at + 1; i < count; i++) {
            offsets[i] = offsets[i + 1];
            orders[i - 1] = orders[i];
        }
        offsets[count] = offsets[count + 1];
        if (at > 0) {
            orders[at - 1] = order_of(t, word + offsets[at - 1], offsets[at + 1] - offsets[at - 1]);
        }
        if (at + 1 < count) {
            orders[at] = order_of(t, word + offsets[at], offsets[at + 2] - offsets[at]);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        emit(enc, word + offsets[i], offsets[i + 1] - offsets[i]);
    }
}

static void consider(struct encoding *enc, const char *word, uint32_t left)
{
    const struct symbol *symbols = enc->symbols;
    if (left == SYMBOL_NONE || symbols[left].next == SYMBOL_NONE) {
        return;
    }
    const struct symbol *a = &symbols[left], *b = &symbols[a->next];
    uint32_t len = a->len + b->len, order = order_of(enc->t, word + a->at, len);
    if (order != NO_ORDER) {
        candidate_push(enc, (struct merge_candidate){(uint64_t)order << 32 | left, len, 0});
    }
}

static bool merge_many(struct encoding *enc, const char *word, size_t n)
{
    if (!scratch_reserve(enc, n)) {
        return false;
    }
    struct symbol *symbols = enc->symbols;
    uint32_t count = 0;
    for (size_t at = 0; at < n; count++) {
        uint32_t len = (uint32_t)char_length(word + at, n - at);
        symbols[count] = (struct symbol){0, (uint32_t)at, len, count - 1, count + 1};
        at += len;
    }
    symbols[0].prev = SYMBOL_NONE;
    symbols[count - 1].next = SYMBOL_NONE;
    for (uint32_t i = 0; i + 1 < count; i++) {
        consider(enc, word, i);
    }
    struct merge_candidate c;
    while (candidate_pop(enc, &c)) {
        uint32_t left = (uint32_t)c.key;
        struct symbol *a = &symbols[left];
        if (a->len == 0 || a->next == SYMBOL_NONE || a->len + symbols[a->next].len != c.a) {
            continue; /* one of the two has changed since */
        }
        struct symbol *b = &symbols[a->next];
        a->len += b->len;
        b->len = 0;
        a->next = b->next;
        if (a->next != SYMBOL_NONE) {
            symbols[a->next].prev = left;
        }
        consider(enc, word, a->prev);
        consider(enc, word, left);
    }
    for (uint32_t i = 0; i != SYMBOL_NONE; i = symbols[i].next) {
        emit(enc, word + symbols[i].at, symbols[i].len);
    }
    return true;
}

/* By rules: a character that is no token is its bytes, each a symbol of its own. */
static bool merge_by_rules(struct encoding *enc, const char *word, size_t n)
{
    const struct tokenizer *t = enc->t;
    uint32_t count = 0, id;
    if (!scratch_reserve(enc, n)) {
        return false;
    }
    for (size_t at = 0; at < n;) {
        size_t len = char_length(word + at, n - at);
        bool whole = vocab_find(t, word + at, len, &id);
        for (size_t i = 0; !whole && i < len; i++) {
            id = (uint32_t)t->byte_ids[(uint8_t)word[at + i]];
            enc->symbols[count++] = (struct symbol){.id = id, .at = (uint32_t)(at + i), .len = 1};
        }
        if (whole) {
            enc->symbols[count++] =
                (struct symbol){.id = id, .at = (uint32_t)at, .len = (uint32_t)len};
        }
        at += len;
    }
    return rules_merge(enc, word, count);
}

static bool word_tokens(struct encoding *enc, const char *word, size_t n)
{
    if (enc->t->rules) {
        return merge_by_rules(enc, word, n);
    }
    if (n <= FEW_SYMBOLS) {
        merge_few(enc, word, n);
        return true;
    }
    return merge_many(enc, word, n);
}

static bool cut(struct encoding *enc, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t len = vocab_word_length(enc->t, text + at, n - at);
        if (!encode_word(enc, text + at, len)) {
            return false;
        }
        at += len;
    }
    return true;
}

static void build(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    t->scores = arena_alloc(t->arena, t->n_tokens * sizeof *t->scores);
    memcpy(t->scores, spec->scores, t->n_tokens * sizeof *t->scores);
    vocab_build_byte_ids(t);
    vocab_build_joints(t);
    if (spec->n_merges) {
        rules_build(t, spec);
    }
}

const struct family family_spm = {
    .model = "llama",
    .needs_scores = true,
    .spells_spaces = true,
    .marks_spaces = true,
    .bytes_by_name = true,
    .joins_unknown = true,
    .check = rules_check,
    .build = build,
    .cut = cut,
    .word = word_tokens,
};
