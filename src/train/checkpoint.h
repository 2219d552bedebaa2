/* checkpoint.h: everything a run needs to go on to the same bits.
 *
 *   offset  size  what
 *   0       8     magic "LLLMCKP1"
 *   8       8     fingerprint of the recipe and the data (FNV-1a 64)
 *   16      8     number of parameters n
 *   24      8     step (done so far)
 *   32      16    epoch, cursor
 *   48      8     tokens seen
 *   56      12 n  weights, first moments, second moments, f32 each
 *   -       8     FNV-1a 64 of all bytes before
 *
 * Written to a temporary file and renamed, so a kill leaves the previous one whole.
 */
#ifndef LLLM_TRAIN_CHECKPOINT_H
#define LLLM_TRAIN_CHECKPOINT_H

#include "base/error.h"
#include "train/data.h"

struct train_state {
    uint64_t fingerprint, n_parameters, step, tokens;
    struct data_cursor cursor;
    float *weights, *m, *v; /* [n_parameters] each */
};

uint64_t checkpoint_hash(uint64_t hash, const void *data, size_t n); /* start with 0 */
bool checkpoint_write(const char *path, const struct train_state *s, struct error *e);
/* s has fingerprint, n_parameters and memory; a file of another recipe, a cut or damaged one is an
 * error. */
bool checkpoint_read(const char *path, struct train_state *s, struct error *e);

#endif
