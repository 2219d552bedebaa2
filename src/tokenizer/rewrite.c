/* rewrite.c: what a vocabulary does to text before it is cut: BERT's cleaning, normalisation forms,
 * SentencePiece's compiled rules, spaces and their marks. Each is a step from one buffer to the
 * other, and is left out where it would change nothing.
 */
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/unicode.h"

enum {
    /* What a text may grow to. */
    MAX_REWRITTEN_BYTES = 4 * TOKENIZER_MAX_TEXT_BYTES - 1,
    MAX_RULE_BYTES = 256, /* the longest text that one rule of a charsmap replaces */
    FORMS = CHANGE_NFC | CHANGE_NFD | CHANGE_NFKC | CHANGE_NFKD,
};

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* ---- buffers ---- */

static bool reserve(struct encoding *enc, struct rewritten *out, size_t more)
{
    if (more <= out->capacity - out->n) {
        return true;
    }
    if (more > MAX_REWRITTEN_BYTES - out->n) {
        return error_set(enc->e, ERROR_LIMIT,
                         "a text becomes longer than %d bytes when the vocabulary normalises it; "
                         "split it",
                         MAX_REWRITTEN_BYTES);
    }
    size_t capacity = out->n + more + (out->n + more) / 2 + 64;
    char *text = mem_try_alloc(capacity);
    uint32_t *origins = enc->spans ? mem_try_alloc((capacity + 1) * sizeof *origins) : NULL;
    if (!text || (enc->spans && !origins)) {
        free(text);
        free(origins);
        return error_set(enc->e, ERROR_MEMORY, "no memory for tokenizing %zu bytes of text",
                         capacity);
    }
    if (out->n) {
        memcpy(text, out->text, out->n);
    }
    if (out->n && origins) {
        memcpy(origins, out->origins, out->n * sizeof *origins);
    }
    free(out->text);
    free(out->origins);
    out->text = text;
    out->origins = origins;
    out->capacity = capacity;
    return true;
}

bool rewritten_put(struct encoding *enc, struct rewritten *out, const char *bytes, size_t n,
                   uint32_t origin)
{
    if (n == 0) {
        return true;
    }
    if (!reserve(enc, out, n)) {
        return false;
    }
    memcpy(out->text + out->n, bytes, n);
    for (size_t i = 0; enc->spans && i < n; i++) {
        out->origins[out->n + i] = origin;
    }
    out->n += n;
    return true;
}

bool rewritten_put_char(struct encoding *enc, struct rewritten *out, uint32_t cp, uint32_t origin)
{
    char bytes[4];
    return rewritten_put(enc, out, bytes, utf8_put(cp, bytes), origin);
}

/* The text of one step. */
struct source {
    const char *text;
    size_t n;
    const uint32_t *origins;
    size_t base;
};

static uint32_t origin_of(const struct source *s, size_t at)
{
    return s->origins ? s->origins[at] : (uint32_t)(s->base + at);
}

static bool put_from(struct encoding *enc, struct rewritten *out, const struct source *s,
                     size_t from, size_t n)
{
    if (n == 0) {
        return true;
    }
    if (!reserve(enc, out, n)) {
        return false;
    }
    memcpy(out->text + out->n, s->text + from, n);
    for (size_t i = 0; enc->spans && i < n; i++) {
        out->origins[out->n + i] = origin_of(s, from + i);
    }
    out->n += n;
    return true;
}

/* A byte of ASCII, where there is room. */
static inline void put_ascii(const struct encoding *enc, struct rewritten *out,
                             const struct source *s, size_t at, char byte)
{
    if (enc->spans) {
        out->origins[out->n] = origin_of(s, at);
    }
    out->text[out->n++] = byte;
}

static struct rewritten *begin_step(struct encoding *enc, const struct source *s)
{
    struct rewritten *out = &enc->rewritten[s->text == enc->rewritten[0].text];
    out->n = 0;
    return out;
}

static bool end_step(struct encoding *enc, struct rewritten *out, struct source *s)
{
    if (!reserve(enc, out, 1)) { /* so that there is a text, and room for the origin of its end */
        return false;
    }
    if (enc->spans) {
        out->origins[out->n] = origin_of(s, s->n);
    }
    *s = (struct source){out->text, out->n, out->origins, s->base};
    return true;
}

static bool has_byte_from(const struct source *s, uint8_t least)
{
    for (size_t i = 0; i < s->n; i++) {
        if ((uint8_t)s->text[i] >= least) {
            return true;
        }
    }
    return false;
}

/* ---- BERT's changes ---- */

/* What the tokenizers library takes for control characters and nonspacing marks: its tables are
 * those of Unicode 8, so later characters, and those not assigned yet, are neither. */
static bool is_control(uint32_t cp)
{
    const struct unicode_class_row *row = &unicode_classes[unicode_class(cp)];
    return cp != '\t' && cp != '\n' && cp != '\r' && row->category[0] == 'C' && !row->late &&
           row->category[1] != 'n';
}

static bool is_nonspacing(uint32_t cp)
{
    const struct unicode_class_row *row = &unicode_classes[unicode_class(cp)];
    bool mark = memcmp(row->category, "Mn", 2) == 0 && !row->late;
    /* Some were of other categories then. */
    return (mark && cp != 0x1885 && cp != 0x1886 && cp != 0xA9BD && cp != 0x111C9) ||
           cp == 0x1734 || cp == 0x1171E;
}

static bool is_cjk(uint32_t cp)
{
    return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) ||
           (cp >= 0x20000 && cp <= 0x2A6DF) || (cp >= 0x2A700 && cp <= 0x2B73F) ||
           (cp >= 0x2B740 && cp <= 0x2B81F) || (cp >= 0x2B920 && cp <= 0x2CEAF) ||
           (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

static bool clean_char(struct encoding *enc, struct rewritten *out, const struct source *s,
                       size_t at, size_t step, uint32_t cp)
{
    uint32_t changes = enc->t->changes, origin = origin_of(s, at);
    if (changes & CHANGE_CLEAN) {
        if (cp == 0 || cp == 0xFFFD || is_control(cp)) {
            return true;
        }
        if (unicode_is_space(cp)) {
            return rewritten_put(enc, out, " ", 1, origin);
        }
    }
    if (changes & CHANGE_SPLIT_CJK && is_cjk(cp)) {
        return rewritten_put(enc, out, " ", 1, origin) && put_from(enc, out, s, at, step) &&
               rewritten_put(enc, out, " ", 1, origin_of(s, at + step));
    }
    return put_from(enc, out, s, at, step);
}

/* The characters of ASCII from text[at] on; returns where others begin. */
static size_t clean_ascii(struct encoding *enc, struct rewritten *out, const struct source *s,
                          size_t at)
{
    bool cleans = enc->t->changes & CHANGE_CLEAN;
    for (; at < s->n && (uint8_t)s->text[at] < 0x80; at++) {
        char c = s->text[at];
        if (!cleans || (c >= ' ' && c < 0x7F)) {
            put_ascii(enc, out, s, at, c);
        } else if (c == '\t' || c == '\n' || c == '\r') {
            put_ascii(enc, out, s, at, ' ');
        }
    }
    return at;
}

static bool clean(struct encoding *enc, struct source *s)
{
    struct rewritten *out = begin_step(enc, s);
    for (size_t at = 0; at < s->n;) {
        uint32_t cp;
        if (!reserve(enc, out, s->n - at)) {
            return false;
        }
        at = clean_ascii(enc, out, s, at);
        if (at == s->n) {
            break;
        }
        size_t step = utf8_decode(s->text + at, s->n - at, &cp);
        cp = step ? cp : 0xFFFD;
        step = step ? step : 1;
        if (!clean_char(enc, out, s, at, step, cp)) {
            return false;
        }
        at += step;
    }
    return end_step(enc, out, s);
}

static size_t lower_ascii(struct encoding *enc, struct rewritten *out, const struct source *s,
                          size_t at)
{
    bool lowers = enc->t->changes & CHANGE_LOWERCASE;
    for (; at < s->n && (uint8_t)s->text[at] < 0x80; at++) {
        char c = s->text[at];
        put_ascii(enc, out, s, at, (char)(lowers && c >= 'A' && c <= 'Z' ? c | 0x20 : c));
    }
    return at;
}

static bool change_case(struct encoding *enc, struct source *s)
{
    struct rewritten *out = begin_step(enc, s);
    uint32_t changes = enc->t->changes;
    for (size_t at = 0; at < s->n;) {
        if (!reserve(enc, out, s->n - at)) {
            return false;
        }
        at = lower_ascii(enc, out, s, at);
        if (at == s->n) {
            break;
        }
        uint32_t cp, origin = origin_of(s, at);
        size_t step = utf8_decode(s->text + at, s->n - at, &cp);
        bool ok = true;
        if (!step) {
            ok = put_from(enc, out, s, at, step = 1);
        } else if (changes & CHANGE_STRIP_ACCENTS && is_nonspacing(cp)) {
            /* gone */
        } else if (changes & CHANGE_LOWERCASE && cp == 0x130) { /* the one with two */
            ok = rewritten_put(enc, out, "i\xCC\x87", 3, origin);
        } else if (changes & CHANGE_LOWERCASE) {
            ok = rewritten_put_char(enc, out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp),
                                    origin);
        } else {
            ok = put_from(enc, out, s, at, step);
        }
        if (!ok) {
            return false;
        }
        at += step;
    }
    return end_step(enc, out, s);
}

static bool change_form(struct encoding *enc, struct source *s, uint32_t form)
{
    struct rewritten *out = begin_step(enc, s);
    return normalise(enc, out, form, s->text, s->n, s->origins, s->base) && end_step(enc, out, s);
}

/* ---- SentencePiece's rules ----
 *
 * u32 size of the trie in bytes; the trie; the replacements, each ending with a NUL. The trie is a
 * double array of u32 (Yata's Darts-clone): bits 0..7 the byte that leads to a unit (and bit 31
 * clear), bit 8 whether a key ends there, bit 9 whether the offset is in units of 256, bits 10..30
 * the offset; a unit with bit 31 is a value.
 */

static uint32_t unit_at(const struct tokenizer *t, size_t i)
{
    const uint8_t *p = t->charsmap + 4 + i * 4;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t trie_bytes(const uint8_t *charsmap)
{
    return (uint32_t)charsmap[0] | (uint32_t)charsmap[1] << 8 | (uint32_t)charsmap[2] << 16 |
           (uint32_t)charsmap[3] << 24;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The longest rule for text[0..n): its length, and what replaces it. 0: there is none. Damaged
 * tables have fewer rules. */
static size_t find_rule(const struct encoding *enc, const char *text, size_t n,
                        const char **replacement)
{
    const struct tokenizer *t = enc->t;
    size_t n_units = trie_bytes(t->charsmap) / 4, longest = 0;
    size_t blob = 4 + n_units * 4, at = offset_of(unit_at(t, 0));
    for (size_t i = 0; i < n && i < MAX_RULE_BYTES && text[i]; i++) {
        at ^= (uint8_t)text[i];
        uint32_t unit = at < n_units ? unit_at(t, at) : 0;
        if ((unit & 0x800000FFu) != (uint8_t)text[i]) {
            break;
        }
        at ^= offset_of(unit);
        uint32_t value = at < n_units ? unit_at(t, at) & 0x7FFFFFFFu : UINT32_MAX;
        if (unit >> 8 & 1 && value < t->charsmap_bytes - blob) {
            longest = i + 1;
            *replacement = (const char *)t->charsmap + blob + value;
        }
    }
    return longest;
}

static bool apply_rules(struct encoding *enc, struct source *s)
{
    struct rewritten *out = begin_step(enc, s);
    for (size_t at = 0; at < s->n;) {
        const char *replacement = NULL;
        uint32_t cp;
        size_t step = find_rule(enc, s->text + at, s->n - at, &replacement);
        bool ok;
        enc->work++;
        if (step) {
            ok = rewritten_put(enc, out, replacement, strlen(replacement), origin_of(s, at));
        } else if ((step = utf8_decode(s->text + at, s->n - at, &cp)) != 0) {
            ok = put_from(enc, out, s, at, step);
        } else {
            step = 1;
            ok = rewritten_put(enc, out, REPLACEMENT, 3, origin_of(s, at));
        }
        if (!ok) {
            return false;
        }
        at += step;
    }
    return end_step(enc, out, s);
}

static bool all_spaces(struct encoding *enc, struct source *s)
{
    struct rewritten *out = begin_step(enc, s);
    for (size_t at = 0; at < s->n;) {
        uint32_t cp;
        size_t step = utf8_decode(s->text + at, s->n - at, &cp);
        bool space = step && unicode_is_space(cp);
        step = step ? step : 1;
        if (!(space ? rewritten_put(enc, out, " ", 1, origin_of(s, at))
                    : put_from(enc, out, s, at, step))) {
            return false;
        }
        at += step;
    }
    return end_step(enc, out, s);
}

/* ---- spaces ---- */

static bool has_mark(const struct source *s, size_t at, size_t to)
{
    return to - at >= 3 && memcmp(s->text + at, WORD_START, 3) == 0;
}

/* Spaces become marks; runs of them one, where the vocabulary says so; a mark in front (or behind)
 * of the text. */
static bool mark_spaces(struct encoding *enc, struct source *s)
{
    const struct tokenizer *t = enc->t;
    struct rewritten *out = begin_step(enc, s);
    size_t from = 0, to = s->n;
    while (t->remove_extra_whitespaces && from < to && s->text[from] == ' ') {
        from++;
    }
    while (t->remove_extra_whitespaces && to > from && s->text[to - 1] == ' ') {
        to--;
    }
    /* The sentencepiece library takes marks for spaces here. */
    while (t->remove_extra_whitespaces && !(t->changes & CHANGE_SPACES) && to > from &&
           (s->text[to - 1] == ' ' || (to - from >= 3 && has_mark(s, to - 3, to)))) {
        to -= s->text[to - 1] == ' ' ? 1 : 3;
    }
    bool wants_mark =
        t->add_space_prefix && from < to && (enc->first || !t->space_prefix_first_only) &&
        !(t->space_prefix_unless_space && (s->text[from] == ' ' || has_mark(s, from, to)));
    /* Where text is cut into words first, a mark is put in front of each that has none. */
    bool spares_marks = t->space_prefix_unless_space && t->changes & CHANGE_SPACES;
    if (wants_mark && !t->whitespace_suffix &&
        !rewritten_put(enc, out, WORD_START, 3, origin_of(s, from))) {
        return false;
    }
    for (size_t at = from; at < to;) {
        const char *space = memchr(s->text + at, ' ', to - at);
        size_t end = space ? (size_t)(space - s->text) : to;
        size_t next = end + (space != NULL);
        while (t->remove_extra_whitespaces && next < to && s->text[next] == ' ') {
            next++;
        }
        bool mark = space && !(spares_marks && has_mark(s, next, to));
        if (!put_from(enc, out, s, at, end - at) ||
            (mark && !rewritten_put(enc, out, WORD_START, 3, origin_of(s, end)))) {
            return false;
        }
        at = next;
    }
    if (wants_mark && t->whitespace_suffix &&
        !rewritten_put(enc, out, WORD_START, 3, origin_of(s, to))) {
        return false;
    }
    return end_step(enc, out, s);
}

/* Byte-level vocabularies may want a plain space in front. */
static bool put_space_in_front(struct encoding *enc, struct source *s)
{
    struct rewritten *out = begin_step(enc, s);
    return rewritten_put(enc, out, " ", 1, origin_of(s, 0)) && put_from(enc, out, s, 0, s->n) &&
           end_step(enc, out, s);
}

/* ---- together ---- */

bool rewrite_check(const struct tokenizer_spec *spec, struct error *e)
{
    if (!spec->charsmap) {
        return true;
    }
    const uint8_t *map = spec->charsmap;
    size_t n = spec->charsmap_bytes;
    if (n > TOKENIZER_MAX_CHARSMAP_BYTES) {
        return error_set(e, ERROR_LIMIT,
                         "the normalisation rules (tokenizer.ggml.precompiled_charsmap) have %zu "
                         "bytes; at most %d are allowed",
                         n, TOKENIZER_MAX_CHARSMAP_BYTES);
    }
    bool whole = n > 8 && trie_bytes(map) >= 4 && trie_bytes(map) % 4 == 0 &&
                 trie_bytes(map) < n - 4 && map[n - 1] == 0;
    return whole || error_set(e, ERROR_INPUT,
                              "the normalisation rules (tokenizer.ggml.precompiled_charsmap) are "
                              "damaged: their table does not lie within them, or their last text "
                              "has no end");
}

static bool change_text(struct encoding *enc, struct source *s)
{
    const struct tokenizer *t = enc->t;
    uint32_t changes = t->changes, form = changes & FORMS;
    if (changes & CHANGE_STRIP_ACCENTS && !form) {
        form = CHANGE_NFD;
    }
    if (changes & (CHANGE_CLEAN | CHANGE_SPLIT_CJK) && !clean(enc, s)) {
        return false;
    }
    /* Below U+0300, whose first byte is 0xCC, nothing is composed. */
    if (form && has_byte_from(s, form == CHANGE_NFC ? 0xCC : 0x80) && !change_form(enc, s, form)) {
        return false;
    }
    return !(changes & (CHANGE_STRIP_ACCENTS | CHANGE_LOWERCASE)) || change_case(enc, s);
}

bool rewrite_text(struct encoding *enc, const char *text, size_t n, size_t *len)
{
    const struct tokenizer *t = enc->t;
    struct source s = {text, n, NULL, enc->base};
    bool ok = n == 0 || change_text(enc, &s);
    if (ok && t->charsmap && s.n) {
        ok = apply_rules(enc, &s);
    }
    if (ok && t->changes & CHANGE_SPACES) {
        ok = all_spaces(enc, &s);
    }
    if (ok && t->family->marks_spaces) {
        ok = mark_spaces(enc, &s);
    } else if (ok && t->add_space_prefix && s.n && s.text[0] != ' ' &&
               (enc->first || !t->space_prefix_first_only)) {
        ok = put_space_in_front(enc, &s);
    }
    enc->text = s.text;
    enc->origins = s.origins;
    *len = s.n;
    return ok;
}
