#include "hf_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tokenizer/tokenizer_internal.h"

char folder[64];

int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/lllm-hf-XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

void path_of(char out[4096], const char *name)
{
    snprintf(out, 4096, "%s/%s", folder, name);
}

void put(const char *name, const char *data, size_t n)
{
    char path[4096];
    path_of(path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

void put_json(const char *name, const json_t *json)
{
    char *text = json_dumps(json, 0);
    put_text(name, text);
    free(text);
}

int empty_folder(void **state)
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

int remove_folder(void **state)
{
    empty_folder(state);
    return rmdir(folder);
}

struct tokenizer_spec *read_spec(void)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = tokenizer_spec_from_hf(folder, &e);
    if (!s) {
        fail_msg("%s", e.message);
    }
    return s;
}

void refuse(enum error_code code, const char *names)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = tokenizer_spec_from_hf(folder, &e);
    assert_null(s);
    if (e.code != code || !strstr(e.message, names)) {
        fail_msg("\"%s\" (%d) does not name %s", e.message, (int)e.code, names);
    }
    assert_non_null(strstr(e.message, folder)); /* and where */
}

/* Bytes 0..255, " the" from three merges, and two added tokens. */
json_t *byte_level(void)
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
void set(json_t *root, const char *path, const char *value)
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
