/* build.h: what grammars are made of. Readers of grammar languages (GBNF, regular expressions, JSON
 * Schema) put nodes together here and get an immutable struct grammar (grammar.h).
 *
 * A node stands for a set of texts. Regular languages (lang.h) are the leaves: what is regular
 * belongs into one lang as far as possible, since it is followed by one table look-up per byte;
 * nodes are for what needs a stack (rules that contain themselves) or a memory (which keys an
 * object has already). build_finish folds nodes that turn out to be regular by itself.
 *
 * A node may be used in many places, also below several rules; nodes are numbers, no trees to free.
 * Children are made before their parents; only rules may be used before they are defined, which is
 * how recursion is written.
 *
 * No dead ends: alternatives that can never be completed are removed by build_finish; a grammar in
 * which nothing is left is an error. Objects and arrays offer only what can still be completed.
 *
 * Functions that make a node cannot fail alone: the builder remembers the first sentence (a ceiling
 * was passed), and build_finish reports it. Numbers of nodes and members are bounded by
 * BUILD_MAX_*. Nothing here recurses, so depth costs nothing but nodes.
 */
#ifndef LLLM_GRAMMAR_BUILD_H
#define LLLM_GRAMMAR_BUILD_H

#include "grammar/lang.h"

enum {
    BUILD_MAX_NODES = 1 << 20,
    BUILD_MAX_LINKS = 1 << 22, /* children of all nodes together */
    BUILD_MAX_RULES = 1 << 18,
};

struct grammar;
struct build;
struct node {
    uint32_t id;
};

/* Request lifetime; build_finish and build_free end it. */
struct build *build_new(void);
void build_free(struct build *b);
struct langs *build_langs(struct build *b); /* the store of all langs that are given to b */
/* Makes the builder fail with this sentence (the first one counts). Returns build_none(). */
struct node build_fail(struct build *b, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* True, with the sentence in e, where something could not be made, here or in the store. */
bool build_failed(const struct build *b, struct error *e);

/* Takes b, also on failure. The texts of root are the grammar. Errors: what build_failed has;
 * ERROR_INPUT a rule without a definition, a rule that begins with itself (left recursion that
 * cannot be rewritten; the sentence names the rule), no text at all. */
struct grammar *build_finish(struct build *b, struct node root, struct error *e);

/* ---- nodes ---- */

static inline struct node build_none(void) /* no text: as an alternative it is not there */
{
    return (struct node){0};
}
static inline struct node build_empty(void) /* the empty text */
{
    return (struct node){1};
}
static inline bool build_is_none(struct node n)
{
    return n.id == 0;
}
struct node build_lang(struct build *b, struct lang l);
struct node build_text(struct build *b, const char *text, size_t n); /* these bytes */
struct node build_sequence(struct build *b, const struct node *parts, size_t n);
struct node build_choice(struct build *b, const struct node *parts, size_t n); /* anyOf */
struct node build_repeat(struct build *b, struct node part, uint32_t min, uint32_t max);

/* A rule is declared, used any number of times, and defined once. The name is for messages. */
struct node build_rule(struct build *b, const char *name);
void build_define(struct build *b, struct node rule, struct node body);
bool build_is_defined(const struct build *b, struct node rule);

/* A token of the vocabulary as a whole, whatever bytes it stands for, control tokens too. By id, or
 * by its spelling in the file. otherwise: what takes its place where the vocabulary has no such
 * token (build_none(): constraint_new is an error then). negated: any other token but those that
 * end an answer; it has no `otherwise`. */
struct node build_token_id(struct build *b, int32_t id, bool negated);
struct node build_token(struct build *b, const char *spelling, size_t n, bool negated,
                        struct node otherwise);

/* ---- objects ----
 *
 * A JSON object with its braces: members in any order, no key twice, with what was seen kept at run
 * time, so that n optional members cost n and not n!. What is offered at each place: keys not seen
 * yet, whose values can be completed, such that what is required (also by members that are there)
 * still fits below max_members; the closing brace when all required ones and min_members are there.
 *
 * Keys are known by their characters, whatever their escapes. */
struct object_member {
    const char *key; /* its characters, UTF-8; copied */
    size_t n;
    struct node value; /* build_none(): an object with this key is none of these texts */
    bool required;
    /* Where it is there, so must these be (dependentRequired): indexes of members. Copied. */
    const uint32_t *requires_members;
    size_t n_requires;
};
/* Keys that are none of the members: all whose content is in the language have such values. Where
 * languages of several families overlap, the value may be that of either. */
struct object_family {
    struct lang keys; /* what is between the quotes, spelled LANG_JSON; members are subtracted */
    struct node value;
    /* 0, or a number up to that of families: of those that have the same one, at least one member
     * must be there. */
    uint32_t demand;
};
struct object_options {
    const struct object_member *members;
    size_t n_members;
    const struct object_family *families;
    size_t n_families;                 /* */
    uint32_t min_members, max_members; /* LANG_INFINITE: no ceiling */
    struct json_space space;           /* between the parts */
    /* Members come in the order of `members`, and families behind them: what OpenAI's strict mode
     * promises, and smaller masks. */
    bool in_order;
    bool plain_keys; /* LANG_JSON_PLAIN */
};
enum { BUILD_MAX_MEMBERS = 1 << 16, BUILD_MAX_FAMILIES = 1024 };
struct node build_object(struct build *b, const struct object_options *o);

/* ---- arrays ----
 *
 * A JSON array with its brackets. Each place has a plain value and a counted one: what JSON Schema
 * calls contains; a place without that has build_none() for counted. Which of both it is may be
 * open while the value is written (the automaton follows both). So min_counted holds with
 *     plain = item, counted = item AND contains
 * and max_counted needs plain = item AND NOT contains. */
struct array_place {
    struct node plain, counted;
};
struct array_options {
    const struct array_place *first; /* prefixItems: the places at the beginning, in order */
    size_t n_first;
    struct array_place rest; /* all further places; both build_none(): there are none */
    uint32_t min_items, max_items;
    uint32_t min_counted, max_counted; /* 0 and LANG_INFINITE where there is no contains */
    struct json_space space;
    /* uniqueItems over finitely many values: instead of `first` and `rest`, every item is one of
     * these (texts that no two share), none twice; nothing is counted then. NULL: not so. */
    const struct node *distinct;
    size_t n_distinct;
};
struct node build_array(struct build *b, const struct array_options *o);

/* ---- JSON ---- */

/* Any JSON value, as RFC 8259 has it: keys may come twice. One rule, made once per builder and
 * bounds; no blanks around it. */
struct node build_json_value(struct build *b, const struct json_bounds *bounds);
struct node build_json_object(struct build *b, const struct json_bounds *bounds); /* any object */
struct node build_json_array(struct build *b, const struct json_bounds *bounds);  /* any array */

#endif
