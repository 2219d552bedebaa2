/* How a stage's output rows come to the threads, and what they add to the stream. */
#include "model/pass.h"

struct pool_deal pass_deal(const struct pass *f, struct place p, size_t n_rows)
{
    size_t n_threads = (size_t)p.n_threads, grain = MOST_ROW_GRAIN;
    while (grain > ROW_GRAIN && n_rows / grain < 8 * n_threads) {
        grain /= 2;
    }
    if (f->adapted && n_rows > 0) {
        size_t share = (n_rows + n_threads - 1) / n_threads;
        grain = (share + ROW_GRAIN - 1) / ROW_GRAIN * ROW_GRAIN;
    }
    return (struct pool_deal){.n = n_rows, .grain = grain};
}

void pass_add(const struct pass *f, const struct model_norm *post, uint32_t first, size_t begin,
              size_t end)
{
    if (post->weight && f->m->config.arch->order != ARCH_POST_NORM) {
        return;
    }
    size_t n_embd = f->m->config.n_embd;
    for (size_t t = first; begin < end && t < f->n_tokens; t++) {
        f->kernels->add(f->s->x + t * n_embd + begin, f->s->added + t * n_embd + begin,
                        end - begin);
    }
}
