#include "engine/moving.h"

#include "kernels/strips.h"

enum {
    LEAST_TOGETHER = 8, /* fewer read the weights as fast from the file on some processors */
    LEAST_TOKENS = 32,  /* of an answer: prompts gain nothing, and on tile units lose */
    TYPICAL_TOKENS = 64,
    LEAST_TOKENS_IN_ALL = 2048,
};

static bool are_enough(const struct moving_work *work, uint32_t n_running)
{
    const uint64_t together = work->n_answers < n_running ? work->n_answers : n_running;
    const bool shorter = work->n_tokens > 0 && work->n_tokens < TYPICAL_TOKENS;
    const uint64_t each = shorter ? work->n_tokens : TYPICAL_TOKENS;
    return together >= LEAST_TOGETHER && each >= LEAST_TOKENS &&
           work->n_answers * each >= LEAST_TOKENS_IN_ALL;
}

/* By their bytes. */
static bool most_can_be_strips(const struct gguf *g)
{
    uint64_t all = 0, strips = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        all += t->size_bytes;
        strips += strips_of_type(t->type) ? t->size_bytes : 0;
    }
    return strips > all / 2;
}

bool moving_pays(const struct gguf *g, const struct memory_plan *plan, const struct sysmem *machine,
                 const struct kernels *kernels, const struct moving_work *work)
{
    const uint64_t room = sysmem_free(machine);
    return kernels_take_strips(kernels) && are_enough(work, plan->n_running) &&
           room != SYSMEM_UNKNOWN && plan->total_bytes + plan->weights_bytes <= room &&
           most_can_be_strips(g);
}
