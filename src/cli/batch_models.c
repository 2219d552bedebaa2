#include "cli/batch_models.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/answer.h"
#include "cli/chat_input.h"
#include "cli/term.h"

struct batch_name {
    char *text;
    size_t model;
};

/* ---- names ----------------------------------------------------------------------------------- */

static size_t find_name(const struct batch_models *m, const char *text)
{
    size_t i = 0;
    while (i < m->n_names && strcmp(m->names[i].text, text) != 0) {
        i++;
    }
    return i;
}

/* A name that is there stays with whom it means. */
static void add_name(struct batch_models *m, const char *text, size_t n, size_t model)
{
    char *name = mem_strndup(text, n);
    if (!n || find_name(m, name) < m->n_names) {
        free(name);
        return;
    }
    m->names = mem_resize(m->names, (m->n_names + 1) * sizeof *m->names);
    m->names[m->n_names++] = (struct batch_name){name, model};
}

/* As it is spelled, and a path by its last part too. */
static void add_names_of(struct batch_models *m, const char *argument, size_t model)
{
    const char *slash = strrchr(argument, '/');
    const char *name = slash ? slash + 1 : argument;
    size_t n = strlen(name);
    add_name(m, argument, strlen(argument), model);
    add_name(m, name, n, model);
    if (n > 5 && strcmp(name + n - 5, ".gguf") == 0) {
        add_name(m, name, n - 5, model);
    }
}

static bool same_file(const struct model_source *a, const struct model_source *b)
{
    char x[PATH_MAX], y[PATH_MAX];
    return !a->path || !b->path ? a->path == b->path
                                : realpath(a->path, x) && realpath(b->path, y) && !strcmp(x, y);
}

/* The index of a model that is new or there already; m->n after an error. */
static size_t add_model(struct batch_models *m, const char *argument, struct error *e)
{
    struct model_source source;
    if (!models_find(argument, &source, e)) {
        return m->n;
    }
    size_t i = 0;
    while (i < m->n && !same_file(&m->items[i].source, &source)) {
        i++;
    }
    if (i < m->n) {
        models_release(&source);
    } else {
        m->items = mem_resize(m->items, (m->n + 1) * sizeof *m->items);
        m->items[m->n++] = (struct batch_model){.source = source};
    }
    add_names_of(m, argument, i);
    return i;
}

/* "MODEL" or "NAME=MODEL"; a file that is there with its '=' is meant so. */
static bool add_spelled(struct batch_models *m, const char *text, struct error *e)
{
    const char *equals = file_exists(text) ? NULL : strchr(text, '=');
    if (!*text || equals == text || (equals && !equals[1])) {
        return error_set(e, ERROR_USAGE,
                         "--models takes MODEL or NAME=MODEL, with commas between several, and "
                         "one of them is empty");
    }
    size_t n = m->n, i = add_model(m, equals ? equals + 1 : text, e);
    if (i == n && i == m->n) {
        return false;
    }
    if (equals) {
        char *name = mem_strndup(text, (size_t)(equals - text));
        size_t at = find_name(m, name);
        bool taken = at < m->n_names && m->names[at].model != i;
        add_name(m, name, strlen(name), i);
        free(name);
        return !taken || error_set(e, ERROR_USAGE, "--models gives the name \"%.*s\" to two models",
                                   (int)(equals - text), text);
    }
    return true;
}

static bool add_list(struct batch_models *m, const char *list, struct error *e)
{
    if (file_exists(list)) {
        return add_spelled(m, list, e); /* a comma in its name */
    }
    bool ok = true;
    for (const char *at = list; ok;) {
        size_t n = strcspn(at, ",");
        char *text = mem_strndup(at, n);
        ok = add_spelled(m, text, e);
        free(text);
        if (!at[n]) {
            break;
        }
        at += n + 1;
    }
    return ok;
}

static bool add_module(struct batch_models *m, const char *argument, struct error *e)
{
    const char *equals = strchr(argument, '=');
    if (!equals || equals == argument || !equals[1]) {
        return error_set(e, ERROR_USAGE,
                         "--lora-modules takes NAME=FILE or NAME=FILE=X, not \"%.200s\"", argument);
    }
    struct batch_module module = {.name = mem_strndup(argument, (size_t)(equals - argument))};
    struct error why = {0};
    size_t at;
    bool twice = batch_models_module(m, module.name, &at, NULL);
    bool of_model = find_name(m, module.name) < m->n_names; /* and "model" may mean either */
    module.path = twice || of_model ? NULL : adapters_argument(equals + 1, &module.strength, &why);
    if (!module.path) {
        bool set = twice ? error_set(e, ERROR_USAGE, "--lora-modules gives the name \"%s\" twice",
                                     module.name)
                   : of_model
                       ? error_set(e, ERROR_USAGE,
                                   "--lora-modules gives an adapter the name \"%s\", which is that "
                                   "of a model",
                                   module.name)
                       : error_set(e, why.code,
                                   "--lora-modules %.200s: what stands behind the "
                                   "last = must be a number from -%d to %d%s",
                                   argument, ADAPTERS_MAX_STRENGTH, ADAPTERS_MAX_STRENGTH,
                                   strchr(argument, ',')
                                       ? " (several adapters: --lora-modules once for each)"
                                       : "");
        free(module.name);
        return set;
    }
    m->modules = mem_resize(m->modules, (m->n_modules + 1) * sizeof *m->modules);
    m->modules[m->n_modules++] = module;
    return true;
}

bool batch_models_find(struct batch_models *m, const struct batch_model_options *o,
                       const char *first, const struct string_list *more,
                       const struct string_list *modules, struct error *e)
{
    *m = (struct batch_models){.o = *o};
    add_model(m, first, e);
    bool ok = m->n > 0 &&
              (!o->draft || models_find(o->draft, &m->draft, e) || error_prefix(e, "--draft: "));
    for (size_t i = 0; ok && i < more->n; i++) {
        ok = add_list(m, more->items[i], e);
    }
    for (size_t i = 0; ok && i < modules->n; i++) {
        ok = add_module(m, modules->items[i], e);
    }
    for (size_t i = 0; ok && i < m->n; i++) {
        m->items[i].asks = mem_array(m->n_modules + 1, sizeof *m->items[i].asks);
    }
    return ok;
}

/* Paths are long, and have a short name too. */
static bool not_named(const struct batch_models *m, const char *name, struct error *e)
{
    char names[200] = "";
    size_t used = 0;
    for (size_t i = 0; i < m->n_names + m->n_modules && used + 40 < sizeof names; i++) {
        const char *next = i < m->n_names ? m->names[i].text : m->modules[i - m->n_names].name;
        if (!strchr(next, '/')) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%.30s", used ? ", " : "",
                                     next);
        }
    }
    return error_set(e, ERROR_INPUT,
                     "\"model\": there is no \"%.60s\" in this run (there are: %s); --models "
                     "NAME=MODEL says which one a name means",
                     name, names);
}

bool batch_models_module(const struct batch_models *m, const char *name, size_t *module,
                         struct error *e)
{
    for (*module = 0; *module < m->n_modules; ++*module) {
        if (strcmp(m->modules[*module].name, name) == 0) {
            return true;
        }
    }
    return error_set(e, ERROR_INPUT,
                     "\"lora\": there is no adapter \"%.60s\" in this run; --lora-modules "
                     "NAME=FILE gives one that name",
                     name);
}

bool batch_models_named(const struct batch_models *m, const char *name, size_t *model,
                        size_t *module, struct error *e)
{
    size_t at = find_name(m, name);
    *module = m->n_modules;
    *model = at < m->n_names ? m->names[at].model : 0;
    return at < m->n_names || batch_models_module(m, name, module, NULL) || not_named(m, name, e);
}

void batch_models_ask(struct batch_models *m, size_t model, const json_t *lora)
{
    size_t n = json_is_array(lora) ? json_array_size(lora) : 1, module;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(lora) ? json_array_get(lora, i) : lora;
        const char *name =
            json_string_value(json_is_object(one) ? json_object_get(one, "name") : one);
        if (name && batch_models_module(m, name, &module, NULL)) {
            m->items[model].asks[module] = true;
        }
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool size_of(void *context, const char *name, uint64_t *size_bytes, struct error *e);
static void *open_model(void *context, const char *name, struct error *e);
static void close_model(void *context, void *model);

bool batch_models_plan(struct batch_models *m, struct error *e)
{
    if (!batch_plan_all(m, e)) {
        return false;
    }
    struct shelf_models models = {size_of, open_model, close_model, m};
    struct shelf_options shelf;
    shelf_defaults(&shelf);
    shelf.keep_alive_ms = 0; /* who has been given back is done */
    shelf.memory_bytes = m->n_used < 2 || m->room_bytes == SYSMEM_UNKNOWN ? 0 : m->room_bytes;
    m->pool = pool_new(m->o.common->n_threads, e);
    m->shelf = m->pool ? shelf_new(&models, &shelf, e) : NULL;
    return m->shelf != NULL;
}

bool batch_models_fits(const struct batch_models *m, const struct batch_model *model)
{
    uint64_t room = m->room_bytes;
    bool fits = true;
    for (size_t i = 0; fits && i < m->n; i++) {
        const struct batch_model *other = &m->items[i];
        if ((other->hold || other == model) && room != SYSMEM_UNKNOWN) {
            fits = other->budget_bytes <= room;
            room -= fits ? other->budget_bytes : 0;
        }
    }
    return fits;
}

/* ---- loading --------------------------------------------------------------------------------- */

static struct batch_model *find_model(const struct batch_models *m, const char *name)
{
    size_t i = 0;
    while (strcmp(m->items[i].source.name, name) != 0) {
        i++;
    }
    return &m->items[i];
}

static bool size_of(void *context, const char *name, uint64_t *size_bytes, struct error *e)
{
    (void)e;
    *size_bytes = find_model(context, name)->budget_bytes;
    return true;
}

/* Where the machine is the limit, the sentence about too little memory should say so. */
static uint64_t limit_of(const struct batch_models *m, const struct batch_model *model)
{
    uint64_t given = m->o.common->memory_bytes;
    bool alone = m->n_used < 2 || model->budget_bytes >= m->room_bytes;
    return alone || m->room_bytes == SYSMEM_UNKNOWN ? given : model->budget_bytes;
}

static bool open_engine(const struct batch_models *m, const struct batch_model *model,
                        struct batch_engine *b, struct error *e)
{
    struct engine_options how = batch_plan_options(m, model);
    how.pool = m->pool;
    how.memory_bytes = limit_of(m, model);
    const struct model_source *draft = batch_plan_draft(m, model);
    b->engine = draft || m->o.lookup ? models_open_pair(&model->source, draft, QUEUE_DRAFT_SESSIONS,
                                                        &how, &b->draft, e)
                                     : models_open_engine_as(&model->source, &how, e);
    if (!b->engine) {
        return false;
    }
    if (!engine_require_vocabulary(b->engine, e)) {
        models_name_in_error(e, model->source.name);
        return false;
    }
    struct prompter *p = engine_prompter(b->engine);
    return sampling_options_take(m->o.sampling, engine_gguf(b->engine), b->arena, &b->sampling,
                                 e) &&
           sampling_check(&b->sampling, tokenizer_count(engine_tokenizer(b->engine)), e) &&
           (!m->o.chat_template || chat_input_template(p, m->o.chat_template, e));
}

static bool fill_engine(const struct batch_models *m, const struct batch_model *model,
                        struct batch_engine *b, struct error *e)
{
    if (!model->plan.has_kv) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s is an encoder, which writes no text: it serves `lllm embed` and, with "
                         "a classification head, `lllm classify`",
                         model->source.name);
    }
    if (!open_engine(m, model, b, e)) {
        return false;
    }
    bool has_template = prompter_template(engine_prompter(b->engine)) != NULL;
    if (!has_template && !m->o.raw && (m->o.system || m->o.tools)) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s has no chat template, so it cannot take --system or --tools; "
                         "--chat-template chooses one",
                         model->source.name);
    }
    b->raw = m->o.raw || !has_template;
    b->modules = mem_array(m->n_modules + 1, sizeof *b->modules);
    if (model == m->items && !adapters_open(m->o.lora, b->engine, &b->adapters, e)) {
        return false;
    }
    struct queue_options how = {.max_running = model->parallel, .draft_model = b->draft};
    b->queue = queue_new(b->engine, &how, e);
    return b->queue != NULL;
}

static void *open_model(void *context, const char *name, struct error *e)
{
    const struct batch_models *m = context;
    struct batch_engine *b = mem_zalloc(sizeof *b);
    b->arena = arena_new();
    if (!fill_engine(m, find_model(m, name), b, e)) {
        close_model(context, b);
        return NULL;
    }
    return b;
}

static void close_model(void *context, void *model)
{
    const struct batch_models *m = context;
    struct batch_engine *b = model;
    queue_free(b->queue);
    adapters_close(&b->adapters);
    for (size_t i = 0; b->modules && i < m->n_modules; i++) {
        model_adapter_free(b->modules[i]);
    }
    free(b->modules);
    engine_close(b->draft);
    engine_close(b->engine);
    arena_free(b->arena);
    free(b);
}

static bool is_interrupted(void *context)
{
    (void)context;
    return answer_interrupted();
}

bool batch_models_take(struct batch_models *m, struct batch_model *model, struct error *e)
{
    model->hold =
        shelf_acquire(m->shelf, model->source.name, SHELF_DEFAULT, is_interrupted, NULL, e);
    model->loaded = model->hold ? shelf_model(model->hold) : NULL;
    if (model->hold && ++m->n_held > m->most_held) {
        m->most_held = m->n_held;
    }
    if (model->loaded && model->loaded->raw && !m->o.raw && !m->o.common->quiet) {
        term_message("%s has no chat template: continuing the texts as with --raw",
                     model->source.name);
    } else if (model->loaded && m->o.thinking && !m->o.common->quiet) {
        chat_input_note_thinking(engine_prompter(model->loaded->engine), model->source.name);
    }
    return model->loaded != NULL;
}

void batch_models_give(struct batch_models *m, struct batch_model *model)
{
    if (model->hold) {
        shelf_release(m->shelf, model->hold);
        m->n_held--;
        model->hold = NULL;
        model->loaded = NULL;
    }
}

const struct model_adapter *batch_engine_module(const struct batch_models *m,
                                                struct batch_engine *loaded, size_t module,
                                                struct error *e)
{
    struct model_adapter **at = &loaded->modules[module];
    if (!*at) {
        *at = adapters_load(m->modules[module].path, loaded->engine, e);
    }
    return *at;
}

void batch_models_free(struct batch_models *m)
{
    for (size_t i = 0; i < m->n; i++) {
        batch_models_give(m, &m->items[i]);
    }
    shelf_free(m->shelf);
    pool_free(m->pool);
    models_release(&m->draft);
    for (size_t i = 0; i < m->n; i++) {
        models_release(&m->items[i].source);
        free(m->items[i].lines);
        free(m->items[i].asks);
    }
    for (size_t i = 0; i < m->n_names; i++) {
        free(m->names[i].text);
    }
    for (size_t i = 0; i < m->n_modules; i++) {
        free(m->modules[i].name);
        free(m->modules[i].path);
    }
    free(m->items);
    free(m->names);
    free(m->modules);
    *m = (struct batch_models){0};
}
