/* strips.h: quantised weights laid out anew, so that integer units need not turn them.
 *
 * A strip is STRIP_ROWS neighbouring rows. It takes the same bytes as they do, and begins where the
 * first of them did. Elements follow each other by STRIP_SUPER (at a row's end there may be fewer,
 * whole blocks). Of these come first, where blocks have two bytes beside whole words of 32 bits,
 * those: of the first block of each row, of the second of each, and so on; and then the words: the
 * first word of the first block of each row, its second word of each, and so on. A vector of 64
 * bytes then has the same four bytes of 16 rows, a lane for each.
 */
#ifndef LLLM_KERNELS_STRIPS_H
#define LLLM_KERNELS_STRIPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum { STRIP_ROWS = 16, STRIP_SUPER = 256 };

/* Whether rows can be laid out so: of Q4_0, Q8_0, Q4_K or Q6_K, which fixed.h's integer units meet
 * most, a whole number of strips, one row behind the other, and not in strips yet. */
bool strips_fit(const struct kernel_weights *w);

/* Whether rows of that type can be, as far as their numbers are multiples of what they have to be
 * multiples of. */
bool strips_of_type(uint32_t type);

/* Rows [0, STRIP_ROWS) of n_in elements, one behind the other, as a strip. n_in is a multiple of
 * the format's block; rows and strip do not overlap. For other types nothing is written. */
void strip_from_rows(uint32_t type, size_t n_in, const void *rows, void *strip);

#endif
