/* rope.c: transformers/modeling_rope_utils.py as data. Kinds of scaling:
 *
 *   default   none
 *   dynamic   none up to max_position_embeddings (NTK-aware scaling beyond is not computed)
 *   linear    positions divided by a factor
 *   yarn      Peng et al., "YaRN", 2023
 *   longrope  Ding et al., "LongRoPE", 2024: a divisor for each frequency, one set for short and
 *             one for long texts ("su" in early files)
 *   llama3    Llama 3.1: high frequencies stay, low ones are divided, between them both are mixed
 */
#include "hf/rope.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/arch.h"
#include "model/model.h"

#define PI 3.14159265358979323846

enum { MAX_ROTATED = 1 << 16 };

struct rope {
    const struct family *family;
    const char *object; /* the path of the settings */
    uint32_t n_rot;
    double context; /* max_position_embeddings, and what it was before scaling */
    double original;
    struct gguf_writer *w;
    struct rope_tensors *out;
    struct error *e;
};

static const char *path_of(const struct rope *r, const char *name, char out[CONFIG_MAX_PATH_BYTES])
{
    snprintf(out, CONFIG_MAX_PATH_BYTES, "%s.%s", r->object, name);
    return out;
}

/* A positive number of the settings, or what *value has when it is absent. */
static bool read_optional(const struct rope *r, const char *name, double *value, bool *there)
{
    char path[CONFIG_MAX_PATH_BYTES];
    double x = *value;
    if (!hf_config_number(r->family->config, path_of(r, name, path), &x, there, r->e)) {
        return false;
    }
    if (*there && !(x > 0 && x <= 1e9)) {
        return error_set(r->e, ERROR_INPUT, "%s: %s is %.9g, and must be above 0 and at most 1e9",
                         r->family->config->path, path, x);
    }
    *value = x;
    return true;
}

static bool read_required(const struct rope *r, const char *name, double *value)
{
    char path[CONFIG_MAX_PATH_BYTES];
    bool there;
    return read_optional(r, name, value, &there) &&
           (there || error_set(r->e, ERROR_INPUT, "%s: %s is missing", r->family->config->path,
                               path_of(r, name, path)));
}

/* Whether the model takes a value for a key, which it reads as f32: said here, where the setting
 * still has its own name. */
static bool check_f32(const struct rope *r, const char *key, double value)
{
    const struct config_key *k;
    for (size_t i = 0; (k = config_key_at(i)) && strcmp(k->suffix, key) != 0;) {
        i++;
    }
    float f = fabs(value) <= (double)FLT_MAX ? (float)value : INFINITY;
    return !k || (f >= (float)k->least && f <= (float)k->most) ||
           error_set(r->e, ERROR_INPUT, "%s: by %s, %s is %.9g, and must be between %g and %g",
                     r->family->config->path, r->object, key, value, k->least, k->most);
}

static bool write_f32(const struct rope *r, const char *key, double value)
{
    char full[KEY_BYTES];
    if (!check_f32(r, key, value)) {
        return false;
    }
    gguf_writer_f32(r->w, hf_family_key(r->family, key, full), (float)value);
    return true;
}

static void write_type(const struct rope *r, const char *type)
{
    char full[KEY_BYTES];
    gguf_writer_string(r->w, hf_family_key(r->family, "rope.scaling.type", full), type,
                       strlen(type));
}

static void write_original(const struct rope *r)
{
    char full[KEY_BYTES];
    if (r->original < 4294967296.0) {
        gguf_writer_u32(r->w,
                        hf_family_key(r->family, "rope.scaling.original_context_length", full),
                        (uint32_t)r->original);
    }
}

static float *add_tensor(const struct rope *r, const char *name)
{
    struct rope_tensor *t = &r->out->tensors[r->out->n++];
    *t = (struct rope_tensor){name, mem_array(r->n_rot / 2 + 1, sizeof(float)), r->n_rot / 2};
    return t->values;
}

/* ---- kinds ----------------------------------------------------------------------------------- */

static bool write_none(const struct rope *r)
{
    (void)r;
    return true;
}

/* A base that grows with the text, from its first token beyond the trained length on: what came
 * before would have to be computed anew at each. Up to that length there is nothing to do. */
static bool write_dynamic(const struct rope *r)
{
    log_write(LOG_WARN,
              "%s: %s is of the kind \"dynamic\", which is not applied: the model is exact up to "
              "%.0f tokens (max_position_embeddings), and not to be trusted beyond",
              r->family->config->path, r->object, r->context);
    return true;
}

static bool write_linear(const struct rope *r)
{
    double factor = 1;
    if (!read_required(r, "factor", &factor)) {
        return false;
    }
    write_type(r, "linear");
    return write_f32(r, "rope.scaling.factor", factor);
}

static double mscale(double factor, double by)
{
    return factor <= 1 ? 1 : 0.1 * by * log(factor) + 1;
}

/* What rotated queries and keys are multiplied by; *given: not as the factor alone says. */
static bool read_yarn_attention(const struct rope *r, double factor, double *out, bool *is_given)
{
    double attention = mscale(factor, 1), by = 0, by_all = 0;
    bool given, has_by, has_all;
    if (!read_optional(r, "attention_factor", &attention, &given) ||
        !read_optional(r, "mscale", &by, &has_by) ||
        !read_optional(r, "mscale_all_dim", &by_all, &has_all)) {
        return false;
    }
    if (!given && has_by && has_all) {
        attention = mscale(factor, by) / mscale(factor, by_all);
        given = true;
    }
    *out = attention;
    *is_given = given;
    return true;
}

static bool has_tensor(const struct model_arch *a, const char *name)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        if (strcmp(a->tensors[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The dimension that turns `turns` times within the original context. */
static double yarn_dimension(const struct rope *r, double base, double turns)
{
    return r->n_rot * log(r->original / (turns * 2 * PI)) / (2 * log(base));
}

struct yarn {
    double factor, fast, slow, attention;
    bool truncate; /* the ramp runs between whole dimensions */
};

/* A ramp that is not cut as readers of the family cut theirs: its outcome, as a divisor for each
 * frequency, and no scaling on top. */
static bool write_yarn_divisors(const struct rope *r, const struct yarn *y)
{
    double base = 10000;
    if (!hf_family_f64(r->family, "rope.freq_base", &base, r->e)) {
        return false;
    }
    if (!(base > 1)) {
        return error_set(r->e, ERROR_INPUT, "%s: the rope's base is %.9g, and must be above 1",
                         r->family->config->path, base);
    }
    double low = yarn_dimension(r, base, y->fast), high = yarn_dimension(r, base, y->slow);
    low = fmax(y->truncate ? floor(low) : low, 0);
    high = fmin(y->truncate ? ceil(high) : high, (double)r->n_rot - 1);
    high = high == low ? low + 0.001 : high;
    float *divisors = add_tensor(r, "rope_freqs.weight");
    for (uint32_t i = 0; i < r->n_rot / 2; i++) {
        double share = fmin(fmax((i - low) / (high - low), 0), 1); /* of the stretched one */
        divisors[i] = (float)(1 / (share / y->factor + 1 - share));
    }
    return write_f32(r, "rope.scaling.attn_factor", y->attention);
}

/* What "truncate" says, true where it is absent, against what readers do, who have no key for it.
 */
static bool truncates(const struct rope *r, bool *out)
{
    char path[CONFIG_MAX_PATH_BYTES];
    const json_t *v = hf_config_get(r->family->config, path_of(r, "truncate", path));
    *out = !json_is_false(v);
    return !v || json_is_boolean(v) ||
           hf_config_wrong(r->family->config, path, v, "true or false", r->e);
}

static bool write_yarn(const struct rope *r)
{
    const struct model_arch *a = model_arch_find(r->family->arch, strlen(r->family->arch));
    struct yarn y = {.factor = r->context / r->original, .fast = 32, .slow = 1};
    bool there, has_fast, has_slow, has_attention;
    if (!read_optional(r, "factor", &y.factor, &there) ||
        !check_f32(r, "rope.scaling.factor", y.factor) ||
        !read_optional(r, "beta_fast", &y.fast, &has_fast) ||
        !read_optional(r, "beta_slow", &y.slow, &has_slow) ||
        !read_yarn_attention(r, y.factor, &y.attention, &has_attention) ||
        !truncates(r, &y.truncate)) {
        return false;
    }
    if (y.truncate == a->yarn_exact_ramp) {
        return has_tensor(a, "rope_freqs.weight")
                   ? write_yarn_divisors(r, &y)
                   : error_set(r->e, ERROR_UNSUPPORTED,
                               "%s: %s.truncate is %s, which is not supported for %s",
                               r->family->config->path, r->object, y.truncate ? "true" : "false",
                               r->family->class_name);
    }
    write_type(r, "yarn");
    write_original(r);
    /* A reader computes what the factor says by itself, and multiplies it by the key. */
    return write_f32(r, "rope.scaling.factor", y.factor) &&
           (!has_attention ||
            write_f32(r, "rope.scaling.attn_factor", y.attention / mscale(y.factor, 1))) &&
           (!has_fast || write_f32(r, "rope.scaling.yarn_beta_fast", y.fast)) &&
           (!has_slow || write_f32(r, "rope.scaling.yarn_beta_slow", y.slow));
}

static bool read_factors(const struct rope *r, const char *name, float *out)
{
    char path[CONFIG_MAX_PATH_BYTES];
    const char *file = r->family->config->path;
    const json_t *list = hf_config_get(r->family->config, path_of(r, name, path));
    if (!json_is_array(list) || json_array_size(list) != r->n_rot / 2) {
        return error_set(r->e, ERROR_INPUT,
                         "%s: %s is no list of %u numbers, one for each pair of rotated dimensions",
                         file, path, r->n_rot / 2);
    }
    for (uint32_t i = 0; i < r->n_rot / 2; i++) {
        double x = json_number_value(json_array_get(list, i));
        if (!(x >= 1e-6 && x <= 1e9)) {
            return error_set(r->e, ERROR_INPUT,
                             "%s: number %u of %s is %.9g, and must be between 1e-6 and 1e9", file,
                             i + 1, path, x);
        }
        out[i] = (float)x;
    }
    return true;
}

static bool write_longrope(const struct rope *r)
{
    double factor = r->context / r->original, attention = 1;
    bool there, given;
    if (!read_optional(r, "factor", &factor, &there) ||
        !read_optional(r, "attention_factor", &attention, &given)) {
        return false;
    }
    if (!given && factor > 1) {
        attention = sqrt(1 + log(factor) / log(r->original));
    }
    write_type(r, "longrope");
    write_original(r);
    return write_f32(r, "rope.scaling.attn_factor", attention) &&
           read_factors(r, "long_factor", add_tensor(r, "rope_factors_long.weight")) &&
           read_factors(r, "short_factor", add_tensor(r, "rope_factors_short.weight"));
}

static bool write_llama3(const struct rope *r)
{
    double factor = 8, low = 1, high = 4, base = 10000;
    if (!read_required(r, "factor", &factor) || !check_f32(r, "rope.scaling.factor", factor) ||
        !read_required(r, "low_freq_factor", &low) ||
        !read_required(r, "high_freq_factor", &high) ||
        !hf_family_f64(r->family, "rope.freq_base", &base, r->e)) {
        return false;
    }
    if (!(high > low) || !(base > 0)) {
        return error_set(r->e, ERROR_INPUT,
                         "%s: %s.high_freq_factor must be above low_freq_factor, and the rope's "
                         "base above 0",
                         r->family->config->path, r->object);
    }
    float *divisors = add_tensor(r, "rope_freqs.weight");
    for (uint32_t i = 0; i < r->n_rot / 2; i++) {
        double wavelength = 2 * PI * pow(base, 2.0 * i / r->n_rot);
        double mix = (r->original / wavelength - low) / (high - low);
        divisors[i] = wavelength < r->original / high  ? 1
                      : wavelength > r->original / low ? (float)factor
                                                       : (float)(1 / ((1 - mix) / factor + mix));
    }
    return true;
}

static const struct {
    const char *type;
    bool (*write)(const struct rope *r);
} kinds[] = {
    {"default", write_none},  {"dynamic", write_dynamic}, {"linear", write_linear},
    {"yarn", write_yarn},     {"su", write_longrope},     {"longrope", write_longrope},
    {"llama3", write_llama3},
};

/* ---- which ----------------------------------------------------------------------------------- */

static const char *type_at(const struct config *c, const char *object)
{
    static const char *const names[] = {"rope_type", "type"};
    char path[CONFIG_MAX_PATH_BYTES];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s.%s", object, names[i]);
        const char *type = json_string_value(hf_config_get(c, path));
        if (type) {
            return type;
        }
    }
    return "default";
}

/* The settings; NULL where there are none. Those of layers that slide stand apart in some models.
 */
static const char *find_object(const struct config *c)
{
    static const char *const objects[] = {"rope_parameters.full_attention", "rope_parameters",
                                          "rope_scaling"};
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        if (json_is_object(hf_config_get(c, objects[i]))) {
            return objects[i];
        }
    }
    return NULL;
}

static bool unsupported(const struct config *c, const char *object, struct error *e)
{
    const char *type = type_at(c, object);
    char shown[UTF8_QUOTE_BYTES];
    return error_set(e, ERROR_UNSUPPORTED,
                     "%s: %s asks for rope scaling of the kind %s, which is not supported; "
                     "supported: linear, yarn, longrope, llama3",
                     c->path, object, utf8_quote(shown, type, strlen(type)));
}

static bool read_lengths(struct rope *r)
{
    const struct config *c = r->family->config;
    bool there = false;
    if (!hf_family_f64(r->family, "context_length", &r->context, r->e) ||
        !read_optional(r, "original_max_position_embeddings", &r->original, &there)) {
        return false;
    }
    if (!there &&
        !hf_config_number(c, "original_max_position_embeddings", &r->original, &there, r->e)) {
        return false;
    }
    r->original = there ? r->original : r->context;
    if (!(r->original > 1 && r->context > 0)) {
        return error_set(r->e, ERROR_INPUT,
                         "%s: the context length before rope scaling is %.9g, and must be above 1",
                         c->path, r->original);
    }
    return true;
}

bool hf_rope_write(const struct family *f, struct gguf_writer *w, struct rope_tensors *out,
                   struct error *e)
{
    struct rope r = {.family = f, .object = find_object(f->config), .w = w, .out = out, .e = e};
    *out = (struct rope_tensors){0};
    if (!f->half->rope_scaling || !r.object) {
        return true;
    }
    if (strcmp(type_at(f->config, "rope_parameters.sliding_attention"), "default") != 0) {
        return unsupported(f->config, "rope_parameters.sliding_attention", e);
    }
    if (!hf_family_u32(f, "rope.dimension_count", &r.n_rot, e)) {
        return false;
    }
    if (r.n_rot < 2 || r.n_rot % 2 != 0 || r.n_rot > MAX_ROTATED) {
        return error_set(e, ERROR_INPUT,
                         "%s: heads have %u rotated dimensions, which must be an even number "
                         "between 2 and %d",
                         f->config->path, r.n_rot, MAX_ROTATED);
    }
    const char *type = type_at(f->config, r.object);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            return kinds[i].write == write_none || (read_lengths(&r) && kinds[i].write(&r));
        }
    }
    return unsupported(f->config, r.object, e);
}

void hf_rope_free(struct rope_tensors *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        free(t->tensors[i].values);
    }
    *t = (struct rope_tensors){0};
}
