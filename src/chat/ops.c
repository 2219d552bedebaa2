/* ops.c: arithmetic and comparison. */
#include "chat/interp.h"

#include <math.h>
#include <string.h>

static const char *op_text(int op)
{
    switch (op) {
    case T_ADD:
        return "+";
    case T_SUB:
        return "-";
    case T_MUL:
        return "*";
    case T_DIV:
        return "/";
    case T_FLOORDIV:
        return "//";
    case T_MOD:
        return "%";
    case T_LT:
        return "<";
    case T_LE:
        return "<=";
    case T_GT:
        return ">";
    case T_GE:
        return ">=";
    default:
        return "**";
    }
}

static struct value fail_types(struct interp *in, int op, struct value a, struct value b)
{
    if (a.kind == V_UNDEFINED || b.kind == V_UNDEFINED) {
        return use_undefined(in, a.kind == V_UNDEFINED ? a : b);
    }
    if (op == T_ADD && (a.kind == V_STR || (a.kind == V_SEQ && a.seq->kind <= SEQ_TUPLE))) {
        return interp_fail(in, ERROR_INPUT, "can only concatenate %s (not \"%s\") to %s",
                           value_type(a), value_type(b), value_type(a));
    }
    return interp_fail(in, ERROR_INPUT, "unsupported operand type(s) for %s: '%s' and '%s'",
                       op_text(op), value_type(a), value_type(b));
}

static struct value repeat(struct interp *in, struct value v, int64_t count)
{
    if (v.kind == V_STR) {
        struct text t = {0};
        for (int64_t i = 0; i < count && v.s->n && interp_step(in, 1); i++) {
            text_add_str(in, &t, v.s);
        }
        return text_take(in, &t);
    }
    size_t n = v.seq->n;
    if (count <= 0 || !n) {
        return value_seq(in, v.seq->kind, NULL, 0);
    }
    if ((uint64_t)count > CHAT_MAX_STEPS / n || !interp_step(in, n * (uint64_t)count)) {
        return interp_fail(in, ERROR_LIMIT, "a list repeated %lld times is too long",
                           (long long)count);
    }
    struct value *items = interp_alloc(in, n * (size_t)count, sizeof *items);
    for (size_t i = 0; items && i < n * (size_t)count; i++) {
        items[i] = v.seq->v[i % n];
    }
    return value_seq(in, v.seq->kind, items, n * (size_t)count);
}

static struct value power_int(struct interp *in, int64_t base, int64_t exponent)
{
    if (exponent < 0) {
        if (!base) {
            return interp_fail(in, ERROR_INPUT, "0.0 cannot be raised to a negative power");
        }
        return value_float(pow((double)base, (double)exponent));
    }
    int64_t result = 1;
    bool overflow = false;
    while (exponent && !overflow) {
        if (exponent & 1) {
            overflow = __builtin_mul_overflow(result, base, &result);
        }
        exponent >>= 1;
        overflow |= exponent && __builtin_mul_overflow(base, base, &base);
    }
    return overflow ? interp_fail(in, ERROR_LIMIT, "an integer passes 64 bits") : value_int(result);
}

static struct value arith_int(struct interp *in, int op, int64_t a, int64_t b)
{
    int64_t r = 0;
    bool overflow = false;
    if ((op == T_DIV || op == T_FLOORDIV || op == T_MOD) && b == 0) {
        return interp_fail(in, ERROR_INPUT, "division by zero");
    }
    switch (op) {
    case T_ADD:
        overflow = __builtin_add_overflow(a, b, &r);
        break;
    case T_SUB:
        overflow = __builtin_sub_overflow(a, b, &r);
        break;
    case T_MUL:
        overflow = __builtin_mul_overflow(a, b, &r);
        break;
    case T_DIV:
        return value_float((double)a / (double)b);
    case T_FLOORDIV:
        if (b == -1) {
            overflow = __builtin_sub_overflow((int64_t)0, a, &r);
        } else {
            r = a / b - (a % b != 0 && (a < 0) != (b < 0));
        }
        break;
    case T_MOD:
        r = b == -1 ? 0 : a % b;
        r += r && (r < 0) != (b < 0) ? b : 0;
        break;
    default:
        return power_int(in, a, b);
    }
    return overflow ? interp_fail(in, ERROR_LIMIT, "an integer passes 64 bits") : value_int(r);
}

static struct value arith_float(struct interp *in, int op, double a, double b)
{
    if ((op == T_DIV || op == T_FLOORDIV || op == T_MOD) && b == 0) {
        return interp_fail(in, ERROR_INPUT, "division by zero");
    }
    double r;
    switch (op) {
    case T_ADD:
        return value_float(a + b);
    case T_SUB:
        return value_float(a - b);
    case T_MUL:
        return value_float(a * b);
    case T_DIV:
        return value_float(a / b);
    case T_FLOORDIV:
        return value_float(floor(a / b));
    case T_MOD:
        r = fmod(a, b);
        r = r == 0 ? copysign(0, b) : r; /* a remainder has the sign of the divisor */
        return value_float(r != 0 && (r < 0) != (b < 0) ? r + b : r);
    default:
        return value_float(pow(a, b));
    }
}

struct value op_arith(struct interp *in, int op, struct value a, struct value b)
{
    int64_t x, y;
    if (in->failed) {
        return (struct value){0};
    }
    if (value_is_number(a) && value_is_number(b)) {
        if (value_as_int(a, &x) && value_as_int(b, &y)) {
            return arith_int(in, op, x, y);
        }
        return arith_float(in, op, value_number(a), value_number(b));
    }
    bool list_a = a.kind == V_SEQ && a.seq->kind <= SEQ_TUPLE;
    bool list_b = b.kind == V_SEQ && b.seq->kind <= SEQ_TUPLE;
    if (op == T_ADD && a.kind == V_STR && b.kind == V_STR) {
        return str_concat(in, a.s, b.s);
    }
    if (op == T_ADD && list_a && list_b && a.seq->kind == b.seq->kind) {
        size_t n = a.seq->n, m = b.seq->n;
        struct value *items = interp_alloc(in, n + m, sizeof *items);
        if (!items || !interp_step(in, (n + m) / 8)) {
            return (struct value){0};
        }
        if (n) {
            memcpy(items, a.seq->v, n * sizeof *items);
        }
        if (m) {
            memcpy(items + n, b.seq->v, m * sizeof *items);
        }
        return value_seq(in, a.seq->kind, items, n + m);
    }
    if (op == T_MUL && (a.kind == V_STR || list_a) && value_as_int(b, &y)) {
        return repeat(in, a, y);
    }
    if (op == T_MUL && (b.kind == V_STR || list_b) && value_as_int(a, &x)) {
        return repeat(in, b, x);
    }
    if (op == T_MOD && a.kind == V_STR) {
        return format_percent(in, a.s, b);
    }
    return fail_types(in, op, a, b);
}

struct value op_negate(struct interp *in, struct value v)
{
    int64_t i;
    if (v.kind == V_FLOAT) {
        return value_float(-v.f);
    }
    if (value_as_int(v, &i)) {
        return arith_int(in, T_SUB, 0, i);
    }
    if (v.kind == V_UNDEFINED) {
        return use_undefined(in, v);
    }
    return interp_fail(in, ERROR_INPUT, "bad operand type for unary -: '%s'", value_type(v));
}

bool op_compare(struct interp *in, int op, struct value a, struct value b)
{
    bool nan = (a.kind == V_FLOAT && isnan(a.f)) || (b.kind == V_FLOAT && isnan(b.f));
    switch (op) {
    case T_EQ:
        return value_equal(in, a, b);
    case T_NE:
        return !value_equal(in, a, b);
    case T_LT:
        return value_less(in, a, b, "<");
    case T_GT:
        return value_less(in, b, a, ">");
    case T_LE:
        return !value_less(in, b, a, "<=") && !nan;
    case T_GE:
        return !value_less(in, a, b, ">=") && !nan;
    case T_IN:
        return value_contains(in, b, a);
    default:
        return !value_contains(in, b, a);
    }
}
