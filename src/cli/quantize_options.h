/* quantize_options.h: the options of `lllm quantize`, for its two files. */
#ifndef LLLM_CLI_QUANTIZE_OPTIONS_H
#define LLLM_CLI_QUANTIZE_OPTIONS_H

#include "cli/cli.h"
#include "quantize/quantize.h"

struct quantize_cli {
    struct common_options common;
    const char *imatrix;
    bool pure, force;
    const char *output_type, *embedding_type;
    /* --compare */
    bool compare;
    const char *text, *ids, *types;
    uint32_t context, chunks, reps;
};

/* `lllm quantize --compare IN`; returns an exit status. */
int quantize_compare(const struct quantize_cli *o, const char *model);

/* A name that quantize_recipe_find does not know: says which one may have been meant. */
int quantize_unknown_type(const char *name);

/* Opens what --imatrix names; *im is NULL without it. Release with imatrix_free. */
bool quantize_open_imatrix(const struct quantize_cli *o, struct imatrix **im, struct error *e);

#endif
