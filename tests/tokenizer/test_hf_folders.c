/* Whole Hugging Face folders: small ones of the reference's making and a real one, through GGUF and
 * back, and damaged: whatever the bytes are, there is a vocabulary or a sentence. */
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
#include "hf_folder.h"
#include "texts.h"
#include "tokenizer/tokenizer_internal.h"

static const char *golden_folder, *data_folder;

/* ---- the small vocabularies of golden/ ---- */

static struct buf read_golden(const char *family, const char *name)
{
    char path[4096];
    struct buf b;
    struct error e = {.code = ERROR_NONE};
    snprintf(path, sizeof path, "%s/%s/%s", golden_folder, family, name);
    buf_init(&b, 1 << 20);
    if (!file_read(path, 1 << 20, &b, &e)) {
        fail_msg("%s", e.message);
    }
    return b;
}

static const struct {
    const char *family, *file, *model;
} small[] = {
    {"unigram-spm", "tokenizer.model", "t5"},
    {"unigram-hf", "tokenizer.json", "t5"},
    {"bpe-spm", "tokenizer.model", "llama"},
    {"bpe-characters", "tokenizer.json", "llama"},
};

static void copy_small(size_t i)
{
    struct buf b = read_golden(small[i].family, small[i].file);
    put(small[i].file, b.data, b.len);
    buf_free(&b);
}

static struct tokenizer *through_gguf(const struct tokenizer_spec *s)
{
    char path[4096];
    struct error e = {.code = ERROR_NONE};
    struct gguf_writer *w = gguf_writer_new();
    path_of(path, "vocab.txt");
    tokenizer_spec_write(s, w);
    assert_true(gguf_writer_commit(w, path, NULL));
    gguf_writer_free(w);
    struct gguf *g = gguf_open(path, &e);
    struct tokenizer *t = g ? tokenizer_from_gguf(g, &e) : NULL;
    if (!t) {
        fail_msg("%s", e.message);
    }
    gguf_close(g);
    unlink(path);
    return t;
}

/* Written to GGUF and read back, a vocabulary does the same. */
static void check_same(const struct tokenizer *a, const struct tokenizer *b)
{
    char path[4096];
    struct error e = {.code = ERROR_NONE};
    snprintf(path, sizeof path, "%s/assigned-14.txt", golden_folder);
    struct texts *source = texts_open(path, 4, &e);
    if (!source) {
        fail_msg("%s", e.message);
    }
    struct buf text;
    buf_init(&text, 1 << 16);
    for (int i = 0; i < 500; i++) {
        struct token_list x = {0}, y = {0};
        texts_next(source, &text);
        assert_true(tokenizer_encode(a, text.data, text.len, TOKENIZER_ALL_TRUSTED, &x, NULL));
        assert_true(tokenizer_encode(b, text.data, text.len, TOKENIZER_ALL_TRUSTED, &y, NULL));
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
        token_list_free(&x);
        token_list_free(&y);
    }
    buf_free(&text);
    texts_free(source);
    assert_int_equal(tokenizer_first(a), tokenizer_first(b));
    assert_int_equal(tokenizer_last(a), tokenizer_last(b));
    for (enum token_role r = 0; r < N_TOKEN_ROLES; r++) {
        assert_int_equal(tokenizer_role(a, r), tokenizer_role(b, r));
    }
}

static void test_through_gguf(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        copy_small(i);
        struct tokenizer_spec *s = read_spec();
        assert_string_equal(s->model, small[i].model);
        struct tokenizer *direct = tokenizer_new(s, NULL), *read = through_gguf(s);
        check_same(direct, read);
        tokenizer_free(direct);
        tokenizer_free(read);
        tokenizer_spec_free(s);
        empty_folder(NULL);
    }
    /* And one with all that tokenizer.ggml.* cannot say. */
    json_t *root = byte_level();
    set(root, "model.ignore_merges", "true");
    set(root, "normalizer",
        "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKC\"}, "
        "{\"type\": \"Lowercase\"}]}");
    set(root, "pre_tokenizer", "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}");
    put_json("tokenizer.json", root);
    struct tokenizer_spec *s = read_spec();
    assert_int_equal(s->whole_words, 1);
    assert_int_equal(s->changes, CHANGE_NFKC | CHANGE_LOWERCASE);
    struct tokenizer *direct = tokenizer_new(s, NULL), *read = through_gguf(s);
    check_same(direct, read);
    tokenizer_free(direct);
    tokenizer_free(read);
    tokenizer_spec_free(s);
    json_decref(root);
}

/* tokenizer.json of character merges gives way to the tokenizer.model it was made from. */
static void test_original_counts(void **state)
{
    (void)state;
    copy_small(3);
    struct buf model = read_golden("bpe-spm", "tokenizer.model");
    put("tokenizer.model", model.data, model.len);
    struct tokenizer_spec *s = read_spec();
    assert_string_equal(s->model, "llama");
    assert_int_equal(s->n_merges, 0);
    assert_int_equal(s->n_tokens, 700);
    tokenizer_spec_free(s);
    model.len = 0;
    buf_free(&model);
    model = read_golden("unigram-spm", "tokenizer.model");
    put("tokenizer.model", model.data, model.len);
    refuse(ERROR_UNSUPPORTED, "tokenizer.model");
    buf_free(&model);
}

static void test_hostile_models(void **state)
{
    (void)state;
    put_text("tokenizer.model", "");
    refuse(ERROR_INPUT, "tokenizer.model");
    put("tokenizer.model", "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
        11); /* a piece of 2^64 bytes */
    refuse(ERROR_INPUT, "tokenizer.model");
    put("tokenizer.model", "\x0B\x00", 2); /* a group, which nobody writes any more */
    refuse(ERROR_INPUT, "tokenizer.model");
    put("tokenizer.model",
        "\x0A\x04\x0A\x01"
        "a\x18",
        6); /* a type without its value */
    refuse(ERROR_INPUT, "tokenizer.model");
    put("tokenizer.model",
        "\x0A\x05\x0A\x01"
        "a\x18\x07",
        7); /* type 7 */
    refuse(ERROR_INPUT, "piece");
    put("tokenizer.model",
        "\x0A\x03\x0A\x01"
        "a\x12\x02\x18\x03",
        9); /* a model of words */
    refuse(ERROR_UNSUPPORTED, "model type");
    put("tokenizer.model",
        "\x0A\x03\x0A\x01"
        "a\x1A\x02\x28\x00",
        9);
    refuse(ERROR_UNSUPPORTED, "escape_whitespaces");
    put("tokenizer.model",
        "\x0A\x03\x0A\x01"
        "a\x12\x05\x18\x02\xC0\x01\x01",
        12);
    refuse(ERROR_UNSUPPORTED, "treat_whitespace_as_suffix");
    put("tokenizer.model",
        "\x0A\x03\x0A\x01"
        "a\x1A\x03\x12\x01x",
        10);
    refuse(ERROR_INPUT, "charsmap");
}

/* Whatever happens to the bytes of a file, there is a tokenizer that works or an error. */
static void test_damaged_files(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 17);
    const char *soak = getenv("LLLM_SOAK");
    int rounds = soak && *soak ? 3000 : 150;
    size_t n_opened = 0;
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        struct buf file = read_golden(small[i].family, small[i].file);
        char *copy = malloc(file.len);
        assert_non_null(copy);
        for (int round = 0; round < rounds; round++) {
            size_t n = rng_below(&r, 4) ? file.len : rng_below(&r, file.len);
            memcpy(copy, file.data, file.len);
            for (uint64_t k = 1 + rng_below(&r, 6); k > 0; k--) {
                size_t at = rng_below(&r, rng_below(&r, 2) ? file.len : 400);
                static const char signs[] = "09\"{}[],:.-e";
                copy[at] = rng_below(&r, 2) ? (char)rng_next(&r) : signs[rng_below(&r, 12)];
            }
            put(small[i].file, copy, n);
            struct error e = {.code = ERROR_NONE};
            struct tokenizer_spec *s = tokenizer_spec_from_hf(folder, &e);
            struct tokenizer *t = s ? tokenizer_new(s, &e) : NULL;
            assert_true(t != NULL || (e.code != ERROR_NONE && e.message[0]));
            if (t) {
                struct token_list ids = {0};
                static const char text[] = " The king</s> <unk>\xC3\xA9\xFF  abab\n";
                assert_true(
                    tokenizer_encode(t, text, sizeof text - 1, TOKENIZER_ALL_TRUSTED, &ids, NULL));
                token_list_free(&ids);
                n_opened++;
            }
            tokenizer_free(t);
            tokenizer_spec_free(s);
        }
        free(copy);
        buf_free(&file);
        empty_folder(NULL);
    }
    assert_true(n_opened > (size_t)rounds / 8);
}

/* ---- a real folder ---- */

static void test_qwen2_folder(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizers/qwen2", data_folder);
    if (!file_is_directory(path)) {
        print_message("# skipped: no shared data (tokenizers/qwen2)\n");
        skip();
    }
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = tokenizer_spec_from_hf(path, &e);
    if (!s) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(s->n_tokens, 151646);
    assert_string_equal(s->pre, "qwen2");
    assert_int_equal(s->types[151645], TOKEN_CONTROL);
    assert_int_equal(s->roles[ROLE_EOS], 151645);
    assert_int_equal(s->roles[ROLE_PADDING], 151643);
    assert_int_equal(s->roles[ROLE_BOS], TOKENIZER_NO_TOKEN);
    assert_false(s->add_bos || s->add_space_prefix);
    struct tokenizer *direct = tokenizer_new(s, NULL), *read = through_gguf(s);
    check_same(direct, read);
    assert_true(tokenizer_is_end(direct, 151645) && tokenizer_is_end(direct, 151643));
    tokenizer_free(direct);
    tokenizer_free(read);
    tokenizer_spec_free(s);
}

int main(int argc, char **argv)
{
    const char *env = getenv("LLLM_TEST_DATA");
    golden_folder = argc > 1 ? argv[1] : "";
    data_folder = env && *env ? env : argc > 2 ? argv[2] : "";
    const struct CMUnitTest tests[] = {
        TEST(test_through_gguf),  TEST(test_original_counts), TEST(test_hostile_models),
        TEST(test_damaged_files), TEST(test_qwen2_folder),
    };
    return cmocka_run_group_tests_name("tokenizer_hf_folders", tests, make_folder, remove_folder);
}
