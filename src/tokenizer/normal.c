/* normal.c: Unicode normalisation forms (Unicode Standard Annex 15), in linear time.
 *
 * utf8proc knows how single characters decompose and which pairs compose. Its own putting in order
 * of marks takes quadratic time on long runs of them; here it is a sort by counting. Text is taken
 * in stretches between characters that no form changes and nothing composes with.
 */
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/unicode.h"

enum {
    MAX_DECOMPOSED = 32, /* code points of one character; Unicode has at most 18 */
    FEW_MARKS = 16,
};

struct stretch {
    uint32_t *cps; /* room for as many again behind, to sort into */
    size_t n;
};

/* The tokenizers library, with which vocabularies were made, normalises by Unicode 9: what came
 * later stays where it is and as it is. */
static bool is_late(uint32_t cp)
{
    return unicode_classes[unicode_class(cp)].late == 2 || (cp >= 0x11930 && cp <= 0x11938);
}

static uint32_t combining_class(uint32_t cp)
{
    return is_late(cp)
               ? 0
               : (uint32_t)utf8proc_get_property((utf8proc_int32_t)cp)->combining_class & 0xFF;
}

/* Sorts marks[0..n) by their classes, equal ones staying in order. */
static void sort_marks(uint32_t *marks, uint32_t *spare, size_t n)
{
    if (n <= FEW_MARKS) {
        for (size_t i = 1; i < n; i++) {
            uint32_t cp = marks[i], class_of_cp = combining_class(cp);
            size_t j = i;
            for (; j > 0 && combining_class(marks[j - 1]) > class_of_cp; j--) {
                marks[j] = marks[j - 1];
            }
            marks[j] = cp;
        }
        return;
    }
    size_t starts[257] = {0};
    for (size_t i = 0; i < n; i++) {
        starts[(combining_class(marks[i])) + 1]++;
    }
    for (size_t i = 1; i < 257; i++) {
        starts[i] += starts[i - 1];
    }
    for (size_t i = 0; i < n; i++) {
        spare[starts[combining_class(marks[i])]++] = marks[i];
    }
    memcpy(marks, spare, n * sizeof *marks);
}

static void put_in_order(struct stretch *s)
{
    for (size_t at = 0; at < s->n;) {
        size_t end = at;
        while (end < s->n && combining_class(s->cps[end]) != 0) {
            end++;
        }
        if (end > at + 1) {
            sort_marks(s->cps + at, s->cps + s->n, end - at);
        }
        at = end + 1;
    }
}

/* How many code points cp decomposes into; parts has room for MAX_DECOMPOSED. */
static size_t decompose_one(uint32_t cp, uint32_t form, utf8proc_int32_t *parts)
{
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    if (form & (CHANGE_NFKC | CHANGE_NFKD)) {
        options |= UTF8PROC_COMPAT;
    }
    utf8proc_ssize_t count =
        utf8proc_decompose_char((utf8proc_int32_t)cp, parts, MAX_DECOMPOSED, options, NULL);
    if (count < 1 || count > MAX_DECOMPOSED) { /* not for valid characters */
        parts[0] = (utf8proc_int32_t)cp;
        return 1;
    }
    return (size_t)count;
}

static bool decompose(struct encoding *enc, struct stretch *s, const char *text, size_t n,
                      uint32_t form)
{
    s->n = 0;
    for (size_t at = 0; at < n;) {
        uint32_t cp;
        utf8proc_int32_t parts[MAX_DECOMPOSED];
        at += utf8_decode(text + at, n - at, &cp);
        size_t count = decompose_one(cp, form, parts);
        size_t need = 2 * (s->n + count);
        if (need > enc->code_points_capacity) {
            size_t capacity = 2 * need + 256;
            uint32_t *larger = mem_try_alloc(capacity * sizeof *larger);
            if (!larger) {
                return error_set(enc->e, ERROR_MEMORY, "no memory for normalising %zu bytes", n);
            }
            if (s->n) {
                memcpy(larger, s->cps, s->n * sizeof *larger);
            }
            free(enc->code_points);
            enc->code_points = s->cps = larger;
            enc->code_points_capacity = capacity;
        }
        for (size_t i = 0; i < count; i++) {
            s->cps[s->n++] = (uint32_t)parts[i];
        }
        enc->work += count;
    }
    return true;
}

/* Code points that came from text[0..n), of which byte i is origins[i] of the caller's (or base +
 * i): those at the start that have stayed what they were know where they came from; the others came
 * from where these end. */
static bool put_with_origins(struct encoding *enc, struct rewritten *out, const struct stretch *s,
                             const char *text, size_t n, const uint32_t *origins, size_t base)
{
    size_t at = 0;
    bool same = true;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t cp = 0;
        size_t step = same && at < n ? utf8_decode(text + at, n - at, &cp) : 0;
        same = step && cp == s->cps[i];
        uint32_t origin = origins ? origins[at] : (uint32_t)(base + at);
        if (!rewritten_put_char(enc, out, s->cps[i], origin)) {
            return false;
        }
        at += same ? step : 0;
    }
    return true;
}

static bool put_stretch(struct encoding *enc, struct rewritten *out, uint32_t form,
                        const char *text, size_t n, const uint32_t *origins, size_t base)
{
    struct stretch s = {enc->code_points, 0};
    if (!decompose(enc, &s, text, n, form)) {
        return false;
    }
    put_in_order(&s);
    if (form & (CHANGE_NFC | CHANGE_NFKC)) {
        utf8proc_ssize_t left = utf8proc_normalize_utf32(
            (utf8proc_int32_t *)s.cps, (utf8proc_ssize_t)s.n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        s.n = left > 0 ? (size_t)left : 0;
    }
    return put_with_origins(enc, out, &s, text, n, origins, base);
}

/* Characters that no form changes and that neither compose nor stand among marks. Beyond ASCII, for
 * the composing forms Latin letters do compose with what follows: the character before a stretch
 * belongs to it. */
static bool is_inert(uint32_t cp)
{
    return cp < 0x80 || (cp >= 0x3400 && cp <= 0x9FFF) || is_late(cp);
}

static bool put_unchanged(struct encoding *enc, struct rewritten *out, const char *text, size_t n,
                          const uint32_t *origins, size_t base, size_t at)
{
    for (size_t i = 0; enc->spans && i < n; i++) {
        uint32_t origin = origins ? origins[at + i] : (uint32_t)(base + at + i);
        if (!rewritten_put(enc, out, text + at + i, 1, origin)) {
            return false;
        }
    }
    return enc->spans || rewritten_put(enc, out, text + at, n, 0);
}

/* Whether a character, decomposed, begins with a mark: then it is put in order with those before
 * it. */
static bool begins_with_mark(uint32_t cp, uint32_t form)
{
    utf8proc_int32_t parts[MAX_DECOMPOSED];
    decompose_one(cp, form, parts);
    return combining_class((uint32_t)parts[0]) != 0;
}

/* Where nothing is composed, each character and its marks are a stretch of their own, and know
 * where they came from. */
static bool put_apart(struct encoding *enc, struct rewritten *out, uint32_t form, const char *text,
                      size_t at, size_t end, const uint32_t *origins, size_t base)
{
    while (at < end) {
        uint32_t cp;
        size_t next = at + utf8_decode(text + at, end - at, &cp), step;
        while (next < end && (step = utf8_decode(text + next, end - next, &cp)) != 0 &&
               begins_with_mark(cp, form)) {
            next += step;
        }
        if (!put_stretch(enc, out, form, text + at, next - at, origins ? origins + at : NULL,
                         base + at)) {
            return false;
        }
        at = next;
    }
    return true;
}

bool normalise(struct encoding *enc, struct rewritten *out, uint32_t form, const char *text,
               size_t n, const uint32_t *origins, size_t base)
{
    for (size_t at = 0; at < n;) {
        /* What stays, but for its last character, which may compose with what follows. */
        size_t end = at, last = at, step = 0;
        uint32_t cp = 0;
        bool valid = true;
        while (end < n && (uint8_t)text[end] < 0x80) {
            last = end++;
        }
        while (end < n &&
               (!(valid = (step = utf8_decode(text + end, n - end, &cp)) != 0) || is_inert(cp))) {
            last = valid ? end : end + 1; /* nothing composes with an invalid byte */
            end += valid ? step : 1;
        }
        if (end == n) {
            last = n;
        }
        if (last > at && !put_unchanged(enc, out, text, last - at, origins, base, at)) {
            return false;
        }
        if (last == n) {
            return true;
        }
        /* What changes, to the next character that does not. */
        while (end < n && (step = utf8_decode(text + end, n - end, &cp)) != 0 && !is_inert(cp)) {
            end += step;
        }
        bool composes = (form & (CHANGE_NFC | CHANGE_NFKC)) != 0;
        if (composes ? !put_stretch(enc, out, form, text + last, end - last,
                                    origins ? origins + last : NULL, base + last)
                     : !put_apart(enc, out, form, text, last, end, origins, base)) {
            return false;
        }
        at = end;
    }
    return true;
}
