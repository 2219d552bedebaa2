/* tests.c: what may stand behind `is`. */
#include "chat/interp.h"

#include <string.h>

#define TEST(name)                                                                                 \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)
#define SIMPLE(name, condition)                                                                    \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)in;                                                                                  \
        (void)a;                                                                                   \
        (void)raw;                                                                                 \
        return value_bool(condition);                                                              \
    }

SIMPLE(is_defined, self.kind != V_UNDEFINED)
SIMPLE(is_undefined, self.kind == V_UNDEFINED)
SIMPLE(is_none, self.kind == V_NONE)
SIMPLE(is_boolean, self.kind == V_BOOL)
SIMPLE(is_true, self.kind == V_BOOL && self.b)
SIMPLE(is_false, self.kind == V_BOOL && !self.b)
SIMPLE(is_integer, self.kind == V_INT)
SIMPLE(is_float, self.kind == V_FLOAT)
SIMPLE(is_number, value_is_number(self))
SIMPLE(is_string, self.kind == V_STR)
SIMPLE(is_mapping, self.kind == V_DICT)
SIMPLE(is_sequence, self.kind == V_STR || self.kind == V_DICT || self.kind == V_UNDEFINED ||
                        (self.kind == V_SEQ && self.seq->kind <= SEQ_RANGE))
SIMPLE(is_iterable, self.kind == V_STR || self.kind == V_DICT || self.kind == V_UNDEFINED ||
                        self.kind == V_SEQ || self.kind == V_LOOP)
SIMPLE(is_callable, self.kind == V_CALLABLE || self.kind == V_UNDEFINED ||
                        (self.kind == V_LOOP && self.loop->node))
SIMPLE(is_escaped, self.kind == V_STR && self.s->markup)

static bool remainder_is(struct interp *in, struct value v, int64_t by, bool zero)
{
    struct value r = op_arith(in, T_MOD, v, value_int(by));
    struct value one = value_int(zero ? 0 : 1);
    return !in->failed && value_equal(in, r, one);
}

TEST(is_odd)
{
    (void)a;
    (void)raw;
    return value_bool(remainder_is(in, self, 2, false));
}

TEST(is_even)
{
    (void)a;
    (void)raw;
    return value_bool(remainder_is(in, self, 2, true));
}

TEST(is_divisible)
{
    (void)raw;
    struct value r = op_arith(in, T_MOD, self, a[0]);
    return value_bool(!in->failed && value_equal(in, r, value_int(0)));
}

TEST(is_in)
{
    (void)raw;
    return value_bool(value_contains(in, a[0], self));
}

TEST(is_sameas)
{
    (void)raw;
    struct value b = a[0];
    if (self.kind != b.kind) {
        return value_bool(false);
    }
    switch (self.kind) {
    case V_STR:
        return value_bool(self.s == b.s);
    case V_SEQ:
        return value_bool(self.seq == b.seq);
    case V_DICT:
        return value_bool(self.dict == b.dict);
    default:
        return value_bool(value_equal(in, self, b));
    }
}

static struct value call_string_method(struct interp *in, struct value v, const char *name)
{
    struct args none = {0};
    v = value_str(in, v);
    return in->failed ? v : call_builtin(in, method_find(V_STR, SEQ_LIST, name), v, &none);
}

TEST(is_lower)
{
    (void)a;
    (void)raw;
    return call_string_method(in, self, "islower");
}

TEST(is_upper)
{
    (void)a;
    (void)raw;
    return call_string_method(in, self, "isupper");
}

/* A name is looked up in a table, as Python does it: what cannot be a key is an error. */
static bool is_key(struct interp *in, struct value v)
{
    if (!value_hashable(v)) {
        interp_fail(in, ERROR_INPUT, "unhashable type: '%s'", value_type(v));
    }
    return !in->failed && v.kind == V_STR;
}

TEST(is_filter)
{
    (void)a;
    (void)raw;
    return value_bool(is_key(in, self) && filter_find(str_c(in, self.s)) != NULL);
}

TEST(is_test)
{
    (void)a;
    (void)raw;
    return value_bool(is_key(in, self) && test_find(str_c(in, self.s)) != NULL);
}

#define COMPARISON(name, op)                                                                       \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)raw;                                                                                 \
        return value_bool(op_compare(in, op, self, a[0]));                                         \
    }
COMPARISON(is_eq, T_EQ)
COMPARISON(is_ne, T_NE)
COMPARISON(is_lt, T_LT)
COMPARISON(is_le, T_LE)
COMPARISON(is_gt, T_GT)
COMPARISON(is_ge, T_GE)

static const struct builtin rows[] = {
    {"defined", "", is_defined},   {"undefined", "", is_undefined},
    {"none", "", is_none},         {"boolean", "", is_boolean},
    {"true", "", is_true},         {"false", "", is_false},
    {"integer", "", is_integer},   {"float", "", is_float},
    {"number", "", is_number},     {"string", "", is_string},
    {"mapping", "", is_mapping},   {"sequence", "", is_sequence},
    {"iterable", "", is_iterable}, {"callable", "", is_callable},
    {"escaped", "", is_escaped},   {"odd", "", is_odd},
    {"even", "", is_even},         {"divisibleby", "num", is_divisible},
    {"in", "seq", is_in},          {"sameas", "other", is_sameas},
    {"lower", "", is_lower},       {"upper", "", is_upper},
    {"filter", "", is_filter},     {"test", "", is_test},
    {"eq", "other", is_eq},        {"equalto", "other", is_eq},
    {"==", "other", is_eq},        {"ne", "other", is_ne},
    {"!=", "other", is_ne},        {"lt", "other", is_lt},
    {"lessthan", "other", is_lt},  {"<", "other", is_lt},
    {"le", "other", is_le},        {"<=", "other", is_le},
    {"gt", "other", is_gt},        {"greaterthan", "other", is_gt},
    {">", "other", is_gt},         {"ge", "other", is_ge},
    {">=", "other", is_ge},
};

const struct builtin *test_find(const char *name)
{
    return builtin_search(rows, sizeof rows / sizeof *rows, name);
}
