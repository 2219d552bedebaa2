/* fixed_ways.h: the ways of a call: many tokens, or few. Private to this folder. */
#ifndef LLLM_KERNELS_X86_FIXED_WAYS_H
#define LLLM_KERNELS_X86_FIXED_WAYS_H

#include "kernels/x86/fixed_chunk.h"

enum {
    FIXED_PANEL_CHUNKS = 128, /* room in the scratch: rows of up to 65,536 elements */
    FIXED_FEW_TOKENS = 4,     /* up to here rows are unpacked in registers, */
    FIXED_STRIP_TOKENS = 32,  /* and strips */
};

/* As kernel_fixed.matmul, for rows of up to FIXED_PANEL_CHUNKS chunks. */
void fixed_panels_vnni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                       const struct fixed_chunk *packed, size_t token_begin, size_t token_end,
                       float *y, size_t y_stride, void *scratch);

/* As kernel_fixed.matmul, for few tokens best. */
void fixed_few_vnni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                    const void *packed, size_t token_begin, size_t token_end, float *y,
                    size_t y_stride);
void fixed_few_gfni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                    const void *packed, size_t token_begin, size_t token_end, float *y,
                    size_t y_stride);
struct panel; /* fixed_panel.h */
/* A chunk of 16 rows that are a strip. */
void fixed_fill_strip_gfni(const struct kernel_weights *w, size_t row, size_t chunk,
                           const struct panel *to);

/* As kernel_fixed.matmul, of weights in strips, for at most FIXED_STRIP_TOKENS tokens best. */
void fixed_strips_gfni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                       const struct fixed_chunk *packed, size_t token_begin, size_t token_end,
                       float *y, size_t y_stride);

#endif
