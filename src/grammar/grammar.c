/* grammar.c: grammars that are one expression: a regular expression, a choice, JSON. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

struct grammar *grammar_parse_regex(const char *pattern, size_t n, struct error *e)
{
    struct build *b = build_new();
    struct error why = {.code = ERROR_NONE};
    struct lang l = lang_regex(build_langs(b), pattern, n, &(struct regex_options){0}, &why);
    if (why.code != ERROR_NONE) {
        if (e) {
            *e = why;
        }
        build_free(b);
        return NULL;
    }
    return build_finish(b, build_lang(b, l), e);
}

struct grammar *grammar_choices(const char *const *texts, size_t n, struct error *e)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += strlen(texts[i]);
        if (bytes > GRAMMAR_MAX_TEXT_BYTES) {
            error_set(e, ERROR_LIMIT, "the choices have more than %d bytes together",
                      GRAMMAR_MAX_TEXT_BYTES);
            return NULL;
        }
    }
    if (n == 0) {
        error_set(e, ERROR_INPUT, "there is no choice among no texts");
        return NULL;
    }
    struct build *b = build_new();
    struct lang_word *words = mem_array(n, sizeof *words);
    for (size_t i = 0; i < n; i++) {
        words[i] = (struct lang_word){texts[i], strlen(texts[i]), lang_empty()};
    }
    struct lang l = lang_words(build_langs(b), words, n, LANG_PLAIN);
    free(words);
    return build_finish(b, build_lang(b, l), e);
}

struct grammar *grammar_json(bool object_only, const struct json_bounds *bounds, struct error *e)
{
    struct json_bounds b_default;
    json_bounds_defaults(&b_default);
    bounds = bounds ? bounds : &b_default;
    struct build *b = build_new();
    struct json_space space;
    lang_json_space(build_langs(b), bounds, &space);
    struct node blank = build_lang(b, space.start);
    struct node value = object_only ? build_json_object(b, bounds) : build_json_value(b, bounds);
    /* Models like to begin with a space or line; what comes behind a value is the end, unless JSON
     * is asked for as the standard has it. */
    struct node parts[] = {blank, value, bounds->unbounded ? blank : build_empty()};
    return build_finish(b, build_sequence(b, parts, 3), e);
}
