#include "train/ops.h"

#include <math.h>
#include <string.h>

#ifndef TRAIN_DOUBLE
#include "kernels/kernels.h"
#endif

/* Sums run in LANES parallel partial sums, added up pairwise at the end: vectorisable without
 * reordering that the compiler would have to be allowed to do. */
enum { LANES = 16 };

#ifdef TRAIN_DOUBLE
static inline scalar exponential(scalar x)
{
    return exp(x);
}
#else
/* exp for vector loops: 2^n * p(r), r in [-ln2/2, ln2/2], relative error below 3e-7; 0 below -87.
 * The polynomial is the Taylor series to the 6th power, whose next term is under 1e-7 there. */
static inline float exponential(float x)
{
    float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float shifted = clamped * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    float n = shifted - 12582912.0f;
    float r = clamped - n * 0.693359375f - n * -2.12194440e-4f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union {
        float f;
        int32_t i;
    } bits = {.f = shifted}, power;
    power.i = (int32_t)((uint32_t)(bits.i - 0x4B400000 + 127) << 23);
    return x < -87.0f ? 0.0f : p * power.f;
}
#endif

static inline scalar sum_lanes(const scalar *acc)
{
    scalar s[LANES];
    memcpy(s, acc, sizeof s);
    for (int width = LANES / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) {
            s[i] += s[i + width];
        }
    }
    return s[0];
}

void NAME(op_gemm)(size_t m, size_t n, size_t depth, const scalar *a, size_t a_row, size_t a_col,
                   const scalar *b, size_t b_row, size_t b_col, scalar beta, scalar *c, size_t ldc,
                   const struct gemm_context *with)
{
#ifdef TRAIN_DOUBLE
    (void)with;
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            scalar sum = 0;
            for (size_t k = 0; k < depth; k++) {
                sum += a[i * a_row + k * a_col] * b[k * b_row + j * b_col];
            }
            c[i * ldc + j] = sum + (beta != 0 ? beta * c[i * ldc + j] : 0);
        }
    }
#else
    const struct kernels *k = kernels_select();
    if (with->bf16 && k->gemm_bf16) {
        k->gemm_bf16(0, m, n, depth, a, a_row, a_col, b, b_row, b_col, beta, c, ldc, with->scratch);
    } else {
        k->gemm(0, m, n, depth, a, a_row, a_col, b, b_row, b_col, beta, c, ldc, with->scratch);
    }
#endif
}

struct NAME(factor) NAME(op_factor)(const scalar *w, size_t n_in, size_t n_out, bool transposed,
                                    void *store, const struct gemm_context *with)
{
    struct NAME(factor) f = {w, n_in, n_out, transposed, NULL};
#ifdef TRAIN_DOUBLE
    (void)store, (void)with;
#else
    const struct kernels *k = kernels_select();
    if (with->bf16 && k->packed) {
        if (transposed) {
            k->packed->pack(n_in, n_out, w, n_in, 1, store);
        } else {
            k->packed->pack(n_out, n_in, w, 1, n_in, store);
        }
        f.packed = store;
    }
#endif
    return f;
}

void NAME(op_multiply)(const scalar *x, const struct NAME(factor) * f, size_t n, scalar beta,
                       scalar *y, const struct gemm_context *with)
{
    size_t columns = f->transposed ? f->n_in : f->n_out;
    size_t depth = f->transposed ? f->n_out : f->n_in;
#ifndef TRAIN_DOUBLE
    if (f->packed) {
        kernels_select()->packed->gemm(0, n, columns, depth, x, depth, 1, f->packed, beta, y,
                                       columns, with->scratch);
        return;
    }
#endif
    NAME(op_gemm)
    (n, columns, depth, x, depth, 1, f->w, f->transposed ? f->n_in : 1, f->transposed ? 1 : f->n_in,
     beta, y, columns, with);
}

void NAME(op_linear)(const scalar *x, const scalar *w, size_t n, size_t n_in, size_t n_out,
                     scalar *y, const struct gemm_context *with)
{
    NAME(op_gemm)(n, n_out, n_in, x, n_in, 1, w, 1, n_in, 0, y, n_out, with);
}

void NAME(op_linear_backward)(const scalar *x, const scalar *w, const scalar *dy, size_t n,
                              size_t n_in, size_t n_out, scalar *dx, scalar dx_beta, scalar *dw,
                              const struct gemm_context *with)
{
    if (dx) {
        NAME(op_gemm)(n, n_in, n_out, dy, n_out, 1, w, n_in, 1, dx_beta, dx, n_in, with);
    }
    NAME(op_gemm)(n_out, n_in, n, dy, 1, n_out, x, n_in, 1, 1, dw, n_in, with);
}

VECTOR_CLONES
void NAME(op_rms_norm)(const scalar *x, const scalar *w, size_t n, size_t dim, scalar eps,
                       scalar *y, scalar *inverse_rms)
{
    size_t whole = dim - dim % LANES;
    for (size_t t = 0; t < n; t++) {
        const scalar *row = x + t * dim;
        scalar acc[LANES] = {0};
        for (size_t i = 0; i < whole; i += LANES) {
            for (int l = 0; l < LANES; l++) {
                acc[l] += row[i + l] * row[i + l];
            }
        }
        scalar sum = sum_lanes(acc);
        for (size_t i = whole; i < dim; i++) {
            sum += row[i] * row[i];
        }
        scalar r = (scalar)1 / (scalar)sqrt(sum / (scalar)dim + eps);
        inverse_rms[t] = r;
        for (size_t i = 0; i < dim; i++) {
            y[t * dim + i] = row[i] * r * w[i];
        }
    }
}

VECTOR_CLONES
void NAME(op_rms_norm_backward)(const scalar *x, const scalar *w, const scalar *inverse_rms,
                                const scalar *dy, size_t n, size_t dim, scalar *dx, scalar *dw)
{
    size_t whole = dim - dim % LANES;
    for (size_t t = 0; t < n; t++) {
        const scalar *row = x + t * dim, *drow = dy + t * dim;
        scalar r = inverse_rms[t];
        scalar acc[LANES] = {0};
        for (size_t i = 0; i < whole; i += LANES) {
            for (int l = 0; l < LANES; l++) {
                acc[l] += w[i + l] * drow[i + l] * row[i + l];
            }
        }
        scalar sum = sum_lanes(acc);
        for (size_t i = whole; i < dim; i++) {
            sum += w[i] * drow[i] * row[i];
        }
        scalar mean = sum * r * r / (scalar)dim;
        for (size_t i = 0; i < dim; i++) {
            dx[t * dim + i] += r * (w[i] * drow[i] - row[i] * mean);
            dw[i] += drow[i] * row[i] * r;
        }
    }
}

VECTOR_CLONES
void NAME(op_rope)(scalar *x, const struct document_span *spans, size_t n_spans, size_t n_heads,
                   size_t head_dim, size_t n_rot, const scalar *table, scalar sign)
{
    for (size_t s = 0; s < n_spans; s++) {
        for (size_t position = 0; position < spans[s].length; position++) {
            const scalar *angles = table + position * n_rot;
            scalar *row = x + (spans[s].start + position) * n_heads * head_dim;
            for (size_t h = 0; h < n_heads; h++, row += head_dim) {
                for (size_t i = 0; i < n_rot; i += 2) {
                    scalar c = angles[i], sn = sign * angles[i + 1], a = row[i], b = row[i + 1];
                    row[i] = a * c - b * sn;
                    row[i + 1] = a * sn + b * c;
                }
            }
        }
    }
}

/* Rows of scores [length, length] to probabilities over the causal part, zeros beyond. What
 * follows the last whole group of LANES goes through the same vectors in a copy. */
VECTOR_CLONES
static void NAME(causal_softmax)(scalar *p, size_t length, scalar scale)
{
    for (size_t i = 0; i < length; i++) {
        scalar *row = p + i * length;
        size_t n = i + 1, whole = n - n % LANES;
        scalar last[LANES], tops[LANES], acc[LANES] = {0};
        for (int l = 0; l < LANES; l++) {
            last[l] = whole + (size_t)l < n ? row[whole + (size_t)l] : row[0];
            tops[l] = last[l];
        }
        for (size_t j = 0; j < whole; j += LANES) {
            for (int l = 0; l < LANES; l++) {
                tops[l] = row[j + l] > tops[l] ? row[j + l] : tops[l];
            }
        }
        scalar top = tops[0];
        for (int l = 1; l < LANES; l++) {
            top = tops[l] > top ? tops[l] : top;
        }
        for (size_t j = 0; j < whole; j += LANES) {
            for (int l = 0; l < LANES; l++) {
                row[j + l] = exponential((row[j + l] - top) * scale);
                acc[l] += row[j + l];
            }
        }
        for (int l = 0; l < LANES; l++) {
            last[l] = exponential((last[l] - top) * scale);
            last[l] = whole + (size_t)l < n ? last[l] : 0;
            acc[l] += last[l];
        }
        scalar inverse = 1 / sum_lanes(acc);
        for (size_t j = 0; j < whole; j += LANES) {
            for (int l = 0; l < LANES; l++) {
                row[j + l] *= inverse;
            }
        }
        for (size_t l = 0; l < LANES && whole + l < n; l++) {
            row[whole + l] = last[l] * inverse;
        }
        memset(row + n, 0, (length - n) * sizeof *row);
    }
}

void NAME(op_attention)(const scalar *q, const scalar *k, const scalar *v,
                        const struct document_span *spans, size_t n_spans,
                        struct attention_shape shape, scalar *p, scalar *out,
                        const struct gemm_context *with)
{
    size_t hd = shape.head_dim, q_stride = shape.n_heads * hd, kv_stride = shape.n_kv_heads * hd;
    size_t group = shape.n_heads / shape.n_kv_heads;
    scalar scale = 1 / (scalar)sqrt((scalar)hd);
    for (size_t s = 0; s < n_spans; s++) {
        size_t length = spans[s].length, start = spans[s].start;
        for (size_t h = 0; h < shape.n_heads; h++, p += length * length) {
            const scalar *qh = q + start * q_stride + h * hd;
            const scalar *kh = k + start * kv_stride + h / group * hd;
            const scalar *vh = v + start * kv_stride + h / group * hd;
            NAME(op_gemm)
            (length, length, hd, qh, q_stride, 1, kh, 1, kv_stride, 0, p, length, with);
            NAME(causal_softmax)(p, length, scale);
            NAME(op_gemm)
            (length, hd, length, p, length, 1, vh, kv_stride, 1, 0, out + start * q_stride + h * hd,
             q_stride, with);
        }
    }
}

/* In: dp [length, length]; out: ds = p (dp - sum_j p dp) * scale. */
VECTOR_CLONES
static void NAME(softmax_backward)(const scalar *p, scalar *dp, size_t length, scalar scale)
{
    for (size_t i = 0; i < length; i++) {
        const scalar *pr = p + i * length;
        scalar *dr = dp + i * length;
        scalar acc[LANES] = {0}, sum;
        size_t whole = (i + 1) - (i + 1) % LANES;
        for (size_t j = 0; j < whole; j += LANES) {
            for (int l = 0; l < LANES; l++) {
                acc[l] += pr[j + l] * dr[j + l];
            }
        }
        sum = sum_lanes(acc);
        for (size_t j = whole; j <= i; j++) {
            sum += pr[j] * dr[j];
        }
        for (size_t j = 0; j < length; j++) {
            dr[j] = pr[j] * (dr[j] - sum) * scale;
        }
    }
}

void NAME(op_attention_backward)(const scalar *q, const scalar *k, const scalar *v, const scalar *p,
                                 const scalar *dout, const struct document_span *spans,
                                 size_t n_spans, struct attention_shape shape, scalar *work,
                                 scalar *dq, scalar *dk, scalar *dv,
                                 const struct gemm_context *with)
{
    size_t hd = shape.head_dim, q_stride = shape.n_heads * hd, kv_stride = shape.n_kv_heads * hd;
    size_t group = shape.n_heads / shape.n_kv_heads;
    scalar scale = 1 / (scalar)sqrt((scalar)hd);
    for (size_t s = 0; s < n_spans; s++) {
        size_t length = spans[s].length, start = spans[s].start;
        for (size_t h = 0; h < shape.n_heads; h++, p += length * length) {
            size_t at_q = start * q_stride + h * hd, at_kv = start * kv_stride + h / group * hd;
            /* The first head of a group overwrites dk and dv, the others add. */
            scalar beta = h % group == 0 ? 0 : 1;
            NAME(op_gemm)
            (length, hd, length, p, 1, length, dout + at_q, q_stride, 1, beta, dv + at_kv,
             kv_stride, with);
            NAME(op_gemm)
            (length, length, hd, dout + at_q, q_stride, 1, v + at_kv, 1, kv_stride, 0, work, length,
             with);
            NAME(softmax_backward)(p, work, length, scale);
            NAME(op_gemm)
            (length, hd, length, work, length, 1, k + at_kv, kv_stride, 1, 0, dq + at_q, q_stride,
             with);
            NAME(op_gemm)
            (length, hd, length, work, 1, length, q + at_q, q_stride, 1, beta, dk + at_kv,
             kv_stride, with);
        }
    }
}

VECTOR_CLONES
void NAME(op_swiglu)(const scalar *gate, const scalar *up, size_t count, scalar *y)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = gate[i] / (1 + exponential(-gate[i])) * up[i];
    }
}

VECTOR_CLONES
void NAME(op_swiglu_backward)(const scalar *gate, const scalar *up, const scalar *dy, size_t count,
                              scalar *dgate, scalar *dup)
{
    for (size_t i = 0; i < count; i++) {
        scalar g = gate[i], u = up[i], d = dy[i];
        scalar sigma = 1 / (1 + exponential(-g));
        dgate[i] = d * u * sigma * (1 + g * (1 - sigma));
        dup[i] = d * g * sigma;
    }
}

VECTOR_CLONES
double NAME(op_cross_entropy)(scalar *logits, const int32_t *targets, size_t n, size_t n_vocab,
                              scalar scale)
{
    double loss = 0;
    size_t whole = n_vocab - n_vocab % LANES;
    for (size_t t = 0; t < n; t++) {
        scalar *row = logits + t * n_vocab;
        scalar top = row[0];
        for (size_t i = 1; i < n_vocab; i++) {
            top = row[i] > top ? row[i] : top;
        }
        scalar target_logit = row[targets[t]];
        for (size_t i = 0; i < n_vocab; i++) {
            row[i] = exponential(row[i] - top);
        }
        scalar acc[LANES] = {0};
        for (size_t i = 0; i < whole; i += LANES) {
            for (int l = 0; l < LANES; l++) {
                acc[l] += row[i + l];
            }
        }
        scalar sum = sum_lanes(acc);
        for (size_t i = whole; i < n_vocab; i++) {
            sum += row[i];
        }
        loss += log((double)sum) - ((double)target_logit - (double)top);
        scalar factor = scale / sum;
        for (size_t i = 0; i < n_vocab; i++) {
            row[i] *= factor;
        }
        row[targets[t]] -= scale;
    }
    return loss;
}

void NAME(op_embedding)(const scalar *w, const int32_t *tokens, size_t n, size_t dim, scalar *y)
{
    for (size_t t = 0; t < n; t++) {
        memcpy(y + t * dim, w + (size_t)tokens[t] * dim, dim * sizeof *y);
    }
}

void NAME(op_embedding_backward)(const int32_t *tokens, const scalar *dy, size_t n, size_t dim,
                                 scalar *dw)
{
    for (size_t t = 0; t < n; t++) {
        scalar *row = dw + (size_t)tokens[t] * dim;
        for (size_t i = 0; i < dim; i++) {
            row[i] += dy[t * dim + i];
        }
    }
}
