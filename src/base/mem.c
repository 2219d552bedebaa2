#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mem_exhausted_fn *exhausted_handler;

void mem_set_exhausted_handler(mem_exhausted_fn *handler)
{
    exhausted_handler = handler;
}

static void exhausted(size_t size_bytes)
{
    if (exhausted_handler) {
        exhausted_handler(size_bytes);
    }
    abort();
}

void *mem_alloc(size_t size_bytes)
{
    void *p = malloc(size_bytes ? size_bytes : 1);
    if (!p) {
        exhausted(size_bytes);
    }
    return p;
}

void *mem_zalloc(size_t size_bytes)
{
    void *p = calloc(1, size_bytes ? size_bytes : 1);
    if (!p) {
        exhausted(size_bytes);
    }
    return p;
}

void *mem_array(size_t count, size_t element_bytes)
{
    void *p = calloc(count ? count : 1, element_bytes ? element_bytes : 1);
    if (!p) {
        exhausted(count);
    }
    return p;
}

void *mem_resize(void *old, size_t size_bytes)
{
    void *p = realloc(old, size_bytes ? size_bytes : 1);
    if (!p) {
        exhausted(size_bytes);
    }
    return p;
}

char *mem_strndup(const char *text, size_t n)
{
    char *copy = mem_alloc(n + 1);
    if (n) {
        memcpy(copy, text, n);
    }
    copy[n] = 0;
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

void *mem_try_alloc(size_t size_bytes)
{
    if (size_bytes > PTRDIFF_MAX - 64) {
        return NULL;
    }
    size_t rounded = (size_bytes + 63) & ~(size_t)63;
    void *p = aligned_alloc(64, rounded ? rounded : 64);
    if (p) {
        memset(p, 0, rounded ? rounded : 64);
    }
    return p;
}

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    /* The payload starts at the next multiple of 16. */
};

struct arena {
    struct arena_block *head;
};

enum { ARENA_BLOCK_BYTES = 16 * 1024, ARENA_HEADER = (sizeof(struct arena_block) + 15) & ~15 };

struct arena *arena_new(void)
{
    return mem_zalloc(sizeof(struct arena));
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    if (size_bytes > PTRDIFF_MAX - ARENA_HEADER - 16) {
        exhausted(size_bytes);
    }
    size_t need = (size_bytes + 15) & ~(size_t)15;
    struct arena_block *b = a->head;
    if (!b || b->size - b->used < need) {
        size_t size = need > ARENA_BLOCK_BYTES ? need : ARENA_BLOCK_BYTES;
        b = mem_zalloc(ARENA_HEADER + size); /* of a large block the system's pages are zero */
        b->next = a->head;
        b->size = size;
        a->head = b;
    }
    char *p = (char *)b + ARENA_HEADER + b->used;
    b->used += need;
    return p;
}

char *arena_strndup(struct arena *a, const char *text, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    if (n) {
        memcpy(copy, text, n);
    }
    return copy;
}

static void free_blocks(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void arena_free(struct arena *a)
{
    if (a) {
        free_blocks(a->head);
        free(a);
    }
}

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max_bytes = max_bytes};
}

bool buf_reserve(struct buf *b, size_t extra_bytes)
{
    if (extra_bytes > b->max_bytes || b->len > b->max_bytes - extra_bytes) {
        b->full = true;
        return false;
    }
    size_t need = b->len + extra_bytes + 1; /* the NUL */
    if (need > b->capacity) {
        size_t grown = b->capacity + b->capacity / 2 + 64;
        b->capacity = grown > need ? grown : need;
        b->data = mem_resize(b->data, b->capacity);
    }
    return true;
}

bool buf_append(struct buf *b, const void *data, size_t n)
{
    if (!buf_reserve(b, n)) {
        return false;
    }
    if (n) {
        memcpy(b->data + b->len, data, n);
    }
    b->len += n;
    b->data[b->len] = 0;
    return true;
}

bool buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

bool buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    bool ok = n >= 0 && buf_reserve(b, (size_t)n);
    if (ok) {
        vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return ok;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->full = false;
    if (b->data) {
        b->data[0] = 0;
    }
}

char *buf_take(struct buf *b, size_t *n)
{
    if (!b->data) {
        b->data = mem_zalloc(1);
    }
    char *data = b->data;
    if (n) {
        *n = b->len;
    }
    buf_init(b, b->max_bytes);
    return data;
}

void buf_free(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max_bytes);
}
