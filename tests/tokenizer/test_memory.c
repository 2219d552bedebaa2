/* test_memory.c: what hostile vocabularies cost: as many tokens and merges as are allowed, short,
 * long, equal, empty, with common beginnings. Each is opened by a process of its own, whose peak of
 * memory, the mapped file included, stays under twice the file and 64 MB. GGUF files,
 * tokenizer.json and vocab.json with merges.txt alike. LLLM_SOAK=1 takes every shape for every
 * family.
 *
 *   test_memory              the tests
 *   test_memory open FILE    what they start
 *   test_memory open FOLDER  the same for a tokenizer.json */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../sanitized.h"
#include "base/file.h"
#include "tokenizer/tokenizer_internal.h"

enum { ALLOWANCE_BYTES = 64000000, MAX_SPELLING = TOKENIZER_MAX_SPELLING_BYTES };

/* ---- spellings, by number ---- */

typedef size_t spell_fn(uint32_t number, char *out);

/* Different for each number, short, printable, without a space. */
static size_t spell_short(uint32_t number, char *out)
{
    size_t n = 0;
    do {
        out[n++] = (char)('!' + number % 90);
        number /= 90;
    } while (number > 0);
    return n;
}

static size_t spell_empty(uint32_t number, char *out)
{
    (void)number;
    (void)out;
    return 0;
}

static size_t spell_equal(uint32_t number, char *out)
{
    (void)number;
    out[0] = 'a';
    return 1;
}

/* Two and two have 40 bytes in common, of which each is another way through the vocabulary. */
static size_t spell_pairs(uint32_t number, char *out)
{
    uint64_t x = (number / 2 + 1) * UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i < 40; i++) {
        x = (x ^ x >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
        out[i] = (char)('a' + (x >> 40) % 26);
    }
    out[40] = (char)('0' + number % 2);
    return 41;
}

/* 16 go on from each place, the least that get a table. */
static size_t spell_wide(uint32_t number, char *out)
{
    size_t n = spell_short(number / 16, out);
    out[n++] = (char)('a' + number % 16);
    return n;
}

/* Marks of spaces: what such a token stands for is not what is written. */
static size_t spell_marks(uint32_t number, char *out)
{
    size_t n = 0;
    for (; n < 36; n += 3) {
        memcpy(out + n, WORD_START, 3);
    }
    return n + spell_short(number, out + n);
}

/* As long as allowed. */
static size_t spell_longest(uint32_t number, char *out)
{
    size_t n = spell_short(number, out);
    memset(out + n, ' ', (size_t)MAX_SPELLING - n);
    for (size_t i = n; i + 3 <= (size_t)MAX_SPELLING; i += 3) {
        memcpy(out + i, WORD_START, 3);
    }
    return MAX_SPELLING;
}

/* ---- files ---- */

struct shape {
    const char *name;
    const char *model;
    spell_fn *spell;
    uint32_t n_tokens;
    int32_t type;
    spell_fn *merge; /* both halves of each merge, or NULL */
    bool always;
    /* Pairs: merges as ["l", "r"]. Apart: vocab.json and merges.txt. */
    enum { IN_GGUF, IN_JSON, IN_JSON_PAIRS, APART } form;
};

static void put32(FILE *f, uint32_t x)
{
    assert_int_equal(fwrite(&x, sizeof x, 1, f), 1);
}

static void put64(FILE *f, uint64_t x)
{
    assert_int_equal(fwrite(&x, sizeof x, 1, f), 1);
}

static void put_text(FILE *f, const char *text, size_t n)
{
    put64(f, n);
    assert_int_equal(fwrite(text, 1, n, f), n);
}

static void put_name(FILE *f, const char *key, const char *value)
{
    put_text(f, key, strlen(key));
    put32(f, GGUF_STRING);
    put_text(f, value, strlen(value));
}

static void put_array(FILE *f, const char *key, uint32_t type, uint64_t count)
{
    put_text(f, key, strlen(key));
    put32(f, GGUF_ARRAY);
    put32(f, type);
    put64(f, count);
}

/* Written as it is made: this process stays small, since what it starts inherits its peak. */
static void write_file(const char *path, const struct shape *s)
{
    FILE *f = fopen(path, "wb");
    static char text[2 * MAX_SPELLING + 2];
    assert_non_null(f);
    assert_int_equal(fwrite("GGUF", 1, 4, f), 4);
    put32(f, 3);
    put64(f, 0);
    put64(f, s->merge ? 6 : 5);
    put_name(f, "tokenizer.ggml.model", s->model);
    put_name(f, "tokenizer.ggml.pre", "llama-bpe");
    put_array(f, "tokenizer.ggml.tokens", GGUF_STRING, s->n_tokens);
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        put_text(f, text, s->spell(i, text));
    }
    put_array(f, "tokenizer.ggml.token_type", GGUF_I32, s->n_tokens);
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        put32(f, (uint32_t)s->type);
    }
    put_array(f, "tokenizer.ggml.scores", GGUF_F32, s->n_tokens);
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        put32(f, 0xC0000000); /* -2 */
    }
    if (s->merge) {
        put_array(f, "tokenizer.ggml.merges", GGUF_STRING, TOKENIZER_MAX_MERGES);
    }
    for (uint32_t i = 0; s->merge && i < TOKENIZER_MAX_MERGES; i++) {
        size_t n = s->merge(i / 1024, text);
        text[n++] = ' ';
        n += s->merge(i % 1024, text + n);
        put_text(f, text, n);
    }
    assert_int_equal(fclose(f), 0);
}

/* ---- the same as tokenizer.json ---- */

static void json_text(FILE *f, const char *text, size_t n)
{
    fputc('"', f);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"' || text[i] == '\\') {
            fputc('\\', f);
        }
        fputc(text[i], f);
    }
    fputc('"', f);
}

static void json_merge(FILE *f, const struct shape *s, uint32_t i)
{
    static char text[2 * MAX_SPELLING + 2];
    size_t n = s->merge(i / 1024, text);
    if (s->form == IN_JSON_PAIRS) {
        fputc('[', f);
        json_text(f, text, n);
        fputc(',', f);
        json_text(f, text, s->merge(i % 1024, text));
        fputc(']', f);
    } else {
        text[n++] = ' ';
        json_text(f, text, n + s->merge(i % 1024, text + n));
    }
}

static void json_tokens(FILE *f, const struct shape *s, bool pieces)
{
    static char text[MAX_SPELLING + 1];
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        fputs(i == 0 ? "" : ",", f);
        fputs(pieces ? "[" : "", f);
        json_text(f, text, s->spell(i, text));
        pieces ? fputs(",-2]", f) : fprintf(f, ":%u", i);
    }
}

static void write_json(const char *path, const struct shape *s)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (strcmp(s->model, "t5") == 0) {
        fputs("{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"split\":false},\"model\":{\"type\":"
              "\"Unigram\",\"unk_id\":0,\"vocab\":[",
              f);
        json_tokens(f, s, true);
        fputs("]}}", f);
    } else if (strcmp(s->model, "bert") == 0) {
        fputs("{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":"
              "\"WordPiece\",\"vocab\":{",
              f);
        json_tokens(f, s, false);
        fputs("}}}", f);
    } else {
        fputs("{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{"
              "\"type\":\"BPE\",\"vocab\":{",
              f);
        json_tokens(f, s, false);
        fputs("},\"merges\":[", f);
        for (uint32_t i = 0; s->merge && i < TOKENIZER_MAX_MERGES; i++) {
            fputs(i == 0 ? "" : ",", f);
            json_merge(f, s, i);
        }
        fputs("]}}", f);
    }
    assert_false(ferror(f));
    assert_int_equal(fclose(f), 0);
}

/* ---- the same as vocab.json and merges.txt, with as much as is read in the files beside it ----
 */

static FILE *open_in(const char *dir, const char *name)
{
    char path[80];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    return f;
}

static uint64_t close_file(FILE *f)
{
    long n = ftell(f);
    assert_true(n > 0);
    assert_false(ferror(f));
    assert_int_equal(fclose(f), 0);
    return (uint64_t)n;
}

/* Returns the bytes of all files. */
static uint64_t write_apart(const char *dir, const struct shape *s)
{
    static char text[2 * MAX_SPELLING + 2];
    FILE *f = open_in(dir, "vocab.json");
    fputc('{', f);
    json_tokens(f, s, false);
    fputc('}', f);
    uint64_t total = close_file(f);
    f = open_in(dir, "merges.txt");
    fputs("#version: 0.2\n", f);
    for (uint32_t i = 0; s->merge && i < TOKENIZER_MAX_MERGES - 2; i++) {
        size_t n = s->merge(i / 1024, text);
        text[n++] = ' ';
        n += s->merge(i % 1024, text + n);
        text[n++] = '\n';
        assert_int_equal(fwrite(text, 1, n, f), n);
    }
    total += close_file(f);
    f = open_in(dir, "tokenizer_config.json");
    fputs("{\"tokenizer_class\":\"Qwen2Tokenizer\"", f);
    for (int i = 0; i < 65000; i++) {
        fprintf(f, ",\"%x\":\"\"", (unsigned)i);
    }
    fputs("}", f);
    return total + close_file(f);
}

static void remove_apart(const char *dir)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[80];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
}

/* ---- opening ---- */

static int open_file(const char *path)
{
    struct error e = {0};
    struct token_list ids = {0};
    struct gguf *g = NULL;
    struct tokenizer_spec *spec = NULL;
    struct tokenizer *t = NULL;
    if (file_is_directory(path)) {
        spec = tokenizer_spec_from_hf(path, &e);
        t = spec ? tokenizer_new(spec, &e) : NULL;
    } else {
        g = gguf_open(path, &e);
        t = g ? tokenizer_from_gguf(g, &e) : NULL;
    }
    bool ok = t && tokenizer_encode(t, "abc def", 7, NULL, &ids, &e);
    if (!ok) {
        fprintf(stderr, "# %s\n", e.message);
    }
    token_list_free(&ids);
    tokenizer_free(t);
    tokenizer_spec_free(spec);
    gguf_close(g);
    return ok ? 0 : 1;
}

/* The peak of a process that opens the file. */
static uint64_t peak_bytes(const char *path)
{
    struct rusage used;
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "test_memory", "open", path, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(wait4(child, &status, 0, &used), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return (uint64_t)used.ru_maxrss * 1024;
}

enum { MANY = TOKENIZER_MAX_TOKENS, FEW = 2000 };

static const struct shape shapes[] = {
    {"short", "gpt2", spell_short, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"short, merges", "gpt2", spell_short, MANY, TOKEN_NORMAL, spell_short, true, IN_GGUF},
    {"control, merges", "gpt2", spell_short, MANY, TOKEN_CONTROL, spell_short, true, IN_GGUF},
    {"few, long merges", "gpt2", spell_short, FEW, TOKEN_NORMAL, spell_pairs, false, IN_GGUF},
    {"pairs", "gpt2", spell_pairs, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"empty", "gpt2", spell_empty, MANY, TOKEN_NORMAL, spell_short, true, IN_GGUF},
    {"longest", "gpt2", spell_longest, FEW, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"short, merges", "llama", spell_short, MANY, TOKEN_NORMAL, spell_short, false, IN_GGUF},
    {"control", "llama", spell_short, MANY, TOKEN_CONTROL, NULL, false, IN_GGUF},
    {"marks", "llama", spell_marks, MANY, TOKEN_NORMAL, NULL, true, IN_GGUF},
    {"longest", "llama", spell_longest, FEW, TOKEN_NORMAL, NULL, true, IN_GGUF},
    {"equal", "llama", spell_equal, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"short", "bert", spell_short, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"pairs", "bert", spell_pairs, MANY, TOKEN_NORMAL, NULL, true, IN_GGUF},
    {"wide", "bert", spell_wide, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"marks", "bert", spell_marks, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"longest", "bert", spell_longest, FEW, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"short", "t5", spell_short, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"pairs", "t5", spell_pairs, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"wide", "t5", spell_wide, MANY, TOKEN_NORMAL, NULL, true, IN_GGUF},
    {"marks", "t5", spell_marks, MANY, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"control", "t5", spell_short, MANY, TOKEN_CONTROL, NULL, false, IN_GGUF},
    {"longest", "t5", spell_longest, FEW, TOKEN_NORMAL, NULL, false, IN_GGUF},
    {"short, merges", "gpt2", spell_short, MANY, TOKEN_NORMAL, spell_short, true, IN_JSON},
    {"short, merges in pairs", "gpt2", spell_short, MANY, TOKEN_NORMAL, spell_short, true,
     IN_JSON_PAIRS},
    {"few, long merges", "gpt2", spell_short, FEW, TOKEN_NORMAL, spell_pairs, false, IN_JSON},
    {"pairs", "gpt2", spell_pairs, MANY, TOKEN_NORMAL, NULL, false, IN_JSON},
    {"longest", "gpt2", spell_longest, FEW, TOKEN_NORMAL, NULL, true, IN_JSON},
    {"short, merges apart", "gpt2", spell_short, MANY, TOKEN_NORMAL, spell_short, true, APART},
    {"few, long merges apart", "gpt2", spell_short, FEW, TOKEN_NORMAL, spell_pairs, false, APART},
    {"short", "bert", spell_short, MANY, TOKEN_NORMAL, NULL, false, IN_JSON},
    {"pairs", "bert", spell_pairs, MANY, TOKEN_NORMAL, NULL, false, IN_JSON},
    {"short", "t5", spell_short, MANY, TOKEN_NORMAL, NULL, true, IN_JSON},
    {"wide", "t5", spell_wide, MANY, TOKEN_NORMAL, NULL, false, IN_JSON},
    {"equal", "t5", spell_equal, MANY, TOKEN_NORMAL, NULL, false, IN_JSON},
    {"longest", "t5", spell_longest, FEW, TOKEN_NORMAL, NULL, false, IN_JSON},
};

static uint64_t write_one(const char *path, const struct shape *s)
{
    struct stat file;
    (s->form == IN_GGUF ? write_file : write_json)(path, s);
    assert_int_equal(stat(path, &file), 0);
    return (uint64_t)file.st_size;
}

static void test_shape(void **state)
{
    const struct shape *s = *state;
    char dir[] = "/tmp/lllm-memory-XXXXXX", path[64];
    bool json = s->form != IN_GGUF;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/%s", dir, json ? "tokenizer.json" : "x.gguf");
    uint64_t size = s->form == APART ? write_apart(dir, s) : write_one(path, s);
    uint64_t peak = peak_bytes(json ? dir : path);
    s->form == APART ? remove_apart(dir) : (void)unlink(path);
    rmdir(dir);
    uint64_t most = 2 * size + ALLOWANCE_BYTES;
    print_message("# %s%s, %s: file %.1f MB, peak %.1f MB of %.1f\n", json ? "json, " : "",
                  s->model, s->name, (double)size / 1e6, (double)peak / 1e6, (double)most / 1e6);
    if (!SANITIZED && peak > most) {
        fail_msg("the peak is %llu bytes, and %llu are allowed", (unsigned long long)peak,
                 (unsigned long long)most);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "open") == 0) {
        return open_file(argv[2]);
    }
    enum { N = sizeof shapes / sizeof *shapes };
    struct CMUnitTest tests[N];
    char names[N][64];
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        if (shapes[i].always || getenv("LLLM_SOAK")) {
            snprintf(names[i], sizeof names[i], "%s%s, %s",
                     shapes[i].form == IN_GGUF ? "" : "json, ", shapes[i].model, shapes[i].name);
            tests[n++] = (struct CMUnitTest){
                .name = names[i], .test_func = test_shape, .initial_state = (void *)&shapes[i]};
        }
    }
    return _cmocka_run_group_tests("memory", tests, n, NULL, NULL);
}
