/* Stop strings and characters may be spread over tokens in any way: the outcome depends on the
 * bytes alone, not on how they were cut. */
#include "engine/internal.h"

#include <string.h>

#include "base/utf8.h"

/* More than any vocabulary's longest token and any stop string that makes sense. */
enum { MAX_PENDING_BYTES = 1 << 28 };

void stream_init(struct stream *s, const char *const *stop, size_t n_stop, generation_text_fn *text,
                 void *context)
{
    *s = (struct stream){.stop = stop, .n_stop = n_stop, .text = text, .context = context};
    buf_init(&s->pending, MAX_PENDING_BYTES);
    buf_init(&s->ready, MAX_PENDING_BYTES);
}

void stream_fork(const struct stream *from, struct stream *to, const char *const *stop,
                 generation_text_fn *text, void *context)
{
    stream_init(to, stop, from->n_stop, text, context);
    if (from->pending.len) {
        buf_append(&to->pending, from->pending.data, from->pending.len);
    }
}

void stream_free(struct stream *s)
{
    buf_free(&s->pending);
    buf_free(&s->ready);
}

/* The stop string that is complete first; among those that end together, the longest. */
static bool find_stop(struct stream *s, size_t *start)
{
    size_t best_end = SIZE_MAX;
    *start = 0;
    for (size_t i = 0; i < s->n_stop; i++) {
        size_t n = strlen(s->stop[i]);
        const char *at = n && s->pending.len >= n
                             ? memmem(s->pending.data, s->pending.len, s->stop[i], n)
                             : NULL;
        if (at) {
            size_t begin = (size_t)(at - s->pending.data);
            if (begin + n < best_end || (begin + n == best_end && begin < *start)) {
                best_end = begin + n;
                *start = begin;
                s->stopped_by = s->stop[i];
            }
        }
    }
    return best_end != SIZE_MAX;
}

/* Length of the longest end of the pending bytes with which a stop string begins. */
static size_t stop_beginning(const struct stream *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n_stop; i++) {
        size_t n = strlen(s->stop[i]);
        size_t most = n == 0 ? 0 : n - 1 < s->pending.len ? n - 1 : s->pending.len;
        for (size_t k = most; k > longest; k--) {
            if (memcmp(s->pending.data + s->pending.len - k, s->stop[i], k) == 0) {
                longest = k;
            }
        }
    }
    return longest;
}

static bool hand_out(struct stream *s, size_t n)
{
    if (n == 0 || s->cancelled) {
        return !s->cancelled;
    }
    buf_clear(&s->ready);
    utf8_append_repaired(&s->ready, s->pending.data, n);
    if (s->text && !s->text(s->context, s->ready.data, s->ready.len)) {
        s->cancelled = true;
    }
    memmove(s->pending.data, s->pending.data + n, s->pending.len - n + 1);
    s->pending.len -= n;
    return !s->cancelled;
}

bool stream_push(struct stream *s, const char *bytes, size_t n)
{
    if (s->stopped || s->cancelled) {
        return false;
    }
    if (n == 0 || !buf_append(&s->pending, bytes, n)) {
        return true;
    }
    size_t start;
    if (find_stop(s, &start)) {
        s->stopped = true;
        hand_out(s, start);
        return false;
    }
    size_t sure = s->pending.len - stop_beginning(s);
    return hand_out(s, sure - utf8_incomplete_tail(s->pending.data, sure));
}

void stream_finish(struct stream *s)
{
    if (!s->stopped) {
        hand_out(s, s->pending.len);
    }
}
