/* output.h: a file that a command is to write must be none that it reads, and replaces what is
 * there only when it is told to.
 *
 * This is for files that cost time to make: models, importance matrices. Training goes on in a
 * folder that is there, and prints what it finds. */
#ifndef LLLM_CLI_OUTPUT_H
#define LLLM_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A row for the table of options of a command that writes such a file. */
#define OUTPUT_FORCE_OPTION(place)                                                                 \
    {                                                                                              \
        "force", 0, OPTION_FLAG, NULL, "replace the output where it is there already", place, 0,   \
            0, 0                                                                                   \
    }

/* False, with a sentence, where writing output would replace one of the inputs: the same file by
 * whatever name, a part of a model in several files, or a file of a folder that is read; also for
 * "-", since a model cannot be written to a pipe. Inputs that are NULL or "-" are passed over.
 * Where the output is there (a link to nothing included), that is an error without `force`. */
bool output_check(const char *output, const char *const *inputs, size_t n_inputs, bool force,
                  struct error *e);

#endif
