/* moving.h: whether answers to come are worth moving a model's weights for, where nobody has asked
 * for that (gguf_move_tensors).
 *
 * What is moved is laid out as strips (kernels/strips.h), from which answers together are faster:
 * eight 1.5 times, sixteen 1.3, forty-eight 1.1. Reading and laying out take the time that some 40
 * tokens in each place of a pass save, whatever the model's size. docs/speed.md, "Huge pages", has
 * the figures.
 */
#ifndef LLLM_ENGINE_MOVING_H
#define LLLM_ENGINE_MOVING_H

#include "engine/plan.h"
#include "kernels/kernels.h"

enum { MOVING_LONG = 64 }; /* tokens: answers that may have so many count as long */

struct moving_work {
    uint64_t n_answers, n_long; /* that are known to come; and of these */
};

/* True where these tables take strips and most of the weights can be some; where eight answers or
 * more share a pass (plan->n_running) and there are two long ones for each place in it, and no more
 * short ones, whose prompts gain nothing; and where as much memory as the weights take is free
 * beside the plan (what was moved cannot be given back as pages of a file can). Mixtures of experts
 * never: passes meet each expert with few tokens. */
bool moving_pays(const struct gguf *g, const struct memory_plan *plan, const struct sysmem *machine,
                 const struct kernels *kernels, const struct moving_work *work);
/* Whether a file can be moved without harm: it is one on a disk, the system has huge pages, and the
 * process no limit on its addresses, of which keys and values come next. */
bool moving_is_possible(const struct gguf *g);

#endif
