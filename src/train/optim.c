#include "train/optim.h"

#include <math.h>

#include "train/real.h"

double optim_learning_rate(const struct train_config *c, uint32_t step)
{
    if (step < c->warmup_steps) {
        return c->learning_rate * (double)(step + 1) / c->warmup_steps;
    }
    uint32_t span = c->steps > c->warmup_steps + 1 ? c->steps - c->warmup_steps - 1 : 1;
    double share = (double)(step - c->warmup_steps) / span;
    share = share > 1 ? 1 : share;
    return c->final_learning_rate +
           (c->learning_rate - c->final_learning_rate) * 0.5 * (1 + cos(3.141592653589793 * share));
}

double optim_sum_squares(const float *g, size_t n)
{
    enum { BLOCK = 8 };
    double acc[BLOCK] = {0};
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        for (int l = 0; l < BLOCK; l++) {
            acc[l] += (double)g[i + l] * (double)g[i + l];
        }
    }
    for (; i < n; i++) {
        acc[0] += (double)g[i] * (double)g[i];
    }
    return ((acc[0] + acc[4]) + (acc[1] + acc[5])) + ((acc[2] + acc[6]) + (acc[3] + acc[7]));
}

VECTOR_CLONES
void optim_adamw(const struct train_config *c, const struct optim_step *s, const float *g, size_t n,
                 float *w, float *m, float *v)
{
    float b1 = c->beta1, b2 = c->beta2, eps = c->epsilon;
    float clip = (float)s->clip_factor, rate = (float)s->learning_rate;
    float fix1 = (float)(1 / (1 - pow((double)b1, s->t)));
    float fix2 = (float)(1 / (1 - pow((double)b2, s->t)));
    float decay = s->decay;
    for (size_t i = 0; i < n; i++) {
        float x = g[i] * clip;
        m[i] = b1 * m[i] + (1 - b1) * x;
        v[i] = b2 * v[i] + (1 - b2) * x * x;
        w[i] -= rate * (m[i] * fix1 / (sqrtf(v[i] * fix2) + eps) + decay * w[i]);
    }
}
