/* shards.c: a model in several files, opened as one. Each file is read and checked by itself
 * (read.c); here they are found by name, held against what each says about the others, and joined.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"

static const char split_prefix[] = "split.";

static bool read_digits(const char *p, uint32_t *out)
{
    uint32_t n = 0;
    for (int i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
        n = 10 * n + (uint32_t)(p[i] - '0');
    }
    *out = n;
    return true;
}

bool gguf_shard_name(const char *path, uint32_t *number, uint32_t *count)
{
    size_t n = strlen(path);
    if (n < GGUF_SHARD_TAIL_BYTES) {
        return false;
    }
    const char *tail = path + n - GGUF_SHARD_TAIL_BYTES;
    return tail[0] == '-' && read_digits(tail + 1, number) && memcmp(tail + 6, "-of-", 4) == 0 &&
           read_digits(tail + 10, count) && strcmp(tail + 15, ".gguf") == 0 && *number >= 1 &&
           *number <= *count;
}

/* The path of a file of the same model, number from 1. */
static char *shard_path(const char *path, uint32_t number, uint32_t count)
{
    char tail[32];
    size_t stem = strlen(path) - GGUF_SHARD_TAIL_BYTES;
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    buf_append(&b, path, stem);
    snprintf(tail, sizeof tail, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", number, count);
    buf_append_str(&b, tail);
    return buf_take(&b, NULL);
}

/* What one file says about itself and the others. */
struct claim {
    uint32_t no, count, n_tensors;
    bool has_tensors;
};

static bool read_claim(const struct gguf *g, const char *path, struct claim *c, struct error *e)
{
    *c = (struct claim){0};
    c->has_tensors = gguf_value_find(g, "split.tensors.count") != NULL;
    if (gguf_require_u32(g, "split.count", &c->count, e) &&
        gguf_require_u32(g, "split.no", &c->no, e) &&
        gguf_get_u32(g, "split.tensors.count", &c->n_tensors, e)) {
        return true;
    }
    return error_prefix(e, "%s: ", path);
}

static bool check_claim(const struct claim *c, const struct claim *first, uint32_t number,
                        const char *path, struct error *e)
{
    if (c->count != first->count || c->no != number - 1) {
        return error_set(e, ERROR_INPUT,
                         "%s says that it is part %" PRIu64 " of %" PRIu32 " where part %" PRIu32
                         " of %" PRIu32
                         " was expected: the parts belong to different models or were renamed; "
                         "download them again",
                         path, (uint64_t)c->no + 1, c->count, number, first->count);
    }
    if (c->has_tensors && c->n_tensors != first->n_tensors) {
        return error_set(e, ERROR_INPUT,
                         "%s speaks of %" PRIu32 " tensors in all parts, another part of %" PRIu32
                         ": the parts belong to different models; download them again",
                         path, c->n_tensors, first->n_tensors);
    }
    return true;
}

/* Opens part `number`, or takes `opened` where that is the one. */
static struct gguf *open_shard(const char *path, uint32_t number, const struct claim *first,
                               struct gguf **opened, struct error *e)
{
    struct claim c;
    if (number - 1 == first->no) {
        struct gguf *g = *opened;
        *opened = NULL;
        return g;
    }
    char *name = shard_path(path, number, first->count);
    struct gguf *g = NULL;
    if (!file_exists(name)) {
        error_set(e, ERROR_IO,
                  "%s is one of %" PRIu32 " parts of a model, and part %" PRIu32
                  " is not beside it: put %s there",
                  path, first->count, number, name);
    } else {
        g = gguf_open_file(name, e);
    }
    if (g != NULL && (!read_claim(g, name, &c, e) || !check_claim(&c, first, number, name, e))) {
        gguf_close(g);
        g = NULL;
    }
    free(name);
    return g;
}

/* The pairs of the first part but for split.*. */
static void join_values(struct gguf *all)
{
    const struct gguf *first = all->shards[0];
    all->values = mem_array(first->n_values + 1, sizeof *all->values);
    all->value_index = strmap_new(first->n_values);
    for (size_t i = 0; i < first->n_values; i++) {
        const struct gguf_value *v = &first->values[i];
        size_t n = sizeof split_prefix - 1;
        if (v->key.len < n || memcmp(v->key.data, split_prefix, n) != 0) {
            strmap_add(all->value_index, v->key.data, (size_t)v->key.len, (uint32_t)all->n_values);
            all->values[all->n_values++] = *v;
        }
    }
}

/* G1 over all parts. */
static bool join_tensors(struct gguf *all, const char *path, struct error *e)
{
    char text[UTF8_QUOTE_BYTES];
    size_t total = 0;
    for (uint32_t s = 0; s < all->n_files; s++) {
        total += all->shards[s]->n_tensors;
    }
    if (total > GGUF_MAX_TENSORS) {
        return error_set(e, ERROR_LIMIT,
                         "%s: the parts have %zu tensors together; at most %d are allowed", path,
                         total, GGUF_MAX_TENSORS);
    }
    all->tensor_index = strmap_new(total);
    all->tensors = mem_try_alloc((total + 1) * sizeof *all->tensors);
    if (all->tensors == NULL) {
        return error_set(e, ERROR_MEMORY, "%s: no memory for %zu tensors", path, total);
    }
    for (uint32_t s = 0; s < all->n_files; s++) {
        for (size_t i = 0; i < all->shards[s]->n_tensors; i++) {
            struct gguf_tensor t = all->shards[s]->tensors[i];
            t.shard = s;
            if (!strmap_add(all->tensor_index, t.name, strlen(t.name), (uint32_t)all->n_tensors)) {
                return error_set(e, ERROR_INPUT,
                                 "%s: the tensor %s is in two parts of the model: they belong to "
                                 "different ones; download them again",
                                 path, utf8_quote(text, t.name, strlen(t.name)));
            }
            all->tensors[all->n_tensors++] = t;
        }
    }
    return true;
}

static bool join(struct gguf *all, const char *path, const struct claim *first, struct error *e)
{
    join_values(all);
    if (!join_tensors(all, path, e)) {
        return false;
    }
    if (first->has_tensors && first->n_tensors != all->n_tensors) {
        return error_set(e, ERROR_INPUT,
                         "%s: the parts have %zu tensors together where %" PRIu32
                         " are promised: download them again",
                         path, all->n_tensors, first->n_tensors);
    }
    all->data = all->shards[0]->data;
    all->version = all->shards[0]->version;
    all->alignment = all->shards[0]->alignment;
    for (uint32_t s = 0; s < all->n_files; s++) {
        all->size_bytes += all->shards[s]->size_bytes;
    }
    return true;
}

struct gguf *gguf_open_shards(struct gguf *g, const char *path, struct error *e)
{
    struct claim first;
    uint32_t number = 0, count = 0;
    if (!read_claim(g, path, &first, e)) {
        gguf_close(g);
        return NULL;
    }
    if (first.count <= 1) { /* a file that could have been split, and was not */
        return g;
    }
    if (!gguf_shard_name(path, &number, &count) || count != first.count || number - 1 != first.no) {
        error_set(e, ERROR_INPUT,
                  "%s is part %" PRIu64 " of %" PRIu32 " of a model, and its name does not end in "
                  "-%05" PRIu64 "-of-%05" PRIu32
                  ".gguf, by which the others are found: give all parts their names back",
                  path, (uint64_t)first.no + 1, first.count, (uint64_t)first.no + 1, first.count);
        gguf_close(g);
        return NULL;
    }
    struct gguf *all = mem_zalloc(sizeof *all);
    all->shards = mem_array(first.count, sizeof *all->shards);
    all->n_files = first.count;
    bool ok = true;
    for (uint32_t i = 0; ok && i < first.count; i++) {
        all->shards[i] = open_shard(path, i + 1, &first, &g, e);
        ok = all->shards[i] != NULL;
    }
    if (!ok || !join(all, path, &first, e)) {
        gguf_close(g);
        gguf_close(all);
        return NULL;
    }
    return all;
}
