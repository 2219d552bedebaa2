/* edit_distance.h: how many slips of the pen lie between two words, for "did you mean". */
#ifndef LLLM_BASE_EDIT_DISTANCE_H
#define LLLM_BASE_EDIT_DISTANCE_H

#include <stddef.h>

enum { EDIT_MAX_BYTES = 63 };

/* Bytes that are missing, too many, others, or swapped with their neighbour (the restricted
 * distance of Damerau and Levenshtein: nothing is changed twice); ASCII capitals count as the small
 * letters. SIZE_MAX where a word is longer than EDIT_MAX_BYTES. */
size_t edit_distance(const char *a, const char *b);

#endif
