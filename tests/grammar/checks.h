/* checks.h: what the tests of src/grammar/ share. */
#ifndef LLLM_TESTS_GRAMMAR_CHECKS_H
#define LLLM_TESTS_GRAMMAR_CHECKS_H

#include "grammar/grammar.h"

size_t rounds(size_t few); /* many times as many with LLLM_SOAK */
/* The n-th text over a, b, c, shortest first; 364 of them have at most five letters. */
enum { N_SHORT_TEXTS = 1 + 3 + 9 + 27 + 81 + 243 };
size_t nth_text(size_t i, char text[16]);

/* Fail with the sentence where there is an error. */
struct grammar *gbnf(const char *text);
struct grammar *regex(const char *pattern);
/* Whether the whole text is in it. */
bool fits(struct grammar *g, const char *text);
bool fits_bytes(struct grammar *g, const char *text, size_t n);

/* Masks are compared with what accepting each token says, and each token's bytes, one by one, for
 * every token of the vocabulary; forks and rewinds on the way. Then goes on with one of the allowed
 * tokens, up to `steps` times. Returns the bytes of the answer in out (may be NULL); *ended: it
 * came to an end token. */
struct rng;
void check_walk(struct grammar *g, struct grammar_vocab *v, const struct gguf_string *pieces,
                struct rng *r, size_t steps, struct buf *out, bool *ended);

/* All single bytes, and random pieces of the alphabet up to max_bytes long; token 0 ends. */
struct pieces {
    struct gguf_string *items;
    size_t n;
    struct arena *arena;
};
void pieces_random(struct pieces *p, struct rng *r, const char *alphabet, size_t n,
                   size_t max_bytes);
void pieces_free(struct pieces *p);
/* Of the tokenizer of a file; NULL where the file is not there. */
struct grammar_vocab *vocab_of_file(const char *path, struct pieces *p, struct gguf **g,
                                    struct tokenizer **t);
/* LLLM_TEST_DATA, or the folder that is given. */
const char *test_data(const char *otherwise);

#endif
