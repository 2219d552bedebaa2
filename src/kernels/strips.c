#include "kernels/strips.h"

#include <string.h>

/* Where in a block the two bytes stand that are no whole word, and where the words begin. */
static const struct strip_format {
    uint32_t type;
    uint16_t elements, bytes; /* of a block */
    uint16_t n_odd;           /* bytes beside words: 2 or 0 */
    uint16_t odd, words;
} formats[] = {
    {TENSOR_Q4_0, 32, 18, 2, 0, 2},
    {TENSOR_Q8_0, 32, 34, 2, 0, 2},
    {TENSOR_Q4_K, 256, 144, 0, 0, 0},
    {TENSOR_Q6_K, 256, 210, 2, 208, 0},
};

static const struct strip_format *find(uint32_t type)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i].type == type) {
            return &formats[i];
        }
    }
    return NULL;
}

bool strips_of_type(uint32_t type)
{
    return find(type) != NULL;
}

bool strips_fit(const struct kernel_weights *w)
{
    const struct strip_format *f = find(w->type);
    return f && w->data && !w->strips && w->n_rows % STRIP_ROWS == 0 &&
           w->n_in % f->elements == 0 && w->row_bytes == w->n_in / f->elements * f->bytes;
}

/* n bytes from each row. */
static uint8_t *gather(const uint8_t *from, size_t row_bytes, size_t n, uint8_t *strip)
{
    for (size_t r = 0; r < STRIP_ROWS; r++) {
        memcpy(strip + r * n, from + r * row_bytes, n);
    }
    return strip + STRIP_ROWS * n;
}

void strip_from_rows(uint32_t type, size_t n_in, const void *rows, void *strip)
{
    const struct strip_format *f = find(type);
    const uint8_t *from = rows;
    uint8_t *to = strip;
    for (size_t i = 0; f && i < n_in; i += STRIP_SUPER) {
        const size_t n = n_in - i < STRIP_SUPER ? n_in - i : STRIP_SUPER;
        const size_t n_blocks = n / f->elements, row_bytes = n_in / f->elements * f->bytes;
        for (size_t b = 0; b < n_blocks && f->n_odd > 0; b++) {
            to = gather(from + b * f->bytes + f->odd, row_bytes, 2, to);
        }
        for (size_t b = 0; b < n_blocks; b++) {
            for (size_t w = 0; w < (size_t)(f->bytes - f->n_odd); w += 4) {
                to = gather(from + b * f->bytes + f->words + w, row_bytes, 4, to);
            }
        }
        from += n_blocks * f->bytes;
    }
}
