#include "engine/prompter.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chat/builtin.h"

struct prompter {
    const struct tokenizer *tokenizer;
    const char *source;             /* NULL where there is no template */
    char *owned;                    /* source where it is not built in */
    const char *origin;             /* see prompter_origin */
    struct chat_template *template; /* NULL where there is none or it does not parse */
    struct error why_not;           /* why it does not parse */
    struct chat_abilities abilities;
    struct chat_format format;
};

/* context: the tokenizer, or NULL. */
static enum chat_token probe(void *context, const char *spelling)
{
    const struct tokenizer *t = context;
    int32_t id = t ? tokenizer_find(t, spelling, strlen(spelling)) : TOKENIZER_NO_TOKEN;
    return id == TOKENIZER_NO_TOKEN      ? CHAT_TOKEN_NONE
           : tokenizer_is_control(t, id) ? CHAT_TOKEN_CONTROL
                                         : CHAT_TOKEN_TEXT;
}

/* Takes `owned`, or a built-in template where it is NULL. */
static void use_template(struct prompter *p, char *owned, const char *origin,
                         const struct chat_builtin *b)
{
    chat_template_free(p->template);
    free(p->owned);
    p->owned = owned;
    p->source = owned ? owned : b->source;
    p->origin = owned ? origin : b->name;
    p->template = chat_template_new(p->source, strlen(p->source), &p->why_not);
    if (p->template) {
        chat_abilities_probe(p->template, &p->abilities);
        p->format = chat_format_detect(p->source, probe, (void *)p->tokenizer);
    }
}

/* A string of the file's metadata, NUL-terminated, or NULL. Release with free(). */
static char *metadata_text(const struct gguf *g, const char *key)
{
    struct gguf_string s = {NULL, 0};
    return gguf_get_string(g, key, &s, NULL) && s.data ? mem_strndup(s.data, s.len) : NULL;
}

static void use_builtin(struct prompter *p, const struct gguf *g)
{
    char *architecture = metadata_text(g, "general.architecture");
    char *name = metadata_text(g, "general.name");
    const struct chat_builtin *b =
        chat_builtin_for(architecture, name, probe, (void *)p->tokenizer);
    if (b) {
        use_template(p, NULL, NULL, b);
    }
    free(architecture);
    free(name);
}

struct prompter *prompter_new(const struct gguf *g, const struct tokenizer *t, struct error *e)
{
    struct gguf_string text = {NULL, 0};
    if (g && !gguf_get_string(g, "tokenizer.chat_template", &text, e)) {
        return NULL;
    }
    struct prompter *p = mem_zalloc(sizeof *p);
    p->tokenizer = t;
    p->origin = "none";
    if (text.data) {
        use_template(p, mem_strndup(text.data, text.len), "file", NULL);
    } else if (g) {
        use_builtin(p, g);
    }
    return p;
}

void prompter_free(struct prompter *p)
{
    if (p) {
        chat_template_free(p->template);
        free(p->owned);
        free(p);
    }
}

bool prompter_set_template(struct prompter *p, const char *name_or_source, struct error *e)
{
    const struct chat_builtin *b = chat_builtin_find(name_or_source);
    use_template(p, b ? NULL : mem_strdup(name_or_source), "given", b);
    if (!p->template && e) {
        *e = p->why_not;
    }
    return p->template != NULL;
}

const char *prompter_template(const struct prompter *p)
{
    return p->source;
}

const char *prompter_origin(const struct prompter *p)
{
    return p->origin;
}

/* The length of what is spelled like a control token at the front of s[n]; 0: nothing is. The names
 * of speakers do not count: some models read <|user|> as text. */
static size_t mark_length(const char *s, size_t n)
{
    static const char *const ends[][2] = {{"<|", "|>"}, {"<\xef\xbd\x9c", "\xef\xbd\x9c>"}};
    static const char *const whole[] = {"<start_of_turn>", "<end_of_turn>"};
    static const char *const text[] = {"<|user|>", "<|assistant|>", "<|system|>"};
    enum { LONGEST = 40 };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        size_t len = strlen(whole[i]);
        if (n >= len && memcmp(s, whole[i], len) == 0) {
            return len;
        }
    }
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        size_t len = strlen(text[i]);
        if (n >= len && memcmp(s, text[i], len) == 0) {
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t open = strlen(ends[i][0]), close = strlen(ends[i][1]);
        if (n < open || memcmp(s, ends[i][0], open) != 0) {
            continue;
        }
        for (size_t k = open + 1; k + close <= n && k < LONGEST && !strchr(" \n<", s[k]); k++) {
            if (memcmp(s + k, ends[i][1], close) == 0) {
                return k + close;
            }
        }
    }
    return 0;
}

static bool check_template(const struct prompter *p, struct error *e)
{
    if (!p->source) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the model has no chat template: use --raw to give it plain text, or "
                         "--chat-template to choose one");
    }
    if (!p->template && e) {
        *e = p->why_not;
        error_prefix(e, "the model's chat template cannot be used (--raw does without): ");
    }
    return p->template != NULL;
}

/* A token's spelling as JSON; "" where there is none or it is not UTF-8. */
static json_t *spelling(const struct prompter *p, int32_t id)
{
    json_t *text = NULL;
    if (id != TOKENIZER_NO_TOKEN) {
        struct gguf_string s = tokenizer_spelling(p->tokenizer, id);
        text = json_stringn(s.data, s.len);
    }
    return text ? text : json_string("");
}

int64_t prompter_local_now(void)
{
    time_t now = time(NULL);
    struct tm here;
    return (int64_t)now + (localtime_r(&now, &here) ? here.tm_gmtoff : 0);
}

bool prompter_render(const struct prompter *p, const struct prompt_request *r,
                     struct chat_text *text, struct chat_format *format, struct error *e)
{
    if (!check_template(p, e)) {
        return false;
    }
    struct chat_format f = p->format;
    json_t *vars = chat_prepare(&p->abilities, r->messages, r->tools, &f, e);
    if (!vars) {
        return false;
    }
    json_object_update_missing(vars, r->variables);
    json_object_set_new(vars, "add_generation_prompt", json_boolean(r->add_generation_prompt));
    const struct chat_builtin *b = p->owned ? NULL : chat_builtin_find(p->origin);
    if (p->tokenizer) {
        json_object_set_new(vars, "bos_token", spelling(p, tokenizer_bos(p->tokenizer)));
        json_object_set_new(vars, "eos_token", spelling(p, tokenizer_eos(p->tokenizer)));
    } else if (b) {
        chat_builtin_tokens(b, vars);
    }
    if (r->thinking != THINKING_AS_USUAL) {
        json_t *on = json_boolean(r->thinking == THINKING_ON);
        json_object_set(vars, "enable_thinking", on);
        json_object_set_new(vars, "thinking", on); /* as DeepSeek's and Granite's call it */
    }
    int64_t now = r->now_unix_s ? *r->now_unix_s : prompter_local_now();
    bool ok = chat_template_render(p->template, vars, now, text, e);
    json_decref(vars);
    if (ok && format) {
        *format = f;
    }
    return ok;
}

char *prompter_unknown_mark(const struct prompter *p)
{
    if (!p->tokenizer || !p->template) {
        return NULL;
    }
    json_t *messages =
        json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "x", "role",
                  "assistant", "content", "x", "role", "user", "content", "x");
    struct prompt_request request = {.messages = messages, .add_generation_prompt = true};
    struct chat_text text = {0};
    char *unknown = NULL;
    if (prompter_render(p, &request, &text, NULL, NULL)) {
        for (size_t i = 0; i < text.n && !unknown; i++) {
            size_t n = text.trusted[i] ? mark_length(text.text + i, text.n - i) : 0;
            if (n && tokenizer_find(p->tokenizer, text.text + i, n) == TOKENIZER_NO_TOKEN) {
                unknown = mem_strndup(text.text + i, n);
            }
        }
        chat_text_free(&text);
    }
    json_decref(messages);
    return unknown;
}

bool prompter_is_told_thinking(const struct prompter *p)
{
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "x");
    const int64_t now = 0;
    struct prompt_request request = {.messages = messages,
                                     .add_generation_prompt = true,
                                     .thinking = THINKING_ON,
                                     .now_unix_s = &now};
    struct chat_text on = {0}, off = {0};
    bool same = prompter_render(p, &request, &on, NULL, NULL);
    request.thinking = THINKING_OFF;
    same = same && prompter_render(p, &request, &off, NULL, NULL) && on.n == off.n &&
           memcmp(on.text, off.text, on.n) == 0;
    chat_text_free(&on);
    chat_text_free(&off);
    json_decref(messages);
    return !same;
}

bool prompter_tokens(const struct prompter *p, const struct chat_text *text, struct token_list *out,
                     struct error *e)
{
    struct token_list ids = {0};
    if (!p->tokenizer) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "there is no vocabulary: the prompt can be rendered, but has no tokens");
    }
    bool ok = tokenizer_encode(p->tokenizer, text->text, text->n, text->trusted, &ids, e);
    int32_t bos = tokenizer_bos(p->tokenizer);
    if (ok && bos != TOKENIZER_NO_TOKEN && tokenizer_add_bos(p->tokenizer) &&
        (ids.n == 0 || ids.ids[0] != bos)) {
        token_list_add(out, bos);
    }
    for (size_t i = 0; ok && i < ids.n; i++) {
        token_list_add(out, ids.ids[i]);
    }
    token_list_free(&ids);
    return ok;
}

bool prompter_prompt(const struct prompter *p, const struct prompt_request *r, struct prompt *out,
                     struct error *e)
{
    struct chat_text text = {0};
    *out = (struct prompt){0};
    if (!prompter_render(p, r, &text, &out->format, e)) {
        return false;
    }
    bool ok = prompter_tokens(p, &text, &out->tokens, e);
    const char *end = chat_prompt_end(&text, &out->n_end);
    out->end = mem_strndup(end, out->n_end);
    chat_text_free(&text);
    return ok;
}

void prompt_free(struct prompt *prompt)
{
    token_list_free(&prompt->tokens);
    free(prompt->end);
    *prompt = (struct prompt){0};
}

struct chat_parser *prompter_parser(const struct prompter *p, const struct prompt *prompt,
                                    const struct prompt_request *r, uint64_t id_seed,
                                    chat_event_fn *event, void *context)
{
    struct chat_parser_options o = {
        .parse_calls = json_array_size(r->tools) > 0,
        .parse_reasoning = true,
        .tools = r->tools,
        .id_seed = id_seed,
        .prompt_end = prompt->end,
        .n_prompt_end = prompt->n_end,
        .probe = probe,
        .probe_context = (void *)p->tokenizer,
    };
    return chat_parser_new(prompt->format, &o, event, context);
}
