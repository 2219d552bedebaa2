#include "texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"

enum { MAX_FILE_BYTES = 1 << 20, N_KINDS = 2, BLOCK = 128, MAX_CODE = 0x110000 };

/* Characters in the order of their numbers, and where each block of 128 that has some begins. */
struct pool {
    uint32_t *cps, *blocks;
    size_t n, n_blocks;
};

struct texts {
    struct rng rng;
    struct pool assigned, marks;
};

static const char *const words[] = {
    "the ",
    "of ",
    "and ",
    "don't ",
    "I'LL ",
    "we've ",
    "THEY'RE ",
    "isn't",
    "1234",
    "3.14 ",
    "1,000,000 ",
    "foo_bar() ",
    "fooBar ",
    "HTTPServer ",
    "<|im_end|>",
    "<b>",
    "e\xCC\x81te\xCC\x81 ",
    "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
    "\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4 ",
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 ",
    "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D ",
    "\xE0\xA4\xB9\xE0\xA4\xBF\xE0\xA4\xA8\xE0\xA5\x8D\xE0\xA4\xA6\xE0\xA5\x80 ",
    "\xF0\x9F\x98\x80",
    "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 ",
    "\xC2\xBD ",
    "\xE2\x91\xA1 ",
    "\xEF\xBC\xA1\xEF\xBC\xA2 ",
    "\xEF\xAC\x81 ",
    "\xC5\xBFt ",
    "\xC4\xB0stanbul ",
    "'\xC5\xBF ",
    "\xC7\x85 ",
    "... ",
    "--- ",
    "''' ",
    "\"\" ",
    ":-) ",
    "\xE2\x96\x81",
    "\xE2\x80\x8B",
    "'s ",
    "'T",
    "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB ",
    "2024-11-21T03:14:15Z ",
    "0x7FFF ",
    "a.b.c ",
};
static const char *const spaces[] = {" ",    "  ", "\n",      " \n",
                                     "\r\n", "\t", "   \n  ", "\xE3\x80\x80"};
static const char signs[] = "abcDEF \t\r\n'019.,!-/_@#<>()[]{}|~`^$%&*+=:;?\"\\";
static const char *const bases[] = {
    "a",        "o",        "u",       "e", "\xED\x95\x9C", "\xE0\xA4\x95", "\xE3\x82\xAB",
    "\xC3\xA9", "\xCE\xB1", "\xD7\x90"};

#define PICK(t, list) list[rng_below(&(t)->rng, sizeof(list) / sizeof *(list))]

static void add_range(struct pool *p, uint32_t from, uint32_t to)
{
    for (uint32_t cp = from; cp <= to; cp++) {
        if (p->n == 0 || p->cps[p->n - 1] / BLOCK != cp / BLOCK) {
            p->blocks[p->n_blocks++] = (uint32_t)p->n;
        }
        p->cps[p->n++] = cp;
    }
    p->blocks[p->n_blocks] = (uint32_t)p->n;
}

static void init_pool(struct pool *p)
{
    p->cps = mem_array(MAX_CODE, sizeof *p->cps);
    p->blocks = mem_array(MAX_CODE / BLOCK + 1, sizeof *p->blocks);
}

struct texts *texts_open(const char *ranges, uint64_t seed, struct error *e)
{
    struct buf file;
    struct texts *t = mem_zalloc(sizeof *t);
    buf_init(&file, MAX_FILE_BYTES);
    init_pool(&t->assigned);
    init_pool(&t->marks);
    rng_seed(&t->rng, seed);
    bool ok = file_read(ranges, MAX_FILE_BYTES, &file, e);
    for (const char *line = file.data; ok && line && *line;) {
        unsigned from, to;
        char kind;
        if (sscanf(line, "%c %x %x", &kind, &from, &to) == 3 && to < MAX_CODE && kind != '#') {
            add_range(kind == 'A' ? &t->assigned : &t->marks, from, to);
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    buf_free(&file);
    if (ok && (t->assigned.n == 0 || t->marks.n == 0)) {
        ok = error_set(e, ERROR_INPUT, "%s has no ranges of characters", ranges);
    }
    if (!ok) {
        texts_free(t);
        return NULL;
    }
    return t;
}

void texts_free(struct texts *t)
{
    if (t) {
        free(t->assigned.cps);
        free(t->assigned.blocks);
        free(t->marks.cps);
        free(t->marks.blocks);
        free(t);
    }
}

/* Any character, or one of any block: most characters are Chinese. */
static uint32_t any_char(struct texts *t, const struct pool *p, bool by_block)
{
    if (!by_block) {
        return p->cps[rng_below(&t->rng, p->n)];
    }
    size_t block = rng_below(&t->rng, p->n_blocks);
    uint32_t from = p->blocks[block], to = p->blocks[block + 1];
    return p->cps[from + rng_below(&t->rng, to - from)];
}

static void add_char(struct buf *b, uint32_t cp)
{
    char bytes[4];
    buf_append(b, bytes, utf8_put(cp, bytes));
}

static void add_part(struct texts *t, struct buf *b)
{
    uint64_t kind = rng_below(&t->rng, 10), n;
    if (kind < 4) {
        for (n = 1 + rng_below(&t->rng, 6); n > 0; n--) {
            add_char(b, any_char(t, &t->assigned, kind > 0));
        }
    } else if (kind == 4) {
        for (n = 1 + rng_below(&t->rng, 12); n > 0; n--) {
            buf_append_char(b, signs[rng_below(&t->rng, sizeof signs - 1)]);
        }
    } else if (kind == 5) {
        const char *space = PICK(t, spaces);
        for (n = 1 + rng_below(&t->rng, 4); n > 0; n--) {
            buf_append_str(b, space);
        }
    } else if (kind == 6) {
        buf_append_str(b, PICK(t, bases));
        for (n = 1 + rng_below(&t->rng, 3); n > 0; n--) {
            add_char(b, any_char(t, &t->marks, true));
        }
    } else {
        buf_append_str(b, PICK(t, words));
    }
}

void texts_next(struct texts *t, struct buf *b)
{
    buf_clear(b);
    for (uint64_t n = 1 + rng_below(&t->rng, 8); n > 0; n--) {
        add_part(t, b);
    }
}
