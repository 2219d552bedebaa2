/* scan.h: reading JSON (RFC 8259) as a stream, where a document is large or not to be trusted with
 * memory: the header of a .safetensors file may have 100 MB, of which a tree would make gigabytes.
 * Private to src/hf/.
 *
 * Calls follow the document: hf_scan_object, then hf_scan_key until it has no more, each followed
 * by the value. Every function is false after an error, whose sentence begins with `what` and has
 * the position in the file. */
#ifndef LLLM_HF_SCAN_H
#define LLLM_HF_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"

enum { SCAN_MAX_DEPTH = 64 };

struct scan {
    const char *begin, *p, *end;
    uint64_t position; /* of begin in the file */
    const char *what;  /* "the header" */
    bool first;        /* nothing has been read of the object or array that was entered last */
    struct error *e;
};

/* text must be valid UTF-8, which is checked here. */
bool hf_scan_begin(struct scan *s, const char *text, size_t n, uint64_t position, const char *what,
                   struct error *e);
char hf_scan_peek(struct scan *s);   /* the first character of what follows; 0 at the end */
bool hf_scan_object(struct scan *s); /* enters */
/* The next key, unescaped, into key (cleared first; no NUL inside; at most key->max_bytes); *more
 * is false at the end of the object, which is then left. */
bool hf_scan_key(struct scan *s, struct buf *key, bool *more);
bool hf_scan_array(struct scan *s);
bool hf_scan_element(struct scan *s, bool *more);     /* before each element */
bool hf_scan_string(struct scan *s, struct buf *out); /* at most out->max_bytes, no NUL inside */
bool hf_scan_u64(struct scan *s,
                 uint64_t *out);   /* a plain integer: no sign, fraction or exponent */
bool hf_scan_skip(struct scan *s); /* any value, nested at most SCAN_MAX_DEPTH deep */
bool hf_scan_end(struct scan *s);  /* nothing but blanks may follow */
/* A sentence about what stands here: "WHAT: TEXT (at byte N)". Returns false. */
bool hf_scan_fail(struct scan *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
