#include "cli/memory_report.h"

#include <stdio.h>

#include "cli/term.h"

enum { FIRST_CONTEXT = 512, CONTEXT_STEP = 4 };

static const enum model_kv_type all_types[] = {MODEL_KV_F32, MODEL_KV_F16, MODEL_KV_Q8_0};
/* Reports are of one. */
static const char the_model[] = "the model";
enum { N_TYPES = sizeof all_types / sizeof *all_types };

bool memory_report_next(const struct model_config *c, uint32_t *context)
{
    if (*context >= c->n_context) {
        return false;
    }
    uint64_t next = *context ? (uint64_t)*context * CONTEXT_STEP : FIRST_CONTEXT;
    *context = next < c->n_context ? (uint32_t)next : c->n_context;
    return true;
}

static void print_row(const char *label, uint64_t size_bytes, const char *note)
{
    char size[32];
    printf("%-20s%10s%s%s\n", label, term_bytes(size_bytes, size), *note ? "  " : "", note);
}

static void print_machine(const struct engine_options *o, const struct sysmem *machine)
{
    char note[96], of[32];
    if (machine->available_bytes != SYSMEM_UNKNOWN) {
        snprintf(note, sizeof note, "of %s", term_bytes(machine->total_bytes, of));
        print_row("machine has", machine->available_bytes, note);
    }
    if (machine->group_limit_bytes != SYSMEM_UNKNOWN) {
        snprintf(note, sizeof note, "of %s", term_bytes(machine->group_limit_bytes, of));
        print_row("control group has", machine->group_free_bytes, note);
    }
    if (o->memory_bytes && o->memory_bytes != ENGINE_MEMORY_ANY) {
        print_row("--memory allows", o->memory_bytes, "");
    }
}

static void print_fixed(const struct memory_plan *p, const struct engine_options *o)
{
    print_row("weights", p->weights_bytes, o->huge_pages ? "in huge pages" : "pages of the file");
    print_row("vocabulary", p->vocabulary_bytes, "");
    print_row("program", p->program_bytes, "");
}

static void print_draft(const struct memory_plan *p)
{
    if (p->draft_bytes) {
        print_row("draft model", p->draft_bytes, "weights, keys and values, scratch, vocabulary");
    }
}

void memory_report_plan(const struct memory_plan *p, const struct engine_options *o,
                        const struct sysmem *machine)
{
    char note[96], context[32];
    memory_plan_warn(p, the_model);
    print_fixed(p, o);
    if (p->has_kv) {
        uint64_t n_tokens =
            p->n_running ? (uint64_t)p->n_pages * MODEL_PAGE_POSITIONS : p->context_size;
        int n = snprintf(note, sizeof note, "%s tokens as %s", term_count(n_tokens, context),
                         model_kv_name(p->kv_type));
        if (p->n_running) { /* which have it whole each, or share what there is */
            bool whole = n_tokens >= (uint64_t)p->n_running * p->context_size;
            snprintf(note + n, sizeof note - (size_t)n,
                     whole ? ", %u answer%s of up to %s at once"
                           : " that up to %u answer%s share, each of up to %s",
                     p->n_running, term_plural(p->n_running), term_count(p->context_size, context));
        }
        print_row("keys and values", p->kv_bytes, note);
    }
    snprintf(note, sizeof note, "%u token%s at a time, %d thread%s", p->batch_size,
             term_plural(p->batch_size), p->n_threads, p->n_threads == 1 ? "" : "s");
    print_row("scratch", p->scratch_bytes, note);
    print_row(p->has_kv ? "logits" : "vectors", p->logits_bytes, "");
    print_draft(p);
    if (p->adapters_bytes) {
        print_row("adapters", p->adapters_bytes, "");
    }
    if (p->prompts_bytes) {
        print_row("prompts", p->prompts_bytes, "");
    }
    print_row("together", p->total_bytes, "at most");
    print_machine(o, machine);
}

static json_t *size_or_null(uint64_t size_bytes)
{
    return size_bytes == SYSMEM_UNKNOWN ? json_null() : json_integer((json_int_t)size_bytes);
}

static json_t *machine_json(const struct engine_options *o, const struct sysmem *machine)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "total_bytes", size_or_null(machine->total_bytes),
                     "available_bytes", size_or_null(machine->available_bytes), "group_limit_bytes",
                     size_or_null(machine->group_limit_bytes), "group_free_bytes",
                     size_or_null(machine->group_free_bytes), "room_bytes",
                     size_or_null(memory_plan_room(o, machine)));
}

static json_t *plan_json(const struct memory_plan *p, bool huge_pages, uint64_t room_bytes)
{
    json_t *kv_type = p->has_kv ? json_string(model_kv_name(p->kv_type)) : json_null();
    return json_pack(
        "{s:I, s:o, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b}",
        "context", (json_int_t)p->context_size, "kv_type", kv_type, "batch",
        (json_int_t)p->batch_size, "sequences", (json_int_t)p->n_sequences, "threads", p->n_threads,
        "weights_bytes", (json_int_t)p->weights_bytes, "kv_cache_bytes", (json_int_t)p->kv_bytes,
        "scratch_bytes", (json_int_t)p->scratch_bytes, "logits_bytes", (json_int_t)p->logits_bytes,
        "vocabulary_bytes", (json_int_t)p->vocabulary_bytes, "program_bytes",
        (json_int_t)p->program_bytes, "draft_bytes", (json_int_t)p->draft_bytes, "adapters_bytes",
        (json_int_t)p->adapters_bytes, "prompts_bytes", (json_int_t)p->prompts_bytes, "total_bytes",
        (json_int_t)p->total_bytes, "huge_pages", (int)huge_pages, "fits",
        p->total_bytes <= room_bytes);
}

json_t *memory_report_plan_json(const struct memory_plan *p, const struct engine_options *o,
                                const struct sysmem *machine)
{
    memory_plan_warn(p, the_model);
    json_t *plan = plan_json(p, o->huge_pages, memory_plan_room(o, machine));
    if (p->n_running) {
        json_object_set_new(plan, "parallel", json_integer(p->n_running));
        json_object_set_new(
            plan, "kv_cache_tokens",
            json_integer((json_int_t)((uint64_t)p->n_pages * MODEL_PAGE_POSITIONS)));
    }
    return json_pack("{s:o, s:o}", "plan", plan, "machine", machine_json(o, machine));
}

/* ---- tables ---- */

/* What a table is about: which types of keys and values the model can have, and up to which context
 * each fits. */
struct table {
    const struct gguf *g;
    struct engine_options options; /* kv_type and context_size change from cell to cell */
    struct model_config config;
    struct sysmem machine;
    uint64_t room_bytes;
    bool possible[N_TYPES];
    uint32_t only_context; /* 0: those of memory_report_next */
};

static bool table_begin(struct table *t, const struct gguf *g, const struct engine_options *o,
                        struct error *e)
{
    struct memory_plan p;
    *t = (struct table){.g = g, .options = *o, .only_context = o->context_size};
    t->options.huge_pages = o->huge_pages && gguf_can_move(g);
    if (!model_config_read(g, &t->config, e) || !memory_plan_make(g, o, &p, e)) {
        return false;
    }
    memory_plan_warn(&p, the_model);
    sysmem_read("", &t->machine);
    t->room_bytes = memory_plan_room(o, &t->machine);
    for (size_t i = 0; i < N_TYPES; i++) {
        t->possible[i] = p.has_kv ? model_kv_check(&t->config, all_types[i], NULL)
                                  : all_types[i] == MODEL_KV_F32;
    }
    return true;
}

static bool next_context(const struct table *t, uint32_t *context)
{
    if (!t->only_context) {
        return memory_report_next(&t->config, context);
    }
    bool first = *context == 0;
    *context = t->only_context;
    return first;
}

/* The options were checked by table_begin, and a context up to the trained length is possible. */
static struct memory_plan plan_at(const struct table *t, size_t type, uint32_t context)
{
    struct engine_options o = t->options;
    struct memory_plan p = {0};
    o.kv_type = all_types[type];
    o.context_size = context;
    memory_plan_make(t->g, &o, &p, NULL);
    return p;
}

static uint32_t largest_context(const struct table *t, size_t type)
{
    struct engine_options o = t->options;
    o.kv_type = all_types[type];
    return memory_plan_fit(t->g, &o, t->config.n_context, t->room_bytes);
}

static void print_contexts(const struct table *t, bool has_kv)
{
    char text[32];
    printf("\n%10s", "context");
    for (size_t i = 0; i < N_TYPES; i++) {
        if (t->possible[i]) {
            printf("%14s", has_kv ? model_kv_name(all_types[i]) : "together");
        }
    }
    putchar('\n');
    for (uint32_t context = 0; next_context(t, &context);) {
        printf("%10s", term_count(context, text));
        for (size_t i = 0; i < N_TYPES; i++) {
            if (t->possible[i]) {
                struct memory_plan p = plan_at(t, i, context);
                bool fits = p.total_bytes <= t->room_bytes;
                printf("%13s%s", term_bytes(p.total_bytes, text), fits ? " " : "!");
            }
        }
        putchar('\n');
    }
    printf("%10s", "fits");
    for (size_t i = 0; i < N_TYPES; i++) {
        if (t->possible[i]) {
            uint32_t most = largest_context(t, i);
            printf("%13s ", most ? term_count(most, text) : "none");
        }
    }
    printf("\n\nfits: the largest context, up to that of training. !: more than there is.\n");
}

bool memory_report_table(const struct gguf *g, const struct engine_options *o, struct error *e)
{
    struct table t;
    if (!table_begin(&t, g, o, e)) {
        return false;
    }
    struct memory_plan p = plan_at(&t, 0, t.only_context ? t.only_context : FIRST_CONTEXT);
    print_fixed(&p, o);
    print_draft(&p);
    print_machine(o, &t.machine);
    if (p.n_sequences > 1) {
        printf("%-20s%10u\n", "sequences", p.n_sequences);
    }
    print_contexts(&t, p.has_kv);
    return true;
}

json_t *memory_report_table_json(const struct gguf *g, const struct engine_options *o,
                                 struct error *e)
{
    struct table t;
    if (!table_begin(&t, g, o, e)) {
        return NULL;
    }
    json_t *plans = json_array(), *largest = json_object();
    for (uint32_t context = 0; next_context(&t, &context);) {
        for (size_t i = 0; i < N_TYPES; i++) {
            if (t.possible[i]) {
                struct memory_plan p = plan_at(&t, i, context);
                json_array_append_new(plans, plan_json(&p, t.options.huge_pages, t.room_bytes));
            }
        }
    }
    for (size_t i = 0; i < N_TYPES; i++) {
        if (t.possible[i]) {
            json_object_set_new(largest, model_kv_name(all_types[i]),
                                json_integer(largest_context(&t, i)));
        }
    }
    return json_pack("{s:o, s:o, s:o}", "plans", plans, "largest_context", largest, "machine",
                     machine_json(o, &t.machine));
}
