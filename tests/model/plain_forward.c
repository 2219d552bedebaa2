/* Whole sequences at once, no cache, no chunks, everything in double, straight from the formulas of
 * the papers. Written without a look at src/model/, and to stay so. */
#include "plain_forward.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct tensor {
    double *w; /* [n_rows, n_in] */
    size_t n_in, n_rows;
};

static struct tensor get(const struct gguf *g, const char *what, unsigned layer)
{
    char name[64];
    if (what[0] == 'b') {
        snprintf(name, sizeof name, "blk.%u.%s.weight", layer, what + 2);
    } else {
        snprintf(name, sizeof name, "%s.weight", what);
    }
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    if (!t) {
        return (struct tensor){0};
    }
    size_t n = t->dims[0] * t->dims[1];
    float *x = mem_array(n, sizeof *x);
    struct tensor out = {mem_array(n, sizeof(double)), t->dims[0], t->dims[1]};
    t->format->dequantize(t->data, x, n);
    for (size_t i = 0; i < n; i++) {
        out.w[i] = x[i];
    }
    free(x);
    return out;
}

static void linear(struct tensor t, const double *x, double *y)
{
    for (size_t r = 0; r < t.n_rows; r++) {
        y[r] = 0;
        for (size_t i = 0; i < t.n_in; i++) {
            y[r] += t.w[r * t.n_in + i] * x[i];
        }
    }
}

static void norm(struct tensor t, const double *x, double *y)
{
    double square = 0;
    for (size_t i = 0; i < t.n_in; i++) {
        square += x[i] * x[i];
    }
    double by = 1 / sqrt(square / (double)t.n_in + (double)1e-5f);
    for (size_t i = 0; i < t.n_in; i++) {
        y[i] = x[i] * by * t.w[i];
    }
}

static void rope(const struct tiny *t, struct tensor divisors, double *x, size_t n_heads,
                 size_t position)
{
    for (size_t h = 0; h < n_heads; h++) {
        for (size_t i = 0; i < t->n_rot / 2; i++) {
            double angle = (double)position / (double)t->rope_scale *
                           pow(5000.0, -(2.0 * (double)i) / t->n_rot);
            angle = divisors.w ? angle / divisors.w[i] : angle;
            double *pair = x + h * t->head_dim + 2 * i;
            double a = pair[0], b = pair[1];
            pair[0] = a * cos(angle) - b * sin(angle);
            pair[1] = a * sin(angle) + b * cos(angle);
        }
    }
}

static void attention(const struct tiny *t, const double *q, const double *k, const double *v,
                      size_t position, double *out)
{
    size_t d = t->head_dim, n_kv = t->n_kv_heads * d;
    double *p = mem_array(position + 1, sizeof *p);
    for (size_t h = 0; h < t->n_heads; h++) {
        size_t g = h * t->n_kv_heads / t->n_heads;
        double most = -INFINITY, sum = 0;
        for (size_t s = 0; s <= position; s++) {
            p[s] = 0;
            for (size_t i = 0; i < d; i++) {
                p[s] += q[h * d + i] * k[s * n_kv + g * d + i];
            }
            p[s] /= sqrt((double)d);
            most = p[s] > most ? p[s] : most;
        }
        for (size_t s = 0; s <= position; s++) {
            p[s] = exp(p[s] - most);
            sum += p[s];
        }
        for (size_t i = 0; i < d; i++) {
            out[h * d + i] = 0;
            for (size_t s = 0; s <= position; s++) {
                out[h * d + i] += p[s] / sum * v[s * n_kv + g * d + i];
            }
        }
    }
    free(p);
}

void plain_forward(const struct tiny *t, const struct gguf *g, const int32_t *tokens, size_t n,
                   double *logits)
{
    static const char *const names[] = {"b.attn_norm", "b.attn_q",      "b.attn_k",
                                        "b.attn_v",    "b.attn_output", "b.ffn_norm",
                                        "b.ffn_gate",  "b.ffn_up",      "b.ffn_down"};
    size_t n_embd = t->n_embd, n_q = t->n_heads * t->head_dim, n_kv = t->n_kv_heads * t->head_dim;
    struct tensor embedding = get(g, "token_embd", 0), head = get(g, "output", 0);
    struct tensor last = get(g, "output_norm", 0), divisors = get(g, "rope_freqs", 0);
    double *x = mem_array(n * n_embd, sizeof *x), *y = mem_array(n_embd + n_q, sizeof *y);
    double *q = mem_array(n * n_q, sizeof *q), *k = mem_array(n * n_kv, sizeof *k);
    double *v = mem_array(n * n_kv, sizeof *v), *z = mem_array(n_q, sizeof *z);
    double *gate = mem_array(t->n_ff, sizeof *gate), *up = mem_array(t->n_ff, sizeof *up);
    for (size_t s = 0; s < n; s++) {
        for (size_t i = 0; i < n_embd; i++) {
            x[s * n_embd + i] = embedding.w[(size_t)tokens[s] * n_embd + i];
        }
    }
    for (unsigned l = 0; l < t->n_layers; l++) {
        struct tensor w[9];
        for (int i = 0; i < 9; i++) {
            w[i] = get(g, names[i], l);
        }
        for (size_t s = 0; s < n; s++) {
            norm(w[0], x + s * n_embd, y);
            linear(w[1], y, q + s * n_q);
            linear(w[2], y, k + s * n_kv);
            linear(w[3], y, v + s * n_kv);
            rope(t, divisors, q + s * n_q, t->n_heads, s);
            rope(t, divisors, k + s * n_kv, t->n_kv_heads, s);
        }
        for (size_t s = 0; s < n; s++) {
            double *row = x + s * n_embd;
            attention(t, q + s * n_q, k, v, s, z);
            linear(w[4], z, y);
            for (size_t i = 0; i < n_embd; i++) {
                row[i] += y[i];
            }
            norm(w[5], row, y);
            linear(w[6], y, gate);
            linear(w[7], y, up);
            for (size_t i = 0; i < t->n_ff; i++) {
                gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
            }
            linear(w[8], gate, y);
            for (size_t i = 0; i < n_embd; i++) {
                row[i] += y[i];
            }
        }
        for (int i = 0; i < 9; i++) {
            free(w[i].w);
        }
    }
    for (size_t s = 0; s < n; s++) {
        norm(last, x + s * n_embd, y);
        linear(head.w ? head : embedding, y, logits + s * t->n_vocab);
    }
    double *all[] = {embedding.w, head.w, last.w, divisors.w, x, y, q, k, v, z, gate, up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}
