/* check_activation.c: the nonlinear functions, and the choice of experts. */
#include <math.h>
#include <stdlib.h>

#include "check.h"

enum { N_KINDS = KERNEL_SWIGLU_CLAMPED + 1 };

static const char *const names[N_KINDS] = {"silu", "gelu", "gelu_tanh",
                                           "relu", "tanh", "swiglu_clamped"};

/* The argument of the exponential, where it is positive: kernels.h, activate. */
static double exponent(enum kernel_activation kind, double z)
{
    double t = 0;
    switch (kind) {
    case KERNEL_SILU:
        t = -z;
        break;
    case KERNEL_GELU_TANH:
        t = -2 * sqrt(2 / acos(-1)) * (z + 0.044715 * z * z * z);
        break;
    case KERNEL_SWIGLU_CLAMPED:
        t = -1.702 * z;
        break;
    case KERNEL_GELU:
    case KERNEL_RELU:
    case KERNEL_TANH:
        break;
    }
    return t > 0 ? t : 0;
}

static double allowed(enum kernel_activation kind, float z, float result, double factor)
{
    double relative = (24 + 4 * exponent(kind, (double)z)) * UNIT;
    /* Below the smallest normal number, roundings are absolute. */
    return relative * fabs((double)result * factor) +
           (3e-37 * fabs((double)z) + 0x1p-149) * fmax(fabs(factor), 1);
}

/* Every kind over the whole range in which the result is neither 0 nor z, densely. */
void check_activate(const struct kernels *k, struct rng *r)
{
    for (int i = 0; i < N_KINDS; i++) {
        enum kernel_activation kind = (enum kernel_activation)i;
        for (size_t n = 1; n < 6000; n += n < 70 ? 1 : 1777) {
            if (!check_turn()) {
                continue;
            }
            struct guard gx = guard_new(n * sizeof(float)), gy = guard_new(n * sizeof(float));
            struct guard gref = guard_new(n * sizeof(float));
            float *x = gx.data, *y = gy.data, *ref = gref.data;
            for (size_t j = 0; j < n; j++) {
                x[j] = (float)((rng_uniform(r) * 2 - 1) * (n % 3 == 0 ? 110 : n % 3 == 1 ? 16 : 1));
            }
            k->activate(kind, x, n, y);
            kernels_reference()->activate(kind, x, n, ref);
            for (size_t j = 0; j < n; j++) {
                check_close((double)y[j], (double)ref[j], allowed(kind, x[j], ref[j], 1),
                            "%s %s of %a", k->name, names[kind], (double)x[j]);
            }
            k->activate(kind, x, n, x);
            check_same_bits(x, y, n, "activate in place");
            guard_free(&gx, "activate x");
            guard_free(&gy, "activate y");
            guard_free(&gref, "activate reference");
        }
    }
}

void check_gate(const struct kernels *k, struct rng *r)
{
    for (int i = 0; i < N_KINDS; i++) {
        enum kernel_activation kind = (enum kernel_activation)i;
        for (size_t n = 1; n < 600; n += n < 70 ? 1 : 41) {
            if (!check_turn()) {
                continue;
            }
            struct guard gg = guard_floats(r, n, n % 2 ? 2 : 50), gu = guard_floats(r, n, 4);
            struct guard gy = guard_new(n * sizeof(float)), gref = guard_new(n * sizeof(float));
            float *gate = gg.data, *up = gu.data, *y = gy.data, *ref = gref.data;
            k->gate(kind, gate, up, n, y);
            kernels_reference()->gate(kind, gate, up, n, ref);
            struct guard ga = guard_new(n * sizeof(float));
            float *active = ga.data;
            kernels_reference()->activate(kind, gate, n, active);
            for (size_t j = 0; j < n; j++) {
                double factor = (double)up[j];
                if (kind == KERNEL_SWIGLU_CLAMPED) {
                    factor = 1 + fmin(fmax(factor, -7), 7);
                }
                double bound =
                    allowed(kind, gate[j], active[j], factor) + 2 * UNIT * fabs((double)ref[j]);
                check_close((double)y[j], (double)ref[j], bound, "%s gate %s of %zu at %zu",
                            k->name, names[kind], n, j);
            }
            struct guard gu2 = guard_copy(&gu);
            k->gate(kind, gate, gu2.data, n, gu2.data);
            check_same_bits(gu2.data, y, n, "gate into up");
            k->gate(kind, gate, up, n, gate);
            check_same_bits(gate, y, n, "gate into gate");
            guard_free(&ga, "gate activation");
            guard_free(&gg, "gate gate");
            guard_free(&gu, "gate up");
            guard_free(&gu2, "gate up");
            guard_free(&gy, "gate y");
            guard_free(&gref, "gate reference");
        }
    }
}

/* Answers known without the reference, and what happens at the ends. */
void check_activation_known(const struct kernels *k, struct rng *r)
{
    (void)r;
    enum { N = 6 };
    const float x[N] = {0, 1, -1, 100, -1000, 8};
    static const double expected[N_KINDS][N] = {
        {0, 0.7310585786300049, -0.2689414213699951, 100, 0, 7.997317198956269},
        {0, 0.8413447460685429, -0.15865525393145707, 100, 0, 7.999999999999995},
        {0, 0.8411919906082768, -0.15880800939172324, 100, 0, 8},
        {0, 1, 0, 100, 0, 8},
        {0, 0.7615941559557649, -0.7615941559557649, 1, -1, 0.9999997749296758},
        {0, 0.8457957659328212, -0.15420423406717885, 6.9999532, 0, 6.9999532},
    };
    for (int i = 0; i < N_KINDS; i++) {
        enum kernel_activation kind = (enum kernel_activation)i;
        float y[N], special[2] = {NAN, INFINITY}, ones[2] = {1, 1};
        k->activate(kind, x, N, y);
        for (size_t j = 0; j < N; j++) {
            check_close((double)y[j], expected[i][j], 1e-6 * fabs(expected[i][j]), "%s %s of %g",
                        k->name, names[i], (double)x[j]);
        }
        k->activate(kind, special, 2, y);
        double at_infinity = kind == KERNEL_TANH             ? 1
                             : kind == KERNEL_SWIGLU_CLAMPED ? 6.9999532
                                                             : (double)INFINITY;
        check_close((double)y[0], (double)NAN, 0, "%s %s of a NaN", k->name, names[i]);
        check_close((double)y[1], at_infinity, 1e-6, "%s %s of inf", k->name, names[i]);
        k->gate(kind, ones, special, 2, y);
        check_close((double)y[0], (double)NAN, 0, "%s %s times NaN", k->name, names[i]);
    }
    /* gpt-oss: (min(g, 7) sigma(1.702 min(g, 7))) (1 + cut(u)) */
    const float gate[3] = {1, 20, 1}, up[3] = {2, 100, -100};
    float y[3];
    k->gate(KERNEL_SWIGLU_CLAMPED, gate, up, 3, y);
    check_close((double)y[0], 3 * 0.8457957659328212, 1e-6, "%s clamped gate", k->name);
    check_close((double)y[1], 8 * 6.9999532, 1e-5, "%s clamped gate, above", k->name);
    check_close((double)y[2], -6 * 0.8457957659328212, 1e-5, "%s clamped gate, below", k->name);
}

void check_soft_cap(const struct kernels *k, struct rng *r)
{
    static const float caps[] = {30, 50, 1, 0.1f};
    for (size_t n = 1; n < 600; n += n < 70 ? 1 : 41) {
        if (!check_turn()) {
            continue;
        }
        float cap = caps[n % 4];
        struct guard gx = guard_floats(r, n, n % 3 == 0 ? 0.01f : n % 3 == 1 ? 20 : 200);
        struct guard gref = guard_copy(&gx), gold = guard_copy(&gx);
        float *x = gx.data, *ref = gref.data, *old = gold.data;
        k->soft_cap(x, n, cap);
        kernels_reference()->soft_cap(ref, n, cap);
        for (size_t i = 0; i < n; i++) {
            check_close((double)x[i], (double)ref[i], 16 * UNIT * fabs((double)ref[i]),
                        "%s soft_cap of %a to %g", k->name, (double)old[i], (double)cap);
        }
        guard_free(&gx, "soft_cap x");
        guard_free(&gref, "soft_cap reference");
        guard_free(&gold, "soft_cap old");
    }
    float ends[4] = {NAN, INFINITY, -INFINITY, 0};
    k->soft_cap(ends, 4, 30);
    check_close((double)ends[0], (double)NAN, 0, "%s soft_cap of a NaN", k->name);
    check_same_bits(ends + 1, (float[3]){30, -30, 0}, 3, "soft_cap of the ends");
}

/* Against sorting all: each choice beats what follows, and nothing that was left out beats it. */
void check_top_k(const struct kernels *k, struct rng *r)
{
    (void)k;
    for (size_t n = 1; n <= 64; n++) {
        float x[64];
        uint32_t got[64];
        for (size_t i = 0; i < n; i++) {
            x[i] = rng_below(r, 9) == 0 ? NAN : (float)check_between(r, 0, n / 2); /* ties */
        }
        size_t k_of = check_between(r, 1, n);
        kernels_top_k(x, n, k_of, got);
        for (size_t i = 0; i < k_of; i++) {
            /* The rank of got[i]: how many come before it. */
            size_t rank = 0;
            for (size_t j = 0; j < n; j++) {
                float a = isnan(x[j]) ? -INFINITY : x[j];
                float b = isnan(x[got[i]]) ? -INFINITY : x[got[i]];
                rank += a > b || (a == b && j < got[i]);
            }
            if (rank != i) {
                check_fail("top_k: %zu of %zu, choice %zu is the one of rank %zu", k_of, n, i,
                           rank);
            }
        }
    }
}
