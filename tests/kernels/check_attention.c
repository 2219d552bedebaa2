/* check_attention.c: attention of several queries that share keys and values, against the formula
 * in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* What changes the scores: see struct kernel_attention. A sink of 0 is none here. */
struct twist {
    float softcap, sink;
};

struct shape {
    size_t head_dim, n_positions, n_queries, gap;
    float spread;
    struct twist twist;
    bool one_token; /* all queries see all positions */
};

/* The memory of a call. */
struct call {
    struct kernel_attention a;
    struct kernel_query queries[ATTENTION_QUERIES];
    struct guard q, k, v, out, scratch;
    float sink;
};

static void *own(struct guard *g, size_t size_bytes)
{
    *g = guard_new(size_bytes);
    return g->data;
}

static void call_new(struct call *c, struct rng *r, const struct shape *s)
{
    size_t stride = s->head_dim + s->gap, n = (s->n_positions - 1) * stride + s->head_dim;
    *c = (struct call){.q = guard_floats(r, s->n_queries * s->head_dim, s->spread),
                       .k = guard_floats(r, n, 1),
                       .v = guard_floats(r, n, 1),
                       .sink = s->twist.sink};
    own(&c->out, s->n_queries * stride * sizeof(float));
    own(&c->scratch, kernels_attention_scratch_bytes(s->head_dim));
    size_t last = check_between(r, 0, s->n_queries - 1);
    for (size_t i = 0; i < s->n_queries; i++) {
        size_t end =
            s->one_token || i == last ? s->n_positions : check_between(r, 1, s->n_positions);
        size_t begin = s->one_token || rng_below(r, 2) ? 0 : check_between(r, 0, end - 1);
        c->queries[i] = (struct kernel_query){.q = (float *)c->q.data + i * s->head_dim,
                                              .begin = (uint32_t)begin,
                                              .end = (uint32_t)end,
                                              .sink = s->twist.sink != 0 ? &c->sink : NULL,
                                              .out = (float *)c->out.data + i * stride};
    }
    c->a = (struct kernel_attention){.kv = KERNEL_KV_ROWS,
                                     .k = c->k.data,
                                     .v = c->v.data,
                                     .kv_stride = stride,
                                     .head_dim = s->head_dim,
                                     .scale = 1 / sqrtf((float)s->head_dim),
                                     .softcap = s->twist.softcap,
                                     .queries = c->queries,
                                     .n_queries = s->n_queries,
                                     .scratch = c->scratch.data};
}

static void call_free(struct call *c)
{
    guard_free(&c->q, "attention q");
    guard_free(&c->k, "attention k");
    guard_free(&c->v, "attention v");
    guard_free(&c->out, "attention out");
    guard_free(&c->scratch, "attention scratch");
}

/* The formula; out and bound: [head_dim]. */
static void exact(const struct kernel_attention *a, const struct kernel_query *q, bool of_reference,
                  double *out, double *bound)
{
    size_t n = q->end - q->begin;
    double *p = malloc(n * sizeof *p), worst = 0, low = INFINITY, high = -INFINITY, total = 0;
    if (p == NULL) {
        exit(1);
    }
    if (q->sink) {
        worst = fabs((double)*q->sink);
        low = high = (double)*q->sink;
    }
    for (size_t j = 0; j < n; j++) {
        double sum = 0, magnitude = 0;
        for (size_t d = 0; d < a->head_dim; d++) {
            double product = (double)q->q[d] * (double)a->k[(q->begin + j) * a->kv_stride + d];
            sum += product * (double)a->scale;
            magnitude += fabs(product * (double)a->scale);
        }
        p[j] = a->softcap > 0 ? (double)a->softcap * tanh(sum / (double)a->softcap) : sum;
        low = fmin(low, p[j]);
        high = fmax(high, p[j]);
        worst = fmax(worst, magnitude);
    }
    for (size_t j = 0; j < n; j++) {
        p[j] = exp(p[j] - high);
        total += p[j];
    }
    total += q->sink ? exp((double)*q->sink - high) : 0;
    double relative =
        (2 * (double)a->head_dim + 40) * worst + 6 * (high - low) + (double)n / 16 + 160;
    relative = of_reference ? (double)n / 32 + 8 : relative;
    for (size_t d = 0; d < a->head_dim; d++) {
        out[d] = bound[d] = 0;
        for (size_t j = 0; j < n; j++) {
            double value = (double)a->v[(q->begin + j) * a->kv_stride + d];
            out[d] += p[j] / total * value;
            bound[d] += relative * UNIT * p[j] / total * fabs(value);
        }
    }
    free(p);
}

/* Each query in a call of its own, its keys and values among things that are not numbers. */
static void check_alone(const struct kernels *k, const struct call *c)
{
    const struct kernel_attention *a = &c->a;
    size_t stride = a->head_dim + 5;
    for (size_t i = 0; i < a->n_queries; i += 1 + a->n_queries / 3) {
        struct kernel_query q = a->queries[i];
        struct guard gk, gv, gout;
        float *keys = own(&gk, ((q.end - 1) * stride + a->head_dim) * sizeof(float));
        float *values = own(&gv, ((q.end - 1) * stride + a->head_dim) * sizeof(float));
        for (size_t j = q.begin; j < q.end; j++) {
            memcpy(keys + j * stride, a->k + j * a->kv_stride, a->head_dim * sizeof *keys);
            memcpy(values + j * stride, a->v + j * a->kv_stride, a->head_dim * sizeof *values);
        }
        q.out = own(&gout, a->head_dim * sizeof(float));
        struct kernel_attention one = *a;
        one.k = keys;
        one.v = values;
        one.kv_stride = stride;
        one.queries = &q;
        one.n_queries = 1;
        k->attention(&one);
        check_same_bits(q.out, a->queries[i].out, a->head_dim, "attention of one query alone");
        guard_free(&gk, "attention k");
        guard_free(&gv, "attention v");
        guard_free(&gout, "attention out");
    }
}

/* Blocks looked at some at a time, by some of the queries, and joined. */
static void check_parts(const struct kernels *k, struct rng *r, const struct call *c)
{
    struct kernel_attention fetching = c->a, *a = &fetching;
    if (rng_below(r, 2)) { /* this changes no bit, wherever it leads */
        a->ahead_k = c->k.data;
        a->ahead_v = c->v.data;
        a->ahead_bytes = check_between(r, 0, 1 << 20);
    }
    uint32_t n_blocks = 0;
    for (size_t i = 0; i < a->n_queries; i++) {
        uint32_t end = attention_end_block(&a->queries[i]);
        n_blocks = end > n_blocks ? end : n_blocks;
    }
    size_t floats = attention_part_floats(a->head_dim), row = a->n_queries * floats;
    struct guard gparts, gout;
    float *parts = own(&gparts, n_blocks * row * sizeof(float));
    for (uint32_t b = 0, end; b < n_blocks; b = end) {
        end = (uint32_t)check_between(r, b + 1, n_blocks);
        k->attention_part(a, b, end, parts + b * row);
    }
    for (size_t i = 0; i < a->n_queries; i++) {
        struct kernel_query q = a->queries[i];
        for (uint32_t b = 0; b < n_blocks; b++) {
            if (b < attention_first_block(&q) || b >= attention_end_block(&q)) {
                check_untouched(parts + b * row + i * floats, floats, "parts that are not seen");
            }
        }
        q.out = own(&gout, a->head_dim * sizeof(float));
        k->attention_join(&q, a->head_dim, parts + attention_first_block(&q) * row + i * floats,
                          row);
        check_same_bits(q.out, a->queries[i].out, a->head_dim, "attention joined from parts");
        guard_free(&gout, "attention out");
    }
    guard_free(&gparts, "attention parts");
}

/* ---- keys and values that are kept ---- */

/* Random rows of one head in blocks at odd places, and what was rounded on the way. */
struct kept {
    enum kernel_kv kv;
    size_t half_bytes, page_bytes;
    uint32_t *table;
    struct guard pages;
    float *k, *v; /* [n_positions, head_dim] as they are read */
};

static uint32_t type_of(enum kernel_kv kv)
{
    return kv == KERNEL_KV_F32 ? TENSOR_F32 : kv == KERNEL_KV_F16 ? TENSOR_F16 : TENSOR_Q8_0;
}

/* The definition: what is kept is what the format of weights would keep. */
static void round_rows(enum kernel_kv kv, const float *x, size_t stride, size_t n, size_t head_dim,
                       float *to)
{
    const struct quant_format *f = quant_format_by_type(type_of(kv));
    uint8_t *row = malloc(head_dim * sizeof *x + 64);
    if (row == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        f->quantize(x + i * stride, row, head_dim);
        f->dequantize(row, to + i * head_dim, head_dim);
    }
    free(row);
}

/* Several positions at a time, as prompts do. */
static void keep_all(const struct kernels *k, struct rng *r, const struct kernel_attention *a,
                     size_t n, const struct kept *kept, char *pages)
{
    for (size_t at = 0, here; at < n; at += here) {
        size_t within = at % ATTENTION_POSITIONS;
        here = rng_below(r, 2) ? 1 : check_between(r, 1, ATTENTION_POSITIONS - within);
        here = here < n - at ? here : n - at;
        char *block = pages + kept->table[at / ATTENTION_POSITIONS] * kept->page_bytes;
        k->keep_keys(kept->kv, a->k + at * a->kv_stride, a->kv_stride, here, a->head_dim, within,
                     block);
        k->keep_values(kept->kv, a->v + at * a->kv_stride, a->kv_stride, here, a->head_dim, within,
                       block + kept->half_bytes);
    }
}

static struct kept kept_new(const struct kernels *k, struct rng *r, enum kernel_kv kv,
                            const struct kernel_attention *a, size_t n)
{
    uint32_t n_blocks = (uint32_t)((n + ATTENTION_POSITIONS - 1) / ATTENTION_POSITIONS);
    struct kept kept = {.kv = kv,
                        .half_bytes = attention_half_bytes(kv, a->head_dim),
                        .table = malloc(n_blocks * sizeof *kept.table),
                        .k = malloc(n * a->head_dim * sizeof(float)),
                        .v = malloc(n * a->head_dim * sizeof(float))};
    kept.page_bytes = 2 * kept.half_bytes + 64 * check_between(r, 0, 3);
    if (kept.table == NULL || kept.k == NULL || kept.v == NULL) {
        exit(1);
    }
    for (uint32_t i = 0; i < n_blocks; i++) { /* any block may be the one before the guard page */
        uint32_t other = (uint32_t)rng_below(r, i + 1);
        kept.table[i] = kept.table[other];
        kept.table[other] = i;
    }
    size_t size_bytes = (n_blocks - 1) * kept.page_bytes + 2 * kept.half_bytes;
    kept.pages = guard_new(size_bytes);
    struct guard reference = guard_new(size_bytes);
    keep_all(k, r, a, n, &kept, kept.pages.data);
    keep_all(kernels_reference(), r, a, n, &kept, reference.data);
    if (memcmp(kept.pages.data, reference.data, size_bytes) != 0) {
        check_fail("%s keeps other bytes than the reference: heads of %zu, type %d", k->name,
                   a->head_dim, (int)kv);
    }
    guard_free(&reference, "reference pages");
    round_rows(kv, a->k, a->kv_stride, n, a->head_dim, kept.k);
    round_rows(kv, a->v, a->kv_stride, n, a->head_dim, kept.v);
    return kept;
}

static void kept_free(struct kept *kept)
{
    guard_free(&kept->pages, "pages");
    free(kept->table);
    free(kept->k);
    free(kept->v);
}

/* The bits of the rounded rows as f32, however they lie. */
static void check_kept(const struct kernels *k, struct rng *r, const struct call *c, size_t n,
                       enum kernel_kv kv)
{
    const size_t head_dim = c->a.head_dim;
    struct kept kept = kept_new(k, r, kv, &c->a, n);
    struct kernel_attention rows = c->a;
    rows.k = kept.k;
    rows.v = kept.v;
    rows.kv_stride = head_dim;
    k->attention(&rows);
    struct guard want = guard_copy(&c->out);
    struct call paged = *c;
    paged.a.kv = kv;
    paged.a.blocks = kept.pages.data;
    paged.a.table = kept.table;
    paged.a.page_bytes = kept.page_bytes;
    paged.a.k = paged.a.v = NULL;
    k->attention(&paged.a);
    for (size_t i = 0; i < c->a.n_queries; i++) {
        const float *out = c->queries[i].out;
        check_same_bits(out, (float *)want.data + (out - (float *)c->out.data), head_dim,
                        "attention over pages, beside rows");
    }
    check_parts(k, r, &paged);
    guard_free(&want, "attention out");
    kept_free(&kept);
}

static void check_shape(const struct kernels *k, struct rng *r, const struct shape *s)
{
    if (!check_turn()) {
        return;
    }
    struct call c;
    call_new(&c, r, s);
    k->attention(&c.a);
    double *out = malloc(2 * s->head_dim * sizeof *out), *bound = out + s->head_dim;
    if (out == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < s->n_queries; i++) {
        const struct kernel_query *q = &c.queries[i];
        exact(&c.a, q, k == kernels_reference(), out, bound);
        for (size_t d = 0; d < s->head_dim; d++) {
            check_close((double)q->out[d], out[d], bound[d],
                        "%s attention of query %zu of %zu over [%u, %u), head_dim %zu, at %zu",
                        k->name, i, s->n_queries, q->begin, q->end, s->head_dim, d);
        }
        check_untouched(q->out + s->head_dim, s->gap, "attention, between outputs");
    }
    free(out);
    check_alone(k, &c);
    check_parts(k, r, &c);
    enum kernel_kv kv = (enum kernel_kv)rng_below(r, 3);
    bool scaled = s->head_dim % ATTENTION_SCALED == 0;
    check_kept(k, r, &c, s->n_positions, kv == KERNEL_KV_Q8_0 && !scaled ? KERNEL_KV_F16 : kv);
    if (s->n_positions > ATTENTION_POSITIONS && scaled && kv != KERNEL_KV_Q8_0) {
        check_kept(k, r, &c, s->n_positions, KERNEL_KV_Q8_0);
    }
    call_free(&c);
}

void check_attention(const struct kernels *k, struct rng *r)
{
    static const struct twist twists[] = {{0}, {5, 0}, {0, 2.5f}, {30, -1}, {0, 40}};
    enum { N_TWISTS = sizeof twists / sizeof twists[0] };
    for (size_t head_dim = 1; head_dim <= 140; head_dim++) {
        struct shape s = {.head_dim = head_dim,
                          .n_positions = check_between(r, 1, 40),
                          .n_queries = check_between(r, 1, 14),
                          .gap = head_dim % 4,
                          .spread = 1,
                          .twist = twists[head_dim % N_TWISTS]};
        check_shape(k, r, &s);
    }
    for (size_t n = 1; n <= 150; n += n < 40 ? 1 : 11) {
        for (size_t i = 0; i < N_TWISTS; i++) {
            struct shape s = {64, n, 1 + (n + i) % 9, 0, 1, twists[i], n % 2 == 1};
            check_shape(k, r, &s);
        }
        /* Sharp: most weights underflow. */
        struct shape sharp = {80, n, 1 + n % 13, 16, 30, twists[n % 2 * 3], false};
        check_shape(k, r, &sharp);
    }
    static const struct shape large[] = {
        {64, 1500, ATTENTION_QUERIES, 0, 2, {0, 0}, false},
        {128, 1500, 1, 0, 2, {0, 0}, true},
        {256, 333, 13, 64, 2, {5, 0}, false},
        {64, 4 * ATTENTION_POSITIONS, 9, 128, 1, {0, 0}, true},
        {32, 700, 71, 3, 1, {0, 1}, false},
        {576, 200, 7, 0, 1, {0, 0}, false},
        {64, 513, 3, 128, 1, {0, 0}, true},
        {96, 129, 6, 0, 40, {0, 3}, false},
    };
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        check_shape(k, r, &large[i]);
    }
}

/* Numbers of every size and kind are kept as the reference keeps them. */
void check_keep(const struct kernels *k, struct rng *r)
{
    static const float strange[] = {0,      -0.0f,     65504,     65519.99f, 65520,      -1e6f,
                                    6e-8f,  -2e-8f,    1e-40f,    0x1p-14f,  3e38f,      INFINITY,
                                    8.4e6f, -INFINITY, 0x1p-149f, 6.1e-5f,   0.49999997f};
    enum { N_STRANGE = sizeof strange / sizeof strange[0] };
    for (size_t head_dim = 1; head_dim <= 300; head_dim += head_dim < 70 ? 1 : 23) {
        if (!check_turn()) {
            continue;
        }
        size_t n = check_between(r, 1, 40), stride = head_dim + head_dim % 3;
        struct guard gx = guard_floats(r, (n - 1) * stride + head_dim, 1);
        float *x = gx.data;
        for (size_t i = 0; i < n; i++) {
            /* Each row of a size of its own, and in some a number that is strange. */
            float size = ldexpf(1, (int)check_between(r, 0, 60) - 40);
            for (size_t d = 0; d < head_dim; d++) {
                x[i * stride + d] *= size;
            }
            if (rng_below(r, 2)) {
                x[i * stride + check_between(r, 0, head_dim - 1)] =
                    strange[rng_below(r, N_STRANGE)];
            }
        }
        struct kernel_attention rows = {.k = x, .v = x, .kv_stride = stride, .head_dim = head_dim};
        for (int kv = KERNEL_KV_F32; kv <= KERNEL_KV_Q8_0; kv++) {
            if (kv != KERNEL_KV_Q8_0 || head_dim % ATTENTION_SCALED == 0) {
                struct kept kept = kept_new(k, r, (enum kernel_kv)kv, &rows, n);
                kept_free(&kept);
            }
        }
        guard_free(&gx, "keys");
    }
}

/* One position of a key or a value that is not a number: all queries that see it show it, the
 * others keep their bits. */
void check_attention_special(const struct kernels *k, struct rng *r)
{
    static const float strange[] = {NAN, INFINITY, -INFINITY};
    for (size_t n = 1; n < 400; n += n < 20 ? 1 : 31) {
        for (size_t i = 0; i < 6; i++) {
            if (n >= 20 && !check_turn()) { /* the short ones are always looked at */
                continue;
            }
            struct shape s = {.head_dim = 1 + n % 70,
                              .n_positions = n,
                              .n_queries = check_between(r, 1, 20),
                              .spread = 1};
            struct call c;
            call_new(&c, r, &s);
            k->attention(&c.a);
            struct guard before = guard_copy(&c.out);
            size_t at = check_between(r, 0, n - 1);
            ((float *)(i % 2 ? c.v.data : c.k.data))[at * c.a.kv_stride] = strange[i / 2];
            k->attention(&c.a);
            for (size_t j = 0; j < s.n_queries; j++) {
                const struct kernel_query *q = &c.queries[j];
                if (at < q->begin || at >= q->end) {
                    check_same_bits(q->out, (float *)before.data + (q->out - (float *)c.out.data),
                                    s.head_dim, "attention with a NaN where it does not look");
                } else if (i % 2) {
                    /* A value touches its own dimension alone. */
                    if (isfinite(q->out[0])) {
                        check_fail("%s attention hides a value of %g", k->name,
                                   (double)strange[i / 2]);
                    }
                } else {
                    /* A score of -inf has no weight. */
                    bool sunk = isinf(strange[i / 2]) && q->q[0] * strange[i / 2] < 0;
                    for (size_t d = 0; d < s.head_dim; d++) {
                        if (sunk ? !isfinite(q->out[d]) : !isnan(q->out[d])) {
                            check_fail("%s attention of a score of %g: %g", k->name,
                                       (double)(q->q[0] * strange[i / 2]), (double)q->out[d]);
                        }
                    }
                }
            }
            guard_free(&before, "attention out");
            call_free(&c);
        }
    }
}

/* A few answers known without the reference. */
void check_attention_known(const struct kernels *k, struct rng *r)
{
    (void)r;
    /* Two equal keys share; a key far below has no weight. */
    float q[1] = {1}, keys[3] = {1, 1, -500}, values[3] = {2, 4, 1000}, out[1];
    struct guard scratch = guard_new(kernels_attention_scratch_bytes(1));
    struct kernel_query query = {.q = q, .end = 3, .out = out};
    struct kernel_attention a = {.kv = KERNEL_KV_ROWS,
                                 .k = keys,
                                 .v = values,
                                 .kv_stride = 1,
                                 .head_dim = 1,
                                 .scale = 1,
                                 .queries = &query,
                                 .n_queries = 1,
                                 .scratch = scratch.data};
    k->attention(&a);
    check_close((double)out[0], 3, 1e-6, "%s attention", k->name);
    query.begin = 2; /* alone, it has all the weight */
    k->attention(&a);
    check_close((double)out[0], 1000, 0, "%s attention of one position", k->name);
    query.begin = 0;
    /* A sink as large as they are takes a third. Capped to 1, the far key comes back: the scores
     * are 1 tanh(1), twice, and 1 tanh(-500). */
    query.sink = &q[0];
    k->attention(&a);
    check_close((double)out[0], 2, 1e-6, "%s attention with a sink", k->name);
    float beyond = 500; /* above all scores by more than exp can hold */
    query.sink = &beyond;
    k->attention(&a);
    check_close((double)out[0], 0, 0, "%s attention with a sink far above", k->name);
    query.sink = NULL;
    a.softcap = 1;
    double near = exp(tanh(1)), far = exp(-1);
    k->attention(&a);
    check_close((double)out[0], (6 * near + 1000 * far) / (2 * near + far), 1e-3,
                "%s capped attention", k->name);
    /* Scores of any size: the largest wins. */
    a.softcap = 0;
    keys[0] = 3e38f;
    keys[2] = -3e38f;
    k->attention(&a);
    check_close((double)out[0], 2, 0, "%s attention with huge scores", k->name);
    /* Where all scores are -inf, nothing has weight. */
    keys[0] = keys[1] = keys[2] = -INFINITY;
    k->attention(&a);
    check_close((double)out[0], 0, 0, "%s attention of nothing", k->name);
    guard_free(&scratch, "attention scratch");
}
