/* json_scan.h: reading JSON (RFC 8259) as a stream, where a document is large or not to be trusted
 * with memory: the header of a .safetensors file may have 100 MB, the vocabulary of a
 * tokenizer.json a million texts, of which a tree would make gigabytes.
 *
 * Calls follow the document: json_scan_object, then json_scan_key until it has no more, each
 * followed by the value. Every function is false after an error, whose sentence begins with `what`
 * and has the position in the file. A copy of the struct goes on from where it was made. */
#ifndef LLLM_BASE_JSON_SCAN_H
#define LLLM_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"

enum { JSON_SCAN_MAX_DEPTH = 64 };

struct json_scan {
    const char *begin, *p, *end;
    uint64_t position; /* of begin in the file */
    const char *what;  /* "the header"; NULL: the sentences begin without */
    const char *text;  /* where the string or key that was read last begins, with its quote */
    size_t n_skipped;  /* values that json_scan_skip has passed over, those within others too */
    int max_depth; /* of what json_scan_skip passes over: JSON_SCAN_MAX_DEPTH, or the caller's */
    bool first;    /* nothing has been read of the object or array that was entered last */
    struct error *e;
};

/* text must be valid UTF-8, which is checked here. */
bool json_scan_begin(struct json_scan *s, const char *text, size_t n, uint64_t position,
                     const char *what, struct error *e);
char json_scan_peek(struct json_scan *s);   /* the first character of what follows; 0 at the end */
bool json_scan_object(struct json_scan *s); /* enters */
/* The next key, unescaped, into key (cleared first; no NUL inside; at most key->max_bytes); *more
 * is false at the end of the object, which is then left. */
bool json_scan_key(struct json_scan *s, struct buf *key, bool *more);
bool json_scan_array(struct json_scan *s);
bool json_scan_element(struct json_scan *s, bool *more); /* before each element */
bool json_scan_string(struct json_scan *s,
                      struct buf *out); /* at most out->max_bytes, no NUL inside */
/* The same with NULs allowed. */
bool json_scan_text(struct json_scan *s, struct buf *out);
struct json_number {
    double value;
    bool is_whole;   /* no fraction, no exponent */
    int64_t integer; /* of a whole one, cut to what fits */
};
/* Any number; one that a double cannot hold is an error. What is no number is one too. */
bool json_scan_number(struct json_scan *s, struct json_number *out);
bool json_scan_u64(struct json_scan *s,
                   uint64_t *out);        /* a plain integer: no sign, fraction or exponent */
bool json_scan_skip(struct json_scan *s); /* any value, nested at most max_depth deep */
bool json_scan_end(struct json_scan *s);  /* nothing but blanks may follow */
/* A sentence about what stands here: "WHAT: TEXT (at byte N)". Returns false. */
bool json_scan_fail(struct json_scan *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
