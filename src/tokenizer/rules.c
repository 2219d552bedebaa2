/* rules.c: merging by rank (Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words
 * with Subword Units", 2016): of all neighbours for which there is a rule, the pair with the
 * earliest rule is joined, the leftmost first, until there is none.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

#define NO_RULE    UINT32_MAX
#define RANK_BITS  22
#define RANK_MASK  ((UINT64_C(1) << RANK_BITS) - 1)
#define EMPTY_RULE UINT64_MAX

/* Ids have 21 bits, so that a pair and its rank fit in 64 (TOKENIZER_MAX_TOKENS and _MERGES). */
static inline uint64_t pair_of(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 21 | right;
}

static inline size_t rule_slot(const struct tokenizer *t, uint64_t pair)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return (size_t)(h >> t->rule_shift);
}

static inline uint32_t find_rank(const struct tokenizer *t, uint32_t left, uint32_t right)
{
    if (left == SYMBOL_NONE || right == SYMBOL_NONE) {
        return NO_RULE;
    }
    uint64_t pair = pair_of(left, right);
    size_t mask = ((size_t)1 << (64 - t->rule_shift)) - 1;
    for (size_t i = rule_slot(t, pair);; i = (i + 1) & mask) {
        uint64_t rule = t->rules[i];
        if (rule >> RANK_BITS == pair) {
            return (uint32_t)(rule & RANK_MASK);
        }
        if (rule == EMPTY_RULE) {
            return NO_RULE;
        }
    }
}

/* ---- building ---- */

/* Where "left right" is cut: at the first space that leaves something before it. */
static bool cut_merge(const struct gguf_string *m, size_t *cut)
{
    const char *space = m->len > 2 ? memchr(m->data + 1, ' ', m->len - 2) : NULL;
    if (space) {
        *cut = (size_t)(space - m->data);
    }
    return space != NULL;
}

bool rules_check(const struct tokenizer_spec *spec, struct error *e)
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
    return token_index_find(t->by_spelling, spelling, n, id) && vocab_is_mergeable(t, *id);
}

/* Whether the bytes of the whole are those of its parts. They are where its spelling is, unless a
 * part's spelling ends within a character. */
static bool is_joined(const struct tokenizer *t, uint32_t left, uint32_t right, uint32_t whole)
{
    char parts[2 * TOKENIZER_MAX_SPELLING_BYTES], joined[TOKENIZER_MAX_SPELLING_BYTES];
    size_t n = vocab_piece(t, left, parts);
    n += vocab_piece(t, right, parts + n);
    return vocab_piece(t, whole, joined) == n && memcmp(parts, joined, n) == 0;
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
    bool odd = (t->flags[left] | t->flags[right]) & TOKEN_IS_ODD;
    if ((odd && !is_joined(t, left, right, result)) ||
        find_rank(t, left, right) != NO_RULE) { /* of equal rules the first counts */
        return;
    }
    uint64_t pair = pair_of(left, right);
    size_t mask = ((size_t)1 << (64 - t->rule_shift)) - 1, i = rule_slot(t, pair);
    while (t->rules[i] != EMPTY_RULE) {
        i = (i + 1) & mask;
    }
    t->rules[i] = pair << RANK_BITS | rank;
    t->rule_results[rank] = (int32_t)result;
}

void rules_build(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    unsigned log2 = 4;
    while ((size_t)1 << log2 < spec->n_merges * 2) {
        log2++;
    }
    t->rule_shift = 64 - log2;
    t->rules = arena_alloc(t->arena, sizeof *t->rules << log2);
    t->rule_results = arena_alloc(t->arena, (spec->n_merges + 1) * sizeof *t->rule_results);
    memset(t->rules, 0xFF, sizeof *t->rules << log2);
    char *whole = mem_alloc(2 * TOKENIZER_MAX_SPELLING_BYTES + 1);
    for (size_t i = 0; i < spec->n_merges; i++) {
        add_rule(t, &spec->merges[i], (uint32_t)i, whole);
    }
    free(whole);
}

/* ---- merging ---- */

static void emit(struct encoding *enc, uint32_t id, const char *text, size_t n)
{
    if (id == SYMBOL_NONE) {
        encoding_emit(enc, enc->t->roles[ROLE_UNKNOWN], text, n);
    } else {
        encoding_emit(enc, (int32_t)id, text, n);
    }
}

void rules_merge_few(struct encoding *enc, const char *word, uint32_t *ids, uint32_t *offsets,
                     uint32_t n)
{
    const struct tokenizer *t = enc->t;
    uint32_t ranks[RULES_FEW]; /* ranks[i] is that of symbols i and i + 1 */
    for (uint32_t i = 0; i + 1 < n; i++) {
        ranks[i] = find_rank(t, ids[i], ids[i + 1]);
    }
    for (;;) {
        uint32_t best = NO_RULE, at = 0;
        for (uint32_t i = 0; i + 1 < n; i++) {
            if (ranks[i] < best) {
                best = ranks[i];
                at = i;
            }
        }
        enc->work += n;
        if (best == NO_RULE) {
            break;
        }
        ids[at] = (uint32_t)t->rule_results[best];
        n--;
        for (uint32_t i = at + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            offsets[i] = offsets[i + 1];
            ranks[i - 1] = ranks[i];
        }
        offsets[n] = offsets[n + 1];
        if (at > 0) {
            ranks[at - 1] = find_rank(t, ids[at - 1], ids[at]);
        }
        if (at + 1 < n) {
            ranks[at] = find_rank(t, ids[at], ids[at + 1]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        emit(enc, ids[i], word + offsets[i], offsets[i + 1] - offsets[i]);
    }
}

static void consider(struct encoding *enc, uint32_t left)
{
    const struct symbol *symbols = enc->symbols;
    if (left == SYMBOL_NONE || symbols[left].next == SYMBOL_NONE) {
        return;
    }
    uint32_t a = symbols[left].id, b = symbols[symbols[left].next].id;
    uint32_t rank = find_rank(enc->t, a, b);
    if (rank != NO_RULE) {
        candidate_push(enc, (struct merge_candidate){(uint64_t)rank << 32 | left, a, b});
    }
}

bool rules_merge(struct encoding *enc, const char *word, uint32_t n)
{
    struct symbol *symbols = enc->symbols;
    for (uint32_t i = 0; i < n; i++) {
        symbols[i].prev = i - 1;
        symbols[i].next = i + 1;
    }
    symbols[0].prev = SYMBOL_NONE;
    symbols[n - 1].next = SYMBOL_NONE;
    for (uint32_t i = 0; i + 1 < n; i++) {
        consider(enc, i);
    }
    struct merge_candidate c;
    while (candidate_pop(enc, &c)) {
        uint32_t left = (uint32_t)c.key;
        struct symbol *a = &symbols[left];
        if (a->len == 0 || a->next == SYMBOL_NONE || a->id != c.a || symbols[a->next].id != c.b) {
            continue; /* one of the two has changed since */
        }
        struct symbol *b = &symbols[a->next];
        a->id = (uint32_t)enc->t->rule_results[c.key >> 32];
        a->len += b->len;
        b->len = 0;
        a->next = b->next;
        if (a->next != SYMBOL_NONE) {
            symbols[a->next].prev = left;
        }
        consider(enc, a->prev);
        consider(enc, left);
    }
    for (uint32_t i = 0; i != SYMBOL_NONE; i = symbols[i].next) {
        emit(enc, symbols[i].id, word + symbols[i].at, symbols[i].len);
    }
    return true;
}
