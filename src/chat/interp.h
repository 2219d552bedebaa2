/* interp.h: what the files of the template interpreter share (private to chat/).
 *
 * Way of a template: lex.c makes tokens, parse_expr.c and parse_stmt.c make nodes in the template's
 * arena, eval.c (expressions) and exec.c (statements) walk them. Values live in an arena that
 * belongs to one rendering. Lists and dicts never change after they were made; namespaces do.
 *
 * Failure is sticky: interp_fail keeps the first error and sets `failed`; functions then return
 * quickly with an undefined value, and every loop looks at `failed`.
 *
 * Hostile templates meet four ceilings: height of a node (parser), depth of evaluation, steps, and
 * bytes of memory. Work that grows with the size of strings or lists is charged as steps too.
 */
#ifndef LLLM_CHAT_INTERP_H
#define LLLM_CHAT_INTERP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "chat/chat.h"

/* ---- values ---- */

enum value_kind {
    V_UNDEFINED,
    V_NONE,
    V_BOOL,
    V_INT,
    V_FLOAT,
    V_STR,
    V_SEQ,
    V_DICT,
    V_NAMESPACE,
    V_CALLABLE,
    V_LOOP,
    V_CYCLER,  /* what cycler() gives; its items and position are in `loop` */
    V_MISSING, /* an optional argument that was not given */
};

struct str {
    const char *s;        /* [n] UTF-8, not NUL-terminated */
    const uint8_t *trust; /* [n] nonzero: a literal of the template wrote the byte */
    size_t n;
    size_t chars; /* code points */
    bool markup;  /* Jinja's Markup: `+` escapes what is added to it */
};

/* Why a value is undefined; the words are made when somebody uses it. */
struct undef {
    const char *object; /* type in which `name` was looked for; NULL: a variable */
    const char *name;
    bool element; /* looked up by something that is not a string */
    bool whole;   /* name is the whole sentence */
};

enum seq_kind { SEQ_LIST, SEQ_TUPLE, SEQ_RANGE, SEQ_KEYS, SEQ_VALUES, SEQ_ITEMS, SEQ_GENERATOR };

struct value {
    enum value_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct str *s;
        struct seq *seq;
        struct dict *dict; /* V_DICT and V_NAMESPACE */
        struct callable *call;
        struct loop *loop;   /* V_LOOP and V_CYCLER */
        struct undef *undef; /* NULL: without words */
    };
};

struct seq {
    enum seq_kind kind;
    bool group; /* a pair made by groupby: has .grouper and .list */
    struct value *v;
    size_t n;
    size_t taken;              /* generators give each element once */
    int64_t start, stop, step; /* as range() was called: ranges say so */
};

struct dict {
    struct value *keys, *values;
    size_t n, capacity;
};

struct interp;
struct node;
struct scope;

struct args {
    struct value *v; /* positional */
    size_t n;
    const char **names; /* keywords */
    struct value *named;
    size_t n_named;
};

/* A row of the tables of filters, tests, methods and functions. params: names separated by spaces;
 * "?" behind a name: optional; "*" as last word: any further arguments (the function reads them
 * from `raw`). */
typedef struct value builtin_fn(struct interp *in, struct value self, struct value *a,
                                const struct args *raw);
struct builtin {
    const char *name, *params;
    builtin_fn *fn;
};

enum callable_kind { CALL_BUILTIN, CALL_MACRO };
struct callable {
    enum callable_kind kind;
    const struct builtin *builtin;
    struct value self;
    const struct node *macro;
    struct scope *scope;
};

struct loop {
    struct value *items;
    size_t n, index; /* index counts from 0 */
    int depth;
    const struct node *node; /* for a recursive loop */
    struct scope *scope;
    struct value changed;
};

/* ---- syntax ---- */

enum token_kind {
    T_EOF,
    T_DATA,
    T_VAR_BEGIN,
    T_VAR_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_ADD,
    T_SUB,
    T_MUL,
    T_DIV,
    T_FLOORDIV,
    T_MOD,
    T_POW,
    T_TILDE,
    T_EQ,
    T_NE,
    T_LT,
    T_LE,
    T_GT,
    T_GE,
    T_ASSIGN,
    T_DOT,
    T_COMMA,
    T_COLON,
    T_PIPE,
    T_SEMICOLON,
    T_LPAREN,
    T_RPAREN,
    T_LBRACKET,
    T_RBRACKET,
    T_LBRACE,
    T_RBRACE,
    T_IN, /* operators of the tree only */
    T_NOT_IN,
};

struct token {
    enum token_kind kind;
    unsigned line;
    const char *s; /* text: T_DATA, T_NAME, T_STRING (decoded) and numbers */
    size_t n;
};

struct tokens {
    struct token *v;
    size_t n, capacity;
};

enum node_kind {
    E_CONST,    /* v */
    E_NAME,     /* name */
    E_OR,       /* kids */
    E_AND,      /* kids */
    E_NOT,      /* a */
    E_COMPARE,  /* a, then kids: E_OPERAND */
    E_ARITH,    /* the same */
    E_OPERAND,  /* op, a */
    E_CONCAT,   /* kids */
    E_NEG,      /* a */
    E_POS,      /* a */
    E_COND,     /* a if b else c */
    E_TUPLE,    /* kids */
    E_LIST,     /* kids */
    E_DICT,     /* kids: key, value, key, value */
    E_ATTR,     /* a.name */
    E_ITEM,     /* a[b] */
    E_SLICE,    /* a:b:c, as b of E_ITEM */
    E_CALL,     /* a(kids) */
    E_FILTER,   /* a | name(kids); a may be NULL in filter blocks */
    E_TEST,     /* a is name(kids) */
    E_NSREF,    /* name.v, only as a target */
    A_NAMED,    /* among kids of calls: name = a */
    A_STAR,     /* *a */
    A_STARSTAR, /* **a */
    S_TEXT,     /* v */
    S_OUTPUT,   /* a */
    S_LIST,     /* kids */
    S_IF,       /* kids: S_ARM; b: else or NULL */
    S_ARM,      /* a: condition, b: body */
    S_FOR, /* a: target, b: iterable, c: condition or NULL, d: body, e: else or NULL, op: recursive
            */
    S_SET, /* a: target, b: value */
    S_SETBLOCK, /* a: target, b: filter or NULL, d: body */
    S_MACRO,    /* name, kids: P_PARAM, d: body, op: MACRO_* flags */
    S_CALL,     /* a: call, b: the S_MACRO that is `caller` */
    S_FILTER,   /* b: filter, d: body */
    S_WITH,     /* kids: S_SET, d: body; also generation blocks and other scopes */
    S_BLOCK,    /* d: body, op: whether it sees the scope around it */
    S_BREAK,
    S_CONTINUE,
    S_REFUSE, /* name: why this statement cannot be executed */
    P_PARAM,  /* name, a: default or NULL */
};

enum { MACRO_VARARGS = 1, MACRO_KWARGS = 2, MACRO_CALLER = 4 };

struct node {
    enum node_kind kind;
    int op;
    unsigned line, height;
    uint32_t name_id; /* equal names have equal ids */
    const char *name; /* NUL-terminated */
    struct node *a, *b, *c, *d, *e;
    struct node **kids;
    size_t n;
    const struct builtin *builtin; /* E_FILTER, E_TEST; NULL when there is none of that name */
    struct node **declares; /* of a scope's body: names that are its own from the beginning */
    size_t n_declares;
    struct value v;
};

struct chat_template {
    struct arena *arena;
    struct node *root;
};

/* Words of an error whose names were cut somewhere: makes them valid UTF-8 again. */
void words_repair(char *words);

/* ---- lexer and parser ---- */

bool lex(struct arena *a, const char *source, size_t n, struct tokens *out, struct error *e);
const char *token_name(enum token_kind kind);

struct parser {
    struct arena *arena;
    const struct token *t; /* current */
    struct strmap *names;
    uint32_t n_names;
    unsigned depth;
    int macro_flags;
    int loop_depth;
    bool failed;
    struct error *e;
};

struct node_list {
    struct node **v;
    size_t n, capacity;
};

/* parse.c */
struct node *parse_fail(struct parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct node *parse_fail_unexpected(struct parser *p, const char *expected);
struct node *node_new(struct parser *p, enum node_kind kind, unsigned line);
/* Counts the heights of a node's children; fails when the tree is too high. */
struct node *node_done(struct parser *p, struct node *n);
void node_push(struct parser *p, struct node_list *list, struct node *n);
void node_take(struct node *n, const struct node_list *list);
bool token_is(const struct parser *p, enum token_kind kind);
bool token_is_text(const struct token *t, const char *name);
bool token_is_name(const struct parser *p, const char *name);
bool token_skip(struct parser *p, enum token_kind kind);
bool token_skip_name(struct parser *p, const char *name);
bool token_expect(struct parser *p, enum token_kind kind);
void node_set_name(struct parser *p, struct node *n, const struct token *t);

/* parse_expr.c, parse_stmt.c */
struct node *parse_expression(struct parser *p);
enum {
    TUPLE_PLAIN = 0,
    TUPLE_NO_CONDITION = 1,
    TUPLE_PARENTHESES = 2,
    TUPLE_TARGET = 4,
    TUPLE_NAMESPACE = 8
};
/* end_name: a name that ends the tuple, or NULL */
struct node *parse_tuple(struct parser *p, int how, const char *end_name);
struct node *parse_filter(struct parser *p, struct node *input, bool start_inline);
struct node *parse_template(struct parser *p);
/* check.c: what Jinja2 finds out before a template runs. Fills the `declares`. */
bool check_template(struct parser *p, struct node *root);

/* ---- the interpreter ---- */

enum {
    INTERP_MAX_EVAL_DEPTH = 1000,
    INTERP_MAX_RANGE = 100000, /* as Jinja2's sandbox */
    INTERP_MAX_PARAMS = 8,
};

struct binding {
    uint32_t id;
    struct value v;
    struct binding *next;
};

struct scope {
    struct scope *parent;
    struct binding *head;
};

/* A growing string with trust; on the heap, so that growth leaves nothing behind. */
struct text {
    char *s;
    uint8_t *trust;
    size_t n, capacity;
};

struct big_block;

struct interp {
    struct arena *arena;
    struct big_block *bigs;
    size_t mem_bytes;
    uint64_t steps;
    unsigned depth, line;
    bool failed;
    struct error *e;
    struct dict *vars;
    struct scope *root; /* the scope of the template's top level */
    struct text *out;
    struct value block_input; /* what a filter block filters */
    int64_t now;              /* Unix time */
};

struct value interp_fail(struct interp *in, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool interp_step(struct interp *in, uint64_t n); /* charges n steps; false when failed */
bool interp_enter(struct interp *in);            /* one level deeper */
void interp_leave(struct interp *in);
void *interp_alloc(struct interp *in, size_t count,
                   size_t element_bytes); /* zeroed; NULL: failed */

/* text.c */
bool text_add(struct interp *in, struct text *t, const char *s, const uint8_t *trust, size_t n);
bool text_fill(struct interp *in, struct text *t, const char *s, size_t n, uint8_t trust);
bool text_add_str(struct interp *in, struct text *t, const struct str *s);
void text_free(struct text *t);
struct value text_take(struct interp *in, struct text *t); /* a string; empties t */
struct value str_make(struct interp *in, const char *s, const uint8_t *trust, size_t n);
struct value str_plain(struct interp *in, const char *s, size_t n, uint8_t trust);
struct value str_view(struct interp *in, const struct str *whole, size_t begin,
                      size_t end); /* bytes */
struct value str_slice(struct interp *in, const struct str *s, int64_t start, int64_t step,
                       size_t count);
size_t str_offset(const struct str *s, size_t char_index); /* bytes before that code point */
struct value str_concat(struct interp *in, const struct str *a, const struct str *b);
struct value str_escape(struct interp *in, const struct str *s);
/* The same text with another mark. */
struct value str_marked(struct interp *in, const struct str *s, bool markup);
bool str_eq(const struct str *a, const struct str *b);
bool str_is(const struct str *s, const char *text);
int str_compare(const struct str *a, const struct str *b);
/* First occurrence at or after byte `from`; SIZE_MAX: none. */
size_t str_find(const struct str *s, const struct str *what, size_t from);
size_t char_len(const struct str *s, size_t offset);
uint32_t char_at(const struct str *s, size_t offset);
bool char_is_space(uint32_t c);
bool char_is_printable(uint32_t c);                        /* as Python's repr sees it */
const char *str_c(struct interp *in, const struct str *s); /* NUL-terminated copy */

/* value.c */
struct value value_none(void);
struct value value_bool(bool b);
struct value value_int(int64_t i);
struct value value_float(double f);
struct value value_seq(struct interp *in, enum seq_kind kind, struct value *v, size_t n);
struct value value_list(struct interp *in, size_t n); /* v is zeroed (undefined) */
struct value value_undefined(struct interp *in, const char *object, const char *name, bool element);
struct value value_undefined_words(struct interp *in, const char *words);
struct value value_dict(struct interp *in);
bool dict_set(struct interp *in, struct dict *d, struct value key, struct value v);
bool dict_get(struct interp *in, const struct dict *d, struct value key, struct value *v);
bool dict_get_name(struct interp *in, const struct dict *d, const char *name, struct value *v);
struct value value_import(struct interp *in, json_t *json, int depth);
struct value use_undefined(struct interp *in, struct value v); /* fails with its words */
bool value_true(struct interp *in, struct value v);
const char *value_type(struct value v);       /* "str" */
const char *value_type_words(struct value v); /* "str object", "None" */
bool value_hashable(struct value v);
bool value_is_number(struct value v); /* bool, int, float */
double value_number(struct value v);
bool value_as_int(struct value v, int64_t *i); /* int or bool */
bool value_equal(struct interp *in, struct value a, struct value b);
bool value_less(struct interp *in, struct value a, struct value b, const char *op); /* a < b */
bool value_contains(struct interp *in, struct value container, struct value item);
/* The elements, as `for` would see them; a generator is used up. */
bool value_items(struct interp *in, struct value v, struct value **items, size_t *n);
bool value_length(struct interp *in, struct value v, size_t *n);

/* repr.c */
struct value value_str(struct interp *in,
                       struct value v); /* str(v): always a V_STR unless failed */
void value_repr(struct interp *in, struct text *t, struct value v);
int float_repr(double f, char out[40]); /* as Python's repr; returns length */
struct value value_json(struct interp *in, struct value v, bool ensure_ascii,
                        const struct str *indent, const struct str *item_separator,
                        const struct str *key_separator, bool sort_keys);

/* ops.c */
struct value op_arith(struct interp *in, int op, struct value a, struct value b);
struct value op_negate(struct interp *in, struct value v);
bool op_compare(struct interp *in, int op, struct value a, struct value b);

/* attr.c */
struct value value_attr(struct interp *in, struct value v, const char *name);
struct value value_item(struct interp *in, struct value v, struct value key);
struct value value_slice(struct interp *in, struct value v, struct value start, struct value stop,
                         struct value step);

/* call.c */
struct value call_builtin(struct interp *in, const struct builtin *b, struct value self,
                          const struct args *args);
struct value call_value(struct interp *in, struct value callee, const struct args *args);

/* eval.c, exec.c */
struct value eval(struct interp *in, struct scope *s, const struct node *n);
bool eval_args(struct interp *in, struct scope *s, struct node *const *kids, size_t n,
               struct args *out);
enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };
enum flow exec(struct interp *in, struct scope *s, const struct node *n);
struct value exec_capture(struct interp *in, struct scope *s, const struct node *n);
struct value exec_loop(struct interp *in, struct scope *s, const struct node *n, struct value items,
                       int depth);
struct scope *scope_new(struct interp *in, struct scope *parent);
void scope_set(struct interp *in, struct scope *s, uint32_t id, struct value v);
/* Makes the names that body declares undefined in s, where a variable or function of that name
 * would be seen otherwise. */
void scope_declare(struct interp *in, struct scope *s, const struct node *body);
struct value call_macro(struct interp *in, const struct callable *c, const struct args *args);

/* Tables. NULL: no row of that name. */
const struct builtin *filter_find(const char *name);
const struct builtin *test_find(const char *name);
const struct builtin *function_find(const char *name);
const struct builtin *method_find(enum value_kind kind, enum seq_kind seq, const char *name);
bool method_is_mutator(enum value_kind kind, const char *name);

const struct builtin *builtin_search(const struct builtin *rows, size_t n, const char *name);

/* Ids of names that the interpreter itself binds; the parser registers them in this order. */
enum { NAME_LOOP, NAME_CALLER, NAME_VARARGS, NAME_KWARGS, NAME_COUNT };

/* format.c */
struct value format_percent(struct interp *in, const struct str *format, struct value args);
struct value format_braces(struct interp *in, const struct str *format, const struct args *args);
struct value format_date(struct interp *in, const struct str *format, int64_t unix_s);

/* filters_*.c, str_*.c */
/* The attribute argument of map, sort and others: "a.b.0" or an index. */
struct value value_path(struct interp *in, struct value v, struct value path,
                        const struct value *other); /* other, if not NULL: instead of undefined */
extern const struct builtin filter_seq_rows[];
extern const size_t filter_seq_count;
extern const struct builtin filter_text_rows[];
extern const size_t filter_text_count;
extern const struct builtin filter_html_rows[];
extern const size_t filter_html_count;
extern const struct builtin filter_layout_rows[];
extern const size_t filter_layout_count;
extern const struct builtin str_method_rows[];
extern const size_t str_method_count;
extern const struct builtin str_split_rows[];
extern const size_t str_split_count;
extern const struct builtin str_case_rows[];
extern const size_t str_case_count;

/* str_methods.c */
/* An argument as a string, NULL when it failed; as an integer, `other` where it is not given. */
const struct str *str_wanted(struct interp *in, struct value v);
int64_t str_int_or(struct interp *in, struct value v, int64_t other);
size_t str_previous(const struct str *s, size_t end); /* where the character before `end` begins */

/* str_split.c */
/* The last place of `what` that ends at or before `end`; SIZE_MAX: none. */
size_t str_find_last(struct interp *in, const struct str *s, const struct str *what, size_t end);

/* str_*.c: used by filters too */
struct value str_strip(struct interp *in, const struct str *s, const struct str *chars, bool left,
                       bool right);
enum letter_case { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITAL, CASE_SWAP, CASE_WORDS };
struct value str_case(struct interp *in, const struct str *s, enum letter_case how);
struct value str_replace(struct interp *in, const struct str *s, const struct str *old,
                         const struct str *new_text, int64_t count);
struct value str_lines(struct interp *in, const struct str *s, bool keep_ends);
struct value str_join(struct interp *in, const struct str *separator, struct value *items,
                      size_t n);
struct value str_pad(struct interp *in, const struct str *s, int64_t width, const struct str *fill,
                     bool left, bool right);

#endif
