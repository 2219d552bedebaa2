#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct tiny tiny_odd(uint32_t type)
{
    return (struct tiny){.n_layers = 3,
                         .n_embd = 35,
                         .n_heads = 6,
                         .n_kv_heads = 2,
                         .head_dim = 10,
                         .n_ff = 53,
                         .n_vocab = 97,
                         .n_rot = 6,
                         .n_context = 64,
                         .type = type,
                         .norm_type = TENSOR_F32,
                         .rope_scale = 1,
                         .seed = 7};
}

struct tiny tiny_even(uint32_t type)
{
    struct tiny t = tiny_odd(type);
    t.n_embd = 64;
    t.n_heads = 4;
    t.head_dim = 16;
    t.n_rot = 16;
    t.n_ff = 96;
    return t;
}

static void add(struct gguf_writer *w, const struct tiny *t, struct arena *a, const char *name,
                uint32_t type, uint64_t n_in, uint64_t n_rows, float mean, float spread)
{
    if (t->omit && strcmp(t->omit, name) == 0) {
        return;
    }
    if (t->misshape && strcmp(t->misshape, name) == 0) {
        n_in += n_rows == 0;
        n_rows += n_rows != 0;
    }
    uint32_t n_dims = n_rows == 0 ? 1 : 2;
    uint64_t rows = n_rows == 0 ? 1 : n_rows, row_bytes = 0;
    const struct quant_format *f = quant_format_by_type(type);
    assert_true(quant_row_bytes(f, n_in, &row_bytes));
    uint64_t salt = 0;
    for (const char *c = name; *c; c++) {
        salt = salt * 131 + (unsigned char)*c;
    }
    struct rng r;
    rng_seed(&r, t->seed + salt);
    bool poisoned = t->poison && strcmp(t->poison, name) == 0;
    float *x = mem_array(n_in, sizeof *x);
    char *data = arena_alloc(a, rows * row_bytes);
    for (uint64_t row = 0; row < rows; row++) {
        for (uint64_t i = 0; i < n_in; i++) {
            x[i] = poisoned ? NAN : mean + spread * (float)rng_normal(&r);
        }
        f->quantize(x, data + row * row_bytes, n_in);
    }
    free(x);
    uint64_t dims[2] = {n_in, n_rows};
    struct error e = {0};
    if (!gguf_writer_tensor(w, name, type, n_dims, dims, data, &e)) {
        fail_msg("%s", e.message);
    }
}

static void add_tensors(struct gguf_writer *w, const struct tiny *t, struct arena *a)
{
    uint32_t n_q = t->n_heads * t->head_dim, n_kv = t->n_kv_heads * t->head_dim;
    float by_embd = 1.0f / sqrtf((float)t->n_embd), by_q = 1.0f / sqrtf((float)n_q);
    float by_ff = 1.0f / sqrtf((float)t->n_ff);
    add(w, t, a, "token_embd.weight", t->type, t->n_embd, t->n_vocab, 0, 1);
    for (uint32_t l = 0; l < t->n_layers; l++) {
        char n[64];
#define NAME(part) (snprintf(n, sizeof n, "blk.%u." part ".weight", l), n)
        add(w, t, a, NAME("attn_norm"), t->norm_type, t->n_embd, 0, 1, 0.1f);
        add(w, t, a, NAME("attn_q"), t->type, t->n_embd, n_q, 0, 2 * by_embd);
        add(w, t, a, NAME("attn_k"), t->type, t->n_embd, n_kv, 0, 2 * by_embd);
        add(w, t, a, NAME("attn_v"), t->type, t->n_embd, n_kv, 0, by_embd);
        add(w, t, a, NAME("attn_output"), t->type, n_q, t->n_embd, 0, by_q);
        add(w, t, a, NAME("ffn_norm"), t->norm_type, t->n_embd, 0, 1, 0.1f);
        add(w, t, a, NAME("ffn_gate"), t->type, t->n_embd, t->n_ff, 0, by_embd);
        add(w, t, a, NAME("ffn_up"), t->type, t->n_embd, t->n_ff, 0, by_embd);
        add(w, t, a, NAME("ffn_down"), t->type, t->n_ff, t->n_embd, 0, by_ff);
#undef NAME
    }
    add(w, t, a, "output_norm.weight", t->norm_type, t->n_embd, 0, 1, 0.1f);
    if (!t->tied) {
        add(w, t, a, "output.weight", t->type, t->n_embd, t->n_vocab, 0, by_embd);
    }
    if (t->divisors) {
        add(w, t, a, "rope_freqs.weight", TENSOR_F32, t->n_rot / 2, 0, 3, 0.5f);
    }
    if (t->extra) {
        add(w, t, a, t->extra, TENSOR_F32, t->n_embd, 0, 0, 1);
    }
}

struct gguf_writer *tiny_writer(const struct tiny *t, struct arena *a)
{
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_u32(w, "llama.context_length", t->n_context);
    gguf_writer_u32(w, "llama.embedding_length", t->n_embd);
    gguf_writer_u32(w, "llama.block_count", t->n_layers);
    gguf_writer_u32(w, "llama.feed_forward_length", t->n_ff);
    gguf_writer_u32(w, "llama.attention.head_count", t->n_heads);
    gguf_writer_u32(w, "llama.attention.head_count_kv", t->n_kv_heads);
    gguf_writer_u32(w, "llama.attention.key_length", t->head_dim);
    gguf_writer_u32(w, "llama.rope.dimension_count", t->n_rot);
    gguf_writer_u32(w, "llama.vocab_size", t->n_vocab);
    gguf_writer_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_writer_f32(w, "llama.rope.freq_base", 5000);
    if (t->rope_scale != 1) {
        gguf_writer_string(w, "llama.rope.scaling.type", "linear", 6);
        gguf_writer_f32(w, "llama.rope.scaling.factor", t->rope_scale);
    }
    add_tensors(w, t, a);
    return w;
}

void tiny_save(struct gguf_writer *w, char path[4096])
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, 4096, "%s/lllm-test-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct error e = {0};
    if (!gguf_writer_commit(w, path, &e)) {
        fail_msg("%s", e.message);
    }
    gguf_writer_free(w);
}

struct gguf *tiny_open(struct gguf_writer *w)
{
    char path[4096];
    struct error e = {0};
    tiny_save(w, path);
    struct gguf *g = gguf_open(path, &e);
    unlink(path);
    if (!g) {
        fail_msg("%s", e.message);
    }
    return g;
}

void tiny_in_memory(void)
{
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK | X_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 1);
    }
}
