/* spm.c: SentencePiece BPE (Kudo and Richardson, 2018): the neighbouring pieces whose joint
 * spelling has the best score are joined first, until no joint spelling is in the vocabulary. What
 * is then not in the vocabulary becomes byte tokens.
 */
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

static const char WORD_START[] = "\xE2\x96\x81"; /* U+2581, which stands for a space */

/* Smaller is better: an order-preserving map of the score's bits, turned round. NaN does not occur.
 */
static uint32_t score_order(float score)
{
    score += 0.0f; /* -0 is 0 */
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : 0x7FFFFFFFu - bits;
}

static void consider(const struct tokenizer *t, struct encode_scratch *s, uint32_t left)
{
    if (left == SYMBOL_NONE || s->symbols[left].next == SYMBOL_NONE) {
        return;
    }
    const struct symbol *a = &s->symbols[left], *b = &s->symbols[a->next];
    uint32_t len = a->len + b->len, id;
    if (len > t->max_mergeable_bytes || !strmap_get(t->mergeable, s->text + a->at, len, &id)) {
        return;
    }
    candidate_push(
        s, (struct merge_candidate){(uint64_t)score_order(t->scores[id]) << 32 | left, len, 0});
}

static void emit(const struct tokenizer *t, const char *text, size_t n, struct token_list *out)
{
    uint32_t id;
    if (n <= t->max_mergeable_bytes && strmap_get(t->mergeable, text, n, &id)) {
        token_list_add(out, (int32_t)id);
        return;
    }
    /* A vocabulary without the mark still has its space. */
    bool mark = n == 3 && memcmp(text, WORD_START, 3) == 0;
    if (mark && t->byte_ids[' '] != TOKENIZER_NO_TOKEN) {
        token_list_add(out, t->byte_ids[' ']);
        return;
    }
    bool unknown = false;
    for (size_t i = 0; i < n; i++) {
        int32_t byte = t->byte_ids[(uint8_t)text[i]];
        if (byte != TOKENIZER_NO_TOKEN) {
            token_list_add(out, byte);
        } else {
            unknown = true;
        }
    }
    if (unknown && t->unknown != TOKENIZER_NO_TOKEN) {
        token_list_add(out, t->unknown);
    }
}

/* Copies text with its spaces as marks, a mark in front where prefix says so. */
static bool escape(struct encode_scratch *s, const char *text, size_t n, bool prefix, size_t *len,
                   struct error *e)
{
    size_t n_spaces = prefix ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        n_spaces += text[i] == ' ';
    }
    if (!scratch_reserve_text(s, n + 3 * n_spaces, e)) {
        return false;
    }
    char *to = s->text;
    if (prefix) {
        memcpy(to, WORD_START, 3);
        to += 3;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(to, WORD_START, 3);
            to += 3;
        } else {
            *to++ = text[i];
        }
    }
    *len = (size_t)(to - s->text);
    return true;
}

/* One symbol per character; a byte that is not part of valid UTF-8 is one by itself. */
static size_t count_symbols(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; count++) {
        uint32_t cp;
        size_t step = utf8_decode(text + i, n - i, &cp);
        i += step ? step : 1;
    }
    return count;
}

static uint32_t fill_symbols(struct encode_scratch *s, size_t n)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; count++) {
        uint32_t cp;
        size_t step = utf8_decode(s->text + i, n - i, &cp);
        step = step ? step : 1;
        s->symbols[count] = (struct symbol){(uint32_t)i, (uint32_t)step, count - 1, count + 1};
        i += step;
    }
    s->symbols[0].prev = SYMBOL_NONE;
    s->symbols[count - 1].next = SYMBOL_NONE;
    return count;
}

bool spm_encode(const struct tokenizer *t, struct encode_scratch *s, const char *text, size_t n,
                bool prefix, struct token_list *out, struct error *e)
{
    size_t len;
    if (n == 0) {
        return true;
    }
    if (!escape(s, text, n, prefix, &len, e) ||
        !scratch_reserve(s, count_symbols(s->text, len), e)) {
        return false;
    }
    uint32_t count = fill_symbols(s, len);
    for (uint32_t i = 0; i + 1 < count; i++) {
        consider(t, s, i);
    }
    struct merge_candidate c;
    while (candidate_pop(s, &c)) {
        uint32_t left = (uint32_t)c.key;
        struct symbol *a = &s->symbols[left];
        if (a->len == 0 || a->next == SYMBOL_NONE || a->len + s->symbols[a->next].len != c.a) {
            continue; /* one of the two has changed since */
        }
        struct symbol *b = &s->symbols[a->next];
        a->len += b->len;
        b->len = 0;
        a->next = b->next;
        if (a->next != SYMBOL_NONE) {
            s->symbols[a->next].prev = left;
        }
        consider(t, s, a->prev);
        consider(t, s, left);
    }
    for (uint32_t i = 0; i != SYMBOL_NONE; i = s->symbols[i].next) {
        emit(t, s->text + s->symbols[i].at, s->symbols[i].len, out);
    }
    return true;
}
