/* scratch.c: the working memory of one tokenizer_encode, and the queue of candidate merges. */
#include <stdlib.h>

#include "tokenizer/tokenizer_internal.h"

static bool reserve(void **array, size_t *capacity, size_t need, size_t element_bytes,
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

bool scratch_reserve(struct encode_scratch *s, size_t n_symbols, struct error *e)
{
    void *symbols = s->symbols, *heap = s->heap;
    /* n - 1 candidates to begin with; each of at most n - 1 merges takes one and adds two. */
    bool ok = reserve(&symbols, &s->symbol_capacity, n_symbols, sizeof *s->symbols, e) &&
              reserve(&heap, &s->heap_capacity, 2 * n_symbols, sizeof *s->heap, e);
    s->symbols = symbols;
    s->heap = heap;
    s->heap_count = 0;
    return ok;
}

bool scratch_reserve_text(struct encode_scratch *s, size_t n_bytes, struct error *e)
{
    void *text = s->text;
    bool ok = reserve(&text, &s->text_capacity, n_bytes, 1, e);
    s->text = text;
    return ok;
}

void scratch_free(struct encode_scratch *s)
{
    free(s->symbols);
    free(s->heap);
    free(s->text);
    *s = (struct encode_scratch){0};
}

void candidate_push(struct encode_scratch *s, struct merge_candidate c)
{
    size_t i = s->heap_count++;
    while (i > 0 && s->heap[(i - 1) / 2].key > c.key) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = c;
}

bool candidate_pop(struct encode_scratch *s, struct merge_candidate *c)
{
    if (s->heap_count == 0) {
        return false;
    }
    *c = s->heap[0];
    struct merge_candidate last = s->heap[--s->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->heap_count) {
            break;
        }
        if (child + 1 < s->heap_count && s->heap[child + 1].key < s->heap[child].key) {
            child++;
        }
        if (s->heap[child].key >= last.key) {
            break;
        }
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return true;
}
