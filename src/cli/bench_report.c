#include "cli/bench_report.h"

#include <string.h>

#include "base/cpu.h"
#include "cli/term.h"

static double median(const struct bench_samples *s)
{
    return bench_spread(s).median;
}

/* The machine's limits are known for one thread and for all that were asked for. */
static bool has_limits(const struct bench_report *r, const struct bench_row *row)
{
    return r->has_machine && (row->n_threads == 1 || row->n_threads == r->machine.n_threads);
}

/* The fastest of the unit by which prompts are computed, or of floats where it is not measured. */
static const struct bench_peak *peak_of(const struct bench_report *r)
{
    const struct bench_peak *best = &r->machine.peaks[0];
    for (size_t i = 0; i < r->machine.n_peaks; i++) {
        const struct bench_peak *p = &r->machine.peaks[i];
        bool stands_in = best->unit != r->work.unit && p->unit == KERNEL_FLOATS;
        best = p->unit == r->work.unit || stands_in ? p : best;
    }
    return best;
}

/* Weights that are read, of what the machine reads, in decode; products, of what the unit that
 * computes them makes, in prefill. */
static double share(const struct bench_report *r, const struct bench_row *row)
{
    const struct bench_machine *m = &r->machine;
    const struct bench_peak *peak = peak_of(r);
    bool one = row->n_threads == 1;
    double at_once = row->n_joint ? row->n_joint : 1; /* that read the weights once */
    return row->decode
               ? median(&row->speed) / at_once * (double)r->work.weight_bytes / 1e9 /
                     (one ? m->read_one : m->read_all)
               : median(&row->speed) * r->work.operations / 1e9 / (one ? peak->one : peak->all);
}

static double clock_total(const struct model_clock *c)
{
    double total = 0;
    for (int i = 0; i < N_MODEL_STAGES; i++) {
        total += c->seconds[i];
    }
    return total;
}

/* ---- JSON ---- */

static json_t *spread_json(const struct bench_samples *samples)
{
    struct bench_spread s = bench_spread(samples);
    return json_pack("{s:f, s:f, s:f, s:I}", "median", s.median, "min", s.min, "max", s.max, "n",
                     (json_int_t)s.n);
}

static json_t *test_json(const struct bench_report *r, const struct bench_row *row)
{
    json_t *t = json_pack("{s:I, s:o}", "tokens", (json_int_t)row->n_tokens, "tokens_per_second",
                          spread_json(&row->speed));
    if (row->other.n) {
        json_object_set_new(t, "against", spread_json(&row->other));
        json_object_set_new(t, "ratio", json_real(median(&row->speed) / median(&row->other)));
    }
    if (has_limits(r, row)) {
        json_object_set_new(t, row->decode ? "share_of_read" : "share_of_peak",
                            json_real(share(r, row)));
        if (!row->decode) {
            json_object_set_new(t, "peak_unit", json_string(peak_of(r)->name));
        }
    }
    double total = clock_total(&row->clock);
    if (r->stages && total > 0) {
        json_t *stages = json_object();
        for (enum model_stage i = 0; i < N_MODEL_STAGES; i++) {
            json_object_set_new(stages, model_stage_name(i),
                                json_real(row->clock.seconds[i] / total));
        }
        json_object_set_new(t, "stages", stages);
    }
    return t;
}

static json_t *machine_json(const struct bench_machine *m)
{
    json_t *peaks = json_array();
    for (size_t i = 0; i < m->n_peaks; i++) {
        json_array_append_new(peaks, json_pack("{s:s, s:f, s:f}", "unit", m->peaks[i].name,
                                               "one_thread_gops", m->peaks[i].one, "gops",
                                               m->peaks[i].all));
    }
    return json_pack("{s:s, s:i, s:{s:f, s:f, s:f, s:b, s:I}, s:o}", "processor", cpu_model_name(),
                     "threads", m->n_threads, "read", "one_thread_gb_s", m->read_one, "gb_s",
                     m->read_all, "small_pages_gb_s", m->read_small_pages_all, "huge_pages",
                     m->huge_pages, "block_bytes", (json_int_t)m->read_bytes, "peaks", peaks);
}

static json_t *memory_json(const struct bench_memory *m)
{
    json_t *o = json_pack("{s:f, s:f, s:f, s:f}", "peak_mb", m->peak_mb, "weights_mb",
                          m->weights_mb, "cache_mb", m->cache_mb, "beside_mb", m->beside_mb);
    if (m->has_parts) {
        json_object_set_new(o, "file_pages_mb", json_real(m->file_mb));
        json_object_set_new(o, "own_pages_mb", json_real(m->own_mb));
    }
    return o;
}

static const struct bench_row *first_row(const struct bench_report *r, bool decode)
{
    for (size_t i = 0; i < r->n_rows; i++) {
        if (r->rows[i].decode == decode && !r->rows[i].n_joint && r->rows[i].speed.n) {
            return &r->rows[i];
        }
    }
    return NULL;
}

static void add_model(json_t *out, const struct bench_report *r)
{
    const char *name = r->source->name;
    json_object_set_new(out, "model", term_json_text(name, strlen(name)));
    json_object_set_new(out, "threads", json_integer(r->rows[0].n_threads));
    json_object_set_new(out, "kernels", json_string(r->kernels));
    json_object_set_new(out, "cpu_mask", json_string(r->cpu_mask ? r->cpu_mask : "all"));
    json_object_set_new(out, "context_size", json_integer(r->context_size));
    json_object_set_new(out, "kv_type", json_string(model_kv_name(r->kv_type)));
    json_object_set_new(out, "depth", json_integer(r->rows[0].depth));
    json_object_set_new(out, "load_ms", spread_json(&r->load_ms));
    json_object_set_new(out, "first_token_ms", spread_json(&r->first_token_ms));
    const struct bench_row *prefill = first_row(r, false), *decode = first_row(r, true);
    if (prefill) {
        json_object_set_new(out, "prefill", test_json(r, prefill));
    }
    if (decode) {
        json_object_set_new(out, "decode", test_json(r, decode));
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct bench_row *row = &r->rows[i];
        if (!row->speed.n) {
            continue;
        }
        const char *test_name = row->n_joint ? "joint" : row->decode ? "decode" : "prefill";
        json_t *o = json_pack("{s:s, s:i, s:I}", "test", test_name, "threads", row->n_threads,
                              "depth", (json_int_t)row->depth);
        if (row->n_joint) {
            json_object_set_new(o, "sequences", json_integer(row->n_joint));
        }
        json_t *test = test_json(r, row);
        json_object_update(o, test);
        json_decref(test);
        json_array_append_new(rows, o);
    }
    json_object_set_new(out, "rows", rows);
    json_object_set_new(out, "weight_bytes_per_token",
                        json_integer((json_int_t)r->work.weight_bytes));
    json_object_set_new(out, "cache_bytes_per_token",
                        json_integer((json_int_t)r->work.cache_bytes));
    json_object_set_new(out, "operations_per_token", json_real(r->work.operations));
    if (!r->interrupted) { /* or contexts may not be full */
        json_object_set_new(out, "peak_memory_mb", json_real(r->memory.peak_mb));
        json_object_set_new(out, "memory", memory_json(&r->memory));
    }
    if (r->moves) {
        json_object_set_new(out, "huge_pages",
                            json_pack("{s:f, s:f, s:f, s:b}", "moved_mb",
                                      (double)r->move.size_bytes / 1e6, "huge_mb",
                                      (double)r->move.huge_bytes / 1e6, "ms", 1e3 * r->move.seconds,
                                      "laid_out", r->strips));
    }
}

void bench_report_json(const struct bench_report *r)
{
    json_t *out = json_object();
    if (r->n_rows && r->kernels) {
        add_model(out, r);
    }
    if (r->interrupted) {
        json_object_set_new(out, "interrupted", json_true());
    }
    if (r->has_machine) {
        json_object_set_new(out, "machine", machine_json(&r->machine));
    }
    term_print_json(out, true);
}

/* ---- text ---- */

static void print_spread(const char *label, const struct bench_samples *samples, const char *unit)
{
    struct bench_spread s = bench_spread(samples);
    int digits = s.median < 100 ? 2 : 1;
    printf("%-14s%10.*f %s   (%.*f to %.*f, n=%zu)", label, digits, s.median, unit, digits, s.min,
           digits, s.max, s.n);
}

static void print_row(const struct bench_report *r, const struct bench_row *row)
{
    char label[32];
    if (row->n_joint) {
        snprintf(label, sizeof label, "joint %u x %u", row->n_joint, row->n_tokens);
    } else {
        snprintf(label, sizeof label, "%s %u", row->decode ? "decode" : "prefill", row->n_tokens);
    }
    print_spread(label, &row->speed, "tokens/s");
    if (has_limits(r, row)) {
        printf("   %.0f %% of %s", 100 * share(r, row),
               row->decode ? "the read rate" : peak_of(r)->name);
    }
    putchar('\n');
    double total = clock_total(&row->clock);
    if (r->stages && total > 0) {
        printf("%-14s", "  stages");
        for (enum model_stage i = N_MODEL_STAGES; i-- > 0;) {
            printf("%s%s %.1f %%", i + 1 == N_MODEL_STAGES ? "" : ", ", model_stage_name(i),
                   100 * row->clock.seconds[i] / total);
        }
        putchar('\n');
    }
    if (row->other.n) {
        print_spread("  against", &row->other, "tokens/s");
        printf("   ratio %.2f\n", median(&row->speed) / median(&row->other));
    }
}

static void print_memory(const struct bench_memory *m, enum model_kv_type kv_type)
{
    printf("%-14s%10.1f MB   (weights %.1f, keys and values %.1f in %s, %.1f beside", "peak memory",
           m->peak_mb, m->weights_mb, m->cache_mb, model_kv_name(kv_type), m->beside_mb);
    if (m->has_parts) {
        printf("; at the end %.1f of files, clean, and %.1f of its own", m->file_mb, m->own_mb);
    }
    puts(")");
}

static void print_model(const struct bench_report *r)
{
    char bytes[32];
    printf("%-14s", "model");
    term_print_escaped(stdout, r->source->name, strlen(r->source->name), 0);
    printf(" (%s of weights a token)\n", term_bytes(r->work.weight_bytes, bytes));
    printf("%-14s%s, kernels %s\n", "machine", cpu_model_name(), r->kernels);
    print_spread("load", &r->load_ms, "ms");
    putchar('\n');
    print_spread("first token", &r->first_token_ms, "ms");
    putchar('\n');
    const struct bench_row *before = NULL;
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct bench_row *row = &r->rows[i];
        if (!row->speed.n) {
            continue;
        }
        if (!before || before->n_threads != row->n_threads || before->depth != row->depth) {
            printf("%-14s%d, depth %u\n", "threads", row->n_threads, row->depth);
        }
        print_row(r, row);
        before = row;
    }
    if (!r->interrupted) { /* or contexts may not be full */
        print_memory(&r->memory, r->kv_type);
    }
    if (r->moves && r->move.size_bytes) {
        printf("%-14s%10.1f MB   (%.1f in pages of 2 MiB, moved%s in %.1f ms)\n", "moved",
               (double)r->move.size_bytes / 1e6, (double)r->move.huge_bytes / 1e6,
               r->strips ? " and laid out for answers together" : "", 1e3 * r->move.seconds);
    }
}

static void print_machine(const struct bench_machine *m)
{
    printf("%-44s%12s%12s\n", "limits of the machine", "1 thread", "all");
    printf("%-44s%12.1f%12.1f GB/s%s\n", "read from memory", m->read_one, m->read_all,
           m->huge_pages ? " (2 MiB pages)" : "");
    printf("%-44s%12s%12.1f GB/s\n", "read from memory, 4 KiB pages", "", m->read_small_pages_all);
    for (size_t i = 0; i < m->n_peaks; i++) {
        printf("%-44s%12.1f%12.1f Gop/s\n", m->peaks[i].name, m->peaks[i].one, m->peaks[i].all);
    }
}

void bench_report_text(const struct bench_report *r)
{
    if (r->n_rows && r->kernels) {
        print_model(r);
    }
    if (r->has_machine) {
        if (r->n_rows) {
            putchar('\n');
        }
        print_machine(&r->machine);
    }
}
