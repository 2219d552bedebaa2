/* check_rows.c: operations on one row: norms, rotations, softmax, sums. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/logits.h"
#include "check.h"

void check_rms_norm(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 300; n += n < 70 ? 1 : 37) {
        if (!check_turn()) {
            continue;
        }
        struct guard gx = guard_floats(r, n, 3), gw = guard_floats(r, n, 1);
        struct guard gy = guard_new(n * sizeof(float)), gref = guard_new(n * sizeof(float));
        float *x = gx.data, *y = gy.data, *ref = gref.data;
        k->rms_norm(x, gw.data, n, 1e-5f, y);
        kernels_reference()->rms_norm(x, gw.data, n, 1e-5f, ref);
        for (size_t i = 0; i < n; i++) {
            check_close((double)y[i], (double)ref[i],
                        ((double)n / 16 + 10) * UNIT * fabs((double)ref[i]),
                        "%s rms_norm of %zu at %zu", k->name, n, i);
        }
        struct guard gones = guard_new(n * sizeof(float)), gplain = guard_new(n * sizeof(float));
        float *ones = gones.data;
        for (size_t i = 0; i < n; i++) {
            ones[i] = 1;
        }
        k->rms_norm(x, NULL, n, 1e-5f, gplain.data);
        k->rms_norm(x, ones, n, 1e-5f, ones);
        check_same_bits(gplain.data, ones, n, "rms_norm without weight");
        guard_free(&gones, "rms_norm ones");
        guard_free(&gplain, "rms_norm without weight");
        k->rms_norm(x, gw.data, n, 1e-5f, x);
        check_same_bits(x, y, n, "rms_norm in place");
        guard_free(&gx, "rms_norm x");
        guard_free(&gw, "rms_norm weight");
        guard_free(&gy, "rms_norm y");
        guard_free(&gref, "rms_norm reference");
    }
}

/* shift moves all x: the mean must not eat the digits of what is left. */
static void check_layer_norm_row(const struct kernels *k, struct rng *r, size_t n, float shift,
                                 bool has_weight, bool has_bias)
{
    if (!check_turn()) {
        return;
    }
    const float eps = 1e-5f;
    struct guard gx = guard_floats(r, n, 3), gw = guard_floats(r, n, 1), gb = guard_floats(r, n, 1);
    struct guard gy = guard_new(n * sizeof(float)), gref = guard_new(n * sizeof(float));
    float *x = gx.data, *y = gy.data, *ref = gref.data;
    const float *weight = has_weight ? gw.data : NULL, *bias = has_bias ? gb.data : NULL;
    double mean = 0, magnitude = 0, variance = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] += shift;
        mean += (double)x[i] / (double)n;
        magnitude += fabs((double)x[i]) / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    }
    double scale = 1 / sqrt(variance + (double)eps);
    k->layer_norm(x, weight, bias, n, eps, y);
    kernels_reference()->layer_norm(x, weight, bias, n, eps, ref);
    for (size_t i = 0; i < n; i++) {
        double w = has_weight ? fabs((double)weight[i]) : 1, z = ((double)x[i] - mean) * scale;
        double b = has_bias ? fabs((double)bias[i]) : 0;
        double bound = ((double)n / 16 + 12) * UNIT * (fabs(z) * w + b) +
                       ((double)n / 8 + 8) * UNIT * magnitude * scale * w;
        check_close((double)y[i], (double)ref[i], bound, "%s layer_norm of %zu about %g at %zu",
                    k->name, n, (double)shift, i);
    }
    k->layer_norm(x, weight, bias, n, eps, x);
    check_same_bits(x, y, n, "layer_norm in place");
    guard_free(&gx, "layer_norm x");
    guard_free(&gw, "layer_norm weight");
    guard_free(&gb, "layer_norm bias");
    guard_free(&gy, "layer_norm y");
    guard_free(&gref, "layer_norm reference");
}

void check_layer_norm(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 1100; n += n < 70 ? 1 : 97) {
        check_layer_norm_row(k, r, n, 0, true, true);
        check_layer_norm_row(k, r, n, 1, false, true);
        check_layer_norm_row(k, r, n, -20, true, false);
        check_layer_norm_row(k, r, n, 1000, false, false);
    }
}

static void check_rope_shape(const struct kernels *k, struct rng *r, size_t n_heads,
                             size_t head_dim, size_t n_rot, enum kernel_rope_layout layout)
{
    if (!check_turn()) {
        return;
    }
    size_t n = n_heads * head_dim, half = n_rot / 2;
    struct guard gx = guard_floats(r, n, 1), gold = guard_copy(&gx), gref = guard_copy(&gx);
    struct guard gcos = guard_new(half * sizeof(float)), gsin = guard_new(half * sizeof(float));
    float *x = gx.data, *old = gold.data, *ref = gref.data, *c = gcos.data, *s = gsin.data;
    for (size_t i = 0; i < half; i++) {
        double angle = rng_uniform(r) * 100;
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
    k->rope(x, n_heads, head_dim, n_rot, layout, c, s);
    kernels_reference()->rope(ref, n_heads, head_dim, n_rot, layout, c, s);
    for (size_t i = 0; i < n; i++) {
        size_t d = i % head_dim, pair = layout == KERNEL_ROPE_ADJACENT ? d ^ 1 : d;
        if (layout == KERNEL_ROPE_HALVES) {
            pair = d < half ? d + half : d - half;
        }
        double bound = 0; /* what is not rotated stays as it is */
        if (d < n_rot) {
            size_t angle = layout == KERNEL_ROPE_ADJACENT ? d / 2 : d % half;
            double other = (double)old[i - d + pair];
            bound = 3 * UNIT *
                    (fabs((double)old[i] * (double)c[angle]) + fabs(other * (double)s[angle]));
        }
        check_close((double)x[i], (double)ref[i], bound, "%s rope %d of %zu of %zu at %zu", k->name,
                    (int)layout, n_rot, head_dim, i);
    }
    struct guard gone = guard_copy(&gold);
    float *one = gone.data;
    for (size_t h = n_heads; h-- > 0;) {
        k->rope(one + h * head_dim, 1, head_dim, n_rot, layout, c, s);
    }
    check_same_bits(one, x, n, "rope one head at a time");
    guard_free(&gone, "rope one head");
    guard_free(&gx, "rope x");
    guard_free(&gold, "rope old");
    guard_free(&gref, "rope reference");
    guard_free(&gcos, "rope cosines");
    guard_free(&gsin, "rope sines");
}

void check_rope(const struct kernels *k, struct rng *r)
{
    for (size_t n_rot = 2; n_rot <= 140; n_rot += 2) {
        for (int layout = 0; layout < 2; layout++) {
            check_rope_shape(k, r, 1, n_rot, n_rot, (enum kernel_rope_layout)layout);
            check_rope_shape(k, r, 3, n_rot + n_rot % 5, n_rot, (enum kernel_rope_layout)layout);
        }
    }
}

void check_softmax(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 400; n += n < 70 ? 1 : 29) {
        if (!check_turn()) {
            continue;
        }
        float spread = n % 3 == 0 ? 40 : 2;
        struct guard gx = guard_floats(r, n, spread), gref, gold;
        float *x = gx.data;
        if (n % 4 == 1 && n > 1) {
            x[check_between(r, 0, n - 1)] = -INFINITY;
        }
        gref = guard_copy(&gx);
        gold = guard_copy(&gx);
        float *ref = gref.data, *old = gold.data;
        k->softmax(x, n);
        kernels_reference()->softmax(ref, n);
        double low = INFINITY, high = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            high = fmax(high, (double)old[i]);
            low = isfinite(old[i]) ? fmin(low, (double)old[i]) : low;
        }
        double relative = ((high - low) + (double)n / 8 + 16) * UNIT;
        for (size_t i = 0; i < n; i++) {
            if (old[i] == -INFINITY && x[i] != 0) {
                check_fail("%s softmax of -inf is %g", k->name, (double)x[i]);
            }
            check_close((double)x[i], (double)ref[i], relative * (double)ref[i] + 0x1p-148,
                        "%s softmax of %zu at %zu", k->name, n, i);
        }
        /* All -inf: zeros. One NaN or +inf: all NaN, also among -inf. */
        for (size_t i = 0; i < n; i++) {
            x[i] = -INFINITY;
        }
        k->softmax(x, n);
        for (size_t i = 0; i < n; i++) {
            check_close((double)x[i], 0, 0, "%s softmax of %zu times -inf", k->name, n);
            x[i] = n % 2 ? -INFINITY : old[i];
        }
        x[check_between(r, 0, n - 1)] = n % 4 < 2 ? NAN : INFINITY;
        k->softmax(x, n);
        for (size_t i = 0; i < n; i++) {
            check_close((double)x[i], (double)NAN, 0, "%s softmax with a NaN", k->name);
        }
        guard_free(&gx, "softmax x");
        guard_free(&gref, "softmax reference");
        guard_free(&gold, "softmax old");
    }
}

void check_exp_sums(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 600; n += n < 130 ? 1 : 41) {
        if (!check_turn()) {
            continue;
        }
        struct guard gx = guard_floats(r, n, n % 3 == 0 ? 40 : 2);
        float *x = gx.data, most = -FLT_MAX;
        double want = 0, sums[600 / LOGIT_BLOCK + 1], ref[600 / LOGIT_BLOCK + 1], total = 0;
        if (n % 4 == 1 && n > 1) {
            x[check_between(r, 0, n - 1)] = -INFINITY;
            x[check_between(r, 0, n - 1)] = n % 8 == 1 ? NAN : INFINITY;
        }
        for (size_t i = 0; i < n; i++) {
            most = fmaxf(most, logit_clean(x[i]));
        }
        for (size_t i = 0; i < n; i++) {
            want += exp((double)logit_clean(x[i]) - (double)most);
        }
        double sum = k->exp_sums(x, n, most, sums);
        check_close(sum, want, 1e-6 * want, "%s exp_sums of %zu", k->name, n);
        check_close(sum, kernels_reference()->exp_sums(x, n, most, ref), 0, "%s exp_sums of %zu",
                    k->name, n);
        check_close(sum, k->exp_sums(x, n, most, NULL), 0, "exp_sums without blocks");
        for (size_t b = 0; b < logit_blocks(n); b++) {
            check_close(sums[b], ref[b], 0, "%s exp_sums of %zu, block %zu", k->name, n, b);
            total += sums[b];
        }
        check_close(sum, total, 1e-12 * sum, "%s exp_sums of %zu blocks", k->name, n);
        guard_free(&gx, "exp_sums x");
    }
}

void check_add(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 600; n += n < 70 ? 1 : 41) {
        if (!check_turn()) {
            continue;
        }
        struct guard gy = guard_floats(r, n, 1), gx = guard_floats(r, n, 1);
        struct guard gref = guard_copy(&gy);
        k->add(gy.data, gx.data, n);
        kernels_reference()->add(gref.data, gx.data, n);
        check_same_bits(gy.data, gref.data, n, "add");
        guard_free(&gx, "add x");
        guard_free(&gy, "add y");
        guard_free(&gref, "add reference");
    }
}

void check_add_scaled(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 600; n += n < 70 ? 1 : 41) {
        if (!check_turn()) {
            continue;
        }
        struct guard gy = guard_floats(r, n, 1), gx = guard_floats(r, n, 1);
        struct guard gref = guard_copy(&gy);
        float a = (float)rng_normal(r);
        k->add_scaled(gy.data, a, gx.data, n);
        kernels_reference()->add_scaled(gref.data, a, gx.data, n);
        check_same_bits(gy.data, gref.data, n, "add_scaled");
        guard_free(&gx, "add_scaled x");
        guard_free(&gy, "add_scaled y");
        guard_free(&gref, "add_scaled reference");
    }
}

/* exp itself, seen through softmax of (0, x) and of (x, 0): exp(x) / (1 + exp(x)), where the sum
 * rounds to 1 for x < -17.4, so that the result is exp(x). */
void check_exponential(const struct kernels *k, struct rng *r)
{
    for (int i = 0; i < 200000; i++) {
        if (!check_turn()) {
            continue;
        }
        float x = (float)(-105 * rng_uniform(r));
        float pair[2] = {x, 0};
        k->softmax(pair, 2);
        double e = exp((double)x), expected = e / (1 + e);
        /* exp: 2 units in the last place, that is 4 roundings; sum, reciprocal and product. */
        check_close((double)pair[0], expected, 8 * UNIT * expected + 0x1p-149, "%s exp of %a",
                    k->name, (double)x);
    }
}

/* A few answers known without the reference. */
void check_known(const struct kernels *k, struct rng *r)
{
    (void)r;
    float x[3] = {3, 4, 0}, weight[3] = {1, 2, 1};
    k->rms_norm(x, weight, 2, 0, x); /* sqrt(mean) = sqrt(12.5) */
    check_close((double)x[0], 3 / sqrt(12.5), 1e-6, "%s rms_norm", k->name);
    check_close((double)x[1], 8 / sqrt(12.5), 1e-6, "%s rms_norm", k->name);

    float quarter[4] = {1, 2, 3, 4}, halves[4] = {1, 2, 3, 4};
    float cosines[2] = {0, 1}, sines[2] = {1, 0}; /* a quarter turn, no turn */
    k->rope(quarter, 1, 4, 4, KERNEL_ROPE_ADJACENT, cosines, sines);
    k->rope(halves, 1, 4, 4, KERNEL_ROPE_HALVES, cosines, sines);
    check_same_bits(quarter, (float[4]){-2, 1, 3, 4}, 4, "rope of adjacent pairs");
    check_same_bits(halves, (float[4]){-3, 2, 1, 4}, 4, "rope of halves");

    float logits[3] = {0, logf(3), logf(4)};
    k->softmax(logits, 3);
    check_close((double)logits[0], 0.125, 1e-7, "%s softmax", k->name);
    check_close((double)logits[1], 0.375, 1e-7, "%s softmax", k->name);
    check_close((double)logits[2], 0.5, 1e-7, "%s softmax", k->name);

    float row[2] = {1, 3}, one_half[2] = {1, 2}, shift[2] = {10, 20}; /* mean 2, variance 1 */
    k->layer_norm(row, one_half, shift, 2, 0, row);
    check_same_bits(row, (float[2]){9, 22}, 2, "layer_norm");

    float w[6] = {1, 2, 3, 4, 5, 6}, in[3] = {1, 10, 100}, result[2];
    struct kernel_weights layer = {
        .type = TENSOR_F32, .data = w, .n_in = 3, .n_rows = 2, .row_bytes = 3 * sizeof(float)};
    k->matmul(&layer, 0, 2, in, 3, 1, result, 2);
    check_same_bits(result, (float[2]){321, 654}, 2, "matmul");
}
