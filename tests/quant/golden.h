/* golden.h: blocks with the values that the reference implementation reads from them.
 *
 * One file per format, golden/<name in small letters>.txt, made by make_golden.py. Lines:
 *
 *   # ...               a comment
 *   type Q4_K           the name in the table of formats; once, first
 *   block 00ff...       the bytes of one block, hex
 *   values 3f800000...  the bits of its elements, 8 hex digits each, in order; or, to keep files
 *   hash 0123456789abcdef    small, FNV-1a (64 bits) of those bits as little-endian bytes
 *
 * Each block is followed by `values` or `hash`. A NaN counts as 7fc00000 whatever its bits.
 */
#ifndef LLLM_TESTS_QUANT_GOLDEN_H
#define LLLM_TESTS_QUANT_GOLDEN_H

#include "quant/quant.h"

/* Compares f with its file in `folder`, block by block and as one row; fails the running test at
 * the first difference or flaw of the file. Returns the number of blocks (at least one). */
size_t golden_check(const struct quant_format *f, const char *folder);

#endif
