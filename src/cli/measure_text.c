#include "cli/measure_text.h"

#include <string.h>

#include "cli/input.h"
#include "cli/term.h"

struct measure_options measure_text_options(const struct engine *en, uint32_t context,
                                            uint32_t stride, uint32_t max_windows)
{
    const struct tokenizer *t = engine_tokenizer(en);
    uint32_t trained = engine_config(en)->n_context;
    uint32_t usual = trained < MEASURE_TEXT_CONTEXT ? trained : MEASURE_TEXT_CONTEXT;
    return (struct measure_options){
        .n_context = context ? context : usual,
        .stride = stride,
        .max_windows = max_windows,
        .bos = t && tokenizer_add_bos(t) ? tokenizer_bos(t) : TOKENIZER_NO_TOKEN,
    };
}

bool measure_text_tokens(const struct engine *en, const struct measure_text *from,
                         struct token_list *tokens, struct error *e)
{
    const char *path = from->text ? from->text : from->ids;
    struct buf text;
    buf_init(&text, INPUT_MAX_BYTES);
    bool ok = !from->text || engine_require_vocabulary(en, e);
    ok = ok && input_read(path, INPUT_MAX_BYTES, &text, e);
    if (ok && text.len == 0) {
        ok = error_set(e, ERROR_INPUT, "%s is empty: there is nothing to measure on",
                       input_name(path));
    }
    ok = ok && (from->text ? engine_text_tokens(en, text.data, text.len, tokens, e)
                           : input_ids(text.data, engine_config(en)->n_vocab, tokens, e));
    buf_free(&text);
    return ok;
}

json_t *measure_text_json(const struct measure_text *from)
{
    const char *path = from->text ? from->text : from->ids;
    return term_json_text(path, strlen(path));
}

const char *measure_text_definition(const struct measure_options *o)
{
    if (o->stride) {
        return "windows of `context` tokens begin every `stride` tokens; each scores the tokens "
               "that the one before did not reach, so that every token but the first is scored "
               "once (as in Hugging Face's recipe)";
    }
    return "windows of `context` tokens side by side, an incomplete last one left out, the first "
           "token of each replaced by the beginning-of-text token where the model has one; scored "
           "are the tokens from context/2 + 1 on (as llama.cpp's llama-perplexity)";
}
