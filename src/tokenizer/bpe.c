/* bpe.c: byte-level BPE (Radford et al., "Language Models are Unsupervised Multitask Learners",
 * 2019): the bytes of a word are joined pair by pair, the pair of the earliest rule first.
 *
 * Vocabularies spell bytes as printable characters: '!'..'~', U+00A1..U+00AC and U+00AE..U+00FF are
 * themselves; the other 68 bytes are, in order, U+0100..U+0143.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

static bool prints_as_itself(uint32_t b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

/* Bytes below b that do not print as themselves. */
static uint32_t hidden_before(uint32_t b)
{
    if (b <= 0x20) {
        return b;
    }
    if (b <= 0xA0) {
        return b <= 0x7F ? 0x21 : b - 0x7F + 0x21;
    }
    return 67;
}

size_t bpe_byte_spelling(uint8_t byte, char out[4])
{
    return utf8_encode(prints_as_itself(byte) ? byte : 0x100 + hidden_before(byte), out);
}

int bpe_byte_of(uint32_t cp)
{
    if (cp < 0x100) {
        return prints_as_itself(cp) ? (int)cp : -1;
    }
    if (cp > 0x143) {
        return -1;
    }
    uint32_t i = cp - 0x100;
    return (int)(i <= 0x20 ? i : i < 67 ? 0x7F + i - 0x21 : 0xAD);
}

/* ---- the table of rules ---- */

static size_t rule_slot(const struct tokenizer *t, uint64_t pair)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    size_t i = (size_t)(h >> 20) & t->rule_mask;
    while (t->rules[i].pair != pair && t->rules[i].pair != UINT64_MAX) {
        i = (i + 1) & t->rule_mask;
    }
    return i;
}

static const struct merge_rule *find_rule(const struct tokenizer *t, uint32_t left, uint32_t right)
{
    if (left == SYMBOL_NONE || right == SYMBOL_NONE) {
        return NULL; /* a byte without a token */
    }
    const struct merge_rule *r = &t->rules[rule_slot(t, (uint64_t)left << 32 | right)];
    return r->pair == UINT64_MAX ? NULL : r;
}

/* Where "left right" is cut: at the first space that leaves something before it. */
static bool cut_merge(const struct gguf_string *m, size_t *cut)
{
    const char *space = m->len > 2 ? memchr(m->data + 1, ' ', m->len - 2) : NULL;
    if (space) {
        *cut = (size_t)(space - m->data);
    }
    return space != NULL;
}

bool bpe_check_merges(const struct tokenizer_spec *spec, struct error *e)
{
    if (spec->n_merges > TOKENIZER_MAX_MERGES) {
        return error_set(e, ERROR_LIMIT, "the vocabulary has %zu merges; at most %d are allowed",
                         spec->n_merges, TOKENIZER_MAX_MERGES);
    }
    for (size_t i = 0; i < spec->n_merges; i++) {
        size_t cut;
        if (spec->merges[i].len > 2 * TOKENIZER_MAX_SPELLING_BYTES + 1 ||
            !cut_merge(&spec->merges[i], &cut)) {
            return error_set(e, ERROR_INPUT,
                             "merge %zu of the vocabulary (tokenizer.ggml.merges) is not two "
                             "spellings with a space between them",
                             i);
        }
    }
    return true;
}

static bool can_merge(const struct tokenizer *t, const char *spelling, size_t n, uint32_t *id)
{
    return strmap_get(t->by_spelling, spelling, n, id) && !(t->flags[*id] & TOKEN_IS_SPECIAL);
}

/* A rule counts where both parts and the whole are normal tokens and the whole's bytes are those of
 * the parts (T2, T3); others could never be followed and are left out. */
static void add_rule(struct tokenizer *t, const struct gguf_string *m, uint32_t rank, char *whole)
{
    size_t cut = 0;
    uint32_t left, right, result;
    if (!cut_merge(m, &cut)) {
        return;
    }
    memcpy(whole, m->data, cut);
    memcpy(whole + cut, m->data + cut + 1, m->len - cut - 1);
    if (!can_merge(t, m->data, cut, &left) ||
        !can_merge(t, m->data + cut + 1, m->len - cut - 1, &right) ||
        !can_merge(t, whole, m->len - 1, &result)) {
        return;
    }
    const struct gguf_string *l = &t->pieces[left], *r = &t->pieces[right];
    const struct gguf_string *w = &t->pieces[result];
    if (w->len != l->len + r->len || memcmp(w->data, l->data, l->len) != 0 ||
        memcmp(w->data + l->len, r->data, r->len) != 0) {
        return;
    }
    struct merge_rule *rule = &t->rules[rule_slot(t, (uint64_t)left << 32 | right)];
    if (rule->pair == UINT64_MAX) { /* of equal rules the first */
        *rule = (struct merge_rule){(uint64_t)left << 32 | right, rank, (int32_t)result};
    }
}

void bpe_build(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    for (uint32_t b = 0; b < 256; b++) {
        char spelling[4];
        uint32_t id;
        size_t n = bpe_byte_spelling((uint8_t)b, spelling);
        if (can_merge(t, spelling, n, &id)) {
            t->byte_ids[b] = (int32_t)id;
        }
    }
    size_t size = 16;
    while (size < spec->n_merges * 2) {
        size *= 2;
    }
    t->rules = arena_alloc(t->arena, size * sizeof *t->rules);
    t->rule_mask = size - 1;
    for (size_t i = 0; i < size; i++) {
        t->rules[i].pair = UINT64_MAX;
    }
    char *whole = mem_alloc(2 * TOKENIZER_MAX_SPELLING_BYTES + 1);
    for (size_t i = 0; i < spec->n_merges; i++) {
        add_rule(t, &spec->merges[i], (uint32_t)i, whole);
    }
    free(whole);
}

/* ---- encoding ---- */

struct bpe_run {
    const struct tokenizer *t;
    struct encode_scratch *scratch;
    struct token_list *out;
    struct error *e;
};

static void consider(const struct bpe_run *run, uint32_t left)
{
    struct encode_scratch *s = run->scratch;
    if (left == SYMBOL_NONE || s->symbols[left].next == SYMBOL_NONE) {
        return;
    }
    uint32_t a = s->symbols[left].at, b = s->symbols[s->symbols[left].next].at;
    const struct merge_rule *rule = find_rule(run->t, a, b);
    if (rule) {
        candidate_push(s, (struct merge_candidate){(uint64_t)rule->rank << 32 | left, a, b});
    }
}

static void emit(const struct bpe_run *run, uint32_t id)
{
    int32_t shown = id == SYMBOL_NONE ? run->t->unknown : (int32_t)id;
    if (shown != TOKENIZER_NO_TOKEN) {
        token_list_add(run->out, shown);
    }
}

static bool encode_word(void *context, const char *word, size_t n)
{
    struct bpe_run *run = context;
    const struct tokenizer *t = run->t;
    struct encode_scratch *s = run->scratch;
    uint32_t id;
    if (n == 1) {
        emit(run, (uint32_t)t->byte_ids[(uint8_t)word[0]]);
        return true;
    }
    if (t->mergeable && n <= t->max_mergeable_bytes && strmap_get(t->mergeable, word, n, &id)) {
        token_list_add(run->out, (int32_t)id);
        return true;
    }
    if (!scratch_reserve(s, n, run->e)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->symbols[i] = (struct symbol){(uint32_t)t->byte_ids[(uint8_t)word[i]], 1, i - 1, i + 1};
    }
    s->symbols[0].prev = SYMBOL_NONE;
    s->symbols[n - 1].next = SYMBOL_NONE;
    for (uint32_t i = 0; i + 1 < n; i++) {
        consider(run, i);
    }
    struct merge_candidate c;
    while (candidate_pop(s, &c)) {
        uint32_t left = (uint32_t)c.key;
        struct symbol *a = &s->symbols[left];
        if (a->len == 0 || a->next == SYMBOL_NONE || a->at != c.a ||
            s->symbols[a->next].at != c.b) {
            continue; /* one of the two has changed since */
        }
        struct symbol *b = &s->symbols[a->next];
        a->at = (uint32_t)find_rule(t, c.a, c.b)->result;
        b->len = 0;
        a->next = b->next;
        if (a->next != SYMBOL_NONE) {
            s->symbols[a->next].prev = left;
        }
        consider(run, a->prev);
        consider(run, left);
    }
    for (uint32_t i = 0; i != SYMBOL_NONE; i = s->symbols[i].next) {
        emit(run, s->symbols[i].at);
    }
    return true;
}

bool bpe_encode(const struct tokenizer *t, struct encode_scratch *s, const char *text, size_t n,
                struct token_list *out, struct error *e)
{
    struct bpe_run run = {t, s, out, e};
    return pre_split(t->pre, text, n, encode_word, &run, e);
}
