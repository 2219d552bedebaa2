/* str_case.c: letter case of strings, and the questions about their characters (isalpha, ...), by
 * Unicode's data. Case mappings are the full ones: one character may become several. */
#include "chat/interp.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "chat/case_table.inc"

#define METHOD(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

static bool is_letter(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_cased(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LT;
}

static int compare_row(const void *key, const void *row)
{
    uint32_t c = *(const uint32_t *)key, other = ((const struct case_row *)row)->c;
    return c < other ? -1 : c > other;
}

/* Characters that the rule of the final sigma looks through (Case_Ignorable). */
static bool is_ignorable(uint32_t c)
{
    static const uint32_t more[] = {'\'',   '.',    ':',    0xb7,   0x2018, 0x2019, 0x2024,
                                    0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
            if (more[i] == c) {
                return true;
            }
        }
        return false;
    }
}

/* Whether the capital sigma at byte i of s[begin, s->n) ends a word: a cased letter before it and
 * none behind it. */
static bool is_final_sigma(struct interp *in, const struct str *s, size_t begin, size_t i)
{
    bool before = false;
    for (size_t k = i; k > begin && interp_step(in, 1);) {
        do {
            k--;
        } while (k > begin && ((unsigned char)s->s[k] & 0xc0) == 0x80);
        if (!is_ignorable(char_at(s, k))) {
            before = is_cased(char_at(s, k));
            break;
        }
    }
    for (size_t k = i + char_len(s, i); k < s->n && interp_step(in, 1); k += char_len(s, k)) {
        if (!is_ignorable(char_at(s, k))) {
            return before && !is_cased(char_at(s, k));
        }
    }
    return before;
}

enum mapping { TO_LOWER, TO_UPPER, TO_TITLE, TO_SAME };

/* Appends the character at byte i in another case. word: where the word began, for the sigma. */
static void put_mapped(struct interp *in, struct text *t, const struct str *s, size_t i,
                       enum mapping to, size_t word)
{
    uint32_t c = char_at(s, i);
    size_t len = char_len(s, i);
    char bytes[4];
    if (to == TO_UPPER || to == TO_TITLE) {
        const struct case_row *row = bsearch(&c, case_rows, sizeof case_rows / sizeof *case_rows,
                                             sizeof *case_rows, compare_row);
        if (row) {
            const char *mapped = to == TO_UPPER ? row->upper : row->title;
            text_fill(in, t, mapped, strlen(mapped), s->trust[i]);
            return;
        }
    } else if (to == TO_LOWER && c == 0x130) {
        text_fill(in, t, "i\xcc\x87", 3, s->trust[i]);
        return;
    } else if (to == TO_LOWER && c == 0x3a3 && is_final_sigma(in, s, word, i)) {
        text_fill(in, t, "\xcf\x82", 2, s->trust[i]);
        return;
    }
    utf8proc_int32_t x = (utf8proc_int32_t)c;
    uint32_t mapped = (uint32_t)(to == TO_UPPER   ? utf8proc_toupper(x)
                                 : to == TO_TITLE ? utf8proc_totitle(x)
                                 : to == TO_SAME  ? x
                                                  : utf8proc_tolower(x));
    if (mapped == c) {
        text_add(in, t, s->s + i, s->trust + i, len);
    } else {
        text_fill(in, t, bytes, utf8_put(mapped, bytes), s->trust[i]);
    }
}

static bool begins_word(uint32_t c)
{
    return char_is_space(c) || (c < 128 && c && strchr("-({[<", (int)c));
}

struct value str_case(struct interp *in, const struct str *s, enum letter_case how)
{
    struct text t = {0};
    bool start = true;
    size_t word = 0;
    for (size_t i = 0; i < s->n && interp_step(in, 1); i += char_len(s, i)) {
        uint32_t c = char_at(s, i);
        enum mapping to = TO_LOWER;
        switch (how) {
        case CASE_UPPER:
            to = TO_UPPER;
            break;
        case CASE_LOWER:
            break;
        case CASE_SWAP:
            to = category(c) == UTF8PROC_CATEGORY_LL   ? TO_UPPER
                 : category(c) == UTF8PROC_CATEGORY_LT ? TO_SAME
                                                       : TO_LOWER;
            break;
        case CASE_TITLE:
        case CASE_CAPITAL:
            to = start ? TO_TITLE : TO_LOWER;
            start = how == CASE_TITLE && !is_cased(c);
            break;
        case CASE_WORDS: /* Jinja's filter: upper case at the start of its words */
            if (begins_word(c)) {
                start = true;
            } else {
                to = start ? TO_UPPER : TO_LOWER;
                word = start ? i + char_len(s, i) : word;
                start = false;
            }
            break;
        }
        put_mapped(in, &t, s, i, to, word);
    }
    struct value v = text_take(in, &t);
    if (v.kind == V_STR) {
        v.s->markup = s->markup;
    }
    return v;
}

#define CASE_METHOD(name, how)                                                                     \
    METHOD(name)                                                                                   \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)raw;                                                                                 \
        return str_case(in, self.s, how);                                                          \
    }
CASE_METHOD(m_upper, CASE_UPPER)
CASE_METHOD(m_lower, CASE_LOWER)
CASE_METHOD(m_title, CASE_TITLE)
CASE_METHOD(m_capitalize, CASE_CAPITAL)
CASE_METHOD(m_swapcase, CASE_SWAP)

METHOD(m_casefold)
{
    (void)a;
    (void)raw;
    struct text t = {0};
    const struct str *s = self.s;
    for (size_t i = 0; i < s->n && interp_step(in, 1); i += char_len(s, i)) {
        utf8proc_int32_t folded[16];
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)char_at(s, i), folded, 16,
                                                     UTF8PROC_CASEFOLD, NULL);
        for (utf8proc_ssize_t k = 0; k < n && k < 16; k++) {
            char bytes[4];
            text_fill(in, &t, bytes, utf8_put((uint32_t)folded[k], bytes), s->trust[i]);
        }
    }
    struct value v = text_take(in, &t);
    if (v.kind == V_STR) {
        v.s->markup = s->markup;
    }
    return v;
}

/* ---- questions ---- */

static bool in_ranges(uint32_t c, const uint32_t (*ranges)[2], size_t n)
{
    for (size_t i = 0; i < n && ranges[i][0] <= c; i++) {
        if (c <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}

static bool is_decimal(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_ND;
}

static bool is_digit(uint32_t c)
{
    return is_decimal(c) || in_ranges(c, digit_ranges, sizeof digit_ranges / sizeof *digit_ranges);
}

static bool is_numeric(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) ||
           in_ranges(c, numeric_ranges, sizeof numeric_ranges / sizeof *numeric_ranges);
}

static bool is_alnum(uint32_t c)
{
    return is_letter(c) || is_numeric(c);
}

static bool is_ascii(uint32_t c)
{
    return c < 128;
}

static bool starts_identifier(uint32_t c)
{
    return is_letter(c) || c == '_' || category(c) == UTF8PROC_CATEGORY_NL;
}

static bool in_identifier(uint32_t c)
{
    switch (category(c)) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return starts_identifier(c) || c == 0xb7;
    }
}

static struct value all_are(struct interp *in, const struct str *s, bool (*is)(uint32_t c),
                            bool when_empty)
{
    for (size_t i = 0; i < s->n && interp_step(in, 1); i += char_len(s, i)) {
        if (!is(char_at(s, i))) {
            return value_bool(false);
        }
    }
    return value_bool(s->n != 0 || when_empty);
}

#define CLASS_METHOD(name, is, when_empty)                                                         \
    METHOD(name)                                                                                   \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)raw;                                                                                 \
        return all_are(in, self.s, is, when_empty);                                                \
    }
CLASS_METHOD(m_isalpha, is_letter, false)
CLASS_METHOD(m_isdecimal, is_decimal, false)
CLASS_METHOD(m_isdigit, is_digit, false)
CLASS_METHOD(m_isnumeric, is_numeric, false)
CLASS_METHOD(m_isalnum, is_alnum, false)
CLASS_METHOD(m_isspace, char_is_space, false)
CLASS_METHOD(m_isascii, is_ascii, true)
CLASS_METHOD(m_isprintable, char_is_printable, true)

METHOD(m_isidentifier)
{
    (void)a;
    (void)raw;
    const struct str *s = self.s;
    return s->n && !starts_identifier(char_at(s, 0)) ? value_bool(false)
                                                     : all_are(in, s, in_identifier, false);
}

static struct value has_case(struct interp *in, const struct str *s, bool upper)
{
    bool any = false;
    for (size_t i = 0; i < s->n && interp_step(in, 1); i += char_len(s, i)) {
        utf8proc_category_t k = category(char_at(s, i));
        if (k == UTF8PROC_CATEGORY_LT ||
            k == (upper ? UTF8PROC_CATEGORY_LL : UTF8PROC_CATEGORY_LU)) {
            return value_bool(false);
        }
        any |= k == (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL);
    }
    return value_bool(any);
}

METHOD(m_isupper)
{
    (void)a;
    (void)raw;
    return has_case(in, self.s, true);
}

METHOD(m_islower)
{
    (void)a;
    (void)raw;
    return has_case(in, self.s, false);
}

METHOD(m_istitle)
{
    (void)a;
    (void)raw;
    bool any = false, inside = false;
    const struct str *s = self.s;
    for (size_t i = 0; i < s->n && interp_step(in, 1); i += char_len(s, i)) {
        uint32_t c = char_at(s, i);
        if (is_cased(c) && (category(c) == UTF8PROC_CATEGORY_LL) != inside) {
            return value_bool(false);
        }
        inside = is_cased(c);
        any |= inside;
    }
    return value_bool(any);
}

const struct builtin str_case_rows[] = {
    {"upper", "", m_upper},
    {"lower", "", m_lower},
    {"title", "", m_title},
    {"capitalize", "", m_capitalize},
    {"swapcase", "", m_swapcase},
    {"casefold", "", m_casefold},
    {"isalpha", "", m_isalpha},
    {"isdigit", "", m_isdigit},
    {"isdecimal", "", m_isdecimal},
    {"isnumeric", "", m_isnumeric},
    {"isalnum", "", m_isalnum},
    {"isspace", "", m_isspace},
    {"isascii", "", m_isascii},
    {"isprintable", "", m_isprintable},
    {"isidentifier", "", m_isidentifier},
    {"isupper", "", m_isupper},
    {"islower", "", m_islower},
    {"istitle", "", m_istitle},
};
const size_t str_case_count = sizeof str_case_rows / sizeof *str_case_rows;
