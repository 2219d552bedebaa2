/* export.h: trained weights as a GGUF file. */
#ifndef LLLM_TRAIN_EXPORT_H
#define LLLM_TRAIN_EXPORT_H

#include "tokenizer/tokenizer.h"
#include "train/train.h"

/* Matrices in the recipe's output.type, norms in f32, vocabulary and chat template (NULL: none)
 * included; written atomically. */
bool train_export(const struct train_config *c, const struct model_config *shape,
                  const struct tokenizer_spec *vocabulary, const char *chat_template,
                  const float *weights, const char *path, struct error *e);

#endif
