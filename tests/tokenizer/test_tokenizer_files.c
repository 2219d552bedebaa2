/* Vocabularies of real models (LLLM_TEST_DATA, or the first argument, or skipped), GGUF files that
 * are written here, and a vocabulary trained on a book. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "base/rng.h"
#include "vocabs.h"

static const char *data_folder;

static bool data_path(char *out, size_t n, const char *name)
{
    const char *env = getenv("LLLM_TEST_DATA");
    const char *folder = env && *env ? env : data_folder;
    snprintf(out, n, "%s/%s", folder ? folder : "", name);
    return folder && file_exists(out);
}

#define NEED(path, name)                                                                           \
    char path[4096];                                                                               \
    do {                                                                                           \
        if (!data_path(path, sizeof path, name)) {                                                 \
            print_message("# skipped: no shared data (%s)\n", name);                               \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

static struct buf read_all(const char *path)
{
    struct buf b;
    struct error e = {.code = ERROR_NONE};
    buf_init(&b, 64 << 20);
    if (!file_read(path, 64 << 20, &b, &e)) {
        fail_msg("%s", e.message);
    }
    return b;
}

static struct tokenizer *open_vocab(const char *path)
{
    struct error e = {.code = ERROR_NONE};
    struct gguf *g = gguf_open(path, &e);
    struct tokenizer *t = g ? tokenizer_from_gguf(g, &e) : NULL;
    if (!t) {
        fail_msg("%s", e.message);
    }
    gguf_close(g); /* a tokenizer keeps nothing of the file */
    return t;
}

/* ---- expected ids ---- */

static void show_ids(const char *label, const int32_t *ids, size_t n)
{
    print_message("# %s:", label);
    for (size_t i = 0; i < n; i++) {
        print_message(" %d", ids[i]);
    }
    print_message("\n");
}

/* One text against one line of ids, and back to the same text. */
static bool check_text(const struct tokenizer *t, const char *text, size_t n, const char *line)
{
    struct token_list want = {0}, got = {0};
    while (*line == ' ') {
        char *end;
        token_list_add(&want, (int32_t)strtol(line, &end, 10));
        line = end;
    }
    assert_int_equal(*line, '\n');
    assert_true(tokenizer_encode(t, text, n, NULL, &got, NULL));
    bool same =
        want.n == got.n && (got.n == 0 || !memcmp(want.ids, got.ids, got.n * sizeof *got.ids));
    if (!same) {
        print_message("# text: [%.*s]\n", (int)n, text);
        show_ids("expected", want.ids, want.n);
        show_ids("got", got.ids, got.n);
    }
    struct buf back;
    buf_init(&back, 1 << 20);
    tokenizer_decode(t, got.ids, got.n, false, &back);
    bool keeps_text = strcmp(tokenizer_model_name(t), "bert") != 0;
    if (keeps_text && (back.len != n || (n && memcmp(back.data, text, n) != 0))) {
        print_message("# text: [%.*s] came back as [%.*s]\n", (int)n, text, (int)back.len,
                      back.data ? back.data : "");
        same = false;
    }
    buf_free(&back);
    token_list_free(&want);
    token_list_free(&got);
    return same;
}

static void check_vectors(const struct tokenizer *t, const char *base)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[4200];
    snprintf(path, sizeof path, "%s.inp", base);
    struct buf in = read_all(path);
    snprintf(path, sizeof path, "%s.out", base);
    struct buf out = read_all(path);
    const char *text = in.data, *line = out.data;
    size_t n_texts = 0, n_wrong = 0;
    for (const char *end; (end = strstr(text, separator)) != NULL;
         text = end + sizeof separator - 1) {
        const char *next = strchr(line, '\n');
        assert_non_null(next);
        n_wrong += !check_text(t, text, (size_t)(end - text), line);
        n_texts++;
        line = next + 1;
    }
    assert_true(n_texts > 30);
    assert_int_equal(*line, 0);
    buf_free(&in);
    buf_free(&out);
    assert_int_equal(n_wrong, 0);
}

static void check_vocab_file(const char *path)
{
    struct tokenizer *t = open_vocab(path);
    check_vectors(t, path);
    tokenizer_free(t);
}

static void test_gpt2(void **state)
{
    (void)state;
    NEED(path, "tokenizers/ggml-vocab-gpt-2.gguf");
    check_vocab_file(path);
}

static void test_llama_spm(void **state)
{
    (void)state;
    NEED(path, "tokenizers/ggml-vocab-llama-spm.gguf");
    check_vocab_file(path);
    struct tokenizer *t = open_vocab(path);
    assert_int_equal(tokenizer_count(t), 32000);
    assert_true(tokenizer_add_bos(t));
    assert_true(tokenizer_is_end(t, 2));
    /* "</s>" is text: its two halves are in this vocabulary. */
    struct token_list ids = {0};
    assert_true(tokenizer_encode(t, "a</s>", 5, NULL, &ids, NULL));
    for (size_t i = 0; i < ids.n; i++) {
        assert_int_not_equal(ids.ids[i], 2);
    }
    ids.n = 0;
    assert_true(tokenizer_encode(t, "a</s>", 5, TOKENIZER_ALL_TRUSTED, &ids, NULL));
    assert_int_equal(ids.ids[ids.n - 1], 2);
    token_list_free(&ids);
    tokenizer_free(t);
}

static void test_phi3(void **state)
{
    (void)state;
    NEED(path, "tokenizers/ggml-vocab-phi-3.gguf");
    check_vocab_file(path);
}

static void test_falcon(void **state)
{
    (void)state;
    NEED(path, "tokenizers/ggml-vocab-falcon.gguf");
    check_vocab_file(path);
}

static void test_deepseek_coder(void **state)
{
    (void)state;
    NEED(path, "tokenizers/ggml-vocab-deepseek-coder.gguf");
    check_vocab_file(path);
}

static void test_bert(void **state)
{
    (void)state;
    NEED(path, "tokenizers/ggml-vocab-bert-bge.gguf");
    check_vocab_file(path);
    struct tokenizer *t = open_vocab(path);
    assert_string_equal(tokenizer_model_name(t), "bert");
    assert_int_equal(tokenizer_first(t), 101);
    assert_int_equal(tokenizer_last(t), 102);
    assert_true(tokenizer_is_control(t, 101));
    tokenizer_free(t);
}

/* A vocabulary as its model's authors publish it: a JSON object of ids and a file of merges. */
static struct tokenizer *open_json_vocab(const char *json_path, const char *merges_path,
                                         const char *pre)
{
    struct tokenizer_spec *s = tokenizer_spec_new();
    s->model = "gpt2";
    s->pre = pre;
    json_t *vocab = json_load_file(json_path, 0, NULL), *id;
    assert_non_null(vocab);
    s->n_tokens = json_object_size(vocab);
    s->tokens = arena_alloc(s->arena, s->n_tokens * sizeof *s->tokens);
    const char *key;
    json_object_foreach(vocab, key, id)
    {
        size_t i = (size_t)json_integer_value(id);
        assert_true(i < s->n_tokens);
        s->tokens[i] = (struct gguf_string){key, strlen(key)};
    }
    struct buf merges = read_all(merges_path);
    s->merges = arena_alloc(s->arena, (1 << 19) * sizeof *s->merges);
    for (char *line = merges.data; *line;) {
        size_t n = strcspn(line, "\r\n");
        if (n && strncmp(line, "#version", 8) != 0) {
            assert_true(s->n_merges < 1 << 19);
            s->merges[s->n_merges++] = (struct gguf_string){line, n};
        }
        line += n;
        line += strspn(line, "\r\n");
    }
    struct error e = {.code = ERROR_NONE};
    struct tokenizer *t = tokenizer_new(s, &e);
    if (!t) {
        fail_msg("%s", e.message);
    }
    buf_free(&merges);
    json_decref(vocab);
    tokenizer_spec_free(s);
    return t;
}

static void test_llama_bpe(void **state)
{
    (void)state;
    NEED(base, "tokenizers/ggml-vocab-llama-bpe.gguf.inp");
    NEED(json, "tokenizers/llama3/encoder.json");
    NEED(merges, "tokenizers/llama3/vocab.bpe");
    base[strlen(base) - 4] = 0;
    struct tokenizer *t = open_json_vocab(json, merges, "llama-bpe");
    check_vectors(t, base);
    tokenizer_free(t);
}

static void test_qwen2(void **state)
{
    (void)state;
    NEED(base, "tokenizers/ggml-vocab-qwen2.gguf.inp");
    NEED(json, "tokenizers/qwen2/vocab.json");
    NEED(merges, "tokenizers/qwen2/merges.txt");
    base[strlen(base) - 4] = 0;
    struct tokenizer *t = open_json_vocab(json, merges, "qwen2");
    check_vectors(t, base);
    tokenizer_free(t);
}

/* ---- files that are written here ---- */

static void temp_path(char out[64])
{
    strcpy(out, "/tmp/lllm-test-XXXXXX");
    int fd = mkstemp(out);
    assert_true(fd >= 0);
    close(fd);
}

/* Writes w, opens it and makes a tokenizer of it. */
static struct tokenizer *through_file(struct gguf_writer *w, struct error *e)
{
    char path[64];
    temp_path(path);
    struct error problem = {.code = ERROR_NONE};
    if (!gguf_writer_commit(w, path, &problem)) {
        fail_msg("%s", problem.message);
    }
    gguf_writer_free(w);
    struct gguf *g = gguf_open(path, &problem);
    unlink(path);
    if (!g) {
        fail_msg("%s", problem.message);
    }
    struct tokenizer *t = tokenizer_from_gguf(g, e);
    gguf_close(g);
    return t;
}

static struct gguf_writer *writer_of(const struct tokenizer_spec *spec)
{
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_string(w, "general.architecture", "llama", 5);
    if (spec) {
        tokenizer_spec_write(spec, w);
    }
    return w;
}

static void check_same(const struct tokenizer *a, const struct tokenizer *b)
{
    static const char text[] =
        "<|im_start|>user\nthe <code> quick 1984 fo\xC3\xA9x</s>\xFF  \n\n x";
    assert_int_equal(tokenizer_count(a), tokenizer_count(b));
    assert_int_equal(tokenizer_bos(a), tokenizer_bos(b));
    assert_int_equal(tokenizer_eos(a), tokenizer_eos(b));
    assert_int_equal(tokenizer_add_bos(a), tokenizer_add_bos(b));
    assert_string_equal(tokenizer_model_name(a), tokenizer_model_name(b));
    for (int trusted = 0; trusted < 2; trusted++) {
        struct token_list x = {0}, y = {0};
        const uint8_t *trust = trusted ? TOKENIZER_ALL_TRUSTED : NULL;
        assert_true(tokenizer_encode(a, text, sizeof text - 1, trust, &x, NULL));
        assert_true(tokenizer_encode(b, text, sizeof text - 1, trust, &y, NULL));
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
        token_list_free(&x);
        token_list_free(&y);
    }
    for (size_t i = 0; i < tokenizer_count(a); i++) {
        assert_int_equal(tokenizer_is_control(a, (int32_t)i), tokenizer_is_control(b, (int32_t)i));
        assert_int_equal(tokenizer_is_end(a, (int32_t)i), tokenizer_is_end(b, (int32_t)i));
    }
}

static void test_write_and_read(void **state)
{
    (void)state;
    struct tokenizer_spec *specs[] = {vocab_spm(), vocab_bpe("smollm", 400)};
    for (size_t i = 0; i < 2; i++) {
        struct error e = {.code = ERROR_NONE};
        struct tokenizer *direct = tokenizer_new(specs[i], &e);
        struct tokenizer *read = through_file(writer_of(specs[i]), &e);
        if (!direct || !read) {
            fail_msg("%s", e.message);
        }
        check_same(direct, read);
        tokenizer_free(direct);
        tokenizer_free(read);
        tokenizer_spec_free(specs[i]);
    }
}

static void refuse(struct gguf_writer *w, enum error_code code, const char *names)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer *t = through_file(w, &e);
    assert_null(t);
    assert_int_equal(e.code, code);
    if (!strstr(e.message, names)) {
        fail_msg("\"%s\" does not name %s", e.message, names);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    struct tokenizer_spec *spec = vocab_spm(), *bpe = vocab_bpe("gpt-2", 300);
    const float scores[3] = {0};
    const int32_t types[3] = {1, 1, 1};
    refuse(writer_of(NULL), ERROR_INPUT, "tokenizer.ggml.model");
    struct gguf_writer *w = writer_of(NULL);
    gguf_writer_string(w, "tokenizer.ggml.model", "gpt2", 4);
    refuse(w, ERROR_INPUT, "tokenizer.ggml.tokens");
    w = writer_of(spec);
    gguf_writer_string(w, "tokenizer.ggml.model", "rwkv", 4);
    refuse(w, ERROR_UNSUPPORTED, "rwkv");
    w = writer_of(spec);
    gguf_writer_f32s(w, "tokenizer.ggml.scores", scores, 3);
    refuse(w, ERROR_INPUT, "tokenizer.ggml.scores");
    w = writer_of(spec);
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, 3);
    refuse(w, ERROR_INPUT, "tokenizer.ggml.token_type");
    w = writer_of(spec);
    gguf_writer_i32s(w, "tokenizer.ggml.tokens", types, 3);
    refuse(w, ERROR_INPUT, "tokenizer.ggml.tokens");
    w = writer_of(spec);
    gguf_writer_u32(w, "tokenizer.ggml.tokens", 3);
    refuse(w, ERROR_INPUT, "tokenizer.ggml.tokens");
    w = writer_of(spec);
    gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", 1000000);
    refuse(w, ERROR_INPUT, "eos_token_id");
    w = writer_of(spec);
    gguf_writer_u32(w, "tokenizer.ggml.eot_token_id", 1000000);
    refuse(w, ERROR_INPUT, "eot_token_id");
    w = writer_of(bpe);
    gguf_writer_string(w, "tokenizer.ggml.pre", "martian", 7);
    refuse(w, ERROR_UNSUPPORTED, "martian");
    w = writer_of(bpe);
    gguf_writer_strings(w, "tokenizer.ggml.merges", &(struct gguf_string){"ab", 2}, 1);
    refuse(w, ERROR_INPUT, "merge");
    tokenizer_spec_free(spec);
    tokenizer_spec_free(bpe);
}

/* Whatever happens to the bytes of a file, there is a tokenizer that works or an error. */
static void test_damaged_files(void **state)
{
    (void)state;
    struct tokenizer_spec *specs[] = {vocab_spm(), vocab_bpe("gpt-2", 280)};
    struct rng r;
    rng_seed(&r, 9);
    size_t n_opened = 0;
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        temp_path(path);
        struct gguf_writer *w = writer_of(specs[i]);
        assert_true(gguf_writer_commit(w, path, NULL));
        gguf_writer_free(w);
        struct buf file = read_all(path);
        unlink(path);
        uint8_t *copy = mem_try_alloc(file.len);
        assert_non_null(copy);
        for (int round = 0; round < 1500; round++) {
            memcpy(copy, file.data, file.len);
            for (uint64_t n = 1 + rng_below(&r, 8); n > 0; n--) {
                copy[rng_below(&r, file.len)] = (uint8_t)rng_next(&r);
            }
            struct error e = {.code = ERROR_NONE};
            struct gguf *g = gguf_open_memory(copy, file.len, &e);
            struct tokenizer *t = g ? tokenizer_from_gguf(g, &e) : NULL;
            gguf_close(g);
            assert_true(t != NULL || e.code != ERROR_NONE);
            if (t) {
                static const char text[] = "<s>the <code> 12 abab\xC3\xA9\xFF<|im_end|>aaaa";
                struct token_list ids = {0};
                struct buf back;
                buf_init(&back, 10000);
                assert_true(
                    tokenizer_encode(t, text, sizeof text - 1, TOKENIZER_ALL_TRUSTED, &ids, NULL));
                tokenizer_decode(t, ids.ids, ids.n, true, &back);
                buf_free(&back);
                token_list_free(&ids);
                tokenizer_free(t);
                n_opened++;
            }
        }
        free(copy);
        buf_free(&file);
        tokenizer_spec_free(specs[i]);
    }
    assert_true(n_opened > 50);
}

static void test_spec_from_file(void **state)
{
    (void)state;
    struct tokenizer_spec *spec = vocab_bpe("smollm", 300);
    struct gguf_writer *w = writer_of(spec);
    char path[64];
    temp_path(path);
    assert_true(gguf_writer_commit(w, path, NULL));
    gguf_writer_free(w);
    struct gguf *g = gguf_open(path, NULL);
    unlink(path);
    assert_non_null(g);
    struct tokenizer_spec *read = tokenizer_spec_from_gguf(g, NULL);
    assert_non_null(read);
    assert_string_equal(read->model, "gpt2");
    assert_string_equal(read->pre, "smollm");
    assert_int_equal(read->n_tokens, spec->n_tokens);
    assert_int_equal(read->n_merges, spec->n_merges);
    assert_int_equal(read->roles[ROLE_EOS], spec->roles[ROLE_EOS]);
    assert_int_equal(read->roles[ROLE_BOS], TOKENIZER_NO_TOKEN);
    assert_memory_equal(read->types, spec->types, spec->n_tokens * sizeof *spec->types);
    for (size_t i = 0; i < spec->n_merges; i++) {
        assert_int_equal(read->merges[i].len, spec->merges[i].len);
        assert_memory_equal(read->merges[i].data, spec->merges[i].data, spec->merges[i].len);
    }
    tokenizer_spec_free(read);
    gguf_close(g);
    tokenizer_spec_free(spec);
}

static void test_keys_and_defaults(void **state)
{
    (void)state;
    struct tokenizer_spec *spec = vocab_spm();
    struct error e = {.code = ERROR_NONE};
    struct gguf_writer *w = writer_of(NULL);
    gguf_writer_string(w, "tokenizer.ggml.model", "llama", 5);
    gguf_writer_strings(w, "tokenizer.ggml.tokens", spec->tokens, spec->n_tokens);
    gguf_writer_f32s(w, "tokenizer.ggml.scores", spec->scores, spec->n_tokens);
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", spec->types, spec->n_tokens);
    gguf_writer_u32(w, "tokenizer.ggml.eot_token_id", 259);
    struct tokenizer *t = through_file(w, &e);
    if (!t) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_true(tokenizer_add_bos(t));
    assert_true(tokenizer_is_end(t, 2));
    assert_true(tokenizer_is_end(t, 259));
    tokenizer_free(t);
    tokenizer_spec_free(spec);
}

/* ---- a trained vocabulary ---- */

static void test_train_on_a_book(void **state)
{
    (void)state;
    NEED(path, "text/war-and-peace.txt");
    struct buf book = read_all(path);
    static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    struct bpe_training how = {.pre = "smollm",
                               .n_tokens = 4096,
                               .specials = specials,
                               .n_specials = 3,
                               .bos = "<|im_start|>",
                               .eos = "<|im_end|>",
                               .min_count = 2};
    struct error e = {.code = ERROR_NONE};
    const char *texts[] = {book.data, book.data + book.len / 2};
    const size_t lengths[] = {book.len / 2, book.len - book.len / 2};
    struct tokenizer_spec *s = bpe_train(&how, texts, lengths, 2, &e);
    struct tokenizer_spec *again = bpe_train(&how, texts, lengths, 2, &e);
    assert_non_null(s);
    assert_non_null(again);
    assert_int_equal(s->n_tokens, 4096);
    assert_true(s->add_bos);
    assert_int_equal(s->n_merges, again->n_merges);
    for (size_t i = 0; i < s->n_merges; i++) {
        assert_int_equal(s->merges[i].len, again->merges[i].len);
        assert_memory_equal(s->merges[i].data, again->merges[i].data, s->merges[i].len);
    }
    struct tokenizer *direct = tokenizer_new(s, &e), *read = through_file(writer_of(s), &e);
    assert_non_null(direct);
    assert_non_null(read);
    check_same(direct, read);
    struct token_list ids = {0};
    assert_true(tokenizer_encode(read, book.data, book.len, NULL, &ids, &e));
    double per_token = (double)book.len / (double)ids.n;
    print_message("# %.2f bytes per token\n", per_token);
    assert_true(per_token > 3.3 && per_token < 5);
    struct buf back;
    buf_init(&back, book.len + 1);
    tokenizer_decode(read, ids.ids, ids.n, false, &back);
    assert_int_equal(back.len, book.len);
    assert_memory_equal(back.data, book.data, book.len);
    buf_free(&back);
    token_list_free(&ids);
    tokenizer_free(direct);
    tokenizer_free(read);
    tokenizer_spec_free(s);
    tokenizer_spec_free(again);
    buf_free(&book);
}

int main(int argc, char **argv)
{
    data_folder = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_llama_spm),
        cmocka_unit_test(test_phi3),
        cmocka_unit_test(test_falcon),
        cmocka_unit_test(test_deepseek_coder),
        cmocka_unit_test(test_llama_bpe),
        cmocka_unit_test(test_qwen2),
        cmocka_unit_test(test_bert),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_spec_from_file),
        cmocka_unit_test(test_keys_and_defaults),
        cmocka_unit_test(test_train_on_a_book),
    };
    return cmocka_run_group_tests_name("tokenizer_files", tests, NULL, NULL);
}
