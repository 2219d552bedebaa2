/* rules.c: which matrices of a mix get which format.
 *
 * The rules are those of upstream's quantizer (llama.cpp, src/llama-quant.cpp), so that a Q4_K_M
 * made here has the formats of any other. They are rows of one table; the first that applies
 * decides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quantize/internal.h"

/* What a matrix does, by its name. */
enum role {
    ROLE_HEAD, /* the output, or the embedding of a model that uses it as its output */
    ROLE_EMBEDDING,
    ROLE_V, /* attn_v and what holds it */
    ROLE_K,
    ROLE_ATTENTION_OUTPUT,
    ROLE_DOWN,
    ROLE_OTHER,
};

/* Which of the matrices of a role, counted by layer: i of n. */
enum which {
    ALL,
    FIRST_2,
    FIRST_4,
    FIRST_16TH,
    FIRST_8TH,
    MORE_BITS, /* the first and last eighth and every third between: where errors count most */
};

/* Conditions on the model: all bits that are set must hold. */
enum {
    GQA_4 = 1,
    EXPERTS_8 = 2,
    OTHER_EXPERTS = 4, /* not 8 of them */
    FALCON = 8,
    NOT_FALCON = 16,
    LLAMA_70B = 32,
    IMPORTANCE = 64,
    NO_IMPORTANCE = 128,
};

/* Sets of recipes, by general.file_type. */
#define MIX(file_type) ((uint64_t)1 << (file_type))
enum {
    F_Q4_0 = 2,
    F_Q8_0 = 7,
    F_Q5_0 = 8,
    F_Q2_K = 10,
    F_Q3_K_S = 11,
    F_Q3_K_M = 12,
    F_Q3_K_L = 13,
    F_Q4_K_S = 14,
    F_Q4_K_M = 15,
    F_Q5_K_M = 17,
    F_IQ4_NL = 25,
    F_IQ4_XS = 30,
    F_TQ1_0 = 36,
    F_TQ2_0 = 37,
    F_MXFP4 = 38,
};
#define ANY_MIX (~(uint64_t)0)
#define IQ4     (MIX(F_IQ4_NL) | MIX(F_IQ4_XS))

struct rule {
    uint64_t mixes;
    enum role role;
    unsigned conditions;
    enum which which;
    uint32_t type;
};

static const struct rule rules[] = {
    /* Wide heads suffer most: at least Q6_K. */
    {MIX(F_Q8_0), ROLE_HEAD, 0, ALL, TENSOR_Q8_0},
    {ANY_MIX, ROLE_HEAD, FALCON, ALL, TENSOR_Q8_0},
    {ANY_MIX, ROLE_HEAD, 0, ALL, TENSOR_Q6_K},

    {MIX(F_TQ1_0) | MIX(F_TQ2_0), ROLE_EMBEDDING, 0, ALL, TENSOR_Q4_K},

    /* With eight experts attention is a small part of the file. */
    {ANY_MIX, ROLE_V, EXPERTS_8, ALL, TENSOR_Q8_0},
    {ANY_MIX, ROLE_K, EXPERTS_8, ALL, TENSOR_Q8_0},

    {MIX(F_Q4_K_M) | MIX(F_Q5_K_M), ROLE_V, 0, MORE_BITS, TENSOR_Q6_K},
    {MIX(F_Q2_K) | MIX(F_Q3_K_S) | MIX(F_Q3_K_M) | MIX(F_Q4_K_S) | MIX(F_Q4_K_M), ROLE_V, LLAMA_70B,
     ALL, TENSOR_Q5_K},
    {MIX(F_Q2_K), ROLE_V, GQA_4, ALL, TENSOR_Q4_K},
    {MIX(F_Q2_K), ROLE_V, 0, ALL, TENSOR_Q3_K},
    {MIX(F_Q3_K_M), ROLE_V, 0, FIRST_2, TENSOR_Q5_K},
    {MIX(F_Q3_K_M), ROLE_V, 0, ALL, TENSOR_Q4_K},
    {MIX(F_Q3_K_L), ROLE_V, 0, ALL, TENSOR_Q5_K},
    {MIX(F_Q4_K_S), ROLE_V, 0, FIRST_4, TENSOR_Q5_K},
    {IQ4, ROLE_V, GQA_4, ALL, TENSOR_Q5_K},

    {MIX(F_Q2_K), ROLE_DOWN, 0, ALL, TENSOR_Q3_K},
    {MIX(F_Q3_K_M), ROLE_DOWN, 0, FIRST_16TH, TENSOR_Q5_K},
    {MIX(F_Q3_K_M), ROLE_DOWN, FALCON, MORE_BITS, TENSOR_Q4_K},
    {MIX(F_Q3_K_M), ROLE_DOWN, NOT_FALCON, ALL, TENSOR_Q4_K},
    {MIX(F_Q3_K_L), ROLE_DOWN, FALCON, ALL, TENSOR_Q4_K},
    {MIX(F_Q3_K_L), ROLE_DOWN, 0, ALL, TENSOR_Q5_K},
    {MIX(F_Q4_K_S), ROLE_DOWN, NOT_FALCON, FIRST_8TH, TENSOR_Q5_K},
    {MIX(F_Q4_K_M), ROLE_DOWN, FALCON, FIRST_16TH, TENSOR_Q6_K},
    {MIX(F_Q4_K_M), ROLE_DOWN, FALCON, MORE_BITS, TENSOR_Q5_K},
    {MIX(F_Q4_K_M), ROLE_DOWN, NOT_FALCON, MORE_BITS, TENSOR_Q6_K},
    {MIX(F_Q5_K_M), ROLE_DOWN, 0, MORE_BITS, TENSOR_Q6_K},
    {IQ4, ROLE_DOWN, NO_IMPORTANCE, FIRST_8TH, TENSOR_Q5_K},
    {MIX(F_Q4_0), ROLE_DOWN, IMPORTANCE, FIRST_8TH, TENSOR_Q4_1},
    {MIX(F_Q5_0), ROLE_DOWN, IMPORTANCE, FIRST_8TH, TENSOR_Q5_1},

    {MIX(F_Q2_K) | MIX(F_Q3_K_S) | MIX(F_Q3_K_M) | MIX(F_Q4_K_S) | MIX(F_Q4_K_M) | IQ4,
     ROLE_ATTENTION_OUTPUT, NOT_FALCON | EXPERTS_8, ALL, TENSOR_Q5_K},
    {MIX(F_Q2_K), ROLE_ATTENTION_OUTPUT, NOT_FALCON | OTHER_EXPERTS, ALL, TENSOR_Q3_K},
    {MIX(F_Q3_K_M), ROLE_ATTENTION_OUTPUT, NOT_FALCON | OTHER_EXPERTS, ALL, TENSOR_Q4_K},
    {MIX(F_Q3_K_L), ROLE_ATTENTION_OUTPUT, NOT_FALCON | OTHER_EXPERTS, ALL, TENSOR_Q5_K},
    {MIX(F_Q3_K_L), ROLE_ATTENTION_OUTPUT, FALCON, ALL, TENSOR_Q4_K},
};

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_embedding(const char *name)
{
    return strcmp(name, "token_embd.weight") == 0 ||
           strcmp(name, "per_layer_token_embd.weight") == 0;
}

static bool is_output(const char *name)
{
    return strcmp(name, "output.weight") == 0;
}

static enum role role_of(const char *name, bool tied)
{
    static const struct {
        const char *part;
        enum role role;
    } parts[] = {
        {"attn_qkv.weight", ROLE_V},
        {"attn_kv_b.weight", ROLE_V},
        {"attn_v.weight", ROLE_V},
        {"attn_k.weight", ROLE_K},
        {"attn_output.weight", ROLE_ATTENTION_OUTPUT},
        {"ffn_down", ROLE_DOWN},
    };
    if (is_output(name) || (tied && is_embedding(name))) {
        return ROLE_HEAD;
    }
    if (is_embedding(name)) {
        return ROLE_EMBEDDING;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(name, parts[i].part)) {
            return parts[i].role;
        }
    }
    return ROLE_OTHER;
}

bool rules_is_quantizable(const struct rules_tensor *t)
{
    /* Small or sensitive, whatever the recipe. */
    static const char *const kept[] = {
        "_norm.weight",
        "ffn_gate_inp.weight", /* the router of experts */
        "position_embd.weight",
        "token_types.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "ffn_gate_tid2eid.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        ".position_embd",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "sam.pos_embd",
        "sam.neck.",
        "sam.net_",
        "a.rvq.codebook",
        "mm.a.code_embd",
    };
    static const char end[] = "weight";
    size_t n = strlen(t->name);
    if (t->dims[1] * t->dims[2] * t->dims[3] == 1 || n < sizeof end - 1 ||
        strcmp(t->name + n - (sizeof end - 1), end) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (strstr(t->name, kept[i])) {
            return false;
        }
    }
    return true;
}

/* The layer in "blk.12.ffn_down.weight"; -1 where there is none. */
static int layer_of(const char *name)
{
    int layer;
    return sscanf(name, "blk.%9d.", &layer) == 1 && layer >= 0 ? layer : -1;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static unsigned conditions_of(const struct rules_model *m)
{
    unsigned c = m->n_experts == 8 ? EXPERTS_8 : OTHER_EXPERTS;
    c |= m->n_gqa >= 4 ? GQA_4 : 0;
    c |= m->is_falcon ? FALCON : NOT_FALCON;
    c |= m->is_llama_70b ? LLAMA_70B : 0;
    return c | (m->has_importance ? IMPORTANCE : NO_IMPORTANCE);
}

static bool is_among(enum which which, uint32_t i, uint32_t n)
{
    switch (which) {
    case ALL:
        return true;
    case FIRST_2:
        return i < 2;
    case FIRST_4:
        return i < 4;
    case FIRST_16TH:
        return i < n / 16;
    case FIRST_8TH:
        return i < n / 8;
    case MORE_BITS:
        return i < n / 8 || i >= 7 * (uint64_t)n / 8 || (i - n / 8) % 3 == 2;
    }
    return false;
}

static uint32_t by_table(const struct quantize_recipe *recipe, enum role role, unsigned conditions,
                         uint32_t i, uint32_t n)
{
    for (size_t k = 0; k < sizeof rules / sizeof rules[0]; k++) {
        const struct rule *r = &rules[k];
        if (r->role == role && (r->mixes & MIX(recipe->file_type)) != 0 &&
            (r->conditions & ~conditions) == 0 && is_among(r->which, i, n)) {
            return r->type;
        }
    }
    return recipe->base;
}

static uint32_t choose(const struct quantize_options *o, const struct rules_tensor *t,
                       enum role role, unsigned conditions, uint32_t i, uint32_t n)
{
    const struct quantize_recipe *recipe = o->recipe;
    const struct quant_format *base = quant_format_by_type(recipe->base);
    if (is_embedding(t->name) && o->embedding_type != QUANTIZE_BY_RULE) {
        return o->embedding_type;
    }
    if (is_output(t->name) && o->output_type != QUANTIZE_BY_RULE) {
        return o->output_type;
    }
    if (base->block_elements == 1 || o->pure) { /* the float formats have no mixes */
        return recipe->base;
    }
    if (role == ROLE_HEAD) {
        if (o->output_type != QUANTIZE_BY_RULE) {
            return o->output_type;
        }
        if (t->dims[0] % base->block_elements != 0) {
            return TENSOR_Q8_0;
        }
    }
    if (recipe->file_type == F_MXFP4) {
        return t->dims[2] > 1 && role != ROLE_HEAD ? TENSOR_MXFP4 : TENSOR_Q8_0;
    }
    return by_table(recipe, role, conditions, i, n);
}

/* The order in which matrices of a role are counted: by layer, and by name within one. */
struct place {
    int layer;
    const char *name;
    size_t index;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->layer != y->layer ? (x->layer > y->layer) - (x->layer < y->layer)
                                : strcmp(x->name, y->name);
}

void rules_choose(const struct rules_model *m, const struct quantize_options *o,
                  const struct rules_tensor *tensors, size_t n, uint32_t *types)
{
    unsigned conditions = conditions_of(m);
    struct place *places = mem_array(n + 1, sizeof *places);
    uint32_t n_v = 0, i_v = 0, i_down = 0;
    bool tied = true;
    for (size_t i = 0; i < n; i++) {
        places[i] = (struct place){layer_of(tensors[i].name), tensors[i].name, i};
        tied = tied && !is_output(tensors[i].name);
    }
    for (size_t i = 0; i < n; i++) {
        n_v += role_of(tensors[i].name, tied) == ROLE_V;
    }
    qsort(places, n, sizeof *places, compare_places);
    for (size_t k = 0; k < n; k++) {
        const struct rules_tensor *t = &tensors[places[k].index];
        if (!rules_is_quantizable(t)) {
            continue;
        }
        enum role role = role_of(t->name, tied);
        uint32_t i = 0, n_role = 1;
        if (role == ROLE_V) {
            i = i_v++;
            n_role = n_v;
        } else if (role == ROLE_DOWN) {
            /* Layers of experts may have several, or none. */
            i = i_down++;
            i = m->n_experts > 1 && places[k].layer >= 0 ? (uint32_t)places[k].layer : i;
            n_role = m->n_layers;
        }
        types[places[k].index] = choose(o, t, role, conditions, i, n_role);
    }
    free(places);
}
