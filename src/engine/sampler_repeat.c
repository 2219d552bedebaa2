#include <stdlib.h>

#include "engine/sampler_parts.h"

static bool in_vocabulary(const struct sampler_room *r, int32_t id)
{
    return id >= 0 && (size_t)id < r->n_vocab;
}

/* The last tokens that count: at most last_n, or all. */
static const int32_t *window(const int32_t *recent, size_t n_recent, int32_t last_n, size_t *n)
{
    *n = last_n != SAMPLING_ALL && (size_t)last_n < n_recent ? (size_t)last_n : n_recent;
    return recent ? recent + (n_recent - *n) : recent;
}

/* Gives every token that is left and has a count its new logit. recent: where those of a dense set
 * are found, so that the vocabulary need not be looked through. Counts are zeros afterwards. */
typedef float new_logit_fn(const struct sampler *s, int32_t id, float logit, uint32_t count);
static void change_counted(struct sampler *s, struct left *l, const int32_t *recent, size_t n,
                           new_logit_fn *change)
{
    struct sampler_room *r = s->room;
    for (size_t i = 0; !l->dense && i < l->n; i++) {
        struct entry *e = &r->list[i];
        if (r->counts[e->id]) {
            e->logit = change(s, e->id, e->logit, r->counts[e->id]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        int32_t id = recent[i];
        if (!in_vocabulary(r, id) || !r->counts[id]) {
            continue;
        }
        if (l->dense && r->work[id] >= -FLT_MAX) {
            left_set(l, (size_t)id, change(s, id, r->work[id], r->counts[id]));
        }
        r->counts[id] = 0;
    }
    if (l->dense) {
        left_refresh(l);
    } else {
        left_shorten(l, l->n);
    }
}

/* What is left stays above -inf: a penalty never bans. */
static float bounded(double x)
{
    return x > (double)FLT_MAX ? FLT_MAX : x < (double)-FLT_MAX ? -FLT_MAX : (float)x;
}

static float penalised(const struct sampler *s, int32_t id, float logit, uint32_t count)
{
    (void)id;
    double x = (double)logit, repeat = (double)s->how.repeat_penalty;
    x = x > 0 ? x / repeat : x * repeat;
    return bounded(x - (double)count * (double)s->how.frequency_penalty -
                   (double)s->how.presence_penalty);
}

void repeat_penalties(struct sampler *s, struct left *l, const int32_t *recent, size_t n_recent)
{
    const struct sampling *how = &s->how;
    size_t n;
    recent = window(recent, n_recent, how->repeat_last_n, &n);
    if (n == 0 ||
        (how->repeat_penalty == 1 && how->presence_penalty == 0 && how->frequency_penalty == 0)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (in_vocabulary(s->room, recent[i])) {
            s->room->counts[recent[i]]++;
        }
    }
    change_counted(s, l, recent, n, penalised);
}

/* ---- DRY ------------------------------------------------------------------------------------- */

/* z[k] for k in [1, n): how many tokens that end k before the last are equal to the last ones, by
 * the Z algorithm (Gusfield, 1997) on the reversed text. Returns the longest. */
static uint32_t match_suffixes(const int32_t *text, size_t n, uint32_t *z)
{
    const int32_t *last = text + n - 1;
    size_t begin = 0, end = 0; /* the match that reaches farthest back */
    uint32_t longest = 0;
    for (size_t k = 1; k < n; k++) {
        size_t m = 0;
        if (k < end) {
            m = z[k - begin] < end - k ? z[k - begin] : end - k;
        }
        while (k + m < n && *(last - m) == *(last - k - m)) {
            m++;
        }
        if (k + m > end) {
            begin = k;
            end = k + m;
        }
        z[k] = (uint32_t)m;
        longest = z[k] > longest ? z[k] : longest;
    }
    return longest;
}

static void append_text(const struct sampler *s, int32_t id, struct buf *out)
{
    if (in_vocabulary(s->room, id)) {
        tokenizer_append_piece(s->tokenizer, id, true, out);
    }
}

/* Where the last of the breakers in a text ends; 0: there is none. */
static size_t last_breaker_end(const struct sampling *how, const struct buf *text)
{
    size_t end = 0;
    for (size_t i = 0; i < how->n_dry_breakers; i++) {
        const char *breaker = how->dry_breakers[i], *at = text->data;
        size_t n = strlen(breaker), left = text->len;
        while (left >= n) {
            const char *found = memmem(at, left, breaker, n);
            if (!found) {
                break;
            }
            size_t here = (size_t)(found - text->data) + n;
            end = here > end ? here : end;
            at = found + 1;
            left = text->len - (size_t)(at - text->data);
        }
    }
    return end;
}

/* How many of the last `most` tokens stand wholly behind the last breaker. Breakers are looked for
 * in the text itself, so that it does not matter how it was cut into tokens. */
static uint32_t tokens_behind_breakers(const struct sampler *s, const int32_t *text, size_t n,
                                       uint32_t most)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->how.n_dry_breakers; i++) {
        size_t bytes = strlen(s->how.dry_breakers[i]);
        longest = bytes > longest ? bytes : longest;
    }
    if (!s->tokenizer || longest == 0) {
        return most;
    }
    /* A breaker that ends in the last tokens may begin before them. */
    struct buf *b = &s->room->text;
    size_t from = n - most, bytes_before = 0;
    while (from > 0 && bytes_before + 1 < longest) {
        buf_clear(b);
        append_text(s, text[--from], b);
        bytes_before += b->len;
    }
    buf_clear(b);
    for (size_t i = from; i < n; i++) {
        append_text(s, text[i], b);
    }
    if (!b->data || b->len == 0) {
        return most;
    }
    size_t end = last_breaker_end(&s->how, b);
    buf_clear(b);
    size_t behind = n;
    for (size_t i = from; i < n; i++) {
        size_t begin = b->len;
        append_text(s, text[i], b);
        if (begin >= end) {
            behind = i;
            break;
        }
    }
    size_t tokens = n - behind;
    return tokens < most ? (uint32_t)tokens : most;
}

static bool is_breaker(const struct sampler *s, int32_t id)
{
    struct buf *b = &s->room->text;
    buf_clear(b);
    if (s->tokenizer) {
        append_text(s, id, b);
    }
    return b->data && b->len && last_breaker_end(&s->how, b) > 0;
}

/* count: the length of the repetition that the token would continue, and 1. */
static float dry_penalised(const struct sampler *s, int32_t id, float logit, uint32_t count)
{
    if (is_breaker(s, id)) {
        return logit;
    }
    double over = (double)(count - 1) - (double)s->how.dry_allowed_length;
    double penalty = (double)s->how.dry_multiplier * pow((double)s->how.dry_base, over);
    return bounded((double)logit - (penalty < (double)FLT_MAX ? penalty : (double)FLT_MAX));
}

void repeat_dry(struct sampler *s, struct left *l, const int32_t *recent, size_t n_recent)
{
    const struct sampling *how = &s->how;
    struct sampler_room *r = s->room;
    size_t n;
    const int32_t *text = window(recent, n_recent, how->dry_last_n, &n);
    if (how->dry_multiplier <= 0 || how->dry_base < 1 || n < 2 || n <= how->dry_allowed_length ||
        n > UINT32_MAX) {
        return;
    }
    if (n > r->n_repeats) {
        r->n_repeats = n + n / 2;
        r->repeats = mem_resize(r->repeats, r->n_repeats * sizeof *r->repeats);
    }
    uint32_t longest = match_suffixes(text, n, r->repeats);
    if (longest < how->dry_allowed_length) {
        return;
    }
    uint32_t limit = longest ? tokens_behind_breakers(s, text, n, longest) : 0;
    if (limit < how->dry_allowed_length) {
        return;
    }
    for (size_t k = 1; k < n; k++) {
        uint32_t length = r->repeats[k] < limit ? r->repeats[k] : limit;
        int32_t next = text[n - k]; /* what came after the match that ends k before the last */
        if (length >= how->dry_allowed_length && in_vocabulary(r, next) &&
            r->counts[next] < length + 1) {
            r->counts[next] = length + 1;
        }
    }
    change_counted(s, l, text, n, dry_penalised);
}
