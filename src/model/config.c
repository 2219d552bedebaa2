/* From GGUF keys to a struct model_config and back. The keys are those of the GGUF specification,
 * "Standardized key-value pairs", section "LLM". */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "model/arch.h"

enum { KEY_BYTES = 128 };

static const char *key_of(const struct model_arch *a, const char *rest, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "%s.%s", a->name, rest);
    return out;
}

static bool check_range(const char *what, uint64_t value, uint64_t least, uint64_t most,
                        struct error *e)
{
    if (value < least || value > most) {
        return error_set(e, ERROR_INPUT, "%s is %llu, and must be between %llu and %llu", what,
                         (unsigned long long)value, (unsigned long long)least,
                         (unsigned long long)most);
    }
    return true;
}

/* Written so that a NaN fails. */
static bool check_real(const char *what, double value, double least, double most, struct error *e)
{
    if (!(value >= least && value <= most)) {
        return error_set(e, ERROR_INPUT, "%s is %g, and must be between %g and %g", what, value,
                         least, most);
    }
    return true;
}

bool model_config_check(const struct model_config *c, struct error *e)
{
    if (!c->arch) {
        return error_set(e, ERROR_INPUT, "the configuration names no architecture");
    }
    if (!check_range("the number of layers (block_count)", c->n_layers, 1, MODEL_MAX_LAYERS, e) ||
        !check_range("the width (embedding_length)", c->n_embd, 1, MODEL_MAX_EMBD, e) ||
        !check_range("the number of heads (attention.head_count)", c->n_heads, 1, MODEL_MAX_HEADS,
                     e) ||
        !check_range("the number of key/value heads (attention.head_count_kv)", c->n_kv_heads, 1,
                     c->n_heads, e) ||
        !check_range("the head dimension (attention.key_length)", c->head_dim, 2, MODEL_MAX_EMBD,
                     e) ||
        !check_range("head_count times head dimension", (uint64_t)c->n_heads * c->head_dim, 2,
                     MODEL_MAX_EMBD, e) ||
        !check_range("the feed-forward width (feed_forward_length)", c->n_ff, 1, MODEL_MAX_FF, e) ||
        !check_range("the vocabulary size (vocab_size)", c->n_vocab, 1, MODEL_MAX_VOCAB, e) ||
        !check_range("the context length (context_length)", c->n_context, 1, MODEL_MAX_CONTEXT,
                     e) ||
        !check_range("the number of rotated dimensions (rope.dimension_count)", c->n_rot, 2,
                     c->head_dim, e)) {
        return false;
    }
    if (c->n_heads % c->n_kv_heads != 0) {
        return error_set(e, ERROR_INPUT,
                         "the number of heads, %u, is not a multiple of the number of key/value "
                         "heads (attention.head_count_kv), %u",
                         c->n_heads, c->n_kv_heads);
    }
    if (c->n_rot % 2 != 0) {
        return error_set(e, ERROR_INPUT,
                         "the number of rotated dimensions (rope.dimension_count) is %u, and must "
                         "be even",
                         c->n_rot);
    }
    return check_real("the norm's epsilon (attention.layer_norm_rms_epsilon)", c->norm_eps, 0, 1,
                      e) &&
           check_real("the rope base (rope.freq_base)", c->rope_base, 1, 1e30, e) &&
           check_real("the rope scale (rope.scaling.factor)", c->rope_scale, 1e-6, 1e6, e);
}

/* How much of a text from the file an error shows: at most 64 bytes of whole characters. */
static int shown_bytes(struct gguf_string s)
{
    size_t n = s.len > 64 ? 64 : s.len;
    return (int)(n - utf8_incomplete_tail(s.data, n));
}

static bool read_arch(const struct gguf *g, struct model_config *c, struct error *e)
{
    struct gguf_string name;
    if (!gguf_require_string(g, "general.architecture", &name, e)) {
        return false;
    }
    c->arch = model_arch_find(name.data, name.len);
    if (!c->arch) {
        char known[256];
        model_arch_list(known, sizeof known);
        int shown = shown_bytes(name);
        return error_set(e, ERROR_UNSUPPORTED,
                         "the architecture \"%.*s\" is not supported; supported: %s", shown,
                         name.data, known);
    }
    return true;
}

static bool read_refused(const struct gguf *g, const struct model_arch *a, struct error *e)
{
    char key[KEY_BYTES];
    for (const char *const *rest = a->refused_keys; *rest; rest++) {
        uint32_t value = 0;
        if (!gguf_get_u32(g, key_of(a, *rest, key), &value, e)) {
            return false;
        }
        if (value != 0) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "%s is %u: models of architecture \"%s\" are supported only without "
                             "this feature",
                             key, value, a->name);
        }
    }
    return true;
}

/* rope.scaling.{type,factor} and the older rope.scale_linear. A factor of 0 means none. */
static bool read_rope_scale(const struct gguf *g, struct model_config *c, struct error *e)
{
    char key[KEY_BYTES];
    struct gguf_string type = {"", 0};
    float factor = 0;
    if (!gguf_get_string(g, key_of(c->arch, "rope.scaling.type", key), &type, e)) {
        return false;
    }
    bool none = type.len == 4 && memcmp(type.data, "none", 4) == 0;
    bool linear = type.len == 0 || (type.len == 6 && memcmp(type.data, "linear", 6) == 0);
    if (!none && !linear) {
        int shown = shown_bytes(type);
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s is \"%.*s\": only \"none\" and \"linear\" are supported", key, shown,
                         type.data);
    }
    if (!gguf_get_f32(g, key_of(c->arch, "rope.scale_linear", key), &factor, e) ||
        !gguf_get_f32(g, key_of(c->arch, "rope.scaling.factor", key), &factor, e)) {
        return false;
    }
    c->rope_scale = none || factor == 0 ? 1 : factor;
    return true;
}

static bool read_heads(const struct gguf *g, struct model_config *c, struct error *e)
{
    const struct model_arch *a = c->arch;
    char key[KEY_BYTES];
    if (!gguf_require_u32(g, key_of(a, "attention.head_count", key), &c->n_heads, e)) {
        return false;
    }
    c->n_kv_heads = c->n_heads;
    if (!gguf_get_u32(g, key_of(a, "attention.head_count_kv", key), &c->n_kv_heads, e)) {
        return false;
    }
    c->head_dim = 0;
    if (!gguf_get_u32(g, key_of(a, "attention.key_length", key), &c->head_dim, e)) {
        return false;
    }
    if (c->head_dim == 0) {
        if (c->n_heads == 0 || c->n_embd % c->n_heads != 0) {
            return error_set(e, ERROR_INPUT,
                             "the width (embedding_length), %u, is not a multiple of the number of "
                             "heads (attention.head_count), %u, and attention.key_length is not "
                             "given",
                             c->n_embd, c->n_heads);
        }
        c->head_dim = c->n_embd / c->n_heads;
    }
    uint32_t value_length = c->head_dim;
    if (!gguf_get_u32(g, key_of(a, "attention.value_length", key), &value_length, e)) {
        return false;
    }
    if (value_length != c->head_dim) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s is %u and the key length is %u: only equal lengths are supported", key,
                         value_length, c->head_dim);
    }
    return true;
}

/* The key; without it the embedding's rows; without that (a vocabulary only) the token list. */
static bool read_vocab_size(const struct gguf *g, struct model_config *c, struct error *e)
{
    char key[KEY_BYTES];
    c->n_vocab = 0;
    if (!gguf_get_u32(g, key_of(c->arch, "vocab_size", key), &c->n_vocab, e)) {
        return false;
    }
    if (c->n_vocab == 0) {
        const struct gguf_tensor *t = gguf_tensor_find(g, "token_embd.weight");
        const struct gguf_value *v = gguf_value_find(g, "tokenizer.ggml.tokens");
        uint64_t n = t ? t->dims[1] : v && v->type == GGUF_ARRAY ? v->count : 0;
        c->n_vocab = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    }
    return true;
}

bool model_config_read(const struct gguf *g, struct model_config *out, struct error *e)
{
    struct model_config c = {.rope_base = 10000};
    char key[KEY_BYTES];
    if (!read_arch(g, &c, e) || !read_refused(g, c.arch, e) ||
        !gguf_require_u32(g, key_of(c.arch, "block_count", key), &c.n_layers, e) ||
        !gguf_require_u32(g, key_of(c.arch, "embedding_length", key), &c.n_embd, e) ||
        !gguf_require_u32(g, key_of(c.arch, "feed_forward_length", key), &c.n_ff, e) ||
        !gguf_require_u32(g, key_of(c.arch, "context_length", key), &c.n_context, e) ||
        !read_heads(g, &c, e)) {
        return false;
    }
    key_of(c.arch, "attention.layer_norm_rms_epsilon", key);
    if (!gguf_value_find(g, key)) {
        return error_set(e, ERROR_INPUT, "the key %s is missing", key);
    }
    c.n_rot = c.head_dim;
    if (!gguf_get_f32(g, key, &c.norm_eps, e) ||
        !gguf_get_u32(g, key_of(c.arch, "rope.dimension_count", key), &c.n_rot, e) ||
        !gguf_get_f32(g, key_of(c.arch, "rope.freq_base", key), &c.rope_base, e) ||
        !read_rope_scale(g, &c, e) || !read_vocab_size(g, &c, e)) {
        return false;
    }
    c.tied_head = !gguf_tensor_find(g, "output.weight");
    if (!model_config_check(&c, e)) {
        return false;
    }
    *out = c;
    return true;
}

void model_config_write(const struct model_config *c, struct gguf_writer *w)
{
    const struct model_arch *a = c->arch;
    char key[KEY_BYTES];
    gguf_writer_string(w, "general.architecture", a->name, strlen(a->name));
    gguf_writer_u32(w, key_of(a, "vocab_size", key), c->n_vocab);
    gguf_writer_u32(w, key_of(a, "context_length", key), c->n_context);
    gguf_writer_u32(w, key_of(a, "embedding_length", key), c->n_embd);
    gguf_writer_u32(w, key_of(a, "block_count", key), c->n_layers);
    gguf_writer_u32(w, key_of(a, "feed_forward_length", key), c->n_ff);
    gguf_writer_u32(w, key_of(a, "attention.head_count", key), c->n_heads);
    gguf_writer_u32(w, key_of(a, "attention.head_count_kv", key), c->n_kv_heads);
    if ((uint64_t)c->head_dim * c->n_heads != c->n_embd) {
        gguf_writer_u32(w, key_of(a, "attention.key_length", key), c->head_dim);
        gguf_writer_u32(w, key_of(a, "attention.value_length", key), c->head_dim);
    }
    gguf_writer_f32(w, key_of(a, "attention.layer_norm_rms_epsilon", key), c->norm_eps);
    gguf_writer_u32(w, key_of(a, "rope.dimension_count", key), c->n_rot);
    gguf_writer_f32(w, key_of(a, "rope.freq_base", key), c->rope_base);
    if (c->rope_scale != 1) {
        gguf_writer_string(w, key_of(a, "rope.scaling.type", key), "linear", 6);
        gguf_writer_f32(w, key_of(a, "rope.scaling.factor", key), c->rope_scale);
    }
}

uint64_t model_config_parameters(const struct model_config *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < c->arch->n_tensors; i++) {
        const struct arch_tensor *t = &c->arch->tensors[i];
        bool counted = t->need == ARCH_REQUIRED || (t->need == ARCH_OR_EMBEDDING && !c->tied_head);
        if (counted) {
            uint64_t n = arch_dim_value(c, t->n_in) * arch_dim_value(c, t->n_rows);
            sum += t->per_layer ? n * c->n_layers : n;
        }
    }
    return sum;
}
