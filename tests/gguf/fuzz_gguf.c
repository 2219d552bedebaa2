/* fuzz_gguf.c: opens whatever it is given as a GGUF file, reads all that it offers, and checks what
 * gguf.h promises (G1 to G5) without the help of the reader. Ends the process where it does not
 * hold. Built for libFuzzer with -Dfuzz=true, and with fuzz_replay.c as a test over the corpus. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "gguf/gguf.h"

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
}

static struct error *fresh(struct error *e)
{
    *e = (struct error){.code = ERROR_NONE};
    return e;
}

/* A read either works and leaves the error alone, or does not and says why. */
static void check_read(bool ok, const struct error *e, size_t size)
{
    if (ok) {
        CHECK(e->code == ERROR_NONE && e->message[0] == 0);
    } else {
        check_error(e, size);
    }
}

static void read_bytes(const void *data, uint64_t n, const uint8_t *begin, size_t size)
{
    const uint8_t *p = data;
    CHECK(p >= begin && p <= begin + size && n <= (uint64_t)(begin + size - p));
    for (uint64_t i = 0; i < n; i++) {
        sink += p[i];
    }
}

static void read_getters(const struct gguf *g, const char *key, size_t size)
{
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    float f32 = 0;
    bool yes = false;
    struct gguf_string s = {NULL, 0};
    struct error e;
    check_read(gguf_get_u32(g, key, &u32, fresh(&e)), &e, size);
    check_read(gguf_get_u64(g, key, &u64, fresh(&e)), &e, size);
    check_read(gguf_get_f32(g, key, &f32, fresh(&e)), &e, size);
    check_read(gguf_get_bool(g, key, &yes, fresh(&e)), &e, size);
    check_read(gguf_get_string(g, key, &s, fresh(&e)), &e, size);
    check_read(gguf_require_u32(g, key, &u32, fresh(&e)), &e, size);
    check_read(gguf_require_string(g, key, &s, fresh(&e)), &e, size);
    sink += u32 + u64 + (f32 > 0) + yes + s.len;
}

static void read_value(const struct gguf *g, const struct gguf_value *v, const uint8_t *begin,
                       size_t size)
{
    CHECK(v->key.len > 0 && v->key.len <= GGUF_MAX_KEY_BYTES); /* G1 */
    CHECK(utf8_valid(v->key.data, v->key.len, NULL));
    char *key = malloc(v->key.len + 1);
    CHECK(key != NULL);
    memcpy(key, v->key.data, v->key.len);
    key[v->key.len] = 0;
    CHECK(gguf_value_find(g, key) == v);
    read_getters(g, key, size);
    free(key);

    read_bytes(v->data, v->size_bytes, begin, size); /* G2 */
    int64_t i64;
    double f64;
    struct gguf_string s;
    int kinds = gguf_value_as_i64(v, &i64) || gguf_value_as_f64(v, &f64);
    if (gguf_value_as_string(v, &s)) {
        kinds += 2;
        CHECK(s.len + 8 == v->size_bytes);
        read_bytes(s.data, s.len, begin, size);
    }
    CHECK(kinds == (v->type == GGUF_ARRAY ? 0 : v->type == GGUF_STRING ? 2 : 1));
    uint64_t cursor = 0, n_strings = 0;
    while (gguf_array_string(v, &cursor, &s)) {
        read_bytes(s.data, s.len, begin, size);
        n_strings++;
    }
    if (v->type != GGUF_ARRAY) {
        return;
    }
    CHECK(n_strings == (v->element_type == GGUF_STRING ? v->count : 0));
    for (uint64_t i = 0; i < v->count && i <= v->size_bytes; i++) {
        f64 = gguf_array_f64(v, i);
        i64 = gguf_array_i64(v, i);
        CHECK(v->element_type != GGUF_BOOL || i64 == 0 || i64 == 1);
        sink += (f64 > 0) + (uint64_t)i64;
    }
}

static void read_tensor(const struct gguf *g, const struct gguf_tensor *t, const uint8_t *begin,
                        size_t size)
{
    size_t name_bytes = strlen(t->name);
    CHECK(name_bytes > 0 && name_bytes <= GGUF_MAX_NAME_BYTES); /* G1 */
    CHECK(utf8_valid(t->name, name_bytes, NULL));
    CHECK(gguf_tensor_find(g, t->name) == t);
    CHECK(t->n_dims >= 1 && t->n_dims <= GGUF_MAX_DIMS); /* G3 */
    long double elements = 1;
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        CHECK(t->dims[i] > 0 && (i < t->n_dims || t->dims[i] == 1));
        elements *= (long double)t->dims[i];
    }
    CHECK(elements <= 4611686018427387904.0L); /* G5 */
    CHECK(t->format != NULL && t->format->type == t->type);
    CHECK(t->dims[0] % t->format->block_elements == 0);
    CHECK((long double)t->size_bytes ==
          elements / t->format->block_elements * t->format->block_bytes);
    /* G4 */
    CHECK(t->size_bytes > 0 && t->offset <= size && t->size_bytes <= size - t->offset);
    CHECK(t->data == begin + t->offset);
    const uint8_t *p = t->data;
    sink += p[0] + (uint64_t)p[t->size_bytes - 1];
    for (size_t i = 0; i < gguf_tensor_count(g) && i < 64; i++) {
        const struct gguf_tensor *other = gguf_tensor_at(g, i);
        CHECK(other == t || other->offset + other->size_bytes <= t->offset ||
              t->offset + t->size_bytes <= other->offset);
    }
    /* The blocks can be read in place: alignment of the memory included. */
    if (t->format->dequantize != NULL) {
        float x[1024];
        size_t n = t->format->block_elements;
        if (n <= sizeof x / sizeof *x) {
            t->format->dequantize(p, x, n);
            sink += x[0] > 0;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A block of its own, of the exact size, so that a sanitizer sees a read past the end. */
    void *copy = NULL;
    CHECK(posix_memalign(&copy, 32, size > 0 ? size : 1) == 0);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    struct error e = {.code = ERROR_NONE};
    struct gguf *g = gguf_open_memory(copy, size, &e);
    if (g == NULL) {
        check_error(&e, size);
        free(copy);
        return 0;
    }
    CHECK(e.code == ERROR_NONE && e.message[0] == 0);
    CHECK(gguf_version(g) == 2 || gguf_version(g) == 3);
    CHECK(gguf_file_bytes(g) == size);
    uint64_t alignment = gguf_alignment(g);
    CHECK(alignment >= 1 && alignment <= 65536 && (alignment & (alignment - 1)) == 0);
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        read_value(g, gguf_value_at(g, i), copy, size);
    }
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        read_tensor(g, gguf_tensor_at(g, i), copy, size);
    }
    CHECK(gguf_value_at(g, gguf_value_count(g)) == NULL);
    CHECK(gguf_tensor_at(g, gguf_tensor_count(g)) == NULL);
    read_getters(g, "no.such.key", size);
    gguf_close(g);
    free(copy);
    return 0;
}
