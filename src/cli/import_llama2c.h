/* import_llama2c.h: checkpoints of llama2.c (Karpathy) in the legacy format, version 0.
 *
 * Checkpoint, little endian, no padding. L = n_layers, d = dim, h = d / n_heads (the size of a
 * head), kv = n_kv_heads * h, f = hidden_dim, V = |vocab_size|; a matrix [a, b] is a rows of b
 * values, b being the input.
 *
 *   bytes       what
 *   0   28      i32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
 *               a negative vocab_size means that the output matrix is stored at the end
 *   28          f32 token embedding [V, d]; attention norms [L, d]; wq [L, d, d]; wk [L, kv, d];
 *               wv [L, kv, d]; wo [L, d, d]; feed-forward norms [L, d]; w1 [L, f, d];
 *               w2 [L, d, f]; w3 [L, f, d]; final norm [d]; two tables of rotation angles
 *               [seq_len, h/2] each, which are not needed; with a negative vocab_size [V, d]
 *
 * wq and wk rotate adjacent pairs, as GGUF's llama does.
 *
 * Tokenizer: i32 longest token in bytes, then V times: f32 score; i32 n; n bytes. The pieces have
 * plain spaces; 0 is unknown, 1 and 2 begin and end a text (spelled "\n<s>\n" and "\n</s>\n"), 3 to
 * 258 are the bytes.
 */
#ifndef LLLM_CLI_IMPORT_LLAMA2C_H
#define LLLM_CLI_IMPORT_LLAMA2C_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "quant/quant.h"

struct import_result {
    uint64_t n_tensors, n_parameters, size_bytes; /* of the tensors */
    uint64_t n_fallbacks;                         /* matrices whose rows do not fit the format */
    const struct quant_format *fallback;          /* what they got instead */
};

/* Converts to the file `output`; matrices in `format`, norms in F32. name: general.name. Holds the
 * converted tensors in memory until the file is written. */
bool import_llama2c(const char *checkpoint, const char *tokenizer, const char *name,
                    const struct quant_format *format, const char *output,
                    struct import_result *result, struct error *e);

#endif
