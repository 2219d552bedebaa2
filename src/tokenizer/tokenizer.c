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

static bool encode_fragment(const struct tokenizer *t, struct encode_scratch *s, const char *text,
                            size_t n, struct token_list *out, struct error *e)
{
    if (n == 0) {
        return true;
    }
    return t->spm ? spm_encode(t, s, text, n, t->add_space_prefix, out, e)
                  : bpe_encode(t, s, text, n, out, e);
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, const uint8_t *trusted,
                      struct token_list *out, struct error *e)
{
    if (n > TOKENIZER_MAX_TEXT_BYTES) {
        return error_set(e, ERROR_LIMIT,
                         "a text of %zu bytes is longer than what is tokenized at once (%d bytes); "
                         "split it",
                         n, TOKENIZER_MAX_TEXT_BYTES);
    }
    struct special_match *matches;
    size_t n_matches, done = 0, n_before = out->n;
    if (!specials_find(t->specials, text, n, trusted, &matches, &n_matches, e)) {
        return false;
    }
    struct encode_scratch scratch = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < n_matches; i++) {
        ok = encode_fragment(t, &scratch, text + done, matches[i].at - done, out, e);
        token_list_add(out, matches[i].id);
        done = matches[i].at + matches[i].len;
    }
    ok = ok && encode_fragment(t, &scratch, text + done, n - done, out, e);
    if (!ok) {
        out->n = n_before;
    }
    scratch_free(&scratch);
    free(matches);
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
        buf_append(out, t->pieces[id].data, t->pieces[id].len);
    }
}

void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool show_control,
                      struct buf *out)
{
    bool adds_prefix = t->spm && t->add_space_prefix, prefixed = adds_prefix;
    for (size_t i = 0; i < n; i++) {
        if (!has_id(t, ids[i])) {
            continue;
        }
        const struct gguf_string *piece = &t->pieces[ids[i]];
        if (t->flags[ids[i]] & TOKEN_IS_SPECIAL) {
            tokenizer_append_piece(t, ids[i], show_control, out);
            prefixed = adds_prefix;
            continue;
        }
        size_t skip = prefixed && piece->len && piece->data[0] == ' ';
        buf_append(out, piece->data + skip, piece->len - skip);
        prefixed = false;
    }
}

size_t tokenizer_count(const struct tokenizer *t)
{
    return t->n_tokens;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

bool tokenizer_add_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

bool tokenizer_add_eos(const struct tokenizer *t)
{
    return t->add_eos;
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
    return strmap_get(t->by_spelling, text, n, &id) ? (int32_t)id : TOKENIZER_NO_TOKEN;
}

struct gguf_string tokenizer_spelling(const struct tokenizer *t, int32_t id)
{
    return has_id(t, id) ? t->spellings[id] : (struct gguf_string){"", 0};
}

const char *tokenizer_model_name(const struct tokenizer *t)
{
    return t->spm ? "llama" : "gpt2";
}
