/* grammar.h: answers that are held to a form: JSON, a regular expression, a choice, GBNF, and
 * through build.h whatever else is written as rules.
 *
 *   grammar    (process)  = what texts are allowed: compiled, immutable, shared by requests
 *   vocabulary (process)  = the bytes of all tokens as a tree, made once per tokenizer
 *   constraint (request)  = where one answer stands in a grammar: mask, accept, copy, rewind
 *
 * The automaton. A grammar is followed byte by byte by a set of threads, each of which is a regular
 * language that is being read (lang.h: its states are expressions, found by one look-up per byte)
 * and a stack of what comes after it. Stacks are linked cells that are kept once, so that the set
 * of threads, the place, is a number; which place follows a place and a byte is kept in a table. It
 * is a pushdown automaton whose deterministic part grows with use. Earley's items would take
 * ambiguity of any kind, but a place would be a list of sets as long as the text, which no other
 * request shares and no copy is cheap of; here a copy is some words, and requests that come to the
 * same place find its mask there. Price: alternatives that stay open together keep a stack each;
 * more than GRAMMAR_MAX_THREADS end the answer (CONSTRAINT_TOO_COMPLEX).
 *
 * Masks. What tokens a regular language takes that do not leave it, is found by one walk over the
 * tree of tokens and kept by the language's state, for all stacks. Tokens that go beyond its end
 * are then followed one by one on the stack, which is few. Places whose mask took long keep it
 * whole.
 *
 * No dead ends: from every place some text completes the grammar (build.h). A vocabulary may still
 * have no token for it: CONSTRAINT_STUCK.
 *
 * Memory: what grows with use is thrown away when it passes a ceiling and begins anew from where
 * the living constraints stand. Functions may be called by several threads at once, each with
 * constraints of its own: what they share is locked inside.
 */
#ifndef LLLM_GRAMMAR_GRAMMAR_H
#define LLLM_GRAMMAR_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "grammar/lang.h"
#include "tokenizer/tokenizer.h"

enum {
    GRAMMAR_MAX_TEXT_BYTES = 4 << 20, /* of a grammar, or of all choices together */
    GRAMMAR_MAX_NESTING = 256,        /* of groups in GBNF and regular expressions */
    GRAMMAR_MAX_THREADS = 4096,
    GRAMMAR_MAX_DEPTH = 10000, /* of stacks: what would nest deeper is not offered */
    GRAMMAR_MEMORY_BYTES = 64 << 20,
    CONSTRAINT_MAX_REWIND = 64,
};

/* ---- grammars ---- */

struct grammar;
/* GBNF as llama.cpp's users know it: rules `name ::= ...` with root as the start, "literals",
 * [classes], . for any character, groups, |, * + ? {n} {n,} {n,m} {,m}, # comments, the escapes
 * \t \r \n \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH, tokens <[id]> <spelling> !<[id]> !<spelling>.
 * A rule that begins with itself is rewritten where it does so directly (x ::= x "+" y | y), else
 * refused by name. Errors: ERROR_INPUT with the position, ERROR_LIMIT. Process lifetime, as of
 * all that follow; grammar_free does not wait for constraints, which hold it too. */
struct grammar *grammar_parse_gbnf(const char *text, size_t n, struct error *e);
/* The whole answer matches (lang_regex says what is understood). */
struct grammar *grammar_parse_regex(const char *pattern, size_t n, struct error *e);
/* The answer is one of n texts. */
struct grammar *grammar_choices(const char *const *texts, size_t n, struct error *e);
/* One JSON value, or one JSON object. bounds NULL: the defaults. */
struct grammar *grammar_json(bool object_only, const struct json_bounds *bounds, struct error *e);
void grammar_free(struct grammar *g);            /* NULL is fine */
struct grammar *grammar_hold(struct grammar *g); /* one more owner; returns g */

/* For the windows and tests: whether the whole text is one of the grammar's. *n_good: how many
 * bytes at its beginning begin one (n where all do: it is then complete, or more is missing).
 * next: the bytes that may follow there, and may_end: whether the text may end there (complete is
 * that of the whole text). Tokens (<think>) match no text here. ERROR_LIMIT where it is too
 * complex. */
struct grammar_verdict {
    bool complete, may_end;
    bool too_deep; /* the stacks are as high as they may be there: what nests is not offered */
    size_t n_good;
    struct byte_set next;
};
bool grammar_check_text(struct grammar *g, const char *text, size_t n, struct grammar_verdict *v,
                        struct error *e);

/* What compiling made, for figures. */
struct grammar_size {
    size_t n_rules, n_nodes, n_langs, memory_bytes;
};
void grammar_size(struct grammar *g, struct grammar_size *size);

/* ---- vocabularies ---- */

struct grammar_vocab;
/* Tokens that stand for no bytes (control tokens) come in by their names or as the end only. t must
 * outlive it. n_logits: the width of a row of logits, at least tokenizer_count: masks are as wide.
 * Process lifetime. */
struct grammar_vocab *grammar_vocab_new(const struct tokenizer *t, size_t n_logits);
/* From bytes alone, for tests and benches: pieces of n tokens (NULL data: none), and which end. */
struct grammar_vocab *grammar_vocab_from_pieces(const struct gguf_string *pieces, size_t n,
                                                const int32_t *ends, size_t n_ends);
void grammar_vocab_free(struct grammar_vocab *v);
size_t grammar_vocab_count(const struct grammar_vocab *v);

/* ---- constraints ---- */

struct constraint;
/* At the beginning of an answer. NULL with an error where the grammar names a token that the
 * vocabulary has not. v must outlive it. Request lifetime. */
struct constraint *constraint_new(struct grammar *g, struct grammar_vocab *v, struct error *e);
void constraint_free(struct constraint *c);
struct constraint *constraint_copy(const struct constraint *c); /* forks, speculation: some words */
/* The first token may begin with a space that the reader will not see (generation_options
 * .spm_start): it is not part of the text. Right behind constraint_new only. */
void constraint_drop_first_space(struct constraint *c);

enum constraint_state {
    CONSTRAINT_OPEN,        /* the answer must go on */
    CONSTRAINT_COMPLETE,    /* it may end here, or go on */
    CONSTRAINT_CLOSED,      /* it is complete, and nothing can follow but the end */
    CONSTRAINT_ENDED,       /* an end token was accepted, also one that the grammar names */
    CONSTRAINT_STUCK,       /* it must go on, and no token of the vocabulary fits */
    CONSTRAINT_TOO_COMPLEX, /* a ceiling was passed: the grammar is too ambiguous here */
};
/* Looks for a token where that decides. */
enum constraint_state constraint_state(struct constraint *c);
/* A sentence for people about the two states that end an answer before it is whole, and NULL in
 * the others. */
const char *constraint_reason(struct constraint *c);

/* Bit id % 32 of word id / 32 is set for each token that may come next, the end tokens where the
 * text may end; [ceil(n_logits / 32)] words. Valid until c is changed or freed. NULL where there is
 * none: constraint_state says why. Ways to read the text are looked at one by one: where a grammar
 * is hopelessly ambiguous, all together may still pass a ceiling behind a token that is allowed. */
const uint32_t *constraint_mask(struct constraint *c);
/* Goes on with a token. False, and nothing has changed, where it is not allowed; false also where
 * the state is CONSTRAINT_TOO_COMPLEX from then on. */
bool constraint_accept(struct constraint *c, int32_t token);
/* The same with bytes, whole tokens or not: what a parser or a window has. */
bool constraint_accept_bytes(struct constraint *c, const char *bytes, size_t n);
/* Takes back the last n calls of the two above that were true; false, and nothing has changed,
 * where there were fewer, or n is above CONSTRAINT_MAX_REWIND. */
bool constraint_rewind(struct constraint *c, uint32_t n);
/* Bytes that must come next, whatever is chosen (a key that is the only one left): appended to out,
 * at most max_bytes. */
void constraint_forced(struct constraint *c, size_t max_bytes, struct buf *out);

#endif
