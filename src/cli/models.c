#include "cli/models.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "hf/hf.h"

#ifdef LLLM_HAVE_STARTER
extern const unsigned char lllm_starter_begin[], lllm_starter_end[];
#endif

static bool starter_get(struct model_source *s)
{
#ifdef LLLM_HAVE_STARTER
    *s = (struct model_source){
        .name = mem_strdup(MODELS_STARTER),
        .data = lllm_starter_begin,
        .size_bytes = (uint64_t)(lllm_starter_end - lllm_starter_begin),
    };
    return true;
#else
    (void)s;
    return false;
#endif
}

static char *join(const char *a, const char *b, const char *c)
{
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    buf_printf(&out, "%s%s%s", a, b, c);
    return buf_take(&out, NULL);
}

char *models_user_path(const char *variable, const char *fallback, const char *sub)
{
    const char *home = getenv("LLLM_HOME");
    if (home && *home) {
        return join(home, "/", sub);
    }
    home = getenv(variable);
    if (home && *home == '/') {
        return join(home, "/lllm-lab/", sub);
    }
    home = getenv("HOME");
    if (home && *home) {
        char *base = join(home, "/", fallback);
        char *path = join(base, "/lllm-lab/", sub);
        free(base);
        return path;
    }
    return NULL;
}

char *models_folder(void)
{
    return models_user_path("XDG_CACHE_HOME", ".cache", "models");
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n > m && strcmp(text + n - m, tail) == 0;
}

static bool is_file(const char *path)
{
    return file_exists(path) && !file_is_directory(path);
}

/* The first of the files in which a model of this name lies ("NAME-00001-of-00003.gguf"), or NULL.
 */
static char *first_shard(const char *folder, const char *name)
{
    size_t n = strlen(name);
    uint32_t number, count;
    char *path = NULL;
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && !path && (entry = readdir(d));) {
        if (strncmp(entry->d_name, name, n) == 0 &&
            strlen(entry->d_name) == n + GGUF_SHARD_TAIL_BYTES &&
            gguf_shard_name(entry->d_name, &number, &count) && number == 1) {
            path = join(folder, "/", entry->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
    return path;
}

/* The file that a bare name means, or NULL. */
static char *installed_path(const char *name)
{
    char *folder = *name && *name != '.' && !strchr(name, '/') ? models_folder() : NULL;
    if (!folder) {
        return NULL;
    }
    char *stem = join(folder, "/", name);
    char *path = join(stem, ".gguf", "");
    if (!is_file(path)) {
        free(path);
        path = ends_with(stem, ".gguf") && is_file(stem) ? mem_strdup(stem)
                                                         : first_shard(folder, name);
    }
    free(stem);
    free(folder);
    return path;
}

bool models_is_path(const char *argument)
{
    return strchr(argument, '/') || ends_with(argument, ".gguf");
}

static const char *list_candidate(const void *context, size_t index)
{
    const struct model_source *list = context;
    return list[index].name;
}

/* The name in the list that differs from the argument in the case of letters alone, or NULL. */
static const char *other_case(const struct model_source *list, const char *argument)
{
    for (; list->name; list++) {
        if (strcasecmp(list->name, argument) == 0 && strcmp(list->name, argument) != 0) {
            return list->name;
        }
    }
    return NULL;
}

static bool not_found(const char *argument, struct error *e)
{
    if (models_is_path(argument)) {
        return error_set(
            e, ERROR_IO,
            "there is no file \"%s\"; give the path of a .gguf file or of a Hugging Face "
            "folder",
            argument);
    }
    char *folder = models_folder();
    size_t n;
    struct model_source *list = models_list(&n);
    const char *near = other_case(list, argument);
    near = near ? near : options_nearest(argument, list_candidate, list);
    error_set(e, ERROR_IO,
              "there is no model \"%.100s\" in %.200s; give the path of a .gguf file or put one "
              "there%s%.60s%s",
              argument, folder ? folder : "the models folder (HOME is not set)",
              near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    models_list_free(list, n);
    free(folder);
    return false;
}

bool models_find(const char *argument, struct model_source *s, struct error *e)
{
    bool starter = strcmp(argument, MODELS_STARTER) == 0;
    if (starter && starter_get(s)) {
        return true;
    }
    bool there = is_file(argument) || hf_is_folder(argument);
    char *path = !starter && there ? mem_strdup(argument) : NULL;
    path = path ? path : installed_path(argument);
    if (path) {
        *s = (struct model_source){.name = mem_strdup(argument), .path = path};
        return true;
    }
    if (starter) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "this build has no built-in model; name a model or the path of a .gguf "
                         "file (lllm list shows what is here)");
    }
    if (file_is_directory(argument)) {
        return error_set(
            e, ERROR_IO,
            "%s is a folder; give the path of a .gguf file, or of a Hugging Face folder (one "
            "with a config.json)",
            argument);
    }
    return not_found(argument, e);
}

void models_release(struct model_source *s)
{
    free(s->name);
    free(s->path);
    *s = (struct model_source){0};
}

bool models_is_model(const char *argument)
{
    if (strcmp(argument, MODELS_STARTER) == 0) {
        return true;
    }
    if (*argument && file_exists(argument)) {
        return true;
    }
    if (!argument[strcspn(argument, " \t\n")] && models_is_path(argument)) {
        return true;
    }
    char *path = installed_path(argument);
    size_t n;
    struct model_source *list = models_list(&n);
    bool meant = path || other_case(list, argument);
    models_list_free(list, n);
    free(path);
    return meant;
}

void models_name_in_error(struct error *e, const char *name)
{
    if (!strstr(e->message, name)) {
        error_prefix(e, "%s: ", name);
    }
}

static struct gguf *open_gguf(const struct model_source *s,
                              struct gguf *(*open_folder)(const char *, struct error *),
                              struct error *e)
{
    struct gguf *g = !s->path                ? gguf_open_memory(s->data, s->size_bytes, e)
                     : hf_is_folder(s->path) ? open_folder(s->path, e)
                                             : gguf_open(s->path, e);
    if (!g) {
        models_name_in_error(e, s->path ? s->path : s->name);
    }
    return g;
}

struct gguf *models_open_gguf(const struct model_source *s, struct error *e)
{
    return open_gguf(s, hf_open, e);
}

struct gguf *models_open_to_write(const struct model_source *s, struct error *e)
{
    return open_gguf(s, hf_open_to_write, e);
}

struct engine *models_open_engine_as(const struct model_source *s, const struct engine_options *how,
                                     struct error *e)
{
    struct engine *en = NULL;
    if (s->path && hf_is_folder(s->path)) {
        struct gguf *g = hf_open(s->path, e);
        en = g ? engine_open_gguf(g, s->path, how, e) : NULL;
    } else {
        en = s->path ? engine_open(s->path, how, e)
                     : engine_open_memory(s->data, s->size_bytes, s->name, how, e);
    }
    if (!en) {
        models_name_in_error(e, s->path ? s->path : s->name);
    }
    return en;
}

struct engine_options models_engine_options(const struct common_options *o)
{
    return (struct engine_options){
        .n_threads = o->n_threads,
        .context_size = o->context_size,
        .batch_size = o->batch_size,
        .kv_type = o->kv_type,
        .kv_type_fixed = o->kv_type_fixed,
        .memory_bytes = o->memory_bytes,
        .huge_pages = o->huge_pages,
        .throughput = o->throughput,
    };
}

struct engine *models_open_engine(const struct model_source *s, const struct common_options *o,
                                  struct error *e)
{
    struct engine_options how = models_engine_options(o);
    return models_open_engine_as(s, &how, e);
}

struct engine *models_open_pair(const struct model_source *s, const struct model_source *d,
                                uint32_t n_sessions, const struct engine_options *o,
                                struct engine **draft, struct error *e)
{
    struct engine_options how = *o;
    struct gguf *header = d ? models_open_gguf(d, e) : NULL;
    *draft = NULL;
    if (d && !header) {
        return NULL;
    }
    how.n_drafts = DRAFT_MOST;
    how.draft = header;
    how.n_draft_sessions = n_sessions;
    struct engine *en = models_open_engine_as(s, &how, e);
    gguf_close(header);
    if (en && d) {
        how.pool = engine_pool(en);
        struct engine_options beside = engine_draft_options(&how, engine_context_size(en));
        *draft = models_open_engine_as(d, &beside, e);
        if (!*draft) {
            engine_close(en);
            return NULL;
        }
    }
    return en;
}

static int by_name(const void *a, const void *b)
{
    const struct model_source *x = a, *y = b;
    bool x_file = x->path != NULL, y_file = y->path != NULL;
    return x_file != y_file ? x_file - y_file : strcmp(x->name, y->name);
}

/* The list ends with an element without a name. */
struct model_source *models_list(size_t *n)
{
    size_t count = 0, capacity = 16;
    struct model_source *list = mem_array(capacity, sizeof *list);
    count += starter_get(&list[0]);
    char *folder = models_folder();
    DIR *d = folder ? opendir(folder) : NULL;
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        uint32_t number = 1, of;
        bool shard = gguf_shard_name(entry->d_name, &number, &of);
        if (entry->d_name[0] == '.' || !ends_with(entry->d_name, ".gguf") || number != 1) {
            continue; /* the first part stands for all */
        }
        size_t tail = shard ? GGUF_SHARD_TAIL_BYTES : 5;
        if (count + 1 == capacity) {
            capacity *= 2;
            list = mem_resize(list, capacity * sizeof *list);
        }
        list[count++] = (struct model_source){
            .name = mem_strndup(entry->d_name, strlen(entry->d_name) - tail),
            .path = join(folder, "/", entry->d_name),
        };
    }
    if (d) {
        closedir(d);
    }
    free(folder);
    list[count] = (struct model_source){0};
    qsort(list, count, sizeof *list, by_name);
    *n = count;
    return list;
}

void models_list_free(struct model_source *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        models_release(&list[i]);
    }
    free(list);
}
