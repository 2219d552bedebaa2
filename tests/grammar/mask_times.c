/* mask_times.c: how long masks take along a text: for bench/masks.py.
 *
 *   mask_times VOCAB.gguf gbnf|regex|json GRAMMAR-FILE TEXT-FILE
 *
 * One line of JSON: the tokens of the text, the time to compile, and for a first and a second pass
 * the microseconds of each mask and of accepting each token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "grammar/grammar.h"

static int fail(const struct error *e)
{
    fprintf(stderr, "mask_times: %s\n", e->message);
    return 1;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void print_times(const char *name, double *us, size_t n)
{
    qsort(us, n, sizeof *us, compare);
    printf(", \"%s\": {\"median\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name, us[n / 2],
           us[n - 1 - n / 100], us[n - 1]);
}

static struct grammar *compile(const char *kind, const struct buf *text, struct error *e)
{
    const char *data = text->data ? text->data : "";
    return strcmp(kind, "gbnf") == 0    ? grammar_parse_gbnf(data, text->len, e)
           : strcmp(kind, "regex") == 0 ? grammar_parse_regex(data, text->len, e)
                                        : grammar_json(false, NULL, e);
}

int main(int argc, char **argv)
{
    struct error e = {.code = ERROR_NONE};
    if (argc != 5) {
        fprintf(stderr, "usage: mask_times VOCAB.gguf gbnf|regex|json GRAMMAR-FILE TEXT-FILE\n");
        return 2;
    }
    struct buf rules, text;
    buf_init(&rules, GRAMMAR_MAX_TEXT_BYTES);
    buf_init(&text, 1 << 24);
    struct gguf *file = gguf_open(argv[1], &e);
    struct tokenizer *t = file ? tokenizer_from_gguf(file, &e) : NULL;
    if (!t || !file_read(argv[3], GRAMMAR_MAX_TEXT_BYTES, &rules, &e) ||
        !file_read(argv[4], 1 << 24, &text, &e)) {
        return fail(&e);
    }
    struct token_list ids = {0};
    if (!tokenizer_encode(t, text.data, text.len, NULL, &ids, &e)) {
        return fail(&e);
    }
    double start = time_now_s();
    struct grammar_vocab *v = grammar_vocab_new(t, tokenizer_count(t));
    double vocab_ms = (time_now_s() - start) * 1e3;
    start = time_now_s();
    struct grammar *g = compile(argv[2], &rules, &e);
    double compile_ms = (time_now_s() - start) * 1e3;
    if (!g) {
        return fail(&e);
    }
    printf("{\"vocab_ms\": %.3f, \"compile_ms\": %.3f, \"ids\": [", vocab_ms, compile_ms);
    for (size_t i = 0; i < ids.n; i++) {
        printf("%s%d", i ? ", " : "", ids.ids[i]);
    }
    printf("], \"allowed\": [");
    double *mask_us[2], *accept_us[2];
    for (int pass = 0; pass < 2; pass++) {
        mask_us[pass] = mem_array(ids.n, sizeof(double));
        accept_us[pass] = mem_array(ids.n, sizeof(double));
        struct constraint *c = constraint_new(g, v, &e);
        for (size_t i = 0; i < ids.n; i++) {
            start = time_now_s();
            const uint32_t *mask = constraint_mask(c);
            mask_us[pass][i] = (time_now_s() - start) * 1e6;
            size_t n = 0;
            for (size_t w = 0; mask && w < (grammar_vocab_count(v) + 31) / 32; w++) {
                n += (size_t)__builtin_popcount(mask[w]);
            }
            if (pass == 0) {
                printf("%s%zu", i ? ", " : "", n);
            }
            start = time_now_s();
            bool ok = constraint_accept(c, ids.ids[i]);
            accept_us[pass][i] = (time_now_s() - start) * 1e6;
            if (!ok) {
                fprintf(stderr, "mask_times: token %zu of the text is not in the grammar\n", i);
                return 1;
            }
        }
        constraint_free(c);
    }
    printf("]");
    print_times("first_mask_us", mask_us[0], ids.n);
    print_times("mask_us", mask_us[1], ids.n);
    print_times("first_accept_us", accept_us[0], ids.n);
    print_times("accept_us", accept_us[1], ids.n);
    struct grammar_size size;
    grammar_size(g, &size);
    printf(", \"memory_bytes\": %zu}\n", size.memory_bytes);
    for (int pass = 0; pass < 2; pass++) {
        free(mask_us[pass]);
        free(accept_us[pass]);
    }
    token_list_free(&ids);
    grammar_free(g);
    grammar_vocab_free(v);
    tokenizer_free(t);
    gguf_close(file);
    buf_free(&rules);
    buf_free(&text);
    return 0;
}
