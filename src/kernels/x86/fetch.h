/* fetch.h: what comes next, on its way from memory into the second-level cache, share by share.
 * Private to this folder.
 */
#ifndef LLLM_KERNELS_X86_FETCH_H
#define LLLM_KERNELS_X86_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/x86/vec.h"

/* A number, for it may lie behind what there is, where nothing comes of it. */
struct fetch {
    uintptr_t at;
    size_t n_bytes, step; /* of a share, and to the next */
};

VEC_INLINE void fetch_share(struct fetch *f)
{
    for (size_t i = 0; i < f->n_bytes; i += 64) {
        vec_prefetch_far((const void *)f->at, i);
    }
    f->at += f->step;
}

#endif
