/* json_scan.h: JSON a byte at a time: whether it is still well-formed, and where keys and values
 * begin and end (RFC 8259). Private to chat/.
 *
 * The scanner keeps no text: it counts bytes, and its user keeps what it wants of them. It does not
 * look whether strings are UTF-8; a reader that takes the whole value does.
 */
#ifndef LLLM_CHAT_JSON_SCAN_H
#define LLLM_CHAT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_SCAN_MAX_DEPTH = 64 };

/* What a byte meant; several may be set. */
enum {
    JSON_BAD = 1,         /* it cannot stand here: the scan is over */
    JSON_KEY_END = 2,     /* the closing quote of a key */
    JSON_VALUE_BEGIN = 4, /* first byte of a value */
    JSON_VALUE_END = 8,   /* last byte of a string, object, array, true, false or null */
    JSON_NUMBER_END = 16, /* the first byte behind a number, which is also looked at for itself */
    JSON_DONE = 32,       /* last byte of the whole value */
};

struct json_scan {
    uint8_t state, after; /* after: what follows the string that is read */
    uint8_t hex;          /* digits of \uXXXX still to come */
    uint8_t depth;        /* open brackets */
    uint8_t around;       /* at JSON_VALUE_BEGIN and JSON_VALUE_END: brackets around the value */
    uint8_t number;       /* at JSON_NUMBER_END: brackets around the number */
    bool in_key;
    const char *word; /* the rest of true, false or null */
    size_t n;         /* bytes taken, JSON_BAD ones excepted */
    size_t begin;     /* of the key or string that was read last */
    bool object[JSON_SCAN_MAX_DEPTH];
};

void json_scan_init(struct json_scan *s);
/* Takes the next byte. The value must be an object or array; blanks may stand before it. */
unsigned json_scan_push(struct json_scan *s, char c);

#endif
