/* schema_internal.h: what the files of the JSON Schema compiler share. Private to them.
 *
 *   JSON ──► schemas ──► goals ──► branches ──► shapes ──► nodes of build.h
 *         documents.c  goal.c   expand*.c   object.c, array.c, scalar.c
 *
 * A schema is a place in a document. A literal is a schema that holds, or one that does not. A goal
 * is a set of literals that one value must satisfy together; each goal becomes one rule of the
 * grammar, and equal goals are one, which is why recursion ends. To expand a goal means to follow
 * everything that speaks about the same value (allOf, anyOf, if, not, $ref ...) until branches are
 * left: alternatives, each with the types that it allows and atoms about them. What atoms say about
 * the parts of an object or array are goals again. `not` is a matter of expanding the opposite, so
 * oneOf and else need nothing special, and complements are exact. This is a tableau of modal logic,
 * with keys and places as its modalities. */
#ifndef LLLM_GRAMMAR_SCHEMA_INTERNAL_H
#define LLLM_GRAMMAR_SCHEMA_INTERNAL_H

#include "base/json_scan.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "grammar/schema.h"

/* ---- schemas and documents ---- */

enum schema_kind {
    SCHEMA_PLACE, /* a schema of a document */
    SCHEMA_VALUE, /* the value there, and no other (const, enum) */
    SCHEMA_ANY,   /* any of some literals: made by unevaluatedItems */
};

struct schema {
    enum schema_kind kind;
    const json_t *value;
    const char *pointer;      /* "#/properties/a" */
    uint32_t resource, depth; /* depth: places above it */
    uint32_t n_any;
    const uint64_t *any; /* [n_any] literals */
    uint8_t trivial;     /* what schema_trivial found: 0 not asked, else 1 + enum trivial */
};

/* A schema with an address of its own: a document, or what has an $id. */
struct resource {
    const char *uri;
    uint32_t root; /* schema */
    uint32_t document;
    uint32_t n_dynamic;
    struct dynamic_anchor {
        uint32_t name, schema;
    } * dynamic; /* [n_dynamic] */
};

struct document {
    json_t *owned; /* NULL for the schema itself */
    const json_t *root;
    const char *uri;
    const char *shown; /* what pointers into it begin with: "" or its address */
};

/* Which schema each dynamic anchor means: the outermost resource that has it. Interned. */
struct scope {
    uint32_t n;
    struct dynamic_anchor anchors[]; /* [n] by name */
};

/* ---- literals, goals ---- */

typedef uint64_t literal;
static inline literal literal_make(uint32_t schema, uint32_t scope, bool negated)
{
    return (uint64_t)schema << 32 | (uint64_t)scope << 1 | negated;
}
static inline uint32_t literal_schema(literal l)
{
    return (uint32_t)(l >> 32);
}
static inline uint32_t literal_scope(literal l)
{
    return (uint32_t)l >> 1;
}
static inline bool literal_negated(literal l)
{
    return l & 1;
}

enum { GOAL_TRUE, GOAL_FALSE };

enum type {
    TYPE_NULL = 1,
    TYPE_FALSE = 2,
    TYPE_TRUE = 4,
    TYPE_NUMBER = 8,
    TYPE_STRING = 16,
    TYPE_OBJECT = 32,
    TYPE_ARRAY = 64,
    TYPE_BOOLEAN = TYPE_FALSE | TYPE_TRUE,
    TYPE_ALL = 127,
};

enum atom_kind {
    NUMBER_LANG,     /* a: of texts that are numbers without exponent those; b: by division */
    NUMBER_SET,      /* a: set of values; b: they are the ones that it is not */
    STRING_LANG,     /* a: the contents, spelled LANG_JSON */
    STRING_SET,      /* a, b as above */
    OBJECT_PROPERTY, /* a: name, b: goal of the value, where there is one */
    OBJECT_CLASS,    /* a: class of keys, b: goal of their values */
    OBJECT_EXISTS,   /* a: class of keys, b: one of them is there with a value of that goal */
    OBJECT_REQUIRED, /* a: name */
    OBJECT_REQUIRES, /* a: name; where it is there, so is name b */
    OBJECT_MIN,      /* a */
    OBJECT_MAX,      /* a */
    ARRAY_ITEM,      /* a: place, b: goal */
    ARRAY_REST,      /* a: place from which on, b: goal */
    ARRAY_MIN,       /* a */
    ARRAY_MAX,       /* a */
    ARRAY_COUNT,     /* from place a on, c to d items satisfy goal b (d may be LANG_INFINITE) */
    ARRAY_UNIQUE,    /* a: not so */
};

struct atom {
    enum atom_kind kind;
    uint32_t a, b, c, d;
};

/* Keys whose content is in `keys`, but for some names. */
struct key_class {
    struct lang keys;
    uint32_t names; /* list of names, sorted */
};

/* Which texts stand for a value: the one that is generated; those with bounded zeros and any
 * spelling; all that there are, for the opposite. */
enum value_texts { VALUE_PLAIN, VALUE_SPELLED, VALUE_ALL };

/* The scalars of an enum, or of a const. */
struct value_set {
    uint32_t n;
    const json_t *const *values;
    struct set_langs { /* as they are made, by enum value_texts */
        bool has_numbers, has_strings;
        struct lang numbers, strings;
    } made[3];
};

struct id_list {
    uint32_t n;
    const uint32_t *ids;
};

/* What a branch has looked at, for unevaluatedProperties and unevaluatedItems. */
struct evaluated {
    struct lang keys;     /* by patterns */
    struct id_list names; /* by properties */
    bool all_keys, all_items;
    uint32_t n_items;         /* places at the beginning */
    struct id_list contained; /* goals of contains */
};

struct name {
    const char *text;
    size_t n;
};

struct pattern {
    struct lang l;
    bool made;
};

struct branch {
    uint32_t types; /* enum type */
    uint32_t n, capacity;
    uint32_t *atoms; /* [n] sorted */
    struct evaluated evaluated;
};

struct branches {
    struct branch *v;
    uint32_t n, capacity;
};

struct goal {
    uint32_t n;
    const literal *literals; /* [n] sorted */
    struct branches branches;
    bool expanded, busy, queued;
    bool asked;   /* goal_strings is at work */
    uint8_t dead; /* 0 not known; else 1 no, not within dead_depth levels; 2 yes */
    uint8_t dead_depth;
    struct node rule;
};

/* Things of one size by number; they never move. */
enum { TABLE_CHUNK = 256 };
struct table {
    char **chunks;
    size_t element_bytes;
    uint32_t n, n_chunks;
};

struct compiler {
    struct schema_options o;
    struct build *b;
    struct langs *langs;
    struct arena *arena;
    struct error *e;
    bool failed;

    struct table schemas, resources, documents, scopes, goals, atoms, names, lists, classes, sets,
        patterns;
    struct strmap *interned; /* all of them by kind and content */
    struct strmap *places;   /* schemas by document and pointer */
    struct strmap *uris;     /* resources */
    struct strmap *anchors;  /* schemas by URI, '#' and name */
    struct strmap *dynamic;  /* the same for dynamic anchors */

    struct table atom_where; /* const char *: the pointer of the keyword, for messages */
    uint32_t *queue;         /* goals that want a rule */
    uint32_t n_queue, queue_capacity;
    struct active {
        literal l;
        const struct active *outer;
    } const *active;     /* what is being expanded in place */
    uint32_t n_in_place; /* schemas expanded inside others, of all goals */
    uint32_t depth;
    uint32_t levels; /* how far into parts of the value alternatives are looked at to see whether
                      * they contradict themselves */
    uint64_t work;
    enum lang_spelling spelling; /* of strings that are values */
    struct lang content;         /* any string */
    struct json_space space;
    struct lang number, plain_number; /* any, and without exponent */
    const json_t *root;
    bool only_asks;       /* by schema_contradicts: nobody reads the sentence */
    const char *conflict; /* pointer of a part that nothing satisfies */
    uint32_t most_whole,
        most_behind; /* figures of the schema's bounds, on the sides of the point */
};

/* ---- schema_tables.c: tables and errors ---- */

/* The first error counts. Returns false. keyword may be NULL. */
bool schema_fail(struct compiler *c, enum error_code code, uint32_t schema, const char *keyword,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
bool schema_fail_at(struct compiler *c, enum error_code code, const char *pointer,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
void table_init(struct table *t, size_t element_bytes);
void table_free(struct table *t);
uint32_t table_add(struct table *t, const void *element); /* its number */
static inline void *table_at(const struct table *t, uint32_t i)
{
    return t->chunks[i / TABLE_CHUNK] + (size_t)(i % TABLE_CHUNK) * t->element_bytes;
}
/* The number of this content in t, which gets the element if it is new. */
uint32_t schema_intern(struct compiler *c, struct table *t, const void *element,
                       const void *content, size_t content_bytes);
uint32_t name_intern(struct compiler *c, const char *text, size_t n);
const char *name_text(const struct compiler *c, uint32_t name, size_t *n);
uint32_t list_intern(struct compiler *c, uint32_t *ids, uint32_t n); /* sorts, drops doubles */
struct id_list list_get(const struct compiler *c, uint32_t list);
bool list_has(struct id_list l, uint32_t id);
struct id_list list_join(struct compiler *c, struct id_list a, struct id_list b);
uint32_t atom_intern(struct compiler *c, struct atom a, uint32_t schema, const char *keyword);
static inline const struct atom *atom_get(const struct compiler *c, uint32_t id)
{
    return table_at(&c->atoms, id);
}
static inline struct schema *schema_get(const struct compiler *c, uint32_t id)
{
    return table_at(&c->schemas, id);
}
const char *schema_where(struct compiler *c, uint32_t schema, const char *keyword);

/* ---- schema_decimal.c ---- */

/* Numbers that a json_t would round are in a tree of schema_read by their figures, as texts that no
 * JSON string can be: these two tell numbers from texts. */
bool schema_is_number(const json_t *v);
bool schema_is_text(const json_t *v);

enum { DOUBLE_BYTES = 64 };
/* |value| = 0.DIGITS * 10^point, no zero at either end of the digits; none: zero, point 0. */
struct decimal {
    bool negative;
    uint32_t n;
    int64_t point;
    const char *digits;
};
/* v: a number; a double is the shortest text that reads as it. The digits live in the arena. */
struct decimal decimal_of(struct arena *arena, const json_t *v);
bool decimal_fits(const struct decimal *d); /* within SCHEMA_MAX_FIGURES */
bool decimal_is_whole(const struct decimal *d);
/* The magnitude of a whole one, cut to `most`. */
uint32_t decimal_count(const struct decimal *d, uint32_t most);
/* The number where the text stands, exactly; NULL with an error where there is none. */
json_t *decimal_scan(struct json_scan *s);

/* ---- schema_conflict.c, schema.c ---- */

/* The sentence about a schema that nothing satisfies, itself or a part of it, with the pointer of
 * the keyword that is to blame and those that it contradicts; false where they were not found. */
bool conflict_explain(const json_t *schema, const struct schema_options *o, struct error *e);
struct trial {
    struct buf place; /* gets the pointer of the part */
    uint64_t work;    /* that it may take (langs_set_work): what it took is taken off */
};
/* Whether it is so. */
bool schema_contradicts(const json_t *schema, const struct schema_options *o, struct trial *t);

/* ---- documents.c: places, addresses, references ---- */

bool documents_begin(struct compiler *c, const json_t *schema, uint32_t *root);
void documents_end(struct compiler *c);
/* The schema below one: under a keyword, under a key of its object, at an index of its array. */
uint32_t schema_child(struct compiler *c, uint32_t schema, const char *keyword);
uint32_t schema_child_key(struct compiler *c, uint32_t schema, const char *keyword, const char *key,
                          size_t n);
uint32_t schema_child_index(struct compiler *c, uint32_t schema, const char *keyword, size_t index);
/* The value there instead of a schema. */
uint32_t schema_value_child(struct compiler *c, uint32_t schema, const char *keyword,
                            const char *key, size_t n, size_t index);
/* What $ref or $dynamicRef there means, in this scope. */
bool schema_reference(struct compiler *c, uint32_t schema, uint32_t scope, const char *keyword,
                      uint32_t *target);
uint32_t scope_enter(struct compiler *c, uint32_t scope, uint32_t resource);

/* ---- keywords.c ---- */

/* Whether the keywords of a schema have values of the right kind; those that are refused whatever
 * they say. */
bool keywords_check(struct compiler *c, uint32_t schema);
/* The keywords that are known here, one after the other, NULL behind the last; whether it is one.
 */
const char *keyword_at(size_t i);
bool keyword_name(const char *name);
bool keyword_asserts(const char *name); /* one that may make a schema say something about a value */
/* schema_words.c: true for what is neither a keyword nor a known annotation; *meant: the keyword
 * that it is one or two slips away from, or NULL. */
bool schema_word_unknown(const char *word, const char **meant);
enum keyword_holds { HOLDS_NONE, HOLDS_SCHEMA, HOLDS_LIST, HOLDS_MAP };
struct keyword_child {
    const char *name;
    enum keyword_holds holds;
};
extern const struct keyword_child keyword_children[]; /* ends with name NULL */
/* TRIVIAL_REF, TRIVIAL_DYNAMIC_REF: nothing but a reference. */
enum trivial { TRIVIAL_NO, TRIVIAL_TRUE, TRIVIAL_FALSE, TRIVIAL_REF, TRIVIAL_DYNAMIC_REF };
enum trivial schema_trivial(struct compiler *c, uint32_t schema);
/* A count as keywords have it: 2, 2.0 or 2e0; larger than fits is LANG_MAX_REPEAT. */
bool keyword_count(const json_t *v, uint32_t *count);

/* ---- goal.c ---- */

uint32_t goal_of(struct compiler *c, literal l);
uint32_t goal_any(struct compiler *c, const uint32_t *goals, uint32_t n); /* one of these */
uint32_t goal_and(struct compiler *c, uint32_t a, uint32_t b);
uint32_t goal_not(struct compiler *c, uint32_t goal);
static inline struct goal *goal_get(const struct compiler *c, uint32_t id)
{
    return table_at(&c->goals, id);
}
/* The branches of a goal, made when first asked for; NULL after an error. */
const struct branches *goal_branches(struct compiler *c, uint32_t goal);
/* False, with the sentence, where the languages take too much work; at the goal's schema. */
bool goal_check_work(struct compiler *c, uint32_t goal);
/* True where it is certain that nothing satisfies it, looking so many levels down. */
bool goal_is_dead(struct compiler *c, uint32_t goal, uint32_t levels);
/* Its rule, which is defined sooner or later. */
struct node goal_rule(struct compiler *c, uint32_t goal);

/* ---- branches.c ---- */

void branches_add(struct compiler *c, struct branches *to, const struct branch *b);
void branches_join(struct compiler *c, struct branches *to, const struct branches *from);
/* All pairs, those that contradict themselves left out. */
void branches_product(struct compiler *c, struct branches *to, const struct branches *from);
struct branches branches_true(struct compiler *c);
struct branches branches_types(struct compiler *c, uint32_t types);
/* One branch: of this type the atom, of other types anything (only: nothing). */
struct branches branches_atom(struct compiler *c, uint32_t type, bool only, struct atom a,
                              uint32_t schema, const char *keyword);
void branch_add_atom(struct compiler *c, struct branch *b, uint32_t atom);
uint32_t atom_type(enum atom_kind kind);

/* ---- expand.c, expand_not.c ---- */

struct branches expand(struct compiler *c, literal l, bool annotate);
struct branches expand_not(struct compiler *c, uint32_t schema, uint32_t scope);
/* All keywords of a schema but unevaluated*, with what they have looked at. */
struct branches expand_evaluated(struct compiler *c, uint32_t schema, uint32_t scope);
struct branches expand_value(struct compiler *c, uint32_t schema, bool negated);
struct branches expand_set(struct compiler *c, uint32_t schema, const char *keyword, bool negated);
struct branches expand_type(struct compiler *c, uint32_t schema, bool negated);

/* ---- parts.c, parts_not.c: the keywords about scalars, objects and arrays ---- */

void and_scalar_keywords(struct compiler *c, struct branches *acc, uint32_t schema);
void and_object_keywords(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                         bool annotate);
void and_array_keywords(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                        bool annotate);
void and_unevaluated(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope);
/* Their opposites: one alternative more for each way in which they may fail. */
void or_not_scalar_keywords(struct compiler *c, struct branches *acc, uint32_t schema);
void or_not_object_keywords(struct compiler *c, struct branches *acc, uint32_t schema,
                            uint32_t scope);
void or_not_array_keywords(struct compiler *c, struct branches *acc, uint32_t schema,
                           uint32_t scope);
struct branches expand_object_value(struct compiler *c, uint32_t schema, bool negated);
struct branches expand_array_value(struct compiler *c, uint32_t schema, bool negated);
uint32_t class_intern(struct compiler *c, struct lang keys, struct id_list names);
/* The content of keys that patternProperties speak about, and the names of properties. */
struct lang own_patterns(struct compiler *c, uint32_t schema);
struct id_list own_names(struct compiler *c, uint32_t schema);
/* What properties, patternProperties, additionalProperties and propertyNames say, each about one
 * key or a class of them: their values satisfy the child, or there are none (`forbids`). */
struct about_members {
    bool is_name, forbids;
    uint32_t child; /* schema */
    uint32_t name;
    struct lang keys; /* but for names */
    struct id_list names;
};
/* In the arena. */
const struct about_members *members_said(struct compiler *c, uint32_t schema, uint32_t scope,
                                         uint32_t *n);
/* Keywords whose values are languages of texts, by the type of value that they are about. */
struct scalar_keyword {
    const char *name;
    uint32_t type;
};
extern const struct scalar_keyword scalar_keywords[]; /* ends with name NULL */
/* lang_all() where it says nothing about values of this type. all: nothing that is valid is left
 * out, for the opposite. */
struct lang scalar_keyword_lang(struct compiler *c, uint32_t schema, const struct scalar_keyword *k,
                                bool all);
bool keyword_divides(const struct scalar_keyword *k);

/* ---- scalar.c, number.c, format.c ---- */

/* Numbers whose relation to the bound is one of those that are true. */
struct lang number_compare(struct compiler *c, const json_t *bound, bool less, bool equal,
                           bool more);
/* Those equal to v, as texts with what may follow them: 1 or 2. */
uint32_t number_words(struct compiler *c, const json_t *v, enum value_texts which,
                      struct lang_word words[2]);
struct lang number_without_point(struct compiler *c, uint32_t max); /* of at most max figures */
struct lang number_multiple(struct compiler *c, uint32_t schema, const json_t *divisor);
/* Any number without exponent that has at most so many figures on a side of the point; like_double:
 * and with a point not more than a double tells apart, in all. */
enum { LIKE_DOUBLE_FIGURES = 15 };
struct lang number_plain(struct compiler *c, uint32_t max, bool like_double);
struct lang number_integer(struct compiler *c);
/* The whole content matches; for formats. */
struct lang string_regex(struct compiler *c, uint32_t schema, const char *keyword,
                         const char *pattern, size_t n);
/* all: with what is valid and not written (formats that are held as subsets, long figures). */
struct lang value_format(struct compiler *c, uint32_t schema, const char *name, uint32_t type,
                         bool all);
struct lang string_pattern(struct compiler *c, uint32_t schema, const char *keyword,
                           const char *pattern, size_t n);
/* The texts of a branch's numbers, and the contents of its strings; plain: as they are generated,
 * where every value still has a text. */
struct lang branch_numbers(struct compiler *c, const struct branch *b, bool plain);
struct lang branch_strings(struct compiler *c, const struct branch *b, bool plain);
/* The contents of all strings that satisfy a goal. */
struct lang goal_strings(struct compiler *c, uint32_t goal);
/* The values that satisfy a goal, a text language each; false where there may be too many. */
bool goal_values(struct compiler *c, uint32_t goal, struct lang *values, uint32_t max, uint32_t *n);

/* ---- object.c, array.c ---- */

/* Types that a branch allows though its atoms say otherwise are taken out; levels as in
 * goal_is_dead. */
void branch_prune(struct compiler *c, struct branch *b, uint32_t levels);
bool object_is_dead(struct compiler *c, const struct branch *b, uint32_t levels);
/* Looks at the languages of all keys, too: whether there are enough, and those that must exist. */
bool object_keys_are_dead(struct compiler *c, const struct branch *b);
bool array_is_dead(struct compiler *c, const struct branch *b, uint32_t levels);
struct node object_node(struct compiler *c, const struct branch *b);
struct node array_node(struct compiler *c, const struct branch *b);

#endif
