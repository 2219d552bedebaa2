/* schema_uri.h: references between schemas: URIs (RFC 3986) and JSON pointers (RFC 6901).
 * Private to the schema compiler. */
#ifndef LLLM_GRAMMAR_SCHEMA_URI_H
#define LLLM_GRAMMAR_SCHEMA_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* What `reference` means where `base` (absolute, or empty) is the address of the document: the
 * address without its fragment, and the fragment, percent-decoded, "" where there is none. Both
 * live in the arena. RFC 3986, section 5.2. */
struct uri_target {
    const char *address;
    const char *fragment;
};
struct uri_target uri_resolve(struct arena *a, const char *base, const char *reference);

/* Appends "/" and the token with ~ and / escaped. */
void pointer_append(struct buf *b, const char *token, size_t n);
/* The next token of a pointer that begins with '/', unescaped into out (cleared first); returns
 * where the rest begins, NULL where an escape is wrong. */
const char *pointer_next(const char *pointer, struct buf *out);

#endif
