/* checked.h: arithmetic on sizes that come from outside. Each returns false on overflow. */
#ifndef LLLM_BASE_CHECKED_H
#define LLLM_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool checked_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool checked_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* Rounds n up to a multiple of alignment (a power of two). */
static inline bool checked_align_u64(uint64_t n, uint64_t alignment, uint64_t *aligned)
{
    uint64_t sum;
    if (!checked_add_u64(n, alignment - 1, &sum)) {
        return false;
    }
    *aligned = sum & ~(alignment - 1);
    return true;
}

#endif
