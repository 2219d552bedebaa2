/* test_mask.c: masks against trying every token, with vocabularies made up and real; what
 * constraints do when they are copied, rewound, moved, shared by threads, and when no token fits.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "checks.h"
#include "grammar/grammar_internal.h"

static const char *data;

static const char *const grammars[] = {
    "root ::= \"a\" root \"b\" | \"\"",
    "root ::= (\"ab\" | [a-b] [^c])* \"c\"",
    "root ::= root \"a\" | root \"b\" root2 | \"c\"\nroot2 ::= \"a\"{2,4}",
    "root ::= x{3,5} y? \"c\"\nx ::= \"a\" | \"ab\"\ny ::= \"b\" y | \"(\" y \")\"",
    "root ::= (a | b)*\na ::= \"a\" a \"c\" | \"a\" b\nb ::= \"b\"?",
    "root ::= \"(\" root \")\" root | \"a\"?",
    "root ::= e\ne ::= t (\"b\" t)*\nt ::= \"a\" | \"(\" e \")\"",
    "root ::= x{0,100000} \"c\"\nx ::= y | z\ny ::= \"a\"?\nz ::= \"(\" z \")\" | \"\"",
    "root ::= [^a]* \"aa\" | .{2,300}",
};

static void made_up(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1);
    for (size_t round = 0; round < rounds(4); round++) {
        for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
            struct pieces p;
            int32_t end = 0;
            bool ended;
            pieces_random(&p, &r, "abc()", 60, 6);
            struct grammar_vocab *v = grammar_vocab_from_pieces(p.items, p.n, &end, 1);
            struct grammar *g = gbnf(grammars[i]);
            struct buf out;
            for (int walk = 0; walk < 6; walk++) {
                buf_init(&out, 1 << 20);
                check_walk(g, v, p.items, &r, 12, &out, &ended);
                if (ended) {
                    assert_true(fits_bytes(g, out.data ? out.data : "", out.len));
                }
                buf_free(&out);
            }
            grammar_free(g);
            grammar_vocab_free(v);
            pieces_free(&p);
        }
    }
}

/* The vocabulary of GPT-2: 50,257 tokens. Each step tries every one of them. */
static void gpt2(void **state)
{
    (void)state;
    struct buf path;
    buf_init(&path, 65536);
    buf_printf(&path, "%s/tokenizers/ggml-vocab-gpt-2.gguf", data);
    struct pieces p;
    struct gguf *file;
    struct tokenizer *t;
    struct grammar_vocab *v = vocab_of_file(path.data, &p, &file, &t);
    if (!v) {
        print_message("skipped: no %s\n", path.data);
        buf_free(&path);
        skip();
    }
    struct rng r;
    rng_seed(&r, 2);
    struct error e;
    struct grammar *all[] = {
        grammar_json(false, NULL, &e),
        regex("[A-Z][a-z]{2,20}( [a-z]+){0,9}\\."),
        gbnf("root ::= item+\nitem ::= \"- \" [^\\n]{1,200} \"\\n\""),
        regex("\\d{4}-\\d{2}-\\d{2}|\\p{Lu}\\p{Ll}+"),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t walk = 0; walk < rounds(1); walk++) {
            bool ended;
            struct buf out;
            buf_init(&out, 1 << 20);
            check_walk(all[i], v, p.items, &r, 5, &out, &ended);
            if (ended) {
                assert_true(fits_bytes(all[i], out.data ? out.data : "", out.len));
            }
            buf_free(&out);
        }
        grammar_free(all[i]);
    }
    buf_free(&path);
    grammar_vocab_free(v);
    tokenizer_free(t);
    gguf_close(file);
    pieces_free(&p);
}

/* With hardly any memory the space is renewed all the time; nothing changes but the time it takes.
 */
static void renewed(void **state)
{
    (void)state;
    struct rng r, again;
    struct pieces p;
    int32_t end = 0;
    rng_seed(&r, 3);
    pieces_random(&p, &r, "{}[]\",:a1 \\n", 80, 5);
    struct grammar_vocab *v = grammar_vocab_from_pieces(p.items, p.n, &end, 1);
    struct grammar *roomy = grammar_json(false, NULL, NULL),
                   *tight = grammar_json(false, NULL, NULL);
    tight->memory_bytes = 1;
    for (int round = 0; round < 20; round++) {
        struct constraint *a = constraint_new(roomy, v, NULL), *b = constraint_new(tight, v, NULL);
        struct constraint *fork = NULL;
        rng_seed(&again, (uint64_t)round);
        for (int i = 0; i < 60; i++) {
            const uint32_t *x = constraint_mask(a), *y = constraint_mask(b);
            assert_true((x == NULL) == (y == NULL));
            if (!x) {
                break;
            }
            assert_memory_equal(x, y, (p.n + 31) / 32 * sizeof *x);
            int32_t id;
            do {
                id = (int32_t)rng_below(&again, p.n);
            } while (!(x[id / 32] >> id % 32 & 1));
            assert_true(constraint_accept(a, id));
            assert_true(constraint_accept(b, id));
            if (i == 10) {
                fork = constraint_copy(b); /* stays where it is while b goes on */
            }
            if (i % 7 == 6) {
                uint32_t back = 1 + (uint32_t)rng_below(&again, 6);
                assert_true(constraint_rewind(a, back));
                assert_true(constraint_rewind(b, back));
            }
        }
        if (fork) {
            constraint_mask(fork);
        }
        constraint_free(fork);
        constraint_free(a);
        constraint_free(b);
    }
    grammar_free(roomy);
    grammar_free(tight);
    grammar_vocab_free(v);
    pieces_free(&p);
}

static void rewinding(void **state)
{
    (void)state;
    struct gguf_string pieces[] = {{NULL, 0}, {"a", 1}, {"b", 1}};
    int32_t end = 0;
    struct grammar_vocab *v = grammar_vocab_from_pieces(pieces, 3, &end, 1);
    struct grammar *g = regex("a{100}b?");
    struct constraint *c = constraint_new(g, v, NULL);
    for (int i = 0; i < 100; i++) {
        assert_false(constraint_accept(c, 2));
        assert_false(constraint_accept(c, 0));
        assert_true(constraint_accept(c, 1));
    }
    assert_int_equal(constraint_state(c), CONSTRAINT_COMPLETE);
    assert_true(constraint_accept(c, 0));
    assert_int_equal(constraint_state(c), CONSTRAINT_ENDED);
    assert_null(constraint_mask(c));
    assert_false(constraint_accept(c, 1));
    assert_true(constraint_rewind(c, 1));
    assert_true(constraint_accept(c, 2));
    assert_int_equal(constraint_state(c), CONSTRAINT_CLOSED);
    assert_false(constraint_rewind(c, CONSTRAINT_MAX_REWIND + 1));
    assert_true(constraint_rewind(c, CONSTRAINT_MAX_REWIND));
    assert_false(constraint_rewind(c, 1));
    for (int i = 0; i < CONSTRAINT_MAX_REWIND - 1; i++) {
        assert_true(constraint_accept(c, 1));
    }
    assert_int_equal(constraint_state(c), CONSTRAINT_COMPLETE);
    constraint_free(c);
    grammar_free(g);
    grammar_vocab_free(v);
}

static void stuck(void **state)
{
    (void)state;
    struct gguf_string pieces[] = {{NULL, 0}, {"a", 1}, {"ab", 2}};
    int32_t end = 0;
    struct grammar_vocab *v = grammar_vocab_from_pieces(pieces, 3, &end, 1);
    struct grammar *g = regex("abc");
    struct constraint *c = constraint_new(g, v, NULL);
    assert_int_equal(constraint_state(c), CONSTRAINT_OPEN);
    assert_null(constraint_reason(c));
    assert_true(constraint_accept(c, 2));
    assert_int_equal(constraint_state(c), CONSTRAINT_STUCK);
    assert_null(constraint_mask(c));
    assert_non_null(constraint_reason(c));
    struct buf forced;
    buf_init(&forced, 100);
    constraint_forced(c, 100, &forced);
    assert_string_equal(forced.data, "c");
    buf_free(&forced);
    constraint_free(c);
    grammar_free(g);

    /* Exponentially many stacks: two rules that read the same and are never told apart. */
    g = gbnf("root ::= \"a\" x root | \"a\" y root | \"b\"\nx ::= \"a\" x \"b\" | \"\"\ny ::= "
             "\"a\" y \"b\" | \"\"");
    c = constraint_new(g, v, NULL);
    int n = 0;
    while (n < 5000 && constraint_accept(c, 1)) {
        n++;
    }
    assert_true(n > 5 && n < 5000);
    assert_int_equal(constraint_state(c), CONSTRAINT_TOO_COMPLEX);
    assert_non_null(constraint_reason(c));
    constraint_free(c);
    grammar_free(g);
    grammar_vocab_free(v);
}

static void tokens(void **state)
{
    (void)state;
    /* 3 and 4 stand for no bytes. */
    struct gguf_string pieces[] = {{NULL, 0}, {"a", 1}, {"<think>", 7}, {NULL, 0}, {NULL, 0}};
    int32_t end = 0;
    struct grammar_vocab *v = grammar_vocab_from_pieces(pieces, 5, &end, 1);
    struct grammar *g = gbnf("root ::= <[3]> !<[4]>* <[4]> \"a\"");
    struct error e;
    struct constraint *c = constraint_new(g, v, &e);
    static const uint32_t masks[] = {1 << 3, 0x1E, 0x1E, 0x1E, 0x1E, 1 << 1, 1 << 0};
    static const int32_t ids[] = {3, 1, 2, 3, 4, 1};
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(constraint_mask(c)[0], masks[i]);
        if (i < 6) {
            assert_true(constraint_accept(c, ids[i]));
        }
    }
    constraint_free(c);
    grammar_free(g);
    /* An end token ends the answer also where a grammar asks for it in the middle. */
    g = gbnf("root ::= \"a\" <[0]> \"a\"");
    c = constraint_new(g, v, &e);
    assert_false(constraint_accept(c, 0));
    assert_true(constraint_accept(c, 1));
    assert_int_equal(constraint_mask(c)[0], 1 << 0);
    assert_true(constraint_accept(c, 0));
    assert_int_equal(constraint_state(c), CONSTRAINT_ENDED);
    assert_null(constraint_mask(c));
    constraint_free(c);
    grammar_free(g);
    g = gbnf("root ::= <[5]>");
    assert_null(constraint_new(g, v, &e));
    assert_non_null(strstr(e.message, "token 5"));
    grammar_free(g);
    g = gbnf("root ::= <|x|>");
    assert_null(constraint_new(g, v, &e));
    assert_non_null(strstr(e.message, "<|x|>"));
    grammar_free(g);
    grammar_vocab_free(v);
}

/* The space that the reader drops from the first token. */
static void first_space(void **state)
{
    (void)state;
    struct gguf_string pieces[] = {{NULL, 0}, {"a", 1}, {" a", 2}, {" ", 1}, {"  a", 3}};
    int32_t end = 0;
    struct grammar_vocab *v = grammar_vocab_from_pieces(pieces, 5, &end, 1);
    struct grammar *g = regex("a+");
    struct constraint *c = constraint_new(g, v, NULL);
    assert_int_equal(constraint_mask(c)[0], 2);
    constraint_drop_first_space(c);
    assert_int_equal(constraint_mask(c)[0], 2 | 4 | 8);
    assert_false(constraint_accept(c, 4));
    assert_true(constraint_accept(c, 2));
    assert_int_equal(constraint_mask(c)[0], 1 | 2);
    assert_true(constraint_rewind(c, 1));
    assert_int_equal(constraint_mask(c)[0], 2 | 4 | 8);
    constraint_free(c);
    grammar_free(g);
    grammar_vocab_free(v);
}

struct job {
    struct grammar *g;
    struct grammar_vocab *v;
    uint64_t seed;
    uint64_t digest;
};

static void *generate(void *context)
{
    struct job *j = context;
    struct rng r;
    rng_seed(&r, j->seed);
    size_t n = grammar_vocab_count(j->v);
    for (int round = 0; round < 30; round++) {
        struct constraint *c = constraint_new(j->g, j->v, NULL);
        for (int i = 0; i < 40; i++) {
            const uint32_t *mask = constraint_mask(c);
            if (!mask) {
                break;
            }
            int32_t id;
            do {
                id = (int32_t)rng_below(&r, n);
            } while (!(mask[id / 32] >> id % 32 & 1));
            j->digest = j->digest * 31 + mask[0] + (uint64_t)id;
            if (!constraint_accept(c, id)) {
                j->digest = 0;
            }
        }
        constraint_free(c);
    }
    return NULL;
}

/* Threads share a grammar, and each gets what it would get alone. */
static void threads(void **state)
{
    (void)state;
    struct rng r;
    struct pieces p;
    int32_t end = 0;
    rng_seed(&r, 5);
    pieces_random(&p, &r, "{}[]\",:a1 ", 80, 5);
    struct grammar_vocab *v = grammar_vocab_from_pieces(p.items, p.n, &end, 1);
    struct grammar *shared = grammar_json(false, NULL, NULL);
    shared->memory_bytes = 200000; /* renewed now and then */
    enum { N = 4 };
    struct job jobs[N], alone[N];
    pthread_t ids[N];
    for (uint64_t i = 0; i < N; i++) {
        jobs[i] = (struct job){shared, v, i, 1};
        pthread_create(&ids[i], NULL, generate, &jobs[i]);
    }
    for (uint64_t i = 0; i < N; i++) {
        pthread_join(ids[i], NULL);
        alone[i] = (struct job){grammar_json(false, NULL, NULL), v, i, 1};
        generate(&alone[i]);
        grammar_free(alone[i].g);
        assert_true(jobs[i].digest == alone[i].digest);
        assert_true(jobs[i].digest != 0);
    }
    grammar_free(shared);
    grammar_vocab_free(v);
    pieces_free(&p);
}

int main(int argc, char **argv)
{
    data = test_data(argc > 1 ? argv[1] : "../shared/data");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_up), cmocka_unit_test(renewed), cmocka_unit_test(rewinding),
        cmocka_unit_test(stuck),   cmocka_unit_test(tokens),  cmocka_unit_test(first_space),
        cmocka_unit_test(threads), cmocka_unit_test(gpt2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
