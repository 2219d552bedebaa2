/* test_budget.c: no form keeps a machine busy: what compiling, a mask or a token may take is
 * counted, the same everywhere and whoever has used the form before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/grammar_internal.h"
#include "hostile.h"

enum { MAX_STEPS = 40, SMALLER = 20 };

/* One join may be begun with the last unit of a budget. */
static uint64_t with_slack(uint64_t budget)
{
    return budget + budget / 4;
}

/* All single bytes, and the texts of up to three characters out of a few. */
static struct grammar_vocab *make_vocab(void)
{
    static const char letters[] = "abcdkxw 0129\"{:,";
    static char room[1 << 15];
    static struct gguf_string pieces[1 << 13];
    int32_t end = 0;
    size_t n = 1, used = 0, n_letters = sizeof letters - 1;
    for (int b = 1; b < 256; b++) {
        room[used] = (char)b;
        pieces[n++] = (struct gguf_string){room + used++, 1};
    }
    for (size_t i = 0; i < n_letters * n_letters * n_letters; i++) {
        size_t length = i % 2 ? 3 : 2;
        char text[] = {letters[i % n_letters], letters[i / n_letters % n_letters],
                       letters[i / n_letters / n_letters]};
        memcpy(room + used, text, length);
        pieces[n++] = (struct gguf_string){room + used, length};
        used += length;
    }
    return grammar_vocab_from_pieces(pieces, n, &end, 1);
}

struct answer {
    uint32_t masks[MAX_STEPS + 1]; /* hashes */
    uint64_t work[2 * MAX_STEPS + 2];
    int n_steps, n_work;
    enum constraint_state end;
};

static uint32_t hash_mask(const uint32_t *mask, size_t n_words)
{
    uint32_t h = 1;
    for (size_t i = 0; mask && i < n_words; i++) {
        h = (h ^ mask[i]) * 0x9E3779B1u;
    }
    return mask ? h : 0;
}

static void note_work(struct answer *a, const struct constraint *c)
{
    uint64_t work = constraint_work(c);
    assert_true(work <= with_slack(LANGS_STEP_WORK));
    a->work[a->n_work++] = work;
}

/* An answer that begins with the form's text, by single bytes, and goes on in some way. */
static void follow(const struct hostile *h, struct grammar *g, struct grammar_vocab *v,
                   struct answer *a)
{
    struct error e = {.code = ERROR_NONE};
    struct constraint *c = constraint_new(g, v, &e);
    size_t n = grammar_vocab_count(v), n_text = h->text ? strlen(h->text) : 0;
    assert_non_null(c);
    memset(a, 0, sizeof *a);
    uint32_t seed = 1;
    for (; a->n_steps < MAX_STEPS; a->n_steps++) {
        const uint32_t *mask = constraint_mask(c);
        note_work(a, c);
        a->masks[a->n_steps] = hash_mask(mask, (n + 31) / 32);
        int32_t id = -1;
        if ((size_t)a->n_steps < n_text) {
            id = (uint8_t)h->text[a->n_steps];
        }
        for (size_t tries = 0; mask && id < 0 && tries < 8 * n; tries++) {
            seed = seed * 1664525u + 1013904223u;
            size_t some = (seed >> 8) % n;
            id = mask[some / 32] >> some % 32 & 1 ? (int32_t)some : -1;
        }
        bool ok = mask && id >= 0 && constraint_accept(c, id);
        if (mask && id >= 0) {
            note_work(a, c);
        }
        if (!ok || constraint_state(c) == CONSTRAINT_ENDED) {
            break;
        }
    }
    a->end = constraint_state(c);
    if (a->end == CONSTRAINT_TOO_COMPLEX) {
        assert_non_null(constraint_reason(c));
    }
    constraint_free(c);
}

static void test_budgets(void **state)
{
    (void)state;
    bool soak = getenv("LLLM_SOAK") != NULL;
    struct grammar_vocab *v = make_vocab();
    int n_refused = 0, n_ended = 0;
    for (const struct hostile *h = hostile_forms; h->name; h++) {
        struct hostile form = *h;
        form.n = soak || h->n < 2 * SMALLER ? h->n : h->n / SMALLER;
        struct error e = {.code = ERROR_NONE};
        struct grammar *g = hostile_compile(&form, &e);
        if (!g) {
            print_message("# %s: %s\n", h->name, e.message);
            assert_int_not_equal(e.code, ERROR_NONE);
            assert_true(h->kind != HOSTILE_SCHEMA || e.message[0] == '#');
            n_refused += e.code == ERROR_LIMIT;
            continue;
        }
        assert_true(langs_work(g->b->langs) <= with_slack(LANGS_COMPILE_WORK));
        static struct answer first, again;
        follow(&form, g, v, &first);
        follow(&form, g, v, &again);
        n_ended += first.end == CONSTRAINT_TOO_COMPLEX;
        assert_int_equal(first.end, again.end);
        assert_int_equal(first.n_steps, again.n_steps);
        assert_memory_equal(first.masks, again.masks, sizeof first.masks);
        if (first.end != CONSTRAINT_TOO_COMPLEX) { /* the grammar knows everything now */
            assert_memory_equal(first.work, again.work, sizeof first.work);
        }
        grammar_free(g);
    }
    print_message("# %d forms refused for their work, %d answers ended\n", n_refused, n_ended);
    assert_true(n_refused >= 1);
    assert_true(n_ended >= 2);
    grammar_vocab_free(v);
}

/* What a mask and a token cost is the same for the first answer and for the hundredth, so that no
 * answer ends because it came first. */
static void test_same_price(void **state)
{
    (void)state;
    static const char *const patterns[] = {".*[ab].{12}c", "(a|aa|aaa)+b", "(x{1,9}y?){1,9}z",
                                           "(\\w+ ?)+\\.", "[^b]*(b[^b]*){3,40}"};
    struct grammar_vocab *v = make_vocab();
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct error e = {.code = ERROR_NONE};
        struct grammar *g = grammar_parse_regex(patterns[i], strlen(patterns[i]), &e);
        assert_non_null(g);
        static struct answer answers[3];
        struct hostile form = {.text = i == 2 ? "xxyxxxyx" : "aaaaaaaaaa"};
        for (int turn = 0; turn < 3; turn++) {
            follow(&form, g, v, &answers[turn]);
            assert_int_equal(answers[turn].n_work, answers[0].n_work);
            assert_memory_equal(answers[turn].work, answers[0].work, sizeof answers[0].work);
        }
        assert_true(answers[0].work[0] > 0);
        grammar_free(g);
    }
    grammar_vocab_free(v);
}

/* Twice as many keys take twice the work, and not four times. */
static void test_linear(void **state)
{
    (void)state;
    static const char *const names[] = {"10,000 required keys", "10,000 required properties",
                                        "3,000 keys that need the next", "enum of 50,000 texts",
                                        "enum of 50,000 numbers"};
    for (const struct hostile *h = hostile_forms; h->name; h++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            uint64_t work[2];
            for (int twice = 0; twice < 2 && strcmp(h->name, names[i]) == 0; twice++) {
                struct hostile form = *h;
                struct error e = {.code = ERROR_NONE};
                form.n = 500 << twice;
                struct grammar *g = hostile_compile(&form, &e);
                assert_non_null(g);
                work[twice] = langs_work(g->b->langs);
                grammar_free(g);
                assert_true(work[0] > 0);
                assert_true(!twice || work[1] < 3 * work[0]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_same_price),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
