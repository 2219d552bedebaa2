/* test_linear.c: the processor time of hostile texts grows with the text: 1 MB takes less than
 * three times what its first half takes, in every kind of vocabulary and through every
 * pre-tokenizer (these on a quarter of it, and with LLLM_SOAK=1 on all and with more texts). The
 * steps that are counted (test_families.c, test_pattern.c) say the same more exactly, of the loops
 * that count; a clock sees the others too. It is a ratio, so that a slow or busy machine fails it
 * no more than a fast one, and what takes less than SHORTEST is not looked at: were the work
 * quadratic, such a text would take seconds to minutes. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "checks.h"
#include "tokenizer/tokenizer_internal.h"
#include "vocabs.h"

enum { MB = 1 << 20, ROUNDS = 8, QUICK_UNITS = 3 };

#define SHORTEST 0.02 /* seconds */
#define BOUND    3.0

/* What such a text is made of, over and over. */
static const char *const units[] = {"a", " ",   "\xF0\x9F\x98\x80", "1", "\n", "A\xCC\x80",
                                    "'", "the "};

/* Work whose time depends on a length. */
typedef void work_fn(const void *what, size_t n);

struct hostile {
    const struct tokenizer *tokenizer;
    const char *text;
};

static void encode(const void *what, size_t n)
{
    const struct hostile *e = what;
    struct token_list ids = {0};
    assert_true(tokenizer_encode(e->tokenizer, e->text, n, NULL, &ids, NULL));
    token_list_free(&ids);
}

static bool is_soak(void)
{
    const char *soak = getenv("LLLM_SOAK");
    return soak && *soak && *soak != '0';
}

/* In registers: a sum in memory takes longer or shorter by where it lies and what stands around. */
static void square(const void *what, size_t n)
{
    (void)what;
    unsigned x = 1;
    for (size_t i = 0; i < n / 128 * (n / 128); i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    assert_int_not_equal(x, 0);
}

static double seconds(void)
{
    struct timespec ts;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts), 0);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static void keep_least(double *least, work_fn *work, const void *what, size_t n)
{
    double start = seconds();
    work(what, n);
    double took = seconds() - start;
    *least = took < *least ? took : *least;
}

/* The time of n over that of n / 2, each the least of up to ROUNDS; 0 where it is too short to say.
 * Another round only where the ratio is not good yet. *took: seconds. */
static double growth(work_fn *work, const void *what, size_t n, double *took)
{
    double half = 1e9, whole = 1e9, ratio = BOUND;
    keep_least(&whole, work, what,
               n); /* the first time, memory is fetched: it counts for no ratio */
    if (whole < SHORTEST) {
        *took = whole;
        return 0;
    }
    whole = 1e9;
    for (int round = 0; round < ROUNDS && ratio >= BOUND; round++) {
        keep_least(&whole, work, what, n);
        keep_least(&half, work, what, n / 2);
        ratio = whole / half;
    }
    *took = whole;
    return ratio;
}

/* What is checked, and how often it took long enough. */
struct tally {
    size_t n, n_timed;
    double slowest, worst;
};

static void check_growth(const struct tokenizer *t, const char *name, size_t n_name, size_t n,
                         struct tally *tally)
{
    size_t n_units = is_soak() ? sizeof units / sizeof *units : QUICK_UNITS;
    char *text = mem_alloc(n);
    for (size_t u = 0; u < n_units; u++) {
        size_t len = strlen(units[u]);
        for (size_t i = 0; i < n; i++) {
            text[i] = units[u][i % len];
        }
        double took, ratio = growth(encode, &(struct hostile){t, text}, n, &took);
        if (ratio >= BOUND) {
            fail_msg("%.*s: %zu bytes of \"%s\" take %.3f s, %.2f times what half of them take",
                     (int)n_name, name, n, units[u], took, ratio);
        }
        tally->n++;
        tally->n_timed += ratio > 0;
        tally->slowest = took > tally->slowest ? took : tally->slowest;
        tally->worst = ratio > tally->worst ? ratio : tally->worst;
    }
    free(text);
}

static void print_tally(const struct tally *tally, size_t n)
{
    print_message("# %zu texts of %zu bytes, the slowest %.3f s; %zu took %.0f ms or more: ratio "
                  "%.2f at most\n",
                  tally->n, n, tally->slowest, tally->n_timed, SHORTEST * 1e3, tally->worst);
}

static void test_pre_tokenizers(void **state)
{
    (void)state;
    struct tally tally = {.n = 0};
    const char *name;
    size_t n, count = 0, n_text = is_soak() ? MB : MB / 4;
    for (; (name = pre_name_at(count, &n)) != NULL; count++) {
        struct tokenizer_spec *s = vocab_bpe("gpt-2", 400);
        s->pre = arena_strndup(s->arena, name, n);
        struct tokenizer *t = open_spec(s);
        check_growth(t, name, n, n_text, &tally);
        tokenizer_free(t);
    }
    assert_true(count > 80);
    print_tally(&tally, n_text);
}

static void test_vocabularies(void **state)
{
    (void)state;
    static struct gguf_string merges[] = {{"a a", 3}, {"aa aa", 5}, {"a b", 3}};
    uint8_t map[8192];
    struct tokenizer_spec *merged = vocab_spm(), *rules = vocab_unigram(true);
    merged->merges = merges;
    merged->n_merges = sizeof merges / sizeof *merges;
    rules->charsmap = map;
    rules->charsmap_bytes = make_charsmap(map);
    const struct {
        const char *name;
        struct tokenizer_spec *spec;
    } all[] = {{"SentencePiece", vocab_spm()},
               {"SentencePiece with merges", merged},
               {"WordPiece", vocab_wordpiece()},
               {"unigram", vocab_unigram(false)},
               {"unigram with bytes", vocab_unigram(true)},
               {"unigram with rules", rules}};
    struct tally tally = {.n = 0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct tokenizer *t = open_spec(all[i].spec);
        check_growth(t, all[i].name, strlen(all[i].name), MB, &tally);
        tokenizer_free(t);
    }
    print_tally(&tally, MB);
}

/* The measure tells quadratic work. */
static void test_quadratic(void **state)
{
    (void)state;
    double took, ratio = 0;
    for (int i = 0; i < ROUNDS && ratio < BOUND; i++) { /* where others took time from its half */
        ratio = growth(square, NULL, MB, &took);
    }
    if (ratio < BOUND) {
        fail_msg("quadratic work of %.3f s has the ratio %.2f", took, ratio);
    }
}

int main(void)
{
    /* Freed memory is kept: what the system takes to hand out fresh pages is not measured, which a
     * longer text crosses the allocator's threshold for and its half may not. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quadratic),
        cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_pre_tokenizers),
    };
    return cmocka_run_group_tests_name("tokenizer_linear", tests, NULL, NULL);
}
