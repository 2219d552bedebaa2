#include "engine/saved.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "engine/model_digest.h"

enum {
    SAVED_VERSION = 5,
    SAVED_LONG_ROPE = 1,
};

struct header {
    char magic[8];
    uint32_t version, flags;
    struct digest model;
    char kernels[16];
    uint32_t kv_type, n_positions;
    uint64_t page_bytes, cache_key;
    uint32_t n_tokens, n_given;
    uint64_t n_note;
    uint64_t zeros[3];
};
_Static_assert(sizeof(struct header) == 128, "the header is written as it stands in memory");

static const char magic[8] = {'l', 'l', 'l', 'm', ' ', 'k', 'v', '\n'};

struct saved {
    struct file_map map;
    struct header header;
    struct saved_timeline timeline;
    const uint8_t *pages;
};

static size_t padded(size_t n)
{
    return (n + DIGEST_BLOCK - 1) / DIGEST_BLOCK * DIGEST_BLOCK;
}

/* ---- what it was made for -------------------------------------------------------------------- */

static struct header header_of(const struct engine *en, const struct saved_timeline *t)
{
    const struct model_config *c = &en->model->config;
    uint32_t original = c->n_context_original;
    bool is_long = en->model->rope_long && original && en->context_size > original;
    struct header h = {.version = SAVED_VERSION,
                       .flags = is_long ? SAVED_LONG_ROPE : 0,
                       .model = en->in_strips ? en->digest
                                              : digest_gguf(en->gguf, model_arch_name(c->arch)),
                       .kv_type = (uint32_t)en->kv_type,
                       .n_positions = MODEL_PAGE_POSITIONS,
                       .page_bytes = model_page_bytes(c, en->kv_type),
                       .cache_key = t->cache_key,
                       .n_tokens = t->n_tokens,
                       .n_given = t->n_given,
                       .n_note = t->n_note};
    memcpy(h.magic, magic, sizeof magic);
    size_t n = strlen(en->kernels->name);
    memcpy(h.kernels, en->kernels->name, n < sizeof h.kernels ? n : sizeof h.kernels);
    return h;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool put(struct file_writer *w, struct digest *sum, const void *data, size_t n,
                struct error *e)
{
    digest_blocks(sum, data, n);
    return file_writer_put(w, data, n, e);
}

/* With zeros behind. */
static bool put_padded(struct file_writer *w, struct digest *sum, const void *data, size_t n,
                       struct error *e)
{
    size_t whole = n / DIGEST_BLOCK * DIGEST_BLOCK;
    char rest[DIGEST_BLOCK] = {0};
    if (n > whole) {
        memcpy(rest, (const char *)data + whole, n - whole);
    }
    return (whole == 0 || put(w, sum, data, whole, e)) &&
           (n == whole || put(w, sum, rest, sizeof rest, e));
}

static bool write_parts(struct file_writer *w, const struct engine *en,
                        const struct saved_timeline *t, saved_page_fn *page, void *context,
                        struct error *e)
{
    struct header h = header_of(en, t);
    struct digest sum = {{0}};
    bool ok = put(w, &sum, &h, sizeof h, e) &&
              put_padded(w, &sum, t->tokens, t->n_tokens * sizeof *t->tokens, e) &&
              put_padded(w, &sum, t->note, t->n_note, e);
    for (uint32_t i = 0; ok && i < model_pages_for(t->n_tokens); i++) {
        ok = put(w, &sum, page(context, i), h.page_bytes, e);
    }
    return ok && file_writer_put(w, &sum, sizeof sum, e);
}

bool saved_write(const struct engine *en, const struct saved_timeline *t, saved_page_fn *page,
                 void *context, const char *path, struct error *e)
{
    struct file_writer *w = file_writer_open(path, e);
    if (!w) {
        return false;
    }
    if (!write_parts(w, en, t, page, context, e)) {
        file_writer_abort(w);
        return false;
    }
    return file_writer_commit(w, e);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Where the parts are, as the header has them; false where they do not fill the file. */
static bool find_parts(struct saved *s)
{
    const struct header *h = &s->header;
    uint64_t tokens = padded((uint64_t)h->n_tokens * sizeof(int32_t)), pages, total;
    if (h->n_note > s->map.size_bytes || h->n_tokens < 1 || h->n_tokens > MODEL_MAX_CONTEXT ||
        h->n_given > h->n_tokens || h->n_positions != MODEL_PAGE_POSITIONS ||
        h->page_bytes % DIGEST_BLOCK != 0 ||
        !checked_mul_u64(model_pages_for(h->n_tokens), h->page_bytes, &pages) ||
        !checked_add_u64(pages, sizeof *h + tokens + padded(h->n_note) + sizeof(struct digest),
                         &total) ||
        total != s->map.size_bytes) {
        return false;
    }
    const uint8_t *note = s->map.data + sizeof *h + tokens;
    s->pages = note + padded(h->n_note);
    s->timeline =
        (struct saved_timeline){.tokens = (const int32_t *)(const void *)(s->map.data + sizeof *h),
                                .n_tokens = h->n_tokens,
                                .n_given = h->n_given,
                                .cache_key = h->cache_key,
                                .note = (const char *)note,
                                .n_note = h->n_note};
    return true;
}

static bool is_whole(const struct saved *s)
{
    struct digest sum = {{0}};
    size_t n = s->map.size_bytes - sizeof sum;
    digest_blocks(&sum, s->map.data, n);
    return memcmp(&sum, s->map.data + n, sizeof sum) == 0;
}

static bool check_origin(const struct saved *s, const struct engine *en, uint64_t cache_key,
                         const char *path, struct error *e)
{
    const struct header *h = &s->header;
    struct header own = header_of(en, &(struct saved_timeline){.cache_key = cache_key});
    if (memcmp(&h->model, &own.model, sizeof own.model) != 0) {
        return error_set(e, ERROR_INPUT, "%s was saved with another model", path);
    }
    if (h->cache_key != own.cache_key) {
        return error_set(e, ERROR_INPUT, "%s was saved with another adapter, or without this one",
                         path);
    }
    if (h->kv_type != own.kv_type || h->page_bytes != own.page_bytes) {
        const char *was = h->kv_type <= MODEL_KV_Q8_0
                              ? model_kv_name((enum model_kv_type)h->kv_type)
                              : "an unknown type";
        return error_set(e, ERROR_INPUT,
                         "%s was saved with keys and values in %s, and here they are in %s: "
                         "--kv-type chooses",
                         path, was, model_kv_name(en->kv_type));
    }
    if (memcmp(h->kernels, own.kernels, sizeof own.kernels) != 0) {
        return error_set(e, ERROR_INPUT,
                         "%s was computed by the kernels \"%.16s\" and this process has \"%.16s\", "
                         "whose numbers differ: --cpu-mask and --throughput choose",
                         path, h->kernels, own.kernels);
    }
    if (h->flags != own.flags) {
        return error_set(e, ERROR_INPUT,
                         "%s was saved with a context size for which the model has other rope "
                         "factors than for %u tokens",
                         path, en->context_size);
    }
    for (uint32_t i = 0; i < h->n_tokens; i++) {
        int32_t id = s->timeline.tokens[i];
        if (id < 0 || (uint32_t)id >= en->model->config.n_vocab) {
            return error_set(e, ERROR_INPUT, "%s has token ids that are not in the vocabulary",
                             path);
        }
    }
    return true;
}

struct saved *saved_open(const struct engine *en, uint64_t cache_key, const char *path,
                         struct error *e)
{
    struct saved *s = mem_zalloc(sizeof *s);
    bool ok = file_map_open(path, &s->map, e);
    if (ok && (s->map.size_bytes < sizeof s->header + sizeof(struct digest) ||
               memcmp(s->map.data, magic, sizeof magic) != 0)) {
        ok = error_set(e, ERROR_INPUT, "%s is not a saved session of lllm", path);
    }
    if (ok) {
        memcpy(&s->header, s->map.data, sizeof s->header);
        if (s->header.version != SAVED_VERSION) {
            ok = error_set(e, ERROR_INPUT,
                           "%s is of version %u and this program reads version %d: compute the "
                           "session anew",
                           path, s->header.version, SAVED_VERSION);
        } else if (!find_parts(s) || !is_whole(s)) {
            ok = error_set(e, ERROR_INPUT, "%s is damaged: delete it, or name another file", path);
        }
    }
    if (!ok || !check_origin(s, en, cache_key, path, e)) {
        saved_close(s);
        return NULL;
    }
    return s;
}

void saved_close(struct saved *s)
{
    if (s) {
        file_map_close(&s->map);
        free(s);
    }
}

const struct saved_timeline *saved_timeline(const struct saved *s)
{
    return &s->timeline;
}

const void *saved_page(const struct saved *s, uint32_t i)
{
    return s->pages + i * s->header.page_bytes;
}

uint64_t saved_page_bytes(const struct saved *s)
{
    return s->header.page_bytes;
}
