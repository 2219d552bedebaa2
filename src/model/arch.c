/* The families, one row each. To add one: its tensors, its row in `rows`; what the forward pass
 * reads is in the row, never the name. */
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

#define IN_MODEL(member) offsetof(struct model, member)
#define IN_LAYER(member) offsetof(struct model_layer, member)

static const struct arch_tensor llama_tensors[] = {
    {"token_embd", false, true, ARCH_REQUIRED, ARCH_EMBD, ARCH_VOCAB, IN_MODEL(embedding)},
    {"attn_norm", true, false, ARCH_REQUIRED, ARCH_EMBD, ARCH_ONE, IN_LAYER(attn_norm)},
    {"attn_q", true, true, ARCH_REQUIRED, ARCH_EMBD, ARCH_Q, IN_LAYER(q)},
    {"attn_k", true, true, ARCH_REQUIRED, ARCH_EMBD, ARCH_KV, IN_LAYER(k)},
    {"attn_v", true, true, ARCH_REQUIRED, ARCH_EMBD, ARCH_KV, IN_LAYER(v)},
    {"attn_output", true, true, ARCH_REQUIRED, ARCH_Q, ARCH_EMBD, IN_LAYER(output)},
    {"ffn_norm", true, false, ARCH_REQUIRED, ARCH_EMBD, ARCH_ONE, IN_LAYER(ffn_norm)},
    {"ffn_gate", true, true, ARCH_REQUIRED, ARCH_EMBD, ARCH_FF, IN_LAYER(gate)},
    {"ffn_up", true, true, ARCH_REQUIRED, ARCH_EMBD, ARCH_FF, IN_LAYER(up)},
    {"ffn_down", true, true, ARCH_REQUIRED, ARCH_FF, ARCH_EMBD, IN_LAYER(down)},
    {"output_norm", false, false, ARCH_REQUIRED, ARCH_EMBD, ARCH_ONE, IN_MODEL(output_norm)},
    {"output", false, true, ARCH_OR_EMBEDDING, ARCH_EMBD, ARCH_VOCAB, IN_MODEL(head)},
    {"rope_freqs", false, false, ARCH_OPTIONAL, ARCH_ROT_HALF, ARCH_ONE, IN_MODEL(rope_divisors)},
    /* Tables of rotation angles that early converters stored; the angles are computed here. */
    {"attn_rot_embd", true, false, ARCH_IGNORED, ARCH_ONE, ARCH_ONE, 0},
};

static const char *const llama_refused[] = {"expert_count", NULL};

static const struct model_arch rows[] = {
    {
        .name = "llama",
        .rope_layout = KERNEL_ROPE_ADJACENT,
        .tensors = llama_tensors,
        .n_tensors = sizeof llama_tensors / sizeof *llama_tensors,
        .refused_keys = llama_refused,
    },
};

enum { N_ROWS = sizeof rows / sizeof *rows };

const struct model_arch *model_arch_find(const char *name, size_t n)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *model_arch_name(const struct model_arch *a)
{
    return a->name;
}

void model_arch_list(char *out, size_t out_bytes)
{
    size_t used = 0;
    if (out_bytes) {
        out[0] = 0;
    }
    for (size_t i = 0; i < N_ROWS && used < out_bytes; i++) {
        int n = snprintf(out + used, out_bytes - used, "%s%s", i ? ", " : "", rows[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
}

uint64_t arch_dim_value(const struct model_config *c, enum arch_dim dim)
{
    switch (dim) {
    case ARCH_ONE:
        return 1;
    case ARCH_EMBD:
        return c->n_embd;
    case ARCH_VOCAB:
        return c->n_vocab;
    case ARCH_FF:
        return c->n_ff;
    case ARCH_Q:
        return (uint64_t)c->n_heads * c->head_dim;
    case ARCH_KV:
        return (uint64_t)c->n_kv_heads * c->head_dim;
    case ARCH_ROT_HALF:
        return c->n_rot / 2;
    }
    return 0;
}

void arch_tensor_name(const struct arch_tensor *t, uint32_t layer, char *out, size_t out_bytes)
{
    if (t->per_layer) {
        snprintf(out, out_bytes, "blk.%u.%s.weight", layer, t->name);
    } else {
        snprintf(out, out_bytes, "%s.weight", t->name);
    }
}
