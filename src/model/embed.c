/* The input of the first layer, and the angles of the rope. */
#include <math.h>

#include "model/pass.h"

static void load_row(const struct model_linear *l, uint64_t row, float *out)
{
    const struct quant_format *format = quant_format_by_type(l->w.type);
    format->dequantize((const char *)l->w.data + row * l->w.row_bytes, out, l->w.n_in);
}

static void embed_token(const struct pass *f, size_t t, float *spare)
{
    const struct model *m = f->m;
    const struct model_config *c = &m->config;
    float *x = f->s->x + t * c->n_embd;
    load_row(&m->embedding, (uint64_t)f->tokens[t], x);
    if (c->arch->scaled_embedding) {
        float scale = sqrtf((float)c->n_embd);
        for (size_t i = 0; i < c->n_embd; i++) {
            x[i] *= scale;
        }
    }
    if (m->token_types.w.data) {
        load_row(&m->token_types, f->types ? (uint64_t)f->types[t] : 0, spare);
        f->kernels->add(x, spare, c->n_embd);
    }
    if (m->positions.w.data) {
        load_row(&m->positions, pass_position(f, t), spare);
        f->kernels->add(x, spare, c->n_embd);
    }
    if (m->embedding_norm.weight) {
        f->kernels->layer_norm(x, m->embedding_norm.weight, m->embedding_norm.bias, c->n_embd,
                               c->norm_eps, x);
    }
}

static void fill_table(const struct rope_table *r, size_t half, size_t t, uint64_t position)
{
    for (size_t i = 0; i < half; i++) {
        double angle = (double)position * r->frequencies[i];
        r->cosines[t * half + i] = (float)(cos(angle) * (double)r->factor);
        r->sines[t * half + i] = (float)(sin(angle) * (double)r->factor);
    }
}

void pass_embed(const struct pass *f, struct place p)
{
    const struct model_config *c = &f->m->config;
    struct model_scratch *s = f->s;
    size_t half = c->n_rot / 2, begin, end;
    pool_share(f->n_tokens, 1, p.index, p.n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        embed_token(f, t, s->normed1 + (size_t)p.index * c->n_embd);
        fill_table(&s->rope, half, t, pass_position(f, t));
        if (c->rope_base_local != 0) {
            fill_table(&s->rope_local, half, t, pass_position(f, t));
        }
    }
}

/* YaRN (Peng et al., 2023, section 3.2): dimensions that turn more than beta_fast times within the
 * original context keep their frequency, those that turn less than beta_slow times are stretched by
 * the scale, and between the two the share goes linearly from 1 to 0. */
struct yarn {
    double low, high; /* dimensions where the ramp begins and ends */
};

/* The dimension that turns `turns` times within n_context positions. */
static double dimension_of(const struct model_config *c, double n_context, double turns)
{
    const double two_pi = 6.283185307179586476925;
    return c->n_rot * log(n_context / (turns * two_pi)) / (2 * log((double)c->rope_base));
}

static struct yarn yarn_of(const struct model_config *c)
{
    double n_context = c->n_context_original ? c->n_context_original : c->n_context;
    double fast = c->yarn_beta_fast != 0 ? (double)c->yarn_beta_fast : 32;
    double slow = c->yarn_beta_slow != 0 ? (double)c->yarn_beta_slow : 1;
    struct yarn y = {dimension_of(c, n_context, fast), dimension_of(c, n_context, slow)};
    if (!c->arch->yarn_exact_ramp) {
        y.low = floor(y.low);
        y.high = ceil(y.high);
    }
    y.low = fmax(y.low, 0);
    y.high = fmin(y.high, (double)c->n_rot - 1);
    y.high = y.high == y.low ? y.low + 0.001 : y.high;
    return y;
}

static double yarn_kept_share(const struct yarn *y, size_t i)
{
    return 1 - fmin(fmax(((double)i - y->low) / (y->high - y->low), 0), 1);
}

static const float *divisors_of(const struct model *m, uint32_t capacity)
{
    const struct model_config *c = &m->config;
    uint32_t original = c->n_context_original ? c->n_context_original : c->n_context;
    if (m->rope_long && capacity > original) {
        return m->rope_long;
    }
    return m->rope_short ? m->rope_short : m->rope_divisors;
}

void rope_prepare(const struct model *m, struct model_scratch *s, uint32_t capacity)
{
    const struct model_config *c = &m->config;
    const float *divisors = divisors_of(m, capacity);
    double given = c->rope_attention_factor != 0 ? (double)c->rope_attention_factor : 1;
    double scale = c->rope_scale != 0 ? (double)c->rope_scale : 1;
    bool is_yarn = c->rope_scaling == MODEL_ROPE_YARN;
    bool is_scaled = is_yarn || c->rope_scaling == MODEL_ROPE_LINEAR;
    struct yarn yarn = is_yarn ? yarn_of(c) : (struct yarn){0, 1};
    for (uint32_t i = 0; i < c->n_rot / 2; i++) {
        double kept = pow((double)c->rope_base, -2.0 * i / c->n_rot);
        kept = divisors ? kept / (double)divisors[i] : kept;
        double share = is_yarn ? yarn_kept_share(&yarn, i) : is_scaled ? 0 : 1;
        s->rope.frequencies[i] = kept * share + kept / scale * (1 - share);
        if (c->rope_base_local != 0) {
            s->rope_local.frequencies[i] = pow((double)c->rope_base_local, -2.0 * i / c->n_rot);
        }
    }
    s->rope.factor = (float)(given * (is_yarn && scale > 1 ? 0.1 * log(scale) + 1 : 1));
    s->rope_local.factor = 1;
}
