/* hostile_times.c: how long forms that are made to take long do take: for bench/hostile_forms.py.
 *
 *   hostile_times VOCAB.gguf [NAME]
 *
 * For each form one line of JSON: the time to compile, or the sentence that refuses it; then, along
 * an answer, the longest time that a mask and that accepting a token took, and how it ended. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "grammar/grammar_internal.h"
#include "hostile.h"

enum { MAX_TOKENS = 60 };

struct times {
    double compile_ms, mask_ms, accept_ms;
    uint64_t work; /* of the mask or token that took most */
    int n_tokens;
};

/* Of this process alone: others may be at work on the machine. */
static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double since(double start)
{
    return now_ms() - start;
}

static void keep_most(uint64_t *most, uint64_t work)
{
    *most = work > *most ? work : *most;
}

static void keep_longest(double *longest, double ms)
{
    *longest = ms > *longest ? ms : *longest;
}

/* A long token among those that may come, another one each time. */
static int32_t choose(const struct tokenizer *t, const uint32_t *mask, size_t n, uint32_t *seed)
{
    int32_t best = -1;
    size_t longest = 0;
    for (size_t tries = 0; tries < 4 * n; tries++) {
        *seed = *seed * 1664525u + 1013904223u;
        size_t id = (*seed >> 8) % n;
        if (mask[id / 32] >> id % 32 & 1) {
            size_t length = tokenizer_spelling(t, (int32_t)id).len;
            if (best < 0 || length > longest) {
                best = (int32_t)id;
                longest = length;
            }
            if (tries > n / 8) {
                break;
            }
        }
    }
    return best;
}

static void follow(const struct hostile *h, const struct tokenizer *t, struct grammar_vocab *v,
                   struct grammar *g, struct times *times)
{
    struct error e = {.code = ERROR_NONE};
    double start = now_ms();
    struct constraint *c = constraint_new(g, v, &e);
    keep_longest(&times->mask_ms, since(start));
    struct token_list ids = {0};
    if (h->text && !tokenizer_encode(t, h->text, strlen(h->text), NULL, &ids, &e)) {
        fprintf(stderr, "hostile_times: %s\n", e.message);
    }
    uint32_t seed = 1;
    const char *how = "the text went on";
    for (; times->n_tokens < MAX_TOKENS; times->n_tokens++) {
        start = now_ms();
        const uint32_t *mask = constraint_mask(c);
        keep_longest(&times->mask_ms, since(start));
        keep_most(&times->work, constraint_work(c));
        if (!mask) {
            break;
        }
        int32_t id = (size_t)times->n_tokens < ids.n
                         ? ids.ids[times->n_tokens]
                         : choose(t, mask, grammar_vocab_count(v), &seed);
        start = now_ms();
        bool ok = id >= 0 && constraint_accept(c, id);
        keep_longest(&times->accept_ms, since(start));
        keep_most(&times->work, constraint_work(c));
        if (!ok) {
            how = "refused";
            break;
        }
        if (constraint_state(c) == CONSTRAINT_ENDED) {
            how = "whole";
            break;
        }
    }
    const char *why = constraint_reason(c);
    printf(
        ", \"mask_ms\": %.3f, \"accept_ms\": %.3f, \"work\": %.0f, \"tokens\": %d, \"end\": \"%s\"",
        times->mask_ms, times->accept_ms, (double)times->work, times->n_tokens, why ? why : how);
    token_list_free(&ids);
    constraint_free(c);
}

int main(int argc, char **argv)
{
    struct error e = {.code = ERROR_NONE};
    if (argc < 2) {
        fprintf(stderr, "usage: hostile_times VOCAB.gguf [NAME]\n");
        return 2;
    }
    struct gguf *file = gguf_open(argv[1], &e);
    struct tokenizer *t = file ? tokenizer_from_gguf(file, &e) : NULL;
    if (!t) {
        fprintf(stderr, "hostile_times: %s\n", e.message);
        return 1;
    }
    struct grammar_vocab *v = grammar_vocab_new(t, tokenizer_count(t));
    for (const struct hostile *h = hostile_forms; h->name; h++) {
        if (argc > 2 && strcmp(argv[2], h->name) != 0) {
            continue;
        }
        struct times times = {0};
        e.code = ERROR_NONE;
        double start = now_ms();
        struct grammar *g = hostile_compile(h, &e);
        times.compile_ms = since(start);
        json_t *name = json_string(h->name), *sentence = json_string(g ? "" : e.message);
        char *quoted = json_dumps(name, JSON_ENCODE_ANY),
             *said = json_dumps(sentence, JSON_ENCODE_ANY);
        printf("{\"name\": %s, \"compile_ms\": %.3f, \"refused\": %s", quoted, times.compile_ms,
               said);
        if (g) {
            printf(", \"compile_work\": %.0f", (double)langs_work(g->b->langs));
            follow(h, t, v, g, &times);
        }
        printf("}\n");
        fflush(stdout);
        free(quoted);
        free(said);
        json_decref(name);
        json_decref(sentence);
        grammar_free(g);
    }
    grammar_vocab_free(v);
    tokenizer_free(t);
    gguf_close(file);
    return 0;
}
