/* WordPiece, unigram, what surrounds special tokens, infill, where tokens lie in a text, and that
 * the work grows with the text, whatever it is. Vocabularies built here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "checks.h"
#include "tokenizer/tokenizer_internal.h"
#include "vocabs.h"

#define M "\xE2\x96\x81"

/* ---- WordPiece ---- */

static void test_wordpiece(void **state)
{
    (void)state;
    struct tokenizer *t = open_spec(vocab_wordpiece());
    check(t, "Hello WORLD", M "hello|" M "wor|ld");
    check(t, "unaffable", M "un|aff|able");
    check(t, "caf\xC3\xA9s", M "cafe|s");
    check(t, "cafe\xCC\x81s", M "cafe|s");
    check(t, "\xC3\x89", M "e");
    check(t, "the,the", M "the|" M ",|" M "the");
    check(t, " \t\nthe\r\n", M "the");
    check(t,
          "th\xC2\xAD\x01"
          "e",
          M "the");                                   /* format and control characters go */
    check(t, "the\xE3\x80\x80the", M "the|" M "the"); /* any white space */
    check(t, "the\xE6\x97\xA5the", M "the|" M "\xE6\x97\xA5|" M "the");
    check(t, "thezz", "[UNK]");
    check(t, "zz the", "[UNK]|" M "the");
    check(t, "\xF0\x9F\x98\x80 \xF0\x9F\x98\x80", "[UNK]|[UNK]");
    check(t, "[MASK] ##ing", M "[|" M "m|a|s|k|" M "]|" M "#|" M "#|" M "i|n|g");
    check(t, "the" M "the", "[UNK]"); /* a mark is not what files put before words */
    check(t, "", "");
    check_trusted(t, "[CLS]the[SEP]", TOKENIZER_ALL_TRUSTED, "[CLS]|" M "the|[SEP]");
    assert_int_equal(tokenizer_first(t), 2);
    assert_int_equal(tokenizer_last(t), 3);
    /* 100 characters are a word, 101 are not. */
    char text[200];
    memset(text, 'a', sizeof text);
    struct token_list ids = {0};
    assert_true(tokenizer_encode(t, text, 100, NULL, &ids, NULL));
    assert_int_equal(ids.n, 100);
    ids.n = 0;
    assert_true(tokenizer_encode(t, text, 101, NULL, &ids, NULL));
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.ids[0], 1);
    ids.n = 0;
    struct buf out;
    buf_init(&out, 1000);
    assert_true(tokenizer_encode(t, "Unaffable, caf\xC3\xA9s", 17, NULL, &ids, NULL));
    tokenizer_decode(t, ids.ids, ids.n, false, &out);
    assert_string_equal(out.data, "unaffable , cafes");
    buf_free(&out);
    token_list_free(&ids);
    tokenizer_free(t);
}

static void test_wordpiece_cased(void **state)
{
    (void)state;
    struct tokenizer_spec *s = vocab_wordpiece();
    s->changes = CHANGE_CLEAN;
    struct tokenizer *t = open_spec(s);
    check(t, "the The", M "the|[UNK]");
    check(t, "\xC3\xA9", M "\xC3\xA9");
    check(t, "the\xE6\x97\xA5", "[UNK]");
    tokenizer_free(t);
}

/* ---- unigram ---- */

static void test_unigram(void **state)
{
    (void)state;
    struct tokenizer *t = open_spec(vocab_unigram(false));
    check(t, "the the", M "the|" M "the");
    check(t, "a", M "a");
    check(t, "abab", M "|ab|ab"); /* 8.5; "abab" as one costs 9 */
    check(t, "x", M "|<unk>");
    check(t, "xyz", M "|<unk>");
    check(t, "\xF0\x9F\x98\x80\xF0\x9F\x98\x81 x", M "|<unk>|" M "|<unk>");
    check(t, "\xFF\xFE", M "|<unk>");
    check(t, "<unk>", M "|<unk>"); /* its characters, of which none is known */
    check(t, "", "");
    check(t, "a<extra_id_0>the", M "a|<extra_id_0>|" M "the");
    check_trusted(t, "a</s>", TOKENIZER_ALL_TRUSTED, M "a|</s>");
    assert_int_equal(tokenizer_first(t), TOKENIZER_NO_TOKEN);
    assert_int_equal(tokenizer_last(t), 1);
    tokenizer_free(t);
    t = open_spec(vocab_unigram(true));
    check(t, "x", M "|<0x78>");
    check(t, "\xF0\x9F\x98\x80", M "|<0xF0>|<0x9F>|<0x98>|<0x80>");
    check(t, "\xC3\xA9t\xFF", M "|\xC3\xA9t|<0xFF>");
    tokenizer_free(t);
}

static void test_unigram_scores(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, -1e30f, 2e9f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tokenizer_spec *s = vocab_unigram(false);
        struct error e = {.code = ERROR_NONE};
        s->scores[5] = bad[i];
        assert_null(tokenizer_new(s, &e));
        assert_int_equal(e.code, ERROR_INPUT);
        assert_non_null(strstr(e.message, "token 5"));
        tokenizer_spec_free(s);
    }
}

/* By the definition: all ways to cut, the most probable; of equals, any. */
static double best_score(const struct tokenizer_spec *s, const char *text, size_t n)
{
    double best[64];
    best[0] = 0;
    for (size_t end = 1; end <= n; end++) {
        best[end] = -1e9;
        for (size_t from = 0; from < end; from++) {
            for (size_t i = 0; i < s->n_tokens; i++) {
                if (s->types[i] == TOKEN_NORMAL && s->tokens[i].len == end - from &&
                    memcmp(s->tokens[i].data, text + from, end - from) == 0 &&
                    best[from] + (double)s->scores[i] > best[end]) {
                    best[end] = best[from] + (double)s->scores[i];
                }
            }
        }
    }
    return best[n];
}

static void test_unigram_is_best(void **state)
{
    (void)state;
    struct tokenizer_spec *s = vocab_unigram(false);
    struct tokenizer *t = tokenizer_new(s, NULL);
    assert_non_null(t);
    struct rng r;
    rng_seed(&r, 3);
    for (int round = 0; round < 2000; round++) {
        char text[32], marked[64] = M;
        size_t n = 1 + rng_below(&r, 20), len = 3;
        for (size_t i = 0; i < n; i++) {
            text[i] = "aabbthe "[rng_below(&r, 8)];
            if (text[i] == ' ') {
                memcpy(marked + len, M, 3);
                len += 3;
            } else {
                marked[len++] = text[i];
            }
        }
        struct token_list ids = {0};
        assert_true(tokenizer_encode(t, text, n, NULL, &ids, NULL));
        double sum = 0;
        size_t at = 0;
        for (size_t i = 0; i < ids.n; i++) {
            struct gguf_string piece = tokenizer_spelling(t, ids.ids[i]);
            assert_true(at + piece.len <= len && memcmp(marked + at, piece.data, piece.len) == 0);
            at += piece.len;
            sum += (double)s->scores[ids.ids[i]];
        }
        assert_int_equal(at, len);
        assert_true(sum == best_score(s, marked, len));
        token_list_free(&ids);
    }
    tokenizer_free(t);
    tokenizer_spec_free(s);
}

static void test_spaces(void **state)
{
    (void)state;
    struct tokenizer_spec *s = vocab_unigram(false);
    s->remove_extra_whitespaces = true;
    struct tokenizer *t = open_spec(s);
    check(t, "  the   the  ", M "the|" M "the");
    check(t, "   ", "");
    check(t, "the " M, M "the"); /* as the sentencepiece library */
    tokenizer_free(t);
    s = vocab_unigram(false);
    s->add_space_prefix = false;
    t = open_spec(s);
    check(t, "the the", "the|" M "the");
    check(t, " the", M "the");
    tokenizer_free(t);
    s = vocab_unigram(false);
    s->space_prefix_unless_space = true;
    s->space_prefix_first_only = true;
    t = open_spec(s);
    check(t, " the", M "the");
    check(t, "the<extra_id_0>the", M "the|<extra_id_0>|the");
    tokenizer_free(t);
    s = vocab_unigram(false);
    s->whitespace_suffix = true;
    t = open_spec(s);
    check(t, "he a", "he|" M "a|" M);
    tokenizer_free(t);
    s = vocab_unigram(false);
    s->changes = CHANGE_SPACES;
    s->remove_extra_whitespaces = true;
    t = open_spec(s);
    check(t, "\n the\t\xE3\x80\x80the", M "the|" M "the");
    tokenizer_free(t);
    struct tokenizer_spec *bpe = vocab_bpe("gpt-2", 400);
    bpe->add_space_prefix = true;
    t = open_spec(bpe);
    check(t, "the", "\xC4\xA0the");
    check(t, " the", "\xC4\xA0the");
    tokenizer_free(t);
}

/* ---- rules of SentencePiece ---- */

/* ---- special tokens and what is around them ---- */

static void test_attributes(void **state)
{
    (void)state;
    struct tokenizer_spec *s = vocab_spm();
    static const char *const more[] = {"<L>", "<R>", "<LR>", "<W>"};
    static const uint8_t attributes[] = {TOKEN_STRIPS_LEFT, TOKEN_STRIPS_RIGHT,
                                         TOKEN_STRIPS_LEFT | TOKEN_STRIPS_RIGHT, TOKEN_WHOLE_WORD};
    s->attributes = arena_alloc(s->arena, 512);
    for (size_t i = 0; i < 4; i++) {
        s->tokens[s->n_tokens] = (struct gguf_string){more[i], strlen(more[i])};
        s->types[s->n_tokens] = TOKEN_USER_DEFINED;
        s->attributes[s->n_tokens++] = attributes[i];
    }
    struct tokenizer *t = open_spec(s);
    check(t, "the \t\n<L> the", M "the|<L>|" M "|" M "the");
    check(t, "the <R> \xE3\x80\x80\nthe", M "the|" M "|<R>|" M "the");
    check(t, "the  <LR>  the", M "the|<LR>|" M "the");
    check(t, "<R>  <L>", "<R>|<L>");
    check(t, "<R>  <R>", "<R>|<R>");
    check(t, "  <L>", "<L>");
    check(t, "<R>  ", "<R>");
    check(t, "a <W> a", M "a|" M "|<W>|" M "|" M "a");
    check(t, "a<W>", M "a|<|<0x57>|<0x3E>");
    check(t, "<W>\xC3\xA9", M "|<|<0x57>|<0x3E>|\xC3\xA9");
    check(t, "<W>", "<W>");
    tokenizer_free(t);
}

/* Runs of newlines and spaces as tokens of their own, and no space in front, as Gemma has it. */
static void test_runs(void **state)
{
    (void)state;
    static const char *const runs[] = {"\n", "\n\n", "\n\n\n", "  ", "   ", "    "};
    struct tokenizer_spec *s = vocab_spm();
    s->add_space_prefix = false;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        s->tokens[s->n_tokens] = (struct gguf_string){runs[i], strlen(runs[i])};
        s->types[s->n_tokens++] = TOKEN_USER_DEFINED;
    }
    struct tokenizer *t = open_spec(s);
    check(t, "the the", "the|" M "the");
    check(t, "a\n\n\n\nb", "a|\n\n\n|\n|b");
    check(t, "a     the", "a|    |" M "the"); /* the longest run first, what is left is a word's */
    check(t, "the   \n\nthe", "the|   |\n\n|the");
    tokenizer_free(t);
}

/* A user-defined token that looks like a control token is not for people to write. */
static void test_looks_like_control(void **state)
{
    (void)state;
    struct tokenizer_spec *s = vocab_spm();
    static const char *const more[] = {"<|user|>",
                                       "[INST]",
                                       "<start_of_turn>",
                                       "<think>",
                                       "<|im_end|>",
                                       "<"
                                       "\xEF\xBD\x9C"
                                       "User"
                                       "\xEF\xBD\x9C"
                                       ">"};
    for (size_t i = 0; i < 6; i++) {
        s->tokens[s->n_tokens] = (struct gguf_string){more[i], strlen(more[i])};
        s->types[s->n_tokens++] = i == 4 ? TOKEN_NORMAL : TOKEN_USER_DEFINED;
    }
    struct tokenizer *t = open_spec(s);
    for (size_t i = 0; i < 6; i++) {
        int32_t id = tokenizer_find(t, more[i], strlen(more[i]));
        struct token_list plain = {0}, trusted = {0};
        size_t n = strlen(more[i]);
        assert_true(tokenizer_encode(t, more[i], n, NULL, &plain, NULL));
        assert_true(tokenizer_encode(t, more[i], n, TOKENIZER_ALL_TRUSTED, &trusted, NULL));
        assert_int_equal(trusted.n, 1);
        assert_int_equal(trusted.ids[0], id);
        assert_int_equal(plain.n == 1 && plain.ids[0] == id, i == 3); /* "<think>" is a word */
        token_list_free(&plain);
        token_list_free(&trusted);
    }
    /* What ends an answer is a control token whatever its type in the file. */
    int32_t end = tokenizer_find(t, "<|im_end|>", 10);
    assert_true(tokenizer_is_control(t, end) && tokenizer_is_end(t, end));
    tokenizer_free(t);
}

/* ---- infill ---- */

static void check_infill(const struct tokenizer *t, enum infill_order order, const char *want)
{
    struct token_list ids = {0};
    struct error e = {.code = ERROR_NONE};
    assert_true(tokenizer_infill(t, order, "the", 3, " the", 4, &ids, &e));
    char *got = spelled(t, &ids);
    assert_string_equal(got, want);
    free(got);
    token_list_free(&ids);
}

static void test_infill(void **state)
{
    (void)state;
    struct tokenizer_spec *s = vocab_spm();
    static const char *const more[] = {M "<PRE>", M "<SUF>", M "<MID>"};
    for (size_t i = 0; i < 3; i++) {
        s->tokens[s->n_tokens] = (struct gguf_string){more[i], strlen(more[i])};
        s->types[s->n_tokens++] = TOKEN_CONTROL;
    }
    struct tokenizer *t = open_spec(s);
    assert_int_equal(tokenizer_role(t, ROLE_FIM_MIDDLE), tokenizer_find(t, more[2], 8));
    check_infill(t, INFILL_PSM, "<s>|" M "<PRE>|" M "the|" M "<SUF>|" M "the|" M "<MID>");
    check_infill(t, INFILL_SPM, "<s>|" M "<PRE>|" M "<SUF>|" M "the|" M "<MID>|" M "the");
    tokenizer_free(t);
    struct tokenizer_spec *bpe = vocab_bpe("gpt-2", 400);
    bpe->roles[ROLE_FIM_PREFIX] = 0;
    bpe->roles[ROLE_FIM_SUFFIX] = 1;
    bpe->roles[ROLE_FIM_MIDDLE] = 2;
    t = open_spec(bpe);
    check_infill(t, INFILL_PSM, "<|endoftext|>|the|<|im_start|>|\xC4\xA0the|<|im_end|>");
    tokenizer_free(t);
    t = open_spec(vocab_spm());
    struct token_list ids = {0};
    struct error e = {.code = ERROR_NONE};
    assert_false(tokenizer_infill(t, INFILL_PSM, "a", 1, "b", 1, &ids, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_int_equal(ids.n, 0);
    tokenizer_free(t);
}

/* ---- where tokens lie ---- */

static void check_spans(const struct tokenizer *t, const char *text, size_t n, bool lossless)
{
    struct token_list ids = {0}, plain = {0};
    struct span_list spans = {0};
    assert_true(tokenizer_encode_spans(t, text, n, TOKENIZER_ALL_TRUSTED, &ids, &spans, NULL));
    assert_true(tokenizer_encode(t, text, n, TOKENIZER_ALL_TRUSTED, &plain, NULL));
    assert_int_equal(ids.n, plain.n);
    assert_true(ids.n == 0 || memcmp(ids.ids, plain.ids, ids.n * sizeof *ids.ids) == 0);
    assert_int_equal(spans.n, ids.n);
    size_t last = 0;
    for (size_t i = 0; i < ids.n; i++) {
        const struct token_span *s = &spans.spans[i];
        assert_true(s->start <= s->end && s->end <= n && s->start >= last);
        last = s->start;
        struct buf piece;
        buf_init(&piece, 1 << 16);
        tokenizer_append_piece(t, ids.ids[i], true, &piece);
        size_t len = s->end - s->start;
        /* The bytes are those of the token, but for a space that was put in front. */
        if (lossless && (piece.len < len ||
                         memcmp(piece.data + (piece.len - len), text + s->start, len) != 0)) {
            fail_msg("token %zu of \"%.*s\" is said to lie at %u..%u", i, (int)n, text, s->start,
                     s->end);
        }
        buf_free(&piece);
    }
    if (lossless && ids.n) {
        assert_int_equal(spans.spans[ids.n - 1].end, n);
    }
    token_list_free(&ids);
    token_list_free(&plain);
    span_list_free(&spans);
}

static void test_spans(void **state)
{
    (void)state;
    struct tokenizer_spec *nfc = vocab_bpe("gpt-2", 400), *spaces = vocab_unigram(true);
    nfc->changes = CHANGE_NFC;
    spaces->remove_extra_whitespaces = true;
    struct tokenizer *all[] = {open_spec(vocab_spm()),
                               open_spec(vocab_bpe("gpt-2", 400)),
                               open_spec(vocab_bpe("deepseek-coder", 400)),
                               open_spec(vocab_unigram(true)),
                               open_spec(nfc),
                               open_spec(spaces),
                               open_spec(vocab_wordpiece())};
    static const char *const bits[] = {
        "the ", "\xC3\xA9t", "e\xCC\x81",   "\xF0\x9F\x98\x80", "<code>",     "  ",
        "\xFF", "</s>",      "1234",        "\xED\x95\x9C",     "<|im_end|>", "<extra_id_0>",
        "\n",   "a",         "\xE6\x97\xA5"};
    struct rng r;
    rng_seed(&r, 8);
    for (int round = 0; round < 500; round++) {
        char text[256] = "";
        for (uint64_t n = rng_below(&r, 12); n > 0; n--) {
            strcat(text, bits[rng_below(&r, sizeof bits / sizeof *bits)]);
        }
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            check_spans(all[i], text, strlen(text), i < 4);
        }
    }
    /* By hand: what is normalised knows its origin too. */
    struct token_list ids = {0};
    struct span_list spans = {0};
    static const char text[] = "The caf\xC3\xA9s, un";
    assert_true(tokenizer_encode_spans(all[6], text, sizeof text - 1, NULL, &ids, &spans, NULL));
    static const struct token_span want[] = {{0, 3}, {4, 9}, {9, 10}, {10, 11}, {12, 14}};
    assert_int_equal(spans.n, 5);
    assert_memory_equal(spans.spans, want, sizeof want);
    token_list_free(&ids);
    span_list_free(&spans);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        tokenizer_free(all[i]);
    }
}

/* ---- padding ---- */

static void test_pad(void **state)
{
    (void)state;
    struct tokenizer_spec *specs[] = {vocab_spm(), vocab_bpe("gpt-2", 300), vocab_unigram(false)};
    for (size_t i = 0; i < 3; i++) {
        struct tokenizer_spec *s = specs[i];
        size_t n = s->n_tokens;
        assert_true(tokenizer_spec_pad(s, n - 1, NULL));
        assert_int_equal(s->n_tokens, n);
        assert_true(tokenizer_spec_pad(s, n + 3, NULL));
        assert_int_equal(s->n_tokens, n + 3);
        char want[32];
        snprintf(want, sizeof want, "[PAD%zu]", n + 2);
        assert_memory_equal(s->tokens[n + 2].data, want, s->tokens[n + 2].len);
        assert_int_equal(s->types[n + 2], TOKEN_UNUSED);
        struct error e = {.code = ERROR_NONE};
        assert_false(tokenizer_spec_pad(s, (size_t)1 << 40, &e));
        assert_int_equal(e.code, ERROR_LIMIT);
        tokenizer_free(open_spec(s));
    }
}

/* ---- work ---- */

static void test_work_is_linear(void **state)
{
    (void)state;
    uint8_t map[8192];
    struct tokenizer_spec *rules = vocab_unigram(true), *nfc = vocab_bpe("qwen2", 400);
    struct tokenizer_spec *merged = vocab_spm();
    static struct gguf_string merges[] = {{"a a", 3}, {"aa aa", 5}, {"a b", 3}};
    rules->charsmap = map;
    rules->charsmap_bytes = make_charsmap(map);
    merged->merges = merges;
    merged->n_merges = 3;
    struct tokenizer *all[] = {open_spec(vocab_spm()),
                               open_spec(vocab_bpe("gpt-2", 400)),
                               open_spec(nfc),
                               open_spec(vocab_bpe("llama-bpe", 400)),
                               open_spec(vocab_wordpiece()),
                               open_spec(vocab_unigram(true)),
                               open_spec(rules),
                               open_spec(merged)};
    static const char *const units[] = {"a",
                                        " ",
                                        "\n",
                                        "\xF0\x9F\x98\x80",
                                        "1",
                                        "\xFF",
                                        "ab",
                                        "'",
                                        "<|im_start|",
                                        "A\xCC\x80",
                                        "<code>",
                                        "<",
                                        "\xCC\x96\xCC\x81",
                                        M,
                                        "aaaa",
                                        "the ",
                                        "\xE6\x97\xA5",
                                        "\xE1\x84\x92",
                                        "A",
                                        "-",
                                        "[CLS]",
                                        "<extra_id_",
                                        "\xC3\xA9t",
                                        ".",
                                        "\r\n",
                                        "\xCC\x81"};
    enum { N = 1 << 15 };
    char *text = malloc(2 * N);
    assert_non_null(text);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            uint64_t work[2];
            for (size_t twice = 0; twice < 2; twice++) {
                size_t n = N << twice, len = strlen(units[u]);
                for (size_t i = 0; i < n; i++) {
                    text[i] = units[u][i % len];
                }
                struct token_list ids = {0};
                assert_true(tokenizer_encode_counted(all[k], text, n, &ids, &work[twice], NULL));
                token_list_free(&ids);
            }
            /* n log n steps at most: twice the text takes 2.2 times the steps, not 4 times. */
            if ((double)work[1] > 2.3 * (double)work[0] + 1000 || work[0] > 120u * N) {
                fail_msg("vocabulary %zu: %d bytes of \"%s\" took %llu steps, %d took %llu", k, N,
                         units[u], (unsigned long long)work[0], 2 * N, (unsigned long long)work[1]);
            }
        }
    }
    free(text);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        tokenizer_free(all[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wordpiece),
        cmocka_unit_test(test_wordpiece_cased),
        cmocka_unit_test(test_unigram),
        cmocka_unit_test(test_unigram_scores),
        cmocka_unit_test(test_unigram_is_best),
        cmocka_unit_test(test_spaces),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_looks_like_control),
        cmocka_unit_test(test_infill),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_pad),
        cmocka_unit_test(test_work_is_linear),
    };
    return cmocka_run_group_tests_name("tokenizer_families", tests, NULL, NULL);
}
