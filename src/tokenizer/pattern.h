/* pattern.h: the regular expressions that cut text into words (internal to this module).
 *
 * Pre-tokenizers are written as regular expressions of Oniguruma or Rust. This is the part of that
 * language that they use, compiled to a table-driven automaton: time is linear whatever the text,
 * and two expressions that mean the same can be recognised as such, however they are spelled.
 *
 *   x|y  xy  x? x* x+ x{n} x{n,} x{n,m}  (x) (?:x) (?i:x)   as usual, leftmost alternative first
 *   x?+ x*+ x++           possessive, where that makes no difference (else it is refused)
 *   [...] [^...] [a&&b]   sets of characters, also within each other
 *   \s \S \d \D \w \W \p{..} \P{..} \r \n \t \xHH \x{H..} \uHHHH
 *   (?=c) (?!c) $         what the next character is or is not, with c a single character or a set
 *   (?i:...)              knows the letters of ASCII and what folds to them
 */
#ifndef LLLM_TOKENIZER_PATTERN_H
#define LLLM_TOKENIZER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct pattern;

/* ERROR_UNSUPPORTED names what is not understood. An expression that matches nothing at all, in the
 * sense of the empty string, is refused. Process lifetime. */
struct pattern *pattern_new(const char *text, size_t n, struct error *e);
void pattern_free(struct pattern *p);

/* A search through a text, from its start to its end. Where a look far behind a match was in vain,
 * its states are kept: a later one that comes to the same place in the same state looks no further.
 * So the whole takes linear time although each match looks as far as it likes. */
struct pattern_scan {
    const struct pattern *pattern;
    const char *text;
    size_t n;
    uint64_t *work; /* the steps taken are added here */
    uint16_t *trace;
    size_t trace_from, trace_to, trace_capacity;
};
/* The first match at or behind text[from]: its place, and its length in *len; n and 0 where there
 * is none. A byte that is not valid UTF-8 is the end of the text for what is before it. */
size_t pattern_next(struct pattern_scan *s, size_t from, size_t *len);
void pattern_scan_end(struct pattern_scan *s);

/* Whether both match the same in every text. (Rarely false where they do: where one notes a shorter
 * match that a longer one always replaces.) */
bool pattern_equal(const struct pattern *a, const struct pattern *b);

/* ---- what pattern_parse.c hands to pattern.c ---- */

enum {
    PATTERN_MAX_SETS = 512,
    PATTERN_MAX_OPS = 2048,
    PATTERN_MAX_NODES = 4096,
    PATTERN_NONE = 0xFFFF,
};

/* A set of characters as a calculation: operations on a stack of answers. */
struct set_op {
    enum { SET_RANGE, SET_CLASSES, SET_NOT, SET_OR, SET_AND, SET_NONE } kind;
    uint32_t from, to; /* SET_RANGE */
    uint64_t classes;  /* SET_CLASSES: bits by unicode_class */
};

struct char_set {
    uint16_t first, n; /* its operations */
};

/* A nondeterministic automaton; of several ways, out is tried before other. */
struct pattern_node {
    enum { NODE_CHAR, NODE_SPLIT, NODE_NEXT, NODE_MATCH } kind;
    uint16_t set;        /* NODE_CHAR; NODE_NEXT: what the next character is */
    bool negated;        /* NODE_NEXT: is not; the end of the text is not either */
    uint16_t out, other; /* other: NODE_SPLIT */
};

/* x++ and the like: nothing that follows may begin with what x matches. */
struct possessive {
    uint16_t set, exit;
};

struct pattern_program {
    struct set_op ops[PATTERN_MAX_OPS];
    struct char_set sets[PATTERN_MAX_SETS];
    struct pattern_node nodes[PATTERN_MAX_NODES];
    struct possessive possessives[PATTERN_MAX_SETS];
    size_t n_ops, n_sets, n_nodes, n_possessives;
    uint16_t start;
};

bool pattern_parse(const char *text, size_t n, struct pattern_program *out, struct error *e);
bool set_contains(const struct pattern_program *p, uint16_t set, uint32_t cp, uint32_t kind);

#endif
