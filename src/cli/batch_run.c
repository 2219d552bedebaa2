#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/strmap.h"
#include "cli/answer.h"
#include "cli/batch.h"
#include "cli/term.h"
#include "engine/moving.h"
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

/* Whether answers may get long enough for moving weights to gain by them. */
static bool is_long(const struct batch *b, const struct batch_sorting *s)
{
    json_int_t most = s->max_tokens > 0 ? s->max_tokens : b->defaults.max_tokens;
    return !s->picks && !b->o->form.choices && !b->o->form.regex &&
           (most == 0 || most >= MOVING_LONG);
}

/* Those that a journal has already, whose lines nobody has read yet, are taken to be like the
 * others. */
static void count_to_come(struct batch *b)
{
    const size_t n = b->lines.n, done = b->o->output ? batch_output_journaled(b->o->output) : 0;
    const size_t left = done < n ? n - done : 0;
    for (size_t i = 0; i < b->models.n && n > 0; i++) {
        struct batch_model *m = &b->models.items[i];
        m->n_answers = m->n_answers * left / n;
        m->n_long = m->n_long * left / n;
    }
}

/* Gives each line to its model: higher priority first, then as they stand in the file. */
static void sort_lines(struct batch *b)
{
    size_t n = b->lines.n;
    struct ranked *order = mem_array(n, sizeof *order);
    size_t *model = mem_array(n, sizeof *model);
    char **ids = mem_array(n, sizeof *ids);
    uint64_t n_answers = 0;
    size_t n_objects = 0, n_openai = 0;
    b->n_before = mem_array(n, sizeof *b->n_before);
    b->defaults.n_before = b->n_before;
    for (size_t i = 0; i < n; i++) {
        struct batch_sorting s;
        bool ok = batch_line_sort(&b->lines, i, &b->models, &s);
        order[i] = (struct ranked){i, s.priority};
        model[i] = ok ? s.model : b->models.n;
        ids[i] = s.custom_id;
        b->n_before[i] = n_answers;
        n_answers += s.n_answers;
        n_objects += s.object;
        n_openai += s.openai;
        b->n_unanswerable += !ok;
        b->models.items[ok ? model[i] : 0].n_lines += ok;
        b->models.items[ok ? model[i] : 0].n_answers += ok ? s.n_answers : 0;
        b->models.items[ok ? model[i] : 0].n_long += ok && is_long(b, &s) ? s.n_answers : 0;
    }
    count_to_come(b);
    b->openai = n_openai > 0 && n_openai == n_objects;
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

size_t batch_most_asked(uint32_t parallel)
{
    return 2 * (size_t)(parallel ? parallel : QUEUE_MAX_RUNNING);
}

static void fill_window(struct batch *b, struct batch_model *m)
{
    while (m->n_asked < batch_most_asked(m->parallel) && b->failure.code == ERROR_NONE &&
           has_lines(b, m)) {
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
    progress_hide(&b->bar);
    while (goes_on(b) && has_lines(b, m)) {
        struct error e = {0};
        size_t index = m->lines[m->next++];
        struct arena *arena = arena_new();
        bool ok = batch_request_read(&b->lines, index, &b->defaults, &b->forms, &b->models, arena,
                                     &r, &e);
        batch_fail(b, index, &r, ok ? why : &e, ok);
        batch_request_free(&r);
        arena_free(arena);
    }
}

/* Models come in the order of their first lines, as far as there is room for them side by side. */
static void begin_lines(struct batch *b)
{
    for (size_t i = 0; i < b->n_turns && goes_on(b); i++) {
        struct batch_model *m = b->turns[i];
        if (m->why.code != ERROR_NONE) {
            cannot_load(b, m, &m->why);
        } else if (!m->hold && has_lines(b, m) && batch_models_fits(&b->models, m)) {
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
    progress_resume(&b->bar, "prompts", b->lines.n, b->n_resumed);
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

/* ---- output ---------------------------------------------------------------------------------- */

static bool open_output(struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    b->digests = batch_digest_lines(b);
    json_t *run = batch_describe(b, e);
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
    b->n_resumed_answers = batch_output_answers(b->output);
    size_t n_lost = batch_output_unreadable(b->output);
    if (n_lost) { /* a damaged disk is no secret, with --quiet neither */
        term_message("%zu answer%s in %s.journal cannot be read and %s computed again", n_lost,
                     term_plural(n_lost), o->output, n_lost == 1 ? "is" : "are");
    }
    if (b->n_resumed && !o->common.quiet) {
        term_message("going on after %zu of %zu prompts%s%s%s", b->n_resumed, b->lines.n,
                     o->force ? "; to begin anew, remove " : "", o->force ? o->output : "",
                     o->force ? ".journal" : "");
    }
    return true;
}

/* ---- figures --------------------------------------------------------------------------------- */

/* The fewest of all models. */
static int parallel_of(const struct batch *b)
{
    size_t n = QUEUE_MAX_RUNNING;
    for (size_t i = 0; i < b->n_turns; i++) {
        size_t own = batch_most_asked(b->turns[i]->parallel) / 2;
        n = own < n ? own : n;
    }
    return (int)n;
}

static json_t *figures_json(const struct batch *b, double seconds)
{
    struct queue_figures f = figures_of(b);
    struct batch_ends ends = batch_output_ends(b->output);
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, "
        "s:s, "
        "s:i, "
        "s:i, s:I, s:I}",
        "prompts", (json_int_t)batch_output_count(b->output), "answers",
        (json_int_t)batch_output_answers(b->output), "errors",
        (json_int_t)batch_output_errors(b->output), "resumed", (json_int_t)b->n_resumed,
        "forms_cut", (json_int_t)ends.n_cut, "forms_stuck", (json_int_t)ends.n_stuck,
        "forms_stopped", (json_int_t)ends.n_stopped, "context_full", (json_int_t)b->n_full,
        "prompt_tokens", (json_int_t)f.n_prompt, "reused_tokens", (json_int_t)f.n_reused,
        "generated_tokens", (json_int_t)f.n_generated, "drafts", (json_int_t)f.n_drafts,
        "drafts_kept", (json_int_t)f.n_drafts_kept, "seconds", seconds, "prompt_tokens_per_second",
        seconds > 0 ? (double)f.n_prompt / seconds : 0, "generated_tokens_per_second",
        seconds > 0 ? (double)f.n_generated / seconds : 0, "load_ms", b->load_s * 1e3, "kernels",
        kernels_select_for(b->o->common.throughput)->name, "threads", pool_threads(b->models.pool),
        "parallel", parallel_of(b), "models", (json_int_t)b->models.n_used, "models_at_once",
        (json_int_t)b->models.most_held);
}

static void print_figures(const struct batch *b, double seconds)
{
    struct queue_figures f = figures_of(b);
    char count[32], prompt[32], reused[32], made[32], rate[32], time[32];
    size_t n = batch_output_answers(b->output);
    size_t n_prompts = batch_output_count(b->output) - batch_output_errors(b->output);
    time_format(seconds, time, sizeof time);
    fprintf(stderr, "%s%s answer%s", term_style(stderr, TERM_DIM), term_count(n, count),
            term_plural(n));
    if (n != n_prompts) { /* a line may ask for several */
        fprintf(stderr, " to %s prompt%s", term_count(n_prompts, count), term_plural(n_prompts));
    }
    if (b->n_resumed_answers) {
        fprintf(stderr, " (%s of before)", term_count(b->n_resumed_answers, count));
    }
    fprintf(stderr, " | %s prompt token%s (%s reused) | %s token%s at %s/s",
            term_count(f.n_prompt, prompt), term_plural(f.n_prompt), term_count(f.n_reused, reused),
            term_count(f.n_generated, made), term_plural(f.n_generated),
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

enum { ENDED_BY = 128 }; /* and the signal: as shells have it */

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
    term_message("interrupted after %zu of %zu prompts%s", batch_output_count(b->output),
                 b->lines.n,
                 b->o->output ? "; the same command goes on from there"
                              : " (with --output a run can go on from where it stopped)");
    return answer_told_to_end() ? ENDED_BY + answer_told_to_end() : CLI_INTERRUPTED;
}

/* Answers without the form that was asked for are failures, which --quiet does not hide. True
 * where there are some. */
static bool tell_forms(const struct batch *b)
{
    struct batch_ends ends = batch_output_ends(b->output);
    if (ends.n_cut) {
        term_message("%zu answer%s cut before %s form was whole (\"finish_reason\" is \"length\"): "
                     "more --max-tokens, or context, would end %s",
                     ends.n_cut, ends.n_cut == 1 ? " was" : "s were",
                     ends.n_cut == 1 ? "its" : "their", ends.n_cut == 1 ? "it" : "them");
    }
    if (ends.n_stuck) {
        term_message("%zu answer%s before %s form was whole (\"finish_reason\" is \"constraint\"): "
                     "\"why\" says what stopped %s",
                     ends.n_stuck, ends.n_stuck == 1 ? " ended" : "s ended",
                     ends.n_stuck == 1 ? "its" : "their", ends.n_stuck == 1 ? "it" : "them");
    }
    if (ends.n_stopped) {
        term_message("%zu answer%s ended by a stop string before %s form was whole "
                     "(\"form_complete\" is false): a form ends by itself, without --stop",
                     ends.n_stopped, ends.n_stopped == 1 ? " was" : "s were",
                     ends.n_stopped == 1 ? "its" : "their");
    }
    return ends.n_cut + ends.n_stuck + ends.n_stopped > 0;
}

static void tell_full(const struct batch *b)
{
    char size[32] = "";
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

/* What could not be written is no reason to compute it again. */
static int fail_written(const struct batch *b, const struct error *why)
{
    size_t n = batch_output_count(b->output);
    int status = cli_fail(why);
    if (b->o->output && n) {
        term_message("%zu of %zu prompts are done, in %s.journal: the same command goes on from "
                     "there",
                     n, b->lines.n, b->o->output);
    }
    return status;
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
        return fail_written(b, e);
    }
    if (!o->common.quiet) {
        print_figures(b, seconds);
    }
    bool cut = tell_forms(b);
    if (!o->common.quiet) {
        tell_full(b);
    }
    if (n_errors) {
        bool text = b->lines.unsure && n_errors == b->lines.n;
        term_message("%zu of %zu prompts have no answer%s", n_errors, b->lines.n,
                     text ? "; --format text takes the lines as prompts, whatever they begin with"
                          : "");
    }
    return n_errors || cut ? CLI_FAILED : CLI_DONE;
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
    if (b->o->plan) {
        bool fits = batch_plan_print(&b->models, &e);
        cli_flush();
        return fits ? CLI_DONE : cli_fail(&e);
    }
    b->began_unix_s = (int64_t)time(NULL);
    if (!batch_models_plan(&b->models, &e) || !load_only(b, &e) || !open_output(b, &e)) {
        return cli_fail(&e);
    }
    b->start_s = time_now_s();
    answer_catch_interrupt(true);
    answer_catch_end();
    answer_all(b);
    if (b->failure.code != ERROR_NONE) {
        return b->failure.code == ERROR_CANCELLED ? CLI_FAILED : fail_written(b, &b->failure);
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
    json_decref(b->defaults.tool_choice);
    grammar_free(b->defaults.grammar);
    free(b->unanswerable);
    free(b->turns);
    free(b->digests);
    free(b->n_before);
    free(b->first);
    strmap_free(b->told);
    arena_free(b->told_keys);
}
