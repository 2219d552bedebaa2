/* How a stage's output rows come to the threads, and what they add to the stream. */
#include "model/pass.h"

enum {
    /* A few tokens wait for weights. Those that a thread meets next are asked for meanwhile, so
     * that pieces may be small; tile units need tall ones. */
    FEW_TOKENS = 4, /* as many as kernels multiply row by row */
    FEW_ROW_GRAIN = 32,
    AHEAD_TOKENS = 64, /* up to here a thread takes pieces ahead, to know what to ask for; */
    AHEAD_TILE_TOKENS = PREFILL_TOKENS, /* of tile units the way for more does not ask */
};

struct pool_deal pass_deal(const struct pass *f, struct place p, size_t n_rows)
{
    const uint32_t most = f->tiles ? AHEAD_TILE_TOKENS : AHEAD_TOKENS;
    bool few = !f->tiles && f->n_tokens <= FEW_TOKENS, ahead = f->n_tokens <= most && !f->adapted;
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
    if (!w->data || begin >= end) {
        return (struct kernel_next){0};
    }
    return (struct kernel_next){(const char *)w->data + begin * w->row_bytes, w->row_bytes,
                                end - begin};
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
    if (d->next_begin < d->next_end) {
        p.next = pass_rows(w, d->next_begin, d->next_end);
    } else {
        p.next = d->ahead ? then : (struct kernel_next){0}; /* there may be more pieces */
    }
    return p;
}

bool pass_adds(const struct pass *f, const struct model_norm *post)
{
    return !post->weight || f->m->config.arch->order == ARCH_POST_NORM;
}

void pass_add(const struct pass *f, const struct model_norm *post, uint32_t first, size_t begin,
              size_t end)
{
    if (!pass_adds(f, post)) {
        return;
    }
    size_t n_embd = f->m->config.n_embd;
    for (size_t t = first; begin < end && t < f->n_tokens; t++) {
        f->kernels->add(f->s->x + t * n_embd + begin, f->s->added + t * n_embd + begin,
                        end - begin);
    }
}
