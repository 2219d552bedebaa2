/* iq_books.c: from sets of vectors to tables. */
#include "quant/iq_books.h"

#include <pthread.h>
#include <stddef.h>

#include "quant/iq_books.inc"

static struct iq_books books; /* 36 KiB, filled once by fill() */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A member of a set is a number whose digits (lowest first) are levels of the vector's elements. */
static void spread(const uint64_t *set, unsigned n_words, const int8_t *levels, unsigned n_levels,
                   unsigned n_digits, uint8_t *table)
{
    for (unsigned w = 0; w < n_words; w++) {
        for (uint64_t rest = set[w]; rest != 0; rest &= rest - 1) {
            unsigned number = 64 * w + (unsigned)__builtin_ctzll(rest);
            for (unsigned i = 0; i < n_digits; i++, number /= n_levels) {
                *table++ = (uint8_t)levels[number % n_levels];
            }
        }
    }
}

static void fill(void)
{
    static const int8_t signs[3] = {-1, 0, 1};
    static const int8_t iq2[3] = {8, 25, 43};
    static const int8_t iq3_xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    static const int8_t odd[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    enum { TERNARY_WORDS = 103, OCTAL_WORDS = 64 }; /* 3^8 and 8^4 bits */
    spread(set_iq1, TERNARY_WORDS, signs, 3, 8, (uint8_t *)&books.iq1[0][0]);
    spread(set_iq2_xxs, TERNARY_WORDS, iq2, 3, 8, &books.iq2_xxs[0][0]);
    spread(set_iq2_xs, TERNARY_WORDS, iq2, 3, 8, &books.iq2_xs[0][0]);
    spread(set_iq2_s, TERNARY_WORDS, iq2, 3, 8, &books.iq2_s[0][0]);
    spread(set_iq3_xxs, OCTAL_WORDS, iq3_xxs, 8, 4, &books.iq3_xxs[0][0]);
    spread(set_iq3_s, OCTAL_WORDS, odd, 8, 4, &books.iq3_s[0][0]);
}

const struct iq_books *iq_books(void)
{
    pthread_once(&once, fill);
    return &books;
}
