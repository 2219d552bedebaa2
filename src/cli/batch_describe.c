/* batch_describe.c: by what a journal knows its run: models, options and lines. */
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/batch.h"
#include "cli/term.h"
#include "kernels/kernels.h"

static json_t *text_or_null(const char *text)
{
    return text ? term_json_text(text, strlen(text)) : json_null();
}

/* Of a file its text counts, not its name. What came from standard input is gone: no later run has
 * the same. */
static json_t *file_digest(const char *path)
{
    if (path && strcmp(path, "-") == 0) {
        return json_sprintf("standard input at %.6f", time_now_s());
    }
    struct buf text;
    json_t *digest = json_null();
    buf_init(&text, BATCH_TEXT_MAX_BYTES);
    if (path && file_read(path, BATCH_TEXT_MAX_BYTES, &text, NULL)) {
        uint64_t number = digest_number(text.data ? text.data : "", text.len);
        digest = json_sprintf("%016llx", (unsigned long long)number);
    }
    buf_free(&text);
    return digest;
}

/* What the options say about the form of answers. */
static json_t *describe_form(const struct constrain_options *o)
{
    return json_pack("[o, o, o, b, o]", file_digest(o->grammar), text_or_null(o->regex),
                     text_or_null(o->choices), (int)o->json_format, file_digest(o->json_schema));
}

static json_t *texts_json(const struct string_list *list)
{
    json_t *texts = json_array();
    for (size_t i = 0; i < list->n; i++) {
        json_array_append_new(texts, text_or_null(list->items[i]));
    }
    return texts;
}

/* A built-in template by its name, a file by its text. */
static json_t *describe_template(const char *name_or_file)
{
    bool file = name_or_file && (!strcmp(name_or_file, "-") || file_exists(name_or_file));
    return file ? file_digest(name_or_file) : text_or_null(name_or_file);
}

/* An adapter by its content and its strength. NULL: it cannot be read. */
static json_t *describe_adapter(const char *path, float strength, struct error *e)
{
    struct digest digest;
    char text[DIGEST_TEXT_BYTES];
    return adapters_digest(path, &digest, e)
               ? json_pack("[s, f]", digest_text(&digest, text), (double)strength)
               : NULL;
}

static bool describe_adapters(const struct batch *b, json_t *run, struct error *e)
{
    json_t *lora = json_array(), *modules = json_object();
    json_object_set_new(run, "lora", lora);
    json_object_set_new(run, "lora_modules", modules);
    if (b->o->lora.n) { /* whose they are */
        json_object_set_new(run, "lora_of", json_string(b->models.items[0].digest));
    }
    for (size_t i = 0; i < b->o->lora.n; i++) {
        float strength;
        char *path = adapters_argument(b->o->lora.items[i], &strength, e);
        json_t *one = path ? describe_adapter(path, strength, e) : NULL;
        free(path);
        if (json_array_append_new(lora, one) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < b->models.n_modules; i++) {
        const struct batch_module *m = &b->models.modules[i];
        json_t *one = describe_adapter(m->path, m->strength, e);
        if (json_object_set_new(modules, m->name, one) != 0) {
            return false;
        }
    }
    return true;
}

static int by_digest(const void *a, const void *b)
{
    const struct batch_model *const *x = a, *const *y = b;
    return strcmp((*x)->digest, (*y)->digest);
}

/* Models by their content, not by name, and in an order that names do not change. */
static json_t *describe_models(const struct batch *b)
{
    json_t *models = json_array();
    struct batch_model **sorted = mem_array(b->n_turns + 1, sizeof *sorted);
    if (b->n_turns) {
        memcpy(sorted, b->turns, b->n_turns * sizeof *sorted);
        qsort(sorted, b->n_turns, sizeof *sorted, by_digest);
    }
    for (size_t i = 0; i < b->n_turns; i++) {
        json_array_append_new(
            models, json_pack("[s, i]", sorted[i]->digest, (int)sorted[i]->plan.context_size));
    }
    free(sorted);
    return models;
}

/* Of each line, with the model that it means: names may come to mean another. One that repeats an
 * id is another line than where it does not, and so is one with more answers before it. */
uint64_t *batch_digest_lines(const struct batch *b)
{
    uint64_t *digests = mem_array(b->lines.n, sizeof *digests);
    for (size_t i = 0; i < b->lines.n; i++) {
        digests[i] = digest_number(b->lines.items[i].text, b->lines.items[i].n);
        digests[i] = b->first[i] == i ? digests[i] : ~digests[i];
        digests[i] ^= digest_number(&b->n_before[i], sizeof b->n_before[i]); /* its seed */
    }
    for (size_t i = 0; i < b->n_turns; i++) {
        const struct batch_model *m = b->turns[i];
        uint64_t model = digest_number(m->digest, strlen(m->digest));
        for (size_t k = 0; k < m->n_lines; k++) {
            digests[m->lines[k]] ^= model;
        }
    }
    return digests;
}

json_t *batch_describe(const struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    struct sampling how = b->defaults.sampling;
    how.seed = 0;
    json_t *run = json_pack(
        "{s:o, s:s, s:s, s:o, s:o, s:o, s:O?, s:I, s:o, s:b, s:b, s:i, s:o, s:O?, s:b, s:b, s:i}",
        "models", describe_models(b), "kernels", kernels_select_for(o->common.throughput)->name,
        "kv_type", model_kv_name(o->common.kv_type), "sampling", sampling_json(&how), "template",
        describe_template(o->chat_template), "system", text_or_null(o->system), "tools",
        b->defaults.tools, "max_tokens", (json_int_t)o->max_tokens, "stop", texts_json(&o->stop),
        "json", (int)b->lines.json, "raw", (int)o->raw, "thinking", (int)b->defaults.thinking,
        "form", describe_form(&o->form), "tool_choice", b->defaults.tool_choice, "ignore_eos",
        (int)o->ignore_eos, "logprobs", (int)o->logprobs, "top", (int)o->n_top);
    if (!describe_adapters(b, run, e)) {
        json_decref(run);
        return NULL;
    }
    return run;
}
