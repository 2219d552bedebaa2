#include "hf/types.h"

#include <string.h>

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

/* What upstream has in F32 whatever the file's type: it is small, and its readers expect it. */
static bool always_f32(const struct planned *t)
{
    return t->n_dims <= 1 || !ends_with(t->name, ".weight") || ends_with(t->name, "_norm.weight") ||
           ends_with(t->name, "ffn_gate_inp.weight") ||
           ends_with(t->name, "ffn_gate_inp_shexp.weight") ||
           strcmp(t->name, "position_embd.weight") == 0 ||
           strcmp(t->name, "token_types.weight") == 0;
}

const struct quant_format *hf_type_for(const struct planned *t, const struct quant_format *wanted,
                                       bool *fell_back)
{
    *fell_back = false;
    if (!t->format->dequantize) {
        return t->format; /* numbers that are no weights */
    }
    if (t->format->block_elements > 1 && (!wanted || wanted->block_elements > 1)) {
        return t->format; /* blocks are widened, but not made into others */
    }
    if (always_f32(t)) {
        return quant_format_by_type(TENSOR_F32);
    }
    if (!wanted) {
        return t->format;
    }
    const struct quant_format *f = quant_fallback(wanted->type, t->dims[0]);
    *fell_back = f != wanted;
    return f;
}

void hf_tally_add(struct tally *t, const struct quant_format *format, uint64_t bytes)
{
    t->bytes[format->type % HF_TYPE_ROOM] += bytes;
}

const struct quant_format *hf_tally_largest(const struct tally *t)
{
    uint32_t best = TENSOR_F32;
    for (uint32_t i = 0; i < HF_TYPE_ROOM; i++) {
        best = t->bytes[i] > t->bytes[best] ? i : best;
    }
    return quant_format_by_type(best);
}

void hf_tally_write(const struct tally *t, struct gguf_writer *w)
{
    uint32_t file_type;
    if (gguf_file_type(hf_tally_largest(t)->type, &file_type)) {
        gguf_writer_u32(w, "general.file_type", file_type);
    }
}
