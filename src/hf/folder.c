#include "hf/folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "hf/hf.h"

bool hf_is_folder(const char *path)
{
    char *config = hf_folder_path(path, "config.json");
    bool yes = file_is_directory(path) && file_exists(config);
    free(config);
    return yes;
}

/* The last part of a path, without slashes behind it. */
static const char *last_part(const char *path, size_t *n)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    *n = end - begin;
    return path + begin;
}

/* What a model is called: its folder, or the name that the hub's cache keeps it under,
 * models--ORGANISATION--NAME/snapshots/REVISION. */
static void write_name(const char *path, const char *name, struct gguf_writer *w)
{
    static const char mark[] = "models--", snapshots[] = "/snapshots/";
    if (name) {
        gguf_writer_string(w, "general.name", name, strlen(name));
        return;
    }
    char *real = realpath(path, NULL);
    size_t n;
    const char *last = last_part(real ? real : path, &n);
    const char *cut = real ? strstr(real, snapshots) : NULL;
    if (cut && last == cut + sizeof snapshots - 1) {
        char *parent = mem_strndup(real, (size_t)(cut - real));
        const char *entry = last_part(parent, &n);
        if (strncmp(entry, mark, sizeof mark - 1) == 0) {
            const char *at = entry + sizeof mark - 1;
            const char *second = strstr(at, "--");
            at = second ? second + 2 : at;
            gguf_writer_string(w, "general.name", at, strlen(at));
            free(parent);
            free(real);
            return;
        }
        free(parent);
        last = last_part(real, &n);
    }
    gguf_writer_string(w, "general.name", last, n);
    free(real);
}

/* A classification head has a row for each class that config.json names. */
static bool check_labels(const struct folder *f, struct error *e)
{
    const struct planned *head = hf_plan_find(&f->plan, "cls.output.weight");
    size_t n = 0;
    if (!head || !hf_label_count(&f->family, &n, e)) {
        return !head;
    }
    return n == 0 || head->dims[1] == n ||
           error_set(
               e, ERROR_INPUT,
               "%s: id2label names %zu class%s and the head has rows for %llu: config.json and "
               "weights belong to different models",
               f->path, n, n == 1 ? "" : "es", (unsigned long long)head->dims[1]);
}

/* A head of its own that is promised and is not there: the embedding takes its place, as where the
 * head is tied to it. */
static void warn_of_head(const struct folder *f)
{
    const json_t *tied = hf_config_get(f->config, "tie_word_embeddings");
    if (!json_is_false(tied) || hf_plan_find(&f->plan, "output.weight")) {
        return;
    }
    for (size_t i = 0; i < f->family.half->n_tensors; i++) {
        const struct arch_hf_tensor *entry = &f->family.half->tensors[i];
        if (entry->to && strcmp(entry->to, "output") == 0 && entry->unless &&
            hf_family_has_class(&f->family, entry->only)) {
            log_write(LOG_WARN,
                      "%s: tie_word_embeddings is false and the weights have no %s.weight: the "
                      "embedding is used in its place",
                      f->config->path, entry->from);
            return;
        }
    }
}

static bool read_all(struct folder *f, const char *name, struct gguf_writer *w, struct error *e)
{
    if (!hf_family_find(f->config, &f->family, e) || !hf_keys_write(&f->family, w, e) ||
        !hf_rope_write(&f->family, w, &f->computed, e)) {
        return false;
    }
    gguf_writer_string(w, "general.type", "model", 5);
    gguf_writer_u32(w, "general.quantization_version", 2);
    write_name(f->path, name, w);
    f->weights = hf_weights_open(f->path, e);
    if (!f->weights) {
        return false;
    }
    if (!hf_plan_make(&f->family, f->weights, &f->computed, &f->plan, e)) {
        return error_prefix(e, "%s: ", f->path);
    }
    warn_of_head(f);
    return check_labels(f, e) && hf_sampling_write(f->path, w, e) &&
           hf_pooling_write(&f->family, f->path, w, e) &&
           hf_vocabulary_write(f, w, &f->has_vocabulary, e) && hf_template_write(f->path, w, e);
}

struct folder *hf_folder_open(const char *path, const char *name, struct gguf_writer *w,
                              struct error *e)
{
    if (!hf_is_folder(path)) {
        error_set(e, ERROR_IO,
                  hf_is_adapter(path) ? "%s is an adapter, not a model, and is used as it is: give "
                                        "it to the model that it is of, with --lora"
                  : file_is_directory(path)
                      ? "%s has no config.json: give the folder of a Hugging Face model"
                      : "%s is not a folder",
                  path);
        return NULL;
    }
    struct config *config = hf_config_open(path, "config.json", false, e);
    if (!config) {
        return NULL;
    }
    struct folder *f = mem_zalloc(sizeof *f);
    f->path = mem_strdup(path);
    f->config = config;
    if (!read_all(f, name, w, e)) {
        hf_folder_close(f);
        return NULL;
    }
    return f;
}

void hf_folder_close(struct folder *f)
{
    if (f) {
        hf_plan_free(&f->plan);
        hf_rope_free(&f->computed);
        hf_weights_close(f->weights);
        hf_config_close(f->config);
        free(f->path);
        free(f);
    }
}
