/* mem.h: allocation, arenas and growing buffers.
 *
 * Small sizes: mem_alloc and friends never return NULL; when memory is gone they call the handler
 * (default: abort; the command line installs one that prints a sentence and exits).
 * Sizes that outside input decides, or that may be gigabytes: mem_try_alloc, and report the error.
 */
#ifndef LLLM_BASE_MEM_H
#define LLLM_BASE_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef void mem_exhausted_fn(size_t size_bytes);
void mem_set_exhausted_handler(mem_exhausted_fn *handler);

void *mem_alloc(size_t size_bytes);                  /* uninitialised */
void *mem_zalloc(size_t size_bytes);                 /* zeroed */
void *mem_array(size_t count, size_t element_bytes); /* zeroed, overflow-checked */
void *mem_resize(void *old, size_t size_bytes);
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t n); /* NUL-terminated copy of n bytes */

/* Zeroed, 64-byte aligned, NULL when it is not to be had; release with free(). */
void *mem_try_alloc(size_t size_bytes);

/* An arena owns everything allocated from it: one free. Alignment 16; zeroed. Not thread-safe. */
struct arena;
struct arena *arena_new(void);
void *arena_alloc(struct arena *a, size_t size_bytes);
char *arena_strndup(struct arena *a, const char *text, size_t n);
void arena_free(struct arena *a);

/* A growing byte buffer with a ceiling. After an append that would pass the ceiling, `full` is set,
 * the append changed nothing and returned false. `data` is NUL-terminated whenever it is not NULL.
 */
struct buf {
    char *data;
    size_t len;
    size_t capacity;
    size_t max_bytes;
    bool full;
};

void buf_init(struct buf *b, size_t max_bytes);
bool buf_reserve(struct buf *b, size_t extra_bytes);
bool buf_append(struct buf *b, const void *data, size_t n);
bool buf_append_str(struct buf *b, const char *text);
bool buf_append_char(struct buf *b, char c);
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b);            /* empties, keeps the memory */
char *buf_take(struct buf *b, size_t *n); /* ownership moves; never NULL; n may be NULL */
void buf_free(struct buf *b);

#endif
