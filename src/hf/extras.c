/* extras.c: the small files beside config.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "hf/folder.h"

/* ---- generation_config.json ------------------------------------------------------------------ */

static const struct {
    const char *from, *to;
    bool whole; /* an integer */
    double least, most;
} sampling_keys[] = {
    {"temperature", "general.sampling.temp", false, 0, 100},
    {"top_k", "general.sampling.top_k", true, 0, 1 << 24},
    {"top_p", "general.sampling.top_p", false, 0, 1},
    {"min_p", "general.sampling.min_p", false, 0, 1},
    {"repetition_penalty", "general.sampling.penalty_repeat", false, 0.01, 100},
};

bool hf_sampling_write(const char *folder, struct gguf_writer *w, struct error *e)
{
    struct error why = {0};
    struct config *c = hf_config_open(folder, "generation_config.json", true, &why);
    if (!c) {
        return why.code == ERROR_NONE || error_set(e, why.code, "%s", why.message);
    }
    const json_t *sample = hf_config_get(c, "do_sample");
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof sampling_keys / sizeof *sampling_keys; i++) {
        double x = 0;
        bool there;
        ok = hf_config_number(c, sampling_keys[i].from, &x, &there, e);
        if (ok && there && !(x >= sampling_keys[i].least && x <= sampling_keys[i].most)) {
            ok = error_set(e, ERROR_INPUT, "%s: %s is %.9g, and must be between %g and %g", c->path,
                           sampling_keys[i].from, x, sampling_keys[i].least, sampling_keys[i].most);
        }
        /* Where the model is not meant to be sampled from, the numbers mean nothing. */
        if (!ok || !there || json_is_false(sample)) {
            continue;
        }
        if (sampling_keys[i].whole) {
            gguf_writer_i32(w, sampling_keys[i].to, (int32_t)x);
        } else {
            gguf_writer_f32(w, sampling_keys[i].to, (float)x);
        }
    }
    hf_config_close(c);
    return ok;
}

/* ---- modules.json ---------------------------------------------------------------------------- */

/* The kinds of pooling that GGUF has a number for, by their names in 1_Pooling/config.json. */
static const struct {
    const char *name;
    uint32_t value;
} poolings[] = {
    {"pooling_mode_mean_tokens", 1},
    {"pooling_mode_cls_token", 2},
    {"pooling_mode_lasttoken", 3},
};

static const char *const other_poolings[] = {
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
};

static bool read_pooling(const struct family *f, const char *folder, const char *path,
                         struct gguf_writer *w, struct error *e)
{
    char key[KEY_BYTES];
    unsigned n_chosen = 0;
    uint32_t value = 0;
    struct config *c;
    bool outside = path[0] == '/' || strstr(path, "..");
    if (outside) {
        char shown[UTF8_QUOTE_BYTES];
        return error_set(e, ERROR_INPUT,
                         "%s/modules.json: the path %s leads out of the folder, and is not opened",
                         folder, utf8_quote(shown, path, strlen(path)));
    }
    char *inner = hf_folder_path(folder, path);
    c = hf_config_open(inner, "config.json", false, e);
    free(inner);
    if (!c) {
        return false;
    }
    for (size_t i = 0; i < sizeof poolings / sizeof *poolings; i++) {
        if (hf_config_true(c, poolings[i].name)) {
            value = poolings[i].value;
            n_chosen++;
        }
    }
    for (size_t i = 0; i < sizeof other_poolings / sizeof *other_poolings; i++) {
        n_chosen += hf_config_true(c, other_poolings[i]) ? 2 : 0;
    }
    bool ok = n_chosen == 1 || error_set(e, ERROR_UNSUPPORTED,
                                         "%s: this kind of pooling is not supported: one of mean, "
                                         "first (cls) and last token is",
                                         c->path);
    if (ok) {
        gguf_writer_u32(w, hf_family_key(f, "pooling_type", key), value);
    }
    hf_config_close(c);
    return ok;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

static bool read_module(const struct family *f, const char *folder, const struct config *c,
                        size_t index, struct gguf_writer *w, struct error *e)
{
    char path[32];
    snprintf(path, sizeof path, "%zu.type", index);
    const char *type = json_string_value(hf_config_get(c, path));
    snprintf(path, sizeof path, "%zu.path", index);
    const char *inner = json_string_value(hf_config_get(c, path));
    if (!type || !inner) {
        return error_set(e, ERROR_INPUT, "%s: module %zu lacks its type or path", c->path, index);
    }
    if (ends_with(type, ".Pooling")) {
        return read_pooling(f, folder, inner, w, e);
    }
    if (ends_with(type, ".Transformer") || ends_with(type, ".Normalize")) {
        return true; /* the model itself; vectors are normalized where they are asked for */
    }
    char shown[UTF8_QUOTE_BYTES];
    return error_set(e, ERROR_UNSUPPORTED,
                     "%s: the module %s is not supported; only Transformer, Pooling and Normalize "
                     "are",
                     c->path, utf8_quote(shown, type, strlen(type)));
}

bool hf_pooling_write(const struct family *f, const char *folder, struct gguf_writer *w,
                      struct error *e)
{
    struct error why = {0};
    struct config *c = hf_config_open(folder, "modules.json", true, &why);
    if (!c) {
        return why.code == ERROR_NONE || error_set(e, why.code, "%s", why.message);
    }
    bool ok =
        json_is_array(c->root) || error_set(e, ERROR_INPUT, "%s is no list of modules", c->path);
    for (size_t i = 0; ok && i < json_array_size(c->root); i++) {
        ok = read_module(f, folder, c, i, w, e);
    }
    hf_config_close(c);
    return ok;
}
