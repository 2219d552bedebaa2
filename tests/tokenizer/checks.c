#include "checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct tokenizer *open_spec(struct tokenizer_spec *spec)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer *t = tokenizer_new(spec, &e);
    if (!t) {
        fail_msg("%s", e.message);
    }
    tokenizer_spec_free(spec);
    return t;
}

char *spelled(const struct tokenizer *t, const struct token_list *ids)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ids->n; i++) {
        struct gguf_string s = tokenizer_spelling(t, ids->ids[i]);
        buf_printf(&b, "%s%.*s", i ? "|" : "", (int)s.len, s.data);
    }
    return buf_take(&b, NULL);
}

void check_trusted(const struct tokenizer *t, const char *text, const uint8_t *trusted,
                   const char *want)
{
    struct token_list ids = {0};
    struct error e = {.code = ERROR_NONE};
    if (!tokenizer_encode(t, text, strlen(text), trusted, &ids, &e)) {
        fail_msg("%s", e.message);
    }
    char *got = spelled(t, &ids);
    if (strcmp(got, want) != 0) {
        fail_msg("\"%s\" became %s instead of %s", text, got, want);
    }
    free(got);
    token_list_free(&ids);
}

void check(const struct tokenizer *t, const char *text, const char *want)
{
    check_trusted(t, text, NULL, want);
}

/* A double array with the keys "A" -> "a", "AB" -> "xyz", "-" -> "", laid out by hand: unit 0 is
 * the root, whose children are at offset ^ byte. */
size_t make_charsmap(uint8_t *out)
{
    enum { N = 1024 };
    static const char texts[] = "a\0xyz\0";
    uint32_t units[N] = {0};
    units[0] = 512 << 10;                                      /* children at 512 ^ byte */
    units[512 ^ 'A'] = 'A' | 1 << 8 | (512 ^ 'A' ^ 256) << 10; /* its children at 256 ^ byte */
    units[256] = 0x80000000u | 0;                              /* "A": texts + 0 */
    units[256 ^ 'B'] = 'B' | 1 << 8 | (256 ^ 'B' ^ 768) << 10;
    units[768] = 0x80000000u | 2; /* "AB": texts + 2 */
    units[512 ^ '-'] = '-' | 1 << 8 | (512 ^ '-' ^ 800) << 10;
    units[800] = 0x80000000u | 5; /* "-": nothing */
    for (size_t i = 0; i < 4; i++) {
        out[i] = (uint8_t)((size_t)N * 4 >> 8 * i);
    }
    memcpy(out + 4, units, sizeof units);
    memcpy(out + 4 + sizeof units, texts, sizeof texts - 1);
    return 4 + sizeof units + sizeof texts - 1;
}
