/* error.h: one sentence about what failed, where, and what to do.
 *
 * Every fallible function takes a `struct error *` last, returns false or NULL on failure and
 * fills it. It is left untouched on success. The pointer may be NULL when the caller does not care.
 */
#ifndef LLLM_BASE_ERROR_H
#define LLLM_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum error_code {
    ERROR_NONE = 0,
    ERROR_USAGE,       /* the caller asked for something that makes no sense */
    ERROR_INPUT,       /* a file or text from outside is malformed */
    ERROR_IO,          /* the operating system refused; the sentence carries its reason */
    ERROR_LIMIT,       /* a documented ceiling was exceeded */
    ERROR_MEMORY,      /* memory that was asked for is not to be had */
    ERROR_UNSUPPORTED, /* well-formed, but this program cannot do it */
    ERROR_CANCELLED,   /* the user or the caller stopped it */
};

enum { ERROR_MESSAGE_BYTES = 512 };

struct error {
    enum error_code code;
    bool has_position;
    uint64_t position; /* byte offset in the input, where there is one */
    char message[ERROR_MESSAGE_BYTES];
};

/* Fills e (cut at ERROR_MESSAGE_BYTES, on a UTF-8 boundary). Returns false, so that
 * `return error_set(...)` reads well; functions that return pointers write
 * `error_set(...); return NULL;`. */
bool error_set(struct error *e, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with a byte position, which is also appended to the sentence as " (at byte N)". */
bool error_set_at(struct error *e, enum error_code code, uint64_t position, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts a prefix ("FILE: ") in front of the sentence that is there. Returns false. */
bool error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
