/* repr.c: values as text: Python's str and repr, and JSON as Python's json.dumps spells it.
 *
 * What these functions add themselves (brackets, digits, True) is not trusted: it follows the data.
 */
#include "chat/interp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int float_repr(double f, char out[40])
{
    if (isnan(f) || isinf(f)) {
        return snprintf(out, 40, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
    }
    char digits[40];
    int precision = 0;
    do { /* the fewest digits that read back as the same number */
        snprintf(digits, sizeof digits, "%.*e", precision, f);
    } while (strtod(digits, NULL) != f && ++precision < 17);
    char *exponent_text = strchr(digits, 'e');
    int exponent = atoi(exponent_text + 1);
    if (exponent >= -4 && exponent < 16) {
        int decimals = precision - exponent;
        return snprintf(out, 40, "%.*f", decimals > 1 ? decimals : 1, f);
    }
    *exponent_text = 0;
    return snprintf(out, 40, "%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
}

static bool add(struct interp *in, struct text *t, const char *s)
{
    return text_add(in, t, s, NULL, strlen(s));
}

bool char_is_printable(uint32_t c)
{
    if (c == ' ') {
        return true;
    }
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

static void repr_str(struct interp *in, struct text *t, const struct str *s)
{
    bool single = s->n && memchr(s->s, '\'', s->n);
    char quote = single && !memchr(s->s, '"', s->n) ? '"' : '\'';
    text_add(in, t, &quote, NULL, 1);
    for (size_t i = 0; i < s->n && interp_step(in, 1);) {
        size_t len = char_len(s, i);
        uint32_t c = char_at(s, i);
        char escape[16] = "";
        const char *found = c && c < 128 ? strchr("\nn\rr\tt\\\\", (int)c) : NULL;
        if (c == (unsigned char)quote) {
            snprintf(escape, sizeof escape, "\\%c", quote);
        } else if (c == '\n' || c == '\r' || c == '\t' || c == '\\') {
            snprintf(escape, sizeof escape, "\\%c", found[1]);
        } else if (!char_is_printable(c)) {
            snprintf(escape, sizeof escape,
                     c < 256     ? "\\x%02x"
                     : c < 65536 ? "\\u%04x"
                                 : "\\U%08x",
                     c);
        }
        if (escape[0]) {
            text_fill(in, t, escape, strlen(escape), s->trust[i]);
        } else {
            text_add(in, t, s->s + i, s->trust + i, len);
        }
        i += len;
    }
    text_add(in, t, &quote, NULL, 1);
}

static void repr_dict(struct interp *in, struct text *t, const struct dict *d)
{
    add(in, t, "{");
    for (size_t i = 0; i < d->n && !in->failed; i++) {
        if (i) {
            add(in, t, ", ");
        }
        value_repr(in, t, d->keys[i]);
        add(in, t, ": ");
        value_repr(in, t, d->values[i]);
    }
    add(in, t, "}");
}

static void repr_seq(struct interp *in, struct text *t, const struct seq *s)
{
    static const char *const open[] = {"[",           "(", "", "dict_keys([", "dict_values([",
                                       "dict_items(["};
    static const char *const close[] = {"]", ")", "", "])", "])", "])"};
    if (s->kind == SEQ_GENERATOR) {
        add(in, t, "<generator object>");
        return;
    }
    if (s->kind == SEQ_RANGE) {
        char words[80];
        snprintf(words, sizeof words,
                 s->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
                 (long long)s->start, (long long)s->stop, (long long)s->step);
        add(in, t, words);
        return;
    }
    add(in, t, open[s->kind]);
    for (size_t i = 0; i < s->n && !in->failed; i++) {
        if (i) {
            add(in, t, ", ");
        }
        value_repr(in, t, s->v[i]);
    }
    if (s->kind == SEQ_TUPLE && s->n == 1) {
        add(in, t, ",");
    }
    add(in, t, close[s->kind]);
}

void value_repr(struct interp *in, struct text *t, struct value v)
{
    char number[40];
    if (!interp_enter(in)) {
        return;
    }
    switch (v.kind) {
    case V_UNDEFINED:
    case V_MISSING:
        add(in, t, "Undefined");
        break;
    case V_NONE:
        add(in, t, "None");
        break;
    case V_BOOL:
        add(in, t, v.b ? "True" : "False");
        break;
    case V_INT:
        snprintf(number, sizeof number, "%lld", (long long)v.i);
        add(in, t, number);
        break;
    case V_FLOAT:
        float_repr(v.f, number);
        add(in, t, number);
        break;
    case V_STR:
        if (v.s->markup) {
            add(in, t, "Markup(");
        }
        repr_str(in, t, v.s);
        if (v.s->markup) {
            add(in, t, ")");
        }
        break;
    case V_SEQ:
        repr_seq(in, t, v.seq);
        break;
    case V_DICT:
        repr_dict(in, t, v.dict);
        break;
    case V_NAMESPACE:
        add(in, t, "<Namespace ");
        repr_dict(in, t, v.dict);
        add(in, t, ">");
        break;
    case V_CALLABLE:
        if (v.call->kind == CALL_MACRO) {
            add(in, t, "<Macro '");
            add(in, t, v.call->macro->name);
            add(in, t, "'>");
        } else {
            add(in, t, "<function>");
        }
        break;
    case V_CYCLER:
        add(in, t, "<Cycler>");
        break;
    case V_LOOP:
        snprintf(number, sizeof number, "<LoopContext %zu/%zu>", v.loop->index + 1, v.loop->n);
        add(in, t, number);
        break;
    }
    interp_leave(in);
}

struct value value_str(struct interp *in, struct value v)
{
    struct text t = {0};
    if (v.kind == V_STR) {
        return v;
    }
    if (v.kind != V_UNDEFINED && v.kind != V_MISSING) {
        value_repr(in, &t, v);
    }
    return text_take(in, &t);
}

/* ---- JSON ---- */

struct json_writer {
    struct interp *in;
    struct text t;
    bool ascii, sort;
    const struct str *indent, *item_separator, *key_separator;
};

static void json_line(struct json_writer *w, unsigned level)
{
    if (w->indent) {
        text_add(w->in, &w->t, "\n", NULL, 1);
        for (unsigned i = 0; i < level && !w->in->failed; i++) {
            text_add_str(w->in, &w->t, w->indent);
        }
    }
}

static void json_str(struct json_writer *w, const struct str *s)
{
    struct interp *in = w->in;
    add(in, &w->t, "\"");
    size_t done = 0;
    for (size_t i = 0; i <= s->n && !in->failed;) {
        char escape[16] = "";
        size_t len = i < s->n ? 1 : 0;
        unsigned char c = i < s->n ? (unsigned char)s->s[i] : 0;
        static const char specials[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
        const char *found = c && c < 128 ? strchr(specials, c) : NULL;
        if (i == s->n) {
            len = 0;
        } else if (found) {
            snprintf(escape, sizeof escape, "\\%c", letters[found - specials]);
        } else if (c < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
        } else if (c >= 128 && w->ascii) {
            uint32_t cp = char_at(s, i);
            len = char_len(s, i);
            if (cp < 0x10000) {
                snprintf(escape, sizeof escape, "\\u%04x", cp);
            } else {
                snprintf(escape, sizeof escape, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
                         0xdc00 + ((cp - 0x10000) & 0x3ff));
            }
        }
        if (escape[0] || i == s->n) {
            text_add(in, &w->t, s->s + done, s->trust + done, i - done);
            done = i + len;
        }
        if (escape[0]) {
            text_fill(in, &w->t, escape, strlen(escape), s->trust[i]);
        }
        if (i == s->n) {
            break;
        }
        i += len;
    }
    add(in, &w->t, "\"");
}

static void json_number(struct json_writer *w, struct value v)
{
    char number[40];
    if (v.kind == V_FLOAT && !isfinite(v.f)) {
        snprintf(number, sizeof number, "%s",
                 isnan(v.f) ? "NaN"
                 : v.f < 0  ? "-Infinity"
                            : "Infinity");
    } else if (v.kind == V_FLOAT) {
        float_repr(v.f, number);
    } else if (v.kind == V_INT) {
        snprintf(number, sizeof number, "%lld", (long long)v.i);
    } else {
        snprintf(number, sizeof number, "%s", v.kind == V_NONE ? "null" : v.b ? "true" : "false");
    }
    add(w->in, &w->t, number);
}

static void json_value(struct json_writer *w, struct value v, unsigned level);

static void json_dict(struct json_writer *w, const struct dict *d, unsigned level)
{
    struct interp *in = w->in;
    add(in, &w->t, "{");
    size_t *order = interp_alloc(in, d->n, sizeof *order);
    for (size_t i = 0; order && i < d->n; i++) {
        size_t k = i;
        for (; w->sort && k && interp_step(in, 1) &&
               value_less(in, d->keys[i], d->keys[order[k - 1]], "<");
             k--) {
            order[k] = order[k - 1];
        }
        order[k] = i;
    }
    for (size_t i = 0; i < d->n && !in->failed; i++) {
        struct value key = d->keys[order[i]];
        if (i) {
            text_add_str(in, &w->t, w->item_separator);
        }
        json_line(w, level + 1);
        if (key.kind == V_STR) {
            json_str(w, key.s);
        } else if (value_is_number(key) || key.kind == V_NONE) {
            add(in, &w->t, "\"");
            json_number(w, key);
            add(in, &w->t, "\"");
        } else {
            interp_fail(in, ERROR_INPUT, "keys must be str, int, float, bool or None, not %s",
                        value_type(key));
        }
        text_add_str(in, &w->t, w->key_separator);
        json_value(w, d->values[order[i]], level + 1);
    }
    if (d->n) {
        json_line(w, level);
    }
    add(in, &w->t, "}");
}

static void json_value(struct json_writer *w, struct value v, unsigned level)
{
    struct interp *in = w->in;
    if (!interp_enter(in)) {
        return;
    }
    if (v.kind == V_STR) {
        json_str(w, v.s);
    } else if (value_is_number(v) || v.kind == V_NONE) {
        json_number(w, v);
    } else if (v.kind == V_DICT) {
        json_dict(w, v.dict, level);
    } else if (v.kind == V_SEQ && v.seq->kind <= SEQ_TUPLE) {
        add(in, &w->t, "[");
        for (size_t i = 0; i < v.seq->n && !in->failed; i++) {
            if (i) {
                text_add_str(in, &w->t, w->item_separator);
            }
            json_line(w, level + 1);
            json_value(w, v.seq->v[i], level + 1);
        }
        if (v.seq->n) {
            json_line(w, level);
        }
        add(in, &w->t, "]");
    } else {
        interp_fail(in, ERROR_INPUT, "Object of type %s is not JSON serializable", value_type(v));
    }
    interp_leave(in);
}

struct value value_json(struct interp *in, struct value v, bool ensure_ascii,
                        const struct str *indent, const struct str *item_separator,
                        const struct str *key_separator, bool sort_keys)
{
    static const uint8_t no_trust[2] = {0};
    static const struct str comma = {",", no_trust, 1, 1, false},
                            comma_space = {", ", no_trust, 2, 2, false},
                            colon_space = {": ", no_trust, 2, 2, false};
    struct json_writer w = {.in = in, .ascii = ensure_ascii, .sort = sort_keys, .indent = indent};
    w.item_separator = item_separator ? item_separator : indent ? &comma : &comma_space;
    w.key_separator = key_separator ? key_separator : &colon_space;
    json_value(&w, v, 0);
    return text_take(in, &w.t);
}
