/* infill.c: prompts that ask a model to fill a hole in a text. */
#include "tokenizer/tokenizer_internal.h"

/* Text that goes on after other text: nothing is put before it. */
static bool add_text(const struct tokenizer *t, const char *text, size_t n, bool prefixed,
                     struct token_list *out, struct error *e)
{
    struct tokenizer plain = *t;
    plain.add_space_prefix = t->add_space_prefix && prefixed;
    return tokenizer_encode(&plain, text, n, NULL, out, e);
}

bool tokenizer_infill(const struct tokenizer *t, enum infill_order order, const char *prefix,
                      size_t n_prefix, const char *suffix, size_t n_suffix, struct token_list *out,
                      struct error *e)
{
    int32_t before = t->roles[ROLE_FIM_PREFIX], after = t->roles[ROLE_FIM_SUFFIX];
    int32_t middle = t->roles[ROLE_FIM_MIDDLE];
    size_t n_before = out->n;
    if (before == TOKENIZER_NO_TOKEN || after == TOKENIZER_NO_TOKEN ||
        middle == TOKENIZER_NO_TOKEN) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the model was not trained to fill in text: its vocabulary has no prefix, "
                         "suffix and middle tokens (tokenizer.ggml.fim_pre_token_id and others)");
    }
    if (tokenizer_first(t) != TOKENIZER_NO_TOKEN) {
        token_list_add(out, tokenizer_first(t));
    }
    token_list_add(out, before);
    bool ok;
    if (order == INFILL_PSM) {
        ok = add_text(t, prefix, n_prefix, true, out, e);
        token_list_add(out, after);
        ok = ok && add_text(t, suffix, n_suffix, false, out, e);
        token_list_add(out, middle);
    } else {
        token_list_add(out, after);
        ok = add_text(t, suffix, n_suffix, false, out, e);
        token_list_add(out, middle);
        ok = ok && add_text(t, prefix, n_prefix, true, out, e);
    }
    if (!ok) {
        out->n = n_before;
    }
    return ok;
}
