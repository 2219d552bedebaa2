/* lang_multiple.c: numbers that divisors and other parts allow together, told without a search
 * through all remainders: among the numbers whose last k figures may be any is a multiple of m if
 * 10^k is at least m, and one that is no multiple of another if it is at least 2 m. */
#include "grammar/lang_internal.h"

enum {
    MAX_MODULUS = 50000000, /* twice that: k is at most 8 */
    MAX_TOGETHER = 16,      /* states of figures of one length */
    MAX_STATES = 400,       /* in front of them */
    MAX_PARTS = 16,         /* beside the divisor */
};

struct states {
    uint32_t *ids;
    size_t n, max;
};

static bool states_add(struct states *to, uint32_t id)
{
    for (size_t i = 0; i < to->n; i++) {
        if (to->ids[i] == id) {
            return true;
        }
    }
    if (to->n == to->max) {
        return false;
    }
    to->ids[to->n++] = id;
    return true;
}

/* What follows each figure; false where there are too many, or where `all` is asked for and a
 * figure may not follow. */
static bool add_figures(struct langs *s, uint32_t id, bool all, struct states *to)
{
    const struct lang_table *t = langs_spend(s, 1) ? lang_derive(s, id) : NULL;
    bool ok = t != NULL;
    for (int figure = '0'; ok && figure <= '9'; figure++) {
        uint32_t next = t->next[t->of_byte[figure]];
        ok = next ? states_add(to, next) : !all;
    }
    return ok;
}

/* Whether any k figures end a text of the language. */
static bool takes_any(struct langs *s, uint32_t id, uint32_t k)
{
    uint32_t ids[2][MAX_TOGETHER] = {{id}};
    struct states at = {ids[0], 1, MAX_TOGETHER}, next = {ids[1], 0, MAX_TOGETHER};
    for (uint32_t i = 0; i < k; i++) {
        next.n = 0;
        for (size_t j = 0; j < at.n; j++) {
            if (!add_figures(s, at.ids[j], true, &next)) {
                return false;
            }
        }
        struct states was = at;
        at = next;
        next = was;
    }
    for (size_t j = 0; j < at.n; j++) {
        if (!s->nodes[at.ids[j]].ends) {
            return false;
        }
    }
    return true;
}

/* The same behind some figures. Kept with the language, for each k. */
static bool comes_to_any(struct langs *s, uint32_t id, uint32_t k)
{
    uint32_t shift = 2 * (k - 1), known = (uint32_t)s->nodes[id].figures >> shift & 3;
    if (known) {
        return known == 1;
    }
    uint32_t ids[MAX_STATES];
    struct states found = {ids, 0, MAX_STATES};
    states_add(&found, id);
    bool some = false;
    for (size_t i = 0; i < found.n && !some && !s->failed; i++) {
        some = takes_any(s, ids[i], k);
        if (!some && !add_figures(s, ids[i], false, &found)) {
            break;
        }
    }
    if (!s->failed) {
        s->nodes[id].figures |= (uint16_t)((some ? 1 : 2) << shift);
    }
    return some;
}

/* What numbers in front of the point have to be a multiple of, and must be none of. */
struct division {
    uint64_t of;
    const struct lang_node *not_of;
};

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* 10^n mod m */
static uint64_t power_of_ten(uint32_t n, uint64_t m)
{
    uint64_t power = 1 % m;
    for (uint32_t i = 0; i < n; i++) {
        power = power * 10 % m;
    }
    return power;
}

/* Takes a part that divides; false: it is another, or one too many. */
static bool add_division(const struct langs *s, const struct lang_node *part, struct division *d)
{
    bool negated = part->kind == LANG_IS_NOT;
    const struct lang_node *m = negated ? &s->nodes[part->a] : part;
    uint32_t n_places = m->c >> 8, n_left = m->c & 255;
    if (m->kind != LANG_IS_MULTIPLE || n_left <= n_places || (negated && d->not_of)) {
        return false; /* behind the point few figures may be any */
    }
    if (negated) {
        d->not_of = m;
    } else {
        uint64_t whole = m->b / common_divisor(m->b, power_of_ten(n_places, m->b));
        d->of = d->of / common_divisor(d->of, whole) * whole;
    }
    return d->of <= MAX_MODULUS;
}

/* How many figures may be any for a number among them to be one that is wanted; 0: not known. */
static uint32_t figures_for(const struct division *d)
{
    const struct lang_node *m = d->not_of;
    if (m && d->of % m->b * power_of_ten(m->c >> 8, m->b) % m->b == 0) {
        return 0;
    }
    uint64_t power = 10, wanted = m ? 2 * d->of : d->of;
    uint32_t k = 1;
    for (; power < wanted; k++) {
        power *= 10;
    }
    return k;
}

bool lang_has_multiple(struct langs *s, uint32_t id)
{
    const struct lang_node *n = &s->nodes[id];
    struct division d = {.of = 1};
    struct lang others[MAX_PARTS];
    uint32_t n_others = 0;
    if (n->kind != LANG_IS_AND || n->b > MAX_PARTS || s->failed) {
        return false;
    }
    for (uint32_t i = 0; i < n->b; i++) {
        others[n_others] = (struct lang){s->args[n->a + i]};
        n_others += !add_division(s, &s->nodes[others[n_others].id], &d);
    }
    uint32_t k = n_others < n->b && d.of <= MAX_MODULUS ? figures_for(&d) : 0;
    return k && comes_to_any(s, lang_and_all(s, others, n_others).id, k);
}
