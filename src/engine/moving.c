#include "engine/moving.h"

#include <string.h>
#include <sys/resource.h>

#include "kernels/strips.h"

enum {
    LEAST_TOGETHER = 8, /* fewer read the weights as fast from the file on some processors */
    LONG_FOR_A_PLACE = 2,
};

static bool are_enough(const struct moving_work *work, uint32_t n_running)
{
    const uint64_t n = work->n_answers, together = n < n_running ? n : n_running;
    return together >= LEAST_TOGETHER && work->n_long >= LONG_FOR_A_PLACE * together &&
           work->n_long >= n - work->n_long;
}

/* As model_to_strips takes them, but for a few: not embeddings, which are read by rows. */
static bool can_be_strips(const struct gguf_tensor *t)
{
    static const char embeddings[] = "token_embd.";
    return strips_of_type(t->type) && t->n_dims == 2 && t->dims[1] % STRIP_ROWS == 0 &&
           strncmp(t->name, embeddings, strlen(embeddings)) != 0;
}

/* By their bytes. */
static bool most_can_be_strips(const struct gguf *g)
{
    uint64_t all = 0, strips = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        all += t->size_bytes;
        strips += can_be_strips(t) ? t->size_bytes : 0;
    }
    return strips > all / 2;
}

static bool has_room(const struct memory_plan *plan, const struct sysmem *machine)
{
    const uint64_t room = sysmem_free(machine);
    return room != SYSMEM_UNKNOWN && plan->total_bytes + plan->weights_bytes <= room;
}

bool moving_pays(const struct gguf *g, const struct memory_plan *plan, const struct sysmem *machine,
                 const struct kernels *kernels, const struct moving_work *work)
{
    return kernels_take_strips(kernels) && are_enough(work, plan->n_running) &&
           has_room(plan, machine) && most_can_be_strips(g);
}

bool moving_is_possible(const struct gguf *g)
{
    struct rlimit space;
    return getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur == RLIM_INFINITY && gguf_can_move(g);
}
