#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/strmap.h"
#include "cli/answer.h"
#include "cli/batch.h"
#include "cli/term.h"
#include "kernels/kernels.h"

/* ---- which lines begin when ------------------------------------------------------------------ */

struct ranked {
    size_t index;
    int32_t priority;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->priority != y->priority ? (x->priority < y->priority) - (x->priority > y->priority)
                                      : (x->index > y->index) - (x->index < y->index);
}

/* For each line the first one with the same custom_id, or itself. ids[n]: freed. */
static size_t *find_first(char **ids, size_t n)
{
    size_t *first = mem_array(n, sizeof *first);
    struct strmap *seen = strmap_new(n);
    for (size_t i = 0; i < n; i++) {
        uint32_t was;
        first[i] = i;
        if (ids[i] && !strmap_add(seen, ids[i], strlen(ids[i]), (uint32_t)i) &&
            strmap_get(seen, ids[i], strlen(ids[i]), &was)) {
            first[i] = was;
        }
    }
    strmap_free(seen);
    for (size_t i = 0; i < n; i++) {
        free(ids[i]);
    }
    free(ids);
    return first;
}

/* Gives each line to its model: higher priority first, then as they stand in the file. */
static void sort_lines(struct batch *b)
{
    size_t n = b->lines.n;
    struct ranked *order = mem_array(n, sizeof *order);
    size_t *model = mem_array(n, sizeof *model);
    char **ids = mem_array(n, sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        order[i].index = i;
        bool ok = batch_line_sort(&b->lines, i, &b->models, &model[i], &order[i].priority, &ids[i]);
        model[i] = ok ? model[i] : b->models.n;
        b->n_unanswerable += !ok;
        b->models.items[ok ? model[i] : 0].n_lines += ok;
    }
    b->first = find_first(ids, n);
    qsort(order, n, sizeof *order, by_rank);
    b->unanswerable = mem_array(b->n_unanswerable + 1, sizeof *b->unanswerable);
    b->n_unanswerable = 0;
    b->turns = mem_array(b->models.n, sizeof(struct batch_model *));
    for (size_t i = 0; i < b->models.n; i++) {
        struct batch_model *m = &b->models.items[i];
        m->lines = mem_array(m->n_lines + 1, sizeof *m->lines);
        m->n_lines = 0;
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = order[i].index;
        struct batch_model *m = model[at] < b->models.n ? &b->models.items[model[at]] : NULL;
        if (m) {
            if (m->n_lines == 0) {
                b->turns[b->n_turns++] = m;
            }
            m->lines[m->n_lines++] = at;
        } else {
            b->unanswerable[b->n_unanswerable++] = at;
        }
    }
    free(order);
    free(model);
}

static bool goes_on(const struct batch *b)
{
    return !answer_interrupted() && b->failure.code == ERROR_NONE;
}

/* Lines that a journal has answered are passed over. */
static bool has_lines(struct batch *b, struct batch_model *m)
{
    while (m->next < m->n_lines && batch_output_has(b->output, m->lines[m->next])) {
        m->next++;
    }
    return m->next < m->n_lines;
}

/* Lines wait in the queue so that one can begin as soon as another ends; no more answers than that,
 * because each takes memory, but for those of one line. */
static size_t most_asked(const struct batch *b)
{
    return 2 * (size_t)(b->o->parallel ? b->o->parallel : QUEUE_MAX_RUNNING);
}

static void fill_window(struct batch *b, struct batch_model *m)
{
    while (m->n_asked < most_asked(b) && b->failure.code == ERROR_NONE && has_lines(b, m)) {
        batch_start(b, m, m->lines[m->next++]);
    }
}

/* A model that cannot be loaded: of the only one it is the end, of several its lines have the
 * sentence. */
static void cannot_load(struct batch *b, struct batch_model *m, const struct error *why)
{
    struct batch_request r;
    if (b->n_turns < 2) {
        b->failure = *why;
        return;
    }
    while (goes_on(b) && has_lines(b, m)) {
        struct error e = {0};
        size_t index = m->lines[m->next++];
        struct arena *arena = arena_new();
        bool ok = batch_request_read(&b->lines, index, &b->defaults, &b->forms, &b->models, arena,
                                     &r, &e);
        batch_put_error(b, index, &r, ok ? why : &e);
        batch_request_free(&r);
        arena_free(arena);
    }
}

/* Models come in the order of their first lines, as far as there is room for them side by side. */
static void begin_lines(struct batch *b)
{
    for (size_t i = 0; i < b->n_turns && goes_on(b); i++) {
        struct batch_model *m = b->turns[i];
        if (!m->hold && has_lines(b, m) && batch_models_fits(&b->models, m)) {
            struct error why = {0};
            progress_hide(&b->bar);
            if (batch_models_take(&b->models, m, &why)) {
                b->load_s += engine_load_time_s(m->loaded->engine);
            } else if (why.code != ERROR_CANCELLED) {
                cannot_load(b, m, &why);
            }
        }
        if (m->hold) {
            fill_window(b, m);
        }
    }
}

static void add_figures(struct queue_figures *sum, struct queue *q)
{
    struct queue_figures f;
    queue_figures(q, &f);
    sum->n_prompt += f.n_prompt;
    sum->n_reused += f.n_reused;
    sum->n_generated += f.n_generated;
    sum->n_drafts += f.n_drafts;
    sum->n_drafts_kept += f.n_drafts_kept;
}

static struct queue_figures figures_of(const struct batch *b)
{
    struct queue_figures sum = b->spent;
    for (size_t i = 0; i < b->n_turns; i++) {
        if (b->turns[i]->loaded) {
            add_figures(&sum, b->turns[i]->loaded->queue);
        }
    }
    return sum;
}

static void end_model(struct batch *b, struct batch_model *m)
{
    add_figures(&b->spent, m->loaded->queue);
    batch_stop(b, m);
    batch_models_give(&b->models, m);
}

/* One pass of each model that is here. False when nothing is left to do. */
static bool step(struct batch *b)
{
    bool more = false;
    begin_lines(b);
    for (size_t i = 0; i < b->n_turns; i++) {
        struct batch_model *m = b->turns[i];
        if (m->hold) {
            queue_step(m->loaded->queue);
        }
    }
    batch_release(b);
    for (size_t i = 0; i < b->n_turns; i++) {
        struct batch_model *m = b->turns[i];
        bool left = m->n_jobs || has_lines(b, m);
        if (m->hold && !left) {
            end_model(b, m);
        }
        more = more || left;
    }
    return more;
}

static void note_speed(const struct batch *b, char out[64])
{
    char text[32];
    double seconds = time_now_s() - b->start_s;
    double rate = seconds > 0 ? (double)figures_of(b).n_generated / seconds : 0;
    snprintf(out, 64, "%s tokens/s", term_count((uint64_t)(rate + 0.5), text));
}

static void answer_all(struct batch *b)
{
    char note[64];
    progress_resume(&b->bar, "answers", b->lines.n, b->n_resumed);
    for (size_t i = 0; i < b->n_unanswerable && goes_on(b); i++) {
        if (!batch_output_has(b->output, b->unanswerable[i])) {
            batch_start(b, NULL, b->unanswerable[i]);
        }
    }
    while (goes_on(b) && step(b)) {
        note_speed(b, note);
        progress_update(&b->bar, batch_output_count(b->output), note);
    }
    b->stopping = true;
    progress_end(&b->bar);
}

/* ---- which run it is ------------------------------------------------------------------------- */

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
        json_array_append_new(models,
                              json_pack("[s, i]", sorted[i]->digest, (int)sorted[i]->context_size));
    }
    free(sorted);
    return models;
}

/* Of each line, with the model that it means: names may come to mean another. One that repeats an
 * id is another line than where it does not. */
static uint64_t *digest_lines(const struct batch *b)
{
    uint64_t *digests = mem_array(b->lines.n, sizeof *digests);
    for (size_t i = 0; i < b->lines.n; i++) {
        digests[i] = digest_number(b->lines.items[i].text, b->lines.items[i].n);
        digests[i] = b->first[i] == i ? digests[i] : ~digests[i];
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

/* What must be the same for a journal's answers to be this run's. NULL after an error. */
static json_t *describe_run(const struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    struct sampling how = b->defaults.sampling;
    how.seed = 0;
    json_t *run =
        json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:O?, s:I, s:o, s:b, s:b, s:i, s:o}", "models",
                  describe_models(b), "kernels", kernels_select()->name, "kv_type",
                  model_kv_name(o->common.kv_type), "sampling", sampling_json(&how), "template",
                  describe_template(o->chat_template), "system", text_or_null(o->system), "tools",
                  b->defaults.tools, "max_tokens", (json_int_t)o->max_tokens, "stop",
                  texts_json(&o->stop), "json", (int)b->lines.json, "raw", (int)o->raw, "thinking",
                  (int)b->defaults.thinking, "form", describe_form(&o->form));
    if (!describe_adapters(b, run, e)) {
        json_decref(run);
        return NULL;
    }
    return run;
}

static bool open_output(struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    b->digests = digest_lines(b);
    json_t *run = describe_run(b, e);
    if (!run) {
        return false;
    }
    b->output = batch_output_open(o->output, o->common.json, b->lines.n, run, b->digests,
                                  sampling_options_seed_given(&o->sampling), &b->defaults.seed,
                                  o->force, e);
    json_decref(run);
    if (!b->output) {
        return false;
    }
    b->n_resumed = batch_output_count(b->output);
    if (b->n_resumed && !o->common.quiet) {
        term_message("going on after %zu of %zu answers", b->n_resumed, b->lines.n);
    }
    return true;
}

/* ---- figures --------------------------------------------------------------------------------- */

static json_t *figures_json(const struct batch *b, double seconds)
{
    struct queue_figures f = figures_of(b);
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:s, s:i, "
        "s:i, s:I, s:I}",
        "answers", (json_int_t)(batch_output_count(b->output) - batch_output_errors(b->output)),
        "errors", (json_int_t)batch_output_errors(b->output), "resumed", (json_int_t)b->n_resumed,
        "forms_cut", (json_int_t)b->n_cut, "forms_stuck", (json_int_t)b->n_stuck, "context_full",
        (json_int_t)b->n_full, "prompt_tokens", (json_int_t)f.n_prompt, "reused_tokens",
        (json_int_t)f.n_reused, "generated_tokens", (json_int_t)f.n_generated, "drafts",
        (json_int_t)f.n_drafts, "drafts_kept", (json_int_t)f.n_drafts_kept, "seconds", seconds,
        "prompt_tokens_per_second", seconds > 0 ? (double)f.n_prompt / seconds : 0,
        "generated_tokens_per_second", seconds > 0 ? (double)f.n_generated / seconds : 0, "load_ms",
        b->load_s * 1e3, "kernels", kernels_select()->name, "threads", pool_threads(b->models.pool),
        "parallel", (int)(most_asked(b) / 2), "models", (json_int_t)b->models.n_used,
        "models_at_once", (json_int_t)b->models.most_held);
}

static void print_figures(const struct batch *b, double seconds)
{
    struct queue_figures f = figures_of(b);
    char count[32], prompt[32], reused[32], made[32], rate[32], time[32];
    size_t n = batch_output_count(b->output) - batch_output_errors(b->output);
    time_format(seconds, time, sizeof time);
    fprintf(stderr, "%s%s answer%s", term_style(stderr, TERM_DIM), term_count(n, count),
            term_plural(n));
    if (b->n_resumed) {
        fprintf(stderr, " (%s of before)", term_count(b->n_resumed, count));
    }
    fprintf(stderr, " | %s prompt tokens (%s reused) | %s tokens at %s/s",
            term_count(f.n_prompt, prompt), term_count(f.n_reused, reused),
            term_count(f.n_generated, made),
            term_count((uint64_t)(seconds > 0 ? (double)f.n_generated / seconds + 0.5 : 0), rate));
    if (f.n_drafts) {
        fprintf(stderr, " | %.0f %% of drafts kept",
                100 * (double)f.n_drafts_kept / (double)f.n_drafts);
    }
    fprintf(stderr, " | %s%s\n", time, term_style(stderr, TERM_PLAIN));
}

/* ---- the run --------------------------------------------------------------------------------- */

/* {"model", "figures"} */
static json_t *document_head(const struct batch *b, json_t *figures)
{
    const char *name = b->models.items[0].source.name;
    json_t *head = json_pack("{s:o}", "model", term_json_text(name, strlen(name)));
    if (b->o->common.json && !b->o->output) {
        json_object_set(head, "figures", figures);
    }
    return head;
}

/* What a journal keeps for a file, standard output gets now: answers that wait for earlier ones. */
static int tell_interrupted(const struct batch *b, double seconds)
{
    struct error e = {0};
    json_t *figures = figures_json(b, seconds);
    json_t *head = document_head(b, figures);
    json_object_set_new(head, "interrupted", json_true());
    bool ok = b->o->output || batch_output_give_up(b->output, head, &e);
    json_decref(head);
    json_decref(figures);
    if (!ok) {
        return CLI_FAILED; /* that has been said */
    }
    term_message("interrupted after %zu of %zu answers%s", batch_output_count(b->output),
                 b->lines.n,
                 b->o->output ? "; the same command goes on from there"
                              : " (with --output a run can go on from where it stopped)");
    return CLI_INTERRUPTED;
}

/* Answers that end before they should. */
static void tell_ends(const struct batch *b)
{
    char size[32] = "";
    if (b->n_cut) {
        term_message("%zu answer%s cut before %s form was whole (\"finish_reason\" is \"length\"): "
                     "more --max-tokens, or context, would end %s",
                     b->n_cut, b->n_cut == 1 ? " was" : "s were", b->n_cut == 1 ? "its" : "their",
                     b->n_cut == 1 ? "it" : "them");
    }
    if (b->n_stuck) {
        term_message("%zu answer%s before %s form was whole (\"finish_reason\" is \"constraint\"): "
                     "\"why\" says what stopped %s",
                     b->n_stuck, b->n_stuck == 1 ? " ended" : "s ended",
                     b->n_stuck == 1 ? "its" : "their", b->n_stuck == 1 ? "it" : "them");
    }
    if (b->n_full) {
        if (b->n_turns == 1) {
            snprintf(size, sizeof size, " of %u tokens", b->full_context);
        }
        term_message(
            "%zu answer%s because the context%s is full (\"finish_reason\" is \"length\"); "
            "--context-size makes it larger",
            b->n_full, b->n_full == 1 ? " stops" : "s stop", size);
    }
}

static int finish(struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    size_t n_errors = batch_output_errors(b->output);
    double seconds = time_now_s() - b->start_s;
    if (answer_interrupted() && batch_output_count(b->output) < b->lines.n) {
        return tell_interrupted(b, seconds);
    }
    json_t *figures = figures_json(b, seconds);
    json_t *head = document_head(b, figures);
    bool ok = batch_output_finish(b->output, head, e);
    if (ok && o->common.json && o->output) {
        json_object_set_new(figures, "output", term_json_text(o->output, strlen(o->output)));
        term_print_json(json_incref(figures), false);
    }
    json_decref(figures);
    if (!ok) {
        return cli_fail(e);
    }
    if (!o->common.quiet) {
        print_figures(b, seconds);
        tell_ends(b);
    }
    if (n_errors) {
        term_message("%zu of %zu prompts have no answer", n_errors, b->lines.n);
    }
    return n_errors ? CLI_FAILED : CLI_DONE;
}

/* The only model is loaded before anything is written: where that fails, nothing has begun. */
static bool load_only(struct batch *b, struct error *e)
{
    if (b->n_turns == 1) {
        if (!batch_models_take(&b->models, b->turns[0], e)) {
            return false;
        }
        b->load_s = engine_load_time_s(b->turns[0]->loaded->engine);
    }
    return true;
}

int batch_run(struct batch *b)
{
    struct error e = {0};
    sort_lines(b);
    b->began_unix_s = (int64_t)time(NULL);
    if (!batch_models_plan(&b->models, &e) || !load_only(b, &e) || !open_output(b, &e)) {
        return cli_fail(&e);
    }
    b->start_s = time_now_s();
    answer_catch_interrupt(true);
    answer_all(b);
    if (b->failure.code != ERROR_NONE) {
        return b->failure.code == ERROR_CANCELLED ? CLI_FAILED : cli_fail(&b->failure);
    }
    return finish(b, &e);
}

void batch_close(struct batch *b)
{
    b->stopping = true; /* what is under way ends without a result */
    for (size_t i = 0; i < b->models.n; i++) {
        if (b->models.items[i].hold) {
            batch_stop(b, &b->models.items[i]);
        }
    }
    batch_models_free(&b->models);
    batch_output_close(b->output);
    batch_lines_free(&b->lines);
    batch_forms_free(&b->forms);
    json_decref(b->defaults.tools);
    grammar_free(b->defaults.grammar);
    free(b->unanswerable);
    free(b->turns);
    free(b->digests);
    free(b->first);
    strmap_free(b->told);
    arena_free(b->told_keys);
}
