/* golden.c: see golden.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "golden.h"

enum { MAX_BLOCK_BYTES = 512, MAX_BLOCK_ELEMENTS = 256, MAX_BLOCKS = 64 };

struct golden {
    char path[1024];
    unsigned line;
    const struct quant_format *f;
    uint8_t blocks[MAX_BLOCKS * MAX_BLOCK_BYTES];
    uint32_t bits[MAX_BLOCKS * MAX_BLOCK_ELEMENTS]; /* what we read from each */
    size_t n_blocks;
    bool answered; /* the last block has had its values or hash */
};

#define GOLDEN_FAIL(g, ...)                                                                        \
    do {                                                                                           \
        print_error("%s:%u: ", (g)->path, (g)->line);                                              \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static uint32_t canonical_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return isnan(x) ? 0x7fc00000 : u;
}

static uint64_t fnv1a(const uint32_t *words, size_t n)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++) {
        for (unsigned shift = 0; shift < 32; shift += 8) {
            h = (h ^ ((words[i] >> shift) & 0xff)) * 0x100000001b3;
        }
    }
    return h;
}

/* The `digits` hex digits at s. */
static uint64_t hex(struct golden *g, const char *s, unsigned digits)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < digits; i++) {
        if (!isxdigit((unsigned char)s[i])) {
            GOLDEN_FAIL(g, "not a hex digit");
        }
        v = v << 4 | (uint64_t)(isdigit((unsigned char)s[i]) ? s[i] - '0' : (s[i] | 32) - 'a' + 10);
    }
    return v;
}

static void read_block(struct golden *g, const char *s)
{
    const struct quant_format *f = g->f;
    if (!g->answered || g->n_blocks == MAX_BLOCKS || strlen(s) != 2 * (size_t)f->block_bytes) {
        GOLDEN_FAIL(g, "a block out of place, one too many or of the wrong length");
    }
    uint8_t *block = g->blocks + g->n_blocks * f->block_bytes;
    for (size_t i = 0; i < f->block_bytes; i++) {
        block[i] = (uint8_t)hex(g, s + 2 * i, 2);
    }
    float x[MAX_BLOCK_ELEMENTS];
    f->dequantize(block, x, f->block_elements);
    for (size_t i = 0; i < f->block_elements; i++) {
        g->bits[g->n_blocks * f->block_elements + i] = canonical_bits(x[i]);
    }
    g->n_blocks++;
    g->answered = false;
}

static void read_answer(struct golden *g, const char *s, bool whole)
{
    size_t n = g->f->block_elements;
    if (g->answered || strlen(s) != (whole ? 8 * n : 16)) {
        GOLDEN_FAIL(g, "values or a hash without a block, or of the wrong length");
    }
    const uint32_t *bits = g->bits + (g->n_blocks - 1) * n;
    for (size_t i = 0; whole && i < n; i++) {
        uint32_t want = (uint32_t)hex(g, s + 8 * i, 8);
        if (bits[i] != want) {
            GOLDEN_FAIL(g, "%s, element %zu: 0x%08x, expected 0x%08x", g->f->name, i, bits[i],
                        want);
        }
    }
    if (!whole && fnv1a(bits, n) != hex(g, s, 16)) {
        GOLDEN_FAIL(g, "%s: the values' hash differs", g->f->name);
    }
    g->answered = true;
}

/* The text after `word` and a space, or NULL. */
static const char *after(const char *line, const char *word)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static void read_line(struct golden *g, const char *line)
{
    const char *rest;
    if (line[0] == '#' || line[0] == 0) {
        return;
    }
    if ((rest = after(line, "type"))) {
        assert_int_equal(g->n_blocks, 0);
        assert_string_equal(rest, g->f->name);
    } else if ((rest = after(line, "block"))) {
        read_block(g, rest);
    } else if ((rest = after(line, "values"))) {
        read_answer(g, rest, true);
    } else if ((rest = after(line, "hash"))) {
        read_answer(g, rest, false);
    } else {
        GOLDEN_FAIL(g, "not a line of a golden file");
    }
}

/* A row of all the blocks has the values of each. */
static void check_row(const struct golden *g)
{
    size_t n = g->n_blocks * g->f->block_elements;
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    g->f->dequantize(g->blocks, x, n);
    for (size_t i = 0; i < n; i++) {
        if (canonical_bits(x[i]) != g->bits[i]) {
            fail_msg("%s: element %zu of a row differs from the block alone", g->f->name, i);
        }
    }
    free(x);
}

size_t golden_check(const struct quant_format *f, const char *folder)
{
    assert_true(f->block_bytes <= MAX_BLOCK_BYTES && f->block_elements <= MAX_BLOCK_ELEMENTS);
    struct golden *g = calloc(1, sizeof *g);
    assert_non_null(g);
    g->f = f;
    g->answered = true;
    snprintf(g->path, sizeof g->path, "%s/%s.txt", folder, f->name);
    for (char *p = g->path + strlen(folder); *p != 0; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    FILE *file = fopen(g->path, "r");
    if (!file) {
        fail_msg("%s is missing: make it with make_golden.py", g->path);
    }
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) >= 0) {
        line[strcspn(line, "\r\n")] = 0;
        g->line++;
        read_line(g, line);
    }
    free(line);
    fclose(file);
    size_t n_blocks = g->n_blocks;
    if (n_blocks == 0 || !g->answered) {
        GOLDEN_FAIL(g, "no blocks, or the last one lacks its values");
    }
    check_row(g);
    free(g);
    return n_blocks;
}
