/* tokenizer.c: encoding, decoding and questions about a vocabulary. */
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

void token_list_add(struct token_list *l, int32_t id)
{
    if (l->n == l->capacity) {
        l->capacity = l->capacity ? l->capacity + l->capacity / 2 : 64;
        l->ids = mem_resize(l->ids, l->capacity * sizeof *l->ids);
    }
    l->ids[l->n++] = id;
}

void token_list_free(struct token_list *l)
{
    free(l->ids);
    *l = (struct token_list){0};
}

void span_list_free(struct span_list *l)
{
    free(l->spans);
    *l = (struct span_list){0};
}

/* text[0..n), which begins at byte `base` of the caller's. */
static bool encode_piece(struct encoding *enc, const char *text, size_t n, size_t base)
{
    if (n == 0) {
        return true;
    }
    size_t len;
    enc->base = base;
    enc->first = base == 0;
    enc->n_before = enc->out->n;
    return rewrite_text(enc, text, n, &len) &&
           (len == 0 || enc->t->family->cut(enc, enc->text, len));
}

static void add_special(struct encoding *enc, const struct special_match *m)
{
    token_list_add(enc->out, m->id);
    if (enc->spans) {
        span_list_add(enc->spans, (struct token_span){m->at, m->at + m->len});
    }
}

static bool encode_all(struct encoding *enc, const char *text, size_t n, const uint8_t *trusted)
{
    if (n > TOKENIZER_MAX_TEXT_BYTES) {
        return error_set(enc->e, ERROR_LIMIT,
                         "a text of %zu bytes is longer than what is tokenized at once (%d bytes); "
                         "split it",
                         n, TOKENIZER_MAX_TEXT_BYTES);
    }
    struct special_match *matches;
    size_t n_matches, done = 0, n_before = enc->out->n;
    size_t n_spans = enc->spans ? enc->spans->n : 0;
    if (!specials_find(enc->t->specials, text, n, trusted, &matches, &n_matches, &enc->work,
                       enc->e)) {
        return false;
    }
    words_begin(enc, n);
    bool ok = true;
    for (size_t i = 0; ok && i < n_matches; i++) {
        ok = encode_piece(enc, text + done, matches[i].at - done, done);
        add_special(enc, &matches[i]);
        done = matches[i].at + matches[i].len;
    }
    ok = ok && encode_piece(enc, text + done, n - done, done);
    if (!ok) {
        enc->out->n = n_before;
    }
    if (!ok && enc->spans) {
        enc->spans->n = n_spans;
    }
    scratch_free(enc);
    free(matches);
    return ok;
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, const uint8_t *trusted,
                      struct token_list *out, struct error *e)
{
    struct encoding enc = {.t = t, .out = out, .e = e};
    return encode_all(&enc, text, n, trusted);
}

bool tokenizer_encode_spans(const struct tokenizer *t, const char *text, size_t n,
                            const uint8_t *trusted, struct token_list *out, struct span_list *spans,
                            struct error *e)
{
    struct encoding enc = {.t = t, .out = out, .spans = spans, .e = e};
    return encode_all(&enc, text, n, trusted);
}

bool tokenizer_encode_counted(const struct tokenizer *t, const char *text, size_t n,
                              struct token_list *out, uint64_t *work, struct error *e)
{
    struct encoding enc = {.t = t, .out = out, .e = e};
    bool ok = encode_all(&enc, text, n, NULL);
    *work = enc.work;
    return ok;
}

static bool has_id(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->n_tokens;
}

void tokenizer_append_piece(const struct tokenizer *t, int32_t id, bool show_control,
                            struct buf *out)
{
    if (has_id(t, id) && (show_control || !(t->flags[id] & TOKEN_IS_HIDDEN))) {
        char piece[TOKENIZER_MAX_SPELLING_BYTES];
        buf_append(out, piece, vocab_piece(t, (size_t)id, piece));
    }
}

void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool show_control,
                      struct buf *out)
{
    bool adds_prefix = t->family == &family_wordpiece ||
                       (t->family->marks_spaces && t->add_space_prefix && !t->whitespace_suffix);
    bool prefixed = adds_prefix;
    for (size_t i = 0; i < n; i++) {
        if (!has_id(t, ids[i])) {
            continue;
        }
        if (t->flags[ids[i]] & TOKEN_IS_SPECIAL) {
            tokenizer_append_piece(t, ids[i], show_control, out);
            prefixed = adds_prefix && !t->space_prefix_first_only;
            continue;
        }
        char piece[TOKENIZER_MAX_SPELLING_BYTES];
        size_t len = vocab_piece(t, (size_t)ids[i], piece);
        size_t skip = prefixed && len && piece[0] == ' ';
        buf_append(out, piece + skip, len - skip);
        prefixed = false;
    }
}

size_t tokenizer_count(const struct tokenizer *t)
{
    return t->n_tokens;
}

int32_t tokenizer_role(const struct tokenizer *t, enum token_role role)
{
    return t->roles[role];
}

int32_t tokenizer_first(const struct tokenizer *t)
{
    if (t->family == &family_wordpiece) {
        return t->roles[ROLE_CLS] != TOKENIZER_NO_TOKEN ? t->roles[ROLE_CLS] : t->roles[ROLE_BOS];
    }
    return t->add_bos ? t->roles[ROLE_BOS] : TOKENIZER_NO_TOKEN;
}

int32_t tokenizer_last(const struct tokenizer *t)
{
    if (t->family == &family_wordpiece || t->add_separator) {
        return t->roles[ROLE_SEPARATOR] != TOKENIZER_NO_TOKEN ? t->roles[ROLE_SEPARATOR]
                                                              : t->roles[ROLE_EOS];
    }
    return t->add_eos ? t->roles[ROLE_EOS] : TOKENIZER_NO_TOKEN;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->roles[ROLE_BOS];
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->roles[ROLE_EOS];
}

bool tokenizer_add_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

bool tokenizer_is_control(const struct tokenizer *t, int32_t id)
{
    return has_id(t, id) && (t->flags[id] & TOKEN_IS_CONTROL);
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id)
{
    return has_id(t, id) && (t->flags[id] & TOKEN_IS_END);
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n)
{
    uint32_t id;
    return token_index_find(t->by_spelling, text, n, &id) ? (int32_t)id : TOKENIZER_NO_TOKEN;
}

struct gguf_string tokenizer_spelling(const struct tokenizer *t, int32_t id)
{
    return has_id(t, id) ? spelling_at(&t->spellings, (size_t)id) : (struct gguf_string){"", 0};
}

const char *tokenizer_model_name(const struct tokenizer *t)
{
    return t->family->model;
}
