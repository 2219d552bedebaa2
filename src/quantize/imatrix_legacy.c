/* imatrix_legacy.c: the older importance matrices, usually named .dat. They hold means times calls
 * and do not tell experts apart: an entry is one long row, which is cut into one per expert when it
 * meets its tensor (plan.c). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quantize/internal.h"

enum { MAX_NAME = 4096 };

struct reader {
    const uint8_t *data;
    uint64_t size_bytes, at;
};

static bool take_i32(struct reader *r, int32_t *out)
{
    if (r->size_bytes - r->at < 4) {
        return false;
    }
    const uint8_t *p = r->data + r->at;
    *out = (int32_t)(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
    r->at += 4;
    return true;
}

/* A length and as many bytes; the caller frees. NULL when they are not there. */
static char *take_text(struct reader *r)
{
    int32_t n;
    if (!take_i32(r, &n) || n < 0 || n > MAX_NAME || (uint64_t)n > r->size_bytes - r->at) {
        return NULL;
    }
    char *text = mem_strndup((const char *)r->data + r->at, (size_t)n);
    r->at += (uint64_t)n;
    return text;
}

static bool damaged(const struct reader *r, const char *what, struct error *e)
{
    return error_set_at(e, ERROR_INPUT, r->at,
                        "%s: it is neither a GGUF file nor an older importance matrix, or it is "
                        "cut off",
                        what);
}

static bool read_entry(struct imatrix *im, struct reader *r, struct error *e)
{
    int32_t n_calls, n_values;
    char *name = take_text(r);
    if (name == NULL) {
        return damaged(r, "the name of an entry is missing", e);
    }
    bool ok = take_i32(r, &n_calls) && take_i32(r, &n_values) && n_calls >= 0 && n_values > 0 &&
              (uint64_t)n_values <= (r->size_bytes - r->at) / 4;
    if (!ok) {
        damaged(r, "the numbers of an entry are missing", e);
    } else {
        /* The file may stand anywhere in memory: the numbers are copied before they are read. */
        float *values = mem_try_alloc((size_t)n_values * sizeof *values);
        float count = n_calls > 0 ? (float)n_calls : 1;
        if (values == NULL) {
            ok = error_set(e, ERROR_MEMORY, "no memory for the %" PRId32 " numbers of an entry",
                           n_values);
        } else {
            memcpy(values, r->data + r->at, (size_t)n_values * sizeof *values);
            r->at += 4 * (uint64_t)n_values;
            ok = imatrix_add(im, name, (uint64_t)n_values, 1, values, &count, 1, e);
        }
        free(values);
    }
    free(name);
    return ok;
}

bool imatrix_read_legacy(struct imatrix *im, const uint8_t *data, uint64_t size_bytes,
                         struct error *e)
{
    struct reader r = {data, size_bytes, 0};
    int32_t n_entries, n_chunks;
    if (!take_i32(&r, &n_entries) || n_entries < 1) {
        return damaged(&r, "the number of entries is missing", e);
    }
    for (int32_t i = 0; i < n_entries; i++) {
        if (!read_entry(im, &r, e)) {
            return false;
        }
    }
    /* The first files end here. */
    if (take_i32(&r, &n_chunks) && n_chunks >= 0) {
        char *dataset = take_text(&r);
        imatrix_describe(im, dataset ? dataset : "", (uint32_t)n_chunks, 0);
        free(dataset);
    }
    return true;
}
