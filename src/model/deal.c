/* How a stage's output rows come to the threads, and what they add to the stream. */
#include "model/pass.h"

struct pool_deal pass_deal(struct place p, size_t n_rows)
{
    size_t grain = MOST_ROW_GRAIN;
    while (grain > ROW_GRAIN && n_rows / grain < 8 * (size_t)p.n_threads) {
        grain /= 2;
    }
    return (struct pool_deal){.n = n_rows, .grain = grain};
}

bool pass_take(const struct pass *f, struct place p, struct pool_deal *d, size_t *begin,
               size_t *end)
{
    if (!f->adapted) {
        return pool_take(f->pool, d, p.index, p.n_threads, begin, end);
    }
    bool begun = d->begun;
    d->begun = true;
    pool_share(d->n, d->grain, p.index, p.n_threads, begin, end);
    return !begun && *begin < *end;
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
