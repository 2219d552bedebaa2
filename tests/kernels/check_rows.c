/* check_rows.c: operations on one row: norms, rotations, activations, softmax, attention. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

void check_rms_norm(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 300; n += n < 70 ? 1 : 37) {
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
        k->rms_norm(x, gw.data, n, 1e-5f, x);
        check_same_bits(x, y, n, "rms_norm in place");
        guard_free(&gx, "rms_norm x");
        guard_free(&gw, "rms_norm weight");
        guard_free(&gy, "rms_norm y");
        guard_free(&gref, "rms_norm reference");
    }
}

static void check_rope_shape(const struct kernels *k, struct rng *r, size_t n_heads,
                             size_t head_dim, size_t n_rot, enum kernel_rope_layout layout)
{
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

static void check_attention_shape(const struct kernels *k, struct rng *r, size_t head_dim,
                                  size_t n_kv, size_t gap, float spread)
{
    size_t stride = head_dim + gap, n = (n_kv - 1) * stride + head_dim;
    struct guard gq = guard_floats(r, head_dim, spread), gk = guard_floats(r, n, 1);
    struct guard gv = guard_floats(r, n, 1), gs = guard_new(n_kv * sizeof(float));
    struct guard gref_s = guard_new(n_kv * sizeof(float));
    struct guard gout = guard_new(head_dim * sizeof(float));
    struct guard gref = guard_new(head_dim * sizeof(float));
    struct kernel_attention a = {.q = gq.data,
                                 .k = gk.data,
                                 .v = gv.data,
                                 .kv_stride = stride,
                                 .n_kv = n_kv,
                                 .head_dim = head_dim,
                                 .scale = 1 / sqrtf((float)head_dim),
                                 .scores = gs.data,
                                 .out = gout.data};
    k->attention(&a);
    struct kernel_attention b = a;
    b.scores = gref_s.data;
    b.out = gref.data;
    kernels_reference()->attention(&b);

    /* The reference leaves the probabilities in its scratch. */
    double worst = 0, low = INFINITY, high = -INFINITY;
    for (size_t j = 0; j < n_kv; j++) {
        double sum = 0, magnitude = 0;
        for (size_t d = 0; d < head_dim; d++) {
            double product = (double)a.q[d] * (double)a.k[j * stride + d];
            sum += product * (double)a.scale;
            magnitude += fabs(product * (double)a.scale);
        }
        low = fmin(low, sum);
        high = fmax(high, sum);
        worst = fmax(worst, magnitude);
    }
    double relative =
        (2 * ((double)head_dim / 8 + 10) * worst + (high - low) + (double)n_kv + 32) * UNIT;
    for (size_t d = 0; d < head_dim; d++) {
        double magnitude = 0;
        for (size_t j = 0; j < n_kv; j++) {
            magnitude += (double)b.scores[j] * fabs((double)a.v[j * stride + d]);
        }
        check_close((double)a.out[d], (double)b.out[d], relative * magnitude,
                    "%s attention over %zu of %zu at %zu", k->name, n_kv, head_dim, d);
    }

    /* The same bits with the rows apart: a position's place in memory does not matter. */
    size_t apart = stride + 5;
    struct guard gk2 = guard_new(((n_kv - 1) * apart + head_dim) * sizeof(float));
    struct guard gv2 = guard_new(((n_kv - 1) * apart + head_dim) * sizeof(float));
    for (size_t j = 0; j < n_kv; j++) {
        memcpy((float *)gk2.data + j * apart, a.k + j * stride, head_dim * sizeof(float));
        memcpy((float *)gv2.data + j * apart, a.v + j * stride, head_dim * sizeof(float));
    }
    struct kernel_attention c = b;
    c.k = gk2.data;
    c.v = gv2.data;
    c.kv_stride = apart;
    k->attention(&c);
    check_same_bits(c.out, a.out, head_dim, "attention with another stride");
    guard_free(&gq, "attention q");
    guard_free(&gk, "attention k");
    guard_free(&gv, "attention v");
    guard_free(&gk2, "attention k");
    guard_free(&gv2, "attention v");
    guard_free(&gs, "attention scores");
    guard_free(&gref_s, "attention scores");
    guard_free(&gout, "attention out");
    guard_free(&gref, "attention out");
}

void check_attention(const struct kernels *k, struct rng *r)
{
    for (size_t head_dim = 1; head_dim <= 140; head_dim++) {
        check_attention_shape(k, r, head_dim, check_between(r, 1, 40), head_dim % 4, 1);
    }
    for (size_t n_kv = 1; n_kv <= 40; n_kv++) {
        check_attention_shape(k, r, 64, n_kv, 0, 1);
        check_attention_shape(k, r, 80, n_kv, 16, 30); /* sharp: most weights underflow */
    }
    check_attention_shape(k, r, 128, 1500, 0, 2);
    check_attention_shape(k, r, 256, 333, 64, 2);
}

void check_softmax(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 400; n += n < 70 ? 1 : 29) {
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

void check_swiglu(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 600; n += n < 70 ? 1 : 41) {
        struct guard gg = guard_floats(r, n, n % 2 ? 2 : 50), gu = guard_floats(r, n, 1);
        struct guard gy = guard_new(n * sizeof(float)), gref = guard_new(n * sizeof(float));
        float *gate = gg.data, *up = gu.data, *y = gy.data, *ref = gref.data;
        k->swiglu(gate, up, n, y);
        kernels_reference()->swiglu(gate, up, n, ref);
        for (size_t i = 0; i < n; i++) {
            double bound =
                10 * UNIT * fabs((double)ref[i]) + 3e-37 * fabs((double)up[i]) + 0x1p-149;
            check_close((double)y[i], (double)ref[i], bound, "%s swiglu of %zu at %zu", k->name, n,
                        i);
        }
        struct guard gu2 = guard_copy(&gu);
        k->swiglu(gate, gu2.data, n, gu2.data);
        check_same_bits(gu2.data, y, n, "swiglu into up");
        k->swiglu(gate, up, n, gate);
        check_same_bits(gate, y, n, "swiglu into gate");
        guard_free(&gg, "swiglu gate");
        guard_free(&gu, "swiglu up");
        guard_free(&gu2, "swiglu up");
        guard_free(&gy, "swiglu y");
        guard_free(&gref, "swiglu reference");
    }
}

void check_add(const struct kernels *k, struct rng *r)
{
    for (size_t n = 1; n < 600; n += n < 70 ? 1 : 41) {
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

/* exp itself, seen through softmax of (0, x) and of (x, 0): exp(x) / (1 + exp(x)), where the sum
 * rounds to 1 for x < -17.4, so that the result is exp(x). */
void check_exponential(const struct kernels *k, struct rng *r)
{
    for (int i = 0; i < 200000; i++) {
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

    float gate[3] = {0, 1, -1000}, up[3] = {7, 2, 1}, y[3];
    k->swiglu(gate, up, 3, y);
    check_close((double)y[0], 0, 0, "%s swiglu of 0", k->name);
    check_close((double)y[1], 2 / (1 + exp(-1)), 1e-6, "%s swiglu of 1", k->name);
    check_close((double)y[2], 0, 0, "%s swiglu of -1000", k->name);

    /* Two equal keys share; a key far below has no weight. */
    float q[1] = {1}, keys[3] = {1, 1, -500}, values[3] = {2, 4, 1000}, scores[3], out[1];
    struct kernel_attention a = {q, keys, values, 1, 3, 1, 1, scores, out};
    k->attention(&a);
    check_close((double)out[0], 3, 1e-6, "%s attention", k->name);

    float w[6] = {1, 2, 3, 4, 5, 6}, in[3] = {1, 10, 100}, result[2];
    struct kernel_weights layer = {TENSOR_F32, w, 3, 2, 3 * sizeof(float)};
    k->matmul(&layer, 0, 2, in, 3, 1, result, 2);
    check_same_bits(result, (float[2]){321, 654}, 2, "matmul");
}
