/* Hugging Face folders: what their files say becomes the vocabulary, what is not understood is
 * named, and whatever the bytes are, there is a vocabulary or a sentence. */
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
#include "texts.h"
#include "tokenizer/tokenizer_internal.h"

static const char *golden_folder, *data_folder;
static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/lllm-hf-XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static void path_of(char out[4096], const char *name)
{
    snprintf(out, 4096, "%s/%s", folder, name);
}

static void put(const char *name, const char *data, size_t n)
{
    char path[4096];
    path_of(path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void put_json(const char *name, const json_t *json)
{
    char *text = json_dumps(json, 0);
    put_text(name, text);
    free(text);
}

static int empty_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"tokenizer.json",    "tokenizer_config.json",
                                        "tokenizer.model",   "vocab.json",
                                        "merges.txt",        "vocab.txt",
                                        "added_tokens.json", "special_tokens_map.json",
                                        "encoder.json",      "vocab.bpe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[4096];
        path_of(path, names[i]);
        unlink(path);
    }
    return 0;
}

static int remove_folder(void **state)
{
    empty_folder(state);
    return rmdir(folder);
}

static struct tokenizer_spec *read_spec(void)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = tokenizer_spec_from_hf(folder, &e);
    if (!s) {
        fail_msg("%s", e.message);
    }
    return s;
}

static void refuse(enum error_code code, const char *names)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = tokenizer_spec_from_hf(folder, &e);
    assert_null(s);
    if (e.code != code || !strstr(e.message, names)) {
        fail_msg("\"%s\" (%d) does not name %s", e.message, (int)e.code, names);
    }
    assert_non_null(strstr(e.message, folder)); /* and where */
}

static const char *token(const struct tokenizer_spec *s, size_t id)
{
    static char text[256];
    assert_true(id < s->n_tokens && s->tokens[id].len < sizeof text);
    memcpy(text, s->tokens[id].data, s->tokens[id].len);
    text[s->tokens[id].len] = 0;
    return text;
}

/* ---- tokenizer.json ---- */

/* Bytes 0..255, " the" from three merges, and two added tokens. */
static json_t *byte_level(void)
{
    json_t *vocab = json_object();
    for (int b = 0; b < 256; b++) {
        char text[5] = "";
        bpe_byte_spelling((uint8_t)b, text);
        json_object_set_new(vocab, text, json_integer(b));
    }
    json_object_set_new(vocab, "th", json_integer(256));
    json_object_set_new(vocab, "the", json_integer(257));
    json_object_set_new(vocab, "\xC4\xA0the", json_integer(258));
    return json_pack(
        "{s:n, s:{s:s, s:b, s:b, s:b}, s:[{s:i, s:s, s:b, s:b}, {s:i, s:s, s:b}], s:{s:s, "
        "s:[{s:{s:s}}, {s:{s:s}}]}, s:{s:s, s:n, s:o, s:[s, s, s]}}",
        "normalizer", "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets",
        1, "use_regex", 1, "added_tokens", "id", 259, "content", "<|end|>", "special", 1, "rstrip",
        1, "id", 260, "content", "<think>", "special", 0, "post_processor", "type",
        "TemplateProcessing", "single", "SpecialToken", "id", "<|end|>", "Sequence", "id", "A",
        "model", "type", "BPE", "dropout", "vocab", vocab, "merges", "t h", "th e", "\xC4\xA0 the");
}

/* Sets root.a.b = value (JSON). */
static void set(json_t *root, const char *path, const char *value)
{
    char key[128];
    json_t *at = root;
    for (;;) {
        size_t n = strcspn(path, ".");
        memcpy(key, path, n);
        key[n] = 0;
        path += n;
        if (!*path) {
            break;
        }
        path++;
        at = json_object_get(at, key);
        assert_non_null(at);
    }
    json_error_t problem;
    json_t *new = json_loads(value, JSON_DECODE_ANY, &problem);
    if (!new) {
        fail_msg("%s: %s", value, problem.text);
    }
    assert_int_equal(json_object_set_new(at, key, new), 0);
}

static void test_byte_level(void **state)
{
    (void)state;
    json_t *root = byte_level();
    put_json("tokenizer.json", root);
    put_text("tokenizer_config.json",
             "{\"bos_token\": {\"content\": \"<|end|>\"}, \"eos_token\": \"<|end|>\", "
             "\"pad_token\": null, \"unk_token\": 7}");
    struct tokenizer_spec *s = read_spec();
    assert_string_equal(s->model, "gpt2");
    assert_string_equal(s->pre, "gpt-2");
    assert_int_equal(s->n_tokens, 261);
    assert_int_equal(s->types[259], TOKEN_CONTROL);
    assert_int_equal(s->types[260], TOKEN_USER_DEFINED);
    assert_int_equal(s->attributes[259], TOKEN_STRIPS_RIGHT);
    assert_int_equal(s->roles[ROLE_BOS], 259);
    assert_int_equal(s->roles[ROLE_EOS], 259);
    assert_int_equal(s->roles[ROLE_PADDING], TOKENIZER_NO_TOKEN);
    assert_true(s->add_bos);
    assert_false(s->add_eos);
    assert_null(s->scores);
    assert_int_equal(s->whole_words, 0);
    assert_int_equal(s->changes, 0);
    struct tokenizer *t = tokenizer_new(s, NULL);
    struct token_list ids = {0};
    assert_true(tokenizer_encode(t, "the the<|end|>  the", 19, TOKENIZER_ALL_TRUSTED, &ids, NULL));
    static const int32_t want[] = {257, 258, 259, 257};
    assert_int_equal(ids.n, 4);
    assert_memory_equal(ids.ids, want, sizeof want);
    token_list_free(&ids);
    tokenizer_free(t);
    tokenizer_spec_free(s);
    /* The config may overrule, merges may be pairs, ids may have gaps. */
    put_text("tokenizer_config.json", "{\"add_bos_token\": false, \"add_eos_token\": true, "
                                      "\"eos_token\": \"<think>\"}");
    set(root, "model.merges", "[[\"t\", \"h\"], [\"th\", \"e\"], [\"\xC4\xA0\", \"the\"]]");
    set(root, "model.vocab.later", "300");
    put_json("tokenizer.json", root);
    s = read_spec();
    assert_false(s->add_bos);
    assert_true(s->add_eos);
    assert_int_equal(s->roles[ROLE_EOS], 260);
    assert_int_equal(s->n_tokens, 301);
    assert_string_equal(token(s, 299), "[PAD299]");
    assert_int_equal(s->types[299], TOKEN_UNUSED);
    assert_memory_equal(s->merges[2].data, "\xC4\xA0 the", 6);
    tokenizer_spec_free(s);
    json_decref(root);
}

static void test_pre_tokenizers(void **state)
{
    (void)state;
    static const char llama3[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
        "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+";
    static const struct {
        const char *pre_tokenizer, *normalizer, *model_extra, *pre;
        int whole_words;
        uint32_t changes;
    } rows[] = {
        {"[{\"type\": \"Digits\", \"individual_digits\": true}, {\"type\": \"ByteLevel\", "
         "\"add_prefix_space\": false}]",
         "null", NULL, "smollm", 0, 0},
        {"[{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}, {\"type\": \"ByteLevel\", "
         "\"add_prefix_space\": false}, {\"type\": \"Split\", \"pattern\": {\"Regex\": "
         "\"[0-9][0-9][0-9]\"}, \"behavior\": \"Isolated\", \"invert\": false}]",
         "null", NULL, "falcon", 0, 0},
        {"[{\"type\": \"Split\", \"pattern\": {\"Regex\": \"@\"}, \"behavior\": \"Isolated\"}, "
         "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]",
         "null", "true", "llama-bpe", 0, 0},
        {"[{\"type\": \"Split\", \"pattern\": {\"Regex\": \"@\"}, \"behavior\": \"Removed\", "
         "\"invert\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": "
         "false}]",
         "null", NULL, "dbrx", 0, 0},
        {"[{\"type\": \"Split\", \"pattern\": {\"Regex\": \"@\"}, \"behavior\": \"Isolated\"}, "
         "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]",
         "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}]}", "true", "llama-bpe", 0,
         CHANGE_NFC},
        {"[{\"type\": \"Digits\", \"individual_digits\": true}, {\"type\": \"ByteLevel\", "
         "\"add_prefix_space\": false}]",
         "{\"type\": \"NFC\"}", "true", "command-r", 1, 0},
        {"[{\"type\": \"ByteLevel\", \"add_prefix_space\": true}]", "null", NULL, "gpt-2", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[2048] = "{\"type\": \"Sequence\", \"pretokenizers\": ";
        for (const char *p = rows[i].pre_tokenizer; *p; p++) {
            strncat(text, *p == '@' ? llama3 : p, *p == '@' ? sizeof llama3 : 1);
        }
        strcat(text, "}");
        json_t *root = byte_level();
        set(root, "pre_tokenizer", text);
        set(root, "normalizer", rows[i].normalizer);
        if (rows[i].model_extra) {
            set(root, "model.ignore_merges", rows[i].model_extra);
        }
        put_json("tokenizer.json", root);
        struct tokenizer_spec *s = read_spec();
        assert_string_equal(s->pre, rows[i].pre);
        assert_int_equal(s->whole_words, rows[i].whole_words);
        assert_int_equal(s->changes, rows[i].changes);
        assert_int_equal(s->add_space_prefix, i == 6);
        tokenizer_spec_free(s);
        json_decref(root);
    }
}

static void test_refused_json(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value;
        enum error_code code;
        const char *names;
    } rows[] = {
        {"model", "null", ERROR_INPUT, "model"},
        {"model.type", "\"WordLevel\"", ERROR_UNSUPPORTED, "WordLevel"},
        {"model.dropout", "0.1", ERROR_UNSUPPORTED, "dropout"},
        {"model.end_of_word_suffix", "\"</w>\"", ERROR_UNSUPPORTED, "end_of_word_suffix"},
        {"model.continuing_subword_prefix", "\"##\"", ERROR_UNSUPPORTED,
         "continuing_subword_prefix"},
        {"model.vocab", "[]", ERROR_INPUT, "vocab"},
        {"model.vocab", "null", ERROR_INPUT, "vocab"},
        {"model.vocab", "{}", ERROR_INPUT, "no tokens"},
        {"model.vocab.x", "\"1\"", ERROR_INPUT, "\"x\""},
        {"model.vocab.x", "-1", ERROR_LIMIT, "-1"},
        {"model.vocab.x", "9223372036854775807", ERROR_LIMIT, "9223372036854775807"},
        {"model.vocab.x", "2097152", ERROR_LIMIT, "2097152"},
        {"model.vocab.xyz", "256", ERROR_INPUT, "256"},
        {"model.merges", "null", ERROR_INPUT, "merges"},
        {"model.merges", "[7]", ERROR_INPUT, "merge 0"},
        {"model.merges", "[\"ab\"]", ERROR_INPUT, "merge 0"},
        {"model.merges", "[[\"a\"]]", ERROR_INPUT, "merge 0"},
        {"model.merges", "[[\"a b\", \"c\"]]", ERROR_UNSUPPORTED, "spaces"},
        {"pre_tokenizer", "null", ERROR_UNSUPPORTED, "U+2581"},
        {"pre_tokenizer", "{}", ERROR_INPUT, "type"},
        {"pre_tokenizer.type", "\"UnicodeScripts\"", ERROR_UNSUPPORTED, "UnicodeScripts"},
        {"pre_tokenizer",
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
         "{\"Regex\": \"[a-z]+\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\", "
         "\"add_prefix_space\": false, \"use_regex\": false}]}",
         ERROR_UNSUPPORTED, "[a-z]+"},
        {"pre_tokenizer",
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
         "{\"Regex\": \"(?<=a)b\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\"}]}",
         ERROR_UNSUPPORTED, "add_prefix_space"},
        {"pre_tokenizer",
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
         "{\"Regex\": \"(?<=a)b\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\", "
         "\"add_prefix_space\": false}]}",
         ERROR_UNSUPPORTED, "(?<=a)b"},
        {"pre_tokenizer",
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
         "{\"Regex\": \"a\"}, \"behavior\": \"MergedWithNext\"}]}",
         ERROR_UNSUPPORTED, "Isolated"},
        {"pre_tokenizer", "{\"type\": \"Sequence\", \"pretokenizers\": 1}", ERROR_INPUT,
         "Sequence"},
        {"normalizer",
         "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"b\"}",
         ERROR_UNSUPPORTED, "Replace"},
        {"normalizer", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"!\"}",
         ERROR_UNSUPPORTED, "base64"},
        {"normalizer", "{\"type\": \"Nmt\"}", ERROR_UNSUPPORTED, "Nmt"},
        {"post_processor", "{\"type\": \"Other\"}", ERROR_UNSUPPORTED, "Other"},
        {"post_processor", "{}", ERROR_INPUT, "type"},
        {"added_tokens", "[{\"content\": \"x\"}]", ERROR_INPUT, "added token 0"},
        {"added_tokens", "[{\"id\": 5.5, \"content\": \"x\"}]", ERROR_INPUT, "added token 0"},
        {"added_tokens", "[{\"id\": 5, \"content\": \"\"}]", ERROR_INPUT, "added token 0"},
        {"added_tokens", "[{\"id\": -5, \"content\": \"x\"}]", ERROR_LIMIT, "-5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *root = byte_level();
        set(root, rows[i].path, rows[i].value);
        if (strcmp(rows[i].names, "no tokens") == 0) {
            set(root, "added_tokens", "[]");
            set(root, "model.merges", "[]");
        }
        put_json("tokenizer.json", root);
        refuse(rows[i].code, rows[i].names);
        json_decref(root);
    }
    put_text("tokenizer.json", "{");
    refuse(ERROR_INPUT, "tokenizer.json");
    put_text("tokenizer.json", "[]");
    refuse(ERROR_INPUT, "tokenizer.json");
    put_text("tokenizer.json", "");
    refuse(ERROR_INPUT, "tokenizer.json");
    empty_folder(NULL);
    refuse(ERROR_IO, "tokenizer.json");
    put_text("tokenizer_config.json", "{]");
    refuse(ERROR_INPUT, "tokenizer_config.json");
    struct error e = {.code = ERROR_NONE};
    assert_null(tokenizer_spec_from_hf("/no/such/folder", &e));
    assert_int_equal(e.code, ERROR_IO);
}

/* ---- WordPiece ---- */

static void test_word_piece(void **state)
{
    (void)state;
    put_text("vocab.txt",
             "[PAD]\n[UNK]\r\n[CLS]\n[SEP]\n[MASK]\nthe\n##s\nun\n##able\n[unused0]\n");
    put_text("tokenizer_config.json", "{\"do_lower_case\": false, \"tokenizer_class\": "
                                      "\"BertTokenizer\", \"cls_token\": \"[CLS]\"}");
    struct tokenizer_spec *text = read_spec();
    assert_string_equal(text->model, "bert");
    assert_int_equal(text->n_tokens, 10);
    assert_string_equal(token(text, 5), WORD_START "the");
    assert_string_equal(token(text, 6), "s");
    assert_string_equal(token(text, 9), "[unused0]");
    assert_int_equal(text->roles[ROLE_UNKNOWN], 1);
    assert_int_equal(text->types[3], TOKEN_CONTROL);
    assert_int_equal(text->changes, CHANGE_CLEAN | CHANGE_SPLIT_CJK);
    empty_folder(NULL);
    json_t *root = json_pack(
        "{s:{s:s, s:b}, s:{s:s}, s:[{s:i, s:s, s:b}, {s:i, s:s, s:b}, {s:i, s:s, s:b}], s:{s:s, "
        "s:[s, i], s:[s, i]}, s:{s:s, s:s, s:s, s:i, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, "
        "s:i, "
        "s:i}}}",
        "normalizer", "type", "BertNormalizer", "lowercase", 0, "pre_tokenizer", "type",
        "BertPreTokenizer", "added_tokens", "id", 0, "content", "[PAD]", "special", 1, "id", 2,
        "content", "[CLS]", "special", 1, "id", 3, "content", "[SEP]", "special", 1,
        "post_processor", "type", "BertProcessing", "sep", "[SEP]", 3, "cls", "[CLS]", 2, "model",
        "type", "WordPiece", "unk_token", "[UNK]", "continuing_subword_prefix", "##",
        "max_input_chars_per_word", 100, "vocab", "[PAD]", 0, "[UNK]", 1, "[CLS]", 2, "[SEP]", 3,
        "[MASK]", 4, "the", 5, "##s", 6, "un", 7, "##able", 8, "[unused0]", 9);
    put_json("tokenizer.json", root);
    struct tokenizer_spec *json = read_spec();
    assert_int_equal(json->n_tokens, text->n_tokens);
    for (size_t i = 0; i < json->n_tokens; i++) {
        assert_int_equal(json->tokens[i].len, text->tokens[i].len);
        assert_memory_equal(json->tokens[i].data, text->tokens[i].data, text->tokens[i].len);
    }
    assert_int_equal(json->changes, text->changes);
    assert_int_equal(json->roles[ROLE_CLS], 2);
    assert_int_equal(json->roles[ROLE_SEPARATOR], 3);
    assert_false(json->add_bos || json->add_eos);
    tokenizer_spec_free(text);
    tokenizer_spec_free(json);
    set(root, "model.max_input_chars_per_word", "50");
    put_json("tokenizer.json", root);
    refuse(ERROR_UNSUPPORTED, "max_input_chars_per_word");
    set(root, "model.max_input_chars_per_word", "100");
    set(root, "model.continuing_subword_prefix", "\"@@\"");
    put_json("tokenizer.json", root);
    refuse(ERROR_UNSUPPORTED, "continuing_subword_prefix");
    set(root, "model.continuing_subword_prefix", "\"##\"");
    set(root, "pre_tokenizer", "null");
    put_json("tokenizer.json", root);
    refuse(ERROR_UNSUPPORTED, "BERT");
    json_decref(root);
}

/* ---- vocab.json with merges.txt ---- */

static void test_pair(void **state)
{
    (void)state;
    json_t *root = byte_level();
    put_json("vocab.json", json_object_get(json_object_get(root, "model"), "vocab"));
    put_text("merges.txt", "#version: 0.2\nt h\r\nth e\n\xC4\xA0 the\n\n");
    json_decref(root);
    refuse(ERROR_UNSUPPORTED, "259");
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"NewTokenizer\"}");
    refuse(ERROR_UNSUPPORTED, "tokenizer_class");
    put_text(
        "tokenizer_config.json",
        "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"add_prefix_space\": true, "
        "\"added_tokens_decoder\": {\"259\": {\"content\": \"<|im_end|>\", \"special\": true}}}");
    put_text("added_tokens.json", "{\"<|im_end|>\": 259, \"<x>\": 260, \"<y>\": 261}");
    put_text("special_tokens_map.json", "{\"eos_token\": \"<|im_end|>\", "
                                        "\"additional_special_tokens\": [\"<y>\", 5, {}]}");
    struct tokenizer_spec *s = read_spec();
    assert_string_equal(s->pre, "qwen2");
    assert_int_equal(s->n_merges, 3);
    assert_int_equal(s->merges[0].len, 3);
    assert_int_equal(s->n_tokens, 262);
    assert_int_equal(s->types[259], TOKEN_CONTROL);
    assert_int_equal(s->types[260], TOKEN_USER_DEFINED);
    assert_int_equal(s->types[261], TOKEN_CONTROL);
    assert_int_equal(s->roles[ROLE_EOS], 259);
    assert_true(s->add_space_prefix);
    tokenizer_spec_free(s);
    put_text("added_tokens.json", "{\"<x>\": \"260\"}");
    refuse(ERROR_INPUT, "<x>");
    put_text("added_tokens.json", "{}");
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"Qwen2Tokenizer\", "
                                      "\"added_tokens_decoder\": {\"x1\": {\"content\": \"a\"}}}");
    refuse(ERROR_INPUT, "x1");
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"Qwen2Tokenizer\"}");
    put_text("merges.txt", "ab\n");
    refuse(ERROR_INPUT, "merge 0");
    put_text("vocab.json", "{\"a\": 0, \"b\": 0}");
    refuse(ERROR_INPUT, "number 0");
    put_text("vocab.json", "{\"a\": []}");
    refuse(ERROR_INPUT, "\"a\"");
}

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
    assert_true(n_opened > (size_t)rounds / 4);
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

#define TEST(name) cmocka_unit_test_teardown(name, empty_folder)

int main(int argc, char **argv)
{
    const char *env = getenv("LLLM_TEST_DATA");
    golden_folder = argc > 1 ? argv[1] : "";
    data_folder = env && *env ? env : argc > 2 ? argv[2] : "";
    const struct CMUnitTest tests[] = {
        TEST(test_byte_level),      TEST(test_pre_tokenizers), TEST(test_refused_json),
        TEST(test_word_piece),      TEST(test_pair),           TEST(test_through_gguf),
        TEST(test_original_counts), TEST(test_hostile_models), TEST(test_damaged_files),
        TEST(test_qwen2_folder),
    };
    return cmocka_run_group_tests_name("tokenizer_hf", tests, make_folder, remove_folder);
}
