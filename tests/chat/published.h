/* published.h: the templates of published models, from LLLM_TEST_DATA, or from the folder named on
 * the command line. */
#ifndef LLLM_TESTS_PUBLISHED_H
#define LLLM_TESTS_PUBLISHED_H

#include <stdbool.h>

#include "base/mem.h"

/* Call first. */
void published_open(int argc, char **argv);
/* A file of the data; the buffer is the caller's. */
bool read_data(const char *name, struct buf *b);
/* Skips the test where there are no templates. */
void need_templates(void);
void read_template(const char *file, struct buf *b);

/* templates/llama.cpp/FILE.jinja, and the formats of its calls and its reasoning. */
struct published {
    const char *file, *calls, *reasoning;
};
extern const struct published models[];
extern const int n_models;

#endif
