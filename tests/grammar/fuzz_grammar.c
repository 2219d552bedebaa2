/* fuzz_grammar.c: what the readers of GBNF and regular expressions make of any bytes: a grammar
 * that can be followed, or a sentence. The first byte says which reader gets the text up to the
 * first zero byte; what is behind that is followed with the grammar, whole and as tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/lang_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 4096, MAX_TOKENS = 64 };

static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* Tokens of one to three bytes out of the text, and their masks. */
static void follow(struct grammar *g, const char *text, size_t n)
{
    struct gguf_string pieces[MAX_TOKENS] = {{0}};
    int32_t end = 0;
    size_t n_pieces = 1;
    for (size_t i = 0; i < n && n_pieces < MAX_TOKENS; i++) {
        size_t length = 1 + i % 3 < n - i ? 1 + i % 3 : n - i;
        pieces[n_pieces++] = (struct gguf_string){text + i, length};
    }
    struct grammar_vocab *v = grammar_vocab_from_pieces(pieces, n_pieces, &end, 1);
    struct error e = {.code = ERROR_NONE};
    struct constraint *c = constraint_new(g, v, &e);
    require(c || e.code != ERROR_NONE, "no constraint and no error");
    for (int step = 0; c && step < 8; step++) {
        const uint32_t *mask = constraint_mask(c);
        int32_t chosen = -1;
        for (int32_t id = 0; mask && id < (int32_t)n_pieces; id++) {
            bool in = mask[id / 32] >> id % 32 & 1;
            struct constraint *fork = constraint_copy(c);
            /* A mask looks at each thread alone; all of them together may pass a ceiling. */
            require(constraint_accept(fork, id) == in ||
                        (in && constraint_state(fork) == CONSTRAINT_TOO_COMPLEX),
                    "the mask and accepting disagree");
            constraint_free(fork);
            chosen = in && (chosen < 0 || (id + step) % 3 == 0) ? id : chosen;
        }
        if (chosen < 0 || !constraint_accept(c, chosen) ||
            constraint_state(c) == CONSTRAINT_ENDED) {
            break;
        }
    }
    constraint_free(c);
    grammar_vocab_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > MAX_INPUT) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    const char *zero = memchr(text, 0, size - 1);
    size_t n = zero ? (size_t)(zero - text) : size - 1;
    const char *rest = zero ? zero + 1 : text;
    size_t n_rest = zero ? size - 2 - n : n;
    struct error e = {.code = ERROR_NONE};
    if (data[0] % 4 == 2) { /* a pattern within a JSON string, cut with another language */
        struct langs *s = langs_new();
        langs_set_work(s, 4 << 20);
        struct regex_options o = {.spelling = LANG_JSON, .search = true};
        struct lang l = lang_regex(s, text, n, &o, &e);
        require(l.id || e.code != ERROR_NONE || !langs_failed(s, NULL), "no language, no error");
        l = lang_and(s, l, lang_repeat(s, lang_any_char(s, LANG_JSON), 2, 5));
        lang_is_empty(s, l);
        lang_matches(s, l, rest, n_rest);
        langs_free(s);
        return 0;
    }
    struct grammar *g = data[0] % 4 == 0   ? grammar_parse_gbnf(text, n, &e)
                        : data[0] % 4 == 1 ? grammar_parse_regex(text, n, &e)
                                           : grammar_json(false, NULL, &e);
    require(g || e.code != ERROR_NONE, "no grammar and no error");
    if (g) {
        struct grammar_verdict v;
        e.code = ERROR_NONE;
        bool ok = grammar_check_text(g, rest, n_rest, &v, &e);
        require(ok || e.code == ERROR_LIMIT, "neither followed nor refused");
        require(v.n_good <= n_rest, "more good bytes than there are");
        follow(g, rest, n_rest);
        grammar_free(g);
    }
    return 0;
}
