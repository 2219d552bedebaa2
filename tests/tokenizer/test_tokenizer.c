/* Small vocabularies built here: matching against slow twins, trust, hostile inputs, threads,
 * errors. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "vocabs.h"

static struct tokenizer *spm, *gpt2, *smollm;
static struct tokenizer_spec *spm_spec, *gpt2_spec, *smollm_spec;

static struct tokenizer *make(const struct tokenizer_spec *spec)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer *t = tokenizer_new(spec, &e);
    if (!t) {
        fail_msg("%s", e.message);
    }
    return t;
}

static int set_up(void **state)
{
    (void)state;
    spm_spec = vocab_spm();
    gpt2_spec = vocab_bpe("gpt-2", 400);
    smollm_spec = vocab_bpe("smollm", 400);
    spm = make(spm_spec);
    gpt2 = make(gpt2_spec);
    smollm = make(smollm_spec);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tokenizer_free(spm);
    tokenizer_free(gpt2);
    tokenizer_free(smollm);
    tokenizer_spec_free(spm_spec);
    tokenizer_spec_free(gpt2_spec);
    tokenizer_spec_free(smollm_spec);
    return 0;
}

static struct token_list encode(const struct tokenizer *t, const char *text, size_t n,
                                const uint8_t *trusted)
{
    struct token_list ids = {0};
    struct error e = {.code = ERROR_NONE};
    if (!tokenizer_encode(t, text, n, trusted, &ids, &e)) {
        fail_msg("%s", e.message);
    }
    return ids;
}

static size_t count_of(const struct token_list *l, int32_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += l->ids[i] == id;
    }
    return n;
}

static void assert_same_ids(const struct token_list *a, const struct token_list *b)
{
    assert_int_equal(a->n, b->n);
    assert_true(a->n == 0 || memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0);
}

static void check_round_trip(const struct tokenizer *t, const char *text, size_t n)
{
    struct token_list ids = encode(t, text, n, NULL);
    for (size_t i = 0; i < ids.n; i++) {
        assert_in_range(ids.ids[i], 0, tokenizer_count(t) - 1);
        assert_false(tokenizer_is_control(t, ids.ids[i]));
    }
    struct buf back;
    buf_init(&back, (size_t)1 << 30);
    tokenizer_decode(t, ids.ids, ids.n, false, &back);
    if (back.len != n || (n && memcmp(back.data, text, n) != 0)) {
        fail_msg("%zu bytes came back as %zu other bytes", n, back.len);
    }
    buf_free(&back);
    token_list_free(&ids);
}

static void check_ids(const struct tokenizer *t, const char *text, const uint8_t *trusted,
                      const char *const *spellings, size_t n)
{
    struct token_list ids = encode(t, text, strlen(text), trusted);
    bool same = ids.n == n;
    for (size_t i = 0; same && i < n; i++) {
        struct gguf_string s = tokenizer_spelling(t, ids.ids[i]);
        same = s.len == strlen(spellings[i]) && memcmp(s.data, spellings[i], s.len) == 0;
    }
    if (!same) {
        for (size_t i = 0; i < ids.n; i++) {
            struct gguf_string s = tokenizer_spelling(t, ids.ids[i]);
            print_message("# [%.*s]\n", (int)s.len, s.data);
        }
        fail_msg("\"%s\" became other tokens than expected", text);
    }
    token_list_free(&ids);
}

#define CHECK(t, text, trusted, ...)                                                               \
    check_ids(t, text, trusted, (const char *const[]){__VA_ARGS__},                                \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

#define M "\xE2\x96\x81"

static void test_spm_known(void **state)
{
    (void)state;
    CHECK(spm, "the", NULL, M "the");
    CHECK(spm, "the the", NULL, M "the", M "the");
    CHECK(spm, "\xC3\xA9t", NULL, M, "\xC3\xA9t");
    CHECK(spm, "A", NULL, M, "<0x41>");
    CHECK(spm, "\xE2\x82\xAC", NULL, M, "<0xE2>", "<0x82>", "<0xAC>");
    CHECK(spm, "\377a", NULL, M, "<0xFF>", "a");
    CHECK(spm, "\n", NULL, M, "<0x0A>");
    /* A prefix at the start and after each special token, as upstream. */
    CHECK(spm, "the<code>the", NULL, M "the", "<code>", M "the");
    CHECK(spm, "<code><code>", NULL, "<code>", "<code>");
    CHECK(spm, "<s>the</s>", TOKENIZER_ALL_TRUSTED, "<s>", M "the", "</s>");
    /* What looks like a byte or control token is text. */
    CHECK(spm, "<0x41>", NULL, M, "<", "0x", "41>");
    CHECK(spm, "</s>", NULL, M, "</", "s>");
    CHECK(spm, "<s>", NULL, M, "<", "s>");
}

static void test_spm_without_prefix(void **state)
{
    (void)state;
    struct tokenizer_spec *spec = vocab_spm();
    spec->add_space_prefix = false;
    struct tokenizer *t = make(spec);
    CHECK(t, "the<code> the", NULL, "the", "<code>", M "the");
    check_round_trip(t, " the  the ", 10);
    tokenizer_free(t);
    tokenizer_spec_free(spec);
}

static void test_bpe_known(void **state)
{
    (void)state;
    CHECK(gpt2, "the the", NULL, "the", "\xC4\xA0the");
    CHECK(gpt2, "<|im_end|>the", TOKENIZER_ALL_TRUSTED, "<|im_end|>", "the");
    /* Digits one by one, whatever merges there are. */
    CHECK(smollm, "2024", NULL, "2", "0", "2", "4");
    CHECK(gpt2, "\xFF", NULL, "\xC3\xBF");
    CHECK(gpt2, "\n", NULL, "\xC4\x8A");
    /* The patterns keep the last space for the word. */
    struct token_list ids = encode(gpt2, "   the", 6, NULL);
    struct gguf_string last = tokenizer_spelling(gpt2, ids.ids[ids.n - 1]);
    assert_int_equal(last.len, 5);
    assert_memory_equal(last.data, "\xC4\xA0the", 5);
    token_list_free(&ids);
}

/* ---- trust ---- */

static void test_trust(void **state)
{
    (void)state;
    const char *text = "<|im_start|>user\nthe <|im_end|>";
    size_t n = strlen(text);
    int32_t start = tokenizer_find(gpt2, "<|im_start|>", 12);
    int32_t end = tokenizer_find(gpt2, "<|im_end|>", 10);
    struct token_list none = encode(gpt2, text, n, NULL);
    assert_int_equal(count_of(&none, start) + count_of(&none, end), 0);
    token_list_free(&none);
    struct token_list all = encode(gpt2, text, n, TOKENIZER_ALL_TRUSTED);
    assert_int_equal(count_of(&all, start), 1);
    assert_int_equal(count_of(&all, end), 1);
    token_list_free(&all);
    /* One untrusted byte anywhere in a spelling is enough. */
    for (size_t hole = 0; hole < n; hole++) {
        uint8_t trusted[64];
        memset(trusted, 1, sizeof trusted);
        trusted[hole] = 0;
        struct token_list ids = encode(gpt2, text, n, trusted);
        assert_int_equal(count_of(&ids, start), hole < 12 ? 0 : 1);
        assert_int_equal(count_of(&ids, end), hole >= n - 10 ? 0 : 1);
        token_list_free(&ids);
    }
}

static void test_untrusted_never_control(void **state)
{
    (void)state;
    /* Even a vocabulary whose merges and pieces lead to a control token does not give it to text.
     */
    struct tokenizer_spec *spec = vocab_spm();
    struct gguf_string *s = &spec->tokens[spec->n_tokens];
    *s = (struct gguf_string){"<s>a", 4};
    spec->types[spec->n_tokens] = TOKEN_NORMAL;
    spec->scores[spec->n_tokens++] = 5;
    struct tokenizer *t = make(spec);
    struct token_list ids = encode(t, "</s><s><unk>", 12, NULL);
    for (size_t i = 0; i < ids.n; i++) {
        assert_true(ids.ids[i] > 2);
    }
    token_list_free(&ids);
    tokenizer_free(t);
    tokenizer_spec_free(spec);

    struct tokenizer_spec *bpe = vocab_bpe("gpt-2", 300);
    int32_t target = (int32_t)bpe->n_tokens - 1;
    bpe->types[target] = TOKEN_CONTROL;
    t = make(bpe);
    struct buf text;
    buf_init(&text, 1000);
    tokenizer_append_piece(gpt2, target, false, &text); /* the same training: the same spelling */
    ids = encode(t, text.data, text.len, NULL);
    assert_int_equal(count_of(&ids, target), 0);
    token_list_free(&ids);
    buf_free(&text);
    tokenizer_free(t);
    tokenizer_spec_free(bpe);
}

static void test_longest_special_first(void **state)
{
    (void)state;
    struct tokenizer_spec *spec = vocab_spm();
    static const char *const more[] = {"<a", "<a><b>", "<b><c>", "<c>!", "<a>"};
    for (size_t i = 0; i < 5; i++) {
        spec->tokens[spec->n_tokens] = (struct gguf_string){more[i], strlen(more[i])};
        spec->types[spec->n_tokens] = i == 2 ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
        spec->n_tokens++;
    }
    struct tokenizer *t = make(spec);
    CHECK(t, "<a><b><c>!", NULL, "<a><b>", "<c>!");
    CHECK(t, "<a><b><c>!", TOKENIZER_ALL_TRUSTED, "<a><b>", "<c>!");
    CHECK(t, "<a<b><c>", TOKENIZER_ALL_TRUSTED, "<a", "<b><c>");
    CHECK(t, "<a><a><a", NULL, "<a>", "<a>", "<a");
    tokenizer_free(t);
    tokenizer_spec_free(spec);
}

/* ---- slow twins ---- */

/* SentencePiece by the definition: look at all neighbours, join the best, again. */
static void slow_spm(const char *text, size_t n, struct token_list *out)
{
    struct piece {
        const char *at;
        size_t len;
    } pieces[400];
    char escaped[1600];
    size_t len = 0, count = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i == 0 || text[i - 1] == ' ') {
            memcpy(escaped + len, M, 3);
            pieces[count++] = (struct piece){escaped + len, 3};
            len += 3;
        } else {
            escaped[len] = text[i - 1];
            pieces[count++] = (struct piece){escaped + len++, 1};
        }
    }
    for (;;) {
        size_t best = count;
        float best_score = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            int32_t id = tokenizer_find(spm, pieces[i].at, pieces[i].len + pieces[i + 1].len);
            if (id >= 0 && spm_spec->types[id] == TOKEN_NORMAL &&
                (best == count || spm_spec->scores[id] > best_score)) {
                best = i;
                best_score = spm_spec->scores[id];
            }
        }
        if (best == count) {
            break;
        }
        pieces[best].len += pieces[best + 1].len;
        memmove(&pieces[best + 1], &pieces[best + 2], (count - best - 2) * sizeof pieces[0]);
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        token_list_add(out, tokenizer_find(spm, pieces[i].at, pieces[i].len));
    }
}

/* A word of lower-case letters, by the definition: the earliest rule that applies, leftmost. */
static void slow_bpe(const char *word, size_t n, struct token_list *out)
{
    struct part {
        const char *at;
        size_t len;
    } parts[64];
    size_t count = n;
    for (size_t i = 0; i < n; i++) {
        parts[i] = (struct part){word + i, 1};
    }
    for (size_t rule = 0; rule < gpt2_spec->n_merges;) {
        const struct gguf_string *m = &gpt2_spec->merges[rule];
        size_t i = 0;
        for (; i + 1 < count; i++) {
            const struct part *l = &parts[i], *r = &parts[i + 1];
            if (m->len == l->len + 1 + r->len && memcmp(m->data, l->at, l->len) == 0 &&
                m->data[l->len] == ' ' && memcmp(m->data + l->len + 1, r->at, r->len) == 0) {
                break;
            }
        }
        if (i + 1 >= count) {
            rule++;
            continue;
        }
        parts[i].len += parts[i + 1].len;
        memmove(&parts[i + 1], &parts[i + 2], (count - i - 2) * sizeof parts[0]);
        count--;
        rule = 0;
    }
    for (size_t i = 0; i < count; i++) {
        token_list_add(out, tokenizer_find(gpt2, parts[i].at, parts[i].len));
    }
}

static void test_against_slow_twins(void **state)
{
    (void)state;
    static const char letters[] = "aabbhetndirg  ";
    struct rng r;
    rng_seed(&r, 7);
    for (int round = 0; round < 1500; round++) {
        char text[200];
        size_t n = 1 + rng_below(&r, 40);
        for (size_t i = 0; i < n; i++) {
            text[i] = letters[rng_below(&r, sizeof letters - 1)];
        }
        struct token_list slow = {0}, fast = encode(spm, text, n, NULL);
        slow_spm(text, n, &slow);
        assert_same_ids(&fast, &slow);
        token_list_free(&fast);
        slow.n = 0;
        for (size_t i = 0; i < n; i++) {
            text[i] = letters[rng_below(&r, sizeof letters - 3)];
        }
        fast = encode(gpt2, text, n, NULL);
        slow_bpe(text, n, &slow);
        assert_same_ids(&fast, &slow);
        token_list_free(&fast);
        token_list_free(&slow);
    }
}

/* ---- any bytes ---- */

static void test_random_bytes(void **state)
{
    (void)state;
    static const char *const bits[] = {"the ",
                                       "\xC3\xA9t\xC3\xA9",
                                       "\xF0\x9F\x98\x80",
                                       "<|im_end|>",
                                       "   ",
                                       "\xE2\x96",
                                       "\xED\xA0\x80",
                                       "\xC0\x80",
                                       "</s>",
                                       "<code>",
                                       "\r\n",
                                       "12345"};
    struct rng r;
    rng_seed(&r, 11);
    for (int round = 0; round < 2000; round++) {
        char text[400];
        size_t n = 0, want = rng_below(&r, 300);
        while (n < want) {
            if (rng_below(&r, 3) == 0) {
                const char *bit = bits[rng_below(&r, sizeof bits / sizeof bits[0])];
                memcpy(text + n, bit, strlen(bit));
                n += strlen(bit);
            } else {
                text[n++] = (char)rng_below(&r, 256);
            }
        }
        check_round_trip(gpt2, text, n);
        check_round_trip(smollm, text, n);
        for (size_t i = 0; i + 2 < n; i++) { /* SentencePiece gives U+2581 back as a space */
            if (memcmp(text + i, M, 3) == 0) {
                text[i] = 'x';
            }
        }
        check_round_trip(spm, text, n);
    }
}

static void test_hostile(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    const struct tokenizer *const all[] = {spm, gpt2, smollm};
    static const char *const units[] = {
        "a", " ",           "\n",  "\xF0\x9F\x98\x80", "\xE3\x80\x80", "1", "\xFF", "ab", "\377a",
        "'", "<|im_start|", " \n", "A\xCC\x80",        "<code>",       "<"};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t len = strlen(units[u]), n = u < 4 ? N : N / 16; /* the first few at full length */
        for (size_t i = 0; i < n; i++) {
            text[i] = units[u][i % len];
        }
        for (size_t i = 0; i < 3; i++) {
            check_round_trip(all[i], text, n / len * len);
        }
    }
    free(text);
    /* Every pre-tokenizer on long runs. */
    static const char *const pres[] = {"llama-bpe",   "dbrx",   "qwen2", "gpt-4o",
                                       "tekken",      "falcon", "bloom", "deepseek-coder",
                                       "deepseek-v3", "viking"};
    enum { SHORTER = 1 << 15 };
    text = malloc(SHORTER + 1);
    assert_non_null(text);
    for (size_t p = 0; p < sizeof pres / sizeof pres[0]; p++) {
        struct tokenizer_spec *spec = vocab_bpe(pres[p], 300);
        struct tokenizer *t = make(spec);
        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            size_t len = strlen(units[u]);
            for (size_t i = 0; i < SHORTER; i++) {
                text[i] = units[u][i % len];
            }
            text[SHORTER] = 'x';
            if (strcmp(pres[p], "qwen2") != 0 || strcmp(units[u], "A\xCC\x80") != 0) {
                check_round_trip(t, text, SHORTER + 1); /* that one becomes one character */
            }
        }
        tokenizer_free(t);
        tokenizer_spec_free(spec);
    }
    free(text);
}

static void test_empty_and_too_long(void **state)
{
    (void)state;
    check_round_trip(spm, "", 0);
    check_round_trip(gpt2, "", 0);
    struct token_list ids = {0};
    struct error e = {.code = ERROR_NONE};
    assert_false(tokenizer_encode(gpt2, "", (size_t)TOKENIZER_MAX_TEXT_BYTES + 1, NULL, &ids, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_int_equal(ids.n, 0);
}

/* ---- decoding and questions ---- */

static void test_decode(void **state)
{
    (void)state;
    struct token_list ids = encode(spm, "<s> the<code>the</s>", 20, TOKENIZER_ALL_TRUSTED);
    struct buf out;
    buf_init(&out, 1000);
    tokenizer_decode(spm, ids.ids, ids.n, false, &out);
    assert_string_equal(out.data, " the<code>the");
    buf_clear(&out);
    tokenizer_decode(spm, ids.ids, ids.n, true, &out);
    assert_string_equal(out.data, "<s> the<code>the</s>");
    buf_clear(&out);
    tokenizer_append_piece(spm, tokenizer_find(spm, M "the", 6), false, &out);
    tokenizer_append_piece(spm, 1, false, &out);
    tokenizer_append_piece(spm, -1, true, &out);
    tokenizer_append_piece(spm, 1 << 30, true, &out);
    assert_string_equal(out.data, " the");
    buf_free(&out);
    token_list_free(&ids);
    assert_int_equal(tokenizer_bos(spm), 1);
    assert_int_equal(tokenizer_eos(spm), 2);
    assert_true(tokenizer_add_bos(spm));
    assert_false(tokenizer_add_bos(gpt2));
    assert_string_equal(tokenizer_model_name(spm), "llama");
    assert_string_equal(tokenizer_model_name(gpt2), "gpt2");
    assert_int_equal(tokenizer_find(spm, "nowhere", 7), TOKENIZER_NO_TOKEN);
}

static void test_ends(void **state)
{
    (void)state;
    assert_true(tokenizer_is_end(spm, 2));
    assert_false(tokenizer_is_end(spm, 1));
    assert_false(tokenizer_is_end(spm, -1));
    assert_true(tokenizer_is_end(gpt2, tokenizer_find(gpt2, "<|im_end|>", 10)));
    assert_true(tokenizer_is_end(gpt2, tokenizer_find(gpt2, "<|endoftext|>", 13)));
    assert_false(tokenizer_is_end(gpt2, tokenizer_find(gpt2, "<|im_start|>", 12)));
}

/* ---- threads ---- */

struct thread_work {
    const char *text;
    size_t n;
    struct token_list spm_ids, bpe_ids;
};

static void *work(void *argument)
{
    struct thread_work *w = argument;
    for (int i = 0; i < 20; i++) {
        w->spm_ids.n = w->bpe_ids.n = 0;
        if (!tokenizer_encode(spm, w->text, w->n, NULL, &w->spm_ids, NULL) ||
            !tokenizer_encode(smollm, w->text, w->n, TOKENIZER_ALL_TRUSTED, &w->bpe_ids, NULL)) {
            abort();
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { N = 20000, THREADS = 4 };
    char *text = malloc(N);
    struct rng r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < N; i++) {
        text[i] = "abhetndirg <|im_>1\xC3\xA9\n"[rng_below(&r, 21)];
    }
    struct thread_work w[THREADS] = {{0}};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i].text = text;
        w[i].n = N;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_same_ids(&w[i].spm_ids, &w[0].spm_ids);
        assert_same_ids(&w[i].bpe_ids, &w[0].bpe_ids);
    }
    for (int i = 0; i < THREADS; i++) {
        token_list_free(&w[i].spm_ids);
        token_list_free(&w[i].bpe_ids);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_known),
        cmocka_unit_test(test_spm_without_prefix),
        cmocka_unit_test(test_bpe_known),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_untrusted_never_control),
        cmocka_unit_test(test_longest_special_first),
        cmocka_unit_test(test_against_slow_twins),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_empty_and_too_long),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, set_up, tear_down);
}
