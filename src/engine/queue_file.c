/* A queue's prefixes and a session's timeline to a file and back. */
#include <string.h>

#include "engine/queue_internal.h"
#include "engine/saved.h"

struct source {
    struct model_pages *storage;
    const uint32_t *table;
    uint32_t n_full; /* of whole pages */
    uint32_t spare;  /* what stands in for the page behind them */
};

static const void *source_page(void *context, uint32_t i)
{
    const struct source *s = context;
    return model_page_data(s->storage, i < s->n_full ? s->table[i] : s->spare);
}

static bool check_keeps(const struct queue *q, struct error *e)
{
    return q->has_pages ||
           error_set(e, ERROR_UNSUPPORTED,
                     "the model sees a text at once and keeps nothing of it: there is nothing to "
                     "save or restore");
}

bool queue_save(struct queue *q, uint64_t cache_key, const int32_t *tokens, size_t n,
                const char *path, uint32_t *n_saved, struct error *e)
{
    struct page_table t;
    struct page_copy copy;
    if (!check_keeps(q, e)) {
        return false;
    }
    uint32_t wanted = n < q->capacity ? (uint32_t)n : q->capacity;
    page_table_init(&t, pages_for(q->pages, q->capacity));
    uint32_t n_found = pages_take(q->pages, &t, cache_key, tokens, wanted, &copy);
    uint32_t rest = n_found % MODEL_PAGE_POSITIONS;
    struct source from = {.storage = q->storage,
                          .table = t.pages,
                          .n_full = n_found / MODEL_PAGE_POSITIONS,
                          .spare = q->o.n_pages};
    if (copy.n_positions) {
        model_page_copy(q->storage, copy.to, copy.from, copy.n_positions);
    }
    if (rest) {
        /* What else was written there is somebody else's text. */
        model_page_release(q->storage, from.spare);
        model_page_copy(q->storage, from.spare, t.pages[from.n_full], rest);
    }
    struct saved_timeline timeline = {
        .tokens = tokens, .n_tokens = n_found, .n_given = n_found, .cache_key = cache_key};
    bool ok = n_found > 0 ? saved_write(q->engine, &timeline, source_page, &from, path, e)
                          : error_set(e, ERROR_INPUT,
                                      "nothing of these tokens is in memory: there is nothing to "
                                      "save to %s",
                                      path);
    model_page_release(q->storage, from.spare);
    pages_release(q->pages, &t);
    page_table_free(&t);
    if (ok && n_saved) {
        *n_saved = n_found;
    }
    return ok;
}

static bool restore_pages(struct queue *q, const struct saved *file, uint32_t n, const char *path,
                          struct error *e)
{
    const struct saved_timeline *timeline = saved_timeline(file);
    struct page_table t;
    struct page_copy copy;
    page_table_init(&t, pages_for(q->pages, q->capacity));
    uint32_t n_there = pages_take(q->pages, &t, timeline->cache_key, timeline->tokens, n, &copy);
    bool ok = pages_grow(q->pages, &t, n);
    if (ok) {
        /* Where a part of a page was there, the file's bits are the same. */
        for (uint32_t i = n_there / MODEL_PAGE_POSITIONS; n_there < n && i < t.n; i++) {
            memcpy(model_page_data(q->storage, t.pages[i]), saved_page(file, i),
                   saved_page_bytes(file));
        }
        pages_publish(q->pages, &t, timeline->cache_key, timeline->tokens, n);
    } else {
        error_set(e, ERROR_LIMIT, "%s needs %u pages of keys and values, and %u can be had now",
                  path, pages_for(q->pages, n), pages_available(q->pages) + t.n);
    }
    pages_release(q->pages, &t);
    page_table_free(&t);
    return ok;
}

bool queue_restore(struct queue *q, uint64_t cache_key, const char *path, uint32_t *n_restored,
                   struct error *e)
{
    struct saved *file = check_keeps(q, e) ? saved_open(q->engine, cache_key, path, e) : NULL;
    if (!file) {
        return false;
    }
    const struct saved_timeline *t = saved_timeline(file);
    uint32_t n = q->phases_differ ? t->n_given : t->n_tokens;
    bool ok = n <= q->capacity
                  ? restore_pages(q, file, n, path, e)
                  : error_set(e, ERROR_LIMIT,
                              "%s has %u tokens and the context holds %u: choose a higher "
                              "--context-size",
                              path, n, q->capacity);
    if (ok && n_restored) {
        *n_restored = n;
    }
    saved_close(file);
    return ok;
}

void queue_trim(struct queue *q)
{
    pages_evict(q->pages, UINT32_MAX);
    for (uint32_t i = 0; i < q->o.n_pages; i++) {
        if (pages_holders(q->pages, i) == 0) {
            model_page_release(q->storage, i);
        }
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

bool session_save(const struct session *s, const char *note, size_t n_note, const char *path,
                  struct error *e)
{
    struct source from = {.storage = s->cache.pages, .table = s->cache.table, .n_full = UINT32_MAX};
    struct saved_timeline t = {.tokens = s->tokens,
                               .n_tokens = s->cache.n_tokens,
                               .n_given = s->n_given,
                               .cache_key = model_adapters_key(s->cache.adapters),
                               .note = note,
                               .n_note = n_note};
    if (t.n_tokens == 0) {
        return error_set(e, ERROR_USAGE, "the session is empty: there is nothing to save to %s",
                         path);
    }
    return saved_write(s->engine, &t, source_page, &from, path, e);
}

bool session_restore(struct session *s, const char *path, struct buf *note, struct error *e)
{
    struct saved *file = saved_open(s->engine, model_adapters_key(s->cache.adapters), path, e);
    if (!file) {
        return false;
    }
    const struct saved_timeline *t = saved_timeline(file);
    bool ok = t->n_tokens <= s->cache.capacity ||
              error_set(e, ERROR_LIMIT,
                        "%s has %u tokens and the context holds %u: choose a higher --context-size",
                        path, t->n_tokens, s->cache.capacity);
    if (ok) {
        session_truncate(s, 0);
        for (uint32_t i = 0; i < model_pages_for(t->n_tokens); i++) {
            memcpy(model_page_data(s->cache.pages, s->cache.table[i]), saved_page(file, i),
                   saved_page_bytes(file));
        }
        memcpy(s->tokens, t->tokens, t->n_tokens * sizeof *t->tokens);
        s->cache.n_tokens = t->n_tokens;
        s->n_given = t->n_given;
        if (note && t->n_note) {
            buf_append(note, t->note, t->n_note);
        }
    }
    saved_close(file);
    return ok;
}
