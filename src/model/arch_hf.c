/* arch_hf.c: looking up the Hugging Face halves of the rows. */
#include "model/arch_hf.h"

#include <string.h>

#include "model/arch.h"

const struct arch_hf *arch_hf_at(size_t index, const char **arch)
{
    const struct model_arch *a;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        if (index < a->n_hf) {
            if (arch) {
                *arch = a->name;
            }
            return &a->hf[index];
        }
        index -= a->n_hf;
    }
    return NULL;
}

const struct arch_hf *arch_hf_find(const char *class_name, const char **arch)
{
    const struct arch_hf *half;
    for (size_t i = 0; (half = arch_hf_at(i, arch)); i++) {
        for (const char *const *c = half->classes; *c; c++) {
            if (strcmp(*c, class_name) == 0) {
                return half;
            }
        }
    }
    return NULL;
}
