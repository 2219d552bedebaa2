#include "cli/import_llama2c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "gguf/gguf.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

enum {
    HEADER_BYTES = 28,
    FIRST_BYTE_TOKEN = 3,
    N_BYTE_TOKENS = 256,
    MAX_PIECE_BYTES = 1 << 16,
    MAGIC_LATER_VERSIONS = 0x616b3432,
};

struct reader {
    const uint8_t *data;
    uint64_t size_bytes, at;
};

/* The next n bytes, or NULL when the file ends before. */
static const uint8_t *take(struct reader *r, uint64_t n)
{
    if (n > r->size_bytes - r->at) {
        return NULL;
    }
    const uint8_t *p = r->data + r->at;
    r->at += n;
    return p;
}

static int32_t read_i32(const uint8_t *p)
{
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                     (uint32_t)p[3] << 24);
}

static float read_f32(const uint8_t *p)
{
    int32_t bits = read_i32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool read_header(struct reader *r, struct model_config *c, struct error *e)
{
    static const char *const names[] = {"dim",        "hidden_dim", "n_layers", "n_heads",
                                        "n_kv_heads", "vocab_size", "seq_len"};
    const uint8_t *p = take(r, HEADER_BYTES);
    if (!p) {
        return error_set(e, ERROR_INPUT,
                         "it is too short for a llama2.c checkpoint, which begins with 28 bytes of "
                         "sizes");
    }
    int64_t v[7];
    for (size_t i = 0; i < 7; i++) {
        v[i] = read_i32(p + 4 * i);
    }
    if (v[0] == MAGIC_LATER_VERSIONS) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "it is a llama2.c checkpoint of a later version; export the model with "
                         "version 0");
    }
    bool tied = v[5] > 0;
    v[5] = v[5] < 0 ? -v[5] : v[5];
    for (size_t i = 0; i < 7; i++) {
        if (v[i] <= 0) {
            return error_set_at(e, ERROR_INPUT, 4 * i,
                                "%s is %lld, so it is no llama2.c checkpoint", names[i],
                                (long long)v[i]);
        }
    }
    if (v[0] % v[3] != 0) {
        return error_set(e, ERROR_INPUT, "dim %lld is no multiple of n_heads %lld", (long long)v[0],
                         (long long)v[3]);
    }
    *c = (struct model_config){
        .arch = model_arch_find("llama", 5),
        .n_embd = (uint32_t)v[0],
        .n_ff = (uint32_t)v[1],
        .n_layers = (uint32_t)v[2],
        .n_heads = (uint32_t)v[3],
        .n_kv_heads = (uint32_t)v[4],
        .n_vocab = (uint32_t)v[5],
        .n_context = (uint32_t)v[6],
        .head_dim = (uint32_t)(v[0] / v[3]),
        .n_rot = (uint32_t)(v[0] / v[3]),
        .rope_base = 10000.0f,
        .rope_scale = 1.0f,
        .norm_eps = 1e-5f,
        .tied_head = tied,
    };
    return model_config_check(c, e);
}

/* One kind of tensor of the checkpoint, in the order of the file. */
struct part {
    const char *format;   /* of the GGUF name; %u is the layer */
    uint64_t n_copies;    /* layers, or 1 */
    uint64_t n_rows, row; /* n_rows 1: a norm */
    bool skip;            /* not needed */
    const uint8_t *data;
};

enum { MAX_PARTS = 14 };

static size_t list_parts(const struct model_config *c, struct part parts[MAX_PARTS])
{
    uint64_t d = c->n_embd, f = c->n_ff, layers = c->n_layers;
    uint64_t kv = (uint64_t)c->n_kv_heads * c->head_dim;
    size_t n = 0;
    parts[n++] = (struct part){"token_embd.weight", 1, c->n_vocab, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.attn_norm.weight", layers, 1, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.attn_q.weight", layers, d, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.attn_k.weight", layers, kv, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.attn_v.weight", layers, kv, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.attn_output.weight", layers, d, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.ffn_norm.weight", layers, 1, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.ffn_gate.weight", layers, f, d, false, NULL};
    parts[n++] = (struct part){"blk.%u.ffn_down.weight", layers, d, f, false, NULL};
    parts[n++] = (struct part){"blk.%u.ffn_up.weight", layers, f, d, false, NULL};
    parts[n++] = (struct part){"output_norm.weight", 1, 1, d, false, NULL};
    parts[n++] = (struct part){"angles", 2, c->n_context, c->head_dim / 2, true, NULL};
    if (!c->tied_head) {
        parts[n++] = (struct part){"output.weight", 1, c->n_vocab, d, false, NULL};
    }
    return n;
}

/* Finds every part in the file; the sizes of the header must give the file's size to the byte. */
static bool place_parts(struct reader *r, struct part *parts, size_t n, struct error *e)
{
    uint64_t total = r->at;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes;
        if (!checked_mul_u64(parts[i].n_rows, parts[i].row, &bytes) ||
            !checked_mul_u64(bytes, parts[i].n_copies, &bytes) ||
            !checked_mul_u64(bytes, sizeof(float), &bytes) ||
            !checked_add_u64(total, bytes, &total)) {
            return error_set(e, ERROR_INPUT, "the sizes in its header are too large to be true");
        }
        parts[i].data = take(r, bytes);
    }
    if (total != r->size_bytes) {
        return error_set(e, ERROR_INPUT,
                         "the sizes in its header ask for %llu bytes, but it has %llu; it is cut "
                         "off or no llama2.c checkpoint of version 0",
                         (unsigned long long)total, (unsigned long long)r->size_bytes);
    }
    return true;
}

/* The special spellings and spaces of llama2.c's tokenizer as GGUF writes them. */
static struct gguf_string piece_spelling(struct arena *arena, int32_t id, const uint8_t *piece,
                                         size_t n)
{
    if (id == 1 || id == 2) {
        const char *spelling = id == 1 ? "<s>" : "</s>";
        return (struct gguf_string){spelling, strlen(spelling)};
    }
    char *out = arena_alloc(arena, 3 * n + 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (piece[i] == ' ') {
            memcpy(out + at, "\xE2\x96\x81", 3); /* U+2581 */
            at += 3;
        } else {
            out[at++] = (char)piece[i];
        }
    }
    return (struct gguf_string){out, at};
}

static int32_t piece_type(int32_t id, const struct gguf_string *spelling)
{
    if (id < FIRST_BYTE_TOKEN) {
        return id == 0 ? TOKEN_UNKNOWN : TOKEN_CONTROL;
    }
    char byte[8];
    snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(id - FIRST_BYTE_TOKEN) & 0xFF);
    bool is_byte = id < FIRST_BYTE_TOKEN + N_BYTE_TOKENS && spelling->len == 6 &&
                   memcmp(spelling->data, byte, 6) == 0;
    return is_byte ? TOKEN_BYTE : TOKEN_NORMAL;
}

static bool read_pieces(struct reader *r, struct tokenizer_spec *spec, struct error *e)
{
    const uint8_t *p = take(r, 4);
    int32_t longest = p ? read_i32(p) : 0;
    if (longest <= 0 || longest > MAX_PIECE_BYTES) {
        return error_set(e, ERROR_INPUT,
                         "it does not begin with the length of its longest token, "
                         "so it is no llama2.c tokenizer");
    }
    for (size_t i = 0; i < spec->n_tokens; i++) {
        uint64_t start = r->at;
        p = take(r, 8);
        int32_t n = p ? read_i32(p + 4) : 0;
        const uint8_t *piece = p && n >= 0 && n <= MAX_PIECE_BYTES ? take(r, (uint64_t)n) : NULL;
        if (!piece) {
            return error_set_at(e, ERROR_INPUT, start,
                                "it ends or is damaged at token %zu; the checkpoint has %zu", i,
                                spec->n_tokens);
        }
        if (!utf8_valid((const char *)piece, (size_t)n, NULL)) {
            return error_set_at(e, ERROR_INPUT, start, "token %zu is no valid UTF-8", i);
        }
        spec->scores[i] = read_f32(p);
        spec->tokens[i] = piece_spelling(spec->arena, (int32_t)i, piece, (size_t)n);
        spec->types[i] = piece_type((int32_t)i, &spec->tokens[i]);
    }
    if (r->at != r->size_bytes) {
        return error_set_at(e, ERROR_INPUT, r->at,
                            "it has more tokens than the %zu of the checkpoint", spec->n_tokens);
    }
    return true;
}

static bool add_tokenizer(const char *path, uint32_t n_vocab, struct gguf_writer *w,
                          struct error *e)
{
    struct file_map map;
    if (!file_map_open(path, &map, e)) {
        return false;
    }
    struct reader r = {map.data, map.size_bytes, 0};
    struct tokenizer_spec *spec = tokenizer_spec_new();
    spec->model = "llama";
    spec->n_tokens = n_vocab;
    spec->roles[ROLE_UNKNOWN] = 0;
    spec->roles[ROLE_BOS] = 1;
    spec->roles[ROLE_EOS] = 2;
    spec->add_bos = true;
    spec->add_space_prefix = true;
    bool ok = n_vocab > 2 && (uint64_t)n_vocab * 8 <= map.size_bytes;
    if (!ok) {
        error_set(e, ERROR_INPUT, "it has fewer tokens than the %u of the checkpoint", n_vocab);
    } else {
        spec->tokens = arena_alloc(spec->arena, n_vocab * sizeof *spec->tokens);
        spec->scores = arena_alloc(spec->arena, n_vocab * sizeof *spec->scores);
        spec->types = arena_alloc(spec->arena, n_vocab * sizeof *spec->types);
        ok = read_pieces(&r, spec, e);
    }
    struct tokenizer *check = ok ? tokenizer_new(spec, e) : NULL;
    if (check) {
        tokenizer_spec_write(spec, w);
    } else {
        ok = error_prefix(e, "%s: ", path);
    }
    tokenizer_free(check);
    tokenizer_spec_free(spec);
    file_map_close(&map);
    return ok;
}

/* Converted tensors, kept until the writer has written them. */
struct conversion {
    struct gguf_writer *writer;
    void **blocks;
    size_t n_blocks;
    struct import_result *result;
};

static bool add_tensor(struct conversion *v, const struct part *part, uint64_t copy,
                       const struct quant_format *format, struct error *e)
{
    char name[64];
    uint64_t dims[2] = {part->row, part->n_rows};
    uint32_t n_dims = part->n_rows == 1 ? 1 : 2;
    const char *layer = strstr(part->format, "%u");
    if (layer) {
        snprintf(name, sizeof name, "%.*s%llu%s", (int)(layer - part->format), part->format,
                 (unsigned long long)copy, layer + 2);
    } else {
        snprintf(name, sizeof name, "%s", part->format);
    }
    const uint8_t *source = part->data + copy * part->n_rows * part->row * sizeof(float);
    uint64_t row_bytes = part->row * sizeof(float);
    const void *data = source;
    if (format->type != TENSOR_F32) {
        if (!quant_row_bytes(format, part->row, &row_bytes)) {
            return error_set(e, ERROR_INPUT, "%s: a row of %llu values does not fit %s", name,
                             (unsigned long long)part->row, format->name);
        }
        uint8_t *blocks = mem_try_alloc(row_bytes * part->n_rows);
        if (!blocks) {
            return error_set(e, ERROR_MEMORY, "no memory for the %llu bytes of %s",
                             (unsigned long long)(row_bytes * part->n_rows), name);
        }
        v->blocks[v->n_blocks++] = blocks;
        for (uint64_t i = 0; i < part->n_rows; i++) {
            /* The header has 28 bytes, so that every value lies on a multiple of four. */
            format->quantize((const float *)(const void *)(source + i * part->row * sizeof(float)),
                             blocks + i * row_bytes, part->row);
        }
        data = blocks;
    }
    v->result->n_tensors++;
    v->result->n_parameters += part->n_rows * part->row;
    v->result->size_bytes += row_bytes * part->n_rows;
    return gguf_writer_tensor(v->writer, name, format->type, n_dims, dims, data, e);
}

static const struct quant_format *format_for(struct conversion *v, const struct part *part,
                                             const struct quant_format *wanted)
{
    uint64_t bytes;
    if (part->n_rows == 1) {
        return quant_format_by_type(TENSOR_F32);
    }
    if (quant_row_bytes(wanted, part->row, &bytes)) {
        return wanted;
    }
    v->result->fallback = quant_format_by_type(TENSOR_F16);
    v->result->n_fallbacks += part->n_copies;
    return v->result->fallback;
}

static bool add_parts(struct conversion *v, const struct part *parts, size_t n,
                      const struct quant_format *wanted, struct error *e)
{
    struct progress progress;
    uint64_t all = 0, done = 0;
    for (size_t i = 0; i < n; i++) {
        all += parts[i].n_copies;
    }
    v->blocks = mem_array(all, sizeof *v->blocks);
    progress_begin(&progress, "converting", all);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        if (parts[i].skip) {
            continue;
        }
        const struct quant_format *format = format_for(v, &parts[i], wanted);
        for (uint64_t copy = 0; ok && copy < parts[i].n_copies; copy++) {
            ok = add_tensor(v, &parts[i], copy, format, e);
            progress_update(&progress, ++done, parts[i].format);
        }
    }
    progress_end(&progress);
    return ok;
}

bool import_llama2c(const char *checkpoint, const char *tokenizer, const char *name,
                    const struct quant_format *format, const char *output,
                    struct import_result *result, struct error *e)
{
    *result = (struct import_result){0};
    struct file_map map;
    if (!file_map_open(checkpoint, &map, e)) {
        return false;
    }
    struct reader r = {map.data, map.size_bytes, 0};
    struct model_config config = {0};
    struct part parts[MAX_PARTS];
    size_t n = 0;
    struct conversion v = {.writer = gguf_writer_new(), .result = result};
    bool ok = read_header(&r, &config, e);
    if (ok) {
        n = list_parts(&config, parts);
        ok = place_parts(&r, parts, n, e);
    }
    if (!ok) {
        error_prefix(e, "%s: ", checkpoint);
    } else {
        model_config_write(&config, v.writer);
        gguf_writer_string(v.writer, "general.name", name, strlen(name));
        uint32_t file_type;
        if (gguf_file_type(format->type, &file_type)) {
            gguf_writer_u32(v.writer, "general.file_type", file_type);
        }
        ok = add_tokenizer(tokenizer, config.n_vocab, v.writer, e) &&
             add_parts(&v, parts, n, format, e) && gguf_writer_commit(v.writer, output, e);
    }
    gguf_writer_free(v.writer);
    for (size_t i = 0; i < v.n_blocks; i++) {
        free(v.blocks[i]);
    }
    free(v.blocks);
    file_map_close(&map);
    return ok;
}
