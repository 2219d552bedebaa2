/* pattern_parse.h: what the two halves of the parser of regular expressions share: sets of
 * characters (pattern_sets.c), and what is made of them (pattern_parse.c). Private to both. */
#ifndef LLLM_TOKENIZER_PATTERN_PARSE_H
#define LLLM_TOKENIZER_PATTERN_PARSE_H

#include "tokenizer/pattern.h"

enum {
    PATTERN_MAX_TREE = 2048,
    PATTERN_MAX_DEPTH = 40,
};

struct pattern_tree {
    enum { TREE_EMPTY, TREE_SET, TREE_NEXT, TREE_SEQUENCE, TREE_EITHER, TREE_REPEAT } kind;
    uint16_t set;      /* TREE_SET, TREE_NEXT */
    bool negated;      /* TREE_NEXT */
    uint16_t a, b;     /* children: of sequences and alternatives both, of repetitions a */
    int16_t low, high; /* TREE_REPEAT */
    bool possessive;
};

struct pattern_parser {
    const char *text;
    size_t n, at;
    bool ignore_case;
    int depth;
    struct pattern_tree trees[PATTERN_MAX_TREE];
    size_t n_trees, n_builds;
    struct pattern_program *program;
    struct error *e;
};

/* Refuses the pattern for what stands at p->at; always false. */
bool pattern_fail(struct pattern_parser *p, const char *what);
/* Whether the pattern goes on with this text; the second also goes behind it. */
bool pattern_peek(const struct pattern_parser *p, const char *text);
bool pattern_take(struct pattern_parser *p, const char *text);
/* A single character or a set; *set is its number in the program. */
bool pattern_take_set(struct pattern_parser *p, uint16_t *set);
/* The characters from..to, as the start of a set. */
bool pattern_add_range(struct pattern_parser *p, uint32_t from, uint32_t to);

#endif
