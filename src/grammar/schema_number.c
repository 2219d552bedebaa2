/* schema_number.c: numbers by their figures: comparison with a bound and division by a number, as
 * languages of texts without exponent. A language says something about texts that are numbers; that
 * they are is said beside it (plain_number in struct compiler). */
#include "grammar/schema_internal.h"

#include <string.h>

/* ---- parts ---- */

static struct lang digit_range(struct compiler *c, int first, int last)
{
    return first > last ? lang_none()
                        : lang_byte_range(c->langs, (uint8_t)('0' + first), (uint8_t)('0' + last));
}

static struct lang digits(struct compiler *c, uint32_t min, uint32_t max)
{
    return lang_repeat(c->langs, digit_range(c, 0, 9), min, max);
}

static struct lang text_lang(struct compiler *c, const char *text, size_t n)
{
    return lang_text(c->langs, text, n);
}

static struct lang then(struct compiler *c, struct lang a, struct lang b)
{
    return lang_concat(c->langs, a, b);
}

static void also(struct compiler *c, struct lang *to, struct lang more)
{
    *to = lang_or(c->langs, *to, more);
}

/* Any figures behind the point, or no point. */
static struct lang any_fraction(struct compiler *c)
{
    struct lang l = then(c, text_lang(c, ".", 1), digits(c, 1, LANG_INFINITE));
    return lang_optional(c->langs, l);
}

/* A whole number of at most so many figures. */
static struct lang whole_number(struct compiler *c, uint32_t max)
{
    struct lang more =
        then(c, digit_range(c, 1, 9), digits(c, 0, max == LANG_INFINITE ? LANG_INFINITE : max - 1));
    return lang_or(c->langs, text_lang(c, "0", 1), more);
}

/* With a point: no more figures than a double tells apart, so that a reader that takes it for one
 * finds the same: 9007199254740993.5 is a whole number there. */
static struct lang with_point(struct compiler *c, uint32_t max)
{
    const uint32_t few = LIKE_DOUBLE_FIGURES;
    struct lang all = then(c, text_lang(c, "0.", 2), digits(c, 1, max < few ? max : few));
    for (uint32_t n = 1; n < few && n <= max; n++) {
        struct lang whole = then(c, digit_range(c, 1, 9), digits(c, n - 1, n - 1));
        struct lang behind = digits(c, 1, max < few - n ? max : few - n);
        also(c, &all, then(c, whole, then(c, text_lang(c, ".", 1), behind)));
    }
    return all;
}

/* The same with any figures behind the point. */
static struct lang any_point(struct compiler *c, uint32_t max)
{
    return then(c, whole_number(c, max), then(c, text_lang(c, ".", 1), digits(c, 1, max)));
}

struct lang number_plain(struct compiler *c, uint32_t max, bool like_double)
{
    max = max ? max : 1;
    like_double = like_double && max != LANG_INFINITE;
    struct lang all = lang_or(c->langs, whole_number(c, max),
                              like_double ? with_point(c, max) : any_point(c, max));
    return then(c, lang_optional(c->langs, text_lang(c, "-", 1)), all);
}

/* The bound's figures on both sides of the point; never a leading or trailing zero too many. */
struct figures {
    char *whole, *fraction;
    size_t n_whole, n_fraction;
};

static struct figures figures_of(struct compiler *c, const struct decimal *d)
{
    struct figures f = {0};
    f.n_whole = d->point > 0 ? (size_t)d->point : 1;
    f.n_fraction = (int64_t)d->n > d->point ? (size_t)((int64_t)d->n - d->point) : 0;
    f.whole = arena_alloc(c->arena, f.n_whole + 1);
    f.fraction = arena_alloc(c->arena, f.n_fraction + 1);
    memset(f.whole, '0', f.n_whole);
    memset(f.fraction, '0', f.n_fraction);
    for (int64_t i = 0; i < (int64_t)d->n; i++) {
        if (i < d->point) {
            f.whole[i] = d->digits[i];
        } else {
            f.fraction[i - d->point] = d->digits[i];
        }
    }
    return f;
}

/* Texts of figures that begin like [text, n] and have a smaller (larger) one at the first place
 * where they differ; then as many figures as text has, or any number of them. */
static struct lang differing(struct compiler *c, const char *text, size_t n, bool larger,
                             bool same_length)
{
    struct lang all = lang_none();
    for (size_t i = n; i-- > 0;) {
        int digit = text[i] - '0';
        uint32_t rest = (uint32_t)(n - 1 - i);
        struct lang here = larger ? digit_range(c, digit + 1, 9) : digit_range(c, 0, digit - 1);
        struct lang tail = same_length ? digits(c, rest, rest) : digits(c, 0, LANG_INFINITE);
        all = then(c, text_lang(c, text + i, 1), all);
        also(c, &all, then(c, here, tail));
    }
    return all;
}

/* The beginnings of [text, n] but for the empty one and all of it. */
static struct lang beginnings(struct compiler *c, const char *text, size_t n)
{
    struct lang all = lang_none();
    for (size_t i = n > 0 ? n - 1 : 0; i-- > 0;) {
        all = then(c, text_lang(c, text + i, 1), lang_optional(c->langs, all));
    }
    return all;
}

/* Zeros that change nothing behind a number's figures, with a point where there is none yet. */
static struct lang zeros_behind(struct compiler *c, bool has_point, uint32_t max)
{
    struct lang zero = text_lang(c, "0", 1);
    struct lang zeros = lang_repeat(c->langs, zero, 0, max);
    return has_point ? zeros
                     : lang_optional(c->langs, then(c, text_lang(c, ".", 1), then(c, zero, zeros)));
}

/* Magnitudes equal to, larger than and smaller than the bound's. */
static struct lang magnitude_equal(struct compiler *c, const struct figures *f)
{
    struct lang zeros = zeros_behind(c, f->n_fraction > 0, LANG_INFINITE);
    struct lang whole = text_lang(c, f->whole, f->n_whole);
    if (f->n_fraction) {
        struct lang fraction = then(c, text_lang(c, f->fraction, f->n_fraction), zeros);
        return then(c, whole, then(c, text_lang(c, ".", 1), fraction));
    }
    return then(c, whole, zeros);
}

static struct lang magnitude_larger(struct compiler *c, const struct figures *f)
{
    struct lang longer =
        then(c, digit_range(c, 1, 9), digits(c, (uint32_t)f->n_whole, LANG_INFINITE));
    also(c, &longer, differing(c, f->whole, f->n_whole, true, true));
    struct lang all = then(c, longer, any_fraction(c));
    struct lang fraction = differing(c, f->fraction, f->n_fraction, true, false);
    struct lang beyond = then(c, digits(c, 0, LANG_INFINITE),
                              then(c, digit_range(c, 1, 9), digits(c, 0, LANG_INFINITE)));
    also(c, &fraction, then(c, text_lang(c, f->fraction, f->n_fraction), beyond));
    struct lang whole = text_lang(c, f->whole, f->n_whole);
    also(c, &all, then(c, whole, then(c, text_lang(c, ".", 1), fraction)));
    return all;
}

static struct lang magnitude_smaller(struct compiler *c, const struct figures *f)
{
    struct lang shorter = differing(c, f->whole, f->n_whole, false, true);
    if (f->n_whole > 1) {
        also(c, &shorter, text_lang(c, "0", 1));
        also(c, &shorter, then(c, digit_range(c, 1, 9), digits(c, 0, (uint32_t)f->n_whole - 2)));
    }
    struct lang all = then(c, shorter, any_fraction(c));
    if (f->n_fraction) {
        struct lang whole = text_lang(c, f->whole, f->n_whole);
        struct lang fraction = differing(c, f->fraction, f->n_fraction, false, false);
        also(c, &fraction, beginnings(c, f->fraction, f->n_fraction));
        also(c, &all, whole);
        also(c, &all, then(c, whole, then(c, text_lang(c, ".", 1), fraction)));
    }
    return all;
}

struct lang number_compare(struct compiler *c, const json_t *bound, bool less, bool equal,
                           bool more)
{
    struct decimal d = decimal_of(c->arena, bound);
    struct figures f = figures_of(c, &d);
    struct lang minus = text_lang(c, "-", 1), same = magnitude_equal(c, &f), all = lang_none();
    struct lang any = then(c, digits(c, 1, LANG_INFINITE), any_fraction(c));
    struct lang sign = d.n ? d.negative ? minus : lang_empty() : lang_optional(c->langs, minus);
    if (equal) {
        also(c, &all, then(c, sign, same));
    }
    if (d.n == 0) { /* signs tell all but zero */
        struct lang nonzero = magnitude_larger(c, &f);
        also(c, &all, more ? nonzero : lang_none());
        also(c, &all, less ? then(c, minus, nonzero) : lang_none());
        return all;
    }
    struct lang beyond = then(c, sign, magnitude_larger(c, &f)),
                within = then(c, sign, magnitude_smaller(c, &f)),
                other = then(c, d.negative ? lang_empty() : minus, any);
    /* On the other side of zero, and between zero and the bound, with either sign of zero. */
    also(c, &all, (d.negative ? more : less) ? lang_or(c->langs, within, other) : lang_none());
    also(c, &all, (d.negative ? less : more) ? beyond : lang_none());
    return all;
}

/* Two ways for zero, one for all others, each with zeros behind it; plain: one, and none. */
uint32_t number_words(struct compiler *c, const json_t *v, enum value_texts which,
                      struct lang_word words[2])
{
    bool plain = which == VALUE_PLAIN, bounded = which == VALUE_SPELLED && !c->o.bounds.unbounded;
    struct decimal d = decimal_of(c->arena, v);
    struct figures f = figures_of(c, &d);
    size_t n = 1 + f.n_whole + (f.n_fraction ? 1 + f.n_fraction : 0);
    char *text = arena_alloc(c->arena, n + 1);
    text[0] = '-';
    memcpy(text + 1, f.whole, f.n_whole);
    if (f.n_fraction) {
        text[1 + f.n_whole] = '.';
        memcpy(text + 2 + f.n_whole, f.fraction, f.n_fraction);
    }
    struct lang tail =
        plain ? lang_empty()
              : zeros_behind(c, f.n_fraction > 0, bounded ? c->o.bounds.max_digits : LANG_INFINITE);
    words[0] = (struct lang_word){text + 1, n - 1, tail};
    words[1] = (struct lang_word){text, n, tail};
    if (d.negative) {
        words[0] = words[1];
    }
    return d.n || plain ? 1 : 2;
}

struct lang number_without_point(struct compiler *c, uint32_t max)
{
    struct json_bounds bounds = c->o.bounds;
    bounds.max_digits = max;
    return lang_json_integer(c->langs, &bounds);
}

struct lang number_integer(struct compiler *c)
{
    struct lang zeros = lang_repeat(c->langs, text_lang(c, "0", 1), 1, LANG_INFINITE);
    struct lang behind = lang_optional(c->langs, then(c, text_lang(c, ".", 1), zeros));
    return then(c, lang_optional(c->langs, text_lang(c, "-", 1)),
                then(c, digits(c, 1, LANG_INFINITE), behind));
}

/* The divisor is modulus / 10^places. */
struct lang number_multiple(struct compiler *c, uint32_t schema, const json_t *divisor)
{
    struct decimal d = decimal_of(c->arena, divisor);
    int64_t places = (int64_t)d.n > d.point ? (int64_t)d.n - d.point : 0;
    d.point += places; /* the figures as a whole number */
    uint32_t modulus = decimal_count(&d, SCHEMA_MAX_REMAINDERS + 1);
    if (modulus > SCHEMA_MAX_REMAINDERS || places > LANG_MAX_PLACES) {
        schema_fail(c, ERROR_UNSUPPORTED, schema, "multipleOf",
                    modulus > SCHEMA_MAX_REMAINDERS
                        ? "divisors whose figures make a number above %d cannot be held"
                        : "divisors with more than %d figures behind the point cannot be held",
                    modulus > SCHEMA_MAX_REMAINDERS ? (int)SCHEMA_MAX_REMAINDERS
                                                    : (int)LANG_MAX_PLACES);
        return lang_none();
    }
    return then(c, lang_optional(c->langs, text_lang(c, "-", 1)),
                lang_multiples(c->langs, modulus, (uint32_t)places));
}
