/* From messages or text to the tokens of a prompt. */
#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>
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

enum chat_token engine_probe(void *context, const char *spelling)
{
    const struct tokenizer *t = ((const struct engine *)context)->tokenizer;
    int32_t id = tokenizer_find(t, spelling, strlen(spelling));
    return id == TOKENIZER_NO_TOKEN      ? CHAT_TOKEN_NONE
           : tokenizer_is_control(t, id) ? CHAT_TOKEN_CONTROL
                                         : CHAT_TOKEN_TEXT;
}

static bool check_template(const struct engine *en, struct error *e)
{
    if (!en->template_text) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the model has no chat template: use --raw to give it plain text, or "
                         "--chat-template to choose one");
    }
    if (!en->template && e) {
        *e = en->template_error;
        error_prefix(e, "the model's chat template cannot be used (--raw does without): ");
    }
    return en->template != NULL;
}

bool engine_chat_render(const struct engine *en, const struct engine_chat *chat,
                        struct chat_text *text, struct chat_format *format, struct error *e)
{
    if (!check_template(en, e)) {
        return false;
    }
    struct chat_format f = en->format;
    json_t *vars = chat_prepare(&en->abilities, chat->messages, chat->tools, &f, e);
    if (!vars) {
        return false;
    }
    json_object_update_missing(vars, chat->variables);
    json_object_set_new(vars, "add_generation_prompt", json_boolean(chat->add_generation_prompt));
    json_object_set_new(vars, "bos_token", spelling(en, tokenizer_bos(en->tokenizer)));
    json_object_set_new(vars, "eos_token", spelling(en, tokenizer_eos(en->tokenizer)));
    if (chat->thinking != THINKING_AS_USUAL) {
        json_t *on = json_boolean(chat->thinking == THINKING_ON);
        json_object_set(vars, "enable_thinking", on);
        json_object_set_new(vars, "thinking", on); /* as DeepSeek's and Granite's call it */
    }
    int64_t now = chat->now_unix_s ? chat->now_unix_s : (int64_t)time(NULL);
    bool ok = chat_template_render(en->template, vars, now, text, e);
    json_decref(vars);
    if (ok && format) {
        *format = f;
    }
    return ok;
}

bool engine_chat_prompt(const struct engine *en, const struct engine_chat *chat,
                        struct engine_prompt *out, struct error *e)
{
    struct chat_text text = {0};
    struct token_list ids = {0};
    *out = (struct engine_prompt){0};
    if (!engine_chat_render(en, chat, &text, &out->format, e)) {
        return false;
    }
    bool ok = tokenizer_encode(en->tokenizer, text.text, text.n, text.trusted, &ids, e);
    if (ok) {
        int32_t bos = tokenizer_bos(en->tokenizer);
        if (has_bos(en) && tokenizer_add_bos(en->tokenizer) && (ids.n == 0 || ids.ids[0] != bos)) {
            token_list_add(&out->tokens, bos);
        }
        for (size_t i = 0; i < ids.n; i++) {
            token_list_add(&out->tokens, ids.ids[i]);
        }
        const char *end = chat_prompt_end(&text, &out->n_end);
        out->end = mem_strndup(end, out->n_end);
    }
    token_list_free(&ids);
    chat_text_free(&text);
    return ok;
}

void engine_prompt_free(struct engine_prompt *p)
{
    token_list_free(&p->tokens);
    free(p->end);
    *p = (struct engine_prompt){0};
}

struct chat_parser *engine_parser_new(const struct engine *en, const struct engine_prompt *prompt,
                                      const struct engine_chat *chat, uint64_t id_seed,
                                      chat_event_fn *event, void *context)
{
    struct chat_parser_options o = {
        .parse_calls = json_array_size(chat->tools) > 0,
        .parse_reasoning = true,
        .tools = chat->tools,
        .id_seed = id_seed,
        .prompt_end = prompt->end,
        .n_prompt_end = prompt->n_end,
        .probe = engine_probe,
        .probe_context = (void *)en,
    };
    return chat_parser_new(prompt->format, &o, event, context);
}

bool engine_chat_tokens(const struct engine *en, json_t *messages, json_t *tools,
                        bool add_generation_prompt, struct token_list *out, struct error *e)
{
    struct engine_chat chat = {
        .messages = messages, .tools = tools, .add_generation_prompt = add_generation_prompt};
    struct engine_prompt prompt;
    if (!engine_chat_prompt(en, &chat, &prompt, e)) {
        return false;
    }
    for (size_t i = 0; i < prompt.tokens.n; i++) {
        token_list_add(out, prompt.tokens.ids[i]);
    }
    engine_prompt_free(&prompt);
    return true;
}
