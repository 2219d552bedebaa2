/* iq_books.h: the code books of the IQ formats. Private to this module.
 *
 * These formats (Kawrakow, 2024) write eight or four neighbours as the index of a vector in a book.
 * Every book is a set of vectors over a few levels, in rising order (iq_books.inc); the tables here
 * are those sets spread out, once per process.
 */
#ifndef LLLM_QUANT_IQ_BOOKS_H
#define LLLM_QUANT_IQ_BOOKS_H

#include <stdint.h>

struct iq_books {
    int8_t iq1[2048][8];                                     /* -1, 0, 1 */
    uint8_t iq2_xxs[256][8], iq2_xs[512][8], iq2_s[1024][8]; /* 8, 25, 43 */
    uint8_t iq3_xxs[256][4];                                 /* 4, 12, 20, 28, 36, 44, 52, 62 */
    uint8_t iq3_s[512][4];                                   /* 1, 3, 5 .. 15 */
};

/* The same table for every caller; any thread may be the first to ask. */
const struct iq_books *iq_books(void);

/* IQ2_XXS, IQ2_XS and IQ3_XXS have 7 bits for 8 signs (1: minus): the number of minuses is even. */
static inline unsigned iq_signs(unsigned seven_bits)
{
    return seven_bits | (unsigned)__builtin_parity(seven_bits) << 7;
}

#endif
