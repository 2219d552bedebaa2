/* Hugging Face folders: what their files say becomes the vocabulary, and what is not understood is
 * named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "hf_folder.h"
#include "tokenizer/tokenizer_internal.h"

static const char *token(const struct tokenizer_spec *s, size_t id)
{
    static char text[256];
    assert_true(id < s->n_tokens && s->tokens[id].len < sizeof text);
    memcpy(text, s->tokens[id].data, s->tokens[id].len);
    text[s->tokens[id].len] = 0;
    return text;
}

/* ---- tokenizer.json ---- */

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

/* What is read as a stream is as strict as what is read as a tree, and of equal keys the last
 * counts in both. */
#define BPE_OF(vocab, merges)                                                                      \
    "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"model\": "      \
    "{\"type\": \"BPE\", \"vocab\": " vocab ", \"merges\": " merges "}}"

static void test_large_parts(void **state)
{
    (void)state;
    put_text("tokenizer.json",
             "{\"added_tokens\": 7, \"model\": [], \"model\": {\"vocab\": {\"x\": 0}}, "
             "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, "
             "\"mod\\u0065l\": {\"type\": \"BPE\", \"merges\": 3, \"vocab\": [], \"vocab\" : "
             "{\"a\": 1, \"b\": 1, \"\\u0061\": \"none\", \"\\ud83d\\ude00\\n\": 2, \"c\": 0, "
             "\"\\u0061\": 3}, \"merges\": [[\"a\", \"\\u0062\", {\"more\": [1]}], \"b \\/\"]}} ");
    struct tokenizer_spec *s = read_spec();
    assert_int_equal(s->n_tokens, 4);
    assert_string_equal(token(s, 0), "c");
    assert_string_equal(token(s, 1), "b");
    assert_string_equal(token(s, 2), "\xF0\x9F\x98\x80\n");
    assert_string_equal(token(s, 3), "a");
    assert_int_equal(s->n_merges, 2);
    assert_string_equal(s->merges[0].data, "a b");
    assert_string_equal(s->merges[1].data, "b /");
    tokenizer_spec_free(s);
    static const struct {
        const char *text;
        enum error_code code;
        const char *names;
    } rows[] = {
        {BPE_OF("{\"a\": 1, \"b\": 0, \"a\": 0}", "[]"), ERROR_INPUT, "number 0"},
        {BPE_OF("{\"a\": 0, \"a\": null}", "[]"), ERROR_INPUT, "\"a\" has no number"},
        {BPE_OF("{\"a\": 0.5}", "[]"), ERROR_INPUT, "\"a\" has no number"},
        {BPE_OF("{\"a\": 1e3}", "[]"), ERROR_INPUT, "\"a\" has no number"},
        {BPE_OF("{\"a\": 99999999999999999999999}", "[]"), ERROR_LIMIT, "9223372036854775807"},
        {BPE_OF("{\"a\": 524288}", "[]"), ERROR_LIMIT, "524288"},
        {BPE_OF("{\"a\": 01}", "[]"), ERROR_INPUT, "byte "},
        {BPE_OF("{\"a\": 0,}", "[]"), ERROR_INPUT, "byte "},
        {BPE_OF("{\"a\" 0}", "[]"), ERROR_INPUT, "lacks ':'"},
        {BPE_OF("{\"a\\u0000\": 0}", "[]"), ERROR_INPUT, "NUL"},
        {BPE_OF("{\"\\ud800\": 0}", "[]"), ERROR_INPUT, "no character"},
        {BPE_OF("{\"\\x\": 0}", "[]"), ERROR_INPUT, "wrong escape"},
        {BPE_OF("{\"\t\": 0}", "[]"), ERROR_INPUT, "control character"},
        {BPE_OF("{\"\xFF\": 0}", "[]"), ERROR_INPUT, "UTF-8"},
        {BPE_OF("{\"a\": 0}", "[\"a a\" \"a a\"]"), ERROR_INPUT, "lacks ','"},
        {BPE_OF("{\"a\": 0}", "[[\"\", \"a\"]]"), ERROR_UNSUPPORTED, "spaces"},
        {BPE_OF("{\"a\": 0}", "[[]]"), ERROR_INPUT, "merge 0"},
        {BPE_OF("{\"a\": 0}", "[\"a a\", [\"a\", 1]]"), ERROR_INPUT, "merge 1"},
        {BPE_OF("{\"a\": 0}", "[]") "x", ERROR_INPUT, "follows the end"},
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 1], [\"b\"]]}}", ERROR_INPUT,
         "piece 1"},
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", \"1\"]]}}", ERROR_INPUT,
         "piece 0"},
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 1e999]]}}", ERROR_INPUT,
         "too large"},
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": {}}}", ERROR_INPUT, "list of pieces"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_text("tokenizer.json", rows[i].text);
        refuse(rows[i].code, rows[i].names);
    }
}

/* PRE, a piece N times, POST. */
static void put_repeated(const char *pre, const char *piece, size_t n, const char *post)
{
    struct buf text;
    buf_init(&text, 1 << 25);
    buf_append_str(&text, pre);
    for (size_t i = 0; i < n; i++) {
        buf_append_str(&text, piece);
    }
    assert_true(buf_append_str(&text, post));
    put("tokenizer.json", text.data, text.len);
    buf_free(&text);
}

static void test_ceilings(void **state)
{
    (void)state;
#define BEFORE_VOCAB                                                                               \
    "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"model\": "      \
    "{\"type\": \"BPE\", "
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"", "a", TOKENIZER_MAX_SPELLING_BYTES,
                 "\": 0}, \"merges\": []}}");
    tokenizer_spec_free(read_spec());
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"", "a", TOKENIZER_MAX_SPELLING_BYTES + 1,
                 "\": 0}, \"merges\": []}}");
    refuse(ERROR_LIMIT, "16384");
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"", "a", 1 << 20, "\": 0}, \"merges\": []}}");
    refuse(ERROR_LIMIT, "longer");
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"a\": 0}, \"merges\": [\"a a\"", ", \"a a\"",
                 TOKENIZER_MAX_MERGES, "]}}");
    refuse(ERROR_INPUT, "merges");
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"a\": 524287}, \"merges\": [\"a a\"", ", \"a a\"", 9,
                 "]}}");
    refuse(ERROR_INPUT, "more gaps than tokens");
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"a\": 0}, \"merges\": [\"a ", "a", 40000, "\"]}}");
    refuse(ERROR_LIMIT, "merge 0");
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"a\": 0}, \"x\": [0", ",[]", 40000, "]}}");
    refuse(ERROR_LIMIT, "32768 values");
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"a\": 0}, \"x\": \"", "a", 3000000, "\"}}");
    refuse(ERROR_LIMIT, "2097152 bytes");
    put_repeated(BEFORE_VOCAB "\"vocab\": {\"a\": ", "[", 100000, "");
    refuse(ERROR_INPUT, "deep");
    put_repeated(
        "{\"added_tokens\": [{\"id\": 0, \"x\": [0", ",0", 100,
        "]}], \"model\": {\"type\": \"BPE\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}");
    refuse(ERROR_INPUT, "vocab");
    put_repeated("{\"added_tokens\": [{\"id\": 0, \"x\": [0", ",0", 100,
                 "]}], \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}, "
                 "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}}");
    refuse(ERROR_LIMIT, "added token 0");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_byte_level),  TEST(test_pre_tokenizers), TEST(test_refused_json),
        TEST(test_large_parts), TEST(test_ceilings),       TEST(test_word_piece),
        TEST(test_pair),
    };
    return cmocka_run_group_tests_name("tokenizer_hf", tests, make_folder, remove_folder);
}
