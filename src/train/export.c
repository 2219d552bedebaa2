#include "train/export.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "quant/quant.h"
#include "train/net.h"

static void put_text(struct gguf_writer *w, const char *key, const char *value)
{
    if (value) {
        gguf_writer_string(w, key, value, strlen(value));
    }
}

bool train_export(const struct train_config *c, const struct model_config *shape,
                  const struct tokenizer_spec *vocabulary, const char *chat_template,
                  const float *weights, const char *path, struct error *e)
{
    const struct quant_format *f = quant_format_by_name(c->output_type);
    struct gguf_writer *w = gguf_writer_new();
    put_text(w, "general.architecture", model_arch_name(shape->arch));
    put_text(w, "general.name", c->name);
    put_text(w, "general.description", c->description);
    put_text(w, "general.license", c->license);
    put_text(w, "general.author", c->author);
    static const struct {
        uint32_t type, file_type; /* general.file_type: what most of the file is */
    } kinds[] = {
        {TENSOR_F32, 0}, {TENSOR_F16, 1}, {TENSOR_Q4_0, 2}, {TENSOR_Q8_0, 7}, {TENSOR_BF16, 32}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].type == f->type) {
            gguf_writer_u32(w, "general.file_type", kinds[i].file_type);
        }
    }
    gguf_writer_u32(w, "general.quantization_version", 2);
    if (c->temperature >= 0) {
        gguf_writer_f32(w, "general.sampling.temp", c->temperature);
    }
    model_config_write(shape, w);
    tokenizer_spec_write(vocabulary, w);
    put_text(w, "tokenizer.chat_template", chat_template);

    size_t total, n = net_tensors(shape, NULL, 0, &total);
    struct net_tensor *list = mem_array(n, sizeof *list);
    void **data = mem_array(n, sizeof *data);
    net_tensors(shape, list, n, &total);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const struct net_tensor *t = &list[i];
        const struct quant_format *format =
            t->rows == 1 ? quant_format_by_type(TENSOR_F32) : f; /* norms stay f32 */
        uint64_t row_bytes, dims[2] = {t->columns, t->rows};
        ok = quant_row_bytes(format, t->columns, &row_bytes);
        if (!ok) {
            error_set(e, ERROR_UNSUPPORTED, "%s has rows of %zu, which %s cannot hold", t->name,
                      t->columns, format->name);
            break;
        }
        data[i] = mem_alloc(row_bytes * t->rows);
        for (size_t r = 0; r < t->rows; r++) {
            format->quantize(weights + t->offset + r * t->columns, (char *)data[i] + r * row_bytes,
                             t->columns);
        }
        ok = gguf_writer_tensor(w, t->name, format->type, t->rows == 1 ? 1 : 2, dims, data[i], e);
    }
    ok = ok && gguf_writer_commit(w, path, e);
    for (size_t i = 0; i < n; i++) {
        free(data[i]);
    }
    free(data);
    free(list);
    gguf_writer_free(w);
    return ok;
}
