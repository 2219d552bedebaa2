/* schema_scalar.c: the texts of numbers and strings that a branch allows. */
#include "grammar/lang_internal.h"
#include "grammar/schema_internal.h"

#include <string.h>

/* ---- sets of values ---- */

static enum lang_spelling spelling_of(const struct compiler *c, enum value_texts which)
{
    return which == VALUE_PLAIN && c->spelling == LANG_JSON ? LANG_JSON_PLAIN : c->spelling;
}

static struct lang set_numbers(struct compiler *c, struct value_set *set, enum value_texts which)
{
    struct set_langs *made = &set->made[which];
    if (!made->has_numbers) {
        struct lang_word *words = arena_alloc(c->arena, (2 * (size_t)set->n + 1) * sizeof *words);
        size_t n = 0;
        for (uint32_t i = 0; i < set->n; i++) {
            if (schema_is_number(set->values[i])) {
                n += number_words(c, set->values[i], which, words + n);
            }
        }
        made->numbers = lang_words(c->langs, words, n, LANG_PLAIN);
        made->has_numbers = true;
    }
    return made->numbers;
}

static struct lang set_strings(struct compiler *c, struct value_set *set, enum value_texts which)
{
    struct set_langs *made = &set->made[which];
    if (!made->has_strings) {
        struct lang_word *words = arena_alloc(c->arena, (set->n + 1) * sizeof *words);
        size_t n = 0;
        for (uint32_t i = 0; i < set->n; i++) {
            const json_t *v = set->values[i];
            if (schema_is_text(v)) {
                words[n++] =
                    (struct lang_word){json_string_value(v), json_string_length(v), lang_empty()};
            }
        }
        made->strings = lang_words(c->langs, words, n, spelling_of(c, which));
        made->has_strings = true;
    }
    return made->strings;
}

/* ---- branches ---- */

/* Whether a language is that of integers, or cut with it. */
static bool is_whole(const struct compiler *c, struct lang l, struct lang integers)
{
    const struct lang_node *n = lang_node(c->langs, l);
    bool found = lang_same(l, integers);
    for (uint32_t i = 0; n->kind == LANG_IS_AND && i < n->b && !found; i++) {
        found = c->langs->args[n->a + i] == integers.id;
    }
    return found;
}

static enum value_texts texts_of(bool plain, bool negated)
{
    return negated ? VALUE_ALL : plain ? VALUE_PLAIN : VALUE_SPELLED;
}

/* Figures on each side of the point that a number between two bounds may need, where that can be
 * more than are written otherwise; else 0. */
static uint32_t most_figures(const struct compiler *c)
{
    uint32_t few = c->o.bounds.max_digits;
    few = few < LIKE_DOUBLE_FIGURES ? few : LIKE_DOUBLE_FIGURES;
    uint32_t most = c->most_whole > c->most_behind ? c->most_whole : c->most_behind;
    bool enough = c->most_whole + c->most_behind < few; /* one more behind the point */
    return c->o.bounds.unbounded || enough ? 0 : most + 1;
}

static bool leave_none(struct compiler *c, const struct lang *parts, size_t n, struct lang numbers)
{
    struct lang l = lang_and(c->langs, lang_and_all(c->langs, parts, n), numbers);
    return lang_is_empty(c->langs, l) == LANG_YES;
}

struct lang branch_numbers(struct compiler *c, const struct branch *b, bool plain)
{
    struct lang *parts = arena_alloc(c->arena, (b->n + 1) * sizeof *parts), l;
    size_t n = 0, n_bounds = 0; /* of which divide nothing: in front */
    bool is_plain = false, whole = false;
    struct lang integers = number_integer(c);
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == NUMBER_LANG) {
            l.id = a->a;
            whole = whole || is_whole(c, l, integers);
        } else if (a->kind == NUMBER_SET) {
            l = set_numbers(c, table_at(&c->sets, a->a), texts_of(plain, a->b));
            is_plain = is_plain || !a->b; /* its texts are numbers as they stand */
            l = a->b ? lang_not(c->langs, l) : l;
        } else {
            continue;
        }
        parts[n++] = l;
        if (a->kind == NUMBER_SET || !a->b) {
            parts[n - 1] = parts[n_bounds];
            parts[n_bounds++] = l;
        }
    }
    if (n == 0) {
        return c->number;
    }
    if (is_plain) {
        return lang_and_all(c->langs, parts, n);
    }
    bool no_point = plain && whole;
    uint32_t most = most_figures(c);
    struct lang few = no_point ? number_without_point(c, c->o.bounds.max_digits) : c->plain_number;
    parts[n] = few;
    l = lang_and_all(c->langs, parts, n + 1);
    /* What bounds leave is found soon, what they and a divisor leave may take too long. */
    if (most && (leave_none(c, parts, n_bounds, few) || leave_none(c, parts, n, few))) {
        parts[n] = no_point ? number_without_point(c, most) : number_plain(c, most, false);
        l = lang_and_all(c->langs, parts, n + 1);
    }
    return l;
}

struct lang branch_strings(struct compiler *c, const struct branch *b, bool plain)
{
    struct lang *parts = arena_alloc(c->arena, (b->n + 1) * sizeof *parts);
    size_t n = 0;
    bool is_content = false;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == STRING_LANG) {
            parts[n++] = (struct lang){a->a};
            is_content = true;
        } else if (a->kind == STRING_SET) {
            struct lang l = set_strings(c, table_at(&c->sets, a->a), texts_of(plain, a->b));
            is_content = is_content || !a->b;
            parts[n++] = a->b ? lang_not(c->langs, l) : l;
        }
    }
    if (!is_content) {
        parts[n++] = c->content;
    }
    return lang_and_all(c->langs, parts, n);
}

struct lang goal_strings(struct compiler *c, uint32_t goal)
{
    struct goal *g = goal_get(c, goal);
    if (g->asked) {
        schema_fail(c, ERROR_UNSUPPORTED, literal_schema(g->literals[0]), NULL,
                    "which names are allowed depends on this schema itself");
        return lang_none();
    }
    g->asked = true;
    const struct branches *all = goal_branches(c, goal);
    struct lang l = lang_none();
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->v[i].types & TYPE_STRING) {
            l = lang_or(c->langs, l, branch_strings(c, &all->v[i], false));
        }
    }
    g->asked = false;
    return l;
}

/* ---- patterns ---- */

static struct lang regex_once(struct compiler *c, const char *pattern, size_t n, bool search,
                              struct error *e)
{
    struct pattern entry = {0};
    char *content = arena_alloc(c->arena, n + 1);
    content[0] = (char)search;
    memcpy(content + 1, pattern, n);
    uint32_t id = schema_intern(c, &c->patterns, &entry, content, n + 1);
    struct pattern *kept = table_at(&c->patterns, id);
    if (!kept->made) {
        struct regex_options o = {.spelling = c->spelling, .search = search};
        kept->l = lang_regex(c->langs, pattern, n, &o, e);
        kept->made = true;
    }
    return kept->l;
}

struct lang string_pattern(struct compiler *c, uint32_t schema, const char *keyword,
                           const char *pattern, size_t n)
{
    struct error e = {0};
    struct lang l = regex_once(c, pattern, n, true, &e);
    if (e.code != ERROR_NONE) {
        char quoted[UTF8_QUOTE_BYTES];
        schema_fail(c, e.code, schema, keyword, "%s: %s", utf8_quote(quoted, pattern, n),
                    e.message);
    }
    return l;
}

struct lang string_regex(struct compiler *c, uint32_t schema, const char *keyword,
                         const char *pattern, size_t n)
{
    struct error e = {0};
    struct lang l = regex_once(c, pattern, n, false, &e);
    if (e.code != ERROR_NONE) {
        schema_fail(c, e.code, schema, keyword, "%s", e.message);
    }
    return l;
}

/* ---- finitely many values ---- */

struct finite {
    struct lang *values;
    uint32_t max, n;
};

static bool finite_add(struct finite *f, struct lang l)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (lang_same(f->values[i], l)) {
            return true;
        }
    }
    if (f->n == f->max) {
        return false;
    }
    f->values[f->n++] = l;
    return true;
}

static bool finite_type(struct compiler *c, struct finite *f, const struct branch *b, bool strings)
{
    enum atom_kind kind = strings ? STRING_SET : NUMBER_SET;
    const struct value_set *set = NULL;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == kind && !a->b) {
            set = table_at(&c->sets, a->a);
        }
    }
    struct lang all = strings ? branch_strings(c, b, false) : branch_numbers(c, b, false);
    for (uint32_t i = 0; set && i < set->n; i++) {
        const json_t *v = set->values[i];
        if (strings ? !schema_is_text(v) : !schema_is_number(v)) {
            continue;
        }
        struct lang_word words[2];
        enum value_texts which = texts_of(json_bounds_plain(&c->o.bounds), false);
        uint32_t n_words = strings ? 0 : number_words(c, v, which, words);
        struct lang one = strings ? lang_spelled(c->langs, json_string_value(v),
                                                 json_string_length(v), spelling_of(c, which))
                                  : lang_words(c->langs, words, n_words, LANG_PLAIN);
        if (lang_are_disjoint(c->langs, one, all) != LANG_YES &&
            !finite_add(f, strings ? lang_json_quoted(c->langs, one) : one)) {
            return false;
        }
    }
    return set != NULL;
}

bool goal_values(struct compiler *c, uint32_t goal, struct lang *values, uint32_t max, uint32_t *n)
{
    static const struct {
        uint32_t type;
        const char *text;
    } words[] = {{TYPE_NULL, "null"}, {TYPE_FALSE, "false"}, {TYPE_TRUE, "true"}};
    struct finite f = {values, max, 0};
    const struct branches *all = goal_branches(c, goal);
    bool finite = true;
    for (uint32_t i = 0; i < all->n && finite && !c->failed; i++) {
        struct branch b = all->v[i];
        branch_prune(c, &b, 2);
        for (int j = 0; j < 3; j++) {
            finite = finite &&
                     (!(b.types & words[j].type) ||
                      finite_add(&f, lang_text(c->langs, words[j].text, strlen(words[j].text))));
        }
        finite = finite && !(b.types & (TYPE_OBJECT | TYPE_ARRAY));
        finite = finite && (!(b.types & TYPE_NUMBER) || finite_type(c, &f, &b, false));
        finite = finite && (!(b.types & TYPE_STRING) || finite_type(c, &f, &b, true));
    }
    *n = f.n;
    return finite;
}
