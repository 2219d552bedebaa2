#include "hf/weights.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "base/json_scan.h"

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

enum { MAX_FILE_NAME_BYTES = 255, MAX_INDEX_BYTES = 256 << 20 };

struct place {
    const struct safetensors_tensor *tensor;
    uint32_t file;
};

struct weights {
    struct arena *arena;
    struct safetensors *files[WEIGHTS_MAX_FILES];
    const char *names[WEIGHTS_MAX_FILES]; /* of the files, without the folder */
    uint32_t n_files;
    struct place *places;
    size_t n_places, capacity;
    struct strmap *index; /* tensor -> index in places */
};

char *hf_folder_path(const char *folder, const char *name)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    buf_printf(&b, "%s/%s", folder, name);
    return buf_take(&b, NULL);
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Opens one file and adds its tensors. */
static bool add_file(struct weights *w, const char *folder, const char *name, struct error *e)
{
    char *path = hf_folder_path(folder, name);
    struct safetensors *f = NULL;
    if (file_exists(path)) {
        f = safetensors_open(path, e);
    } else {
        error_set(e, ERROR_IO,
                  "%s is missing, which %s names: download the model again, or what is missing of "
                  "it",
                  path, index_name);
    }
    free(path);
    if (!f) {
        return false;
    }
    uint32_t file = w->n_files++;
    w->files[file] = f;
    w->names[file] = arena_strndup(w->arena, name, strlen(name));
    for (size_t i = 0; i < safetensors_count(f); i++) {
        const struct safetensors_tensor *t = safetensors_at(f, i);
        if (!strmap_add(w->index, t->name, strlen(t->name), (uint32_t)w->n_places)) {
            char shown[UTF8_QUOTE_BYTES];
            uint32_t first = 0;
            strmap_get(w->index, t->name, strlen(t->name), &first);
            return error_set(e, ERROR_INPUT,
                             "%s: the tensor %s is in %.80s and in %.80s; the files belong to "
                             "different models: download them again",
                             folder, utf8_quote(shown, t->name, strlen(t->name)),
                             w->names[w->places[first].file], name);
        }
        if (w->n_places == SAFETENSORS_MAX_TENSORS) {
            return error_set(e, ERROR_LIMIT, "%s has more than %d tensors", folder,
                             SAFETENSORS_MAX_TENSORS);
        }
        if (w->n_places == w->capacity) {
            w->capacity = 2 * w->capacity + 64;
            w->places = mem_resize(w->places, w->capacity * sizeof *w->places);
        }
        w->places[w->n_places++] = (struct place){t, file};
    }
    return true;
}

/* ---- the index ------------------------------------------------------------------------------- */

/* A file of the same folder: no path. */
static bool check_file_name(struct json_scan *s, const struct buf *name)
{
    char shown[UTF8_QUOTE_BYTES];
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+";
    if (name->data[0] == '.' || strspn(name->data, allowed) != name->len ||
        !ends_with(name->data, ".safetensors")) {
        return json_scan_fail(s,
                              "%s is no name of a .safetensors file beside it, and no other is "
                              "opened",
                              utf8_quote(shown, name->data, name->len));
    }
    return true;
}

/* Walks "weight_map"; with open: opens each file that is new; otherwise checks that each tensor is
 * where it is said to be. */
static bool read_map(struct weights *w, const char *folder, struct json_scan *s, bool open)
{
    struct buf tensor, file;
    bool ok, more = true;
    buf_init(&tensor, SAFETENSORS_MAX_NAME_BYTES);
    buf_init(&file, MAX_FILE_NAME_BYTES);
    ok = json_scan_object(s);
    while (ok && (ok = json_scan_key(s, &tensor, &more)) && more) {
        uint32_t at = 0, known = 0;
        ok = json_scan_string(s, &file) && check_file_name(s, &file);
        if (!ok) {
            break;
        }
        /* The files come in runs: look at the last one first. */
        for (known = w->n_files; known > 0 && strcmp(w->names[known - 1], file.data) != 0;) {
            known--;
        }
        if (open && known == 0) {
            ok = w->n_files < WEIGHTS_MAX_FILES
                     ? add_file(w, folder, file.data, s->e)
                     : json_scan_fail(s, "it names more than %d files", WEIGHTS_MAX_FILES);
        }
        if (!open && (!strmap_get(w->index, tensor.data, tensor.len, &at) ||
                      w->places[at].file + 1 != known)) {
            char shown[UTF8_QUOTE_BYTES];
            ok = json_scan_fail(s, "the tensor %s is not in %.80s; download both again",
                                utf8_quote(shown, tensor.data, tensor.len), file.data);
        }
    }
    buf_free(&tensor);
    buf_free(&file);
    return ok;
}

static bool read_index(struct weights *w, const char *folder, const struct file_map *map, bool open,
                       struct error *e)
{
    struct json_scan s;
    struct buf key;
    bool more = true, has_map = false;
    bool ok =
        json_scan_begin(&s, (const char *)map->data, (size_t)map->size_bytes, 0, index_name, e) &&
        json_scan_object(&s);
    buf_init(&key, 1 << 16);
    while (ok && (ok = json_scan_key(&s, &key, &more)) && more) {
        if (strcmp(key.data, "weight_map") != 0) {
            ok = json_scan_skip(&s);
        } else if (has_map) {
            ok = json_scan_fail(&s, "weight_map is there twice");
        } else {
            has_map = true;
            ok = read_map(w, folder, &s, open);
        }
    }
    buf_free(&key);
    return ok && json_scan_end(&s) &&
           (has_map ||
            error_set(e, ERROR_INPUT, "%s has no weight_map, which says what is in which file",
                      index_name));
}

static bool open_indexed(struct weights *w, const char *folder, const char *path, struct error *e)
{
    struct file_map map;
    if (!file_map_open(path, &map, e)) {
        return false;
    }
    bool ok = map.size_bytes <= MAX_INDEX_BYTES ||
              error_set(e, ERROR_LIMIT, "%s has more than %d bytes", index_name, MAX_INDEX_BYTES);
    ok = ok && read_index(w, folder, &map, true, e) && read_index(w, folder, &map, false, e);
    file_map_close(&map);
    if (!ok && e && !strstr(e->message, folder)) {
        error_prefix(e, "%s: ", folder);
    }
    return ok;
}

/* ---- the folder ------------------------------------------------------------------------------ */

/* What the folder has instead of model.safetensors, and what to do about it. */
static const struct {
    const char *start, *tail;
    const char *what;
} others[] = {
    {"model-", ".safetensors",
     "has parts of a model but not model.safetensors.index.json, which says what is in them: "
     "download it too"},
    {"adapter_model", ".safetensors",
     "is an adapter (LoRA), not a model: merge it into its base model and save that "
     "(merge_and_unload of the peft library)"},
    {"consolidated", ".safetensors",
     "has its weights under Mistral's own names (consolidated.safetensors): download the "
     "model.safetensors files of the same model"},
    {"pytorch_model", ".bin",
     "has its weights as pytorch_model.bin, pickled Python objects, which can run programs and are "
     "not read: download the .safetensors files of the model, or convert it in Python with "
     "AutoModel.from_pretrained(\"FOLDER\").save_pretrained(\"NEW FOLDER\")"},
    {"", ".gguf", "has GGUF files: give the path of one of them"},
    {"tf_model", ".h5", "has its weights for TensorFlow: download the .safetensors files"},
    {"flax_model", ".msgpack", "has its weights for Flax: download the .safetensors files"},
    {"", ".onnx", "has its weights for ONNX: download the .safetensors files"},
};

static bool nothing_there(const char *folder, struct error *e)
{
    enum { N_OTHERS = sizeof others / sizeof *others };
    size_t found = N_OTHERS;
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        for (size_t i = 0; i < found; i++) {
            if (strncmp(entry->d_name, others[i].start, strlen(others[i].start)) == 0 &&
                ends_with(entry->d_name, others[i].tail)) {
                found = i;
            }
        }
    }
    if (d) {
        closedir(d);
    }
    return error_set(e, found < N_OTHERS ? ERROR_UNSUPPORTED : ERROR_IO, "%s %s", folder,
                     found < N_OTHERS ? others[found].what
                                      : "has no model.safetensors: give the folder of a model, "
                                        "with config.json and .safetensors files");
}

struct weights *hf_weights_open(const char *folder, struct error *e)
{
    struct weights *w = mem_zalloc(sizeof *w);
    char *index = hf_folder_path(folder, index_name), *single = hf_folder_path(folder, single_name);
    w->arena = arena_new();
    w->index = strmap_new(256);
    bool ok = file_exists(index)    ? open_indexed(w, folder, index, e)
              : file_exists(single) ? add_file(w, folder, single_name, e)
                                    : nothing_there(folder, e);
    free(index);
    free(single);
    if (!ok) {
        hf_weights_close(w);
        return NULL;
    }
    return w;
}

void hf_weights_close(struct weights *w)
{
    if (w) {
        for (uint32_t i = 0; i < w->n_files; i++) {
            safetensors_close(w->files[i]);
        }
        strmap_free(w->index);
        arena_free(w->arena);
        free(w->places);
        free(w);
    }
}

size_t hf_weights_count(const struct weights *w)
{
    return w->n_places;
}

const struct safetensors_tensor *hf_weights_at(const struct weights *w, size_t index)
{
    return index < w->n_places ? w->places[index].tensor : NULL;
}

const struct safetensors_tensor *hf_weights_find(const struct weights *w, const char *name)
{
    uint32_t i;
    return strmap_get(w->index, name, strlen(name), &i) ? w->places[i].tensor : NULL;
}
