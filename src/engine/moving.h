/* moving.h: whether answers to come are worth moving a model's weights for (gguf_move_tensors).
 *
 * What is moved is laid out as strips (kernels/strips.h), and answers together are up to twice as
 * fast from those; reading and laying out takes as long as some 300 tokens of them do, whatever the
 * model's size, and the next start as many again, for the system's copy of the file is gone.
 * docs/speed.md, "Huge pages", has the figures.
 */
#ifndef LLLM_ENGINE_MOVING_H
#define LLLM_ENGINE_MOVING_H

#include "engine/plan.h"
#include "kernels/kernels.h"

struct moving_work {
    uint64_t n_answers; /* that are known to come */
    uint32_t n_tokens;  /* of each, at most; 0: nobody has said */
};

/* True where these tables take strips, most of the weights can be some, enough answers share a pass
 * (plan->n_running) and there are enough of them to pay, and as much memory as the weights take is
 * free beside the plan: what was moved is the process's own, and cannot be given back as pages of a
 * file can. */
bool moving_pays(const struct gguf *g, const struct memory_plan *plan, const struct sysmem *machine,
                 const struct kernels *kernels, const struct moving_work *work);

#endif
