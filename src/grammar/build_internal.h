/* build_internal.h: how a grammar is kept, from the builder to the automaton; for the files of
 * src/grammar/ alone. */
#ifndef LLLM_GRAMMAR_BUILD_INTERNAL_H
#define LLLM_GRAMMAR_BUILD_INTERNAL_H

#include <string.h>

#include "grammar/build.h"
#include "grammar/lang_internal.h"

enum node_kind {
    NODE_NONE,
    NODE_EMPTY,
    NODE_LANG,     /* a: the language */
    NODE_SEQUENCE, /* links[a .. a + b) */
    NODE_CHOICE,   /* likewise */
    NODE_REPEAT,   /* from b to c times a */
    NODE_RULE,     /* rules[a] */
    NODE_TOKEN,    /* tokens[a] */
    NODE_OBJECT,   /* objects[a] */
    NODE_ARRAY,    /* arrays[a] */
};

struct build_node {
    uint8_t kind;
    /* Worked out by build_finish: */
    bool reached;   /* from the root */
    bool has_empty; /* the empty text is one of its texts */
    bool lives;     /* it has texts at all */
    uint32_t a, b, c;
};

struct build_rule {
    char *name;
    uint32_t body; /* node */
    bool defined;
};

struct build_token {
    char *spelling; /* NULL: by id */
    size_t n;
    int32_t id;
    bool negated;
    uint32_t otherwise; /* node, or NODE_NONE's */
};

/* ---- frames: nodes with a memory ----
 *
 * A frame's cell on the stack carries words: what has been said so far. Where the text stands
 * between values, a language is read that says all that may come (the frame's lexeme); each of its
 * alternatives ends in a mark, by which the frame knows what comes next. */

enum {
    MARK_END = 0,                /* the closing bracket was read */
    MARK_ITEM = 1,               /* of arrays: a value comes */
    MARK_MEMBER = 2,             /* plus the member's index: its value comes */
    MARK_FAMILY = LANG_FAR_MARK, /* plus the family's index: the value of a key of the family */
};

struct object_group {    /* of members whose keys begin alike */
    uint32_t from, to;   /* of members */
    uint32_t common;     /* units that all have */
    uint32_t n_children; /* groups that follow it, one after the other with theirs */
    uint32_t end;        /* index behind the last group below it */
    struct lang whole;   /* from the unit where it parts from its parent's, all of its members */
};

struct object_part { /* a member, sorted by key */
    char *key;
    size_t n;
    uint32_t value; /* node */
    uint32_t place; /* in the order that the caller gave */
    bool required, lives;
    uint32_t n_units;
    uint32_t *units;    /* code points */
    uint32_t *heads;    /* [n_units] langs: the characters, spelled */
    uint32_t *suffixes; /* [n_units + 1] langs: from here on, the quote, the colon, the mark */
    uint32_t *needs;    /* [n_words] members that must be there with it, itself too; or NULL */
};

struct object_frame {
    struct object_part *parts;
    uint32_t n_parts, n_words; /* words: 32 members or demands each */
    struct object_group *groups;
    uint32_t n_groups;
    struct {
        struct lang keys; /* without those of the members */
        uint32_t value;
        bool lives;
        uint32_t demand; /* as in struct object_family: its bit is behind those of the members */
    } * families;
    uint32_t n_families, n_demands;
    uint32_t min, max;
    struct json_space space;
    bool in_order, plain_keys;
    bool records;        /* keys of families have to be remembered */
    bool keys_taken;     /* those of the members are taken out of the families' */
    uint32_t n_counted;  /* living families whose keys are n_keys */
    uint64_t n_keys;     /* that some family has, up to `min`; not known where members do */
    struct lang content; /* every key in one spelling, to count keys by */
    struct lang *few;    /* [n_demands] keys that meet it, where they could be used up */
    uint32_t *required;  /* [n_words], with what they need */
    uint32_t needs_work; /* members that need others */
};

struct array_frame {
    struct array_place *first;
    uint32_t n_first;
    struct array_place rest;
    uint32_t min, max, min_counted, max_counted;
    struct json_space space;
    uint32_t *distinct; /* nodes */
    uint32_t n_distinct, n_words;
};

struct json_nodes {
    struct json_bounds bounds;
    struct node value, object, array;
};

struct build {
    struct langs *langs;
    struct arena *arena; /* names, frames */
    size_t arena_bytes;
    struct build_node *nodes;
    size_t n_nodes, nodes_capacity;
    uint32_t *links;
    size_t n_links, links_capacity;
    struct build_rule *rules;
    size_t n_rules, rules_capacity;
    struct build_token *tokens;
    size_t n_tokens, tokens_capacity;
    struct object_frame **objects;
    size_t n_objects, objects_capacity;
    struct array_frame **arrays;
    size_t n_arrays, arrays_capacity;
    struct json_nodes *json;
    size_t n_json, json_capacity;
    bool failed;
    struct error error;
};

void *build_alloc(struct build *b, size_t bytes); /* zeroed; lives as long as b */
struct node build_add(struct build *b, struct build_node n);
uint32_t build_add_link(struct build *b, uint32_t node); /* its index */
/* Calls for each child; false stops. */
typedef bool build_child_fn(void *context, uint32_t child);
bool build_each_child(const struct build *b, uint32_t id, build_child_fn *call, void *context);
/* fold.c: what is regular becomes a language. order: the nodes, children first but for circles. */
void fold_all(struct build *b, const uint32_t *order, size_t n, uint32_t root);
/* Puts room for one more element behind an array. */
void *build_grown(void *array, size_t n, size_t *capacity, size_t element_bytes);

/* The words of a frame's cell. */
struct frame_state {
    const uint32_t *words;
    uint32_t n;
};
struct frame_words {
    uint32_t *at; /* room for build_frame_words */
    uint32_t n;
};
uint32_t build_frame_words(const struct build *b, const struct build_node *n);

/* Whether the frame has texts, as far as node `lives` is known; also settles which of its parts do.
 */
bool object_lives(struct build *b, struct object_frame *f);
bool array_lives(const struct build *b, const struct array_frame *f);
/* Makes the languages of the keys: once `lives` is known. */
void object_prepare(struct build *b, struct object_frame *f);

/* Every key in one of its spellings, to count keys by. */
struct lang object_key_spelling(struct langs *s);
/* object_needs.c: parts[].needs from arrows between parts, to[starts[i] .. starts[i + 1]) for part
 * i; parts that need each other share theirs. */
void object_close_needs(struct build *b, struct object_frame *f, const uint32_t *starts,
                        const uint32_t *to);
enum { OBJECT_MAX_NEEDS_WORDS = 1 << 22 }; /* [members that need others] x n_words */
/* Keys of families that an object must have: each takes as long as there are before it, and behind
 * some more a text is too complex. */
enum { OBJECT_MAX_OTHERS = 10000 };

enum { OBJECT_WORD_USED = 1 }; /* a word of an object's cell: the keys that families have used up */
void object_begin(const struct object_frame *f, struct frame_words *w);
/* What may be read at the beginning, brace included (`opening`), or behind a value. s: the store,
 * which may be a copy of the builder's. */
struct lang object_lexeme(const struct object_frame *f, struct langs *s, struct frame_state at,
                          bool opening);
/* Behind a mark other than MARK_END: the words that follow, and the node of the value. key: the
 * text of the lexeme, where the mark is a family's. */
uint32_t object_next(const struct object_frame *f, struct langs *s, struct frame_state at,
                     uint32_t mark, const char *lexeme, size_t n, struct frame_words *w);

void array_begin(const struct array_frame *f, struct frame_words *w);
struct lang array_lexeme(const struct build *b, const struct array_frame *f, struct langs *s,
                         struct frame_state at, bool opening);
/* The i-th way to go on with a value: false behind the last one. */
bool array_next(const struct build *b, const struct array_frame *f, struct frame_state at,
                uint32_t i, struct frame_words *w, uint32_t *value);

#endif
