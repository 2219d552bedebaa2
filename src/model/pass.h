/* pass.h: what the files of the forward pass share. Private to src/model/.
 *
 * One pool_run per pass. Each stage is split over the threads (multiplies by output row, attention
 * by token and head, norms by token) and stages that read what other threads wrote are separated by
 * barriers. Every output element is computed by exactly one kernel call whose result depends on its
 * row alone (kernels.h), so neither the split nor the chunk changes a bit.
 */
#ifndef LLLM_MODEL_PASS_H
#define LLLM_MODEL_PASS_H

#include <stdatomic.h>

#include "model/arch.h"

/* Output rows are dealt in multiples of a cache line of floats, and of more where there are enough:
 * matrix units unpack some 200 rows at a time, for which all tokens pass by. */
enum { ROW_GRAIN = 16, MOST_ROW_GRAIN = 128 };

/* Cosines and sines of all rotated dimensions at the positions of a pass. */
struct rope_table {
    double *frequencies; /* [n_rot / 2] */
    float *cosines;      /* [max_tokens, n_rot / 2] */
    float *sines;        /* [max_tokens, n_rot / 2] */
    float factor;        /* on both: what rope scaling does to the length of queries and keys */
};

/* Pairs are a token's chosen experts: n_experts_used of each token. */
struct model_scratch {
    struct model_config config;
    uint32_t max_tokens, capacity;
    int n_threads;
    size_t tiles_bytes;
    const struct model_observer *observer;
    struct model_clock *clock;
    float *x;        /* [max_tokens, n_embd] the residual stream */
    float *normed;   /* [max_tokens, n_embd] */
    float *normed1;  /* [n_threads, n_embd] a single row, one copy a thread */
    float *q;        /* [max_tokens, n_heads * head_dim] */
    float *attended; /* [max_tokens, n_heads * head_dim] */
    float *added;    /* [max_tokens, n_embd] what a block adds to the stream */
    float *gate;     /* [max_tokens, n_ff], or of the shared expert */
    float *up;       /* [max_tokens, n_ff] */
    /* Of attention in vectors (attend.c): queries of a thread and their copies, its working memory;
     * parts of [block, head, token], and how many blocks of a call of the kernel have theirs. */
    size_t n_queries;             /* the most of a thread */
    struct kernel_query *queries; /* [n_threads, n_queries] */
    float *own_q;                 /* [n_threads, n_queries, head_dim] */
    char *attend;                 /* [n_threads, kernels_attention_scratch_bytes(head_dim)] */
    float *parts;
    atomic_uint *done; /* [n_heads] */
    float *k, *v;      /* [max_tokens, n_kv_heads * head_dim] of the tokens of the pass */
    struct rope_table rope, rope_local;
    float *router;         /* [max_tokens, n_experts] */
    float *shared_weight;  /* [max_tokens] */
    float *expert_weight;  /* [pairs] */
    uint32_t *chosen;      /* [pairs] experts, the best first */
    uint32_t *slot;        /* [pairs] where the pair is among those sorted by expert */
    uint32_t *token;       /* [pairs] by slot */
    uint32_t *expert_slot; /* [n_experts + 1] first slot of each expert */
    float *expert_rows;    /* [pairs, n_embd] by slot: inputs, then outputs */
    float *expert_gate;    /* [pairs, n_ff_expert] by slot */
    float *expert_up;      /* [pairs, n_ff_expert] by slot */
    /* For matrix and integer units (kernels/prefill.h, fixed.h): the input of a block and, beside
     * it, what is between its matrices; inputs of experts by slot; each thread's working memory. */
    char *packed, *packed_inner;
    char *packed_slots;
    char *tiles;        /* [n_threads, tiles_bytes] */
    char *packed_cache; /* [n_threads, pass_packed_cache_bytes()] */
    float *carry;       /* [n_heads, max_tokens, 2] of attention, between pieces of the cache */
    void *block;
    uint64_t block_bytes;
};

struct pass {
    const struct model *m;
    struct model_scratch *s;
    struct pool *pool;
    const struct kernels *kernels;
    const struct kernel_prefill *tiles;  /* or NULL */
    bool attends_on_tiles;               /* as well */
    bool in_two;                         /* how they want inputs: split, or rounded */
    const struct kernel_fixed *integers; /* or NULL; without either, f32 throughout */
    const int32_t *tokens, *types;       /* types: NULL for zeros */
    uint32_t n_tokens, position;         /* position: of the first token */
    uint32_t n_wanted;                   /* how many of the last rows go to logits or hidden */
    float *logits;                       /* [n_wanted, n_vocab], or NULL */
    float *hidden;                       /* [n_wanted, n_embd], or NULL */
    /* The cache to which the tokens go, at its end; NULL: to none (bidirectional), or see joint. */
    const struct model_cache *cache;
    /* [n_tokens] the first token of each token's sequence in this pass and the one behind its last;
     * NULL: all are one sequence, or each token is of another (joint). */
    const uint32_t *begins, *ends;
    /* [n_tokens] the cache to which each token goes, at its end, of a bidirectional model only what
     * it is adapted by; NULL: all to one. */
    struct model_cache *const *joint;
    /* [n_tokens] where joint: how many tokens of the same sequence stand before it in the pass. */
    const uint32_t *before;
    const struct model_adapters *adapters; /* of all tokens, where they are one sequence */
    bool adapted;                          /* some token has adapters */
    /* Of a pass in parts: the layers [begin_layer, end_layer), 0: all to the end, and where x waits
     * before the first and behind the last of them. */
    uint32_t begin_layer, end_layer;
    float *x_kept; /* [n_tokens, n_embd] */
    /* Asked by thread 0 as a layer begins; all threads read the answer behind its barriers. The
     * answers of neighbouring layers have places of their own: the next one may come while a slow
     * thread still reads. NULL: nobody is asked. */
    bool (*cancelled)(void *context);
    void *cancelled_context;
    bool *heard; /* [2] */
};

struct model_pages {
    enum kernel_kv type;
    uint32_t n_layers, n_kv_heads, head_dim, n_pages;
    uint64_t half_bytes, page_bytes; /* of the keys, or the values, of a head's block; of a page */
    char *data;                      /* [n_pages][n_layers][n_kv_heads][2][half_bytes] */
};

/* Keys and values of a head, from the page's beginning. */
static inline size_t pass_block_offset(const struct model_pages *pages, uint32_t layer, size_t head)
{
    return ((size_t)layer * pages->n_kv_heads + head) * 2 * pages->half_bytes;
}

/* The block of a head in which a position is. */
static inline char *pass_block(const struct model_cache *cache, uint32_t layer, size_t head,
                               size_t position)
{
    const struct model_pages *pages = cache->pages;
    return pages->data + cache->table[position / MODEL_PAGE_POSITIONS] * pages->page_bytes +
           pass_block_offset(pages, layer, head);
}

/* A piece of the cache of one head, packed for one thread. */
static inline size_t pass_packed_cache_bytes(const struct model_scratch *s)
{
    return prefill_cache_bytes(s->capacity < PREFILL_CHUNK ? s->capacity : PREFILL_CHUNK,
                               s->config.head_dim);
}

/* Of a token in its sequence. */
static inline uint64_t pass_position(const struct pass *f, size_t token)
{
    uint64_t first = f->joint ? f->joint[token]->n_tokens : f->position;
    return first + (f->begins ? token - f->begins[token] : f->joint ? f->before[token] : token);
}

/* Whether new keys and values go to caches as soon as they are there. Those of a bidirectional
 * model stay in the scratch; generated ones, of many sequences, are attend_joint's. */
static inline bool pass_keeps_at_once(const struct pass *f)
{
    return f->cache || (f->begins && !f->m->config.bidirectional);
}

static inline const struct model_adapters *pass_adapters(const struct pass *f, size_t token)
{
    return f->joint ? f->joint[token]->adapters : f->adapters;
}

/* One thread's place in a pass. */
struct place {
    int index, n_threads;
    struct kernel_next next; /* what it multiplies by after what it is called for */
};

/* Rows first..n_tokens of a matrix indexed by token, stride floats apart (0: one row for all). */
struct rows {
    float *data;
    size_t stride;
    uint32_t first;
    const void *packed[N_FIXED_BITS]; /* the same for integer units, or the first for matrix units;
                                         NULL: it is not packed */
    size_t packed_first, packed_end;  /* the rows that `packed` has */
};

/* forward.c */
void pass_barrier(const struct pass *f, struct place p);
/* y rows [begin, end) of l, with its bias, for tokens in.first..n_tokens; y is indexed by token. */
void pass_multiply(const struct pass *f, struct place p, const struct model_linear *l, size_t begin,
                   size_t end, struct rows in, float *y, size_t y_stride);
/* The same for any rows [in.first, row_end) of a matrix, without bias; y: of row in.first. */
void pass_matmul(const struct pass *f, struct place p, const struct kernel_weights *w, size_t begin,
                 size_t end, struct rows in, size_t row_end, float *y, size_t y_stride);
/* Of the last matrix of a block: s->added, and to the stream what pass_add adds; or, where nobody
 * needs the former, the latter at once. */
void pass_multiply_onto(const struct pass *f, struct place p, const struct model_linear *l,
                        const struct model_norm *post, size_t begin, size_t end, struct rows in);
/* Rows [begin, end) of a gated feed-forward part's first two matrices, as kernel_prefill.gated
 * gives them. */
void pass_gated(const struct pass *f, struct place p, const struct model_layer *layer, size_t begin,
                size_t end, struct rows in, void *packed);
/* deal.c: a thread's pieces of a stage's n_rows output rows. Where there are adapters they are
 * equal shares: with each piece one multiplies by all of their first matrices. */
struct pool_deal pass_deal(const struct pass *f, struct place p, size_t n_rows);
/* p, to multiply by rows of w that d gave, with `then` behind the last of them. */
struct place pass_before(struct place p, const struct pool_deal *d, const struct kernel_weights *w,
                         struct kernel_next then);
/* Rows of a matrix, and those of it with which a thread will begin when they are dealt. */
struct kernel_next pass_rows(const struct kernel_weights *w, size_t begin, size_t end);
struct kernel_next pass_first(const struct pass *f, struct place p, const struct kernel_weights *w);
static inline bool pass_take(const struct pass *f, struct place p, struct pool_deal *d,
                             size_t *begin, size_t *end)
{
    return pool_take(f->pool, d, p.index, p.n_threads, begin, end);
}
/* Packs rows [in->first, row_end) of in, which have n_in elements and are ready for every thread,
 * where multiplies need it; then they are ready as well. wants: pass_wants of the matrices that
 * they will meet. */
void pass_pack(const struct pass *f, struct place p, struct rows *in, size_t row_end, size_t n_in,
               unsigned wants, char *packed);
/* A bit for what integer units want of inputs, 0 where w is no matrix of theirs. */
static inline unsigned pass_wants(const struct kernel_weights *w)
{
    return w->data && fixed_supports(w->type) ? 1u << fixed_bits_of(w->type) : 0;
}
/* adapter.c: what the tokens' adapters add to a matrix (model_linear.number), where f->adapted.
 * Rows [begin, end) of the matrix, tokens in.first..row_end; y: of token in.first. */
void pass_adapt(const struct pass *f, uint32_t matrix, size_t begin, size_t end, struct rows in,
                size_t row_end, float *y, size_t y_stride);
bool pass_check_adapters(const struct model *m, const struct model_adapters *adapters,
                         struct error *e);

/* attention.c, feed.c: the rows with which a thread begins a layer, and its feed-forward part. */
struct kernel_next pass_first_keys(const struct pass *f, struct place p, uint32_t layer);
struct kernel_next pass_first_feed(const struct pass *f, struct place p,
                                   const struct model_layer *layer);

/* Tells the observer, if there is one, on one thread. */
void pass_observe(const struct pass *f, struct place p, const struct model_linear *l,
                  struct rows in);

/* What follows, until the next call, is of this stage: on the clock of the first thread. */
void pass_stage(const struct pass *f, struct place p, enum model_stage stage);

/* embed.c: x and the rope tables of all tokens; needs a barrier behind. */
void pass_embed(const struct pass *f, struct place p);
/* Fills frequencies and factors; capacity: positions that the context has room for. */
void rope_prepare(const struct model *m, struct model_scratch *s, uint32_t capacity);
static inline bool layer_slides(const struct model_config *c, uint32_t layer)
{
    return c->window != 0 && c->window_period != MODEL_WINDOW_NONE &&
           (c->window_period == MODEL_WINDOW_ALL ||
            layer % c->window_period != c->window_period - 1);
}

/* What a layer does to each head of its queries and keys before they meet. */
struct heads {
    const struct model_layer *layer;
    uint32_t index;                /* of the layer */
    const struct rope_table *rope; /* NULL: none */
    uint32_t window;               /* 0: everything */
};
/* n_heads heads of one token's queries or keys. */
void heads_prepare(const struct pass *f, const struct heads *h, const float *norm, float *x,
                   size_t n_heads, size_t token);
float heads_scale(const struct model_config *c);
/* A head's keys and values of tokens [token, token + n) of the pass, from the scratch to positions
 * `position` and following of a cache. */
void heads_keep(const struct pass *f, const struct heads *h, const struct model_cache *cache,
                size_t head, size_t token, size_t n, size_t position);

/* attend.c: s->attended of tokens from `first`, of which there are some, each thread its share. A
 * few tokens are spread over threads by position; then it can prepare the new keys and keep them as
 * well, which saves a barrier. */
enum { ATTEND_SPREAD_TOKENS = 8 };
bool attend_spreads(const struct pass *f, uint32_t first);
bool attend_prepares_keys(const struct pass *f, uint32_t first);
void attend_on_vectors(const struct pass *f, struct place p, const struct heads *h, uint32_t first,
                       bool prepares);
/* Blocks of tokens, each with the same bits for any cut. */
void attend_many(const struct pass *f, struct place p, const struct heads *h, uint32_t first);
/* The same for generated tokens of many sequences (f->joint), whose new keys and values it keeps.
 */
void attend_joint(const struct pass *f, struct place p, const struct heads *h);

/* deal.c: what a block adds to the stream, columns [begin, end) of tokens from `first`, as soon
 * as they are there; not where post, the norm behind the block, has to see whole rows before. */
bool pass_adds(const struct pass *f, const struct model_norm *post);
void pass_add(const struct pass *f, const struct model_norm *post, uint32_t first, size_t begin,
              size_t end);

/* attention.c: keys and values of all tokens go to the cache; the output
 * projection of tokens from `first` goes where pass_multiply_onto puts it. False when there are
 * no such tokens: then the layer ends here. */
bool pass_attention(const struct pass *f, struct place p, uint32_t layer, struct rows in,
                    uint32_t first);

/* feed.c and experts.c: the same for the feed-forward part. */
void pass_feed(const struct pass *f, struct place p, const struct model_layer *layer,
               struct rows in);
/* adds: the stream receives it; false for an expert that all tokens share. */
void pass_feed_dense(const struct pass *f, struct place p, const struct model_layer *layer,
                     struct rows in, bool adds);
void pass_feed_experts(const struct pass *f, struct place p, const struct model_layer *layer,
                       struct rows in);

/* forward.c: what multiplies; then, checks the call and runs it. */
void pass_choose_units(struct pass *f, enum model_phase phase);
bool pass_run(struct pass *f, uint32_t capacity, struct error *e);

#endif
