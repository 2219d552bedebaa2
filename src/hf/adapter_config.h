/* adapter_config.h: adapter_config.json of the peft library. Private to src/hf/. */
#ifndef LLLM_HF_ADAPTER_CONFIG_H
#define LLLM_HF_ADAPTER_CONFIG_H

#include "hf/config.h"

struct adapter_patterns; /* rank_pattern, alpha_pattern */

struct adapter_config {
    struct config *config;
    const char *base; /* base_model_name_or_path, or NULL */
    double rank, alpha;
    bool stabilised; /* use_rslora: alpha / sqrt(rank) (Kalajdzievski, 2023) */
    struct adapter_patterns *ranks, *alphas;
};

/* Refuses, with a sentence, every setting that would make the model compute something else than
 * y = w x + s b (a x). */
bool hf_adapter_config_open(const char *folder, struct adapter_config *c, struct error *e);
void hf_adapter_config_close(struct adapter_config *c);
/* Of a module by its name in the model ("model.layers.0.self_attn.q_proj"). */
double hf_adapter_rank(const struct adapter_config *c, const char *module);
double hf_adapter_scale(const struct adapter_config *c, const char *module);

#endif
