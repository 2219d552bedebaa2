#include "engine_models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_model.h"

static void add_vocabulary(struct gguf_writer *w, const struct engine_model *m)
{
    static struct gguf_string tokens[N_TOKENS];
    static float scores[N_TOKENS];
    static int32_t types[N_TOKENS];
    static char bytes[256][8];
    static const char *const words[] = {[ONCE - ONCE] = "\xE2\x96\x81Once",
                                        [UPON - ONCE] = "\xE2\x96\x81upon",
                                        [HEY - ONCE] = "Hey",
                                        [STO - ONCE] = "<sto",
                                        [P_AND - ONCE] = "p> and",
                                        [IM_START - ONCE] = "<|im_start|>",
                                        [IM_END - ONCE] = "<|im_end|>"};
    for (int i = 0; i < N_TOKENS; i++) {
        const char *text = i == UNKNOWN ? "<unk>" : i == BOS ? "<s>" : "</s>";
        types[i] = i == UNKNOWN ? TOKEN_UNKNOWN : TOKEN_CONTROL;
        if (i >= FIRST_BYTE && i < ONCE) {
            snprintf(bytes[i - FIRST_BYTE], 8, "<0x%02X>", i - FIRST_BYTE);
            text = bytes[i - FIRST_BYTE];
            types[i] = TOKEN_BYTE;
        } else if (i >= ONCE) {
            text = words[i - ONCE];
            types[i] = i >= IM_START ? TOKEN_CONTROL : TOKEN_NORMAL;
        }
        if (m->no_chatml && i >= IM_START) {
            text = i == IM_START ? "[A]" : "[B]";
        }
        tokens[i] = (struct gguf_string){text, strlen(text)};
        scores[i] = -(float)i;
    }
    struct tokenizer_spec *spec = tokenizer_spec_new();
    spec->model = "llama";
    spec->n_tokens = N_TOKENS;
    spec->tokens = tokens;
    spec->scores = scores;
    spec->types = types;
    spec->roles[ROLE_BOS] = BOS;
    spec->roles[ROLE_EOS] = END;
    spec->roles[ROLE_UNKNOWN] = UNKNOWN;
    spec->add_bos = true;
    spec->add_space_prefix = true;
    tokenizer_spec_write(spec, w);
    tokenizer_spec_free(spec);
    if (m->chat_template) {
        gguf_writer_string(w, "tokenizer.chat_template", m->chat_template,
                           strlen(m->chat_template));
    }
}

static void add_matrix(struct gguf_writer *w, const char *name, uint64_t n_in, uint64_t n_rows,
                       const float *data)
{
    uint64_t dims[2] = {n_in, n_rows};
    assert_true(gguf_writer_tensor(w, name, TENSOR_F32, n_rows ? 2 : 1, dims, data, NULL));
}

/* Embeddings are unit vectors, the one layer adds nothing, and row b of the head looks for the
 * embedding of the token before b. */
static void add_script(struct gguf_writer *w, const struct engine_model *m, struct arena *a)
{
    float *zeros = arena_alloc(a, N_ROWS * 2 * sizeof *zeros);
    float *ones = arena_alloc(a, N_ROWS * sizeof *ones);
    float *embedding = arena_alloc(a, N_ROWS * N_ROWS * sizeof *embedding);
    float *head = arena_alloc(a, N_ROWS * N_ROWS * sizeof *head);
    for (size_t i = 0; i < N_ROWS; i++) {
        size_t next = END;
        for (size_t j = 0; j + 1 < m->n_script; j++) {
            next = (size_t)m->script[j] == i ? (size_t)m->script[j + 1] : next;
        }
        ones[i] = 1;
        embedding[i * N_ROWS + i] = 1;
        head[next * N_ROWS + i] = 1;
    }
    add_matrix(w, "token_embd.weight", N_ROWS, N_ROWS, embedding);
    add_matrix(w, "blk.0.attn_norm.weight", N_ROWS, 0, ones);
    add_matrix(w, "blk.0.attn_q.weight", N_ROWS, 2, zeros);
    add_matrix(w, "blk.0.attn_k.weight", N_ROWS, 2, zeros);
    add_matrix(w, "blk.0.attn_v.weight", N_ROWS, 2, zeros);
    add_matrix(w, "blk.0.attn_output.weight", 2, N_ROWS, zeros);
    add_matrix(w, "blk.0.ffn_norm.weight", N_ROWS, 0, ones);
    add_matrix(w, "blk.0.ffn_gate.weight", N_ROWS, 1, zeros);
    add_matrix(w, "blk.0.ffn_up.weight", N_ROWS, 1, zeros);
    add_matrix(w, "blk.0.ffn_down.weight", 1, N_ROWS, zeros);
    add_matrix(w, "output_norm.weight", N_ROWS, 0, ones);
    add_matrix(w, "output.weight", N_ROWS, N_ROWS, head);
}

void engine_model_save(const struct engine_model *m, char path[4096])
{
    struct arena *a = arena_new();
    struct gguf_writer *w;
    uint32_t n_context = m->n_context ? m->n_context : 64;
    if (m->script || m->no_weights) {
        struct model_config c = {.arch = model_arch_find("llama", 5),
                                 .n_layers = 1,
                                 .n_embd = N_ROWS,
                                 .n_heads = 1,
                                 .n_kv_heads = 1,
                                 .head_dim = 2,
                                 .n_ff = 1,
                                 .n_vocab = N_ROWS,
                                 .n_context = n_context,
                                 .n_rot = 2,
                                 .rope_base = 10000,
                                 .rope_scale = 1,
                                 .norm_eps = 1e-5f};
        w = gguf_writer_new();
        model_config_write(&c, w);
        if (m->script) {
            add_script(w, m, a);
        }
    } else {
        struct tiny t = tiny_odd(TENSOR_F32);
        t.n_vocab = m->too_small ? 100 : N_ROWS;
        t.n_context = n_context;
        w = tiny_writer(&t, a);
    }
    add_vocabulary(w, m);
    tiny_save(w, path);
    arena_free(a);
}

static struct engine *open_and_remove(const char *path, const struct engine_options *o)
{
    struct error e = {0};
    struct engine *en = engine_open(path, o, &e);
    unlink(path);
    if (!en) {
        fail_msg("%s", e.message);
    }
    return en;
}

struct engine *engine_model_open(const struct engine_model *m, const struct engine_options *o)
{
    char path[4096];
    engine_model_save(m, path);
    return open_and_remove(path, o);
}

void engine_model_vocabulary(struct gguf_writer *w)
{
    add_vocabulary(w, &(struct engine_model){0});
}

struct engine *engine_model_from(struct gguf_writer *w, const struct engine_options *o)
{
    char path[4096];
    engine_model_vocabulary(w);
    tiny_save(w, path);
    return open_and_remove(path, o);
}

struct engine *engine_model_even(uint32_t n_context, int n_threads)
{
    struct arena *a = arena_new();
    struct tiny t = tiny_even(TENSOR_F32);
    t.head_dim = t.n_rot = 32;
    t.n_vocab = N_ROWS;
    t.n_context = n_context;
    struct engine *en =
        engine_model_from(tiny_writer(&t, a), &(struct engine_options){.n_threads = n_threads});
    arena_free(a);
    return en;
}
