/* special.c: finding the spellings of control and user-defined tokens in text.
 *
 * The spellings are sorted, so that all that begin with the same bytes are neighbours: walking
 * along the text from one position narrows a range of them byte by byte. The first pass only learns
 * where spellings begin and which lengths occur; then one pass per length, longest first, places
 * them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/unicode.h"

struct specials {
    struct special *list; /* sorted by spelling; spellings are distinct and not empty */
    size_t n;
    uint32_t first[257]; /* those that begin with byte b are first[b]..first[b + 1] */
    uint32_t max_len;
};

static int compare_spelling(const void *pa, const void *pb)
{
    const struct special *a = pa, *b = pb;
    int order = memcmp(a->spelling, b->spelling, a->len < b->len ? a->len : b->len);
    if (order == 0) {
        order = (a->len > b->len) - (a->len < b->len);
    }
    return order ? order : (a->id > b->id) - (a->id < b->id);
}

struct specials *specials_new(struct special *list, size_t n)
{
    struct specials *s = mem_zalloc(sizeof *s);
    s->list = list;
    for (size_t i = 0; i < n; i++) {
        if (list[i].len > 0) {
            s->list[s->n++] = list[i];
        }
    }
    qsort(s->list, s->n, sizeof *s->list, compare_spelling);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (kept == 0 || s->list[i].len != s->list[kept - 1].len ||
            memcmp(s->list[i].spelling, s->list[kept - 1].spelling, s->list[i].len) != 0) {
            s->list[kept++] = s->list[i]; /* of equal spellings the lowest id */
        }
    }
    s->n = kept;
    for (size_t i = 0; i < s->n; i++) {
        s->first[(uint8_t)s->list[i].spelling[0] + 1] = (uint32_t)(i + 1);
        if (s->list[i].len > s->max_len) {
            s->max_len = s->list[i].len;
        }
    }
    for (size_t b = 1; b <= 256; b++) {
        if (s->first[b] == 0) {
            s->first[b] = s->first[b - 1];
        }
    }
    return s;
}

void specials_free(struct specials *s)
{
    if (s) {
        free(s->list);
        free(s);
    }
}

/* The range of spellings in lo..hi, all longer than depth, whose byte at depth is c. */
static void narrow(const struct specials *s, size_t depth, uint8_t c, size_t *lo, size_t *hi)
{
    size_t a = *lo, b = *hi;
    while (a < b) {
        size_t mid = a + (b - a) / 2;
        if ((uint8_t)s->list[mid].spelling[depth] < c) {
            a = mid + 1;
        } else {
            b = mid;
        }
    }
    *lo = a;
    b = *hi;
    while (a < b) {
        size_t mid = a + (b - a) / 2;
        if ((uint8_t)s->list[mid].spelling[depth] <= c) {
            a = mid + 1;
        } else {
            b = mid;
        }
    }
    *hi = a;
}

/* The character that ends before text[at], or begins there; UNICODE_MAX, which is none, where there
 * is no valid one. */
static uint32_t char_before(const char *text, size_t at)
{
    size_t start = at;
    uint32_t cp;
    while (start > 0 && at - start < 4) {
        start--;
        if (((uint8_t)text[start] & 0xC0) != 0x80) {
            break;
        }
    }
    bool whole = at > start && utf8_decode(text + start, at - start, &cp) == at - start;
    return whole ? cp : UNICODE_MAX;
}

static uint32_t char_after(const char *text, size_t n, size_t at, size_t *step)
{
    uint32_t cp;
    *step = utf8_decode(text + at, n - at, &cp);
    return *step ? cp : UNICODE_MAX;
}

static bool stands_alone(const char *text, size_t n, size_t at, size_t len)
{
    size_t step;
    return !unicode_is_word(char_before(text, at)) &&
           !unicode_is_word(char_after(text, n, at + len, &step));
}

/* "<tool_response>", "[INST]": a mark by its looks. */
static bool is_tag(const struct special *m)
{
    char first = m->spelling[0], last = m->spelling[m->len - 1];
    return m->len > 2 && ((first == '<' && last == '>') || (first == '[' && last == ']'));
}

static bool allowed(const struct special *m, const char *text, size_t n, size_t at,
                    const uint8_t *trusted)
{
    if (m->attributes & TOKEN_WHOLE_WORD && !stands_alone(text, n, at, m->len)) {
        return false;
    }
    if (trusted == TOKENIZER_ALL_TRUSTED || (!m->needs_trust && (trusted == NULL || !is_tag(m)))) {
        return true;
    }
    return trusted && !memchr(trusted + at, 0, m->len);
}

/* Walks the spellings that match at text[at]. With seen: notes every length there and returns any
 * match. Without: the match of length want. */
static const struct special *match_at(const struct specials *s, const char *text, size_t n,
                                      size_t at, const uint8_t *trusted, uint8_t *seen,
                                      uint32_t want, uint64_t *work)
{
    const struct special *any = NULL;
    uint8_t c = (uint8_t)text[at];
    size_t lo = s->first[c], hi = s->first[c + 1];
    for (size_t depth = 1; lo < hi; depth++, ++*work) {
        if (s->list[lo].len == depth) {
            const struct special *m = &s->list[lo++];
            if (seen && allowed(m, text, n, at, trusted)) {
                seen[depth / 8] |= (uint8_t)(1 << depth % 8);
                any = m;
            } else if (!seen && depth == want) {
                return allowed(m, text, n, at, trusted) ? m : NULL;
            }
        }
        if (at + depth >= n || (!seen && depth >= want)) {
            break;
        }
        narrow(s, depth, (uint8_t)text[at + depth], &lo, &hi);
    }
    return any;
}

/* Grows an array kept under mem_try_alloc's rules. */
static bool grow(void **array, size_t used, size_t *capacity, size_t element_bytes, struct error *e)
{
    if (used < *capacity) {
        return true;
    }
    size_t larger = *capacity ? *capacity * 2 : 64;
    void *moved = mem_try_alloc(larger * element_bytes);
    if (!moved) {
        return error_set(e, ERROR_MEMORY, "no memory for the special tokens of a text");
    }
    if (used) {
        memcpy(moved, *array, used * element_bytes);
    }
    free(*array);
    *array = moved;
    *capacity = larger;
    return true;
}

static int compare_match(const void *pa, const void *pb)
{
    const struct special_match *a = pa, *b = pb;
    return (a->at > b->at) - (a->at < b->at);
}

struct placing {
    uint32_t *starts; /* where any spelling begins */
    size_t n_starts, starts_capacity;
    uint8_t *covered; /* one bit per byte of text */
    struct special_match *matches;
    size_t n_matches, matches_capacity;
};

static bool is_covered(const struct placing *p, size_t at)
{
    return p->covered[at / 8] >> at % 8 & 1;
}

/* Places the matches of one length; false without memory. Longer ones are there already, so a match
 * overlaps one of them exactly when its first or its last byte does. */
static bool place_length(const struct specials *s, struct placing *p, const char *text, size_t n,
                         const uint8_t *trusted, uint32_t len, uint64_t *work, struct error *e)
{
    for (size_t i = 0; i < p->n_starts; i++) {
        size_t at = p->starts[i];
        if (at + len > n || is_covered(p, at) || is_covered(p, at + len - 1)) {
            continue;
        }
        const struct special *m = match_at(s, text, n, at, trusted, NULL, len, work);
        if (!m) {
            continue;
        }
        void *array = p->matches;
        if (!grow(&array, p->n_matches, &p->matches_capacity, sizeof *p->matches, e)) {
            return false;
        }
        p->matches = array;
        p->matches[p->n_matches++] =
            (struct special_match){(uint32_t)at, len, m->id, m->attributes};
        for (size_t j = at; j < at + len; j++) {
            p->covered[j / 8] |= (uint8_t)(1 << j % 8);
        }
    }
    return true;
}

/* White space next to a match that takes it, up to the neighbouring matches, is part of it. */
static void take_spaces(struct special_match *matches, size_t count, const char *text, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        struct special_match *m = &matches[i];
        size_t left = i ? matches[i - 1].at + matches[i - 1].len : 0;
        size_t right = i + 1 < count ? matches[i + 1].at : n, step;
        while (m->attributes & TOKEN_STRIPS_LEFT && m->at > left &&
               unicode_is_space(char_before(text, m->at))) {
            do {
                m->at--;
                m->len++;
            } while (((uint8_t)text[m->at] & 0xC0) == 0x80);
        }
        while (m->attributes & TOKEN_STRIPS_RIGHT && m->at + m->len < right &&
               unicode_is_space(char_after(text, right, m->at + m->len, &step))) {
            m->len += (uint32_t)step;
        }
    }
}

bool specials_find(const struct specials *s, const char *text, size_t n, const uint8_t *trusted,
                   struct special_match **matches, size_t *n_matches, uint64_t *work,
                   struct error *e)
{
    uint8_t seen[TOKENIZER_MAX_SPELLING_BYTES / 8 + 1];
    struct placing p = {0};
    bool ok = true;
    memset(seen, 0, s->max_len / 8 + 1);
    *work += n;
    for (size_t at = 0; ok && at < n; at++) {
        uint8_t c = (uint8_t)text[at];
        if (s->first[c] == s->first[c + 1] || !match_at(s, text, n, at, trusted, seen, 0, work)) {
            continue;
        }
        void *array = p.starts;
        ok = grow(&array, p.n_starts, &p.starts_capacity, sizeof *p.starts, e);
        p.starts = array;
        if (ok) {
            p.starts[p.n_starts++] = (uint32_t)at;
        }
    }
    if (ok && p.n_starts) {
        p.covered = mem_try_alloc(n / 8 + 1);
        ok = p.covered || error_set(e, ERROR_MEMORY, "no memory for the special tokens of a text");
        for (uint32_t len = s->max_len; ok && len > 0; len--) {
            if (seen[len / 8] >> len % 8 & 1) {
                ok = place_length(s, &p, text, n, trusted, len, work, e);
            }
        }
        if (ok && p.n_matches) {
            qsort(p.matches, p.n_matches, sizeof *p.matches, compare_match);
            take_spaces(p.matches, p.n_matches, text, n);
        }
    }
    free(p.starts);
    free(p.covered);
    if (!ok) {
        free(p.matches);
        return false;
    }
    *matches = p.matches;
    *n_matches = p.n_matches;
    return true;
}
