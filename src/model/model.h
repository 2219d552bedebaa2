/* model.h: architectures as data rows, weights in place, one forward pass.
 *
 * model/arch.c has one row per family: GGUF key prefix, kind of rope, tensor name patterns and
 * which parts are optional. model/load.c reads a row, checks every tensor's shape against the
 * configuration and keeps pointers into the mapped file. model/forward.c reads the row, never the
 * family's name.
 *
 * Tensors of the llama row (GGUF names; shapes fastest dimension first):
 *   token_embd.weight          [n_embd, n_vocab]
 *   blk.N.attn_norm.weight     [n_embd]
 *   blk.N.attn_q.weight        [n_embd, n_heads * head_dim]
 *   blk.N.attn_k.weight        [n_embd, n_kv_heads * head_dim]      attn_v alike
 *   blk.N.attn_output.weight   [n_heads * head_dim, n_embd]
 *   blk.N.ffn_norm.weight      [n_embd]
 *   blk.N.ffn_gate.weight      [n_embd, n_ff]                       ffn_up alike
 *   blk.N.ffn_down.weight      [n_ff, n_embd]
 *   output_norm.weight         [n_embd]
 *   output.weight              [n_embd, n_vocab]   absent: tied to token_embd
 *   rope_freqs.weight          [n_rot/2]           optional divisors of the frequencies (llama 3)
 */
#ifndef LLLM_MODEL_MODEL_H
#define LLLM_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "gguf/gguf.h"
#include "kernels/kernels.h"

enum {
    MODEL_MAX_LAYERS = 1024,
    MODEL_MAX_EMBD = 1 << 17,
    MODEL_MAX_HEADS = 4096,
    MODEL_MAX_FF = 1 << 20,
    MODEL_MAX_VOCAB = 1 << 22,
    MODEL_MAX_CONTEXT = 1 << 24,
};

struct model_arch; /* a row of model/arch.c */

struct model_config {
    const struct model_arch *arch;
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab;
    uint32_t n_context; /* what the model was trained for */
    uint32_t n_rot;
    float rope_base, rope_scale, norm_eps; /* rope_scale: linear; positions are divided by it */
    bool tied_head;
};

const struct model_arch *model_arch_find(const char *name, size_t n); /* NULL when unknown */
const char *model_arch_name(const struct model_arch *a);
/* Sentences for errors: "llama" or "llama, mistral, ..." */
void model_arch_list(char *out, size_t out_bytes);

/* Checks ranges and divisibility; the sentence names the field. */
bool model_config_check(const struct model_config *c, struct error *e);
bool model_config_read(const struct gguf *g, struct model_config *c, struct error *e);
void model_config_write(const struct model_config *c, struct gguf_writer *w);
uint64_t model_config_parameters(const struct model_config *c);

struct model_layer {
    const float *attn_norm, *ffn_norm; /* [n_embd] f32 */
    struct kernel_weights q, k, v, output, gate, up, down;
};

struct model {
    struct model_config config;
    const struct gguf *gguf; /* borrowed: the caller keeps it open */
    struct kernel_weights embedding, head;
    const float *output_norm;   /* [n_embd] */
    const float *rope_divisors; /* [n_rot/2] or NULL */
    struct model_layer *layers; /* [n_layers] */
    struct arena
        *arena; /* norms converted to f32 where the file has another format; process lifetime */
};

/* Binds the tensors; every missing or misshapen one is an error that names it, what the file has
 * and what was expected. */
struct model *model_load(const struct gguf *g, struct error *e);
void model_free(struct model *m);

/* Where a forward pass reads and writes keys and values of one sequence: per layer
 * k, v: [capacity, n_kv_heads * head_dim] f32. Session lifetime. */
struct model_cache {
    uint32_t capacity;
    uint32_t n_tokens; /* positions filled */
    float *k, *v;      /* [n_layers, capacity, n_kv_heads * head_dim] */
    uint64_t size_bytes;
};
/* Address space only: pages become resident when positions are written. */
bool model_cache_init(struct model_cache *c, const struct model_config *config, uint32_t capacity,
                      struct error *e);
void model_cache_free(struct model_cache *c);
uint64_t model_cache_bytes(const struct model_config *config, uint32_t capacity);

/* Scratch of one forward pass of at most max_tokens rows. Session lifetime. */
struct model_scratch;
struct model_scratch *model_scratch_new(const struct model_config *config, uint32_t max_tokens,
                                        uint32_t capacity, int n_threads, struct error *e);
void model_scratch_free(struct model_scratch *s);
uint64_t model_scratch_bytes(const struct model_config *config, uint32_t max_tokens,
                             uint32_t capacity, int n_threads);

/* Runs tokens[0..n_tokens) (n_tokens <= max_tokens) at positions cache->n_tokens.. and appends to
 * the cache. n_logits: how many of the last rows need logits, written to logits: [n_logits,
 * n_vocab] f32 (0: none). The result for a row has the same bits for any chunking, any number of
 * threads (kernels.h). False with ERROR_LIMIT when the cache is too small; token ids must be below
 * n_vocab. */
bool model_forward(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                   struct pool *pool, const struct kernels *kernels, const int32_t *tokens,
                   uint32_t n_tokens, uint32_t n_logits, float *logits, struct error *e);

#endif
