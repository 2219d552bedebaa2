/* batch_plan.c: what the models of a batch, with their adapters and queues, will take, by their
 * headers. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sysmem.h"
#include "cli/batch_models.h"
#include "cli/memory_report.h"
#include "cli/term.h"
#include "engine/moving.h"

const struct model_source *batch_plan_draft(const struct batch_models *m,
                                            const struct batch_model *model)
{
    return m->o.draft && model == m->items ? &m->draft : NULL;
}

static bool is_used(const struct batch_models *m, const struct batch_model *model)
{
    return model->n_lines || m->o.all;
}

/* Those that a model will have beside it: --lora for the first one, and what its lines ask for. */
static bool measure_adapters(const struct batch_models *m, struct batch_model *model,
                             struct error *e)
{
    uint64_t one;
    model->adapters_bytes = 0;
    if (model == m->items && !adapters_sizes(m->o.lora, &model->adapters_bytes, e)) {
        return false;
    }
    for (size_t i = 0; i < m->n_modules; i++) {
        if (model->asks[i] || m->o.all) {
            if (!adapters_size(m->modules[i].path, &one, e)) {
                return false;
            }
            model->adapters_bytes += one;
        }
    }
    return true;
}

struct engine_options batch_plan_options(const struct batch_models *m,
                                         const struct batch_model *model)
{
    struct engine_options how = models_engine_options(m->o.common);
    how.n_running = model->parallel ? model->parallel : QUEUE_MAX_RUNNING;
    how.adapters_bytes = model->adapters_bytes;
    how.prompts_bytes = m->o.prompts_bytes;
    how.huge_pages_unasked = model->moves && !how.huge_pages;
    how.huge_pages = how.huge_pages || model->moves;
    if (m->o.lookup || batch_plan_draft(m, model)) {
        how.n_drafts = DRAFT_MOST;
        how.n_draft_sessions = QUEUE_DRAFT_SESSIONS;
    }
    return how;
}

/* Where nobody has asked for a number, it is one that there is room for. */
static void choose_parallel(const struct batch_models *m, struct batch_model *model,
                            const struct gguf *g, struct engine_options *how)
{
    uint32_t n = memory_plan_answers(g, how, m->room_bytes);
    if (n > 0 && n < how->n_running) {
        log_write(LOG_INFO, "%s: memory has room for %u answer%s at once (of %u without a limit)",
                  model->source.name, n, term_plural(n), how->n_running);
        model->parallel = how->n_running = n;
    }
}

/* Of one model alone: of several each would take the room that another counts on. */
static bool pays(const struct batch_models *m, const struct batch_model *model,
                 const struct gguf *g, const struct sysmem *machine)
{
    const struct moving_work work = {model->n_answers, model->n_long};
    return !m->o.stays && m->n_used == 1 &&
           moving_pays(g, &model->plan, machine, kernels_select_for(m->o.common->throughput),
                       &work) &&
           moving_is_possible(g);
}

/* What a model would like to have: keys and values of as many whole contexts as are answered at
 * once, but no more of them than the queue takes. *fits: whether it can have the least, and else
 * why not, which is no failure. */
static bool plan_model(const struct batch_models *m, struct batch_model *model,
                       const struct gguf *g, const struct sysmem *machine, bool *fits,
                       struct error *why, struct error *e)
{
    const struct model_source *source = batch_plan_draft(m, model);
    struct gguf *draft = source ? models_open_gguf(source, e) : NULL;
    bool ok = (!source || draft) && measure_adapters(m, model, e);
    uint32_t pass = m->o.common->batch_size; /* as many as share one, where nobody has asked */
    model->parallel = m->o.parallel ? m->o.parallel : pass && pass < QUEUE_MAX_RUNNING ? pass : 0;
    struct engine_options how = batch_plan_options(m, model);
    how.draft = draft;
    if (ok && !m->o.parallel && m->room_bytes != SYSMEM_UNKNOWN) {
        choose_parallel(m, model, g, &how);
    }
    if (ok && memory_plan_make(g, &how, &model->plan, e)) {
        *fits = memory_plan_check(g, &how, machine, why);
        memory_plan_fill(&model->plan, m->room_bytes, machine);
        model->budget_bytes =
            model->plan.total_bytes < m->room_bytes ? model->plan.total_bytes : m->room_bytes;
        model->moves = *fits && pays(m, model, g, machine);
    } else {
        ok = false;
    }
    gguf_close(draft);
    return ok;
}

/* The header, its plan, and whether it fits. NULL after an error. */
static struct gguf *look_at(const struct batch_models *m, struct batch_model *model,
                            const struct sysmem *machine, bool *fits, struct error *why,
                            struct error *e)
{
    struct gguf *g = models_open_gguf(&model->source, e);
    *fits = false;
    if (g && !plan_model(m, model, g, machine, fits, why, e)) {
        gguf_close(g);
        g = NULL;
    }
    struct error *said = g ? why : e;
    if (!*fits) {
        models_name_in_error(said, model->source.name);
    }
    return g;
}

static void count_used(struct batch_models *m, struct sysmem *machine)
{
    struct engine_options how = models_engine_options(m->o.common);
    sysmem_read("", machine);
    m->room_bytes = memory_plan_room(&how, machine);
    m->n_used = 0;
    for (size_t i = 0; i < m->n; i++) {
        m->n_used += is_used(m, &m->items[i]);
    }
}

/* What is in models is read when one of them has room. The first one is looked at even where no
 * line is its own: --lora is of it. */
bool batch_plan_all(struct batch_models *m, struct error *e)
{
    struct gguf **headers = mem_array(m->n, sizeof(struct gguf *));
    struct sysmem machine;
    const struct error *first = NULL;
    count_used(m, &machine);
    size_t n_left = m->n_used;
    for (size_t i = 0; i < m->n; i++) {
        struct batch_model *model = &m->items[i];
        bool used = is_used(m, model), fits = true;
        if (used || i == 0) {
            struct error why = {0};
            headers[i] = look_at(m, model, &machine, &fits, &why, &why);
            if (used && !fits) {
                model->why = why;
                first = first ? first : &model->why;
                n_left--;
            }
        }
    }
    bool ok = !first || n_left > 0;
    if (!ok) {
        *e = *first;
    }
    m->n_used = n_left;
    for (size_t i = 0; i < m->n; i++) {
        if (ok && headers[i]) {
            struct digest digest = digest_gguf(headers[i], NULL);
            digest_text(&digest, m->items[i].digest);
        }
        gguf_close(headers[i]);
    }
    free(headers);
    return ok;
}

/* Of all models that are used: whether they are loaded side by side. */
static bool beside(const struct batch_models *m, uint64_t *together_bytes, uint64_t *largest_bytes)
{
    *together_bytes = *largest_bytes = 0;
    for (size_t i = 0; i < m->n; i++) {
        uint64_t one = is_used(m, &m->items[i]) ? m->items[i].budget_bytes : 0;
        *together_bytes += one;
        *largest_bytes = one > *largest_bytes ? one : *largest_bytes;
    }
    return m->room_bytes == SYSMEM_UNKNOWN || *together_bytes <= m->room_bytes;
}

static void print_together(const struct batch_models *m)
{
    char together[32], largest[32], room[32];
    uint64_t together_bytes, largest_bytes;
    bool all = beside(m, &together_bytes, &largest_bytes);
    term_bytes(together_bytes, together);
    if (all) {
        printf("\nside by side, all %zu models take at most %s\n", m->n_used, together);
    } else {
        printf("\nside by side, all %zu models would take %s, and there is room for %s: each is "
               "loaded\nwhen it fits beside those that are there, else when they are done; the "
               "largest takes %s\n",
               m->n_used, together, term_bytes(m->room_bytes, room),
               term_bytes(largest_bytes, largest));
    }
}

static json_t *all_json(const struct batch_models *m, json_t *models)
{
    uint64_t together_bytes, largest_bytes;
    bool all = beside(m, &together_bytes, &largest_bytes);
    return json_pack("{s:O, s:I, s:I, s:b}", "models", models, "together_bytes",
                     (json_int_t)together_bytes, "largest_bytes", (json_int_t)largest_bytes,
                     "side_by_side", (int)all);
}

bool batch_plan_print(struct batch_models *m, struct error *e)
{
    struct sysmem machine;
    struct error why = {0};
    json_t *all = json_array();
    bool ok = true, fits;
    count_used(m, &machine);
    for (size_t i = 0; ok && i < m->n; i++) {
        struct batch_model *model = &m->items[i];
        struct error first = {0};
        struct gguf *g = is_used(m, model) ? look_at(m, model, &machine, &fits, &first, e) : NULL;
        ok = g || !is_used(m, model);
        if (!g) {
            continue;
        }
        struct engine_options how = batch_plan_options(m, model);
        how.huge_pages = how.huge_pages && gguf_can_move(g);
        if (m->o.common->json) {
            json_t *one = memory_report_plan_json(&model->plan, &how, &machine);
            json_object_set_new(one, "model",
                                term_json_text(model->source.name, strlen(model->source.name)));
            json_array_append_new(all, one);
        } else {
            if (m->n_used > 1) {
                printf("%s%s\n", json_array_size(all) ? "\n" : "", model->source.name);
                json_array_append_new(all, json_null());
            }
            memory_report_plan(&model->plan, &how, &machine);
        }
        if (!fits && why.code == ERROR_NONE) {
            why = first;
        }
        gguf_close(g);
    }
    if (m->o.common->json && ok) { /* of one model as `lllm run --plan` has it */
        json_t *one = json_array_get(all, 0);
        term_print_json(m->n_used == 1 && one ? json_incref(one) : all_json(m, all), true);
    } else if (ok && m->n_used > 1) {
        print_together(m);
    }
    json_decref(all);
    if (ok && why.code != ERROR_NONE) {
        *e = why;
        ok = false;
    }
    return ok;
}
