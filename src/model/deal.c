/* How a stage's output rows come to the threads, and what they add to the stream. */
#include "model/pass.h"

/* A few generated tokens wait for weights: those that a thread meets next are asked for while it
 * meets the ones before, so that pieces may be small. Prompts need tall ones. */
enum { FEW_TOKENS = 4, FEW_ROW_GRAIN = 32, PANEL_TOKENS = 64 };

struct pool_deal pass_deal(const struct pass *f, struct place p, size_t n_rows)
{
    bool few = f->integers && f->n_tokens <= FEW_TOKENS,
         ahead = f->n_tokens <= PANEL_TOKENS && !f->adapted;
    size_t n_threads = (size_t)p.n_threads, grain = few ? FEW_ROW_GRAIN : MOST_ROW_GRAIN;
    while (grain > ROW_GRAIN && n_rows / grain < 8 * n_threads) {
        grain /= 2;
    }
    if (f->adapted && n_rows > 0) {
        size_t share = (n_rows + n_threads - 1) / n_threads;
        grain = (share + ROW_GRAIN - 1) / ROW_GRAIN * ROW_GRAIN;
    }
    return (struct pool_deal){.n = n_rows, .grain = grain, .ahead = ahead};
}

struct kernel_next pass_rows(const struct kernel_weights *w, size_t begin, size_t end)
{
    return (struct kernel_next){(const char *)w->data + begin * w->row_bytes, w->row_bytes,
                                w->data && begin < end ? end - begin : 0};
}

struct kernel_next pass_first(const struct pass *f, struct place p, const struct kernel_weights *w)
{
    const struct pool_deal d = pass_deal(f, p, w->n_rows);
    size_t begin, end;
    pool_first(&d, p.index, p.n_threads, &begin, &end);
    return pass_rows(w, begin, end);
}

struct place pass_before(struct place p, const struct pool_deal *d, const struct kernel_weights *w,
                         struct kernel_next then)
{
    p.next = d->next_begin < d->next_end ? pass_rows(w, d->next_begin, d->next_end) : then;
    return p;
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
