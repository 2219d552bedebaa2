/* tokenize_many.c: many texts through one vocabulary, for comparisons and measurements by scripts
 * (compare.py beside this file, bench/tokenizer.py).
 *
 *   tokenize_many MODEL encode < TEXTS > IDS
 *       TEXTS: u32 length, bytes, ...; IDS: u32 count, i32 ids, ... (all little endian)
 *   tokenize_many MODEL bench REPS FILE...
 *       per file one line: bytes, tokens, and the seconds of each repetition
 *   tokenize_many MODEL lines REPS FILE...
 *       the same, each line of the file a text of its own
 *
 *   tokenize_many FOLDER gguf FILE
 *       the vocabulary of a Hugging Face folder as a GGUF file, for other programs
 *
 *   tokenize_many RANGES texts COUNT SEED > TEXTS
 *       random texts (texts.h), written as encode reads them
 *
 * MODEL is a GGUF file or a Hugging Face folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "tokenizer/tokenizer.h"

#include "texts.h"

enum { MAX_BYTES = 1 << 28 };

static int fail(const struct error *e)
{
    fprintf(stderr, "tokenize_many: %s\n", e->message);
    return 1;
}

static struct tokenizer *open_model(const char *path, struct error *e)
{
    if (file_is_directory(path)) {
        struct tokenizer_spec *spec = tokenizer_spec_from_hf(path, e);
        struct tokenizer *t = spec ? tokenizer_new(spec, e) : NULL;
        tokenizer_spec_free(spec);
        return t;
    }
    struct gguf *g = gguf_open(path, e);
    struct tokenizer *t = g ? tokenizer_from_gguf(g, e) : NULL;
    gguf_close(g);
    return t;
}

static int encode(const struct tokenizer *t, struct error *e)
{
    struct token_list ids = {0};
    uint32_t n;
    char *text = NULL;
    while (fread(&n, sizeof n, 1, stdin) == 1) {
        text = realloc(text, (size_t)n + 1);
        if (!text || fread(text, 1, n, stdin) != n) {
            fprintf(stderr, "tokenize_many: the texts are cut short\n");
            return 1;
        }
        ids.n = 0;
        if (!tokenizer_encode(t, text, n, NULL, &ids, e)) {
            return fail(e);
        }
        uint32_t count = (uint32_t)ids.n;
        fwrite(&count, sizeof count, 1, stdout);
        fwrite(ids.ids, sizeof *ids.ids, ids.n, stdout);
    }
    free(text);
    token_list_free(&ids);
    return 0;
}

static int write_gguf(const char *folder, const char *path, struct error *e)
{
    struct tokenizer_spec *spec = tokenizer_spec_from_hf(folder, e);
    struct gguf_writer *w = gguf_writer_new();
    bool ok = spec != NULL;
    if (ok) {
        gguf_writer_string(w, "general.architecture", "llama", 5);
        tokenizer_spec_write(spec, w);
        ok = gguf_writer_commit(w, path, e);
    }
    gguf_writer_free(w);
    tokenizer_spec_free(spec);
    return ok ? 0 : fail(e);
}

static int make_texts(const char *ranges, long count, long seed, struct error *e)
{
    struct texts *t = texts_open(ranges, (uint64_t)seed, e);
    struct buf b;
    if (!t) {
        return fail(e);
    }
    buf_init(&b, MAX_BYTES);
    for (long i = 0; i < count; i++) {
        texts_next(t, &b);
        uint32_t n = (uint32_t)b.len;
        fwrite(&n, sizeof n, 1, stdout);
        fwrite(b.data, 1, n, stdout);
    }
    buf_free(&b);
    texts_free(t);
    return 0;
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* One repetition: the whole text, or line by line (without its newlines). */
static bool run_once(const struct tokenizer *t, const struct buf *text, bool lines,
                     struct token_list *ids, struct error *e)
{
    if (!lines) {
        return tokenizer_encode(t, text->data, text->len, NULL, ids, e);
    }
    for (size_t at = 0; at < text->len;) {
        const char *line = text->data + at, *end = memchr(line, '\n', text->len - at);
        size_t n = end ? (size_t)(end - line) : text->len - at;
        if (!tokenizer_encode(t, line, n, NULL, ids, e)) {
            return false;
        }
        at += n + 1;
    }
    return true;
}

static int bench(const struct tokenizer *t, bool lines, int reps, const char *path, struct error *e)
{
    struct buf text;
    buf_init(&text, MAX_BYTES + 1);
    if (!file_read(path, MAX_BYTES, &text, e)) {
        return fail(e);
    }
    size_t n_tokens = 0;
    for (int i = 0; i < reps; i++) {
        struct token_list ids = {0};
        double start = now();
        if (!run_once(t, &text, lines, &ids, e)) {
            return fail(e);
        }
        double seconds = now() - start;
        n_tokens = ids.n;
        token_list_free(&ids);
        if (i == 0) {
            printf("%zu %zu", text.len, n_tokens);
        }
        printf(" %.9f", seconds);
    }
    printf("\n");
    buf_free(&text);
    return 0;
}

int main(int argc, char **argv)
{
    struct error e = {.code = ERROR_NONE};
    if (argc < 3) {
        fprintf(stderr, "usage: tokenize_many MODEL encode | bench REPS FILE... | lines REPS "
                        "FILE... | gguf FILE | "
                        "texts COUNT SEED\n");
        return 2;
    }
    if (strcmp(argv[2], "gguf") == 0 && argc == 4) {
        return write_gguf(argv[1], argv[3], &e);
    }
    if (strcmp(argv[2], "texts") == 0 && argc == 5) {
        return make_texts(argv[1], atol(argv[3]), atol(argv[4]), &e);
    }
    double start = now();
    struct tokenizer *t = open_model(argv[1], &e);
    if (!t) {
        return fail(&e);
    }
    if (strcmp(argv[2], "encode") == 0) {
        int status = encode(t, &e);
        tokenizer_free(t);
        return status;
    }
    fprintf(stderr, "opened in %.3f s\n", now() - start);
    int status = 0;
    for (int i = 4; i < argc && status == 0; i++) {
        status = bench(t, strcmp(argv[2], "lines") == 0, atoi(argv[3]), argv[i], &e);
    }
    tokenizer_free(t);
    return status;
}
