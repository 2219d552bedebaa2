#include "hf/keys.h"

#include <ctype.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { MAX_LABELS = 1 << 20, MAX_LAYERS = 1 << 16 };

/* ---- the family ------------------------------------------------------------------------------ */

/* Whether a word is one of a list that is separated by blanks. */
static bool has_word(const char *list, const char *word, size_t n)
{
    while (*list) {
        size_t length = strcspn(list, " ");
        if (length == n && memcmp(list, word, n) == 0) {
            return true;
        }
        list += length;
        list += strspn(list, " ");
    }
    return false;
}

bool hf_family_has_class(const struct family *f, const char *only)
{
    return !only || has_word(only, f->class_name, strlen(f->class_name));
}

/* What a value of config.json is called in a row's list: true, 1, silu. */
static void name_value(const json_t *v, char out[UTF8_QUOTE_BYTES])
{
    double x = json_number_value(v);
    if (json_is_number(v) && x == floor(x) && fabs(x) < 1e15) {
        snprintf(out, UTF8_QUOTE_BYTES, "%.0f", x);
    } else if (json_is_number(v)) {
        snprintf(out, UTF8_QUOTE_BYTES, "%.9g", x);
    } else {
        const char *text = json_is_string(v)    ? json_string_value(v)
                           : json_is_boolean(v) ? (json_is_true(v) ? "true" : "false")
                                                : "a list";
        utf8_quote(out, text, strlen(text)); /* safe to show; the quotes go */
        size_t n = strlen(out) - 2;
        memmove(out, out + 1, n);
        out[n] = 0;
    }
}

static bool check_demands(const struct family *f, struct error *e)
{
    char value[UTF8_QUOTE_BYTES];
    for (size_t i = 0; i < f->half->n_demands; i++) {
        const struct arch_hf_demand *d = &f->half->demands[i];
        const json_t *v = hf_config_get(f->config, d->path);
        if (!v || (json_is_array(v) && json_array_size(v) == 0)) {
            continue;
        }
        name_value(v, value);
        if (!has_word(d->values, value, strlen(value))) {
            return error_set(
                e, ERROR_UNSUPPORTED, "%s: %s is %s, which is not supported for %s (supported: %s)",
                f->config->path, d->path, value, f->class_name, *d->values ? d->values : "none");
        }
    }
    return true;
}

/* Weights that another program has quantized; MXFP4 is a number format like others. */
static bool check_quantized(const struct config *c, struct error *e)
{
    const json_t *q = hf_config_get(c, "quantization_config");
    if (!q) {
        return true;
    }
    const json_t *method = json_object_get(q, "quant_method");
    const char *name = json_is_string(method) ? json_string_value(method) : "an unknown method";
    char shown[UTF8_QUOTE_BYTES];
    return strcmp(name, "mxfp4") == 0 ||
           error_set(e, ERROR_UNSUPPORTED,
                     "%s: the weights are quantized with %s, which is not read: use the "
                     "unquantized model (F16 or BF16), and quantize that",
                     c->path, utf8_quote(shown, name, strlen(name)));
}

/* How much of "LlamaForCausalLM" is "Llama". */
static size_t stem_length(const char *class_name)
{
    static const char *const tails[] = {"For", "LMHead", "Model"};
    size_t n = strlen(class_name);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        const char *tail = strstr(class_name, tails[i]);
        n = tail && (size_t)(tail - class_name) < n ? (size_t)(tail - class_name) : n;
    }
    return n;
}

/* Whether a model_type ("qwen2_moe", "gemma3_text") is of a class ("Qwen2MoeForCausalLM"): both are
 * spelled from one name. */
static bool is_type_of(const char *type, const char *class_name)
{
    size_t n = stem_length(class_name), i = 0;
    for (; *type && strcmp(type, "_text") != 0; type++) {
        if (*type == '_' || *type == '-') {
            continue;
        }
        if (i == n || tolower((unsigned char)class_name[i++]) != *type) {
            return false;
        }
    }
    return i == n;
}

/* The class that a model_type means where "architectures" is missing: the one that writes text. Of
 * encoders, whose heads differ by class, none; NULL. */
static const char *class_of_type(const char *type)
{
    const struct arch_hf *half;
    for (size_t i = 0; (half = arch_hf_at(i, NULL)); i++) {
        for (const char *const *name = half->classes; *name; name++) {
            if (is_type_of(type, *name) &&
                (strstr(*name, "ForCausalLM") || strstr(*name, "LMHeadModel"))) {
                return *name;
            }
        }
    }
    return NULL;
}

/* "Llama" of "LlamaForCausalLM", once. */
static void add_stem(struct buf *known, const char *class_name)
{
    char stem[64];
    snprintf(stem, sizeof stem, "%.*s,", (int)stem_length(class_name), class_name);
    if (!known->data || !strstr(known->data, stem)) {
        buf_printf(known, "%s%s", known->len ? " " : "", stem);
    }
}

bool hf_family_find(const struct config *c, struct family *f, struct error *e)
{
    const char *class_name = hf_config_class(c);
    const char *type = json_string_value(hf_config_get(c, "model_type"));
    class_name = class_name || !type ? class_name : class_of_type(type);
    if (!class_name) {
        char shown[UTF8_QUOTE_BYTES];
        return error_set(
            e, ERROR_INPUT,
            "%s: \"architectures\" does not name the class of the model%s%s: write there what "
            "the original file has, such as [\"LlamaForCausalLM\"]",
            c->path, type ? ", nor does model_type " : "",
            type ? utf8_quote(shown, type, strlen(type)) : "");
    }
    *f = (struct family){.class_name = class_name, .config = c};
    f->half = arch_hf_find(class_name, &f->arch);
    if (!f->half) {
        struct buf known;
        char shown[UTF8_QUOTE_BYTES];
        const struct arch_hf *half;
        buf_init(&known, ERROR_MESSAGE_BYTES);
        for (size_t i = 0; (half = arch_hf_at(i, NULL)); i++) {
            for (const char *const *name = half->classes; *name; name++) {
                add_stem(&known, *name);
            }
        }
        if (known.len) {
            known.data[--known.len] = 0; /* the last comma */
        }
        error_set(e, ERROR_UNSUPPORTED,
                  "%s: models of class %s are not supported; supported: those of %s", c->path,
                  utf8_quote(shown, class_name, strlen(class_name)),
                  known.data ? known.data : "none");
        buf_free(&known);
        return false;
    }
    return check_quantized(c, e) && check_demands(f, e);
}

/* ---- single values --------------------------------------------------------------------------- */

const char *hf_family_key(const struct family *f, const char *key, char out[KEY_BYTES])
{
    bool whole = strncmp(key, "tokenizer.", 10) == 0 || strncmp(key, "general.", 8) == 0;
    snprintf(out, KEY_BYTES, "%s%s%s", whole ? "" : f->arch, whole ? "" : ".", key);
    return out;
}

static bool wrong(const struct family *f, const struct arch_hf_key *k, const char *why,
                  struct error *e)
{
    char key[KEY_BYTES];
    error_set(e, ERROR_INPUT, "%s: %s (which becomes %s) %s", f->config->path, k->from,
              hf_family_key(f, k->key, key), why);
    return false; /* said plainly, for compilers that cannot see that error_set is never true */
}

static bool read_number(const struct family *f, const struct arch_hf_key *k,
                        const struct formula_value *v, double *out, struct error *e)
{
    if (v->kind != FORMULA_NUMBER) {
        return wrong(f, k, "is no number", e);
    }
    if (!isfinite(v->number)) {
        return wrong(f, k, "is not finite", e);
    }
    *out = v->number;
    return true;
}

static bool read_u32(const struct family *f, const struct arch_hf_key *k,
                     const struct formula_value *v, uint32_t *out, struct error *e)
{
    double x;
    char why[64];
    if (!read_number(f, k, v, &x, e)) {
        return false;
    }
    if (x <= -1 || x >= 4294967296.0) {
        snprintf(why, sizeof why, "is %.9g, and must be from 0 to 4294967295", x);
        return wrong(f, k, why, e);
    }
    *out = (uint32_t)x;
    return true;
}

static const struct arch_hf_key *find_key(const struct family *f, const char *key)
{
    for (size_t i = 0; i < f->half->n_keys; i++) {
        const struct arch_hf_key *k = &f->half->keys[i];
        if (strcmp(k->key, key) == 0 && hf_family_has_class(f, k->only)) {
            return k;
        }
    }
    return NULL;
}

bool hf_family_u32(const struct family *f, const char *key, uint32_t *out, struct error *e)
{
    struct formula_value v;
    const struct arch_hf_key *k = find_key(f, key);
    return !k || (hf_formula_evaluate(f->config, k->from, &v, e) &&
                  (v.kind == FORMULA_ABSENT || read_u32(f, k, &v, out, e)));
}

bool hf_family_f64(const struct family *f, const char *key, double *out, struct error *e)
{
    struct formula_value v;
    const struct arch_hf_key *k = find_key(f, key);
    return !k || (hf_formula_evaluate(f->config, k->from, &v, e) &&
                  (v.kind == FORMULA_ABSENT || read_number(f, k, &v, out, e)));
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* The first of the formula's alternatives when it is a list: layer types are paths of one name. */
static const json_t *find_list(const struct family *f, const struct arch_hf_key *k)
{
    char path[CONFIG_MAX_PATH_BYTES];
    size_t n = strcspn(k->from, " |");
    snprintf(path, sizeof path, "%.*s", (int)n, k->from);
    const json_t *v = hf_config_get(f->config, path);
    return json_is_array(v) ? v : NULL;
}

/* Whether layer i slides in a model where each period-th layer does not. 0: all slide. */
static bool slides(uint32_t period, size_t i)
{
    return period == 0 || i % period < period - 1;
}

static bool write_layer_types(const struct family *f, const struct arch_hf_key *k,
                              const json_t *list, struct gguf_writer *w, struct error *e)
{
    char key[KEY_BYTES];
    size_t n = json_array_size(list), n_sliding = 0;
    uint32_t n_layers = 0;
    if (!hf_family_u32(f, "block_count", &n_layers, e)) {
        return false;
    }
    if (n != n_layers || n > MAX_LAYERS) {
        char why[80];
        snprintf(why, sizeof why, "has %zu entries for %" PRIu32 " layers", n, n_layers);
        return wrong(f, k, why, e);
    }
    bool *sliding = mem_array(n + 1, sizeof *sliding);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const char *type = json_string_value(json_array_get(list, i));
        sliding[i] = type && strcmp(type, "sliding_attention") == 0;
        n_sliding += sliding[i];
        if (!sliding[i] && !(type && strcmp(type, "full_attention") == 0)) {
            ok = wrong(f, k, "has a type that is neither full_attention nor sliding_attention", e);
        }
    }
    uint32_t period = n_sliding == n && n > 0 ? 0 : 1;
    for (; ok && period > 0 && period <= n; period++) {
        size_t i = 0;
        while (i < n && sliding[i] == slides(period, i)) {
            i++;
        }
        if (i == n) {
            break;
        }
    }
    hf_family_key(f, k->key, key);
    if (ok && period <= n) {
        gguf_writer_u32(w, key, period);
    } else if (ok) {
        gguf_writer_bools(w, key, sliding, n);
    }
    free(sliding);
    return ok;
}

/* Without names transformers calls the classes LABEL_0 and so on: num_labels of them, or two. */
static bool write_plain_labels(const struct family *f, const struct arch_hf_key *k, size_t *n,
                               struct gguf_writer *w, struct error *e)
{
    enum { MOST = 1 << 12, NAME_BYTES = 16 };
    char key[KEY_BYTES];
    double count = 2;
    bool there;
    if (!hf_config_number(f->config, "num_labels", &count, &there, e)) {
        return false;
    }
    if (!(count >= 1 && count <= MOST)) {
        return wrong(f, k, "is missing, and num_labels is no number from 1 to 4096", e);
    }
    *n = (size_t)count;
    struct gguf_string *labels = w ? mem_array(*n, sizeof *labels) : NULL;
    char(*names)[NAME_BYTES] = w ? mem_array(*n, sizeof *names) : NULL;
    for (size_t i = 0; w && i < *n; i++) {
        int length = snprintf(names[i], sizeof names[i], "LABEL_%zu", i);
        labels[i] = (struct gguf_string){names[i], (uint64_t)length};
    }
    if (w) {
        gguf_writer_strings(w, hf_family_key(f, k->key, key), labels, *n);
    }
    free(labels);
    free(names);
    return true;
}

bool hf_label_count(const struct family *f, size_t *n, struct error *e)
{
    *n = 0;
    for (size_t i = 0; i < f->half->n_keys; i++) {
        const struct arch_hf_key *k = &f->half->keys[i];
        if (k->kind == ARCH_HF_LABELS && hf_family_has_class(f, k->only)) {
            const json_t *map = hf_config_get(f->config, k->from);
            *n = json_object_size(map);
            return map || write_plain_labels(f, k, n, NULL, e);
        }
    }
    return true;
}

static bool write_labels(const struct family *f, const struct arch_hf_key *k, struct gguf_writer *w,
                         struct error *e)
{
    char key[KEY_BYTES];
    const json_t *map = hf_config_get(f->config, k->from);
    size_t n = json_object_size(map);
    hf_family_key(f, k->key, key);
    if (!map) {
        return write_plain_labels(f, k, &n, w, e);
    }
    if (!json_is_object(map) || n == 0 || n > MAX_LABELS) {
        return wrong(f, k, "is no list of names by number", e);
    }
    struct gguf_string *labels = mem_array(n, sizeof *labels);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        const json_t *v = json_object_get(map, id);
        ok = json_is_string(v) || wrong(f, k, "does not have a name for each number from 0", e);
        labels[i] =
            ok ? (struct gguf_string){json_string_value(v), json_string_length(v)} : labels[i];
    }
    if (ok) {
        gguf_writer_strings(w, key, labels, n);
    }
    free(labels);
    return ok;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool write_value(const struct family *f, const struct arch_hf_key *k,
                        const struct formula_value *v, struct gguf_writer *w, struct error *e)
{
    char key[KEY_BYTES];
    uint32_t u32;
    double x;
    hf_family_key(f, k->key, key);
    switch (k->kind) {
    case ARCH_HF_F32:
        if (!read_number(f, k, v, &x, e)) {
            return false;
        }
        if (fabs(x) > (double)FLT_MAX) {
            return wrong(f, k, "is too large", e);
        }
        gguf_writer_f32(w, key, (float)x);
        return true;
    case ARCH_HF_BOOL:
        if (v->kind != FORMULA_BOOL) {
            return wrong(f, k, "is neither true nor false", e);
        }
        gguf_writer_bool(w, key, v->number != 0);
        return true;
    case ARCH_HF_STRING:
        if (v->kind != FORMULA_TEXT) {
            return wrong(f, k, "is no text", e);
        }
        gguf_writer_string(w, key, v->text, v->n);
        return true;
    default:
        if (!read_u32(f, k, v, &u32, e)) {
            return false;
        }
        gguf_writer_u32(w, key, u32);
        return true;
    }
}

static bool write_key(const struct family *f, const struct arch_hf_key *k, struct gguf_writer *w,
                      struct error *e)
{
    struct formula_value v;
    if (k->kind == ARCH_HF_LABELS) {
        return write_labels(f, k, w, e);
    }
    const json_t *list = k->kind == ARCH_HF_LAYER_TYPES ? find_list(f, k) : NULL;
    if (list) {
        return write_layer_types(f, k, list, w, e);
    }
    if (!hf_formula_evaluate(f->config, k->from, &v, e)) {
        return false;
    }
    if (v.kind == FORMULA_ABSENT) {
        return k->optional || wrong(f, k, "is missing", e);
    }
    return write_value(f, k, &v, w, e);
}

bool hf_keys_write(const struct family *f, struct gguf_writer *w, struct error *e)
{
    gguf_writer_string(w, "general.architecture", f->arch, strlen(f->arch));
    for (size_t i = 0; i < f->half->n_keys; i++) {
        const struct arch_hf_key *k = &f->half->keys[i];
        if (hf_family_has_class(f, k->only) && !write_key(f, k, w, e)) {
            return false;
        }
    }
    return true;
}
