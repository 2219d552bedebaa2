/* fuzz_safetensors.c: opens whatever it is given as a .safetensors file and checks what
 * safetensors.h promises (S1 to S3) without the help of the reader. Ends the process where it does
 * not hold. Built for libFuzzer with -Dfuzz=true, and with fuzz_replay.c as a test over the corpus.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "hf/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* keeps the reads */

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void check_error(const struct error *e, size_t size)
{
    CHECK(e->code != ERROR_NONE);
    CHECK(e->message[0] != 0);
    CHECK(utf8_valid(e->message, strlen(e->message), NULL));
    CHECK(!e->has_position || e->position <= size);
    for (const char *c = e->message; *c; c++) {
        CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static uint64_t check_tensor(const struct safetensors *s, const struct safetensors_tensor *t,
                             const uint8_t *begin, size_t size)
{
    size_t n = strlen(t->name);
    CHECK(n > 0 && n <= SAFETENSORS_MAX_NAME_BYTES && utf8_valid(t->name, n, NULL)); /* S1 */
    CHECK(safetensors_find(s, t->name) == t);
    CHECK(t->n_dims <= SAFETENSORS_MAX_DIMS); /* S2 */
    long double elements = 1;
    for (uint32_t i = 0; i < SAFETENSORS_MAX_DIMS; i++) {
        CHECK(i < t->n_dims || t->dims[i] == 1);
        elements *= (long double)t->dims[i];
    }
    CHECK(elements == (long double)t->n_elements && elements <= 4611686018427387904.0L);
    CHECK(strcmp(safetensors_dtype_name(t->dtype), "unknown") != 0);
    CHECK((long double)t->size_bytes * 8 == elements * safetensors_dtype_bits(t->dtype));
    CHECK(t->offset >= 8 && t->offset <= size && t->size_bytes <= size - t->offset);
    CHECK(t->data == begin + t->offset);
    for (uint64_t i = 0; i < t->size_bytes; i++) {
        sink += t->data[i];
    }
    return t->size_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A block of its own, of the exact size, so that a sanitizer sees a read past the end. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    CHECK(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    struct error e = {.code = ERROR_NONE};
    struct safetensors *s = safetensors_open_memory(copy, size, &e);
    if (s == NULL) {
        check_error(&e, size);
        free(copy);
        return 0;
    }
    CHECK(e.code == ERROR_NONE && e.message[0] == 0);
    uint64_t header = 8, total = 0;
    for (int i = 0; i < 8; i++) {
        header += (uint64_t)copy[i] << (8 * i);
    }
    size_t n = safetensors_count(s);
    for (size_t i = 0; i < n; i++) {
        total += check_tensor(s, safetensors_at(s, i), copy, size);
        for (size_t k = 0; k < i && k < 64; k++) {
            const struct safetensors_tensor *a = safetensors_at(s, i), *b = safetensors_at(s, k);
            CHECK(a->offset + a->size_bytes <= b->offset || b->offset + b->size_bytes <= a->offset);
        }
    }
    CHECK(header + total == size); /* S3: none overlap, and together they are all */
    CHECK(safetensors_at(s, n) == NULL);
    CHECK(safetensors_find(s, "no such name") == NULL);
    sink += safetensors_metadata(s, "format") != NULL;
    safetensors_close(s);
    free(copy);
    return 0;
}
