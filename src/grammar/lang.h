/* lang.h: regular languages over bytes as values: made from parts, joined, cut with each other and
 * complemented, and followed byte by byte without an automaton being built beforehand.
 *
 * A language is an expression whose derivatives are its states (Brzozowski, "Derivatives of regular
 * expressions", 1964; Owens, Reppy, Turon, "Regular-expression derivatives re-examined", 2009):
 * what may follow a byte is again an expression, which is made when somebody first asks and kept.
 * Intersection and complement cost nothing then, and a repetition is counted instead of copied, so
 * that x{0,100000} is one expression. Equal expressions have equal ids (they are normalised, and
 * kept once), so that states which are spelled alike are one.
 *
 * A store owns its languages; a struct lang means something in its store only. Ids never change
 * while the store lives. Not thread-safe.
 *
 * Functions that make a language cannot fail alone: where a ceiling is passed (LANG_MAX_*), the
 * store remembers the first sentence, and all that is made afterwards is lang_none(). Who compiles
 * asks langs_failed once, at the end.
 */
#ifndef LLLM_GRAMMAR_LANG_H
#define LLLM_GRAMMAR_LANG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"

enum {
    LANG_MAX_NODES = 1 << 22,   /* expressions of a store, states included */
    LANG_MAX_RANK = 400,        /* how deep a derivative goes: nested or optional parts in a row */
    LANG_MAX_SEARCH = 20000,    /* states that are looked at to tell whether a language is empty */
    LANG_MAX_COUNTED = 1 << 17, /* the same, to count its texts */
    LANG_MAX_REPEAT = 1 << 30,  /* of m and n in x{m,n} */
    LANG_MAX_MARKS = 1 << 24,   /* marks are below */
    LANG_MAX_PATTERN_BYTES = 1 << 20,
};
#define LANG_INFINITE UINT32_MAX /* as n in x{m,n} */

struct langs;
struct lang {
    uint32_t id;
};

struct langs *langs_new(void);
void langs_free(struct langs *s); /* NULL is fine */
/* True, with the sentence in e, where something could not be made since the store exists. */
bool langs_failed(const struct langs *s, struct error *e);
/* Makes the store fail with this sentence (the first one counts). Returns lang_none(). */
struct lang langs_fail(struct langs *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- parts ---- */

static inline struct lang lang_none(void) /* no text at all */
{
    return (struct lang){0};
}
static inline struct lang lang_empty(void) /* the empty text alone */
{
    return (struct lang){1};
}
static inline struct lang lang_all(void) /* every text of any bytes, valid UTF-8 or not */
{
    return (struct lang){2};
}
static inline bool lang_same(struct lang a, struct lang b)
{
    return a.id == b.id;
}

/* One byte out of a set: bit b % 64 of set[b / 64]. */
struct byte_set {
    uint64_t bits[4];
};
struct lang lang_byte_set(struct langs *s, const struct byte_set *set);
struct lang lang_byte_range(struct langs *s, uint8_t first, uint8_t last);
/* These bytes and no others. */
struct lang lang_text(struct langs *s, const char *text, size_t n);

/* How characters are written in what the model says. */
enum lang_spelling {
    LANG_PLAIN, /* UTF-8 */
    /* As in a JSON string (RFC 8259), without its quotes: UTF-8, or any of the escapes that mean
     * the character, \" \\ \/ \b \f \n \r \t \uXXXX and surrogate pairs. Control characters,
     * quotes and backslashes are escaped always; surrogates alone cannot be written. */
    LANG_JSON,
    /* The one of those that people write: UTF-8, and where that cannot be the short escape, or else
     * \u00XX. */
    LANG_JSON_PLAIN,
};

/* One character out of ranges of code points (sorted or not, overlapping or not, surrogates are
 * passed over). */
struct char_range {
    uint32_t first, last;
};
struct lang lang_chars(struct langs *s, const struct char_range *ranges, size_t n,
                       enum lang_spelling spelling);
struct lang lang_any_char(struct langs *s, enum lang_spelling spelling);
/* The characters of text (valid UTF-8), each in any way that the spelling allows. */
struct lang lang_spelled(struct langs *s, const char *text, size_t n, enum lang_spelling spelling);

/* ---- joined ---- */

struct lang lang_concat(struct langs *s, struct lang a, struct lang b);
struct lang lang_concat_all(struct langs *s, const struct lang *parts, size_t n); /* n = 0: empty */
struct lang lang_or(struct langs *s, struct lang a, struct lang b);
struct lang lang_or_all(struct langs *s, const struct lang *parts, size_t n); /* n = 0: none */
struct lang lang_and(struct langs *s, struct lang a, struct lang b);
struct lang lang_and_all(struct langs *s, const struct lang *parts, size_t n); /* n = 0: all */
/* Every text of bytes that is not in a; cut it with what is wanted: lang_minus. */
struct lang lang_not(struct langs *s, struct lang a);
struct lang lang_minus(struct langs *s, struct lang a, struct lang b); /* in a and not in b */
/* From min to max times a; max may be LANG_INFINITE. */
struct lang lang_repeat(struct langs *s, struct lang a, uint32_t min, uint32_t max);
struct lang lang_optional(struct langs *s, struct lang a);

/* Figures, with or without a point, that are a multiple of modulus / 10^places: leading zeros may
 * be there, so cut it with what numbers look like. modulus from 1 to LANG_MAX_MODULUS, places up to
 * LANG_MAX_PLACES. A state for each remainder, made when it is met. */
enum { LANG_MAX_MODULUS = 1 << 24, LANG_MAX_PLACES = 60 };
struct lang lang_multiples(struct langs *s, uint32_t modulus, uint32_t places);

/* Any of many texts: a tree by their beginnings, so that a thousand cost what they spell. */
struct lang_word {
    const char *text;
    size_t n;
    struct lang then; /* follows the text: lang_empty(), or a mark */
};
struct lang lang_words(struct langs *s, const struct lang_word *words, size_t n,
                       enum lang_spelling spelling);

/* The end of an alternative, by number: no byte goes on from it, and it is not the empty text. A
 * frame (build.h) gets to know by it which of several texts was said. Only at the very end of a
 * concatenation, and never below lang_and or lang_not. */
struct lang lang_mark(struct langs *s, uint32_t number);

/* ---- asked ---- */

/* What may follow this byte: lang_none() where no text of a begins so. */
struct lang lang_step(struct langs *s, struct lang a, uint8_t byte);
struct lang lang_steps(struct langs *s, struct lang a, const char *text, size_t n);
bool lang_has_empty(const struct langs *s, struct lang a); /* whether the empty text is in it */
bool lang_matches(struct langs *s, struct lang a, const char *text, size_t n);
/* Whether there is no text in it. Only intersections and complements need a search, which gives up
 * behind LANG_MAX_SEARCH states: LANG_UNDECIDED. */
enum lang_answer { LANG_NO, LANG_YES, LANG_UNDECIDED };
enum lang_answer lang_is_empty(struct langs *s, struct lang a);
enum lang_answer lang_are_disjoint(struct langs *s, struct lang a, struct lang b);
enum lang_answer lang_is_subset(struct langs *s, struct lang a, struct lang b); /* all of a in b */
/* How many texts there are in it, counted up to limit (at most LANG_MAX_COUNT). False: undecided,
 * behind LANG_MAX_COUNTED states. */
#define LANG_MAX_COUNT (UINT64_C(1) << 40)
bool lang_count(struct langs *s, struct lang a, uint64_t limit, uint64_t *n);
/* One of its shortest texts, for messages and tests; false where there is none, or undecided. */
bool lang_shortest(struct langs *s, struct lang a, struct buf *out);

/* ---- regular expressions (regex.c) ----
 *
 * What people send to constrain an answer: the regular part of ECMA-262 with the u flag.
 *
 *   x|y  xy  x? x* x+ x{n} x{n,} x{n,m}   a ? behind a quantifier (lazy) changes nothing here
 *   (x) (?:x) (?<name>x)                  groups; nothing refers to them
 *   ^ $                                   where they stand at the ends of an alternative; elsewhere
 *                                         they are refused unless they hold or fail for certain
 *   .                                     any character but \n \r U+2028 U+2029
 *   [...] [^...] a-z  \d \D \w \W \s \S   \d and \w are ASCII, \s is ECMA-262's white space
 *   \p{L} \p{Lu} \P{..}                   general categories, short names and long ones, and Any,
 *                                         ASCII, Assigned; \p{Script=..} is refused but for Han
 *   \t \n \v \f \r \0 \xHH \uHHHH \u{H..} \uHHHH\uHHHH \cX, \ before any character that is no
 *                                         letter or digit
 *
 * Back references, look-ahead and look-behind, \b and \B are refused with their position. */
struct regex_options {
    enum lang_spelling spelling;
    bool search; /* the text need only contain a match, as JSON Schema's pattern; else be one */
    bool ignore_case; /* of ASCII letters */
    bool dot_all;     /* . is any character */
};
/* lang_none() with an error where the pattern is not understood (its position is of the byte).
 * Errors: ERROR_INPUT malformed, ERROR_UNSUPPORTED not regular, ERROR_LIMIT too large. A text that
 * nothing matches is not an error here: ask lang_is_empty. */
struct lang lang_regex(struct langs *s, const char *pattern, size_t n,
                       const struct regex_options *o, struct error *e);

/* ---- JSON's lexemes (json.c) ---- */

/* How far what is between values, and the figures of numbers, may go on: a model that is unsure
 * can otherwise write blanks or digits for ever without leaving the grammar. */
struct json_bounds {
    bool unbounded;        /* as RFC 8259 has it; the rest is not looked at */
    uint32_t max_blanks;   /* within a line, at a place */
    uint32_t max_indent;   /* spaces behind a line end, or a quarter of it in tabs */
    uint32_t max_digits;   /* before the point, and as many behind it */
    uint32_t max_exponent; /* digits of it */
    /* Keys, and the texts and numbers of an enum or const, in every way that JSON has, integers as
     * 5.0 too, and line ends and blanks (max_indent) at every place; else LANG_JSON_PLAIN, 5 and
     * struct json_space. What is generated is better plain; what is judged may be spelled in any
     * way. */
    bool every_spelling;
};
static inline bool json_bounds_plain(const struct json_bounds *b)
{
    return !b->unbounded && !b->every_spelling;
}
void json_bounds_defaults(struct json_bounds *b); /* 1, 32, 20, 3 */
/* White space, all of which may be empty: as people and programs lay out JSON, in a line or in
 * lines. A line end stands behind an opening bracket or a comma and before a closing bracket, once;
 * elsewhere there are blanks. */
struct json_space {
    struct lang start;  /* before everything */
    struct lang open;   /* behind an opening bracket and a comma */
    struct lang colon;  /* before a colon, and behind it */
    struct lang behind; /* behind a value, before the comma or bracket */
    struct lang close;  /* and then before a closing bracket */
};
void lang_json_space(struct langs *s, const struct json_bounds *b, struct json_space *space);
struct lang lang_json_number(struct langs *s, const struct json_bounds *b);
struct lang lang_json_integer(struct langs *s, const struct json_bounds *b); /* no point */
/* With its quotes. content: what is between them, spelled LANG_JSON. */
struct lang lang_json_quoted(struct langs *s, struct lang content);
/* Any string of characters, without quotes. */
struct lang lang_json_content(struct langs *s, enum lang_spelling spelling);

#endif
