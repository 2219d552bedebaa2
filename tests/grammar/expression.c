#include "expression.h"

#include <stdlib.h>

static struct expression *make(int kind, struct expression *a, struct expression *b)
{
    struct expression *x = mem_zalloc(sizeof *x);
    x->kind = kind;
    x->a = a;
    x->b = b;
    return x;
}

struct expression *expression_random(struct rng *r, int depth, bool cuts)
{
    if (depth == 0) {
        uint64_t kind = rng_below(r, 12);
        struct expression *x = make(kind == 0           ? EX_EMPTY
                                    : kind == 1 && cuts ? EX_NONE
                                                        : EX_SET,
                                    NULL, NULL);
        x->letters = (uint32_t)rng_below(r, 7) + 1;
        return x;
    }
    uint64_t kind = rng_below(r, cuts ? 10 : 8);
    struct expression *a =
        expression_random(r, depth - 1 - (int)rng_below(r, 2) * (depth > 1), cuts);
    if (kind < 3) {
        return make(EX_CONCAT, a, expression_random(r, depth - 1, cuts));
    }
    if (kind < 5) {
        return make(EX_OR, a, expression_random(r, depth - 1, cuts));
    }
    if (kind == 8) {
        return make(EX_AND, a, expression_random(r, depth - 1, cuts));
    }
    if (kind == 9) {
        return make(EX_NOT, a, NULL);
    }
    struct expression *x = make(EX_REPEAT, a, NULL);
    x->min = (uint32_t)rng_below(r, 4);
    x->max = rng_below(r, 2) ? LANG_INFINITE : x->min + (uint32_t)rng_below(r, 3);
    return x;
}

void expression_free(struct expression *x)
{
    if (x) {
        expression_free(x->a);
        expression_free(x->b);
        free(x);
    }
}

static bool repeat_matches(const struct expression *x, const char *text, size_t n, uint32_t done)
{
    if (n == 0 && (done >= x->min || expression_matches(x->a, text, 0))) {
        return true;
    }
    if (x->max != LANG_INFINITE && done >= x->max) {
        return false;
    }
    if (done < x->min && expression_matches(x->a, text, 0) && done + 1 <= x->min &&
        repeat_matches(x, text, n, x->min)) {
        return true; /* empty ones fill up what is missing; what is left of the ceiling is below */
    }
    for (size_t i = 1; i <= n; i++) {
        if (expression_matches(x->a, text, i) && repeat_matches(x, text + i, n - i, done + 1)) {
            return true;
        }
    }
    return false;
}

bool expression_matches(const struct expression *x, const char *text, size_t n)
{
    switch (x->kind) {
    case EX_NONE:
        return false;
    case EX_EMPTY:
        return n == 0;
    case EX_SET:
        return n == 1 && text[0] >= 'a' && text[0] <= 'c' && (x->letters >> (text[0] - 'a') & 1);
    case EX_CONCAT:
        for (size_t i = 0; i <= n; i++) {
            if (expression_matches(x->a, text, i) && expression_matches(x->b, text + i, n - i)) {
                return true;
            }
        }
        return false;
    case EX_OR:
        return expression_matches(x->a, text, n) || expression_matches(x->b, text, n);
    case EX_AND:
        return expression_matches(x->a, text, n) && expression_matches(x->b, text, n);
    case EX_NOT:
        return !expression_matches(x->a, text, n);
    default:
        return repeat_matches(x, text, n, 0);
    }
}

struct lang expression_lang(struct langs *s, const struct expression *x)
{
    struct byte_set set = {{0}};
    switch (x->kind) {
    case EX_NONE:
        return lang_none();
    case EX_EMPTY:
        return lang_empty();
    case EX_SET:
        set.bits['a' / 64] = (uint64_t)x->letters << 'a' % 64;
        return lang_byte_set(s, &set);
    case EX_CONCAT:
        return lang_concat(s, expression_lang(s, x->a), expression_lang(s, x->b));
    case EX_OR:
        return lang_or(s, expression_lang(s, x->a), expression_lang(s, x->b));
    case EX_AND:
        return lang_and(s, expression_lang(s, x->a), expression_lang(s, x->b));
    case EX_NOT:
        return lang_not(s, expression_lang(s, x->a));
    default:
        return lang_repeat(s, expression_lang(s, x->a), x->min, x->max);
    }
}

void expression_print(const struct expression *x, struct buf *out)
{
    switch (x->kind) {
    case EX_SET:
        buf_append_char(out, '[');
        for (int i = 0; i < 3; i++) {
            if (x->letters >> i & 1) {
                buf_append_char(out, (char)('a' + i));
            }
        }
        buf_append_char(out, ']');
        break;
    case EX_CONCAT:
    case EX_OR:
        buf_append_str(out, "(?:");
        expression_print(x->a, out);
        buf_append_str(out, x->kind == EX_OR ? "|" : "");
        expression_print(x->b, out);
        buf_append_str(out, ")");
        break;
    case EX_REPEAT:
        buf_append_str(out, "(");
        expression_print(x->a, out);
        if (x->max == LANG_INFINITE) {
            buf_printf(out, "){%u,}", x->min);
        } else {
            buf_printf(out, "){%u,%u}?", x->min, x->max);
        }
        break;
    default:
        break;
    }
}
