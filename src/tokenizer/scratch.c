/* scratch.c: the working memory of one call, and the queue of candidate merges. */
#include <stdlib.h>

#include "tokenizer/tokenizer_internal.h"

bool scratch_reserve_array(void **array, size_t *capacity, size_t need, size_t element_bytes,
                           struct error *e)
{
    if (need <= *capacity) {
        return true;
    }
    size_t larger = need + need / 2 + 64;
    free(*array);
    *capacity = 0;
    *array = mem_try_alloc(larger * element_bytes);
    if (!*array) {
        return error_set(e, ERROR_MEMORY, "no memory for tokenizing %zu bytes of text", need);
    }
    *capacity = larger;
    return true;
}

bool scratch_reserve(struct encoding *enc, size_t n_symbols)
{
    void *symbols = enc->symbols, *heap = enc->heap;
    /* n - 1 candidates to begin with; each of at most n - 1 merges takes one and adds two. */
    bool ok =
        scratch_reserve_array(&symbols, &enc->symbol_capacity, n_symbols, sizeof *enc->symbols,
                              enc->e) &&
        scratch_reserve_array(&heap, &enc->heap_capacity, 2 * n_symbols, sizeof *enc->heap, enc->e);
    enc->symbols = symbols;
    enc->heap = heap;
    enc->heap_count = 0;
    return ok;
}

void scratch_free(struct encoding *enc)
{
    for (size_t i = 0; i < 2; i++) {
        free(enc->rewritten[i].text);
        free(enc->rewritten[i].origins);
    }
    free(enc->code_points);
    free(enc->symbols);
    free(enc->heap);
    free(enc->paths);
    words_free(enc);
}

void candidate_push(struct encoding *enc, struct merge_candidate c)
{
    struct merge_candidate *heap = enc->heap;
    size_t i = enc->heap_count++;
    for (; i > 0 && heap[(i - 1) / 2].key > c.key; i = (i - 1) / 2) {
        heap[i] = heap[(i - 1) / 2];
        enc->work++;
    }
    heap[i] = c;
    enc->work++;
}

bool candidate_pop(struct encoding *enc, struct merge_candidate *c)
{
    struct merge_candidate *heap = enc->heap;
    if (enc->heap_count == 0) {
        return false;
    }
    *c = heap[0];
    struct merge_candidate last = heap[--enc->heap_count];
    size_t i = 0;
    for (;; enc->work++) {
        size_t child = 2 * i + 1;
        if (child >= enc->heap_count) {
            break;
        }
        if (child + 1 < enc->heap_count && heap[child + 1].key < heap[child].key) {
            child++;
        }
        if (heap[child].key >= last.key) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return true;
}
