/* array.c: JSON arrays as frames: how many values there are, and how many of them counted. */
#include "grammar/build_internal.h"

#include <stdlib.h>

/* Words of a cell: items so far, counted ones so far, and which distinct values were said. Counts
 * stop growing where more makes no difference, so that long arrays come back to the same state. */
enum { WORD_ITEMS, WORD_COUNTED, WORD_BITS };

struct node build_array(struct build *b, const struct array_options *o)
{
    if (o->n_first > BUILD_MAX_LINKS || o->n_distinct > BUILD_MAX_LINKS) {
        return build_fail(b, ERROR_LIMIT, "an array has more than %d places", BUILD_MAX_LINKS);
    }
    if (o->distinct && (o->min_counted > 0 || o->max_counted != LANG_INFINITE)) {
        return build_fail(b, ERROR_UNSUPPORTED,
                          "an array of distinct values cannot count some too");
    }
    struct array_frame *f = build_alloc(b, sizeof *f);
    f->n_first = (uint32_t)o->n_first;
    f->first = build_alloc(b, o->n_first * sizeof *f->first);
    if (o->n_first) {
        memcpy(f->first, o->first, o->n_first * sizeof *f->first);
    }
    f->rest = o->rest;
    f->min = o->min_items;
    f->max = o->max_items;
    f->min_counted = o->min_counted;
    f->max_counted = o->max_counted;
    f->space = o->space;
    if (o->distinct) {
        f->n_distinct = (uint32_t)o->n_distinct;
        f->n_words = (f->n_distinct + 31) / 32;
        f->distinct = build_alloc(b, (o->n_distinct + 1) * sizeof *f->distinct);
        for (size_t i = 0; i < o->n_distinct; i++) {
            f->distinct[i] = o->distinct[i].id;
        }
    }
    b->arrays =
        build_grown(b->arrays, b->n_arrays, &b->arrays_capacity, sizeof(struct array_frame *));
    b->arrays[b->n_arrays] = f;
    return build_add(b, (struct build_node){.kind = NODE_ARRAY, .a = (uint32_t)b->n_arrays++});
}

static struct array_place place_at(const struct array_frame *f, uint32_t i)
{
    return i < f->n_first ? f->first[i] : f->rest;
}

static bool lives(const struct build *b, struct node n)
{
    return b->nodes[n.id].lives;
}

/* Whether an array that has `items` values, `counted` of them counted, can be completed: there is a
 * length between the bounds which every place up to it allows, such that the counted ones can be as
 * many as they must. What a place forces and allows grows with the length, so the shortest length
 * at which enough are possible is the one that forces fewest. */
static bool can_complete(const struct build *b, const struct array_frame *f, uint32_t items,
                         uint32_t counted)
{
    if (f->distinct) {
        return true; /* array_lives has looked at how many there are */
    }
    uint64_t possible = counted, forced = counted, n = items;
    for (;;) {
        if (n >= f->min && possible >= f->min_counted) {
            return n <= f->max && forced <= f->max_counted;
        }
        struct array_place p = place_at(f, n < f->n_first ? (uint32_t)n : f->n_first);
        bool plain = lives(b, p.plain), special = lives(b, p.counted);
        if ((!plain && !special) || n >= f->max || forced > f->max_counted) {
            return false;
        }
        if (n < f->n_first) {
            n++;
            possible += special;
            forced += !plain;
            continue;
        }
        /* All further places are alike: as many steps at once as are missing. */
        uint64_t more = n < f->min ? f->min - n : 0;
        if (possible + (special ? more : 0) < f->min_counted) {
            if (!special) {
                return false;
            }
            more = f->min_counted - possible;
        }
        n += more;
        possible += special ? more : 0;
        forced += plain ? 0 : more;
    }
}

static uint32_t n_living(const struct build *b, const struct array_frame *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_distinct; i++) {
        n += b->nodes[f->distinct[i]].lives;
    }
    return n;
}

bool array_lives(const struct build *b, const struct array_frame *f)
{
    if (f->max < f->min || f->max_counted < f->min_counted) {
        return false;
    }
    return f->distinct ? n_living(b, f) >= f->min : can_complete(b, f, 0, 0);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Items beyond which the number does not matter. */
static uint32_t items_ceiling(const struct array_frame *f)
{
    return f->max != LANG_INFINITE ? f->max : larger(f->min, f->n_first);
}

static uint32_t counted_ceiling(const struct array_frame *f)
{
    return f->max_counted != LANG_INFINITE ? f->max_counted : f->min_counted;
}

void array_begin(const struct array_frame *f, struct frame_words *w)
{
    w->n = WORD_BITS + f->n_words;
    memset(w->at, 0, w->n * sizeof *w->at);
}

/* The words behind one more item; false where the array could not be completed then. */
static bool add_item(const struct build *b, const struct array_frame *f, struct frame_state at,
                     bool counted, struct frame_words *w)
{
    uint32_t items = at.words[WORD_ITEMS], n = at.words[WORD_COUNTED];
    memcpy(w->at, at.words, at.n * sizeof *w->at);
    w->n = at.n;
    if (items >= f->max || (counted && n >= f->max_counted)) {
        return false;
    }
    w->at[WORD_ITEMS] = items < items_ceiling(f) ? items + 1 : items;
    w->at[WORD_COUNTED] = counted && n < counted_ceiling(f) ? n + 1 : n;
    /* Where counts have stopped growing the bounds that stopped them hold. */
    return can_complete(b, f, w->at[WORD_ITEMS], w->at[WORD_COUNTED]);
}

bool array_next(const struct build *b, const struct array_frame *f, struct frame_state at,
                uint32_t i, struct frame_words *w, uint32_t *value)
{
    *value = 0;
    if (f->distinct) {
        if (i >= f->n_distinct) {
            return false;
        }
        bool said = at.words[WORD_BITS + i / 32] >> i % 32 & 1;
        if (!said && b->nodes[f->distinct[i]].lives && add_item(b, f, at, false, w)) {
            w->at[WORD_BITS + i / 32] |= UINT32_C(1) << i % 32;
            *value = f->distinct[i];
        }
        return true;
    }
    if (i >= 2) {
        return false;
    }
    struct array_place p = place_at(f, at.words[WORD_ITEMS]);
    struct node n = i == 0 ? p.plain : p.counted;
    if (lives(b, n) && add_item(b, f, at, i == 1, w)) {
        *value = n.id;
    }
    return true;
}

static bool can_go_on(const struct build *b, const struct array_frame *f, struct frame_state at)
{
    enum { FEW_WORDS = 64 };
    uint32_t few[FEW_WORDS], value = 0;
    uint32_t *room = at.n <= FEW_WORDS ? few : mem_array(at.n, sizeof *room);
    struct frame_words w = {room, 0};
    for (uint32_t i = 0; value == 0 && array_next(b, f, at, i, &w, &value); i++) {
    }
    if (room != few) {
        free(room);
    }
    return value != 0;
}

struct lang array_lexeme(const struct build *b, const struct array_frame *f, struct langs *s,
                         struct frame_state at, bool opening)
{
    uint32_t items = at.words[WORD_ITEMS], counted = at.words[WORD_COUNTED];
    struct lang ways[2] = {lang_none(), lang_none()};
    if (items >= f->min && counted >= f->min_counted) {
        ways[0] = lang_concat(s, lang_text(s, "]", 1), lang_mark(s, MARK_END));
        ways[0] = opening ? ways[0] : lang_concat(s, f->space.close, ways[0]);
    }
    if (can_go_on(b, f, at)) {
        ways[1] = lang_mark(s, MARK_ITEM);
        if (!opening) {
            ways[1] = lang_concat(s, lang_concat(s, lang_text(s, ",", 1), f->space.open), ways[1]);
        }
    }
    struct lang before = opening ? f->space.open : f->space.behind;
    struct lang l = lang_concat(s, before, lang_or_all(s, ways, 2));
    return opening ? lang_concat(s, lang_text(s, "[", 1), l) : l;
}
