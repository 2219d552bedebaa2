/* filters.c: filters on single values, and the search over all tables of filters. */
#include "chat/interp.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

FILTER(f_default)
{
    (void)raw;
    bool boolean = a[1].kind != V_MISSING && value_true(in, a[1]);
    if (self.kind == V_UNDEFINED || (boolean && !value_true(in, self))) {
        return a[0].kind == V_MISSING ? str_plain(in, "", 0, 1) : a[0];
    }
    return self;
}

FILTER(f_length)
{
    (void)a;
    (void)raw;
    size_t n;
    value_length(in, self, &n);
    return value_int((int64_t)n);
}

FILTER(f_abs)
{
    (void)a;
    (void)raw;
    if (self.kind == V_FLOAT) {
        return value_float(fabs(self.f));
    }
    return value_is_number(self) && value_number(self) >= 0
               ? op_arith(in, T_ADD, self, value_int(0))
               : op_negate(in, self);
}

/* Trimmed text of a string without underscores, for number readers. */
static const char *number_text(struct interp *in, const struct str *s)
{
    struct value v = str_strip(in, s, NULL, true, true);
    if (in->failed) {
        return "";
    }
    const char *text = str_c(in, v.s);
    char *out = interp_alloc(in, v.s->n + 1, 1);
    if (!out) {
        return "";
    }
    for (size_t i = 0, k = 0; i < v.s->n; i++) {
        if (text[i] != '_' || k == 0) {
            out[k++] = text[i];
        }
    }
    return out;
}

static bool read_float(const char *text, double *d)
{
    char *end;
    if (!*text || strpbrk(text, "xXpP(")) {
        return false;
    }
    *d = strtod(text, &end);
    return *end == 0;
}

FILTER(f_int)
{
    (void)raw;
    int64_t base = 10, i;
    struct value other = a[0].kind == V_MISSING ? value_int(0) : a[0];
    double d = 0;
    if (a[1].kind != V_MISSING && (!value_as_int(a[1], &base) || base < 2 || base > 36)) {
        return interp_fail(in, ERROR_INPUT, "int: the base must be 2 to 36");
    }
    if (value_as_int(self, &i)) {
        return value_int(i);
    }
    if (self.kind == V_STR) {
        const char *text = number_text(in, self.s);
        char *end;
        errno = 0;
        long long n = strtoll(text, &end, (int)base);
        if (*text && *end == 0) {
            return errno ? interp_fail(in, ERROR_LIMIT, "an integer passes 64 bits") : value_int(n);
        }
        if (!read_float(text, &d)) {
            return other;
        }
    } else if (self.kind == V_FLOAT) {
        d = self.f;
    } else if (self.kind == V_UNDEFINED) {
        return use_undefined(in, self);
    } else {
        return other;
    }
    return d > -9.2e18 && d < 9.2e18 ? value_int((int64_t)d) : other;
}

FILTER(f_float)
{
    (void)raw;
    double d;
    if (value_is_number(self)) {
        return value_float(value_number(self));
    }
    if (self.kind == V_UNDEFINED) {
        return use_undefined(in, self);
    }
    if (self.kind == V_STR && read_float(number_text(in, self.s), &d)) {
        return value_float(d);
    }
    return a[0].kind == V_MISSING ? value_float(0) : a[0];
}

FILTER(f_round)
{
    (void)raw;
    int64_t precision = 0;
    if (a[0].kind != V_MISSING && !value_as_int(a[0], &precision)) {
        return interp_fail(in, ERROR_INPUT, "round: the precision must be an integer");
    }
    if (!value_is_number(self)) {
        return self.kind == V_UNDEFINED
                   ? use_undefined(in, self)
                   : interp_fail(in, ERROR_INPUT, "type %s doesn't define __round__ method",
                                 value_type(self));
    }
    precision = precision > 300 ? 300 : precision < -300 ? -300 : precision;
    double d = value_number(self), scale = pow(10, (double)precision);
    bool ceiling = a[1].kind == V_STR && str_is(a[1].s, "ceil");
    if (ceiling || (a[1].kind == V_STR && str_is(a[1].s, "floor"))) {
        return value_float(((ceiling ? ceil(d * scale) : floor(d * scale)) + 0.0) / scale);
    }
    if (self.kind != V_FLOAT && precision >= 0) {
        return op_arith(in, T_ADD, self, value_int(0));
    }
    if (precision < 0) {
        double r = nearbyint(d * scale) / scale;
        return self.kind == V_FLOAT ? value_float(r) : value_int((int64_t)r);
    }
    char digits[700]; /* decimal digits are what is rounded, half to even */
    snprintf(digits, sizeof digits, "%.*f", (int)precision, d);
    return value_float(strtod(digits, NULL));
}

FILTER(f_attr)
{
    (void)raw;
    struct value name = value_str(in, a[0]);
    if (in->failed) {
        return name;
    }
    if (self.kind == V_DICT && !method_find(V_DICT, SEQ_LIST, str_c(in, name.s))) {
        return value_undefined(in, value_type_words(self), str_c(in, name.s), false);
    }
    return value_attr(in, self, str_c(in, name.s));
}

static const struct builtin rows[] = {
    {"default", "default_value? boolean?", f_default},
    {"d", "default_value? boolean?", f_default},
    {"length", "", f_length},
    {"count", "", f_length},
    {"abs", "", f_abs},
    {"int", "default? base?", f_int},
    {"float", "default?", f_float},
    {"round", "precision? method?", f_round},
    {"attr", "name", f_attr},
};

const struct builtin *filter_find(const char *name)
{
    static const struct {
        const struct builtin *rows;
        const size_t *n;
    } tables[] = {{filter_text_rows, &filter_text_count},
                  {filter_seq_rows, &filter_seq_count},
                  {filter_html_rows, &filter_html_count},
                  {filter_layout_rows, &filter_layout_count}};
    const struct builtin *b = builtin_search(rows, sizeof rows / sizeof *rows, name);
    for (size_t i = 0; !b && i < sizeof tables / sizeof *tables; i++) {
        b = builtin_search(tables[i].rows, *tables[i].n, name);
    }
    return b;
}
