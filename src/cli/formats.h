/* formats.h: the number formats that single tensors can be written in, for people to choose from.
 */
#ifndef LLLM_CLI_FORMATS_H
#define LLLM_CLI_FORMATS_H

#include <stdio.h>

#include "quant/quant.h"

/* The format of that name in any letter case; NULL where there is none, or none that is written. */
const struct quant_format *formats_find(const char *name);

/* CLI_USAGE, with a sentence: `option` has no such value, and which it may have. */
int formats_refuse(const char *verb, const char *option, const char *name);

/* A table for the end of a help text: names and bits per weight. */
void formats_print(FILE *out);

/* How many matrices are of which format, counts[enum tensor_type]: "Q5_0" where all are of one,
 * else "13 Q5_0 and 2 F16". */
enum { FORMATS_COUNTS_BYTES = 256 };
const char *formats_counts(const uint64_t *counts, uint32_t n, char out[FORMATS_COUNTS_BYTES]);

#endif
