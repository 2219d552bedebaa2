/* utf8.h: strict UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
#ifndef LLLM_BASE_UTF8_H
#define LLLM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length in bytes (1..4) of the character at the start of text[0..n), its code point in *cp;
 * 0 when the bytes there are not valid. */
size_t utf8_decode(const char *text, size_t n, uint32_t *cp);

/* Writes 1..4 bytes; 0 when cp is not a character. */
size_t utf8_put(uint32_t cp, char out[4]);

/* True when all of text is valid; otherwise *position is the first bad byte. */
bool utf8_valid(const char *text, size_t n, size_t *position);

/* How many bytes at the end are the beginning of a character whose rest may still come (0..3). */
size_t utf8_incomplete_tail(const char *text, size_t n);

/* Text from outside for a sentence: in quotes, cut at a character, without bytes that a terminal
 * obeys. Returns out. */
enum { UTF8_QUOTE_BYTES = 96 };
const char *utf8_quote(char out[UTF8_QUOTE_BYTES], const char *text, size_t n);

/* Appends text with each invalid byte sequence replaced by U+FFFD. */
struct buf;
bool utf8_append_repaired(struct buf *out, const char *text, size_t n);

#endif
