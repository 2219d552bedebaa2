/* object.c: JSON objects as frames: members in any order, none twice, and nothing offered that
 * could not be completed. */
#include "grammar/build_internal.h"

#include <stdlib.h>

#include "base/utf8.h"

/* Words of a cell: how many members there are, the language of the keys that families have used up
 * (an alternative of their spellings), and a bit for each declared member that is there. */
enum { WORD_COUNT, WORD_USED = OBJECT_WORD_USED, WORD_BITS };
enum { MANY_KEYS = 1 << 24 };     /* more than an answer has */
enum { MAX_KEY_BYTES = 4 << 20 }; /* of all members of an object; bounds recursion over groups */

static bool has_bit(const uint32_t *bits, uint32_t i)
{
    return bits[i / 32] >> i % 32 & 1;
}

static void set_bit(uint32_t *bits, uint32_t i)
{
    bits[i / 32] |= UINT32_C(1) << i % 32;
}

/* ---- made ---- */

static int compare_parts(const void *a, const void *b)
{
    const struct object_part *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->key, y->key, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static bool take_member(struct build *b, struct object_part *p, const struct object_member *m,
                        uint32_t place)
{
    *p = (struct object_part){.key = arena_strndup(b->arena, m->key, m->n),
                              .n = m->n,
                              .value = m->value.id,
                              .place = place,
                              .required = m->required};
    b->arena_bytes += m->n + 16 + m->n * 2 * sizeof(uint32_t);
    p->units = arena_alloc(b->arena, (m->n + 1) * sizeof *p->units);
    for (size_t at = 0, n; at < m->n; at += n) {
        n = utf8_decode(m->key + at, m->n - at, &p->units[p->n_units++]);
        if (n == 0) {
            build_fail(b, ERROR_INPUT, "the key of an object's member is not valid UTF-8");
            return false;
        }
    }
    return true;
}

/* What must be there from the beginning, with all that it needs. */
static void take_required(struct object_frame *f)
{
    for (uint32_t i = 0; i < f->n_parts; i++) {
        const uint32_t *needs = f->parts[i].needs;
        f->needs_work += needs != NULL;
        if (f->parts[i].required) {
            set_bit(f->required, i);
            for (uint32_t w = 0; needs && w < f->n_words; w++) {
                f->required[w] |= needs[w];
            }
        }
    }
}

/* What each member needs beside it, from the caller's order to ours. */
static bool take_needs(struct build *b, struct object_frame *f, const struct object_options *o)
{
    uint64_t n_needy = 0, n_arrows = 0;
    for (size_t i = 0; i < o->n_members; i++) {
        n_needy += o->members[i].n_requires > 0;
        n_arrows += o->members[i].n_requires;
    }
    if (n_needy * f->n_words > OBJECT_MAX_NEEDS_WORDS || n_arrows > BUILD_MAX_LINKS) {
        build_fail(b, ERROR_LIMIT, "an object has too many members that need others beside them");
        return false;
    }
    if (n_arrows) {
        uint32_t *sorted = mem_array(o->n_members + 1, sizeof *sorted); /* by the caller's order */
        uint32_t *starts = mem_array(o->n_members + 1, sizeof *starts), n = 0;
        uint32_t *to = mem_array(n_arrows, sizeof *to);
        for (uint32_t i = 0; i < f->n_parts; i++) {
            sorted[f->parts[i].place] = i;
        }
        for (uint32_t i = 0; i < f->n_parts; i++) {
            const struct object_member *m = &o->members[f->parts[i].place];
            starts[i] = n;
            for (size_t j = 0; j < m->n_requires; j++) {
                if (m->requires_members[j] < o->n_members) {
                    to[n++] = sorted[m->requires_members[j]];
                }
            }
        }
        starts[f->n_parts] = n;
        object_close_needs(b, f, starts, to);
        free(sorted);
        free(starts);
        free(to);
    }
    take_required(f);
    return true;
}

struct node build_object(struct build *b, const struct object_options *o)
{
    size_t key_bytes = 0;
    for (size_t i = 0; i < o->n_members; i++) {
        key_bytes += o->members[i].n;
        if (o->members[i].n > MAX_KEY_BYTES || key_bytes > MAX_KEY_BYTES) {
            return build_fail(b, ERROR_LIMIT, "the keys of an object have more than %d bytes",
                              MAX_KEY_BYTES);
        }
    }
    if (o->n_members > BUILD_MAX_MEMBERS || o->n_families > BUILD_MAX_FAMILIES) {
        return build_fail(b, ERROR_LIMIT,
                          "an object has more than %d members, or %d families of keys",
                          BUILD_MAX_MEMBERS, BUILD_MAX_FAMILIES);
    }
    struct object_frame *f = build_alloc(b, sizeof *f);
    f->n_parts = (uint32_t)o->n_members;
    for (size_t i = 0; i < o->n_families; i++) {
        uint32_t demand = o->families[i].demand;
        f->n_demands = demand > f->n_demands ? demand : f->n_demands;
    }
    if (f->n_demands > o->n_families) {
        return build_fail(b, ERROR_USAGE, "a demand of an object has a number above its families");
    }
    f->n_words = (f->n_parts + f->n_demands + 31) / 32;
    f->parts = build_alloc(b, (o->n_members + 1) * sizeof *f->parts);
    f->required = build_alloc(b, (f->n_words + 1) * sizeof *f->required);
    f->n_families = (uint32_t)o->n_families;
    f->families = build_alloc(b, (o->n_families + 1) * sizeof *f->families);
    f->min = o->min_members;
    f->max = o->max_members;
    f->space = o->space;
    f->in_order = o->in_order;
    f->plain_keys = o->plain_keys;
    for (uint32_t i = 0; i < f->n_parts; i++) {
        if (!take_member(b, &f->parts[i], &o->members[i], i)) {
            return build_none();
        }
    }
    if (f->n_parts) {
        qsort(f->parts, f->n_parts, sizeof *f->parts, compare_parts);
    }
    for (uint32_t i = 1; i < f->n_parts; i++) {
        if (compare_parts(&f->parts[i - 1], &f->parts[i]) == 0) {
            return build_fail(b, ERROR_INPUT, "an object has two members with the key \"%.100s\"",
                              f->parts[i].key);
        }
    }
    if (!take_needs(b, f, o)) {
        return build_none();
    }
    for (uint32_t i = 0; i < f->n_families; i++) {
        f->families[i].keys = o->families[i].keys;
        f->families[i].value = o->families[i].value.id;
        f->families[i].demand = o->families[i].demand;
    }
    for (uint32_t i = 0; i < f->n_demands; i++) {
        set_bit(f->required, f->n_parts + i);
    }
    b->objects =
        build_grown(b->objects, b->n_objects, &b->objects_capacity, sizeof(struct object_frame *));
    b->objects[b->n_objects] = f;
    return build_add(b, (struct build_node){.kind = NODE_OBJECT, .a = (uint32_t)b->n_objects++});
}

/* ---- what lives ---- */

static uint32_t count_bits(uint32_t x)
{
    return (uint32_t)__builtin_popcount(x);
}

/* Those of some keys that are spelled as the frame wants it. */
static struct lang plain_keys(const struct object_frame *f, struct langs *s, struct lang keys)
{
    if (!f->plain_keys) {
        return keys;
    }
    struct lang plain = lang_json_content(s, LANG_JSON_PLAIN);
    return lang_same(keys, lang_json_content(s, LANG_JSON)) ? plain : lang_and(s, keys, plain);
}

/* LANG_JSON_PLAIN still has two ways to write some control characters. */
struct lang object_key_spelling(struct langs *s)
{
    struct lang parts[] = {lang_text(s, "\\u00", 4), lang_byte_range(s, '0', '1'),
                           lang_byte_range(s, 'A', 'F')};
    struct lang one =
        lang_minus(s, lang_any_char(s, LANG_JSON_PLAIN), lang_concat_all(s, parts, 3));
    return lang_repeat(s, one, 0, LANG_INFINITE);
}

static void take_keys(struct build *b, struct object_frame *f)
{
    struct langs *s = b->langs;
    f->keys_taken = true;
    if (f->n_families == 0) {
        return;
    }
    struct lang_word *words = mem_array(f->n_parts + 1, sizeof *words);
    for (uint32_t i = 0; i < f->n_parts; i++) {
        words[i] = (struct lang_word){f->parts[i].key, f->parts[i].n, lang_empty()};
    }
    struct lang named = lang_words(s, words, f->n_parts, LANG_JSON);
    free(words);
    for (uint32_t i = 0; i < f->n_families; i++) {
        f->families[i].keys = lang_minus(s, plain_keys(f, s, f->families[i].keys), named);
    }
    if (f->min || f->n_demands) {
        f->content = object_key_spelling(s);
    }
}

/* The keys of living families: of all, or of those with a demand. */
static struct lang living_keys(const struct object_frame *f, struct langs *s, uint32_t demand)
{
    struct lang *keys = mem_array(f->n_families + 1, sizeof *keys);
    size_t n = 0;
    for (uint32_t i = 0; i < f->n_families; i++) {
        if (f->families[i].lives && (!demand || f->families[i].demand == demand)) {
            keys[n++] = f->families[i].keys;
        }
    }
    struct lang l = lang_or_all(s, keys, n);
    free(keys);
    return l;
}

/* How many different keys are in the language, up to `most`. What cannot be counted is many. */
static uint64_t count_keys(const struct object_frame *f, struct langs *s, struct lang keys,
                           uint64_t most)
{
    uint64_t n = 0;
    return lang_count(s, lang_and(s, keys, f->content), most, &n) ? n : most;
}

/* Members that can be there: they live, so does what they need, and all of them are not too many.
 * False where one is required and cannot. */
static bool members_live(const struct build *b, struct object_frame *f, uint64_t *n_living)
{
    uint32_t n_required = 0, *dead = mem_zalloc((f->n_words + 1) * sizeof *dead);
    for (uint32_t i = 0; i < f->n_parts; i++) {
        if (!b->nodes[f->parts[i].value].lives) {
            set_bit(dead, i);
        }
    }
    for (uint32_t w = 0; w < f->n_words; w++) {
        n_required += count_bits(f->required[w]);
    }
    bool ok = n_required <= f->max;
    for (uint32_t i = 0; i < f->n_parts && ok; i++) {
        const uint32_t *needs = f->parts[i].needs; /* itself too */
        uint64_t n = n_required + (needs || has_bit(f->required, i) ? 0 : 1);
        bool all = !has_bit(dead, i);
        for (uint32_t w = 0; needs && all && w < f->n_words; w++) {
            all = !(needs[w] & dead[w]);
            n += count_bits(needs[w] & ~f->required[w]);
        }
        f->parts[i].lives = all && n <= f->max;
        *n_living += f->parts[i].lives;
        ok = f->parts[i].lives || !has_bit(f->required, i);
    }
    free(dead);
    return ok;
}

bool object_lives(struct build *b, struct object_frame *f)
{
    uint64_t n_members = 0;
    uint32_t n_families = 0;
    if (!f->keys_taken) {
        take_keys(b, f);
    }
    bool *met = mem_zalloc(f->n_demands + 1);
    for (uint32_t i = 0; i < f->n_families; i++) {
        f->families[i].lives = b->nodes[f->families[i].value].lives &&
                               lang_is_empty(b->langs, f->families[i].keys) != LANG_YES;
        n_families += f->families[i].lives;
        met[f->families[i].demand] = met[f->families[i].demand] || f->families[i].lives;
    }
    bool ok = f->min <= f->max && members_live(b, f, &n_members);
    for (uint32_t demand = 1; demand <= f->n_demands; demand++) {
        ok = ok && met[demand];
    }
    free(met);
    f->records = n_families > 0;
    /* What lives goes on living, so that families in the same number are the same ones. */
    bool count = ok && (n_members < f->min || (f->in_order && f->min));
    if (count && f->n_counted != n_families) {
        f->n_keys = count_keys(f, b->langs, living_keys(f, b->langs, 0), f->min);
        f->n_counted = n_families;
    }
    return ok && (n_members >= f->min || n_members + f->n_keys >= f->min);
}

/* ---- the languages of keys ---- */

/* Behind a key: quote, colon, mark. */
static struct lang key_end(const struct object_frame *f, struct langs *s, uint32_t mark)
{
    struct lang l = lang_concat(s, f->space.colon, lang_mark(s, mark));
    l = lang_concat(s, f->space.colon, lang_concat(s, lang_byte_range(s, ':', ':'), l));
    return lang_concat(s, lang_byte_range(s, '"', '"'), l);
}

static uint32_t common_units(const struct object_part *x, const struct object_part *y)
{
    uint32_t n = 0;
    while (n < x->n_units && n < y->n_units && x->units[n] == y->units[n]) {
        n++;
    }
    return n;
}

/* Where the members of a group stop sharing the unit at `common`. */
static uint32_t run_end(const struct object_frame *f, uint32_t from, uint32_t to, uint32_t common)
{
    const struct object_part *p = f->parts;
    uint32_t end = from + 1;
    while (end < to && p[from].n_units > common && p[end].n_units > common &&
           p[end].units[common] == p[from].units[common]) {
        end++;
    }
    return end;
}

static void add_groups(struct build *b, struct object_frame *f, uint32_t from, uint32_t to)
{
    uint32_t index = f->n_groups++;
    struct object_group g = {.from = from, .to = to};
    g.common =
        to - from == 1 ? f->parts[from].n_units : common_units(&f->parts[from], &f->parts[to - 1]);
    for (uint32_t at = from; to - from > 1 && at < to; g.n_children++) {
        uint32_t end = run_end(f, at, to, g.common);
        add_groups(b, f, at, end);
        at = end;
    }
    g.end = f->n_groups;
    f->groups[index] = g;
}

/* The members of a group that are in `offered` (NULL: all), from unit `depth` on. */
static struct lang group_lang(const struct object_frame *f, struct langs *s, uint32_t index,
                              uint32_t depth, const uint32_t *offered)
{
    const struct object_group *g = &f->groups[index];
    uint32_t n = 0;
    for (uint32_t i = g->from; offered && i < g->to; i++) {
        n += has_bit(offered, i);
    }
    if (offered && n == 0) {
        return lang_none();
    }
    const struct object_part *first = &f->parts[g->from];
    if (g->to - g->from == 1) {
        return (struct lang){first->suffixes[depth]};
    }
    if (offered && n == g->to - g->from && g->whole.id) {
        return g->whole; /* depth is always the same for a group */
    }
    struct lang *ways = mem_array(g->n_children, sizeof *ways);
    uint32_t child = index + 1;
    for (uint32_t i = 0; i < g->n_children; i++) {
        ways[i] = group_lang(f, s, child, g->common, offered);
        child = f->groups[child].end;
    }
    struct lang l = lang_or_all(s, ways, g->n_children);
    free(ways);
    for (uint32_t i = g->common; i-- > depth;) {
        l = lang_concat(s, (struct lang){first->heads[i]}, l);
    }
    return l;
}

static uint32_t depth_of(const struct object_frame *f, uint32_t index, uint32_t *parents)
{
    return parents[index] == UINT32_MAX ? 0 : f->groups[parents[index]].common;
}

void object_prepare(struct build *b, struct object_frame *f)
{
    struct langs *s = b->langs;
    for (uint32_t i = 0; i < f->n_parts; i++) {
        struct object_part *p = &f->parts[i];
        p->suffixes = build_alloc(b, (p->n_units + 1) * sizeof *p->suffixes);
        p->heads = build_alloc(b, p->n_units * sizeof *p->heads);
        struct lang l = key_end(f, s, MARK_MEMBER + i);
        p->suffixes[p->n_units] = l.id;
        for (uint32_t at = p->n_units; at-- > 0;) {
            struct char_range unit = {p->units[at], p->units[at]};
            p->heads[at] = lang_chars(s, &unit, 1, f->plain_keys ? LANG_JSON_PLAIN : LANG_JSON).id;
            l = lang_concat(s, (struct lang){p->heads[at]}, l);
            p->suffixes[at] = l.id;
        }
    }
    if (f->n_parts) {
        f->groups = build_alloc(b, 2 * (size_t)f->n_parts * sizeof *f->groups);
        add_groups(b, f, 0, f->n_parts);
        uint32_t *parents = mem_array(f->n_groups, sizeof *parents);
        parents[0] = UINT32_MAX;
        for (uint32_t i = 0; i < f->n_groups; i++) {
            for (uint32_t c = i + 1; c < f->groups[i].end; c = f->groups[c].end) {
                parents[c] = i;
            }
        }
        for (uint32_t i = f->n_groups; i-- > 0;) { /* children before parents */
            f->groups[i].whole = group_lang(f, s, i, depth_of(f, i, parents), NULL);
        }
        free(parents);
    }
    f->few = build_alloc(b, (f->n_demands + 1) * sizeof *f->few);
    for (uint32_t i = 0; i < f->n_demands; i++) {
        struct lang keys = living_keys(f, s, i + 1);
        if (count_keys(f, s, keys, MANY_KEYS) < MANY_KEYS) {
            f->few[i] = keys;
        }
    }
}

/* ---- at run time ---- */

void object_begin(const struct object_frame *f, struct frame_words *w)
{
    w->n = WORD_BITS + f->n_words;
    memset(w->at, 0, w->n * sizeof *w->at);
}

/* What is known about a place between members. */
struct offer {
    uint32_t n_missing, n_demands;  /* the latter: demands among the missing */
    uint32_t *offered, *missing;    /* bits */
    bool may_end, family, demanded; /* families may come; those that must */
    uint32_t room[];                /* of both */
};

/* Whether member i may come: it lives, is not there, and it fits with what it needs. */
static bool fits(const struct object_frame *f, const struct offer *o, struct frame_state at,
                 uint32_t i)
{
    const struct object_part *p = &f->parts[i];
    const uint32_t *seen = at.words + WORD_BITS;
    if (!p->lives || has_bit(seen, i)) {
        return false;
    }
    if (f->max == LANG_INFINITE) {
        return true;
    }
    uint64_t n = at.words[WORD_COUNT];
    for (uint32_t w = 0; w < f->n_words; w++) {
        uint32_t all = o->missing[w] | (p->needs ? p->needs[w] & ~seen[w] : 0);
        all |= w == i / 32 ? UINT32_C(1) << i % 32 : 0;
        n += count_bits(all);
    }
    return n <= f->max;
}

/* The first place of member i and of what it needs and is not there yet. */
static uint32_t first_needed(const struct object_frame *f, struct frame_state at, uint32_t i)
{
    const uint32_t *needs = f->parts[i].needs, *seen = at.words + WORD_BITS;
    uint32_t first = f->parts[i].place;
    for (uint32_t w = 0; needs && w < f->n_words; w++) {
        for (uint32_t bits = needs[w] & ~seen[w]; bits; bits &= bits - 1) {
            uint32_t j = 32 * w + (uint32_t)__builtin_ctz(bits);
            first = j < f->n_parts && f->parts[j].place < first ? f->parts[j].place : first;
        }
    }
    return first;
}

/* With in_order: those behind the last one that is there, up to the first that must come, with all
 * that they need behind them. */
static void keep_order(const struct object_frame *f, struct offer *o, struct frame_state at)
{
    uint32_t last = 0, first_missing = UINT32_MAX;
    bool begun = false;
    for (uint32_t i = 0; i < f->n_parts; i++) {
        if (has_bit(at.words + WORD_BITS, i)) {
            last = !begun || f->parts[i].place > last ? f->parts[i].place : last;
            begun = true;
        }
        if (has_bit(o->missing, i) && f->parts[i].place < first_missing) {
            first_missing = f->parts[i].place;
        }
    }
    bool families_begun = at.words[WORD_USED] != lang_none().id;
    /* behind[p]: how many may come behind the place p, for there have to be min_members: those that
     * need nothing before it. */
    uint32_t *behind = mem_array(f->n_parts + 2, sizeof *behind);
    for (uint32_t i = 0; i < f->n_parts; i++) {
        uint32_t place = f->parts[i].place, first = first_needed(f, at, i);
        if (first < place) {
            o->offered[i / 32] &= ~(UINT32_C(1) << i % 32);
        }
        if (f->parts[i].lives && place > 0) {
            behind[first < place ? first : place - 1]++;
        }
    }
    for (uint32_t place = f->n_parts; place-- > 0;) {
        behind[place] += behind[place + 1];
    }
    for (uint32_t i = 0; i < f->n_parts; i++) {
        uint32_t place = f->parts[i].place;
        bool enough = (uint64_t)at.words[WORD_COUNT] + 1 + behind[place] + f->n_keys >= f->min;
        if (families_begun || (begun && place < last) || place > first_missing || !enough) {
            o->offered[i / 32] &= ~(UINT32_C(1) << i % 32);
        }
    }
    free(behind);
    /* No member comes behind the first of them. */
    bool may_begin = o->n_missing == o->n_demands &&
                     (families_begun || (uint64_t)at.words[WORD_COUNT] + f->n_keys >= f->min);
    o->demanded = o->demanded && may_begin;
    o->family = o->family && may_begin;
}

static struct offer *offer_new(const struct object_frame *f, struct frame_state at)
{
    struct offer *o = mem_zalloc(sizeof *o + 2 * (f->n_words + 1) * sizeof *o->room);
    const uint32_t *seen = at.words + WORD_BITS;
    o->offered = o->room;
    o->missing = o->room + f->n_words + 1;
    for (uint32_t w = 0; w < f->n_words; w++) {
        o->missing[w] = f->required[w];
    }
    for (uint32_t i = 0; i < f->n_parts; i++) {
        const uint32_t *needs = has_bit(seen, i) ? f->parts[i].needs : NULL;
        for (uint32_t w = 0; needs && w < f->n_words; w++) {
            o->missing[w] |= needs[w];
        }
    }
    for (uint32_t w = 0; w < f->n_words; w++) {
        o->missing[w] &= ~seen[w];
        o->n_missing += count_bits(o->missing[w]);
    }
    for (uint32_t i = 0; i < f->n_parts; i++) {
        if (fits(f, o, at, i)) {
            set_bit(o->offered, i);
        }
    }
    uint64_t with_one_more = (uint64_t)at.words[WORD_COUNT] + o->n_missing + 1;
    o->may_end = o->n_missing == 0 && at.words[WORD_COUNT] >= f->min;
    o->family = f->records && (f->max == LANG_INFINITE || with_one_more <= f->max);
    for (uint32_t i = f->n_parts; i < f->n_parts + f->n_demands; i++) {
        o->n_demands += has_bit(o->missing, i);
    }
    o->demanded = f->records && o->n_demands; /* it is counted among the missing */
    if (f->in_order) {
        keep_order(f, o, at);
    }
    return o;
}

/* Keys that have to be kept for demands other than `but`: the last ones that meet them. */
static struct lang kept_keys(const struct object_frame *f, const struct offer *o, struct langs *s,
                             struct lang used, uint32_t but)
{
    struct lang kept = lang_none();
    for (uint32_t i = 0; i < f->n_demands; i++) {
        if (i + 1 == but || !has_bit(o->missing, f->n_parts + i) ||
            lang_same(f->few[i], lang_none())) {
            continue;
        }
        struct lang left = lang_minus(s, f->few[i], used);
        if (count_keys(f, s, left, (uint64_t)o->n_demands + 1) <= o->n_demands) {
            kept = lang_or(s, kept, left);
        }
    }
    return kept;
}

struct lang object_lexeme(const struct object_frame *f, struct langs *s, struct frame_state at,
                          bool opening)
{
    struct offer *o = offer_new(f, at);
    struct lang keys = f->n_parts ? group_lang(f, s, 0, 0, o->offered) : lang_none();
    struct lang used = {at.words[WORD_USED]};
    struct lang *families = mem_array(f->n_families + 1, sizeof *families);
    size_t n = 0;
    for (uint32_t i = 0; i < f->n_families; i++) {
        uint32_t demand = f->families[i].demand;
        bool must = demand && has_bit(o->missing, f->n_parts + demand - 1);
        if (f->families[i].lives && (must ? o->demanded : o->family)) {
            struct lang taken = lang_or(s, used, kept_keys(f, o, s, used, must ? demand : 0));
            families[n++] = lang_concat(s, lang_minus(s, f->families[i].keys, taken),
                                        key_end(f, s, MARK_FAMILY + i));
        }
    }
    keys = lang_or(s, keys, lang_or_all(s, families, n));
    free(families);
    struct lang ways[2] = {lang_concat(s, lang_byte_range(s, '"', '"'), keys), lang_none()};
    if (!opening) {
        ways[0] =
            lang_concat(s, lang_concat(s, lang_byte_range(s, ',', ','), f->space.open), ways[0]);
    }
    if (o->may_end) {
        ways[1] = lang_concat(s, lang_byte_range(s, '}', '}'), lang_mark(s, MARK_END));
        ways[1] = opening ? ways[1] : lang_concat(s, f->space.close, ways[1]);
    }
    free(o);
    struct lang before = opening ? f->space.open : f->space.behind;
    struct lang l = lang_concat(s, before, lang_or_all(s, ways, 2));
    return opening ? lang_concat(s, lang_byte_range(s, '{', '{'), l) : l;
}

static uint32_t hex_digits(const char *text)
{
    uint32_t cp = 0;
    for (int i = 0; i < 4; i++) {
        char c = text[i];
        cp = cp << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return cp;
}

/* The characters of the first string in a lexeme, which has been read by its language: all escapes
 * are whole. */
static void read_key(const char *text, size_t n, struct buf *key)
{
    size_t at = 0;
    while (at < n && text[at] != '"') {
        at++;
    }
    for (at++; at < n && text[at] != '"'; at++) {
        if (text[at] != '\\' || at + 1 >= n) {
            buf_append_char(key, text[at]);
            continue;
        }
        static const char escapes[] = "b\bf\fn\nr\rt\t";
        char c = text[++at];
        const char *found = c == 'u' ? NULL : strchr(escapes, c);
        if (c != 'u') {
            buf_append_char(key, found && (found - escapes) % 2 == 0 ? found[1] : c);
            continue;
        }
        if (n - at < 5) {
            break;
        }
        uint32_t cp = hex_digits(text + at + 1);
        at += 4;
        if (cp >= 0xD800 && cp < 0xDC00 && n - at >= 7) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (hex_digits(text + at + 3) - 0xDC00);
            at += 6;
        }
        char utf8[4];
        buf_append(key, utf8, utf8_put(cp, utf8));
    }
}

uint32_t object_next(const struct object_frame *f, struct langs *s, struct frame_state at,
                     uint32_t mark, const char *lexeme, size_t n, struct frame_words *w)
{
    memcpy(w->at, at.words, at.n * sizeof *w->at);
    w->n = at.n;
    uint32_t count = at.words[WORD_COUNT];
    uint32_t ceiling = f->max != LANG_INFINITE ? f->max : f->min;
    w->at[WORD_COUNT] = count < ceiling ? count + 1 : count;
    if (mark < MARK_FAMILY) {
        uint32_t i = mark - MARK_MEMBER;
        set_bit(w->at + WORD_BITS, i);
        return f->parts[i].value;
    }
    struct buf key;
    buf_init(&key, n);
    read_key(lexeme, n, &key);
    struct lang spelled = lang_spelled(s, key.data ? key.data : "", key.len, LANG_JSON);
    w->at[WORD_USED] = lang_or(s, (struct lang){at.words[WORD_USED]}, spelled).id;
    buf_free(&key);
    uint32_t demand = f->families[mark - MARK_FAMILY].demand;
    if (demand) {
        set_bit(w->at + WORD_BITS, f->n_parts + demand - 1);
    }
    return f->families[mark - MARK_FAMILY].value;
}
