/* recipes.c: the types that `lllm quantize` takes. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "quantize/internal.h"

static const struct quantize_recipe recipes[] = {
    {"F32", NULL, 0, TENSOR_F32, "as exact as any file"},
    {"F16", NULL, 1, TENSOR_F16, "half precision"},
    {"BF16", NULL, 32, TENSOR_BF16, "the upper half of F32: its range, 8 bits of precision"},
    {"Q8_0", NULL, 7, TENSOR_Q8_0, "hardly to be told from F16"},
    {"Q6_K", NULL, 18, TENSOR_Q6_K, "very small loss"},
    {"Q5_K_M", "Q5_K", 17, TENSOR_Q5_K, "small loss; half of attn_v and ffn_down in Q6_K"},
    {"Q5_K_S", NULL, 16, TENSOR_Q5_K, "small loss"},
    {"Q5_1", NULL, 9, TENSOR_Q5_1, "plain blocks of 32; for rows too short for Q5_K"},
    {"Q5_0", NULL, 8, TENSOR_Q5_0, "plain blocks of 32"},
    {"Q4_K_M", "Q4_K", 15, TENSOR_Q4_K, "the usual choice; half of attn_v and ffn_down in Q6_K"},
    {"Q4_K_S", NULL, 14, TENSOR_Q4_K, "a little smaller; the first layers in Q5_K"},
    {"Q4_1", NULL, 3, TENSOR_Q4_1, "plain blocks of 32, with an offset"},
    {"Q4_0", NULL, 2, TENSOR_Q4_0, "plain blocks of 32; fast"},
    {"IQ4_NL", NULL, 25, TENSOR_IQ4_NL, "16 uneven levels, blocks of 32"},
    {"IQ4_XS", NULL, 30, TENSOR_IQ4_XS, "the same with smaller scales"},
    {"MXFP4", "MXFP4_MOE", 38, TENSOR_MXFP4, "experts in MXFP4, all else in Q8_0"},
    {"Q3_K_L", NULL, 13, TENSOR_Q3_K, "visible loss; attn_v and ffn_down in Q5_K"},
    {"Q3_K_M", "Q3_K", 12, TENSOR_Q3_K, "visible loss; attn_v and ffn_down in Q4_K"},
    {"Q3_K_S", NULL, 11, TENSOR_Q3_K, "large loss"},
    {"Q2_K", NULL, 10, TENSOR_Q2_K, "large loss; the smallest for models of any kind"},
    {"TQ2_0", NULL, 37, TENSOR_TQ2_0, "for models trained with ternary weights only"},
    {"TQ1_0", NULL, 36, TENSOR_TQ1_0, "the same, packed tighter"},
};

const struct quantize_recipe *quantize_recipe_at(size_t index)
{
    return index < sizeof recipes / sizeof recipes[0] ? &recipes[index] : NULL;
}

const struct quantize_recipe *quantize_recipe_find(const char *name)
{
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        const struct quantize_recipe *r = &recipes[i];
        if (strcasecmp(name, r->name) == 0 || (r->alias && strcasecmp(name, r->alias) == 0)) {
            return r;
        }
    }
    return NULL;
}

/* ---- bits per weight ---------------------------------------------------------------------------
 */

/* Llama 3.1 8B (Grattafiori et al., 2024): what "bits per weight" is computed for. */
enum { LAYERS = 32, EMBD = 4096, KV = 1024, FF = 14336, VOCAB = 128256 };

static const struct {
    const char *name;
    uint64_t n_in, n_rows;
} layer_matrices[] = {
    {"attn_q", EMBD, EMBD},      {"attn_k", EMBD, KV},   {"attn_v", EMBD, KV},
    {"attn_output", EMBD, EMBD}, {"ffn_gate", EMBD, FF}, {"ffn_up", EMBD, FF},
    {"ffn_down", FF, EMBD},
};

enum {
    PER_LAYER = sizeof layer_matrices / sizeof layer_matrices[0],
    N_MATRICES = LAYERS * PER_LAYER + 2,
    NAME_BYTES = 32,
};

double quantize_recipe_bits(const struct quantize_recipe *recipe)
{
    struct quantize_options o = {
        .recipe = recipe, .output_type = QUANTIZE_BY_RULE, .embedding_type = QUANTIZE_BY_RULE};
    struct rules_model m = {.n_layers = LAYERS, .n_gqa = 4};
    struct rules_tensor *tensors = mem_array(N_MATRICES, sizeof *tensors);
    uint32_t *types = mem_array(N_MATRICES, sizeof *types);
    char(*names)[NAME_BYTES] = mem_array(N_MATRICES, NAME_BYTES);
    size_t n = 0;
    tensors[n++] = (struct rules_tensor){"token_embd.weight", 2, {EMBD, VOCAB, 1, 1}};
    tensors[n++] = (struct rules_tensor){"output.weight", 2, {EMBD, VOCAB, 1, 1}};
    for (int l = 0; l < LAYERS; l++) {
        for (size_t k = 0; k < PER_LAYER; k++, n++) {
            snprintf(names[n], NAME_BYTES, "blk.%d.%s.weight", l, layer_matrices[k].name);
            tensors[n] = (struct rules_tensor){
                names[n], 2, {layer_matrices[k].n_in, layer_matrices[k].n_rows, 1, 1}};
        }
    }
    rules_choose(&m, &o, tensors, n, types);
    /* The norms are F32 in every file. */
    double weights = (2.0 * LAYERS + 1) * EMBD, bits = 32 * weights;
    for (size_t i = 0; i < n; i++) {
        const struct quant_format *f = quant_format_by_type(types[i]);
        double count = (double)tensors[i].dims[0] * (double)tensors[i].dims[1];
        weights += count;
        bits += count * 8 * f->block_bytes / f->block_elements;
    }
    free(tensors);
    free(types);
    free(names);
    return bits / weights;
}
