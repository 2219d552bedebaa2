/* golden_folder.h: what tests/model/golden/make_golden.py wrote beside a model; its docstring says
 * what the files hold. */
#ifndef LLLM_TESTS_GOLDEN_FOLDER_H
#define LLLM_TESTS_GOLDEN_FOLDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum golden_kind { GOLDEN_LOGITS, GOLDEN_HIDDEN, GOLDEN_SEQUENCE, GOLDEN_TOKENS };

struct golden_prompt {
    int32_t *ids, *types; /* types: NULL for zeros */
    int32_t *top1;        /* [n], or NULL */
    uint32_t n;
    size_t n_rows;
    double *rows; /* [n_rows, width] */
    double *mean; /* [width], or NULL */
    const char *text;
};

struct golden {
    enum golden_kind kind;
    size_t width, n_prompts;
    struct golden_prompt *prompts;
    json_t *json;
};

/* Fails the test when something is missing. */
struct golden *golden_open(const char *folder);
void golden_close(struct golden *g);

/* The names of the folders below `root` that hold a golden.json, sorted. The caller's, as is each.
 */
char **golden_list(const char *root, size_t *n);

/* "ROOT/NAME", the caller's. */
char *golden_path(const char *root, const char *name);

#endif
