/* collect.c: from the inputs of matrices to an importance matrix.
 *
 * Sums are in double and in the order of the tokens, so that neither threads nor the size of steps
 * changes what is found. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strmap.h"
#include "quantize/internal.h"

struct tally {
    const char *name; /* the file's */
    uint64_t n_in, n_matrices;
    double *sums;   /* [n_matrices, n_in]; NULL: not met yet */
    double *counts; /* [n_matrices] */
};

struct imatrix_collector {
    struct tally *tallies; /* one per tensor of the file */
    size_t n;
    struct strmap *index;
    struct error problem; /* the first; ERROR_NONE: none */
};

struct imatrix_collector *imatrix_collector_new(const struct gguf *g)
{
    struct imatrix_collector *c = mem_zalloc(sizeof *c);
    c->n = gguf_tensor_count(g);
    c->tallies = mem_array(c->n + 1, sizeof *c->tallies);
    c->index = strmap_new(c->n);
    for (size_t i = 0; i < c->n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        c->tallies[i] = (struct tally){t->name, t->dims[0], t->dims[2] * t->dims[3], NULL, NULL};
        strmap_add(c->index, t->name, strlen(t->name), (uint32_t)i);
    }
    return c;
}

void imatrix_collector_free(struct imatrix_collector *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        free(c->tallies[i].sums);
        free(c->tallies[i].counts);
    }
    strmap_free(c->index);
    free(c->tallies);
    free(c);
}

/* The tally of a tensor, ready to be added to; NULL when there is a problem. */
static struct tally *tally_of(struct imatrix_collector *c, const char *name, size_t n_in,
                              uint64_t matrix)
{
    uint32_t i;
    if (c->problem.code != ERROR_NONE) {
        return NULL;
    }
    struct tally *t = strmap_get(c->index, name, strlen(name), &i) ? &c->tallies[i] : NULL;
    if (t == NULL || t->n_in != n_in || matrix >= t->n_matrices) {
        error_set(&c->problem, ERROR_UNSUPPORTED,
                  "the model tells of inputs of %s which do not fit the file's tensors", name);
        return NULL;
    }
    if (t->sums == NULL) {
        t->sums = mem_try_alloc((size_t)(t->n_matrices * t->n_in) * sizeof *t->sums);
        t->counts = mem_try_alloc((size_t)t->n_matrices * sizeof *t->counts);
        if (t->sums == NULL || t->counts == NULL) {
            error_set(&c->problem, ERROR_MEMORY, "no memory for the importance of %s", name);
            return NULL;
        }
    }
    return t;
}

static void add_input(void *context, const char *tensor_name, int32_t expert, const float *x,
                      size_t x_stride, size_t n_tokens, size_t n_in)
{
    struct imatrix_collector *c = context;
    uint64_t matrix = expert < 0 ? 0 : (uint64_t)expert;
    struct tally *t = tally_of(c, tensor_name, n_in, matrix);
    if (t == NULL) {
        return;
    }
    double *sums = t->sums + matrix * n_in;
    for (size_t k = 0; k < n_tokens; k++) {
        const float *row = x + k * x_stride;
        for (size_t j = 0; j < n_in; j++) {
            sums[j] += (double)row[j] * (double)row[j];
        }
    }
    t->counts[matrix] += (double)n_tokens;
}

struct model_observer imatrix_collector_observer(struct imatrix_collector *c)
{
    return (struct model_observer){.matrix_input = add_input, .context = c};
}

static bool add_tally(struct imatrix *im, const struct tally *t, size_t *n_unseen, struct error *e)
{
    uint64_t n = t->n_matrices * t->n_in;
    float *numbers = mem_try_alloc((size_t)(n + t->n_matrices) * sizeof *numbers);
    if (numbers == NULL) {
        return error_set(e, ERROR_MEMORY, "no memory for the importance of %s", t->name);
    }
    float *counts = numbers + n;
    bool finite = true;
    for (uint64_t i = 0; i < n; i++) {
        numbers[i] = (float)t->sums[i];
        finite = finite && isfinite(numbers[i]);
    }
    for (uint64_t m = 0; m < t->n_matrices; m++) {
        counts[m] = (float)t->counts[m];
        *n_unseen += t->counts[m] == 0;
    }
    bool ok =
        finite ? imatrix_add(im, t->name, t->n_in, t->n_matrices, numbers, counts, t->n_matrices, e)
               : error_set(e, ERROR_INPUT,
                           "an input of %s was not a finite number: the model's weights are "
                           "damaged, or too large for their format",
                           t->name);
    free(numbers);
    return ok;
}

struct imatrix *imatrix_collector_take(struct imatrix_collector *c, bool with_output,
                                       size_t *n_unseen, struct error *e)
{
    size_t unseen = 0;
    if (c->problem.code != ERROR_NONE) {
        if (e) {
            *e = c->problem;
        }
        return NULL;
    }
    struct imatrix *im = imatrix_new();
    for (size_t i = 0; i < c->n; i++) {
        const struct tally *t = &c->tallies[i];
        bool wanted = strncmp(t->name, "blk.", 4) == 0 ||
                      (with_output && (strcmp(t->name, "output.weight") == 0 ||
                                       strcmp(t->name, "token_embd.weight") == 0));
        if (t->sums && wanted && !add_tally(im, t, &unseen, e)) {
            imatrix_free(im);
            return NULL;
        }
    }
    if (imatrix_count(im) == 0) {
        error_set(e, ERROR_UNSUPPORTED, "the model told of no matrix");
        imatrix_free(im);
        return NULL;
    }
    if (n_unseen) {
        *n_unseen = unseen;
    }
    return im;
}
