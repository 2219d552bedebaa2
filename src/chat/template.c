/* template.c: the public functions, and the ceilings of the interpreter. */
#include "chat/interp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/strmap.h"
#include "base/utf8.h"

enum { BIG_BYTES = 1 << 16 };

/* Large allocations: they may fail with an error, which the arena cannot. */
struct big_block {
    struct big_block *next;
    void *data;
};

void words_repair(char *words)
{
    for (size_t i = 0, n = strlen(words); i < n;) {
        uint32_t cp;
        size_t len = utf8_decode(words + i, n - i, &cp);
        if (!len) {
            words[i] = '?';
        }
        i += len ? len : 1;
    }
}

struct value interp_fail(struct interp *in, enum error_code code, const char *format, ...)
{
    if (!in->failed) {
        char words[ERROR_MESSAGE_BYTES];
        va_list list;
        va_start(list, format);
        vsnprintf(words, sizeof words, format, list);
        va_end(list);
        words_repair(words);
        in->failed = true;
        error_set(in->e, code, "template line %u: %s", in->line, words);
    }
    return (struct value){0};
}

bool interp_step(struct interp *in, uint64_t n)
{
    in->steps += n;
    if (in->steps > CHAT_MAX_STEPS) {
        interp_fail(in, ERROR_LIMIT, "the template takes more than %d steps", CHAT_MAX_STEPS);
    }
    return !in->failed;
}

bool interp_enter(struct interp *in)
{
    if (in->failed) {
        return false;
    }
    if (in->depth == INTERP_MAX_EVAL_DEPTH) {
        interp_fail(in, ERROR_LIMIT, "macros or values nest deeper than %d levels",
                    INTERP_MAX_EVAL_DEPTH);
        return false;
    }
    in->depth++;
    return true;
}

void interp_leave(struct interp *in)
{
    in->depth--;
}

void *interp_alloc(struct interp *in, size_t count, size_t element_bytes)
{
    uint64_t n, total;
    if (in->failed) {
        return NULL;
    }
    if (!checked_mul_u64(count ? count : 1, element_bytes, &n) ||
        !checked_add_u64(n, in->mem_bytes, &total) || total > CHAT_MAX_MEMORY_BYTES) {
        interp_fail(in, ERROR_LIMIT, "the template needs more than %d MiB of memory",
                    CHAT_MAX_MEMORY_BYTES >> 20);
        return NULL;
    }
    in->mem_bytes = total;
    if (n < BIG_BYTES) {
        return arena_alloc(in->arena, n);
    }
    struct big_block *block = arena_alloc(in->arena, sizeof *block);
    block->data = mem_try_alloc(n);
    if (!block->data) {
        interp_fail(in, ERROR_MEMORY, "no memory for %llu bytes", (unsigned long long)n);
        return NULL;
    }
    block->next = in->bigs;
    in->bigs = block;
    return block->data;
}

struct chat_template *chat_template_new(const char *source, size_t n, struct error *e)
{
    static const char *const fixed[NAME_COUNT] = {"loop", "caller", "varargs", "kwargs"};
    size_t bad;
    if (n > CHAT_MAX_TEMPLATE_BYTES) {
        error_set(e, ERROR_LIMIT, "the template has %zu bytes; the ceiling is %d", n,
                  CHAT_MAX_TEMPLATE_BYTES);
        return NULL;
    }
    if (!utf8_valid(source, n, &bad)) {
        error_set_at(e, ERROR_INPUT, bad, "the template is not valid UTF-8");
        return NULL;
    }
    struct chat_template *t = mem_zalloc(sizeof *t);
    struct tokens tokens = {0};
    t->arena = arena_new();
    bool ok = lex(t->arena, source, n, &tokens, e);
    if (ok) {
        struct parser p = {.arena = t->arena, .t = tokens.v, .names = strmap_new(256), .e = e};
        for (int i = 0; i < NAME_COUNT; i++) {
            strmap_add(p.names, fixed[i], strlen(fixed[i]), p.n_names++);
        }
        t->root = parse_template(&p);
        ok = !p.failed;
        strmap_free(p.names);
    }
    if (!ok) {
        chat_template_free(t);
        return NULL;
    }
    return t;
}

void chat_template_free(struct chat_template *t)
{
    if (t) {
        arena_free(t->arena);
        free(t);
    }
}

/* The variables; the special tokens among them are as good as literals of the template. */
static void import_vars(struct interp *in, json_t *vars)
{
    static const char *const trusted[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    struct value v = value_import(in, vars, 0);
    for (size_t i = 0; i < sizeof trusted / sizeof *trusted && !in->failed; i++) {
        json_t *token = json_object_get(vars, trusted[i]);
        if (json_is_string(token)) {
            struct value key = str_plain(in, trusted[i], strlen(trusted[i]), 1);
            struct value text =
                str_plain(in, json_string_value(token), json_string_length(token), 1);
            if (!in->failed) {
                dict_set(in, v.dict, key, text);
            }
        }
    }
    in->vars = in->failed ? NULL : v.dict;
}

/* Copies what was written to the caller's memory. */
static bool deliver(struct interp *in, const struct text *t, struct chat_text *out)
{
    char *text = mem_try_alloc(t->n + 1);
    uint8_t *trusted = mem_try_alloc(t->n + 1);
    if (!text || !trusted) {
        free(text);
        free(trusted);
        interp_fail(in, ERROR_MEMORY, "no memory for a text of %zu bytes", t->n);
        return false;
    }
    if (t->n) {
        memcpy(text, t->s, t->n);
        memcpy(trusted, t->trust, t->n);
    }
    *out = (struct chat_text){text, t->n, trusted};
    return true;
}

bool chat_template_render(const struct chat_template *t, json_t *vars, int64_t now_unix_s,
                          struct chat_text *out, struct error *e)
{
    if (!json_is_object(vars)) {
        return error_set(e, ERROR_USAGE, "the variables of a template must be a JSON object");
    }
    struct text text = {0};
    struct interp in = {.arena = arena_new(), .e = e, .out = &text, .now = now_unix_s, .line = 1};
    import_vars(&in, vars);
    if (!in.failed) {
        in.root = scope_new(&in, NULL);
        scope_declare(&in, in.root, t->root);
        exec(&in, in.root, t->root);
    }
    bool ok = !in.failed && deliver(&in, &text, out);
    text_free(&text);
    for (struct big_block *b = in.bigs; b; b = b->next) {
        free(b->data);
    }
    arena_free(in.arena);
    return ok;
}

void chat_text_free(struct chat_text *t)
{
    free(t->text);
    free(t->trusted);
    *t = (struct chat_text){0};
}
