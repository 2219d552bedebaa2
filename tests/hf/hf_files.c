#include "hf_files.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"

enum { N_SLOTS = 8, PATH_BYTES = 1024, MAX_FOLDERS = 256 };

static char root[256], folders[MAX_FOLDERS][512], slots[N_SLOTS][PATH_BYTES];
static unsigned n_folders, slot;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void remove_all(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *files_folder(void)
{
    if (root[0] == 0) {
        const char *temporary = getenv("TMPDIR");
        snprintf(root, sizeof root, "%s/hf-test-XXXXXX", temporary ? temporary : "/tmp");
        assert_non_null(mkdtemp(root));
        atexit(remove_all);
    }
    assert_true(n_folders < MAX_FOLDERS);
    char *path = folders[n_folders];
    snprintf(path, sizeof folders[0], "%s/%u", root, n_folders++);
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

const char *files_path(const char *folder, const char *name)
{
    char *path = slots[slot++ % N_SLOTS];
    snprintf(path, PATH_BYTES, "%.400s/%.400s", folder, name);
    return path;
}

/* Without waiting for the disk, unlike file_write_atomic. */
void files_put_bytes(const char *folder, const char *name, const void *data, size_t n)
{
    const char *path = files_path(folder, name);
    remove(path); /* some file systems wait for the disk when a file is cut to nothing */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fwrite(data, 1, n, f) == n);
    assert_int_equal(fclose(f), 0);
}

void files_put(const char *folder, const char *name, const char *text)
{
    files_put_bytes(folder, name, text, strlen(text));
}

void files_remove(const char *folder, const char *name)
{
    assert_int_equal(remove(files_path(folder, name)), 0);
}

/* ---- tensors --------------------------------------------------------------------------------- */

static size_t element_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        size_t bytes;
    } sizes[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"U8", 1},      {"I64", 8},
                 {"I32", 4}, {"I16", 2}, {"I8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (strcmp(dtype, sizes[i].name) == 0) {
            return sizes[i].bytes;
        }
    }
    fail_msg("no dtype %s", dtype);
    return 0;
}

static size_t count(const struct stored *t)
{
    size_t n = 1;
    for (int d = 0; t->dims[d]; d++) {
        n *= (size_t)t->dims[d];
    }
    return n;
}

/* Numbers that depend on the name alone. */
static void fill(const struct stored *t, uint8_t *out, size_t n_bytes)
{
    struct rng rng;
    uint64_t seed = 7;
    for (const char *c = t->name; *c; c++) {
        seed = seed * 131 + (unsigned char)*c;
    }
    rng_seed(&rng, seed);
    for (size_t i = 0; i + 4 <= n_bytes && strcmp(t->dtype, "F32") == 0; i += 4) {
        float x = (float)rng_normal(&rng) / 8;
        memcpy(out + i, &x, 4);
    }
    for (size_t i = 0; i < n_bytes && strcmp(t->dtype, "F32") != 0; i++) {
        out[i] = (uint8_t)(rng_next(&rng) & 0x3f); /* small numbers in every format */
    }
}

void files_put_tensors(const char *folder, const char *name, const struct stored *list, size_t n)
{
    struct buf header, data;
    buf_init(&header, 1 << 24);
    buf_init(&data, 1 << 28);
    for (size_t i = 0; i < n; i++) {
        const struct stored *t = &list[i];
        size_t bytes = count(t) * element_bytes(t->dtype), begin = data.len;
        buf_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "{", t->name,
                   t->dtype);
        for (int d = 0; t->dims[d]; d++) {
            buf_printf(&header, "%s%llu", d ? "," : "", (unsigned long long)t->dims[d]);
        }
        buf_printf(&header, "],\"data_offsets\":[%zu,%zu]}", begin, begin + bytes);
        uint8_t *made = malloc(bytes + 1);
        assert_non_null(made);
        if (!t->data) {
            fill(t, made, bytes);
        }
        assert_true(buf_append(&data, t->data ? t->data : made, bytes));
        free(made);
    }
    buf_append_str(&header, n ? "}" : "{}");
    while ((8 + header.len) % 8 != 0) {
        buf_append_char(&header, ' ');
    }
    struct buf all;
    buf_init(&all, 1 << 29);
    for (int i = 0; i < 8; i++) {
        buf_append_char(&all, (char)((uint64_t)header.len >> (8 * i)));
    }
    buf_append(&all, header.data, header.len);
    buf_append(&all, data.data, data.len);
    files_put_bytes(folder, name, all.data, all.len);
    buf_free(&header);
    buf_free(&data);
    buf_free(&all);
}

/* ---- a model --------------------------------------------------------------------------------- */

#define LAYER(n)                                                                                   \
    {"model.layers." n ".input_layernorm.weight", "F32", {32}, NULL},                              \
        {"model.layers." n ".self_attn.q_proj.weight", "F32", {32, 32}, NULL},                     \
        {"model.layers." n ".self_attn.k_proj.weight", "F32", {16, 32}, NULL},                     \
        {"model.layers." n ".self_attn.v_proj.weight", "F32", {16, 32}, NULL},                     \
        {"model.layers." n ".self_attn.o_proj.weight", "F32", {32, 32}, NULL},                     \
        {"model.layers." n ".post_attention_layernorm.weight", "F32", {32}, NULL},                 \
        {"model.layers." n ".mlp.gate_proj.weight", "F32", {48, 32}, NULL},                        \
        {"model.layers." n ".mlp.up_proj.weight", "F32", {48, 32}, NULL},                          \
    {                                                                                              \
        "model.layers." n ".mlp.down_proj.weight", "F32", {32, 48}, NULL                           \
    }

static const struct stored llama[] = {
    {"lm_head.weight", "F32", {40, 32}, NULL},
    {"model.embed_tokens.weight", "F32", {40, 32}, NULL},
    LAYER("1"),
    LAYER("0"),
    {"model.norm.weight", "F32", {32}, NULL},
    {"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {4}, NULL},
};

const struct stored *files_llama(size_t *n)
{
    *n = sizeof llama / sizeof *llama;
    return llama;
}

void files_put_llama(const char *folder, const char *extra)
{
    struct buf config;
    size_t n;
    buf_init(&config, 1 << 20);
    buf_printf(&config,
               "{\"architectures\": [\"LlamaForCausalLM\"], %s \"vocab_size\": 40, "
               "\"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, "
               "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
               "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\"}",
               extra);
    files_put(folder, "config.json", config.data);
    buf_free(&config);
    const struct stored *list = files_llama(&n);
    files_put_tensors(folder, "model.safetensors", list, n);
}

void files_expect(const struct error *e, enum error_code code, const char *words)
{
    if (e->code != code || strstr(e->message, words) == NULL) {
        fail_msg("code %d, \"%s\"; expected %d, \"%s\"", e->code, e->message, code, words);
    }
    assert_true(utf8_valid(e->message, strlen(e->message), NULL));
    for (const char *c = e->message; *c; c++) {
        assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}
