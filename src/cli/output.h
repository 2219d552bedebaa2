/* output.h: a file that a command is to write must be none that it reads. */
#ifndef LLLM_CLI_OUTPUT_H
#define LLLM_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* False, with a sentence, where writing output would replace one of the inputs: the same file by
 * whatever name, a part of a model in several files, or a file of a folder that is read; also for
 * "-", since a model cannot be written to a pipe. Inputs that are NULL or "-" are passed over. */
bool output_check(const char *output, const char *const *inputs, size_t n_inputs, struct error *e);

#endif
