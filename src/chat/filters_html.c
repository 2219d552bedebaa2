/* filters_html.c: filters for markup: escaping, striptags, xmlattr, urlencode, urlize.
 *
 * What they write themselves (tags, quotes, entities) follows data and is not trusted. */
#include "chat/interp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "base/utf8.h"

#define FILTER(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

static bool add(struct interp *in, struct text *t, const char *s)
{
    return text_add(in, t, s, NULL, strlen(s));
}

FILTER(f_escape)
{
    (void)a;
    (void)raw;
    struct value s = value_str(in, self);
    return in->failed || s.s->markup ? s : str_escape(in, s.s);
}

FILTER(f_force_escape)
{
    (void)a;
    (void)raw;
    struct value s = value_str(in, self);
    return in->failed ? s : str_escape(in, s.s);
}

FILTER(f_safe)
{
    (void)a;
    (void)raw;
    struct value s = value_str(in, self);
    return in->failed ? s : str_marked(in, s.s, true);
}

/* ---- striptags ---- */

/* &#65; &#x41; &amp; and the few names that people write; others stay as they are. The code point
 * at s[i] ('&'), and in *len how long its spelling is; 0: none. */
static uint32_t read_entity(const struct str *s, size_t i, size_t *len)
{
    static const struct {
        const char *name;
        uint32_t cp;
    } names[] = {{"amp;", '&'},      {"lt;", '<'},       {"gt;", '>'},       {"quot;", '"'},
                 {"apos;", '\''},    {"nbsp;", 0xa0},    {"copy;", 0xa9},    {"reg;", 0xae},
                 {"laquo;", 0xab},   {"raquo;", 0xbb},   {"middot;", 0xb7},  {"euro;", 0x20ac},
                 {"ndash;", 0x2013}, {"mdash;", 0x2014}, {"lsquo;", 0x2018}, {"rsquo;", 0x2019},
                 {"ldquo;", 0x201c}, {"rdquo;", 0x201d}, {"bull;", 0x2022},  {"trade;", 0x2122},
                 {"hellip;", 0x2026}};
    size_t rest = s->n - i - 1;
    const char *p = s->s + i + 1;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        size_t n = strlen(names[k].name);
        if (n <= rest && memcmp(p, names[k].name, n) == 0) {
            *len = n + 1;
            return names[k].cp;
        }
    }
    if (rest < 2 || p[0] != '#') {
        return 0;
    }
    bool hex = p[1] == 'x' || p[1] == 'X';
    uint32_t cp = 0;
    size_t k = 1 + hex, digits = 0;
    for (; k < rest; k++, digits++) {
        char c = p[k];
        int d = c >= '0' && c <= '9'                        ? c - '0'
                : hex && (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                            : -1;
        if (d < 0) {
            break;
        }
        cp = cp > 0x110000 ? cp : cp * (hex ? 16 : 10) + (uint32_t)d;
    }
    if (!digits) {
        return 0;
    }
    *len = 1 + k + (k < rest && p[k] == ';');
    return cp && cp < 0x110000 && !(cp >= 0xd800 && cp < 0xe000) ? cp : 0xfffd;
}

static struct value unescape(struct interp *in, const struct str *s)
{
    struct text t = {0};
    for (size_t i = 0; i < s->n && interp_step(in, 1);) {
        size_t len = 1;
        uint32_t cp = s->s[i] == '&' ? read_entity(s, i, &len) : 0;
        if (cp) {
            char bytes[4];
            text_fill(in, &t, bytes, utf8_put(cp, bytes), 0);
        } else {
            text_add(in, &t, s->s + i, s->trust + i, 1);
        }
        i += len;
    }
    return text_take(in, &t);
}

FILTER(f_striptags)
{
    (void)a;
    (void)raw;
    struct value v = value_str(in, self);
    struct text t = {0};
    size_t done = 0;
    if (in->failed) {
        return v;
    }
    const struct str *s = v.s;
    static const struct str comment_end = {"-->", NULL, 3, 3, false},
                            tag_end = {">", NULL, 1, 1, 0};
    for (size_t i = 0; i < s->n && interp_step(in, 1); i++) {
        if (s->s[i] != '<') {
            continue;
        }
        bool comment = s->n - i >= 4 && memcmp(s->s + i, "<!--", 4) == 0;
        size_t end = str_find(s, comment ? &comment_end : &tag_end, comment ? i + 4 : i);
        if (end == SIZE_MAX) {
            break;
        }
        text_add(in, &t, s->s + done, s->trust + done, i - done);
        done = end + (comment ? 3 : 1);
        i = done - 1;
    }
    text_add(in, &t, s->s + done, s->trust + done, s->n - done);
    v = text_take(in, &t);
    /* Blanks become single spaces. */
    struct args none = {0};
    struct value words =
        in->failed ? v : call_builtin(in, method_find(V_STR, SEQ_LIST, "split"), v, &none);
    static const uint8_t untrusted = 0;
    static const struct str space = {" ", &untrusted, 1, 1, false};
    v = in->failed ? words : str_join(in, &space, words.seq->v, words.seq->n);
    return in->failed ? v : unescape(in, v.s);
}

/* ---- xmlattr, urlencode ---- */

FILTER(f_xmlattr)
{
    (void)raw;
    struct text t = {0};
    if (self.kind != V_DICT) {
        return self.kind == V_UNDEFINED
                   ? use_undefined(in, self)
                   : interp_fail(in, ERROR_INPUT, "'%s' object has no attribute 'items'",
                                 value_type(self));
    }
    bool space = a[0].kind == V_MISSING || value_true(in, a[0]), any = false;
    for (size_t i = 0; i < self.dict->n && interp_step(in, 1); i++) {
        struct value v = self.dict->values[i];
        if (v.kind == V_NONE || v.kind == V_UNDEFINED) {
            continue;
        }
        struct value key = self.dict->keys[i];
        if (key.kind != V_STR) {
            return interp_fail(in, ERROR_INPUT, "expected string or bytes-like object, got '%s'",
                               value_type(key));
        }
        for (size_t k = 0; k < key.s->n; k++) {
            if (strchr(" \t\n\v\f\r/>=", key.s->s[k]) && key.s->s[k]) {
                text_free(&t);
                return interp_fail(in, ERROR_INPUT, "Invalid character in attribute name: '%.60s'",
                                   str_c(in, key.s));
            }
        }
        key = f_escape(in, key, NULL, NULL);
        v = f_escape(in, v, NULL, NULL);
        if (in->failed) {
            break;
        }
        add(in, &t, any || space ? " " : "");
        text_add_str(in, &t, key.s);
        add(in, &t, "=\"");
        text_add_str(in, &t, v.s);
        add(in, &t, "\"");
        any = true;
    }
    return text_take(in, &t);
}

/* Percent-encodes; in a query string '/' too, and a space becomes '+'. */
static void quote_url(struct interp *in, struct text *t, struct value v, bool query)
{
    static const char hex[] = "0123456789ABCDEF";
    v = value_str(in, v);
    for (size_t i = 0; !in->failed && i < v.s->n && interp_step(in, 1); i++) {
        unsigned char c = (unsigned char)v.s->s[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c && strchr(query ? "_.-~" : "_.-~/", c))) {
            text_add(in, t, v.s->s + i, v.s->trust + i, 1);
        } else if (query && c == ' ') {
            text_fill(in, t, "+", 1, v.s->trust[i]);
        } else {
            char bytes[3] = {'%', hex[c >> 4], hex[c & 15]};
            text_fill(in, t, bytes, 3, v.s->trust[i]);
        }
    }
}

FILTER(f_urlencode)
{
    (void)a;
    (void)raw;
    struct text t = {0};
    struct args none = {0};
    struct value *items;
    size_t n;
    if (self.kind != V_DICT && self.kind != V_SEQ) {
        quote_url(in, &t, self, false);
        return text_take(in, &t);
    }
    if (self.kind == V_DICT) {
        self = call_builtin(in, method_find(V_DICT, SEQ_LIST, "items"), self, &none);
    }
    if (in->failed || !value_items(in, self, &items, &n)) {
        return (struct value){0};
    }
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        struct value *pair;
        size_t two;
        if (!value_items(in, items[i], &pair, &two)) {
            break;
        }
        if (two != 2) {
            interp_fail(in, ERROR_INPUT, "urlencode wants pairs of a key and a value");
            break;
        }
        add(in, &t, i ? "&" : "");
        quote_url(in, &t, pair[0], true);
        add(in, &t, "=");
        quote_url(in, &t, pair[1], true);
    }
    return text_take(in, &t);
}

/* ---- urlize ---- */

static bool is_word(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

static bool begins(const struct str *s, size_t at, const char *what)
{
    size_t n = strlen(what);
    return at <= s->n && n <= s->n - at && strncasecmp(s->s + at, what, n) == 0;
}

/* The end of the run of word characters, '-' and (where allowed) '%' at `at`; *n: how many. */
static size_t label_end(const struct str *s, size_t at, bool dash, size_t *n)
{
    for (*n = 0; at < s->n; ++*n) {
        uint32_t c = char_at(s, at);
        if (!(is_word(c) || c == '%' || (dash && c == '-'))) {
            break;
        }
        at += char_len(s, at);
    }
    return at;
}

/* Whether what follows a host is the end, a port, or a path to the end. */
static bool ends_url(const struct str *s, size_t at)
{
    if (at < s->n && s->s[at] == ':') {
        size_t digits = 0;
        while (at + 1 + digits < s->n && s->s[at + 1 + digits] >= '0' &&
               s->s[at + 1 + digits] <= '9') {
            digits++;
        }
        if (digits >= 1 && digits <= 5) {
            at += 1 + digits;
        }
    }
    return at == s->n || strchr("/?#", s->s[at]) != NULL;
}

/* A host name whose last label is a top-level domain: letters ("com"), "xn--..." or, in `basic`,
 * one of the old generic ones behind labels of at least two characters. */
static bool is_host(const struct str *s, size_t at, bool basic)
{
    static const char *const generic[] = {"com", "net", "int", "edu", "gov", "org", "info", "mil"};
    bool first = true;
    while (at < s->n) {
        size_t n, end = label_end(s, at, true, &n), letters = at;
        if (basic && !first) {
            for (size_t i = 0; i < sizeof generic / sizeof *generic; i++) {
                if (begins(s, at, generic[i]) && ends_url(s, at + strlen(generic[i]))) {
                    return true;
                }
            }
        } else if (!basic) {
            while (letters < end && ((s->s[letters] | 32) >= 'a' && (s->s[letters] | 32) <= 'z')) {
                letters++;
            }
            size_t count = letters - at, idna;
            if (count >= 2 && count <= 63 && ends_url(s, letters)) {
                return true;
            }
            if (begins(s, at, "xn--") && ends_url(s, label_end(s, at + 4, false, &idna)) &&
                idna >= 2 && idna <= 59) {
                return true;
            }
        }
        if (n < (basic ? 2u : 1u) || n > (basic ? 63u : 255u) || end >= s->n || s->s[end] != '.') {
            return false;
        }
        at = end + 1;
        first = false;
    }
    return false;
}

static bool is_ipv4(const struct str *s, size_t at)
{
    for (int part = 0; part < 4; part++) {
        size_t digits = 0;
        while (digits < 3 && at < s->n && s->s[at] >= '0' && s->s[at] <= '9') {
            at++;
            digits++;
        }
        if (!digits || (part < 3 && (at >= s->n || s->s[at++] != '.'))) {
            return false;
        }
    }
    return ends_url(s, at);
}

static bool is_url(const struct str *s)
{
    size_t scheme = begins(s, 0, "https://") ? 8 : begins(s, 0, "http://") ? 7 : 0;
    size_t www = !scheme && begins(s, 0, "www.") ? 4 : 0;
    if ((scheme || www) && is_host(s, scheme + www, false)) {
        return true;
    }
    return (scheme && is_ipv4(s, scheme)) || (!scheme && is_host(s, 0, true));
}

/* name@host.tld */
static bool is_email(const struct str *s, size_t at)
{
    const char *sign = memchr(s->s + at, '@', s->n - at);
    for (; sign; sign = memchr(sign + 1, '@', s->n - (size_t)(sign + 1 - s->s))) {
        size_t i = (size_t)(sign - s->s) + 1, last_dot = 0;
        if (i == at + 1 || i >= s->n || !is_word(char_at(s, i))) {
            continue;
        }
        size_t begin = i;
        while (i < s->n && (is_word(char_at(s, i)) || s->s[i] == '.' || s->s[i] == '-')) {
            last_dot = s->s[i] == '.' ? i : last_dot;
            i += char_len(s, i);
        }
        size_t n;
        if (i == s->n && last_dot > begin && label_end(s, last_dot + 1, false, &n) == s->n && n &&
            !memchr(s->s + last_dot, '%', s->n - last_dot)) {
            return true;
        }
    }
    return false;
}

struct urlizer {
    struct interp *in;
    struct text *out;
    const char *attributes; /* rel and target */
    int64_t limit;          /* of the words shown; -1: none */
};

static void put_link(struct urlizer *u, const char *prefix, const struct str *to, size_t shown_from,
                     bool attributes)
{
    add(u->in, u->out, "<a href=\"");
    add(u->in, u->out, prefix);
    text_add_str(u->in, u->out, to);
    add(u->in, u->out, "\"");
    add(u->in, u->out, attributes ? u->attributes : "");
    add(u->in, u->out, ">");
    struct value shown = str_view(u->in, to, shown_from, to->n);
    bool cut = attributes && u->limit >= 0 && !u->in->failed && shown.s->chars > (uint64_t)u->limit;
    if (cut) {
        shown = str_slice(u->in, shown.s, 0, 1, (size_t)u->limit);
    }
    if (!u->in->failed) {
        text_add_str(u->in, u->out, shown.s);
    }
    add(u->in, u->out, cut ? "...</a>" : "</a>");
}

/* Length of an opening (head) or closing (tail) sign at the given end of s[begin, end). */
static size_t sign_at(const struct str *s, size_t begin, size_t end, bool tail)
{
    if (begin == end) {
        return 0;
    }
    const char *entity = tail ? "&gt;" : "&lt;";
    if (end - begin >= 4 && memcmp(s->s + (tail ? end - 4 : begin), entity, 4) == 0) {
        return 4;
    }
    return strchr(tail ? ")>.,\n" : "(<", s->s[tail ? end - 1 : begin]) ? 1 : 0;
}

static size_t count(const struct str *s, size_t begin, size_t end, const char *what)
{
    size_t n = strlen(what), found = 0;
    for (size_t i = begin; i + n <= end;) {
        bool here = memcmp(s->s + i, what, n) == 0;
        found += here;
        i += here ? n : 1;
    }
    return found;
}

static void put_word(struct urlizer *u, const struct str *s)
{
    struct interp *in = u->in;
    static const char *const pairs[][2] = {{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}};
    size_t begin = 0, end = s->n, n;
    while ((n = sign_at(s, begin, end, false)) != 0) {
        begin += n;
    }
    while ((n = sign_at(s, begin, end, true)) != 0) {
        end -= n;
    }
    for (size_t p = 0; p < 3; p++) { /* closing brackets that belong to the address */
        size_t open = count(s, begin, end, pairs[p][0]), len = strlen(pairs[p][1]);
        if (open <= count(s, begin, end, pairs[p][1])) {
            continue;
        }
        for (size_t i = end; open && i + len <= s->n; i++) {
            if (memcmp(s->s + i, pairs[p][1], len) == 0) {
                end = i + len;
                i = end - 1;
                open--;
            }
        }
    }
    struct value middle = str_view(in, s, begin, end);
    if (in->failed || !interp_step(in, 1 + s->n / 16)) {
        return;
    }
    const struct str *m = middle.s;
    bool at_sign = m->n && memchr(m->s, '@', m->n) && m->s[0] != '@' && !memchr(m->s, ':', m->n);
    text_add(in, u->out, s->s, s->trust, begin);
    if (is_url(m)) {
        bool scheme = m->n >= 7 &&
                      (!memcmp(m->s, "http://", 7) || (m->n >= 8 && !memcmp(m->s, "https://", 8)));
        put_link(u, scheme ? "" : "https://", m, 0, true);
    } else if (m->n > 7 && !memcmp(m->s, "mailto:", 7) && is_email(m, 7)) {
        put_link(u, "", m, 7, false);
    } else if (at_sign && !(m->n >= 4 && !memcmp(m->s, "www.", 4)) && is_email(m, 0)) {
        put_link(u, "mailto:", m, 0, false);
    } else {
        text_add_str(in, u->out, m);
    }
    text_add(in, u->out, s->s + end, s->trust + end, s->n - end);
}

/* rel: the words of the argument, "nofollow" and "noopener", sorted. */
static void rel_words(struct interp *in, struct value rel, bool nofollow, struct text *out)
{
    struct args none = {0};
    struct text t = {0};
    if (rel.kind == V_STR) {
        text_add_str(in, &t, rel.s);
    }
    add(in, &t, nofollow ? " nofollow noopener" : " noopener");
    struct value v = text_take(in, &t), words = v;
    if (!in->failed) {
        words = call_builtin(in, method_find(V_STR, SEQ_LIST, "split"), v, &none);
    }
    if (!in->failed) {
        words = call_builtin(in, filter_find("unique"), words,
                             &(struct args){.v = (struct value[]){value_bool(true)}, .n = 1});
    }
    if (!in->failed) {
        words = call_builtin(
            in, filter_find("sort"), words,
            &(struct args){.v = (struct value[]){value_bool(false), value_bool(true)}, .n = 2});
    }
    static const uint8_t untrusted = 0;
    static const struct str space = {" ", &untrusted, 1, 1, false};
    v = in->failed ? v : str_join(in, &space, words.seq->v, words.seq->n);
    v = in->failed ? v : str_escape(in, v.s);
    add(in, out, " rel=\"");
    if (!in->failed) {
        text_add_str(in, out, v.s);
    }
    add(in, out, "\"");
}

FILTER(f_urlize)
{
    (void)raw;
    struct value v = f_escape(in, self, NULL, NULL), target = a[2];
    struct text t = {0}, attributes = {0};
    struct urlizer u = {.in = in, .out = &t, .limit = -1};
    if (a[4].kind != V_MISSING && a[4].kind != V_NONE) {
        return interp_fail(in, ERROR_UNSUPPORTED, "urlize: extra_schemes is not supported here");
    }
    if (a[0].kind != V_MISSING && a[0].kind != V_NONE && !value_as_int(a[0], &u.limit)) {
        return interp_fail(in, ERROR_INPUT, "urlize: the limit must be an integer");
    }
    rel_words(in, a[3], a[1].kind != V_MISSING && value_true(in, a[1]), &attributes);
    if (target.kind == V_STR && target.s->n && !in->failed) {
        target = f_escape(in, target, NULL, NULL);
        add(in, &attributes, " target=\"");
        if (!in->failed) {
            text_add_str(in, &attributes, target.s);
        }
        add(in, &attributes, "\"");
    }
    struct value words = text_take(in, &attributes);
    if (in->failed) {
        return v;
    }
    u.attributes = str_c(in, words.s);
    const struct str *s = v.s;
    for (size_t i = 0; i < s->n && !in->failed;) {
        size_t from = i;
        while (i < s->n && !char_is_space(char_at(s, i))) {
            i += char_len(s, i);
        }
        struct value word = str_view(in, s, from, i);
        if (!in->failed && i > from) {
            put_word(&u, word.s);
        }
        from = i;
        while (i < s->n && char_is_space(char_at(s, i))) {
            i += char_len(s, i);
        }
        text_add(in, &t, s->s + from, s->trust + from, i - from);
    }
    return text_take(in, &t);
}

const struct builtin filter_html_rows[] = {
    {"escape", "", f_escape},
    {"e", "", f_escape},
    {"forceescape", "", f_force_escape},
    {"safe", "", f_safe},
    {"striptags", "", f_striptags},
    {"xmlattr", "autospace?", f_xmlattr},
    {"urlencode", "", f_urlencode},
    {"urlize", "trim_url_limit? nofollow? target? rel? extra_schemes?", f_urlize},
};
const size_t filter_html_count = sizeof filter_html_rows / sizeof *filter_html_rows;
