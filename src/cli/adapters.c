#include "cli/adapters.h"

#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/models.h"
#include "engine/model_digest.h"
#include "hf/hf.h"

enum { MAX_STRENGTH = ADAPTERS_MAX_STRENGTH, ENTRY_BYTES = 256 /* of a tensor's description */ };

char *adapters_argument(const char *argument, float *strength, struct error *e)
{
    const char *cut = strrchr(argument, '=');
    *strength = 1;
    if (!cut || file_exists(argument)) {
        return mem_strdup(argument);
    }
    char *end;
    *strength = strtof(cut + 1, &end);
    if (end == cut + 1 || *end || !(fabsf(*strength) <= MAX_STRENGTH)) {
        error_set(e, ERROR_USAGE,
                  "--lora %.200s: what stands behind the last = must be a number from -%d to %d, "
                  "how strongly the adapter counts",
                  argument, MAX_STRENGTH, MAX_STRENGTH);
        return NULL;
    }
    return mem_strndup(argument, (size_t)(cut - argument));
}

/* The weights of a PEFT folder, which are nothing without what lies beside them. */
static bool is_part(const char *path, struct error *e)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(path), m = sizeof end - 1;
    char *copy = mem_strdup(path);
    const char *folder = dirname(copy);
    bool part = n > m && strcmp(path + n - m, end) == 0 && hf_is_adapter(folder);
    if (part) {
        error_set(e, ERROR_INPUT,
                  "%s is a part of an adapter: give the folder that it lies in, with its "
                  "adapter_config.json (%s)",
                  path, folder);
    }
    free(copy);
    return part;
}

static bool is_there(const char *path, struct error *e)
{
    if (hf_is_adapter(path)) {
        return true;
    }
    if (file_exists(path) && !file_is_directory(path)) {
        return !is_part(path, e);
    }
    return error_set(e, ERROR_IO,
                     file_is_directory(path)
                         ? "%s has no adapter_config.json: give the folder of an adapter of the "
                           "peft library, or a GGUF file"
                         : "there is no adapter \"%s\": give the path of a GGUF file, or of a "
                           "folder with adapter_config.json",
                     path);
}

static struct gguf *open_file(const char *path, const struct model_config *base, struct error *e)
{
    return !is_there(path, e)    ? NULL
           : hf_is_adapter(path) ? hf_open_adapter(path, base, e)
                                 : gguf_open(path, e);
}

bool adapters_size(const char *path, uint64_t *size_bytes, struct error *e)
{
    bool ok = is_there(path, e);
    if (ok && hf_is_adapter(path)) {
        ok = hf_adapter_bytes(path, size_bytes, e);
    } else if (ok) {
        struct gguf *g = gguf_open(path, e);
        *size_bytes = 0;
        for (size_t i = 0; g && i < gguf_tensor_count(g); i++) {
            *size_bytes += gguf_tensor_at(g, i)->size_bytes + ENTRY_BYTES;
        }
        ok = g != NULL;
        gguf_close(g);
    }
    if (!ok) {
        models_name_in_error(e, path);
    }
    return ok;
}

bool adapters_sizes(const struct string_list *arguments, uint64_t *size_bytes, struct error *e)
{
    bool ok = true;
    *size_bytes = 0;
    for (size_t i = 0; ok && i < arguments->n; i++) {
        float strength;
        uint64_t one = 0;
        char *path = adapters_argument(arguments->items[i], &strength, e);
        ok = path && adapters_size(path, &one, e);
        *size_bytes += one;
        free(path);
    }
    return ok;
}

struct model_adapter *adapters_load(const char *path, const struct engine *en, struct error *e)
{
    struct gguf *g = open_file(path, engine_config(en), e);
    struct model_adapter *a = g ? model_adapter_load(engine_model(en), g, e) : NULL;
    if (!a) {
        models_name_in_error(e, path);
    }
    return a;
}

bool adapters_digest(const char *path, struct digest *digest, struct error *e)
{
    struct gguf *g = open_file(path, NULL, e);
    if (!g) {
        models_name_in_error(e, path);
        return false;
    }
    *digest = digest_gguf(g, NULL);
    gguf_close(g);
    return true;
}

bool adapters_open(const struct string_list *arguments, const struct engine *en,
                   struct adapter_list *list, struct error *e)
{
    if (arguments->n > MODEL_MAX_ADAPTERS) {
        return error_set(e, ERROR_LIMIT,
                         "--lora is there %zu times; at most %d adapters go together", arguments->n,
                         MODEL_MAX_ADAPTERS);
    }
    for (size_t i = 0; i < arguments->n; i++) {
        float strength;
        char *path = adapters_argument(arguments->items[i], &strength, e);
        struct model_adapter *a = path ? adapters_load(path, en, e) : NULL;
        free(path);
        if (!a) {
            return false;
        }
        list->loaded[i] = a;
        list->use.uses[i].adapter = a;
        list->use.uses[i].strength = strength;
        list->use.n++;
    }
    return true;
}

void adapters_close(struct adapter_list *list)
{
    for (uint32_t i = 0; i < list->use.n; i++) {
        model_adapter_free(list->loaded[i]);
    }
    *list = (struct adapter_list){0};
}
