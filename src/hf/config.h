/* config.h: config.json and formulas over it (model/arch_hf.h). Private to src/hf/. */
#ifndef LLLM_HF_CONFIG_H
#define LLLM_HF_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
    /* Integers are read as doubles, so that those over 64 bits, which some files have, are no
     * error. jansson's tree of a hostile text takes some 50 times its size. */
    CONFIG_MAX_BYTES = 1 << 20,
    CONFIG_MAX_PATH_BYTES = 128,
};

struct config {
    json_t *root;
    const json_t *text; /* "text_config", or NULL */
    char *path;         /* of the file, for sentences */
};

/* FOLDER/name as a JSON object or array. NULL with an error; where the file is absent and
 * `optional`, NULL without one. */
struct config *hf_config_open(const char *folder, const char *name, bool optional, struct error *e);
void hf_config_close(struct config *c);

/* What stands at a path; NULL where nothing or null does. */
const json_t *hf_config_get(const struct config *c, const char *path);
/* Whether something stands there that is neither null, false, 0 nor an empty text. */
bool hf_config_true(const struct config *c, const char *path);
/* Sentence: "FILE: WHAT is VALUE where WANTED is needed". Returns false. */
bool hf_config_wrong(const struct config *c, const char *what, const json_t *value,
                     const char *wanted, struct error *e);
/* A number at a path; absent: *there is false and *out stays. */
bool hf_config_number(const struct config *c, const char *path, double *out, bool *there,
                      struct error *e);
/* The first class of "architectures"; NULL where there is none. */
const char *hf_config_class(const struct config *c);

struct formula_value {
    enum { FORMULA_ABSENT, FORMULA_NUMBER, FORMULA_BOOL, FORMULA_TEXT } kind;
    double number; /* of a bool: 0 or 1 */
    const char *text;
    size_t n;
};

/* Evaluates a formula of a row. False where config.json has something of a kind that the formula
 * cannot use. A formula that is not well-formed ends the process: it is part of the program. */
bool hf_formula_evaluate(const struct config *c, const char *formula, struct formula_value *out,
                         struct error *e);

#endif
