/* The trainer: by hand, against a slow twin, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "vocabs.h"

static void test_train_by_hand(void **state)
{
    (void)state;
    /* Words (gpt-2): "ab" x3, " ab" x2, "abc". Pairs: a b 6, then (space, ab) 2 and nothing else
     * that is seen twice. */
    static const char *const texts[] = {"ab ab\nab ab\nabc\nab"};
    const size_t lengths[] = {strlen(texts[0])};
    struct bpe_training how = {.pre = "gpt-2", .n_tokens = 1000, .min_count = 2};
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = bpe_train(&how, texts, lengths, 1, &e);
    assert_non_null(s);
    assert_int_equal(s->n_merges, 2);
    assert_int_equal(s->n_tokens, 258);
    assert_int_equal(s->merges[0].len, 3);
    assert_memory_equal(s->merges[0].data, "a b", 3);
    assert_memory_equal(s->merges[1].data, "\xC4\xA0 ab", 5);
    assert_false(s->add_bos);
    tokenizer_spec_free(s);

    /* Ties: the pair with lower ids first. */
    static const char *const tied[] = {"xy\nab\nxy\nab"};
    const size_t tied_length[] = {11};
    how.n_tokens = 257;
    s = bpe_train(&how, tied, tied_length, 1, &e);
    assert_non_null(s);
    assert_int_equal(s->n_merges, 1);
    assert_memory_equal(s->merges[0].data, "a b", 3);
    tokenizer_spec_free(s);
}

static void test_train_specials(void **state)
{
    (void)state;
    struct tokenizer_spec *s = vocab_bpe("gpt-2", 400);
    assert_int_equal(s->types[0], TOKEN_CONTROL);
    assert_int_equal(s->types[2], TOKEN_CONTROL);
    assert_int_equal(s->types[3], TOKEN_NORMAL);
    assert_int_equal(s->roles[ROLE_EOS], 2);
    for (size_t i = 0; i < s->n_merges; i++) { /* their spellings taught nothing */
        assert_null(memmem(s->merges[i].data, s->merges[i].len, "im_", 3));
    }
    tokenizer_spec_free(s);
    static const char *const twice[] = {"<a>", "<a>"}, *const byte[] = {"a"};
    struct bpe_training how = {.pre = "gpt-2", .n_tokens = 300, .specials = twice, .n_specials = 2};
    struct error e = {.code = ERROR_NONE};
    assert_null(bpe_train(&how, NULL, NULL, 0, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    how.specials = byte;
    how.n_specials = 1;
    assert_null(bpe_train(&how, NULL, NULL, 0, &e));
    how.n_specials = 0;
    how.bos = "<none>";
    assert_null(bpe_train(&how, NULL, NULL, 0, &e));
    how.bos = NULL;
    how.n_tokens = 255;
    assert_null(bpe_train(&how, NULL, NULL, 0, &e));
    how.n_tokens = 256;
    how.pre = "martian";
    assert_null(bpe_train(&how, NULL, NULL, 0, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    how.pre = NULL;
    s = bpe_train(&how, NULL, NULL, 0, &e);
    assert_non_null(s);
    assert_int_equal(s->n_tokens, 256);
    tokenizer_spec_free(s);
}

/* By the definition: count all pairs of all words, join the most frequent, again. The words are the
 * lines; tokens are numbers, their spellings kept beside. Returns the merges, one a line. */
enum { MAX_TEXT = 400, MAX_TOKENS = 400 };

struct twin {
    int ids[MAX_TEXT]; /* -1 between words */
    size_t n;
    char *spellings[MAX_TOKENS];
    int n_tokens;
    struct buf merges;
};

static int count_pair(const struct twin *w, int left, int right)
{
    int count = 0;
    for (size_t i = 0; i + 1 < w->n; i++) {
        count += w->ids[i] == left && w->ids[i + 1] == right;
    }
    return count;
}

static int token_named(struct twin *w, const char *spelling)
{
    for (int i = 0; i < w->n_tokens; i++) {
        if (strcmp(w->spellings[i], spelling) == 0) {
            return i;
        }
    }
    w->spellings[w->n_tokens] = mem_strdup(spelling);
    return w->n_tokens++;
}

static bool merge_best(struct twin *w, int min_count)
{
    int best = 0, left = 0, right = 0;
    for (size_t i = 0; i + 1 < w->n; i++) {
        int a = w->ids[i], b = w->ids[i + 1];
        int count = a < 0 || b < 0 ? 0 : count_pair(w, a, b);
        if (count > best || (count == best && (a < left || (a == left && b < right)))) {
            best = count;
            left = a;
            right = b;
        }
    }
    if (best < min_count) {
        return false;
    }
    char whole[2 * MAX_TEXT];
    snprintf(whole, sizeof whole, "%s%s", w->spellings[left], w->spellings[right]);
    buf_printf(&w->merges, "%s %s\n", w->spellings[left], w->spellings[right]);
    int id = token_named(w, whole);
    size_t len = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (i + 1 < w->n && w->ids[i] == left && w->ids[i + 1] == right) {
            w->ids[len++] = id;
            i++;
        } else {
            w->ids[len++] = w->ids[i];
        }
    }
    w->n = len;
    return true;
}

static void check_against_twin(const char *text, size_t n, int n_merged, uint32_t min_count)
{
    struct twin w = {.n = 0};
    buf_init(&w.merges, 1 << 20);
    for (char c = 'a'; c <= 'z'; c++) {
        token_named(&w, (char[2]){c, 0});
    }
    for (size_t i = 0; i < n; i++) {
        w.ids[w.n++] = text[i] == '\n' ? -1 : text[i] - 'a';
    }
    while (w.n_tokens < 26 + n_merged && merge_best(&w, (int)min_count)) {
    }
    struct bpe_training how = {
        .pre = "gpt-2", .n_tokens = 256 + (size_t)n_merged, .min_count = min_count};
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = bpe_train(&how, &text, &n, 1, &e);
    assert_non_null(s);
    struct buf merges;
    buf_init(&merges, 1 << 20);
    for (size_t i = 0; i < s->n_merges; i++) {
        buf_append(&merges, s->merges[i].data, s->merges[i].len);
        buf_append_char(&merges, '\n');
    }
    assert_string_equal(merges.data ? merges.data : "", w.merges.data ? w.merges.data : "");
    assert_int_equal(s->n_tokens, 256 + (size_t)w.n_tokens - 26);
    buf_free(&merges);
    buf_free(&w.merges);
    for (int i = 0; i < w.n_tokens; i++) {
        free(w.spellings[i]);
    }
    tokenizer_spec_free(s);
}

static void test_train_against_slow_twin(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    for (int round = 0; round < 150; round++) {
        char text[MAX_TEXT];
        size_t n = 1 + rng_below(&r, MAX_TEXT);
        uint64_t letters = 1 + rng_below(&r, 5), word = 2 + rng_below(&r, 40);
        for (size_t i = 0; i < n; i++) {
            /* A line break is a word of its own only between two letters. */
            bool cut = i > 0 && i + 1 < n && text[i - 1] != '\n' && rng_below(&r, word) == 0;
            text[i] = cut ? '\n' : (char)('a' + rng_below(&r, letters));
        }
        /* A word of more than 256 bytes would be counted in parts. */
        for (size_t i = 200; i < n; i += 200) {
            text[i] = text[i - 1] != '\n' && i + 1 < n && text[i + 1] != '\n' ? '\n' : text[i];
        }
        check_against_twin(text, n, (int)rng_below(&r, 60), 2 + (uint32_t)rng_below(&r, 3));
    }
}

static void test_train_long_words(void **state)
{
    (void)state;
    enum { N = 100000 };
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, 'a', N);
    const char *texts[] = {text};
    const size_t lengths[] = {N};
    struct bpe_training how = {.pre = "gpt-2", .n_tokens = 300, .min_count = 2};
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = bpe_train(&how, texts, lengths, 1, &e);
    assert_non_null(s);
    assert_true(s->n_merges >= 8); /* 2, 4, 8, ... 256 letters */
    assert_int_equal(s->tokens[256 + 7].len, 256);
    tokenizer_spec_free(s);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_by_hand),
        cmocka_unit_test(test_train_specials),
        cmocka_unit_test(test_train_against_slow_twin),
        cmocka_unit_test(test_train_long_words),
    };
    return cmocka_run_group_tests_name("tokenizer_train", tests, NULL, NULL);
}
