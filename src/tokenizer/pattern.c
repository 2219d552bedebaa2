/* pattern.c: the automaton of a regular expression, made deterministic.
 *
 * Characters that no set of the expression tells apart are one symbol. A state is the list of nodes
 * at which the expression may stand, the preferred first; what follows them is worked out when the
 * next symbol is known, so that a look at the next character costs nothing. Where the list comes to
 * the end of the expression, there is a match, and what stands after it in the list is dropped: so
 * of all matches the one remains that a backtracking matcher would have found (as in RE2, by Cox).
 * A transition says whether a match ends before its symbol.
 */
#include "tokenizer/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tokenizer/unicode.h"

enum {
    MAX_SYMBOLS = 96,
    MAX_STATES = 4096,
    MAX_LIST_ITEMS = 1 << 20, /* of all states together */
    MAX_WORK = 1 << 26,
    LONG_LOOK = 64, /* bytes behind a match */
    MAX_INTERVALS = 2 * PATTERN_MAX_OPS,
    FIRST_WIDE = 0x80,
    SYMBOL_END = 0, /* the end of the text; no character */
    STATE_DEAD = 0,
    STATE_START = 1,
};

#define MATCH_BEFORE 1u /* the rest of a transition is the next state, shifted by one */

struct pattern {
    uint16_t *transitions; /* [n_states][n_symbols] */
    size_t n_states, n_symbols;
    uint8_t ascii[FIRST_WIDE]; /* symbols */
    /* Characters from FIRST_WIDE on: those of interval i have the symbol wide[i][kind]. */
    size_t n_intervals;
    uint32_t *interval_starts;
    uint8_t (*wide)[UNICODE_N_CLASSES];
};

/* ---- symbols ---- */

struct symbols {
    const struct pattern_program *program;
    size_t n;
    /* Whether a symbol's characters are in a set; one bit per set. */
    uint8_t members[MAX_SYMBOLS][PATTERN_MAX_SETS / 8];
};

static bool is_member(const struct symbols *s, size_t symbol, uint16_t set)
{
    return s->members[symbol][set / 8] >> set % 8 & 1;
}

/* The symbol of characters of a class, of which cp is one; 0 when there are too many. */
static size_t symbol_for(struct symbols *s, uint32_t cp, uint32_t kind)
{
    uint8_t *mine = s->members[s->n];
    memset(mine, 0, sizeof s->members[0]);
    for (size_t set = 0; set < s->program->n_sets; set++) {
        if (set_contains(s->program, (uint16_t)set, cp, kind)) {
            mine[set / 8] |= (uint8_t)(1 << set % 8);
        }
    }
    for (size_t i = 1; i < s->n; i++) {
        if (memcmp(s->members[i], mine, sizeof s->members[0]) == 0) {
            return i;
        }
    }
    return s->n + 1 < MAX_SYMBOLS ? s->n++ : 0;
}

static int compare_u32(const void *pa, const void *pb)
{
    uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
    return (a > b) - (a < b);
}

/* Where sets begin and end beyond ASCII: the starts of intervals within which only the class of a
 * character counts. */
static size_t find_intervals(const struct pattern_program *program, uint32_t *starts)
{
    size_t n = 0, kept = 1;
    starts[n++] = FIRST_WIDE;
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct set_op *op = &program->ops[i];
        if (op->kind == SET_RANGE && op->from > FIRST_WIDE) {
            starts[n++] = op->from;
        }
        if (op->kind == SET_RANGE && op->to >= FIRST_WIDE && op->to < UNICODE_MAX) {
            starts[n++] = op->to + 1;
        }
    }
    qsort(starts, n, sizeof *starts, compare_u32);
    for (size_t i = 1; i < n; i++) {
        if (starts[i] != starts[kept - 1]) {
            starts[kept++] = starts[i];
        }
    }
    return kept;
}

static bool fill_symbols(struct pattern *p, struct symbols *s)
{
    uint32_t starts[MAX_INTERVALS + 1];
    size_t n = find_intervals(s->program, starts);
    p->interval_starts = mem_array(n, sizeof *p->interval_starts);
    p->wide = mem_array(n, sizeof *p->wide);
    s->n = 1; /* SYMBOL_END is in no set */
    for (uint32_t cp = 0; cp < FIRST_WIDE; cp++) {
        size_t symbol = symbol_for(s, cp, unicode_class(cp));
        if (symbol == 0) {
            return false;
        }
        p->ascii[cp] = (uint8_t)symbol;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t *row = p->wide[p->n_intervals];
        for (uint32_t kind = 0; kind < UNICODE_N_CLASSES; kind++) {
            bool used = unicode_classes[kind].category[0] != 0;
            size_t symbol = used ? symbol_for(s, starts[i], kind) : SYMBOL_END;
            if (used && symbol == 0) {
                return false;
            }
            row[kind] = (uint8_t)symbol;
        }
        bool same =
            p->n_intervals > 0 && memcmp(row, p->wide[p->n_intervals - 1], sizeof *p->wide) == 0;
        if (!same) {
            p->interval_starts[p->n_intervals++] = starts[i];
        }
    }
    p->n_symbols = s->n;
    return true;
}

static size_t wide_symbol(const struct pattern *p, uint32_t cp)
{
    size_t lo = 0, hi = p->n_intervals;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->interval_starts[mid] <= cp) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return p->wide[lo][unicode_class(cp)];
}

/* ---- states ---- */

struct state_list {
    size_t first, n; /* its nodes in determiniser.items */
};

struct determiniser {
    const struct pattern_program *program;
    const struct symbols *symbols;
    struct state_list *states;
    size_t n_states;
    uint16_t *items;
    size_t n_items;
    uint32_t *slots; /* hashed lists: state + 1 */
    uint32_t *seen;  /* nodes visited in walk number `walk` */
    uint32_t *listed;
    uint32_t walk;
    uint16_t *stack;
    size_t work;
};

static bool next_allows(const struct determiniser *d, const struct pattern_node *node,
                        size_t symbol)
{
    return is_member(d->symbols, symbol, node->set) != node->negated;
}

/* Walks from one node to all that can be reached before `symbol` is read. What then reads the
 * symbol is appended to items at *n (nodes after it, each once). True when the expression's end was
 * reached: the walk stops there. */
static bool walk_from(struct determiniser *d, uint16_t start, size_t symbol, size_t *n)
{
    const struct pattern_program *program = d->program;
    size_t depth = 0;
    d->stack[depth++] = start;
    while (depth > 0) {
        uint16_t at = d->stack[--depth];
        d->work++;
        const struct pattern_node *node = &program->nodes[at];
        if (d->seen[at] == d->walk) {
            continue;
        }
        d->seen[at] = d->walk;
        switch (node->kind) {
        case NODE_MATCH:
            return true;
        case NODE_SPLIT:
            d->stack[depth++] = node->other;
            d->stack[depth++] = node->out;
            break;
        case NODE_NEXT:
            if (next_allows(d, node, symbol)) {
                d->stack[depth++] = node->out;
            }
            break;
        case NODE_CHAR:
            if (is_member(d->symbols, symbol, node->set) && d->listed[node->out] != d->walk) {
                d->listed[node->out] = d->walk;
                d->items[d->n_items + (*n)++] = node->out;
            }
            break;
        }
    }
    return false;
}

/* The state with the list of n nodes that stands behind the items; a new one where there is none.
 * False when there are too many. */
static bool find_state(struct determiniser *d, size_t n, size_t *state)
{
    const uint16_t *list = d->items + d->n_items;
    if (n == 0) {
        *state = STATE_DEAD;
        return true;
    }
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ list[i]) * 16777619u;
    }
    size_t slot = h % (2 * MAX_STATES);
    for (; d->slots[slot]; slot = (slot + 1) % (2 * MAX_STATES)) {
        const struct state_list *known = &d->states[d->slots[slot] - 1];
        if (known->n == n && memcmp(d->items + known->first, list, n * sizeof *list) == 0) {
            *state = d->slots[slot] - 1;
            return true;
        }
    }
    if (d->n_states == MAX_STATES || d->n_items + n + PATTERN_MAX_NODES > MAX_LIST_ITEMS) {
        return false;
    }
    *state = d->n_states;
    d->slots[slot] = (uint32_t)d->n_states + 1;
    d->states[d->n_states++] = (struct state_list){d->n_items, n};
    d->n_items += n;
    return true;
}

static bool fill_transitions(struct pattern *p, struct determiniser *d)
{
    size_t capacity = 0, start;
    d->states[0] = (struct state_list){0, 0};
    d->n_states = 1;
    d->items[0] = d->program->start;
    if (!find_state(d, 1, &start)) {
        return false;
    }
    for (size_t state = 0; state < d->n_states; state++) {
        if (state == capacity) {
            capacity = capacity ? capacity * 2 : 32;
            p->transitions =
                mem_resize(p->transitions, capacity * p->n_symbols * sizeof *p->transitions);
        }
        struct state_list list = d->states[state];
        for (size_t symbol = 0; symbol < p->n_symbols; symbol++) {
            size_t n = 0, next;
            bool match = false;
            d->walk++;
            for (size_t i = 0; i < list.n && !match; i++) {
                match = walk_from(d, d->items[list.first + i], symbol, &n);
            }
            if (d->work > MAX_WORK || !find_state(d, n, &next)) {
                return false;
            }
            p->transitions[state * p->n_symbols + symbol] =
                (uint16_t)(next << 1 | (match ? MATCH_BEFORE : 0));
        }
    }
    p->n_states = d->n_states;
    return true;
}

static bool determinise(struct pattern *p, const struct pattern_program *program,
                        const struct symbols *symbols)
{
    struct determiniser d = {
        .program = program,
        .symbols = symbols,
        .states = mem_array(MAX_STATES, sizeof *d.states),
        .items = mem_alloc(MAX_LIST_ITEMS * sizeof *d.items),
        .slots = mem_array((size_t)2 * MAX_STATES, sizeof *d.slots),
        .seen = mem_array(PATTERN_MAX_NODES, sizeof *d.seen),
        .listed = mem_array(PATTERN_MAX_NODES, sizeof *d.listed),
        .stack = mem_array((size_t)2 * PATTERN_MAX_NODES, sizeof *d.stack),
    };
    bool ok = fill_transitions(p, &d);
    free(d.states);
    free(d.items);
    free(d.slots);
    free(d.seen);
    free(d.listed);
    free(d.stack);
    return ok;
}

/* A possessive repetition never gives back what it took. The usual kind gives the same result where
 * nothing that follows could take it. */
static bool possessives_harmless(const struct pattern_program *program,
                                 const struct symbols *symbols)
{
    uint32_t *seen = mem_array(PATTERN_MAX_NODES, sizeof *seen);
    uint32_t *listed = mem_array(PATTERN_MAX_NODES, sizeof *listed);
    uint16_t *stack = mem_array((size_t)2 * PATTERN_MAX_NODES, sizeof *stack);
    uint16_t *items = mem_array(PATTERN_MAX_NODES, sizeof *items);
    struct determiniser d = {.program = program,
                             .symbols = symbols,
                             .items = items,
                             .seen = seen,
                             .listed = listed,
                             .stack = stack};
    bool harmless = true;
    for (size_t i = 0; i < program->n_possessives; i++) {
        const struct possessive *possessive = &program->possessives[i];
        for (size_t symbol = 1; symbol < symbols->n; symbol++) {
            size_t n = 0;
            d.walk++;
            if (is_member(symbols, symbol, possessive->set) &&
                !walk_from(&d, possessive->exit, symbol, &n)) {
                harmless = harmless && n == 0;
            }
        }
    }
    free(seen);
    free(listed);
    free(stack);
    free(items);
    return harmless;
}

static bool matches_nothing(const struct pattern *p)
{
    for (size_t symbol = 0; symbol < p->n_symbols; symbol++) {
        if (p->transitions[STATE_START * p->n_symbols + symbol] & MATCH_BEFORE) {
            return true;
        }
    }
    return false;
}

struct pattern *pattern_new(const char *text, size_t n, struct error *e)
{
    struct pattern_program *program = mem_alloc(sizeof *program);
    struct symbols *symbols = mem_zalloc(sizeof *symbols);
    struct pattern *p = mem_zalloc(sizeof *p);
    int shown = n < 200 ? (int)n : 200;
    symbols->program = program;
    bool ok = pattern_parse(text, n, program, e);
    if (ok && (!fill_symbols(p, symbols) || !determinise(p, program, symbols))) {
        ok = error_set(e, ERROR_UNSUPPORTED, "the regular expression \"%.*s\" is too large", shown,
                       text);
    }
    if (ok && !possessives_harmless(program, symbols)) {
        ok = error_set(e, ERROR_UNSUPPORTED,
                       "the regular expression \"%.*s\" has a possessive repetition that forbids "
                       "matches, which this program cannot do",
                       shown, text);
    }
    if (ok && matches_nothing(p)) {
        ok = error_set(e, ERROR_UNSUPPORTED,
                       "the regular expression \"%.*s\" also matches empty text, which cannot cut "
                       "words",
                       shown, text);
    }
    free(program);
    free(symbols);
    if (!ok) {
        pattern_free(p);
        return NULL;
    }
    return p;
}

void pattern_free(struct pattern *p)
{
    if (p) {
        free(p->transitions);
        free(p->interval_starts);
        free(p->wide);
        free(p);
    }
}

/* ---- matching ---- */

/* As utf8_decode, for characters of two bytes and more. */
static inline size_t decode_wide(const uint8_t *text, size_t n, uint32_t *cp)
{
    uint32_t a = text[0], b = n > 1 ? text[1] ^ 0x80u : 0x80, c = n > 2 ? text[2] ^ 0x80u : 0x80;
    if (a < 0xE0) {
        *cp = (a & 0x1F) << 6 | b;
        return a >= 0xC2 && b < 0x40 ? 2 : 0;
    }
    if (a < 0xF0) {
        *cp = (a & 0x0F) << 12 | b << 6 | c;
        return (b | c) < 0x40 && *cp >= 0x800 && (*cp < 0xD800 || *cp > 0xDFFF) ? 3 : 0;
    }
    uint32_t d = n > 3 ? text[3] ^ 0x80u : 0x80;
    *cp = (a & 0x07) << 18 | b << 12 | c << 6 | d;
    return a < 0xF5 && (b | c | d) < 0x40 && *cp >= 0x10000 && *cp <= UNICODE_MAX ? 4 : 0;
}

/* The state at byte `at` of a scan that began at `from`, one character on; its length is *step. */
static inline uint32_t advance(const struct pattern *p, const uint8_t *text, size_t n, size_t at,
                               uint32_t state, size_t *step)
{
    size_t symbol = SYMBOL_END;
    *step = 1;
    if (at < n && text[at] < FIRST_WIDE) {
        symbol = p->ascii[text[at]];
    } else if (at < n) {
        uint32_t cp;
        *step = decode_wide(text + at, n - at, &cp);
        symbol = *step ? wide_symbol(p, cp) : SYMBOL_END;
    }
    return p->transitions[state * p->n_symbols + symbol];
}

/* Keeps the states of a scan that began at `from` at the places behind its match, to which it
 * looked in vain. Without memory for it, nothing is kept. */
static void keep_trace(struct pattern_scan *s, size_t from, size_t matched, size_t looked)
{
    const uint8_t *text = (const uint8_t *)s->text;
    size_t n = looked - matched, step;
    if (n > s->trace_capacity) {
        free(s->trace);
        s->trace_capacity = n + n / 2;
        s->trace = mem_try_alloc(s->trace_capacity * sizeof *s->trace);
    }
    s->trace_from = s->trace_to = 0;
    if (!s->trace) {
        s->trace_capacity = 0;
        return;
    }
    memset(s->trace, 0, n * sizeof *s->trace); /* the dead state stands for none */
    uint32_t state = STATE_START;
    for (size_t at = from; at < looked; at += step) {
        if (at >= matched) {
            s->trace[at - matched] = (uint16_t)state;
        }
        state = advance(s->pattern, text, s->n, at, state, &step) >> 1;
    }
    s->trace_from = matched;
    s->trace_to = looked;
    *s->work += looked - from;
}

/* How many bytes match at s->text[from]; 0: it does not match. */
static size_t match(struct pattern_scan *s, size_t from)
{
    const uint8_t *text = (const uint8_t *)s->text;
    const struct pattern *p = s->pattern;
    size_t matched = from, at = from, step, n = s->n;
    uint32_t state = STATE_START;
    while (state != STATE_DEAD) {
        if (at > s->trace_from && at < s->trace_to && s->trace[at - s->trace_from] == state) {
            break; /* an earlier scan came here in this state, and found nothing more */
        }
        uint32_t transition = advance(p, text, n, at, state, &step);
        if (transition & MATCH_BEFORE) {
            matched = at;
        }
        state = transition >> 1;
        at += step;
    }
    *s->work += at - from;
    if (at - matched > LONG_LOOK) {
        keep_trace(s, from, matched, at < n ? at : n);
    }
    return matched - from;
}

size_t pattern_next(struct pattern_scan *s, size_t from, size_t *len)
{
    const uint8_t *text = (const uint8_t *)s->text;
    const struct pattern *p = s->pattern;
    const uint16_t *start = p->transitions + STATE_START * p->n_symbols;
    for (size_t at = from; at < s->n;) {
        /* Most places fail at once. */
        if (text[at] >= FIRST_WIDE || start[p->ascii[text[at]]]) {
            *len = match(s, at);
            if (*len) {
                *s->work += at - from;
                return at;
            }
        }
        at++;
        while (at < s->n && (text[at] & 0xC0) == 0x80) {
            at++;
        }
    }
    *s->work += s->n - from;
    *len = 0;
    return s->n;
}

void pattern_scan_end(struct pattern_scan *s)
{
    free(s->trace);
}

/* ---- equality ---- */

struct pair_walk {
    const struct pattern *a, *b;
    uint8_t (*symbols)[2]; /* the pairs of symbols that some character has */
    size_t n_symbols;
};

static void add_pair(struct pair_walk *w, size_t a, size_t b)
{
    for (size_t i = 0; i < w->n_symbols; i++) {
        if (w->symbols[i][0] == a && w->symbols[i][1] == b) {
            return;
        }
    }
    w->symbols[w->n_symbols][0] = (uint8_t)a;
    w->symbols[w->n_symbols++][1] = (uint8_t)b;
}

/* Characters are gone through one by one, in order, along the intervals of both. */
static void find_pairs(struct pair_walk *w, bool wide)
{
    const struct pattern *a = w->a, *b = w->b;
    add_pair(w, SYMBOL_END, SYMBOL_END);
    for (size_t i = 0; i < FIRST_WIDE; i++) {
        add_pair(w, a->ascii[i], b->ascii[i]);
    }
    size_t i = 0, j = 0, last_a = 0, last_b = 0;
    for (uint32_t cp = FIRST_WIDE; wide && cp <= UNICODE_MAX; cp++) {
        i += i + 1 < a->n_intervals && a->interval_starts[i + 1] == cp;
        j += j + 1 < b->n_intervals && b->interval_starts[j + 1] == cp;
        uint32_t kind = unicode_class(cp);
        size_t in_a = a->wide[i][kind], in_b = b->wide[j][kind];
        if (in_a != last_a || in_b != last_b) {
            add_pair(w, in_a, in_b);
            last_a = in_a;
            last_b = in_b;
        }
    }
}

static bool walk_pairs(const struct pair_walk *w)
{
    const struct pattern *a = w->a, *b = w->b;
    uint8_t *seen = mem_array(a->n_states, b->n_states);
    uint32_t *queue = mem_array(a->n_states * b->n_states, sizeof *queue);
    size_t n_queue = 0;
    bool equal = true;
    queue[n_queue++] = STATE_START << 16 | STATE_START;
    seen[STATE_START * b->n_states + STATE_START] = 1;
    for (size_t done = 0; done < n_queue && equal; done++) {
        size_t in_a = queue[done] >> 16, in_b = queue[done] & 0xFFFF;
        for (size_t i = 0; i < w->n_symbols; i++) {
            uint32_t to_a = a->transitions[in_a * a->n_symbols + w->symbols[i][0]];
            uint32_t to_b = b->transitions[in_b * b->n_symbols + w->symbols[i][1]];
            size_t pair = (to_a >> 1) * b->n_states + (to_b >> 1);
            equal = equal && ((to_a ^ to_b) & MATCH_BEFORE) == 0;
            if (!seen[pair]) {
                seen[pair] = 1;
                queue[n_queue++] = to_a >> 1 << 16 | to_b >> 1;
            }
        }
    }
    free(seen);
    free(queue);
    return equal;
}

bool pattern_equal(const struct pattern *a, const struct pattern *b)
{
    struct pair_walk w = {a, b, mem_array((size_t)MAX_SYMBOLS * MAX_SYMBOLS, 2), 0};
    /* Most differ in ASCII. */
    find_pairs(&w, false);
    bool equal = walk_pairs(&w);
    if (equal) {
        find_pairs(&w, true);
        equal = walk_pairs(&w);
    }
    free(w.symbols);
    return equal;
}
