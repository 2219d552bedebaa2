/* test_oddities.c: vocabularies that make no sense, as a whole or in single entries: each is
 * refused in one sentence that says what and which token, or loaded with a warning where published
 * files have such tokens, and then texts are tokenized as if the token were not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "tokenizer/tokenizer_internal.h"
#include "vocabs.h"

static size_t n_warnings;
static char warnings[1024];

static void keep_warning(enum log_level level, const char *line)
{
    size_t n = strlen(warnings);
    assert_int_equal(level, LOG_WARN);
    n_warnings++;
    snprintf(warnings + n, sizeof warnings - n, "%s\n", line);
}

/* The spec with one more token at its end; the list is the caller's. */
static struct tokenizer_spec longer(const struct tokenizer_spec *s, const char *text, size_t n,
                                    int32_t type)
{
    struct tokenizer_spec more = *s;
    size_t count = s->n_tokens;
    more.tokens = arena_alloc(s->arena, (count + 1) * sizeof *more.tokens);
    memcpy(more.tokens, s->tokens, count * sizeof *more.tokens);
    more.tokens[count] = (struct gguf_string){text, n};
    more.types = arena_alloc(s->arena, (count + 1) * sizeof *more.types);
    for (size_t i = 0; i < count; i++) {
        more.types[i] = s->types ? s->types[i] : TOKEN_NORMAL;
    }
    more.types[count] = type;
    if (s->scores) {
        more.scores = arena_alloc(s->arena, (count + 1) * sizeof *more.scores);
        memcpy(more.scores, s->scores, count * sizeof *more.scores);
        more.scores[count] = 5; /* better than all others */
    }
    more.n_tokens = count + 1;
    return more;
}

/* The vocabulary is loaded, with warnings that say `part` (NULL: none), and tokenizes as `like`
 * does. */
static void accept(const struct tokenizer_spec *s, const struct tokenizer_spec *like,
                   const char *part)
{
    static const char text[] = "the abc naive <code> 1234 \xE2\x82\xAC x<0x41>y the the";
    struct error e = {0};
    n_warnings = 0;
    warnings[0] = 0;
    log_set_sink(keep_warning);
    struct tokenizer *t = tokenizer_new(s, &e), *u = tokenizer_new(like, &e);
    log_set_sink(NULL);
    if (!t || !u) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(n_warnings, part ? 1 : 0);
    if (part && !strstr(warnings, part)) {
        fail_msg("%s", warnings);
    }
    struct token_list a = {0}, b = {0};
    assert_true(tokenizer_encode(t, text, strlen(text), NULL, &a, NULL));
    assert_true(tokenizer_encode(u, text, strlen(text), NULL, &b, NULL));
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    struct buf out; /* decoding it does no harm */
    int32_t id = (int32_t)s->n_tokens - 1;
    buf_init(&out, 1 << 16);
    tokenizer_decode(t, &id, 1, false, &out);
    buf_free(&out);
    token_list_free(&a);
    token_list_free(&b);
    tokenizer_free(t);
    tokenizer_free(u);
}

static void refuse(const struct tokenizer_spec *s, enum error_code code, const char *part)
{
    struct error e = {0};
    assert_null(tokenizer_new(s, &e));
    assert_int_equal(e.code, code);
    if (!strstr(e.message, part) || strchr(e.message, '\n')) {
        fail_msg("%s", e.message);
    }
}

static struct tokenizer_spec *spec_of(size_t family)
{
    return family == 0   ? vocab_spm()
           : family == 1 ? vocab_bpe("gpt-2", 320)
           : family == 2 ? vocab_wordpiece()
                         : vocab_unigram(true);
}

static void test_equal_and_empty(void **state)
{
    (void)state;
    for (size_t family = 0; family < 4; family++) {
        struct tokenizer_spec *s = spec_of(family), more;
        char named[32];
        snprintf(named, sizeof named, "token %zu)", s->n_tokens);
        for (int type = TOKEN_NORMAL; type <= TOKEN_USER_DEFINED; type++) {
            more = longer(s, "", 0, type);
            accept(&more, s, named);
            more = longer(s, s->tokens[s->n_tokens - 1].data, s->tokens[s->n_tokens - 1].len,
                          TOKEN_NORMAL);
            accept(&more, s, named);
        }
        more = longer(s, "", 0, TOKEN_UNUSED); /* its type says so already */
        accept(&more, s, NULL);
        /* Many, and of both kinds: a line for each kind. */
        struct tokenizer_spec two = longer(&more, "", 0, TOKEN_NORMAL);
        two = longer(&two, "", 0, TOKEN_NORMAL);
        accept(&two, s, "2 tokens of the vocabulary are empty");
        tokenizer_spec_free(s);
    }
}

static void test_bytes(void **state)
{
    (void)state;
    static const char *const wrong[] = {"<0x-1>", "<0x1>", "<0x100>", "<0xGG>", "<0x 1>",
                                        "0x41",   "",      "<0x41",   "<0X41>", "A"};
    for (size_t family = 0; family < 4; family++) {
        struct tokenizer_spec *s = spec_of(family), more;
        bool by_name = family == 0 || family == 3;
        char named[32];
        snprintf(named, sizeof named, "token %zu is a byte", s->n_tokens);
        for (size_t i = 0; by_name && i < sizeof wrong / sizeof *wrong; i++) {
            more = longer(s, wrong[i], strlen(wrong[i]), TOKEN_BYTE);
            refuse(&more, ERROR_INPUT, named);
        }
        /* As a text it is one as good as any. */
        more = longer(s, "<0x-1>", 6, TOKEN_NORMAL);
        accept(&more, s, NULL);
        /* A byte twice: the first counts. */
        if (by_name) {
            more = longer(s, "<0x41>", 6, TOKEN_BYTE);
            accept(&more, s, "the spelling of an earlier one");
        }
        tokenizer_spec_free(s);
    }
}

static void test_long(void **state)
{
    (void)state;
    char *text = mem_alloc(TOKENIZER_MAX_SPELLING_BYTES + 1);
    memset(text, 'q', TOKENIZER_MAX_SPELLING_BYTES + 1);
    for (size_t family = 0; family < 4; family++) {
        struct tokenizer_spec *s = spec_of(family), more;
        char named[32];
        snprintf(named, sizeof named, "token %zu is longer", s->n_tokens);
        for (int type = TOKEN_NORMAL; type <= TOKEN_USER_DEFINED; type++) {
            more = longer(s, text, TOKENIZER_MAX_SPELLING_BYTES + 1, type);
            refuse(&more, ERROR_LIMIT, named);
            more = longer(s, text, TOKENIZER_MAX_SPELLING_BYTES, type);
            accept(&more, s, NULL);
        }
        tokenizer_spec_free(s);
    }
    free(text);
}

static void test_bad_vocabularies(void **state)
{
    (void)state;
    struct tokenizer_spec *spm = vocab_spm(), *gpt2 = vocab_bpe("gpt-2", 400);
    struct tokenizer_spec s = *spm;
    s.model = "rwkv";
    refuse(&s, ERROR_UNSUPPORTED, "rwkv");
    s = *spm;
    s.n_tokens = 0;
    refuse(&s, ERROR_LIMIT, "tokens");
    s = *spm;
    s.scores = NULL;
    refuse(&s, ERROR_INPUT, "scores");
    s = *spm;
    s.roles[ROLE_EOS] = (int32_t)s.n_tokens;
    refuse(&s, ERROR_INPUT, "eos_token_id");
    s = *spm;
    s.roles[ROLE_BOS] = -2;
    refuse(&s, ERROR_INPUT, "bos_token_id");
    s = *gpt2;
    s.pre = "no-such-pre";
    refuse(&s, ERROR_UNSUPPORTED, "no-such-pre");
    s.pre = NULL;
    accept(&s, gpt2, NULL);
    static const char *const bad_merges[] = {"", " ", "ab", "a ", " b", "  "};
    for (size_t i = 0; i < sizeof bad_merges / sizeof bad_merges[0]; i++) {
        struct gguf_string merge = {bad_merges[i], strlen(bad_merges[i])};
        s = *gpt2;
        s.merges = &merge;
        s.n_merges = 1;
        refuse(&s, ERROR_INPUT, "merge 0");
    }
    /* Merges of parts or to a whole that do not exist are passed over. */
    struct gguf_string merges[] = {{"nowhere x", 9}, {"a nowhere", 9}, {"! z", 3}};
    s = *gpt2;
    s.merges = merges;
    s.n_merges = 0;
    struct tokenizer_spec like = s;
    s.n_merges = 3;
    accept(&s, &like, NULL);
    tokenizer_spec_free(spm);
    tokenizer_spec_free(gpt2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_vocabularies),
        cmocka_unit_test(test_equal_and_empty),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests_name("oddities", tests, NULL, NULL);
}
