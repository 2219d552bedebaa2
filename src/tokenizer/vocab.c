/* vocab.c: from a vocabulary as data to a tokenizer; checks all that comes from outside. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

static const struct family *const families[] = {&family_spm, &family_bpe, &family_wordpiece,
                                                &family_unigram};

const struct family *family_find(const char *model)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i]->model, model) == 0) {
            return families[i];
        }
    }
    return NULL;
}

/* ---- checking ---- */

enum { MAX_SCORE = 1000000000 };

static bool check_id(int32_t id, size_t n_tokens, const char *what, struct error *e)
{
    if (id == TOKENIZER_NO_TOKEN || (id >= 0 && (size_t)id < n_tokens)) {
        return true;
    }
    return error_set(e, ERROR_INPUT,
                     "tokenizer.ggml.%s_token_id is %ld, but the vocabulary has %zu tokens", what,
                     (long)id, n_tokens);
}

/* Probabilities are added up: sums must stay numbers. */
static bool check_score(const struct tokenizer_spec *spec, const struct family *family, size_t i,
                        struct error *e)
{
    double score = (double)spec->scores[i];
    double exact = spec->exact_scores ? spec->exact_scores[i] : score;
    if (isnan(score) || isnan(exact)) {
        return error_set(e, ERROR_INPUT, "the score of token %zu is not a number", i);
    }
    if (family == &family_unigram && (fabs(score) > MAX_SCORE || fabs(exact) > MAX_SCORE)) {
        return error_set(e, ERROR_INPUT,
                         "the score of token %zu is %g, which is no logarithm of a probability", i,
                         score);
    }
    return true;
}

/* The byte of a spelling "<0xNN>"; -1 for others. */
static int byte_of_spelling(const struct gguf_string *s)
{
    int byte = 0;
    if (s->len != 6 || memcmp(s->data, "<0x", 3) != 0 || s->data[5] != '>') {
        return -1;
    }
    for (int i = 3; i < 5; i++) {
        char c = s->data[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        byte = byte * 16 + digit;
    }
    return byte;
}

/* A token that is a byte says which. In the other families the type means nothing, and early
 * converters gave it to tokens of one byte. */
static bool check_byte(const struct tokenizer_spec *spec, const struct family *family, size_t i,
                       struct error *e)
{
    if (!family->bytes_by_name || !spec->types || spec->types[i] != TOKEN_BYTE ||
        byte_of_spelling(&spec->tokens[i]) >= 0) {
        return true;
    }
    return error_set(e, ERROR_INPUT,
                     "token %zu is a byte by its type (tokenizer.ggml.token_type), and its "
                     "spelling is none of <0x00> to <0xFF>",
                     i);
}

static bool check_tokens(const struct tokenizer_spec *spec, const struct family *family,
                         struct error *e)
{
    for (size_t i = 0; i < spec->n_tokens; i++) {
        if (spec->tokens[i].len > TOKENIZER_MAX_SPELLING_BYTES) {
            return error_set(e, ERROR_LIMIT, "token %zu is longer than %d bytes", i,
                             TOKENIZER_MAX_SPELLING_BYTES);
        }
        if (family->needs_scores && !check_score(spec, family, i, e)) {
            return false;
        }
        if (spec->types && (spec->types[i] < 0 || spec->types[i] > TOKEN_BYTE)) {
            return error_set(e, ERROR_INPUT,
                             "token %zu has type %ld (tokenizer.ggml.token_type); 1 to 6 are known",
                             i, (long)spec->types[i]);
        }
        if (!check_byte(spec, family, i, e)) {
            return false;
        }
    }
    return true;
}

const struct family *vocab_check(const struct tokenizer_spec *spec, struct error *e)
{
    if (spec->n_tokens == 0 || spec->n_tokens > TOKENIZER_MAX_TOKENS) {
        error_set(e, ERROR_LIMIT, "a vocabulary has 1 to %d tokens, not %zu", TOKENIZER_MAX_TOKENS,
                  spec->n_tokens);
        return NULL;
    }
    const struct family *family = family_find(spec->model);
    if (!family) {
        error_set(e, ERROR_UNSUPPORTED,
                  "the tokenizer model \"%.40s\" (tokenizer.ggml.model) is not supported; "
                  "\"llama\", \"gpt2\", \"bert\" and \"t5\" are",
                  spec->model);
        return NULL;
    }
    if (family->needs_scores && !spec->scores) {
        error_set(e, ERROR_INPUT, "a \"%s\" vocabulary needs scores (tokenizer.ggml.scores)",
                  spec->model);
        return NULL;
    }
    for (enum token_role r = 0; r < N_TOKEN_ROLES; r++) {
        if (!check_id(spec->roles[r], spec->n_tokens, role_key(r), e)) {
            return NULL;
        }
    }
    bool ok = check_tokens(spec, family, e) && rewrite_check(spec, e) &&
              (!family->check || family->check(spec, e));
    return ok ? family : NULL;
}

/* ---- spellings, and what they stand for ---- */

/* What a normal token stands for; it is never longer than its spelling. */
static size_t normal_piece(bool spaces, const struct gguf_string *s, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < s->len;) {
        uint32_t cp = 0;
        size_t step = utf8_decode(s->data + i, s->len - i, &cp);
        int byte = !step ? -1 : spaces ? (cp == 0x2581 ? ' ' : -1) : bpe_byte_of(cp);
        step = step ? step : 1;
        if (byte >= 0) {
            out[len++] = (char)byte;
        } else {
            memcpy(out + len, s->data + i, step);
            len += step;
        }
        i += step;
    }
    return len;
}

size_t vocab_piece(const struct tokenizer *t, size_t id, char *out)
{
    struct gguf_string s = spelling_at(&t->spellings, id);
    if (t->flags[id] & TOKEN_IS_BYTE) {
        out[0] = (char)byte_of_spelling(&s);
        return 1;
    }
    if (t->flags[id] & TOKEN_IS_SPECIAL) {
        memcpy(out, s.data, s.len);
        return s.len;
    }
    return normal_piece(t->family->spells_spaces, &s, out);
}

static int32_t type_of(const struct tokenizer_spec *spec, size_t i)
{
    return spec->types && spec->types[i] ? spec->types[i] : TOKEN_NORMAL;
}

static uint8_t flags_of(const struct tokenizer_spec *spec, size_t i)
{
    switch (type_of(spec, i)) {
    case TOKEN_CONTROL:
        return TOKEN_IS_CONTROL | TOKEN_IS_HIDDEN | TOKEN_IS_SPECIAL;
    case TOKEN_UNKNOWN:
        return TOKEN_IS_HIDDEN | TOKEN_IS_SPECIAL;
    case TOKEN_BYTE:
        return byte_of_spelling(&spec->tokens[i]) >= 0 ? TOKEN_IS_BYTE : 0;
    case TOKEN_USER_DEFINED:
        if (!role_is_control_spelling(&spec->tokens[i])) {
            return TOKEN_IS_SPECIAL;
        }
        break;
    default:
        if (!role_is_control_spelling(&spec->tokens[i])) {
            return type_of(spec, i) == TOKEN_UNUSED ? TOKEN_IS_UNUSED : 0;
        }
    }
    return TOKEN_IS_CONTROL | TOKEN_IS_HIDDEN | TOKEN_IS_SPECIAL;
}

/* Tokens that no text becomes: published files have some (jina-embeddings-v2 an empty one, Gemma 4
 * three twice), so they are no reason to refuse a file, but worth a line. */
struct oddities {
    size_t n_empty, n_equal, first_empty, first_equal;
};

static void note_oddity(struct oddities *o, size_t i, bool empty)
{
    size_t *n = empty ? &o->n_empty : &o->n_equal;
    if ((*n)++ == 0) {
        *(empty ? &o->first_empty : &o->first_equal) = i;
    }
}

static void warn_of_oddities(const struct oddities *o)
{
    if (o->n_empty) {
        log_write(LOG_WARN,
                  "%zu token%s of the vocabulary %s empty (the first: token %zu): no "
                  "text becomes %s",
                  o->n_empty, o->n_empty > 1 ? "s" : "", o->n_empty > 1 ? "are" : "is",
                  o->first_empty, o->n_empty > 1 ? "them" : "it");
    }
    if (o->n_equal) {
        log_write(LOG_WARN,
                  "%zu token%s of the vocabulary %s the spelling of an earlier one (the "
                  "first: token %zu): no text becomes %s",
                  o->n_equal, o->n_equal > 1 ? "s" : "", o->n_equal > 1 ? "have" : "has",
                  o->first_equal, o->n_equal > 1 ? "them" : "it");
    }
}

static void copy_tokens(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    struct oddities odd = {0};
    size_t total = 0;
    uint64_t *at = arena_alloc(t->arena, (t->n_tokens + 1) * sizeof *at);
    for (size_t i = 0; i < t->n_tokens; i++) {
        at[i] = total;
        total += spec->tokens[i].len;
    }
    at[t->n_tokens] = total;
    char *text = arena_alloc(t->arena, total + 1);
    t->spellings = (struct spellings){text, at};
    t->flags = arena_alloc(t->arena, t->n_tokens);
    t->by_spelling = token_index_new(&t->spellings, t->n_tokens);
    for (size_t i = 0; i < t->n_tokens; i++) {
        const struct gguf_string *from = &spec->tokens[i];
        if (from->len) {
            memcpy(text + at[i], from->data, from->len);
        }
        t->flags[i] = flags_of(spec, i);
        if (vocab_is_mergeable(t, i)) {
            t->flags[i] |= utf8_valid(from->data, from->len, NULL) ? 0 : TOKEN_IS_ODD;
            t->max_mergeable_bytes =
                from->len > t->max_mergeable_bytes ? from->len : t->max_mergeable_bytes;
        }
        bool added = token_index_add(t->by_spelling, (uint32_t)i);
        if (!(t->flags[i] & TOKEN_IS_UNUSED) && (!added || from->len == 0)) {
            note_oddity(&odd, i, from->len == 0);
        }
    }
    warn_of_oddities(&odd);
}

/* BERT's files call its special tokens normal. */
static void mark_roles(struct tokenizer *t)
{
    static const enum token_role roles[] = {ROLE_BOS,       ROLE_EOS, ROLE_UNKNOWN, ROLE_PADDING,
                                            ROLE_SEPARATOR, ROLE_CLS, ROLE_MASK};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        int32_t id = t->roles[roles[i]];
        if (id != TOKENIZER_NO_TOKEN) {
            t->flags[id] |= TOKEN_IS_HIDDEN | TOKEN_IS_SPECIAL;
            t->flags[id] |= roles[i] == ROLE_UNKNOWN ? 0 : TOKEN_IS_CONTROL;
        }
    }
}

static void build_specials(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        n += (t->flags[i] & TOKEN_IS_SPECIAL) != 0;
    }
    struct special *list = mem_array(n, sizeof *list);
    n = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (t->flags[i] & TOKEN_IS_SPECIAL) {
            struct gguf_string s = spelling_at(&t->spellings, i);
            bool trust = t->flags[i] & TOKEN_IS_HIDDEN || role_looks_like_control(&s);
            list[n++] = (struct special){s.data, (int32_t)i, (uint16_t)s.len, trust,
                                         spec->attributes ? spec->attributes[i] : 0};
        }
    }
    t->specials = specials_new(list, n);
}

/* ---- what families share ---- */

void vocab_build_byte_ids(struct tokenizer *t)
{
    for (size_t i = t->n_tokens; i-- > 0;) {
        if (t->flags[i] & TOKEN_IS_BYTE) {
            struct gguf_string s = spelling_at(&t->spellings, i);
            t->byte_ids[byte_of_spelling(&s)] = (int32_t)i; /* of equal ones the first */
        }
    }
}

void vocab_build_trie(struct tokenizer *t)
{
    uint32_t *ids = mem_array(t->n_tokens, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (vocab_is_mergeable(t, i) && !(t->flags[i] & TOKEN_IS_UNUSED)) {
            ids[n++] = (uint32_t)i;
        }
    }
    t->trie = trie_new(&t->spellings, ids, n);
    free(ids);
}

enum { MARK = 0xFF }; /* no byte of UTF-8 */

static bool is_mark(const char *text, size_t n)
{
    return n >= 3 && memcmp(text, WORD_START, 3) == 0;
}

static void allow(struct joints *j, uint8_t last, uint8_t first)
{
    j->may[last][first / 8] |= (uint8_t)(1 << first % 8);
}

/* All places between two characters, as vocab_word_length meets them. Where a token is not valid
 * UTF-8 nobody knows how it lies in a text, and all places between its bytes count. */
static void allow_within(struct joints *j, const char *text, size_t n, bool valid)
{
    for (size_t at = 1; at < n; at++) {
        bool before = at >= 3 && is_mark(text + at - 3, 3), after = is_mark(text + at, n - at);
        uint8_t last = (uint8_t)text[at - 1], first = (uint8_t)text[at];
        if (valid && (first & 0xC0) == 0x80) {
            continue;
        }
        allow(j, before ? MARK : last, after ? MARK : first);
        if (!valid) {
            allow(j, last, first);
            allow(j, last, after ? MARK : first);
            allow(j, before ? MARK : last, first);
        }
    }
}

void vocab_build_joints(struct tokenizer *t)
{
    t->joints = arena_alloc(t->arena, sizeof *t->joints);
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (vocab_is_mergeable(t, i)) {
            struct gguf_string s = spelling_at(&t->spellings, i);
            allow_within(t->joints, s.data, s.len, !(t->flags[i] & TOKEN_IS_ODD));
        }
    }
}

size_t vocab_word_length(const struct tokenizer *t, const char *text, size_t n)
{
    for (size_t at = 0;;) {
        uint8_t last = MARK;
        if (is_mark(text + at, n - at)) {
            at += 3;
        } else {
            do {
                at++;
            } while (at < n && ((uint8_t)text[at] & 0xC0) == 0x80);
            last = (uint8_t)text[at - 1];
        }
        if (at >= n) {
            return n;
        }
        uint8_t first = is_mark(text + at, n - at) ? MARK : (uint8_t)text[at];
        if (!(t->joints->may[last][first / 8] >> first % 8 & 1)) {
            return at;
        }
    }
}

void vocab_emit_bytes(struct encoding *enc, const char *text, size_t n)
{
    const struct tokenizer *t = enc->t;
    /* A vocabulary without the mark still has its space. */
    if (is_mark(text, n) && n == 3 && t->byte_ids[' '] != TOKENIZER_NO_TOKEN) {
        encoding_emit(enc, t->byte_ids[' '], text, n);
        return;
    }
    bool unknown = false;
    for (size_t i = 0; i < n; i++) {
        int32_t byte = t->byte_ids[(uint8_t)text[i]];
        if (byte != TOKENIZER_NO_TOKEN) {
            encoding_emit(enc, byte, text + i, 1);
        } else {
            unknown = true;
        }
    }
    if (unknown) {
        encoding_emit(enc, t->roles[ROLE_UNKNOWN], text, n);
    }
}

/* ---- making a tokenizer ---- */

static void copy_switches(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    memcpy(t->roles, spec->roles, sizeof t->roles);
    t->add_bos = spec->add_bos && t->roles[ROLE_BOS] != TOKENIZER_NO_TOKEN;
    t->add_eos = spec->add_eos && t->roles[ROLE_EOS] != TOKENIZER_NO_TOKEN;
    t->add_separator = spec->add_separator;
    t->add_space_prefix = spec->add_space_prefix;
    t->space_prefix_first_only = spec->space_prefix_first_only;
    t->space_prefix_unless_space = spec->space_prefix_unless_space;
    t->remove_extra_whitespaces = spec->remove_extra_whitespaces;
    t->whitespace_suffix = spec->whitespace_suffix;
    t->float_sums = spec->float_sums;
    t->changes = spec->changes ? spec->changes : t->pre ? pre_changes(t->pre) : CHANGE_NOTHING;
    if (spec->charsmap) {
        t->charsmap = arena_alloc(t->arena, spec->charsmap_bytes);
        memcpy(t->charsmap, spec->charsmap, spec->charsmap_bytes);
        t->charsmap_bytes = spec->charsmap_bytes;
    }
}

struct tokenizer *tokenizer_new(const struct tokenizer_spec *spec, struct error *e)
{
    const struct family *family = vocab_check(spec, e);
    if (!family) {
        return NULL;
    }
    struct pre *pre = NULL;
    if (family == &family_bpe) {
        pre = pre_new(spec->pre ? spec->pre : "", spec->pre ? strlen(spec->pre) : 0, e);
        if (!pre) {
            return NULL;
        }
    }
    struct tokenizer *t = mem_zalloc(sizeof *t);
    t->arena = arena_new();
    t->family = family;
    t->pre = pre;
    t->n_tokens = spec->n_tokens;
    for (size_t b = 0; b < 256; b++) {
        t->byte_ids[b] = TOKENIZER_NO_TOKEN;
    }
    copy_switches(t, spec);
    copy_tokens(t, spec);
    if (family == &family_wordpiece) {
        mark_roles(t);
    }
    build_specials(t, spec);
    family->build(t, spec);
    roles_complete(t);
    for (size_t i = 0; spec->attributes && i < t->n_tokens; i++) {
        t->flags[i] |= spec->attributes[i] & TOKEN_ENDS_ANSWER ? TOKEN_IS_END : 0;
    }
    return t;
}

void tokenizer_free(struct tokenizer *t)
{
    if (t) {
        pre_free(t->pre);
        trie_free(t->trie);
        specials_free(t->specials);
        token_index_free(t->by_spelling);
        arena_free(t->arena);
        free(t);
    }
}
