/* hostile.h: forms that somebody might send to keep a server busy: for test_budget.c, which counts
 * work, and hostile_times.c, which shows times. */
#ifndef LLLM_TESTS_GRAMMAR_HOSTILE_H
#define LLLM_TESTS_GRAMMAR_HOSTILE_H

#include "base/mem.h"
#include "grammar/grammar.h"

enum hostile_kind { HOSTILE_REGEX, HOSTILE_GBNF, HOSTILE_SCHEMA };
struct hostile {
    const char *name;
    enum hostile_kind kind;
    void (*write)(struct buf *to, int n); /* the form, for a size */
    int n;
    const char *text; /* begins an answer; NULL: none that is worse than any other */
};
extern const struct hostile hostile_forms[]; /* ends with name NULL */

struct grammar *hostile_compile(const struct hostile *h, struct error *e);

#endif
