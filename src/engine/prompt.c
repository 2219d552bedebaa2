/* From messages or text to the tokens of a prompt. */
#include "engine/internal.h"

#include <time.h>

static bool has_bos(const struct engine *en)
{
    return tokenizer_bos(en->tokenizer) != TOKENIZER_NO_TOKEN;
}

bool engine_text_tokens(const struct engine *en, const char *text, size_t n, struct token_list *out,
                        struct error *e)
{
    if (has_bos(en) && (n == 0 || tokenizer_add_bos(en->tokenizer))) {
        token_list_add(out, tokenizer_bos(en->tokenizer));
    }
    return n == 0 || tokenizer_encode(en->tokenizer, text, n, NULL, out, e);
}

/* A token's spelling as JSON; "" where there is none or it is not UTF-8. */
static json_t *spelling(const struct engine *en, int32_t id)
{
    json_t *text = NULL;
    if (id != TOKENIZER_NO_TOKEN) {
        struct gguf_string s = tokenizer_spelling(en->tokenizer, id);
        text = json_stringn(s.data, s.len);
    }
    return text ? text : json_string("");
}

static bool render(const struct engine *en, json_t *messages, json_t *tools,
                   bool add_generation_prompt, struct chat_text *out, struct error *e)
{
    json_t *vars = json_object();
    json_object_set(vars, "messages", messages);
    if (tools) {
        json_object_set(vars, "tools", tools);
    }
    json_object_set_new(vars, "add_generation_prompt", json_boolean(add_generation_prompt));
    json_object_set_new(vars, "bos_token", spelling(en, tokenizer_bos(en->tokenizer)));
    json_object_set_new(vars, "eos_token", spelling(en, tokenizer_eos(en->tokenizer)));
    bool ok = chat_template_render(en->template, vars, (int64_t)time(NULL), out, e);
    json_decref(vars);
    return ok;
}

bool engine_chat_tokens(const struct engine *en, json_t *messages, json_t *tools,
                        bool add_generation_prompt, struct token_list *out, struct error *e)
{
    if (!en->template_text) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the model has no chat template: use --raw to give it plain text");
    }
    if (!en->template) {
        if (e) {
            *e = en->template_error;
            error_prefix(e, "the model's chat template cannot be used (--raw does without): ");
        }
        return false;
    }
    struct chat_text text = {0};
    if (!render(en, messages, tools, add_generation_prompt, &text, e)) {
        return false;
    }
    struct token_list ids = {0};
    bool ok = tokenizer_encode(en->tokenizer, text.text, text.n, text.trusted, &ids, e);
    if (ok) {
        int32_t bos = tokenizer_bos(en->tokenizer);
        if (has_bos(en) && tokenizer_add_bos(en->tokenizer) && (ids.n == 0 || ids.ids[0] != bos)) {
            token_list_add(out, bos);
        }
        for (size_t i = 0; i < ids.n; i++) {
            token_list_add(out, ids.ids[i]);
        }
    }
    token_list_free(&ids);
    chat_text_free(&text);
    return ok;
}
