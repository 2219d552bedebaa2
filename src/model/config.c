/* From GGUF keys to a struct model_config and back, by the table of config_keys.c. */
#include "model/model.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "model/arch.h"

enum { KEY_BYTES = 128, WORD_BYTES = 32 };

/* Features that no row computes: harmless when the value is 0 or the one given here. */
static const struct {
    const char *suffix;
    double harmless;
} refused[] = {
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.output_scale", 1},
    {"attention.q_lora_rank", 0},
    {"attention.kv_lora_rank", 0},
    {"attention.temperature_length", 0},
    {"attention.temperature_scale", 0},
    {"embedding_scale", 1},
    {"expert_gating_func", 1}, /* softmax */
    {"expert_group_count", 1},
    {"interleave_moe_layer_step", 1},
    {"leading_dense_block_count", 0},
    {"logit_scale", 1},
    {"moe_every_n_layers", 1},
    {"nextn_predict_layers", 0},
    {"residual_scale", 1},
    {"rope.scaling.yarn_attn_factor", 1},
    {"rope.scaling.yarn_ext_factor", 1},
    {"rope.scaling.yarn_log_multiplier", 0},
    {"router_logit_softcapping", 0},
};

static bool applies(const struct config_key *k, const struct model_arch *a)
{
    return (k->groups & (a->keys | ARCH_KEYS_COMMON)) != 0;
}

static const char *key_of(const struct model_arch *a, const char *rest, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "%s.%s", a->name, rest);
    return out;
}

static bool check_count(const char *what, const char *suffix, uint64_t value, uint64_t least,
                        uint64_t most, struct error *e)
{
    if (value < least || value > most) {
        return error_set(e, ERROR_INPUT, "%s (%s) is %llu, and must be between %llu and %llu", what,
                         suffix, (unsigned long long)value, (unsigned long long)least,
                         (unsigned long long)most);
    }
    return true;
}

/* The value at the key's place, whatever its type. */
static double value_of(const struct config_key *k, const struct model_config *c)
{
    const char *place = (const char *)c + k->place;
    uint32_t u = 0;
    float f = 0;
    bool b = false;
    switch (k->type) {
    case CONFIG_F32:
        memcpy(&f, place, sizeof f);
        return (double)f;
    case CONFIG_BOOL:
    case CONFIG_NOT:
        memcpy(&b, place, sizeof b);
        return b == (k->type == CONFIG_BOOL);
    default:
        memcpy(&u, place, sizeof u);
        return u;
    }
}

/* Written so that a NaN fails. */
static bool check_range(const struct config_key *k, const struct model_config *c, struct error *e)
{
    double value = value_of(k, c);
    if (k->type == CONFIG_BOOL || k->type == CONFIG_NOT || (k->zero && value == 0)) {
        return true;
    }
    if (k->type != CONFIG_F32) {
        return check_count(k->what, k->suffix, (uint64_t)value, (uint64_t)k->least,
                           (uint64_t)k->most, e);
    }
    /* The bounds as the file's f32 would have them: 1e-6 is within 1e-6. */
    if (!(value >= (double)(float)k->least && value <= (double)(float)k->most)) {
        return error_set(e, ERROR_INPUT, "%s (%s) is %g, and must be between %g and %g", k->what,
                         k->suffix, value, k->least, k->most);
    }
    return true;
}

static bool check_experts(const struct model_config *c, struct error *e)
{
    if (c->n_experts == 0) {
        return true;
    }
    return check_count("the number of experts per token", "expert_used_count", c->n_experts_used, 1,
                       c->n_experts, e) &&
           check_count("the feed-forward width of an expert", "expert_feed_forward_length",
                       c->n_ff_expert, 1, MODEL_MAX_FF, e);
}

static bool check_rope(const struct model_config *c, struct error *e)
{
    if (c->arch->rope == ARCH_ROPE_NONE) {
        return true;
    }
    if (!check_count("the number of rotated dimensions", "rope.dimension_count", c->n_rot, 2,
                     c->head_dim, e)) {
        return false;
    }
    if (c->n_rot % 2 != 0) {
        return error_set(e, ERROR_INPUT,
                         "the number of rotated dimensions (rope.dimension_count) is %u, and must "
                         "be even",
                         c->n_rot);
    }
    return true;
}

bool model_config_check(const struct model_config *c, struct error *e)
{
    if (!c->arch) {
        return error_set(e, ERROR_INPUT, "the configuration names no architecture");
    }
    for (size_t i = 0; config_key_at(i); i++) {
        if (applies(config_key_at(i), c->arch) && !check_range(config_key_at(i), c, e)) {
            return false;
        }
    }
    if (!check_count("the number of key/value heads", "attention.head_count_kv", c->n_kv_heads, 1,
                     c->n_heads, e) ||
        !check_count("head_count times head dimension", "attention.key_length",
                     (uint64_t)c->n_heads * c->head_dim, 2, MODEL_MAX_EMBD, e)) {
        return false;
    }
    if (c->n_heads % c->n_kv_heads != 0) {
        return error_set(e, ERROR_INPUT,
                         "the number of heads, %u, is not a multiple of the number of key/value "
                         "heads (attention.head_count_kv), %u",
                         c->n_heads, c->n_kv_heads);
    }
    if (c->bidirectional && c->window != 0) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "attention.sliding_window is %u in a model that is not causal: supported "
                         "is one or the other",
                         c->window);
    }
    return check_experts(c, e) && check_rope(c, e);
}

static bool read_arch(const struct gguf *g, struct model_config *c, struct error *e)
{
    struct gguf_string name;
    if (!gguf_require_string(g, "general.architecture", &name, e)) {
        return false;
    }
    const struct model_arch *a = model_arch_find(name.data, name.len);
    if (!a) {
        char known[256], shown[ARCH_SHOWN_BYTES];
        model_arch_list(known, sizeof known);
        return error_set(e, ERROR_UNSUPPORTED,
                         "the architecture \"%s\" is not supported; supported: %s",
                         arch_shown(name.data, name.len, shown), known);
    }
    *c = a->defaults;
    c->arch = a;
    return true;
}

static bool refuse(const struct model_arch *a, const char *key, double value, struct error *e)
{
    return error_set(e, ERROR_UNSUPPORTED,
                     "%s is %g: models of architecture \"%s\" are supported only without this "
                     "feature",
                     key, value, a->name);
}

/* Only numbers and bools count: what else a file keeps under such a name is not the feature. */
static bool check_refused(const struct gguf *g, const struct model_arch *a, struct error *e)
{
    char key[KEY_BYTES];
    double value;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct gguf_value *v = gguf_value_find(g, key_of(a, refused[i].suffix, key));
        if (v && gguf_value_as_f64(v, &value) && value != 0 && value != refused[i].harmless) {
            return refuse(a, key, value, e);
        }
    }
    for (size_t i = 0; config_key_at(i); i++) {
        const struct config_key *k = config_key_at(i);
        if (!k->refused || applies(k, a) || (k->groups & a->ignored)) {
            continue;
        }
        const struct gguf_value *v = gguf_value_find(g, key_of(a, k->suffix, key));
        if (v && gguf_value_as_f64(v, &value) && value != 0) {
            return refuse(a, key, value, e);
        }
    }
    return true;
}

/* A number, or an array of one for each layer where all are the same. */
static bool read_u32(const struct gguf *g, const struct config_key *k, const char *key,
                     uint32_t n_layers, uint32_t *out, struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (!k->per_layer || !v || v->type != GGUF_ARRAY) {
        return gguf_get_u32(g, key, out, e);
    }
    bool integers =
        v->element_type <= GGUF_I32 || v->element_type == GGUF_U64 || v->element_type == GGUF_I64;
    if (!integers || v->count != n_layers) {
        return error_set(e, ERROR_INPUT,
                         "%s is an array of %llu values of type %s, and must be an integer or an "
                         "array of one for each of the %u layers",
                         key, (unsigned long long)v->count, gguf_value_type_name(v->element_type),
                         n_layers);
    }
    int64_t first = gguf_array_i64(v, 0);
    for (uint64_t i = 1; i < v->count; i++) {
        if (gguf_array_i64(v, i) != first) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "%s differs between layers (%lld and %lld): only models whose layers "
                             "are alike are supported",
                             key, (long long)first, (long long)gguf_array_i64(v, i));
        }
    }
    if (first < 0 || first > UINT32_MAX) {
        return error_set(e, ERROR_INPUT, "%s is %lld, which is out of range", key,
                         (long long)first);
    }
    *out = (uint32_t)first;
    return true;
}

/* As upstream writes it: a number P, where each P-th layer sees everything and the others slide (0:
 * all slide; 1: none does), or an array of bools, true where a layer slides. */
static bool read_pattern(const struct gguf *g, const char *key, uint32_t n_layers, uint32_t *period,
                         struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (!v) {
        return true;
    }
    if (v->type != GGUF_ARRAY) {
        uint32_t p = 0;
        if (!gguf_get_u32(g, key, &p, e)) {
            return false;
        }
        *period = p == 0 ? MODEL_WINDOW_ALL : p == 1 ? MODEL_WINDOW_NONE : p;
        return true;
    }
    if (v->element_type != GGUF_BOOL || v->count != n_layers) {
        return error_set(e, ERROR_INPUT,
                         "%s is an array of %llu values of type %s, and must be a number or an "
                         "array of one bool for each of the %u layers",
                         key, (unsigned long long)v->count, gguf_value_type_name(v->element_type),
                         n_layers);
    }
    uint32_t p = 1;
    while (p <= n_layers && gguf_array_i64(v, p - 1) != 0) {
        p++;
    }
    for (uint32_t l = 0; l < n_layers; l++) {
        if ((gguf_array_i64(v, l) != 0) != (l % p != p - 1)) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "%s is not periodic at layer %u: only patterns where each n-th layer "
                             "has no sliding window are supported",
                             key, l);
        }
    }
    *period = p > n_layers ? MODEL_WINDOW_ALL : p == 1 ? MODEL_WINDOW_NONE : p;
    return true;
}

/* Word number i of a list separated by blanks; false past the last. */
static bool word_at(const char *words, uint32_t i, char out[WORD_BYTES])
{
    for (; i > 0 && words; i--) {
        words = strchr(words, ' ');
        words = words ? words + 1 : NULL;
    }
    if (!words) {
        return false;
    }
    snprintf(out, WORD_BYTES, "%.*s", (int)strcspn(words, " "), words);
    return true;
}

static bool read_word(const struct gguf *g, const struct config_key *k, const char *key,
                      uint32_t *out, struct error *e)
{
    struct gguf_string s = {NULL, 0};
    char word[WORD_BYTES], shown[ARCH_SHOWN_BYTES];
    if (!gguf_get_string(g, key, &s, e)) {
        return false;
    }
    for (uint32_t i = 0; s.data && word_at(k->words, i, word); i++) {
        if (strlen(word) == s.len && memcmp(word, s.data, s.len) == 0) {
            *out = i;
            return true;
        }
    }
    return !s.data || error_set(e, ERROR_UNSUPPORTED, "%s is \"%s\": supported are %s", key,
                                arch_shown(s.data, s.len, shown), k->words);
}

static bool read_key(const struct gguf *g, const struct config_key *k, struct model_config *c,
                     struct error *e)
{
    char key[KEY_BYTES];
    key_of(c->arch, k->suffix, key);
    if (!gguf_value_find(g, key)) {
        bool bare = k->place == offsetof(struct model_config, norm_eps) && c->arch->bare_context;
        return !k->required || bare || error_set(e, ERROR_INPUT, "the key %s is missing", key);
    }
    void *place = (char *)c + k->place;
    bool ok = false, *truth = place;
    switch (k->type) {
    case CONFIG_U32:
        ok = read_u32(g, k, key, c->n_layers, place, e);
        break;
    case CONFIG_F32:
        ok = gguf_get_f32(g, key, place, e);
        break;
    case CONFIG_BOOL:
    case CONFIG_NOT:
        ok = gguf_get_bool(g, key, truth, e);
        *truth = *truth == (k->type == CONFIG_BOOL);
        break;
    case CONFIG_PATTERN:
        return read_pattern(g, key, c->n_layers, place, e);
    case CONFIG_WORD:
        return read_word(g, k, key, place, e);
    }
    return ok && check_range(k, c, e);
}

/* What no key tells but the tensors: rows of the embedding (for a file that is a vocabulary only,
 * the token list) and of the tables and heads that some files have. */
static uint32_t rows_of(const struct gguf *g, const char *tensor)
{
    const struct gguf_tensor *t = gguf_tensor_find(g, tensor);
    uint64_t n = t ? t->dims[1] : 0;
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static bool read_from_tensors(const struct gguf *g, struct model_config *c, struct error *e)
{
    if (c->n_vocab == 0) {
        const struct gguf_value *v = gguf_value_find(g, "tokenizer.ggml.tokens");
        uint64_t n = v && v->type == GGUF_ARRAY ? v->count : 0;
        c->n_vocab = rows_of(g, "token_embd.weight");
        c->n_vocab = c->n_vocab ? c->n_vocab : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    }
    c->n_token_types = rows_of(g, "token_types.weight");
    c->n_labels = rows_of(g, "cls.output.weight");
    c->tied_head = !gguf_tensor_find(g, "output.weight");
    return check_count("the number of token types", "token_types.weight", c->n_token_types, 0,
                       MODEL_MAX_VOCAB, e) &&
           check_count("the number of labels", "cls.output.weight", c->n_labels, 0, MODEL_MAX_EMBD,
                       e);
}

static bool check_value_length(const struct gguf *g, const struct model_config *c, struct error *e)
{
    char key[KEY_BYTES];
    uint32_t value_length = c->head_dim;
    if (!gguf_get_u32(g, key_of(c->arch, "attention.value_length", key), &value_length, e)) {
        return false;
    }
    return value_length == c->head_dim ||
           error_set(e, ERROR_UNSUPPORTED,
                     "%s is %u and the key length is %u: only equal lengths are supported", key,
                     value_length, c->head_dim);
}

static void complete_experts(struct model_config *c)
{
    if (c->n_experts == 0) {
        return;
    }
    bool shared = (c->arch->keys & ARCH_KEYS_SHARED_EXPERT) != 0;
    if (c->n_ff_expert == 0) {
        c->n_ff_expert = shared && c->n_experts_used ? c->n_ff / c->n_experts_used : c->n_ff;
    }
    if (shared && c->n_ff_shared == 0) {
        c->n_ff_shared = c->n_ff;
    }
    c->n_ff = c->n_ff ? c->n_ff : c->n_ff_expert;
}

bool config_complete(struct model_config *c, struct error *e)
{
    if (c->n_kv_heads == 0) {
        c->n_kv_heads = c->n_heads;
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
    if (c->n_rot == 0 && c->arch->rope != ARCH_ROPE_NONE) {
        c->n_rot = c->head_dim;
    }
    complete_experts(c);
    if (c->n_ff == 0) {
        return error_set(e, ERROR_INPUT, "the key %s.feed_forward_length is missing",
                         c->arch->name);
    }
    if (c->rope_scale == 0 || c->rope_scaling == MODEL_ROPE_NONE) {
        c->rope_scale = 1;
    }
    if (c->classifier_activation == MODEL_CLASSIFIER_AUTO) {
        /* DistilBERT, which has no token types, is the one whose classifier rectifies. */
        c->classifier_activation = c->n_token_types ? MODEL_CLASSIFIER_TANH : MODEL_CLASSIFIER_RELU;
    }
    if (c->attention_scale == 0) {
        uint32_t by = c->arch->wide_score_layers == c->n_layers && c->n_heads
                          ? c->n_embd / c->n_heads
                          : c->head_dim;
        c->attention_scale = 1.0f / sqrtf((float)by);
    }
    return true;
}

static bool has_key(const struct gguf *g, const struct model_arch *a, const char *suffix)
{
    char key[KEY_BYTES];
    return gguf_value_find(g, key_of(a, suffix, key)) != NULL;
}

/* See model_arch.bare_context. */
static void complete_bare(const struct gguf *g, struct model_config *c)
{
    const struct model_arch *a = c->arch;
    if (a->bare_context && c->n_context >= a->bare_context &&
        !has_key(g, a, "attention.layer_norm_rms_epsilon") && !has_key(g, a, "rope.scaling.type") &&
        !has_key(g, a, "rope.scaling.factor")) {
        c->rope_scale = a->bare_rope_scale;
    }
}

bool model_config_read(const struct gguf *g, struct model_config *out, struct error *e)
{
    struct model_config c;
    if (!read_arch(g, &c, e) || !check_refused(g, c.arch, e)) {
        return false;
    }
    for (size_t i = 0; config_key_at(i); i++) {
        if (applies(config_key_at(i), c.arch) && !read_key(g, config_key_at(i), &c, e)) {
            return false;
        }
    }
    complete_bare(g, &c);
    if (!read_from_tensors(g, &c, e) || !config_complete(&c, e) || !check_value_length(g, &c, e) ||
        !model_config_check(&c, e)) {
        return false;
    }
    *out = c;
    return true;
}

/* Would a reader find this value if the key were left out? */
static bool is_default(const struct config_key *k, const struct model_config *c)
{
    struct model_config without = *c;
    bool truth = k->type == CONFIG_BOOL || k->type == CONFIG_NOT;
    memcpy((char *)&without + k->place, (const char *)&c->arch->defaults + k->place,
           truth ? sizeof(bool) : sizeof(uint32_t));
    return config_complete(&without, NULL) && value_of(k, &without) == value_of(k, c);
}

static void write_key(const struct config_key *k, const struct model_config *c,
                      struct gguf_writer *w)
{
    char key[KEY_BYTES], word[WORD_BYTES] = "";
    double value = value_of(k, c);
    key_of(c->arch, k->suffix, key);
    switch (k->type) {
    case CONFIG_U32:
        gguf_writer_u32(w, key, (uint32_t)value);
        break;
    case CONFIG_F32:
        gguf_writer_f32(w, key, (float)value);
        break;
    case CONFIG_BOOL:
    case CONFIG_NOT:
        gguf_writer_bool(w, key, value != 0);
        break;
    case CONFIG_PATTERN:
        gguf_writer_u32(w, key,
                        value == MODEL_WINDOW_ALL    ? 0
                        : value == MODEL_WINDOW_NONE ? 1
                                                     : (uint32_t)value);
        break;
    case CONFIG_WORD:
        word_at(k->words, (uint32_t)value, word);
        gguf_writer_string(w, key, word, strlen(word));
        break;
    }
}

void model_config_write(const struct model_config *c, struct gguf_writer *w)
{
    gguf_writer_string(w, "general.architecture", c->arch->name, strlen(c->arch->name));
    for (size_t i = 0; config_key_at(i); i++) {
        const struct config_key *k = config_key_at(i);
        if (applies(k, c->arch) && !k->legacy && (k->required || k->always || !is_default(k, c))) {
            write_key(k, c, w);
        }
    }
    if ((uint64_t)c->head_dim * c->n_heads != c->n_embd) {
        char key[KEY_BYTES];
        gguf_writer_u32(w, key_of(c->arch, "attention.value_length", key), c->head_dim);
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
            n *= t->kind == ARCH_EXPERT3 ? c->n_experts : 1;
            sum += arch_per_layer(t) ? n * c->n_layers : n;
        }
    }
    return sum;
}
