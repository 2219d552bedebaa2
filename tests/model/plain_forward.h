/* plain_forward.h: the llama forward pass once more, in double, without any module but quant. */
#ifndef LLLM_TESTS_PLAIN_FORWARD_H
#define LLLM_TESTS_PLAIN_FORWARD_H

#include "tiny_model.h"

/* logits: [n, n_vocab] */
void plain_forward(const struct tiny *t, const struct gguf *g, const int32_t *tokens, size_t n,
                   double *logits);

#endif
