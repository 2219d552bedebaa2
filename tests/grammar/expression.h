/* expression.h: a slow reference for regular languages: expressions as trees, and matching by
 * trying every way to cut a text. */
#ifndef LLLM_TESTS_GRAMMAR_EXPRESSION_H
#define LLLM_TESTS_GRAMMAR_EXPRESSION_H

#include "base/rng.h"
#include "grammar/lang.h"

enum { EXPRESSION_MAX_TEXT = 12 };

struct expression {
    enum { EX_NONE, EX_EMPTY, EX_SET, EX_CONCAT, EX_OR, EX_AND, EX_NOT, EX_REPEAT } kind;
    uint32_t letters; /* EX_SET: bit i is the letter 'a' + i */
    struct expression *a, *b;
    uint32_t min, max;
};

/* Of letters a, b, c. cuts: with intersections and complements. */
struct expression *expression_random(struct rng *r, int depth, bool cuts);
void expression_free(struct expression *x);
/* Whether text[0..n) is in it, n at most EXPRESSION_MAX_TEXT. */
bool expression_matches(const struct expression *x, const char *text, size_t n);
struct lang expression_lang(struct langs *s, const struct expression *x);
/* The same as a regular expression; not of those with cuts or EX_NONE. */
void expression_print(const struct expression *x, struct buf *out);

#endif
