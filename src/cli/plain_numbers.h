/* plain_numbers.h: the numbers of a JSON text without exponents, as a schema's grammar reads them.
 */
#ifndef LLLM_CLI_PLAIN_NUMBERS_H
#define LLLM_CLI_PLAIN_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* Appends the text to out; 1.5e3 becomes 1500, 1e-1 becomes 0.1. Numbers that would need more than
 * 1,024 figures on a side of the point, what is no number, and strings stay as they are. */
void plain_numbers(const char *text, size_t n, struct buf *out);
/* Where in the text byte `at` of the result came from: the beginning of the number, within one that
 * was written anew. */
size_t plain_numbers_origin(const char *text, size_t n, size_t at);

#endif
