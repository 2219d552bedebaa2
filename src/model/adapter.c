/* What adapters add, at the one place where the pass multiplies by a matrix of the model.
 *
 * Both products are those of kernels->matmul, in f32 and in every phase, and what they give is
 * added with one rounding: a row's bits depend on the row alone (kernels.h), so neither neighbours
 * with other adapters nor the threads' shares change them. Each thread multiplies by all of a, for
 * the rows of b that are its own: that is little beside the matrix, and cheaper than a barrier. */
#include "base/digest.h"
#include "model/adapter_parts.h"
#include "model/pass.h"

enum { ADDED_FLOATS = 4096 };

/* y += scale * b (a x) for rows [begin, end) of b and n tokens. */
static void add_part(const struct kernels *kernels, const struct adapter_part *part, float scale,
                     const float *x, size_t x_stride, size_t n, size_t begin, size_t end, float *y,
                     size_t y_stride)
{
    float low[MODEL_ADAPTER_MAX_RANK], added[ADDED_FLOATS];
    size_t rank = part->a.n_rows, most = MODEL_ADAPTER_MAX_RANK / rank;
    for (size_t t = 0, step; t < n; t += step) {
        step = n - t < most ? n - t : most;
        kernels->matmul(&part->a, 0, rank, x + t * x_stride, x_stride, step, low, rank);
        size_t width = ADDED_FLOATS / step;
        for (size_t row = begin, rows; row < end; row += rows) {
            rows = end - row < width ? end - row : width;
            struct kernel_weights b = part->b;
            b.data = (const char *)b.data + row * b.row_bytes;
            kernels->matmul(&b, 0, rows, low, rank, step, added, rows);
            for (size_t i = 0; i < step; i++) {
                kernels->add_scaled(y + (t + i) * y_stride + row, scale, added + i * rows, rows);
            }
        }
    }
}

void pass_adapt(const struct pass *f, uint32_t matrix, size_t begin, size_t end, struct rows in,
                size_t row_end, float *y, size_t y_stride)
{
    for (size_t t = in.first, n; begin < end && t < row_end; t += n) {
        const struct model_adapters *all = pass_adapters(f, t);
        for (n = 1; t + n < row_end && pass_adapters(f, t + n) == all;) {
            n++;
        }
        for (uint32_t i = 0; all && i < all->n; i++) {
            const struct adapter_part *part = &all->uses[i].adapter->parts[matrix];
            float scale = part->scale * all->uses[i].strength;
            if (part->a.data && scale != 0) {
                add_part(f->kernels, part, scale, in.data + t * in.stride, in.stride, n, begin, end,
                         y + (t - in.first) * y_stride, y_stride);
            }
        }
    }
}

bool pass_check_adapters(const struct model *m, const struct model_adapters *adapters,
                         struct error *e)
{
    for (uint32_t i = 0; adapters && i < adapters->n; i++) {
        if (!model_adapter_fits(adapters->uses[i].adapter, m)) {
            return error_set(e, ERROR_USAGE, "an adapter of the sequence belongs to another model");
        }
    }
    return true;
}

bool model_adapter_fits(const struct model_adapter *a, const struct model *m)
{
    return a->model == m;
}

uint64_t model_adapters_key(const struct model_adapters *adapters)
{
    struct digest d = {{0}};
    for (uint32_t i = 0; adapters && i < adapters->n; i++) {
        struct {
            uint64_t identity;
            float strength, zero;
        } use = {adapters->uses[i].adapter->identity, adapters->uses[i].strength, 0};
        digest_add(&d, &use, sizeof use);
    }
    return adapters && adapters->n ? digest_fold(&d) : 0;
}

bool model_adapters_same(const struct model_adapters *a, const struct model_adapters *b)
{
    uint32_t n = a ? a->n : 0;
    if (n != (b ? b->n : 0)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (a->uses[i].adapter->identity != b->uses[i].adapter->identity ||
            a->uses[i].strength != b->uses[i].strength) {
            return false;
        }
    }
    return true;
}
